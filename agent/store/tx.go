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

// mark is the row of the mark table.
type mark struct {
	epoch, lastChain, lineage string
	lastSeq, acked, revision  int64
	hash                      wire.SetHash
}

// tx is one open transaction, shared by the operations of a batch.
type tx struct {
	db       *DB
	ctx      context.Context
	now      time.Time
	mark     mark // as it will be after commit
	site     wire.SiteDoc
	writes   int                 // statements that may have written
	dirty    bool                // something was written
	tick     bool                // somebody outside should look
	refused  []hotspot.AccountID // by the operations so far
	refusals []refusal
	freed    []hotspot.AccountID // for the better: no cache need be told, the desk must
	renamed  []string            // login keys that lead elsewhere now
	devices  bool                // which devices are locked is to be read anew
	learnt   []hotspot.NASMemory
	serial   uint64 // of the operation at work

	// What is in work and not yet in SQL, or not yet at the desk.
	owed    owed
	changes map[hotspot.SessionID]*change
	permits map[hotspot.PermitID]*change
	order   []*change
	used    map[hotspot.PassID]*useChange
	loose   map[hotspot.PassID]bool // passes outside of work with a changed session
}

func (db *DB) newTx() *tx {
	return &tx{db: db, ctx: context.Background(), // a commit is never cut short by one caller
		now: db.o.Now(), mark: db.w.mark, site: db.w.site,
		changes: map[hotspot.SessionID]*change{}, permits: map[hotspot.PermitID]*change{}, used: map[hotspot.PassID]*useChange{}, loose: map[hotspot.PassID]bool{}}
}

// refusal names accounts whose cached Accepts end with an operation.
type refusal struct {
	accounts []hotspot.AccountID
	serial   uint64
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

// control runs a statement about transactions.
func (t *tx) control(text string) error {
	s, err := t.stmt(text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(t.ctx)
	return err
}

// exec writes, and returns how many rows changed.
func (t *tx) exec(what, text string, args ...any) (changed int64, err error) {
	s, err := t.stmt(text)
	if err != nil {
		return 0, sqlFault(what, err)
	}
	t.writes++
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
	s, err := db.prepared(ctx, text)
	if err != nil {
		return sqlFault(what, err)
	}
	return readRows(what, each)(s.QueryContext(ctx, args...))
}

// prepared returns the readers' statement of a text that never changes.
func (db *DB) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	db.mu.Lock()
	s := db.reads[text]
	db.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := db.read.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if first := db.reads[text]; first != nil {
		return first, s.Close()
	}
	db.reads[text] = s
	return s, nil
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

// atomically undoes what f did when it fails, without ending the batch.
func (t *tx) atomically(f func() error) error {
	if err := t.settle(); err != nil {
		return err
	}
	before := *t
	if err := t.control("SAVEPOINT one"); err != nil {
		return sqlFault("savepoint", err)
	}
	err := f()
	if err != nil {
		if rollback := t.control("ROLLBACK TO one"); rollback != nil {
			return errors.Join(err, sqlFault("rollback to savepoint", rollback))
		}
		*t = before
	}
	if release := t.control("RELEASE one"); release != nil {
		return errors.Join(err, sqlFault("release savepoint", release))
	}
	return err
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
	return t.append(wire.Event{ID: hotspot.NewID(t.now), Kind: kind, At: t.now.UTC().Truncate(time.Millisecond), Body: b})
}

// append gives an event the next number and its place in the chain.
func (t *tx) append(e wire.Event) error {
	chain := wire.NextChain(t.mark.lastChain, e)
	t.mark.lastSeq, t.mark.lastChain, t.tick = t.mark.lastSeq+1, chain, true
	t.owed.events = append(t.owed.events, numberedEvent{e, t.mark.lastSeq, chain})
	t.writes++
	t.dirty = true
	return nil
}
