package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// fakeStore acknowledges by a mark per agent, and can be told to fail or wait.
type fakeStore struct {
	mu    sync.Mutex
	marks map[hotspot.AgentID]int64
	order []hotspot.AgentID
	err   error
	fork  bool
	takes time.Duration
}

func (f *fakeStore) Ingest(ctx context.Context, agent hotspot.AgentID, b wire.Batch) (wire.Ack, error) {
	time.Sleep(f.takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = append(f.order, agent)
	if f.err != nil {
		return wire.Ack{}, f.err
	}
	if f.marks == nil {
		f.marks = map[hotspot.AgentID]int64{}
	}
	if b.First <= f.marks[agent]+1 {
		f.marks[agent] = max(f.marks[agent], b.First+int64(len(b.Events))-1)
	}
	return wire.Ack{V: 1, Epoch: b.Epoch, Through: f.marks[agent], First: b.First, Fork: f.fork}, nil
}

func (f *fakeStore) AgentSite(_ context.Context, agent hotspot.AgentID) (hotspot.SiteID, error) {
	return "site-of-" + hotspot.SiteID(agent), nil
}

type rig struct {
	*Handler
	store    *fakeStore
	mu       sync.Mutex
	acks     map[string]wire.Ack // by topic, the last
	notified []hotspot.SiteID
	refused  []string // agent, channel and octets
}

// run gives f a handler that serves; f's pushes are all done when settle returns.
func run(t *testing.T, s *fakeStore, f func(r *rig, settle func())) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{store: s, acks: map[string]wire.Ack{}}
		r.Handler = &Handler{Store: s,
			Publish: func(topic string, payload []byte, retained bool) error {
				var a wire.Ack
				if err := wire.Decode(payload, &a); err != nil || retained {
					t.Errorf("got a retained %v answer (%v)", retained, err)
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				r.acks[topic] = a
				return nil
			},
			Refused: func(agent hotspot.AgentID, channel wire.Channel, octets int, why error) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.refused = append(r.refused, fmt.Sprint(agent, " ", channel, " ", octets, " ", why != nil))
			},
			Notify: func(site hotspot.SiteID) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.notified = append(r.notified, site)
			}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Serve(ctx) }()
		f(r, func() {
			time.Sleep(time.Hour)
			synctest.Wait()
		})
		cancel()
		<-done
	})
}

