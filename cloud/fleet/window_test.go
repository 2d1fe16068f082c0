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

// having is a hello of an agent that takes pieces and has so many.
func having(have int) func(*wire.Hello) {
	return func(h *wire.Hello) {
		h.Staged = &wire.Staged{}
		if have > 0 {
			h.Staged = &wire.Staged{Snapshot: "l1-0", Through: fmt.Sprint(have)}
		}
	}
}

// staging is having, of an agent that holds no set yet.
func staging(have int) func(*wire.Hello) {
	return func(h *wire.Hello) {
		having(have)(h)
		h.Lineage, h.Hash = "", ""
	}
}

// bringing is staging, of an agent that has all and brings it into force.
func bringing(have int) func(*wire.Hello) {
	return func(h *wire.Hello) {
		staging(have)(h)
		h.Staged.Whole = true
	}
}

// lockDoc is the lock of a revision, as the fake store writes it.
func lockDoc(rev int64) wire.Doc {
	return wire.Doc{Kind: wire.DocLock, ID: fmt.Sprint("doc", rev), Rev: rev}
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
		r.hello(0, bringing(40))
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
		r.hello(0, bringing(42))
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

// TestASiteGetsOnAtItsOwnPace: as long as it keeps pieces, nothing is sent twice,
// however long the window takes; once it stands still, the rest is sent again from
// there, whatever else it says meanwhile.
func TestASiteGetsOnAtItsOwnPace(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(40)
		r.pass(lookEvery / 2) // not at the instant of a look
		r.hello(0, staging(0))
		r.said()
		for have := 1; have <= 10; have++ {
			r.pass(time.Second)
			r.hello(0, staging(have))
			r.hello(0, staging(have)) // for another reason
		}
		r.want("a piece a second")
		for range 4 {
			r.pass(time.Second)
			r.hello(0, staging(10))
		}
		r.want("stands still", pieces(11, 26)...)
		r.pass(10 * time.Minute)
		r.said()
		r.hello(0, staging(12))
		r.pass(answerWithin + 16*partTime + lookEvery)
		r.want("gets on again: the next loss costs no more than the first", pieces(13, 28)...)
		r.pass(10 * time.Minute)
		r.said()
		r.hello(0, staging(28))
		r.pass(answerWithin + 12*partTime + lookEvery)
		r.want("has the whole window: likewise", append(pieces(29, 40), pieces(29, 40)...)...)
	})
}

// TestAWindowOfALongSnapshotIsMissedAsSoonAsTheFirst: each window that arrives
// begins the patience anew.
func TestAWindowOfALongSnapshotIsMissedAsSoonAsTheFirst(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(200)
		for have := 0; have <= 160; have += 16 {
			r.hello(0, staging(have))
		}
		r.said()
		r.pass(answerWithin + 16*partTime + lookEvery)
		r.want("lost", pieces(161, 176)...)
	})
}

// TestAnotherProcessGoesOn: a window is answered by whoever hears the hello.
func TestAnotherProcessGoesOn(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(40)
		r.hello(0, staging(20))
		r.want("from where the agent stands", pieces(21, 36)...)
		r.hello(0, staging(20))
		r.want("says it again, and it is on its way")
		r.hello(0, staging(0))
		r.want("lost what it had, and waits for nothing", pieces(1, 16)...)
		r.hello(0, staging(20))
		r.want("another process got it further", pieces(21, 36)...)
	})
}

// TestASnapshotThatCameToNothingBeginsAgain: the site had all of it, and the pieces
// did not make the set.
func TestASnapshotThatCameToNothingBeginsAgain(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(3)
		r.hello(0, staging(0))
		r.hello(0, bringing(3))
		r.said()
		r.hello(0, staging(0))
		r.want("from the first piece", pieces(1, 3)...)
	})
}

// TestASnapshotInForceIsFollowedByADelta: also where the hello that had all of it
// in hand got lost.
func TestASnapshotInForceIsFollowedByADelta(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(3)
		r.hello(0, staging(0))
		r.store.write(wire.DocAccount)()
		r.want("the account comes behind", pieces(1, 3)...)
		r.hello(3, having(0))
		r.want("in force", "delta 3-4")
	})
}

// TestADeltaThatLedNowhereIsNotTriedAmidItsSnapshot, which would never end; but a
// snapshot begun for another reason is not gone on with where a delta is enough.
func TestADeltaThatLedNowhereIsNotTriedAmidItsSnapshot(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(40)
		r.hello(1, having(20))
		r.want("begun by another process", "delta 1-40")
		r.pass(7 * time.Second)
		r.want("led nowhere twice", append([]string{"delta 1-40"}, pieces(21, 36)...)...)
		r.hello(1, having(36))
		r.want("goes on", pieces(37, 40)...)
	})
}

