package store

import (
	"database/sql"
	"errors"
	"net/netip"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Causes of sessions we closed without a Stop, besides hotspot.OffReason. An
// Interim with more use takes such a close back.
const (
	causeGhost  = "ghost"  // not on the router's list
	causeSilent = "silent" // nothing heard, no list to ask
)

const sessionColumns = `id, COALESCE(permit, ''), account, pass, nas, acct_session_id, username, mac, ip, host_ip, server, state,
	started_at, heard_at, ended_at, time_ms, upload, download, cause, stopped`

// scanSession reads sessionColumns.
func scanSession(scan func(...any) error) (session, error) {
	var s session
	var mac, ip, host string
	var started, heard, ended, timeMS, up, down int64
	err := scan(&s.ID, &s.Permit, &s.Account, &s.Pass, &s.NAS, &s.AcctSessionID, &s.Username, &mac, &ip, &host, &s.Server, &s.State,
		&started, &heard, &ended, &timeMS, &up, &down, &s.Cause, &s.stopped)
	if err != nil {
		return s, err
	}
	s.MAC, _ = hotspot.ParseMAC(mac)
	s.IP, s.HostIP = parseAddr(ip), parseAddr(host)
	s.StartedAt, s.HeardAt, s.EndedAt = fromMillis(started), fromMillis(heard), fromMillis(ended)
	s.Time = time.Duration(timeMS) * time.Millisecond
	s.Upload, s.Download = hotspot.Octets(up), hotspot.Octets(down)
	return s, nil
}

func (t *tx) findSession(where string, args ...any) (s session, found bool, err error) {
	q, err := t.stmt("SELECT " + sessionColumns + " FROM session WHERE " + where)
	if err != nil {
		return s, false, sqlFault("find session", err)
	}
	s, err = scanSession(q.QueryRowContext(t.ctx, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return session{}, false, nil
	}
	return s, err == nil, sqlFault("find session", err)
}

func (t *tx) findSessions(where string, args ...any) (found []session, err error) {
	err = t.rows("find sessions", "SELECT "+sessionColumns+" FROM session WHERE "+where, args, func(scan func(...any) error) error {
		s, err := scanSession(scan)
		found = append(found, s)
		return err
	})
	return found, err
}

// addrText is how addresses are stored; an invalid one is "".
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// parseAddr reads what addrText wrote.
func parseAddr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// closeSession ends a session without a Stop.
func (t *tx) closeSession(s session, cause string) error {
	before := s
	s.State, s.Cause, s.EndedAt = hotspot.Closed, cause, t.now
	if cause == causeGhost || cause == causeSilent {
		s.EndedAt = s.HeardAt // the last moment it is known to have lived
	}
	t.save(s, &before)
	return t.event(wire.EventSessionStopped, wire.FromSession(s.Session))
}
