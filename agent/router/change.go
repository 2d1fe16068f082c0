package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// Changes knows which live sessions do not run under the wanted terms, and keeps
// what came of changing them.
type Changes interface {
	Adjusting(ctx context.Context) ([]hotspot.Change, error)
	Adjusted(ctx context.Context, c hotspot.Changed) error
}

// Changer sends CoA-Request (RFC 5176 §2.2) as Disconnector does
// Disconnect-Request.
type Changer interface {
	Change(ctx context.Context, nas hotspot.NASID, s hotspot.Session, t hotspot.NewTerms) (hotspot.Disconnected, error)
}

// CodeNotChanged is of a live session that keeps its speed or time to its end.
const CodeNotChanged = "HSP-207"

// TimeoutForm says from when a router counts the Session-Timeout of a
// CoA-Request, which no document settles (facts.md §4).
type TimeoutForm string

const (
	// TimeoutProbed finds it out by reading back, which needs the API; without
	// one no Session-Timeout is sent.
	TimeoutProbed    TimeoutForm = ""
	TimeoutFromStart TimeoutForm = "from_start" // of the session
	TimeoutFromNow   TimeoutForm = "from_now"   // from the CoA-Request
)

// changing is the reconciler's memory of one session that is to be changed.
type changing struct {
	want    hotspot.Terms
	running bool
	tries   int
	next    time.Time // no attempt before; monotonic
}

// changer closes the difference between the terms live sessions have and those
// they should have.
type changer struct {
	mu       sync.Mutex // guards what follows
	sessions map[hotspot.SessionID]*changing
	running  int
}

// startChanges begins an attempt at every session that is due. Locks do not wait
// for it: what to change is read after the attempts at them began.
func (e *Enforcer) startChanges(ctx context.Context, all *sync.WaitGroup, changes []hotspot.Change) {
	c := &e.changer
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil {
		c.sessions = map[hotspot.SessionID]*changing{}
	}
	now := time.Now()
	listed := make(map[hotspot.SessionID]bool, len(changes))
	for _, ch := range changes {
		id := ch.Session.ID
		listed[id] = true
		a := c.sessions[id]
		if a == nil || !a.running && !a.want.Same(ch.Want) { // a new wish is tried at once
			a = &changing{want: ch.Want, next: now}
			c.sessions[id] = a
		}
		if a.running || now.Before(a.next) || c.running == maxAtOnce {
			continue
		}
		a.running = true
		c.running++
		all.Go(func() { e.changeOne(ctx, ch) })
	}
	for id, a := range c.sessions {
		if !listed[id] && !a.running {
			delete(c.sessions, id)
		}
	}
}

// changeOne makes one attempt at one session and has its outcome kept.
func (e *Enforcer) changeOne(ctx context.Context, ch hotspot.Change) {
	bounded, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	a := &alteration{e: e, n: e.nasOf(ch.Session.NAS), c: ch, now: ch.Have, begun: time.Now()}
	a.run(bounded)
	if ctx.Err() == nil && !a.gone {
		done := hotspot.Changed{Session: ch.Session.ID, Want: ch.Want, Now: a.now, Outcome: a.outcome, Code: a.code, Detail: strings.Join(a.details, "; "), At: e.Now()}
		if err := e.Changes.Adjusted(ctx, done); err != nil {
			e.Log.Error("keep the change of a session", "session", ch.Session.ID, "err", err)
		}
		e.Log.Info("changed", "user_ref", ch.Session.Account, "outcome", a.outcome, "rate", ch.Want.Rate, "code", a.code, "dur_ms", time.Since(a.begun).Milliseconds(), "detail", done.Detail)
	}
	c := &e.changer
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	s := c.sessions[ch.Session.ID]
	s.running = false
	s.tries++
	s.next = time.Now().Add(min(backOffFirst<<min(s.tries-1, 10), backOffMost))
	e.poke()
}

// nasOf returns a NAS by its name; one that is no longer configured has no door.
func (e *Enforcer) nasOf(id hotspot.NASID) *nas {
	for _, n := range e.nases {
		if n.NAS == id {
			return n
		}
	}
	return newNAS(Router{NAS: id})
}

