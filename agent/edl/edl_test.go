package edl

import (
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
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routersim"
)

const key = "0123456789abcdef0123456789abcdef"

// wanted is a Source of tests.
type wanted struct {
	mu      sync.Mutex
	entries []hotspot.ListEntry
	err     error
	served  []hotspot.GrantID
}

func (w *wanted) WantedLists(context.Context) (hotspot.WantedLists, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return hotspot.WantedLists{Entries: slices.Clone(w.entries)}, w.err
}

func (w *wanted) set(entries ...hotspot.ListEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries = entries
}

// fail has the store not be read.
func (w *wanted) fail(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err = nil; on {
		w.err = errors.New("disk I/O error")
	}
}

func granted(list, address string, left time.Duration) hotspot.ListEntry {
	p, err := hotspot.ParseListAddress(address)
	if err != nil {
		panic(err)
	}
	return hotspot.ListEntry{List: list, Address: p, Left: left, Grants: []hotspot.GrantID{hotspot.GrantID("g " + address)}, Comment: "why"}
}

// door is a running server, and a client with its authority.
type door struct {
	t     *testing.T
	s     *Server
	w     *wanted
	url   string
	roots *x509.CertPool
	pem   []byte // of the authority
	log   *lines
}

// lines counts what is logged.
type lines struct {
	slog.Handler
	mu sync.Mutex
	n  int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) Handle(context.Context, slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return nil
}

