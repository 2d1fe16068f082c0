package webui

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chromedp/chromedp"

	"iwas/internal/webui/webuitest"
)

// gallery is a page with every component in every tone.
const gallery = `{{define "content"}}{{$c := .Body.Clock}}
<div class="page-head"><div class="name"><p class="trail"><a href="/">All sites</a></p><h1>Every component</h1></div><a class="button main" href="/">{{icon "plus"}} Add a thing</a></div>
{{range .Body.Verdicts}}{{template "verdict" .}}{{end}}
<div class="tiles">{{range .Body.Tiles}}{{template "tile" .}}{{end}}</div>
<div class="row">{{template "badge" (badge "calm" "Quiet")}}{{template "badge" (badge "good" "Online")}}{{template "badge" (badge "info" "New")}}{{template "badge" (badge "warn" "Slow")}}{{template "badge" (badgeOf "bad" "lock" "Locked")}}</div>
<div class="split"><div class="stack">
<section class="card flush"><div class="head"><h2>Guests</h2><form class="search" role="search"><input type="search" aria-label="Find" placeholder="Name, code, MAC"><button class="button">{{icon "search"}} Find</button></form></div>
<div class="table"><table><thead><tr><th>Guest</th><th>Plan</th><th class="num">Upload</th><th class="num">Download</th><th>State</th></tr></thead><tbody>
<tr><td class="who"><a href="/">{{icon "user"}} <bdi>mara</bdi></a></td><td data-label="Plan">Day pass</td><td class="num" data-label="Upload">{{bytes 1234567}}</td><td class="num" data-label="Download">{{bytes 98765432100}}</td><td data-label="State">{{template "badge" (badge "good" "Online")}}</td></tr>
<tr><td class="who"><a href="/">{{icon "ticket"}} <bdi>K7QM-PDXW</bdi></a></td><td data-label="Plan">One hour</td><td class="num" data-label="Upload">0 B</td><td class="num" data-label="Download">0 B</td><td data-label="State">{{template "badge" (badgeOf "bad" "lock" "Locked")}}</td></tr>
</tbody></table></div></section>
<div class="card">{{template "empty" .Body.Empty}}</div>
{{range .Body.Alerts}}{{template "alert" .}}{{end}}
</div><div class="stack">
<section class="card"><h2>Lock</h2>{{template "steps" .Body.Steps}}
<form class="fields" method="post" action="/theme"><fieldset class="field"><legend>Why</legend><div class="chips"><label class="chip"><input type="radio" name="a" checked>Not paid</label><label class="chip"><input type="radio" name="a">Abuse</label></div></fieldset>
<div class="field"><label for="x">Note</label><input id="x" aria-describedby="h"><p class="hint" id="h">Guests do not see this.</p></div><button class="button stop big">{{icon "lock"}} Lock</button></form></section>
<div class="secret"><span class="code" id="s">K7QM-PDXW</span><button class="button js-only" data-copy="s">Copy</button></div>
<details class="more" id="d"><summary>What the site did</summary><dl class="facts"><div><dt>Seen</dt><dd>{{$c.Ago $c.Now}}</dd></div></dl></details>
<dl class="figures"><div><dt>{{icon "arrow-up"}} Upload</dt><dd>1.2 GB</dd></div><div><dt>{{icon "arrow-down"}} Download</dt><dd>9.9 GB</dd></div></dl>
</div></div>{{end}}`

