package store

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// interruptible ends what BringState does after a slice that refuses somebody, as a
// power cut between two slices would.
func (s *site) interruptible() (bring func() (done bool)) {
	var cut context.CancelFunc
	before := s.o.BeforeRefusal
	s.o.BeforeRefusal = func(accounts []hotspot.AccountID, devices []hotspot.MAC, serial uint64) {
		before(accounts, devices, serial)
		cut()
	}
	ctx := s.t.Context()
	ctx, cut = context.WithCancel(ctx)
	s.t.Cleanup(func() { cut() })
	s.reopen()
	return func() bool {
		ctx, cut = context.WithCancel(s.t.Context())
		defer cut()
		_, err := s.BringState(ctx)
		h, herr := s.Standing(s.t.Context())
		s.must(herr)
		if err != nil && ctx.Err() == nil {
			s.t.Fatal(err)
		}
		return h.Revision == s.cloud.rev
	}
}

// stage takes in a snapshot without bringing it into force.
func (s *site) stage(parts []wire.State) {
	s.t.Helper()
	for _, p := range parts {
		if applied, err := s.ApplyState(s.t.Context(), p); err != nil || !applied {
			s.t.Fatalf("piece %d of %s: applied %v, %v", p.Part, p.Snapshot, applied, err)
		}
	}
}

// pieces is the whole set as a cloud of today sends it.
func (c *cloud) pieces(id string, n int) []wire.State {
	parts := c.snapshot(id, n)
	for i := range parts {
		p := &parts[i]
		p.Through, p.Part, p.Parts = fmt.Sprint(i+1), 0, 0
		if i > 0 {
			p.After = fmt.Sprint(i)
		}
		p.Whole = i == len(parts)-1
	}
	return parts
}

// sum is the hash of the documents held, counted anew.
func (s *site) sum() string {
	var h wire.SetHash
	for _, d := range s.held() {
		h.Add(d)
	}
	return h.String()
}

// TestASetComesIntoForceInSlices stops after each slice and starts the program
// anew: whoever logs in then finds the old facts of his account or the new, nobody
// is in who is locked in either set, and the revision is that of before.
func TestASetComesIntoForceInSlices(t *testing.T) {
	s := cafe(t)
	const n = 220
	guest := func(i int, age string) {
		name := fmt.Sprintf("g%03d", i)
		s.cloud.put(wire.DocAccount, name, wire.AccountDoc{Kind: hotspot.User, Username: name, Password: s.cloud.seal(age)})
		s.cloud.put(wire.DocPass, name+age, wire.PassDoc{Account: hotspot.AccountID(name), PlanName: age})
	}
	for i := range n {
		guest(i, "old")
	}
	const both, later, lifted, gone = 100, 219, 50, 150 // locked in both sets, in the new one, in the old one; only in the old one
	name := func(i int) string { return fmt.Sprintf("g%03d", i) }
	s.cloud.lock(name(both))
	s.cloud.lock(name(lifted))
	s.start()
	bring := s.interruptible()
	v := s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	old, err := s.Standing(t.Context())
	s.must(err)

	for i := range n {
		s.cloud.drop(wire.DocPass, name(i)+"old")
		guest(i, "new")
	}
	s.cloud.lock(name(both)) // another lock
	s.cloud.drop(wire.DocLock, name(lifted))
	s.cloud.lock(name(later))
	s.cloud.drop(wire.DocAccount, name(gone))
	s.cloud.drop(wire.DocPass, name(gone)+"new")
	s.stage(s.cloud.pieces("big", 50))

	steps, ages := 0, map[string]int{}
	for done := false; !done; {
		done = bring()
		s.reopen()
		steps++
		h, err := s.Standing(t.Context())
		s.must(err)
		if !done && (h.Revision != old.Revision || !h.Staged.Whole) {
			t.Fatalf("step %d: standing at %d with %+v, want the revision of before, and the snapshot whole", steps, h.Revision, h.Staged)
		}
		if got := s.sum(); got != h.Hash {
			t.Fatalf("step %d: the documents hash %s, said is %s", steps, got, h.Hash)
		}
		for i := range n {
			f := s.facts(name(i))
			if locked := f.Lock != nil; f.Account != nil && locked != (i == both || i == later || i == lifted && !done) {
				t.Errorf("step %d: %s locked %v", steps, name(i), locked)
			}
			switch {
			case i == gone && f.Account == nil:
			case f.Account == nil || f.Pass == nil || string(f.Password) != f.Pass.PlanName:
				t.Fatalf("step %d: %s is half of each: account %v, pass %+v, password of %q", steps, name(i), f.Account, f.Pass, f.Password)
			case done:
				ages[f.Pass.PlanName]++
			}
		}
		s.clock.Add(time.Second)
		s.account(s.record(hotspot.Interim, v, phone, steps, steps, steps)) // acknowledged between two slices
	}
	s.sameSet()
	if steps < 3 || ages["new"] != n-1 || ages["old"] > 0 {
		t.Errorf("%d steps, at the end %v; want several, and all new but the one that is gone", steps, ages)
	}
	if u := s.usage("p-bob"); u.Upload != hotspot.Octets(steps) {
		t.Errorf("usage %+v after %d reports meanwhile", u, steps)
	}
}

