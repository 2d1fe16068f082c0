package store

import (
	"context"

	"iwas/internal/hotspot"
)

// UsedBefore reports whether a device was let in with an account of this login
// name, as far back as permits are kept. It reads only.
func (db *DB) UsedBefore(ctx context.Context, username string, mac hotspot.MAC) (used bool, err error) {
	if mac.IsZero() {
		return false, nil
	}
	err = db.query(ctx, "look for a login of the device", `SELECT EXISTS (SELECT 1 FROM account a JOIN permit p ON p.account = a.id
		WHERE a.login_key IN (?, ?, ?) AND p.mac = ?)`,
		[]any{hotspot.LoginKey(hotspot.User, username), hotspot.LoginKey(hotspot.Voucher, username), hotspot.LoginKey(hotspot.Device, username), mac.String()},
		func(scan func(...any) error) error { return scan(&used) })
	return used, err
}

// Language returns the language of the site's guests: of its document, else the
// one configured.
func (db *DB) Language(ctx context.Context) (string, error) {
	language := ""
	err := db.query(ctx, "read the site's language", `SELECT COALESCE(json_extract(CAST(body AS TEXT), '$.language'), '') FROM document
		WHERE kind = 'site' AND in_force = 1 LIMIT 1`, nil, func(scan func(...any) error) error { return scan(&language) })
	if language == "" {
		language = db.o.Language
	}
	return language, err
}
