package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// op is one unit of work for the writer. run may be called again in a
// transaction of its own after a batch failed, so it must not keep effects
// outside of tx.
type op struct {
	ctx  context.Context
	run  func(*tx) error
	err  error
	done chan struct{} // nil when nobody waits
}

// batchBound is how many operations share one commit. Above a few hundred the
// fsync is no longer what costs.
const batchBound = 512

// writerState belongs to the writer goroutine.
type writerState struct {
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt
	serial uint64 // of the newest operation
	mark   mark   // as committed
	site   wire.SiteDoc
	clear  map[string]hotspot.Password // opened passwords by their sealed form; bounded
}

// mark is the row of the mark table.
type mark struct {
	epoch, lastChain, lineage string
	lastSeq, acked, revision  int64
	hash                      wire.SetHash
}

// tx is one open transaction, shared by the operations of a batch.
type tx struct {
	db      *DB
	ctx     context.Context
	now     time.Time
	mark    mark // as it will be after commit
	site    wire.SiteDoc
	dirty   bool // something was written
	tick    bool // somebody outside should look
	refused []hotspot.AccountID
	serial  uint64
}

// start takes the writer's connection and reads where the store stands.
func (db *DB) start(ctx context.Context) error {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return sqlFault("open", err)
	}
	db.w = writerState{conn: conn, stmts: map[string]*sql.Stmt{}, clear: map[string]hotspot.Password{}}
	first := &op{ctx: ctx, run: func(t *tx) error { return t.loadMark() }}
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
		select {
		case o := <-db.ops:
			batch = append(batch, o)
		case <-db.stop:
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

// commit runs a batch in one transaction. When any operation fails on the
// database, the batch is rolled back and each runs in a transaction of its own,
// so that one bad operation costs only itself.
func (db *DB) commit(batch []*op) {
	err := db.attempt(batch)
	if err == nil {
		return
	}
	if len(batch) == 1 {
		batch[0].err = err
		return
	}
	for _, o := range batch {
		one := []*op{o}
		o.err = nil
		db.commit(one)
	}
}

// attempt runs the batch and commits. A fault of kind Invalid, NotFound or
// Conflict is the operation's own answer: it wrote nothing and the batch goes on.
func (db *DB) attempt(batch []*op) (err error) {
	ctx := context.Background() // a commit is never cut short by one caller
	if _, err := db.w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return sqlFault("begin", err)
	}
	t := &tx{db: db, ctx: ctx, now: db.o.Now(), mark: db.w.mark, site: db.w.site}
	defer func() {
		if err != nil {
			_, rollback := db.w.conn.ExecContext(ctx, "ROLLBACK") // "no transaction is active" when SQLite did it itself
			if rollback != nil {
				db.o.Log.Debug("rollback", "err", rollback)
			}
		}
	}()
	for _, o := range batch {
		if o.ctx.Err() != nil {
			o.err = fault.New(fault.Unavailable, "store: gave up waiting", o.ctx.Err())
			continue
		}
		db.w.serial++
		t.serial = db.w.serial
		refused := len(t.refused)
		if o.err = o.run(t); o.err != nil {
			switch fault.KindOf(o.err) {
			case fault.Invalid, fault.NotFound, fault.Conflict:
			default:
				return o.err
			}
		}
		if fresh := t.refused[refused:]; len(fresh) > 0 && db.o.BeforeRefusal != nil {
			db.o.BeforeRefusal(fresh, t.serial)
		}
	}
	if t.dirty {
		if err := t.saveMark(); err != nil {
			return err
		}
	}
	if _, err := db.w.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return sqlFault("commit", err)
	}
	db.w.mark, db.w.site = t.mark, t.site
	if t.tick {
		db.tick()
	}
	return nil
}

