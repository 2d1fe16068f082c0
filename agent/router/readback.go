package router

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/routeros"
)

// sweepPauses are the waits before each further look when the last one found
// something, and took it away. A phone may slip in between; a router may lag.
var sweepPauses = []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond}

// readBack looks until the router shows nothing of the account, and once more
// when the last Access-Accept is so young that its login may still come.
func (a *attempt) readBack(ctx, wanted context.Context) (string, error) {
	detail, err := a.sweeps(ctx, wanted)
	if err == nil {
		if wait := min(settleTime-a.e.Now().Sub(a.t.LastAccept), settleTime); !a.t.LastAccept.IsZero() && wait > 0 {
			if !pause(wanted, wait) {
				return "", wanted.Err()
			}
			a.clean = false
			detail, err = a.sweeps(ctx, wanted)
			detail += "; read again " + brief(settleTime) + " after the last Access-Accept"
		}
	}
	if err != nil {
		return "", err
	}
	return a.waysRound(ctx, detail)
}

// sweeps looks until a look finds nothing.
func (a *attempt) sweeps(ctx, wanted context.Context) (string, error) {
	for _, wait := range sweepPauses {
		if !pause(wanted, wait) {
			return "", wanted.Err()
		}
		f, err := a.sweep(ctx)
		if err != nil {
			a.err = err
			return "", err
		}
		if a.left = f.left(); a.left == "" {
			a.clean = true
			return f.String(), nil
		}
		a.singly = true
	}
	a.err = fault.New(fault.Unavailable, "read back", fmt.Errorf("still there: %s", a.left)).WithCode(CodeStillOn,
		"The router keeps or takes back what is removed. Look at /ip/hotspot/active and /ip/hotspot/host on the router; a script or a second HotSpot server may log the guest in.")
	return "", a.err
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// findings are what one look found of the account.
type findings struct {
	entries, hosts, cookies, listed int
	leaving                         []string // new connections that leave the router
	inside                          int      // connections to the router or the walled garden: allowed
	other                           bool     // a device is on with another account
}

// left says what must still go; "" is nothing.
func (f findings) left() string {
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{{f.entries, "on the active list"}, {f.hosts, "authorized in the host table"}, {f.cookies, "among the cookies"}, {f.listed, "of its connections"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	if len(f.leaving) > 0 {
		parts = append(parts, "new connections to "+strings.Join(f.leaving[:min(3, len(f.leaving))], ", "))
	}
	return strings.Join(parts, ", ")
}

// String says what was not found, and what was and is allowed.
func (f findings) String() string {
	s := "no entry, no authorized host, no cookie, no connection left"
	if f.inside > 0 {
		s += fmt.Sprintf("; %s to the router or the walled garden", count(f.inside, "connection"))
	}
	if f.other {
		s += "; the device is on with another account"
	}
	return s
}

// sweep reads the router once and takes away what it finds.
func (a *attempt) sweep(ctx context.Context) (findings, error) {
	var f findings
	l := a.n.command
	a.flows = nil
	if len(a.addresses) > 0 {
		// Beside the lists, which say whether anybody is on: what a look finds is taken away
		// and looked for again.
		a.flows = a.n.flows.ahead(a.e.background, a.n.watcher)
	}
	actives, err := a.n.active.read(ctx, l)
	if err != nil {
		return f, err
	}
	ours := a.sortEntries(actives)
	f.entries = len(ours)
	if _, err := a.takeOff(ctx, ours); err != nil {
		return f, err
	}
	hosts, err := a.n.hosts.read(ctx, l)
	if err != nil {
		return f, err
	}
	stuck := a.stuckHosts(hosts, &f)
	if _, err := remove(ctx, l, "/ip/hotspot/host", stuck, a.singly); err != nil {
		return f, err
	}
	cookies, err := a.n.cookies.read(ctx, l)
	if err != nil {
		return f, err
	}
	ids := a.cookieIDs(cookies)
	f.cookies = len(ids)
	if _, err := remove(ctx, l, "/ip/hotspot/cookie", ids, a.singly); err != nil {
		return f, err
	}
	return f, a.sweepConnections(ctx, hosts, &f)
}

// stuckHosts returns host rows that let one of the account's devices through
// though no entry does. Removing one makes the router judge the device anew. A
// bypassed one is a way round, which removing does not cure.
func (a *attempt) stuckHosts(hosts []host, f *findings) []string {
	var ids []string
	for _, h := range hosts {
		if !a.macs[h.mac] && !a.devices[h.mac] {
			continue
		}
		switch {
		case a.others[h.mac]:
			f.other = true
		case h.authorized && !h.bypassed:
			f.hosts++
			ids = append(ids, h.id)
		case h.bypassed:
			a.addWay(way{CodeBinding, "the router lets " + h.mac.Masked() + " through without a login (bypassed)"})
		}
	}
	return ids
}

// sweepConnections looks for connections that must be gone, and for new ones
// that leave the router. The phone goes on asking for DNS and the portal: that
// is not being online.
func (a *attempt) sweepConnections(ctx context.Context, hosts []host, f *findings) error {
	var held []host // by the HotSpot: what a bypassed device opens is a way round, found as such
	for _, h := range hosts {
		if !h.bypassed {
			held = append(held, h)
		}
	}
	now := a.addressesOf(held)
	if len(now) == 0 && len(a.listed) == 0 {
		return nil
	}
	rows, err := a.n.flows.take(ctx, a.flows, a.n.command)
	if err != nil {
		return err
	}
	var ids, fresh []string
	for _, c := range rows {
		switch {
		case a.listed[c.id] && (a.addresses[c.src] || a.addresses[c.dst]):
			ids = append(ids, c.id)
		case now[c.src] || now[c.dst]:
			fresh = append(fresh, c.id)
		}
	}
	f.listed = len(ids)
	leaving, err := a.leaving(ctx, fresh, now, f)
	if err != nil {
		return err
	}
	for _, id := range leaving {
		a.listed[id] = true
	}
	_, err = remove(ctx, a.n.command, "/ip/firewall/connection", append(ids, leaving...), a.singly)
	return err
}

// leaving returns those of the guest's new connections that leave the router, and
// counts the others. What tells is asked of these alone: the table is long.
func (a *attempt) leaving(ctx context.Context, fresh []string, now map[netip.Addr]bool, f *findings) ([]string, error) {
	if len(fresh) == 0 {
		return nil, nil
	}
	g, err := a.look.result(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for some := range slices.Chunk(fresh, removeAtOnce) {
		words := []string{"/ip/firewall/connection/print", "=.proplist=" + connectionProperties}
		for _, id := range some {
			words = append(words, "?.id="+id)
		}
		if n := len(some); n > 1 {
			words = append(words, "?#"+strings.Repeat("|", n-1))
		}
		rows, err := a.n.command.do(ctx, words...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			c := parseConnection(r)
			guest, far, dst, port := c.src, c.answers, c.dst, c.port
			if !now[c.src] { // towards the guest
				guest, far, dst, port = c.dst, c.src, c.src, ""
			}
			if now[far] || g.inside(guest, far, dst, c.protocol, port) {
				f.inside++
				continue
			}
			f.leaving = append(f.leaving, far.String())
			ids = append(ids, c.id)
		}
	}
	return ids, nil
}

// waysRound finds what lets the account past the HotSpot, in general and by
// name: with any of it a lock is never plain enforced.
func (a *attempt) waysRound(ctx context.Context, detail string) (string, error) {
	fail := func(err error) (string, error) {
		a.err = err
		return "", err
	}
	bindings, err := a.n.bindings.read(ctx, a.n.command)
	if err != nil {
		return fail(err)
	}
	for _, b := range bindings {
		if b.open && (a.macs[b.mac] || a.devices[b.mac] || b.byAddress(a.addresses)) {
			a.addWay(way{CodeBinding, "an ip-binding of type bypassed lets the device through"})
		}
	}
	if err := a.localUsers(ctx); err != nil {
		return fail(err)
	}
	g, err := a.look.result(ctx)
	if err != nil {
		return fail(err)
	}
	for _, w := range g.ways {
		a.addWay(w)
	}
	for _, p := range g.garden {
		for ip := range a.addresses {
			if p.wide() && p.from.holds(ip) {
				a.addWay(way{CodeGarden, "a rule of the walled garden lets the address " + ip.String() + " browse without a login"})
			}
		}
	}
	for _, w := range a.ways {
		detail += "; " + w.code + ": " + w.text
	}
	return detail, nil
}

// localUsers asks for users of the account's names in the router's own base,
// which it asks before RADIUS (facts.md §11).
func (a *attempt) localUsers(ctx context.Context) error {
	words := []string{"/ip/hotspot/user/print", "=.proplist=.id,name,disabled"}
	for name := range a.names {
		words = append(words, "?name="+name)
	}
	if n := len(a.names); n == 0 {
		return nil
	} else if n > 1 {
		words = append(words, "?#"+strings.Repeat("|", n-1))
	}
	rows, err := a.n.command.do(ctx, words...)
	if err != nil && routeros.ReasonOf(err) != routeros.NoSuchCommand {
		return err
	}
	for _, r := range rows {
		if !flag(r["disabled"]) {
			a.addWay(way{CodeLocalUser, "the router has a user of that name of its own (/ip/hotspot/user)"})
		}
	}
	return nil
}

// addWay notes a way round, each code once.
func (a *attempt) addWay(w way) {
	for _, known := range a.ways {
		if known.code == w.code {
			return
		}
	}
	a.ways = append(a.ways, w)
}
