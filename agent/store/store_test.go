package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
)

// schemaOf lists what a database is made of.
func schemaOf(t *testing.T, db *sql.DB) (out []string) {
	t.Helper()
	rows, err := db.Query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.Join(strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ", ",", " , ").Replace(text)), " ")) // a column added later is written elsewhere
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMigrationsEndAtTheSchemaKeptWhole(t *testing.T) {
	s := newSite(t)
	whole, err := os.ReadFile("schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "whole.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(string(whole)); err != nil {
		t.Fatal(err)
	}
	got, want := schemaOf(t, s.read), schemaOf(t, db)
	if !slices.Equal(got, want) {
		t.Errorf("after all migrations the schema is\n%s\nwant that of schema.sql\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestANewerSchemaIsRefusedInWords(t *testing.T) {
	s := newSite(t)
	s.must(s.Close())
	db, err := sql.Open("sqlite", "file:"+s.o.Path)
	s.must(err)
	var version int
	s.must(db.QueryRow("PRAGMA user_version").Scan(&version))
	_, err = db.Exec("PRAGMA user_version = 1000")
	s.must(errors.Join(err, db.Close()))
	_, err = Open(t.Context(), s.o)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "schema 1000") {
		t.Errorf("got %v, want a refusal that names schema 1000", err)
	}
	db, err = sql.Open("sqlite", "file:"+s.o.Path)
	s.must(err)
	_, err = db.Exec(fmt.Sprint("PRAGMA user_version = ", version))
	s.must(errors.Join(err, db.Close()))
	s.open()
}

func TestAnotherProgramsFileIsLeftAlone(t *testing.T) {
	s := newSite(t)
	o := s.o
	for name, make := range map[string]func(path string) error{
		"another application's": func(path string) error {
			db, err := sql.Open("sqlite", "file:"+path)
			if err != nil {
				return err
			}
			_, err = db.Exec("PRAGMA application_id = 7; CREATE TABLE theirs (x)")
			return errors.Join(err, db.Close())
		},
		"not a database": func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("garbage ", 1000)), 0o600) },
	} {
		o.Path = filepath.Join(t.TempDir(), "other.db")
		if err := make(o.Path); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(o.Path)
		s.must(err)
		db, err := Open(t.Context(), o)
		if err == nil {
			t.Errorf("%s: opened", name)
			s.must(db.Close())
			continue
		}
		if k := fault.KindOf(err); k != fault.Invalid && k != fault.Damaged {
			t.Errorf("%s: got kind %v (%v), want invalid or damaged", name, k, err)
		}
		after, err := os.ReadFile(o.Path)
		s.must(err)
		if name == "not a database" && string(before) != string(after) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestTheFileIsForTheAgentAlone(t *testing.T) {
	s := newSite(t)
	s.start()
	for _, name := range []string{s.o.Path, s.o.Path + "-wal"} {
		st, err := os.Stat(name)
		s.must(err)
		if got := st.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(name), got)
		}
	}
}

func TestTheWriterIsDurableAndReadersCannotWrite(t *testing.T) {
	s := newSite(t)
	var mode string
	var sync int
	s.must(s.do(t.Context(), func(t *tx) error {
		if _, err := t.row("mode", "PRAGMA journal_mode", nil, &mode); err != nil {
			return err
		}
		_, err := t.row("sync", "PRAGMA synchronous", nil, &sync)
		return err
	}))
	if mode != "wal" || sync != 2 {
		t.Errorf("journal_mode %s, synchronous %d; want wal, 2 (FULL)", mode, sync)
	}
	if _, err := s.read.Exec("DELETE FROM mark"); err == nil {
		t.Error("a reader's connection can write")
	}
}

func TestOperationsWaitingTogetherShareOneCommit(t *testing.T) {
	s := newSite(t)
	gate, entered := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.do(context.Background(), func(*tx) error { close(entered); <-gate; return nil })
	}()
	<-entered
	var wg sync.WaitGroup
	var mu sync.Mutex
	batches := map[*tx]int{}
	const n = 50
	for range n {
		wg.Go(func() {
			err := s.do(context.Background(), func(t *tx) error {
				mu.Lock()
				batches[t]++
				mu.Unlock()
				return t.event("test", nil)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for len(s.ops) < n {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	wg.Wait()
	if len(batches) != 1 {
		t.Errorf("%d operations were committed in %d transactions, want 1", n, len(batches))
	}
	if got := len(s.events()); got != n {
		t.Errorf("%d events, want %d", got, n)
	}
}

func TestAnOperationThatFailsCostsOnlyItself(t *testing.T) {
	s := newSite(t)
	gate, entered := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.do(context.Background(), func(*tx) error { close(entered); <-gate; return nil })
	}()
	<-entered
	boom := errors.New("boom")
	var wg sync.WaitGroup
	run := func(want error, f func(*tx) error) {
		wg.Go(func() {
			if err := s.do(context.Background(), f); !errors.Is(err, want) && (want != nil || err != nil) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
	for range 5 {
		run(nil, func(t *tx) error { return t.event("good", nil) })
		run(boom, func(*tx) error { return boom })                                               // before it wrote
		run(boom, func(t *tx) error { return errors.Join(t.event("half", nil), boom) })          // after
		run(sql.ErrNoRows, func(t *tx) error { _ = t.event("half", nil); return sql.ErrNoRows }) // whatever it says
	}
	wg.Go(func() {
		err := s.do(context.Background(), func(t *tx) error {
			if err := t.event("half", nil); err != nil {
				return err
			}
			panic("a defect")
		})
		if !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "a defect") {
			t.Errorf("a panic answered %v", err)
		}
	})
	for len(s.ops) < 21 {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	wg.Wait()
	for _, k := range s.kinds() {
		if k != "good" {
			t.Errorf("an event of a failed operation stayed: %q", k)
		}
	}
	if got := len(s.events()); got != 5 {
		t.Errorf("%d events, want 5", got)
	}
}

func TestWhoGaveUpBeforeTheWriterCameChangesNothing(t *testing.T) {
	s := newSite(t)
	gate, entered := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.do(context.Background(), func(*tx) error { close(entered); <-gate; return nil })
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { failed <- s.do(ctx, func(t *tx) error { return t.event("late", nil) }) }()
	for len(s.ops) < 1 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	close(gate)
	if err := <-failed; !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v, want kind unavailable", err)
	}
	if got := s.events(); len(got) != 0 {
		t.Errorf("got events %v, want none", got)
	}
}

func TestNothingWrittenCommitsNothing(t *testing.T) {
	s := newSite(t)
	s.start()
	size := func() int64 {
		st, err := os.Stat(s.o.Path + "-wal")
		s.must(err)
		return st.Size()
	}
	before := size()
	for range 50 {
		if v := s.login("nobody", "x", phone); v.Accept {
			t.Fatal("let in")
		}
	}
	if after := size(); after != before {
		t.Errorf("50 refusals wrote %d octets to the log", after-before)
	}
}

func TestChangedTicksOncePerBurst(t *testing.T) {
	s := newSite(t)
	ticks, cancel := s.Changed()
	for range 3 {
		s.must(s.Started(t.Context(), "v", "b"))
	}
	select {
	case <-ticks:
	default:
		t.Fatal("no tick after an event")
	}
	select {
	case <-ticks:
		t.Error("a second tick for one burst")
	default:
	}
	cancel()
	s.must(s.Started(t.Context(), "v", "b"))
	select {
	case <-ticks:
		t.Error("a tick after cancel")
	default:
	}
}

func TestCloseAnswersEverybody(t *testing.T) {
	s := newSite(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for {
				err := s.Started(context.Background(), "v", "b")
				if err == nil {
					continue
				}
				if !fault.Is(err, fault.Unavailable) {
					t.Errorf("got %v, want kind unavailable", err)
				}
				return
			}
		})
	}
	time.Sleep(5 * time.Millisecond) // amid the writes
	db := s.DB
	s.must(db.Close())
	wg.Wait()
	s.open()
	s.events()
}
