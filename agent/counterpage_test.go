package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/agent/aaa"
	"iwas/agent/router"
	"iwas/agent/statuspage"
	"iwas/agent/statuspage/access"
	"iwas/agent/store"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/webui"
	"iwas/internal/wire"
)

// till is the counter of the status page over a real store, without a cloud.
type till struct {
	*testing.T
	db      *store.DB
	path    string
	h       http.Handler
	cookie  *http.Cookie
	waiting []router.Waiting
}

const marias = "a blue teapot"

func openTill(t *testing.T) *till {
	t.Helper()
	x := &till{T: t, path: filepath.Join(t.TempDir(), "iwas.db")}
	key, err := secret.NewKey()
	x.must(err)
	x.db, err = store.Open(t.Context(), store.Options{Path: x.path, Key: key, Decide: aaa.Decide, Off: aaa.OffReason, Terms: aaa.Terms, DateTrusted: func() bool { return true }})
	x.must(err)
	t.Cleanup(func() {
		if err := x.db.Close(); err != nil {
			t.Error(err)
		}
	})
	people := &access.People{File: filepath.Join(t.TempDir(), "people.json")}
	for name, role := range map[string]access.Role{"maria": access.Cashier, "omar": access.Technician} {
		_, err := people.Set(t.Context(), name, role, marias, time.Now())
		x.must(err)
	}
	desk := counterDesk{db: x.db, now: time.Now, left: aaa.Remaining, waiting: func() []router.Waiting { return x.waiting }}
	s := &statuspage.Server{Snapshot: func(context.Context) statuspage.Snapshot {
		return statuspage.Snapshot{At: time.Now(), Site: "Blue Cup"}
	}, People: people, Counter: desk, Till: desk}
	x.h, err = s.Handler()
	x.must(err)
	return x
}

func (x *till) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// ask sends a request as whoever is signed in, without a script.
func (x *till) ask(method, path string, form url.Values) *httptest.ResponseRecorder {
	x.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1:8480"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = "127.0.0.1:5000"
	if x.cookie != nil {
		r.AddCookie(x.cookie)
	}
	w := httptest.NewRecorder()
	x.h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.Name == "iwas_status" {
			x.cookie = c
		}
	}
	return w
}

func (x *till) signIn(name string) string {
	x.Helper()
	w := x.ask("POST", "/signin", url.Values{"name": {name}, "password": {marias}, "next": {"/"}})
	if w.Code != http.StatusSeeOther {
		x.Fatalf("sign in as %s: %d", name, w.Code)
	}
	return w.Header().Get("Location")
}

// page reads a page, which must be there.
func (x *till) page(path string) string {
	x.Helper()
	w := x.ask("GET", path, nil)
	if w.Code != http.StatusOK {
		x.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

var (
	hidden = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`)
	forms  = regexp.MustCompile(`(?s)<form[^>]* method="post" action="([^"]+)".*?</form>`)
)

// form is what a form of a page sends by itself.
func (x *till) form(page, action string) url.Values {
	x.Helper()
	for _, f := range forms.FindAllStringSubmatch(page, -1) {
		if f[1] != action {
			continue
		}
		out := url.Values{}
		for _, in := range hidden.FindAllStringSubmatch(f[0], -1) {
			out.Set(in[1], in[2])
		}
		return out
	}
	x.Fatalf("the page has no form to %s:\n%s", action, page)
	return nil
}

// sends sends a form and wants it refused with a status and words; 303 is that it is done.
func (x *till) sends(action string, form url.Values, code int, words ...string) *httptest.ResponseRecorder {
	x.Helper()
	w := x.ask("POST", action, form)
	if w.Code != code {
		x.Errorf("%s %v: got %d, want %d: %s", action, form, w.Code, code, alertIn(w.Body.String()))
	}
	for _, word := range words {
		if !strings.Contains(w.Body.String(), word) {
			x.Errorf("%s %v: the page does not say %q: %s", action, form, word, alertIn(w.Body.String()))
		}
	}
	return w
}

func alertIn(page string) string {
	_, rest, _ := strings.Cut(page, `class="alert`)
	return rest[:min(len(rest), 400)]
}

