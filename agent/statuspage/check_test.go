package statuspage

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iwas/agent/statuspage/access"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui/webuitest"
)

// checkReport is a check with a row of every kind.
func checkReport(at time.Time) *condition.CheckReport {
	r := &condition.CheckReport{Version: condition.CheckVersion, Subject: "cafe1", At: at, Took: 3100 * time.Millisecond, Rows: []condition.CheckRow{
		{Probe: "tcp", Title: "Connection", State: condition.OK, Seen: "port 8729 answers after 1ms; the router sees this box as 192.168.99.2"},
		{Probe: "rights", Title: "Rights of the service user", State: condition.Fail, Code: "RTR-105", Seen: "group iwas lacks write (to end sessions and to keep address-lists)",
			Command: "/user/group/set [find name=\"iwas\"] policy=read,write,sensitive,test,api"},
		{Probe: "license", Title: "License", State: condition.Unknown, Code: "RTR-116", Late: true, Seen: "no answer within 3s"},
		{Probe: "clock", Title: "Clock of the router", State: condition.Warn, Code: "CLK-102", Seen: "2026-11-24 14:01:00 (+00:00), 1m9s behind this box", Command: "/system/ntp/client/print"},
		{Probe: "trial", Title: "Trial logins", State: condition.Skipped, Seen: "needs the login"},
	}}
	for i := range r.Rows {
		r.Rows[i] = r.Rows[i].Explained()
	}
	r.Judge()
	return r
}

func TestACheckIsAskedForByAButton(t *testing.T) {
	var as func(r *http.Request, who string) // signs the request
	for _, test := range []struct {
		name   string
		router string
		change func(*http.Request)
		err    error
		code   int
		asked  bool
	}{
		{"pressed", "cafe1", nil, nil, 303, true},
		{"from another site", "cafe1", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, nil, 403, false},
		{"from another origin", "cafe1", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, nil, 403, false},
		{"by a foreign name", "cafe1", func(r *http.Request) { r.Host = "evil.example" }, nil, 421, false},
		{"by a guest", "cafe1", func(r *http.Request) { r.RemoteAddr = "10.20.0.17:5000" }, nil, 403, false},
		{"by nobody", "cafe1", func(r *http.Request) { r.Header.Del("Cookie") }, nil, 303, false},
		{"by a cashier", "cafe1", func(r *http.Request) { as(r, "rui") }, nil, 403, false},
		{"by somebody else's cookie", "cafe1", func(r *http.Request) {
			r.Header.Set("Cookie", "iwas_status=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		}, nil, 303, false},
		{"by a link", "cafe1", func(r *http.Request) { r.Method = http.MethodGet }, nil, 404, false},
		{"no such router", "other", nil, fault.New(fault.NotFound, "no router", nil), 404, true},
		{"not possible", "cafe1", nil, errors.New("no"), 500, true},
	} {
		asked := hotspot.NASID("")
		s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, Check: func(a Asked) error { asked = a.Router; return test.err }, People: people(t)}
		as = func(r *http.Request, who string) { r.Header.Set("Cookie", cookieOf(t, s, who)) }
		h, err := s.Handler()
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8480/check", strings.NewReader(url.Values{"router": {test.router}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RemoteAddr = "127.0.0.1:5000"
		as(r, "ana")
		if test.change != nil {
			test.change(r)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.code || (asked != "") != test.asked || test.asked && string(asked) != test.router {
			t.Errorf("%s: got %d and asked %q, want %d and asked %v", test.name, w.Code, asked, test.code, test.asked)
		}
		if want := map[bool]string{true: "/#checks", false: "/signin?why=changed"}[test.asked]; w.Code == 303 && w.Header().Get("Location") != want {
			t.Errorf("%s: goes to %q", test.name, w.Header().Get("Location"))
		}
	}
}

func TestTheCheckOnThePage(t *testing.T) {
	shows := func(c *Check) string {
		b := newBoard(well(func(s *Snapshot) { s.Routers[0].Check = c }), nil)
		b.Visitor = access.Person{Name: "ana", Role: access.Technician}
		html, err := pages(t).Fragment("checks", b)
		if err != nil {
			t.Fatal(err)
		}
		return html
	}
	for _, test := range []struct {
		name  string
		check *Check
		want  []string
		not   []string
	}{
		{"none yet", nil, []string{"Not checked yet", "Run the check"}, []string{"Run again"}},
		{"under way", &Check{Running: true, Done: 7, Of: 25}, []string{"7 of 25 answered", "Running…", " disabled"}, []string{"Not checked yet"}},
		{"done", &Check{Report: checkReport(t0.Add(-4 * time.Minute))}, []string{"Run again", "4 min ago", "Rights of the service user: group iwas lacks write", "/help/RTR-105", "policy=read,write,sensitive,test,api",
			"Next: ", "Why: ", "1 ok, 1 warnings, 1 failed, 1 not known, 1 skipped", "as it should be, or was not asked (2)"}, []string{" disabled"}},
		{"again, the old one still shown", &Check{Running: true, Report: checkReport(t0)}, []string{"Running…", "Asking the router…", "RTR-105"}, nil},
		{"could not be made", &Check{Problem: "read secret: no such file", ProblemAt: t0}, []string{"could not be made", "no such file", "Run again"}, nil},
	} {
		body := shows(test.check)
		_, body, _ = strings.Cut(body, `<section id="checks"`)
		body, _, _ = strings.Cut(body, "</section>")
		for _, want := range test.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: %q is not in\n%s", test.name, want, body)
			}
		}
		for _, not := range test.not {
			if strings.Contains(body, not) {
				t.Errorf("%s: %q is in\n%s", test.name, not, body)
			}
		}
	}
	// What needs a person stands first, the worst on top.
	body := shows(&Check{Report: checkReport(t0)})
	last := 0
	for _, title := range []string{"<strong>Rights of the service user</strong>", "<strong>Clock of the router</strong>", "<strong>License</strong>", `<td class="who">Connection`} {
		at := strings.Index(body, title)
		if at < last {
			t.Errorf("%s stands at %d, before what is worse at %d", title, at, last)
		}
		last = at
	}
	var got struct {
		Routers []struct {
			Check struct {
				Report struct {
					State string
					Rows  []struct{ Probe, State, Code string }
				}
			}
		}
	}
	w := ask(t, well(func(s *Snapshot) { s.Routers[0].Check = &Check{Report: checkReport(t0)} }), path("/status.json"))
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Routers) != 1 || got.Routers[0].Check.Report.State != "fail" || len(got.Routers[0].Check.Report.Rows) != 5 {
		t.Errorf("status.json: %v, %+v", err, got)
	}
}

