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
	if page := w.get("/"); !strings.Contains(page, "Router health") || !strings.Contains(page, "Online, and not let in by this box") || !strings.Contains(page, "No default route is active") {
		t.Error("the page does not show it")
	}
}

func TestWhoIsForeign(t *testing.T) {
	mac := func(s string) hotspot.MAC { m, _ := hotspot.ParseMAC(s); return m }
	one, two, three, four := mac("AA:BB:CC:00:00:01"), mac("AA:BB:CC:00:00:02"), mac("AA:BB:CC:00:00:03"), mac("AA:BB:CC:00:00:04")
	now := time.Now()
	lists := []router.Health{
		{NAS: "a", Reachable: true, SeenAt: now, Listed: []hotspot.ActiveEntry{
			{User: "known", MAC: one, RADIUS: true, Uptime: time.Hour}, {User: "closed", MAC: two, RADIUS: true, Uptime: time.Hour, IP: netip.MustParseAddr("10.0.0.2")},
			{User: "begins", MAC: three, RADIUS: true, Uptime: 5 * time.Second}, {User: "local", MAC: four, Uptime: 5 * time.Second}}},
		{NAS: "b", Reachable: true, SeenAt: now, Listed: []hotspot.ActiveEntry{{User: "elsewhere", MAC: one, RADIUS: true, Uptime: 2 * time.Hour}}},
		{NAS: "c", Listed: []hotspot.ActiveEntry{{User: "of before", MAC: two, Uptime: time.Hour}}},
	}
	sessions := []hotspot.Session{{NAS: "a", MAC: one, State: hotspot.Live}, {NAS: "a", MAC: two, State: hotspot.Closed}}
	var got []string
	for _, f := range foreign(lists, sessions) {
		got = append(got, f.Username)
	}
	if want := []string{"local", "closed", "elsewhere"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v, the newest first", got, want)
	}
}
