package console

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"iwas/internal/fault"
)

// once remembers the results of creations by the key their sender gave, so
// that a repeated request gets the first answer instead of a second account.
// It holds the last maxOnce results for onceFor, in this process: behind
// several replicas a repeat that reaches another one is a new request. The zero
// value works.
type once struct {
	mu      sync.Mutex
	entries map[string]*onceEntry // guarded by mu
	order   []string              // oldest first; guarded by mu
}

type onceEntry struct {
	body [32]byte
	at   time.Time
	done chan struct{} // closed when result and err stand
	made created
	err  error
}

const (
	maxOnce = 1000
	onceFor = time.Hour
)

// do runs f for the first request with a key and returns its result to the
// others, which also learn that it is a repeat. Failures are not remembered.
func (o *once) do(ctx context.Context, now time.Time, key string, body [32]byte, f func() (created, error)) (created, bool, error) {
	o.mu.Lock()
	e := o.entries[key]
	if e != nil && now.Sub(e.at) < onceFor {
		o.mu.Unlock()
		if e.body != body {
			return created{}, true, fault.New(fault.Conflict, "the same Idempotency-Key came with another body", nil).
				WithCode("", "Use a new key for a new request.")
		}
		select {
		case <-e.done:
			return e.made, true, e.err
		case <-ctx.Done():
			return created{}, true, fault.New(fault.Unavailable, "wait for the first request of this key", ctx.Err())
		}
	}
	e = &onceEntry{body: body, at: now, done: make(chan struct{}), err: errors.New("the first request of this key did not end")}
	o.add(key, e)
	o.mu.Unlock()
	defer func() { // also when f panics
		if e.err != nil {
			o.forget(key, e)
		}
		close(e.done)
	}()
	e.made, e.err = f()
	return e.made, false, e.err
}

// add stores an entry and drops the oldest at the bound. Called with mu held.
func (o *once) add(key string, e *onceEntry) {
	if o.entries == nil {
		o.entries = map[string]*onceEntry{}
	}
	o.order = slices.DeleteFunc(o.order, func(k string) bool { return k == key })
	o.entries[key] = e
	o.order = append(o.order, key)
	if len(o.order) > maxOnce {
		delete(o.entries, o.order[0])
		o.order = o.order[1:]
	}
}

func (o *once) forget(key string, e *onceEntry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.entries[key] == e {
		delete(o.entries, key)
		o.order = slices.DeleteFunc(o.order, func(k string) bool { return k == key })
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
