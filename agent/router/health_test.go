package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
)

// asked reports whether every menu was tried.
func asked(v Vitals) bool {
	return !slices.ContainsFunc(v.Readings(), func(r Reading) bool { return r.At.IsZero() && r.Err == "" && !r.Absent })
}

// again has the monitor read every menu anew. Only for a monitor that no loop
// reads.
func (m *monitor) again(t *testing.T, n *nas, at time.Time) {
	t.Helper()
	m.due = nil
	for !slices.ContainsFunc(m.due, func(d time.Time) bool { return !d.IsZero() }) || slices.ContainsFunc(m.due, func(d time.Time) bool { return d.IsZero() }) {
		if err := m.read(t.Context(), n, func() time.Time { return at }); err != nil {
			t.Fatal(err)
		}
	}
}

// still makes a router of its own for a cafe's simulator, with no loop on it.
func (c *cafe) still() *nas { return newNAS(Router{NAS: nasID, Dial: c.dial}) }

func bothDoors(t *testing.T, do func(t *testing.T, c *cafe)) {
	for _, rest := range []bool{false, true} {
		t.Run(map[bool]string{false: "api", true: "rest"}[rest], func(t *testing.T) {
			do(t, open(t, func(c *cafe) { c.rest = rest }))
		})
	}
}

func TestHealthIsReadOverBothDoors(t *testing.T) {
	bothDoors(t, func(t *testing.T, c *cafe) {
		c.sim.Note("hotspot,info", "->: amina (10.20.0.5): logged in")
		eventually(t, "every menu is read by the watching loop", func() bool { return asked(c.e.Health()[0].Vitals) })
		c.arrive(1, 0)
		n := c.still() // read once more, now that there is a guest
		defer n.watcher.close()
		n.vitals.again(t, n, time.Now())
		v := n.vitals.known()
		for _, r := range v.Readings() {
			if r.Err != "" || r.Absent != (r.Menu == "/ip/dhcp-server/lease" && r.At.IsZero()) || !r.Absent && time.Since(r.At) > 30*time.Second {
				t.Errorf("%+v, want a young answer", r)
			}
		}
		if s := v.System; s.CPULoad != 3 || s.MemoryUsed() != 32 || s.DiskUsed() != 27 || s.BadBlocks != 0 || s.Restarts != 0 {
			t.Errorf("system: %+v", s)
		}
		if w := v.WAN; !w.Up || w.Gateway != "192.0.2.1" || !slices.Equal(w.Links, []string{"ether1"}) {
			t.Errorf("WAN: %+v", w)
		}
		if p := v.Pools.List; len(p) != 1 || p[0].Name != "pool-guest" || p[0].Size < 250 || p[0].Used != 1 || !p[0].Guests {
			t.Errorf("pools: %+v", p)
		}
		if len(v.Traffic.Interfaces) != 2 {
			t.Errorf("traffic: %+v, want that of ether1 and of the guests", v.Traffic.Interfaces)
		}
		if s := v.Sensors.List; len(s) != 2 || s[0] != (Sensor{Name: "temperature", Unit: "C", Value: 39}) || s[1] != (Sensor{Name: "voltage", Unit: "V", Value: 23.8}) {
			t.Errorf("sensors: %+v", s)
		}
		if b := v.Board; !b.RouterBOARD || b.Model != "hAP ax2" || b.Firmware != "7.23.7" || b.Upgrade != "" {
			t.Errorf("board: %+v", b)
		}
		if !slices.ContainsFunc(v.Log.Lines, func(l LogLine) bool {
			return strings.Contains(l.Text, "amina") && l.Topics == "hotspot,info" && l.Time != ""
		}) {
			t.Errorf("log: %+v", v.Log.Lines)
		}
		if len(v.History) != 1 || v.History[0].CPULoad != 3 || v.History[0].MemoryUsed != 32 {
			t.Errorf("history: %+v", v.History)
		}
	})
}

