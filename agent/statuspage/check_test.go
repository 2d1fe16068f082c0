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

// boxReport is a check of this box with something in every area, one of which was looked
// at again.
func boxReport(at time.Time) *condition.CheckReport {
	r := &condition.CheckReport{Version: condition.CheckVersion, At: at, Took: 1200 * time.Millisecond, Rows: []condition.CheckRow{
		{Area: "service", Probe: "service", Title: "The service", State: condition.OK, Seen: "v0.1.0, started 26 h ago"},
		{Area: "clock", Probe: "clock", Title: "The date of this box", State: condition.Fail, Code: "CLK-101", Seen: "2026-11-24 14:01:00 UTC, which is 7 min from the cloud's", At: at.Add(3 * time.Minute)},
		{Area: "network", Probe: "route", Title: "Way to the internet", State: condition.OK, Seen: "there is a route, from 192.168.88.2"},
		{Area: "network", Probe: "dns", Title: "Names", State: condition.Unknown, Code: "NET-102", Seen: "lookup iwas-cloud-of-the-whole-chain.example.org: no such host"},
		{Area: "cloud", Target: "iwas-cloud-of-the-whole-chain.example.org", Probe: "cloud-link", Title: "Link of the service", State: condition.OK, Seen: "up since 3 h ago, last message 4 s ago"},
		{Area: "database", Probe: "disk", Title: "Room on the disk", State: condition.Warn, Code: "DB-102", Seen: "148 MB are free below /var/lib/iwas-agent"},
		{Area: "database", Probe: "database", Title: "The database", State: condition.OK, Seen: "1204 accounts in 48 MB, 2 facts wait for the cloud"},
		{Area: "radius", Probe: "radius-ports", Title: "Answers of this box", State: condition.OK, Seen: "asked itself, answered after 3 ms; 412 accepted, 31 rejected, last answer 12 s ago"},
	}}
	for i := range r.Rows {
		r.Rows[i] = r.Rows[i].Explained()
	}
	r.Judge()
	return r
}

func TestTheCheckOfThisBoxOnThePage(t *testing.T) {
	card := func(c *Check, role access.Role) string {
		b := newBoard(well(func(s *Snapshot) { s.Check = c }), nil)
		if role != "" {
			b.Visitor = access.Person{Name: "ana", Role: role}
		}
		html, err := pages(t).Fragment("checks", b)
		if err != nil {
			t.Fatal(err)
		}
		html, _, _ = strings.Cut(html, "Check the router")
		return html
	}
	done := &Check{Report: boxReport(t0.Add(-7 * time.Minute))}
	for _, test := range []struct {
		name  string
		check *Check
		role  access.Role
		want  []string
		not   []string
	}{
		{"none yet", nil, access.Technician, []string{"Check everything", `name="area" value="all"`, "It changes nothing that lasts"}, []string{"again", "disabled"}},
		{"under way", &Check{Running: true, Done: 4, Of: 6}, access.Technician, []string{"4 of 6 parts looked at.", `<progress max="6" value="4"`, "Running…", " disabled"}, nil},
		{"one area under way", &Check{Running: true, Area: "radius", Report: done.Report}, access.Technician, []string{"Looking at one part of this box: RADIUS.", `aria-label="Run again: Clock" disabled`}, nil},
		{"done", done, access.Technician, []string{"Check everything again", "7 min ago", "4 min ago", "/help/CLK-101", "Next: ", "Why: ", "5 ok, 1 warning, 1 failed, 1 not known, 0 skipped",
			"as it should be, or was not asked (5)", "iwas-cloud-of-the-whole-chain.example.org", `name="area" value="cloud"`}, []string{" disabled", "Not checked"}},
		{"for a cashier", done, access.Cashier, []string{"/help/CLK-101"}, []string{"<form", "Sign in"}},
		{"for nobody", done, "", []string{"/help/CLK-101", "Sign in to run it"}, []string{"<form"}},
	} {
		body := card(test.check, test.role)
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
	body := card(done, access.Technician)
	last := 0
	for _, what := range []string{"<h3>Clock</h3>", "<h3>Database</h3>", "<h3>Network</h3>", "<details", "<h3>Service</h3>"} { // the worst on top
		at := strings.Index(body, what)
		if at < last {
			t.Errorf("%s stands at %d, before %d", what, at, last)
		}
		last = at
	}
	for _, area := range []string{"service", "clock", "network", "cloud", "database", "radius"} {
		if n := strings.Count(body, `id="check-area-`+area+`"`); n != 1 {
			t.Errorf("%d buttons for %s, want one", n, area)
		}
	}
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
		{"of this box", "", nil, nil, 303, true},
		{"by a link", "cafe1", func(r *http.Request) { r.Method = http.MethodGet }, nil, 404, false},
		{"no such router", "other", nil, fault.New(fault.NotFound, "no router", nil), 404, true},
		{"not possible", "cafe1", nil, errors.New("no"), 500, true},
	} {
		area := map[bool]string{true: Everything}[test.router == ""]
		asked := Asked{}
		s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, Check: func(a Asked) error { asked = a; return test.err }, People: people(t)}
		as = func(r *http.Request, who string) { r.Header.Set("Cookie", cookieOf(t, s, who)) }
		h, err := s.Handler()
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8480/check", strings.NewReader(url.Values{"router": {test.router}, "area": {area}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RemoteAddr = "127.0.0.1:5000"
		as(r, "ana")
		if test.change != nil {
			test.change(r)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.code || (asked != Asked{}) != test.asked || test.asked && asked != (Asked{hotspot.NASID(test.router), area}) {
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
			"Next: ", "Why: ", "1 ok, 1 warning, 1 failed, 1 not known, 1 skipped", "as it should be, or was not asked (2)"}, []string{" disabled"}},
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
	now, box := Check{}, (*Check)(nil) // of the router, of this box
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
		return moved(well(func(s *Snapshot) { s.Routers[0].Check, s.Check = &c, box }), time.Since(t0))
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
	mu.Lock()
	box = &Check{Running: true, Done: 4, Of: 6, Report: boxReport(time.Now().Add(-7 * time.Minute))}
	mu.Unlock()
	s.Notify()
	tab.Do(t, "see the box being checked", chromedp.WaitVisible(`#checks progress[value="4"]`))
	tab.Inspect(t, "check-box-running", webuitest.View{Width: 360})
	mu.Lock()
	box = &Check{Report: boxReport(time.Now().Add(-7 * time.Minute))}
	mu.Unlock()
	s.Notify()
	tab.Do(t, "see it end, and all of it", chromedp.WaitVisible(`#check-area-clock:not([disabled])`), chromedp.Evaluate(`document.getElementById("fine-box").open = true`, nil), chromedp.WaitVisible(`#check-area-cloud`))
	for _, v := range webuitest.Views {
		tab.Do(t, "scroll to the top", chromedp.Evaluate(`scrollTo(0, 0)`, nil))
		tab.Inspect(t, "check-box", v)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
