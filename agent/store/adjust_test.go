package store

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func rate(t testing.TB, s string) hotspot.RateLimit {
	t.Helper()
	r, err := hotspot.ParseRateLimit(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// live says what a session should run under, in its shortest form.
func live(p *hotspot.Pass, now time.Time, _ *time.Location) (hotspot.RateLimit, time.Duration, bool) {
	left := time.Duration(0)
	if p.Limits.Time > 0 {
		left = p.Limits.Time - p.Usage.Time
		if p.Limits.Clock != hotspot.Metered {
			left = p.Limits.Time - now.Sub(p.Usage.FirstUsed)
		}
	}
	return p.Limits.RateAfter(p.Usage), left, left >= 0
}

// selling is a site with one guest, bob, and a judge that gives speed and time.
func selling(t *testing.T, l hotspot.Limits) *site {
	t.Helper()
	s := newSite(t)
	s.must(s.Close())
	s.o.Terms = live
	s.o.Decide = func(f hotspot.Facts, r hotspot.Request) hotspot.Verdict {
		v := judge(f, r)
		if v.Accept {
			p := *f.Pass
			if p.Usage.FirstUsed.IsZero() {
				p.Usage.FirstUsed = f.Now
			}
			v.Rate, v.SessionTimeout, _ = live(&p, f.Now, nil)
			v.AddressLists = p.Limits.AddressLists
		}
		return v
	}
	s.open()
	s.cloud.guest("bob", "hello", l)
	s.start()
	return s
}

func (s *site) passNow(id hotspot.PassID) hotspot.Pass {
	s.t.Helper()
	var p *hotspot.Pass
	s.must(s.do(s.t.Context(), func(t *tx) (err error) { p, err = t.pass(id); return err }))
	if p == nil {
		s.t.Fatalf("no pass %s", id)
	}
	return *p
}

// fold does what the cloud does with an event of the site.
func (c *cloud) fold(e wire.Event) {
	c.t.Helper()
	var b wire.AdjustedBody
	if err := json.Unmarshal(e.Body, &b); err != nil {
		c.t.Fatal(err)
	}
	var doc wire.PassDoc
	if err := json.Unmarshal(c.docs[wire.DocRef{Kind: wire.DocPass, ID: string(b.Pass)}].Body, &doc); err != nil {
		c.t.Fatal(err)
	}
	if slices.Contains(doc.Adjusted, e.ID) {
		return
	}
	doc.Limits.TimeS += b.TimeS
	if b.Rate != nil {
		doc.Limits.Rate = *b.Rate
	}
	doc.Adjusted = append(doc.Adjusted, e.ID)
	c.put(wire.DocPass, string(b.Pass), doc)
}

func TestAnExtensionOnSiteCountsOnceWhateverComesBetween(t *testing.T) {
	s := selling(t, hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered})
	s.must(s.Extend(t.Context(), "bob", 30*time.Minute, hotspot.Staff{Name: "nadia"}, "waited"))
	want := func(when string, d time.Duration) {
		t.Helper()
		if got := s.passNow("p-bob").Limits.Time; got != d {
			t.Errorf("%s: the pass has %v, want %v", when, got, d)
		}
	}
	want("at once", 90*time.Minute)
	if k := s.kinds(); k[len(k)-1] != wire.EventAdjusted {
		t.Fatalf("the log ends with %s, want account.adjusted", k[len(k)-1])
	}
	events := s.events()
	s.reopen()
	want("after a restart", 90*time.Minute)
	// A snapshot that does not know of it yet, and a delta that touches the pass.
	for _, part := range s.cloud.snapshot("between", 100) {
		s.must(s.send(part))
	}
	want("after a snapshot without it", 90*time.Minute)
	var doc wire.PassDoc
	s.must(json.Unmarshal(s.cloud.docs[wire.DocRef{Kind: wire.DocPass, ID: "p-bob"}].Body, &doc))
	doc.Limits.TimeS += 600 // the owner gave ten minutes meanwhile
	s.cloud.put(wire.DocPass, "p-bob", doc)
	s.apply()
	want("with the cloud's ten minutes", 100*time.Minute)
	s.cloud.fold(events[len(events)-1])
	s.apply()
	want("once the cloud has it", 100*time.Minute)
	for _, part := range s.cloud.snapshot("after", 100) {
		s.must(s.send(part))
	}
	want("after a snapshot with it", 100*time.Minute)
}

// TestAdjustmentsAddUpInAnyOrder: whatever the order of changes on site, changes
// in the cloud, folding, snapshots and restarts, the pass holds their sum.
func TestAdjustmentsAddUpInAnyOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := selling(t, hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered})
		want := time.Hour
		var waiting []wire.Event
		for i := range rapid.IntRange(3, 12).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"site", "cloud", "fold", "fold twice", "snapshot", "restart"}).Draw(r, "step") {
			case "site":
				d := time.Duration(rapid.IntRange(1, 90).Draw(r, "minutes")) * time.Minute
				s.must(s.Extend(t.Context(), "bob", d, hotspot.Staff{Name: "nadia"}, ""))
				want += d
				e := s.events()
				waiting = append(waiting, e[len(e)-1])
			case "cloud":
				var doc wire.PassDoc
				s.must(json.Unmarshal(s.cloud.docs[wire.DocRef{Kind: wire.DocPass, ID: "p-bob"}].Body, &doc))
				doc.Limits.TimeS += 60
				want += time.Minute
				s.cloud.put(wire.DocPass, "p-bob", doc)
				s.apply()
			case "fold", "fold twice":
				if len(waiting) > 0 {
					s.cloud.fold(waiting[0])
					s.cloud.fold(waiting[0])
					waiting = waiting[1:]
					s.apply()
				}
			case "snapshot":
				for _, part := range s.cloud.snapshot("s"+string(rune('a'+i)), 1) {
					s.must(s.send(part))
				}
			case "restart":
				s.reopen()
			}
			if got := s.passNow("p-bob").Limits.Time; got != want {
				r.Fatalf("step %d: the pass has %v, want %v", i, got, want)
			}
		}
	})
}

