package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// SetSpeed gives an account's pass another speed. It is done when it returns
// that far: the site hears of it, and says what became of the open sessions.
func (db *DB) SetSpeed(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, rate hotspot.RateLimit) error {
	if err := rate.Validate(); err != nil {
		return fault.New(fault.Invalid, "store: speed", err).WithCode("", "Give upload/download, such as 2M/10M or 512k/2M.")
	}
	return db.adjust(ctx, actor, account, "account.speed", func(p hotspot.Pass, _ time.Time) (hotspot.Adjustment, any, any, error) {
		return hotspot.Adjustment{SetRate: true, Rate: rate}, map[string]string{"rate": p.Limits.Rate.String()}, map[string]string{"rate": rate.String()}, nil
	})
}

// Extend gives an account's pass more time: d more than is left, or d from now on
// when it is over.
func (db *DB) Extend(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, d time.Duration, reason string) error {
	reason = strings.TrimSpace(reason)
	if err := checkReason(reason); err != nil {
		return err
	}
	return db.adjust(ctx, actor, account, "account.extended", func(p hotspot.Pass, now time.Time) (hotspot.Adjustment, any, any, error) {
		a, err := p.Extension(d, now)
		switch {
		case errors.Is(err, hotspot.ErrEndless):
			err = fault.New(fault.Conflict, "store: extend", err).WithCode("", "Nothing to do: this guest's time has no limit.")
		case err != nil:
			err = fault.New(fault.Invalid, "store: extend", err).WithCode("", "Give from one minute to 366 days.")
		}
		return a, nil, map[string]any{"seconds": int64(d / time.Second), "reason": reason}, err
	})
}

// adjust changes the pass in use of an account, in one revision.
func (db *DB) adjust(ctx context.Context, actor hotspot.Operator, account hotspot.AccountID, what string,
	make func(p hotspot.Pass, now time.Time) (a hotspot.Adjustment, was, became any, err error)) error {
	return db.write(ctx, what, func(t *tx) error {
		site, err := t.siteOf(actor.Organization, account)
		if err != nil {
			return err
		}
		c, err := t.change(actor.Organization, site)
		if err != nil {
			return err
		}
		p, err := t.passInUse(site, account)
		if err != nil {
			return err
		}
		a, was, became, err := make(p, t.now)
		if err != nil {
			return err
		}
		if _, err := c.adjustPass(p.ID, a); err != nil {
			return err
		}
		if err := c.finish(); err != nil {
			return err
		}
		return t.audit(actor, site, what, string(account), was, became)
	})
}

// passInUse returns the pass of the account's newest open session, else its
// newest one, with the usage the site reported.
func (t *tx) passInUse(site hotspot.SiteID, account hotspot.AccountID) (p hotspot.Pass, err error) {
	var limits string
	var until, first, used int64
	found, err := t.one(`SELECT p.id, p.limits, p.valid_until, COALESCE(u.first_used_at, 0), COALESCE(u.time_ms, 0)
		FROM pass p LEFT JOIN pass_usage u ON u.site = p.site AND u.pass = p.id
		LEFT JOIN session s ON s.site = p.site AND s.account = p.account AND s.pass = p.id AND s.state IN ('live', 'suspect')
		WHERE p.site = $1 AND p.account = $2 ORDER BY COALESCE(s.started_at, 0) DESC, p.id DESC LIMIT 1`,
		[]any{string(site), string(account)}, &p.ID, &limits, &until, &first, &used)
	if err != nil {
		return p, err
	}
	if !found {
		return p, fault.New(fault.Conflict, "store: this guest has no pass", nil).WithCode("", "Sell one first.")
	}
	p.Account, p.ValidUntil = account, at(until)
	p.Usage = hotspot.Usage{FirstUsed: at(first), Time: duration(used)}
	p.Limits, err = parseLimits(limits)
	return p, err
}

