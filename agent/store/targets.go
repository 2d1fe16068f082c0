package store

import (
	"context"
	"time"

	"iwas/internal/hotspot"
)

// Targets returns every account that must be off and is not proven off: locked
// ones without a final proof, and whoever has an open session without a right to
// it. An account with another pass that still holds is not off as a whole; only
// the sessions of the pass that is over must end.
func (db *DB) Targets(ctx context.Context) ([]hotspot.Target, error) {
	return db.targets(ctx, db.lockTargets, db.onlineTargets, db.kickTargets)
}

// LockTargets returns those of Targets that are locked. It looks at nobody else
// who is online, and waits for nobody who does.
func (db *DB) LockTargets(ctx context.Context) ([]hotspot.Target, error) {
	return db.targets(ctx, db.lockTargets)
}

// finder adds targets of one kind.
type finder func(ctx context.Context, now time.Time, add func(target) *target) error

func (db *DB) targets(ctx context.Context, finders ...finder) ([]hotspot.Target, error) {
	now := db.o.Now()
	var order []hotspot.AccountID
	targets := map[hotspot.AccountID]*target{}
	add := func(fresh target) *target {
		if targets[fresh.Account] == nil {
			order = append(order, fresh.Account)
			targets[fresh.Account] = &fresh
		}
		return targets[fresh.Account]
	}
	for _, find := range finders {
		if err := find(ctx, now, add); err != nil {
			return nil, err
		}
	}
	out := make([]hotspot.Target, 0, len(targets))
	for _, account := range order {
		t := targets[account]
		if err := db.complete(ctx, t, now); err != nil {
			return nil, err
		}
		out = append(out, t.Target)
	}
	return out, nil
}

// target is a hotspot.Target at work.
type target struct {
	hotspot.Target
	mac    hotspot.MAC             // where Device
	passes map[hotspot.PassID]bool // that are over; nil means every one
}

func (db *DB) lockTargets(ctx context.Context, _ time.Time, add func(target) *target) error {
	return db.query(ctx, "read locks to enforce", `SELECT l.account, l.set_by, l.reason, l.set_at, l.revision, l.received_at, l.mac FROM lock l
		WHERE l.outcome NOT IN ('enforced', 'leaks', 'unproven') OR EXISTS (SELECT 1 FROM session s WHERE s.account = l.account AND s.state <> 'closed')
			OR l.mac <> '' AND l.mac IN (SELECT mac FROM session INDEXED BY session_open_nas WHERE state <> 'closed')
		ORDER BY l.received_at DESC`, // a new lock goes ahead of those put to the test again
		nil, func(scan func(...any) error) error {
			var l hotspot.Lock
			var at, received int64
			var mac string
			if err := scan(&l.Account, &l.By, &l.Reason, &at, &l.Revision, &received, &mac); err != nil {
				return err
			}
			l.At = fromMillis(at)
			add(lockTarget(&l, received, mac))
			return nil
		})
}

// lockTarget is the target of a lock; mac is that of a device, "" of others.
func lockTarget(l *hotspot.Lock, received int64, mac string) target {
	t := target{Target: hotspot.Target{Account: l.Account, Reason: hotspot.OffLocked, Lock: l, ReceivedAt: fromMillis(received), Whole: true}}
	t.mac, t.Device = hotspot.ParseMAC(mac)
	return t
}

// Locked returns the newest locks in force, proven or not, at most limit: names
// and devices that must stay off.
func (db *DB) Locked(ctx context.Context, limit int) ([]hotspot.Target, error) {
	var locks []target
	err := db.query(ctx, "read who is locked", "SELECT account, received_at, mac FROM lock ORDER BY received_at DESC LIMIT ?", []any{limit},
		func(scan func(...any) error) error {
			var l hotspot.Lock
			var received int64
			var mac string
			err := scan(&l.Account, &received, &mac)
			t := lockTarget(&l, received, mac)
			t.Lock = nil
			locks = append(locks, t)
			return err
		})
	if err != nil {
		return nil, err
	}
	now := db.o.Now()
	out := make([]hotspot.Target, 0, len(locks))
	for _, t := range locks {
		if err := db.complete(ctx, &t, now); err != nil {
			return nil, err
		}
		out = append(out, t.Target)
	}
	return out, nil
}

// onlineTargets finds open sessions whose account or pass is no more, and those
// whose pass no longer allows them.
func (db *DB) onlineTargets(ctx context.Context, now time.Time, add func(target) *target) error {
	return db.eachOnline(ctx, func(id hotspot.AccountID, a *onlineAccount) {
		if id == "" {
			return
		}
		over := func(reason hotspot.OffReason, pass hotspot.PassID, whole bool) {
			fresh := target{Target: hotspot.Target{Account: id, Reason: reason, ReceivedAt: now, Whole: whole}}
			if !whole {
				fresh.passes = map[hotspot.PassID]bool{}
			}
			if t := add(fresh); t.passes != nil {
				t.passes[pass] = true
			}
		}
		for _, r := range a.sessions {
			if !a.known || a.pass(r.Pass) == nil {
				over(hotspot.OffRemoved, r.Pass, !a.known)
			}
		}
		reasons := make([]hotspot.OffReason, len(a.passes))
		holds := false // by another pass
		for i, p := range a.passes {
			reasons[i] = db.o.Off(p, nil, now)
			holds = holds || reasons[i] == "" && p.Account == id
		}
		for i, p := range a.passes {
			if reasons[i] != "" && a.open(p.ID) {
				over(reasons[i], p.ID, !holds)
			}
		}
	})
}

