package routersim

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

const restLimit = 60 * time.Second // of one REST call; facts.md §2

// waited is how a wait before a command ended.
type waited int

const (
	goesOn waited = iota
	left          // the caller went away, or the router did
	late          // the limit of a REST call is over
)

// hold keeps a command waiting for d, at most until limit (0 is none). gone is closed
// when the caller leaves; nil is never.
func (s *Sim) hold(d, limit time.Duration, gone <-chan struct{}) waited {
	s.mu.Lock()
	boot := s.boot
	s.mu.Unlock()
	ends := goesOn
	if limit > 0 && d > limit {
		d, ends = limit, late
	}
	select {
	case <-time.After(d):
		return ends
	case <-boot.Done():
		return left
	case <-gone:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.counters.Aborted++
		if s.knobs.AbortDamage > 0 {
			s.damaged = time.Now().Add(s.knobs.AbortDamage)
		}
		return left
	}
}

// longest is how long one REST call may take.
func (s *Sim) longestCall() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.knobs.RESTLimit > 0 {
		return s.knobs.RESTLimit
	}
	return restLimit
}

// broken reports whether the REST door still suffers from an aborted call: then
// connections are reset.
func (s *Sim) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.damaged)
}

// restMonitor is a monitor over REST: once is one row, a duration one row a second
// with .section, neither hangs until the limit (facts.md §2).
func (s *Sim) restMonitor(w http.ResponseWriter, r *http.Request, user string, c restCall) {
	if _, once := c.args["once"]; once {
		s.restMethod(w, r.Method, user, c)
		return
	}
	d, err := parseDuration(c.args["duration"])
	endless := c.args["duration"] == ""
	if err != nil {
		restError(w, http.StatusBadRequest, "Bad Request", "invalid value for argument duration")
		return
	}
	if endless {
		d = restLimit * 60
	}
	var out []view
	for n := 0; n == 0 || time.Duration(n)*time.Second < d && !endless; n++ {
		rows, _, err := s.Command(user, c.menu, c.last, maps.Clone(c.args), nil)
		if err != nil {
			restTrap(w, err)
			return
		}
		for _, v := range rows {
			v[".section"] = itoa(n)
			out = append(out, v)
		}
	}
	switch s.hold(d, s.longestCall(), r.Context().Done()) {
	case left:
		cut(w)
	case late:
		restError(w, http.StatusBadRequest, "Bad Request", "Session closed")
	default:
		restOK(w, http.StatusOK, list(out, c.proplist))
	}
}

// leak keeps the row that a REST login leaves in /user/active (facts.md §2). The
// caller holds the lock.
func (s *Sim) leak(user, from string) {
	if s.knobs.LeakSessions {
		s.leaked = append(s.leaked, view{".id": formatID(s.id()), "name": user, "address": from, "via": "rest-api", "when": s.stamp(s.now()), "radius": "false"})
	}
}

// removeUser ends an API session; a row that a REST login left behind cannot be
// removed.
func (s *Sim) removeUser(id int) error {
	if slices.ContainsFunc(s.leaked, func(v view) bool { return v[".id"] == formatID(id) }) {
		return trapf(-1, "action failed (6)")
	}
	for c, a := range s.apiConns {
		if a.id == id {
			_ = c.Close() // the client sees a cut connection, which is the point
			return nil
		}
	}
	return errNoItem
}

// misled reports whether a write is answered without being done, and what it is
// refused with after it was done: two ways in which an answer says nothing.
func (s *Sim) misled(path, verb string) (ignored bool, refusal error) {
	if !changing(verb) {
		return false, nil
	}
	if s.knobs.RefuseDone != "" && s.knobs.RefuseDone == path {
		refusal = trapf(4, "failure: the command was interrupted")
	}
	return s.knobs.WriteIgnored != "" && s.knobs.WriteIgnored == path, refusal
}
