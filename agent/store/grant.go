package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	// grantsBound is how many grants in force a site makes by itself.
	grantsBound = 20_000
	// grantsKept is how long one that is over is remembered, for people.
	grantsKept = 24 * time.Hour
	// listsKept is how long entries of ours may stand in a list that nothing is
	// wanted of: somewhat longer than a router keeps any (facts.md §6).
	listsKept = 40 * 7 * 24 * time.Hour
	// settledAtOnce is how many grants one event names.
	settledAtOnce = 500
	// ranKept is how old the running time on disk may be: what a power cut gives to
	// grants while the date is not trusted.
	ranKept = time.Minute
	// endsOff is how far the two ends of a grant may be apart; above it the date,
	// where it is trusted, sets the other.
	endsOff = time.Minute
)

// inForce is the condition on a grant; its parameters are those of DB.inForce.
const inForce = ` gone_at = 0 AND CASE WHEN until > 0 AND ? THEN until > ? ELSE ends > ? END`

// inForce returns the parameters of inForce: whether the date is trusted, the
// date, and the running time.
func (db *DB) inForce(now time.Time) []any {
	return []any{db.o.DateTrusted(), millis(now), db.ran().Milliseconds()}
}

// ran is how long this program has run, this time and before.
func (db *DB) ran() time.Duration { return db.ranBefore + db.o.Elapsed() }

// loadGrants reads what the store knows of address-lists at its start.
func (t *tx) loadGrants() error {
	var ms int64
	if _, err := t.row("read the running time", "SELECT ms FROM running_time WHERE id = 1", nil, &ms); err != nil {
		return err
	}
	t.db.ranBefore = time.Duration(ms)*time.Millisecond - t.db.o.Elapsed()
	var kept bool
	if _, err := t.row("look for lists kept over the API", "SELECT EXISTS (SELECT 1 FROM pass WHERE json_extract(limits, '$.lists_by_api'))", nil, &kept); err != nil {
		return err
	}
	t.db.apiLists.Store(kept)
	return nil
}

// GrantAsk is a grant as somebody on site asks for it: for a time, or until one.
type GrantAsk struct {
	List, Address string
	For           time.Duration // 0: Until says it
	Until         time.Time
	Comment, By   string
}

// AddGrant makes a grant on site. It is in force with the commit; the event
// tells the cloud, which gives it back as a document.
func (db *DB) AddGrant(ctx context.Context, a GrantAsk) (g hotspot.Grant, err error) {
	invalid := func(err error, next string) (hotspot.Grant, error) {
		return g, fault.New(fault.Invalid, "store: grant", err).WithCode("", next)
	}
	if err := hotspot.CheckListName(a.List); err != nil {
		return invalid(err, "Give the name of the list as the router's rules have it.")
	}
	address, err := hotspot.ParseListAddress(a.Address)
	if err != nil {
		return invalid(err, "Give one address, or a network with its length.")
	}
	trusted := db.o.DateTrusted()
	left := a.For
	if left == 0 && !trusted {
		return g, fault.New(fault.Conflict, "store: grant: the date of this box is not known to be right", nil).
			WithCode("", "Say for how long instead: --for 2h.")
	}
	now := db.o.Now()
	if left == 0 {
		left = a.Until.Sub(now)
	}
	if left < time.Second || left > hotspot.LongestGrant {
		return invalid(fmt.Errorf("a grant for %s", left.Round(time.Second)), "Give an end between a second and 366 days from now.")
	}
	err = db.do(ctx, func(t *tx) error {
		if err := t.roomForGrant(); err != nil {
			return err
		}
		g = hotspot.Grant{ID: hotspot.GrantID(hotspot.NewID(t.now)), List: a.List, Address: address, Comment: words(a.Comment), By: words(a.By),
			Left: left, MadeAt: t.now.UTC().Truncate(time.Millisecond)}
		if trusted {
			g.Until = now.Add(left).UTC().Truncate(time.Millisecond)
		}
		if err := t.putGrant(g, true); err != nil {
			return err
		}
		return t.event(wire.EventGrantMade, grantMade(g))
	})
	return g, err
}

func grantMade(g hotspot.Grant) wire.GrantMade {
	b := wire.GrantMade{ID: g.ID, GrantDoc: wire.FromGrant(g), LeftS: int64((g.Left + time.Second - 1) / time.Second)}
	if g.Until.IsZero() {
		b.Until = time.Time{}
	}
	return b
}

