package routersim

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3"
)

var (
	agentPlace = Place{Port: "ether2", VLAN: 99, Address: netip.MustParseAddr("10.99.0.2"), MAC: "AA:BB:CC:00:00:99", Router: netip.MustParseAddr("10.99.0.1")}
	pcPlace    = Place{Port: "ether3", MAC: "AA:BB:CC:00:00:10", Address: netip.MustParseAddr("10.10.0.50")}
	internet4  = netip.MustParseAddr("198.51.100.7")
)

// cafe is facts.md §7 as a technician would type it, on a router from its box.
const cafe = `/interface/bridge/port/remove [find]
/interface/bridge/add name=br-lan vlan-filtering=no protocol-mode=rstp
/interface/bridge/port
add bridge=br-lan interface=ether3 pvid=10 frame-types=admit-only-untagged-and-priority-tagged
add bridge=br-lan interface=ether4 pvid=10 frame-types=admit-only-untagged-and-priority-tagged
add bridge=br-lan interface=ether2 frame-types=admit-only-vlan-tagged
/interface/bridge/vlan
add bridge=br-lan vlan-ids=10 tagged=br-lan,ether2 untagged=ether3,ether4
add bridge=br-lan vlan-ids=20 tagged=br-lan,ether2
add bridge=br-lan vlan-ids=99 tagged=br-lan,ether2
/interface/vlan
add name=vlan10-pc interface=br-lan vlan-id=10
add name=vlan20-guest interface=br-lan vlan-id=20
add name=vlan99-mgmt interface=br-lan vlan-id=99
/ip/address
add address=10.10.0.1/24 interface=vlan10-pc
add address=10.20.0.1/22 interface=vlan20-guest
add address=10.99.0.1/24 interface=vlan99-mgmt
/ip/pool/add name=pool-pc ranges=10.10.0.50-10.10.0.199
/ip/pool/add name=pool-guest ranges=10.20.0.10-10.20.3.250
/ip/dhcp-server/add name=dhcp-pc interface=vlan10-pc address-pool=pool-pc lease-time=8h add-arp=yes
/ip/dhcp-server/add name=dhcp-guest interface=vlan20-guest address-pool=pool-guest lease-time=1h add-arp=yes
/ip/dhcp-server/network/add address=10.10.0.0/24 gateway=10.10.0.1 dns-server=10.10.0.1
/ip/dhcp-server/network/add address=10.20.0.0/22 gateway=10.20.0.1 dns-server=10.20.0.1
/ip/arp/add address=10.99.0.2 mac-address=AA:BB:CC:00:00:99 interface=vlan99-mgmt
/interface/list/add name=CAFE
/interface/list/member/add list=CAFE interface=vlan10-pc
/ip/firewall/filter
remove [find]
add chain=input action=accept connection-state=established,related
add chain=input action=accept in-interface=vlan99-mgmt src-address=10.99.0.2 comment=agent
add chain=input action=accept in-interface=vlan10-pc protocol=udp dst-port=53,67
add chain=input action=accept in-interface=vlan20-guest protocol=udp dst-port=53,67
add chain=input action=drop comment="the rest"
add chain=forward action=accept connection-state=established,related
add chain=forward action=jump jump-target=guests in-interface=vlan20-guest
add chain=forward action=accept in-interface-list=CAFE out-interface=ether1
add chain=forward action=drop comment="the rest"
add chain=guests action=accept dst-address=10.99.0.2 protocol=tcp dst-port=443 comment=portal
add chain=guests action=drop dst-address-list=cafe
add chain=guests action=accept out-interface=ether1
/ip/firewall/address-list/add list=cafe address=10.0.0.0/8
/radius/add service=hotspot address=10.99.0.2 secret=testing123 src-address=10.99.0.1 timeout=300ms
/radius/incoming/set accept=yes port=3799
/ip/hotspot/profile/add name=hsprof-guest hotspot-address=10.20.0.1 login-by=http-chap,http-pap,mac-cookie use-radius=yes radius-accounting=yes
/ip/hotspot/add name=hs-guest interface=vlan20-guest address-pool=pool-guest profile=hsprof-guest disabled=no
/ip/hotspot/walled-garden/ip/add action=accept dst-address=10.99.0.2 protocol=tcp dst-port=443
/interface/bridge/set br-lan vlan-filtering=yes
`

