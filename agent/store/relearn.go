package store

import (
	"context"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// relearnFor is how long after a restore guests are looked for whom the copy did
// not know: five interim intervals.
const relearnFor = 10 * time.Minute

// learning reports whether this opening put the database back, and lately.
func (db *DB) learning() bool {
	return db.restored != nil && db.o.Elapsed()-db.openedRan < relearnFor
}

// owners finds the accounts of those on a router's list who logged in through us
// before this program began: nobody, but after a restore.
func (db *DB) owners(ctx context.Context, entries []hotspot.ActiveEntry, at time.Time) (map[string]hotspot.AccountID, error) {
	if !db.learning() {
		return nil, nil
	}
	found := map[string]hotspot.AccountID{}
	for _, e := range entries {
		if _, known := found[e.User]; known || !db.before(e, at) {
			continue
		}
		id, err := db.accountOf(ctx, e.User)
		if err != nil {
			return nil, err
		}
		found[e.User] = id
	}
	return found, nil
}

// before reports whether a guest was let in by RADIUS before this program began:
// whoever came later has a session, or will have one in a moment.
func (db *DB) before(e hotspot.ActiveEntry, at time.Time) bool {
	return e.RADIUS && !e.MAC.IsZero() && at.Add(-e.Uptime).Before(db.opened)
}

// relearn begins the sessions of guests whom the router holds and the copy that was
// put back did not know, so that they count as devices and can be put off. What
// they used is billed by their next record, which takes the session over.
func (t *tx) relearn(nas hotspot.NASID, entries []hotspot.ActiveEntry, owners map[string]hotspot.AccountID, taken map[hotspot.MAC]bool, at time.Time) error {
	for _, e := range entries {
		account := owners[e.User]
		if account == "" || taken[e.MAC] || !t.db.before(e, at) {
			continue
		}
		taken[e.MAC] = true
		var pass hotspot.PassID
		if _, err := t.row("find the pass of a guest", "SELECT id FROM pass WHERE account = ? ORDER BY sold_at DESC, id DESC LIMIT 1", []any{account}, &pass); err != nil {
			return err
		}
		s := session{Session: hotspot.Session{ID: hotspot.SessionID(hotspot.NewID(t.now)), Account: account, Pass: pass, NAS: nas, Username: e.User,
			MAC: e.MAC, IP: e.IP, Server: e.Server, State: hotspot.Live, StartedAt: at.Add(-e.Uptime), HeardAt: at}}
		t.save(s, nil)
		if err := t.event(wire.EventSessionStarted, wire.FromSession(s.Session)); err != nil {
			return err
		}
		t.wanted = true
		t.db.w.router.seen[s.ID] = at
		if t.db.w.relearnt == nil {
			t.db.w.relearnt = map[deviceAt]hotspot.SessionID{}
		}
		t.db.w.relearnt[deviceAt{nas, e.MAC}] = s.ID
	}
	return nil
}

// adopt gives a relearnt session the permit of its first record.
func (t *tx) adopt(a hotspot.Accounting, p permit) (s session, found bool, err error) {
	at := deviceAt{a.NAS, a.MAC}
	id, there := t.db.w.relearnt[at]
	if !there {
		return s, false, nil
	}
	if err := t.settle(); err != nil {
		return s, false, err
	}
	s, found, err = t.findSession("id = ? AND permit IS NULL AND acct_session_id = '' AND state <> 'closed'", id)
	start := eventTime(a).Add(-a.SessionTime)
	if err != nil || !found || s.StartedAt.Sub(start).Abs() > sessionMatch {
		delete(t.db.w.relearnt, at) // over, or of another login
		return s, false, err
	}
	was := s.Pass
	s.AcctSessionID = a.AcctSessionID
	if p.id != "" {
		s.Permit, s.Account, s.Pass, s.terms = p.id, p.account, p.pass, p.terms
	}
	var token any // NULL where the NAS does not echo Class
	if s.Permit != "" {
		token = string(s.Permit)
	}
	if _, err := t.exec("take over a session", "UPDATE session SET permit = ?, account = ?, pass = ?, acct_session_id = ?, terms = ? WHERE id = ?",
		token, string(s.Account), string(s.Pass), string(s.AcctSessionID), s.terms, string(id)); err != nil {
		return s, false, err
	}
	t.through = true
	t.forgetPass(was)
	t.forgetPass(s.Pass)
	t.freed = append(t.freed, s.Account)
	delete(t.db.w.relearnt, at)
	return s, true, nil
}
