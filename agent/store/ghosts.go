package store

import (
	"context"

	"iwas/internal/hotspot"
)

// CloseGhosts closes sessions that a router's own list does not hold, and voids
// reservations that no login came of. A session heard of since it stood in the
// way of a login lives; one that is closed already stays as it is.
func (db *DB) CloseGhosts(ctx context.Context, ids []hotspot.SessionID) error {
	wanted := make(map[hotspot.SessionID]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	db.desk.withdrawAny(func(p *hotspot.Session) bool { return wanted[p.ID] })
	return db.do(ctx, func(t *tx) error {
		for _, id := range ids {
			open, err := t.findSessions("id = ? AND state <> 'closed'", id)
			if err != nil {
				return err
			}
			for _, s := range open {
				if at, judged := db.desk.heardWhenJudged(s.Account, id); judged && s.HeardAt.After(at) {
					continue
				}
				if err := t.closeSession(s, causeGhost); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
