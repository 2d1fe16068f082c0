package radius

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routersim"
	"iwas/internal/secret"
)

// quick are pauses for peers on the same machine, long enough for a busy one.
var quick = []time.Duration{time.Second, time.Second}

func nasAt(addr netip.AddrPort) NAS {
	return NAS{ID: "r1", Network: netip.MustParsePrefix("10.0.0.1/32"), Secret: secret.Value(testSecret), CoA: addr}
}

var known = hotspot.Session{Username: "bob", AcctSessionID: "known1", IP: netip.MustParseAddr("10.5.50.254"), MAC: hotspot.MAC{1, 2, 3, 4, 5, 6}}

var faster = hotspot.NewTerms{SetRate: true, Rate: hotspot.RateLimit{Max: hotspot.Pair[hotspot.Rate]{Upload: 5e6, Download: 20e6}}, SessionTimeout: time.Hour}

func TestCoAAgainstFreeRADIUS(t *testing.T) {
	addr := freeradiusCoA(t)
	learned := make(chan hotspot.NASMemory, 10)
	n := nasAt(addr)
	n.CoATimestamp = true
	c := &Client{NASes: []NAS{n}, Learned: func(m hotspot.NASMemory) { learned <- m }}
	for _, tc := range []struct {
		id       hotspot.AcctSessionID
		result   hotspot.DisconnectResult
		cause    uint32
		attempts int
	}{
		{"known1", hotspot.ResultACK, 0, 1},
		{"cause401", hotspot.ResultNAK, 503, 2}, // the second form does not name the session FreeRADIUS refuses by
		{"cause402", hotspot.ResultNAK, 402, 1},
		{"cause403", hotspot.ResultNAK, 503, 2},
		{"cause404", hotspot.ResultNAK, 503, 2},
		{"cause405", hotspot.ResultNAK, 405, 1},
		{"cause406", hotspot.ResultNAK, 503, 2},
		{"cause407", hotspot.ResultNAK, 407, 1},
		{"cause501", hotspot.ResultNAK, 501, 1},
		{"cause503", hotspot.ResultNAK, 503, 2},
		{"cause506", hotspot.ResultNAK, 506, 1},
	} {
		s := known
		s.AcctSessionID = tc.id
		for what, do := range map[string]func() (hotspot.Disconnected, error){
			"Disconnect": func() (hotspot.Disconnected, error) { return c.Disconnect(t.Context(), "r1", s) },
			"CoA":        func() (hotspot.Disconnected, error) { return c.Change(t.Context(), "r1", s, faster) },
		} {
			d, err := do()
			// FreeRADIUS loaded elsewhere may need a second sending.
			if err != nil || d.Result != tc.result || d.ErrorCause != tc.cause || d.Attempts < tc.attempts || d.RoundTrip <= 0 {
				t.Errorf("%s of %s: got %+v, %v; want %s with cause %d after %d", what, tc.id, d, err, tc.result, tc.cause, tc.attempts)
			}
		}
	}
	if len(learned) > 1 {
		t.Errorf("learned %d times that the NAS signs, want once at most", len(learned))
	}

	silent := known
	silent.AcctSessionID = "silent"
	c = &Client{NASes: []NAS{n}, Waits: []time.Duration{50 * time.Millisecond, 50 * time.Millisecond}}
	if d, err := c.Change(t.Context(), "r1", silent, faster); err != nil || d.Result != hotspot.ResultTimeout || d.Attempts != 2 {
		t.Errorf("silence: got %+v, %v; want timeout after two", d, err)
	}
	n.Secret = "another"
	c = &Client{NASes: []NAS{n}, Waits: []time.Duration{50 * time.Millisecond}}
	if d, err := c.Change(t.Context(), "r1", known, faster); err != nil || d.Result != hotspot.ResultTimeout {
		t.Errorf("another secret: got %+v, %v; want timeout", d, err)
	}
}

// incoming is a /radius/incoming that keeps what comes and answers as told.
type incoming struct {
	conn *net.UDPConn
	mu   sync.Mutex
	got  [][]byte
}

