package chaos

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"iwas/internal/demo"
	"iwas/internal/hotspot"
	"iwas/internal/radload"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

var accountsFlag = flag.Int("accounts", 10_000, "accounts of the large site, each with a pass")

// TestALargeSiteGetsItsSet: a site that lacks all its accounts gets them in a
// snapshot. Meanwhile messages are lost, the agent is killed in the middle of
// bringing it into force, accounting goes on, and locks end in proof.
func TestALargeSiteGetsItsSet(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := openCafes(t, seed(t), shape{sites: 1, ample: true})
	l := &large{cafes: c, cafe: c.cloud()}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var living sync.WaitGroup
	living.Go(func() {
		if err := c.report(ctx, 0); err != nil {
			t.Errorf("RADIUS load: %v", err)
		}
	})
	began := l.fill(*accountsFlag)

	c.relay.down.set(func(h *harm) { h.delay = 150 * time.Millisecond })
	l.await("a snapshot on its way", func(s standing) bool { return s.staged > 0 })
	l.lock(1)
	if s := l.look(); s.whole || s.revision >= l.revision {
		t.Errorf("the lock was enforced once the set was there (%+v), want it before", s)
	}
	for _, lane := range []*lane{&c.relay.up, &c.relay.down} {
		lane.set(func(h *harm) { *h = harm{drop: 0.05, twice: 0.05} })
	}
	held := l.await("all of it", func(s standing) bool { return s.whole })
	t.Logf("%d documents whole after %v", held.staged, time.Since(began).Round(time.Millisecond))
	l.usage("before the kill")
	middle := l.await("some of it in force", func(s standing) bool { return s.documents > held.documents+*accountsFlag/5 })
	if err := l.cafe.StopOne("agent", true); err != nil {
		t.Fatal(err)
	}
	if s := l.look(); !s.whole {
		t.Logf("it was done before it could be killed: %+v, %+v", middle, s)
	}
	if err := l.cafe.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.lock(2)
	c.relay.heal()
	l.inStep()
	t.Logf("in step after %v", time.Since(began).Round(time.Millisecond))
	l.usage("in step")

	// The whole again, for one document that differs.
	began = l.another()
	l.inStep()
	t.Logf("in step with another lineage after %v", time.Since(began).Round(time.Millisecond))
	stop()
	living.Wait()
	got := c.load[0]
	t.Logf("accounting and logins meanwhile: %d answered, %d lost, %d repeats, 99%% in %v, the slowest in %v", got.Answered, got.Lost, got.Resent, got.Quantile(0.99), got.Quantile(1))
	if got.Answered == 0 || got.Lost > 0 {
		t.Errorf("%d requests answered and %d not, want all", got.Answered, got.Lost)
	}
	c.settle(time.Minute)
	log, err := os.ReadFile(filepath.Join(l.cafe.Dir(), "agent.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range regexp.MustCompile(`(?m)^.*a snapshot is in force.*$`).FindAll(log, -1) {
		t.Logf("%s", line)
	}
}

// large is a cafe with more accounts than a delta can carry.
type large struct {
	*cafes
	cafe     *demo.Cafe
	revision int64 // of the set with them
}

// standing is where the agent is.
type standing struct {
	revision          int64
	whole             bool
	staged, documents int
}

func (l *large) look() (s standing) {
	l.Helper()
	db, err := openFile(l.agentFile(0))
	if err != nil {
		l.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(l.Context(), `SELECT revision, (SELECT whole FROM staging), (SELECT COUNT(*) FROM staged_document), (SELECT COUNT(*) FROM document) FROM mark`).
		Scan(&s.revision, &s.whole, &s.staged, &s.documents); err != nil {
		l.Fatal(err)
	}
	return s
}

func (l *large) await(what string, is func(standing) bool) standing {
	l.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) { // between two looks at a file
		s := l.look()
		if is(s) {
			return s
		}
		if time.Now().After(deadline) {
			l.Fatalf("never saw %s: %+v", what, s)
		}
	}
}

func (l *large) inStep() {
	l.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(50 * time.Millisecond) { // between two questions
		ctx, cancel := context.WithTimeout(l.Context(), 30*time.Second)
		in, err := l.cafe.InStep(ctx)
		cancel()
		if in && err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("never in step: %+v, %v", l.look(), err)
		}
	}
}

// lock locks an account in the console and waits until the site has proven it.
func (l *large) lock(n int) {
	l.Helper()
	began := time.Now()
	a := l.cafe.Accounts[n]
	if err := l.cafe.API(l.Context(), http.MethodPost, "/api/v1/accounts/"+a.ID+"/lock", map[string]string{"reason": "chaos"}, nil); err != nil {
		l.Fatal(err)
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) { // between two questions
		var acc struct{ Lock struct{ State string } }
		if err := l.cafe.API(l.Context(), http.MethodGet, "/api/v1/accounts/"+a.ID, nil, &acc); err != nil {
			l.Fatal(err)
		}
		if acc.Lock.State == string(hotspot.LockEnforced) {
			l.Logf("lock %d enforced after %v; the site at %+v", n, time.Since(began).Round(time.Millisecond), l.look())
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("lock %d is %q; the site at %+v", n, acc.Lock.State, l.look())
		}
	}
}

