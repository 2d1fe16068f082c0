package console

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"iwas/internal/hotspot"
	"iwas/internal/webui/webuitest"
)

const privateMAC, plainMAC = "02:AB:CD:12:34:56", "AC:DE:48:00:11:22"

func TestDevicesByTheAPI(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	path := func(account, mac, what string) string {
		return "/api/v1/accounts/" + account + "/devices/" + mac + "/" + what
	}
	for _, tc := range []struct {
		role       hotspot.Role
		path, body string
		want       int
		call       string
	}{
		{hotspot.Owner, path("mara", privateMAC, "lock"), `{"reason":"Misuse"}`, http.StatusOK, `lock device ` + privateMAC + ` of mara "Misuse" by owner`},
		{hotspot.Manager, path("mara", "ac-de-48-00-11-22", "lock"), ``, http.StatusOK, `lock device ` + plainMAC + ` of mara "" by manager`},
		{hotspot.Cashier, path("mara", plainMAC, "lock"), ``, http.StatusBadRequest, ``},
		{hotspot.Cashier, path("mara", plainMAC, "lock"), `{"reason":"Not paid"}`, http.StatusOK, `lock device ` + plainMAC + ` of mara "Not paid" by cashier`},
		{hotspot.Cashier, path("sent", "AC:DE:48:00:11:23", "lock"), ``, http.StatusOK, `lock device AC:DE:48:00:11:23 of sent "Not paid" by cashier`}, // the account's reason
		{hotspot.Owner, path("sent", "AC:DE:48:00:11:23", "lock"), `{"reason":"Lost"}`, http.StatusOK, `lock device AC:DE:48:00:11:23 of sent "Lost" by owner`},
		{hotspot.Technician, path("mara", plainMAC, "lock"), `{"reason":"x"}`, http.StatusForbidden, ``},
		{hotspot.Owner, path("mara", "AC:DE:48:00:99:01", "lock"), ``, http.StatusNotFound, ``}, // another guest's
		{hotspot.Owner, path("mara", "phone", "lock"), ``, http.StatusBadRequest, ``},
		{hotspot.Owner, path("theirs", plainMAC, "lock"), ``, http.StatusNotFound, ``},
		{hotspot.Owner, path("mara", plainMAC, "lock"), `{"reason":"x","colour":"red"}`, http.StatusUnprocessableEntity, ``},
		{hotspot.Owner, path("mara", plainMAC, "unlock"), `{"reason":"found"}`, http.StatusOK, `unlock device` + plainMAC + ` "found" by owner`},
		{hotspot.Cashier, path("mara", plainMAC, "unlock"), ``, http.StatusBadRequest, ``},
		{hotspot.Technician, path("mara", plainMAC, "unlock"), ``, http.StatusForbidden, ``},
		{hotspot.Owner, path("mara", "AC:DE:48:00:99:01", "unlock"), ``, http.StatusNotFound, ``},
		{hotspot.Owner, "/api/v1/accounts/code/devices/" + plainMAC + "/unlock", ``, http.StatusNotFound, ``},
		{hotspot.Owner, "/api/v1/accounts/mara/lock", `{"reason":"all","devices":true}`, http.StatusOK,
			`lock mara "all" by owner;lock device ` + privateMAC + ` of mara "all" by owner;lock device ` + plainMAC + ` of mara "all" by owner`},
		{hotspot.Owner, "/api/v1/accounts/mara/lock", `{"reason":"one"}`, http.StatusOK, `lock mara "one" by owner`},
		{hotspot.Owner, "/api/v1/accounts/tv/lock", `{"devices":true}`, http.StatusOK, `lock tv "" by owner`}, // it is the device
	} {
		before := len(f.calls)
		status, body, _ := ask(t, srv, http.MethodPost, tc.path, tc.body, bearer(tc.role, "cafe"))
		if status != tc.want {
			t.Errorf("%s %s %s: got %d, want %d\n%s", tc.role, tc.path, tc.body, status, tc.want, body)
		}
		if got := strings.Join(f.calls[before:], ";"); got != tc.call {
			t.Errorf("%s %s %s: did %q, want %q", tc.role, tc.path, tc.body, got, tc.call)
		}
		if status == http.StatusNotFound && strings.Contains(tc.path, "mara") && !strings.Contains(body, "device") {
			t.Errorf("%s: the answer does not say that it is the device: %s", tc.path, body)
		}
	}
}

