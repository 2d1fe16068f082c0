package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// CodeNotTheirs is the refusal of a lock of the console that a cashier may not lift.
const CodeNotTheirs = "SYS-126"

// Lock puts a guest off on site, until a person lifts it. Locking who is locked
// changes nothing; a pause becomes the lock.
func (db *DB) Lock(ctx context.Context, name, reason string, by hotspot.Staff) error {
	f, err := db.named(ctx, name)
	if err != nil {
		return err
	}
	return db.act(ctx, by, []string{"lock", name, reason}, func(t *tx) error { return t.lockHere(f.account.ID, reason, false, by) })
}

// Pause stops the clock of metered time until somebody resumes: the guest is put
// off, as by a lock that the counter may lift.
func (db *DB) Pause(ctx context.Context, name, reason string, by hotspot.Staff) error {
	account, p, err := db.passNamed(ctx, name)
	if err != nil {
		return err
	}
	if p.Limits.Clock != hotspot.Metered {
		return fault.New(fault.Conflict, "store: the time of "+name+" runs from the first login on, online or not, and cannot be paused", nil).
			WithCode("", "Only plans whose clock is metered can be paused. Lock the guest, or extend the time instead.")
	}
	return db.act(ctx, by, []string{"pause", name, reason}, func(t *tx) error { return t.lockHere(account.ID, reason, true, by) })
}

func (t *tx) lockHere(account hotspot.AccountID, reason string, pause bool, by hotspot.Staff) error {
	old, err := t.lockOf(account)
	switch {
	case err != nil:
		return err
	case old != nil && (pause || !old.Pause):
		if pause && !old.Pause {
			return fault.New(fault.Conflict, "store: this guest is locked", nil).WithCode("", "A lock goes before a pause: unlock first, if that is right.")
		}
		return nil
	}
	var mac string
	if _, err := t.row("read device", "SELECT login_key FROM account WHERE id = ? AND kind = 'device'", []any{account}, &mac); err != nil {
		return err
	}
	b := wire.LockSet{Account: account, Reason: words(reason), At: t.now.UTC().Truncate(time.Millisecond), Pause: pause, Who: wire.FromStaff(staff(by))}
	if pause && b.Reason == "" {
		b.Reason = "paused"
	}
	event := ""
	if test, err := t.isTest(account); err != nil {
		return err
	} else if !test {
		if event, err = t.eventID(wire.EventLockSet, b); err != nil {
			return err
		}
	}
	_, err = t.exec("store lock", "INSERT OR REPLACE INTO lock (account, set_by, reason, set_at, revision, received_at, outcome, mac, event, pause) VALUES (?, ?, ?, ?, 0, ?, '', ?, ?, ?)",
		account, by.String(), b.Reason, millis(b.At), millis(t.now), mac, event, pause)
	t.db.madeHere.Store(true)
	t.devices, t.tick = true, true
	t.refused = append(t.refused, account)
	return err
}

// Unlock lifts a lock on site, also one of the cloud. It lifts the lock that is there
// and no other: one that the cloud set meanwhile holds when it comes.
func (db *DB) Unlock(ctx context.Context, name, reason string, by hotspot.Staff) error {
	return db.lift(ctx, name, reason, false, by)
}

// Resume ends a pause. A lock stays.
func (db *DB) Resume(ctx context.Context, name string, by hotspot.Staff) error {
	return db.lift(ctx, name, "", true, by)
}

func (db *DB) lift(ctx context.Context, name, reason string, pause bool, by hotspot.Staff) error {
	f, err := db.named(ctx, name)
	if err != nil {
		return err
	}
	account := f.account.ID
	return db.act(ctx, by, []string{map[bool]string{true: "resume", false: "unlock"}[pause], name, reason}, func(t *tx) error {
		l, err := t.lockOf(account)
		switch {
		case err != nil:
			return err
		case l == nil:
			return fault.New(fault.Conflict, "store: "+name+" is not "+map[bool]string{true: "paused", false: "locked"}[pause], nil).WithCode("", "Nothing to do.")
		case pause && !l.Pause:
			return fault.New(fault.Conflict, fmt.Sprintf("store: %s is locked by %s, not paused", name, l.By), nil).WithCode("", "Whoever may unlock can lift it.")
		case !l.Pause && l.Revision > 0 && by.Role == hotspot.Cashier:
			return fault.New(fault.Denied, fmt.Sprintf("store: %s was locked in the console by %s", name, l.By), nil).
				WithCode(CodeNotTheirs, "The console lifts it, or a technician on site.")
		}
		return t.liftHere(*l, reason, by)
	})
}

