package router

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// account is the reconciler's memory of one account that must be off.
type account struct {
	wish     string // what is wanted, to tell a new wish from the old one
	received time.Time
	lifted   context.CancelFunc // of the attempt under way: nobody wants it any more; nil when none is
	lock     bool
	tries    int
	next     time.Time // no attempt before; monotonic
	ended    time.Time // the last attempt; what was read of the wish before says nothing any more
	sessions map[hotspot.SessionID]bool
	done     record
	code     string // of the last attempt, while it is not off
	err      string
}

// record is what earlier attempts at the same wish did: the one that brings
// the proof may find nothing left to do.
type record struct {
	method  string
	ended   map[hotspot.SessionID]bool
	shown   map[hotspot.SessionID]bool // by the router's own list
	extra   int                        // entries ended that belong to no session known here
	devices map[hotspot.MAC]bool       // that were on: the Stop takes their session out of the wish, their connections stay
}

// wishOf names what is wanted of an account.
func wishOf(t hotspot.Target) string {
	if t.Lock == nil {
		return string(t.Reason)
	}
	return fmt.Sprintf("%s %d %d", t.Reason, t.Lock.Revision, t.Lock.At.UnixNano())
}

const (
	// restShare keeps reading under a fifth of the time however often the loops are
	// woken: each rests this many times as long as it read.
	restShare = 4
	restLocks = 20 * time.Millisecond // but no longer, after reading locks,
	restAll   = 50 * time.Millisecond // and everybody
)

// reconcile brings the accounts that must be off to that, for ever. What to do
// always comes from the store; waking only makes it sooner. Locks are read first
// and each time: a person waits for them, and they are few. Everybody else who
// must be off is found by looking at all who are online.
func (e *Enforcer) reconcile(ctx context.Context, all *sync.WaitGroup) {
	var said trouble
	var next time.Time // no look at everybody before
	idle := tick
	for ctx.Err() == nil {
		begun := time.Now()
		e.doubts(ctx)
		locked, err := e.Store.LockTargets(ctx)
		if err == nil {
			e.begin(ctx, all, locked, begun)
		}
		rest := min(restShare*time.Since(begun), restLocks)
		wait := time.Until(next) // woken too soon for everybody: again then
		if err == nil && wait <= 0 {
			begun = time.Now()
			err = e.lookAtAll(ctx, all)
			took := time.Since(begun)
			next = time.Now().Add(min(restShare*took, restAll))
			// With nobody to wake for, reading takes a fiftieth of the time.
			idle = min(max(tick, 50*took), tickMost)
			wait = idle
		} else if err != nil {
			wait = idle
		}
		said.log(ctx, e.Log, "read what is wanted", err)
		if !pause(ctx, rest) {
			return
		}
		again := time.NewTimer(wait)
		select {
		case <-e.Wake:
		case <-e.nudge:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
	}
}

// lookAtAll begins what is due of everybody who must be off.
func (e *Enforcer) lookAtAll(ctx context.Context, all *sync.WaitGroup) error {
	begun := time.Now()
	targets, err := e.Store.Targets(ctx)
	if err != nil {
		return err
	}
	e.begin(ctx, all, targets, begun)
	e.forget(targets)
	ring(e.stir)
	return nil
}

// keepChanges begins what live sessions need besides, each time the loop has
// looked at everybody. Whoever must be off goes first.
func (e *Enforcer) keepChanges(ctx context.Context, all *sync.WaitGroup) {
	var said trouble
	for {
		select {
		case <-e.stir:
		case <-ctx.Done():
			return
		}
		e.giveWay(ctx)
		begun := time.Now()
		changes, err := e.Changes.Adjusting(ctx)
		if err == nil {
			e.startChanges(ctx, all, changes)
		}
		said.log(ctx, e.Log, "read what live sessions need", err)
		if !pause(ctx, min(restShare*time.Since(begun), restAll)) {
			return
		}
	}
}

// trouble says each error once, until another comes.
type trouble string

func (t *trouble) log(ctx context.Context, log *slog.Logger, what string, err error) {
	text := trouble(fmt.Sprint(err))
	if ctx.Err() != nil || text == *t {
		return
	}
	if *t = text; err != nil {
		log.Error(what, "err", err)
	}
}

// begin begins an attempt at every target that is due, locks first, and
// abandons those at wishes that became others. A target of whom an attempt ended
// after the reading began may be met already, as a kick that was answered: whoever
// comes back since is not to be kicked. The end of the attempt has it read again.
func (e *Enforcer) begin(ctx context.Context, all *sync.WaitGroup, targets []hotspot.Target, read time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	slices.SortStableFunc(targets, func(a, b hotspot.Target) int {
		return cmp.Compare(rank(a), rank(b))
	})
	now := time.Now()
	for _, t := range targets {
		a := e.accounts[t.Account]
		if a == nil {
			a = &account{}
			e.accounts[t.Account] = a
		}
		if a.ended.After(read) {
			continue
		}
		if a.lifted != nil {
			if a.lock && a.wish != wishOf(t) {
				a.lifted()
			}
			continue
		}
		a.take(t, now, e.Now())
		if e.running == maxAtOnce || now.Before(a.next) {
			continue
		}
		wantedCtx, lifted := context.WithCancel(ctx)
		a.lifted = lifted
		e.running++
		t.ReceivedAt = a.received
		earlier := a.done
		all.Go(func() {
			defer lifted()
			e.finish(t, e.enforce(ctx, wantedCtx, t, earlier))
		})
	}
}

// forget drops the accounts that are not among the targets, which are all of
// them, and abandons attempts at locks that were lifted.
func (e *Enforcer) forget(targets []hotspot.Target) {
	e.mu.Lock()
	defer e.mu.Unlock()
	wanted := make(map[hotspot.AccountID]bool, len(targets))
	for _, t := range targets {
		wanted[t.Account] = true
	}
	for id, a := range e.accounts {
		switch {
		case wanted[id]:
		case a.lifted == nil:
			delete(e.accounts, id)
		case a.lock: // unlocked; an expiry goes on to its read-back after the Stop came
			a.lifted()
		}
	}
}

func rank(t hotspot.Target) int {
	if t.Lock != nil {
		return 0
	}
	return 1
}

// take notes the wish. A new wish or a new session is tried at once, and so is
// what is left when a session ended.
func (a *account) take(t hotspot.Target, now, wall time.Time) {
	if w := wishOf(t); w != a.wish {
		*a = account{wish: w, lock: t.Lock != nil, received: t.ReceivedAt, next: now, ended: a.ended}
		if a.received.IsZero() {
			a.received = wall
		}
	}
	seen := make(map[hotspot.SessionID]bool, len(t.Sessions))
	for _, s := range t.Sessions {
		seen[s.ID] = true
		if !a.sessions[s.ID] && a.sessions != nil {
			a.next, a.tries = now, 0
		}
	}
	for id := range a.sessions {
		if !seen[id] {
			a.next = now
		}
	}
	a.sessions = seen
}

// finish notes how an attempt ended and wakes the loop: the wish may have
// changed meanwhile.
func (e *Enforcer) finish(t hotspot.Target, r ending) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.accounts[t.Account] // in the map for as long as it runs
	e.running--
	a.lifted = nil
	a.ended = time.Now()
	a.done = r.done
	a.code, a.err = r.code, r.text
	a.tries++
	a.next = time.Now().Add(min(backOffFirst<<min(a.tries-1, 10), backOffMost))
	e.poke()
}

