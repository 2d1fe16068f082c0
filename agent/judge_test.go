package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iwas/agent/aaa"
	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
	"iwas/internal/wire"
)

const (
	oldPhone = "02:00:00:00:00:01"
	newPhone = "02:00:00:00:00:02"
)

// cafe is everything between a phone and its verdict, wired as main does: a
// simulated router, RADIUS, the store, the judge and the enforcer.
type cafe struct {
	*bench
	sim *routersim.Sim
}

// counted are the routers, of which a test knows how often they were asked. They
// are there once the router is.
type counted struct {
	mu        sync.Mutex
	routers   judgeRouters
	gone, end atomic.Int64
}

func (c *counted) get() judgeRouters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.routers
}

func (c *counted) Gone(ctx context.Context, s []hotspot.Session) []hotspot.SessionID {
	c.gone.Add(1)
	return c.get().Gone(ctx, s)
}

func (c *counted) End(ctx context.Context, a hotspot.AccountID, s []hotspot.Session) []hotspot.SessionID {
	c.end.Add(1)
	return c.get().End(ctx, a, s)
}

// openCafe opens it with one user, "user0", whose pass has the limits; change may
// alter the enforcer before it runs.
func openCafe(t *testing.T, limits wire.LimitsBody, change ...func(*router.Enforcer)) *cafe {
	t.Helper()
	c := &cafe{bench: newBench(t, 1, limits)}
	at := func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.Port())
	}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	c.sim, err = routersim.Start(ctx, routersim.Config{Password: "pw", LoginBy: "http-chap,http-pap,mac-cookie,cookie",
		RADIUS: routersim.RADIUSConfig{Auth: at(c.server.AuthAddr()), Acct: at(c.server.AcctAddr()), Secret: lockSecret, Timeout: 600 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); c.sim.Close() })
	c.sim.SetKnobs(routersim.Knobs{Still: true})
	e := &router.Enforcer{Store: c.db, Disconnector: &radius.Client{NASes: []radius.NAS{{ID: "r1", Network: netip.MustParsePrefix("127.0.0.1/32"), Secret: lockSecret, CoA: c.sim.CoAAddr()}}},
		Routers: []router.Router{{NAS: "r1", Dial: func(ctx context.Context) (routeros.Conn, error) {
			return routeros.Dial(ctx, routeros.Options{URL: "api://" + c.sim.APIAddr(), User: "iwas", Password: "pw"})
		}}}, Poll: time.Hour} // what the store learns of ghosts here it learns from the judge
	for _, f := range change {
		f(e)
	}
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	c.calls.mu.Lock()
	c.calls.routers = e
	c.calls.mu.Unlock()
	return c
}

// set changes how the router misbehaves.
func (c *cafe) set(change func(*routersim.Knobs)) {
	k := c.sim.Knobs()
	change(&k)
	c.sim.SetKnobs(k)
}

// arrive brings a phone to the network and logs it in; the error is what the
// login page says.
func (c *cafe) arrive(mac string) error {
	c.t.Helper()
	if _, err := c.sim.Arrive(mac, ""); err != nil {
		c.t.Fatal(err)
	}
	return c.sim.Login(mac, routersim.Login{Method: "http-chap", Username: "user0", Password: "pw"})
}

func (c *cafe) online(mac string) bool {
	c.t.Helper()
	g, err := c.sim.Guest(mac)
	if err != nil {
		c.t.Fatal(err)
	}
	return g.Online
}

// open waits until the store has just these phones online.
func (c *cafe) open(macs ...string) {
	c.t.Helper()
	var got []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		sessions, err := c.db.OpenSessions(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		got = nil
		for _, s := range sessions {
			got = append(got, s.MAC.String())
		}
		if fmt.Sprint(got) == fmt.Sprint(macs) {
			return
		}
	}
	c.t.Fatalf("the store has %q online, want %q", got, macs)
}

