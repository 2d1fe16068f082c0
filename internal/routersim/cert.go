package routersim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"net"
	"strconv"
	"strings"
	"time"
)

// wish is what a certificate is asked to say.
type wish struct {
	name   string // common name
	usage  string // key-usage, with commas
	names  string // subject-alt-name: "IP:10.0.0.1,DNS:cafe.lan"
	days   int
	signer *tls.Certificate // nil signs itself
}

// makeCertificate makes a key and its certificate. The key is of P-256 whatever
// key-size says: making RSA keys would cost every test a second.
func makeCertificate(w wish) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: w.name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(0, 0, w.days), BasicConstraintsValid: true}
	for use := range strings.SplitSeq(w.usage, ",") {
		switch use {
		case "digital-signature":
			t.KeyUsage |= x509.KeyUsageDigitalSignature
		case "key-encipherment":
			t.KeyUsage |= x509.KeyUsageKeyEncipherment
		case "key-cert-sign":
			t.KeyUsage |= x509.KeyUsageCertSign
			t.IsCA = true
		case "crl-sign":
			t.KeyUsage |= x509.KeyUsageCRLSign
		case "tls-server":
			t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		case "tls-client":
			t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
		}
	}
	for name := range strings.SplitSeq(w.names, ",") {
		switch kind, value, _ := strings.Cut(name, ":"); kind {
		case "IP":
			t.IPAddresses = append(t.IPAddresses, net.ParseIP(value))
		case "DNS":
			t.DNSNames = append(t.DNSNames, value)
		}
	}
	parent, by := t, any(key)
	chain := [][]byte(nil)
	if w.signer != nil {
		if parent, err = x509.ParseCertificate(w.signer.Certificate[0]); err != nil {
			return tls.Certificate{}, err
		}
		by, chain = w.signer.PrivateKey, w.signer.Certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, by)
	return tls.Certificate{Certificate: append([][]byte{der}, chain...), PrivateKey: key}, err
}

// selfSigned makes a certificate as a technician makes one on a router.
func selfSigned(name string) (tls.Certificate, error) {
	return makeCertificate(wish{name: name, usage: "digital-signature,tls-server", names: "IP:127.0.0.1", days: 365})
}

func nameCertificate(m *menu, r *row) error {
	for n := 1; r.get("name") == ""; n++ {
		if name := "cert" + itoa(n); m.find(name) == nil {
			r.props["name"] = name
		}
	}
	return nil
}

// sign is /certificate/sign: what was a template becomes a certificate with a
// private key. The words of the refusals are ours.
func (s *Sim) sign(m *menu, args map[string]string) ([]view, error) {
	if err := m.check("sign", args); err != nil {
		return nil, err
	}
	id := firstOf(args, "number", ".id")
	if id == "" {
		return nil, trapf(0, "missing =number=")
	}
	r := m.find(id)
	if r == nil {
		return nil, errNoItem
	}
	if r.cert != nil {
		return nil, trapf(4, "failure: certificate is signed already")
	}
	if r.get("common-name") == "" {
		return nil, trapf(4, "failure: common-name must be specified")
	}
	w := wish{name: r.get("common-name"), usage: r.get("key-usage"), names: r.get("subject-alt-name"), days: 365}
	w.days, _ = strconv.Atoi(r.get("days-valid")) // checked when it was written
	if ca := args["ca"]; ca != "" {
		by := m.find(ca)
		if by == nil || by.cert == nil || !by.is("authority") {
			return nil, trapf(1, "input does not match any value of ca")
		}
		w.signer = by.cert
		r.props["ca"] = by.get("name")
	}
	made, err := makeCertificate(w)
	if err != nil {
		return nil, trapf(4, "failure: %s", err)
	}
	if name := args["name"]; name != "" {
		s.refer(m.path, r.get("name"), name)
		r.props["name"] = name
	}
	return []view{{"progress": "done"}}, s.certified(r, made)
}

// certified writes into a row of /certificate what its certificate says.
func (s *Sim) certified(r *row, made tls.Certificate) error {
	c, err := x509.ParseCertificate(made.Certificate[0])
	if err != nil {
		return trapf(4, "failure: %s", err)
	}
	sum := sha256.Sum256(c.Raw)
	r.cert = &made
	for k, v := range map[string]string{"fingerprint": hex.EncodeToString(sum[:]), "serial-number": strings.ToUpper(c.SerialNumber.Text(16)), "private-key": strconv.FormatBool(made.PrivateKey != nil),
		"invalid-before": s.stamp(c.NotBefore), "invalid-after": s.stamp(c.NotAfter), "akid": "", "skid": hex.EncodeToString(sum[:20]), "crl": "false", "smart-card-key": "false",
		"expires-after": formatDuration(time.Until(c.NotAfter).Truncate(time.Second)), "issuer": "CN=" + c.Issuer.CommonName} {
		r.props[k] = v
	}
	if c.IsCA {
		r.props["authority"], r.props["trusted"] = "true", "true"
	}
	return nil
}

// errAnonymous is a service without a certificate: it offers anonymous
// Diffie-Hellman only (facts.md §1), which no client of Go's library takes.
var errAnonymous = errors.New("no certificate: only anonymous Diffie-Hellman is offered")

// serviceTLS is how a service with TLS answers now.
func (s *Sim) serviceTLS(service string) (*tls.Config, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	door := s.menus["ip/service"].find(service)
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{s.cert}}
	if door.get("tls-version") == "only-1.2" {
		c.MaxVersion = tls.VersionTLS12
	}
	if r := s.menus["certificate"].find(door.get("certificate")); r != nil && r.cert != nil {
		c.Certificates = []tls.Certificate{*r.cert}
		return c, nil
	}
	// No suite in common is what the client then sees.
	s.log.Debug("TLS", "service", service, "err", errAnonymous)
	c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{}
	return c, nil
}

// tlsOf is the configuration of a door: asked anew for every connection.
func (s *Sim) tlsOf(service string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.serviceTLS(service) }}
}
