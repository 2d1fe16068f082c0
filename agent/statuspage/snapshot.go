package statuspage

import (
	"cmp"
	"strings"
	"time"

	"iwas/internal/condition"
	"iwas/internal/hotspot"
)

// Snapshot is what the program knows of itself at one moment. The page, its
// live parts and /status.json are made of it and of nothing else. Times are of
// this box's clock; zero means never. Counters count since Started.
type Snapshot struct {
	At       time.Time `json:"at"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started_at"`
	Site     string    `json:"site,omitempty"`
	Agent    string    `json:"agent,omitempty"`
	TimeZone string    `json:"time_zone,omitempty"` // IANA name of the site's; "": the box's own
	Cloud    Cloud     `json:"cloud"`
	Routers  []Router  `json:"routers"`
	RADIUS   RADIUS    `json:"radius"`
	Store    Store     `json:"store"`
	Outbox   Outbox    `json:"outbox"`
	Sessions []Session `json:"sessions"`
	Foreign  []Foreign `json:"foreign"`
	Locks    []Lock    `json:"locks"`
	Commands []Command `json:"commands,omitempty"` // of the cloud: those without an answer first, then the newest
	Waiting  []Waiting `json:"waiting"`
	Rejects  []Reject  `json:"rejects"`
	Access   Access    `json:"access"`          // the page's own; whoever takes the snapshot leaves it alone
	Check    *Check    `json:"check,omitempty"` // of this box, without its routers; nil: none was made since the start
	// Findings are conditions that somebody else found, such as one of the
	// operating system; those that follow from the fields above are added.
	Findings []condition.Finding `json:"-"`
}

// Cloud is the link upward.
type Cloud struct {
	Enrolled    bool      `json:"enrolled"`
	Connected   bool      `json:"connected"`
	Since       time.Time `json:"since,omitzero"`
	LastContact time.Time `json:"last_contact_at,omitzero"`
	Revision    int64     `json:"revision"`
	NotInForce  int       `json:"not_in_force"`
	OffsetMS    int64     `json:"clock_offset_ms"`
	OffsetKnown bool      `json:"clock_offset_known"`
	Problem     string    `json:"problem,omitempty"`
	Code        string    `json:"code,omitempty"`
}

// Router is one NAS as seen over its API.
type Router struct {
	NAS       hotspot.NASID `json:"nas"`
	Name      string        `json:"name"`
	API       bool          `json:"api"` // configured
	Reachable bool          `json:"reachable"`
	SeenAt    time.Time     `json:"seen_at,omitzero"`
	Identity  string        `json:"identity,omitempty"`
	Version   string        `json:"version,omitempty"`
	Board     string        `json:"board,omitempty"`
	Uptime    time.Duration `json:"uptime_ns"`
	Problem   string        `json:"problem,omitempty"`
	Code      string        `json:"code,omitempty"`
	Next      string        `json:"next,omitempty"`
	Silent    bool          `json:"silent"`           // its last Disconnect-Request was not answered
	Ways      []Way         `json:"ways,omitempty"`   // that lead past its HotSpot
	WaysAt    time.Time     `json:"ways_at,omitzero"` // when they were looked for last
	Lists     *Lists        `json:"lists,omitempty"`  // nil: nothing is wanted of its address-lists

	SignsRequests  bool      `json:"signs_requests"`          // sends Message-Authenticator, and is held to it
	ProvenAt       time.Time `json:"proven_at,omitzero"`      // a packet last proved the secret; zero too where several routers share the section
	PreviousSecret bool      `json:"previous_secret"`         // last proved the RADIUS secret before the last change
	PreviousUntil  time.Time `json:"previous_until,omitzero"` // which is accepted until then; zero: without end

	Health *Health `json:"health,omitempty"` // nil: no API

	Check *Check `json:"check,omitempty"` // nil: none was made since the start
}

// Lists is what is known of a router's address-lists, in entries.
type Lists struct {
	Wanted    int       `json:"wanted"`
	In        int       `json:"in"`                  // read back
	Foreign   int       `json:"foreign"`             // of those, by an entry that somebody else made
	LateSince time.Time `json:"late_since,omitzero"` // they do not hold what they should since then
	Problem   string    `json:"problem,omitempty"`
}

// Way is one way round a router's HotSpot.
type Way struct {
	Code string `json:"code"` // of the catalogue
	Text string `json:"text"`
}

// RADIUS is what the server answered since it started.
type RADIUS struct {
	Bound      bool          `json:"bound"`
	Addresses  []string      `json:"addresses"`
	Problem    string        `json:"problem,omitempty"`
	Code       string        `json:"code,omitempty"`
	Next       string        `json:"next,omitempty"`
	LastAnswer time.Time     `json:"last_answer_at,omitzero"`
	P95        time.Duration `json:"p95_ns"`
	Accepts    uint64        `json:"accepts"`
	Rejects    uint64        `json:"rejects"`
	Accounting uint64        `json:"accounting"`
	Dropped    uint64        `json:"dropped"`
	Lost       uint64        `json:"lost"` // datagrams the system dropped, its buffer being full
	LostAt     time.Time     `json:"lost_at,omitzero"`
	LostKnown  bool          `json:"lost_known"`   // for every socket
	Buffer     int           `json:"buffer_bytes"` // of the system for a socket, the smallest; 0: not known
	Offenders  []Offender    `json:"offenders"`
}

