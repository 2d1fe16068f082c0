package radius

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/secret"
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

// radclient sends one request and holds the whole reply against want, one
// attribute a line.
func radclient(t *testing.T, addr netip.AddrPort, kind, request, want string) {
	t.Helper()
	dir := t.TempDir()
	req, exp := filepath.Join(dir, "req"), filepath.Join(dir, "want")
	for name, text := range map[string]string{req: request, exp: want} {
		if err := os.WriteFile(name, []byte(strings.TrimSpace(text)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(program(t, "radclient", "freeradius-utils"), "-x", "-r", "1", "-t", "3", "-f", req+":"+exp, addr.String(), kind, testSecret).CombinedOutput()
	if err != nil {
		t.Errorf("radclient: %v\n%s", err, out)
	}
}

func TestRadclient(t *testing.T) {
	j := &judge{verdict: grant()}
	s := newServer(t, j, func(s *Server) { s.NASes[0].MessageAuthenticator = Off }) // some requests carry one, some not
	accept := `
Response-Packet-Type == Access-Accept
Message-Authenticator =* ANY
Class == 0x30313233343536373839616263646566
Session-Timeout == 3600
Acct-Interim-Interval == 120
Port-Limit == 2
Mikrotik-Rate-Limit == "2M/10M"
Mikrotik-Total-Limit == 0
Mikrotik-Total-Limit-Gigawords == 5
Mikrotik-Address-List == "paid"`
	reject := `
Response-Packet-Type == Access-Reject
Message-Authenticator =* ANY
Reply-Message == "wrong"`
	base := "User-Name = \"bob\"\nNAS-Identifier = \"MikroTik\"\nCalling-Station-Id = \"AA:BB:CC:DD:EE:FF\"\n"
	for _, tc := range []struct{ name, kind, request, want string }{
		{"PAP", "auth", base + `User-Password = "hello"`, accept},
		{"PAP with Message-Authenticator", "auth", base + "User-Password = \"hello\"\nMessage-Authenticator = 0x00", accept},
		{"PAP, wrong", "auth", base + `User-Password = "nope"`, reject},
		{"CHAP over the Request Authenticator", "auth", base + `CHAP-Password = "hello"`, accept},
		{"CHAP with CHAP-Challenge", "auth", base + "CHAP-Password = \"hello\"\nCHAP-Challenge = 0x00112233445566778899aabbccddeeff", accept},
		{"CHAP, wrong", "auth", base + `CHAP-Password = "nope"`, reject},
		{"MAC", "auth", "User-Name = \"AA:BB:CC:DD:EE:FF\"\nUser-Password = \"AA:BB:CC:DD:EE:FF\"\nCalling-Station-Id = \"AA:BB:CC:DD:EE:FF\"", accept},
		{"Proxy-State comes back in order", "auth", base + "User-Password = \"nope\"\nMessage-Authenticator = 0x00\nProxy-State = 0x01\nProxy-State = 0x02", reject + "\nProxy-State == 0x01\nProxy-State == 0x02"},
		{"a voucher code is all there is", "auth", "User-Name = \"KX7P-2MQ4\"\nUser-Password = \"\"\nCalling-Station-Id = \"AA:BB:CC:DD:EE:FF\"", reject},
		{"Status-Server", "status", "Message-Authenticator = 0x00", "Response-Packet-Type == Access-Accept\nMessage-Authenticator =* ANY"},
	} {
		t.Run(tc.name, func(t *testing.T) { radclient(t, s.AuthAddr(), tc.kind, tc.request, tc.want) })
	}
	session := "User-Name = \"bob\"\nAcct-Session-Id = \"80300001\"\nNAS-IP-Address = 10.0.0.1\nFramed-IP-Address = 10.5.50.254\nCalling-Station-Id = \"AA:BB:CC:DD:EE:FF\"\nClass = 0x30313233343536373839616263646566\n"
	for _, tc := range []struct {
		name, request string
		check         func(hotspot.Accounting) bool
	}{
		{"Start", session + "Acct-Status-Type = Start\nAcct-Delay-Time = 1", func(a hotspot.Accounting) bool {
			return a.Kind == hotspot.Start && a.Delay == time.Second && string(a.Class) == "0123456789abcdef" && a.IP.String() == "10.5.50.254"
		}},
		{"Interim-Update above 4 GiB", session + "Acct-Status-Type = Interim-Update\nAcct-Session-Time = 300\nAcct-Input-Octets = 4294967295\nAcct-Input-Gigawords = 1\nAcct-Output-Octets = 7", func(a hotspot.Accounting) bool {
			return a.Kind == hotspot.Interim && a.Upload == 1<<33-1 && a.Download == 7 && a.SessionTime == 5*time.Minute
		}},
		{"Stop", session + "Acct-Status-Type = Stop\nAcct-Session-Time = 600\nAcct-Terminate-Cause = Lost-Carrier", func(a hotspot.Accounting) bool {
			return a.Kind == hotspot.Stop && hotspot.CauseName(a.TerminateCause) == "Lost-Carrier"
		}},
		{"Start with the time of the event", session + "Acct-Status-Type = Start\nEvent-Timestamp = " + strconv.FormatInt(time.Now().Unix()-5, 10), func(a hotspot.Accounting) bool {
			return !a.EventAt.IsZero() && time.Since(a.EventAt) < time.Minute
		}},
		{"Start of a router whose clock is lost", session + "Acct-Status-Type = Start\nEvent-Timestamp = \"Jan 1 1970 00:00:30 UTC\"", func(a hotspot.Accounting) bool { return a.EventAt.IsZero() }},
		{"Accounting-Off", "Acct-Status-Type = Accounting-Off\nNAS-IP-Address = 10.0.0.1", func(a hotspot.Accounting) bool { return a.Kind == hotspot.NASOff }},
		{"Accounting-On", "Acct-Status-Type = Accounting-On\nNAS-IP-Address = 10.0.0.1", func(a hotspot.Accounting) bool { return a.Kind == hotspot.NASOn }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			radclient(t, s.AcctAddr(), "acct", tc.request, "Response-Packet-Type == Accounting-Response")
			got := j.records()
			if len(got) == 0 || !tc.check(got[len(got)-1]) {
				t.Errorf("stored %+v", got)
			}
		})
	}
}

// TestRadclientSeesEveryAttribute holds each attribute an Accept may carry
// against another implementation's reading of it.
func TestRadclientSeesEveryAttribute(t *testing.T) {
	rate, err := hotspot.ParseRateLimit("1M/2M 2M/4M 512k/1M 8/8")
	if err != nil {
		t.Fatal(err)
	}
	head := "Response-Packet-Type == Access-Accept\nMessage-Authenticator =* ANY\n"
	for name, tc := range map[string]struct {
		verdict hotspot.Verdict
		want    string
	}{
		"nothing but the Accept": {hotspot.Verdict{}, ""},
		"times": {hotspot.Verdict{SessionTimeout: 90*time.Second + 900*time.Millisecond, IdleTimeout: 5 * time.Minute, InterimInterval: time.Minute},
			"Session-Timeout == 90\nIdle-Timeout == 300\nAcct-Interim-Interval == 60"},
		"less than a second left is one, never none": {hotspot.Verdict{SessionTimeout: time.Millisecond}, "Session-Timeout == 1"},
		"more seconds than fit":                      {hotspot.Verdict{SessionTimeout: 200 * 365 * 24 * time.Hour}, "Session-Timeout == 4294967295"},
		"data below 4 GiB":                           {hotspot.Verdict{UploadLeft: 1, DownloadLeft: 2, TotalLeft: 1<<32 - 1}, "Mikrotik-Recv-Limit == 1\nMikrotik-Xmit-Limit == 2\nMikrotik-Total-Limit == 4294967295"},
		"data above 4 GiB": {hotspot.Verdict{UploadLeft: 1<<32 + 1, DownloadLeft: 2 << 32, TotalLeft: 3<<32 + 7},
			"Mikrotik-Recv-Limit == 1\nMikrotik-Recv-Limit-Gigawords == 1\nMikrotik-Xmit-Limit == 0\nMikrotik-Xmit-Limit-Gigawords == 2\nMikrotik-Total-Limit == 7\nMikrotik-Total-Limit-Gigawords == 3"},
		"speed with burst":  {hotspot.Verdict{Rate: rate}, "Mikrotik-Rate-Limit == \"" + rate.String() + "\""},
		"devices and lists": {hotspot.Verdict{Devices: 3, AddressLists: []string{"paid", "adults"}}, "Port-Limit == 3\nMikrotik-Address-List == \"paid\"\nMikrotik-Address-List == \"adults\""},
		"Class":             {hotspot.Verdict{Class: []byte{0, 1, 255}}, "Class == 0x0001ff"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.verdict.Accept = true
			s := newServer(t, &judge{verdict: tc.verdict}, nil)
			radclient(t, s.AuthAddr(), "auth", "User-Name = \"bob\"\nUser-Password = \"hello\"\nMessage-Authenticator = 0x00", head+tc.want)
		})
	}
	s := newServer(t, &judge{verdict: grant()}, nil)
	radclient(t, s.AcctAddr(), "status", "Message-Authenticator = 0x00", "Response-Packet-Type == Accounting-Response\nMessage-Authenticator =* ANY")
}

func TestACallingStationMayBeSpeltInSevenWays(t *testing.T) {
	j := &judge{verdict: grant()}
	s := newServer(t, j, nil)
	for _, spelling := range []string{"AA:BB:CC:00:11:22", "aa:bb:cc:00:11:22", "AA-BB-CC-00-11-22", "AABB:CC00:1122", "aabb.cc00.1122", "AABBCC:001122", "aabbcc001122"} {
		radclient(t, s.AuthAddr(), "auth", "User-Name = \"nobody\"\nUser-Password = \"x\"\nMessage-Authenticator = 0x00\nCalling-Station-Id = \""+spelling+"\"",
			"Response-Packet-Type == Access-Reject\nMessage-Authenticator =* ANY\nReply-Message == \"wrong\"")
	}
	for _, r := range j.requests() {
		if r.MAC != (hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0x11, 0x22}) {
			t.Errorf("got %v", r.MAC)
		}
	}
}

