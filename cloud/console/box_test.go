package console

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// shows fails for every text that a page lacks, and returns the page.
func shows(t *testing.T, page string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(page, w) {
			t.Errorf("the page lacks %q", w)
		}
	}
}

func TestTheBoxPageWarnsOfCopiesAndGuesses(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	_, page, _ := ask(t, srv, http.MethodGet, "/sites/main/box", "", cookie(hotspot.Owner))
	shows(t, page, "A second copy of this box exists", "CLD-104", "Certificate until", "A code is open until", "4 wrong codes were tried meanwhile", "203.0.113.0/24", "CLD-210", "/sites/main/box/codes/c0de/revoke")
	status, _, header := ask(t, srv, http.MethodPost, "/sites/main/box/codes/c0de/revoke", "", cookie(hotspot.Owner))
	if status != http.StatusSeeOther || header.Get("Location") != "/sites/main/box" || len(f.calls) != 1 || f.calls[0] != "revoke code c0de" {
		t.Errorf("got %d to %q and calls %q, want the code revoked", status, header.Get("Location"), f.calls)
	}
	_, page, _ = ask(t, srv, http.MethodGet, "/sites/main/box", "", cookie(hotspot.Owner))
	if strings.Contains(page, "A code is open until") {
		t.Error("a revoked code is still shown")
	}
	srv, _, _, _ = start(t, hotspot.Manager) // sees boxes, and may not run them
	if _, page, _ = ask(t, srv, http.MethodGet, "/sites/main/box", "", cookie(hotspot.Manager)); strings.Contains(page, "codes/c0de") || !strings.Contains(page, "CLD-104") {
		t.Error("a manager is offered to revoke, or not warned")
	}
}

func TestAnOutageToldAnotherWayIsShownWhileItLasts(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	look := func() (page, api string) {
		t.Helper()
		_, page, _ = ask(t, srv, http.MethodGet, "/sites/harbour", "", cookie(hotspot.Owner))
		_, api, _ = ask(t, srv, http.MethodGet, "/api/v1/sites/harbour", "", bearer(hotspot.Owner, "cafe"))
		return page, api
	}
	page, api := look()
	shows(t, page, "The box is there, but its connection to the broker fails", "i/o timeout", "4 min ago", "CLD-101", "port out", "A second copy of this box exists")
	shows(t, api, `"outage":{`, `"code":"CLD-101"`, `"age_s":240`, `"copy_heard_at":"2026-11-24T11:02:09Z"`)
	f.mu.Lock()
	f.sites[1].Presence = hotspot.Online
	f.mu.Unlock()
	page, api = look()
	if strings.Contains(page, "its connection to the broker fails") || strings.Contains(api, `"outage"`) {
		t.Error("a site that speaks MQTT is said not to")
	}
}

// TestACodeOnAnOpenPageEnds: whoever walked to the box with the page open sees that
// the code expired, or that a box has used it, and not the code.
func TestACodeOnAnOpenPageEnds(t *testing.T) {
	for name, c := range map[string]struct {
		then func(*fakeCloud)
		says string
	}{
		"expired": {func(f *fakeCloud) { f.later, f.codes = time.Hour+time.Second, nil }, "has expired without being used"},
		"used":    {func(f *fakeCloud) { f.codes = nil }, "a box has used it"},
	} {
		srv, _, f, _ := start(t, hotspot.Owner)
		status, _, header := ask(t, srv, http.MethodPost, "/sites/main/box/codes", "", cookie(hotspot.Owner))
		if status != http.StatusSeeOther {
			t.Fatalf("got %d for a new code", status)
		}
		kept, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
		with := map[string]string{"Cookie": cookie(hotspot.Owner)["Cookie"] + "; " + kept}
		_, page, _ := ask(t, srv, http.MethodGet, "/sites/main/box", "", with)
		shows(t, page, "W4HK-72PM", "It works once, for 1 h more", "/sites/main/box/live")
		f.mu.Lock()
		c.then(f)
		f.mu.Unlock()
		_, page, _ = ask(t, srv, http.MethodGet, "/sites/main/box", "", with)
		shows(t, page, c.says, "Make a code")
		if strings.Contains(page, "W4HK-72PM") {
			t.Errorf("%s: the page still shows the code", name)
		}
	}
}

func TestABoxThatIsBehindIsSaid(t *testing.T) {
	srv, s, _, _ := start(t, hotspot.Owner)
	_, page, _ := ask(t, srv, http.MethodGet, "/sites/main/box", "", cookie(hotspot.Owner))
	if shows(t, page, "apt install --only-upgrade iwas-agent"); strings.Count(page, "1.3.0 is available") != 2 {
		t.Errorf("%d boxes are behind, want the two that are not retired", strings.Count(page, "1.3.0 is available"))
	}
	for _, ours := range []string{"v1.2.0", "v1.1.9", "dev", ""} {
		s.Version = ours
		if _, page, _ := ask(t, srv, http.MethodGet, "/sites/main/box", "", cookie(hotspot.Owner)); strings.Contains(page, "is available") {
			t.Errorf("a cloud of version %q calls boxes of 1.2.0 behind", ours)
		}
	}
}
