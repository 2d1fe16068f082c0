package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"iwas/internal/fault"
)

// dialect is all in which the two engines differ for us. The SQL itself is one
// text: $n parameters, times in Unix milliseconds, no now(), no casts.
type dialect struct {
	name      string
	forUpdate string               // after a SELECT whose row is about to change
	beginLazy string               // first statement of a transaction whose loss is bearable; "" is none
	reading   sql.TxOptions        // of a transaction that must see one state
	bulk      func(n int) string   // the n-th parameter in a long row of them, in order
	shared    func(n int) string   // the n-th parameter, which a row of them begins with more than once
	retryable func(err error) bool // the same transaction may succeed when run again
	pools     func(*DB) error      // opens the pools
}

// Pool sizes.
const (
	sqliteReaders = 4  // WAL readers never block the writer
	postgresConns = 16 // per replica; above it callers wait
)

// applicationID marks our SQLite files ("IWAC"), so that the agent's file, or
// somebody else's, is never taken for ours.
const applicationID = 0x49574143

func (db *DB) connect(ctx context.Context) error {
	scheme, _, _ := strings.Cut(db.o.URL, ":")
	switch scheme {
	case "sqlite":
		db.dialect = sqliteDialect
	case "postgres", "postgresql":
		db.dialect = postgresDialect
	default:
		// The URL may hold a password: only its scheme is shown.
		return fault.New(fault.Invalid, fmt.Sprintf("store: %q is not a kind of database known here", scheme), nil).
			WithCode("DB-104", "Use sqlite:///path/to/file or postgres://user@host/database.")
	}
	if err := db.dialect.pools(db); err != nil {
		return err
	}
	if err := db.durable.PingContext(ctx); err != nil {
		return fault.New(fault.Unavailable, "store: connect to "+db.dialect.name, err).
			WithCode("DB-105", "Check that the database runs, and the address, name and rights in the database URL.")
	}
	return nil
}

var sqliteDialect = dialect{
	name:    "sqlite",
	reading: sql.TxOptions{ReadOnly: true},
	// $1 is a name to SQLite, found by going through all: 3,500 of them take
	// 40 ms a batch. ? is the same parameter without a name.
	bulk:      func(int) string { return "?" },
	shared:    func(n int) string { return "?" + strconv.Itoa(n) },
	retryable: sqliteBusy,
	pools:     openSQLite,
}

func openSQLite(db *DB) error {
	u, err := url.Parse(db.o.URL)
	if err != nil || u.Host != "" || u.Path == "" || u.RawQuery != "" {
		return fault.New(fault.Invalid, "store: "+db.o.URL+" names no file", err).
			WithCode("DB-104", "Write three slashes before an absolute path: sqlite:///var/lib/iwas-cloud/cloud.db")
	}
	path := filepath.Clean(u.Path)
	// Made here so that it is ours alone; SQLite gives the log the same mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "store: open "+path, err).
			WithCode("DB-103", "The state directory must exist, be writable for this program and have space left.")
	}
	if err := f.Close(); err != nil {
		return fault.New(fault.Unavailable, "store: open "+path, err)
	}
	// A log of 16 MB instead of 4: pages of busy sessions reach the file once, not four times.
	open := func(conns int, pragmas ...string) (*sql.DB, error) {
		q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(5000)", "journal_mode(WAL)",
			"foreign_keys(1)", "temp_store(memory)", "cache_size(-16000)", "journal_size_limit(67108864)", "wal_autocheckpoint(4000)"}, pragmas...)}
		pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
		if err != nil {
			return nil, fault.New(fault.Internal, "store: open "+path, err)
		}
		pool.SetMaxOpenConns(conns)
		pool.SetMaxIdleConns(conns)
		return pool, nil
	}
	db.turn, db.kept = make(chan struct{}, 1), map[string]*sql.Stmt{}
	if db.durable, err = open(1, "synchronous(FULL)"); err != nil {
		return err
	}
	if db.lazy, err = open(1, "synchronous(NORMAL)"); err != nil {
		return err
	}
	db.readers, err = open(sqliteReaders, "query_only(1)")
	return err
}

func sqliteBusy(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return true
	}
	return false
}

var postgresDialect = dialect{
	name:      "postgres",
	forUpdate: " FOR UPDATE",
	beginLazy: "SET LOCAL synchronous_commit = off",
	reading:   sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead},
	bulk:      func(n int) string { return "$" + strconv.Itoa(n) },
	shared:    func(n int) string { return "$" + strconv.Itoa(n) },
	retryable: postgresRetryable,
	pools:     openPostgres,
}

func openPostgres(db *DB) error {
	pool, err := sql.Open("pgx", db.o.URL)
	if err != nil {
		return fault.New(fault.Invalid, "store: open PostgreSQL", err)
	}
	pool.SetMaxOpenConns(postgresConns)
	pool.SetMaxIdleConns(postgresConns)
	db.durable, db.lazy, db.readers = pool, pool, pool
	return nil
}

// postgresRetryable: serialization failure, deadlock, lost connection before
// anything was sent (SQLSTATE classes 40; pgconn.SafeToRetry).
func postgresRetryable(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code == "40001" || e.Code == "40P01"
	}
	return pgconn.SafeToRetry(err)
}
