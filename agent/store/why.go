package store

import (
	"context"

	"iwas/internal/hotspot"
)

// LoginStanding is what is known of why a name can or cannot log in.
type LoginStanding struct {
	Account *hotspot.Account // nil: nobody here is called that
	Lock    *hotspot.Lock
	Pass    *hotspot.Pass     // that a login would be judged by; nil without one
	Off     hotspot.OffReason // of Pass: why nobody may be on with it; "" for nothing
	Online  int               // devices
	Last    *hotspot.Reject   // the newest refusal of the name; nil: none is remembered
}

// WhyNot returns what is known of why a name cannot log in.
func (db *DB) WhyNot(ctx context.Context, name string) (s LoginStanding, err error) {
	id, err := db.accountOf(ctx, name)
	if err != nil {
		return s, err
	}
	if id != "" {
		f, err := db.named(ctx, name)
		if err != nil {
			return s, err
		}
		s.Account, s.Lock, s.Online = f.account, f.lock, len(f.sessions)
		now := db.o.Now()
		if s.Pass = db.passOf(f.passes, now); s.Pass != nil {
			s.Off = db.o.Off(s.Pass, nil, now)
		}
	}
	// As it was typed, in any spelling of a code, or as the account it was found to be.
	err = db.query(ctx, "read refusals of a name", `SELECT at, nas, username, mac, reason, message, detail, account FROM reject
		WHERE username = ? OR UPPER(REPLACE(REPLACE(username, '-', ''), ' ', '')) = ? OR account <> '' AND account = ? ORDER BY id DESC LIMIT 1`,
		[]any{name, hotspot.LoginKey(hotspot.Voucher, name), id}, func(scan func(...any) error) error {
			var r hotspot.Reject
			var at int64
			var mac string
			err := scan(&at, &r.NAS, &r.Username, &mac, &r.Reason, &r.Message, &r.Detail, &r.Account)
			r.At = fromMillis(at)
			r.MAC, _ = hotspot.ParseMAC(mac)
			s.Last = &r
			return err
		})
	return s, err
}