func (t *tx) roomForGrant() error {
	var n int
	if _, err := t.row("count grants", "SELECT COUNT(*) FROM list_grant WHERE"+inForce, t.db.inForce(t.now), &n); err != nil {
		return err
	}
	if n >= grantsBound {
		return fault.New(fault.Conflict, fmt.Sprintf("store: %d grants are in force, which is as many as a site makes by itself", n), nil).
			WithCode("", "Remove some, or grant a network instead of its addresses.")
	}
	return nil
}

// putGrant writes a grant. What was removed here stays so, and what became of it
// is kept. g.Left is from now.
func (t *tx) putGrant(g hotspot.Grant, here bool) error {
	ends := (t.db.ran() + g.Left).Milliseconds()
	_, err := t.exec("store grant", `INSERT INTO list_grant (id, list, address, until, ends, comment, asked_by, made_at, here, document, gone_at, state, state_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', 0)
		ON CONFLICT (id) DO UPDATE SET list = excluded.list, address = excluded.address, until = excluded.until, comment = excluded.comment,
			asked_by = excluded.asked_by, made_at = excluded.made_at, document = 1, ends = excluded.ends`,
		string(g.ID), g.List, g.Address.String(), millis(g.Until), ends, g.Comment, g.By, millis(g.MadeAt), here, !here)
	if err == nil {
		_, err = t.exec("note list", "INSERT INTO list_name (name, used_at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET used_at = MAX(used_at, excluded.used_at)",
			g.List, millis(t.now)+g.Left.Milliseconds())
	}
	t.lists, t.tick = true, true
	return err
}

// readGrant understands a grant document. How long it lasts is counted from the
// cloud's clock, which came with it: ours may be wrong.
func readGrant(d wire.Doc) (func(*tx) error, error) {
	var b wire.GrantDoc
	if err := json.Unmarshal(d.Body, &b); err != nil {
		return nil, err
	}
	g, err := b.Grant(hotspot.GrantID(d.ID))
	if err != nil {
		return nil, err
	}
	return func(t *tx) error {
		from := t.said
		if from.IsZero() {
			from = t.now
		}
		g := g
		g.Comment, g.By = words(g.Comment), words(g.By)
		g.Left = max(0, g.Until.Sub(from))
		return t.putGrant(g, false)
	}, nil
}

// removeGrant follows the tombstone of a document. keep is for a cloud that was
// restored from before: what was made here stays, and is told again.
func (t *tx) removeGrant(id hotspot.GrantID, keep bool) error {
	t.lists, t.tick = true, true
	if !keep {
		_, err := t.exec("remove grant", "DELETE FROM list_grant WHERE id = ?", string(id))
		return err
	}
	kept, err := t.grants("id = ? AND here = 1 AND"+inForce, append([]any{string(id)}, t.db.inForce(t.now)...)...)
	if err != nil {
		return err
	}
	if len(kept) == 0 {
		return t.removeGrant(id, false)
	}
	if _, err := t.exec("keep grant", "UPDATE list_grant SET document = 0 WHERE id = ?", string(id)); err != nil {
		return err
	}
	return t.event(wire.EventGrantMade, grantMade(kept[0].Grant))
}

// RemoveGrant takes grants out of force on site: that of an id, or those of a
// list and an address. It returns how many; kind NotFound for none.
func (db *DB) RemoveGrant(ctx context.Context, id hotspot.GrantID, list, address, by string) (n int, err error) {
	where, args := "id = ? AND", []any{string(id)}
	if id == "" {
		p, err := hotspot.ParseListAddress(address)
		if err != nil {
			return 0, fault.New(fault.Invalid, "store: grant", err).WithCode("", "Give the address as `grant list` shows it.")
		}
		where, args = "list = ? AND address = ? AND", []any{list, p.String()}
	}
	err = db.do(ctx, func(t *tx) error {
		found, err := t.grants(where+inForce, append(slices.Clone(args), db.inForce(t.now)...)...)
		if err != nil {
			return err
		}
		if n = len(found); n == 0 {
			return fault.New(fault.NotFound, "store: no such grant is in force", nil).WithCode("", "`iwas-agent grant list` shows those that are.")
		}
		for _, g := range found {
			if _, err := t.exec("end grant", "UPDATE list_grant SET gone_at = ? WHERE id = ?", millis(t.now), string(g.ID)); err != nil {
				return err
			}
			if err := t.event(wire.EventGrantRemoved, wire.GrantRemoved{ID: g.ID, By: words(by)}); err != nil {
				return err
			}
		}
		t.lists = true
		return nil
	})
	return n, err
}

// GrantView is a grant in force as the site sees it. Left is from now.
type GrantView struct {
	hotspot.Grant
	State    hotspot.GrantState
	StateAt  time.Time
	Document bool // the cloud has it; or it was made here and waits for that
	Here     bool // made on site
}