// provisioned is a router from its box after cafe, with the agent in its VLAN.
func provisioned(t *testing.T) (*Sim, runner) {
	t.Helper()
	s := start(t, nowhere, nowhere, func(c *Config) { c.Fresh, c.Agent = true, agentPlace })
	if out, err := s.Paste("iwas", cafe); err != nil {
		t.Fatal(err, out)
	}
	if why := s.CutOff("api"); why != "" {
		t.Fatal(why)
	}
	return s, runs(t, s)
}

// Each of the mistakes that take the agent off the network ends its connection,
// keeps the next one out, and once undone lets it in again.
func TestMistakesCutTheAgentOff(t *testing.T) {
	for _, tc := range []struct {
		name, mistake, undo, why string
		stays                    bool // the connection that stands goes on: the rule is for new ones
	}{
		{"the service off", "/ip/service/disable api", "/ip/service/enable api", "api is disabled", false},
		{"the service for others", "/ip/service/set api address=10.10.0.0/24", `/ip/service/set api address=""`, "api is not for 10.99.0.2", false},
		{"the user removed", "/user/remove box", "/user/add name=box group=box password=pw", "", false},
		{"the group narrowed", "/user/group/set box policy=!api", "/user/group/set box policy=api", "", false},
		{"a drop above all", "/ip/firewall/filter/add chain=input action=drop place-before=[find comment=agent]", "/ip/firewall/filter/remove [find where chain=input action=drop comment=\"\"]", "dropped by", true},
		{"a drop of what stands", "/ip/firewall/raw/add chain=prerouting action=drop in-interface=vlan99-mgmt", "/ip/firewall/raw/remove [find]", "dropped by ip/firewall/raw", false},
		{"the accept gone", "/ip/firewall/filter/disable [find comment=agent]", "/ip/firewall/filter/enable [find comment=agent]", "(the rest)", true},
		{"the VLAN not on its port", "/interface/bridge/vlan/set [find vlan-ids=99] tagged=br-lan", "/interface/bridge/vlan/set [find vlan-ids=99] tagged=br-lan,ether2", "VLAN 99 from ether2", false},
		{"the VLAN not on the bridge", "/interface/bridge/vlan/set [find vlan-ids=99] tagged=ether2", "/interface/bridge/vlan/set [find vlan-ids=99] tagged=br-lan,ether2", "VLAN 99 from ether2", false},
		{"the port for untagged only", "/interface/bridge/port/set [find interface=ether2] frame-types=admit-only-untagged-and-priority-tagged",
			"/interface/bridge/port/set [find interface=ether2] frame-types=admit-only-vlan-tagged", "VLAN 99 from ether2", false},
		{"the VLAN's interface gone", "/interface/vlan/disable vlan99-mgmt", "/interface/vlan/enable vlan99-mgmt", "VLAN 99 from ether2", false},
		{"the port off", "/interface/disable ether2", "/interface/enable ether2", "VLAN 99 from ether2", false},
		{"ARP of others only", "/ip/arp/remove [find address=10.99.0.2]; /interface/vlan/set vlan99-mgmt arp=reply-only",
			"/ip/arp/add address=10.99.0.2 mac-address=AA:BB:CC:00:00:99 interface=vlan99-mgmt", "does not answer ARP", false},
		{"ARP of another device", "/interface/vlan/set vlan99-mgmt arp=reply-only; /ip/arp/set [find address=10.99.0.2] mac-address=AA:BB:CC:00:00:11",
			"/ip/arp/set [find address=10.99.0.2] mac-address=AA:BB:CC:00:00:99", "does not answer ARP", false},
		{"the address gone", "/ip/address/disable [find interface=vlan99-mgmt]", "/ip/address/enable [find interface=vlan99-mgmt]", "has no address in the network", false},
		{"another address", "/ip/address/set [find interface=vlan99-mgmt] address=10.99.0.9/24", "/ip/address/set [find interface=vlan99-mgmt] address=10.99.0.1/24", "10.99.0.1 is no address of the router", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, r := provisioned(t)
			r.must(t, "user/group", "add", "name=box", "policy=read,write,api,test")
			r.must(t, "user", "add", "name=box", "group=box", "password=pw", "address=10.99.0.2/32")
			c := dialAPI(t, s, "box", "pw")
			works := func(c *routeros.Client) bool { _, err := c.Run("/system/identity/print"); return err == nil }
			if !works(c) {
				t.Fatal("not even before")
			}
			if out, err := s.Paste("iwas", tc.mistake); err != nil {
				t.Fatal(err, out)
			}
			if got := s.CutOff("api"); tc.why != "" && !strings.Contains(got, tc.why) {
				t.Errorf("cut off because %q, want %q", got, tc.why)
			}
			if got := works(c); got != tc.stays {
				t.Errorf("the connection that stood works: %v, want %v", got, tc.stays)
			}
			if other, err := routeros.DialTimeout(s.APIAddr(), "box", "pw", 2*time.Second); err == nil {
				other.Close()
				t.Error("a new connection was taken")
			}
			if out, err := s.Paste("iwas", tc.undo); err != nil {
				t.Fatal(err, out)
			}
			if again := dialAPI(t, s, "box", "pw"); !works(again) {
				t.Error("not again after it was undone")
			}
		})
	}
}

