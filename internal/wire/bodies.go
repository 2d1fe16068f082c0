package wire

import (
	"fmt"
	"time"

	"iwas/internal/hotspot"
)

// EventKind names the sort of an event.
type EventKind string

const (
	EventAgentStarted   EventKind = "agent.started"
	EventSessionStarted EventKind = "session.started"
	EventSessionUsage   EventKind = "session.usage"
	EventSessionStopped EventKind = "session.stopped"
	EventPassFirstUsed  EventKind = "pass.first_used"
	EventPassUsage      EventKind = "pass.usage"
	EventLockReceived   EventKind = "lock.received"
	EventLockProof      EventKind = "lock.proof"
	EventLockKept       EventKind = "lock.kept" // held here, absent from a state of another lineage
	EventNASRestarted   EventKind = "nas.restarted"
	EventCommandResult  EventKind = "command.result"
	EventSessionChanged EventKind = "session.changed"  // what came of changing a live session
	EventAdjusted       EventKind = "account.adjusted" // speed or time of a pass, changed on site
	EventGrantMade      EventKind = "grant.made"       // on site
	EventGrantRemoved   EventKind = "grant.removed"    // on site
	EventGrantSettled   EventKind = "grant.settled"    // what became of grants, wherever made
	EventGap            EventKind = "gap"              // history is lost; body names the range
	EventVoid           EventKind = "void"             // folded into a later event; keeps the sequence whole
)

// SessionBody is the body of session.started, session.usage and
// session.stopped: always the whole session as known then, so that any one of
// them is enough and a repeat has no effect. Durations are milliseconds.
type SessionBody struct {
	ID            hotspot.SessionID     `json:"id"`
	Permit        hotspot.PermitID      `json:"permit,omitempty"`
	Account       hotspot.AccountID     `json:"account,omitempty"` // absent: nobody here permitted it
	Pass          hotspot.PassID        `json:"pass,omitempty"`
	NAS           hotspot.NASID         `json:"nas"`
	AcctSessionID hotspot.AcctSessionID `json:"acct_session_id"`
	Username      string                `json:"username,omitempty"`
	MAC           string                `json:"mac,omitempty"`
	IP            string                `json:"ip,omitempty"`
	StartedAt     time.Time             `json:"started_at"`
	EndedAt       time.Time             `json:"ended_at,omitzero"` // of session.stopped
	HeardAt       time.Time             `json:"heard_at"`
	TimeMS        int64                 `json:"time_ms"`  // Acct-Session-Time
	Upload        uint64                `json:"upload"`   // octets from the guest
	Download      uint64                `json:"download"` // octets to the guest
	State         hotspot.SessionState  `json:"state"`
	Cause         string                `json:"cause,omitempty"`
	PassUsage     *UsageBody            `json:"pass_usage,omitempty"` // totals of the pass after this record
	Rate          *string               `json:"rate,omitempty"`       // Mikrotik-Rate-Limit given by the Accept, "" is no limit; absent: as said before
}

// FromSession is the bridge from the vocabulary to the wire.
func FromSession(s hotspot.Session) SessionBody {
	b := SessionBody{ID: s.ID, Permit: s.Permit, Account: s.Account, Pass: s.Pass, NAS: s.NAS,
		AcctSessionID: s.AcctSessionID, Username: s.Username, MAC: s.MAC.String(),
		StartedAt: s.StartedAt.UTC(), HeardAt: s.HeardAt.UTC(), TimeMS: s.Time.Milliseconds(),
		Upload: uint64(s.Upload), Download: uint64(s.Download), State: s.State, Cause: s.Cause}
	if s.IP.IsValid() {
		b.IP = s.IP.String()
	}
	if !s.EndedAt.IsZero() {
		b.EndedAt = s.EndedAt.UTC()
	}
	if s.Rate != nil {
		rate := s.Rate.String()
		b.Rate = &rate
	}
	return b
}

// SessionChanged is the body of session.changed: how the newest attempt to
// change a live session ended. Wanted is what it should be, Rate what it is.
type SessionChanged struct {
	Session  hotspot.SessionID     `json:"session"`
	Account  hotspot.AccountID     `json:"account"`
	Wanted   string                `json:"wanted"`              // Mikrotik-Rate-Limit; "" is no limit
	Rate     string                `json:"rate"`                // as far as known after the attempt
	TimeoutS int64                 `json:"timeout_s,omitempty"` // session timeout from its start that is in force; absent is no limit
	Outcome  hotspot.ChangeOutcome `json:"outcome"`
	Code     string                `json:"code,omitempty"`
	Detail   string                `json:"detail,omitempty"`
	At       time.Time             `json:"at"`
}

