package store

import (
	"database/sql"
	"path/filepath"
	"testing"

	"iwas/internal/secret"
)

// What write promises hangs on these settings of every connection.
func TestSettingsOfTheConnections(t *testing.T) {
	key, err := secret.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), Options{URL: "sqlite://" + filepath.Join(t.TempDir(), "cloud.db"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, tt := range []struct {
		pool    *sql.DB
		name    string
		pragma  string
		want    string
		because string
	}{
		{db.durable, "durable", "synchronous", "2", "a commit must be on disk"},
		{db.lazy, "lazy", "synchronous", "1", "a hello must not cost a flush"},
		{db.durable, "durable", "journal_mode", "wal", "readers must not wait"},
		{db.durable, "durable", "foreign_keys", "1", "orphans must be refused"},
		{db.readers, "readers", "query_only", "1", "a query must not write"},
	} {
		var got string
		if err := tt.pool.QueryRowContext(t.Context(), "PRAGMA "+tt.pragma).Scan(&got); err != nil || got != tt.want {
			t.Errorf("%s: got %s %q (%v), want %q: %s", tt.name, tt.pragma, got, err, tt.want, tt.because)
		}
	}
	for _, pool := range []*sql.DB{db.durable, db.lazy} {
		if got := pool.Stats().MaxOpenConnections; got != 1 {
			t.Errorf("got %d writing connections in a pool, want 1", got)
		}
	}
}

// A change that meets another one is run again, and gives up on what no repeat
// can mend.
func TestTransactionsAreRunAgainOnlyWhenThatHelps(t *testing.T) {
	key, err := secret.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), Options{URL: "sqlite://" + filepath.Join(t.TempDir(), "cloud.db"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	busy := notFound("row", "x") // stands for what the engine says
	db.dialect.retryable = func(err error) bool { return err.Error() == busy.Error() }
	runs := 0
	if err := db.write(t.Context(), "test", func(*tx) error {
		if runs++; runs < 4 {
			return busy
		}
		return nil
	}); err != nil || runs != 4 {
		t.Errorf("got %d runs (%v), want 4", runs, err)
	}
	runs = 0
	if err := db.write(t.Context(), "test", func(*tx) error { runs++; return busy }); err == nil || runs != tries {
		t.Errorf("got %d runs (%v), want %d and an error", runs, err, tries)
	}
	runs = 0
	if err := db.write(t.Context(), "test", func(*tx) error { runs++; return sql.ErrConnDone }); err == nil || runs != 1 {
		t.Errorf("got %d runs (%v), want 1 and an error", runs, err)
	}
}
