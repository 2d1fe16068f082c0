package radius

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// signer makes packets that prove another secret than the one of peer.
type signer struct{ secret string }

// sign puts a Message-Authenticator in front and makes it valid.
func (s signer) sign(code, id byte, attrs func(*builder)) []byte {
	b := build(code, id, func(p *builder) {
		p.text(typeMessageAuthenticator, string(zeroes[:]))
		if attrs != nil {
			attrs(p)
		}
	})
	h := hmac.New(md5.New, []byte(s.secret))
	h.Write(b)
	copy(b[headerLen+2:], h.Sum(nil))
	return b
}

// plain is bob's login without Message-Authenticator, password hidden with the secret.
func (s signer) plain(id byte) []byte {
	return build(codeAccessRequest, id, func(p *builder) {
		p.text(typeUserName, "bob")
		key := md5.Sum(append([]byte(s.secret), p.b[4:headerLen]...))
		copy(key[:], xor(key[:5], "hello"))
		p.text(typeUserPassword, string(key[:]))
	})
}

func xor(a []byte, b string) []byte {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}

// chapLogin is bob's login by CHAP, which proves no secret at all.
func chapLogin(id byte) func(*builder) {
	return func(p *builder) {
		p.text(typeUserName, "bob")
		sum := md5.Sum(append([]byte("\x05hello"), p.b[4:headerLen]...))
		p.text(typeCHAPPassword, "\x05"+string(sum[:]))
	}
}

// account is a Start that proves the secret.
func (s signer) account(id byte) []byte {
	b := build(codeAccountingRequest, id, func(p *builder) { p.number(typeAcctStatusType, 1); p.text(typeAcctSessionID, "80300001") })
	clear(b[4:headerLen])
	sum := md5.Sum(append(append([]byte(nil), b...), s.secret...))
	copy(b[4:], sum[:])
	return b
}

// diary is a Memory.
type diary struct {
	mu    sync.Mutex
	known []hotspot.NASMemory
	wrote int
	fail  error
}

func (d *diary) KnownNASes(context.Context) ([]hotspot.NASMemory, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]hotspot.NASMemory(nil), d.known...), d.fail
}

func (d *diary) LearnNAS(m hotspot.NASMemory) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known = append(d.known, m)
	d.wrote++
}

func (d *diary) written() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wrote
}

