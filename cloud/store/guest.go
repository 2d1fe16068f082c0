package store

import (
	"context"
	"encoding/hex"
	"net/netip"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// maxGuests is the longest page; a larger limit is cut to it.
const maxGuests = 500

// Guests returns a page of a site's accounts, the newest first. query finds by
// name, voucher code, note, MAC in any spelling or the start of an IP address,
// those of earlier sessions too; "" is all. after is next of the page before.
func (db *DB) Guests(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, query string, limit int, after string) (guests []hotspot.Guest, next string, err error) {
	limit = min(max(limit, 1), maxGuests)
	q := newSearch(query)
	err = db.read(ctx, "guests", func(t *tx) error {
		if err := t.owns(org, site); err != nil {
			return err
		}
		guests, next = nil, ""
		err := t.each(`SELECT a.id, a.kind, a.username, a.note FROM account a
			WHERE a.site = $1 AND ($2 = '' OR a.id < $2) AND ($3 = '' OR a.search LIKE $3 ESCAPE '\' OR ($4 <> '' AND a.search LIKE $4 ESCAPE '\')
				OR (($5 <> '' OR $6 <> '') AND EXISTS (SELECT 1 FROM session x WHERE x.site = a.site AND x.account = a.id
					AND (($5 <> '' AND x.mac LIKE $5) OR ($6 <> '' AND x.ip LIKE $6)))))
			ORDER BY a.id DESC LIMIT $7`, []any{string(site), after, q.text, q.code, q.mac, q.ip, limit + 1},
			func(scan func(...any) error) error {
				g := hotspot.Guest{Site: site}
				err := scan(&g.Account.ID, &g.Account.Kind, &g.Account.Username, &g.Account.Note)
				guests = append(guests, g)
				return err
			})
		if err != nil {
			return err
		}
		if len(guests) > limit {
			guests = guests[:limit]
			next = string(guests[limit-1].Account.ID)
		}
		return t.complete(site, guests)
	})
	return guests, next, err
}

// search holds LIKE patterns; "" finds nothing.
type search struct{ text, code, mac, ip string }

func newSearch(query string) (s search) {
	query = strings.ToLower(strings.TrimSpace(query))
	if query == "" || !printable(query) {
		return s
	}
	escape := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
	s.text = "%" + escape.Replace(query) + "%"
	bare := strings.NewReplacer("-", "", ":", "", ".", "", " ", "").Replace(query)
	if bare != query && len(bare) >= 4 {
		s.code = "%" + escape.Replace(bare) + "%"
	}
	// From two octets on a part of an address tells devices apart.
	if _, err := hex.DecodeString(bare[:len(bare)/2*2]); err == nil && len(bare) >= 4 && len(bare) <= 12 {
		s.mac = "%" + bare + "%"
	}
	if a, err := netip.ParseAddr(query); err == nil {
		s.ip = a.Unmap().String()
	} else if strings.Trim(query, "0123456789.") == "" && strings.Contains(query, ".") {
		s.ip = query + "%"
	}
	return s
}

// Guest returns one account of the organization; kind NotFound if there is none.
func (db *DB) Guest(ctx context.Context, org hotspot.OrganizationID, account hotspot.AccountID) (g hotspot.Guest, err error) {
	err = db.read(ctx, "guest", func(t *tx) error {
		g = hotspot.Guest{}
		found, err := t.one(`SELECT a.site, a.id, a.kind, a.username, a.note FROM account a JOIN site s ON s.id = a.site
			WHERE a.id = $1 AND s.organization = $2`, []any{string(account), string(org)},
			&g.Site, &g.Account.ID, &g.Account.Kind, &g.Account.Username, &g.Account.Note)
		if err == nil && !found {
			err = notFound("account", string(account))
		}
		if err != nil {
			return err
		}
		one := []hotspot.Guest{g}
		err = t.complete(g.Site, one)
		g = one[0]
		return err
	})
	return g, err
}

// complete fills in passes, locks, open sessions and age.
func (t *tx) complete(site hotspot.SiteID, guests []hotspot.Guest) error {
	if len(guests) == 0 {
		return nil
	}
	var presence hotspot.Presence = hotspot.Never
	var heard, applied int64
	if _, err := t.one(`SELECT presence, heard_at, applied FROM site_status WHERE site = $1`, []any{string(site)}, &presence, &heard, &applied); err != nil {
		return err
	}
	presence = t.presence(presence, at(heard))
	index := make(map[hotspot.AccountID]*hotspot.Guest, len(guests))
	ids := make([]hotspot.AccountID, len(guests))
	for i := range guests {
		g := &guests[i]
		g.SeenAt, g.Lock.State = at(heard), hotspot.LockNone
		g.Applied, g.Presence = applied, presence
		index[g.Account.ID], ids[i] = g, g.Account.ID
	}
	in, args := list(t, []any{string(site)}, ids)
	if err := t.fillPasses(index, in, args); err != nil {
		return err
	}
	if err := t.fillLocks(index, in, args, presence); err != nil {
		return err
	}
	return t.each(`SELECT `+sessionColumns+` FROM session WHERE site = $1 AND state IN ('live', 'suspect') AND account IN `+in+` ORDER BY started_at, id`,
		args, func(scan func(...any) error) error {
			s, err := scanSession(scan)
			if g := index[s.Account]; err == nil && g != nil {
				g.Sessions = append(g.Sessions, s)
			}
			return err
		})
}

// fillPasses gives each account its newest pass, with the site's usage.
func (t *tx) fillPasses(index map[hotspot.AccountID]*hotspot.Guest, in string, args []any) error {
	return t.each(`SELECT p.id, p.account, p.plan, p.plan_name, p.limits, p.valid_from, p.valid_until,
			COALESCE(u.first_used_at, 0), COALESCE(u.time_ms, 0), COALESCE(u.upload, 0), COALESCE(u.download, 0), COALESCE(u.as_of, 0),
			COALESCE((SELECT d.rev FROM document d WHERE d.site = p.site AND d.kind = 'pass' AND d.id = p.id), 0)
		FROM pass p LEFT JOIN pass_usage u ON u.site = p.site AND u.pass = p.id
		WHERE p.site = $1 AND p.account IN `+in+` ORDER BY p.id`, args, func(scan func(...any) error) error {
		var p hotspot.Pass
		var limits string
		var from, until, first, used, upload, download, asOf, rev int64
		if err := scan(&p.ID, &p.Account, &p.Plan, &p.PlanName, &limits, &from, &until, &first, &used, &upload, &download, &asOf, &rev); err != nil {
			return err
		}
		var err error
		if p.Limits, err = parseLimits(limits); err != nil {
			return err
		}
		p.ValidFrom, p.ValidUntil = at(from), at(until)
		p.Usage = hotspot.Usage{FirstUsed: at(first), Time: duration(used), Upload: hotspot.Octets(upload), Download: hotspot.Octets(download)}
		if g := index[p.Account]; g != nil {
			g.Pass, g.PassRevision, g.UsageAsOf = &p, rev, at(asOf)
		}
		return nil
	})
}

func (t *tx) fillLocks(index map[hotspot.AccountID]*hotspot.Guest, in string, args []any, presence hotspot.Presence) error {
	return t.each(`SELECT account, locked_by, reason, requested_at, revision, sent_at, received_at, outcome, proof, ended_outcome, ended_at, pause
		FROM account_lock WHERE site = $1 AND lifted_at = 0 AND account IN `+in, args, func(scan func(...any) error) error {
		r := lockRow{presence: presence}
		var requested, sent, received, ended, pause int64
		var proof string
		if err := scan(&r.lock.Account, &r.lock.By, &r.lock.Reason, &requested, &r.lock.Revision, &sent, &received, &r.outcome, &proof, &r.ended, &ended, &pause); err != nil {
			return err
		}
		r.lock.Pause = pause != 0
		r.lock.At, r.sent, r.received = at(requested), at(sent), at(received)
		r.endedAt = at(ended)
		if proof != "" {
			if err := unmarshal(proof, &r.proof); err != nil {
				return err
			}
		}
		if g := index[r.lock.Account]; g != nil {
			g.Lock = r.status()
		}
		return nil
	})
}

// Sessions returns a site's sessions, the newest first; openOnly leaves out
// those that ended.
func (db *DB) Sessions(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, openOnly bool, limit int) (sessions []hotspot.Session, err error) {
	where := ""
	if openOnly {
		where = ` AND state IN ('live', 'suspect')`
	}
	err = db.read(ctx, "sessions", func(t *tx) error {
		sessions = nil
		if err := t.owns(org, site); err != nil {
			return err
		}
		return t.each(`SELECT `+sessionColumns+` FROM session WHERE site = $1`+where+` ORDER BY started_at DESC, id DESC LIMIT $2`,
			[]any{string(site), min(max(limit, 1), 10_000)}, func(scan func(...any) error) error {
				s, err := scanSession(scan)
				sessions = append(sessions, s)
				return err
			})
	})
	return sessions, err
}

const sessionColumns = `id, permit, account, pass, nas, acct_session_id, username, mac, ip, state, started_at, heard_at, ended_at, time_ms, upload, download, cause,
	rate, change_wanted, change_outcome, change_code, change_detail, changed_at, as_of`

func scanSession(scan func(...any) error) (s hotspot.Session, err error) {
	var mac, ip, rate, wanted, outcome, code, detail string
	var started, heard, ended, used, upload, download, changed, asOf int64
	err = scan(&s.ID, &s.Permit, &s.Account, &s.Pass, &s.NAS, &s.AcctSessionID, &s.Username, &mac, &ip, &s.State,
		&started, &heard, &ended, &used, &upload, &download, &s.Cause, &rate, &wanted, &outcome, &code, &detail, &changed, &asOf)
	if err != nil {
		return s, err
	}
	s.MAC, _ = hotspot.ParseMAC(mac)
	if ip != "" {
		if s.IP, err = netip.ParseAddr(ip); err != nil {
			return s, fault.New(fault.Damaged, "address of session "+string(s.ID), err)
		}
	}
	s.StartedAt, s.HeardAt, s.EndedAt, s.AsOf = at(started), at(heard), at(ended), at(asOf)
	s.Time, s.Upload, s.Download = duration(used), hotspot.Octets(upload), hotspot.Octets(download)
	return s, changeOf(&s, rate, wanted, outcome, code, detail, changed)
}

// Dead is an event that could not be read, for people to look at.
type Dead struct {
	Epoch      string
	Seq        int64
	Agent      hotspot.AgentID
	Event      []byte // as it came, JSON
	Reason     string
	ReceivedAt time.Time // cloud's clock
}

// DeadEvents returns a site's events that were set aside, the newest first.
func (db *DB) DeadEvents(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, limit int) (dead []Dead, err error) {
	err = db.read(ctx, "dead events", func(t *tx) error {
		dead = nil
		if err := t.owns(org, site); err != nil {
			return err
		}
		return t.each(`SELECT epoch, seq, agent, event, reason, received_at FROM event_dead WHERE site = $1 ORDER BY received_at DESC, seq DESC LIMIT $2`,
			[]any{string(site), min(max(limit, 1), 1000)}, func(scan func(...any) error) error {
				var d Dead
				var received int64
				err := scan(&d.Epoch, &d.Seq, &d.Agent, &d.Event, &d.Reason, &received)
				d.ReceivedAt = at(received)
				dead = append(dead, d)
				return err
			})
	})
	return dead, err
}