func TestRatesAreOfTheTimeBetweenTwoReadings(t *testing.T) {
	bothDoors(t, func(t *testing.T, c *cafe) {
		c.arrive(1, 0)
		n, begun := c.still(), time.Now()
		defer n.watcher.close()
		n.vitals.again(t, n, begun)
		if _, _, known := n.vitals.known().Traffic.WAN(); known {
			t.Error("a rate is known after one reading")
		}
		if _, err := c.sim.Use(macOf(1), 125_000, 1_250_000, 0); err != nil {
			t.Fatal(err)
		}
		n.vitals.again(t, n, begun.Add(10*time.Second))
		v := n.vitals.known()
		if down, up, known := v.Traffic.WAN(); !known || down != 1_000_000 || up != 100_000 {
			t.Errorf("got %v down, %v up (%v), want 1M and 100k", down, up, known)
		}
		if newest := v.History[len(v.History)-1]; !newest.RateKnown || newest.Down != 1_000_000 || !newest.CelsiusKnown {
			t.Errorf("the history ends with %+v, want what was just read", newest)
		}
		for _, i := range v.Traffic.Interfaces {
			if i.Guests && (i.RxRate != 100_000 || i.TxRate != 1_000_000) {
				t.Errorf("got %+v, want the guests' upload received", i)
			}
		}
		q := v.Queues.List[address(c.guest(macOf(1)).IP)]
		if q.Limit != (hotspot.Pair[hotspot.Rate]{Upload: 2_000_000, Download: 10_000_000}) {
			t.Errorf("got queue %+v of %+v, want 2M/10M", q, v.Queues.List)
		}
	})
}

// Hosts and cookies are two tables, read whole: who is let through, since when they
// are silent, and who would come back by themselves.
func TestDevicesAreReadOverBothDoors(t *testing.T) {
	bothDoors(t, func(t *testing.T, c *cafe) {
		c.sim.SetKnobs(routersim.Knobs{Still: true})
		c.arrive(1, 0)
		if _, err := c.sim.Arrive(macOf(2), ""); err != nil { // and does not log in
			t.Fatal(err)
		}
		if err := c.sim.Quiet(macOf(1), 90*time.Second); err != nil {
			t.Fatal(err)
		}
		n := c.still()
		defer n.watcher.close()
		at := time.Now()
		devices := slices.IndexFunc(chores, func(x chore) bool { return x.asks[0].menu == "/ip/hotspot/host" })
		if late, err := n.vitals.one(t.Context(), n, chores[devices], func() time.Time { return at }); late || err != nil {
			t.Fatal(late, err)
		}
		v := n.vitals.known().Devices
		in := v.List[mac(macOf(1))]
		if !in.Seen || !in.Authorized || in.Bypassed || in.Idle < 90*time.Second || in.Idle > 10*time.Minute || in.Address.String() != c.guest(macOf(1)).IP {
			t.Errorf("got %+v, want it let through, silent for 90 s", in)
		}
		byMAC := slices.IndexFunc(in.Cookies, func(k Cookie) bool { return k.ByMAC })
		if len(in.Cookies) != 2 || byMAC < 0 || in.Cookies[byMAC].User != nameOf(1) || in.Cookies[byMAC].Until.Sub(at).Round(time.Hour) != 72*time.Hour {
			t.Errorf("got cookies %+v, want one of the router and one of the browser, for three days", in.Cookies)
		}
		if out := v.List[mac(macOf(2))]; !out.Seen || out.Authorized || len(out.Cookies) != 0 {
			t.Errorf("got %+v, want it at the login page", out)
		}
	})
}

