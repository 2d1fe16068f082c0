package store_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// receiver is the contract's other end in its shortest form.
type receiver struct {
	lineage string
	rev     int64
	docs    map[wire.DocRef]wire.Doc
}

func (r *receiver) hash() string {
	var h wire.SetHash
	for _, d := range r.docs {
		h.Add(d)
	}
	return h.String()
}

// overTheWire is a state as it arrives.
func overTheWire(t testing.TB, s wire.State) (got wire.State) {
	t.Helper()
	b, err := wire.Encode(s)
	must(t, err)
	must(t, wire.Decode(b, &got))
	return got
}

func (r *receiver) delta(t testing.TB, s wire.State) bool {
	t.Helper()
	s = overTheWire(t, s)
	if s.Lineage != r.lineage || s.From != r.rev {
		return false
	}
	for _, d := range s.Docs {
		r.docs[wire.DocRef{Kind: d.Kind, ID: d.ID}] = d
	}
	for _, ref := range s.Gone {
		delete(r.docs, ref)
	}
	r.rev = s.To
	if got := r.hash(); got != s.Hash {
		t.Fatalf("after delta %d to %d: got hash %s, want %s", s.From, s.To, got, s.Hash)
	}
	return true
}

func (r *receiver) snapshot(t testing.TB, parts []wire.State) {
	t.Helper()
	r.docs = map[wire.DocRef]wire.Doc{}
	for i, s := range parts {
		s = overTheWire(t, s)
		if s.Part != i+1 || s.Parts != len(parts) || s.Snapshot != parts[0].Snapshot {
			t.Fatalf("got part %d of %d of %q, want %d of %d", s.Part, s.Parts, s.Snapshot, i+1, len(parts))
		}
		for _, d := range s.Docs {
			r.docs[wire.DocRef{Kind: d.Kind, ID: d.ID}] = d
		}
		r.lineage, r.rev = s.Lineage, s.To
		if i == len(parts)-1 && r.hash() != s.Hash {
			t.Fatalf("after snapshot: got hash %s, want %s", r.hash(), s.Hash)
		}
	}
}

// equal compares two receivers, revisions of single documents included.
func (r *receiver) equal(t testing.TB, what string, other *receiver) {
	t.Helper()
	if r.rev != other.rev || len(r.docs) != len(other.docs) {
		t.Fatalf("%s: got revision %d with %d documents, want %d with %d", what, r.rev, len(r.docs), other.rev, len(other.docs))
	}
	for ref, d := range r.docs {
		o, ok := other.docs[ref]
		if !ok || o.Rev != d.Rev || !bytes.Equal(o.Body, d.Body) {
			t.Fatalf("%s: %v: got %d %s, want %d %s", what, ref, d.Rev, d.Body, o.Rev, o.Body)
		}
	}
}

func TestDeltasAndSnapshotsGiveTheSameSet(t *testing.T) {
	onBoth(t, func(w *world) {
		t, runs := w.TB, 0
		rapid.Check(t, func(rt *rapid.T) {
			runs++
			w.populate(fmt.Sprintf("owner%d@example.org", runs))
			byDelta := &receiver{docs: map[wire.DocRef]wire.Doc{}}
			parts, err := w.db.Snapshot(t.Context(), w.site.ID)
			must(t, err)
			byDelta.snapshot(t, parts)
			lagging := &receiver{lineage: byDelta.lineage, rev: byDelta.rev, docs: map[wire.DocRef]wire.Doc{}}
			for k, v := range byDelta.docs {
				lagging.docs[k] = v
			}
			seen := len(w.mine)
			var accounts []hotspot.AccountID
			for i := range rapid.IntRange(1, 25).Draw(rt, "changes") {
				w.pass(time.Millisecond)
				randomChange(rt, w, i, &accounts)
				for _, c := range w.mine[seen:] {
					if c.site == w.site.ID && !byDelta.delta(t, c.state) {
						t.Fatalf("delta %d to %d does not continue revision %d", c.state.From, c.state.To, byDelta.rev)
					}
				}
				seen = len(w.mine)
				if rapid.Bool().Draw(rt, "catch up") {
					s, ok, err := w.db.Delta(t.Context(), w.site.ID, lagging.lineage, lagging.rev)
					must(t, err)
					if !ok || !lagging.delta(t, s) {
						t.Fatalf("no delta from revision %d", lagging.rev)
					}
				}
			}
			parts, err = w.db.Snapshot(t.Context(), w.site.ID)
			must(t, err)
			whole := &receiver{}
			whole.snapshot(t, parts)
			byDelta.equal(t, "each change", whole)
			s, ok, err := w.db.Delta(t.Context(), w.site.ID, lagging.lineage, lagging.rev)
			must(t, err)
			if !ok || !lagging.delta(t, s) {
				t.Fatalf("no delta from revision %d", lagging.rev)
			}
			lagging.equal(t, "caught up now and then", whole)
			lineage, rev, hash, err := w.db.Wanted(t.Context(), w.site.ID)
			must(t, err)
			if lineage != whole.lineage || rev != whole.rev || hash != whole.hash() {
				t.Fatalf("got wanted %s %d %s, want %s %d %s", lineage, rev, hash, whole.lineage, whole.rev, whole.hash())
			}
		})
	})
}