const grantColumns = "id, list, address, until, ends, comment, asked_by, made_at, here, document, state, state_at"

// scanGrant reads grantColumns.
func (db *DB) scanGrant(scan func(...any) error, now time.Time, trusted bool) (v GrantView, err error) {
	var address string
	var until, ends, made, stateAt int64
	if err := scan(&v.ID, &v.List, &address, &until, &ends, &v.Comment, &v.By, &made, &v.Here, &v.Document, &v.State, &stateAt); err != nil {
		return v, err
	}
	if v.Address, err = netip.ParsePrefix(address); err != nil {
		return v, fault.New(fault.Damaged, "store: address of grant "+string(v.ID), err)
	}
	v.Until, v.MadeAt, v.StateAt = fromMillis(until), fromMillis(made), fromMillis(stateAt)
	if v.Left = time.Duration(ends)*time.Millisecond - db.ran(); trusted && until > 0 {
		v.Left = v.Until.Sub(now)
	}
	return v, nil
}

func (t *tx) grants(where string, args ...any) (out []GrantView, err error) {
	trusted := t.db.o.DateTrusted()
	err = t.rows("read grants", "SELECT "+grantColumns+" FROM list_grant WHERE "+where, args, func(scan func(...any) error) error {
		v, err := t.db.scanGrant(scan, t.now, trusted)
		out = append(out, v)
		return err
	})
	return out, err
}

// Grants returns the grants in force, by list and address.
func (db *DB) Grants(ctx context.Context) (out []GrantView, err error) {
	now, trusted := db.o.Now(), db.o.DateTrusted()
	err = db.query(ctx, "read grants", "SELECT "+grantColumns+" FROM list_grant WHERE"+inForce+" ORDER BY list, address, id", db.inForce(now),
		func(scan func(...any) error) error {
			v, err := db.scanGrant(scan, now, trusted)
			out = append(out, v)
			return err
		})
	return out, err
}

// WantedLists returns what the address-lists should hold now: the grants in
// force, and for the sessions of passes that ask for it the guests' addresses.
// Of several grants for one list and address the latest end holds.
func (db *DB) WantedLists(ctx context.Context) (w hotspot.WantedLists, err error) {
	grants, err := db.Grants(ctx)
	if err != nil {
		return w, err
	}
	for i, g := range grants {
		if i > 0 && grants[i-1].List == g.List && grants[i-1].Address == g.Address {
			last := &w.Entries[len(w.Entries)-1]
			last.Left, last.Grants = max(last.Left, g.Left), append(last.Grants, g.ID)
			continue
		}
		w.Entries = append(w.Entries, hotspot.ListEntry{List: g.List, Address: g.Address, Left: g.Left, Grants: []hotspot.GrantID{g.ID}, Comment: g.Comment})
	}
	if db.apiLists.Load() {
		if err := db.sessionLists(ctx, &w); err != nil {
			return w, err
		}
	}
	return w, db.listNames(ctx, &w)
}

// sessionLists adds the entries of sessions.
func (db *DB) sessionLists(ctx context.Context, w *hotspot.WantedLists) error {
	now := db.o.Now()
	return db.query(ctx, "read sessions with lists of their own", "SELECT "+passColumns+`, s.nas, s.mac, s.ip FROM session s JOIN pass p ON p.id = s.pass LEFT JOIN usage u ON u.pass = p.id
		WHERE s.state <> 'closed' AND s.ip <> '' AND json_extract(p.limits, '$.lists_by_api')
		AND NOT EXISTS (SELECT 1 FROM lock l WHERE l.account = s.account OR l.mac <> '' AND l.mac = s.mac) ORDER BY s.id`, nil, func(scan func(...any) error) error {
		var nas, mac, ip string
		p, err := scanPass(func(into ...any) error { return scan(append(into, &nas, &mac, &ip)...) })
		if err != nil {
			return err
		}
		a := parseAddr(ip)
		if !a.IsValid() || db.o.Off(p, nil, now) != "" {
			return nil
		}
		e := hotspot.ListEntry{Address: netip.PrefixFrom(a, a.BitLen()), Account: p.Account, NAS: hotspot.NASID(nas), Comment: p.PlanName}
		e.MAC, _ = hotspot.ParseMAC(mac)
		for _, e.List = range p.Limits.AddressLists {
			w.Entries = append(w.Entries, e)
		}
		return nil
	})
}

