package statuspage

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// ask sends one request to a page of the snapshot.
func ask(t *testing.T, s Snapshot, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	srv := &Server{Snapshot: func(context.Context) Snapshot { return s }, Board: &condition.Board{Now: func() time.Time { return s.At.Add(-time.Hour) }}}
	h, err := srv.Handler()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8480/", nil)
	r.RemoteAddr = "127.0.0.1:5000"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func path(p string) func(*http.Request) {
	return func(r *http.Request) { r.URL.Path, r.URL.RawQuery, _ = strings.Cut(p, "?") }
}

func TestWhoIsAnswered(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"this box", nil, 200},
		{"this box over IPv6", func(r *http.Request) { r.Host, r.RemoteAddr = "[::1]:8480", "[::1]:5000" }, 200},
		{"by name", func(r *http.Request) { r.Host = "localhost:8480" }, 200},
		{"through a tunnel with another port", func(r *http.Request) { r.Host = "localhost:9999" }, 200},
		{"a foreign name that resolves here", func(r *http.Request) { r.Host = "evil.example:8480" }, 421},
		{"a foreign name on the health check", func(r *http.Request) { r.Host, r.URL.Path = "evil.example", "/healthz" }, 421},
		{"a foreign name on the data", func(r *http.Request) { r.Host, r.URL.Path = "evil.example", "/status.json" }, 421},
		{"a foreign name on a file", func(r *http.Request) { r.Host, r.URL.Path = "evil.example", webui.AssetPath("app.css") }, 421},
		{"a name that begins like ours", func(r *http.Request) { r.Host = "127.0.0.1.evil.example" }, 421},
		{"no name", func(r *http.Request) { r.Host = "" }, 421},
		{"the LAN address", func(r *http.Request) { r.Host = "192.168.99.2:8480" }, 421},
		{"a guest with a forged name", func(r *http.Request) { r.RemoteAddr = "10.20.0.17:5000" }, 403},
		{"a guest's forwarded header", func(r *http.Request) {
			r.RemoteAddr = "10.20.0.17:5000"
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
		}, 403},
		{"a mapped loopback address", func(r *http.Request) { r.RemoteAddr = "[::ffff:127.0.0.1]:5000" }, 200},
		{"another page", path("/nothing"), 404},
		{"a change from another site", func(r *http.Request) {
			r.Method, r.URL.Path = http.MethodPost, "/theme"
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}, 403},
		{"a change to what only reads", func(r *http.Request) { r.Method = http.MethodPost }, 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := ask(t, well(nil), test.change)
			if w.Code != test.want {
				t.Errorf("got %d, want %d", w.Code, test.want)
			}
			if got := w.Header().Get("Content-Security-Policy"); got != webui.Policy {
				t.Errorf("got policy %q, want %q", got, webui.Policy)
			}
			if w.Code != 200 && strings.Contains(w.Body.String(), "Cafe Marea") {
				t.Error("a refused reader learnt the site's name")
			}
		})
	}
}

func TestHealthAndReadiness(t *testing.T) {
	broken := func(s *Snapshot) { s.Store = Store{Problem: "no rights", Next: "Look at the owner."} }
	away := func(s *Snapshot) { s.Cloud.Connected = false }
	for _, test := range []struct {
		path   string
		change func(*Snapshot)
		code   int
		want   string
	}{
		{"/healthz", nil, 200, "ok"},
		{"/healthz", broken, 200, "ok"},
		{"/readyz", nil, 200, "ready"},
		{"/readyz", away, 200, "ready"},
		{"/readyz", broken, 503, "the database will not open: no rights\nLook at the owner."},
		{"/readyz?verbose", away, 200, "store OK open and writable\nradius OK listens\nclock OK the cloud's is"},
		{"/readyz?verbose", away, 200, "cloud FAIL away; logins go on"},
		{"/readyz?verbose", func(s *Snapshot) { s.Cloud.OffsetMS = 192_000 }, 200, "clock FAIL the cloud's is 3 min"},
		{"/readyz?verbose", func(s *Snapshot) { s.Cloud = Cloud{} }, 200, "clock - not compared with the cloud's yet\ncloud - not enrolled"},
		{"/readyz", func(s *Snapshot) { s.Store.Unwritable, s.Store.UnwritableNext = "disk is full", "Free room." }, 503, "guests cannot log in: the database cannot be written: disk is full\nFree room."},
		{"/readyz?verbose", func(s *Snapshot) { s.Store.Unwritable = "disk is full" }, 503, "store FAIL disk is full"},
		{"/readyz?verbose", func(s *Snapshot) { s.Store.Unwritable = "disk is full" }, 503, "DB-103 high"},
		{"/readyz", func(s *Snapshot) { s.RADIUS.Problem, s.RADIUS.Next = "UDP 1812 is taken", "Stop the other." }, 503, "guests cannot log in: RADIUS is not answering: UDP 1812 is taken\nStop the other."},
		{"/readyz", func(s *Snapshot) { s.Routers = nil }, 503, "no router is configured"},
		{"/readyz", func(s *Snapshot) { s.Store.Accounts, s.Cloud = 0, Cloud{} }, 503, "this box is not enrolled and knows no account"},
		{"/readyz", func(s *Snapshot) { s.Store.Accounts, s.Cloud = 0, Cloud{} }, 503, `iwas-agent enroll. Or sell without one: iwas-agent plan add "1 hour" --time 1h, then iwas-agent voucher sell "1 hour"`},
		{"/readyz", func(s *Snapshot) { s.Store.Accounts, s.Store.Plan, s.Cloud = 0, "Day", Cloud{} }, 503, `Or sell without one: iwas-agent voucher sell "Day"`},
		{"/readyz", func(s *Snapshot) { s.Store.Accounts = 0 }, 200, "ready"}, // the cloud's guests come down by themselves
		{"/readyz?verbose", away, 200, "CLD-101 medium"},
		{"/readyz?verbose", broken, 503, "DB-108 high"},
		{"/readyz", func(s *Snapshot) { s.RADIUS.Bound = false }, 503, "RADIUS is starting"},
	} {
		w := ask(t, well(test.change), path(test.path))
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s: got %d %q, want %d and %q", test.path, w.Code, w.Body, test.code, test.want)
		}
	}
}

