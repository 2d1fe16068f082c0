package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// echoing is the cafe with a NAS known to echo Class.
func echoing(t testing.TB) *site {
	s := cafe(t)
	s.learn()
	return s
}

// learn makes the NAS known to echo Class.
func (s *site) learn() {
	s.t.Helper()
	s.LearnNAS(hotspot.NASMemory{NAS: nas, EchoesClass: true})
	s.must(s.do(s.t.Context(), func(*tx) error { return nil }))
	if !s.nases.echoes(nas) {
		s.t.Fatal("the NAS was not learnt")
	}
}

func TestALoginOfAPassInUseWritesNothing(t *testing.T) {
	s := echoing(t)
	s.mustLogin("bob", "hello", phone) // the first use is on disk
	size := func() int64 {
		st, err := os.Stat(s.o.Path + "-wal")
		s.must(err)
		return st.Size()
	}
	before := size()
	for range 50 {
		s.mustLogin("bob", "hello", phone)
	}
	if after := size(); after != before {
		t.Errorf("50 logins wrote %d octets", after-before)
	}
}

func TestPromisesLiveInMemory(t *testing.T) {
	third := hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 3}
	s := echoing(t)
	v := s.mustLogin("bob", "hello", phone)
	other := s.mustLogin("bob", "hello", laptop)
	if v := s.login("bob", "hello", third); v.Reason != hotspot.ReasonTooManyDevices {
		t.Errorf("a third device: got %+v", v)
	}
	s.play(v, rec{kind: start}) // the promise is a session now, once
	if f := s.facts("bob"); len(f.Sessions) != 2 || f.Sessions[0].State != hotspot.Live || f.Sessions[1].State != hotspot.Reserved || f.Sessions[1].MAC != laptop {
		t.Errorf("devices %+v, want the phone live and the laptop promised", f.Sessions)
	}
	s.clock.Add(reservationTime + time.Second)
	if f := s.facts("bob"); len(f.Sessions) != 1 {
		t.Errorf("devices %+v, want the laptop's promise lapsed", f.Sessions)
	}
	s.mustLogin("bob", "hello", laptop)
	s.reopen()
	if f := s.facts("bob"); len(f.Sessions) != 1 || f.Sessions[0].MAC != phone {
		t.Errorf("after a restart devices %+v, want what had begun", f.Sessions)
	}
	s.play(other, rec{kind: start, mac: laptop}) // its Class is enough
	if f := s.facts("bob"); len(f.Sessions) != 2 || f.Sessions[1].Permit != other.Permit {
		t.Errorf("devices %+v, want the laptop's session of before the restart", f.Sessions)
	}
}

// TestEveryChangeReachesTheNextRequest changes what an account's judgement rests
// on, one by one, while the account is at the desk.
func TestEveryChangeReachesTheNextRequest(t *testing.T) {
	s := echoing(t)
	s.mustLogin("bob", "hello", phone)
	s.mustLogin("ABCD2345", "", phone)
	want := func(what, name, password string, accept bool, account hotspot.AccountID, reason hotspot.Reason) {
		t.Helper()
		if v := s.login(name, password, phone); v.Accept != accept || v.Account != account || v.Reason != reason {
			t.Errorf("%s: got accept %v, account %q, reason %q; want %v, %q, %q", what, v.Accept, v.Account, v.Reason, accept, account, reason)
		}
	}
	for _, step := range []struct {
		what   string
		change func()
		check  func(what string)
	}{
		{"a lock", func() { s.cloud.lock("a-bob") }, func(w string) { want(w, "bob", "hello", false, "a-bob", hotspot.ReasonLocked) }},
		{"a lock lifted", func() { s.cloud.drop(wire.DocLock, "a-bob") }, func(w string) { want(w, "bob", "hello", true, "a-bob", "") }},
		{"a pass taken away", func() { s.cloud.drop(wire.DocPass, "p-bob") }, func(w string) { want(w, "bob", "hello", false, "a-bob", hotspot.ReasonNoPass) }},
		{"a pass sold", func() { s.cloud.put(wire.DocPass, "p2", wire.PassDoc{Account: "a-bob", SoldAt: noon}) }, func(w string) { want(w, "bob", "hello", true, "a-bob", "") }},
		{"a pass given to another", func() { s.cloud.put(wire.DocPass, "p2", wire.PassDoc{Account: "v1", SoldAt: noon}) }, func(w string) { want(w, "bob", "hello", false, "a-bob", hotspot.ReasonNoPass) }},
		{"a pass given back", func() { s.cloud.put(wire.DocPass, "p2", wire.PassDoc{Account: "a-bob", SoldAt: noon}) }, func(w string) { want(w, "bob", "hello", true, "a-bob", "") }},
		{"a pass that ends", func() {
			s.cloud.put(wire.DocPass, "p2", wire.PassDoc{Account: "a-bob", SoldAt: noon, ValidUntil: noon.Add(-time.Hour)})
		}, func(w string) { want(w, "bob", "hello", false, "a-bob", hotspot.ReasonTimeUsed) }},
		{"the password", func() {
			s.cloud.put(wire.DocAccount, "a-bob", wire.AccountDoc{Kind: hotspot.User, Username: "bob", Password: s.cloud.seal("other")})
		}, func(w string) { want(w, "bob", "hello", false, "a-bob", hotspot.ReasonBadPassword) }},
		{"the name", func() {
			s.cloud.put(wire.DocAccount, "a-bob", wire.AccountDoc{Kind: hotspot.User, Username: "rob", Password: s.cloud.seal("other")})
		}, func(w string) {
			want(w, "bob", "other", false, "", hotspot.ReasonUnknown)
			want(w, "rob", "other", false, "a-bob", hotspot.ReasonTimeUsed)
		}},
		{"a user of a voucher's spelling", func() { s.cloud.guest("ABCD2345", "hello", hotspot.Limits{}) }, func(w string) {
			want(w, "ABCD2345", "hello", true, "a-ABCD2345", "")
			want(w, "abcd-2345", "", true, "v1", "")
		}},
		{"that user removed", func() { s.cloud.drop(wire.DocAccount, "a-ABCD2345") }, func(w string) { want(w, "ABCD2345", "", true, "v1", "") }},
		{"a device under a voucher's name", func() {
			s.cloud.put(wire.DocAccount, "v1", wire.AccountDoc{Kind: hotspot.Voucher, Username: "AABBCC000001"})
		}, func(w string) {
			want(w, "aabbcc000001", "", true, "v1", "")
			want(w, "ABCD2345", "", false, "", hotspot.ReasonUnknown)
			want(w, "aabb.cc00.0001", "", true, "d1", "")
		}},
	} {
		step.change()
		s.apply()
		step.check(step.what)
	}
}

