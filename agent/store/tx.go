package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// mark is the row of the mark table.
type mark struct {
	epoch, lineage           string
	lastSeq, acked, revision int64
	settled                  int64 // events through here are in the rows of session and usage
	hash                     wire.SetHash
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
	wanted   bool                // who must be off may have changed, besides
	lists    bool                // what the address-lists should hold may have changed
	online   bool                // facts of those online changed, and nobody says whose
	said     time.Time           // the cloud's clock, of the state that is being applied
	learnt   []hotspot.NASMemory
	serial   uint64 // of the operation at work

	carriedUp, carriedDown uint64 // octets that its records brought

	// What is not yet in SQL, or not yet at the desk. The rest is in writerState.late.
	events  []numberedEvent
	order   []*change
	used    []*useChange
	through bool // rows were changed that no event stands for: they may not follow the commit
	caught  bool // all that was late is in SQL, but for what this transaction made so since
}

func (db *DB) newTx() *tx {
	db.w.txs++
	return &tx{db: db, ctx: context.Background(), // a commit is never cut short by one caller
		now: db.o.Now(), mark: db.w.mark, site: db.w.site, events: db.w.events[:0], order: db.w.order[:0], used: db.w.used[:0]}
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
	changed, err = t.execNoted(what, text, args...)
	if changed > 0 && onlineTables.MatchString(text) {
		t.online = true
	}
	return changed, err
}

// execNoted is exec of rows whose accounts are noted as changed with the records
// that changed them.
func (t *tx) execNoted(what, text string, args ...any) (changed int64, err error) {
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

// query reads on the readers' connections. What is read of sessions and usage is
// brought up first.
func (db *DB) query(ctx context.Context, what, text string, args []any, each func(scan func(...any) error) error) error {
	if strings.Contains(text, "session") || strings.Contains(text, "usage") {
		if err := db.settled(ctx); err != nil {
			return err
		}
	}
	return db.queryLate(ctx, what, text, args, each)
}

// queryLate is query where the caller saw to it that the rows say enough.
func (db *DB) queryLate(ctx context.Context, what, text string, args []any, each func(scan func(...any) error) error) error {
	s, err := db.prepared(ctx, text)
	if err == nil {
		err = readRows(what, each)(s.QueryContext(ctx, args...))
	}
	if err != nil {
		err = sqlFault(what, err)
		db.noteDamage(err)
	}
	return err
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
		t.db.w.late.clear() // settled just before: all that is in it is of f
	}
	if release := t.control("RELEASE one"); release != nil {
		return errors.Join(err, sqlFault("release savepoint", release))
	}
	return err
}

func (t *tx) loadMark() error {
	var hash string
	m := &t.mark
	found, err := t.row("read mark", "SELECT epoch, last_seq, acked, lineage, revision, hash, settled FROM mark WHERE id = 1", nil,
		&m.epoch, &m.lastSeq, &m.acked, &m.lineage, &m.revision, &hash, &m.settled)
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
	// A commit of events alone leaves the mark where it was.
	if _, err := t.row("read newest event", "SELECT seq FROM event WHERE seq > ? ORDER BY seq DESC LIMIT 1", []any{m.lastSeq}, &m.lastSeq); err != nil {
		return err
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

// markMoved reports whether the mark says more than the events do by themselves.
func (t *tx) markMoved() bool {
	was := t.db.w.mark
	was.lastSeq = t.mark.lastSeq
	return t.mark != was
}

// keepRoom leaves the room of the lists to the next transaction.
func (t *tx) keepRoom() {
	clear(t.order)
	clear(t.used)
	t.db.w.events, t.db.w.order, t.db.w.used = t.events[:0], t.order[:0], t.used[:0]
}

func (t *tx) saveMark() error {
	m := t.mark
	_, err := t.exec("save mark", `INSERT INTO mark (id, epoch, last_seq, acked, lineage, revision, hash, settled) VALUES (1, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, last_seq = excluded.last_seq, acked = excluded.acked, lineage = excluded.lineage, revision = excluded.revision, hash = excluded.hash, settled = excluded.settled`,
		m.epoch, m.lastSeq, m.acked, m.lineage, m.revision, m.hash.String(), m.settled)
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

// append gives an event the next number.
func (t *tx) append(e wire.Event) error {
	t.mark.lastSeq, t.tick = t.mark.lastSeq+1, true
	t.events = append(t.events, numberedEvent{Event: e, seq: t.mark.lastSeq})
	t.writes++
	t.dirty = true
	return nil
}
