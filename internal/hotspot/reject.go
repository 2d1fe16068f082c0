package hotspot

import (
	"net/netip"
	"time"
)

// Reasons of requests that were met with silence. They stand beside those of
// refusals, which a guest can read (Reasons); ReasonBadSecret is among both.
const (
	ReasonUnknownNAS Reason = "unknown_nas"     // no NAS of ours has that address
	ReasonNotSigned  Reason = "not_signed"      // no Message-Authenticator where one must be
	ReasonDuplicates Reason = "duplicate_flood" // the same request again and again: answers do not arrive, or somebody replays
	ReasonOverload   Reason = "overload"        // more at once than can be answered in time
	ReasonUnjudged   Reason = "not_judged"      // no answer could be found: the store or this program failed
)

// Silences lists why a login may be met with silence.
func Silences() []Reason {
	return []Reason{ReasonUnknownNAS, ReasonBadSecret, ReasonNotSigned, ReasonMalformed, ReasonDuplicates, ReasonOverload, ReasonUnjudged}
}

// Reject is a login that failed, as remembered for people. The same one again
// and again is one Reject that counts.
type Reject struct {
	Ref      string    // its name, here and in the cloud
	At       time.Time // the first time
	NAS      NASID     // "": no NAS of ours
	Username string
	MAC      MAC
	IP       netip.Addr // of the device, as the request says
	Reason   Reason
	Message  string     // as the guest read it, "" where nothing was answered
	Detail   string     // for staff
	Account  AccountID  // "" if unknown
	Source   netip.Addr // who sent the request
	Silent   bool       // nothing was answered, and nothing proves what it says of itself
	Times    int        // 0 is 1
	Until    time.Time  // the newest time; zero is At
	Others   bool       // stands for many names at once: more than are kept one by one
}

// Count is how often it happened.
func (r Reject) Count() int { return max(1, r.Times) }

// Newest is when it happened last.
func (r Reject) Newest() time.Time {
	if r.Until.After(r.At) {
		return r.Until
	}
	return r.At
}

// Repetitions that no person makes.
const (
	floodTimes = 30
	floodEvery = 10 * time.Second
)

// Flood reports whether it came faster and more often than people make it come.
func (r Reject) Flood() bool {
	if r.Reason == ReasonDuplicates || r.Others {
		return true
	}
	return r.Count() >= floodTimes && r.Newest().Sub(r.At) <= time.Duration(r.Count())*floodEvery
}

// Appeared reports that nobody typed anything: the router tries the address of
// each device that appears before it shows the login page (facts.md §3).
func (r Reject) Appeared() bool {
	m, ok := ParseMAC(r.Username)
	return r.Reason == ReasonUnknown && ok && m == r.MAC
}
