package radload

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret = "a secret of tests"

func testCrowd(n int) *Crowd {
	return NewCrowd(n, func(i int) (string, string) { return fmt.Sprintf("guest%d", i), fmt.Sprintf("password %d", i) })
}

// fake is a server written for the tests, apart from the code it tests. spoil
// changes a finished reply; nil is silence.
type fake struct {
	conn  *net.UDPConn
	spoil func(n int, request, reply []byte) []byte

	mu   sync.Mutex
	seen [][]byte
	done chan struct{}
}

func serve(t *testing.T, spoil func(n int, request, reply []byte) []byte) *fake {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{conn: c, spoil: spoil, done: make(chan struct{})}
	go f.serve()
	t.Cleanup(func() { c.Close(); <-f.done })
	return f
}

func (f *fake) addr() netip.AddrPort { return f.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (f *fake) packets() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

func (f *fake) serve() {
	defer close(f.done)
	for n := 0; ; n++ {
		b := make([]byte, 4096)
		size, from, err := f.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.seen = append(f.seen, b[:size])
		f.mu.Unlock()
		if reply := f.spoil(n, b[:size], answer(b[:size])); reply != nil {
			_, _ = f.conn.WriteToUDPAddrPort(reply, from)
		}
	}
}

// answer builds a right reply: an Accept with Class and Message-Authenticator, or
// an Accounting-Response.
func answer(request []byte) []byte {
	b := append([]byte{2, request[1], 0, 0}, request[4:20]...)
	if request[0] == 4 {
		b[0] = 5
	} else {
		b = append(append(b, 80, 18), make([]byte, 16)...)
		b = append(b, 25, 8, 'p', 'e', 'r', 'm', 'i', 't')
	}
	return sign(b)
}

func sign(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	if b[0] != 5 {
		h := hmac.New(md5.New, []byte(testSecret))
		h.Write(b)
		copy(b[22:], h.Sum(nil))
	}
	sum := md5.Sum(append(bytes.Clone(b), testSecret...))
	copy(b[4:], sum[:])
	return b
}

func load(t *testing.T, f *fake, o Options) *Result {
	t.Helper()
	o.Auth, o.Acct, o.Secret = f.addr(), f.addr(), testSecret
	if o.Crowd == nil {
		o.Crowd = testCrowd(8)
	}
	if o.Time == 0 {
		o.Time = time.Minute
	}
	if o.Resend == 0 { // a machine at its limit is no loss of a packet
		o.Resend = 20 * time.Second
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func right(_ int, _, reply []byte) []byte { return reply }

var life = []Kind{CHAP, Start, Interim, Interim, Stop}

func TestEveryGuestLivesItsScriptOnce(t *testing.T) {
	f := serve(t, right)
	var mu sync.Mutex
	records := map[string][]Record{}
	r := load(t, f, Options{Script: life, Once: true, Outstanding: 4, Acked: func(a Record) {
		mu.Lock()
		defer mu.Unlock()
		records[a.AcctSessionID] = append(records[a.AcctSessionID], a)
	}})
	if err := r.Clean(); err != nil || r.Sent != 40 || r.Answered != 40 {
		t.Fatalf("got %+v, %v; want 40 sent and answered", r, err)
	}
	if len(records) != 8 {
		t.Errorf("got %d sessions, want 8", len(records))
	}
	for id, got := range records {
		var want []Record
		for i, k := range []Kind{Start, Interim, Interim, Stop} {
			want = append(want, Record{k, got[0].Guest, id, uint32(i), uint64(i) * 1000, uint64(i) * 9000})
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("session %s: got %v, want %v", id, got, want)
		}
	}
	auth, acct := map[string]bool{}, map[string]bool{}
	for _, b := range f.packets() {
		p, err := layeh.Parse(b, []byte(testSecret))
		if err != nil {
			t.Fatal(err)
		}
		if b[0] == 1 {
			auth[string(b[4:20])] = true
			continue
		}
		acct[string(b[4:20])] = true
		if !layeh.IsAuthenticRequest(b, []byte(testSecret)) {
			t.Errorf("the authenticator of %x is wrong", b)
		}
		if got := rfc2865.Class_GetString(p); got != "permit" {
			t.Errorf("Class: got %q, want that of the Accept", got)
		}
	}
	if len(auth) != 8 || len(acct) != 32 {
		t.Errorf("%d and %d different authenticators, want 8 and 32", len(auth), len(acct))
	}
}

// TestPacketsAreAsRecorded: the kinds of attributes, in order, are those of
// recorded HotSpot packets (facts.md §4), with Message-Authenticator in a login
// and Class in accounting, which the recorded ones lack.
func TestPacketsAreAsRecorded(t *testing.T) {
	const who = " 61 31 30 87 1 5 44 8 26"
	f := serve(t, right)
	load(t, f, Options{Crowd: testCrowd(1), Script: []Kind{PAP, CHAP, Start, Interim, Stop}, Once: true, Outstanding: 1})
	for i, want := range []string{
		who + " 2 6 26 32 4 80",
		who + " 60 3 6 26 32 4 80",
		" 40" + who + " 25 55 32 41 4",
		" 40" + who + " 25 55 42 43 52 53 47 48 46 32 41 4",
		" 40 49" + who + " 25 55 42 43 52 53 47 48 46 32 41 4",
	} {
		b, got := f.packets()[i], ""
		for at := 20; at < len(b); at += int(b[at+1]) {
			got += fmt.Sprint(" ", b[at])
		}
		if got != want {
			t.Errorf("packet %d: got%s, want%s", i, got, want)
		}
	}
	pap, err := layeh.Parse(f.packets()[0], []byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	if got := rfc2865.UserPassword_GetString(pap); got != "password 0" {
		t.Errorf("User-Password: got %q, want %q", got, "password 0")
	}
	if id, port := rfc2866.AcctSessionID_GetString(pap), rfc2865.NASPort_Get(pap); id != fmt.Sprintf("%08x", uint32(port)) {
		t.Errorf("Acct-Session-Id %s is not NAS-Port %d in hex", id, port)
	}
	chap, err := layeh.Parse(f.packets()[1], []byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	v := rfc2865.CHAPPassword_Get(chap)
	sum := md5.Sum([]byte(string(v[:1]) + "password 0" + rfc2865.CHAPChallenge_GetString(chap)))
	if !bytes.Equal(v[1:], sum[:]) {
		t.Errorf("CHAP-Password: got %x, want %x", v[1:], sum)
	}
}

func TestLongPasswordsAreHiddenInChainedBlocks(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 48, 128} {
		want := strings.Repeat("p", n)
		c := NewCrowd(1, func(int) (string, string) { return "u", want })
		b := newSigner(testSecret).request(nil, PAP, 1, c, 0, 0)
		p, err := layeh.Parse(b, []byte(testSecret))
		if err != nil {
			t.Fatal(err)
		}
		if got := rfc2865.UserPassword_GetString(p); got != want {
			t.Errorf("%d octets: got %q", n, got)
		}
	}
}

func TestARepeatIsTheSameBytesAndALossIsCounted(t *testing.T) {
	f := serve(t, func(n int, _, reply []byte) []byte {
		if n < 2 {
			return nil
		}
		return reply
	})
	r := load(t, f, Options{Crowd: testCrowd(1), Script: []Kind{PAP}, Once: true, Resend: 30 * time.Millisecond, Tries: 100})
	if r.Sent != 1 || r.Answered != 1 || r.Resent < 2 || r.Lost != 0 || r.Wrong != 0 {
		t.Errorf("got %+v, want one request answered after at least two repeats", r)
	}
	if r.Quantile(1) < 60*time.Millisecond {
		t.Errorf("latency %v, want it counted from the first send", r.Quantile(1))
	}
	for i, b := range f.packets() {
		if !bytes.Equal(b, f.packets()[0]) {
			t.Errorf("send %d differs from the first", i)
		}
	}
	silent := serve(t, func(int, []byte, []byte) []byte { return nil })
	r = load(t, silent, Options{Crowd: testCrowd(3), Script: life, Once: true, Resend: 10 * time.Millisecond})
	if r.Sent != 3 || r.Lost != 3 || r.Resent != 6 || r.Clean() == nil {
		t.Errorf("got %+v, want three requests lost after three sends each", r)
	}
}

// TestAReplyThatDoesNotVerifyIsNoAnswer: the judge can say no, to each fault.
func TestAReplyThatDoesNotVerifyIsNoAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(b []byte) []byte
		want  string
	}{
		"Response Authenticator": {func(b []byte) []byte { b[4] ^= 1; return b }, errRA.Error()},
		"a changed attribute":    {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, errRA.Error()},
		"identifier":             {func(b []byte) []byte { b[1]++; return b }, errStray.Error()},
		"code":                   {func(b []byte) []byte { b[0] = 5; return b }, "a reply of code 5 to a request of code 1"},
		"cut short":              {func(b []byte) []byte { return b[:10] }, errShort.Error()},
		"Length beyond the end":  {func(b []byte) []byte { b[3]++; return b }, errShort.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, func(_ int, _, reply []byte) []byte { return tc.spoil(reply) })
			r := load(t, f, Options{Crowd: testCrowd(1), Script: []Kind{PAP}, Once: true, Tries: 1, Resend: 3 * time.Second})
			if r.Wrong != 1 || r.Answered != 0 || r.Lost != 1 || r.FirstWrong != tc.want {
				t.Errorf("got %+v, want one wrong reply: %s", r, tc.want)
			}
		})
	}
}

