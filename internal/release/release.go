// Package release orders versions: what git says of a build becomes a version
// that Debian's and rpm's tools order the same way. It knows nothing of files.
package release

import (
	"regexp"
	"strings"
)

// described is what `git describe --tags --dirty` prints, or a plain tag:
// 1 the numbers, 2 a candidate's name, 3 commits since, 4 the commit, 5 dirty.
var described = regexp.MustCompile(`^v?([0-9]+(?:\.[0-9]+){0,3})(?:-([a-z]+\.?[0-9]+))?(?:-([0-9]+)-g([0-9a-f]+))?(-dirty)?$`)

// Package returns the version for a package of a build: v1.4.0 is 1.4.0, v1.4.0-rc1 is
// 1.4.0~rc1 (before it), v1.4.0-3-gabc is 1.4.0+3.gabc (after it), and what was
// changed since a commit ends in .dirty. ok is false for what is no version, such as "dev".
func Package(version string) (_ string, ok bool) {
	m := described.FindStringSubmatch(version)
	if m == nil {
		return "", false
	}
	v := m[1]
	if m[2] != "" {
		v += "~" + m[2]
	}
	switch {
	case m[3] != "":
		v += "+" + m[3] + ".g" + m[4]
	case m[5] != "":
		v += "+0"
	}
	if m[5] != "" {
		v += ".dirty"
	}
	return v, true
}

// Newer reports whether version b of a build is newer than a. Of what is no
// version nothing is said.
func Newer(a, b string) bool {
	pa, oka := Package(a)
	pb, okb := Package(b)
	return oka && okb && Compare(pa, pb) < 0
}

// Compare orders two versions of packages as dpkg does, without epochs
// (deb-version(7)): negative if a is before b.
func Compare(a, b string) int {
	for a != "" || b != "" {
		na, nb := span(a, false), span(b, false)
		if c := words(a[:na], b[:nb]); c != 0 {
			return c
		}
		a, b = a[na:], b[nb:]
		na, nb = span(a, true), span(b, true)
		if c := numbers(a[:na], b[:nb]); c != 0 {
			return c
		}
		a, b = a[na:], b[nb:]
	}
	return 0
}

// span is how much of the beginning of s is digits, or is none.
func span(s string, digits bool) int {
	for i := range len(s) {
		if (s[i] >= '0' && s[i] <= '9') != digits {
			return i
		}
	}
	return len(s)
}

func numbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// words compares text: ~ is before the end, letters are before other signs.
func words(a, b string) int {
	for i := range max(len(a), len(b)) {
		if c := weight(a, i) - weight(b, i); c != 0 {
			return c
		}
	}
	return 0
}

func weight(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z':
		return int(s[i])
	}
	return int(s[i]) + 256
}
