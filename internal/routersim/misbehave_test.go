package routersim

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// rest calls the REST door as the full user.
func rest(ctx context.Context, t *testing.T, s *Sim, method, path, body string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(ctx, method, s.RESTURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("iwas", "pw")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	var b strings.Builder
	var v any
	if err := json.NewDecoder(resp.Body).Decode(&v); err == nil {
		_ = json.NewEncoder(&b).Encode(v)
	}
	return resp.StatusCode, strings.TrimSpace(b.String())
}

func restSim(t *testing.T) *Sim {
	t.Helper()
	return start(t, nowhere, nowhere, func(c *Config) { c.RESTListen = "127.0.0.1:0" })
}

// A REST call ends at its limit; a monitor without once or duration runs into it; a
// duration gives a row a second.
func TestRESTCallsEndAtTheirLimit(t *testing.T) {
	s := restSim(t)
	s.SetKnobs(Knobs{RESTLimit: 300 * time.Millisecond})
	for _, tc := range []struct {
		name, path, body, want string
		status                 int
	}{
		{"once", "/radius/incoming/monitor", `{"once":""}`, `"acks":"0"`, http.StatusOK},
		{"neither", "/radius/incoming/monitor", `{}`, `"detail":"Session closed"`, http.StatusBadRequest},
		{"too long", "/radius/incoming/monitor", `{"duration":"3s"}`, `"detail":"Session closed"`, http.StatusBadRequest},
		{"an unknown word", "/radius/incoming/monitor", `{"colour":"red","once":""}`, "unknown parameter colour", http.StatusBadRequest},
	} {
		if status, body := rest(t.Context(), t, s, http.MethodPost, tc.path, tc.body); status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s: got %d %s, want %d with %s", tc.name, status, body, tc.status, tc.want)
		}
	}
	s.SetKnobs(Knobs{})
	if status, body := rest(t.Context(), t, s, http.MethodPost, "/radius/incoming/monitor", `{"duration":"2s"}`); status != http.StatusOK || strings.Count(body, ".section") != 2 {
		t.Errorf("two seconds: got %d %s", status, body)
	}
	s.SetKnobs(Knobs{Stall: time.Minute, StallAt: "system/clock", RESTLimit: 200 * time.Millisecond})
	if status, body := rest(t.Context(), t, s, http.MethodGet, "/system/clock", ""); status != http.StatusBadRequest || !strings.Contains(body, "Session closed") {
		t.Errorf("a command that takes a minute: got %d %s", status, body)
	}
}

