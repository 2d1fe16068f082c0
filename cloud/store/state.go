package store

import (
	"context"
	"encoding/json"
	"fmt"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// DeltaBytes is how many octets of documents a delta may carry; above it the
// site gets a snapshot, which comes in parts. Encoded, a delta stays below
// wire.MaxMessage even if nothing in it can be compressed.
const DeltaBytes = 4 * wire.PartBytes

// Wanted returns where a site should be: lineage, revision, and hash of the set.
func (db *DB) Wanted(ctx context.Context, site hotspot.SiteID) (lineage string, revision int64, hash string, err error) {
	err = db.read(ctx, "wanted state", func(t *tx) error {
		var err error
		lineage, revision, hash, err = t.wanted(site)
		return err
	})
	return lineage, revision, hash, err
}

func (t *tx) wanted(site hotspot.SiteID) (lineage string, revision int64, hash string, err error) {
	found, err := t.one(`SELECT lineage, rev, hash FROM site WHERE id = $1`, []any{string(site)}, &lineage, &revision, &hash)
	if err == nil && !found {
		err = notFound("site", string(site))
	}
	if err == nil && hash == "" {
		hash = wire.SetHash{}.String()
	}
	return lineage, revision, hash, err
}

// Held returns what an agent in force holds by its newest hello to any process of
// this database, and whether it is there now; kind NotFound where it said none yet.
func (db *DB) Held(ctx context.Context, agent hotspot.AgentID) (site hotspot.SiteID, lineage string, revision int64, online bool, err error) {
	err = db.read(ctx, "what an agent holds", func(t *tx) error {
		var presence hotspot.Presence
		var heard int64
		found, err := t.one(`SELECT st.site, st.lineage, st.applied, st.presence, st.heard_at FROM site_status st
			JOIN agent a ON a.id = st.agent AND a.confirmed_at > 0 AND a.retired_at = 0 WHERE st.agent = $1`, []any{string(agent)}, &site, &lineage, &revision, &presence, &heard)
		if err == nil && !found {
			err = notFound("hello of agent", string(agent))
		}
		online = presence == hotspot.Online && t.now.Sub(at(heard)) < silentAfter
		return err
	})
	return site, lineage, revision, online && err == nil, err
}

// Delta returns what brings a site from a revision to the newest. ok is false
// when nothing can but a snapshot: another lineage, a revision from the future,
// one of before what is remembered of removals, or too much.
func (db *DB) Delta(ctx context.Context, site hotspot.SiteID, lineage string, from int64) (s wire.State, ok bool, err error) {
	err = db.read(ctx, "delta", func(t *tx) error {
		s, ok = wire.State{V: wire.Version, From: from, Time: t.now}, false
		var err error
		if s.Lineage, s.To, s.Hash, err = t.wanted(site); err != nil || s.Lineage != lineage || from < 0 || from > s.To {
			return err
		}
		var compacted int64
		if _, err := t.one(`SELECT compacted FROM site WHERE id = $1`, []any{string(site)}, &compacted); err != nil || from < compacted {
			return err
		}
		// The sum first: what is too much is never read.
		var size int64
		if _, err := t.one(`SELECT COALESCE(SUM(LENGTH(body) + 100), 0) FROM document WHERE site = $1 AND rev > $2`,
			[]any{string(site), from}, &size); err != nil || size > DeltaBytes {
			return err
		}
		ok = true
		return t.each(`SELECT kind, id, rev, body, deleted FROM document WHERE site = $1 AND rev > $2 ORDER BY rev, kind, id`,
			[]any{string(site), from}, func(scan func(...any) error) error {
				d, gone, err := scanDoc(scan)
				if gone {
					s.Gone = append(s.Gone, wire.DocRef{Kind: d.Kind, ID: d.ID})
				} else {
					s.Docs = append(s.Docs, d)
				}
				return err
			})
	})
	return s, ok && err == nil, err
}

// Snapshot returns the whole set of a site in parts of at most wire.PartBytes
// of documents, or one document where that alone is larger. It has one name and
// one division for as long as the set is the same, so that what is sent again
// completes what came: a site may take longer over it than we wait.
func (db *DB) Snapshot(ctx context.Context, site hotspot.SiteID) (parts []wire.State, err error) {
	err = db.read(ctx, "snapshot", func(t *tx) error {
		whole := wire.State{V: wire.Version, Time: t.now}
		var err error
		if whole.Lineage, whole.To, whole.Hash, err = t.wanted(site); err != nil {
			return err
		}
		whole.Snapshot = fmt.Sprintf("%s-%d", whole.Lineage, whole.To)
		if whole.Seen, err = t.seen(site); err != nil {
			return err
		}
		parts = []wire.State{whole}
		size := 0
		err = t.each(`SELECT kind, id, rev, body, deleted FROM document WHERE site = $1 AND deleted = 0 ORDER BY kind, id`,
			[]any{string(site)}, func(scan func(...any) error) error {
				d, _, err := scanDoc(scan)
				last := &parts[len(parts)-1]
				if n := len(d.Body) + 100; size+n > wire.PartBytes && len(last.Docs) > 0 {
					parts = append(parts, whole)
					last, size = &parts[len(parts)-1], n
				} else {
					size += n
				}
				last.Docs = append(last.Docs, d)
				return err
			})
		for i := range parts {
			parts[i].Part, parts[i].Parts = i+1, len(parts)
		}
		return err
	})
	return parts, err
}

// seen names the events whose effects are in the set: of the log that is told now.
func (t *tx) seen(site hotspot.SiteID) (*wire.Seen, error) {
	var s wire.Seen
	found, err := t.one(`SELECT epoch, through FROM event_mark WHERE site = $1 ORDER BY at DESC, epoch DESC LIMIT 1`, []any{string(site)}, &s.Epoch, &s.Through)
	if err != nil || !found {
		return nil, err
	}
	return &s, nil
}

func scanDoc(scan func(...any) error) (d wire.Doc, gone bool, err error) {
	var body string
	var deleted int64
	err = scan(&d.Kind, &d.ID, &d.Rev, &body, &deleted)
	d.Body = json.RawMessage(body)
	return d, deleted == 1, err
}
