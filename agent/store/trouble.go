package store

import (
	"errors"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// trouble is why and since when nothing can be written.
type trouble struct {
	err   error
	since time.Time
}

// writeSeen is how long a commit that wrote proves that the disk takes one. After
// that, or while there is trouble, the sweeper writes a row to see: one page in
// ten minutes of a cafe where nothing happens.
const writeSeen = 10 * time.Minute

// WriteTrouble says since when writes fail and why the newest did; nil is
// that they succeed.
func (db *DB) WriteTrouble() (since time.Time, err error) {
	if t := db.trouble.Load(); t != nil {
		return t.since, t.err
	}
	return time.Time{}, nil
}

// noteFailed keeps that a write failed for a reason of the disk.
func (db *DB) noteFailed(err error) {
	if !ofDisk(err) {
		return
	}
	db.noteDamage(err)
	since := db.o.Now()
	if old := db.trouble.Load(); old != nil {
		since = old.since
	}
	db.trouble.Store(&trouble{err, since})
}

// noteWrote keeps that a commit reached the disk. The writer calls it.
func (db *DB) noteWrote() {
	db.w.wroteAt = time.Now()
	if db.trouble.Load() != nil {
		db.trouble.Store(nil)
	}
}

// ofDisk reports whether SQLite could not write or read the file.
func ofDisk(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// proveWritable writes a row where no commit proved lately that it can be done.
func (t *tx) proveWritable() error {
	if t.db.trouble.Load() == nil && time.Since(t.db.w.wroteAt) < writeSeen {
		return nil
	}
	_, err := t.exec("see whether the disk takes a write", "UPDATE running_time SET ms = ms WHERE id = 1")
	return err
}

// Carried is what accounting brought since this program began, whatever became
// of the sessions.
func (db *DB) Carried() (upload, download uint64) {
	return db.carriedUp.Load(), db.carriedDown.Load()
}
