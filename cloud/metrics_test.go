package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/cloud/ingest"
	"iwas/cloud/store"
	"iwas/internal/hotspot"
	"iwas/internal/metrics"
	"iwas/internal/metrics/metricstest"
	"iwas/internal/mqttlink"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// TestReadyNamesWhatIsMissing: first the broker, then the database.
func TestReadyNamesWhatIsMissing(t *testing.T) {
	c := cloudWithout(t)
	ask := func() (int, string) {
		t.Helper()
		w := httptest.NewRecorder()
		c.ready(w, httptest.NewRequest("GET", "/readyz", nil))
		return w.Code, w.Body.String()
	}
	if code, body := ask(); code != 503 || body != "not ready: the broker does not answer yet (CLD-101)\n" {
		t.Errorf("without a broker: got %d %q", code, body)
	}
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	if code, body := ask(); code != 503 || body != "not ready: the database does not answer (DB-105)\n" {
		t.Errorf("without a database: got %d %q", code, body)
	}
	w := httptest.NewRecorder()
	alive(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("it lives, and says %d %q", w.Code, w.Body)
	}
}

// cloudWithout is a database with an owner and a site, and a broker that cannot be
// reached.
func cloudWithout(t *testing.T) *cloud {
	t.Helper()
	key, err := secret.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{log: slog.New(slog.DiscardHandler), meter: &meter{}, ingest: &ingest.Handler{}}
	if c.db, err = store.Open(t.Context(), store.Options{URL: "sqlite://" + filepath.Join(t.TempDir(), "cloud.db"), Key: key}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.db.Close() }) // the test may have closed it
	c.link, err = mqttlink.New(mqttlink.Options{ClientID: "cloud", Dial: func(context.Context) (net.Conn, error) { return nil, errors.New("nobody there") }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTheCloudsMetricsAreWhatHappened: sites by state, a lock that waits and then
// is proven, told twice and counted once.
func TestTheCloudsMetricsAreWhatHappened(t *testing.T) {
	b := newBench(t, 1)
	c := &cloud{log: slog.New(slog.DiscardHandler), db: b.db, ingest: b.ingest, meter: &meter{}, link: cloudWithout(t).link}
	srv := httptest.NewServer(metrics.Guard(metrics.New("iwas_cloud", c.tellMetrics), ""))
	defer srv.Close()
	want := func(want map[string]float64) {
		t.Helper()
		got := metricstest.Get(t, srv.URL)
		for name, n := range want {
			if v, there := got[name]; !there || v != n {
				t.Errorf("%s: got %v (there: %v), want %v", name, v, there, n)
			}
		}
		for name := range got {
			if strings.Contains(name, string(b.site.ID)) || strings.Contains(name, string(b.box.agent)) {
				t.Errorf("%s names a site", name)
			}
		}
	}
	g, _, err := b.fleet.CreateAccount(t.Context(), b.owner, hotspot.NewAccount{Site: b.site.ID, Kind: hotspot.User, Username: "amal", Plan: b.plan.ID})
	if err != nil {
		t.Fatal(err)
	}
	g, err = b.fleet.Lock(t.Context(), b.owner, g.Account.ID, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.db.RecordHello(t.Context(), b.box.agent, wire.Hello{V: 1, Boot: "b", Epoch: "e"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	want(map[string]float64{`iwas_cloud_sites{state="online"}`: 1, `iwas_cloud_sites{state="lost"}`: 0, `iwas_cloud_commands_pending{site_state="online"}`: 1,
		`iwas_cloud_ingest_total{result="stored"}`: 0, `iwas_cloud_command_duration_seconds_count{stage="enforced"}`: 0, "iwas_cloud_database_up": 1, "iwas_cloud_broker_connected": 0})
	s := meteredStore{b.db, c.meter}
	p := wire.LockProof{Account: g.Account.ID, Revision: g.Lock.Lock.Revision, Outcome: hotspot.OutcomePending, At: time.Now(), Seq: 1}
	for seq, o := range []hotspot.Outcome{hotspot.OutcomePending, hotspot.OutcomeEnforced, hotspot.OutcomeEnforced} {
		p.Outcome, p.Seq = o, int64(min(seq, 1)+1)
		if _, err := s.ApplyProofs(t.Context(), b.box.agent, "e", []wire.LockProof{p}); err != nil {
			t.Fatal(err)
		}
	}
	want(map[string]float64{`iwas_cloud_command_duration_seconds_count{stage="enforced"}`: 1, `iwas_cloud_commands_pending{site_state="online"}`: 0})
}
