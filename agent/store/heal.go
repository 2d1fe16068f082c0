package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"iwas/internal/fault"
)

// A database that is damaged is put back from the newest copy that is good, before
// anything else opens it. What was there is set aside, never removed: somebody may
// read more out of it. Where no copy is good nothing is touched, and Open fails.
//
// Damage that is met while running is noted beside the file, and the program opens
// the store anew: only then is the whole file checked, and put back if the check
// agrees.

// Files beside the database, after its name.
const (
	suspectFile  = ".suspect"   // damage was met: check before opening
	restoredFile = ".restored"  // what was put back last
	restoring    = ".restoring" // a copy on its way into place
)

// Restoration is a database that was put back from a copy.
type Restoration struct {
	At      time.Time `json:"at"`
	Why     string    `json:"why"`
	Copy    string    `json:"copy"`                // file
	TakenAt time.Time `json:"taken_at"`            // of the copy, by the date of the box then
	Aside   string    `json:"set_aside,omitempty"` // the damaged file; "" when there was none
}

// Restored returns the newest restoration; false if there never was one. now says
// that it came with the opening of this store.
func (db *DB) Restored() (r Restoration, now, ever bool) {
	if db.restored != nil {
		return *db.restored, true, true
	}
	b, err := os.ReadFile(db.o.Path + restoredFile)
	if err != nil || json.Unmarshal(b, &r) != nil {
		return Restoration{}, false, false
	}
	return r, false, true
}

// openSound opens the store, and puts the file back first where it is damaged.
func openSound(ctx context.Context, o Options) (*DB, error) {
	if o.Copies == "" {
		return openFile(ctx, o)
	}
	why := missing(o)
	if why == nil {
		why = suspected(ctx, o)
	}
	if why == nil {
		db, err := openFile(ctx, o)
		if !fault.Is(err, fault.Damaged) {
			return db, err
		}
		why = err
	}
	r, err := heal(ctx, o, why)
	if err != nil {
		return nil, err
	}
	db, err := openFile(ctx, o)
	if err != nil {
		return nil, err
	}
	db.restored = r
	return db, nil
}

// missing reports a database that is gone, or empty, where copies of it are: a
// file system that was repaired does that. Nobody begins anew that way; there is
// a command for it.
func missing(o Options) error {
	st, err := os.Stat(o.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() > 0 {
		return nil // opening says what is wrong
	}
	if all, err := copiesIn(o.Copies); err != nil || len(all) == 0 {
		return nil // a new box
	}
	return fault.New(fault.Damaged, "store: "+o.Path+" is gone or empty", nil).WithCode(CodeDamaged, "")
}

// suspected checks a file of which somebody said that it is damaged. A sound one
// clears itself: what was met may have been the line to the disk.
func suspected(ctx context.Context, o Options) error {
	note, err := os.ReadFile(o.Path + suspectFile)
	if err != nil {
		return nil
	}
	db, err := open(o.Path, "")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	err = errors.Join(verdict(ctx, db, "PRAGMA integrity_check(1)", o.Path), db.Close())
	if fault.Is(err, fault.Damaged) {
		return err
	}
	if err == nil {
		o.Log.Warn("damage was met in the database, and now the whole file is sound; look after the disk", "detail", string(note))
	}
	_ = os.Remove(o.Path + suspectFile) // else it is checked once more
	return nil
}

// heal puts the newest good copy in the place of the database.
func heal(ctx context.Context, o Options, why error) (*Restoration, error) {
	all, err := copiesIn(o.Copies)
	tried := []error{why, err}
	for _, c := range all {
		err := prepare(ctx, o, c)
		if err == nil {
			return exchange(o, c, why)
		}
		if fault.Is(err, fault.Unavailable) || ctx.Err() != nil { // a full disk says nothing of the copy
			return nil, fault.New(fault.Unavailable, "store: the database is damaged ("+why.Error()+"), and putting a copy back failed", err).
				WithCode(CodeDamaged, "Free room on the disk of the database, then: systemctl restart iwas-agent")
		}
		o.Log.Warn("a copy of the database is of no use", "file", c.path, "err", err)
		tried = append(tried, fmt.Errorf("%s: %w", filepath.Base(c.path), err))
	}
	return nil, fault.New(fault.Damaged, fmt.Sprintf("store: the database is damaged, and none of %d copies is good", len(all)), errors.Join(tried...)).
		WithCode(CodeNoGood, "Put a backup back: iwas-agent restore FILE. Without one, begin anew: iwas-agent restore --empty. Nothing is removed by either.")
}

// prepare makes the file that is to take the place: a copy, checked, brought to
// this program's schema, in a new epoch of its log.
func prepare(ctx context.Context, o Options, c copyFile) error {
	fresh := o.Path + restoring
	if err := removeParts(fresh); err != nil {
		return fault.New(fault.Unavailable, "store: make room for a copy", err)
	}
	if err := Sound(ctx, c.path); err != nil {
		return err
	}
	if err := copyTo(c.path, fresh); err != nil {
		return fault.New(fault.Unavailable, "store: bring a copy into place", err)
	}
	return Renew(ctx, o, fresh)
}

// Renew brings a database that is to take the place of the one at o.Path to this
// program's schema, and begins a new epoch in it: whatever the log said after the
// copy was taken is named lost. The witness of o.Path says what that was.
func Renew(ctx context.Context, o Options, fresh string) error {
	if b, err := os.ReadFile(o.Path + witnessFile); err == nil {
		if err := os.WriteFile(fresh+witnessFile, b, 0o600); err != nil {
			return fault.New(fault.Unavailable, "store: keep how far the log had come", err)
		}
	}
	o.Path, o.Copies, o.Reserve, o.BeforeRefusal, o.revived = fresh, "", 0, nil, true
	o.fill()
	db, err := openFile(ctx, o)
	if err != nil {
		return err
	}
	return db.Close()
}

// exchange sets the damaged file aside and puts the prepared one in its place. Cut
// short between the two, the next start finds no database, and copies.
func exchange(o Options, c copyFile, why error) (*Restoration, error) {
	failed := func(err error) (*Restoration, error) {
		return nil, fault.New(fault.Unavailable, "store: put a copy in the place of the damaged database", err).
			WithCode(CodeDamaged, "Let the service write into its state directory, then: systemctl restart iwas-agent")
	}
	at := o.Now().UTC()
	aside, err := SetAside(o.Path, at)
	if err != nil {
		return failed(err)
	}
	if err := Place(o.Path); err != nil {
		return failed(err)
	}
	if all, err := asideOf(o.Path); err == nil {
		if err := keepNewest(all, damagedKept); err != nil {
			o.Log.Warn("an old damaged database could not be removed", "err", err)
		}
	}
	_ = os.Remove(o.Path + suspectFile) // else the restored file is checked once more
	r := &Restoration{At: at, Why: reasonOf(why), Copy: c.path, TakenAt: c.takenAt, Aside: aside}
	b, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(o.Path+restoredFile, append(b, '\n'), 0o600)
	}
	if err != nil {
		o.Log.Warn("that the database was put back is known until the next start only", "err", err)
	}
	o.Log.Error("the database was damaged and was put back from a copy", "code", CodeRestored, "err", why, "file", c.path, "aside", aside)
	return r, nil
}

