package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"iwas/agent/radius"
	"iwas/internal/hotspot"
)

// desk is a Decider and Accountant: bob/hello and the device AA:BB:CC:00:00:01
// get in.
type desk struct {
	mu   sync.Mutex
	kept []hotspot.Accounting
}

func (d *desk) Authorize(_ context.Context, r hotspot.Request) (hotspot.Verdict, error) {
	if r.Username == "bob" && r.Credential.Matches("hello") || r.Username == "AA:BB:CC:00:00:01" && r.Credential.Matches("") {
		return hotspot.Verdict{Accept: true, SessionTimeout: 3600e9, Devices: 2}, nil
	}
	return hotspot.Verdict{Reason: hotspot.ReasonBadPassword, Message: "Wrong password."}, nil
}

func (d *desk) Refuse(_ context.Context, reason hotspot.Reason) hotspot.Verdict {
	return hotspot.Verdict{Reason: reason}
}

func (d *desk) Account(_ context.Context, a hotspot.Accounting) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept = append(d.kept, a)
	return nil
}

// TestRADIUSFromThisBox runs the command against a server that is wired from the
// same configuration file, with a router elsewhere.
func TestRADIUSFromThisBox(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("secret", "s3cret\n")
	write("other", "another\n")
	section := "\n[[nas]]\nid = \"r1\"\naddress = \"192.0.2.1\"\nsecret_file = \"secret\"\n"
	cfg, err := loadConfig(write("server.toml", "[radius]\nauth = [\"127.0.0.1:0\"]\nacct = [\"127.0.0.1:0\"]"+section), false)
	if err != nil {
		t.Fatal(err)
	}
	nases, err := cfg.nases()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{}
	s := &radius.Server{Auth: cfg.RADIUS.Auth, Acct: cfg.RADIUS.Acct, NASes: nases, Decider: d, Accountant: d}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	<-s.Ready()
	config := write("agent.toml", fmt.Sprintf("[radius]\nauth = [%q]\nacct = [%q]", s.AuthAddr(), s.AcctAddr())+section)

	test := func(in string, args ...string) (int, string) {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"test", "radius", "--config", config, "--wait", "5s", "--tries", "1"}, args...), strings.NewReader(in), &out, &out)
		return code, out.String()
	}
	for _, tc := range []struct {
		name, in, args string
		code           int
		want           []string
	}{
		{"status", "", "--status", exitDone, []string{"Sent Status-Server", "Received Access-Accept", "Message-Authenticator = 0x"}},
		{"PAP", "hello\n", "--name bob --mac aabb.cc00.0002", exitDone, []string{"User-Password = ***", `Calling-Station-Id = "AA:BB:CC:00:00:02"`, "Received Access-Accept", "Session-Timeout = 3600", "Port-Limit = 2"}},
		{"CHAP", "hello", "--name bob --method chap --password-file -", exitDone, []string{"CHAP-Password = ***", "Received Access-Accept"}},
		{"MAC", "", "--method mac --mac AA:BB:CC:00:00:01", exitDone, []string{`User-Name = "AA:BB:CC:00:00:01"`, "Received Access-Accept"}},
		{"a wrong password", "nope\n", "--name bob", exitFailed, []string{"Received Access-Reject", `Reply-Message = "Wrong password."`, "iwas-agent: rejected"}},
		{"accounting", "", "--acct interim --session 80300001 --name bob --length 5m --upload 4294967297", exitDone, []string{"Acct-Status-Type = Interim-Update", "Acct-Input-Gigawords = 1", "Received Accounting-Response"}},
		{"the router came up", "", "--acct on", exitDone, []string{"Acct-Status-Type = Accounting-On", "Received Accounting-Response"}},
		{"another secret", "", "--status --wait 300ms --secret-file " + filepath.Join(dir, "other"), exitFailed, []string{"no answer: another secret"}},
		{"without Message-Authenticator", "hello\n", "--name bob --no-message-authenticator --wait 300ms", exitFailed, []string{"no answer"}},
		{"no name", "", "", exitUsage, []string{"--name is missing"}},
		{"no session", "", "--acct start", exitUsage, []string{"--session is missing"}},
		{"an unknown method", "", "--name bob --method eap", exitUsage, []string{`"eap" is not pap, chap or mac`}},
		{"not a MAC", "", "--name bob --mac 12", exitUsage, []string{`"12" is not a MAC`}},
		{"two requests at once", "", "--status --acct on", exitUsage, []string{"two different requests"}},
		{"a server that is no address", "", "--status --server 127.0.0.1:nowhere", exitUsage, []string{`"nowhere" is not a port`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out := test(tc.in, strings.Fields(tc.args)...)
			if code != tc.code {
				t.Errorf("exit code: got %d, want %d", code, tc.code)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("output: no %q in\n%s", want, out)
				}
			}
			if strings.Contains(out, "hello") || strings.Contains(out, "s3cret") {
				t.Errorf("a secret is printed:\n%s", out)
			}
		})
	}
	d.mu.Lock()
	if len(d.kept) != 2 || d.kept[0].Upload != 1<<32+1 || d.kept[1].Kind != hotspot.NASOn || d.kept[0].NAS != loopbackNAS {
		t.Errorf("accounting as stored: got %+v", d.kept)
	}
	d.mu.Unlock()

	code, out := test("hello\n", "--name", "bob", "--json")
	var x radius.Exchange
	if err := json.Unmarshal([]byte(out), &x); err != nil || code != exitDone || x.Reply != "Access-Accept" || !x.Protected || x.Attempts != 1 {
		t.Errorf("as JSON: got %d, %v, %+v", code, err, x)
	}
}

