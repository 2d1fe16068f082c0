package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// proof is what a site says of putting an account off.
func proof(account hotspot.AccountID, revision int64, outcome hotspot.Outcome, at time.Time) wire.LockProof {
	return wire.LockProof{Account: account, Revision: revision, Reason: hotspot.OffLocked, Outcome: outcome, Method: "disconnect", Sessions: 1,
		ReceivedAt: at.Add(-30 * time.Millisecond), At: at, Steps: []wire.LockStep{
			{Name: hotspot.StepReceived, At: at.Add(-30 * time.Millisecond), OK: true},
			{Name: hotspot.StepCookies, At: at.Add(-20 * time.Millisecond), TookMS: 2, OK: true, Detail: "1 cookie removed"},
			{Name: hotspot.StepReadBack, At: at, TookMS: 3.5, OK: true}}}
}

func steps(s hotspot.LockStatus) string {
	var names []string
	for _, step := range s.Steps {
		names = append(names, step.Machine+":"+step.Name)
	}
	return strings.Join(names, " ")
}

func TestLockWalksItsSteps(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		w.hello(nil)
		must(w.TB, w.db.Lock(w.Context(), w.owner, id, "loud"))
		c := w.last()
		if len(c.state.Docs) != 1 || c.state.Docs[0].Kind != wire.DocLock || c.state.Docs[0].ID != string(id) {
			w.Fatalf("got %+v, want the lock's document", c.state)
		}
		rev := c.state.To
		want := func(state hotspot.LockState, path string) {
			w.Helper()
			s := w.guest(id).Lock
			if s.State != state || steps(s) != path {
				w.Errorf("got %s [%s], want %s [%s]", s.State, steps(s), state, path)
			}
		}
		want(hotspot.LockRequested, "cloud:requested")
		must(w.TB, w.db.MarkSent(w.Context(), w.site.ID, rev, w.now()))
		want(hotspot.LockSent, "cloud:requested cloud:sent")
		w.hello(nil)
		want(hotspot.LockReceived, "cloud:requested cloud:sent site:received")
		w.pass(time.Second)
		news, err := w.db.ApplyProofs(w.Context(), w.agent, "epoch1", []wire.LockProof{proof(id, rev, hotspot.OutcomeEnforced, w.now())})
		if err != nil || !news {
			w.Errorf("got news %v (%v), want a proof that is news", news, err)
		}
		want(hotspot.LockEnforced, "cloud:requested cloud:sent site:received site:cookies site:read_back site:enforced")
		s := w.guest(id).Lock
		if s.Lock.By != "owner@example.org" || s.Lock.Reason != "loud" || s.Lock.Revision != rev || s.Method != "disconnect" {
			w.Errorf("got %+v, want the lock as given", s)
		}
		if got := s.Steps[4].Took; got != 3500*time.Microsecond {
			w.Errorf("got %v for the read-back, want 3.5ms", got)
		}

		must(w.TB, w.db.Unlock(w.Context(), w.owner, id, "said sorry"))
		want(hotspot.LockNone, "")
		if c := w.last(); len(c.state.Gone) != 1 || c.state.Gone[0] != (wire.DocRef{Kind: wire.DocLock, ID: string(id)}) {
			w.Errorf("got %+v, want the lock's tombstone", c.state)
		}
	})
}

func TestLockWaitsForASiteThatIsNotThere(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		state := func() hotspot.LockState { return w.guest(id).Lock.State }
		must(w.TB, w.db.Lock(w.Context(), w.owner, id, ""))
		if got := state(); got != hotspot.LockWaiting {
			w.Errorf("never seen: got %s, want %s", got, hotspot.LockWaiting)
		}
		w.hello(func(h *wire.Hello) { h.Revision-- })
		if got := state(); got != hotspot.LockRequested {
			w.Errorf("online: got %s, want %s", got, hotspot.LockRequested)
		}
		_, err := w.db.RecordPresence(w.Context(), w.agent, wire.Presence{State: hotspot.Lost, Boot: "boot1"}, w.now())
		must(w.TB, err)
		must(w.TB, w.db.MarkSent(w.Context(), w.site.ID, 1000, w.now()))
		if got := state(); got != hotspot.LockWaiting {
			w.Errorf("sent, then lost: got %s, want %s", got, hotspot.LockWaiting)
		}
		w.hello(func(h *wire.Hello) { h.Revision-- })
		w.pass(151 * time.Second)
		if got := state(); got != hotspot.LockWaiting {
			w.Errorf("silent for 151 s: got %s, want %s", got, hotspot.LockWaiting)
		}
		w.hello(nil) // it holds the lock
		if got := state(); got != hotspot.LockReceived {
			w.Errorf("received: got %s, want %s", got, hotspot.LockReceived)
		}
		w.pass(151 * time.Second)
		if got := w.guest(id).Lock; got.State != hotspot.LockWaiting || !strings.Contains(steps(got), "site:received") {
			w.Errorf("received, then silent: got %s [%s], want %s with the step it had reached", got.State, steps(got), hotspot.LockWaiting)
		}
	})
}