func randomChange(rt *rapid.T, w *world, i int, accounts *[]hotspot.AccountID) {
	ctx := w.Context()
	some := func() hotspot.AccountID { return rapid.SampledFrom(*accounts).Draw(rt, "account") }
	kind := rapid.IntRange(0, 9).Draw(rt, "change")
	if len(*accounts) == 0 {
		kind = 0
	}
	switch {
	case kind <= 3:
		n := hotspot.NewAccount{Site: w.site.ID, Plan: w.plan.ID, Kind: hotspot.User, Username: fmt.Sprintf("u<%d>&", i), Note: rapid.StringMatching(`[a-z<>&"é]{0,8}`).Draw(rt, "note")}
		if kind == 3 {
			n.Kind, n.Username = hotspot.Voucher, ""
		}
		id, _, err := w.db.CreateAccount(ctx, w.owner, n)
		must(w.TB, err)
		*accounts = append(*accounts, id)
	case kind <= 5:
		must(w.TB, w.db.Lock(ctx, w.owner, some(), "loud"))
	case kind <= 7:
		must(w.TB, w.db.Unlock(ctx, w.owner, some(), ""))
	case kind == 8:
		_, err := w.db.CreatePlan(ctx, w.owner, hotspot.Plan{Name: fmt.Sprintf("plan %d", i)})
		must(w.TB, err)
	default:
		agent, _ := w.enrol(w.site.ID, w.owner)
		_, _, err := w.db.ConfirmAgent(ctx, w.owner, agent)
		must(w.TB, err)
	}
}

func TestWhatOnlyASnapshotHeals(t *testing.T) {
	onBoth(t, func(w *world) {
		lineage, rev, _, err := w.db.Wanted(w.Context(), w.site.ID)
		must(w.TB, err)
		for name, from := range map[string]struct {
			lineage string
			rev     int64
		}{"another lineage": {"other", rev}, "the future": {lineage, rev + 1}, "nonsense": {lineage, -1}} {
			if _, ok, err := w.db.Delta(w.Context(), w.site.ID, from.lineage, from.rev); err != nil || ok {
				w.Errorf("%s: got ok %v (%v), want no delta", name, ok, err)
			}
		}
		must(w.TB, w.db.NewLineage(w.Context()))
		if _, ok, err := w.db.Delta(w.Context(), w.site.ID, lineage, rev); err != nil || ok {
			w.Errorf("after a restore: got ok %v (%v), want no delta", ok, err)
		}
	})
}

// TestRemovalsOfLongAgoAreForgotten: a site behind that gets its set anew, and
// ends up with nothing that was removed.
func TestRemovalsOfLongAgoAreForgotten(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx := w.Context()
		w.remember = 50
		w.reopen()
		once, often := w.user("once"), w.user("often")
		must(w.TB, w.db.Lock(ctx, w.owner, once, ""))
		behind := &receiver{}
		behind.take(w)
		must(w.TB, w.db.Unlock(ctx, w.owner, once, ""))
		near := &receiver{}
		for rev := int64(0); rev < 120; {
			if rev < 90 { // then revision 100 comes, with which removals are forgotten
				near.take(w)
			}
			must(w.TB, w.db.Lock(ctx, w.owner, often, ""))
			must(w.TB, w.db.Unlock(ctx, w.owner, often, ""))
			_, now, _, err := w.db.Wanted(ctx, w.site.ID)
			must(w.TB, err)
			rev = now
		}
		if got := w.count("SELECT COUNT(*) FROM document WHERE deleted = 1"); got != 1 {
			w.Errorf("%d tombstones are left, want that of the newest lock alone", got)
		}
		if _, ok, err := w.db.Delta(ctx, w.site.ID, behind.lineage, behind.rev); err != nil || ok {
			w.Errorf("a delta from revision %d, since which removals are forgotten (%v)", behind.rev, err)
		}
		delta, ok, err := w.db.Delta(ctx, w.site.ID, near.lineage, near.rev)
		if must(w.TB, err); !ok || !near.delta(w.TB, delta) {
			w.Errorf("no delta from %d", near.rev)
		}
		behind.take(w)
		near.equal(w.TB, "by delta", behind)
	})
}

