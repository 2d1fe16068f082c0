package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/routersim"
	"iwas/internal/wire"
)

// granting is the whole service beside a simulated router, without a cloud.
type granting struct {
	t    *testing.T
	dir  string
	file string // the configuration
	sim  *routersim.Sim
	site *site
	stop func()
}

func openGranting(t *testing.T, more string) *granting {
	t.Helper()
	sim, err := routersim.Start(context.Background(), routersim.Config{Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	sim.SetKnobs(routersim.Knobs{Still: true})
	g := &granting{t: t, dir: t.TempDir(), sim: sim}
	g.file = filepath.Join(g.dir, "agent.toml")
	for name, text := range map[string]string{"secret": "s3cret\n", "password": "pw\n", "agent.toml": fmt.Sprintf(`version = 1
state_dir = "state"
control = "c.sock"
[radius]
auth = ["127.0.0.1:0"]
acct = ["127.0.0.1:0"]
[status]
listen = "127.0.0.1:0"
%s
[[nas]]
id = "cafe1"
address = "127.0.0.1"
secret_file = "secret"
[nas.router]
url = "api://%s"
user = "iwas"
password_file = "password"
`, more, sim.APIAddr())} {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.start()
	t.Cleanup(func() { g.stop() })
	return g
}

func (g *granting) start() {
	g.t.Helper()
	cfg, err := loadConfig(g.file, false)
	if err != nil {
		g.t.Fatal(err)
	}
	if g.site, err = newSite(cfg, slog.New(slog.DiscardHandler)); err != nil {
		g.t.Fatal(err)
	}
	g.site.poll = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.site.run(ctx) }()
	g.stop = func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			g.t.Error(err)
		}
		g.stop = func() {}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if code, _, _ := g.do("grant", "list"); code == exitDone {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatal("the service does not answer")
		}
	}
}

func (g *granting) do(args ...string) (code int, out, talk string) {
	var o, e bytes.Buffer
	code = run(g.t.Context(), append([]string{"--config", g.file}, args...), strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

// grants runs a command and reads its JSON.
func (g *granting) grants(args ...string) grantsAnswer {
	g.t.Helper()
	code, out, talk := g.do(append([]string{"--json", "grant"}, args...)...)
	var a grantsAnswer
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != exitDone {
		g.t.Fatalf("grant %v: exit code %d, %v, %s%s", args, code, err, out, talk)
	}
	return a
}

// listed are the addresses of a list on the router.
func (g *granting) listed(list string) []string {
	g.t.Helper()
	var out []string
	for _, menu := range []string{"ip/firewall/address-list", "ipv6/firewall/address-list"} {
		rows, _, err := g.sim.Command("iwas", menu, "print", nil, []string{"list=" + list})
		if err != nil {
			g.t.Fatal(err)
		}
		for _, r := range rows {
			out = append(out, r["address"])
		}
	}
	slices.Sort(out)
	return out
}

func (g *granting) becomes(what, list string, want ...string) {
	g.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !slices.Equal(g.listed(list), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("%s: the list holds %v, want %v; %+v", what, g.listed(list), want, g.site.enforcer.Health()[0].Lists)
		}
	}
}

// TestGrantsOnSiteWithoutACloud: a person grants, sees it in the list, and ends
// it; restarts of the service and of the router change nothing of it.
func TestGrantsOnSiteWithoutACloud(t *testing.T) {
	g := openGranting(t, "")
	made := g.grants("add", "staff", "203.0.113.7/32", "--for", "2h", "--comment", "the accountant")
	if len(made.Grants) != 1 || made.Grants[0].State != "in_list" || made.Grants[0].Address != "203.0.113.7" || !made.Grants[0].Here || made.Grants[0].LeftS < 7190 {
		t.Fatalf("got %+v, want the grant read back from the router", made)
	}
	g.grants("add", "staff", "2001:db8::/64", "--for", "1d")
	g.becomes("added", "staff", "2001:db8::/64", "203.0.113.7")
	code, out, _ := g.do("grant", "list")
	if code != exitDone || !strings.Contains(out, "the accountant") || !strings.Contains(out, "in the list since ") {
		t.Errorf("exit code %d, %s", code, out)
	}
	g.stop()
	g.start()
	if a := g.grants("list"); len(a.Grants) != 2 {
		t.Errorf("after a restart of the service: %+v", a)
	}
	g.sim.PowerCut(500 * time.Millisecond)
	g.becomes("after a restart of the router", "staff", "2001:db8::/64", "203.0.113.7")
	if a := g.grants("remove", "staff", "203.0.113.7"); a.Removed != 1 || len(a.Grants) != 1 {
		t.Errorf("removed: %+v", a)
	}
	g.becomes("removed", "staff", "2001:db8::/64")
	g.grants("remove", g.grants("list").Grants[0].ID)
	g.becomes("removed by id", "staff")
	for _, tc := range []struct {
		code int
		says string
		args []string
	}{
		{exitFailed, "no such grant", []string{"grant", "remove", "staff", "203.0.113.7"}},
		{exitFailed, "not an address", []string{"grant", "add", "staff", "nobody", "--for", "1h"}},
		{exitFailed, "every address", []string{"grant", "add", "staff", "0.0.0.0/0", "--for", "1h"}},
		{exitUsage, "--for or by --until", []string{"grant", "add", "staff", "203.0.113.7"}},
		{exitUsage, "--for or by --until", []string{"grant", "add", "staff", "203.0.113.7", "--for", "1h", "--until", "18:00"}},
		{exitUsage, "not a time", []string{"grant", "add", "staff", "203.0.113.7", "--until", "soon"}},
	} {
		if code, _, talk := g.do(tc.args...); code != tc.code || !strings.Contains(talk, tc.says) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", tc.args, code, talk, tc.code, tc.says)
		}
	}
}

