// Package e2e drives the built binaries as people do: a browser at the console,
// a router with guests, a machine that loses its power.
package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"iwas/internal/demo"
	"iwas/internal/routersim"
)

var bin string // folder of the built binaries

func TestMain(m *testing.M) {
	os.Exit(build(m))
}

// binVar names the folder of binaries that another run of this program built.
const binVar = "IWAS_E2E_BIN"

func build(m *testing.M) int {
	if bin = os.Getenv(binVar); bin != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "iwas-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	for out, pkg := range map[string]string{"iwas-agent": "iwas/agent", "iwas-cloud": "iwas/cloud", "routersim": "iwas/internal/routersim/cmd/routersim"} {
		if err := compile(filepath.Join(dir, out), pkg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// compile builds a program as `make build` does.
func compile(out, pkg string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath", "-buildvcs=false", "-o", out}, flags...), pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, b)
	}
	return nil
}

// open starts a cafe of the test's own.
func open(t *testing.T, change func(*demo.Options)) *demo.Cafe {
	t.Helper()
	ports, err := demo.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	o := demo.Options{Dir: t.TempDir(), Bin: bin, Ports: ports}
	if change != nil {
		change(&o)
	}
	c, err := demo.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			for _, name := range []string{"cloud", "agent", "router"} {
				b, err := os.ReadFile(filepath.Join(o.Dir, name+".log"))
				if err == nil && len(b) > 8000 {
					b = b[len(b)-8000:]
				}
				t.Logf("%s.log:\n%s", name, b)
			}
		}
	})
	return c
}

// account is the part of the API's account the tests look at.
type account struct {
	ID   string `json:"id"`
	Lock struct {
		Locked bool   `json:"locked"`
		State  string `json:"state"`
		Method string `json:"method"`
		Reason string `json:"reason"`
		Steps  []struct {
			Name string    `json:"name"`
			At   time.Time `json:"at"`
		} `json:"steps"`
	} `json:"lock"`
	Pass struct {
		Upload   uint64 `json:"upload"`
		Download uint64 `json:"download"`
	} `json:"pass"`
	Sessions []struct{} `json:"sessions"`
}

