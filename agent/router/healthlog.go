package router

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// Log is what the router's log said of guests and of trouble.
type Log struct {
	Reading
	Lines []LogLine // the oldest first; at most linesKept
	last  uint64    // id of the newest line seen, of any topic
}

// LogLine is one line of it.
type LogLine struct {
	Time   string // as the router writes it, by its clock
	Topics string
	Text   string // without secrets, and with masked MAC addresses
}

const (
	linesKept = 200
	lineBound = 300 // octets of a line's text
)

// takeLog adds the lines that are newer than the newest seen. Ids rise, and begin
// anew when the router restarts: then every line is new.
func takeLog(v *Vitals, _ time.Time, answers [][]routeros.Row) error {
	var newest uint64
	for _, r := range answers[0] {
		newest = max(newest, lineID(r))
	}
	last := v.Log.last
	if newest < last || v.System.RestartedAt.After(v.Log.At) {
		last = 0
	}
	lines := slices.Clone(v.Log.Lines)
	for _, r := range answers[0] {
		if lineID(r) > last && wanted(r["topics"]) {
			lines = append(lines, LogLine{Time: r["time"], Topics: r["topics"], Text: harmless(r["message"])})
		}
	}
	v.Log.Lines, v.Log.last = lines[max(0, len(lines)-linesKept):], newest
	return nil
}

// lineID reads "*1A2".
func lineID(r routeros.Row) uint64 {
	id, _ := strconv.ParseUint(strings.TrimPrefix(r[".id"], "*"), 16, 64)
	return id
}

// wanted picks lines by topic. The debug log of RADIUS prints packets, attribute
// by attribute: it is for whoever asked for it, on the router. Lines of the
// HotSpot carry the topic debug too (facts.md §3).
func wanted(topics string) bool {
	if has(topics, "packet") || has(topics, "radius") && has(topics, "debug") {
		return false
	}
	return has(topics, "hotspot") || has(topics, "radius") || has(topics, "critical") || has(topics, "error")
}

var (
	secretIn = regexp.MustCompile(`(?i)\b([\w-]*(?:password|passwd|passphrase|secret|token|pre-shared-key)[\w-]*\s*[=:]\s*)(?:"[^"]*"|\S+)`)
	macIn    = regexp.MustCompile(`\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b`)
)

// harmless takes secrets out of a line, masks MAC addresses and bounds it.
func harmless(text string) string {
	text = secretIn.ReplaceAllString(text, "${1}***")
	text = macIn.ReplaceAllStringFunc(text, func(s string) string {
		if m, ok := hotspot.ParseMAC(s); ok {
			return m.Masked()
		}
		return s
	})
	if len(text) <= lineBound {
		return text
	}
	cut := lineBound
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
