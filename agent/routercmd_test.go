package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/condition"
	"iwas/internal/routersim"
)

// box is a folder as an installation has it, and its commands.
type box struct {
	t      *testing.T
	dir    string
	config string
}

func newBox(t *testing.T) box {
	t.Helper()
	dir := t.TempDir()
	b := box{t: t, dir: dir, config: filepath.Join(dir, "agent.toml")}
	if err := os.WriteFile(b.config, []byte("version = 1\nstate_dir = \"state\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// do runs a command with what a person types, and returns its exit code and what it said.
func (b box) do(typed string, args ...string) (code int, out, talk string) {
	b.t.Helper()
	var o, e bytes.Buffer
	code = run(b.t.Context(), append([]string{"--config", b.config}, args...), strings.NewReader(typed), &o, &e)
	return code, o.String(), e.String()
}

func startRouter(t *testing.T, password string) *routersim.Sim {
	t.Helper()
	nobody := netip.MustParseAddrPort("127.0.0.1:9")
	s, err := routersim.Start(t.Context(), routersim.Config{Identity: "CAFE1", Password: password, APISSLListen: "127.0.0.1:0", RESTListen: "127.0.0.1:0",
		RADIUS: routersim.RADIUSConfig{Auth: nobody, Acct: nobody, Secret: "s", Timeout: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestARouterIsAddedByAPersonsYes is the walk of a technician: script, add, a
// certificate that changes, trust.
func TestARouterIsAddedByAPersonsYes(t *testing.T) {
	b := newBox(t)
	code, script, talk := b.do("", "router", "script", "--agent-address", "127.0.0.1")
	if code != exitDone || !strings.Contains(script, "/user/add name=iwas") || !strings.Contains(talk, "router add") {
		t.Fatalf("script: exit %d\n%s\n%s", code, script, talk)
	}
	if _, again, _ := b.do("", "router", "script", "--agent-address", "127.0.0.1"); again != script {
		t.Error("the second script has other secrets than the first")
	}
	password, err := os.ReadFile(filepath.Join(b.dir, "state", "secrets", "router-password"))
	if err != nil || !strings.Contains(script, strings.TrimSpace(string(password))) {
		t.Fatalf("the script does not carry the password kept: %v", err)
	}
	if info, err := os.Stat(filepath.Join(b.dir, "state", "secrets", "router-password")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password's file has mode %v, %v; want 0600", info.Mode(), err)
	}

	sim := startRouter(t, strings.TrimSpace(string(password)))
	url := strings.TrimSuffix(sim.RESTURL(), "/rest")
	if code, _, talk := b.do("n\n", "router", "add", url); code != exitFailed || !strings.Contains(talk, "not trusted") {
		t.Errorf("a no: exit %d, %s", code, talk)
	}
	if code, _, talk := b.do("", "router", "add", url, "--fingerprint", strings.Repeat("00", 32)); code != exitFailed || !strings.Contains(talk, "fingerprint") {
		t.Errorf("another fingerprint: exit %d, %s", code, talk)
	}
	if _, err := os.Stat(filepath.Join(b.dir, partsDir)); !os.IsNotExist(err) {
		t.Error("a refusal left a configuration behind")
	}
	code, out, talk := b.do("y\n", "router", "add", url)
	if code != exitDone || !strings.Contains(out, "CAFE1") || !strings.Contains(talk, "SHA-256") {
		t.Fatalf("add: exit %d\n%s\n%s", code, out, talk)
	}
	if code, _, talk := b.do("y\n", "router", "add", url); code != exitUsage || !strings.Contains(talk, "already") {
		t.Errorf("the same again: exit %d, %s", code, talk)
	}
	code, out, _ = b.do("", "router", "show", "--json")
	var shown []struct{ ID, URL, SHA256 string }
	if err := json.Unmarshal([]byte(out), &shown); err != nil || code != exitDone || len(shown) != 1 || shown[0].URL != url || len(shown[0].SHA256) != 64 {
		t.Errorf("show: exit %d, %v\n%s", code, err, out)
	}

	// The router is replaced: another certificate at the same address.
	cfg, err := loadConfig(b.config, false)
	if err != nil {
		t.Fatal(err)
	}
	was, err := cfg.trusted("router")
	if err != nil {
		t.Fatal(err)
	}
	was.SHA256 = strings.Repeat("ab", 32)
	raw, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.trustFile("router"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, talk := b.do("\n", "router", "trust"); code != exitFailed || !strings.Contains(talk, "NOT the one trusted") {
		t.Errorf("a changed certificate and no yes: exit %d, %s", code, talk)
	}
	if code, out, talk := b.do("yes\n", "router", "trust", "router"); code != exitDone || !strings.Contains(out, "Trusted") {
		t.Errorf("trust: exit %d, %s%s", code, out, talk)
	}
	if now, err := cfg.fingerprint(cfg.NAS[0]); err != nil || now != shown[0].SHA256 {
		t.Errorf("after trust: fingerprint %s, %v; want %s", now, err, shown[0].SHA256)
	}
}

func TestRouterCommandsSayWhatIsWrong(t *testing.T) {
	b := newBox(t)
	sim := startRouter(t, "another password")
	if _, _, talk := b.do("", "router", "script", "--agent-address", "127.0.0.1"); talk == "" {
		t.Fatal("no next step")
	}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"router", "script", "--agent-address", "box"}, exitUsage, "not an address"},
		{[]string{"router", "script"}, exitUsage, "agent-address"},
		{[]string{"router", "add", "ftp://10.0.0.1"}, exitUsage, "api-ssl://"},
		{[]string{"router", "add", "api-ssl://" + sim.APIAddr(), "--yes"}, exitFailed, "does not speak TLS"},
		{[]string{"router", "add", "api-ssl://" + sim.APISSLAddr(), "--yes"}, exitFailed, "name and password"},
		{[]string{"router", "add", "api-ssl://127.0.0.1:1", "--yes"}, exitFailed, "service is off"},
		{[]string{"router", "trust"}, exitFailed, "router add"},
		{[]string{"explain", "RTR-999"}, exitUsage, "no code"},
		{[]string{"router", "fly"}, exitUsage, "fly"},
		{[]string{"fly"}, exitUsage, "fly"},
		{[]string{"explain", "A", "B"}, exitUsage, "accepts"},
	} {
		if code, out, talk := b.do("", tc.args...); code != tc.code || !strings.Contains(talk, tc.want) {
			t.Errorf("%v: exit %d, want %d and %q\n%s%s", tc.args, code, tc.code, tc.want, out, talk)
		}
	}
}

func TestExplainKnowsEveryCode(t *testing.T) {
	b := newBox(t)
	_, list, _ := b.do("", "explain")
	for _, c := range condition.All() {
		if !strings.Contains(list, c.Code) {
			t.Errorf("%s is not listed", c.Code)
		}
		if code, out, _ := b.do("", "explain", strings.ToLower(c.Code)); code != exitDone || !strings.Contains(out, "## Fix") {
			t.Errorf("explain %s: exit %d\n%.200s", c.Code, code, out)
		}
	}
}
