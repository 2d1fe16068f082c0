package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iwas/agent/statuspage"
	"iwas/agent/statuspage/access"
	"iwas/internal/condition"
)

// visitor is a browser without a script on a watched site.
type visitor struct {
	*watched
	http.Client
}

// visit signs in, unless as "".
func (w *watched) visit(name string) *visitor {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	v := &visitor{w, http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if name != "" {
		if code, to := v.posts("/signin", url.Values{"name": {name}, "password": {marias}, "next": {"/"}}); code != http.StatusSeeOther || strings.HasPrefix(to, "/signin") {
			w.t.Fatalf("sign in as %s: %d to %q", name, code, to)
		}
	}
	return v
}

func (v *visitor) posts(path string, form url.Values) (code int, to string) {
	v.t.Helper()
	resp, err := v.PostForm(v.url+path, form)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Location")
}

// section is the part of the page with the checks, as this visitor sees it.
func (v *visitor) section() string {
	v.t.Helper()
	resp, err := v.Get(v.url + "/")
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), `<section id="checks"`)
	section, _, _ = strings.Cut(section, "</section>")
	return section
}

// holdChecks has checks of the box wait after their beginning until free is called, and
// counts them.
func (w *watched) holdChecks() (begun *atomic.Int64, free func()) {
	begun, open := new(atomic.Int64), make(chan struct{})
	told := w.site.checks.told
	w.site.checks.told = func(ctx context.Context) statuspage.Report {
		begun.Add(1)
		select {
		case <-open:
		case <-ctx.Done():
		}
		return told(ctx)
	}
	return begun, func() { close(open) }
}

// The page makes the check of the command: what the command says of this box, the page
// shows, to who may run it and once however often the button is pressed.
func TestTheCheckOfThisBoxIsRunFromThePage(t *testing.T) {
	w := watchSite(t, shape{})
	for name, role := range map[string]access.Role{"maria": access.Cashier, "omar": access.Technician} {
		if _, err := w.site.page.People.Set(t.Context(), name, role, marias, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	begun, free := w.holdChecks()
	all := url.Values{"area": {statuspage.Everything}}

	nobody, cashier, technician := w.visit(""), w.visit("maria"), w.visit("omar")
	if code, to := nobody.posts("/check", all); code != http.StatusSeeOther || !strings.HasPrefix(to, "/signin") {
		t.Errorf("nobody: %d to %q, want to the sign-in", code, to)
	}
	if code, _ := cashier.posts("/check", all); code != http.StatusForbidden {
		t.Errorf("a cashier: %d, want %d", code, http.StatusForbidden)
	}
	if code, _ := technician.posts("/check", url.Values{"area": {"radios"}}); code != http.StatusNotFound {
		t.Errorf("an area nobody knows: %d, want %d", code, http.StatusNotFound)
	}
	if r := w.report(); r.Check != nil || begun.Load() != 0 {
		t.Fatalf("checked without the right, or nothing: %+v", r.Check)
	}
	if s := nobody.section(); strings.Contains(s, "<form") || !strings.Contains(s, "Sign in to run it") {
		t.Errorf("who is not signed in sees\n%s", s)
	}
	if s := technician.section(); !strings.Contains(s, "Check this box") || !strings.Contains(s, "Check everything") {
		t.Errorf("a technician sees\n%s", s)
	}

	for _, area := range []string{statuspage.Everything, statuspage.Everything, "clock"} { // one after the other, the first not done
		if code, to := technician.posts("/check", url.Values{"area": {area}}); code != http.StatusSeeOther || to != "/#checks" {
			t.Fatalf("pressed: %d to %q", code, to)
		}
	}
	w.await("the check begins", func() string { return map[bool]string{true: "no run"}[begun.Load() == 0] })
	if s := technician.section(); !strings.Contains(s, "Looking at this box…") || !strings.Contains(s, `id="check-box" disabled`) {
		t.Errorf("while it runs the page shows\n%s", s)
	}
	free()
	ended := func() *condition.CheckReport {
		var k *statuspage.Check
		w.await("the check ends", func() string {
			if k = w.report().Check; k == nil || k.Running || k.Report == nil {
				return "it runs"
			}
			return ""
		})
		return k.Report
	}
	report := ended()
	if n := begun.Load(); n != 1 {
		t.Errorf("pressed three times it ran %d times, want once", n)
	}

	var out, talk bytes.Buffer
	run(t.Context(), []string{"--config", filepath.Join(filepath.Dir(w.file), "agent.toml"), "check", "--json"}, strings.NewReader(""), &out, &talk)
	var command condition.CheckReport
	if err := json.Unmarshal(out.Bytes(), &command); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), talk.String())
	}
	points := func(r condition.CheckReport) (out []string) { // conditions may come and go between the two
		for _, row := range r.Rows {
			if row.Area != "router" && !strings.HasPrefix(row.Probe, "condition-") {
				out = append(out, row.Area+" "+row.Probe+" "+string(row.State)+" "+row.Code)
			}
		}
		return out
	}
	if got, want := points(*report), points(command); !slices.Equal(got, want) || len(got) < len(areas)-1 {
		t.Errorf("the page found\n%q, the command\n%q", got, want)
	}
	w.await("the router is checked with it", func() string {
		if k := w.report().Routers[0].Check; k == nil || k.Report == nil {
			return "no report of it"
		}
		return ""
	})
	s := technician.section()
	for _, row := range report.Rows {
		if row.Area == "router" || !strings.Contains(s, row.Title) || row.Code != "" && row.State != condition.Skipped && !strings.Contains(s, `href="/help/`+row.Code+`"`) {
			t.Errorf("%+v is not among\n%s", row, s)
		}
	}
	if !strings.Contains(s, "2 accounts") || !strings.Contains(s, `name="area" value="clock"`) || !strings.Contains(s, "Check everything again") {
		t.Errorf("the page shows\n%s", s)
	}

	if code, _ := technician.posts("/check", url.Values{"area": {"clock"}}); code != http.StatusSeeOther {
		t.Fatalf("one area: %d", code)
	}
	w.await("one area is looked at again", func() string {
		return map[bool]string{true: "not yet"}[begun.Load() < 2]
	})
	again := ended()
	for _, row := range again.Rows {
		if newer := row.At.After(again.At); newer != (row.Area == "clock") || !again.At.Equal(report.At) {
			t.Errorf("clock was looked at again, %s/%s is of %v and the report of %v", row.Area, row.Probe, row.At, again.At)
		}
	}
	if !slices.Equal(points(*again), points(*report)) {
		t.Errorf("after one area the report is\n%q, before\n%q", points(*again), points(*report))
	}
}
