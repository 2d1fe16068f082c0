package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// facts applies one batch. Sessions and usage are whole in each event, so of
// many of one batch only their sum is written: what event after event would have
// left, to the letter.
type facts struct {
	t        *tx
	site     hotspot.SiteID
	agent    hotspot.AgentID
	epoch    string
	offset   int64 // site's clock minus ours, milliseconds
	dead     int   // events set aside
	sessions map[hotspot.SessionID]wire.SessionBody
	order    []hotspot.SessionID
	usage    map[hotspot.PassID]usage
	passes   []hotspot.PassID // keys of usage in order
	refused  bool             // a failed login was told
}

// usage is what a pass has used, and when that was recorded, by the site's clock.
type usage struct {
	wire.UsageBody
	at time.Time
}

// asOf is when something was recorded at the site, by our clock, in
// milliseconds; 0 when that is not known. A record is never of the future.
func (f *facts) asOf(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return max(1, min(ms(at)-f.offset, ms(f.t.now)))
}

// offset is how far the site's clock is ahead of ours, in milliseconds, as a
// batch and the last hello tell. Each tells too little by the time it was under
// way, and a batch that waited for us by a lot: so the larger counts, and a
// figure is made out older than it is rather than fresher.
func (t *tx) offset(site hotspot.SiteID, agent hotspot.AgentID, sent time.Time) (int64, error) {
	var hello int64
	said, err := t.one(`SELECT clock_offset_ms FROM site_status WHERE site = $1 AND agent = $2 AND version <> ''`, []any{string(site), string(agent)}, &hello)
	switch batch := ms(sent) - ms(t.now); {
	case err != nil:
		return 0, err
	case sent.IsZero() && !said:
		return 0, nil
	case sent.IsZero():
		return hello, nil
	case !said:
		return batch, nil
	default:
		return max(batch, hello), nil
	}
}

func newFacts(t *tx, site hotspot.SiteID, agent hotspot.AgentID, epoch string) *facts {
	return &facts{t: t, site: site, agent: agent, epoch: epoch,
		sessions: map[hotspot.SessionID]wire.SessionBody{}, usage: map[hotspot.PassID]usage{}}
}

// unreadable is an event or proof whose content this build cannot take. It is
// the sender's fault, never the database's.
type unreadable struct{ reason string }

func (u *unreadable) Error() string { return u.reason }

func unreadablef(format string, args ...any) error { return &unreadable{fmt.Sprintf(format, args...)} }

// apply takes in the events, the first of which has the sequence number.
func (f *facts) apply(first int64, events []wire.Event) error {
	fresh, err := f.remember(first, events)
	if err != nil {
		return err
	}
	for i, e := range events {
		if name(e.ID, maxEventID) {
			if !fresh[e.ID] {
				continue // stored under another number, before a fork
			}
			delete(fresh, e.ID) // a twin in the same batch counts once
			err = f.one(first+int64(i), e)
		} else {
			err = unreadablef("the id is not a name of at most %d characters", maxEventID)
		}
		var bad *unreadable
		if errors.As(err, &bad) {
			err = f.bury(first+int64(i), e, bad.reason)
		}
		if err != nil {
			return err
		}
	}
	if err := f.dropRefused(); err != nil {
		return err
	}
	if err := f.writeSessions(); err != nil {
		return err
	}
	return f.writeUsage()
}

