package store

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// hurry has rows follow the commits as they do under load.
func (s *site) hurry() {
	s.t.Helper()
	s.LearnNAS(hotspot.NASMemory{NAS: nas, EchoesClass: true}) // which the first record would do
	s.must(s.do(s.t.Context(), func(t *tx) error { t.db.w.pressure = time.Hour; return nil }))
}

// copied opens a copy of the files as they are at this moment, which is what a
// cut of the power leaves.
func (s *site) copied() *site {
	s.t.Helper()
	at := filepath.Join(s.t.TempDir(), "site.db")
	for _, end := range []string{"", "-wal"} { // the log's index is made anew
		b, err := os.ReadFile(s.o.Path + end)
		s.must(err)
		s.must(os.WriteFile(at+end, b, 0o600))
	}
	c := &site{t: s.t, cloud: s.cloud, clock: s.clock, o: s.o, refused: map[hotspot.AccountID]uint64{}, shut: map[hotspot.MAC]uint64{}}
	c.o.Path, c.o.BeforeRefusal = at, nil
	c.open()
	s.t.Cleanup(func() { s.must(c.Close()) })
	return c
}

// rows are the rows of sessions and usage, as SQL has them this moment.
func (s *site) rows() (out []string) {
	s.t.Helper()
	for _, q := range []string{"SELECT id || state || time_ms || '/' || upload || '/' || server || host_ip || stopped || terms || cause || heard_at || '/' || ended_at FROM session ORDER BY id",
		"SELECT pass || first_used || '/' || time_ms || '/' || upload || counted FROM usage ORDER BY pass"} {
		s.must(s.queryLate(s.t.Context(), "read rows", q, nil, func(scan func(...any) error) error {
			var row string
			err := scan(&row)
			out = append(out, row)
			return err
		}))
	}
	return out
}

// TestRowsFollowTheLogThroughAPowerCut has records whose rows are not written
// yet, cuts the power, and finds after the start the rows that would have been
// written.
func TestRowsFollowTheLogThroughAPowerCut(t *testing.T) {
	s := cafe(t)
	bob, voucher := s.mustLogin("bob", "hello", phone), s.mustLogin("ABCD2345", "", laptop)
	s.hurry()
	s.must(s.do(t.Context(), func(t *tx) error { t.db.w.lateTime = time.Hour; return nil }))
	before := s.rows()
	a := s.record(hotspot.Start, bob, phone, 0, 0, 0)
	a.Server, a.HostIP = "hs\"guest", netip.MustParseAddr("192.168.88.7")
	s.must(s.Account(t.Context(), a))
	for i := 1; i < 4; i++ {
		s.must(s.Account(t.Context(), s.record(hotspot.Interim, bob, phone, i*60, i*1000, i*5000)))
		s.must(s.Account(t.Context(), s.record(hotspot.Interim, voucher, laptop, i*30, i*10, i*50)))
	}
	s.must(s.Account(t.Context(), s.record(hotspot.Stop, voucher, laptop, 100, 40, 200)))
	if got := s.rows(); !slices.Equal(got, before) {
		t.Fatalf("nothing was late, so nothing is proven here; the rows are\n%q", got)
	}
	cut := s.copied().rows()
	s.must(s.settled(t.Context()))
	if want := s.rows(); !slices.Equal(cut, want) || slices.Equal(want, before) {
		t.Errorf("after the power cut the rows are\n%q\nwant\n%q", cut, want)
	}
}

// TestWhoReadsHasTheRowsBroughtUp asks, while rows are late, each reader that
// must not see the old ones.
func TestWhoReadsHasTheRowsBroughtUp(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	for name, look := range map[string]func() bool{
		"sessions": func() bool {
			all, err := s.Sessions(t.Context())
			s.must(err)
			return slices.ContainsFunc(all, func(x hotspot.Session) bool { return x.Permit == v.Permit })
		},
		"a login once the desk forgot the account": func() bool {
			s.desk.drop([]hotspot.AccountID{v.Account})
			_, err := s.readFactsOf(v.Account)
			s.must(err)
			return s.sessionsAtDesk(v.Account) == 1
		},
		"was the device here before": func() bool {
			s.desk.withdraw(v.Account, func(*hotspot.Session) bool { return true })
			used, err := s.UsedBefore(t.Context(), "bob", phone)
			s.must(err)
			return used
		},
	} {
		s.must(s.do(t.Context(), func(x *tx) error { // a cafe nobody was in
			clear(x.db.w.work.passes)
			_, err := x.exec("empty", "DELETE FROM session")
			return err
		}))
		s.hurry()
		s.must(s.Account(t.Context(), s.record(hotspot.Start, v, phone, 0, 0, 0)))
		if !s.lag.has(v.Account) {
			t.Fatalf("%s: nothing was late, so nothing is proven here", name)
		}
		if !look() {
			t.Errorf("%s: the session is not seen", name)
		}
	}
}

