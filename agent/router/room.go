package router

import (
	"context"
	"slices"
	"sync"
	"time"

	"iwas/internal/hotspot"
)

// A login that is refused because too many devices are on waits while the
// routers are asked whether those devices are there at all, and on a plan that
// moves, while the old one is put off. Whoever waits gives up soon; what was
// begun goes on in an errand, so that no half-read answer costs the connection
// that a lock may need next.

const (
	goneWait      = 300 * time.Millisecond // a login waits no longer for the routers' lists
	endWait       = 500 * time.Millisecond // nor for the end of an old session
	roomPatience  = 200 * time.Millisecond // of which this for the answer to Disconnect-Request, where there is an API
	errandTime    = 5 * time.Second        // what was begun may take so long
	errandWorkers = 4                      // errands at once, all routers together
	errandsBound  = 64                     // waiting; beyond it logins stay refused
	// rollFresh is how long a list answers further logins, so that many of them
	// cost a router two reads a second. What was heard of since is not judged by it.
	rollFresh = 500 * time.Millisecond
	// promiseTime is how long an Accept may take to become a row of the list: the
	// router's tries, and the login itself. A promise older than that is void.
	promiseTime = 5 * time.Second
)

// errand is begun here and goes on without its caller.
type errand func(ctx context.Context)

// runErrands works until ctx ends.
func (e *Enforcer) runErrands(ctx context.Context) {
	for {
		select {
		case do := <-e.errands:
			commands, cancel := context.WithTimeout(ctx, errandTime)
			do(commands)
			cancel()
		case <-ctx.Done():
			return
		}
	}
}

// send puts an errand in the queue; false when it is full.
func (e *Enforcer) send(do errand) bool {
	select {
	case e.errands <- do:
		return true
	default:
		return false
	}
}

// roll is a router's list of who is on, shared by all who ask at the same time.
type roll struct {
	mu   sync.Mutex
	last *rollCall
}

// rollCall is one read of the list.
type rollCall struct {
	done  chan struct{}
	begun time.Time // by our clock; the rows are no older
	rows  []active
	err   error
}

// call returns a read of the list that is under way or fresh, else begins one;
// nil when none can be begun.
func (e *Enforcer) call(n *nas) *rollCall {
	n.roll.mu.Lock()
	defer n.roll.mu.Unlock()
	now := e.Now()
	if c := n.roll.last; c != nil {
		select {
		case <-c.done:
			if age := now.Sub(c.begun); c.err == nil && age >= 0 && age < rollFresh {
				return c
			}
		default:
			return c
		}
	}
	c := &rollCall{done: make(chan struct{})}
	if !e.send(func(ctx context.Context) {
		defer close(c.done)
		c.begun = e.Now()
		c.rows, c.err = n.active.read(ctx, n.command)
	}) {
		return nil
	}
	n.roll.last = c
	return c
}

// Gone returns those of the sessions that are on no router: each router's active
// list was read and does not hold them. A router without an API, or one that
// does not answer in time, says nothing: its sessions are not gone. It returns
// within goneWait.
func (e *Enforcer) Gone(ctx context.Context, sessions []hotspot.Session) []hotspot.SessionID {
	e.init()
	ctx, cancel := context.WithTimeout(ctx, goneWait)
	defer cancel()
	calls := map[hotspot.NASID]*rollCall{}
	for _, n := range e.nases {
		if n.Dial != nil && slices.ContainsFunc(sessions, func(s hotspot.Session) bool { return s.NAS == n.NAS }) {
			calls[n.NAS] = e.call(n)
		}
	}
	var gone []hotspot.SessionID
	for _, s := range sessions {
		c := calls[s.NAS]
		if c == nil {
			continue
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return gone
		}
		if c.err == nil && absent(c.rows, s, c.begun) {
			gone = append(gone, s.ID)
		}
	}
	return gone
}

// absent reports whether a list read at a time proves that a session is not on.
func absent(rows []active, s hotspot.Session, read time.Time) bool {
	known := s.HeardAt
	if s.State == hotspot.Reserved {
		known = known.Add(promiseTime) // it may be on its way to the list
	}
	if s.HeardAt.IsZero() || !known.Before(read) {
		return false
	}
	who := newWho(hotspot.Target{Sessions: []hotspot.Session{s}}, s.NAS)
	for _, r := range rows {
		switch {
		case s.Username != "" && !who.named(r.User, r.domain): // the device is on with another account
		case s.MAC.IsZero() && !s.IP.IsValid(): // by name only: one of them may be it
			return false
		case !s.MAC.IsZero() && s.MAC == r.MAC, s.IP.IsValid() && s.IP == r.IP:
			return false
		}
	}
	return true
}

// End puts the sessions of one account off to make room for another device of
// it: cookies, Disconnect-Request, and over the API what is then still on. It
// returns those that are off: by the router's own list where there is an API, by
// its answer where there is none. It returns within endWait; what it began, the
// connections of the old device included, is brought to its end all the same.
func (e *Enforcer) End(ctx context.Context, account hotspot.AccountID, sessions []hotspot.Session) []hotspot.SessionID {
	e.init()
	ctx, cancel := context.WithTimeout(ctx, endWait)
	defer cancel()
	t := hotspot.Target{Account: account, Reason: hotspot.OffTooMany, Sessions: sessions, ReceivedAt: e.Now()}
	off := make(chan []hotspot.SessionID, len(sessions)) // one answer of each NAS
	waiting := 0
	for _, n := range e.concerned(t) {
		a := newAttempt(e, n, t, record{})
		if e.send(func(ctx context.Context) { a.makeRoom(ctx, off) }) {
			waiting++
		}
	}
	var ended []hotspot.SessionID
	for ; waiting > 0; waiting-- {
		select {
		case ids := <-off:
			ended = append(ended, ids...)
		case <-ctx.Done():
			return ended
		}
	}
	return ended
}

// makeRoom ends the attempt's sessions, says which are off, and then drops what
// their devices have open.
func (a *attempt) makeRoom(ctx context.Context, off chan<- []hotspot.SessionID) {
	if a.n.Dial == nil {
		detail, err := a.disconnect(ctx)
		var ids []hotspot.SessionID
		if err == nil { // each answer was an ACK, or that there is no such session
			ids = idsOf(a.sessions)
		}
		off <- ids
		a.e.Log.Info("made room for a device", "user_ref", a.t.Account, "nas", a.n.NAS, "ended", len(ids), "detail", detail, "err", err)
		return
	}
	a.patience = roomPatience
	a.cookiesThenDisconnect(ctx)
	a.step(hotspot.StepActive, func() (string, error) { return a.removeEntries(ctx) })
	var ids []hotspot.SessionID
	rows, err := a.n.active.read(ctx, a.n.command)
	if err == nil && len(a.sortEntries(rows)) == 0 {
		ids = idsOf(a.sessions)
	}
	off <- ids
	if len(ids) > 0 {
		a.step(hotspot.StepConnections, func() (string, error) { return a.dropConnections(ctx) })
	}
	a.e.Log.Info("made room for a device", "user_ref", a.t.Account, "nas", a.n.NAS, "ended", len(ids), "of", len(a.sessions), "problem", a.problem())
}

func idsOf(sessions []hotspot.Session) []hotspot.SessionID {
	ids := make([]hotspot.SessionID, len(sessions))
	for i, s := range sessions {
		ids[i] = s.ID
	}
	return ids
}

// problem is the first step that failed, for the log; "" when none did.
func (a *attempt) problem() string {
	for _, s := range a.steps {
		if !s.OK {
			return s.Name + ": " + s.Detail
		}
	}
	return ""
}
