package store

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"iwas/internal/fault"
)

const (
	notABackup   = "Give a file that iwas-cloud backup wrote. The database in use was not touched."
	useItsTools  = "Use pg_dump and pg_restore. After a restore, and before the first start, run: iwas-cloud restore --in-place"
	stopTheCloud = "Stop every iwas-cloud that uses this database (systemctl stop iwas-cloud), then restore again."
)

// Backup writes the whole database, as it is at one moment, into a new file.
// Others may go on reading and writing meanwhile. SQLite only: PostgreSQL has
// tools of its own.
func (db *DB) Backup(ctx context.Context, to string) error {
	if db.dialect.name != sqliteDialect.name {
		return fault.New(fault.Invalid, "store: backup of "+db.dialect.name, nil).WithCode("CLD-311", useItsTools)
	}
	failed := func(err error) error {
		return fault.New(fault.Unavailable, "store: back up into "+to, err).
			WithCode("CLD-311", "Name a file that does not exist yet, in a folder this program may write to, on a disk with room.")
	}
	// VACUUM INTO takes an empty file, and the mode of one that is there.
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return failed(err)
	}
	err = f.Close()
	if err == nil {
		_, err = db.durable.ExecContext(ctx, "VACUUM INTO ?", to)
	}
	if err == nil {
		err = syncAll(to)
	}
	if err != nil {
		return failed(errors.Join(err, os.Remove(to)))
	}
	return nil
}

// Restore puts a backup in the place of the database, which nobody may have open,
// and mints new lineages (see NewLineage). What was there stays beside it, under
// the name it returns; "" when there was nothing.
func Restore(ctx context.Context, o Options, from string) (aside string, err error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "sqlite" || u.Path == "" {
		return "", fault.New(fault.Invalid, "store: restore", err).WithCode("CLD-311", useItsTools)
	}
	target := filepath.Clean(u.Path)
	fresh := target + ".restoring"
	for _, left := range []string{fresh, fresh + "-wal", fresh + "-shm"} { // of one that was cut short
		if err := os.Remove(left); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fault.New(fault.Unavailable, "store: restore", err)
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(fresh))
		}
	}()
	if err := readBackup(ctx, from, fresh); err != nil {
		return "", fault.New(fault.Invalid, "store: restore from "+from, err).WithCode("CLD-310", notABackup)
	}
	o.URL = (&url.URL{Scheme: "sqlite", Path: filepath.ToSlash(fresh)}).String()
	db, err := Open(ctx, o)
	if err == nil {
		err = errors.Join(db.NewLineage(ctx), db.Close())
	}
	if err != nil {
		return "", err
	}
	if _, err = os.Stat(fresh + "-wal"); !errors.Is(err, os.ErrNotExist) { // the last to close brings it in
		return "", fault.New(fault.Internal, "store: the restored database still has a log beside it", err)
	}
	if aside, err = setAside(ctx, target, time.Now()); err != nil {
		return "", err
	}
	if err = os.Rename(fresh, target); err == nil {
		err = syncAll(target)
	}
	if err != nil {
		return aside, fault.New(fault.Unavailable, "store: put the backup in place", err)
	}
	return aside, nil
}

// readBackup copies a backup and checks that it is one of ours, and whole. A copy
// of a database with its log beside it counts too.
func readBackup(ctx context.Context, from, to string) error {
	in, err := os.Stat(from)
	if err != nil {
		return err
	}
	if in.Size() == 0 {
		return errors.New("the file is empty")
	}
	for _, log := range []string{"", "-wal"} {
		if err := copyFile(from+log, to+log); err != nil && (log == "" || !errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: to}).EscapedPath())
	if err != nil {
		return err
	}
	var id int64
	var verdict string
	err = db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id)
	if err == nil && id != applicationID {
		err = errors.New("it is not a database of iwas-cloud")
	}
	if err == nil {
		err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	}
	if err == nil && verdict != "ok" {
		err = errors.New("it is damaged: " + verdict)
	}
	return errors.Join(err, db.Close())
}

// setAside moves a database out of the way. Leaving the mode with a log needs it
// for oneself alone, which tells whether somebody has it open, and leaves one
// file that is the whole of it.
func setAside(ctx context.Context, path string, now time.Time) (aside string, err error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	aside = path + ".before-restore-" + now.UTC().Format("20060102T150405.000")
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(500)")
	if err != nil {
		return "", err
	}
	db.SetMaxOpenConns(1)
	var mode string
	err = db.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode)
	busy := sqliteBusy(err) || err == nil && mode != "delete"
	cerr := db.Close()
	switch {
	case busy:
		return "", fault.New(fault.Conflict, "store: "+path+" is in use", errors.Join(err, cerr)).WithCode("CLD-310", stopTheCloud)
	case err == nil && cerr != nil:
		return "", fault.New(fault.Unavailable, "store: close "+path, cerr)
	}
	// What cannot be opened at all is why there is a restore: it goes aside with
	// its log.
	for _, part := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+part, aside+part); err != nil && (part == "" || !errors.Is(err, os.ErrNotExist)) {
			return "", fault.New(fault.Unavailable, "store: set the old database aside", err)
		}
	}
	return aside, nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // it was read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err = io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}

// syncAll brings a file and its name to the disk.
func syncAll(path string) error {
	for _, name := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
