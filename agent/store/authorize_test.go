package store

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// cafe has a user, a voucher and a device, each with a pass for two devices.
func cafe(t testing.TB) *site {
	s := newSite(t)
	s.cloud.put(wire.DocSite, "s1", wire.SiteDoc{Name: "Blue Cup", Language: "ar"})
	s.cloud.guest("bob", "hello", hotspot.Limits{Devices: 2})
	s.cloud.put(wire.DocAccount, "v1", wire.AccountDoc{Kind: hotspot.Voucher, Username: "ABCD-2345"})
	s.cloud.put(wire.DocPass, "pv1", wire.PassDoc{Account: "v1"})
	s.cloud.put(wire.DocAccount, "d1", wire.AccountDoc{Kind: hotspot.Device, Username: phone.String()})
	s.cloud.put(wire.DocPass, "pd1", wire.PassDoc{Account: "d1"})
	s.start()
	return s
}

func TestNamesAreFoundAsTheirKindAllows(t *testing.T) {
	s := cafe(t)
	for name, want := range map[string]hotspot.AccountID{"bob": "a-bob", "BOB": "", "bob ": "", "": "", "abcd2345": "v1", "ab-cd 23-45": "v1",
		"ABCD-2345": "v1", "ABCD-2346": "", "aabb.cc00.0001": "d1", "AA-BB-CC-00-00-01": "d1", "AA:BB:CC:00:00:02": "", "bob\x00": ""} {
		if got := s.login(name, "hello", phone).Account; got != want {
			t.Errorf("%q found account %q, want %q", name, got, want)
		}
	}
}

func TestANameThatCouldBeTwoKindsIsTheUsersFirst(t *testing.T) {
	s := cafe(t)
	s.cloud.guest("ABCD2345", "hello", hotspot.Limits{})
	s.apply()
	if got := s.login("ABCD2345", "hello", phone).Account; got != "a-ABCD2345" {
		t.Errorf("got %q, want the user of exactly that name", got)
	}
	if got := s.login("abcd-2345", "", phone).Account; got != "v1" {
		t.Errorf("got %q, want the voucher", got)
	}
}

func TestFactsAreWhole(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Start, v, phone, 0, 0, 0))
	s.mustLogin("bob", "hello", laptop)
	s.cloud.lock("a-bob")
	s.apply()
	f := s.facts("bob")
	if f.Account == nil || f.Account.ID != "a-bob" || f.Password != "hello" || f.Pass == nil || f.Pass.ID != "p-bob" || f.Lock == nil || f.Lock.By != "owner" ||
		f.Language != "ar" || !f.Now.Equal(noon) || !f.Pass.Usage.FirstUsed.Equal(noon) || f.Pass.Limits.Devices != 2 {
		t.Errorf("got %+v, pass %+v, lock %+v", f, f.Pass, f.Lock)
	}
	states := map[hotspot.MAC]hotspot.SessionState{}
	for _, d := range f.Sessions {
		states[d.MAC] = d.State
	}
	if len(f.Sessions) != 2 || states[phone] != hotspot.Live || states[laptop] != hotspot.Reserved {
		t.Errorf("devices %v, want the phone live and the laptop reserved", states)
	}
}

func TestAnAcceptIsStoredBeforeItIsGiven(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	if len(v.Class) == 0 || len(v.Class) > classBound || v.Permit == "" || v.Serial == 0 || !v.FirstUse {
		t.Errorf("got %+v", v)
	}
	if u := s.usage("p-bob"); !u.FirstUsed.Equal(noon) {
		t.Errorf("first used %v, want %v", u.FirstUsed, noon)
	}
	s.clock.Add(time.Minute)
	again := s.mustLogin("bob", "hello", phone)
	if again.FirstUse || again.Permit == v.Permit || string(again.Class) == string(v.Class) || again.Serial < v.Serial {
		t.Errorf("second Accept %+v after %+v", again, v)
	}
	s.reopen()
	s.account(s.record(hotspot.Start, again, phone, 0, 0, 0))
	if got := s.only(); got.Permit != again.Permit || got.Account != "a-bob" {
		t.Errorf("after a restart the token leads to %+v, want permit %s", got, again.Permit)
	}
	var first []wire.UsageBody
	for _, e := range s.events() {
		if e.Kind == wire.EventPassFirstUsed {
			var b wire.UsageBody
			s.must(json.Unmarshal(e.Body, &b))
			first = append(first, b)
		}
	}
	if len(first) != 1 || first[0].Pass != "p-bob" || !first[0].FirstUsed.Equal(noon) {
		t.Errorf("pass.first_used events %+v, want one of p-bob at noon", first)
	}
}

