package condition

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Mark is how one row of a check came out.
type Mark string

const (
	OK      Mark = "ok"
	Warn    Mark = "warn"    // it works, and should be seen to
	Fail    Mark = "fail"    // something promised does not work
	Unknown Mark = "unknown" // it could not be found out
	Skipped Mark = "skipped" // it was not asked, because of another row or the configuration
)

// CheckRow is one point of a check, for people and programs alike.
type CheckRow struct {
	Area   string `json:"area,omitempty"`   // of the check of a box: "cloud"
	Target string `json:"target,omitempty"` // which router, which cloud
	// At is when it was looked at, if its area was looked at again after the report.
	At time.Time `json:"at,omitzero"`

	Probe   string        `json:"probe"` // stable name, "radius-secret"
	Title   string        `json:"title"`
	State   Mark          `json:"state"`
	Code    string        `json:"code,omitempty"`    // of the catalogue; "" when nothing is wrong
	Seen    string        `json:"seen"`              // what was found
	Cause   string        `json:"cause,omitempty"`   // why, in a sentence
	Next    string        `json:"next,omitempty"`    // what to do, in a sentence
	Command string        `json:"command,omitempty"` // to paste
	Late    bool          `json:"late,omitempty"`    // no answer within the time of one probe
	Took    time.Duration `json:"took_ns"`
}

// Explained returns the row with cause and next step of its code, where it has
// none of its own.
func (r CheckRow) Explained() CheckRow {
	c, ok := Lookup(r.Code)
	if !ok {
		return r
	}
	if r.Cause == "" {
		r.Cause = c.Cause
	}
	if r.Next == "" {
		r.Next = c.Next
	}
	return r
}

// CheckVersion is the version of the shape of CheckReport in JSON. Keys are
// added, never renamed.
const CheckVersion = 1

// CheckReport is one whole check.
type CheckReport struct {
	Version int           `json:"version"`
	Subject string        `json:"router,omitempty"` // id of the NAS; "": of more than a router
	At      time.Time     `json:"at"`               // its beginning
	Took    time.Duration `json:"took_ns"`
	State   Mark          `json:"state"`
	Verdict string        `json:"verdict"`
	Rows    []CheckRow    `json:"rows"`
}

// Count returns how many rows came out so.
func (r CheckReport) Count(m Mark) int {
	n := 0
	for _, row := range r.Rows {
		if row.State == m {
			n++
		}
	}
	return n
}

// Judge sets State and Verdict from the rows: the worst counts, and the first
// failure is named, because the rows stand in the order in which one needs the
// other.
func (r *CheckReport) Judge() {
	first := func(m Mark) CheckRow {
		for _, row := range r.Rows {
			if row.State == m {
				return row
			}
		}
		return CheckRow{}
	}
	switch fails, warns, unknown := r.Count(Fail), r.Count(Warn), r.Count(Unknown); {
	case fails > 0:
		causes := 0
		for _, row := range Causes(r.Rows) {
			if row.State != Fail {
				continue
			}
			if causes++; causes == 1 {
				r.State, r.Verdict = Fail, fmt.Sprintf("%s: %s", row.Title, row.Seen)
			}
		}
		if causes > 1 {
			r.Verdict += fmt.Sprintf(" (and %d more)", causes-1)
		}
	case warns > 0:
		f := first(Warn)
		r.State, r.Verdict = Warn, fmt.Sprintf("It works; look at %s: %s", lower(f.Title), f.Seen)
	case unknown > 0:
		f := first(Unknown)
		r.State, r.Verdict = Unknown, fmt.Sprintf("Nothing wrong was found; not known is %s: %s", lower(f.Title), f.Seen)
	default:
		r.State, r.Verdict = OK, "Everything asked is as it should be"
	}
}

// Causes returns the rows that need a person, without those that another one of them
// explains by the catalogue, and each code once: where one mends the causes, the rest
// follows. Rows that failed come first, then warnings, then what is not known.
func Causes(rows []CheckRow) []CheckRow {
	var bad []CheckRow
	for _, m := range []Mark{Fail, Warn, Unknown} {
		for _, row := range rows {
			if row.State == m {
				bad = append(bad, row)
			}
		}
	}
	var out []CheckRow
	seen := map[string]bool{}
	for _, row := range bad {
		c, known := Lookup(row.Code)
		explained := known && slices.ContainsFunc(bad, func(o CheckRow) bool { return slices.Contains(c.DependsOn, o.Code) })
		if explained || row.Code != "" && seen[row.Code] {
			continue
		}
		seen[row.Code] = true
		out = append(out, row)
	}
	return out
}

// lower begins a title as inside a sentence, unless it begins with a name.
func lower(s string) string {
	first, _, _ := strings.Cut(s, " ")
	if len(first) > 0 && strings.ToLower(first[1:]) == first[1:] { // no capital but the first: neither RADIUS nor MikroTik
		return strings.ToLower(first[:1]) + s[1:]
	}
	return s
}