// TestALockHoldsBeforeItsSet: set while a snapshot comes, and while it is brought
// into force. It is refused and a target at once, proven, and outlives a restart;
// its document, when it comes, takes nothing of that back.
func TestALockHoldsBeforeItsSet(t *testing.T) {
	for _, when := range []string{"a part is there", "it is being brought into force"} {
		t.Run(when, func(t *testing.T) {
			s := cafe(t)
			s.mustLogin("bob", "hello", phone)
			for i := range 300 {
				s.cloud.put(wire.DocAccount, fmt.Sprint("w", i), wire.AccountDoc{Kind: hotspot.Voucher, Username: fmt.Sprintf("WAIT%04d", i)})
			}
			bring := s.interruptible()
			s.cloud.lineage = "l2" // a site that must get everything
			pieces := s.cloud.pieces("big", 100)
			if when == "a part is there" {
				s.stage(pieces[:1])
			} else {
				s.stage(pieces)
				if bring() {
					t.Fatal("it was in force after one slice")
				}
			}
			s.cloud.lock("a-bob")
			lock := s.cloud.delta()
			if applied, err := s.ApplyState(t.Context(), lock); applied || err != nil {
				t.Fatalf("a delta that does not fit yet: applied %v, %v", applied, err)
			}
			s.want("at once", "bob", "hello", phone, hotspot.ReasonLocked)
			if s.refused["a-bob"] == 0 {
				t.Error("no cache was told")
			}
			s.reopen()
			s.prove(s.target(), hotspot.OutcomeEnforced)
			if when == "a part is there" {
				s.stage(pieces[1:])
			}
			s.cloud.rev-- // what the snapshot leads to
			for !bring() {
				s.want("meanwhile", "bob", "hello", phone, hotspot.ReasonLocked)
			}
			s.cloud.rev++
			s.want("the set is there, without it", "bob", "hello", phone, hotspot.ReasonLocked)
			s.must(s.send(lock))
			s.sameSet()
			received := 0
			for _, k := range s.kinds() {
				if k == wire.EventLockReceived {
					received++
				}
			}
			if targets := s.targets(); len(targets) != 0 || received != 1 {
				t.Errorf("its document came: targets %+v, %d times received; want it proven, and received once", targets, received)
			}
			s.cloud.drop(wire.DocLock, "a-bob")
			s.apply()
			s.mustLogin("bob", "hello", phone)
		})
	}
}

// TestWhatBecomesOfALockThatCameAhead once a set is there that lacks it.
func TestWhatBecomesOfALockThatCameAhead(t *testing.T) {
	for _, tt := range []struct {
		name   string
		then   func(s *site)
		locked bool
		kept   int // events that say so
	}{
		{"its history lifted it", func(s *site) {
			s.cloud.drop(wire.DocLock, "a-bob")
			s.must(skipped(s.ApplyState(s.t.Context(), s.cloud.delta())))
			s.want("lifted at once", "bob", "hello", phone, "")
		}, false, 0},
		{"its history lifted it unheard", func(s *site) { s.cloud.drop(wire.DocLock, "a-bob") }, false, 0},
		{"the cloud was restored from before", func(s *site) {
			delete(s.cloud.docs, wire.DocRef{Kind: wire.DocLock, ID: "a-bob"})
			s.cloud.lineage = "l3"
		}, true, 1},
		{"a lock of a history that leads nowhere", func(s *site) {
			s.cloud.drop(wire.DocLock, "a-bob")
			d := wire.Doc{Kind: wire.DocLock, ID: "v1", Rev: 9999, Body: []byte(`{}`)}
			s.must(skipped(s.ApplyState(s.t.Context(), wire.State{V: 1, Lineage: "l9", From: 9998, To: 9999, Docs: []wire.Doc{d}})))
			s.want("not ours", "ABCD2345", "", laptop, "")
		}, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := cafe(t)
			s.cloud.put(wire.DocPlan, "lost", wire.PlanDoc{Name: "lost on the way"})
			s.cloud.delta()
			s.cloud.lock("a-bob")
			s.must(skipped(s.ApplyState(t.Context(), s.cloud.delta())))
			s.want("ahead", "bob", "hello", phone, hotspot.ReasonLocked)
			tt.then(s)
			for _, p := range s.cloud.pieces("next", 3) {
				s.must(s.send(p))
			}
			s.sameSet()
			reason := hotspot.Reason("")
			if tt.locked {
				reason = hotspot.ReasonLocked
			}
			s.want("at the end", "bob", "hello", phone, reason)
			kept := 0
			for _, k := range s.kinds() {
				if k == wire.EventLockKept {
					kept++
				}
			}
			if kept != tt.kept {
				t.Errorf("told %d times as kept, want %d", kept, tt.kept)
			}
		})
	}
}

