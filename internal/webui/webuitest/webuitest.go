// Package webuitest looks at our pages in a real browser: headless Chromium
// with axe-core inside. It is for tests only; no program imports it.
package webuitest

import (
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe-core-4.14.1.min.js
var axe string

// Browser is one headless Chromium, stopped when the test ends.
type Browser struct {
	ctx context.Context
}

// Start runs Chromium. Without one the test fails: these tests prove nothing
// against anything else. Flags are further ones, as "name=value".
func Start(t testing.TB, flags ...string) *Browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("no chromium found; install the Debian package chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("lang", "en-GB"), chromedp.WSURLReadTimeout(60*time.Second))
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		opts = append(opts, chromedp.Flag(name, value))
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stop := chromedp.NewContext(alloc)
	t.Cleanup(func() { stop(); stopAlloc() })
	if err := chromedp.Run(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return &Browser{ctx: ctx}
}

// pageTime bounds what is done with one page.
const pageTime = 4 * time.Minute

// Tab is one page of the browser, which notes what it asks for and complains
// about.
type Tab struct {
	Ctx    context.Context // for chromedp.Run
	origin *url.URL
	stop   func()
	time   *time.Timer // ends the tab

	mu       sync.Mutex
	foreign  []string // requests to other origins
	trouble  []string // script errors, refusals by the content policy
	received int64    // bytes of bodies and headers, as they crossed the wire
}

// Open makes a tab that will visit origin ("http://127.0.0.1:1234") with these
// cookies and no others; tabs of one browser share them, so open one at a time.
// Files are not cached between pages. It closes with the test, at the latest four
// minutes after a Visit: machines may be busy. Many pages are best looked at in one
// tab: each tab is a process, to which axe-core is new.
func (b *Browser) Open(t testing.TB, origin string, cookies map[string]string) *Tab {
	t.Helper()
	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := chromedp.NewContext(b.ctx)
	ctx, end := context.WithCancelCause(ctx)
	tab := &Tab{Ctx: ctx, origin: u, time: time.AfterFunc(pageTime, func() { end(fmt.Errorf("not done with the page after %v", pageTime)) })}
	tab.stop = func() { tab.time.Stop(); end(nil); stop() }
	t.Cleanup(tab.stop)
	chromedp.ListenTarget(ctx, tab.note)
	actions := []chromedp.Action{network.Enable(), network.SetCacheDisabled(true), network.ClearBrowserCookies(), runtime.Enable(), cdplog.Enable()}
	for name, value := range cookies {
		actions = append(actions, network.SetCookie(name, value).WithURL(origin).WithHTTPOnly(true))
	}
	// A tab behind another one is hidden: it neither paints nor follows streams.
	if err := chromedp.Run(ctx, append(actions, page.BringToFront())...); err != nil {
		t.Fatalf("open tab: %v", err)
	}
	return tab
}

// Close closes the tab before the test ends.
func (tab *Tab) Close() { tab.stop() }

func (tab *Tab) note(ev any) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "data" && u.Scheme != "about" && u.Host != tab.origin.Host {
			tab.foreign = append(tab.foreign, e.Request.URL)
		}
	case *network.EventLoadingFinished:
		tab.received += int64(e.EncodedDataLength)
	case *runtime.EventExceptionThrown:
		tab.trouble = append(tab.trouble, e.ExceptionDetails.Error())
	case *cdplog.EventEntryAdded:
		// A refused page (403, 404) is logged as a failed load: not a fault of the page.
		if e.Entry.Level == cdplog.LevelError && e.Entry.Source != cdplog.SourceNetwork {
			tab.trouble = append(tab.trouble, e.Entry.Text)
		}
	}
}

// Do runs browser actions and fails the test when one does not succeed.
func (tab *Tab) Do(t testing.TB, what string, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(tab.Ctx, actions...); err != nil {
		if tab.Ctx.Err() != nil {
			err = context.Cause(tab.Ctx)
		}
		t.Fatalf("%s: %v", what, err)
	}
}

// Visit loads a path of the origin.
func (tab *Tab) Visit(t testing.TB, path string) {
	t.Helper()
	tab.time.Reset(pageTime)
	tab.mu.Lock()
	tab.received = 0
	tab.mu.Unlock()
	tab.Do(t, "visit "+path, chromedp.Navigate(tab.origin.String()+path))
}

