package routersim

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Packet is one that somebody sends through the router, or to it.
type Packet struct {
	Guest string     // MAC of a guest who is on the network; or
	From  Place      // where somebody else is
	To    netip.Addr // the router's own address, another network's, or the internet's
	Proto string     // "tcp" if empty
	Port  int        // of the destination
	State string     // of its connection: "new" if empty
}

// Passes answers whether a packet gets where it is sent, by the configuration as it
// stands: VLANs, ARP, addresses, the HotSpot, then raw and filter rules in order. It
// is an error if a rule asks for what the simulator does not know.
func (s *Sim) Passes(p Packet) (Verdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passes(p)
}

func (s *Sim) passes(p Packet) (Verdict, error) {
	f := &flow{dst: p.To, proto: p.Proto, dport: p.Port, state: p.State}
	if f.proto == "" {
		f.proto = "tcp"
	}
	if f.state == "" {
		f.state = "new"
	}
	at := p.From
	if p.Guest != "" {
		h, err := s.host(p.Guest)
		if err != nil {
			return Verdict{}, err
		}
		at = s.c.Guests
		at.Address, at.MAC = h.ip, h.mac
		binding := s.binding(h)
		if binding == "blocked" {
			return Verdict{By: "an ip-binding"}, nil
		}
		f.auth, f.guest = h.session != nil || binding == "bypassed", s.server() != none
	}
	f.in, f.port, f.src, f.mac = s.link(at.Port, at.VLAN), at.Port, at.Address, at.MAC
	switch {
	case f.in == "":
		return Verdict{By: fmt.Sprintf("no interface for VLAN %d of %s", at.VLAN, at.Port)}, nil
	case !s.answers(f.in, f.src, f.mac):
		return Verdict{By: f.in + " does not answer its ARP"}, nil
	case s.local(p.To):
		return s.judge(f, true)
	}
	f.out = s.route(p.To)
	switch {
	case f.out == f.in:
		return Verdict{Passes: true, By: "both are in one network"}, nil
	case !s.menus["ip/settings"].rows[0].is("ip-forward"):
		return Verdict{By: "ip-forward is off"}, nil
	case f.out == "":
		return Verdict{By: "no route"}, nil
	case s.owns(f.out, p.To) != nil && !s.answers(f.out, p.To, ""):
		return Verdict{By: f.out + " knows no ARP of " + p.To.String()}, nil
	}
	return s.judge(f, false)
}

// route is the interface towards an address: of its network, else the WAN's.
func (s *Sim) route(to netip.Addr) string {
	for _, r := range s.menus["ip/address"].rows {
		if p, err := netip.ParsePrefix(r.get("address")); err == nil && !r.is("disabled") && p.Contains(to) {
			return r.get("interface")
		}
	}
	return s.wan()
}

// wan is the interface towards the internet: of the DHCP client, else what the list
// WAN names, else the first port.
func (s *Sim) wan() string {
	for _, r := range s.menus["ip/dhcp-client"].rows {
		if !r.is("disabled") {
			return r.get("interface")
		}
	}
	for _, r := range s.menus["interface/list/member"].rows {
		if !r.is("disabled") && r.get("list") == "WAN" {
			return r.get("interface")
		}
	}
	return "ether1"
}

// binding is the type of the ip-binding of a device, "" for none.
func (s *Sim) binding(h *host) string {
	for _, b := range s.menus["ip/hotspot/ip-binding"].rows {
		if !b.is("disabled") && (b.get("mac-address") == h.mac || b.get("address") == h.ip.String()) {
			if kind := b.get("type"); kind != "" {
				return kind
			}
			return "regular"
		}
	}
	return ""
}

// IPv6Leaves answers whether IPv6 of somebody at a place gets to the internet, which
// no HotSpot controls (facts.md §3): the router speaks it, has an address there for
// others to have one from, and no rule of raw or filter stops it. The text says why,
// or why not.
func (s *Sim) IPv6Leaves(at Place) (bool, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	link := s.link(at.Port, at.VLAN)
	settings := s.menus["ipv6/settings"].rows[0]
	switch {
	case link == "":
		return false, "no interface", nil
	case settings.is("disable-ipv6"):
		return false, "disable-ipv6 is on", nil
	case !settings.is("forward"):
		return false, "forward is off", nil
	}
	var own netip.Prefix
	for _, r := range s.menus["ipv6/address"].rows {
		if p, err := netip.ParsePrefix(r.get("address")); err == nil && !r.is("disabled") && r.is("advertise") && r.get("interface") == link && !p.Addr().IsLinkLocalUnicast() {
			own = p
		}
	}
	if !own.IsValid() {
		return false, link + " advertises no IPv6 address", nil
	}
	v, err := s.judge(&flow{in: link, out: s.wan(), port: at.Port, src: own.Addr().Next(), dst: netip.MustParseAddr("2001:db8:ffff::1"), mac: at.MAC, proto: "tcp", dport: 443, state: "new"}, false)
	return v.Passes, v.By, err
}

// fasttracked reports whether the connection of a guest would leave the rules and
// the HotSpot behind once it stands (facts.md §11).
func (s *Sim) fasttracked(h *host, dst netip.AddrPort, proto string) bool {
	if !slices.ContainsFunc(s.menus["ip/firewall/filter"].rows, func(r *row) bool { return r.get("action") == "fasttrack-connection" && !r.is("disabled") }) {
		return false
	}
	v, err := s.passes(Packet{Guest: h.mac, To: dst.Addr(), Proto: proto, Port: int(dst.Port()), State: "established"})
	return err == nil && v.Fasttracks
}

// reconsider is the way from the agent's place to each open connection after a
// change: what can no longer be reached is cut, as is who has no account any more.
// The caller holds the lock.
func (s *Sim) reconsider() {
	if s.c.Agent.Port == "" {
		return
	}
	off := map[string]bool{}
	for _, service := range []string{"api", "api-ssl", "www-ssl"} {
		why := s.cutOff(service, "established")
		off[service] = why != ""
	}
	for c, a := range s.apiConns {
		if off[a.service] || a.user != "" && !s.allowed(a.user, "api") {
			_ = c.Close() // the client sees a cut connection, which is the point
		}
	}
	s.doors.Lock()
	defer s.doors.Unlock()
	for c := range s.restConns {
		if off["www-ssl"] {
			_ = c.Close()
			delete(s.restConns, c)
		}
	}
}

// gate is the listener of the REST door: it takes what /ip/service lets it take.
type gate struct {
	net.Listener
	s *Sim
}

// gated is one of its connections.
type gated struct {
	net.Conn
	s *Sim
}

func (g gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.s.mu.Lock()
		taken := g.s.opens("www-ssl", c.RemoteAddr())
		if taken {
			g.s.doors.Lock()
			g.s.restConns[c] = true
			g.s.doors.Unlock()
		}
		g.s.mu.Unlock()
		if taken {
			return gated{c, g.s}, nil
		}
		_ = c.Close() // as a service does that is off, or not for this peer
	}
}

func (c gated) Close() error {
	c.s.doors.Lock()
	delete(c.s.restConns, c.Conn)
	c.s.doors.Unlock()
	return c.Conn.Close()
}

// changing reports whether a command may change what is reachable.
func changing(verb string) bool {
	return !slices.Contains(strings.Fields("print getall monitor read export run import save login"), verb)
}