// The button is pressed in a browser; what comes is followed without loading.
func TestACheckIsFollowedInABrowser(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := Check{}
	put := func(s *Server, c Check) {
		mu.Lock()
		now = c
		mu.Unlock()
		s.Notify()
	}
	s := &Server{Snapshot: func(context.Context) Snapshot {
		mu.Lock()
		defer mu.Unlock()
		c := now
		return moved(well(func(s *Snapshot) { s.Routers[0].Check = &c }), time.Since(t0))
	}}
	s.Check = func(Asked) error { put(s, Check{Running: true}); return nil }
	s.People = people(t)
	addr, stop := serve(t, s)
	_, token, _ := strings.Cut(cookieOf(t, s, "ana"), "=")
	tab := webuitest.Start(t).Open(t, "http://"+addr, map[string]string{"iwas_status": token})
	tab.Visit(t, "/")
	tab.Inspect(t, "check-none", webuitest.View{Width: 360})
	tab.Do(t, "press the button", chromedp.Click(`#check-cafe1`, chromedp.NodeVisible), chromedp.WaitVisible(`#checks .check-note`))
	tab.Do(t, "mark the page", chromedp.Evaluate(`window.same = true`, nil))
	put(s, Check{Running: true, Done: 7, Of: 25})
	tab.Do(t, "see it go on", chromedp.WaitVisible(`#checks progress[value="7"]`))
	tab.Do(t, "scroll to the top", chromedp.Evaluate(`scrollTo(0, 0)`, nil))
	tab.Inspect(t, "check-running", webuitest.View{Width: 360, Dark: true})
	put(s, Check{Report: checkReport(time.Now().Add(-2 * time.Second))})
	tab.Do(t, "see it end", chromedp.WaitVisible(`#checks .check-needs`))
	for _, v := range webuitest.Views {
		// What lies under the bar on top is no target then; the page was left at #checks.
		tab.Do(t, "scroll to the top", chromedp.Evaluate(`scrollTo(0, 0)`, nil))
		tab.Inspect(t, "check-done", v)
	}
	var same bool
	tab.Do(t, "look whether it was loaded again", chromedp.Evaluate(`window.same === true`, &same), chromedp.Click(`#checks details summary`, chromedp.NodeVisible), chromedp.WaitVisible(`#checks details table`))
	if !same {
		t.Error("the page was loaded again to follow the check")
	}
	tab.Do(t, "scroll to the top", chromedp.Evaluate(`scrollTo(0, 0)`, nil))
	tab.Inspect(t, "check-open", webuitest.View{Width: 360})
	if err := stop(); err != nil {
		t.Error(err)
	}
}