// one applies a single event, of the sequence number.
func (f *facts) one(seq int64, e wire.Event) error {
	if !storable(e.Body) {
		return unreadablef("the body is not text without NUL")
	}
	switch e.Kind {
	case wire.EventSessionStarted, wire.EventSessionUsage, wire.EventSessionStopped:
		return with(e, f.session)
	case wire.EventPassFirstUsed, wire.EventPassUsage:
		return with(e, func(b wire.UsageBody) error { return f.passUsage(b, e.At) })
	case wire.EventLockReceived:
		return with(e, func(b wire.LockReceived) error { return f.t.received(f.site, b.Account, b.Revision, ms(e.At)) })
	case wire.EventLockProof:
		return with(e, func(b wire.LockProof) error {
			_, err := f.t.applyProof(f.site, b, place{f.agent, f.epoch, seq})
			return err
		})
	case wire.EventLockKept:
		return with(e, f.lockKept)
	case wire.EventAdjusted:
		return with(e, func(b wire.AdjustedBody) error { return f.adjusted(e, b) })
	case wire.EventGrantMade:
		return with(e, f.grantMade)
	case wire.EventGrantRemoved:
		return with(e, f.grantRemoved)
	case wire.EventGrantSettled:
		return with(e, func(b wire.GrantSettled) error { return f.grantSettled(b, e.At) })
	case wire.EventSessionChanged:
		return with(e, f.sessionChanged)
	case wire.EventLoginRefused:
		return with(e, f.loginRefused)
	case wire.EventAgentStarted:
		return with(e, func(b wire.AgentStarted) error {
			return f.t.exec(`UPDATE agent SET version = $2 WHERE id = $1`, string(f.agent), text200(b.Version))
		})
	case wire.EventNASRestarted:
		return with(e, func(b wire.NASRestarted) error { return f.nasRestarted(b, e.At) })
	case wire.EventCommandResult:
		return with(e, func(b wire.CommandResult) error {
			_, err := f.t.commandResult(f.site, b)
			return err
		})
	case wire.EventGap:
		return with(e, f.gap)
	case wire.EventVoid:
		return nil
	}
	if ours, err := f.counter(e); ours {
		return err
	}
	return unreadablef("kind %q is not known to this build", string(e.Kind))
}

// with decodes the body for f.
func with[T any](e wire.Event, f func(T) error) error {
	var body T
	if err := wire.Unmarshal(e.Body, &body); err != nil {
		return unreadablef("body of %s: %v", e.Kind, err)
	}
	return f(body)
}

// session folds one record of a session into what is known: counters never
// fall, all else is as last said.
func (f *facts) session(b wire.SessionBody) error {
	switch {
	case !name(string(b.ID), maxEventID):
		return unreadablef("a session without an id")
	case b.TimeMS < 0 || b.StartedAt.IsZero():
		return unreadablef("a session with a negative time, or never started")
	}
	switch b.State {
	case hotspot.Live, hotspot.Suspect, hotspot.Closed, hotspot.Reserved:
	default:
		return unreadablef("session state %q is not known", string(b.State))
	}
	if u := b.PassUsage; u != nil {
		if err := f.passUsage(*u, b.HeardAt); err != nil {
			return err
		}
	}
	was, known := f.sessions[b.ID]
	if !known {
		f.order = append(f.order, b.ID)
	}
	if b.State == hotspot.Closed && b.EndedAt.IsZero() {
		b.EndedAt = b.HeardAt
	}
	b.TimeMS, b.Upload, b.Download = max(b.TimeMS, was.TimeMS), max(b.Upload, was.Upload), max(b.Download, was.Download)
	b.HeardAt = later(b.HeardAt, was.HeardAt)
	if b.Rate = readable(b.Rate); b.Rate == nil {
		b.Rate = was.Rate
	}
	f.sessions[b.ID] = b
	return nil
}

