package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// held reads the document set back, with what is in force.
func (s *site) held() map[wire.DocRef]wire.Doc {
	s.t.Helper()
	out := map[wire.DocRef]wire.Doc{}
	s.must(s.query(s.t.Context(), "read documents", "SELECT kind, id, rev, body FROM document", nil, func(scan func(...any) error) error {
		var d wire.Doc
		var body []byte
		err := scan(&d.Kind, &d.ID, &d.Rev, &body)
		d.Body = body
		out[wire.DocRef{Kind: d.Kind, ID: d.ID}] = d
		return err
	}))
	return out
}

// sameSet fails the test unless the store holds exactly the cloud's documents.
func (s *site) sameSet() {
	s.t.Helper()
	held := s.held()
	if len(held) != len(s.cloud.docs) {
		s.t.Errorf("%d documents held, the cloud has %d", len(held), len(s.cloud.docs))
	}
	for ref, want := range s.cloud.docs {
		if got := held[ref]; got.Rev != want.Rev || !bytes.Equal(got.Body, want.Body) {
			s.t.Errorf("%v: got %+v, want %+v", ref, got, want)
		}
	}
	h, err := s.Standing(s.t.Context())
	s.must(err)
	if h.Hash != s.cloud.hash() || h.Revision != s.cloud.rev || h.Lineage != s.cloud.lineage {
		s.t.Errorf("standing %s %d %s, want %s %d %s", h.Lineage, h.Revision, h.Hash, s.cloud.lineage, s.cloud.rev, s.cloud.hash())
	}
}

func TestOnlyWhatContinuesIsApplied(t *testing.T) {
	s := cafe(t)
	good := func() wire.State {
		s.cloud.put(wire.DocPlan, "pl1", wire.PlanDoc{Name: "Hour"})
		return s.cloud.delta()
	}
	for name, spoil := range map[string]func(*wire.State){
		"another lineage":     func(d *wire.State) { d.Lineage = "l2" },
		"a revision is lost":  func(d *wire.State) { d.From++; d.To++ },
		"from the past":       func(d *wire.State) { d.From-- },
		"backwards":           func(d *wire.State) { d.To = d.From - 1 },
		"another hash":        func(d *wire.State) { d.Hash = wire.SetHash{1}.String() },
		"no hash":             func(d *wire.State) { d.Hash = "" },
		"a body lost its end": func(d *wire.State) { d.Docs[0].Body = d.Docs[0].Body[:4] },
	} {
		before := s.held()
		d := good()
		real := d
		real.Docs = slices.Clone(d.Docs)
		spoil(&d)
		applied, err := s.ApplyState(t.Context(), d)
		if applied || err != nil {
			t.Errorf("%s: applied %v, err %v; want neither", name, applied, err)
		}
		if after := s.held(); len(after) != len(before) {
			t.Errorf("%s: %d documents after, %d before", name, len(after), len(before))
		}
		s.must(s.send(real))
		s.sameSet()
	}
	for name, spoil := range map[string]func(*wire.State){
		"a version to come":     func(d *wire.State) { d.V = 99 },
		"no lineage":            func(d *wire.State) { d.Lineage = "" },
		"a document of no kind": func(d *wire.State) { d.Docs[0].Kind = "" },
		"part 3 of 2":           func(d *wire.State) { d.Snapshot, d.Part, d.Parts = "x", 3, 2 },
		"a million parts":       func(d *wire.State) { d.Snapshot, d.Part, d.Parts = "x", 1, 1_000_000 },
	} {
		d := good()
		real := d
		real.Docs = slices.Clone(d.Docs)
		spoil(&d)
		if applied, err := s.ApplyState(t.Context(), d); applied || !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: applied %v, err %v; want kind invalid", name, applied, err)
		}
		s.must(s.send(real))
	}
}

func TestARepeatedDeltaIsDone(t *testing.T) {
	s := cafe(t)
	s.cloud.lock("a-bob")
	d := s.cloud.delta()
	s.must(s.send(d))
	n := len(s.events())
	s.must(s.send(d))
	if got := len(s.events()); got != n {
		t.Errorf("a repeat made %d events", got-n)
	}
	s.sameSet()
}

