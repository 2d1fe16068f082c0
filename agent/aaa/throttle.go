package aaa

import (
	"fmt"
	"time"

	"iwas/internal/hotspot"
)

// Bounds of guessing. A person mistypes a few times in a row; who tries ten
// wrong passwords is guessing, and then gets one try in as many seconds.
const (
	deviceTries, deviceEvery = 10, 5 * time.Second
	nameTries, nameEvery     = 20, 3 * time.Second
	nasTries, nasEvery       = 60, time.Second
	// alarmTries are left to a device while codes are being guessed all over its
	// NAS: who just arrived is always heard, who keeps guessing is not.
	alarmTries = 2
	// throttleBound is how many devices, names and pairs are remembered at most,
	// of each kind.
	throttleBound = 8192
)

// Throttle slows the guessing of passwords and codes down. It forgets by itself:
// each wrong try costs a token of the device, of the name and of the NAS, and
// tokens come back with time. It is not safe for use by many goroutines at once.
//
// It must never lock an innocent guest out for long:
//   - A name that is guessed at is closed to strangers only. A device that
//     logged in with it before is let through to the judgement.
//   - A device that guesses waits seconds, whatever name it tries next.
//   - Codes guessed all over a NAS close it to devices that guessed wrong more
//     than once, never to one that did not.
//   - A login by MAC is no guess: the router makes it whenever a device appears.
type Throttle struct {
	devices forgetful[hotspot.MAC, bucket]
	names   forgetful[string, bucket]
	nases   forgetful[hotspot.NASID, bucket]
	known   forgetful[pair, struct{}] // logins that were let in
}

// pair is a device that logged in with a name.
type pair struct {
	name   string
	device hotspot.MAC
}

// Leave says what may be done with a request.
type Leave int

const (
	// LeaveJudge: it is judged as any other.
	LeaveJudge Leave = iota
	// LeaveKnown: it is judged only if the device is known to have used the
	// account before; the name is being guessed at.
	LeaveKnown
	// LeaveRefuse: it is refused, whatever its password.
	LeaveRefuse
)

// Throttled is what Ask says of a request.
type Throttled struct {
	Leave  Leave
	Wait   time.Duration // at least a second, until a next try may be made
	Detail string        // for the technician; "" when nothing is throttled
}

// Ask says what may be done with a request at now. What came of it goes to Tell.
func (t *Throttle) Ask(r *hotspot.Request, now time.Time) Throttled {
	if !guessable(r) {
		return Throttled{}
	}
	if !r.MAC.IsZero() {
		left := tokens(&t.devices, r.MAC, now, deviceTries, deviceEvery)
		if left < 1 {
			return throttled(LeaveRefuse, 1-left, deviceEvery, "too many wrong passwords or codes from this device")
		}
		if wrong := deviceTries - left; wrong > alarmTries-1 && tokens(&t.nases, r.NAS, now, nasTries, nasEvery) < 1 {
			return throttled(LeaveRefuse, wrong-alarmTries+1, deviceEvery,
				"codes are being guessed all over this NAS, and this device guessed wrong more than once")
		}
	}
	if left := tokens(&t.names, r.Username, now, nameTries, nameEvery); left < 1 && !t.uses(r) {
		return throttled(LeaveKnown, 1-left, nameEvery, "too many wrong passwords for this name; devices that used it before may go on")
	}
	return Throttled{}
}

// throttled says no until so many tokens have come.
func throttled(l Leave, missing float64, every time.Duration, why string) Throttled {
	wait := max(time.Second, time.Duration(missing*float64(every)+float64(time.Second)-1).Truncate(time.Second))
	return Throttled{Leave: l, Wait: wait, Detail: fmt.Sprintf("%s: the next try counts in %v", why, wait)}
}

// guessable reports whether a request can be a guess. A login with the device's
// own MAC cannot: nobody chooses it.
func guessable(r *hotspot.Request) bool {
	m, ok := hotspot.ParseMAC(r.Username)
	return !ok || m != r.MAC || m.IsZero()
}

// uses reports whether the device was let in with this name lately.
func (t *Throttle) uses(r *hotspot.Request) bool {
	if r.MAC.IsZero() {
		return false
	}
	_, ok := t.known.get(pair{r.Username, r.MAC})
	return ok
}

// Tell notes the judgement of a request.
func (t *Throttle) Tell(r *hotspot.Request, v *hotspot.Verdict, now time.Time) {
	if !guessable(r) {
		return
	}
	if v.Accept {
		if !r.MAC.IsZero() {
			t.known.put(pair{r.Username, r.MAC}, struct{}{})
		}
		return
	}
	if v.Reason != hotspot.ReasonBadPassword && v.Reason != hotspot.ReasonUnknown {
		return
	}
	if !r.MAC.IsZero() {
		charge(&t.devices, r.MAC, now, deviceTries, deviceEvery)
	}
	switch {
	case v.Reason == hotspot.ReasonUnknown:
		charge(&t.nases, r.NAS, now, nasTries, nasEvery)
	case !t.uses(r): // a known device's slips do not close the name to others
		charge(&t.names, r.Username, now, nameTries, nameEvery)
	}
}

// TooManyTries is the verdict on a request that is not judged.
func TooManyTries(t Throttled, language string) hotspot.Verdict {
	return hotspot.Verdict{Reason: hotspot.ReasonTooManyTries, Message: GuestMessage(hotspot.ReasonTooManyTries, language), Detail: t.Detail}
}

// bucket is a token bucket: it holds no clock, and a token is worth a wrong try.
type bucket struct {
	left float64 // at the time below
	at   time.Time
}

// tokens returns what is in a bucket at now; one that is not known is full. A
// clock that was set back fills nothing, but what it was set back by is not
// waited for either.
func tokens[K comparable](of *forgetful[K, bucket], key K, now time.Time, most int, every time.Duration) float64 {
	b, ok := of.get(key)
	if !ok {
		return float64(most)
	}
	if now.Before(b.at) {
		b.at = now
		of.put(key, b)
	}
	return min(float64(most), b.left+float64(now.Sub(b.at))/float64(every))
}

// charge takes a token. Tries that were under way together may take more than
// there are; how far they may get is bounded, so that the wait is too.
func charge[K comparable](of *forgetful[K, bucket], key K, now time.Time, most int, every time.Duration) {
	left := tokens(of, key, now, most, every) - 1
	of.put(key, bucket{max(left, -float64(most)/2), now})
}

// forgetful is a map of bounded size: when it is full, what was not used since
// it was last half full is gone.
type forgetful[K comparable, V any] struct{ young, old map[K]V }

func (m *forgetful[K, V]) get(key K) (V, bool) {
	if v, ok := m.young[key]; ok {
		return v, true
	}
	v, ok := m.old[key]
	if ok {
		m.put(key, v)
	}
	return v, ok
}

func (m *forgetful[K, V]) put(key K, v V) {
	if _, ok := m.young[key]; ok {
		m.young[key] = v
		return
	}
	if len(m.young) >= throttleBound/2 {
		m.old, m.young = m.young, nil
	}
	if m.young == nil {
		m.young = map[K]V{}
	}
	delete(m.old, key)
	m.young[key] = v
}

func (m *forgetful[K, V]) len() int { return len(m.young) + len(m.old) }
