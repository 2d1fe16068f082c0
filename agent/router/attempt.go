package router

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// attempt is one try to put one account off on one NAS: the steps of design.md
// §6, in their order. Each may fail alone; only the read-back decides.
type attempt struct {
	e *Enforcer
	n *nas
	t hotspot.Target
	who

	patience time.Duration // for the answer to Disconnect-Request when there is an API to go on with

	look    *look                // at the ways round, begun with the attempt
	flows   *reading[connection] // begun ahead; nil: none
	steps   []hotspot.Step
	answers answers
	open    int // sessions not over by the accounting, where there is no API

	ended   map[hotspot.SessionID]bool // by an ACK, or an entry removed
	shown   map[hotspot.SessionID]bool // by the router's own list
	extra   int                        // entries removed that belong to no session known here
	removed bool                       // over the API

	devices   map[hotspot.MAC]bool // that were on with the account, in this attempt or an earlier one
	others    map[hotspot.MAC]bool // on with another account: left alone
	sorted    bool                 // others is known
	addresses map[netip.Addr]bool  // whose connections were looked for
	listed    map[string]bool      // those connections, by .id

	cause  atomic.Pointer[string] // code of the newest step that failed
	singly bool                   // what was removed is still there: ask for one at a time

	clean bool  // the router was read back and nothing was left
	err   error // why it could not be read back
	left  string
	ways  []way
}

// stopPauses are the waits between looks whether accounting says that the
// sessions are over: a router sends its Stop at once, and again after a second or
// two if it was lost (facts.md §4).
var stopPauses = []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, time.Second}

// awaitStops waits until the store holds none of the attempt's sessions open any
// more: without an API that, and the answer to Disconnect-Request, is all that
// can be known.
func (a *attempt) awaitStops(ctx, wanted context.Context) (string, error) {
	for _, wait := range stopPauses {
		if !pause(wanted, wait) {
			return "", wanted.Err()
		}
		targets, err := a.e.Store.Targets(ctx)
		if err != nil {
			return "", err
		}
		a.open = 0
		for _, t := range targets {
			for _, s := range t.Sessions {
				if t.Account == a.t.Account && slices.ContainsFunc(a.sessions, func(ours hotspot.Session) bool { return ours.ID == s.ID }) {
					a.open++
				}
			}
		}
		if a.open == 0 {
			return "accounting says that " + count(len(a.sessions), "session") + " ended", nil
		}
	}
	return "", fmt.Errorf("accounting has not ended %s yet", count(a.open, "session"))
}

// answers counts what became of the Disconnect-Requests.
type answers struct {
	ack, absent, refused, silent int
	err                          error
}

func newAttempt(e *Enforcer, n *nas, t hotspot.Target, earlier record) *attempt {
	a := &attempt{e: e, n: n, t: t, who: newWho(t, n.NAS), patience: patience, ended: map[hotspot.SessionID]bool{}, shown: map[hotspot.SessionID]bool{}, devices: map[hotspot.MAC]bool{},
		others: map[hotspot.MAC]bool{}, addresses: map[netip.Addr]bool{}, listed: map[string]bool{}}
	maps.Copy(a.devices, earlier.devices)
	for _, s := range a.sessions {
		if !s.MAC.IsZero() {
			a.devices[s.MAC] = true
		}
	}
	return a
}

// device reports whether a device must have nothing open: it was on with the
// account, or belongs to an account that must be off as a whole. One that is on
// with another account is left alone.
func (a *attempt) device(m hotspot.MAC) bool {
	return (a.devices[m] || a.whole && a.macs[m]) && !a.others[m]
}

// run goes through the steps, until nobody wants it any more.
func (a *attempt) run(ctx, wanted context.Context) {
	if a.n.Dial == nil {
		a.step(hotspot.StepDisconnect, func() (string, error) { return a.disconnect(ctx) })
		if a.open = len(a.sessions); a.open > 0 && a.steps[len(a.steps)-1].OK {
			a.step(hotspot.StepStop, func() (string, error) { return a.awaitStops(ctx, wanted) })
		}
		return
	}
	a.look = a.n.survey.begin(a.e.background, a.n)
	a.cookiesThenDisconnect(ctx)
	if n := len(a.sessions); n > 0 && a.answers.ack == n { // off already, by the router's word
		a.flows = a.n.flows.ahead(a.e.background, a.n.watcher)
	}
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{hotspot.StepActive, a.removeEntries},
		{hotspot.StepLists, a.takeOffLists},
		{hotspot.StepConnections, a.dropConnections},
		{hotspot.StepReadBack, func(ctx context.Context) (string, error) { return a.readBack(ctx, wanted) }},
	} {
		if wanted.Err() != nil || ctx.Err() != nil {
			return
		}
		if s.name == hotspot.StepLists && len(a.t.Lists) == 0 {
			continue
		}
		a.step(s.name, func() (string, error) { return s.do(ctx) })
	}
}