// TestTheAnswerIsTheDevicesOwnAccount: with its lock, and without a pass.
func TestTheAnswerIsTheDevicesOwnAccount(t *testing.T) {
	srv, _, _, _ := start(t, hotspot.Owner)
	_, body, _ := ask(t, srv, http.MethodPost, "/api/v1/accounts/mara/devices/"+plainMAC+"/lock", `{"reason":"Misuse"}`, bearer(hotspot.Owner, "cafe"))
	var own apiAccount
	if err := json.Unmarshal([]byte(body), &own); err != nil || own.Kind != "device" || own.Username != plainMAC || own.Pass != nil || !own.Lock.Locked || own.Lock.State != "sent" ||
		own.Lock.Reason != "Misuse" || len(own.Lock.Steps) == 0 {
		t.Errorf("got %s (%v), want the account that is the device, locked, without a pass", body, err)
	}
	devices := func(role hotspot.Role) []apiDevice {
		t.Helper()
		status, body, _ := ask(t, srv, http.MethodGet, "/api/v1/accounts/mara/devices", "", bearer(role, "cafe"))
		var out list[apiDevice]
		if err := json.Unmarshal([]byte(body), &out); err != nil || status != http.StatusOK || len(out.Items) != 2 {
			t.Fatalf("%s: got %d %s, %v; want two devices", role, status, body, err)
		}
		return out.Items
	}
	got := devices(hotspot.Owner)
	if got[0].MAC != privateMAC || !got[0].PrivateMAC || got[0].Lock.Locked || got[0].Account != "" || !got[0].Online || got[0].SeenAt == nil ||
		got[1].MAC != plainMAC || got[1].PrivateMAC || !got[1].Lock.Locked || got[1].Account != own.ID {
		t.Errorf("devices %+v, want the second one locked", got)
	}
	for _, d := range devices(hotspot.Technician) {
		if !strings.Contains(d.MAC, "··") {
			t.Errorf("a technician reads %s, want it masked", d.MAC)
		}
	}
}

func TestDevicesOnTheGuestsPage(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	page := func(role hotspot.Role, account string) string {
		t.Helper()
		token := "session-of-" + string(role)
		if _, err := f.CreateOperatorSession(t.Context(), operator(role, "cafe").ID, tokenHash(token), noon); err != nil {
			t.Fatal(err)
		}
		status, body, _ := ask(t, srv, http.MethodGet, "/guests/"+account, "", cookie(role))
		if status != http.StatusOK {
			t.Fatalf("%s reads %s: got %d", role, account, status)
		}
		return body
	}
	for _, tc := range []struct {
		role    hotspot.Role
		account string
		want    []string
		not     []string
	}{
		{hotspot.Owner, "mara", []string{"Devices seen with this guest", privateMAC + "/lock", "Lock this device</button>", "lock-devices", "changing address is another device"}, []string{"Lock this device too", "name=\"reason\" maxlength=\"200\" autocomplete=\"off\" required"}},
		{hotspot.Owner, "sent", []string{"Lock this device too", "lock the device too if you mean the phone"}, []string{"lock-devices"}},
		{hotspot.Owner, "code", nil, []string{"Devices seen", "lock-devices", "Lock this device"}},
		{hotspot.Owner, "tv", nil, []string{"Devices seen", "Lock this device"}},
		{hotspot.Cashier, "mara", []string{"why-" + plainMAC}, nil},                              // there is no reason to take over
		{hotspot.Cashier, "sent", []string{"Lock this device too"}, []string{"why-AC"}},          // there is one
		{hotspot.Technician, "mara", []string{"AC:DE:48:··:··:··"}, []string{plainMAC, "/lock"}}, // masked, and no right
	} {
		body := page(tc.role, tc.account)
		for _, text := range tc.want {
			if !strings.Contains(body, text) {
				t.Errorf("%s on %s: the page lacks %q", tc.role, tc.account, text)
			}
		}
		for _, text := range tc.not {
			if strings.Contains(body, text) {
				t.Errorf("%s on %s: the page has %q", tc.role, tc.account, text)
			}
		}
	}
	post := func(role hotspot.Role, path, form string, want int) string {
		t.Helper()
		status, body, header := ask(t, srv, http.MethodPost, path, form, cookie(role))
		if status != want || want == http.StatusSeeOther && header.Get("Location") != strings.Join(strings.Split(path, "/")[:3], "/") {
			t.Errorf("%s %s: got %d to %q, want %d and the guest's page", path, form, status, header.Get("Location"), want)
		}
		return body
	}
	post(hotspot.Owner, "/guests/sent/devices/AC:DE:48:00:11:23/lock", "", http.StatusSeeOther)
	if body := page(hotspot.Owner, "sent"); !strings.Contains(body, "Unlock this device") || !strings.Contains(body, "Steps</a>") || strings.Contains(body, "Lock this device") {
		t.Error("the page does not show that the device is locked")
	}
	if body := page(hotspot.Owner, "deviceAC:DE:48:00:11:23"); !strings.Contains(body, "whatever voucher it logs in with") {
		t.Error("the device's own page does not say what its lock means")
	}
	if body := post(hotspot.Cashier, "/guests/sent/devices/AC:DE:48:00:11:23/unlock", "", http.StatusBadRequest); !strings.Contains(body, "Device not unlocked") {
		t.Error("a cashier who gives no reason is not told what did not happen")
	}
	post(hotspot.Owner, "/guests/sent/devices/AC:DE:48:00:11:23/unlock", "reason=found", http.StatusSeeOther)
	post(hotspot.Owner, "/guests/sent/devices/AC:DE:48:00:11:22/lock", "", http.StatusNotFound)
	post(hotspot.Owner, "/guests/mara/lock", "preset=Misuse&devices=on", http.StatusSeeOther)
	want := []string{`lock device AC:DE:48:00:11:23 of sent "Not paid" by owner`, `unlock deviceAC:DE:48:00:11:23 "found" by owner`,
		`lock mara "Misuse" by owner`, `lock device ` + privateMAC + ` of mara "Misuse" by owner`, `lock device ` + plainMAC + ` of mara "Misuse" by owner`}
	if !slices.Equal(f.calls, want) {
		t.Errorf("the fleet was asked for %q, want %q", f.calls, want)
	}
}