// count reads one number behind the store's back.
func (w *world) count(query string) (n int) {
	w.Helper()
	driver, dsn := "pgx", w.url
	if path, found := strings.CutPrefix(w.url, "sqlite://"); found {
		driver, dsn = "sqlite", path
	}
	db, err := sql.Open(driver, dsn)
	must(w.TB, err)
	defer db.Close()
	must(w.TB, db.QueryRowContext(w.Context(), query).Scan(&n))
	return n
}

// take gets the whole set.
func (r *receiver) take(w *world) {
	w.Helper()
	parts, err := w.db.Snapshot(w.Context(), w.site.ID)
	must(w.TB, err)
	r.snapshot(w.TB, parts)
}

func TestTooMuchForADeltaComesInParts(t *testing.T) {
	w := newWorld(t, "sqlite")
	_, from, _, err := w.db.Wanted(t.Context(), w.site.ID)
	must(t, err)
	note := string(bytes.Repeat([]byte("n"), 500))
	for i := range 700 {
		_, _, err := w.db.CreateAccount(t.Context(), w.owner, hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.User, Username: fmt.Sprintf("u%d", i), Plan: w.plan.ID, Note: note})
		must(t, err)
	}
	parts, err := w.db.Snapshot(t.Context(), w.site.ID)
	must(t, err)
	if len(parts) < 3 {
		t.Errorf("got %d parts, want several", len(parts))
	}
	for _, p := range parts {
		size := 0
		for _, d := range p.Docs {
			size += len(d.Body)
		}
		if size > wire.PartBytes || p.From != 0 {
			t.Errorf("part %d: got %d octets from %d, want at most %d from 0", p.Part, size, p.From, wire.PartBytes)
		}
	}
	(&receiver{}).snapshot(t, parts)
	if _, ok, err := w.db.Delta(t.Context(), w.site.ID, parts[0].Lineage, from); err != nil || ok {
		t.Errorf("got a delta of everything (%v), want none", err)
	}
}

func TestConcurrentChangesGiveOneRevisionEach(t *testing.T) {
	onBoth(t, func(w *world) {
		_, before, _, err := w.db.Wanted(w.Context(), w.site.ID)
		must(w.TB, err)
		start := len(w.mine)
		var all sync.WaitGroup
		const n = 24
		for i := range n {
			all.Go(func() {
				if _, _, err := w.db.CreateAccount(w.Context(), w.owner, hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.User, Username: fmt.Sprintf("u%d", i), Plan: w.plan.ID}); err != nil {
					w.Error(err)
				}
			})
		}
		// Meanwhile the site's events, and a plan, take the same rows.
		all.Go(func() {
			l := &siteLog{epoch: "epoch1"}
			for i := range 20 {
				l.add(wire.EventSessionUsage, w.now(), w.session("s1", "", int64(i)))
				if _, err := w.db.Ingest(w.Context(), w.agent, l.batch(i+1, i+1)); err != nil {
					w.Error(err)
				}
			}
		})
		all.Wait()
		seen := map[int64]bool{}
		for _, c := range w.mine[start:] {
			seen[c.state.To] = true
		}
		_, rev, hash, err := w.db.Wanted(w.Context(), w.site.ID)
		must(w.TB, err)
		if rev != before+n || len(seen) != n {
			w.Errorf("got revision %d by %d deltas, want %d by %d", rev, len(seen), before+n, n)
		}
		parts, err := w.db.Snapshot(w.Context(), w.site.ID)
		must(w.TB, err)
		r := &receiver{}
		r.snapshot(w.TB, parts)
		if r.hash() != hash {
			w.Errorf("got hash %s, want %s", hash, r.hash())
		}
	})
}

