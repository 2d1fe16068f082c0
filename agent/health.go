package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"iwas/agent/router"
	"iwas/agent/statuspage"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// healthOf is what the page shows of a router's vitals.
func healthOf(v router.Vitals) *statuspage.Health {
	h := &statuspage.Health{
		System: statuspage.System{Reading: reading(v.System.Reading), CPULoad: v.System.CPULoad, MemoryFree: v.System.MemoryFree, MemoryTotal: v.System.MemoryTotal,
			DiskFree: v.System.DiskFree, DiskTotal: v.System.DiskTotal, BadBlocks: v.System.BadBlocks, Uptime: v.System.Uptime, RestartedAt: v.System.RestartedAt},
		Sensors:  statuspage.Sensors{Reading: reading(v.Sensors.Reading), List: []statuspage.Sensor{}},
		Board:    statuspage.Board{Reading: reading(v.Board.Reading), Model: v.Board.Model, Serial: v.Board.Serial, Firmware: v.Board.Firmware, Upgrade: v.Board.Upgrade},
		WAN:      statuspage.WAN{Reading: reading(v.WAN.Reading), Up: v.WAN.Up, Gateway: v.WAN.Gateway},
		HotSpot:  statuspage.HotSpot{Reading: reading(v.HotSpot.Reading), Servers: slices.Concat([]string{}, v.HotSpot.Servers), Idle: v.HotSpot.Idle, Mode: v.HotSpot.Mode, Locked: v.HotSpot.Locked},
		Traffic:  statuspage.Traffic{Reading: reading(v.Traffic.Reading), Interfaces: []statuspage.Interface{}},
		Pools:    statuspage.Pools{Reading: reading(v.Pools.Reading), List: []statuspage.Pool{}},
		Leases:   statuspage.Leases{Reading: reading(v.Leases.Reading), Bound: v.Leases.Bound, Total: v.Leases.Total},
		Queues:   reading(v.Queues.Reading),
		Devices:  reading(v.Devices.Reading),
		Log:      statuspage.Log{Reading: reading(v.Log.Reading), Lines: []statuspage.LogLine{}},
		History:  []statuspage.HealthSample{},
		Restarts: v.System.Restarts,
	}
	for _, s := range v.Sensors.List {
		h.Sensors.List = append(h.Sensors.List, statuspage.Sensor{Name: s.Name, Unit: s.Unit, Value: s.Value, State: s.State, Hot: s.Hot()})
	}
	h.Traffic.Down, h.Traffic.Up, h.Traffic.Known = v.Traffic.WAN()
	for _, i := range v.Traffic.Interfaces {
		h.Traffic.Interfaces = append(h.Traffic.Interfaces, statuspage.Interface{Name: i.Name, Guests: i.Guests, Running: i.Running, Rx: i.Rx, Tx: i.Tx, RxRate: i.RxRate, TxRate: i.TxRate})
	}
	for _, p := range v.Pools.List {
		h.Pools.List = append(h.Pools.List, statuspage.Pool(p))
	}
	for _, l := range slices.Backward(v.Log.Lines) {
		h.Log.Lines = append(h.Log.Lines, statuspage.LogLine(l))
	}
	for _, s := range v.History {
		p := statuspage.HealthSample{At: s.At, CPULoad: s.CPULoad, MemoryUsed: s.MemoryUsed, Down: s.Down, Up: s.Up, RateKnown: s.RateKnown}
		if s.CelsiusKnown {
			p.Celsius = &s.Celsius
		}
		h.History = append(h.History, p)
	}
	return h
}

func reading(r router.Reading) statuspage.Reading {
	return statuspage.Reading{Menu: r.Menu, At: r.At, Absent: r.Absent, Problem: r.Err, Code: r.Code, Next: r.Hint}
}

// startsWithin is how long after the router let a guest in the record that says so
// may still be on its way.
const startsWithin = 30 * time.Second

// endsWithin is how long before the router's list was read a guest on it may have
// ended by our count: a Stop carries the delay it admits.
const endsWithin = 10 * time.Second

