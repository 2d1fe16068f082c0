package routersim

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

var errNoDHCP = errors.New("no DHCP server answers")

// Lease is a device at a place that asks for an address, or asks to keep the one it
// has: its lease, and with add-arp its row in /ip/arp, are made or renewed. at.Address
// is not looked at.
func (s *Sim) Lease(at Place) (netip.Addr, error) {
	mac := canonical(at.MAC)
	if mac == "" {
		return netip.Addr{}, errBadMAC
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dark {
		return netip.Addr{}, errors.New("the router is off")
	}
	server := s.dhcpServer(s.link(at.Port, at.VLAN))
	if server == nil {
		return netip.Addr{}, errNoDHCP
	}
	a, ok := s.offer(server, mac)
	if !ok {
		return a, errors.New("the DHCP server has no address left")
	}
	s.leased(server, mac, a)
	return a, nil
}

// dhcpServer is the enabled DHCP server of an interface, nil for none.
func (s *Sim) dhcpServer(link string) *row {
	for _, r := range s.menus["ip/dhcp-server"].rows {
		if !r.is("disabled") && !r.is("invalid") && link != "" && r.get("interface") == link {
			return r
		}
	}
	return nil
}

// offer is the address a server gives a client: of its lease, else a free one of
// the pool.
func (s *Sim) offer(server *row, mac string) (netip.Addr, bool) {
	used := map[netip.Addr]bool{}
	for _, r := range s.menus["ip/dhcp-server/lease"].rows {
		a, err := netip.ParseAddr(r.get("address"))
		if err != nil || r.is("disabled") {
			continue
		}
		if of := r.get("server"); r.get("mac-address") == mac && (of == "" || of == "all" || of == server.get("name")) {
			return a, true
		}
		used[a] = true
	}
	for _, h := range s.hosts {
		used[h.ip] = true
	}
	for _, r := range s.menus["ip/address"].rows {
		if p, err := netip.ParsePrefix(r.get("address")); err == nil {
			used[p.Addr()] = true
		}
	}
	pool := s.menus["ip/pool"].find(server.get("address-pool"))
	if pool == nil {
		return netip.Addr{}, false // static-only
	}
	return freeAddress(strings.Split(pool.get("ranges"), ","), used)
}

// leased writes what a lease leaves behind in the tables.
func (s *Sim) leased(server *row, mac string, a netip.Addr) {
	every, _ := parseDuration(server.get("lease-time")) // checked when it was written
	bound := map[string]string{"status": "bound", "active-address": a.String(), "active-mac-address": mac, "active-server": server.get("name"), "last-seen": "0s", "expires-after": formatDuration(every)}
	leases := s.menus["ip/dhcp-server/lease"]
	i := slices.IndexFunc(leases.rows, func(r *row) bool { return r.get("mac-address") == mac && r.get("address") == a.String() })
	if i < 0 {
		r := s.fresh(leases.path, map[string]string{"address": a.String(), "mac-address": mac, "server": server.get("name"), "dynamic": "true"})
		r.dynamic = true
		leases.rows, i = append(leases.rows, r), len(leases.rows)
	}
	maps.Copy(leases.rows[i].props, bound)
	if !server.is("add-arp") {
		return
	}
	arp := s.menus["ip/arp"]
	if !slices.ContainsFunc(arp.rows, func(r *row) bool {
		return r.get("address") == a.String() && r.get("interface") == server.get("interface")
	}) {
		r := s.fresh(arp.path, map[string]string{"address": a.String(), "mac-address": mac, "interface": server.get("interface"), "dynamic": "true", "DHCP": "true"})
		r.dynamic, r.served = true, true
		arp.rows = append(arp.rows, r)
	}
}

// renew is what a guest's device does at half its lease.
func (s *Sim) renew(h *host, now time.Time) {
	server := s.dhcpServer(s.guestLink())
	if server == nil || now.Before(h.renew) {
		return
	}
	every, _ := parseDuration(server.get("lease-time")) // checked when it was written
	h.renew = now.Add(every / 2)
	s.leased(server, h.mac, h.ip)
}

// unleased takes out what the lease of a device left behind.
func (s *Sim) unleased(h *host) {
	for _, path := range []string{"ip/dhcp-server/lease", "ip/arp"} {
		m := s.menus[path]
		m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return r.dynamic && r.get("mac-address") == h.mac })
	}
}