func TestUseThatEndsAPassReachesTheNextRequestAndTheReconciler(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Total: 1000})
	s.start()
	s.learn()
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	wanted, cancel := s.Wanted()
	defer cancel()
	rings := func() bool {
		select {
		case <-wanted:
			return true
		default:
			return false
		}
	}
	s.play(v, rec{wait: time.Minute, kind: interim, seconds: 60, up: 999})
	if s.mustLogin("bob", "hello", phone); rings() {
		t.Error("the reconciler was woken though nobody must go")
	}
	s.play(v, rec{wait: time.Minute, kind: interim, seconds: 120, up: 1000})
	if s.login("bob", "hello", phone).Accept || !rings() {
		t.Error("let in with nothing left, or the reconciler was not woken")
	}
	s.cloud.lock("a-bob")
	s.apply()
	if !rings() {
		t.Error("a lock did not wake the reconciler")
	}
	s.login("bob", "hello", phone)
	s.play(v, rec{wait: time.Second, kind: stop, seconds: 121, up: 1001})
	if !rings() {
		t.Error("the end of a locked guest's session did not wake the reconciler")
	}
}

func TestTheDeskIsBounded(t *testing.T) {
	s := echoing(t)
	for i := range 1000 {
		s.login(fmt.Sprint("nobody", i), "x", phone)
	}
	if len(s.desk.names) != 0 || len(s.desk.accounts) != 0 {
		t.Errorf("names of nobody are remembered: %d names, %d accounts", len(s.desk.names), len(s.desk.accounts))
	}
	code := "ABCD2345"
	for i := range 200 {
		spelling := code[:i%8] + strings.Repeat("-", i) + code[i%8:]
		if v := s.login(spelling, "", phone); !v.Accept {
			t.Fatalf("%q: got %+v", spelling, v)
		}
	}
	if got := len(s.desk.names); got > spellingsBound {
		t.Errorf("%d spellings of one code are remembered, bound is %d", got, spellingsBound)
	}
	for i := range 200 {
		s.desk.accounts["v1"].promise(hotspot.Request{MAC: device(i)}, hotspot.Verdict{Pass: "pv1"}, noon)
	}
	if got := len(s.desk.accounts["v1"].promises); got > promisesBound {
		t.Errorf("%d promises of one account, bound is %d", got, promisesBound)
	}
	out := s.desk.accounts["v1"]
	for i := range 2 * deskBound {
		s.desk.seat(hotspot.AccountID(fmt.Sprint("x", i)), fmt.Sprint("x", i), 0)
	}
	if a, n, c := len(s.desk.accounts), len(s.desk.names), len(s.desk.spellings); a > deskBound || n > deskBound || c > deskBound {
		t.Errorf("%d accounts, %d names, %d coarse forms at the desk, bound is %d", a, n, c, deskBound)
	}
	if _, there := s.desk.accounts["v1"]; !there && !out.gone {
		t.Error("an entry left the desk without a mark")
	}
	s.clock.Add(2 * reservationTime)
	if v := s.login("abcd-2345", "", phone); !v.Accept {
		t.Errorf("who left the desk: got %+v", v)
	}
}

