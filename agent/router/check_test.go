package router

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
)

// witness is a RADIUS side that heard what the test says.
type witness struct {
	Disconnector
	heard Heard
	err   error
}

func (w witness) Heard(context.Context, hotspot.NASID) (Heard, error) { return w.heard, w.err }

// healthy is a router set up as it should be, and the check of it.
type healthy struct {
	*routersim.Sim
	t     *testing.T
	check Check
}

// startHealthy starts one; door is api-ssl or https.
func startHealthy(t *testing.T, door, version string) *healthy {
	t.Helper()
	nobody := netip.MustParseAddrPort("127.0.0.1:9")
	sim, err := routersim.Start(t.Context(), routersim.Config{Identity: "CAFE1", Version: version, Password: "pw", APISSLListen: "127.0.0.1:0", RESTListen: "127.0.0.1:0",
		RADIUS: routersim.RADIUSConfig{Auth: nobody, Acct: nobody, Secret: secretText, Timeout: 2 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	h := &healthy{Sim: sim, t: t}
	address := "api-ssl://" + sim.APISSLAddr()
	if door == "https" {
		address = strings.TrimSuffix(sim.RESTURL(), "/rest")
	}
	h.check = Check{NAS: nasID, API: routeros.Options{URL: address, User: "service", Password: "pw", PinnedSHA256: h.pin(), Pace: new(routeros.Pace)},
		Box:    Box{Auth: 9, Acct: 9, CoA: sim.CoAAddr().Port(), Secret: secretText},
		RADIUS: witness{coa{sim.CoAAddr()}, Heard{ProvenAt: time.Now()}, nil}}
	h.do("/user/group/add", "=name=iwas", "=policy=read,write,api,rest-api,sensitive,test")
	h.do("/user/add", "=name=service", "=password=pw", "=group=iwas")
	for _, service := range []string{"api-ssl", "www-ssl"} {
		h.do("/ip/service/set", "=.id="+h.id("/ip/service", service), "=address=127.0.0.1/32")
	}
	return h
}

func (h *healthy) pin() string {
	sum := sha256.Sum256(h.Certificate())
	return hex.EncodeToString(sum[:])
}

// do runs a sentence over the plain API, as a technician with all rights.
func (h *healthy) do(words ...string) []routeros.Row {
	h.t.Helper()
	conn, err := routeros.Dial(h.t.Context(), routeros.Options{URL: "api://" + h.APIAddr(), User: "iwas", Password: "pw"})
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	rows, err := conn.Run(h.t.Context(), words...)
	if err != nil {
		h.t.Fatalf("%v: %v", words, err)
	}
	return rows
}

// id finds a row that is no connection.
func (h *healthy) id(menu, name string) string {
	h.t.Helper()
	for _, r := range h.do(menu + "/print") {
		if (r["name"] == name || name == "") && r["dynamic"] != "true" {
			return r[".id"]
		}
	}
	h.t.Fatalf("%s has no %q", menu, name)
	return ""
}

// expect holds a report against what is wanted: rows named so, all others ok.
func expect(t *testing.T, r condition.CheckReport, want map[string]string) {
	t.Helper()
	seen := map[string]bool{}
	for _, row := range r.Rows {
		seen[row.Probe] = true
		got := strings.TrimSpace(string(row.State) + " " + row.Code)
		w, named := want[row.Probe]
		if !named {
			w = "ok"
		}
		if got != w {
			t.Errorf("%s: got %q, want %q: %+v", row.Probe, got, w, row)
		}
		if row.Seen == "" || row.Title == "" || row.State == condition.Fail && (row.Code == "" || row.Cause == "" || row.Next == "") {
			t.Errorf("%s: a row does not say all it should: %+v", row.Probe, row)
		}
	}
	for probe := range want {
		if !seen[probe] {
			t.Errorf("no row %s", probe)
		}
	}
}

func TestAHealthyRouterIsAllOK(t *testing.T) {
	for _, door := range []string{"api-ssl", "https"} {
		for _, version := range []string{"7.16.2 (stable)", "7.24 (stable)"} {
			t.Run(door+" "+version, func(t *testing.T) {
				t.Parallel()
				h := startHealthy(t, door, version)
				steps := 0
				h.check.Progress = func(done, of int) { steps = max(steps, done) }
				r := h.check.Run(t.Context())
				expect(t, r, nil)
				if r.State != condition.OK || r.Took > 5*time.Second || len(r.Rows) != len(points) || steps != len(points) {
					t.Errorf("got %s in %v, %d rows, %d steps, want all of %d ok", r.Verdict, r.Took, len(r.Rows), steps, len(points))
				}
				if left := h.do("/ip/firewall/address-list/print", "?list="+checkList); len(left) != 0 {
					t.Errorf("the check left %v behind", left)
				}
				if n := h.Counters().CoANAKs; n == 0 {
					t.Error("the Disconnect-Request was never refused")
				}
			})
		}
	}
}

func TestEachFaultHasItsRow(t *testing.T) {
	skipped := func(want map[string]string, behind ...string) map[string]string {
		from := 0
		for i, p := range points {
			if p.probe == behind[0] {
				from = i
			}
		}
		for _, p := range points[from:] {
			if _, named := want[p.probe]; !named && p.probe != "radius-secret" && p.probe != "disconnect" {
				want[p.probe] = "skipped"
			}
		}
		return want
	}
	set := func(menu, name string, words ...string) func(*healthy) {
		return func(h *healthy) { h.do(append([]string{menu + "/set", "=.id=" + h.id(menu, name)}, words...)...) }
	}
	policy := func(words string) func(*healthy) { return set("/user/group", "iwas", "=policy="+words) }
	knobs := func(change func(*routersim.Knobs)) func(*healthy) {
		return func(h *healthy) { k := h.Knobs(); change(&k); h.SetKnobs(k) }
	}
	for _, tc := range []struct {
		name   string
		break_ func(*healthy)
		want   map[string]string
		seen   string // in the first row named, or its next step
	}{
		{"name", func(h *healthy) { h.check.API.URL = "api-ssl://router.invalid:8729" }, skipped(map[string]string{"dns": "fail NET-104"}, "tcp"), ""},
		{"nobody listens", func(h *healthy) { h.check.API.URL = "api-ssl://127.0.0.1:1" }, skipped(map[string]string{"tcp": "fail RTR-102"}, "tls"), ""},
		{"not trusted", func(h *healthy) { h.check.API.PinnedSHA256 = "" }, skipped(map[string]string{"tls": "fail RTR-104"}, "login"), ""},
		{"no answer", func(h *healthy) { h.check.API.URL = "api-ssl://" + mute(h.t) }, skipped(map[string]string{"tls": "fail RTR-101"}, "login"), "No answer in time"},
		{"changed", func(h *healthy) { h.check.API.PinnedSHA256 = strings.Repeat("ab", 32) }, skipped(map[string]string{"tls": "fail RTR-104"}, "login"), ""},
		{"plain port", func(h *healthy) { h.check.API.URL = "api-ssl://" + h.APIAddr() }, skipped(map[string]string{"tls": "fail RTR-102"}, "login"), ""},
		{"anonymous Diffie-Hellman", func(h *healthy) { h.check.API.URL = "api-ssl://" + refuser(h.t) }, skipped(map[string]string{"tls": "fail RTR-102"}, "login"), "without a certificate"},
		{"password", func(h *healthy) { h.check.API.Password = "another" }, skipped(map[string]string{"login": "fail RTR-103"}, "rights"), ""},
		{"no RouterOS", func(h *healthy) { h.check.API.URL, h.check.API.PinnedSHA256 = stranger(h.t) }, skipped(map[string]string{"login": "fail RTR-111"}, "rights"), ""},
		{"no API", func(h *healthy) { h.check.API.URL = "" }, skipped(map[string]string{"dns": "skipped", "tcp": "warn RTR-110"}, "tls"), ""},
		{"not for this box", set("/ip/service", "api-ssl", "=address=10.9.9.9/32"), skipped(map[string]string{"tls": "fail RTR-102"}, "login"), ""},
		{"rights write", policy("!write"), map[string]string{"rights": "fail RTR-105", "address-list-write": "fail RTR-119"}, "lacks write ("},
		{"rights sensitive and test", policy("!sensitive,!test"), map[string]string{"rights": "fail RTR-105"}, "sensitive (to compare the RADIUS secret) and test ("},
		{"version", nil, map[string]string{"version": "fail RTR-107"}, "7.15.3"},
		{"device-mode hotspot", func(h *healthy) { h.Give("system/device-mode", "", "hotspot", "false") }, map[string]string{"device-mode": "fail HSP-220"}, "hotspot no"},
		{"device-mode scheduler and fetch", func(h *healthy) {
			h.Give("system/device-mode", "", "scheduler", "false")
			h.Give("system/device-mode", "", "fetch", "false")
		}, map[string]string{"device-mode": "warn RTR-106"}, "scheduler no, fetch no"},
		{"flagged", func(h *healthy) { h.Give("system/device-mode", "", "flagged", "true") }, map[string]string{"device-mode": "fail RTR-106"}, "flagged"},
		{"open to all", set("/ip/service", "api-ssl", "=address="), map[string]string{"service": "warn RTR-114"}, "any address"},
		{"few sessions", set("/ip/service", "api-ssl", "=max-sessions=2"), map[string]string{"service": "warn RTR-115"}, "of 2 sessions"},
		{"clock ahead", knobs(func(k *routersim.Knobs) { k.ClockAhead = time.Hour }), map[string]string{"clock": "warn CLK-102"}, "ahead of this box"},
		{"clock behind", knobs(func(k *routersim.Knobs) { k.ClockAhead = -time.Minute }), map[string]string{"clock": "warn CLK-102"}, "behind this box"},
		{"license of one", func(h *healthy) { h.Give("system/license", "", "level", "1") }, map[string]string{"license": "warn HSP-213"}, "allows 1"},
		{"license unknown", func(h *healthy) { h.Give("system/license", "", "level", "gold") }, map[string]string{"license": "unknown HSP-213"}, "gold"},
		{"no HotSpot", func(h *healthy) { h.do("/ip/hotspot/disable", "=.id="+h.id("/ip/hotspot", "")) },
			map[string]string{"hotspot": "fail HSP-101", "hotspot-profile": "skipped"}, ""},
		{"use-radius", set("/ip/hotspot/profile", "hsprof1", "=use-radius=no"), map[string]string{"hotspot-profile": "fail HSP-209"}, ""},
		{"accounting", set("/ip/hotspot/profile", "hsprof1", "=radius-accounting=no"), map[string]string{"hotspot-profile": "fail HSP-210"}, ""},
		{"interim", set("/ip/hotspot/profile", "hsprof1", "=radius-interim-update=30m"), map[string]string{"hotspot-profile": "warn HSP-210"}, "30m"},
		{"login-by", set("/ip/hotspot/profile", "hsprof1", "=login-by=mac,mac-cookie"), map[string]string{"hotspot-profile": "warn HSP-211"}, ""},
		{"user profile", set("/ip/hotspot/user/profile", "default", "=rate-limit=1M/1M", "=session-timeout=1h"), map[string]string{"user-profile": "warn HSP-212"}, "rate-limit 1M/1M and session-timeout 1h"},
		{"no entry", set("/radius", "", "=address=10.9.9.9"), map[string]string{"radius": "fail RAD-109", "radius-counters": "skipped", "disconnect": "fail RAD-104"}, "127.0.0.1"},
		{"entry disabled", set("/radius", "", "=disabled=yes"), map[string]string{"radius": "fail RAD-109", "radius-counters": "skipped", "disconnect": "fail RAD-104"}, "disabled"},
		{"ports", set("/radius", "", "=authentication-port=1645"), map[string]string{"radius": "fail RAD-110"}, "1645"},
		{"timeout", set("/radius", "", "=timeout=300ms"), map[string]string{"radius": "warn RAD-110"}, "300ms"},
		{"unsigned", set("/radius", "", "=require-message-auth=no"), map[string]string{"radius": "warn RAD-111"}, ""},
		{"incoming off", set("/radius/incoming", "", "=accept=no"), map[string]string{"radius-incoming": "fail RAD-104", "disconnect": "fail RAD-104"}, "accept no"},
		{"Disconnect silent", knobs(func(k *routersim.Knobs) { k.CoASilent = true }), map[string]string{"disconnect": "fail RAD-104"}, "no answer"},
		{"fasttrack", func(h *healthy) {
			h.do("/ip/firewall/filter/add", "=chain=forward", "=action=fasttrack-connection", "=connection-state=established,related")
		}, map[string]string{"fasttrack": "fail HSP-201"}, ""},
		{"IPv6", func(h *healthy) { h.do("/ipv6/address/add", "=address=2001:db8::1/64", "=interface=vlan20-guest") }, map[string]string{"ipv6": "fail HSP-202"}, ""},
		{"wide binding", func(h *healthy) { h.do("/ip/hotspot/ip-binding/add", "=address=10.20.0.0/22", "=type=bypassed") }, map[string]string{"bindings": "fail HSP-203"}, "10.20.0.0/22"},
		{"walled garden", func(h *healthy) {
			h.do("/ip/hotspot/walled-garden/ip/add", "=action=accept", "=protocol=tcp", "=dst-port=443")
		}, map[string]string{"walled-garden": "fail HSP-208"}, ""},
		{"trial", set("/ip/hotspot/profile", "hsprof1", "=login-by=http-chap,trial"), map[string]string{"trial": "fail HSP-204"}, ""},
		{"odd answer", knobs(func(k *routersim.Knobs) { k.MixUp = "system/clock" }), map[string]string{"clock": "fail RTR-117"}, "system/clock"},
		{"one menu hangs", knobs(func(k *routersim.Knobs) { k.Stall, k.StallAt = time.Minute, "radius/incoming" }), map[string]string{"radius-incoming": "unknown RTR-116"}, "no answer within 3s"},
		{"secret by read-back", set("/radius", "", "=secret=0ther-s3cret"), map[string]string{"disconnect": "fail RAD-104", "radius-secret": "fail RAD-103"}, ""},
		{"debug log left", func(h *healthy) { h.do("/system/logging/add", "=topics=radius,debug", "=prefix="+debugTag) }, map[string]string{"debug-log": "warn RTR-120"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			version := "7.23.7 (long-term)"
			if tc.name == "version" {
				version = "7.15.3 (stable)"
			}
			h := startHealthy(t, "api-ssl", version)
			if tc.break_ != nil {
				tc.break_(h)
			}
			if tc.name == "secret by read-back" {
				h.check.RADIUS = witness{coa{h.CoAAddr()}, Heard{}, nil}
			}
			r := h.check.Run(t.Context())
			expect(t, r, tc.want)
			if strings.Contains(fmt.Sprint(r), "0ther-s3cret") {
				t.Errorf("a row shows the secret: %v", r)
			}
			for _, row := range r.Rows {
				if w, named := tc.want[row.Probe]; named && w != "skipped" {
					if !strings.Contains(row.Seen+" "+row.Next, tc.seen) {
						t.Errorf("%s says %q, want %q in it", row.Probe, row.Seen+" "+row.Next, tc.seen)
					}
					break
				}
			}
		})
	}
}

// refuser shares no cipher with anybody, as api-ssl without a certificate.
func refuser(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			_, _ = c.Read(buf)
			_, _ = c.Write([]byte{0x15, 3, 3, 0, 2, 2, 40}) // alert, fatal, handshake_failure (RFC 8446 §6)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// mute takes connections and says nothing.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// stranger is a web server that is no router.
func stranger(t *testing.T) (url, pin string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			_, _ = c.Read(buf)
			fmt.Fprint(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nnope\n")
			c.Close()
		}
	}()
	sum := sha256.Sum256(der)
	return "https://" + l.Addr().String(), hex.EncodeToString(sum[:])
}

// The secret is proven by a packet, else it matches by read-back, else nobody
// has seen it yet.
func TestHowFarTheSecretIsKnown(t *testing.T) {
	t.Parallel()
	h := startHealthy(t, "api-ssl", "")
	now := time.Now()
	for _, tc := range []struct {
		name      string
		heard     Heard
		err       error
		sensitive bool
		want      string
		seen      string
	}{
		{"proven", Heard{ProvenAt: now}, nil, true, "ok", "proven"},
		{"proven, and wrong before", Heard{ProvenAt: now, BadSecret: "x", BadSecretAt: now.Add(-time.Hour)}, nil, true, "ok", "proven"},
		{"the previous one", Heard{ProvenAt: now, Previous: true}, nil, true, "warn RAD-108", "previous"},
		{"wrong since", Heard{ProvenAt: now.Add(-time.Hour), BadSecret: "127.0.0.1: wrong", BadSecretAt: now}, nil, false, "fail RAD-103", "wrong"},
		{"matches", Heard{}, nil, true, "ok", "matches"},
		{"matches, nobody knows", Heard{}, errors.New("the service does not run"), true, "ok", "matches"},
		{"asked from an unknown address", Heard{Strangers: []netip.Addr{netip.MustParseAddr("10.0.0.7")}}, nil, false, "warn RAD-102", "10.0.0.7"},
		{"not yet seen", Heard{}, nil, false, "unknown", "not yet seen"},
		{"nobody knows", Heard{}, errors.New("the service does not run"), false, "unknown", "does not run"},
	} {
		h.check.RADIUS = witness{coa{h.CoAAddr()}, tc.heard, tc.err}
		right := map[bool]string{true: "sensitive", false: "!sensitive"}[tc.sensitive]
		h.do("/user/group/set", "=.id="+h.id("/user/group", "iwas"), "=policy="+right)
		r := h.check.Run(t.Context())
		for _, row := range r.Rows {
			if got := strings.TrimSpace(string(row.State) + " " + row.Code); row.Probe == "radius-secret" && (got != tc.want || !strings.Contains(row.Seen, tc.seen)) {
				t.Errorf("%s: got %s %q, want %s and %q", tc.name, got, row.Seen, tc.want, tc.seen)
			}
			if strings.Contains(fmt.Sprint(row), secretText) {
				t.Errorf("%s: the row %s shows the secret", tc.name, row.Probe)
			}
		}
	}
}

// What the router's own counters say.
func TestCounters(t *testing.T) {
	for _, tc := range []struct {
		row  routeros.Row
		want string
	}{
		{routeros.Row{"requests": "100", "accepts": "90", "rejects": "9", "timeouts": "1", "bad-replies": "0"}, "ok"},
		{routeros.Row{"requests": "10", "accepts": "0", "rejects": "0", "timeouts": "3", "bad-replies": "0"}, "fail RAD-112"},
		{routeros.Row{"requests": "100", "accepts": "50", "rejects": "0", "timeouts": "10", "bad-replies": "0"}, "warn RAD-112"},
		{routeros.Row{"requests": "10", "accepts": "0", "rejects": "0", "timeouts": "9", "bad-replies": "9"}, "fail RAD-103"},
		{routeros.Row{"requests": "50", "accepts": "50", "rejects": "0", "timeouts": "0", "bad-replies": "2"}, "warn RAD-103"},
		{routeros.Row{"name": "CAFE1"}, "fail RTR-117"},
	} {
		s := newSheet(nil)
		monitor := &script{menus: map[string][]routeros.Row{"/radius": {tc.row}}}
		c := Check{}
		c.one(t.Context(), job{[]string{"radius-counters"}, func(a *asker, ctx context.Context) error {
			return a.counters(ctx, routeros.Row{".id": "*1", "address": "192.0.2.2"})
		}}, newLink(monitor.dial), s, &glimpse{})
		r, _ := s.get("radius-counters")
		if got := strings.TrimSpace(string(r.State) + " " + r.Code); got != tc.want {
			t.Errorf("%v: got %s, want %s", tc.row, got, tc.want)
		}
	}
}

func TestAnAnswerToDisconnect(t *testing.T) {
	for _, tc := range []struct {
		d    hotspot.Disconnected
		err  error
		want string
	}{
		{hotspot.Disconnected{Result: hotspot.ResultNAK, ErrorCause: 406}, nil, "ok"},
		{hotspot.Disconnected{Result: hotspot.ResultACK}, nil, "warn RAD-113"},
		{hotspot.Disconnected{Result: hotspot.ResultTimeout, Attempts: 3}, nil, "fail RAD-104"},
		{hotspot.Disconnected{}, errors.New("no socket"), "unknown RAD-104"},
	} {
		r := judgeDisconnect(tc.d, tc.err)
		if got := strings.TrimSpace(string(r.State) + " " + r.Code); got != tc.want {
			t.Errorf("%+v %v: got %s, want %s", tc.d, tc.err, got, tc.want)
		}
	}
}

// A router that hangs on every command ends the check all the same, and over
// REST no call is cut short.
func TestARouterThatHangsEndsTheCheck(t *testing.T) {
	for _, door := range []string{"api-ssl", "https"} {
		t.Run(door, func(t *testing.T) {
			t.Parallel()
			h := startHealthy(t, door, "")
			h.SetKnobs(routersim.Knobs{Stall: 14 * time.Second})
			begun := time.Now()
			r := h.check.Run(t.Context())
			if took := time.Since(begun); took > 15*time.Second {
				t.Errorf("the check took %v, want under 15 s", took)
			}
			for _, row := range r.Rows {
				if row.Took > 4*time.Second {
					t.Errorf("%s took %v of its 3 s", row.Probe, row.Took)
				}
				switch row.Probe {
				case "dns", "tcp", "tls", "radius-secret", "disconnect":
					if row.State != condition.OK {
						t.Errorf("%s does not need the API: got %+v", row.Probe, row)
					}
				case "login":
				default:
					if door == "api-ssl" && (row.State != condition.Unknown || !row.Late || row.Code != CodeSlow) {
						t.Errorf("%s: got %+v, want unknown and late", row.Probe, row)
					}
				}
			}
			if door != "https" {
				return
			}
			// The login itself is a command there: it is late, and goes on.
			if late := h.check.API.Pace.Late(); late != 1 {
				t.Errorf("%d calls go on without us, want the login's", late)
			}
			h.finished(begun.Add(14 * time.Second))
		})
	}
}

// Over REST, a hang that begins after the login leaves several calls to finish.
func TestLateRESTCallsAreLeftToFinish(t *testing.T) {
	t.Parallel()
	h := startHealthy(t, "https", "")
	h.SetKnobs(routersim.Knobs{Stall: 8 * time.Second, StallAt: "system/clock"})
	begun := time.Now()
	r := h.check.Run(t.Context())
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("the check took %v, want under 15 s", took)
	}
	for _, row := range r.Rows {
		if row.Probe == "clock" && (!row.Late || row.Code != CodeSlow || !strings.Contains(row.Seen, "left to finish")) {
			t.Errorf("got %+v, want late and left to finish", row)
		}
	}
	h.finished(begun.Add(8 * time.Second))
}

// finished waits for the late calls, which the router answers at a time.
func (h *healthy) finished(answered time.Time) {
	h.t.Helper()
	if err := h.check.API.Pace.Drain(h.t.Context()); err != nil {
		h.t.Error(err)
	}
	if time.Until(answered) > 0 || h.Counters().Aborted != 0 {
		h.t.Errorf("late calls ended %v before the router answered: they were cut short", time.Until(answered))
	}
}

// Its JSON is read by programs: keys stay.
func TestTheShapeOfAReport(t *testing.T) {
	t.Parallel()
	h := startHealthy(t, "api-ssl", "")
	h.do("/radius/set", "=.id="+h.id("/radius", ""), "=timeout=300ms")
	b, err := json.Marshal(h.check.Run(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version int
		Router  string
		At      time.Time
		TookNS  int64 `json:"took_ns"`
		State   string
		Verdict string
		Rows    []map[string]any
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || got.Router != string(nasID) || got.At.IsZero() || got.TookNS == 0 || got.State != "warn" || !strings.Contains(got.Verdict, "RADIUS entry") {
		t.Errorf("got %s", b)
	}
	for _, row := range got.Rows {
		if row["probe"] != "radius" {
			continue
		}
		for _, key := range []string{"title", "state", "code", "seen", "cause", "next", "command", "took_ns"} {
			if row[key] == nil {
				t.Errorf("the row has no %q: %v", key, row)
			}
		}
	}
}

// The router ends the debug log by itself; where it may not, that is said.
func TestTheDebugLogEnds(t *testing.T) {
	for _, version := range []string{"7.16.2 (stable)", "7.24 (stable)"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := startHealthy(t, "api-ssl", version)
			conn, err := h.check.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			rules := func() int { return len(h.do(logging+"/print", "?prefix="+debugTag)) }
			d, err := StartDebugLog(t.Context(), conn, time.Second)
			if err != nil || !d.ByItself || rules() != 1 {
				t.Fatalf("got %+v, %v, %d rules, want one that ends by itself", d, err, rules())
			}
			if r := h.check.Run(t.Context()); true {
				expect(t, r, nil)
			}
			if err := conn.Close(); err != nil { // we die
				t.Error(err)
			}
			eventually(t, "the router ends the log", func() bool { return rules() == 0 && len(h.do(scheduler+"/print")) == 0 })

			conn, err = h.check.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			h.Give("system/device-mode", "", "scheduler", "false")
			d, err = StartDebugLog(t.Context(), conn, time.Second)
			if err != nil || d.ByItself || !strings.Contains(d.Why, "RTR-106") || rules() != 1 {
				t.Fatalf("scheduler forbidden: got %+v, %v", d, err)
			}
			if d, err = StartDebugLog(t.Context(), conn, time.Second); err != nil || rules() != 1 {
				t.Errorf("again: got %+v, %v and %d rules, want the one", d, err, rules())
			}
			if err := StopDebugLog(t.Context(), conn); err != nil || rules() != 0 {
				t.Errorf("stop: %v, %d rules left", err, rules())
			}
		})
	}
}
