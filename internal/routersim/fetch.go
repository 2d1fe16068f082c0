package routersim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// /tool/fetch, as far as a router needs it to keep lists that it fetches (facts.md
// §9): into a file, over HTTP or HTTPS. The words of a connection that fails are ours.

const (
	fetchSilence   = 10 * time.Second // idle-timeout
	fetchRedirects = 2                // http-max-redirect-count
	fetchLimit     = 32 << 20         // of a file; ours
)

// download is a fetch under way.
type download struct {
	url, file string
	header    http.Header
	roots     *x509.CertPool // nil: the certificate is not looked at
	from      net.Addr
	ctx       context.Context // of the power
}

// fetch runs /tool/fetch without the lock: the server may take its time.
func (s *Sim) fetch(who actor, args map[string]string) error {
	s.mu.Lock()
	d, err := s.download(who, args)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	body, err := d.get()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case d.ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return err
	case d.file != "":
		s.keep(d.file, body, nil)
	}
	return nil
}

// download checks the arguments. The caller holds the lock.
func (s *Sim) download(who actor, args map[string]string) (*download, error) {
	needs := []string{"test"}
	if s.knobs.FetchNeedsFTP {
		needs = append(needs, "ftp")
	}
	for _, policy := range needs {
		if !s.may(who, policy) {
			return nil, trapf(-1, "not enough permissions (9)")
		}
	}
	if err := s.menus["tool"].check("fetch", args); err != nil {
		return nil, err
	}
	if !s.menus["system/device-mode"].rows[0].is("fetch") {
		return nil, trapf(4, "failure: not allowed by device-mode")
	}
	u, err := url.Parse(args["url"])
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, trapf(4, "failure: invalid URL")
	}
	d := &download{url: args["url"], file: args["dst-path"], header: http.Header{}, ctx: s.boot}
	if d.file == "" {
		d.file = path.Base(u.Path)
	}
	switch args["output"] {
	case "none":
		d.file = ""
	case "", "file":
	case "user", "user-with-headers":
		return nil, trapf(4, "failure: this simulated router fetches into files only")
	default:
		return nil, trapf(1, "input does not match any value of output")
	}
	for field := range strings.SplitSeq(args["http-header-field"], ",") {
		if name, value, ok := strings.Cut(field, ":"); ok {
			d.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	switch args["check-certificate"] {
	case "", "no":
	case "yes", "yes-without-crl":
		d.roots = s.trusted()
	default:
		return nil, trapf(1, "input does not match any value of check-certificate")
	}
	if s.c.NASIP.IsLoopback() {
		d.from = &net.TCPAddr{IP: s.c.NASIP.AsSlice()}
	}
	return d, nil
}

// trusted are the authorities of /certificate.
func (s *Sim) trusted() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, r := range s.menus["certificate"].rows {
		if r.cert == nil || !r.is("trusted") {
			continue
		}
		if c, err := x509.ParseCertificate(r.cert.Certificate[0]); err == nil { // it was parsed when it came
			pool.AddCert(c)
		}
	}
	return pool
}

func (d *download) get() (string, error) {
	dial := &net.Dialer{LocalAddr: d.from, Timeout: fetchSilence}
	trust := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: d.roots}
	if d.roots == nil { // check-certificate=no, the default of RouterOS: anybody is believed
		trust.InsecureSkipVerify, trust.VerifyConnection = true, func(tls.ConnectionState) error { return nil }
	}
	t := &http.Transport{DialContext: dial.DialContext, ResponseHeaderTimeout: fetchSilence, TLSHandshakeTimeout: fetchSilence, TLSClientConfig: trust}
	defer t.CloseIdleConnections()
	c := &http.Client{Transport: t, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > fetchRedirects {
			return fmt.Errorf("more than %d redirects", fetchRedirects)
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(d.ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return "", trapf(4, "failure: invalid URL")
	}
	req.Header = d.header
	resp, err := c.Do(req)
	if err != nil {
		return "", trapf(4, "failure: %s", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", trapf(4, "failure: Status %d, %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, fetchLimit))
	if err != nil {
		return "", trapf(4, "failure: %s", err)
	}
	return string(b), nil
}

// importCertificate is /certificate/import: every certificate of a PEM file becomes a
// row, trusted unless trusted=no. How rows are named is not in facts.md: by the file,
// with a number. The words of the refusal are ours.
func (s *Sim) importCertificate(m *menu, args map[string]string) error {
	if err := m.check("import", args); err != nil {
		return err
	}
	f := s.menus["file"].find(args["file-name"])
	if f == nil {
		return trapf(1, "input does not match any value of file-name")
	}
	rest, n := []byte(f.get("contents")), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return trapf(4, "failure: no certificate in %s", args["file-name"])
		}
		r := s.fresh(m.path, map[string]string{"name": fmt.Sprintf("%s_%d", args["file-name"], n), "common-name": c.Subject.CommonName})
		if err := s.certified(r, tls.Certificate{Certificate: [][]byte{c.Raw}}); err != nil {
			return err
		}
		r.props["trusted"] = "true"
		if args["trusted"] == "no" || args["trusted"] == "false" {
			r.props["trusted"] = "false"
		}
		same := func(old *row) bool { return old.get("fingerprint") == r.get("fingerprint") }
		if n++; !slices.ContainsFunc(m.rows, same) { // imported again: there already
			m.rows = append(m.rows, r)
		}
	}
	if n == 0 {
		return trapf(4, "failure: no certificate in %s", args["file-name"])
	}
	return nil
}
