package router

import (
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routersim"
)

// lockDevice makes a phone a target as the agent's store does when its account,
// which is a device, is locked: with its sessions whoever's they are.
func (c *cafe) lockDevice(mac string, change ...func(*hotspot.Target)) {
	c.t.Helper()
	m, ok := hotspot.ParseMAC(mac)
	if !ok {
		c.t.Fatalf("%q is no MAC", mac)
	}
	c.mu.Lock()
	c.shut[m] = true
	c.mu.Unlock()
	c.lock(mac, append([]func(*hotspot.Target){func(t *hotspot.Target) { t.Device, t.MACs = true, []hotspot.MAC{m} }}, change...)...)
}

func (c *cafe) unlockDevice(mac string) {
	m, _ := hotspot.ParseMAC(mac)
	c.mu.Lock()
	delete(c.shut, m)
	c.mu.Unlock()
	c.unlock(mac)
}

// tries to log in; "" is no error.
func (c *cafe) tryLogin(mac, name string) error {
	c.t.Helper()
	if _, err := c.sim.Arrive(mac, ""); err != nil {
		c.t.Fatal(err)
	}
	return c.sim.Login(mac, routersim.Login{Method: "http-chap", Username: name, Password: "x"})
}

// TestALockedDeviceIsOffWithWhateverItCameBack: the phone is on with voucher A,
// A is locked, the phone comes back with B; the device is locked: it is gone, B is
// refused on that phone and on elsewhere; unlocked, all is as before.
func TestALockedDeviceIsOffWithWhateverItCameBack(t *testing.T) {
	for _, tc := range []struct {
		name   string
		knobs  routersim.Knobs
		method string
	}{
		{"a router that obeys", routersim.Knobs{}, "disconnect"},
		{"ACK without acting", routersim.Knobs{CoAIgnore: true}, "api"},
		{"no answer", routersim.Knobs{CoASilent: true}, "api"},
	} {
		for way, rest := range map[string]bool{"the API": false, "REST": true} {
			t.Run(tc.name+", over "+way, func(t *testing.T) {
				t.Parallel()
				c := open(t, func(c *cafe) { c.rest = rest })
				lost, other := macOf(1), macOf(2)
				c.login(lost, "voucher-a", 3)
				c.login(other, "voucher-b", 4)
				c.login(macOf(3), "voucher-a", 2) // A's second phone
				c.lock("voucher-a")
				if p := c.proof("voucher-a"); p.Outcome != hotspot.OutcomeEnforced {
					t.Fatalf("the account: %+v", p)
				}
				c.off(lost)
				c.off(macOf(3))
				c.login(lost, "voucher-b", 5) // that is what an account's lock does not stop
				c.untouched(lost, 5)

				c.sim.SetKnobs(tc.knobs)
				c.lockDevice(lost)
				p := c.proof(lost)
				if p.Outcome != hotspot.OutcomeEnforced || p.Method != tc.method || p.Sessions != 1 || p.Revision != 7 || p.Reason != hotspot.OffLocked {
					t.Errorf("got %+v, want enforced by %s, one session", p, tc.method)
				}
				inOrder(t, p)
				if last := p.Steps[len(p.Steps)-1].Detail; strings.Contains(last, "another account") {
					t.Errorf("the read-back says %q, want nothing left to another account", last)
				}
				c.off(lost)
				c.untouched(other, 4)
				if err := c.tryLogin(lost, "voucher-b"); err == nil {
					t.Error("voucher B is let in on the locked phone")
				}
				c.off(lost)
				c.login(macOf(4), "voucher-b", 2) // and on a third phone it works
				c.untouched(macOf(4), 2)
				c.untouched(other, 4)

				c.sim.SetKnobs(routersim.Knobs{})
				c.unlockDevice(lost)
				c.login(lost, "voucher-b", 2)
				c.untouched(lost, 2)
			})
		}
	}
}

