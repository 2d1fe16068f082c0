package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
)

func TestAbsent(t *testing.T) {
	read := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	ip, other := netip.MustParseAddr("10.20.0.5"), netip.MustParseAddr("10.20.0.6")
	phone, laptop := hotspot.MAC{2, 0, 0, 0, 0, 1}, hotspot.MAC{2, 0, 0, 0, 0, 2}
	row := func(user string, m hotspot.MAC, ip netip.Addr) active {
		return active{ActiveEntry: hotspot.ActiveEntry{User: user, MAC: m, IP: ip}}
	}
	session := func(change func(*hotspot.Session)) hotspot.Session {
		s := hotspot.Session{ID: "s", NAS: nasID, Username: "amina", MAC: phone, IP: ip, State: hotspot.Live, HeardAt: read.Add(-time.Minute)}
		if change != nil {
			change(&s)
		}
		return s
	}
	for name, tc := range map[string]struct {
		rows    []active
		session hotspot.Session
		want    bool
	}{
		"an empty list":                           {nil, session(nil), true},
		"on the list":                             {[]active{row("amina", phone, ip)}, session(nil), false},
		"with another address":                    {[]active{row("amina", phone, other)}, session(nil), false},
		"by its address, MAC not known":           {[]active{row("amina", phone, ip)}, session(func(s *hotspot.Session) { s.MAC = hotspot.MAC{} }), false},
		"by its name alone":                       {[]active{row("amina", laptop, other)}, session(func(s *hotspot.Session) { s.MAC, s.IP = hotspot.MAC{}, netip.Addr{} }), false},
		"another device of the account":           {[]active{row("amina", laptop, other)}, session(nil), true},
		"the device with another account":         {[]active{row("omar", phone, ip)}, session(nil), true},
		"the device, name not known":              {[]active{row("omar", phone, ip)}, session(func(s *hotspot.Session) { s.Username = "" }), false},
		"a name in another spelling of the MAC":   {[]active{row("02:00:00:00:00:01", phone, ip)}, session(func(s *hotspot.Session) { s.Username = "020000000001" }), false},
		"heard of since the list was read":        {nil, session(func(s *hotspot.Session) { s.HeardAt = read }), false},
		"never heard of":                          {nil, session(func(s *hotspot.Session) { s.HeardAt = time.Time{} }), false},
		"a promise that may still become a login": {nil, session(func(s *hotspot.Session) { s.State, s.HeardAt = hotspot.Reserved, read.Add(-promiseTime) }), false},
		"a promise that no login came of":         {nil, session(func(s *hotspot.Session) { s.State, s.HeardAt = hotspot.Reserved, read.Add(-promiseTime-time.Second) }), true},
	} {
		if got := absent(tc.rows, tc.session, read); got != tc.want {
			t.Errorf("%s: absent %v, want %v", name, got, tc.want)
		}
	}
}

// live waits for the session of a guest and makes it a minute old, so that the
// list may judge it.
func (c *cafe) live(name string) hotspot.Session {
	s := c.open(name)[0]
	s.Account, s.HeardAt = hotspot.AccountID(name), time.Now().Add(-time.Minute)
	return s
}

// gone asks until the list says so, for a minute at most: a router under load
// may take longer than a login waits.
func (c *cafe) gone(want string, sessions ...hotspot.Session) {
	c.t.Helper()
	got := ""
	for deadline := time.Now().Add(time.Minute); got != want && time.Now().Before(deadline); {
		got = fmt.Sprint(c.e.Gone(context.Background(), sessions))
	}
	if got != want {
		c.t.Errorf("gone are %s, want %s", got, want)
	}
}

func TestGoneIsWhatNoRouterHas(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 0)
	c.arrive(2, 0)
	there, left := c.live(nameOf(1)), c.live(nameOf(2))
	foreign := there
	foreign.ID, foreign.NAS = "elsewhere", "nas9"
	if err := c.sim.Leave(macOf(2)); err != nil {
		t.Fatal(err)
	}
	c.gone(fmt.Sprintf("[%s]", left.ID), there, left, foreign)
	if got := c.e.Gone(t.Context(), nil); got != nil {
		t.Errorf("of no session: %v", got)
	}
}

