package radius

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// told keeps what a server tells of failed logins.
type told struct {
	mu  sync.Mutex
	all []hotspot.Reject
}

func (k *told) note(r hotspot.Reject) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, r)
}

func (k *told) list() []hotspot.Reject {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]hotspot.Reject(nil), k.all...)
}

const (
	whoAsks = "User-Name = \"bob\"\nCalling-Station-Id = \"AA:BB:CC:DD:EE:FF\"\nFramed-IP-Address = 10.5.50.7\n"
	phone   = "AA:BB:CC:DD:EE:FF"
)

// askOnce sends one request with FreeRADIUS's client and does not care for the answer.
func askOnce(t *testing.T, to netip.AddrPort, kind, key, request string) {
	t.Helper()
	cmd := exec.Command(program(t, "radclient", "freeradius-utils"), "-r", "1", "-t", "0.2", to.String(), kind, key)
	cmd.Stdin = strings.NewReader(request + "\n")
	_ = cmd.Run() // silence is a failure to radclient
}

// TestEveryWayALoginFailsIsToldOnce asks with another implementation of RADIUS in
// every way that ends without an Accept, before anybody judges.
func TestEveryWayALoginFailsIsToldOnce(t *testing.T) {
	pap, signed := whoAsks+"User-Password = \"hello\"\n", "Message-Authenticator = 0x00\n"
	elsewhere := func(s *Server) { s.NASes[0].Network = netip.MustParsePrefix("192.0.2.1/32") }
	require := func(s *Server) { s.NASes[0].MessageAuthenticator = Require }
	for name, tc := range map[string]struct {
		change  func(*Server)
		fail    error
		secret  string // "" is the right one
		acct    bool   // sent to the port of accounting
		request string
		want    hotspot.Reason
		silent  bool
		nobody  bool // the NAS is not known
	}{
		"an address that is no NAS":                    {change: elsewhere, request: pap + signed, want: hotspot.ReasonUnknownNAS, silent: true, nobody: true},
		"a Message-Authenticator of another secret":    {secret: "another", request: pap + signed, want: hotspot.ReasonBadSecret, silent: true},
		"a password of another secret":                 {secret: "another", request: whoAsks + "User-Password = \"a password that takes three blocks to hide\"", want: hotspot.ReasonBadSecret},
		"no Message-Authenticator though required":     {change: require, request: pap, want: hotspot.ReasonNotSigned, silent: true},
		"EAP without one":                              {request: whoAsks + "EAP-Message = 0x0201000501", want: hotspot.ReasonNotSigned, silent: true},
		"Proxy-State without one":                      {request: pap + "Proxy-State = 0x01", want: hotspot.ReasonNotSigned, silent: true},
		"the port of accounting":                       {acct: true, request: pap + signed, want: hotspot.ReasonMalformed, silent: true},
		"a store that fails":                           {fail: errors.New("the disk is gone"), request: pap + signed, want: hotspot.ReasonUnjudged, silent: true},
		"a wrong password by PAP":                      {request: whoAsks + "User-Password = \"hallo\"\n" + signed, want: hotspot.ReasonBadPassword},
		"a wrong password by CHAP":                     {request: whoAsks + "CHAP-Password = \"hallo\"\n" + signed, want: hotspot.ReasonBadPassword},
		"two passwords":                                {request: pap + "CHAP-Password = \"hello\"\n" + signed, want: hotspot.ReasonTwoCredentials},
		"a device that asks with a challenge too many": {request: pap + "CHAP-Challenge = 0x01\nCHAP-Challenge = 0x02\n" + signed, want: hotspot.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			var kept told
			s := newServer(t, &judge{verdict: grant(), fail: tc.fail}, func(s *Server) {
				s.Rejected = kept.note
				if tc.change != nil {
					tc.change(s)
				}
			})
			to, key := s.AuthAddr(), tc.secret
			if tc.acct {
				to = s.AcctAddr()
			}
			if key == "" {
				key = testSecret
			}
			askOnce(t, to, "auth", key, tc.request)
			until(t, "the failed login", func() bool { return len(kept.list()) > 0 })
			got := kept.list()
			r, nas := got[0], hotspot.NASID("r1")
			if tc.nobody {
				nas = ""
			}
			if len(got) != 1 || r.Reason != tc.want || r.Silent != tc.silent || r.NAS != nas || r.Username != "bob" || r.MAC.String() != phone || r.IP.String() != "10.5.50.7" ||
				r.Source.String() != "127.0.0.1" || time.Since(r.At) > time.Minute || r.Detail+r.Message == "" {
				t.Errorf("told %+v\nwant once %s of bob at %q, silent %v, with words", got, tc.want, nas, tc.silent)
			}
		})
	}
}

