package router

import (
	"context"
	"fmt"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// Health is what is known of one router.
type Health struct {
	NAS       hotspot.NASID
	API       bool          // an API is configured; without one nothing below is known
	Reachable bool          // the last look succeeded
	SeenAt    time.Time     // of the last look that succeeded, by our clock; zero: never
	RoundTrip time.Duration // of reading the active list then
	Guests    int           // on the active list then

	Listed []hotspot.ActiveEntry // the active list then

	Identity, Version, Board string        // /system/identity, /system/resource
	Uptime                   time.Duration // when they were read

	Silent          bool   // its last Disconnect-Request was not answered (RAD-104)
	Err, Code, Hint string // of the last look, when it failed
	Ways            []Way  // round its HotSpot, as seen last
	Lists           ListHealth
	WaysAt          time.Time // when that was, for those open to every guest; zero: never

	Vitals Vitals
}

// Way is a way round a router's HotSpot.
type Way struct {
	Code    string            // of the catalogue
	Text    string            // for people: what exactly, and what to do
	Account hotspot.AccountID // the locked account it is open to; "": every guest
}

// Waiting is an account that must be off and is not proven off yet.
type Waiting struct {
	Account hotspot.AccountID
	Lock    bool      // it is locked; otherwise its time, its data or its pass is over
	Since   time.Time // when the site learnt of it
	Tries   int       // since it was last tried at once: for a new session, or a router that came back
	Code    string    // of the catalogue: why the last one failed
	Err     string
}

// report guards a Health.
type report struct {
	mu sync.Mutex
	h  Health
}

// Health returns what is known of each router, in the order of Routers.
func (e *Enforcer) Health() []Health {
	e.init()
	out := make([]Health, 0, len(e.nases))
	for _, n := range e.nases {
		n.health.mu.Lock()
		h := n.health.h
		n.health.mu.Unlock()
		h.NAS, h.API, h.Silent = n.NAS, n.Dial != nil, n.silent.Load()
		h.WaysAt, h.Lists = n.survey.seen(), n.lists.known()
		h.Vitals = n.vitals.known()
		for _, w := range n.survey.ways() {
			h.Ways = append(h.Ways, Way{Code: w.code, Text: w.text})
		}
		h.Ways = append(h.Ways, n.openTo.ways()...)
		out = append(out, h)
	}
	return out
}

// seen is when the newest ground was looked at; zero: never.
func (s *survey) seen() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return time.Time{}
	}
	return s.last.at
}

// Waiting returns the accounts an attempt at which has failed, for a condition.
func (e *Enforcer) Waiting() []Waiting {
	e.init()
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Waiting
	for id, a := range e.accounts {
		if a.err != "" {
			out = append(out, Waiting{Account: id, Lock: a.lock, Since: a.received, Tries: a.tries, Code: a.code, Err: a.err})
		}
	}
	return out
}

// watch looks at a router for ever: its list of guests, its health, its ways
// round the HotSpot. It has a connection of its own.
func (e *Enforcer) watch(ctx context.Context, n *nas) {
	var described time.Time
	failures := 0
	for ctx.Err() == nil {
		dials := n.watcher.dials.Load()
		err := e.look(ctx, n, &described)
		if ctx.Err() != nil {
			return
		}
		if dials != n.watcher.dials.Load() { // it may have restarted: timed entries are lost
			n.lists.doubt.Store(true)
			n.lists.poke()
		}
		e.told(n, err, failures > 0)
		wait := e.Poll
		if err != nil {
			failures++
			wait = min(e.Poll, backOffFirst<<min(failures-1, 5))
		} else {
			failures = 0
		}
		pause(ctx, wait)
	}
}

// look reads the router once.
func (e *Enforcer) look(ctx context.Context, n *nas, described *time.Time) error {
	at, begun := e.Now(), time.Now()
	rows, err := n.watcher.do(ctx, "/ip/hotspot/active/print", "=.proplist="+watchedProperties)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	entries, on := make([]hotspot.ActiveEntry, len(rows)), make([]active, len(rows))
	for i, r := range rows {
		on[i] = parseActive(r)
		entries[i] = on[i].ActiveEntry
	}
	n.saw(e.Now(), took, entries)
	if err := e.Store.ObserveActive(ctx, n.NAS, entries, at); err != nil && ctx.Err() == nil {
		e.Log.Error("keep the active list", "nas", n.NAS, "err", err)
	}
	if time.Since(*described) > describeEvery {
		if err := n.describe(ctx); err != nil {
			return err
		}
		*described = time.Now()
	}
	if n.survey.older(surveyEvery) {
		n.survey.begin(e.background, n)
	}
	if err := e.lookForNamed(ctx, n, on); err != nil {
		return err
	}
	// A command connection that died is found out here, not by a lock.
	if err := n.command.ready(ctx); err != nil {
		return err
	}
	return n.vitals.read(ctx, n, e.Now) // last: what is above goes by the list just read
}

// describe reads what the router is.
func (n *nas) describe(ctx context.Context) error {
	resource, err := n.watcher.do(ctx, "/system/resource/print", "=.proplist=version,board-name,uptime")
	if err != nil {
		return err
	}
	identity, err := n.watcher.do(ctx, "/system/identity/print")
	if err != nil {
		return err
	}
	if len(resource) != 1 || len(identity) != 1 {
		return fault.New(fault.Internal, fmt.Sprintf("describe the router: %d and %d rows for one", len(resource), len(identity)), nil)
	}
	uptime, _ := routeros.ParseDuration(resource[0]["uptime"]) // absent or odd: unknown, 0
	n.health.mu.Lock()
	defer n.health.mu.Unlock()
	h := &n.health.h
	if uptime < h.Uptime { // over REST a restart cuts no connection that anybody notices
		n.lists.doubt.Store(true)
		n.lists.poke()
	}
	h.Identity, h.Version, h.Board, h.Uptime = identity[0]["name"], resource[0]["version"], resource[0]["board-name"], uptime
	return nil
}

func (n *nas) saw(at time.Time, took time.Duration, entries []hotspot.ActiveEntry) {
	n.health.mu.Lock()
	defer n.health.mu.Unlock()
	h := &n.health.h
	h.SeenAt, h.RoundTrip, h.Guests, h.Listed = at, took, len(entries), entries
}

// told notes how a look ended, says changes in the log, and has the accounts
// that wait for this router tried again when it is back.
func (e *Enforcer) told(n *nas, err error, failing bool) {
	n.health.mu.Lock()
	h := &n.health.h
	changed := h.Reachable != (err == nil) || h.Code != fault.Code(err)
	h.Reachable = err == nil
	h.Err, h.Code, h.Hint = "", fault.Code(err), fault.Hint(err)
	if err != nil {
		h.Err = err.Error()
	}
	n.health.mu.Unlock()
	switch {
	case err != nil && changed:
		e.Log.Warn("router cannot be read", "nas", n.NAS, "err", err, "code", fault.Code(err), "next", fault.Hint(err))
	case err == nil && changed:
		e.Log.Info("router answers", "nas", n.NAS)
	}
	if err == nil && failing {
		e.again()
	}
}
