package router

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// listMenu is the menu that holds addresses of a family.
func listMenu(v6 bool) string {
	if v6 {
		return "/ipv6/firewall/address-list"
	}
	return addressLists
}

const listProperties = "=.proplist=.id,list,address,timeout,comment,disabled"

// readAll reads every list that holds, or may hold, entries of ours. What was
// known before is kept for what a read cannot say.
func (l *lister) readAll(ctx context.Context, names []string) error {
	if err := l.link.ready(ctx); err != nil {
		return err
	}
	if l.reads != l.link.dials.Load() {
		clear(l.clean) // it may have restarted with whatever it had saved
	}
	for _, name := range names {
		if l.clean[name] {
			if !slices.ContainsFunc([]bool{false, true}, func(v6 bool) bool { return l.wants(name, v6) }) {
				continue
			}
			delete(l.clean, name)
		}
		for _, v6 := range []bool{false, true} {
			if err := l.readList(ctx, name, v6); err != nil {
				return err
			}
		}
		if !l.wants(name, false) && !l.wants(name, true) && !l.holds(name) {
			l.clean[name] = true
		}
	}
	l.read, l.reads = time.Now(), l.link.dials.Load()
	l.doubt.Store(false)
	return nil
}

// wants reports whether anything of a family is wanted in a list.
func (l *lister) wants(name string, v6 bool) bool { return l.wishes[listTable{name, v6}] > 0 }

// holds reports whether entries of ours stand in a list.
func (l *lister) holds(name string) bool {
	for k := range l.have {
		if k.list == name {
			return true
		}
	}
	return slices.ContainsFunc(l.extra, func(x ownEntry) bool { return x.key.list == name })
}

// readList reads one list of one family. A router without IPv6 has no such menu,
// which is an error only where something is wanted there.
func (l *lister) readList(ctx context.Context, name string, v6 bool) error {
	at := time.Now()
	rows, err := l.link.do(ctx, listMenu(v6)+"/print", listProperties, "?list="+name)
	if v6 && routeros.ReasonOf(err) == routeros.NoSuchCommand && !l.wants(name, v6) {
		return nil
	}
	if err != nil {
		return err
	}
	l.take(rows, at, func(k listKey) bool { return k.list == name && k.v6() == v6 })
	return nil
}

// readOne reads what a list holds of one address. IPv6 addresses have several
// spellings, so of those the whole list is read.
func (l *lister) readOne(ctx context.Context, k listKey) error {
	if k.v6() {
		return l.readList(ctx, k.list, true)
	}
	at := time.Now()
	rows, err := l.link.do(ctx, listMenu(false)+"/print", listProperties, "?list="+k.list, "?address="+hotspot.FormatListAddress(k.address))
	if err != nil {
		return err
	}
	l.take(rows, at, func(o listKey) bool { return o == k })
	return nil
}

// take puts what was read in the place of what was known of the same part.
func (l *lister) take(rows []routeros.Row, at time.Time, part func(listKey) bool) {
	before := map[listKey]held{}
	for k, h := range l.have {
		if part(k) {
			before[k] = h
			delete(l.have, k)
		}
	}
	for k := range l.foreign {
		if part(k) {
			delete(l.foreign, k)
		}
	}
	l.extra = slices.DeleteFunc(l.extra, func(x ownEntry) bool { return part(x.key) })
	for _, r := range rows {
		p, err := hotspot.ParseListAddress(r["address"])
		if err != nil {
			continue // a range or a name: none of ours
		}
		k := listKey{r["list"], p}
		if part(k) {
			l.takeRow(k, r, at, before[k])
		}
	}
	for k, h := range l.have {
		if part(k) && h.off && l.foreign[k] { // it could not be enabled
			l.extra = append(l.extra, ownEntry{k, h})
			delete(l.have, k)
		}
	}
}

func (l *lister) takeRow(k listKey, r routeros.Row, at time.Time, known held) {
	off := flag(r["disabled"])
	if !strings.HasPrefix(r["comment"], listTag) {
		if _, wanted := l.wish[k]; wanted && !off {
			l.foreign[k] = true
		}
		return
	}
	h := held{id: r[".id"], at: at, off: off}
	h.left, _ = routeros.ParseDuration(r["timeout"]) // absent: it has no end
	if known.id == h.id && known.left > 0 && h.left > 0 && !off {
		// What a read shows of a timeout, what is left or what was set, no document
		// settles (facts.md §6): either is the one we know.
		if remains := known.ends().Sub(at); (h.left-remains).Abs() <= endSlack || (h.left-known.left).Abs() < time.Second {
			h = known
		}
	}
	other, twice := l.have[k]
	switch {
	case !twice:
		l.have[k] = h
	case other.off && !off:
		l.have[k] = h
		l.extra = append(l.extra, ownEntry{k, other})
	default:
		l.extra = append(l.extra, ownEntry{k, h})
	}
}

