package console

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
	"iwas/internal/webui/webuitest"
)

func TestThePlanForm(t *testing.T) {
	base := map[string]string{"name": "Hour", "price": "2.50", "currency": "EUR", "time": "1", "unit": "h", "clock": "continuous", "devices": "1", "swap": "refuse"}
	for name, tc := range map[string]struct {
		form  map[string]string
		wrong string // the fields, in order
		check func(hotspot.Plan) bool
	}{
		"as before":              {nil, "", func(p hotspot.Plan) bool { return p.Time == time.Hour && p.Hours == nil && p.SlowRate.IsZero() }},
		"days and times":         {map[string]string{"mon": "on", "tue": "on", "from": "08:00", "until": "16:00"}, "", hours("mon,tue 08:00-16:00")},
		"times on every day":     {map[string]string{"from": "22:00", "until": "02:00"}, "", hours("mon-sun 22:00-02:00")},
		"whole days":             {map[string]string{"sat": "on", "sun": "on"}, "", hours("sat,sun 00:00-24:00")},
		"until midnight":         {map[string]string{"from": "18:00", "until": "00:00"}, "", hours("mon-sun 18:00-24:00")},
		"one time only":          {map[string]string{"from": "08:00"}, "hours", nil},
		"no length":              {map[string]string{"from": "08:00", "until": "08:00"}, "hours", nil},
		"no time of day":         {map[string]string{"from": "8", "until": "later"}, "hours", nil},
		"moves":                  {map[string]string{"swap": "move"}, "", func(p hotspot.Plan) bool { return p.Swap == hotspot.SwapMove }},
		"stays online":           {nil, "", func(p hotspot.Plan) bool { return !p.Reconnect }},
		"logged out for changes": {map[string]string{"reconnect": "on"}, "", func(p hotspot.Plan) bool { return p.Reconnect }},
		"another swap":           {map[string]string{"swap": "share"}, "device_swap", nil},
		"slower after the data":  {map[string]string{"gigabytes": "5", "slow_up": "0,25", "slow_down": "0.5"}, "", func(p hotspot.Plan) bool { return p.SlowRate.String() == "250k/500k" && p.Total == 5e9 }},
		"slower, but no data":    {map[string]string{"slow_up": "1", "slow_down": "1"}, "slow_rate", nil},
		"slower in one way only": {map[string]string{"gigabytes": "5", "slow_down": "1"}, "slow_rate", nil},
		"slower is faster":       {map[string]string{"gigabytes": "5", "up": "1", "down": "1", "slow_up": "2", "slow_down": "1"}, "slow_rate", nil},
		"slower is no number":    {map[string]string{"gigabytes": "5", "slow_up": "slow", "slow_down": "1"}, "slow_rate slow_up", nil},
		"bursts": {map[string]string{"rate": "2M/10M 4M/20M 1M/5M 10/10 5 512k/1M"}, "",
			func(p hotspot.Plan) bool { return p.Rate.String() == "2M/10M 4M/20M 1M/5M 10/10 5 512k/1M" }},
		"bursts below the speed":    {map[string]string{"rate": "2M/10M 1M/20M"}, "rate", nil},
		"a threshold never reached": {map[string]string{"rate": "2M/10M 4M/20M 5M/5M"}, "rate", nil},
		"a least above the most":    {map[string]string{"rate": "2M/10M 4M/20M 1M/5M 10/10 8 3M/1M"}, "rate", nil},
		"a ninth priority":          {map[string]string{"rate": "2M/10M 4M/20M 1M/5M 10/10 9"}, "rate", nil},
		"no speed at all":           {map[string]string{"rate": "fast"}, "rate", nil},
		"the speed twice":           {map[string]string{"rate": "2M/10M", "up": "2", "down": "10"}, "rate", nil},
		"idle and lists": {map[string]string{"idle": "15", "lists": "paid, vip-1"}, "",
			func(p hotspot.Plan) bool {
				return p.IdleTimeout == 15*time.Minute && slices.Equal(p.AddressLists, []string{"paid", "vip-1"})
			}},
		"a list with a bad name": {map[string]string{"lists": "paid;drop"}, "address_lists", nil},
		"nine lists":             {map[string]string{"lists": "a b c d e f g h i"}, "address_lists", nil},
		"idle below nothing":     {map[string]string{"idle": "-5"}, "idle", nil},
	} {
		form := maps.Clone(base)
		maps.Copy(form, tc.form)
		p, wrong := planOfForm(form)
		if got := strings.Join(sortedKeys(wrong), " "); got != tc.wrong {
			t.Errorf("%s: wrong with %q (%v), want %q", name, got, wrong, tc.wrong)
		}
		if tc.check != nil && !tc.check(p) {
			t.Errorf("%s: got %+v", name, p)
		}
	}
}

