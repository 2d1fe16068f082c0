package main

import (
	"context"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// component is one in a list by CycloneDX 1.5.
type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
	Ref     string `json:"bom-ref,omitempty"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"` // in hex
}

// licences writes the list of what the program was linked from, and returns
// for the packages the licences of all of it: they ask to be passed on.
func (j *job) licences(ctx context.Context, name, binary string) ([]file, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	parts := []component{{Type: "library", Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"), PURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"), Ref: "std"}}
	goroot, err := output(ctx, nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{"Go " + info.GoVersion: goroot}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{Type: "library", Name: m.Path, Version: m.Version, PURL: "pkg:golang/" + m.Path + "@" + m.Version, Ref: m.Path + "@" + m.Version}
		if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) == 32 {
			c.Hashes = []hash{{"SHA-256", fmt.Sprintf("%x", sum)}} // of the module, as go.sum has it
		}
		parts = append(parts, c)
		if dirs[m.Path+" "+m.Version], err = output(ctx, nil, "go", "list", "-m", "-f", "{{.Dir}}", m.Path); err != nil {
			return nil, err
		}
	}
	if err := j.bill(name, parts); err != nil {
		return nil, err
	}
	text := "What this program was built from, each part with its licence.\n"
	for _, of := range sorted(dirs) {
		one, err := licenceOf(dirs[of])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", of, err)
		}
		text += "\n" + strings.Repeat("=", 76) + "\n" + of + "\n" + strings.Repeat("=", 76) + "\n\n" + one
	}
	packed, err := gz([]byte(text))
	if err != nil {
		return nil, err
	}
	notice := fmt.Sprintf("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: %s\nUpstream-Contact: %s\nSource: %s\n\n"+
		"Files: *\nCopyright: 2026 the IWAS authors\nLicense: %s\n On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.\n .\n"+
		" Licences of the parts it was built from are in LICENSES.gz beside this file.\n", name, maintainer, homepage, licence)
	doc := "/usr/share/doc/" + name + "/"
	return []file{{doc + "LICENSES.gz", packed, 0o644}, {doc + "copyright", []byte(notice), 0o644}}, nil
}

// bill writes the list of parts.
func (j *job) bill(name string, parts []component) error {
	b, err := json.MarshalIndent(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata": map[string]any{
			"timestamp": j.date.Format(time.RFC3339),
			"component": component{Type: "application", Name: name, Version: j.number, Ref: name},
		},
		"components": parts,
	}, "", "  ")
	if err != nil {
		return err
	}
	return write(filepath.Join(j.out, fmt.Sprintf("%s_%s.cdx.json", name, j.number)), append(b, '\n'), 0o644)
}

// licenceOf returns the texts of a module's licence files.
func licenceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var text []string
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		if e.IsDir() || !slices.ContainsFunc([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"}, func(p string) bool { return strings.HasPrefix(upper, p) }) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		text = append(text, strings.ReplaceAll(string(b), "\r\n", "\n"))
	}
	if len(text) == 0 {
		return "", fmt.Errorf("no licence in %s", dir)
	}
	return strings.Join(text, "\n"), nil
}
