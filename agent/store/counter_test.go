package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

var maria = hotspot.Staff{Name: "maria", Role: hotspot.Cashier, At: hotspot.AtPage}
var omar = hotspot.Staff{Name: "omar", Role: hotspot.Technician, At: hotspot.AtCommand}

// hourPlan is a plan made on site, metered so that it can be paused.
func (s *site) hourPlan() hotspot.Plan {
	s.t.Helper()
	p, err := s.SetPlan(s.t.Context(), hotspot.Plan{Name: "Hour", Price: hotspot.Money{Minor: 150, Currency: "EUR"},
		Limits: hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered, Validity: 24 * time.Hour, Devices: 1}}, omar)
	s.must(err)
	return p
}

func (s *site) sellOne(a SaleAsk) Sold {
	s.t.Helper()
	if a.By.Name == "" {
		a.By = maria
	}
	if a.Plan == "" {
		a.Plan = "hour"
	}
	sold, err := s.Sell(s.t.Context(), a)
	s.must(err)
	if len(sold) != 1 {
		s.t.Fatalf("%d sales, want 1", len(sold))
	}
	return sold[0]
}

// told returns the bodies of the events of a kind.
func told[T any](s *site, kind wire.EventKind) (out []T) {
	s.t.Helper()
	for _, e := range s.events() {
		if e.Kind == kind {
			var b T
			s.must(json.Unmarshal(e.Body, &b))
			out = append(out, b)
		}
	}
	return out
}

// takeIn does what the cloud does with sales of the site.
func (c *cloud) takeIn(s *site) {
	for _, b := range told[wire.SaleMade](s, wire.EventSaleMade) {
		if b.New != nil {
			doc := *b.New
			if doc.Kind == hotspot.User {
				doc.Password = c.seal("secret")
			}
			c.put(wire.DocAccount, string(b.Account), doc)
		}
		c.put(wire.DocPass, string(b.Pass), b.PassDoc)
	}
}

// acked has the cloud acknowledge the whole log.
func (s *site) acked() {
	s.t.Helper()
	h, err := s.Standing(s.t.Context())
	s.must(err)
	s.must(s.Acked(s.t.Context(), wire.Ack{V: 1, Epoch: h.Epoch, Through: h.LastSeq}))
}

func (s *site) lockNow(account hotspot.AccountID) *hotspot.Lock {
	s.t.Helper()
	var l *hotspot.Lock
	s.must(s.do(s.t.Context(), func(t *tx) (err error) { l, err = t.lockOf(account); return err }))
	return l
}

