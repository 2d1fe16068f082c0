package store

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// TestADateThatIsSetClosesNobody: a box without a battery gets its date from the
// network in mid-session. Silence is counted on, not found.
func TestADateThatIsSetClosesNobody(t *testing.T) {
	for name, by := range map[string]time.Duration{"a month ahead": 30 * 24 * time.Hour, "an hour back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := cafe(t)
			v := s.mustLogin("bob", "hello", phone)
			s.play(v, rec{kind: start})
			s.must(s.Sweep(t.Context()))
			s.clock.Add(5 * time.Second)
			s.clock.Set(by)
			s.must(s.Sweep(t.Context()))
			s.must(s.ObserveActive(t.Context(), nas, nil, s.clock.Now())) // read before it logged in
			if got := s.only(); got.State != hotspot.Live {
				t.Fatalf("closed by a date that was set: %+v", got)
			}
			s.play(v, rec{wait: 55 * time.Second, kind: interim, seconds: 60, up: 5})
			if got := s.only(); got.State != hotspot.Live || got.Upload != 5 || got.Permit != v.Permit {
				t.Errorf("its next record: %+v", got)
			}
			s.clock.Add(ghostAfter + time.Second)
			s.must(s.ObserveActive(t.Context(), nas, nil, s.clock.Now()))
			if got := s.only(); got.State != hotspot.Closed || got.Cause != causeGhost {
				t.Errorf("a ghost stays after the date was set: %+v", got)
			}
		})
	}
}

// TestWhatWasHeardOfLaterThanNowStillEnds: the power cut took router and box, and
// the box came up with a date of before.
func TestWhatWasHeardOfLaterThanNowStillEnds(t *testing.T) {
	open := func(t *testing.T) (*site, hotspot.Verdict) {
		s := cafe(t)
		v := s.mustLogin("bob", "hello", phone)
		s.play(v, rec{kind: start})
		s.must(s.Close())
		s.clock.Set(-24 * time.Hour)
		s.open()
		return s, v
	}
	t.Run("by its silence", func(t *testing.T) {
		s, _ := open(t)
		s.must(s.Sweep(t.Context()))
		s.clock.Add(silentAfter + time.Second)
		s.must(s.Sweep(t.Context()))
		if got := s.only(); got.State != hotspot.Closed || got.Cause != causeSilent {
			t.Errorf("got %+v, want it closed", got)
		}
	})
	t.Run("by the router's list", func(t *testing.T) {
		s, _ := open(t)
		s.must(s.Sweep(t.Context()))
		s.clock.Add(ghostAfter + time.Second)
		s.must(s.ObserveActive(t.Context(), nas, nil, s.clock.Now()))
		if got := s.only(); got.State != hotspot.Closed || got.Cause != causeGhost {
			t.Errorf("got %+v, want it closed", got)
		}
	})
	t.Run("by Accounting-On", func(t *testing.T) {
		s, v := open(t)
		s.play(v, rec{kind: nasOn})
		if got := s.only(); got.State != hotspot.Suspect {
			t.Errorf("got %s, want it suspect", got.State)
		}
		s.must(s.Sweep(t.Context()))
		s.clock.Add(time.Second)
		s.must(s.ObserveActive(t.Context(), nas, nil, s.clock.Now()))
		if got := s.only(); got.State != hotspot.Closed || got.Cause != causeGhost {
			t.Errorf("got %+v, want it closed at once", got)
		}
	})
}

// TestASessionIsFoundAgainAfterTheDateWasSet: also that of a NAS that does not
// echo Class, whose records say when it began by our date only.
func TestASessionIsFoundAgainAfterTheDateWasSet(t *testing.T) {
	for name, by := range map[string]time.Duration{"a month ahead": 30 * 24 * time.Hour, "an hour back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := cafe(t)
			v := s.mustLogin("bob", "hello", phone)
			s.play(v, rec{kind: start, class: "none"})
			s.play(v, rec{wait: time.Minute, kind: interim, seconds: 60, up: 5, class: "none"})
			s.clock.Set(by)
			s.play(v, rec{wait: time.Minute, kind: interim, seconds: 120, up: 7, class: "none"})
			s.play(v, rec{wait: time.Minute, kind: stop, seconds: 180, up: 9, cause: 1, class: "none"})
			got := s.only()
			if got.Permit != v.Permit || got.State != hotspot.Closed || got.Upload != 9 || got.Time != 3*time.Minute {
				t.Errorf("got %+v, want one session of the permit", got)
			}
			if u := s.usage("p-bob"); u.Upload != 9 || u.Time != 3*time.Minute {
				t.Errorf("billed %+v, want 9 octets and 3m", u)
			}
		})
	}
	t.Run("after a reboot the same Acct-Session-Id is another session", func(t *testing.T) {
		s := cafe(t)
		v := s.mustLogin("bob", "hello", phone)
		s.play(v, rec{kind: start, class: "none"})
		s.play(v, rec{wait: 10 * time.Minute, kind: interim, seconds: 600, up: 5, class: "none"})
		s.play(v, rec{wait: 10 * time.Minute, kind: interim, seconds: 60, up: 900, class: "none"})
		if u := s.usage("p-bob"); u.Upload != 5 {
			t.Errorf("billed %+v, want the first session alone", u)
		}
	})
}
