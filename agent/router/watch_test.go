package router

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"iwas/internal/hotspot"
	"iwas/internal/routersim"
)

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(8 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestActiveListAndHealth(t *testing.T) {
	c := open(t, nil)
	g := c.arrive(1, 0)
	c.arrive(2, 0)
	list := func() []hotspot.ActiveEntry {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.listed
	}
	eventually(t, "two guests on the list", func() bool { return len(list()) == 2 })
	at := slices.IndexFunc(list(), func(e hotspot.ActiveEntry) bool { return e.User == nameOf(1) })
	e := list()[max(at, 0)]
	if e.User != nameOf(1) || e.MAC.String() != g.MAC || e.IP.String() != g.IP || e.LoginBy != "http-chap" || e.Upload != 1000 || e.Download != 5000 || !e.RADIUS || e.Server != "hotspot1" {
		t.Errorf("got %+v, want guest 1 as the router has it: %+v", e, g)
	}
	h := c.e.Health()[0]
	if !h.API || !h.Reachable || h.NAS != nasID || h.Identity != "MikroTik" || h.Version != "7.23.7 (long-term)" || h.Board != "hAP ax2" || h.RoundTrip <= 0 ||
		time.Since(h.SeenAt) > 5*time.Second || h.Err != "" || h.Code != "" {
		t.Errorf("health: %+v", h)
	}
	c.sim.SetKnobs(routersim.Knobs{APIDown: true})
	eventually(t, "the router is known to be away", func() bool { h := c.e.Health()[0]; return !h.Reachable && h.Code == "RTR-102" && h.Hint != "" })
	if h := c.e.Health()[0]; h.Version == "" || h.SeenAt.IsZero() {
		t.Errorf("what was known is forgotten: %+v", h)
	}
	c.sim.SetKnobs(routersim.Knobs{})
	eventually(t, "the router is known to be back", func() bool { h := c.e.Health()[0]; return h.Reachable && h.Err == "" })
}

func TestRouterRestartIsOvercome(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 1)
	c.sim.PowerCut(0)
	c.login(macOf(2), "second", 3)
	c.lock("second")
	begun := time.Now()
	p := c.proof("second")
	for p.Outcome == hotspot.OutcomePending { // its API may come back later than its HotSpot
		p = c.proof("second")
	}
	if p.Outcome != hotspot.OutcomeEnforced || time.Since(begun) > 3*time.Second {
		t.Errorf("first lock after a restart: got %+v after %v, want enforced soon", p, time.Since(begun))
	}
	c.off(macOf(2))
}

// The connection for commands is the lock's: looking at a slow router's list
// does not hold it up.
func TestWatchingDoesNotDelayALock(t *testing.T) {
	s := guestRouter()
	hold := make(chan struct{})
	s.before = func(command string, words []string) error {
		if len(words) > 0 && words[0] == "=.proplist="+watchedProperties {
			s.mu.Unlock()
			<-hold
			s.mu.Lock()
		}
		return nil
	}
	c := &cafe{t: t, proven: make(chan hotspot.Proof, 10), targets: map[hotspot.AccountID]hotspot.Target{}, refuse: map[string]bool{}, wake: make(chan struct{}, 1)}
	c.e = &Enforcer{Routers: []Router{{NAS: nasID, Dial: s.dial}}, Store: c, Wake: c.wake}
	// What lies round the router is read by the watcher's connection too: known before.
	c.e.init()
	g, err := explore(context.Background(), newLink(s.dial))
	if err != nil {
		t.Fatal(err)
	}
	g.at = time.Now().Add(time.Hour)
	c.e.nases[0].survey.last = g
	c.serve()
	c.lock("a")
	if p := c.proof("a"); p.Outcome != hotspot.OutcomeEnforced {
		t.Errorf("got %+v, want enforced while the list is being read", p)
	}
	close(hold)
	c.stop()
}

func TestServeLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	c := open(t, nil)
	c.arrive(1, 1)
	c.lock(nameOf(1), func(t *hotspot.Target) { t.LastAccept = time.Now() }) // stopped in the middle
	eventually(t, "the guest is off", func() bool { return !c.guest(macOf(1)).Online })
	begun := time.Now()
	c.stop()
	if took := time.Since(begun); took > time.Second {
		t.Errorf("stopping took %v", took)
	}
	if len(c.proofs) != 0 {
		t.Errorf("got proofs %+v of an attempt that was cut short", c.proofs)
	}
	c.sim.Close()
	time.Sleep(20 * time.Millisecond) // time for the simulator's goroutines to end
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("iwas/agent/router.(*cafe).radius"))
}

// failingStore has a database that does not answer for a while.
type failingStore struct {
	*cafe
	fail chan struct{} // closed: it answers again
}

func (f failingStore) Prove(ctx context.Context, p hotspot.Proof) error {
	select {
	case <-f.fail:
		return f.cafe.Prove(ctx, p)
	default:
		return errors.New("disk full")
	}
}

func TestProofThatCannotBeKeptIsMadeAgain(t *testing.T) {
	fail := make(chan struct{})
	c := open(t, func(c *cafe) { c.e.Store = failingStore{c, fail} })
	c.arrive(1, 2)
	c.lock(nameOf(1))
	eventually(t, "the trouble shows", func() bool { w := c.e.Waiting(); return len(w) == 1 && w[0].Err == "disk full" })
	close(fail)
	if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeEnforced || p.Method != "disconnect" || p.Sessions != 1 {
		t.Errorf("got %+v, want the proof as it was first made", p)
	}
}
