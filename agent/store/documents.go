package store

import (
	"encoding/json"
	"errors"
	"fmt"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// document is one of the wanted state, with what was found on arrival.
type document struct {
	wire.Doc
	why   string // what is wrong with it; "" for nothing
	vault string // of an account: its password as it is kept here
}

// bytes returns the body as stored: never nil, which SQL would take for NULL.
func (d document) bytes() []byte { return append([]byte{}, d.Body...) }

// receive looks at a document before the writer is asked, since opening a
// password is the slow part. It is kept in the vault from here on, so that no
// login waits for it.
func (db *DB) receive(d wire.Doc) document {
	out := document{Doc: d}
	var b wire.AccountDoc
	if d.Kind != wire.DocAccount || json.Unmarshal(d.Body, &b) != nil {
		return out
	}
	text, err := db.o.Key.Open(b.Password)
	if err != nil {
		out.why = "password: " + err.Error()
		return out
	}
	out.vault = db.vault.Seal(text, d.ID)
	return out
}

// put stores a document as it came and brings it into force. One that cannot be
// applied is kept, counted in the hash and marked; what was in force of it
// before stays, and the rest go on.
func (t *tx) put(d document) error {
	var old []byte
	found, err := t.row("read document", "SELECT body FROM document WHERE kind = ? AND id = ?", []any{string(d.Kind), d.ID}, &old)
	if err != nil {
		return err
	}
	if found {
		t.mark.hash.Remove(wire.Doc{Kind: d.Kind, ID: d.ID, Body: old})
	}
	t.mark.hash.Add(d.Doc)
	apply, err := read(d)
	if err == nil && d.Kind == wire.DocRouter {
		err = t.checkRouter(d.Doc)
	}
	if err == nil && d.why != "" {
		err = errors.New(d.why)
	}
	why := ""
	if err != nil {
		why = err.Error()
		t.db.o.Log.Warn("a document cannot be brought into force", "kind", d.Kind, "id", d.ID, "revision", d.Rev, "err", err)
	} else if err := apply(t); err != nil {
		return err
	}
	_, err = t.exec("store document", "INSERT OR REPLACE INTO document (kind, id, rev, body, in_force, why) VALUES (?, ?, ?, ?, ?, ?)",
		string(d.Kind), d.ID, d.Rev, d.bytes(), why == "", why)
	if err == nil && why == "" {
		err = t.madeHeld(d.Doc)
	}
	return err
}

// read understands a document. It returns what to do, or why nothing can be done.
func read(d document) (apply func(*tx) error, err error) {
	switch d.Kind {
	case wire.DocSite:
		var b wire.SiteDoc
		err = json.Unmarshal(d.Body, &b)
		return func(t *tx) error { t.site = b; return nil }, err
	case wire.DocPlan:
		var b wire.PlanDoc // what the counter sells; a pass carries its own copy
		if err = json.Unmarshal(d.Body, &b); err == nil {
			_, err = b.Limits.Limits()
		}
		return func(*tx) error { return nil }, err
	case wire.DocAccount:
		return readAccount(d)
	case wire.DocPass:
		return readPass(d.Doc)
	case wire.DocLock:
		return readLock(d.Doc)
	case wire.DocGrant:
		return readGrant(d.Doc)
	case wire.DocRouter: // brought about by a person's command; see checkRouter
		return func(t *tx) error { t.tick = true; return nil }, nil
	}
	return nil, fmt.Errorf("this program does not know documents of kind %q", d.Kind)
}

func readAccount(d document) (func(*tx) error, error) {
	var b wire.AccountDoc
	if err := json.Unmarshal(d.Body, &b); err != nil {
		return nil, err
	}
	key := hotspot.LoginKey(b.Kind, b.Username)
	_, isMAC := hotspot.ParseMAC(key)
	switch {
	case key == "":
		return nil, errors.New("an account without a name")
	case b.Kind == hotspot.Device && !isMAC:
		return nil, fmt.Errorf("%q is not a MAC address", b.Username)
	case b.Kind == hotspot.User && b.Password == "":
		return nil, errors.New("a user without a password")
	case b.Kind != hotspot.User && b.Kind != hotspot.Voucher && b.Kind != hotspot.Device:
		return nil, fmt.Errorf("this program does not know accounts of kind %q", b.Kind)
	}
	return func(t *tx) error {
		t.refused = append(t.refused, hotspot.AccountID(d.ID)) // a changed password ends cached answers too
		if err := t.renameAccount(d.ID, key); err != nil {
			return err
		}
		_, err := t.exec("store account", "INSERT OR REPLACE INTO account (id, kind, username, login_key, password, note) VALUES (?, ?, ?, ?, ?, ?)",
			d.ID, string(b.Kind), b.Username, key, d.vault, b.Note)
		if err != nil {
			return err
		}
		if b.Kind != hotspot.Device {
			key = ""
		}
		return t.nameLock(d.ID, key)
	}, nil
}

func readPass(d wire.Doc) (func(*tx) error, error) {
	var b wire.PassDoc
	if err := json.Unmarshal(d.Body, &b); err != nil {
		return nil, err
	}
	limits, err := b.Limits.Limits()
	if err != nil {
		return nil, err
	}
	if b.Account == "" {
		return nil, errors.New("a pass of nobody")
	}
	if b.ValidUntil.IsZero() && limits.Validity > 0 && !b.SoldAt.IsZero() {
		b.ValidUntil = b.SoldAt.Add(limits.Validity)
	}
	return func(t *tx) error {
		if err := t.refusePass(hotspot.PassID(d.ID)); err != nil {
			return err
		}
		if limits.ListsByAPI {
			t.db.apiLists.Store(true)
		}
		t.refused = append(t.refused, b.Account)
		until, text, err := t.adjusted(hotspot.PassID(d.ID), limits, b)
		if err != nil {
			return err
		}
		_, err = t.exec("store pass", "INSERT OR REPLACE INTO pass (id, account, plan, plan_name, limits, valid_from, valid_until, sold_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			d.ID, b.Account, b.Plan, b.PlanName, text, millis(b.ValidFrom), millis(until), millis(b.SoldAt))
		return err
	}, nil
}

// readLock never fails: the document being there is the lock, whatever a later
// cloud writes into it.
func readLock(d wire.Doc) (func(*tx) error, error) {
	var b wire.LockDoc
	if err := json.Unmarshal(d.Body, &b); err != nil {
		b = wire.LockDoc{}
	}
	account := hotspot.AccountID(d.ID)
	return func(t *tx) error {
		// One that came ahead is in force already, perhaps proven.
		n, err := t.exec("find a lock that came ahead", "UPDATE lock SET ahead = '' WHERE account = ? AND revision = ? AND ahead <> ''", account, d.Rev)
		if err != nil || n > 0 {
			return err
		}
		if stands, err := t.standsAgainst(d, b); stands || err != nil {
			return err
		}
		_, err = t.exec("store lock", `INSERT OR REPLACE INTO lock (account, set_by, reason, set_at, revision, received_at, outcome, pause, event, mac) VALUES (?, ?, ?, ?, ?, ?, '', ?,
			COALESCE((SELECT event FROM lock WHERE account = ?), ''),
			COALESCE((SELECT login_key FROM account WHERE id = ? AND kind = 'device'), (SELECT mac FROM lock WHERE account = ?), ''))`,
			account, b.By, b.Reason, millis(b.At), d.Rev, millis(t.now), b.Pause, account, account, account)
		if err != nil {
			return err
		}
		t.devices = true
		t.refused = append(t.refused, account)
		return t.event(wire.EventLockReceived, wire.LockReceived{Account: account, Revision: d.Rev})
	}, nil
}

// remove takes a document out of the set. keep says that what a person on site
// relies on stays in force all the same: a lock, and a grant made here.
func (t *tx) remove(ref wire.DocRef, keep bool) error {
	var old []byte
	found, err := t.row("read document", "SELECT body FROM document WHERE kind = ? AND id = ?", []any{string(ref.Kind), ref.ID}, &old)
	if err != nil {
		return err
	}
	if found {
		t.mark.hash.Remove(wire.Doc{Kind: ref.Kind, ID: ref.ID, Body: old})
		if _, err := t.exec("remove document", "DELETE FROM document WHERE kind = ? AND id = ?", string(ref.Kind), ref.ID); err != nil {
			return err
		}
	}
	if stays, err := t.removeMade(ref, keep); stays || err != nil {
		return err
	}
	switch ref.Kind {
	case wire.DocSite:
		t.site = wire.SiteDoc{}
	case wire.DocAccount:
		t.refused = append(t.refused, hotspot.AccountID(ref.ID))
		if err := t.renameAccount(ref.ID, ""); err != nil {
			return err
		}
		_, err = t.exec("remove account", "DELETE FROM account WHERE id = ?", ref.ID)
	case wire.DocPass:
		if err := t.refusePass(hotspot.PassID(ref.ID)); err != nil {
			return err
		}
		_, err = t.exec("remove pass", "DELETE FROM pass WHERE id = ?", ref.ID)
		return err
	case wire.DocGrant:
		return t.removeGrant(hotspot.GrantID(ref.ID), keep)
	case wire.DocLock:
		if keep {
			return t.keepLock(hotspot.AccountID(ref.ID))
		}
		t.devices = true
		t.freed = append(t.freed, hotspot.AccountID(ref.ID))
		// Also one kept without its document: a person has lifted it. And with the
		// lock of a device, what was kept for that device of accounts that are no more.
		_, err = t.exec("remove locks kept for a device", `DELETE FROM lock WHERE mac <> '' AND mac = (SELECT mac FROM lock WHERE account = ?) AND revision = 0
			AND NOT EXISTS (SELECT 1 FROM account a WHERE a.id = lock.account)`, ref.ID)
		if err != nil {
			return err
		}
		_, err = t.exec("remove lock", "DELETE FROM lock WHERE account = ?", ref.ID)
	}
	return err
}

// renameAccount takes note that the names of an account lead elsewhere from now
// on: those it had, and the one of the key it gets.
func (t *tx) renameAccount(id, key string) error {
	var old string
	_, err := t.row("read login key", "SELECT login_key FROM account WHERE id = ?", []any{id}, &old)
	if err == nil && (old == "" || old != key) {
		t.renamed = append(t.renamed, old, key)
	}
	return err
}

// refusePass ends what was decided for the account that a pass belongs to, before
// its document changes.
func (t *tx) refusePass(id hotspot.PassID) error {
	t.forgetPass(id)
	var account hotspot.AccountID
	found, err := t.row("read pass's account", "SELECT account FROM pass WHERE id = ?", []any{id}, &account)
	if found {
		t.refused = append(t.refused, account)
	}
	return err
}

// keepLock makes a lock the site's own, and tells the cloud of it.
func (t *tx) keepLock(account hotspot.AccountID) error {
	l, err := t.lockOf(account)
	if err != nil || l == nil {
		return err
	}
	if _, err := t.exec("keep lock", "UPDATE lock SET revision = 0, ahead = '' WHERE account = ?", account); err != nil {
		return err
	}
	var mac string
	if _, err := t.row("read locked device", "SELECT mac FROM lock WHERE account = ?", []any{account}, &mac); err != nil {
		return err
	}
	return t.event(wire.EventLockKept, wire.LockKept{Account: l.Account, By: l.By, Reason: l.Reason, At: l.At, MAC: mac})
}
