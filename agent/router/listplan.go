package router

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"iwas/internal/hotspot"
)

const (
	// listTag begins the comment of every entry of ours; all others are foreign.
	listTag = "IWAS grant"
	// longestTimeout is the longest that a router keeps a timed entry, in whole
	// weeks (facts.md §6); what is wanted for longer is refreshed.
	longestTimeout = 35 * 7 * 24 * time.Hour
	refreshTimeout = longestTimeout - 7*24*time.Hour
	// sessionTimeout is that of an entry wanted for as long as a session lasts:
	// should we be gone, the router drops it by itself. It is refreshed at half.
	sessionTimeout = 10 * time.Minute
	// endSlack is how far an end may be off: a router's timeouts are whole seconds,
	// and a read shows what was left of one a moment ago.
	endSlack     = 2 * time.Second
	commentBound = 100 // octets of an entry's comment
)

// listKey is what makes an entry one of its kind on a router.
type listKey struct {
	list    string
	address netip.Prefix
}

func (k listKey) v6() bool { return k.address.Addr().Is6() }

func compareKeys(a, b listKey) int {
	return cmp.Or(cmp.Compare(a.list, b.list), a.address.Addr().Compare(b.address.Addr()), cmp.Compare(a.address.Bits(), b.address.Bits()))
}

// listWish is what is wanted of an entry.
type listWish struct {
	until   time.Time // monotonic; zero: for as long as it is wanted
	comment string
}

// left is the timeout that the entry gets now: to the nearest second, so that it
// goes within one of its end. 0: it is over.
func (w listWish) left(now time.Time) time.Duration {
	if w.until.IsZero() {
		return sessionTimeout
	}
	left := min(w.until.Sub(now), longestTimeout)
	if left < time.Second/2 {
		return 0
	}
	return left.Round(time.Second)
}

// fits reports whether an entry that the router drops at a time needs no other.
func (w listWish) fits(h held, now time.Time) bool {
	ends := h.ends()
	switch {
	case w.left(now) == 0:
		return true // it is over
	case ends.IsZero() || h.off:
		return false
	case w.until.IsZero(): // of a session, or kept from something longer
		return ends.Sub(now) > sessionTimeout/2 && ends.Sub(now) < sessionTimeout+endSlack
	case w.until.Sub(now) > longestTimeout:
		return ends.Sub(now) > refreshTimeout
	}
	return ends.Sub(w.until).Abs() <= endSlack
}

// later is the wish of two that lasts longer.
func (w listWish) later(o listWish, now time.Time) listWish {
	if o.left(now) > w.left(now) {
		return o
	}
	return w
}

// wanted is what a router's lists should hold.
func (l *lister) wanted(ctx context.Context, nas hotspot.NASID, entries []hotspot.ListEntry, now time.Time) (map[listKey]listWish, error) {
	out := make(map[listKey]listWish, len(entries))
	put := func(k listKey, w listWish) {
		if old, twice := out[k]; twice {
			w = old.later(w, now)
		}
		if w.left(now) > 0 {
			out[k] = w
		}
	}
	var near map[hotspot.MAC][]netip.Addr // read where it is needed
	for _, e := range entries {
		if e.NAS != "" && e.NAS != nas {
			continue
		}
		w := listWish{comment: listComment(e.Comment)}
		if e.Left > 0 {
			w.until = now.Add(e.Left)
		} else if len(e.Grants) > 0 {
			continue // over
		}
		put(listKey{e.List, e.Address}, w)
		if e.MAC.IsZero() {
			continue
		}
		if near == nil {
			var err error
			if near, err = neighbours(ctx, l.link); err != nil {
				return nil, err
			}
		}
		for _, a := range near[e.MAC] {
			put(listKey{e.List, netip.PrefixFrom(a, a.BitLen())}, w)
		}
	}
	return out, nil
}

// listComment is the comment of an entry: our tag, and why. RouterOS does not
// say in which character set comments are, so it is kept to ASCII.
func listComment(why string) string {
	why = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.TrimSpace(why))
	if why == "" {
		return listTag
	}
	c := listTag + ": " + why
	return c[:min(len(c), commentBound)]
}

// ownEntry is an entry of ours on the router.
type ownEntry struct {
	key listKey
	held
}

// wish is an entry that is to come.
type wish struct {
	key  listKey
	wish listWish
}

// listPlan is the difference between what the lists hold and what they should.
type listPlan struct {
	remove []ownEntry
	add    []wish
	set    []refresh
}

// refresh is an entry that is to get another end.
type refresh struct {
	ownEntry
	wish listWish
}

// first names a list of the plan, for people.
func (p listPlan) first() string {
	switch {
	case len(p.add) > 0:
		return p.add[0].key.list
	case len(p.remove) > 0:
		return p.remove[0].key.list
	}
	return p.set[0].key.list
}

// plan compares what is known of the router with what is wanted. Entries that the
// router has dropped by itself are forgotten.
func (l *lister) plan(wanted map[listKey]listWish, now time.Time) (p listPlan) {
	for k, h := range l.have {
		w, keep := wanted[k]
		ends := h.ends()
		switch {
		case !ends.IsZero() && now.Sub(ends) > endSlack:
			delete(l.have, k)
		case !keep && !ends.IsZero() && ends.Sub(now) < time.Second: // it goes by itself
		case !keep:
			p.remove = append(p.remove, ownEntry{k, h})
		case !w.fits(h, now):
			p.set = append(p.set, refresh{ownEntry{k, h}, w})
		}
	}
	p.remove = append(p.remove, l.extra...)
	for k, w := range wanted {
		if _, ours := l.have[k]; !ours && !l.foreign[k] && w.left(now) > 0 {
			p.add = append(p.add, wish{k, w})
		}
	}
	slices.SortFunc(p.remove, func(a, b ownEntry) int { return compareKeys(a.key, b.key) })
	slices.SortFunc(p.add, func(a, b wish) int { return compareKeys(a.key, b.key) })
	slices.SortFunc(p.set, func(a, b refresh) int { return compareKeys(a.key, b.key) })
	return p
}

// sameKey is what entries share that are set by one command.
type sameKey struct {
	v6, off bool
	left    time.Duration
}

// sameEnd are entries of one menu that get the same timeout.
type sameEnd struct {
	sameKey
	entries []ownEntry
}

// together groups what gets another end.
func (p listPlan) together(now time.Time) (out []sameEnd) {
	at := map[sameKey]int{}
	for _, s := range p.set {
		k := sameKey{v6: s.key.v6(), off: s.off, left: s.wish.left(now)}
		if k.left == 0 {
			continue // it goes by itself, or the next pass removes it
		}
		i, known := at[k]
		if !known {
			i = len(out)
			at[k], out = i, append(out, sameEnd{sameKey: k})
		}
		out[i].entries = append(out[i].entries, s.ownEntry)
	}
	return out
}
