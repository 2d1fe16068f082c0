package fleet

import (
	"fmt"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// pieces is how a run of the fake store's pieces reads.
func pieces(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprintf("piece %d", i))
	}
	return out
}

// staging is a hello of an agent that takes pieces and has so many.
func staging(have int) func(*wire.Hello) {
	return func(h *wire.Hello) {
		h.Lineage, h.Hash, h.Staged = "", "", &wire.Staged{}
		if have > 0 {
			h.Staged = &wire.Staged{Snapshot: "l1-0", Through: fmt.Sprint(have)}
		}
	}
}

// TestASnapshotGoesInWindows: no more is on its way than the agent has said it
// has room for, a window's half is not sent twice, and what is lost is sent again
// from where the agent stands.
func TestASnapshotGoesInWindows(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(40)
		r.hello(0, staging(0))
		r.want("first window", pieces(1, 16)...)
		r.hello(0, staging(0))
		r.hello(0, staging(5)) // a hello for another reason, half-way
		r.want("on its way")
		r.hello(0, staging(16))
		r.want("second window", pieces(17, 32)...)
		r.hello(0, staging(20))
		r.pass(3 * time.Second)
		r.want("the rest of it may come yet")
		r.pass(3 * time.Second)
		r.want("lost: from where it stands", pieces(21, 36)...)
		r.hello(0, staging(36))
		r.want("the last", pieces(37, 40)...)
		r.hello(0, func(h *wire.Hello) { staging(40)(h); h.Staged.Whole = true })
		r.pass(20 * time.Minute)
		r.want("nothing is missing but time")
		r.store.write(wire.DocAccount)()
		r.want("comes behind it")
		r.hello(40, nil)
		r.want("in force, and one behind", "delta 40-41")
		r.hello(41, nil)
		r.pass(20 * time.Minute)
		r.want("done")
	})
}

// TestALockWaitsForNoSnapshot: it goes at once, in the middle of a window and while
// the site works on what it has; what is no lock comes behind.
func TestALockWaitsForNoSnapshot(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(40)
		r.hello(0, staging(0))
		r.said()
		r.store.write(wire.DocAccount)()
		r.want("an account")
		at := time.Now()
		r.store.write(wire.DocLock)()
		r.want("a lock", "delta 41-42")
		if got := r.store.sentAt(42); !got.Equal(at) {
			t.Errorf("the lock left at %v, noted %v", at, got)
		}
		r.hello(0, staging(16))
		r.want("the window goes on", pieces(17, 32)...)
		r.hello(0, func(h *wire.Hello) { staging(42)(h); h.Staged.Whole = true })
		r.store.write(wire.DocLock)()
		r.want("a lock while it is brought into force", "delta 42-43")
		r.hello(42, nil)
		r.want("and again with its revision", "delta 42-43")
	})
}

// TestWindowsNobodyAnswersGoSlower: an agent that stands still is asked less and
// less often, with the same pieces.
func TestWindowsNobodyAnswersGoSlower(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(3)
		r.hello(0, staging(0))
		r.pass(10 * time.Minute)
		got := r.said()
		if n := len(got) / 3; n < 5 || n > 16 || fmt.Sprint(got[len(got)-3:]) != fmt.Sprint(pieces(1, 3)) {
			t.Errorf("%d windows in ten minutes, the last %v; want a dozen at most, all the same", n, got[len(got)-3:])
		}
	})
}

// TestAnotherProcessGoesOn: a window is answered by whoever hears the hello.
func TestAnotherProcessGoesOn(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(40)
		r.hello(0, staging(20))
		r.want("from where the agent stands", pieces(21, 36)...)
	})
}

// TestALockThatGotLostIsSentAgain: beside a snapshot nothing else would bring it.
func TestALockThatGotLostIsSentAgain(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(4)
		whole := func(h *wire.Hello) { staging(4)(h); h.Staged.Whole = true }
		r.hello(0, whole)
		r.want("no lock")
		r.pass(time.Minute + lookEvery/2) // not at the instant of a look
		r.store.notReceived(wire.Doc{Kind: wire.DocLock, ID: "a1", Rev: 4})
		r.say(agent, wire.UpPresence, wire.Presence{V: 1, State: hotspot.Online, Boot: "b1", Conn: 2})
		r.hello(0, whole)
		r.want("on a new connection at once", "delta 4-4")
		if r.store.sentAt(4).IsZero() {
			t.Error("the lock is not marked sent")
		}
		r.pass(time.Hour)
		if n := len(r.said()); n < 30 || n > 70 {
			t.Errorf("sent %d times in an hour, want it about once a minute", n)
		}
		r.store.notReceived()
		r.pass(time.Hour)
		r.want("received")
	})
}
