package store

import (
	"context"
	"time"

	"iwas/internal/hotspot"
)

// Figures are the cloud in numbers, of all organizations.
type Figures struct {
	Sites   map[hotspot.Presence]int // by what is known of their boxes
	Pending map[hotspot.Presence]int // locks not proven off, by the presence of their site
}

// Figures counts sites, and the locks that are on their way or wait.
func (db *DB) Figures(ctx context.Context) (f Figures, err error) {
	err = db.read(ctx, "figures", func(t *tx) error {
		f = Figures{map[hotspot.Presence]int{}, map[hotspot.Presence]int{}}
		for _, p := range []hotspot.Presence{hotspot.Online, hotspot.Stopped, hotspot.Lost, hotspot.Never} {
			f.Sites[p], f.Pending[p] = 0, 0
		}
		return t.each(`SELECT COALESCE(st.presence, 'never'), COALESCE(st.heard_at, 0),
				(SELECT COUNT(*) FROM account_lock l WHERE l.site = s.id AND l.lifted_at = 0 AND l.outcome IN ('', 'pending'))
			FROM site s LEFT JOIN site_status st ON st.site = s.id`, nil, func(scan func(...any) error) error {
			var p hotspot.Presence
			var heard int64
			var locks int
			if err := scan(&p, &heard, &locks); err != nil {
				return err
			}
			p = t.presence(p, at(heard))
			f.Sites[p]++
			f.Pending[p] += locks
			return nil
		})
	})
	return f, err
}

// RequestedAt is when the lock that a proof is of was asked for; zero where there
// is none.
func (db *DB) RequestedAt(ctx context.Context, agent hotspot.AgentID, account hotspot.AccountID, revision int64) (asked time.Time, err error) {
	err = db.read(ctx, "lock asked for", func(t *tx) error {
		var ms int64
		_, err := t.one(`SELECT l.requested_at FROM account_lock l JOIN agent a ON a.site = l.site WHERE a.id = $1 AND l.account = $2 AND l.revision = $3`,
			[]any{string(agent), string(account), revision}, &ms)
		asked = at(ms)
		return err
	})
	return asked, err
}

// Ready reports whether the database answers a question.
func (db *DB) Ready(ctx context.Context) error {
	return db.read(ctx, "see whether the database answers", func(t *tx) error {
		var one int
		_, err := t.one(`SELECT COUNT(*) FROM (SELECT 1 FROM site LIMIT 1) AS x`, nil, &one)
		return err
	})
}
