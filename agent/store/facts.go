package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// siteFacts is what the site document says that a judgement needs.
type siteFacts struct {
	language string
	location *time.Location // nil is UTC
}

// siteFactsOf reads a site document; a time zone this machine does not know is
// taken as UTC.
func (db *DB) siteFactsOf(d wire.SiteDoc) *siteFacts {
	s := &siteFacts{language: d.Language}
	if s.language == "" {
		s.language = db.o.Language
	}
	if d.TimeZone != "" {
		zone, err := time.LoadLocation(d.TimeZone)
		if err != nil {
			db.o.Log.Warn("the site's time zone is not known; hours are taken in UTC", "time_zone", d.TimeZone, "err", err)
		} else {
			s.location = zone
		}
	}
	return s
}

func (db *DB) factsOfNobody() hotspot.Facts {
	site := db.site.Load()
	return hotspot.Facts{Now: db.o.Now(), Language: site.language, Location: site.location}
}

// factsFor puts together what a request of the account is judged by. e.mu is held.
func (db *DB) factsFor(e *entry, now time.Time) hotspot.Facts {
	site, known := db.site.Load(), e.facts
	f := hotspot.Facts{Account: known.account, Password: known.password, Lock: known.lock, Now: now, Language: site.language, Location: site.location}
	if f.Account == nil {
		return f
	}
	f.Pass = db.passOf(known.passes, now)
	if f.Pass == nil {
		return f
	}
	if n := len(known.sessions) + len(e.promises); n > 0 {
		f.Sessions = make([]*hotspot.Session, 0, n)
	}
	for _, some := range [...][]*hotspot.Session{known.sessions, e.promises} {
		for _, s := range some {
			if s.Pass == f.Pass.ID {
				f.Sessions = append(f.Sessions, s)
			}
		}
	}
	return f
}

// passOf returns the pass a login is judged by: of those that may be used now
// the one sold first, else the newest; nil if there is none.
func (db *DB) passOf(passes []*hotspot.Pass, now time.Time) *hotspot.Pass {
	var newest *hotspot.Pass
	for _, p := range passes {
		if db.o.Off(p, nil, now) == "" {
			return p
		}
		newest = p
	}
	return newest
}

// accountOf looks a login name up: as it is, as a voucher code, as a MAC, the
// first of these that exists; "" when none does.
func (db *DB) accountOf(ctx context.Context, username string) (found hotspot.AccountID, err error) {
	if username == "" {
		return "", nil
	}
	kinds := [...]hotspot.AccountKind{hotspot.User, hotspot.Voucher, hotspot.Device}
	var keys [len(kinds)]string
	for i, kind := range kinds {
		keys[i] = hotspot.LoginKey(kind, username)
	}
	best := len(kinds)
	err = db.query(ctx, "find account", "SELECT id, kind, login_key FROM account WHERE login_key IN (?, ?, ?) ORDER BY id DESC", []any{keys[0], keys[1], keys[2]},
		func(scan func(...any) error) error {
			var id hotspot.AccountID
			var kind hotspot.AccountKind
			var key string
			if err := scan(&id, &kind, &key); err != nil {
				return err
			}
			for i := range min(best+1, len(kinds)) { // of several of a kind the first by id
				if kind == kinds[i] && key == keys[i] {
					found, best = id, i
				}
			}
			return nil
		})
	return found, err
}

// readFacts reads an account as committed. The caller holds against its version
// that no commit came between. sealed and text are the password opened last, and
// are replaced when it is another one.
func (db *DB) readFacts(ctx context.Context, id hotspot.AccountID, now time.Time, sealed *string, text *hotspot.Password) (*facts, error) {
	f := &facts{readAt: now}
	if err := db.settledFor(ctx, id); err != nil {
		return f, err
	}
	err := db.queryLate(ctx, "read account", `SELECT a.kind, a.username, a.note, a.password, l.account IS NOT NULL, COALESCE(l.set_by, ''), COALESCE(l.reason, ''),
		COALESCE(l.set_at, 0), COALESCE(l.revision, 0), COALESCE(l.pause, 0) FROM account a LEFT JOIN lock l ON l.account = a.id WHERE a.id = ?`, []any{id},
		func(scan func(...any) error) error {
			a, l := &hotspot.Account{ID: id}, &hotspot.Lock{Account: id}
			var locked bool
			var at int64
			var box string
			if err := scan(&a.Kind, &a.Username, &a.Note, &box, &locked, &l.By, &l.Reason, &at, &l.Revision, &l.Pause); err != nil {
				return err
			}
			f.account = a
			if l.At = fromMillis(at); locked {
				f.lock = l
			}
			return db.open(id, box, sealed, text)
		})
	if err != nil || f.account == nil {
		return f, err
	}
	f.password = *text
	if f.passes, err = db.readPasses(ctx, id, now); err != nil || len(f.passes) == 0 {
		return f, err
	}
	err = db.queryLate(ctx, "read open sessions", "SELECT "+sessionColumns+" FROM session WHERE state <> 'closed' AND pass IN (SELECT id FROM pass WHERE account = ?)", []any{id},
		func(scan func(...any) error) error {
			s, err := scanSession(scan)
			f.sessions = append(f.sessions, &s.Session)
			return err
		})
	return f, err
}

// readPasses returns the passes of an account that can be of use, now or later,
// and the newest one.
func (db *DB) readPasses(ctx context.Context, id hotspot.AccountID, now time.Time) (out []*hotspot.Pass, err error) {
	err = db.queryLate(ctx, "read passes", "SELECT "+passColumns+" FROM pass p LEFT JOIN usage u ON u.pass = p.id WHERE p.account = ? ORDER BY p.sold_at, p.id", []any{id},
		func(scan func(...any) error) error {
			p, err := scanPass(scan)
			out = append(out, p)
			return err
		})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	newest := out[len(out)-1]
	return slices.DeleteFunc(out, func(p *hotspot.Pass) bool {
		return p != newest && db.o.Off(p, nil, now) != "" && !p.ValidFrom.After(now)
	}), nil
}

// open opens a password, unless it is the one opened last: a changed password
// never meets an old one. Accounts that came before the vault keep theirs sealed
// as the cloud sent it, until their document comes again.
func (db *DB) open(account hotspot.AccountID, box string, sealed *string, text *hotspot.Password) error {
	if box == *sealed {
		return nil
	}
	open := db.o.Key.Open
	if secret.Sealed(box) {
		open = func(box string) (string, error) { return db.vault.Open(box, string(account)) }
	}
	clear, err := open(box)
	if err != nil {
		return fault.New(fault.Damaged, "store: open an account's password", err).
			WithCode("DB-103", "the sealing key of this box is not the one the cloud sealed for: enrol again")
	}
	*sealed, *text = box, hotspot.Password(clear)
	return nil
}

func (t *tx) lockOf(account hotspot.AccountID) (*hotspot.Lock, error) {
	var at int64
	l := hotspot.Lock{Account: account}
	found, err := t.row("read lock", "SELECT set_by, reason, set_at, revision, pause FROM lock WHERE account = ?", []any{account}, &l.By, &l.Reason, &at, &l.Revision, &l.Pause)
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