func TestEveryChangeIsAudited(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		w.pass(time.Second)
		must(w.TB, w.db.Lock(w.Context(), w.owner, id, "loud"))
		w.pass(time.Second)
		must(w.TB, w.db.Unlock(w.Context(), w.owner, id, "sorry"))
		entries, err := w.db.Audit(w.Context(), w.owner.Organization, 100)
		must(w.TB, err)
		var got []string
		for _, e := range entries {
			got = append(got, e.What)
			if bytes.Contains([]byte(e.Was+e.Became), []byte("geheim")) {
				w.Errorf("%s: the password is in the audit", e.What)
			}
		}
		want := []string{"account.unlocked", "account.locked"}
		if len(got) < 8 || fmt.Sprint(got[:2]) != fmt.Sprint(want) {
			w.Errorf("got %v, want %v first, and all before", got, want)
		}
		if e := entries[0]; e.Who != "owner@example.org" || e.Subject != string(id) || !json.Valid([]byte(e.Was)) || !bytes.Contains([]byte(e.Became), []byte("sorry")) {
			w.Errorf("got %+v, want who, what, before and after", e)
		}
	})
}

// TestASnapshotOfOneSetHasOneName: sent again it is the same parts of the same one.
func TestASnapshotOfOneSetHasOneName(t *testing.T) {
	onBoth(t, func(w *world) {
		for i := range 20 {
			w.user(fmt.Sprint("guest", i))
		}
		parts := func() []wire.State {
			p, err := w.db.Snapshot(w.Context(), w.site.ID)
			must(w.TB, err)
			for i := range p {
				p[i].Time = time.Time{}
			}
			return p
		}
		first := parts()
		if again := parts(); !reflect.DeepEqual(first, again) {
			w.Errorf("got another snapshot, %q, of a set that did not change, want %q", again[0].Snapshot, first[0].Snapshot)
		}
		w.user("one more")
		if other := parts(); other[0].Snapshot == first[0].Snapshot {
			w.Errorf("got the name %q for another set too", other[0].Snapshot)
		}
	})
}

// pull takes pieces as an agent does, some lost, while change is called between
// windows, until all are there. It returns how many windows that took.
func pull(w *world, change func(window int), lose func(piece int) bool) (docs map[wire.DocRef]wire.Doc, last wire.State, windows int) {
	w.Helper()
	docs = map[wire.DocRef]wire.Doc{}
	var at wire.Staged
	seen := 0
	for windows = 1; windows < 500; windows++ {
		pieces, _, err := w.db.Pieces(w.Context(), w.site.ID, at, 3)
		must(w.TB, err)
		for _, p := range pieces {
			if seen++; lose(seen) || p.After != at.Through && p.After != "" {
				continue
			}
			if p.After == "" {
				clear(docs)
			}
			for _, d := range p.Docs {
				docs[wire.DocRef{Kind: d.Kind, ID: d.ID}] = d
			}
			for _, g := range p.Gone {
				delete(docs, g)
			}
			at = wire.Staged{Snapshot: p.Snapshot, Through: p.Through}
			if p.Whole {
				return docs, p, windows
			}
		}
		change(windows)
	}
	w.Fatal("the pieces never end")
	return nil, last, windows
}

// TestPiecesMakeTheNewestSet: whatever changes, and is removed, while they are on
// their way, and whatever of them is lost.
func TestPiecesMakeTheNewestSet(t *testing.T) {
	onBoth(t, func(w *world) {
		note := string(bytes.Repeat([]byte("n"), 500))
		var ids []hotspot.AccountID
		add := func(n int) {
			for range n {
				id, _, err := w.db.CreateAccount(w.Context(), w.owner, hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.User, Username: fmt.Sprintf("u%d", len(ids)), Plan: w.plan.ID, Note: note})
				must(w.TB, err)
				ids = append(ids, id)
			}
		}
		add(900)
		must(w.TB, w.db.Lock(w.Context(), w.owner, ids[899], "test"))
		must(w.TB, w.db.Lock(w.Context(), w.owner, ids[3], "test"))
		lifted := 0
		docs, last, windows := pull(w, func(window int) {
			add(20)
			must(w.TB, w.db.Lock(w.Context(), w.owner, ids[window], "test"))
			if lifted == 0 { // sent already, and gone since
				lifted++
				must(w.TB, w.db.Unlock(w.Context(), w.owner, ids[899], "test"))
			}
		}, func(piece int) bool { return piece%5 == 2 })
		var h wire.SetHash
		for _, d := range docs {
			h.Add(d)
		}
		lineage, revision, hash, err := w.db.Wanted(w.Context(), w.site.ID)
		must(w.TB, err)
		if h.String() != hash || last.Hash != hash || last.To != revision || last.Lineage != lineage {
			w.Errorf("%d documents hash %s, the last piece says %s at %d; want %s at %d", len(docs), h, last.Hash, last.To, hash, revision)
		}
		if windows < 3 {
			w.Errorf("%d windows: too few to say anything", windows)
		}
	})
}

