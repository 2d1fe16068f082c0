package webui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed assets
var assetFiles embed.FS

type asset struct {
	name   string // as embedded: "app.css"
	kind   string // Content-Type
	plain  []byte
	packed []byte // gzip; nil when it would not be smaller
}

// assets holds every embedded file under its hashed name; it never changes
// after start.
var assets, assetPaths = loadAssets()

func loadAssets() (byHashed map[string]asset, paths map[string]string) {
	kinds := map[string]string{
		".css": "text/css; charset=utf-8",
		".js":  "text/javascript; charset=utf-8",
		".svg": "image/svg+xml",
		".txt": "text/plain; charset=utf-8",
	}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic(err) // embedded at build time: cannot fail at run time
	}
	byHashed, paths = map[string]asset{}, map[string]string{}
	for _, e := range entries {
		b, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		ext := path.Ext(e.Name())
		sum := sha256.Sum256(b)
		hashed := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:4]) + ext
		var z bytes.Buffer
		g, _ := gzip.NewWriterLevel(&z, gzip.BestCompression) // the level is valid
		g.Write(b)
		g.Close()
		a := asset{name: e.Name(), kind: kinds[ext], plain: b}
		if z.Len() < len(b) {
			a.packed = z.Bytes()
		}
		byHashed[hashed] = a
		paths[e.Name()] = "/assets/" + hashed
	}
	return byHashed, paths
}

// AssetPath returns the address of an embedded file, which changes with its
// content: "app.css" is "/assets/app.1a2b3c4d.css". It returns "" for a file
// that does not exist.
func AssetPath(name string) string { return assetPaths[name] }

// Assets serves the embedded files; mount it at "GET /assets/". A browser may
// keep each for a year, because another content has another address.
func Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := assets[strings.TrimPrefix(r.URL.Path, "/assets/")]
		if !ok {
			// Not cached: the page that asked may be from another build.
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "no such file", http.StatusNotFound)
			return
		}
		h := w.Header()
		h.Set("Content-Type", a.kind)
		h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int((365*24*time.Hour).Seconds()))+", immutable")
		h.Add("Vary", "Accept-Encoding")
		b := a.plain
		if a.packed != nil && acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			b = a.packed
		}
		h.Set("Content-Length", strconv.Itoa(len(b)))
		if r.Method != http.MethodHead {
			w.Write(b) // the reader has gone: nobody is left to tell
		}
	})
}
