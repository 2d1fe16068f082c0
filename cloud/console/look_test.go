package console

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui/webuitest"
)

// start serves a console over a fake cloud and returns it with the cookies of
// somebody of the role.
func start(t testing.TB, role hotspot.Role) (*httptest.Server, *Server, *fakeCloud, map[string]string) {
	t.Helper()
	f := newFake(t)
	s := &Server{Store: f, Fleet: f, Now: f.now, Log: slog.New(failOnError{slog.DiscardHandler, t, f}), PublicURL: "http://console.example", AgentsURL: "https://agents.iwas.example:8443", Version: "v1.3.0",
		Fingerprint: "9f2c41d07ab35e6688c1f0d4e2b79a31c5d8e6f7012345ab89cdef0123456789"}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	token := "session-of-" + string(role)
	if _, err := f.CreateOperatorSession(t.Context(), operator(role, "cafe").ID, tokenHash(token), noon); err != nil {
		t.Fatal(err)
	}
	return srv, s, f, map[string]string{"iwas_session": token}
}

// failOnError fails the test when the console logs an error that the test did
// not plan: a page that could not be shown is still a page.
type failOnError struct {
	slog.Handler
	t testing.TB
	f *fakeCloud
}

func (failOnError) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }

func (h failOnError) Handle(_ context.Context, r slog.Record) error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if h.f.fail == nil {
		r.Attrs(func(a slog.Attr) bool { h.t.Errorf("logged %q: %v", r.Message, a); return true })
	}
	return nil
}

// wireBudget is what a page with all its files may weigh on the wire, in
// bytes: a second on a slow phone.
const wireBudget = 100_000

func TestEveryPageIsLegibleAndSmall(t *testing.T) {
	srv, _, f, cookies := start(t, hotspot.Owner)
	browser := webuitest.Start(t)
	f.guests[0].Lock = hotspot.LockStatus{State: hotspot.LockNone}
	pages := map[string]struct{ path, heading string }{
		"home": {"/", "Sites"}, "site": {"/sites/main", "Main Street"}, "site-lost": {"/sites/harbour", "Harbour"},
		"site-never": {"/sites/fresh", "Old Town"}, "site-nobody": {"/sites/main?q=zebra", "Main Street"},
		"guest-online": {"/guests/mara", "mara"}, "guest-enforced": {"/guests/enforced", "sam"}, "guest-sent": {"/guests/sent", "noor"},
		"guest-waiting": {"/guests/waiting", "rafa"}, "guest-leaks": {"/guests/leaks", "lea"},
		"guest-reopened": {"/guests/reopened", "ada"}, "guest-reopened-lost": {"/guests/reopened-lost", "pia"},
		"add-guest": {"/sites/main/guests/new?kind=user", "Add a guest"}, "plans": {"/plans", "Plans"},
		"add-site": {"/sites/new", "Add a site"}, "box": {"/sites/main/box", "Box"}, "missing": {"/nowhere", "Not found"},
		"lists": {"/sites/main/grants", "Address-lists"}, "lists-empty": {"/sites/fresh/grants", "Address-lists"}, "lists-lost": {"/sites/harbour/grants", "Address-lists"},
		"router": {"/sites/main/routers/counter", "Router Counter"}, "why": {"/sites/main/why?q=ab%3Acd%3A01", "Why can’t somebody log in?"}, "why-wrong": {"/sites/main/why?q=K7QM-PDXW", "Why can’t somebody log in?"}, "router-box-first": {"/sites/main/routers/attic", "Router attic"}, "router-lost": {"/sites/harbour/routers/pier", "Router pier"},
	}
	tab := browser.Open(t, srv.URL, cookies)
	for name, p := range pages {
		tab.Visit(t, p.path)
		if got := tab.Text(t, "h1"); got != p.heading {
			t.Errorf("%s is headed %q, want %q", name, got, p.heading)
		}
		if got := tab.Received(); got < 5_000 || got > wireBudget {
			t.Errorf("%s weighs %d bytes on the wire, want 5,000 to %d", name, got, wireBudget)
		}
		for _, v := range webuitest.Views {
			tab.Inspect(t, name, v)
		}
	}
	tab.Close()
	told, err := json.Marshal(hotspot.FailedSignIns{Count: 3, LastAt: noon.Add(-12 * time.Minute), LastFrom: "198.51.100.··"})
	if err != nil {
		t.Fatal(err)
	}
	tab = browser.Open(t, srv.URL, map[string]string{"iwas_session": cookies["iwas_session"], toldCookie: base64.RawURLEncoding.EncodeToString(told)})
	tab.Visit(t, "/")
	if got := tab.Text(t, ".alert"); !strings.Contains(got, "3 wrong passwords") {
		t.Errorf("the first page after a sign-in says %q, want the wrong passwords", got)
	}
	for _, v := range webuitest.Views {
		tab.Inspect(t, "home-told", v)
	}
	tab.Close()
	tab = browser.Open(t, srv.URL, nil)
	tab.Visit(t, "/signin")
	if got := tab.Text(t, "h1"); got != "Sign in" {
		t.Errorf("the first page of a stranger is headed %q, want Sign in", got)
	}
	for _, v := range webuitest.Views {
		tab.Inspect(t, "signin", v)
	}
}