// Offender is a source that met silence.
type Offender struct {
	Source  string        `json:"source"`
	NAS     hotspot.NASID `json:"nas,omitempty"`
	Reason  string        `json:"reason"` // stable code
	Meaning string        `json:"meaning"`
	N       uint64        `json:"n"`
	Last    time.Time     `json:"last_at"`
}

// Store is the database.
type Store struct {
	Open    bool   `json:"open"`
	Problem string `json:"problem,omitempty"`
	Code    string `json:"code,omitempty"`
	Next    string `json:"next,omitempty"`
	// Unwritable is why the newest write failed; "" is that it did not.
	Unwritable     string `json:"unwritable,omitempty"`
	UnwritableNext string `json:"unwritable_next,omitempty"`

	Bytes    int64  `json:"bytes"`           // with its write-ahead log
	DiskFree uint64 `json:"disk_free_bytes"` // 0: not known
	// Plan is one that can be sold here, where there is no guest yet; "": there is none.
	Plan     string `json:"plan,omitempty"`
	Accounts int    `json:"accounts"`
}

// Outbox is what the cloud does not have yet.
type Outbox struct {
	Waiting int64     `json:"waiting"`
	Oldest  time.Time `json:"oldest_at,omitzero"`
	Full    bool      `json:"full"`   // what waits has reached its limit on the disk
	Folded  int64     `json:"folded"` // readings given up for it since this program started
}

// Session is one open session.
type Session struct {
	Username  string               `json:"username"`
	MAC       string               `json:"mac"` // masked
	IP        string               `json:"ip,omitempty"`
	NAS       hotspot.NASID        `json:"nas"`
	State     hotspot.SessionState `json:"state"`
	StartedAt time.Time            `json:"started_at"`
	HeardAt   time.Time            `json:"heard_at"`
	Upload    hotspot.Octets       `json:"upload"`
	Download  hotspot.Octets       `json:"download"`

	Rate  *string `json:"rate"`            // Mikrotik-Rate-Limit it was given, "" is no limit; nil: not known
	Queue *Queue  `json:"queue,omitempty"` // the router's own; nil: the router shows none, or is not read
	// QueueAt is when the router's queues were read; zero: never.
	QueueAt time.Time `json:"queue_at,omitzero"`

	Device *Device `json:"device,omitempty"` // nil: the router's hosts and cookies are not read
}

// Device is what the HotSpot knew of a session's device at ReadAt.
type Device struct {
	ReadAt      time.Time  `json:"read_at"`
	Seen        bool       `json:"seen"` // it has a row of /ip/hotspot/host
	Authorized  bool       `json:"authorized"`
	Bypassed    bool       `json:"bypassed"`          // an ip-binding lets it through
	Address     string     `json:"address,omitempty"` // after translation
	IdleS       int64      `json:"idle_s"`            // since it was last heard
	Cookie      CookieKind `json:"cookie,omitempty"`  // "": none
	CookieUser  string     `json:"cookie_user,omitempty"`
	CookieUntil time.Time  `json:"cookie_until,omitzero"`
}

// CookieKind is how a device is let in again without anybody typing. RADIUS is asked
// all the same.
type CookieKind string

// Kinds of cookies.
const (
	MACCookie     CookieKind = "mac-cookie" // by the router, as soon as it sees the device
	BrowserCookie CookieKind = "cookie"     // once the browser comes to the login page
)

// Queue is the router's dynamic queue of one guest, in bits a second.
type Queue struct {
	LimitUp   hotspot.Rate `json:"limit_up_bps"` // 0 is none
	LimitDown hotspot.Rate `json:"limit_down_bps"`
	Up        hotspot.Rate `json:"up_bps"` // that goes through it
	Down      hotspot.Rate `json:"down_bps"`
}

// Foreign is a guest on the router's list whom this box let in nowhere: a local
// user, a trial, or a login before this box was asked.
type Foreign struct {
	NAS      hotspot.NASID `json:"nas"`
	Username string        `json:"username"`
	MAC      string        `json:"mac"` // masked
	IP       string        `json:"ip,omitempty"`
	LoginBy  string        `json:"login_by,omitempty"`
	RADIUS   bool          `json:"radius"` // the router says that a RADIUS server let it in
	Since    time.Time     `json:"since"`
	SeenAt   time.Time     `json:"seen_at"`
}

