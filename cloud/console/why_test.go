package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/whynot"
)

// WhyNot knows each guest by name, and of one a wrong password, of another nothing.
func (f *fakeCloud) WhyNot(_ context.Context, org hotspot.OrganizationID, site hotspot.SiteID, asked string) (whynot.Facts, *hotspot.Guest, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	facts := whynot.Facts{Asked: asked, Now: noon}
	phone := hotspot.MAC{0x02, 0xab, 0xcd, 1, 2, 3}
	switch asked {
	case "K7QM-PDXW":
		facts.Failed = []hotspot.Reject{{NAS: "counter", Username: asked, MAC: phone, Reason: hotspot.ReasonBadPassword, Detail: "the password does not match", Times: 3, At: noon.Add(-9 * time.Minute), Until: noon.Add(-2 * time.Minute)}}
	case "zebra":
		facts.Similar = []string{"K7QM-PDXW"}
	case "ab:cd:01":
		facts.ByDevice, facts.Failed = true, []hotspot.Reject{{NAS: "counter", Username: "hunter2", MAC: phone, Reason: hotspot.ReasonUnknown, Detail: "no account of that name", Times: 412, At: noon.Add(-time.Minute), Until: noon},
			{Source: netip.MustParseAddr("192.0.2.7"), Username: "hunter2", MAC: phone, Reason: hotspot.ReasonUnknownNAS, Detail: "no router with this address is configured here", Silent: true, At: noon.Add(-time.Hour)}}
		return facts, nil, nil
	}
	for _, g := range f.guests {
		if g.Site == site && g.Account.Username == asked {
			return facts, &g, nil
		}
	}
	return facts, nil, nil
}

func pageOf(t *testing.T, srv *httptest.Server, path string, cookies map[string]string) (int, string) {
	t.Helper()
	status, body, _ := ask(t, srv, http.MethodGet, path, "", map[string]string{"Cookie": cookieHeader(cookies)})
	return status, body
}

// said is what stands in a page, short of its frame.
func said(body string) string {
	_, body, _ = strings.Cut(body, "<main")
	body, _, _ = strings.Cut(body, "</main>")
	return regexp.MustCompile(`(<[^>]*>|\s)+`).ReplaceAllString(body, " ")
}

func TestWhySomebodyCannotLogIn(t *testing.T) {
	srv, _, _, _ := start(t, hotspot.Owner)
	const path = "/api/v1/sites/main/why?q="
	for _, tc := range []struct {
		role     hotspot.Role
		path     string
		want     int
		has, not string
	}{
		{hotspot.Owner, path + "sam", 200, `"verdict":"cannot","can_log_in":false,"why":"sam is locked, since`, ""},
		{hotspot.Cashier, path + "K7QM-PDXW", 200, `"why":"K7QM-PDXW: another password than the code 3 times, last at 15:00."`, ""},
		{hotspot.Cashier, path + "K7QM-PDXW", 200, `"times":3,"flood":false,"username":"K7QM-PDXW","mac":"02:AB:CD:··:··:··","nas":"counter","reason":"bad_password"`, "CD:01"},
		{hotspot.Manager, path + "mara", 200, `"verdict":"online","can_log_in":false,"why":"mara is logged in right now`, ""},
		{hotspot.Owner, path + "zebra", 200, `"next":"The closest: K7QM-PDXW."`, ""},
		{hotspot.Technician, path + "zebra", 200, `"verdict":"unknown"`, "K7QM"},
		{hotspot.Technician, path + "ab:cd:01", 200, `"flood":true`, "hunter2"},
		{hotspot.Owner, path + "ab:cd:01", 200, `"source":"192.0.2.7"`, ""},
		{hotspot.Owner, "/api/v1/sites/harbour/why?q=rafa", 200, "The site is not connected", ""},
		{hotspot.Owner, "/api/v1/sites/fresh/why?q=rafa", 200, "has never been connected", ""},
		{hotspot.Owner, "/api/v1/sites/rival/why?q=secret-guest", 404, "", "logged"},
		{hotspot.Owner, "/api/v1/sites/main/why", 422, "", ""},
		{hotspot.Owner, path + strings.Repeat("x", 254), 422, "", ""},
	} {
		status, body, _ := ask(t, srv, http.MethodGet, tc.path, "", bearer(tc.role, "cafe"))
		if status != tc.want || !strings.Contains(body, tc.has) || tc.not != "" && strings.Contains(body, tc.not) {
			t.Errorf("%s %s: got %d %s\nwant %d with %q and without %q", tc.role, tc.path, status, body, tc.want, tc.has, tc.not)
		}
	}
}

// TestTheSameAnswerOnThePages: the question of a site, and the guest's own page.
func TestTheSameAnswerOnThePages(t *testing.T) {
	srv, _, f, cookies := start(t, hotspot.Owner)
	for path, want := range map[string]string{
		"/sites/main/why": "Ask by a guest", "/sites/main/why?q=sam": "sam is locked, since", "/sites/main/why?q=zebra": "The closest: K7QM-PDXW.", "/sites/main/why?q=ab%3Acd%3A01": "That device tried hunter2 (412 times, a flood",
		"/guests/enforced": "sam is locked, since", "/guests/code": "K7QM-PDXW: another password than the code 3 times", "/sites/main": "/sites/main/why",
	} {
		status, body := pageOf(t, srv, path, cookies)
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d, want %q in %q", path, status, want, said(body))
		}
	}
	if status, _ := pageOf(t, srv, "/sites/rival/why?q=secret-guest", cookies); status != 404 {
		t.Errorf("another's site: %d, want 404", status)
	}
	// Whoever pauses is not blamed: nowhere on the page does it read locked.
	f.mu.Lock()
	f.guests[2].Lock.Lock.Pause = true
	f.mu.Unlock()
	_, body := pageOf(t, srv, "/guests/enforced", cookies)
	if !strings.Contains(body, "sam is paused, since") || strings.Contains(body, "sam is locked") || !strings.Contains(body, "Paused") || strings.Contains(body, ">Locked") {
		t.Errorf("a paused guest's page says %q", said(body))
	}
	technician := map[string]string{"iwas_session": "session-of-technician"}
	if _, err := f.CreateOperatorSession(t.Context(), operator(hotspot.Technician, "cafe").ID, tokenHash("session-of-technician"), noon); err != nil {
		t.Fatal(err)
	}
	_, body = pageOf(t, srv, "/guests/enforced", technician)
	if strings.Contains(body, "sam is") {
		t.Errorf("a technician reads a guest's name: %q", said(body))
	}
}