// readFactsOf reads an account's facts as a login does.
func (s *site) readFactsOf(id hotspot.AccountID) (*facts, error) {
	e := s.desk.byAccount(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := s.renew(context.Background(), e, s.clock.Now())
	return e.facts, err
}

func (s *site) sessionsAtDesk(id hotspot.AccountID) int {
	e := s.desk.byAccount(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.facts.sessions)
}

// TestARollBackKeepsWhatWasLate has an operation fail while rows of acknowledged
// records are late.
func TestARollBackKeepsWhatWasLate(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.hurry()
	s.must(s.Account(t.Context(), s.record(hotspot.Start, v, phone, 0, 0, 0)))
	s.must(s.Account(t.Context(), s.record(hotspot.Interim, v, phone, 60, 1000, 5000)))
	if !s.lag.has(v.Account) {
		t.Fatal("nothing was late, so nothing is proven here")
	}
	err := s.submit(t.Context(), &op{own: true, run: func(x *tx) error {
		p, _ := openClass(s.classKey, v.Class)
		if err := x.record(s.record(hotspot.Stop, v, phone, 90, 2000, 6000), p); err != nil {
			return err
		}
		return fmt.Errorf("after it wrote")
	}})
	if err == nil {
		t.Fatal("the failing operation did not fail")
	}
	s.must(s.Account(t.Context(), s.record(hotspot.Interim, v, phone, 120, 3000, 9000)))
	all, err := s.Sessions(t.Context())
	s.must(err)
	if len(all) != 1 || all[0].State != hotspot.Live || all[0].Time != 2*time.Minute || all[0].Upload != 3000 {
		t.Errorf("sessions %+v, want one, live, two minutes and 3000 octets up", all)
	}
	log, err := s.Events(t.Context(), 0, 1000, 1<<20)
	s.must(err)
	for _, e := range log.Events {
		var b wire.SessionBody
		s.must(json.Unmarshal(e.Body, &b))
		if b.Permit == v.Permit && b.ID != all[0].ID {
			t.Errorf("the log has %s of session %s, which is no more", e.Kind, b.ID)
		}
	}
}

// TestRowsDoNotStayLate: a burst that ends has its rows written soon after.
func TestRowsDoNotStayLate(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.hurry()
	s.must(s.Account(t.Context(), s.record(hotspot.Start, v, phone, 0, 0, 0)))
	if !s.lag.has(v.Account) {
		t.Fatal("nothing was late, so nothing is proven here")
	}
	for begun := time.Now(); s.lag.has(v.Account); time.Sleep(10 * time.Millisecond) { // the writer's own timer is what is tested
		if time.Since(begun) > 10*lateTime {
			t.Fatal("the row is still not written")
		}
	}
}

// TestManyAtOnceReadWhatTheyWrote has guests report while others read.
func TestManyAtOnceReadWhatTheyWrote(t *testing.T) {
	s := cafe(t)
	s.cloud.guest("crowd", "hello", hotspot.Limits{Devices: 100})
	s.apply()
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			v := s.mustLogin("crowd", "hello", device(g))
			for i := range 20 {
				a := s.record(hotspot.Interim, v, device(g), i+1, i+1, i+1)
				a.AcctSessionID = hotspot.AcctSessionID(fmt.Sprintf("800000%02x", g))
				s.must(s.Account(t.Context(), a))
				open, err := s.OpenSessions(t.Context())
				s.must(err)
				at := slices.IndexFunc(open, func(x hotspot.Session) bool { return x.Permit == v.Permit })
				if at < 0 || open[at].Upload != hotspot.Octets(i+1) {
					t.Errorf("guest %d does not read what was acknowledged", g)
					return
				}
			}
		})
	}
	all.Wait()
}