// again lets every account be tried at once: a router came back.
func (e *Enforcer) again() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.accounts {
		a.next, a.tries = time.Time{}, 0
	}
	e.poke()
}

// ending is how one attempt ended, for the reconciler.
type ending struct {
	done record
	code string
	text string
}

// enforce makes one attempt at one account on every NAS concerned, and has the
// proof kept.
func (e *Enforcer) enforce(ctx, wanted context.Context, t hotspot.Target, earlier record) ending {
	begun := time.Now()
	commands, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	nases := e.concerned(t)
	attempts := make([]*attempt, len(nases))
	var each sync.WaitGroup
	for i, n := range nases {
		attempts[i] = newAttempt(e, n, t, earlier)
		each.Go(func() { attempts[i].run(commands, wanted) })
	}
	each.Wait()
	proof, done := conclude(t, attempts, earlier, e.Now())
	end := ending{done: done, code: proof.Code, text: problem(attempts, done)}
	if ctx.Err() != nil || wanted.Err() != nil {
		return end // stopping, or nobody wants it any more: nothing was concluded
	}
	if err := e.Store.Prove(ctx, proof); err != nil {
		e.Log.Error("keep the proof", "user_ref", t.Account, "err", err)
		return ending{done: done, code: fault.Code(err), text: err.Error()}
	}
	e.Log.Info("put off", "user_ref", t.Account, "reason", t.Reason, "outcome", proof.Outcome, "method", proof.Method,
		"code", proof.Code, "sessions", proof.Sessions, "dur_ms", time.Since(begun).Milliseconds(), "problem", end.text)
	if proof.Outcome.Final() {
		end.code, end.text = "", ""
	}
	return end
}

// concerned returns the NASes an account must be off on: all of them, or those
// of the sessions to end. A session may stand on a NAS no longer configured.
func (e *Enforcer) concerned(t hotspot.Target) []*nas {
	var out []*nas
	on := map[hotspot.NASID]bool{}
	for _, s := range t.Sessions {
		on[s.NAS] = true
	}
	for _, n := range e.nases {
		if t.Whole || on[n.NAS] {
			out = append(out, n)
		}
		delete(on, n.NAS)
	}
	for id := range on {
		out = append(out, newNAS(Router{NAS: id}))
	}
	return out
}
