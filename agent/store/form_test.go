package store

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// with is who sends a form.
func with(form string) hotspot.Staff {
	by := maria
	by.Form = form
	return by
}

func TestAFormThatIsSentTwiceSellsOnce(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	ask := SaleAsk{Plan: "hour", Count: 2, By: with("f1")}
	var all sync.WaitGroup
	results, errs := make([][]Sold, 8), make([]error, 8)
	for i := range results { // a finger that trembles
		all.Go(func() { results[i], errs[i] = s.Sell(t.Context(), ask) })
	}
	all.Wait()
	for i, sold := range results {
		if s.must(errs[i]); len(sold) != 2 || sold[0].Username != results[0][0].Username || sold[1].Pass != results[0][1].Pass || sold[0].Limits.Time != time.Hour || sold[0].ValidUntil.IsZero() {
			t.Errorf("press %d: got %+v, want what the first sold: %+v", i, sold, results[0])
		}
	}
	plan, err := s.PlanNamed(t.Context(), "hour")
	s.must(err)
	s.must(s.RemovePlan(t.Context(), plan.ID, omar))
	s.reopen()
	again, err := s.Sell(t.Context(), ask)
	if s.must(err); again[0].Username != results[0][0].Username {
		t.Errorf("after a restart, the plan gone: got %+v", again)
	}
	if got := told[wire.SaleMade](s, wire.EventSaleMade); len(got) != 2 {
		t.Errorf("%d sales are told, want 2", len(got))
	}
	ask.Count = 3
	if _, err := s.Sell(t.Context(), ask); !fault.Is(err, fault.Conflict) || fault.Code(err) != CodeFormUsed {
		t.Errorf("the same form with another count: %v", err)
	}
	ask.By.Form = "f2"
	if _, err := s.Sell(t.Context(), ask); !fault.Is(err, fault.NotFound) {
		t.Errorf("another form: %v, want that there is no such plan", err)
	}
	s.hourPlan()
	if sold, err := s.Sell(t.Context(), ask); err != nil || len(sold) != 3 { // what was refused was not done
		t.Errorf("sent again when it can be done: %+v, %v", sold, err)
	}
}

func TestASaleIsRefusedAtAnotherPriceThanWasShown(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	shown := hotspot.Money{Minor: 100, Currency: "EUR"}
	if _, err := s.Sell(t.Context(), SaleAsk{Plan: "hour", Shown: &shown, By: with("f1")}); !fault.Is(err, fault.Conflict) || fault.Code(err) != CodePriceChanged {
		t.Errorf("got %v, want that the price is another", err)
	}
	shown.Minor = 150
	if sold := s.sellOne(SaleAsk{Plan: "hour", Shown: &shown, By: with("f1")}); sold.Price != shown {
		t.Errorf("got %+v", sold)
	}
}

func TestAPasswordMadeUpIsReadAgainByItsForm(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	u := s.sellOne(SaleAsk{User: "amira", By: with("f1")})
	sold, err := s.SoldBy(t.Context(), "f1")
	if s.must(err); len(sold) != 1 || u.Password == "" || sold[0].Password != u.Password || sold[0].By.Name != "maria" {
		t.Errorf("got %+v, want the password %q", sold, u.Password.Reveal())
	}
	if more := s.sellOne(SaleAsk{To: "amira", By: with("f2")}); more.Password != "" {
		t.Errorf("another pass tells the password: %+v", more)
	}
	if sold, err := s.SoldBy(t.Context(), "f2"); err != nil || sold[0].Password != "" {
		t.Errorf("another pass tells the password: %+v, %v", sold, err)
	}
	for _, form := range []string{"", "f9"} {
		if _, err := s.SoldBy(t.Context(), form); !fault.Is(err, fault.NotFound) {
			t.Errorf("form %q: %v", form, err)
		}
	}
}

// Each act of the counter, pressed twice: the second changes nothing, and is no fault.
func TestASecondPressIsNoSecondAct(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	v := s.sellOne(SaleAsk{})
	verdict := s.mustLogin(v.Username, "", phone)
	s.account(s.record(hotspot.Start, verdict, phone, 0, 0, 0))
	name, ctx := v.Username, t.Context()
	for i, step := range []struct {
		what string
		kind wire.EventKind
		do   func(by hotspot.Staff) error
	}{
		{"extend", wire.EventAdjusted, func(by hotspot.Staff) error { return s.Extend(ctx, name, time.Hour, by, "") }},
		{"kick", wire.EventAccountKicked, func(by hotspot.Staff) error { _, err := s.KickHere(ctx, name, by); return err }},
		{"pause", wire.EventLockSet, func(by hotspot.Staff) error { return s.Pause(ctx, name, "", by) }},
		{"resume", wire.EventLockLifted, func(by hotspot.Staff) error { return s.Resume(ctx, name, by) }},
		{"lock", wire.EventLockSet, func(by hotspot.Staff) error { return s.Lock(ctx, name, "rude", by) }},
		{"unlock", wire.EventLockLifted, func(by hotspot.Staff) error { return s.Unlock(ctx, name, "", by) }},
		{"plan", wire.EventPlanMade, func(by hotspot.Staff) error {
			_, err := s.SetPlan(ctx, hotspot.Plan{Name: "Day", Limits: hotspot.Limits{Time: 24 * time.Hour}}, by)
			return err
		}},
	} {
		count := func() (n int) {
			for _, e := range s.events() {
				if e.Kind == step.kind {
					n++
				}
			}
			return n
		}
		was := count()
		for press := range 3 {
			if press == 2 {
				s.reopen()
			}
			if err := step.do(with(fmt.Sprint("form", i))); err != nil {
				t.Errorf("%s, press %d: %v", step.what, press, err)
			}
		}
		if n := count() - was; n != 1 {
			t.Errorf("%s: %d events of three presses, want 1", step.what, n)
		}
	}
	if p := s.passNow(v.Pass); p.Limits.Time != 2*time.Hour {
		t.Errorf("extended to %v, want once: 2 h", p.Limits.Time)
	}
	if err := s.Extend(ctx, name, 2*time.Hour, with("form0"), ""); fault.Code(err) != CodeFormUsed {
		t.Errorf("the form of an hour asks for two: %v", err)
	}
	if err := s.Lock(ctx, name, "", with(fmt.Sprintf("%065d", 0))); !fault.Is(err, fault.Invalid) {
		t.Errorf("a form with an endless name: %v", err)
	}
}

