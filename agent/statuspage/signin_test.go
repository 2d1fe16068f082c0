package statuspage

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

const (
	anasPassword = "three wet ducks"
	ruisPassword = "a blue teapot"
)

// people makes a file with ana, a technician, and rui, a cashier.
func people(t testing.TB) *access.People {
	t.Helper()
	p := &access.People{File: filepath.Join(t.TempDir(), "people.json")}
	for name, x := range map[string]struct {
		role     access.Role
		password secret.Value
	}{"ana": {access.Technician, anasPassword}, "rui": {access.Cashier, ruisPassword}} {
		if _, err := p.Set(t.Context(), name, x.role, x.password, t0); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// cookieOf signs a person in and returns the header "Cookie".
func cookieOf(t testing.TB, s *Server, who string) string {
	t.Helper()
	s.init()
	token, _, err := s.desk.SignIn(t.Context(), peerOf(&http.Request{RemoteAddr: "127.0.0.1:1"}), who, secret.Value(map[string]string{"ana": anasPassword, "rui": ruisPassword}[who]))
	if err != nil {
		t.Fatal(err)
	}
	return "iwas_status=" + token
}

func pages(t testing.TB) *webui.Pages {
	t.Helper()
	s := &Server{}
	if _, err := s.Handler(); err != nil {
		t.Fatal(err)
	}
	return s.pages
}

// browser asks a handler and keeps its cookies.
type browser struct {
	t       *testing.T
	h       http.Handler
	from    string
	cookies map[string]*http.Cookie
}

func (b *browser) ask(method, path string, form url.Values) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:8480"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second) // a stream that should not be one ends
	defer cancel()
	r = r.WithContext(ctx)
	r.RemoteAddr = b.from
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookies == nil {
			b.cookies = map[string]*http.Cookie{}
		}
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return w
}

func (b *browser) signIn(name, password string) *httptest.ResponseRecorder {
	return b.ask("POST", "/signin", url.Values{"name": {name}, "password": {password}, "next": {"/help/RAD-103"}})
}

func near(t *testing.T, s *Server) *browser {
	t.Helper()
	h, err := s.Handler()
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, h: h, from: "127.0.0.1:5000"}
}