func TestALockIsReceivedInItsOwnCommit(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	ticks, cancel := s.Changed()
	defer cancel()
	s.cloud.lock("a-bob")
	s.apply()
	if s.refused["a-bob"] <= v.Serial {
		t.Errorf("the caches were told serial %d, the Accept has %d", s.refused["a-bob"], v.Serial)
	}
	select {
	case <-ticks:
	default:
		t.Error("nobody was woken")
	}
	all := s.events()
	last := all[len(all)-1]
	var got wire.LockReceived
	s.must(json.Unmarshal(last.Body, &got))
	if want := (wire.LockReceived{Account: "a-bob", Revision: s.cloud.rev}); last.Kind != wire.EventLockReceived || got != want {
		t.Errorf("newest event %s %+v, want lock.received %+v", last.Kind, got, want)
	}
	s.cloud.drop(wire.DocLock, "a-bob")
	s.apply()
	s.mustLogin("bob", "hello", phone)
}

func TestWhatCannotBeAppliedIsKeptCountedAndMarked(t *testing.T) {
	s := cafe(t)
	for id, body := range map[string]any{
		"a-noname": wire.AccountDoc{Kind: hotspot.User, Password: s.cloud.seal("x")},
		"a-nopass": wire.AccountDoc{Kind: hotspot.User, Username: "x"},
		"a-kind":   wire.AccountDoc{Kind: "passkey", Username: "x"},
		"a-mac":    wire.AccountDoc{Kind: hotspot.Device, Username: "not a mac"},
		"a-sealed": wire.AccountDoc{Kind: hotspot.User, Username: "y", Password: "sealed9:abc"},
		"a-array":  []byte(`[1]`),
	} {
		s.cloud.put(wire.DocAccount, id, body)
	}
	for id, body := range map[string]any{
		"p-rate":   wire.PassDoc{Account: "a-bob", Limits: wire.LimitsBody{Rate: "fast"}},
		"p-clock":  wire.PassDoc{Account: "a-bob", Limits: wire.LimitsBody{Clock: "weekdays"}},
		"p-minus":  wire.PassDoc{Account: "a-bob", Limits: wire.LimitsBody{TimeS: -1}},
		"p-for":    wire.PassDoc{Account: "a-bob", Limits: wire.LimitsBody{TimeS: 1 << 60}},
		"p-nobody": wire.PassDoc{},
	} {
		s.cloud.put(wire.DocPass, id, body)
	}
	s.cloud.put("hologram", "h1", map[string]int{"x": 1})
	s.cloud.guest("eve", "pw", hotspot.Limits{}) // the rest goes on
	s.apply()
	s.sameSet()
	h, err := s.Standing(t.Context())
	s.must(err)
	if len(h.NotInForce) != 12 {
		t.Errorf("not in force: %v, want 12 documents", h.NotInForce)
	}
	s.mustLogin("eve", "pw", phone)
	for _, name := range []string{"x", "y"} {
		if v := s.login(name, "x", phone); v.Reason != hotspot.ReasonUnknown {
			t.Errorf("%s: got %+v, want unknown", name, v)
		}
	}
	c, err := s.Counts(t.Context())
	s.must(err)
	if c.NotInForce != 12 || c.Accounts != 4 || c.Site != "Blue Cup" {
		t.Errorf("counts %+v", c)
	}
	// A later version heals, and what was in force stays while it is not readable.
	s.cloud.put(wire.DocAccount, "a-sealed", wire.AccountDoc{Kind: hotspot.User, Username: "y", Password: s.cloud.seal("z")})
	s.cloud.put(wire.DocAccount, "a-eve", wire.AccountDoc{Kind: "passkey", Username: "eve"})
	s.apply()
	if v := s.login("y", "z", phone); v.Account != "a-sealed" {
		t.Errorf("got %+v, want the account once it could be read", v)
	}
	s.mustLogin("eve", "pw", phone)
}

func TestALockNobodyCanReadStillLocks(t *testing.T) {
	s := cafe(t)
	for _, body := range []string{`{"by":7}`, `"locked"`, `{"at":"soon"}`} {
		s.cloud.put(wire.DocLock, "a-bob", []byte(body))
		s.apply()
		if v := s.login("bob", "hello", phone); v.Reason != hotspot.ReasonLocked {
			t.Errorf("body %s: got %+v, want locked", body, v)
		}
		s.cloud.drop(wire.DocLock, "a-bob")
		s.apply()
		s.mustLogin("bob", "hello", phone)
	}
}