// strangers are foreign with what the store knows. A list is a few seconds old:
// who left meanwhile was known when it was read.
func (s *site) strangers(ctx context.Context, routers []router.Health, open []hotspot.Session) ([]statuspage.Foreign, error) {
	var oldest time.Time
	for _, h := range routers {
		if h.Reachable {
			oldest = older(oldest, h.SeenAt)
		}
	}
	if oldest.IsZero() {
		return nil, nil
	}
	left, err := s.db.EndedSince(ctx, oldest.Add(-endsWithin))
	if err != nil {
		return nil, err
	}
	return foreign(routers, slices.Concat(open, left)), nil
}

// foreign are the guests on routers' lists of whom none of the sessions was open
// when the list was read. Whoever this box let in has one, from the Access-Accept
// on.
func foreign(routers []router.Health, sessions []hotspot.Session) (out []statuspage.Foreign) {
	type device struct {
		nas hotspot.NASID
		mac hotspot.MAC
	}
	known := map[device][]hotspot.Session{}
	for _, s := range sessions {
		known[device{s.NAS, s.MAC}] = append(known[device{s.NAS, s.MAC}], s)
	}
	for _, h := range routers {
		if !h.Reachable {
			continue
		}
		for _, e := range h.Listed {
			ours := slices.ContainsFunc(known[device{h.NAS, e.MAC}], func(s hotspot.Session) bool {
				there := s.State != hotspot.Closed || s.EndedAt.After(h.SeenAt.Add(-endsWithin))
				return there && (s.Username == e.User || s.Username == "" || e.User == "")
			})
			if ours || e.RADIUS && e.Uptime < startsWithin {
				continue
			}
			f := statuspage.Foreign{NAS: h.NAS, Username: e.User, MAC: e.MAC.Masked(), LoginBy: e.LoginBy, RADIUS: e.RADIUS, Since: h.SeenAt.Add(-e.Uptime), SeenAt: h.SeenAt}
			if e.IP.IsValid() {
				f.IP = e.IP.String()
			}
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b statuspage.Foreign) int { return b.Since.Compare(a.Since) })
	return out
}

// queueOf is the router's own queue of a session.
func queueOf(routers []router.Health, s hotspot.Session) (q *statuspage.Queue, at time.Time) {
	for _, h := range routers {
		if h.NAS != s.NAS || h.Vitals.Queues.Err != "" {
			continue
		}
		at = h.Vitals.Queues.At
		if found, there := h.Vitals.Queues.List[s.IP]; there {
			q = &statuspage.Queue{LimitUp: found.Limit.Upload, LimitDown: found.Limit.Download, Up: found.Now.Upload, Down: found.Now.Download}
		}
	}
	return q, at
}

// deviceOf is what the HotSpot knows of a session's device; nil where that is not
// read. Of several cookies the one that lasts longest is told, whoever's it is: it
// lets the same phone in.
func deviceOf(routers []router.Health, s hotspot.Session) *statuspage.Device {
	for _, h := range routers {
		v := h.Vitals.Devices
		if h.NAS != s.NAS || v.Err != "" || v.Absent || v.At.IsZero() {
			continue
		}
		found := v.List[s.MAC]
		d := &statuspage.Device{ReadAt: v.At, Seen: found.Seen, Authorized: found.Authorized, Bypassed: found.Bypassed}
		if found.Seen {
			d.IdleS = int64(found.Idle / time.Second)
			if found.Address.IsValid() {
				d.Address = found.Address.String()
			}
		}
		for _, c := range found.Cookies {
			if c.Until.After(d.CookieUntil) {
				d.Cookie, d.CookieUser, d.CookieUntil = statuspage.BrowserCookie, c.User, c.Until
				if c.ByMAC {
					d.Cookie = statuspage.MACCookie
				}
			}
		}
		return d
	}
	return nil
}

// device is what the HotSpot knows of a session's device.
func (s *site) device(x hotspot.Session) *statuspage.Device {
	return deviceOf(s.enforcer.Health(), x)
}

