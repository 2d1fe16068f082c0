package store

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/hotspot"
)

// desk holds, in memory, the facts of the accounts that log in, so that an
// Access-Request is judged without the writer and without SQL. A commit drops or
// renews what it changed before anybody who asked for it is answered.
//
// Lock order: desk.mu before entry.mu. Nothing waits for I/O under either.
type desk struct {
	mu        sync.Mutex
	accounts  map[hotspot.AccountID]*entry
	names     map[string]*entry   // by login name as received
	spellings map[string][]string // those names, by their coarse form
	renames   uint64              // rises when a name may lead to another account

	// departed is when the newest Accept of any account left that is no longer at
	// the desk, Unix nanoseconds: it stands for the Accepts of all of them. newest
	// is that of any account at all, and stands for those to a device.
	departed, newest atomic.Int64
}

const (
	// deskBound is how many accounts are on the desk. At the bound one without a
	// promise leaves for the new one; about 1.5 kB each.
	deskBound = 16384
	// spellingsBound is how many spellings of one account's name are known.
	spellingsBound = 8
	// promisesBound is how many logins of one account may wait for their Start;
	// at the bound the oldest no longer counts as a device.
	promisesBound = 64
)

// entry is one account at the desk.
type entry struct {
	desk    *desk
	account hotspot.AccountID
	names   []string // of desk.names; guarded by desk.mu

	mu      sync.Mutex
	gone    bool   // left the desk: ask the desk again
	version uint64 // rises with every change, so that a reader knows it was overtaken
	facts   *facts // nil: to be read
	// sealed and clear are the newest opened password: opening is slow.
	sealed string
	clear  hotspot.Password
	// promises are Accepts whose Start has not come, oldest first. They are kept
	// in memory only: a restart forgets logins that have not begun.
	promises   []*hotspot.Session
	lastAccept time.Time                       // when the newest Accept left, the first time or repeated; zero if none did
	judged     map[hotspot.SessionID]time.Time // HeardAt of the sessions that stood in the way of the newest refusal
}

// facts are those of one account as committed. What the pointers lead to never
// changes; a change puts another in its place.
type facts struct {
	readAt   time.Time
	account  *hotspot.Account // nil: it is no more
	password hotspot.Password
	lock     *hotspot.Lock
	passes   []*hotspot.Pass // in the order of sale: the newest, and all that can be of use
	sessions []*hotspot.Session
}

func newDesk() *desk {
	return &desk{accounts: map[hotspot.AccountID]*entry{}, names: map[string]*entry{}, spellings: map[string][]string{}}
}

// coarse brings every spelling that could mean the same account to one form:
// names with equal hotspot.LoginKey of any kind have it in common.
func coarse(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == ' ' || r == ':' || r == '.':
			return -1
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		}
		return r
	}, name)
}

// byName returns the account a name led to, or the count of renames to hold
// against when it has been looked up.
func (d *desk) byName(name string) (e *entry, renames uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[name], d.renames
}

// byAccount returns an account at the desk, or nil.
func (d *desk) byAccount(id hotspot.AccountID) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accounts[id]
}

// seat gives an account its place under a name, or nil when names changed since
// renames was read.
func (d *desk) seat(id hotspot.AccountID, name string, renames uint64) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.renames != renames {
		return nil
	}
	e := d.accounts[id]
	if e == nil {
		for len(d.accounts) >= deskBound {
			d.evict()
		}
		e = &entry{desk: d, account: id}
		d.accounts[id] = e
	}
	if d.names[name] == nil {
		if len(e.names) >= spellingsBound {
			d.unname(e.names[0])
		}
		d.names[name], e.names = e, append(e.names, name)
		c := coarse(name)
		d.spellings[c] = append(d.spellings[c], name)
	}
	return e
}

// unname forgets where a name led.
func (d *desk) unname(name string) {
	e := d.names[name]
	if e == nil {
		return
	}
	delete(d.names, name)
	is := func(s string) bool { return s == name }
	e.names = slices.DeleteFunc(e.names, is)
	c := coarse(name)
	if d.spellings[c] = slices.DeleteFunc(d.spellings[c], is); len(d.spellings[c]) == 0 {
		delete(d.spellings, c)
	}
}

// evict removes one of a few accounts, if possible one that promised nothing.
func (d *desk) evict() {
	var out *entry
	looked := 0
	for _, e := range d.accounts { // in no order
		e.mu.Lock()
		promised := len(e.promises) > 0
		e.mu.Unlock()
		out = e
		if looked++; !promised || looked == 8 {
			break
		}
	}
	for len(out.names) > 0 {
		d.unname(out.names[0])
	}
	delete(d.accounts, out.account)
	out.mu.Lock()
	defer out.mu.Unlock()
	out.gone, out.facts = true, nil
	later(&d.departed, out.lastAccept)
}

// later moves a moment, in Unix nanoseconds, forward to at.
func later(moment *atomic.Int64, at time.Time) {
	if at.IsZero() {
		return
	}
	for {
		newest := moment.Load()
		if at.UnixNano() <= newest || moment.CompareAndSwap(newest, at.UnixNano()) {
			return
		}
	}
}

