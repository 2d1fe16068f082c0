package store

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Under load the rows of session and usage follow the log: a commit of records
// writes their events alone, each with what else the rows need, and the rows are
// written once for many records. The log is the fact. Whoever reads the rows has
// them brought up first, and so does a start: after a power cut the events past
// mark.settled say what the rows must be.
//
// A record that comes alone has its rows written with it: that is one commit
// where two would cost the disk more.
const (
	lateBound = 1024                  // sessions that may wait for their rows: the writer's longest pause
	lateTime  = time.Second           // and how long
	pressure  = 20 * time.Millisecond // a commit that soon after another is one of many
)

// late is what SQL does not have of sessions and usage. It belongs to the writer
// and outlives its transactions; tx.settle empties it.
type late struct {
	sessions []*change
	usage    []*useChange
	changes  map[hotspot.SessionID]*change
	permits  map[hotspot.PermitID]*change
	devices  map[deviceAt][]*change
	used     map[hotspot.PassID]*useChange
	loose    map[hotspot.PassID]bool // passes outside of work with a changed session
	since    time.Time               // of the oldest, by the monotonic clock
}

// deviceAt is a device at a NAS.
type deviceAt struct {
	nas hotspot.NASID
	mac hotspot.MAC
}

func newLate() late {
	return late{changes: map[hotspot.SessionID]*change{}, permits: map[hotspot.PermitID]*change{}, devices: map[deviceAt][]*change{},
		used: map[hotspot.PassID]*useChange{}, loose: map[hotspot.PassID]bool{}}
}

func (l *late) empty() bool { return len(l.sessions) == 0 && len(l.usage) == 0 }

// clear empties l and keeps its room.
func (l *late) clear() {
	clear(l.sessions)
	clear(l.usage)
	clear(l.changes)
	clear(l.permits)
	clear(l.devices)
	clear(l.used)
	clear(l.loose)
	l.sessions, l.usage = l.sessions[:0], l.usage[:0]
}

// mayWait reports whether the rows may follow this commit.
func (t *tx) mayWait(now time.Time) bool {
	w := &t.db.w
	l := &w.late
	return !t.through && now.Sub(w.committedAt) < w.pressure && len(l.sessions) < lateBound && (l.empty() || now.Sub(l.since) < w.lateTime)
}

// lateBody is what an event does not say of the rows it stands for.
type lateBody struct {
	HostIP  string `json:"h,omitempty"`
	Server  string `json:"s,omitempty"`
	Terms   string `json:"t,omitempty"`
	Stopped bool   `json:"x,omitempty"`
	Counted string `json:"c,omitempty"` // of the pass
}

// tell appends the event of a session that was changed with its pass, nil for
// none. Both may then follow the commit.
func (t *tx) tell(kind wire.EventKind, body wire.SessionBody, s session, row *passRow) error {
	l := lateBody{HostIP: addrText(s.HostIP), Server: s.Server, Terms: s.terms, Stopped: s.stopped}
	if row != nil {
		l.Counted = row.counted.String()
	}
	b, err := json.Marshal(l)
	if err != nil {
		return fault.New(fault.Internal, "store: what an event does not say", err)
	}
	if err := t.event(kind, body); err != nil {
		return err
	}
	t.events[len(t.events)-1].late = string(b)
	return nil
}

// recover brings the rows up to the log: at a start, and after a transaction
// that took some of them back.
func (t *tx) recover() error {
	type behind struct {
		body wire.SessionBody
		late lateBody
	}
	var all []behind
	err := t.rows("read what the rows lack", "SELECT body, late FROM event WHERE seq > ? AND late <> '' ORDER BY seq", []any{t.mark.settled}, func(scan func(...any) error) error {
		var body, rest []byte
		if err := scan(&body, &rest); err != nil {
			return err
		}
		var b behind
		if err := json.Unmarshal(body, &b.body); err != nil {
			return fault.New(fault.Damaged, "store: event", err)
		}
		if err := json.Unmarshal(rest, &b.late); err != nil {
			return fault.New(fault.Damaged, "store: what an event does not say", err)
		}
		all = append(all, b)
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range all {
		if err := t.recoverRows(b.body, b.late); err != nil {
			return err
		}
	}
	t.mark.settled = t.mark.lastSeq
	return nil
}

func (t *tx) recoverRows(b wire.SessionBody, l lateBody) error {
	mac, _ := hotspot.ParseMAC(b.MAC) // "" is none
	s := session{Session: hotspot.Session{ID: b.ID, Permit: b.Permit, Account: b.Account, Pass: b.Pass, NAS: b.NAS, AcctSessionID: b.AcctSessionID,
		Username: b.Username, MAC: mac, IP: parseAddr(b.IP), HostIP: parseAddr(l.HostIP), Server: l.Server, State: b.State, StartedAt: b.StartedAt, HeardAt: b.HeardAt,
		EndedAt: b.EndedAt, Time: time.Duration(b.TimeMS) * time.Millisecond, Upload: hotspot.Octets(b.Upload), Download: hotspot.Octets(b.Download), Cause: b.Cause},
		stopped: l.Stopped, terms: l.Terms}
	if _, err := t.exec("recover session", insertSessions.one()+` ON CONFLICT (id) DO UPDATE SET username = excluded.username, ip = excluded.ip, host_ip = excluded.host_ip,
		server = excluded.server, state = excluded.state, heard_at = excluded.heard_at, ended_at = excluded.ended_at, time_ms = excluded.time_ms,
		upload = excluded.upload, download = excluded.download, cause = excluded.cause, stopped = excluded.stopped`, s.appendColumns(nil)...); err != nil {
		return err
	}
	u := b.PassUsage
	if u == nil {
		return nil
	}
	_, err := t.exec("recover usage", upsertUsage.one(), string(u.Pass), string(u.Account), millis(u.FirstUsed), u.TimeMS, l.Counted, int64(u.Upload), int64(u.Download))
	return err
}

// lag names, for the readers, the accounts whose rows follow the log.
type lag struct {
	n        atomic.Int64
	mu       sync.Mutex // guards what follows
	accounts map[hotspot.AccountID]bool
}

// add is called before the commit that makes rows late.
func (g *lag) add(changes []*change) {
	if len(changes) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range changes {
		g.accounts[c.Account] = true
	}
	g.n.Store(int64(len(g.accounts)))
}

// reset is called after the commit that brought the rows up to those in l.
func (g *lag) reset(l *late) {
	g.mu.Lock()
	clear(g.accounts)
	g.mu.Unlock()
	g.n.Store(0)
	g.add(l.sessions)
}

// has reports whether rows of an account follow the log.
func (g *lag) has(id hotspot.AccountID) bool {
	if g.n.Load() == 0 {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.accounts[id]
}

// settled returns once the rows say all that was committed when it was called.
func (db *DB) settled(ctx context.Context) error {
	if db.lag.n.Load() == 0 {
		return nil
	}
	return db.do(ctx, func(*tx) error { return nil })
}

// settledFor is settled for one account.
func (db *DB) settledFor(ctx context.Context, id hotspot.AccountID) error {
	if !db.lag.has(id) {
		return nil
	}
	return db.settled(ctx)
}