// change does something to the cloud's database while the cloud is away, and
// returns when it was back.
func (l *large) change(do func(*sql.Tx) error) (began time.Time) {
	l.Helper()
	if err := l.cafe.StopOne("cloud", false); err != nil {
		l.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+l.database)
	if err != nil {
		l.Fatal(err)
	}
	tx, err := db.BeginTx(l.Context(), nil)
	if err == nil {
		err = errors.Join(do(tx), tx.Commit())
	}
	if err := errors.Join(err, db.Close()); err != nil {
		l.Fatal(err)
	}
	began = time.Now()
	if err := l.cafe.StartCloud(l.Context()); err != nil {
		l.Fatal(err)
	}
	return began
}

// fill gives the site so many accounts, one revision each: half users, half
// vouchers, each with a pass.
func (l *large) fill(n int) time.Time {
	l.Helper()
	return l.change(func(tx *sql.Tx) error {
		var key, hash string
		if err := tx.QueryRowContext(l.Context(), `SELECT a.seal_key, s.rev, s.hash FROM agent a JOIN site s ON s.id = a.site WHERE a.site = ? AND a.confirmed_at > 0 AND a.retired_at = 0`, l.cafe.SiteID).
			Scan(&key, &l.revision, &hash); err != nil {
			return err
		}
		public, err := secret.ParsePublicKey(key)
		if err != nil {
			return err
		}
		sealed, err := public.Seal("a password")
		if err != nil {
			return err
		}
		set, err := wire.ParseSetHash(hash)
		if err != nil {
			return err
		}
		put, err := tx.PrepareContext(l.Context(), `INSERT INTO document (site, kind, id, rev, body, deleted) VALUES (?, ?, ?, ?, ?, 0)`)
		if err != nil {
			return err
		}
		for i := range n {
			l.revision++
			id := fmt.Sprintf("large%07d", i)
			account := fmt.Sprintf(`{"kind":"voucher","username":"LRGE%07d"}`, i)
			if i%2 == 0 {
				account = fmt.Sprintf(`{"kind":"user","username":"guest%07d","password":%q}`, i, sealed)
			}
			pass := fmt.Sprintf(`{"account":%q,"plan":"plan","plan_name":"2 hours","limits":{"time_s":7200,"clock":"metered","rate":"2M/10M","devices":2},"sold_at":"2026-11-24T08:30:00Z"}`, id)
			for kind, body := range map[wire.DocKind]string{wire.DocAccount: account, wire.DocPass: pass} {
				if _, err := put.ExecContext(l.Context(), l.cafe.SiteID, string(kind), id, l.revision, body); err != nil {
					return err
				}
				set.Add(wire.Doc{Kind: kind, ID: id, Body: []byte(body)})
			}
		}
		_, err = tx.ExecContext(l.Context(), `UPDATE site SET rev = ?, hash = ? WHERE id = ?`, l.revision, set.String(), l.cafe.SiteID)
		return err
	})
}

// another gives the cloud another lineage and one document that differs, as a
// restored backup would.
func (l *large) another() time.Time {
	l.Helper()
	return l.change(func(tx *sql.Tx) error {
		const id = "large0000001"
		var body, hash string
		if err := tx.QueryRowContext(l.Context(), `SELECT d.body, s.rev, s.hash FROM document d JOIN site s ON s.id = d.site WHERE d.site = ? AND d.kind = 'account' AND d.id = ?`, l.cafe.SiteID, id).
			Scan(&body, &l.revision, &hash); err != nil {
			return err
		}
		set, err := wire.ParseSetHash(hash)
		if err != nil {
			return err
		}
		set.Remove(wire.Doc{Kind: wire.DocAccount, ID: id, Body: []byte(body)})
		body = `{"kind":"voucher","username":"OTHER-1"}`
		set.Add(wire.Doc{Kind: wire.DocAccount, ID: id, Body: []byte(body)})
		l.revision++
		if _, err := tx.ExecContext(l.Context(), `UPDATE document SET body = ?, rev = ? WHERE site = ? AND kind = 'account' AND id = ?`, body, l.revision, l.cafe.SiteID, id); err != nil {
			return err
		}
		_, err = tx.ExecContext(l.Context(), `UPDATE site SET rev = ?, hash = ?, lineage = ? WHERE id = ?`, l.revision, set.String(), hotspot.NewID(time.Now()), l.cafe.SiteID)
		return err
	})
}

// usage logs what both programs took so far.
func (l *large) usage(when string) {
	for _, name := range []string{"agent", "cloud"} {
		if u, err := radload.ServerUsage(l.cafe.Pid(name)); err == nil {
			l.Logf("%s: %s took %v of CPU, %d MB at its peak", when, name, u.CPU, u.Peak>>20)
		}
	}
}
