package fleet

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/wire"
)

func newCA(t testing.TB, dir string, now func() time.Time) *CA {
	t.Helper()
	ca, err := LoadCA(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newCSR(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "somebody else"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// handshake lets a client with the certificate in at a door, and returns whom
// the door saw.
func handshake(t *testing.T, ca *CA, client *tls.Certificate) (string, error) {
	t.Helper()
	door, err := ca.Server("mqtt", []string{"cloud.test", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{door}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type seen struct {
		name string
		err  error
	}
	got := make(chan seen, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- seen{err: err}
			return
		}
		defer c.Close()
		err = c.(*tls.Conn).Handshake()
		s := seen{err: err}
		if certs := c.(*tls.Conn).ConnectionState().PeerCertificates; err == nil && len(certs) > 0 {
			s.name = certs[0].Subject.CommonName
		}
		got <- s
	}()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca.PEM())) {
		t.Fatal("the authority's PEM holds no certificate")
	}
	cfg := &tls.Config{RootCAs: roots, ServerName: "cloud.test"}
	if client != nil {
		cfg.Certificates = []tls.Certificate{*client}
	}
	c, err := tls.Dial("tcp", l.Addr().String(), cfg)
	if err == nil {
		defer c.Close()
	}
	s := <-got
	return s.name, errors.Join(err, s.err)
}

func TestAgentIsKnownByItsCertificateOnly(t *testing.T) {
	ca := newCA(t, t.TempDir(), nil)
	key := newKey(t, elliptic.P256())
	cert, public, err := ca.SignAgent(newCSR(t, key), agent)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(cert))
	if name, err := handshake(t, ca, &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}); err != nil || name != string(agent) {
		t.Errorf("got %q (%v), want %s whatever the request said", name, err, agent)
	}
	if _, err := handshake(t, ca, nil); err == nil {
		t.Error("got in without a certificate")
	}
	other := newCA(t, t.TempDir(), nil)
	foreign, _, err := other.SignAgent(newCSR(t, key), agent)
	if err != nil {
		t.Fatal(err)
	}
	block, _ = pem.Decode([]byte(foreign))
	if _, err := handshake(t, ca, &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}); err == nil {
		t.Error("got in with another authority's certificate")
	}
	door, err := ca.Server("mqtt", []string{"cloud.test", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handshake(t, ca, &door); err == nil {
		t.Error("got in as an agent with a door's certificate")
	}
	if a, b := wire.CheckNumber(public, string(agent)), wire.CheckNumber(public, "agent0002"); len(a) != 6 || a == b {
		t.Errorf("got check numbers %q and %q, want six digits that differ", a, b)
	}
}

func TestRequestsThatAreNotSigned(t *testing.T) {
	ca := newCA(t, t.TempDir(), nil)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := newCSR(t, newKey(t, elliptic.P256()))
	block, _ := pem.Decode([]byte(good))
	block.Bytes[len(block.Bytes)-1] ^= 1
	for name, csr := range map[string]string{
		"empty":           "",
		"no PEM":          "hello",
		"another block":   ca.PEM(),
		"broken":          "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
		"forged":          string(pem.EncodeToMemory(block)),
		"another curve":   newCSR(t, newKey(t, elliptic.P384())),
		"another key":     newCSR(t, ed),
		"too long to see": good + strings.Repeat("\n", maxCSR),
	} {
		if _, _, err := ca.SignAgent(csr, agent); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
}

func TestAuthorityAndDoorsLast(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	ca := newCA(t, dir, clock)
	hosts := []string{"cloud.example", "192.0.2.1", "::1"}
	door, err := ca.Server("door", hosts)
	if err != nil {
		t.Fatal(err)
	}
	first := Fingerprint(door)
	if len(first) != 64 {
		t.Errorf("got %q, want 64 digits", first)
	}
	print := func(ca *CA, hosts []string) string {
		t.Helper()
		c, err := ca.Server("door", hosts)
		if err != nil {
			t.Fatal(err)
		}
		return Fingerprint(c)
	}
	again := newCA(t, dir, clock)
	if again.PEM() != ca.PEM() || string(again.codeHash("A")) != string(ca.codeHash("A")) {
		t.Error("a restart made another authority")
	}
	if got := print(again, hosts); got != first {
		t.Error("a restart changed the fingerprint")
	}
	if got := print(again, hosts[:2]); got == first {
		t.Error("other hosts, same certificate")
	}
	before := print(again, hosts)
	now = now.Add(serverLife - serverLeft + time.Hour)
	if got := print(again, hosts); got == before {
		t.Error("a certificate near its end was kept")
	}
	for _, host := range []string{"cloud.example", "192.0.2.1", "::1"} {
		if err := door.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("got %d files (%v), want 2", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v (%v), want 0600", f.Name(), info.Mode(), err)
		}
	}
	if _, err := ca.Server("ca", hosts); err == nil {
		t.Error("a door may not overwrite the authority")
	}
	if _, err := ca.Server("door", nil); err == nil {
		t.Error("got a certificate for nobody")
	}
}

func TestDamagedAuthorityIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	newCA(t, dir, nil)
	path := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(path, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCA(dir, nil); err == nil || fault.Hint(err) == "" {
		t.Errorf("got %v, want a refusal with what to do", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "junk" {
		t.Error("the damaged file was overwritten")
	}
}

func TestSignedForAYearAtMost(t *testing.T) {
	ca := newCA(t, t.TempDir(), nil)
	cert, _, err := ca.SignAgent(newCSR(t, newKey(t, elliptic.P256())), agent)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(cert))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(c.NotAfter); left > 366*24*time.Hour || left < 364*24*time.Hour || c.IsCA {
		t.Errorf("got %v, authority %v, want a year and no authority", left, c.IsCA)
	}
	if len(c.DNSNames)+len(c.IPAddresses) != 0 {
		t.Error("an agent's certificate names a host")
	}
}
