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

// ApplyState applies a delta in one transaction, or keeps one part of a snapshot;
// BringState brings that into force once it is whole. applied is false when the
// message does not continue what is here (a revision is missing, another lineage,
// a hash that does not agree, a piece is missing): nothing changed but that the
// locks in it hold, and a hello tells the cloud what to send instead. One caller
// at a time.
func (db *DB) ApplyState(ctx context.Context, s wire.State) (applied bool, err error) {
	if err := wire.CheckVersion(s.V); err != nil {
		return false, fault.New(fault.Invalid, "store: state", err)
	}
	if err := checkState(s); err != nil {
		return false, err
	}
	if s.Snapshot != "" {
		if err := db.clearStage(ctx, s); err != nil {
			return false, err
		}
		err = db.do(ctx, func(t *tx) error {
			var err error
			applied, err = t.stage(s)
			return err
		})
		return applied && err == nil, err
	}
	docs := make([]document, len(s.Docs))
	for i, d := range s.Docs {
		docs[i] = db.receive(d)
	}
	err = db.do(ctx, func(t *tx) error {
		var err error
		t.said = s.Time
		if applied, err = t.delta(s, docs); err == nil && !applied {
			err = t.locksAhead(s)
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
	case s.Snapshot != "" && s.Through == "" && (s.Part < 1 || s.Part > s.Parts || s.Parts > partsBound):
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
	st, err := t.staging()
	if err != nil || st.whole {
		return false, err // the set held is on its way to another
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
	if err := t.settleAhead(s); err != nil {
		return err
	}
	t.mark.lineage, t.mark.revision = s.Lineage, s.To
	t.dirty, t.tick = true, true
	return nil
}
