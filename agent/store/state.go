package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

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
	err = db.do(ctx, func(t *tx) error {
		if s.Snapshot != "" {
			return t.stage(s)
		}
		return t.delta(s)
	})
	if errors.Is(err, errNotFromHere) {
		return false, nil
	}
	return err == nil, err
}

func (t *tx) delta(s wire.State) error {
	if s.Lineage != t.mark.lineage || s.From != t.mark.revision || s.To < s.From {
		return errNotFromHere
	}
	return t.atomically(func() error {
		for _, d := range s.Docs {
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

// atomically undoes what f did when it fails, without ending the batch.
func (t *tx) atomically(f func() error) error {
	mark, site, refused := t.mark, t.site, len(t.refused)
	if _, err := t.exec("savepoint", "SAVEPOINT one"); err != nil {
		return err
	}
	err := f()
	if err != nil {
		t.mark, t.site, t.refused = mark, site, t.refused[:refused]
		if _, rollback := t.exec("rollback to savepoint", "ROLLBACK TO one"); rollback != nil {
			return errors.Join(err, rollback)
		}
	}
	_, release := t.exec("release savepoint", "RELEASE one")
	return errors.Join(err, release)
}

// stage keeps one part of a snapshot, and swaps the set when all are there.
func (t *tx) stage(s wire.State) error {
	if s.Part < 1 || s.Part > s.Parts || s.Parts > 1<<16 {
		return fault.New(fault.Invalid, fmt.Sprintf("store: snapshot part %d of %d", s.Part, s.Parts), nil)
	}
	var other int
	if _, err := t.row("read staging", "SELECT COUNT(*) FROM staged_part WHERE snapshot <> ?", []any{s.Snapshot}, &other); err != nil {
		return err
	}
	if other > 0 { // a newer snapshot replaces one that never came whole
		if err := t.clearStage(); err != nil {
			return err
		}
	}
	if _, err := t.exec("stage part", "INSERT OR IGNORE INTO staged_part (snapshot, part) VALUES (?, ?)", s.Snapshot, s.Part); err != nil {
		return err
	}
	for _, d := range s.Docs {
		if _, err := t.exec("stage document", "INSERT OR REPLACE INTO staged_document (kind, id, rev, body) VALUES (?, ?, ?, ?)",
			string(d.Kind), d.ID, d.Rev, []byte(d.Body)); err != nil {
			return err
		}
	}
	var have int
	if _, err := t.row("count parts", "SELECT COUNT(*) FROM staged_part", nil, &have); err != nil || have < s.Parts {
		return err
	}
	if err := t.atomically(func() error { return t.swap(s) }); err != nil && !errors.Is(err, errNotFromHere) {
		return err
	} else if err := t.clearStage(); err != nil {
		return err
	} else {
		return err
	}
}

func (t *tx) clearStage() error {
	_, err := t.exec("clear staging", "DELETE FROM staged_document")
	if err != nil {
		return err
	}
	_, err = t.exec("clear staging", "DELETE FROM staged_part")
	return err
}

// swap makes the staged documents the set. A lock held here that a state of
// another lineage lacks stays until a person lifts it: a cloud restored from a
// backup must not let anybody in.
func (t *tx) swap(s wire.State) error {
	foreign := t.mark.lineage != "" && s.Lineage != t.mark.lineage
	var gone []wire.DocRef
	err := t.rows("find unlisted documents", `SELECT d.kind, d.id FROM document d LEFT JOIN staged_document s ON s.kind = d.kind AND s.id = d.id WHERE s.id IS NULL`,
		nil, func(scan func(...any) error) error {
			var r wire.DocRef
			if err := scan(&r.Kind, &r.ID); err != nil {
				return err
			}
			gone = append(gone, r)
			return nil
		})
	if err != nil {
		return err
	}
	for _, r := range gone {
		if err := t.remove(r, foreign); err != nil {
			return err
		}
	}
	var docs []wire.Doc
	err = t.rows("read staged documents", "SELECT kind, id, rev, body FROM staged_document", nil, func(scan func(...any) error) error {
		var d wire.Doc
		var body []byte
		if err := scan(&d.Kind, &d.ID, &d.Rev, &body); err != nil {
			return err
		}
		d.Body = append(json.RawMessage(nil), body...)
		docs = append(docs, d)
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range docs {
		if err := t.put(d); err != nil {
			return err
		}
	}
	return t.arrive(s)
}

// put stores a document as it came and brings it into force. One that cannot be
// applied is kept, counted in the hash and marked; the rest go on.
func (t *tx) put(d wire.Doc) error {
	var old []byte
	var oldRev int64
	found, err := t.row("read document", "SELECT body, rev FROM document WHERE kind = ? AND id = ?", []any{string(d.Kind), d.ID}, &old, &oldRev)
	if err != nil {
		return err
	}
	if found {
		t.mark.hash.Remove(wire.Doc{Kind: d.Kind, ID: d.ID, Body: old})
	}
	t.mark.hash.Add(d)
	if found && oldRev == d.Rev && string(old) == string(d.Body) {
		return nil
	}
	why := ""
	if err := t.project(d); err != nil {
		if k := fault.KindOf(err); k != fault.Invalid && k != fault.Internal {
			return err
		}
		why = err.Error()
		t.db.o.Log.Warn("a document cannot be applied", "kind", d.Kind, "id", d.ID, "err", err)
	}
	_, err = t.exec("store document", "INSERT OR REPLACE INTO document (kind, id, rev, body, in_force, why) VALUES (?, ?, ?, ?, ?, ?)",
		string(d.Kind), d.ID, d.Rev, []byte(d.Body), why == "", why)
	return err
}

// project makes a document's meaning effective.
func (t *tx) project(d wire.Doc) error {
	switch d.Kind {
	case wire.DocSite:
		var b wire.SiteDoc
		if err := parse(d, &b); err != nil {
			return err
		}
		t.site = b
		return nil
	case wire.DocPlan:
		var b wire.PlanDoc // plans are what the counter sells; passes carry their own copy
		if err := parse(d, &b); err != nil {
			return err
		}
		_, err := b.Limits.Limits()
		return invalid(err)
	case wire.DocAccount:
		return t.projectAccount(d)
	case wire.DocPass:
		return t.projectPass(d)
	case wire.DocLock:
		return t.projectLock(d)
	}
	return fault.New(fault.Invalid, fmt.Sprintf("this program does not know documents of kind %q", d.Kind), nil)
}

func parse(d wire.Doc, into any) error {
	return invalid(json.Unmarshal(d.Body, into))
}

func invalid(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Invalid, "", err)
}

func (t *tx) projectAccount(d wire.Doc) error {
	var b wire.AccountDoc
	if err := parse(d, &b); err != nil {
		return err
	}
	switch b.Kind {
	case hotspot.User, hotspot.Voucher, hotspot.Device:
	default:
		return fault.New(fault.Invalid, fmt.Sprintf("this program does not know accounts of kind %q", b.Kind), nil)
	}
	_, err := t.exec("store account", "INSERT OR REPLACE INTO account (id, kind, username, login_key, password, note) VALUES (?, ?, ?, ?, ?, ?)",
		d.ID, string(b.Kind), b.Username, hotspot.LoginKey(b.Kind, b.Username), b.Password, b.Note)
	t.refused = append(t.refused, hotspot.AccountID(d.ID)) // a changed password ends cached answers too
	return err
}

func (t *tx) projectPass(d wire.Doc) error {
	var b wire.PassDoc
	if err := parse(d, &b); err != nil {
		return err
	}
	if _, err := b.Limits.Limits(); err != nil {
		return invalid(err)
	}
	limits, err := json.Marshal(b.Limits)
	if err != nil {
		return invalid(err)
	}
	_, err = t.exec("store pass", "INSERT OR REPLACE INTO pass (id, account, plan, plan_name, limits, valid_from, valid_until, sold_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		d.ID, b.Account, b.Plan, b.PlanName, string(limits), millis(b.ValidFrom), millis(b.ValidUntil), millis(b.SoldAt))
	t.refused = append(t.refused, b.Account)
	return err
}

func (t *tx) projectLock(d wire.Doc) error {
	var b wire.LockDoc
	if err := parse(d, &b); err != nil {
		return err
	}
	account := hotspot.AccountID(d.ID)
	_, err := t.exec("store lock", "INSERT OR REPLACE INTO lock (account, set_by, reason, set_at, revision, received_at, outcome) VALUES (?, ?, ?, ?, ?, ?, '')",
		account, b.By, b.Reason, millis(b.At), d.Rev, millis(t.now))
	if err != nil {
		return err
	}
	t.refused = append(t.refused, account)
	return t.event(wire.EventLockReceived, wire.LockReceived{Account: account, Revision: d.Rev})
}

// remove takes a document out of the set. keepLock says that a lock stays in
// force all the same.
func (t *tx) remove(ref wire.DocRef, keepLock bool) error {
	var old []byte
	found, err := t.row("read document", "SELECT body FROM document WHERE kind = ? AND id = ?", []any{string(ref.Kind), ref.ID}, &old)
	if err != nil || !found {
		return err
	}
	t.mark.hash.Remove(wire.Doc{Kind: ref.Kind, ID: ref.ID, Body: old})
	if _, err := t.exec("remove document", "DELETE FROM document WHERE kind = ? AND id = ?", string(ref.Kind), ref.ID); err != nil {
		return err
	}
	switch ref.Kind {
	case wire.DocAccount:
		t.refused = append(t.refused, hotspot.AccountID(ref.ID))
		_, err = t.exec("remove account", "DELETE FROM account WHERE id = ?", ref.ID)
	case wire.DocPass:
		var account hotspot.AccountID
		if _, err := t.row("read pass", "SELECT account FROM pass WHERE id = ?", []any{ref.ID}, &account); err != nil {
			return err
		}
		t.refused = append(t.refused, account)
		_, err = t.exec("remove pass", "DELETE FROM pass WHERE id = ?", ref.ID)
	case wire.DocLock:
		if !keepLock {
			_, err = t.exec("remove lock", "DELETE FROM lock WHERE account = ?", ref.ID)
			break
		}
		if _, err := t.exec("keep lock", "UPDATE lock SET revision = 0 WHERE account = ?", ref.ID); err != nil {
			return err
		}
		l, err := t.lockOf(hotspot.AccountID(ref.ID))
		if err != nil || l == nil {
			return err
		}
		return t.event(wire.EventLockKept, wire.LockKept{Account: l.Account, By: l.By, Reason: l.Reason, At: l.At})
	}
	return err
}
