package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// op is one unit of work for the writer. run may be called again in a
// transaction of its own after a batch was rolled back, so it must not keep
// effects outside of tx, besides variables it sets anew each time.
type op struct {
	ctx  context.Context
	run  func(*tx) error
	own  bool // reads and writes sessions, usage and events through tx's work only; for all others SQL is brought up to date first
	err  error
	done chan struct{} // nil when nobody waits
}

// batchBound is how many operations share one commit. Above a few hundred the
// fsync is no longer what costs.
const batchBound = 512

// writerState belongs to the writer goroutine.
type writerState struct {
	conn               *sql.Conn
	stmts              map[string]*sql.Stmt
	serial             uint64 // of the newest operation
	mark               mark   // as committed
	site               wire.SiteDoc
	router             routerView
	work               work
	late               late
	pressure, lateTime time.Duration
	kicks              map[string]time.Time           // when those at work began, by id
	relearnt           map[deviceAt]hotspot.SessionID // after a restore: see relearn
	stale              bool                           // a roll-back took rows back that were late: bring them up first
	txs                uint64                         // transactions begun
	// committedAt is when the newest commit ended, by the monotonic clock.
	committedAt time.Time
	wroteAt     time.Time       // when one last reached the disk, by the same clock
	events      []numberedEvent // these four are kept for their room
	order       []*change
	used        []*useChange
	args        []any     // for one statement
	fresh       []*change // likewise kept
}

// start takes the writer's connection and reads where the store stands.
func (db *DB) start(ctx context.Context) error {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return sqlFault("open", err)
	}
	db.w = writerState{conn: conn, stmts: map[string]*sql.Stmt{}, router: newRouterView(db.o.Now()), work: work{passes: map[hotspot.PassID]*passRow{}}, late: newLate(), pressure: pressure, lateTime: lateTime}
	first := &op{ctx: ctx, run: func(t *tx) error {
		t.devices = true
		return errors.Join(t.loadMark(), t.loadNASes(), t.recover(), t.loadGrants(), t.loadCommands(), t.loadMade(), t.loadRejects())
	}}
	db.commit([]*op{first})
	if first.err != nil {
		return errors.Join(first.err, conn.Close())
	}
	go db.serve()
	return nil
}

// serve is the writer: it takes what waits, runs it in one transaction, commits
// once, and answers all. Alone, an operation waits for nobody.
func (db *DB) serve() {
	defer close(db.stopped)
	defer func() {
		for _, s := range db.w.stmts {
			_ = s.Close() // the connection goes with it
		}
		_ = db.w.conn.Close() // returns it to the pool, which Close closes
	}()
	batch := make([]*op, 0, batchBound)
	for {
		batch = batch[:0]
		var due <-chan time.Time
		if l := &db.w.late; !l.empty() {
			due = time.After(time.Until(l.since.Add(db.w.lateTime)))
		}
		select {
		case o := <-db.ops:
			batch = append(batch, o)
		case <-due:
			batch = append(batch, nothing())
		case <-db.stop:
			if !db.w.late.empty() {
				db.commit([]*op{nothing()})
			}
			return
		}
	drain:
		for len(batch) < batchBound {
			select {
			case o := <-db.ops:
				batch = append(batch, o)
			default:
				break drain
			}
		}
		db.commit(batch)
		for _, o := range batch {
			if o.done != nil {
				close(o.done)
			}
		}
	}
}

// commit runs a batch in one transaction. When an operation fails half way the
// batch is rolled back and each runs alone, so that it costs only itself;
// that spares all others a savepoint. When the commit itself fails, all fail.
func (db *DB) commit(batch []*op) {
	spoilt, err := db.attempt(batch)
	if db.makeRoom(batch, err, spoilt) {
		spoilt, err = db.attempt(batch)
	}
	switch {
	case err != nil:
		db.noteFailed(err)
		for _, o := range batch {
			if o.err == nil {
				o.err = err
			}
		}
	case spoilt && len(batch) > 1:
		for _, o := range batch {
			o.err = nil
			db.commit([]*op{o})
		}
	}
}

// attempt runs the batch and commits. spoilt says that an operation failed after
// it wrote, and all was rolled back; one that failed before it wrote has its own
// error, and the batch goes on.
func (db *DB) attempt(batch []*op) (spoilt bool, err error) {
	t := db.newTx()
	defer t.keepRoom()
	if err := t.control("BEGIN IMMEDIATE"); err != nil {
		return false, sqlFault("begin", err)
	}
	defer func() {
		if spoilt || err != nil {
			t.undo()
			db.online.doubt() // a commit that failed may have happened
			// SQLite may have rolled back itself: "no transaction is active".
			if rollback := t.control("ROLLBACK"); rollback != nil {
				db.o.Log.Debug("rollback", "err", rollback)
			}
		}
		t.overtake()
	}()
	if db.w.stale {
		if err := t.recover(); err != nil {
			return false, err
		}
		t.caught = true
	}
	for _, o := range batch {
		if o.ctx.Err() != nil {
			o.err = fault.New(fault.Unavailable, "store: gave up waiting", o.ctx.Err())
			continue
		}
		db.w.serial++
		t.serial = db.w.serial
		if !o.own {
			if err := t.settle(); err != nil {
				return true, err
			}
		}
		wrote, refused := t.writes, len(t.refused)
		if o.err = t.run(o.run); o.err != nil {
			db.noteFailed(o.err)
			if t.writes != wrote {
				return true, nil
			}
			continue
		}
		if fresh := t.refused[refused:]; len(fresh) > 0 {
			t.refusals = append(t.refusals, refusal{fresh, t.serial})
		}
	}
	return false, t.finish()
}

