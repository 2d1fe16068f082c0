package router

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routersim"
)

// A lock ends proven on a router that misbehaves in any one way, over both doors and on
// both versions; and whoever is not meant stays online (facts.md §10).
func TestALockIsProvenOnARouterThatMisbehaves(t *testing.T) {
	for name, knobs := range map[string]routersim.Knobs{
		"it behaves": {},
		"a Disconnect-Request is acknowledged only":   {CoAIgnore: true},
		"a Disconnect-Request is not answered":        {CoASilent: true},
		"nothing there is 406":                        {NAKCause: 406},
		"Class is not echoed":                         {NoClass: true},
		"replies get lost":                            {DropReplies: 0.3},
		"older than Message-Authenticator":            {NoMessageAuth: true},
		"several ids are refused":                     {OneID: "refused", CoAIgnore: true},
		"several ids are ignored":                     {OneID: "ignored", CoAIgnore: true},
		"a removal from the list is done and refused": {RefuseDone: "ip/hotspot/active", CoAIgnore: true},
		"cookies are removed and it is refused":       {RefuseDone: "ip/hotspot/cookie"},
		"a removal from the list is not done":         {WriteIgnored: "ip/hotspot/active", CoAIgnore: true},
		"logins over REST leave rows":                 {LeakSessions: true},
		"an aborted call damages REST":                {AbortDamage: time.Second},
		"commands take long":                          {Stall: 30 * time.Millisecond},
		"commands cost":                               {CommandCost: true},
		"its clock is a year ahead":                   {ClockAhead: 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyRouter(t, func(*cafe) {}, func(t *testing.T, c *cafe) {
				knobs := knobs // of this router: they run side by side
				knobs.Still = true
				c.arrive(1, 3)
				c.arrive(2, 3)
				c.sim.SetKnobs(knobs)
				c.lock(nameOf(1))
				p := c.proof(nameOf(1))
				for p.Outcome == hotspot.OutcomePending { // an attempt that failed is made again
					p = c.proof(nameOf(1))
				}
				if p.Outcome != hotspot.OutcomeEnforced {
					t.Errorf("got %s %q, want enforced: %+v", p.Outcome, p.Code, p.Steps)
				}
				c.off(macOf(1))
				c.untouched(macOf(2), 3)
			})
		})
	}
}

// A REST call that takes longer than the router allows ends with "Session closed": the
// attempt has failed, and is made again.
func TestASessionThatIsClosedIsNoProof(t *testing.T) {
	for _, version := range []string{"7.16.2 (stable)", "7.24 (stable)"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := openOn(t, version, func(c *cafe) { c.rest = true })
			c.arrive(1, 3)
			c.sim.SetKnobs(routersim.Knobs{Still: true, Stall: 100 * time.Millisecond, StallAt: "ip/hotspot/cookie", RESTLimit: 50 * time.Millisecond})
			c.lock(nameOf(1))
			if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomePending {
				t.Errorf("got %s, want it pending: the cookies were never seen", p.Outcome)
			}
			c.sim.SetKnobs(routersim.Knobs{Still: true})
			p := c.proof(nameOf(1))
			for p.Outcome == hotspot.OutcomePending {
				p = c.proof(nameOf(1))
			}
			if p.Outcome != hotspot.OutcomeEnforced {
				t.Errorf("got %s %q, want enforced", p.Outcome, p.Code)
			}
			c.off(macOf(1))
		})
	}
}
