package statuspage

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui/webuitest"
)

// desk is a counter for looks: what it shows is fixed, and what is asked is noted.
type desk struct {
	mu     sync.Mutex
	guests []Guest
	plans  []hotspot.Plan
	here   bool
	sold   map[string][]Sold
	sales  []hotspot.Sale
	acts   []Act
	refuse error
}

func (d *desk) Find(_ context.Context, text string) (out []Guest, err error) {
	for _, g := range d.guests {
		if strings.Contains(strings.ToLower(g.Username), strings.ToLower(text)) {
			out = append(out, g)
		}
	}
	return out, nil
}

func (d *desk) Guest(_ context.Context, id hotspot.AccountID) (Guest, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.guests {
		if g.ID == id {
			return g, nil
		}
	}
	return Guest{}, fault.New(fault.NotFound, "this guest is not there any more", nil)
}

func (d *desk) Act(_ context.Context, a Act) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acts = append(d.acts, a)
	return d.refuse
}

func (d *desk) Plans(context.Context) ([]hotspot.Plan, bool, error) { return d.plans, d.here, nil }

func (d *desk) MakePlan(context.Context, PlanTyped, hotspot.Staff) error { return d.refuse }

func (d *desk) Sell(_ context.Context, s Sale) error { return d.refuse }

func (d *desk) Sold(_ context.Context, form string) ([]Sold, error) {
	if sold := d.sold[form]; sold != nil {
		return sold, nil
	}
	return nil, fault.New(fault.NotFound, "nothing was sold with this form", nil)
}

func (d *desk) Sales(context.Context, time.Time) ([]hotspot.Sale, error) { return d.sales, nil }

// change changes a guest as somebody else would.
func (d *desk) change(id hotspot.AccountID, how func(*Guest)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.guests {
		if d.guests[i].ID == id {
			how(&d.guests[i])
		}
	}
}

