package router

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/vendors/mikrotik"

	"iwas/internal/hotspot"
	"iwas/internal/routersim"
)

// wishes is what is wanted of the guests of a cafe, and what came of it.
type wishes struct {
	c *cafe

	mu   sync.Mutex
	list []hotspot.Change
	done []hotspot.Changed
}

func (w *wishes) Adjusting(context.Context) ([]hotspot.Change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]hotspot.Change(nil), w.list...), nil
}

func (w *wishes) Adjusted(_ context.Context, c hotspot.Changed) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, c)
	if c.Outcome.Final() {
		w.list = nil
	}
	return nil
}

// Change sends a CoA-Request by a codec that is not ours.
func (d coa) Change(ctx context.Context, _ hotspot.NASID, s hotspot.Session, t hotspot.NewTerms) (hotspot.Disconnected, error) {
	p := radius.New(radius.CodeCoARequest, []byte(secretText))
	err := errors.Join(rfc2865.UserName_SetString(p, s.Username), rfc2866.AcctSessionID_SetString(p, string(s.AcctSessionID)),
		rfc2865.FramedIPAddress_Set(p, s.IP.AsSlice()))
	if t.SetRate {
		err = errors.Join(err, mikrotik.MikrotikRateLimit_AddString(p, t.Rate.String()))
	}
	if t.SessionTimeout > 0 {
		err = errors.Join(err, rfc2865.SessionTimeout_Set(p, rfc2865.SessionTimeout(t.SessionTimeout/time.Second)))
	}
	if err != nil {
		return hotspot.Disconnected{}, err
	}
	return d.exchange(ctx, p)
}

