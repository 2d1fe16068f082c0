package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iwas/internal/manual/manualtest"
)

func TestEveryCommandHasItsHelpItsPageAndItsTest(t *testing.T) {
	manualtest.Run(t, commands, ".", "../internal/e2e", "../internal/chaos", "../packaging", "../packaging/package")
}

// What needs neither a service nor a router says what it is for.
func TestCommandsThatNeedNoService(t *testing.T) {
	b, _ := checkedBox(t)
	if code, out, talk := b.do("", "config", "show"); code != exitDone || !strings.Contains(out, b.dir) {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	pages := filepath.Join(t.TempDir(), "man8")
	if code, _, talk := b.do("", "man", pages); code != exitDone {
		t.Errorf("exit %d\n%s", code, talk)
	}
	if page, err := os.ReadFile(filepath.Join(pages, "iwas-agent-account-find.8")); err != nil || !strings.Contains(string(page), `iwas\-agent account find anna`) {
		t.Errorf("%v\n%s", err, page)
	}
	if code, out, talk := b.do("", "router", "commands"); code != exitDone || !strings.Contains(out, "/ip/hotspot/active/remove") {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	if code, out, talk := b.do("", "router", "login", "forget"); code != exitFailed || !strings.Contains(talk, "no login of cafe1 is stored") {
		t.Errorf("exit %d\n%s%s", code, out, talk)
	}
	if code, _, talk := b.do("", "stop", "now"); code != exitUsage || !strings.Contains(talk, "iwas-agent stop --help") {
		t.Errorf("exit %d, %s: a word too many must not stop the service", code, talk)
	}
}

// What a program asks for with --json is one JSON value, or a failure is: of every
// command, beside a service that runs.
func TestEveryCommandSpeaksJSON(t *testing.T) {
	w := watchSite(t, shape{alone: true})
	dir := filepath.Dir(w.file)
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	pass, pw := write("pass.txt", "correct horse battery\n"), write("pw.txt", "pw\n")
	bundle, backup := filepath.Join(dir, "bundle.zip"), filepath.Join(dir, "cafe.iwas")
	own := "--config=" + filepath.Join(dir, "agent.toml")
	fails := []int{exitFailed, exitUsage, exitNotThere, exitRights, exitBadConfig}
	// In an order in which one can follow the other.
	steps := []struct {
		args  []string
		codes []int // that may come; none: exitDone
	}{
		{[]string{"version"}, nil},
		{[]string{"config", "show"}, nil},
		{[]string{"config", "validate"}, nil},
		{[]string{"explain", "RAD-103"}, nil},
		{[]string{"explain", "RAD-999"}, fails},
		{[]string{"status", "--config=" + w.file}, []int{exitDone, exitFindings, exitNotThere}},
		{[]string{"check"}, []int{exitDone, exitFindings}},
		{[]string{"plan", "add", "Hour", "--time", "1h", "--metered"}, nil},
		{[]string{"plan", "set", "Hour", "--price", "3", "--currency", "EUR"}, nil},
		{[]string{"plan", "list"}, nil},
		{[]string{"account", "add", "amira", "--plan", "Hour", "--password-file", pw}, nil},
		{[]string{"account", "add", "amira", "--plan", "Hour", "--password-file", pw}, fails},
		{[]string{"account", "find", "amira"}, nil},
		{[]string{"account", "show", "amira"}, nil},
		{[]string{"account", "why", "amira"}, nil},
		{[]string{"account", "sell", "amira", "Hour"}, nil},
		{[]string{"account", "extend", "amira", "30m"}, nil},
		{[]string{"account", "speed", "amira", "2M/10M"}, nil},
		{[]string{"account", "pause", "amira"}, nil},
		{[]string{"account", "resume", "amira"}, nil},
		{[]string{"account", "kick", "amira"}, fails}, // not online
		{[]string{"account", "lock", "amira", "--reason", "rude"}, nil},
		{[]string{"account", "unlock", "amira"}, nil},
		{[]string{"voucher", "sell", "Hour"}, nil},
		{[]string{"sales"}, nil},
		{[]string{"plan", "remove", "Hour"}, nil},
		{[]string{"grant", "add", "staff", "203.0.113.7", "--for", "2h"}, nil},
		{[]string{"grant", "list"}, nil},
		{[]string{"grant", "remove", "staff", "203.0.113.7"}, nil},
		{[]string{"password", "set", "eva", "--generate"}, nil},
		{[]string{"password", "list"}, nil},
		{[]string{"password", "remove", "eva"}, nil},
		{[]string{"test", "radius", "--status", "--server", w.server.AuthAddr().String()}, nil},
		{[]string{"test", "radius", "--name", "nobody", "--password-file", pw, "--server", w.server.AuthAddr().String()}, []int{exitFailed}},
		{[]string{"test", "cloud"}, append(fails, exitFindings)}, // there is none
		{[]string{"test", "login"}, append(fails, exitFindings)}, // there is no plan any more
		{[]string{"router", "show"}, nil},
		{[]string{"router", "commands"}, nil},
		{[]string{"router", "check"}, []int{exitDone, exitFindings}},
		{[]string{"router", "trust"}, fails}, // it is not reached by TLS
		{[]string{"router", "script", "--agent-address", "192.168.88.10"}, append(fails, exitDone)},
		{[]string{"router", "add", "https://127.0.0.1:1", "--id", "attic"}, fails},
		{[]string{"router", "plan"}, append(fails, exitDone)},
		{[]string{"router", "drift"}, append(fails, exitDone, exitFindings)},
		{[]string{"router", "apply", "--user", "admin", "--password-file", pw, "--yes"}, fails},
		{[]string{"router", "confirm"}, fails},
		{[]string{"router", "rollback"}, fails},
		{[]string{"router", "login", "store", "--password-file", pw}, append(fails, exitDone)},
		{[]string{"router", "login", "forget"}, append(fails, exitDone)},
		{[]string{"edl", "script", "staff"}, append(fails, exitDone)},
		{[]string{"edl", "authority"}, append(fails, exitDone)},
		{[]string{"support-bundle", "--out", bundle}, nil},
		{[]string{"backup", "--out", backup, "--passphrase-file", pass}, nil},
		{[]string{"restore", backup, "--passphrase-file", pass, "--yes"}, fails}, // the service runs
		{[]string{"enroll", "--cloud", "https://127.0.0.1:1", "--code-file", pw}, fails},
		{[]string{"unenroll", "--yes"}, fails},
		{[]string{"update", "--check"}, append(fails, exitDone, exitFindings)},
		{[]string{"setup", "--answers", pw}, fails},
		{[]string{"rollback"}, fails},
		{[]string{"no", "such", "command"}, []int{exitUsage}},
	}
	tried := map[string]bool{
		// What these print is for a shell, a pager or a terminal, or they change this machine.
		"run": true, "man": true, "completion bash": true, "completion fish": true, "completion zsh": true, "completion powershell": true,
		"install": true, "uninstall": true, "start": true, "stop": true, "restart": true,
	}
	one := func(text string) error { return json.Unmarshal([]byte(text), new(any)) }
	for _, s := range steps {
		var out, talk bytes.Buffer
		code := run(t.Context(), append([]string{own, "--json"}, s.args...), strings.NewReader(""), &out, &talk)
		words := strings.Join(s.args, " ")
		for _, leaf := range manualtest.Leaves(commands()) {
			if l := strings.Join(leaf, " "); words == l || strings.HasPrefix(words, l+" ") {
				tried[l] = true
			}
		}
		if want := append(s.codes, exitDone)[:max(1, len(s.codes))]; !slices.Contains(want, code) {
			t.Errorf("%s: exit code %d, want one of %v\n%s%s", words, code, want, &out, &talk)
			continue
		}
		if err := one(out.String()); err != nil && (out.Len() > 0 || code == exitDone) {
			t.Errorf("%s: exit code %d, and what it prints is no JSON value: %v\n%s", words, code, err, &out)
		}
		if code == exitDone {
			continue
		}
		lines := strings.Split(strings.TrimSpace(talk.String()), "\n")
		var said struct{ Error, Code, Next string }
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &said); err != nil || said.Error == "" {
			t.Errorf("%s: exit code %d, and the failure is no JSON object (%v)\n%s", words, code, err, &talk)
		}
	}
	var talk bytes.Buffer
	if run(t.Context(), []string{own, "--json=true", "explain", "RAD-999"}, strings.NewReader(""), new(bytes.Buffer), &talk); one(talk.String()) != nil {
		t.Errorf("--json=true: the failure is no JSON value\n%s", &talk)
	}
	for _, leaf := range manualtest.Leaves(commands()) {
		if l := strings.Join(leaf, " "); !tried[l] {
			t.Errorf("%s was not tried", l)
		}
	}
}
