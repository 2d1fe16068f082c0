package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"iwas/agent/radius"
	"iwas/agent/statuspage"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// checks makes the checks that the status page asks for, one of each router and one
// of this box at a time, and keeps the last of each.
type checks struct {
	cfg    config
	client *radius.Client
	pace   func(id string) *routeros.Pace // shared with whoever else asks that router
	heard  func(context.Context) (statuspage.Snapshot, error)
	told   func(context.Context) statuspage.Report // what the service says of itself
	bell   func()                                  // something changed; may be called often

	asked chan wish // one place for each router, and one for this box

	mu    sync.Mutex // guards what follows
	known map[hotspot.NASID]statuspage.Check
}

// wish is a router to be checked, or areas of this box.
type wish struct {
	router nasConfig
	areas  []string // nil: the router
}

// thisBox stands among the routers for this box: none has an empty id.
const thisBox = hotspot.NASID("")

func (c *checks) init() *checks {
	c.asked, c.known = make(chan wish, len(c.cfg.NAS)+1), map[hotspot.NASID]statuspage.Check{}
	return c
}

// Start has a router or this box checked; what is under way is not asked again.
func (c *checks) Start(a statuspage.Asked) error {
	switch {
	case a.Router == "" && a.Area == statuspage.Everything:
		c.begin(thisBox, "", wish{areas: c.ownAreas()})
		c.beginRouters()
		return nil
	case a.Router == "" && slices.Contains(c.ownAreas(), a.Area):
		c.begin(thisBox, a.Area, wish{areas: []string{a.Area}})
		return nil
	case a.Router == "" && slices.Contains(areas, a.Area):
		c.beginRouters()
		return nil
	}
	for _, n := range c.cfg.NAS {
		if hotspot.NASID(n.ID) == a.Router {
			c.begin(a.Router, "", wish{router: n})
			return nil
		}
	}
	return fault.New(fault.NotFound, fmt.Sprintf("no router is called %q, and no area %q", a.Router, a.Area), nil)
}

// ownAreas are those of this box. Each router has a check of its own on the page; where
// there is none, that is what is found.
func (c *checks) ownAreas() []string {
	return slices.DeleteFunc(slices.Clone(areas), func(a string) bool { return a == "router" && len(c.cfg.NAS) > 0 })
}

func (c *checks) beginRouters() {
	for _, n := range c.cfg.NAS {
		c.begin(hotspot.NASID(n.ID), "", wish{router: n})
	}
}

func (c *checks) begin(of hotspot.NASID, area string, w wish) {
	c.mu.Lock()
	k := c.known[of]
	begin := !k.Running
	if begin {
		k.Running, k.Area, k.Done, k.Of = true, area, 0, 0
		c.known[of] = k
	}
	c.mu.Unlock()
	if begin {
		c.asked <- w // never waits: each stands in it once
		c.bell()
	}
}

// Last returns what is known of a router's check, or of this box's; false if there was
// none.
func (c *checks) Last(of hotspot.NASID) (statuspage.Check, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[of]
	return k, ok
}

func (c *checks) change(of hotspot.NASID, do func(*statuspage.Check)) {
	c.mu.Lock()
	k := c.known[of]
	do(&k)
	c.known[of] = k
	c.mu.Unlock()
	c.bell()
}

// Serve works until ctx ends.
func (c *checks) Serve(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-c.asked:
			all.Go(func() { c.run(ctx, w) })
		}
	}
}

func (c *checks) run(ctx context.Context, w wish) {
	of := hotspot.NASID(w.router.ID)
	progress := func(done, all int) { c.change(of, func(k *statuspage.Check) { k.Done, k.Of = done, all }) }
	var r condition.CheckReport
	var err error
	if w.areas != nil {
		r = c.lookBox(ctx, w.areas, progress)
	} else {
		r, err = c.look(ctx, w.router, progress)
	}
	c.change(of, func(k *statuspage.Check) {
		k.Running, k.Area, k.Problem = false, "", ""
		if err != nil {
			k.Problem, k.ProblemAt = err.Error(), time.Now()
			return
		}
		k.Report = &r
	})
}

// lookBox makes the check of the command now. What the service says of itself is asked
// directly.
func (c *checks) lookBox(ctx context.Context, wanted []string, progress func(done, of int)) condition.CheckReport {
	told := c.told(ctx)
	b := boxChecker{cfg: c.cfg, told: &told, progress: progress}
	r := b.run(ctx, wanted, nil)
	if k, _ := c.Last(thisBox); k.Report != nil && !slices.Equal(wanted, c.ownAreas()) {
		return b.again(*k.Report, r, wanted)
	}
	return r
}

// look makes one check now, at the pace of whoever else asks that router.
func (c *checks) look(ctx context.Context, n nasConfig, progress func(done, of int)) (condition.CheckReport, error) {
	check, err := c.cfg.checkOf(n)
	if err != nil {
		return condition.CheckReport{}, err
	}
	check.API.Pace, check.RADIUS, check.Progress = c.pace(n.ID), onlooker{c.client, c.heard}, progress
	return check.Run(ctx), nil
}
