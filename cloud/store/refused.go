package store

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"iwas/internal/hotspot"
	"iwas/internal/whynot"
	"iwas/internal/wire"
)

// refusedKept is how many failed logins of a site are kept, the newest.
const refusedKept = 2000

// loginRefused keeps a failed login; told again it counts on, and an older count
// changes nothing.
func (f *facts) loginRefused(b wire.LoginRefused) error {
	r, err := b.Reject()
	if err == nil && !name(r.Ref, maxEventID) {
		err = errors.New("the id is no name")
	}
	if err != nil {
		return unreadablef("login.refused: %v", err)
	}
	f.refused = true
	return f.t.exec(`INSERT INTO login_refused (site, id, account, nas, username, mac, ip, reason, detail, source, silent, others, times, at, until_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (site, id) DO UPDATE SET account = excluded.account, ip = excluded.ip, detail = excluded.detail, source = excluded.source,
		times = excluded.times, until_at = excluded.until_at WHERE excluded.times >= login_refused.times`,
		string(f.site), r.Ref, text200(string(r.Account)), text200(string(r.NAS)), text200(r.Username), macText(r.MAC), ipText(r.IP), text200(string(r.Reason)), text200(r.Detail),
		ipText(r.Source), flag(r.Silent), flag(r.Others), int64(r.Times), f.asOf(r.At), f.asOf(r.Newest()))
}

// dropRefused forgets the oldest failed logins of the site.
func (f *facts) dropRefused() error {
	if !f.refused {
		return nil
	}
	return f.t.exec(`DELETE FROM login_refused WHERE site = $1 AND id IN (SELECT id FROM login_refused WHERE site = $1 ORDER BY until_at DESC, id DESC LIMIT $2 OFFSET $3)`,
		string(f.site), wire.MaxEvents, refusedKept)
}

func ipText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (t *tx) refusals(site hotspot.SiteID) (all []hotspot.Reject, err error) {
	err = t.each(`SELECT id, account, nas, username, mac, ip, reason, detail, source, silent, others, times, at, until_at FROM login_refused WHERE site = $1
		ORDER BY until_at DESC, id DESC LIMIT $2`, []any{string(site), refusedKept}, func(scan func(...any) error) error {
		var r hotspot.Reject
		var mac, ip, source string
		var silent, others, times, first, until int64
		err := scan(&r.Ref, &r.Account, &r.NAS, &r.Username, &mac, &ip, &r.Reason, &r.Detail, &source, &silent, &others, &times, &first, &until)
		r.MAC, _ = hotspot.ParseMAC(mac)
		r.IP, _ = netip.ParseAddr(ip)
		r.Source, _ = netip.ParseAddr(source)
		r.Silent, r.Others, r.Times, r.At, r.Until = silent != 0, others != 0, int(times), at(first), at(until)
		all = append(all, r)
		return err
	})
	return all, err
}

// WhyNot returns what the cloud knows of why somebody cannot log in at a site: asked
// by name, by voucher code in any spelling, by a MAC or part of one, or by the address
// of a phone. guest is nil where nobody was found. What its lock and pass say of it is
// the caller's to add.
func (db *DB) WhyNot(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, asked string) (f whynot.Facts, guest *hotspot.Guest, err error) {
	asked = strings.TrimSpace(asked)
	err = db.read(ctx, "why not", func(t *tx) error {
		f, guest = whynot.Facts{Asked: asked, Now: t.now}, nil
		if err := t.owns(org, site); err != nil {
			return err
		}
		failed, err := t.refusals(site)
		if err != nil {
			return err
		}
		w := asking{t: t, site: site, asked: asked}
		if err := w.find(failed); err != nil {
			return err
		}
		f.ByDevice = w.device
		if w.account != "" {
			if guest, err = t.guestOf(site, w.account); err != nil {
				return err
			}
			var last int64
			if _, err := t.one(`SELECT COALESCE(MAX(as_of), 0) FROM session WHERE site = $1 AND account = $2`, []any{string(site), string(w.account)}, &last); err != nil {
				return err
			}
			f.Last = at(last)
		}
		for _, r := range failed {
			switch {
			case w.concerns(r, guest):
				f.Failed = append(f.Failed, r)
			case r.Silent || r.Reason == hotspot.ReasonBadSecret:
				f.Trouble = append(f.Trouble, r)
			}
		}
		if guest == nil && !w.device {
			f.Similar, err = t.similar(site, asked)
		}
		return err
	})
	return f, guest, err
}

