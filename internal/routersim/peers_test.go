package routersim

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program finds a peer's program; its absence is a failure, never a skip.
func program(t testing.TB, name, pkg string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(candidate); err == nil {
			return p
		}
	}
	t.Fatalf("%s is missing: install the Debian package %s (make peers does)", name, pkg)
	return ""
}

// freeradius is a RADIUS server we did not write. It knows bob, whose password is
// hello; the device phoneMAC by MAC with password macpw; and plain, as bob, but
// whose replies carry no Message-Authenticator.
type freeradius struct {
	auth, acct netip.AddrPort
	log        string // one line a record: fields
}

// fields are what a line of the log holds, as FreeRADIUS decoded it.
var fields = []string{"Acct-Status-Type", "Acct-Terminate-Cause", "User-Name", "Acct-Session-Id", "Framed-IP-Address", "Mikrotik-Host-IP",
	"Calling-Station-Id", "Called-Station-Id", "NAS-Identifier", "NAS-IP-Address", "Class", "Acct-Input-Octets", "Acct-Input-Gigawords",
	"Acct-Output-Octets", "Acct-Output-Gigawords", "Acct-Session-Time"}

const freeradiusConf = `
prefix = %[1]s
libdir = /usr/lib/freeradius
logdir = %[1]s
run_dir = %[1]s
pidfile = %[1]s/pid
max_request_time = 5
cleanup_delay = 5
max_requests = 1024
proxy_requests = no
log {
	destination = stdout
}
security {
	max_attributes = 200
}
thread pool {
	start_servers = 1
	max_servers = 2
	min_spare_servers = 1
	max_spare_servers = 2
}
client local {
	ipaddr = 127.0.0.1
	secret = %[2]s
	require_message_authenticator = %[7]s
}
modules {
	always ok {
		rcode = ok
	}
	chap {
	}
	pap {
	}
	linelog {
		filename = %[1]s/acct
		format = "%[5]s"
	}
}
server router {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = %[3]d
	}
	listen {
		type = acct
		ipaddr = 127.0.0.1
		port = %[4]d
	}
	authorize {
		if (&User-Name == "bob" || &User-Name == "plain") {
			update control {
				Cleartext-Password := "hello"
			}
			update reply {
				Class := 0x0001feff
				Session-Timeout := 3600
				Acct-Interim-Interval := 1
				Mikrotik-Rate-Limit := "2M/10M"
				Mikrotik-Address-List := "paid"
			}
		}
		elsif (&User-Name == "%[6]s") {
			update control {
				Cleartext-Password := "macpw"
			}
		}
		if (&User-Name != "plain") {
			update reply {
				Message-Authenticator := 0x00
			}
		}
		chap
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type CHAP {
			chap
		}
	}
	post-auth {
		Post-Auth-Type REJECT {
			update reply {
				Reply-Message := "not today"
				Message-Authenticator := 0x00
			}
		}
	}
	accounting {
		linelog
		ok
	}
}
`

// startFreeRADIUS runs one until the test ends; demands "yes" makes it ignore
// Access-Requests without Message-Authenticator.
func startFreeRADIUS(t *testing.T, demands string) freeradius {
	t.Helper()
	dir := t.TempDir()
	f := freeradius{auth: nobody(t), acct: nobody(t), log: filepath.Join(dir, "acct")}
	format := ""
	for _, name := range fields {
		format += name + "=%{" + name + "}|"
	}
	conf := fmt.Sprintf(freeradiusConf, dir, testSecret, f.auth.Port(), f.acct.Port(), format, phoneMAC, demands)
	if err := os.WriteFile(filepath.Join(dir, "radiusd.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, "freeradius", "freeradius"), "-f", "-X", "-d", dir)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() []byte {
		b, err := os.ReadFile(out.Name())
		if err != nil {
			t.Error(err)
		}
		return b
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		out.Close()
		if t.Failed() {
			b := said()
			t.Logf("freeradius:\n%s", b[max(0, len(b)-6000):])
		}
	})
	until(t, "freeradius to be ready", func() bool { return bytes.Contains(said(), []byte("Ready to process requests")) })
	return f
}

