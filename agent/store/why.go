package store

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"iwas/internal/hotspot"
	"iwas/internal/whynot"
)

// whoever is who a question is about.
type whoever struct {
	account hotspot.AccountID
	macs    []hotspot.MAC // the question is about these devices
	device  bool          // it was asked by a device, not by a name
}

// WhyNot returns what is known of why somebody cannot log in: asked by name, by
// voucher code in any spelling, by a MAC or part of one, or by the address of a
// phone. Names that are spelled almost alike are among it only with similar.
func (db *DB) WhyNot(ctx context.Context, asked string, similar bool) (f whynot.Facts, err error) {
	f = whynot.Facts{Asked: asked, Now: db.o.Now(), Zone: db.site.Load().location}
	failed, err := db.Rejects(ctx, rejectsKept+silentKept)
	if err != nil {
		return f, err
	}
	who, err := db.whoIs(ctx, asked, failed)
	if err != nil {
		return f, err
	}
	f.ByDevice = who.device
	if err := db.accountFacts(ctx, who.account, &f); err != nil {
		return f, err
	}
	for _, m := range who.macs {
		if l := db.deviceLock(m); l != nil {
			f.Device = l
		}
	}
	for _, r := range failed {
		switch {
		case who.concerns(r, &f):
			f.Failed = append(f.Failed, r)
		case r.Silent || r.Reason == hotspot.ReasonBadSecret:
			f.Trouble = append(f.Trouble, r)
		}
	}
	if f.Account == nil && similar && !who.device {
		f.Similar, err = db.similarNames(ctx, asked)
	}
	return f, err
}

// accountFacts adds what is known of an account; "" is nobody's.
func (db *DB) accountFacts(ctx context.Context, id hotspot.AccountID, f *whynot.Facts) error {
	if id == "" {
		return nil
	}
	var sealed string
	var text hotspot.Password
	a, err := db.readFacts(ctx, id, f.Now, &sealed, &text)
	if err != nil || a == nil || a.account == nil {
		return err
	}
	f.Account, f.Lock = a.account, a.lock
	for _, s := range a.sessions {
		f.Online = append(f.Online, *s)
	}
	if f.Pass = db.passOf(a.passes, f.Now); f.Pass != nil {
		f.Off = db.o.Off(f.Pass, nil, f.Now)
	}
	if a.account.Kind == hotspot.Device {
		if m, ok := hotspot.ParseMAC(a.account.Username); ok && f.Lock == nil {
			f.Device = db.deviceLock(m)
		}
	}
	var last int64
	err = db.query(ctx, "read when a guest was last online", "SELECT COALESCE(MAX(heard_at), 0) FROM session WHERE account = ?", []any{id},
		func(scan func(...any) error) error { return scan(&last) })
	f.Last = fromMillis(last)
	return err
}

// concerns reports whether a failed login was of whoever is asked for.
func (w *whoever) concerns(r hotspot.Reject, f *whynot.Facts) bool {
	switch {
	case w.account != "" && r.Account == w.account:
		return true
	case f.Account != nil && r.Username != "" && hotspot.LoginKey(f.Account.Kind, r.Username) == hotspot.LoginKey(f.Account.Kind, f.Account.Username):
		return true
	case w.device:
		return w.account == "" && slices.Contains(w.macs, r.MAC)
	}
	return f.Account == nil && r.Username != "" && hotspot.LoginKey(hotspot.Voucher, r.Username) == hotspot.LoginKey(hotspot.Voucher, f.Asked)
}

// whoIs finds out who a question is about.
func (db *DB) whoIs(ctx context.Context, asked string, failed []hotspot.Reject) (w whoever, err error) {
	if w.account, err = db.accountOf(ctx, asked); err != nil || w.account != "" {
		if m, ok := hotspot.ParseMAC(asked); ok {
			w.macs = []hotspot.MAC{m}
		}
		return w, err
	}
	where, arg := "mac LIKE ?", ""
	addr, _ := netip.ParseAddr(asked)
	part := whynot.MACPart(asked)
	switch {
	case addr.IsValid():
		where, arg = "(ip = ?1 OR host_ip = ?1)", addr.Unmap().String()
	case part != "":
		arg = "%" + part + "%"
	default:
		return w, nil
	}
	w.device = true
	of := func(r hotspot.Reject) bool {
		return addr.IsValid() && r.IP == addr.Unmap() || part != "" && strings.Contains(r.MAC.String(), part)
	}
	err = db.query(ctx, "find whose a device is", "SELECT COALESCE(account, ''), mac FROM session WHERE "+where+" ORDER BY state = 'closed', heard_at DESC LIMIT 1", []any{arg},
		func(scan func(...any) error) error {
			var mac string
			err := scan(&w.account, &mac)
			if m, ok := hotspot.ParseMAC(mac); ok {
				w.macs = append(w.macs, m)
			}
			return err
		})
	if err != nil {
		return w, err
	}
	if part != "" {
		for m := range *db.devices.Load() {
			if strings.Contains(m.String(), part) {
				w.macs = append(w.macs, m)
			}
		}
	}
	return w, db.whoFailed(ctx, &w, failed, of)
}

// whoFailed adds the devices that failed to log in, and takes whom the newest named.
func (db *DB) whoFailed(ctx context.Context, w *whoever, failed []hotspot.Reject, of func(hotspot.Reject) bool) (err error) {
	named := w.account != ""
	for _, r := range failed {
		if !of(r) || r.MAC.IsZero() {
			continue
		}
		if !slices.Contains(w.macs, r.MAC) {
			w.macs = append(w.macs, r.MAC)
		}
		if !named && !r.Appeared() {
			named = true
			if w.account = r.Account; w.account == "" && r.Username != "" {
				w.account, err = db.accountOf(ctx, r.Username)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// namesCompared bounds the names that are held against a misspelt one, the newest first.
const namesCompared = 20_000

func (db *DB) similarNames(ctx context.Context, asked string) ([]string, error) {
	var names []string
	err := db.query(ctx, "read names", "SELECT username FROM account ORDER BY id DESC LIMIT ?", []any{namesCompared}, func(scan func(...any) error) error {
		var n string
		err := scan(&n)
		names = append(names, n)
		return err
	})
	return whynot.Closest(asked, names), err
}
