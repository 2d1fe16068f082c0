package routersim

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Place is where something is plugged in: a port of the router, and the VLAN its
// frames are tagged with there.
type Place struct {
	Port    string     // "ether2"; "" is no place at all
	VLAN    int        // 0 is untagged
	Address netip.Addr // its own
	MAC     string     // its own; "" fits any static ARP row of its address
	Router  netip.Addr // the address of the router it speaks to
}

// link returns the interface on which the router meets frames of a port, "" if
// the configuration lets none through: a port that is off, a bridge that filters
// the VLAN away, or no interface for that VLAN.
func (s *Sim) link(port string, vlan int) string {
	eth := s.menus["interface"].find(port)
	if eth == nil || eth.is("disabled") {
		return ""
	}
	in := s.bridgePort(port)
	if in == nil {
		return s.onLink(port, vlan)
	}
	b := s.menus["interface/bridge"].find(in.get("bridge"))
	if b == nil || b.is("disabled") {
		return ""
	}
	if !b.is("vlan-filtering") {
		return s.onLink(b.get("name"), vlan) // pvid and the VLAN table have no effect
	}
	id, _ := strconv.Atoi(in.get("pvid")) // checked when it was written
	if vlan != 0 {
		id = vlan
	}
	if !s.carries(b, in, id, vlan != 0) {
		return ""
	}
	if s.inVLAN(b, id, "tagged", b.get("name")) {
		return s.onLink(b.get("name"), id)
	}
	if s.inVLAN(b, id, "untagged", b.get("name")) || b.get("pvid") == itoa(id) && b.get("frame-types") != "admit-only-vlan-tagged" {
		return s.onLink(b.get("name"), 0)
	}
	return ""
}

// bridgePort returns the row that makes an interface a port of a bridge.
func (s *Sim) bridgePort(name string) *row {
	for _, r := range s.menus["interface/bridge/port"].rows {
		if !r.is("disabled") && (r.get("interface") == name || s.inList(name, r.get("interface"))) {
			return r
		}
	}
	return nil
}

// carries reports whether a port takes in and gives out frames of a VLAN, tagged or
// not. Ports that admit untagged frames are in the VLAN of their pvid by themselves
// (facts.md §7).
func (s *Sim) carries(bridge, port *row, id int, tagged bool) bool {
	types := port.get("frame-types")
	if tagged {
		return types != "admit-only-untagged-and-priority-tagged" && s.inVLAN(bridge, id, "tagged", port.get("interface"))
	}
	return types != "admit-only-vlan-tagged"
}

// inVLAN reports whether a row of the VLAN table names a port.
func (s *Sim) inVLAN(bridge *row, id int, how, port string) bool {
	return slices.ContainsFunc(s.menus["interface/bridge/vlan"].rows, func(r *row) bool {
		return !r.is("disabled") && r.get("bridge") == bridge.get("name") && slices.Contains(vlanIDs(r.get("vlan-ids")), id) &&
			slices.Contains(strings.Split(r.get(how), ","), port)
	})
}

// onLink is the interface of a VLAN on another interface, or that one itself.
func (s *Sim) onLink(base string, vlan int) string {
	if vlan == 0 {
		if r := s.menus["interface"].find(base); r == nil || r.is("disabled") {
			return ""
		}
		return base
	}
	for _, r := range s.menus["interface/vlan"].rows {
		if !r.is("disabled") && r.get("interface") == base && r.get("vlan-id") == itoa(vlan) {
			return r.get("name")
		}
	}
	return ""
}

// inList reports whether an interface is in an interface list, by membership or by
// the lists it includes, and not by those it excludes.
func (s *Sim) inList(link, list string) bool {
	return s.listed(link, list, 0)
}

func (s *Sim) listed(link, list string, depth int) bool {
	l := s.menus["interface/list"].find(list)
	if l == nil || depth > 8 {
		return false
	}
	if list == "all" {
		return true
	}
	among := func(key string) bool {
		return slices.ContainsFunc(strings.Split(l.get(key), ","), func(other string) bool { return other != "" && s.listed(link, other, depth+1) })
	}
	if among("exclude") {
		return false
	}
	return among("include") || slices.ContainsFunc(s.menus["interface/list/member"].rows, func(r *row) bool {
		return !r.is("disabled") && r.get("list") == list && r.get("interface") == link
	})
}

