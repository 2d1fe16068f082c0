// Package store keeps everything a site must not lose in one SQLite file:
// wanted state, accounts, permits, sessions, and the event log that goes up.
// It never speaks to a network and never decides who may come in; it loads the
// facts, asks its Decide function, and stores what follows from the answer.
//
// One goroutine writes, in transactions that serve all who wait (see writer.go);
// readers use connections of their own that cannot write.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // driver "sqlite"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// Options is what a store needs. Path, Key, Decide and Off are required.
type Options struct {
	Path string
	Key  *secret.Key // opens the passwords inside account documents

	// Decide judges an Access-Request from the facts. It runs while the account
	// is held, and must be quick and pure; the facts are not its to change.
	Decide func(hotspot.Facts, hotspot.Request) hotspot.Verdict
	// Off says why an account with this pass and lock may not be online, or "".
	Off func(*hotspot.Pass, *hotspot.Lock, time.Time) hotspot.OffReason
	// Terms says what a session of the pass should run under now: speed, and time
	// left (0 is no limit); ok is false when nobody may be on with it. nil: live
	// sessions are left as they are.
	Terms func(p *hotspot.Pass, now time.Time, zone *time.Location) (rate hotspot.RateLimit, left time.Duration, ok bool)
	// BeforeRefusal is called just before the commit of a change that puts
	// accounts off, or devices whatever the account, so that no cache can answer
	// for them after it.
	BeforeRefusal func(accounts []hotspot.AccountID, devices []hotspot.MAC, serial uint64)

	// DateTrusted reports whether Now can be believed; nil: always. While it cannot,
	// grants end by the time this program has run.
	DateTrusted func() bool

	// CheckSetup says why a set-up of a router cannot be applied; nil: it is taken as it is.
	CheckSetup func(wire.RouterSetup) error

	// Copies is the folder for copies of the file. With it a damaged file is put back
	// from the newest that is good; "" takes none and puts nothing back.
	Copies string
	// Reserve is the size, in octets, of a file that is given up when the disk is
	// full, so that what matters is written all the same; 0 is none.
	Reserve int64
	// DiskFree returns the octets free on the disk of Path; nil, or 0, is not known.
	DiskFree func() uint64

	LogCap   int64  // octets that events the cloud does not have may take before they are folded; 0 is DefaultLogCap
	Language string // of guests until the cloud's site document says it
	Now      func() time.Time
	Elapsed  func() time.Duration // how long this program has run, whatever the date is set to; nil is the system's own count
	Log      *slog.Logger

	revived bool // the file takes the place of another: its log begins a new epoch
}

// fill puts in what is left out.
func (o *Options) fill() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		began := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(began) }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.DateTrusted == nil {
		o.DateTrusted = func() bool { return true }
	}
	if o.LogCap <= 0 {
		o.LogCap = DefaultLogCap
	}
	if o.Language == "" {
		o.Language = "en"
	}
}

// DB is an open store.
type DB struct {
	o       Options
	write   *sql.DB // exactly one connection, owned by the writer
	read    *sql.DB // query_only
	ops     chan *op
	stop    chan struct{}
	stopped chan struct{}
	closing sync.Once

	desk      *desk
	online    *online
	site      atomic.Pointer[siteFacts]
	devices   atomic.Pointer[deviceLocks]
	committed atomic.Uint64 // serial of the newest operation whose outcome everybody sees
	classKey  *classKey     // authenticates what travels as Class
	vault     *secret.Vault // of guests' passwords
	nases     nases
	lag       lag
	newest    batchEnds
	logSize   logSize // the sweeper's
	overCap   atomic.Bool
	folded    atomic.Int64  // readings, since this program started
	opened    time.Time     // Accepts of before are not remembered
	ranBefore time.Duration // running_time at the start
	madeHere  atomic.Bool   // something was made on site
	apiLists  atomic.Bool   // some pass has its address-lists kept over the API
	trouble   atomic.Pointer[trouble]

	carriedUp, carriedDown atomic.Uint64 // octets that accounting brought since the start

	cloudKey atomic.Pointer[secret.PublicKey] // nil: no cloud is known

	mu       sync.Mutex // guards what follows
	watchers map[chan struct{}]struct{}
	lookers  map[chan struct{}]struct{}
	listers  map[chan struct{}]struct{}
	reads    map[string]*sql.Stmt // of the readers, by text

	book rejectBook // of failed logins

	witness witness

	care     *care
	reserve  *reserve
	restored *Restoration // by this opening

	openedRan time.Duration // Elapsed at the opening

	w writerState // touched by the writer goroutine only
}

const (
	readers = 4
	// checkpointPages is how long the write-ahead log grows, 4 kB each, before it is
	// brought into the database. A page written often in between is written there
	// once. Longer costs at the start: after a power cut the log is read again.
	checkpointPages = 4000
	queueBound      = 4096 // operations waiting; beyond it callers wait, and give up with their context
)

