package store

import (
	"context"
	"slices"

	"iwas/internal/hotspot"
)

// UsedBefore reports whether a device was let in with an account of this login
// name, as far back as sessions are kept, and by the promises at the desk.
func (db *DB) UsedBefore(ctx context.Context, username string, mac hotspot.MAC) (used bool, err error) {
	if mac.IsZero() {
		return false, nil
	}
	id, err := db.accountOf(ctx, username)
	if err != nil || id == "" {
		return false, err
	}
	promised, _ := db.desk.promised(id, db.o.Now())
	if slices.ContainsFunc(promised, func(p hotspot.Session) bool { return p.MAC == mac }) {
		return true, nil
	}
	if err := db.settledFor(ctx, id); err != nil {
		return false, err
	}
	err = db.queryLate(ctx, "look for a login of the device", `SELECT EXISTS (SELECT 1 FROM session WHERE account = ?1 AND mac = ?2)
		OR EXISTS (SELECT 1 FROM permit WHERE account = ?1 AND mac = ?2)`, []any{id, mac.String()}, func(scan func(...any) error) error { return scan(&used) })
	return used, err
}

// Language returns the language of the site's guests: of its document, else the
// one configured.
func (db *DB) Language(context.Context) (string, error) { return db.site.Load().language, nil }
