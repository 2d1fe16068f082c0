package statuspage

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iwas/agent/statuspage/access"
	"iwas/internal/condition"
	"iwas/internal/webui/webuitest"
)

// The pages of the door, as a technician's phone sees them: over TLS, signing in,
// and the page behind it, which lives.
func TestTheDoorIsLegible(t *testing.T) {
	t.Parallel()
	shift := time.Since(t0)
	s := &Server{Snapshot: func(context.Context) Snapshot { return moved(busy(), shift) }, Minutes: day, People: people(t), Check: nil,
		Board: &condition.Board{Now: func() time.Time { return time.Now().Add(-time.Hour) }}}
	s.Door.Rules = func() access.Rules {
		return access.Rules{Networks: prefixes("127.0.0.0/8"), Routers: []access.Range{access.RangeOf(netip.MustParsePrefix("192.168.99.1/32"))}}
	}
	_, stop := withDoor(t, s)
	s.gate.Takes("192.168.99.1:4000")
	tab := webuitest.Start(t, "ignore-certificate-errors-spki-list="+keyHash(t, s)).Open(t, s.openedAt(), nil)
	tab.Visit(t, "/help/RAD-103")
	for _, v := range webuitest.Views {
		tab.Inspect(t, "signin", v)
	}
	fill := func(password string) {
		t.Helper()
		tab.Do(t, "sign in", chromedp.SetValue("#name", "ana", chromedp.ByQuery), chromedp.SetValue("#password", password, chromedp.ByQuery), chromedp.Click(`main button.main`, chromedp.ByQuery))
	}
	fill("wrong password")
	tab.Do(t, "read why not", chromedp.WaitVisible(".alert.bad", chromedp.ByQuery))
	for _, v := range webuitest.Views {
		tab.Inspect(t, "signin-wrong", v)
	}
	fill(anasPassword)
	tab.Do(t, "come back to what was asked for", chromedp.WaitVisible(".prose", chromedp.ByQuery))
	tab.Visit(t, "/")
	tab.Do(t, "see it live", chromedp.WaitVisible(`#refusals table`, chromedp.ByQuery))
	var paint float64
	tab.Do(t, "ask for the first paint", chromedp.Evaluate(`performance.getEntriesByType("paint").filter(e => e.name === "first-contentful-paint").map(e => e.startTime)[0] ?? -1`, &paint))
	t.Logf("first paint after %.0f ms, %d bytes in all, over TLS", paint, tab.Received())
	if got := tab.Received(); got > 150_000 {
		t.Errorf("%d bytes crossed the wire, want at most 150,000", got)
	}
	for _, v := range webuitest.Views {
		tab.Do(t, "scroll to the top", chromedp.Evaluate(`scrollTo(0, 0)`, nil))
		tab.Inspect(t, "signed-in", v)
	}
	if got := tab.Text(t, "footer"); !strings.Contains(got, "Signed in as ana (technician)") {
		t.Errorf("the page says %q, want who is signed in", got)
	}
	// Its stream works over TLS, and leads to the sign-in once that is over.
	var stale bool
	tab.Do(t, "look", chromedp.Evaluate(`!document.getElementById("not-live").hidden`, &stale))
	if stale {
		t.Error("the page over TLS says that it is not live")
	}
	if err := s.People.Remove("ana"); err != nil {
		t.Fatal(err)
	}
	tab.Do(t, "be led to the sign-in", chromedp.WaitVisible("#password", chromedp.ByQuery))
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestABoxWithoutPeopleIsLegible(t *testing.T) {
	t.Parallel()
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: &access.People{File: filepath.Join(t.TempDir(), "people.json")}}
	addr, stop := serve(t, s)
	tab := webuitest.Start(t).Open(t, "http://"+addr, nil)
	tab.Visit(t, "/")
	for _, v := range webuitest.Views {
		tab.Inspect(t, "reader", v)
	}
	tab.Do(t, "follow the link", chromedp.Click(`.tools a[href="/signin"]`, chromedp.NodeVisible), chromedp.WaitVisible("#how", chromedp.ByQuery))
	for _, v := range webuitest.Views {
		tab.Inspect(t, "signin-nobody", v)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
