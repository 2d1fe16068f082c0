package store

import (
	"context"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// TestTheNewestAcceptIsTheOneThatLeftLast: not when it was judged; a repeat
// counts; and an account that leaves the desk takes nothing with it.
func TestTheNewestAcceptIsTheOneThatLeftLast(t *testing.T) {
	judged := func(s *site) hotspot.Verdict {
		v, err := s.Authorize(context.Background(), hotspot.Request{NAS: nas, Username: "bob", MAC: phone, At: s.clock.Now(), AcctSessionID: "80000001",
			Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "hello"}})
		s.must(err)
		if !v.Accept {
			t.Fatalf("got refusal %q, want accept", v.Reason)
		}
		return v
	}
	leave := func(s *site) {
		s.desk.mu.Lock()
		defer s.desk.mu.Unlock()
		for len(s.desk.accounts) > 0 {
			s.desk.evict()
		}
	}
	for name, tc := range map[string]struct {
		then func(s *site, v hotspot.Verdict)
		want time.Duration // after it was judged; below 0 is never
	}{
		"it waited for the disk": {func(s *site, v hotspot.Verdict) { s.clock.Add(3 * time.Second); v.Departures.Left(s.clock.Now()) }, 3 * time.Second},
		"and was repeated": {func(s *site, v hotspot.Verdict) {
			v.Departures.Left(s.clock.Now())
			s.clock.Add(8 * time.Second)
			v.Departures.Left(s.clock.Now())
		}, 8 * time.Second},
		"it has not left": {func(*site, hotspot.Verdict) {}, -1},
		"two left, noted the wrong way round": {func(s *site, v hotspot.Verdict) {
			v.Departures.Left(s.clock.Now().Add(2 * time.Second))
			v.Departures.Left(s.clock.Now().Add(time.Second))
		}, 2 * time.Second},
		"its account left the desk":           {func(s *site, v hotspot.Verdict) { v.Departures.Left(s.clock.Now().Add(time.Second)); leave(s) }, time.Second},
		"its account left the desk before it": {func(s *site, v hotspot.Verdict) { leave(s); v.Departures.Left(s.clock.Now().Add(time.Second)) }, time.Second},
		"and came back": {func(s *site, v hotspot.Verdict) {
			leave(s)
			judged(s)
			v.Departures.Left(s.clock.Now().Add(time.Second))
		}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := echoing(t)
			s.clock.Add(time.Minute) // away from the opening, which stands for Accepts of before
			tc.then(s, judged(s))
			s.cloud.lock("a-bob")
			s.apply()
			want := noon // the opening
			if tc.want >= 0 {
				want = noon.Add(time.Minute + tc.want)
			}
			if got := s.target().LastAccept; !got.Equal(want) {
				t.Errorf("got %v after noon, want %v", got.Sub(noon), want.Sub(noon))
			}
			s.prove(s.target(), hotspot.OutcomeEnforced)
			s.cloud.lock("d1") // the device that the Accept was for, which is another account
			s.apply()
			if got := s.target(); !got.Device || !got.LastAccept.Equal(want) {
				t.Errorf("the device: got %v after noon, want %v", got.LastAccept.Sub(noon), want.Sub(noon))
			}
		})
	}
}