func skipped(applied bool, err error) error {
	if err == nil && applied {
		return fmt.Errorf("a delta was applied that nothing leads to")
	}
	return err
}

// TestPiecesAreKeptInTheirOrder: the hello names the place they have come to,
// also after a restart; a repeat, or one behind a gap, changes nothing.
func TestPiecesAreKeptInTheirOrder(t *testing.T) {
	s := cafe(t)
	for i := range 9 {
		s.cloud.guest(fmt.Sprint("g", i), "pw", hotspot.Limits{})
	}
	p := s.cloud.pieces("snap", 3)
	take := func(i int, want bool) {
		t.Helper()
		if applied, err := s.ApplyState(t.Context(), p[i]); err != nil || applied != want {
			t.Errorf("piece %d: applied %v, %v; want %v", i+1, applied, err, want)
		}
	}
	at := func(want wire.Staged) {
		t.Helper()
		if h, err := s.Standing(t.Context()); err != nil || h.Staged == nil || *h.Staged != want {
			t.Errorf("standing at %+v (%v), want %+v", h.Staged, err, want)
		}
	}
	take(1, false) // the first is missing
	at(wire.Staged{})
	take(0, true)
	take(1, true)
	s.reopen()
	at(wire.Staged{Snapshot: "snap", Through: "2"})
	take(3, false)
	take(0, false)
	take(1, false)
	stray := p[2] // that would follow, were it of this snapshot
	stray.Snapshot = "stray"
	if applied, err := s.ApplyState(t.Context(), stray); err != nil || applied {
		t.Errorf("a piece of a snapshot that did not begin here: applied %v, %v; want it refused", applied, err)
	}
	at(wire.Staged{Snapshot: "snap", Through: "2"})
	for i := 2; i < len(p); i++ {
		take(i, true)
	}
	at(wire.Staged{Snapshot: "snap", Through: fmt.Sprint(len(p)), Whole: true})
	take(1, true) // passed over
	other := s.cloud.pieces("other", 100)
	if applied, err := s.ApplyState(t.Context(), other[0]); err != nil || applied {
		t.Errorf("another snapshot: applied %v, %v; want it to wait", applied, err)
	}
	told, err := s.BringState(t.Context())
	if !told || err != nil {
		t.Errorf("told %v, %v", told, err)
	}
	s.sameSet()
	at(wire.Staged{})
	take(len(p)-1, true) // a repeat of what is held
	if told, err := s.BringState(t.Context()); told || err != nil {
		t.Errorf("a repeat was brought into force: told %v, %v", told, err)
	}
	var left int
	s.must(s.query(t.Context(), "count", "SELECT COUNT(*) FROM staged_document", nil, func(scan func(...any) error) error { return scan(&left) }))
	if left != 0 {
		t.Errorf("%d documents stay staged", left)
	}
}

// TestRemovedWhileItWasOnItsWay: a piece takes back what one before it brought.
func TestRemovedWhileItWasOnItsWay(t *testing.T) {
	s := cafe(t)
	s.cloud.guest("eve", "pw", hotspot.Limits{})
	p := s.cloud.pieces("snap", 2)
	s.cloud.drop(wire.DocAccount, "a-eve")
	last := &p[len(p)-1]
	last.Whole = false
	s.stage(p)
	s.stage([]wire.State{{V: 1, Lineage: "l1", Snapshot: "snap", After: last.Through, Through: "end", Whole: true, To: s.cloud.rev, Hash: s.cloud.hash(),
		Gone: []wire.DocRef{{Kind: wire.DocAccount, ID: "a-eve"}}}})
	_, err := s.BringState(t.Context())
	s.must(err)
	s.sameSet()
}

// TestAHashThatWentWrongIsPutRight: the sum kept beside the documents, not they.
func TestAHashThatWentWrongIsPutRight(t *testing.T) {
	s := cafe(t)
	s.must(s.do(t.Context(), func(t *tx) error { t.mark.hash[0]++; return nil }))
	for _, p := range s.cloud.pieces("snap", 2) {
		s.must(s.send(p))
	}
	s.sameSet()
	s.cloud.guest("eve", "pw", hotspot.Limits{})
	s.apply()
	s.sameSet()
}

// TestOnlyWhatDiffersIsTouched: a second snapshot of nearly the same set refuses
// nobody else, and does not open every password again.
func TestOnlyWhatDiffersIsTouched(t *testing.T) {
	s := cafe(t)
	for i := range 5 {
		s.cloud.guest(fmt.Sprint("g", i), "pw", hotspot.Limits{})
	}
	s.apply()
	clear(s.refused)
	s.cloud.guest("g3", "other", hotspot.Limits{})
	for _, p := range s.cloud.pieces("snap", 2) {
		s.must(s.send(p))
	}
	s.sameSet()
	var told []hotspot.AccountID
	for a := range s.refused {
		told = append(told, a)
	}
	if !slices.Equal(told, []hotspot.AccountID{"a-g3"}) {
		t.Errorf("the caches were told of %v, want a-g3 alone", told)
	}
}