// fullDesk is a counter on a busy day.
func fullDesk() *desk {
	now := time.Now()
	rate, err := hotspot.ParseRateLimit("2M/10M")
	if err != nil {
		panic(err)
	}
	hour := hotspot.Plan{ID: "p1", Name: "1 hour", Price: hotspot.Money{Minor: 250, Currency: "EUR"}, Limits: hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered, Validity: 168 * time.Hour, Rate: rate}}
	day := hotspot.Plan{ID: "p2", Name: "Day pass for the family", Price: hotspot.Money{Minor: 1200, Currency: "EUR"}, Limits: hotspot.Limits{Time: 24 * time.Hour, Total: 5e9, Devices: 4, Rate: rate}}
	free := hotspot.Plan{ID: "p3", Name: "Staff", Limits: hotspot.Limits{}}
	pass := func(p hotspot.Plan) *hotspot.Pass {
		return &hotspot.Pass{ID: "x", Plan: p.ID, PlanName: p.Name, Limits: p.Limits, ValidUntil: now.Add(150 * time.Hour)}
	}
	mac, _ := hotspot.ParseMAC("DE:AD:BE:EF:00:07")
	d := &desk{here: true, plans: []hotspot.Plan{hour, day, free}, sold: map[string][]Sold{}}
	voucher := hotspot.Account{ID: "a1", Kind: hotspot.Voucher, Username: "7KQM-WX4RD", Note: "table 4"}
	d.guests = []Guest{
		{Account: voucher, At: now, Pass: pass(hour), TimeLeft: 42 * time.Minute, CanLogIn: true, Why: "Nothing stands in the way, and no refusal is remembered.", Unsent: 2,
			Sessions: []hotspot.Session{{MAC: mac, State: hotspot.Live, StartedAt: now.Add(-18 * time.Minute), HeardAt: now.Add(-40 * time.Second), Upload: 4_200_000, Download: 181_000_000}}},
		{Account: hotspot.Account{ID: "a2", Kind: hotspot.User, Username: "amira with a name that is long"}, At: now, Pass: pass(day), TimeLeft: 3 * time.Hour, Why: "Locked by omar (technician): not paid.",
			Data: []DataLeft{{"both ways", 5e9, 1_200_000_000}},
			Lock: &GuestLock{Lock: hotspot.Lock{By: "omar (technician)", Reason: "not paid", At: now.Add(-time.Minute)}, ReceivedAt: now.Add(-time.Minute), Outcome: hotspot.OutcomeEnforced,
				Steps: []hotspot.Step{{Name: hotspot.StepCookies, At: now.Add(-59 * time.Second), Took: 3 * time.Millisecond, OK: true, Detail: "2 cookies removed"}, {Name: hotspot.StepDisconnect, At: now.Add(-59 * time.Second), Took: 41 * time.Millisecond, Detail: "no answer"}, {Name: hotspot.StepActive, At: now.Add(-58 * time.Second), OK: true, Detail: "1 entry removed"}, {Name: hotspot.StepReadBack, At: now.Add(-58 * time.Second), OK: true, Detail: "nobody"}}}},
		{Account: hotspot.Account{ID: "a3", Kind: hotspot.User, Username: "omar"}, At: now, Pass: pass(hour), TimeLeft: 12 * time.Minute, Why: "Paused by maria (cashier).",
			Lock: &GuestLock{Lock: hotspot.Lock{By: "maria (cashier)", At: now.Add(-time.Hour), Pause: true}, ReceivedAt: now.Add(-time.Hour), Tries: 3, Code: "RTR-101", Problem: "the router does not answer"}},
		{Account: hotspot.Account{ID: "a4", Kind: hotspot.User, Username: "tess"}, At: now, Pass: pass(day), Over: true, Why: "It is over: its time is used up."},
		{Account: hotspot.Account{ID: "a5", Kind: hotspot.User, Username: "mara"}, At: now, Why: "Locked by Ana: misuse.",
			Lock: &GuestLock{Lock: hotspot.Lock{By: "Ana", Reason: "misuse", At: now.Add(-time.Hour), Revision: 7}, ReceivedAt: now.Add(-time.Hour), Outcome: hotspot.OutcomeLeaks, Code: "HSP-201"}},
	}
	maria := hotspot.Staff{Name: "rui", Role: hotspot.Cashier, At: hotspot.AtPage}
	for i, name := range []string{"7KQM-WX4RD", "H3TZ-9PVQN", "M8RC-2FXYK"} {
		d.sold["many"] = append(d.sold["many"], Sold{Sale: hotspot.Sale{ID: hotspot.SaleID(name), At: now, By: maria, Plan: "p1", PlanName: "1 hour", Price: hour.Price, Account: "a1", Username: name, New: true}, Limits: hour.Limits, ValidUntil: now.Add(168 * time.Hour)})
		d.sales = append(d.sales, d.sold["many"][i].Sale)
	}
	d.sold["user"] = []Sold{{Sale: hotspot.Sale{At: now, By: maria, Plan: "p2", PlanName: day.Name, Price: day.Price, Account: "a2", Username: "amira with a name that is long", New: true}, Password: "k7mq2xwp", Limits: day.Limits}}
	return d
}

// till serves a counter, and opens a tab there in which a person is signed in.
func till(t *testing.T, d *desk, who string) (tab *webuitest.Tab, s *Server) {
	t.Helper()
	s = &Server{Snapshot: func(context.Context) Snapshot { return moved(well(nil), time.Since(t0)) }, People: people(t), Counter: d, Till: d}
	addr, stop := serve(t, s)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	_, token, _ := strings.Cut(cookieOf(t, s, who), "=")
	return webuitest.Start(t).Open(t, "http://"+addr, map[string]string{"iwas_status": token}), s
}