// freeradiusCoA runs FreeRADIUS as a NAS's /radius/incoming and returns its
// address. It knows one session, "known1"; with id "silent" it says nothing.
func freeradiusCoA(t *testing.T) netip.AddrPort {
	t.Helper()
	dir := t.TempDir()
	probe, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := probe.LocalAddr().(*net.UDPAddr).AddrPort()
	probe.Close()
	for name, text := range map[string]string{
		"radiusd.conf": fmt.Sprintf(`
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
modules {
	always ok {
		rcode = ok
	}
	always reject {
		rcode = reject
	}
}
$INCLUDE clients.conf
$INCLUDE site
`, dir),
		"clients.conf": "client local {\n\tipaddr = 127.0.0.1\n\tsecret = " + testSecret + "\n}\n",
		"site": fmt.Sprintf(`
server coa {
	listen {
		type = coa
		ipaddr = 127.0.0.1
		port = %d
	}
	recv-coa {
		if ("%%{Acct-Session-Id}" == "known1") {
			ok
		}
		else {
			update reply {
				Error-Cause := Session-Context-Not-Found
			}
			reject
		}
	}
	send-coa {
		ok
	}
}
`, addr.Port()),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	cmd := exec.Command(program(t, "freeradius", "freeradius"), "-f", "-X", "-d", dir)
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = pw, pw
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pw.Close()
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		said := false
		for {
			n, err := pr.Read(buf)
			out.Write(buf[:n])
			if !said && bytes.Contains(out.Bytes(), []byte("Ready to process requests")) {
				said = true
				close(ready)
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		<-done
		pr.Close()
		if t.Failed() {
			t.Logf("freeradius:\n%s", out.Bytes())
		}
	})
	select {
	case <-ready:
	case <-done:
		t.Fatalf("freeradius ended:\n%s", out.Bytes())
	case <-time.After(20 * time.Second):
		t.Fatal("freeradius is not ready after 20 s")
	}
	return addr
}

func TestDisconnectAgainstFreeRADIUS(t *testing.T) {
	addr := freeradiusCoA(t)
	nas := NAS{ID: "r1", Network: netip.MustParsePrefix("10.0.0.1/32"), Secret: secret.Value(testSecret), CoA: addr}
	c := &Client{NASes: []NAS{nas}}
	s := hotspot.Session{Username: "bob", AcctSessionID: "known1", IP: netip.MustParseAddr("10.5.50.254"), MAC: hotspot.MAC{1, 2, 3, 4, 5, 6}}

	d, err := c.Disconnect(t.Context(), "r1", s)
	if err != nil || d.Result != hotspot.ResultACK || d.Attempts != 1 {
		t.Errorf("a session it knows: got %+v, %v; want one attempt, ack", d, err)
	}
	s.AcctSessionID = "unknown"
	d, err = c.Disconnect(t.Context(), "r1", s)
	if err != nil || !d.NoSuchSession() || d.Attempts != 2 {
		t.Errorf("a session it does not know: got %+v, %v; want nak 503 after the second form", d, err)
	}
	nas.Secret = "another"
	c = &Client{NASes: []NAS{nas}, Waits: []time.Duration{50 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond}}
	d, err = c.Disconnect(t.Context(), "r1", s)
	if err != nil || d.Result != hotspot.ResultTimeout || d.Attempts != 3 {
		t.Errorf("another secret: got %+v, %v; want timeout after three", d, err)
	}
}

func TestDisconnectOutlivesARefusedPort(t *testing.T) {
	probe, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := probe.LocalAddr().(*net.UDPAddr).AddrPort()
	probe.Close()
	c := &Client{NASes: []NAS{{ID: "r1", Network: netip.MustParsePrefix("127.0.0.1/32"), Secret: "x", CoA: addr}},
		Waits: []time.Duration{20 * time.Millisecond, 20 * time.Millisecond}}
	d, err := c.Disconnect(t.Context(), "r1", hotspot.Session{Username: "bob"})
	if err != nil || d.Result != hotspot.ResultTimeout || d.Attempts != 2 {
		t.Errorf("got %+v, %v; want timeout after two", d, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := c.Disconnect(ctx, "r1", hotspot.Session{}); err != nil || d.Result != hotspot.ResultTimeout {
		t.Errorf("cancelled: got %+v, %v; want timeout", d, err)
	}
}
