package routersim

import (
	"crypto/subtle"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// opens reports whether a service takes a connection: it is enabled, the peer is
// among its addresses, and it has fewer sessions than max-sessions. One that is
// not taken is closed without a word (facts.md §1). The caller holds the lock.
func (s *Sim) opens(service string, peer net.Addr) bool {
	r := s.menus["ip/service"].find(service)
	peer = s.peer(peer)
	if r == nil || r.is("disabled") || !among(r.get("address"), peer) || !among(r.get("available-from"), peer) {
		return false
	}
	if s.c.Agent.Port != "" && s.cutOff(service, "new") != "" {
		return false
	}
	n := 0
	if service == "www-ssl" {
		s.doors.Lock()
		n = len(s.restConns)
		s.doors.Unlock()
	}
	for _, a := range s.apiConns {
		if a.service == service {
			n++
		}
	}
	most, err := strconv.Atoi(r.get("max-sessions"))
	return err == nil && n < most
}

// among reports whether a peer is in a list of prefixes; an empty list is all.
func among(list string, peer net.Addr) bool {
	if list == "" {
		return true
	}
	at, err := netip.ParseAddrPort(peer.String())
	return err == nil && slices.ContainsFunc(strings.Split(list, ","), func(one string) bool {
		p, err := netip.ParsePrefix(one)
		if a, aerr := netip.ParseAddr(one); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		return err == nil && p.Contains(at.Addr().Unmap())
	})
}

// checkUser reports whether name and password may come in by a door, which the
// policy of the same name opens.
func (s *Sim) checkUser(name, password, policy string, peer net.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.menus["user"].find(name)
	if u == nil || !s.allowed(name, policy) || !among(u.get("address"), s.peer(peer)) {
		return false
	}
	if subtle.ConstantTimeCompare([]byte(u.get("password")), []byte(password)) != 1 {
		return false
	}
	if policy == "rest-api" { // does not count as a login (facts.md §2)
		s.leak(name, hostOf(s.peer(peer).String()))
		return true
	}
	u.props["last-logged-in"] = s.stamp(time.Now())
	return true
}

// listUsers is /user/active: who has an API session.
func (s *Sim) listUsers() []view {
	out := slices.Clone(s.leaked)
	for _, a := range s.sessions() {
		if a.user == "" {
			continue
		}
		v := view{".id": formatID(a.id), "name": a.user, "address": hostOf(s.peer(a.conn.RemoteAddr()).String()), "via": "api", "when": s.stamp(a.since), "radius": "false"}
		if u := s.menus["user"].find(a.user); u != nil {
			v["group"] = u.get("group")
		}
		out = append(out, v)
	}
	return out
}

// listServices is /ip/service: the services, then a row for every connection.
func (s *Sim) listServices() []view {
	out := s.menus["ip/service"].stored()
	for _, a := range s.sessions() {
		out = append(out, view{".id": formatID(0x80000000 + a.id), "name": a.service, "port": s.menus["ip/service"].find(a.service).get("port"), "proto": "tcp",
			"connection": "true", "local": a.conn.LocalAddr().String(), "remote": s.peer(a.conn.RemoteAddr()).String(),
			"disabled": "false", "dynamic": "true", "invalid": "false"})
	}
	return out
}

// sessions returns the API sessions, oldest first.
func (s *Sim) sessions() []*apiSession {
	var out []*apiSession
	for _, a := range s.apiConns {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *apiSession) int { return a.id - b.id })
	return out
}
