// Package store keeps what the cloud knows, in SQLite or PostgreSQL by one SQL
// text: what owners want of their sites (plans, accounts, passes, locks) as a
// revisioned document set per site, and what sites said happened, each fact
// once. It never talks to a site and judges no guest.
//
// Every change of intent is one transaction: the rows, the documents made of
// them, the site's revision and the hash of its set. Every batch of events is
// one transaction that also moves the site's mark.
package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// Options of a store.
type Options struct {
	// URL is sqlite:///path/to/file or postgres://user@host/database.
	URL string
	// Key opens the guests' passwords, which are sealed at rest. It lives
	// outside the database; without it CHAP is impossible.
	Key *secret.Key
	// Tombstones is through how many of a site's newest revisions the removal of a
	// document is remembered; 0 is 10,000. A site further behind gets its set anew.
	Tombstones int64
	Now        func() time.Time // nil is time.Now
	Log        *slog.Logger     // nil discards
}

// DB is one open store. Its methods may be called from any goroutine; several
// processes may share one PostgreSQL database.
type DB struct {
	o       Options
	dialect dialect
	durable *sql.DB              // commits are on disk when they return
	lazy    *sql.DB              // commits may be lost with the power, never torn
	readers *sql.DB              // read-only transactions
	turn    chan struct{}        // SQLite has one writer: whose turn it is; nil for PostgreSQL
	kept    map[string]*sql.Stmt // of durable, by text; touched by whose turn it is

	committed atomic.Pointer[func(hotspot.SiteID, hotspot.AgentID, wire.State)]
}

// Open opens or makes the database and brings its schema up to date.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Key == nil {
		return nil, fault.New(fault.Invalid, "store: open: the key of the guests' passwords is needed", nil)
	}
	if o.Tombstones <= 0 {
		o.Tombstones = 10_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	db := &DB{o: o}
	if err := db.connect(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close ends all connections. A second call does nothing.
func (db *DB) Close() error {
	var errs []error
	for _, pool := range []*sql.DB{db.readers, db.lazy, db.durable} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	return errors.Join(errs...)
}

// OnCommit registers who hears of every committed change of intent: the site,
// its confirmed agent ("" if none) and the delta that brings it there. It is
// called in the goroutine of the change, after the commit, before the change
// returns, so it must be quick. Changes committed at the same time may be heard
// of in any order.
func (db *DB) OnCommit(f func(hotspot.SiteID, hotspot.AgentID, wire.State)) {
	db.committed.Store(&f)
}

func (db *DB) now() time.Time { return db.o.Now().UTC() }
