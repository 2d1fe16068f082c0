package uplink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/wire"
)

const (
	httpsTimeout = 15 * time.Second // of a whole call
	replyLimit   = 256 << 10        // octets of an answer; more is an error
)

// refusal is the cloud's own answer that it will not.
type refusal struct {
	status int
	wire.Problem
}

// Error prints what the cloud said.
func (r *refusal) Error() string {
	if r.Detail != "" {
		return r.Title + ": " + r.Detail
	}
	return r.Title
}

// errOtherCertificate means that the door showed another certificate than the
// one whose fingerprint the console printed.
var errOtherCertificate = errors.New("the certificate is not the one whose fingerprint was given")

// post sends one request to the agents' door and reads the answer.
func post(ctx context.Context, o EnrolOptions, path string, request, reply any) error {
	u, err := url.Parse(o.CloudURL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fault.New(fault.Invalid, fmt.Sprintf("enrol: %q is not an address such as https://cloud.example.com", o.CloudURL), err).
			WithCode("CLD-109", "Copy the whole command from the console; there is no way without HTTPS.")
	}
	cfg, err := tlsFor(o)
	if err != nil {
		return err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fault.New(fault.Internal, "enrol: encode", err)
	}
	ctx, cancel := context.WithTimeout(ctx, httpsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Invalid, "enrol: request", err)
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: cfg, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a code goes nowhere but where the person said
	}}
	resp, err := client.Do(req)
	if err != nil {
		return explainHTTPS("enrol: ask "+u.Host, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, replyLimit+1))
	if err != nil {
		return explainHTTPS("enrol: answer of "+u.Host, err)
	}
	return readReply(resp, b, u.Host, reply)
}

func readReply(resp *http.Response, b []byte, host string, reply any) error {
	strange := func(err error) error {
		return fault.New(fault.Unavailable, "enrol: "+host+" answered "+resp.Status, err).
			WithCode("CLD-109", "That is not the answer of an IWAS cloud: check the address, and whether a proxy or login page stands in between.")
	}
	if len(b) > replyLimit {
		return strange(fmt.Errorf("more than %d octets", replyLimit))
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated {
		if err := json.Unmarshal(b, reply); err != nil {
			return strange(err)
		}
		return nil
	}
	r := &refusal{status: resp.StatusCode}
	if err := json.Unmarshal(b, &r.Problem); err != nil || r.Title == "" {
		return strange(nil)
	}
	return fault.New(kindOfStatus(resp.StatusCode), "enrol: the cloud refuses", r).WithCode(r.Code, r.Next)
}

func kindOfStatus(status int) fault.Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.Denied
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusConflict, http.StatusGone:
		return fault.Conflict
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return fault.Unavailable
	}
	if status >= 500 {
		return fault.Unavailable
	}
	return fault.Invalid
}

// tlsFor returns how the door's certificate is checked: by the system's roots,
// or by a fingerprint alone, and never not at all.
func tlsFor(o EnrolOptions) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Time: o.now}
	if o.Fingerprint == "" {
		return cfg, nil
	}
	want, err := hex.DecodeString(normalFingerprint(o.Fingerprint))
	if err != nil || len(want) != sha256.Size {
		return nil, fault.New(fault.Invalid, "enrol: the fingerprint is not 64 hexadecimal digits", err).
			WithCode("CLD-109", "Copy the whole command from the console.")
	}
	cfg.InsecureSkipVerify = true // of chain and name: the next line checks the very certificate instead
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		got := sha256.Sum256(s.PeerCertificates[0].Raw)
		if subtle.ConstantTimeCompare(got[:], want) != 1 {
			return errOtherCertificate
		}
		return nil
	}
	return cfg, nil
}

func normalFingerprint(s string) string {
	return strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(s))
}

// explainHTTPS tells the ways apart in which the door cannot be reached.
func explainHTTPS(op string, err error) error {
	f := fault.New(fault.Unavailable, op, err)
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var dns *net.DNSError
	switch {
	case errors.Is(err, errOtherCertificate):
		f.Kind = fault.Forged
		f.WithCode("CLD-102", "Copy the command from the console anew. If the fingerprint is still another one, something between here and the cloud intercepts TLS.")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.Kind = fault.Forged
		f.WithCode("CLK-101", "The cloud's certificate is not valid at this box's date: set the date here first.")
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid):
		f.Kind = fault.Forged
		f.WithCode("CLD-102", "This box does not trust the cloud's certificate: use the command with the fingerprint from the console. If that fails too, something in between intercepts TLS.")
	case errors.As(err, &dns):
		f.WithCode("NET-102", "The name "+dns.Name+" cannot be looked up: check the internet connection and the DNS server.")
	default:
		f.WithCode("CLD-101", "Check the address and the internet connection, and that a firewall lets HTTPS out. Then run the same command again: the code is not lost.")
	}
	return f
}