// records returns the accounting that FreeRADIUS decoded, in order.
func (f freeradius) records(t *testing.T) []map[string]string {
	t.Helper()
	b, err := os.ReadFile(f.log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []map[string]string
	for line := range strings.Lines(string(b)) {
		r := map[string]string{}
		for _, field := range strings.Split(strings.TrimSpace(line), "|") {
			if k, v, ok := strings.Cut(field, "="); ok {
				r[k] = v
			}
		}
		out = append(out, r)
	}
	return out
}

// await waits for a record of a kind and returns the newest.
func (f freeradius) await(t *testing.T, kind string, ok func(map[string]string) bool) map[string]string {
	t.Helper()
	var got map[string]string
	until(t, "a record "+kind, func() bool {
		for _, r := range f.records(t) {
			if r["Acct-Status-Type"] == kind && (ok == nil || ok(r)) {
				got = r
			}
		}
		return got != nil
	})
	return got
}

func TestLoginsAgainstFreeRADIUS(t *testing.T) {
	f := startFreeRADIUS(t, "yes")
	s := start(t, f.auth, f.acct, func(c *Config) { c.LoginBy = "http-chap,http-pap,mac" })
	s.SetKnobs(Knobs{Still: true})
	if _, _, err := s.Command("iwas", "ip/hotspot/profile", "set", map[string]string{".id": "hsprof1", "mac-auth-password": "macpw"}, nil); err != nil {
		t.Fatal(err)
	}
	g, err := s.Arrive(phoneMAC, "")
	if err != nil || !g.Online || g.LoginBy != "mac" || g.User != phoneMAC {
		t.Errorf("a known MAC arrives: got %+v, %v; want online by mac", g, err)
	}
	for i, tc := range []struct{ method, user, password, want string }{
		{"http-chap", "bob", "hello", ""},
		{"http-pap", "bob", "hello", ""},
		{"http-pap", "bob", "a password longer than sixteen octets", "not today"},
		{"http-chap", "bob", "nope", "not today"},
		{"http-pap", "bob", "nope", "not today"},
		{"http-pap", "nobody", "hello", "not today"},
	} {
		mac := fmt.Sprintf("AA:BB:CC:00:01:%02X", i)
		if g, err := s.Arrive(mac, ""); err != nil || g.Online || g.Error != "" {
			t.Errorf("an unknown MAC arrives: got %+v, %v; want the page, without an error", g, err)
		}
		got := ""
		if err := s.Login(mac, Login{Method: tc.method, Username: tc.user, Password: tc.password}); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s as %s with %q: got %q, want %q", tc.method, tc.user, tc.password, got, tc.want)
		}
		if err := s.Leave(mac); err != nil {
			t.Fatal(err)
		}
	}
}

