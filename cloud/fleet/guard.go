package fleet

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"iwas/internal/hotspot"
)

// Bounds of guessing: 10 wrong codes from one address, then one every 90 s, at all
// clouds of one database together. At maxGuards the address heard of longest ago is
// forgotten here. 31^8 codes make a guess hopeless long before; this is so that nobody
// tries unseen.
const (
	wrongCodes  = 10
	wrongRefill = 90 * time.Second
	wrongKept   = time.Hour // in the database; it is all refilled long before
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
	until time.Time     // guarded by mu; all clouds together have counted enough until then
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
	own := time.Duration(max(0, 1-g.wrong.TokensAt(now)) * float64(wrongRefill))
	return max(own, g.until.Sub(now), 0)
}

// count adds wrong codes, none perhaps, to those that all clouds counted of an
// address. It returns how long the address must wait before its next one, which is
// kept here so that whoever does not wait costs the database nothing. mu is held.
func (g *guard) count(ctx context.Context, store Enrolments, now time.Time, wrong int) (wait time.Duration, err error) {
	key := "enrolment code " + g.key.String()
	err = store.ChangeTries(ctx, []string{key}, wrongKept, func(all map[string]hotspot.Tries) {
		t := all[key]
		if n := int(now.Sub(t.Last) / wrongRefill); n >= t.Failed {
			t = hotspot.Tries{Last: now}
		} else if n > 0 {
			t.Failed, t.Last = t.Failed-n, t.Last.Add(time.Duration(n)*wrongRefill)
		}
		t.Failed += wrong
		if wait = 0; t.Failed >= wrongCodes {
			wait = t.Last.Add(time.Duration(t.Failed-wrongCodes+1) * wrongRefill).Sub(now)
		}
		all[key] = t
	})
	g.until = now.Add(wait)
	return wait, err
}
