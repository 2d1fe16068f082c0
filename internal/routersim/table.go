package routersim

import (
	"crypto/tls"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// argumentsText lists what each command takes, menu by menu.
//
//go:embed arguments.txt
var argumentsText string

// row is one row of a stored menu. Keys that a real row omits are absent.
type row struct {
	id      int
	dynamic bool // gone at reboot
	props   map[string]string
	until   time.Time         // of a timed address-list entry; zero is for ever
	served  bool              // made by the router: a client cannot change it
	due     time.Time         // of a scheduler: its next run; zero is never
	runs    int               // of a scheduler or a script
	cert    *tls.Certificate  // of a signed row of /certificate
	big     bool              // a file that the router wrote: of any size
	saved   map[string][]*row // what a backup holds, by menu
}

func (r *row) get(key string) string { return r.props[key] }

// is reports whether a flag of the row is set.
func (r *row) is(flag string) bool { return r.props[flag] == "true" }

// view is a row as it is read: with .id.
type view map[string]string

// menu is one table or, with single set, one singleton.
type menu struct {
	path   string
	single bool
	rows   []*row
	verbs  map[string][]string // commands besides print, and the arguments each takes
	shape  shape
	// list, when set, computes the rows instead.
	list func() []view
	// remove, when set, replaces removal from rows.
	remove func(id int) error
	// started are the properties of the rows that RouterOS has by itself, by name; of
	// a singleton by "".
	started map[string]map[string]string
	// secret names a key hidden from users without policy sensitive.
	secret string
}

// trap is an error as the API says it.
type trap struct {
	category int // -1: not sent
	message  string
}

func (t *trap) Error() string { return t.message }

func trapf(category int, format string, args ...any) *trap {
	return &trap{category, fmt.Sprintf(format, args...)}
}

// What every menu refuses alike. The words of errDynamic are ours.
var (
	errNoItem    = trapf(0, "no such item")
	errNoCommand = trapf(-1, "no such command")
	errDynamic   = trapf(4, "failure: cannot change a dynamic item")
)

func (s *Sim) id() int { s.nextID++; return s.nextID }

// formatID writes an id as RouterOS does: "*" and upper-case hexadecimal.
func formatID(id int) string { return fmt.Sprintf("*%X", id) }

func parseID(text string) (int, bool) {
	hex, ok := strings.CutPrefix(text, "*")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(hex, 16, 64)
	return int(n), err == nil
}

// commands reads arguments.txt as this version of RouterOS knows it: by menu,
// then by command.
func commands(version string) map[string]map[string][]string {
	out := map[string]map[string][]string{}
	for line := range strings.Lines(argumentsText) {
		key, list, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		at := strings.LastIndex(key, "/")
		path := key[:max(at, 0)]
		verb, ok := knownTo(version, key[at+1:])
		if !ok {
			continue // a command of other versions
		}
		if out[path] == nil {
			out[path] = map[string][]string{}
		}
		known := []string{}
		for _, word := range strings.Fields(list) {
			if name, ok := knownTo(version, word); ok {
				known = append(known, name)
			}
		}
		out[path][verb] = known
	}
	return out
}

// knownTo takes a word of arguments.txt apart: the argument, and whether a version
// knows it.
func knownTo(version, word string) (string, bool) {
	at := strings.IndexAny(word, "@<")
	if at < 0 {
		return word, true
	}
	major, minor := 0, 0
	_, err := fmt.Sscanf(word[at+1:], "%d.%d", &major, &minor)
	return word[:at], err == nil && atLeast(version, major, minor) == (word[at] == '@')
}

// unknownTo lists the arguments of a menu that only other versions know.
func unknownTo(version string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(argumentsText) {
		key, list, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		path := key[:max(strings.LastIndex(key, "/"), 0)]
		for _, word := range strings.Fields(list) {
			if name, ok := knownTo(version, word); !ok {
				out[path] = append(out[path], name)
			}
		}
	}
	return out
}

// print returns the rows of a menu as they read now.
func (m *menu) print() []view {
	if m.list != nil {
		return m.list()
	}
	return m.stored()
}

func (m *menu) stored() []view {
	out := make([]view, 0, len(m.rows))
	for _, r := range m.rows {
		v := make(view, len(r.props)+3)
		maps.Copy(v, r.props)
		if !m.single {
			v[".id"] = formatID(r.id)
		}
		if !r.until.IsZero() {
			v["timeout"] = formatDuration(max(time.Until(r.until), 0).Truncate(time.Second))
			v["dynamic"] = "true"
		}
		if m.shape.hidden != nil {
			m.shape.hidden(v)
		}
		out = append(out, v)
	}
	return out
}

// find returns the stored row of an id or a name.
func (m *menu) find(id string) *row {
	n, isID := parseID(id)
	for _, r := range m.rows {
		if isID && r.id == n || !isID && id != "" && r.props["name"] == id {
			return r
		}
	}
	return nil
}

// own finds a row that a client may change.
func (m *menu) own(id string) (*row, error) {
	r := m.find(id)
	if r == nil && m.list != nil && slices.ContainsFunc(m.list(), func(v view) bool { return v[".id"] == id }) {
		return nil, errDynamic
	}
	if r == nil {
		return nil, errNoItem
	}
	if r.served {
		return nil, errDynamic
	}
	return r, nil
}

// targets are the rows a command names: by .id or numbers, several with commas.
func (m *menu) targets(args map[string]string) ([]*row, error) {
	if m.single {
		return m.rows, nil
	}
	ids := firstOf(args, ".id", "numbers")
	if ids == "" {
		return nil, trapf(0, "missing =.id=")
	}
	var out []*row
	for _, id := range strings.Split(ids, ",") {
		r, err := m.own(id)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// check refuses commands and arguments that the menu does not know.
func (m *menu) check(verb string, args map[string]string) error {
	known, ok := m.verbs[verb]
	if !ok {
		return errNoCommand
	}
	for _, k := range slices.Sorted(maps.Keys(args)) {
		if slices.Contains(known, k) || k == ".id" && (m.single || slices.Contains(known, "numbers") || slices.Contains(known, "number")) {
			continue
		}
		return trapf(0, "unknown parameter %s", k)
	}
	return nil
}

func firstOf(args map[string]string, keys ...string) string {
	for _, k := range keys {
		if args[k] != "" {
			return args[k]
		}
	}
	return ""
}

func firstWord(s string) string { w, _, _ := strings.Cut(s, " "); return w }

// atLeast compares a version such as "7.23.7 (long-term)".
func atLeast(version string, major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(version, "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}
