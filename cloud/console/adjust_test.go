package console

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"iwas/internal/hotspot"
)

func TestSpeedAndTimeByTheAPI(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	for _, tc := range []struct {
		role       hotspot.Role
		path, body string
		want       int
		call       string
	}{
		{hotspot.Owner, "speed", `{"rate":"5M/20M"}`, http.StatusOK, "speed mara 5M/20M by owner"},
		{hotspot.Manager, "speed", `{"rate":""}`, http.StatusOK, "speed mara  by manager"},
		{hotspot.Cashier, "speed", `{"rate":"5M/20M"}`, http.StatusForbidden, ""},
		{hotspot.Owner, "speed", `{"rate":"fast"}`, http.StatusBadRequest, ""},
		{hotspot.Owner, "extend", `{"seconds":1800}`, http.StatusOK, `extend mara 30m0s "" by owner`},
		{hotspot.Cashier, "extend", `{"seconds":1800,"reason":"waited"}`, http.StatusOK, `extend mara 30m0s "waited" by cashier`},
		{hotspot.Cashier, "extend", `{"seconds":1800}`, http.StatusBadRequest, ""},
		{hotspot.Technician, "extend", `{"seconds":1800,"reason":"x"}`, http.StatusForbidden, ""},
		{hotspot.Owner, "extend", `{"seconds":1}`, http.StatusUnprocessableEntity, ""},
	} {
		before := len(f.calls)
		status, body, _ := ask(t, srv, http.MethodPost, "/api/v1/accounts/mara/"+tc.path, tc.body, bearer(tc.role, "cafe"))
		if status != tc.want {
			t.Errorf("%s %s %s: got %d, want %d\n%s", tc.role, tc.path, tc.body, status, tc.want, body)
		}
		if got := strings.Join(f.calls[before:], ";"); got != tc.call {
			t.Errorf("%s %s %s: did %q, want %q", tc.role, tc.path, tc.body, got, tc.call)
		}
		if status == http.StatusOK && !strings.Contains(body, `"at_site":false`) {
			t.Errorf("%s: the answer claims that the site has it: %s", tc.path, body)
		}
	}
	// A repeat with the same key gives the time once.
	before := len(f.calls)
	header := maps.Clone(bearer(hotspot.Owner, "cafe"))
	header["Idempotency-Key"] = "k1"
	for range 2 {
		if status, body, _ := ask(t, srv, http.MethodPost, "/api/v1/accounts/mara/extend", `{"seconds":600}`, header); status != http.StatusOK {
			t.Errorf("with a key: got %d %s", status, body)
		}
	}
	if len(f.calls) != before+1 {
		t.Errorf("a repeat gave the time again: %q", f.calls[before:])
	}
}

func TestSpeedAndTimeByThePage(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Cashier)
	status, page, _ := ask(t, srv, http.MethodGet, "/guests/mara", "", cookie(hotspot.Cashier))
	if status != http.StatusOK || !strings.Contains(page, "extend-button") || strings.Contains(page, "speed-button") {
		t.Errorf("a cashier's page: %d, time %v, speed %v; want time only", status, strings.Contains(page, "extend-button"), strings.Contains(page, "speed-button"))
	}
	if status, _, header := ask(t, srv, http.MethodPost, "/guests/mara/extend", "minutes=30&reason=waited", cookie(hotspot.Cashier)); status != http.StatusSeeOther || header.Get("Location") != "/guests/mara" {
		t.Errorf("got %d to %q, want the guest's page", status, header.Get("Location"))
	}
	if status, page, _ := ask(t, srv, http.MethodPost, "/guests/mara/extend", "minutes=soon&reason=waited", cookie(hotspot.Cashier)); status != http.StatusBadRequest || !strings.Contains(page, "No time given") {
		t.Errorf("no number: got %d, want the page with what did not happen", status)
	}
	if !slices.Contains(f.calls, `extend mara 30m0s "waited" by cashier`) {
		t.Errorf("calls %q, want the extension", f.calls)
	}
}

func TestSpeedIsSaidAsItIsKnown(t *testing.T) {
	slow, fast := rate(2, 10), rate(5, 20)
	changed := func(want hotspot.RateLimit, o hotspot.ChangeOutcome, code string) *hotspot.Changed {
		return &hotspot.Changed{Want: hotspot.Terms{Rate: want}, Outcome: o, Code: code}
	}
	for name, tc := range map[string]struct {
		session hotspot.Session
		guest   hotspot.Guest
		note    string
	}{
		"not reported":          {session: hotspot.Session{}, note: ""},
		"as logged in":          {session: hotspot.Session{Rate: &fast}, note: "since the login"},
		"read back":             {session: hotspot.Session{Rate: &fast, Changed: changed(fast, hotspot.ChangeApplied, "")}, note: "the router shows it"},
		"not read back":         {session: hotspot.Session{Rate: &fast, Changed: changed(fast, hotspot.ChangeAcknowledged, "")}, note: "not read back"},
		"on its way":            {session: hotspot.Session{Rate: &slow}, guest: hotspot.Guest{PassRevision: 2, Applied: 1}, note: "has not confirmed"},
		"no word yet":           {session: hotspot.Session{Rate: &slow}, note: "not reported yet"},
		"the router does not":   {session: hotspot.Session{Rate: &slow, Changed: changed(fast, hotspot.ChangeNextLogin, "HSP-207")}, note: "from the next login (HSP-207)"},
		"tried again":           {session: hotspot.Session{Rate: &slow, Changed: changed(fast, hotspot.ChangePending, "RAD-104")}, note: "keep trying (RAD-104)"},
		"for this session only": {session: hotspot.Session{Rate: &slow, Changed: changed(slow, hotspot.ChangeApplied, "")}, note: "set on site"},
	} {
		tc.guest.Pass = &hotspot.Pass{Limits: hotspot.Limits{Rate: fast}}
		if _, note := speedWords(tc.guest, tc.session); !strings.Contains(note, tc.note) || tc.note == "" && note != "" {
			t.Errorf("%s: got %q, want %q", name, note, tc.note)
		}
	}
}
