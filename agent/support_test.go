package main

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"iwas/internal/logs"
)

// bundleOf runs iwas-agent support-bundle and returns what is in the file.
func bundleOf(t *testing.T, config string) (files map[string]string, out, talk string) {
	t.Helper()
	var o, e bytes.Buffer
	to := filepath.Join(t.TempDir(), "b.zip")
	if code := run(t.Context(), []string{"--config", config, "support-bundle", "--out", to}, strings.NewReader(""), &o, &e); code != exitDone {
		t.Fatalf("exit code %d, %q", code, e.String())
	}
	st, err := os.Stat(to)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v, want mode 0600", st.Mode(), err)
	}
	z, err := zip.OpenReader(to)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files = map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(b)
	}
	return files, o.String(), e.String()
}

func TestTheSupportBundle(t *testing.T) {
	w := watchSite(t, shape{})
	tail := &logs.Tail{}
	log, _ := logs.NewKept(io.Discard, nil, tail)
	w.site.page.Tail = tail
	log.Warn("the router was told the secret "+lockSecret, "nas", "counter")
	w.online("DE:AD:BE:EF:00:01", "user0")
	for deadline := time.Now().Add(time.Minute); len(w.site.page.Report(t.Context()).Sessions) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no session is seen")
		}
	}
	files, out, _ := bundleOf(t, w.file)
	for name, want := range map[string]string{
		"manifest.json": `"name": "router-counter.json"`, "version.txt": "iwas-agent ", "config.toml": "secret_file = ", "system.txt": "interfaces", "files.txt": "iwas.db", "status.json": `"username": "us…"`,
		"metrics.txt": "iwas_agent_ready", "log.txt": "WARN msg=\"the router was told the secret ***\" nas=counter", "goroutines.txt": "goroutine profile", "database.txt": "quick_check: ok", "router-counter.json": `"menu": "/ip/hotspot"`,
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s does not have %q:\n%.600s", name, want, files[name])
		}
	}
	seal, err := os.ReadFile(filepath.Join(w.site.cfg.StateDir, "identity", "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		for what, s := range map[string]string{"the RADIUS secret": lockSecret, "the sealing key": strings.TrimSpace(string(seal)), "a guest's name": "user0", "a guest's address": "DE:AD:BE:EF:00:01"} {
			if strings.Contains(text, s) {
				t.Errorf("%s holds %s", name, what)
			}
		}
	}
	if !strings.Contains(files["router-counter.json"], `"secret": "***"`) {
		t.Error("the router's /radius is not read, or its secret not hidden")
	}
	if !strings.Contains(out, "1 secrets were taken out") && !strings.Contains(out, "2 secrets were taken out") {
		t.Errorf("it says %q", out)
	}
	// The cloud seals to this box; what it sealed is of no use without the key, and the
	// key itself, in a text that travels encoded, stops the bundle.
	log.Warn("odd", "octets_as_hex", strings.ToUpper(hex.EncodeToString([]byte(lockSecret))))
	var o, e bytes.Buffer
	to := filepath.Join(t.TempDir(), "refused.zip")
	if code := run(t.Context(), []string{"--config", w.file, "support-bundle", "--out", to}, strings.NewReader(""), &o, &e); code != exitFailed || !strings.Contains(e.String(), "log.txt holds a secret") {
		t.Errorf("a secret in hexadecimal: exit code %d, %q", code, e.String())
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("the refused bundle was written")
	}
}

func TestABundleIsMadeWithoutTheService(t *testing.T) {
	file := doorConfig(t, aDoor, "[[nas]]\nid=\"r\"\naddress=\"192.168.99.1\"\nsecret_file=\"radius-secret-file\"\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "radius-secret-file"), []byte("192.168.99.2:8480\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, _, talk := bundleOf(t, file)
	// The secret is, of all things, what stands in the configuration.
	if !strings.Contains(talk, "service does not answer") || !strings.Contains(files["config.toml"], "address = '***'") || files["status.json"] != "" {
		t.Errorf("it says %q and has %q", talk, files["config.toml"])
	}
}

// Who helps with a database that will not open needs a bundle most of all.
func TestABundleIsMadeWithoutADatabase(t *testing.T) {
	cfg, err := loadConfig(doorConfig(t, "listen = \"127.0.0.1:0\"", ""), false)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSite(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.dbErr = errors.New("the file is damaged")
	b, err := s.supportBundle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range b.Items {
		if i.Problem != "" || i.Bytes == 0 && i.Name != "log.txt" {
			t.Errorf("%+v is not there", i)
		}
	}
	door := control{support: s.supportDoor}
	w := httptest.NewRecorder()
	door.handler().ServeHTTP(w, httptest.NewRequest("POST", "/v1/support", strings.NewReader("{}")))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"database.txt"`) {
		t.Errorf("the control door without a database: got %d", w.Code)
	}
}
