package router

import (
	"net/netip"
	"strconv"
	"strings"

	"iwas/internal/routeros"
)

// territory is where a guest who is not logged in may go: the router itself
// (DNS, the login page) and the walled garden.
type territory struct {
	own    map[netip.Addr]bool // the router's addresses, and broadcasts of its networks
	garden []plot
}

// plot is one accept rule of the walled garden.
type plot struct {
	spans    []span // destinations; none is any
	not      bool   // all but spans
	named    bool   // by host name: the router resolves it, we cannot
	protocol string // "" is any
	ports    string // "80,443", "8000-8080"; "" is any
}

// span is a range of addresses, ends included.
type span struct{ from, to netip.Addr }

func (s span) contains(a netip.Addr) bool { return !a.Less(s.from) && !s.to.Less(a) }

func (s span) overlaps(t span) bool { return !s.to.Less(t.from) && !t.to.Less(s.from) }

// within reports whether all of s lies in t.
func (s span) within(t span) bool { return t.contains(s.from) && t.contains(s.to) }

// parseSpan reads "10.0.0.1", "10.0.0.0/24" or "10.0.0.1-10.0.0.9".
func parseSpan(text string) (span, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return span{p.Masked().Addr(), lastOf(p)}, true
	}
	from, to, isRange := strings.Cut(text, "-")
	a, err := netip.ParseAddr(from)
	if err != nil {
		return span{}, false
	}
	if !isRange {
		return span{a, a}, true
	}
	b, err := netip.ParseAddr(to)
	return span{a, b}, err == nil && a.Is4() == b.Is4() && !b.Less(a)
}

// lastOf returns the last address of a network: the broadcast, in IPv4.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// inside reports whether a connection to far ends at the router, or whether
// its destination is in the walled garden.
func (t territory) inside(far, dst netip.Addr, protocol, port string) bool {
	if t.own[far] || far.IsMulticast() || far == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || far.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range t.garden {
		if p.allows(dst, protocol, port) {
			return true
		}
	}
	return false
}

func (p plot) allows(dst netip.Addr, protocol, port string) bool {
	if p.protocol != "" && p.protocol != protocol || p.ports != "" && !inPorts(p.ports, port) {
		return false
	}
	if p.named || len(p.spans) == 0 {
		return true
	}
	for _, s := range p.spans {
		if s.contains(dst) {
			return !p.not
		}
	}
	return p.not
}

// inPorts reports whether a port is in "80,443,8000-8080".
func inPorts(list, port string) bool {
	n, err := strconv.Atoi(port)
	if err != nil {
		return false
	}
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(low)
		b := a
		if isRange && err == nil {
			b, err = strconv.Atoi(high)
		}
		if err == nil && a <= n && n <= b {
			return true
		}
	}
	return false
}

// territory reads the router's addresses and its walled garden.
func (x *explorer) territory(addresses []routeros.Row) territory {
	t := territory{own: map[netip.Addr]bool{}}
	for _, r := range addresses {
		if p, err := netip.ParsePrefix(r["address"]); err == nil {
			t.own[p.Addr()] = true
			t.own[lastOf(p)] = true
		} else if a, err := netip.ParseAddr(r["address"]); err == nil {
			t.own[a] = true
		}
	}
	rows := x.print("/ip/hotspot/walled-garden/ip", ".id,action,dst-address,dst-address-list,dst-host,protocol,dst-port,disabled,invalid")
	rows = append(rows, x.print("/ip/hotspot/walled-garden", ".id,action,dst-address,dst-host,dst-port,disabled")...)
	for _, r := range enabled(rows) {
		if a := r["action"]; a != "accept" && a != "allow" || strings.HasPrefix(r["dst-port"], "!") || strings.HasPrefix(r["protocol"], "!") {
			continue
		}
		p := plot{protocol: r["protocol"], ports: r["dst-port"]}
		text, not := strings.CutPrefix(r["dst-address"], "!")
		switch s, ok := parseSpan(text); {
		case ok:
			p.spans, p.not = []span{s}, not
		case r["dst-host"] != "":
			p.named = true
		case r["dst-address-list"] != "":
			var list string
			list, p.not = strings.CutPrefix(r["dst-address-list"], "!")
			if p.spans = x.addressList(list); len(p.spans) == 0 && !p.not {
				continue // an empty list matches nothing (facts.md §6)
			}
		}
		t.garden = append(t.garden, p)
	}
	return t
}

func (x *explorer) addressList(list string) []span {
	var spans []span
	for _, r := range enabled(x.print("/ip/firewall/address-list", ".id,address,disabled", "?list="+list)) {
		if s, ok := parseSpan(r["address"]); ok {
			spans = append(spans, s)
		}
	}
	return spans
}