func rate(t testing.TB, s string) hotspot.RateLimit {
	t.Helper()
	r, err := hotspot.ParseRateLimit(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// changing is a cafe whose guests' sessions can be changed.
func changingCafe(t *testing.T, alter func(*cafe)) (*cafe, *wishes) {
	t.Helper()
	w := &wishes{}
	c := open(t, func(c *cafe) {
		w.c = c
		c.e.Changes, c.e.Changer = w, coa{c.sim.CoAAddr()}
		if alter != nil {
			alter(c)
		}
	})
	return c, w
}

// want asks for terms of guest 1 and returns what came of it.
func (w *wishes) want(elapsed time.Duration, reconnect bool, have, want hotspot.Terms) hotspot.Changed {
	w.c.t.Helper()
	s := w.c.open(nameOf(1))
	if len(s) != 1 {
		w.c.t.Fatalf("%d sessions open, want one", len(s))
	}
	w.mu.Lock()
	w.done = nil
	w.list = []hotspot.Change{{Session: s[0], Have: have, Want: want, Elapsed: elapsed, Reconnect: reconnect}}
	w.mu.Unlock()
	w.c.poke()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		done := append([]hotspot.Changed(nil), w.done...)
		w.mu.Unlock()
		if len(done) > 0 {
			return done[len(done)-1]
		}
	}
	w.c.t.Fatal("nothing came of it")
	return hotspot.Changed{}
}

func TestALiveSessionGetsItsSpeedAndTime(t *testing.T) {
	for name, knobs := range map[string]routersim.Knobs{"Session-Timeout counts from now": {}, "Session-Timeout counts from the start": {CoAFromStart: true}} {
		t.Run(name, func(t *testing.T) {
			c, w := changingCafe(t, nil)
			c.arrive(1, 0)
			c.sim.SetKnobs(knobs)
			if err := c.sim.Age(macOf(1), 10*time.Minute); err != nil { // it has lasted for a while
				t.Fatal(err)
			}
			have := hotspot.Terms{Rate: rate(t, "2M/10M"), Timeout: time.Hour}
			want := hotspot.Terms{Rate: rate(t, "5M/20M"), Timeout: 2 * time.Hour}
			for range 2 { // the second time the form is known
				got := w.want(10*time.Minute, false, have, want)
				if got.Outcome != hotspot.ChangeApplied || !got.Now.Same(want) {
					t.Fatalf("got %+v, want it applied", got)
				}
				g := c.guest(macOf(1))
				total := time.Duration(g.UptimeMS+g.TimeLeftMS) * time.Millisecond
				if g.Rate != want.Rate.String() || !hotspot.SameTimeout(total, want.Timeout) {
					t.Errorf("the guest has %s and %v in all, want %s and %v", g.Rate, total, want.Rate, want.Timeout)
				}
				have, want = want, hotspot.Terms{Rate: rate(t, "1M/1M"), Timeout: 3 * time.Hour}
			}
		})
	}
}

func TestWhatTheRouterDoesNotChangeIsSaid(t *testing.T) {
	have := hotspot.Terms{Rate: hotspot.RateLimit{Max: hotspot.Pair[hotspot.Rate]{Upload: 2e6, Download: 10e6}}, Timeout: time.Hour}
	for name, tc := range map[string]struct {
		knobs     routersim.Knobs
		alter     func(*cafe)
		want      func(*hotspot.Terms)
		reconnect bool
		outcome   hotspot.ChangeOutcome
		code      string
		says      string
		online    bool
	}{
		"an ACK that does nothing":     {knobs: routersim.Knobs{CoAIgnore: true}, outcome: hotspot.ChangeNextLogin, code: CodeNotChanged, says: "next login", online: true},
		"a NAK":                        {knobs: routersim.Knobs{CoARefuse: 405}, outcome: hotspot.ChangeNextLogin, code: CodeNotChanged, says: "405 Unsupported-Service", online: true},
		"silence":                      {knobs: routersim.Knobs{CoASilent: true}, outcome: hotspot.ChangePending, code: CodeNoAnswer, says: "no answer", online: true},
		"a NAK, the plan reconnects":   {knobs: routersim.Knobs{CoARefuse: 405, Still: true}, reconnect: true, outcome: hotspot.ChangeReconnect, says: "logs in anew"},
		"silence, the plan reconnects": {knobs: routersim.Knobs{CoASilent: true, Still: true}, reconnect: true, outcome: hotspot.ChangeReconnect, says: "removed over the API"},
		"no API":                       {alter: func(c *cafe) { c.e.Routers[0].Dial = nil }, outcome: hotspot.ChangeAcknowledged, says: "CoA-ACK", online: true},
		"no API, and time": {alter: func(c *cafe) { c.e.Routers[0].Dial = nil }, want: func(t *hotspot.Terms) { t.Timeout = 2 * time.Hour },
			outcome: hotspot.ChangeNextLogin, says: "only be seen over its API", online: true},
		"no API, time as it was told": {alter: func(c *cafe) { c.e.Routers[0].Dial, c.e.Routers[0].Timeouts = nil, TimeoutFromNow },
			want: func(t *hotspot.Terms) { t.Timeout = 2 * time.Hour }, outcome: hotspot.ChangeAcknowledged, says: "CoA-ACK", online: true},
		"address-lists alone": {want: func(t *hotspot.Terms) { t.Rate = have.Rate; t.AddressLists = []string{"vip"} }, outcome: hotspot.ChangeNextLogin, says: "next login", online: true},
		"an end taken away":   {want: func(t *hotspot.Terms) { t.Rate = have.Rate; t.Timeout = 0 }, outcome: hotspot.ChangeNextLogin, code: CodeNotChanged, says: "cannot say", online: true},
	} {
		t.Run(name, func(t *testing.T) {
			c, w := changingCafe(t, tc.alter)
			c.arrive(1, 0)
			c.sim.SetKnobs(tc.knobs)
			want := have
			want.Rate = rate(t, "5M/20M")
			if tc.want != nil {
				tc.want(&want)
			}
			got := w.want(time.Second, tc.reconnect, have, want)
			if got.Outcome != tc.outcome || got.Code != tc.code || !strings.Contains(got.Detail, tc.says) {
				t.Errorf("got %s %s %q, want %s %s with %q", got.Outcome, got.Code, got.Detail, tc.outcome, tc.code, tc.says)
			}
			if g := c.guest(macOf(1)); g.Online != tc.online {
				t.Errorf("online: %v, want %v", g.Online, tc.online)
			}
			if got.Outcome == hotspot.ChangeNextLogin && got.Now.Rate != have.Rate && want.Timeout == have.Timeout {
				t.Errorf("said to run at %s, want %s", got.Now.Rate, have.Rate)
			}
		})
	}
}

func TestASilentRouterIsTriedAgain(t *testing.T) {
	c, w := changingCafe(t, nil)
	c.arrive(1, 0)
	c.sim.SetKnobs(routersim.Knobs{CoASilent: true})
	have := hotspot.Terms{Rate: rate(t, "2M/10M"), Timeout: time.Hour}
	want := hotspot.Terms{Rate: rate(t, "5M/20M"), Timeout: time.Hour}
	if got := w.want(time.Second, false, have, want); got.Outcome != hotspot.ChangePending {
		t.Fatalf("got %+v, want pending", got)
	}
	c.sim.SetKnobs(routersim.Knobs{})
	for deadline := time.Now().Add(20 * time.Second); c.guest(macOf(1)).Rate != "5M/20M"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the router answers again, and the guest keeps the old speed")
		}
	}
}

func TestQueuesAreReadAsRoutersWriteThem(t *testing.T) {
	for _, tc := range []struct {
		target, max string
		want        netip.Addr
		rate        string
	}{
		{"10.20.0.5/32", "2000000/10000000", netip.MustParseAddr("10.20.0.5"), "2M/10M"},
		{"10.20.0.5", "2M/10M", netip.MustParseAddr("10.20.0.5"), "2M/10M"},
		{"vlan20-guest", "0/0", netip.Addr{}, ""},
		{"10.20.0.0/24", "1M/1M", netip.Addr{}, "1M/1M"},
	} {
		q := parseQueue(map[string]string{"target": tc.target, "max-limit": tc.max, "dynamic": "true"})
		if q.target != tc.want || q.rate.String() != tc.rate || !q.dynamic {
			t.Errorf("%s %s: got %v %s", tc.target, tc.max, q.target, q.rate)
		}
	}
}
