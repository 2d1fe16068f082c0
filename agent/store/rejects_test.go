package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func refusalOf(name string, at time.Time) hotspot.Reject {
	return hotspot.Reject{At: at, NAS: nas, Username: name, MAC: phone, Reason: hotspot.ReasonLocked, Message: "no", Detail: "locked by Ana", Account: "a-bob"}
}

// at brings the clock to a time.
func (s *site) at(at time.Time) { s.clock.Add(at.Sub(s.clock.Now())) }

// drained waits until the writer did what it was asked.
func (s *site) drained() {
	s.t.Helper()
	for waits := true; waits; { // what is its own batch runs after the one that asked
		s.must(s.do(s.t.Context(), func(*tx) error { return nil }))
		s.book.mu.Lock()
		waits = s.book.queued
		s.book.mu.Unlock()
	}
	s.must(s.do(s.t.Context(), func(*tx) error { return nil }))
}

// rejectRows counts the rows on disk.
func (s *site) rejectRows(where string) (n int) {
	s.t.Helper()
	s.must(s.query(s.t.Context(), "count rejects", "SELECT COUNT(*) FROM reject WHERE "+where, nil, func(scan func(...any) error) error { return scan(&n) }))
	return n
}

func TestRejectsAreRememberedAndBounded(t *testing.T) {
	s := newSite(t)
	const span = 2 * time.Second // slow enough for a row of each
	for i := range rejectsKept + 300 {
		s.at(noon.Add(time.Duration(i) * span))
		s.RecordReject(refusalOf(fmt.Sprintf("guest%d", i), s.clock.Now()))
		if i%50 == 0 {
			s.drained()
		}
	}
	for i := range silentKept + 100 {
		r := refusalOf(fmt.Sprintf("nobody%d", i), s.clock.Now())
		r.NAS, r.Silent, r.Reason = "", true, hotspot.ReasonUnknownNAS
		s.at(s.clock.Now().Add(5 * time.Second))
		s.RecordReject(r)
		if i%50 == 0 {
			s.drained()
		}
	}
	s.drained()
	s.at(s.clock.Now().Add(2 * housekeeping))
	s.must(s.Sweep(t.Context()))
	if got, silent := s.rejectRows("silent = 0"), s.rejectRows("silent = 1"); got != rejectsKept || silent != silentKept {
		t.Errorf("%d refusals and %d silences kept, want %d and %d", got, silent, rejectsKept, silentKept)
	}
	got, err := s.Rejects(t.Context(), silentKept+1)
	s.must(err)
	want := refusalOf(fmt.Sprintf("guest%d", rejectsKept+299), noon.Add((rejectsKept+299)*span))
	want.Times, want.Until, want.Ref = 1, want.At, got[silentKept].Ref
	if got[silentKept] != want || want.Ref == "" {
		t.Errorf("newest refusal %+v, want %+v", got[silentKept], want)
	}
}

// TestTheSameFailedLoginIsOneRowThatCounts: in memory, on disk, and over a restart.
func TestTheSameFailedLoginIsOneRowThatCounts(t *testing.T) {
	s := newSite(t)
	for i := range 45 {
		s.at(noon.Add(time.Duration(i) * 4 * time.Second))
		s.RecordReject(refusalOf("bob", s.clock.Now()))
	}
	other := refusalOf("bob", s.clock.Now())
	other.Reason = hotspot.ReasonBadPassword
	s.RecordReject(other)
	check := func(when string, n int) {
		t.Helper()
		got, err := s.Rejects(t.Context(), 100)
		s.must(err)
		for _, r := range got {
			if !r.At.Equal(noon) {
				continue
			}
			if len(got) != n || r.Times != 45 || !r.At.Equal(noon) || !r.Until.Equal(noon.Add(44*4*time.Second)) || !r.Flood() {
				t.Errorf("%s: %+v, want one of 45 times from noon on, a flood", when, got)
			}
			return
		}
		t.Errorf("%s: none of %+v is for the lock", when, got)
	}
	check("in memory", 2)
	s.must(s.Sweep(t.Context()))
	s.drained()
	s.reopen()
	check("after a restart", 2)

	// A while later it is another row, and so it is after an hour without a pause.
	s.at(noon.Add(30 * time.Minute))
	s.RecordReject(refusalOf("bob", s.clock.Now()))
	check("half an hour later", 3)
	for range 15 {
		s.at(s.clock.Now().Add(5 * time.Minute))
		s.RecordReject(refusalOf("bob", s.clock.Now()))
	}
	s.drained()
	if n := s.rejectRows("reason = 'locked'"); n != 3 {
		t.Errorf("%d rows, want three: before noon's end, half an hour later, an hour after that", n)
	}
	if r := refusalOf("x", noon); r.Flood() {
		t.Error("a single refusal is no flood")
	}
}

