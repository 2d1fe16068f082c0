package main

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"iwas/cloud/console"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// front is the console over a real store and fleet, and somebody who asks it.
type front struct {
	*bench
	handler http.Handler
}

const (
	frontToken   = "iwas_token"
	frontSession = "session"
)

func newFront(t *testing.T) front {
	b := newBench(t, 1)
	t.Cleanup(func() { b.must(b.db.Close()) })
	hash := func(s string) []byte { sum := sha256.Sum256([]byte(s)); return sum[:] }
	b.must(b.db.CreateToken(t.Context(), b.owner, hash(frontToken), "test"))
	b.must(b.db.CreateOperatorSession(t.Context(), b.owner.ID, hash(frontSession), time.Now().Add(time.Hour)))
	s := &console.Server{Store: b.db, Fleet: b.fleet, PublicURL: "http://console.example"}
	return front{b, s.Handler()}
}

func (f front) get(path string) string {
	f.Helper()
	r := httptest.NewRequestWithContext(f.Context(), http.MethodGet, path, nil)
	r.Header.Set("Cookie", "iwas_session="+frontSession)
	if strings.HasPrefix(path, "/api/") {
		r.Header.Set("Authorization", "Bearer "+frontToken)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		f.Fatalf("%s: got %d\n%s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// api decodes the answer of the API at the path.
func (f front) api(path string) (out map[string]any) {
	f.Helper()
	f.must(json.Unmarshal([]byte(f.get(path)), &out))
	return out
}

// lockedGuest returns a guest, locked, and the revision of the lock.
func (f front) lockedGuest() (hotspot.AccountID, int64) {
	f.Helper()
	g, _, err := f.fleet.CreateAccount(f.Context(), f.owner, hotspot.NewAccount{Site: f.site.ID, Kind: hotspot.User, Username: "amal", Plan: f.plan.ID})
	f.must(err)
	g, err = f.fleet.Lock(f.Context(), f.owner, g.Account.ID, "loud")
	f.must(err)
	return g.Account.ID, g.Lock.Lock.Revision
}

// TestTheConsoleCountsTheLocksNotProven: the figure is the store's, on the page
// and in the API, until the site has proven the lock.
func TestTheConsoleCountsTheLocksNotProven(t *testing.T) {
	f := newFront(t)
	account, revision := f.lockedGuest()
	for _, step := range []struct {
		does string
		do   func()
		want float64
	}{
		{"the lock is asked for", func() {}, 1},
		{"the site has proven it", func() {
			_, err := f.db.ApplyProofs(t.Context(), f.box.agent, []wire.LockProof{{Account: account, Revision: revision, Reason: hotspot.OffLocked,
				Outcome: hotspot.OutcomeEnforced, At: time.Now()}})
			f.must(err)
		}, 0},
	} {
		step.do()
		if got := f.api("/api/v1/sites/" + string(f.site.ID))["locks_open"]; got != step.want {
			t.Errorf("%s: locks_open is %v, want %v", step.does, got, step.want)
		}
		text := map[float64]string{1: "<b>1</b> <span>on the way or waiting</span>", 0: "<b>0</b> <span>none waits</span>"}[step.want]
		if !strings.Contains(f.get("/sites/"+string(f.site.ID)), text) {
			t.Errorf("%s: the site's page does not show %q", step.does, text)
		}
	}
}
