package statuspage

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iwas/internal/fault"
	"iwas/internal/logs"
	"iwas/internal/webui/webuitest"
)

func aBundle(context.Context) (Bundle, error) {
	return Bundle{At: t0, Zip: []byte("PK-the-zip"), Files: []BundleFile{
		{Name: "status.json", About: "what the status page shows", Bytes: 18_400},
		{Name: "log.txt", About: "the newest 10,000 lines of the log", Bytes: 1_204_000, Redacted: 3},
		{Name: "router-cafe1.json", About: "set-up of the router Counter", Problem: "dial tcp 192.168.88.1:8729: no route to host"},
	}}, nil
}

func TestTheSupportBundleIsForTechnicians(t *testing.T) {
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t), Support: aBundle}
	b := near(t, s)
	if w := b.ask("GET", "/support", nil); w.Code != 303 || w.Header().Get("Location") != "/signin?next=%2Fsupport" {
		t.Errorf("nobody: got %d to %q", w.Code, w.Header().Get("Location"))
	}
	b.signIn("rui", ruisPassword)
	for _, method := range []string{"GET", "POST"} {
		if w := b.ask(method, "/support", nil); w.Code != 403 || strings.Contains(w.Body.String(), "PK-the-zip") {
			t.Errorf("a cashier, %s: got %d", method, w.Code)
		}
	}
	b.signIn("ana", anasPassword)
	body := b.ask("GET", "/support", nil).Body.String()
	for _, want := range []string{"3 times</strong> a secret", "status.json", "1.2 MB", "no route to host", "Left out"} {
		if !strings.Contains(body, want) {
			t.Errorf("the preview does not say %q", want)
		}
	}
	w := b.ask("POST", "/support", nil)
	if w.Code != 200 || w.Body.String() != "PK-the-zip" || w.Header().Get("Content-Type") != "application/zip" || !strings.Contains(w.Header().Get("Content-Disposition"), "iwas-support-20261124-140209.zip") {
		t.Errorf("the download: got %d, %v", w.Code, w.Header())
	}
	s.Support = func(context.Context) (Bundle, error) {
		return Bundle{Zip: []byte("PK-the-zip")}, fault.New(fault.Denied, "its file <b> holds a secret", errors.New("x")).WithCode("SYS-125", "Tell support.")
	}
	w = b.ask("POST", "/support", nil)
	if w.Code != 500 || strings.Contains(w.Body.String(), "PK-the-zip") || !strings.Contains(w.Body.String(), "its file &lt;b&gt; holds a secret") || !strings.Contains(w.Body.String(), "SYS-125") {
		t.Errorf("refused: got %d %s", w.Code, w.Body)
	}
}

func TestTheLogIsFilteredAndPaused(t *testing.T) {
	tail := &logs.Tail{}
	log, _ := logs.NewKept(io.Discard, nil, tail)
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, Tail: tail, People: people(t)}
	log.Info("it shines", "part", "sky")
	log.Warn("it rains <b>")
	log.Error("it hails")
	b := near(t, s)
	for path, want := range map[string]string{"/log": "shines rains hails", "/log?level=warn": "rains hails", "/log?level=error": "hails", "/log?level=odd": "shines rains hails"} {
		body := b.ask("GET", path, nil).Body.String()
		for _, word := range []string{"shines", "rains", "hails"} {
			if strings.Contains(body, word) != strings.Contains(want, word) {
				t.Errorf("%s: %q is there: %v", path, word, strings.Contains(body, word))
			}
		}
		if !strings.Contains(body, `data-live="/log/live?level=`) || strings.Contains(body, "<b>\"") {
			t.Errorf("%s does not live, or a line became markup", path)
		}
	}
	if body := b.ask("GET", "/log?level=warn&pause=1", nil).Body.String(); strings.Contains(body, "data-live") || !strings.Contains(body, `href="/log?level=warn"`) || !strings.Contains(body, "Paused at") {
		t.Error("a paused page lives on, or cannot go on")
	}
	s.Door.Rules, s.Door.Names = nil, nil
	h, err := s.farHandlerFor(t, "192.168.99.7")
	if err != nil {
		t.Fatal(err)
	}
	far := &browser{t: t, h: h, from: "192.168.99.7:1"}
	for _, path := range []string{"/log", "/log/live"} {
		if w := far.ask("GET", path, nil); strings.Contains(w.Body.String(), "hails") || w.Code != http.StatusSeeOther && !strings.Contains(w.Body.String(), "event: leave") {
			t.Errorf("%s from the network without a sign-in: got %d", path, w.Code)
		}
	}
}

func TestLogAndBundleAreLegible(t *testing.T) {
	t.Parallel()
	tail := &logs.Tail{}
	log, _ := logs.NewKept(io.Discard, nil, tail)
	log.Info("status page", "part", "status", "url", "http://127.0.0.1:8480")
	log.Warn("a connection to the status page was refused", "addr", "10.20.0.17", "reason", "an address of the guest network", "code", "SYS-123")
	log.Error("nobody can sign in", "err", "read who may sign in: /var/lib/iwas-agent/people.json: unexpected end of JSON input", "code", "SYS-120", "next", "Remove the file and set the passwords anew: iwas-agent password set")
	s := &Server{Snapshot: func(context.Context) Snapshot { return moved(well(nil), time.Since(t0)) }, Tail: tail, People: people(t), Support: aBundle}
	addr, stop := serve(t, s)
	_, token, _ := strings.Cut(cookieOf(t, s, "ana"), "=")
	tab := webuitest.Start(t).Open(t, "http://"+addr, map[string]string{"iwas_status": token})
	tab.Visit(t, "/log")
	log.Info("a line that comes while one looks", "part", "test")
	tab.Do(t, "see it come", chromedp.Poll(`document.body.innerText.includes("while one looks")`, nil))
	for _, v := range webuitest.Views {
		tab.Inspect(t, "log", v)
	}
	tab.Do(t, "pause", chromedp.Click("#pause", chromedp.ByQuery), chromedp.WaitVisible(`#pause[href="/log?level=info"]`, chromedp.ByQuery))
	tab.Inspect(t, "log-paused", webuitest.View{Width: 360})
	tab.Visit(t, "/support")
	for _, v := range webuitest.Views {
		tab.Inspect(t, "support", v)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
