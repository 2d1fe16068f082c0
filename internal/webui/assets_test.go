package webui

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAssetsAreCachedForEverUnderANameOfTheirContent(t *testing.T) {
	w := get(Assets(), AssetPath("app.css"), "Accept-Encoding", "br, gzip")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/css; charset=utf-8" {
		t.Fatalf("got %d %s", w.Code, w.Header().Get("Content-Type"))
	}
	if cc := w.Header().Get("Cache-Control"); !strings.Contains(cc, "immutable") || !strings.Contains(cc, "max-age=31536000") {
		t.Errorf("Cache-Control = %q, want a year and immutable", cc)
	}
	g, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(g)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	if want := "/assets/app." + hex.EncodeToString(sum[:4]) + ".css"; AssetPath("app.css") != want {
		t.Errorf("address %s, want %s", AssetPath("app.css"), want)
	}
	plain := get(Assets(), AssetPath("app.css"), "Accept-Encoding", "gzip;q=0")
	if plain.Header().Get("Content-Encoding") != "" || plain.Body.String() != string(b) {
		t.Error("a reader without gzip got something else than the file")
	}
}

func TestAnOldAssetNameIsNotFoundAndNotCached(t *testing.T) {
	for _, path := range []string{"/assets/app.00000000.css", "/assets/app.css", "/assets/../webui.go", "/assets/"} {
		w := get(Assets(), path)
		if w.Code != http.StatusNotFound || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d %q, want 404 no-store", path, w.Code, w.Header().Get("Cache-Control"))
		}
	}
}

func TestAssetsStaySmall(t *testing.T) {
	total := 0
	for name, a := range assets {
		if strings.HasSuffix(name, ".txt") {
			continue // nobody loads it with a page
		}
		total += len(a.packed)
		if a.packed == nil {
			total += len(a.plain)
		}
	}
	if total > 15_000 {
		t.Errorf("assets weigh %d bytes packed, want at most 15,000", total)
	}
	script, err := assetFiles.ReadFile("assets/app.js")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(script), "\n"); n > 120 {
		t.Errorf("app.js has %d lines, want at most 120: a page should need little of it", n)
	}
	if len(iconBodies) > 25 {
		t.Errorf("%d icons, want at most 25", len(iconBodies))
	}
}

func TestForeignFilesAreTheOnesWeRead(t *testing.T) {
	b, err := os.ReadFile("webuitest/testdata/axe-core-4.14.1.min.js")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	if got, want := hex.EncodeToString(sum[:]), "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"; got != want {
		t.Errorf("axe-core has hash %s, want %s as published in 4.14.1", got, want)
	}
}
