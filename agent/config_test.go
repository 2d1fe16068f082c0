package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestTheExampleLoadsAndNamesEveryKey(t *testing.T) {
	file := filepath.Join("..", "configs", "agent.example.toml")
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
	for _, line := range strings.Split(string(all), "\n") {
		key, _, ok := strings.Cut(line, " =")
		if ok && !strings.Contains(string(text), "\n"+strings.TrimSpace(key)+" =") {
			t.Errorf("key %s is not in the example", key)
		}
	}
}

func TestBadConfigurationsNameFileAndKey(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown key":        {"[radius]\nauht = []\n", `config.toml:2: unknown key "radius.auht"`},
		"wrong type":         {"[status]\nlisten = 5\n", "config.toml:2:"},
		"broken syntax":      {"[status\n", "config.toml:1:"},
		"another version":    {"version = 2\n", "version: this program reads version 1, not 2"},
		"not a port":         {"[radius]\nauth = [\"1812\"]\n", `radius.auth[0]: "1812" is not host:port`},
		"NAS without secret": {"[[nas]]\nid = \"r\"\naddress = \"10.0.0.1\"\n", "nas[0].secret_file"},
		"bad NAS address":    {"[[nas]]\nid = \"r\"\naddress = \"router\"\nsecret_file = \"x\"\n", `nas[0].address: "router"`},
		"doubled NAS":        {"[[nas]]\nid=\"r\"\naddress=\"10.0.0.1\"\nsecret_file=\"x\"\n[[nas]]\nid=\"r\"\naddress=\"10.0.0.2\"\nsecret_file=\"x\"\n", `nas[1].id: "r" is used twice`},
		"API of a network": {"[[nas]]\nid=\"r\"\naddress=\"10.0.0.0/24\"\nsecret_file=\"x\"\n[nas.router]\nurl=\"api://10.0.0.1\"\nuser=\"u\"\npassword_file=\"p\"\n",
			"nas[0].router.url: leads to one router, and address is the network 10.0.0.0/24"},
		"lists of no address":     {"[edl]\nlisten = \"0.0.0.0:8443\"\n", "edl.names: must say"},
		"lists kept by a half":    {"[edl]\ncertificate = \"x\"\n", "edl: certificate and certificate_key belong together"},
		"lists that fail somehow": {"[edl]\non_failure = \"hope\"\ninterval = \"1s\"\nallow = [\"x\"]\n", `edl.on_failure: "hope" is neither`},
		"API without user":        {"[[nas]]\nid=\"r\"\naddress=\"10.0.0.1\"\nsecret_file=\"x\"\n[nas.router]\nurl=\"api://10.0.0.1\"\n", "nas[0].router: user and password_file belong to url"},
	} {
		file := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadConfig(file, false); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, tc.want)
		}
	}
	if _, err := loadConfig(filepath.Join(t.TempDir(), "none.toml"), true); err != nil {
		t.Errorf("a missing file that may miss: %v", err)
	}
}

// The set-up in the example is off; switched on it loads, in both modes.
func TestTheExampleSetupLoads(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "configs", "agent.example.toml"))
	if err != nil {
		t.Fatal(err)
	}
	head, setup, found := strings.Cut(string(text), "#[nas.setup]\n")
	if !found {
		t.Fatal("the example has no set-up")
	}
	on := regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAllString("#[nas.setup]\n"+setup, "$1")
	for _, mode := range []string{"radius-only", "whole-cafe"} {
		file := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(file, []byte(head+strings.Replace(on, `"radius-only"`, `"`+mode+`"`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadConfig(file, false)
		if err != nil || c.NAS[0].Setup == nil || c.NAS[0].Setup.Mode != mode || c.NAS[0].Setup.Guests.VLAN != 20 {
			t.Errorf("%s: got %+v, %v", mode, c.NAS[0].Setup, err)
		}
	}
	bad := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(bad, []byte(head+strings.Replace(strings.Replace(on, "vlan = 20", "vlan = 10", 1), `"radius-only"`, `"all"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = loadConfig(bad, false)
	for _, want := range []string{"nas[0].setup.mode: ", "nas[0].setup.pcs.vlan: 10 is the VLAN of guests too"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}