// alteration is one try to change one session.
type alteration struct {
	e     *Enforcer
	n     *nas
	c     hotspot.Change
	begun time.Time

	now     hotspot.Terms // that the session runs under, as far as known
	outcome hotspot.ChangeOutcome
	code    string
	details []string
	gone    bool // the router does not have the session: there is nothing to change
}

func (a *alteration) say(format string, args ...any) {
	a.details = append(a.details, fmt.Sprintf(format, args...))
}

// run changes what a CoA-Request can change and reads it back where the API is
// there; only what the router shows counts as applied.
func (a *alteration) run(ctx context.Context) {
	if a.c.Rest() {
		a.say("data allowance and address-lists change with the next login")
	}
	a.now.Total, a.now.AddressLists = a.c.Have.Total, a.c.Have.AddressLists
	if !a.c.Rate() && !a.c.Timeout() {
		a.outcome = hotspot.ChangeNextLogin
		return
	}
	if a.n.Dial != nil {
		shown, err := a.read(ctx)
		if err != nil {
			a.pending(err)
			return
		}
		if a.gone || a.judge(shown) {
			return // done before: only the note of it was lost
		}
	}
	if t := a.terms(a.form()); !t.SetRate && t.SessionTimeout <= 0 {
		a.say("a CoA-Request cannot say this to this router")
		a.fallBack(ctx, hotspot.ChangeNextLogin, CodeNotChanged)
		return
	}
	d, err := a.ask(ctx, a.form())
	switch {
	case err != nil:
		a.pending(err)
	case d.Result == hotspot.ResultTimeout:
		a.say("no answer to CoA-Request (sent %d times)", d.Attempts)
		a.fallBack(ctx, hotspot.ChangePending, CodeNoAnswer)
	case d.Result == hotspot.ResultNAK:
		a.say("CoA-NAK, %s", hotspot.CauseText(d.ErrorCause))
		if a.n.Dial == nil && d.NoSuchSession() {
			a.gone = true // accounting will say so
			return
		}
		a.fallBack(ctx, hotspot.ChangeNextLogin, CodeNotChanged)
	default:
		a.say("CoA-ACK in %s", brief(d.RoundTrip))
		a.settle(ctx)
	}
}

func (a *alteration) pending(err error) {
	a.outcome, a.code = hotspot.ChangePending, cmp.Or(fault.Code(err), CodeNotChanged)
	a.say("%v", err)
}

// form is how Session-Timeout is sent now. Not known yet, it is sent as counted
// from the start: wrong, that gives a moment too much, and the other way round a
// session could end at once.
func (a *alteration) form() TimeoutForm {
	if a.n.Timeouts != TimeoutProbed {
		return a.n.Timeouts
	}
	if f, ok := a.n.learned.Load().(TimeoutForm); ok {
		return f
	}
	if a.n.Dial != nil {
		return TimeoutFromStart
	}
	return TimeoutProbed
}

// terms are what is sent: what differs and can be said. An end cannot be taken
// away: Session-Timeout 0 may mean anything (RFC 2865 §5.27).
func (a *alteration) terms(form TimeoutForm) hotspot.NewTerms {
	t := hotspot.NewTerms{SetRate: a.c.Rate(), Rate: a.c.Want.Rate}
	if a.c.Timeout() && a.c.Want.Timeout > 0 {
		switch form {
		case TimeoutFromStart:
			t.SessionTimeout = a.c.Want.Timeout
		case TimeoutFromNow:
			t.SessionTimeout = a.c.Want.Timeout - a.elapsed()
		}
	}
	return t
}

func (a *alteration) ask(ctx context.Context, form TimeoutForm) (hotspot.Disconnected, error) {
	if a.e.Changer == nil {
		return hotspot.Disconnected{}, errors.New("no way to send CoA-Request is set up")
	}
	return a.e.Changer.Change(ctx, a.n.NAS, a.c.Session, a.terms(form))
}

