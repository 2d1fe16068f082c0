package store

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// busy is a cafe whose cloud is away and whose log may take cap octets: two
// guests report n times each, one of them leaves.
func busy(t *testing.T, logCap int64, n int) (s *site, bob hotspot.Verdict) {
	s = cafe(t)
	s.o.LogCap = logCap
	s.reopen()
	bob = s.mustLogin("bob", "hello", phone)
	s.play(bob, rec{kind: start})
	voucher := s.mustLogin("ABCD2345", "", laptop)
	s.play(voucher, rec{kind: start, mac: laptop})
	for i := 1; i <= n; i++ {
		s.play(bob, rec{wait: time.Minute, kind: interim, seconds: 60 * i, up: i, down: 10 * i})
		s.play(voucher, rec{kind: interim, mac: laptop, seconds: 60 * i, up: 2 * i, down: 20 * i})
	}
	return s, bob
}

// pace lets the next sweep measure the log again.
func (s *site) pace() { s.logSize.measured = 0 }

func bodyOf(t *testing.T, e wire.Event) (b wire.SessionBody) {
	t.Helper()
	if err := json.Unmarshal(e.Body, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestALogPastItsCapIsFolded(t *testing.T) {
	const minutes = 900
	s, bob := busy(t, 20_000, minutes)
	s.play(bob, rec{wait: time.Minute, kind: stop, seconds: 60 * (minutes + 1), up: minutes + 1, down: 10 * (minutes + 1)})
	s.cloud.lock("a-bob")
	s.apply()
	before := s.events()
	sent, err := s.Events(t.Context(), 0, unfolded, 1<<30) // nobody answered
	s.must(err)
	usage := s.usage("p-bob")

	s.must(s.Sweep(t.Context()))
	after := s.events()
	if len(after) != len(before) {
		t.Fatalf("%d events after folding, there were %d", len(after), len(before))
	}
	void := 0
	for i, e := range after {
		was := before[i]
		switch {
		case e.ID != was.ID || !e.At.Equal(was.At):
			t.Fatalf("event %d became another: %+v, was %+v", i+1, e, was)
		case e.Kind == wire.EventVoid && i < len(sent.Events):
			t.Fatalf("event %d was folded, and may be on its way", i+1)
		case e.Kind == wire.EventVoid && was.Kind != wire.EventSessionUsage:
			t.Fatalf("event %d was folded, a %s", i+1, was.Kind)
		case e.Kind == wire.EventVoid:
			void++
		case string(e.Body) != string(was.Body):
			t.Fatalf("event %d changed", i+1)
		}
	}
	// All readings past those that may be sent, but for the newest of the voucher, which is on.
	waiting := 0
	var newest wire.Event
	for _, e := range before[unfolded:] {
		if e.Kind == wire.EventSessionUsage {
			waiting++
			newest = e
		}
	}
	if void != waiting-1 || void < 400 {
		t.Errorf("%d readings folded of %d that wait, want all but the last of the voucher", void, waiting)
	}
	if b := bodyOf(t, newest); b.MAC != laptop.String() || b.Upload != 2*minutes || !slices.ContainsFunc(after, func(e wire.Event) bool { return e.ID == newest.ID && e.Kind == wire.EventSessionUsage }) {
		t.Errorf("the newest reading of the voucher is not kept: %+v", b)
	}
	if c, err := s.Counts(t.Context()); err != nil || !c.LogFull || c.Folded != int64(void) {
		t.Errorf("counts %+v, %v; want a full log and %d folded", c, err, void)
	}
	s.reopen() // and what it stands on is what it was
	if got := s.usage("p-bob"); got != usage {
		t.Errorf("usage %+v after folding, was %+v", got, usage)
	}
	m := newMirror(t)
	s.drain(m)
	m.idsAre(before)
	if h, err := s.Standing(t.Context()); err != nil || h.Epoch != sent.Epoch {
		t.Errorf("the epoch became %s, was %s: the chain does not hold", h.Epoch, sent.Epoch)
	}
}

func TestALogBelowItsCapStaysAsItIs(t *testing.T) {
	s, _ := busy(t, 0, 520)
	before := s.events()
	s.must(s.Sweep(t.Context()))
	for i, e := range s.events() {
		if e.Kind != before[i].Kind || string(e.Body) != string(before[i].Body) {
			t.Fatalf("event %d became %+v", i+1, e)
		}
	}
	if c, err := s.Counts(t.Context()); err != nil || c.LogFull {
		t.Errorf("counts %+v, %v; want a log that is not full", c, err)
	}
}

// TestFoldingWhileTheCloudComesBack folds and sends at once: no batch may carry
// an event that the log then has otherwise.
func TestFoldingWhileTheCloudComesBack(t *testing.T) {
	s, _ := busy(t, 1, 800)
	before := s.events()
	epoch := func() string {
		h, err := s.Standing(t.Context())
		s.must(err)
		return h.Epoch
	}
	was := epoch()
	m := newMirror(t)
	var folding sync.WaitGroup
	done := make(chan struct{})
	folding.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			s.pace()
			s.logSize.next = 0
			if err := s.fold(t.Context()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for m.marks[was] < int64(len(before)) && epoch() == was {
		b, err := s.Events(t.Context(), m.marks[was], 40, 1<<20)
		s.must(err)
		ack := m.take(b)
		if ack.Fork {
			t.Fatalf("the log told another history from event %d on", b.First)
		}
		s.must(s.Acked(t.Context(), ack))
	}
	close(done)
	folding.Wait()
	m.idsAre(before)
	if got := epoch(); got != was {
		t.Errorf("the epoch became %s, was %s", got, was)
	}
	if s.folded.Load() == 0 {
		t.Error("nothing was folded meanwhile")
	}
}

// TestPastTheCapNothingAcknowledgedIsKept: what the cloud has makes room first.
func TestPastTheCapNothingAcknowledgedIsKept(t *testing.T) {
	s, _ := busy(t, 20_000, 600)
	h, err := s.Standing(t.Context())
	s.must(err)
	b, err := s.Events(t.Context(), 0, 400, 1<<30)
	s.must(err)
	s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: int64(len(b.Events))}))
	s.must(s.Sweep(t.Context()))
	var first int64
	s.must(s.query(t.Context(), "first", "SELECT MIN(seq) FROM event", nil, func(scan func(...any) error) error { return scan(&first) }))
	if first != 400 {
		t.Errorf("the oldest event is %d, want the one at the mark, 400", first)
	}
}

// TestTheChainIsWorkedOutFromAnyPoint: a cloud may be restored to any mark it had.
func TestTheChainIsWorkedOutFromAnyPoint(t *testing.T) {
	s := newSite(t)
	s.tell(60)
	h, err := s.Standing(t.Context())
	s.must(err)
	all := s.events()
	chain := ""
	for i := range all {
		s.must(s.Acked(t.Context(), wire.Ack{Epoch: h.Epoch, Through: int64((i*37)%61 + 0)})) // points here and there
		s.reopen()
		b, err := s.Events(t.Context(), int64(i), 1, 1<<20)
		s.must(err)
		if b.Epoch != h.Epoch || b.Chain != chain {
			t.Fatalf("chain %q after event %d of epoch %s, want %q of %s", b.Chain, i, b.Epoch, chain, h.Epoch)
		}
		chain = wire.NextChain(chain, all[i])
	}
}