// The store may know nothing of a session the router has (a lost Start), nor of
// cookies of other names.
func TestALockedDeviceIsKnownByItsMACAlone(t *testing.T) {
	c := open(t, nil)
	c.login(macOf(1), "somebody", 3)
	c.login(macOf(2), "somebody", 2)
	c.mu.Lock()
	clear(c.sessions)
	c.mu.Unlock()
	if err := c.sim.Leave(macOf(2)); err != nil { // leaves its cookies behind
		t.Fatal(err)
	}
	c.lockDevice(macOf(1))
	if p := c.proof(macOf(1)); p.Outcome != hotspot.OutcomeEnforced || p.Method != "api" || p.Sessions != 1 {
		t.Errorf("got %+v, want one entry removed over the API", p)
	}
	c.off(macOf(1))
	for _, row := range c.command("/ip/hotspot/cookie/print") {
		if row["mac-address"] == macOf(1) {
			t.Errorf("a cookie of the locked phone is left: %v", row)
		}
	}
	if rows := c.command("/ip/hotspot/cookie/print"); len(rows) != 2 {
		t.Errorf("%d cookies left, want the 2 of the other phone", len(rows))
	}
	c.lockDevice(macOf(2))
	if p := c.proof(macOf(2)); p.Outcome != hotspot.OutcomeEnforced || p.Method != "nothing_to_do" {
		t.Errorf("a phone that is not there: got %+v", p)
	}
	if rows := c.command("/ip/hotspot/cookie/print"); len(rows) != 0 {
		t.Errorf("cookies of a locked phone that is not there: %v", rows)
	}
}

// An Accept of any account may be under way to the phone when it is locked.
func TestALoginUnderWayToALockedDeviceIsCaught(t *testing.T) {
	c := open(t, nil)
	c.sim.SetKnobs(routersim.Knobs{Still: true})
	if _, err := c.sim.Arrive(macOf(1), ""); err != nil {
		t.Fatal(err)
	}
	locked := time.Now()
	c.lockDevice(macOf(1), func(t *hotspot.Target) { t.LastAccept = locked })
	m, _ := hotspot.ParseMAC(macOf(1))
	c.mu.Lock()
	delete(c.shut, m) // the Accept left before the lock
	c.mu.Unlock()
	time.Sleep(500 * time.Millisecond) // the attempt is over its first read-back
	if err := c.tryLogin(macOf(1), "late"); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.shut[m] = true
	c.mu.Unlock()
	p := c.proof(macOf(1))
	if p.Outcome != hotspot.OutcomeEnforced || p.At.Sub(locked) < settleTime || p.Sessions != 1 {
		t.Errorf("got %+v after %v, want the late login ended and proven once %v were over", p, p.At.Sub(locked), settleTime)
	}
	c.off(macOf(1))
}

// Of a device target the names in its sessions are other accounts', which are on
// elsewhere; its own name is its MAC.
func TestADeviceTargetNamesNobodyElse(t *testing.T) {
	m, _ := hotspot.ParseMAC(macOf(1))
	other, _ := hotspot.ParseMAC(macOf(2))
	target := hotspot.Target{Device: true, Whole: true, Usernames: []string{macOf(1)}, MACs: []hotspot.MAC{m},
		Sessions: []hotspot.Session{{NAS: nasID, Username: "voucher-b", MAC: m}, {NAS: "nas2", Username: "anna", MAC: m}}}
	w := newWho(target, nasID)
	var got []bool
	for _, e := range []hotspot.ActiveEntry{{User: "voucher-b", MAC: m}, {User: "anyone", MAC: m}, {User: macOf(1), MAC: m},
		{User: "voucher-b", MAC: other}, {User: "anna", MAC: other}, {User: "voucher-b"}} {
		got = append(got, w.entry(active{ActiveEntry: e}))
	}
	if want := []bool{true, true, true, false, false, false}; !slices.Equal(got, want) {
		t.Errorf("entries that must go: got %v, want %v", got, want)
	}
	if w.cookie(cookie{user: "voucher-b", mac: other}) || !w.cookie(cookie{user: "voucher-b", mac: m}) {
		t.Error("the cookies that must go are those of the phone, and no others")
	}
	if !slices.Equal(namesOf(w), []string{macOf(1)}) {
		t.Errorf("local users asked for: %v, want its own name", namesOf(w))
	}
}

func namesOf(w who) (out []string) {
	for n := range w.names {
		out = append(out, n)
	}
	return out
}