// Open opens or makes the store at o.Path and starts its writer; a damaged file is
// put back first where there is a good copy. Errors are of kind Damaged when the
// file is there but cannot be trusted, Invalid when it is newer than this program,
// Unavailable otherwise.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Path == "" || o.Key == nil || o.Decide == nil || o.Off == nil {
		return nil, fault.New(fault.Internal, "store: open without a path, a key or the rules", nil)
	}
	o.fill()
	return openSound(ctx, o)
}

// openFile opens the file as it is.
func openFile(ctx context.Context, o Options) (*DB, error) {
	if err := create(o.Path); err != nil {
		return nil, fault.New(fault.Unavailable, "store: make "+o.Path, err)
	}
	write, err := open(o.Path, "_txlock=immediate", "synchronous("+synchronous()+")", "cache_size(-4000)", fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if err := migrate(ctx, write); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	read, err := open(o.Path, "", "query_only(1)", "cache_size(-1000)")
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	vault, err := o.Key.Vault("passwords")
	if err != nil {
		return nil, errors.Join(fault.New(fault.Internal, "store: make the vault", err), read.Close(), write.Close())
	}
	db := &DB{o: o, write: write, read: read, ops: make(chan *op, queueBound), stop: make(chan struct{}), stopped: make(chan struct{}),
		desk: newDesk(), online: newOnline(), classKey: newClassKey(o.Key.Derive("class v1")), vault: vault, opened: o.Now(), openedRan: o.Elapsed(),
		lag:      lag{accounts: map[hotspot.AccountID]bool{}},
		nases:    nases{known: map[hotspot.NASID]hotspot.NASMemory{}, mute: map[hotspot.NASID]bool{}},
		watchers: map[chan struct{}]struct{}{}, lookers: map[chan struct{}]struct{}{}, listers: map[chan struct{}]struct{}{}, reads: map[string]*sql.Stmt{},
		book: newRejectBook(), care: newCare(), reserve: &reserve{path: o.Path + reserveFile, size: o.Reserve}}
	db.devices.Store(&deviceLocks{})
	if err := db.start(ctx); err != nil {
		return nil, errors.Join(err, read.Close(), write.Close())
	}
	if err := db.askWitness(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// create makes an empty file that only we may read, unless one is there. The
// write-ahead log takes its mode from it. The folder is synced, so that a power
// cut right after cannot take the file's name away.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder brings the names in a folder to the disk, or what is in a file.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func open(path, query string, pragmas ...string) (*sql.DB, error) {
	q := url.Values{}
	for _, p := range append([]string{"busy_timeout(5000)", "journal_mode(WAL)", "foreign_keys(1)", "temp_store(memory)",
		"journal_size_limit(67108864)"}, pragmas...) {
		q.Add("_pragma", p)
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	if query != "" {
		dsn += "&" + query
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "store: open "+path, err)
	}
	return db, nil
}

// Close waits for the operations at work, ends the writer and closes the file.
func (db *DB) Close() error {
	var err error
	db.closing.Do(func() {
		var w witnessed
		if kept := db.do(context.Background(), func(t *tx) error { w = t.witnessed(); return errors.Join(t.keepRan(0), db.keepRejects()(t)) }); kept != nil {
			db.o.Log.Warn("the running time was not kept", "err", kept)
		} else {
			db.bearWitness(w, true)
		}
		close(db.stop)
		<-db.stopped
		err = errors.Join(db.read.Close(), db.write.Close())
	})
	return err
}

// Changed returns a channel that ticks after commits that others care about: a
// new event, a lock, a new revision. Capacity one: a burst is one tick.
func (db *DB) Changed() (ticks <-chan struct{}, cancel func()) { return db.watch(db.watchers) }

// Wanted returns a channel that ticks after commits that may change who must be
// off: a lock set or lifted, a pass used up or taken away, a session that began
// or ended under a lock.
func (db *DB) Wanted() (ticks <-chan struct{}, cancel func()) { return db.watch(db.lookers) }

// ListsChanged returns a channel that ticks after commits that may change what
// the address-lists should hold.
func (db *DB) ListsChanged() (ticks <-chan struct{}, cancel func()) { return db.watch(db.listers) }

func (db *DB) watch(bells map[chan struct{}]struct{}) (ticks <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	db.mu.Lock()
	defer db.mu.Unlock()
	bells[c] = struct{}{}
	return c, func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		delete(bells, c)
	}
}

func (db *DB) tick(bells map[chan struct{}]struct{}) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for c := range bells {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// millis is how times are stored; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// sqlFault gives an SQL error its kind.
func sqlFault(what string, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	f = fault.New(fault.Unavailable, fmt.Sprintf("store: %s", what), err)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		f.Kind = fault.NotFound
	case corrupt(err):
		f.Kind, f.Code = fault.Damaged, CodeDamaged
	case full(err):
		_ = f.WithCode(CodeNoRoom, "Free room on the disk of the database.")
	}
	return f
}
