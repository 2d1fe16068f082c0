package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iwas/agent/radius"
	"iwas/agent/statuspage"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
)

// site of a router that is set up as it should be, and its configuration.
func checkedBox(t *testing.T) (box, *routersim.Sim) {
	t.Helper()
	auth, acct := netip.MustParseAddrPort("127.0.0.1:18121"), netip.MustParseAddrPort("127.0.0.1:18131")
	sim, err := routersim.Start(t.Context(), routersim.Config{Identity: "CAFE1", Password: "pw", APISSLListen: "127.0.0.1:0", RESTListen: "127.0.0.1:0",
		RADIUS: routersim.RADIUSConfig{Auth: auth, Acct: acct, Secret: "s3cret", Timeout: 2 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	sum := sha256.Sum256(sim.Certificate())
	b := newBox(t)
	for name, text := range map[string]string{"secret": "s3cret\n", "password": "pw\n", "agent.toml": fmt.Sprintf(`version = 1
state_dir = "state"
[radius]
auth = ["127.0.0.1:18121"]
acct = ["127.0.0.1:18131"]
[status]
listen = "127.0.0.1:1"
[[nas]]
id = "cafe1"
name = "Counter"
address = "127.0.0.1"
secret_file = "secret"
coa = "%s"
[nas.router]
url = "api-ssl://%s"
user = "iwas"
password_file = "password"
sha256 = "%s"
`, sim.CoAAddr(), sim.APISSLAddr(), hex.EncodeToString(sum[:]))} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sim.Give("ip/service", "api-ssl", "address", "127.0.0.1/32")
	return b, sim
}

func TestRouterCheckForPeopleAndPrograms(t *testing.T) {
	b, sim := checkedBox(t)
	code, out, talk := b.do("", "router", "check")
	if code != exitDone || talk != "" {
		t.Fatalf("a healthy router: exit %d\n%s\n%s", code, out, talk)
	}
	for _, want := range []string{"OK       port ", "RADIUS secret ", "matches: read back", "Disconnect-Request", "Everything asked is as it should be.", "26 ok, 0 warnings, 0 failed"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") || strings.Contains(out, "s3cret") || strings.Contains(out, "Next steps") {
		t.Errorf("colours where nobody looks, a secret, or steps where nothing is wrong:\n%s", out)
	}

	sim.Give("radius", "", "timeout", "300ms")
	if code, out, _ = b.do("", "router", "check", "cafe1"); code != exitDone || !strings.Contains(out, "WARN     its timeout is 300ms") || !strings.Contains(out, "0 failed") {
		t.Errorf("a warning: exit %d, want 0\n%s", code, out)
	}
	sim.Give("system/device-mode", "", "hotspot", "false")
	code, out, talk = b.do("", "router", "check")
	if code != exitFindings || !strings.Contains(talk, "1 of 26 rows failed") {
		t.Errorf("a failure: exit %d, want %d\n%s\n%s", code, exitFindings, out, talk)
	}
	for _, want := range []string{"FAIL     mode advanced: hotspot no", "HSP-220", "Next steps:\n1. Device-mode", "   paste  /system/device-mode/update hotspot=yes\n", "   help   iwas-agent explain HSP-220\n",
		"within five minutes press its button", "2. RADIUS entry", "   paste  /radius/set [find address=\"127.0.0.1\"] timeout=2s\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}

	code, out, _ = b.do("", "router", "check", "--json")
	var got struct {
		Version int
		Router  string
		State   string
		Rows    []struct{ Probe, State, Code, Seen, Next, Command string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitFindings || got.Version != 1 || got.Router != "cafe1" || got.State != "fail" || len(got.Rows) != 26 {
		t.Errorf("JSON: exit %d, %v\n%s", code, err, out)
	}
	if code, _, talk := b.do("", "router", "check", "another"); code != exitUsage || !strings.Contains(talk, "another") {
		t.Errorf("a router nobody knows: exit %d, %s", code, talk)
	}
	if err := os.Remove(filepath.Join(b.dir, "password")); err != nil {
		t.Fatal(err)
	}
	if code, _, talk := b.do("", "router", "check"); code != exitBadConfig || !strings.Contains(talk, "password") {
		t.Errorf("no password file: exit %d, %s", code, talk)
	}
}

// Over REST a call that is late is waited for: ended with us, it would mix up the
// answers to the service.
func TestTheCommandWaitsForLateCalls(t *testing.T) {
	t.Parallel()
	b, sim := checkedBox(t)
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	rest := strings.TrimSuffix(sim.RESTURL(), "/rest")
	if err := os.WriteFile(b.config, []byte(strings.Replace(string(text), "api-ssl://"+sim.APISSLAddr(), rest, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	sim.SetKnobs(routersim.Knobs{Stall: 6 * time.Second, StallAt: "radius"})
	begun := time.Now()
	_, out, talk := b.do("", "router", "check")
	if !strings.Contains(out, "RTR-116") || !strings.Contains(talk, "Waiting until the router has answered") || time.Since(begun) < 5*time.Second {
		t.Errorf("after %v:\n%s\n%s", time.Since(begun), out, talk)
	}
	if n := sim.Counters().Aborted; n != 0 {
		t.Errorf("%d REST calls were cut short", n)
	}
}

// Every code a check can print is explained without a network.
func TestEveryRowOfACheckIsExplained(t *testing.T) {
	b, sim := checkedBox(t)
	sim.Give("system/license", "", "level", "1")
	_, out, _ := b.do("", "router", "check")
	if !strings.Contains(out, "iwas-agent explain HSP-213") {
		t.Fatalf("no help named:\n%s", out)
	}
	if code, page, _ := b.do("", "explain", "HSP-213"); code != exitDone || !strings.Contains(page, "187 of 200") {
		t.Errorf("explain: exit %d\n%s", code, page)
	}
}

func TestTheStateIsAWordAndAColour(t *testing.T) {
	r := condition.CheckReport{Rows: []condition.CheckRow{{Title: "A", State: condition.Fail, Code: "RTR-101", Seen: "x", Next: "y."}, {Title: "Long title", State: condition.OK, Seen: "z"}}}
	r.Judge()
	var plain, coloured bytes.Buffer
	printCheck(&plain, r, false)
	printCheck(&coloured, r, true)
	if !strings.Contains(coloured.String(), "\x1b[1;31mFAIL") || strings.Contains(plain.String(), "\x1b") {
		t.Errorf("colours: %q and %q", coloured.String(), plain.String())
	}
	stripped := strings.NewReplacer("\x1b[1;31m", "", "\x1b[32m", "", "\x1b[0m", "").Replace(coloured.String())
	if stripped != plain.String() {
		t.Errorf("colours move the columns:\n%s\n%s", stripped, plain.String())
	}
	if !strings.Contains(plain.String(), "A           FAIL     x  RTR-101\nLong title  OK       z\n") {
		t.Errorf("the table is crooked:\n%s", plain.String())
	}
}

// The debug log is ended by the router; where it may not, by the command.
func TestDebugLogOfTheCommand(t *testing.T) {
	b, sim := checkedBox(t)
	rules := func() int {
		conn, err := routeros.Dial(t.Context(), routeros.Options{URL: "api://" + sim.APIAddr(), User: "iwas", Password: "pw"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		rows, err := conn.Run(t.Context(), "/system/logging/print", "?prefix=iwas-debug")
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	code, out, talk := b.do("", "router", "check", "--debug-log", "--json")
	var got struct {
		DebugLog struct {
			Until    time.Time
			ByItself bool `json:"ends_by_itself"`
		} `json:"debug_log"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitDone || !got.DebugLog.ByItself || rules() != 1 || !strings.Contains(talk, "stops by itself") {
		t.Fatalf("exit %d, %v, %d rules\n%s\n%s", code, err, rules(), out, talk)
	}
	if left := time.Until(got.DebugLog.Until); left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("it ends in %v, want in ten minutes", left)
	}
	sim.Give("system/device-mode", "", "scheduler", "false")
	ctx, interrupt := context.WithCancel(t.Context())
	var o, e bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"--config", b.config, "router", "check", "--debug-log"}, strings.NewReader(""), &o, &e)
	}()
	select {
	case code := <-ended:
		t.Fatalf("the command left the log on: exit %d\n%s", code, e.String())
	case <-time.After(2 * time.Second): // the check takes a fraction of this
	}
	if rules() != 1 {
		t.Error("no rule while the command stays")
	}
	interrupt() // Ctrl-C
	<-ended
	if rules() != 0 || !strings.Contains(e.String(), "Nothing on the router stops it") || !strings.Contains(e.String(), "The debug log is off.") {
		t.Errorf("%d rules left\n%s", rules(), e.String())
	}
}

// What the service heard of a router's packets, as its page tells it.
func TestHeardOf(t *testing.T) {
	now := time.Now()
	s := statuspage.Snapshot{At: now, Routers: []statuspage.Router{{NAS: "other"}, {NAS: "cafe1", ProvenAt: now.Add(-time.Minute), PreviousSecret: true}}, RADIUS: statuspage.RADIUS{Offenders: []statuspage.Offender{
		{Source: "192.168.88.1", NAS: "cafe1", Reason: "bad_authenticator", Meaning: "the shared secret is not the one", N: 7, Last: now},
		{Source: "192.168.88.1", NAS: "cafe1", Reason: "queue_full", N: 9, Last: now}, {Source: "192.168.88.9", NAS: "other", Reason: "bad_authenticator", N: 1, Last: now},
		{Source: "10.0.0.7", Reason: "unknown_nas", N: 1, Last: now.Add(-time.Minute)}, {Source: "10.0.0.8", Reason: "unknown_nas", N: 1, Last: now.Add(-time.Hour)}}}}
	got := heardOf(s, "cafe1")
	if !got.ProvenAt.Equal(now.Add(-time.Minute)) || !got.Previous || !strings.Contains(got.BadSecret, "7 packets from 192.168.88.1") || !got.BadSecretAt.Equal(now) ||
		len(got.Strangers) != 1 || got.Strangers[0] != netip.MustParseAddr("10.0.0.7") {
		t.Errorf("got %+v", got)
	}
}

// The page asks, the service checks: once at a time, and the report is kept.
func TestChecksOfTheService(t *testing.T) {
	b, sim := checkedBox(t)
	cfg, err := loadConfig(b.config, false)
	if err != nil {
		t.Fatal(err)
	}
	nases, err := cfg.nases()
	if err != nil {
		t.Fatal(err)
	}
	var rings atomic.Int64
	pace := new(routeros.Pace)
	c := (&checks{cfg: cfg, client: &radius.Client{NASes: nases}, pace: func(string) *routeros.Pace { return pace }, bell: func() { rings.Add(1) },
		heard: func(context.Context) (statuspage.Snapshot, error) {
			return statuspage.Snapshot{Routers: []statuspage.Router{{NAS: "cafe1", ProvenAt: time.Now()}}}, nil
		}}).init()
	if err := c.Start(statuspage.Asked{Router: "another"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a router nobody knows: got %v", err)
	}
	if _, ok := c.Last("cafe1"); ok {
		t.Error("a check before anybody asked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- c.Serve(ctx) }()
	for range 5 { // a person presses as often as they like
		if err := c.Start(statuspage.Asked{Router: "cafe1"}); err != nil {
			t.Fatal(err)
		}
	}
	report := func() *condition.CheckReport {
		for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if k, ok := c.Last("cafe1"); ok && !k.Running {
				if k.Problem != "" {
					t.Fatal(k.Problem)
				}
				return k.Report
			}
			if time.Now().After(deadline) {
				t.Fatal("the check does not end")
			}
		}
	}
	first := report()
	if first.State != condition.OK || rings.Load() < 20 {
		t.Errorf("got %s, and %d rings for the page", first.Verdict, rings.Load())
	}
	if n := sim.Counters().CoANAKs; n != 2 { // one check asks in both forms
		t.Errorf("the router refused %d Disconnect-Requests, want the 2 of one check", n)
	}
	for _, row := range first.Rows {
		if row.Probe == "radius-secret" && !strings.Contains(row.Seen, "proven") {
			t.Errorf("the secret: %s", row.Seen)
		}
	}
	sim.Give("radius", "", "timeout", "300ms")
	if err := c.Start(statuspage.Asked{Router: "cafe1"}); err != nil {
		t.Fatal(err)
	}
	if again := report(); again.State != condition.Warn || !again.At.After(first.At) {
		t.Errorf("again: got %s at %v", again.Verdict, again.At)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Without a service nobody has heard a packet; the check says so and goes on.
func TestAnOnlookerWithoutService(t *testing.T) {
	o := onlooker{snapshot: func(context.Context) (statuspage.Snapshot, error) {
		return statuspage.Snapshot{}, errors.New("does not run")
	}}
	if h, err := o.Heard(t.Context(), hotspot.NASID("cafe1")); err == nil || !h.ProvenAt.IsZero() {
		t.Errorf("got %+v, %v", h, err)
	}
}
