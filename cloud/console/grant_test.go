package console

import (
	"context"
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
)

// grantsOfFake are grants in every state there is.
func grantsOfFake() []hotspot.GrantStatus {
	g := func(site, id, list, address, comment string, left time.Duration, change func(*hotspot.GrantStatus)) hotspot.GrantStatus {
		p, _ := hotspot.ParseListAddress(address) // written here
		out := hotspot.GrantStatus{Site: hotspot.SiteID(site), AtSite: true,
			Grant: hotspot.Grant{ID: hotspot.GrantID(id), List: list, Address: p, Until: noon.Add(left), Comment: comment, By: "owner@cafe.example", MadeAt: noon.Add(-time.Hour)}}
		if change != nil {
			change(&out)
		}
		return out
	}
	in := func(state hotspot.GrantState) func(*hotspot.GrantStatus) {
		return func(g *hotspot.GrantStatus) { g.State, g.StateAt = state, noon.Add(-10*time.Minute) }
	}
	return []hotspot.GrantStatus{
		g("main", "g1", "staff", "203.0.113.7", "The accountant, until the books are done", 2*time.Hour, in(hotspot.GrantInList)),
		g("main", "g2", "staff", "2001:db8:4471:9f00::/56", "", 30*24*time.Hour, in(hotspot.GrantForeign)),
		g("main", "g3", "printers", "198.51.100.0/24", "", time.Hour, in(hotspot.GrantServed)),
		g("main", "g4", "staff", "203.0.113.9", "", time.Hour, func(g *hotspot.GrantStatus) { g.AtSite = false }),
		g("main", "g5", "staff", "203.0.113.10", "", time.Hour, func(g *hotspot.GrantStatus) { g.OnSite, g.By, g.Until = true, "nadia", time.Time{} }),
		g("main", "g6", "staff", "203.0.113.11", "", -time.Hour, in(hotspot.GrantInList)),
		g("main", "g7", "staff", "203.0.113.12", "", time.Hour, func(g *hotspot.GrantStatus) { g.EndedAt, g.EndedBy = noon.Add(-time.Minute), "nadia" }),
		g("harbour", "g8", "staff", "203.0.113.13", "", time.Hour, func(g *hotspot.GrantStatus) { g.AtSite = false }),
		g("rival", "g9", "staff", "203.0.113.99", "secret", time.Hour, nil),
	}
}

func (f *fakeCloud) Grants(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, query string, over bool, limit int, after string) (out []hotspot.GrantStatus, next string, err error) {
	if _, err := f.Site(ctx, org, site); err != nil {
		return nil, "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	skipping := after != ""
	for _, g := range f.grants {
		switch {
		case g.Site != site, !over && g.Over(noon), !strings.Contains(g.List+hotspot.FormatListAddress(g.Address)+g.Comment, query):
		case skipping:
			skipping = string(g.ID) != after
		case len(out) == limit:
			return out, string(out[limit-1].ID), nil
		default:
			out = append(out, g)
		}
	}
	return out, "", nil
}

func (f *fakeCloud) CreateGrants(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, grants []hotspot.Grant) (made []hotspot.GrantStatus, err error) {
	if _, err := f.Site(ctx, actor.Organization, site); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	for _, g := range grants {
		f.calls = append(f.calls, fmt.Sprintf("grant %s %s for %s %q by %s", g.List, hotspot.FormatListAddress(g.Address), g.Until.Sub(noon), g.Comment, actor.Role))
		g.ID, g.By = hotspot.GrantID(fmt.Sprintf("new%d", len(f.grants)+len(made))), actor.Email
		made = append(made, hotspot.GrantStatus{Grant: g, Site: site})
	}
	newest := slices.Clone(made)
	slices.Reverse(newest)
	f.grants = append(newest, f.grants...)
	return made, nil
}

func (f *fakeCloud) RemoveGrant(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, grant hotspot.GrantID) error {
	if _, err := f.Site(ctx, actor.Organization, site); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.grants, func(g hotspot.GrantStatus) bool { return g.Site == site && g.ID == grant })
	if i < 0 {
		return gone("grant")
	}
	f.grants[i].EndedAt, f.grants[i].EndedBy = noon, actor.Email
	f.calls = append(f.calls, fmt.Sprintf("remove grant %s by %s", grant, actor.Role))
	return nil
}

