package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// program is what is said of a program to people.
type program struct {
	dir     string            // of its main package
	summary string            // one line
	text    string            // more
	next    string            // what the first installation prints
	files   map[string]string // of the tree → path in a package; modes 0644
}

var programs = map[string]program{
	"iwas-agent": {
		dir:     "./agent",
		summary: "RADIUS and router of an internet cafe",
		text: "Answers RADIUS for a MikroTik HotSpot from its own database, so that guests\n" +
			"log in with the internet gone, manages the router, and tells the cloud what\n" +
			"happened.",
		next: "iwas-agent is installed and serves this cafe on its own.\n" +
			"Next: join it to a site          sudo iwas-agent enroll --cloud https://HOST\n" +
			"      or go on without a cloud   sudo iwas-agent router script --agent-address ADDRESS-OF-THIS-BOX\n" +
			"Status page, on this box: http://127.0.0.1:8480   Steps: /usr/share/doc/iwas-agent/README.md",
		files: map[string]string{
			"configs/systemd/iwas-agent.service":    "/usr/lib/systemd/system/iwas-agent.service",
			"configs/sysusers.d/iwas-agent.conf":    "/usr/lib/sysusers.d/iwas-agent.conf",
			"configs/tmpfiles.d/iwas-agent.conf":    "/usr/lib/tmpfiles.d/iwas-agent.conf",
			"configs/sysctl.d/60-iwas-agent.conf":   "/usr/lib/sysctl.d/60-iwas-agent.conf",
			"configs/agent.example.toml":            "/usr/share/iwas-agent/agent.example.toml",
			"configs/answers.example.toml":          "/usr/share/iwas-agent/answers.example.toml",
			"configs/routeros/service-user.rsc":     "/usr/share/iwas-agent/service-user.rsc",
			"packaging/README.md":                   "/usr/share/doc/iwas-agent/README.md",
			"packaging/lintian/iwas-agent.override": "/usr/share/lintian/overrides/iwas-agent",
		},
	},
	"iwas-cloud": {
		dir:     "./cloud",
		summary: "console and broker of internet cafes",
		text: "Receives what the boxes of cafes send, and gives their owners a console and\n" +
			"an HTTP API: sites, guests, data used, locks. Needs nothing else installed.",
		next: "iwas-cloud is installed. Its console is at http://127.0.0.1:8080, for this machine only.\n" +
			"Next: name this machine          /etc/iwas-cloud/cloud.toml, from /usr/share/iwas-cloud/cloud.example.toml\n" +
			"      make an owner              sudo iwas-cloud owner add --organization NAME --email YOU@HOST --password-file FILE\n" +
			"      a web server in front      /usr/share/iwas-cloud/Caddyfile",
		files: map[string]string{
			"configs/systemd/iwas-cloud.service":    "/usr/lib/systemd/system/iwas-cloud.service",
			"configs/sysusers.d/iwas-cloud.conf":    "/usr/lib/sysusers.d/iwas-cloud.conf",
			"configs/tmpfiles.d/iwas-cloud.conf":    "/usr/lib/tmpfiles.d/iwas-cloud.conf",
			"configs/cloud.example.toml":            "/usr/share/iwas-cloud/cloud.example.toml",
			"configs/caddy/Caddyfile":               "/usr/share/iwas-cloud/Caddyfile",
			"configs/mosquitto/iwas.conf":           "/usr/share/iwas-cloud/mosquitto/iwas.conf",
			"configs/mosquitto/iwas.acl":            "/usr/share/iwas-cloud/mosquitto/iwas.acl",
			"packaging/README.md":                   "/usr/share/doc/iwas-cloud/README.md",
			"packaging/lintian/iwas-cloud.override": "/usr/share/lintian/overrides/iwas-cloud",
		},
	},
}

// goarch is how Go names a processor.
var goarch = map[string][]string{
	"amd64": {"GOARCH=amd64", "GOAMD64=v1"},
	"arm64": {"GOARCH=arm64", "GOARM64=v8.0"},
	"armv7": {"GOARCH=arm", "GOARM=7"},
}

// small are packages into which nothing is inlined, as the Makefile's SMALL says.
var small = []string{"iwas/cloud/console", "github.com/danielgtaylor/huma/v2/...", "github.com/spf13/...", "github.com/pelletier/go-toml/...", "github.com/pressly/goose/..."}

// compile builds a program and returns its file.
func (j *job) compile(ctx context.Context, name, system, arch string) (string, error) {
	file := filepath.Join(j.work, system+"-"+arch, name)
	if system == "windows" {
		file += ".exe"
	}
	if _, err := os.Stat(file); err == nil {
		return file, nil // for its papers already
	}
	j.say("== %s %s %s", name, system, arch)
	env := append([]string{"CGO_ENABLED=0", "GOOS=" + system, "GOFLAGS="}, goarch[arch]...)
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X iwas/internal/buildinfo.version=" + j.version}
	for _, p := range small {
		args = append(args, "-gcflags="+p+"=-l")
	}
	_, err := output(ctx, env, "go", append(args, "-o", file, programs[name].dir)...)
	return file, err
}

// file is one file of a package or an archive.
type file struct {
	path string // in a package, from the root
	body []byte
	mode os.FileMode
}

// papers are all files of a program but the program: what does not depend on the
// processor. Manual and completions are written by the program itself.
func (j *job) papers(ctx context.Context, name string) ([]file, error) {
	var out []file
	p := programs[name]
	for _, from := range sorted(p.files) {
		b, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		out = append(out, file{p.files[from], b, 0o644})
	}
	own := runtime.GOARCH
	if own == "arm" {
		own = "armv7"
	}
	binary, err := j.compile(ctx, name, runtime.GOOS, own)
	if err != nil {
		return nil, err
	}
	pages, err := j.manual(ctx, name, binary)
	if err != nil {
		return nil, err
	}
	out = append(out, pages...)
	for _, shell := range []struct{ name, path string }{
		{"bash", "/usr/share/bash-completion/completions/" + name},
		{"zsh", "/usr/share/zsh/vendor-completions/_" + name},
		{"fish", "/usr/share/fish/vendor_completions.d/" + name + ".fish"},
	} {
		text, err := output(ctx, nil, binary, "completion", shell.name)
		if err != nil {
			return nil, err
		}
		out = append(out, file{shell.path, []byte(text + "\n"), 0o644})
	}
	licences, err := j.licences(ctx, name, binary)
	if err != nil {
		return nil, err
	}
	out = append(out, licences...)
	change := fmt.Sprintf("%s (%s-1) stable; urgency=medium\n\n  * Version %s.\n  * What changed is in CHANGELOG.md of the source.\n\n -- %s  %s\n",
		name, j.number, j.version, maintainer, j.date.Format(time.RFC1123Z))
	packed, err := gz([]byte(change))
	if err != nil {
		return nil, err
	}
	out = append(out, file{"/usr/share/doc/" + name + "/changelog.Debian.gz", packed, 0o644})
	slices.SortFunc(out, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return out, nil
}

// manual is the pages that the program writes of itself.
func (j *job) manual(ctx context.Context, name, binary string) ([]file, error) {
	dir := filepath.Join(j.work, "man-"+name)
	if _, err := output(ctx, nil, binary, "man", "--date", j.date.Format(time.DateOnly), dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []file
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		packed, err := gz(b)
		if err != nil {
			return nil, err
		}
		out = append(out, file{"/usr/share/man/man8/" + e.Name() + ".gz", packed, 0o644})
	}
	return out, nil
}

// gz compresses without name and time.
func gz(b []byte) ([]byte, error) {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err = w.Close()
	return buf.Bytes(), err
}
