package e2e

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"iwas/internal/demo"
	"iwas/internal/webui/webuitest"
)

// pictures says to renew the pictures of the README.
var pictures = flag.Bool("pictures", false, "write internal/e2e/pictures/*.png")

// TestAnOwnerLocksAGuestInTheBrowser is the main job with a person's hands: sign
// in, find the guest, press Lock, see "enforced"; and the guest is gone from the
// router.
func TestAnOwnerLocksAGuestInTheBrowser(t *testing.T) {
	c := open(t, func(o *demo.Options) { o.Guests = true })
	tess := c.Accounts[0]
	if err := login(t, c, phone, tess, "http-chap"); err != nil {
		t.Fatal(err)
	}
	until(t, "the session in the console", 10*time.Second, func() bool { return len(get(t, c, tess.ID).Sessions) == 1 })

	tab := webuitest.Start(t).Open(t, strings.TrimSuffix(c.ConsoleURL, "/"), nil)
	tab.Set(t, webuitest.View{Width: 1280})
	tab.Visit(t, "/")
	tab.Do(t, "sign in", chromedp.WaitVisible("#email"), chromedp.SendKeys("#email", c.OwnerEmail), chromedp.SendKeys("#password", c.OwnerPassword+"\n"),
		chromedp.WaitVisible(`a[href="/sites/`+c.SiteID+`"]`))
	tab.Do(t, "open the site", chromedp.Click(`a[href="/sites/`+c.SiteID+`"]`), chromedp.WaitVisible("#site-guests"))
	picture(t, tab, "console")
	tab.Do(t, "open the guest", chromedp.Click(`a[href*="/guests/`+tess.ID+`"]`), chromedp.WaitVisible("#lock-button"))
	tab.Do(t, "lock", chromedp.SendKeys("#lock-reason", "left without paying"), chromedp.Click("#lock-button"),
		chromedp.WaitVisible(`//*[@id="guest-lock"]//ol[@class="steps"]/li[last()][contains(@class,"done")]`, chromedp.BySearch))
	var said string
	tab.Do(t, "read the steps", chromedp.Text("#guest-lock", &said))
	for _, want := range []string{"Sent", "site", "left without paying"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page says %q, want %q in it", said, want)
		}
	}
	picture(t, tab, "lock")
	if g := guest(t, c, phone); g.Online || g.Connections != 0 {
		t.Errorf("at the router: online %v, %d connections; want off and none", g.Online, g.Connections)
	}
	if a := get(t, c, tess.ID); a.Lock.State != "enforced" {
		t.Errorf("state: got %q, want enforced", a.Lock.State)
	}
	tab.Set(t, webuitest.View{Width: 360})
	picture(t, tab, "lock-phone")
	tab.Do(t, "unlock", chromedp.Click("#unlock-button"), chromedp.WaitVisible("#lock-button"))
	until(t, "a login after the unlock", 10*time.Second, func() bool { return login(t, c, phone, tess, "http-chap") == nil })

	status := webuitest.Start(t).Open(t, strings.TrimSuffix(c.StatusURL, "/"), nil)
	for _, v := range webuitest.Views {
		status.Set(t, v)
		status.Visit(t, "/")
		status.Do(t, "wait for the page", chromedp.WaitVisible("#verdict"))
		status.Inspect(t, "status", v)
	}
	status.Set(t, webuitest.View{Width: 1280})
	var verdict string
	status.Do(t, "read the verdict", chromedp.Text("#verdict .title", &verdict))
	if verdict != "Guests can log in" {
		t.Errorf("verdict: got %q", verdict)
	}
	picture(t, status, "status")
	status.Set(t, webuitest.View{Width: 360})
	picture(t, status, "status-phone")

	if err := c.StopOne("agent", true); err != nil {
		t.Fatal(err)
	}
	status.Do(t, "see that the page is not live", chromedp.WaitVisible("#not-live"))
}

