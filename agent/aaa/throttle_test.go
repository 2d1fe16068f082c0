package aaa

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iwas/internal/hotspot"
)

func device(n int) hotspot.MAC { return hotspot.MAC{0x02, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

// guess asks and, when it may be judged, is judged wrong. It reports whether.
func guess(t *Throttle, name string, mac hotspot.MAC, reason hotspot.Reason, at time.Time) bool {
	r := hotspot.Request{NAS: "r1", Username: name, MAC: mac, Credential: clear("guess")}
	if t.Ask(&r, at).Leave != LeaveJudge {
		return false
	}
	t.Tell(&r, &hotspot.Verdict{Reason: reason}, at)
	return true
}

func login(t *Throttle, name string, mac hotspot.MAC, at time.Time) Throttled {
	r := hotspot.Request{NAS: "r1", Username: name, MAC: mac}
	leave := t.Ask(&r, at)
	if leave.Leave == LeaveJudge {
		t.Tell(&r, &hotspot.Verdict{Accept: true}, at)
	}
	return leave
}

func TestThrottle(t *testing.T) {
	const bad, unknown = hotspot.ReasonBadPassword, hotspot.ReasonUnknown
	attacker, victim := device(1), device(2)
	at := now
	for name, test := range map[string]func(t *testing.T, th *Throttle){
		"a person mistypes nine times and is heard": func(t *testing.T, th *Throttle) {
			for range 9 {
				guess(th, "bob", victim, bad, at)
			}
			if got := login(th, "bob", victim, at); got.Leave != LeaveJudge {
				t.Errorf("got %+v", got)
			}
		},
		"a device that guesses waits seconds": func(t *testing.T, th *Throttle) {
			for i := range 50 {
				if judged := guess(th, fmt.Sprint("name", i), attacker, unknown, at); judged != (i < deviceTries) {
					t.Fatalf("guess %d judged: %v", i, judged)
				}
			}
			got := login(th, "bob", attacker, at)
			if got.Leave != LeaveRefuse || got.Wait != deviceEvery || got.Detail != "too many wrong passwords or codes from this device: the next try counts in 5s" {
				t.Errorf("got %+v, want refused for %v", got, deviceEvery)
			}
			if got := login(th, "bob", attacker, at.Add(got.Wait)); got.Leave != LeaveJudge {
				t.Errorf("after the wait: got %+v", got)
			}
		},
		"a name hammered from many devices stays open to its own": func(t *testing.T, th *Throttle) {
			login(th, "bob", victim, at)
			for i := range 500 {
				guess(th, "bob", device(100+i), bad, at)
			}
			if got := login(th, "bob", victim, at); got.Leave != LeaveJudge {
				t.Errorf("the usual device: got %+v", got)
			}
			if got := login(th, "bob", device(3), at); got.Leave != LeaveKnown || got.Wait != nameEvery {
				t.Errorf("a stranger: got %+v, want to be known first, for %v", got, nameEvery)
			}
			if got := login(th, "anna", device(3), at); got.Leave != LeaveJudge {
				t.Errorf("another name: got %+v", got)
			}
		},
		"one device cannot close a name": func(t *testing.T, th *Throttle) {
			for i := range 3600 {
				at := at.Add(time.Duration(i) * time.Second)
				guess(th, "bob", attacker, bad, at)
				if got := th.Ask(&hotspot.Request{Username: "bob", MAC: victim}, at); got.Leave != LeaveJudge {
					t.Fatalf("a new device of the guest, second %d: got %+v", i, got)
				}
			}
		},
		"slips of a known device do not close the name": func(t *testing.T, th *Throttle) {
			for i := range 60 {
				login(th, "bob", device(100+i%6), at)
				guess(th, "bob", device(100+i%6), bad, at)
			}
			if got := login(th, "bob", victim, at); got.Leave != LeaveJudge {
				t.Errorf("got %+v", got)
			}
		},
		"codes guessed all over a NAS leave newcomers alone": func(t *testing.T, th *Throttle) {
			for i := range 100 {
				guess(th, fmt.Sprint("code", i), device(100+i), unknown, at)
			}
			for i := range 5 {
				judged := guess(th, fmt.Sprint("code", i), attacker, unknown, at)
				if judged != (i < alarmTries) {
					t.Errorf("guess %d during the alarm: judged %v", i, judged)
				}
			}
			if got := login(th, "ABCD-2345", victim, at); got.Leave != LeaveJudge {
				t.Errorf("a newcomer with a right code: got %+v", got)
			}
			r := hotspot.Request{NAS: "r2", Username: "x", MAC: attacker}
			if got := th.Ask(&r, at); got.Leave != LeaveJudge {
				t.Errorf("at another NAS: got %+v", got)
			}
		},
		"a login by MAC is no guess": func(t *testing.T, th *Throttle) {
			for range 100 {
				if !guess(th, victim.String(), victim, unknown, at) {
					t.Fatal("refused")
				}
			}
			if got := login(th, "bob", victim, at); got.Leave != LeaveJudge {
				t.Errorf("got %+v", got)
			}
			for range 100 { // another's MAC is one
				guess(th, attacker.String(), victim, unknown, at)
			}
			if got := login(th, "bob", victim, at); got.Leave != LeaveRefuse {
				t.Errorf("after naming another's MAC: got %+v, want refused", got)
			}
			if got := login(th, victim.String(), victim, at); got.Leave != LeaveJudge {
				t.Errorf("the router's own login of a device that guesses: got %+v", got)
			}
		},
		"refusals for other reasons cost nothing": func(t *testing.T, th *Throttle) {
			for _, reason := range reasons {
				if reason == bad || reason == unknown {
					continue
				}
				for range 100 {
					if !guess(th, "bob", victim, reason, at) {
						t.Fatalf("refused after %s", reason)
					}
				}
			}
		},
		"a clock set back locks nobody out": func(t *testing.T, th *Throttle) {
			for range 50 {
				guess(th, "bob", victim, bad, at)
			}
			past := at.Add(-24 * time.Hour)
			login(th, "bob", victim, past)
			if got := login(th, "bob", victim, past.Add(deviceEvery)); got.Leave != LeaveJudge {
				t.Errorf("got %+v", got)
			}
		},
		"a device without a MAC is not one with all others": func(t *testing.T, th *Throttle) {
			for i := range 50 {
				guess(th, fmt.Sprint("code", i), hotspot.MAC{}, unknown, at)
			}
			if got := login(th, "bob", hotspot.MAC{}, at); got.Leave != LeaveJudge {
				t.Errorf("got %+v", got)
			}
			for range 50 {
				guess(th, "bob", hotspot.MAC{}, bad, at)
			}
			if got := login(th, "bob", hotspot.MAC{}, at); got.Leave != LeaveKnown {
				t.Errorf("a name hammered without a MAC: got %+v", got)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, &Throttle{}) })
	}
}

func TestTooManyTriesSaysSo(t *testing.T) {
	got := TooManyTries(Throttled{Leave: LeaveRefuse, Detail: "why"}, "en")
	if got.Accept || got.Reason != hotspot.ReasonTooManyTries || got.Message != sentences[hotspot.ReasonTooManyTries].en || got.Detail != "why" {
		t.Errorf("got %+v", got)
	}
}

// TestGuessingIsBoundedAndForgiven lets guesses rain at random: what is judged
// stays below burst and rate, an innocent device is always heard, memory is
// bounded, and after a minute of quiet everybody is heard.
func TestGuessingIsBoundedAndForgiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var th Throttle
		usual, newcomer := device(1<<20), device(1<<20+1)
		at := now
		login(&th, "bob", usual, at)
		devices := rapid.IntRange(1, 200).Draw(t, "devices")
		reason := rapid.SampledFrom([]hotspot.Reason{hotspot.ReasonBadPassword, hotspot.ReasonUnknown}).Draw(t, "reason")
		byDevice, total := map[int]int{}, 0
		for range rapid.IntRange(1, 600).Draw(t, "tries") {
			at = at.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			d := rapid.IntRange(1, devices).Draw(t, "device")
			if guess(&th, "bob", device(d), reason, at) {
				byDevice[d]++
				total++
			}
			if got := login(&th, "bob", usual, at); got.Leave != LeaveJudge {
				t.Fatalf("the usual device: got %+v", got)
			}
			got := th.Ask(&hotspot.Request{NAS: "r1", Username: "anna", MAC: newcomer}, at)
			if got.Leave != LeaveJudge {
				t.Fatalf("a newcomer with a name nobody guesses at: got %+v", got)
			}
		}
		passed := at.Sub(now)
		for d, n := range byDevice {
			if most := deviceTries + int(passed/deviceEvery); n > most {
				t.Fatalf("device %d: %d guesses judged in %v, want at most %d", d, n, passed, most)
			}
		}
		if most := nameTries + int(passed/nameEvery); reason == hotspot.ReasonBadPassword && total > most {
			t.Fatalf("%d guesses at one name judged in %v, want at most %d", total, passed, most)
		}
		at = at.Add(time.Minute)
		for d := range devices {
			if got := th.Ask(&hotspot.Request{NAS: "r1", Username: "bob", MAC: device(d + 1)}, at); got.Leave != LeaveJudge {
				t.Fatalf("after a minute of quiet: got %+v", got)
			}
		}
	})
}

