package routersim

import (
	"maps"
	"slices"
	"strings"
)

// unexported are menus that an export leaves out: what the router is, what it does
// just now, keys, files and users; and /interface, whose rows other menus have.
var unexported = []string{"", "interface", "system", "system/backup", "tool", "system/device-mode", "system/routerboard", "system/license", "system/health", "system/resource",
	"log", "certificate", "file", "user", "user/active", "ip/firewall/connection"}

// exported is what /export prints: every row as the command that makes it, without
// what RouterOS would put there by itself. A path exports what is below it.
func (s *Sim) exported(who actor, path string, args map[string]string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exportText(who, path, args)
}

// exportText is exported with the lock held.
func (s *Sim) exportText(who actor, path string, args map[string]string) (string, error) {
	for _, policy := range needed(path, "export", args) {
		if !s.may(who, policy) {
			return "", trapf(-1, "not enough permissions (9)")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(args)) {
		if !slices.Contains(s.menus[""].verbs["export"], k) {
			return "", trapf(0, "unknown parameter %s", k)
		}
		if k == "where" || k == "path" {
			return "", trapf(4, "failure: the simulator exports whole menus")
		}
	}
	_, show := args["show-sensitive"]
	show = show && s.may(who, "sensitive")
	_, verbose := args["verbose"]
	_, terse := args["terse"]
	var b strings.Builder
	b.WriteString("# " + s.stamp(s.now()) + " by RouterOS " + firstWord(s.c.Version) + "\n")
	for _, p := range s.paths {
		if slices.Contains(unexported, p) || path != "" && p != path && !strings.HasPrefix(p, path+"/") {
			continue
		}
		lines := s.menus[p].exportLines(show, verbose)
		head := "/" + strings.ReplaceAll(p, "/", " ")
		if len(lines) > 0 && !terse {
			b.WriteString(head + "\n")
		}
		for _, line := range lines {
			if terse {
				line = head + " " + line
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String(), nil
}

// exportFile is /export file=: over the API there is nothing to print to.
func (s *Sim) exportFile(who actor, m *menu, args map[string]string) error {
	text, err := s.exportText(who, m.path, args)
	if err != nil {
		return err
	}
	if name := args["file"]; name != "" {
		s.keep(strings.TrimSuffix(name, ".rsc")+".rsc", text, nil)
	}
	return nil
}

// exportLines are the commands of one menu. A row that was there from the start is
// set, if it was changed; any other is added.
func (m *menu) exportLines(show, verbose bool) []string {
	var out []string
	for _, r := range m.rows {
		if r.dynamic || r.served || !r.until.IsZero() {
			continue
		}
		start, fixed := m.started[r.get(m.keyName())]
		if m.single {
			for _, start = range m.started {
				fixed = true // there is one
			}
		}
		verb, base := "add", m.shape.fresh
		if fixed {
			verb, base = "set", start
		}
		words := m.exportWords(r, verb, base, show, verbose)
		switch {
		case fixed && len(words) == 0:
			continue
		case fixed && !m.single:
			verb += " [ find " + m.keyName() + "=" + quote(r.get(m.keyName())) + " ]"
		}
		out = append(out, strings.Join(append([]string{verb}, words...), " "))
	}
	return out
}

// keyName is the key by which a row that was there from the start is found.
func (m *menu) keyName() string {
	if m.path == "interface/ethernet" {
		return "default-name"
	}
	return "name"
}

func (m *menu) exportWords(r *row, verb string, base map[string]string, show, verbose bool) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(r.props)) {
		v := r.props[k]
		usual, has := base[k]
		switch {
		case !slices.Contains(m.verbs[verb], k), k == m.secret && !show, k == "mac-address" && m.path == "interface/ethernet":
			continue
		case !verbose && (has && v == usual || !has && v == "false" && m.shape.values[k] == yesNo):
			continue
		}
		out = append(out, k+"="+m.consoleText(k, v))
	}
	return out
}

// consoleText writes a value as the console takes it.
func (m *menu) consoleText(key, v string) string {
	if spec := m.shape.values[key]; spec == yesNo {
		return map[string]string{"true": "yes", "false": "no"}[v]
	}
	return quote(v)
}

// quote writes a text as one word of the console.
func quote(v string) string {
	if v != "" && strings.IndexFunc(v, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._/:,*!@", c)
	}) < 0 {
		return v
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(v) + `"`
}