func TestTheKeysOfARouterBecomeANAS(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"new", "old"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(keys string) (radius.NAS, int, error) {
		file := filepath.Join(dir, "agent.toml")
		if err := os.WriteFile(file, []byte("[[nas]]\nid = \"r1\"\naddress = \"10.0.0.1\"\nsecret_file = \"new\"\n"+keys), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := loadConfig(file, false)
		if err != nil {
			return radius.NAS{}, 0, err
		}
		all, err := cfg.nases()
		if err != nil {
			return radius.NAS{}, 0, err
		}
		return all[0], len(all), nil
	}
	n, count, err := load("")
	if err != nil || n.MessageAuthenticator != radius.Learn || n.Previous != "" || count != 2 {
		t.Errorf("defaults: got %+v and %d in all, %v; want learn, and the one for tests besides", n, count, err)
	}
	n, _, err = load("message_authenticator = \"off\"\nmore_addresses = [\"10.0.1.0/24\", \"fd00::1\"]\nprevious_secret_file = \"old\"\nprevious_secret_until = \"2026-12-31\"\n")
	if err != nil || n.MessageAuthenticator != radius.Off || len(n.Also) != 2 || n.Also[1] != netip.MustParsePrefix("fd00::1/128") ||
		n.Previous.Reveal() != "old" || n.PreviousUntil.Format("2006-01-02 15:04") != "2027-01-01 00:00" {
		t.Errorf("every key: got %+v, %v", n, err)
	}
	if n, _, err = load("require_message_authenticator = true\n"); err != nil || n.MessageAuthenticator != radius.Require {
		t.Errorf("the older key: got %q, %v; want require", n.MessageAuthenticator, err)
	}
	for keys, want := range map[string]string{
		"message_authenticator = \"always\"\n":                                        `message_authenticator: "always" is not learn, require or off`,
		"message_authenticator = \"off\"\nrequire_message_authenticator = true\n":     "contradicts",
		"previous_secret_file = \"old\"\nprevious_secret_until = \"soon\"\n":          `"soon" is not a date`,
		"previous_secret_until = \"2026-12-31\"\n":                                    "belongs to previous_secret_file",
		"more_addresses = [\"10.0.0.1\"]\n":                                           `10.0.0.1 belongs to "r1" already`,
		"more_addresses = [\"router\"]\n":                                             `more_addresses[0]: "router"`,
		"[[nas]]\nid = \"loopback-test\"\naddress = \"::2\"\nsecret_file = \"new\"\n": "a name of this program's own",
		"[[nas]]\nid = \"r2\"\naddress = \"10.0.0.1/32\"\nsecret_file = \"new\"\n":    `belongs to "r1" already`,
	} {
		if _, _, err := load(keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want it to say %q", keys, err, want)
		}
	}
}
