package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/agent/radius"
	"iwas/agent/statuspage"
	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
	"iwas/internal/secret"
	"iwas/internal/webui/webuitest"
	"iwas/internal/wire"
)

// watched is the whole program on a simulated router, seen as people see it: its
// page, its data, what the cloud is told, and `iwas-agent status`.
type watched struct {
	*bench
	sim  *routersim.Sim
	site *site
	url  string // of the status page
	file string // configuration that leads iwas-agent status there
}

// shape says how a watched site differs from one where all is well.
type shape struct {
	deaf   bool                 // no API is configured
	from   string               // source of the router's RADIUS packets
	secret string               // of /radius on the router
	setUp  func(*routersim.Sim) // before the program starts
	late   bool                 // conditions are past their delays
	alone  bool                 // no cloud, no account
}

// watchSite starts it. Users are user0 and user1, their password is "pw".
func watchSite(t *testing.T, sh shape) *watched {
	t.Helper()
	dir, err := os.MkdirTemp("", "iwas") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithCancel(context.Background())
	nowhere := netip.MustParseAddrPort("127.0.0.1:9") // until the program says where it listens
	cfg := routersim.Config{Password: "pw", RADIUS: routersim.RADIUSConfig{Auth: nowhere, Acct: nowhere, Secret: lockSecret, Timeout: 600 * time.Millisecond}}
	if sh.secret != "" {
		cfg.RADIUS.Secret = sh.secret
	}
	if sh.from != "" {
		cfg.NASIP = netip.MustParseAddr(sh.from)
	}
	sim, err := routersim.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); sim.Close() })
	sim.SetKnobs(routersim.Knobs{Still: true})
	w := &watched{sim: sim}
	if sh.setUp != nil {
		sh.setUp(sim)
	}
	lines := []string{"[radius]", `auth = ["127.0.0.1:0"]`, `acct = ["127.0.0.1:0"]`, "test_from_loopback = false", "[status]", `listen = "127.0.0.1:0"`,
		"[[nas]]", `id = "counter"`, `name = "Counter"`, `address = "127.0.0.1"`, `secret_file = "secret"`, fmt.Sprintf("coa = %q", sim.CoAAddr())}
	if !sh.deaf {
		lines = append(lines, "[nas.router]", fmt.Sprintf("url = %q", "api://"+sim.APIAddr()), `user = "iwas"`, `password_file = "password"`)
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("secret", lockSecret)
	write("password", "pw")
	head := "version = 1\nstate_dir = \"state\"\ncontrol = \"c.sock\"\n"
	parsed, err := loadConfig(write("agent.toml", head+strings.Join(lines, "\n")), false)
	if err != nil {
		t.Fatal(err)
	}
	w.site, err = newSite(parsed, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.site.poll = 300 * time.Millisecond
	bound := make(chan string, 1)
	w.site.page.Bound = func(addr string) { bound <- addr }
	if sh.late {
		w.site.page.Board = &condition.Board{Now: func() time.Time { return time.Now().Add(-time.Hour) }}
	}
	done := make(chan error, 1)
	go func() { done <- w.site.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	select {
	case addr := <-bound:
		w.url = "http://" + addr
		w.file = write("status.toml", head+fmt.Sprintf("[status]\nlisten = %q\n", addr))
	case err := <-done:
		done <- err
		t.Fatalf("it did not start: %v", err)
	}
	<-w.site.radius.Ready()
	w.bench = &bench{t: t, db: w.site.db, server: w.site.radius, rev: 1}
	if !sh.alone {
		w.fill(filepath.Join(parsed.StateDir, "identity", "seal.key"))
	}
	w.radiusTo(cfg.RADIUS.Secret)
	return w
}

// fill brings the site's document and two users with a pass each.
func (w *watched) fill(keyFile string) {
	w.t.Helper()
	key, err := secret.LoadKey(keyFile)
	if err != nil {
		w.t.Fatal(err)
	}
	sealed, err := key.Public().Seal("pw")
	if err != nil {
		w.t.Fatal(err)
	}
	docs := []wire.Doc{w.doc(wire.DocSite, "site1", wire.SiteDoc{Name: "Blue Cup", TimeZone: "Asia/Kathmandu"})}
	for i := range 2 {
		docs = append(docs, w.doc(wire.DocAccount, fmt.Sprintf("a%d", i), wire.AccountDoc{Kind: hotspot.User, Username: fmt.Sprintf("user%d", i), Password: sealed}),
			w.doc(wire.DocPass, fmt.Sprintf("p%d", i), wire.PassDoc{Account: hotspot.AccountID(fmt.Sprintf("a%d", i)), Limits: wire.LimitsBody{Devices: 3}}))
	}
	w.apply(wire.State{Snapshot: "s1", Part: 1, Parts: 1, Docs: docs})
}

// radiusTo tells the router where RADIUS listens, and the secret, as a
// technician would.
func (w *watched) radiusTo(secret string) {
	w.t.Helper()
	port := func(a fmt.Stringer) string { return a.String()[strings.LastIndex(a.String(), ":")+1:] }
	w.command("/radius/set", "=.id="+w.command("/radius/print")[0][".id"], "=secret="+secret,
		"=authentication-port="+port(w.server.AuthAddr()), "=accounting-port="+port(w.server.AcctAddr()))
}

func (w *watched) command(words ...string) []routeros.Row {
	w.t.Helper()
	return commandOn(w.t, w.sim, words...)
}

func commandOn(t testing.TB, sim *routersim.Sim, words ...string) []routeros.Row {
	t.Helper()
	conn, err := routeros.Dial(context.Background(), routeros.Options{URL: "api://" + sim.APIAddr(), User: "iwas", Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rows, err := conn.Run(context.Background(), words...)
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return rows
}

// login brings a phone online as a user.
func (w *watched) login(mac, user string) error {
	w.t.Helper()
	if _, err := w.sim.Arrive(mac, ""); err != nil {
		w.t.Fatal(err)
	}
	return w.sim.Login(mac, routersim.Login{Method: "http-chap", Username: user, Password: "pw"})
}

// online is login of a phone that must get in, and of which the site must know.
func (w *watched) online(mac, user string) {
	w.t.Helper()
	if err := w.login(mac, user); err != nil {
		w.t.Fatal(err)
	}
	w.await("the session of "+user+" is known", func() string {
		for _, s := range w.report().Sessions {
			if s.Username == user && s.State == hotspot.Live {
				return ""
			}
		}
		return "no such session"
	})
}

func (w *watched) knobs(change func(*routersim.Knobs)) {
	k := w.sim.Knobs()
	change(&k)
	w.sim.SetKnobs(k)
}

func (w *watched) get(path string) string {
	w.t.Helper()
	resp, err := http.Get(w.url + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *watched) report() statuspage.Report {
	w.t.Helper()
	var r statuspage.Report
	if err := json.Unmarshal([]byte(w.get("/status.json")), &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// await waits until missing returns "", and fails with what it says last.
func (w *watched) await(what string, missing func() string) {
	w.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		last := missing()
		if last == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not after 40 s: %s", what, last)
		}
	}
}

// shows waits until page, data, hello and command all name the code, its next
// step, and the texts besides.
func (w *watched) shows(code string, texts ...string) {
	w.t.Helper()
	c, ok := condition.Lookup(code)
	if !ok {
		w.t.Fatalf("%s is not in the catalogue", code)
	}
	w.await(code+" is shown", func() string {
		for where, said := range w.said(code) {
			for _, want := range append([]string{code, strings.TrimSuffix(c.Next, ".")}, texts...) {
				if !strings.Contains(strings.ToLower(said), strings.ToLower(want)) {
					return fmt.Sprintf("%s does not say %q: %q", where, want, said)
				}
			}
		}
		return ""
	})
	for _, h := range w.site.conditions() {
		if h.Code == code && (h.Severity != string(c.Severity) || h.Since.IsZero() || len(h.Text) > 200) {
			w.t.Errorf("the hello has %+v, want severity %s, a time, and 200 octets at most", h, c.Severity)
		}
	}
}

// gone waits until nobody names the code any more.
func (w *watched) gone(code string) {
	w.t.Helper()
	w.await(code+" is gone", func() string {
		for where, said := range w.said(code) {
			if said != "" {
				return where + " still says: " + said
			}
		}
		return ""
	})
}

// said is what page, data, hello and command say of a code; "" is nothing.
func (w *watched) said(code string) map[string]string {
	w.t.Helper()
	said := map[string]string{"data": "", "hello": "", "page": "", "command": ""}
	for _, o := range w.report().Conditions {
		if o.Code == code {
			said["data"] = strings.Join([]string{o.Code, o.Title, o.Text, o.Next, o.Help}, " ")
		}
	}
	for _, h := range w.site.conditions() {
		if h.Code == code {
			said["hello"] = h.Code + " " + h.Text
		}
	}
	page := html.UnescapeString(w.get("/"))
	_, alerts, _ := strings.Cut(page, `id="alerts"`)
	alerts, _, _ = strings.Cut(alerts, "</section>")
	if strings.Contains(alerts, code) {
		said["page"] = alerts
	}
	_, out, _ := w.status()
	if _, wrong, ok := strings.Cut(out, "What is wrong"); ok {
		if wrong, _, _ = strings.Cut(wrong, "\n\n"); strings.Contains(wrong, code) {
			said["command"] = wrong
		}
	}
	return said
}

// status is what `iwas-agent status` does.
func (w *watched) status(args ...string) (code int, out, talk string) {
	var o, e bytes.Buffer
	code = run(context.Background(), append([]string{"--config", w.file, "status"}, args...), strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// row waits until the lock of a user is in the state wanted, and returns it.
func (w *watched) row(user string, want func(statuspage.Lock) bool) statuspage.Lock {
	w.t.Helper()
	var row statuspage.Lock
	w.await("the lock of "+user, func() string {
		for _, l := range w.report().Locks {
			if row = l; l.Username == user && want(l) {
				return ""
			}
		}
		return fmt.Sprintf("%+v", row)
	})
	return row
}

const phone = "02:00:00:00:00:01"

// What leads every guest past the HotSpot is on the page as soon as it is seen,
// a locked guest's row names it, and it goes when the technician mends it.
func TestAWayRoundIsShownUntilItIsClosed(t *testing.T) {
	t.Parallel()
	ways := []struct {
		code        string
		open, close func(testing.TB, *routersim.Sim)
	}{
		{"HSP-201", run1("/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection", "=connection-state=established,related"), removeAll("/ip/firewall/filter")},
		{"HSP-202", run1("/ipv6/address/add", "=address=2001:db8::1/64", "=interface=vlan20-guest"), removeAll("/ipv6/address")},
		{"HSP-204", loginBy("http-chap,trial"), loginBy("http-chap")},
		{"HSP-208", run1("/ip/hotspot/walled-garden/ip/add", "=action=accept"), removeAll("/ip/hotspot/walled-garden/ip")},
	}
	w := watchSite(t, shape{setUp: func(s *routersim.Sim) {
		for _, way := range ways {
			way.open(t, s)
		}
	}})
	named := map[string]bool{}
	for _, way := range ways {
		w.shows(way.code, "Counter: ")
		named[way.code] = true
	}
	w.lock("a0")
	row := w.row("user0", func(l statuspage.Lock) bool { return l.Outcome == hotspot.OutcomeLeaks })
	if c, _ := condition.Lookup(row.Code); !named[row.Code] || row.Problem != c.Title {
		t.Errorf("the lock's row: got %+v, want it to name a way round", row)
	}
	for _, way := range ways {
		way.close(t, w.sim)
	}
	time.Sleep(1100 * time.Millisecond) // what was seen before is too old for the next lock
	w.lock("a1")                        // which has the ways round looked for at once
	for _, way := range ways {
		w.gone(way.code)
	}
	// The lock is proven anew once nothing leads past it.
	w.row("user0", func(l statuspage.Lock) bool {
		return l.Outcome == hotspot.OutcomeEnforced && l.Code == "" && !l.EndedAt.Before(l.ReceivedAt)
	})
}

func run1(words ...string) func(testing.TB, *routersim.Sim) {
	return func(t testing.TB, s *routersim.Sim) { commandOn(t, s, words...) }
}

func removeAll(menu string) func(testing.TB, *routersim.Sim) {
	return func(t testing.TB, s *routersim.Sim) {
		for _, r := range commandOn(t, s, menu+"/print") {
			commandOn(t, s, menu+"/remove", "=.id="+r[".id"])
		}
	}
}

func loginBy(methods string) func(testing.TB, *routersim.Sim) {
	return func(t testing.TB, s *routersim.Sim) {
		commandOn(t, s, "/ip/hotspot/profile/set", "=.id="+commandOn(t, s, "/ip/hotspot/profile/print")[0][".id"], "=login-by="+methods)
	}
}

// What is open to one locked guest is nobody's matter before the lock, and is
// looked after while the lock is in force, whenever it comes and goes.
func TestAWayRoundByNameIsShownWhileTheGuestIsLocked(t *testing.T) {
	t.Parallel()
	w := watchSite(t, shape{})
	w.online(phone, "user0")
	if err := w.sim.Logout(phone); err != nil {
		t.Fatal(err)
	}
	w.lock("a1") // somebody else
	w.row("user1", func(l statuspage.Lock) bool { return l.Outcome.Final() })
	set := func() {
		w.command("/ip/hotspot/user/add", "=name=user0", "=password=x")
		w.command("/ip/hotspot/ip-binding/add", "=mac-address="+phone, "=type=bypassed")
	}
	set()
	time.Sleep(2 * time.Second) // longer than between two looks
	for _, code := range []string{"HSP-205", "HSP-203"} {
		for where, said := range w.said(code) {
			if said != "" {
				t.Errorf("before user0 is locked the %s says %q", where, said)
			}
		}
	}
	d := w.lock("a0")
	w.shows("HSP-205", "Counter: ", `"user0"`)
	w.shows("HSP-203", "Counter: ", "user0")
	if row := w.row("user0", func(l statuspage.Lock) bool { return l.Outcome == hotspot.OutcomeLeaks }); row.Code != "HSP-205" {
		t.Errorf("the lock's row: got %+v, want HSP-205", row)
	}
	removeAll("/ip/hotspot/user")(t, w.sim)
	removeAll("/ip/hotspot/ip-binding")(t, w.sim)
	w.gone("HSP-205")
	w.gone("HSP-203")
	set() // after the lock's own attempt is long over
	w.shows("HSP-205")
	w.unlock(d)
	w.gone("HSP-205")
}

// A lock that the router does not carry out waits in plain sight: as a condition
// with the guest's name, and as a row with its tries.
func TestALockThatIsStuckIsShown(t *testing.T) {
	stuck := func(l statuspage.Lock) bool { return !l.Outcome.Final() && l.Tries > 1 && l.Problem != "" }
	for _, tc := range []struct {
		name, code string
		shape
		worse, better func(*routersim.Knobs)
		after         hotspot.Outcome
		lost          bool // the guest leaves, and the site does not hear of it
	}{
		{"a router without API that is silent", "RAD-104", shape{deaf: true},
			func(k *routersim.Knobs) { k.CoASilent = true }, func(k *routersim.Knobs) { k.CoASilent = false }, hotspot.OutcomeUnproven, false},
		{"a router without API that refuses", "RAD-105", shape{deaf: true},
			func(k *routersim.Knobs) { k.NAKCause, k.DropRequests = 501, 1 }, func(k *routersim.Knobs) { k.NAKCause = 503 }, hotspot.OutcomePending, true}, // no Stop will ever come
		{"a router without API that acknowledges and ignores", "RAD-114", shape{deaf: true},
			func(k *routersim.Knobs) { k.CoAIgnore = true }, func(k *routersim.Knobs) { k.CoAIgnore = false }, hotspot.OutcomeUnproven, false},
		{"a router that lets the guest out all the same", "HSP-206", shape{},
			func(k *routersim.Knobs) { k.Leaky = true }, func(k *routersim.Knobs) { k.Leaky = false }, hotspot.OutcomeEnforced, false},
		{"a router whose API is off", "RTR-102", shape{late: true},
			func(k *routersim.Knobs) { k.APIDown = true }, func(k *routersim.Knobs) { k.APIDown = false }, hotspot.OutcomeEnforced, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := watchSite(t, tc.shape)
			w.online(phone, "user0")
			if _, err := w.sim.Use(phone, 1000, 1000, 2); err != nil {
				t.Fatal(err)
			}
			w.knobs(tc.worse)
			if tc.lost {
				if err := w.sim.Logout(phone); err != nil {
					t.Fatal(err)
				}
			}
			w.lock("a0")
			w.shows(tc.code, "Counter: ", "the lock of user0 is not proven")
			if tc.code == "RAD-104" {
				w.shows(tc.code, "it did not answer the last Disconnect-Request") // said of the router itself too
			}
			row := w.row("user0", stuck)
			if row.Code != tc.code || row.AskedAt.IsZero() && row.ReceivedAt.IsZero() {
				t.Errorf("the lock's row: got %+v, want %s and its times", row, tc.code)
			}
			if page := w.get("/"); !strings.Contains(page, fmt.Sprintf("Failed %d times: ", row.Tries)) && !strings.Contains(page, fmt.Sprintf("Failed %d times: ", row.Tries+1)) {
				t.Errorf("the page does not say how often it was tried (%d times)", row.Tries)
			}
			if code, out, _ := w.status(); code != exitDone || !strings.Contains(out, "Not proven off yet:\n  user0, lock received ") || !strings.Contains(out, " times, the last time: ") || !strings.Contains(out, "("+tc.code+")") {
				t.Errorf("iwas-agent status: exit code %d,\n%s", code, out)
			}
			w.knobs(tc.better)
			w.gone(tc.code)
			if tc.after == hotspot.OutcomePending {
				w.shows("RAD-114", "user0")
				return
			}
			if row := w.row("user0", func(l statuspage.Lock) bool { return l.Outcome.Final() }); row.Outcome != tc.after || row.Problem != "" {
				t.Errorf("the lock's row after that: got %+v, want %s", row, tc.after)
			}
			if _, out, _ := w.status(); strings.Contains(out, "Not proven off yet") {
				t.Errorf("iwas-agent status still has somebody waiting:\n%s", out)
			}
		})
	}
}

// RADIUS meets a wrong secret and a stranger with silence; people must hear of it.
func TestRADIUSThatIsMetWithSilenceIsShown(t *testing.T) {
	t.Run("a wrong secret", func(t *testing.T) {
		t.Parallel()
		w := watchSite(t, shape{secret: "another"})
		if err := w.login(phone, "user0"); err == nil {
			t.Fatal("a router with another secret let a guest in")
		}
		w.shows("RAD-103", "127.0.0.1")
		code, out, talk := w.status()
		if code != exitFindings || !strings.HasPrefix(out, "Guests cannot log in: ") || !strings.Contains(out, "\nNext: ") || !strings.Contains(talk, "guests cannot log in") {
			t.Errorf("iwas-agent status: exit code %d, %q, %q; want %d", code, out, talk, exitFindings)
		}
		if code, out, _ := w.status("--json"); code != exitFindings || !json.Valid([]byte(out)) {
			t.Errorf("iwas-agent status --json: exit code %d, want %d and JSON", code, exitFindings)
		}
		w.radiusTo(lockSecret)
		if err := w.login(phone, "user0"); err != nil {
			t.Fatal(err)
		}
		w.gone("RAD-103")
		if code, out, _ := w.status(); code != exitDone || !strings.HasPrefix(out, "Guests can log in.\n") {
			t.Errorf("iwas-agent status after that: exit code %d, %q", code, out)
		}
	})
	t.Run("an unknown router", func(t *testing.T) {
		t.Parallel()
		w := watchSite(t, shape{from: "127.0.0.9"})
		if err := w.login(phone, "user0"); err == nil {
			t.Fatal("an unknown router let a guest in")
		}
		w.shows("RAD-102", "127.0.0.9")
		if code, out, _ := w.status(); code != exitFindings || !strings.HasPrefix(out, "Guests cannot log in: RADIUS comes from") {
			t.Errorf("iwas-agent status: exit code %d, %q; want %d", code, out, exitFindings)
		}
	})
}

// The page of a bad day, made by the whole program: it must be legible.
func TestThePageOfABadDayIsLegible(t *testing.T) {
	t.Parallel()
	w := watchSite(t, shape{late: true, setUp: func(s *routersim.Sim) {
		commandOn(t, s, "/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection", "=connection-state=established,related")
		commandOn(t, s, "/ipv6/address/add", "=address=2001:db8:1234:5678:9abc:def0:1:1/64", "=interface=vlan20-guest")
		commandOn(t, s, "/ip/hotspot/user/add", "=name=user1", "=password=x")
		loginBy("http-chap,trial")(t, s)
	}})
	w.online(phone, "user0")
	if _, err := w.sim.Use(phone, 1_000_000, 50_000_000, 2); err != nil {
		t.Fatal(err)
	}
	w.knobs(func(k *routersim.Knobs) { k.Leaky = true })
	w.lock("a1")
	w.row("user1", func(l statuspage.Lock) bool { return l.Outcome == hotspot.OutcomeLeaks })
	w.lock("a0")
	w.row("user0", func(l statuspage.Lock) bool { return l.Tries > 1 })
	for _, code := range []string{"HSP-201", "HSP-202", "HSP-204", "HSP-205", "HSP-206"} {
		w.shows(code)
	}
	tab := webuitest.Start(t).Open(t, w.url, nil)
	defer tab.Close()
	tab.Visit(t, "/")
	for _, v := range webuitest.Views {
		tab.Inspect(t, "bad-day", v)
	}
	code, out, _ := w.status()
	t.Logf("iwas-agent status: exit code %d\n%s", code, out)
}

func TestTimesAreTheSites(t *testing.T) {
	t.Parallel()
	w := watchSite(t, shape{})
	zone, err := time.LoadLocation("Asia/Kathmandu")
	if err != nil {
		t.Fatal(err)
	}
	w.lock("a0")
	row := w.row("user0", func(l statuspage.Lock) bool { return l.Outcome.Final() })
	page := w.get("/")
	if r := w.report(); r.TimeZone != "Asia/Kathmandu" {
		t.Errorf("status.json says zone %q", r.TimeZone)
	}
	for _, want := range []string{"Times are in Asia/Kathmandu", ">" + row.ReceivedAt.In(zone).Format("15:04:05") + "</time>", row.ReceivedAt.In(zone).Format("15:04:05") + " +0545 ("} {
		if !strings.Contains(html.UnescapeString(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if help := w.get("/help/RAD-104"); !strings.Contains(help, "Times are in Asia/Kathmandu") {
		t.Error("a page of help is in another zone")
	}
}

func TestSocketsAreSummedUp(t *testing.T) {
	at := time.Now()
	for _, tc := range []struct {
		sockets []radius.SocketStats
		want    statuspage.RADIUS
	}{
		{nil, statuspage.RADIUS{}},
		{[]radius.SocketStats{{Lost: 3, LostKnown: true, Buffer: 900, LostAt: at}, {LostKnown: true, Buffer: 400}, {LostKnown: true, Buffer: 800}}, statuspage.RADIUS{Lost: 3, LostAt: at, LostKnown: true, Buffer: 400}},
		{[]radius.SocketStats{{LostKnown: false}, {LostKnown: true, Buffer: 800}}, statuspage.RADIUS{Buffer: 800}},
		{[]radius.SocketStats{{LostKnown: true, Buffer: 800}, {LostKnown: false}}, statuspage.RADIUS{Buffer: 800}},
	} {
		var got statuspage.RADIUS
		socketFacts(tc.sockets, &got)
		if got.Lost != tc.want.Lost || got.LostKnown != tc.want.LostKnown || got.Buffer != tc.want.Buffer || !got.LostAt.Equal(tc.want.LostAt) {
			t.Errorf("%+v: got %+v, want %+v", tc.sockets, got, tc.want)
		}
	}
}
