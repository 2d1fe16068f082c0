package e2e

import (
	"database/sql"
	"net/url"
	"os/exec"
	"testing"

	_ "modernc.org/sqlite" // to read the agent's file after its death
)

// program finds a peer's program; its absence is a failure, never a skip.
func program(t testing.TB, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(candidate); err == nil {
			return p
		}
	}
	t.Fatalf("%s is missing: make peers installs it", name)
	return ""
}

// storedUsage reads what each account's passes used, from the table of a program
// that was killed.
func storedUsage(t *testing.T, file, table string) map[string]used {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT account, SUM(upload), SUM(download), SUM(time_ms) FROM " + table + " GROUP BY account")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]used{}
	for rows.Next() {
		var account string
		var u used
		var ms int64
		if err := rows.Scan(&account, &u.upload, &u.download, &ms); err != nil {
			t.Fatal(err)
		}
		if u.seconds = ms / 1000; ms%1000 != 0 {
			t.Errorf("%s: account %s used %d ms, records count whole seconds", table, account, ms)
		}
		out[account] = u
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// storedSessions reads the sessions of the load from the database of a program
// that was killed: agent and cloud name the columns alike.
func storedSessions(t *testing.T, file string) map[string][]session {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT acct_session_id, upload, state FROM session WHERE acct_session_id LIKE '9%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string][]session{}
	for rows.Next() {
		var s session
		var state string
		if err := rows.Scan(&s.id, &s.upload, &state); err != nil {
			t.Fatal(err)
		}
		s.closed = state == "closed"
		out[s.id] = append(out[s.id], s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	var check string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity: %q, %v", check, err)
	}
	return out
}