// SetAside moves a database, with its write-ahead log, out of the way, under a
// number and a date. It returns "" when there is none.
func SetAside(path string, at time.Time) (aside string, err error) {
	all, err := asideOf(path)
	if err != nil {
		return "", err
	}
	aside = fmt.Sprintf("%s.damaged-%06d-%s", path, nextNumber(all), at.UTC().Format(stampForm))
	moved := false
	for _, part := range fileParts {
		switch err := os.Rename(path+part, aside+part); {
		case err == nil:
			moved = true
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	if !moved {
		return "", nil
	}
	return aside, syncFolder(filepath.Dir(path))
}

// Place puts what Renew prepared at path.
func Place(path string) error {
	fresh := path + restoring
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	// Without it the log is the same, and the next restore may go unseen here.
	if err := os.Rename(fresh+witnessFile, path+witnessFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// Fresh is where Renew wants the file that is to take the place of path.
func Fresh(path string) string { return path + restoring }

// Discard removes what Renew prepared.
func Discard(path string) error { return removeParts(path + restoring) }

// Release makes sure that nobody has a database open, and leaves one file that is
// the whole of it. What cannot be opened at all is left as it is: it is why there is
// a restore.
func Release(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(500)")
	if err != nil {
		return nil
	}
	db.SetMaxOpenConns(1)
	var mode string
	err = db.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode)
	cerr := db.Close()
	var e *sqlite.Error
	busy := errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
	if busy || err == nil && mode != "delete" {
		return fault.New(fault.Conflict, "store: "+path+" is in use", errors.Join(err, cerr)).
			WithCode(CodeInUse, "Stop the service (systemctl stop iwas-agent) and whatever else has it open, then restore again. Nothing was touched.")
	}
	return nil
}

func removeParts(path string) error {
	var errs []error
	for _, part := range append(fileParts[:], witnessFile) {
		if err := os.Remove(path + part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// reasonOf is an error for people, bounded.
func reasonOf(err error) string {
	text := err.Error()
	return text[:min(len(text), 300)]
}

// corrupt reports whether SQLite found the file itself to be wrong.
func corrupt(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// Damaged returns a channel that is closed once damage is met: the store must be
// opened anew, which checks it and puts it back.
func (db *DB) Damaged() <-chan struct{} { return db.care.damaged }

// Damage says what was met; nil is nothing.
func (db *DB) Damage() error {
	if d := db.care.damage.Load(); d != nil {
		return *d
	}
	return nil
}

// noteDamage keeps that the file is damaged, on the disk too, so that the next
// opening checks it.
func (db *DB) noteDamage(err error) {
	if err == nil || db.care == nil || !corrupt(err) && fault.Code(err) != CodeDamaged {
		return
	}
	if !db.care.damage.CompareAndSwap(nil, &err) {
		return
	}
	if werr := os.WriteFile(db.o.Path+suspectFile, []byte(reasonOf(err)+"\n"), 0o600); werr != nil {
		db.o.Log.Warn("the damage was not noted beside the database", "err", werr)
	}
	db.o.Log.Error("damage was met in the database", "code", CodeDamaged, "err", err)
	close(db.care.damaged)
}