// A call that its caller left damages the door for a while.
func TestAnAbortedCallDamagesREST(t *testing.T) {
	s := restSim(t)
	s.SetKnobs(Knobs{Stall: time.Minute, StallAt: "system/clock", AbortDamage: 400 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	rest(ctx, t, s, http.MethodGet, "/system/clock", "")
	until(t, "the abort to be noticed", func() bool { return s.Counters().Aborted == 1 })
	if status, _ := rest(t.Context(), t, s, http.MethodGet, "/system/identity", ""); status != 0 {
		t.Errorf("right after: got %d, want a reset", status)
	}
	until(t, "the door to recover", func() bool {
		status, _ := rest(t.Context(), t, s, http.MethodGet, "/system/identity", "")
		return status == http.StatusOK
	})
}

func TestAnswersThatSayNothing(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	r := runs(t, s)
	s.SetKnobs(Knobs{WriteIgnored: "ip/pool"})
	r.must(t, "ip/pool", "add", "name=never", "ranges=10.1.1.1")
	if rows, _, _ := r("ip/pool", "print"); len(rows) != 1 {
		t.Errorf("answered and not done: %d pools", len(rows))
	}
	s.SetKnobs(Knobs{RefuseDone: "ip/pool"})
	if _, _, err := r("ip/pool", "add", "name=done", "ranges=10.1.1.1"); err == nil {
		t.Error("it was not refused")
	}
	r.row(t, "ip/pool", "name=done")
	r.must(t, "ip/dns", "set", "servers=1.1.1.1")
	s.SetKnobs(Knobs{HotSpotOff: true})
	r.must(t, "ip/hotspot", "add", "name=two", "interface=vlan10-pc")
	if got := r.row(t, "ip/hotspot", "name=two")["disabled"]; got != "true" {
		t.Errorf("a HotSpot that nobody enabled: disabled is %q", got)
	}
}

func TestDeviceModeForbidsTheHotSpot(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	r := runs(t, s)
	s.Give("system/device-mode", "", "hotspot", "false")
	r.refuses(t, []refused{{"add", "ip/hotspot", "add", "name=two interface=vlan10-pc", "failure: not allowed by device-mode"}})
	if _, err := s.Arrive(phoneMAC, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Login(phoneMAC, Login{Method: "http-pap", Username: "a", Password: "b"}); err == nil || !strings.Contains(err.Error(), "no HotSpot server serves") {
		t.Errorf("a login: got %v", err)
	}
	r.must(t, "ip/hotspot", "disable", "numbers=hotspot1")
	r.refuses(t, []refused{{"enable", "ip/hotspot", "enable", "numbers=hotspot1", "failure: not allowed by device-mode"}})
	s.Give("system/device-mode", "", "hotspot", "true")
	r.must(t, "ip/hotspot", "enable", "numbers=hotspot1")
	s.Give("system/device-mode", "", "scheduler", "false")
	if _, err := s.Paste("iwas", "/system/scheduler/add name=x interval=1s"); err == nil {
		t.Error("a scheduler was made")
	}
}

// REST logins leave rows that nobody can remove, and do not count as a login; the
// row of an API session can be, which ends it.
func TestSessionsThatStay(t *testing.T) {
	s := start(t, nowhere, nowhere, func(c *Config) { c.RESTListen, c.Version = "127.0.0.1:0", "7.24 (stable)" })
	s.SetKnobs(Knobs{LeakSessions: true})
	rest(t.Context(), t, s, http.MethodGet, "/system/identity", "")
	rest(t.Context(), t, s, http.MethodGet, "/system/identity", "")
	r := runs(t, s)
	rows, _, err := r("user/active", "print")
	if err != nil || len(rows) != 2 || rows[0]["via"] != "rest-api" {
		t.Fatalf("got %v, %v", rows, err)
	}
	if got := r.row(t, "user", "name=iwas")["last-logged-in"]; got != "" {
		t.Errorf("REST moved last-logged-in to %q", got)
	}
	r.refuses(t, []refused{{"a leaked row", "user/active", "remove", ".id=" + rows[0][".id"], "action failed (6)"}})
	c := dialAPI(t, s, "iwas", "pw")
	r.must(t, "user/active", "remove", ".id="+r.row(t, "user/active", "via=api")[".id"])
	if _, err := c.Run("/system/identity/print"); err == nil {
		t.Error("a session that was removed goes on")
	}
	if got := r.row(t, "user", "name=iwas")["last-logged-in"]; got == "" {
		t.Error("an API login does not count")
	}
}

func TestVersionsShowHealthDatesAndEmptyTables(t *testing.T) {
	for _, tc := range []struct {
		version string
		health  int // rows
		iso     bool
	}{{"6.49.17 (stable)", 1, false}, {"7.9.2 (stable)", 2, false}, {"7.16.2 (stable)", 2, true}} {
		s := start(t, nowhere, nowhere, func(c *Config) { c.Version = tc.version })
		r := runs(t, s)
		rows, _, err := r("system/health", "print")
		if err != nil || len(rows) != tc.health || (rows[0]["voltage"] != "") != (tc.health == 1) {
			t.Errorf("%s: health %v, %v", tc.version, rows, err)
		}
		if date := r.row(t, "system/clock")["date"]; strings.Contains(date, "-") != tc.iso {
			t.Errorf("%s: date %s", tc.version, date)
		}
		if got := r.row(t, "ip/hotspot/profile", ".id=*0")["name"]; got != "default" {
			t.Errorf("%s: *0 is %q", tc.version, got)
		}
	}
}

// A connection that was fasttracked goes on when its guest is put off; accepted above
// the rule it is not fasttracked (facts.md §11).
func TestFasttrackedConnectionsOutliveTheirSession(t *testing.T) {
	s, r := provisioned(t)
	s.SetKnobs(Knobs{Still: true})
	if _, err := s.Arrive(phoneMAC, ""); err != nil {
		t.Fatal(err)
	}
	visit := func() Guest {
		t.Helper()
		s.mu.Lock()
		h := s.hosts[phoneMAC]
		h.session = s.newSession(Login{Username: "bob"})
		h.session.started, h.session.lastUse = time.Now(), time.Now()
		s.mu.Unlock()
		if _, err := s.Use(phoneMAC, 1, 1, 3); err != nil {
			t.Fatal(err)
		}
		if err := s.Logout(phoneMAC); err != nil {
			t.Fatal(err)
		}
		g, err := s.Guest(phoneMAC)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	if g := visit(); g.Fasttracked != 0 || g.Connections != 3 {
		t.Errorf("without such a rule: %+v", g)
	}
	first := r.row(t, "ip/firewall/filter", "chain=forward", "connection-state=established,related")[".id"]
	r.must(t, "ip/firewall/filter", "add", "chain=forward", "action=fasttrack-connection", "connection-state=established,related", "place-before="+first, "comment=fast")
	if g := visit(); g.Fasttracked != 3 {
		t.Errorf("with the rule on top: %+v, want 3 fasttracked", g)
	}
	rows, _, _ := r("ip/firewall/connection", "print")
	fast := 0
	for _, v := range rows {
		if v["fasttrack"] == "true" {
			fast++
			r.must(t, "ip/firewall/connection", "remove", ".id="+v[".id"])
		}
	}
	if g, _ := s.Guest(phoneMAC); fast != 3 || g.Fasttracked != 0 {
		t.Errorf("%d rows are fasttracked; once removed: %+v", fast, g)
	}
	r.must(t, "ip/firewall/filter", "add", "chain=forward", "action=accept", "in-interface=vlan20-guest", "connection-state=established,related",
		"place-before="+r.row(t, "ip/firewall/filter", "comment=fast")[".id"])
	if g := visit(); g.Fasttracked != 0 {
		t.Errorf("with guests accepted above: %+v", g)
	}
}

// RADIUS and CoA of the agent's place go by the configuration too: both reach the
// agent's real sockets, and neither does once a rule is in the way.
func TestRADIUSGoesByTheConfiguration(t *testing.T) {
	real := netip.MustParseAddrPort("127.0.0.1:4242")
	s := start(t, real, real, func(c *Config) { c.Fresh, c.Agent = true, agentPlace })
	if out, err := s.Paste("iwas", cafe); err != nil {
		t.Fatal(err, out)
	}
	for _, step := range []struct {
		command string
		reaches bool
	}{
		{":put start", true},
		{"/radius/set [find] address=10.99.0.3", false}, {"/radius/set [find] address=10.99.0.2", true},
		{"/radius/set [find] src-address=10.77.0.1", false}, {"/radius/set [find] src-address=10.99.0.1", true},
		{"/radius/set [find] authentication-port=1645", false}, {"/radius/set [find] authentication-port=1812", true},
		{"/ip/firewall/raw/add chain=prerouting action=drop protocol=udp src-address=10.99.0.2", false}, {"/ip/firewall/raw/remove [find]", true},
		{"/interface/vlan/disable vlan99-mgmt", false}, {"/interface/vlan/enable vlan99-mgmt", true},
	} {
		if out, err := s.Paste("iwas", step.command); err != nil {
			t.Fatal(err, out)
		}
		s.mu.Lock()
		e, ok := s.radiusEntry()
		s.mu.Unlock()
		if got := ok && e.auth == real; got != step.reaches {
			t.Errorf("after %s: RADIUS goes to %v, reaches the agent: want %v", step.command, e.auth, step.reaches)
		}
	}
	from := netip.MustParseAddr("127.0.0.1")
	for _, step := range []struct {
		command string
		taken   bool
	}{
		{":put start", true},
		{"/ip/firewall/filter/disable [find comment=agent]", false}, {"/ip/firewall/filter/enable [find comment=agent]", true},
		{"/radius/incoming/set accept=no", false}, {"/radius/incoming/set accept=yes", true}, {"/radius/disable [find]", false},
	} {
		if out, err := s.Paste("iwas", step.command); err != nil {
			t.Fatal(err, out)
		}
		s.mu.Lock()
		_, ok := s.coaSecret(from)
		s.mu.Unlock()
		if ok != step.taken {
			t.Errorf("after %s: a Disconnect-Request is taken: %v, want %v", step.command, ok, step.taken)
		}
	}
}