func TestARestartIsSeenAndItsCountersAreNoTraffic(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 0)
	n, begun := c.still(), time.Now()
	defer n.watcher.close()
	c.sim.Show("uptime", "1w2d")
	n.vitals.again(t, n, begun)
	c.sim.Note("system,error,critical", "login failure for user admin from 10.20.0.9 via ssh")
	c.sim.Show("uptime", "20s")
	n.vitals.again(t, n, begun.Add(30*time.Second))
	v := n.vitals.known()
	if v.System.Restarts != 1 || !v.System.RestartedAt.Equal(begun.Add(10*time.Second)) {
		t.Errorf("got %+v, want one restart, over at +10s", v.System)
	}
	if _, _, known := v.Traffic.WAN(); known {
		t.Error("a rate over a restart is told")
	}
	n.vitals.again(t, n, begun.Add(60*time.Second))
	if v := n.vitals.known(); v.System.Restarts != 2 && len(v.History) != 3 {
		t.Errorf("got %+v", v.System)
	}
}

// TestOneMenuThatFailsHidesNoOther: each failure has its own code.
func TestOneMenuThatFailsHidesNoOther(t *testing.T) {
	for i, broken := range chores {
		for reason, want := range map[routeros.Reason]string{routeros.NoRights: "RTR-105", routeros.NoSuchCommand: ""} {
			menu := broken.asks[0].menu
			s := guestRouter()
			for menu, rows := range menus() {
				s.menus[menu] = rows
			}
			s.before = func(command string, _ []string) error {
				if command == menu+"/print" {
					return refusal(reason)
				}
				return nil
			}
			n := newNAS(Router{NAS: nasID, Dial: s.dial})
			n.vitals.again(t, n, time.Now())
			for j, r := range n.vitals.known().Readings() {
				switch {
				case j != i && (r.Err != "" || r.At.IsZero()):
					t.Errorf("without %s: %+v", menu, r)
				case j == i && (r.Code != want || r.Absent != (want == "") || (r.Err == "") != (want == "") || !r.At.IsZero()):
					t.Errorf("%s: got %+v, want code %q", menu, r, want)
				}
			}
		}
	}
}

func menus() map[string][]routeros.Row {
	return map[string][]routeros.Row{
		"/system/resource": {rule("version=7.23.7 (long-term)", "board-name=hAP ax2", "uptime=1w2d", "cpu-load=3", "free-memory=734003200", "total-memory=1073741824")},
		"/ip/route":        {rule("dst-address=0.0.0.0/0", "gateway=192.0.2.1", "immediate-gw=192.0.2.1%ether1", "active=true")},
		"/ip/pool":         {rule("name=p", "ranges=10.20.0.10-10.20.0.19")}, "/ip/pool/used": {}, "/ip/dhcp-server": {}, "/interface": {},
		"/system/health": {}, "/ip/dhcp-server/lease": {}, "/queue/simple": {}, "/ip/hotspot/host": {}, "/ip/hotspot/cookie": {}, "/log": {}, "/system/device-mode": {rule("mode=home", "hotspot=no")}, "/system/routerboard": {rule("routerboard=false")},
	}
}

func TestAConnectionThatDiesIsNoFailureOfAMenu(t *testing.T) {
	s := guestRouter()
	for menu, rows := range menus() {
		s.menus[menu] = rows
	}
	cut := errors.New("connection reset")
	s.before = func(command string, _ []string) error {
		if command == "/log/print" {
			return cut
		}
		return nil
	}
	n := newNAS(Router{NAS: nasID, Dial: s.dial})
	if err := n.vitals.read(t.Context(), n, time.Now); !errors.Is(err, cut) {
		t.Errorf("got %v, want that the connection died", err)
	}
	v := n.vitals.known()
	if v.Log.Err != "" || !v.System.current() {
		t.Errorf("got %+v and %+v", v.Log.Reading, v.System.Reading)
	}
}

