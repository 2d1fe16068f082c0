package store

import (
	"context"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// EnrolmentCodes returns a site's codes that could still be spent, the newest
// first.
func (db *DB) EnrolmentCodes(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID) (codes []hotspot.EnrolmentCode, err error) {
	err = db.read(ctx, "enrolment codes", func(t *tx) error {
		codes = nil
		if err := t.owns(org, site); err != nil {
			return err
		}
		return t.each(`SELECT hash, created_by, created_at, expires_at, wrong, wrong_at, wrong_from FROM enrolment_code
			WHERE site = $1 AND used_at = 0 AND revoked_at = 0 AND expires_at > $2 ORDER BY created_at DESC, hash`, []any{string(site), ms(t.now)},
			func(scan func(...any) error) error {
				var c hotspot.EnrolmentCode
				var created, expires, wrong int64
				err := scan(&c.ID, &c.By, &created, &expires, &c.Wrong, &wrong, &c.WrongFrom)
				c.CreatedAt, c.ExpiresAt, c.WrongAt = at(created), at(expires), at(wrong)
				codes = append(codes, c)
				return err
			})
	})
	return codes, err
}

// RevokeEnrolmentCode makes a code that nobody has spent worthless. Revoking
// twice changes nothing; one that was spent is kind Conflict.
func (db *DB) RevokeEnrolmentCode(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, id string) error {
	return db.write(ctx, "revoke enrolment code", func(t *tx) error {
		if err := t.owns(actor.Organization, site); err != nil {
			return err
		}
		var used, revoked int64
		found, err := t.one(`SELECT used_at, revoked_at FROM enrolment_code WHERE hash = $1 AND site = $2`+db.dialect.forUpdate,
			[]any{id, string(site)}, &used, &revoked)
		switch {
		case err != nil:
			return err
		case !found:
			return notFound("enrolment code", id)
		case used > 0:
			return fault.New(fault.Conflict, "a box has used the code", nil).WithCode("CLD-203", "Cut off the box that used it, if it is none of yours.")
		case revoked > 0:
			return nil
		}
		if err := t.exec(`UPDATE enrolment_code SET revoked_at = $2 WHERE hash = $1`, id, ms(t.now)); err != nil {
			return err
		}
		return t.audit(actor, site, "enrolment_code.revoked", "", nil, nil)
	})
}

// NoteWrongCode counts a code that nobody made, tried from a masked network
// address, at every code that is open: whoever guesses, guesses at those. The
// audit tells of the first try and of each tenfold. It returns the sites.
func (db *DB) NoteWrongCode(ctx context.Context, from string) (sites []hotspot.SiteID, err error) {
	type open struct {
		site  hotspot.SiteID
		org   hotspot.OrganizationID
		wrong int64
	}
	err = db.write(ctx, "note wrong enrolment code", func(t *tx) error {
		sites = nil
		if err := t.exec(`UPDATE enrolment_code SET wrong = wrong + 1, wrong_at = $1, wrong_from = $2
			WHERE used_at = 0 AND revoked_at = 0 AND expires_at > $1`, ms(t.now), text200(from)); err != nil {
			return err
		}
		var all []open
		err := t.each(`SELECT c.site, s.organization, MAX(c.wrong) FROM enrolment_code c JOIN site s ON s.id = c.site
			WHERE c.used_at = 0 AND c.revoked_at = 0 AND c.expires_at > $1 GROUP BY c.site, s.organization ORDER BY c.site`, []any{ms(t.now)},
			func(scan func(...any) error) error {
				var o open
				err := scan(&o.site, &o.org, &o.wrong)
				all = append(all, o)
				return err
			})
		if err != nil {
			return err
		}
		for _, o := range all {
			sites = append(sites, o.site)
			if !tenfold(o.wrong) {
				continue
			}
			if err := t.audit(hotspot.Operator{Organization: o.org, Name: "a stranger"}, o.site, "enrolment_code.guessed", "", nil,
				map[string]any{"wrong_codes": o.wrong, "from": text200(from)}); err != nil {
				return err
			}
		}
		return nil
	})
	return sites, err
}

// tenfold reports whether n is 1, 10, 100 and so on.
func tenfold(n int64) bool {
	for n > 0 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}
