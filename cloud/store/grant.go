package store

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	// grantsAtOnce is how many grants one change makes.
	grantsAtOnce = 5000
	// grantsOfSite is how many may be in force at a site.
	grantsOfSite = 20_000
	// grantsShown is how long one that is over is still listed.
	grantsShown = 24 * time.Hour
	// overAtOnce bounds the grants that one change clears away.
	overAtOnce = 1000
	// remarkLength is for why and who, in octets.
	remarkLength = 200
)

// CreateGrants makes grants of one site in one revision. It is done when it
// returns that far: the site hears of them, and says what became of each.
func (db *DB) CreateGrants(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, grants []hotspot.Grant) (made []hotspot.GrantStatus, err error) {
	if len(grants) == 0 || len(grants) > grantsAtOnce {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("store: %d grants at once, 1 to %d are taken", len(grants), grantsAtOnce), nil)
	}
	err = db.write(ctx, "create grants", func(t *tx) error {
		made = nil
		for i, g := range grants {
			if err := checkGrant(g, t.now); err != nil {
				return fault.New(fault.Invalid, fmt.Sprintf("store: grant %d of %d", i+1, len(grants)), err).
					WithCode("", "Give a list, an address or a network, and an end between a second and 366 days from now.")
			}
		}
		c, err := t.change(actor.Organization, site)
		if err != nil {
			return err
		}
		if err := c.dropOver(); err != nil {
			return err
		}
		if err := c.roomFor(len(grants)); err != nil {
			return err
		}
		for _, g := range grants {
			g.ID = hotspot.GrantID(hotspot.NewID(t.now))
			g.By, g.MadeAt, g.Until = nameOf(actor), t.now.UTC().Truncate(time.Millisecond), g.Until.UTC().Truncate(time.Millisecond)
			if err := c.grant(g, false); err != nil {
				return err
			}
			made = append(made, hotspot.GrantStatus{Grant: g, Site: site})
		}
		if err := c.finish(); err != nil {
			return err
		}
		subject, became := string(made[0].ID), map[string]any{"list": grants[0].List, "address": hotspot.FormatListAddress(grants[0].Address), "until": grants[0].Until.UTC(), "comment": grants[0].Comment}
		if len(grants) > 1 {
			became["grants"] = len(grants)
		}
		return t.audit(actor, site, "grant.made", subject, nil, became)
	})
	return made, err
}

func checkGrant(g hotspot.Grant, now time.Time) error {
	if err := hotspot.CheckListName(g.List); err != nil {
		return err
	}
	left := g.Until.Sub(now)
	switch {
	case !g.Address.IsValid() || g.Address.Bits() == 0:
		return fmt.Errorf("an address of nobody, or of everybody")
	case left < time.Second || left > hotspot.LongestGrant:
		return fmt.Errorf("it would last %s", left.Round(time.Second))
	case len(g.Comment) > remarkLength:
		return fmt.Errorf("a comment of more than %d characters", remarkLength)
	}
	return nil
}

func (c *change) roomFor(n int) error {
	var have int
	if _, err := c.t.one(`SELECT COUNT(*) FROM list_grant WHERE site = $1 AND ended_at = 0`, []any{string(c.site)}, &have); err != nil {
		return err
	}
	if have+n > grantsOfSite {
		return fault.New(fault.Conflict, fmt.Sprintf("store: a site has at most %d grants in force, and this one has %d", grantsOfSite, have), nil).
			WithCode("", "Remove some, or grant a network instead of its addresses.")
	}
	return nil
}