func listenIncoming(t *testing.T, answers func(n int, request []byte) [][]byte) *incoming {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	in := &incoming{conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			request := bytes.Clone(buf[:n])
			in.mu.Lock()
			in.got = append(in.got, request)
			count := len(in.got)
			in.mu.Unlock()
			for _, b := range answers(count, request) {
				_, _ = conn.WriteToUDPAddrPort(b, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return in
}

func (in *incoming) addr() netip.AddrPort { return in.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (in *incoming) requests() [][]byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.got
}

func TestRetransmissionsAreTheSameBytes(t *testing.T) {
	in := listenIncoming(t, func(int, []byte) [][]byte { return nil })
	n := nasAt(in.addr())
	n.CoATimestamp = true
	at := time.Unix(1764300000, 0)
	c := &Client{NASes: []NAS{n}, Waits: []time.Duration{30 * time.Millisecond, 30 * time.Millisecond, 30 * time.Millisecond},
		Now: func() time.Time { at = at.Add(time.Second); return at }}
	if d, err := c.Change(t.Context(), "r1", known, faster); err != nil || d.Attempts != 3 {
		t.Fatalf("got %+v, %v; want three sendings", d, err)
	}
	if _, err := c.Change(t.Context(), "r1", known, faster); err != nil {
		t.Fatal(err)
	}
	got := in.requests()
	if len(got) != 6 || !bytes.Equal(got[0], got[1]) || !bytes.Equal(got[1], got[2]) {
		t.Fatalf("%d datagrams, the first three alike: %v", len(got), len(got) > 2 && bytes.Equal(got[0], got[2]))
	}
	if got[0][1] == got[3][1] {
		t.Errorf("a new request has identifier %d of the one before", got[0][1])
	}
}

// TestWhatNamesASession holds both forms of a request against what a HotSpot
// needs (facts.md §4): all that is known, then name and address alone.
func TestWhatNamesASession(t *testing.T) {
	for _, cause := range []byte{0xf7, 0x96} { // 503, and 406 which RouterOS was seen to send for the same
		in := listenIncoming(t, func(_ int, r []byte) [][]byte {
			high := byte(1) // 256 and more
			return [][]byte{replyTo(r, r[0]+2, []byte{101, 6, 0, 0, high, cause}, testSecret)}
		})
		n := nasAt(in.addr())
		n.CoATimestamp = true
		c := &Client{NASes: []NAS{n}, Waits: quick, Now: func() time.Time { return time.Unix(0x69012345, 0) }}
		for what, ask := range map[string]func() (hotspot.Disconnected, error){
			"":                                    func() (hotspot.Disconnected, error) { return c.Disconnect(t.Context(), "r1", known) },
			" 14988:8=5M/20M 27=\x00\x00\x0e\x10": func() (hotspot.Disconnected, error) { return c.Change(t.Context(), "r1", known, faster) },
		} {
			before := len(in.requests())
			d, err := ask()
			if err != nil || !d.NoSuchSession() || d.Attempts != 2 {
				t.Errorf("got %+v, %v; want no such session after both forms", d, err)
			}
			var got []string
			for _, b := range in.requests()[before:] {
				text := ""
				for kind, v := range attributes(b) {
					switch {
					case kind == typeMessageAuthenticator:
						continue
					case kind == typeVendorSpecific:
						id, rest := vendorOf(v)
						text += fmt.Sprintf(" %d:%d=%s", id, rest[0], rest[2:])
					default:
						text += fmt.Sprintf(" %d=%s", kind, v)
					}
				}
				got = append(got, text)
			}
			long := " 8=\x0a\x05\x32\xfe 1=bob 44=known1 31=01:02:03:04:05:06 4=\x0a\x00\x00\x01 55=\x69\x01\x23\x45"
			if want := []string{long + what, " 8=\x0a\x05\x32\xfe 1=bob 55=\x69\x01\x23\x45" + what}; !slices.Equal(sortedWords(got), sortedWords(want)) {
				t.Errorf("got %q\nwant %q", got, want)
			}
		}
	}
}

// sortedWords makes the order of attributes no matter.
func sortedWords(lines []string) (out []string) {
	for _, l := range lines {
		words := strings.Split(l, " ")
		slices.Sort(words)
		out = append(out, strings.Join(words, " "))
	}
	return out
}

func TestAnIdentifierIsNotUsedTwiceWhilePending(t *testing.T) {
	var ids identifiers
	seen := map[byte]bool{}
	for range 256 {
		id, ok := ids.take("r1")
		if !ok || seen[id] {
			t.Fatalf("identifier %d: ok %v, taken before %v", id, ok, seen[id])
		}
		seen[id] = true
	}
	if id, ok := ids.take("r1"); ok {
		t.Errorf("identifier %d is given while all are pending", id)
	}
	if _, ok := ids.take("r2"); !ok {
		t.Error("another NAS has none left")
	}
	ids.give("r1", 77)
	if id, ok := ids.take("r1"); !ok || id != 77 {
		t.Errorf("got %d, %v; want the one that is free", id, ok)
	}
}

func TestTheNASIsNamedAsItNamesItself(t *testing.T) {
	in := listenIncoming(t, func(int, []byte) [][]byte { return nil })
	var ids Identities
	packet := append(make([]byte, headerLen), 4, 6, 192, 0, 2, 7, 32, 7, 'C', 'A', 'F', 'E', '1')
	ids.note("r1", packet, netip.Addr{})
	c := &Client{NASes: []NAS{nasAt(in.addr())}, Waits: []time.Duration{10 * time.Millisecond}, Identity: ids.Of}
	if _, err := c.Disconnect(t.Context(), "r1", known); err != nil {
		t.Fatal(err)
	}
	b := in.requests()[0]
	for _, want := range [][]byte{{4, 6, 192, 0, 2, 7}, {32, 7, 'C', 'A', 'F', 'E', '1'}} {
		if !bytes.Contains(b, want) {
			t.Errorf("the request lacks %x: %x", want, b)
		}
	}
	if bytes.Contains(b, []byte{55, 6}) {
		t.Error("Event-Timestamp is sent to a NAS that is not set up for it")
	}
	n := nasAt(in.addr())
	n.CoATimestamp = true
	c = &Client{NASes: []NAS{n}, Waits: []time.Duration{10 * time.Millisecond}, DateTrusted: func() bool { return false }}
	if _, err := c.Disconnect(t.Context(), "r1", known); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(in.requests()[1], []byte{55, 6}) {
		t.Error("Event-Timestamp is sent while our date is not trusted")
	}
}

// reply makes an answer with FreeRADIUS's rules, not by the code under test.
func replyTo(request []byte, code byte, attrs []byte, text string) []byte {
	b := append([]byte{code, request[1], 0, 0}, request[4:20]...)
	b = append(b, attrs...)
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	sum := md5Of(b, []byte(text))
	copy(b[4:20], sum[:])
	return b
}

func TestOnlyAProvenAnswerCounts(t *testing.T) {
	const ack, nak, otherACK = 44, 45, 41 // of CoA; of Disconnect
	for name, tc := range map[string]struct {
		before func(request []byte) []byte // sent ahead of the right answer, and says the contrary
	}{
		"another secret":                {func(r []byte) []byte { return replyTo(r, ack, nil, "other") }},
		"another identifier":            {func(r []byte) []byte { x := bytes.Clone(r); x[1]++; return replyTo(x, ack, nil, testSecret) }},
		"a code that is no answer":      {func(r []byte) []byte { return replyTo(r, otherACK, nil, testSecret) }},
		"another request's answer":      {func(r []byte) []byte { x := bytes.Clone(r); x[4] ^= 1; return replyTo(x, ack, nil, testSecret) }},
		"a wrong Message-Authenticator": {func(r []byte) []byte { return replyTo(r, ack, append([]byte{80, 18}, make([]byte, 16)...), testSecret) }},
		"a short one":                   {func(r []byte) []byte { return r[:10] }},
		"an attribute that lies":        {func(r []byte) []byte { return replyTo(r, ack, []byte{101, 200}, testSecret) }},
	} {
		in := listenIncoming(t, func(_ int, r []byte) [][]byte {
			return [][]byte{tc.before(r), replyTo(r, nak, []byte{101, 6, 0, 0, 1, 0xfa}, testSecret)} // 506
		})
		c := &Client{NASes: []NAS{nasAt(in.addr())}, Waits: quick}
		if d, err := c.Change(t.Context(), "r1", known, faster); err != nil || d.Result != hotspot.ResultNAK || d.ErrorCause != 506 || d.Attempts != 1 {
			t.Errorf("%s: got %+v, %v; want the nak behind it", name, d, err)
		}
	}
}

// TestAnAnswerFromElsewhereIsNone: not even with the right secret.
func TestAnAnswerFromElsewhereIsNone(t *testing.T) {
	elsewhere, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, maxPacket)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = elsewhere.WriteToUDPAddrPort(replyTo(buf[:n], 44, nil, testSecret), from)
		}
	}()
	defer func() { conn.Close(); <-done }()
	c := &Client{NASes: []NAS{nasAt(conn.LocalAddr().(*net.UDPAddr).AddrPort())}, Waits: []time.Duration{50 * time.Millisecond, 50 * time.Millisecond}}
	if d, err := c.Change(t.Context(), "r1", known, faster); err != nil || d.Result != hotspot.ResultTimeout || d.Attempts != 2 {
		t.Errorf("got %+v, %v; want timeout after two", d, err)
	}
}

