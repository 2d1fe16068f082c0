package router

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/routeros"
)

// link is one connection kept to a router: dialled when first needed, and again
// after any error. Commands run one after the other.
type link struct {
	dial func(ctx context.Context) (routeros.Conn, error) // nil: no API

	dials  atomic.Uint64 // that succeeded
	singly atomic.Bool   // this router refuses to remove several items at once

	turn    chan struct{} // capacity one: guards what follows
	conn    routeros.Conn
	failed  error // of the last dial
	retryAt time.Time
	pause   time.Duration
	used    time.Time
}

func newLink(dial func(ctx context.Context) (routeros.Conn, error)) *link {
	return &link{dial: dial, turn: make(chan struct{}, 1)}
}

// do runs a command. One that dies with a connection used before is run once more on a new one:
// the router may have restarted since. So every command here must be harmless
// when repeated. After a failed dial the next ones fail at once for a while.
func (l *link) do(ctx context.Context, sentence ...string) (rows []routeros.Row, err error) {
	err = l.with(ctx, func(conn routeros.Conn) error {
		rows, err = conn.Run(ctx, sentence...)
		return err
	})
	return rows, err
}

// with calls run with the connection when its turn has come, and again as do says.
func (l *link) with(ctx context.Context, run func(routeros.Conn) error) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return l.own(ctx, run)
}

// own is with for whoever has the turn.
func (l *link) own(ctx context.Context, run func(routeros.Conn) error) error {
	warm := l.conn != nil
	for {
		if err := l.connect(ctx); err != nil {
			return err
		}
		err := run(l.conn)
		l.used = time.Now()
		if err == nil || routeros.Refused(err) {
			return err
		}
		l.drop()
		if !warm || over(ctx) {
			return err
		}
		warm = false
	}
}

// over reports whether a context has ended, or is about to: the connection has
// its deadline, and may be the first to notice.
func over(ctx context.Context) bool {
	at, has := ctx.Deadline()
	return ctx.Err() != nil || has && !time.Now().Before(at)
}

func (l *link) connect(ctx context.Context) error {
	if l.conn != nil {
		return nil
	}
	if wait := time.Until(l.retryAt); wait > 0 {
		return fmt.Errorf("not tried again for %v: %w", wait.Round(time.Millisecond), l.failed)
	}
	conn, err := l.dial(ctx)
	if err != nil {
		l.failed = err
		l.pause = min(max(2*l.pause, firstRetry), lastRetry)
		l.retryAt = time.Now().Add(l.pause)
		return err
	}
	l.conn, l.pause = conn, 0
	l.dials.Add(1)
	l.singly.Store(false) // it may be another version now
	return nil
}

func (l *link) drop() {
	if l.conn != nil {
		l.conn.Close() // it is dead already, or no longer wanted: its error says nothing
		l.conn = nil
	}
}

// ready makes sure of the connection when it was not used for a while, and
// forgets that a dial failed: the caller knows that the router answers.
func (l *link) ready(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	default:
		return nil // it is in use
	}
	l.retryAt = time.Time{}
	idle := l.conn == nil || time.Since(l.used) > idleTime
	<-l.turn
	if !idle {
		return nil
	}
	_, err := l.do(ctx, "/system/identity/print")
	return err
}

func (l *link) close() {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.drop()
}

// table reads one menu. Whoever asks while a read waits for its turn shares that
// one: it begins after their question, so it answers it.
type table[T any] struct {
	words []string
	parse func(routeros.Row) T
	size  atomic.Int64 // rows of the last answer: the next has about as many

	mu   sync.Mutex
	next *reading[T] // not begun yet
}

// reading is one read, shared by those who wait for done.
type reading[T any] struct {
	done chan struct{}
	rows []T
	err  error
}

func newTable[T any](menu, properties string, parse func(routeros.Row) T) *table[T] {
	return &table[T]{words: []string{menu + "/print", "=.proplist=" + properties}, parse: parse}
}

