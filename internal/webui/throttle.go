package webui

import (
	"net/netip"
	"strings"
	"sync"
	"time"
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
	keys map[string]*tries // guarded by mu
}

type tries struct {
	failed int
	last   time.Time
	until  time.Time
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
	now := t.now()
	var wait time.Duration
	for _, k := range [...]string{addressKey(addr), accountKey(account)} {
		if e := t.keys[k]; e != nil {
			wait = max(wait, e.until.Sub(now))
		}
	}
	if wait > 0 {
		return wait
	}
	t.count(accountKey(account), longestAccount)
	t.count(addressKey(addr), t.longest(addr))
	return 0
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

// Passed takes the try back after a right password, and forgets the failures of
// the account. Those of the address stay: who guesses could sign in with an
// account of their own in between.
func (t *Throttle) Passed(addr, account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, accountKey(account))
	if e := t.keys[addressKey(addr)]; e != nil {
		e.failed = max(0, e.failed-1)
		e.until = time.Time{}
	}
}

// count adds one failure to a key. Called with mu held.
func (t *Throttle) count(key string, longest time.Duration) {
	now := t.now()
	if t.keys == nil {
		t.keys = map[string]*tries{}
	}
	e := t.keys[key]
	if e == nil {
		t.makeRoom(now)
		e = &tries{}
		t.keys[key] = e
	}
	served := t.Block > 0 && longest == t.Block && !e.until.IsZero() // Try lets nobody past who still waits
	if now.Sub(e.last) > forgetAfter || served {
		e.failed, e.until = 0, time.Time{}
	}
	e.failed++
	e.last = now
	if over := e.failed - freeTries; over >= 0 {
		// 2 s, 4 s, 8 s … up to the longest of its kind.
		wait := min(longest, time.Second<<min(over+1, 20))
		if t.Block > 0 && longest == t.Block {
			wait = t.Block
		}
		e.until = now.Add(wait)
	}
}

// makeRoom keeps the map bounded: first what is long over, else the key heard
// of longest ago. Called with mu held.
func (t *Throttle) makeRoom(now time.Time) {
	limit := t.Max
	if limit == 0 {
		limit = 4096
	}
	if len(t.keys) < limit {
		return
	}
	var oldest string
	for k, e := range t.keys {
		if now.Sub(e.last) > forgetAfter {
			delete(t.keys, k)
		} else if oldest == "" || e.last.Before(t.keys[oldest].last) {
			oldest = k
		}
	}
	if len(t.keys) >= limit {
		delete(t.keys, oldest)
	}
}
