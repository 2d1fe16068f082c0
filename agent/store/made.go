package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// What staff make on site is in force with its commit and goes up as an event; the
// cloud gives it back as a document of the same id. Until that is held the table made
// is its document; afterwards it remembers that we have it to tell again, should the
// cloud be put back to before it knew.

// loadMade reads at the start whether anything was made on site, and clears away
// what a test of a run before left.
func (t *tx) loadMade() error {
	var here bool
	if _, err := t.row("look for what was made here", "SELECT EXISTS (SELECT 1 FROM made) OR EXISTS (SELECT 1 FROM lock WHERE event <> '')", nil, &here); err != nil {
		return err
	}
	t.db.madeHere.Store(here)
	var tests []wire.DocRef
	err := t.rows("look for tests", "SELECT kind, id FROM made WHERE event = ''", nil, func(scan func(...any) error) error {
		var ref wire.DocRef
		err := scan(&ref.Kind, &ref.ID)
		tests = append(tests, ref)
		return err
	})
	for _, ref := range tests {
		if err == nil {
			err = t.remove(ref, false)
		}
	}
	return err
}

// make brings a document of our own into force and remembers it.
func (t *tx) make(d document, sale hotspot.SaleID, event string, secret bool) error {
	apply, err := read(d)
	if err != nil {
		return fault.New(fault.Invalid, "store: what was to be made cannot be", err)
	}
	if err := apply(t); err != nil {
		return err
	}
	t.db.madeHere.Store(true)
	body := d.bytes()
	if d.Kind == wire.DocAccount {
		if body, err = withoutPassword(body); err != nil {
			return err
		}
	}
	_, err = t.exec("remember what was made here", "INSERT OR REPLACE INTO made (kind, id, body, sale, event, document, secret) VALUES (?, ?, ?, ?, ?, 0, ?)",
		string(d.Kind), d.ID, body, string(sale), event, secret)
	return err
}

func withoutPassword(body []byte) ([]byte, error) {
	var b wire.AccountDoc
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, fault.New(fault.Internal, "store: account made here", err)
	}
	b.Password = ""
	out, err := json.Marshal(b)
	return append([]byte{}, out...), err
}

// madeHeld notes that the cloud's document of something made here is held: it
// counts from now on.
func (t *tx) madeHeld(d wire.Doc) error {
	if !t.db.madeHere.Load() {
		return nil
	}
	switch d.Kind {
	case wire.DocPlan, wire.DocAccount, wire.DocPass:
		_, err := t.exec("note document", "UPDATE made SET document = 1, secret = 0 WHERE kind = ? AND id = ? AND document = 0", string(d.Kind), d.ID)
		return err
	}
	return nil
}

// removeMade follows the tombstone of something made here. keep is for a cloud that
// was put back to before it knew: what was made here stays, and is told again. It
// stays too where the tombstone is of another lock than the one set here.
func (t *tx) removeMade(ref wire.DocRef, keep bool) (stays bool, err error) {
	if ref.Kind == wire.DocLock {
		return t.removeLifted(hotspot.AccountID(ref.ID), keep)
	}
	if !t.db.madeHere.Load() {
		return false, nil
	}
	if !keep {
		_, err := t.exec("forget what was made here", "DELETE FROM made WHERE kind = ? AND id = ?", string(ref.Kind), ref.ID)
		return false, err
	}
	var sale hotspot.SaleID
	found, err := t.row("read what was made here", "SELECT sale FROM made WHERE kind = ? AND id = ? AND event <> ''", []any{string(ref.Kind), ref.ID}, &sale)
	if err != nil || !found {
		return false, err
	}
	if ref.Kind == wire.DocPlan {
		return true, t.tellPlan(ref.ID)
	}
	return true, t.tellSale(sale, ref)
}

// tellPlan tells a plan made here again.
func (t *tx) tellPlan(id string) error {
	var body []byte
	if _, err := t.row("read plan made here", "SELECT body FROM made WHERE kind = 'plan' AND id = ?", []any{id}, &body); err != nil {
		return err
	}
	b := wire.PlanMade{ID: hotspot.PlanID(id), Who: wire.Who{By: "site"}}
	if err := json.Unmarshal(body, &b.PlanDoc); err != nil {
		return fault.New(fault.Damaged, "store: plan "+id, err)
	}
	event, err := t.eventID(wire.EventPlanMade, b)
	if err == nil {
		_, err = t.exec("note telling", "UPDATE made SET event = ?, document = 0 WHERE kind = 'plan' AND id = ?", event, id)
	}
	return err
}