func (x *till) events(kind wire.EventKind) (out []json.RawMessage) {
	x.Helper()
	all, err := x.db.Events(x.Context(), 0, 10_000, 10<<20)
	x.must(err)
	for _, e := range all.Events {
		if e.Kind == kind {
			out = append(out, e.Body)
		}
	}
	return out
}

// cloud gives the site its first state, with documents.
func (x *till) cloud(docs ...wire.Doc) {
	x.Helper()
	docs = append(docs, wire.Doc{Kind: wire.DocSite, ID: "s1", Rev: 1, Body: json.RawMessage(`{"name":"Blue Cup"}`)})
	var hash wire.SetHash
	for _, d := range docs {
		hash.Add(d)
	}
	ok, err := x.db.ApplyState(x.Context(), wire.State{V: wire.Version, Lineage: "l1", To: 1, Hash: hash.String(), Snapshot: "s1", Part: 1, Parts: 1, Docs: docs})
	x.must(err)
	if _, err := x.db.BringState(x.Context()); err != nil || !ok {
		x.Fatalf("applied %v, %v", ok, err)
	}
}

func (x *till) hour() hotspot.Plan {
	x.Helper()
	p, err := x.db.SetPlan(x.Context(), hotspot.Plan{Name: "1 hour", Price: hotspot.Money{Minor: 250, Currency: "EUR"},
		Limits: hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered, Validity: 7 * 24 * time.Hour}}, hotspot.Staff{Name: "omar"})
	x.must(err)
	return p
}

// sold sells by the page and returns the account of the first sale.
func (x *till) sold(form url.Values) hotspot.Sale {
	x.Helper()
	w := x.sends("/counter/sell", form, http.StatusSeeOther)
	x.page(w.Header().Get("Location"))
	sales, err := x.db.Sales(x.Context(), time.Time{}, 1)
	x.must(err)
	return sales[0]
}

func TestTheCounterIsForWhoSignedIn(t *testing.T) {
	x := openTill(t)
	x.hour()
	for _, path := range []string{"/counter", "/counter/sell", "/counter/guest/x", "/counter/guest/x/live", "/counter/sold/x", "/counter/plan"} {
		if w := x.ask("GET", path, nil); w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/signin") {
			t.Errorf("nobody, %s: got %d to %q", path, w.Code, w.Header().Get("Location"))
		}
	}
	for _, path := range []string{"/counter/sell", "/counter/find", "/counter/guest/x/lock", "/counter/plan"} {
		if w := x.ask("POST", path, url.Values{"form": {"f"}}); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/signin?why=changed" {
			t.Errorf("nobody, POST %s: got %d to %q", path, w.Code, w.Header().Get("Location"))
		}
	}
	if body := x.page("/"); strings.Contains(body, `href="/counter"`) {
		t.Error("who only reads is offered the counter")
	}
	if to := x.signIn("maria"); to != "/counter" {
		t.Errorf("a cashier is led to %q", to)
	}
	for method, path := range map[string]string{"GET": "/counter/plan", "POST": "/counter/plan"} {
		if w := x.ask(method, path, url.Values{"form": {"f"}, "name": {"Mine"}}); w.Code != http.StatusForbidden {
			t.Errorf("a cashier makes plans: %s gives %d", method, w.Code)
		}
	}
	r := httptest.NewRequest("POST", "http://127.0.0.1:8480/counter/sell", nil)
	r.RemoteAddr = "127.0.0.1:5000"
	r.AddCookie(x.cookie)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	if x.h.ServeHTTP(w, r); w.Code != http.StatusForbidden {
		t.Errorf("a form of another site: got %d", w.Code)
	}
	if to := x.signIn("omar"); to != "/" {
		t.Errorf("a technician is led to %q", to)
	}
}

