package store

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func (s *site) targets() []hotspot.Target {
	s.t.Helper()
	got, err := s.Targets(s.t.Context())
	s.must(err)
	s.sameOnline()
	return got
}

func (s *site) target() hotspot.Target {
	s.t.Helper()
	got := s.targets()
	if len(got) != 1 {
		s.t.Fatalf("%d targets, want 1: %+v", len(got), got)
	}
	return got[0]
}

// prove answers a target as the reconciler does.
func (s *site) prove(target hotspot.Target, outcome hotspot.Outcome) {
	s.t.Helper()
	p := hotspot.Proof{Account: target.Account, Reason: target.Reason, Outcome: outcome, Method: "disconnect", Sessions: len(target.Sessions), At: s.clock.Now(),
		Steps: []hotspot.Step{{Name: hotspot.StepReceived, At: target.ReceivedAt, OK: true}, {Name: hotspot.StepReadBack, At: s.clock.Now(), OK: true}}}
	if target.Lock != nil {
		p.Revision = target.Lock.Revision
	}
	s.must(s.Prove(s.t.Context(), p))
}

func (s *site) proofs() (out []hotspot.Outcome) {
	s.t.Helper()
	for _, e := range s.events() {
		if e.Kind == wire.EventLockProof {
			var p wire.LockProof
			s.must(json.Unmarshal(e.Body, &p))
			out = append(out, p.Outcome)
		}
	}
	return out
}

func TestALockIsATargetUntilProven(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.mustLogin("bob", "hello", laptop) // promised, not started
	if got := s.targets(); len(got) != 0 {
		t.Fatalf("targets before any lock: %+v", got)
	}
	s.clock.Add(time.Second)
	s.cloud.lock("a-bob")
	s.apply()
	got := s.target()
	if got.Account != "a-bob" || got.Reason != hotspot.OffLocked || !got.Whole || got.Lock == nil || got.Lock.Revision != s.cloud.rev || got.Lock.By != "owner" ||
		!got.ReceivedAt.Equal(noon.Add(time.Second)) || !got.LastAccept.Equal(noon) || !slices.Equal(got.Usernames, []string{"bob"}) {
		t.Errorf("target %+v", got)
	}
	if len(got.MACs) != 2 || !slices.Contains(got.MACs, phone) || !slices.Contains(got.MACs, laptop) {
		t.Errorf("devices %v, want the phone and the laptop", got.MACs)
	}
	if len(got.Sessions) != 2 || got.Sessions[0].State != hotspot.Live || got.Sessions[0].Permit != v.Permit || got.Sessions[1].State != hotspot.Reserved ||
		got.Sessions[1].MAC != laptop || got.Sessions[1].AcctSessionID != "80000001" || got.Sessions[1].Account != "a-bob" {
		t.Errorf("sessions %+v, want the phone's live one and the laptop's promise", got.Sessions)
	}

	s.prove(got, hotspot.OutcomePending)
	s.prove(got, hotspot.OutcomePending)
	s.target()
	s.clock.Add(time.Second)
	s.prove(got, hotspot.OutcomeEnforced)
	if got := s.targets(); len(got) != 0 {
		t.Errorf("targets after the proof: %+v", got)
	}
	if got := s.only(); got.State != hotspot.Closed || got.Cause != "locked" {
		t.Errorf("session %+v, want it closed by the lock", got)
	}
	if got := s.proofs(); !slices.Equal(got, []hotspot.Outcome{hotspot.OutcomePending, hotspot.OutcomeEnforced}) {
		t.Errorf("proofs told %v, want pending once and enforced", got)
	}
	locks, err := s.Locks(t.Context(), 10)
	s.must(err)
	if len(locks) != 1 || locks[0].Outcome != hotspot.OutcomeEnforced || locks[0].Username != "bob" || locks[0].By != "owner" || !locks[0].ProvenAt.Equal(noon.Add(2*time.Second)) {
		t.Errorf("locks %+v, want one proven two seconds after noon", locks)
	}

	// The router was wrong: the guest speaks again.
	s.play(v, rec{wait: time.Minute, kind: interim, seconds: 61, up: 9})
	again := s.target()
	if len(again.Sessions) != 1 || !again.Sessions[0].Outlived() {
		t.Errorf("target %+v, want its session to have outlived the proof", again)
	}
	s.prove(again, hotspot.OutcomeEnforced)
	if got := s.proofs(); len(got) != 3 {
		t.Errorf("proofs told %v, want one more", got)
	}
	s.prove(hotspot.Target{Account: "a-bob", Reason: hotspot.OffLocked, Lock: again.Lock}, hotspot.OutcomeEnforced)
	if got := s.proofs(); len(got) != 3 {
		t.Errorf("proofs told %v, a repeat must have no effect", got)
	}
	s.reopen()
	if got := s.targets(); len(got) != 0 {
		t.Errorf("targets after a restart: %+v", got)
	}
}