// listNames adds the names of the lists, and keeps those that are new: what is
// put in them must be found again after a restart.
func (db *DB) listNames(ctx context.Context, w *hotspot.WantedLists) error {
	known := map[string]bool{}
	err := db.query(ctx, "read lists", "SELECT name FROM list_name ORDER BY name", nil, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		known[name] = true
		return err
	})
	if err != nil {
		return err
	}
	fresh := map[string]bool{}
	for _, e := range w.Entries {
		if !known[e.List] {
			fresh[e.List] = true
		}
	}
	if len(fresh) > 0 {
		err = db.do(ctx, func(t *tx) error {
			for name := range fresh {
				if _, err := t.exec("note list", "INSERT OR REPLACE INTO list_name (name, used_at) VALUES (?, ?)", name, millis(t.now)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	maps.Copy(known, fresh)
	w.Names = slices.Sorted(maps.Keys(known))
	return err
}

// SettleGrants keeps what became of grants, and tells the cloud what it was not
// told before.
func (db *DB) SettleGrants(ctx context.Context, settled []hotspot.SettledGrant) error {
	if len(settled) == 0 {
		return nil
	}
	return db.do(ctx, func(t *tx) error {
		fresh := map[hotspot.GrantState][]hotspot.GrantID{}
		for _, s := range settled {
			n, err := t.exec("settle grant", "UPDATE list_grant SET state = ?, state_at = ? WHERE id = ? AND state <> ? AND gone_at = 0",
				string(s.State), millis(t.now), string(s.ID), string(s.State))
			if err != nil {
				return err
			}
			if n > 0 {
				fresh[s.State] = append(fresh[s.State], s.ID)
			}
		}
		for _, state := range slices.Sorted(maps.Keys(fresh)) {
			for ids := range slices.Chunk(fresh[state], settledAtOnce) {
				if err := t.event(wire.EventGrantSettled, wire.GrantSettled{State: state, IDs: ids}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// keepRan keeps the running time, where a grant or a command may end by it, if what is kept
// is older than that.
func (t *tx) keepRan(old time.Duration) error {
	_, err := t.exec("keep the running time", "UPDATE running_time SET ms = ? WHERE id = 1 AND ms < ? AND (EXISTS (SELECT 1 FROM list_grant WHERE gone_at = 0) OR EXISTS (SELECT 1 FROM command_inbox))",
		t.db.ran().Milliseconds(), (t.db.ran() - old).Milliseconds())
	return err
}

// sweepGrants keeps the running time, and brings the two ends of grants
// together once the date is trusted: those made without a date get one, and
// those that are over by it do not come back when it is doubted again.
func (t *tx) sweepGrants() error {
	ran := t.db.ran().Milliseconds()
	if err := t.keepRan(ranKept); err != nil {
		return err
	}
	if !t.db.o.DateTrusted() {
		return nil
	}
	now := millis(t.now)
	undated, err := t.grants("until = 0 AND gone_at = 0 AND ends > ?", ran)
	if err != nil {
		return err
	}
	for _, g := range undated {
		g.Until = t.now.Add(g.Left).UTC().Truncate(time.Millisecond)
		if _, err := t.exec("date grant", "UPDATE list_grant SET until = ? WHERE id = ?", millis(g.Until), string(g.ID)); err != nil {
			return err
		}
		if err := t.event(wire.EventGrantMade, grantMade(g.Grant)); err != nil {
			return err
		}
	}
	if _, err := t.exec("end grants", "UPDATE list_grant SET gone_at = ? WHERE gone_at = 0 AND (until > 0 AND until <= ? OR until = 0 AND ends <= ?)", now, now, ran); err != nil {
		return err
	}
	_, err = t.exec("set the other end of grants", "UPDATE list_grant SET ends = ? + until - ? WHERE gone_at = 0 AND until > 0 AND ABS(ends - ? - until + ?) > ?",
		ran, now, ran, now, endsOff.Milliseconds())
	return err
}

// listsOf returns the address-lists that the reconciler puts the target's
// addresses in.
func (db *DB) listsOf(ctx context.Context, t *target) (out []string, err error) {
	if !db.apiLists.Load() {
		return nil, nil
	}
	mac := ""
	if t.Device {
		mac = t.mac.String()
	}
	err = db.query(ctx, "read lists of an account", `SELECT DISTINCT j.value FROM pass p, json_each(p.limits, '$.address_lists') j
		WHERE json_extract(p.limits, '$.lists_by_api') AND (p.account = ?1 OR ?2 <> '' AND p.id IN (SELECT pass FROM session WHERE mac = ?2 AND state <> 'closed')) ORDER BY 1`,
		[]any{string(t.Account), mac}, func(scan func(...any) error) error {
			var list string
			err := scan(&list)
			out = append(out, list)
			return err
		})
	return out, err
}