func TestSoldWithoutACloudIsInForceAtOnceAndStaysSo(t *testing.T) {
	s := newSite(t)
	plan := s.hourPlan()
	v := s.sellOne(SaleAsk{Note: "table 4"})
	if len(hotspot.LoginKey(hotspot.Voucher, v.Username)) != codeLength || v.Price.String() != "EUR 1.50" || !v.New {
		t.Errorf("got %+v, want a code of %d characters for EUR 1.50", v, codeLength)
	}
	u := s.sellOne(SaleAsk{User: "amira", Password: "pw12"})
	first := s.mustLogin(v.Username, "", phone)
	if s.mustLogin("amira", "pw12", laptop); s.login("amira", "wrong", phone).Accept {
		t.Error("amira logs in with a wrong password")
	}
	s.must(s.Extend(t.Context(), "amira", 30*time.Minute, maria, "the line was down"))
	again := s.sellOne(SaleAsk{To: "amira"})
	if again.Account != u.Account || again.New || again.Pass == u.Pass {
		t.Errorf("got %+v, want another pass of %s", again, u.Account)
	}
	s.reopen()
	if p := s.passNow(u.Pass); p.Limits.Time != 90*time.Minute || p.Plan != plan.ID || !p.ValidUntil.Equal(noon.Add(24*time.Hour+30*time.Minute)) {
		t.Errorf("after a restart: got %+v, want 90 minutes, until a day from the sale and what was added", p)
	}
	if v := s.login(v.Username, "", phone); !v.Accept || v.Pass != first.Pass {
		t.Errorf("after a restart: got %+v", v)
	}
	if got := told[wire.SaleMade](s, wire.EventSaleMade); len(got) != 3 || got[0].By != "maria" || got[0].Role != hotspot.Cashier || got[0].PriceMinor != 150 || got[0].New.Note != "table 4" || got[2].New != nil {
		t.Errorf("told %+v, want three sales by maria, the last to a guest there is", got)
	}
	if sales, err := s.Sales(t.Context(), noon, 10); err != nil || len(sales) != 3 || sales[0].Pass != again.Pass || sales[2].By != maria {
		t.Errorf("got %+v, %v; want three sales, the newest first", sales, err)
	}
	for text, want := range map[string]string{"ami": "amira", v.Username[:6]: v.Username, "table": v.Username} {
		if found, err := s.Find(t.Context(), text, 10); err != nil || len(found) != 1 || found[0].Username != want || found[0].PlanName != "Hour" {
			t.Errorf("find %q: got %+v, %v; want %s", text, found, err, want)
		}
	}
	for name, ask := range map[string]SaleAsk{"a name that is taken": {User: "amira"}, "nobody": {To: "eve"}, "no such plan": {Plan: "year"}, "too many": {Count: 1001},
		"many of one": {User: "x", Count: 2}, "blanks": {User: " x"}} {
		if ask.Plan == "" {
			ask.Plan = "Hour"
		}
		if sold, err := s.Sell(t.Context(), ask); err == nil {
			t.Errorf("%s: sold %+v", name, sold)
		}
	}
	many, err := s.Sell(t.Context(), SaleAsk{Plan: string(plan.ID), Count: 20, By: maria})
	codes := map[string]bool{}
	for _, m := range many {
		codes[m.Username] = true
	}
	if err != nil || len(codes) != 20 {
		t.Errorf("%d codes, %v; want 20 that differ", len(codes), err)
	}
}

func TestWhatWasSoldComesBackAsDocumentsAndNobodyIsPutOff(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	v := s.sellOne(SaleAsk{})
	verdict := s.mustLogin(v.Username, "", phone)
	s.account(s.record(hotspot.Start, verdict, phone, 0, 0, 0))
	s.clock.Add(time.Minute)
	s.account(s.record(hotspot.Interim, verdict, phone, 60, 10, 20))
	s.must(s.Extend(t.Context(), v.Username, 30*time.Minute, maria, ""))
	online := func(when string) {
		t.Helper()
		if targets, err := s.Targets(t.Context()); err != nil || len(targets) != 0 {
			t.Errorf("%s: %+v, %v must be off; want nobody", when, targets, err)
		}
		if got := s.only(); got.State != hotspot.Live {
			t.Errorf("%s: got %+v", when, got)
		}
		var passes, accounts int
		s.must(s.query(t.Context(), "count", "SELECT (SELECT COUNT(*) FROM pass), (SELECT COUNT(*) FROM account)", nil, func(scan func(...any) error) error { return scan(&passes, &accounts) }))
		if passes != 1 || accounts != 1 || s.passNow(v.Pass).Limits.Time != 90*time.Minute {
			t.Errorf("%s: %d passes of %d accounts, %+v; want the one, of 90 minutes", when, passes, accounts, s.passNow(v.Pass))
		}
	}
	s.start() // a cloud that knows nothing yet
	online("after the first snapshot")
	s.acked()
	s.cloud.put(wire.DocSite, "s1", wire.SiteDoc{Name: "Blue Cup, by the sea"})
	for _, p := range s.cloud.snapshot("late", 1) { // made before it took the events in, come after the answer
		s.must(s.send(p))
	}
	online("after a snapshot of before")
	s.cloud.takeIn(s)
	s.apply()
	online("with the document")
	for _, e := range s.events() {
		if e.Kind == wire.EventAdjusted {
			s.cloud.fold(e)
		}
	}
	s.apply()
	s.reopen()
	online("with the extension in the document")
	// A cloud put back to before the sale: it stays, and is told again under the same ids.
	was := len(told[wire.SaleMade](s, wire.EventSaleMade))
	s.cloud.lineage, s.cloud.docs = "l2", map[wire.DocRef]wire.Doc{}
	s.start()
	online("after a restored backup of the cloud")
	again := told[wire.SaleMade](s, wire.EventSaleMade)
	if len(again) <= was || again[len(again)-1].ID != v.ID || again[len(again)-1].Pass != v.Pass {
		t.Errorf("told %+v, want the sale again", again)
	}
	s.cloud.takeIn(s)
	s.apply()
	online("told again")
	// Removed in the cloud is removed here.
	s.cloud.drop(wire.DocPass, string(v.Pass))
	s.cloud.drop(wire.DocAccount, string(v.Account))
	s.apply()
	if targets, err := s.Targets(t.Context()); err != nil || len(targets) != 1 || targets[0].Reason != hotspot.OffRemoved {
		t.Errorf("removed in the cloud: %+v, %v; want the guest off", targets, err)
	}
	if err := s.Extend(t.Context(), v.Username, time.Hour, maria, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("extended after it: %v, want that nobody has the name", err)
	}
}

