package fleet

import (
	"context"
	"slices"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Times of the state going down (design.md §5).
const (
	answerWithin = 2 * time.Second        // a state without a hello is sent again, doubling
	answerMost   = time.Minute            // up to this
	partTime     = 100 * time.Millisecond // more patience for each part of a snapshot
	lookEvery    = 500 * time.Millisecond
	deltaTries   = 2 // a delta that twice led nowhere is followed by a snapshot
	maxEarly     = 4 // messages kept of an agent that nobody confirmed
	deltaBytes   = 4 * wire.PartBytes

	maxEarlyBytes = 64 << 10 // of one such message
)

// remote is one agent as this process knows it. It is all guesswork that the
// next hello corrects; several processes may each have one of the same agent.
type remote struct {
	agent hotspot.AgentID

	mu     sync.Mutex // guards all below, and the order of what is sent
	site   hotspot.SiteID
	online bool
	boot   string
	conn   int64
	known  bool         // a hello said where it stands
	held   position     // by the last hello
	staged *wire.Staged // likewise; nil: the agent takes a snapshot in numbered parts
	sent   sent
	early  []message // of an agent that waits for a person

	wholes  int       // snapshots that were whole there since it last held what it should
	wholeAt time.Time // of the newest

	fails    int       // how often the broker did not take what was to be sent, in a row
	failedAt time.Time // when it was last

	lockedAt  time.Time // when locks not received were looked for last
	lockTries int       // how often since the connection came up
}

// position is a place in a site's history.
type position struct {
	lineage  string
	revision int64
}

// sent is the state that is on its way, if waiting.
type sent struct {
	waiting bool
	from    position // held when it was sent
	to      position
	first   time.Time // when anything of it was sent first
	at      time.Time
	tries   int // how often it was sent again from there
	parts   int
	after   string   // of a window of pieces: what the agent had when it was sent
	through []string // and what it has with each of them; nil is no window
}

// patience is how long an answer may take.
func (s sent) patience() time.Duration {
	wait := answerMost
	if s.tries < 5 {
		wait = min(answerWithin<<s.tries, answerMost)
	}
	return wait + time.Duration(s.parts)*partTime
}

// windowed judges a hello by the window that is on its way: more says that the
// agent has all of it, or is elsewhere; else it has got on within it, or not.
func (s *sent) windowed(staged string) (more, on bool) {
	at := slices.Index(s.through, staged)
	switch {
	case at < 0:
		return staged != s.after, false
	case at == len(s.through)-1:
		return true, false
	}
	s.after, s.through = staged, s.through[at+1:]
	return false, true
}

// between reports whether p is past where it was sent from, and not yet there.
func (s sent) between(p position) bool {
	past := p.lineage != s.from.lineage || p.revision > s.from.revision // a snapshot came first
	return past && p.lineage == s.to.lineage && p.revision < s.to.revision
}

func (f *Fleet) remote(agent hotspot.AgentID) *remote {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.remotes[agent]
	if r == nil {
		r = &remote{agent: agent}
		f.remotes[agent] = r
	}
	return r
}

// waitForConfirmation keeps the newest messages of an agent that nobody
// confirmed, in their order; nothing in them counts before.
func (r *remote) waitForConfirmation(m message) {
	if len(m.payload) > maxEarlyBytes {
		return // it says hello again
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.early) == maxEarly {
		r.early = r.early[1:]
	}
	r.early = append(r.early, m)
}

// learn takes what the agent said last to any process for what it said to this
// one. r.mu is held.
func (f *Fleet) learn(ctx context.Context, r *remote) error {
	site, lineage, revision, online, err := f.o.Store.Held(ctx, r.agent)
	if fault.Is(err, fault.NotFound) { // retired, or nothing was heard of it
		r.online, r.known = false, false
		return nil
	}
	if err != nil {
		return err
	}
	held := position{lineage, revision}
	if held != r.held && r.staged != nil {
		r.staged = &wire.Staged{} // of before; what it has begun since, its next hello says
	}
	r.site, r.online, r.known, r.held = site, online, true, held
	if r.sent.waiting && r.held.lineage == r.sent.to.lineage && r.held.revision >= r.sent.to.revision {
		r.sent = sent{} // it answered another process
	}
	return nil
}

// sendWhole sends an agent the whole set, unasked.
func (f *Fleet) sendWhole(ctx context.Context, site hotspot.SiteID, agent hotspot.AgentID) error {
	r := f.remote(agent)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.site = site
	return f.send(ctx, r, position{}, true, 0)
}

// committed hears of every change, right after its commit: the fast path of a
// lock. An agent that is not connected gets it when it says hello.
func (f *Fleet) committed(site hotspot.SiteID, agent hotspot.AgentID, s wire.State) {
	defer f.o.Notify(site)
	f.mu.Lock()
	r := f.remotes[agent]
	f.mu.Unlock()
	if r == nil && f.o.Replicas && agent != "" {
		r = f.remote(agent)
	}
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
	defer cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.o.Replicas {
		if err := f.learn(ctx, r); err != nil {
			f.o.Log.Error("fleet: what the site holds is not known; the next hello brings the change", "site", site, "agent", agent, "err", err)
			return
		}
	}
	if !r.online || !r.known {
		return
	}
	if r.sent.through != nil || r.bringing() {
		f.ahead(r, s)
		return
	}
	base := r.held
	if r.sent.waiting {
		base = r.sent.to
	}
	switch {
	case base.lineage == s.Lineage && base.revision >= s.To:
		return // went with one committed later, that was faster here
	case base == position{s.Lineage, s.From} && small(s):
		f.publish(r, []wire.State{s}, r.sent.tries)
		return
	}
	if err := f.send(ctx, r, base, false, r.sent.tries); err != nil {
		f.o.Log.Error("fleet: change not sent; the next hello brings it", "site", site, "agent", agent, "err", err)
	}
}

// bringing reports whether the agent has a whole snapshot and works on it. r.mu is held.
func (r *remote) bringing() bool { return r.staged != nil && r.staged.Whole }

// ahead sends a change with a lock, or the end of one, to an agent that is getting
// a snapshot: it cannot hold the revision yet, but the lock it can. All else comes
// behind the snapshot. r.mu is held.
func (f *Fleet) ahead(r *remote, s wire.State) {
	isLock := func(kind wire.DocKind) bool { return kind == wire.DocLock }
	if !slices.ContainsFunc(s.Docs, func(d wire.Doc) bool { return isLock(d.Kind) }) &&
		!slices.ContainsFunc(s.Gone, func(g wire.DocRef) bool { return isLock(g.Kind) }) {
		return
	}
	if !small(s) {
		r.lockedAt, r.lockTries = time.Time{}, 0 // the next look sends the locks of it alone
		return
	}
	r.lockedAt, r.lockTries = time.Now(), 0
	if locks, ok := f.transmit(r, []wire.State{s}); ok && locks {
		f.markSent(r, s.To)
	}
}

// remindOfLocks sends what the site has not said it received of locks while it is
// getting a snapshot: at first, and then ever less often. Without one the hello
// that brings the set says it all. r.mu is held.
func (f *Fleet) remindOfLocks(ctx context.Context, r *remote) error {
	if r.sent.through == nil && !r.bringing() || time.Since(r.lockedAt) < (sent{tries: r.lockTries}).patience() {
		return nil
	}
	s, err := f.o.Store.Unreceived(ctx, r.site)
	r.lockedAt, r.lockTries = time.Now(), r.lockTries+1
	if err != nil || len(s.Docs) == 0 {
		return err
	}
	if _, ok := f.transmit(r, []wire.State{s}); ok {
		f.markSent(r, s.To)
	}
	return nil
}

func small(s wire.State) bool {
	n := 0
	for _, d := range s.Docs {
		n += len(d.Body) + 100
	}
	return n+100*len(s.Gone) <= deltaBytes
}

// send brings an agent from a position to the newest revision: by a delta, or
// by a snapshot when it must be whole, or nothing else leads there, or deltas
// were tried before. r.mu is held.
func (f *Fleet) send(ctx context.Context, r *remote, from position, whole bool, tries int) error {
	if r.bringing() {
		r.sent = sent{} // nothing is missing there but time
		return nil
	}
	under := r.staged != nil && r.staged.Snapshot != "" && r.sent.through != nil
	if !whole && !under && tries < deltaTries {
		delta, ok, err := f.o.Store.Delta(ctx, r.site, from.lineage, from.revision)
		if err != nil {
			return err
		}
		if ok {
			f.publish(r, []wire.State{delta}, tries)
			return nil
		}
	}
	if r.staged != nil {
		return f.window(ctx, r, tries)
	}
	parts, err := f.o.Store.Snapshot(ctx, r.site)
	if err != nil {
		return err
	}
	f.publish(r, parts, tries)
	return nil
}

// window sends the next pieces of a snapshot, as many as may be on their way at
// once, and waits for the hello that says they are kept. r.mu is held.
func (f *Fleet) window(ctx context.Context, r *remote, tries int) error {
	if r.staged.Snapshot == "" && r.wholes > 1 && time.Since(r.wholeAt) < (sent{tries: r.wholes}).patience() {
		return nil // two came to nothing there, as this one may: a later hello gets it
	}
	pieces, locks, err := f.o.Store.Pieces(ctx, r.site, *r.staged, wire.Window)
	if err != nil {
		return err
	}
	first := r.sent.first
	if !r.sent.waiting {
		first = time.Now()
	}
	if _, ok := f.transmit(r, pieces); !ok {
		return nil
	}
	last := pieces[len(pieces)-1]
	r.sent = sent{waiting: true, first: first, from: r.held, to: position{last.Lineage, last.To}, at: time.Now(), tries: tries, parts: len(pieces), after: r.staged.Through}
	for _, p := range pieces {
		r.sent.through = append(r.sent.through, p.Through)
	}
	if locks > 0 {
		f.markSent(r, locks)
	}
	return nil
}

// publish sends states and waits for the hello that answers the last; tries is
// how often that was done before, from where the agent is. r.mu is held, so that
// what is sent to one agent keeps its order.
func (f *Fleet) publish(r *remote, states []wire.State, tries int) {
	locks, ok := f.transmit(r, states)
	if !ok {
		return
	}
	last := states[len(states)-1]
	began := time.Now()
	if r.sent.waiting && r.sent.tries == tries {
		began = r.sent.at // what is behind it waits for the first, and no longer
	}
	first := began
	if r.sent.waiting {
		first = r.sent.first
	}
	r.sent = sent{waiting: true, first: first, from: r.held, to: position{last.Lineage, last.To}, at: began, tries: tries, parts: len(states) - 1}
	if locks {
		f.markSent(r, last.To)
	}
}

// transmit sends states; locks says that some is among them, ok that all left.
func (f *Fleet) transmit(r *remote, states []wire.State) (locks, ok bool) {
	now := f.now()
	for _, s := range states {
		s.Time = now
		payload, err := wire.Encode(s)
		if err == nil {
			err = f.o.Publish(wire.Topic(r.agent, wire.DownState), payload, false)
		}
		if err != nil { // without the broker everything is said anew: by again, or when a hello comes
			f.o.Log.Warn("fleet: state not sent", "site", r.site, "agent", r.agent, "to", s.To, "err", err)
			r.sent, r.fails, r.failedAt = sent{}, r.fails+1, time.Now()
			return false, false
		}
		for _, d := range s.Docs {
			locks = locks || d.Kind == wire.DocLock
		}
	}
	r.fails = 0
	return locks, true
}

// markSent notes that the locks up to a revision left.
func (f *Fleet) markSent(r *remote, revision int64) {
	ctx, cancel := context.WithTimeout(context.Background(), storeLimit)
	defer cancel()
	if err := f.o.Store.MarkSent(ctx, r.site, revision, f.now()); err != nil {
		f.o.Log.Error("fleet: time of sending not kept", "site", r.site, "revision", revision, "err", err)
	}
}

// resend looks for states without an answer and sends them again.
func (f *Fleet) resend(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f.mu.Lock()
		all := make([]*remote, 0, len(f.remotes))
		for _, r := range f.remotes {
			all = append(all, r)
		}
		f.mu.Unlock()
		for _, r := range all {
			if err := f.again(ctx, r); err != nil && ctx.Err() == nil {
				f.o.Log.Error("fleet: state not sent again", "agent", r.agent, "err", err)
			}
		}
	}
}

func (f *Fleet) again(ctx context.Context, r *remote) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.online {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	if err := f.remindOfLocks(ctx, r); err != nil {
		return err
	}
	unsaid := r.fails > 0 && !r.sent.waiting
	due := r.sent.waiting && time.Since(r.sent.at) >= r.sent.patience() || unsaid && time.Since(r.failedAt) >= (sent{tries: r.fails - 1}).patience()
	if !due {
		return nil
	}
	if f.o.Replicas {
		if err := f.learn(ctx, r); err != nil || !r.online || !unsaid && !r.sent.waiting {
			return err
		}
	}
	lineage, revision, _, err := f.o.Store.Wanted(ctx, r.site)
	if err != nil {
		return err
	}
	if unsaid {
		if r.held == (position{lineage, revision}) {
			r.fails = 0 // another process, or a hello, brought it there
			return nil
		}
		return f.send(ctx, r, r.held, false, 0)
	}
	f.o.Log.Info("fleet: no answer to the state sent; sent again", "site", r.site, "agent", r.agent, "held", r.held.revision, "to", revision, "tries", r.sent.tries)
	return f.send(ctx, r, r.held, r.held == position{lineage, revision}, r.sent.tries+1)
}
