package routersim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// server is the HotSpot server that the guests meet: enabled, on the interface
// where their frames arrive, in a router whose device-mode allows it. Without one
// it is a row without properties.
func (s *Sim) server() *row {
	if !s.menus["system/device-mode"].rows[0].is("hotspot") {
		return none
	}
	link := s.guestLink()
	for _, r := range s.menus["ip/hotspot"].rows {
		if !r.is("disabled") && link != "" && r.get("interface") == link {
			return r
		}
	}
	return none
}

// finishHotSpot refuses what device-mode forbids (facts.md §3): to add a server, or
// to switch one on.
func (s *Sim) finishHotSpot(m *menu, r *row) error {
	old := m.find(formatID(r.id))
	if !s.menus["system/device-mode"].rows[0].is("hotspot") && !r.is("disabled") && (old == nil || old.is("disabled")) {
		return trapf(4, "failure: not allowed by device-mode")
	}
	for n := 1; r.get("name") == ""; n++ {
		if name := "hotspot" + itoa(n); m.find(name) == nil {
			r.props["name"] = name
		}
	}
	return nil
}

// guestLink is the interface on which the router meets the guests.
func (s *Sim) guestLink() string { return s.link(s.c.Guests.Port, s.c.Guests.VLAN) }

// unserved says what keeps the HotSpot from serving the guests; nil is nothing.
func (s *Sim) unserved() error {
	link := s.guestLink()
	if link == "" {
		return fmt.Errorf("frames of VLAN %d from %s reach no interface", s.c.Guests.VLAN, s.c.Guests.Port)
	}
	server := s.server()
	if server == none {
		return fmt.Errorf("no HotSpot server serves %s", link)
	}
	if s.menus["ip/hotspot/profile"].find(server.get("profile")) == nil {
		return fmt.Errorf("HotSpot %s has no profile", server.get("name"))
	}
	if !slices.ContainsFunc(s.menus["ip/address"].rows, func(r *row) bool { return !r.is("disabled") && r.get("interface") == link }) {
		return fmt.Errorf("%s has no address", link)
	}
	return nil
}

// guestPool returns the ranges a guest's address comes from where no DHCP server
// is: those of the HotSpot server. In the cafe that is set up it may be the network
// of the guests itself.
func (s *Sim) guestPool() []string {
	if s.c.Fresh {
		return nil // nobody gave a DHCP server
	}
	pool := s.server().get("address-pool")
	if r := s.menus["ip/pool"].find(pool); r != nil {
		return strings.Split(r.get("ranges"), ",")
	}
	return []string{s.c.Pool.String()}
}

// freeAddress returns the first address of a pool that nobody has.
func freeAddress(ranges []string, used map[netip.Addr]bool) (netip.Addr, bool) {
	for _, text := range ranges {
		low, high, ok := bounds(text)
		if p, err := netip.ParsePrefix(text); err == nil && ok {
			low = p.Masked().Addr().Next() // the network itself is nobody's
			used[high] = true              // nor is its broadcast
		}
		for a := low; ok && a.Compare(high) <= 0; a = a.Next() {
			if !used[a] {
				return a, true
			}
		}
	}
	return netip.Addr{}, false
}