// grant writes a grant's row and, where its end is known, its document. One that
// ended stays so.
func (c *change) grant(g hotspot.Grant, onSite bool) error {
	rev := c.rev
	if g.Until.IsZero() {
		rev = 0
	}
	n, err := c.t.touched(`INSERT INTO list_grant (site, id, list, address, until, remark, asked_by, made_at, on_site, revision, state, state_at, ended_at, ended_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', 0, 0, '')
		ON CONFLICT (site, id) DO UPDATE SET until = excluded.until, revision = excluded.revision WHERE list_grant.ended_at = 0`,
		string(c.site), string(g.ID), g.List, g.Address.String(), ms(g.Until), g.Comment, g.By, ms(g.MadeAt), flag(onSite), rev)
	if err != nil || n == 0 || g.Until.IsZero() {
		return err
	}
	return c.put(wire.DocGrant, string(g.ID), wire.FromGrant(g))
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// end takes a grant out of force. by is "" for one that is over.
func (c *change) end(id hotspot.GrantID, at time.Time, by string) (was hotspot.GrantStatus, found bool, err error) {
	if was, found, err = c.t.grantOf(c.site, id); err != nil || !found || !was.EndedAt.IsZero() {
		return was, false, err
	}
	if err := c.t.exec(`UPDATE list_grant SET ended_at = $3, ended_by = $4 WHERE site = $1 AND id = $2`, string(c.site), string(id), ms(at), by); err != nil {
		return was, true, err
	}
	if was.Until.IsZero() { // it has no document: the site needs a tombstone all the same
		doc := wire.FromGrant(was.Grant)
		doc.Until = at.UTC().Truncate(time.Millisecond)
		if err := c.put(wire.DocGrant, string(id), doc); err != nil {
			return was, true, err
		}
	}
	return was, true, c.remove(wire.DocGrant, string(id))
}

// dropOver takes grants whose time is over out of the set. The site needs no
// word of it; the set must not grow for ever.
func (c *change) dropOver() error {
	over := map[hotspot.GrantID]int64{}
	err := c.t.each(`SELECT id, until FROM list_grant WHERE site = $1 AND ended_at = 0 AND until > 0 AND until <= $2 ORDER BY until LIMIT $3`,
		[]any{string(c.site), ms(c.t.now), overAtOnce}, func(scan func(...any) error) error {
			var id hotspot.GrantID
			var until int64
			err := scan(&id, &until)
			over[id] = until
			return err
		})
	for id, until := range over {
		if err == nil {
			_, _, err = c.end(id, at(until), "")
		}
	}
	return err
}

// RemoveGrant ends a grant now. One that has ended is not an error.
func (db *DB) RemoveGrant(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, id hotspot.GrantID) error {
	return db.write(ctx, "remove grant", func(t *tx) error {
		c, err := t.change(actor.Organization, site)
		if err != nil {
			return err
		}
		if _, known, err := t.grantOf(site, id); err != nil || !known {
			if err == nil {
				err = notFound("grant", string(id))
			}
			return err
		}
		was, ended, err := c.end(id, t.now, nameOf(actor))
		if err == nil {
			err = c.dropOver()
		}
		if err == nil {
			err = c.finish()
		}
		if err != nil || !ended {
			return err
		}
		return t.audit(actor, site, "grant.removed", string(id), grantWords(was), nil)
	})
}

// grantWords is a grant in the audit.
func grantWords(g hotspot.GrantStatus) map[string]any {
	return map[string]any{"list": g.List, "address": hotspot.FormatListAddress(g.Address), "until": g.Until.UTC()}
}

const grantColumns = `g.site, g.id, g.list, g.address, g.until, g.remark, g.asked_by, g.made_at, g.on_site, g.revision, g.state, g.state_at, g.ended_at, g.ended_by`

// scanGrant reads grantColumns and what the site has applied.
func scanGrant(scan func(...any) error) (g hotspot.GrantStatus, err error) {
	var address string
	var until, made, onSite, revision, stateAt, ended, applied int64
	if err := scan(&g.Site, &g.ID, &g.List, &address, &until, &g.Comment, &g.By, &made, &onSite, &revision, &g.State, &stateAt, &ended, &g.EndedBy, &applied); err != nil {
		return g, err
	}
	if g.Address, err = netip.ParsePrefix(address); err != nil {
		return g, fault.New(fault.Damaged, "address of grant "+string(g.ID), err)
	}
	g.Until, g.MadeAt, g.OnSite, g.StateAt, g.EndedAt = at(until), at(made), onSite == 1, at(stateAt), at(ended)
	g.AtSite = g.OnSite || revision > 0 && applied >= revision
	return g, nil
}

func (t *tx) grantOf(site hotspot.SiteID, id hotspot.GrantID) (g hotspot.GrantStatus, found bool, err error) {
	err = t.each(`SELECT `+grantColumns+`, COALESCE((SELECT applied FROM site_status WHERE site = g.site), 0) FROM list_grant g WHERE g.site = $1 AND g.id = $2`,
		[]any{string(site), string(id)}, func(scan func(...any) error) error {
			found = true
			var err error
			g, err = scanGrant(scan)
			return err
		})
	return g, found, err
}

// Grants returns a site's grants, the newest first: those in force, and with over
// those that ended within a day. query is a part of the list, the address, or the
// comment. next continues where the page ends.
func (db *DB) Grants(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, query string, over bool, limit int, after string) (grants []hotspot.GrantStatus, next string, err error) {
	limit = min(max(limit, 1), 1000)
	pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(strings.TrimSpace(query))) + "%"
	err = db.read(ctx, "grants", func(t *tx) error {
		grants, next = nil, ""
		now, since := ms(t.now), ms(t.now.Add(-grantsShown))
		if !over {
			since = now
		}
		err := t.each(`SELECT `+grantColumns+`, COALESCE(st.applied, 0) FROM list_grant g JOIN site s ON s.id = g.site
			LEFT JOIN site_status st ON st.site = g.site
			WHERE g.site = $1 AND s.organization = $2 AND ($3 = '' OR g.id < $3) AND (g.ended_at = 0 OR g.ended_at > $4) AND (g.until = 0 OR g.until > $4 OR g.ended_at > $4)
				AND (LOWER(g.list) LIKE $5 ESCAPE '\' OR g.address LIKE $5 ESCAPE '\' OR LOWER(g.remark) LIKE $5 ESCAPE '\')
			ORDER BY g.id DESC LIMIT $6`, []any{string(site), string(org), after, since, pattern, limit + 1}, func(scan func(...any) error) error {
			g, err := scanGrant(scan)
			grants = append(grants, g)
			return err
		})
		if len(grants) > limit {
			grants = grants[:limit]
			next = string(grants[limit-1].ID)
		}
		return err
	})
	return grants, next, err
}

