package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iwas/internal/hotspot"
	"iwas/internal/webui/webuitest"
	"iwas/internal/wire"
)

func TestRouterSetUpsByTheAPI(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	const path = "/api/v1/sites/main/routers/counter"
	for _, tc := range []struct {
		role               hotspot.Role
		method, path, body string
		want               int
		call               string
	}{
		{hotspot.Owner, "PUT", path + "/setup", `{"mode":"radius-only","coa_port":3799}`, 200, `setup of main counter {"mode":"radius-only","coa_port":3799} by owner`},
		{hotspot.Technician, "PUT", path + "/setup", `{"mode":"radius-only"}`, 200, `setup of main counter {"mode":"radius-only"} by technician`},
		{hotspot.Manager, "PUT", path + "/setup", `{"mode":"radius-only"}`, 403, ``},
		{hotspot.Owner, "PUT", path + "/setup", `{"mode":"some"}`, 400, ``},
		{hotspot.Owner, "PUT", path + "/setup", `{"mode":"whole-cafe","guests":{"vlan":1}}`, 400, ``},
		{hotspot.Owner, "PUT", "/api/v1/sites/main/routers/nowhere/setup", `{"mode":"radius-only"}`, 404, ``},
		{hotspot.Owner, "PUT", "/api/v1/sites/rival/routers/counter/setup", `{"mode":"radius-only"}`, 404, ``},
		{hotspot.Owner, "POST", path + "/commands", `{"kind":"plan"}`, 202, `router.plan counter {"nas":"counter"} for 1m0s by owner`},
		{hotspot.Technician, "POST", path + "/commands", `{"kind":"check"}`, 202, `router.check counter {"nas":"counter"} for 1m0s by technician`},
		{hotspot.Manager, "POST", path + "/commands", `{"kind":"check"}`, 403, ``},
		{hotspot.Technician, "POST", path + "/commands", `{"kind":"apply","plan":"7f3a11aa"}`, 202, `router.apply counter {"nas":"counter","plan":"7f3a11aa"} for 1m0s by technician`},
		{hotspot.Owner, "POST", path + "/commands", `{"kind":"confirm"}`, 202, `router.confirm counter {"nas":"counter"} for 1m0s by owner`},
		{hotspot.Owner, "POST", path + "/commands", `{"kind":"rollback"}`, 202, `router.rollback counter {"nas":"counter"} for 5m0s by owner`},
		{hotspot.Owner, "POST", path + "/commands", `{"kind":"apply"}`, 400, ``},
		{hotspot.Owner, "POST", path + "/commands", `{"kind":"reset"}`, 422, ``},
		{hotspot.Manager, "POST", path + "/commands", `{"kind":"plan"}`, 403, ``},
		{hotspot.Cashier, "POST", path + "/commands", `{"kind":"plan"}`, 403, ``},
		{hotspot.Owner, "POST", "/api/v1/sites/rival/routers/counter/commands", `{"kind":"plan"}`, 404, ``},
		{hotspot.Cashier, "GET", path, ``, 403, ``},
		{hotspot.Manager, "GET", path, ``, 200, ``},
		{hotspot.Owner, "GET", "/api/v1/sites/main/commands?subject=counter", ``, 200, ``},
		{hotspot.Owner, "GET", "/api/v1/sites/main/commands/c2", ``, 200, ``},
		{hotspot.Owner, "GET", "/api/v1/sites/main/commands/nothing", ``, 404, ``},
		{hotspot.Owner, "GET", "/api/v1/sites/rival/commands", ``, 404, ``},
		{hotspot.Cashier, "POST", "/api/v1/accounts/mara/kick", ``, 202, `kick mara {"account":"mara"} for 1m0s by cashier`},
		{hotspot.Technician, "POST", "/api/v1/accounts/mara/kick", ``, 403, ``},
		{hotspot.Owner, "DELETE", path + "/setup", ``, 200, `forget setup of main counter by owner`},
	} {
		before := len(f.calls)
		status, body, _ := ask(t, srv, tc.method, tc.path, tc.body, bearer(tc.role, "cafe"))
		if got := strings.Join(f.calls[before:], ";"); status != tc.want || got != tc.call {
			t.Errorf("%s %s %s %s: got %d and did %q, want %d and %q\n%s", tc.role, tc.method, tc.path, tc.body, status, got, tc.want, tc.call, body)
		}
	}
}

