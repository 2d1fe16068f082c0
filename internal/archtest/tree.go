// Package archtest holds the rules on the source tree that no compiler knows:
// which package may import which, where a foreign library may enter, what a
// file is called, what must carry a comment, and what may not be written at
// all. Its test reads every file of the module and fails on a breach.
//
// It is for tests only: no program imports it. It reads in its own process, so
// that the test cache sees the files it depends on.
package archtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Module is the name in go.mod; import paths of ours begin with it.
const Module = "iwas"

// Breach is one place where a rule does not hold.
type Breach struct {
	File string // path inside the module, with slashes
	Line int    // 0 is the file as a whole
	Rule string // one word, for the eye
	Text string // what is wrong and what to do instead
}

// String prints a breach as compilers do: "file:line: rule: text".
func (b Breach) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", b.File, b.Line, b.Rule, b.Text)
}

// file is one Go file of the module.
type file struct {
	path   string // "agent/radius/server.go"
	dir    string // "agent/radius"
	name   string // "server.go"
	test   bool   // ends in _test.go
	syntax *ast.File
	lines  []string
	set    *token.FileSet
}

// main reports whether the file belongs to a program.
func (f *file) main() bool { return f.syntax.Name.Name == "main" }

// at returns the line of a position.
func (f *file) at(p token.Pos) int { return f.set.Position(p).Line }

// tree is every Go file, and every other text file as lines.
type tree struct {
	files []*file
	texts map[string][]string // files that are not Go, by path
}

// skipped are directories that are not part of the source.
func skipped(name string) bool {
	return name != "." && (strings.HasPrefix(name, ".") && name != ".ci" || slices.Contains([]string{"bin", "dist", "vendor", "testdata", "node_modules"}, name))
}

// isText names the files besides Go whose words are looked at.
func isText(name string) bool {
	return slices.Contains([]string{".md", ".sh", ".html", ".css", ".js", ".sql", ".toml", ".conf", ".service", ".yml", ".yaml"}, path.Ext(name)) ||
		name == "Makefile" || name == "run"
}

func read(fsys fs.FS) (*tree, error) {
	t := &tree{texts: map[string][]string{}}
	set := token.NewFileSet()
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if skipped(d.Name()) {
				return fs.SkipDir
			}
			return nil
		case path.Ext(p) != ".go" && !isText(d.Name()):
			return nil
		}
		b, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		lines := strings.Split(string(b), "\n")
		if path.Ext(p) != ".go" {
			t.texts[p] = lines
			return nil
		}
		syntax, err := parser.ParseFile(set, p, b, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("read %s: %w", p, err)
		}
		t.files = append(t.files, &file{path: p, dir: path.Dir(p), name: path.Base(p), test: strings.HasSuffix(p, "_test.go"), syntax: syntax, lines: lines, set: set})
		return nil
	})
	return t, err
}

// Check reads the module at the root of fsys and returns every breach, sorted
// by place.
func Check(fsys fs.FS) ([]Breach, error) {
	t, err := read(fsys)
	if err != nil {
		return nil, err
	}
	var out []Breach
	for _, f := range t.files {
		say := func(pos token.Pos, rule, format string, args ...any) {
			out = append(out, Breach{f.path, f.at(pos), rule, fmt.Sprintf(format, args...)})
		}
		for _, rule := range []func(*file, sayer){checkName, checkImports, checkForeign, checkCalls, checkSleeps, checkTLS, checkLogKeys, checkCodes, checkWords} {
			rule(f, say)
		}
	}
	out = append(out, checkDocs(t)...)
	out = append(out, checkTexts(t)...)
	slices.SortFunc(out, func(a, b Breach) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(out), nil
}

// sayer takes in one breach.
type sayer = func(pos token.Pos, rule, format string, args ...any)
