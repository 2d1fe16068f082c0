package router

import (
	"context"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// While there is a way round the HotSpot, a lock is never plain enforced.
func TestWaysRoundAreNamed(t *testing.T) {
	user := nameOf(1)
	fasttrack := []string{"/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection", "=connection-state=established,related"}
	for _, tc := range []struct {
		name  string
		setup [][]string
		code  string
	}{
		{"none", nil, ""},
		{"fasttrack", [][]string{fasttrack}, CodeFasttrack},
		{"fasttrack below guest traffic", [][]string{
			{"/ip/firewall/filter/add", "=chain=forward", "=action=accept", "=src-address=10.20.0.0/22"},
			{"/ip/firewall/filter/add", "=chain=forward", "=action=accept", "=dst-address=10.20.0.0/22"}, fasttrack}, ""},
		{"fasttrack switched off", [][]string{append(fasttrack, "=disabled=yes")}, ""},
		{"IPv6", [][]string{{"/ipv6/address/add", "=address=2001:db8::1/64", "=interface=vlan20-guest"}}, CodeIPv6},
		{"IPv6 elsewhere", [][]string{{"/ipv6/address/add", "=address=2001:db8::1/64", "=interface=ether1"}}, ""},
		{"bypassed binding", [][]string{{"/ip/hotspot/ip-binding/add", "=mac-address=" + macOf(1), "=type=bypassed"}}, CodeBinding},
		{"bypassed binding of another device", [][]string{{"/ip/hotspot/ip-binding/add", "=mac-address=" + macOf(9), "=type=bypassed"}}, ""},
		{"local user", [][]string{{"/ip/hotspot/user/add", "=name=" + user, "=password=x"}}, CodeLocalUser},
		{"local user of another name", [][]string{{"/ip/hotspot/user/add", "=name=" + user + "x", "=password=x"}}, ""},
		{"local user, disabled", [][]string{{"/ip/hotspot/user/add", "=name=" + user, "=password=x", "=disabled=yes"}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := open(t, nil)
			c.arrive(1, 3)
			for _, words := range tc.setup {
				c.command(words...)
			}
			c.settle()
			c.lock(user)
			p := c.proof(user)
			want := hotspot.OutcomeEnforced
			if tc.code != "" {
				want = hotspot.OutcomeLeaks
			}
			if p.Outcome != want || p.Code != tc.code {
				t.Errorf("got %s %q, want %s %q: %+v", p.Outcome, p.Code, want, tc.code, p.Steps)
			}
			if last := p.Steps[len(p.Steps)-1]; !strings.Contains(last.Detail, tc.code) {
				t.Errorf("the read-back says %q, want %s in it", last.Detail, tc.code)
			}
			c.off(macOf(1))
		})
	}
}

// settle makes sure that a lock uses no look begun before now.
func (c *cafe) settle() {
	c.t.Helper()
	for _, n := range c.e.nases {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			n.survey.mu.Lock()
			quiet := n.survey.running == nil
			if quiet {
				n.survey.last = nil
			}
			n.survey.mu.Unlock()
			if quiet {
				break
			}
			if time.Now().After(deadline) {
				c.t.Fatal("the look at the router does not end")
			}
		}
	}
}

func TestTrialIsNamed(t *testing.T) {
	c := open(t, nil)
	eventually(t, "a first look", func() bool { return !c.e.nases[0].survey.older(time.Minute) })
	id := c.command("/ip/hotspot/profile/print")[0][".id"]
	c.command("/ip/hotspot/profile/set", "=.id="+id, "=login-by=http-chap,trial,mac-cookie")
	time.Sleep(surveyFresh + 100*time.Millisecond) // what was seen before is too old by now
	c.lock("nobody")
	if p := c.proof("nobody"); p.Outcome != hotspot.OutcomeLeaks || p.Code != CodeTrial {
		t.Errorf("got %+v, want leaks with %s", p, CodeTrial)
	}
	if h := c.e.Health()[0]; len(h.Ways) != 1 || !strings.HasPrefix(h.Ways[0], CodeTrial) {
		t.Errorf("health names %v, want %s", h.Ways, CodeTrial)
	}
}

// rule makes a firewall row of "key=value" words.
func rule(words ...string) routeros.Row {
	r := routeros.Row{".id": "*1", "bytes": "0", "packets": "0", "dynamic": "false", "invalid": "false"}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		r[k] = v
	}
	return r
}