// FromChanged is the bridge from the vocabulary to the wire.
func FromChanged(account hotspot.AccountID, c hotspot.Changed) SessionChanged {
	return SessionChanged{Session: c.Session, Account: account, Wanted: c.Want.Rate.String(), Rate: c.Now.Rate.String(),
		TimeoutS: int64(c.Now.Timeout / time.Second), Outcome: c.Outcome, Code: c.Code, Detail: c.Detail, At: c.At.UTC()}
}

// AdjustedBody is the body of account.adjusted: steps, never totals, so that
// those of site and cloud add up in any order. The cloud folds it into the pass
// document and names the event in PassDoc.Adjusted.
type AdjustedBody struct {
	Account   hotspot.AccountID `json:"account"`
	Pass      hotspot.PassID    `json:"pass"`
	By        string            `json:"by"`
	Reason    string            `json:"reason,omitempty"`
	Rate      *string           `json:"rate,omitempty"`       // new Mikrotik-Rate-Limit, "" is no limit; absent: not changed
	Once      bool              `json:"once,omitempty"`       // Rate is for the sessions then open only: nothing to fold
	AskedS    int64             `json:"asked_s,omitempty"`    // extension as the person said it
	TimeS     int64             `json:"time_s,omitempty"`     // added to the time allowance
	ValidityS int64             `json:"validity_s,omitempty"` // added to valid_until
}

// FromAdjustment is the bridge from the vocabulary to the wire.
func FromAdjustment(a hotspot.Adjustment) AdjustedBody {
	b := AdjustedBody{Account: a.Account, Pass: a.Pass, By: a.By, Reason: a.Reason, Once: a.Once, AskedS: int64(a.Asked / time.Second),
		TimeS: int64(a.Time / time.Second), ValidityS: int64(a.Validity / time.Second)}
	if a.SetRate {
		rate := a.Rate.String()
		b.Rate = &rate
	}
	return b
}

// Adjustment reads the body back. It fails on a rate that cannot be parsed and
// on times that cannot be meant.
func (b AdjustedBody) Adjustment(id string, at time.Time) (hotspot.Adjustment, error) {
	a := hotspot.Adjustment{ID: id, Account: b.Account, Pass: b.Pass, By: b.By, Reason: b.Reason, At: at, Once: b.Once,
		Asked: time.Duration(b.AskedS) * time.Second, Time: time.Duration(b.TimeS) * time.Second, Validity: time.Duration(b.ValidityS) * time.Second}
	for _, s := range []int64{b.AskedS, b.TimeS, b.ValidityS} {
		if s < 0 || s > longest {
			return a, fmt.Errorf("an extension of %d seconds", s)
		}
	}
	if b.Rate != nil {
		var err error
		a.SetRate = true
		if a.Rate, err = hotspot.ParseRateLimit(*b.Rate); err != nil {
			return a, err
		}
	}
	if b.Account == "" || b.Pass == "" {
		return a, fmt.Errorf("an adjustment of nobody's pass")
	}
	return a, nil
}

// UsageBody is the body of pass.first_used and pass.usage: totals, not steps.
type UsageBody struct {
	Pass      hotspot.PassID    `json:"pass"`
	Account   hotspot.AccountID `json:"account"`
	FirstUsed time.Time         `json:"first_used,omitzero"`
	TimeMS    int64             `json:"time_ms"`
	Upload    uint64            `json:"upload"`
	Download  uint64            `json:"download"`
}

// LockReceived is the body of lock.received.
type LockReceived struct {
	Account  hotspot.AccountID `json:"account"`
	Revision int64             `json:"revision"`
}

// LockKept is the body of lock.kept.
type LockKept struct {
	Account hotspot.AccountID `json:"account"`
	By      string            `json:"by"`
	Reason  string            `json:"reason"`
	At      time.Time         `json:"at"`
	MAC     string            `json:"mac,omitempty"` // of an account that is a device; absent: it is none
}

// Gap is the body of gap: events of an epoch that the site can never send.
type Gap struct {
	Epoch string `json:"epoch"`
	First int64  `json:"first"`
	Last  int64  `json:"last"` // 0: how many is known to nobody, perhaps none; since 2026-11-28
}

