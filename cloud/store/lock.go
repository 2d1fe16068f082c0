package store

import (
	"context"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Lock makes "off" the wanted state of an account. Locking what is locked
// changes nothing: the first lock stays, with its steps.
func (db *DB) Lock(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, reason string) error {
	reason = strings.TrimSpace(reason)
	if err := checkReason(reason); err != nil {
		return err
	}
	return db.write(ctx, "lock account", func(t *tx) error {
		site, err := t.siteOf(actor.Organization, account)
		if err != nil {
			return err
		}
		c, err := t.change(actor.Organization, site)
		if err != nil {
			return err
		}
		made, err := c.lock(hotspot.Lock{Account: account, By: nameOf(actor), Reason: reason, At: t.now})
		if err != nil {
			return err
		}
		if err := c.finish(); err != nil || !made {
			return err
		}
		return t.audit(actor, site, "account.locked", string(account), nil, map[string]string{"reason": reason})
	})
}

// lock writes a lock's row and document, unless the account is locked. A lock takes
// the place of a pause.
func (c *change) lock(l hotspot.Lock) (made bool, err error) {
	if !l.Pause {
		if err := c.t.exec(`UPDATE account_lock SET lifted_at = $3, lifted_by = $4, lifted_reason = 'locked' WHERE site = $1 AND account = $2 AND lifted_at = 0 AND pause = 1`,
			string(c.site), string(l.Account), ms(c.t.now), l.By); err != nil {
			return false, err
		}
	}
	n, err := c.t.touched(`INSERT INTO account_lock (site, id, account, revision, locked_by, reason, requested_at, sent_at, received_at,
			proven_at, outcome, proof, lifted_at, lifted_by, lifted_reason, pause)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, '', '', 0, '', '', $8)
		ON CONFLICT (site, account) WHERE lifted_at = 0 DO NOTHING`,
		string(c.site), hotspot.NewID(c.t.now), string(l.Account), c.rev, l.By, l.Reason, ms(l.At), flag(l.Pause))
	if err != nil || n == 0 {
		return false, err
	}
	return true, c.put(wire.DocLock, string(l.Account), wire.LockDoc{By: l.By, Reason: l.Reason, At: l.At.UTC(), Pause: l.Pause})
}

// Unlock lifts an account's lock; the lock and its proof stay in the history.
// Unlocking what is not locked changes nothing.
func (db *DB) Unlock(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, reason string) error {
	reason = strings.TrimSpace(reason)
	if err := checkReason(reason); err != nil {
		return err
	}
	return db.write(ctx, "unlock account", func(t *tx) error {
		site, err := t.siteOf(actor.Organization, account)
		if err != nil {
			return err
		}
		c, err := t.change(actor.Organization, site)
		if err != nil {
			return err
		}
		var was struct {
			By     string `json:"by"`
			Reason string `json:"reason"`
		}
		found, err := t.one(`UPDATE account_lock SET lifted_at = $3, lifted_by = $4, lifted_reason = $5
			WHERE site = $1 AND account = $2 AND lifted_at = 0 RETURNING locked_by, reason`,
			[]any{string(site), string(account), ms(t.now), nameOf(actor), reason}, &was.By, &was.Reason)
		if err != nil {
			return err
		}
		if err := c.remove(wire.DocLock, string(account)); err != nil {
			return err
		}
		if err := c.finish(); err != nil || !found {
			return err
		}
		return t.audit(actor, site, "account.unlocked", string(account), was, map[string]string{"reason": reason})
	})
}

// MarkSent notes when the locks up to a revision first left for their site, by
// the cloud's clock.
func (db *DB) MarkSent(ctx context.Context, site hotspot.SiteID, revision int64, sent time.Time) error {
	return db.writeLazily(ctx, "mark locks sent", func(t *tx) error {
		return t.exec(`UPDATE account_lock SET sent_at = $3 WHERE site = $1 AND lifted_at = 0 AND sent_at = 0 AND revision <= $2`,
			string(site), revision, ms(sent))
	})
}

// lockRow is a lock as stored.
type lockRow struct {
	lock     hotspot.Lock
	sent     time.Time // cloud's clock
	received time.Time // site's clock
	outcome  hotspot.Outcome
	proof    wire.LockProof // zero before any
	ended    hotspot.Outcome
	endedAt  time.Time // site's clock; of ended, the newest final outcome, "" before any
	presence hotspot.Presence
}

// status is the lock as people see it: each step with the machine whose clock
// it is, and nothing said to be done that is not known to be.
func (r lockRow) status() hotspot.LockStatus {
	s := hotspot.LockStatus{State: r.state(), Lock: &r.lock, Method: r.proof.Method, Code: r.proof.Code}
	step := func(name, machine string, at time.Time) {
		if !at.IsZero() {
			s.Steps = append(s.Steps, hotspot.LockStep{Name: name, Machine: machine, At: at, OK: true})
		}
	}
	step("requested", "cloud", r.lock.At)
	step("sent", "cloud", r.sent)
	step(hotspot.StepReceived, "site", r.received)
	for _, p := range r.proof.Steps {
		if p.Name == hotspot.StepReceived {
			continue // told above
		}
		s.Steps = append(s.Steps, hotspot.LockStep{Name: p.Name, Machine: "site", At: p.At, OK: p.OK, Detail: p.Detail,
			Took: time.Duration(p.TookMS * float64(time.Millisecond))})
	}
	if r.outcome == hotspot.OutcomePending && r.ended.Final() {
		s.Reopened = &hotspot.Reopened{Was: finalStates[r.ended], WasAt: r.endedAt, Since: r.proof.At}
	}
	if r.outcome.Final() {
		s.Steps = append(s.Steps, hotspot.LockStep{Name: string(s.State), Machine: "site", At: r.proof.At, OK: r.outcome == hotspot.OutcomeEnforced,
			Took: tookSince(r.received, r.proof.At), Detail: r.proof.Code})
	}
	for i := range s.Steps {
		s.Steps[i].Order = i + 1
	}
	return s
}

var finalStates = map[hotspot.Outcome]hotspot.LockState{hotspot.OutcomeEnforced: hotspot.LockEnforced, hotspot.OutcomeLeaks: hotspot.LockLeaks,
	hotspot.OutcomeUnproven: hotspot.LockUnproven}

func (r lockRow) state() hotspot.LockState {
	if s := finalStates[r.outcome]; s != "" {
		return s
	}
	switch {
	case r.presence != hotspot.Online: // also one it had received: what became of it is not known
		return hotspot.LockWaiting
	case !r.received.IsZero():
		return hotspot.LockReceived
	case !r.sent.IsZero():
		return hotspot.LockSent
	}
	return hotspot.LockRequested
}

// tookSince is the time between two steps on one clock, 0 if it went back.
func tookSince(from, to time.Time) time.Duration {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return to.Sub(from)
}
