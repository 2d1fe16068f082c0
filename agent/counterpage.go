package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"iwas/agent/aaa"
	"iwas/agent/router"
	"iwas/agent/statuspage"
	"iwas/agent/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// counterDesk is the counter of the status page: what commands do, for who signed in
// (statuspage.Counter, statuspage.Till).
type counterDesk struct {
	db      *store.DB
	now     func() time.Time
	waiting func() []router.Waiting // who is not proven off, an attempt having failed
	left    func(hotspot.Pass, time.Time) (aaa.Left, hotspot.Reason)
}

// guestsFound is how many the page is given: one more than it shows.
const guestsFound = 21

func (c counterDesk) Find(ctx context.Context, text string) ([]statuspage.Guest, error) {
	found, err := c.db.Find(ctx, text, guestsFound)
	out := make([]statuspage.Guest, 0, len(found))
	for _, f := range found {
		if err != nil {
			break
		}
		var g statuspage.Guest
		if g, err = c.guest(ctx, f.ID, f.Username); fault.Is(err, fault.NotFound) { // went meanwhile
			err = nil
			continue
		}
		out = append(out, g)
	}
	return out, err
}

func (c counterDesk) Guest(ctx context.Context, id hotspot.AccountID) (statuspage.Guest, error) {
	name, err := c.db.NameOf(ctx, id)
	if err != nil {
		return statuspage.Guest{}, err
	}
	return c.guest(ctx, id, name)
}

func (c counterDesk) guest(ctx context.Context, id hotspot.AccountID, name string) (g statuspage.Guest, err error) {
	v, err := c.db.AccountNamed(ctx, name)
	if err != nil {
		return g, err
	}
	if v.Account.ID != id { // two have one name, and the other logs in with it
		return g, fault.New(fault.Conflict, "another guest logs in as "+name, nil).WithCode("", "Look at that one, or have one of them removed in the console.")
	}
	said, err := asker{db: c.db}.why(ctx, name, true)
	if err != nil {
		return g, err
	}
	g = statuspage.Guest{Account: v.Account, At: c.now(), Pass: v.Pass, CanLogIn: said.Can, Why: said.Why, Sessions: v.Sessions, Unsent: v.Unsent}
	if p := v.Pass; p != nil {
		left, reason := c.left(*p, g.At)
		g.TimeLeft, g.Over = left.Time, reason != hotspot.ReasonNone
		for _, d := range aaa.DataUses(p) {
			g.Data = append(g.Data, statuspage.DataLeft{Name: d.Name, Allowed: d.Allowed, Used: d.Used})
		}
	}
	g.Lock, err = c.lock(ctx, id)
	return g, err
}

// lock is what the store knows of a lock, and what the reconciler does about it now.
func (c counterDesk) lock(ctx context.Context, id hotspot.AccountID) (*statuspage.GuestLock, error) {
	l, err := c.db.LockNow(ctx, id)
	if err != nil || l == nil {
		return nil, err
	}
	out := &statuspage.GuestLock{Lock: l.Lock, ReceivedAt: l.ReceivedAt, Outcome: l.Outcome, Code: l.Code, Steps: l.Steps}
	for _, w := range c.waiting() {
		if w.Account == id && w.Lock && !l.Outcome.Final() {
			out.Tries, out.Code, out.Problem = w.Tries, w.Code, w.Err
		}
	}
	return out, nil
}

func (c counterDesk) Act(ctx context.Context, a statuspage.Act) error {
	name, err := c.db.NameOf(ctx, a.Guest)
	if err != nil {
		return err
	}
	in := accountAsk{Name: name, Reason: a.Reason}
	if a.What == statuspage.ActExtend {
		d, err := parseDuration(a.Time)
		if err != nil || d == 0 {
			return fault.New(fault.Invalid, fmt.Sprintf("%q is no time", a.Time), nil).WithCode("", "Choose one, or type it such as 45m, 2h, 1h30m or 1d.")
		}
		in.Seconds = int64(d / time.Second)
	}
	return doTo(ctx, c.db, a.What, in, a.By)
}

func (c counterDesk) Plans(ctx context.Context) (plans []hotspot.Plan, here bool, err error) {
	if plans, err = c.db.Plans(ctx); err != nil {
		return nil, false, err
	}
	here, err = c.db.MakesPlans(ctx)
	return plans, here, err
}

// planOf reads a plan as it was typed.
func planOf(t statuspage.PlanTyped) (p hotspot.Plan, err error) {
	bad := func(field string, err error) error {
		return fault.New(fault.Invalid, field, err).WithCode("", "Correct it and send the form again.")
	}
	doc := wire.PlanDoc{Name: t.Name}
	if t.Price != "" {
		m, err := hotspot.ParseMoney(t.Price, t.Currency)
		if err != nil {
			return p, bad("the price", err)
		}
		doc.PriceMinor, doc.Currency = m.Minor, m.Currency
	}
	for _, f := range []struct {
		name, text string
		to         *int64
	}{{"the time", t.Time, &doc.Limits.TimeS}, {"to be used within", t.Validity, &doc.Limits.ValidityS}} {
		if f.text == "" {
			continue
		}
		d, err := parseDuration(f.text)
		if err != nil {
			return p, bad(f.name, err)
		}
		*f.to = int64(d / time.Second)
	}
	if t.Metered {
		doc.Limits.Clock = hotspot.Metered
	}
	doc.Limits.Rate = t.Rate
	if doc.Limits.Total, err = parseOctets(t.Data); err != nil {
		return p, bad("the data", err)
	}
	if doc.Limits.Devices, err = strconv.Atoi(cmp.Or(t.Devices, "1")); err != nil || doc.Limits.Devices < 1 {
		return p, bad(fmt.Sprintf("%q is not how many devices may be on at once", t.Devices), nil)
	}
	limits, err := doc.Limits.Limits()
	if err != nil {
		return p, bad("the plan", err)
	}
	return hotspot.Plan{Name: doc.Name, Price: hotspot.Money{Minor: doc.PriceMinor, Currency: doc.Currency}, Limits: limits}, nil
}

func (c counterDesk) MakePlan(ctx context.Context, t statuspage.PlanTyped, by hotspot.Staff) error {
	p, err := planOf(t)
	if err == nil {
		_, err = c.db.SetPlan(ctx, p, by)
	}
	return err
}

func (c counterDesk) Sell(ctx context.Context, s statuspage.Sale) error {
	ask := store.SaleAsk{Plan: string(s.Plan), User: s.User, Password: s.Password, Count: s.Count, Note: s.Note, By: s.By, Shown: &s.Shown}
	if s.To != "" {
		var err error
		if ask.To, err = c.db.NameOf(ctx, s.To); err != nil {
			return err
		}
	}
	_, err := c.db.Sell(ctx, ask)
	return err
}

func (c counterDesk) Sold(ctx context.Context, form string) ([]statuspage.Sold, error) {
	sold, err := c.db.SoldBy(ctx, form)
	out := make([]statuspage.Sold, len(sold))
	for i, one := range sold {
		out[i] = statuspage.Sold{Sale: one.Sale, Password: one.Password, Limits: one.Limits, ValidUntil: one.ValidUntil}
	}
	return out, err
}

// salesOfADay bounds what the page adds up.
const salesOfADay = 5000

func (c counterDesk) Sales(ctx context.Context, since time.Time) ([]hotspot.Sale, error) {
	return c.db.Sales(ctx, since, salesOfADay)
}
