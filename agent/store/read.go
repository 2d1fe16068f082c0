package store

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// DayBegan is when the site's day began, in its time zone; in that of this box until
// the cloud has said another.
func (db *DB) DayBegan() time.Time {
	zone := db.site.Load().location
	if zone == nil {
		zone = time.Local
	}
	from, _ := hotspot.DayOf(db.o.Now(), zone)
	return from
}

// OpenSessions returns every session thought open, the newest first, with the
// speed it runs under where that is known.
func (db *DB) OpenSessions(ctx context.Context) ([]hotspot.Session, error) {
	var out []hotspot.Session
	err := db.eachOnline(ctx, func(_ hotspot.AccountID, a *onlineAccount) {
		for i := range a.sessions {
			r := &a.sessions[i]
			out = append(out, r.Session)
			if r.terms != "" {
				out[len(out)-1].Rate = &r.have.Rate
			}
		}
	})
	slices.SortStableFunc(out, func(a, b hotspot.Session) int { return b.StartedAt.Compare(a.StartedAt) })
	return out, err
}

// EndedSince returns the sessions that ended at or after a time.
func (db *DB) EndedSince(ctx context.Context, at time.Time) ([]hotspot.Session, error) {
	var out []hotspot.Session
	err := db.query(ctx, "read ended sessions", "SELECT "+sessionColumns+" FROM session WHERE state = 'closed' AND ended_at >= ? ORDER BY ended_at", []any{millis(at)},
		func(scan func(...any) error) error {
			s, err := scanSession(scan)
			out = append(out, s.Session)
			return err
		})
	return out, err
}

// Sessions returns every session kept, in the order of their start. It is for
// tests and support, not for pages.
func (db *DB) Sessions(ctx context.Context) ([]hotspot.Session, error) {
	var out []hotspot.Session
	err := db.query(ctx, "read sessions", "SELECT "+sessionColumns+" FROM session ORDER BY started_at, id", nil,
		func(scan func(...any) error) error {
			s, err := scanSession(scan)
			out = append(out, s.Session)
			return err
		})
	return out, err
}

// LockInfo is a lock in force as the site sees it.
type LockInfo struct {
	hotspot.Lock
	Username   string
	ReceivedAt time.Time
	Outcome    hotspot.Outcome // "" before any attempt ended
	ProvenAt   time.Time       // of the attempt that ended so; zero: not known
}

// Locks returns the locks in force: those not proven off first, then the newest.
func (db *DB) Locks(ctx context.Context, limit int) ([]LockInfo, error) {
	var out []LockInfo
	err := db.query(ctx, "read locks", `SELECT l.account, l.set_by, l.reason, l.set_at, l.revision, l.received_at, l.outcome, l.proven_at, COALESCE(a.username, l.mac)
		FROM lock l LEFT JOIN account a ON a.id = l.account
		ORDER BY l.outcome IN ('enforced', 'leaks', 'unproven'), l.received_at DESC LIMIT ?`, []any{limit},
		func(scan func(...any) error) error {
			var l LockInfo
			var at, received, proven int64
			if err := scan(&l.Account, &l.By, &l.Reason, &at, &l.Revision, &received, &l.Outcome, &proven, &l.Username); err != nil {
				return err
			}
			l.At, l.ReceivedAt, l.ProvenAt = fromMillis(at), fromMillis(received), fromMillis(proven)
			out = append(out, l)
			return nil
		})
	return out, err
}

// CommandInfo is a command of the cloud as it is kept here.
type CommandInfo struct {
	ID     string
	Kind   wire.CommandKind
	State  string              // received, or as wire.CommandResult
	Answer *wire.CommandResult // nil: none yet
}

// Commands returns the newest commands: those without an answer first.
func (db *DB) Commands(ctx context.Context, limit int) ([]CommandInfo, error) {
	var out []CommandInfo
	err := db.query(ctx, "read the newest commands", "SELECT id, kind, state, result FROM command_inbox ORDER BY ended > 0, ended DESC, id DESC LIMIT ?", []any{limit},
		func(scan func(...any) error) error {
			var c CommandInfo
			var answer string
			if err := scan(&c.ID, &c.Kind, &c.State, &answer); err != nil {
				return err
			}
			if answer != "" {
				c.Answer = &wire.CommandResult{}
				if err := json.Unmarshal([]byte(answer), c.Answer); err != nil {
					return fault.New(fault.Damaged, "store: result of a command", err)
				}
			}
			out = append(out, c)
			return nil
		})
	return out, err
}

// Counts is the store in figures.
type Counts struct {
	Accounts     int
	SessionsOpen int
	Waiting      int64     // events the cloud has not acknowledged
	OldestWaits  time.Time // of those; zero when none waits
	LogFull      bool      // those take more than Options.LogCap: readings in between are folded
	Folded       int64     // readings folded since this program started
	Revision     int64
	NotInForce   int
	Bytes        int64  // database and its write-ahead log
	Site         string // its name; "" until the cloud has said it
	TimeZone     string // IANA name of the site's; "" until then
}

// Counts returns the figures of the status page.
func (db *DB) Counts(ctx context.Context) (Counts, error) {
	var c Counts
	var oldest int64
	err := db.query(ctx, "count", `SELECT (SELECT COUNT(*) FROM account), (SELECT COUNT(*) FROM session WHERE state <> 'closed'),
		MAX(m.last_seq, COALESCE((SELECT MAX(seq) FROM event), 0)) - m.acked, COALESCE((SELECT at FROM event WHERE seq = m.acked + 1), 0), m.revision,
		(SELECT COUNT(*) FROM document WHERE in_force = 0),
		COALESCE((SELECT json_extract(CAST(body AS TEXT), '$.name') FROM document WHERE kind = 'site' AND in_force = 1 LIMIT 1), ''),
		COALESCE((SELECT json_extract(CAST(body AS TEXT), '$.time_zone') FROM document WHERE kind = 'site' AND in_force = 1 LIMIT 1), '') FROM mark m`, nil,
		func(scan func(...any) error) error {
			return scan(&c.Accounts, &c.SessionsOpen, &c.Waiting, &oldest, &c.Revision, &c.NotInForce, &c.Site, &c.TimeZone)
		})
	if err != nil {
		return c, err
	}
	c.OldestWaits = fromMillis(oldest)
	c.LogFull, c.Folded = db.overCap.Load(), db.folded.Load()
	// Stat only: opening the live file would drop SQLite's POSIX locks on close.
	for _, name := range []string{db.o.Path, db.o.Path + "-wal"} {
		if st, err := os.Stat(name); err == nil {
			c.Bytes += st.Size()
		}
	}
	return c, nil
}

// OutboxBytes is the size of the events that the cloud has not acknowledged. It
// reads them all: for a question in ten seconds, not for each look.
func (db *DB) OutboxBytes(ctx context.Context) (int64, error) { return db.waiting(ctx, 0) }

// Check asks SQLite whether the file is sound (PRAGMA quick_check).
func (db *DB) Check(ctx context.Context) (string, error) {
	var result string
	err := db.query(ctx, "check", "PRAGMA quick_check(1)", nil, func(scan func(...any) error) error { return scan(&result) })
	return result, err
}
