package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/agent/aaa"
	"iwas/agent/store"
	"iwas/internal/secret"
)

// counterDoor is a service without a cloud and the commands staff type.
func counterDoor(t *testing.T) func(args ...string) (code int, out, talk string) {
	t.Helper()
	key, err := secret.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "iwas.db"), Key: key, Decide: aaa.Decide, Off: aaa.OffReason, Terms: aaa.Terms})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "agent.toml")
	if err := os.WriteFile(file, []byte("version = 1\nstate_dir = \"state\"\ncontrol = \"c.sock\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	door := &control{path: filepath.Join(dir, "c.sock"), db: db, limit: time.Second}
	go func() { done <- door.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) { // until the door listens
		if c, err := net.Dial("unix", door.path); err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the door does not open")
		}
	}
	return func(args ...string) (int, string, string) {
		var o, e bytes.Buffer
		code := run(t.Context(), append([]string{"--config", file}, args...), strings.NewReader("pw12\n"), &o, &e)
		return code, o.String(), e.String()
	}
}

func TestTheCounterByCommands(t *testing.T) {
	command := counterDoor(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		code int
		says string
		args []string
	}{
		{exitDone, "There is no plan", []string{"plan", "list"}},
		{exitDone, "EUR 2.50", []string{"plan", "add", "Hour", "--price", "2.5", "--currency", "eur", "--time", "1h", "--metered", "--rate", "2M/10M", "--data", "5G", "--slow-rate", "256k/512k", "--hours", "mon-fri 08:00-16:00"}},
		{exitFailed, "already", []string{"plan", "add", "hour"}},
		{exitUsage, "currency", []string{"plan", "add", "Day", "--price", "2.5"}},
		{exitUsage, "duration", []string{"plan", "add", "Day", "--time", "long"}},
		{exitUsage, "not an amount", []string{"plan", "add", "Day", "--data", "5"}},
		{exitDone, "EUR 3.00", []string{"plan", "set", "hour", "--price", "3", "--currency", "EUR", "--hours", ""}},
		{exitDone, "5.0 GB", []string{"plan", "list"}},
		{exitDone, "no limit", []string{"plan", "add", "Free"}},
		{exitDone, "sold no longer", []string{"plan", "remove", "Free"}},
		{exitFailed, "plan list", []string{"plan", "remove", "Free"}},
		{exitDone, "EUR 3.00", []string{"account", "add", "amira", "--plan", "Hour", "--password-file", "-", "--note", "table 4"}},
		{exitFailed, "exists already", []string{"account", "add", "amira", "--plan", "Hour"}},
		{exitUsage, "plan", []string{"account", "add", "bob"}},
		{exitDone, "amira", []string{"account", "find", "table"}},
		{exitDone, "Nobody", []string{"account", "find", "zzz"}},
		{exitDone, "LOCKED by " + me.Username + " (technician) rude", []string{"account", "lock", "amira", "--reason", "rude"}},
		{exitDone, "is locked, since", []string{"account", "why", "amira"}},
		{exitFailed, "locked", []string{"account", "pause", "amira"}},
		{exitDone, "plan    Hour", []string{"account", "unlock", "amira"}},
		{exitDone, "PAUSED", []string{"account", "pause", "amira"}},
		{exitDone, "plan    Hour", []string{"account", "resume", "amira"}},
		{exitFailed, "not paused", []string{"account", "resume", "amira"}},
		{exitFailed, "not online", []string{"account", "kick", "amira"}},
		{exitDone, "amira  Hour, EUR 3.00", []string{"account", "sell", "amira", "hour", "--as", "maria"}},
		{exitDone, "2h30m0s left", []string{"account", "extend", "amira", "90m", "--as", "maria"}},
		{exitDone, "There is no guest called eve", []string{"account", "why", "eve"}},
		{exitUsage, "--print", []string{"voucher", "sell", "Hour", "--print", "pdf"}},
		{exitDone, "----", []string{"voucher", "sell", "Hour", "--count", "3", "--print", "text"}},
		{exitDone, "5 sales, EUR 15.00", []string{"sales", "--today"}},
		{exitDone, "maria by " + me.Username, []string{"sales"}},
	}
	for _, s := range steps {
		if code, out, talk := command(s.args...); code != s.code || !strings.Contains(out+talk, s.says) {
			t.Errorf("%v: exit code %d, %q %q; want %d and %q", s.args, code, out, talk, s.code, s.says)
		}
	}
	for _, args := range [][]string{{"plan", "list"}, {"sales"}, {"account", "find", "a"}, {"account", "why", "amira"}, {"account", "lock", "amira"}, {"account", "unlock", "amira"}, {"voucher", "sell", "Hour"}} {
		if code, out, talk := command(append([]string{"--json"}, args...)...); code != exitDone || !json.Valid([]byte(out)) {
			t.Errorf("--json %v: exit code %d, %q %q", args, code, out, talk)
		}
	}
}