// FreeRADIUS 3.2.1 signs only what it is told to sign.
func TestARouterThatRequiresMessageAuthenticatorIgnoresAnUnsignedAccept(t *testing.T) {
	f := startFreeRADIUS(t, "no")
	s := start(t, f.auth, f.acct, func(c *Config) { c.LoginBy = "http-chap"; c.RADIUS.Timeout = 100 * time.Millisecond })
	s.SetKnobs(Knobs{Still: true})
	if _, err := s.Arrive(phoneMAC, ""); err != nil {
		t.Fatal(err)
	}
	plain := Login{Method: "http-chap", Username: "plain", Password: "hello"}
	if err := s.Login(phoneMAC, plain); err == nil || err.Error() != "RADIUS server is not responding" {
		t.Errorf("an unsigned Accept: got %v, want no answer", err)
	}
	if c := s.Counters(); c.BadReplies == 0 {
		t.Errorf("got %+v, want bad replies counted", c)
	}
	id := firstID(t, s, "radius")
	if _, _, err := s.Command("iwas", "radius", "set", map[string]string{".id": id, "require-message-auth": "no"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Login(phoneMAC, plain); err != nil {
		t.Errorf("an unsigned Accept where none is required: got %v, want online", err)
	}
}

func firstID(t *testing.T, s *Sim, path string) string {
	t.Helper()
	rows, _, err := s.Command("iwas", path, "print", nil, nil)
	if err != nil || len(rows) == 0 {
		t.Fatalf("%s: %v, %v", path, rows, err)
	}
	return rows[0][".id"]
}

func TestAccountingAsFreeRADIUSReadsIt(t *testing.T) {
	f := startFreeRADIUS(t, "yes")
	s := start(t, f.auth, f.acct, func(c *Config) { c.LoginBy = "http-chap" })
	s.SetKnobs(Knobs{Still: true})
	on := f.await(t, "Accounting-On", nil)
	if on["NAS-Identifier"] != "MikroTik" || on["NAS-IP-Address"] != "127.0.0.1" || on["Acct-Session-Id"] != "" {
		t.Errorf("Accounting-On: got %v", on)
	}
	if _, err := s.Arrive(phoneMAC, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Login(phoneMAC, Login{Method: "http-chap", Username: "bob", Password: "hello"}); err != nil {
		t.Fatal(err)
	}
	g, err := s.Guest(phoneMAC)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"User-Name": "bob", "Acct-Session-Id": g.AcctID, "Framed-IP-Address": g.IP, "Mikrotik-Host-IP": g.IP, "Calling-Station-Id": phoneMAC,
		"Called-Station-Id": "hotspot1", "Class": "0x0001feff", "Acct-Input-Gigawords": "", "Acct-Terminate-Cause": ""}
	holds(t, "Start", f.await(t, "Start", nil), want)
	if rows, _, err := s.Command("iwas", "ip/firewall/address-list", "print", nil, []string{"list=paid"}); err != nil || len(rows) != 1 || rows[0]["address"] != g.IP {
		t.Errorf("Mikrotik-Address-List: got %v, %v; want a row with %s", rows, err, g.IP)
	}
	const upload, download = 1<<32 + 7, 3<<32 + 9
	if online, err := s.Use(phoneMAC, upload, download, 0); err != nil || !online {
		t.Fatalf("got %v, %v", online, err)
	}
	for k, v := range map[string]string{"Acct-Input-Octets": "7", "Acct-Input-Gigawords": "1", "Acct-Output-Octets": "9", "Acct-Output-Gigawords": "3"} {
		want[k] = v
	}
	// Acct-Interim-Interval is 1 s.
	holds(t, "Interim-Update", f.await(t, "Interim-Update", func(r map[string]string) bool { return r["Acct-Input-Octets"] == "7" }), want)
	if err := s.Logout(phoneMAC); err != nil {
		t.Fatal(err)
	}
	want["Acct-Terminate-Cause"] = "User-Request"
	holds(t, "Stop", f.await(t, "Stop", nil), want)
	if rows, _, err := s.Command("iwas", "ip/firewall/address-list", "print", nil, []string{"list=paid"}); err != nil || len(rows) != 0 {
		t.Errorf("after the logout: got %v, %v; want no row", rows, err)
	}
}

func TestAnOrderlyRestartSendsItsStopsFirst(t *testing.T) {
	f := startFreeRADIUS(t, "yes")
	s := start(t, f.auth, f.acct, func(c *Config) { c.LoginBy = "http-chap" })
	s.SetKnobs(Knobs{Still: true})
	if _, err := s.Arrive(phoneMAC, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Login(phoneMAC, Login{Method: "http-chap", Username: "bob", Password: "hello"}); err != nil {
		t.Fatal(err)
	}
	f.await(t, "Start", nil)
	s.Reboot()
	var kinds []string
	until(t, "the second Accounting-On", func() bool {
		kinds = nil
		for _, r := range f.records(t) {
			if k := r["Acct-Status-Type"]; k != "Interim-Update" {
				kinds = append(kinds, k+r["Acct-Terminate-Cause"])
			}
		}
		return len(kinds) >= 4
	})
	if got, want := strings.Join(kinds, " "), "Accounting-On Start StopNAS-Reboot Accounting-On"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func holds(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %s is %q, want %q", what, k, got[k], v)
		}
	}
}

// radclient sends one request to /radius/incoming and returns what it says of
// the answer.
func radclient(t *testing.T, s *Sim, kind, secret, attributes string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "radclient", "freeradius-utils"), "-x", "-r", "1", "-t", "1", s.CoAAddr().String(), kind, secret)
	cmd.Stdin = strings.NewReader(attributes + "\n")
	out, err := cmd.CombinedOutput() // it fails for a NAK and for silence
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	return string(out)
}

