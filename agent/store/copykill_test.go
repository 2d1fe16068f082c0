package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/secret"
)

// copyingKilled names, in the environment, the store that a child process copies
// again and again until it is killed.
const copyingKilled = "IWAS_TEST_STORE_TO_BE_KILLED_WHILE_COPIED"

// copyUntilKilled writes and copies, and prints a line for each copy.
func copyUntilKilled(path string) error {
	key, err := secret.LoadKey(filepath.Join(filepath.Dir(path), "seal.key"))
	if err != nil {
		return err
	}
	ctx := context.Background()
	db, err := Open(ctx, Options{Path: path, Copies: filepath.Join(filepath.Dir(path), "backup"), Key: key, Decide: judge, Off: off})
	if err != nil {
		return err
	}
	for {
		fmt.Println("copying")
		if _, err := db.Snapshot(ctx); err != nil {
			return err
		}
		for range 20 {
			if err := db.Started(ctx, strings.Repeat("v", 2000), "b"); err != nil {
				return err
			}
		}
	}
}

// TestAKillWhileCopyingLeavesGoodCopiesOnly: whatever is found under a copy's name
// is whole, the database is sound, and the next copy is taken.
func TestAKillWhileCopyingLeavesGoodCopiesOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.db")
	key, err := secret.LoadKey(filepath.Join(filepath.Dir(path), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), copyingKilled+"="+path)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 3 {
				time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait() // killed
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "backup", "part")); err == nil {
			cut++
		}
		copies, err := copiesIn(filepath.Join(filepath.Dir(path), "backup"))
		if err != nil || len(copies) == 0 || len(copies) > copiesKept+1 {
			t.Fatalf("round %d: %d copies, %v", round, len(copies), err)
		}
		for _, c := range copies {
			if err := Sound(t.Context(), c.path); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		db, err := Open(t.Context(), Options{Path: path, Copies: filepath.Join(filepath.Dir(path), "backup"), Key: key, Decide: judge, Off: off})
		if err != nil {
			t.Fatal(err)
		}
		name, err := db.Snapshot(t.Context())
		if err != nil || name == "" {
			t.Errorf("round %d: the next copy: %q, %v", round, name, err)
		}
		if _, now, _ := db.Restored(); now {
			t.Errorf("round %d: the database was put back", round)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "backup", "part")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("round %d: half a copy is left: %v", round, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("6 kills, %d of them in the middle of a copy", cut)
}
