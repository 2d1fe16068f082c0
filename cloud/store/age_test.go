package store_test

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// TestFiguresHaveTheAgeOfTheRecord: whatever the site's clock shows, and however
// late the batch comes, a figure is as old as its record, and never of the
// future.
func TestFiguresHaveTheAgeOfTheRecord(t *testing.T) {
	onBoth(t, func(w *world) {
		for _, tt := range []struct {
			name   string
			ahead  time.Duration // the site's clock minus ours
			hello  bool          // one came before the batch
			delay  time.Duration // of the batch on its way
			unsent bool          // the batch does not say when it was sent
			record time.Duration // how old the record is when the batch comes
			want   time.Duration
		}{
			{"clocks agree", 0, true, 0, false, time.Minute, time.Minute},
			{"a clock two days behind", -48 * time.Hour, true, 0, false, time.Minute, time.Minute},
			{"a clock two days ahead", 48 * time.Hour, true, 0, false, time.Minute, time.Minute},
			{"another box two days behind, before any hello", -48 * time.Hour, false, 0, false, time.Minute, time.Minute},
			{"a clock two days ahead, before any hello", 48 * time.Hour, false, 0, false, time.Minute, time.Minute},
			{"a clock two days behind, a batch that does not say when it was sent", -48 * time.Hour, true, 0, true, time.Minute, time.Minute},
			{"a batch that waited for us", 5 * time.Hour, true, time.Hour, false, 2 * time.Hour, 2 * time.Hour},
			{"a backlog of days", -time.Hour, true, 0, false, 72 * time.Hour, 72 * time.Hour},
			{"a record of the future", 0, true, 0, false, -time.Hour, 0},
			{"a record of the future, nothing known of the clock", time.Hour, false, 0, true, time.Minute, 0},
		} {
			w.newAgent()
			id := w.user("guest of " + string(w.agent))
			pass := w.guest(id).Pass.ID
			site := func(ago time.Duration) time.Time { return w.now().Add(tt.ahead - ago) }
			if tt.hello {
				w.hello(func(h *wire.Hello) { h.At = site(0) })
			}
			s := w.session("s"+string(id), id, 120)
			s.Pass, s.StartedAt, s.HeardAt = pass, site(tt.record+2*time.Minute), site(tt.record)
			s.PassUsage = &wire.UsageBody{Pass: pass, Account: id, TimeMS: 120_000}
			l := &siteLog{epoch: "epoch-" + string(w.agent)}
			l.add(wire.EventSessionUsage, s.HeardAt, s)
			b := l.batch(1, 1)
			if !tt.unsent {
				b.At = site(tt.delay)
			}
			w.ingest(b)
			g := w.guest(id)
			if len(g.Sessions) != 1 {
				w.Fatalf("%s: got %d sessions, want one", tt.name, len(g.Sessions))
			}
			if got := w.now().Sub(g.UsageAsOf); got != tt.want {
				w.Errorf("%s: what the pass used is %v old, want %v", tt.name, got, tt.want)
			}
			if got := w.now().Sub(g.Sessions[0].AsOf); got != tt.want {
				w.Errorf("%s: the session is %v old, want %v", tt.name, got, tt.want)
			}
			if !g.SeenAt.Equal(w.now()) {
				w.Errorf("%s: the site was heard at %v, want now: its events came", tt.name, g.SeenAt)
			}
		}
	})
}

// newAgent replaces the site's box: nothing is known of its clock.
func (w *world) newAgent() {
	w.Helper()
	w.agent, w.key = w.enrol(w.site.ID, w.owner)
	_, _, err := w.db.ConfirmAgent(w.Context(), w.owner, w.agent)
	must(w.TB, err)
	_, err = w.db.RecordPresence(w.Context(), w.agent, wire.Presence{State: hotspot.Online, Boot: "boot of " + string(w.agent)}, w.now())
	must(w.TB, err)
}

