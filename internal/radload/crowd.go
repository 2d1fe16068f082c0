package radload

import (
	"fmt"
	"net/netip"
	"sync/atomic"
)

// Crowd is the guests of a load. It belongs to one run at a time.
type Crowd struct {
	account func(i int) (name, password string)
	guests  []guest
	session atomic.Uint32 // newest session's number
}

// guest is where one guest stands.
type guest struct {
	at       int    // position in the script
	started  bool   // its Start was sent
	session  uint32 // number of its session at the router
	class    []byte // of the Accept
	seconds  uint32
	up, down uint64
}

// NewCrowd makes n guests. account names the login of each, and must be safe
// for use by several goroutines.
func NewCrowd(n int, account func(i int) (name, password string)) *Crowd {
	return &Crowd{account: account, guests: make([]guest, n)}
}

// Rewind puts every guest at the beginning of the script; sessions stay.
func (c *Crowd) Rewind() {
	for i := range c.guests {
		c.guests[i].at = 0
	}
}

// advance moves a guest's own account of its session to the next request.
func (c *Crowd) advance(g *guest, k Kind) {
	switch k {
	case PAP, CHAP:
		*g = guest{at: g.at, session: c.session.Add(1) & 0xffffff, class: g.class[:0]}
	case Start:
		if g.started || g.session == 0 { // without a login before it
			*g = guest{at: g.at, session: c.session.Add(1) & 0xffffff}
		}
		g.started = true
	case Interim, Stop:
		g.seconds++
		g.up += 1_000
		g.down += 9_000
	}
}

// acctSessionID is "80", which is HotSpot, and the session's number (facts.md §4).
func (g *guest) acctSessionID() uint32 { return 0x80<<24 | g.session }

// appendMAC writes a guest's MAC as HotSpot spells it; MACs are locally
// administered, and every guest has one of its own.
func appendMAC(b []byte, i int) []byte {
	const digits = "0123456789ABCDEF"
	for n, v := range [6]byte{2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)} {
		if n > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[v>>4], digits[v&15])
	}
	return b
}

// MAC is the Calling-Station-Id of guest i.
func MAC(i int) string { return string(appendMAC(nil, i)) }

// addr is the guest's address in the HotSpot's network.
func addr(i int) [4]byte {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).As4()
}

func hexID(id uint32) string { return fmt.Sprintf("%08x", id) }
