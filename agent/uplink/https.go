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
	"iwas/internal/mqttlink"
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

// door is the cloud's HTTPS door for boxes, and how it is known.
type door struct {
	op          string         // what is asked for, in errors
	url         string         // https://host[:port]
	fingerprint string         // as printed by the console; "" trusts the system's roots
	roots       *x509.CertPool // the cloud's authorities, believed besides; nil before the enrolment
	now         func() time.Time
}

func (o EnrolOptions) door() door { return door{"enrol", o.CloudURL, o.Fingerprint, nil, o.now} }

// post sends one request to the door and reads the answer.
func (d door) post(ctx context.Context, path string, request, reply any) error {
	u, err := url.Parse(d.url)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return fault.New(fault.Invalid, fmt.Sprintf("%s: %q is not an address such as https://cloud.example.com", d.op, d.url), err).
			WithCode("CLD-109", "Copy the whole command from the console; there is no way without HTTPS.")
	}
	cfg, err := d.tls(u.Hostname())
	if err != nil {
		return err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fault.New(fault.Internal, d.op+": encode", err)
	}
	ctx, cancel := context.WithTimeout(ctx, httpsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return fault.New(fault.Invalid, d.op+": request", err)
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: cfg, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a code goes nowhere but where the person said
	}}
	resp, err := client.Do(req)
	if err != nil {
		return explainHTTPS(d.op+": ask "+u.Host, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, replyLimit+1))
	if err != nil {
		return explainHTTPS(d.op+": answer of "+u.Host, err)
	}
	return d.readReply(resp, b, u.Host, reply)
}

func (d door) readReply(resp *http.Response, b []byte, host string, reply any) error {
	strange := func(err error) error {
		return fault.New(fault.Unavailable, d.op+": "+host+" answered "+resp.Status, err).
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
	return fault.New(kindOfStatus(resp.StatusCode), d.op+": the cloud refuses", r).WithCode(r.Code, r.Next)
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

// tls returns how the door's certificate is checked: by the system's roots, by a
// fingerprint alone, or, once enrolled, also by the cloud's own authorities, since
// a certificate ends and the next has another fingerprint. Never not at all.
func (d door) tls(host string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Time: d.now}
	var want []byte
	if d.fingerprint != "" {
		var err error
		if want, err = hex.DecodeString(normalFingerprint(d.fingerprint)); err != nil || len(want) != sha256.Size {
			return nil, fault.New(fault.Invalid, d.op+": the fingerprint is not 64 hexadecimal digits", err).
				WithCode("CLD-109", "Copy the whole command from the console.")
		}
	}
	if want == nil && d.roots == nil {
		return cfg, nil
	}
	cfg.InsecureSkipVerify = true // of chain and name by the library: the next lines check them
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		got := sha256.Sum256(s.PeerCertificates[0].Raw)
		if want != nil && subtle.ConstantTimeCompare(got[:], want) == 1 {
			return nil
		}
		err := errOtherCertificate
		for _, roots := range d.pools(want) {
			if err = verify(s, host, roots, d.now()); err == nil {
				return nil
			}
		}
		return err
	}
	return cfg, nil
}

// pools are the roots a door may be known by; nil in it are the system's.
func (d door) pools(fingerprint []byte) (all []*x509.CertPool) {
	if fingerprint == nil {
		all = append(all, nil)
	}
	if d.roots != nil {
		all = append(all, d.roots)
	}
	return all
}

func verify(s tls.ConnectionState, host string, roots *x509.CertPool, now time.Time) error {
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, CurrentTime: now})
	return err
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
	case mqttlink.NoRoute(err):
		f.WithCode("NET-101", "This box has no way to the internet: check the cable, and the gateway it was given (ip route). Then run the same command again: the code is not lost.")
	case errors.As(err, &dns):
		f.WithCode("NET-102", "The name "+dns.Name+" cannot be looked up: check the internet connection and the DNS server.")
	default:
		f.WithCode("CLD-101", "Check the address and the internet connection, and that a firewall lets HTTPS out. Then run the same command again: the code is not lost.")
	}
	return f
}
