package statuspage

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// healthyRouter does well, and has for an hour.
func healthyRouter() *Health {
	read := func(menu string, ago time.Duration) Reading { return Reading{Menu: menu, At: t0.Add(-ago)} }
	h := &Health{
		System: System{Reading: read("/system/resource", 12*time.Second), CPULoad: 7, MemoryFree: 734_003_200, MemoryTotal: 1_073_741_824, DiskFree: 98_566_144, DiskTotal: 134_217_728, Uptime: 76 * time.Hour},
		Sensors: Sensors{read("/system/health", 12*time.Second), []Sensor{{Name: "cpu-temperature", Unit: "C", Value: 61}, {Name: "fan1-speed", Unit: "RPM", Value: 3450},
			{Name: "psu1-state", State: "ok"}, {Name: "voltage", Unit: "V", Value: 23.8}}},
		Board:   Board{Reading: read("/system/routerboard", 4*time.Minute), Model: "C52iG-5HaxD2HaxD", Serial: "HEB08X0Q2ZK", Firmware: "7.18.2", Upgrade: "7.20.1"},
		WAN:     WAN{read("/ip/route", 12*time.Second), true, "192.168.1.1"},
		HotSpot: HotSpot{Reading: read("/system/device-mode", 12*time.Second), Mode: "advanced", Servers: []string{"hs-guest"}},
		Traffic: Traffic{read("/interface", 12*time.Second), 23_400_000, 4_100_000, true,
			[]Interface{{Name: "ether1", Running: true, Rx: 81_230_000_000, Tx: 9_120_000_000, RxRate: 23_400_000, TxRate: 4_100_000}, {Name: "vlan20-guest", Guests: true, Running: true, Rx: 8_420_000_000, Tx: 77_310_000_000}}},
		Pools:  Pools{read("/ip/pool", 12*time.Second), []Pool{{"pool-guest", 245, 61, true}, {"pool-pc", 40, 12, false}}},
		Leases: Leases{read("/ip/dhcp-server/lease", 12*time.Second), 58, 63},
		Queues: read("/queue/simple", 12*time.Second), Devices: read("/ip/hotspot/host", 12*time.Second),
		Log: Log{read("/log", 40*time.Second), []LogLine{
			{"2026-11-28 10:02:11", "hotspot,account,info", "->: mara (10.20.0.17): logged in"},
			{"2026-11-28 09:58:40", "system,error,critical", "login failure for user admin from 10.20.0.44 via ssh"}}},
	}
	for i := range 120 {
		c := 58 + 3*math.Sin(float64(i)/9)
		h.History = append(h.History, HealthSample{At: t0.Add(time.Duration(i-120) * 30 * time.Second), CPULoad: 5 + i%13, MemoryUsed: 31 + i/60, Celsius: &c,
			Down: hotspot.Rate(1_000_000 * (12 + i%17)), Up: 2_000_000, RateKnown: i > 0})
	}
	return h
}

