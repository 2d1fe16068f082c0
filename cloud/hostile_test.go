package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// logged is a log that a test reads while others write it.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// refusals are the lines that tell of a message refused.
func (l *logged) refusals() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range strings.Split(l.b.String(), "\n") {
		if strings.Contains(line, "CLD-312") {
			lines = append(lines, line)
		}
	}
	return lines
}

// blanks is a zstd frame of n blocks of 128 KiB of blanks, without a content size and
// with the window of that descriptor (RFC 8878 §3.1.1): some 4 octets for each.
func blanks(n int, window byte) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, window}
	for i := range n {
		head := uint32(128<<10)<<3 | 1<<1
		if i == n-1 {
			head |= 1
		}
		b = append(binary.LittleEndian.AppendUint32(b, head)[:len(b)+3], ' ')
	}
	return b
}

// TestWhatABoxGoneMadSays: every kind of message that is none, from a box in force,
// through a broker that is not ours. Each is refused and told with the site's name;
// the mark of the log stays, the site goes on, and what is good counts.
func TestWhatABoxGoneMadSays(t *testing.T) {
	var log logged
	o := newOutsideLogging(t, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	agent, link := o.box(ctx)
	o.until("the box at the broker", link.Connected)
	o.until("the cloud at the broker", o.cloud.link.Connected)
	send := func(c wire.Channel, payload []byte) {
		t.Helper()
		if err := link.Publish(wire.Topic(agent, c), payload, false); err != nil {
			t.Fatal(err)
		}
	}
	event := func(id string) wire.Event {
		return wire.Event{ID: id, Kind: wire.EventVoid, At: time.Now().UTC().Truncate(time.Millisecond)}
	}
	batch := func(first int64, chain string, events ...wire.Event) []byte {
		t.Helper()
		b, err := wire.Encode(wire.Batch{V: wire.Version, Epoch: "e1", First: first, Chain: chain, At: time.Now(), Boot: "b1", Events: events})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	through := func(first, want int64) {
		t.Helper()
		for {
			select {
			case m := <-link.Messages():
				var a wire.Ack
				if m.Topic != wire.Topic(agent, wire.DownAck) || wire.Decode(m.Payload, &a) != nil || a.First == 0 {
					continue
				}
				if a.First != first || a.Through != want { // also where something bad was answered
					t.Errorf("got %d answered by stored through %d, want %d by %d", a.First, a.Through, first, want)
				}
				return
			case <-time.After(30 * time.Second):
				t.Fatal("no answer to a good batch")
			}
		}
	}
	one := event("m1")
	send(wire.UpEvents, batch(1, "", one))
	through(1, 1)

	header := func(size uint64, rest ...byte) []byte {
		return append(binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, size), rest...)
	}
	bad := map[string][]byte{
		"a bomb without a size":           blanks(4096, 0x50),
		"a bomb of many frames":           bytes.Repeat(blanks(32, 0x50), 500),
		"a window of 2 TB":                blanks(1, 0xf8),
		"a header of 1 TB":                header(1<<40, 0x01, 0, 0),
		"a header that lies":              header(4, blanks(100, 0)[6:]...),
		"half a frame":                    blanks(10, 0x50)[:20],
		"a million empty events":          []byte(`{"v":1,"epoch":"e1","first":2,"events":[` + strings.Repeat("{},", 250_000) + `{}]}`),
		"no JSON":                         []byte("rubbish"),
		"nothing":                         {},
		"a version of tomorrow":           []byte(`{"v":2,"epoch":"e1","first":2,"boot":"b1","events":[]}`),
		"no version":                      []byte(`{"epoch":"e1","first":2,"events":[]}`),
		"more than one message may carry": bytes.Repeat([]byte(" "), wire.MaxMessage-1),
	}
	for name, payload := range bad {
		for _, c := range []wire.Channel{wire.UpEvents, wire.UpHello} {
			send(c, payload)
			// In order: the good batch behind it is answered once the bad one is done with.
			send(wire.UpEvents, batch(1, "", one))
			through(1, 1)
			if t.Failed() {
				t.Fatalf("after %s on %s", name, c)
			}
		}
	}
	o.until("every kind to be counted", func() bool {
		lines := log.refusals()
		text := strings.Join(lines, "\n")
		return strings.Contains(text, "refused=8 ") && strings.Count(text, "channel=up/events") >= 4 && strings.Count(text, "channel=up/hello") >= 4
	})
	for _, line := range log.refusals() {
		if !strings.Contains(line, `site_name="Main St"`) || !strings.Contains(line, "agent="+string(agent)) || strings.Contains(line, "rubbish") {
			t.Errorf("got %s, want the site's name, the agent, and nothing of what was said", line)
		}
	}

	// A kind nobody knows is one event set aside, and the log goes on behind it.
	chain := wire.NextChain("", one)
	odd := wire.Event{ID: "m2", Kind: "guest.teleported", At: one.At, Body: []byte(`{"site":"another"}`)}
	next := event("m3")
	send(wire.UpEvents, batch(2, chain, odd, next))
	through(2, 3)

	// A revision that the cloud never gave out: the whole set, and the site is there.
	hello, err := wire.Encode(wire.Hello{V: wire.Version, Boot: "b1", Epoch: "e1", LastSeq: 3, AckedSeq: 3, Lineage: "nobody's", Revision: 1 << 40, Hash: strings.Repeat("0a", 32), At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	send(wire.UpHello, hello)
	for {
		var s wire.State
		select {
		case m := <-link.Messages():
			if m.Topic != wire.Topic(agent, wire.DownState) {
				continue
			}
			if err := wire.Decode(m.Payload, &s); err != nil {
				t.Fatal(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no answer to a hello from the future")
		}
		if s.Snapshot == "" || s.To >= 1<<40 {
			t.Errorf("got %+v, want a snapshot of what is really wanted", s)
		}
		break
	}
	st, err := o.cloud.db.Site(ctx, o.owner.Organization, o.site.ID)
	if err != nil || st.Presence != hotspot.Online || st.Applied > st.Revision {
		t.Errorf("got %s, applied %d of %d (%v); want the site online, and not ahead of what is wanted", st.Presence, st.Applied, st.Revision, err)
	}
}
