package wire

import (
	"math"
	"time"

	"iwas/internal/hotspot"
)

// RouterHealth is how one router of the site does, as last read. What is absent
// is not known, or too old to be told. Rates are bits a second, the mean of about
// half a minute; down is to the guests.
type RouterHealth struct {
	NAS      hotspot.NASID `json:"nas"`
	Name     string        `json:"name,omitempty"`
	At       time.Time     `json:"at,omitzero"` // no figure here is older; absent: there is none
	UptimeS  *int64        `json:"uptime_s,omitempty"`
	CPU      *int          `json:"cpu_percent,omitempty"`
	Memory   *int          `json:"memory_used_percent,omitempty"`
	Celsius  *float64      `json:"celsius,omitempty"` // of the hottest sensor
	Volts    *float64      `json:"volts,omitempty"`   // of the supply
	WANUp    *bool         `json:"wan_up,omitempty"`  // a default route is active
	Down     *uint64       `json:"down_bps,omitempty"`
	Up       *uint64       `json:"up_bps,omitempty"`
	PoolUsed *int          `json:"pool_used,omitempty"` // of the guests' fullest pool
	PoolSize *int          `json:"pool_size,omitempty"`
	Foreign  *int          `json:"foreign,omitempty"` // on the router's list, and not let in by this site

	Setup *SetupStanding `json:"setup,omitempty"` // absent: an agent from before set-ups came from the cloud
}

// MaxRouters is how many a hello tells of; the cloud keeps no more.
const MaxRouters = 32

// Hotspot is the bridge to the vocabulary. What cannot be meant is not known.
func (r RouterHealth) Hotspot() hotspot.RouterHealth {
	h := hotspot.RouterHealth{NAS: r.NAS, Name: r.Name, At: r.At, CPU: within(r.CPU, 0, 100), Memory: within(r.Memory, 0, 100), WANUp: r.WANUp,
		PoolUsed: within(r.PoolUsed, 0, math.MaxInt32), PoolSize: within(r.PoolSize, 1, math.MaxInt32), Foreign: within(r.Foreign, 0, math.MaxInt32)}
	if r.Setup != nil {
		h.Setup = &hotspot.SetupStanding{From: r.Setup.From, Mode: r.Setup.Mode, State: r.Setup.State, Left: time.Duration(min(max(r.Setup.LeftS, 0), 3600)) * time.Second, Login: r.Setup.Login}
	}
	if r.UptimeS != nil && *r.UptimeS >= 0 && *r.UptimeS <= longest {
		d := time.Duration(*r.UptimeS) * time.Second
		h.Uptime = &d
	}
	if r.Celsius != nil && math.Abs(*r.Celsius) < 1000 {
		h.Celsius = r.Celsius
	}
	if r.Volts != nil && math.Abs(*r.Volts) < 1000 {
		h.Volts = r.Volts
	}
	if r.Down != nil && r.Up != nil {
		down, up := hotspot.Rate(*r.Down), hotspot.Rate(*r.Up)
		h.Down, h.Up = &down, &up
	}
	return h
}

func within(n *int, low, high int) *int {
	if n == nil || *n < low || *n > high {
		return nil
	}
	return n
}