func TestWhatTheCloudRemovedBeforeWeHeldItGoesWithASnapshotThatHasSeenItsEvent(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	v := s.sellOne(SaleAsk{})
	s.must(s.Lock(t.Context(), v.Username, "rude", maria))
	s.start()
	h, err := s.Standing(t.Context())
	s.must(err)
	snapshot := func(id string, seen *wire.Seen) {
		t.Helper()
		s.cloud.put(wire.DocSite, "s1", wire.SiteDoc{Name: id})
		for _, p := range s.cloud.snapshot(id, 100) {
			p.Seen = seen
			s.must(s.send(p))
		}
	}
	for id, seen := range map[string]*wire.Seen{"of before": {Epoch: h.Epoch, Through: 1}, "of another log": {Epoch: "other", Through: h.LastSeq}, "of an older cloud": nil} {
		snapshot(id, seen)
		if _, err := s.AccountNamed(t.Context(), v.Username); err != nil || s.lockNow(v.Account) == nil {
			t.Errorf("a snapshot %s: %v, lock %v; want guest and lock as they were", id, err, s.lockNow(v.Account))
		}
	}
	snapshot("after", &wire.Seen{Epoch: h.Epoch, Through: h.LastSeq})
	if _, err := s.AccountNamed(t.Context(), v.Username); !fault.Is(err, fault.NotFound) || s.lockNow(v.Account) != nil {
		t.Errorf("a snapshot that has seen it: %v, lock %v; want both gone", err, s.lockNow(v.Account))
	}
}

// A guest whose documents are held is the cloud's from then on: a snapshot that has
// them and has seen the sale changes nothing.
func TestWhatIsHeldOutlivesASnapshotThatHasSeenItsSale(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	v := s.sellOne(SaleAsk{})
	s.start()
	s.cloud.takeIn(s)
	s.apply()
	s.acked()
	h, err := s.Standing(t.Context())
	s.must(err)
	s.cloud.put(wire.DocSite, "s1", wire.SiteDoc{Name: "later"})
	for _, p := range s.cloud.snapshot("later", 100) {
		p.Seen = &wire.Seen{Epoch: h.Epoch, Through: h.LastSeq}
		s.must(s.send(p))
	}
	if _, err := s.AccountNamed(t.Context(), v.Username); err != nil || !s.login(v.Username, "", phone).Accept {
		t.Errorf("the guest is gone: %v", err)
	}
}

