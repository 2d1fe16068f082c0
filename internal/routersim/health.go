package routersim

import (
	"net/netip"
	"slices"
	"time"
)

// octets are what went through, both ways.
type octets struct{ upload, download uint64 }

// wanLink leads to the internet.
const wanLink = "ether1"

// makeHealth makes what a monitor reads besides: the way to the internet, what
// pools have given out, and what the interfaces count.
func (s *Sim) makeHealth() {
	s.stored("ip/route", keys("dst-address=0.0.0.0/0 gateway=192.0.2.1 immediate-gw=192.0.2.1%"+wanLink+" distance=1 routing-table=main active=true static=true dynamic=false disabled=false inactive=false"),
		map[string]string{"dst-address": s.c.Pool.Masked().String(), "gateway": guestInterface, "immediate-gw": guestInterface, "distance": "0", "routing-table": "main",
			"active": "true", "connect": "true", "dynamic": "true", "disabled": "false"})
	for _, r := range s.menus["ip/route"].rows {
		r.served = true // of the DHCP client and of the interface: they are in no export
	}
	s.computed("ip/pool/used", s.listUsed, nil)
	s.menus["interface"].list = s.listInterfaces
}

// listUsed is a row for each address that a device has from the pool.
func (s *Sim) listUsed() []view {
	var out []view
	for _, h := range s.sortedHosts() {
		if s.c.Pool.Contains(h.ip) {
			out = append(out, view{".id": formatID(0x40000000 + h.id), "pool": "pool-guest", "address": h.ip.String(), "owner": "DHCP", "info": h.mac})
		}
	}
	for at := s.given; at > 0; at-- {
		out = append(out, view{".id": formatID(0x50000000 + at), "pool": "pool-guest", "address": netip.AddrFrom4([4]byte{0, 0, byte(at >> 8), byte(at)}).String(), "owner": "DHCP", "info": ""})
	}
	return out
}

// listInterfaces adds what guests sent and received since the start to the
// stored rows: their interface receives their upload, and the one to the internet
// sends it.
func (s *Sim) listInterfaces() []view {
	up, down := s.past.upload, s.past.download
	for _, h := range s.hosts {
		if h.session != nil {
			up, down = up+h.session.upload, down+h.session.download
		}
	}
	out := s.menus["interface"].stored()
	for _, v := range out {
		v["rx-byte"], v["tx-byte"] = "0", "0"
		switch v["name"] {
		case wanLink:
			v["rx-byte"], v["tx-byte"] = utoa(down), utoa(up)
		case guestInterface:
			v["rx-byte"], v["tx-byte"] = utoa(up), utoa(down)
		}
	}
	return out
}

// Fill has the guests' pool give out so many addresses more, to devices that are
// nowhere else to be seen.
func (s *Sim) Fill(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given = n
}

// LetIn has the router let a device in by itself, as it does a user of its own
// list: RADIUS is neither asked nor told.
func (s *Sim) LetIn(mac, user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[canonical(mac)]
	if h == nil || h.session != nil {
		return errNoItem
	}
	x := s.newSession(Login{Method: "http-chap", Username: user})
	x.started, x.local = time.Now(), true
	x.lastInterim, x.lastUse = x.started, x.started
	close(x.sent) // nobody is told
	h.session = x
	return nil
}

// Note adds a line to /log.
func (s *Sim) Note(topics, message string) { s.note(topics, message) }

// Show changes what /system/resource tells; "" tells the truth again.
func (s *Sim) Show(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown == nil {
		s.shown = map[string]string{}
	}
	s.shown[key] = value
}

// Replace puts other rows into a stored menu: what the hardware is.
func (s *Sim) Replace(menu string, rows ...map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.menus[menu]
	m.rows = nil
	for _, p := range rows {
		m.rows = append(m.rows, &row{id: s.id(), props: p})
	}
}

// Without takes a menu away, as another board or version lacks it.
func (s *Sim) Without(menu string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.menus, menu)
	s.paths = slices.DeleteFunc(s.paths, func(p string) bool { return p == menu })
}
