package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"iwas/agent/statuspage"
	"iwas/internal/hotspot"
	"iwas/internal/metrics/metricstest"
)

// TestMetricsAreWhatHappened: logins, refusals, a stranger's packets and
// accounting by FreeRADIUS's client, a lock on the simulated router; each counted
// as often as it was, and nobody named.
func TestMetricsAreWhatHappened(t *testing.T) {
	w := watchSite(t, shape{})
	first := metricstest.Get(t, w.url+"/metrics")
	for _, name := range []string{`iwas_agent_radius_responses_total{kind="accept"}`, `iwas_agent_radius_rejects_total{reason="bad_password"}`, `iwas_agent_radius_dropped_total{reason="queue_full"}`,
		`iwas_agent_disconnect_requests_total{result="ack"}`, `iwas_agent_commands_total{kind="lock",result="enforced"}`, `iwas_agent_condition_active{code="RTR-101",severity="high"}`} {
		if v, there := first[name]; !there || v != 0 {
			t.Errorf("at the start %s is %v (there: %v), want 0", name, v, there)
		}
	}
	const user = `User-Name = "user1", Calling-Station-Id = "02:00:00:00:00:77", Message-Authenticator = 0x00`
	for range 3 {
		w.received("auth", user+`, User-Password = "pw"`+"\n", "Access-Accept")
	}
	for range 2 {
		turnedAway(w, user+`, User-Password = "wrong"`)
	}
	w.received("acct", `User-Name = "user1", Acct-Session-Id = "77", Calling-Station-Id = "02:00:00:00:00:77", Acct-Status-Type = Start`+"\n", "Accounting-Response")
	w.received("acct", `User-Name = "user1", Acct-Session-Id = "77", Calling-Station-Id = "02:00:00:00:00:77", Acct-Status-Type = Interim-Update, Acct-Session-Time = 9, Acct-Input-Octets = 1000, Acct-Output-Octets = 70000`+"\n", "Accounting-Response")
	got := metricstest.Get(t, w.url+"/metrics")
	exactly := func(want map[string]float64) {
		t.Helper()
		for name, n := range want {
			if v, there := got[name]; !there || v != n {
				t.Errorf("%s: got %v (there: %v), want %v", name, v, there, n)
			}
		}
	}
	exactly(map[string]float64{
		`iwas_agent_radius_responses_total{kind="accept"}`: 3, `iwas_agent_radius_responses_total{kind="reject"}`: 2, `iwas_agent_radius_rejects_total{reason="bad_password"}`: 2,
		`iwas_agent_radius_responses_total{kind="accounting"}`: 2, `iwas_agent_radius_requests_total{kind="access"}`: 5, `iwas_agent_radius_request_duration_seconds_count{kind="access"}`: 5,
		`iwas_agent_session_bytes_total{direction="upload"}`: 1000, `iwas_agent_session_bytes_total{direction="download"}`: 70000, "iwas_agent_sessions_active": 1,
		"iwas_agent_ready": 1, "iwas_agent_store_writable": 1, "iwas_agent_cloud_enrolled": 0,
	})
	if got["iwas_agent_radius_last_answer_timestamp_seconds"] <= 0 || got["iwas_agent_outbox_messages"] < 2 || got["iwas_agent_outbox_bytes"] < 100 || got[`iwas_agent_store_bytes{file="db"}`] <= 0 {
		t.Errorf("an answer, two facts for the cloud and a database: got %v, %v of %v bytes, %v bytes", got["iwas_agent_radius_last_answer_timestamp_seconds"],
			got["iwas_agent_outbox_messages"], got["iwas_agent_outbox_bytes"], got[`iwas_agent_store_bytes{file="db"}`])
	}

	w.online("AA:BB:CC:00:00:01", "user0")
	w.lock("a0")
	w.row("user0", func(l statuspage.Lock) bool { return l.Outcome == hotspot.OutcomeEnforced })
	got = metricstest.Get(t, w.url+"/metrics")
	exactly(map[string]float64{
		`iwas_agent_commands_total{kind="lock",result="enforced"}`: 1, "iwas_agent_command_enforce_duration_seconds_count": 1, `iwas_agent_disconnect_requests_total{result="ack"}`: 1,
		`iwas_agent_router_up{nas="counter"}`: 1,
	})
	if v := got[`iwas_agent_router_request_duration_seconds_count{nas="counter",op="print"}`]; v < 5 {
		t.Errorf("the router was asked %v times", v)
	}
	for name := range got {
		for _, secret := range []string{"user0", "user1", "a0", "AA:BB", "02:00", lockSecret} {
			if strings.Contains(name, secret) {
				t.Errorf("%s names %q", name, secret)
			}
		}
	}
	if n := len(got); n > 1000 {
		t.Errorf("%d samples of a cafe with one router", n)
	}
}

// turnedAway sends one Access-Request with FreeRADIUS's client, which takes a refusal
// for a failure.
func turnedAway(w *watched, request string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "radclient", "-x", "-r", "1", "-t", "5", w.server.AuthAddr().String(), "auth", lockSecret)
	cmd.Stdin = strings.NewReader(request + "\n")
	if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), "Received Access-Reject") {
		w.t.Fatalf("radclient: want Access-Reject\n%s", out)
	}
}

// TestARouterThatRefusesIsCounted: by the code of the catalogue.
func TestARouterThatRefusesIsCounted(t *testing.T) {
	w := watchSite(t, shape{})
	w.sim.Close()
	w.await("a router that is gone", func() string {
		got := metricstest.Get(t, w.url+"/metrics")
		if !metricstest.Has(got, `iwas_agent_router_errors_total{code="RTR-1`) || got[`iwas_agent_router_up{nas="counter"}`] != 0 {
			return fmt.Sprintf("up %v, and no error with a code", got[`iwas_agent_router_up{nas="counter"}`])
		}
		return ""
	})
}

func TestATokenFileThatCannotBeUsedIsAFinding(t *testing.T) {
	w := watchSite(t, shape{})
	s := &site{cfg: w.site.cfg, checks: w.site.checks, setups: w.site.setups, wall: w.site.wall}
	s.cfg.Status.MetricsTokenFile = filepath.Join(t.TempDir(), "token")
	s.dbErr = os.ErrPermission
	codes := func() (out []string) {
		for _, f := range s.snapshot(t.Context()).Findings {
			out = append(out, f.Code)
		}
		return out
	}
	if got := codes(); len(got) != 1 || got[0] != "SYS-111" {
		t.Errorf("got %v, want SYS-111", got)
	}
	if err := os.WriteFile(s.cfg.Status.MetricsTokenFile, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := codes(); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}
