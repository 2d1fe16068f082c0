package routersim

import (
	"maps"
	"net/netip"
	"slices"
)

// walledGarden may be reached without a login.
var walledGarden = netip.MustParseAddr("203.0.113.80")

// Resolve has the router resolve a name from now on. A rule of the walled garden
// by a name it does not resolve lets nothing through.
func (s *Sim) Resolve(name string, to netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = to
}

// listGarden puts the dynamic rows, one for each name of the IP level that the
// router resolved, before the stored ones (facts.md §3).
func (s *Sim) listGarden() []view {
	var out []view
	for i, r := range s.menus["ip/hotspot/walled-garden/ip"].rows {
		if a := s.names[r.get("dst-host")]; a.IsValid() && r.get("disabled") != "true" {
			action := "deny"
			if r.get("action") == "accept" {
				action = "allow"
			}
			out = append(out, view{".id": formatID(0x80001000 + i), "action": action, "dst-host": r.get("dst-host"), "dst-address": a.String(), "dynamic": "true", "disabled": "false", "hits": "0"})
		}
	}
	return append(out, s.menus["ip/hotspot/walled-garden"].stored()...)
}

// gardened reports whether somebody who is not logged in may reach an address:
// by an accepting rule of the IP level, by address, or by a name that resolves to
// it. The rules of the simulated router have no other matchers that count.
func (s *Sim) gardened(a netip.Addr) bool {
	for _, r := range s.menus["ip/hotspot/walled-garden/ip"].rows {
		if r.get("action") != "accept" || r.get("disabled") == "true" {
			continue
		}
		if name := r.get("dst-host"); name != "" {
			if s.names[name] == a {
				return true
			}
			continue
		}
		p, err := netip.ParsePrefix(r.get("dst-address"))
		if err != nil {
			if one, err := netip.ParseAddr(r.get("dst-address")); err == nil {
				p = netip.PrefixFrom(one, one.BitLen())
			}
		}
		if r.get("dst-address") == "" || p.Contains(a) {
			return true
		}
	}
	return false
}

// sites are the addresses of the walled garden that a phone which is put off
// looks at: one by address, and those known by name.
func (s *Sim) sites() []netip.Addr {
	out := []netip.Addr{walledGarden}
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		if s.gardened(s.names[name]) {
			out = append(out, s.names[name])
		}
	}
	return out
}