func openDoor(t *testing.T, change func(*Server)) *door {
	t.Helper()
	a, err := LoadAuthority(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d := &door{t: t, w: &wanted{}, roots: x509.NewCertPool(), pem: a.PEM, log: &lines{}}
	d.roots.AppendCertsFromPEM(a.PEM)
	bound := make(chan string, 1)
	d.s = &Server{Listen: "127.0.0.1:0", TLS: a.TLS([]string{"127.0.0.1"}, time.Now), Key: key, Source: d.w, Interval: time.Minute, Bound: func(addr string) { bound <- addr }, Log: slog.New(d.log),
		Routers: []Router{{NAS: "nas1", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}},
		Served: func(_ context.Context, _ hotspot.NASID, ids []hotspot.GrantID) error {
			d.w.mu.Lock()
			defer d.w.mu.Unlock()
			d.w.served = append(d.w.served, ids...)
			return nil
		}}
	if change != nil {
		change(d.s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.s.Serve(ctx) }()
	d.url = "https://" + <-bound
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return d
}

// get asks from an address of this machine.
func (d *door) get(from, path string, header map[string]string) (*http.Response, string, error) {
	dial := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	tr := &http.Transport{DialContext: dial.DialContext, TLSClientConfig: &tls.Config{RootCAs: d.roots}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.url+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func (d *door) ask(path string) (int, string, string) {
	d.t.Helper()
	resp, body, err := d.get("127.0.0.1", path, map[string]string{"Authorization": "Bearer " + key})
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, body, resp.Header.Get("ETag")
}

func TestALookAtAListInEveryForm(t *testing.T) {
	d := openDoor(t, nil)
	d.w.set(granted("staff", "203.0.113.7", time.Hour), granted("staff", "2001:db8::/64", 2*time.Hour), granted("other", "203.0.113.9", time.Hour),
		granted("staff", "203.0.113.8", time.Millisecond),
		hotspot.ListEntry{List: "staff", Address: netip.MustParsePrefix("10.20.0.7/32"), NAS: "nas1", Account: "a"},
		hotspot.ListEntry{List: "staff", Address: netip.MustParsePrefix("10.20.0.8/32"), NAS: "nas2", Account: "b"})
	code, text, _ := d.ask("/edl/staff.txt")
	if want := "203.0.113.7\n2001:db8::/64\n10.20.0.7\n"; code != 200 || text != want {
		t.Errorf("got %d %q, want %q", code, text, want)
	}
	code, text, _ = d.ask("/edl/staff.json")
	var j struct {
		List    string
		Entries []struct {
			Address string
			Timeout int64 `json:"timeout_s"`
		}
	}
	if err := json.Unmarshal([]byte(text), &j); err != nil || code != 200 || j.List != "staff" || len(j.Entries) != 3 || j.Entries[0].Timeout != 3600 || j.Entries[2].Timeout != 180 {
		t.Errorf("got %d %s, %v", code, text, err)
	}
	if code, text, _ := d.ask("/edl/nobody.txt"); code != 200 || text != "" {
		t.Errorf("an empty list: got %d %q", code, text)
	}
	for _, path := range []string{"/", "/edl/", "/edl/staff", "/edl/staff.xml", "/edl/a%22b.txt", "/edl/../staff.txt", "/edl/.txt"} {
		if code, text, _ := d.ask(path); code != http.StatusNotFound {
			t.Errorf("%s: got %d %q, want 404", path, code, text)
		}
	}
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if !slices.Contains(d.w.served, "g 203.0.113.7") || slices.Contains(d.w.served, "g 203.0.113.9") {
		t.Errorf("told as fetched: %v", d.w.served)
	}
}

// Never an empty list where the lists cannot be read: it would take everybody out.
func TestAStoreThatFailsGivesNoList(t *testing.T) {
	d := openDoor(t, nil)
	d.w.err = errors.New("disk")
	if code, text, _ := d.ask("/edl/staff.rsc"); code != http.StatusServiceUnavailable || strings.Contains(text, "remove") {
		t.Errorf("got %d %q, want 503", code, text)
	}
}

func TestOnlyTheRouterWithItsKeyIsGivenAList(t *testing.T) {
	d := openDoor(t, nil)
	d.w.set(granted("staff", "203.0.113.7", time.Hour))
	for name, header := range map[string]map[string]string{
		"no key":         nil,
		"a wrong key":    {"Authorization": "Bearer " + strings.Repeat("x", 32)},
		"a part of it":   {"Authorization": "Bearer " + key[:31]},
		"another scheme": {"Authorization": "Basic " + key},
		"no scheme":      {"Authorization": key},
	} {
		resp, body, err := d.get("127.0.0.1", "/edl/staff.txt", header)
		if err != nil || resp.StatusCode != http.StatusForbidden || strings.Contains(body, "203.0.113") {
			t.Errorf("%s: got %v, %q, %v, want 403", name, resp, body, err)
		}
	}
	for range 3 { // right key, wrong address: not a word, not even of TLS
		if resp, _, err := d.get("127.0.0.2", "/edl/staff.txt", map[string]string{"Authorization": "Bearer " + key}); err == nil {
			t.Errorf("a stranger: got %v, want silence", resp)
		}
	}
	st := d.s.Stats()
	if st.WrongKey.N != 5 || st.WrongKey.From != netip.MustParseAddr("127.0.0.1") || st.Strangers.N < 3 || st.Strangers.From != netip.MustParseAddr("127.0.0.2") || st.Served != 0 {
		t.Errorf("got %+v", st)
	}
	d.log.mu.Lock()
	defer d.log.mu.Unlock()
	if d.log.n != 2 {
		t.Errorf("%d lines were logged, want one of each kind a minute", d.log.n)
	}
}

func TestAListThatIsUnchangedIsNotSentAgain(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	d := openDoor(t, func(s *Server) {
		s.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	d.w.set(granted("staff", "203.0.113.7", time.Hour))
	again := func(path, tag string) (int, string) {
		t.Helper()
		resp, body, err := d.get("127.0.0.1", path, map[string]string{"Authorization": "Bearer " + key, "If-None-Match": `"x", W/` + tag})
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	_, _, text := d.ask("/edl/staff.txt")
	_, _, script := d.ask("/edl/staff.rsc")
	if text == "" || text == script {
		t.Errorf("tags %q and %q, want one for each form", text, script)
	}
	for path, tag := range map[string]string{"/edl/staff.txt": text, "/edl/staff.rsc": script} {
		if code, body := again(path, tag); code != http.StatusNotModified || body != "" {
			t.Errorf("%s: got %d %q, want 304", path, code, body)
		}
	}
	// An interval later entries on the router need their timeouts anew.
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	if code, _ := again("/edl/staff.txt", text); code != http.StatusNotModified {
		t.Errorf("addresses alone: got %d, want 304", code)
	}
	if code, _ := again("/edl/staff.rsc", script); code != http.StatusOK {
		t.Errorf("the script: got %d, want it anew", code)
	}
	d.w.set(granted("staff", "203.0.113.8", time.Hour))
	if code, body := again("/edl/staff.txt", text); code != http.StatusOK || body != "203.0.113.8\n" {
		t.Errorf("changed: got %d %q", code, body)
	}
}

// importer has the simulated router import our scripts.
type importer struct {
	t   *testing.T
	sim *routersim.Sim
}

func (m *importer) run(script string) {
	m.t.Helper()
	_, _, _ = m.sim.Command("iwas", "file", "remove", map[string]string{".id": "lists.rsc"}, nil) // none at first
	if _, _, err := m.sim.Command("iwas", "file", "add", map[string]string{"name": "lists.rsc", "contents": script}, nil); err != nil {
		m.t.Fatal(err)
	}
	if _, _, err := m.sim.Command("iwas", "", "import", map[string]string{"file-name": "lists.rsc"}, nil); err != nil {
		m.t.Errorf("%v\n%s", err, script)
	}
}

// state lists the entries with what is left in whole minutes.
func (m *importer) state() []string {
	m.t.Helper()
	var out []string
	for _, menu := range []string{"ip/firewall/address-list", "ipv6/firewall/address-list"} {
		rows, _, err := m.sim.Command("iwas", menu, "print", nil, nil)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, r := range rows {
			tag, _, _ := strings.Cut(r["comment"]+" ", " ")
			out = append(out, fmt.Sprintf("%s %s %s", r["list"], r["address"], tag))
		}
	}
	slices.Sort(out)
	return out
}

// What a router imports brings its list to ours: entries come, are refreshed,
// and go; those of others stay; a file cut short takes nothing out.
func TestARouterImportsTheScript(t *testing.T) {
	sim, err := routersim.Start(t.Context(), routersim.Config{Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	m := &importer{t, sim}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	w := &wanted{}
	for _, failing := range []Failing{Keep, Expire} {
		s := &Server{Interval: time.Minute, Failing: failing, Now: func() time.Time { return now }}
		fetch := func() string {
			now = now.Add(time.Minute)
			all, _ := w.WantedLists(t.Context())
			return string(writeScript(s.page("staff", "nas1", all.Entries)))
		}
		for _, e := range []map[string]string{{"list": "staff", "address": "203.0.113.1", "comment": "by hand"}, {"list": "staff", "address": "203.0.113.7"}, {"list": "other", "address": "203.0.113.2", "comment": "IWAS list 1"}} {
			_, _, _ = sim.Command("iwas", "ip/firewall/address-list", "add", e, nil) // there already in the second round
		}
		w.set(granted("staff", "203.0.113.7", time.Hour), granted("staff", "203.0.113.8", time.Hour), granted("staff", "2001:db8::7", time.Hour))
		m.run(fetch())
		foreign := []string{"other 203.0.113.2 IWAS", "staff 203.0.113.1 by", "staff 203.0.113.7 "}
		sorted := func(more ...string) []string { return slices.Sorted(slices.Values(slices.Concat(foreign, more))) }
		want := sorted("staff 203.0.113.8 IWAS", "staff 2001:db8::7/128 IWAS")
		if got := m.state(); !slices.Equal(got, want) {
			t.Errorf("%s: imported: %q, want %q", failing, got, want)
		}
		rows, _, err := sim.Command("iwas", "ip/firewall/address-list", "print", nil, []string{"address=203.0.113.8"})
		left := map[Failing]string{Keep: "59m5", Expire: "2m5"}[failing]
		if err != nil || len(rows) != 1 || !strings.HasPrefix(rows[0]["timeout"], left) {
			t.Errorf("%s: got %v, %v, want a timeout of %s…", failing, rows, err, left)
		}
		id := rows[0][".id"]
		m.run(fetch())
		if rows, _, _ = sim.Command("iwas", "ip/firewall/address-list", "print", nil, []string{"address=203.0.113.8"}); len(rows) != 1 || rows[0][".id"] != id {
			t.Errorf("%s: got %v, want the entry refreshed", failing, rows)
		}
		w.set(granted("staff", "203.0.113.9", time.Hour))
		whole := fetch()
		m.run(whole[:strings.LastIndex(whole, ":do {/ip/firewall/address-list/remove")])
		if got := m.state(); !slices.Equal(got, sorted("staff 203.0.113.8 IWAS", "staff 203.0.113.9 IWAS", "staff 2001:db8::7/128 IWAS")) {
			t.Errorf("%s: cut short: %q, want nothing taken out", failing, got)
		}
		m.run(whole)
		if got := m.state(); !slices.Equal(got, sorted("staff 203.0.113.9 IWAS")) {
			t.Errorf("%s: revoked: %q", failing, got)
		}
		w.set()
		m.run(fetch())
		if got := m.state(); !slices.Equal(got, foreign) {
			t.Errorf("%s: emptied: %q, want %q", failing, got, foreign)
		}
	}
}

func TestTheAuthorityAndTheKeyAreKept(t *testing.T) {
	dir := t.TempDir()
	a, err := LoadAuthority(filepath.Join(dir, "edl"), time.Unix(0, 0)) // a box without a battery
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadAuthority(filepath.Join(dir, "edl"), time.Now())
	if err != nil || string(a.PEM) != string(b.PEM) {
		t.Fatalf("after a restart: another authority, %v", err)
	}
	leaf, err := b.certificate([]string{"192.0.2.1", "box.lan"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(leaf.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.PEM)
	for _, name := range []string{"192.0.2.1", "box.lan"} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again, err := b.certificate(nil, time.Now().Add(leafRenewed+time.Hour)); err != nil || again == leaf {
		t.Errorf("got the same certificate (%v) near its end, want a new one", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "edl", "ca.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAuthority(filepath.Join(dir, "edl"), time.Now()); err == nil {
		t.Error("a damaged key is taken for a key")
	}

	file := filepath.Join(dir, "secrets", "edl")
	k, err := LoadKey(file)
	if again, e := LoadKey(file); err != nil || e != nil || again != k || len(k) < keyOctets {
		t.Errorf("got keys %v and %v, %v, %v, want one that stays", len(k), len(again), err, e)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a file of ours alone", st.Mode(), err)
	}
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(file); err == nil {
		t.Error("a short key is taken")
	}
}

func TestTheScriptForTheScheduler(t *testing.T) {
	s := Script{URL: "https://10.10.0.2:8443", Key: key, Lists: []string{"staff", "guests"}, Interval: 90 * time.Second}
	text, err := s.Commands("iwas-ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"interval=1m30s", "policy=ftp,read,write,test", `https://10.10.0.2:8443/edl/staff.rsc`, `edl/guests.rsc`, "check-certificate=yes-without-crl",
		`Authorization: Bearer ` + key, "/certificate/import file-name=iwas-ca.crt"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	if n := strings.Count(text, "\n"); n != 2 {
		t.Errorf("%d lines, want one a command: what is pasted must not break", n)
	}
	// A router takes it, and its scheduler fits device-mode.
	sim, err := routersim.Start(t.Context(), routersim.Config{Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	event, err := s.OnEvent()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := sim.Command("iwas", "system/scheduler", "add", map[string]string{"name": "iwas-lists", "interval": "1m30s", "policy": Policy, "comment": "IWAS address-lists", "on-event": event}, nil); err != nil {
		t.Error(err)
	}
	if _, err := (Script{Lists: []string{`a"; /system/reset`}}).OnEvent(); err == nil {
		t.Error("a list that breaks out of the script is taken")
	}
}

func TestADoorThatCannotOpenSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &Server{Listen: l.Addr().String(), Key: key}
	if err := s.Serve(t.Context()); err == nil || s.Stats().Problem == "" {
		t.Errorf("got %v and %+v, want the reason", err, s.Stats())
	}
}

// A router that was given the commands fetches by itself, by its scheduler and with the
// authority it imported; what it cannot fetch it keeps.
func TestARouterFetchesByItself(t *testing.T) {
	for _, version := range []string{"7.16.2 (stable)", "7.24 (stable)"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			d := openDoor(t, func(s *Server) { s.Interval = time.Second }) // marks rise with it
			d.w.set(granted("staff", "203.0.113.7", time.Hour), granted("staff", "2001:db8::7", time.Hour))
			sim, err := routersim.Start(t.Context(), routersim.Config{Password: "pw", Version: version})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(sim.Close)
			sim.SetKnobs(routersim.Knobs{Still: true, FetchNeedsFTP: true}) // as some versions do
			do := func(menu, verb string, args map[string]string) []map[string]string {
				t.Helper()
				rows, _, err := sim.Command("iwas", menu, verb, args, nil)
				if err != nil {
					t.Fatalf("%s/%s: %v", menu, verb, err)
				}
				var out []map[string]string
				for _, r := range rows {
					out = append(out, r)
				}
				return out
			}
			text, err := Script{URL: d.url, Key: key, Lists: []string{"staff"}, Interval: time.Minute}.Commands("iwas-ca.crt")
			if err != nil {
				t.Fatal(err)
			}
			do("file", "add", map[string]string{"name": "iwas-ca.crt", "contents": string(d.pem)})
			if out, err := sim.Paste("iwas", text); err != nil {
				t.Fatal(out, err)
			}
			do("system/scheduler", "set", map[string]string{".id": "iwas-lists", "interval": "1s"}) // a minute is long here
			m := &importer{t, sim}
			until := func(what string, ok func() bool) {
				t.Helper()
				for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("in vain: %s; entries %q, log %v", what, m.state(), do("log", "print", nil))
					}
				}
			}
			has := func(want ...string) func() bool { return func() bool { return slices.Equal(m.state(), want) } }
			until("both entries", has("staff 2001:db8::7/128 IWAS", "staff 203.0.113.7 IWAS"))
			d.w.set(granted("staff", "203.0.113.8", time.Hour))
			until("the new list", has("staff 203.0.113.8 IWAS"))
			until("the file goes", func() bool {
				return !slices.ContainsFunc(do("file", "print", nil), func(r map[string]string) bool { return r["name"] == "iwas-staff.rsc" })
			})

			warned := func() (n int) {
				for _, r := range do("log", "print", nil) {
					if strings.Contains(r["message"], "staff was not fetched") {
						n++
					}
				}
				return n
			}
			for what, shut := range map[string]func(on bool){
				"the store of this box fails": func(on bool) { d.w.fail(on) },
				"device-mode forbids it": func(on bool) {
					sim.Give("system/device-mode", "", "fetch", map[bool]string{true: "false", false: "true"}[on])
				},
				"the authority is not trusted": func(on bool) {
					do("certificate", "set", map[string]string{".id": "iwas-ca.crt_0", "trusted": map[bool]string{true: "no", false: "yes"}[on]})
				},
			} {
				before := warned()
				shut(true)
				until(what+": it is said", func() bool { return warned() > before })
				if !has("staff 203.0.113.8 IWAS")() {
					t.Errorf("%s: the list is %q, want it as it was", what, m.state())
				}
				shut(false)
			}
			d.w.set(granted("staff", "203.0.113.9", time.Hour))
			until("it fetches again", has("staff 203.0.113.9 IWAS"))
		})
	}
}
