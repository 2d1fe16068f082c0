package store

import (
	"context"
	"encoding/json"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// sliceMost is how many documents one transaction stages away, or brings into
// force, at most.
const sliceMost = 2000

// staging is the row of the staging table: the snapshot that comes, or that is
// being brought into force.
type staging struct {
	snapshot, lineage, through string
	whole                      bool
	revision                   int64
	hash                       string
	said                       int64
	seen                       wire.Seen // without an epoch: nobody knows
}

const stagingColumns = "snapshot, lineage, through, whole, revision, hash, said, seen_epoch, seen_through FROM staging WHERE id = 1"

func (st *staging) into() []any {
	return []any{&st.snapshot, &st.lineage, &st.through, &st.whole, &st.revision, &st.hash, &st.said, &st.seen.Epoch, &st.seen.Through}
}

func (t *tx) staging() (st staging, err error) {
	_, err = t.row("read staging", "SELECT "+stagingColumns, nil, st.into()...)
	return st, err
}

func (db *DB) staging(ctx context.Context) (st staging, err error) {
	err = db.queryLate(ctx, "read staging", "SELECT "+stagingColumns, nil, func(scan func(...any) error) error { return scan(st.into()...) })
	return st, err
}

func (t *tx) saveStaging(st staging) error {
	_, err := t.exec("save staging", "UPDATE staging SET snapshot = ?, lineage = ?, through = ?, whole = ?, revision = ?, hash = ?, said = ?, seen_epoch = ?, seen_through = ? WHERE id = 1",
		st.snapshot, st.lineage, st.through, st.whole, st.revision, st.hash, st.said, st.seen.Epoch, st.seen.Through)
	return err
}

// begins reports whether a message can be the first of a snapshot that is here.
func begins(s wire.State) bool { return s.Through == "" || s.After == "" }

// clearStage deletes what is staged of another snapshot before one begins, unless
// that is whole: then it comes into force first.
func (db *DB) clearStage(ctx context.Context, s wire.State) error {
	st, err := db.staging(ctx)
	if err != nil || st.whole || st.snapshot == s.Snapshot || !begins(s) {
		return err
	}
	if st.snapshot != "" {
		if err := db.do(ctx, func(t *tx) error { return t.saveStaging(staging{}) }); err != nil {
			return err
		}
	}
	return db.sweepStage(ctx)
}

// sweepStage deletes what is staged of no snapshot, in slices: the writer serves
// others between them.
func (db *DB) sweepStage(ctx context.Context) error {
	for {
		var left, stop bool
		err := db.queryLate(ctx, "look for staged documents", "SELECT EXISTS (SELECT 1 FROM staged_document) OR EXISTS (SELECT 1 FROM staged_part)", nil,
			func(scan func(...any) error) error { return scan(&left) })
		if err != nil || !left {
			return err
		}
		err = db.do(ctx, func(t *tx) error {
			st, err := t.staging()
			if stop = st.snapshot != ""; stop || err != nil {
				return err
			}
			n, err := t.exec("clear staged documents", "DELETE FROM staged_document WHERE (kind, id) IN (SELECT kind, id FROM staged_document LIMIT ?)", sliceMost)
			if err == nil && n < sliceMost {
				_, err = t.exec("clear staged parts", "DELETE FROM staged_part")
			}
			return err
		})
		if err != nil || stop {
			return err
		}
	}
}

// stage keeps one part or piece of a snapshot. A repeat costs next to nothing.
func (t *tx) stage(s wire.State) (kept bool, err error) {
	st, err := t.staging()
	switch {
	case err != nil:
		return false, err
	case st.whole: // being brought into force: repeats are passed over, another one has to wait
		return st.snapshot == s.Snapshot, nil
	case s.Lineage == t.mark.lineage && s.To == t.mark.revision && s.Hash == t.mark.hash.String():
		return true, nil // it is what is held
	case s.Through != "" && st.through != s.After, st.snapshot != s.Snapshot && !begins(s):
		return false, nil // a repeat, or one before it is missing: a hello says where it goes on
	}
	if s.Through == "" {
		n, err := t.exec("stage part", "INSERT OR IGNORE INTO staged_part (snapshot, part) VALUES (?, ?)", s.Snapshot, s.Part)
		if err != nil || n == 0 {
			return err == nil, err
		}
		var have int
		if _, err := t.row("count parts", "SELECT COUNT(*) FROM staged_part", nil, &have); err != nil {
			return false, err
		}
		s.Whole = have >= s.Parts
	}
	if err := t.stageDocuments(s); err != nil {
		return false, err
	}
	next := staging{snapshot: s.Snapshot, lineage: s.Lineage, through: s.Through, whole: s.Whole, revision: s.To, hash: s.Hash, said: millis(s.Time)}
	if s.Seen != nil { // of pieces the last one's is that of the set they make
		next.seen = *s.Seen
	}
	if err := t.saveStaging(next); err != nil {
		return false, err
	}
	return true, t.locksAhead(s)
}

func (t *tx) stageDocuments(s wire.State) error {
	for _, d := range s.Docs {
		if _, err := t.exec("stage document", "INSERT OR REPLACE INTO staged_document (kind, id, rev, body, account) VALUES (?, ?, ?, ?, ?)",
			string(d.Kind), d.ID, d.Rev, document{Doc: d}.bytes(), accountOf(d)); err != nil {
			return err
		}
	}
	for _, r := range s.Gone { // removed since the snapshot began
		if _, err := t.exec("unstage document", "DELETE FROM staged_document WHERE kind = ? AND id = ?", string(r.Kind), r.ID); err != nil {
			return err
		}
	}
	return nil
}

// accountOf returns whose facts a document is about, "" if nobody's.
func accountOf(d wire.Doc) string {
	switch d.Kind {
	case wire.DocAccount, wire.DocLock:
		return d.ID
	case wire.DocPass:
		var b struct {
			Account string `json:"account"`
		}
		if json.Unmarshal(d.Body, &b) == nil {
			return b.Account
		}
	}
	return ""
}

// locksAhead brings the locks of a message into force whose set is not held yet:
// a lock waits for no snapshot. Who it holds for is off from this commit on; the
// set and its hash do not know of it until their documents come. One that the same
// history has lifted meanwhile is lifted here too.
func (t *tx) locksAhead(s wire.State) error {
	if s.Lineage != t.mark.lineage && s.Snapshot == "" {
		st, err := t.staging()
		if err != nil || st.snapshot == "" || st.lineage != s.Lineage {
			return err // of a history that leads nowhere from here
		}
	}
	for _, d := range s.Docs {
		if d.Kind != wire.DocLock || s.Lineage == t.mark.lineage && d.Rev <= t.mark.revision {
			continue
		}
		known, err := t.row("look for a lock", `SELECT 1 FROM document WHERE kind = ? AND id = ? AND rev = ? AND body = ?
			UNION ALL SELECT 1 FROM lock WHERE account = ? AND ahead = ? AND revision >= ?`,
			[]any{string(d.Kind), d.ID, d.Rev, document{Doc: d}.bytes(), d.ID, s.Lineage, d.Rev}, new(int))
		if err != nil {
			return err
		}
		if known {
			continue
		}
		apply, err := readLock(d)
		if err != nil {
			return err
		}
		if err := apply(t); err != nil {
			return err
		}
		if _, err := t.exec("note that a lock came ahead", "UPDATE lock SET ahead = ? WHERE account = ? AND revision = ?", s.Lineage, d.ID, d.Rev); err != nil {
			return err
		}
	}
	for _, r := range s.Gone {
		if r.Kind == wire.DocLock {
			if err := t.liftAhead(hotspot.AccountID(r.ID), s); err != nil {
				return err
			}
		}
	}
	return nil
}

// liftAhead takes back a lock that came ahead and that its history has no more.
func (t *tx) liftAhead(account hotspot.AccountID, s wire.State) error {
	n, err := t.exec("lift a lock that came ahead", "DELETE FROM lock WHERE account = ? AND ahead = ? AND revision <= ?", account, s.Lineage, s.To)
	if n > 0 {
		t.devices = true
		t.freed = append(t.freed, account)
	}
	return err
}

// settleAhead judges the locks that came ahead once a set is there: one of its
// history that the set could know and lacks was lifted; one of another history, or
// of a cloud that was set back, stays until a person lifts it. The mark is still
// that of before.
func (t *tx) settleAhead(s wire.State) error {
	back := s.Lineage == t.mark.lineage && s.To < t.mark.revision
	type ahead struct {
		account hotspot.AccountID
		lineage string
		rev     int64
	}
	var all []ahead
	err := t.rows("read locks that came ahead", "SELECT account, ahead, revision FROM lock WHERE ahead <> ''", nil, func(scan func(...any) error) error {
		var a ahead
		err := scan(&a.account, &a.lineage, &a.rev)
		all = append(all, a)
		return err
	})
	if err != nil {
		return err
	}
	for _, a := range all {
		switch {
		case back || a.lineage != s.Lineage:
			err = t.keepLock(a.account)
		case a.rev <= s.To:
			err = t.liftAhead(a.account, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// staged is how far a snapshot has come, for a hello.
func (db *DB) staged(ctx context.Context) (*wire.Staged, error) {
	st, err := db.staging(ctx)
	return &wire.Staged{Snapshot: st.snapshot, Through: st.through, Whole: st.whole}, err
}

// sliceTime is how long a slice should hold the writer: accounting waits for it.
const sliceTime = 50 * time.Millisecond
