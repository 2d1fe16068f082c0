package store

import (
	"context"
	"testing"
	"time"
)

// TestADiskThatIsFullIsKnown: SQLite may take no page more. That is known after
// the first write that fails, and gone after the first that does not.
func TestADiskThatIsFullIsKnown(t *testing.T) {
	db := newSite(t).DB
	limit := func(pages string) {
		t.Helper()
		if err := db.do(t.Context(), func(x *tx) error {
			var n int64
			_, err := x.row("set the size", "PRAGMA max_page_count = "+pages, nil, &n)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	fill := func() error {
		return db.do(context.Background(), func(x *tx) error {
			_, err := x.exec("fill", "INSERT INTO list_name (name, used_at) VALUES (?, 0)", string(make([]byte, 200_000)))
			return err
		})
	}
	if _, err := db.WriteTrouble(); err != nil {
		t.Fatalf("before: %v", err)
	}
	limit("1") // it cannot shrink: no page may be added
	if fill() == nil {
		t.Fatal("a full disk took it")
	}
	since, err := db.WriteTrouble()
	if err == nil || since.IsZero() {
		t.Fatal("a write that failed for want of room is not known")
	}
	limit("1000000")
	if err := db.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.WriteTrouble(); err != nil {
		t.Errorf("the sweeper wrote, and yet: %v", err)
	}
}

// TestAnIdleStoreIsTriedNow: where nothing was written for long the sweeper does,
// and no more often.
func TestAnIdleStoreIsTriedNow(t *testing.T) {
	db := newSite(t).DB
	at := func() (w time.Time) {
		t.Helper()
		if err := db.do(t.Context(), func(x *tx) error { w = x.db.w.wroteAt; return nil }); err != nil {
			t.Fatal(err)
		}
		return w
	}
	set := func(ago time.Duration) {
		t.Helper()
		if err := db.do(t.Context(), func(x *tx) error { x.db.w.wroteAt = time.Now().Add(-ago); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func() {
		t.Helper()
		if err := db.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sweep() // housekeeping of a start
	set(time.Minute)
	before := at()
	sweep()
	if !at().Equal(before) {
		t.Error("the sweeper writes though a commit did a minute ago")
	}
	set(writeSeen)
	before = at()
	sweep()
	if !at().After(before) {
		t.Error("ten minutes without a write, and the sweeper tries none")
	}
}