// Received returns the bytes that crossed the wire since Visit.
func (tab *Tab) Received() int64 {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return tab.received
}

// Foreign returns what was asked of other servers since the tab was opened, or
// inspected last.
func (tab *Tab) Foreign() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return tab.foreign
}

// Text returns what the first element of the selector reads.
func (tab *Tab) Text(t testing.TB, selector string) string {
	t.Helper()
	var text string // found and read in one step: a live page replaces its elements
	tab.Do(t, "read "+selector, chromedp.WaitVisible(selector, chromedp.ByQuery), chromedp.Evaluate(fmt.Sprintf("document.querySelector(%q).innerText", selector), &text))
	return strings.TrimSpace(text)
}

// View is how a page is looked at.
type View struct {
	Width int // CSS pixels
	Dark  bool
}

// String names the view for file names: "360-dark".
func (v View) String() string {
	if v.Dark {
		return fmt.Sprintf("%d-dark", v.Width)
	}
	return fmt.Sprintf("%d-light", v.Width)
}

// Views are the four that every page must look right in.
var Views = []View{{360, false}, {360, true}, {1280, false}, {1280, true}}

// Set shows the tab as the view says.
func (tab *Tab) Set(t testing.TB, v View) {
	t.Helper()
	scheme, height := "light", int64(900)
	if v.Dark {
		scheme = "dark"
	}
	if v.Width < 600 {
		height = 740
	}
	tab.Do(t, "set view", emulation.SetDeviceMetricsOverride(int64(v.Width), height, 1, v.Width < 600),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}))
}

// Inspect checks the page as it stands: axe-core finds nothing against WCAG 2.2
// A and AA, nothing is wider than the screen, no request left the origin, no
// script failed and the content policy refused nothing. With `go test
// -artifacts` it keeps a picture.
func (tab *Tab) Inspect(t testing.TB, name string, v View) {
	t.Helper()
	tab.Set(t, v)
	var wide, have bool
	var culprit string
	tab.Do(t, "measure", chromedp.Evaluate(fmt.Sprintf(`document.documentElement.scrollWidth > %d`, v.Width), &wide), // innerWidth grows with the page on a phone
		chromedp.Evaluate(fmt.Sprintf(`[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > %d && getComputedStyle(e).position !== "absolute").map(e => e.outerHTML.slice(0, 90)).slice(0, 3).join(" | ")`, v.Width+1), &culprit),
		chromedp.Evaluate(`typeof axe !== "undefined"`, &have))
	if wide {
		t.Errorf("%s at %s: wider than the screen: %s", name, v, culprit)
	}
	if !have {
		tab.Do(t, "load axe", chromedp.Evaluate(axe, nil))
	}
	var found string
	tab.Do(t, "run axe", chromedp.Evaluate(`axe.run(document, {runOnly: {type: "tag", values: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa"]}, resultTypes: ["violations"]})
		.then(r => JSON.stringify(r.violations.map(v => v.id + ": " + v.help + " — " + v.nodes.slice(0, 4).map(n => n.target.join(" ") + " " + n.html.slice(0, 120) + " " + (n.any[0]?.message ?? "")).join(" ; "))))`,
		&found, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	var violations []string
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		t.Fatalf("axe answered %q: %v", found, err)
	}
	for _, violation := range violations {
		t.Errorf("%s at %s: %s", name, v, violation)
	}
	tab.mu.Lock()
	foreign, trouble := tab.foreign, tab.trouble
	tab.foreign, tab.trouble = nil, nil
	tab.mu.Unlock()
	for _, u := range foreign {
		t.Errorf("%s: asked another server: %s", name, u)
	}
	for _, text := range trouble {
		t.Errorf("%s: browser complains: %s", name, text)
	}
	tab.Picture(t, name+"-"+v.String())
}

// Picture keeps a picture of the whole page among the test's artifacts, if
// `go test -artifacts` asks for them.
func (tab *Tab) Picture(t testing.TB, name string) {
	t.Helper()
	if f := flag.Lookup("test.artifacts"); f == nil || f.Value.String() != "true" {
		return // nobody would see it
	}
	var png []byte
	tab.Do(t, "take a picture", chromedp.FullScreenshot(&png, 100))
	file := filepath.Join(t.ArtifactDir(), strings.ReplaceAll(name, "/", "_")+".png")
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
}
