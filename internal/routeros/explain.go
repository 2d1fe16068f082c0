package routeros

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"iwas/internal/fault"
)

// CertificateError says that the router's certificate is not the one a person
// trusted, or that none was trusted yet.
type CertificateError struct {
	Got  string // SHA-256 of the certificate shown, 64 lower-case hex digits
	Want string // as pinned; "" when nothing was
}

// Error names the beginnings of both fingerprints, as a phone has room for: whoever
// compares them is shown them whole by iwas-agent router trust.
func (e *CertificateError) Error() string {
	if e.Want == "" {
		return "its certificate (SHA-256 " + e.Got + ") has not been trusted yet"
	}
	return "its certificate " + begins(e.Got) + " is not the one trusted, " + begins(e.Want)
}

func begins(fingerprint string) string { return fingerprint[:min(len(fingerprint), 16)] + "…" }

// normalPin returns a fingerprint as 64 lower-case hex digits; "" stays "".
func normalPin(pin string) (string, error) {
	text := strings.ToLower(strings.NewReplacer(":", "", " ", "", "-", "").Replace(pin))
	if b, err := hex.DecodeString(text); err != nil || (len(b) != 0 && len(b) != sha256.Size) {
		return "", fault.New(fault.Invalid, fmt.Sprintf("fingerprint %q is not a SHA-256 in hex (64 digits)", pin), nil)
	}
	return text, nil
}

// handshake starts TLS and checks the certificate against the pin, and nothing
// else: a router signs its own, and its name and dates mean nothing.
func handshake(ctx context.Context, conn net.Conn, pin string) (net.Conn, error) {
	c := tls.Client(conn, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // the pin below is the verification
		VerifyConnection: func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].Raw)
			got := hex.EncodeToString(sum[:])
			if subtle.ConstantTimeCompare([]byte(got), []byte(pin)) != 1 {
				return &CertificateError{Got: got, Want: pin}
			}
			return nil
		},
	})
	return c, c.HandshakeContext(ctx)
}

// explain gives an error of the connection its kind, code and next step.
func explain(op string, where place, err error) error {
	var cert *CertificateError
	var notTLS tls.RecordHeaderError
	f := fault.New(fault.Unavailable, op, err)
	service := where.service
	switch {
	case errors.As(err, &cert):
		f.Kind = fault.Forged
		if cert.Want == "" {
			return f.WithCode(CodeCertificateChanged, "Compare the fingerprint with the router's (/certificate/print detail, field fingerprint) and write it into the configuration.")
		}
		return f.WithCode(CodeCertificateChanged, "If the router was replaced or its certificate renewed, compare the new fingerprint with the router's (/certificate/print detail) and trust it; else somebody stands in between.")
	case errors.As(err, &notTLS):
		return f.WithCode(CodeServiceOff, "That port does not speak TLS: api-ssl is 8729 and www-ssl 443 unless changed (/ip/service/print); 8728 is the plain api, 80 plain www.")
	case noCertificate(err):
		return f.WithCode(CodeServiceOff, "The router offers "+service+" without a certificate (anonymous Diffie-Hellman), which this program does not speak: make one on the router and set it, /ip/service/set "+service+" certificate=NAME.")
	case errors.Is(err, errNotAPI):
		return f.WithCode(CodeServiceOff, "Something else answers on that port: 8728 is the plain api, 8729 api-ssl, unless changed (/ip/service/print).")
	case errors.Is(err, syscall.ECONNREFUSED):
		return f.WithCode(CodeServiceOff, "The router answers, but the service is off: /ip/service/enable "+service+", and check its port.")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return f.WithCode(CodeServiceOff, "The router hung up. If it does so at once: /ip/service address= of "+service+" must allow this machine, and max-sessions must not be reached.")
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return f // we did it
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return f.WithCode(CodeUnreachable, "No answer in time from "+where.address+": is the router on, is the cable in, does a firewall rule drop this machine's packets?")
	}
	return f.WithCode(CodeUnreachable, "Check the address, the cable, and that the router is on.")
}

// explainTLS explains an error of the handshake. A plain service hangs up on what
// it cannot read; so does one that is not for this machine.
func explainTLS(address string, where place, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return fault.New(fault.Unavailable, "TLS with "+address, err).WithCode(CodeServiceOff, "The router hung up before TLS was up: either that port is a plain service and does not speak TLS"+
			" (8728 api, 80 www; /ip/service/print), or /ip/service address= of "+where.service+" does not allow this machine.")
	}
	return explain("TLS with "+address, where, err)
}

// noCertificate reports the alert of a server that shares no cipher with us:
// RouterOS without a certificate offers anonymous Diffie-Hellman only (facts.md
// §1). crypto/tls has no type for alerts received.
func noCertificate(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "handshake failure")
}
