package radius

import (
	"net/netip"
	"sync"
	"time"

	"iwas/internal/hotspot"
)

const (
	// cacheLife is how long a reply is kept for a repeat: RouterOS sends three
	// times within seconds, RFC 5080 §2.2.2 asks for 5 to 30 s.
	cacheLife = 10 * time.Second
	// cacheBound is how many requests are remembered, and cacheOctets how much
	// their replies may take together. At either the oldest answer goes first:
	// its repeat would then be judged anew, which is safe. Both together are at
	// most about 16 MB: 16,384 entries of some 300 octets, a place in the map and
	// one in the order included, 3 MB of replies as a HotSpot gets them (200
	// octets), 8 MB at worst.
	cacheBound  = 16384
	cacheOctets = 8 << 20
	// forgottenBound limits the accounts and devices put off whose Accepts are
	// fenced. At the bound every cached Accept is dropped instead.
	forgottenBound = 4096
)

// cacheKey names a request as RFC 5080 §2.2.2 does; the authenticator is held
// against it. Without pointers or gaps, so that it is hashed in one go.
type cacheKey struct {
	addr     [16]byte
	port     uint16
	listener uint16
	code, id byte
}

func keyOf(listener uint16, from netip.AddrPort, b []byte) cacheKey {
	return cacheKey{addr: from.Addr().As16(), port: from.Port(), listener: listener, code: b[0], id: b[1]}
}

type cacheEntry struct {
	key           cacheKey
	authenticator [16]byte
	at            time.Time
	reply         []byte // nil while the request is at work
	account       hotspot.AccountID
	device        hotspot.MAC // that asked; set by who runs the request, before finish
	serial        uint64
	accept        bool
	departures    hotspot.Departures // of an Accept, may be nil
	repeats       int                // how often it came again
}

// cache answers repeats with the same bytes and lets each request run once.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]*cacheEntry
	order   []*cacheEntry // oldest first, in order of arrival; may hold replaced entries
	head    int           // of order
	octets  int           // of all replies in order

	forgotten map[hotspot.AccountID]fence
	shut      map[hotspot.MAC]fence
	floor     uint64 // every Accept below it is forgotten

	// leaving is held for reading from the moment an Accept was found not void
	// until it has left and its departure is noted. It is taken under mu, and
	// nothing but the sending is done under it.
	leaving sync.RWMutex
}

// fence says that Accepts of an account, or of a device, older than serial are
// void.
type fence struct {
	serial uint64
	at     time.Time
}

func newCache() *cache {
	return &cache{entries: map[cacheKey]*cacheEntry{}, forgotten: map[hotspot.AccountID]fence{}, shut: map[hotspot.MAC]fence{}}
}

// begin looks a request up. Without reply, e is for the caller to run and to
// finish, or nil while the first is at work. With reply, the caller sends it once
// more and calls sent. repeats is how often the request came again.
func (c *cache) begin(key cacheKey, authenticator [16]byte, now time.Time) (e *cacheEntry, reply []byte, repeats int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now)
	if old := c.entries[key]; old != nil && old.authenticator == authenticator {
		old.repeats++
		if old.reply == nil {
			return nil, nil, old.repeats
		}
		if !c.void(old) {
			c.leaves(old)
			return old, old.reply, old.repeats
		}
	}
	e = &cacheEntry{key: key, authenticator: authenticator, at: now}
	c.entries[key] = e
	c.order = append(c.order, e)
	return e, nil, 0
}

// finish keeps the reply, which the caller sends; then it calls sent. It reports
// false when the reply must not leave: the account or the device was put off
// after this Accept was decided.
func (c *cache) finish(e *cacheEntry, v hotspot.Verdict, reply []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.account, e.serial, e.accept, e.departures = v.Account, v.Serial, v.Accept, v.Departures
	if c.void(e) {
		c.dropLocked(e)
		return false
	}
	if c.entries[e.key] == e { // else a new request under its identifier replaced it
		e.reply = reply
		c.octets += len(reply)
	}
	c.leaves(e)
	return true
}

// leaves begins the departure of an Accept; c.mu is held.
func (c *cache) leaves(e *cacheEntry) {
	if e.accept {
		c.leaving.RLock()
	}
}

// sent ends it: the reply left just now.
func (c *cache) sent(e *cacheEntry, now time.Time) {
	if !e.accept {
		return
	}
	defer c.leaving.RUnlock()
	if e.departures != nil {
		e.departures.Left(now)
	}
}

// abandon forgets a request that got no answer, so that its repeat is run.
func (c *cache) abandon(e *cacheEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(e)
}

func (c *cache) dropLocked(e *cacheEntry) {
	if c.entries[e.key] == e {
		delete(c.entries, e.key)
	}
}

// void reports whether an Accept was overtaken by its account, or its device,
// being put off.
func (c *cache) void(e *cacheEntry) bool {
	return e.accept && (e.serial < c.floor || e.serial < c.forgotten[e.account].serial || e.serial < c.shut[e.device].serial)
}

// forget fences the Accepts of accounts, and of devices whatever the account,
// decided before serial. Once it returns, none leaves any more, and of those that
// left the departure is noted: whoever puts them off knows how long a login may
// still be under way.
func (c *cache) forget(accounts []hotspot.AccountID, devices []hotspot.MAC, serial uint64, now time.Time) {
	c.fence(accounts, devices, serial, now)
	c.leaving.Lock() // those that passed before the fence stood
	defer c.leaving.Unlock()
}

func (c *cache) fence(accounts []hotspot.AccountID, devices []hotspot.MAC, serial uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.forgotten)+len(accounts)+len(c.shut)+len(devices) > forgottenBound {
		c.floor = max(c.floor, serial)
		clear(c.forgotten)
		clear(c.shut)
		return
	}
	for _, m := range devices {
		c.shut[m] = fence{serial: serial, at: now}
	}
	for _, a := range accounts {
		c.forgotten[a] = fence{serial: serial, at: now}
	}
}

// expire drops what is past its life or above the bounds; what is still at work
// stays, since its repeat must not run beside it. A fence outlives every reply it
// could concern, the slowest decision included.
func (c *cache) expire(now time.Time) {
	for moved := 0; c.head < len(c.order) && moved < 16; {
		e := c.order[c.head]
		if now.Sub(e.at) < cacheLife && len(c.order)-c.head <= cacheBound && c.octets <= cacheOctets {
			break
		}
		c.order[c.head] = nil
		c.head++
		if e.reply == nil && c.entries[e.key] == e {
			c.order = append(c.order, e) // at work: to the end of the line
			moved++
			continue
		}
		c.octets -= len(e.reply)
		c.dropLocked(e)
	}
	if c.head > cacheBound {
		c.order = append(c.order[:0], c.order[c.head:]...)
		c.head = 0
	}
	if len(c.forgotten)+len(c.shut) > forgottenBound/2 {
		outlived(c.forgotten, now)
		outlived(c.shut, now)
	}
}

// outlived drops the fences that no reply can meet any more.
func outlived[K comparable](fences map[K]fence, now time.Time) {
	for k, f := range fences {
		if now.Sub(f.at) > 4*cacheLife {
			delete(fences, k)
		}
	}
}

// len returns how many requests are remembered.
func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}