func hours(want string) func(hotspot.Plan) bool {
	return func(p hotspot.Plan) bool { return slices.Equal(p.Hours.Strings(), []string{want}) }
}

func TestThePlanInWords(t *testing.T) {
	_, _, f, _ := start(t, hotspot.Owner)
	want := []string{"No time limit", "Upload 2 Mbit/s, download 10 Mbit/s", "Bursts of 4 Mbit/s up, 20 Mbit/s down", "Only Mon-Fri 08:00-16:00", "Only Sat,Sun 22:00-02:00",
		"20.0 GB of data", "Then upload 1 Mbit/s, download 1 Mbit/s", "3 devices at once", "A new device takes the place of the oldest", "Logged out after 10 min without use", "Address-lists staff, printers"}
	if got := limitWords(f.plans[2].Limits); !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// post sends JSON to the API as the operator of the cookies.
func post(t *testing.T, url string, cookies map[string]string, body string) (int, string, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for name, value := range cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	detail, _ := out["detail"].(string)
	for _, e := range asList(out["errors"]) {
		detail += "; " + e.(map[string]any)["message"].(string)
	}
	return res.StatusCode, detail, out
}

func asList(v any) []any { l, _ := v.([]any); return l }

func TestThePlanOverTheAPI(t *testing.T) {
	srv, _, f, cookies := start(t, hotspot.Owner)
	const limits = `{"time_s":3600,"clock":"metered","total":5000000000,"rate":"2M/10M 4M/20M","slow_rate":"256k/512k","device_swap":"move","hours":["mon-fri 08:00-16:00","sat,sun 22:00-02:00"],"idle_timeout_s":600,"address_lists":["paid"]}`
	status, detail, made := post(t, srv.URL+"/api/v1/plans", cookies, `{"name":"Evenings","limits":`+limits+`}`)
	if status != http.StatusCreated {
		t.Fatalf("got %d, %s", status, detail)
	}
	got := made["limits"].(map[string]any)
	var want map[string]any
	if err := json.Unmarshal([]byte(limits), &want); err != nil {
		t.Fatal(err)
	}
	for field, value := range want {
		if !reflect.DeepEqual(got[field], value) {
			t.Errorf("%s: got %v, want %v", field, got[field], value)
		}
	}
	p := f.plans[len(f.plans)-1]
	if p.Swap != hotspot.SwapMove || p.SlowRate.String() != "256k/512k" || len(p.Hours) != 2 {
		t.Errorf("stored %+v", p)
	}
	for limits, want := range map[string]string{
		`{"hours":["weekdays"]}`:                    "mon-fri 08:00-16:00",
		`{"hours":["mon 08:00-08:00"]}`:             "no length",
		`{"slow_rate":"1M"}`:                        "needs a data allowance",
		`{"slow_rate":"slow","rate":"2M"}`:          "is not a speed such as",
		`{"rate":"2M/10M 1M/20M"}`:                  "below the speed",
		`{"device_swap":"share"}`:                   "refuse, move",
		`{"address_lists":["a b"]}`:                 "is not the name of an address-list",
		`{"total":5,"slow_rate":"4M","rate":"1M"}`:  "must not be above the speed before",
		`{"rate":"2M/10M 4M/20M 1M/5M 10/10 8 3M"}`: "least upload speed",
	} {
		status, detail, _ := post(t, srv.URL+"/api/v1/plans", cookies, `{"name":"x","limits":`+limits+`}`)
		if status != http.StatusBadRequest && status != http.StatusUnprocessableEntity || !strings.Contains(detail, want) {
			t.Errorf("%s: got %d, %q; want a problem that says %q", limits, status, detail, want)
		}
	}
	if status, _, made := post(t, srv.URL+"/api/v1/plans", cookies, `{"name":"Plain","limits":{}}`); status != http.StatusCreated || made["limits"].(map[string]any)["device_swap"] != "refuse" {
		t.Errorf("a plan without the new limits: got %d, %v", status, made)
	}
}

// TestAPlanWrittenInTheBrowser opens the folded part at both widths, makes a
// slip, reads what is wrong, and adds the plan.
func TestAPlanWrittenInTheBrowser(t *testing.T) {
	srv, _, f, cookies := start(t, hotspot.Owner)
	tab := webuitest.Start(t).Open(t, srv.URL, cookies)
	defer tab.Close()
	tab.Visit(t, "/plans")
	tab.Do(t, "open the folded part", chromedp.Click("#more > summary", chromedp.ByQuery), chromedp.WaitVisible("#from", chromedp.ByQuery))
	for _, v := range webuitest.Views {
		tab.Inspect(t, "plans-more", v)
	}
	tab.Do(t, "fill in", chromedp.SetValue("#name", "Evenings", chromedp.ByQuery), chromedp.SetValue("#gigabytes", "5", chromedp.ByQuery),
		chromedp.Click("[name=fri]", chromedp.ByQuery), chromedp.Click("[name=sat]", chromedp.ByQuery), chromedp.Click("[name=swap][value=move]", chromedp.ByQuery), chromedp.Click("[name=reconnect]", chromedp.ByQuery),
		chromedp.SetValue("#from", "22:00", chromedp.ByQuery), chromedp.SetValue("#slow_up", "1", chromedp.ByQuery), chromedp.SetValue("#slow_down", "1", chromedp.ByQuery),
		chromedp.Submit("#name", chromedp.ByQuery), chromedp.WaitVisible("#hours-hint .wrong", chromedp.ByQuery))
	if got := tab.Text(t, "#hours-hint .wrong"); got != "give both times, from and until, or neither" {
		t.Errorf("the slip reads %q", got)
	}
	for _, v := range webuitest.Views {
		tab.Inspect(t, "plans-wrong", v)
	}
	tab.Do(t, "correct it", chromedp.SetValue("#until", "02:00", chromedp.ByQuery), chromedp.Submit("#name", chromedp.ByQuery),
		chromedp.WaitVisible("article:nth-of-type(4)", chromedp.ByQuery))
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.plans[len(f.plans)-1]
	if p.Name != "Evenings" || p.Swap != hotspot.SwapMove || !p.Reconnect || !slices.Equal(p.Hours.Strings(), []string{"fri,sat 22:00-02:00"}) || p.SlowRate.String() != "1M/1M" {
		t.Errorf("added %+v", p)
	}
}

func TestAGuestOutsideTheHoursReadsWhenTheyOpen(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	pass := func(l hotspot.Limits, u hotspot.Usage) *hotspot.Pass { return &hotspot.Pass{Limits: l, Usage: u} }
	evenings := hotspot.Limits{Hours: hotspot.Hours{{Days: hotspot.EveryDay, Begin: 18 * 60, End: 22 * 60}}}
	slow := hotspot.Limits{Total: 10, SlowRate: rate(1, 1)}
	online := []hotspot.Session{{State: hotspot.Live}}
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	used := hotspot.Usage{FirstUsed: at, Upload: 10}
	for name, tc := range map[string]struct {
		guest hotspot.Guest
		now   time.Time
		want  string
	}{
		"before they open":         {hotspot.Guest{Pass: pass(evenings, used)}, at, "Opens Tue 18:00"},
		"after they closed":        {hotspot.Guest{Pass: pass(evenings, used)}, at.Add(10 * time.Hour), "Opens Wed 18:00"},
		"while they are open":      {hotspot.Guest{Pass: pass(evenings, used)}, at.Add(6 * time.Hour), "Offline"},
		"online after the data":    {hotspot.Guest{Pass: pass(slow, used), Sessions: online}, at, "Online, data used"},
		"offline after the data":   {hotspot.Guest{Pass: pass(slow, used)}, at, "Offline"},
		"data that ends the pass":  {hotspot.Guest{Pass: pass(hotspot.Limits{Total: 10}, used)}, at, "Data used up"},
		"online with data to come": {hotspot.Guest{Pass: pass(slow, hotspot.Usage{}), Sessions: online}, at, "Online"},
	} {
		if got := guestState(tc.guest, webui.Clock{Now: tc.now, Zone: zone}).Text; got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}