// TestWhatCannotBeReadIsToldWithoutAName: on the port for logins all that is no
// packet counts; accounting and Status-Server are no logins.
func TestWhatCannotBeReadIsToldWithoutAName(t *testing.T) {
	var kept told
	s := newServer(t, &judge{verdict: grant()}, func(s *Server) { s.Rejected = kept.note })
	auth, acct := dial(t, s.AuthAddr()), dial(t, s.AcctAddr())
	acct.send(t, func() []byte { b := accounting(4, func(p *builder) { p.number(40, 1) }); b[4]++; return b }())
	until(t, "the record", func() bool { return s.count("dropped", string(dropAuthenticator)) == 1 })
	auth.send(t, build(codeStatusServer, 2, nil))
	until(t, "the question", func() bool { return s.count("dropped", string(dropMAMissing)) == 1 })
	auth.send(t, []byte("GET / HTTP/1.1\r\n\r\n"))
	until(t, "the garbage", func() bool { return len(kept.list()) == 1 })
	if r := kept.list()[0]; r.Reason != hotspot.ReasonMalformed || r.Username != "" || !r.MAC.IsZero() || r.NAS != "r1" || !r.Silent {
		t.Errorf("told %+v, want malformed, of nobody", r)
	}
}

// TestALoginNobodyHasTimeForIsTold fills the queue of a server whose one worker waits.
func TestALoginNobodyHasTimeForIsTold(t *testing.T) {
	var kept told
	j := &judge{verdict: grant(), gate: make(chan struct{})}
	s := newServer(t, j, func(s *Server) { s.Rejected, s.Workers = kept.note, 1 })
	defer close(j.gate)
	c := dial(t, s.AuthAddr())
	for n := 0; s.count("dropped", string(dropQueueFull)) == 0; n++ {
		if n > 64*queueBound {
			t.Fatal("the queue takes everything")
		}
		c.send(t, access(byte(n), "bob", "hello"))
	}
	until(t, "the failed login", func() bool { return len(kept.list()) > 0 })
	for _, r := range kept.list() {
		if r.Reason == hotspot.ReasonOverload && r.Silent && r.Username == "bob" && r.NAS == "r1" {
			return
		}
	}
	t.Errorf("told %+v, want one of bob for too much at once", kept.list())
}

// TestTheSameRequestAgainAndAgainIsNamedAFlood: a router sends three times; what
// comes ten times does so because the answers do not arrive.
func TestTheSameRequestAgainAndAgainIsNamedAFlood(t *testing.T) {
	var kept told
	s := newServer(t, &judge{verdict: grant()}, func(s *Server) { s.Rejected = kept.note })
	c := dial(t, s.AuthAddr())
	request := access(9, "bob", "hello") // an Accept: the guest is not refused, and yet not in
	c.exchange(t, request)
	for range floodRepeats - 1 {
		c.exchange(t, request)
	}
	if got := kept.list(); len(got) != 0 {
		t.Errorf("after %d repeats: told %+v, want nothing", floodRepeats-1, got)
	}
	for range 5 {
		c.exchange(t, request)
	}
	until(t, "the flood", func() bool { return len(kept.list()) == 5 })
	times := 0
	for _, r := range kept.list() {
		times += r.Count()
		if r.Reason != hotspot.ReasonDuplicates || !r.Flood() || r.Username != "bob" || r.NAS != "r1" {
			t.Errorf("told %+v, want a flood of bob's request", r)
		}
	}
	if want := floodRepeats + 4; times != want {
		t.Errorf("%d repeats told, want %d", times, want)
	}
	// While the first is at work its repeats are the same flood.
	j := &judge{verdict: grant(), gate: make(chan struct{})}
	var busy told
	s = newServer(t, j, func(s *Server) { s.Rejected = busy.note })
	defer close(j.gate)
	c = dial(t, s.AuthAddr())
	for range floodRepeats + 1 {
		c.send(t, request)
	}
	until(t, "the flood of what is at work", func() bool { return len(busy.list()) == 1 })
}

// TestARouterThatStoppedSigningIsToldApart from one with another secret.
func TestARouterThatStoppedSigningIsToldApart(t *testing.T) {
	var kept told
	s := newServer(t, &judge{verdict: grant()}, func(s *Server) {
		s.Rejected = kept.note
		s.NASes[0].Secret = secret.Value(testSecret)
	})
	askOnce(t, s.AuthAddr(), "auth", testSecret, whoAsks+"User-Password = \"hello\"\nMessage-Authenticator = 0x00")
	askOnce(t, s.AuthAddr(), "auth", testSecret, whoAsks+"User-Password = \"hello\"")
	until(t, "the failed login", func() bool { return len(kept.list()) == 1 })
	if r := kept.list()[0]; r.Reason != hotspot.ReasonNotSigned || !strings.Contains(r.Detail, "used to send") {
		t.Errorf("told %+v, want that it used to sign", r)
	}
}