func TestASaleKeepsThePlanItWasSoldBy(t *testing.T) {
	s := newSite(t)
	s.cloud.put(wire.DocPlan, "p1", wire.PlanDoc{Name: "Evening", PriceMinor: 200, Currency: "EUR", Limits: wire.LimitsBody{TimeS: 7200}})
	s.start()
	v := s.sellOne(SaleAsk{Plan: "evening"})
	s.cloud.put(wire.DocPlan, "p1", wire.PlanDoc{Name: "Evening", PriceMinor: 900, Currency: "EUR", Limits: wire.LimitsBody{TimeS: 60}})
	s.apply()
	if got := told[wire.SaleMade](s, wire.EventSaleMade)[0]; s.passNow(v.Pass).Limits.Time != 2*time.Hour || got.PriceMinor != 200 || got.PassDoc.Limits.TimeS != 7200 {
		t.Errorf("changed: %+v, %+v; want two hours for 2.00", s.passNow(v.Pass), got)
	}
	if dear := s.sellOne(SaleAsk{Plan: "p1"}); dear.Price.Minor != 900 {
		t.Errorf("the next sale: %+v, want the new price", dear)
	}
	s.cloud.drop(wire.DocPlan, "p1")
	s.apply()
	s.reopen()
	if s.passNow(v.Pass).Limits.Time != 2*time.Hour || !s.login(v.Username, "", phone).Accept {
		t.Error("removed: the pass sold before is not what it was")
	}
	if _, err := s.Sell(t.Context(), SaleAsk{Plan: "Evening"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("removed: %v, want no such plan", err)
	}
	if _, err := s.SetPlan(t.Context(), hotspot.Plan{Name: "Mine"}, omar); !fault.Is(err, fault.Conflict) {
		t.Errorf("a plan where a cloud owns them: %v", err)
	}
}

func TestPasswordsAreToldOnceThereIsAKeyToSealThemTo(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	u := s.sellOne(SaleAsk{User: "amira", Password: "pw12"})
	for _, e := range s.events() {
		if e.Kind == wire.EventAccountPassword || bytes.Contains(e.Body, []byte("pw12")) {
			t.Errorf("without a cloud: %s %s tells a password", e.Kind, e.Body)
		}
	}
	key, err := secret.NewKey()
	s.must(err)
	s.must(s.SetCloudKey(t.Context(), key.Public()))
	s.must(s.SetCloudKey(t.Context(), key.Public())) // a second start
	later := s.sellOne(SaleAsk{User: "bob", Password: "pw34"})
	got := map[hotspot.AccountID]string{}
	for _, b := range told[wire.AccountPassword](s, wire.EventAccountPassword) {
		text, err := key.Open(b.Password)
		s.must(err)
		if got[b.Account] += text; got[b.Account] != text {
			t.Errorf("%s is told twice", b.Account)
		}
	}
	if len(got) != 2 || got[u.Account] != "pw12" || got[later.Account] != "pw34" {
		t.Errorf("told %v, want both passwords, once", got)
	}
}

func TestOfTwoLocksTheStricterHoldsUntilAPersonWhoSawItLiftsIt(t *testing.T) {
	lockDoc := func(s *site, by string, pause bool) {
		s.cloud.put(wire.DocLock, "a-bob", wire.LockDoc{By: by, Reason: "test", At: noon.Add(time.Duration(s.cloud.rev) * time.Second), Pause: pause})
	}
	start := func(t *testing.T) *site {
		s := newSite(t)
		s.cloud.guest("bob", "hello", hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered})
		s.start()
		return s
	}
	locked := func(s *site, want bool, by string) {
		s.t.Helper()
		for _, when := range []string{"", " after a restart"} {
			l := s.lockNow("a-bob")
			if (l != nil) != want || l != nil && l.By != by {
				s.t.Errorf("lock%s: got %+v, want one by %q: %v", when, l, by, want)
			}
			if s.login("bob", "hello", phone).Accept == want {
				s.t.Errorf("login%s: want it refused: %v", when, want)
			}
			s.reopen()
		}
	}
	t.Run("set here, lifted here", func(t *testing.T) {
		s := start(t)
		s.must(s.Lock(t.Context(), "bob", "rude", maria))
		locked(s, true, "maria (cashier)")
		s.must(s.Unlock(t.Context(), "bob", "sorry", maria))
		locked(s, false, "")
		if got := told[wire.LockLifted](s, wire.EventLockLifted); len(got) != 1 || got[0].LockedBy != "maria (cashier)" || !got[0].LockedAt.Equal(noon) {
			t.Errorf("told %+v", got)
		}
	})
	t.Run("of the cloud, lifted here", func(t *testing.T) {
		s := start(t)
		lockDoc(s, "owner", false)
		s.apply()
		if err := s.Unlock(t.Context(), "bob", "", maria); !fault.Is(err, fault.Denied) {
			t.Errorf("a cashier lifts the owner's lock: %v", err)
		}
		s.must(s.Unlock(t.Context(), "bob", "", omar))
		locked(s, false, "")
		for _, p := range s.cloud.snapshot("again", 1) { // the cloud has not heard of it
			s.must(s.send(p))
		}
		locked(s, false, "")
		for ref, d := range s.cloud.docs { // the very lock comes anew, under a later revision
			if ref.Kind == wire.DocLock {
				s.cloud.put(ref.Kind, ref.ID, []byte(d.Body))
			}
		}
		s.apply()
		locked(s, false, "")
		lockDoc(s, "manager", false) // another lock, that omar did not see
		s.apply()
		locked(s, true, "manager")
	})
	t.Run("set here, another lifted in the cloud", func(t *testing.T) {
		s := start(t)
		lockDoc(s, "owner", false)
		s.apply()
		s.must(s.Unlock(t.Context(), "bob", "", omar))
		s.must(s.Lock(t.Context(), "bob", "again", omar))
		s.cloud.drop(wire.DocLock, "a-bob")
		s.apply()
		locked(s, true, "omar (technician)")
		s.acked()
		lockDoc(s, "omar (technician)", false)
		s.apply()
		s.cloud.drop(wire.DocLock, "a-bob")
		s.apply()
		locked(s, false, "")
	})
	t.Run("set on both sides, lifted in the cloud before it heard of ours", func(t *testing.T) {
		s := start(t)
		s.must(s.Lock(t.Context(), "bob", "rude", maria))
		lockDoc(s, "owner", false)
		s.apply()
		locked(s, true, "owner")
		s.cloud.drop(wire.DocLock, "a-bob")
		s.apply()
		locked(s, true, "owner")
		s.acked()
		lockDoc(s, "maria (cashier)", false)
		s.apply()
		s.cloud.drop(wire.DocLock, "a-bob")
		s.apply()
		locked(s, false, "")
	})
	t.Run("a pause of the cloud beneath a lock set here", func(t *testing.T) {
		s := start(t)
		s.must(s.Lock(t.Context(), "bob", "rude", maria))
		lockDoc(s, "owner", true)
		s.apply()
		locked(s, true, "maria (cashier)")
		if err := s.Resume(t.Context(), "bob", maria); err == nil {
			t.Error("a lock is lifted by resuming")
		}
	})
}