// The command that cuts the connection is not answered: the client sees a cut.
func TestTheCommandThatCutsIsNotAnswered(t *testing.T) {
	s, r := provisioned(t)
	r.must(t, "user", "set", ".id=iwas", "password=pw")
	c := dialAPI(t, s, "iwas", "pw")
	if _, err := c.Run("/interface/bridge/vlan/remove", "=.id="+r.row(t, "interface/bridge/vlan", "vlan-ids=99")[".id"]); err == nil {
		t.Error("it was answered")
	}
	if rows, _, _ := r("interface/bridge/vlan", "print"); len(rows) != 2 {
		t.Errorf("%d rows: the command had no effect", len(rows))
	}
}

// REST is judged alike: a keep-alive connection dies, and the next is not taken.
func TestMistakesCutRESTOff(t *testing.T) {
	s := start(t, nowhere, nowhere, func(c *Config) { c.Fresh, c.Agent, c.RESTListen = true, agentPlace, "127.0.0.1:0" })
	if out, err := s.Paste("iwas", cafe+setUp); err != nil && !strings.Contains(err.Error(), "available-from") {
		t.Fatal(err, out)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 3 * time.Second}
	defer client.CloseIdleConnections()
	get := func() int {
		req, _ := http.NewRequest(http.MethodGet, s.RESTURL()+"/system/identity", nil)
		req.SetBasicAuth("box", `p$ "w`)
		resp, err := client.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body) // else the connection is not kept
		return resp.StatusCode
	}
	if got := get(); got != http.StatusOK {
		t.Fatalf("before: %d", got)
	}
	for _, step := range []struct {
		command string
		want    int
	}{
		{"/ip/service/disable www-ssl", 0}, {"/ip/service/enable www-ssl", http.StatusOK},
		{"/interface/vlan/disable vlan99-mgmt", 0}, {"/interface/vlan/enable vlan99-mgmt", http.StatusOK},
		{"/user/set box address=10.10.0.9/32", http.StatusUnauthorized},
	} {
		if out, err := s.Paste("iwas", step.command); err != nil {
			t.Fatal(err, out)
		}
		if got := get(); got != step.want {
			t.Errorf("after %s: got %d, want %d", step.command, got, step.want)
		}
	}
}

