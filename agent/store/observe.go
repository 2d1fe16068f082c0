package store

import (
	"context"
	"time"

	"iwas/internal/hotspot"
)

// ghostAfter is one interim interval and ten seconds: by then a living session
// has been heard of, or stands on the router's list.
const ghostAfter = 130 * time.Second

// routerView is what the routers' own lists said, kept in memory only: a list is
// read every few seconds and is worth no write. The writer owns it.
type routerView struct {
	opened  time.Time                       // when this program began to listen, or our date was last set
	sweptAt time.Time                       // last housekeeping
	seen    map[hotspot.SessionID]time.Time // newest list the session was on

	// The date and how long we had run, at the last look: they part when somebody
	// sets the date, or the box was asleep.
	date      time.Time
	ran       time.Duration
	steppedAt time.Time // when that was last noticed
}

// stepSlack is how far date and running time may part between two looks, some
// seconds apart, before the date was set: time servers that only adjust the rate
// stay far below.
const stepSlack = 2 * time.Second

// look notices that our date was set. Silence is then counted from now on, as
// after a start: a date that jumps makes nobody silent.
func (v *routerView) look(now time.Time, ran time.Duration) {
	now = now.Round(0) // the date alone
	if !v.date.IsZero() && (now.Sub(v.date)-(ran-v.ran)).Abs() > stepSlack {
		v.opened, v.steppedAt = now, now
		clear(v.seen)
	}
	v.date, v.ran = now, ran
}

func newRouterView(now time.Time) routerView {
	return routerView{opened: now, seen: map[hotspot.SessionID]time.Time{}}
}

// newest returns when the session was last known to live, at the earliest when
// this program began to listen.
func (v *routerView) newest(s session) time.Time {
	at := s.HeardAt
	for _, other := range []time.Time{v.opened, v.seen[s.ID]} {
		if other.After(at) {
			at = other
		}
	}
	return at
}

// forgetClosed keeps the map as small as the set of open sessions.
func (v *routerView) forgetClosed(open []session) {
	still := make(map[hotspot.SessionID]time.Time, len(open))
	for _, s := range open {
		if at, ok := v.seen[s.ID]; ok {
			still[s.ID] = at
		}
	}
	v.seen = still
}

// ObserveActive holds the sessions thought open at a NAS against the router's
// own list: a suspect that is there lives; one that is not there is closed, a
// suspect at once, others when nothing was heard of them for an interim interval
// and ten seconds.
func (db *DB) ObserveActive(ctx context.Context, nas hotspot.NASID, entries []hotspot.ActiveEntry, at time.Time) error {
	listed := make(map[hotspot.MAC][]string, len(entries))
	for _, e := range entries {
		listed[e.MAC] = append(listed[e.MAC], e.User)
	}
	owners, err := db.owners(ctx, entries, at)
	if err != nil {
		return err
	}
	return db.do(ctx, func(t *tx) error {
		v := &t.db.w.router
		v.look(t.now, db.o.Elapsed())
		// The newest first, in an order that is always the same: of two sessions of one device only that one can be
		// the one on the list.
		open, err := t.findSessions("nas = ? AND state <> 'closed' ORDER BY started_at DESC, heard_at DESC, acct_session_id DESC, permit DESC", nas)
		if err != nil {
			return err
		}
		taken := map[hotspot.MAC]bool{}
		for _, s := range open {
			there := !taken[s.MAC] && names(listed[s.MAC], s.Username)
			heard := s.HeardAt
			if v.steppedAt.After(heard) && s.State == hotspot.Live {
				heard = v.steppedAt
			}
			switch silent := at.Sub(heard); {
			case there:
				taken[s.MAC] = true
				v.seen[s.ID] = at
				if s.State == hotspot.Suspect {
					before := s
					s.State = hotspot.Live
					t.save(s, &before)
				}
			case s.State == hotspot.Suspect && silent > 0, silent > ghostAfter:
				if err := t.closeSession(s, causeGhost); err != nil {
					return err
				}
			}
		}
		return t.relearn(nas, entries, owners, taken, at)
	})
}

// names reports whether a row of the list is the session's: same device, and
// the same user where both are known.
func names(users []string, username string) bool {
	for _, u := range users {
		if u == username || u == "" || username == "" {
			return true
		}
	}
	return false
}
