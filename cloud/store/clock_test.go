package store_test

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// The clocks are measured by every hello, and the router's last answer is kept as
// the site told it.
func TestTheClockIsMeasuredByEveryHello(t *testing.T) {
	onBoth(t, func(w *world) {
		for _, off := range []time.Duration{90 * time.Second, -3 * time.Hour, 0} {
			w.pass(time.Minute)
			seen := w.now().Add(off - 8*time.Second)
			must(w.TB, w.db.RecordHello(w.Context(), w.agent, wire.Hello{V: 1, Boot: "b1", At: w.now().Add(off), RouterSeenAt: seen}, w.now()))
			st, err := w.db.Site(w.Context(), w.owner.Organization, w.site.ID)
			if err != nil || st.ClockOffset != off || !st.RouterSeenAt.Equal(seen) || !st.HeardAt.Equal(w.now()) || st.Presence != hotspot.Online {
				w.Errorf("got an offset of %v, the router seen at %v (%v), want %v and %v", st.ClockOffset, st.RouterSeenAt, err, off, seen)
			}
		}
	})
}
