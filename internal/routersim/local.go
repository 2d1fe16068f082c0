package routersim

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Whom the router lets in by itself (facts.md §3): users of /ip/hotspot/user, and
// trials. RADIUS is neither asked nor told.

// trial is what a device has had of its trials.
type trial struct {
	used  time.Duration
	since time.Time // of the first; all is forgotten trial-uptime-reset later
}

// locally answers a login by the router's own means. known is false for a name that
// is not its own: RADIUS is asked then. Whether RADIUS comes first where it is used is
// not settled, so a knob says so. The caller holds the lock.
func (s *Sim) locally(h *host, x *session, l Login) (known bool, err error) {
	if l.Method == "trial" {
		return true, s.tries(h, x)
	}
	if s.knobs.RADIUSFirst && s.hotspotProfile().get("use-radius") == "yes" {
		return false, nil
	}
	u := s.localUser(l.Username)
	if u == nil {
		return false, nil
	}
	if u.get("password") != l.Password {
		return true, errors.New("invalid username or password")
	}
	if mac := u.get("mac-address"); mac != "" && canonical(mac) != h.mac && canonical(mac) != "00:00:00:00:00:00" {
		return true, fmt.Errorf("user %s is not allowed to log in from this MAC address", l.Username)
	}
	x.local, x.account = true, u
	if limit, lerr := parseDuration(u.get("limit-uptime")); lerr == nil && limit > 0 {
		had, _ := parseDuration(u.get("uptime")) // written by us
		if had >= limit {
			return true, fmt.Errorf("user %s has reached uptime limit", l.Username)
		}
		x.timeout = limit - had
	}
	for key, limit := range map[string]*uint64{"limit-bytes-in": &x.recvLimit, "limit-bytes-out": &x.xmitLimit, "limit-bytes-total": &x.totalLimit} {
		most, _ := strconv.ParseUint(u.get(key), 10, 64) // "" is none
		had := octetsOf(u, key)
		if most > 0 && had >= most {
			return true, fmt.Errorf("user %s has reached traffic limit", l.Username)
		}
		if most > 0 {
			*limit = most - had
		}
	}
	return true, s.profiled(h, x, orNone(s.menus["ip/hotspot/user/profile"].find(u.get("profile"))))
}

// octetsOf is what a local user has had of a limit.
func octetsOf(u *row, limit string) uint64 {
	in, _ := strconv.ParseUint(u.get("bytes-in"), 10, 64) // written by us
	out, _ := strconv.ParseUint(u.get("bytes-out"), 10, 64)
	switch limit {
	case "limit-bytes-in":
		return in
	case "limit-bytes-out":
		return out
	}
	return in + out
}

func (s *Sim) localUser(name string) *row {
	for _, u := range s.menus["ip/hotspot/user"].rows {
		if server := u.get("server"); u.get("name") == name && !u.is("disabled") && (server == "" || server == "all" || server == s.server().get("name")) {
			return u
		}
	}
	return nil
}

// tries is a trial: no name, no password, for a while each day.
func (s *Sim) tries(h *host, x *session) error {
	p := s.hotspotProfile()
	limit, reset := 30*time.Minute, 24*time.Hour
	if d, err := parseDuration(p.get("trial-uptime-limit")); err == nil && d > 0 {
		limit = d
	}
	if d, err := parseDuration(p.get("trial-uptime-reset")); err == nil && d > 0 {
		reset = d
	}
	had := s.trials[h.mac]
	if had == nil || time.Since(had.since) >= reset {
		had = &trial{since: time.Now()}
		s.trials[h.mac] = had
	}
	x.user, x.local, x.trial = "T-"+h.mac, true, had // the form of the name is not settled
	if had.used >= limit {
		return fmt.Errorf("user %s has reached uptime limit", x.user)
	}
	x.timeout = limit - had.used
	profile := p.get("trial-user-profile")
	if profile == "" {
		profile = "default"
	}
	return s.profiled(h, x, orNone(s.menus["ip/hotspot/user/profile"].find(profile)))
}

// profiled gives a session what its user profile says.
func (s *Sim) profiled(h *host, x *session, p *row) error {
	x.rate = p.get("rate-limit")
	if d, err := parseDuration(p.get("session-timeout")); err == nil && d > 0 && (x.timeout == 0 || d < x.timeout) {
		x.timeout = d
	}
	if d, err := parseDuration(p.get("idle-timeout")); err == nil {
		x.idle = d
	}
	if list := p.get("address-list"); list != "" {
		x.lists = []string{list}
	}
	return s.room(h, x, p)
}

// room refuses a login for which there is no room: of the user, or of the license.
func (s *Sim) room(h *host, x *session, p *row) error {
	most := x.portLimit // overrides shared-users of the profile
	if most == 0 {
		if _, err := fmt.Sscanf(p.get("shared-users"), "%d", &most); err != nil {
			most = len(s.hosts) + 1 // "unlimited"
		}
	}
	all, own := 0, 0
	for _, other := range s.hosts {
		if other.session == nil || other == h {
			continue
		}
		if all++; other.session.user == x.user {
			own++
		}
	}
	switch {
	case own >= most:
		return errors.New("no more sessions are allowed for user " + x.user)
	case s.knobs.LicensedSessions > 0 && all >= s.knobs.LicensedSessions:
		return fmt.Errorf("session limit reached (%d)", s.knobs.LicensedSessions)
	}
	return nil
}

// settle adds a session that ended to what its local user, or its device, has had.
func (x *session) settle(length time.Duration) {
	if x.trial != nil {
		x.trial.used += length
	}
	if u := x.account; u != nil {
		had, _ := parseDuration(u.get("uptime")) // written by us
		u.props["uptime"] = formatDuration((had + length).Round(time.Second))
		u.props["bytes-in"], u.props["bytes-out"] = utoa(octetsOf(u, "limit-bytes-in")+x.upload), utoa(octetsOf(u, "limit-bytes-out")+x.download)
	}
}
