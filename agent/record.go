package main

import (
	"context"
	"path/filepath"
	"time"

	"iwas/agent/history"
	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/agent/statuspage"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// recorder keeps what each minute was like, for the charts of the status page.
type recorder struct {
	s     *site
	log   *history.Log[statuspage.Minute]
	next  time.Time   // when the minute under way is over
	last  loginTotals // at the end of the minute before
	began bool        // a minute of this run was kept
	now   func() time.Time
}

// newRecorder reads what is kept from before. A history that cannot be read is
// said and costs nothing else.
func newRecorder(s *site) *recorder {
	r := &recorder{s: s, now: time.Now}
	var err error
	if r.log, err = history.Open[statuspage.Minute](s.cfg.StateDir); err != nil {
		s.log.Warn("the history of the charts cannot be read; it begins anew", "err", err, "file", filepath.Join(s.cfg.StateDir, "history.jsonl"))
	}
	return r
}

// Serve keeps a point at the end of each minute until ctx ends.
func (r *recorder) Serve(ctx context.Context) error {
	for {
		r.next = r.now().Truncate(time.Minute).Add(time.Minute)
		select {
		case <-ctx.Done():
			if err := r.log.Flush(); err != nil {
				r.s.log.Warn("the newest minutes of the charts were not written", "err", err)
			}
			return nil
		case <-time.After(r.next.Sub(r.now())):
			r.keep(ctx)
		}
	}
}

// keep adds the minute that is over. A disk that fails is said with each write,
// every ten minutes.
func (r *recorder) keep(ctx context.Context) {
	now := r.now()
	m := r.minute(ctx, now)
	// The date may have been set meanwhile: then this is the minute it says now.
	if err := r.log.Add(now.Add(-time.Second).Truncate(time.Minute), m); err != nil {
		r.s.log.Warn("the history of the charts cannot be written", "err", err, "next", fault.Hint(err))
	}
	r.s.page.Notify()
}

// Between is for the page.
func (r *recorder) Between(from, to time.Time) (out []statuspage.MinuteAt) {
	for _, p := range r.log.Between(from, to) {
		out = append(out, statuspage.MinuteAt{At: p.At, Minute: p.V})
	}
	return out
}

// loginTotals is what became of requests since this program began.
type loginTotals struct{ accepts, rejects, dropped, answers uint64 }

// totalsOf sums up as the page does: this box's own tests say nothing of guests.
func totalsOf(st radius.Stats) (c loginTotals) {
	for _, x := range st.Counts {
		switch {
		case x.NAS == loopbackNAS:
			continue
		case x.Result == "dropped":
			c.dropped += x.N
			continue
		case x.Kind == "access" && x.Result == "accept":
			c.accepts += x.N
		case x.Kind == "access" && x.Result != "repeated":
			c.rejects += x.N
		}
		c.answers += x.N
	}
	return c
}

// minute is what the minute that ends now was like.
func (r *recorder) minute(ctx context.Context, now time.Time) statuspage.Minute {
	st := r.s.radius.Stats()
	c, before := totalsOf(st), r.last
	r.last = c
	m := statuspage.Minute{Accepts: c.accepts - before.accepts, Rejects: c.rejects - before.rejects, Dropped: c.dropped - before.dropped, StartedNow: !r.began}
	r.began = true
	if c.answers > before.answers { // else the newest answers are of long ago
		us := st.P95.Microseconds()
		m.P95Micros = &us
	}
	if r.s.db == nil {
		return m
	}
	bounded, cancel := context.WithTimeout(ctx, conditionsWait)
	defer cancel()
	if k, err := r.s.db.Counts(bounded); err == nil {
		m.Sessions, m.Outbox = &k.SessionsOpen, &k.Waiting
	}
	for _, h := range r.s.enforcer.Health() {
		if h.API {
			if m.Routers == nil {
				m.Routers = map[hotspot.NASID]statuspage.RouterMinute{}
			}
			m.Routers[h.NAS] = routerMinute(h.Vitals, now)
		}
	}
	return m
}

// minuteFresh is how old a reading may be to stand for a minute: a fast router
// is read twice in it, a slow one a menu at a time.
const minuteFresh = 90 * time.Second

func routerMinute(v router.Vitals, now time.Time) (m statuspage.RouterMinute) {
	fresh := func(r router.Reading) bool { return !r.At.IsZero() && now.Sub(r.At).Abs() <= minuteFresh }
	if fresh(v.System.Reading) {
		cpu, memory := v.System.CPULoad, v.System.MemoryUsed()
		m.CPU, m.Memory = &cpu, &memory
	}
	if fresh(v.Sensors.Reading) {
		if x, ok := v.Sensors.Hottest(); ok {
			m.Celsius = &x.Value
		}
		if x, ok := v.Sensors.Supply(); ok {
			m.Volts = &x.Value
		}
	}
	if fresh(v.WAN.Reading) {
		up := v.WAN.Up
		m.WANUp = &up
	}
	if down, up, known := v.Traffic.WAN(); known && fresh(v.Traffic.Reading) {
		m.Down, m.Up = &down, &up
	}
	if at := v.System.RestartedAt; now.Sub(at).Abs() <= restartTold {
		m.RestartedAt = at.Round(time.Second)
	}
	return m
}

// restartTold is for how long the minutes after a restart tell of it: the first
// of them may have been lost with the power.
const restartTold = 30 * time.Minute