func get(t *testing.T, c *demo.Cafe, id string) account {
	t.Helper()
	var a account
	if err := c.API(t.Context(), http.MethodGet, "/api/v1/accounts/"+id, nil, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func act(t *testing.T, c *demo.Cafe, id, what, reason string) account {
	t.Helper()
	var a account
	if err := c.API(t.Context(), http.MethodPost, "/api/v1/accounts/"+id+"/"+what, map[string]string{"reason": reason}, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func guest(t *testing.T, c *demo.Cafe, mac string) routersim.Guest {
	t.Helper()
	var g routersim.Guest
	if err := c.Control(t.Context(), http.MethodGet, "/guests/"+mac, nil, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// login brings a device and logs it in; it returns what the page says.
func login(t *testing.T, c *demo.Cafe, mac string, a demo.Account, method string) error {
	t.Helper()
	if err := c.Control(t.Context(), http.MethodPost, "/guests/"+mac+"/arrive", map[string]string{}, nil); err != nil {
		t.Fatal(err)
	}
	return c.Control(t.Context(), http.MethodPost, "/guests/"+mac+"/login", routersim.Login{Method: method, Username: a.Username, Password: a.Password}, nil)
}

func until(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %s in vain for: %s", limit, what)
		}
	}
}

func knobs(t *testing.T, c *demo.Cafe, k routersim.Knobs) {
	t.Helper()
	if err := c.Control(t.Context(), http.MethodPut, "/router/knobs", k, nil); err != nil {
		t.Fatal(err)
	}
}

const (
	phone  = "02:00:00:00:01:01"
	laptop = "02:00:00:00:01:02"
	other  = "02:00:00:00:01:03"
)

func TestLockEndsWithTheGuestProvablyOff(t *testing.T) {
	c := open(t, nil)
	tess, amira := c.Accounts[0], c.Accounts[1]
	for mac, a := range map[string]demo.Account{phone: tess, laptop: tess, other: amira} {
		if err := login(t, c, mac, a, "http-chap"); err != nil {
			t.Fatalf("login of %s: %v", mac, err)
		}
		if err := c.Control(t.Context(), http.MethodPost, "/guests/"+mac+"/use", map[string]any{"upload": 1000, "download": 9000, "connections": 20}, nil); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "both sessions in the console", 10*time.Second, func() bool { return len(get(t, c, tess.ID).Sessions) == 2 })
	before := guest(t, c, other)

	act(t, c, tess.ID, "lock", "left without paying")
	until(t, "enforced", 5*time.Second, func() bool { return get(t, c, tess.ID).Lock.State == "enforced" })

	for _, mac := range []string{phone, laptop} {
		if g := guest(t, c, mac); g.Online || g.Cookies != 0 || g.Connections != 0 {
			t.Errorf("%s after the lock: online %v, %d cookies, %d connections; want off and none", mac, g.Online, g.Cookies, g.Connections)
		}
	}
	if g := guest(t, c, other); !g.Online || g.Connections < before.Connections {
		t.Errorf("another guest: online %v with %d connections, want online with %d or more", g.Online, g.Connections, before.Connections)
	}
	a := get(t, c, tess.ID)
	var names []string
	for _, s := range a.Lock.Steps {
		names = append(names, s.Name)
		if s.At.IsZero() {
			t.Errorf("step %s has no time", s.Name)
		}
	}
	if got := strings.Join(names, " "); got != "requested sent received enforced" {
		t.Errorf("steps: got %q, want requested sent received enforced", got)
	}
	err := login(t, c, phone, tess, "http-pap")
	if err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("login while locked: got %v, want the reason", err)
	}

	act(t, c, tess.ID, "unlock", "paid")
	until(t, "a login after the unlock", 5*time.Second, func() bool { return login(t, c, phone, tess, "http-pap") == nil })
	until(t, "usage in the console", 10*time.Second, func() bool { return get(t, c, tess.ID).Pass.Download >= 9000 })
}

func TestARouterThatAcknowledgesAndDoesNothingIsCaught(t *testing.T) {
	c := open(t, nil)
	knobs(t, c, routersim.Knobs{CoAIgnore: true})
	tess := c.Accounts[0]
	if err := login(t, c, phone, tess, "http-chap"); err != nil {
		t.Fatal(err)
	}
	act(t, c, tess.ID, "lock", "test")
	until(t, "enforced", 5*time.Second, func() bool { return get(t, c, tess.ID).Lock.State == "enforced" })
	if g := guest(t, c, phone); g.Online {
		t.Error("the guest is still online")
	}
	if a := get(t, c, tess.ID); a.Lock.Method != "api" {
		t.Errorf("method: got %q, want api", a.Lock.Method)
	}
}

// TestALockForASiteThatIsAwayWaitsAndIsApplied: killed, the site is lost by its
// last will; stopped on purpose it says so itself. A lock waits for either.
func TestALockForASiteThatIsAwayWaitsAndIsApplied(t *testing.T) {
	t.Run("killed", func(t *testing.T) { lockWhileAway(t, true, "lost") })
	t.Run("stopped on purpose", func(t *testing.T) { lockWhileAway(t, false, "stopped") })
}

func lockWhileAway(t *testing.T, kill bool, presence string) {
	t.Parallel() // most of it is waiting
	c := open(t, nil)
	tess := c.Accounts[0]
	if err := login(t, c, phone, tess, "http-chap"); err != nil {
		t.Fatal(err)
	}
	until(t, "the session in the console", 10*time.Second, func() bool { return len(get(t, c, tess.ID).Sessions) == 1 })
	if err := c.StopOne("agent", kill); err != nil {
		t.Fatal(err)
	}
	until(t, "the console to see the site "+presence, 15*time.Second, func() bool {
		var s struct{ Presence string }
		if err := c.API(t.Context(), http.MethodGet, "/api/v1/sites/"+c.SiteID, nil, &s); err != nil {
			t.Fatal(err)
		}
		return s.Presence == presence
	})
	act(t, c, tess.ID, "lock", "test")
	time.Sleep(3 * time.Second) // longer than a delta that is not answered waits until it is sent again
	a := get(t, c, tess.ID)
	if a.Lock.State != "waits_for_site" || !a.Lock.Locked {
		t.Errorf("got %+v, want it locked, waits_for_site", a.Lock)
	}
	for _, s := range a.Lock.Steps {
		if s.Name == "received" || s.Name == "enforced" {
			t.Errorf("step %s at %v while the agent is away", s.Name, s.At)
		}
	}
	if g := guest(t, c, phone); !g.Online {
		t.Error("the guest went offline with the agent; the cafe must go on")
	}
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "enforced", 15*time.Second, func() bool { return get(t, c, tess.ID).Lock.State == "enforced" })
	if g := guest(t, c, phone); g.Online || g.Cookies != 0 {
		t.Errorf("the guest is online %v with %d cookies, want off for good", g.Online, g.Cookies)
	}
	if err := login(t, c, phone, tess, "http-pap"); err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("login after the agent's return: got %v, want the reason", err)
	}
}

func TestTheCafeGoesOnWithoutTheCloud(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := open(t, nil)
	way := func() (string, error) {
		out, err := exec.Command(filepath.Join(bin, "iwas-agent"), "--config", c.AgentConfig(), "test", "cloud").CombinedOutput()
		return string(out), err
	}
	if out, err := way(); err != nil || !strings.Contains(out, "5 ok, 0 warnings, 0 failed") {
		t.Errorf("the way to a cloud that is there: %v\n%s", err, out)
	}
	if err := c.StopOne("cloud", true); err != nil {
		t.Fatal(err)
	}
	if out, err := way(); err == nil || !strings.Contains(out, "CLD-101") {
		t.Errorf("the way to a cloud that is away: %v\n%s", err, out)
	}
	for mac, m := range map[string]string{phone: "http-chap", laptop: "http-pap"} {
		if err := login(t, c, mac, c.Accounts[0], m); err != nil {
			t.Errorf("%s without the cloud: %v", m, err)
		}
	}
	if g := guest(t, c, phone); !g.Online || g.Rate != "5M/20M" {
		t.Errorf("got online %v at %q, want online at 5M/20M", g.Online, g.Rate)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	ports, err := demo.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	hold, err := listenUDP(ports.RADIUSAuth)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	_, err = demo.Start(t.Context(), demo.Options{Dir: t.TempDir(), Bin: bin, Ports: ports})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(ports.RADIUSAuth)) {
		t.Errorf("got %v, want an error naming port %d", err, ports.RADIUSAuth)
	}
}

func TestAWrongKeyIsRefusedWithFileLineAndKey(t *testing.T) {
	for program, line := range map[string]string{"iwas-agent": "[radius]\nport = 1812\n", "iwas-cloud": "[console]\nport = 1\n"} {
		file := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(file, []byte("version = 1\n"+line), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(filepath.Join(bin, program), "--config", file, "run")
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); err == nil || code != 78 {
			t.Errorf("%s: exit code %d, want 78", program, code)
		}
		for _, want := range []string{file + ":3", `port"`} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s said %q, want it to name %s", program, out, want)
			}
		}
	}
}