// elapsed is how long the session lasts by now.
func (a *alteration) elapsed() time.Duration { return a.c.Elapsed + time.Since(a.begun) }

// settle finds out what an ACK was worth.
func (a *alteration) settle(ctx context.Context) {
	if a.n.Dial == nil {
		a.acknowledged()
		return
	}
	var last shown
	corrected := false
	for _, wait := range sweepPauses {
		if !pause(ctx, wait) {
			a.pending(ctx.Err())
			return
		}
		s, err := a.read(ctx)
		if err != nil {
			a.pending(err)
			return
		}
		if a.gone {
			return
		}
		if a.judge(s) {
			a.say("read back")
			return
		}
		if last = s; !corrected && a.countsFromNow(s) {
			corrected = true
			a.n.learned.Store(TimeoutFromNow)
			a.say("this router counts Session-Timeout from now: sent again")
			if d, err := a.ask(ctx, TimeoutFromNow); err != nil || d.Result != hotspot.ResultACK {
				a.say("CoA-Request again: %s %v", d.Result, err)
				break
			}
		}
	}
	a.note(last)
	a.say("the router shows %s", last)
	a.fallBack(ctx, hotspot.ChangeNextLogin, CodeNotChanged)
}

// acknowledged takes an ACK for what it can be without a read-back.
func (a *alteration) acknowledged() {
	a.outcome = hotspot.ChangeAcknowledged
	a.now.Rate = a.c.Want.Rate
	if !a.c.Timeout() {
		return
	}
	if a.form() == TimeoutProbed || a.c.Want.Timeout == 0 {
		a.outcome = hotspot.ChangeNextLogin
		a.say("time changes with the next login: how this router counts it can only be seen over its API")
		return
	}
	a.now.Timeout = a.c.Want.Timeout
}

// countsFromNow reports whether the router took a Session-Timeout that was
// counted from the start as counted from now.
func (a *alteration) countsFromNow(s shown) bool {
	if !a.c.Timeout() || a.n.Timeouts != TimeoutProbed || a.form() != TimeoutFromStart || s.timeout == 0 {
		return false
	}
	return a.elapsed() > 0 && hotspot.SameTimeout(s.timeout, a.c.Want.Timeout+s.uptime) && !hotspot.SameTimeout(s.timeout, a.c.Want.Timeout)
}

// note takes over what the router shows.
func (a *alteration) note(s shown) {
	a.now.Rate, a.now.Timeout = s.rate(a.c), s.timeout
}

// judge reports whether the router shows what is wanted, and notes that.
func (a *alteration) judge(s shown) bool {
	rate := !a.c.Rate() || s.runs(a.c.Want.Rate)
	timeout := !a.c.Timeout() || hotspot.SameTimeout(s.timeout, a.c.Want.Timeout)
	if !rate || !timeout {
		return false
	}
	a.outcome, a.code = hotspot.ChangeApplied, ""
	a.now.Rate, a.now.Timeout = a.c.Want.Rate, a.c.Want.Timeout
	if a.c.Timeout() && a.n.Timeouts == TimeoutProbed {
		a.n.learned.CompareAndSwap(nil, TimeoutFromStart)
	}
	return true
}

// fallBack ends the session where the plan allows, so that the next login brings
// what is wanted; else it goes on as it is.
func (a *alteration) fallBack(ctx context.Context, otherwise hotspot.ChangeOutcome, code string) {
	a.outcome, a.code = otherwise, code
	if !a.c.Reconnect {
		if otherwise == hotspot.ChangeNextLogin {
			a.say("from the next login")
		}
		return
	}
	if a.e.Disconnector != nil {
		d, err := a.e.Disconnector.Disconnect(ctx, a.n.NAS, a.c.Session)
		if err == nil && d.Result == hotspot.ResultACK {
			a.outcome, a.code = hotspot.ChangeReconnect, ""
			a.say("Disconnect-ACK in %s: the guest logs in anew", brief(d.RoundTrip))
			if a.n.Dial == nil {
				return
			}
		}
	}
	if a.n.Dial == nil {
		return
	}
	rows, err := a.n.active.read(ctx, a.n.command)
	if err != nil {
		a.say("%v", err)
		return
	}
	w := newWho(hotspot.Target{Usernames: []string{a.c.Session.Username}, Sessions: []hotspot.Session{a.c.Session}}, a.n.NAS)
	for _, r := range rows {
		if !w.entry(r) {
			continue
		}
		if n, err := remove(ctx, a.n.command, "/ip/hotspot/active", []string{r.ID}, false); err != nil || n == 0 {
			a.outcome, a.code = otherwise, code
			a.say("the session could not be ended: %v", err)
			return
		}
		a.outcome, a.code = hotspot.ChangeReconnect, ""
		a.say("removed over the API: the guest logs in anew")
	}
}

