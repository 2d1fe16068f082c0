package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
)

// CodeCertificate is the condition of a certificate that cannot be made or read.
const CodeCertificate = "SYS-122"

const (
	// lasts is less than what browsers take at most: 825 days.
	lasts   = 800 * 24 * time.Hour
	renewed = 90 * 24 * time.Hour // before the end

	certFile = "statuspage.crt"
	keyFile  = "statuspage.key"
)

// begins is before any date on which this program can have been installed: a box
// without a battery may think that it is 1970.
var begins = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Certificate is the one that this box made for its page and signed itself. It is
// kept over restarts, and made anew, with the same key, before it ends or when the
// page is reached by other names.
type Certificate struct {
	Dir   string
	Hosts []string         // addresses and names of the page
	Now   func() time.Time // nil is time.Now

	mu   sync.Mutex
	pair *tls.Certificate // guarded by mu; its Leaf is set
}

func (c *Certificate) now() time.Time {
	now := time.Now()
	if c.Now != nil {
		now = c.Now()
	}
	if now.Before(begins) {
		return begins
	}
	return now
}

// TLS is for the listener.
func (c *Certificate) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, // a stream holds a connection, and a page needs few
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get() }}
}

// Printed returns the certificate's SHA-256 as browsers show it, and its end.
func (c *Certificate) Printed() (fingerprint string, until time.Time, err error) {
	pair, err := c.get()
	if err != nil {
		return "", time.Time{}, err
	}
	sum := sha256.Sum256(pair.Leaf.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":"), pair.Leaf.NotAfter, nil
}

// get returns the certificate: as known, as kept, or made anew.
func (c *Certificate) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair != nil && c.fits(c.pair.Leaf) {
		return c.pair, nil
	}
	pair, err := c.load()
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "the certificate of the status page", err).
			WithCode(CodeCertificate, "Remove "+filepath.Join(c.Dir, certFile)+" and "+keyFile+" beside it; new ones are made, which browsers ask about once more.")
	}
	c.pair = pair
	return pair, nil
}

// fits reports whether a certificate is good for a while and for every name.
func (c *Certificate) fits(leaf *x509.Certificate) bool {
	return c.now().Before(leaf.NotAfter.Add(-renewed)) && !slices.ContainsFunc(c.Hosts, func(h string) bool { return leaf.VerifyHostname(h) != nil })
}

func (c *Certificate) load() (*tls.Certificate, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(c.Dir, certFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if block, _ := pem.Decode(b); block != nil {
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err == nil && key.PublicKey.Equal(leaf.PublicKey) && c.fits(leaf) {
			return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
		}
	}
	return c.make(key)
}

// key reads the key, or makes it.
func (c *Certificate) key() (*ecdsa.PrivateKey, error) {
	file := filepath.Join(c.Dir, keyFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, secret.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block != nil {
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if key, ok := any.(*ecdsa.PrivateKey); err == nil && ok {
			return key, nil
		}
	}
	return nil, fault.New(fault.Damaged, file+" holds no key of this program's", nil)
}

func (c *Certificate) make(key *ecdsa.PrivateKey) (*tls.Certificate, error) {
	var serial [16]byte
	rand.Read(serial[:])
	from := c.now().Add(-24 * time.Hour) // a phone's clock may be behind
	t := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial[:]), Subject: pkix.Name{CommonName: "IWAS status page"}, NotBefore: from, NotAfter: from.Add(lasts),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	for _, h := range c.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := secret.WriteFile(filepath.Join(c.Dir, certFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
