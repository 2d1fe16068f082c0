package store

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// CreateSite makes a site of the actor's organization. Its first documents are
// itself and the organization's plans.
func (db *DB) CreateSite(ctx context.Context, actor hotspot.Operator, s hotspot.Site) (hotspot.Site, error) {
	s.Name = strings.TrimSpace(s.Name)
	if s.TimeZone == "" {
		s.TimeZone = "UTC"
	}
	if s.Language == "" {
		s.Language = "en"
	}
	if _, err := time.LoadLocation(s.TimeZone); err != nil || s.Name == "" || !currency(s.Currency) {
		return s, fault.New(fault.Invalid, "store: create site: a name, a time zone such as Africa/Cairo and a currency such as EGP are needed", err)
	}
	s.Organization = actor.Organization
	err := db.write(ctx, "create site", func(t *tx) error {
		s.ID = hotspot.SiteID(hotspot.NewID(t.now))
		var organization string
		found, err := t.one(`SELECT name FROM organization WHERE id = $1`, []any{string(s.Organization)}, &organization)
		if err == nil && !found {
			err = notFound("organization", string(s.Organization))
		}
		if err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO site (id, organization, name, time_zone, currency, language, lineage, rev, hash, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', $8)`, string(s.ID), string(s.Organization), s.Name, s.TimeZone, s.Currency, s.Language,
			hotspot.NewID(t.now), ms(t.now)); err != nil {
			return err
		}
		if err := t.firstDocuments(s, organization); err != nil {
			return err
		}
		return t.audit(actor, s.ID, "site.created", string(s.ID), nil, map[string]string{"name": s.Name, "time_zone": s.TimeZone, "currency": s.Currency})
	})
	return s, err
}

func (t *tx) firstDocuments(s hotspot.Site, organization string) error {
	c, err := t.change(s.Organization, s.ID)
	if err != nil {
		return err
	}
	if err := c.put(wire.DocSite, string(s.ID), wire.SiteDoc{Name: s.Name, Organization: organization,
		TimeZone: s.TimeZone, Currency: s.Currency, Language: s.Language}); err != nil {
		return err
	}
	plans, err := t.plans(s.Organization)
	if err != nil {
		return err
	}
	for _, p := range plans {
		if err := c.put(wire.DocPlan, string(p.ID), planDoc(p)); err != nil {
			return err
		}
	}
	return c.finish()
}

// currency reports whether s has the shape of an ISO 4217 code.
func currency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// CreatePlan makes a plan, which every site of the organization gets.
func (db *DB) CreatePlan(ctx context.Context, actor hotspot.Operator, p hotspot.Plan) (hotspot.Plan, error) {
	p.Name = strings.TrimSpace(p.Name)
	if err := checkPlan(p); err != nil {
		return p, err
	}
	err := db.write(ctx, "create plan", func(t *tx) error {
		p.ID = hotspot.PlanID(hotspot.NewID(t.now))
		doc := planDoc(p)
		limits, err := json.Marshal(doc.Limits)
		if err != nil {
			return fault.New(fault.Internal, "encode limits", err)
		}
		if err := t.exec(`INSERT INTO plan (organization, id, name, price_minor, currency, limits, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			string(actor.Organization), string(p.ID), p.Name, p.Price.Minor, p.Price.Currency, string(limits), ms(t.now)); err != nil {
			return err
		}
		var sites []hotspot.SiteID
		err = t.each(`SELECT id FROM site WHERE organization = $1 ORDER BY id`, []any{string(actor.Organization)}, func(scan func(...any) error) error {
			var id hotspot.SiteID
			err := scan(&id)
			sites = append(sites, id)
			return err
		})
		if err != nil {
			return err
		}
		for _, site := range sites {
			c, err := t.change(actor.Organization, site)
			if err != nil {
				return err
			}
			if err := c.put(wire.DocPlan, string(p.ID), doc); err != nil {
				return err
			}
			if err := c.finish(); err != nil {
				return err
			}
		}
		return t.audit(actor, "", "plan.created", string(p.ID), nil, doc)
	})
	return p, err
}

func checkPlan(p hotspot.Plan) error {
	why := ""
	l := p.Limits
	switch {
	case p.Name == "" || len(p.Name) > 200:
		why = "a name of at most 200 octets is needed"
	case p.Price.Minor < 0 || p.Price.Currency != "" && !currency(p.Price.Currency):
		why = "the price must not be below zero, its currency a code such as EGP"
	case l.Time < 0 || l.Validity < 0 || l.IdleTimeout < 0 || l.Devices < 0 || l.Devices > 1000:
		why = "times and devices must not be below zero, and at most 1000 devices"
	case l.Time%time.Second != 0 || l.Validity%time.Second != 0 || l.IdleTimeout%time.Second != 0:
		why = "times are whole seconds"
	case l.Clock != "" && l.Clock != hotspot.Continuous && l.Clock != hotspot.Metered:
		why = "the clock is continuous or metered"
	}
	wrong := l.Validate()
	for _, field := range slices.Sorted(maps.Keys(wrong)) {
		why = field + ": " + wrong[field].Error()
	}
	if why != "" {
		return fault.New(fault.Invalid, "store: create plan: "+why, nil)
	}
	return nil
}

func planDoc(p hotspot.Plan) wire.PlanDoc {
	return wire.PlanDoc{Name: p.Name, PriceMinor: p.Price.Minor, Currency: p.Price.Currency, Limits: wire.FromLimits(p.Limits)}
}

// Plans returns an organization's plans, the oldest first.
func (db *DB) Plans(ctx context.Context, org hotspot.OrganizationID) (plans []hotspot.Plan, err error) {
	err = db.read(ctx, "plans", func(t *tx) error {
		plans, err = t.plans(org)
		return err
	})
	return plans, err
}

func (t *tx) plans(org hotspot.OrganizationID) (plans []hotspot.Plan, err error) {
	err = t.each(`SELECT id, name, price_minor, currency, limits FROM plan WHERE organization = $1 ORDER BY created_at, id`,
		[]any{string(org)}, func(scan func(...any) error) error {
			p, err := scanPlan(scan)
			plans = append(plans, p)
			return err
		})
	return plans, err
}

func scanPlan(scan func(...any) error) (p hotspot.Plan, err error) {
	var limits string
	if err = scan(&p.ID, &p.Name, &p.Price.Minor, &p.Price.Currency, &limits); err == nil {
		p.Limits, err = parseLimits(limits)
	}
	return p, err
}

func parseLimits(text string) (hotspot.Limits, error) {
	var b wire.LimitsBody
	err := json.Unmarshal([]byte(text), &b)
	if err == nil {
		var l hotspot.Limits
		if l, err = b.Limits(); err == nil {
			return l, nil
		}
	}
	return hotspot.Limits{}, fault.New(fault.Damaged, "stored limits", err)
}
