package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iwas/cloud/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// TestABackupComesBackUnderANewLineage: what was there at the backup is there
// again, what came later is not, what was replaced is kept, and every site gets
// its set anew, since its revisions may be given twice.
func TestABackupComesBackUnderANewLineage(t *testing.T) {
	dir := t.TempDir()
	key, err := secret.NewKey()
	must(t, err)
	o := store.Options{URL: "sqlite://" + filepath.Join(dir, "iwas.db"), Key: key}
	db, err := store.Open(t.Context(), o)
	must(t, err)
	owner, err := db.EnsureOwner(t.Context(), "Blue Cafe", "owner@example.org", "hash")
	must(t, err)
	site, err := db.CreateSite(t.Context(), owner, hotspot.Site{Name: "Main St", Currency: "EGP"})
	must(t, err)
	file := filepath.Join(dir, "backup.db")
	must(t, db.Backup(t.Context(), file))
	if err := db.Backup(t.Context(), file); fault.Code(err) != "CLD-311" {
		t.Errorf("a second backup into the same file: got %v, want CLD-311", err)
	}
	later, err := db.CreateSite(t.Context(), owner, hotspot.Site{Name: "Second", Currency: "EGP"})
	must(t, err)
	before, revision, hash, err := db.Wanted(t.Context(), site.ID)
	must(t, err)

	if _, err := store.Restore(t.Context(), o, file); fault.Code(err) != "CLD-310" || !fault.Is(err, fault.Conflict) {
		t.Fatalf("restored under a running program: got %v, want a conflict, CLD-310", err)
	}
	if _, err := db.Site(t.Context(), owner.Organization, later.ID); err != nil {
		t.Errorf("a restore that was refused touched the database: %v", err)
	}
	must(t, db.Close())

	junk := filepath.Join(dir, "junk.db")
	must(t, os.WriteFile(junk, []byte(strings.Repeat("not a database ", 1000)), 0o600))
	half, err := os.ReadFile(file)
	must(t, err)
	torn := filepath.Join(dir, "torn.db")
	must(t, os.WriteFile(torn, half[:len(half)/2], 0o600))
	for _, bad := range []string{junk, torn, filepath.Join(dir, "nothing.db")} {
		if _, err := store.Restore(t.Context(), o, bad); fault.Code(err) != "CLD-310" {
			t.Errorf("restore from %s: got %v, want CLD-310", filepath.Base(bad), err)
		}
	}

	aside, err := store.Restore(t.Context(), o, file)
	must(t, err)
	db, err = store.Open(t.Context(), o)
	must(t, err)
	lineage, r, h, err := db.Wanted(t.Context(), site.ID)
	must(t, err)
	if lineage == before || r != revision || h != hash {
		t.Errorf("got lineage %s, revision %d, hash %s; want another lineage than %s, %d, %s", lineage, r, h, before, revision, hash)
	}
	if _, err := db.Site(t.Context(), owner.Organization, later.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v for a site made after the backup, want it unknown", err)
	}
	must(t, db.Close())
	old, err := store.Open(t.Context(), store.Options{URL: "sqlite://" + aside, Key: key})
	must(t, err)
	if _, err := old.Site(t.Context(), owner.Organization, later.ID); err != nil {
		t.Errorf("the database set aside lacks what it held: %v", err)
	}
	must(t, old.Close())
}
