package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/agent/provision"
	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/internal/hotspot"
	"iwas/internal/logs"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
	"iwas/internal/wire"
)

// freshCafe is a router from its box beside a box with the service's parts, and the
// commands a technician types.
type freshCafe struct {
	*bench
	box
	sim *routersim.Sim
}

func openFresh(t *testing.T) *freshCafe {
	t.Helper()
	c := &freshCafe{bench: newBench(t, 1, wire.LimitsBody{}), box: newBox(t)}
	sim, err := routersim.Start(t.Context(), routersim.Config{Identity: "CAFE1", Version: "7.24 (stable)", User: "admin", Password: "pw", APISSLListen: "127.0.0.1:0", Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	sim.SetKnobs(routersim.Knobs{Still: true})
	c.sim = sim
	port := func(a netip.AddrPort) string { return fmt.Sprintf("[\"127.0.0.1:%d\"]", a.Port()) }
	c.write("agent.toml", "version = 1\nstate_dir = \"state\"\n[radius]\nauth = "+port(c.server.AuthAddr())+"\nacct = "+port(c.server.AcctAddr())+"\n[status]\nlisten = \"127.0.0.1:1\"\n")
	c.write("state/secrets/r1-radius", lockSecret+"\n")
	return c
}

func (c *freshCafe) write(name, text string) {
	c.bench.t.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		c.bench.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.bench.t.Fatal(err)
	}
}

// must runs a command that has to end with a code and say something.
func (c *freshCafe) must(code int, says, typed string, args ...string) string {
	c.bench.t.Helper()
	got, out, talk := c.do(typed, args...)
	if got != code || !strings.Contains(out+talk, says) {
		c.bench.t.Fatalf("iwas-agent %s: exit %d, want %d and %q\n%s\n%s", strings.Join(args, " "), got, code, says, out, talk)
	}
	return out
}

// command is what a technician changes on the router by hand.
func (c *freshCafe) command(text string) string {
	c.bench.t.Helper()
	out, err := c.sim.Paste("admin", text)
	if err != nil {
		c.bench.t.Fatalf("%s: %s %v", text, out, err)
	}
	return out
}

// The whole way of a technician: a router from its box is given to this box, checked,
// planned, set up and confirmed; a guest logs in, is locked and is off; somebody
// damages the set-up, it is found and put back; and all is taken back.
func TestWalk(t *testing.T) {
	c := openFresh(t)
	script := c.must(exitDone, "router add", "", "router", "script", "--id", "r1", "--agent-address", "127.0.0.1")
	pasted := c.command(script)
	if !strings.Contains(pasted, "fingerprint") {
		t.Errorf("the script said %q, want the fingerprint", pasted)
	}
	c.must(exitDone, "Logged in to CAFE1", "", "router", "add", "api-ssl://"+c.sim.APISSLAddr(), "--id", "r1", "--yes")
	before := c.command("/export")

	c.must(exitFailed, "has no set-up configured", "", "router", "plan", "r1")
	file := filepath.Join("conf.d", "r1.toml")
	part, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(part), "coa = ''", fmt.Sprintf("coa = '%s'", c.sim.CoAAddr()), 1)
	c.write(file, text+fmt.Sprintf("\n[nas.setup]\nmode = \"whole-cafe\"\npc_ports = [\"ether3\", \"ether4\"]\ncoa_port = %d\n", c.sim.CoAAddr().Port()))

	c.must(exitFindings, "HSP-101", "", "router", "check", "r1")
	c.must(exitChanges, "Next: iwas-agent router apply r1", "", "router", "plan", "r1", "--detailed-exitcode")
	c.must(exitFailed, "nothing was changed", "pw\nn\n", "router", "apply", "r1")
	if now := c.command("/export"); body(now) != body(before) {
		t.Fatal("a plan, or an apply that was not meant, changed the router")
	}
	if _, err := c.sim.Arrive(oldPhone, ""); err == nil {
		t.Fatal("a phone found a guest network before there was one")
	}
	c.must(exitDone, "iwas-agent router confirm r1", "pw\ny\n", "router", "apply", "r1")
	if kept, err := os.ReadFile(filepath.Join(c.dir, "state", "routers", "r1.setup.json")); err != nil || strings.Contains(string(kept), `"pw"`) {
		t.Errorf("the administrator's password was kept, or nothing was: %v", err)
	}
	c.must(exitDone, "Confirmed", "", "router", "confirm", "r1")
	c.must(exitDone, "Nothing to do", "", "router", "plan", "r1", "--detailed-exitcode")

	c.serveRouter()
	if _, err := c.sim.Arrive(oldPhone, ""); err != nil {
		t.Fatal(err)
	}
	login := func() error {
		return c.sim.Login(oldPhone, routersim.Login{Method: "http-chap", Username: "user0", Password: "pw"})
	}
	if err := login(); err != nil {
		t.Fatalf("a guest logs in: %v", err)
	}
	lock := c.lock("a0")
	c.proven("user0", hotspot.OutcomeEnforced)
	if g, err := c.sim.Guest(oldPhone); err != nil || g.Online {
		t.Fatalf("locked and proven, and online: %+v, %v", g, err)
	}
	if err := login(); err == nil {
		t.Fatal("a locked guest logged in")
	}
	c.unlock(lock)

	c.must(exitDone, "Nothing to do", "", "router", "drift", "r1")
	c.command(`/ip/firewall/filter/remove [find comment="iwas:fw.guest.shut"]`)
	c.must(exitFindings, "fw.guest.shut", "", "router", "drift", "r1")
	c.must(exitDone, "iwas-agent router confirm r1", "", "router", "apply", "r1", "--yes", "--password-file", c.file("pw"))
	c.must(exitDone, "Confirmed", "", "router", "confirm", "r1")
	c.must(exitDone, "Nothing to do", "", "router", "drift", "r1")

	// The last apply put one rule back: its rollback takes that one away again.
	c.must(exitDone, "Rolled back: 1 steps", "", "router", "rollback", "r1")
	c.must(exitFindings, "fw.guest.shut", "", "router", "drift", "r1")
	c.must(exitFailed, "nothing waits", "", "router", "rollback", "r1")
}

