package hotspot

import (
	"crypto/md5" // #nosec: CHAP is MD5 by definition (RFC 1994 §4.1)
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"time"
)

// Credential is the proof of identity in an Access-Request.
type Credential struct {
	Kind      CredentialKind
	Clear     Password // Kind Clear: the password as sent
	CHAPID    byte     // Kind CHAP: first octet of CHAP-Password
	Challenge []byte   // Kind CHAP: CHAP-Challenge, else the Request Authenticator (RFC 2865 §5.3)
	Response  []byte   // Kind CHAP: the 16 octets after the identifier
}

// CredentialKind tells the methods apart.
type CredentialKind int

const (
	// NoCredential: neither User-Password nor CHAP-Password was there.
	NoCredential CredentialKind = iota
	// Clear: User-Password (RFC 2865 §5.2).
	Clear
	// CHAP: CHAP-Password (RFC 2865 §5.3).
	CHAP
)

// Matches reports whether the credential proves the password, in a time that
// does not depend on where they differ.
func (c Credential) Matches(password Password) bool {
	switch c.Kind {
	case Clear:
		// Hash both sides: ConstantTimeCompare alone tells lengths apart.
		sent, want := sha256.Sum256([]byte(c.Clear.Reveal())), sha256.Sum256([]byte(password.Reveal()))
		return subtle.ConstantTimeCompare(sent[:], want[:]) == 1
	case CHAP:
		// Identifier, password, challenge (RFC 1994 §4.1): on the stack for every
		// length that fits the attributes.
		text := append(make([]byte, 0, 512), c.CHAPID)
		text = append(append(text, password.Reveal()...), c.Challenge...)
		want := md5.Sum(text)
		return subtle.ConstantTimeCompare(want[:], c.Response) == 1
	}
	return false
}

// Request is one Access-Request as understood.
type Request struct {
	NAS           NASID
	Username      string // bytes as received
	Credential    Credential
	MAC           MAC // Calling-Station-Id; zero if absent or not a MAC
	AcctSessionID AcctSessionID
	IP            netip.Addr // Framed-IP-Address
	HostIP        netip.Addr // Mikrotik-Host-IP
	Server        string     // Called-Station-Id: name of the HotSpot server
	Port          string     // NAS-Port-Id
	At            time.Time  // arrival by our clock
}

// Facts is all that is known when one Access-Request is judged. A nil Account
// means that nobody of that name exists.
type Facts struct {
	Account  *Account
	Password Password
	Pass     *Pass // newest pass with something left, else the newest one; nil if none was ever bought
	Lock     *Lock
	Device   *Lock      // on the device that asks, whatever account it names
	Sessions []*Session // live sessions of the pass, and permits not yet started (Session.Reserved)
	Now      time.Time
	Location *time.Location // of the site: hours of the day are its hours; nil is UTC
	Language string         // of the site: "en", "ar"
}

// Reason is the stable code of a refusal.
type Reason string

const (
	ReasonNone           Reason = ""
	ReasonUnknown        Reason = "unknown_account"
	ReasonBadPassword    Reason = "bad_password"
	ReasonNoCredential   Reason = "no_credential"
	ReasonTwoCredentials Reason = "two_credentials"
	ReasonMalformed      Reason = "malformed"
	ReasonMACMismatch    Reason = "mac_mismatch"
	ReasonLocked         Reason = "locked"
	ReasonPaused         Reason = "paused"        // by the guest's wish, to keep metered time
	ReasonDeviceLocked   Reason = "device_locked" // whatever account it named
	ReasonNoPass         Reason = "no_pass"
	ReasonNotYetValid    Reason = "not_yet_valid"
	ReasonExpired        Reason = "expired"
	ReasonTimeUsed       Reason = "time_used"
	ReasonDataUsed       Reason = "data_used"
	ReasonOutsideHours   Reason = "outside_hours"
	ReasonTooManyDevices Reason = "too_many_devices"
	ReasonTooManyTries   Reason = "too_many_tries" // wrong passwords or codes; passes by itself
	ReasonNoRoom         Reason = "no_room"        // a first use that the full disk does not take
	ReasonBadSecret      Reason = "bad_secret"     // the password, or what signs the request, was made with another shared secret
)

// Reasons lists why a login may be refused.
func Reasons() []Reason {
	return []Reason{ReasonUnknown, ReasonBadPassword, ReasonNoCredential, ReasonTwoCredentials, ReasonMalformed, ReasonMACMismatch, ReasonLocked, ReasonPaused, ReasonDeviceLocked,
		ReasonNoPass, ReasonNotYetValid, ReasonExpired, ReasonTimeUsed, ReasonDataUsed, ReasonOutsideHours, ReasonTooManyDevices, ReasonTooManyTries, ReasonNoRoom, ReasonBadSecret}
}

// Verdict is the answer to one Access-Request. A refusal is a verdict, not an
// error.
type Verdict struct {
	Accept  bool
	Reason  Reason // of a refusal
	Message string // Reply-Message: what the guest reads; at most 253 bytes

	Account AccountID
	Pass    PassID

	// Of an Accept:
	Permit          PermitID
	Class           []byte        // unforgeable token of the permit (RFC 2865 §5.25)
	SessionTimeout  time.Duration // whole seconds, at least 1s; 0 is no limit
	IdleTimeout     time.Duration // 0: not sent
	InterimInterval time.Duration
	Rate            RateLimit
	Devices         int    // Port-Limit
	UploadLeft      Octets // Mikrotik-Recv-Limit; 0: not sent
	DownloadLeft    Octets // Mikrotik-Xmit-Limit; 0: not sent
	TotalLeft       Octets // Mikrotik-Total-Limit; 0: not sent
	AddressLists    []string

	// FirstUse says that this Accept starts the pass's clock.
	FirstUse bool

	// Detail is the sentence for staff behind a refusal, with what the guest
	// need not know; "" when Message says it all.
	Detail string
	// Others are the sessions that stand in the way, of a refusal for too many
	// devices: ghosts among them may be found out and the request judged again.
	// The devices heard of least lately come first.
	Others []Session
	// Move says that the plan lets the new device in as soon as the first Ends of
	// Others are ended.
	Move bool
	Ends int
	// Serial orders verdicts against changes of the account: a reply with a
	// Serial below that of a later change must not be repeated from a cache.
	Serial uint64
	// Departures of an Accept are told to it; nil: nobody asks.
	Departures Departures
}

// Departures keeps when the Access-Accepts of an account left.
type Departures interface {
	// Left notes that an Accept has left, for the first time or once more. It must
	// not wait for anything.
	Left(at time.Time)
}

// NASMemory is what a site learnt of a NAS from its packets. It outlives a
// restart and is never unlearnt by itself.
type NASMemory struct {
	NAS           NASID
	SignsRequests bool // sent a valid Message-Authenticator in an Access-Request
	SignsReplies  bool // sent one in an answer to Disconnect- or CoA-Request
	EchoesClass   bool // sent back the Class of an Accept in accounting (RFC 2865 §5.25)
}
