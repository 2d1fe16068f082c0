package fleet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// lasting is the door on a clock of its own, with one box in force.
type lasting struct {
	*testing.T
	dir   string
	now   time.Time
	ca    *CA
	fleet *Fleet
	store *fakeStore
	key   *ecdsa.PrivateKey
	cert  string
}

func newLasting(t *testing.T) *lasting {
	l := &lasting{T: t, dir: t.TempDir(), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), key: newKey(t, elliptic.P256()),
		store: &fakeStore{agents: map[hotspot.AgentID]hotspot.Agent{agent: {ID: agent, Site: site, Confirmed: true}}}}
	l.load()
	var err error
	if l.cert, _, err = l.ca.SignAgent(newCSR(t, l.key), agent); err != nil {
		t.Fatal(err)
	}
	return l
}

// load starts the cloud, anew after the first time.
func (l *lasting) load() {
	l.Helper()
	l.ca = newCA(l, l.dir, func() time.Time { return l.now })
	var err error
	l.fleet, err = New(l.Context(), Options{Store: l.store, CA: l.ca, MQTTURL: "tls://cloud.example:8883", RevocationsFile: filepath.Join(l.dir, "out", "crl.pem"),
		Publish: func(string, []byte, bool) error { return nil }, Now: func() time.Time { return l.now }})
	if err != nil {
		l.Fatal(err)
	}
}

// ask sends a request signed by a key.
func (l *lasting) ask(key *ecdsa.PrivateKey, cert, path string, body any, change func(*wire.Signed)) (int, []byte) {
	l.Helper()
	s, err := wire.Sign(key, cert, path, body)
	if err != nil {
		l.Fatal(err)
	}
	if change != nil {
		change(&s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		l.Fatal(err)
	}
	w := httptest.NewRecorder()
	l.fleet.Door().ServeHTTP(w, httptest.NewRequest("POST", path, bytes.NewReader(b)))
	return w.Code, w.Body.Bytes()
}

// renew asks for a certificate and returns it, "" where none is due.
func (l *lasting) renew() wire.RenewReply {
	l.Helper()
	status, b := l.ask(l.key, l.cert, wire.PathRenew, wire.RenewRequest{V: 1, At: l.now.Add(-24 * time.Hour)}, nil)
	var r wire.RenewReply
	if err := json.Unmarshal(b, &r); status != http.StatusOK || err != nil {
		l.Fatalf("got %d %s", status, b)
	}
	return r
}

func parse(t *testing.T, cert string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(cert))
	if block == nil {
		t.Fatalf("no PEM in %q", cert)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (l *lasting) pair() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{parse(l.T, l.cert).Raw}, PrivateKey: l.key}
}

func TestACertificateIsRenewedLongBeforeAndAfterItsEnd(t *testing.T) {
	l := newLasting(t)
	first := parse(t, l.cert)
	if r := l.renew(); r.Certificate != "" || r.MQTTURL != "tls://cloud.example:8883" || r.MQTTCA != l.ca.PEM() || !r.Time.Equal(l.now) {
		t.Errorf("got %+v for a new certificate, want where to go and whom to believe alone", r)
	}
	l.now = first.NotAfter.Add(-100 * 24 * time.Hour) // less than a third is left
	r := l.renew()
	next := parse(t, r.Certificate)
	if next.Subject.CommonName != string(agent) || !l.key.PublicKey.Equal(next.PublicKey) || !next.NotAfter.After(first.NotAfter) || next.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Errorf("got %v until %v, want the same agent and key for longer", next.Subject, next.NotAfter)
	}
	if len(l.store.renewed) != 1 || l.store.renewed[0] != r.Certificate {
		t.Errorf("got %d certificates kept, want this one: a revocation must name it", len(l.store.renewed))
	}
	if again := l.renew(); again.Certificate == "" { // the answer was lost
		t.Error("got nothing for a repeat with the old certificate")
	}
	l.now = first.NotAfter.Add(renewGrace - time.Hour)
	if r := l.renew(); r.Certificate == "" {
		t.Error("got nothing within the grace")
	}
	l.now = first.NotAfter.Add(renewGrace + time.Hour)
	l.refused(l.key, l.cert, http.StatusForbidden, "CLD-208", nil)
}

