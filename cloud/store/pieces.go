package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// reached is how far a snapshot in pieces has come: every lock, by id, while rev is
// 0, and from there everything in the order of its revisions. What changes
// meanwhile comes again behind, and the end is the newest revision: nothing has to
// be kept of the set that was there when it began.
type reached struct {
	rev      int64
	kind, id string
}

func (p reached) String() string { return fmt.Sprintf("%d|%s|%s", p.rev, p.kind, p.id) }

func parseReached(text string) (p reached, ok bool) {
	f := strings.SplitN(text, "|", 3)
	if len(f) != 3 {
		return p, false
	}
	rev, err := strconv.ParseInt(f[0], 10, 64)
	return reached{rev, f[1], f[2]}, err == nil
}

// errEnough ends the reading of a window.
var errEnough = errors.New("the window is full")

// Pieces returns the next pieces of a site's set, at most most of them, for an
// agent that has those through staged; from the first where it has none, or none
// that lead on: what was removed must be known back to where the snapshot began.
// Locks come first, and through locks all of them have left with these.
func (db *DB) Pieces(ctx context.Context, site hotspot.SiteID, staged wire.Staged, most int) (pieces []wire.State, locks int64, err error) {
	err = db.read(ctx, "snapshot", func(t *tx) error {
		w := window{t: t, site: site, most: most}
		w.head = wire.State{V: wire.Version, Time: t.now}
		var err error
		if w.head.Lineage, w.head.To, w.head.Hash, err = t.wanted(site); err != nil {
			return err
		}
		if w.head.Seen, err = t.seen(site); err != nil {
			return err
		}
		var compacted int64
		if _, err := t.one(`SELECT compacted FROM site WHERE id = $1`, []any{string(site)}, &compacted); err != nil {
			return err
		}
		w.resume(staged, compacted)
		if err := w.read(); err != nil {
			return err
		}
		pieces, locks = w.pieces, 0
		if w.at.rev > 0 {
			locks = max(w.base, w.at.rev)
		}
		return nil
	})
	return pieces, locks, err
}

// locksAtOnce is how many locks one message carries ahead of their set.
const locksAtOnce = 200

// Unreceived returns the locks in force that the site has not said it received,
// the newest first, as a state that leads to no revision.
func (db *DB) Unreceived(ctx context.Context, site hotspot.SiteID) (s wire.State, err error) {
	err = db.read(ctx, "locks not received", func(t *tx) error {
		s = wire.State{V: wire.Version, Time: t.now}
		var err error
		if s.Lineage, s.To, s.Hash, err = t.wanted(site); err != nil {
			return err
		}
		s.From = s.To
		return t.each(`SELECT d.kind, d.id, d.rev, d.body, d.deleted FROM account_lock l JOIN document d ON d.site = l.site AND d.kind = $2 AND d.id = l.account
			WHERE l.site = $1 AND l.lifted_at = 0 AND l.received_at = 0 AND d.deleted = 0 ORDER BY d.rev DESC LIMIT $3`, []any{string(site), string(wire.DocLock), locksAtOnce},
			func(scan func(...any) error) error {
				d, _, err := scanDoc(scan)
				s.Docs = append(s.Docs, d)
				return err
			})
	})
	return s, err
}

// window is a run of pieces while it is read.
type window struct {
	t      *tx
	site   hotspot.SiteID
	most   int
	head   wire.State // what is the same in all
	base   int64      // revision at which the snapshot began
	at     reached    // of the newest document read
	pieces []wire.State
	size   int // octets in the newest
}

// resume finds where to go on.
func (w *window) resume(staged wire.Staged, compacted int64) {
	dash := max(0, strings.LastIndexByte(staged.Snapshot, '-'))
	lineage, base := staged.Snapshot[:dash], strings.TrimPrefix(staged.Snapshot[dash:], "-")
	rev, err := strconv.ParseInt(base, 10, 64)
	at, ok := parseReached(staged.Through)
	if err == nil && ok && lineage == w.head.Lineage && rev <= w.head.To && at.rev <= w.head.To && rev >= compacted {
		w.base, w.at, w.head.Snapshot = rev, at, staged.Snapshot
		w.begin(staged.Through)
		return
	}
	w.base, w.at = w.head.To, reached{kind: string(wire.DocLock)}
	w.head.Snapshot = fmt.Sprintf("%s-%d", w.head.Lineage, w.base)
	w.begin("")
}

// begin begins a piece behind another.
func (w *window) begin(after string) {
	p := w.head
	p.After, p.Through = after, w.at.String()
	w.pieces, w.size = append(w.pieces, p), 0
}

func (w *window) read() error {
	err := w.documents()
	if errors.Is(err, errEnough) {
		w.pieces[len(w.pieces)-1].Ask = true
		return nil
	}
	last := &w.pieces[len(w.pieces)-1]
	last.Ask, last.Whole = true, true
	return err
}

func (w *window) documents() error {
	if w.at.rev == 0 {
		if err := w.t.each(`SELECT kind, id, rev, body, deleted FROM document WHERE site = $1 AND kind = $2 AND id > $3 AND deleted = 0 ORDER BY kind, id`,
			[]any{string(w.site), string(wire.DocLock), w.at.id}, func(scan func(...any) error) error { return w.add(scan, 0) }); err != nil {
			return err
		}
		w.at = reached{rev: 1}
		w.pieces[len(w.pieces)-1].Through = w.at.String()
	}
	return w.t.each(`SELECT kind, id, rev, body, deleted FROM document WHERE site = $1 AND rev >= $2 AND (rev, kind, id) > ($2, $3, $4) AND (deleted = 0 OR rev > $5)
		ORDER BY rev, kind, id`, []any{string(w.site), w.at.rev, w.at.kind, w.at.id, w.base}, func(scan func(...any) error) error { return w.add(scan, 1) })
}

// add puts a document into the newest piece, or into a next. ordered is 0 while
// locks are read, whose place is by id alone.
func (w *window) add(scan func(...any) error, ordered int64) error {
	d, gone, err := scanDoc(scan)
	if err != nil {
		return err
	}
	last := &w.pieces[len(w.pieces)-1]
	n := len(d.Body) + 100
	if w.size+n > wire.PartBytes && w.size > 0 {
		if len(w.pieces) == w.most {
			return errEnough
		}
		w.begin(last.Through)
		last = &w.pieces[len(w.pieces)-1]
	}
	w.size += n
	w.at = reached{ordered * d.Rev, string(d.Kind), d.ID}
	last.Through = w.at.String()
	if gone {
		last.Gone = append(last.Gone, wire.DocRef{Kind: d.Kind, ID: d.ID})
	} else {
		last.Docs = append(last.Docs, d)
	}
	return nil
}