func TestACashierSellsVouchersOnceWithoutAScript(t *testing.T) {
	x := openTill(t)
	plan := x.hour()
	x.signIn("maria")
	if body := x.page("/counter"); !strings.Contains(body, "/counter/sell?plan="+string(plan.ID)) || !strings.Contains(body, "EUR 2.50") || !strings.Contains(body, "1 h while online") {
		t.Error("the counter does not offer the plan with its price")
	}
	page := x.page("/counter/sell?plan=" + string(plan.ID) + "&count=3")
	if !strings.Contains(page, "Sell 3 for EUR 7.50") {
		t.Error("the button does not say how many and for how much")
	}
	form := x.form(page, "/counter/sell")
	form.Set("note", "table 4")
	var presses sync.WaitGroup
	places := make([]string, 6)
	for i := range places { // a finger that trembles
		presses.Go(func() { places[i] = x.ask("POST", "/counter/sell", form).Header().Get("Location") })
	}
	presses.Wait()
	for _, p := range places {
		if p == "" || p != places[0] {
			t.Errorf("a press leads to %q, another to %q", p, places[0])
		}
	}
	sales := x.events(wire.EventSaleMade)
	if len(sales) != 3 {
		t.Fatalf("%d sales are told after six presses, want the 3 of one", len(sales))
	}
	var b wire.SaleMade
	x.must(json.Unmarshal(sales[0], &b))
	if b.By != "maria" || b.Role != hotspot.Cashier || b.Via != hotspot.AtPage || b.PriceMinor != 250 || b.Currency != "EUR" || b.New.Note != "table 4" {
		t.Errorf("told %+v, want maria's, for EUR 2.50", b)
	}
	for range 2 { // loaded again it sells nothing
		got := x.page(places[0])
		for _, want := range []string{"Sold: EUR 7.50", b.Username, "Blue Cup", "data-print", "data-copy=", "1 hour"} {
			if !strings.Contains(got, want) {
				t.Errorf("what is handed over does not say %q", want)
			}
		}
		if n := strings.Count(got, `class="slip"`); n != 3 {
			t.Errorf("%d slips, want 3", n)
		}
	}
	if n := len(x.events(wire.EventSaleMade)); n != 3 {
		t.Errorf("%d sales after looking at them", n)
	}
	form.Set("count", "1")
	x.sends("/counter/sell", form, http.StatusConflict, "SYS-128", "was sent before", "Nothing more was sold")
	if body := x.page("/counter"); !strings.Contains(body, "3 sales, EUR 7.50") || !strings.Contains(body, b.Username) {
		t.Error("the counter does not show what was sold today")
	}
}

func TestASaleThatCannotBeMadeKeepsTheForm(t *testing.T) {
	x := openTill(t)
	plan := x.hour()
	x.signIn("maria")
	page := x.page("/counter/sell?kind=user&plan=" + string(plan.ID))
	form := x.form(page, "/counter/sell")
	form.Set("note", "with a dog")
	x.sends("/counter/sell", form, http.StatusBadRequest, "needs one")
	form.Set("user", "amira")
	form.Set("password", "pw12")
	amira := x.sold(form)
	if body := x.page("/counter/sold/" + form.Get("form")); !strings.Contains(body, "pw12") || !strings.Contains(body, "amira") {
		t.Error("the password is not shown to who sold it")
	}
	another := x.form(x.page("/counter/sell?kind=user&plan="+string(plan.ID)), "/counter/sell")
	another.Set("user", "amira")
	another.Set("note", "with a dog")
	w := x.sends("/counter/sell", another, http.StatusConflict, "Nothing was sold", "exists already", "SYS-129", `value="with a dog"`, `value="amira"`)
	if again := x.form(w.Body.String(), "/counter/sell"); again.Get("form") != another.Get("form") {
		t.Error("a form that was refused has another number, so that a press on its way would be a second sale")
	}
	another.Set("user", "bob")
	x.sold(another) // the same form, corrected

	sale := x.form(x.page("/counter/sell?plan="+string(plan.ID)), "/counter/sell")
	dear := plan
	dear.Price.Minor = 300
	_, err := x.db.SetPlan(t.Context(), dear, hotspot.Staff{Name: "omar"})
	x.must(err)
	w = x.sends("/counter/sell", sale, http.StatusConflict, "SYS-127", "EUR 3.00 now", "Sell for EUR 3.00")
	x.sold(x.form(w.Body.String(), "/counter/sell"))
	delete(sale, "price")
	x.sends("/counter/sell", sale, http.StatusBadRequest, "Load the page anew")
	delete(sale, "form")
	x.sends("/counter/sell", sale, http.StatusBadRequest, "Load the page anew")
	x.must(x.db.RemovePlan(t.Context(), plan.ID, hotspot.Staff{Name: "omar"}))
	gone := url.Values{"form": {"f1"}, "plan": {string(plan.ID)}, "price": {"300"}, "currency": {"EUR"}}
	x.sends("/counter/sell", gone, http.StatusNotFound, "no plan", "SYS-129")
	if n := len(x.events(wire.EventSaleMade)); n != 3 {
		t.Errorf("%d sales, want amira, bob and one voucher", n)
	}

	x.signIn("omar")
	if body := x.page("/counter/sold/" + form.Get("form")); strings.Contains(body, "pw12") {
		t.Error("the password is shown to somebody else")
	}
	if w := x.ask("GET", "/counter/sold/f9", nil); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "nothing was sold") && !strings.Contains(w.Body.String(), "Nothing was sold with this form") {
		t.Errorf("a sale that never was: %d", w.Code)
	}
	if to := x.ask("POST", "/counter/find", url.Values{"text": {"amira"}}).Header().Get("Location"); to != "/counter/guest/"+string(amira.Account) {
		t.Errorf("one guest is found, and the page leads to %q", to)
	}
}