// TestAFloodOfNamesIsOneRow: what comes of one router for one reason within a minute
// is kept name by name up to a bound, then counted as many names; other reasons and
// routers are not touched by it.
func TestAFloodOfNamesIsOneRow(t *testing.T) {
	s := newSite(t)
	const flood = 20_000
	for i := range flood {
		r := refusalOf(fmt.Sprintf("code%d", i), noon)
		r.Reason, r.Account = hotspot.ReasonUnknown, ""
		s.RecordReject(r)
		r.Silent, r.NAS, r.Reason = true, "", hotspot.ReasonUnknownNAS
		s.RecordReject(r)
	}
	s.RecordReject(refusalOf("bob", noon))
	s.must(s.Sweep(t.Context()))
	s.drained()
	if n, want := s.rejectRows("1 = 1"), rejectsAMinute+1+silentAMinute+1+1; n != want {
		t.Errorf("%d rows of %d failed logins, want %d", n, 2*flood+1, want)
	}
	got, err := s.Rejects(t.Context(), 1000)
	s.must(err)
	times := map[hotspot.Reason]int{}
	for _, r := range got {
		times[r.Reason] += r.Count()
		if r.Others && (!r.Flood() || r.Username != "" || r.Count() < flood-rejectsAMinute) {
			t.Errorf("the row of many names: %+v", r)
		}
	}
	if times[hotspot.ReasonUnknown] != flood || times[hotspot.ReasonUnknownNAS] != flood || times[hotspot.ReasonLocked] != 1 {
		t.Errorf("counted %v, want all of them", times)
	}
}

// TestTheCloudIsToldOfFailedLogins: at the beginning of a row, when it has doubled
// and at its end; never of devices that only appeared, and never without a bound.
func TestTheCloudIsToldOfFailedLogins(t *testing.T) {
	s := newSite(t)
	s.cloud.put(wire.DocSite, "s1", wire.SiteDoc{Name: "Blue Cup"})
	s.start() // there is a cloud
	toldOf := func() (out []wire.LoginRefused) {
		t.Helper()
		b, err := s.DB.Events(t.Context(), 0, 1<<20, 1<<30)
		s.must(err)
		for _, e := range b.Events {
			if e.Kind == wire.EventLoginRefused {
				var one wire.LoginRefused
				s.must(json.Unmarshal(e.Body, &one))
				out = append(out, one)
			}
		}
		return out
	}
	sweep := func() { t.Helper(); s.must(s.Sweep(t.Context())); s.drained() }
	for i := range 30 { // five minutes
		s.at(noon.Add(time.Duration(i) * 10 * time.Second))
		s.RecordReject(refusalOf("bob", s.clock.Now()))
		sweep()
	}
	appeared := refusalOf(phone.String(), s.clock.Now())
	appeared.Reason, appeared.Account = hotspot.ReasonUnknown, ""
	s.RecordReject(appeared)
	s.at(s.clock.Now().Add(rejectQuiet))
	sweep()
	got := toldOf()
	var times []int
	for _, r := range got {
		times = append(times, max(1, r.Times))
		if r.ID != got[0].ID || r.Account != "a-bob" || r.NAS != nas || r.MAC != phone.String() || r.Reason != hotspot.ReasonLocked || r.Detail == "" || !r.At.Equal(noon) {
			t.Errorf("told %+v", r)
		}
	}
	if fmt.Sprint(times) != "[1 7 14 28 30]" {
		t.Errorf("told at %v times, want at the first, when doubled a minute on, and at the end", times)
	}
	before := len(got)
	for i := range 2000 {
		r := refusalOf(strings.Repeat("x", i%50+1), s.clock.Now())
		s.at(s.clock.Now().Add(11 * time.Minute / 50)) // each of them a row of its own, every time
		s.RecordReject(r)
		if i%100 == 0 {
			sweep()
		}
	}
	sweep()
	hours := float64(2000*11) / 50 / 60
	if n, most := len(toldOf())-before, tellBurst+int(hours*3600/tellEvery.Seconds())+1; n > most || n < tellBurst {
		t.Errorf("the cloud was told %d times in %.1f hours, want between %d and %d", n, hours, tellBurst, most)
	}
}

// TestWithoutACloudNobodyIsTold: a site that never had one keeps no such events.
func TestWithoutACloudNobodyIsTold(t *testing.T) {
	s := newSite(t)
	s.RecordReject(refusalOf("bob", noon))
	s.drained()
	b, err := s.DB.Events(t.Context(), 0, 100, 1<<20)
	s.must(err)
	for _, e := range b.Events {
		if e.Kind == wire.EventLoginRefused {
			t.Errorf("event %s", e.Body)
		}
	}
	if n := s.rejectRows("username = 'bob'"); n != 1 {
		t.Errorf("%d rows, want it kept all the same", n)
	}
}

// TestARollBackLosesNoFailedLogin: the operation that keeps them runs again.
func TestARollBackLosesNoFailedLogin(t *testing.T) {
	s := newSite(t)
	keep := s.keepRejects()
	s.book.mu.Lock()
	s.book.queued = true // nobody else comes for it
	s.book.mu.Unlock()
	s.RecordReject(refusalOf("bob", noon))
	runs := 0
	err := s.do(t.Context(), func(t *tx) error {
		if runs++; runs == 1 {
			if err := keep(t); err != nil {
				return err
			}
			panic("after it wrote")
		}
		return keep(t)
	})
	if err == nil {
		t.Fatal("a panic passed for success")
	}
	s.must(s.do(t.Context(), func(t *tx) error { return keep(t) }))
	if n := s.rejectRows("username = 'bob'"); n != 1 {
		t.Errorf("%d rows, want one", n)
	}
}
