package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/demo"
	"iwas/internal/routersim"
)

// walk is a technician on site: a box that was enrolled, a router it does not know,
// and the commands typed.
type walk struct {
	t *testing.T
	c *demo.Cafe
}

// types runs a command of the agent that has to end with an exit code and say
// something.
func (w walk) types(code int, says, typed string, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(bin, "iwas-agent"), append([]string{"--config", w.c.AgentConfig()}, args...)...)
	cmd.Stdin = strings.NewReader(typed)
	var talk strings.Builder
	cmd.Stderr = &talk
	out, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out)+talk.String(), says) {
		w.t.Fatalf("iwas-agent %s: exit %d (%v), want %d and %q\n%s\n%s", strings.Join(args, " "), got, err, code, says, out, talk.String())
	}
	return string(out)
}

// paste is what a person enters at the router's console. A line may be refused that
// names one of unknown: what this version does not know yet.
func (w walk) paste(text string, unknown ...string) string {
	w.t.Helper()
	var got struct{ Shown, Refused string }
	if err := w.c.Control(w.t.Context(), http.MethodPost, "/router/paste", map[string]string{"user": "admin", "text": text}, &got); err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(got.Refused) {
		if !slices.ContainsFunc(unknown, func(word string) bool { return strings.Contains(line, "bad parameter "+word) }) {
			w.t.Fatalf("%s\nis refused: %s", text, line)
		}
	}
	return got.Shown
}

// setUp tells the box which set-up its router is to have.
func (w walk) setUp(mode string, ports demo.Ports) {
	w.t.Helper()
	file := filepath.Join(filepath.Dir(w.c.AgentConfig()), "conf.d", "r1.toml")
	part, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	text := strings.Replace(string(part), "coa = ''", fmt.Sprintf("coa = '127.0.0.1:%d'", ports.CoA), 1)
	text += fmt.Sprintf("\n[nas.setup]\nmode = %q\ncoa_port = %d\n", mode, ports.CoA)
	if mode == "whole-cafe" {
		text += "pc_ports = [\"ether3\", \"ether4\"]\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// configuration is an export without its head, which tells the time.
func (w walk) configuration() string {
	w.t.Helper()
	var out []string
	for line := range strings.Lines(w.paste("/export")) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// Exit codes of iwas-agent that the walk meets.
const (
	done     = 0
	changes  = 6
	findings = 4
)

// The whole way, with the programs as they are shipped: the box enrols in its cloud;
// a router is given to it, checked, planned, set up and confirmed; a guest logs in,
// is locked in the cloud, and that is proven there; somebody damages the set-up, it
// is found and repaired; and the repair is taken back. Both doors, both versions and
// both modes are met, and agent/provision holds every combination of them.
func TestWalk(t *testing.T) {
	for name, tc := range map[string]struct {
		mode, finds, rule string
		unknown           []string
		rest              bool
		router            demo.Router
	}{
		"whole cafe, REST, 7.24":    {"whole-cafe", "HSP-101", "fw.guest.shut", nil, true, demo.Router{Unknown: true, Fresh: true, Version: "7.24 (stable)"}},
		"whole cafe, API, 7.16.2":   {"whole-cafe", "HSP-101", "fw.guest.shut", []string{"available-from"}, false, demo.Router{Unknown: true, Fresh: true, Version: "7.16.2 (stable)"}},
		"RADIUS only, API, 7.24":    {"radius-only", "RAD-104", "radius", nil, false, demo.Router{Unknown: true, Version: "7.24 (stable)"}},
		"RADIUS only, REST, 7.16.2": {"radius-only", "RAD-104", "radius", []string{"available-from"}, true, demo.Router{Unknown: true, Version: "7.16.2 (stable)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			var ports demo.Ports
			c := open(t, func(o *demo.Options) { o.Router, ports = tc.router, o.Ports }) // enrols by iwas-agent enroll
			knobs(t, c, routersim.Knobs{Still: true})
			w := walk{t, c}
			url := fmt.Sprintf("https://127.0.0.1:%d", ports.RouterREST)
			if !tc.rest {
				url = fmt.Sprintf("api-ssl://127.0.0.1:%d", ports.RouterAPI)
			}
			script := w.types(done, "router add", "", "router", "script", "--id", "r1", "--agent-address", "127.0.0.1")
			if shown := w.paste(script, tc.unknown...); !strings.Contains(shown, "fingerprint") {
				t.Errorf("the script said %q, want the fingerprint", shown)
			}
			w.types(done, "Logged in to CAFE1", "", "router", "add", url, "--id", "r1", "--yes")
			w.setUp(tc.mode, ports)
			before := w.configuration()

			w.types(findings, tc.finds, "", "router", "check", "r1")
			w.types(changes, "Next: iwas-agent router apply r1", "", "router", "plan", "r1", "--detailed-exitcode")
			if now := w.configuration(); now != before {
				t.Fatal("a plan changed the router")
			}
			password := filepath.Join(c.Dir(), "router", "router-password")
			apply := []string{"router", "apply", "r1", "--yes", "--user", "admin", "--password-file", password}
			w.types(done, "iwas-agent router confirm r1", "", apply...)
			w.types(done, "Confirmed", "", "router", "confirm", "r1")
			w.types(done, "Nothing to do", "", "router", "plan", "r1", "--detailed-exitcode")

			if err := c.StartAgent(t.Context()); err != nil {
				t.Fatal(err)
			}
			until(t, "the site in step", 30*time.Second, func() bool { ok, err := c.InStep(t.Context()); return ok && err == nil })
			tess := c.Accounts[0]
			if err := login(t, c, phone, tess, "http-chap"); err != nil {
				t.Fatalf("a guest logs in: %v", err)
			}
			until(t, "the session in the cloud", 30*time.Second, func() bool { return len(get(t, c, tess.ID).Sessions) == 1 })
			act(t, c, tess.ID, "lock", "left without paying")
			until(t, "the proof in the cloud", 30*time.Second, func() bool { return get(t, c, tess.ID).Lock.State == "enforced" })
			if g := guest(t, c, phone); g.Online || g.Cookies != 0 {
				t.Fatalf("locked and proven, and online: %+v", g)
			}
			if err := login(t, c, phone, tess, "http-chap"); err == nil || !strings.Contains(err.Error(), "blocked") {
				t.Fatalf("a locked guest's login: got %v, want the reason", err)
			}

			w.types(done, "Nothing to do", "", "router", "drift", "r1")
			menu := map[string]string{"whole-cafe": "/ip/firewall/filter", "radius-only": "/radius"}[tc.mode]
			w.paste(menu + `/remove [find comment="iwas:` + tc.rule + `"]`)
			w.types(findings, tc.rule, "", "router", "drift", "r1")
			w.types(done, "iwas-agent router confirm r1", "", apply...)
			w.types(done, "Confirmed", "", "router", "confirm", "r1")
			w.types(done, "Nothing to do", "", "router", "drift", "r1")

			// The last apply put one row back: its rollback takes that one away again.
			w.types(done, "Rolled back: 1 steps", "", "router", "rollback", "r1")
			w.types(findings, tc.rule, "", "router", "drift", "r1")
		})
	}
}