func TestAReservationCountsUntilItLapsesOrStarts(t *testing.T) {
	s := cafe(t)
	s.mustLogin("bob", "hello", phone)
	s.mustLogin("bob", "hello", laptop)
	third := hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 3}
	if v := s.login("bob", "hello", third); v.Reason != hotspot.ReasonTooManyDevices {
		t.Errorf("a third device: got %+v, want %s", v, hotspot.ReasonTooManyDevices)
	}
	s.mustLogin("bob", "hello", phone) // the same device again
	s.clock.Add(-time.Hour)            // a clock set back must not hold promises for an hour
	s.mustLogin("bob", "hello", third)
	s.clock.Add(time.Hour + reservationTime + time.Second)
	s.mustLogin("bob", "hello", third)
}

// TestTwoLoginsInTheSameMomentTakeOneSlot is the race of radius.md §4.
func TestTwoLoginsInTheSameMomentTakeOneSlot(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Devices: 1})
	s.start()
	var in atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if s.login("bob", "hello", hotspot.MAC{2, 0, 0, 0, 0, byte(i)}).Accept {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if got := in.Load(); got != 1 {
		t.Errorf("%d devices got in, want 1", got)
	}
}

func TestAnEarlierSoldPassIsUsedUpFirst(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Total: 100})
	s.cloud.put(wire.DocPass, "p-next", wire.PassDoc{Account: "a-bob", SoldAt: noon})
	s.start()
	v := s.mustLogin("bob", "hello", phone)
	if v.Pass != "p-bob" {
		t.Errorf("got pass %s, want the one sold first", v.Pass)
	}
	s.account(s.record(hotspot.Stop, v, phone, 10, 60, 40))
	if v := s.mustLogin("bob", "hello", phone); v.Pass != "p-next" {
		t.Errorf("got pass %s, want the next one once the first is used up", v.Pass)
	}
	s.cloud.drop(wire.DocPass, "p-next")
	s.apply()
	if v := s.login("bob", "hello", phone); v.Accept || v.Pass != "" || v.Reason != hotspot.ReasonTimeUsed {
		t.Errorf("got %+v, want a refusal about the used pass", v)
	}
}