// forget takes an entry that is gone out of what is known.
func (l *lister) forget(x ownEntry) {
	if l.have[x.key].id == x.id {
		delete(l.have, x.key)
	}
	l.extra = slices.DeleteFunc(l.extra, func(o ownEntry) bool { return o.key == x.key && o.id == x.id })
}

// neighbours returns the IPv6 addresses that devices on the router's networks
// use now, but for those of one link. A router without IPv6 has none.
func neighbours(ctx context.Context, l *link) (map[hotspot.MAC][]netip.Addr, error) {
	rows, err := l.do(ctx, "/ipv6/neighbor/print", "=.proplist=address,mac-address,status")
	out := map[hotspot.MAC][]netip.Addr{}
	if routeros.ReasonOf(err) == routeros.NoSuchCommand {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		m, a := mac(r["mac-address"]), address(r["address"])
		if !m.IsZero() && a.Is6() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && r["status"] != "failed" {
			out[m] = append(out[m], a)
		}
	}
	return out, nil
}

// setEach is set for many items: in one command where the router takes that, as
// remove does it. gone are those that are no more.
func setEach(ctx context.Context, l *link, menu string, ids []string, words ...string) (gone map[string]bool, err error) {
	gone = map[string]bool{}
	if len(ids) > 1 && !l.singly.Load() {
		_, err := l.do(ctx, append([]string{menu + "/set", "=.id=" + strings.Join(ids, ",")}, words...)...)
		if err == nil || !routeros.Refused(err) || routeros.ReasonOf(err) == routeros.NoRights {
			return gone, err
		}
	}
	for _, id := range ids {
		_, err := l.do(ctx, append([]string{menu + "/set", "=.id=" + id}, words...)...)
		switch {
		case routeros.ReasonOf(err) == routeros.NoSuchItem:
			gone[id] = true
		case err != nil:
			return gone, err
		}
	}
	if len(ids) > 1 && len(gone) == 0 {
		l.singly.Store(true) // it was the list of ids that was refused
	}
	return gone, nil
}

// takeOffLists takes the addresses of the account's devices out of the lists that
// are kept over the API: part of step 5 of design.md §6. What a person granted of
// them comes back by itself.
func (a *attempt) takeOffLists(ctx context.Context) (string, error) {
	addresses := map[netip.Addr]bool{}
	for _, s := range a.sessions {
		if s.IP.IsValid() {
			addresses[s.IP] = true
		}
	}
	near, err := neighbours(ctx, a.n.command)
	if err != nil {
		return "", err
	}
	v6 := false
	for m, all := range near {
		if a.device(m) {
			for _, ip := range all {
				addresses[ip], v6 = true, true
			}
		}
	}
	taken := 0
	for _, list := range a.t.Lists {
		for _, family := range []bool{false, true} {
			if family && !v6 {
				continue
			}
			n, err := a.takeOffList(ctx, list, family, addresses)
			taken += n
			if err != nil {
				return "", err
			}
		}
	}
	return count(taken, "entry") + " taken out of " + strings.Join(a.t.Lists, ", "), nil
}

func (a *attempt) takeOffList(ctx context.Context, list string, v6 bool, addresses map[netip.Addr]bool) (int, error) {
	words := []string{listMenu(v6) + "/print", listProperties, "?list=" + list}
	if !v6 {
		n := 0
		for ip := range addresses {
			if ip.Is4() {
				words = append(words, "?address="+ip.String())
				n++
			}
		}
		if n == 0 {
			return 0, nil
		}
		for range n - 1 {
			words = append(words, "?#|") // one address or another
		}
	}
	rows, err := a.n.command.do(ctx, words...)
	if err != nil {
		return 0, err
	}
	var ids []string
	for _, r := range rows {
		p, err := hotspot.ParseListAddress(r["address"])
		if err == nil && p.IsSingleIP() && addresses[p.Addr()] && strings.HasPrefix(r["comment"], listTag) {
			ids = append(ids, r[".id"])
		}
	}
	return remove(ctx, a.n.command, listMenu(v6), ids, a.singly)
}
