package router

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
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
		{"bypassed binding of a network", [][]string{{"/ip/hotspot/ip-binding/add", "=address=10.20.0.0/24", "=type=bypassed"}}, CodeBinding},
		{"bypassed binding of another network", [][]string{{"/ip/hotspot/ip-binding/add", "=address=10.20.3.0/24", "=type=bypassed"}}, ""},
		{"bypassed binding of another device", [][]string{{"/ip/hotspot/ip-binding/add", "=mac-address=" + macOf(9), "=type=bypassed"}}, ""},
		{"walled garden open to all", [][]string{{"/ip/hotspot/walled-garden/ip/add", "=action=accept"}}, CodeGarden},
		{"walled garden open to half the internet", [][]string{{"/ip/hotspot/walled-garden/ip/add", "=action=accept", "=protocol=tcp", "=dst-port=80,443", "=dst-address=128.0.0.0/1"}}, CodeGarden},
		{"walled garden open from private to the rest", [][]string{{"/ip/hotspot/walled-garden/ip/add", "=action=accept", "=dst-address=10.0.0.0-223.255.255.255"}}, CodeGarden},
		{"walled garden of a private network", [][]string{{"/ip/hotspot/walled-garden/ip/add", "=action=accept", "=dst-address=10.0.0.0/8"}}, ""},
		{"walled garden open to this guest", [][]string{{"/ip/hotspot/walled-garden/ip/add", "=action=accept", "=src-address=10.20.0.0/24"}}, CodeGarden},
		{"walled garden open to somebody else", [][]string{{"/ip/hotspot/walled-garden/ip/add", "=action=accept", "=src-address=10.20.3.7"}}, ""},
		{"names only", [][]string{{"/ip/hotspot/walled-garden/ip/add", "=action=accept", "=dst-host=no-such-name.example"},
			{"/ip/hotspot/walled-garden/add", "=action=allow", "=dst-host=*.example"}}, ""},
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

// A lock that ended with a leak is proven once the leak is closed, and not before.
func TestALeakThatIsClosedEndsTheLockEnforced(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 3)
	const menu = "/ip/hotspot/walled-garden/ip"
	c.command(menu+"/add", "=action=accept")
	c.settle()
	c.lock(nameOf(1))
	if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeLeaks {
		t.Fatalf("got %s %q, want leaks", p.Outcome, p.Code)
	}
	n := c.e.nases[0]
	look := func() { // the next one, now
		time.Sleep(surveyFresh + 100*time.Millisecond) // what was seen before is too old by now
		<-n.survey.begin(func(do func(context.Context)) { go do(t.Context()) }, n).done
	}
	look()
	select {
	case p := <-c.proven:
		t.Errorf("with the leak open: got another proof %+v", p)
	case <-time.After(300 * time.Millisecond):
	}
	rows := c.command(menu + "/print")
	c.command(menu+"/remove", "=.id="+rows[len(rows)-1][".id"])
	look()
	if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeEnforced || p.Code != "" {
		t.Errorf("the leak is closed: got %s %q, want enforced", p.Outcome, p.Code)
	}
}