// toldFresh is how old a reading may be for the owner to be told of it.
const toldFresh = 5 * time.Minute

// routersTold is what a hello says of the routers.
func (s *site) routersTold() []wire.RouterHealth {
	ctx, cancel := context.WithTimeout(context.Background(), conditionsWait)
	defer cancel()
	routers := s.enforcer.Health()
	strangers, err := s.strangersTold(ctx, routers)
	var out []wire.RouterHealth
	for _, h := range routers {
		if !h.API || len(out) == wire.MaxRouters {
			continue
		}
		r := figuresOf(h, s.wall.Now())
		for _, n := range s.cfg.NAS {
			if hotspot.NASID(n.ID) == h.NAS {
				r.Name, r.Setup = n.Name, s.setupStanding(ctx, n)
			}
		}
		if err == nil && h.Reachable {
			n := strangers[h.NAS]
			r.Foreign = &n
			r.At = older(r.At, h.SeenAt)
		}
		out = append(out, r)
	}
	return out
}

// strangerCount is how many strangers each router's list shows, of the looks at those times.
type strangerCount struct {
	seen      map[hotspot.NASID]time.Time
	strangers map[hotspot.NASID]int
}

// strangersTold counts them once for each look at the routers: a lock says hello several
// times in a row, and to know them takes everybody's session.
func (s *site) strangersTold(ctx context.Context, routers []router.Health) (map[hotspot.NASID]int, error) {
	c := strangerCount{map[hotspot.NASID]time.Time{}, map[hotspot.NASID]int{}}
	for _, h := range routers {
		if h.Reachable {
			c.seen[h.NAS] = h.SeenAt
		}
	}
	if last := s.foreign.Load(); last != nil && maps.EqualFunc(last.seen, c.seen, time.Time.Equal) {
		return last.strangers, nil
	}
	sessions, err := s.db.OpenSessions(ctx)
	if err != nil {
		return nil, err
	}
	strangers, err := s.strangers(ctx, routers, sessions)
	if err != nil {
		return nil, err
	}
	for _, f := range strangers {
		c.strangers[f.NAS]++
	}
	s.foreign.Store(&c)
	return c.strangers, nil
}

// older returns the earlier of two times, of those there are.
func older(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) && !b.IsZero() {
		return b.UTC()
	}
	return a
}

// figuresOf is the part of it that follows from the router's vitals.
func figuresOf(h router.Health, now time.Time) wire.RouterHealth {
	r := wire.RouterHealth{NAS: h.NAS}
	v := h.Vitals
	of := func(x router.Reading, known bool, take func()) {
		if known && !x.At.IsZero() && now.Sub(x.At) <= toldFresh {
			take()
			r.At = older(r.At, x.At)
		}
	}
	of(v.System.Reading, true, func() {
		up, cpu, memory := int64(v.System.Uptime/time.Second), v.System.CPULoad, v.System.MemoryUsed()
		r.UptimeS, r.CPU, r.Memory = &up, &cpu, &memory
	})
	hottest, hot := v.Sensors.Hottest()
	of(v.Sensors.Reading, hot, func() { r.Celsius = &hottest.Value })
	supply, fed := v.Sensors.Supply()
	of(v.Sensors.Reading, fed, func() { r.Volts = &supply.Value })
	of(v.WAN.Reading, true, func() { up := v.WAN.Up; r.WANUp = &up })
	down, up, counted := v.Traffic.WAN()
	of(v.Traffic.Reading, counted, func() { d, u := uint64(down), uint64(up); r.Down, r.Up = &d, &u })
	full := -1
	for i, p := range v.Pools.List {
		if p.Guests && (full < 0 || p.Percent() > v.Pools.List[full].Percent()) {
			full = i
		}
	}
	of(v.Pools.Reading, full >= 0, func() { p := v.Pools.List[full]; r.PoolUsed, r.PoolSize = &p.Used, &p.Size })
	return r
}
