package store

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// afterRestore is a cafe whose database was put back from a copy taken before the
// guest logged in; v is what the guest was given since.
func afterRestore(t *testing.T) (*site, hotspot.Verdict) {
	t.Helper()
	s := careful(t)
	s.takes()
	s.clock.Add(time.Minute)
	v := s.mustLogin("bob", "hello", laptop)
	a := s.record(hotspot.Start, v, laptop, 0, 0, 0)
	a.AcctSessionID = "80000002"
	s.account(a)
	s.must(s.Close())
	harm["the header is zeros"](t, s.o.Path)
	s.clock.Add(time.Minute)
	s.open()
	if _, now, _ := s.Restored(); !now {
		t.Fatal("not put back")
	}
	return s, v
}

// listed is a router's list with a guest on it since a minute.
func listed(user string, mac hotspot.MAC, uptime time.Duration) []hotspot.ActiveEntry {
	return []hotspot.ActiveEntry{{User: user, MAC: mac, Uptime: uptime, RADIUS: true, Server: "hs1"}}
}

func (s *site) of(mac hotspot.MAC) (out []hotspot.Session) {
	s.t.Helper()
	all, err := s.Sessions(s.t.Context())
	s.must(err)
	for _, x := range all {
		if x.MAC == mac {
			out = append(out, x)
		}
	}
	return out
}

// TestGuestsUnknownToTheCopyAreRelearnt from the router's list: they can be put off
// before their next record, and that takes the session over, with all it used.
func TestGuestsUnknownToTheCopyAreRelearnt(t *testing.T) {
	for name, class := range map[string]bool{"with Class": true, "without Class": false} {
		t.Run(name, func(t *testing.T) {
			s, v := afterRestore(t)
			s.must(s.ObserveActive(t.Context(), nas, append(listed("bob", laptop, time.Minute), listed("nobody", hotspot.MAC{2, 9}, time.Minute)...), s.clock.Now()))
			got := s.of(laptop)
			if len(got) != 1 || got[0].State != hotspot.Live || got[0].Account != "a-bob" || got[0].Upload != 0 {
				t.Fatalf("sessions %+v", got)
			}
			s.must(s.ObserveActive(t.Context(), nas, listed("bob", laptop, time.Minute), s.clock.Now()))
			id := got[0].ID
			s.cloud.lock("a-bob")
			s.apply()
			targets, err := s.Targets(t.Context())
			s.must(err)
			found := false
			for _, x := range targets {
				for _, o := range x.Sessions {
					found = found || o.ID == id
				}
			}
			if !found {
				t.Errorf("the lock does not reach the session: %+v", targets)
			}
			before := s.usage("p-bob")
			a := s.record(hotspot.Interim, v, laptop, 60, 500, 700)
			if a.AcctSessionID = "80000002"; !class {
				a.Class = nil
			}
			s.account(a)
			s.account(a)
			got = s.of(laptop)
			if len(got) != 1 || got[0].ID != id || got[0].Upload != 500 || got[0].AcctSessionID != "80000002" || class != (got[0].Permit == v.Permit) {
				t.Errorf("sessions %+v, want the same with what it used", got)
			}
			if u := s.usage("p-bob"); u.Upload != before.Upload+500 || u.Download != before.Download+700 {
				t.Errorf("billed %+v, was %+v", u, before)
			}
			a.Kind, a.SessionTime, a.Upload = hotspot.Stop, 90*time.Second, 600
			s.account(a)
			if got = s.of(laptop); len(got) != 1 || got[0].State != hotspot.Closed || got[0].Upload != 600 {
				t.Errorf("after its Stop: %+v", got)
			}
			if u := s.usage("p-bob"); u.Upload != before.Upload+600 {
				t.Errorf("billed %+v in the end", u)
			}
		})
	}
}

// TestNobodyIsRelearntWithoutARestore, nor who logged in after it.
func TestNobodyIsRelearntWithoutARestore(t *testing.T) {
	s := careful(t)
	s.reopen()
	s.must(s.ObserveActive(t.Context(), nas, listed("bob", laptop, time.Hour), s.clock.Now()))
	if got := s.of(laptop); len(got) != 0 {
		t.Errorf("without a restore: %+v", got)
	}
	s, _ = afterRestore(t)
	s.clock.Add(time.Minute)
	s.must(s.ObserveActive(t.Context(), nas, listed("bob", laptop, 10*time.Second), s.clock.Now()))
	if got := s.of(laptop); len(got) != 0 {
		t.Errorf("a login after the restore: %+v", got)
	}
	s.clock.Add(relearnFor)
	s.must(s.ObserveActive(t.Context(), nas, listed("bob", laptop, time.Hour), s.clock.Now()))
	if got := s.of(laptop); len(got) != 0 {
		t.Errorf("long after it: %+v", got)
	}
}