// adjustPass applies an adjustment to a pass's row and document. One that was
// made on site is named in the document, and applied only once. known is false
// for a pass that is not here.
func (c *change) adjustPass(id hotspot.PassID, a hotspot.Adjustment) (known bool, err error) {
	old, held, err := c.held(wire.DocPass, string(id))
	if err != nil || !held {
		return false, err
	}
	var doc wire.PassDoc
	if err := unmarshal(string(old.Body), &doc); err != nil {
		return true, err
	}
	if a.ID != "" {
		if slices.Contains(doc.Adjusted, a.ID) {
			return true, nil
		}
		doc.Adjusted = append(doc.Adjusted, a.ID)
	}
	p := hotspot.Pass{ValidUntil: doc.ValidUntil}
	if p.Limits, err = doc.Limits.Limits(); err != nil {
		return true, fault.New(fault.Damaged, "document of pass "+string(id), err)
	}
	p.Adjust(a)
	doc.Limits, doc.ValidUntil = wire.FromLimits(p.Limits), p.ValidUntil
	limits, err := marshal(doc.Limits)
	if err != nil {
		return true, err
	}
	if err := c.t.exec(`UPDATE pass SET limits = $3, valid_until = $4 WHERE site = $1 AND id = $2`,
		string(c.site), string(id), limits, ms(p.ValidUntil)); err != nil {
		return true, err
	}
	return true, c.put(wire.DocPass, string(id), doc)
}

// adjusted folds what staff changed on site into the wanted state, once: the
// event's id was never seen before, and the document names it from then on.
func (f *facts) adjusted(e wire.Event, b wire.AdjustedBody) error {
	a, err := b.Adjustment(e.ID, e.At)
	if err != nil {
		return unreadablef("account.adjusted: %v", err)
	}
	var org hotspot.OrganizationID
	lost := false
	if !a.Once {
		c, err := f.t.change("", f.site)
		if err != nil {
			return err
		}
		org = c.org
		known, err := c.adjustPass(a.Pass, a)
		if err != nil {
			return err
		}
		if err := c.finish(); err != nil {
			return err
		}
		lost = !known
	} else if _, err := f.t.one(`SELECT organization FROM site WHERE id = $1`, []any{string(f.site)}, &org); err != nil {
		return err
	}
	what, became := "account.extended", map[string]any{"seconds": b.AskedS, "reason": text200(b.Reason), "on_site": true}
	if a.SetRate {
		what, became = "account.speed", map[string]any{"rate": a.Rate.String(), "once": a.Once, "on_site": true}
	}
	if lost {
		became["remark"] = "the pass was removed in the console before the site told of this: nothing came of it"
	}
	return f.t.audit(hotspot.Operator{Organization: org, Name: text200(b.By)}, f.site, what, string(b.Account), nil, became)
}

// sessionChanged writes the newest word on a session, after what was said of it before.
func (f *facts) sessionChanged(b wire.SessionChanged) error {
	if !name(string(b.Session), maxEventID) {
		return unreadablef("a change of no session")
	}
	for _, rate := range []string{b.Wanted, b.Rate} {
		if _, err := hotspot.ParseRateLimit(rate); err != nil {
			return unreadablef("session.changed: %v", err)
		}
	}
	if _, waits := f.sessions[b.Session]; waits {
		if err := f.writeSessions(); err != nil {
			return err
		}
	}
	return f.t.exec(`UPDATE session SET rate = $3, change_wanted = $4, change_outcome = $5, change_code = $6, change_detail = $7, changed_at = $8
		WHERE site = $1 AND id = $2`, string(f.site), string(b.Session), rateText(b.Rate), rateText(b.Wanted), text200(string(b.Outcome)),
		text200(b.Code), text200(b.Detail), ms(b.At))
}

// rateText is a speed as stored: no limit is 0/0, so that "" is "not reported".
func rateText(rate string) string {
	if rate == "" {
		return "0/0"
	}
	return rate
}

// changeOf reads what a session runs at and what became of changing it.
func changeOf(s *hotspot.Session, rate, wanted, outcome, code, detail string, changed int64) error {
	if rate == "" {
		return nil
	}
	r, err := hotspot.ParseRateLimit(rate)
	if err != nil {
		return fault.New(fault.Damaged, "speed of session "+string(s.ID), err)
	}
	s.Rate = &r
	if outcome == "" {
		return nil
	}
	w, err := hotspot.ParseRateLimit(wanted)
	if err != nil {
		return fault.New(fault.Damaged, "wanted speed of session "+string(s.ID), err)
	}
	s.Changed = &hotspot.Changed{Session: s.ID, Want: hotspot.Terms{Rate: w}, Now: hotspot.Terms{Rate: r},
		Outcome: hotspot.ChangeOutcome(outcome), Code: code, Detail: detail, At: at(changed)}
	return nil
}