// tellSale tells a sale again, with the account made with it.
func (t *tx) tellSale(sale hotspot.SaleID, ref wire.DocRef) error {
	var body string
	found, err := t.row("read sale", "SELECT body FROM sale WHERE id = ?", []any{string(sale)}, &body)
	if err != nil {
		return err
	}
	if !found {
		return fault.New(fault.Damaged, fmt.Sprintf("store: the sale of %s %s is not there", ref.Kind, ref.ID), nil)
	}
	event, err := t.eventID(wire.EventSaleMade, json.RawMessage(body))
	if err != nil {
		return err
	}
	if _, err := t.exec("note telling", "UPDATE made SET event = ?, document = 0 WHERE kind = ? AND id = ?", event, string(ref.Kind), ref.ID); err != nil {
		return err
	}
	if ref.Kind != wire.DocAccount {
		return nil
	}
	_, err = t.exec("note password", "UPDATE made SET secret = 1 WHERE kind = 'account' AND id = ? AND json_extract(CAST(body AS TEXT), '$.kind') = 'user'", ref.ID)
	if err == nil {
		err = t.tellPasswords()
	}
	return err
}

// eventID is event, and returns the event's id.
func (t *tx) eventID(kind wire.EventKind, body any) (id string, err error) {
	if err := t.event(kind, body); err != nil {
		return "", err
	}
	return t.events[len(t.events)-1].ID, nil
}

// SetCloudKey names the key that secrets inside events are sealed to, and tells the
// passwords that had nobody to be told to.
func (db *DB) SetCloudKey(ctx context.Context, key secret.PublicKey) error {
	db.cloudKey.Store(&key)
	return db.do(ctx, func(t *tx) error { return t.tellPasswords() })
}

// tellPasswords tells the passwords of users made here that the cloud was not told,
// once there is a key to seal them to.
func (t *tx) tellPasswords() error {
	key := t.db.cloudKey.Load()
	if key == nil {
		return nil
	}
	type untold struct{ id, box string }
	var all []untold
	err := t.rows("read passwords to tell", "SELECT m.id, a.password FROM made m JOIN account a ON a.id = m.id WHERE m.secret = 1 AND m.kind = 'account' ORDER BY m.id", nil, func(scan func(...any) error) error {
		var u untold
		err := scan(&u.id, &u.box)
		all = append(all, u)
		return err
	})
	if err != nil {
		return err
	}
	for _, u := range all {
		text, err := t.db.vault.Open(u.box, u.id)
		if err != nil {
			return fault.New(fault.Damaged, "store: open the password of "+u.id, err)
		}
		sealed, err := key.Seal(text)
		if err != nil {
			return fault.New(fault.Internal, "store: seal a password", err)
		}
		if err := t.event(wire.EventAccountPassword, wire.AccountPassword{Account: hotspot.AccountID(u.id), Password: sealed}); err != nil {
			return err
		}
		if _, err := t.exec("note password told", "UPDATE made SET secret = 0 WHERE kind = 'account' AND id = ?", u.id); err != nil {
			return err
		}
	}
	return nil
}

// told reports whether the cloud has stored an event of the counter: one that is not
// in the log any more was acknowledged.
func (t *tx) told(event string, through int64) (bool, error) {
	if i := slices.IndexFunc(t.events, func(e numberedEvent) bool { return e.ID == event }); i >= 0 {
		return t.events[i].seq <= through, nil
	}
	var seq int64
	found, err := t.row("find event", "SELECT seq FROM event WHERE id = ? AND kind IN ('lock.set', 'sale.made', 'plan.made')", []any{event}, &seq)
	return err == nil && (!found || seq <= through), err
}

// dropMade ends what was made here, was taken in by the cloud as a snapshot says, and
// is not in that: somebody removed it there before we ever held its document.
func (t *tx) dropMade(seen wire.Seen) error {
	if seen.Epoch != t.mark.epoch || !t.db.madeHere.Load() {
		return nil
	}
	type waiting struct {
		ref   wire.DocRef
		event string
	}
	var all []waiting
	err := t.rows("read what has no document", `SELECT kind, id, event FROM made WHERE document = 0 AND event <> ''
		UNION ALL SELECT 'lock', account, event FROM lock WHERE event <> '' AND NOT EXISTS (SELECT 1 FROM document d WHERE d.kind = 'lock' AND d.id = lock.account)`,
		nil, func(scan func(...any) error) error {
			var w waiting
			err := scan(&w.ref.Kind, &w.ref.ID, &w.event)
			all = append(all, w)
			return err
		})
	for _, w := range all {
		var told bool
		if err == nil {
			told, err = t.told(w.event, seen.Through)
		}
		if err != nil || !told {
			continue
		}
		if w.ref.Kind == wire.DocLock { // the cloud knew it, whatever it has acknowledged so far
			_, err = t.exec("note that the lock was told", "UPDATE lock SET event = '' WHERE account = ?", w.ref.ID)
		}
		if err == nil {
			err = t.remove(w.ref, false)
		}
	}
	return err
}
