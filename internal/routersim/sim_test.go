package routersim

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3"
)

const (
	testSecret = "testing123"
	phoneMAC   = "AA:BB:CC:00:00:01"
)

// start runs a router whose RADIUS server is at auth and acct.
func start(t *testing.T, auth, acct netip.AddrPort, change func(*Config)) *Sim {
	t.Helper()
	c := Config{Password: "pw", ReadUser: "reader", RADIUS: RADIUSConfig{Auth: auth, Acct: acct, Secret: testSecret, Timeout: 300 * time.Millisecond}}
	if change != nil {
		change(&c)
	}
	s, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// nobody is a RADIUS server that is not there.
func nobody(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func dialAPI(t *testing.T, s *Sim, user, password string) *routeros.Client {
	t.Helper()
	c, err := routeros.Dial(s.APIAddr(), user, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestStockClient drives the API door with a client we did not write.
func TestStockClient(t *testing.T) {
	s := start(t, nobody(t), nobody(t), nil)
	c := dialAPI(t, s, "iwas", "pw")

	r, err := c.Run("/system/identity/print")
	if err != nil || len(r.Re) != 1 || r.Re[0].Map["name"] != "MikroTik" {
		t.Fatalf("identity: got %v, %v", r, err)
	}
	r, err = c.Run("/ip/firewall/address-list/add", "=list=paid", "=address=192.0.2.7", "=timeout=1h", "=comment=ours")
	if err != nil || r.Done.Map["ret"] == "" {
		t.Fatalf("add: got %v, %v", r, err)
	}
	id := r.Done.Map["ret"]
	for _, tc := range []struct {
		name, want string
		words      []string
	}{
		{"a duplicate entry", "failure: already have such entry", []string{"/ip/firewall/address-list/add", "=list=paid", "=address=192.0.2.7/32"}},
		{"an unknown argument", "unknown parameter colour", []string{"/ip/firewall/address-list/add", "=list=paid", "=colour=red"}},
		{"an unknown menu", "no such command prefix", []string{"/ip/nothing/print"}},
		{"an unknown command", "no such command", []string{"/ip/hotspot/active/add", "=user=x"}},
		{"an unknown row", "no such item", []string{"/ip/hotspot/active/remove", "=.id=*FFFF"}},
		{"a remove of nothing", "missing =.id=", []string{"/ip/firewall/address-list/remove"}},
	} {
		if _, err := c.Run(tc.words...); err == nil || err.Error() != "from RouterOS device: "+tc.want {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
	for _, tc := range []struct {
		name  string
		query []string
		want  int
	}{
		{"equal", []string{"?list=paid"}, 1},
		{"not equal", []string{"?list=paid", "?#!"}, 0},
		{"or", []string{"?list=paid", "?list=other", "?#|"}, 1},
		{"has", []string{"?comment"}, 1},
		{"lacks", []string{"?-comment"}, 0},
		{"two words are and-ed", []string{"?list=paid", "?address=192.0.2.8"}, 0},
	} {
		r, err := c.Run(append([]string{"/ip/firewall/address-list/print", "=.proplist=.id,address"}, tc.query...)...)
		if err != nil || len(r.Re) != tc.want {
			t.Errorf("query %s: got %v, %v; want %d rows", tc.name, r, err, tc.want)
		}
	}
	if _, err := c.Run("/ip/firewall/address-list/set", "=.id="+id, "=timeout=2h"); err != nil {
		t.Errorf("set: %v", err)
	}
	if _, err := c.Run("/ip/firewall/address-list/remove", "=.id="+id); err != nil {
		t.Errorf("remove: %v", err)
	}
	if _, err := routeros.Dial(s.APIAddr(), "iwas", "wrong"); err == nil || !strings.Contains(err.Error(), "invalid user name or password (6)") {
		t.Errorf("wrong password: got %v", err)
	}
	reader := dialAPI(t, s, "reader", "pw")
	if _, err := reader.Run("/system/identity/set", "=name=x"); err == nil || err.Error() != "from RouterOS device: not enough permissions (9)" {
		t.Errorf("a reader writes: got %v", err)
	}
	if r, err := reader.Run("/radius/print"); err != nil || r.Re[0].Map["secret"] != "" {
		t.Errorf("a reader sees the secret: got %v, %v", r, err)
	}
}

func TestListenSeesChangesAndRemovals(t *testing.T) {
	s := start(t, nobody(t), nobody(t), nil)
	// One connection listens, another commands: on one, this client can lose a reply
	// that arrives before it has noted the tag (facts.md §1).
	c, listening := dialAPI(t, s, "iwas", "pw"), dialAPI(t, s, "iwas", "pw")
	listening.Queue = 16
	listening.AsyncContext(t.Context())
	l, err := listening.ListenArgsContext(t.Context(), []string{"/ip/firewall/address-list/listen"})
	if err != nil {
		t.Fatal(err)
	}
	// The listen is in place when an entry is heard.
	var heard map[string]string
	n := 0
	until(t, "an added entry", func() bool {
		n++
		if _, err := c.Run("/ip/firewall/address-list/add", "=list=a", fmt.Sprintf("=address=192.0.%d.%d", n>>8, n&255)); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-l.Chan():
			heard = got.Map
		default:
		}
		return heard != nil
	})
	if heard["list"] != "a" {
		t.Errorf("added: got %v", heard)
	}
	if _, err := c.Run("/ip/firewall/address-list/remove", "=.id="+heard[".id"]); err != nil {
		t.Fatal(err)
	}
	until(t, "its removal", func() bool {
		select {
		case got := <-l.Chan():
			return got.Map[".dead"] == "true" && got.Map[".id"] == heard[".id"]
		default:
			return false
		}
	})
}

func TestTimedListEntriesEndAndAreLostAtReboot(t *testing.T) {
	s := start(t, nobody(t), nobody(t), nil)
	add := func(args map[string]string) {
		if _, _, err := s.Command("iwas", "ip/firewall/address-list", "add", args, nil); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		rows, _, err := s.Command("iwas", "ip/firewall/address-list", "print", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	add(map[string]string{"list": "a", "address": "192.0.2.1", "timeout": "1s"})
	add(map[string]string{"list": "a", "address": "192.0.2.2", "timeout": "1h"})
	add(map[string]string{"list": "a", "address": "192.0.2.3"})
	until(t, "the first entry to end", func() bool { return count() == 2 })
	s.PowerCut(0)
	if got := count(); got != 1 {
		t.Errorf("after a reboot: got %d entries, want the 1 without a timeout", got)
	}
}

func TestNoAnswerIsWhatTheGuestReads(t *testing.T) {
	s := start(t, nobody(t), nobody(t), func(c *Config) { c.LoginBy = "http-chap"; c.RADIUS.Timeout = 20 * time.Millisecond })
	if _, err := s.Arrive(phoneMAC, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Login(phoneMAC, Login{Method: "http-chap", Username: "bob", Password: "x"}); err == nil || err.Error() != "RADIUS server is not responding" {
		t.Errorf("got %v", err)
	}
	if c := s.Counters(); c.Timeouts < 1 || c.Resends < 2 {
		t.Errorf("counters: got %+v, want a timeout after two resends", c)
	}
}

func TestDurationsReadBack(t *testing.T) {
	for text, want := range map[string]time.Duration{"1w2d3h4m5s": 9*24*time.Hour + 3*time.Hour + 4*time.Minute + 5*time.Second, "0s": 0, "300ms": 300 * time.Millisecond} {
		got, err := parseDuration(text)
		if err != nil || got != want || formatDuration(want) != text {
			t.Errorf("%s: got %v, %v and %q", text, got, err, formatDuration(want))
		}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// A scheduler runs its script by itself, and only where device-mode allows it.
func TestSchedulerRunsItsScript(t *testing.T) {
	nowhere := netip.MustParseAddrPort("127.0.0.1:9")
	s := start(t, nowhere, nowhere, nil)
	run := func(path, verb string, args map[string]string) ([]view, error) {
		rows, _, err := s.Command("iwas", path, verb, args, nil)
		return rows, err
	}
	if _, err := run("system/logging", "add", map[string]string{"topics": "radius,debug", "prefix": "mine"}); err != nil {
		t.Fatal(err)
	}
	event := `/system/logging/remove [find prefix="mine"]; /system/scheduler/remove [find name="end"]`
	if _, err := run("system/scheduler", "add", map[string]string{"name": "end", "interval": "300ms", "on-event": event, "policy": "read,write"}); err != nil {
		t.Fatal(err)
	}
	if rows, _ := run("system/scheduler", "print", nil); len(rows) != 1 || rows[0]["owner"] != "iwas" {
		t.Errorf("got %v, want the row with its owner", rows)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		rules, _ := run("system/logging", "print", nil)
		events, _ := run("system/scheduler", "print", nil)
		if len(rules) == 4 && len(events) == 0 { // RouterOS's own rules stay
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the script did not run: %v, %v", rules, events)
		}
	}
	if _, err := run("system/logging", "remove", map[string]string{".id": "*1"}); err == nil {
		t.Error("a rule of RouterOS's own was removed")
	}
	s.Give("system/device-mode", "", "scheduler", "false")
	if _, err := run("system/scheduler", "add", map[string]string{"name": "end", "interval": "1s"}); err == nil || !strings.Contains(err.Error(), "not allowed by device-mode") {
		t.Errorf("device-mode forbids it: got %v", err)
	}
}
