package store_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/cloud/store"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

var maria = wire.Who{By: "maria", Role: hotspot.Cashier, Via: "page"}

// sold is a sale of the site: with a new voucher of the code, or to a guest there is.
func (w *world) sold(id, account, code string) wire.SaleMade {
	b := wire.SaleMade{ID: hotspot.SaleID(id), Account: hotspot.AccountID(account), Pass: hotspot.PassID("p-" + id), Username: code, PriceMinor: 500, Currency: "EGP", Who: maria,
		PassDoc: wire.PassDoc{Account: hotspot.AccountID(account), Plan: w.plan.ID, PlanName: w.plan.Name, Limits: wire.FromLimits(w.plan.Limits), SoldAt: w.now(), ValidUntil: w.now().Add(24 * time.Hour)}}
	if code != "" {
		b.New = &wire.AccountDoc{Kind: hotspot.Voucher, Username: code}
	}
	return b
}

// teller has the site tell events, one batch after the other.
type teller struct {
	*world
	seq   int64
	chain string
}

func (w *world) teller() *teller { return &teller{world: w, seq: 1} }

func (s *teller) tell(kind wire.EventKind, bodies ...any) {
	s.Helper()
	var events []wire.Event
	for i, b := range bodies {
		events = append(events, s.event(hotspot.NewID(s.now())+string(rune('a'+i)), kind, b))
	}
	s.chain = s.said("one", s.seq, s.chain, events...)
	s.seq += int64(len(events))
}

// doc returns a document of the site's set; "" where there is none.
func (w *world) doc(kind wire.DocKind, id string) string {
	w.Helper()
	parts, err := w.db.Snapshot(w.Context(), w.site.ID)
	must(w.TB, err)
	for _, p := range parts {
		for _, d := range p.Docs {
			if d.Kind == kind && d.ID == id {
				return string(d.Body)
			}
		}
	}
	return ""
}

func (w *world) sales() ([]hotspot.Sale, []hotspot.Money) {
	w.Helper()
	sales, sums, next, err := w.db.Sales(w.Context(), w.owner.Organization, w.site.ID, w.now().Add(-24*time.Hour), w.now().Add(time.Hour), 100, "")
	must(w.TB, err)
	if next != "" {
		w.Errorf("a next page %q, want all on one", next)
	}
	return sales, sums
}

func TestASaleOfTheCounterComesBackAsDocumentsOfItsIDs(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.teller()
		b := w.sold("s1", "a1", "AB2C-D3EFG")
		s.tell(wire.EventSaleMade, b)
		want, err := json.Marshal(b.PassDoc)
		must(w.TB, err)
		if got := w.doc(wire.DocPass, "p-s1"); got != string(want) {
			t.Errorf("got pass %s, want %s", got, want)
		}
		if got := w.doc(wire.DocAccount, "a1"); got != `{"kind":"voucher","username":"AB2C-D3EFG"}` {
			t.Errorf("got account %s", got)
		}
		s.tell(wire.EventSaleMade, b) // told again, as by a site that lost the cloud's word
		again := w.sold("s2", "a1", "AB2C-D3EFG")
		again.New, again.PassDoc.SoldAt, again.PassDoc.ValidUntil = nil, time.Time{}, time.Time{} // its date was not right
		s.tell(wire.EventSaleMade, again)
		if got := w.doc(wire.DocPass, "p-s2"); !strings.Contains(got, `"valid_until":"2026-11-25T12:00:00Z"`) {
			t.Errorf("got %s, want a day from when we heard of it", got)
		}
		sales, sums := w.sales()
		if len(sales) != 2 || len(sums) != 1 || sums[0] != (hotspot.Money{Minor: 1000, Currency: "EGP"}) {
			t.Fatalf("got %+v, %+v; want two sales of 10.00 in all", sales, sums)
		}
		for _, got := range sales {
			if got.By.Name != "maria" || got.By.Role != hotspot.Cashier || got.By.At != "page" || got.PlanName != "1 hour" || got.Price.Minor != 500 || got.Account != "a1" || !got.OnSite || got.Remark != "" || !got.At.Equal(w.now()) {
				t.Errorf("got %+v", got)
			}
		}
		if got := w.audited("sale.made"); len(got) != 2 || got[0].Who != "maria (cashier)" || !strings.Contains(got[0].Became, `"price_minor":500`) {
			t.Errorf("audit: %+v", got)
		}
		// A sale of the console is in the same list.
		w.pass(time.Second)
		id, _, err := w.db.CreateAccount(w.Context(), w.owner, hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.Voucher, Plan: w.plan.ID})
		must(w.TB, err)
		if sales, sums = w.sales(); len(sales) != 3 || sums[0].Minor != 1500 || sales[0].OnSite || sales[0].Account != id || sales[0].By.At != "console" || sales[0].Pass == "" {
			t.Errorf("got %+v, %+v; want that of the console first", sales, sums)
		}
	})
}