// readiness is the name of a demo.json.
type readiness string

func (r readiness) ready() bool {
	_, err := os.Stat(string(r))
	return err == nil
}

// talk is called at each step of an opening that is done.
type talk func()

func (f talk) Write(b []byte) (int, error) {
	f()
	return len(b), nil
}

// TestAClosedDemoIsNotReady: whether stopped, or closed because a program of it
// died.
func TestAClosedDemoIsNotReady(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := open(t, nil)
	says := readiness(filepath.Join(c.Dir(), "demo.json"))
	if err := c.Signal("router", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(t.Context()); err == nil || says.ready() {
		t.Errorf("a router that died: got %v and demo.json there: %v", err, says.ready())
	}
	if err := os.WriteFile(string(says), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil || says.ready() {
		t.Errorf("stopped: got %v and demo.json there: %v", err, says.ready())
	}
}

// TestTheDemoGoesOnWhereItStopped: guests locked in one run are locked in the
// next, which opens all the same; what demo.json says can be used by hand, and a
// device that nobody types at comes back after its unlock.
func TestTheDemoGoesOnWhereItStopped(t *testing.T) {
	t.Parallel() // most of it is waiting
	dir := t.TempDir()
	var ports demo.Ports // the box was told at its enrolment where the cloud is
	c := open(t, func(o *demo.Options) { o.Guests, o.Dir, ports = true, dir, o.Ports })
	first := c.Facts
	var printer demo.Account
	for _, a := range c.Accounts[1:] {
		if a.Kind == "device" {
			printer = a
		}
		if err := c.API(t.Context(), http.MethodPost, "/api/v1/accounts/"+a.ID+"/lock", map[string]string{"reason": "closing"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the printer to be off", 15*time.Second, func() bool {
		return !guest(t, c, printer.Username).Online && get(t, c, printer.ID).Lock.State == "enforced"
	})
	says := readiness(filepath.Join(dir, "demo.json"))
	if !says.ready() {
		t.Error("the cafe is open and demo.json is not there")
	}
	closing, interrupt := context.WithCancel(t.Context())
	interrupt() // as Ctrl-C does
	if err := c.Wait(closing); err != nil || says.ready() {
		t.Errorf("the cafe closes (%v) and demo.json says that it is open: %v", err, says.ready())
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(string(says), []byte("{}"), 0o600); err != nil { // of a demo that was killed
		t.Fatal(err)
	}

	c = open(t, func(o *demo.Options) {
		o.Guests, o.Dir, o.Ports = true, dir, ports
		o.Talk = talk(func() {
			if says.ready() {
				t.Error("the cafe is being opened and demo.json says that it is open")
			}
		})
	})
	if !slices.Equal(c.Accounts, first.Accounts) || c.SiteID != first.SiteID || c.OwnerPassword != first.OwnerPassword || c.RADIUSSecret != first.RADIUSSecret {
		t.Error("the second run has other accounts or secrets than the first")
	}
	tess := c.Accounts[0]
	ask := exec.CommandContext(t.Context(), program(t, "radclient"), "-r", "1", "-t", "5", c.RADIUSAuth, "auth", c.RADIUSSecret)
	ask.Stdin = strings.NewReader(fmt.Sprintf("User-Name=%q,User-Password=%q,Calling-Station-Id=02:00:00:00:00:99\n", tess.Username, tess.Password))
	if out, err := ask.CombinedOutput(); err != nil || !strings.Contains(string(out), "Access-Accept") {
		t.Errorf("radclient, unsigned as old ones are: %v\n%s", err, out)
	}
	until(t, "the locked printer to be refused", 20*time.Second, func() bool { g := guest(t, c, printer.Username); return !g.Online && g.Denied > 0 })
	if err := c.API(t.Context(), http.MethodPost, "/api/v1/accounts/"+printer.ID+"/unlock", nil, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "the printer to come back by itself", 30*time.Second, func() bool { return guest(t, c, printer.Username).Online })
}