// readable is a speed as stored; one that cannot be read is not reported.
func readable(rate *string) *string {
	if rate == nil {
		return nil
	}
	r, err := hotspot.ParseRateLimit(*rate)
	if err != nil {
		return nil
	}
	text := rateText(r.String())
	return &text
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// nasRestarted doubts what was open at a NAS that restarted: only accounting from
// before says so. The next record of a session, or its end, settles it.
func (f *facts) nasRestarted(b wire.NASRestarted, at time.Time) error {
	if err := f.writeSessions(); err != nil { // those of before
		return err
	}
	return f.t.exec(`UPDATE session SET state = 'suspect' WHERE site = $1 AND nas = $2 AND state = 'live' AND heard_at <= $3`, string(f.site), string(b.NAS), ms(at))
}

// gap follows a site whose memory ends before what it told (its database was put
// back from a backup): of what was open then it may never speak again. So that is
// closed as of its last record. A session that the site does know opens again with
// its next record, which comes within an interim interval, or its end.
func (f *facts) gap(b wire.Gap) error {
	if b.First == 0 || b.Last != 0 {
		return nil // of an older agent, or of known length: the site knows what is open
	}
	if err := f.writeSessions(); err != nil { // those of before
		return err
	}
	return f.t.exec(`UPDATE session SET state = 'closed', cause = $2, ended_at = heard_at WHERE site = $1 AND state IN ('live', 'suspect')`, string(f.site), causeForgotten)
}

// causeForgotten is why the cloud closes a session by itself.
const causeForgotten = "forgotten"

func (f *facts) passUsage(b wire.UsageBody, at time.Time) error {
	if !name(string(b.Pass), maxEventID) || b.TimeMS < 0 {
		return unreadablef("usage without a pass, or negative")
	}
	was, known := f.usage[b.Pass]
	if !known {
		f.passes = append(f.passes, b.Pass)
	}
	if b.FirstUsed.IsZero() {
		b.FirstUsed = was.FirstUsed
	}
	b.TimeMS, b.Upload, b.Download = max(b.TimeMS, was.TimeMS), max(b.Upload, was.Upload), max(b.Download, was.Download)
	f.usage[b.Pass] = usage{b, later(at, was.at)}
	return nil
}

// writeSessions writes what the events so far said of sessions.
func (f *facts) writeSessions() error {
	defer func() {
		f.order = f.order[:0]
		clear(f.sessions)
	}()
	return parts(len(f.order), func(from, to int) error {
		placed, err := f.placed(f.order[from:to])
		if err != nil {
			return err
		}
		var same, others []hotspot.SessionID
		for _, id := range f.order[from:to] {
			if placed[id] == placeOf(f.sessions[id]) {
				same = append(same, id)
			} else {
				others = append(others, id)
			}
		}
		return errors.Join(f.putSessions(others, placedSet+sessionSet), f.putSessions(same, sessionSet))
	})
}

// placeOfSession is where the indexes have a session. An engine takes an entry out
// and puts it in again where a statement names such a column, though it stays the
// same, as it does with nearly every record; so those are written without.
type placeOfSession struct {
	account, state string
	started        int64
}

func placeOf(b wire.SessionBody) placeOfSession {
	return placeOfSession{string(b.Account), string(b.State), ms(b.StartedAt)}
}

// placed returns where those of the sessions are that are stored.
func (f *facts) placed(ids []hotspot.SessionID) (map[hotspot.SessionID]placeOfSession, error) {
	placed := make(map[hotspot.SessionID]placeOfSession, len(ids))
	in, args := list(f.t, []any{string(f.site)}, ids)
	return placed, f.t.each(`SELECT id, account, state, started_at FROM session WHERE site = $1 AND id IN `+in, args, func(scan func(...any) error) error {
		var id hotspot.SessionID
		var p placeOfSession
		err := scan(&id, &p.account, &p.state, &p.started)
		placed[id] = p
		return err
	})
}

// What a record changes of the row that is there.
const (
	placedSet = `account = excluded.account, state = excluded.state, started_at = excluded.started_at, `

	sessionSet = `permit = excluded.permit, pass = excluded.pass, nas = excluded.nas,
		acct_session_id = excluded.acct_session_id, username = excluded.username, mac = excluded.mac, ip = excluded.ip,
		ended_at = excluded.ended_at, cause = excluded.cause,
		rate = CASE WHEN excluded.rate <> '' THEN excluded.rate ELSE session.rate END,
		heard_at = CASE WHEN excluded.heard_at > session.heard_at THEN excluded.heard_at ELSE session.heard_at END,
		as_of = CASE WHEN excluded.as_of > session.as_of THEN excluded.as_of ELSE session.as_of END,
		time_ms = CASE WHEN excluded.time_ms > session.time_ms THEN excluded.time_ms ELSE session.time_ms END,
		upload = CASE WHEN excluded.upload > session.upload THEN excluded.upload ELSE session.upload END,
		download = CASE WHEN excluded.download > session.download THEN excluded.download ELSE session.download END`
)

func (f *facts) putSessions(ids []hotspot.SessionID, set string) error {
	return parts(len(ids), func(from, to int) error {
		args := append(make([]any, 0, 1+19*(to-from)), string(f.site))
		for _, id := range ids[from:to] {
			args = f.sessionRow(args, f.sessions[id])
		}
		return f.t.exec(`INSERT INTO session (site, id, permit, account, pass, nas, acct_session_id, username, mac, ip, state,
				started_at, heard_at, ended_at, time_ms, upload, download, cause, rate, as_of)
			VALUES `+f.t.tuples(to-from, 1, 20)+` ON CONFLICT (site, id) DO UPDATE SET `+set, args...)
	})
}

// sessionRow adds the columns of a session's row but for the site.
func (f *facts) sessionRow(args []any, b wire.SessionBody) []any {
	mac := ""
	if m, ok := hotspot.ParseMAC(b.MAC); ok {
		mac = macText(m)
	}
	ip := ""
	if a, err := netip.ParseAddr(b.IP); err == nil {
		ip = a.Unmap().WithZone("").String()
	}
	rate := ""
	if b.Rate != nil {
		rate = *b.Rate
	}
	return append(args, string(b.ID), string(b.Permit), string(b.Account), string(b.Pass), string(b.NAS), string(b.AcctSessionID),
		b.Username, mac, ip, string(b.State), ms(b.StartedAt), ms(b.HeardAt), ms(b.EndedAt), b.TimeMS, octets(b.Upload), octets(b.Download), b.Cause, rate, f.asOf(b.HeardAt))
}

// macText is an address as stored: twelve lower-case digits, so that a part of
// it can be searched for in any spelling.
func macText(m hotspot.MAC) string {
	return strings.ToLower(strings.ReplaceAll(m.String(), ":", ""))
}

func (f *facts) writeUsage() error {
	return parts(len(f.passes), func(from, to int) error {
		args := append(make([]any, 0, 1+7*(to-from)), string(f.site))
		for _, id := range f.passes[from:to] {
			u := f.usage[id]
			args = append(args, string(id), string(u.Account), ms(u.FirstUsed), u.TimeMS, octets(u.Upload), octets(u.Download), f.asOf(u.at))
		}
		return f.t.exec(`INSERT INTO pass_usage (site, pass, account, first_used_at, time_ms, upload, download, as_of) VALUES `+f.t.tuples(to-from, 1, 8)+`
			ON CONFLICT (site, pass) DO UPDATE SET account = excluded.account,
				first_used_at = CASE WHEN excluded.first_used_at > 0 THEN excluded.first_used_at ELSE pass_usage.first_used_at END,
				as_of = CASE WHEN excluded.as_of > pass_usage.as_of THEN excluded.as_of ELSE pass_usage.as_of END,
				time_ms = CASE WHEN excluded.time_ms > pass_usage.time_ms THEN excluded.time_ms ELSE pass_usage.time_ms END,
				upload = CASE WHEN excluded.upload > pass_usage.upload THEN excluded.upload ELSE pass_usage.upload END,
				download = CASE WHEN excluded.download > pass_usage.download THEN excluded.download ELSE pass_usage.download END`, args...)
	})
}

// lockKept takes back a lock this database lost (restored from a backup) and
// the site still holds: it stays until a person lifts it. Of an account that
// was lost with it only the event remains; but a device is made an account anew,
// since its lock holds whatever it logs in with.
func (f *facts) lockKept(b wire.LockKept) error {
	var one int64
	found, err := f.t.one(`SELECT 1 FROM account WHERE site = $1 AND id = $2`, []any{string(f.site), string(b.Account)}, &one)
	if err != nil {
		return err
	}
	var device hotspot.MAC
	if !found {
		if device, err = f.lostDevice(b); err != nil || device.IsZero() {
			return err
		}
	}
	c, err := f.t.change("", f.site)
	if err != nil {
		return err
	}
	if !found {
		b.Account, err = c.deviceAccount(hotspot.Operator{Organization: c.org, Name: "site"}, device, b.Account)
		if fault.Is(err, fault.Conflict) {
			return c.finish() // the address is somebody's name: the event remains
		}
		if err != nil {
			return err
		}
	}
	requested := b.At
	if requested.IsZero() {
		requested = f.t.now
	}
	made, err := c.lock(hotspot.Lock{Account: b.Account, By: text200(b.By), Reason: text200(b.Reason), At: requested})
	if err != nil {
		return err
	}
	if err := c.finish(); err != nil || !made {
		return err
	}
	return f.t.audit(hotspot.Operator{Organization: c.org, Name: "site"}, f.site, "account.lock_kept", string(b.Account), nil,
		map[string]string{"by": text200(b.By), "reason": text200(b.Reason)})
}

// text200 shortens text of a stranger to what fits a line, without control
// characters.
func text200(s string) string { return textOf(s, 200) }

// textOf is that with another bound.
func textOf(s string, limit int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}

func marshal(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fault.New(fault.Internal, "encode", err)
	}
	return string(b), nil
}

func unmarshal(text string, v any) error {
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return fault.New(fault.Damaged, "stored JSON", err)
	}
	return nil
}

func duration(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
