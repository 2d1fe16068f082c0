package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// Lists knows what the address-lists of the routers should hold, and keeps what
// became of it.
type Lists interface {
	// WantedLists returns all of it, as of now.
	WantedLists(ctx context.Context) (hotspot.WantedLists, error)
	// SettleGrants keeps what became of grants. The same may come again.
	SettleGrants(ctx context.Context, settled []hotspot.SettledGrant) error
}

// CodeLists is of address-lists that do not hold what they should.
const CodeLists = "RTR-131"

const (
	listsEvery    = time.Minute            // the lists are read anew at least as often
	listsSlice    = 100 * time.Millisecond // of work before the wish is looked at again, where it changed
	listsPatience = 5 * time.Second        // that they, and live sessions, wait for who must be off
	listsPause    = 5 * time.Millisecond   // between two looks whether they still must
	listsRest     = 100 * time.Millisecond // between two passes: a burst of wishes is one
	changesRead   = 8                      // so many entries are read back one by one; more, and their lists are read
)

// ListHealth is what is known of one router's address-lists.
type ListHealth struct {
	Wanted  int // entries
	In      int // of them, read back
	Foreign int // of those in, by an entry that somebody else made
	// Late is since when the lists do not hold what they should; zero: they do.
	Late      time.Time
	Code, Err string // of the last pass, when it failed
}

// lister keeps the address-lists of one router. Everything but its report
// belongs to one goroutine.
type lister struct {
	link *link
	wake chan struct{} // capacity one

	have    map[listKey]held     // entries of ours, as far as known
	foreign map[listKey]bool     // that somebody else's entry stands for
	extra   []ownEntry           // second entries of ours for what have holds
	clean   map[string]bool      // lists that nothing is wanted of, in which nothing of ours stands
	wish    map[listKey]listWish // of the pass under way
	wishes  map[listTable]int    // how many of them, by list and family
	doubt   atomic.Bool          // the router may have lost entries
	read    time.Time            // when the lists were read whole; zero: never on this connection
	reads   uint64               // dials of the link then

	mu     sync.Mutex // guards what follows
	health ListHealth
	states map[hotspot.GrantID]hotspot.GrantState
}

// listTable is a list of one family.
type listTable struct {
	list string
	v6   bool
}

// held is an entry of ours on the router.
type held struct {
	id   string
	left time.Duration // as it was set or read, at that moment; 0: it has no end
	at   time.Time     // monotonic
	off  bool          // somebody disabled it
}

// ends is when the router drops it; zero: never.
func (h held) ends() time.Time {
	if h.left == 0 {
		return time.Time{}
	}
	return h.at.Add(h.left)
}

func newLister(r Router) *lister {
	return &lister{link: newLink(r.Dial), wake: make(chan struct{}, 1), have: map[listKey]held{}, foreign: map[listKey]bool{}, clean: map[string]bool{}}
}

func (l *lister) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake already
	}
}

// spreadLists wakes the list keepers of all routers.
func (e *Enforcer) spreadLists(ctx context.Context) {
	for {
		select {
		case <-e.ListWake:
			for _, n := range e.nases {
				n.lists.poke()
			}
		case <-ctx.Done():
			return
		}
	}
}

// keepLists brings a router's address-lists to what is wanted, for ever. Waking
// only makes it sooner.
func (e *Enforcer) keepLists(ctx context.Context, n *nas) {
	failures := 0
	for ctx.Err() == nil {
		err := e.passLists(ctx, n)
		if ctx.Err() != nil {
			return
		}
		wait := listsEvery
		switch {
		case errors.Is(err, errStale):
			wait, failures = 0, 0
		case err != nil:
			wait = min(listsEvery, backOffFirst<<min(failures, 5))
			failures++
		default:
			failures = 0
		}
		e.toldLists(n, err)
		if !n.lists.rest(ctx, wait, err) {
			return
		}
	}
}

