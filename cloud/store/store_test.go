package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iwas/cloud/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

func TestOpenRefuses(t *testing.T) {
	key, err := secret.NewKey()
	must(t, err)
	foreign := filepath.Join(t.TempDir(), "agent.db")
	db, err := sql.Open("sqlite", foreign)
	must(t, err)
	_, err = db.Exec("PRAGMA application_id = 7; CREATE TABLE theirs (x)")
	must(t, errors.Join(err, db.Close()))
	junk := filepath.Join(t.TempDir(), "junk.db")
	must(t, os.WriteFile(junk, []byte(strings.Repeat("not a database ", 100)), 0o600))
	for _, tt := range []struct {
		name, url, code string
		key             *secret.Key
		want            fault.Kind
	}{
		{"no key", "sqlite:///tmp/x.db", "", nil, fault.Invalid},
		{"another engine", "mysql://root:geheim@host/x", "DB-104", key, fault.Invalid},
		{"two slashes", "sqlite://cloud.db", "DB-104", key, fault.Invalid},
		{"no such folder", "sqlite:///nowhere/at/all/cloud.db", "DB-103", key, fault.Unavailable},
		{"another program's file", "sqlite://" + foreign, "DB-104", key, fault.Invalid},
		{"no database", "sqlite://" + junk, "", key, fault.Unavailable},
		{"nobody there", "postgres://iwas@/x?host=/nowhere/at/all", "DB-105", key, fault.Unavailable},
	} {
		_, err := store.Open(t.Context(), store.Options{URL: tt.url, Key: tt.key})
		if !fault.Is(err, tt.want) || tt.code != "" && fault.Code(err) != tt.code {
			t.Errorf("%s: got %v (%v, %q), want %v, %q", tt.name, err, fault.KindOf(err), fault.Code(err), tt.want, tt.code)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the password is in %q", tt.name, err)
		}
	}
}

func TestStoreIsThereAfterReopening(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			url := "sqlite://" + filepath.Join(t.TempDir(), "a b%20c?.db")
			if engine == "postgres" {
				url = postgresURL(t)
			}
			key, err := secret.NewKey()
			must(t, err)
			o := store.Options{URL: strings.ReplaceAll(strings.ReplaceAll(url, "%20", "%2520"), "c?.db", "c%3F.db"), Key: key}
			db, err := store.Open(t.Context(), o)
			must(t, err)
			owner, err := db.EnsureOwner(t.Context(), "Blue Cafe", "a@example.org", "hash")
			must(t, err)
			must(t, db.Close())
			must(t, db.Close())
			db, err = store.Open(t.Context(), o)
			must(t, err)
			defer db.Close()
			again, err := db.EnsureOwner(t.Context(), "Blue Cafe", "a@example.org", "other")
			if err != nil || again != owner {
				t.Errorf("got %+v (%v), want %+v", again, err, owner)
			}
		})
	}
}

func TestFileIsForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir() // no file is there before: the store makes it
	key, err := secret.NewKey()
	must(t, err)
	db, err := store.Open(t.Context(), store.Options{URL: "sqlite://" + filepath.Join(dir, "cloud.db"), Key: key})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	files, err := os.ReadDir(dir)
	must(t, err)
	if len(files) < 2 {
		t.Errorf("got %d files, want the database and its log", len(files))
	}
	for _, f := range files {
		info, err := f.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, want 0600", f.Name(), info.Mode().Perm())
		}
	}
}

// Passwords of guests are nowhere readable in what a thief of the disk gets.
func TestPasswordsAreSealedAtRest(t *testing.T) {
	w := newWorld(t, "sqlite")
	_, _, err := w.db.CreateAccount(t.Context(), w.owner, hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.User, Username: "amal", Password: "veryverysecret", Plan: w.plan.ID})
	must(t, err)
	dir := filepath.Dir(strings.TrimPrefix(w.url, "sqlite://"))
	files, err := os.ReadDir(dir)
	must(t, err)
	found := false
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
		if strings.Contains(string(b), "veryverysecret") {
			t.Errorf("%s holds the password in clear", f.Name())
		}
		found = found || strings.Contains(string(b), "amal")
	}
	if !found {
		t.Error("the account was not found in any file either: this test looks in the wrong place")
	}
}

func TestChangeGivesUpWithItsCaller(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		if err := w.db.Lock(ctx, w.owner, id, ""); !errors.Is(err, context.Canceled) {
			w.Errorf("got %v, want cancelled", err)
		}
		if got := w.guest(id).Lock.State; got != hotspot.LockNone {
			w.Errorf("got %s, want unlocked", got)
		}
	})
}