func (t *tx) liftHere(l hotspot.Lock, reason string, by hotspot.Staff) error {
	if _, err := t.exec("remember what was lifted", `INSERT OR REPLACE INTO lifted (account, body) SELECT id, body FROM document WHERE kind = 'lock' AND id = ?`, l.Account); err != nil {
		return err
	}
	if test, err := t.isTest(l.Account); err != nil {
		return err
	} else if !test {
		// The name a lock goes by in the cloud is that of its document: who set it, and when.
		lockedBy, err := t.lockedBy(l)
		if err != nil {
			return err
		}
		if err := t.event(wire.EventLockLifted, wire.LockLifted{Account: l.Account, LockedBy: lockedBy, LockedAt: l.At.UTC(), Reason: words(reason), Who: wire.FromStaff(staff(by))}); err != nil {
			return err
		}
	}
	t.devices, t.tick = true, true
	t.freed = append(t.freed, l.Account)
	_, err := t.exec("lift lock", "DELETE FROM lock WHERE account = ?", l.Account)
	return err
}

// lockedBy is the name in the lock's document, or of who set it here.
func (t *tx) lockedBy(l hotspot.Lock) (string, error) {
	var body []byte
	found, err := t.row("read lock document", "SELECT body FROM document WHERE kind = 'lock' AND id = ?", []any{l.Account}, &body)
	var b wire.LockDoc
	if err != nil || !found || json.Unmarshal(body, &b) != nil {
		return l.By, err
	}
	return b.By, nil
}

// standsAgainst reports whether a lock document changes nothing of what is in force:
// it was lifted here, or it is a pause where a lock set here is not told yet.
func (t *tx) standsAgainst(d wire.Doc, b wire.LockDoc) (bool, error) {
	var lifted []byte
	found, err := t.row("read what was lifted", "SELECT body FROM lifted WHERE account = ?", []any{d.ID}, &lifted)
	if err != nil {
		return false, err
	}
	if found && string(lifted) == string(d.Body) {
		return true, nil
	}
	if found {
		if _, err := t.exec("forget what was lifted", "DELETE FROM lifted WHERE account = ?", d.ID); err != nil {
			return false, err
		}
	}
	if !b.Pause {
		return false, nil
	}
	old, err := t.lockOf(hotspot.AccountID(d.ID))
	if err != nil || old == nil || old.Pause {
		return false, err
	}
	return t.waits(hotspot.AccountID(d.ID))
}

// waits reports whether a lock set here is not told to the cloud yet.
func (t *tx) waits(account hotspot.AccountID) (bool, error) {
	var event string
	found, err := t.row("read lock", "SELECT event FROM lock WHERE account = ?", []any{account}, &event)
	if err != nil || !found || event == "" {
		return false, err
	}
	told, err := t.told(event, t.mark.acked)
	return !told, err
}

// removeLifted follows the tombstone of a lock. A lock set here that the cloud did
// not know of stays: what was lifted there is another.
func (t *tx) removeLifted(account hotspot.AccountID, keep bool) (stays bool, err error) {
	if _, err := t.exec("forget what was lifted", "DELETE FROM lifted WHERE account = ?", account); err != nil || keep {
		return false, err
	}
	if stays, err = t.waits(account); err != nil || !stays {
		return false, err
	}
	_, err = t.exec("keep lock", "UPDATE lock SET revision = 0 WHERE account = ?", account)
	return true, err
}

// KickHere ends the sessions of a guest once. Who has a right to may log in again. It
// returns how many there are.
func (db *DB) KickHere(ctx context.Context, name string, by hotspot.Staff) (sessions int, err error) {
	f, err := db.named(ctx, name)
	if err != nil {
		return 0, err
	}
	account := f.account.ID
	err = db.act(ctx, by, []string{"kick", name}, func(t *tx) error {
		if err := t.settle(); err != nil {
			return err
		}
		if _, err := t.row("count sessions", "SELECT COUNT(*) FROM session WHERE account = ? AND state <> 'closed'", []any{account}, &sessions); err != nil {
			return err
		}
		if sessions == 0 {
			return fault.New(fault.Conflict, "store: "+name+" is not online", nil).WithCode("", "Nothing to do.")
		}
		if err := t.event(wire.EventAccountKicked, wire.AccountKicked{Account: account, Sessions: sessions, Who: wire.FromStaff(staff(by))}); err != nil {
			return err
		}
		t.tick = true
		_, err := t.exec("keep kick", "INSERT INTO command_inbox (id, kind, account, ends, state, result, ended) VALUES (?, ?, ?, ?, ?, '', 0)",
			hotspot.NewID(t.now), string(wire.CommandKick), account, db.ran().Milliseconds()+1, wire.CommandRunning)
		return err
	})
	return sessions, err
}

// staff cuts what people are called to what fits a line.
func staff(s hotspot.Staff) hotspot.Staff {
	s.Name = words(s.Name)
	if s.Name == "" {
		s.Name = "somebody on site"
	}
	return s
}
