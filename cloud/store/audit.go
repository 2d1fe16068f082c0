package store

import (
	"context"
	"encoding/json"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// Entry is one line of the audit: who changed what.
type Entry struct {
	ID      string
	Site    hotspot.SiteID // "" for the whole organization
	At      time.Time
	Who     string // as people know them
	What    string // "account.locked"
	Subject string // id of what was changed
	Was     string // JSON, "" if nothing
	Became  string // JSON, "" if nothing
}

// Audit returns an organization's newest changes, the newest first.
func (db *DB) Audit(ctx context.Context, org hotspot.OrganizationID, limit int) (entries []Entry, err error) {
	err = db.read(ctx, "audit", func(t *tx) error {
		entries = nil
		return t.each(`SELECT id, site, at, who, what, subject, was, became FROM audit WHERE organization = $1 ORDER BY id DESC LIMIT $2`,
			[]any{string(org), min(max(limit, 1), 1000)}, func(scan func(...any) error) error {
				var e Entry
				var ms int64
				err := scan(&e.ID, &e.Site, &ms, &e.Who, &e.What, &e.Subject, &e.Was, &e.Became)
				e.At = at(ms)
				entries = append(entries, e)
				return err
			})
	})
	return entries, err
}

// audit records who changed what; was and became are shown as JSON, nil is
// nothing. Secrets must not be in them.
func (t *tx) audit(actor hotspot.Operator, site hotspot.SiteID, what, subject string, was, became any) error {
	org := actor.Organization
	text := func(v any) (string, error) {
		if v == nil {
			return "", nil
		}
		b, err := json.Marshal(v)
		return string(b), err
	}
	before, err := text(was)
	if err != nil {
		return fault.New(fault.Internal, "encode audit", err)
	}
	after, err := text(became)
	if err != nil {
		return fault.New(fault.Internal, "encode audit", err)
	}
	return t.exec(`INSERT INTO audit (organization, id, site, at, who_id, who, what, subject, was, became)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		string(org), hotspot.NewID(t.now), string(site), ms(t.now), actor.ID, nameOf(actor), what, subject, before, after)
}

// nameOf is an operator as people know them.
func nameOf(o hotspot.Operator) string {
	if o.Name != "" {
		return o.Name
	}
	return o.Email
}