func TestTheCounterIsLegible(t *testing.T) {
	t.Parallel()
	d := fullDesk()
	tab, _ := till(t, d, "rui")
	some := []webuitest.View{{Width: 360}, {Width: 1280, Dark: true}}
	look := func(name, path string, views ...webuitest.View) {
		t.Helper()
		tab.Visit(t, path)
		if got := tab.Received(); got > 150_000 {
			t.Errorf("%s: %d bytes crossed the wire, want at most 150,000", name, got)
		}
		for _, v := range views {
			tab.Inspect(t, name, v)
		}
	}
	look("counter", "/counter", webuitest.Views...)
	tab.Visit(t, "/counter")
	tab.Do(t, "look for guests", chromedp.SetValue("#text", "a", chromedp.ByQuery), chromedp.Click("#find", chromedp.ByQuery), chromedp.WaitVisible("#clear", chromedp.ByQuery))
	for _, v := range some {
		tab.Inspect(t, "found", v)
	}
	for id, name := range map[string]string{"a1": "online", "a2": "locked", "a3": "paused", "a4": "over", "a5": "console-lock"} {
		look("guest-"+name, "/counter/guest/"+id, some...)
	}
	look("sell", "/counter/sell?plan=p1&count=5", some...)
	look("sell-user", "/counter/sell?plan=p2&kind=user", some[0])
	look("sell-more", "/counter/sell?to=a1", some[1])
	look("sold", "/counter/sold/many", some...)
	look("sold-user", "/counter/sold/user", some[1])
	d.plans = nil
	look("nothing-to-sell", "/counter", some[0])
}

func TestMakingAPlanIsLegible(t *testing.T) {
	t.Parallel()
	d := &desk{here: true}
	tab, _ := till(t, d, "ana")
	for name, path := range map[string]string{"first-plan": "/counter", "plan": "/counter/plan"} {
		tab.Visit(t, path)
		for _, v := range []webuitest.View{{Width: 360, Dark: true}, {Width: 1280}} {
			tab.Inspect(t, name, v)
		}
	}
	d.refuse = fault.New(fault.Invalid, `the price: "euro" is not a currency such as EUR`, nil).WithCode("", "Correct it and send the form again.")
	tab.Visit(t, "/counter/plan")
	tab.Do(t, "send it", chromedp.SetValue("#name", "Evening", chromedp.ByQuery), chromedp.SetValue("#currency", "euro", chromedp.ByQuery), chromedp.Click("#make", chromedp.ByQuery), chromedp.WaitVisible(".alert.bad", chromedp.ByQuery))
	tab.Inspect(t, "plan-refused", webuitest.View{Width: 360})
	var name string
	if tab.Do(t, "read the name", chromedp.Value("#name", &name, chromedp.ByQuery)); name != "Evening" {
		t.Errorf("what was typed is gone: %q", name)
	}
}