// rest waits for the next pass; false when ctx ended. After a failure no wish
// makes it sooner than a second.
func (l *lister) rest(ctx context.Context, wait time.Duration, err error) bool {
	if errors.Is(err, errStale) {
		return ctx.Err() == nil
	}
	least := listsRest
	if err != nil {
		least = min(wait, backOffFirst)
	}
	if !pause(ctx, least) {
		return false
	}
	t := time.NewTimer(max(0, wait-least))
	defer t.Stop()
	select {
	case <-l.wake:
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// toldLists notes how a pass ended and says changes in the log.
func (e *Enforcer) toldLists(n *nas, err error) {
	if errors.Is(err, errStale) {
		return
	}
	l := n.lists
	l.mu.Lock()
	h := &l.health
	before := h.Code
	h.Code, h.Err = "", ""
	switch {
	case err == nil:
		h.Late = time.Time{}
	default:
		h.Code, h.Err = cmp.Or(fault.Code(err), CodeLists), err.Error()
		if h.Late.IsZero() {
			h.Late = e.Now()
		}
	}
	code := h.Code
	l.mu.Unlock()
	switch {
	case code == before:
	case err != nil:
		e.Log.Warn("address-lists are not what they should be", "nas", n.NAS, "err", err, "code", code)
	default:
		e.Log.Info("address-lists are what they should be again", "nas", n.NAS)
	}
}

// errStale ends a pass early: what is wanted may be something else by now.
var errStale = errors.New("the wish changed meanwhile")

// passLists closes the difference once, and reads back what it changed.
func (e *Enforcer) passLists(ctx context.Context, n *nas) error {
	l := n.lists
	w, err := e.Lists.WantedLists(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	wanted, err := l.wanted(ctx, n.NAS, w.Entries, now)
	if err != nil {
		return err
	}
	if len(wanted) == 0 && len(w.Names) == 0 {
		l.report(wanted, nil)
		return nil // nothing was ever wanted: the router need not be asked
	}
	l.wish, l.wishes = wanted, map[listTable]int{}
	for k := range wanted {
		l.wishes[listTable{k.list, k.v6()}]++
	}
	if l.stale(now) {
		if err := l.readAll(ctx, w.Names); err != nil {
			return err
		}
	}
	p := l.plan(wanted, time.Now())
	run := listRun{e: e, l: l, begun: time.Now()}
	err = run.all(ctx, p)
	if err == nil || errors.Is(err, errStale) {
		if back := l.readBack(ctx, run.touched); back != nil {
			err = back
		}
	}
	if err == nil {
		err = l.settled(wanted)
	}
	if run.added+run.removed+run.set > 0 && !errors.Is(err, errStale) {
		e.Log.Info("address-lists", "nas", n.NAS, "added", run.added, "removed", run.removed, "refreshed", run.set, "dur_ms", time.Since(run.begun).Milliseconds(), "err", err)
	}
	l.report(wanted, w.Entries)
	return errors.Join(err, e.settle(ctx))
}

// stale reports whether the lists are to be read whole: not on this connection
// yet, or not for a while.
func (l *lister) stale(now time.Time) bool {
	return l.doubt.Load() || l.read.IsZero() || l.reads != l.link.dials.Load() || now.Sub(l.read) >= listsEvery
}

// settled says what is still not as it should be after a pass.
func (l *lister) settled(wanted map[listKey]listWish) error {
	p := l.plan(wanted, time.Now())
	if n := len(p.add) + len(p.remove) + len(p.set); n > 0 {
		l.read = time.Time{} // what is known of it may be wrong
		if len(p.remove)+len(p.set) > 1 {
			l.link.singly.Store(true) // perhaps it does not understand several ids at once
		}
		return fault.New(fault.Unavailable, fmt.Sprintf("address-lists: %d entries are missing, %d should not be there, %d have another end than they should, though the router refused nothing",
			len(p.add), len(p.remove), len(p.set)), nil).
			WithCode(CodeLists, "On the router, look whether a script or another program changes the list: /ip/firewall/address-list/print where list="+p.first()+".")
	}
	return nil
}

// report keeps what is known of the lists for people, and of the grants.
func (l *lister) report(wanted map[listKey]listWish, entries []hotspot.ListEntry) {
	in, foreign := 0, 0
	for k := range wanted {
		switch _, ours := l.have[k]; {
		case ours:
			in++
		case l.foreign[k]:
			in, foreign = in+1, foreign+1
		}
	}
	states := make(map[hotspot.GrantID]hotspot.GrantState, len(entries))
	for _, entry := range entries {
		k := listKey{entry.List, entry.Address}
		state := hotspot.GrantWaiting
		if _, ours := l.have[k]; ours {
			state = hotspot.GrantInList
		} else if l.foreign[k] {
			state = hotspot.GrantForeign
		}
		for _, id := range entry.Grants {
			states[id] = state
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.health.Wanted, l.health.In, l.health.Foreign = len(wanted), in, foreign
	l.states = states
}

// settle tells the store what became of grants: in the list is what is in it on
// every router that has an API.
func (e *Enforcer) settle(ctx context.Context) error {
	e.settling.Lock()
	defer e.settling.Unlock()
	all := map[hotspot.GrantID]hotspot.GrantState{}
	first := true
	for _, n := range e.nases {
		if n.Dial == nil {
			continue
		}
		n.lists.mu.Lock()
		states := n.lists.states
		n.lists.mu.Unlock()
		if first {
			all, first = maps.Clone(states), false
			continue
		}
		for id, state := range all {
			all[id] = lesser(state, states[id])
		}
	}
	var news []hotspot.SettledGrant
	for id, state := range all {
		if state != hotspot.GrantWaiting && e.settledAs[id] != state {
			news = append(news, hotspot.SettledGrant{ID: id, State: state})
		}
	}
	slices.SortFunc(news, func(a, b hotspot.SettledGrant) int { return cmp.Compare(a.ID, b.ID) })
	if err := e.Lists.SettleGrants(ctx, news); err != nil {
		return err
	}
	e.settledAs = all
	return nil
}

// lesser is what a grant is that is one thing on one router and another on the
// next.
func lesser(a, b hotspot.GrantState) hotspot.GrantState {
	switch {
	case a == hotspot.GrantWaiting || b == hotspot.GrantWaiting:
		return hotspot.GrantWaiting
	case a == hotspot.GrantForeign || b == hotspot.GrantForeign:
		return hotspot.GrantForeign
	}
	return hotspot.GrantInList
}

// known returns what is known of the lists, for Health.
func (l *lister) known() ListHealth {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health
}

// busy reports whether somebody is being put off now.
func (e *Enforcer) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running > 0
}

// giveWay waits while somebody is being put off, and reports whether it had to:
// the router has one hand, and off goes first.
func (e *Enforcer) giveWay(ctx context.Context) (waited bool) {
	for deadline := time.Now().Add(listsPatience); e.busy() && time.Now().Before(deadline); waited = true {
		if !pause(ctx, listsPause) {
			return true
		}
	}
	return waited
}

// listRun carries a plan out.
type listRun struct {
	e                   *Enforcer
	l                   *lister
	begun, slice        time.Time
	touched             []listKey // to be read back
	added, removed, set int
}

// all does what a plan says: what must go first, then what must come, then what
// gets another end. It stops where somebody must be put off, or where the wish
// changed: what is done stays done.
func (r *listRun) all(ctx context.Context, p listPlan) error {
	r.slice = time.Now()
	for _, step := range [...]func(context.Context, listPlan) error{r.removeAll, r.addAll, r.setAll} {
		if err := step(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// next is called before each command.
func (r *listRun) next(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.e.giveWay(ctx) {
		return errStale // who was put off may have been in the plan
	}
	if time.Since(r.slice) >= listsSlice {
		r.slice = time.Now()
		select {
		case <-r.l.wake:
			return errStale
		default:
		}
	}
	return nil
}

func (r *listRun) removeAll(ctx context.Context, p listPlan) error {
	for _, v6 := range []bool{false, true} {
		some := slices.DeleteFunc(slices.Clone(p.remove), func(x ownEntry) bool { return x.key.v6() != v6 })
		for batch := range slices.Chunk(some, removeAtOnce) {
			if err := r.next(ctx); err != nil {
				return err
			}
			ids := make([]string, len(batch))
			for i, x := range batch {
				ids[i] = x.id
				r.touched = append(r.touched, x.key)
			}
			if _, err := remove(ctx, r.l.link, listMenu(v6), ids, false); err != nil {
				return err
			}
			for _, x := range batch {
				r.l.forget(x)
			}
			r.removed += len(batch)
		}
	}
	return nil
}

func (r *listRun) addAll(ctx context.Context, p listPlan) error {
	for _, a := range p.add {
		if err := r.next(ctx); err != nil {
			return err
		}
		now := time.Now()
		left := a.wish.left(now)
		if left == 0 {
			continue // over by now
		}
		rows, err := r.l.link.do(ctx, listMenu(a.key.v6())+"/add", "=list="+a.key.list, "=address="+hotspot.FormatListAddress(a.key.address),
			"=timeout="+routeros.FormatDuration(left), "=comment="+a.wish.comment)
		r.touched = append(r.touched, a.key)
		switch {
		case routeros.ReasonOf(err) == routeros.Duplicate: // whose it is shows when it is read back
		case err != nil:
			return err
		case len(rows) > 0:
			r.l.have[a.key] = held{id: rows[len(rows)-1]["ret"], left: left, at: now}
			r.added++
		}
	}
	return nil
}

// setAll gives entries another end, those with the same one in one command.
func (r *listRun) setAll(ctx context.Context, p listPlan) error {
	for _, group := range p.together(time.Now()) {
		for batch := range slices.Chunk(group.entries, removeAtOnce) {
			if err := r.next(ctx); err != nil {
				return err
			}
			if err := r.setSome(ctx, group, batch); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *listRun) setSome(ctx context.Context, g sameEnd, batch []ownEntry) error {
	now := time.Now()
	var ids []string
	for _, x := range batch {
		ids = append(ids, x.id)
		r.touched = append(r.touched, x.key)
	}
	words := []string{"=timeout=" + routeros.FormatDuration(g.left)}
	if g.off {
		words = append(words, "=disabled=no")
	}
	gone, err := setEach(ctx, r.l.link, listMenu(g.v6), ids, words...)
	for _, x := range batch {
		if err == nil && !gone[x.id] {
			r.l.have[x.key] = held{id: x.id, left: g.left, at: now}
			r.set++
		} else if gone[x.id] {
			r.l.forget(x)
		}
	}
	return err
}

// readBack reads what was changed, and brings what is known to that.
func (l *lister) readBack(ctx context.Context, touched []listKey) error {
	if len(touched) == 0 {
		return nil
	}
	if len(touched) <= changesRead {
		for _, k := range touched {
			if err := l.readOne(ctx, k); err != nil {
				return err
			}
		}
		return nil
	}
	seen := map[listTable]bool{}
	for _, k := range touched {
		t := listTable{k.list, k.v6()}
		if seen[t] {
			continue
		}
		seen[t] = true
		if err := l.readList(ctx, t.list, t.v6); err != nil {
			return err
		}
	}
	return nil
}