// ghost leaves a session in the store that the router knows nothing of: its Stop
// is lost.
func (c *cafe) ghost(mac string) {
	c.t.Helper()
	if err := c.arrive(mac); err != nil {
		c.t.Fatal(err)
	}
	c.open(mac)
	c.set(func(k *routersim.Knobs) { k.DropRequests = 1 })
	if err := c.sim.Leave(mac); err != nil {
		c.t.Fatal(err)
	}
	c.settle()
	c.set(func(k *routersim.Knobs) { k.DropRequests = 0 })
}

// settle waits until the router has given up on whatever it sends.
func (c *cafe) settle() {
	c.t.Helper()
	before := c.sim.Counters().Timeouts
	for deadline := time.Now().Add(30 * time.Second); c.sim.Counters().Timeouts == before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("the Stop was not given up")
		}
	}
}

func TestAGhostInTheWayIsFoundOut(t *testing.T) {
	c := openCafe(t, wire.LimitsBody{Devices: 1})
	c.ghost(oldPhone)
	if err := c.arrive(newPhone); err != nil {
		t.Fatalf("the new phone: %v, want to be let in past a ghost", err)
	}
	c.open(newPhone)
	if n := c.calls.end.Load(); n != 0 {
		t.Errorf("%d sessions were asked to end, want none", n)
	}
}

func TestALiveSessionInTheWayStays(t *testing.T) {
	for _, tc := range []struct {
		name  string
		knobs func(*routersim.Knobs)
	}{
		{"the router says it is there", func(*routersim.Knobs) {}},
		{"the router does not answer", func(k *routersim.Knobs) { k.APIDown = true }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := openCafe(t, wire.LimitsBody{Devices: 1})
			if err := c.arrive(oldPhone); err != nil {
				t.Fatal(err)
			}
			c.open(oldPhone)
			c.set(tc.knobs)
			err := c.arrive(newPhone)
			if err == nil || err.Error() != aaa.GuestMessage(hotspot.ReasonTooManyDevices, "en") {
				t.Errorf("the new phone reads %v, want that too many devices are on", err)
			}
			if c.calls.gone.Load() == 0 || c.calls.end.Load() != 0 {
				t.Errorf("asked %d times who is gone, %d to end; want at least one and none", c.calls.gone.Load(), c.calls.end.Load())
			}
			c.open(oldPhone)
			if !c.online(oldPhone) || c.online(newPhone) {
				t.Errorf("old phone online %v, new one %v; want only the old one", c.online(oldPhone), c.online(newPhone))
			}
		})
	}
}

func TestAPassMovesToTheNewPhone(t *testing.T) {
	for _, tc := range []struct {
		name  string
		knobs func(*routersim.Knobs)
	}{
		{"by Disconnect-Request", func(*routersim.Knobs) {}},
		{"by the API, when the ACK was empty", func(k *routersim.Knobs) { k.CoAIgnore = true }},
		{"by the API, when Disconnect-Request stays unanswered", func(k *routersim.Knobs) { k.CoASilent = true }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := openCafe(t, wire.LimitsBody{Devices: 1, DeviceSwap: hotspot.SwapMove})
			if err := c.arrive(oldPhone); err != nil {
				t.Fatal(err)
			}
			c.open(oldPhone)
			if _, err := c.sim.Use(oldPhone, 1000, 2000, 5); err != nil {
				t.Fatal(err)
			}
			c.set(tc.knobs)
			// The router enforces Port-Limit: were the old phone on when the Accept
			// arrives, it would say "no more sessions are allowed".
			if err := c.arrive(newPhone); err != nil {
				t.Fatalf("the new phone reads %q, want to be let in", err)
			}
			g, err := c.sim.Guest(oldPhone)
			if err != nil {
				t.Fatal(err)
			}
			if g.Online || g.Cookies != 0 {
				t.Errorf("the old phone: online %v with %d cookies, want off for good", g.Online, g.Cookies)
			}
			if !c.online(newPhone) {
				t.Error("the new phone is not online")
			}
			c.open(newPhone)
			for deadline := time.Now().Add(20 * time.Second); g.Connections > 0; time.Sleep(5 * time.Millisecond) {
				if g, err = c.sim.Guest(oldPhone); err != nil {
					t.Fatal(err)
				}
				if time.Now().After(deadline) {
					t.Fatalf("%d connections of the old phone stay open", g.Connections)
				}
			}
		})
	}
}