func TestASnapshotComesWholeOrNotAtAll(t *testing.T) {
	s := cafe(t)
	before := s.held()
	for i := range 10 {
		s.cloud.guest(fmt.Sprint("g", i), "pw", hotspot.Limits{})
	}
	s.cloud.drop(wire.DocAccount, "v1")
	parts := s.cloud.snapshot("snap1", 4)
	for _, p := range parts[:len(parts)-1] {
		s.must(s.send(p))
		s.must(s.send(p)) // a repeat counts once
	}
	if got := s.held(); len(got) != len(before) {
		t.Errorf("%d documents before the last part came, want %d", len(got), len(before))
	}
	s.reopen()
	s.must(s.send(parts[len(parts)-1]))
	s.sameSet()
	if v := s.login("ABCD-2345", "", phone); v.Reason != hotspot.ReasonUnknown {
		t.Errorf("an account the snapshot lacks: got %+v", v)
	}
	s.mustLogin("g9", "pw", phone)
}

func TestANewerSnapshotReplacesOneThatNeverCameWhole(t *testing.T) {
	s := cafe(t)
	s.cloud.guest("old", "pw", hotspot.Limits{})
	half := s.cloud.snapshot("snap1", 2)
	s.must(s.send(half[0]))
	s.cloud.drop(wire.DocAccount, "a-old")
	for _, p := range s.cloud.snapshot("snap2", 2) {
		s.must(s.send(p))
	}
	s.sameSet()
	for _, p := range half[1:] { // the rest of the first comes late
		s.must(s.send(p))
	}
	s.sameSet()
}

// TestASnapshotSentAgainBringsWhatIsMissing: a box may take longer over a snapshot
// than the cloud waits, or lose a part of it. What came is not taken in anew.
func TestASnapshotSentAgainBringsWhatIsMissing(t *testing.T) {
	s := cafe(t)
	for i := range 9 {
		s.cloud.guest(fmt.Sprint("g", i), "pw", hotspot.Limits{})
	}
	parts := s.cloud.snapshot("snap1", 2)
	const lost = 3
	for i, p := range parts {
		if i != lost {
			s.must(s.send(p))
		}
	}
	s.reopen()
	again := slices.Clone(parts)
	again[0].Docs = []wire.Doc{{Kind: wire.DocPlan, ID: "other", Rev: 1, Body: []byte(`{}`)}} // shows whether it was read
	for _, p := range again {
		s.must(s.send(p))
	}
	s.sameSet()
	var left int
	s.must(s.query(t.Context(), "count", "SELECT COUNT(*) FROM staged_part", nil, func(scan func(...any) error) error { return scan(&left) }))
	if left != 0 {
		t.Errorf("%d parts wait for others, of a snapshot that is held", left)
	}
}

func TestASnapshotOfAnotherHashIsRefusedAndForgotten(t *testing.T) {
	s := cafe(t)
	before := s.held()
	parts := s.cloud.snapshot("snap1", 2)
	for i := range parts {
		parts[i].Hash = wire.SetHash{7}.String()
	}
	parts[0].Docs = parts[0].Docs[:1]
	for _, p := range parts {
		s.must(s.send(p))
	}
	if h, err := s.Standing(t.Context()); err != nil || h.Staged == nil || h.Staged.Snapshot != "" {
		t.Errorf("standing %+v, err %v; want the snapshot forgotten, so that another is sent", h.Staged, err)
	}
	if got := s.held(); len(got) != len(before) {
		t.Errorf("%d documents, want the %d of before", len(got), len(before))
	}
	for _, p := range s.cloud.snapshot("snap2", 2) {
		s.must(s.send(p))
	}
	s.sameSet()
}