// TestTheConsoleFollowsWithoutReloading: on one page, never loaded again, the
// owner sees a guest come online and use data, and a lock that waits for a site
// that is away end with proof once it is back.
func TestTheConsoleFollowsWithoutReloading(t *testing.T) {
	c := open(t, nil)
	tess := c.Accounts[0]
	tab := webuitest.Start(t).Open(t, strings.TrimSuffix(c.ConsoleURL, "/"), nil)
	tab.Set(t, webuitest.View{Width: 1280})
	tab.Visit(t, "/signin?next=/guests/"+tess.ID)
	tab.Do(t, "sign in", chromedp.WaitVisible("#email"), chromedp.SendKeys("#email", c.OwnerEmail), chromedp.SendKeys("#password", c.OwnerPassword+"\n"),
		chromedp.WaitVisible("#lock-button"))
	mark := chromedp.Evaluate("window.sameDocument = true", nil)
	same := func(what string) {
		t.Helper()
		var still bool
		tab.Do(t, what, chromedp.Evaluate("window.sameDocument === true", &still))
		if !still {
			t.Errorf("%s: the page was loaded anew", what)
		}
	}
	tab.Do(t, "mark the page", mark)
	if err := login(t, c, phone, tess, "http-chap"); err != nil {
		t.Fatal(err)
	}
	tab.Do(t, "see the device", chromedp.WaitVisible(`//*[@id="guest-sessions"]//*[contains(., "`+phone+`")]`, chromedp.BySearch))
	same("a device that came online")

	if err := c.StopOne("agent", true); err != nil {
		t.Fatal(err)
	}
	until(t, "the site to be missed", 30*time.Second, func() bool {
		var site struct{ Presence string }
		return c.API(t.Context(), http.MethodGet, "/api/v1/sites/"+c.SiteID, nil, &site) == nil && site.Presence == "lost"
	})
	tab.Do(t, "lock while the site is away", chromedp.Click("#lock-button"), chromedp.WaitVisible("#unlock-button"))
	var said string
	tab.Do(t, "read what the lock says", chromedp.Text("#guest-lock", &said), mark)
	if !strings.Contains(said, "Waits for the site") {
		t.Errorf("the page says %q, want that the lock waits for the site", said)
	}
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	tab.Do(t, "see the proof", chromedp.WaitVisible(`//*[@id="guest-lock"]//ol[@class="steps"]/li[last()][contains(@class,"done")]`, chromedp.BySearch),
		chromedp.WaitVisible(`//*[@id="guest-sessions"]//*[contains(., "Not online")]`, chromedp.BySearch))
	same("a lock that was proven")
	if g := guest(t, c, phone); g.Online {
		t.Error("the guest is still online at the router")
	}
}

func picture(t *testing.T, tab *webuitest.Tab, name string) {
	t.Helper()
	if !*pictures {
		return
	}
	var png []byte
	shot := chromedp.FullScreenshot(&png, 100)
	if strings.HasSuffix(name, "-phone") { // as a phone shows it, with its bar at the lower edge
		shot = chromedp.CaptureScreenshot(&png)
	}
	tab.Do(t, "take a picture", page.BringToFront(), shot)
	if err := os.MkdirAll("pictures", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("pictures", name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheStatusPageAnswersOnlyToItsOwnNames(t *testing.T) {
	c := open(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.StatusURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a foreign host name: got %s, want 421", resp.Status)
	}
}

func TestDemoFactsAreWhole(t *testing.T) {
	c := open(t, nil)
	b, err := os.ReadFile(filepath.Join(c.Dir(), "demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	var facts map[string]any
	if err := json.Unmarshal(b, &facts); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Fields("console_url api_url api_token owner_email owner_password status_url status_password radius_auth radius_acct radius_secret nas_ip router_api router_rest router_user router_password router_control_url mqtt_url site_id accounts") {
		if _, ok := facts[key]; !ok {
			t.Errorf("demo.json has no %s", key)
		}
	}
	resp, err := http.Get(c.APIURL + "/api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var api struct {
		OpenAPI string         `json:"openapi"`
		Paths   map[string]any `json:"paths"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&api); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(api.OpenAPI, "3.1") || api.Paths["/api/v1/accounts/{id}/lock"] == nil {
		t.Errorf("OpenAPI %q with %d paths, want 3.1 with the lock among them", api.OpenAPI, len(api.Paths))
	}
}
