// Package manualtest holds a program's commands to what people need of each: help with
// an example that works, a page in the manual, a completion. It is for tests only.
package manualtest

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Run walks the tree. fresh makes it anew, since a parsed command remembers its flags.
// tests are folders whose files have to name each command once.
func Run(t *testing.T, fresh func() *cobra.Command, tests ...string) {
	t.Helper()
	man := t.TempDir()
	writer := fresh()
	writer.SetArgs([]string{"man", man})
	writer.SetOut(new(bytes.Buffer))
	if err := writer.Execute(); err != nil {
		t.Fatal(err)
	}
	named := sources(t, tests)
	for _, words := range Leaves(fresh()) {
		path := strings.Join(words, " ")
		c, _, err := fresh().Find(words)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if c.Short == "" || len(c.Long) < 40 {
			t.Errorf("%s: its help says what it does in %q", path, c.Long)
		}
		examples(t, fresh, path, c)
		page, err := os.ReadFile(filepath.Join(man, strings.ReplaceAll(c.CommandPath(), " ", "-")+".8"))
		if err != nil || !bytes.Contains(page, []byte("EXAMPLE")) {
			t.Errorf("%s: its page in the manual has no example (%v)", path, err)
		}
		if !completes(t, fresh(), words) {
			t.Errorf("%s is not offered by the completion of what stands before it", path)
		}
		if !namedAs(words).MatchString(named) {
			t.Errorf("%s is named in no test", path)
		}
	}
}

// Leaves are the commands that do something, as the words after the program's name.
func Leaves(c *cobra.Command) (out [][]string) {
	for _, sub := range c.Commands() {
		if !sub.HasSubCommands() && sub.Runnable() {
			out = append(out, strings.Fields(sub.CommandPath())[1:])
		}
		out = append(out, Leaves(sub)...)
	}
	return out
}

// examples tries every line: a command that exists, flags it has, arguments it takes.
func examples(t *testing.T, fresh func() *cobra.Command, path string, c *cobra.Command) {
	t.Helper()
	n := 0
	for line := range strings.Lines(c.Example) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  #")
		words := split(strings.TrimPrefix(line, "sudo "))
		if i := slices.IndexFunc(words, func(w string) bool { return w == ">" || w == "<" }); i >= 0 {
			words = words[:i]
		}
		root := fresh()
		if len(words) < 2 || words[0] != root.Name() {
			t.Errorf("%s: the example %q does not begin with %s", path, line, root.Name())
			continue
		}
		found, rest, err := root.Find(words[1:])
		if err == nil && strings.Join(strings.Fields(found.CommandPath())[1:], " ") == path {
			n++
		}
		if err == nil {
			err = found.ParseFlags(rest)
		}
		if err == nil {
			err = found.ValidateArgs(found.Flags().Args())
		}
		if err == nil {
			err = found.ValidateRequiredFlags()
		}
		if err != nil {
			t.Errorf("%s: the example %q: %v", path, line, err)
		}
	}
	if n == 0 {
		t.Errorf("%s: no example of it in its help", path)
	}
}

// split is a line as a shell splits it, as far as double quotes go.
func split(line string) (out []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

// completes asks as a shell does, when the last word was begun and Tab pressed.
func completes(t *testing.T, root *cobra.Command, words []string) bool {
	t.Helper()
	last := len(words) - 1
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(new(bytes.Buffer))
	root.SetArgs(slices.Concat([]string{cobra.ShellCompRequestCmd}, words[:last], []string{words[last][:1]}))
	if err := root.Execute(); err != nil {
		t.Errorf("complete %v: %v", words, err)
	}
	for line := range strings.Lines(out.String()) {
		if word, about, _ := strings.Cut(strings.TrimSpace(line), "\t"); word == words[last] && about != "" {
			return true
		}
	}
	return false
}

// sources are the tests, as one text.
func sources(t *testing.T, folders []string) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range folders {
		for _, pattern := range []string{"*_test.go", "*_test.sh", "testdata/*.txt", "testdata/*.txtar"} {
			files, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				all.Write(b)
			}
		}
	}
	return all.String()
}

// namedAs finds a command in a test: its words as arguments of a call, or as typed.
func namedAs(words []string) *regexp.Regexp {
	var quoted, typed []string
	for _, w := range words {
		quoted, typed = append(quoted, `"`+regexp.QuoteMeta(w)+`"`), append(typed, regexp.QuoteMeta(w))
	}
	return regexp.MustCompile(strings.Join(quoted, `,\s*`) + `|iwas-(?:agent|cloud)(?: --config \S+)? ` + strings.Join(typed, ` `) + `\b`)
}