func TestWhatCannotBeAdjustedSaysWhy(t *testing.T) {
	s := selling(t, hotspot.Limits{Rate: rate(t, "2M/10M")})
	for name, tc := range map[string]struct {
		do   func() error
		kind fault.Kind
	}{
		"nobody":            {func() error { return s.Extend(t.Context(), "eve", time.Hour, hotspot.Staff{}, "") }, fault.NotFound},
		"time without end":  {func() error { return s.Extend(t.Context(), "bob", time.Hour, hotspot.Staff{}, "") }, fault.Conflict},
		"less than nothing": {func() error { return s.Extend(t.Context(), "bob", -time.Hour, hotspot.Staff{}, "") }, fault.Invalid},
		"nobody online":     {func() error { return s.AdjustSpeed(t.Context(), "bob", rate(t, "1M/1M"), true, "") }, fault.Conflict},
		"a burst below":     {func() error { return s.AdjustSpeed(t.Context(), "bob", rate(t, "2M/2M 1M/1M"), false, "") }, fault.Invalid},
	} {
		before := len(s.events())
		err := tc.do()
		if !fault.Is(err, tc.kind) || fault.Hint(err) == "" {
			t.Errorf("%s: got %v with next step %q, want kind %s with one", name, err, fault.Hint(err), tc.kind)
		}
		if len(s.events()) != before {
			t.Errorf("%s: an event was written", name)
		}
	}
}

