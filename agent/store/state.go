package store

import (
	"context"
	"errors"
	"fmt"

	"iwas/internal/fault"
	"iwas/internal/wire"
)

// partsBound is how many parts a snapshot may have: 8 GiB of documents.
const partsBound = 1 << 16

// errNotFromHere rolls a state message back that does not fit what is held.
var errNotFromHere = fault.New(fault.Conflict, "store: the state does not continue what is held here", nil)

// ApplyState applies a delta, or takes in one part of a snapshot, in one
// transaction. applied is false when the message does not continue what is held
// (a revision is missing, another lineage, a hash that does not agree): nothing
// changed, and a hello tells the cloud what to send instead.
func (db *DB) ApplyState(ctx context.Context, s wire.State) (applied bool, err error) {
	if err := wire.CheckVersion(s.V); err != nil {
		return false, fault.New(fault.Invalid, "store: state", err)
	}
	if err := checkState(s); err != nil {
		return false, err
	}
	if s.Snapshot != "" {
		if staged, err := db.staged(ctx, s); staged || err != nil {
			return staged, err
		}
	}
	docs := make([]document, len(s.Docs))
	for i, d := range s.Docs {
		docs[i] = db.receive(d)
	}
	err = db.do(ctx, func(t *tx) error {
		var err error
		t.said = s.Time
		if s.Snapshot != "" {
			applied, err = t.stage(s, docs)
		} else {
			applied, err = t.delta(s, docs)
		}
		return err
	})
	return applied && err == nil, err
}

// checkState refuses a message no cloud of ours can have meant.
func checkState(s wire.State) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "store: state", fmt.Errorf(format, args...))
	}
	switch {
	case s.Lineage == "":
		return bad("without a lineage")
	case s.To < 0 || s.From < 0:
		return bad("revision %d to %d", s.From, s.To)
	case s.Snapshot != "" && (s.Part < 1 || s.Part > s.Parts || s.Parts > partsBound):
		return bad("snapshot part %d of %d", s.Part, s.Parts)
	}
	for _, d := range s.Docs {
		if d.Kind == "" || d.ID == "" {
			return bad("a document without kind or id")
		}
	}
	return nil
}

func (t *tx) delta(s wire.State, docs []document) (applied bool, err error) {
	if s.Lineage != t.mark.lineage {
		return false, nil
	}
	if s.To == t.mark.revision && s.Hash == t.mark.hash.String() {
		return true, nil // a repeat of what is held
	}
	if s.From != t.mark.revision || s.To < s.From {
		return false, nil
	}
	return t.whole(func() error {
		for _, d := range docs {
			if err := t.put(d); err != nil {
				return err
			}
		}
		for _, ref := range s.Gone {
			if err := t.remove(ref, false); err != nil {
				return err
			}
		}
		return t.arrive(s)
	})
}

// whole runs f; when the set it leaves is not the cloud's, nothing of it stays.
func (t *tx) whole(f func() error) (applied bool, err error) {
	err = t.atomically(f)
	if errors.Is(err, errNotFromHere) {
		return false, nil
	}
	return err == nil, err
}

// arrive moves the mark to the state's revision, if the sets agree.
func (t *tx) arrive(s wire.State) error {
	if got := t.mark.hash.String(); got != s.Hash {
		t.db.o.Log.Warn("the document set does not hash as the cloud's", "revision", s.To, "got", got, "want", s.Hash)
		return errNotFromHere
	}
	t.mark.lineage, t.mark.revision = s.Lineage, s.To
	t.dirty, t.tick = true, true
	return nil
}

// staged reports whether a part of a snapshot is a repeat: it waits here for the
// others, or all are what is held. It costs next to nothing, so that a snapshot
// sent again comes to its missing parts before the next sending. A whole one never
// waits: its last part is kept in the transaction that swaps the set.
func (db *DB) staged(ctx context.Context, s wire.State) (repeat bool, err error) {
	err = db.queryLate(ctx, "look for a staged part", `SELECT EXISTS (SELECT 1 FROM staged_part WHERE snapshot = ? AND part = ?)
		OR EXISTS (SELECT 1 FROM mark WHERE lineage = ? AND revision = ? AND hash = ?)`,
		[]any{s.Snapshot, s.Part, s.Lineage, s.To, s.Hash}, func(scan func(...any) error) error { return scan(&repeat) })
	return repeat, err
}

