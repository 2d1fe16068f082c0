package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/agent/store"
	"iwas/internal/hotspot"
	"iwas/internal/routersim"
	"iwas/internal/wire"
)

// whole has the enforcer do all it does in the program: woken by commits, and
// changing live sessions.
func whole(e *router.Enforcer) {
	db, client := e.Store.(*store.DB), e.Disconnector.(*radius.Client)
	e.Changes, e.Changer = db, client
	e.Wake, _ = db.Wanted()
}

// metered waits until the pass has just this much use.
func (c *cafe) metered(octets hotspot.Octets) {
	c.t.Helper()
	var got hotspot.Usage
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		v, err := c.db.AccountNamed(c.t.Context(), "user0")
		if err != nil {
			c.t.Fatal(err)
		}
		if got = v.Pass.Usage; got.Upload.Add(got.Download) == octets {
			return
		}
	}
	c.t.Fatalf("the pass used %+v, want %d octets together", got, octets)
}

func (c *cafe) use(mac string, upload, download uint64) {
	c.t.Helper()
	if on, err := c.sim.Use(mac, upload, download, 0); err != nil || !on {
		c.t.Fatalf("%s cannot use anything: online %v, %v", mac, on, err)
	}
}

// TestALiveSessionSlowsDownAtItsQuota: the guest stays on, and the interim that
// uses the data up brings the slower speed, by CoA-Request.
func TestALiveSessionSlowsDownAtItsQuota(t *testing.T) {
	c := openCafe(t, wire.LimitsBody{Rate: "2M/10M", SlowRate: "128k/256k", Total: 10_000}, whole)
	c.set(func(k *routersim.Knobs) { k.InterimInterval = time.Second })
	if err := c.arrive(oldPhone); err != nil {
		t.Fatal(err)
	}
	c.use(oldPhone, 4_000, 5_999)
	c.metered(9_999)
	if g, err := c.sim.Guest(oldPhone); err != nil || g.Rate != "2M/10M" {
		t.Fatalf("an octet before the quota: %q, %v; want 2M/10M", g.Rate, err)
	}
	before := c.sim.Counters()
	c.use(oldPhone, 1, 0)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		g, err := c.sim.Guest(oldPhone)
		if err != nil || !g.Online {
			t.Fatalf("online %v, %v", g.Online, err)
		}
		if g.Rate == "128k/256k" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the guest has %q still", g.Rate)
		}
	}
	if after := c.sim.Counters(); after.CoAACKs != before.CoAACKs+1 {
		t.Errorf("%d CoA-Requests were acknowledged, want one", after.CoAACKs-before.CoAACKs)
	}
}

// TestOvershootIsAnIntervalOfEachDevice: two phones use one allowance up. What is
// had beyond it is what they did since their reports before, and it is printed.
func TestOvershootIsAnIntervalOfEachDevice(t *testing.T) {
	const allowed, step = 100_000, 15_000 // of each phone between two reports
	c := openCafe(t, wire.LimitsBody{Devices: 2, Total: allowed}, whole)
	report := func(every time.Duration) { c.set(func(k *routersim.Knobs) { k.InterimInterval = every }) }
	phones := []string{oldPhone, newPhone}
	for _, mac := range phones {
		if err := c.arrive(mac); err != nil {
			t.Fatal(err)
		}
	}
	used := hotspot.Octets(0)
	for used < allowed {
		report(time.Hour) // none of them is put off before both have used their share
		for _, mac := range phones {
			c.use(mac, step/3, step-step/3)
			used += step
		}
		report(time.Second)
		c.metered(used)
	}
	for deadline := time.Now().Add(30 * time.Second); c.online(oldPhone) || c.online(newPhone); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("old phone online %v, new one %v; want both off", c.online(oldPhone), c.online(newPhone))
		}
	}
	c.open()
	v, err := c.db.AccountNamed(t.Context(), "user0")
	if err != nil {
		t.Fatal(err)
	}
	a := toAnswer(v)
	if len(a.Data) != 1 || a.Data[0].Beyond == 0 || a.Data[0].Beyond > 2*step || a.Data[0].Used != allowed+a.Data[0].Beyond || hotspot.Octets(a.Data[0].Used) != used {
		t.Fatalf("used %d of %d: got %+v, want at most an interval of two phones beyond", used, allowed, a.Data)
	}
	t.Logf("overshoot: %d octets of two phones that use %d each between two reports", a.Data[0].Beyond, step)
	var out bytes.Buffer
	printAccount(&out, a)
	if !strings.Contains(out.String(), "data    120 kB of 100 kB both ways\n          20.0 kB beyond the allowance\n") {
		t.Errorf("printed:\n%s", out.String())
	}
	err = c.arrive(newPhone)
	rejects, rerr := c.db.Rejects(t.Context(), 1)
	if err == nil || rerr != nil {
		t.Fatalf("a login with nothing left: %v, %v", err, rerr)
	}
	for deadline := time.Now().Add(20 * time.Second); len(rejects) == 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if rejects, err = c.db.Rejects(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if len(rejects) != 1 || rejects[0].Detail != "used: 120 kB of 100 kB both ways (20.0 kB beyond)" {
		t.Errorf("the technician reads %+v", rejects)
	}
}
