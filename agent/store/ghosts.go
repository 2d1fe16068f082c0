package store

import (
	"context"

	"iwas/internal/hotspot"
)

// CloseGhosts closes sessions that a router's own list does not hold, and voids
// reservations that no login came of. One that is closed already stays as it is.
func (db *DB) CloseGhosts(ctx context.Context, ids []hotspot.SessionID) error {
	return db.do(ctx, func(t *tx) error {
		for _, id := range ids {
			open, err := t.findSessions("id = ? AND state <> 'closed'", id)
			if err != nil {
				return err
			}
			for _, s := range open {
				if err := t.closeSession(s, causeGhost); err != nil {
					return err
				}
			}
			if _, err := t.exec("void reservation", "UPDATE permit SET started = 1 WHERE id = ? AND started = 0", id); err != nil {
				return err
			}
		}
		return nil
	})
}