// step does one thing and notes it with its time.
func (a *attempt) step(name string, do func() (string, error)) {
	a.steps = append(a.steps, a.timed(name, do))
}

func (a *attempt) timed(name string, do func() (string, error)) hotspot.Step {
	begun := time.Now()
	detail, err := do()
	if code := fault.Code(err); code != "" {
		a.cause.Store(&code)
	}
	if err != nil {
		detail = strings.TrimPrefix(detail+"; "+err.Error(), "; ")
	}
	return hotspot.Step{Name: name, At: a.e.Now(), Took: time.Since(begun), OK: err == nil, Detail: detail}
}

// cookiesThenDisconnect does the first two steps. A router whose API hangs gets
// its Disconnect-Request all the same.
func (a *attempt) cookiesThenDisconnect(ctx context.Context) {
	var cookies hotspot.Step
	done := make(chan struct{})
	go func() {
		defer close(done)
		cookies = a.timed(hotspot.StepCookies, func() (string, error) { return a.removeCookies(ctx) })
	}()
	pause := time.NewTimer(cookiePause)
	defer pause.Stop()
	select {
	case <-done:
	case <-pause.C:
	}
	disconnect := a.timed(hotspot.StepDisconnect, func() (string, error) { return a.disconnect(ctx) })
	<-done
	a.steps = append(a.steps, cookies, disconnect)
}

func (a *attempt) removeCookies(ctx context.Context) (string, error) {
	rows, err := a.n.cookies.read(ctx, a.n.command)
	if err != nil {
		return "", err
	}
	n, err := remove(ctx, a.n.command, "/ip/hotspot/cookie", a.cookieIDs(rows), a.singly)
	return count(n, "cookie") + " removed", err
}

func (a *attempt) cookieIDs(rows []cookie) []string {
	var ids []string
	for _, c := range rows {
		if a.cookie(c) {
			ids = append(ids, c.id)
		}
	}
	return ids
}