func payload(t *testing.T, first int64, n int) []byte {
	t.Helper()
	b := wire.Batch{V: 1, Epoch: "e1", First: first}
	for i := range n {
		b.Events = append(b.Events, wire.Event{ID: fmt.Sprint("id", first+int64(i)), Kind: wire.EventVoid, At: time.Unix(1, 0)})
	}
	p, err := wire.Encode(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const agent = hotspot.AgentID("agent0001")

func TestBatchIsAnsweredByTheMark(t *testing.T) {
	run(t, &fakeStore{}, func(r *rig, settle func()) {
		topic := wire.Topic(agent, wire.DownAck)
		for _, tt := range []struct {
			first   int64
			n       int
			through int64
			result  Result
		}{{1, 3, 3, Stored}, {5, 2, 3, Gap}, {2, 3, 4, Stored}} {
			before := r.Counts()[agent][tt.result]
			r.Handle(t.Context(), agent, payload(t, tt.first, tt.n))
			settle()
			if got := r.acks[topic]; got.Through != tt.through || got.First != tt.first || got.Epoch != "e1" {
				t.Errorf("batch from %d: got %+v, want through %d", tt.first, got, tt.through)
			}
			if got := r.Counts()[agent][tt.result] - before; got != 1 {
				t.Errorf("batch from %d: got %v, want one more %s", tt.first, r.Counts(), tt.result)
			}
		}
		if len(r.notified) != 2 || r.notified[0] != "site-of-agent0001" {
			t.Errorf("got %v notified, want the site for each batch stored", r.notified)
		}
	})
}

func TestWhatGetsNoAnswer(t *testing.T) {
	old, _ := wire.Encode(wire.Batch{V: 99, Epoch: "e1", First: 1})
	broken := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, bytes.Repeat([]byte{0xff}, 100)...)
	var bomb bytes.Buffer
	z, err := zstd.NewWriter(&bomb)
	if err == nil {
		_, err = z.Write(append([]byte(`{"v":1,"epoch":"`), bytes.Repeat([]byte("a"), wire.MaxInflated)...))
	}
	if err := errors.Join(err, z.Close()); err != nil || bomb.Len() > 10_000 {
		t.Fatalf("no bomb: %d octets, %v", bomb.Len(), err)
	}
	for _, tt := range []struct {
		name    string
		payload []byte
		err     error
		want    Result
	}{
		{"no JSON", []byte("hello"), nil, Unreadable},
		{"empty", nil, nil, Unreadable},
		{"broken zstd", broken, nil, Unreadable},
		{"a bomb", bomb.Bytes(), nil, Unreadable},
		{"half a batch", payload(t, 1, 3)[:40], nil, Unreadable},
		{"too large", make([]byte, wire.MaxMessage+1), nil, Unreadable},
		{"a version of the future", old, nil, Unreadable},
		{"a batch the store refuses", nil, fault.New(fault.Invalid, "x", nil), Unreadable},
		{"an agent not in force", nil, fault.New(fault.Denied, "x", nil), Denied},
		{"a store that is away", nil, fault.New(fault.Unavailable, "x", nil), Failed},
		{"a defect", nil, errors.New("x"), Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, &fakeStore{err: tt.err}, func(r *rig, settle func()) {
				p := tt.payload
				if tt.err != nil {
					p = payload(t, 1, 1)
				}
				r.Handle(t.Context(), agent, p)
				settle()
				if got := r.Counts()[agent][tt.want]; got != 1 || len(r.acks) != 0 || len(r.notified) != 0 {
					t.Errorf("got %v, %d answers, %d notified, want one %s and silence", r.Counts(), len(r.acks), len(r.notified), tt.want)
				}
				told := []string{fmt.Sprint(agent, " ", wire.UpEvents, " ", len(p), " true")}
				if tt.want != Unreadable {
					told = nil // trouble of ours, or nobody's site
				}
				if !slices.Equal(r.refused, told) {
					t.Errorf("got %v told of as refused, want %v", r.refused, told)
				}
				r.store.err = nil
				r.Handle(t.Context(), agent, payload(t, 1, 1))
				settle()
				if got := r.acks[wire.Topic(agent, wire.DownAck)].Through; got != 1 {
					t.Errorf("got %d acknowledged afterwards, want 1: the cursor is unharmed", got)
				}
			})
		})
	}
}

func TestForkIsAnswered(t *testing.T) {
	run(t, &fakeStore{fork: true}, func(r *rig, settle func()) {
		r.Handle(t.Context(), agent, payload(t, 1, 1))
		settle()
		if !r.acks[wire.Topic(agent, wire.DownAck)].Fork || r.Counts()[agent][Fork] != 1 {
			t.Errorf("got %+v and %v, want a fork", r.acks, r.Counts())
		}
	})
}

func TestOneSiteCannotStarveOthers(t *testing.T) {
	run(t, &fakeStore{takes: time.Second}, func(r *rig, settle func()) {
		for i := range 100 {
			r.Handle(t.Context(), agent, payload(t, int64(i+1), 1))
		}
		time.Sleep(time.Millisecond)
		r.Handle(t.Context(), "agent0002", payload(t, 1, 1))
		settle()
		counts := r.Counts()
		if got := counts[agent][Dropped]; got < 90 {
			t.Errorf("got %d dropped, want most of what does not fit the queue", got)
		}
		if counts["agent0002"][Stored] != 1 {
			t.Errorf("got %v, want the other site's batch stored", counts["agent0002"])
		}
		// One worker of several is with the busy site, so the calm one waits for nobody.
		if r.store.order[1] != "agent0002" {
			t.Errorf("got order %v, want the calm site not behind the busy one's queue", r.store.order)
		}
	})
}

func FuzzHandle(f *testing.F) {
	b, _ := wire.Encode(wire.Batch{V: 1, Epoch: "e", First: 1, Events: []wire.Event{{ID: "a", Kind: wire.EventVoid}}})
	f.Add(b)
	f.Add([]byte(`{"v":1,"first":-1}`))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		h := &Handler{Store: &fakeStore{}, Publish: func(string, []byte, bool) error { return nil }}
		h.init()
		h.take(t.Context(), agent, p)
	})
}
