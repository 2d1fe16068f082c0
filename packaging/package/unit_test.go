package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// unit is a unit file: what it says for a key, in order; an empty value clears.
type unit map[string][]string

func readUnit(t *testing.T, path string) unit {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	u := unit{}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			u[key] = append(u[key], value)
		}
	}
	return u
}

func (u unit) one(t *testing.T, key string) string {
	t.Helper()
	if len(u[key]) != 1 {
		t.Fatalf("%s: got %q, want one value", key, u[key])
	}
	return u[key][0]
}

// calls are the system calls a unit allows: groups as systemd itself lists them.
func (u unit) calls(t *testing.T) map[string]bool {
	t.Helper()
	allowed := map[string]bool{}
	for _, line := range u["SystemCallFilter"] {
		names, not := strings.CutPrefix(line, "~")
		for name := range expand(t, strings.Fields(names)) {
			allowed[name] = !not
		}
	}
	return allowed
}

func expand(t *testing.T, names []string) map[string]bool {
	out := map[string]bool{}
	for _, name := range names {
		if !strings.HasPrefix(name, "@") {
			out[name] = true
			continue
		}
		var inner []string
		for line := range strings.Lines(sh(t, "systemd-analyze", "--no-pager", "syscall-filter", name)) {
			line = strings.TrimSpace(line)
			if line != "" && line != name && !strings.HasPrefix(line, "#") {
				inner = append(inner, line)
			}
		}
		for one := range expand(t, inner) {
			out[one] = true
		}
	}
	return out
}

// refused are calls that programs try at their start and do well without, each
// with its reason.
var refused = map[string]string{
	"setrlimit":         "Go lifts its limit of open files; LimitNOFILE has set it",
	"sched_setaffinity": "none of ours; named should a new Go try",
}

var traced = regexp.MustCompile(`^[0-9]+ +(?:<\.\.\. )?([a-z0-9_]+)(?:\(| resumed>)`)

// usedCalls reads strace's file: the calls of a program and its threads after it
// was executed, and each line that asks for memory both writable and executable.
func usedCalls(t *testing.T, file string) (names map[string]bool, both []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The chain of unshare, sh, prlimit, chroot and setpriv ends in the program.
	last := strings.LastIndex(string(b), " execve(")
	if last < 0 {
		t.Fatalf("nothing was executed:\n%.2000s", b)
	}
	_, after, _ := strings.Cut(string(b[last:]), "\n")
	names = map[string]bool{}
	for line := range strings.Lines(after) {
		if m := traced.FindStringSubmatch(line); m != nil {
			names[m[1]] = true
		}
		if strings.Contains(line, "PROT_WRITE") && strings.Contains(line, "PROT_EXEC") {
			both = append(both, line)
		}
	}
	return names, both
}