func TestProofCountsOnlyForItsOwnLock(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		w.hello(nil)
		lock := func() int64 {
			must(w.TB, w.db.Lock(w.Context(), w.owner, id, ""))
			return w.last().state.To
		}
		first := lock()
		must(w.TB, w.db.Unlock(w.Context(), w.owner, id, ""))
		second := lock()
		apply := func(p wire.LockProof, want bool) {
			w.Helper()
			if news, err := w.db.ApplyProofs(w.Context(), w.agent, "epoch1", []wire.LockProof{p}); err != nil || news != want {
				w.Errorf("got news %v (%v), want %v", news, err, want)
			}
		}
		old := proof(id, first, hotspot.OutcomeEnforced, w.now())
		apply(old, true)
		if got := w.guest(id).Lock.State; got == hotspot.LockEnforced {
			w.Errorf("got %s by the proof of an earlier lock", got)
		}
		apply(old, false)
		apply(proof(id, 0, hotspot.OutcomeEnforced, w.now()), true) // an expiry
		apply(proof(id, second+7, hotspot.OutcomeEnforced, w.now()), true)
		if got := w.guest(id).Lock.State; got == hotspot.LockEnforced {
			w.Errorf("got %s by a proof of no lock of ours", got)
		}
		at := w.now()
		apply(proof(id, second, hotspot.OutcomePending, at), true)
		apply(proof(id, second, hotspot.OutcomePending, at), false)
		if got := w.guest(id).Lock.State; got != hotspot.LockReceived {
			w.Errorf("pending: got %s, want %s", got, hotspot.LockReceived)
		}
		apply(proof(id, second, hotspot.OutcomeLeaks, at.Add(time.Second)), true)
		apply(proof(id, second, hotspot.OutcomePending, at), false)
		if got := w.guest(id).Lock.State; got != hotspot.LockLeaks {
			w.Errorf("got %s, want %s: what was said before changes nothing", got, hotspot.LockLeaks)
		}
		apply(proof(id, second, hotspot.OutcomeUnproven, at.Add(3*time.Second)), true)
		if got := w.guest(id).Lock.State; got != hotspot.LockUnproven {
			w.Errorf("got %s, want %s: a later final outcome replaces", got, hotspot.LockUnproven)
		}
		apply(wire.LockProof{Account: id, Revision: second, Outcome: "nonsense"}, false)
	})
}

// TestLocksNotProvenAreCounted: asked for, pending and waiting ones are open;
// proven, acknowledged, leaking and lifted ones, and those of another site, are
// not.
func TestLocksNotProvenAreCounted(t *testing.T) {
	onBoth(t, func(w *world) {
		other := w.newSite("Harbour")
		open := func() int { w.Helper(); return w.siteStatus().LocksOpen }
		lock := func(id hotspot.AccountID) int64 {
			w.Helper()
			must(w.TB, w.db.Lock(w.Context(), w.owner, id, ""))
			return w.last().state.To
		}
		prove := func(id hotspot.AccountID, rev int64, o hotspot.Outcome) {
			w.Helper()
			w.pass(time.Second)
			_, err := w.db.ApplyProofs(w.Context(), w.agent, "epoch1", []wire.LockProof{proof(id, rev, o, w.now())})
			must(w.TB, err)
		}
		outcomes := []hotspot.Outcome{hotspot.OutcomeEnforced, hotspot.OutcomeLeaks, hotspot.OutcomeUnproven}
		var ids []hotspot.AccountID
		for i := range len(outcomes) {
			ids = append(ids, w.user(fmt.Sprintf("guest%d", i)))
		}
		if got := open(); got != 0 {
			w.Errorf("nobody is locked: got %d open", got)
		}
		var revs []int64
		for i, id := range ids {
			revs = append(revs, lock(id))
			if got := open(); got != i+1 {
				w.Errorf("got %d open after %d locks", got, i+1)
			}
		}
		prove(ids[0], revs[0], hotspot.OutcomePending)
		if got := open(); got != len(ids) {
			w.Errorf("one is pending: got %d open, want %d", got, len(ids))
		}
		for i, o := range outcomes {
			prove(ids[i], revs[i], o)
			if got, want := open(), len(ids)-1-i; got != want {
				w.Errorf("after %s: got %d open, want %d", o, got, want)
			}
		}
		must(w.TB, w.db.Unlock(w.Context(), w.owner, ids[0], ""))
		lock(ids[0])
		if got := open(); got != 1 {
			w.Errorf("locked anew: got %d open, want 1", got)
		}
		must(w.TB, w.db.Unlock(w.Context(), w.owner, ids[0], ""))
		if got := open(); got != 0 {
			w.Errorf("lifted before any proof: got %d open, want none", got)
		}
		lock(ids[0])
		sites, err := w.db.Sites(w.Context(), w.owner.Organization)
		must(w.TB, err)
		for _, s := range sites {
			if want := map[hotspot.SiteID]int{w.site.ID: 1, other.ID: 0}[s.Site.ID]; s.LocksOpen != want {
				w.Errorf("%s: got %d open, want %d", s.Site.Name, s.LocksOpen, want)
			}
		}
	})
}