func TestAPauseStopsMeteredTimeAndTheCounterResumes(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	_, err := s.SetPlan(t.Context(), hotspot.Plan{Name: "Day", Limits: hotspot.Limits{Time: 24 * time.Hour, Clock: hotspot.Continuous}}, omar)
	s.must(err)
	v, day := s.sellOne(SaleAsk{}), s.sellOne(SaleAsk{Plan: "Day"})
	if err := s.Pause(t.Context(), day.Username, "", maria); !fault.Is(err, fault.Conflict) {
		t.Errorf("pausing continuous time: %v", err)
	}
	verdict := s.mustLogin(v.Username, "", phone)
	s.account(s.record(hotspot.Start, verdict, phone, 0, 0, 0))
	s.must(s.Pause(t.Context(), v.Username, "", maria))
	if targets, err := s.Targets(t.Context()); err != nil || len(targets) != 1 || targets[0].Account != v.Account || targets[0].Reason != hotspot.OffLocked {
		t.Errorf("paused: %+v, %v must be off; want the guest", targets, err)
	}
	if found, err := s.Find(t.Context(), v.Username, 1); err != nil || len(found) != 1 || !found[0].Paused || found[0].Locked {
		t.Errorf("got %+v, %v; want a pause and no lock", found, err)
	}
	s.account(s.record(hotspot.Stop, verdict, phone, 60, 1, 1))
	s.clock.Add(5 * time.Hour)
	s.must(s.Resume(t.Context(), v.Username, maria))
	if s.mustLogin(v.Username, "", phone); s.usage(v.Pass).Time != time.Minute {
		t.Errorf("used %v, want a minute", s.usage(v.Pass).Time)
	}
	s.must(s.Pause(t.Context(), v.Username, "", maria))
	s.must(s.Lock(t.Context(), v.Username, "rude", maria)) // the stricter
	if err := s.Resume(t.Context(), v.Username, maria); err == nil {
		t.Error("a lock is lifted by resuming")
	}
	if err := s.Pause(t.Context(), v.Username, "", maria); err == nil {
		t.Error("a lock becomes a pause")
	}
}

