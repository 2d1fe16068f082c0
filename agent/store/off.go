package store

import (
	"context"
	"errors"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Targets returns every account that must be off and is not proven off: locked
// ones without a final proof, and whoever has an open session without a right to
// it.
func (db *DB) Targets(ctx context.Context) ([]hotspot.Target, error) {
	now := db.o.Now()
	targets := map[hotspot.AccountID]*hotspot.Target{}
	if err := db.lockTargets(ctx, now, targets); err != nil {
		return nil, err
	}
	if err := db.overdueTargets(ctx, now, targets); err != nil {
		return nil, err
	}
	out := make([]hotspot.Target, 0, len(targets))
	for _, target := range targets {
		if err := db.complete(ctx, target); err != nil {
			return nil, err
		}
		out = append(out, *target)
	}
	return out, nil
}

func (db *DB) lockTargets(ctx context.Context, now time.Time, targets map[hotspot.AccountID]*hotspot.Target) error {
	return db.query(ctx, "read locks to enforce", `SELECT l.account, l.set_by, l.reason, l.set_at, l.revision, l.received_at FROM lock l
		WHERE l.outcome NOT IN ('enforced', 'leaks', 'unproven') OR l.account IN (SELECT account FROM session WHERE state <> 'closed')`,
		nil, func(scan func(...any) error) error {
			var l hotspot.Lock
			var at, received int64
			if err := scan(&l.Account, &l.By, &l.Reason, &at, &l.Revision, &received); err != nil {
				return err
			}
			l.At = fromMillis(at)
			targets[l.Account] = &hotspot.Target{Account: l.Account, Reason: hotspot.OffLocked, Lock: &l, ReceivedAt: fromMillis(received), Whole: true}
			return nil
		})
}

// overdueTargets finds open sessions whose pass or account no longer allows them.
func (db *DB) overdueTargets(ctx context.Context, now time.Time, targets map[hotspot.AccountID]*hotspot.Target) error {
	add := func(account hotspot.AccountID, reason hotspot.OffReason) {
		if targets[account] == nil {
			targets[account] = &hotspot.Target{Account: account, Reason: reason, ReceivedAt: now, Whole: true}
		}
	}
	err := db.query(ctx, "read open passes", "SELECT "+passColumns+` FROM pass p LEFT JOIN usage u ON u.pass = p.id
		WHERE p.id IN (SELECT pass FROM session WHERE state <> 'closed')`, nil, func(scan func(...any) error) error {
		p, err := scanPass(scan)
		if err != nil {
			return err
		}
		if reason := db.o.Off(p, nil, now); reason != "" {
			add(p.Account, reason)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.query(ctx, "read sessions of removed accounts", `SELECT s.account FROM session s LEFT JOIN account a ON a.id = s.account
		LEFT JOIN pass p ON p.id = s.pass WHERE s.state <> 'closed' AND s.account <> '' AND (a.id IS NULL OR p.id IS NULL)`, nil,
		func(scan func(...any) error) error {
			var account hotspot.AccountID
			if err := scan(&account); err != nil {
				return err
			}
			add(account, hotspot.OffRemoved)
			return nil
		})
}

// complete adds names, devices, sessions and the newest Accept.
func (db *DB) complete(ctx context.Context, target *hotspot.Target) error {
	names, macs := map[string]bool{}, map[hotspot.MAC]bool{}
	note := func(name, mac string) {
		if name != "" && !names[name] {
			names[name] = true
			target.Usernames = append(target.Usernames, name)
		}
		if m, ok := hotspot.ParseMAC(mac); ok && !macs[m] {
			macs[m] = true
			target.MACs = append(target.MACs, m)
		}
	}
	err := db.query(ctx, "read account", "SELECT kind, username FROM account WHERE id = ?", []any{target.Account}, func(scan func(...any) error) error {
		var kind hotspot.AccountKind
		var name string
		if err := scan(&kind, &name); err != nil {
			return err
		}
		mac := ""
		if kind == hotspot.Device {
			mac = name
		}
		note(name, mac)
		return nil
	})
	if err != nil {
		return err
	}
	err = db.query(ctx, "read permits", "SELECT username, mac, MAX(at) FROM permit WHERE account = ? GROUP BY username, mac ORDER BY MAX(at) DESC LIMIT 100",
		[]any{target.Account}, func(scan func(...any) error) error {
			var name, mac string
			var at int64
			if err := scan(&name, &mac, &at); err != nil {
				return err
			}
			note(name, mac)
			if when := fromMillis(at); when.After(target.LastAccept) {
				target.LastAccept = when
			}
			return nil
		})
	if err != nil {
		return err
	}
	return db.query(ctx, "read sessions", "SELECT "+sessionColumns+" FROM session WHERE account = ? AND state <> 'closed'",
		[]any{target.Account}, func(scan func(...any) error) error {
			s, err := scanSession(scan)
			if err != nil {
				return err
			}
			note(s.Username, s.MAC.String())
			target.Sessions = append(target.Sessions, s)
			return nil
		})
}

// Prove stores how putting an account off ended, and closes the sessions it
// ended. The event is the durable record; a pending outcome is told once.
func (db *DB) Prove(ctx context.Context, p hotspot.Proof) error {
	return db.do(ctx, func(t *tx) error {
		var outcome hotspot.Outcome
		locked, err := t.row("read lock", "SELECT outcome FROM lock WHERE account = ? AND revision = ?", []any{p.Account, p.Revision}, &outcome)
		if err != nil {
			return err
		}
		if p.Reason == hotspot.OffLocked && !locked {
			return nil // lifted or replaced meanwhile
		}
		if p.Outcome.Final() {
			if err := t.closeProven(p); err != nil {
				return err
			}
		}
		if !locked || outcome == p.Outcome && !p.Outcome.Final() {
			return nil
		}
		if outcome.Final() && p.Outcome == outcome && p.Sessions == 0 {
			return nil // repeated
		}
		if _, err := t.exec("store outcome", "UPDATE lock SET outcome = ? WHERE account = ?", string(p.Outcome), p.Account); err != nil {
			return err
		}
		return t.event(wire.EventLockProof, wire.FromProof(p))
	})
}

func (t *tx) closeProven(p hotspot.Proof) error {
	var open []hotspot.Session
	err := t.rows("read sessions", "SELECT "+sessionColumns+" FROM session WHERE account = ? AND state <> 'closed' AND started_at <= ?",
		[]any{p.Account, millis(p.At)}, func(scan func(...any) error) error {
			s, err := scanSession(scan)
			open = append(open, s)
			return err
		})
	for _, s := range open {
		err = errors.Join(err, t.closeSession(s, string(p.Reason)))
	}
	if err == nil {
		_, err = t.exec("end reservations", "UPDATE permit SET started = 1 WHERE account = ? AND started = 0", p.Account)
	}
	return err
}

// ghostAfter is one interim interval and ten seconds: by then a living session
// has been heard of, or stands on the router's list.
const ghostAfter = 130 * time.Second

// ObserveActive holds the sessions thought open at a NAS against the router's
// own list: a suspect that is there lives; one that is not there is closed, a
// suspect at once, others when nothing was heard of them for an interim interval
// and ten seconds.
func (db *DB) ObserveActive(ctx context.Context, nas hotspot.NASID, entries []hotspot.ActiveEntry, at time.Time) error {
	listed := make(map[hotspot.MAC]bool, len(entries))
	for _, e := range entries {
		listed[e.MAC] = true
	}
	return db.do(ctx, func(t *tx) error {
		var open []hotspot.Session
		err := t.rows("read open sessions", "SELECT "+sessionColumns+" FROM session WHERE nas = ? AND state <> 'closed'", []any{nas},
			func(scan func(...any) error) error {
				s, err := scanSession(scan)
				open = append(open, s)
				return err
			})
		if err != nil {
			return err
		}
		for _, s := range open {
			silent := at.Sub(s.HeardAt)
			switch {
			case listed[s.MAC] && s.State == hotspot.Suspect:
				if _, err := t.exec("session lives", "UPDATE session SET state = 'live' WHERE id = ?", s.ID); err != nil {
					return err
				}
			case listed[s.MAC]:
			case s.State == hotspot.Suspect && silent > 0, silent > ghostAfter:
				if err := t.closeSession(s, causeGhost); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Sweep closes suspects nobody can confirm, ends reservations, and drops what is
// past keeping. It is meant to run every few seconds.
func (db *DB) Sweep(ctx context.Context) error {
	return db.do(ctx, func(t *tx) error {
		var silent []hotspot.Session
		err := t.rows("read silent sessions", "SELECT "+sessionColumns+" FROM session WHERE state <> 'closed' AND heard_at < (CASE state WHEN 'suspect' THEN ? ELSE ? END)",
			[]any{millis(t.now.Add(-ghostAfter)), millis(t.now.Add(-3 * ghostAfter))}, func(scan func(...any) error) error {
				s, err := scanSession(scan)
				silent = append(silent, s)
				return err
			})
		if err != nil {
			return err
		}
		for _, s := range silent {
			if err := t.closeSession(s, causeGone); err != nil {
				return err
			}
		}
		day := 24 * time.Hour
		for _, q := range []struct {
			text string
			arg  any
		}{
			{"UPDATE permit SET started = 1 WHERE started = 0 AND at < ?", millis(t.now.Add(-reservationTime))},
			{"DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE seq <= (SELECT acked FROM mark) AND at < ? ORDER BY seq LIMIT 1000)", millis(t.now.Add(-7 * day))},
			{"DELETE FROM session WHERE id IN (SELECT id FROM session WHERE state = 'closed' AND ended_at < ? LIMIT 1000)", millis(t.now.Add(-90 * day))},
			{"DELETE FROM permit WHERE token IN (SELECT token FROM permit WHERE at < ? LIMIT 1000)", millis(t.now.Add(-90 * day))},
			{"DELETE FROM reject WHERE id <= (SELECT MAX(id) FROM reject) - ?", rejectsKept},
		} {
			if _, err := t.exec("sweep", q.text, q.arg); err != nil {
				return err
			}
		}
		return nil
	})
}