// TestAMenuThatHangsIsLeftAlone: it costs the connection, so it is not asked again
// soon, and the others are.
func TestAMenuThatHangsIsLeftAlone(t *testing.T) {
	c := open(t, func(c *cafe) { c.e.Poll = time.Hour })
	c.sim.SetKnobs(routersim.Knobs{Stall: 4 * time.Second, StallAt: "ip/pool/used"})
	n := c.still()
	defer n.watcher.close()
	for range len(chores) {
		if err := n.vitals.read(t.Context(), n, time.Now); err != nil {
			t.Fatal(err)
		}
	}
	v := n.vitals.known()
	for _, r := range v.Readings() {
		if slow := r.Menu == "/ip/pool"; slow != (r.Code == CodeSlow) || slow != (r.Err != "") {
			t.Errorf("got %+v", r)
		}
	}
	at := slices.IndexFunc(chores, func(c chore) bool { return c.asks[0].menu == "/ip/pool" })
	if wait := time.Until(n.vitals.due[at]); wait < 4*time.Minute {
		t.Errorf("asked again in %v", wait)
	}
}

func TestSensorsInEveryForm(t *testing.T) {
	for name, c := range map[string]struct {
		rows []routeros.Row
		want []Sensor
		hot  []string
	}{
		"list": {[]routeros.Row{rule("name=cpu-temperature", "value=61", "type=C"), rule("name=board-temperature1", "value=78", "type=C"), rule("name=psu1-state", "value=ok", "type="),
			rule("name=voltage", "value=23.8", "type=V"), rule("name=fan1-speed", "value=3450", "type=RPM")},
			[]Sensor{{"board-temperature1", "C", 78, ""}, {"cpu-temperature", "C", 61, ""}, {"fan1-speed", "RPM", 3450, ""}, {"psu1-state", "", 0, "ok"}, {"voltage", "V", 23.8, ""}}, []string{"board-temperature1"}},
		"flat, tenths": {[]routeros.Row{rule("voltage=238", "temperature=391", "cpu-temperature=91", "use-fan=main", "power-consumption=12.3", "current=450")},
			[]Sensor{{"cpu-temperature", "C", 91, ""}, {"current", "A", 450, ""}, {"power-consumption", "W", 12.3, ""}, {"temperature", "C", 39.1, ""}, {"voltage", "V", 23.8, ""}}, []string{"cpu-temperature"}},
		"flat, plain": {[]routeros.Row{rule("voltage=24.2", "temperature=39")}, []Sensor{{"temperature", "C", 39, ""}, {"voltage", "V", 24.2, ""}}, nil},
		"none":        {nil, nil, nil},
	} {
		var v Vitals
		if err := takeSensors(&v, time.Now(), [][]routeros.Row{c.rows}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(v.Sensors.List, c.want) {
			t.Errorf("%s: got %+v", name, v.Sensors.List)
		}
		var hot []string
		for _, s := range v.Sensors.List {
			if s.Hot() {
				hot = append(hot, s.Name)
			}
		}
		if !slices.Equal(hot, c.hot) {
			t.Errorf("%s: hot are %v, want %v", name, hot, c.hot)
		}
	}
}

func TestWhereTheInternetIs(t *testing.T) {
	for name, c := range map[string]struct {
		rows  []routeros.Row
		up    bool
		links []string
	}{
		"dhcp":              {[]routeros.Row{rule("gateway=192.0.2.1", "immediate-gw=192.0.2.1%ether1", "active=true")}, true, []string{"ether1"}},
		"pppoe":             {[]routeros.Row{rule("gateway=pppoe-out1", "immediate-gw=pppoe-out1", "active=true", "routing-table=main")}, true, []string{"pppoe-out1"}},
		"failover":          {[]routeros.Row{rule("gateway=192.0.2.1", "immediate-gw=192.0.2.1%ether1"), rule("gateway=lte1", "immediate-gw=lte1", "active=true")}, true, []string{"lte1", "ether1"}},
		"two at once":       {[]routeros.Row{rule("gateway=a,b", "immediate-gw=192.0.2.1%ether1,198.51.100.1%ether5", "active=true")}, true, []string{"ether1", "ether5"}},
		"not reachable":     {[]routeros.Row{rule("gateway=192.0.2.1", "inactive=true")}, false, []string{"kept"}},
		"of another table":  {[]routeros.Row{rule("gateway=192.0.2.1", "active=true", "routing-table=vpn")}, false, []string{"kept"}},
		"disabled":          {[]routeros.Row{rule("gateway=192.0.2.1", "active=true", "disabled=true")}, false, []string{"kept"}},
		"no default at all": {nil, false, []string{"kept"}},
	} {
		v := Vitals{WAN: WAN{Links: []string{"kept"}}}
		if err := takeWAN(&v, time.Now(), [][]routeros.Row{c.rows}); err != nil {
			t.Fatal(err)
		}
		if v.WAN.Up != c.up || !slices.Equal(v.WAN.Links, c.links) {
			t.Errorf("%s: got %+v", name, v.WAN)
		}
	}
}

func TestPoolsAreCountedWithThoseTheyGoOnTo(t *testing.T) {
	var v Vitals
	var given []routeros.Row
	for range 14 {
		given = append(given, rule("pool=guests"))
	}
	err := takePools(&v, time.Now(), [][]routeros.Row{
		{rule("name=guests", "ranges=10.0.0.10-10.0.0.19,10.0.1.0/30", "next-pool=more"), rule("name=more", "ranges=10.9.0.1-10.9.0.2", "next-pool=guests"),
			rule("name=pcs", "ranges=10.1.0.2"), rule("name=idle", "ranges=10.2.0.0/24")},
		append(given, rule("pool=more"), rule("pool=pcs")),
		{rule("interface=vlan20", "address-pool=none"), rule("interface=off", "address-pool=idle", "disabled=true")},
		{rule("interface=vlan20", "address-pool=guests"), rule("interface=vlan10", "address-pool=pcs"), rule("interface=x", "address-pool=static-only")},
		{rule("address=10.0.0.1/23", "interface=vlan20"), rule("address=10.1.0.1/24", "interface=vlan10"), rule("address=10.6.0.1/24", "interface=off"), rule("address=10.7.0.1/24", "interface=vlan20", "disabled=true")},
	})
	want := []Pool{{"guests", 16, 15, true}, {"pcs", 1, 1, false}}
	if err != nil || !slices.Equal(v.Pools.List, want) || v.Pools.List[0].Percent() != 93 {
		t.Errorf("got %+v, %v, want %+v", v.Pools.List, err, want)
	}
	span := func(from, to string) Range { return Range{netip.MustParseAddr(from), netip.MustParseAddr(to)} }
	guests := []Range{span("10.0.0.10", "10.0.0.19"), span("10.0.1.0", "10.0.1.3"), span("10.9.0.1", "10.9.0.2"), span("10.0.0.0", "10.0.1.255")}
	own := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.6.0.1")}
	if !slices.Equal(v.Pools.Guests, guests) || !slices.Equal(v.Pools.Addresses, own) {
		t.Errorf("guests may have %v and the router %v, want %v and %v", v.Pools.Guests, v.Pools.Addresses, guests, own)
	}
}

func TestLogLinesComeOnceAndWithoutSecrets(t *testing.T) {
	var v Vitals
	line := func(id int, topics, text string) routeros.Row {
		return rule(fmt.Sprintf(".id=*%X", id), "time=2026-11-28 10:00:00", "topics="+topics, "message="+text)
	}
	take := func(rows ...routeros.Row) []string {
		if err := takeLog(&v, time.Now(), [][]routeros.Row{rows}); err != nil {
			t.Fatal(err)
		}
		v.Log.At = time.Now()
		var out []string
		for _, l := range v.Log.Lines {
			out = append(out, l.Text)
		}
		return out
	}
	first := []routeros.Row{line(9, "hotspot,info", "a"), line(10, "system,info", "no"), line(16, "radius,debug,packet", "User-Password = 0x1234"), line(17, "script,error", `fetch password=hunter2 secret: "a b" failed`),
		line(18, "hotspot,account,info,debug", "->: amina (10.0.0.7): logged in"), line(12, "radius,debug", "new request"), line(19, "hotspot,info", "AA:BB:CC:00:00:01 (10.0.0.1): logged in")}
	masked := "AA:BB:CC:••:••:01"
	if m, ok := hotspot.ParseMAC("AA:BB:CC:00:00:01"); ok {
		masked = m.Masked()
	}
	want := []string{"a", "fetch password=*** secret: *** failed", "->: amina (10.0.0.7): logged in", masked + " (10.0.0.1): logged in"}
	if got := take(first...); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := take(append(first[2:], line(20, "critical", "b"))...); !slices.Equal(got, append(want, "b")) {
		t.Errorf("the second time: got %q", got)
	}
	if got := take(line(1, "error", "after the restart")); got[len(got)-1] != "after the restart" {
		t.Errorf("ids began anew: got %q", got)
	}
	many := make([]routeros.Row, 1000)
	for i := range many {
		many[i] = line(100+i, "error", strings.Repeat("é", 200))
	}
	if got := take(many...); len(got) != linesKept || len(got[0]) > lineBound+len("…") || !strings.HasSuffix(got[0], "é…") {
		t.Errorf("got %d lines, the first %q", len(got), got[0])
	}
}

func TestQueuesOfTheServerAreNobodys(t *testing.T) {
	var v Vitals
	_ = takeQueues(&v, time.Now(), [][]routeros.Row{{rule("name=hs-<hotspot1>", "target=10.0.0.0/24", "dynamic=true", "max-limit=0/0"),
		rule("name=<hotspot-amina>", "target=10.0.0.5/32", "dynamic=true", "max-limit=2M/10M", "rate=1500/92000"), rule("name=own", "target=10.0.0.6/32", "max-limit=1M/1M"),
		rule("name=dhcp-ds<AA:BB:CC:00:00:07>", "target=10.0.0.7/32", "dynamic=true", "max-limit=1M/1M")}})
	if q := v.Queues.List; len(q) != 1 || q[netip.MustParseAddr("10.0.0.5")].Now.Download != 92000 {
		t.Errorf("got %+v", q)
	}
}

// refusal is what package routeros makes of a trap.
func refusal(reason routeros.Reason) error {
	if reason == routeros.NoRights {
		return fault.New(fault.Denied, "", trap("not enough permissions (9)", reason)).WithCode(routeros.CodeRightMissing, "give it the right")
	}
	return trap("no such command prefix", reason)
}

// TestHealthComesLast: whoever is locked is judged by the list of the same look,
// so nothing slow may come in between.
func TestHealthComesLast(t *testing.T) {
	s := guestRouter()
	for menu, rows := range menus() {
		s.menus[menu] = rows
	}
	c := &cafe{t: t, locks: map[hotspot.AccountID]hotspot.Target{"a": {Account: "a", Usernames: []string{"a"}}}, refuse: map[string]bool{"a": true}}
	e := &Enforcer{Routers: []Router{{NAS: nasID, Dial: s.dial}}, Store: c, Locks: c}
	e.init()
	e.background = func(func(context.Context)) {} // its look round the HotSpot is another matter
	var described time.Time
	if err := e.look(t.Context(), e.nases[0], &described); err != nil {
		t.Fatal(err)
	}
	at := func(command string) int {
		return slices.IndexFunc(s.said, func(said string) bool { return strings.HasPrefix(said, command) })
	}
	list, named, health := at("/ip/hotspot/active/print"), at("/ip/hotspot/user/print"), at(strings.Join(chores[0].asks[0].words(), " "))
	if list < 0 || named < list || health < named {
		t.Errorf("the list is asked at %d, who is locked at %d, its health at %d: %q", list, named, health, s.said)
	}
}
