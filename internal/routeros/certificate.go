package routeros

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"time"

	"iwas/internal/fault"
)

// Certificate is what a router shows before anybody trusts it.
type Certificate struct {
	SHA256  string    // of its DER, 64 lower-case hex digits; /certificate/print shows the same as fingerprint
	Subject string    // "CN=api"
	From    time.Time // valid from
	Until   time.Time // valid until
}

// Expired reports whether the dates of the certificate exclude now. A pinned one
// is used all the same: a router's clock may be in 1970.
func (c Certificate) Expired(now time.Time) bool { return now.Before(c.From) || now.After(c.Until) }

// LookAt returns the certificate at a router's address, so that a person can
// compare it with the router's own. Nothing is sent but the TLS handshake.
func LookAt(ctx context.Context, address string) (Certificate, error) {
	where, err := parseURL(address)
	if err != nil {
		return Certificate{}, err
	}
	if !where.tls {
		return Certificate{}, fault.New(fault.Invalid, address+" is not encrypted and has no certificate", nil).
			WithCode("", "Use api-ssl:// or https:// wherever somebody else could be on the wire.")
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	conn, err := dialer().DialContext(ctx, "tcp", where.address)
	if err != nil {
		return Certificate{}, explain("connect to "+address, where, err)
	}
	defer conn.Close()
	var shown *x509.Certificate
	c := tls.Client(conn, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // it is looked at, not used
		VerifyConnection:   func(s tls.ConnectionState) error { shown = s.PeerCertificates[0]; return nil },
	})
	if err := c.HandshakeContext(ctx); err != nil {
		return Certificate{}, explainTLS(address, where, err)
	}
	sum := sha256.Sum256(shown.Raw)
	return Certificate{SHA256: hex.EncodeToString(sum[:]), Subject: shown.Subject.String(), From: shown.NotBefore, Until: shown.NotAfter}, nil
}

// SameFingerprint reports whether two fingerprints are one, however they are
// written: colons, blanks and case do not count. An empty one is nobody's.
func SameFingerprint(a, b string) bool {
	a, errA := normalPin(a)
	b, errB := normalPin(b)
	return errA == nil && errB == nil && a == b && a != ""
}
