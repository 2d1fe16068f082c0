package console

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"iwas/internal/wire"
)

// setupFields are those of the form of a set-up.
var setupFields = []string{"mode", "wan", "trunk", "pc_ports", "box_port", "portal", "guest_ipv6", "repair", "coa_port", "guests_vlan", "guests_subnet", "pcs_vlan", "pcs_subnet", "management_ports", "dns_name"}

// setupForm is a set-up in the form, and what it says besides, as JSON.
func setupForm(s wire.RouterSetup) (form map[string]string, more string) {
	form = map[string]string{"mode": s.Mode, "wan": s.WAN, "trunk": s.Trunk, "pc_ports": strings.Join(s.PCPorts, ", "), "box_port": s.BoxPort, "portal": s.Portal, "guest_ipv6": s.IPv6, "repair": s.Repair, "coa_port": number(s.CoAPort)}
	network := func(key string, n *wire.NetworkSetup) {
		form[key+"_vlan"], form[key+"_subnet"] = "", ""
		if n != nil {
			form[key+"_vlan"], form[key+"_subnet"] = number(n.VLAN), n.Subnet
		}
	}
	network("guests", s.Guests)
	network("pcs", s.PCs)
	form["management_ports"] = ""
	if s.Management != nil {
		form["management_ports"] = strings.Join(s.Management.Ports, ", ")
	}
	form["dns_name"] = ""
	if s.HotSpot != nil {
		form["dns_name"] = s.HotSpot.DNSName
	}
	if b, err := json.MarshalIndent(s, "", "  "); err == nil && s.Mode != "" {
		more = string(b)
	}
	return form, more
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// setupOf takes what was typed over what was wanted before: what the form does not
// show stays.
func setupOf(s wire.RouterSetup, f map[string]string) (wire.RouterSetup, map[string]error) {
	wrong := map[string]error{}
	count := func(field string) int {
		if f[field] == "" {
			return 0
		}
		n, err := strconv.Atoi(f[field])
		if err != nil {
			wrong[field] = errors.New("give a number")
		}
		return n
	}
	words := func(field string) []string {
		return strings.FieldsFunc(f[field], func(r rune) bool { return r == ',' || r == ' ' || r == ';' })
	}
	s.Mode, s.WAN, s.Trunk, s.BoxPort, s.Portal, s.IPv6, s.Repair = f["mode"], f["wan"], f["trunk"], f["box_port"], f["portal"], f["guest_ipv6"], f["repair"]
	s.CoAPort, s.PCPorts = count("coa_port"), words("pc_ports")
	network := func(key string, old *wire.NetworkSetup, change func(*wire.NetworkSetup)) *wire.NetworkSetup {
		var n wire.NetworkSetup
		if old != nil {
			n = *old
		}
		change(&n)
		if n.VLAN == 0 && n.Subnet == "" && n.Pool == "" && n.Lease == "" && len(n.Ports) == 0 {
			return nil
		}
		return &n
	}
	s.Guests = network("guests", s.Guests, func(n *wire.NetworkSetup) { n.VLAN, n.Subnet = count("guests_vlan"), f["guests_subnet"] })
	s.PCs = network("pcs", s.PCs, func(n *wire.NetworkSetup) { n.VLAN, n.Subnet = count("pcs_vlan"), f["pcs_subnet"] })
	s.Management = network("management", s.Management, func(n *wire.NetworkSetup) { n.Ports = words("management_ports") })
	var h wire.HotSpotSetup
	if s.HotSpot != nil {
		h = *s.HotSpot
	}
	h.DNSName = f["dns_name"]
	s.HotSpot = nil
	if h.Server != "" || h.Profile != "" || h.DNSName != "" || len(h.LoginBy) > 0 {
		s.HotSpot = &h
	}
	for field, err := range s.Check() {
		if field == "hotspot" {
			field = "dns_name"
		}
		if wrong[field] == nil {
			wrong[field] = err
		}
	}
	return s, wrong
}
