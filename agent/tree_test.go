package main

import (
	"os"
	"path/filepath"
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