// A command with a key is asked once, however often the request comes, and its
// result comes through the API as it was told.
func TestACommandWithAKeyIsAskedOnce(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	with, keyed := bearer(hotspot.Owner, "cafe"), bearer(hotspot.Owner, "cafe")
	keyed["Idempotency-Key"] = "k1"
	var ids []string
	for range 3 {
		_, body, _ := ask(t, srv, http.MethodPost, "/api/v1/sites/main/routers/counter/commands", `{"kind":"plan"}`, keyed)
		var c apiCommand
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, c.ID)
	}
	if len(f.calls) != 1 || ids[0] == "" || ids[1] != ids[0] || ids[2] != ids[0] {
		t.Errorf("did %q and answered %v, want one command", f.calls, ids)
	}
	if status, _, _ := ask(t, srv, http.MethodPost, "/api/v1/sites/main/routers/counter/commands", `{"kind":"confirm"}`, keyed); status != http.StatusConflict {
		t.Errorf("another body with the key: got %d, want 409", status)
	}
	_, body, _ := ask(t, srv, http.MethodGet, "/api/v1/sites/main/commands/c2", "", with)
	var c struct {
		State string
		Plan  wire.PlanResult
	}
	if err := json.Unmarshal([]byte(body), &c); err != nil || c.State != "executed" || c.Plan.Key != "7f3a11aa" || len(c.Plan.Steps) != 2 || c.Plan.Cut != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
}

