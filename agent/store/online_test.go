package store

import (
	"context"
	"maps"
	"reflect"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// sameOnline fails the test when what the readers have of those online is not what
// reading everybody gives. Writers may be at work: what is stale stays so.
func (s *site) sameOnline() {
	s.t.Helper()
	if _, measured := s.t.(*testing.B); measured || s.Damage() != nil {
		return
	}
	ctx := context.Background()
	var kept, fresh map[hotspot.AccountID]*onlineAccount
	for range 5 {
		if s.eachOnline(ctx, func(hotspot.AccountID, *onlineAccount) {}) != nil {
			return // closed, or no file any more: nothing is shown either
		}
		s.online.looking.Lock()
		kept = maps.Clone(s.online.accounts)
		s.online.looking.Unlock()
		var err error
		if fresh, err = s.readAllOnline(ctx); err != nil || reflect.DeepEqual(kept, fresh) {
			return
		}
	}
	for id, a := range fresh {
		if !reflect.DeepEqual(kept[id], a) {
			s.t.Errorf("of %s is kept %+v, and committed %+v", id, kept[id], a)
		}
	}
	for id := range kept {
		if fresh[id] == nil {
			s.t.Errorf("%s is kept, and no longer online", id)
		}
	}
}

// wants are the changes that live sessions need.
func (s *site) wants() []hotspot.Change {
	s.t.Helper()
	got, err := s.Adjusting(s.t.Context())
	s.must(err)
	s.sameOnline()
	return got
}

// TestWhatADateBringsIsSeenWithoutACommit: nothing is written when time is up.
func TestWhatADateBringsIsSeenWithoutACommit(t *testing.T) {
	for name, tc := range map[string]struct {
		move   func(*clock, time.Duration)
		before time.Duration // still allowed
		after  time.Duration // from then on
	}{
		"time goes by":      {(*clock).Add, 59 * time.Minute, time.Minute},
		"the date is set":   {(*clock).Set, 0, 2 * time.Hour},
		"just before":       {(*clock).Add, time.Hour - time.Millisecond, time.Millisecond},
		"set back and over": {(*clock).Set, -time.Hour, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.cloud.put(wire.DocAccount, "a-bob", wire.AccountDoc{Kind: hotspot.User, Username: "bob", Password: s.cloud.seal("hello")})
			s.cloud.put(wire.DocPass, "p-bob", wire.PassDoc{Account: "a-bob", SoldAt: noon, ValidUntil: noon.Add(time.Hour)})
			s.start()
			s.play(s.mustLogin("bob", "hello", phone), rec{kind: start})
			for range 2 {
				if got := s.targets(); len(got) != 0 {
					t.Fatalf("targets %+v of a pass that holds", got)
				}
			}
			tc.move(s.clock, tc.before)
			if got := s.targets(); len(got) != 0 {
				t.Errorf("targets %+v, want none yet", got)
			}
			tc.move(s.clock, tc.after)
			if got := s.target(); got.Reason != hotspot.OffNotValid {
				t.Errorf("target %+v, want one whose pass is over", got)
			}
			tc.move(s.clock, -tc.after)
			if got := s.targets(); len(got) != 0 {
				t.Errorf("targets %+v, want none: the date was wrong", got)
			}
		})
	}
}

// TestWhatIsCommittedIsSeenAtTheNextLook, whichever way it comes.
func TestWhatIsCommittedIsSeenAtTheNextLook(t *testing.T) {
	changed := func(l hotspot.Limits) func(*site, hotspot.Verdict) {
		return func(s *site, _ hotspot.Verdict) {
			s.cloud.put(wire.DocPass, "p-bob", wire.PassDoc{Account: "a-bob", PlanName: "Hour", Limits: wire.FromLimits(l), SoldAt: noon.Add(-time.Hour)})
			s.apply()
		}
	}
	two := rate(t, "2M/10M")
	for name, tc := range map[string]struct {
		limits  hotspot.Limits
		then    func(*site, hotspot.Verdict)
		off     hotspot.OffReason // "" is a change of a session that goes on
		changed func(hotspot.Terms) bool
	}{
		"a record uses the data up": {hotspot.Limits{Total: 100}, func(s *site, v hotspot.Verdict) {
			s.play(v, rec{kind: interim, seconds: 1, down: 100})
		}, hotspot.OffDataUsed, nil},
		"a document takes the data": {hotspot.Limits{Total: 100}, changed(hotspot.Limits{Total: 1}), hotspot.OffDataUsed, nil},
		"a document removes the pass": {hotspot.Limits{}, func(s *site, _ hotspot.Verdict) {
			s.cloud.drop(wire.DocPass, "p-bob")
			s.apply()
		}, hotspot.OffRemoved, nil},
		"a snapshot without the account": {hotspot.Limits{}, func(s *site, _ hotspot.Verdict) {
			s.cloud.drop(wire.DocAccount, "a-bob")
			for _, part := range s.cloud.snapshot("without", 100) {
				s.must(s.send(part))
			}
		}, hotspot.OffRemoved, nil},
		"a document gives another speed": {hotspot.Limits{}, changed(hotspot.Limits{Rate: two}), "", func(w hotspot.Terms) bool { return w.Rate == two }},
		"staff give another speed": {hotspot.Limits{}, func(s *site, _ hotspot.Verdict) {
			s.must(s.AdjustSpeed(s.t.Context(), "bob", two, false, "nadia"))
		}, "", func(w hotspot.Terms) bool { return w.Rate == two }},
		"staff give this session another speed": {hotspot.Limits{}, func(s *site, _ hotspot.Verdict) {
			s.must(s.AdjustSpeed(s.t.Context(), "bob", two, true, "nadia"))
		}, "", func(w hotspot.Terms) bool { return w.Rate == two }},
		"staff extend it": {hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered}, func(s *site, _ hotspot.Verdict) {
			s.must(s.Extend(s.t.Context(), "bob", time.Hour, hotspot.Staff{Name: "nadia"}, "waited"))
		}, "", func(w hotspot.Terms) bool { return w.Timeout == 2*time.Hour }},
	} {
		t.Run(name, func(t *testing.T) {
			s := selling(t, tc.limits)
			v := s.mustLogin("bob", "hello", phone)
			s.play(v, rec{kind: start})
			s.play(v, rec{kind: interim, down: 50})
			if off, want := s.targets(), s.wants(); len(off) > 0 || tc.off == "" && len(want) > 0 {
				t.Fatalf("too early: targets %+v, changes %+v", off, want)
			}
			tc.then(s, v)
			if tc.off != "" {
				if got := s.target(); got.Reason != tc.off {
					t.Errorf("target %+v, want %s", got, tc.off)
				}
				return
			}
			if got := s.wants(); len(got) != 1 || !tc.changed(got[0].Want) {
				t.Errorf("changes %+v, want the one", got)
			}
		})
	}
}

