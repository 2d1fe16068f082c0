package provision

import (
	"strings"
	"testing"

	"iwas/internal/routeros"
	"iwas/internal/wire"
)

// Every fault of a set-up is named by its key; and radius-only needs nothing but
// the mode.
func TestValidate(t *testing.T) {
	if err := Validate(wire.RouterSetup{Mode: RADIUSOnly}); err != nil {
		t.Errorf("radius-only alone: %v", err)
	}
	if err := Validate(wire.RouterSetup{Mode: WholeCafe}); err != nil {
		t.Errorf("whole-cafe alone: %v", err)
	}
	for key, change := range map[string]func(*wire.RouterSetup){
		"mode":                func(s *wire.RouterSetup) { s.Mode = "all" },
		"box_address":         func(s *wire.RouterSetup) { s.BoxAddress = "box" },
		"box_port":            func(s *wire.RouterSetup) { s.BoxPort = "ether 5" },
		"box_vlan":            func(s *wire.RouterSetup) { s.BoxVLAN = 4095 },
		"radius_timeout":      func(s *wire.RouterSetup) { s.RADIUSTimeout = "2h" },
		"coa_port":            func(s *wire.RouterSetup) { s.CoAPort = 70000 },
		"interim":             func(s *wire.RouterSetup) { s.Interim = "5s" },
		"repair":              func(s *wire.RouterSetup) { s.Repair = "sometimes" },
		"guest_ipv6":          func(s *wire.RouterSetup) { s.IPv6 = "on" },
		"wan":                 func(s *wire.RouterSetup) { s.WAN = `e"1` },
		"trunk":               func(s *wire.RouterSetup) { s.Trunk = "ether1" },
		"bridge":              func(s *wire.RouterSetup) { s.Bridge = "a]b" },
		"pc_ports[1]":         func(s *wire.RouterSetup) { s.PCPorts = []string{"ether3", "ether3"} },
		"management.ports[0]": func(s *wire.RouterSetup) { s.Management = &wire.NetworkSetup{Ports: []string{"ether2"}} },
		"management.pool":     func(s *wire.RouterSetup) { s.Management = &wire.NetworkSetup{Pool: "192.168.99.5-192.168.99.9"} },
		"guests.vlan":         func(s *wire.RouterSetup) { s.Guests = &wire.NetworkSetup{VLAN: 1} },
		"pcs.vlan":            func(s *wire.RouterSetup) { s.PCs = &wire.NetworkSetup{VLAN: 20} },
		"guests.subnet":       func(s *wire.RouterSetup) { s.Guests = &wire.NetworkSetup{Subnet: "10.20.0.1/22"} },
		"pcs.subnet":          func(s *wire.RouterSetup) { s.PCs = &wire.NetworkSetup{Subnet: "10.20.1.0/24"} },
		"guests.pool":         func(s *wire.RouterSetup) { s.Guests = &wire.NetworkSetup{Pool: "10.21.0.1-10.21.0.9"} },
		"guests.lease":        func(s *wire.RouterSetup) { s.Guests = &wire.NetworkSetup{Lease: "1s"} },
		"guests.ports":        func(s *wire.RouterSetup) { s.Guests = &wire.NetworkSetup{Ports: []string{"ether5"}} },
		"hotspot.server":      func(s *wire.RouterSetup) { s.HotSpot = &wire.HotSpotSetup{Server: "a b"} },
		"hotspot.profile":     func(s *wire.RouterSetup) { s.HotSpot = &wire.HotSpotSetup{Profile: "a$b"} },
		"hotspot.dns_name":    func(s *wire.RouterSetup) { s.HotSpot = &wire.HotSpotSetup{DNSName: "a/b"} },
		"hotspot.login_by[0]": func(s *wire.RouterSetup) { s.HotSpot = &wire.HotSpotSetup{LoginBy: []string{"trial"}} },
		"portal":              func(s *wire.RouterSetup) { s.Portal = "https://wifi.icafe.com" },
		"lists[0].list":       func(s *wire.RouterSetup) { s.Lists = []wire.AddressListRule{{Match: "src", Action: "drop"}} },
		"lists[0].match":      func(s *wire.RouterSetup) { s.Lists = []wire.AddressListRule{{List: "x", Match: "any", Action: "drop"}} },
		"lists[0].action":     func(s *wire.RouterSetup) { s.Lists = []wire.AddressListRule{{List: "x", Match: "src", Action: "jump"}} },
	} {
		s := wire.RouterSetup{Mode: WholeCafe}
		change(&s)
		err := Validate(s)
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+key+": ") {
			t.Errorf("got %v, want a fault of %s", err, key)
		}
	}
}

