package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"iwas/internal/fault"
)

// Schema is the newest schema that this program knows, and brings files to.
func Schema() int {
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0 // the pattern is a constant
	}
	n, err := number(steps[len(steps)-1])
	if err != nil {
		return 0 // a test opens a database by it
	}
	return n
}

// keptSchemas is how many files of older schemas are kept.
const keptSchemas = 3

// schemaFile is where the database is kept as it was at a schema.
func schemaFile(path string, schema int) string { return fmt.Sprintf("%s.schema-%04d", path, schema) }

// KeepSchema keeps a copy of the database at path as it is now, if Open will bring
// it to a newer schema. Nobody else may have it open. Without it an older
// program could never be put back.
func KeepSchema(ctx context.Context, path string) error {
	have, err := FileSchema(ctx, path)
	if err != nil || have == 0 || have >= Schema() {
		return err
	}
	to := schemaFile(path, have)
	part := to + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", part)
	if err = errors.Join(err, db.Close()); err == nil {
		err = syncFolder(part) // VACUUM INTO does not wait for the disk
	}
	if err == nil {
		err = errors.Join(os.Rename(part, to), syncFolder(filepath.Dir(to)))
	}
	if err != nil {
		_ = os.Remove(part) // what there is of it is of no use
		return fault.New(fault.Unavailable, "store: keep a copy before the new schema", err).WithCode("UPD-104", "Free room on the disk; until then this version cannot be taken back.")
	}
	return dropOldSchemas(path)
}

func dropOldSchemas(path string) error {
	all, err := filepath.Glob(path + ".schema-[0-9][0-9][0-9][0-9]")
	if err != nil {
		return err
	}
	slices.Sort(all)
	for _, old := range all[:max(0, len(all)-keptSchemas)] {
		if err := os.Remove(old); err != nil {
			return err
		}
	}
	return nil
}

// FileSchema is the schema of the database at path; 0 if there is none.
func FileSchema(ctx context.Context, path string) (have int, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have)
	if err = errors.Join(err, db.Close()); err != nil {
		return 0, fault.New(fault.Damaged, "store: the file cannot be read as a database", err)
	}
	return have, nil
}

// PutBackSchema puts the copy that KeepSchema made of a schema back in the
// database's place, and keeps the newer one aside. Nobody may have it open.
func PutBackSchema(ctx context.Context, path string, schema int) (aside string, err error) {
	from := schemaFile(path, schema)
	if have, err := FileSchema(ctx, from); err != nil || have != schema {
		return "", errors.Join(err, fault.New(fault.NotFound, fmt.Sprintf("store: there is no copy of the database at schema %d beside it", schema), nil).
			WithCode("UPD-105", "Restore a backup that was made with the older version: iwas-agent restore."))
	}
	now, err := FileSchema(ctx, path)
	if err != nil {
		return "", err
	}
	aside = schemaFile(path, now)
	// Closing it above brought the write-ahead log in; what is left of it belongs to the newer file.
	for _, ending := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if err := os.Rename(path, aside); err != nil {
		return "", err
	}
	if err := os.Rename(from, path); err != nil {
		return "", errors.Join(err, os.Rename(aside, path))
	}
	return aside, syncFolder(filepath.Dir(path))
}
