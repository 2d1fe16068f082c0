package provision

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"iwas/internal/routeros"
	"iwas/internal/routersim"
	"iwas/internal/wire"
)

const secretText = "testing123"

var boxAddress = netip.MustParseAddr("192.168.88.2")

// stand is a simulated router and the two logins of this box.
type stand struct {
	*routersim.Sim
	t    testing.TB
	door string
	pace routeros.Pace
	file Keeper
	mu   sync.Mutex
	pins map[string]string // certificates seen, by URL: a look costs a handshake
}

// start opens a router; fresh is one from its box, else a cafe that is set up.
func start(t testing.TB, door, version string, fresh bool) *stand {
	t.Helper()
	nobody := netip.MustParseAddrPort("127.0.0.1:9")
	c := routersim.Config{Version: version, Password: "pw", User: "admin", APISSLListen: "127.0.0.1:0", RESTListen: "127.0.0.1:0", Fresh: fresh}
	if !fresh {
		c.RADIUS = routersim.RADIUSConfig{Auth: nobody, Acct: nobody, Secret: secretText}
	}
	if fresh {
		c.Agent = routersim.Place{Port: "ether5", Address: boxAddress, Router: netip.MustParseAddr("192.168.88.1")}
	}
	sim, err := routersim.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	s := &stand{Sim: sim, t: t, door: door, file: record(t), pins: map[string]string{}}
	if fresh {
		if out, err := sim.Paste("admin", scriptForTests); err != nil {
			t.Fatal(out, err)
		}
	}
	s.do("/user/group/add", "=name=iwas", "=policy=read,write,api,rest-api,sensitive,test")
	s.do("/user/add", "=name=iwas", "=password=pw", "=group=iwas")
	return s
}

// scriptForTests is the part of Script that gives a fresh router a certificate.
const scriptForTests = `/certificate/add name=iwas common-name=iwas days-valid=3650 key-usage=key-cert-sign,crl-sign,tls-server
/certificate/sign iwas
/ip/service/set api-ssl certificate=iwas disabled=no
/ip/service/set www-ssl certificate=iwas disabled=no
`

// record is a place for a record. Saving one waits for the disk, which is not what
// is tested here, so it is in memory where the system has such a place.
func record(t testing.TB) Keeper {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "iwas-test-*")
	if err != nil {
		return Keeper(filepath.Join(t.TempDir(), "router.json"))
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return Keeper(filepath.Join(dir, "router.json"))
}

// do has the router run a command with all rights, past the doors under test.
func (s *stand) do(words ...string) []routeros.Row {
	s.t.Helper()
	rows, err := commanded(s.Sim, words...)
	if err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
	return rows
}

func commanded(sim *routersim.Sim, words ...string) ([]routeros.Row, error) {
	at := strings.LastIndexByte(words[0], '/')
	args, query := map[string]string{}, []string{}
	for _, w := range words[1:] {
		if rest, ok := strings.CutPrefix(w, "?"); ok {
			query = append(query, rest)
			continue
		}
		key, value, _ := strings.Cut(strings.TrimPrefix(w, "="), "=")
		args[key] = value
	}
	got, _, err := sim.Command("admin", strings.TrimPrefix(words[0][:at], "/"), words[0][at+1:], args, query)
	rows := make([]routeros.Row, len(got))
	for i, v := range got {
		rows[i] = routeros.Row(v)
	}
	return rows, err
}

func (s *stand) dial(user string) func(context.Context) (routeros.Conn, error) {
	return func(ctx context.Context) (routeros.Conn, error) {
		o := routeros.Options{URL: "api://" + s.APIAddr(), User: user, Password: "pw", Pace: &s.pace}
		switch s.door {
		case "api-ssl":
			o.URL = "api-ssl://" + s.APISSLAddr()
		case "www-ssl":
			o.URL = strings.TrimSuffix(s.RESTURL(), "/rest")
		}
		s.mu.Lock()
		o.PinnedSHA256 = s.pins[o.URL]
		s.mu.Unlock()
		if o.PinnedSHA256 == "" && s.door != "api" {
			cert, err := routeros.LookAt(ctx, o.URL)
			if err != nil {
				return nil, err
			}
			o.PinnedSHA256 = cert.SHA256
			s.mu.Lock()
			s.pins[o.URL] = cert.SHA256
			s.mu.Unlock()
		}
		return routeros.Dial(ctx, o)
	}
}

func (s *stand) box() Box {
	return Box{Address: boxAddress, Router: netip.MustParseAddr("192.168.88.1"), Service: s.door, Secret: secretText, Auth: 1812, Acct: 1813}
}

