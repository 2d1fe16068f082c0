package main

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/metrics"
)

// metricsWait is how long the answer waits for the store; what it cannot tell in
// time is left out.
const metricsWait = 3 * time.Second

// tellMetrics answers one question for the metrics. Every number comes from the
// part that counts it.
func (s *site) tellMetrics(w metrics.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), metricsWait)
	defer cancel()
	snap := s.page.Look(ctx)
	w.Bool("iwas_agent_ready", "Guests can log in: 1, else 0.", snap.Ready)
	s.conditionMetrics(w, snap.Open)
	radiusMetrics(w, s.radius.Stats())
	s.meterMetrics(w)
	s.storeMetrics(ctx, w)
	s.cloudMetrics(w)
	if s.enforcer != nil {
		routerMetrics(w, s.enforcer.Health())
	}
	drift := map[string]int{}
	for _, f := range s.setups.Findings() {
		drift[f.Subject]++
	}
	for _, n := range s.cfg.NAS {
		if n.Setup != nil {
			w.Gauge("iwas_agent_router_drift_items", "Differences between a router and its set-up that were found last.", float64(drift[n.ID]), "nas", n.ID)
		}
	}
}

func (s *site) conditionMetrics(w metrics.Writer, open []condition.Open) {
	for _, c := range condition.All() {
		n := 0
		for _, o := range open {
			if o.Code == c.Code {
				n++
			}
		}
		w.Gauge("iwas_agent_condition_active", "How often a condition of the catalogue is open now.", float64(n), "code", c.Code, "severity", string(c.Severity))
	}
}

// radiusMetrics tell of this server since it began. This box's own tests are not
// among them, nor is a source without a section among its requests.
func radiusMetrics(w metrics.Writer, st radius.Stats) {
	requests := map[string]uint64{"access": 0, "accounting": 0, "status": 0}
	responses := map[string]uint64{"accept": 0, "reject": 0, "accounting": 0, "status": 0, "repeated": 0}
	rejects, drops := map[string]uint64{}, map[string]uint64{}
	for _, r := range hotspot.Reasons() {
		rejects[string(r)] = 0
	}
	for _, r := range radius.DropReasons() {
		drops[r] = 0
	}
	for _, c := range st.Counts {
		if c.NAS == loopbackNAS {
			continue
		}
		if _, known := requests[c.Kind]; known {
			requests[c.Kind] += c.N
		}
		switch {
		case c.Result == "dropped":
			drops[c.Reason] += c.N
		case c.Result == "repeated":
			responses["repeated"] += c.N
		case c.Kind == "access" && c.Result == "accept":
			responses["accept"] += c.N
		case c.Kind == "access":
			responses["reject"] += c.N
			rejects[c.Result] += c.N
		default:
			responses[c.Kind] += c.N
		}
	}
	tell(w, "iwas_agent_radius_requests_total", "RADIUS requests of routers, repeats and those met with silence included.", "kind", requests)
	tell(w, "iwas_agent_radius_responses_total", "RADIUS answers that left.", "kind", responses)
	tell(w, "iwas_agent_radius_rejects_total", "Access-Rejects, by reason.", "reason", rejects)
	tell(w, "iwas_agent_radius_dropped_total", "Packets met with silence, by reason.", "reason", drops)
	for _, kind := range slices.Sorted(maps.Keys(st.Took)) {
		w.Histogram("iwas_agent_radius_request_duration_seconds", "From the arrival of a RADIUS request to its answer.", st.Took[kind], "kind", kind)
	}
	var last time.Time
	for _, n := range st.NASes {
		if n.NAS != loopbackNAS && n.LastAnswer.After(last) {
			last = n.LastAnswer
		}
	}
	w.Time("iwas_agent_radius_last_answer_timestamp_seconds", "When a router was answered last.", last)
	lost, known := 0.0, len(st.Sockets) > 0
	for _, k := range st.Sockets {
		lost, known = lost+float64(k.Lost), known && k.LostKnown
	}
	if known {
		w.Counter("iwas_agent_radius_lost_total", "Datagrams that the system dropped, its buffer being full.", lost)
	}
}

// tell tells a counter by one label, its values in order.
func tell[K ~string](w metrics.Writer, name, help, label string, counts map[K]uint64) {
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		w.Counter(name, help, float64(counts[k]), label, string(k))
	}
}

func (s *site) meterMetrics(w metrics.Writer) {
	m := s.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	disconnects := map[string]uint64{"ack": 0, "nak": 0, "timeout": 0, "unverified": 0}
	maps.Copy(disconnects, m.disconnects)
	tell(w, "iwas_agent_disconnect_requests_total", "Disconnect-Requests, by what came of them.", "result", disconnects)
	for _, o := range []hotspot.Outcome{hotspot.OutcomeEnforced, hotspot.OutcomeLeaks, hotspot.OutcomeUnproven, hotspot.OutcomePending} {
		w.Counter("iwas_agent_commands_total", "Attempts to carry out what is wanted, by how they ended.", float64(m.locks[o]), "kind", "lock", "result", string(o))
	}
	w.Histogram("iwas_agent_command_enforce_duration_seconds", "From the moment a lock was stored here to its proof.", &m.enforce)
	for _, n := range s.cfg.NAS {
		id := hotspot.NASID(n.ID)
		if n.Router.URL == "" {
			continue
		}
		for _, op := range routerOps {
			h := m.took[routerWork{id, op}]
			if h == nil {
				h = new(metrics.Histogram)
			}
			w.Histogram("iwas_agent_router_request_duration_seconds", "From a command to the router's answer.", h, "nas", n.ID, "op", op)
		}
		for _, f := range slices.SortedFunc(maps.Keys(m.errors), func(a, b routerFailure) int { return cmp.Compare(a.code, b.code) }) {
			if f.nas == id {
				w.Counter("iwas_agent_router_errors_total", "Dials and commands that failed, by the code of the catalogue.", float64(m.errors[f]), "nas", n.ID, "code", cmp.Or(f.code, "none"))
			}
		}
		w.Time("iwas_agent_router_last_success_timestamp_seconds", "When the router answered last.", m.success[id], "nas", n.ID)
	}
}