// TestALockOutlivesTheCloudThatForgotIt is a cloud restored from a backup: new
// lineage, or the old one at a lower revision.
func TestALockOutlivesTheCloudThatForgotIt(t *testing.T) {
	for name, lineage := range map[string]string{"a new lineage": "l2", "the old lineage, set back": "l1"} {
		t.Run(name, func(t *testing.T) {
			s := cafe(t)
			backup := *s.cloud
			docs := map[wire.DocRef]wire.Doc{}
			for ref, d := range s.cloud.docs {
				docs[ref] = d
			}
			s.cloud.lock("a-bob")
			s.apply()
			backup.docs, backup.lineage = docs, lineage
			s.cloud = &backup
			for _, p := range s.cloud.snapshot("restored", 3) {
				s.must(s.send(p))
			}
			s.sameSet()
			if v := s.login("bob", "hello", phone); v.Reason != hotspot.ReasonLocked {
				t.Errorf("got %+v, want the lock to hold", v)
			}
			all := s.events()
			var kept wire.LockKept
			s.must(json.Unmarshal(all[len(all)-1].Body, &kept))
			if all[len(all)-1].Kind != wire.EventLockKept || kept.Account != "a-bob" || kept.By != "owner" || !kept.At.Equal(noon) {
				t.Errorf("newest event %s %+v", all[len(all)-1].Kind, kept)
			}
			s.reopen()
			for _, p := range s.cloud.snapshot("again", 3) {
				s.must(s.send(p))
			}
			if v := s.login("bob", "hello", phone); v.Reason != hotspot.ReasonLocked {
				t.Errorf("after a second snapshot: got %+v, want the lock to hold", v)
			}
			// The cloud takes the lock over, and a person lifts it.
			s.cloud.lock("a-bob")
			s.apply()
			s.cloud.drop(wire.DocLock, "a-bob")
			s.apply()
			s.mustLogin("bob", "hello", phone)
		})
	}
}

func TestAnUnlockLiftsAKeptLockWithoutItsDocument(t *testing.T) {
	s := cafe(t)
	s.cloud.lock("a-bob")
	s.apply()
	delete(s.cloud.docs, wire.DocRef{Kind: wire.DocLock, ID: "a-bob"})
	s.cloud.lineage = "l2"
	for _, p := range s.cloud.snapshot("restored", 3) {
		s.must(s.send(p))
	}
	s.cloud.drop(wire.DocLock, "a-bob")
	s.apply()
	s.mustLogin("bob", "hello", phone)
	s.sameSet()
}

func TestASnapshotWithoutALockOfTheSameHistoryLifts(t *testing.T) {
	s := cafe(t)
	s.cloud.lock("a-bob")
	s.apply()
	s.cloud.drop(wire.DocLock, "a-bob")
	for _, p := range s.cloud.snapshot("far behind", 3) {
		s.must(s.send(p))
	}
	s.mustLogin("bob", "hello", phone)
}

func TestValidityRunsFromTheSale(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Validity: 24 * time.Hour}) // sold an hour before noon
	s.start()
	s.mustLogin("bob", "hello", phone)
	s.clock.Add(23*time.Hour - time.Second)
	s.mustLogin("bob", "hello", phone)
	s.clock.Add(time.Second)
	if v := s.login("bob", "hello", phone); v.Accept {
		t.Error("let in after the validity ended")
	}
}

