package radius

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// busy is a server with one worker, which waits at the gate for a first request.
func busy(t *testing.T, change func(*Server)) (s *Server, j *judge, first *peer, release func()) {
	t.Helper()
	gate := make(chan struct{})
	j = &judge{verdict: grant(), gate: gate}
	s = newServer(t, j, func(s *Server) {
		s.Workers = 1
		if change != nil {
			change(s)
		}
	})
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release) // before the server ends, which waits for who waits there
	first = dial(t, s.AuthAddr())
	first.send(t, access(1, "bob", "hello"))
	until(t, "the first request to be at work", func() bool { return len(j.requests()) == 1 })
	return s, j, first, release
}

// TestWorkOlderThanTheRouterWaitsIsDropped: nobody hears a late answer, and a
// login that is let in late would hold a place for nothing.
func TestWorkOlderThanTheRouterWaitsIsDropped(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	s, j, first, release := busy(t, func(s *Server) {
		s.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	late, fresh := dial(t, s.AuthAddr()), dial(t, s.AuthAddr())
	request := access(2, "bob", "hello")
	late.send(t, request)
	until(t, "the second request to wait", func() bool { return s.Stats().Remembered == 2 })
	pass(patience / 2)
	fresh.send(t, access(3, "bob", "hello"))
	until(t, "the third request to wait", func() bool { return s.Stats().Remembered == 3 })
	pass(patience/2 + time.Millisecond)
	release()
	for name, c := range map[string]*peer{"at work": first, "not too old": fresh} {
		if got := c.receive(t); got[0] != codeAccessAccept {
			t.Errorf("%s: got code %d, want 2", name, got[0])
		}
	}
	if n := s.count("dropped", string(dropTooOld)); n != 1 || len(j.requests()) != 2 {
		t.Errorf("%d dropped as too old, %d judged; want 1 and 2", n, len(j.requests()))
	}
	if got := late.exchange(t, request); got[0] != codeAccessAccept || len(j.requests()) != 3 {
		t.Errorf("its repeat: got code %d after %d judgements, want an Accept after 3", got[0], len(j.requests()))
	}
}

// TestAFullQueueCostsOnlyWhatComesThen: beyond the bound requests are dropped and
// counted, and run when they are sent again.
func TestAFullQueueCostsOnlyWhatComesThen(t *testing.T) {
	s, j, first, release := busy(t, nil)
	crowd, guest := dial(t, s.AuthAddr()), dial(t, s.AuthAddr())
	full := func() uint64 { return s.count("dropped", string(dropQueueFull)) }
	for sent := 0; full() == 0; sent++ {
		if sent > 50*queueBound {
			t.Fatalf("%d requests wait, and none was dropped", sent)
		}
		crowd.send(t, access(byte(sent), "eve", "x"))
	}
	request, before := access(1, "bob", "hello"), full()
	guest.send(t, request) // the one worker waits: there is still no room
	until(t, "the guest's request to be dropped", func() bool { return full() > before })
	release()
	if got := first.receive(t); got[0] != codeAccessAccept {
		t.Errorf("the one at work: got code %d, want 2", got[0])
	}
	until(t, "the queue to be worked off", func() bool { return len(j.requests()) > queueBound })
	if got := guest.exchange(t, request); got[0] != codeAccessAccept {
		t.Errorf("the repeat of a dropped one: got code %d, want 2", got[0])
	}
	logins := 0
	for _, r := range j.requests() {
		if r.Username == "bob" {
			logins++
		}
	}
	if logins != 2 {
		t.Errorf("bob was judged %d times, want twice", logins)
	}
}

// TestWhatIsAtWorkIsAnsweredBeforeTheServerEnds: what was stored is acknowledged
// though the service is being stopped, and what was waiting too.
func TestWhatIsAtWorkIsAnsweredBeforeTheServerEnds(t *testing.T) {
	gate := make(chan struct{})
	j := &judge{verdict: grant(), gate: gate}
	s := &Server{Auth: []string{"127.0.0.1:0"}, Acct: []string{"127.0.0.1:0"}, Decider: j, Accountant: j, Workers: 1,
		NASes: []NAS{{ID: "r1", Network: netip.MustParsePrefix("127.0.0.1/32"), Secret: secret.Value(testSecret)}}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	<-s.Ready()
	login, stop := dial(t, s.AuthAddr()), dial(t, s.AcctAddr())
	login.send(t, access(1, "bob", "hello"))
	until(t, "the login to be at work", func() bool { return len(j.requests()) == 1 })
	stop.send(t, accounting(2, func(p *builder) { p.number(typeAcctStatusType, 2); p.text(typeAcctSessionID, "80300001") }))
	until(t, "the Stop to wait", func() bool { return s.Stats().Remembered == 2 })
	cancel()
	select {
	case err := <-done:
		t.Fatalf("ended with requests at work: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(gate)
	if got := login.receive(t); got[0] != codeAccessAccept {
		t.Errorf("the login: got code %d, want 2", got[0])
	}
	if got := stop.receive(t); got[0] != codeAccountingResponse || len(j.records()) != 1 {
		t.Errorf("the Stop: got code %d with %d records stored, want 5 with 1", got[0], len(j.records()))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRequestsLeaveFromTheAddressTheRouterAsks: nobody has to configure it, and an
// address that the box has lost since keeps no request back.
func TestRequestsLeaveFromTheAddressTheRouterAsks(t *testing.T) {
	s := newServer(t, &judge{}, func(s *Server) { s.Acct = []string{"0.0.0.0:0", "127.0.0.4:0"} })
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n := nasAt(conn.LocalAddr().(*net.UDPAddr).AddrPort())
	from := func(identity func(hotspot.NASID) (Identity, bool)) string {
		t.Helper()
		c := &Client{NASes: []NAS{n}, Waits: []time.Duration{10 * time.Millisecond}, Identity: identity}
		if _, err := c.Disconnect(t.Context(), "r1", known); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, from, err := conn.ReadFromUDPAddrPort(make([]byte, maxPacket))
		if err != nil {
			t.Fatal(err)
		}
		return from.Addr().String()
	}
	wildcard := s.AcctAddr().Port()
	for i, asked := range []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:1"), netip.MustParseAddrPort("127.0.0.3:1"), s.sockets[2].addr} {
		to := asked
		if i < 2 {
			to = netip.AddrPortFrom(asked.Addr(), wildcard)
		}
		got := dial(t, to).exchange(t, accounting(byte(i), func(p *builder) { p.number(typeAcctStatusType, 1); p.text(typeAcctSessionID, "80300001") }))
		if got[0] != codeAccountingResponse {
			t.Fatalf("asked at %v: got code %d, want 5", to, got[0])
		}
		until(t, "its identity", func() bool { id, _ := s.Identities.Of("r1"); return id.Asked == asked.Addr() })
		if got := from(s.Identities.Of); got != asked.Addr().String() {
			t.Errorf("asked at %v, the request left from %s", asked.Addr(), got)
		}
	}
	far := NAS{CoA: netip.MustParseAddrPort("198.51.100.1:3799")}
	lone, err := bindFor(far, Identity{Asked: netip.MustParseAddr("192.0.2.77")})
	if err != nil {
		t.Fatalf("an address the box lost: %v, want any other", err)
	}
	defer lone.Close()
	if far.CoASource = netip.MustParseAddr("192.0.2.77"); !fails(bindFor(far, Identity{})) {
		t.Error("an address that is configured and not there: want an error, or nobody would know")
	}
	for _, lost := range []string{"192.0.2.77", "fd00::77", ""} {
		asked, _ := netip.ParseAddr(lost)
		if got := from(func(hotspot.NASID) (Identity, bool) { return Identity{Asked: asked}, true }); got != "127.0.0.1" {
			t.Errorf("asked at %q, which is not ours: the request left from %s", lost, got)
		}
	}
}

func fails(conn *net.UDPConn, err error) bool {
	if conn != nil {
		conn.Close()
	}
	return err != nil
}

// TestRequestsLeaveFromTheAddressTheRouterKnows: /radius/incoming listens to the
// address of its /radius entry only (facts.md §4).
func TestRequestsLeaveFromTheAddressTheRouterKnows(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, source := range []string{"127.0.0.2", "127.1.2.3"} {
		n := nasAt(conn.LocalAddr().(*net.UDPAddr).AddrPort())
		n.CoASource = netip.MustParseAddr(source)
		c := &Client{NASes: []NAS{n}, Waits: []time.Duration{10 * time.Millisecond}}
		for what, ask := range map[string]func() (hotspot.Disconnected, error){
			"Disconnect": func() (hotspot.Disconnected, error) { return c.Disconnect(t.Context(), "r1", known) },
			"CoA":        func() (hotspot.Disconnected, error) { return c.Change(t.Context(), "r1", known, faster) },
		} {
			if _, err := ask(); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, from, err := conn.ReadFromUDPAddrPort(make([]byte, maxPacket))
			if err != nil || from.Addr().String() != source {
				t.Errorf("%s from %v, %v; want from %s", what, from, err, source)
			}
		}
	}
}
