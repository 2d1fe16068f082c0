package hotspot

import (
	"fmt"
	"slices"
	"time"
)

// DisconnectResult is the answer to a Disconnect-Request or CoA-Request.
type DisconnectResult string

const (
	ResultACK     DisconnectResult = "ack"
	ResultNAK     DisconnectResult = "nak"
	ResultTimeout DisconnectResult = "timeout"
)

// Disconnected is the structured outcome of one Disconnect- or CoA-Request.
type Disconnected struct {
	Result     DisconnectResult
	ErrorCause uint32        // RFC 5176 §3.5; 0 when absent
	Attempts   int           // datagrams sent, both forms together
	RoundTrip  time.Duration // of the form that was answered, from its first sending
}

// Error-Causes that are acted upon (RFC 5176 §3.5).
const (
	CauseUnsupportedAttribute   = 401
	CauseIdentificationMismatch = 403
	CauseInvalidRequest         = 404
	CauseUnsupportedExtension   = 406
	CauseNoSuchSession          = 503
)

// errorCauses names the Error-Causes (RFC 5176 §3.5; 510 of the deprecation of
// insecure practices in RADIUS).
var errorCauses = map[uint32]string{
	201: "Residual-Session-Context-Removed", 202: "Invalid-EAP-Packet", 401: "Unsupported-Attribute", 402: "Missing-Attribute",
	403: "NAS-Identification-Mismatch", 404: "Invalid-Request", 405: "Unsupported-Service", 406: "Unsupported-Extension",
	407: "Invalid-Attribute-Value", 501: "Administratively-Prohibited", 502: "Request-Not-Routable", 503: "Session-Context-Not-Found",
	504: "Session-Context-Not-Removable", 505: "Other-Proxy-Processing-Error", 506: "Resources-Unavailable", 507: "Request-Initiated",
	508: "Multiple-Session-Selection-Unsupported", 510: "Missing-Message-Authenticator",
}

// CauseText names an Error-Cause with its number; "no Error-Cause" for 0.
func CauseText(cause uint32) string {
	switch name := errorCauses[cause]; {
	case cause == 0:
		return "no Error-Cause"
	case name != "":
		return fmt.Sprintf("%d %s", cause, name)
	}
	return fmt.Sprintf("Error-Cause %d", cause)
}

// NoSuchSession reports whether the NAS said that it does not have the
// session: 503 by RFC 5176, 406 as RouterOS was measured (facts.md §4).
func (d Disconnected) NoSuchSession() bool {
	return d.Result == ResultNAK && (d.ErrorCause == CauseNoSuchSession || d.ErrorCause == CauseUnsupportedExtension)
}

// NewTerms is what a CoA-Request changes of a session.
type NewTerms struct {
	SetRate        bool
	Rate           RateLimit     // where SetRate: Mikrotik-Rate-Limit; zero takes the limit away
	SessionTimeout time.Duration // Session-Timeout as sent, whole seconds; 0 is not sent
}

// Terms are what a session runs under, or should.
type Terms struct {
	Rate    RateLimit
	Timeout time.Duration // Session-Timeout, counted from the start of the session; 0 is no limit
	// What no CoA-Request changes on RouterOS (facts.md §4): the next login brings it.
	Total        Octets // data allowance of the pass both ways; 0 is no limit
	AddressLists []string
}

// timeoutSlack is how far two session timeouts may lie apart and be the same:
// Acct-Session-Time is whole seconds, and an Accounting-Request may have waited
// for its second retransmission.
const timeoutSlack = 20 * time.Second

// SameTimeout reports whether two session timeouts are one, give or take what
// cannot be measured.
func SameTimeout(a, b time.Duration) bool {
	if a == 0 || b == 0 {
		return a == b
	}
	return (a - b).Abs() <= timeoutSlack
}

// Same reports whether two terms are one, give or take what cannot be measured.
func (t Terms) Same(o Terms) bool {
	return t.Rate == o.Rate && SameTimeout(t.Timeout, o.Timeout) && t.Total == o.Total && slices.Equal(t.AddressLists, o.AddressLists)
}

// Change is a live session whose terms are not the wanted ones: the subject of
// the reconciler, as a Target is.
type Change struct {
	Session   Session
	Have      Terms         // as the Accept, or the last change, gave them
	Want      Terms         //
	Elapsed   time.Duration // of the session, at the moment it was read
	Reconnect bool          // the plan allows to end the session where it cannot be changed
}

// Rate reports whether the speed differs.
func (c Change) Rate() bool { return c.Have.Rate != c.Want.Rate }

// Timeout reports whether the time differs.
func (c Change) Timeout() bool { return !SameTimeout(c.Have.Timeout, c.Want.Timeout) }

// Rest reports what differs of what only the next login changes.
func (c Change) Rest() bool {
	return c.Have.Total != c.Want.Total || !slices.Equal(c.Have.AddressLists, c.Want.AddressLists)
}

// Any reports whether anything differs.
func (c Change) Any() bool { return !c.Have.Same(c.Want) }

// ChangeOutcome is how an attempt to change a live session ended.
type ChangeOutcome string

const (
	// ChangeApplied: the router shows it.
	ChangeApplied ChangeOutcome = "applied"
	// ChangeAcknowledged: the NAS said yes, and there is no API to read it back.
	ChangeAcknowledged ChangeOutcome = "acknowledged"
	// ChangeNextLogin: this session goes on as it is; the next login brings it.
	ChangeNextLogin ChangeOutcome = "next_login"
	// ChangeReconnect: the session was ended, so that the guest logs in anew.
	ChangeReconnect ChangeOutcome = "reconnect"
	// ChangePending: not yet; the reconciler tries again.
	ChangePending ChangeOutcome = "pending"
)

// Final reports whether nothing more will be tried until something else is
// wanted.
func (o ChangeOutcome) Final() bool { return o != ChangePending && o != "" }

// Changed is what came of changing one session.
type Changed struct {
	Session SessionID
	Want    Terms // that was tried
	Now     Terms // that the session runs under after it, as far as known
	Outcome ChangeOutcome
	Code    string // condition code where the change did not reach the session
	Detail  string // for people: "CoA-ACK in 2 ms, read back"
	At      time.Time
}
