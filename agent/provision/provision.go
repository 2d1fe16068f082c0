// Package provision brings a router to the set-up a site wants, in a way that can
// be undone: Plan compares and says in words and commands what would change, Apply
// does it with a safety net on the router itself, Confirm takes the net away,
// Rollback brings the old configuration back, Watch finds what was changed since.
//
// It touches nothing but rows that carry its tag, rows named iwas-…, ports named in
// the set-up, and single settings whose old value it keeps. It reads no files but
// the record it keeps, asks nobody anything, and never stores a login.
package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"iwas/internal/routeros"
	"iwas/internal/wire"
)

// Codes of the condition catalogue that this package raises.
const (
	CodeDeviceMode  = routeros.CodeDeviceMode
	CodeRight       = routeros.CodeRightMissing
	CodeVersion     = "RTR-107"
	CodeDrift       = "RTR-108"
	CodeInTheWay    = "RTR-140" // a row of somebody else stands in the way
	CodeCutOff      = "RTR-141" // the plan would cut this box off
	CodeFasttrack   = "RTR-142" // guests cannot be kept from a fasttrack rule
	CodeLogin       = "RTR-143" // the login for apply has not all rights
	CodeNoNet       = "RTR-144" // device-mode leaves no safety net
	CodeFailed      = "RTR-145" // a step failed; the old configuration is back
	CodeReverted    = "RTR-146" // not confirmed in time
	CodeNoReturn    = "RTR-147" // this box cannot come back
	CodeLeftover    = "RTR-148" // undone, but not wholly
	CodeNoSetup     = "RTR-160" // nobody wants anything of this router
	CodeNoLogin     = "RTR-161" // no login for applying is stored on the box
	CodePlanChanged = "RTR-162" // another plan than the one that was read
	CodeBadSetup    = "RTR-164" // the set-up cannot be meant
	CodeNoHotSpot   = "HSP-101"
)

// Window is how long a person has to confirm, and how long the router waits for
// this box before it goes back by itself.
const Window = 120 * time.Second

// tag begins the comment of every row of ours.
const tag = "iwas:"

// oldComment is on the RADIUS entry that older scripts made.
const oldComment = "IWAS box"

// Step is one change of a plan.
type Step struct {
	N       int      `json:"n"` // from 1
	Key     string   `json:"key"`
	Words   string   `json:"words"`           // for people
	Command string   `json:"command"`         // to paste; secrets are masked
	Undo    string   `json:"undo"`            // what takes it back
	Needs   []string `json:"needs"`           // policies of whoever does it
	Since   string   `json:"since,omitempty"` // oldest RouterOS that takes it; "" is every version supported
	Warning string   `json:"warning,omitempty"`

	item item // what it brings about; check by it
	do   Op
	undo []Op
}

// Stop is why a plan must not be applied.
type Stop struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Next string `json:"next"`
}

// Plan is what stands between a router and its set-up.
type Plan struct {
	Mode    string   `json:"mode"`
	Version string   `json:"routeros"`
	Steps   []Step   `json:"steps"`
	Stops   []Stop   `json:"stops"`
	Notes   []string `json:"notes"` // what is left as it is, and why

	want wanted
}

// Key tells plans apart: equal for the same steps on the same router version.
func (p Plan) Key() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s", p.Mode, p.Version)
	for _, s := range p.Steps {
		fmt.Fprintf(h, "\x00%s\x00%s\x00%s", s.Key, s.Command, s.Undo)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// SetupKey tells set-ups apart.
func SetupKey(s wire.RouterSetup) string {
	b, err := json.Marshal(s)
	if err != nil {
		return "" // names and numbers: cannot be
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

// Empty reports whether the router is as wanted.
func (p Plan) Empty() bool { return len(p.Steps) == 0 && len(p.Stops) == 0 }
