package store

import (
	"encoding/json"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// change is one step of a site's wanted state, inside a transaction. Beginning
// it takes the site's row, so changes of one site follow one another.
type change struct {
	t       *tx
	site    hotspot.SiteID
	org     hotspot.OrganizationID
	lineage string
	rev     int64 // this change's
	hash    wire.SetHash
	docs    []wire.Doc
	gone    []wire.DocRef
	agent   hotspot.AgentID   // confirmed, "" if none
	seal    *secret.PublicKey // the agent's, nil if none
}

// change begins the site's next revision. org, when not "", must own the site.
func (t *tx) change(org hotspot.OrganizationID, site hotspot.SiteID) (*change, error) {
	c := &change{t: t, site: site}
	var hash string
	found, err := t.one(`UPDATE site SET rev = rev + 1 WHERE id = $1 AND ($2 = '' OR organization = $2)
		RETURNING organization, lineage, rev, hash`, []any{string(site), string(org)}, &c.org, &c.lineage, &c.rev, &hash)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, notFound("site", string(site))
	}
	if c.hash, err = wire.ParseSetHash(hash); err != nil {
		return nil, fault.New(fault.Damaged, "hash of the set", err)
	}
	return c, c.findAgent()
}

// findAgent reads who the site's secrets are sealed to.
func (c *change) findAgent() error {
	var key string
	c.agent, c.seal = "", nil
	found, err := c.t.one(`SELECT id, seal_key FROM agent WHERE site = $1 AND confirmed_at > 0 AND retired_at = 0`,
		[]any{string(c.site)}, &c.agent, &key)
	if err != nil || !found {
		return err
	}
	public, err := secret.ParsePublicKey(key)
	if err != nil {
		return fault.New(fault.Damaged, "sealing key of agent "+string(c.agent), err)
	}
	c.seal = &public
	return nil
}

// put writes a document under this revision, unless it is there with the same
// bytes. The bytes go down as they are stored: encoding/json writes them in the
// form it also gives a RawMessage, so that both sides hash the same.
func (c *change) put(kind wire.DocKind, id string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fault.New(fault.Internal, "encode document", err)
	}
	old, held, err := c.held(kind, id)
	if err != nil || held && string(old.Body) == string(b) {
		return err
	}
	doc := wire.Doc{Kind: kind, ID: id, Rev: c.rev, Body: b}
	err = c.t.exec(`INSERT INTO document (site, kind, id, rev, body, deleted) VALUES ($1, $2, $3, $4, $5, 0)
		ON CONFLICT (site, kind, id) DO UPDATE SET rev = excluded.rev, body = excluded.body, deleted = 0`,
		string(c.site), string(kind), id, c.rev, string(b))
	if err != nil {
		return err
	}
	if held {
		c.hash.Remove(old)
	}
	c.hash.Add(doc)
	c.docs = append(c.docs, doc)
	return nil
}

// remove leaves a tombstone in a document's place.
func (c *change) remove(kind wire.DocKind, id string) error {
	old, held, err := c.held(kind, id)
	if err != nil || !held {
		return err
	}
	err = c.t.exec(`UPDATE document SET rev = $4, body = '', deleted = 1 WHERE site = $1 AND kind = $2 AND id = $3`,
		string(c.site), string(kind), id, c.rev)
	if err != nil {
		return err
	}
	c.hash.Remove(old)
	c.gone = append(c.gone, wire.DocRef{Kind: kind, ID: id})
	return nil
}

func (c *change) held(kind wire.DocKind, id string) (wire.Doc, bool, error) {
	var body string
	found, err := c.t.one(`SELECT body FROM document WHERE site = $1 AND kind = $2 AND id = $3 AND deleted = 0`,
		[]any{string(c.site), string(kind), id}, &body)
	return wire.Doc{Kind: kind, ID: id, Body: json.RawMessage(body)}, found, err
}

// finish stores the set's new hash and leaves the delta to be announced. A
// change that changed nothing takes its revision back.
func (c *change) finish() error {
	if len(c.docs)+len(c.gone) == 0 {
		return c.t.exec(`UPDATE site SET rev = rev - 1 WHERE id = $1`, string(c.site))
	}
	if err := c.t.exec(`UPDATE site SET hash = $2 WHERE id = $1`, string(c.site), c.hash.String()); err != nil {
		return err
	}
	if err := c.compact(); err != nil {
		return err
	}
	c.t.done = append(c.t.done, committed{site: c.site, agent: c.agent, state: wire.State{
		V: wire.Version, Lineage: c.lineage, From: c.rev - 1, To: c.rev,
		Docs: c.docs, Gone: c.gone, Hash: c.hash.String(), Time: c.t.now,
	}})
	return nil
}

// compact forgets, every hundredth revision, what was removed long ago.
func (c *change) compact() error {
	through := c.rev - c.t.db.o.Tombstones
	if c.rev%100 != 0 || through <= 0 {
		return nil
	}
	if err := c.t.exec(`DELETE FROM document WHERE site = $1 AND rev <= $2 AND deleted = 1`, string(c.site), through); err != nil {
		return err
	}
	return c.t.exec(`UPDATE site SET compacted = $2 WHERE id = $1`, string(c.site), through)
}

func notFound(what, id string) error {
	return fault.New(fault.NotFound, "no "+what+" "+id, nil)
}