// TestTheJudgeOfRepliesCanSayNo: faults that only who knows the secret can make.
func TestTheJudgeOfRepliesCanSayNo(t *testing.T) {
	s := newSigner(testSecret)
	request := s.request(nil, PAP, 7, testCrowd(1), 0, 0)
	for name, tc := range map[string]struct {
		attrs []byte
		want  error
	}{
		"no Message-Authenticator":       {nil, errNoMA},
		"wrong Message-Authenticator":    {append([]byte{80, 18}, make([]byte, 16)...), errMA},
		"short Message-Authenticator":    {[]byte{80, 4, 1, 2}, errMA},
		"attributes that do not tile":    {[]byte{25, 9, 1}, errTiles},
		"an attribute of zero length":    {[]byte{25, 0}, errTiles},
		"an attribute without a length":  {[]byte{25}, errTiles},
		"a Message-Authenticator missed": {[]byte{25, 2}, errNoMA},
	} {
		b := append(append([]byte{2, 7, 0, 0}, request[4:20]...), tc.attrs...)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		sum := md5.Sum(append(bytes.Clone(b), testSecret...))
		copy(b[4:], sum[:])
		if _, err := s.verify(b, request, PAP); err != tc.want {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

func TestARejectIsCountedWithItsReason(t *testing.T) {
	f := serve(t, func(_ int, request, _ []byte) []byte {
		b := append([]byte{3, request[1], 0, 0}, request[4:20]...)
		b = append(append(b, 80, 18), make([]byte, 16)...)
		return sign(append(b, "\x12\x04no"...))
	})
	r := load(t, f, Options{Script: life, Once: true})
	if r.Rejected != 8 || r.Answered != 0 || r.Sent != 8 || r.FirstReject != "no" || r.Clean() == nil {
		t.Errorf("got %+v, want eight logins rejected and nothing after them", r)
	}
}

func TestTheOpenLoopKeepsItsRateAndCountsFromWhenItWasDue(t *testing.T) {
	f := serve(t, right)
	r := load(t, f, Options{Crowd: testCrowd(1000), Script: []Kind{CHAP}, Rate: 200, Time: time.Second})
	// Never more than the rate allows; less only where the machine stood still to the end.
	if err := r.Clean(); err != nil || r.Sent < 20 || r.Sent > 200+64 {
		t.Errorf("got %d requests in a second at 200/s, %v", r.Sent, err)
	}
}

func TestEndingIsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := serve(t, func(n int, _, _ []byte) []byte {
		if n == 15 {
			cancel()
		}
		return nil
	})
	r, err := Run(ctx, Options{Auth: f.addr(), Acct: f.addr(), Secret: testSecret, Crowd: testCrowd(300), Script: []Kind{PAP}, Outstanding: 16, Time: time.Hour, Tries: 1000})
	if err != nil || r.Sent != 16 || r.Lost != 0 {
		t.Errorf("got %+v, %v; want 16 sent and an end with the context", r, err)
	}
}

func TestALoadThatMakesNoSenseIsRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"no guests":     {Script: life, Time: time.Second},
		"no script":     {Crowd: testCrowd(1), Time: time.Second},
		"no end":        {Crowd: testCrowd(1), Script: life},
		"too many each": {Crowd: testCrowd(1000), Script: life, Time: time.Second, Outstanding: 1000, Ports: 1},
	} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestRecordedPacketsHaveTheSameShape compares with packets a router sent.
func TestRecordedPacketsHaveTheSameShape(t *testing.T) {
	recorded, err := hex.DecodeString(recordedInterim)
	if err != nil {
		t.Fatal(err)
	}
	kinds := func(b []byte) (out []byte) {
		for at := 20; at < len(b); at += int(b[at+1]) {
			out = append(out, b[at], b[at+1])
		}
		return out
	}
	c := NewCrowd(1, func(int) (string, string) { return "user001", "" })
	got := newSigner(testSecret).request(nil, Interim, 1, c, 0, 0)
	want := kinds(recorded)
	// The recorded router has a longer identity.
	have := kinds(got)
	for i := 0; i < len(want) && i < len(have); i += 2 {
		if want[i] != have[i] || want[i+1] != have[i+1] && want[i] != nasIdentifier {
			t.Errorf("attribute %d: got %d of %d octets, want %d of %d", i/2, have[i], have[i+1], want[i], want[i+1])
		}
	}
	if len(want) != len(have) {
		t.Errorf("got %d attributes, want %d", len(have)/2, len(want)/2)
	}
}

// recordedInterim is an Interim-Update of a router (routeros/samples).
const recordedInterim = "042a00d33b6949babbe976a48bd129b3b2ef7f552806000000033d06000000131f1343383a39343a42423a30303a30303a30341e0a686f7473706f743157086272696467650109757365723030310506809000092c0a38303930303030390806c0a858fe1a0c00003a8c0a06c0a858fe37065ea5cf242a0600003a702b06000030353406000000003506000000002f06000000563006000000572e060000003c20274d696b726f54696b2d69436166652d6e616d652d73637275626265642d746f2d33372d63682906000000010406c0a80102"

func BenchmarkPAP(b *testing.B) {
	c, s := testCrowd(1000), newSigner(testSecret)
	var packet []byte
	b.ReportAllocs()
	for i := range b.N {
		packet = s.request(packet, PAP, byte(i), c, i%1000, 0)
	}
}

func BenchmarkVerify(b *testing.B) {
	s := newSigner(testSecret)
	request := s.request(nil, PAP, 7, testCrowd(1), 0, 0)
	reply := answer(request)
	b.ReportAllocs()
	for range b.N {
		if _, err := s.verify(reply, request, PAP); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEcho(b *testing.B) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	r, err := Run(b.Context(), Options{Auth: a, Acct: a, Secret: testSecret, Crowd: testCrowd(10000), Script: []Kind{PAP}, Echo: true, Time: 3 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(r.Rate(), "answers/s")
	c.Close()
	<-done
}