// TestASiteThatMovesChangesWhatSessionsNeed: limits by the hour go by its zone.
func TestASiteThatMovesChangesWhatSessionsNeed(t *testing.T) {
	s := selling(t, hotspot.Limits{})
	s.must(s.Close())
	night := rate(t, "1M/1M")
	s.o.Terms = func(_ *hotspot.Pass, now time.Time, zone *time.Location) (hotspot.RateLimit, time.Duration, bool) {
		if now.In(zone).Hour() >= 20 {
			return night, 0, true
		}
		return hotspot.RateLimit{}, 0, true
	}
	s.open()
	s.play(s.mustLogin("bob", "hello", phone), rec{kind: start})
	if got := s.wants(); len(got) != 0 {
		t.Fatalf("changes %+v at noon", got)
	}
	s.cloud.put(wire.DocSite, "s1", wire.SiteDoc{Name: "Blue Cup", Language: "en", TimeZone: "Asia/Tokyo"})
	s.apply()
	if got := s.wants(); len(got) != 1 || got[0].Want.Rate != night {
		t.Errorf("changes %+v, want the speed of the night", got)
	}
}

// TestALookReadsNobodyOfWhomNothingWasCommitted: what the next look needs is kept,
// and what a record changes is one account.
func TestALookReadsNobodyOfWhomNothingWasCommitted(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{})
	s.cloud.guest("ann", "hello", hotspot.Limits{})
	s.start()
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.account(s.record(hotspot.Start, s.mustLogin("ann", "hello", laptop), laptop, 0, 0, 0))
	look := func() map[hotspot.AccountID]*onlineAccount {
		s.targets()
		return maps.Clone(s.online.accounts)
	}
	first := look()
	if len(first) != 2 {
		t.Fatalf("online are %v, want both", first)
	}
	if again := look(); !maps.Equal(first, again) {
		t.Errorf("a look with nothing new read %v again", again)
	}
	s.clock.Add(time.Minute)
	s.must(s.ObserveActive(t.Context(), nas, []hotspot.ActiveEntry{{MAC: phone, User: "bob"}, {MAC: laptop, User: "ann"}}, s.clock.Now()))
	if again := look(); !maps.Equal(first, again) {
		t.Errorf("a router's list that says nothing new had %v read again", again)
	}
	s.play(v, rec{kind: interim, seconds: 60, down: 1})
	if after := look(); after["a-ann"] != first["a-ann"] || after["a-bob"] == first["a-bob"] {
		t.Errorf("after a record of bob's, online are %v, and were %v", after, first)
	}
	s.play(v, rec{kind: stop, seconds: 61, down: 1})
	if after := look(); len(after) != 1 || after["a-ann"] != first["a-ann"] {
		t.Errorf("after bob left, online are %v, and were %v", after, first)
	}
}

// TestALookThatFailedLosesNothing: what was to be read is read by the next one.
func TestALookThatFailedLosesNothing(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Total: 100})
	s.start()
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.targets()
	s.play(v, rec{kind: interim, seconds: 1, down: 100})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := s.Targets(gone); err == nil {
		t.Fatalf("targets %+v for a reader that left", got)
	}
	if got := s.target(); got.Reason != hotspot.OffDataUsed {
		t.Errorf("target %+v, want the one of before", got)
	}
}
