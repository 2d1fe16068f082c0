package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"iwas/internal/fault"
)

// atSchema makes a database of an older program, with a mark in it.
func atSchema(t *testing.T, path string, schema int) {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= schema; n++ {
		err := step(t.Context(), db, fmt.Sprintf("migrations/%04d.sql", n), n)
		if errors.Is(err, fs.ErrNotExist) { // a number that was left out
			_, err = db.ExecContext(t.Context(), fmt.Sprintf("PRAGMA user_version = %d", n))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE witness_of_test (of TEXT); INSERT INTO witness_of_test VALUES ('the older program')"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestANewSchemaCanBeTakenBack(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "iwas.db")
	older := Schema() - 1
	atSchema(t, path, older)
	if err := KeepSchema(ctx, path); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate(ctx, db); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "PRAGMA journal_mode=WAL; UPDATE witness_of_test SET of = 'the newer program'"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := KeepSchema(ctx, path); err != nil { // nothing to keep: it is the newest
		t.Fatal(err)
	}
	aside, err := PutBackSchema(ctx, path, older)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{path: "the older program", aside: "the newer program"} {
		back, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file}).String())
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := back.QueryRowContext(ctx, "SELECT of FROM witness_of_test").Scan(&got); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", file, got, err, want)
		}
		if err := back.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := FileSchema(ctx, path); err != nil || have != older {
		t.Errorf("the schema is %d, %v, want %d", have, err, older)
	}
	if _, err := PutBackSchema(ctx, path, 1); fault.Code(err) != "UPD-105" {
		t.Errorf("a schema that was never kept: %v", err)
	}
}

func TestAFewOldSchemasAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "iwas.db")
	for n := 1; n <= 5; n++ {
		if err := os.WriteFile(schemaFile(path, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := dropOldSchemas(path); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 5; n++ {
		if _, err := os.Stat(schemaFile(path, n)); (err == nil) != (n > 2) {
			t.Errorf("schema %d: %v", n, err)
		}
	}
	if have, err := FileSchema(t.Context(), path); have != 0 || err != nil {
		t.Errorf("no database has schema %d, %v", have, err)
	}
}