// nothing is an operation that brings the rows up to the log.
func nothing() *op { return &op{ctx: context.Background(), run: func(*tx) error { return nil }} }

// finish writes what is owed, takes from desk and caches whoever is refused from
// now on, commits, and wakes the watchers. Until overtake moves the committed
// serial, a request judged on the locked devices of before carries one that the
// caches' fence voids.
func (t *tx) finish() error {
	bring := t.settle
	if t.mayWait(time.Now()) {
		bring = t.settleEvents
		t.db.lag.add(t.order)
	}
	if err := bring(); err != nil {
		return err
	}
	if t.markMoved() {
		if err := t.saveMark(); err != nil {
			return err
		}
	}
	devices, shut, err := t.lockedDevices()
	if err != nil {
		return err
	}
	t.dropFacts()
	t.fence(shut)
	if err := t.control("COMMIT"); err != nil {
		return sqlFault("commit", err)
	}
	t.db.online.note(t)
	t.db.w.committedAt, t.db.w.stale = time.Now(), false
	if t.dirty {
		t.db.noteWrote()
	}
	t.db.carriedUp.Add(t.carriedUp)
	t.db.carriedDown.Add(t.carriedDown)
	if t.caught {
		t.db.lag.reset(&t.db.w.late)
	}
	if devices != nil {
		t.db.devices.Store(devices)
	}
	if t.db.w.site != t.site || t.db.site.Load() == nil {
		t.db.site.Store(t.db.siteFactsOf(t.site))
	}
	t.db.w.mark, t.db.w.site = t.mark, t.site
	t.db.nases.remember(t.learnt)
	look := t.publish() || t.wanted || len(t.refusals) > 0 || len(t.freed) > 0
	if t.lists || t.db.apiLists.Load() && (len(t.order) > 0 || len(t.refusals) > 0 || len(t.freed) > 0) {
		t.db.tick(t.db.listers)
	}
	if t.tick {
		t.db.tick(t.db.watchers)
	}
	if look {
		t.db.tick(t.db.lookers)
	}
	return nil
}

// fence tells the caches who is refused from now on.
func (t *tx) fence(devices []hotspot.MAC) {
	if t.db.o.BeforeRefusal == nil {
		return
	}
	for _, r := range t.refusals {
		t.db.o.BeforeRefusal(r.accounts, nil, r.serial)
	}
	if len(devices) > 0 {
		t.db.o.BeforeRefusal(nil, devices, t.db.w.serial)
	}
}

// overtake ends a transaction, whatever came of it. What a reader took to the
// desk between finish's dropFacts and COMMIT is of before: it goes too. Only
// then may Accepts carry the serials of this transaction.
func (t *tx) overtake() {
	t.dropFacts()
	t.db.committed.Store(t.db.w.serial)
	t.db.w.work.trim()
}

// dropFacts takes from the desk what this transaction changes there.
func (t *tx) dropFacts() {
	for _, r := range t.refusals {
		t.db.desk.drop(r.accounts)
	}
	t.db.desk.drop(t.freed)
	t.db.desk.rename(t.renamed)
}

// run calls f; a panic costs that operation only.
func (t *tx) run(f func(*tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.writes++ // what it did is not known
			err = fault.New(fault.Internal, "store", fmt.Errorf("panic: %v", p))
		}
	}()
	return f(t)
}

// do runs f in the writer and returns after its commit.
func (db *DB) do(ctx context.Context, f func(*tx) error) error {
	return db.submit(ctx, &op{run: f})
}

// submit runs an operation in the writer and returns after its commit. Once it
// is queued the caller waits for the outcome whatever its context says: a commit
// has no "perhaps".
func (db *DB) submit(ctx context.Context, o *op) error {
	o.ctx, o.done = ctx, make(chan struct{})
	select {
	case db.ops <- o:
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "store: busy", ctx.Err())
	case <-db.stop:
		return fault.New(fault.Unavailable, "store: closing", nil)
	}
	select {
	case <-o.done:
		return o.err
	case <-db.stopped:
	}
	select {
	case <-o.done: // answered while the writer ended
		return o.err
	default:
		return fault.New(fault.Unavailable, "store: closing", nil)
	}
}

// enqueue runs f in the writer without waiting; it is dropped when the queue is
// full, so it is for records that only help people.
func (db *DB) enqueue(f func(*tx) error) {
	select {
	case db.ops <- &op{ctx: context.Background(), run: f}:
	default:
	}
}
