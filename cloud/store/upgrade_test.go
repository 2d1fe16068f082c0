package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"iwas/cloud/store"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// TestADatabaseOfBeforeIsCarriedOver: one as the release before made it, with a
// lock proven, one pending, and a session of a site whose clock is a minute
// ahead. What was known then is neither lost nor made fresher.
func TestADatabaseOfBeforeIsCarriedOver(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			driver, dialect, dsn := "pgx", goose.DialectPostgres, ""
			url := "sqlite://" + filepath.Join(t.TempDir(), "cloud.db")
			if engine == "postgres" {
				url = postgresURL(t)
				dsn = url
			} else {
				driver, dialect, dsn = "sqlite", goose.DialectSQLite3, url[len("sqlite://"):]
			}
			before(t, engine, driver, dsn, dialect)
			key, err := secret.NewKey()
			must(t, err)
			db, err := store.Open(t.Context(), store.Options{URL: url, Key: key})
			must(t, err)
			defer func() { must(t, db.Close()) }()
			for account, want := range map[hotspot.AccountID]hotspot.LockState{"off": hotspot.LockEnforced, "open": hotspot.LockWaiting} {
				g, err := db.Guest(t.Context(), "org", account)
				must(t, err)
				if g.Lock.State != want || g.Lock.Reopened != nil {
					t.Errorf("%s: got %s, reopened %+v; want %s", account, g.Lock.State, g.Lock.Reopened, want)
				}
			}
			g, err := db.Guest(t.Context(), "org", "off")
			must(t, err)
			if at := int64(1_000_000); len(g.Sessions) != 1 || g.Sessions[0].AsOf.UnixMilli() != at || g.UsageAsOf.UnixMilli() != at {
				t.Errorf("got usage as of %v and sessions %+v, want both as of %d", g.UsageAsOf, g.Sessions, at)
			}
			// What was proven before can open again, by the clock: no number is known.
			p := wire.LockProof{Account: "off", Revision: 1, Outcome: hotspot.OutcomePending, At: g.Sessions[0].HeardAt.Add(1), Seq: 7}
			_, err = db.ApplyProofs(t.Context(), "agentone", "e1", []wire.LockProof{p})
			must(t, err)
			if g, err = db.Guest(t.Context(), "org", "off"); err != nil || g.Lock.Reopened == nil || g.Lock.Reopened.Was != hotspot.LockEnforced || g.Lock.Reopened.WasAt.UnixMilli() != 900_000 {
				t.Errorf("got %+v (%v), want a lock that was enforced at 900000", g.Lock.Reopened, err)
			}
		})
	}
}

// before makes a database of the schema of 2026-11-27, with a little in it.
func before(t *testing.T, engine, driver, dsn string, dialect goose.Dialect) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	must(t, err)
	defer db.Close()
	p, err := goose.NewProvider(dialect, db, os.DirFS("migrations/"+engine), goose.WithDisableGlobalRegistry(true))
	must(t, err)
	_, err = p.UpTo(t.Context(), 2)
	must(t, err)
	for _, q := range []string{
		`INSERT INTO organization VALUES ('org', 'Blue Cafe', 1)`,
		`INSERT INTO site VALUES ('site', 'org', 'Main', 'UTC', 'EUR', 'en', 'l1', 2, '', 1)`,
		`INSERT INTO agent VALUES ('agentone', 'site', 'box', '1.0', '1', '', '', '', 0, 1, 1, '', 0)`,
		`INSERT INTO site_status VALUES ('site', 'agentone', 'lost', '', 'b1', 1, 1, '1.0', 'l1', 2, '', 'e1', 5, 0, 60000, '[]')`,
		`INSERT INTO account VALUES ('site', 'off', 'user', 'off', 'off', '', '', '', 1), ('site', 'open', 'user', 'open', 'open', '', '', '', 1)`,
		`INSERT INTO account_lock VALUES ('site', 'x', 'off', 1, 'a', '', 1, 2, 3, 900000, 'enforced', '{}', 0, '', ''),
			('site', 'y', 'open', 2, 'a', '', 1, 2, 3, 900000, 'pending', '{}', 0, '', '')`,
		`INSERT INTO pass VALUES ('site', 'p1', 'off', 'plan', 'Hour', '{}', 0, 0, 1)`,
		`INSERT INTO pass_usage VALUES ('site', 'p1', 'off', 1, 60000, 1, 1)`,
		`INSERT INTO session (site, id, permit, account, pass, nas, acct_session_id, username, mac, ip, state, started_at, heard_at, ended_at, time_ms, upload, download, cause)
			VALUES ('site', 's1', '', 'off', 'p1', 'r1', '1', 'off', '', '', 'live', 1000000, 1060000, 0, 60000, 1, 1, '')`,
	} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}
