package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// locked returns a new guest, locked, and the revision of the lock.
func (w *world) locked(name string) (hotspot.AccountID, int64) {
	w.Helper()
	id := w.user(name)
	must(w.TB, w.db.Lock(w.Context(), w.owner, id, ""))
	return id, w.last().state.To
}

// hears takes in one hello of the agent with the proofs.
func (w *world) hears(agent hotspot.AgentID, epoch string, proofs ...wire.LockProof) bool {
	w.Helper()
	news, err := w.db.ApplyProofs(w.Context(), agent, epoch, proofs)
	must(w.TB, err)
	return news
}

func numbered(p wire.LockProof, seq int64) wire.LockProof {
	p.Seq = seq
	return p
}

// permutations returns the numbers below n in every order.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{{}}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(p), at, n-1))
		}
	}
	return all
}

// TestTheLastProofHoldsInWhateverOrderTheyCome: off, back, off, back again. The
// hellos come in every order, each of them twice, then the events; at every
// moment the lock stands where the newest proof heard so far put it.
func TestTheLastProofHoldsInWhateverOrderTheyCome(t *testing.T) {
	said := []hotspot.Outcome{hotspot.OutcomeEnforced, hotspot.OutcomePending, hotspot.OutcomeLeaks, hotspot.OutcomePending}
	states := []hotspot.LockState{hotspot.LockEnforced, hotspot.LockReceived, hotspot.LockLeaks, hotspot.LockReceived}
	onBoth(t, func(w *world) {
		for _, clock := range []struct {
			name     string
			numbered bool
			ago      []time.Duration // the site's clock at each proof
		}{
			{"a clock that is set back twice", true, []time.Duration{0, 2 * time.Hour, time.Hour, 49 * time.Hour}},
			{"an agent that numbers nothing", false, []time.Duration{4 * time.Second, 3 * time.Second, 2 * time.Second, time.Second}},
		} {
			for i, order := range permutations(len(said)) {
				id, rev := w.locked(fmt.Sprintf("%s %d", clock.name, i))
				l := &siteLog{epoch: fmt.Sprintf("%v-%d", clock.numbered, i)}
				var proofs []wire.LockProof
				for n, o := range said {
					p := proof(id, rev, o, w.now().Add(-clock.ago[n]))
					l.add(wire.EventVoid, p.At, nil)
					l.add(wire.EventLockProof, p.At, p)
					if clock.numbered {
						p.Seq = int64(len(l.events))
					}
					proofs = append(proofs, p)
				}
				w.hello(nil)
				newest := 0
				check := func(after string) {
					w.Helper()
					if got := w.guest(id).Lock; got.State != states[newest] {
						w.Errorf("%s, order %v, after %s: got %s, want %s", clock.name, order, after, got.State, states[newest])
					}
				}
				for at, n := range order {
					if at == 0 {
						newest = n
					}
					newest = max(newest, n)
					w.hears(w.agent, l.epoch, proofs[n])
					if w.hears(w.agent, l.epoch, proofs[n]) {
						w.Errorf("%s, order %v: proof %d is news twice", clock.name, order, n)
					}
					check(fmt.Sprintf("hello with proof %d", n))
				}
				newest = len(said) - 1
				for n := 1; n <= len(l.events); n += 2 {
					w.ingest(l.batch(n, n+1))
					check(fmt.Sprintf("event %d", n+1))
				}
				if r := w.guest(id).Lock.Reopened; r == nil || r.Was != hotspot.LockLeaks {
					w.Errorf("%s, order %v: got %+v, want a lock that had ended as leaks", clock.name, order, r)
				}
			}
		}
	})
}

func TestALockOpensAgain(t *testing.T) {
	onBoth(t, func(w *world) {
		id, rev := w.locked("amal")
		w.hello(nil)
		off := w.now()
		w.hears(w.agent, "epoch1", numbered(proof(id, rev, hotspot.OutcomeEnforced, off), 3))
		if s := w.guest(id).Lock; s.State != hotspot.LockEnforced || s.Reopened != nil {
			w.Fatalf("got %s, reopened %+v; want enforced for the first time", s.State, s.Reopened)
		}
		w.pass(time.Minute)
		w.hello(nil)
		back := w.now()
		p := numbered(proof(id, rev, hotspot.OutcomePending, back), 5)
		p.Code = "HSP-101"
		if !w.hears(w.agent, "epoch1", p) {
			w.Error("a lock that opens again is no news")
		}
		s := w.guest(id).Lock
		if r := s.Reopened; s.State != hotspot.LockReceived || s.Code != "HSP-101" || r == nil || r.Was != hotspot.LockEnforced || !r.WasAt.Equal(off) || !r.Since.Equal(back) {
			w.Errorf("got %s, code %q, reopened %+v; want received again, enforced from %v to %v", s.State, s.Code, s.Reopened, off, back)
		}
		if got := w.siteStatus().LocksOpen; got != 1 {
			w.Errorf("got %d locks not proven, want 1", got)
		}
		w.hears(w.agent, "epoch1", numbered(proof(id, rev, hotspot.OutcomeEnforced, w.now()), 8))
		if s := w.guest(id).Lock; s.State != hotspot.LockEnforced || s.Reopened != nil {
			w.Errorf("got %s, reopened %+v; want enforced, and no word of before", s.State, s.Reopened)
		}
	})
}