func TestLockingTwiceIsOneLock(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		must(w.TB, w.db.Lock(w.Context(), w.owner, id, "first"))
		before := len(w.mine)
		must(w.TB, w.db.Lock(w.Context(), w.owner, id, "second"))
		if got := w.guest(id).Lock.Lock.Reason; got != "first" || len(w.mine) != before {
			w.Errorf("got reason %q and %d more changes, want the first lock and none", got, len(w.mine)-before)
		}
		must(w.TB, w.db.Unlock(w.Context(), w.owner, id, ""))
		before = len(w.mine)
		must(w.TB, w.db.Unlock(w.Context(), w.owner, id, ""))
		if len(w.mine) != before {
			w.Errorf("got %d changes by unlocking what is not locked, want none", len(w.mine)-before)
		}
		wantKind(w.TB, w.db.Lock(w.Context(), w.owner, id, "a\x00b"), fault.Invalid)
	})
}

func TestGuestsAreFound(t *testing.T) {
	onBoth(t, func(w *world) {
		var ids []hotspot.AccountID
		for i := range 5 {
			w.pass(time.Millisecond)
			ids = append(ids, w.user(fmt.Sprintf("guest%d", i)))
		}
		w.pass(time.Millisecond)
		voucher, code, err := w.db.CreateAccount(w.Context(), w.owner, hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.Voucher, Plan: w.plan.ID, Note: "Table 7 100% _x"})
		must(w.TB, err)
		l := &siteLog{epoch: "epoch1"}
		s := wire.SessionBody{ID: "s1", Account: ids[2], NAS: "r1", AcctSessionID: "80000001", MAC: "AA:BB:CC:00:11:22", IP: "10.5.50.17",
			StartedAt: w.now(), HeardAt: w.now(), State: hotspot.Live}
		l.add(wire.EventSessionStarted, w.now(), s)
		w.all(l)
		search := func(q string) []hotspot.AccountID {
			found, _, err := w.db.Guests(w.Context(), w.owner.Organization, w.site.ID, q, 10, "")
			must(w.TB, err)
			var got []hotspot.AccountID
			for _, g := range found {
				got = append(got, g.Account.ID)
			}
			return got
		}
		bare := strings.ReplaceAll(code.Reveal(), "-", "")
		for _, tt := range []struct {
			query string
			want  []hotspot.AccountID
		}{
			{"GUEST3", ids[3:4]},
			{code.Reveal(), []hotspot.AccountID{voucher}},
			{strings.ToLower(bare), []hotspot.AccountID{voucher}},
			{bare[:4] + " " + bare[4:], []hotspot.AccountID{voucher}},
			{"table 7", []hotspot.AccountID{voucher}},
			{"100%", []hotspot.AccountID{voucher}},
			{"_x", []hotspot.AccountID{voucher}},
			{"aa:bb:cc:00:11:22", ids[2:3]},
			{"AABB.CC00.1122", ids[2:3]},
			{"aabbcc001122", ids[2:3]},
			{"00-11-22", ids[2:3]},
			{"10.5.50.17", ids[2:3]},
			{"10.5.50.", ids[2:3]},
			{"10.5.50.1", nil},
			{"nobody", nil},
			{"%", []hotspot.AccountID{voucher}}, // its note has one; a wildcard would find all
			{"a\x00b", nil},
		} {
			want := tt.want
			if tt.query == "a\x00b" {
				want = search("")
			}
			if got := search(tt.query); fmt.Sprint(got) != fmt.Sprint(want) {
				w.Errorf("%q: got %v, want %v", tt.query, got, want)
			}
		}
	})
}

func TestGuestsComeInPages(t *testing.T) {
	onBoth(t, func(w *world) {
		var want []hotspot.AccountID
		for i := range 7 {
			w.pass(time.Millisecond)
			want = append([]hotspot.AccountID{w.user(fmt.Sprintf("guest%d", i))}, want...)
		}
		var got []hotspot.AccountID
		after, pages := "", 0
		for {
			page, next, err := w.db.Guests(w.Context(), w.owner.Organization, w.site.ID, "", 3, after)
			must(w.TB, err)
			for _, g := range page {
				got = append(got, g.Account.ID)
				if g.Pass == nil {
					w.Errorf("guest %s comes without its pass", g.Account.ID)
				}
			}
			pages++
			if after = next; next == "" {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || pages != 3 {
			w.Errorf("got %v in %d pages, want %v in 3", got, pages, want)
		}
	})
}
