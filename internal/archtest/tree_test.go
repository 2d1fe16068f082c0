package archtest

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestTree holds this very module to the rules.
func TestTree(t *testing.T) {
	breaches, err := Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaches {
		t.Error(b)
	}
}

// A list of exceptions that names files which need none goes stale unseen.
func TestExceptionsAreNeeded(t *testing.T) {
	tree, err := read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.files) < 100 {
		t.Fatalf("read %d files, want the whole module", len(tree.files))
	}
	panics := map[string]bool{}
	for _, f := range tree.files {
		for _, line := range f.lines {
			panics[f.path] = panics[f.path] || strings.Contains(line, "panic(")
		}
	}
	for path, reason := range mayPanic {
		if !panics[path] {
			t.Errorf("%s may panic (%s) and does not: take it out of the list", path, reason)
		}
	}
}

// good is a package that breaks no rule.
const good = `// Package good does good, and never harm.
package good

import "time"

// Tone is a colour.
type Tone string

const (
	Calm Tone = "calm"
	Loud Tone = "loud"
)

// Wait waits. RTR-101 is a code in a comment, and the word todo in lower case
// promises nothing.
func Wait(done func() bool) {
	for !done() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Second) // a reason
}
`

func TestRulesCanFail(t *testing.T) {
	pkg := func(name, rest string) string {
		return "// Package " + name + " is a test.\npackage " + name + "\n" + rest
	}
	todo := "TO" + "DO"
	for _, test := range []struct {
		name, path, source string
		want               string // rule; "" is no breach
	}{
		{"a good package", "internal/good/good.go", good, ""},
		{"a sibling of the agent", "agent/aaa/a.go", pkg("aaa", `import _ "iwas/agent/store"`), "direction"},
		{"a sibling of the cloud, in a test", "cloud/fleet/a_test.go", pkg("fleet", `import _ "iwas/cloud/store"`), "direction"},
		{"agent knows cloud", "agent/a.go", "// Command a.\npackage main\nimport _ \"iwas/cloud/store\"", "direction"},
		{"cloud knows agent", "cloud/ingest/a.go", pkg("ingest", `import _ "iwas/agent/aaa"`), "direction"},
		{"internal knows agent", "internal/wire/a.go", pkg("wire", `import _ "iwas/agent/aaa"`), "direction"},
		{"internal knows cloud, in a test", "internal/wire/a_test.go", pkg("wire", `import _ "iwas/cloud/store"`), "direction"},
		{"the vocabulary knows a mechanism", "internal/hotspot/a.go", pkg("hotspot", `import _ "iwas/internal/fault"`), "direction"},
		{"the vocabulary knows a library", "internal/hotspot/a.go", pkg("hotspot", `import _ "golang.org/x/text/width"`), "direction"},
		{"the main wires", "agent/a.go", "// Command a.\npackage main\nimport _ \"iwas/agent/store\"", ""},
		{"a suite below its package", "cloud/store/storetest/a.go", pkg("storetest", `import _ "iwas/cloud/store"`), ""},
		{"internal knows internal", "internal/wire/a.go", pkg("wire", `import _ "iwas/internal/hotspot"`), ""},

		{"RADIUS in aaa", "agent/aaa/a.go", pkg("aaa", `import _ "layeh.com/radius/rfc2865"`), "foreign"},
		{"RADIUS in a test", "agent/aaa/a_test.go", pkg("aaa", `import _ "layeh.com/radius"`), ""},
		{"RADIUS at its door", "agent/radius/a.go", pkg("radius", `import _ "layeh.com/radius"`), ""},
		{"RouterOS in router", "agent/router/a.go", pkg("router", `import _ "github.com/go-routeros/routeros/v3"`), "foreign"},
		{"MQTT in uplink", "agent/uplink/a.go", pkg("uplink", `import _ "github.com/eclipse/paho.mqtt.golang"`), "foreign"},
		{"a broker in ingest", "cloud/ingest/a.go", pkg("ingest", `import _ "github.com/mochi-mqtt/server/v2"`), "foreign"},
		{"SQL in the console", "cloud/console/a.go", pkg("console", `import _ "modernc.org/sqlite"`), "foreign"},
		{"PostgreSQL in the agent", "agent/store/a.go", pkg("store", `import _ "github.com/jackc/pgx/v5"`), "foreign"},
		{"a browser in a program", "cloud/console/a.go", pkg("console", `import _ "github.com/chromedp/chromedp"`), "foreign"},
		{"metrics in radius", "agent/radius/a.go", pkg("radius", `import _ "github.com/prometheus/client_golang/prometheus"`), "foreign"},
		{"commands in a package", "agent/aaa/a.go", pkg("aaa", `import _ "github.com/spf13/cobra"`), "foreign"},
		{"commands in a main", "agent/a.go", "// Command a.\npackage main\nimport _ \"github.com/spf13/cobra\"", ""},
		{"a service in a package", "agent/aaa/a.go", pkg("aaa", `import _ "github.com/kardianos/service"`), "foreign"},

		{"no package comment", "internal/a/a.go", "package a", "package"},
		{"a comment that is not the package's", "internal/a/a.go", "// Some file.\npackage a", "package"},
		{"two words in a file's name", "internal/good/two_words.go", good, "name"},
		{"capitals in a file's name", "internal/good/Good.go", good, "name"},
		{"a file for one system", "internal/good/good_linux.go", good, ""},
		{"a test for one system", "internal/good/good_windows_test.go", good, ""},

		{"exit from a package", "internal/a/a.go", pkg("a", "import \"os\"\nfunc f() { os.Exit(1) }"), "exit"},
		{"exit from a main", "agent/a.go", "// Command a.\npackage main\nimport \"os\"\nfunc main() { os.Exit(1) }", ""},
		{"exit from TestMain", "internal/a/a_test.go", pkg("a", "import (\"os\"; \"testing\")\nfunc TestMain(m *testing.M) { os.Exit(m.Run()) }"), ""},
		{"exit from a test", "internal/a/a_test.go", pkg("a", "import \"os\"\nfunc f() { os.Exit(1) }"), "exit"},
		{"log.Fatal in a main", "agent/a.go", "// Command a.\npackage main\nimport \"log\"\nfunc main() { log.Fatalf(\"x\") }", "exit"},
		{"panic", "internal/a/a.go", pkg("a", "func f() { panic(1) }"), "panic"},
		{"panic with a reason", "internal/wire/codec.go", pkg("wire", "func f() { panic(1) }"), ""},
		{"panic in a test", "internal/a/a_test.go", pkg("a", "func f() { panic(1) }"), ""},
		{"a skipped test", "internal/a/a_test.go", pkg("a", "import \"testing\"\nfunc f(t *testing.T) { t.Skip() }"), "skip"},
		{"a skipped test with a text", "internal/a/a_test.go", pkg("a", "import \"testing\"\nfunc f(x *testing.B) { x.Skipf(\"%d\", 1) }"), "skip"},

		{"a key with another name", "agent/a/a.go", pkg("a", "import \"log/slog\"\nfunc f(log *slog.Logger) { log.Info(\"x\", \"nas\", 1, \"took\", 2) }"), "log"},
		{"a key of a part's log", "agent/a/a.go", pkg("a", "import \"log/slog\"\ntype s struct{ Log *slog.Logger }\nfunc (s s) f() { s.Log.With(\"account\", 1) }"), "log"},
		{"a key in capitals", "agent/a/a.go", pkg("a", "import \"log/slog\"\nfunc f(log *slog.Logger) { log.Warn(\"x\", \"Class\", 1) }"), "log"},
		{"sleeping", "internal/a/a_test.go", pkg("a", "import \"time\"\nfunc f() { time.Sleep(1) }"), "sleep"},
		{"sleeping for ever", "internal/a/a.go", pkg("a", "import \"time\"\nfunc f() { for { time.Sleep(1) } }"), "sleep"},
		{"polling", "internal/a/a.go", pkg("a", "import \"time\"\nfunc f() { for { if x() { return }\ntime.Sleep(1) } }"), ""},
		{"sleeping with a reason before", "internal/a/a.go", pkg("a", "import \"time\"\nfunc f() {\n// a reason\ntime.Sleep(1) }"), ""},
		{"sleeping in a bubble", "internal/a/a_test.go", pkg("a", "import (\"time\"; \"testing/synctest\")\nfunc f() { synctest.Test(nil, func() { time.Sleep(1) }) }"), ""},
		{"sleeping in what a bubble calls", "internal/a/a_test.go", pkg("a", "import (\"time\"; \"testing/synctest\")\nfunc f() { synctest.Test(nil, func() { g() }) }\nfunc g() { h() }\nfunc h() { time.Sleep(1) }"), ""},
		{"sleeping in a helper's bubble", "internal/a/a_test.go", pkg("a", "import (\"time\"; \"testing/synctest\")\nfunc TestX() { run(func() { time.Sleep(1*2) }) }\nfunc run(f func()) { synctest.Test(nil, f) }"), ""},
		{"sleeping outside a test's bubble", "internal/a/a_test.go", pkg("a", "import (\"time\"; \"testing/synctest\")\nfunc TestX() { time.Sleep(1*2); synctest.Test(nil, func() {}) }"), "sleep"},
		{"a fake that is slow on purpose", "internal/a/a_test.go", pkg("a", "import \"time\"\ntype fake struct { takes time.Duration }\nfunc (f fake) do() { time.Sleep(f.takes) }"), ""},

		{"trusting anybody", "internal/a/a.go", pkg("a", "import \"crypto/tls\"\nvar c = &tls.Config{InsecureSkipVerify: true}"), "tls"},
		{"a code without help", "internal/a/a.go", pkg("a", `const code = "RTR-999"`), "code"},
		{"a code with help", "internal/a/a.go", pkg("a", `const code = "RTR-101"`), ""},

		{"a promise", "internal/a/a.go", pkg("a", "// "+todo+": later\nvar x int"), "unfinished"},
		{"a promise in a page", "docs/a.md", "# A\n\n" + todo + "\n", "unfinished"},
		{"a path of one machine", "internal/a/a.go", pkg("a", `const p = "/`+`home/mara/x"`), "path"},
		{"a path of one machine in a script", "packaging/a.sh", "cd /" + "work/main\n", "path"},
		{"a path of every machine", "internal/a/a.go", pkg("a", `const p = "/var/lib/iwas-agent"; const q = "GET /sites/home/x"`), ""},

		{"a bare function", "internal/a/a.go", pkg("a", "func F() {}"), "comment"},
		{"a bare method", "internal/a/a.go", pkg("a", "// T is.\ntype T struct{}\nfunc (*T) M() {}"), "comment"},
		{"a bare generic method", "internal/a/a.go", pkg("a", "// T is.\ntype T[A, B any] struct{}\nfunc (*T[A, B]) M() {}"), "comment"},
		{"a method nobody can call by name", "internal/a/a.go", pkg("a", "type t struct{}\nfunc (t) M() {}"), ""},
		{"a bare type", "internal/a/a.go", pkg("a", "type T int"), "comment"},
		{"a bare variable", "internal/a/a.go", pkg("a", "var V int"), "comment"},
		{"a bare constant", "internal/a/a.go", pkg("a", "const C = 1"), "comment"},
		{"constants of a bare type", "internal/a/a.go", pkg("a", "type t int\nconst C t = 1"), "comment"},
		{"constants of a type with a comment", "internal/a/a.go", pkg("a", "// T is.\ntype T int\nconst (\nC T = iota\nD\n)"), ""},
		{"a constant beside an enumeration", "internal/a/a.go", pkg("a", "// T is.\ntype T int\nconst (\nC T = 1\nD = 2\n)"), "comment"},
		{"a group with a comment", "internal/a/a.go", pkg("a", "// Limits of this.\nconst (\nC = 1\nD = 2\n)"), ""},
		{"a comment behind", "internal/a/a.go", pkg("a", "const C = 1 // of this"), ""},
		{"bare names in a main", "agent/a.go", "// Command a.\npackage main\nfunc F() {}", ""},
		{"bare names in a test", "internal/a/a_test.go", pkg("a", "func F() {}"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			breaches, err := Check(fstest.MapFS{test.path: {Data: []byte(test.source)}})
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				for _, b := range breaches {
					t.Errorf("got %v, want no breach", b)
				}
				return
			}
			if len(breaches) != 1 || breaches[0].Rule != test.want || breaches[0].File != test.path {
				t.Errorf("got %v, want one breach of rule %q in %s", breaches, test.want, test.path)
			}
		})
	}
}

func TestOtherFoldersAreLeftAlone(t *testing.T) {
	for _, path := range []string{".git/a.go", "bin/a.go", "internal/a/testdata/a.go", ".run/a.md"} {
		breaches, err := Check(fstest.MapFS{path: {Data: []byte("package A; func F() {}")}})
		if err != nil || len(breaches) != 0 {
			t.Errorf("%s: got %v, %v, want nothing", path, breaches, err)
		}
	}
}

func TestAFileThatDoesNotParseIsAnError(t *testing.T) {
	if _, err := Check(fstest.MapFS{"a/a.go": {Data: []byte("packag a")}}); err == nil {
		t.Error("got no error for a file that is not Go")
	}
}
