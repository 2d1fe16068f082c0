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