// stage keeps one part of a snapshot, and swaps the set when all are there.
func (t *tx) stage(s wire.State, docs []document) (applied bool, err error) {
	var other int
	if _, err := t.row("read staging", "SELECT COUNT(*) FROM staged_part WHERE snapshot <> ?", []any{s.Snapshot}, &other); err != nil {
		return false, err
	}
	if other > 0 { // a newer snapshot replaces one that never came whole
		if err := t.clearStage(); err != nil {
			return false, err
		}
	}
	if _, err := t.exec("stage part", "INSERT OR IGNORE INTO staged_part (snapshot, part) VALUES (?, ?)", s.Snapshot, s.Part); err != nil {
		return false, err
	}
	for _, d := range docs {
		if _, err := t.exec("stage document", "INSERT OR REPLACE INTO staged_document (kind, id, rev, body, why, vault) VALUES (?, ?, ?, ?, ?, ?)",
			string(d.Kind), d.ID, d.Rev, d.bytes(), d.why, d.vault); err != nil {
			return false, err
		}
	}
	var have int
	if _, err := t.row("count parts", "SELECT COUNT(*) FROM staged_part", nil, &have); err != nil || have < s.Parts {
		return err == nil, err
	}
	if applied, err = t.whole(func() error { return t.swap(s) }); err != nil {
		return false, err
	}
	return applied, t.clearStage()
}

func (t *tx) clearStage() error {
	_, err := t.exec("clear staged documents", "DELETE FROM staged_document")
	if err != nil {
		return err
	}
	_, err = t.exec("clear staged parts", "DELETE FROM staged_part")
	return err
}

// swap makes the staged documents the set. Only what differs is touched. A lock
// held here that a state of another lineage, or an older one, lacks stays until
// a person lifts it: a cloud restored from a backup must not let anybody in.
func (t *tx) swap(s wire.State) error {
	older := t.mark.lineage != "" && (s.Lineage != t.mark.lineage || s.To < t.mark.revision)
	var gone []wire.DocRef
	err := t.rows("find unlisted documents", `SELECT d.kind, d.id FROM document d
		WHERE NOT EXISTS (SELECT 1 FROM staged_document s WHERE s.kind = d.kind AND s.id = d.id)`,
		nil, func(scan func(...any) error) error {
			var r wire.DocRef
			err := scan(&r.Kind, &r.ID)
			gone = append(gone, r)
			return err
		})
	if err != nil {
		return err
	}
	for _, r := range gone {
		if err := t.remove(r, older); err != nil {
			return err
		}
	}
	for after := (wire.DocRef{}); ; {
		docs, err := t.changed(after)
		if err != nil {
			return err
		}
		if len(docs) == 0 {
			return t.arrive(s)
		}
		for _, d := range docs {
			if err := t.put(d); err != nil {
				return err
			}
			after = wire.DocRef{Kind: d.Kind, ID: d.ID}
		}
	}
}

// changed returns the next staged documents that differ from what is held.
func (t *tx) changed(after wire.DocRef) (docs []document, err error) {
	err = t.rows("read staged documents", `SELECT s.kind, s.id, s.rev, s.body, s.why, s.vault FROM staged_document s
		WHERE (s.kind, s.id) > (?, ?) AND NOT EXISTS (SELECT 1 FROM document d WHERE d.kind = s.kind AND d.id = s.id AND d.rev = s.rev AND d.body = s.body)
		ORDER BY s.kind, s.id LIMIT 500`, []any{string(after.Kind), after.ID}, func(scan func(...any) error) error {
		var d document
		var body []byte
		err := scan(&d.Kind, &d.ID, &d.Rev, &body, &d.why, &d.vault)
		d.Body = append([]byte{}, body...)
		docs = append(docs, d)
		return err
	})
	return docs, err
}
