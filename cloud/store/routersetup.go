package store

import (
	"context"
	"encoding/json"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// SetRouterSetup says how a router of a site should be set up; nil wants nothing of
// it any more. The site takes it as a document and applies it on command only. No
// secret is in it: those of the router stay on the box.
func (db *DB) SetRouterSetup(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, nas hotspot.NASID, setup *wire.RouterSetup) error {
	if !name(string(nas), 64) {
		return fault.New(fault.Invalid, "store: that is no name of a router", nil)
	}
	return db.write(ctx, "set-up of a router", func(t *tx) error {
		c, err := t.change(actor.Organization, site)
		if err != nil {
			return err
		}
		old, held, err := c.held(wire.DocRouter, string(nas))
		if err != nil {
			return err
		}
		var was, became any
		if held {
			was = old.Body
		}
		switch {
		case setup != nil:
			doc := wire.RouterDoc{RouterSetup: *setup, By: nameOf(actor), At: t.now.UTC().Truncate(time.Millisecond)}
			if held && sameSetup(old.Body, *setup) {
				return c.finish() // nothing changed: neither revision nor audit
			}
			became = doc
			err = c.put(wire.DocRouter, string(nas), doc)
		case !held:
			return c.finish()
		default:
			err = c.remove(wire.DocRouter, string(nas))
		}
		if err == nil {
			err = c.finish()
		}
		if err != nil {
			return err
		}
		return t.audit(actor, site, "router.setup", string(nas), was, became)
	})
}

func sameSetup(body json.RawMessage, setup wire.RouterSetup) bool {
	var have wire.RouterDoc
	if json.Unmarshal(body, &have) != nil {
		return false
	}
	a, err1 := json.Marshal(have.RouterSetup)
	b, err2 := json.Marshal(setup)
	return err1 == nil && err2 == nil && string(a) == string(b)
}

// RouterSetup returns what is wanted of a router of a site; false where nothing is.
func (db *DB) RouterSetup(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, nas hotspot.NASID) (doc wire.RouterDoc, revision int64, found bool, err error) {
	err = db.read(ctx, "set-up of a router", func(t *tx) error {
		var body string
		var err error
		doc = wire.RouterDoc{}
		found, err = t.one(`SELECT d.body, d.rev FROM document d JOIN site s ON s.id = d.site WHERE d.site = $1 AND s.organization = $2 AND d.kind = $3 AND d.id = $4 AND d.deleted = 0`,
			[]any{string(site), string(org), string(wire.DocRouter), string(nas)}, &body, &revision)
		if err != nil || !found {
			return err
		}
		return unmarshal(body, &doc)
	})
	return doc, revision, found, err
}