// What is wanted is said to be in force only when the site said that it is.
func TestEveryStateOfASetUpIsSaid(t *testing.T) {
	online := hotspot.SiteStatus{Presence: hotspot.Online, Applied: 41}
	off := func(n int) hotspot.SiteStatus {
		st := online
		st.NotInForce = []hotspot.DocRef{{Kind: "router", ID: "r1"}}
		for i := range n {
			st.NotInForce = append(st.NotInForce, hotspot.DocRef{Kind: "later", ID: fmt.Sprint(i)})
		}
		return st
	}
	away := online
	away.Presence = hotspot.Lost
	cloud, box, none := &hotspot.SetupStanding{From: "cloud"}, &hotspot.SetupStanding{From: "box"}, &hotspot.SetupStanding{}
	for want, got := range map[string]string{
		setupHeld:       setupState(true, 41, "r1", true, cloud, online),
		setupOnItsWay:   setupState(true, 42, "r1", true, cloud, online),
		setupWaits:      setupState(true, 42, "r1", true, cloud, away),
		setupBoxFirst:   setupState(true, 41, "r1", true, box, online),
		setupNotTaken:   setupState(true, 41, "r1", true, none, off(3)),
		setupTooOld:     setupState(true, 41, "r1", true, nil, off(0)),
		setupNoSuchHere: setupState(true, 41, "r1", false, nil, online),
		setupNone:       setupState(false, 0, "r1", true, none, online),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// An older box names the grants it does not know; they do not read as waiting for
// the router, and neither do those it had no room to name.
func TestAGrantThatTheBoxDoesNotKnowIsSaidSo(t *testing.T) {
	g := hotspot.GrantStatus{Grant: hotspot.Grant{ID: "g1", Until: noon.Add(time.Hour)}, AtSite: true}
	st := hotspot.SiteStatus{Presence: hotspot.Online, NotInForce: []hotspot.DocRef{{Kind: "plan", ID: "g1"}}}
	if got := grantState(g, st, noon); got != grantNoRouter {
		t.Errorf("another kind of that id: got %s", got)
	}
	st.NotInForce = append(st.NotInForce, hotspot.DocRef{Kind: "grant", ID: "g1"})
	if got := grantState(g, st, noon); got != grantNotKnown || !strings.Contains(grantBadge(got, g, (&Server{}).clock("")).Text, "version does not know it") {
		t.Errorf("named: got %s", got)
	}
	other := g
	other.ID = "g2"
	if got := grantState(other, st, noon); got != grantNoRouter {
		t.Errorf("one that is not named: got %s", got)
	}
	for i := range 100 {
		st.NotInForce = append(st.NotInForce, hotspot.DocRef{Kind: "grant", ID: fmt.Sprint("x", i)})
	}
	if got := grantState(other, st, noon); got != grantNotKnown {
		t.Errorf("where no more fit: got %s", got)
	}
	other.State = hotspot.GrantInList
	if got := grantState(other, st, noon); got != "in_list" {
		t.Errorf("one that the site settled: got %s", got)
	}
}

// The page says what stands between, how long there is to confirm, and offers only
// what can be done now; without scripts it comes anew every few seconds.
func TestTheRoutersPageOffersWhatCanBeDone(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	see := func(path string, role hotspot.Role) string {
		t.Helper()
		if _, err := f.CreateOperatorSession(t.Context(), operator(role, "cafe").ID, tokenHash("session-of-"+string(role)), noon); err != nil {
			t.Fatal(err)
		}
		status, body, _ := ask(t, srv, http.MethodGet, path, "", cookie(role))
		if status != http.StatusOK {
			t.Fatalf("%s: %d", path, status)
		}
		return body
	}
	shows := func(body string, want ...string) {
		t.Helper()
		for _, w := range want {
			if hide, ok := strings.CutPrefix(w, "!"); ok && strings.Contains(body, hide) || !ok && !strings.Contains(body, w) {
				t.Errorf("the page lacks, or shows against the wish: %s", w)
			}
		}
	}
	const path = "/sites/main/routers/counter"
	shows(see(path, hotspot.Owner), "3 steps stand", "guests never reach PCs", "/ip/firewall/filter/add chain=forward", "connections between the two end", "1 more step is not shown", `id="apply-button"`, `value="7f3a11aa"`,
		"RTR-161", "!confirm-button", "&#34;list&#34;: &#34;banned&#34;")
	shows(see(path, hotspot.Owner), "timeout is 300ms (and 1 more)", "RTR-121", "Set the timeout to 3 seconds.", "/radius/set [find address=192.168.88.2] timeout=3s", "2 points with nothing to do", "1 more point is not shown", `id="check-button"`)
	shows(see(path, hotspot.Manager), "timeout is 300ms", "!check-button")
	page := see(path, hotspot.Owner)
	if fail, warn, unknown := strings.Index(page, "RADIUS entry: timeout is 300ms <"), strings.Index(page, "1 device goes past"), strings.Index(page, "it was not come to"); fail < 0 || warn < fail || unknown < warn {
		t.Errorf("the worst does not come first: %d, %d, %d", fail, warn, unknown)
	}
	var c apiCommand
	if err := json.Unmarshal([]byte(see("/api/v1/sites/main/commands/c0", hotspot.Owner)), &c); err != nil || c.Check == nil || len(c.Check.Rows) != 5 || c.Application != nil {
		t.Errorf("the API has %+v, %v", c, err)
	}
	shows(see(path, hotspot.Manager), "3 steps stand", "!apply-button", "!save-setup")
	shows(see("/sites/main/routers/attic", hotspot.Owner), "the box’s own goes first", "Take <code>[nas.setup]</code>", "none stored")
	shows(see("/sites/harbour/routers/pier", hotspot.Owner), "does not know set-ups from the console")
	f.waiting()
	shows(see(path, hotspot.Owner), "waits to be confirmed", ">97 s</time>", `id="confirm-button"`, `id="rollback-now"`, "!apply-button", `http-equiv="refresh" content="3"`)
	shows(see("/sites/main", hotspot.Owner), "A new set-up waits to be confirmed", path)
	shows(see("/sites/main", hotspot.Cashier), "!"+path)
	var r apiRouterSetup
	if err := json.Unmarshal([]byte(see("/api/v1/sites/main/routers/counter", hotspot.Owner)), &r); err != nil || r.ConfirmUntil == nil || !r.ConfirmUntil.Equal(noon.Add(97*time.Second)) || r.Application != "waiting" || r.StoredLogin != "admin" {
		t.Errorf("got %+v, %v", r, err)
	}
	f.mu.Lock()
	f.commands[0].EndedAt, f.sites[0].HeardAt = noon.Add(-130*time.Second), noon.Add(-115*time.Second)
	f.mu.Unlock()
	shows(see(path, hotspot.Owner), "Not confirmed in time", "!confirm-button")
}

// TestASetUpIsMadeInTheBrowser: somebody makes a slip, reads what is wrong, saves,
// asks for a plan, and applies it.
func TestASetUpIsMadeInTheBrowser(t *testing.T) {
	srv, _, f, cookies := start(t, hotspot.Technician)
	browser := webuitest.Start(t)
	tab := browser.Open(t, srv.URL, cookies)
	tab.Visit(t, "/sites/main/routers/counter")
	do := func(actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(tab.Ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}
	do(chromedp.SetValue("#guests_subnet", "10.20.0.1/22", chromedp.ByQuery), chromedp.Click("#save-setup", chromedp.ByQuery), chromedp.WaitVisible("#guests_subnet-hint .wrong", chromedp.ByQuery))
	for _, v := range webuitest.Views {
		tab.Inspect(t, "router-wrong", v)
	}
	do(chromedp.SetValue("#guests_subnet", "10.30.0.0/22", chromedp.ByQuery), chromedp.Click("#save-setup", chromedp.ByQuery), chromedp.WaitNotPresent("#guests_subnet-hint .wrong", chromedp.ByQuery),
		chromedp.Click("#plan-button", chromedp.ByQuery), chromedp.WaitVisible("#plan-button[disabled]", chromedp.ByQuery))
	f.mu.Lock()
	defer f.mu.Unlock()
	want := []string{`setup of main counter {"mode":"whole-cafe","pc_ports":["ether3","ether4"],"guests":{"subnet":"10.30.0.0/22"},"portal":"wifi.icafe.com","lists":[{"list":"banned","match":"src","action":"drop"}]} by technician`,
		`router.plan counter {"nas":"counter"} for 1m0s by technician`}
	if !slices.Equal(f.calls, want) {
		t.Errorf("did %q, want %q: what the form does not show stays", f.calls, want)
	}
}