// router is a simulated one with a guest online.
func router(t *testing.T, knobs routersim.Knobs) (*Client, *routersim.Sim, hotspot.Session) {
	t.Helper()
	s := newServer(t, &judge{verdict: grant()}, nil)
	sim, err := routersim.Start(t.Context(), routersim.Config{Password: "pw",
		RADIUS: routersim.RADIUSConfig{Auth: s.AuthAddr(), Acct: s.AcctAddr(), Secret: testSecret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	const mac = "02:00:00:00:00:01"
	g, err := sim.Arrive(mac, "")
	if err == nil {
		err = sim.Login(mac, routersim.Login{Method: "http-pap", Username: "bob", Password: "hello"})
	}
	if err == nil {
		g, err = sim.Guest(mac)
	}
	if err != nil || !g.Online {
		t.Fatalf("login: %v, %+v", err, g)
	}
	sim.SetKnobs(knobs)
	m, _ := hotspot.ParseMAC(mac)
	n := NAS{ID: "r1", Network: netip.MustParsePrefix("127.0.0.1/32"), Secret: testSecret, CoA: sim.CoAAddr()}
	return &Client{NASes: []NAS{n}, Waits: quick, Identity: s.Identities.Of}, sim,
		hotspot.Session{Username: g.User, AcctSessionID: hotspot.AcctSessionID(g.AcctID), IP: netip.MustParseAddr(g.IP), MAC: m}
}

func TestCoAAgainstTheSimulatedRouter(t *testing.T) {
	for name, tc := range map[string]struct {
		knobs    routersim.Knobs
		spoil    func(*hotspot.Session)
		result   hotspot.DisconnectResult
		cause    uint32
		changed  bool
		attempts int // at least
	}{
		"it does what it says":             {result: hotspot.ResultACK, changed: true, attempts: 1},
		"an ACK that does nothing":         {knobs: routersim.Knobs{CoAIgnore: true}, result: hotspot.ResultACK, attempts: 1},
		"406 for a session it lacks":       {knobs: routersim.Knobs{NAKCause: 406}, spoil: func(s *hotspot.Session) { s.Username = "eve" }, result: hotspot.ResultNAK, cause: 406, attempts: 2},
		"an old Acct-Session-Id":           {spoil: func(s *hotspot.Session) { s.AcctSessionID = "80f00001" }, result: hotspot.ResultACK, changed: true, attempts: 2},
		"a late answer":                    {knobs: routersim.Knobs{CoADelay: 1300 * time.Millisecond}, result: hotspot.ResultACK, changed: true, attempts: 2},
		"a forged answer before the right": {knobs: routersim.Knobs{CoAForge: true}, result: hotspot.ResultACK, changed: true, attempts: 1},
		"it cannot":                        {knobs: routersim.Knobs{CoARefuse: 405}, result: hotspot.ResultNAK, cause: 405, attempts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c, sim, s := router(t, tc.knobs)
			if tc.spoil != nil {
				tc.spoil(&s)
			}
			d, err := c.Change(t.Context(), "r1", s, faster)
			if err != nil || d.Result != tc.result || d.ErrorCause != tc.cause || d.Attempts < tc.attempts {
				t.Errorf("got %+v, %v; want %s with cause %d after %d", d, err, tc.result, tc.cause, tc.attempts)
			}
			g, err := sim.Guest("02:00:00:00:00:01")
			if err != nil {
				t.Fatal(err)
			}
			if changed := g.Rate == "5M/20M"; changed != tc.changed {
				t.Errorf("the guest has %q, changed %v; want changed %v", g.Rate, changed, tc.changed)
			}
		})
	}
}

func TestARouterThatSignsMustGoOnSigning(t *testing.T) {
	c, sim, s := router(t, routersim.Knobs{})
	var learned []hotspot.NASMemory
	c.Learned = func(m hotspot.NASMemory) { learned = append(learned, m) }
	if d, err := c.Change(t.Context(), "r1", s, faster); err != nil || d.Result != hotspot.ResultACK {
		t.Fatalf("got %+v, %v; want ack", d, err)
	}
	if fmt.Sprint(learned) != fmt.Sprint([]hotspot.NASMemory{{NAS: "r1", SignsReplies: true}}) {
		t.Errorf("learned %+v, want that r1 signs, once", learned)
	}
	sim.SetKnobs(routersim.Knobs{CoAUnsigned: true})
	c.Waits = []time.Duration{50 * time.Millisecond, 50 * time.Millisecond}
	if d, err := c.Change(t.Context(), "r1", s, faster); err != nil || d.Result != hotspot.ResultTimeout {
		t.Errorf("unsigned after signed: got %+v, %v; want it not taken", d, err)
	}
	again := &Client{NASes: c.NASes, Waits: c.Waits, Known: learned}
	if d, err := again.Change(t.Context(), "r1", s, faster); err != nil || d.Result != hotspot.ResultTimeout {
		t.Errorf("after a restart: got %+v, %v; want it not taken", d, err)
	}
	fresh := &Client{NASes: c.NASes, Waits: quick}
	if d, err := fresh.Change(t.Context(), "r1", s, faster); err != nil || d.Result != hotspot.ResultACK {
		t.Errorf("a NAS that never signed: got %+v, %v; want ack", d, err)
	}
}

func FuzzProveAnswer(f *testing.F) {
	request, err := ask{code: codeCoARequest, session: known, terms: faster}.encode(7, []byte(testSecret))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(replyTo(request, 44, nil, testSecret))
	f.Add(replyTo(request, 45, []byte{101, 6, 0, 0, 1, 0xf7}, testSecret))
	f.Add([]byte{44})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		if a, ok := proveAnswer(b, request, []byte(testSecret)); ok && a.code != 44 && a.code != 45 {
			t.Errorf("code %d is taken for an answer", a.code)
		}
		if !bytes.Equal(b, before) {
			t.Error("the datagram was changed")
		}
		if signed := replyTo(request, 44, b[:min(len(b), 3000)], testSecret); len(b) > 0 {
			_, _ = proveAnswer(signed, request, []byte(testSecret)) // must not panic behind a right authenticator either
		}
	})
}

func md5Of(parts ...[]byte) [16]byte { return md5.Sum(bytes.Join(parts, nil)) }