func (s *stand) applier(setup wire.RouterSetup) *Applier {
	return &Applier{Router: "r1", Setup: setup, Box: s.box(), Keep: s.file, Dial: s.tabled("admin"), Return: s.tabled("iwas"), User: "admin"}
}

// tabled is a login whose every sentence must be in the table of commands.
func (s *stand) tabled(user string) func(context.Context) (routeros.Conn, error) {
	dial := s.dial(user)
	return func(ctx context.Context) (routeros.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return tabled{conn, s.t}, nil
	}
}

type tabled struct {
	routeros.Conn
	t testing.TB
}

func (c tabled) Run(ctx context.Context, sentence ...string) ([]routeros.Row, error) {
	if err := routeros.Sendable(sentence); err != nil {
		c.t.Error(err)
	}
	return c.Conn.Run(ctx, sentence...)
}

func (s *stand) plan(setup wire.RouterSetup) Plan {
	s.t.Helper()
	conn, err := s.dial("admin")(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	p, err := Make(s.t.Context(), conn, setup, s.box())
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// cafeSetup is a whole cafe with the box at a port that stays as it is.
func cafeSetup(change ...func(*wire.RouterSetup)) wire.RouterSetup {
	s := wire.RouterSetup{Mode: WholeCafe, PCPorts: []string{"ether3", "ether4"}, BoxPort: "ether5"}
	for _, f := range change {
		f(&s)
	}
	return s
}

var thinSetup = wire.RouterSetup{Mode: RADIUSOnly}

// everything is all menus that a plan may touch, as they read; what nobody set
// up, such as counters, is left out.
func (s *stand) everything() map[string][]string {
	s.t.Helper()
	out, err := everything(s.Sim)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func everything(sim *routersim.Sim) (map[string][]string, error) {
	out := map[string][]string{}
	for _, menu := range slices.Concat(ourMenus, []string{"/interface", "/ip/service", "/ip/dns", "/radius/incoming", "/ipv6/settings", "/ip/hotspot/user/profile", "/ip/firewall/mangle",
		"/ip/firewall/address-list", "/ip/arp", "/system/script", "/system/scheduler", "/ip/hotspot/ip-binding", "/ip/hotspot/walled-garden", "/user", "/user/group", "/certificate"}) {
		rows, err := commanded(sim, menu+"/print")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", menu, err)
		}
		out[menu] = []string{}
		for _, r := range rows {
			if flag(r["dynamic"]) {
				continue
			}
			out[menu] = append(out[menu], line(r))
		}
	}
	return out, nil
}

// line is a row as text, without its id and what counts.
func line(r routeros.Row) string {
	var b strings.Builder
	for _, k := range sortedKeys(r) {
		if !slices.Contains([]string{".id", "bytes", "packets", "run-count", "next-run", "last-started", "last-logged-in", "used", "available"}, k) {
			fmt.Fprintf(&b, "%s=%s ", k, r[k])
		}
	}
	return b.String()
}

// foreign is what of everything is not ours.
func foreignOf(all map[string][]string) map[string][]string {
	out := map[string][]string{}
	for menu, rows := range all {
		for _, r := range rows {
			if !strings.Contains(r, "comment="+tag) && !strings.Contains(r, "name=iwas-") {
				out[menu] = append(out[menu], r)
			}
		}
	}
	return out
}

// declared are the single settings that a set-up says it changes, by menu.
var declared = map[string][]string{
	"/ip/service": {"disabled"}, "/radius/incoming": {"accept", "port"}, "/interface/bridge": {"vlan-filtering"}, "/interface/bridge/port": {"frame-types", "pvid"},
	"/ip/dns": {"allow-remote-requests"}, "/ip/hotspot/profile": {"use-radius", "radius-[a-z-]*"},
}

// undeclared leaves them out.
func undeclared(all map[string][]string) map[string][]string {
	out := map[string][]string{}
	for menu, rows := range all {
		for _, r := range rows {
			for _, k := range declared[menu] {
				r = regexp.MustCompile(`\b`+k+`=\S* `).ReplaceAllString(r, "")
			}
			out[menu] = append(out[menu], r)
		}
	}
	return out
}

// teller is a test, or one try of a property.
type teller interface {
	Helper()
	Errorf(format string, args ...any)
}

// compare tells where two readings differ.
func compare(t testing.TB, what string, got, want map[string][]string) {
	t.Helper()
	check(t, what, got, want)
}

func check(t teller, what string, got, want map[string][]string) {
	t.Helper()
	for menu := range want {
		g, w := strings.Join(got[menu], "\n  "), strings.Join(want[menu], "\n  ")
		if g != w {
			t.Errorf("%s: %s is\n  %s\nwant\n  %s", what, menu, g, w)
		}
	}
}