func galleryServer(t *testing.T) *httptest.Server {
	t.Helper()
	now := time.Date(2026, 11, 24, 14, 2, 9, 0, time.UTC)
	clock := Clock{Now: now}
	pages, err := NewPages(fstest.MapFS{"gallery.html": {Data: []byte(gallery)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	body := map[string]any{
		"Clock": clock,
		"Verdicts": []Verdict{
			{Tone: Good, Title: "Guests can log in", Detail: "14 online.", Source: "Heard from the site", Age: clock.Ago(now.Add(-12 * time.Second))},
			{Tone: Warn, Title: "Last heard 38 min ago", Source: "Heard", Age: clock.Ago(now.Add(-38 * time.Minute))},
			{Tone: Bad, Title: "Guests cannot log in", Detail: "The router's certificate is not the one you trusted."},
			{Tone: Info, Title: "Starting"}, {Tone: Calm, Title: "No box is enrolled yet"},
		},
		"Tiles": []Tile{
			{Icon: "router", Label: "Router", Badge: Badge{Good, "", "OK"}, Value: "3", Unit: "ms", Detail: "RouterOS 7.20", Age: clock.Ago(now)},
			{Icon: "inbox", Label: "Outbox", Badge: Badge{Warn, "", "Waiting"}, Value: "1,204", Unit: "events", Age: clock.Ago(now.Add(-time.Hour))},
			{Icon: "database", Label: "Disk and database", Badge: Badge{Bad, "", "Full"}, Value: "0.4", Unit: "GB free"},
		},
		"Empty":  Empty{Icon: "users", Title: "No guests yet", Text: "Guests appear here once they have a plan.", Href: "/", Link: "Add the first one"},
		"Alerts": []Alert{{Tone: Bad, Title: "Wrong password", Text: "Try again."}, {Tone: Good, Title: "Saved"}, {Tone: Warn, Title: "Slow", Code: "RTR-101"}, {Tone: Info, Title: "Note", Link: "Read more", Href: "/"}, {Tone: Calm, Title: "Nothing new"}},
		"Steps": []Dot{
			{State: "done", Text: "Sent", At: clock.Time(now)}, {State: "done", Text: "Received by the site", At: clock.Time(now), Took: "40 ms"},
			{State: "now", Text: "Cut off"}, {State: "todo", Text: "Proven"}, {State: "bad", Text: "Leaks", Note: "The network leaks: RTR-301"},
		},
	}
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", Assets())
	mux.HandleFunc("POST /theme", Theme)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		page := Page{Title: "Gallery", Product: "IWAS", Person: "owner@cafe.example", SignOut: "/out", Clock: clock, Body: body, Dir: r.URL.Query().Get("dir"),
			Nav: []Link{{"/", "house", "Home", true}, {"/plans", "tag", "Plans", false}, {"/sites", "store", "Sites", false}}}
		if err := pages.Render(w, r, http.StatusOK, "gallery", page); err != nil {
			t.Error(err)
		}
	})
	srv := httptest.NewServer(Guard{}.Wrap(mux))
	t.Cleanup(srv.Close)
	return srv
}

func TestEveryComponentIsLegible(t *testing.T) {
	srv := galleryServer(t)
	tab := webuitest.Start(t).Open(t, srv.URL, nil)
	for _, dir := range []string{"ltr", "rtl"} {
		tab.Visit(t, "/?dir="+dir)
		for _, v := range webuitest.Views {
			tab.Inspect(t, "gallery-"+dir, v)
		}
	}
}

// complaints counts what a check complains of instead of failing the test.
type complaints struct {
	testing.TB
	said []string
}

func (c *complaints) Helper() {}
func (c *complaints) Errorf(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

func TestTheInspectionFindsPlantedFaults(t *testing.T) {
	srv := httptest.NewServer(Guard{}.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><head><title>Faults</title><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="%s"></head><body><main>
			<h1>Faults</h1><input name="nameless"><p style="color:red">styled</p><img src="http://127.0.0.1:1/x.png" alt="">
			<table width="900"><tr><td>wide</td></tr></table><script>oops()</script></main></body></html>`, AssetPath("app.css"))
	})))
	defer srv.Close()
	tab := webuitest.Start(t).Open(t, srv.URL, nil)
	tab.Visit(t, "/")
	found := &complaints{TB: t}
	tab.Inspect(found, "faults", webuitest.View{Width: 360})
	all := strings.Join(found.said, "\n")
	for _, want := range []string{"label: ", "wider than the screen", "asked another server: http://127.0.0.1:1/x.png", "Content Security Policy"} {
		if !strings.Contains(all, want) {
			t.Errorf("the inspection did not find %q; it said:\n%s", want, all)
		}
	}
}

// livePage shows a figure, a form and a details element that the server
// replaces, and can fall silent.
const livePage = `{{define "content"}}<h1>Live</h1>{{template "part" .Body}}{{end}}`
const livePart = `{{define "part"}}<div id="part"><p id="figure">{{.}}</p><label for="typed">Typed</label><input id="typed"><details id="more"><summary>More</summary><p>x</p></details></div>{{end}}`

func TestALivePageKeepsWhatTheReaderDidAndSaysWhenItIsNotLive(t *testing.T) {
	t.Parallel() // it waits for the 10 s of silence
	pages, err := NewPages(fstest.MapFS{"live.html": {Data: []byte(livePage)}, "_part.html": {Data: []byte(livePart)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	hub := &Hub{Gap: time.Millisecond}
	var figure, down atomic.Int64
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", Assets())
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) {
		if down.Load() == 1 {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		hub.Serve(w, r, []string{"x"}, func(context.Context) ([]Part, error) {
			html, err := pages.Fragment("part", figure.Load())
			return []Part{{"part", html}}, err
		})
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if err := pages.Render(w, r, 200, "live", Page{Title: "Live", Product: "IWAS", Live: "/live", Clock: Clock{Now: time.Now()}, Body: figure.Load()}); err != nil {
			t.Error(err)
		}
	})
	srv := httptest.NewServer(Guard{}.Wrap(mux))
	t.Cleanup(srv.Close)
	tab := webuitest.Start(t).Open(t, srv.URL, nil)
	tab.Visit(t, "/")
	waitFor(t, "the stream", func() bool { return hub.Open() == 1 })
	tab.Do(t, "type", chromedp.SendKeys("#typed", "half a sent", chromedp.ByQuery), chromedp.Evaluate(`document.getElementById("more").open = true`, nil))
	figure.Store(42)
	hub.Notify("x")
	waitFor(t, "the new figure", func() bool { return tab.Text(t, "#figure") == "42" })
	tab.Do(t, "type on", chromedp.KeyEvent("ence"))
	var typed string
	var open, hidden bool
	tab.Do(t, "look", chromedp.Value("#typed", &typed, chromedp.ByQuery), chromedp.Evaluate(`document.getElementById("more").open`, &open),
		chromedp.Evaluate(`document.getElementById("not-live").hidden`, &hidden))
	if typed != "half a sentence" || !open || !hidden {
		t.Errorf("after a replacement the field holds %q, details open: %v, live: %v; want them kept", typed, open, hidden)
	}
	down.Store(1)
	srv.CloseClientConnections()
	start := time.Now()
	waitFor(t, "the words Not live", func() bool {
		tab.Do(t, "look", chromedp.Evaluate(`document.getElementById("not-live").hidden`, &hidden))
		return !hidden
	})
	if took := time.Since(start); took > 12*time.Second {
		t.Errorf("said Not live after %v, want within 10 s of the last sign of life", took)
	}
	down.Store(0)
	waitFor(t, "being live again", func() bool {
		tab.Do(t, "look", chromedp.Evaluate(`document.getElementById("not-live").hidden`, &hidden))
		return hidden
	})
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