func TestOldFormsAreForgotten(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	v := s.sellOne(SaleAsk{})
	s.must(s.do(t.Context(), func(t *tx) error {
		_, err := t.exec("fill", "INSERT INTO sent_form (token, what) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT 'old' || i, '' FROM n", formsKept)
		return err
	}))
	s.must(s.Lock(t.Context(), v.Username, "", with("new")))
	var n int
	var oldest string
	s.must(s.query(t.Context(), "count", "SELECT COUNT(*), (SELECT token FROM sent_form ORDER BY n LIMIT 1) FROM sent_form", nil, func(scan func(...any) error) error { return scan(&n, &oldest) }))
	if n != formsKept || oldest != "old2" {
		t.Errorf("%d forms are kept, the oldest %s; want %d and the first forgotten", n, oldest, formsKept)
	}
}

func TestTheLockOfAGuestIsShownWithItsProof(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	v := s.sellOne(SaleAsk{})
	ctx := t.Context()
	look := func(when string) *LockView {
		t.Helper()
		l, err := s.LockNow(ctx, v.Account)
		s.must(err)
		if l == nil {
			t.Fatalf("%s: no lock", when)
		}
		return l
	}
	if l, err := s.LockNow(ctx, v.Account); l != nil || err != nil {
		t.Errorf("not locked: got %+v, %v", l, err)
	}
	prove := func(outcome hotspot.Outcome) {
		t.Helper()
		s.clock.Add(time.Second)
		s.must(s.Prove(ctx, hotspot.Proof{Account: v.Account, Reason: hotspot.OffLocked, Outcome: outcome, Method: "api", At: s.clock.Now(),
			Steps: []hotspot.Step{{Name: hotspot.StepReceived, At: s.clock.Now(), OK: true}, {Name: hotspot.StepReadBack, At: s.clock.Now(), Took: 3 * time.Millisecond, OK: true, Detail: "nobody"}}}))
	}
	s.must(s.Lock(ctx, v.Username, "rude", maria))
	if l := look("at first"); l.Outcome != "" || len(l.Steps) != 0 || l.By != maria.String() || l.Reason != "rude" || l.ReceivedAt.IsZero() || l.Pause {
		t.Errorf("at first: got %+v", l)
	}
	prove(hotspot.OutcomeEnforced)
	if l := look("proven"); l.Outcome != hotspot.OutcomeEnforced || len(l.Steps) != 2 || l.Method != "api" || l.Steps[1].Took != 3*time.Millisecond || l.Steps[1].Detail != "nobody" {
		t.Errorf("proven: got %+v", l)
	}
	s.clock.Add(time.Second)
	s.must(s.Unlock(ctx, v.Username, "", maria))
	s.must(s.Pause(ctx, v.Username, "", maria))
	if l := look("anew"); l.Outcome != "" || len(l.Steps) != 0 || !l.Pause {
		t.Errorf("another lock has the proof of the last: %+v", l)
	}
	if name, err := s.NameOf(ctx, v.Account); err != nil || name != v.Username {
		t.Errorf("got %q, %v", name, err)
	}
	if _, err := s.NameOf(ctx, "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("nobody: %v", err)
	}
	if here, err := s.MakesPlans(ctx); err != nil || !here {
		t.Errorf("without a cloud: %v, %v", here, err)
	}
	s.start()
	if here, err := s.MakesPlans(ctx); err != nil || here {
		t.Errorf("with a cloud: %v, %v", here, err)
	}
}

func TestAPhoneIsFoundByItsMACInAnySpelling(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	v := s.sellOne(SaleAsk{})
	s.sellOne(SaleAsk{}) // somebody else
	verdict := s.mustLogin(v.Username, "", phone)
	s.account(s.record(hotspot.Start, verdict, phone, 0, 0, 0))
	bare := strings.ToLower(strings.ReplaceAll(phone.String(), ":", ""))
	spellings := []string{phone.String(), strings.ToLower(strings.ReplaceAll(phone.String(), ":", "-")), bare, bare[:4] + "." + bare[4:8] + "." + bare[8:]}
	for _, when := range []string{"online", "gone"} {
		for _, text := range spellings {
			if found, err := s.Find(t.Context(), text, 10); err != nil || len(found) != 1 || found[0].ID != v.Account {
				t.Errorf("%s, %q: got %+v, %v", when, text, found, err)
			}
		}
		if when == "online" {
			s.clock.Add(time.Minute)
			s.account(s.record(hotspot.Stop, verdict, phone, 60, 10, 20))
		}
	}
}
