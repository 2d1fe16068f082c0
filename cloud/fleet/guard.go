package fleet

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of guessing: 10 wrong codes from one address, then one every 90 s. At
// maxGuards the address heard of longest ago is forgotten. 31^8 codes make a
// guess hopeless long before; this is so that nobody tries unseen.
const (
	wrongCodes  = 10
	wrongRefill = 90 * time.Second
	maxGuards   = 4096
)

// guards slows down who tries codes that are wrong, per address.
type guards struct {
	mu    sync.Mutex
	byKey map[netip.Prefix]*list.Element // guarded by mu
	order list.List                      // guarded by mu; of *guard, the newest first
}

// guard is one address. Holding mu while a code is looked at, tries sent side
// by side count one after the other.
type guard struct {
	key   netip.Prefix
	mu    sync.Mutex
	wrong *rate.Limiter // guarded by mu
}

// of returns the guard of an address; of IPv6 a whole /64 is one.
func (g *guards) of(addr netip.Addr) *guard {
	bits := 32
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		bits = 64
	}
	key, _ := addr.Prefix(bits) // fails for the invalid address only: one guard for all of those
	g.mu.Lock()
	defer g.mu.Unlock()
	if e, ok := g.byKey[key]; ok {
		g.order.MoveToFront(e)
		return e.Value.(*guard)
	}
	if g.byKey == nil {
		g.byKey = map[netip.Prefix]*list.Element{}
	}
	if g.order.Len() >= maxGuards {
		last := g.order.Back()
		delete(g.byKey, last.Value.(*guard).key)
		g.order.Remove(last)
	}
	one := &guard{key: key, wrong: rate.NewLimiter(rate.Every(wrongRefill), wrongCodes)}
	g.byKey[key] = g.order.PushFront(one)
	return one
}

// wait returns how long an address must wait before its next code is looked at;
// 0 is not at all. mu is held.
func (g *guard) wait(now time.Time) time.Duration {
	if missing := 1 - g.wrong.TokensAt(now); missing > 0 {
		return time.Duration(missing * float64(wrongRefill))
	}
	return 0
}
