package hotspot

import (
	"math/big"
	"time"
)

// Organization is a business with one or more sites.
type Organization struct {
	ID   OrganizationID
	Name string
}

// Site is one cafe.
type Site struct {
	ID           SiteID
	Organization OrganizationID
	Name         string
	TimeZone     string // IANA name; days of reports are this zone's days
	Currency     string // ISO 4217
	Language     string // of guests: "en", "ar"
}

// Role is what an operator may do (reference/ux.md §3.3).
type Role string

const (
	Owner      Role = "owner"
	Manager    Role = "manager"
	Cashier    Role = "cashier"
	Technician Role = "technician"
)

// Operator is a person who signs in at the console.
type Operator struct {
	ID           string
	Organization OrganizationID
	Email        string
	Name         string
	Role         Role
}

// FailedSignIns are the wrong passwords given for a person since they last signed
// in.
type FailedSignIns struct {
	Count    int64
	LastAt   time.Time
	LastFrom string // network address, masked; "" is not known
}

// Presence is what is known of an agent's link.
type Presence string

const (
	Online  Presence = "online"
	Stopped Presence = "stopped" // on purpose
	Lost    Presence = "lost"
	Never   Presence = "never"
)

// SiteStatus is what the cloud last heard of a site.
type SiteStatus struct {
	Site         Site
	Presence     Presence
	Reason       string    // of a planned stop
	HeardAt      time.Time // last message of the agent, by the cloud's clock; zero: never
	AgentVersion string
	Revision     int64     // wanted
	Applied      int64     // held by the site
	RouterSeenAt time.Time // last successful round trip to the router, by the site's clock
	ClockOffset  time.Duration
	Left         bool      // the box that was heard last gave its identity up, and no other speaks yet
	CopyAt       time.Time // a second copy of its box was heard; zero: never
	Outage       *Outage   // told since the site was last heard; nil: none
	Backlog      int64     // events the site has and we do not
	Conditions   []Condition
	Routers      []RouterHealth
	NotInForce   []DocRef // documents that the site holds and cannot apply, the first hundred
	SessionsOpen int
	LocksOpen    int // accounts locked and not yet proven off: the locks that wait or are on their way
}

// RouterHealth is how a router does, as its site last told. nil is not known.
type RouterHealth struct {
	NAS                NASID
	Name               string
	At                 time.Time // no figure is older, by the site's clock; zero: there is none
	Uptime             *time.Duration
	CPU, Memory        *int     // percent in use
	Celsius            *float64 // of the hottest sensor
	Volts              *float64 // of the supply
	WANUp              *bool    // a default route is active
	Down, Up           *Rate    // to and from the guests
	PoolUsed, PoolSize *int     // addresses of the guests' fullest pool
	Foreign            *int     // guests on its list whom the site did not let in
	Setup              *SetupStanding
}

// SetupStanding is which set-up a router has, and how its newest application
// stands, as its site last told.
type SetupStanding struct {
	From  string // "box": its configuration, which goes first; "cloud"; "" is none
	Mode  string
	State string        // of the newest application; "" is none yet
	Left  time.Duration // to confirm, when it was told
	Login string        // user of the login for applying that is stored on the box; "" is none
}

// DocRef names a document of a site's wanted state.
type DocRef struct{ Kind, ID string }

// Condition is an open health condition as reported.
type Condition struct {
	Code     string
	Severity string
	Text     string
	Since    time.Time
}

// LockState is where a lock stands, as the console shows it.
type LockState string

const (
	LockNone      LockState = "unlocked"
	LockRequested LockState = "requested"      // committed in the cloud
	LockWaiting   LockState = "waits_for_site" // the site is not connected
	LockSent      LockState = "sent"           // published to the site
	LockReceived  LockState = "received"       // committed at the site
	LockEnforced  LockState = "enforced"       // proven off
	LockLeaks     LockState = "leaks"          // off at the HotSpot, network leaks
	LockUnproven  LockState = "acknowledged"   // acknowledged, not proven
)

// LockStep is one stage of a lock with its time.
type LockStep struct {
	Order   int    // 1 is the first; it alone tells steps of two machines apart, whose clocks say nothing of each other
	Name    string // requested, sent, received, enforced; and the site's own steps
	At      time.Time
	Machine string // "cloud" or "site": whose clock At is
	Took    time.Duration
	OK      bool
	Detail  string
}

// LockStatus is a lock as people see it.
type LockStatus struct {
	State  LockState
	Lock   *Lock // nil when unlocked
	Steps  []LockStep
	Method string
	Code   string
	// Reopened is set while a lock that had ended is open again.
	Reopened *Reopened
}

// Reopened is how a lock had ended that is no longer proven: the site found the
// guest back, or could not read the router later. Times are by the site's clock.
type Reopened struct {
	Was   LockState // enforced, leaks or acknowledged
	WasAt time.Time
	Since time.Time // of what opened it again
}

// Guest is one account as the console shows it.
type Guest struct {
	Site     SiteID
	Account  Account
	Pass     *Pass
	Lock     LockStatus
	Sessions []Session // open ones, each with the age of its own figures
	SeenAt   time.Time // last message of the site, by the cloud's clock; zero: never
	// UsageAsOf is when the site last recorded Pass.Usage, by the cloud's clock;
	// zero: nothing was recorded, or it is not known when.
	UsageAsOf time.Time
	// PassRevision is the site's revision that carried the pass as it is now;
	// Applied the one the site holds. Below it, a change is still on its way.
	PassRevision, Applied int64
	Presence              Presence // of the site
}

// Once is what is known of a request that came with a key: that it is the first, or
// what became of the first.
type Once struct {
	First  bool
	Body   []byte        // of the first, as it was given
	Answer []byte        // empty while the first is at work
	Waits  time.Duration // since the first came
}

// Tries are passwords tried under one name or from one address.
type Tries struct {
	Failed int
	Last   time.Time
	Until  time.Time // not to be tried before; zero: at once
}

// NewAccount asks for an account with one pass of a plan.
type NewAccount struct {
	Site     SiteID
	Kind     AccountKind
	Username string   // "" for a voucher: the code is made at random
	Password Password // "" for a user: made at random; unused for vouchers and devices
	Plan     PlanID
	Note     string
}

// Agent is one enrolment of one box, as the console lists it.
type Agent struct {
	ID          AgentID
	Site        SiteID
	Host        string
	Version     string
	CheckNumber string // compared by a person before Confirmed
	Confirmed   bool
	EnrolledAt  time.Time
	RetiredAt   time.Time // zero while in force

	CertificateUntil time.Time
	LeftAt           time.Time // it said that it gave its identity up, and is retired by that; zero: it did not
	CopyAt           time.Time // a second copy of the box was heard; zero: never
}

// EnrolmentCode is a code that could still be spent.
type EnrolmentCode struct {
	ID        string // not the code, which nobody can read again
	By        string
	CreatedAt time.Time
	ExpiresAt time.Time
	Wrong     int       // codes nobody made, tried while this one was open
	WrongAt   time.Time // the newest of them
	WrongFrom string    // its network address, masked
}

// RevokedCertificate is one of a retired agent.
type RevokedCertificate struct {
	Serial *big.Int
	At     time.Time
}

// Outage is why a site has no MQTT connection, as its box told over HTTPS. Times
// are the cloud's.
type Outage struct {
	Code, Text string
	Since      time.Time
	At         time.Time // when it was told
}