// Without VLAN filtering the tags alone decide; switched on, the table does.
func TestVLANFilteringDecidesWhoReachesWhat(t *testing.T) {
	s, r := provisioned(t)
	link := func(port string, vlan int) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.link(port, vlan)
	}
	for _, tc := range []struct {
		port string
		vlan int
		on   string // with filtering
		off  string // without
	}{
		{"ether2", 99, "vlan99-mgmt", "vlan99-mgmt"}, {"ether2", 20, "vlan20-guest", "vlan20-guest"}, {"ether2", 0, "", "br-lan"}, {"ether2", 30, "", ""},
		{"ether3", 0, "vlan10-pc", "br-lan"}, {"ether3", 20, "", "vlan20-guest"}, {"ether3", 99, "", "vlan99-mgmt"}, {"ether1", 0, "ether1", "ether1"}, {"ether5", 7, "", ""},
	} {
		r.must(t, "interface/bridge", "set", ".id=br-lan", "vlan-filtering=yes")
		if got := link(tc.port, tc.vlan); got != tc.on {
			t.Errorf("filtering, %s VLAN %d: got %q, want %q", tc.port, tc.vlan, got, tc.on)
		}
		r.must(t, "interface/bridge", "set", ".id=br-lan", "vlan-filtering=no")
		if got := link(tc.port, tc.vlan); got != tc.off {
			t.Errorf("no filtering, %s VLAN %d: got %q, want %q", tc.port, tc.vlan, got, tc.off)
		}
	}
}

func TestWhoReachesWhom(t *testing.T) {
	s, r := provisioned(t)
	g, err := s.Arrive(phoneMAC, "")
	if err != nil || g.IP != "10.20.0.10" {
		t.Fatalf("a guest arrives: %v, %v", g, err)
	}
	pc := pcPlace
	if pc.Address, err = s.Lease(pcPlace); err != nil || pc.Address.String() != "10.10.0.50" {
		t.Fatalf("a PC's lease: %v, %v", pc.Address, err)
	}
	online := func(yes bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		h := s.hosts[phoneMAC]
		if h.session = nil; yes {
			h.session = s.newSession(Login{Username: "bob"})
		}
	}
	defer online(false)
	guest := func(to netip.Addr, port int) Packet { return Packet{Guest: phoneMAC, To: to, Port: port} }
	check := func(name string, p Packet, want bool, by string) {
		t.Helper()
		v, err := s.Passes(p)
		if err != nil || v.Passes != want || !strings.Contains(v.By, by) {
			t.Errorf("%s: got %+v, %v; want %v by %q", name, v, err, want, by)
		}
	}
	own := netip.MustParseAddr("10.20.0.1")
	check("not logged in, to the internet", guest(internet4, 443), false, "hs-unauth")
	check("not logged in, to the portal", guest(agentPlace.Address, 443), true, "portal")
	check("not logged in, to the login page", guest(own, 64873), true, "HotSpot")
	check("not logged in, to the router's API", guest(own, 8728), false, "hs-unauth")
	online(true)
	check("logged in, to the internet", guest(internet4, 443), true, "ip/firewall/filter")
	check("logged in, to a PC", guest(pc.Address, 445), false, "ip/firewall/filter")
	check("logged in, to the portal", guest(agentPlace.Address, 443), true, "portal")
	check("logged in, to the agent's RADIUS", guest(agentPlace.Address, 1812), false, "ip/firewall/filter")
	check("logged in, to the router's API", guest(own, 8728), false, "the rest")
	check("a PC to the internet", Packet{From: pc, To: internet4, Port: 443}, true, "")
	check("a PC to a guest", Packet{From: pc, To: netip.MustParseAddr(g.IP), Port: 80}, false, "the rest")
	check("a PC to the agent", Packet{From: pc, To: agentPlace.Address, Port: 443}, false, "the rest")
	check("the answer of a guest", Packet{From: pc, To: netip.MustParseAddr(g.IP), Port: 80, State: "established"}, true, "")

	// Order decides, and so does each matcher.
	rule := r.must(t, "ip/firewall/filter", "add", "chain=guests", "action=accept", "dst-address=10.10.0.50", "protocol=tcp", "dst-port=1-500", "hotspot=auth", "comment=hole")
	check("a hole behind the drop", guest(pc.Address, 445), false, "")
	r.must(t, "ip/firewall/filter", "move", "numbers="+rule, "destination="+r.row(t, "ip/firewall/filter", "dst-address-list=cafe")[".id"])
	check("a hole above the drop", guest(pc.Address, 445), true, "hole")
	check("another port", guest(pc.Address, 3389), false, "")
	r.must(t, "ip/firewall/filter", "set", ".id="+rule, "hotspot=!auth")
	check("for those who are not logged in", guest(pc.Address, 445), false, "")
	r.must(t, "ip/firewall/filter", "set", ".id="+rule, "hotspot=", "protocol=udp")
	check("another protocol", guest(pc.Address, 445), false, "")
	r.must(t, "ip/firewall/filter", "set", ".id="+rule, "protocol=tcp", "limit=1,5:packet")
	if v, err := s.Passes(guest(pc.Address, 445)); err == nil {
		t.Errorf("a matcher nobody knows: got %+v, want an error", v)
	}
	r.must(t, "ip/firewall/filter", "remove", ".id="+rule)

	r.must(t, "interface/vlan", "set", ".id=vlan20-guest", "arp=reply-only")
	check("with add-arp the lease is enough", guest(internet4, 443), true, "")
	squatter := Place{Port: "ether2", VLAN: 20, MAC: "AA:BB:CC:00:00:66", Address: netip.MustParseAddr("10.20.0.200")}
	check("a squatter's address is not answered", Packet{From: squatter, To: internet4, Port: 443}, false, "ARP")
	r.must(t, "ip/hotspot/ip-binding", "add", "mac-address="+phoneMAC, "type=blocked")
	check("a blocked guest", guest(internet4, 443), false, "ip-binding")
	r.must(t, "ip/settings", "set", "ip-forward=no")
	check("no forwarding", Packet{From: pc, To: internet4, Port: 443}, false, "ip-forward")
}

