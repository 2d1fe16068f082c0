package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// door is the sign-in page behind a proxy, as seen from anywhere.
type door struct {
	testing.TB
	srv *httptest.Server
	s   *Server
	f   *fakeCloud
	at  time.Time
}

func newDoor(t *testing.T) *door {
	srv, s, f, _ := start(t, hotspot.Owner)
	d := &door{TB: t, srv: srv, s: s, f: f, at: noon}
	s.Now = func() time.Time { return d.at }
	s.throttle.Now = s.Now
	var err error
	if s.Proxies, err = webui.ParseProxies([]string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	return d
}

// signIn returns the status and what the browser keeps of the cookies set.
func (d *door) signIn(from, email, password string, cookies map[string]string) (int, map[string]string) {
	d.Helper()
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": from, "Cookie": cookieHeader(cookies)}
	status, _, answer := ask(d.TB, d.srv, "POST", "/signin", url.Values{"email": {email}, "password": {password}}.Encode(), header)
	return status, kept(answer)
}

func cookieHeader(cookies map[string]string) string {
	var all []string
	for name, value := range cookies {
		all = append(all, name+"="+value)
	}
	return strings.Join(all, "; ")
}

// kept are the cookies of an answer; one taken back has the value "gone".
func kept(header http.Header) map[string]string {
	cookies := map[string]string{}
	for _, c := range (&http.Response{Header: header}).Cookies() {
		cookies[c.Name] = c.Value
		if c.MaxAge < 0 {
			cookies[c.Name] = "gone"
		}
	}
	return cookies
}

func TestWrongPasswordsAreToldAtTheNextSignIn(t *testing.T) {
	d := newDoor(t)
	for i := range 3 {
		if status, _ := d.signIn(fmt.Sprintf("198.51.100.%d", 7+i), "owner@cafe.example", "wrong", nil); status != http.StatusUnauthorized {
			t.Fatalf("wrong password %d: got %d", i+1, status)
		}
	}
	d.at = d.at.Add(12 * time.Minute)
	status, cookies := d.signIn("203.0.113.20", "owner@cafe.example", ownerPassword, nil)
	if status != http.StatusSeeOther {
		t.Fatalf("right password: got %d", status)
	}
	look := func() (string, map[string]string) {
		_, page, header := ask(t, d.srv, "GET", "/sites/main", "", map[string]string{"Cookie": cookieHeader(cookies)})
		return page, kept(header)
	}
	page, set := look()
	for _, text := range []string{"3 wrong passwords since your last sign-in", "12 min ago", "(from 198.51.100.··)."} {
		if !strings.Contains(page, text) {
			t.Errorf("the first page does not say %q", text)
		}
	}
	if strings.Contains(page, "198.51.100.9") {
		t.Error("the first page shows the whole address")
	}
	if set[toldCookie] != "gone" {
		t.Errorf("got cookies %v, want it told once", set)
	}
	delete(cookies, toldCookie)
	if page, _ := look(); strings.Contains(page, "wrong password") {
		t.Error("the second page tells it again")
	}
	if _, cookies := d.signIn("203.0.113.20", "owner@cafe.example", ownerPassword, nil); cookies[toldCookie] != "" {
		t.Error("the next sign-in tells it again")
	}
	for _, value := range []string{"nonsense", "bm9uc2Vuc2U", "eyJDb3VudCI6LTF9"} {
		cookies[toldCookie] = value
		if page, set := look(); strings.Contains(page, "wrong password") || set[toldCookie] != "gone" || !strings.Contains(page, "Main Street") {
			t.Errorf("with %q in its place: cookies %v, or a page that tells it", value, set)
		}
	}
}

func TestOneWrongPasswordFromNowhereIsWordedSo(t *testing.T) {
	d := newDoor(t)
	w := httptest.NewRecorder()
	d.s.tell(w, hotspot.FailedSignIns{Count: 1, LastAt: noon.Add(-5 * time.Second)})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", cookieHeader(kept(w.Header())))
	a := d.s.told(httptest.NewRecorder(), r)
	if a == nil || a.Title != "A wrong password since your last sign-in" || !strings.HasPrefix(a.Text, "It was given 5 s ago. If") {
		t.Errorf("got %+v", a)
	}
}

func TestAddressesAreMasked(t *testing.T) {
	for addr, want := range map[string]string{"198.51.100.7": "198.51.100.··", "::ffff:198.51.100.7": "198.51.100.··", "2001:db8:7:1:2:3:4:5": "2001:db8:7:··",
		"fe80::1%eth0": "fe80:0:0:··", "": "", "pipe": "", "198.51.100.7:443": ""} {
		if got := maskAddress(addr); got != want {
			t.Errorf("%q: got %q, want %q", addr, got, want)
		}
	}
}

// TestStrangersDoNotKeepAKnownBrowserOut: many of them, from as many addresses,
// take every try that the account has. Who has signed in with a browser before
// does not wait for them; everybody else does, and the browser has five tries,
// not more.
func TestStrangersDoNotKeepAKnownBrowserOut(t *testing.T) {
	d := newDoor(t)
	const owner = "owner@cafe.example"
	_, cookies := d.signIn("203.0.113.20", owner, ownerPassword, nil)
	known := map[string]string{knownCookie: cookies[knownCookie]}
	_, cookies = d.signIn("203.0.113.21", "manager@cafe.example", ownerPassword, nil)
	d.at = d.at.Add(time.Minute)
	next := 0
	crowd := func(n int) { // every one from an address of its own
		for range n {
			next++
			d.signIn(fmt.Sprintf("198.51.%d.%d", next/250, next%250+1), owner, "guess", nil)
		}
	}
	crowd(8)
	for name, c := range map[string]map[string]string{"no browser": nil, "another person's browser": {knownCookie: cookies[knownCookie]},
		"a browser made up": {knownCookie: "AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, "no proof": {knownCookie: "AAAA"}} {
		if status, _ := d.signIn("203.0.113.30", owner, ownerPassword, c); status != http.StatusTooManyRequests {
			t.Errorf("%s, under attack: got %d, want to wait", name, status)
		}
	}
	if status, _ := d.signIn("203.0.113.31", owner, ownerPassword, known); status != http.StatusSeeOther {
		t.Errorf("the owner's browser, under attack, from a new address: got %d, want to be let in", status)
	}
	for i := range 6 {
		want := http.StatusUnauthorized
		if i == 5 {
			want = http.StatusTooManyRequests
		}
		if status, _ := d.signIn(fmt.Sprintf("203.0.113.%d", 40+i), owner, "wrong", known); status != want {
			t.Errorf("wrong password %d with the owner's browser: got %d, want %d", i+1, status, want)
		}
	}
	d.at = d.at.Add(time.Minute)
	crowd(8)
	hash, err := webui.HashPassword(context.Background(), "another password")
	if err != nil {
		t.Fatal(err)
	}
	d.f.mu.Lock()
	d.f.hash = hash
	d.f.mu.Unlock()
	if status, _ := d.signIn("203.0.113.50", owner, "another password", known); status != http.StatusTooManyRequests {
		t.Errorf("a browser known under the password before: got %d, want to wait like a stranger", status)
	}
}