// TestWhatOpenedItAgainOvertakesTheFirstProof: the hello with the newest proof
// comes first, the event of the older one later. It tells how the lock had ended
// and changes nothing else.
func TestWhatOpenedItAgainOvertakesTheFirstProof(t *testing.T) {
	onBoth(t, func(w *world) {
		id, rev := w.locked("amal")
		w.hello(nil)
		off := w.now().Add(-time.Minute)
		l := &siteLog{epoch: "epoch1"}
		l.add(wire.EventLockProof, off, proof(id, rev, hotspot.OutcomeUnproven, off))
		w.hears(w.agent, "epoch1", numbered(proof(id, rev, hotspot.OutcomePending, w.now()), 2))
		if s := w.guest(id).Lock; s.State != hotspot.LockReceived || s.Reopened != nil {
			w.Errorf("got %s, reopened %+v; want received, and nothing of what was not heard", s.State, s.Reopened)
		}
		w.all(l)
		if s := w.guest(id).Lock; s.State != hotspot.LockReceived || s.Reopened == nil || s.Reopened.Was != hotspot.LockUnproven || !s.Reopened.WasAt.Equal(off) {
			w.Errorf("got %s, reopened %+v; want received, acknowledged at %v before", s.State, s.Reopened, off)
		}
	})
}

// TestAHelloWithoutNumbersIsReadNewestFirst: the clock of an older agent was set
// back between two proofs; the order in the hello is what remains.
func TestAHelloWithoutNumbersIsReadNewestFirst(t *testing.T) {
	onBoth(t, func(w *world) {
		id, rev := w.locked("amal")
		w.hello(nil)
		older, newer := proof(id, rev, hotspot.OutcomePending, w.now()), proof(id, rev, hotspot.OutcomeEnforced, w.now().Add(-time.Hour))
		for range 2 {
			w.hears(w.agent, "epoch1", newer, older)
			if got := w.guest(id).Lock.State; got != hotspot.LockEnforced {
				w.Errorf("got %s, want %s", got, hotspot.LockEnforced)
			}
		}
		// Its numbers come with the events, and put right what a clock alone got
		// wrong.
		w.hears(w.agent, "epoch1", older)
		l := &siteLog{epoch: "epoch1"}
		l.add(wire.EventLockProof, older.At, older)
		l.add(wire.EventLockProof, newer.At, newer)
		w.all(l)
		if got := w.guest(id).Lock.State; got != hotspot.LockEnforced {
			w.Errorf("after the events: got %s, want %s", got, hotspot.LockEnforced)
		}
	})
}

// TestAnotherBoxIsHeardWhateverItsClockSays: two machines' clocks are never
// compared.
func TestAnotherBoxIsHeardWhateverItsClockSays(t *testing.T) {
	onBoth(t, func(w *world) {
		id, rev := w.locked("amal")
		w.hello(nil)
		old := w.agent
		enforced := numbered(proof(id, rev, hotspot.OutcomeEnforced, w.now()), 900)
		w.hears(old, "epoch1", enforced)
		w.agent, w.key = w.enrol(w.site.ID, w.owner)
		_, _, err := w.db.ConfirmAgent(w.Context(), w.owner, w.agent)
		must(w.TB, err)
		w.hello(func(h *wire.Hello) { h.Boot = "boot2" })
		if got := w.guest(id).Lock.State; got != hotspot.LockEnforced {
			w.Errorf("before the new box said anything: got %s, want %s", got, hotspot.LockEnforced)
		}
		born := time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC)
		w.hears(w.agent, "epoch2", numbered(proof(id, rev, hotspot.OutcomePending, born), 2))
		if got := w.guest(id).Lock.State; got != hotspot.LockReceived {
			w.Errorf("the new box found the guest on: got %s, want %s", got, hotspot.LockReceived)
		}
		_, err = w.db.ApplyProofs(w.Context(), old, "epoch1", []wire.LockProof{enforced})
		wantKind(w.TB, err, fault.Denied)
		w.hears(w.agent, "epoch2", numbered(proof(id, rev, hotspot.OutcomeEnforced, born.Add(time.Second)), 3))
		if got := w.guest(id).Lock.State; got != hotspot.LockEnforced {
			w.Errorf("the new box put the guest off: got %s, want %s", got, hotspot.LockEnforced)
		}
	})
}

// TestAForkDoesNotOpenALock: the same proofs come again under other numbers.
func TestAForkDoesNotOpenALock(t *testing.T) {
	onBoth(t, func(w *world) {
		id, rev := w.locked("amal")
		w.hello(nil)
		pending, enforced := proof(id, rev, hotspot.OutcomePending, w.now().Add(-time.Minute)), proof(id, rev, hotspot.OutcomeEnforced, w.now())
		w.hears(w.agent, "epoch1", numbered(enforced, 900), numbered(pending, 890))
		l := &siteLog{epoch: "epoch2"}
		l.add(wire.EventLockProof, pending.At, pending)
		l.add(wire.EventLockProof, enforced.At, enforced)
		w.hears(w.agent, "epoch2", numbered(enforced, 2), numbered(pending, 1))
		w.all(l)
		if got := w.guest(id).Lock.State; got != hotspot.LockEnforced {
			w.Errorf("got %s, want %s", got, hotspot.LockEnforced)
		}
		w.hears(w.agent, "epoch2", numbered(proof(id, rev, hotspot.OutcomePending, w.now().Add(-time.Hour)), 3))
		if got := w.guest(id).Lock.State; got != hotspot.LockReceived {
			w.Errorf("later in the new log, by a clock set back: got %s, want %s", got, hotspot.LockReceived)
		}
	})
}