func (l *lasting) refused(key *ecdsa.PrivateKey, cert string, status int, code string, change func(*wire.Signed)) {
	l.Helper()
	kept := len(l.store.renewed)
	got, b := l.ask(key, cert, wire.PathRenew, wire.RenewRequest{V: 1, At: l.now}, change)
	var p wire.Problem
	if err := json.Unmarshal(b, &p); err != nil || got != status || p.Code != code || code != "" && p.Next == "" {
		l.Errorf("got %d %s, want %d %s with a next step", got, b, status, code)
	}
	if len(l.store.renewed) != kept || strings.Contains(string(b), "BEGIN CERTIFICATE") {
		l.Errorf("a certificate was issued to whoever is refused with %s", code)
	}
}

func TestOnlyTheKeyOfABoxInForceRenews(t *testing.T) {
	l := newLasting(t)
	l.now = parse(t, l.cert).NotAfter.Add(-time.Hour)
	thief := newKey(t, elliptic.P256())
	stranger := newCA(t, t.TempDir(), func() time.Time { return l.now })
	foreign, _, err := stranger.SignAgent(newCSR(t, thief), agent)
	if err != nil {
		t.Fatal(err)
	}
	l.refused(thief, l.cert, http.StatusForbidden, "CLD-209", nil)  // another key
	l.refused(thief, foreign, http.StatusForbidden, "CLD-209", nil) // another authority
	l.refused(l.key, l.cert, http.StatusForbidden, "CLD-209", func(s *wire.Signed) { s.Body = []byte(`{"v":1,"version":"x"}`) })
	l.refused(l.key, "", http.StatusForbidden, "CLD-209", nil)
	l.refused(l.key, l.cert, http.StatusBadRequest, "", func(s *wire.Signed) { s.V = 99 })
	// The signature of one request is none for another path.
	s, err := wire.Sign(l.key, l.cert, wire.PathOutage, wire.RenewRequest{V: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.refused(l.key, l.cert, http.StatusForbidden, "CLD-209", func(to *wire.Signed) { *to = s })
	server, err := l.ca.Server("door", []string{"cloud.example"})
	if err != nil {
		t.Fatal(err)
	}
	door := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate[0]}))
	l.refused(server.PrivateKey.(*ecdsa.PrivateKey), door, http.StatusForbidden, "CLD-209", nil) // ours, but no box's

	for name, a := range map[string]hotspot.Agent{"CLD-103": {ID: agent, Site: site, Confirmed: true, RetiredAt: l.now}, "CLD-110": {ID: agent, Site: site}} {
		l.store.set(a)
		l.refused(l.key, l.cert, http.StatusForbidden, name, nil)
	}
	l.store.set(hotspot.Agent{ID: agent, Site: site, Confirmed: true})
	if r := l.renew(); r.Certificate == "" {
		t.Error("after all that the box itself gets nothing")
	}
}

func TestSignedRequestsAreBounded(t *testing.T) {
	l := newLasting(t)
	for range signedBurst {
		l.renew()
	}
	l.refused(l.key, l.cert, http.StatusTooManyRequests, "CLD-211", nil)
	l.now = l.now.Add(signedRefill)
	l.renew()
	for range wrongCodes {
		l.refused(newKey(t, elliptic.P256()), l.cert, http.StatusForbidden, "CLD-209", nil)
	}
	l.now = l.now.Add(signedRefill)
	l.refused(l.key, l.cert, http.StatusTooManyRequests, "CLD-211", nil) // the same address
	for i := range maxAskers + 5 {
		l.fleet.askers.wait(hotspot.AgentID(hotspot.NewID(l.now.Add(time.Duration(i)*time.Millisecond))), l.now)
	}
	if n := len(l.fleet.askers.all); n > maxAskers {
		t.Errorf("got %d boxes told apart, want %d at most", n, maxAskers)
	}
}

