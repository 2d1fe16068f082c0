package hotspot

import "time"

// CommandState is how far a command is, as the cloud knows.
type CommandState string

// States of a command. A site that comes back may still answer what is unknown.
const (
	CommandQueued    CommandState = "queued"    // the site is not there yet
	CommandSent      CommandState = "sent"      // no word of it
	CommandDelivered CommandState = "delivered" // being carried out
	CommandExecuted  CommandState = "executed"
	CommandFailed    CommandState = "failed"   // tried
	CommandRejected  CommandState = "rejected" // nothing was tried
	CommandExpired   CommandState = "expired"  // nothing was tried
	CommandUnknown   CommandState = "unknown"
)

// Over reports whether nobody waits for it any more.
func (s CommandState) Over() bool {
	return s != CommandQueued && s != CommandSent && s != CommandDelivered
}

// Command is an imperative act for a site, and what became of it. Times are of the
// cloud's clock.
type Command struct {
	ID        string
	Site      SiteID
	Kind      string // of the contract: "kick", "router.plan"
	Subject   string // the NAS or the account it is about
	Body      string // JSON
	By        string // who asked, for people
	AskedAt   time.Time
	ExpiresAt time.Time
	State     CommandState
	SentAt    time.Time // first
	EndedAt   time.Time
	Code      string
	Detail    string
	Next      string
	Result    string // JSON, by kind; "" is none
}