// TestTriesUnderWayTogetherAreForgivenToo charges far more than the bucket
// holds, as many parallel tries would: the wait stays below two minutes.
func TestTriesUnderWayTogetherAreForgivenToo(t *testing.T) {
	var th Throttle
	for i := range 1000 {
		r := hotspot.Request{NAS: "r1", Username: "bob", MAC: device(i % 4)}
		for _, reason := range []hotspot.Reason{hotspot.ReasonBadPassword, hotspot.ReasonUnknown} {
			th.Tell(&r, &hotspot.Verdict{Reason: reason}, now)
		}
	}
	r := hotspot.Request{NAS: "r1", Username: "bob", MAC: device(1)}
	at := now
	for th.Ask(&r, at).Leave != LeaveJudge {
		if at = at.Add(th.Ask(&r, at).Wait); at.Sub(now) > 2*time.Minute {
			t.Fatalf("still %+v after %v", th.Ask(&r, at), at.Sub(now))
		}
	}
	if at.Sub(now) < deviceEvery {
		t.Errorf("judged after %v, want a wait", at.Sub(now))
	}
}

func TestTheThrottleForgets(t *testing.T) {
	var th Throttle
	for i := range 10 * throttleBound {
		guess(&th, fmt.Sprint("user", i), device(i), hotspot.ReasonBadPassword, now)
		login(&th, fmt.Sprint("user", i), device(i), now)
	}
	for name, n := range map[string]int{"devices": th.devices.len(), "names": th.names.len(), "logins": th.known.len()} {
		if n > throttleBound || n < throttleBound/2 {
			t.Errorf("%d %s remembered, want %d to %d", n, name, throttleBound/2, throttleBound)
		}
	}
	if got := login(&th, fmt.Sprint("user", 10*throttleBound-1), device(10*throttleBound-1), now); got.Leave != LeaveJudge {
		t.Errorf("the newest: got %+v", got)
	}
}

func BenchmarkThrottle(b *testing.B) {
	var th Throttle
	r := hotspot.Request{NAS: "r1", Username: "bob", MAC: phone}
	v := hotspot.Verdict{Accept: true}
	b.ReportAllocs()
	for b.Loop() {
		th.Ask(&r, now)
		th.Tell(&r, &v, now)
	}
}