// TestRadclientAtTheCoADoor: a client we did not write is answered as a router
// answers (facts.md §4 "CoA and Disconnect").
func TestRadclientAtTheCoADoor(t *testing.T) {
	f := startFreeRADIUS(t, "yes")
	s := start(t, f.auth, f.acct, func(c *Config) { c.LoginBy = "http-chap" })
	s.SetKnobs(Knobs{Still: true})
	if _, err := s.Arrive(phoneMAC, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Login(phoneMAC, Login{Method: "http-chap", Username: "bob", Password: "hello"}); err != nil {
		t.Fatal(err)
	}
	g, err := s.Guest(phoneMAC)
	if err != nil || !g.Online {
		t.Fatalf("got %+v, %v; want bob online", g, err)
	}
	who := fmt.Sprintf("User-Name=bob,Framed-IP-Address=%s,Acct-Session-Id=%s,Message-Authenticator=0x00", g.IP, g.AcctID)
	for _, tc := range []struct{ name, kind, secret, attributes, want string }{
		{"another speed", "coa", testSecret, who + `,Mikrotik-Rate-Limit="1M/1M"`, "CoA-ACK"},
		{"another secret", "disconnect", "wrong", who, "No reply"},
		// A table of what a client may get wrong (hostap's test_radius.py, radius_das_*).
		{"an attribute that names no session", "disconnect", testSecret, who + `,Reply-Message="bye"`, "Unsupported-Attribute"},
		{"what a CoA-Request cannot change: lists", "coa", testSecret, who + `,Mikrotik-Address-List="paid"`, "Unsupported-Attribute"},
		{"what a CoA-Request cannot change: all data", "coa", testSecret, who + `,Mikrotik-Total-Limit=1000`, "Unsupported-Attribute"},
		{"another router's address", "disconnect", testSecret, who + `,NAS-IP-Address=192.0.2.77`, "NAS-Identification-Mismatch"},
		{"another router's name", "disconnect", testSecret, who + `,NAS-Identifier="elsewhere"`, "NAS-Identification-Mismatch"},
		{"another device", "disconnect", testSecret, who + `,Calling-Station-Id="02:00:00:00:00:99"`, "Session-Context-Not-Found"},
		{"by the name alone", "disconnect", testSecret, "User-Name=bob,Message-Authenticator=0x00", "Session-Context-Not-Found"},
		{"by the address alone", "disconnect", testSecret, "Framed-IP-Address=" + g.IP + ",Message-Authenticator=0x00", "Session-Context-Not-Found"},
		{"by nothing", "disconnect", testSecret, "Message-Authenticator=0x00", "Session-Context-Not-Found"},
		{"a session that is not there", "disconnect", testSecret, "User-Name=nobody,Framed-IP-Address=10.9.9.9,Acct-Session-Id=ffffffff,Message-Authenticator=0x00", "Session-Context-Not-Found"},
	} {
		if got := radclient(t, s, tc.kind, tc.secret, tc.attributes); !strings.Contains(got, tc.want) {
			t.Errorf("%s: want %s, got\n%s", tc.name, tc.want, got)
		}
	}
	if g, err := s.Guest(phoneMAC); err != nil || !g.Online || g.Rate != "1M/1M" {
		t.Errorf("got %+v, %v; want bob online at 1M/1M", g, err)
	}
	if got := radclient(t, s, "disconnect", testSecret, who); !strings.Contains(got, "Disconnect-ACK") {
		t.Errorf("want Disconnect-ACK, got\n%s", got)
	}
	if g, err := s.Guest(phoneMAC); err != nil || g.Online {
		t.Errorf("got %+v, %v; want bob off", g, err)
	}
	f.await(t, "Stop", func(r map[string]string) bool {
		return r["Acct-Terminate-Cause"] == "Admin-Reset" && r["User-Name"] == "bob"
	})
	if got := radclient(t, s, "disconnect", testSecret, who); !strings.Contains(got, "Session-Context-Not-Found") {
		t.Errorf("the same again: want Session-Context-Not-Found, got\n%s", got)
	}
}