// disconnect asks the NAS to end each session. Silence and refusals are an
// error of this step only: the API goes on where there is one.
func (a *attempt) disconnect(ctx context.Context) (string, error) {
	if len(a.sessions) == 0 {
		return "no session known here", nil
	}
	if a.e.Disconnector == nil {
		a.answers.err = errors.New("no way to send Disconnect-Request is set up")
		return "", a.answers.err
	}
	if a.n.Dial != nil {
		wait := a.patience
		if a.n.silent.Load() {
			wait = noPatience
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	var mu sync.Mutex
	var each sync.WaitGroup
	var details []string
	for _, s := range a.sessions { // few: devices at once of one account
		each.Go(func() {
			d, err := a.e.Disconnector.Disconnect(ctx, a.n.NAS, s)
			mu.Lock()
			defer mu.Unlock()
			details = append(details, a.note(s, d, err))
		})
	}
	each.Wait()
	a.n.silent.Store(a.answers.silent > 0)
	if bad := a.answers.silent + a.answers.refused; bad > 0 || a.answers.err != nil {
		return "", errors.New(strings.Join(details, ", "))
	}
	return strings.Join(details, ", "), nil
}

// note counts one answer and puts it in words.
func (a *attempt) note(s hotspot.Session, d hotspot.Disconnected, err error) string {
	switch {
	case err != nil:
		a.answers.err = err
		return err.Error()
	case d.Result == hotspot.ResultACK:
		a.answers.ack++
		a.ended[s.ID] = true
		return "Disconnect-ACK in " + brief(d.RoundTrip)
	case d.NoSuchSession():
		a.answers.absent++
		return fmt.Sprintf("the router has no such session (Disconnect-NAK %d)", d.ErrorCause)
	case d.Result == hotspot.ResultNAK:
		a.answers.refused++
		return fmt.Sprintf("Disconnect-NAK, Error-Cause %d", d.ErrorCause)
	}
	a.answers.silent++
	return fmt.Sprintf("no answer to Disconnect-Request (sent %d times)", d.Attempts)
}

// removeEntries takes whatever is still on the active list off it: after a NAK,
// after silence, and after an ACK that nothing followed.
func (a *attempt) removeEntries(ctx context.Context) (string, error) {
	rows, err := a.n.active.read(ctx, a.n.command)
	if err != nil {
		return "", err
	}
	ours := a.sortEntries(rows)
	if len(ours) == 0 {
		return "nothing left on the active list", nil
	}
	a.flows = nil // begun before these went
	n, err := a.takeOff(ctx, ours)
	detail := count(n, "entry") + " removed over the API"
	if a.answers.ack > 0 {
		detail += ": acknowledged, but still there"
	}
	return detail, err
}

// sortEntries returns the entries that must go, and notes the devices: those
// with the account, and those that are on with another one.
func (a *attempt) sortEntries(rows []active) []active {
	var ours []active
	clear(a.others)
	a.sorted = true
	for _, e := range rows {
		switch {
		case a.entry(e):
			ours = append(ours, e)
			for _, s := range a.sessions {
				if isOf(e, s) {
					a.shown[s.ID] = true
				}
			}
			if !e.MAC.IsZero() {
				a.devices[e.MAC] = true
			}
		case !e.MAC.IsZero():
			a.others[e.MAC] = true
		}
	}
	return ours
}

// takeOff removes entries and notes which sessions that ended.
func (a *attempt) takeOff(ctx context.Context, ours []active) (int, error) {
	ids := make([]string, len(ours))
	for i, e := range ours {
		ids[i] = e.ID
	}
	n, err := remove(ctx, a.n.command, "/ip/hotspot/active", ids, a.singly)
	if n == 0 {
		return n, err
	}
	a.removed = true
	for _, e := range ours {
		known := false
		for _, s := range a.sessions {
			if isOf(e, s) {
				a.ended[s.ID] = true
				known = true
			}
		}
		if !known {
			a.extra++
		}
	}
	return n, err
}

// isOf reports whether an entry is a session's: one of its device, or at its address.
func isOf(e active, s hotspot.Session) bool {
	return s.MAC == e.MAC || s.IP == e.IP && e.IP.IsValid()
}

// dropConnections ends what the account's devices have open: being off the list
// does not end it.
func (a *attempt) dropConnections(ctx context.Context) (string, error) {
	if len(a.devices) == 0 && len(a.macs) == 0 {
		return "no device is known", nil
	}
	if !a.sorted {
		return "", errors.New("the active list could not be read, so other accounts on the same device are not known")
	}
	hosts, err := a.n.hosts.read(ctx, a.n.command)
	if err != nil {
		return "", err
	}
	now := a.addressesOf(hosts)
	if len(now) == 0 {
		return "none of its devices is on the network", nil
	}
	rows, err := a.n.flows.take(ctx, a.flows, a.n.command)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, c := range rows {
		if now[c.src] || now[c.dst] {
			ids = append(ids, c.id)
			a.listed[c.id] = true
		}
	}
	n, err := remove(ctx, a.n.command, "/ip/firewall/connection", ids, a.singly)
	return fmt.Sprintf("%d of %s dropped", n, count(len(ids), "connection")), err
}

// addressesOf returns the addresses that are the account's devices' now, by the
// router's host table: one that went to another guest is not ours to touch, nor
// a device that is on with another account.
func (a *attempt) addressesOf(hosts []host) map[netip.Addr]bool {
	now := map[netip.Addr]bool{}
	for _, h := range hosts {
		if !a.device(h.mac) {
			continue
		}
		for _, ip := range []netip.Addr{h.address, h.to} {
			if ip.IsValid() && !ip.IsUnspecified() {
				now[ip] = true
				a.addresses[ip] = true
			}
		}
	}
	for _, h := range hosts { // an address shown for two devices is nobody's
		if !a.device(h.mac) {
			delete(now, h.address)
			delete(now, h.to)
		}
	}
	return now
}

// count prints a number with its noun.
func count(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "y"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// brief prints a duration for people: three digits.
func brief(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