func TestAUserMadeOnSiteHasADocumentOnceItsPasswordIsTold(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.teller()
		b := w.sold("s1", "a1", "amira")
		b.New.Kind = hotspot.User
		s.tell(wire.EventSaleMade, b)
		if got := w.doc(wire.DocAccount, "a1"); got != "" {
			t.Errorf("without a password: got %s, want no document, since none could be in force", got)
		}
		sealed, err := w.guests.Public().Seal("pw12")
		must(w.TB, err)
		s.tell(wire.EventAccountPassword, wire.AccountPassword{Account: "a1", Password: sealed})
		var doc wire.AccountDoc
		must(w.TB, json.Unmarshal([]byte(w.doc(wire.DocAccount, "a1")), &doc))
		if text, err := w.key.Open(doc.Password); err != nil || text != "pw12" || doc.Username != "amira" {
			t.Errorf("got %+v, %q, %v; want it sealed to the box", doc, text, err)
		}
		other, err := w.guests.Public().Seal("pw99")
		must(w.TB, err)
		before := w.doc(wire.DocAccount, "a1")
		s.tell(wire.EventAccountPassword, wire.AccountPassword{Account: "a1", Password: other}, wire.AccountPassword{Account: "nobody", Password: other})
		if w.doc(wire.DocAccount, "a1") != before {
			t.Error("a password that the console may have changed is overwritten by the site")
		}
	})
}

func TestOneNameOnBothSidesStaysTwoGuests(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.teller()
		id, code, err := w.db.CreateAccount(w.Context(), w.owner, hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.Voucher, Plan: w.plan.ID})
		must(w.TB, err)
		s.tell(wire.EventSaleMade, w.sold("s1", "a1", string(code)), w.sold("s2", "a2", string(code)))
		for account, want := range map[string]string{string(id): string(code), "a1": string(code) + "-2", "a2": string(code) + "-3"} {
			if got := w.doc(wire.DocAccount, account); !strings.Contains(got, `"username":"`+want+`"`) {
				t.Errorf("%s: got %s, want the name %s", account, got, want)
			}
		}
		sales, _ := w.sales()
		shown := 0
		for _, got := range sales {
			if strings.Contains(got.Remark, "another guest's") {
				shown++
			}
		}
		if shown != 2 || len(w.dead()) != 0 {
			t.Errorf("got %+v, %q set aside; want both shown and none lost", sales, w.dead())
		}
	})
}

func TestASaleToAGuestOrByAPlanThatIsNoMore(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.teller()
		b := w.sold("s1", "gone", "")
		b.Username = "amira"
		s.tell(wire.EventSaleMade, b)
		s.tell(wire.EventAdjusted, wire.AdjustedBody{Account: "gone", Pass: "p-s1", By: "maria (cashier)", AskedS: 60, TimeS: 60})
		s.tell(wire.EventLockSet, wire.LockSet{Account: "gone", Reason: "rude", At: w.now(), Who: maria})
		if sales, sums := w.sales(); len(sales) != 1 || sums[0].Minor != 500 || !strings.Contains(sales[0].Remark, "removed") || w.doc(wire.DocPass, "p-s1") != "" {
			t.Errorf("got %+v; want the money counted, no pass, and why", sales)
		}
		for _, what := range []string{"account.extended", "account.locked"} {
			if got := w.audited(what); len(got) != 1 || !strings.Contains(got[0].Became, "removed in the console") {
				t.Errorf("%s: audit %+v", what, got)
			}
		}
		c := w.sold("s2", "a2", "XX2C-D3EFG")
		c.PassDoc.Plan, c.PassDoc.PlanName, c.PriceMinor = "old", "Old hour", 123
		s.tell(wire.EventSaleMade, c)
		if got := w.doc(wire.DocPass, "p-s2"); !strings.Contains(got, `"plan_name":"Old hour"`) || !strings.Contains(got, `"time_s":3600`) {
			t.Errorf("a plan nobody has: got %s, want the copy it was sold by", got)
		}
	})
}