// LockProof is the body of lock.proof, and travels ahead in hello.
type LockProof struct {
	Account    hotspot.AccountID `json:"account"`
	Revision   int64             `json:"revision"` // of the lock document; 0 for a lock set on site
	Reason     hotspot.OffReason `json:"reason"`
	Outcome    hotspot.Outcome   `json:"outcome"`
	Method     string            `json:"method,omitempty"`
	Code       string            `json:"code,omitempty"`
	Sessions   int               `json:"sessions"`
	ReceivedAt time.Time         `json:"received_at"`
	At         time.Time         `json:"at"`
	Steps      []LockStep        `json:"steps,omitempty"`
	// Seq is the number of its event in Hello.Epoch, by which proofs of one lock
	// are ordered. Absent in the event itself, which has it by its place, and from
	// agents before 2026-11-28: theirs are ordered by At, the newest first.
	Seq int64 `json:"seq,omitempty"`
}

// LockStep is one step of a proof. Times are of the site's clock.
type LockStep struct {
	Name   string    `json:"name"`
	At     time.Time `json:"at"`
	TookMS float64   `json:"took_ms"`
	OK     bool      `json:"ok"`
	Detail string    `json:"detail,omitempty"`
}

// FromProof is the bridge from the vocabulary to the wire.
func FromProof(p hotspot.Proof) LockProof {
	b := LockProof{Account: p.Account, Revision: p.Revision, Reason: p.Reason, Outcome: p.Outcome,
		Method: p.Method, Code: p.Code, Sessions: p.Sessions, At: p.At.UTC()}
	for _, s := range p.Steps {
		if s.Name == hotspot.StepReceived {
			b.ReceivedAt = s.At.UTC()
		}
		b.Steps = append(b.Steps, LockStep{Name: s.Name, At: s.At.UTC(), TookMS: float64(s.Took) / 1e6, OK: s.OK, Detail: s.Detail})
	}
	return b
}

// AgentStarted is the body of agent.started.
type AgentStarted struct {
	Version string `json:"version"`
	Boot    string `json:"boot"`
}

// NASRestarted is the body of nas.restarted.
type NASRestarted struct {
	NAS hotspot.NASID `json:"nas"`
	On  bool          `json:"on"` // Accounting-On; false is Accounting-Off
}

// SiteDoc is the body of a site document; its id is the site's.
type SiteDoc struct {
	Name         string `json:"name"`
	Organization string `json:"organization"`
	TimeZone     string `json:"time_zone"`
	Currency     string `json:"currency"`
	Language     string `json:"language"`
}

// LimitsBody carries hotspot.Limits. Durations are seconds; absent is no limit.
// An agent older than a field goes by what its absence means.
type LimitsBody struct {
	TimeS        int64         `json:"time_s,omitempty"`
	Clock        hotspot.Clock `json:"clock,omitempty"`
	ValidityS    int64         `json:"validity_s,omitempty"`
	Rate         string        `json:"rate,omitempty"` // Mikrotik-Rate-Limit, upload first
	Upload       uint64        `json:"upload,omitempty"`
	Download     uint64        `json:"download,omitempty"`
	Total        uint64        `json:"total,omitempty"`
	Devices      int           `json:"devices,omitempty"`
	IdleS        int64         `json:"idle_s,omitempty"`
	AddressLists []string      `json:"address_lists,omitempty"`

	// Hours are spans of the week in the site's zone, "mon-fri 08:00-16:00", as
	// hotspot.ParseSpan reads them; absent is always.
	Hours []string `json:"hours,omitempty"`
	// SlowRate is Mikrotik-Rate-Limit once a data allowance is used; absent: the
	// allowance ends the pass.
	SlowRate string `json:"slow_rate,omitempty"`
	// DeviceSwap is "move" where one device too many ends the one heard of least
	// lately; absent, and what a build does not know, refuses the new device.
	DeviceSwap hotspot.DeviceSwap `json:"device_swap,omitempty"`
	// ListsByAPI has the agent keep AddressLists over the router's API, the device's
	// IPv6 addresses included, instead of naming them in the Accept; absent, and to
	// an older agent: the Accept names them.
	ListsByAPI bool `json:"lists_by_api,omitempty"`
	// Reconnect allows to end a live session that cannot be changed otherwise, so
	// that the guest logs in anew; absent: it goes on as it is to its end.
	Reconnect bool `json:"reconnect,omitempty"`
}

