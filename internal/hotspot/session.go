package hotspot

import (
	"net/netip"
	"time"
)

// AccountingKind is Acct-Status-Type (RFC 2866 §5.1).
type AccountingKind int

const (
	Start   AccountingKind = 1
	Stop    AccountingKind = 2
	Interim AccountingKind = 3
	NASOn   AccountingKind = 7
	NASOff  AccountingKind = 8
)

// String returns the RFC's name.
func (k AccountingKind) String() string {
	switch k {
	case Start:
		return "Start"
	case Stop:
		return "Stop"
	case Interim:
		return "Interim-Update"
	case NASOn:
		return "Accounting-On"
	case NASOff:
		return "Accounting-Off"
	}
	return "unknown"
}

// Accounting is one Accounting-Request as understood.
type Accounting struct {
	Kind           AccountingKind
	NAS            NASID
	AcctSessionID  AcctSessionID
	Class          []byte // as echoed; nil when the NAS does not echo it
	Username       string
	MAC            MAC
	IP             netip.Addr
	HostIP         netip.Addr
	Server         string
	Port           string
	SessionTime    time.Duration // Acct-Session-Time, whole seconds (RFC 2866 §5.7)
	Upload         Octets        // Acct-Input-Octets with Gigawords
	Download       Octets        // Acct-Output-Octets with Gigawords
	TerminateCause uint32        // RFC 2866 §5.10; 0 when absent
	EventAt        time.Time     // Event-Timestamp, zero when absent or absurd
	Delay          time.Duration // Acct-Delay-Time
	At             time.Time     // arrival by our clock
}

// SessionState says how sure we are that a session is open.
type SessionState string

const (
	// Reserved: an Access-Accept left, no Start came yet.
	Reserved SessionState = "reserved"
	// Live: accounting says open.
	Live SessionState = "live"
	// Suspect: the NAS restarted or fell silent; the active list decides.
	Suspect SessionState = "suspect"
	// Closed: stopped, or closed by proof from the router.
	Closed SessionState = "closed"
)

// Session is one RADIUS accounting session on one NAS, keyed by its permit.
type Session struct {
	ID            SessionID
	Permit        PermitID // "" for a session nobody here permitted
	Account       AccountID
	Pass          PassID
	NAS           NASID
	AcctSessionID AcctSessionID
	Username      string // as last received
	MAC           MAC
	IP            netip.Addr
	HostIP        netip.Addr
	Server        string
	State         SessionState
	StartedAt     time.Time
	HeardAt       time.Time // last accounting record, by the site's clock
	AsOf          time.Time // the same by the cloud's clock; known in the cloud only
	EndedAt       time.Time
	Time          time.Duration // Acct-Session-Time as last received
	Upload        Octets
	Download      Octets
	// Cause is why it ended, for people: "User-Request", "locked", "ghost". Of one
	// that is open it is why it had been put off before its accounting went on.
	Cause   string
	Rate    *RateLimit // as the Accept or the last change gave it; nil: not known here
	Changed *Changed   // what came of the last change; nil: none was made
}

// Outlived reports whether the session goes on by its accounting though it was
// put off and the router showed nothing of it.
func (s Session) Outlived() bool { return s.State == Live && s.Cause != "" }

// IsOpen reports whether the session may be using the network.
func (s Session) IsOpen() bool { return s.State != Closed && s.State != Reserved }

// CauseName names an Acct-Terminate-Cause (RFC 2866 §5.10).
func CauseName(cause uint32) string {
	names := [...]string{1: "User-Request", 2: "Lost-Carrier", 3: "Lost-Service", 4: "Idle-Timeout",
		5: "Session-Timeout", 6: "Admin-Reset", 7: "Admin-Reboot", 8: "Port-Error", 9: "NAS-Error",
		10: "NAS-Request", 11: "NAS-Reboot", 12: "Port-Unneeded", 13: "Port-Preempted",
		14: "Port-Suspended", 15: "Service-Unavailable", 16: "Callback", 17: "User-Error", 18: "Host-Request"}
	if cause > 0 && int(cause) < len(names) {
		return names[cause]
	}
	return "unknown"
}

// ActiveEntry is one row of /ip/hotspot/active as the router lists it.
type ActiveEntry struct {
	ID       string // RouterOS .id, valid for one read
	Server   string
	User     string
	IP       netip.Addr
	MAC      MAC
	LoginBy  string
	Uptime   time.Duration
	Upload   Octets // bytes-in: from the guest
	Download Octets // bytes-out: to the guest
	RADIUS   bool
}
