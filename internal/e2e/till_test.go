package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iwas/internal/demo"
	"iwas/internal/webui/webuitest"
)

// tablet is the device of the guest whom the cashier serves.
const tablet = "02:7A:B1:00:00:01"

// aCashierServesAGuest is the counter by a cashier's phone, on a box without a cloud:
// sell by a finger that trembles, find, give time, lock until the guest is proven off,
// unlock. It returns the voucher's code.
func aCashierServesAGuest(t *testing.T, c *demo.Cafe) string {
	t.Helper()
	set := exec.CommandContext(t.Context(), filepath.Join(bin, "iwas-agent"), "--config", c.AgentConfig(), "password", "set", "maria", "--role", "cashier", "--password-file", passwordFile(t, "a blue teapot"))
	if b, err := set.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	sales := func() (n int) {
		var s counterSales
		agentSays(t, c, &s, "sales")
		return len(s.Sales)
	}
	before := sales()
	tab := webuitest.Start(t).Open(t, strings.TrimSuffix(c.StatusURL, "/"), nil)
	tab.Set(t, webuitest.View{Width: 360})
	tab.Visit(t, "/counter")
	tab.Do(t, "sign in", chromedp.WaitVisible("#name", chromedp.ByQuery), chromedp.SetValue("#name", "maria", chromedp.ByQuery), chromedp.SetValue("#password", "a blue teapot", chromedp.ByQuery), chromedp.Click("main button.main", chromedp.ByQuery),
		chromedp.WaitVisible("#find", chromedp.ByQuery))
	tab.Do(t, "choose a plan", chromedp.Click(`//a[@class="offer"][contains(., "Hour")]`, chromedp.BySearch), chromedp.WaitVisible("#sell", chromedp.ByQuery))
	if price := tab.Text(t, "#price"); price != "EUR 2.50" {
		t.Errorf("the price reads %q before the sale", price)
	}
	tab.Do(t, "sell, twice", chromedp.Evaluate(`document.querySelector("#sell").click(); document.querySelector("#sell").click()`, nil), chromedp.WaitVisible(".slip .code", chromedp.ByQuery))
	code := tab.Text(t, ".slip .code")
	if n := sales() - before; n != 1 {
		t.Errorf("%d sales of two taps, want 1", n)
	}
	if err := login(t, c, tablet, demo.Account{Username: code}, "http-pap"); err != nil {
		t.Fatalf("the guest with the voucher: %v", err)
	}
	tab.Do(t, "find the guest", chromedp.Click(`.trail a[href="/counter"]`, chromedp.ByQuery), chromedp.WaitVisible("#find", chromedp.ByQuery),
		chromedp.SetValue("#text", strings.ToLower(strings.ReplaceAll(code, "-", "")), chromedp.ByQuery), chromedp.Click("#find", chromedp.ByQuery),
		chromedp.WaitVisible("#kick", chromedp.ByQuery)) // online, as accounting told
	if name := tab.Text(t, "h1"); name != code {
		t.Errorf("found %q, want %q", name, code)
	}
	tab.Do(t, "give time", chromedp.Click("#time-30m", chromedp.ByQuery), chromedp.Click("#extend", chromedp.ByQuery), chromedp.WaitVisible(".alert.good", chromedp.ByQuery))
	var shown struct {
		TimeS int64 `json:"time_s"`
	}
	if agentSays(t, c, &shown, "account", "show", code); shown.TimeS != 5400 {
		t.Errorf("%d s of time, want an hour and a half", shown.TimeS)
	}
	tab.Do(t, "lock", chromedp.Click("#preset-0", chromedp.ByQuery), chromedp.Click("#lock", chromedp.ByQuery),
		chromedp.WaitVisible(`//*[@id="guest-lock"]//ol[@class="steps"]/li[last()][contains(@class, "done")]`, chromedp.BySearch))
	if title := tab.Text(t, "#lock-h"); title != "Locked, proven off" {
		t.Errorf("the page reads %q with the last step done", title)
	}
	if g := guest(t, c, tablet); g.Online || g.Cookies != 0 || g.Connections != 0 {
		t.Errorf("proven off, and at the router: %+v", g)
	}
	if err := login(t, c, tablet, demo.Account{Username: code}, "http-pap"); err == nil {
		t.Error("who is locked logs in")
	}
	tab.Do(t, "unlock", chromedp.Click("#unlock", chromedp.ByQuery), chromedp.WaitVisible("#lock", chromedp.ByQuery))
	until(t, "a login after the unlock", 20*time.Second, func() bool { return login(t, c, tablet, demo.Account{Username: code}, "http-pap") == nil })
	tab.Do(t, "pause", chromedp.Click("#pause", chromedp.ByQuery), chromedp.WaitVisible("#resume", chromedp.ByQuery))
	err := login(t, c, tablet, demo.Account{Username: code}, "http-pap")
	if err == nil || !strings.Contains(err.Error(), "Your time is paused") {
		t.Errorf("who is paused reads %v", err)
	}
	tab.Do(t, "resume", chromedp.Click("#resume", chromedp.ByQuery), chromedp.WaitVisible("#lock", chromedp.ByQuery))
	tab.Close()
	return code
}