// asking finds out who a question is about.
type asking struct {
	t       *tx
	site    hotspot.SiteID
	asked   string
	account hotspot.AccountID
	device  bool
	mac     string     // digits that were asked for
	ip      netip.Addr // that was
}

func (w *asking) find(failed []hotspot.Reject) error {
	var err error
	if w.account, err = w.t.named(w.site, w.asked); err != nil || w.account != "" || w.asked == "" {
		return err
	}
	w.ip, _ = netip.ParseAddr(w.asked)
	w.ip = w.ip.Unmap()
	if !w.ip.IsValid() {
		w.mac = strings.ReplaceAll(strings.ToLower(whynot.MACPart(w.asked)), ":", "")
	}
	if w.device = w.ip.IsValid() || w.mac != ""; !w.device {
		return nil
	}
	where, arg := "mac LIKE $2", "%"+w.mac+"%"
	if w.ip.IsValid() {
		where, arg = "ip = $2", w.ip.String()
	}
	found, err := w.t.one(`SELECT account FROM session WHERE site = $1 AND account <> '' AND `+where+` ORDER BY CASE WHEN state = 'closed' THEN 1 ELSE 0 END, started_at DESC LIMIT 1`,
		[]any{string(w.site), arg}, &w.account)
	for _, r := range failed {
		if err != nil || found {
			return err
		}
		if w.of(r) && !r.Appeared() {
			if found, w.account = true, r.Account; w.account == "" {
				w.account, err = w.t.named(w.site, r.Username)
			}
		}
	}
	return err
}

// of reports whether a failed login was on the device that was asked for.
func (w *asking) of(r hotspot.Reject) bool {
	return w.ip.IsValid() && r.IP == w.ip || w.mac != "" && strings.Contains(macText(r.MAC), w.mac)
}

// concerns reports whether a failed login was of whoever is asked for.
func (w *asking) concerns(r hotspot.Reject, g *hotspot.Guest) bool {
	switch {
	case g != nil && r.Account == g.Account.ID:
		return true
	case g != nil:
		return r.Username != "" && hotspot.LoginKey(g.Account.Kind, r.Username) == hotspot.LoginKey(g.Account.Kind, g.Account.Username)
	case w.device:
		return w.of(r)
	}
	return r.Username != "" && hotspot.LoginKey(hotspot.Voucher, r.Username) == hotspot.LoginKey(hotspot.Voucher, w.asked)
}

// named is the account of a login name; "" for nobody.
func (t *tx) named(site hotspot.SiteID, asked string) (best hotspot.AccountID, err error) {
	kinds := []hotspot.AccountKind{hotspot.User, hotspot.Voucher, hotspot.Device}
	args := []any{string(site)}
	for _, k := range kinds {
		args = append(args, hotspot.LoginKey(k, asked))
	}
	at := len(kinds)
	err = t.each(`SELECT id, kind, login_key FROM account WHERE site = $1 AND login_key IN ($2, $3, $4)`, args, func(scan func(...any) error) error {
		var id hotspot.AccountID
		var kind hotspot.AccountKind
		var key string
		err := scan(&id, &kind, &key)
		if i := slices.Index(kinds, kind); i >= 0 && i < at && key == hotspot.LoginKey(kind, asked) {
			best, at = id, i
		}
		return err
	})
	return best, err
}

// guestOf is an account of the site with all that is known of it; nil where it is gone.
func (t *tx) guestOf(site hotspot.SiteID, id hotspot.AccountID) (*hotspot.Guest, error) {
	g := []hotspot.Guest{{Site: site}}
	found, err := t.one(`SELECT id, kind, username, note FROM account WHERE site = $1 AND id = $2`, []any{string(site), string(id)},
		&g[0].Account.ID, &g[0].Account.Kind, &g[0].Account.Username, &g[0].Account.Note)
	if err != nil || !found {
		return nil, err
	}
	if err := t.complete(site, g); err != nil {
		return nil, err
	}
	return &g[0], nil
}

// namesCompared bounds the names held against a misspelt one, the newest first.
const namesCompared = 20_000

func (t *tx) similar(site hotspot.SiteID, asked string) ([]string, error) {
	var names []string
	err := t.each(`SELECT username FROM account WHERE site = $1 ORDER BY id DESC LIMIT $2`, []any{string(site), namesCompared}, func(scan func(...any) error) error {
		var n string
		err := scan(&n)
		names = append(names, n)
		return err
	})
	return whynot.Closest(asked, names), err
}
