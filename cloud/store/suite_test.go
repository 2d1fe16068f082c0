package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"iwas/cloud/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// world is one store with an organization, a site, a plan and a confirmed
// agent, and a clock that only the test moves.
type world struct {
	testing.TB
	url   string
	db    *store.DB
	owner hotspot.Operator
	site  hotspot.Site
	plan  hotspot.Plan
	agent hotspot.AgentID
	key   *secret.Key // the agent's sealing key

	guests   *secret.Key // opens the guests' passwords
	remember int64       // Options.Tombstones

	mu     sync.Mutex
	clock  time.Time
	mine   []committedState // what OnCommit announced
	tokens int
}

type committedState struct {
	site  hotspot.SiteID
	agent hotspot.AgentID
	state wire.State
}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, f func(w *world)) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) { f(newWorld(t, engine)) })
	}
}

// Migrations run once for all worlds of an engine, not once for each, which was
// half the time of these tests: a world's file is a copy of this one, and its
// PostgreSQL database one that the worlds before it have used and emptied.
var (
	migratedFile = sync.OnceValues(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "iwasdb")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "cloud.db")
		if err := migrate("sqlite://" + path); err != nil {
			return nil, err
		}
		return os.ReadFile(path)
	})
	emptied = make(chan string, 20) // their URLs
)

func migrate(url string) error {
	key, err := secret.NewKey()
	if err != nil {
		return err
	}
	db, err := store.Open(context.Background(), store.Options{URL: url, Key: key})
	if err != nil {
		return err
	}
	return db.Close()
}

// migrated returns a database of the engine with today's schema and no rows.
func migrated(t testing.TB, engine string) (url string) {
	t.Helper()
	if engine == "postgres" {
		select {
		case url = <-emptied:
		default:
			url = postgresURL(t)
			must(t, migrate(url))
		}
		t.Cleanup(func() {
			must(t, empty(url))
			select {
			case emptied <- url:
			default: // enough of them
			}
		})
		return url
	}
	file, err := migratedFile()
	must(t, err)
	path := filepath.Join(t.TempDir(), "cloud.db")
	must(t, os.WriteFile(path, file, 0o600))
	return "sqlite://" + path
}

// empty takes the rows out of every table but the migrations' own.
func empty(url string) error {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer db.Close()
	var deletes string
	if err := db.QueryRow("SELECT string_agg('DELETE FROM ' || quote_ident(tablename), '; ') FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%'").Scan(&deletes); err != nil {
		return err
	}
	// Without the foreign keys' triggers, and not TRUNCATE, which makes all files anew.
	_, err = db.Exec("SET session_replication_role = replica; " + deletes)
	return err
}

func newWorld(t testing.TB, engine string) *world {
	t.Helper()
	key, err := secret.NewKey()
	must(t, err)
	w := &world{TB: t, url: migrated(t, engine), clock: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), guests: key}
	w.open()
	t.Cleanup(func() { must(t, w.db.Close()) })
	w.db.OnCommit(func(site hotspot.SiteID, agent hotspot.AgentID, s wire.State) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mine = append(w.mine, committedState{site, agent, s})
	})
	w.populate("Owner@Example.org")
	return w
}

func (w *world) open() {
	w.Helper()
	var err error
	w.db, err = store.Open(w.Context(), store.Options{URL: w.url, Key: w.guests, Now: w.now, Tombstones: w.remember})
	must(w.TB, err)
}

// reopen closes the store and opens it again, as a restart does.
func (w *world) reopen() {
	w.Helper()
	must(w.TB, w.db.Close())
	w.open()
}

// populate makes an organization of its own, as if the store were empty.
func (w *world) populate(email string) {
	t := w.TB
	t.Helper()
	var err error
	w.owner, err = w.db.EnsureOwner(t.Context(), "Blue Cafe", email, "hash")
	must(t, err)
	w.plan, err = w.db.CreatePlan(t.Context(), w.owner, hotspot.Plan{Name: "1 hour", Price: hotspot.Money{Minor: 500, Currency: "EGP"},
		Limits: hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered, Validity: 24 * time.Hour, Devices: 2}})
	must(t, err)
	w.site = w.newSite("Main St")
	w.agent, w.key = w.enrol(w.site.ID, w.owner)
	_, _, err = w.db.ConfirmAgent(t.Context(), w.owner, w.agent)
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// last returns the newest announced change.
func (w *world) last() committedState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mine[len(w.mine)-1]
}

