package edl

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
)

const (
	// authorityYears is how long the authority is good for: a router has it
	// imported, and nobody comes by to do it again.
	authorityYears = 20
	leafLasts      = 2 * 365 * 24 * time.Hour
	leafRenewed    = leafLasts / 2 // before its end
	keyOctets      = 32
)

// begins is before every date a box or a router without a battery may wake with
// once it was told the right one.
var begins = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Authority signs the certificate of the listener. The router imports it once.
type Authority struct {
	PEM  []byte // for the router
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu   sync.Mutex // guards what follows
	leaf *tls.Certificate
	ends time.Time
}

// LoadAuthority reads the authority kept in a folder, or makes it.
func LoadAuthority(dir string, now time.Time) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "edl: make "+dir, err)
	}
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	certPEM, err := os.ReadFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		return newAuthority(certFile, keyFile, now)
	}
	keyPEM, keyErr := os.ReadFile(keyFile)
	if err = errors.Join(err, keyErr); err != nil {
		return nil, fault.New(fault.Damaged, "edl: read the authority", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err == nil {
		a := &Authority{PEM: certPEM}
		a.cert, err = x509.ParseCertificate(pair.Certificate[0])
		key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
		if err == nil && ok && a.cert.IsCA {
			a.key = key
			return a, nil
		}
		if err == nil {
			err = errors.New("it is not one that this program made")
		}
	}
	return nil, fault.New(fault.Damaged, "edl: the authority in "+dir, err).
		WithCode(CodeDoor, "Remove both files there; a new one is made, which the router must import anew.")
}

// newAuthority makes one. The key is on disk before the certificate that needs it.
func newAuthority(certFile, keyFile string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "IWAS address-lists"}, NotBefore: begins, NotAfter: later(now).AddDate(authorityYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	a := &Authority{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: key}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	if err := secret.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return nil, fault.New(fault.Unavailable, "edl: keep the authority's key", err)
	}
	if err := secret.WriteFile(certFile, a.PEM); err != nil {
		return nil, fault.New(fault.Unavailable, "edl: keep the authority", err)
	}
	return a, nil
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	return new(big.Int).SetBytes(b[:])
}

// later is a date that is not before every certificate: a box without a battery
// may think that it is 1970.
func later(now time.Time) time.Time {
	if now.Before(begins) {
		return begins
	}
	return now
}

// TLS is for a listener that routers know by the hosts: addresses, or names.
func (a *Authority) TLS(hosts []string, now func() time.Time) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.certificate(hosts, now()) }}
}

// certificate returns one for the hosts that is good for a while yet. It is made
// in memory, anew at each start.
func (a *Authority) certificate(hosts []string, now time.Time) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaf != nil && now.Before(a.ends.Add(-leafRenewed)) {
		return a.leaf, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "IWAS address-lists of " + strings.Join(hosts, ", ")}, NotBefore: begins,
		NotAfter: later(now).Add(leafLasts), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("edl: sign a certificate: %w", err)
	}
	a.leaf, a.ends = &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, t.NotAfter
	return a.leaf, nil
}

// LoadKey reads the key that routers prove, or makes one.
func LoadKey(file string) (secret.Value, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		var fresh [keyOctets]byte
		rand.Read(fresh[:])
		b = []byte(hex.EncodeToString(fresh[:]) + "\n")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return "", fault.New(fault.Unavailable, "edl: keep the key", err)
		}
		err = secret.WriteFile(file, b)
	}
	if err != nil {
		return "", fault.New(fault.Unavailable, "edl: the key", err)
	}
	key := strings.TrimSpace(string(b))
	if len(key) < keyOctets || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return "", fault.New(fault.Invalid, "edl: the key in "+file+" is shorter than 32 characters, or has others than letters, digits, dashes and underscores", nil).
			WithCode("", "Remove the file; a new key is made, which the router's script must be given.")
	}
	return secret.Value(key), nil
}
