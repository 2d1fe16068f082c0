package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/wire"
)

func TestAccountCommandsTalkToTheRunningService(t *testing.T) {
	b := newBench(t, 2, wire.LimitsBody{})
	dir := t.TempDir()
	file := filepath.Join(dir, "agent.toml")
	if err := os.WriteFile(file, []byte("version = 1\nstate_dir = \"state\"\ncontrol = \"c.sock\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) (code int, out, talk string) {
		var o, e bytes.Buffer
		code = run(t.Context(), append([]string{"--config", file}, args...), strings.NewReader(""), &o, &e)
		return code, o.String(), e.String()
	}
	if code, _, talk := command("account", "show", "user0"); code != exitNotThere || !strings.Contains(talk, "Next:") {
		t.Errorf("without the service: exit code %d, %q; want %d and a next step", code, talk, exitNotThere)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	door := &control{path: filepath.Join(dir, "c.sock"), db: b.db, limit: time.Second}
	go func() { done <- door.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if st, err := os.Stat(door.path); err == nil && st.Mode().Perm() == 0o660 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no socket of mode 0660 after 10 s")
		}
	}
	code, out, talk := command("--json", "account", "speed", "user0", "5M/20M")
	var a accountAnswer
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != exitDone || a.Rate != "5M/20M" || a.Unsent != 1 {
		t.Fatalf("speed: exit code %d, %+v, %v, %q", code, a, err, talk)
	}
	if code, out, _ := command("account", "show", "user0"); code != exitDone || !strings.Contains(out, "5M/20M") || !strings.Contains(out, "No device is online") {
		t.Errorf("show: exit code %d, %q", code, out)
	}
	for _, tc := range []struct {
		code int
		says string
		args []string
	}{
		{exitFailed, "nobody here is called eve", []string{"account", "extend", "eve", "1h"}},
		{exitFailed, "--once", []string{"account", "speed", "user0", "1M/1M", "--once"}},
		{exitUsage, "not a speed", []string{"account", "speed", "user0", "fast"}},
		{exitUsage, "not a duration", []string{"account", "extend", "user0", "soon"}},
	} {
		if code, _, talk := command(tc.args...); code != tc.code || !strings.Contains(talk, tc.says) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", tc.args, code, talk, tc.code, tc.says)
		}
	}
}

func TestDurationsAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]time.Duration{"30m": 30 * time.Minute, "1h30m": 90 * time.Minute, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour,
		"": 0, "0": 0, "-1h": 0, "1w": 0, "d": 0, "1.5s": 0, "99999d": 0} {
		if got, err := parseDuration(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
}