// read returns the rows as they are at some moment after the call.
func (t *table[T]) read(ctx context.Context, l *link) ([]T, error) {
	t.mu.Lock()
	r := t.next
	if r != nil {
		t.mu.Unlock()
		select {
		case <-r.done:
			return r.rows, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r = &reading[T]{done: make(chan struct{})}
	t.next = r
	t.mu.Unlock()
	begun := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.next == r {
			t.next = nil
		}
	}
	r.err = l.with(ctx, func(conn routeros.Conn) error {
		begun()
		return t.run(ctx, conn, r)
	})
	begun()
	close(r.done)
	return r.rows, r.err
}

func (t *table[T]) run(ctx context.Context, conn routeros.Conn, r *reading[T]) error {
	r.rows = make([]T, 0, t.size.Load())
	err := routeros.Each(ctx, conn, func(row routeros.Row) { r.rows = append(r.rows, t.parse(row)) }, t.words...)
	t.size.Store(int64(len(r.rows)))
	return err
}

// ahead begins a read at once, beside what is done on other connections. It is nil
// where l is in use or not there: whoever wants the rows reads them by itself then.
func (t *table[T]) ahead(background func(func(context.Context)), l *link) *reading[T] {
	select {
	case l.turn <- struct{}{}:
	default:
		return nil
	}
	if l.conn == nil {
		<-l.turn
		return nil
	}
	r := &reading[T]{done: make(chan struct{})}
	background(func(ctx context.Context) {
		defer close(r.done)
		defer func() { <-l.turn }()
		r.err = l.own(ctx, func(conn routeros.Conn) error { return t.run(ctx, conn, r) })
	})
	return r
}

// take returns the rows of a read that was begun ahead, or reads them: also where the
// other connection died unnoticed, and nothing comes of it.
func (t *table[T]) take(ctx context.Context, begun *reading[T], l *link) ([]T, error) {
	if begun != nil {
		late := time.NewTimer(aheadWait)
		defer late.Stop()
		select {
		case <-begun.done:
			if begun.err == nil {
				return begun.rows, nil
			}
		case <-late.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return t.read(ctx, l)
}

// removeAtOnce is how many items one remove names; more make a long word.
const removeAtOnce = 64

// remove takes items out of a menu, many in one command where the router takes
// that: ids joined by commas are in no documented source (facts.md §1 gives one),
// so a router that refuses them is asked for one at a time from then on, and
// singly asks so from the start. An item that is gone already is a success, but
// is not counted.
func remove(ctx context.Context, l *link, menu string, ids []string, singly bool) (int, error) {
	removed := 0
	for len(ids) > 0 {
		n := min(len(ids), removeAtOnce)
		if singly || l.singly.Load() {
			n = 1
		}
		some := ids[:n]
		ids = ids[n:]
		_, err := l.do(ctx, menu+"/remove", "=.id="+strings.Join(some, ","))
		switch reason := routeros.ReasonOf(err); {
		case err == nil:
			removed += n
			continue
		case n == 1 && reason == routeros.NoSuchItem:
			continue
		case n == 1 || !routeros.Refused(err) || reason == routeros.NoRights:
			return removed, err
		}
		// One of them is gone, or the list is not understood: which went is not said.
		one, err := removeEach(ctx, l, menu, some)
		removed += one
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// removeEach asks for one item at a time. When more than one was there after a
// list was refused, lists are asked for no more on this connection.
func removeEach(ctx context.Context, l *link, menu string, ids []string) (int, error) {
	removed := 0
	for _, id := range ids {
		_, err := l.do(ctx, menu+"/remove", "=.id="+id)
		if err == nil {
			removed++
		} else if routeros.ReasonOf(err) != routeros.NoSuchItem {
			return removed, err
		}
	}
	l.singly.Store(removed == len(ids))
	return removed, nil
}