func (w *world) newSite(name string) hotspot.Site {
	w.Helper()
	s, err := w.db.CreateSite(w.Context(), w.owner, hotspot.Site{Name: name, TimeZone: "Africa/Cairo", Currency: "EGP", Language: "ar"})
	must(w.TB, err)
	return s
}

// enrol spends a code the way the fleet does.
func (w *world) enrol(site hotspot.SiteID, actor hotspot.Operator) (hotspot.AgentID, *secret.Key) {
	w.Helper()
	key, err := secret.NewKey()
	must(w.TB, err)
	w.tokens++
	hash := []byte(hotspot.NewID(w.now()))
	must(w.TB, w.db.AddEnrolmentCode(w.Context(), actor, site, hash, w.now().Add(time.Hour)))
	id := hotspot.NewID(w.now())
	reply, err := w.db.Enrol(w.Context(), hash, enrolRequest(fmt.Sprintf("request-%d", w.tokens), key), issuer(w.TB, id))
	must(w.TB, err)
	if reply.Agent != id {
		w.Fatalf("got agent %q, want %q", reply.Agent, id)
	}
	return hotspot.AgentID(id), key
}

func enrolRequest(request string, key *secret.Key) wire.EnrolRequest {
	return wire.EnrolRequest{V: 1, Request: request, CSR: "csr of " + request, SealKey: key.Public().String(), Host: "minipc", Version: "1.0"}
}

func (w *world) user(name string) hotspot.AccountID {
	w.Helper()
	id, _, err := w.db.CreateAccount(w.Context(), w.owner, hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.User, Username: name, Password: "geheim", Plan: w.plan.ID})
	must(w.TB, err)
	return id
}

func (w *world) guest(id hotspot.AccountID) hotspot.Guest {
	w.Helper()
	g, err := w.db.Guest(w.Context(), w.owner.Organization, id)
	must(w.TB, err)
	return g
}

// hello says that the site holds the newest revision.
func (w *world) hello(change func(*wire.Hello)) wire.Hello {
	w.Helper()
	lineage, rev, hash, err := w.db.Wanted(w.Context(), w.site.ID)
	must(w.TB, err)
	h := wire.Hello{V: 1, Version: "1.2", Boot: "boot1", Epoch: "epoch1", Lineage: lineage, Revision: rev, Hash: hash, At: w.now()}
	if change != nil {
		change(&h)
	}
	must(w.TB, w.db.RecordHello(w.Context(), w.agent, h, w.now()))
	return h
}

// siteLog is a site's event log: it numbers events and keeps the chain.
type siteLog struct {
	epoch  string
	events []wire.Event
}

func (l *siteLog) add(kind wire.EventKind, at time.Time, body any) wire.Event {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // bodies of tests can be encoded
	}
	e := wire.Event{ID: hotspot.NewID(at), Kind: kind, At: at, Body: b}
	l.events = append(l.events, e)
	return e
}

// batch returns events first to last, both counted from 1.
func (l *siteLog) batch(first, last int) wire.Batch {
	chain := ""
	for _, e := range l.events[:first-1] {
		chain = wire.NextChain(chain, e)
	}
	return wire.Batch{V: 1, Epoch: l.epoch, First: int64(first), Chain: chain, Events: l.events[first-1 : last]}
}

func (l *siteLog) chain() string {
	chain := ""
	for _, e := range l.events {
		chain = wire.NextChain(chain, e)
	}
	return chain
}

func (w *world) ingest(b wire.Batch) wire.Ack {
	w.Helper()
	ack, err := w.db.Ingest(w.Context(), w.agent, b)
	must(w.TB, err)
	return ack
}

// all ingests everything the log has and checks that it was taken.
func (w *world) all(l *siteLog) {
	w.Helper()
	if ack := w.ingest(l.batch(1, len(l.events))); ack.Through != int64(len(l.events)) || ack.Fork {
		w.Fatalf("got %+v, want all %d events acknowledged", ack, len(l.events))
	}
}

func wantKind(t testing.TB, err error, want fault.Kind) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Fatalf("got %v (%v), want kind %v", err, fault.KindOf(err), want)
	}
}

func wantCode(t testing.TB, err error, want string) {
	t.Helper()
	if fault.Code(err) != want {
		t.Fatalf("got %v with code %q, want %q", err, fault.Code(err), want)
	}
}

func decode(t testing.TB, body []byte, v any) {
	t.Helper()
	must(t, json.Unmarshal(body, v))
}
