package provision

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"iwas/internal/routeros"
	"iwas/internal/wire"
)

// Modes of a set-up.
const (
	WholeCafe  = "whole-cafe"
	RADIUSOnly = "radius-only"
)

// Box is what the agent knows of itself: it is no part of the set-up.
type Box struct {
	Address    netip.Addr // as the router sees it
	Router     netip.Addr // the router's address that the agent speaks to; invalid: not known
	Service    string     // its name in /ip/service that the agent comes in by
	Auth, Acct uint16     // ports RADIUS is answered on
	Secret     string     // of /radius; "" is not known, and left as it is
}

// network is one VLAN, read.
type network struct {
	name   string // "guest": of interfaces, pools and tags
	vlan   int
	own    netip.Prefix // the router's address in it
	pool   string       // "" without DHCP
	lease  string
	ports  []string
	people string // "guests", for sentences
}

func (n network) link() string { return fmt.Sprintf("vlan%d-%s", n.vlan, n.name) }

// wanted is a set-up with every default filled in.
type wanted struct {
	wire.RouterSetup
	box                     Box
	guests, pcs, management network
	bind, harden            bool
	hotspot                 wire.HotSpotSetup
}

// Validate joins every fault of a set-up, each with the name of its key.
func Validate(s wire.RouterSetup) error {
	_, err := resolve(s, Box{})
	return err
}

// resolve fills in defaults and reads what is text.
func resolve(s wire.RouterSetup, box Box) (wanted, error) {
	w := wanted{RouterSetup: s, box: box}
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	one := func(key, value string, of ...string) {
		if !slices.Contains(of, value) {
			bad(key, "%q is not one of %s", value, strings.Join(of, ", "))
		}
	}
	one("mode", s.Mode, WholeCafe, RADIUSOnly)
	whole := s.Mode == WholeCafe
	defaultTo(&w.RADIUSTimeout, "2s")
	defaultTo(&w.Interim, "received")
	defaultTo(&w.Repair, "never")
	defaultTo(&w.WAN, "ether1")
	defaultTo(&w.Trunk, "ether2")
	defaultTo(&w.IPv6, map[bool]string{true: "filter", false: "leave"}[whole])
	w.CoAPort = cmp.Or(w.CoAPort, 3799)
	w.bind, w.harden = s.BindARP == nil || *s.BindARP, s.Harden == nil && whole || s.Harden != nil && *s.Harden
	if s.HotSpot != nil {
		w.hotspot = *s.HotSpot
	}
	if whole {
		defaultTo(&w.hotspot.Server, "iwas-guests")
	}
	defaultTo(&w.hotspot.Profile, "iwas-guests")
	if len(w.hotspot.LoginBy) == 0 {
		w.hotspot.LoginBy = []string{"http-chap", "http-pap", "mac-cookie"}
	}

	if s.BoxAddress != "" {
		a, err := netip.ParseAddr(s.BoxAddress)
		if err != nil || !a.Is4() {
			bad("box_address", "%q is not an IPv4 address", s.BoxAddress)
		}
		w.box.Address = a
	}
	if d, err := routeros.ParseDuration(w.RADIUSTimeout); err != nil || d < 10e6 || d > 60e9 { // 10ms to 1m (facts.md §4)
		bad("radius_timeout", "%q is not 10ms to 1m", w.RADIUSTimeout)
	}
	if d, err := routeros.ParseDuration(w.Interim); w.Interim != "received" && (err != nil || d < 60e9) {
		bad("interim", "%q is neither received nor a minute or more", w.Interim)
	}
	if w.CoAPort < 1 || w.CoAPort > 65535 {
		bad("coa_port", "%d is not 1 to 65535", w.CoAPort)
	}
	if s.BoxVLAN < 0 || s.BoxVLAN > 4094 {
		bad("box_vlan", "%d is not 0 to 4094", s.BoxVLAN)
	}
	one("repair", w.Repair, "never", "always")
	one("guest_ipv6", w.IPv6, "filter", "off", "leave")
	for _, p := range []struct{ key, name string }{{"wan", w.WAN}, {"trunk", w.Trunk}, {"bridge", s.Bridge}, {"box_port", s.BoxPort}, {"hotspot.server", w.hotspot.Server}, {"hotspot.profile", w.hotspot.Profile}} {
		if !plainName(p.name) {
			bad(p.key, "%q is no name RouterOS gives: letters, digits, dashes, dots", p.name)
		}
	}
	methods := []string{"mac", "cookie", "http-chap", "https", "http-pap", "mac-cookie"}
	for i, m := range w.hotspot.LoginBy {
		if !slices.Contains(methods, m) {
			bad(fmt.Sprintf("hotspot.login_by[%d]", i), "%q is not one of %s", m, strings.Join(methods, ", "))
		}
	}
	if strings.Trim(w.hotspot.DNSName, hostCharacters) != "" {
		bad("hotspot.dns_name", "%q is no host name", w.hotspot.DNSName)
	}
	if strings.Trim(s.Portal, hostCharacters) != "" {
		bad("portal", "%q is no host name and no address; leave out https:// and the path", s.Portal)
	}
	w.guests = network{name: "guest", people: "guests"}.read("guests", s.Guests, 20, "10.20.0.0/22", "1h", true, bad)
	w.pcs = network{name: "pc", people: "PCs"}.read("pcs", s.PCs, 10, "10.10.0.0/24", "8h", true, bad)
	w.management = network{name: "mgmt", people: "management"}.read("management", s.Management, 99, "192.168.99.0/24", "", false, bad)
	w.distinct(bad)
	for i, l := range s.Lists {
		key := fmt.Sprintf("lists[%d].", i)
		if !plainName(l.List) || l.List == "" {
			bad(key+"list", "%q is no name of an address-list: letters, digits, dashes, dots", l.List)
		}
		one(key+"match", l.Match, "src", "dst")
		one(key+"action", l.Action, "drop", "accept")
	}
	return w, errors.Join(errs...)
}

