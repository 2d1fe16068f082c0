package store_test

import (
	"fmt"
	"testing"
	"time"

	"iwas/cloud/store"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// history reads what is kept of the world's site in steps of the width.
func (w *world) history(width time.Duration) []hotspot.HistoryStep {
	w.Helper()
	out, err := w.db.History(w.Context(), w.owner.Organization, w.site.ID, width, time.Unix(0, 0), w.now().Add(time.Hour))
	must(w.TB, err)
	return out
}

// tells sends a hello of one router whose reading is as old as ago.
func (w *world) tells(cpu int, up, ago time.Duration, sessions int) {
	w.Helper()
	w.hello(func(h *wire.Hello) {
		h.At, h.Sessions = w.now(), sessions
		h.Routers = []wire.RouterHealth{{NAS: "a", At: w.now().Add(-ago), CPU: of(cpu), UptimeS: of(int64(up / time.Second)), WANUp: of(cpu < 50), Volts: of(23.8), Down: of(uint64(cpu)), Up: of[uint64](1)}}
	})
}

func TestHistoryIsRolledUp(t *testing.T) {
	onBoth(t, func(w *world) { // it is noon
		up := 50 * time.Hour
		for i, cpu := range []int{10, 20, 60} { // one step of five minutes
			w.pass(time.Minute)
			w.tells(cpu, up+time.Duration(i)*time.Minute, 0, i+1)
		}
		w.tells(60, up+3*time.Minute, 0, 3) // told again at the same time: the same figure
		w.pass(6 * time.Minute)             // the next step
		w.tells(30, up+9*time.Minute, 0, 7)
		w.pass(2 * time.Hour) // silence
		w.tells(40, up+129*time.Minute, 30*time.Second, 9)
		fine, coarse := w.history(store.FineStep), w.history(store.CoarseStep)
		noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		var got []string
		for _, s := range append(fine, coarse...) {
			r := s.Routers["a"]
			got = append(got, fmt.Sprintf("%v sessions %v cpu %v wan %v", s.At.Sub(noon), *s.Sessions, *r.CPU, *r.WANUp))
		}
		want := []string{
			"0s sessions {4 1 2.25 3 3} cpu {3 10 30 60 60} wan {3 0 0.6666666666666667 1 0}",
			"5m0s sessions {1 7 7 7 7} cpu {1 30 30 30 30} wan {1 1 1 1 1}",
			"2h5m0s sessions {1 9 9 9 9} cpu {1 40 40 40 40} wan {1 1 1 1 1}",
			"0s sessions {5 1 3.2 7 7} cpu {4 10 30 60 30} wan {4 0 0.75 1 1}",
			"2h0m0s sessions {1 9 9 9 9} cpu {1 40 40 40 40} wan {1 1 1 1 1}",
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			w.Errorf("got\n%q\nwant\n%q", got, want)
		}
		if r := fine[0].Routers["a"]; r.Celsius != nil || r.Memory != nil || r.Volts == nil || r.Volts.Mean != 23.8 || len(r.RestartedAt) != 0 {
			w.Errorf("got %+v, want what was told and nothing else", r)
		}
		other, err := w.db.History(w.Context(), "theirs", w.site.ID, store.FineStep, time.Unix(0, 0), w.now())
		must(w.TB, err)
		if len(other) != 0 {
			w.Error("another organization reads it")
		}
	})
}

// TestARestartIsInTheHistory: the uptime fell; or it is longer than before the
// site fell silent, and yet too short. A slow reading is no restart.
func TestARestartIsInTheHistory(t *testing.T) {
	onBoth(t, func(w *world) {
		restarts := func() (out []time.Time) {
			for _, s := range w.history(store.CoarseStep) {
				out = append(out, s.Routers["a"].RestartedAt...)
			}
			return out
		}
		w.pass(5 * time.Minute)
		w.tells(1, time.Hour, 4*time.Minute, 0) // some figure is older than the uptime
		w.pass(10 * time.Minute)
		w.tells(1, time.Hour+10*time.Minute, 0, 0)
		w.pass(10 * time.Minute)
		w.tells(1, time.Hour+20*time.Minute, 4*time.Minute, 0)
		if got := restarts(); len(got) != 0 {
			w.Errorf("got restarts at %v, want none", got)
		}
		w.pass(5 * time.Minute)
		w.tells(1, 2*time.Minute, 0, 0)
		want := w.now().Add(-2 * time.Minute)
		if got := restarts(); len(got) != 1 || !got[0].Equal(want) {
			w.Errorf("got restarts at %v, want one at %v", got, want)
		}
		w.pass(2 * time.Minute)
		w.tells(1, time.Minute, 0, 0) // and again, at once
		if got := restarts(); len(got) != 2 {
			w.Errorf("got restarts at %v, want a second one", got)
		}
		w.pass(48 * time.Hour)
		w.tells(1, 3*time.Hour, 0, 0)
		if got := restarts(); len(got) != 3 || !got[2].Equal(w.now().Add(-3*time.Hour)) {
			w.Errorf("got restarts at %v, want one more, three hours ago", got)
		}
	})
}

// TestAFigureIsOfWhenItWasRead: by our clock, though the site's is an hour ahead.
func TestAFigureIsOfWhenItWasRead(t *testing.T) {
	onBoth(t, func(w *world) {
		w.pass(5 * time.Minute)
		w.hello(func(h *wire.Hello) {
			h.At = w.now().Add(time.Hour)
			h.Routers = []wire.RouterHealth{{NAS: "a", At: h.At.Add(-3 * time.Minute), CPU: of(5)}}
		})
		got := w.history(store.FineStep)
		if len(got) != 2 || got[0].Routers["a"].CPU == nil || got[0].Sessions != nil || got[1].Sessions == nil || len(got[1].Routers) != 0 {
			w.Errorf("got %+v, want the router's figure in the step before that of the hello", got)
		}
	})
}

func TestHistoryIsDroppedByAge(t *testing.T) {
	onBoth(t, func(w *world) {
		w.tells(1, time.Hour, 0, 1)
		drop := func(after time.Duration, fine, coarse int) {
			w.Helper()
			w.pass(after)
			_, err := w.db.DropOldHistory(w.Context())
			must(w.TB, err)
			if f, c := len(w.history(store.FineStep)), len(w.history(store.CoarseStep)); f != fine || c != coarse {
				w.Errorf("got %d and %d steps, want %d and %d", f, c, fine, coarse)
			}
		}
		drop(7*24*time.Hour, 1, 1)
		drop(time.Minute, 0, 1)
		drop(83*24*time.Hour-time.Minute, 0, 1)
		drop(2*time.Minute, 0, 0)
	})
}
