package aaa

import (
	"time"

	"iwas/internal/hotspot"
)

// Terms returns the speed and the time left that a session of the pass should
// have at now: what Decide would give if the guest logged in this moment. left 0
// is no limit. ok is false while nobody may be on with the pass; putting those
// off who are is not a matter of terms.
func Terms(p *hotspot.Pass, now time.Time, zone *time.Location) (rate hotspot.RateLimit, left time.Duration, ok bool) {
	l, reason := remaining(p, now)
	if reason != hotspot.ReasonNone {
		return rate, 0, false
	}
	if len(p.Limits.Hours) > 0 {
		open, change := openHours(p.Limits.Hours, now, zone)
		if !open {
			return rate, 0, false
		}
		if !change.IsZero() {
			l.limit(change.Sub(now))
		}
	}
	return p.Limits.RateAfter(p.Usage), l.Time, true
}
