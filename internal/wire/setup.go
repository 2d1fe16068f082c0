package wire

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// RouterDoc is the body of a router document. A set-up in the box's own
// configuration goes before it.
type RouterDoc struct {
	RouterSetup
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// RouterSetup is how a router should be set up, as a site wants it. The agent
// reads it from its configuration, or from a document. Every absent field is the default named beside it, so that
// radius-only needs nothing but the mode. It holds no secret.
type RouterSetup struct {
	// Mode is "whole-cafe" (a fresh router: networks, firewall, HotSpot) or
	// "radius-only" (an existing HotSpot stays; only asking RADIUS is ours).
	Mode string `json:"mode" toml:"mode"`

	// BoxAddress is the agent's address as the router sees it; absent: found out.
	BoxAddress string `json:"box_address,omitempty" toml:"box_address,omitempty"`
	// BoxPort is the port of the router that the agent is plugged into, and BoxVLAN
	// the tag of its frames there, 0 for none; absent: found out where the router tells.
	BoxPort string `json:"box_port,omitempty" toml:"box_port,omitempty"`
	BoxVLAN int    `json:"box_vlan,omitempty" toml:"box_vlan,omitempty"`

	RADIUSTimeout string `json:"radius_timeout,omitempty" toml:"radius_timeout,omitempty"` // of one try, "2s"
	CoAPort       int    `json:"coa_port,omitempty" toml:"coa_port,omitempty"`             // of /radius/incoming, 3799
	Interim       string `json:"interim,omitempty" toml:"interim,omitempty"`               // radius-interim-update, "received"

	// Of whole-cafe only.
	WAN        string            `json:"wan,omitempty" toml:"wan,omitempty"`               // interface to the internet, "ether1"
	Trunk      string            `json:"trunk,omitempty" toml:"trunk,omitempty"`           // port to the access points, all VLANs tagged, "ether2"
	PCPorts    []string          `json:"pc_ports,omitempty" toml:"pc_ports,omitempty"`     // of the cafe's own computers; absent: none
	Bridge     string            `json:"bridge,omitempty" toml:"bridge,omitempty"`         // absent: the one that has the trunk, else a new one
	Guests     *NetworkSetup     `json:"guests,omitempty" toml:"guests,omitempty"`         // VLAN 20, 10.20.0.0/22
	PCs        *NetworkSetup     `json:"pcs,omitempty" toml:"pcs,omitempty"`               // VLAN 10, 10.10.0.0/24
	Management *NetworkSetup     `json:"management,omitempty" toml:"management,omitempty"` // VLAN 99, 192.168.99.0/24; without DHCP
	HotSpot    *HotSpotSetup     `json:"hotspot,omitempty" toml:"hotspot,omitempty"`
	Portal     string            `json:"portal,omitempty" toml:"portal,omitempty"`                 // host or address guests reach by HTTPS without a login; absent: none
	BindARP    *bool             `json:"bind_addresses,omitempty" toml:"bind_addresses,omitempty"` // an address belongs to the MAC that DHCP gave it to; absent: true
	IPv6       string            `json:"guest_ipv6,omitempty" toml:"guest_ipv6,omitempty"`         // "filter" (drop guests' IPv6), "off" (for the whole router), "leave"; absent: filter, in radius-only leave
	Lists      []AddressListRule `json:"lists,omitempty" toml:"lists,omitempty"`                   // rules about address-lists
	Harden     *bool             `json:"harden,omitempty" toml:"harden,omitempty"`                 // telnet, ftp, www and plain api off; absent: true, in radius-only false

	Repair string `json:"repair,omitempty" toml:"repair,omitempty"` // of what somebody changed: "never", "always"; absent: never
}

// NetworkSetup is one VLAN with its IPv4 network; the router has the first address.
type NetworkSetup struct {
	VLAN   int      `json:"vlan,omitempty" toml:"vlan,omitempty"`
	Subnet string   `json:"subnet,omitempty" toml:"subnet,omitempty"` // "10.20.0.0/22"
	Pool   string   `json:"pool,omitempty" toml:"pool,omitempty"`     // "10.20.0.10-10.20.3.254"; absent: all but the first nine
	Lease  string   `json:"lease,omitempty" toml:"lease,omitempty"`   // of DHCP: guests "1h", PCs "8h"
	Ports  []string `json:"ports,omitempty" toml:"ports,omitempty"`   // of management: ports in it untagged
}

// HotSpotSetup names the HotSpot. In radius-only Server picks one of those there
// are; absent: all that are on.
type HotSpotSetup struct {
	Server  string   `json:"server,omitempty" toml:"server,omitempty"`     // "iwas-guests"
	Profile string   `json:"profile,omitempty" toml:"profile,omitempty"`   // "iwas-guests"
	DNSName string   `json:"dns_name,omitempty" toml:"dns_name,omitempty"` // of the login page; absent: its address
	LoginBy []string `json:"login_by,omitempty" toml:"login_by,omitempty"` // http-chap, http-pap, mac-cookie
}

// AddressListRule is a firewall rule about an address-list.
type AddressListRule struct {
	List   string `json:"list" toml:"list"`
	Match  string `json:"match" toml:"match"`   // "src" or "dst": whose address is on the list
	Action string `json:"action" toml:"action"` // "drop" or "accept"
}

// Check finds what no box can mean, by the name of the field. The box looks closer:
// a set-up that passes here may still be one it cannot apply.
func (s RouterSetup) Check() map[string]error {
	wrong := map[string]error{}
	bad := func(field, format string, args ...any) {
		if wrong[field] == nil {
			wrong[field] = fmt.Errorf(format, args...)
		}
	}
	one := func(field, value string, of ...string) {
		if value != "" && !slices.Contains(of, value) {
			bad(field, "choose one of %s", strings.Join(of, ", "))
		}
	}
	names := func(field string, values ...string) {
		for _, v := range values {
			if len(v) > 60 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
				bad(field, "%q is no name RouterOS gives: letters, digits, dashes, dots", v)
			}
		}
		if len(values) > 64 {
			bad(field, "more than 64")
		}
	}
	if s.Mode == "" {
		bad("mode", "choose whole-cafe or radius-only")
	}
	one("mode", s.Mode, "whole-cafe", "radius-only")
	one("guest_ipv6", s.IPv6, "filter", "off", "leave")
	one("repair", s.Repair, "never", "always")
	if a, err := netip.ParseAddr(s.BoxAddress); s.BoxAddress != "" && (err != nil || !a.Is4()) {
		bad("box_address", "give an IPv4 address")
	}
	if s.CoAPort < 0 || s.CoAPort > 65535 {
		bad("coa_port", "give a port, or nothing for 3799")
	}
	if s.BoxVLAN < 0 || s.BoxVLAN > 4094 {
		bad("box_vlan", "give a VLAN of 1 to 4094, or nothing for none")
	}
	for field, v := range map[string]string{"radius_timeout": s.RADIUSTimeout, "interim": s.Interim, "wan": s.WAN, "trunk": s.Trunk, "bridge": s.Bridge, "box_port": s.BoxPort, "portal": s.Portal} {
		names(field, v)
	}
	names("pc_ports", s.PCPorts...)
	if h := s.HotSpot; h != nil {
		names("hotspot", append([]string{h.Server, h.Profile, h.DNSName}, h.LoginBy...)...)
	}
	for field, n := range map[string]*NetworkSetup{"guests": s.Guests, "pcs": s.PCs, "management": s.Management} {
		if n == nil {
			continue
		}
		if n.VLAN != 0 && (n.VLAN < 2 || n.VLAN > 4094) {
			bad(field+"_vlan", "give a VLAN of 2 to 4094")
		}
		if p, err := netip.ParsePrefix(n.Subnet); n.Subnet != "" && (err != nil || !p.Addr().Is4() || p.Masked() != p || p.Bits() < 8 || p.Bits() > 29) {
			bad(field+"_subnet", "give an IPv4 network of /8 to /29 such as 10.20.0.0/22")
		}
		names(field+"_pool", n.Pool)
		names(field+"_lease", n.Lease)
		names(field+"_ports", n.Ports...)
	}
	if len(s.Lists) > 64 {
		bad("lists", "more than 64")
	}
	for _, l := range s.Lists {
		names("lists", l.List)
		one("lists", l.Match, "src", "dst")
		one("lists", l.Action, "drop", "accept")
	}
	return wrong
}
