package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	// reservationTime is how long an Accept counts as a device before its
	// Accounting Start: the router's three tries of each packet, and slack.
	reservationTime = 60 * time.Second
	// tokenBytes of randomness make a permit's token unforgeable.
	tokenBytes = 16
	// clearBound is how many opened passwords are kept.
	clearBound = 4096
)

// Authorize judges one Access-Request. An Accept returns only after its permit,
// its reservation of a device and, on first use, the start of the pass's clock
// are on disk. An error means that no judgement was possible.
func (db *DB) Authorize(ctx context.Context, r hotspot.Request) (hotspot.Verdict, error) {
	var v hotspot.Verdict
	err := db.do(ctx, func(t *tx) error {
		f, err := t.facts(r)
		if err != nil {
			return err
		}
		v = db.o.Decide(f, r)
		v.Serial = t.serial
		if !v.Accept {
			return nil
		}
		return t.permit(r, &v, f.Pass)
	})
	if err != nil {
		return hotspot.Verdict{}, err
	}
	return v, nil
}

// facts loads all that is known about the name in a request.
func (t *tx) facts(r hotspot.Request) (hotspot.Facts, error) {
	f := hotspot.Facts{Now: t.now, Language: t.site.Language}
	if f.Language == "" {
		f.Language = t.db.o.Language
	}
	a, sealed, err := t.findAccount(r.Username)
	if err != nil || a == nil {
		return f, err
	}
	f.Account = a
	if f.Password, err = t.open(sealed); err != nil {
		return f, err
	}
	if f.Lock, err = t.lockOf(a.ID); err != nil {
		return f, err
	}
	if f.Pass, err = t.passOf(a.ID); err != nil || f.Pass == nil {
		return f, err
	}
	f.Sessions, err = t.devices(f.Pass.ID)
	return f, err
}

// findAccount looks a login name up: as it is, as a voucher code, as a MAC, the
// first of these that exists.
func (t *tx) findAccount(username string) (found *hotspot.Account, sealed string, err error) {
	if username == "" {
		return nil, "", nil
	}
	kinds := [...]hotspot.AccountKind{hotspot.User, hotspot.Voucher, hotspot.Device}
	var keys []any
	for _, kind := range kinds {
		keys = append(keys, hotspot.LoginKey(kind, username))
	}
	best := len(kinds)
	err = t.rows("find account", "SELECT id, kind, username, login_key, note, password FROM account WHERE login_key IN (?, ?, ?) ORDER BY id", keys,
		func(scan func(...any) error) error {
			var a hotspot.Account
			var key, password string
			if err := scan(&a.ID, &a.Kind, &a.Username, &key, &a.Note, &password); err != nil {
				return err
			}
			for i, kind := range kinds[:best] {
				if a.Kind == kind && key == keys[i] {
					found, sealed, best = &a, password, i
				}
			}
			return nil
		})
	return found, sealed, err
}

// open opens a sealed password. The cache is keyed by the sealed text, so a
// changed password can never meet an old entry.
func (t *tx) open(sealed string) (hotspot.Password, error) {
	if p, ok := t.db.w.clear[sealed]; ok {
		return p, nil
	}
	text, err := t.db.o.Key.Open(sealed)
	if err != nil {
		return "", fault.New(fault.Damaged, "store: open an account's password", err).
			WithCode("DB-103", "the sealing key of this box is not the one the cloud sealed for: enrol again")
	}
	if len(t.db.w.clear) >= clearBound {
		clear(t.db.w.clear)
	}
	t.db.w.clear[sealed] = hotspot.Password(text)
	return hotspot.Password(text), nil
}

func (t *tx) lockOf(account hotspot.AccountID) (*hotspot.Lock, error) {
	var at int64
	l := hotspot.Lock{Account: account}
	found, err := t.row("read lock", "SELECT set_by, reason, set_at, revision FROM lock WHERE account = ?", []any{account}, &l.By, &l.Reason, &at, &l.Revision)
	if err != nil || !found {
		return nil, err
	}
	l.At = fromMillis(at)
	return &l, nil
}

const passColumns = `p.id, p.account, p.plan, p.plan_name, p.limits, p.valid_from, p.valid_until,
	COALESCE(u.first_used, 0), COALESCE(u.time_ms, 0), COALESCE(u.upload, 0), COALESCE(u.download, 0)`