// A lock that ended is put to the test again when the router shows the guest on,
// and when a way round opens afterwards.
func TestAnEndedLockIsDoubtedByWhatTheRouterShows(t *testing.T) {
	start := func(t *testing.T) *cafe {
		c := open(t, func(c *cafe) { c.e.Locks = c })
		c.arrive(1, 1)
		c.lock(nameOf(1))
		if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeEnforced {
			t.Fatalf("got %s %q, want enforced", p.Outcome, p.Code)
		}
		return c
	}
	t.Run("the guest is on the list", func(t *testing.T) {
		c := start(t)
		c.mu.Lock()
		delete(c.refuse, nameOf(1)) // another RADIUS server lets the guest in
		c.mu.Unlock()
		c.arrive(1, 1)
		c.mu.Lock()
		c.refuse[nameOf(1)] = true
		clear(c.sessions) // and nobody here hears of it
		c.mu.Unlock()
		if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeEnforced || p.Method != "api" || p.Sessions != 1 {
			t.Errorf("got %+v, want the guest put off once more", p)
		}
		c.off(macOf(1))
	})
	t.Run("a way for the guest", func(t *testing.T) {
		c := start(t)
		c.command("/ip/hotspot/user/add", "=name="+nameOf(1), "=password=x")
		if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeLeaks || p.Code != CodeLocalUser {
			t.Errorf("got %s %q, want leaks with %s", p.Outcome, p.Code, CodeLocalUser)
		}
	})
	t.Run("a way for everybody", func(t *testing.T) {
		c := start(t)
		c.command("/ip/hotspot/walled-garden/ip/add", "=action=accept")
		time.Sleep(surveyFresh + 100*time.Millisecond) // what was seen before is too old by now
		n := c.e.nases[0]
		<-n.survey.begin(func(do func(context.Context)) { go do(t.Context()) }, n).done
		if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeLeaks || p.Code != CodeGarden {
			t.Errorf("got %s %q, want leaks with %s", p.Outcome, p.Code, CodeGarden)
		}
	})
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
	if h := c.e.Health()[0]; len(h.Ways) != 1 || h.Ways[0].Code != CodeTrial {
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
		{"their own prefix accepted before the drop", map[string][]routeros.Row{"/ipv6/address": {global}, "/ipv6/firewall/filter": {
			rule("chain=forward", "action=accept", "src-address=2001:db8:5::/64"), rule("chain=forward", "action=drop")}}, true},
		{"all but their own prefix dropped", map[string][]routeros.Row{"/ipv6/address": {global}, "/ipv6/firewall/filter": {
			rule("chain=forward", "action=drop", "src-address=!2001:db8:5::/64")}}, true},
		{"their own prefix dropped", map[string][]routeros.Row{"/ipv6/address": {global}, "/ipv6/firewall/filter": {
			rule("chain=forward", "action=drop", "src-address=2001:db8:5::/64")}}, false},
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

// A rule by host name must not make every destination count as inside: then the
// read-back would prove nothing. What the router resolved it to does count.
func TestAGardenByNameProvesNoMoreThanItsAddresses(t *testing.T) {
	for _, tc := range []struct {
		name, menu string
		words      []string
	}{
		{"IP level, resolved", "/ip/hotspot/walled-garden/ip", []string{"=action=accept", "=dst-host=pay.example"}},
		{"IP level, not resolved", "/ip/hotspot/walled-garden/ip", []string{"=action=accept", "=dst-host=gone.example"}},
		{"HTTP level", "/ip/hotspot/walled-garden", []string{"=action=allow", "=dst-host=*.example"}},
		{"HTTP level, everything", "/ip/hotspot/walled-garden", []string{"=action=allow"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := open(t, nil)
			c.sim.Resolve("pay.example", netip.MustParseAddr("192.0.2.200"))
			c.arrive(1, 3)
			c.arrive(2, 3)
			c.command(append([]string{tc.menu + "/add"}, tc.words...)...)
			c.settle()
			c.lock(nameOf(2)) // a phone that keeps to the garden
			if p := c.proof(nameOf(2)); p.Outcome != hotspot.OutcomeEnforced {
				t.Errorf("a phone that is off: got %s %q, want enforced: %+v", p.Outcome, p.Code, p.Steps)
			}
			c.sim.SetKnobs(routersim.Knobs{Leaky: true})
			c.lock(nameOf(1)) // one whose router lets it out
			p := c.proof(nameOf(1))
			if p.Outcome != hotspot.OutcomePending || p.Code != CodeStillOn {
				t.Fatalf("a phone that reaches the internet: got %s %q, want pending with %s: %+v", p.Outcome, p.Code, CodeStillOn, p.Steps)
			}
			c.sim.SetKnobs(routersim.Knobs{})
			for p.Outcome == hotspot.OutcomePending {
				p = c.proof(nameOf(1))
			}
			if p.Outcome != hotspot.OutcomeEnforced {
				t.Errorf("the leak is closed: got %s %q, want enforced", p.Outcome, p.Code)
			}
		})
	}
}

// A phone that is put off goes on looking at a site of the walled garden.
func TestAPhoneInTheGardenIsOff(t *testing.T) {
	c := open(t, nil)
	c.sim.Resolve("pay.example", netip.MustParseAddr("192.0.2.200"))
	c.command("/ip/hotspot/walled-garden/ip/add", "=action=accept", "=dst-host=pay.example")
	for n := range 20 {
		c.arrive(n, 1)
	}
	c.settle()
	seen := false
	for n := range 20 {
		c.lock(nameOf(n))
		p := c.proof(nameOf(n))
		if p.Outcome != hotspot.OutcomeEnforced {
			t.Errorf("guest %d: got %s %q, want enforced: %+v", n, p.Outcome, p.Code, p.Steps)
		}
		for end := time.Now().Add(1500 * time.Millisecond); !seen && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			for _, r := range c.command("/ip/firewall/connection/print", "=.proplist=dst-address") {
				seen = seen || strings.HasPrefix(r["dst-address"], "192.0.2.200")
			}
		}
		c.lock(nameOf(n)) // once more, with its connections into the garden there
		if p := c.proof(nameOf(n)); p.Outcome != hotspot.OutcomeEnforced {
			t.Errorf("guest %d, again: got %s %q, want enforced: %+v", n, p.Outcome, p.Code, p.Steps)
		}
	}
	if !seen {
		t.Error("no phone looked at the site by name: this test proves nothing")
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
			rule("action=accept", "dst-host=named.example"),
			rule("action=accept", "dst-host=named.example", "dst-address=198.51.100.78"),
			rule("action=reject", "dst-address=198.51.100.96/28", "dst-port=25"),
			rule("action=accept", "dst-address=198.51.100.96/28", "dst-port=!22"),
			rule("action=accept", "dst-address=198.51.100.112/28", "src-address=10.20.0.64/26"),
			rule("action=accept", "dst-address=198.51.100.128/28", "src-address-list=staff"),
			rule("action=accept", "dst-address=198.51.100.144/28", "protocol=!tcp"),
			rule("action=accept", "dst-address=what?"),
		},
		"/ip/hotspot/walled-garden": {
			rule("action=allow", "dst-host=*"),
			rule("action=allow", "dst-host=named.example", "dst-address=198.51.100.79", "dynamic=true"),
			rule("action=allow", "dst-host=other.example", "dst-address=198.51.100.80", "dynamic=false"),
			rule("action=deny", "dst-host=evil.example", "dst-address=198.51.100.81", "dynamic=true"),
		},
		"/ip/firewall/address-list": {rule("list=banks", "address=198.51.100.32/30"), rule("list=banks", "address=198.51.100.40-198.51.100.41"),
			rule("list=staff", "address=10.20.0.99")},
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
		{"198.51.100.78", "tcp", "443", false}, {"198.51.100.79", "tcp", "443", true}, {"198.51.100.80", "tcp", "443", false}, {"198.51.100.81", "tcp", "443", false},
		{"198.51.100.97", "tcp", "25", false}, {"198.51.100.97", "tcp", "22", false}, {"198.51.100.97", "tcp", "443", true},
		{"198.51.100.113", "tcp", "443", false}, {"198.51.100.129", "tcp", "443", false},
		{"198.51.100.145", "tcp", "443", false}, {"198.51.100.145", "udp", "443", true},
	} {
		if got := g.inside(address("10.20.0.3"), address(tc.to), address(tc.to), tc.protocol, tc.port); got != tc.want {
			t.Errorf("%s %s port %s: got inside %v, want %v", tc.to, tc.protocol, tc.port, got, tc.want)
		}
	}
	for to, want := range map[string]bool{"198.51.100.113": true, "198.51.100.129": true, "198.51.100.147": false} {
		if got := g.inside(address("10.20.0.99"), address(to), address(to), "tcp", "443"); got != want {
			t.Errorf("the staff's device to %s: got inside %v, want %v", to, got, want)
		}
	}
}
