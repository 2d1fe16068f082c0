package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// When the disk is full guests on running passes go on, and log in again: nothing
// of that needs the disk. The reserve is given up first, so that the last room goes
// to what guests did. While the disk is low, readings in between are folded, what
// the cloud has is dropped at once, and all but the newest copy goes. What it does
// not take at all is held in memory, the newest record of each session, and stored
// as soon as it does.

const (
	reserveFile = ".reserve" // after the database's name
	// lowReserves is how many reserves must be free for the disk not to be low;
	// twice that ends it.
	lowReserves = 4
	// heldBound is how many sessions' records wait in memory.
	heldBound = 4096
)

// reserve is a file of zeros that is in the way, until it is needed.
type reserve struct {
	mu   sync.Mutex
	path string
	size int64 // 0: none is wanted
}

// give removes the file and reports whether there was one.
func (r *reserve) give() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size > 0 && os.Remove(r.path) == nil
}

// take makes the file, whole; zeros are written, since a file with holes takes no room.
func (r *reserve) take() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if st, err := os.Stat(r.path); r.size <= 0 || err == nil && st.Size() == r.size {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for left := r.size; err == nil && left > 0; left -= int64(len(zeros)) {
		_, err = f.Write(zeros[:min(left, int64(len(zeros)))])
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(r.path)) // half of one helps nobody
	}
	return nil
}

// full reports whether there is no room on the disk, or in the size a file may have.
func full(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_FULL || e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE)
}

// makeRoom gives the reserve up where a batch failed for want of room, and reports
// whether it is worth trying again. Only a batch that was rolled back may be.
func (db *DB) makeRoom(batch []*op, err error, spoilt bool) bool {
	short := full(err)
	for _, o := range batch {
		short = short || spoilt && full(o.err)
	}
	if !short || !db.reserve.give() {
		return false
	}
	db.care.low.Store(true)
	db.o.Log.Error("the disk is full; the reserve was given up", "code", CodeNoRoom, "free", db.diskFree())
	for _, o := range batch {
		o.err = nil
	}
	return true
}

// diskFree is the room on the disk in octets; 0 is not known.
func (db *DB) diskFree() uint64 {
	if db.o.DiskFree == nil {
		return 0
	}
	return db.o.DiskFree()
}

// lowMark is the room below which the disk is low.
func (db *DB) lowMark() uint64 { return lowReserves * uint64(max(0, db.o.Reserve)) }

// tendDisk sees whether the disk is low, drops what can be spared, and stores what
// it did not take.
func (db *DB) tendDisk(ctx context.Context) error {
	db.judgeDisk()
	if db.care.low.Load() {
		db.spare()
	} else if err := db.reserve.take(); err != nil {
		db.o.Log.Warn("the reserve for a full disk could not be made", "err", err)
	}
	if _, err := db.WriteTrouble(); err != nil {
		return nil // the sweeper tries
	}
	return db.storeHeld(ctx)
}

func (db *DB) judgeDisk() {
	free, low := db.diskFree(), db.care.low.Load()
	switch {
	case free == 0 || db.o.Reserve <= 0: // not known: low from the reserve's end until it can be made again
		if low && db.reserve.take() == nil {
			db.care.low.Store(false)
		}
	case !low && free < db.lowMark():
		db.care.low.Store(true)
		db.o.Log.Error("the disk is low: only what guests need is written", "code", CodeLow, "free", free)
	case low && free >= 2*db.lowMark():
		db.care.low.Store(false)
		db.o.Log.Info("the disk has room again", "free", free)
	}
}

// spare removes what was kept for a rainy day: all copies and damaged files but
// the newest.
func (db *DB) spare() {
	copies, err := copiesIn(db.o.Copies)
	if err == nil {
		err = keepNewest(copies, 1)
	}
	aside, aerr := asideOf(db.o.Path)
	if aerr == nil {
		aerr = keepNewest(aside, 1)
	}
	if err := errors.Join(err, aerr); err != nil && !errors.Is(err, fs.ErrNotExist) {
		db.o.Log.Warn("what could be spared was not all removed", "err", err)
	}
}

// logCap is what events that wait may take: nothing while the disk is low.
func (db *DB) logCap() int64 {
	if db.care.low.Load() {
		return 0
	}
	return db.o.LogCap
}

// noRoom is the fault of what the disk does not take.
func noRoom(err error) error {
	return fault.New(fault.Unavailable, "store: the disk is full", err).WithCode(CodeNoRoom, "Free room on the disk of the database.")
}

// heldKey is one session as a NAS names it.
type heldKey struct {
	nas hotspot.NASID
	id  hotspot.AcctSessionID
	mac hotspot.MAC
}

// hold keeps a record that the disk did not take, the newest of its session.
// Nobody is told that it is stored: the NAS asks again for seconds, and this is
// for after them.
func (db *DB) hold(a hotspot.Accounting) {
	c := db.care
	c.mu.Lock()
	defer c.mu.Unlock()
	k := heldKey{a.NAS, a.AcctSessionID, a.MAC}
	old, there := c.held[k]
	switch {
	case there && (old.Kind == hotspot.Stop || old.SessionTime > a.SessionTime && a.Kind != hotspot.Stop):
		return
	case !there && len(c.held) >= heldBound:
		c.heldOut++
		return
	}
	c.held[k] = a
}

// storeHeld stores the records that were held. Each is cumulative, so that one
// which came again meanwhile has no effect.
func (db *DB) storeHeld(ctx context.Context) error {
	c := db.care
	c.mu.Lock()
	waiting := make(map[heldKey]hotspot.Accounting, len(c.held))
	for k, a := range c.held {
		waiting[k] = a
	}
	c.mu.Unlock()
	for k, a := range waiting {
		if err := db.Account(ctx, a); err != nil {
			return err
		}
		c.mu.Lock()
		if c.held[k].SessionTime == a.SessionTime && c.held[k].Kind == a.Kind {
			delete(c.held, k)
		}
		c.mu.Unlock()
	}
	if len(waiting) > 0 {
		db.o.Log.Info("the disk takes writes again: what was held in memory is stored", "n", len(waiting))
	}
	return nil
}