func TestALockWithNobodyOnlineIsATargetToo(t *testing.T) {
	s := cafe(t)
	s.cloud.lock("a-bob")
	s.cloud.lock("d1")
	s.cloud.lock("nobody")
	s.apply()
	got := s.targets()
	if len(got) != 3 || len(got[0].Sessions) != 0 {
		t.Fatalf("targets %+v, want three without sessions", got)
	}
	for _, target := range got {
		if target.Account == "d1" && (len(target.MACs) != 1 || target.MACs[0] != phone) {
			t.Errorf("the device account names %v, want its MAC", target.MACs)
		}
		s.prove(target, hotspot.OutcomeLeaks)
	}
	if got := s.targets(); len(got) != 0 {
		t.Errorf("targets after proof: %+v", got)
	}
}

func TestAProofOfALockSinceLiftedHasNoEffect(t *testing.T) {
	s := cafe(t)
	s.cloud.lock("a-bob")
	s.apply()
	old := s.target()
	s.cloud.drop(wire.DocLock, "a-bob")
	s.apply()
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.prove(old, hotspot.OutcomeEnforced)
	if got := s.only(); got.State != hotspot.Live || len(s.proofs()) != 0 {
		t.Errorf("session %+v, proofs %v; want neither touched", got, s.proofs())
	}
	s.cloud.lock("a-bob")
	s.apply()
	s.prove(old, hotspot.OutcomeEnforced) // the lock is a new one now
	if got := s.target(); got.Lock.Revision != s.cloud.rev {
		t.Errorf("target %+v, want the new lock", got)
	}
}

func TestEveryOtherReasonToBeOff(t *testing.T) {
	for name, tc := range map[string]struct {
		limits hotspot.Limits
		then   func(s *site, v hotspot.Verdict)
		want   hotspot.OffReason
	}{
		"data used": {hotspot.Limits{Total: 100}, func(s *site, v hotspot.Verdict) {
			s.play(v, rec{wait: time.Minute, kind: interim, seconds: 60, up: 60, down: 40})
		}, hotspot.OffDataUsed},
		"time used": {hotspot.Limits{Time: time.Minute, Clock: hotspot.Metered}, func(s *site, v hotspot.Verdict) {
			s.play(v, rec{wait: time.Minute, kind: interim, seconds: 60})
		}, hotspot.OffTimeUsed},
		"validity over": {hotspot.Limits{Validity: 2 * time.Hour}, func(s *site, _ hotspot.Verdict) { s.clock.Add(time.Hour) }, hotspot.OffNotValid},
		"account removed": {hotspot.Limits{}, func(s *site, _ hotspot.Verdict) {
			s.cloud.drop(wire.DocAccount, "a-bob")
			s.apply()
		}, hotspot.OffRemoved},
		"pass removed": {hotspot.Limits{}, func(s *site, _ hotspot.Verdict) {
			s.cloud.drop(wire.DocPass, "p-bob")
			s.apply()
		}, hotspot.OffRemoved},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.cloud.guest("bob", "hello", tc.limits)
			s.start()
			v := s.mustLogin("bob", "hello", phone)
			s.play(v, rec{kind: start})
			if got := s.targets(); len(got) != 0 {
				t.Fatalf("targets too early: %+v", got)
			}
			tc.then(s, v)
			got := s.target()
			if got.Reason != tc.want || len(got.Sessions) != 1 || got.Lock != nil || !slices.Contains(got.Usernames, "bob") || !slices.Contains(got.MACs, phone) {
				t.Errorf("target %+v, want %s with one session", got, tc.want)
			}
			s.clock.Add(time.Second)
			s.prove(got, hotspot.OutcomePending)
			s.target()
			s.prove(got, hotspot.OutcomeUnproven) // without an API: the accounting must say it
			if got := s.only(); got.State == hotspot.Closed {
				t.Errorf("session %+v, want it open: nothing was read back", got)
			}
			s.prove(s.target(), hotspot.OutcomeEnforced)
			if got := s.targets(); len(got) != 0 {
				t.Errorf("targets after the proof: %+v", got)
			}
			if got := s.only(); got.State != hotspot.Closed || got.Cause != string(tc.want) {
				t.Errorf("session %+v, want it closed by %s", got, tc.want)
			}
			if got := s.proofs(); len(got) != 0 {
				t.Errorf("lock proofs %v of something that is no lock", got)
			}
		})
	}
}

