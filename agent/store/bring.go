package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/wire"
)

// bring is a snapshot on its way into force. Only what differs from the set held
// is touched, in slices of the writer's time; between them everybody else is
// served. The set held, its hash and what is in force move together with each
// slice, the revision only at the end. In this order nobody gets in who is locked
// before or after, and the facts of one account change in one slice:
//
//  1. locks that are set;
//  2. account by account, what of it is gone and what is new;
//  3. of the rest what is gone, and then what is new;
//  4. locks that are lifted.
//
// What was in the middle when the program ended is compared anew, and goes on.
type bring struct {
	db      *DB
	staging staging
	older   bool // the set held is of another history, or newer: its locks stay
	bound   int  // documents of the next slice
	changed int  // documents so far
	longest time.Duration
}

const (
	sliceFirst = 100 // documents, before it is known what they take
	sliceLeast = 20
)

// BringState brings a snapshot that is whole into force. told reports that the
// site stands elsewhere now, or asks for another snapshot: time for a hello. It
// returns at once when there is nothing to do; one caller at a time.
func (db *DB) BringState(ctx context.Context) (told bool, err error) {
	st, err := db.staging(ctx)
	if err != nil || st.snapshot == "" {
		return false, join(err, func() error { return db.sweepStage(ctx) })
	}
	if !st.whole {
		return false, nil
	}
	began := time.Now()
	ok, err := db.stagedHash(ctx, st)
	if err != nil {
		return false, err
	}
	b := &bring{db: db, staging: st, bound: sliceFirst}
	if ok {
		err = b.all(ctx)
	} else {
		err = db.do(ctx, func(t *tx) error { return t.saveStaging(staging{}) })
	}
	if err != nil {
		return false, err
	}
	if ok {
		db.o.Log.Info("a snapshot is in force", "revision", st.revision, "changed", b.changed, "dur_ms", time.Since(began).Milliseconds(),
			"longest_slice_ms", b.longest.Milliseconds())
	}
	return true, db.sweepStage(ctx)
}

