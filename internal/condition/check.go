package condition

import (
	"fmt"
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
	Subject string        `json:"router"` // id of the NAS
	At      time.Time     `json:"at"`     // its beginning
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
		f := first(Fail)
		r.State, r.Verdict = Fail, fmt.Sprintf("%s: %s", f.Title, f.Seen)
		if fails > 1 {
			r.Verdict += fmt.Sprintf(" (and %d more)", fails-1)
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

// lower begins a title as inside a sentence, unless it begins with an acronym.
func lower(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' && s[:2] != "Ro" { // RouterOS
		return string(s[0]|0x20) + s[1:]
	}
	return s
}
