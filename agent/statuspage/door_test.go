package statuspage

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"iwas/agent/statuspage/access"
	"iwas/internal/webui/webuitest"
)

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, x := range texts {
		out = append(out, netip.MustParsePrefix(x))
	}
	return out
}

// outside is a second address of this machine, which stands for the network.
const outside = "127.0.0.9"

// withDoor serves a page with a door on outside, and waits until it is open.
func withDoor(t *testing.T, s *Server) (loopback string, stop func() error) {
	t.Helper()
	if s.Door.Rules == nil {
		s.Door.Rules = func() access.Rules { return access.Rules{Networks: prefixes("127.0.0.0/8")} }
	}
	s.Door.Address, s.Door.Certificate = outside+":0", &access.Certificate{Dir: t.TempDir(), Hosts: []string{outside}}
	addr, stop := serve(t, s)
	await(t, "the door", func() bool { return s.openedAt() != "" })
	return addr, stop
}

func (s *Server) openedAt() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.door.URL
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// pinned is a client that trusts the page's certificate alone, from an address.
func pinned(t *testing.T, s *Server, from string) *http.Client {
	t.Helper()
	pair, err := s.Door.Certificate.TLS().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Minute}
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
}

func TestTheDoorOpensWithTheFirstPasswordAndShutsWithTheLastPerson(t *testing.T) {
	t.Parallel()
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: &access.People{File: t.TempDir() + "/people.json"}}
	s.Door = Door{Address: outside + ":0", Rules: func() access.Rules { return access.Rules{Networks: prefixes("127.0.0.0/8")} }, Certificate: &access.Certificate{Dir: t.TempDir(), Hosts: []string{outside}}}
	addr, stop := serve(t, s)
	for range 2 { // it is looked at least once meanwhile
		if resp, err := http.Get("http://" + addr + "/healthz"); err != nil || resp.Body.Close() != nil {
			t.Fatal(err)
		}
	}
	if at := s.openedAt(); at != "" {
		t.Errorf("open at %s although nobody can sign in", at)
	}
	if _, err := s.People.Set(t.Context(), "ana", "", anasPassword, t0); err != nil {
		t.Fatal(err)
	}
	await(t, "the door", func() bool { return s.openedAt() != "" })
	url := s.openedAt()
	client := pinned(t, s, "127.0.0.1")
	resp, err := client.Get(url + "/healthz")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	resp.Body.Close()
	if err := s.People.Remove("ana"); err != nil {
		t.Fatal(err)
	}
	await(t, "the door to shut", func() bool { return s.openedAt() == "" })
	if resp, err := client.Get(url + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("somebody answers although nobody can sign in")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestTheDoorRefusesGuestsAndRouters(t *testing.T) {
	t.Parallel()
	rules := access.Rules{Networks: prefixes("127.0.0.0/24"), Guests: []access.Range{access.RangeOf(netip.MustParsePrefix("127.0.0.64/28"))}, Routers: []access.Range{access.RangeOf(netip.MustParsePrefix("127.0.0.11/32"))}}
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t), Door: Door{Rules: func() access.Rules { return rules }}}
	loopback, stop := withDoor(t, s)
	at := strings.TrimPrefix(s.openedAt(), "https://")
	for from, want := range map[string]access.Reason{"127.0.0.5": "", "127.0.0.64": access.FromGuest, "127.0.0.79": access.FromGuest, "127.0.0.80": "", "127.0.0.11": access.FromRouter, "127.0.3.1": access.FromStranger} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Minute}
		c, err := d.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute)) // a connection that is up takes one
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return nil }})
		if err := tc.Handshake(); (err == nil) != (want == "") {
			t.Errorf("%s: handshake %v, want refused: %q", from, err, want)
		}
		c.Close()
		if got := rules.Refuses(netip.MustParseAddr(from)); got != want {
			t.Errorf("%s: refused for %q, want %q", from, got, want)
		}
	}
	resp, err := http.Get("http://" + loopback + "/")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, want := range []string{"Refused at the door of this page", "<bdi>127.0.0.11</bdi>", access.FromRouter.Meaning(), access.FromGuest.Meaning(), access.FromStranger.Meaning(), "4 times since the start"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestPlainHTTPIsLedToTheDoor(t *testing.T) {
	t.Parallel()
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t)}
	_, stop := withDoor(t, s)
	at := strings.TrimPrefix(s.openedAt(), "https://")
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /help/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Location"); resp.StatusCode != 308 || got != "https://"+at+"/" {
		t.Errorf("got %d to %q, want 308 to where it connected", resp.StatusCode, got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestWhoIsAnsweredAtTheDoor(t *testing.T) {
	t.Parallel()
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t), Door: Door{Names: []string{"box.cafe.lan"}}}
	_, stop := withDoor(t, s)
	url, client := s.openedAt(), pinned(t, s, "127.0.0.5")
	for host, want := range map[string]int{"": 200, "box.cafe.lan": 200, "localhost:8480": 200, "evil.example": 421, "127.0.0.1": 421, "192.168.99.3": 421, "127.0.0.9.evil.example": 421} {
		r, err := http.NewRequest("GET", url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("host %q: got %d, want %d", host, resp.StatusCode, want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// keyHash is what Chromium trusts a certificate by.
func keyHash(t *testing.T, s *Server) string {
	t.Helper()
	pair, err := s.Door.Certificate.TLS().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(pair.Leaf.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// A page at a name of its own that resolves to this box gets nothing of it, and
// makes it do nothing; nor does a page of another origin.
func TestARebindingPageGetsNothing(t *testing.T) {
	t.Parallel()
	var checked atomic.Int64
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t)}
	s.Check = func(Asked) error { checked.Add(1); return nil }
	loopback, stop := withDoor(t, s)
	_, port, _ := net.SplitHostPort(loopback)
	evil := elsewhere(t)
	door := s.openedAt()
	_, doorPort, _ := net.SplitHostPort(strings.TrimPrefix(door, "https://"))
	tab := webuitest.Start(t, "host-resolver-rules=MAP evil.example 127.0.0.1, MAP door.example "+outside, "ignore-certificate-errors-spki-list="+keyHash(t, s)).Open(t, evil, nil)
	for _, at := range []string{"http://evil.example:" + port, "https://door.example:" + doorPort} {
		var status int64
		chromedp.ListenTarget(tab.Ctx, func(ev any) {
			if e, ok := ev.(*network.EventResponseReceived); ok && e.Type == network.ResourceTypeDocument {
				atomic.StoreInt64(&status, e.Response.Status)
			}
		})
		var text string
		tab.Do(t, "visit "+at, chromedp.Navigate(at+"/"), chromedp.Evaluate(`document.documentElement.innerText`, &text))
		if got := atomic.LoadInt64(&status); got != 421 || strings.Contains(text, "Cafe Marea") {
			t.Errorf("%s: got %d and %q, want 421 and nothing of the site", at, got, text)
		}
		// From there scripts ask, as a page that rebound its name would.
		for _, path := range []string{"/", "/status.json", "/healthz", "/signin"} {
			var got int
			tab.Do(t, "fetch "+path, chromedp.Evaluate(fmt.Sprintf(`fetch(%q).then(r => r.status, () => 0)`, path), &got, awaited))
			if got != 421 && got != 0 { // 0: our content policy forbids the page itself to ask
				t.Errorf("%s%s: a script got %d, want 421", at, path, got)
			}
		}
	}
	// A page of another origin posts to the real name, with the cookie of who is signed in.
	_, token, _ := strings.Cut(cookieOf(t, s, "ana"), "=")
	tab.Do(t, "plant the cookie", network.SetCookie("iwas_status", token).WithURL("http://"+loopback).WithHTTPOnly(true))
	var page string
	tab.Do(t, "post from elsewhere", chromedp.Navigate(evil), chromedp.Evaluate(fmt.Sprintf(`(() => { const f = document.createElement("form"); f.method = "post"; f.action = %q;
		const i = document.createElement("input"); i.name = "router"; i.value = "cafe1"; f.append(i); document.body.append(f); f.submit(); })()`, "http://"+loopback+"/check"), nil))
	await(t, "the answer to the form", func() bool {
		var at string
		if err := chromedp.Run(tab.Ctx, chromedp.Location(&at), chromedp.Evaluate(`document.documentElement?.innerText ?? ""`, &page)); err != nil {
			return false // it is on its way from one page to the other
		}
		return strings.HasPrefix(at, "http://"+loopback) && page != ""
	})
	if !strings.Contains(page, "came from another web site") || checked.Load() != 0 {
		t.Errorf("a form of another origin was answered %q, and %d checks were made", page, checked.Load())
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// elsewhere is a page of another origin.
func elsewhere(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Elsewhere</title><body>Elsewhere")
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
