package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"iwas/cloud/ingest"
	"iwas/cloud/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/metrics"
	"iwas/internal/wire"
)

// meter counts how long what people want takes, by stage.
type meter struct {
	delivered metrics.Histogram // from the first sending to the site's word that it holds it
	enforced  metrics.Histogram // of locks: from the request to the proof's arrival

	mu   sync.Mutex
	seen map[proofOf]bool // proofs told again in the next hello are one proof
}

type proofOf struct {
	agent    hotspot.AgentID
	account  hotspot.AccountID
	revision int64
}

// seenMost bounds the proofs remembered; past it all are forgotten, and one told
// again may count twice.
const seenMost = 4096

// meteredStore is the fleet's store, with an ear for proofs.
type meteredStore struct {
	*store.DB
	m *meter
}

func (s meteredStore) ApplyProofs(ctx context.Context, agent hotspot.AgentID, epoch string, proofs []wire.LockProof) (bool, error) {
	news, err := s.DB.ApplyProofs(ctx, agent, epoch, proofs)
	if err != nil || !news {
		return news, err
	}
	for _, p := range proofs {
		if !p.Outcome.Final() || !s.m.first(proofOf{agent, p.Account, p.Revision}) {
			continue
		}
		if asked, err := s.DB.RequestedAt(ctx, agent, p.Account, p.Revision); err == nil && !asked.IsZero() {
			s.m.enforced.Observe(max(0, time.Since(asked)))
		}
	}
	return news, nil
}

func (m *meter) first(p proofOf) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen[p] {
		return false
	}
	if m.seen == nil || len(m.seen) >= seenMost {
		m.seen = map[proofOf]bool{}
	}
	m.seen[p] = true
	return true
}

const metricsWait = 3 * time.Second

// tellMetrics answers one question for the metrics.
func (c *cloud) tellMetrics(w metrics.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), metricsWait)
	defer cancel()
	broker, database := c.link.Connected(), c.db.Ready(ctx) == nil
	w.Bool("iwas_cloud_broker_connected", "The broker answers this process.", broker)
	w.Bool("iwas_cloud_database_up", "The database answers a question.", database)
	for _, stage := range []struct {
		name string
		h    *metrics.Histogram
	}{{"delivered", &c.meter.delivered}, {"enforced", &c.meter.enforced}} {
		w.Histogram("iwas_cloud_command_duration_seconds", "How long what people want takes: until the site holds it, and until a lock is proven.", stage.h, "stage", stage.name)
	}
	results := map[ingest.Result]uint64{ingest.Stored: 0, ingest.Gap: 0, ingest.Fork: 0, ingest.Denied: 0, ingest.Unreadable: 0, ingest.Failed: 0, ingest.Dropped: 0}
	for _, agent := range c.ingest.Counts() {
		for r, n := range agent {
			results[r] += n
		}
	}
	for _, r := range slices.Sorted(maps.Keys(results)) {
		w.Counter("iwas_cloud_ingest_total", "Batches of events, by what became of them.", float64(results[r]), "result", string(r))
	}
	f, err := c.db.Figures(ctx)
	if err != nil {
		c.log.Warn("metrics: sites were not counted", "err", err, "next", fault.Hint(err))
		return
	}
	for _, p := range slices.Sorted(maps.Keys(f.Sites)) {
		w.Gauge("iwas_cloud_sites", "Sites, by what is known of their boxes.", float64(f.Sites[p]), "state", string(p))
		w.Gauge("iwas_cloud_commands_pending", "Locks not proven off, by the state of their site.", float64(f.Pending[p]), "site_state", string(p))
	}
}

// readyWait is how long the database may take to answer.
const readyWait = 2 * time.Second

// ready answers 200 while this process can serve: else 503 with the reason in one
// line.
func (c *cloud) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWait)
	defer cancel()
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case c.db.Ready(ctx) != nil:
		http.Error(w, "not ready: the database does not answer (DB-105)", http.StatusServiceUnavailable)
	case !c.link.Connected():
		http.Error(w, "not ready: the broker does not answer yet (CLD-101)", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ready: the database and the broker answer")
	}
}

// alive answers as long as the process does.
func alive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintln(w, "ok")
}
