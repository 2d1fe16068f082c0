package store

import (
	"context"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// onSite is the actor of what staff of a site did, as the audit names them.
func onSite(org hotspot.OrganizationID, w wire.Who) hotspot.Operator {
	s := w.Staff()
	s.Name = text200(s.Name)
	if s.Role != hotspot.Cashier && s.Role != hotspot.Technician {
		s.Role = ""
	}
	if s.Name == "" {
		s.Name = "site"
	}
	return hotspot.Operator{Organization: org, Name: s.String()}
}

// planMade takes in a plan of a site that had no cloud: it is the organization's from
// now on. One that the console has made its own since is not touched.
func (f *facts) planMade(b wire.PlanMade) error {
	limits, err := b.Limits.Limits()
	p := hotspot.Plan{ID: b.ID, Name: text200(strings.TrimSpace(b.Name)), Price: hotspot.Money{Minor: b.PriceMinor, Currency: b.Currency}, Limits: limits}
	if err == nil {
		err = checkPlan(p)
	}
	if err != nil || !name(string(b.ID), maxEventID) {
		return unreadablef("plan.made: %v", err)
	}
	c, err := f.t.change("", f.site)
	if err != nil {
		return err
	}
	doc := planDoc(p)
	text, err := marshal(doc.Limits)
	if err != nil {
		return err
	}
	n, err := f.t.touched(`INSERT INTO plan (organization, id, name, price_minor, currency, limits, created_at, made_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (organization, id) DO UPDATE SET name = excluded.name, price_minor = excluded.price_minor, currency = excluded.currency, limits = excluded.limits
		WHERE plan.made_by = $8`, string(c.org), string(p.ID), p.Name, p.Price.Minor, p.Price.Currency, text, ms(f.t.now), string(f.site))
	if err != nil || n == 0 {
		return closed(c, err)
	}
	if err := closed(c, c.put(wire.DocPlan, string(p.ID), doc)); err != nil {
		return err
	}
	if err := f.elsewhere(c.org, func(c *change) error { return c.put(wire.DocPlan, string(p.ID), doc) }); err != nil {
		return err
	}
	return f.t.audit(onSite(c.org, b.Who), f.site, "plan.created", string(p.ID), nil, doc)
}

// planRemoved follows a site that took one of its own plans out of its sale while it
// had no cloud.
func (f *facts) planRemoved(b wire.PlanRemoved) error {
	c, err := f.t.change("", f.site)
	if err != nil {
		return err
	}
	n, err := f.t.touched(`DELETE FROM plan WHERE organization = $1 AND id = $2 AND made_by = $3`, string(c.org), string(b.ID), string(f.site))
	if err != nil || n == 0 {
		return closed(c, err)
	}
	if err := closed(c, c.remove(wire.DocPlan, string(b.ID))); err != nil {
		return err
	}
	if err := f.elsewhere(c.org, func(c *change) error { return c.remove(wire.DocPlan, string(b.ID)) }); err != nil {
		return err
	}
	return f.t.audit(onSite(c.org, b.Who), f.site, "plan.removed", string(b.ID), nil, nil)
}

// closed ends a change that went well so far.
func closed(c *change, err error) error {
	if err != nil {
		return err
	}
	return c.finish()
}

// elsewhere changes the other sites of an organization alike.
func (f *facts) elsewhere(org hotspot.OrganizationID, do func(*change) error) error {
	var sites []hotspot.SiteID
	err := f.t.each(`SELECT id FROM site WHERE organization = $1 AND id <> $2 ORDER BY id`, []any{string(org), string(f.site)}, func(scan func(...any) error) error {
		var id hotspot.SiteID
		err := scan(&id)
		sites = append(sites, id)
		return err
	})
	for _, site := range sites {
		if err != nil {
			return err
		}
		var c *change
		if c, err = f.t.change(org, site); err == nil {
			err = closed(c, do(c))
		}
	}
	return err
}

// saleMade takes in a sale of the counter: the sale, the account that is new with it,
// and the pass, each under the id it has on site. It may be told again.
func (f *facts) saleMade(e wire.Event, b wire.SaleMade) error {
	if err := b.Check(); err != nil {
		return unreadablef("sale.made: %v", err)
	}
	if !name(string(b.ID), maxEventID) || !name(string(b.Account), maxEventID) || !name(string(b.Pass), maxEventID) || b.Currency != "" && !currency(b.Currency) {
		return unreadablef("sale.made: an id that is not a name, or a currency that is none")
	}
	c, err := f.t.change("", f.site)
	if err != nil {
		return err
	}
	b.Username, b.PassDoc.PlanName = text200(b.Username), text200(b.PassDoc.PlanName)
	remark := ""
	if b.New != nil {
		if remark, err = c.accountMade(b); err != nil {
			return err
		}
	}
	held, err := c.hasAccount(b.Account)
	if err != nil {
		return err
	}
	if held {
		err = c.passMade(b)
	} else {
		remark = "The guest was removed in the console before the site told of this sale: no pass came of it."
	}
	if err == nil {
		err = c.finish()
	}
	if err != nil {
		return err
	}
	by := onSite(c.org, b.Who)
	at := f.asOf(e.At)
	if at == 0 {
		at = ms(f.t.now)
	}
	n, err := f.t.sale(f.site, hotspot.Sale{ID: b.ID, By: hotspot.Staff{Name: text200(b.By), Role: b.Role, At: text200(b.Via)}, Plan: b.PassDoc.Plan, PlanName: b.PassDoc.PlanName,
		Price: hotspot.Money{Minor: b.PriceMinor, Currency: b.Currency}, Account: b.Account, Username: b.Username, Pass: b.Pass, New: b.New != nil, OnSite: true, Remark: remark}, at)
	if err != nil || n == 0 {
		return err
	}
	became := map[string]any{"username": b.Username, "plan": b.PassDoc.PlanName, "price_minor": b.PriceMinor, "currency": b.Currency, "on_site": true}
	if remark != "" {
		became["remark"] = remark
	}
	return f.t.audit(by, f.site, "sale.made", string(b.Account), nil, became)
}

func (c *change) hasAccount(id hotspot.AccountID) (bool, error) {
	var one int64
	return c.t.one(`SELECT 1 FROM account WHERE site = $1 AND id = $2`, []any{string(c.site), string(id)}, &one)
}

// accountMade makes the account of a sale, under its id. Where its name is taken by
// another account of the site it gets the next that is free: two guests never share one.
func (c *change) accountMade(b wire.SaleMade) (remark string, err error) {
	held, err := c.hasAccount(b.Account)
	if err != nil || held {
		return "", err
	}
	a := hotspot.Account{ID: b.Account, Kind: b.New.Kind, Username: text200(b.New.Username), Note: textOf(b.New.Note, maxText)}
	for n := 2; ; n++ {
		var one int64
		taken, err := c.t.one(`SELECT 1 FROM account WHERE site = $1 AND login_key = $2`, []any{string(c.site), hotspot.LoginKey(a.Kind, a.Username)}, &one)
		if err != nil {
			return "", err
		}
		if !taken {
			break
		}
		a.Username = nextName(b.New.Username, n)
		remark = "The name " + text200(b.New.Username) + " is another guest's here: this one is now called " + a.Username + "."
	}
	if err := c.t.exec(`INSERT INTO account (site, id, kind, username, login_key, password, note, search, created_at)
		VALUES ($1, $2, $3, $4, $5, '', $6, $7, $8)`, string(c.site), string(a.ID), string(a.Kind), a.Username, hotspot.LoginKey(a.Kind, a.Username), a.Note,
		searchText(a), ms(c.t.now)); err != nil {
		return "", err
	}
	if a.Kind == hotspot.User {
		return remark, nil // its document comes with its password: one without is not in force
	}
	return remark, c.putAccount(a, "")
}

func nextName(name string, n int) string {
	suffix := "-" + string(rune('0'+n%10))
	for ; n >= 10; n /= 10 {
		suffix = "-" + string(rune('0'+n/10%10)) + suffix[1:]
	}
	return textOf(name, maxUsername-len(suffix)) + suffix
}

// passMade makes the pass of a sale, unless it is there. What the site could not say,
// since its date was not known to be right, counts from now.
func (c *change) passMade(b wire.SaleMade) error {
	_, held, err := c.held(wire.DocPass, string(b.Pass))
	if err != nil || held {
		return err
	}
	doc := b.PassDoc
	limits, err := doc.Limits.Limits()
	if err != nil {
		return unreadablef("sale.made: %v", err)
	}
	if doc.SoldAt.IsZero() {
		doc.SoldAt = c.t.now.UTC()
		if doc.ValidUntil.IsZero() && limits.Validity > 0 {
			doc.ValidUntil = doc.SoldAt.Add(limits.Validity)
		}
	}
	text, err := marshal(doc.Limits)
	if err != nil {
		return err
	}
	if err := c.t.exec(`INSERT INTO pass (site, id, account, plan, plan_name, limits, valid_from, valid_until, sold_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (site, id) DO NOTHING`, string(c.site), string(b.Pass), string(b.Account), string(doc.Plan), doc.PlanName,
		text, ms(doc.ValidFrom), ms(doc.ValidUntil), ms(doc.SoldAt)); err != nil {
		return err
	}
	return c.put(wire.DocPass, string(b.Pass), doc)
}

// accountPassword completes a user made on site.
func (f *facts) accountPassword(b wire.AccountPassword) error {
	text, err := f.t.db.o.Key.Open(b.Password)
	if err != nil || len(text) > maxPassword {
		return unreadablef("account.password: not sealed to this cloud's key")
	}
	sealed, err := f.t.db.o.Key.Public().Seal(text)
	if err != nil {
		return fault.New(fault.Internal, "seal password", err)
	}
	c, err := f.t.change("", f.site)
	if err != nil {
		return err
	}
	a := hotspot.Account{ID: b.Account}
	found, err := f.t.one(`UPDATE account SET password = $3 WHERE site = $1 AND id = $2 AND kind = 'user' AND password = '' RETURNING kind, username, note`,
		[]any{string(f.site), string(b.Account), sealed}, &a.Kind, &a.Username, &a.Note)
	if err == nil && found {
		err = c.putAccount(a, hotspot.Password(text))
	}
	return closed(c, err)
}

// lockSet takes in a lock of the counter. Where the account is locked already that
// lock stays; of a lock and a pause the lock.
func (f *facts) lockSet(b wire.LockSet) error {
	c, err := f.t.change("", f.site)
	if err != nil {
		return err
	}
	by := onSite(c.org, b.Who)
	requested := b.At
	if requested.IsZero() {
		requested = f.t.now
	}
	held, err := c.hasAccount(b.Account)
	if err != nil {
		return err
	}
	made := false
	if held {
		made, err = c.lock(hotspot.Lock{Account: b.Account, By: by.Name, Reason: text200(b.Reason), At: requested, Pause: b.Pause})
	}
	if err := closed(c, err); err != nil {
		return err
	}
	became := map[string]any{"reason": text200(b.Reason), "on_site": true}
	switch {
	case !held:
		became["remark"] = "the guest was removed in the console before the site told of this"
	case !made:
		became["remark"] = "the guest was locked in the console too; that lock stays"
	}
	what := "account.locked"
	if b.Pause {
		what = "account.paused"
	}
	return f.t.audit(by, f.site, what, string(b.Account), nil, became)
}

// lockLifted lifts the lock that a person on site saw and lifted. Another one, set
// here meanwhile, stays: it is the stricter side.
func (f *facts) lockLifted(b wire.LockLifted) error {
	c, err := f.t.change("", f.site)
	if err != nil {
		return err
	}
	by := onSite(c.org, b.Who)
	n, err := f.t.touched(`UPDATE account_lock SET lifted_at = $3, lifted_by = $4, lifted_reason = $5
		WHERE site = $1 AND account = $2 AND lifted_at = 0 AND locked_by = $6 AND requested_at = $7`,
		string(f.site), string(b.Account), ms(f.t.now), by.Name, text200(b.Reason), text200(b.LockedBy), ms(b.LockedAt))
	if err != nil {
		return err
	}
	if n > 0 {
		err = c.remove(wire.DocLock, string(b.Account))
	}
	if err := closed(c, err); err != nil {
		return err
	}
	became := map[string]any{"reason": text200(b.Reason), "on_site": true}
	if n == 0 {
		locked, err := f.t.one(`SELECT locked_by FROM account_lock WHERE site = $1 AND account = $2 AND lifted_at = 0`, []any{string(f.site), string(b.Account)}, new(string))
		if err != nil {
			return err
		}
		if locked {
			became["remark"] = "another lock was set meanwhile, which stays until somebody lifts it"
		}
	}
	return f.t.audit(by, f.site, "account.unlocked", string(b.Account), map[string]string{"by": text200(b.LockedBy)}, became)
}

func (f *facts) kickedOnSite(b wire.AccountKicked) error {
	var org hotspot.OrganizationID
	if _, err := f.t.one(`SELECT organization FROM site WHERE id = $1`, []any{string(f.site)}, &org); err != nil {
		return err
	}
	return f.t.audit(onSite(org, b.Who), f.site, "account.kicked", string(b.Account), nil, map[string]any{"sessions": b.Sessions, "on_site": true})
}

// counter applies what staff did at a counter; ours is false for another event.
func (f *facts) counter(e wire.Event) (ours bool, err error) {
	switch e.Kind {
	case wire.EventPlanMade:
		return true, with(e, f.planMade)
	case wire.EventPlanRemoved:
		return true, with(e, f.planRemoved)
	case wire.EventSaleMade:
		return true, with(e, func(b wire.SaleMade) error { return f.saleMade(e, b) })
	case wire.EventAccountPassword:
		return true, with(e, f.accountPassword)
	case wire.EventLockSet:
		return true, with(e, f.lockSet)
	case wire.EventLockLifted:
		return true, with(e, f.lockLifted)
	case wire.EventAccountKicked:
		return true, with(e, f.kickedOnSite)
	}
	return false, nil
}

// sale keeps a sale, once.
func (t *tx) sale(site hotspot.SiteID, s hotspot.Sale, at int64) (int64, error) {
	if s.By.Role != hotspot.Cashier && s.By.Role != hotspot.Technician && s.OnSite {
		s.By.Role = ""
	}
	return t.touched(`INSERT INTO sale (site, id, at, sold_by, role, via, plan, plan_name, price_minor, currency, account, username, pass, is_new, on_site, remark)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT (site, id) DO NOTHING`,
		string(site), string(s.ID), at, s.By.Name, string(s.By.Role), s.By.At, string(s.Plan), s.PlanName, s.Price.Minor, s.Price.Currency,
		string(s.Account), s.Username, string(s.Pass), flag(s.New), flag(s.OnSite), s.Remark)
}

// soldHere keeps what the console sold with a new account.
func (t *tx) soldHere(actor hotspot.Operator, site hotspot.SiteID, a hotspot.Account, plan hotspot.Plan) error {
	var pass hotspot.PassID
	if _, err := t.one(`SELECT id FROM pass WHERE site = $1 AND account = $2`, []any{string(site), string(a.ID)}, &pass); err != nil {
		return err
	}
	_, err := t.sale(site, hotspot.Sale{ID: hotspot.SaleID(hotspot.NewID(t.now)), By: hotspot.Staff{Name: nameOf(actor), Role: actor.Role, At: "console"},
		Plan: plan.ID, PlanName: plan.Name, Price: plan.Price, Account: a.ID, Username: a.Username, Pass: pass, New: true}, ms(t.now))
	return err
}

// Sales returns what a site sold from one time to another, the newest first, and the
// sum of each currency over all of it.
func (db *DB) Sales(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, from, to time.Time, limit int, after string) (sales []hotspot.Sale, sums []hotspot.Money, next string, err error) {
	limit = min(max(limit, 1), 1000)
	err = db.read(ctx, "sales", func(t *tx) error {
		sales, sums, next = nil, nil, ""
		span := []any{string(site), string(org), ms(from), ms(to)}
		const of = ` FROM sale x JOIN site s ON s.id = x.site WHERE x.site = $1 AND s.organization = $2 AND x.at >= $3 AND x.at < $4`
		err := t.each(`SELECT x.currency, CAST(SUM(x.price_minor) AS BIGINT)`+of+` GROUP BY x.currency ORDER BY x.currency`, span, func(scan func(...any) error) error {
			var m hotspot.Money
			err := scan(&m.Currency, &m.Minor)
			sums = append(sums, m)
			return err
		})
		if err != nil {
			return err
		}
		err = t.each(`SELECT x.id, x.at, x.sold_by, x.role, x.via, x.plan, x.plan_name, x.price_minor, x.currency, x.account, x.username, x.pass, x.is_new, x.on_site, x.remark`+of+
			` AND ($5 = '' OR (x.at, x.id) < (SELECT y.at, y.id FROM sale y WHERE y.site = $1 AND y.id = $5)) ORDER BY x.at DESC, x.id DESC LIMIT $6`, append(span, after, limit+1), func(scan func(...any) error) error {
			s := hotspot.Sale{Site: site}
			var when, fresh, here int64
			err := scan(&s.ID, &when, &s.By.Name, &s.By.Role, &s.By.At, &s.Plan, &s.PlanName, &s.Price.Minor, &s.Price.Currency, &s.Account, &s.Username, &s.Pass, &fresh, &here, &s.Remark)
			s.At, s.New, s.OnSite = at(when), fresh == 1, here == 1
			sales = append(sales, s)
			return err
		})
		if len(sales) > limit {
			sales = sales[:limit]
			next = string(sales[limit-1].ID)
		}
		return err
	})
	return sales, sums, next, err
}