func TestDataTwin(t *testing.T) {
	s := well(func(s *Snapshot) { s.Cloud.Connected = false })
	w := ask(t, s, path("/status.json"))
	var got struct {
		Ready      bool   `json:"ready"`
		Verdict    string `json:"verdict"`
		Conditions []struct {
			Code, Severity, Title, Next, Help string
			Since                             time.Time
		} `json:"conditions"`
		Snapshot
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("got %v of type %q", err, w.Header().Get("Content-Type"))
	}
	if !got.Ready || got.Verdict != "Guests can log in" || got.Site != s.Site || got.RADIUS.Accepts != s.RADIUS.Accepts || got.Cloud.Revision != 418 {
		t.Errorf("got %+v, want the snapshot", got)
	}
	if len(got.Conditions) != 1 || got.Conditions[0].Code != "CLD-101" || got.Conditions[0].Help != "/help/CLD-101" || got.Conditions[0].Next == "" || got.Conditions[0].Since.IsZero() {
		t.Errorf("got conditions %+v, want CLD-101", got.Conditions)
	}
	empty := ask(t, Snapshot{At: t0}, path("/status.json")).Body.String()
	if strings.Contains(empty, "null") {
		t.Errorf("a list is null:\n%s", empty)
	}
}

func TestHelpPages(t *testing.T) {
	for _, c := range condition.All() {
		w := ask(t, well(nil), path("/help/"+c.Code))
		body := w.Body.String()
		if w.Code != 200 || !strings.Contains(body, "<h2>Still stuck</h2>") || strings.Count(body, "<h1") != 1 {
			t.Errorf("%s: got %d, want a page with one heading and all its sections", c.Code, w.Code)
		}
	}
	if w := ask(t, well(nil), path("/help/rad-103")); w.Code != 200 {
		t.Errorf("a code in lower case: got %d, want its page", w.Code)
	}
	for _, p := range []string{"/help/RAD-999", "/help/..", "/help/<script>"} {
		w := ask(t, well(nil), path(p))
		if w.Code != 404 && w.Code != 307 && w.Code != 301 || strings.Contains(w.Body.String(), "<script>") {
			t.Errorf("%s: got %d %s, want nothing", p, w.Code, w.Body)
		}
	}
	if w := ask(t, well(nil), path("/help/")); w.Code != 200 || !strings.Contains(w.Body.String(), `href="/help/UPD-101"`) {
		t.Errorf("the list of codes: got %d", w.Code)
	}
}

func TestWhatPeopleTypedIsText(t *testing.T) {
	nasty := `<img src=x onerror=alert(1)>"'` + "\u202e"
	s := well(func(s *Snapshot) {
		s.Site = nasty
		s.Rejects = []Reject{{Username: nasty, Message: nasty, Meaning: nasty}}
		s.Sessions = []Session{{Username: nasty, State: hotspot.Live}}
		s.Locks = []Lock{{Username: nasty, By: nasty, Reason: nasty, Problem: nasty, Tries: 1, Code: "RTR-101"}}
		s.Routers[0].Identity, s.Routers[0].Problem, s.Routers[0].Code = nasty, nasty, "XXX-101"
	})
	if body := ask(t, s, nil).Body.String(); strings.Contains(body, "<img") || !strings.Contains(body, "&lt;img") {
		t.Error("a name became markup")
	}
}

