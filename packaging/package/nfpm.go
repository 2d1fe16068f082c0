package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

const (
	maintainer = "IWAS maintainers <packages@iwas.example>"
	homepage   = "https://iwas.example/"
	licence    = "Apache-2.0"
)

// systems is how a package format names a processor.
var systems = map[string]map[string]string{
	"deb": {"amd64": "amd64", "arm64": "arm64", "armv7": "armhf"},
	"rpm": {"amd64": "x86_64", "arm64": "aarch64", "armv7": "armv7hl"},
}

// content is an entry of nfpm's list of contents. Every one says its mode: those of
// a clone depend on who made it.
type content struct {
	Source string   `json:"src,omitempty"`
	Path   string   `json:"dst"`
	Type   string   `json:"type,omitempty"` // "dir" is a folder that goes with the package
	Info   fileInfo `json:"file_info"`
}

type fileInfo struct {
	Mode  os.FileMode `json:"mode"`
	MTime string      `json:"mtime"`
	Owner string      `json:"owner"`
	Group string      `json:"group"`
}

// packed makes a deb or an rpm.
func (j *job) packed(ctx context.Context, name, arch, format, binary string, papers []file) error {
	p := programs[name]
	stage := filepath.Join(j.work, format+"-"+arch, name)
	date := j.date.Format("2006-01-02T15:04:05Z07:00")
	contents := []content{{Source: binary, Path: "/usr/bin/" + name, Info: fileInfo{0o755, date, "root", "root"}}}
	if format == "rpm" { // dpkg takes an empty folder away by itself
		for _, own := range []string{"/usr/share/" + name, "/usr/share/doc/" + name} {
			contents = append(contents, content{Path: own, Type: "dir", Info: fileInfo{0o755, date, "root", "root"}})
		}
	}
	for _, f := range papers {
		path := f.path
		if format == "rpm" {
			if strings.Contains(path, "/lintian/") || strings.HasSuffix(path, "/changelog.Debian.gz") {
				continue
			}
			path = strings.Replace(path, "/zsh/vendor-completions/", "/zsh/site-functions/", 1)
		}
		src := filepath.Join(stage, path)
		if err := write(src, f.body, 0o644); err != nil {
			return err
		}
		contents = append(contents, content{Source: src, Path: path, Info: fileInfo{f.mode, date, "root", "root"}})
	}
	scripts := map[string]string{}
	for script, key := range map[string]string{"preinst": "preinstall", "postinst": "postinstall", "prerm": "preremove", "postrm": "postremove"} {
		b, err := os.ReadFile(filepath.Join("packaging", "scripts", script))
		if err != nil {
			return err
		}
		scripts[key] = filepath.Join(stage, script)
		text := strings.NewReplacer("@NAME@", name, "@NEXT@", p.next).Replace(string(b))
		if err := write(scripts[key], []byte(text), 0o755); err != nil {
			return err
		}
	}
	config := map[string]any{
		"name": name, "arch": systems[format][arch], "platform": "linux", "version": j.number, "version_schema": "none", "release": "1", "section": "net", "priority": "optional",
		"maintainer": maintainer, "homepage": homepage, "vendor": "IWAS", "license": licence, "description": p.summary + "\n" + p.text, "mtime": date,
		"contents": contents, "scripts": scripts, "umask": 0o022,
		"rpm": map[string]any{"compression": "zstd", "buildhost": "iwas", "summary": p.summary},
		"deb": map[string]any{"compression": "xz"},
	}
	switch format {
	case "deb": // the names of the program that makes users, on Debian 12 and newer
		config["depends"] = []string{"systemd | systemd-standalone-sysusers | systemd-sysusers"}
		config["recommends"] = []string{"ca-certificates"}
	case "rpm":
		config["depends"] = []string{"systemd"}
	}
	b, err := json.Marshal(config) // which is YAML too
	if err != nil {
		return err
	}
	file := filepath.Join(stage, "nfpm.yaml")
	if err := write(file, b, 0o644); err != nil {
		return err
	}
	_, err = output(ctx, []string{"GOFLAGS=", "GOOS=", "GOARCH=", "CGO_ENABLED=0"}, "go", "tool", "-modfile=packaging/tools/go.mod", "nfpm", "package", "--config", file, "--packager", format, "--target", j.out)
	return err
}

func write(path string, body []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, body, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode) // whatever the umask
}