func TestLiveSessionsDifferFromWhatIsWanted(t *testing.T) {
	s := selling(t, hotspot.Limits{Time: time.Hour, Rate: rate(t, "2M/10M"), SlowRate: rate(t, "256k/512k"), Total: 1000})
	v := s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	differ := func(when string) []hotspot.Change {
		t.Helper()
		c, err := s.Adjusting(t.Context())
		s.must(err)
		return c
	}
	if c := differ("at first"); len(c) != 0 {
		t.Fatalf("just logged in: %+v differs, want nothing", c)
	}
	s.clock.Add(10 * time.Minute)
	s.account(s.record(hotspot.Interim, v, phone, 600, 100, 100))
	if c := differ("later"); len(c) != 0 {
		t.Fatalf("after ten minutes: %+v differs, want nothing", c)
	}

	if open, err := s.OpenSessions(t.Context()); err != nil || len(open) != 1 || open[0].Rate == nil || open[0].Rate.String() != "2M/10M" {
		t.Fatalf("open: %+v, %v; want the speed the Accept gave", open, err)
	}
	s.must(s.AdjustSpeed(t.Context(), "bob", rate(t, "1M/1M"), false, "nadia"))
	c := differ("another speed")
	if len(c) != 1 || !c[0].Rate() || c[0].Timeout() || c[0].Want.Rate.String() != "1M/1M" || c[0].Have.Rate.String() != "2M/10M" {
		t.Fatalf("another speed: got %+v", c)
	}
	s.must(s.Extend(t.Context(), "bob", time.Hour, hotspot.Staff{Name: "nadia"}, ""))
	if c = differ("more time"); len(c) != 1 || !c[0].Timeout() || !hotspot.SameTimeout(c[0].Want.Timeout, 2*time.Hour) {
		t.Fatalf("more time: got %+v, want two hours from the start", c)
	}
	// Half of it reached the router; the rest must wait for the next login.
	now := c[0].Have
	now.Rate = c[0].Want.Rate
	done := hotspot.Changed{Session: c[0].Session.ID, Want: c[0].Want, Now: now, Outcome: hotspot.ChangeNextLogin, Code: "HSP-207"}
	s.must(s.Adjusted(t.Context(), done))
	s.must(s.Adjusted(t.Context(), done)) // told once
	if c := differ("concluded"); len(c) != 0 {
		t.Fatalf("concluded: %+v is tried again", c)
	}
	told := 0
	for _, k := range s.kinds() {
		if k == wire.EventSessionChanged {
			told++
		}
	}
	if told != 1 {
		t.Errorf("session.changed was told %d times, want once", told)
	}

	// The quota passes: the slower speed is wanted of the live session.
	s.clock.Add(time.Minute)
	s.account(s.record(hotspot.Interim, v, phone, 660, 600, 600))
	if c = differ("data used"); len(c) != 1 || c[0].Want.Rate.String() != "256k/512k" || c[0].Have.Rate.String() != "1M/1M" {
		t.Fatalf("data used: got %+v, want the slower speed", c)
	}
	// A person's word for this session is above both.
	s.must(s.AdjustSpeed(t.Context(), "bob", rate(t, "3M/3M"), true, "nadia"))
	if c = differ("once"); len(c) != 1 || c[0].Want.Rate.String() != "3M/3M" {
		t.Fatalf("once: got %+v, want 3M/3M", c)
	}
	if p := s.passNow("p-bob"); p.Limits.Rate.String() != "1M/1M" {
		t.Errorf("the pass has %s after a speed for one session, want 1M/1M", p.Limits.Rate)
	}
	view, err := s.AccountNamed(t.Context(), "bob")
	s.must(err)
	if len(view.Sessions) != 1 || !view.Waiting || view.Unsent != 2 || view.Wanted[0].Rate.String() != "3M/3M" {
		t.Errorf("got %+v, want one session that waits, two changes unsent", view)
	}
	s.account(s.record(hotspot.Stop, v, phone, 700, 600, 600))
	if c := differ("stopped"); len(c) != 0 {
		t.Errorf("a closed session differs: %+v", c)
	}
}

func TestMeteredTimeOfTwoDevicesIsNoDifference(t *testing.T) {
	s := selling(t, hotspot.Limits{Time: 2 * time.Hour, Clock: hotspot.Metered, Devices: 2})
	v := s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	s.clock.Add(20 * time.Minute)
	s.account(s.record(hotspot.Interim, v, phone, 1200, 1, 1))
	w := s.mustLogin("bob", "hello", laptop)
	start := s.record(hotspot.Start, w, laptop, 0, 0, 0)
	start.AcctSessionID = "80000002"
	s.account(start)
	for i := 1; i <= 5; i++ {
		s.clock.Add(90 * time.Second)
		c, err := s.Adjusting(t.Context())
		s.must(err)
		if len(c) != 0 {
			t.Fatalf("after %d stretches: %+v differs, want nothing", i, c)
		}
		s.account(s.record(hotspot.Interim, v, phone, 1200+90*i, 1, 1))
	}
}
