package router

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/routeros"
)

// way is a way round the HotSpot (facts.md §11).
type way struct{ code, text string }

// ground is what is known of a router's surroundings: what counts as inside,
// and what leads past the HotSpot. It changes when a person changes it.
type ground struct {
	at time.Time
	territory
	ways []way
}

// survey keeps the newest ground of a NAS and one look for the next, on the
// watching connection, so that it never delays a lock's own commands.
type survey struct {
	changed func(closed, opened bool) // told when a way round that was open is no more, or a new one is

	mu      sync.Mutex
	last    *ground
	running *look
}

// look is one reading of the ground, shared by those who wait for it.
type look struct {
	s    *survey
	done chan struct{} // closed when g or err is set
	g    *ground
	err  error
}

// begin returns a look no older than surveyFresh, starting one if need be.
func (s *survey) begin(background func(func(context.Context)), n *nas) *look {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && time.Since(s.last.at) < surveyFresh {
		k := &look{s: s, done: make(chan struct{}), g: s.last}
		close(k.done)
		return k
	}
	if s.running != nil {
		return s.running
	}
	k := &look{s: s, done: make(chan struct{})}
	s.running = k
	background(func(ctx context.Context) {
		g, err := explore(ctx, n.watcher)
		if err != nil && !routeros.Refused(err) && ctx.Err() == nil {
			g, err = explore(ctx, n.command) // the router may allow us one connection only
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		k.g, k.err = g, err
		if err == nil {
			if s.last != nil && s.changed != nil {
				if closed, opened := lacks(g.ways, s.last.ways), lacks(s.last.ways, g.ways); closed || opened {
					defer s.changed(closed, opened)
				}
			}
			s.last = g
		}
		s.running = nil
		close(k.done)
	})
	return k
}

// lacks reports whether one of others is not among ways.
func lacks(ways, others []way) bool {
	return slices.ContainsFunc(others, func(o way) bool {
		return !slices.ContainsFunc(ways, func(w way) bool { return w.code == o.code })
	})
}

// result waits for the look. When it fails, or takes too long, the last good one
// serves while it is young.
func (k *look) result(ctx context.Context) (*ground, error) {
	t := time.NewTimer(surveyWait)
	defer t.Stop()
	select {
	case <-k.done:
		if k.err == nil {
			return k.g, nil
		}
	case <-t.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	k.s.mu.Lock()
	last := k.s.last
	k.s.mu.Unlock()
	if last != nil && time.Since(last.at) < surveyKept {
		return last, nil
	}
	select {
	case <-k.done:
		return k.g, k.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// older reports whether the newest ground is older than d.
func (s *survey) older(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last == nil || time.Since(s.last.at) > d
}

// ways returns the ways round found last, for people.
func (s *survey) ways() []way {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return nil
	}
	return s.last.ways
}

// explorer reads menus one after the other until one fails. A menu this version
// of RouterOS does not have is empty.
type explorer struct {
	ctx context.Context
	l   *link
	err error
}

func (x *explorer) print(menu, properties string, query ...string) []routeros.Row {
	if x.err != nil {
		return nil
	}
	words := []string{menu + "/print"}
	if properties != "" {
		words = append(words, "=.proplist="+properties)
	}
	rows, err := x.l.do(x.ctx, append(words, query...)...)
	if err != nil && routeros.ReasonOf(err) != routeros.NoSuchCommand {
		x.err = fmt.Errorf("look for ways round the HotSpot: %w", err)
	}
	return rows
}

// explore reads what lies round the HotSpot.
func explore(ctx context.Context, l *link) (*ground, error) {
	x := &explorer{ctx: ctx, l: l}
	g := &ground{at: time.Now()}
	servers := enabled(x.print("/ip/hotspot", ".id,name,interface,profile,disabled,invalid"))
	profiles := x.print("/ip/hotspot/profile", ".id,name,login-by")
	addresses := enabled(x.print("/ip/address", ".id,address,interface,actual-interface,disabled,invalid"))
	net := newGuestNet(servers, addresses)
	g.territory = x.territory(addresses, len(servers))
	if slices.ContainsFunc(g.garden, func(p plot) bool { return p.wide() && (!p.from.limited || p.from.not) }) {
		g.ways = append(g.ways, way{CodeGarden, "a rule of the walled garden (/ip/hotspot/walled-garden/ip) lets guests browse without a login: limit it to the addresses meant"})
	}
	if x.fasttracked(net) {
		g.ways = append(g.ways, way{CodeFasttrack, "connections of guests are fasttracked: accept guest traffic above the fasttrack rule, or limit that rule to other networks"})
	}
	if where := x.ipv6(net); where != "" {
		g.ways = append(g.ways, way{CodeIPv6, "IPv6 address " + where + " on the guest network, which the HotSpot does not control: remove it, or drop IPv6 from guests"})
	}
	for _, s := range servers {
		for _, p := range profiles {
			if p["name"] == s["profile"] && has(p["login-by"], "trial") {
				g.ways = append(g.ways, way{CodeTrial, "the HotSpot profile " + p["name"] + " offers a trial: take trial out of its login-by"})
			}
		}
	}
	if x.err != nil {
		return nil, x.err
	}
	return g, nil
}

// enabled leaves out rows that are not in force.
func enabled(rows []routeros.Row) []routeros.Row {
	var out []routeros.Row
	for _, r := range rows {
		if !flag(r["disabled"]) && !flag(r["invalid"]) {
			out = append(out, r)
		}
	}
	return out
}

// has reports whether a comma-separated value holds an item.
func has(list, item string) bool {
	for s := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(s) == item {
			return true
		}
	}
	return false
}
