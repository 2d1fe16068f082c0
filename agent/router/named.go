package router

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// Locks knows who is locked, proven off or not.
type Locks interface {
	// Locked returns the newest locks, at most limit.
	Locked(ctx context.Context, limit int) ([]hotspot.Target, error)
}

const (
	namedPolls = 2   // looks at the list from one to the next of these: two small reads while anybody is locked
	lockedRead = 200 // locks looked after; more are known to their proofs only
	namesAtOne = 50  // names in one query
)

// openTo keeps the ways round the HotSpot that are open to one locked account:
// a lock's own attempt finds them, and they come and go after it has ended.
type openTo struct {
	mu   sync.Mutex
	at   time.Time
	open []Way
}

func (n *openTo) ways() []Way {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.open)
}

// lookForNamed reads what the router holds in the name of those who are locked,
// when it is time to. Whoever of them is on its list, and whom a way round is open
// to since the last look, is put off once more.
func (e *Enforcer) lookForNamed(ctx context.Context, n *nas, on []active) error {
	n.openTo.mu.Lock()
	due := time.Since(n.openTo.at) >= namedPolls*e.Poll
	n.openTo.mu.Unlock()
	if e.Locks == nil || !due {
		return nil
	}
	locked, err := e.Locks.Locked(ctx, lockedRead)
	if err != nil {
		if ctx.Err() == nil {
			e.Log.Error("read who is locked", "err", err)
		}
		return nil // it says nothing of the router
	}
	var open []Way
	if len(locked) > 0 {
		if open, err = n.lookFor(ctx, locked); err != nil {
			return err
		}
	}
	n.openTo.mu.Lock()
	were := n.openTo.open
	n.openTo.at, n.openTo.open = time.Now(), open
	n.openTo.mu.Unlock()
	if len(beside(were, open)) > 0 {
		e.waysChanged(true, false)
	}
	again := beside(open, were)
	for _, t := range locked {
		if w := newWho(t, n.NAS); slices.ContainsFunc(on, w.entry) {
			again = append(again, t.Account)
		}
	}
	if len(again) == 0 {
		return nil
	}
	if err := e.Store.Doubt(ctx, again...); err != nil && ctx.Err() == nil {
		e.Log.Error("doubt locks", "err", err)
	}
	e.poke()
	return nil
}

// beside returns whose ways are not among others.
func beside(ways, others []Way) (accounts []hotspot.AccountID) {
	for _, w := range ways {
		if !slices.ContainsFunc(others, func(o Way) bool { return o.Code == w.Code && o.Account == w.Account }) {
			accounts = append(accounts, w.Account)
		}
	}
	return accounts
}

// lookFor returns what lets the accounts past the HotSpot by name or by device.
func (n *nas) lookFor(ctx context.Context, locked []hotspot.Target) ([]Way, error) {
	names, devices := map[string]hotspot.Target{}, map[hotspot.MAC]hotspot.Target{}
	for _, t := range locked {
		w := newWho(t, n.NAS)
		for name := range w.names {
			names[name] = t
		}
		for mac := range w.macs {
			devices[mac] = t
		}
	}
	var open []Way
	users, err := localUsersNamed(ctx, n.watcher, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return nil, err
	}
	for _, user := range users {
		open = append(open, Way{Code: CodeLocalUser, Account: names[user].Account,
			Text: fmt.Sprintf("%q is locked, and it has a user of that name of its own (/ip/hotspot/user), which it asks before RADIUS", user)})
	}
	// Not n.bindings.read: a lock that asks meanwhile would share a read that waits here.
	rows, err := n.watcher.do(ctx, n.bindings.words...)
	if err != nil && routeros.ReasonOf(err) != routeros.NoSuchCommand {
		return nil, fmt.Errorf("look for bypassed bindings: %w", err)
	}
	for _, r := range rows {
		b := parseBinding(r)
		if t, ours := devices[b.mac]; ours && b.open {
			open = append(open, Way{Code: CodeBinding, Account: t.Account,
				Text: fmt.Sprintf("an ip-binding of type bypassed lets the device %s of %s, who is locked, through without a login", b.mac.Masked(), calledOf(t))})
		}
	}
	return open, nil
}

// calledOf names an account for people.
func calledOf(t hotspot.Target) string {
	if len(t.Usernames) == 0 {
		return "a guest"
	}
	return t.Usernames[0]
}

// localUsersNamed returns which of the names are users of the router's own base
// and not disabled.
func localUsersNamed(ctx context.Context, l *link, names []string) ([]string, error) {
	var found []string
	for some := range slices.Chunk(names, namesAtOne) {
		words := []string{"/ip/hotspot/user/print", "=.proplist=.id,name,disabled"}
		for _, name := range some {
			words = append(words, "?name="+name)
		}
		if len(some) > 1 {
			words = append(words, "?#"+strings.Repeat("|", len(some)-1))
		}
		rows, err := l.do(ctx, words...)
		if err != nil && routeros.ReasonOf(err) != routeros.NoSuchCommand {
			return nil, fmt.Errorf("look for users of the router's own: %w", err)
		}
		for _, r := range rows {
			if !flag(r["disabled"]) {
				found = append(found, r["name"])
			}
		}
	}
	return found, nil
}
