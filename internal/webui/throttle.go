package webui

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"iwas/internal/hotspot"
)

// Throttle slows down guessing of passwords. It counts failures per address
// and per account: the first five are free, then each adds a growing wait.
// The wait of an account stays short, so that a stranger who knows an owner's
// address cannot keep the owner out; the wait of one address grows long. The
// zero value works.
type Throttle struct {
	Now func() time.Time // nil is time.Now
	// Block closes an address for so long at once after five failures, and then
	// counts anew; 0: the growing wait. A loopback address is not closed for longer
	// than an account.
	Block time.Duration
	Max   int // keys remembered; 0 is 4096. At the bound the quietest one is forgotten

	mu   sync.Mutex
	keys map[string]hotspot.Tries // guarded by mu
}

const (
	freeTries      = 5
	forgetAfter    = time.Hour
	longestAddress = 15 * time.Minute
	longestAccount = 30 * time.Second
)

func (t *Throttle) now() time.Time {
	if t.Now != nil {
		return t.Now()
	}
	return time.Now()
}

// addressKey counts an IPv6 network of 64 bits as one: whoever has one address of
// it has all.
func addressKey(addr string) string {
	if a, err := netip.ParseAddr(addr); err == nil && a.Unmap().Is6() {
		if n, err := a.WithZone("").Prefix(64); err == nil {
			addr = n.String()
		}
	}
	return "a:" + addr
}

func accountKey(name string) string {
	return "n:" + strings.ToLower(strings.TrimSpace(name))
}

// Try asks to check one password. It returns 0 and counts the try as a failure
// until Passed says otherwise, so that tries sent side by side count too; or it
// returns how long the pair must wait, and the password must not be looked at.
func (t *Throttle) Try(addr, account string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys = map[string]hotspot.Tries{}
	}
	now, fresh := t.now(), 0
	for _, k := range [...]string{addressKey(addr), accountKey(account)} {
		if _, known := t.keys[k]; !known {
			fresh++
		}
	}
	t.makeRoom(now, fresh)
	return t.try(now, t.keys, addr, account)
}

// Passed takes the try back after a right password, and forgets the failures of
// the account. Those of the address stay: who guesses could sign in with an
// account of their own in between.
func (t *Throttle) Passed(addr, account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	passed(t.keys, addr, account)
}

// SharedTries are counts that several programs keep together. ChangeTries has f
// change those under keys while nobody else does, perhaps more than once, and
// forgets what was not tried for longer than keep.
type SharedTries interface {
	ChangeTries(ctx context.Context, keys []string, keep time.Duration, f func(map[string]hotspot.Tries)) error
}

// TryAmong is Try with counts that are shared.
func (t *Throttle) TryAmong(ctx context.Context, all SharedTries, addr, account string) (wait time.Duration, err error) {
	now := t.now()
	err = all.ChangeTries(ctx, []string{addressKey(addr), accountKey(account)}, forgetAfter, func(keys map[string]hotspot.Tries) {
		wait = t.try(now, keys, addr, account)
	})
	return wait, err
}

// PassedAmong is Passed with counts that are shared.
func (t *Throttle) PassedAmong(ctx context.Context, all SharedTries, addr, account string) error {
	return all.ChangeTries(ctx, []string{addressKey(addr), accountKey(account)}, forgetAfter, func(keys map[string]hotspot.Tries) {
		passed(keys, addr, account)
	})
}

func (t *Throttle) try(now time.Time, keys map[string]hotspot.Tries, addr, account string) time.Duration {
	wait := max(keys[addressKey(addr)].Until.Sub(now), keys[accountKey(account)].Until.Sub(now), 0)
	if wait == 0 {
		t.count(now, keys, accountKey(account), longestAccount)
		t.count(now, keys, addressKey(addr), t.longest(addr))
	}
	return wait
}

// longest is the longest wait of an address.
func (t *Throttle) longest(addr string) time.Duration {
	if t.Block == 0 {
		return longestAddress
	}
	if a, err := netip.ParseAddr(addr); err == nil && a.Unmap().IsLoopback() {
		return longestAccount
	}
	return t.Block
}

func passed(keys map[string]hotspot.Tries, addr, account string) {
	delete(keys, accountKey(account))
	if e, ok := keys[addressKey(addr)]; ok {
		e.Failed, e.Until = max(0, e.Failed-1), time.Time{}
		keys[addressKey(addr)] = e
	}
}

// count adds one failure to a key.
func (t *Throttle) count(now time.Time, keys map[string]hotspot.Tries, key string, longest time.Duration) {
	e := keys[key]
	served := t.Block > 0 && longest == t.Block && !e.Until.IsZero() // try lets nobody past who still waits
	if now.Sub(e.Last) > forgetAfter || served {
		e.Failed, e.Until = 0, time.Time{}
	}
	e.Failed++
	e.Last = now
	if over := e.Failed - freeTries; over >= 0 {
		// 2 s, 4 s, 8 s … up to the longest of its kind.
		wait := min(longest, time.Second<<min(over+1, 20))
		if t.Block > 0 && longest == t.Block {
			wait = t.Block
		}
		e.Until = now.Add(wait)
	}
	keys[key] = e
}

// makeRoom keeps the map bounded, with room for some more: first what is long over,
// else the keys heard of longest ago. Called with mu held.
func (t *Throttle) makeRoom(now time.Time, more int) {
	limit := t.Max
	if limit == 0 {
		limit = 4096
	}
	for len(t.keys) > 0 && len(t.keys)+more > limit {
		var oldest string
		for k, e := range t.keys {
			if now.Sub(e.Last) > forgetAfter {
				delete(t.keys, k)
			} else if oldest == "" || e.Last.Before(t.keys[oldest].Last) {
				oldest = k
			}
		}
		if len(t.keys)+more > limit {
			delete(t.keys, oldest)
		}
	}
}