// TestTheSetIsTheCloudsWhateverHappens walks a store and a plain map through
// random changes, sent as deltas and snapshots, some lost, repeated or spoilt.
func TestTheSetIsTheCloudsWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSite(t)
		defer func() { s.must(s.Close()) }()
		s.start()
		snapshots := 0
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			id := fmt.Sprint(rapid.IntRange(1, 6).Draw(rt, "id"))
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1:
				s.cloud.put(wire.DocAccount, id, wire.AccountDoc{Kind: hotspot.Voucher, Username: rapid.StringN(0, 5, 20).Draw(rt, "name")})
			case 2:
				s.cloud.lock(id)
			case 3:
				s.cloud.put(wire.DocPass, id, wire.PassDoc{Account: hotspot.AccountID(id), Limits: wire.LimitsBody{Rate: rapid.SampledFrom([]string{"", "1M/2M", "x"}).Draw(rt, "rate")}})
			case 4:
				s.cloud.drop(rapid.SampledFrom([]wire.DocKind{wire.DocAccount, wire.DocLock, wire.DocPass}).Draw(rt, "kind"), id)
			case 5:
				s.cloud.put("unknown", id, []byte(`{}`))
			case 6:
				s.reopen()
			}
			switch rapid.IntRange(0, 5).Draw(rt, "how") {
			case 0, 1, 2:
				d := s.cloud.delta()
				applied, err := s.ApplyState(t.Context(), d)
				s.must(err)
				if !applied { // an earlier one was lost: ask for all
					snapshots++
					for _, p := range s.cloud.snapshot(fmt.Sprint("s", snapshots), 2) {
						s.must(s.send(p))
					}
				}
				s.sameSet()
			case 3:
				d := s.cloud.delta() // lost
				d.Hash = wire.SetHash{9}.String()
				if applied, err := s.ApplyState(t.Context(), d); applied || err != nil {
					rt.Fatalf("a delta of another hash: applied %v, err %v", applied, err)
				}
			case 4:
				snapshots++
				for _, p := range s.cloud.snapshot(fmt.Sprint("s", snapshots), 3) {
					s.must(s.send(p))
				}
				s.sameSet()
			case 5:
				snapshots++
				pieces := s.cloud.pieces(fmt.Sprint("s", snapshots), 2)
				for i := 0; i < len(pieces); { // lost, repeated, out of their order; the hello says where it goes on
					if at := i + rapid.IntRange(-1, 1).Draw(rt, "which"); at != i && at >= 0 && at < len(pieces) {
						_, err := s.ApplyState(t.Context(), pieces[at])
						s.must(err)
					}
					h, err := s.Standing(t.Context())
					s.must(err)
					if i = slices.IndexFunc(pieces, func(p wire.State) bool { return p.Through == h.Staged.Through }) + 1; h.Staged.Snapshot != pieces[0].Snapshot {
						i = 0
					}
					if h.Staged.Whole || h.Revision == s.cloud.rev && h.Hash == s.cloud.hash() && h.Lineage == s.cloud.lineage {
						break
					}
					s.must(s.send(pieces[i]))
				}
				_, err := s.BringState(t.Context())
				s.must(err)
				s.sameSet()
			}
		}
		snapshots++
		for _, p := range s.cloud.snapshot(fmt.Sprint("s", snapshots), 3) {
			s.must(s.send(p))
		}
		s.sameSet()
		for id := range 7 { // the locks in force are those of the set
			_, wanted := s.cloud.docs[wire.DocRef{Kind: wire.DocLock, ID: fmt.Sprint(id)}]
			var locked bool
			s.must(s.do(t.Context(), func(t *tx) error {
				l, err := t.lockOf(hotspot.AccountID(fmt.Sprint(id)))
				locked = l != nil
				return err
			}))
			if locked != wanted {
				rt.Fatalf("account %d locked %v, want %v", id, locked, wanted)
			}
		}
		if rt.Failed() || t.Failed() {
			rt.FailNow()
		}
	})
}

// FuzzApplyState feeds document bodies of every kind: nothing may panic, the
// hash must follow, and a good document beside it must come into force.
func FuzzApplyState(f *testing.F) {
	for _, kind := range []wire.DocKind{wire.DocSite, wire.DocPlan, wire.DocAccount, wire.DocPass, wire.DocLock, "other"} {
		for _, body := range []string{``, `{}`, `null`, `[]`, `{"kind":"user","username":"bob","password":"sealed1:AAAA"}`,
			`{"kind":"voucher","username":"--"}`, `{"account":"a","limits":{"time_s":9223372036854775807,"rate":"1M/"}}`,
			`{"by":"o","reason":"r","at":"2026-11-24T12:00:00Z"}`, `{"limits":{"upload":18446744073709551615,"devices":-1}}`, `{"valid_until":"9999-99-99"}`} {
			f.Add(string(kind), "id", []byte(body))
		}
	}
	s := newSite(f)
	s.start()
	f.Fuzz(func(t *testing.T, kind, id string, body []byte) {
		if kind == "" || id == "" {
			return
		}
		s.t, s.cloud.t = t, t
		s.cloud.put(wire.DocKind(kind), id, body)
		s.cloud.put(wire.DocLock, "witness", wire.LockDoc{By: "owner", At: noon})
		s.apply()
		h, err := s.Standing(t.Context())
		s.must(err)
		if h.Hash != s.cloud.hash() {
			t.Fatalf("hash %s, want %s", h.Hash, s.cloud.hash())
		}
		s.must(s.do(t.Context(), func(x *tx) error {
			l, err := x.lockOf("witness")
			if err == nil && l == nil {
				t.Error("the document beside it is not in force")
			}
			return err
		}))
		if _, err := s.Targets(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = s.Authorize(t.Context(), hotspot.Request{NAS: nas, Username: "bob", MAC: phone})
		s.must(err)
		s.cloud.drop(wire.DocKind(kind), id)
		s.cloud.drop(wire.DocLock, "witness")
		s.apply()
	})
}
