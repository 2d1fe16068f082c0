// Command fill prepares and reads an agent's store for `make bench`, while the
// agent does not run: through the store's own API, as the agent would.
//
//	fill accounts STATE_DIR N   makes N users, each with a pass under every kind of limit
//	fill events STATE_DIR N NAME…  has guests of these names report until N events wait
//	fill sessions STATE_DIR     prints every session kept, one JSON object a line
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"iwas/agent/store"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) < 2 {
		return errors.New("usage: fill accounts STATE_DIR N | fill events STATE_DIR N NAME… | fill sessions STATE_DIR")
	}
	identity := filepath.Join(args[1], "identity")
	if err := os.MkdirAll(identity, 0o700); err != nil {
		return err
	}
	key, err := secret.LoadKey(filepath.Join(identity, "seal.key"))
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Options{Path: filepath.Join(args[1], "iwas.db"), Key: key,
		Decide: func(f hotspot.Facts, r hotspot.Request) hotspot.Verdict { // everybody may
			if f.Account == nil || f.Pass == nil {
				return hotspot.Verdict{}
			}
			return hotspot.Verdict{Accept: true, Account: f.Account.ID, Pass: f.Pass.ID}
		},
		Off: func(*hotspot.Pass, *hotspot.Lock, time.Time) hotspot.OffReason { return "" }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	n := 0
	if len(args) > 2 {
		if n, err = strconv.Atoi(args[2]); err != nil {
			return err
		}
	}
	switch {
	case args[0] == "accounts" && n > 0:
		return accounts(ctx, db, key.Public(), n)
	case args[0] == "events" && n > 0:
		return events(ctx, db, n, args[3:])
	case args[0] == "sessions":
		return sessions(ctx, db)
	}
	return fmt.Errorf("%q is not one of its commands", args[0])
}

// Every account has a password of its own, so that no cache of opened passwords
// holds more of them than it would in a cafe. Sealing is slow: beyond this many
// accounts, passwords come again.
const passwords = 100_000

// partSize is how many accounts travel in one part of the snapshot.
const partSize = 2000

// accounts gives the store users u0000000 and so on, with passwords p0000000 and
// so on, as one snapshot of the cloud's.
func accounts(ctx context.Context, db *store.DB, to secret.PublicKey, n int) error {
	sealed := make([]string, min(n, passwords))
	if err := each(len(sealed), func(i int) (err error) {
		sealed[i], err = to.Seal(fmt.Sprintf("p%07d", i))
		return err
	}); err != nil {
		return err
	}
	limits := wire.LimitsBody{TimeS: 30 * 24 * 3600, Clock: hotspot.Metered, ValidityS: 90 * 24 * 3600, Rate: "2M/10M", Total: 1 << 50, Devices: 2, IdleS: 900}
	now := time.Now().UTC()
	parts := make([]wire.State, (n+partSize-1)/partSize)
	if err := each(len(parts), func(p int) error {
		parts[p] = wire.State{V: wire.Version, Lineage: "bench", Snapshot: "bench", Part: p + 1, Parts: len(parts), To: 1}
		for i := p * partSize; i < min(n, (p+1)*partSize); i++ {
			id := fmt.Sprintf("a%07d", i)
			for kind, body := range map[wire.DocKind]any{
				wire.DocAccount: wire.AccountDoc{Kind: hotspot.User, Username: fmt.Sprintf("u%07d", i), Password: sealed[i%len(sealed)]},
				wire.DocPass:    wire.PassDoc{Account: hotspot.AccountID(id), Plan: "plan", PlanName: "A month", Limits: limits, SoldAt: now},
			} {
				b, err := json.Marshal(body)
				if err != nil {
					return err
				}
				parts[p].Docs = append(parts[p].Docs, wire.Doc{Kind: kind, ID: id, Rev: 1, Body: b})
			}
		}
		return nil
	}); err != nil {
		return err
	}
	var h wire.SetHash
	for _, p := range parts {
		for _, d := range p.Docs {
			h.Add(d)
		}
	}
	for p := range parts {
		parts[p].Hash = h.String()
		if _, err := db.ApplyState(ctx, parts[p]); err != nil {
			return err
		}
	}
	_, err := db.BringState(ctx)
	return err
}

// each calls do for 0 to n-1 from a few goroutines.
func each(n int, do func(i int) error) error {
	var mu sync.Mutex // guards next and failed
	next, failed := 0, error(nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := failed != nil
				mu.Unlock()
				if i >= n || stop {
					return
				}
				if err := do(i); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failed
}

// guests is how many report at once, as many as share a commit well.
const guests = 256

// events has guests log in and report, each a minute of their stay at a time,
// until n events wait, or a few more.
func events(ctx context.Context, db *store.DB, n int, names []string) error {
	if len(names) == 0 {
		return errors.New("there are no accounts to report for")
	}
	var wg sync.WaitGroup
	failed := make([]error, guests)
	for g := range guests {
		wg.Go(func() {
			mac, _ := hotspot.ParseMAC(fmt.Sprintf("02:00:00:01:%02X:%02X", g>>8, g&255))
			failed[g] = stay(ctx, db, names[g%len(names)], mac, (n+guests-1)/guests)
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// stay is one guest's session of so many reports.
func stay(ctx context.Context, db *store.DB, name string, mac hotspot.MAC, reports int) error {
	id := hotspot.AcctSessionID("8" + mac.String()[9:])
	began := time.Now().Add(-time.Duration(reports) * time.Second)
	v, err := db.Authorize(ctx, hotspot.Request{NAS: "router", Username: name, MAC: mac, AcctSessionID: id, At: time.Now()})
	if err != nil || !v.Accept {
		return fmt.Errorf("login of %s: %v %w", name, v.Reason, err)
	}
	for i := range reports {
		a := hotspot.Accounting{Kind: hotspot.Interim, NAS: "router", AcctSessionID: id, Class: v.Class, Username: name, MAC: mac,
			SessionTime: time.Duration(i) * time.Second, Upload: hotspot.Octets(i * 10_007), Download: hotspot.Octets(i * 100_003), EventAt: began.Add(time.Duration(i) * time.Second), At: time.Now()}
		if i == 0 {
			a.Kind = hotspot.Start
		}
		if err := db.Account(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// stored is what the bench compares with what was acknowledged.
type stored struct {
	AcctSessionID hotspot.AcctSessionID `json:"acct_session_id"`
	Closed        bool                  `json:"closed"`
	Seconds       int64                 `json:"seconds"`
	Upload        uint64                `json:"upload"`
	Download      uint64                `json:"download"`
}

func sessions(ctx context.Context, db *store.DB) error {
	switch result, err := db.Check(ctx); {
	case err != nil:
		return err
	case result != "ok":
		return fmt.Errorf("the file is not sound: %s", result)
	}
	list, err := db.Sessions(ctx)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(os.Stdout)
	enc := json.NewEncoder(w)
	for _, s := range list {
		if err := enc.Encode(stored{s.AcctSessionID, s.State == hotspot.Closed, int64(s.Time / time.Second), uint64(s.Upload), uint64(s.Download)}); err != nil {
			return err
		}
	}
	return w.Flush()
}
