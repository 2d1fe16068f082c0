package store

import (
	"context"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// silentAfter is how long a site may say nothing before it counts as lost: a
// hello comes every minute, so two may be missed and half of one.
const silentAfter = 150 * time.Second

// RecordHello keeps what an agent said of itself; at is when it came. Kind
// Denied for an agent that is not in force. The locks of the revision it holds
// count as received.
func (db *DB) RecordHello(ctx context.Context, agent hotspot.AgentID, h wire.Hello, at time.Time) error {
	conditions := make([]hotspot.Condition, 0, len(h.Conditions))
	for _, c := range h.Conditions[:min(len(h.Conditions), 100)] {
		conditions = append(conditions, hotspot.Condition{Code: text200(c.Code), Severity: text200(c.Severity), Text: text200(c.Text), Since: c.Since})
	}
	text, err := marshal(conditions)
	if err != nil {
		return err
	}
	routers := make([]wire.RouterHealth, 0, len(h.Routers))
	for _, r := range h.Routers[:min(len(h.Routers), wire.MaxRouters)] {
		r.NAS, r.Name = hotspot.NASID(text200(string(r.NAS))), text200(r.Name)
		if s := r.Setup; s != nil {
			r.Setup = &wire.SetupStanding{From: text200(s.From), Mode: text200(s.Mode), State: text200(s.State), LeftS: s.LeftS, Login: text200(s.Login)}
		}
		routers = append(routers, r)
	}
	health, err := marshal(routers)
	if err != nil {
		return err
	}
	off := make([]hotspot.DocRef, 0, len(h.NotInForce))
	for _, d := range h.NotInForce[:min(len(h.NotInForce), 100)] {
		off = append(off, hotspot.DocRef{Kind: text200(string(d.Kind)), ID: text200(d.ID)})
	}
	notInForce, err := marshal(off)
	if err != nil {
		return err
	}
	var offset int64 // the site's clock minus ours, network delay included
	if !h.At.IsZero() {
		offset = h.At.Sub(at).Milliseconds()
	}
	return db.writeLazily(ctx, "record hello", func(t *tx) error {
		site, err := t.agentInForce(agent, "")
		if err != nil {
			return err
		}
		if err := t.statusRow(site, agent); err != nil {
			return err
		}
		before, err := t.before(site)
		if err != nil {
			return err
		}
		if err := t.exec(`UPDATE site_status SET agent = $2, presence = 'online', reason = '',
				conn = CASE WHEN boot = $3 THEN conn ELSE 0 END, boot = $3, heard_at = $4, version = $5, lineage = $6, applied = $7, hash = $8,
				epoch = $9, last_seq = $10, router_seen_at = $11, clock_offset_ms = $12, conditions = $13, routers = $14, not_in_force = $15, outage = '' WHERE site = $1`,
			string(site), string(agent), text200(h.Boot), ms(at), text200(h.Version), text200(h.Lineage), h.Revision, text200(h.Hash),
			text200(h.Epoch), h.LastSeq, ms(h.RouterSeenAt), offset, text, health, notInForce); err != nil {
			return err
		}
		if err := t.exec(`UPDATE agent SET version = $2 WHERE id = $1 AND version <> $2`, string(agent), text200(h.Version)); err != nil {
			return err
		}
		if err := t.keepHistory(site, h.Sessions, newsOf(before, routers, duration(offset), at), at); err != nil {
			return err
		}
		return t.holds(site, h)
	})
}

// holds marks the locks of the revision held as received, by the site's clock
// at the hello; the lock's own event says it closer.
func (t *tx) holds(site hotspot.SiteID, h wire.Hello) error {
	off := map[string]bool{}
	for _, d := range h.NotInForce {
		if d.Kind == wire.DocLock {
			off[d.ID] = true
		}
	}
	var held []hotspot.AccountID
	err := t.each(`SELECT l.account FROM account_lock l JOIN site s ON s.id = l.site
		WHERE l.site = $1 AND l.lifted_at = 0 AND l.received_at = 0 AND l.revision <= $2 AND s.lineage = $3`,
		[]any{string(site), h.Revision, h.Lineage}, func(scan func(...any) error) error {
			var id hotspot.AccountID
			err := scan(&id)
			if !off[string(id)] {
				held = append(held, id)
			}
			return err
		})
	for _, id := range held {
		if err == nil {
			err = t.exec(`UPDATE account_lock SET received_at = $3 WHERE site = $1 AND account = $2 AND lifted_at = 0`, string(site), string(id), ms(h.At))
		}
	}
	return err
}

// statusRow makes the site's row, or empties it of what another agent said.
func (t *tx) statusRow(site hotspot.SiteID, agent hotspot.AgentID) error {
	return t.exec(`INSERT INTO site_status (site, agent, presence, reason, boot, conn, heard_at, version, lineage, applied, hash, epoch, last_seq,
			router_seen_at, clock_offset_ms, conditions) VALUES ($1, $2, 'never', '', '', 0, 0, '', '', 0, '', '', 0, 0, 0, '[]')
		ON CONFLICT (site) DO UPDATE SET agent = excluded.agent, presence = 'never', boot = '', conn = 0, version = '', clock_offset_ms = 0, routers = '[]', not_in_force = '[]', outage = ''
			WHERE site_status.agent <> excluded.agent`,
		string(site), string(agent))
}

// RecordPresence keeps an agent's presence and reports whether it counts: the
// will of an older connection, or of an older run, does not. Kind Denied for an
// agent that is not in force.
func (db *DB) RecordPresence(ctx context.Context, agent hotspot.AgentID, p wire.Presence, at time.Time) (counts bool, err error) {
	switch p.State {
	case hotspot.Online, hotspot.Stopped, hotspot.Lost:
	default:
		return false, fault.New(fault.Invalid, "store: presence "+text200(string(p.State))+" is not known", nil)
	}
	err = db.writeLazily(ctx, "record presence", func(t *tx) error {
		counts = false
		site, err := t.agentInForce(agent, "")
		if err != nil {
			return err
		}
		if err := t.statusRow(site, agent); err != nil {
			return err
		}
		var boot string
		var conn int64
		if _, err := t.one(`SELECT boot, conn FROM site_status WHERE site = $1`+db.dialect.forUpdate, []any{string(site)}, &boot, &conn); err != nil {
			return err
		}
		switch same := boot == p.Boot || boot == ""; {
		case same && p.Conn < conn, !same && p.State != hotspot.Online:
			return nil
		}
		if p.State == hotspot.Online && boot != p.Boot && boot != "" {
			// One that was there before says hello, if it still lives: that is judged.
			var one int64
			known, err := t.one(`SELECT 1 FROM agent_run WHERE agent = $1 AND boot = $2`, []any{string(agent), text200(p.Boot)}, &one)
			if err != nil || known {
				return err
			}
		}
		if p.State == hotspot.Online {
			if _, _, err := t.run(agent, text200(p.Boot), boot, at); err != nil {
				return err
			}
		}
		counts = true
		heard := ms(at)
		if p.State == hotspot.Lost { // the broker said that, not the site
			heard = 0
		}
		return t.exec(`UPDATE site_status SET presence = $2, reason = $3, boot = $4, conn = $5,
			heard_at = CASE WHEN $6 > heard_at THEN $6 ELSE heard_at END, outage = CASE WHEN $2 = 'online' THEN '' ELSE outage END WHERE site = $1`,
			string(site), string(p.State), text200(p.Reason), text200(p.Boot), p.Conn, heard)
	})
	return counts && err == nil, err
}

// NobodyOnline says that no agent can be connected: the broker has just begun,
// in this process.
func (db *DB) NobodyOnline(ctx context.Context) error {
	return db.writeLazily(ctx, "nobody online", func(t *tx) error {
		return t.exec(`UPDATE site_status SET presence = 'lost' WHERE presence = 'online'`)
	})
}

// heard notes that events of the site came.
func (t *tx) heard(site hotspot.SiteID, agent hotspot.AgentID) error {
	return t.exec(`UPDATE site_status SET heard_at = $3 WHERE site = $1 AND agent = $2 AND heard_at < $3`, string(site), string(agent), ms(t.now))
}

// Mark returns through which event a site's log is stored, 0 if it is unknown.
func (db *DB) Mark(ctx context.Context, site hotspot.SiteID, epoch string) (through int64, err error) {
	err = db.read(ctx, "mark", func(t *tx) error {
		_, err := t.one(`SELECT through FROM event_mark WHERE site = $1 AND epoch = $2`, []any{string(site), text200(epoch)}, &through)
		return err
	})
	return through, err
}

// Sites returns the organization's sites with what was last heard of them, by
// name.
func (db *DB) Sites(ctx context.Context, org hotspot.OrganizationID) (sites []hotspot.SiteStatus, err error) {
	err = db.read(ctx, "sites", func(t *tx) error {
		sites, err = t.sites(org, "")
		return err
	})
	return sites, err
}

// Site returns one site of the organization; kind NotFound if it has none such.
func (db *DB) Site(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID) (s hotspot.SiteStatus, err error) {
	err = db.read(ctx, "site", func(t *tx) error {
		sites, err := t.sites(org, site)
		if err == nil && len(sites) == 0 {
			err = notFound("site", string(site))
		}
		if err == nil {
			s = sites[0]
		}
		return err
	})
	return s, err
}

func (t *tx) sites(org hotspot.OrganizationID, only hotspot.SiteID) (sites []hotspot.SiteStatus, err error) {
	err = t.each(`SELECT s.id, s.organization, s.name, s.time_zone, s.currency, s.language, s.rev,
			COALESCE(st.presence, 'never'), COALESCE(st.reason, ''), COALESCE(st.heard_at, 0), COALESCE(st.version, ''),
			CASE WHEN st.lineage = s.lineage THEN st.applied ELSE 0 END,
			COALESCE(st.router_seen_at, 0), COALESCE(st.clock_offset_ms, 0), COALESCE(st.last_seq, 0), COALESCE(m.through, 0),
			COALESCE(st.conditions, '[]'), COALESCE(st.routers, '[]'), COALESCE(st.not_in_force, '[]'), COALESCE(st.outage, ''),
			COALESCE((SELECT a.copy_at FROM agent a WHERE a.site = s.id AND a.confirmed_at > 0 AND a.retired_at = 0), 0),
			(SELECT COUNT(*) FROM session x WHERE x.site = s.id AND x.state IN ('live', 'suspect')),
			(SELECT COUNT(*) FROM account_lock l WHERE l.site = s.id AND l.lifted_at = 0 AND l.outcome IN ('', 'pending'))
		FROM site s LEFT JOIN site_status st ON st.site = s.id LEFT JOIN event_mark m ON m.site = s.id AND m.epoch = st.epoch
		WHERE s.organization = $1 AND ($2 = '' OR s.id = $2) ORDER BY s.name, s.id`, []any{string(org), string(only)},
		func(scan func(...any) error) error {
			var s hotspot.SiteStatus
			var heard, router, offset, last, through, copied int64
			var conditions, routers, notInForce, outage string
			if err := scan(&s.Site.ID, &s.Site.Organization, &s.Site.Name, &s.Site.TimeZone, &s.Site.Currency, &s.Site.Language, &s.Revision,
				&s.Presence, &s.Reason, &heard, &s.AgentVersion, &s.Applied, &router, &offset, &last, &through, &conditions, &routers, &notInForce, &outage, &copied, &s.SessionsOpen, &s.LocksOpen); err != nil {
				return err
			}
			s.HeardAt, s.RouterSeenAt, s.ClockOffset, s.Backlog = at(heard), at(router), duration(offset), max(0, last-through)
			s.Left = s.Presence == hotspot.Lost && s.Reason == leftReason
			s.Presence, s.CopyAt = t.presence(s.Presence, s.HeardAt), at(copied)
			var err error
			if s.Outage, err = parseOutage(outage); err != nil {
				return err
			}
			if err := unmarshal(conditions, &s.Conditions); err != nil {
				return err
			}
			if err := unmarshal(notInForce, &s.NotInForce); err != nil {
				return err
			}
			var told []wire.RouterHealth
			err = unmarshal(routers, &told)
			for _, r := range told {
				s.Routers = append(s.Routers, r.Hotspot())
			}
			sites = append(sites, s)
			return err
		})
	return sites, err
}

// presence doubts an "online" that has gone silent: this process, or the
// broker, may have missed the will.
func (t *tx) presence(p hotspot.Presence, heard time.Time) hotspot.Presence {
	if p == hotspot.Online && t.now.Sub(heard) > silentAfter {
		return hotspot.Lost
	}
	return p
}