// join runs f unless there is an error already.
func join(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

// stagedHash reports whether the staged set is the one that was meant.
func (db *DB) stagedHash(ctx context.Context, st staging) (bool, error) {
	var h wire.SetHash
	err := db.queryLate(ctx, "hash staged documents", "SELECT kind, id, body FROM staged_document", nil, func(scan func(...any) error) error {
		var d wire.Doc
		var body []byte
		err := scan(&d.Kind, &d.ID, &body)
		d.Body = body
		h.Add(d)
		return err
	})
	if err == nil && h.String() != st.hash {
		db.o.Log.Warn("a snapshot does not hash as the cloud's, and is dropped", "revision", st.revision, "got", h.String(), "want", st.hash)
		return false, nil
	}
	return err == nil, err
}

// all brings everything into force. The second pass finds nothing, unless what
// was held had not hashed as it should.
func (b *bring) all(ctx context.Context) error {
	err := b.db.queryLate(ctx, "read mark", "SELECT lineage <> '' AND (lineage <> ? OR revision > ?) FROM mark WHERE id = 1", []any{b.staging.lineage, b.staging.revision},
		func(scan func(...any) error) error { return scan(&b.older) })
	if err != nil {
		return err
	}
	for drifted := false; ; drifted = true {
		before := b.changed
		for _, phase := range []func(context.Context) error{b.locks, b.accounts, b.gone, b.rest, b.unlocks} {
			if err := phase(ctx); err != nil {
				return err
			}
		}
		arrived, err := b.arrive(ctx, drifted && b.changed == before)
		if err != nil || arrived {
			return err
		}
	}
}

// arrive moves the mark. forced says that the sets were compared document by
// document and are the same, whatever the sum of the one held says.
func (b *bring) arrive(ctx context.Context, forced bool) (arrived bool, err error) {
	st := b.staging
	err = b.db.do(ctx, func(t *tx) error {
		arrived = false
		if got := t.mark.hash.String(); got != st.hash {
			if !forced {
				return nil
			}
			t.db.o.Log.Warn("the hash of the documents held had gone wrong, and is put right", "revision", st.revision, "got", got, "want", st.hash)
			var err error
			if t.mark.hash, err = wire.ParseSetHash(st.hash); err != nil {
				return fault.New(fault.Damaged, "store: staging", err)
			}
		}
		if err := t.dropMade(st.seen); err != nil {
			return err
		}
		if err := t.settleAhead(wire.State{Lineage: st.lineage, To: st.revision}); err != nil {
			return err
		}
		t.mark.lineage, t.mark.revision = st.lineage, st.revision
		t.dirty, t.tick, arrived = true, true, true
		return t.saveStaging(staging{})
	})
	return arrived && err == nil, err
}

// differs is the condition on a staged document s that is not held like that.
const differs = "NOT EXISTS (SELECT 1 FROM document d WHERE d.kind = s.kind AND d.id = s.id AND d.rev = s.rev AND d.body = s.body)"

// item is one step: a document to put, or one to remove.
type item struct {
	account string
	gone    bool
	doc     document
}

func (b *bring) find(ctx context.Context, what, text string, args ...any) (out []item, err error) {
	err = b.db.queryLate(ctx, what, text, args, func(scan func(...any) error) error {
		var i item
		var body []byte
		err := scan(&i.account, &i.gone, &i.doc.Kind, &i.doc.ID, &i.doc.Rev, &body)
		i.doc.Body = slices.Clone(body)
		out = append(out, i)
		return err
	})
	return out, err
}

// slice brings some documents into force in one transaction, and learns from it
// how many the next may have.
func (b *bring) slice(ctx context.Context, items []item) error {
	for i := range items {
		if d := &items[i].doc; !items[i].gone {
			*d = b.db.receive(d.Doc)
		}
	}
	var took time.Duration
	err := b.db.do(ctx, func(t *tx) error {
		began := time.Now()
		defer func() { took = time.Since(began) }()
		t.said = fromMillis(b.staging.said)
		for _, i := range items {
			var err error
			if i.gone {
				err = t.remove(wire.DocRef{Kind: i.doc.Kind, ID: i.doc.ID}, b.older)
			} else {
				err = t.put(i.doc)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.changed, b.longest = b.changed+len(items), max(b.longest, took)
	switch {
	case took > sliceTime:
		b.bound = max(sliceLeast, b.bound/2)
	case took < sliceTime/2 && len(items) >= b.bound:
		b.bound = min(sliceMost, b.bound*2)
	}
	return nil
}

// each runs slice by slice what a query finds, by kind and id.
func (b *bring) each(ctx context.Context, what, text string) error {
	for after := (wire.DocRef{}); ; {
		items, err := b.find(ctx, what, text, string(after.Kind), after.ID, b.bound)
		if err != nil || len(items) == 0 {
			return err
		}
		if err := b.slice(ctx, items); err != nil {
			return err
		}
		last := items[len(items)-1].doc
		after = wire.DocRef{Kind: last.Kind, ID: last.ID}
	}
}

func (b *bring) locks(ctx context.Context) error {
	return b.each(ctx, "read staged locks", "SELECT '', 0, s.kind, s.id, s.rev, s.body FROM staged_document s WHERE s.kind = 'lock' AND (s.kind, s.id) > (?, ?) AND "+differs+" ORDER BY s.kind, s.id LIMIT ?")
}

func (b *bring) gone(ctx context.Context) error {
	return b.each(ctx, "find unlisted documents", `SELECT '', 1, d.kind, d.id, d.rev, x'' FROM document d WHERE d.kind <> 'lock' AND (d.kind, d.id) > (?, ?)
		AND NOT EXISTS (SELECT 1 FROM staged_document s WHERE s.kind = d.kind AND s.id = d.id) ORDER BY d.kind, d.id LIMIT ?`)
}

func (b *bring) rest(ctx context.Context) error {
	return b.each(ctx, "read staged documents", "SELECT '', 0, s.kind, s.id, s.rev, s.body FROM staged_document s WHERE s.kind <> 'lock' AND (s.kind, s.id) > (?, ?) AND "+differs+" ORDER BY s.kind, s.id LIMIT ?")
}

func (b *bring) unlocks(ctx context.Context) error {
	return b.each(ctx, "find unlisted locks", `SELECT '', 1, d.kind, d.id, d.rev, x'' FROM document d WHERE d.kind = 'lock' AND (d.kind, d.id) > (?, ?)
		AND NOT EXISTS (SELECT 1 FROM staged_document s WHERE s.kind = d.kind AND s.id = d.id) ORDER BY d.kind, d.id LIMIT ?`)
}

// ofAccounts find what differs of accounts and their passes: what is new, and
// what is gone. Each reads its index in the order of accounts and stops at the
// limit, so that all slices together read it once.
var ofAccounts = [...]string{
	`SELECT s.account, 0, s.kind, s.id, s.rev, s.body FROM staged_document s INDEXED BY staged_account WHERE s.account > ? AND s.account < ? AND s.kind IN ('account', 'pass') AND ` + differs + ` ORDER BY s.account LIMIT ?`,
	`SELECT p.account, 1, 'pass', p.id, 0, x'' FROM pass p INDEXED BY pass_account WHERE p.account > ? AND p.account < ? AND NOT EXISTS (SELECT 1 FROM staged_document s WHERE s.kind = 'pass' AND s.id = p.id)
		AND EXISTS (SELECT 1 FROM document d WHERE d.kind = 'pass' AND d.id = p.id) ORDER BY p.account LIMIT ?`,
	`SELECT a.id, 1, 'account', a.id, 0, x'' FROM account a WHERE a.id > ? AND a.id < ? AND NOT EXISTS (SELECT 1 FROM staged_document s WHERE s.kind = 'account' AND s.id = a.id)
		AND EXISTS (SELECT 1 FROM document d WHERE d.kind = 'account' AND d.id = a.id) ORDER BY a.id LIMIT ?`,
}

// accounts brings accounts and their passes into force: all that differs of one
// account is in one slice, so that a login finds either the old or the new of it.
func (b *bring) accounts(ctx context.Context) error {
	for after, most := "", b.bound; ; {
		items, cut, err := b.nextAccounts(ctx, after, most)
		if err != nil || len(items) == 0 && !cut {
			return err
		}
		if len(items) == 0 { // one account alone is more than that
			most *= 2
			continue
		}
		if err := b.slice(ctx, items); err != nil {
			return err
		}
		after, most = items[len(items)-1].account, b.bound
	}
}

// nextAccounts returns what differs of the accounts behind one, in their order:
// about most documents, and of every account in it all. cut says that there is more.
func (b *bring) nextAccounts(ctx context.Context, after string, most int) (items []item, cut bool, err error) {
	end := "\U0010FFFF" // behind every id
	for _, text := range ofAccounts {
		some, err := b.find(ctx, "find what differs of accounts", text, after, end, most)
		if err != nil {
			return nil, false, err
		}
		if len(some) == most { // its last account may not be all there
			end, cut = some[len(some)-1].account, true
		}
		items = append(items, some...)
	}
	if cut {
		items = slices.DeleteFunc(items, func(i item) bool { return i.account >= end })
	}
	slices.SortStableFunc(items, func(x, y item) int { return strings.Compare(x.account, y.account) })
	return items, cut, nil
}