func TestAGuestIsFoundAndWhatIsLeftIsSaid(t *testing.T) {
	x := openTill(t)
	plan := x.hour()
	x.signIn("maria")
	one := x.sold(x.form(x.page("/counter/sell?plan="+string(plan.ID)), "/counter/sell"))
	two := x.sold(x.form(x.page("/counter/sell?plan="+string(plan.ID)), "/counter/sell"))
	x.must(x.db.Lock(t.Context(), two.Username, "rude", hotspot.Staff{Name: "omar", Role: hotspot.Technician}))
	find := func(text string) string {
		t.Helper()
		w := x.sends("/counter/find", url.Values{"text": {text}}, http.StatusSeeOther)
		to := w.Header().Get("Location")
		if to != "/counter" && !strings.HasPrefix(to, "/counter/guest/") || strings.Contains(to, one.Username) {
			t.Errorf("the address of the page has what was looked for in it: %s", to)
		}
		return x.page(to)
	}
	both := find("")
	if strings.Contains(both, "found for") {
		t.Error("nothing is looked for, and something is found")
	}
	// Two that have a letter in common.
	letter := ""
	for _, c := range one.Username {
		if c != '-' && strings.ContainsRune(two.Username, c) {
			letter = string(c)
		}
	}
	if letter != "" {
		got := find(strings.ToLower(letter))
		for _, want := range []string{"2 found", one.Username, two.Username, "1 h", "by omar (technician): rude."} {
			if !strings.Contains(got, want) {
				t.Errorf("found: the page does not say %q", want)
			}
		}
		if again := x.page("/counter"); !strings.Contains(again, "2 found") {
			t.Error("coming back to the counter forgets what was found")
		}
	}
	if got := find(strings.ToLower(strings.ReplaceAll(one.Username, "-", ""))); !strings.Contains(got, "<h1><bdi>"+one.Username) || !strings.Contains(got, "nothing stands in the way") || !strings.Contains(got, "1 h, counted while online") {
		t.Errorf("a code in small letters leads to %s", got)
	}
	if got := find("zzz"); !strings.Contains(got, "Nobody is found for <bdi>zzz") {
		t.Error("nobody is found, and the page does not say so")
	}
}