func (s *site) storeMetrics(ctx context.Context, w metrics.Writer) {
	for label, name := range map[string]string{"db": "iwas.db", "wal": "iwas.db-wal", "history": "history.jsonl"} {
		if st, err := os.Stat(filepath.Join(s.cfg.StateDir, name)); err == nil {
			w.Gauge("iwas_agent_store_bytes", "Size of a file of the state directory.", float64(st.Size()), "file", label)
		}
	}
	if free := diskFree(s.cfg.StateDir); free > 0 {
		w.Gauge("iwas_agent_disk_free_bytes", "Free on the disk of the state directory.", float64(free))
	}
	w.Bool("iwas_agent_store_open", "The database is open.", s.db != nil)
	if s.db != nil {
		care := s.db.Care()
		w.Time("iwas_agent_store_last_backup_timestamp_seconds", "When the database was last copied by itself.", care.CopyAt)
		w.Gauge("iwas_agent_store_held_records", "Accounting records in memory that the disk did not take.", float64(care.Held))
	}
	if s.db == nil {
		return
	}
	_, failed := s.db.WriteTrouble()
	w.Bool("iwas_agent_store_writable", "The newest write to the database succeeded.", failed == nil)
	up, down := s.db.Carried()
	w.Counter("iwas_agent_session_bytes_total", "What accounting brought; upload is from the guests.", float64(up), "direction", "upload")
	w.Counter("iwas_agent_session_bytes_total", "What accounting brought; upload is from the guests.", float64(down), "direction", "download")
	c, err := s.db.Counts(ctx)
	if err != nil {
		s.log.Warn("metrics: the store was not counted", "err", err, "next", fault.Hint(err))
		return
	}
	w.Gauge("iwas_agent_sessions_active", "Sessions thought open.", float64(c.SessionsOpen))
	w.Gauge("iwas_agent_outbox_messages", "Facts that the cloud does not have yet.", float64(c.Waiting))
	w.Time("iwas_agent_outbox_oldest_timestamp_seconds", "When the oldest of them happened.", c.OldestWaits)
	if n, err := s.db.OutboxBytes(ctx); err == nil {
		w.Gauge("iwas_agent_outbox_bytes", "Their size, uncompressed.", float64(n))
	}
}

func (s *site) cloudMetrics(w metrics.Writer) {
	w.Bool("iwas_agent_cloud_enrolled", "This box is enrolled.", s.uplink != nil)
	if s.uplink == nil {
		return
	}
	u := s.uplink.Status()
	w.Bool("iwas_agent_cloud_connected", "The link to the cloud stands.", u.Connected)
	w.Counter("iwas_agent_cloud_connects_total", "Attempts to connect to the cloud.", float64(u.Connects), "result", "connected")
	w.Counter("iwas_agent_cloud_connects_total", "Attempts to connect to the cloud.", float64(u.Failures), "result", "failed")
	w.Time("iwas_agent_cloud_last_contact_timestamp_seconds", "When the cloud said something last.", u.LastContact)
	if u.ClockKnown {
		w.Gauge("iwas_agent_clock_offset_seconds", "The cloud's clock minus this one.", u.ClockOffset.Seconds())
	}
}

func routerMetrics(w metrics.Writer, routers []router.Health) {
	for _, h := range routers {
		if !h.API {
			continue
		}
		nas := string(h.NAS)
		w.Bool("iwas_agent_router_up", "The router answered when it was asked last.", h.Reachable, "nas", nas)
		v, now := h.Vitals, time.Now()
		m := routerMinute(v, now)
		if m.CPU != nil {
			w.Gauge("iwas_agent_router_cpu_ratio", "Load of the router's processor.", float64(*m.CPU)/100, "nas", nas)
			w.Gauge("iwas_agent_router_memory_used_ratio", "Memory in use on the router.", float64(*m.Memory)/100, "nas", nas)
			w.Gauge("iwas_agent_router_uptime_seconds", "Since the router began.", v.System.Uptime.Seconds(), "nas", nas)
			w.Counter("iwas_agent_router_restarts_total", "Times the uptime was seen to fall.", float64(v.System.Restarts), "nas", nas)
		}
		if m.WANUp != nil {
			w.Bool("iwas_agent_router_wan_up", "A default route is active.", *m.WANUp, "nas", nas)
		}
		if m.Celsius != nil {
			w.Gauge("iwas_agent_router_temperature_celsius", "Of the hottest sensor.", *m.Celsius, "nas", nas)
		}
		if m.Volts != nil {
			w.Gauge("iwas_agent_router_supply_volts", "Of the supply.", *m.Volts, "nas", nas)
		}
	}
}