// scanPass reads passColumns.
func scanPass(scan func(...any) error) (*hotspot.Pass, error) {
	var p hotspot.Pass
	var limits []byte
	var from, until, first, timeMS int64
	if err := scan(&p.ID, &p.Account, &p.Plan, &p.PlanName, &limits, &from, &until, &first, &timeMS, &p.Usage.Upload, &p.Usage.Download); err != nil {
		return nil, err
	}
	var body wire.LimitsBody
	if err := json.Unmarshal(limits, &body); err != nil {
		return nil, fault.New(fault.Damaged, "store: limits of pass "+string(p.ID), err)
	}
	var err error
	if p.Limits, err = body.Limits(); err != nil {
		return nil, fault.New(fault.Damaged, "store: limits of pass "+string(p.ID), err)
	}
	p.ValidFrom, p.ValidUntil, p.Usage.FirstUsed = fromMillis(from), fromMillis(until), fromMillis(first)
	p.Usage.Time = time.Duration(timeMS) * time.Millisecond
	return &p, nil
}

// pass returns one pass, or nil when there is none.
func (t *tx) pass(id hotspot.PassID) (p *hotspot.Pass, err error) {
	err = t.rows("read pass", "SELECT "+passColumns+" FROM pass p LEFT JOIN usage u ON u.pass = p.id WHERE p.id = ?", []any{id},
		func(scan func(...any) error) error {
			p, err = scanPass(scan)
			return err
		})
	return p, err
}

// passOf returns the pass an account's login is judged by: of those that may be
// used now the one sold first, else the newest; nil if none was ever sold.
func (t *tx) passOf(account hotspot.AccountID) (*hotspot.Pass, error) {
	var usable, newest *hotspot.Pass
	err := t.rows("read passes", "SELECT "+passColumns+" FROM pass p LEFT JOIN usage u ON u.pass = p.id WHERE p.account = ? ORDER BY p.sold_at, p.id",
		[]any{account}, func(scan func(...any) error) error {
			p, err := scanPass(scan)
			if err != nil {
				return err
			}
			newest = p
			if usable == nil && t.db.o.Off(p, nil, t.now) == "" {
				usable = p
			}
			return nil
		})
	if usable != nil {
		return usable, err
	}
	return newest, err
}

// devices returns the open sessions of a pass and its permits not yet started.
func (t *tx) devices(pass hotspot.PassID) ([]hotspot.Session, error) {
	open, err := t.findSessions("pass = ? AND state <> 'closed'", pass)
	if err != nil {
		return nil, err
	}
	var out []hotspot.Session
	for _, s := range open {
		out = append(out, s.Session)
	}
	// Not from the future either: after a clock was set back no promise may last.
	err = t.rows("read reservations", "SELECT id, account, nas, username, mac, ip, at FROM permit WHERE pass = ? AND started = 0 AND at BETWEEN ? AND ?",
		[]any{pass, millis(t.now.Add(-reservationTime)), millis(t.now.Add(reservationTime))}, func(scan func(...any) error) error {
			s := hotspot.Session{Pass: pass, State: hotspot.Reserved}
			var mac, ip string
			var at int64
			if err := scan(&s.ID, &s.Account, &s.NAS, &s.Username, &mac, &ip, &at); err != nil {
				return err
			}
			s.MAC, _ = hotspot.ParseMAC(mac)
			s.IP, s.HeardAt = parseAddr(ip), fromMillis(at)
			out = append(out, s)
			return nil
		})
	return out, err
}

// permit stores what an Accept gives and completes the verdict.
func (t *tx) permit(r hotspot.Request, v *hotspot.Verdict, p *hotspot.Pass) error {
	v.Permit = hotspot.PermitID(hotspot.NewID(t.now))
	v.Class = make([]byte, tokenBytes)
	rand.Read(v.Class)
	ip := ""
	if r.IP.IsValid() {
		ip = r.IP.String()
	}
	// A device that logs in again replaces its own promise.
	if !r.MAC.IsZero() {
		if _, err := t.exec("end reservation", "UPDATE permit SET started = 1 WHERE pass = ? AND mac = ? AND started = 0", v.Pass, r.MAC.String()); err != nil {
			return err
		}
	}
	if _, err := t.exec("store permit", `INSERT INTO permit (token, id, account, pass, nas, acct_session_id, username, mac, ip, at, started, terms)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)`,
		v.Class, v.Permit, v.Account, v.Pass, r.NAS, r.AcctSessionID, r.Username, r.MAC.String(), ip, millis(t.now), t.given(v, p)); err != nil {
		return err
	}
	if !v.FirstUse {
		return nil
	}
	if _, err := t.exec("start pass", `INSERT INTO usage (pass, account, first_used, time_ms, counted, upload, download) VALUES (?, ?, ?, 0, '', 0, 0)
		ON CONFLICT (pass) DO UPDATE SET first_used = excluded.first_used WHERE first_used = 0`, v.Pass, v.Account, millis(t.now)); err != nil {
		return err
	}
	return t.event(wire.EventPassFirstUsed, wire.UsageBody{Pass: v.Pass, Account: v.Account, FirstUsed: t.now.UTC().Truncate(time.Millisecond)})
}