func TestPlansOfASiteWithoutACloudBecomeTheOrganizations(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.teller()
		other := w.newSite("Harbour")
		plan := wire.PlanMade{ID: "siteplan", PlanDoc: wire.PlanDoc{Name: "Evening", PriceMinor: 300, Currency: "EGP", Limits: wire.LimitsBody{TimeS: 7200}}, Who: wire.Who{By: "omar", Role: hotspot.Technician, Via: "command"}}
		s.tell(wire.EventPlanMade, plan)
		plan.PriceMinor = 400
		s.tell(wire.EventPlanMade, plan)
		stolen := plan
		stolen.ID, stolen.PriceMinor = w.plan.ID, 1
		s.tell(wire.EventPlanMade, stolen)
		s.tell(wire.EventPlanRemoved, wire.PlanRemoved{ID: w.plan.ID})
		if got := w.doc(wire.DocPlan, "siteplan"); !strings.Contains(got, `"price_minor":400`) {
			t.Errorf("got %s, want the newest price", got)
		}
		if got := w.doc(wire.DocPlan, string(w.plan.ID)); !strings.Contains(got, `"price_minor":500`) {
			t.Errorf("got %s, want the console's plan untouched by a site", got)
		}
		parts, err := w.db.Snapshot(w.Context(), other.ID)
		must(w.TB, err)
		if b, err := json.Marshal(parts); err != nil || !strings.Contains(string(b), `"siteplan"`) {
			t.Errorf("the other site has %s, want the plan too", b)
		}
		s.tell(wire.EventPlanRemoved, wire.PlanRemoved{ID: "siteplan"})
		if got := w.doc(wire.DocPlan, "siteplan"); got != "" {
			t.Errorf("removed: got %s", got)
		}
		got := w.audited("plan.created") // the first is the console's own plan
		if ofSite := slices.DeleteFunc(slices.Clone(got), func(e store.Entry) bool { return e.Who != "omar (technician)" }); len(got) != 3 || len(ofSite) != 2 {
			t.Errorf("audit %+v, want two of the site among three", got)
		}
	})
}