// TestAPassThatCannotBeMovedStays: with no way to end the old session no Accept
// leaves, or two devices would be on.
func TestAPassThatCannotBeMovedStays(t *testing.T) {
	c := openCafe(t, wire.LimitsBody{Devices: 1, DeviceSwap: hotspot.SwapMove})
	if err := c.arrive(oldPhone); err != nil {
		t.Fatal(err)
	}
	c.open(oldPhone)
	c.set(func(k *routersim.Knobs) { k.CoASilent, k.RemoveIgnored = true, true })
	err := c.arrive(newPhone)
	if err == nil || err.Error() != aaa.GuestMessage(hotspot.ReasonTooManyDevices, "en") {
		t.Errorf("the new phone reads %v, want that too many devices are on", err)
	}
	c.open(oldPhone)
	if !c.online(oldPhone) || c.online(newPhone) || c.calls.end.Load() == 0 {
		t.Errorf("old phone online %v, new one %v, asked to end %d times", c.online(oldPhone), c.online(newPhone), c.calls.end.Load())
	}
}

// TestALoginWaitsNoLongerForRoomThanItMay: a router that works on its commands for
// half a minute gets 0.3 s to say who is on and 0.5 s to put the old phone off.
func TestALoginWaitsNoLongerForRoomThanItMay(t *testing.T) {
	c := openCafe(t, wire.LimitsBody{Devices: 1, DeviceSwap: hotspot.SwapMove})
	if err := c.arrive(oldPhone); err != nil {
		t.Fatal(err)
	}
	c.open(oldPhone)
	c.set(func(k *routersim.Knobs) { k.CoASilent, k.Stall = true, 30*time.Second })
	mac, _ := hotspot.ParseMAC(newPhone)
	begun := time.Now()
	v, err := c.judge.Authorize(t.Context(), hotspot.Request{NAS: "r1", Username: "user0", MAC: mac, At: begun,
		Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "pw"}})
	took := time.Since(begun)
	if err != nil || v.Reason != hotspot.ReasonTooManyDevices || c.calls.end.Load() != 1 {
		t.Errorf("got %q, %v, asked %d times to end; want refused, asked once", v.Reason, err, c.calls.end.Load())
	}
	if took > 3*time.Second { // it is 0.8 s where nothing else runs; what was begun goes on for 5 s
		t.Errorf("answered after %v, when the router has given up", took)
	}
	t.Logf("answered after %v", took)
}

// TestTheGuestStaysOnSlowlyAfterTheData: the router does not end the session at
// the allowance, and the next login has the slower speed.
func TestTheGuestStaysOnSlowlyAfterTheData(t *testing.T) {
	c := openCafe(t, wire.LimitsBody{Rate: "2M/10M 4M/20M", SlowRate: "128k/256k", Total: 10_000, IdleS: 900})
	for _, rate := range []string{"2M/10M 4M/20M", "128k/256k"} {
		if err := c.arrive(oldPhone); err != nil {
			t.Fatal(err)
		}
		c.open(oldPhone)
		if on, err := c.sim.Use(oldPhone, 4_000, 7_000, 0); err != nil || !on {
			t.Fatalf("at %s the router ended the session at its data: %v", rate, err)
		}
		g, err := c.sim.Guest(oldPhone)
		if err != nil {
			t.Fatal(err)
		}
		if g.Rate != rate || !g.Online {
			t.Errorf("online %v with %q, want %q", g.Online, g.Rate, rate)
		}
		if err := c.sim.Leave(oldPhone); err != nil {
			t.Fatal(err)
		}
		c.open()
	}
}