// What was applied whole is taken back whole, also after it was confirmed and
// repaired by the service.
func TestRollbackAfterARepair(t *testing.T) {
	c := openFresh(t)
	c.command(c.must(exitDone, "router add", "", "router", "script", "--id", "r1", "--agent-address", "127.0.0.1"))
	c.must(exitDone, "Logged in", "", "router", "add", "api-ssl://"+c.sim.APISSLAddr(), "--id", "r1", "--yes")
	before := c.command("/export")
	file := filepath.Join("conf.d", "r1.toml")
	part, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	c.write(file, string(part)+fmt.Sprintf("\n[nas.setup]\nmode = \"whole-cafe\"\nrepair = \"always\"\ncoa_port = %d\n", c.sim.CoAAddr().Port()))
	c.must(exitDone, "", "pw\n", "router", "apply", "r1", "--yes", "--json")
	c.must(exitDone, "", "", "router", "confirm", "r1")
	c.command(`/ip/hotspot/remove [find name=iwas-guests]`)

	cfg, err := loadConfig(c.config, false)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cfg.applierOf(cfg.NAS[0], *cfg.NAS[0].Setup, new(routeros.Pace))
	if err != nil {
		t.Fatal(err)
	}
	log, flush := newLog(os.Stderr, &logs.Tail{})
	t.Cleanup(flush)
	w := &provision.Watcher{Every: 50 * time.Millisecond, Log: log}
	w.SetRouters([]*provision.Applier{a})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx) }()
	there := func() bool { return strings.TrimSpace(c.command(":put [/ip/hotspot/find name=iwas-guests]")) != "" }
	repaired := func() bool {
		r, ok, err := (a.Keep + ".repair").Load()
		return err == nil && ok && r.State == provision.Confirmed
	}
	for deadline := time.Now().Add(30 * time.Second); !there() || !repaired(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the HotSpot was not put back, or that was not confirmed")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	c.must(exitDone, "Rolled back", "", "router", "rollback", "r1")
	if now := c.command("/export"); body(now) != body(before) {
		t.Errorf("after the rollback the router has\n%s\nwant\n%s", now, before)
	}
}

// body is an export without its head, which tells the time.
func body(export string) string {
	var out []string
	for line := range strings.Lines(export) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// file makes a file with a secret.
func (c *freshCafe) file(text string) string {
	c.write("password", text+"\n")
	return filepath.Join(c.dir, "password")
}

// serveRouter has an enforcer watch the router, as the service does.
func (c *freshCafe) serveRouter() {
	t := c.bench.t
	cfg, err := loadConfig(c.config, false)
	if err != nil {
		t.Fatal(err)
	}
	n := cfg.NAS[0]
	password, err := readSecret(n.Router.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	e := &router.Enforcer{Store: c.db, Locks: c.db, Poll: 200 * time.Millisecond,
		Disconnector: &radius.Client{NASes: []radius.NAS{{ID: "r1", Network: netip.MustParsePrefix("127.0.0.1/32"), Secret: lockSecret, CoA: c.sim.CoAAddr()}}},
		Routers:      []router.Router{{NAS: "r1", Dial: cfg.dialRouter(n, n.Router.User, password, new(routeros.Pace))}}}
	wake, _ := c.db.Wanted()
	e.Wake = wake
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx) }()
	c.calls.mu.Lock()
	c.calls.routers = e
	c.calls.mu.Unlock()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// proven waits until a lock ended.
func (c *freshCafe) proven(user string, want hotspot.Outcome) {
	c.bench.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		locks, err := c.db.Locks(c.bench.t.Context(), 10)
		if err != nil {
			c.bench.t.Fatal(err)
		}
		if len(locks) == 1 && locks[0].Username == user && locks[0].Outcome == want {
			return
		}
		if time.Now().After(deadline) {
			c.bench.t.Fatalf("the lock is %+v, want %s", locks, want)
		}
	}
}