// do runs f in the writer and returns after its commit.
func (db *DB) do(ctx context.Context, f func(*tx) error) error {
	o := &op{ctx: ctx, run: f, done: make(chan struct{})}
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

// stmt returns the prepared statement of a text that never changes.
func (t *tx) stmt(text string) (*sql.Stmt, error) {
	if s := t.db.w.stmts[text]; s != nil {
		return s, nil
	}
	s, err := t.db.w.conn.PrepareContext(t.ctx, text)
	if err == nil {
		t.db.w.stmts[text] = s
	}
	return s, err
}

// exec writes.
func (t *tx) exec(what, text string, args ...any) (changed int64, err error) {
	s, err := t.stmt(text)
	if err != nil {
		return 0, sqlFault(what, err)
	}
	r, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, sqlFault(what, err)
	}
	n, err := r.RowsAffected()
	if n > 0 {
		t.dirty = true
	}
	return n, sqlFault(what, err)
}

// row reads one row; found is false when there is none.
func (t *tx) row(what, text string, args []any, into ...any) (found bool, err error) {
	s, err := t.stmt(text)
	if err != nil {
		return false, sqlFault(what, err)
	}
	err = s.QueryRowContext(t.ctx, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, sqlFault(what, err)
}

// rows calls each for every row.
func (t *tx) rows(what, text string, args []any, each func(scan func(...any) error) error) error {
	s, err := t.stmt(text)
	if err != nil {
		return sqlFault(what, err)
	}
	return readRows(what, each)(s.QueryContext(t.ctx, args...))
}

// query reads on the readers' connections.
func (db *DB) query(ctx context.Context, what, text string, args []any, each func(scan func(...any) error) error) error {
	return readRows(what, each)(db.read.QueryContext(ctx, text, args...))
}

func readRows(what string, each func(func(...any) error) error) func(*sql.Rows, error) error {
	return func(rows *sql.Rows, err error) error {
		if err != nil {
			return sqlFault(what, err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := each(rows.Scan); err != nil {
				return sqlFault(what, err)
			}
		}
		return sqlFault(what, rows.Err())
	}
}

func (t *tx) loadMark() error {
	var hash string
	m := &t.mark
	found, err := t.row("read mark", "SELECT epoch, last_seq, last_chain, acked, lineage, revision, hash FROM mark WHERE id = 1", nil,
		&m.epoch, &m.lastSeq, &m.lastChain, &m.acked, &m.lineage, &m.revision, &hash)
	if err != nil {
		return err
	}
	if !found {
		m.epoch = hotspot.NewID(t.now)
		t.dirty = true
		return nil
	}
	if m.hash, err = wire.ParseSetHash(hash); err != nil {
		return fault.New(fault.Damaged, "store: mark", err)
	}
	var body []byte
	found, err = t.row("read site", "SELECT body FROM document WHERE kind = ? AND in_force = 1", []any{wire.DocSite}, &body)
	if err != nil || !found {
		return err
	}
	if err := json.Unmarshal(body, &t.site); err != nil {
		return fault.New(fault.Damaged, "store: site document", err)
	}
	return nil
}

func (t *tx) saveMark() error {
	m := t.mark
	_, err := t.exec("save mark", `INSERT INTO mark (id, epoch, last_seq, last_chain, acked, lineage, revision, hash) VALUES (1, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, last_seq = excluded.last_seq, last_chain = excluded.last_chain,
		acked = excluded.acked, lineage = excluded.lineage, revision = excluded.revision, hash = excluded.hash`,
		m.epoch, m.lastSeq, m.lastChain, m.acked, m.lineage, m.revision, m.hash.String())
	return err
}

// event appends a fact to the log, in the transaction of the fact.
func (t *tx) event(kind wire.EventKind, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fault.New(fault.Internal, fmt.Sprintf("store: event %s", kind), err)
	}
	e := wire.Event{ID: hotspot.NewID(t.now), Kind: kind, At: t.now.UTC().Truncate(time.Millisecond), Body: b}
	chain := wire.NextChain(t.mark.lastChain, e)
	seq := t.mark.lastSeq + 1
	if _, err := t.exec("append event", "INSERT INTO event (seq, id, kind, at, body, chain) VALUES (?, ?, ?, ?, ?, ?)",
		seq, e.ID, string(kind), e.At.UnixMilli(), b, chain); err != nil {
		return err
	}
	t.mark.lastSeq, t.mark.lastChain = seq, chain
	t.tick = true
	return nil
}
