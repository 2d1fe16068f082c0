package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/agent/router"
	"iwas/internal/hotspot"
	"iwas/internal/routersim"
)

// TestHealthReachesWhoeverLooks: what the router says of itself is on the page, in
// the data and among the conditions, as is a guest whom the router let in by
// itself.
func TestHealthReachesWhoeverLooks(t *testing.T) {
	const local = "AA:BB:CC:00:00:09"
	w := watchSite(t, shape{late: true, setUp: func(sim *routersim.Sim) {
		sim.Give("ip/route", "", "active", "false")
		sim.Fill(1000)
		sim.Show("bad-blocks", "2")
	}})
	w.online("AA:BB:CC:00:00:01", "user0")
	if _, err := w.sim.Arrive(local, ""); err != nil {
		t.Fatal(err)
	}
	w.await("the router lets the other in", func() string { // once it gave up on its MAC
		if err := w.sim.LetIn(local, "staff"); err != nil {
			return err.Error()
		}
		return ""
	})
	w.await("the router's health and who is foreign", func() string {
		r := w.report()
		h := r.Routers[0].Health
		switch {
		case h == nil || h.System.At.IsZero() || h.Log.At.IsZero() || len(h.History) == 0:
			return fmt.Sprintf("health %+v", h)
		case h.System.CPULoad != 3 || h.WAN.Up || len(h.Pools.List) != 1 || h.Pools.List[0].Used < 1000:
			return fmt.Sprintf("health %+v", h)
		case len(r.Foreign) != 1 || r.Foreign[0].Username != "staff" || r.Foreign[0].RADIUS || r.Foreign[0].MAC == local || r.Foreign[0].NAS != "counter" || time.Since(r.Foreign[0].Since) > time.Minute:
			return fmt.Sprintf("foreign %+v", r.Foreign)
		}
		var codes []string
		for _, c := range r.Conditions {
			codes = append(codes, c.Code)
		}
		for _, want := range []string{"RTR-150", "RTR-151", "RTR-155"} {
			if !slices.Contains(codes, want) {
				return fmt.Sprintf("conditions %v lack %s", codes, want)
			}
		}
		return ""
	})
	var told []string
	for _, c := range w.site.conditions() {
		told = append(told, c.Code)
	}
	if !slices.Contains(told, "RTR-150") {
		t.Errorf("the cloud is told %v, want RTR-150 among it", told)
	}
	rows := w.site.routersTold()
	if len(rows) != 1 || rows[0].NAS != "counter" || rows[0].Name != "Counter" || rows[0].WANUp == nil || *rows[0].WANUp || rows[0].CPU == nil || *rows[0].CPU != 3 ||
		rows[0].PoolUsed == nil || *rows[0].PoolUsed < 1000 || rows[0].Foreign == nil || *rows[0].Foreign != 1 || rows[0].Celsius == nil || *rows[0].Celsius != 39 || time.Since(rows[0].At) > time.Minute {
		t.Errorf("the cloud is told %+v", rows)
	}
	// Counted once for each look, however often it is told.
	for _, look := range []struct {
		at     time.Duration
		listed []hotspot.ActiveEntry
		want   int
	}{{0, []hotspot.ActiveEntry{{User: "nobody we know", Uptime: time.Hour}}, 1}, {0, nil, 1}, {time.Second, nil, 0}} {
		seen := time.Now().Truncate(time.Hour).Add(look.at)
		got, err := w.site.strangersTold(t.Context(), []router.Health{{NAS: "counter", Reachable: true, SeenAt: seen, Listed: look.listed}})
		if err != nil || got["counter"] != look.want {
			t.Errorf("look at %v: %d strangers, %v, want %d", look.at, got["counter"], err, look.want)
		}
	}
	if page := w.get("/"); !strings.Contains(page, "Router health") || !strings.Contains(page, "Online, and not let in by this box") || !strings.Contains(page, "No default route is active") {
		t.Error("the page does not show it")
	}
}

func TestWhoIsForeign(t *testing.T) {
	mac := func(s string) hotspot.MAC { m, _ := hotspot.ParseMAC(s); return m }
	one, two, three, four := mac("AA:BB:CC:00:00:01"), mac("AA:BB:CC:00:00:02"), mac("AA:BB:CC:00:00:03"), mac("AA:BB:CC:00:00:04")
	five, six := mac("AA:BB:CC:00:00:05"), mac("AA:BB:CC:00:00:06")
	now := time.Now()
	lists := []router.Health{
		{NAS: "a", Reachable: true, SeenAt: now, Listed: []hotspot.ActiveEntry{
			{User: "known", MAC: one, RADIUS: true, Uptime: time.Hour}, {User: "closed", MAC: two, RADIUS: true, Uptime: time.Hour, IP: netip.MustParseAddr("10.0.0.2")},
			{User: "another name", MAC: one, RADIUS: true, Uptime: 90 * time.Minute}, {User: "begins", MAC: three, RADIUS: true, Uptime: 5 * time.Second}, {User: "local", MAC: four, Uptime: 5 * time.Second}}},
		{NAS: "b", Reachable: true, SeenAt: now, Listed: []hotspot.ActiveEntry{{User: "elsewhere", MAC: one, RADIUS: true, Uptime: 2 * time.Hour}}},
		{NAS: "c", Listed: []hotspot.ActiveEntry{{User: "of before", MAC: two, Uptime: time.Hour}}},
	}
	lists[0].Listed = append(lists[0].Listed, hotspot.ActiveEntry{User: "left meanwhile", MAC: five, RADIUS: true, Uptime: time.Hour},
		hotspot.ActiveEntry{User: "left long ago", MAC: six, RADIUS: true, Uptime: 3 * time.Hour})
	sessions := []hotspot.Session{{NAS: "a", MAC: one, Username: "known", State: hotspot.Live}, {NAS: "a", MAC: two, State: hotspot.Closed},
		{NAS: "a", MAC: five, Username: "left meanwhile", State: hotspot.Closed, EndedAt: now.Add(time.Second)},
		{NAS: "a", MAC: six, Username: "left long ago", State: hotspot.Closed, EndedAt: now.Add(-time.Minute)}}
	var got []string
	for _, f := range foreign(lists, sessions) {
		got = append(got, f.Username)
	}
	if want := []string{"local", "closed", "another name", "elsewhere", "left long ago"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v, the newest first", got, want)
	}
}

// TestOldFiguresAreNotTold: the owner reads what is known, or nothing.
func TestOldFiguresAreNotTold(t *testing.T) {
	now := time.Now()
	h := router.Health{NAS: "a", API: true}
	if r := figuresOf(h, now); r.CPU != nil || r.WANUp != nil || r.PoolUsed != nil || r.Celsius != nil || r.Down != nil || !r.At.IsZero() {
		t.Errorf("nothing was read, and it tells %+v", r)
	}
	v := &h.Vitals
	v.System.At, v.System.CPULoad = now.Add(-6*time.Minute), 50
	v.WAN.At, v.WAN.Up = now.Add(-4*time.Minute), true
	v.Pools.At, v.Pools.List = now.Add(-time.Second), []router.Pool{{Name: "pcs", Size: 1, Used: 1}, {Name: "a", Size: 10, Used: 1, Guests: true}, {Name: "b", Size: 10, Used: 2, Guests: true}}
	r := figuresOf(h, now)
	if r.CPU != nil || r.WANUp == nil || !*r.WANUp || r.PoolUsed == nil || *r.PoolUsed != 2 || !r.At.Equal(v.WAN.At) {
		t.Errorf("got %+v, want the route, the guests' fullest pool, and the age of the older", r)
	}
}
