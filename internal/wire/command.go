package wire

import (
	"encoding/json"
	"slices"
	"time"

	"iwas/internal/hotspot"
)

// Command is an imperative act with an id and a time to live. It is sent again
// until it is answered or over: at most one effect comes of an id.
type Command struct {
	V        int             `json:"v"`
	ID       string          `json:"id"`
	Kind     CommandKind     `json:"kind"`
	IssuedAt time.Time       `json:"issued_at"`
	TTL      int64           `json:"ttl_ms"` // from receipt, so that no clock is compared
	Body     json.RawMessage `json:"body,omitempty"`
	Time     time.Time       `json:"time"`
}

// DueCommand is a command that is to be sent to an agent now. It never travels.
type DueCommand struct {
	Site    hotspot.SiteID
	Agent   hotspot.AgentID
	Command Command
}

// CommandKind names what a command asks for.
type CommandKind string

const (
	// CommandKick ends an account's sessions once, without locking it.
	CommandKick CommandKind = "kick"

	// Those of a router have a RouterCommand as body.
	CommandRouterPlan     CommandKind = "router.plan"     // result: a PlanResult
	CommandRouterCheck    CommandKind = "router.check"    // result: a CheckResult; since 2026-11-28
	CommandRouterApply    CommandKind = "router.apply"    // result: an ApplyResult
	CommandRouterConfirm  CommandKind = "router.confirm"  // result: an ApplyResult
	CommandRouterRollback CommandKind = "router.rollback" // result: an ApplyResult
)

// KickBody is the body of a kick command.
type KickBody struct {
	Account hotspot.AccountID `json:"account"`
}

// RouterCommand is the body of the commands about a router's set-up.
type RouterCommand struct {
	NAS hotspot.NASID `json:"nas"`
	// Plan is PlanResult.Key of the plan that a person saw; apply refuses to do
	// another. Absent: whatever the plan is then.
	Plan string `json:"plan,omitempty"`
}

// States of a command as its site tells them.
const (
	CommandRunning  = "running"  // begun, in hello only
	CommandDone     = "done"     //
	CommandFailed   = "failed"   // tried; the code says what is left
	CommandRejected = "rejected" // nothing was tried
	CommandExpired  = "expired"  // not begun in time; nothing was tried
	CommandUnknown  = "unknown"  // the program ended in the middle
)

// CommandResult is the body of command.result, and travels ahead in hello.
type CommandResult struct {
	ID     string          `json:"id"`
	State  string          `json:"state"`
	Code   string          `json:"code,omitempty"`
	Detail string          `json:"detail,omitempty"`
	At     time.Time       `json:"at"`
	Next   string          `json:"next,omitempty"` // what a person does now
	Body   json.RawMessage `json:"body,omitempty"` // by the command's kind; at most ResultBytes
}

// PlanResult is what stands between a router and its set-up.
type PlanResult struct {
	NAS      hotspot.NASID `json:"nas"`
	Mode     string        `json:"mode"`
	RouterOS string        `json:"routeros,omitempty"`
	From     string        `json:"from"` // SetupStanding.From
	Key      string        `json:"key"`  // of these steps, for RouterCommand.Plan
	Total    int           `json:"total"`
	Steps    []PlanStep    `json:"steps"`         // the first of Total
	Cut      int           `json:"cut,omitempty"` // steps left out, because the message would be too long
	Stops    []PlanStop    `json:"stops,omitempty"`
	Notes    []string      `json:"notes,omitempty"`
}

// PlanStep is one step: in words, and as the commands of RouterOS.
type PlanStep struct {
	Words   string `json:"words"`
	Do      string `json:"do"`
	Undo    string `json:"undo,omitempty"`
	Warning string `json:"warning,omitempty"`
}

// PlanStop is why a plan must not be applied.
type PlanStop struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Next string `json:"next,omitempty"`
}

// Fit cuts steps, then notes, until the plan is at most limit octets long.
func (p PlanResult) Fit(limit int) PlanResult {
	for len(p.Steps) > 0 && length(p) > limit {
		keep := len(p.Steps) * 3 / 4
		p.Cut += len(p.Steps) - keep
		p.Steps = p.Steps[:keep]
	}
	for len(p.Notes) > 0 && length(p) > limit {
		p.Notes = p.Notes[:len(p.Notes)-1]
	}
	return p
}

func length(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return 0 // strings and numbers: cannot be
	}
	return len(b)
}

// CheckResult is one look at everything between a box and a router.
type CheckResult struct {
	NAS     hotspot.NASID `json:"nas"`
	At      time.Time     `json:"at"` // its beginning
	TookMS  int64         `json:"took_ms"`
	State   string        `json:"state"` // the worst of the rows
	Verdict string        `json:"verdict"`
	Rows    []CheckRow    `json:"rows"`
	Cut     int           `json:"cut,omitempty"` // rows left out, because the message would be too long
}

// CheckRow is one point of a check.
type CheckRow struct {
	Probe   string `json:"probe"` // stable name, "radius-secret"
	Title   string `json:"title"`
	State   string `json:"state"`             // ok, warn, fail, unknown, skipped
	Code    string `json:"code,omitempty"`    // of the catalogue
	Seen    string `json:"seen"`              // what was found
	Cause   string `json:"cause,omitempty"`   // why, in a sentence
	Next    string `json:"next,omitempty"`    // what to do, in a sentence
	Command string `json:"command,omitempty"` // to paste
}

// Fit cuts rows until the check is at most limit octets long: those that are ok or
// were not asked first, from the end.
func (c CheckResult) Fit(limit int) CheckResult {
	c.Rows = slices.Clone(c.Rows)
	for len(c.Rows) > 0 && length(c) > limit {
		last := len(c.Rows) - 1
		for i := last; i >= 0; i-- {
			if s := c.Rows[i].State; s == "ok" || s == "skipped" {
				last = i
				break
			}
		}
		c.Rows = slices.Delete(c.Rows, last, last+1)
		c.Cut++
	}
	return c
}

// ApplyResult is how an application of a set-up stands.
type ApplyResult struct {
	NAS   hotspot.NASID `json:"nas"`
	State string        `json:"state"` // applying, waiting, confirmed, reverted, undone
	Steps int           `json:"steps"`
	// LeftS is how many seconds are left to confirm, when this was said: the router
	// takes everything back by itself after them. Absent: nothing waits.
	LeftS int64 `json:"left_s,omitempty"`
}

// SetupStanding is which set-up a router has, and how its newest application stands.
type SetupStanding struct {
	From  string `json:"from,omitempty"`   // "box": its configuration, which goes before the cloud's; "cloud": the document; absent: none
	Mode  string `json:"mode,omitempty"`   // of that set-up
	State string `json:"state,omitempty"`  // as ApplyResult.State; absent: never applied
	LeftS int64  `json:"left_s,omitempty"` // as ApplyResult.LeftS
	Login string `json:"login,omitempty"`  // user of the login for applying that somebody stored on the box; absent: none
}

// Values of SetupStanding.From.
const (
	SetupOfBox   = "box"
	SetupOfCloud = "cloud"
)