func TestTheMostExactNetworkWins(t *testing.T) {
	prefix := netip.MustParsePrefix
	table := newNASTable([]NAS{
		{ID: "all", Network: prefix("0.0.0.0/0")},
		{ID: "net", Network: prefix("10.0.0.0/8"), Also: []netip.Prefix{prefix("fd00::/16")}},
		{ID: "subnet", Network: prefix("10.1.0.0/16")},
		{ID: "one", Network: prefix("10.1.0.1/32"), Also: []netip.Prefix{prefix("fe80::1/128"), prefix("192.0.2.9/32")}},
		{ID: "late", Network: prefix("10.1.0.1/32")},
	})
	for addr, want := range map[string]hotspot.NASID{
		"10.1.0.1": "one", "10.1.0.2": "subnet", "10.2.0.1": "net", "8.8.8.8": "all", "192.0.2.9": "one",
		"fd00::5": "net", "fe80::1%eth0": "one", "2001:db8::1": "",
	} {
		var got hotspot.NASID
		if n := table.of(netip.MustParseAddr(addr)); n != nil {
			got = n.ID
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
}

func TestMessageAuthenticatorIsLearnt(t *testing.T) {
	d := &diary{}
	j := &judge{verdict: grant()}
	s := newServer(t, j, func(s *Server) { s.Memory = d })
	c := dial(t, s.AuthAddr())
	mine := signer{testSecret}

	if got := c.exchange(t, mine.plain(1)); got[0] != codeAccessAccept {
		t.Fatalf("before anything is learnt: got code %d, want an Accept", got[0])
	}
	c.exchange(t, mine.sign(codeStatusServer, 2, nil))
	c.send(t, signer{"forger"}.sign(codeAccessRequest, 3, chapLogin(3)))
	until(t, "the forged one", func() bool { return s.count("dropped", string(dropMABad)) == 1 })
	if got := c.exchange(t, mine.plain(4)); got[0] != codeAccessAccept || d.written() != 0 {
		t.Fatalf("Status-Server and a forgery teach nothing: got code %d, %d entries", got[0], d.written())
	}
	for id := range byte(3) {
		c.exchange(t, access(10+id, "bob", "hello"))
	}
	if d.written() != 1 || d.known[0] != (hotspot.NASMemory{NAS: "r1", SignsRequests: true}) {
		t.Errorf("kept: got %+v, want one entry that r1 signs", d.known)
	}
	asked := len(j.requests())
	c.send(t, mine.plain(20))
	until(t, "silence for the fall-back", func() bool { return s.count("dropped", string(dropMAFellBack)) == 1 })
	if n := len(j.requests()); n != asked {
		t.Error("a request without Message-Authenticator was decided after the NAS had sent one")
	}
	if got := c.exchange(t, access(21, "bob", "hello")); got[0] != codeAccessAccept {
		t.Errorf("with one: got code %d, want an Accept", got[0])
	}
	if st := s.Stats(); !st.NASes[0].SignsRequests || len(st.Offenders) == 0 || st.Offenders[0].Reason != string(dropMAFellBack) {
		t.Errorf("seen: got %+v, %+v", st.NASes, st.Offenders)
	}

	// After a restart it is still known; "off" does not care.
	for policy, want := range map[Policy]dropped{Learn: dropMAFellBack, Off: "", Require: dropMAMissing} {
		again := newServer(t, j, func(s *Server) { s.Memory, s.NASes[0].MessageAuthenticator = d, policy })
		c := dial(t, again.AuthAddr())
		if want == "" {
			if got := c.exchange(t, mine.plain(1)); got[0] != codeAccessAccept {
				t.Errorf("policy %s: got code %d, want an Accept", policy, got[0])
			}
			continue
		}
		c.send(t, mine.plain(1))
		until(t, "silence under policy "+string(policy), func() bool { return again.count("dropped", string(want)) == 1 })
	}
}

func TestWithoutItsMemoryTheServerDoesNotStart(t *testing.T) {
	s := &Server{Auth: []string{"127.0.0.1:0"}, Memory: &diary{fail: errors.New("disk on fire")}}
	if err := s.Serve(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v, want kind unavailable: a router must not fall back for a restart", err)
	}
}

// verifies reports whether a reply proves the secret to whoever asked.
func verifies(reply, request []byte, with string) bool {
	_, ok := validReply(reply, request, []byte(with))
	return ok
}

func TestSecretsRotateWithAnOverlap(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s := newServer(t, &judge{verdict: grant()}, func(s *Server) {
		s.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		s.NASes[0].Secret, s.NASes[0].Previous, s.NASes[0].PreviousUntil = "new", "old", now.Add(time.Hour)
		s.NASes[0].MessageAuthenticator = Off
	})
	auth, acct := dial(t, s.AuthAddr()), dial(t, s.AcctAddr())
	before, after := signer{"old"}, signer{"new"}
	id := byte(0)
	next := func() byte { id++; return id }
	for _, tc := range []struct {
		name    string
		conn    *peer
		request []byte
		want    string // the secret the answer proves
	}{
		{"nothing proven yet: CHAP", auth, build(codeAccessRequest, next(), chapLogin(id)), "new"},
		{"old, by Message-Authenticator", auth, before.sign(codeAccessRequest, next(), chapLogin(id)), "old"},
		{"then CHAP that proves none", auth, build(codeAccessRequest, next(), chapLogin(id)), "old"},
		{"new, by the password", auth, after.plain(next()), "new"},
		{"CHAP again", auth, build(codeAccessRequest, next(), chapLogin(id)), "new"},
		{"old, by the password", auth, before.plain(next()), "old"},
		{"new, by accounting", acct, after.account(next()), "new"},
		{"old, by accounting", acct, before.account(next()), "old"},
		{"old, by Status-Server", acct, before.sign(codeStatusServer, next(), nil), "old"},
	} {
		reply := tc.conn.exchange(t, tc.request)
		if reply[0] == codeAccessReject || !verifies(reply, tc.request, tc.want) {
			t.Errorf("%s: code %d, want an answer that proves %q", tc.name, reply[0], tc.want)
		}
	}
	if st := s.Stats().NASes[0]; !st.Previous || !st.PreviousUntil.Equal(now.Add(time.Hour)) {
		t.Errorf("in use: got %+v, want the previous secret", st)
	}
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	auth.send(t, before.sign(codeAccessRequest, next(), chapLogin(id)))
	until(t, "silence for the old secret after its day", func() bool { return s.count("dropped", string(dropMABad)) == 1 })
	acct.send(t, before.account(next()))
	until(t, "the same in accounting", func() bool { return s.count("dropped", string(dropAuthenticator)) == 1 })
	request := build(codeAccessRequest, next(), chapLogin(id))
	if reply := auth.exchange(t, request); !verifies(reply, request, "new") {
		t.Error("what proves nothing is still answered with the old secret")
	}
	if st := s.Stats().NASes[0]; st.Previous || !st.PreviousUntil.IsZero() {
		t.Errorf("after its day: got %+v, want the new secret only", st)
	}
}

func TestKeysOfEveryLength(t *testing.T) {
	for _, n := range []int{1, 16, 63, 64, 65, 200} {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(i + 1)
		}
		h := hmac.New(md5.New, v)
		h.Write([]byte("some"))
		h.Write([]byte("thing"))
		k := newKey(secret.Value(v))
		if got := k.hmac([]byte("some"), []byte("thing")); string(got[:]) != string(h.Sum(nil)) {
			t.Errorf("a secret of %d octets: got %x, want %x", n, got, h.Sum(nil))
		}
		k.inner = nil // an MD5 that cannot save its state
		if got := k.hmac([]byte("something")); string(got[:]) != string(h.Sum(nil)) {
			t.Errorf("the long way, a secret of %d octets: got %x", n, got)
		}
	}
}