func TestAPassThatComesBackIsNotFreshAgain(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.account(s.record(hotspot.Stop, v, phone, 600, 5, 7))
	was := s.cloud.docs[wire.DocRef{Kind: wire.DocPass, ID: "p-bob"}]
	s.cloud.drop(wire.DocPass, "p-bob")
	s.apply()
	s.cloud.put(wire.DocPass, "p-bob", []byte(was.Body))
	s.apply()
	want := hotspot.Usage{FirstUsed: noon, Time: 10 * time.Minute, Upload: 5, Download: 7}
	if got := s.usage("p-bob"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAPasswordChangeCountsAtOnce(t *testing.T) {
	s := cafe(t)
	s.mustLogin("bob", "hello", phone)
	s.cloud.put(wire.DocAccount, "a-bob", wire.AccountDoc{Kind: hotspot.User, Username: "bob", Password: s.cloud.seal("other")})
	s.apply()
	if s.refused["a-bob"] == 0 {
		t.Error("the caches were not told")
	}
	if v := s.login("bob", "hello", phone); v.Reason != hotspot.ReasonBadPassword {
		t.Errorf("the old password: got %+v", v)
	}
	s.mustLogin("bob", "other", phone)
}

// TestPasswordsOfBeforeTheVaultStillOpen is the upgrade: accounts are not sent
// again for it.
func TestPasswordsOfBeforeTheVaultStillOpen(t *testing.T) {
	s := cafe(t)
	var kept string
	s.must(s.do(t.Context(), func(x *tx) error {
		if _, err := x.row("read", "SELECT password FROM account WHERE id = 'a-bob'", nil, &kept); err != nil {
			return err
		}
		_, err := x.exec("as before", "UPDATE account SET password = ? WHERE id = 'a-bob'", s.cloud.seal("hello"))
		return err
	}))
	if !secret.Sealed(kept) || strings.Contains(kept, "hello") {
		t.Errorf("the password is kept as %q, want it in the vault", kept)
	}
	s.mustLogin("bob", "hello", phone)
	if v := s.login("bob", "wrong", phone); v.Reason != hotspot.ReasonBadPassword {
		t.Errorf("got %+v", v)
	}
}

func TestALostSealingKeyIsSilenceNotARefusal(t *testing.T) {
	s := cafe(t)
	key, err := secret.NewKey()
	s.must(err)
	s.o.Key = key
	s.reopen()
	_, err = s.Authorize(t.Context(), hotspot.Request{NAS: nas, Username: "bob"})
	if !fault.Is(err, fault.Damaged) || fault.Hint(err) == "" {
		t.Errorf("got %v, want kind damaged with a next step", err)
	}
	if v := s.login("ABCD-2345", "", phone); !v.Accept {
		t.Errorf("a voucher needs no key: got %+v", v)
	}
}

// TestTheFirstRequestAfterALockIsRefused runs logins from many goroutines
// against a stream of locks and unlocks: whatever is asked after ApplyState
// returned is judged by it, and every Accept from before is older, by Serial,
// than what the caches were told.
func TestTheFirstRequestAfterALockIsRefused(t *testing.T) {
	s := newSite(t)
	s.cloud.guest("bob", "hello", hotspot.Limits{Devices: 1000})
	s.start()
	var turn atomic.Int64    // odd while the lock is committed
	var newest atomic.Uint64 // Serial of the newest Accept
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var accepts, refusals atomic.Int64
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				before := turn.Load()
				v, err := s.Authorize(context.Background(), hotspot.Request{NAS: nas, Username: "bob", MAC: hotspot.MAC{2, 0, 0, 0, 0, byte(i)},
					Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "hello"}})
				switch {
				case err != nil:
					t.Error(err)
					return
				case v.Accept:
					accepts.Add(1)
					for old := newest.Load(); v.Serial > old && !newest.CompareAndSwap(old, v.Serial); old = newest.Load() {
					}
					if before%2 == 1 && turn.Load() == before {
						t.Error("let in though the lock was committed before the request")
					}
				default:
					refusals.Add(1)
				}
			}
		})
	}
	for range 60 {
		s.cloud.lock("a-bob")
		if err := s.send(s.cloud.delta()); err != nil {
			t.Fatal(err)
		}
		turn.Add(1)
		if v := s.login("bob", "hello", phone); v.Accept {
			t.Fatal("the first request after the lock was let in")
		}
		s.mu.Lock()
		told := s.refused["a-bob"]
		s.mu.Unlock()
		if n := newest.Load(); told <= n {
			t.Fatalf("the caches were told serial %d, an Accept has %d", told, n)
		}
		turn.Add(1)
		s.cloud.drop(wire.DocLock, "a-bob")
		if err := s.send(s.cloud.delta()); err != nil {
			t.Fatal(err)
		}
		s.mustLogin("bob", "hello", phone)
	}
	close(stop)
	wg.Wait()
	t.Logf("%d accepts, %d refusals beside 60 locks", accepts.Load(), refusals.Load())
	if accepts.Load() == 0 || refusals.Load() == 0 {
		t.Error("the race never ran both ways")
	}
}
