package hotspot

import "time"

// Clock says how a pass's time allowance runs.
type Clock string

const (
	// Continuous time runs from the first login, online or not.
	Continuous Clock = "continuous"
	// Metered time runs only while at least one device is online.
	Metered Clock = "metered"
)

// Limits is what a plan allows; a pass carries its own copy, so that changing
// a plan never changes what was already sold.
type Limits struct {
	Time         time.Duration // allowance; 0 is no limit
	Clock        Clock         // how Time runs; "" reads as Continuous
	Validity     time.Duration // how long after the sale the pass may be used at all; 0 is for ever
	Rate         RateLimit     // upload/download
	Upload       Octets        // data allowance from the guest; 0 is no limit
	Download     Octets        // data allowance to the guest; 0 is no limit
	Total        Octets        // data allowance both ways; 0 is no limit
	Devices      int           // devices at once; 0 reads as 1
	IdleTimeout  time.Duration // 0 leaves it to the router
	AddressLists []string      // Mikrotik-Address-List, for the length of a session
}

// DevicesAtOnce returns the number of devices allowed at once, at least 1.
func (l Limits) DevicesAtOnce() int { return max(1, l.Devices) }

// Plan is what is sold.
type Plan struct {
	ID    PlanID
	Name  string
	Price Money
	Limits
}

// AccountKind says what a login with the account looks like.
type AccountKind string

const (
	// User logs in by name and password.
	User AccountKind = "user"
	// Voucher logs in by a code, which is the only credential.
	Voucher AccountKind = "voucher"
	// Device logs in by its MAC address.
	Device AccountKind = "device"
)

// Account is who may log in.
type Account struct {
	ID       AccountID
	Kind     AccountKind
	Username string // name, voucher code, or MAC as "AA:BB:CC:DD:EE:FF"
	Note     string // for people; never sent to a router
}

// LoginKey returns the form under which a login name is looked up: vouchers
// without separators in upper case, devices by canonical MAC, users byte for
// byte (RADIUS defines no case folding; reference/radius.md §4).
func LoginKey(kind AccountKind, name string) string {
	switch kind {
	case Voucher:
		b := make([]byte, 0, len(name))
		for i := 0; i < len(name); i++ {
			switch c := name[i]; {
			case c == '-' || c == ' ':
			case c >= 'a' && c <= 'z':
				b = append(b, c-'a'+'A')
			default:
				b = append(b, c)
			}
		}
		return string(b)
	case Device:
		if m, ok := ParseMAC(name); ok {
			return m.String()
		}
	}
	return name
}

// Pass is what an account bought: limits, when it was first used, what is gone.
type Pass struct {
	ID         PassID
	Account    AccountID
	Plan       PlanID
	PlanName   string
	Limits     Limits
	ValidFrom  time.Time // zero: at once
	ValidUntil time.Time // zero: for ever
	Usage      Usage
}

// Usage is what is gone of a pass, over all its devices. The site owns it.
type Usage struct {
	FirstUsed time.Time     // zero: not yet
	Time      time.Duration // online time, counted once however many devices were on
	Upload    Octets
	Download  Octets
}

// Lock is the wanted state "off" of an account.
type Lock struct {
	Account  AccountID
	By       string // who, for people
	Reason   string
	At       time.Time // by the clock of the machine where it was asked
	Revision int64     // site revision that carried it; 0 when set on site
}

// OffReason says why an account must not be online.
type OffReason string

const (
	OffLocked      OffReason = "locked"
	OffTimeUsed    OffReason = "time_used"
	OffDataUsed    OffReason = "data_used"
	OffNotValid    OffReason = "not_valid"
	OffTooMany     OffReason = "too_many_devices"
	OffRemoved     OffReason = "account_removed"
	OffKicked      OffReason = "kicked"
	OffNotOurGuest OffReason = "not_ours"
)