func TestAnOutageComesOverHTTPS(t *testing.T) {
	l := newLasting(t)
	o := wire.Outage{V: 1, Boot: "b1", N: 3, At: l.now, Since: l.now.Add(-time.Hour), Code: "CLD-101", Text: "i/o timeout"}
	if status, b := l.ask(l.key, l.cert, wire.PathOutage, o, nil); status != http.StatusOK {
		t.Fatalf("got %d %s", status, b)
	}
	if len(l.store.outages) != 1 || l.store.outages[0].Text != "i/o timeout" || l.store.outages[0].N != 3 {
		t.Errorf("got %+v, want what the box said", l.store.outages)
	}
	if status, _ := l.ask(newKey(t, elliptic.P256()), l.cert, wire.PathOutage, o, nil); status != http.StatusForbidden || len(l.store.outages) != 1 {
		t.Errorf("got %d and %d outages for a forged one", status, len(l.store.outages))
	}
}

// TestABoxGivesItsIdentityUp: only with its key; it is cut off at once, a waiting one
// too, and a repeat harms nothing.
func TestABoxGivesItsIdentityUp(t *testing.T) {
	l := newLasting(t)
	var kicked []hotspot.AgentID
	l.fleet.o.Kick = func(a hotspot.AgentID) { kicked = append(kicked, a) }
	leave := wire.LeaveRequest{V: 1, At: l.now}
	for name, bad := range map[string]func() (int, []byte){
		"another key": func() (int, []byte) { return l.ask(newKey(t, elliptic.P256()), l.cert, wire.PathLeave, leave, nil) },
		"another path": func() (int, []byte) {
			s, err := wire.Sign(l.key, l.cert, wire.PathRenew, leave)
			if err != nil {
				t.Fatal(err)
			}
			return l.ask(l.key, l.cert, wire.PathLeave, leave, func(to *wire.Signed) { *to = s })
		},
	} {
		if status, b := bad(); status != http.StatusForbidden || len(kicked) != 0 || !l.store.agents[agent].RetiredAt.IsZero() {
			t.Errorf("%s: got %d %s, kicked %v; want it refused", name, status, b, kicked)
		}
	}
	l.store.set(hotspot.Agent{ID: agent, Site: site}) // nobody confirmed it
	for n := range 2 {
		status, b := l.ask(l.key, l.cert, wire.PathLeave, leave, nil)
		var r wire.LeaveReply
		if err := json.Unmarshal(b, &r); status != http.StatusOK || err != nil || !r.Time.Equal(l.now) {
			t.Errorf("got %d %s, want the cloud's time", status, b)
		}
		if len(kicked) != n+1 || kicked[n] != agent || l.store.agents[agent].LeftAt.IsZero() {
			t.Errorf("got kicked %v and %+v before the answer, want it cut off and gone", kicked, l.store.agents[agent])
		}
	}
}

// TestAnotherAuthorityLocksNobodyOut walks the way of DESIGN.md: the one to come is
// believed first, then it signs and the old one is believed, then that one goes.
func TestAnotherAuthorityLocksNobodyOut(t *testing.T) {
	l := newLasting(t)
	next := t.TempDir()
	newCA(t, next, func() time.Time { return l.now })
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(l.dir, name) }
	admitted := func(when string) {
		t.Helper()
		if who, err := handshake(t, l.ca, l.pair()); err != nil || who != string(agent) {
			t.Errorf("%s: got %q (%v), want the box let in", when, who, err)
		}
	}
	old := parse(t, l.ca.PEM())

	move(filepath.Join(next, "ca.pem"), in("ca-next.pem"))
	l.load()
	told := l.renew()
	if strings.Count(told.MQTTCA, "BEGIN CERTIFICATE") != 2 || told.Certificate != "" {
		t.Fatalf("got %+v, want both authorities told and the certificate left", told)
	}
	admitted("with one to come")

	move(in("ca.pem"), in("ca-before.pem"))
	move(in("ca-next.pem"), in("ca.pem"))
	l.load()
	admitted("with a certificate of the one before")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(told.MQTTCA))
	door, err := l.ca.Server("mqtt", []string{"cloud.test", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := door.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "cloud.test", CurrentTime: l.now}); err != nil || door.Leaf.CheckSignatureFrom(old) == nil {
		t.Errorf("the broker shows a certificate that the box does not believe, or of the old authority: %v", err)
	}
	if r := l.renew(); r.Certificate == "" {
		t.Fatal("a certificate of the authority before was not replaced")
	} else {
		l.cert = r.Certificate
	}
	list, err := l.ca.Revocations(nil)
	if err != nil || strings.Count(string(list), "BEGIN X509 CRL") != 2 {
		t.Errorf("got %s (%v), want a list of each authority", list, err)
	}

	move(in("ca-before.pem"), filepath.Join(next, "gone.pem"))
	l.load()
	admitted("with the one before gone")

	if err := os.WriteFile(in("ca-broken.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCA(l.dir, nil); !fault.Is(err, fault.Damaged) {
		t.Errorf("got %v for a file that is no authority, want Damaged", err)
	}
}