// Lock is a lock in force.
type Lock struct {
	Username   string          `json:"username"`
	Reason     string          `json:"reason"`
	By         string          `json:"by"`
	AskedAt    time.Time       `json:"asked_at,omitzero"` // by the clock of the machine where it was asked
	ReceivedAt time.Time       `json:"received_at"`
	EndedAt    time.Time       `json:"ended_at,omitzero"` // of the attempt that had the outcome, where that is final
	Outcome    hotspot.Outcome `json:"outcome,omitempty"` // "": no attempt has ended yet
	Tries      int             `json:"tries,omitempty"`   // attempts that failed so far
	Code       string          `json:"code,omitempty"`    // why the last one did, or what leads past the lock now
	Problem    string          `json:"problem,omitempty"`
}

// Command is one that the cloud gave. It was received, started and ended by the clock
// of this box; zero is not yet, or before the program started.
type Command struct {
	ID         string        `json:"id"`
	Kind       string        `json:"kind"`          // of wire.CommandKind
	NAS        hotspot.NASID `json:"nas,omitempty"` // it is about; "": none, or not known any more
	State      string        `json:"state"`         // received, running, or how it ended
	ReceivedAt time.Time     `json:"received_at,omitzero"`
	ExpiresAt  time.Time     `json:"expires_at,omitzero"` // not begun after this; zero: never
	StartedAt  time.Time     `json:"started_at,omitzero"`
	EndedAt    time.Time     `json:"ended_at,omitzero"`
	Code       string        `json:"code,omitempty"`
	Detail     string        `json:"detail,omitempty"` // what became of it
}

// Waiting is a guest who must be off and is not proven off, an attempt having
// failed. Whoever is locked is among the locks too.
type Waiting struct {
	Username string    `json:"username,omitempty"` // "": not known here
	Lock     bool      `json:"lock"`               // locked; otherwise the time, the data or the pass is over
	Since    time.Time `json:"since"`              // known here
	Tries    int       `json:"tries"`
	Code     string    `json:"code,omitempty"`
	Problem  string    `json:"problem"`
}

// Reject is a login that failed: refused, or met with silence. The same again and
// again is one that counts.
type Reject struct {
	At       time.Time      `json:"at"`              // the first time
	Until    time.Time      `json:"until,omitzero"`  // the newest; absent: At
	Times    int            `json:"times,omitempty"` // absent: once
	Flood    bool           `json:"flood,omitempty"` // more often and faster than people do it
	NAS      hotspot.NASID  `json:"nas"`             // "": no router of ours
	Source   string         `json:"source,omitempty"`
	Silent   bool           `json:"silent,omitempty"` // nothing was answered
	Others   bool           `json:"others,omitempty"` // many names at once
	Username string         `json:"username"`
	MAC      string         `json:"mac"` // masked
	Reason   hotspot.Reason `json:"reason"`
	Meaning  string         `json:"meaning"` // for the technician
	Message  string         `json:"message"` // what the guest read
	// Appeared: nobody typed anything. The router tries the address of each
	// device that appears before it shows the login page (facts.md §3).
	Appeared bool `json:"appeared"`
}

// Ready reports whether this box can let guests in, and why not: RADIUS is bound
// and the store works. The cloud has no say in it: a cafe whose line is down
// sells on.
func (s Snapshot) Ready() (ok bool, why, next string) {
	ok, _, why, next = s.ready()
	return ok, why, next
}

// ready is Ready with the condition's code; "" while the box is only starting.
func (s Snapshot) ready() (ok bool, code, why, next string) {
	switch {
	case !s.Store.Open:
		return false, cmp.Or(s.Store.Code, codeStore), "the database will not open: " + s.Store.Problem, s.Store.Next
	case s.Store.Unwritable != "":
		return false, codeUnwritable, "the database cannot be written: " + s.Store.Unwritable, s.Store.UnwritableNext
	case s.RADIUS.Problem != "":
		return false, cmp.Or(s.RADIUS.Code, codePort), "RADIUS is not answering: " + s.RADIUS.Problem, s.RADIUS.Next
	case !s.RADIUS.Bound:
		return false, "", "RADIUS is starting", "Wait a moment; this page follows by itself."
	case len(s.Routers) == 0:
		return false, codeNoRouter, "no router is configured", "Add a [[nas]] section to the configuration, with the router's address and RADIUS secret."
	case s.Store.Accounts == 0 && !s.Cloud.Enrolled:
		return false, codeNotEnrolled, "this box is not enrolled and knows no account", s.firstGuest()
	}
	return true, "", "", ""
}

// firstGuest is how a box that has neither a cloud nor a guest gets the first.
func (s Snapshot) firstGuest() string {
	sell := `iwas-agent voucher sell "1 hour"`
	if s.Store.Plan == "" {
		return `Join it to a cloud: iwas-agent enroll. Or sell without one: iwas-agent plan add "1 hour" --time 1h, then ` + sell
	}
	return "Join it to a cloud: iwas-agent enroll. Or sell without one: " + strings.Replace(sell, "1 hour", s.Store.Plan, 1)
}