// grantMade takes in a grant made on site: it is in force there already, and comes
// back as a document of its id. It may be told twice.
func (f *facts) grantMade(b wire.GrantMade) error {
	g, err := b.Grant()
	if err != nil {
		return unreadablef("grant.made: %v", err)
	}
	if !name(string(g.ID), maxEventID) {
		return unreadablef("grant.made: the id is not a name")
	}
	g.Comment, g.By = text200(g.Comment), text200(g.By)
	c, err := f.t.change("", f.site)
	if err != nil {
		return err
	}
	was, known, err := f.t.grantOf(f.site, g.ID)
	if err != nil {
		return err
	}
	if known && !was.EndedAt.IsZero() {
		return c.finish() // ended here: the tombstone is there, or on its way
	}
	if err := c.dropOver(); err != nil {
		return err
	}
	if err := c.grant(g, true); err != nil {
		return err
	}
	if err := c.finish(); err != nil || known {
		return err
	}
	return f.t.audit(hotspot.Operator{Organization: c.org, Name: g.By}, f.site, "grant.made", string(g.ID), nil,
		map[string]any{"list": g.List, "address": hotspot.FormatListAddress(g.Address), "until": g.Until.UTC(), "comment": g.Comment, "on_site": true})
}

// grantRemoved ends a grant that was removed on site.
func (f *facts) grantRemoved(b wire.GrantRemoved) error {
	if !name(string(b.ID), maxEventID) {
		return unreadablef("grant.removed: the id is not a name")
	}
	c, err := f.t.change("", f.site)
	if err != nil {
		return err
	}
	by := text200(b.By)
	if by == "" {
		by = "site"
	}
	was, ended, err := c.end(b.ID, f.t.now, by)
	if err != nil {
		return err
	}
	if err := c.finish(); err != nil || !ended {
		return err
	}
	words := grantWords(was)
	words["on_site"] = true
	return f.t.audit(hotspot.Operator{Organization: c.org, Name: by}, f.site, "grant.removed", string(b.ID), words, nil)
}

// grantSettled keeps what became of grants. Of some this database may know nothing.
func (f *facts) grantSettled(b wire.GrantSettled, at time.Time) error {
	if len(b.IDs) > wire.MaxEvents {
		return unreadablef("grant.settled of %d grants", len(b.IDs))
	}
	state := b.State
	switch state {
	case hotspot.GrantWaiting, hotspot.GrantInList, hotspot.GrantForeign, hotspot.GrantServed:
	default:
		state = hotspot.GrantInList // one that a later build tells apart
	}
	return parts(len(b.IDs), func(from, to int) error {
		in, args := list(f.t, []any{string(f.site), string(state), f.asOf(at)}, b.IDs[from:to])
		return f.t.exec(`UPDATE list_grant SET state = $2, state_at = $3 WHERE site = $1 AND id IN `+in, args...)
	})
}
