package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"iwas/internal/secret"
)

// A box is set up from one file; a second run finds it done.
func TestSetupFollowsTheAnswers(t *testing.T) {
	b := newBox(t)
	sim := startRouter(t, "the-service-password")
	url := strings.TrimSuffix(sim.RESTURL(), "/rest")
	for name, text := range map[string]string{"router-password": "the-service-password\n", "radius-secret": "the-radius-secret\n",
		"answers.toml": "version = 1\n[router]\nid = \"counter\"\nname = \"At the counter\"\nurl = \"" + url + "\"\nfingerprint = \"" + fmt.Sprintf("%x", sha256.Sum256(sim.Certificate())) + "\"\npassword_file = \"router-password\"\nsecret_file = \"radius-secret\"\n"} {
		if err := secret.WriteFile(filepath.Join(b.dir, name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(b.dir, "answers.toml")
	if code, out, talk := b.do("", "setup", "--answers", file); code != exitDone || !strings.Contains(out, "Everything in the file is done") || !strings.Contains(talk, "== iwas-agent router add") {
		t.Fatalf("exit %d\n%s\n%s", code, out, talk)
	}
	cfg, err := loadConfig(b.config, false)
	if err != nil || len(cfg.NAS) != 1 || cfg.NAS[0].ID != "counter" || cfg.NAS[0].Name != "At the counter" || cfg.NAS[0].SecretFile != filepath.Join(b.dir, "radius-secret") {
		t.Fatalf("got %+v, %v", cfg.NAS, err)
	}
	if code, _, talk := b.do("", "setup", "--answers", file); code != exitDone || strings.Contains(talk, "router add") {
		t.Errorf("again: exit %d\n%s", code, talk)
	}
}

func TestSetupAsksNobody(t *testing.T) {
	b := newBox(t)
	file := filepath.Join(b.dir, "answers.toml")
	for text, want := range map[string]string{
		"version = 1\n[router]\nid = \"r\"\nurl = \"api-ssl://10.0.0.1\"\n": "router.fingerprint is needed",
		"version = 1\n[enroll]\ncloud = \"https://c\"\n":                    "enroll.code_file is needed",
		"version = 2\n":                 "this program reads version 1, not 2",
		"version = 1\nrestart = true\n": `answers.toml:2: unknown key "restart"`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, talk := b.do("", "setup", "--answers", file); code != exitBadConfig || !strings.Contains(talk, want) {
			t.Errorf("%q: exit %d, %s", text, code, talk)
		}
	}
}

// The example of the answers loads and has every key there is.
func TestTheExampleOfAnswersNamesEveryKey(t *testing.T) {
	file := filepath.Join("..", "configs", "answers.example.toml")
	a, err := readAnswers(file)
	if err != nil || a.Enroll == nil || a.Router == nil || a.Router.Apply == nil {
		t.Fatalf("got %+v, %v", a, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for table, of := range map[string]any{"": a, "enroll": *a.Enroll, "router": *a.Router, "router.apply": *a.Router.Apply} {
		part := string(text)
		if table != "" {
			_, part, _ = strings.Cut(part, "\n["+table+"]\n")
		}
		part, _, _ = strings.Cut(part, "\n[")
		for f := range reflect.TypeOf(of).Fields() {
			if key := f.Tag.Get("toml"); f.Type.Kind() != reflect.Pointer && !regexp.MustCompile(`(?m)^`+key+` = .*# `).MatchString(part) {
				t.Errorf("[%s] %s is not in the example, or nothing is said of it", table, key)
			}
		}
	}
}
