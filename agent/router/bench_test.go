package router

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routersim"
)

// BenchmarkLock measures from the wish to the kept proof, with 50 other guests
// online.
func BenchmarkLock(b *testing.B) {
	for _, bc := range []struct {
		name        string
		connections int
		knobs       routersim.Knobs
	}{
		{"50 guests", 0, routersim.Knobs{}},
		{"5000 connections", 5000, routersim.Knobs{}},
		{"5000 connections and cost", 5000, routersim.Knobs{CommandCost: true}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			c := open(b, func(c *cafe) { c.e.Poll = 0 })
			for n := range 50 {
				c.arrive(n, 4)
			}
			c.sim.AddConnections(bc.connections)
			c.sim.SetKnobs(bc.knobs)
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				name := fmt.Sprintf("b%d", i)
				mac := macOf(1000 + i)
				c.login(mac, name, 4)
				b.StartTimer()
				begun := time.Now()
				c.lock(name)
				if p := c.proof(name); p.Outcome != hotspot.OutcomeEnforced {
					b.Fatalf("%+v", p)
				}
				took = append(took, time.Since(begun))
				b.StopTimer()
				_ = c.sim.Leave(mac)
				b.StartTimer()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
		})
	}
}
