package store

import (
	"context"
	"slices"
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
	if a.Kind == hotspot.NASOn || a.Kind == hotspot.NASOff {
		return db.do(ctx, func(t *tx) error { return t.nasRestarted(a) })
	}
	p, carried := openClass(db.classKey, a.Class)
	err := db.submit(ctx, recordOp(a, p))
	if full(err) {
		db.hold(a)
	}
	if err != nil || a.Kind == hotspot.Stop {
		return err
	}
	if carried && p.nas == a.NAS {
		db.LearnNAS(hotspot.NASMemory{NAS: a.NAS, EchoesClass: true})
	} else if a.Kind == hotspot.Start && len(a.Class) == 0 && db.nases.noteMute(a.NAS) {
		db.o.Log.Warn("a NAS that used to echo Class left it out; its permits are kept by Acct-Session-Id and MAC too until it echoes again", "nas", a.NAS)
	}
	return nil
}

// recordOp is the work of one record with the permit it carries, or none.
func recordOp(a hotspot.Accounting, carried permit) *op {
	return &op{own: true, run: func(t *tx) error {
		p := carried
		if p.id == "" {
			var err error
			p, err = t.rowPermit(a.Class, a.NAS, a.AcctSessionID, a.MAC, eventTime(a).Add(-a.SessionTime))
			if err == nil && p.id == "" && len(a.Class) == 0 && a.Kind != hotspot.Start {
				p, err = t.openPermit(a)
			}
			if err != nil {
				return err
			}
		}
		return t.record(a, p)
	}}
}

// nasRestarted makes what was open at that NAS before suspect. The router's
// list, or silence, closes it: RouterOS was seen sending On in mid-life.
func (t *tx) nasRestarted(a hotspot.Accounting) error {
	// What was heard of at a later date than now was: our date was set back, as by
	// the power cut that took the router too.
	live, err := t.findSessions("nas = ? AND state <> 'closed' AND state = 'live' AND (heard_at <= ? OR heard_at > ?)",
		a.NAS, millis(eventTime(a)), millis(t.now.Add(stepSlack)))
	if err != nil || len(live) == 0 {
		return err // a repeat, or nothing was open: nothing to tell
	}
	for _, s := range live {
		before := s
		s.State = hotspot.Suspect
		t.save(s, &before)
	}
	return t.event(wire.EventNASRestarted, wire.NASRestarted{NAS: a.NAS, On: a.Kind == hotspot.NASOn})
}

// record applies a Start, Interim-Update or Stop of a permit, which is zero when
// the record named none. One from a NAS the permit was not given to, or of a
// permit too old to be of a session, is kept without it, so that it is seen and
// not billed.
func (t *tx) record(a hotspot.Accounting, p permit) error {
	foreign := p.id != "" && p.nas != a.NAS
	if foreign {
		p = permit{}
	}
	start := eventTime(a).Add(-a.SessionTime)
	s, found, err := t.known(a, p, start)
	if err != nil {
		return err
	}
	if !found && p.id != "" && t.now.Sub(p.at) > sessionsKept {
		// Its session was dropped, closed: an old Class must not bill again.
		p = permit{}
		if s, found, err = t.known(a, p, start); err != nil {
			return err
		}
	}
	if !found {
		if s, found, err = t.adopt(a, p); err != nil {
			return err
		}
	}
	if !found {
		if s, err = t.begin(a, p, start); err != nil {
			return err
		}
		if p.id == "" {
			t.db.o.Log.Warn("a session nobody here permitted is kept and not billed", "nas", a.NAS, "acct_session_id", a.AcctSessionID, "permit_of_another_nas", foreign)
		}
	}
	return t.apply(a, s, !found)
}

// apply changes a session by a record, its pass with it, and tells the cloud.
func (t *tx) apply(a hotspot.Accounting, s session, isNew bool) error {
	before := s
	was := &before
	if isNew {
		was = nil
	}
	if !s.absorb(a, isNew) {
		if s.HeardAt.After(before.HeardAt) {
			t.save(s, was) // nothing to tell the cloud, but a sign of life all the same
		}
		return nil
	}
	t.carriedUp += uint64(s.Upload - before.Upload)
	t.carriedDown += uint64(s.Download - before.Download)
	body := wire.FromSession(s.Session)
	var row *passRow
	if s.Pass != "" {
		var err error
		if row, body.PassUsage, err = t.use(s.Session, before.Session, eventTime(a)); err != nil {
			return err
		}
	}
	t.keep(s, was)
	kind := wire.EventSessionUsage
	switch {
	case s.State == hotspot.Closed:
		kind = wire.EventSessionStopped
	case isNew:
		kind = wire.EventSessionStarted
	}
	return t.tell(kind, body, s, row)
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
	if !hotspot.OffReason(s.Cause).Known() { // else it goes on though the router was read back: that stays with it
		s.Cause = ""
	}
	s.State, s.EndedAt = hotspot.Live, time.Time{}
	return true
}

func keep(fresh, old string) string {
	if fresh != "" {
		return fresh
	}
	return old
}

// known finds the session a record belongs to.
func (t *tx) known(a hotspot.Accounting, p permit, start time.Time) (s session, found bool, err error) {
	if p.id == "" {
		if err := t.settle(); err != nil {
			return s, false, err
		}
		return t.findSession("permit IS NULL AND nas = ? AND acct_session_id = ? AND mac = ? AND started_at BETWEEN ? AND ? ORDER BY started_at DESC LIMIT 1",
			a.NAS, a.AcctSessionID, a.MAC.String(), millis(start.Add(-sessionMatch)), millis(start.Add(sessionMatch)))
	}
	if c := t.db.w.late.permits[p.id]; c != nil {
		return c.session, true, nil
	}
	row, err := t.passRow(p.pass)
	if err != nil {
		return s, false, err
	}
	for _, o := range row.open {
		if o.Permit == p.id {
			return session{Session: *o}, true, nil
		}
	}
	if t.db.desk.waits(p) {
		return s, false, nil // no session came of it yet: SQL need not be asked
	}
	return t.findSession("permit = ?", p.id)
}

// begin makes the session of a record. One that comes without its Start opens it
// where it must have begun.
func (t *tx) begin(a hotspot.Accounting, p permit, start time.Time) (session, error) {
	s := session{Session: hotspot.Session{ID: hotspot.SessionID(hotspot.NewID(t.now)), Permit: p.id, Account: p.account, Pass: p.pass, NAS: a.NAS,
		AcctSessionID: a.AcctSessionID, Username: a.Username, MAC: a.MAC, IP: a.IP, HostIP: a.HostIP, Server: a.Server,
		State: hotspot.Live, StartedAt: start}, terms: p.terms}
	if p.terms != "" {
		s.Rate = rateOf(p.terms)
	}
	if a.MAC.IsZero() {
		return s, nil
	}
	// One device has one session per NAS: an older one lost its Stop.
	older, err := t.findSessions("nas = ? AND mac = ? AND state <> 'closed' AND state = 'live' AND started_at < ?", a.NAS, a.MAC.String(), millis(start))
	l := &t.db.w.late
	older = slices.DeleteFunc(older, func(o session) bool { return l.changes[o.ID] != nil })
	for _, c := range l.devices[deviceAt{a.NAS, a.MAC}] {
		if c.State == hotspot.Live && c.StartedAt.Before(fromMillis(millis(start))) {
			older = append(older, c.session)
		}
	}
	for _, o := range older {
		before := o
		o.State = hotspot.Suspect
		t.save(o, &before)
	}
	return s, err
}
