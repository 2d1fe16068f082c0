package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// tries is how often a transaction that met another one is run; the pauses
// between them add up to about a quarter of a second.
const tries = 8

// tx is one transaction. It may be run several times, so what it leaves
// outside the database is set afresh by each run.
type tx struct {
	*sql.Tx
	ctx  context.Context
	db   *DB
	now  time.Time
	done []committed // changes of intent, announced after the commit

	prepares bool     // the pool's one connection keeps statements
	new      []string // statements that ran and are not kept yet
}

// committed is one change of intent as announced.
type committed struct {
	site  hotspot.SiteID
	agent hotspot.AgentID
	state wire.State
}

// write runs f in a transaction that is on disk when write returns.
func (db *DB) write(ctx context.Context, op string, f func(*tx) error) error {
	return db.run(ctx, op, db.durable, nil, f)
}

// writeLazily runs f in a transaction that a power cut may undo: for what is
// said again every minute anyway.
func (db *DB) writeLazily(ctx context.Context, op string, f func(*tx) error) error {
	return db.run(ctx, op, db.lazy, nil, func(t *tx) error {
		if db.dialect.beginLazy != "" {
			if err := t.exec(db.dialect.beginLazy); err != nil {
				return err
			}
		}
		return f(t)
	})
}

// read runs f on one state of the database, however long it takes.
func (db *DB) read(ctx context.Context, op string, f func(*tx) error) error {
	return db.run(ctx, op, db.readers, &db.dialect.reading, f)
}

func (db *DB) run(ctx context.Context, op string, pool *sql.DB, opts *sql.TxOptions, f func(*tx) error) error {
	writing := opts == nil
	var err error
	for try := range tries {
		if try > 0 {
			pause := time.Duration(1+rand.Int64N(int64(2)<<try)) * time.Millisecond
			select {
			case <-ctx.Done():
				return wrap(op, ctx.Err())
			case <-time.After(pause):
			}
		}
		t := &tx{ctx: ctx, db: db, now: db.now()}
		if err = db.once(t, pool, opts, writing, f); err == nil {
			if f := db.committed.Load(); f != nil {
				for _, c := range t.done {
					(*f)(c.site, c.agent, c.state)
				}
			}
			return nil
		}
		if !db.dialect.retryable(err) {
			break
		}
	}
	return wrap(op, err)
}

func (db *DB) once(t *tx, pool *sql.DB, opts *sql.TxOptions, writing bool, f func(*tx) error) (err error) {
	if writing && db.turn != nil {
		// Waiting here is fair and wakes at once; SQLite's own wait for the
		// lock polls with growing pauses.
		select {
		case db.turn <- struct{}{}:
			defer func() { <-db.turn }()
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
	if t.Tx, err = pool.BeginTx(t.ctx, opts); err != nil {
		return err
	}
	t.prepares = writing && db.turn != nil && pool == db.durable
	if err = f(t); err != nil {
		return errors.Join(err, ignoreDone(t.Rollback()))
	}
	if err = t.Commit(); err == nil {
		db.prepare(t)
	}
	return err
}

// maxKept bounds the statements that are kept prepared. The texts of this package
// are fewer, since long lists come in few sizes.
const maxKept = 400

// prepare has what a transaction ran prepared for those after it: SQLite reads a
// statement of 200 rows for as long as it runs it. (PostgreSQL's driver does so by
// itself.) It is called in turn, outside the transaction, which has the only connection.
func (db *DB) prepare(t *tx) {
	for _, query := range t.new {
		if _, kept := db.kept[query]; kept || len(db.kept) >= maxKept {
			continue
		}
		if s, err := db.durable.PrepareContext(t.ctx, query); err == nil { // else the next transaction asks again
			db.kept[query] = s
		}
	}
}

// statement returns the prepared statement of a text, nil while there is none.
func (t *tx) statement(query string) *sql.Stmt {
	if !t.prepares {
		return nil
	}
	if s := t.db.kept[query]; s != nil {
		return t.StmtContext(t.ctx, s)
	}
	t.new = append(t.new, query)
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// wrap gives an error of the engine a kind; faults of ours keep theirs.
func wrap(op string, err error) error {
	var f *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return &fault.Error{Kind: f.Kind, Op: "store: " + op, Code: f.Code, Hint: f.Hint, Err: err}
	default: // the engine: busy, gone, full; asking again may help
		return fault.New(fault.Unavailable, "store: "+op, err)
	}
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.touched(query, args...)
	return err
}

// touched runs a statement and says how many rows it touched.
func (t *tx) touched(query string, args ...any) (int64, error) {
	run := func() (sql.Result, error) { return t.ExecContext(t.ctx, query, args...) }
	if s := t.statement(query); s != nil {
		run = func() (sql.Result, error) { return s.ExecContext(t.ctx, args...) }
	}
	r, err := run()
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t *tx) query(query string, args []any) (*sql.Rows, error) {
	if s := t.statement(query); s != nil {
		return s.QueryContext(t.ctx, args...)
	}
	return t.QueryContext(t.ctx, query, args...)
}

// one reads at most one row; found is false when there is none.
func (t *tx) one(query string, args []any, dest ...any) (found bool, err error) {
	rows, err := t.query(query, args)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return false, rows.Err()
	}
	err = rows.Scan(dest...)
	return err == nil, err
}

// each calls f once per row.
func (t *tx) each(query string, args []any, f func(scan func(...any) error) error) (err error) {
	rows, err := t.query(query, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// ms is a time as stored: Unix milliseconds, 0 for the zero time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// at reads what ms wrote.
func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// octets is a count as stored: SQL integers are signed.
func octets(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// parts calls f for n rows in parts, each a power of two long: so the statements
// about them come in few texts, each of which is prepared once.
func parts(n int, f func(from, to int) error) error {
	for from := 0; from < n; {
		to := from + min(1<<(bits.Len(uint(n-from))-1), maxPart)
		if err := f(from, to); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// maxPart bounds the rows of one statement, a power of two: SQLite takes 32,766
// parameters, PostgreSQL 65,535.
const maxPart = 256

// tuples writes "($1,$2,$3),($1,$4,$5)" for rows of the width, the first columns of
// which are the same in all: a statement that has no other parameters.
func (t *tx) tuples(rows, same, width int) string {
	var b strings.Builder
	n := same
	for r := range rows {
		if r > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for c := range width {
			if c > 0 {
				b.WriteByte(',')
			}
			if c < same {
				b.WriteString(t.db.dialect.shared(c + 1))
				continue
			}
			n++
			b.WriteString(t.db.dialect.bulk(n))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// list writes "($2,$3,…)" for an IN, its parameters behind the given arguments,
// and returns all arguments. The last item comes again until they are a power of
// two, as in parts.
func list[T ~string](t *tx, args []any, items []T) (in string, all []any) {
	n := 1 << bits.Len(uint(len(items)-1))
	names := make([]string, n)
	for i := range names {
		args = append(args, string(items[min(i, len(items)-1)]))
		names[i] = t.db.dialect.bulk(len(args))
	}
	return "(" + strings.Join(names, ",") + ")", args
}
