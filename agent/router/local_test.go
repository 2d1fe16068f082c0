package router

import (
	"strings"
	"testing"

	"iwas/internal/hotspot"
	"iwas/internal/routersim"
)

// A local user of a locked guest's name is told as a leak, and is one: the guest logs
// in, and RADIUS is not asked. He is put off each time he is seen, and once the user is
// gone the lock is proven.
func TestALocalUserLetsALockedGuestIn(t *testing.T) {
	everyRouter(t, func(c *cafe) { c.e.Locks = c }, func(t *testing.T, c *cafe) {
		c.sim.SetKnobs(routersim.Knobs{Still: true})
		c.arrive(1, 1)
		c.command("/ip/hotspot/user/add", "=name="+nameOf(1), "=password=x")
		c.settle()
		c.lock(nameOf(1))
		if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeLeaks || p.Code != CodeLocalUser {
			t.Fatalf("got %s %q, want leaks with %s", p.Outcome, p.Code, CodeLocalUser)
		}
		c.off(macOf(1))
		asked := c.sim.Counters().Requests
		if err := c.sim.Login(macOf(1), routersim.Login{Method: "http-chap", Username: nameOf(1), Password: "x"}); err != nil {
			t.Fatalf("the router refused its own user: %v", err)
		}
		if now := c.sim.Counters().Requests; now != asked {
			t.Errorf("RADIUS was asked %d times", now-asked)
		}
		if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeLeaks || p.Code != CodeLocalUser || p.Sessions != 1 {
			t.Errorf("got %+v, want the guest put off, and the leak told again", p)
		}
		c.off(macOf(1))
		id := c.command("/ip/hotspot/user/print", "?name="+nameOf(1))[0][".id"]
		c.command("/ip/hotspot/user/remove", "=.id="+id)
		for p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeEnforced; p = c.proof(nameOf(1)) {
			if p.Code != CodeLocalUser { // of a look begun before
				t.Fatalf("got %+v, want enforced", p)
			}
		}
	})
}

// Where RADIUS is asked first, the same user is told as a leak all the same: nothing on
// the router says which it is.
func TestALocalUserWhereRADIUSIsAskedFirst(t *testing.T) {
	everyRouter(t, func(*cafe) {}, func(t *testing.T, c *cafe) {
		c.sim.SetKnobs(routersim.Knobs{Still: true, RADIUSFirst: true})
		c.arrive(1, 1)
		c.command("/ip/hotspot/user/add", "=name="+nameOf(1), "=password=x")
		c.settle()
		c.lock(nameOf(1))
		if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeLeaks || p.Code != CodeLocalUser {
			t.Fatalf("got %s %q, want leaks with %s", p.Outcome, p.Code, CodeLocalUser)
		}
		if err := c.sim.Login(macOf(1), routersim.Login{Method: "http-chap", Username: nameOf(1), Password: "x"}); err == nil {
			t.Error("RADIUS refuses, and the guest is in")
		}
	})
}

// A trial is told as a leak, and is one: a locked guest's phone is online again without
// a name, until the trial is used up.
func TestATrialLetsALockedGuestIn(t *testing.T) {
	everyRouter(t, func(*cafe) {}, func(t *testing.T, c *cafe) {
		c.sim.SetKnobs(routersim.Knobs{Still: true})
		id := c.command("/ip/hotspot/profile/print", "?name=hsprof1")[0][".id"]
		c.command("/ip/hotspot/profile/set", "=.id="+id, "=login-by=http-chap,trial")
		c.arrive(1, 1)
		c.settle()
		c.lock(nameOf(1))
		if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeLeaks || p.Code != CodeTrial {
			t.Fatalf("got %s %q, want leaks with %s", p.Outcome, p.Code, CodeTrial)
		}
		if err := c.sim.Login(macOf(1), routersim.Login{Method: "trial"}); err != nil {
			t.Fatal(err)
		}
		if g := c.guest(macOf(1)); !g.Online || !strings.HasPrefix(g.User, "T-") || g.TimeLeftMS <= 0 {
			t.Errorf("got %+v, want a trial with an end", g)
		}
	})
}
