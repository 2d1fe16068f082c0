package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"iwas/agent/radius"
	"iwas/agent/statuspage"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// checks makes the checks that the status page asks for, one a router at a time,
// and keeps the last of each.
type checks struct {
	cfg    config
	client *radius.Client
	pace   func(id string) *routeros.Pace // shared with whoever else asks that router
	heard  func(context.Context) (statuspage.Snapshot, error)
	bell   func() // something changed; may be called often

	asked chan nasConfig // one place for each router

	mu    sync.Mutex // guards what follows
	known map[hotspot.NASID]statuspage.Check
}

func (c *checks) init() *checks {
	c.asked, c.known = make(chan nasConfig, len(c.cfg.NAS)), map[hotspot.NASID]statuspage.Check{}
	return c
}

// Start has a router checked; one whose check is under way is not asked again.
func (c *checks) Start(nas hotspot.NASID) error {
	for _, n := range c.cfg.NAS {
		if hotspot.NASID(n.ID) != nas {
			continue
		}
		c.mu.Lock()
		k := c.known[nas]
		begin := !k.Running
		k.Running, k.Done, k.Of = true, 0, 0
		if begin {
			c.known[nas] = k
		}
		c.mu.Unlock()
		if begin {
			c.asked <- n // never waits: a router stands in it once
			c.bell()
		}
		return nil
	}
	return fault.New(fault.NotFound, fmt.Sprintf("no router is called %q", nas), nil)
}

// Last returns what is known of a router's check; false if there was none.
func (c *checks) Last(nas hotspot.NASID) (statuspage.Check, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[nas]
	return k, ok
}

func (c *checks) change(nas hotspot.NASID, do func(*statuspage.Check)) {
	c.mu.Lock()
	k := c.known[nas]
	do(&k)
	c.known[nas] = k
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
		case n := <-c.asked:
			all.Go(func() { c.run(ctx, n) })
		}
	}
}

func (c *checks) run(ctx context.Context, n nasConfig) {
	nas := hotspot.NASID(n.ID)
	r, err := c.look(ctx, n, func(done, of int) { c.change(nas, func(k *statuspage.Check) { k.Done, k.Of = done, of }) })
	if err != nil {
		c.change(nas, func(k *statuspage.Check) { k.Running, k.Problem, k.ProblemAt = false, err.Error(), time.Now() })
		return
	}
	c.change(nas, func(k *statuspage.Check) {
		k.Running, k.Problem = false, ""
		k.Report = &condition.CheckReport{}
		*k.Report = r
	})
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
