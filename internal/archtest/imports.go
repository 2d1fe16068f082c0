package archtest

import (
	"regexp"
	"strconv"
	"strings"
)

// fileName is one lower-case word, then perhaps a system, then perhaps _test.
var fileName = regexp.MustCompile(`^[a-z][a-z0-9]*(_(linux|windows|unix|other))?(_test)?\.go$`)

func checkName(f *file, say sayer) {
	if !fileName.MatchString(f.name) {
		say(f.syntax.Package, "name", "%s is not one lower-case word (and _test, _linux, _windows)", f.name)
	}
}

// checkImports holds the direction in which our own packages know each other.
func checkImports(f *file, say sayer) {
	self := Module + "/" + f.dir
	for _, spec := range f.syntax.Imports {
		p, _ := strconv.Unquote(spec.Path.Value) // the parser took it for a string
		if f.dir == "internal/hotspot" && strings.Contains(strings.Split(p, "/")[0], ".") {
			say(spec.Pos(), "direction", "internal/hotspot is the vocabulary: it imports the standard library only, not %s", p)
		}
		rest, ours := strings.CutPrefix(p, Module+"/")
		if !ours || p == self {
			continue
		}
		if why := forbidden(f.dir, rest); why != "" {
			say(spec.Pos(), "direction", "%s imports %s: %s", f.dir, rest, why)
		}
	}
}

// forbidden says why a package may not import another of ours; "" is allowed.
func forbidden(from, to string) string {
	fromTop, fromRest, _ := strings.Cut(from, "/")
	toTop, toRest, _ := strings.Cut(to, "/")
	switch {
	case from == "internal/hotspot":
		return "the vocabulary imports nothing of ours"
	case toTop == "internal", to == "configs":
		return ""
	case fromTop == "internal":
		return "internal packages know neither agent nor cloud"
	case fromTop != toTop:
		return "agent and cloud never import each other; what crosses is in internal/wire"
	case fromRest == "":
		return "" // the main wires
	case strings.HasPrefix(toRest, fromRest+"/") || strings.HasPrefix(fromRest, toRest+"/"):
		return "" // a package and what lies below it
	}
	return "siblings never import each other: declare what you need as a small interface, the main wires it"
}

// door is where a foreign library enters.
type door struct {
	library string   // prefix of the import path
	dirs    []string // packages that may import it
	tests   bool     // tests of any package may too
	mains   bool     // package main may too
	why     string
}

var doors = []door{
	{"layeh.com/radius", []string{"agent/radius", "internal/routersim", "internal/radload"}, true, false, "RADIUS enters through agent/radius"},
	{"github.com/go-routeros", []string{"internal/routeros"}, true, false, "RouterOS enters through internal/routeros"},
	{"github.com/eclipse/paho", []string{"internal/mqttlink"}, true, false, "MQTT enters through internal/mqttlink"},
	{"github.com/mochi-mqtt", []string{"cloud/broker"}, true, false, "the embedded broker is cloud/broker"},
	{"modernc.org/sqlite", []string{"agent/store", "cloud/store", "internal/sqlmigrate"}, true, false, "databases enter through the two stores"},
	{"github.com/jackc/pgx", []string{"cloud/store", "internal/sqlmigrate"}, true, false, "databases enter through the two stores"},
	{"github.com/pressly/goose", []string{"agent/store", "cloud/store", "internal/sqlmigrate"}, false, false, "databases enter through the two stores"},
	{"github.com/danielgtaylor/huma", []string{"cloud/console"}, false, false, "the HTTP API is cloud/console"},
	{"github.com/prometheus", []string{"internal/metrics", "internal/metrics/metricstest"}, false, false, "metrics enter through internal/metrics"},
	{"github.com/chromedp", []string{"internal/webui/webuitest"}, true, false, "browsers are for tests"},
	{"github.com/spf13/cobra", []string{"internal/manual", "internal/ownership"}, false, true, "flags and commands belong to the mains; what both do about all of theirs is here"},
	{"github.com/kardianos/service", nil, false, true, "being a service belongs to the mains"},
	{"github.com/thejerf/suture", nil, false, true, "supervision belongs to the mains"},
	{"github.com/pelletier/go-toml", nil, false, true, "only the mains read configuration"},
}

// checkForeign holds each foreign library to its one door, so that it can be
// replaced there.
func checkForeign(f *file, say sayer) {
	for _, spec := range f.syntax.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		for _, d := range doors {
			if !strings.HasPrefix(p, d.library) || d.lets(f) {
				continue
			}
			say(spec.Pos(), "foreign", "%s may not be imported here: %s", p, d.why)
		}
	}
}

func (d door) lets(f *file) bool {
	if d.tests && f.test || d.mains && f.main() {
		return true
	}
	for _, dir := range d.dirs {
		if f.dir == dir || strings.HasPrefix(f.dir, dir+"/") {
			return true
		}
	}
	return false
}
