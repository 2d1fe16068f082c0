package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/agent/aaa"
	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/internal/hotspot"
	"iwas/internal/routersim"
	"iwas/internal/wire"
)

// proving is a router.Store that remembers what was proven.
type proving struct {
	router.Store
	mu     sync.Mutex
	proofs []hotspot.Proof
}

func (p *proving) Prove(ctx context.Context, proof hotspot.Proof) error {
	p.mu.Lock()
	p.proofs = append(p.proofs, proof)
	p.mu.Unlock()
	return p.Store.Prove(ctx, proof)
}

func (p *proving) first() (hotspot.Proof, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.proofs) == 0 {
		return hotspot.Proof{}, false
	}
	return p.proofs[0], true
}

const endless = 24 * time.Hour

// TestWhoUsedUpTheirPassIsPutOff: the pass is over by data or by time while the
// router, for a reason of its own, lets the guest go on and acknowledges
// Disconnect-Request without acting. The agent finds out from accounting, takes
// the guest off over the API, reads back, and refuses the next login.
func TestWhoUsedUpTheirPassIsPutOff(t *testing.T) {
	for name, tc := range map[string]struct {
		limits wire.LimitsBody
		use    func(c *cafe) // what the guests do
		off    hotspot.OffReason
		reject hotspot.Reason
	}{
		// The limit of each login is what was left then: together they use more.
		"data, over two devices": {wire.LimitsBody{Total: 1 << 20, Devices: 2}, func(c *cafe) {
			for _, mac := range []string{oldPhone, newPhone} {
				if on, err := c.sim.Use(mac, 100<<10, 500<<10, 3); err != nil || !on {
					c.t.Fatalf("%s is cut off by the router itself: %v", mac, err)
				}
			}
		}, hotspot.OffDataUsed, hotspot.ReasonDataUsed},
		"time online":                {wire.LimitsBody{TimeS: 4, Clock: hotspot.Metered, Devices: 2}, func(*cafe) {}, hotspot.OffTimeUsed, hotspot.ReasonTimeUsed},
		"time since the first login": {wire.LimitsBody{TimeS: 4, Clock: hotspot.Continuous, Devices: 2}, func(*cafe) {}, hotspot.OffTimeUsed, hotspot.ReasonTimeUsed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen *proving
			var client *radius.Client
			c := openCafe(t, tc.limits, func(e *router.Enforcer) {
				seen = &proving{Store: e.Store}
				e.Store, client = seen, e.Disconnector.(*radius.Client)
			})
			phones := []string{oldPhone, newPhone}
			for _, mac := range phones {
				if err := c.arrive(mac); err != nil {
					t.Fatal(err)
				}
			}
			var sessions []hotspot.Session
			for deadline := time.Now().Add(20 * time.Second); len(sessions) < len(phones); time.Sleep(5 * time.Millisecond) {
				var err error
				if sessions, err = c.db.OpenSessions(t.Context()); err != nil || time.Now().After(deadline) {
					t.Fatalf("open are %+v, %v; want both phones", sessions, err)
				}
			}
			for _, s := range sessions { // the router forgets what it was told of the end
				if d, err := client.Change(t.Context(), "r1", s, hotspot.NewTerms{SessionTimeout: endless}); err != nil || d.Result != hotspot.ResultACK {
					t.Fatalf("lengthen %s: %+v, %v", s.MAC, d, err)
				}
			}
			c.set(func(k *routersim.Knobs) { k.CoAIgnore, k.InterimInterval = true, 300*time.Millisecond })
			tc.use(c)

			var p hotspot.Proof
			for deadline, ok := time.Now().Add(30*time.Second), false; !ok; time.Sleep(10 * time.Millisecond) {
				if p, ok = seen.first(); time.Now().After(deadline) {
					t.Fatal("nobody was put off")
				}
			}
			if p.Outcome != hotspot.OutcomeEnforced || p.Reason != tc.off || p.Method != "api" || p.Sessions != 2 {
				t.Errorf("got %+v, want both sessions ended over the API for %s", p, tc.off)
			}
			if last := p.Steps[len(p.Steps)-1]; last.Name != hotspot.StepReadBack || !last.OK || !strings.Contains(last.Detail, "no entry") {
				t.Errorf("the last step is %+v, want a clean read-back", last)
			}
			c.open()
			for _, mac := range phones {
				g, err := c.sim.Guest(mac)
				if err != nil || g.Online || g.Cookies != 0 || g.Connections != 0 {
					t.Errorf("%s: %+v, %v; want off, without cookies and connections", mac, g, err)
				}
				if err := c.arrive(mac); err == nil || err.Error() != aaa.GuestMessage(tc.reject, "en") {
					t.Errorf("%s logs in again and reads %v, want %q", mac, err, aaa.GuestMessage(tc.reject, "en"))
				}
			}
			all, err := c.db.Sessions(t.Context())
			if err != nil || len(all) != 2 || slices.ContainsFunc(all, func(s hotspot.Session) bool { return s.State != hotspot.Closed }) {
				t.Errorf("stored %+v, %v; want both closed", all, err)
			}
		})
	}
}