// Left notes that an Accept of the account has left (hotspot.Departures).
func (e *entry) Left(at time.Time) {
	later(&e.desk.newest, at)
	e.mu.Lock()
	defer e.mu.Unlock()
	if at.After(e.lastAccept) {
		e.lastAccept = at
	}
	if e.gone {
		later(&e.desk.departed, at)
	}
}

// drop forgets the facts of accounts, promises excepted. Whoever asks next
// reads them anew.
func (d *desk) drop(accounts []hotspot.AccountID) {
	for _, id := range accounts {
		if e := d.byAccount(id); e != nil {
			e.mu.Lock()
			e.facts = nil
			e.version++
			e.mu.Unlock()
		}
	}
}

// rename forgets where names led that an account document is about.
func (d *desk) rename(keys []string) {
	if len(keys) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.renames++
	for _, key := range keys {
		for c := coarse(key); len(d.spellings[c]) > 0; {
			d.unname(d.spellings[c][0])
		}
	}
}

// session takes in a session as committed. It reports whether somebody should
// look whether it may be open.
func (d *desk) session(s *hotspot.Session) (look bool) {
	e := d.byAccount(s.Account)
	if e == nil {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version++
	if s.Permit != "" {
		e.withdraw(func(p *hotspot.Session) bool { return p.Permit == s.Permit })
	}
	f := e.facts
	if f == nil {
		return true
	}
	at := slices.IndexFunc(f.sessions, func(o *hotspot.Session) bool { return o.ID == s.ID })
	switch {
	case s.State == hotspot.Closed && at >= 0:
		f.sessions = slices.Delete(f.sessions, at, at+1)
	case s.State == hotspot.Closed:
	case at >= 0:
		f.sessions[at] = s
	default:
		f.sessions = append(f.sessions, s)
	}
	return f.lock != nil || f.account == nil
}

// usage takes in what is gone of a pass as committed.
func (d *desk) usage(account hotspot.AccountID, pass hotspot.PassID, u hotspot.Usage) {
	e := d.byAccount(account)
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version++
	if e.facts == nil {
		return
	}
	for i, p := range e.facts.passes {
		if p.ID == pass {
			fresh := *p
			fresh.Usage = u
			e.facts.passes[i] = &fresh
		}
	}
}

// withdraw takes promises back; e.mu is held.
func (e *entry) withdraw(which func(*hotspot.Session) bool) {
	e.promises = slices.DeleteFunc(e.promises, which)
}

// lapse takes back the promises nothing came of. Not from the future either:
// after a clock was set back no promise may last.
func (e *entry) lapse(now time.Time) {
	if len(e.promises) > 0 {
		e.withdraw(func(p *hotspot.Session) bool { return now.Sub(p.StartedAt).Abs() > reservationTime })
	}
}

// promised returns the account's logins that have not begun, and when the newest
// Accept left that may be its own.
func (d *desk) promised(account hotspot.AccountID, now time.Time) (waiting []hotspot.Session, newest time.Time) {
	if e := d.byAccount(account); e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.lapse(now)
		for _, p := range e.promises {
			waiting = append(waiting, *p)
		}
		newest = e.lastAccept
	}
	if at := d.departed.Load(); at != 0 && time.Unix(0, at).After(newest) {
		newest = time.Unix(0, at)
	}
	return waiting, newest
}

// promisedTo returns the logins of a device that have not begun, whoever's, and
// when the newest Accept left that may be one to it: that of anybody.
func (d *desk) promisedTo(m hotspot.MAC, now time.Time) (waiting []hotspot.Session, newest time.Time) {
	d.each(func(e *entry) {
		e.lapse(now)
		for _, p := range e.promises {
			if p.MAC == m {
				waiting = append(waiting, *p)
			}
		}
	})
	if at := d.newest.Load(); at != 0 {
		newest = time.Unix(0, at)
	}
	return waiting, newest
}

// waits reports whether a permit is still only promised.
func (d *desk) waits(p permit) bool {
	e := d.byAccount(p.account)
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.promises, func(s *hotspot.Session) bool { return s.Permit == p.id })
}

// withdraw takes back promises of one account.
func (d *desk) withdraw(account hotspot.AccountID, which func(*hotspot.Session) bool) {
	if e := d.byAccount(account); e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.withdraw(which)
	}
}

// withdrawAny takes back promises whoever's they are. It looks at everybody: it
// is for the few that a router was asked about, and for devices.
func (d *desk) withdrawAny(which func(*hotspot.Session) bool) {
	d.each(func(e *entry) { e.withdraw(which) })
}

// each calls do for every account with promises, which is held meanwhile.
func (d *desk) each(do func(*entry)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.accounts {
		e.mu.Lock()
		if len(e.promises) > 0 {
			do(e)
		}
		e.mu.Unlock()
	}
}

// heardWhenJudged returns when a session had last been heard of when it stood in
// the way of a login.
func (d *desk) heardWhenJudged(account hotspot.AccountID, id hotspot.SessionID) (at time.Time, judged bool) {
	e := d.byAccount(account)
	if e == nil {
		return at, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	at, judged = e.judged[id]
	return at, judged
}