func TestARouterThatDoesNotAnswerSaysNothing(t *testing.T) {
	s := hotspot.Session{ID: "s1", NAS: nasID, MAC: hotspot.MAC{2, 0, 0, 0, 0, 1}, HeardAt: time.Now().Add(-time.Hour)}
	for name, dial := range map[string]func(context.Context) (routeros.Conn, error){
		"no API":         nil,
		"refuses":        func(context.Context) (routeros.Conn, error) { return nil, errors.New("refused") },
		"hangs for ever": func(ctx context.Context) (routeros.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
	} {
		c := open(t, func(c *cafe) { c.e.Routers[0].Dial = dial })
		begun := time.Now()
		if got := c.e.Gone(t.Context(), []hotspot.Session{s}); len(got) != 0 {
			t.Errorf("%s: %v gone, want nobody", name, got)
		}
		if took := time.Since(begun); took > 20*time.Second { // it is 300 ms where nothing else runs
			t.Errorf("%s: answered after %v", name, took)
		}
	}
}

// TestASlowRouterIsReadOnceForAll asks many times while the router does not
// answer: one read waits, not one for each.
func TestASlowRouterIsReadOnceForAll(t *testing.T) {
	asked := make(chan struct{}, 1000)
	c := open(t, func(c *cafe) {
		c.e.Routers[0].Dial = func(ctx context.Context) (routeros.Conn, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	s := hotspot.Session{ID: "s1", NAS: nasID, HeardAt: time.Now().Add(-time.Hour)}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for range 200 {
		c.e.Gone(ctx, []hotspot.Session{s})
	}
	if n := len(c.e.errands); n > 1 {
		t.Errorf("%d reads wait, want at most one", n)
	}
	if n := len(asked); n > 3 { // the watcher's, the errand's, and one more where the test itself was slow
		t.Errorf("dialled %d times for 200 questions", n)
	}
}

func TestEndPutsOneDeviceOff(t *testing.T) {
	for name, tc := range map[string]struct {
		knobs routersim.Knobs
		noAPI bool
		want  bool
	}{
		"Disconnect-Request":            {routersim.Knobs{}, false, true},
		"an ACK that does nothing":      {routersim.Knobs{CoAIgnore: true}, false, true},
		"no answer":                     {routersim.Knobs{CoASilent: true}, false, true},
		"neither way":                   {routersim.Knobs{CoASilent: true, RemoveIgnored: true}, false, false},
		"without an API, by Disconnect": {routersim.Knobs{}, true, true},
		"without an API, no answer":     {routersim.Knobs{CoASilent: true}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, func(c *cafe) {
				if tc.noAPI {
					c.e.Routers[0].Dial = nil
				}
			})
			tc.knobs.Still = true
			c.login(macOf(1), "amina", 5)
			c.login(macOf(2), "amina", 5)
			c.arrive(3, 5)
			c.sim.SetKnobs(tc.knobs)
			old := c.open("amina")
			for i := range old {
				if old[i].MAC.String() == macOf(1) {
					old = old[i : i+1]
					break
				}
			}
			ids := c.e.End(t.Context(), "amina", old)
			if got := len(ids) == 1; got != tc.want {
				t.Errorf("ended %v, want %v", ids, tc.want)
			}
			if g := c.guest(macOf(1)); tc.want && (g.Online || !tc.noAPI && g.Cookies > 0) {
				t.Errorf("the old device: online %v with %d cookies", g.Online, g.Cookies)
			}
			for _, n := range []int{2, 3} {
				if !c.guest(macOf(n)).Online {
					t.Errorf("guest %d is off too", n)
				}
			}
		})
	}
}