// FromLimits is the bridge from the vocabulary to the wire.
func FromLimits(l hotspot.Limits) LimitsBody {
	swap := l.Swap
	if swap == hotspot.SwapRefuse {
		swap = "" // absent means the same, to every version
	}
	return LimitsBody{TimeS: int64(l.Time / time.Second), Clock: l.Clock, ValidityS: int64(l.Validity / time.Second),
		Rate: l.Rate.String(), Upload: uint64(l.Upload), Download: uint64(l.Download), Total: uint64(l.Total),
		Devices: l.Devices, IdleS: int64(l.IdleTimeout / time.Second), AddressLists: l.AddressLists,
		Hours: l.Hours.Strings(), SlowRate: l.SlowRate.String(), DeviceSwap: swap, ListsByAPI: l.ListsByAPI, Reconnect: l.Reconnect}
}

// longest is the longest allowance, validity or idle time that means anything:
// a hundred years. More would overflow sums of durations.
const longest = 100 * 366 * 24 * 3600

// Limits reads the body back. It fails on rates and hours that cannot be parsed,
// on a clock this build does not know, and on figures that cannot be meant.
func (b LimitsBody) Limits() (hotspot.Limits, error) {
	for _, f := range [...]struct {
		name    string
		seconds int64
	}{{"time_s", b.TimeS}, {"validity_s", b.ValidityS}, {"idle_s", b.IdleS}} {
		if f.seconds < 0 || f.seconds > longest {
			return hotspot.Limits{}, fmt.Errorf("%s of %d is not 0 to %d seconds", f.name, f.seconds, int64(longest))
		}
	}
	if b.Devices < 0 {
		return hotspot.Limits{}, fmt.Errorf("%d devices at once", b.Devices)
	}
	if b.Clock != "" && b.Clock != hotspot.Continuous && b.Clock != hotspot.Metered {
		return hotspot.Limits{}, fmt.Errorf("clock %q is neither %s nor %s", b.Clock, hotspot.Continuous, hotspot.Metered)
	}
	rate, err := hotspot.ParseRateLimit(b.Rate)
	if err != nil {
		return hotspot.Limits{}, err
	}
	slow, err := hotspot.ParseRateLimit(b.SlowRate)
	if err != nil {
		return hotspot.Limits{}, err
	}
	hours, err := hotspot.ParseHours(b.Hours)
	if err != nil {
		return hotspot.Limits{}, err
	}
	swap := b.DeviceSwap
	if swap != hotspot.SwapMove {
		swap = "" // refuse, and what a later build may add
	}
	return hotspot.Limits{Hours: hours, SlowRate: slow, Swap: swap, ListsByAPI: b.ListsByAPI, Reconnect: b.Reconnect, Time: time.Duration(b.TimeS) * time.Second, Clock: b.Clock,
		Validity: time.Duration(b.ValidityS) * time.Second, Rate: rate, Upload: hotspot.Octets(b.Upload),
		Download: hotspot.Octets(b.Download), Total: hotspot.Octets(b.Total), Devices: b.Devices,
		IdleTimeout: time.Duration(b.IdleS) * time.Second, AddressLists: b.AddressLists}, nil
}

// PlanDoc is the body of a plan document.
type PlanDoc struct {
	Name       string     `json:"name"`
	PriceMinor int64      `json:"price_minor"`
	Currency   string     `json:"currency"`
	Limits     LimitsBody `json:"limits"`
}

// AccountDoc is the body of an account document.
type AccountDoc struct {
	Kind     hotspot.AccountKind `json:"kind"`
	Username string              `json:"username"`
	Password string              `json:"password,omitempty"` // sealed to the agent's key
	Note     string              `json:"note,omitempty"`
}

// PassDoc is the body of a pass document.
type PassDoc struct {
	Account    hotspot.AccountID `json:"account"`
	Plan       hotspot.PlanID    `json:"plan"`
	PlanName   string            `json:"plan_name"`
	Limits     LimitsBody        `json:"limits"`
	ValidFrom  time.Time         `json:"valid_from,omitzero"`
	ValidUntil time.Time         `json:"valid_until,omitzero"`
	SoldAt     time.Time         `json:"sold_at,omitzero"`
	// Adjusted names the account.adjusted events of the site that are in the
	// limits above already; those the site knows besides apply on top.
	Adjusted []string `json:"adjusted,omitempty"`
}

// LockDoc is the body of a lock document; its id is the account's. Its
// tombstone is the unlock.
type LockDoc struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Pause says that the guest asked for it, to keep metered time: whoever is at the
	// counter may lift it. An agent from before 2026-11-28 takes it for a lock.
	Pause bool `json:"pause,omitempty"`
}