func TestConditionsOfARoutersHealth(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Health)
		want   []string
		text   string
	}{
		"well":                   {func(*Health) {}, nil, ""},
		"no default route":       {func(h *Health) { h.WAN.Up = false }, []string{"RTR-150"}, "no default route is active"},
		"never read":             {func(h *Health) { h.WAN = WAN{} }, nil, ""},
		"read long ago":          {func(h *Health) { h.WAN.Up, h.WAN.At = false, t0.Add(-6*time.Minute) }, nil, ""},
		"pool at nine tenths":    {func(h *Health) { h.Pools.List[0] = Pool{"p", 10, 9, true} }, nil, ""},
		"pool above":             {func(h *Health) { h.Pools.List[0] = Pool{"p", 100, 91, true} }, []string{"RTR-151"}, "91 of 100 addresses of the pool p"},
		"pool of PCs full":       {func(h *Health) { h.Pools.List[1] = Pool{"pcs", 1, 1, false} }, []string{"RTR-151"}, "pcs"},
		"hot":                    {func(h *Health) { h.Sensors.List[0].Value, h.Sensors.List[0].Hot = 93, true }, []string{"RTR-152"}, "cpu-temperature shows 93 °C"},
		"memory at nine tenths":  {func(h *Health) { h.System.MemoryFree, h.System.MemoryTotal = 10, 100 }, nil, ""},
		"memory above":           {func(h *Health) { h.System.MemoryFree, h.System.MemoryTotal = 9, 100 }, []string{"RTR-153"}, "91 % of its memory"},
		"memory not told":        {func(h *Health) { h.System.MemoryFree, h.System.MemoryTotal = 0, 0 }, nil, ""},
		"flash full":             {func(h *Health) { h.System.DiskFree = 400_000 }, []string{"RTR-154"}, "400 kB are free"},
		"flash not told":         {func(h *Health) { h.System.DiskFree, h.System.DiskTotal = 0, 0 }, nil, ""},
		"bad blocks":             {func(h *Health) { h.System.BadBlocks = 1.3 }, []string{"RTR-155"}, "1.3 % of its flash"},
		"restarted":              {func(h *Health) { h.System.RestartedAt = t0.Add(-29 * time.Minute) }, []string{"RTR-156"}, "it began anew at "},
		"restarted an hour ago":  {func(h *Health) { h.System.RestartedAt = t0.Add(-time.Hour) }, nil, ""},
		"a right is missing":     {func(h *Health) { h.Log.Problem, h.Log.Code = "not enough permissions (9)", "RTR-105" }, []string{"RTR-157"}, "cannot be read: /log (RTR-105)"},
		"a menu is not there":    {func(h *Health) { h.Sensors = Sensors{Reading: Reading{Menu: "/system/health", Absent: true}} }, nil, ""},
		"the router is not read": {func(h *Health) { h.WAN.Up, h.WAN.At = false, t0 }, []string{"RTR-150"}, ""},
	} {
		s := well(func(s *Snapshot) { s.Routers[0].Health = healthyRouter() })
		c.change(s.Routers[0].Health)
		var got []string
		for _, f := range Found(s) {
			got = append(got, f.Code)
			if _, ok := condition.Lookup(f.Code); !ok || f.Subject != "cafe1" || !strings.HasPrefix(f.Text, "Counter: ") || !strings.Contains(f.Text, c.text) {
				t.Errorf("%s: got %+v", name, f)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
		s.Routers[0].Problem, s.Routers[0].Code = "it does not answer", "RTR-101"
		if got := Found(s); len(got) != 1 || got[0].Code != "RTR-101" {
			t.Errorf("%s, and the door is shut: got %+v, want only that", name, got)
		}
	}
}

func TestTilesSayWhatTheyDoNotKnow(t *testing.T) {
	s := well(func(s *Snapshot) {
		s.Routers[0].Health = healthyRouter()
		s.Routers = append(s.Routers, Router{NAS: "b", Name: "B", API: true, Reachable: true, Health: &Health{}}, Router{NAS: "c", Name: "C"})
	})
	h := s.Routers[0].Health
	h.Pools.Reading = Reading{Menu: "/ip/pool", Problem: "not enough permissions (9)", Code: "RTR-105"}
	h.System.At = t0.Add(-20 * time.Minute)
	views := newBoard(s, nil).Healths
	if len(views) != 2 {
		t.Fatalf("got %d sections, want one for each router with an API", len(views))
	}
	words := func(v healthView) (out []string) {
		for _, x := range v.Tiles {
			out = append(out, x.Label+": "+x.Badge.Text+" "+x.Value)
		}
		return out
	}
	want := []string{"Internet: Up Up", "Traffic: Counted 23.4 Mbit/s", "Processor: Old 7 %", "Memory: Old 32 %", "Addresses: Cannot be read –", "Temperature: Cool 61 °C"}
	if got := words(views[0]); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, x := range views[0].Tiles {
		if graph := x.Label != "Internet" && x.Label != "Addresses"; graph != (x.Graph != "") {
			t.Errorf("%s: graph %q", x.Label, x.Graph)
		}
	}
	for _, x := range words(views[1]) {
		if !strings.HasSuffix(x, "Not read yet –") {
			t.Errorf("nothing was read, and it says %q", x)
		}
	}
	if len(views[0].Unread) != 1 || views[0].Unread[0].Code != "RTR-105" {
		t.Errorf("got %+v", views[0].Unread)
	}
}

func TestTheRoutersQueueStandsBesideWhatWasGiven(t *testing.T) {
	rate := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		given *string
		queue *Queue
		read  time.Duration // after the session began
		want  speeds
	}{
		"the same":            {rate("2M/10M"), &Queue{2_000_000, 10_000_000, 1500, 92_000}, time.Minute, speeds{"2 Mbit/s up, 10 Mbit/s down", "router: 2 Mbit/s up, 10 Mbit/s down, now 1.5 kbit/s up, 92 kbit/s down", false}},
		"another":             {rate("2M/10M"), &Queue{LimitUp: 1_000_000, LimitDown: 10_000_000}, time.Minute, speeds{"2 Mbit/s up, 10 Mbit/s down", "router: 1 Mbit/s up, 10 Mbit/s down, now 0 bit/s up, 0 bit/s down", true}},
		"none, and no limit":  {rate(""), nil, time.Minute, speeds{"no limit", "", false}},
		"none, and a limit":   {rate("2M"), nil, time.Minute, speeds{"2 Mbit/s up, 2 Mbit/s down", "router: no queue", true}},
		"not read since then": {rate("2M"), nil, -time.Second, speeds{"2 Mbit/s up, 2 Mbit/s down", "", false}},
		"given is not known":  {nil, &Queue{LimitUp: 1_000_000, LimitDown: 1_000_000}, time.Minute, speeds{"", "router: 1 Mbit/s up, 1 Mbit/s down, now 0 bit/s up, 0 bit/s down", false}},
	} {
		if got := speedOf(Session{State: hotspot.Live, StartedAt: t0, Rate: c.given, Queue: c.queue, QueueAt: t0.Add(c.read)}); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestTheDeviceStandsBesideItsSession(t *testing.T) {
	until := t0.Add(time.Hour)
	for name, c := range map[string]struct {
		device *Device
		state  hotspot.SessionState
		read   time.Duration // after the session began
		want   place
	}{
		"let through":          {&Device{Seen: true, Authorized: true, Address: "10.0.0.5", Cookie: MACCookie, CookieUser: "mara", CookieUntil: until}, hotspot.Live, time.Minute, place{"let through by the HotSpot", false, "MAC cookie: comes back by itself, until", until, ""}},
		"idle, translated":     {&Device{Seen: true, Authorized: true, IdleS: 95, Address: "10.0.0.9"}, hotspot.Live, time.Minute, place{Text: "let through by the HotSpot, idle 1m35s, has 10.0.0.9"}},
		"another's cookie":     {&Device{Seen: true, Authorized: true, Cookie: BrowserCookie, CookieUser: "tess", CookieUntil: until}, hotspot.Live, time.Minute, place{"let through by the HotSpot", false, "cookie: the browser comes back, until", until, "tess"}},
		"put off":              {&Device{Seen: true}, hotspot.Live, time.Minute, place{Text: "at the login page", Differs: true}},
		"not confirmed either": {&Device{Seen: true}, hotspot.Suspect, time.Minute, place{Text: "at the login page"}},
		"bypassed":             {&Device{Seen: true, Bypassed: true}, hotspot.Live, time.Minute, place{Text: "bypasses the HotSpot"}},
		"gone":                 {&Device{}, hotspot.Live, time.Minute, place{Text: "not seen by the HotSpot", Differs: true}},
		"not read since then":  {&Device{Seen: true}, hotspot.Live, -time.Second, place{}},
		"not read":             {nil, hotspot.Live, 0, place{}},
	} {
		if c.device != nil {
			c.device.ReadAt = t0.Add(c.read)
		}
		if got := placeOf(Session{Username: "mara", IP: "10.0.0.5", State: c.state, StartedAt: t0, Device: c.device}); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestSparklineSaysWhatItDraws(t *testing.T) {
	point := func(i int, v float64) webui.Point {
		return webui.Point{At: t0.Add(time.Duration(i) * time.Minute), Value: v}
	}
	got := string(webui.Sparkline(webui.Series{What: "Load <of> it", Points: []webui.Point{point(0, 1), point(30, 5), point(60, 3)}, Low: 1, Words: percent}))
	for _, want := range []string{`aria-label="Load &lt;of&gt; it in the last 1 h: lowest 1 %, highest 5 %"`, `points="0.0,26.0 60.0,2.0 120.0,14.0"`} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	wellFormed(t, "sparkline", got)
	if flat := webui.Sparkline(webui.Series{Points: []webui.Point{point(0, 4), point(1, 4)}, Low: 4, Words: percent}); !strings.Contains(string(flat), `"0.0,14.0 120.0,14.0"`) {
		t.Errorf("flat: %s", flat)
	}
	if small := webui.Sparkline(webui.Series{Points: []webui.Point{point(0, 31), point(1, 32)}, High: 100, Words: percent}); !strings.Contains(string(small), `"0.0,18.6 120.0,18.3"`) {
		t.Errorf("a small step: %s", small)
	}
	if one := webui.Sparkline(webui.Series{Points: []webui.Point{point(0, 4)}, Words: percent}); one != "" {
		t.Errorf("one point draws %s", one)
	}
}
