// Package condition is the catalogue of what can be wrong with a cafe's box,
// its router and its cloud: for each a code, how bad it is, the cause, the next
// step and a page of help that needs no internet. It also keeps which of them
// are open now.
//
// It never finds out by itself: whoever knows raises a condition, and clears it.
// A login that was refused is no condition; it is a hotspot.Verdict.
package condition

import (
	"cmp"
	"embed"
	"slices"
	"strings"
	"time"
)

// Severity is how much a condition hurts the cafe.
type Severity string

const (
	// Low can wait for the next visit.
	Low Severity = "low"
	// Medium is degraded: something promised does not hold, guests are served.
	Medium Severity = "medium"
	// High needs a person now.
	High Severity = "high"
)

// rank orders severities, the worst first.
func (s Severity) rank() int { return slices.Index([]Severity{High, Medium, Low}, s) }

// Condition is one entry of the catalogue.
type Condition struct {
	Code     string // AREA-NNN; never reused, never given another meaning
	Severity Severity
	Title    string // what is wrong, as a heading without a full stop
	Cause    string // why it happens, in a sentence
	Next     string // the first thing to do, in a sentence
	// DependsOn names conditions that explain this one: while one of them is
	// open, this one is not shown.
	DependsOn []string
	// Delay is how long it must last before it is shown, so that a restart of
	// the router or a lost packet rings no bell.
	Delay time.Duration
	// ImpactsLogin says that guests cannot log in, or not all of them.
	ImpactsLogin bool
}

// Area is the first part of a code.
type Area string

// Areas of the catalogue.
const (
	SYS Area = "SYS" // the box itself
	CLK Area = "CLK" // its clock
	NET Area = "NET" // its network
	CLD Area = "CLD" // the cloud and the enrolment with it
	RTR Area = "RTR" // the router's management door
	HSP Area = "HSP" // the HotSpot on the router
	RAD Area = "RAD" // RADIUS between router and box
	DB  Area = "DB"  // databases and the disk below them
	OUT Area = "OUT" // facts on their way to the cloud
	UPD Area = "UPD" // versions
)

// areas lists them in the order of the catalogue.
var areas = []Area{SYS, CLK, NET, CLD, RTR, HSP, RAD, DB, OUT, UPD}

// Area returns the first part of the code.
func (c Condition) Area() Area {
	area, _, _ := strings.Cut(c.Code, "-")
	return Area(area)
}

// catalogue is every condition, in the order of areas and numbers.
var catalogue = slices.Concat(box, cloud, router, radius, storage)

// All returns the catalogue, in the order of areas and numbers.
func All() []Condition {
	out := slices.Clone(catalogue)
	slices.SortFunc(out, func(a, b Condition) int {
		return cmp.Or(cmp.Compare(slices.Index(areas, a.Area()), slices.Index(areas, b.Area())), cmp.Compare(a.Code, b.Code))
	})
	return out
}

// Lookup returns the entry of a code, in any case; false if there is none.
func Lookup(code string) (Condition, bool) {
	i := slices.IndexFunc(catalogue, func(c Condition) bool { return strings.EqualFold(c.Code, code) })
	if i < 0 {
		return Condition{}, false
	}
	return catalogue[i], true
}

//go:embed pages/*.md
var pages embed.FS

// Page returns the page of help of a code, in Markdown: a title, then the
// sections "What you see", "Why", "Check", "Fix" and "Still stuck". It uses
// headings, paragraphs, lists, fenced code and `code` only.
func Page(code string) (markdown string, ok bool) {
	c, ok := Lookup(code)
	if !ok {
		return "", false
	}
	b, err := pages.ReadFile("pages/" + c.Code + ".md")
	return string(b), err == nil
}