func TestSigningInAndOut(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t)}
	b := near(t, s)
	if body := b.ask("GET", "/", nil).Body.String(); !strings.Contains(body, `href="/signin"`) || strings.Contains(body, "Signed in as") {
		t.Error("a reader of this box is not offered to sign in")
	}
	w := b.ask("GET", "/signin?next=/help/RAD-103", nil)
	for _, want := range []string{`autocomplete="username"`, `autocomplete="current-password"`, `value="/help/RAD-103"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the form has no %s", want)
		}
	}
	if w := b.signIn("ana", "wrong password"); w.Code != 401 || len(b.cookies) != 0 || !strings.Contains(w.Body.String(), "Name or password is wrong") {
		t.Errorf("a wrong password: got %d, cookies %v", w.Code, b.cookies)
	}
	w = b.signIn(" ANA ", anasPassword)
	c := b.cookies["iwas_status"]
	if w.Code != 303 || w.Header().Get("Location") != "/help/RAD-103" || c == nil || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.MaxAge != 12*3600 {
		t.Fatalf("got %d to %q with cookie %+v", w.Code, w.Header().Get("Location"), c)
	}
	if body := b.ask("GET", "/", nil).Body.String(); !strings.Contains(body, "Signed in as <bdi>ana (technician)</bdi>") || strings.Contains(body, `href="/signin"`) {
		t.Error("the page does not say who is signed in")
	}
	if w := b.ask("POST", "/signout", nil); w.Code != 303 || b.cookies["iwas_status"] != nil {
		t.Errorf("signing out: got %d, cookies %v", w.Code, b.cookies)
	}
	b.cookies = map[string]*http.Cookie{"x": c} // kept by a thief
	if body := b.ask("GET", "/", nil).Body.String(); strings.Contains(body, "Signed in as") {
		t.Error("the old cookie is still taken")
	}
	for _, next := range []string{"//evil.example/", "https://evil.example/", `/\evil.example`} {
		w := b.ask("POST", "/signin", url.Values{"name": {"ana"}, "password": {anasPassword}, "next": {next}})
		if got := w.Header().Get("Location"); got != "/" {
			t.Errorf("next %q leads to %q", next, got)
		}
	}
}

func TestFiveWrongPasswordsHaveToWait(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t)}
	h, err := s.farHandlerFor(t, "192.168.99.7")
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, h: h, from: "192.168.99.7:5000"}
	for range 5 {
		if w := b.signIn("ana", "wrong password"); w.Code != 401 {
			t.Fatalf("got %d, want 401", w.Code)
		}
	}
	w := b.signIn("ana", anasPassword)
	if w.Code != 429 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "Wait 15 min") && !strings.Contains(w.Body.String(), "Wait 14 min") {
		t.Errorf("the sixth: got %d, Retry-After %q, want 429 and the time left in words:\n%s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
}

// farHandlerFor is the page for the network, which takes one address.
func (s *Server) farHandlerFor(t *testing.T, from string) (http.Handler, error) {
	t.Helper()
	s.Door.Rules = func() access.Rules { return access.Rules{Networks: prefixes(from + "/32")} }
	s.Door.Names = []string{"127.0.0.1"} // httptest asks for it
	return s.farHandler()
}

func TestTheNetworkReadsNothingWithoutASignIn(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t), Check: nil}
	h, err := s.farHandlerFor(t, "192.168.99.7")
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, h: h, from: "192.168.99.7:5000"}
	for path, want := range map[string]int{"/": 303, "/help/": 303, "/help/RAD-103": 303, "/nothing": 303, "/status.json": 401, "/readyz": 401, "/live": 200,
		"/healthz": 200, "/signin": 200, webui.AssetPath("app.css"): 200} {
		w := b.ask("GET", path, nil)
		if w.Code != want || strings.Contains(w.Body.String(), "Cafe Marea") {
			t.Errorf("%s: got %d, want %d and no word of the site", path, w.Code, want)
		}
	}
	if w := b.ask("GET", "/live", nil); w.Body.String() != "event: leave\ndata: now\n\n" {
		t.Errorf("the stream says %q, want nothing but to leave", w.Body)
	}
	if w := b.ask("GET", "/help/RAD-103", nil); w.Header().Get("Location") != "/signin?next=%2Fhelp%2FRAD-103" {
		t.Errorf("leads to %q", w.Header().Get("Location"))
	}
	if w := b.ask("POST", "/check", nil); w.Code != 303 || w.Header().Get("Location") != "/signin?why=changed" {
		t.Errorf("a change without a sign-in: got %d to %q", w.Code, w.Header().Get("Location"))
	}
	if w := b.signIn("rui", ruisPassword); w.Code != 303 {
		t.Fatalf("signing in: got %d", w.Code)
	}
	if w := b.ask("GET", "/", nil); w.Code != 200 || !strings.Contains(w.Body.String(), "Cafe Marea") {
		t.Errorf("signed in: got %d", w.Code)
	}
	b.from = "10.20.0.17:5000" // the same cookie from the guest network
	if w := b.ask("GET", "/", nil); w.Code != 403 || strings.Contains(w.Body.String(), "Cafe Marea") {
		t.Errorf("from elsewhere: got %d", w.Code)
	}
}

// A sign-in ends with the password, the person, and a page that is open with it
// is told to leave.
func TestASignInEndsWithThePassword(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t)}
	addr, stop := serve(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", cookieOf(t, s, "ana"))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	until := func(what string) bool {
		for in.Scan() {
			if in.Text() == what {
				return true
			}
		}
		return false
	}
	if !until("event: beat") {
		t.Fatal("the stream does not live")
	}
	if _, err := s.People.Set(t.Context(), "ana", "", "another password", t0); err != nil {
		t.Fatal(err)
	}
	s.Notify()
	if !until("event: leave") {
		t.Error("the page is not told that its sign-in is over")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// What became of a change is said once, to whoever made it.
func TestANoteIsShownOnce(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t)}
	b := near(t, s)
	b.signIn("rui", ruisPassword)
	v := visitor{access.Person{Name: "rui", Role: access.Cashier}, b.cookies["iwas_status"].Value}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "http://127.0.0.1:8480/x", nil)
	s.done(w, r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)), "/", webui.Alert{Tone: webui.Good, Title: "mara is <locked>"})
	if w.Code != 303 || w.Header().Get("Location") != "/" {
		t.Errorf("got %d to %q", w.Code, w.Header().Get("Location"))
	}
	if body := near(t, s).ask("GET", "/", nil).Body.String(); strings.Contains(body, "mara") {
		t.Error("somebody else reads it")
	}
	if body := b.ask("GET", "/", nil).Body.String(); !strings.Contains(body, "mara is &lt;locked&gt;") {
		t.Error("it is not shown")
	}
	if body := b.ask("GET", "/", nil).Body.String(); strings.Contains(body, "mara is") {
		t.Error("it is shown twice")
	}
}

// Nobody can claim a box that has no password.
func TestThereIsNoFirstVisitor(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: &access.People{File: filepath.Join(t.TempDir(), "people.json")}}
	b := near(t, s)
	if body := b.ask("GET", "/signin", nil).Body.String(); !strings.Contains(body, "iwas-agent password set") || strings.Contains(body, `type="password"`) {
		t.Error("the page does not say how the first password is set, or offers to set it")
	}
	for _, try := range [][2]string{{"", ""}, {"technician", ""}, {"admin", "admin"}} {
		if w := b.signIn(try[0], try[1]); w.Code != 401 || len(b.cookies) != 0 {
			t.Errorf("%q: got %d, cookies %v", try, w.Code, b.cookies)
		}
	}
}

func TestManyReadersSignInAtOnce(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t)}
	h := near(t, s).h
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			b := &browser{t: t, h: h, from: "127.0.0.1:5000"}
			if w := b.signIn("ana", anasPassword); w.Code != 303 {
				t.Errorf("got %d", w.Code)
			}
		})
	}
	all.Wait()
}