// TestAnotherPassOfTheAccountIsNotTouched: what is over is one pass, not the guest.
func TestAnotherPassOfTheAccountIsNotTouched(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Total: 100, Devices: 2})
	s.cloud.put(wire.DocPass, "p-next", wire.PassDoc{Account: "a-bob", SoldAt: noon})
	s.start()
	old := s.mustLogin("bob", "hello", phone)
	s.play(old, rec{kind: start})
	s.play(old, rec{wait: time.Minute, kind: interim, seconds: 60, up: 100})
	fresh := s.mustLogin("bob", "hello", laptop)
	s.play(fresh, rec{kind: start, mac: laptop})
	got := s.target()
	if got.Whole || len(got.Sessions) != 1 || got.Sessions[0].Permit != old.Permit || slices.Contains(got.MACs, laptop) {
		t.Errorf("target %+v, want the phone's session alone", got)
	}
	s.clock.Add(time.Minute)
	s.prove(got, hotspot.OutcomeEnforced)
	open, err := s.OpenSessions(t.Context())
	s.must(err)
	if len(open) != 1 || open[0].Permit != fresh.Permit {
		t.Errorf("open sessions %+v, want the laptop's", open)
	}
}

func TestTheRoutersListDecidesAboutSuspects(t *testing.T) {
	s := cafe(t)
	var permits []hotspot.PermitID
	for _, mac := range []hotspot.MAC{phone, laptop} {
		v := s.mustLogin("bob", "hello", mac)
		s.play(v, rec{kind: start, mac: mac})
		permits = append(permits, v.Permit)
	}
	s.play(hotspot.Verdict{}, rec{wait: time.Second, kind: nasOn})
	s.clock.Add(time.Second)
	list := []hotspot.ActiveEntry{{MAC: laptop, User: "bob"}}
	s.must(s.ObserveActive(t.Context(), "nas2", nil, s.clock.Now())) // another router's list says nothing
	s.must(s.ObserveActive(t.Context(), nas, list, s.clock.Now()))
	open, err := s.OpenSessions(t.Context())
	s.must(err)
	if len(open) != 1 || open[0].Permit != permits[1] || open[0].State != hotspot.Live {
		t.Errorf("open %+v, want the laptop's, live", open)
	}
	all := s.events()
	var ended wire.SessionBody
	s.must(json.Unmarshal(all[len(all)-1].Body, &ended))
	if all[len(all)-1].Kind != wire.EventSessionStopped || ended.Permit != permits[0] || ended.Cause != causeGhost {
		t.Errorf("newest event %s %+v, want the phone's end", all[len(all)-1].Kind, ended)
	}
}

func TestGhostsCloseWithinOneIntervalAndTenSeconds(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.clock.Add(ghostAfter)
	s.must(s.ObserveActive(t.Context(), nas, nil, s.clock.Now()))
	if got := s.only(); got.State != hotspot.Live {
		t.Errorf("closed before the interval was over: %+v", got)
	}
	s.clock.Add(time.Millisecond)
	s.must(s.ObserveActive(t.Context(), nas, []hotspot.ActiveEntry{{MAC: phone, User: "bob"}}, s.clock.Now()))
	if got := s.only(); got.State != hotspot.Live {
		t.Errorf("closed though the router lists it: %+v", got)
	}
	s.must(s.ObserveActive(t.Context(), nas, []hotspot.ActiveEntry{{MAC: phone, User: "eve"}, {MAC: laptop, User: "bob"}}, s.clock.Now()))
	if got := s.only(); got.State != hotspot.Closed || got.Cause != causeGhost {
		t.Errorf("got %+v, want a ghost: its phone is online as somebody else", got)
	}
}

