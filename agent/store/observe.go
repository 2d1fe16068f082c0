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
	opened  time.Time                       // when this program began to listen
	sweptAt time.Time                       // last housekeeping
	seen    map[hotspot.SessionID]time.Time // newest list the session was on
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
	return db.do(ctx, func(t *tx) error {
		// The newest first, in an order that is always the same: of two sessions of one device only that one can be
		// the one on the list.
		open, err := t.findSessions("nas = ? AND state <> 'closed' ORDER BY started_at DESC, heard_at DESC, acct_session_id DESC, permit DESC", nas)
		if err != nil {
			return err
		}
		taken := map[hotspot.MAC]bool{}
		for _, s := range open {
			there := !taken[s.MAC] && names(listed[s.MAC], s.Username)
			switch silent := at.Sub(s.HeardAt); {
			case there:
				taken[s.MAC] = true
				t.db.w.router.seen[s.ID] = at
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
		return nil
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