// A lease of before add-arp has no ARP row until its device renews (facts.md §7).
func TestAddARPTakesEffectAtTheNextRenewal(t *testing.T) {
	s, r := provisioned(t)
	r.must(t, "ip/dhcp-server", "set", ".id=dhcp-pc", "add-arp=no")
	at, err := s.Lease(pcPlace)
	if err != nil {
		t.Fatal(err)
	}
	pc := pcPlace
	pc.Address = at
	r.must(t, "ip/dhcp-server", "set", ".id=dhcp-pc", "add-arp=yes")
	r.must(t, "interface/vlan", "set", ".id=vlan10-pc", "arp=reply-only")
	if v, err := s.Passes(Packet{From: pc, To: internet4, Port: 443}); err != nil || v.Passes {
		t.Errorf("before the renewal: got %+v, %v", v, err)
	}
	if again, err := s.Lease(pc); err != nil || again != at {
		t.Fatalf("renewed: got %v, %v, want %v", again, err, at)
	}
	if v, err := s.Passes(Packet{From: pc, To: internet4, Port: 443}); err != nil || !v.Passes {
		t.Errorf("after the renewal: got %+v, %v", v, err)
	}
	lease := r.row(t, "ip/dhcp-server/lease", "mac-address="+pcPlace.MAC)
	if lease["dynamic"] != "true" || lease["status"] != "bound" {
		t.Errorf("the lease: %v", lease)
	}
	r.must(t, "ip/dhcp-server/lease", "make-static", "numbers="+lease[".id"])
	s.PowerCut(0)
	if got := r.row(t, "ip/dhcp-server/lease", "mac-address="+pcPlace.MAC); got["dynamic"] != "false" {
		t.Errorf("a static lease after a boot: %v", got)
	}
	if rows, _, _ := r("ip/arp", "print"); len(rows) != 1 {
		t.Errorf("after a boot: %d ARP rows, want the agent's", len(rows))
	}
	r.refuses(t, []refused{{"no more than one", "ip/dhcp-server/lease", "make-static", "numbers=*FFFF", "no such item"}})
	if _, err := s.Lease(Place{Port: "ether2", VLAN: 99, MAC: pcPlace.MAC}); err == nil {
		t.Error("a network without a DHCP server gave a lease")
	}
}

