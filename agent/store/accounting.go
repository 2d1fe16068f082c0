package store

import (
	"bytes"
	"context"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	// sessionMatch is how far the start of a session may lie from its
	// Access-Accept when the NAS does not echo Class and Acct-Session-Id alone
	// must tell reboots apart (facts.md §4: ids recur after sixteen boots).
	sessionMatch = 5 * time.Minute
	// delayBound is the longest Acct-Delay-Time believed (radius.md §2.4).
	delayBound = time.Hour
)

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
	n, err := t.exec("suspect sessions", "UPDATE session SET state = 'suspect' WHERE nas = ? AND state = 'live' AND state <> 'closed' AND heard_at <= ?",
		a.NAS, millis(eventTime(a)))
	if err != nil || n == 0 {
		return err // a repeat, or nothing was open: nothing to tell
	}
	return t.event(wire.EventNASRestarted, wire.NASRestarted{NAS: a.NAS, On: a.Kind == hotspot.NASOn})
}

// record applies a Start, Interim-Update or Stop.
func (t *tx) record(a hotspot.Accounting) error {
	s, isNew, err := t.session(a)
	if err != nil {
		return err
	}
	before := s
	if !s.absorb(a, isNew) {
		if !s.HeardAt.After(before.HeardAt) {
			return nil
		}
		// Nothing to tell the cloud, but a sign of life all the same.
		return t.updateSession(s, before)
	}
	var usage *wire.UsageBody
	if s.Pass != "" {
		if usage, err = t.use(s.Session, before.Session, eventTime(a)); err != nil {
			return err
		}
	}
	save := func() error { return t.updateSession(s, before) }
	kind := wire.EventSessionUsage
	if isNew {
		save = func() error { return t.insertSession(s) }
		kind = wire.EventSessionStarted
	}
	if s.State == hotspot.Closed {
		kind = wire.EventSessionStopped
	}
	if err := save(); err != nil {
		return err
	}
	body := wire.FromSession(s.Session)
	body.PassUsage = usage
	return t.event(kind, body)
}

// eventTime is when the record's fact happened, by our clock: arrival less the
// delay the NAS admits. Event-Timestamp is not used: the NAS's clock may be in
// 1970, and a session must be found again after either clock was corrected.
func eventTime(a hotspot.Accounting) time.Time {
	return a.At.Add(-min(max(a.Delay, 0), delayBound))
}

// session is a row of the session table.
type session struct {
	hotspot.Session
	stopped bool   // a Stop said so: final. A close without one may be taken back
	terms   string // of a new one: what its permit gave
}

// absorb changes s by the record and reports whether there is anything to tell.
func (s *session) absorb(a hotspot.Accounting, isNew bool) bool {
	grew := a.SessionTime > s.Time || a.Upload > s.Upload || a.Download > s.Download
	switch {
	case isNew:
	case s.stopped:
		return false
	case a.Kind == hotspot.Stop:
	case s.State == hotspot.Closed && (a.Kind == hotspot.Start || !grew):
		return false // a repeat of what was known when we closed it
	case s.State == hotspot.Live && (a.Kind == hotspot.Start || !grew):
		s.HeardAt = a.At
		return false
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
		s.State, s.EndedAt, s.Cause, s.stopped = hotspot.Closed, eventTime(a), hotspot.CauseName(a.TerminateCause), true
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

// session finds the session a record belongs to, or makes it. A record that
// comes without its Start opens it where it must have begun.
func (t *tx) session(a hotspot.Accounting) (s session, isNew bool, err error) {
	start := eventTime(a).Add(-a.SessionTime)
	p, foreign, err := t.permitOf(a, start)
	if err != nil {
		return s, false, err
	}
	var found bool
	if p.id != "" {
		s, found, err = t.findSession("permit = ?", p.id)
	} else {
		s, found, err = t.findSession("permit IS NULL AND nas = ? AND acct_session_id = ? AND mac = ? AND started_at BETWEEN ? AND ? ORDER BY started_at DESC LIMIT 1",
			a.NAS, a.AcctSessionID, a.MAC.String(), millis(start.Add(-sessionMatch)), millis(start.Add(sessionMatch)))
	}
	if err != nil || found {
		return s, false, err
	}
	if p.id == "" {
		t.db.o.Log.Warn("a session nobody here permitted is kept and not billed", "nas", a.NAS, "acct_session_id", a.AcctSessionID, "permit_of_another_nas", foreign)
	} else if _, err := t.exec("start permit", "UPDATE permit SET started = 1 WHERE token = ?", p.token); err != nil {
		return s, false, err
	}
	if !a.MAC.IsZero() {
		// One device has one session per NAS: an older one lost its Stop.
		if _, err := t.exec("suspect older session", "UPDATE session SET state = 'suspect' WHERE nas = ? AND mac = ? AND state = 'live' AND state <> 'closed' AND started_at < ?",
			a.NAS, a.MAC.String(), millis(start)); err != nil {
			return s, false, err
		}
	}
	s.Session = hotspot.Session{ID: hotspot.SessionID(hotspot.NewID(t.now)), Permit: p.id, Account: p.account, Pass: p.pass, NAS: a.NAS,
		AcctSessionID: a.AcctSessionID, Username: a.Username, MAC: a.MAC, IP: a.IP, HostIP: a.HostIP, Server: a.Server,
		State: hotspot.Live, StartedAt: start}
	s.terms = p.terms
	if p.terms != "" {
		s.Rate = rateOf(p.terms)
	}
	return s, true, nil
}

// permitRow is the part of a permit that accounting needs.
type permitRow struct {
	token   []byte
	id      hotspot.PermitID
	account hotspot.AccountID
	pass    hotspot.PassID
	nas     hotspot.NASID
	terms   string
}

// permitOf finds the permit of a record: by the token echoed as Class, else by
// what the Access-Request said. A record from a NAS the permit was not given to
// (foreign) is kept without it, so that it is seen and not billed.
func (t *tx) permitOf(a hotspot.Accounting, start time.Time) (p permitRow, foreign bool, err error) {
	const columns = "SELECT token, id, account, pass, nas, terms FROM permit "
	into := []any{&p.token, &p.id, &p.account, &p.pass, &p.nas, &p.terms}
	var found bool
	if len(a.Class) == tokenBytes {
		found, err = t.row("find permit", columns+"WHERE token = ?", []any{a.Class}, into...)
	} else {
		found, err = t.row("find permit", columns+"WHERE nas = ? AND acct_session_id = ? AND mac = ? AND at BETWEEN ? AND ? ORDER BY at DESC LIMIT 1",
			[]any{a.NAS, a.AcctSessionID, a.MAC.String(), millis(start.Add(-sessionMatch)), millis(start.Add(sessionMatch))}, into...)
	}
	if err != nil || !found || p.nas != a.NAS {
		return permitRow{}, found, err
	}
	p.token = bytes.Clone(p.token)
	return p, false, nil
}