// shown is what the router shows of a session.
type shown struct {
	uptime  time.Duration
	timeout time.Duration     // uptime and session-time-left; 0 is no limit
	queue   hotspot.RateLimit // of its dynamic queue; zero is none
}

func (s shown) String() string {
	rate, left := cmp.Or(s.queue.String(), "no speed limit"), "no time limit"
	if s.timeout > 0 {
		left = (s.timeout - s.uptime).Round(time.Second).String() + " left"
	}
	return rate + ", " + left
}

// runs reports whether the queue is that of a speed. A queue shows bursts only
// where they are set, and neither priority nor guaranteed rates of the attribute.
func (s shown) runs(r hotspot.RateLimit) bool {
	return s.queue.Max == r.Max && (r.Burst == hotspot.Pair[hotspot.Rate]{} || s.queue.Burst == r.Burst)
}

// rate is the speed the router shows, in the words of the terms where it is one
// of them.
func (s shown) rate(c hotspot.Change) hotspot.RateLimit {
	for _, r := range []hotspot.RateLimit{c.Want.Rate, c.Have.Rate} {
		if s.runs(r) {
			return r
		}
	}
	return s.queue
}

// read reads the session's active entry and its queue.
func (a *alteration) read(ctx context.Context) (s shown, err error) {
	actives, err := a.n.active.read(ctx, a.n.command)
	if err != nil {
		return s, err
	}
	w := newWho(hotspot.Target{Usernames: []string{a.c.Session.Username}, Sessions: []hotspot.Session{a.c.Session}}, a.n.NAS)
	a.gone = true
	ip := a.c.Session.IP
	for _, r := range actives {
		if w.entry(r) {
			a.gone = false
			s.uptime = r.Uptime
			if r.left > 0 {
				s.timeout = r.Uptime + r.left
			}
			if r.IP.IsValid() {
				ip = r.IP
			}
		}
	}
	if a.gone {
		return s, nil
	}
	queues, err := a.n.queues.read(ctx, a.n.command)
	if err != nil {
		return s, err
	}
	for _, q := range queues {
		if q.target == ip && q.dynamic {
			s.queue = q.rate
			return s, nil // the first from the top is the one that shapes
		}
	}
	return s, nil
}

// queue is one row of /queue/simple.
type queue struct {
	dynamic bool
	target  netip.Addr // a single address; invalid for what is not one
	rate    hotspot.RateLimit
}

func parseQueue(r routeros.Row) queue {
	q := queue{dynamic: flag(r["dynamic"])}
	if p, err := netip.ParsePrefix(r["target"]); err == nil && p.IsSingleIP() {
		q.target = p.Addr()
	} else {
		q.target = address(r["target"])
	}
	q.rate.Max, q.rate.Burst = pair(r["max-limit"]), pair(r["burst-limit"])
	return q
}

// pair reads "2000000/10000000" or "2M/10M"; odd or absent is none.
func pair(s string) hotspot.Pair[hotspot.Rate] {
	r, err := hotspot.ParseRateLimit(s)
	if err != nil {
		return hotspot.Pair[hotspot.Rate]{}
	}
	return r.Max
}

// learnedForm is a TimeoutForm learnt from a router, while the program runs.
type learnedForm = atomic.Value