func TestAGuestIsExtendedPausedLockedAndFreed(t *testing.T) {
	x := openTill(t)
	plan := x.hour()
	x.signIn("maria")
	sale := x.sold(x.form(x.page("/counter/sell?plan="+string(plan.ID)), "/counter/sell"))
	at := "/counter/guest/" + string(sale.Account)
	act := func(what string, more url.Values, code int, words ...string) {
		t.Helper()
		form := x.form(x.page(at), at+"/"+what)
		for k, v := range more {
			form[k] = v
		}
		x.sends(at+"/"+what, form, code, words...)
		if code == http.StatusSeeOther { // and once more, by a second tap
			x.sends(at+"/"+what, form, code)
		}
	}
	says := func(words ...string) {
		t.Helper()
		page := x.page(at)
		for _, word := range words {
			if !strings.Contains(page, word) {
				t.Errorf("the page does not say %q", word)
			}
		}
	}
	act("extend", url.Values{"own": {"long"}, "reason": {"the line was down"}}, http.StatusBadRequest, "no time", `value="long"`, `value="the line was down"`)
	act("extend", url.Values{"time": {"30m"}, "reason": {"the line was down"}}, http.StatusSeeOther)
	says("1 h 30 min", "Time was given")
	if strings.Contains(x.page(at), "Time was given") {
		t.Error("what was done is said on every page")
	}
	act("pause", nil, http.StatusSeeOther)
	says("Paused; not proven off yet", "Resume")
	act("resume", nil, http.StatusSeeOther)
	act("lock", url.Values{"preset": {"Not paid"}}, http.StatusSeeOther)
	says("Locked; not proven off yet", "Reason: <bdi>Not paid", "maria (cashier)", "The guest may still be online")
	if page := x.page(at); strings.Contains(page, "proven off</h2>") || strings.Contains(page, `action="`+at+`/lock"`) {
		t.Error("proven off before any proof, or locked once more")
	}
	x.waiting = []router.Waiting{{Account: sale.Account, Lock: true, Tries: 4, Code: "RTR-101", Err: "the router does not answer"}}
	says("Tried 4 times, and tried again: the router does not answer", "/help/RTR-101")
	x.waiting = nil
	now := time.Now()
	x.must(x.db.Prove(t.Context(), hotspot.Proof{Account: sale.Account, Reason: hotspot.OffLocked, Outcome: hotspot.OutcomeEnforced, Method: "api", At: now,
		Steps: []hotspot.Step{{Name: hotspot.StepActive, At: now, OK: true, Detail: "1 entry removed"}, {Name: hotspot.StepReadBack, At: now, OK: true}}}))
	says("Locked, proven off", "1 entry removed", "The router was read")
	act("unlock", url.Values{"reason": {"paid"}}, http.StatusSeeOther)
	for kind, want := range map[wire.EventKind]int{wire.EventAdjusted: 1, wire.EventLockSet: 2, wire.EventLockLifted: 2, wire.EventSaleMade: 1} {
		if got := x.events(kind); len(got) != want {
			t.Errorf("%s is told %d times, want %d", kind, len(got), want)
		}
	}
	var lifted wire.LockLifted
	x.must(json.Unmarshal(x.events(wire.EventLockLifted)[1], &lifted))
	if lifted.By != "maria" || lifted.Role != hotspot.Cashier || lifted.Reason != "paid" {
		t.Errorf("told %+v", lifted)
	}
	x.sends(at+"/kick", url.Values{"form": {"k1"}}, http.StatusConflict, "is not online", "SYS-129")
	x.sends(at+"/unlock", url.Values{"form": {"k2"}}, http.StatusConflict, "is not locked")
	x.sends(at+"/lock", url.Values{}, http.StatusBadRequest, "Load the page anew")
	x.sends(at+"/dance", url.Values{"form": {"k3"}}, http.StatusNotFound)
	x.sends("/counter/guest/nobody/lock", url.Values{"form": {"k4"}}, http.StatusNotFound, "not there any more")
	act("lock", nil, http.StatusSeeOther)
	x.sends(at+"/pause", url.Values{"form": {"k5"}}, http.StatusConflict, "unlock first")
	more := x.form(x.page("/counter/sell?to="+string(sale.Account)+"&plan="+string(plan.ID)), "/counter/sell")
	if next := x.sold(more); next.Account != sale.Account || next.New {
		t.Errorf("another pass: %+v", next)
	}
}