// TestManyLoginsShareOneLook refuses many devices at once: the router is not
// read for each of them. The enforcer's clock stands still, so that a slow test
// is no reason to look again.
func TestManyLoginsShareOneLook(t *testing.T) {
	at := time.Now()
	c := openCafe(t, wire.LimitsBody{Devices: 1}, func(e *router.Enforcer) { e.Now = func() time.Time { return at } })
	if err := c.arrive(oldPhone); err != nil {
		t.Fatal(err)
	}
	c.open(oldPhone)
	const phones = 60
	before := c.sim.Counters().Commands
	var all sync.WaitGroup
	for i := range phones {
		all.Go(func() {
			v, err := c.judge.Authorize(t.Context(), hotspot.Request{NAS: "r1", Username: "user0", At: time.Now(),
				MAC: hotspot.MAC{2, 0, 0, 1, 0, byte(i)}, Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: "pw"}})
			if err != nil || v.Reason != hotspot.ReasonTooManyDevices {
				t.Errorf("got %q, %v", v.Reason, err)
			}
		})
	}
	all.Wait()
	// Half of them is far above what happens, and far below one each; the rest is
	// what the enforcer reads for itself.
	if n := c.sim.Counters().Commands - before; n > phones/2 {
		t.Errorf("%d commands for %d logins, want few", n, phones)
	}
}

// fixed is a store that answers what the test says.
type fixed struct {
	verdicts []hotspot.Verdict // one after the other, the last one for ever
	err      error
	used     bool
	asked    int
	closed   []hotspot.SessionID
}

func (f *fixed) Authorize(context.Context, hotspot.Request) (hotspot.Verdict, error) {
	v := f.verdicts[min(f.asked, len(f.verdicts)-1)]
	f.asked++
	return v, f.err
}
func (f *fixed) CloseGhosts(_ context.Context, ids []hotspot.SessionID) error {
	f.closed = append(f.closed, ids...)
	return nil
}
func (f *fixed) UsedBefore(context.Context, string, hotspot.MAC) (bool, error) { return f.used, f.err }
func (f *fixed) Language(context.Context) (string, error)                      { return "ar", nil }

// gonners are routers that say what the test says.
type gonners struct{ gone, ended []hotspot.SessionID }

func (g gonners) Gone(context.Context, []hotspot.Session) []hotspot.SessionID { return g.gone }
func (g gonners) End(context.Context, hotspot.AccountID, []hotspot.Session) []hotspot.SessionID {
	return g.ended
}

func TestJudgingAgain(t *testing.T) {
	others := []hotspot.Session{{ID: "s1"}, {ID: "s2"}}
	full := hotspot.Verdict{Reason: hotspot.ReasonTooManyDevices, Others: others}
	move, yes, locked := full, hotspot.Verdict{Accept: true}, hotspot.Verdict{Reason: hotspot.ReasonLocked}
	move.Move, move.Ends = true, 1
	ids := func(s ...hotspot.SessionID) []hotspot.SessionID { return s }
	for name, tc := range map[string]struct {
		verdicts []hotspot.Verdict
		routers  gonners
		reason   hotspot.Reason
		accept   bool
		asked    int
		closed   string
	}{
		"let in at once":                       {[]hotspot.Verdict{yes}, gonners{}, "", true, 1, "[]"},
		"refused for another reason":           {[]hotspot.Verdict{locked}, gonners{gone: ids("s1")}, hotspot.ReasonLocked, false, 1, "[]"},
		"nobody is gone":                       {[]hotspot.Verdict{full}, gonners{ended: ids("s1")}, hotspot.ReasonTooManyDevices, false, 1, "[]"},
		"a ghost, and in":                      {[]hotspot.Verdict{full, yes}, gonners{gone: ids("s2")}, "", true, 2, "[s2]"},
		"a ghost, and still too many":          {[]hotspot.Verdict{full, full}, gonners{gone: ids("s2")}, hotspot.ReasonTooManyDevices, false, 2, "[s2]"},
		"a ghost, and locked meanwhile":        {[]hotspot.Verdict{full, locked}, gonners{gone: ids("s2")}, hotspot.ReasonLocked, false, 2, "[s2]"},
		"moved":                                {[]hotspot.Verdict{move, yes}, gonners{ended: ids("s1")}, "", true, 2, "[s1]"},
		"moved, and somebody else was quicker": {[]hotspot.Verdict{move, move, yes}, gonners{ended: ids("s1")}, hotspot.ReasonTooManyDevices, false, 2, "[s1]"},
		"could not be moved":                   {[]hotspot.Verdict{move, yes}, gonners{}, hotspot.ReasonTooManyDevices, false, 1, "[]"},
		"a ghost makes the move unneeded":      {[]hotspot.Verdict{move, yes}, gonners{gone: ids("s2")}, "", true, 2, "[s2]"},
		"a ghost, then a move":                 {[]hotspot.Verdict{move, move, yes}, gonners{gone: ids("s2"), ended: ids("s1")}, "", true, 3, "[s2 s1]"},
	} {
		f := &fixed{verdicts: tc.verdicts}
		j := &judge{store: f, routers: tc.routers, log: slog.New(slog.DiscardHandler), now: time.Now}
		v, err := j.Authorize(t.Context(), hotspot.Request{Username: "bob"})
		if err != nil || v.Accept != tc.accept || v.Reason != tc.reason || f.asked != tc.asked || fmt.Sprint(f.closed) != tc.closed {
			t.Errorf("%s: got accept %v, %q after %d judgements, closed %v, %v; want %v, %q, %d, %s", name, v.Accept, v.Reason, f.asked, f.closed, err, tc.accept, tc.reason, tc.asked, tc.closed)
		}
	}
}