// owns returns the enabled address row of an interface whose network holds an
// address.
func (s *Sim) owns(link string, a netip.Addr) *row {
	for _, r := range s.menus["ip/address"].rows {
		if p, err := netip.ParsePrefix(r.get("address")); err == nil && !r.is("disabled") && r.get("interface") == link && p.Contains(a) {
			return r
		}
	}
	return nil
}

// answers reports whether the router and an address on an interface find each
// other by ARP: reply-only wants a row for it, disabled finds nobody.
func (s *Sim) answers(link string, a netip.Addr, mac string) bool {
	mode := ""
	for _, k := range kinds {
		if r := s.menus[k.path].find(link); r != nil {
			mode = r.get("arp")
		}
	}
	switch mode {
	case "disabled":
		return false
	case "reply-only":
		return slices.ContainsFunc(s.menus["ip/arp"].rows, func(r *row) bool {
			return !r.is("disabled") && r.get("interface") == link && r.get("address") == a.String() && (mac == "" || r.get("mac-address") == canonical(mac))
		})
	}
	return true
}

// peer is who a connection comes from, as the router sees it: all that the agent
// opens comes from its place, if it has one.
func (s *Sim) peer(from net.Addr) net.Addr {
	if s.c.Agent.Port == "" {
		return from
	}
	at := &net.TCPAddr{IP: s.c.Agent.Address.AsSlice()}
	if tcp, ok := from.(*net.TCPAddr); ok {
		at.Port = tcp.Port
	}
	return at
}

// MoveAgent plugs the agent in elsewhere; open connections are judged anew.
func (s *Sim) MoveAgent(to Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c.Agent = to
	s.reconsider()
}

// CutOff says what keeps the agent's place from a service of the router, such as
// "api-ssl"; "" is nothing.
func (s *Sim) CutOff(service string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cutOff(service, "new")
}

// cutOff judges the way from the agent's place to a service: port, VLAN, ARP,
// address, the firewall for a connection in that state, and the service itself.
func (s *Sim) cutOff(service, state string) string {
	p := s.c.Agent
	door := s.menus["ip/service"].find(service)
	if door == nil || door.is("disabled") {
		return service + " is disabled"
	}
	at := &net.TCPAddr{IP: p.Address.AsSlice()}
	if p.Port == "" {
		return ""
	}
	if !among(door.get("address"), at) || !among(door.get("available-from"), at) {
		return service + " is not for " + p.Address.String()
	}
	port, _ := strconv.Atoi(door.get("port")) // checked when it was written
	return s.blocked("tcp", port, state)
}

// blocked says what keeps a packet of the agent's place from a port of the router.
func (s *Sim) blocked(proto string, port int, state string) string {
	p := s.c.Agent
	link := s.link(p.Port, p.VLAN)
	if link == "" {
		return "frames of VLAN " + itoa(p.VLAN) + " from " + p.Port + " reach no interface"
	}
	if !s.answers(link, p.Address, p.MAC) {
		return link + " does not answer ARP of " + p.Address.String()
	}
	r := s.owns(link, p.Address)
	if r == nil {
		return link + " has no address in the network of " + p.Address.String()
	}
	own, _ := netip.ParsePrefix(r.get("address")) // owns took it apart
	to := own.Addr()
	if p.Router.IsValid() {
		if to = p.Router; !s.local(to) {
			return to.String() + " is no address of the router"
		}
	}
	v, err := s.judge(&flow{in: link, port: p.Port, src: p.Address, dst: to, mac: p.MAC, proto: proto, dport: port, state: state}, true)
	if err != nil {
		return err.Error()
	}
	if !v.Passes {
		return "dropped by " + v.By
	}
	return ""
}

// local reports whether an address is the router's own.
func (s *Sim) local(a netip.Addr) bool {
	return slices.ContainsFunc(s.menus["ip/address"].rows, func(r *row) bool {
		p, err := netip.ParsePrefix(r.get("address"))
		return err == nil && !r.is("disabled") && p.Addr() == a
	})
}
