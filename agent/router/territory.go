package router

import (
	"encoding/binary"
	"net/netip"
	"slices"
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

// plot is one rule of the walled garden; the first that matches decides.
type plot struct {
	accept    bool
	from, to  zone // guests, destinations
	protocols choice
	ports     choice // of the destination
}

// zone is a set of addresses. The zero value is every address.
type zone struct {
	limited bool
	spans   []span
	not     bool // every address but those of spans
}

func (z zone) holds(a netip.Addr) bool {
	if !z.limited {
		return true
	}
	return slices.ContainsFunc(z.spans, func(s span) bool { return s.contains(a) }) != z.not
}

// choice is a matcher by value: "80,443,8000-8080", "!tcp". Empty is any.
type choice string

func (c choice) holds(value string) bool {
	list, not := strings.CutPrefix(string(c), "!")
	return list == "" || (list == value || inPorts(list, value)) != not
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

// inside reports whether a guest's connection to far ends at the router, or
// whether its destination is in the walled garden.
func (t territory) inside(guest, far, dst netip.Addr, protocol, port string) bool {
	if t.own[far] || far.IsMulticast() || far == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || far.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range t.garden {
		if p.from.holds(guest) && p.to.holds(dst) && p.protocols.holds(protocol) && p.ports.holds(port) {
			return p.accept
		}
	}
	return false
}

// wideOctet is the length of a prefix that holds as many addresses as make
// destinations the internet rather than sites.
const wideOctet = 8

// wide reports whether a rule lets guests browse without a login: it accepts the
// web to every address, or to a large part of the internet.
func (p plot) wide() bool {
	web := p.protocols.holds("tcp") && (p.ports.holds("443") || p.ports.holds("80")) || p.protocols.holds("udp") && p.ports.holds("443")
	if !p.accept || !web {
		return false
	}
	if !p.to.limited || p.to.not {
		return true
	}
	var public uint64 // addresses, private ones left out; spans that overlap count twice
	for _, s := range p.to.spans {
		public += s.public()
	}
	return public >= 1<<(32-wideOctet)
}

// privateSpans are the networks nobody reaches the internet by (RFC 1918).
var privateSpans = []span{mustSpan("10.0.0.0/8"), mustSpan("172.16.0.0/12"), mustSpan("192.168.0.0/16")}

func mustSpan(network string) span {
	p := netip.MustParsePrefix(network)
	return span{p.Addr(), lastOf(p)}
}

// public counts the IPv4 addresses of s that are not private.
func (s span) public() uint64 {
	if !s.from.Is4() || !s.to.Is4() {
		return 0
	}
	n := uint64(number(s.to)) - uint64(number(s.from)) + 1
	for _, p := range privateSpans {
		if low, high := max(number(s.from), number(p.from)), min(number(s.to), number(p.to)); low <= high {
			n -= uint64(high) - uint64(low) + 1
		}
	}
	return n
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
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

// territory reads the router's addresses and its walled garden. servers is how
// many HotSpots run on it.
func (x *explorer) territory(addresses []routeros.Row, servers int) territory {
	t := territory{own: map[netip.Addr]bool{}}
	for _, r := range addresses {
		if p, err := netip.ParsePrefix(r["address"]); err == nil {
			t.own[p.Addr()] = true
			t.own[lastOf(p)] = true
		} else if a, err := netip.ParseAddr(r["address"]); err == nil {
			t.own[a] = true
		}
	}
	t.garden = x.garden(servers)
	return t
}

// garden reads the walled garden as far as it lets packets through. Rules of the
// HTTP level do not: the router itself answers for what they allow, and its
// addresses are known. A rule by host name lets through what the router resolved
// the name to: dynamic rows of that other menu (facts.md §3, "Walled garden").
func (x *explorer) garden(servers int) []plot {
	rows := enabled(x.print("/ip/hotspot/walled-garden/ip",
		".id,action,server,src-address,src-address-list,dst-address,dst-address-list,dst-host,protocol,dst-port,disabled,invalid"))
	resolved := enabled(x.print("/ip/hotspot/walled-garden", ".id,action,server,src-address,dst-address,dst-port,dynamic,disabled"))
	resolved = slices.DeleteFunc(resolved, func(r routeros.Row) bool { return !flag(r["dynamic"]) || r["dst-address"] == "" })
	rows = slices.DeleteFunc(rows, func(r routeros.Row) bool { return r["dst-host"] != "" }) // dst-address is ignored beside it
	rows = append(rows, resolved...)
	var garden []plot
	for _, r := range rows {
		if p, ok := x.plot(r, servers); ok {
			garden = append(garden, p)
		}
	}
	return garden
}

// plot reads one rule. Where a matcher cannot be understood, or cannot be
// judged here, an accepting rule counts for nothing and a refusing one for all.
func (x *explorer) plot(r routeros.Row, servers int) (plot, bool) {
	accept := r["action"] == "accept" || r["action"] == "allow"
	from, fromKnown := x.zone(r["src-address"], r["src-address-list"])
	to, toKnown := x.zone(r["dst-address"], r["dst-address-list"])
	ourServer := r["server"] == "" || r["server"] == "all" || servers <= 1
	p := plot{accept: accept, from: from, to: to, protocols: choice(r["protocol"]), ports: choice(r["dst-port"])}
	return p, !accept || fromKnown && toKnown && ourServer
}

// zone reads an address matcher and a list matcher; false when one of them is
// not understood, or when both are given.
func (x *explorer) zone(address, list string) (zone, bool) {
	switch {
	case address == "" && list == "":
		return zone{}, true
	case list == "":
		text, not := strings.CutPrefix(address, "!")
		s, ok := parseSpan(text)
		return zone{limited: ok, spans: []span{s}, not: not}, ok
	case address == "":
		name, not := strings.CutPrefix(list, "!")
		return zone{limited: true, spans: x.addressList(name), not: not}, true // an empty list matches nothing (facts.md §6)
	}
	return zone{}, false
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
