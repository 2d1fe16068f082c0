// Package hotspot is the vocabulary of IWAS: the nouns a cafe, its router and
// its owner share. It holds types and the arithmetic that belongs to them,
// imports the standard library only, and never does I/O.
//
// Directions, once and for all: upload is what the NAS received from the guest
// (Acct-Input-Octets, RFC 2866 §5.3), download what it sent to the guest
// (Acct-Output-Octets, RFC 2866 §5.4).
package hotspot

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"
)

// Identifiers. All are opaque, lower-case and safe in an MQTT topic level.
type (
	// OrganizationID names a business.
	OrganizationID string
	// SiteID names one cafe: one agent and one or more NASes.
	SiteID string
	// AgentID names one enrolment of one box; it is the CN of its certificate.
	AgentID string
	// AccountID names who may log in.
	AccountID string
	// PlanID names what is sold.
	PlanID string
	// PassID names what an account bought.
	PassID string
	// PermitID names what one Access-Accept gave; its token travels as Class.
	PermitID string
	// SessionID is our own key of one accounting session.
	SessionID string
	// NASID is our own name of a router, from the configuration.
	NASID string
	// AcctSessionID is Acct-Session-Id as the NAS wrote it (RFC 2866 §5.5).
	// RouterOS repeats it after sixteen boots: never a key by itself.
	AcctSessionID string
)

// NewID returns 26 lower-case characters of randomness, sortable by the time
// of making to the millisecond (48 bits of Unix milliseconds, 80 random bits).
func NewID(now time.Time) string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford base32
	var b [16]byte
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	rand.Read(b[6:])
	var out [26]byte
	var acc uint32
	bits, n := 0, 0
	for _, c := range b {
		acc = acc<<8 | uint32(c)
		bits += 8
		for bits >= 5 {
			bits -= 5
			out[n] = alphabet[acc>>bits&31]
			n++
		}
	}
	out[n] = alphabet[acc<<(5-bits)&31]
	return string(out[:])
}

// Octets counts bytes of payload. It saturates at math.MaxInt64 so that it
// fits an SQLite INTEGER.
type Octets uint64

// JoinOctets makes one count of the 32-bit attribute and its Gigawords
// companion (RFC 2869 §5.1, §5.2).
func JoinOctets(gigawords, octets uint32) Octets {
	n := uint64(gigawords)<<32 | uint64(octets)
	if n > math.MaxInt64 {
		n = math.MaxInt64
	}
	return Octets(n)
}

// Split returns the Gigawords part and the low 32 bits.
func (o Octets) Split() (gigawords, octets uint32) {
	return uint32(o >> 32), uint32(o)
}

// Add returns o+p, saturating at math.MaxInt64.
func (o Octets) Add(p Octets) Octets {
	if s := o + p; s >= o && s <= math.MaxInt64 {
		return s
	}
	return math.MaxInt64
}

// String prints a count for people: "0 B", "742 MB", "3.1 GB" (powers of 1000).
func (o Octets) String() string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	f, i := float64(o), 0
	for f >= 999.5 && i < len(units)-1 {
		f /= 1000
		i++
	}
	if i == 0 || f >= 99.95 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// MAC is a device address of six octets. The zero value means "not known".
type MAC [6]byte

// ParseMAC reads twelve hexadecimal digits in any of the seven spellings
// RouterOS can be told to use (facts.md §5: XX:XX:…, XX-XX-…, XXXX:XXXX:XXXX,
// XXXXXXXXXXXX, …, upper or lower case, dots allowed). It refuses anything else.
func ParseMAC(s string) (MAC, bool) {
	var m MAC
	var digits [12]byte
	n := 0
	lastSep := true // a separator may not come first, last or twice
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			if n == len(digits) {
				return MAC{}, false
			}
			digits[n] = c
			n++
			lastSep = false
		case c == ':' || c == '-' || c == '.':
			if lastSep || n%2 != 0 {
				return MAC{}, false
			}
			lastSep = true
		default:
			return MAC{}, false
		}
	}
	if n != len(digits) || lastSep {
		return MAC{}, false
	}
	if _, err := hex.Decode(m[:], digits[:]); err != nil {
		return MAC{}, false
	}
	return m, true
}

// String returns the spelling RouterOS uses: "AA:BB:CC:DD:EE:FF"; "" if zero.
func (m MAC) String() string {
	if m.IsZero() {
		return ""
	}
	return strings.ToUpper(fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]))
}

// Masked returns the address with its last three octets hidden, for logs and
// pages that people without a right to see guests may read.
func (m MAC) Masked() string {
	if m.IsZero() {
		return ""
	}
	return strings.ToUpper(fmt.Sprintf("%02x:%02x:%02x:··:··:··", m[0], m[1], m[2]))
}

// IsZero reports whether the address is not known.
func (m MAC) IsZero() bool { return m == MAC{} }

// Private reports whether the address is locally administered, as phones use
// that change their MAC per network (IEEE 802, bit 1 of the first octet).
func (m MAC) Private() bool { return m[0]&2 != 0 }

// Password is a clear password on its way to a check. It prints as "***".
type Password string

// String hides the password from logs and error texts.
func (p Password) String() string { return "***" }

// GoString hides the password from %#v.
func (p Password) GoString() string { return "hotspot.Password(***)" }

// MarshalText hides the password from every encoder.
func (p Password) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Reveal returns the password itself. Each caller is a place to look at twice.
func (p Password) Reveal() string { return string(p) }

// Money is an amount in the minor unit of a currency (ISO 4217).
type Money struct {
	Minor    int64
	Currency string
}