func TestAKickEndsSessionsOnceAndIsTold(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	v := s.sellOne(SaleAsk{})
	if _, err := s.KickHere(t.Context(), v.Username, maria); !fault.Is(err, fault.Conflict) {
		t.Errorf("nobody online: %v", err)
	}
	verdict := s.mustLogin(v.Username, "", phone)
	s.account(s.record(hotspot.Start, verdict, phone, 0, 0, 0))
	n, err := s.KickHere(t.Context(), v.Username, maria)
	if targets, _ := s.Targets(t.Context()); err != nil || n != 1 || len(targets) != 1 || targets[0].Reason != hotspot.OffKicked {
		t.Errorf("%d, %v, %+v; want one session to end", n, err, targets)
	}
	if got := told[wire.AccountKicked](s, wire.EventAccountKicked); len(got) != 1 || got[0].By != "maria" || got[0].Sessions != 1 {
		t.Errorf("told %+v", got)
	}
}

func TestTheThrowAwayOfATestIsNoSaleAndGoesAway(t *testing.T) {
	s := newSite(t)
	s.hourPlan()
	before := len(s.events())
	v := s.sellOne(SaleAsk{Test: true})
	s.mustLogin(v.Username, "", phone)
	s.must(s.Lock(t.Context(), v.Username, "test", omar))
	if s.login(v.Username, "", phone).Accept {
		t.Error("logs in though locked")
	}
	for _, e := range s.events()[before:] {
		switch e.Kind {
		case wire.EventSaleMade, wire.EventLockSet, wire.EventAccountPassword:
			t.Errorf("a test is told: %s %s", e.Kind, e.Body)
		}
	}
	if sales, err := s.Sales(t.Context(), time.Time{}, 10); err != nil || len(sales) != 0 {
		t.Errorf("sales %+v, %v; want none", sales, err)
	}
	s.must(s.RemoveTest(t.Context(), v.Sale))
	left := s.sellOne(SaleAsk{Test: true})
	real := s.sellOne(SaleAsk{})
	s.must(s.RemoveTest(t.Context(), real.Sale)) // it is none: nothing happens
	s.reopen()
	for name, there := range map[string]bool{v.Username: false, left.Username: false, real.Username: true} {
		if _, err := s.AccountNamed(t.Context(), name); (err == nil) != there {
			t.Errorf("%s: %v, want it there: %v", name, err, there)
		}
	}
	if s.lockNow(v.Account) != nil {
		t.Error("the lock of the test is still there")
	}
}

func TestMoneyIsReadAndWritten(t *testing.T) {
	for _, tc := range []struct {
		amount, currency, want string
		minor                  int64
	}{{"5", "eur", "EUR 5.00", 500}, {"5.5", "EUR", "EUR 5.50", 550}, {"0.05", "EGP", "EGP 0.05", 5}, {"1200", "JPY", "JPY 1200", 1200}, {"1.234", "KWD", "KWD 1.234", 1234}, {"0", "USD", "USD 0.00", 0}} {
		if m, err := hotspot.ParseMoney(tc.amount, tc.currency); err != nil || m.Minor != tc.minor || m.String() != tc.want {
			t.Errorf("%s %s: got %+v, %q, %v; want %q", tc.amount, tc.currency, m, m, err, tc.want)
		}
	}
	for _, bad := range [][2]string{{"", "EUR"}, {"-1", "EUR"}, {"1.234", "EUR"}, {"1.5", "JPY"}, {"5", "euro"}, {"5", ""}, {"1,5", "EUR"}, {"1e3", "EUR"}} {
		if m, err := hotspot.ParseMoney(bad[0], bad[1]); err == nil {
			t.Errorf("%v is read as %v", bad, fmt.Sprint(m))
		}
	}
}
