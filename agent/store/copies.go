package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"modernc.org/sqlite"

	"iwas/internal/fault"
)

// Codes of the catalogue that the care of the file leads to.
const (
	CodeDamaged  = "DB-101" // the file is damaged
	CodeRestored = "DB-109" // it was put back from a copy
	CodeNoCopy   = "DB-110" // no copy can be taken
	CodeNoRoom   = "DB-111" // the disk takes no more
	CodeNoGood   = "DB-112" // the file is damaged, and no copy of it is good
	CodeBackup   = "DB-113" // a backup cannot be made or used
	CodeInUse    = "DB-114" // somebody has the file open
	CodeLow      = "DB-115" // the disk is low: what can be spared is given up
)

const (
	copiesKept  = 3 // the newest
	damagedKept = 3 // damaged files kept aside, the newest
)

// copyFile is a copy of the whole database, as it was at one moment. Copies are
// numbered, since dates may have been set back.
type copyFile struct {
	path    string
	number  int
	takenAt time.Time // by the date of the box then
}

// copyName and asideName hold a number and a date.
var (
	copyName  = regexp.MustCompile(`^copy-([0-9]{6})-([0-9]{8}T[0-9]{6}Z)\.db$`)
	asideName = regexp.MustCompile(`\.damaged-([0-9]{6})-([0-9]{8}T[0-9]{6}Z)$`)
)

const stampForm = "20060102T150405Z"

// copiesIn lists the copies in a folder, the newest first. A folder that is not
// there holds none.
func copiesIn(dir string) ([]copyFile, error) { return numberedIn(dir, copyName) }

// asideOf lists the damaged files beside a database, the newest first.
func asideOf(path string) ([]copyFile, error) {
	all, err := numberedIn(filepath.Dir(path), asideName)
	return slices.DeleteFunc(all, func(c copyFile) bool {
		return asideName.ReplaceAllString(c.path, "") != path
	}), err
}

func numberedIn(dir string, name *regexp.Regexp) ([]copyFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []copyFile
	for _, e := range entries {
		m := name.FindStringSubmatch(e.Name())
		if m == nil || e.IsDir() {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, err
		}
		at, _ := time.Parse(stampForm, m[2]) // a date that is none: the number counts
		out = append(out, copyFile{filepath.Join(dir, e.Name()), n, at})
	}
	slices.SortFunc(out, func(a, b copyFile) int { return cmp.Compare(b.number, a.number) })
	return out, nil
}

// nextNumber follows the newest.
func nextNumber(all []copyFile) int {
	if len(all) == 0 {
		return 1
	}
	return all[0].number + 1
}