// What a router reads back in another spelling is no difference.
func TestSame(t *testing.T) {
	for _, tc := range []struct {
		key, a, b string
		want      bool
	}{
		{"disabled", "false", "no", true}, {"use-radius", "yes", "true", true}, {"lease-time", "1h", "01:00:00", true}, {"lease-time", "1h", "2h", false},
		{"timeout", "2s", "2000ms", true}, {"address", "10.0.0.1/32", "10.0.0.1", true}, {"address", "10.0.0.1/24", "10.0.0.1", false},
		{"login-by", "a,b", "b,a", true}, {"name", "a,b", "b,a", false}, {"pvid", "10", "1", false}, {"comment", "", "x", false},
	} {
		if got := same(tc.key, tc.a, tc.b); got != tc.want {
			t.Errorf("%s: %q and %q: got %v", tc.key, tc.a, tc.b, got)
		}
	}
}

// A value is quoted so that the console reads it back, and a secret is never shown.
func TestPaste(t *testing.T) {
	o := Op{Menu: "/radius", Verb: "add", Args: []Word{{Key: "secret", Value: `p$ "\w`, Secret: true}, {Key: "disabled", Value: "false"}, {Key: "comment", Value: "iwas:radius"}}, Before: with(".id=*5")}
	if got, want := o.String(), `/radius/add secret="***" disabled=no comment=iwas:radius place-before=*5`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := o.script(), `:do { /radius/add secret="p\$ \"\\w" disabled=no comment=iwas:radius place-before=*5 } on-error={}`+"\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	m := Op{Menu: "/ip/firewall/filter", Verb: "move", Find: with("comment=iwas:a b"), Before: with("comment=iwas:b")}
	if got, want := m.String(), `/ip/firewall/filter/move [find comment="iwas:a b"] destination=[find comment=iwas:b]`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What only newer versions take is left out for older ones, and what is too old is
// not set up at all.
func TestVersions(t *testing.T) {
	plan := func(version string) Plan {
		w, err := resolve(wire.RouterSetup{Mode: RADIUSOnly}, Box{Address: boxAddress, Secret: "x"})
		if err != nil {
			t.Fatal(err)
		}
		hotspot := []routeros.Row{{".id": "*1", "name": "hs", "interface": "bridge", "profile": "p"}}
		return (&builder{want: w, version: version, rows: map[string][]routeros.Row{"/ip/hotspot": hotspot, "/ip/hotspot/profile": {{".id": "*2", "name": "p", "use-radius": "yes"}}}}).make()
	}
	for version, want := range map[string]bool{"7.14.3 (stable)": false, "7.15 (stable)": true, "7.24rc2 (testing)": true} {
		p := plan(version)
		if len(p.Stops) > 0 || len(p.Steps) == 0 || strings.Contains(p.Steps[0].Command, "require-message-auth") != want || (p.Steps[0].Since == "7.15") != want {
			t.Errorf("%s: got %+v, want require-message-auth %v", version, p, want)
		}
	}
	for _, version := range []string{"6.49.17 (long-term)", "", "7.0.5"} {
		if p := plan(version); len(p.Stops) != 1 || p.Stops[0].Code != CodeVersion || len(p.Steps) != 0 {
			t.Errorf("%q: got %+v, want %s and no step", version, p, CodeVersion)
		}
	}
}
