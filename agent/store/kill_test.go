package store

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// killed names, in the environment, the store that a child process of the kill
// test writes to until it is killed.
const killed = "IWAS_TEST_STORE_TO_BE_KILLED"

func TestMain(m *testing.M) {
	if path := os.Getenv(killed); path != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(path))
		os.Exit(1)
	}
	if path := os.Getenv(commandsKilled); path != "" {
		if err := workUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv(copyingKilled); path != "" {
		fmt.Fprintln(os.Stderr, copyUntilKilled(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled opens the store and runs 16 guests who report for ever.
// Each acknowledged record is printed only after Account returned.
func writeUntilKilled(path string) error {
	key, err := secret.LoadKey(filepath.Join(filepath.Dir(path), "seal.key"))
	if err != nil {
		return err
	}
	db, err := Open(context.Background(), Options{Path: path, Key: key, Decide: judge, Off: off})
	if err != nil {
		return err
	}
	if h, err := db.Standing(context.Background()); err != nil {
		return err
	} else if h.Revision == 0 {
		if err := plainCafe(db); err != nil {
			return err
		}
	}
	failed := make(chan error)
	var out sync.Mutex
	for g := range 16 {
		go func() {
			failed <- guest(db, g, func(line string) {
				out.Lock()
				defer out.Unlock()
				fmt.Println(line) // one write: a line comes whole or, at the kill, cut
			})
		}()
	}
	return <-failed
}

// plainCafe gives the store 16 vouchers.
func plainCafe(db *DB) error {
	var h wire.SetHash
	s := wire.State{V: wire.Version, Lineage: "l1", Snapshot: "s1", Part: 1, Parts: 1, To: 1}
	for g := range 16 {
		for kind, body := range map[wire.DocKind]any{
			wire.DocAccount: wire.AccountDoc{Kind: hotspot.Voucher, Username: fmt.Sprint("V", g)},
			wire.DocPass:    wire.PassDoc{Account: hotspot.AccountID(fmt.Sprint("v", g))},
		} {
			b, err := json.Marshal(body)
			if err != nil {
				return err
			}
			d := wire.Doc{Kind: kind, ID: fmt.Sprint("v", g), Rev: 1, Body: b}
			h.Add(d)
			s.Docs = append(s.Docs, d)
		}
	}
	s.Hash = h.String()
	if _, err := db.ApplyState(context.Background(), s); err != nil {
		return err
	}
	_, err := db.BringState(context.Background())
	return err
}

// guest logs in, starts, reports twice, stops, and begins again. Lines are
// "PERMIT seconds octets".
func guest(db *DB, g int, acknowledged func(string)) error {
	ctx := context.Background()
	for {
		v, err := db.Authorize(ctx, hotspot.Request{NAS: nas, Username: fmt.Sprint("v", g), MAC: hotspot.MAC{2, 0, 0, 0, 0, byte(g)}})
		if err != nil || !v.Accept {
			return fmt.Errorf("login: %+v %w", v, err)
		}
		acknowledged(fmt.Sprintf("%s 0 0", v.Permit))
		for i, kind := range []hotspot.AccountingKind{hotspot.Start, hotspot.Interim, hotspot.Interim, hotspot.Stop} {
			a := hotspot.Accounting{Kind: kind, NAS: nas, AcctSessionID: "80000001", Class: v.Class, Username: "v", MAC: hotspot.MAC{2, 0, 0, 0, 0, byte(g)},
				SessionTime: time.Duration(i) * time.Second, Upload: hotspot.Octets(i * 10), TerminateCause: 1, At: time.Now()}
			if err := db.Account(ctx, a); err != nil {
				return err
			}
			acknowledged(fmt.Sprintf("%s %d %d", v.Permit, i+1, i*10))
		}
	}
}

// TestNothingAcknowledgedIsLostByKill kills a writing process at random moments
// and looks, each time, for every record it acknowledged: in the sessions, in
// the pass's totals and, exactly once, in the log.
func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.db")
	acked := map[hotspot.PermitID]int{} // newest record acknowledged, 0 is the Accept
	for round := range 10 {
		killOne(t, path, time.Duration(50+rand.IntN(250))*time.Millisecond, acked)
		checkAfterKill(t, round, path, acked)
	}
	t.Logf("10 kills, %d sessions acknowledged at least in part", len(acked))
}

// killOne runs the child for a while, kills it, and notes what it acknowledged.
func killOne(t *testing.T, path string, after time.Duration, acked map[hotspot.PermitID]int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killed+"="+path)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	n := 0
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // the pipe's end; a line cut by the kill was not read by anybody
		}
		if n++; n == 1 {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		var permit string
		var record, octets int
		if _, err := fmt.Sscanf(line, "%s %d %d", &permit, &record, &octets); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		acked[hotspot.PermitID(permit)] = record
	}
	_ = cmd.Wait() // killed
	if n == 0 {
		t.Fatalf("the child did nothing: %s", complaint.String())
	}
}

func checkAfterKill(t *testing.T, round int, path string, acked map[hotspot.PermitID]int) {
	t.Helper()
	key, err := secret.LoadKey(filepath.Join(filepath.Dir(path), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), Options{Path: path, Key: key, Decide: judge, Off: off})
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got, err := db.Check(t.Context()); got != "ok" || err != nil {
		t.Fatalf("round %d: the file is not sound: %s %v", round, got, err)
	}
	sessions, err := db.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byPermit := map[hotspot.PermitID]hotspot.Session{}
	var octets hotspot.Octets
	for _, s := range sessions {
		if _, twice := byPermit[s.Permit]; twice || s.Permit == "" {
			t.Fatalf("round %d: session of permit %q twice or of none", round, s.Permit)
		}
		byPermit[s.Permit] = s
		octets += s.Upload
	}
	log := logByPermit(t, db)
	for permit, record := range acked {
		s := byPermit[permit]
		if record > 0 && (s.ID == "" || s.Upload < hotspot.Octets((record-1)*10) || record == 4 && s.State != hotspot.Closed) {
			t.Errorf("round %d: record %d of %s was acknowledged, stored is %+v", round, record, permit, s)
		}
		if log[permit] < record {
			t.Errorf("round %d: %d records of %s acknowledged, %d events", round, record, permit, log[permit])
		}
	}
	for permit, n := range log {
		// Start, two interims, stop: one event each, none twice.
		if n > 4 {
			t.Errorf("round %d: %d events of %s, at most 4 happened", round, n, permit)
		}
	}
	var used hotspot.Octets
	err = db.query(t.Context(), "sum", "SELECT COALESCE(SUM(upload), 0) FROM usage", nil, func(scan func(...any) error) error { return scan(&used) })
	if err != nil || used != octets {
		t.Errorf("round %d: passes used %d octets, their sessions %d (%v)", round, used, octets, err)
	}
}

// logByPermit reads the whole log, checks its chain, and counts session events.
func logByPermit(t *testing.T, db *DB) map[hotspot.PermitID]int {
	t.Helper()
	b, err := db.Events(t.Context(), 0, 1<<30, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	h, err := db.Standing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b.Events)) != h.LastSeq {
		t.Errorf("%d events, last sequence %d", len(b.Events), h.LastSeq)
	}
	chain, ids, out := "", map[string]bool{}, map[hotspot.PermitID]int{}
	for _, e := range b.Events {
		if ids[e.ID] {
			t.Errorf("event id %s twice", e.ID)
		}
		ids[e.ID] = true
		chain = wire.NextChain(chain, e)
		var s wire.SessionBody
		if err := json.Unmarshal(e.Body, &s); err != nil {
			t.Fatal(err)
		}
		if s.Permit != "" {
			out[s.Permit]++
		}
	}
	next, err := db.Events(t.Context(), h.LastSeq, 1, 1)
	if err != nil || next.Chain != chain {
		t.Errorf("chain %s after the last event, want %s (%v)", next.Chain, chain, err)
	}
	return out
}