func TestGuessingIsRefusedUnjudged(t *testing.T) {
	f := &fixed{verdicts: []hotspot.Verdict{{Reason: hotspot.ReasonBadPassword}}}
	now := time.Now()
	j := &judge{store: f, routers: gonners{}, log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }}
	ask := func(mac byte) hotspot.Verdict {
		t.Helper()
		v, err := j.Authorize(t.Context(), hotspot.Request{NAS: "r1", Username: "bob", MAC: hotspot.MAC{2, 0, 0, 0, 0, mac}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i := range 100 { // many devices, two tries each
		ask(byte(i / 2))
	}
	judged := f.asked
	if judged >= 50 {
		t.Errorf("%d of 100 guesses at one name were judged, want fewer than 50", judged)
	}
	v := ask(200)
	if v.Reason != hotspot.ReasonTooManyTries || v.Message != aaa.GuestMessage(hotspot.ReasonTooManyTries, "ar") || !strings.Contains(v.Detail, "this name") || f.asked != judged {
		t.Errorf("a stranger: got %+v, judged %d times; want refused in Arabic, unjudged", v, f.asked-judged)
	}
	f.used, f.verdicts = true, []hotspot.Verdict{{Accept: true}}
	if v := ask(201); !v.Accept {
		t.Errorf("the guest's own device: got %+v, want to be let in", v)
	}
	f.used = false // now it is remembered without the store
	if v := ask(201); !v.Accept {
		t.Errorf("the guest's own device again: got %+v, want to be let in", v)
	}
	if now = now.Add(time.Minute); !ask(200).Accept {
		t.Error("a minute later a stranger with the right password is still refused")
	}
}

// TestARealAccountUnderAttack runs the throttle on the real store: a device that
// used the account is let in after a restart too, when nothing is remembered.
func TestARealAccountUnderAttack(t *testing.T) {
	b := newBench(t, 1, wire.LimitsBody{Devices: 9})
	ask := func(mac byte, password hotspot.Password) hotspot.Verdict {
		t.Helper()
		v, err := b.judge.Authorize(t.Context(), hotspot.Request{NAS: "r1", Username: "user0", MAC: hotspot.MAC{2, 0, 0, 0, 0, mac}, At: time.Now(),
			Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: password}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := ask(1, "pw"); !v.Accept {
		t.Fatalf("got %+v", v)
	}
	b.judge.throttle = aaa.Throttle{} // a restart
	for i := range 120 {
		ask(byte(10+i), "guess")
	}
	if v := ask(2, "pw"); v.Reason != hotspot.ReasonTooManyTries {
		t.Errorf("a stranger with the right password during the attack: got %+v, want %q", v, hotspot.ReasonTooManyTries)
	}
	if v := ask(1, "pw"); !v.Accept {
		t.Errorf("the guest's own device: got %+v, want to be let in", v)
	}
	if v := ask(1, "wrong"); v.Reason != hotspot.ReasonBadPassword {
		t.Errorf("the guest's own device, mistyped: got %+v, want %q", v, hotspot.ReasonBadPassword)
	}
}
