package main

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/agent/router"
	"iwas/agent/statuspage/access"
	"iwas/internal/secret"
)

// doorConfig writes a configuration with a door and returns its file.
func doorConfig(t *testing.T, status, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.toml")
	if err := os.WriteFile(file, []byte("version = 1\nstate_dir = \"state\"\n[status]\n"+status+"\n"+more), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const aDoor = "address = \"192.168.99.2:8480\"\nnetworks = [\"192.168.99.0/24\"]"

func TestPasswordsAreSetOnTheBox(t *testing.T) {
	file := doorConfig(t, aDoor, "")
	command := func(in string, args ...string) (code int, out, talk string) {
		var o, e bytes.Buffer
		code = run(t.Context(), append([]string{"--config", file}, args...), strings.NewReader(in), &o, &e)
		return code, o.String(), e.String()
	}
	if code, _, talk := command("", "password", "list"); code != exitDone || !strings.Contains(talk, "password set") {
		t.Errorf("a new box: exit code %d, %q", code, talk)
	}
	code, out, talk := command("three wet ducks\n", "password", "set")
	if code != exitDone || !strings.Contains(out, "technician may sign in, as a technician.") || !strings.Contains(out, "From 192.168.99.0/24: https://192.168.99.2:8480") || strings.Contains(out, "ducks") {
		t.Fatalf("set: exit code %d, %q, %q", code, out, talk)
	}
	print, _, err := (&access.Certificate{Dir: filepath.Join(filepath.Dir(file), "state"), Hosts: []string{"192.168.99.2"}}).Printed()
	if err != nil || !strings.Contains(out, print) {
		t.Errorf("%q does not have the certificate's fingerprint %s, %v", out, print, err)
	}
	secretFile := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(secretFile, []byte("a blue teapot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, talk := command("", "password", "set", "Rui", "--role", "cashier", "--password-file", secretFile); code != exitDone || !strings.Contains(out, "as a cashier") {
		t.Errorf("from a file: exit code %d, %q, %q", code, out, talk)
	}
	code, out, _ = command("", "password", "set", "Eva", "--generate", "--json")
	_, password, _ := strings.Cut(out, `"password": "`)
	password, _, _ = strings.Cut(password, `"`)
	if code != exitDone || len(password) != generatedLength {
		t.Fatalf("generated: exit code %d, %q", code, out)
	}
	desk := &access.Desk{People: &access.People{File: filepath.Join(filepath.Dir(file), "state", "people.json")}}
	for name, pw := range map[string]string{"technician": "three wet ducks", "rui": "a blue teapot", "eva": password} {
		if _, _, err := desk.SignIn(t.Context(), netip.MustParseAddr("127.0.0.1"), name, secret.Value(pw)); err != nil {
			t.Errorf("%s cannot sign in: %v", name, err)
		}
	}
	if code, out, _ := command("", "password", "remove", "EVA"); code != exitDone || !strings.Contains(out, "may not sign in any more") {
		t.Errorf("remove: exit code %d, %q", code, out)
	}
	if code, out, _ := command("", "password", "list"); code != exitDone || !strings.Contains(out, "Rui") || !strings.Contains(out, "cashier") || strings.Contains(out, "Eva") {
		t.Errorf("list: exit code %d, %q", code, out)
	}
	for _, tc := range []struct {
		in   string
		code int
		says string
		args []string
	}{
		{"short\n", exitFailed, "5 characters", []string{"password", "set"}},
		{"\n", exitFailed, "0 characters", []string{"password", "set"}},
		{"long enough\n", exitUsage, "not a role", []string{"password", "set", "x", "--role", "owner"}},
		{"", exitUsage, "", []string{"password", "set", "x", "--password-file", filepath.Join(t.TempDir(), "none")}},
		{"", exitUsage, "", []string{"password", "set", "x", "--generate", "--password-file", secretFile}},
		{"", exitFailed, "nobody here is called", []string{"password", "remove", "eva"}},
	} {
		if code, _, talk := command(tc.in, tc.args...); code != tc.code || !strings.Contains(talk, tc.says) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", tc.args, code, talk, tc.code, tc.says)
		}
	}
}

func TestAPasswordIsAskedForTwice(t *testing.T) {
	ask := func(typed ...string) (string, string, error) {
		var talk bytes.Buffer
		v, err := askTwice(&talk, "ana", func() ([]byte, error) { b := typed[0]; typed = typed[1:]; return []byte(b), nil })
		return v.Reveal(), talk.String(), err
	}
	if v, talk, err := ask("three wet ducks", "three wet ducks"); v != "three wet ducks" || err != nil || strings.Contains(talk, "ducks") || !strings.Contains(talk, "of ana") {
		t.Errorf("got %q, %q, %v", v, talk, err)
	}
	if v, _, err := ask("three wet ducks", "three wet duck"); v != "" || err == nil {
		t.Errorf("two that differ: got %q, %v, want nothing", v, err)
	}
}

func TestBadDoorsAreNamed(t *testing.T) {
	for name, tc := range map[string]struct{ status, more, want string }{
		"everywhere":             {"address = \"0.0.0.0:8480\"\nnetworks = [\"10.0.0.0/8\"]", "", `status.address: "0.0.0.0:8480" is not one address`},
		"loopback":               {"address = \"127.0.0.1:8481\"\nnetworks = [\"10.0.0.0/8\"]", "", "status.address: "},
		"a name":                 {"address = \"box:8480\"\nnetworks = [\"10.0.0.0/8\"]", "", "status.address: "},
		"nobody named":           {`address = "192.168.99.2:8480"`, "", "status.networks: must say who"},
		"everybody":              {"address = \"192.168.99.2:8480\"\nnetworks = [\"0.0.0.0/0\"]", "", "status.networks[0]: 0.0.0.0/0 is everybody"},
		"no network":             {"address = \"192.168.99.2:8480\"\nnetworks = [\"office\"]", "", `status.networks[0]: "office"`},
		"networks alone":         {`networks = ["10.0.0.0/8"]`, "", "status.networks: belongs to status.address"},
		"guests that are none":   {aDoor + "\nguests = [\"10.0.0.9-10.0.0.1\"]", "", "status.guests[0]"},
		"a name that is none":    {aDoor + "\nnames = [\"https://box\"]", "", "status.names[0]"},
		"within a routers' home": {aDoor, "[[nas]]\nid=\"r\"\naddress=\"192.168.0.0/16\"\nsecret_file=\"x\"\n", "lies within the address of a [[nas]]"},
	} {
		if _, err := loadConfig(doorConfig(t, tc.status, tc.more), false); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, tc.want)
		}
	}
	if _, err := loadConfig(doorConfig(t, aDoor+"\nguests = [\"10.20.0.0/22\", \"10.5.5.10-10.5.5.99\"]\nnames = [\"box.cafe.lan\"]", ""), false); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

// Guests and routers are known by the configuration at once, by what the routers
// told, and by what they told before a restart.
func TestWhatRoutersToldOutlivesARestart(t *testing.T) {
	cfg, err := loadConfig(doorConfig(t, aDoor+"\nguests = [\"192.168.99.200-192.168.99.250\"]",
		"[[nas]]\nid=\"r\"\naddress=\"192.168.99.1\"\nsecret_file=\"x\"\n[nas.router]\nurl=\"api-ssl://192.168.99.9:8729\"\nuser=\"u\"\npassword_file=\"p\"\n[nas.setup]\nmode=\"whole-cafe\"\nwan=\"ether1\"\ntrunk=\"ether2\"\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{cfg: cfg, guests: &guestBook{file: filepath.Join(t.TempDir(), "guests.json"), log: slog.New(slog.DiscardHandler)}}
	is := func(when, addr string, want access.Reason) {
		t.Helper()
		if got := s.doorRules().Refuses(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s, %s: got %q, want %q", when, addr, got, want)
		}
	}
	for addr, want := range map[string]access.Reason{"192.168.99.7": "", "192.168.99.1": access.FromRouter, "192.168.99.9": access.FromRouter, "192.168.99.200": access.FromGuest, "10.20.1.1": access.FromGuest, "10.9.9.9": access.FromStranger} {
		is("by the configuration", addr, want)
	}
	h := router.Health{NAS: "r"}
	h.Vitals.Pools.At = time.Now()
	h.Vitals.Pools.Addresses = []netip.Addr{netip.MustParseAddr("192.168.99.77")}
	h.Vitals.Pools.Guests = []router.Range{{From: netip.MustParseAddr("192.168.99.128"), To: netip.MustParseAddr("192.168.99.140")}}
	s.guests.update([]router.Health{h})
	is("told", "192.168.99.77", access.FromRouter)
	is("told", "192.168.99.130", access.FromGuest)
	s.guests = &guestBook{file: s.guests.file, log: s.guests.log}
	is("after a restart", "192.168.99.77", access.FromRouter)
	is("after a restart", "192.168.99.140", access.FromGuest)
	h.Vitals.Pools.At, h.Vitals.Pools.Guests = time.Now().Add(time.Second), nil
	s.guests.update([]router.Health{h})
	is("the pool is gone", "192.168.99.130", "")
	if err := os.WriteFile(s.guests.file, []byte("null"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.guests = &guestBook{file: s.guests.file, log: s.guests.log}
	is("a damaged file", "192.168.99.7", "")
	s.guests.update([]router.Health{h})
	is("and learnt anew", "192.168.99.77", access.FromRouter)
}
