package store

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"time"

	"iwas/internal/hotspot"
)

// online is the readers' copy of what says who of those online must be off, and
// what the others should run under: both are asked for every second. It holds facts
// and no answers. A date, or a time that is up, meets them at each look, so nothing
// has to be foreseen; and a look reads what was committed since the one before.
//
// What keeps it true: every commit that changes a session or its usage through the
// writer's work names the account, and one that writes a table of onlineTables by
// itself has all read anew.
type online struct {
	looking  sync.Mutex // guards accounts, while they are brought up to date and used
	accounts map[hotspot.AccountID]*onlineAccount

	mu      sync.Mutex // guards what follows; nothing waits under it
	all     bool
	changed map[hotspot.AccountID]bool // committed, and not read since
}

// onlineAccount is an account with an open session. That of "" has the sessions of
// nobody known here, and no passes.
type onlineAccount struct {
	known    bool            // its document is held
	passes   []*hotspot.Pass // its own, and those its sessions name
	sessions []running       // open ones
}

// onlineBound is how many accounts are read one by one; beyond it reading all
// takes less.
const onlineBound = 32

const onlineOrder = " ORDER BY started_at DESC, id"

// onlineTables are written by a statement that changes what online holds.
var onlineTables = regexp.MustCompile(`^(INSERT|INSERT OR \w+|REPLACE|DELETE|UPDATE)( INTO| FROM)? (account|pass|usage|session|session_change)\b`)

func newOnline() *online {
	return &online{all: true, accounts: map[hotspot.AccountID]*onlineAccount{}, changed: map[hotspot.AccountID]bool{}}
}

// note takes in what a commit changed.
func (o *online) note(t *tx) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range t.order {
		o.changed[c.Account] = true
	}
	for _, c := range t.used {
		o.changed[c.account] = true
	}
	if o.all = o.all || t.online || len(o.changed) > onlineBound; o.all {
		clear(o.changed)
	}
}

// doubt has all read anew.
func (o *online) doubt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = true
	clear(o.changed)
}

// take returns what is to be read anew, and leaves nothing.
func (o *online) take() (all bool, changed []hotspot.AccountID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all, o.all = o.all, false
	for id := range o.changed {
		changed = append(changed, id)
	}
	clear(o.changed)
	return all, changed
}

// eachOnline calls do for every account with an open session, as committed, in
// the order of their ids. What do is given never changes: it may be kept.
func (db *DB) eachOnline(ctx context.Context, do func(hotspot.AccountID, *onlineAccount)) error {
	o := db.online
	o.looking.Lock()
	defer o.looking.Unlock()
	// What is committed from here on is noted again, and read by the next look.
	all, changed := o.take()
	var err error
	if all {
		var fresh map[hotspot.AccountID]*onlineAccount
		if fresh, err = db.readAllOnline(ctx); err == nil {
			o.accounts = fresh
		}
	}
	for _, id := range changed {
		if err == nil {
			err = db.readOnline(ctx, id)
		}
	}
	if err != nil {
		o.doubt()
		return err
	}
	ids := make([]hotspot.AccountID, 0, len(o.accounts))
	for id := range o.accounts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		do(id, o.accounts[id])
	}
	return nil
}

// readAllOnline reads everybody.
func (db *DB) readAllOnline(ctx context.Context) (map[hotspot.AccountID]*onlineAccount, error) {
	const those = "(SELECT account FROM session WHERE state <> 'closed')"
	accounts := map[hotspot.AccountID]*onlineAccount{}
	sessions, err := db.running(ctx, "state <> 'closed'"+onlineOrder)
	if err != nil {
		return nil, err
	}
	of := map[hotspot.PassID][]*onlineAccount{} // whose sessions name it
	for _, r := range sessions {
		a := accounts[r.Account]
		if a == nil {
			a = &onlineAccount{}
			accounts[r.Account] = a
		}
		a.sessions = append(a.sessions, r)
		if !slices.Contains(of[r.Pass], a) {
			of[r.Pass] = append(of[r.Pass], a)
		}
	}
	err = db.query(ctx, "read passes of those online", "SELECT "+passColumns+` FROM pass p LEFT JOIN usage u ON u.pass = p.id WHERE p.account IN `+those+`
		OR p.id IN (SELECT pass FROM session WHERE state <> 'closed') ORDER BY p.sold_at, p.id`, nil, func(scan func(...any) error) error {
		p, err := scanPass(scan)
		if err != nil {
			return err
		}
		if a := accounts[p.Account]; a != nil {
			a.passes = append(a.passes, p)
		}
		for _, a := range of[p.ID] {
			if a != accounts[p.Account] {
				a.passes = append(a.passes, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = db.query(ctx, "read accounts of those online", "SELECT id FROM account WHERE id IN "+those, nil, func(scan func(...any) error) error {
		var id hotspot.AccountID
		err := scan(&id)
		if a := accounts[id]; a != nil {
			a.known = true
		}
		return err
	})
	return accounts, err
}

// readOnline reads one account anew; looking is held.
func (db *DB) readOnline(ctx context.Context, id hotspot.AccountID) (err error) {
	a := &onlineAccount{}
	delete(db.online.accounts, id)
	if a.sessions, err = db.running(ctx, "account = ? AND state <> 'closed'"+onlineOrder, id); err != nil || len(a.sessions) == 0 {
		return err
	}
	err = db.query(ctx, "read passes of one online", "SELECT "+passColumns+` FROM pass p LEFT JOIN usage u ON u.pass = p.id WHERE p.account = ?
		OR p.id IN (SELECT pass FROM session WHERE account = ? AND state <> 'closed') ORDER BY p.sold_at, p.id`, []any{id, id}, func(scan func(...any) error) error {
		p, err := scanPass(scan)
		a.passes = append(a.passes, p)
		return err
	})
	if err != nil {
		return err
	}
	err = db.query(ctx, "read the account of one online", "SELECT 1 FROM account WHERE id = ?", []any{id}, func(scan func(...any) error) error {
		var one int
		a.known = true
		return scan(&one)
	})
	if err == nil {
		db.online.accounts[id] = a
	}
	return err
}

// pass returns one of the passes, or nil when its document is no more.
func (a *onlineAccount) pass(id hotspot.PassID) *hotspot.Pass {
	for _, p := range a.passes {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// open reports whether a session is open with the pass.
func (a *onlineAccount) open(id hotspot.PassID) bool {
	return slices.ContainsFunc(a.sessions, func(r running) bool { return r.Pass == id })
}

// heard is when any session of the pass that lives was heard of last.
func (a *onlineAccount) heard(id hotspot.PassID) (at time.Time) {
	for _, r := range a.sessions {
		if r.changeable() && r.Pass == id && r.HeardAt.After(at) {
			at = r.HeardAt
		}
	}
	return at
}
