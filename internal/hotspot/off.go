package hotspot

import "time"

// Target is one account that must be off, with all that is needed to put it
// off: the subject of the off-means-off reconciler (design.md §6).
type Target struct {
	Account    AccountID
	Reason     OffReason
	Lock       *Lock     // set when Reason is OffLocked
	Usernames  []string  // every spelling the account logged in with
	MACs       []MAC     // every device of the account known here
	Sessions   []Session // open sessions and reservations to end; empty for a bare lock
	LastAccept time.Time // when the newest Access-Accept of the account left, the first time or repeated; zero if none did
	ReceivedAt time.Time // when the site committed the reason, by the site's clock
	Lists      []string  // address-lists kept over the API that its passes put its addresses in
	// Whole says that the whole account must be off (lock, expiry): cookies
	// and entries of any device go. Otherwise only Sessions end.
	Whole bool
	// Voucher says that the account is a voucher: its code logs in in any spelling.
	Voucher bool
	// Device says that the account is a device: whatever is on with one of MACs
	// goes, whoever's it is. Sessions are the device's then, of any account, and
	// the names in them say nothing of other devices.
	Device bool
}

// Outcome is how an attempt to put an account off ended.
type Outcome string

const (
	// OutcomeEnforced: the read-back was clean on every NAS.
	OutcomeEnforced Outcome = "enforced"
	// OutcomeLeaks: off at the HotSpot, but the network has a way round it;
	// Proof.Code names it.
	OutcomeLeaks Outcome = "leaks"
	// OutcomeUnproven: acknowledged by the NAS, and every session's accounting
	// says that it is over, but there is no router API to read back.
	OutcomeUnproven Outcome = "unproven"
	// OutcomePending: not off yet; the reconciler tries again.
	OutcomePending Outcome = "pending"
)

// Final reports whether nothing more will be tried.
func (o Outcome) Final() bool {
	return o == OutcomeEnforced || o == OutcomeLeaks || o == OutcomeUnproven
}

// Step names, in the order of design.md §6.
const (
	StepReceived    = "received"    // the lock is committed at the site
	StepCookies     = "cookies"     // HotSpot cookies removed
	StepDisconnect  = "disconnect"  // Disconnect-Request answered, or silence
	StepStop        = "stop"        // where there is no API: the accounting Stop of each session came
	StepActive      = "active"      // active entries removed over the API
	StepLists       = "lists"       // its addresses taken out of the address-lists kept over the API
	StepConnections = "connections" // open connections dropped
	StepReadBack    = "read_back"   // the router says so itself
)

// Step is one thing done, with its time by the site's clock.
type Step struct {
	Name   string
	At     time.Time
	Took   time.Duration
	OK     bool
	Detail string // for people: "Disconnect-ACK in 3 ms", "2 cookies removed"
}

// Proof is what is known of putting one account off.
type Proof struct {
	Account  AccountID
	Revision int64 // of the lock; 0 for an expiry or a lock set on site
	Reason   OffReason
	Outcome  Outcome
	Method   string // "disconnect", "api", "nothing_to_do", "reject_only"
	Code     string // condition code when Outcome is leaks or pending
	Sessions int    // how many sessions ended
	Steps    []Step
	At       time.Time // of the outcome, by the site's clock
}