func TestIPv6LeavesWhereNothingStopsIt(t *testing.T) {
	s, _ := provisioned(t)
	at := Place{Port: "ether2", VLAN: 20}
	for _, step := range []struct {
		command string
		leaves  bool
		why     string
	}{
		{":put start", false, "advertises no IPv6 address"},
		{"/ipv6/address/add address=2001:db8::1/64 interface=vlan20-guest", false, "all but the LAN"},
		{"/ipv6/firewall/filter/disable [find chain=forward comment~\"LAN\"]", true, "the end of chain forward"},
		{"/ipv6/firewall/raw/add chain=prerouting action=drop in-interface=vlan20-guest", false, "raw"},
		{"/ipv6/firewall/raw/remove [find]; /ipv6/settings/set forward=no", false, "forward is off"},
		{"/ipv6/settings/set forward=yes disable-ipv6=yes", false, "disable-ipv6"},
		{"/ipv6/settings/set disable-ipv6=no", true, "the end of chain forward"},
		{"/ipv6/address/set [find] advertise=no", false, "advertises no IPv6 address"},
	} {
		if out, err := s.Paste("iwas", step.command); err != nil {
			t.Fatal(err, out)
		}
		leaves, why, err := s.IPv6Leaves(at)
		if err != nil || leaves != step.leaves || !strings.Contains(why, step.why) {
			t.Errorf("after %s: got %v, %q, %v; want %v, %q", step.command, leaves, why, err, step.leaves, step.why)
		}
	}
}

// Each piece of the wiring is needed for a login page to be there.
func TestALoginNeedsTheWholeWiring(t *testing.T) {
	for _, tc := range []struct{ name, mistake, says string }{
		{"all stands", ":put ok", "RADIUS server is not responding"},
		{"the server is off", "/ip/hotspot/disable hs-guest", "no HotSpot server serves vlan20-guest"},
		{"the server is elsewhere", "/ip/hotspot/set hs-guest interface=vlan10-pc", "no HotSpot server serves vlan20-guest"},
		{"its profile is gone", "/ip/hotspot/profile/remove hsprof-guest", "has no profile"},
		{"the interface has no address", "/ip/address/remove [find interface=vlan20-guest]", "vlan20-guest has no address"},
		{"the VLAN is not on the trunk", "/interface/bridge/vlan/set [find vlan-ids=20] tagged=br-lan", "VLAN 20 from ether2 reach no interface"},
		{"RADIUS is not asked", "/ip/hotspot/profile/set hsprof-guest use-radius=no", "invalid username or password"},
		{"no RADIUS server", "/radius/remove [find]", "invalid username or password"},
		{"ARP of others only", "/interface/vlan/set vlan20-guest arp=disabled", "does not answer ARP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _ := provisioned(t)
			s.SetKnobs(Knobs{Still: true})
			if _, err := s.Arrive(phoneMAC, ""); err != nil {
				t.Fatal(err)
			}
			if out, err := s.Paste("iwas", tc.mistake); err != nil {
				t.Fatal(err, out)
			}
			if err := s.Login(phoneMAC, Login{Method: "http-pap", Username: "bob", Password: "x"}); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
		})
	}
	s := start(t, nowhere, nowhere, func(c *Config) { c.Fresh = true })
	if _, err := s.Arrive(phoneMAC, ""); err == nil {
		t.Error("a router from its box gave a guest of VLAN 20 an address")
	}
}