const (
	nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	hostCharacters = nameCharacters
)

func plainName(s string) bool { return strings.Trim(s, nameCharacters) == "" }

func defaultTo(p *string, v string) {
	if *p == "" {
		*p = v
	}
}

// read fills one network in. The router gets the first address, and the pool
// begins behind the first nine: they are for what has a fixed address.
func (n network) read(key string, s *wire.NetworkSetup, vlan int, subnet, lease string, dhcp bool, bad func(string, string, ...any)) network {
	if s == nil {
		s = &wire.NetworkSetup{}
	}
	n.vlan, n.lease, n.ports = cmp.Or(s.VLAN, vlan), cmp.Or(s.Lease, lease), s.Ports
	if n.vlan < 2 || n.vlan > 4094 {
		bad(key+".vlan", "%d is not 2 to 4094", n.vlan)
	}
	p, err := netip.ParsePrefix(cmp.Or(s.Subnet, subnet))
	if err != nil || !p.Addr().Is4() || p.Masked() != p || p.Bits() > 29 || p.Bits() < 8 {
		bad(key+".subnet", "%q is not an IPv4 network of /8 to /29 such as %s", s.Subnet, subnet)
		return n
	}
	n.own = netip.PrefixFrom(p.Addr().Next(), p.Bits())
	if !dhcp {
		if s.Pool != "" || s.Lease != "" {
			bad(key+".pool", "this network has no DHCP")
		}
		return n
	}
	if len(s.Ports) > 0 {
		bad(key+".ports", "only management has ports here; those of PCs are pc_ports")
	}
	if d, err := routeros.ParseDuration(n.lease); err != nil || d < 60e9 {
		bad(key+".lease", "%q is not a minute or more", n.lease)
	}
	n.pool = s.Pool
	if n.pool == "" {
		n.pool = standardPool(p)
	}
	from, to, ok := strings.Cut(n.pool, "-")
	a, err1 := netip.ParseAddr(from)
	b, err2 := netip.ParseAddr(to)
	if !ok || err1 != nil || err2 != nil || !p.Contains(b) || b.Less(a) || a.Compare(n.own.Addr()) <= 0 {
		bad(key+".pool", "%q is no range FIRST-LAST within %s behind the router's %s", n.pool, p, n.own.Addr())
	}
	return n
}

// standardPool is all of a network but the first nine addresses and the last.
func standardPool(p netip.Prefix) string {
	first := p.Addr()
	skip := 10
	if p.Bits() > 27 {
		skip = 2
	}
	for range skip {
		first = first.Next()
	}
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return first.String() + "-" + netip.AddrFrom4(b).Prev().String()
}

// distinct finds what is named twice.
func (w wanted) distinct(bad func(string, string, ...any)) {
	all := []struct {
		key string
		n   network
	}{{"guests", w.guests}, {"pcs", w.pcs}, {"management", w.management}}
	for i, a := range all {
		for _, b := range all[:i] {
			if a.n.vlan == b.n.vlan {
				bad(a.key+".vlan", "%d is the VLAN of %s too", a.n.vlan, b.key)
			}
			if a.n.own.IsValid() && b.n.own.IsValid() && a.n.own.Masked().Overlaps(b.n.own.Masked()) {
				bad(a.key+".subnet", "%s overlaps the network of %s", a.n.own.Masked(), b.key)
			}
		}
	}
	seen := map[string]string{w.WAN: "wan"}
	use := func(key, port string) {
		if port == "" || !plainName(port) {
			bad(key, "%q is no port such as ether3", port)
		} else if other, taken := seen[port]; taken {
			bad(key, "%s is used by %s already", port, other)
		}
		seen[port] = key
	}
	use("trunk", w.Trunk)
	for i, p := range w.PCPorts {
		use(fmt.Sprintf("pc_ports[%d]", i), p)
	}
	for i, p := range w.management.ports {
		use(fmt.Sprintf("management.ports[%d]", i), p)
	}
}
