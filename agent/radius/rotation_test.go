package radius

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routersim"
	"iwas/internal/secret"
)

// rotating is a NAS in the overlap of two secrets; the wire's own is testSecret.
func rotating(addr netip.AddrPort, current, previous secret.Value) NAS {
	n := nasAt(addr)
	n.Secret, n.Previous, n.PreviousUntil = current, previous, time.Now().Add(time.Hour)
	return n
}

func TestDisconnectDuringARotationAgainstFreeRADIUS(t *testing.T) {
	addr := freeradiusCoA(t) // its secret is testSecret
	s := hotspot.Session{Username: "bob", AcctSessionID: "known1", IP: netip.MustParseAddr("10.5.50.254"), MAC: hotspot.MAC{1, 2, 3, 4, 5, 6}}
	says := func(previous bool) func(hotspot.NASID) (bool, time.Time) {
		return func(hotspot.NASID) (bool, time.Time) { return previous, time.Now().Add(-time.Minute) }
	}
	over := rotating(addr, "new", testSecret)
	over.PreviousUntil = time.Now().Add(-time.Second)
	for name, tc := range map[string]struct {
		nas    NAS
		proven func(hotspot.NASID) (bool, time.Time)
		result hotspot.DisconnectResult
		first  int // datagrams of the first request
		next   int // and of the next
	}{
		"the router is still on the previous one, and nobody knows": {rotating(addr, "new", testSecret), nil, hotspot.ResultACK, 3, 1},
		"its own packets prove the previous one":                    {rotating(addr, "new", testSecret), says(true), hotspot.ResultACK, 1, 1},
		"it changed since its last packet":                          {rotating(addr, testSecret, "old"), says(true), hotspot.ResultACK, 3, 1},
		"it is on the current one":                                  {rotating(addr, testSecret, "old"), says(false), hotspot.ResultACK, 1, 1},
		"it has neither":                                            {rotating(addr, "new", "old"), nil, hotspot.ResultTimeout, 5, 5},
		"the overlap is over":                                       {over, says(true), hotspot.ResultTimeout, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &Client{NASes: []NAS{tc.nas}, Proven: tc.proven, Waits: []time.Duration{700 * time.Millisecond, 700 * time.Millisecond, 700 * time.Millisecond}}
			for i, attempts := range []int{tc.first, tc.next} {
				if d, err := c.Disconnect(t.Context(), "r1", s); err != nil || d.Result != tc.result || d.Attempts != attempts {
					t.Errorf("request %d: got %+v, %v; want %s after %d datagrams", i+1, d, err, tc.result, attempts)
				}
			}
			if tc.result != hotspot.ResultACK {
				return
			}
			if d, err := c.Change(t.Context(), "r1", s, faster); err != nil || d.Result != hotspot.ResultACK || d.Attempts != 1 {
				t.Errorf("CoA: got %+v, %v; want ack at once", d, err)
			}
			unknown := s
			unknown.AcctSessionID = "unknown"
			if d, err := c.Disconnect(t.Context(), "r1", unknown); err != nil || !d.NoSuchSession() || d.Attempts != 2 {
				t.Errorf("a session it does not know: got %+v, %v; want nak 503, each form once", d, err)
			}
		})
	}
}