// TestAnEntryThatLeftIsNotJudgedBy: between the look-up and the judgement the
// entry leaves the desk and the account is locked.
func TestAnEntryThatLeftIsNotJudgedBy(t *testing.T) {
	s := echoing(t)
	s.mustLogin("bob", "hello", phone)
	e, _ := s.desk.byName("bob")
	s.desk.mu.Lock()
	for len(s.desk.accounts) > 0 {
		s.desk.evict()
	}
	s.desk.mu.Unlock()
	s.cloud.lock("a-bob")
	s.apply()
	v, _, done, err := s.judge(t.Context(), e, hotspot.Request{NAS: nas, Username: "bob", Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "hello"}})
	if done || v.Accept || err != nil {
		t.Errorf("judged by an entry that left: %+v, %v, %v", v, done, err)
	}
}

// TestAReadingThatACommitOvertookIsNotKept has a lock committed while the facts
// are being read.
func TestAReadingThatACommitOvertookIsNotKept(t *testing.T) {
	s := echoing(t)
	s.mustLogin("bob", "hello", phone)
	e, _ := s.desk.byName("bob")
	e.mu.Lock()
	e.facts = nil
	sealed, text := "", hotspot.Password("")
	version := e.version
	e.mu.Unlock()
	before, err := s.readFacts(context.Background(), "a-bob", noon, &sealed, &text)
	s.must(err)
	s.cloud.lock("a-bob")
	s.apply()
	if e.version == version || before.lock != nil {
		t.Fatalf("the commit did not pass between: version %d and %d, lock %v", version, e.version, before.lock)
	}
	if v := s.login("bob", "hello", phone); v.Reason != hotspot.ReasonLocked {
		t.Errorf("got %+v", v)
	}
}

func TestAPanicInTheRulesCostsThatRequestOnly(t *testing.T) {
	s := echoing(t)
	s.mustLogin("bob", "hello", phone)
	rules := s.DB.o.Decide
	s.DB.o.Decide = func(hotspot.Facts, hotspot.Request) hotspot.Verdict { panic("a defect") }
	for _, name := range []string{"bob", "abcd-2345", "nobody"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the panic did not reach the caller", name)
				}
			}()
			_, _ = s.Authorize(t.Context(), hotspot.Request{NAS: nas, Username: name})
		}()
	}
	s.DB.o.Decide = rules
	s.mustLogin("bob", "hello", phone)
	s.mustLogin("abcd-2345", "", laptop)
}

func TestALockCountsPromisesInMemory(t *testing.T) {
	s := echoing(t)
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.play(v, rec{wait: time.Minute, kind: stop, seconds: 60})
	s.clock.Add(time.Minute)
	s.mustLogin("bob", "hello", laptop)
	at := s.clock.Now()
	s.clock.Add(time.Second)
	s.cloud.lock("a-bob")
	s.apply()
	got := s.target()
	if len(got.Sessions) != 1 || got.Sessions[0].MAC != laptop || got.Sessions[0].State != hotspot.Reserved || len(got.MACs) != 2 || !got.LastAccept.Equal(at) {
		t.Errorf("target %+v, want the laptop's promise, both devices, the Accept at %v", got, at)
	}
	s.prove(got, hotspot.OutcomeEnforced)
	if got := s.targets(); len(got) != 0 {
		t.Errorf("targets after the proof: %+v", got)
	}
	if promised, _ := s.desk.promised("a-bob", s.clock.Now()); len(promised) != 0 {
		t.Errorf("promises after the proof: %+v", promised)
	}
	// What was let in just before a restart is not known by name any more: the
	// restart stands for it.
	s.cloud.lock("v1")
	s.apply()
	s.reopen()
	if got := s.target(); got.Account != "v1" || !got.LastAccept.Equal(s.clock.Now()) {
		t.Errorf("target %+v, want the opening as its newest Accept", got)
	}
}

func TestAGhostThatWasHeardSinceItWasJudgedStays(t *testing.T) {
	s := echoing(t)
	s.o.Decide = func(f hotspot.Facts, r hotspot.Request) hotspot.Verdict {
		v := judge(f, r)
		if v.Reason == hotspot.ReasonTooManyDevices {
			for _, s := range f.Sessions {
				v.Others = append(v.Others, *s)
			}
		}
		return v
	}
	s.reopen()
	first, second := s.mustLogin("bob", "hello", phone), s.mustLogin("bob", "hello", laptop)
	s.play(first, rec{kind: start})
	s.play(second, rec{kind: start, mac: laptop})
	s.clock.Add(time.Minute)
	refused := s.login("bob", "hello", hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 3})
	if len(refused.Others) != 2 {
		t.Fatalf("got %+v, want two in the way", refused)
	}
	s.play(first, rec{wait: time.Second, kind: interim, seconds: 61, up: 1})
	s.must(s.CloseGhosts(t.Context(), []hotspot.SessionID{refused.Others[0].ID, refused.Others[1].ID}))
	open, err := s.OpenSessions(t.Context())
	s.must(err)
	if len(open) != 1 || open[0].MAC != phone {
		t.Errorf("open %+v, want the phone that was heard", open)
	}
}
