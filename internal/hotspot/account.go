package hotspot

import (
	"errors"
	"fmt"
	"time"
)

// Clock says how a pass's time allowance runs.
type Clock string

const (
	// Continuous time runs from the first login, online or not.
	Continuous Clock = "continuous"
	// Metered time runs only while at least one device is online.
	Metered Clock = "metered"
)

// DeviceSwap says what becomes of a login when as many devices as allowed are
// online already.
type DeviceSwap string

const (
	// SwapRefuse keeps the new device out until another one leaves.
	SwapRefuse DeviceSwap = "refuse"
	// SwapMove ends the device heard of least lately and lets the new one in: for
	// phones that change their MAC.
	SwapMove DeviceSwap = "move"
)

// Limits is what a plan allows; a pass carries its own copy, so that changing
// a plan never changes what was already sold.
type Limits struct {
	Time         time.Duration // allowance; 0 is no limit
	Clock        Clock         // how Time runs; "" reads as Continuous
	Validity     time.Duration // how long after the sale the pass may be used at all; 0 is for ever
	Hours        Hours         // when in the week, in the site's zone; none is always
	Rate         RateLimit     // upload/download
	Upload       Octets        // data allowance from the guest; 0 is no limit
	Download     Octets        // data allowance to the guest; 0 is no limit
	Total        Octets        // data allowance both ways; 0 is no limit
	SlowRate     RateLimit     // speed once a data allowance is used; zero: the pass ends there
	Devices      int           // devices at once; 0 reads as 1
	Swap         DeviceSwap    // one device too many; "" reads as SwapRefuse
	IdleTimeout  time.Duration // 0 leaves it to the router
	AddressLists []string      // lists the guest's address is in for the length of a session
	ListsByAPI   bool          // AddressLists are kept over the router's API, with the device's IPv6 addresses, instead of by Mikrotik-Address-List
	Reconnect    bool          // a live session that cannot be changed otherwise may be ended, so that the guest logs in anew
}

// DevicesAtOnce returns the number of devices allowed at once, at least 1.
func (l Limits) DevicesAtOnce() int { return max(1, l.Devices) }

// DataUsed reports whether a data allowance is used up.
func (l Limits) DataUsed(u Usage) bool {
	return l.Upload > 0 && u.Upload >= l.Upload || l.Download > 0 && u.Download >= l.Download ||
		l.Total > 0 && u.Upload.Add(u.Download) >= l.Total
}

// Slows reports whether the end of a data allowance slows the guest down
// instead of ending the session.
func (l Limits) Slows() bool {
	return !l.SlowRate.IsZero() && (l.Upload > 0 || l.Download > 0 || l.Total > 0)
}

// ListsInAccept returns the address-lists that an Accept names.
func (l Limits) ListsInAccept() []string {
	if l.ListsByAPI {
		return nil
	}
	return l.AddressLists
}

// RateAfter returns the speed that is right after this much use.
func (l Limits) RateAfter(u Usage) RateLimit {
	if l.Slows() && l.DataUsed(u) {
		return l.SlowRate
	}
	return l.Rate
}

// Validate says what is wrong with limits that people wrote, by field name of
// the HTTP API; nil is nothing.
func (l Limits) Validate() map[string]error {
	wrong := map[string]error{}
	check := func(field string, err error) {
		if err != nil {
			wrong[field] = err
		}
	}
	check("hours", l.Hours.Validate())
	check("rate", l.Rate.Validate())
	check("slow_rate", l.SlowRate.Validate())
	if wrong["slow_rate"] == nil && !l.SlowRate.IsZero() {
		slow, fast := l.SlowRate.Max, l.Rate.Max
		switch {
		case !l.Slows():
			check("slow_rate", errors.New("a slower speed needs a data allowance that it follows"))
		case slow.Upload == 0 || slow.Download == 0:
			check("slow_rate", errors.New("give a slower speed for both directions"))
		case fast.Upload > 0 && slow.Upload > fast.Upload || fast.Download > 0 && slow.Download > fast.Download:
			check("slow_rate", errors.New("the speed after the allowance must not be above the speed before"))
		}
	}
	if l.Swap != "" && l.Swap != SwapRefuse && l.Swap != SwapMove {
		check("device_swap", fmt.Errorf("%q is neither %s nor %s", l.Swap, SwapRefuse, SwapMove))
	}
	if len(l.AddressLists) > addressLists {
		check("address_lists", fmt.Errorf("%d address-lists, at most %d are allowed", len(l.AddressLists), addressLists))
	}
	for _, name := range l.AddressLists {
		if err := CheckListName(name); err != nil {
			check("address_lists", err)
		}
	}
	return wrong
}

// Bounds of Mikrotik-Address-List in a plan: an attribute holds 247 octets, and
// each list is one of them in a packet of 4096.
const (
	addressLists      = 8
	addressListLength = 64
)

func inListName(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_'
}

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
	Pause    bool      // by the guest's wish, to keep metered time
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

// Known reports whether it is one of these, and not how a router ends a session.
func (r OffReason) Known() bool {
	switch r {
	case OffLocked, OffTimeUsed, OffDataUsed, OffNotValid, OffTooMany, OffRemoved, OffKicked, OffNotOurGuest:
		return true
	}
	return false
}