// TestFasttrack judges firewalls as they are found on routers.
func TestFasttrack(t *testing.T) {
	fast := rule("chain=forward", "action=fasttrack-connection", "connection-state=established,related", "hw-offload=true")
	with := func(words ...string) routeros.Row {
		return rule(append([]string{"chain=forward", "action=fasttrack-connection", "connection-state=established,related"}, words...)...)
	}
	accept := func(words ...string) routeros.Row {
		return rule(append([]string{"chain=forward", "action=accept"}, words...)...)
	}
	established := "connection-state=established,related,untracked"
	for _, tc := range []struct {
		name  string
		rules []routeros.Row
		other map[string][]routeros.Row
		want  bool
	}{
		{"no rules", nil, nil, false},
		{"as shipped", []routeros.Row{rule("chain=forward", "action=passthrough", "dynamic=true"), fast, accept(established)}, nil, true},
		{"accepted above by interface, both ways", []routeros.Row{accept(established, "in-interface=vlan20"), accept(established, "out-interface=vlan20"), fast}, nil, false},
		{"accepted above one way only", []routeros.Row{accept(established, "in-interface=vlan20"), fast}, nil, true},
		{"accepted above for web only", []routeros.Row{accept("src-address=10.20.0.0/22", "protocol=tcp", "dst-port=443"), accept("dst-address=10.20.0.0/22"), fast}, nil, true},
		{"accepted above for part of the guests", []routeros.Row{accept("src-address=10.20.0.0/24"), accept("dst-address=10.20.0.0/22"), fast}, nil, true},
		{"accepted below", []routeros.Row{fast, accept("in-interface=vlan20"), accept("out-interface=vlan20")}, nil, true},
		{"accept is disabled", []routeros.Row{accept("in-interface=vlan20", "disabled=true"), accept("out-interface=vlan20"), fast}, nil, true},
		{"limited to the PCs, both ways", []routeros.Row{with("src-address=10.10.0.0/24"), with("dst-address=10.10.0.0/24")}, nil, false},
		{"limited to another interface in", []routeros.Row{with("in-interface=vlan10", "out-interface=ether1")}, nil, false},
		{"limited to what leaves by the uplink", []routeros.Row{with("out-interface=ether1")}, nil, true},
		{"all but guests", []routeros.Row{with("src-address=!10.20.0.0/22", "dst-address=!10.20.0.0/22")}, nil, false},
		{"not for the HotSpot", []routeros.Row{with("hotspot=!from-client,!to-client")}, nil, false},
		{"by mark", []routeros.Row{with("connection-mark=fast")}, nil, true},
		{"in a chain jumped to", []routeros.Row{rule("chain=forward", "action=jump", "jump-target=quick"), rule("chain=quick", "action=fasttrack-connection")}, nil, true},
		{"in a chain for others", []routeros.Row{rule("chain=forward", "action=jump", "jump-target=quick", "in-interface=vlan10", "dst-address=10.10.0.0/24"), rule("chain=quick", "action=fasttrack-connection")}, nil, false},
		{"in a chain nobody jumps to", []routeros.Row{rule("chain=quick", "action=fasttrack-connection")}, nil, false},
		{"a loop of jumps", []routeros.Row{rule("chain=forward", "action=jump", "jump-target=forward"), rule("chain=input", "action=fasttrack-connection")}, nil, false},
		{"interface list with the guests", []routeros.Row{with("in-interface-list=LAN")},
			map[string][]routeros.Row{"/interface/list/member": {rule("list=LAN", "interface=vlan20")}}, true},
		{"interface list without them, both ways", []routeros.Row{with("in-interface-list=PC", "dst-address=!10.20.0.0/22")},
			map[string][]routeros.Row{"/interface/list/member": {rule("list=PC", "interface=vlan10")}}, false},
		{"fast path switched off", []routeros.Row{fast}, map[string][]routeros.Row{"/ip/settings": {rule("allow-fast-path=false")}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			menus := map[string][]routeros.Row{
				"/ip/hotspot":         {rule("name=hs", "interface=vlan20", "profile=p", "disabled=false")},
				"/ip/hotspot/profile": {rule("name=p", "login-by=http-chap")},
				"/ip/address":         {rule("address=10.20.0.1/22", "interface=vlan20"), rule("address=10.10.0.1/24", "interface=vlan10")},
				"/ip/firewall/filter": tc.rules,
			}
			for k, v := range tc.other {
				menus[k] = v
			}
			g, err := explore(context.Background(), newLink((&script{menus: menus}).dial))
			if err != nil {
				t.Fatal(err)
			}
			if got := len(g.ways) == 1 && g.ways[0].code == CodeFasttrack; got != tc.want || len(g.ways) > 1 {
				t.Errorf("got ways %v, want fasttracked %v", g.ways, tc.want)
			}
		})
	}
}