// TestLocksLeaveFirst: one set while the site was away must not wait behind
// everything else that it lacks.
func TestLocksLeaveFirst(t *testing.T) {
	onBoth(t, func(w *world) {
		var last hotspot.AccountID
		for i := range 30 {
			last = w.user(fmt.Sprint("guest", i))
		}
		must(w.TB, w.db.Lock(w.Context(), w.owner, last, "test"))
		pieces, locks, err := w.db.Pieces(w.Context(), w.site.ID, wire.Staged{}, 16)
		must(w.TB, err)
		p := pieces[0]
		if len(p.Docs) == 0 || p.Docs[0].Kind != wire.DocLock || p.Docs[0].ID != string(last) || locks != p.To {
			w.Errorf("first is %+v, locks have left through %d; want the lock, and %d", p.Docs[0], locks, p.To)
		}
	})
}

// TestPiecesBeginAnewWhereNothingLeadsOn: another lineage, a place nobody could have
// given out, removals that are no longer remembered.
func TestPiecesBeginAnewWhereNothingLeadsOn(t *testing.T) {
	w := newWorld(t, "sqlite")
	w.remember = 100
	w.reopen()
	for i := range 210 {
		w.user(fmt.Sprint("guest", i))
	}
	lineage, to, _, err := w.db.Wanted(t.Context(), w.site.ID)
	must(t, err)
	name := fmt.Sprintf("%s-%d", lineage, to)
	for what, staged := range map[string]wire.Staged{
		"another lineage": {Snapshot: fmt.Sprintf("x-%d", to), Through: "5|account|a"},
		"no place":        {Snapshot: name, Through: "5"},
		"not a number":    {Snapshot: name, Through: "five|account|a"},
		"no base":         {Snapshot: lineage, Through: "5|account|a"},
		"the future":      {Snapshot: name, Through: fmt.Sprintf("%d|account|a", to+1)},
		"forgotten":       {Snapshot: lineage + "-1", Through: "5|account|a"},
	} {
		pieces, _, err := w.db.Pieces(t.Context(), w.site.ID, staged, 16)
		must(t, err)
		if pieces[0].After != "" || pieces[0].Snapshot != name {
			t.Errorf("%s: got a piece behind %q of %s, want the first of %s", what, pieces[0].After, pieces[0].Snapshot, name)
		}
	}
	pieces, _, err := w.db.Pieces(t.Context(), w.site.ID, wire.Staged{Snapshot: name, Through: fmt.Sprintf("%d|pass|zzz", to)}, 16)
	must(t, err)
	if p := pieces[0]; len(pieces) != 1 || !p.Whole || p.After == "" || len(p.Docs) != 0 {
		t.Errorf("got %+v for who has everything, want an empty last piece", pieces)
	}
}

// TestLocksNotReceivedAreKnown: until the site has said so, and while they are in force.
func TestLocksNotReceivedAreKnown(t *testing.T) {
	onBoth(t, func(w *world) {
		one, two := w.user("one"), w.user("two")
		must(w.TB, w.db.Lock(w.Context(), w.owner, one, "test"))
		must(w.TB, w.db.Lock(w.Context(), w.owner, two, "test"))
		want := func(what string, accounts ...hotspot.AccountID) {
			w.Helper()
			s, err := w.db.Unreceived(w.Context(), w.site.ID)
			must(w.TB, err)
			var got []hotspot.AccountID
			for _, d := range s.Docs {
				got = append(got, hotspot.AccountID(d.ID))
			}
			if !reflect.DeepEqual(got, accounts) {
				w.Errorf("%s: got %v, want %v", what, got, accounts)
			}
		}
		want("both", two, one)
		must(w.TB, w.db.Unlock(w.Context(), w.owner, two, "test"))
		want("one lifted", one)
	})
}