// TestEachSecretHasItsOwnBytes: what is sent again is the same for each secret,
// under identifiers of their own, and proves the secret it was made with.
func TestEachSecretHasItsOwnBytes(t *testing.T) {
	in := listenIncoming(t, func(int, []byte) [][]byte { return nil })
	c := &Client{NASes: []NAS{rotating(in.addr(), "new", "old")}, Waits: []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond}}
	if d, err := c.Disconnect(t.Context(), "r1", known); err != nil || d.Result != hotspot.ResultTimeout || d.Attempts != 5 {
		t.Fatalf("got %+v, %v; want timeout after five datagrams", d, err)
	}
	got := in.requests()
	if len(got) != 5 || !bytes.Equal(got[0], got[1]) || !bytes.Equal(got[0], got[3]) || !bytes.Equal(got[2], got[4]) {
		t.Fatalf("got %x, want new, new, old, new, old, each always the same", got)
	}
	if got[0][1] == got[2][1] {
		t.Errorf("both have identifier %d", got[0][1])
	}
	for i, with := range map[int]secret.Value{0: "new", 2: "old"} {
		b := bytes.Clone(got[i])
		clear(b[4:headerLen])
		if sum := md5Of(b, []byte(with.Reveal())); !bytes.Equal(sum[:], got[i][4:headerLen]) {
			t.Errorf("datagram %d does not prove the %s secret", i, with.Reveal())
		}
	}
	for range 300 { // none may be kept
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Disconnect(ctx, "r1", known); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnAnswerThatProvesNothingBringsTheOtherSecretAtOnce: a router that does not
// check what it is asked answers with its own secret.
func TestAnAnswerThatProvesNothingBringsTheOtherSecretAtOnce(t *testing.T) {
	in := listenIncoming(t, func(_ int, r []byte) [][]byte { return [][]byte{replyTo(r, r[0]+1, nil, "old")} })
	c := &Client{NASes: []NAS{rotating(in.addr(), "new", "old")}, Waits: []time.Duration{5 * time.Second, 5 * time.Second}}
	begun := time.Now()
	d, err := c.Disconnect(t.Context(), "r1", known)
	if err != nil || d.Result != hotspot.ResultACK || time.Since(begun) > 2*time.Second {
		t.Errorf("got %+v, %v after %v; want ack at once", d, err, time.Since(begun))
	}
	got := in.requests()
	if answer := replyTo(got[0], got[0][0]+1, nil, "new"); len(got) < 2 || verifies(replyTo(got[0], got[0][0]+1, nil, "old"), got[0], "new") || !verifies(answer, got[0], "new") {
		t.Errorf("an answer made with one secret is taken for one made with the other")
	}
}

// TestARotationAgainstTheSimulatedRouter: the router keeps the previous secret for
// its logins, its accounting and its /radius/incoming until somebody changes it.
func TestARotationAgainstTheSimulatedRouter(t *testing.T) {
	s := newServer(t, &judge{verdict: grant()}, func(s *Server) {
		s.NASes[0].Secret, s.NASes[0].Previous, s.NASes[0].PreviousUntil = "new", testSecret, time.Now().Add(time.Hour)
	})
	sim, err := routersim.Start(t.Context(), routersim.Config{Password: "pw",
		RADIUS: routersim.RADIUSConfig{Auth: s.AuthAddr(), Acct: s.AcctAddr(), Secret: testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	const mac = "02:00:00:00:00:01"
	login := func() hotspot.Session {
		t.Helper()
		_, err := sim.Arrive(mac, "")
		if err == nil {
			err = sim.Login(mac, routersim.Login{Method: "http-pap", Username: "bob", Password: "hello"})
		}
		g, gerr := sim.Guest(mac)
		if err != nil || gerr != nil || !g.Online {
			t.Fatalf("login: %v, %v, %+v", err, gerr, g)
		}
		m, _ := hotspot.ParseMAC(mac)
		return hotspot.Session{Username: g.User, AcctSessionID: hotspot.AcctSessionID(g.AcctID), IP: netip.MustParseAddr(g.IP), MAC: m}
	}
	n := s.NASes[0]
	n.CoA = sim.CoAAddr()
	c := &Client{NASes: []NAS{n}, Waits: quick, Identity: s.Identities.Of, Proven: s.Proven}

	session := login()
	if previous, at := s.Proven("r1"); !previous || at.IsZero() {
		t.Errorf("the login proved: previous %v at %v, want the previous secret", previous, at)
	}
	if d, err := c.Disconnect(t.Context(), "r1", session); err != nil || d.Result != hotspot.ResultACK || d.Attempts != 1 {
		t.Errorf("on the previous secret: got %+v, %v; want ack at once", d, err)
	}
	if g, err := sim.Guest(mac); err != nil || g.Online {
		t.Errorf("the guest is online %v, %v; want off", g.Online, err)
	}

	// The Stop is made with the secret of its session: it must not come after the
	// login that follows.
	stopped := func(c Count) bool { return c.Kind == "accounting" && c.Result == hotspot.Stop.String() }
	until(t, "a Stop", func() bool { return slices.ContainsFunc(s.Stats().Counts, stopped) })
	entries, _, err := sim.Command("iwas", "radius", "print", nil, nil)
	if err != nil || len(entries) != 1 {
		t.Fatalf("the /radius entries: %v, %v", entries, err)
	}
	if _, _, err := sim.Command("iwas", "radius", "set", map[string]string{"numbers": entries[0][".id"], "secret": "new"}, nil); err != nil {
		t.Fatal(err)
	}
	session = login()
	if previous, _ := s.Proven("r1"); previous {
		t.Error("the login with the new secret did not count")
	}
	if d, err := c.Disconnect(t.Context(), "r1", session); err != nil || d.Result != hotspot.ResultACK || d.Attempts != 1 {
		t.Errorf("on the new secret: got %+v, %v; want ack at once", d, err)
	}
}