func TestListsAreBounded(t *testing.T) {
	s := well(func(s *Snapshot) {
		for range sessionsShown + 7 {
			s.Sessions = append(s.Sessions, Session{Username: "ada", State: hotspot.Live})
			s.Rejects = append(s.Rejects, Reject{Username: "bob"})
			s.Locks = append(s.Locks, Lock{Username: "eve"})
		}
	})
	body := ask(t, s, nil).Body.String()
	for name, want := range map[string]int{"ada": sessionsShown, "bob": rejectsShown, "eve": locksShown} {
		if got := strings.Count(body, "<bdi>"+name+"</bdi>"); got != want {
			t.Errorf("%s: got %d rows, want %d", name, got, want)
		}
	}
	for _, want := range []string{"and 7 more", fmt.Sprintf(`id="more-sessions"><summary>%d more<`, sessionsShown-rowsOpen), fmt.Sprintf(`id="more-rejects"><summary>%d more<`, rejectsShown-rowsOpen),
		fmt.Sprintf("the newest %d<", rejectsShown)} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// serve runs a server on a free port and returns its address.
func serve(t *testing.T, s *Server) (addr string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	bound, done := make(chan string, 1), make(chan error, 1)
	s.Listen, s.Bound = "127.0.0.1:0", func(a string) { bound <- a }
	go func() { done <- s.Serve(ctx) }()
	stop = func() error { cancel(); return <-done }
	select {
	case addr = <-bound:
		return addr, stop
	case err := <-done:
		cancel()
		t.Fatalf("it did not start: %v", err)
	}
	return "", nil
}

func TestLiveStreamFollowsTheFacts(t *testing.T) {
	before := goleak.IgnoreCurrent()
	var users atomic.Int64
	s := &Server{Snapshot: func(context.Context) Snapshot {
		return well(func(s *Snapshot) {
			for i := range users.Load() {
				s.Sessions = append(s.Sessions, Session{Username: fmt.Sprintf("guest%d", i), State: hotspot.Live, StartedAt: t0, HeardAt: t0})
			}
		})
	}}
	addr, stop := serve(t, s)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/live")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := make(chan string, 4096)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(resp.Body)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			lines <- in.Text()
		}
	}()
	await := func(what string) {
		t.Helper()
		deadline := time.After(4 * time.Second)
		for {
			select {
			case line, open := <-lines:
				if strings.Contains(line, what) {
					return
				}
				if !open {
					t.Fatalf("the stream ended before %q", what)
				}
			case <-deadline:
				t.Fatalf("no %q on the stream", what)
			}
		}
	}
	await("Nobody is online")
	await("event: beat")
	users.Store(2)
	s.Notify()
	await("guest1")
	if err := stop(); err != nil { // with the stream still open
		t.Errorf("got %v, want a clean stop", err)
	}
	for range lines { // it ends
	}
	goleak.VerifyNone(t, before)
}

func TestStreamsAreBounded(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }}
	addr, stop := serve(t, s)
	var open []io.Closer
	for i := range streams + 1 {
		resp, err := http.Get("http://" + addr + "/live")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp.Body)
		if want := map[bool]int{true: 503, false: 200}[i == streams]; resp.StatusCode != want {
			t.Errorf("stream %d: got %d, want %d", i+1, resp.StatusCode, want)
		}
	}
	for _, c := range open {
		c.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// The owner hears of a condition although nobody looks at the page.
func TestConditionsAreFoundWithoutAPage(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(func(s *Snapshot) { s.Cloud.NotInForce = 1 }) }}
	_, stop := serve(t, s)
	s.init()
	open := func() []hotspot.Condition { return s.Board.Report(time.Now()) } // s.Conditions looks by itself
	for deadline := time.Now().Add(3 * time.Second); len(open()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no condition was found")
		}
	}
	if got := s.Conditions(t.Context()); got[0].Code != "UPD-101" || got[0].Severity != "medium" || got[0].Text == "" {
		t.Errorf("got %+v, want UPD-101", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestOnlyLoopbackIsBound(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "example.com:0", "127.0.0.1", ""} {
		s := &Server{Listen: listen, Snapshot: func(context.Context) Snapshot { return well(nil) }}
		if err := s.Serve(t.Context()); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want it refused as invalid", listen, err)
		}
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &Server{Listen: l.Addr().String(), Snapshot: func(context.Context) Snapshot { return well(nil) }}
	err = s.Serve(t.Context())
	if !fault.Is(err, fault.Unavailable) || fault.Code(err) != "SYS-101" || !strings.Contains(fault.Hint(err), l.Addr().String()) {
		t.Errorf("got %v, code %q, hint %q, want SYS-101 naming the port", err, fault.Code(err), fault.Hint(err))
	}
}

// Open pages share what was seen a moment ago.
func TestOpenPagesShareASnapshot(t *testing.T) {
	var taken atomic.Int64
	s := &Server{Snapshot: func(context.Context) Snapshot { taken.Add(1); return well(nil) }}
	for range 100 {
		s.glance(t.Context())
	}
	if got := taken.Load(); got > 5 {
		t.Errorf("took %d snapshots for 100 looks at once, want few", got)
	}
}