// TestTheDeviceIsLockedInTheBrowser presses the buttons as a person does: after
// the account's lock the page offers the device, shows it locked, and unlocks it.
func TestTheDeviceIsLockedInTheBrowser(t *testing.T) {
	srv, s, f, cookies := start(t, hotspot.Owner)
	m, _ := hotspot.ParseMAC(plainMAC)
	random, _ := hotspot.ParseMAC(privateMAC)
	f.past = map[hotspot.AccountID][]hotspot.Session{"enforced": {
		{MAC: m, HeardAt: noon.Add(-3 * time.Minute), State: hotspot.Closed}, {MAC: random, HeardAt: noon.Add(-50 * time.Hour), State: hotspot.Closed}}}
	tab := webuitest.Start(t).Open(t, srv.URL, cookies)
	// visit returns once the live page has put its first parts in place.
	visit := func(path string) {
		t.Helper()
		tab.Visit(t, path)
		tab.Do(t, "wait for the first parts", chromedp.Evaluate(`new Promise(done => {
			const seen = new MutationObserver(() => { seen.disconnect(); setTimeout(done, 100); });
			seen.observe(document.body, {childList: true, subtree: true});
			setTimeout(done, 2000); // they were there before
		})`, nil, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	}
	look := func(name string) {
		t.Helper()
		for _, v := range webuitest.Views {
			tab.Inspect(t, name, v)
		}
		tab.Set(t, webuitest.Views[0])
	}
	visit("/guests/enforced")
	if got := tab.Text(t, "#guest-private"); !strings.Contains(got, "lock the device too if you mean the phone") || !strings.Contains(got, "seen 3 min ago") || !strings.Contains(got, "changing address") {
		t.Errorf("the page says %q, want the offer, when each was seen, and what a changing address means", got)
	}
	look("devices-offered")
	lock := `#guest-devices form[action$="` + plainMAC + `/lock"] button`
	unlock := `#guest-devices form[action$="` + plainMAC + `/unlock"] button`
	tab.Do(t, "lock the device", chromedp.Click(lock), chromedp.WaitVisible(unlock))
	visit("/guests/enforced")
	if got := tab.Text(t, "#guest-devices li"); !strings.Contains(got, "Locking…") || !strings.Contains(got, "Not paid") {
		t.Errorf("the device's row says %q, want that it is on its way, and why", got)
	}
	// The site proves it: the open page shows that by itself.
	f.mu.Lock()
	for i := range f.guests {
		if f.guests[i].Account.Username == plainMAC {
			f.guests[i].Lock = lockAt(hotspot.LockEnforced)
		}
	}
	f.mu.Unlock()
	s.NotifySite("main")
	tab.Do(t, "see the proof", chromedp.WaitVisible(`//*[@id="guest-devices"]//li[1]//*[contains(@class,"badge")][normalize-space()="Locked"]`, chromedp.BySearch))
	look("devices-locked")
	tab.Do(t, "unlock the device", chromedp.Click(unlock), chromedp.WaitVisible(lock))
	if want := []string{`lock device ` + plainMAC + ` of enforced "Not paid" by owner`, `unlock device` + plainMAC + ` "" by owner`}; !slices.Equal(f.calls, want) {
		t.Errorf("the fleet was asked for %q, want %q", f.calls, want)
	}
	visit("/guests/mara")
	tab.Do(t, "lock all", chromedp.Click("#lock-devices"), chromedp.Click("#preset-1"))
	look("devices-with-the-lock")
	tab.Do(t, "lock", chromedp.Click("#lock-button"), chromedp.WaitVisible(`#guest-devices form[action$="`+privateMAC+`/unlock"]`), chromedp.WaitVisible(`#guest-devices form[action$="`+plainMAC+`/unlock"]`))
}
