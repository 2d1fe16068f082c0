package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestTheExampleLoadsAndNamesEveryKey(t *testing.T) {
	file := filepath.Join("..", "configs", "cloud.example.toml")
	c, err := loadConfig(file, false)
	if err != nil {
		t.Fatal(err)
	}
	all, err := toml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		key, _, ok := strings.Cut(line, " =")
		if ok && !strings.Contains(string(text), "\n"+strings.TrimSpace(key)+" =") {
			t.Errorf("key %s is not in the example", key)
		}
	}
}

func TestBadConfigurationsNameFileAndKey(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown key":          {"[console]\nlisen = \"x\"\n", `cloud.toml:2: unknown key "console.lisen"`},
		"wrong type":           {"[console]\nlisten = 5\n", "cloud.toml:2:"},
		"another version":      {"version = 2\n", "version: this program reads version 1, not 2"},
		"a broker half named":  {"[broker]\nurl = \"tls://10.0.0.5:8884\"\nca_file = \"a\"\ncert_file = \"b\"\n", "broker.key_file: is needed with broker.url"},
		"files for no broker":  {"[broker]\nrevocations_file = \"a\"\n", "broker.revocations_file: is for a broker of your own"},
		"a broker without TLS": {"[broker]\nurl = \"tcp://10.0.0.5:1883\"\nca_file = \"a\"\ncert_file = \"b\"\nkey_file = \"c\"\n", "broker.url"},
		"not a proxy":          {"[console]\ntrusted_proxies = [\"caddy\"]\n", `console.trusted_proxies: "caddy"`},
	} {
		file := filepath.Join(t.TempDir(), "cloud.toml")
		if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadConfig(file, false); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, tc.want)
		}
	}
}
