package store

import (
	"bytes"
	"context"
	"database/sql"
	"net/netip"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// sessionMatch is how far the start of a session may lie from its Access-Accept
// when the NAS does not echo Class and Acct-Session-Id alone must tell reboots
// apart (facts.md §4: ids recur after sixteen boots).
const sessionMatch = 5 * time.Minute

// Account stores one accounting record. It returns after the commit, with the
// record on disk, or with an error, and then no Accounting-Response may leave
// (RFC 2866 §4.1). A repeat, also one with a new Acct-Delay-Time, has no effect.
func (db *DB) Account(ctx context.Context, a hotspot.Accounting) error {
	return db.do(ctx, func(t *tx) error {
		switch a.Kind {
		case hotspot.NASOn, hotspot.NASOff:
			return t.nasRestarted(a)
		}
		return t.record(a)
	})
}

// nasRestarted makes what was open at that NAS before suspect. The router's
// list, or silence, closes it: RouterOS was seen sending On in mid-life.
func (t *tx) nasRestarted(a hotspot.Accounting) error {
	n, err := t.exec("suspect sessions", "UPDATE session SET state = 'suspect' WHERE nas = ? AND state = 'live' AND heard_at <= ?", a.NAS, millis(a.At))
	if err != nil {
		return err
	}
	if n == 0 && a.Kind == hotspot.NASOn {
		return nil
	}
	return t.event(wire.EventNASRestarted, wire.NASRestarted{NAS: a.NAS, On: a.Kind == hotspot.NASOn})
}

// record applies a Start, Interim-Update or Stop.
func (t *tx) record(a hotspot.Accounting) error {
	start := eventTime(a).Add(-a.SessionTime)
	s, isNew, err := t.session(a, start)
	if err != nil {
		return err
	}
	before := s
	if !absorb(&s, a, isNew) {
		return nil
	}
	var usage *wire.UsageBody
	if s.Pass != "" {
		if usage, err = t.use(s, before, isNew, eventTime(a)); err != nil {
			return err
		}
	}
	if err := t.saveSession(s, a.Kind == hotspot.Stop); err != nil {
		return err
	}
	kind := wire.EventSessionUsage
	switch {
	case s.State == hotspot.Closed:
		kind = wire.EventSessionStopped
	case isNew:
		kind = wire.EventSessionStarted
	}
	body := wire.FromSession(s)
	body.PassUsage = usage
	return t.event(kind, body)
}

// eventTime is when the record's fact happened, by our clock: arrival less the
// delay the NAS admits. The NAS's own clock may be in 1970.
func eventTime(a hotspot.Accounting) time.Time {
	return a.At.Add(-min(a.Delay, time.Hour))
}

// absorb changes s by the record and reports whether anything is new.
func absorb(s *hotspot.Session, a hotspot.Accounting, isNew bool) bool {
	grew := a.SessionTime > s.Time || a.Upload > s.Upload || a.Download > s.Download
	stopped := s.State == hotspot.Closed && !s.EndedAt.IsZero() && s.Cause != "" && !closedByUs(s.Cause)
	switch {
	case isNew:
	case stopped:
		return false // a Stop is final
	case a.Kind == hotspot.Start && s.State == hotspot.Live:
		return false // repeated, or late after an Interim
	case a.Kind == hotspot.Start && s.State == hotspot.Closed:
		return false
	case a.Kind == hotspot.Interim && s.State == hotspot.Live && !grew:
		return false
	case a.Kind == hotspot.Interim && s.State == hotspot.Closed && !grew:
		return false // a repeat of what was known when we closed it
	}
	// Counters never go down: a lower one is a repeat or a NAS's mistake.
	s.Time = max(s.Time, a.SessionTime)
	s.Upload = max(s.Upload, a.Upload)
	s.Download = max(s.Download, a.Download)
	s.HeardAt = a.At
	s.Username, s.Server = keep(a.Username, s.Username), keep(a.Server, s.Server)
	if a.IP.IsValid() {
		s.IP = a.IP
	}
	if a.HostIP.IsValid() {
		s.HostIP = a.HostIP
	}
	if a.Kind == hotspot.Stop {
		s.State, s.EndedAt, s.Cause = hotspot.Closed, eventTime(a), hotspot.CauseName(a.TerminateCause)
		return true
	}
	s.State, s.EndedAt, s.Cause = hotspot.Live, time.Time{}, ""
	return true
}

func keep(fresh, old string) string {
	if fresh != "" {
		return fresh
	}
	return old
}

// Causes of sessions we closed without a Stop. An Interim with more use takes
// such a close back.
const (
	causeGhost = "ghost"  // not on the router's list
	causeGone  = "silent" // nothing heard, no list to ask
)

func closedByUs(cause string) bool {
	switch hotspot.OffReason(cause) {
	case causeGhost, causeGone, hotspot.OffLocked, hotspot.OffTimeUsed, hotspot.OffDataUsed, hotspot.OffNotValid,
		hotspot.OffTooMany, hotspot.OffRemoved, hotspot.OffKicked, hotspot.OffNotOurGuest:
		return true
	}
	return false
}

// session finds the session a record belongs to, or makes it.
func (t *tx) session(a hotspot.Accounting, start time.Time) (s hotspot.Session, isNew bool, err error) {
	p, err := t.permitOf(a, start)
	if err != nil {
		return s, false, err
	}
	var found bool
	if p.id != "" {
		s, found, err = t.findSession("permit = ?", p.id)
	} else {
		s, found, err = t.findSession("permit = '' AND nas = ? AND acct_session_id = ? AND mac = ? AND started_at BETWEEN ? AND ? ORDER BY started_at DESC LIMIT 1",
			a.NAS, a.AcctSessionID, a.MAC.String(), millis(start.Add(-sessionMatch)), millis(start.Add(sessionMatch)))
	}
	if err != nil || found {
		return s, false, err
	}
	s = hotspot.Session{ID: hotspot.SessionID(hotspot.NewID(t.now)), Permit: p.id, Account: p.account, Pass: p.pass, NAS: a.NAS,
		AcctSessionID: a.AcctSessionID, Username: a.Username, MAC: a.MAC, IP: a.IP, HostIP: a.HostIP, Server: a.Server,
		State: hotspot.Live, StartedAt: start}
	if p.id != "" {
		_, err = t.exec("start permit", "UPDATE permit SET started = 1 WHERE token = ?", p.token)
	}
	return s, true, err
}

// permitRow is the part of a permit that accounting needs.
type permitRow struct {
	token   []byte
	id      hotspot.PermitID
	account hotspot.AccountID
	pass    hotspot.PassID
	nas     hotspot.NASID
}

// permitOf finds the permit of a record: by the token echoed as Class, else by
// what the Access-Request said. A record from a NAS the permit was not given to
// is kept without it, so that it is seen and not billed.
func (t *tx) permitOf(a hotspot.Accounting, start time.Time) (permitRow, error) {
	var p permitRow
	var found bool
	var err error
	if len(a.Class) == tokenBytes {
		found, err = t.row("find permit", "SELECT token, id, account, pass, nas FROM permit WHERE token = ?", []any{a.Class}, &p.token, &p.id, &p.account, &p.pass, &p.nas)
	} else {
		found, err = t.row("find permit", `SELECT token, id, account, pass, nas FROM permit
			WHERE nas = ? AND acct_session_id = ? AND mac = ? AND at BETWEEN ? AND ? ORDER BY at DESC LIMIT 1`,
			[]any{a.NAS, a.AcctSessionID, a.MAC.String(), millis(start.Add(-sessionMatch)), millis(start.Add(sessionMatch))},
			&p.token, &p.id, &p.account, &p.pass, &p.nas)
	}
	if err != nil || !found {
		return permitRow{}, err
	}
	if p.nas != a.NAS {
		t.db.o.Log.Warn("accounting from a NAS the permit was not given to", "nas", a.NAS, "acct_session_id", a.AcctSessionID, "account", p.account)
		return permitRow{}, nil
	}
	p.token = bytes.Clone(p.token)
	return p, nil
}

// use adds what a record brought to the pass and returns its totals.
//
// Metered time is the union of the devices' online stretches: each record adds
// the stretch [event-grown, event], less what another device's record already
// covered. A pass with one device simply adds what Acct-Session-Time grew by.
func (t *tx) use(s, before hotspot.Session, isNew bool, event time.Time) (*wire.UsageBody, error) {
	if isNew {
		before.Time, before.Upload, before.Download = 0, 0, 0
	}
	var first, timeMS, until int64
	u := hotspot.Usage{}
	_, err := t.row("read usage", "SELECT first_used, time_ms, online_until, upload, download FROM usage WHERE pass = ?", []any{s.Pass},
		&first, &timeMS, &until, &u.Upload, &u.Download)
	if err != nil {
		return nil, err
	}
	var others int
	if _, err := t.row("count devices", "SELECT COUNT(*) FROM session WHERE pass = ? AND id <> ? AND (state <> 'closed' OR ended_at > ?)",
		[]any{s.Pass, s.ID, millis(event.Add(before.Time - s.Time))}, &others); err != nil {
		return nil, err
	}
	grown := (s.Time - before.Time).Milliseconds()
	if begin := millis(event) - grown; others > 0 && until > begin {
		grown = max(0, millis(event)-until)
	}
	timeMS += grown
	until = max(until, millis(event))
	if others == 0 {
		until = millis(event) // a clock that jumped back must not stop the count
	}
	u.Upload = u.Upload.Add(s.Upload - before.Upload)
	u.Download = u.Download.Add(s.Download - before.Download)
	if first == 0 {
		first = millis(s.StartedAt)
	}
	if _, err := t.exec("save usage", `INSERT INTO usage (pass, account, first_used, time_ms, online_until, upload, download) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (pass) DO UPDATE SET first_used = excluded.first_used, time_ms = excluded.time_ms, online_until = excluded.online_until,
		upload = excluded.upload, download = excluded.download`, s.Pass, s.Account, first, timeMS, until, int64(u.Upload), int64(u.Download)); err != nil {
		return nil, err
	}
	return &wire.UsageBody{Pass: s.Pass, Account: s.Account, FirstUsed: fromMillis(first), TimeMS: timeMS,
		Upload: uint64(u.Upload), Download: uint64(u.Download)}, nil
}

const sessionColumns = `id, permit, account, pass, nas, acct_session_id, username, mac, ip, host_ip, server, state,
	started_at, heard_at, ended_at, time_ms, upload, download, cause`

// scanSession reads sessionColumns.
func scanSession(scan func(...any) error) (hotspot.Session, error) {
	var s hotspot.Session
	var mac, ip, host string
	var started, heard, ended, timeMS, up, down int64
	err := scan(&s.ID, &s.Permit, &s.Account, &s.Pass, &s.NAS, &s.AcctSessionID, &s.Username, &mac, &ip, &host, &s.Server, &s.State,
		&started, &heard, &ended, &timeMS, &up, &down, &s.Cause)
	if err != nil {
		return s, err
	}
	s.MAC, _ = hotspot.ParseMAC(mac)
	s.IP, _ = netip.ParseAddr(ip)
	s.HostIP, _ = netip.ParseAddr(host)
	s.StartedAt, s.HeardAt, s.EndedAt = fromMillis(started), fromMillis(heard), fromMillis(ended)
	s.Time = time.Duration(timeMS) * time.Millisecond
	s.Upload, s.Download = hotspot.Octets(up), hotspot.Octets(down)
	return s, nil
}

func (t *tx) findSession(where string, args ...any) (s hotspot.Session, found bool, err error) {
	q, err := t.stmt("SELECT " + sessionColumns + " FROM session WHERE " + where)
	if err != nil {
		return s, false, sqlFault("find session", err)
	}
	s, err = scanSession(q.QueryRowContext(t.ctx, args...).Scan)
	if err == sql.ErrNoRows {
		return hotspot.Session{}, false, nil
	}
	return s, err == nil, sqlFault("find session", err)
}

func (t *tx) saveSession(s hotspot.Session, stopped bool) error {
	addr := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	_, err := t.exec("save session", "INSERT OR REPLACE INTO session ("+sessionColumns+", stopped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		s.ID, s.Permit, s.Account, s.Pass, s.NAS, s.AcctSessionID, s.Username, s.MAC.String(), addr(s.IP), addr(s.HostIP), s.Server, string(s.State),
		millis(s.StartedAt), millis(s.HeardAt), millis(s.EndedAt), s.Time.Milliseconds(), int64(s.Upload), int64(s.Download), s.Cause, stopped)
	return err
}

// closeSession ends a session without a Stop.
func (t *tx) closeSession(s hotspot.Session, cause string) error {
	s.State, s.Cause, s.EndedAt = hotspot.Closed, cause, t.now
	if cause == causeGhost || cause == causeGone {
		s.EndedAt = s.HeardAt // the last moment it is known to have lived
	}
	if err := t.saveSession(s, false); err != nil {
		return err
	}
	return t.event(wire.EventSessionStopped, wire.FromSession(s))
}
