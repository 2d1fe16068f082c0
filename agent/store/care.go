package store

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/hotspot"
)

const (
	// tendEvery is how often disk and copies are looked after.
	tendEvery = 10 * time.Second
	// copyEvery is how old the newest copy may get. A large database gets fewer, so
	// that copies write no more than copyBudget octets a day; copyLatest bounds that.
	copyEvery  = time.Hour
	copyBudget = 4 << 30
	copyLatest = 6 * time.Hour
	// checkAfter is when a file that opened well is checked as a whole: behind the
	// first logins of a start.
	checkAfter = 20 * time.Second
	// copyAgain is the pause after a copy that could not be taken.
	copyAgain = 10 * time.Minute
)

// care is what is known of the file as a whole.
type care struct {
	damaged chan struct{}         // closed once
	damage  atomic.Pointer[error] // met while running
	copied  string                // where the log stood at the newest copy; belongs to who takes copies
	low     atomic.Bool           // the disk is low: see reserve.go

	mu       sync.Mutex // guards what follows
	copyAt   time.Time  // of the newest copy
	copyErr  error      // why the newest attempt failed; nil: it did not
	copySkip time.Time  // since when none could be taken
	held     map[heldKey]hotspot.Accounting
	heldOut  uint64 // records for which there was no room
}

func newCare() *care {
	return &care{damaged: make(chan struct{}), held: map[heldKey]hotspot.Accounting{}}
}

// CareStatus is how the file does, for people.
type CareStatus struct {
	CopyAt    time.Time // of the newest copy; zero: there is none
	CopyErr   error     // why no copy could be taken; nil: nothing is wrong
	CopySince time.Time // since when
	Low       bool      // the disk is low, and only what guests need is written
	Held      int       // accounting records in memory that the disk did not take
}

// Care says how the file does.
func (db *DB) Care() CareStatus {
	c := db.care
	c.mu.Lock()
	defer c.mu.Unlock()
	return CareStatus{CopyAt: c.copyAt, CopyErr: c.copyErr, CopySince: c.copySkip, Low: c.low.Load(), Held: len(c.held)}
}

// Tend looks after the file for as long as ctx lives: it checks it once, takes
// copies, and keeps the disk from filling up. One caller.
func (db *DB) Tend(ctx context.Context) error {
	began := db.o.Elapsed()
	next, checked := db.firstCopy(), false
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := db.tendDisk(ctx); err != nil && ctx.Err() == nil {
			db.o.Log.Warn("what the disk did not take is still in memory", "err", err)
		}
		ran := db.o.Elapsed() - began
		if !checked && ran >= checkAfter {
			checked = true
			db.checkWhole(ctx)
		}
		if db.o.Copies != "" && ran >= next && db.Damage() == nil {
			next = ran + db.copyNow(ctx)
		}
	}
}

// checkWhole reads the whole file once, while guests are served, on a connection
// that remembers no page of it.
func (db *DB) checkWhole(ctx context.Context) {
	began := time.Now()
	read, err := open(db.o.Path, "", "query_only(1)")
	if err == nil {
		read.SetMaxOpenConns(1)
		err = errors.Join(verdict(ctx, read, "PRAGMA quick_check(1)", db.o.Path), read.Close())
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		db.noteDamage(err)
		db.o.Log.Warn("the database could not be checked, or is damaged", "err", err)
	default:
		db.o.Log.Info("the database was checked and is sound", "dur_ms", time.Since(began).Milliseconds())
	}
}

// firstCopy is how long after a start the first copy is due: soon where the newest
// is old, or of a date that is not yet.
func (db *DB) firstCopy() time.Duration {
	all, err := copiesIn(db.o.Copies)
	if err != nil || len(all) == 0 {
		return time.Minute
	}
	db.care.mu.Lock()
	db.care.copyAt = all[0].takenAt
	db.care.mu.Unlock()
	if age := db.o.Now().Sub(all[0].takenAt); age >= 0 {
		return max(time.Minute, db.copyPause()-age)
	}
	return time.Minute
}

// copyNow takes a copy and returns the pause until the next.
func (db *DB) copyNow(ctx context.Context) time.Duration {
	began := time.Now()
	name, err := db.Snapshot(ctx)
	if ctx.Err() != nil {
		return 0
	}
	c := db.care
	c.mu.Lock()
	defer c.mu.Unlock()
	now := db.o.Now()
	if c.copyErr = err; err != nil {
		if c.copySkip.IsZero() {
			c.copySkip = now
		}
		db.o.Log.Warn("no copy of the database was taken", "err", err)
		return copyAgain
	}
	c.copySkip = time.Time{}
	c.copyAt = now // also where nothing was written since: the copy is as good as new
	if name != "" {
		db.o.Log.Info("a copy of the database was taken", "file", name, "dur_ms", time.Since(began).Milliseconds())
	}
	return db.copyPause()
}

// copyPause is an hour, or longer for a large file.
func (db *DB) copyPause() time.Duration {
	st, err := os.Stat(db.o.Path)
	if err != nil {
		return copyEvery
	}
	return pauseFor(st.Size())
}

func pauseFor(size int64) time.Duration {
	return min(max(copyEvery, time.Duration(float64(24*time.Hour)*float64(size)/copyBudget)), copyLatest)
}