func TestGrantsByTheAPI(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	const path = "/api/v1/sites/main/grants"
	for _, tc := range []struct {
		role               hotspot.Role
		method, path, body string
		want               int
		call               string
	}{
		{hotspot.Owner, "POST", path, `{"list":"staff","address":"203.0.113.7/24","for_s":7200,"comment":"why"}`, 201, `grant staff 203.0.113.0/24 for 2h0m0s "why" by owner`},
		{hotspot.Manager, "POST", path, `{"list":"staff","addresses":["203.0.113.7","2001:db8::7"],"until":"2026-11-24T15:02:09Z"}`, 201, `grant staff 203.0.113.7 for 1h0m0s "" by manager;grant staff 2001:db8::7/128 for 1h0m0s "" by manager`},
		{hotspot.Technician, "POST", path, `{"list":"staff","address":"203.0.113.7","for_s":60}`, 201, `grant staff 203.0.113.7 for 1m0s "" by technician`},
		{hotspot.Cashier, "POST", path, `{"list":"staff","address":"203.0.113.7","for_s":60}`, 403, ``},
		{hotspot.Owner, "POST", path, `{"list":"staff","address":"203.0.113.7"}`, 400, ``},
		{hotspot.Owner, "POST", path, `{"list":"staff","address":"203.0.113.7","for_s":60,"until":"2026-11-24T15:02:09Z"}`, 400, ``},
		{hotspot.Owner, "POST", path, `{"list":"a b","address":"203.0.113.7","for_s":60}`, 400, ``},
		{hotspot.Owner, "POST", path, `{"list":"staff","address":"0.0.0.0/0","for_s":60}`, 400, ``},
		{hotspot.Owner, "POST", path, `{"list":"staff","for_s":60}`, 400, ``},
		{hotspot.Owner, "POST", path, `{"list":"staff","address":"203.0.113.7","for_s":60,"colour":"red"}`, 422, ``},
		{hotspot.Owner, "POST", "/api/v1/sites/rival/grants", `{"list":"staff","address":"203.0.113.7","for_s":60}`, 404, ``},
		{hotspot.Owner, "DELETE", path + "/g1", ``, 200, `remove grant g1 by owner`},
		{hotspot.Cashier, "DELETE", path + "/g1", ``, 403, ``},
		{hotspot.Owner, "DELETE", path + "/g9", ``, 404, ``}, // another site's
		{hotspot.Owner, "DELETE", "/api/v1/sites/rival/grants/g9", ``, 404, ``},
		{hotspot.Cashier, "GET", path, ``, 403, ``},
		{hotspot.Owner, "GET", "/api/v1/sites/rival/grants", ``, 404, ``},
	} {
		before := len(f.calls)
		status, body, _ := ask(t, srv, tc.method, tc.path, tc.body, bearer(tc.role, "cafe"))
		if got := strings.Join(f.calls[before:], ";"); status != tc.want || got != tc.call {
			t.Errorf("%s %s %s %s: got %d and did %q, want %d and %q\n%s", tc.role, tc.method, tc.path, tc.body, status, got, tc.want, tc.call, body)
		}
	}
	// Thousands in one request.
	var many []string
	for i := range grantsMost {
		many = append(many, fmt.Sprintf("2001:db8:1111:2222:3333:4444:%x:1", i))
	}
	body, err := json.Marshal(map[string]any{"list": "staff", "addresses": many, "for_s": 60})
	if err != nil {
		t.Fatal(err)
	}
	before := len(f.calls)
	if status, answer, _ := ask(t, srv, http.MethodPost, path, string(body), bearer(hotspot.Owner, "cafe")); status != http.StatusCreated || len(f.calls)-before != grantsMost {
		t.Errorf("%d at once: got %d and %d made, %.200s", grantsMost, status, len(f.calls)-before, answer)
	}
	before = len(f.calls)
	if status, answer, _ := ask(t, srv, http.MethodPost, path, `{"list":"`+strings.Repeat("x", grantsBody)+`"}`, bearer(hotspot.Owner, "cafe")); status != http.StatusRequestEntityTooLarge || len(f.calls) != before {
		t.Errorf("more than fits: got %d, %.200s", status, answer)
	}
	if status, _, _ := ask(t, srv, http.MethodPost, "/sites/main/grants", "list="+strings.Repeat("x", maxBody), cookie(hotspot.Owner)); status != http.StatusBadRequest || len(f.calls) != before {
		t.Errorf("a form of more than fits: got %d", status)
	}
}

