package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"iwas/internal/manual/manualtest"
)

func TestEveryCommandHasItsHelpItsPageAndItsTest(t *testing.T) {
	manualtest.Run(t, commands, ".", "../internal/e2e", "../internal/chaos", "../packaging", "../packaging/package")
}

func TestCommandsThatNeedNoService(t *testing.T) {
	var out, talk bytes.Buffer
	pages := filepath.Join(t.TempDir(), "man8")
	if code := run(t.Context(), []string{"man", pages}, &out, &talk); code != 0 {
		t.Fatalf("exit %d\n%s", code, talk.String())
	}
	if page, err := os.ReadFile(filepath.Join(pages, "iwas-cloud-token-add.8")); err != nil || !strings.Contains(string(page), `iwas\-cloud token add`) {
		t.Errorf("%v\n%s", err, page)
	}
	dir := t.TempDir()
	config, token := filepath.Join(dir, "cloud.toml"), filepath.Join(dir, "token")
	for file, text := range map[string]string{config: "version = 1\nstate_dir = '" + dir + "'\n", token: "iwas_short"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	talk.Reset()
	if code := run(t.Context(), []string{"--config", config, "token", "add", "--email", "owner@cafe.example", "--name", "reports", "--token-file", token}, &out, &talk); code == 0 || !strings.Contains(talk.String(), "token") {
		t.Errorf("a token that is too short: exit %d\n%s", code, talk.String())
	}
}