// complete adds names, devices, the newest Accept, and the sessions to end:
// those open, and those promised by an Accept whose Start has not come. An
// Accept that left just before this program began is not remembered: the
// beginning stands for it.
func (db *DB) complete(ctx context.Context, t *target, now time.Time) error {
	names, macs := map[string]bool{}, map[hotspot.MAC]bool{}
	note := func(name string, mac hotspot.MAC) {
		if name != "" && !names[name] {
			names[name] = true
			t.Usernames = append(t.Usernames, name)
		}
		if !mac.IsZero() && !macs[mac] {
			macs[mac] = true
			t.MACs = append(t.MACs, mac)
		}
	}
	err := db.query(ctx, "read account", "SELECT kind, username FROM account WHERE id = ?", []any{t.Account}, func(scan func(...any) error) error {
		var kind hotspot.AccountKind
		var name string
		if err := scan(&kind, &name); err != nil {
			return err
		}
		t.Voucher = kind == hotspot.Voucher
		var mac hotspot.MAC
		if kind == hotspot.Device {
			mac, _ = hotspot.ParseMAC(name)
		}
		note(name, mac)
		return nil
	})
	if err != nil {
		return err
	}
	if t.Lists, err = db.listsOf(ctx, t); err != nil {
		return err
	}
	if t.Device {
		return db.completeDevice(ctx, t, now, note)
	}
	err = db.query(ctx, "read open sessions", "SELECT "+sessionColumns+" FROM session WHERE account = ? AND state <> 'closed' ORDER BY started_at",
		[]any{t.Account}, func(scan func(...any) error) error {
			s, err := scanSession(scan)
			if err == nil && (t.passes == nil || t.passes[s.Pass]) {
				note(s.Username, s.MAC)
				t.Sessions = append(t.Sessions, s.Session)
			}
			return err
		})
	if err != nil {
		return err
	}
	if err := db.everyDevice(ctx, t, note); err != nil {
		return err
	}
	promised, newest := db.desk.promised(t.Account, now)
	for _, s := range promised {
		if t.passes == nil || t.passes[s.Pass] {
			note(s.Username, s.MAC)
			t.Sessions = append(t.Sessions, s)
		}
	}
	db.lastAccept(t, newest)
	return nil
}

// completeDevice does so for a device that is locked: its sessions are those of
// its MAC, whoever's. They name nobody: what is on with the same voucher on
// another device stays.
func (db *DB) completeDevice(ctx context.Context, t *target, now time.Time, note func(string, hotspot.MAC)) error {
	note(t.mac.String(), t.mac) // also of an account that is no more
	err := db.query(ctx, "read open sessions of a device", "SELECT "+sessionColumns+" FROM session WHERE "+openOf+" ORDER BY started_at",
		[]any{t.mac.String()}, func(scan func(...any) error) error {
			s, err := scanSession(scan)
			t.Sessions = append(t.Sessions, s.Session)
			return err
		})
	if err != nil {
		return err
	}
	promised, newest := db.desk.promisedTo(t.mac, now)
	t.Sessions = append(t.Sessions, promised...)
	db.lastAccept(t, newest)
	return nil
}

func (db *DB) lastAccept(t *target, newest time.Time) {
	for _, at := range []time.Time{newest, db.opened} {
		if at.After(t.LastAccept) {
			t.LastAccept = at
		}
	}
}

// everyDevice notes the names and devices of an account's past sessions and
// stored permits, the newest of each.
func (db *DB) everyDevice(ctx context.Context, t *target, note func(string, hotspot.MAC)) error {
	for _, text := range [...]string{
		"SELECT pass, username, mac, 0 FROM session WHERE account = ? ORDER BY started_at DESC LIMIT 100",
		"SELECT pass, username, mac, at FROM permit WHERE account = ? ORDER BY at DESC LIMIT 100",
	} {
		err := db.query(ctx, "read devices", text, []any{t.Account}, func(scan func(...any) error) error {
			var pass hotspot.PassID
			var name, text string
			var at int64
			if err := scan(&pass, &name, &text, &at); err != nil || t.passes != nil && !t.passes[pass] {
				return err
			}
			mac, _ := hotspot.ParseMAC(text)
			note(name, mac)
			if at := fromMillis(at); at.After(t.LastAccept) {
				t.LastAccept = at
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
