package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iwas/internal/condition"
)

// rowOf is a row of a check in JSON, by its probe.
func rowOf(t *testing.T, out, probe string) condition.CheckRow {
	t.Helper()
	var r condition.CheckReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, row := range r.Rows {
		if row.Probe == probe {
			return row
		}
	}
	t.Fatalf("no row %q in\n%s", probe, out)
	return condition.CheckRow{}
}

func TestTheCheckLooksByItselfWhileTheServiceIsStopped(t *testing.T) {
	b, _ := checkedBox(t)
	taken, err := net.ListenPacket("udp", "127.0.0.1:18121")
	if err != nil {
		t.Fatal(err)
	}
	code, out, talk := b.do("", "check", "--json")
	taken.Close()
	if code != exitFindings || !strings.Contains(talk, "rows failed") {
		t.Fatalf("exit %d, want %d\n%s%s", code, exitFindings, out, talk)
	}
	for probe, want := range map[string]string{"service": "fail SYS-140", "radius-auth": "fail RAD-101", "radius-acct": "ok ", "cloud-identity": "skipped CLD-106", "tls": "ok ", "hotspot": "ok ", "disk": "ok "} {
		if r := rowOf(t, out, probe); string(r.State)+" "+r.Code != want || r.Seen == "" {
			t.Errorf("%s: %+v, want %s", probe, r, want)
		}
	}
	code, out, _ = b.do("", "check", "radius")
	if code != exitDone || strings.Contains(out, "SERVICE") || !strings.Contains(out, "RADIUS\n") || !strings.Contains(out, "is free for the service") {
		t.Errorf("one area: exit %d\n%s", code, out)
	}
	if code, _, talk := b.do("", "check", "radios"); code != exitUsage || !strings.Contains(talk, "radius") {
		t.Errorf("an area nobody knows: exit %d, %s", code, talk)
	}
	if code, out, talk := b.do("", "status"); code != exitNotThere || !strings.Contains(talk, "systemctl start iwas-agent") {
		t.Errorf("status of a service that does not run: exit %d\n%s%s", code, out, talk)
	}
	if code, _, talk := b.do("", "test", "cloud"); code != exitNotThere || !strings.Contains(talk, "iwas-agent enroll") {
		t.Errorf("the way to a cloud that this box does not have: exit %d\n%s", code, talk)
	}
}

// While the service runs it is asked, through its socket alone: the page may have
// moved or be taken.
func TestTheCheckAsksTheRunningService(t *testing.T) {
	w := watchSite(t, shape{})
	dir := filepath.Dir(w.file)
	text, err := os.ReadFile(filepath.Join(dir, "agent.toml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "other.toml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), `listen = "127.0.0.1:0"`, `listen = "127.0.0.1:1"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) (int, string, string) {
		var out, talk bytes.Buffer
		code := run(t.Context(), append([]string{"--config", file}, args...), strings.NewReader(""), &out, &talk)
		return code, out.String(), talk.String()
	}
	if code, out, talk := do("status"); code != exitDone || !strings.Contains(out, "uests") {
		t.Fatalf("status through the socket: exit %d\n%s%s", code, out, talk)
	}
	_, out, _ := do("check", "--json")
	for probe, want := range map[string]condition.Mark{"service": condition.OK, "database": condition.OK, "radius-ports": condition.OK, "login": condition.OK} {
		if r := rowOf(t, out, probe); r.State != want {
			t.Errorf("%s: %+v, want %s", probe, r, want)
		}
	}
	if !strings.Contains(rowOf(t, out, "database").Seen, "2 accounts") {
		t.Errorf("what the service knows of its database: %+v", rowOf(t, out, "database"))
	}
}

func TestWrongUsageNamesTheHelp(t *testing.T) {
	b := newBox(t)
	if code, _, talk := b.do("", "account", "sell", "tess"); code != exitUsage || !strings.Contains(talk, "Next: iwas-agent account sell --help") {
		t.Errorf("exit %d, %q; want %d and where the help is", code, talk, exitUsage)
	}
}

func TestAnInterruptedCommandSaysSoByItsCode(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b, _ := checkedBox(t)
	var out, talk bytes.Buffer
	if code := run(ctx, []string{"--config", b.config, "test", "radius", "--status", "--secret-file", filepath.Join(b.dir, "secret")}, strings.NewReader(""), &out, &talk); code != exitStopped {
		t.Errorf("exit %d, want %d\n%s", code, exitStopped, talk.String())
	}
}
