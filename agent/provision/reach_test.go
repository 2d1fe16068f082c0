package provision

import (
	"net/netip"
	"strings"
	"testing"

	"iwas/internal/routersim"
)

// What a whole cafe's set-up lets through, asked of the router packet by packet.
func TestWhoReachesWhom(t *testing.T) {
	const phone = "AA:BB:CC:00:00:01"
	s := start(t, "api-ssl", "7.24 (stable)", true)
	setup := cafeSetup()
	setup.CoAPort = int(s.CoAAddr().Port())
	a := s.applier(setup)
	if _, err := a.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if why := s.CutOff("api-ssl"); why != "" {
		t.Errorf("this box was cut off: %s", why)
	}
	guest, err := s.Arrive(phone, "")
	if err != nil {
		t.Fatal(err)
	}
	place := routersim.Place{Port: "ether3", MAC: "AA:BB:CC:00:00:10"}
	if place.Address, err = s.Lease(place); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(guest.IP, "10.20.") || !strings.HasPrefix(place.Address.String(), "10.10.") {
		t.Errorf("the phone got %s and the PC %s", guest.IP, place.Address)
	}
	s.do("/ip/hotspot/ip-binding/add", "=type=bypassed", "=mac-address="+phone) // as one who is logged in
	internet, pc, box := netip.MustParseAddr("198.51.100.7"), place.Address, boxAddress
	for _, tc := range []struct {
		name   string
		packet routersim.Packet
		passes bool
	}{
		{"a guest to the internet", routersim.Packet{Guest: phone, To: internet, Port: 443}, true},
		{"a guest to a PC", routersim.Packet{Guest: phone, To: pc, Port: 445}, false},
		{"a guest to a PC, as if it were known", routersim.Packet{Guest: phone, To: pc, Port: 445, State: "new"}, false},
		{"a guest to this box", routersim.Packet{Guest: phone, To: box, Port: 1812, Proto: "udp"}, false},
		{"a guest to the router's SSH", routersim.Packet{Guest: phone, To: netip.MustParseAddr("10.20.0.1"), Port: 22}, false},
		{"a guest to the router's API by another address", routersim.Packet{Guest: phone, To: netip.MustParseAddr("192.168.88.1"), Port: 8729}, false},
		{"a guest to the router's names", routersim.Packet{Guest: phone, To: netip.MustParseAddr("10.20.0.1"), Port: 53, Proto: "udp"}, true},
		{"a PC to the internet", routersim.Packet{From: place, To: internet, Port: 443}, true},
		{"a PC to this box", routersim.Packet{From: place, To: box, Port: 8480}, false},
		{"a PC to the router's API", routersim.Packet{From: place, To: netip.MustParseAddr("10.10.0.1"), Port: 8729}, false},
		{"a PC to the router's names", routersim.Packet{From: place, To: netip.MustParseAddr("10.10.0.1"), Port: 53, Proto: "udp"}, true},
		{"a stranger with an address of his own making", routersim.Packet{From: routersim.Place{Port: "ether3", MAC: "AA:BB:CC:00:00:66", Address: netip.MustParseAddr("10.10.0.66")}, To: internet, Port: 443}, false},
	} {
		v, err := s.Passes(tc.packet)
		if err != nil || v.Passes != tc.passes {
			t.Errorf("%s: got %+v, %v, want %v", tc.name, v, err, tc.passes)
		}
		if tc.packet.Guest != "" && v.Fasttracks {
			t.Errorf("%s is fasttracked", tc.name)
		}
	}
	if v, err := s.Passes(routersim.Packet{Guest: phone, To: internet, Port: 443, State: "established"}); err != nil || !v.Passes || v.Fasttracks {
		t.Errorf("a guest's connection under way: got %+v, %v, want it let through and not fasttracked", v, err)
	}
	s.do("/ipv6/address/add", "=address=2001:db8::1/64", "=interface=vlan20-guest")
	for _, r := range s.do("/ipv6/firewall/filter/print") { // those of the factory would do it too
		if !strings.HasPrefix(r["comment"], tag) {
			s.do("/ipv6/firewall/filter/remove", "=.id="+r[".id"])
		}
	}
	six := func() bool {
		leaves, why, err := s.IPv6Leaves(routersim.Place{Port: "ether2", VLAN: 20, MAC: phone})
		if err != nil {
			t.Fatal(why, err)
		}
		return leaves
	}
	if six() {
		t.Error("IPv6 of a guest leaves")
	}
	for _, key := range []string{"six.from", "six.to"} {
		s.do("/ipv6/firewall/filter/disable", "=.id="+s.id("/ipv6/firewall/filter", key))
	}
	if !six() {
		t.Error("IPv6 of a guest does not leave without our rules either: this proves nothing")
	}
}

// In radius-only a fasttrack rule of the site stays, and guests are above it.
func TestGuestsAboveFasttrack(t *testing.T) {
	const phone = "AA:BB:CC:00:00:01"
	s := start(t, "api-ssl", "7.24 (stable)", false)
	s.do("/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection", "=connection-state=established,related")
	s.do("/ip/hotspot/ip-binding/add", "=type=bypassed", "=mac-address="+phone)
	if _, err := s.Arrive(phone, ""); err != nil {
		t.Fatal(err)
	}
	fasttracks := func() bool {
		v, err := s.Passes(routersim.Packet{Guest: phone, To: netip.MustParseAddr("198.51.100.7"), Port: 443, State: "established"})
		if err != nil {
			t.Fatal(err)
		}
		return v.Fasttracks
	}
	if !fasttracks() {
		t.Fatal("the rule does not fasttrack: this test proves nothing")
	}
	if _, err := s.applier(thinSetup).Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fasttracks() {
		t.Error("a guest's connection is fasttracked after apply")
	}
}