func TestWithoutAListSilenceDecides(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	sweep := func(wait time.Duration, want hotspot.SessionState, why string) {
		t.Helper()
		s.clock.Add(wait)
		s.must(s.Sweep(t.Context()))
		if got := s.only(); got.State != want {
			t.Errorf("%s: got %s, want %s", why, got.State, want)
		}
	}
	sweep(silentAfter-time.Second, hotspot.Live, "three intervals are not over")
	s.must(s.ObserveActive(t.Context(), nas, []hotspot.ActiveEntry{{MAC: phone, User: "bob"}}, s.clock.Now()))
	sweep(silentAfter-time.Second, hotspot.Live, "the list named it meanwhile")
	s.reopen()
	s.clock.Add(time.Hour)
	s.reopen()
	sweep(silentAfter-time.Second, hotspot.Live, "the program did not run: silence is its own")
	sweep(time.Second, hotspot.Closed, "nobody speaks of it")
	if got := s.only(); got.Cause != causeSilent || !got.EndedAt.Equal(noon) {
		t.Errorf("got %+v, want it ended when last heard", got)
	}
	second := s.mustLogin("bob", "hello", laptop)
	s.play(second, rec{kind: start, mac: laptop})
	s.play(second, rec{kind: nasOn})
	s.clock.Add(ghostAfter)
	s.must(s.Sweep(t.Context()))
	if open, err := s.OpenSessions(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("a suspect after an interval of silence: %+v, %v", open, err)
	}
}

func TestSweepDropsOnlyWhatIsPastKeeping(t *testing.T) {
	s := cafe(t)
	gone := s.mustLogin("bob", "hello", phone)
	s.play(gone, rec{kind: start})
	s.play(gone, rec{wait: time.Minute, kind: stop, seconds: 60})
	long := s.mustLogin("bob", "hello", laptop)
	s.play(long, rec{kind: start, mac: laptop})
	days := int((sessionsKept + 24*time.Hour) / time.Second)
	s.play(long, rec{wait: sessionsKept + 24*time.Hour, kind: interim, seconds: days, mac: laptop})
	s.must(s.Sweep(t.Context()))
	if got := s.only(); got.Permit != long.Permit || got.State != hotspot.Live {
		t.Errorf("kept %+v, want the open session", got)
	}
	s.play(long, rec{wait: time.Minute, kind: stop, seconds: days + 60, mac: laptop})
	if got := s.only(); got.State != hotspot.Closed || got.Permit != long.Permit {
		t.Errorf("got %+v: the permit of an open session was dropped", got)
	}
}

func TestAKickEndsWhatWasOpenThenOnly(t *testing.T) {
	s := cafe(t)
	old := s.mustLogin("bob", "hello", phone)
	s.play(old, rec{kind: start})
	s.clock.Add(time.Minute)
	began := s.clock.Now()
	s.clock.Add(time.Second)
	fresh := s.mustLogin("bob", "hello", laptop)
	s.play(fresh, rec{kind: start, mac: laptop})
	s.clock.Add(time.Second)
	s.must(s.Prove(t.Context(), hotspot.Proof{Account: "a-bob", Reason: hotspot.OffKicked, Outcome: hotspot.OutcomeEnforced, At: s.clock.Now(),
		Steps: []hotspot.Step{{Name: hotspot.StepReceived, At: began}}}))
	open, err := s.OpenSessions(t.Context())
	s.must(err)
	if len(open) != 1 || open[0].Permit != fresh.Permit {
		t.Errorf("open %+v, want the session that began after the kick", open)
	}
}

// TestDoubtedLocksAreProvenAnew: less than enforced is not for ever.
func TestDoubtedLocksAreProvenAnew(t *testing.T) {
	for outcome, again := range map[hotspot.Outcome]bool{hotspot.OutcomeEnforced: false, hotspot.OutcomeLeaks: true, hotspot.OutcomeUnproven: true} {
		s := cafe(t)
		s.cloud.lock("a-bob")
		s.apply()
		s.prove(s.target(), outcome)
		if got := s.targets(); len(got) != 0 {
			t.Fatalf("%s: targets %+v, want none", outcome, got)
		}
		s.must(s.Doubt(t.Context()))
		if got := s.targets(); (len(got) == 1) != again {
			t.Errorf("%s, doubted: targets %+v, want one %v", outcome, got, again)
		} else if again {
			s.prove(got[0], hotspot.OutcomeEnforced)
			if got := s.proofs(); len(got) == 0 || got[len(got)-1] != hotspot.OutcomeEnforced {
				t.Errorf("%s: proofs %v, want the last enforced", outcome, got)
			}
		}
	}
}
