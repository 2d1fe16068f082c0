package store

import (
	"context"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Prove stores how putting an account off ended, and closes the sessions that
// the router itself shows to be gone; an outcome that is only acknowledged closes
// none, their accounting does. The event is the durable record; a pending outcome is told once.
func (db *DB) Prove(ctx context.Context, p hotspot.Proof) error {
	return db.do(ctx, func(t *tx) error {
		if err := t.kicked(p); err != nil {
			return err
		}
		if p.Reason != hotspot.OffLocked {
			if !closes(p.Outcome) {
				return nil // what is open stays a target
			}
			return t.closeProven(p, "")
		}
		var outcome hotspot.Outcome
		var mac string
		locked, err := t.row("read lock", "SELECT outcome, mac FROM lock WHERE account = ? AND revision = ?", []any{p.Account, p.Revision}, &outcome, &mac)
		if err != nil || !locked {
			return err // lifted or replaced meanwhile: the proof is of something else
		}
		if closes(p.Outcome) {
			if err := t.closeProven(p, mac); err != nil {
				return err
			}
		}
		if outcome == p.Outcome && (!p.Outcome.Final() || p.Sessions == 0) {
			return nil // told before
		}
		if _, err := t.exec("store outcome", "UPDATE lock SET outcome = ?, proven_at = ? WHERE account = ?", string(p.Outcome), millis(p.At), p.Account); err != nil {
			return err
		}
		return t.event(wire.EventLockProof, wire.FromProof(p))
	})
}

// Doubt has locks that ended be proven anew: those of the accounts, of which the
// router shows something; without accounts those that ended as less than enforced,
// since a way round the HotSpot was closed, or this program begins.
func (db *DB) Doubt(ctx context.Context, accounts ...hotspot.AccountID) error {
	return db.do(ctx, func(t *tx) error {
		if len(accounts) == 0 {
			_, err := t.exec("doubt locks", "UPDATE lock SET outcome = '' WHERE outcome IN (?, ?)", string(hotspot.OutcomeLeaks), string(hotspot.OutcomeUnproven))
			return err
		}
		for _, a := range accounts {
			if _, err := t.exec("doubt a lock", "UPDATE lock SET outcome = '' WHERE account = ? AND outcome IN (?, ?, ?)", a,
				string(hotspot.OutcomeEnforced), string(hotspot.OutcomeLeaks), string(hotspot.OutcomeUnproven)); err != nil {
				return err
			}
		}
		return nil
	})
}

// closes reports whether an outcome was read back from the router.
func closes(o hotspot.Outcome) bool { return o == hotspot.OutcomeEnforced || o == hotspot.OutcomeLeaks }

// closeProven closes what a proof ended: sessions that began before the work
// did. One that began later, on another pass or after a kick, is not its matter.
// Of a locked device they are those of its MAC, whoever's.
func (t *tx) closeProven(p hotspot.Proof, mac string) error {
	began := p.At
	for _, s := range p.Steps {
		if s.At.Before(began) {
			began = s.At
		}
	}
	if p.Reason == hotspot.OffLocked {
		began = p.At // nothing can begin under a lock, but a Start may come late
	}
	where, whose := "account = ? AND state <> 'closed' AND started_at <= ?", string(p.Account)
	device, isDevice := hotspot.ParseMAC(mac)
	if isDevice {
		where, whose = openOf+" AND started_at <= ?", mac
	}
	open, err := t.findSessions(where, whose, millis(began))
	if err != nil {
		return err
	}
	for _, s := range open {
		over, err := t.over(s, p)
		if err != nil {
			return err
		}
		if over {
			if err := t.closeSession(s, string(p.Reason)); err != nil {
				return err
			}
		}
	}
	if isDevice {
		t.db.desk.withdrawAny(func(s *hotspot.Session) bool { return s.MAC == device && !s.StartedAt.After(began) })
		return nil
	}
	t.db.desk.withdraw(p.Account, func(s *hotspot.Session) bool { return !s.StartedAt.After(began) })
	return nil
}

// over reports whether a proof for its reason covers the session.
func (t *tx) over(s session, p hotspot.Proof) (bool, error) {
	switch p.Reason {
	case hotspot.OffTimeUsed, hotspot.OffDataUsed, hotspot.OffNotValid, hotspot.OffRemoved:
	default:
		return true, nil
	}
	pass, err := t.pass(s.Pass)
	if err != nil || pass == nil {
		return true, err
	}
	gone, err := t.row("read account", "SELECT 1 FROM account WHERE id = ?", []any{s.Account}, new(int))
	return !gone || t.db.o.Off(pass, nil, t.now) != "", err
}