// A grant is told to people whose router cannot be asked, and why.
func TestGrantsWaitForARouterThatIsAway(t *testing.T) {
	g := openGranting(t, "")
	g.sim.SetKnobs(routersim.Knobs{APIDown: true})
	begun := time.Now()
	made := g.grants("add", "staff", "203.0.113.7", "--for", "2h")
	if made.Grants[0].State != "waiting" || time.Since(begun) > 15*time.Second {
		t.Errorf("after %v: %+v, want it to wait for the router", time.Since(begun), made)
	}
	snap := g.site.snapshot(t.Context())
	if l := snap.Routers[0].Lists; l == nil || l.LateSince.IsZero() || l.Problem == "" {
		t.Errorf("got %+v, want it said that the lists are late", l)
	}
	g.sim.SetKnobs(routersim.Knobs{})
	g.becomes("the router is back", "staff", "203.0.113.7")
}

func TestEndsAreReadAsPeopleWriteThem(t *testing.T) {
	zone := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 28, 17, 30, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"18:00":                time.Date(2026, 11, 28, 18, 0, 0, 0, zone),
		"09:15":                time.Date(2026, 11, 29, 9, 15, 0, 0, zone),
		"2026-12-31":           time.Date(2027, 1, 1, 0, 0, 0, 0, zone),
		"2026-12-31 18:00":     time.Date(2026, 12, 31, 18, 0, 0, 0, zone),
		"2026-12-31T18:00:00Z": time.Date(2026, 12, 31, 18, 0, 0, 0, time.UTC),
		"tomorrow":             {}, "": {}, "25:00": {},
	} {
		if got, err := parseUntil(text, now); !got.Equal(want) || (err == nil) == want.IsZero() {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
}

// A document of a kind that this program does not know is kept, counted, and not
// in force: what an older agent does with a grant.
func TestDocumentsOfALaterCloudAreKept(t *testing.T) {
	b := newBench(t, 1, wire.LimitsBody{})
	d := b.doc("later", "x1", map[string]string{"list": "staff"})
	b.rev++
	b.apply(wire.State{From: b.rev - 1, Docs: []wire.Doc{d}})
	h, err := b.db.Standing(t.Context())
	if err != nil || h.Revision != b.rev || len(h.NotInForce) != 1 || h.NotInForce[0].ID != "x1" {
		t.Errorf("got %+v, %v, want the document held and not in force", h, err)
	}
}

// TestARouterFetchesItsLists: a router without an API is given its lists over
// HTTPS by the authority that the box made, and what it fetched is told.
func TestARouterFetchesItsLists(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	g := openGranting(t, fmt.Sprintf("[edl]\nlisten = \"127.0.0.1:%d\"\ninterval = \"10s\"\n", port))
	g.stop()
	text, err := os.ReadFile(g.file) // without an API
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(text), "[nas.router]")
	if err := os.WriteFile(g.file, []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start()
	made := g.grants("add", "staff", "203.0.113.7", "--for", "2h").Grants[0]
	if made.State != "waiting" {
		t.Errorf("got %+v, want it to wait: no router was there", made)
	}
	code, pem, talk := g.do("edl", "authority")
	roots := x509.NewCertPool()
	if code != exitDone || !roots.AppendCertsFromPEM([]byte(pem)) {
		t.Fatalf("authority: exit code %d, %s%s", code, pem, talk)
	}
	code, script, talk := g.do("edl", "script", "staff")
	_, key, _ := strings.Cut(script, "Bearer ")
	key, _, found := strings.Cut(key, `\"`)
	if code != exitDone || !found {
		t.Fatalf("script: exit code %d, %s%s", code, script, talk)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	fetch := func(key string) (int, string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/edl/staff.rsc", port), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+key)
			resp, err := client.Do(req)
			if err == nil {
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return resp.StatusCode, string(b)
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	if code, body := fetch(key); code != http.StatusOK || !strings.Contains(body, `add list="staff" address=203.0.113.7 timeout=1h59m`) {
		t.Errorf("got %d %s", code, body)
	}
	if a := g.grants("list"); a.Grants[0].State != "served" || a.Grants[0].Since == nil {
		t.Errorf("got %+v, want it said that the router has fetched it", a)
	}
	if code, _ := fetch("wrong"); code != http.StatusForbidden {
		t.Errorf("a wrong key: got %d", code)
	}
	open := func(at time.Time) []string {
		var codes []string
		for _, f := range g.site.edlFindings(at) {
			codes = append(codes, f.Code)
		}
		return codes
	}
	if got := open(time.Now()); !slices.Equal(got, []string{"RTR-132"}) {
		t.Errorf("got %v, want the wrong key said", got)
	}
	if got := open(time.Now().Add(6 * time.Minute)); !slices.Equal(got, []string{"RTR-134"}) {
		t.Errorf("six minutes later: got %v, want it said that the router is silent", got)
	}
	g.grants("remove", "staff", "203.0.113.7")
	if code, body := fetch(key); code != http.StatusOK || strings.Contains(body, "203.0.113.7") {
		t.Errorf("removed: got %d %s", code, body)
	}
}
