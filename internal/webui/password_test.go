package webui

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
)

func TestAPasswordIsKnownByItsHash(t *testing.T) {
	hash, err := HashPassword(t.Context(), "pässword 1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=32768,t=3,p=1$") {
		t.Errorf("hash %q is not in PHC form", hash)
	}
	again, err := HashPassword(t.Context(), "pässword 1")
	if err != nil || again == hash {
		t.Errorf("two hashes of one password are equal (err %v)", err)
	}
	for password, want := range map[string]bool{"pässword 1": true, "password 1": false, "": false, strings.Repeat("x", 5000): false} {
		if got, err := CheckPassword(t.Context(), hash, password); err != nil || got != want {
			t.Errorf("CheckPassword(%.20q) = %v, %v, want %v", password, got, err, want)
		}
	}
}

func TestHashesOfOthersAreUnderstood(t *testing.T) {
	// From the tests of the reference implementation: 2 passes, 64 MiB, 1 lane.
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if ok, err := CheckPassword(t.Context(), reference, "password"); err != nil || !ok {
		t.Errorf("reference hash: got %v, %v, want true", ok, err)
	}
}

func TestADamagedHashIsAnErrorNotAWrongPassword(t *testing.T) {
	for _, hash := range []string{"plain", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFh", "$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
		"$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8", "$argon2id$v=19$m=65536,t=2,p=1$!$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8",
		"$argon2id$v=19$m=65536,t=2,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$"} {
		if ok, err := CheckPassword(t.Context(), hash, "password"); ok || !fault.Is(err, fault.Damaged) {
			t.Errorf("%q: got %v, %v, want kind damaged", hash, ok, err)
		}
	}
}

func TestANameThatDoesNotExistTakesAsLong(t *testing.T) {
	hash, err := HashPassword(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	took := func(h string) time.Duration {
		best := time.Hour // the least of several: other work on the machine only adds
		for range 5 {
			start := time.Now()
			if ok, err := CheckPassword(t.Context(), h, "wrong"); ok || err != nil {
				t.Fatalf("got %v, %v", ok, err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	known, unknown := took(hash), took("")
	if unknown < known/2 || unknown > known*2 {
		t.Errorf("unknown name took %v, known one %v: they tell apart", unknown, known)
	}
}

func TestPasswordChecksWaitTheirTurnAndGiveUp(t *testing.T) {
	for range cap(hashing) {
		hashing <- struct{}{}
	}
	defer func() {
		for range cap(hashing) {
			<-hashing
		}
	}()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if _, err := CheckPassword(ctx, "", "x"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestGuessingSlowsDownButLocksNobodyOutForLong(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	th := &Throttle{Now: func() time.Time { return now }}
	for i := range 5 {
		if wait := th.Try("10.0.0.1", "Owner@cafe.example"); wait != 0 {
			t.Fatalf("try %d has to wait %v, want none", i+1, wait)
		}
	}
	if wait := th.Try("10.0.0.1", "someone@else.example"); wait <= 0 {
		t.Error("the sixth try from the address needs no wait")
	}
	if wait := th.Try("10.9.9.9", "owner@cafe.example "); wait <= 0 || wait > longestAccount {
		t.Errorf("the account waits %v from another address, want up to %v", wait, longestAccount)
	}
	now = now.Add(longestAccount)
	for range 30 {
		th.Try("10.0.0.1", "owner@cafe.example")
		now = now.Add(longestAccount)
	}
	if wait := th.Try("10.9.9.9", "owner@cafe.example"); wait != 0 {
		t.Errorf("after %v of guessing the owner waits %v from elsewhere, want none", longestAccount, wait)
	}
	wait := th.Try("10.0.0.1", "fresh@cafe.example")
	if wait < time.Minute || wait > longestAddress {
		t.Errorf("the guessing address waits %v, want minutes, at most %v", wait, longestAddress)
	}
	now = now.Add(longestAddress)
	th.Try("10.0.0.1", "owner@cafe.example")
	th.Passed("10.0.0.1", "owner@cafe.example")
	if wait := th.Try("10.0.0.1", "owner@cafe.example"); wait != 0 {
		t.Errorf("after the right password the wait is %v, want none", wait)
	}
}

// TestAnIPv6NetworkIsOneAddress: whoever has one address of 64 bits has all.
func TestAnIPv6NetworkIsOneAddress(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	th := &Throttle{Now: func() time.Time { return now }}
	for i := range 6 {
		th.Try(fmt.Sprintf("2001:db8:1:2::%x", i), fmt.Sprint("guess", i))
	}
	if wait := th.Try("2001:db8:1:2:ffff::9", "someone@cafe.example"); wait <= 0 {
		t.Error("the seventh address of the network needs no wait")
	}
	if wait := th.Try("2001:db8:1:3::1", "someone@cafe.example"); wait != 0 {
		t.Errorf("the next network waits %v, want none", wait)
	}
	for i := range 6 {
		if wait := th.Try(fmt.Sprintf("::ffff:198.51.100.%d", i), fmt.Sprint("other", i)); wait != 0 {
			t.Errorf("IPv4 address %d waits %v for its neighbours", i, wait)
		}
	}
}

func TestTheThrottleForgetsTheQuietest(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	th := &Throttle{Now: func() time.Time { return now }, Max: 10}
	for i := range 1000 {
		now = now.Add(time.Second)
		th.Try(strings.Repeat("a", i%700+1), "x"+strings.Repeat("b", i))
		if len(th.keys) > 10 {
			t.Fatalf("%d keys held, want at most 10", len(th.keys))
		}
	}
}