// TestALockThatGotLostIsSentAgain: beside a snapshot nothing else would bring it.
func TestALockThatGotLostIsSentAgain(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(4)
		r.hello(0, bringing(4))
		r.want("no lock")
		r.pass(time.Minute + lookEvery/2) // not at the instant of a look
		r.store.notReceived(wire.Doc{Kind: wire.DocLock, ID: "a1", Rev: 4})
		online := wire.Presence{V: 1, State: hotspot.Online, Boot: "b1", Conn: 1}
		r.say(agent, wire.UpPresence, online)
		r.hello(0, bringing(4))
		r.want("on a new connection at once", "delta 4-4")
		r.pass(2*answerWithin + lookEvery)
		r.want("and soon again", "delta 4-4")
		online.Boot = "b2"
		r.say(agent, wire.UpPresence, online)
		r.hello(0, func(h *wire.Hello) { bringing(4)(h); h.Boot = "b2" })
		r.want("to a new run at once", "delta 4-4")
		if r.store.sentAt(4).IsZero() {
			t.Error("the lock is not marked sent")
		}
		r.pass(time.Hour)
		if n := len(r.said()); n < 30 || n > 70 {
			t.Errorf("sent %d times in an hour, want it about once a minute", n)
		}
		online.State = hotspot.Lost
		r.say(agent, wire.UpPresence, online)
		r.pass(time.Hour)
		r.want("not to who is not there")
		online.State = hotspot.Online
		r.say(agent, wire.UpPresence, online)
		r.store.notReceived()
		r.pass(time.Hour)
		r.want("received")
	})
}

// TestALockSentAheadIsRepeatedSoon: the patience with it is its own, however long
// the snapshot has taken already.
func TestALockSentAheadIsRepeatedSoon(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(4)
		r.hello(0, bringing(4))
		r.pass(10*time.Minute + lookEvery/2)
		lock := r.store.write(wire.DocLock)
		r.store.notReceived(lockDoc(5))
		lock()
		r.want("at once", "delta 4-5")
		r.pass(1900 * time.Millisecond)
		r.want("not yet")
		r.pass(600 * time.Millisecond)
		r.want("after 2 s", "delta 5-5")
	})
}

// TestTheEndOfALockWaitsForNoSnapshot: the guest is let in again at once.
func TestTheEndOfALockWaitsForNoSnapshot(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(40)
		r.hello(0, staging(0))
		r.said()
		r.store.onCommit(site, agent, wire.State{V: wire.Version, Lineage: "l1", From: 40, To: 41, Gone: []wire.DocRef{{Kind: wire.DocLock, ID: "doc7"}}})
		r.want("lifted", "delta 40-41")
		if got := r.store.sentAt(41); !got.IsZero() {
			t.Errorf("noted %v of locks, want nothing: those up to there may not have left", got)
		}
	})
}

// TestALockInALargeChangeGoesAheadAlone: the change is no message for the fast
// path, and the next look sends what is a lock of it.
func TestALockInALargeChangeGoesAheadAlone(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(4)
		r.hello(0, bringing(4))
		r.pass(10*time.Minute + lookEvery/2)
		r.store.notReceived(lockDoc(5))
		r.store.onCommit(site, agent, large(wire.State{V: wire.Version, Lineage: "l1", From: 4, To: 5, Docs: []wire.Doc{lockDoc(5)}}))
		r.want("all of it comes behind the snapshot")
		r.pass(lookEvery)
		r.want("but the lock", "delta 4-4")
		r.pass(1900 * time.Millisecond)
		r.want("repeated as any other")
	})
}

// TestLocksInASnapshotAreNotedAsSent, with the piece that brings them.
func TestLocksInASnapshotAreNotedAsSent(t *testing.T) {
	run(t, func(r *rig) {
		r.store.write(wire.DocLock)
		r.hello(0, staging(0))
		if got := r.store.sentAt(1); !got.Equal(time.Now()) {
			t.Errorf("noted %v, want %v", got, time.Now())
		}
	})
}

// TestWithoutASnapshotLocksAreNotRepeatedApart: the delta that is sent again has
// them, and a site that holds the set has received them.
func TestWithoutASnapshotLocksAreNotRepeatedApart(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(3)
		r.hello(3, having(0))
		lock := r.store.write(wire.DocLock)
		r.store.notReceived(lockDoc(4))
		lock()
		r.pass(answerWithin + lookEvery)
		r.want("lost", "delta 3-4", "delta 3-4")
		r.hello(4, having(0))
		r.pass(10 * time.Minute)
		r.want("held")
	})
}

// TestASetThatComesToNothingIsNoStorm: a site that cannot take what it was sent says so
// at once, and would at once be sent the same again.
func TestASetThatComesToNothingIsNoStorm(t *testing.T) {
	run(t, func(r *rig) {
		r.store.writes(3)
		fails := func() {
			r.hello(0, func(h *wire.Hello) { staging(3)(h); h.Staged.Whole = true })
			r.hello(0, staging(0))
		}
		r.hello(0, staging(0))
		r.want("the set", pieces(1, 3)...)
		for range 100 {
			fails()
			r.pass(time.Second)
		}
		if n := len(r.said()) / 3; n > 10 {
			t.Errorf("sent %d times in 100 s to a site that cannot take it", n)
		}
		r.pass(2 * time.Minute)
		r.hello(0, staging(0))
		r.want("tried again later", pieces(1, 3)...)
		r.hello(3, nil)
		r.want("holds it")
		r.hello(0, staging(0))
		r.want("forgot it: at once", pieces(1, 3)...)
	})
}