func TestRevocationsAreWrittenForOtherBrokers(t *testing.T) {
	l := newLasting(t)
	serial := parse(t, l.cert).SerialNumber
	read := func() *x509.RevocationList {
		t.Helper()
		b, err := os.ReadFile(l.fleet.o.RevocationsFile)
		if err != nil {
			return nil
		}
		block, _ := pem.Decode(b)
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if err := list.CheckSignatureFrom(l.ca.cert); err != nil {
			t.Error(err)
		}
		return list
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.fleet.revocations(ctx) }()
	wait := func(what string, ok func(*x509.RevocationList) bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if list := read(); list != nil && ok(list) {
				return
			}
		}
		t.Fatalf("waited in vain for %s", what)
	}
	wait("a list without any", func(r *x509.RevocationList) bool {
		return len(r.RevokedCertificateEntries) == 0 && r.NextUpdate.Sub(l.now) > 2*revocationsEvery
	})
	l.store.mu.Lock()
	l.store.revoked = []hotspot.RevokedCertificate{{Serial: serial, At: l.now}}
	l.store.mu.Unlock()
	if err := l.fleet.RevokeAgent(t.Context(), hotspot.Operator{}, agent); err != nil {
		t.Fatal(err)
	}
	wait("the revoked one in it", func(r *x509.RevocationList) bool {
		return len(r.RevokedCertificateEntries) == 1 && r.RevokedCertificateEntries[0].SerialNumber.Cmp(serial) == 0
	})
	if info, err := os.Stat(l.fleet.o.RevocationsFile); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("got %v (%v), want a file the broker may read", info.Mode(), err)
	}
	cancel()
	<-done
}

// Both boxes hear that there are two: the message names the run that is the copy.
func TestBothCopiesAreTold(t *testing.T) {
	run(t, func(r *rig) {
		r.store.copied = "b2"
		r.hello(0, func(h *wire.Hello) { h.Boot = "b2" })
		r.lock(func() {
			if len(r.acks) != 1 || r.acks[0].Copy != "b2" || r.acks[0].Epoch != "" {
				r.Errorf("got %+v, want the copy named, and nothing an older box could take for an acknowledgement", r.acks)
			}
			if len(r.store.hellos) != 0 || len(r.states) != 0 {
				r.Error("what the copy says counted")
			}
		})
	})
}

func TestGuessesAreTold(t *testing.T) {
	d := newDoorway(t)
	d.post(wire.PathLook, "203.0.113.77:1000", d.ask("AAAA-BBBB"))
	d.post(wire.PathLook, "203.0.113.77:1000", d.ask(d.code()))
	d.post(wire.PathLook, "[2001:db8:1:2:3::4]:1000", d.ask("AAAA-CCCC"))
	if got := strings.Join(d.store.guesses, " "); got != "203.0.113.0/24 2001:db8:1:2::/64" {
		t.Errorf("got guesses from %q, want the two wrong ones, masked", got)
	}
}