// TestContactDoesNotMakeAFigureFresher: hellos come every minute, and old
// records may come again.
func TestContactDoesNotMakeAFigureFresher(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		pass := w.guest(id).Pass.ID
		if g := w.guest(id); !g.UsageAsOf.IsZero() {
			w.Errorf("nothing was recorded: got an age of %v", w.now().Sub(g.UsageAsOf))
		}
		w.hello(nil)
		l := &siteLog{epoch: "epoch1"}
		recorded := w.now()
		s := w.session("s1", id, 60)
		s.Pass, s.PassUsage = pass, &wire.UsageBody{Pass: pass, Account: id, TimeMS: 60_000}
		l.add(wire.EventSessionUsage, recorded, s)
		w.all(l)
		w.pass(10 * time.Minute)
		w.hello(nil)
		older := s
		older.HeardAt = recorded.Add(-time.Hour)
		l.add(wire.EventSessionUsage, recorded, older)
		w.ingest(l.batch(2, 2))
		g := w.guest(id)
		if !g.UsageAsOf.Equal(recorded) || !g.Sessions[0].AsOf.Equal(recorded) || !g.SeenAt.Equal(w.now()) {
			w.Errorf("got figures of %v and %v, heard %v; want %v, %v, %v", g.UsageAsOf, g.Sessions[0].AsOf, g.SeenAt, recorded, recorded, w.now())
		}
		l.add(wire.EventPassUsage, w.now(), wire.UsageBody{Pass: pass, Account: id, TimeMS: 61_000})
		w.ingest(l.batch(3, 3))
		if g := w.guest(id); !g.UsageAsOf.Equal(w.now()) || !g.Sessions[0].AsOf.Equal(recorded) {
			w.Errorf("got figures of %v and %v, want %v and %v", g.UsageAsOf, g.Sessions[0].AsOf, w.now(), recorded)
		}
	})
}

// TestARestartOfTheRouterPutsItsSessionsInDoubt: in the same batch or a later
// one, until the session is heard of again; those of another router, later ones
// and closed ones are not its matter.
func TestARestartOfTheRouterPutsItsSessionsInDoubt(t *testing.T) {
	onBoth(t, func(w *world) {
		w.hello(nil)
		l := &siteLog{epoch: "epoch1"}
		add := func(id string, state hotspot.SessionState, nas hotspot.NASID, at time.Time) {
			s := w.session(id, "", 60)
			s.Pass, s.NAS, s.State, s.HeardAt = "", nas, state, at
			l.add(wire.EventSessionUsage, at, s)
		}
		begun := w.now()
		add("before", hotspot.Live, "r1", begun)
		add("closed", hotspot.Closed, "r1", begun)
		add("other-before", hotspot.Live, "r2", begun)
		add("later", hotspot.Live, "r1", begun.Add(2*time.Minute))
		w.all(l)
		w.pass(time.Minute)
		add("same-batch", hotspot.Live, "r1", w.now())
		add("other-router", hotspot.Live, "r2", w.now())
		add("later-too", hotspot.Live, "r1", w.now().Add(time.Second))
		l.add(wire.EventNASRestarted, w.now(), wire.NASRestarted{NAS: "r1", On: true})
		add("after", hotspot.Live, "r1", w.now().Add(time.Second))
		w.ingest(l.batch(5, len(l.events)))
		check := func(want map[hotspot.SessionID]hotspot.SessionState) {
			w.Helper()
			all := w.sessions(false)
			if len(all) != len(want) {
				w.Errorf("got %d sessions, want %d", len(all), len(want))
			}
			for _, s := range all {
				if s.State != want[s.ID] {
					w.Errorf("%s: got %s, want %s", s.ID, s.State, want[s.ID])
				}
			}
		}
		want := map[hotspot.SessionID]hotspot.SessionState{"before": hotspot.Suspect, "closed": hotspot.Closed, "same-batch": hotspot.Suspect, "other-router": hotspot.Live, "after": hotspot.Live,
			"other-before": hotspot.Live, "later": hotspot.Live, "later-too": hotspot.Live}
		check(want)
		w.pass(time.Minute)
		n := len(l.events)
		add("before", hotspot.Live, "r1", w.now())
		w.ingest(l.batch(n+1, n+1))
		want["before"] = hotspot.Live
		check(want)
	})
}