func TestIPv6OnTheGuestNetwork(t *testing.T) {
	global := rule("address=2001:db8:5::1/64", "interface=vlan20", "disabled=false", "invalid=false")
	for _, tc := range []struct {
		name  string
		menus map[string][]routeros.Row
		want  bool
	}{
		{"global address", map[string][]routeros.Row{"/ipv6/address": {global}}, true},
		{"link-local only", map[string][]routeros.Row{"/ipv6/address": {rule("address=fe80::1/64", "interface=vlan20")}}, false},
		{"disabled", map[string][]routeros.Row{"/ipv6/address": {rule("address=2001:db8::1/64", "interface=vlan20", "disabled=true")}}, false},
		{"switched off", map[string][]routeros.Row{"/ipv6/address": {global}, "/ipv6/settings": {rule("disable-ipv6=true")}}, false},
		{"dropped from guests", map[string][]routeros.Row{"/ipv6/address": {global}, "/ipv6/firewall/filter": {
			rule("chain=forward", "action=accept", "connection-state=established,related"), rule("chain=forward", "action=drop", "in-interface=vlan20")}}, false},
		{"accepted before the drop", map[string][]routeros.Row{"/ipv6/address": {global}, "/ipv6/firewall/filter": {
			rule("chain=forward", "action=accept", "in-interface=vlan20"), rule("chain=forward", "action=drop")}}, true},
		{"dropped from others", map[string][]routeros.Row{"/ipv6/address": {global}, "/ipv6/firewall/filter": {
			rule("chain=forward", "action=drop", "in-interface=vlan10")}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.menus["/ip/hotspot"] = []routeros.Row{rule("name=hs", "interface=vlan20", "profile=p")}
			g, err := explore(context.Background(), newLink((&script{menus: tc.menus}).dial))
			if err != nil {
				t.Fatal(err)
			}
			if got := len(g.ways) == 1 && g.ways[0].code == CodeIPv6; got != tc.want {
				t.Errorf("got ways %v, want a leak %v", g.ways, tc.want)
			}
		})
	}
}

func TestWhatIsInside(t *testing.T) {
	menus := map[string][]routeros.Row{
		"/ip/address": {rule("address=10.20.0.1/22", "interface=vlan20"), rule("address=192.0.2.5/24", "interface=ether1")},
		"/ip/hotspot/walled-garden/ip": {
			rule("action=accept", "dst-address=203.0.113.80", "protocol=tcp", "dst-port=443,8000-8080"),
			rule("action=accept", "dst-address-list=banks"),
			rule("action=accept", "dst-address-list=empty"),
			rule("action=accept", "dst-address=198.51.100.0/28", "disabled=true"),
			rule("action=drop", "dst-address=198.51.100.77"),
		},
		"/ip/firewall/address-list": {rule("list=banks", "address=198.51.100.32/30"), rule("list=banks", "address=198.51.100.40-198.51.100.41")},
	}
	g, err := explore(context.Background(), newLink((&script{menus: menus}).dial))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		to, protocol, port string
		want               bool
	}{
		{"10.20.0.1", "udp", "53", true}, {"192.0.2.5", "tcp", "80", true}, {"10.20.3.255", "udp", "137", true},
		{"255.255.255.255", "udp", "67", true}, {"224.0.0.251", "udp", "5353", true}, {"169.254.1.1", "tcp", "80", true},
		{"203.0.113.80", "tcp", "443", true}, {"203.0.113.80", "tcp", "8042", true}, {"203.0.113.80", "tcp", "22", false},
		{"203.0.113.80", "udp", "443", false}, {"203.0.113.81", "tcp", "443", false}, {"198.51.100.33", "tcp", "443", true},
		{"198.51.100.41", "udp", "443", true}, {"198.51.100.42", "tcp", "443", false}, {"198.51.100.1", "tcp", "443", false},
		{"198.51.100.77", "tcp", "443", false}, {"192.0.2.6", "tcp", "80", false},
	} {
		if got := g.inside(address(tc.to), address(tc.to), tc.protocol, tc.port); got != tc.want {
			t.Errorf("%s %s port %s: got inside %v, want %v", tc.to, tc.protocol, tc.port, got, tc.want)
		}
	}
}