func TestEveryStateOfAGrantIsSaid(t *testing.T) {
	srv, _, _, _ := start(t, hotspot.Owner)
	got := map[string]string{}
	for _, site := range []string{"main", "harbour"} {
		status, body, _ := ask(t, srv, http.MethodGet, "/api/v1/sites/"+site+"/grants?ended=true", "", bearer(hotspot.Owner, "cafe"))
		var page list[apiGrant]
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK {
			t.Fatalf("got %d, %v", status, err)
		}
		for _, g := range page.Items {
			got[g.ID] = g.State
		}
	}
	for id, want := range map[string]string{"g1": "in_list", "g2": "foreign", "g3": "served", "g4": "on_its_way", "g5": "waits_for_router", "g6": "expired", "g7": "removed", "g8": "waits_for_site"} {
		if got[id] != want {
			t.Errorf("%s is %q, want %q", id, got[id], want)
		}
	}
	status, body, _ := ask(t, srv, http.MethodGet, "/api/v1/sites/main/grants?limit=2", "", bearer(hotspot.Owner, "cafe"))
	var page list[apiGrant]
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK || len(page.Items) != 2 || page.Next != "g2" {
		t.Errorf("a page of two: got %d, %+v", status, page)
	}
}

func TestWhoMayNotChangeGrantsIsShownNoForm(t *testing.T) {
	for role, want := range map[hotspot.Role]int{hotspot.Owner: 200, hotspot.Technician: 200, hotspot.Cashier: 403} {
		srv, _, _, _ := start(t, role)
		status, body, _ := ask(t, srv, http.MethodGet, "/sites/main/grants", "", cookie(role))
		if status != want || want == 200 && (!strings.Contains(body, "Put in the list") || !strings.Contains(body, "203.0.113.7")) {
			t.Errorf("%s: got %d, want %d", role, status, want)
		}
		_, site, _ := ask(t, srv, http.MethodGet, "/sites/main", "", cookie(role))
		if shown := strings.Contains(site, "/sites/main/grants"); shown != (want == 200) {
			t.Errorf("%s: the way to the lists is shown %v", role, shown)
		}
	}
}

// TestAGrantIsMadeInTheBrowser: somebody makes a slip, reads what is wrong, puts
// the address in the list, and takes it out again.
func TestAGrantIsMadeInTheBrowser(t *testing.T) {
	srv, _, f, cookies := start(t, hotspot.Manager)
	browser := webuitest.Start(t)
	tab := browser.Open(t, srv.URL, cookies)
	tab.Visit(t, "/sites/main/grants")
	do := func(actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(tab.Ctx, actions...); err != nil {
			t.Fatal(err)
		}
	}
	do(chromedp.SendKeys("#list", "staff", chromedp.ByQuery), chromedp.SendKeys("#address", "203.0.113", chromedp.ByQuery),
		chromedp.Submit("#list", chromedp.ByQuery), chromedp.WaitVisible("#address-hint .wrong", chromedp.ByQuery))
	if got := tab.Text(t, "#address-hint .wrong"); !strings.Contains(got, "is not an address or a network") {
		t.Errorf("it says %q", got)
	}
	for _, v := range webuitest.Views {
		tab.Inspect(t, "lists-wrong", v)
	}
	do(chromedp.SetValue("#address", "203.0.113.77, 2001:db8::77", chromedp.ByQuery), chromedp.SetValue("#comment", "The plumber", chromedp.ByQuery),
		chromedp.Submit("#list", chromedp.ByQuery), chromedp.WaitVisible("#remove-new9", chromedp.ByQuery))
	if got := tab.Text(t, "#site-grants tbody tr:first-child"); !strings.Contains(got, "2001:db8::77/128") || !strings.Contains(got, "The plumber") || !strings.Contains(got, "On its way") {
		t.Errorf("the first row says %q", got)
	}
	do(chromedp.Click("#remove-new9", chromedp.ByQuery), chromedp.WaitNotPresent("#remove-new9", chromedp.ByQuery))
	f.mu.Lock()
	defer f.mu.Unlock()
	want := []string{`grant staff 203.0.113.77 for 2h0m0s "The plumber" by manager`, `grant staff 2001:db8::77/128 for 2h0m0s "The plumber" by manager`, "remove grant new9 by manager"}
	if !slices.Equal(f.calls, want) {
		t.Errorf("did %q, want %q", f.calls, want)
	}
}
