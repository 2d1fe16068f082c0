package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/agent/store"
	"iwas/internal/fault"
)

// fileOfSchema makes a database file of a schema, by a mark in it.
func fileOfSchema(t *testing.T, path string, schema int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), fmt.Sprintf("PRAGMA user_version=%d; CREATE TABLE mark (x)", schema)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// upgraded is a box whose package was upgraded from a program of another schema.
func upgraded(t *testing.T, olderSchema int) (r *rollback, ran, said *[]string) {
	t.Helper()
	k, ran := bareLinux(t)
	for path, text := range map[string]string{packagedProgram: "newer", previousPackaged: "older"} {
		if err := os.MkdirAll(filepath.Dir(k.at(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(k.at(path), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	plain := k.run
	k.run = func(ctx context.Context, name string, args ...string) (string, error) {
		if strings.HasSuffix(name, previousPackaged) {
			return fmt.Sprintf(`{"version": "v0.9.0", "schema": %d}`, olderSchema), nil
		}
		return plain(ctx, name, args...)
	}
	cfg := defaultConfig()
	cfg.StateDir = t.TempDir()
	db := filepath.Join(cfg.StateDir, "iwas.db")
	fileOfSchema(t, db, store.Schema())
	fileOfSchema(t, fmt.Sprintf("%s.schema-%04d", db, store.Schema()-1), store.Schema()-1)
	said = new([]string)
	return &rollback{keeper: k, cfg: cfg, wait: 20 * time.Millisecond, say: func(l string) { *said = append(*said, l) },
		waiting: func(context.Context) (int64, bool) { return 0, true }}, ran, said
}

func (r *rollback) state(t *testing.T) (program, previous string, schema int) {
	t.Helper()
	a, err := os.ReadFile(r.keeper.at(packagedProgram))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(r.keeper.at(previousPackaged))
	if err != nil {
		t.Fatal(err)
	}
	schema, err = store.FileSchema(t.Context(), filepath.Join(r.cfg.StateDir, "iwas.db"))
	if err != nil {
		t.Fatal(err)
	}
	return string(a), string(b), schema
}

func TestRollbackPutsProgramAndDatabaseBack(t *testing.T) {
	r, ran, said := upgraded(t, store.Schema()-1)
	if err := r.do(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if program, previous, schema := r.state(t); program != "older" || previous != "newer" || schema != store.Schema()-1 {
		t.Errorf("the program is the %s, kept is the %s, the schema is %d", program, previous, schema)
	}
	if want := []string{"systemctl stop iwas-agent", "systemctl start iwas-agent"}; !slices.Equal(*ran, want) {
		t.Errorf("ran %q", *ran)
	}
	if text := strings.Join(*said, "\n"); !strings.Contains(text, "The database from before the upgrade is back") || !strings.Contains(text, "iwas-agent is v0.9.0 again") {
		t.Errorf("said %q", text)
	}
}

func TestRollbackLeavesADatabaseThatBothRead(t *testing.T) {
	r, _, _ := upgraded(t, store.Schema())
	r.waiting = func(context.Context) (int64, bool) { return 7, true } // which stays where it is
	if err := r.do(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if program, _, schema := r.state(t); program != "older" || schema != store.Schema() {
		t.Errorf("the program is the %s, the schema is %d", program, schema)
	}
}

func TestRollbackDoesNotLoseWhatIsUnsent(t *testing.T) {
	for name, tc := range map[string]struct {
		n       int64
		running bool
		alone   bool
		want    string
	}{
		"the cloud is away":        {7, true, false, "7 facts since the upgrade"},
		"the service does not run": {0, false, false, "does not run"},
		"there is no cloud":        {0, true, true, "no cloud has what happened"},
	} {
		r, ran, _ := upgraded(t, store.Schema()-1)
		r.waiting = func(context.Context) (int64, bool) { return tc.n, tc.running }
		r.alone = tc.alone
		err := r.do(t.Context(), false)
		if fault.Code(err) != "UPD-106" || !strings.Contains(err.Error(), tc.want) || len(*ran) > 0 {
			t.Errorf("%s: got %v, ran %q", name, err, *ran)
		}
		if program, _, schema := r.state(t); program != "newer" || schema != store.Schema() {
			t.Errorf("%s: something was changed", name)
		}
		if err := r.do(t.Context(), true); err != nil {
			t.Errorf("%s: a person accepted the loss: %v", name, err)
		}
	}
}

func TestRollbackToNothing(t *testing.T) {
	r, ran, _ := upgraded(t, store.Schema()-1)
	if err := os.Remove(r.keeper.at(previousPackaged)); err != nil {
		t.Fatal(err)
	}
	if err := r.do(t.Context(), false); fault.Code(err) != "UPD-105" || len(*ran) > 0 {
		t.Errorf("got %v, ran %q", err, *ran)
	}
	// A copy that is not there: the service goes on with what it has.
	r, ran, _ = upgraded(t, store.Schema()-3)
	if err := r.do(t.Context(), true); fault.Code(err) != "UPD-105" || !slices.Equal(*ran, []string{"systemctl stop iwas-agent", "systemctl start iwas-agent"}) {
		t.Errorf("got %v, ran %q", err, *ran)
	}
	if program, _, schema := r.state(t); program != "newer" || schema != store.Schema() {
		t.Error("something was changed")
	}
}