func TestALockOfTheConsoleIsNotACashiers(t *testing.T) {
	x := openTill(t)
	plan := x.hour()
	x.signIn("maria")
	sale := x.sold(x.form(x.page("/counter/sell?plan="+string(plan.ID)), "/counter/sell"))
	body, err := json.Marshal(wire.LockDoc{By: "Ana", Reason: "not paid", At: time.Now()})
	x.must(err)
	x.cloud(wire.Doc{Kind: wire.DocLock, ID: string(sale.Account), Rev: 1, Body: body})
	at := "/counter/guest/" + string(sale.Account)
	if page := x.page(at); strings.Contains(page, at+"/unlock") || !strings.Contains(page, "set in the console by <bdi>Ana") || !strings.Contains(page, "/help/SYS-126") {
		t.Error("a cashier is offered to lift the owner's lock, or not told who may")
	}
	x.sends(at+"/unlock", url.Values{"form": {"u1"}}, http.StatusForbidden, "was locked in the console by Ana", "SYS-126")
	x.signIn("omar")
	x.sends(at+"/unlock", x.form(x.page(at), at+"/unlock"), http.StatusSeeOther)
}

func TestATechnicianMakesAPlanWhereThereIsNoCloud(t *testing.T) {
	x := openTill(t)
	x.signIn("maria")
	if body := x.page("/counter"); !strings.Contains(body, "No plan can be sold yet") || strings.Contains(body, `href="/counter/plan"`) {
		t.Error("a cashier without plans is not told who makes one, or offered to")
	}
	x.signIn("omar")
	if body := x.page("/counter"); !strings.Contains(body, `href="/counter/plan"`) {
		t.Error("a technician is not offered to make a plan")
	}
	form := x.form(x.page("/counter/plan"), "/counter/plan")
	for k, v := range map[string]string{"name": "Evening", "price": "2.5", "currency": "eur", "time": "3h", "validity": "1d", "rate": "2M/10M", "data": "5G", "devices": "2", "metered": "1"} {
		form.Set(k, v)
	}
	for field, wrong := range map[string]string{"name": "", "price": "2.555", "currency": "euro", "time": "long", "validity": "soon", "rate": "fast", "data": "5", "devices": "0"} {
		bad := url.Values{}
		for k, v := range form {
			bad[k] = v
		}
		bad.Set(field, wrong)
		x.sends("/counter/plan", bad, http.StatusBadRequest, "The plan was not made", `name="form" value="`+form.Get("form"))
	}
	for range 2 {
		x.sends("/counter/plan", form, http.StatusSeeOther)
	}
	plans, err := x.db.Plans(t.Context())
	x.must(err)
	if len(plans) != 1 || plans[0].Price.String() != "EUR 2.50" || plans[0].Limits.Time != 3*time.Hour || plans[0].Limits.Clock != hotspot.Metered || plans[0].Limits.Total != 5e9 || plans[0].Limits.Devices != 2 {
		t.Errorf("got %+v", plans)
	}
	x.cloud()
	if body := x.page("/counter/plan"); !strings.Contains(body, "Plans are made in the console") {
		t.Error("plans are made here beside a cloud")
	}
	form.Set("form", "f2")
	form.Set("name", "Other")
	x.sends("/counter/plan", form, http.StatusConflict, "This site has a cloud")
}

func TestWithoutADatabaseTheCounterIsClosed(t *testing.T) {
	people := &access.People{File: filepath.Join(t.TempDir(), "people.json")}
	_, err := people.Set(t.Context(), "maria", access.Cashier, marias, time.Now())
	x := &till{T: t}
	x.must(err)
	s := &statuspage.Server{Snapshot: func(context.Context) statuspage.Snapshot { return statuspage.Snapshot{At: time.Now()} }, People: people}
	x.h, err = s.Handler()
	x.must(err)
	if to := x.signIn("maria"); to != "/" {
		t.Errorf("led to %q", to)
	}
	if w := x.ask("GET", "/counter", nil); w.Code != http.StatusServiceUnavailable || w.Header().Get("Content-Security-Policy") != webui.Policy {
		t.Errorf("got %d", w.Code)
	}
}