// Printed, the slips are alone on the paper, black on white from a dark screen too.
func TestSlipsArePrintedAlone(t *testing.T) {
	t.Parallel()
	tab, _ := till(t, fullDesk(), "rui")
	tab.Set(t, webuitest.View{Width: 1280, Dark: true})
	tab.Visit(t, "/counter/sold/many")
	var shown, colour string
	tab.Do(t, "print", emulation.SetEmulatedMedia().WithMedia("print").WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}),
		chromedp.Evaluate(`document.body.innerText`, &shown), chromedp.Evaluate(`getComputedStyle(document.querySelector(".slip .code")).color + " on " + getComputedStyle(document.body).backgroundColor`, &colour))
	for _, want := range []string{"7KQM-WX4RD", "H3TZ-9PVQN", "M8RC-2FXYK", "1 hour", "EUR 2.50", "Cafe Marea"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the paper does not say %q", want)
		}
	}
	for _, not := range []string{"Copy", "Print", "Sell another", "Counter", "Signed in"} {
		if strings.Contains(shown, not) {
			t.Errorf("the paper says %q", not)
		}
	}
	if colour != "rgb(0, 0, 0) on rgb(255, 255, 255)" {
		t.Errorf("printed in %s, want black on white", colour)
	}
	for name, paper := range map[string]*page.PrintToPDFParams{"roll": page.PrintToPDF().WithPaperWidth(58 / 25.4).WithPaperHeight(200 / 25.4), "sheet": page.PrintToPDF().WithPaperWidth(210 / 25.4).WithPaperHeight(297 / 25.4)} {
		var wide bool
		tab.Do(t, "print on a "+name, emulation.SetDeviceMetricsOverride(int64(paper.PaperWidth*96), 600, 1, false), chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth`, &wide))
		if wide {
			t.Errorf("on a %s the slips are wider than the paper", name)
		}
		tab.Picture(t, "printed-"+name)
	}
}

// A page of a guest follows what happens, and what is being typed stays.
func TestThePageOfAGuestFollows(t *testing.T) {
	t.Parallel()
	d := fullDesk()
	tab, s := till(t, d, "rui")
	tab.Set(t, webuitest.View{Width: 360})
	tab.Visit(t, "/counter/guest/a1")
	tab.Do(t, "type a reason", chromedp.SendKeys("#lock-reason", "left with the", chromedp.ByQuery))
	var form, after, typed string
	read := func(into *string) chromedp.Action {
		return chromedp.Evaluate(`document.querySelector('#guest-acts input[name="form"]').value`, into)
	}
	tab.Do(t, "read the number of the form", read(&form))
	d.change("a1", func(g *Guest) {
		g.TimeLeft, g.Note = 5*time.Hour, ""
		g.Sessions = nil
		g.Pass.Limits.Clock = hotspot.Continuous
	})
	s.Notify()
	tab.Do(t, "see it come", chromedp.Poll(`document.querySelector("#guest-left").innerText.includes("5 h") && document.querySelector("#guest-online").innerText.includes("Not online") && !document.querySelector("#pause")`, nil))
	if tab.Do(t, "read the reason", chromedp.Value("#lock-reason", &typed, chromedp.ByQuery), read(&after)); typed != "left with the" {
		t.Errorf("what is being typed is gone: %q", typed)
	}
	if form == "" || after != form {
		t.Errorf("the form has another number, %q after %q: a second press would be a second act", after, form)
	}
	tab.Do(t, "lock", chromedp.Click("#lock", chromedp.ByQuery), chromedp.WaitVisible(".alert.info", chromedp.ByQuery))
	if len(d.acts) != 1 || d.acts[0].What != ActLock || d.acts[0].Reason != "left with the" || d.acts[0].By.Name != "rui" || d.acts[0].By.Role != hotspot.Cashier || d.acts[0].By.Form != form {
		t.Errorf("asked %+v, want one lock by rui", d.acts)
	}
}

func TestTheCounterFromTheNetworkAsksForASignIn(t *testing.T) {
	d := fullDesk()
	s := &Server{Snapshot: func(context.Context) Snapshot { return well(nil) }, People: people(t), Counter: d, Till: d}
	h, err := s.farHandlerFor(t, "192.168.99.7")
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, h: h, from: "192.168.99.7:5000"}
	if w := b.ask("GET", "/counter/guest/a1/live", nil); w.Body.String() != "event: leave\ndata: now\n\n" {
		t.Errorf("the stream of a guest says %q", w.Body)
	}
	if w := b.ask("POST", "/counter/guest/a1/lock", url.Values{"form": {"f"}}); w.Code != http.StatusSeeOther || len(d.acts) != 0 {
		t.Errorf("got %d, and %d acts", w.Code, len(d.acts))
	}
	b.signIn("rui", ruisPassword)
	if w := b.ask("POST", "/counter/guest/a1/lock", url.Values{"form": {"f"}}); w.Code != http.StatusSeeOther || len(d.acts) != 1 {
		t.Errorf("signed in: got %d, and %d acts", w.Code, len(d.acts))
	}
	d.refuse = fault.New(fault.Damaged, "a secret of the box", nil)
	if w := b.ask("POST", "/counter/guest/a1/lock", url.Values{"form": {"g"}}); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "a secret of the box") {
		t.Errorf("a fault of ours: got %d, and its text", w.Code)
	}
}
