// Package lanes runs work in one lane per key: in order within a lane, in turn
// between lanes, by a bounded number of workers. So one busy key cannot starve
// the others. It knows nothing of what the work is.
package lanes

import (
	"context"
	"sync"
)

// Lanes is a set of lanes. The fields are set before use and not changed.
type Lanes[K comparable, T any] struct {
	Workers int // items worked on at once; at least 1
	Depth   int // items waiting per lane; above it Push refuses; at least 1
	// Do works on one item. It is never called twice at once for one key.
	Do func(ctx context.Context, key K, item T)

	mu    sync.Mutex
	wake  *sync.Cond
	lanes map[K]*lane[T] // guarded by mu; only lanes with work
	ready []K            // guarded by mu; lanes with work that no worker has
	ended bool           // guarded by mu
}

type lane[T any] struct {
	items []T
	busy  bool // a worker has it
}

// Push puts an item at the end of its lane, and returns at once. It reports
// false when the lane is full; the item is dropped then.
func (l *Lanes[K, T]) Push(key K, item T) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	q := l.lanes[key]
	if q == nil {
		q = &lane[T]{}
		l.lanes[key] = q
	}
	if len(q.items) >= max(l.Depth, 1) {
		return false
	}
	q.items = append(q.items, item)
	if len(q.items) == 1 && !q.busy {
		l.ready = append(l.ready, key)
		l.wake.Signal()
	}
	return true
}

// Serve works until ctx ends and the items in work are done; those waiting stay.
func (l *Lanes[K, T]) Serve(ctx context.Context) error {
	l.mu.Lock()
	l.init()
	l.ended = false
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = true
		l.wake.Broadcast()
	})
	defer stop()
	var workers sync.WaitGroup
	for range max(l.Workers, 1) {
		workers.Go(func() { l.work(ctx) })
	}
	workers.Wait()
	return ctx.Err()
}

func (l *Lanes[K, T]) init() { // mu is held
	if l.lanes == nil {
		l.lanes = map[K]*lane[T]{}
		l.wake = sync.NewCond(&l.mu)
	}
}

func (l *Lanes[K, T]) work(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.ready) == 0 && !l.ended {
			l.wake.Wait()
		}
		if l.ended {
			return
		}
		key := l.ready[0]
		l.ready = l.ready[1:]
		q := l.lanes[key]
		item := q.items[0]
		q.items = q.items[1:]
		q.busy = true
		l.do(ctx, key, item)
		q.busy = false
		if len(q.items) == 0 {
			delete(l.lanes, key)
			continue
		}
		l.ready = append(l.ready, key) // behind everybody who waits
		l.wake.Signal()
	}
}

// do leaves the lock for the time of the work.
func (l *Lanes[K, T]) do(ctx context.Context, key K, item T) {
	l.mu.Unlock()
	defer l.mu.Lock()
	l.Do(ctx, key, item)
}