func TestTheStricterOfTwoLocksHolds(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.teller()
		s.tell(wire.EventSaleMade, w.sold("s1", "a1", "AB2C-D3EFG"))
		lock := func() string { return w.doc(wire.DocLock, "a1") }
		set := wire.LockSet{Account: "a1", Reason: "rude", At: w.now(), Who: maria}
		lifted := wire.LockLifted{Account: "a1", LockedBy: "maria (cashier)", LockedAt: w.now(), Who: maria}
		s.tell(wire.EventLockSet, set)
		if got := lock(); !strings.Contains(got, `"by":"maria (cashier)"`) {
			t.Errorf("set on site: got %s", got)
		}
		s.tell(wire.EventLockLifted, lifted)
		if got := lock(); got != "" {
			t.Errorf("lifted on site: got %s", got)
		}
		// Set in the cloud; the site, which has not heard, lifts one of its own.
		w.pass(time.Minute)
		must(w.TB, w.db.Lock(w.Context(), w.owner, "a1", "from afar"))
		s.tell(wire.EventLockLifted, lifted)
		if got := lock(); !strings.Contains(got, "from afar") {
			t.Errorf("got %q, want the lock of the console to stay", got)
		}
		if got := w.audited("account.unlocked"); len(got) != 2 || !strings.Contains(got[0].Became+got[1].Became, "another lock was set meanwhile") {
			t.Errorf("audit %+v, want the conflict shown", got)
		}
		// Set on both sides: that of the console stays, and that is shown.
		s.tell(wire.EventLockSet, set)
		if got := lock(); !strings.Contains(got, "from afar") {
			t.Errorf("got %q, want the lock that was there", got)
		}
		// Lifted by somebody on site who saw it.
		var doc wire.LockDoc
		must(w.TB, json.Unmarshal([]byte(lock()), &doc))
		s.tell(wire.EventLockLifted, wire.LockLifted{Account: "a1", LockedBy: doc.By, LockedAt: doc.At.Truncate(time.Millisecond), Who: maria})
		if got := lock(); got != "" {
			t.Errorf("got %s, want it lifted", got)
		}
		// Lifted in the cloud while the site set another: that comes after, and holds.
		must(w.TB, w.db.Lock(w.Context(), w.owner, "a1", "second"))
		must(w.TB, w.db.Unlock(w.Context(), w.owner, "a1", ""))
		s.tell(wire.EventLockSet, set)
		if got := lock(); !strings.Contains(got, "rude") {
			t.Errorf("got %q, want the lock set on site", got)
		}
		must(w.TB, w.db.Unlock(w.Context(), w.owner, "a1", ""))
		// A pause gives way to a lock, never the other way round.
		pause := set
		pause.Pause, pause.Reason = true, "paused"
		s.tell(wire.EventLockSet, pause)
		if got := lock(); !strings.Contains(got, `"pause":true`) {
			t.Errorf("got %q, want a pause", got)
		}
		must(w.TB, w.db.Lock(w.Context(), w.owner, "a1", "third"))
		s.tell(wire.EventLockSet, pause)
		if got := lock(); strings.Contains(got, "pause") || !strings.Contains(got, "third") {
			t.Errorf("got %q, want the lock", got)
		}
		s.tell(wire.EventAccountKicked, wire.AccountKicked{Account: "a1", Sessions: 2, Who: maria})
		if got := w.audited("account.kicked"); len(got) != 1 || got[0].Who != "maria (cashier)" {
			t.Errorf("audit %+v", got)
		}
	})
}

func TestASnapshotSaysWhichEventsItHasSeen(t *testing.T) {
	onBoth(t, func(w *world) {
		parts, err := w.db.Snapshot(w.Context(), w.site.ID)
		must(w.TB, err)
		if parts[0].Seen != nil {
			t.Errorf("before any: %+v", parts[0].Seen)
		}
		s := w.teller()
		s.tell(wire.EventSaleMade, w.sold("s1", "a1", "AB2C-D3EFG"), w.sold("s2", "a2", "AB2C-D3EFH"))
		if parts, err = w.db.Snapshot(w.Context(), w.site.ID); err != nil || parts[0].Seen == nil || *parts[0].Seen != (wire.Seen{Epoch: "one", Through: 2}) {
			t.Errorf("got %+v, %v; want both of the log one", parts[0].Seen, err)
		}
	})
}

func TestBadWordsOfACounterAreSetAside(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.teller()
		good := w.sold("s1", "a1", "AB2C-D3EFG")
		for name, spoil := range map[string]func(*wire.SaleMade){"no id": func(b *wire.SaleMade) { b.ID = "" }, "another's pass": func(b *wire.SaleMade) { b.PassDoc.Account = "x" },
			"below zero": func(b *wire.SaleMade) { b.PriceMinor = -1 }, "a currency": func(b *wire.SaleMade) { b.Currency = "money" }, "a device": func(b *wire.SaleMade) { b.New.Kind = hotspot.Device },
			"a clock": func(b *wire.SaleMade) { b.PassDoc.Limits.Clock = "sundial" }, "an id": func(b *wire.SaleMade) { b.Account, b.PassDoc.Account = "a b", "a b" }} {
			b := good
			account := *good.New
			b.New = &account
			spoil(&b)
			before := len(w.dead())
			if s.tell(wire.EventSaleMade, b); len(w.dead()) != before+1 {
				t.Errorf("%s: is taken in", name)
			}
		}
		s.tell(wire.EventAccountPassword, wire.AccountPassword{Account: "a1", Password: "open"})
		s.tell(wire.EventPlanMade, wire.PlanMade{ID: "x", PlanDoc: wire.PlanDoc{Name: ""}})
		if sales, _ := w.sales(); len(sales) != 0 || len(w.dead()) != 9 {
			t.Errorf("%d sales, %d set aside; want none, and nine", len(sales), len(w.dead()))
		}
	})
}