// keepNewest removes all but the first n, each with what may lie beside it.
func keepNewest(all []copyFile, n int) error {
	var errs []error
	for _, c := range all[min(n, len(all)):] {
		for _, part := range fileParts {
			if err := os.Remove(c.path + part); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// fileParts are the files of one SQLite database.
var fileParts = [...]string{"", "-wal", "-shm"}

// A copy is written slicePages at a time, each slice on the disk before the next,
// and with a pause as long as it took: at one go a hundred megabytes would keep the
// disk from the fsync that a guest waits for.
const (
	slicePages = 128 // of 4 kB
	slicePause = 200 * time.Millisecond
)

// Backup writes the whole database at path, as it is at one moment, into a new
// file. Whoever has it open goes on reading and writing meanwhile: it is read on a
// connection of its own, and the write-ahead log grows until that is done.
func Backup(ctx context.Context, path, to string) (err error) {
	if _, err := os.Stat(path); err != nil { // opening would make one
		return fault.New(fault.NotFound, "store: copy "+path, err)
	}
	db, err := open(path, "")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "store: copy the database into "+to, err)
	}
	err = inSlices(ctx, db, f)
	if err == nil {
		// The copy has no write-ahead log: bytes 18 and 19 of the header say so
		// (SQLite file format §1.3.3), so that it is read without making one.
		_, err = f.WriteAt([]byte{1, 1}, 18)
		err = errors.Join(err, f.Sync())
	}
	err = sqlFault("copy the database into "+to, errors.Join(err, f.Close()))
	if err == nil {
		err = Sound(ctx, to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// inSlices copies the database into an empty file. One read transaction holds it at
// one moment.
func inSlices(ctx context.Context, db *sql.DB, to *os.File) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	defer func() {
		_, end := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // it read only
		err = errors.Join(err, end)
	}()
	var tables int // the first read is the moment
	if err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	return conn.Raw(func(c any) error {
		source, ok := c.(interface {
			NewBackup(to string) (*sqlite.Backup, error)
		})
		if !ok {
			return errors.New("the driver copies no databases")
		}
		b, err := source.NewBackup("file:" + (&url.URL{Path: to.Name()}).EscapedPath() + "?_pragma=journal_mode(off)&_pragma=synchronous(off)")
		if err != nil {
			return err
		}
		for more := true; more && err == nil; {
			began := time.Now()
			if more, err = b.Step(slicePages); err == nil {
				err = to.Sync()
			}
			select {
			case <-time.After(min(time.Since(began), slicePause)):
			case <-ctx.Done():
				err = errors.Join(err, ctx.Err())
			}
		}
		return errors.Join(err, b.Finish())
	})
}

// Sound checks a copy that nobody writes: that it is ours, of a schema this
// program knows, and whole. Errors are of kind Damaged, or Invalid where it is
// another program's or a newer one's.
func Sound(ctx context.Context, path string) (err error) {
	if st, err := os.Stat(path); err != nil {
		return fault.New(fault.Unavailable, "store: check", err)
	} else if st.Size() == 0 {
		return fault.New(fault.Damaged, "store: "+path+" is empty", nil)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&immutable=1")
	if err != nil {
		return sqlFault("check "+path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, _, err := identify(ctx, db); err != nil {
		return err
	}
	return verdict(ctx, db, "PRAGMA quick_check(1)", path)
}

// verdict asks SQLite to check a file.
func verdict(ctx context.Context, db *sql.DB, check, path string) error {
	var said string
	if err := db.QueryRowContext(ctx, check).Scan(&said); err != nil {
		return sqlFault("check "+path, err)
	}
	if said != "ok" {
		return fault.New(fault.Damaged, "store: "+path+" is damaged: "+said, nil).WithCode(CodeDamaged, "")
	}
	return nil
}

// Snapshot takes a copy now, and drops the oldest beyond those kept. The writer
// does not wait for it. It returns the copy's file; "" when nothing was written
// since the last one.
func (db *DB) Snapshot(ctx context.Context) (string, error) {
	dir := db.o.Copies
	if dir == "" {
		return "", fault.New(fault.Invalid, "store: no folder for copies is given", nil)
	}
	h, err := db.Standing(ctx)
	if err != nil {
		return "", err
	}
	stands := fmt.Sprint(h.Epoch, h.LastSeq, h.AckedSeq, h.Lineage, h.Revision)
	all, err := copiesIn(dir)
	if err != nil {
		return "", fault.New(fault.Unavailable, "store: look for copies", err).WithCode(CodeNoCopy, "Look whether the disk can be read.")
	}
	if len(all) > 0 && db.care.copied == stands {
		return "", nil
	}
	if err := db.roomForCopy(ctx); err != nil {
		return "", err
	}
	name, err := db.takeCopy(ctx, dir, nextNumber(all))
	if err != nil {
		return "", err
	}
	db.care.copied = stands
	if all, err = copiesIn(dir); err == nil {
		err = keepNewest(all, copiesKept)
	}
	return name, err
}

func (db *DB) takeCopy(ctx context.Context, dir string, number int) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fault.New(fault.Unavailable, "store: make the folder of copies", err).WithCode(CodeNoCopy, "Let the service write into its state directory.")
	}
	part := filepath.Join(dir, "part") // one at a time: of one that was cut short
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.Unavailable, "store: remove what is left of a copy", err).WithCode(CodeNoCopy, "Remove it by hand.")
	}
	if err := Backup(ctx, db.o.Path, part); err != nil {
		db.noteDamage(err)
		if ctx.Err() != nil || fault.Is(err, fault.Damaged) {
			return "", err
		}
		return "", fault.New(fault.KindOf(err), "store: take a copy", err).WithCode(CodeNoCopy, "Free room on the disk of the database.")
	}
	name := filepath.Join(dir, fmt.Sprintf("copy-%06d-%s.db", number, db.o.Now().UTC().Format(stampForm)))
	err := os.Rename(part, name)
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return "", fault.New(fault.Unavailable, "store: put a copy in place", err).WithCode(CodeNoCopy, "Look whether the disk takes writes: dmesg | tail")
	}
	return name, nil
}

// roomForCopy refuses a copy that would leave the disk low.
func (db *DB) roomForCopy(ctx context.Context) error {
	free := db.diskFree()
	if free == 0 {
		return nil // not known
	}
	var pages, size, unused uint64
	err := db.queryLate(ctx, "measure the database", "SELECT page_count, page_size, freelist_count FROM pragma_page_count, pragma_page_size, pragma_freelist_count", nil,
		func(scan func(...any) error) error { return scan(&pages, &size, &unused) })
	if err != nil {
		return err
	}
	if need := (pages-min(unused, pages))*size + db.lowMark(); free < need {
		return fault.New(fault.Unavailable, fmt.Sprintf("store: a copy of the database needs %d MB free, %d MB are", need>>20, free>>20), nil).
			WithCode(CodeNoCopy, "Free room on the disk of the database.")
	}
	return nil
}

// copyTo copies a file into a new one, on the disk when it returns.
func copyTo(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, in); err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
