package access

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Range is the addresses from one to another, both included.
type Range struct{ From, To netip.Addr }

// RangeOf is a network as a range.
func RangeOf(p netip.Prefix) Range {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b) // of the same length
	return Range{p.Masked().Addr(), last}
}

// Contains reports whether an address is one of them.
func (r Range) Contains(a netip.Addr) bool {
	return r.From.BitLen() == a.BitLen() && !a.Less(r.From) && !r.To.Less(a)
}

// String writes "10.0.0.1-10.0.0.9".
func (r Range) String() string {
	if r.From == r.To {
		return r.From.String()
	}
	return r.From.String() + "-" + r.To.String()
}

// Rules say whose connections the door to the network takes.
type Rules struct {
	Networks []netip.Prefix // these alone,
	Guests   []Range        // and of them no guest's,
	Routers  []Range        // and no router's: its proxy and its masquerading make guests look like it
}

// Reason is why a connection is refused; "" is that it is taken.
type Reason string

// Reasons.
const (
	FromRouter   Reason = "router"
	FromGuest    Reason = "guest"
	FromStranger Reason = "network"
)

// Meaning says it to a technician.
func (r Reason) Meaning() string {
	switch r {
	case FromRouter:
		return "an address of a router: its HotSpot and its masquerading make guests look like it"
	case FromGuest:
		return "an address of the guest network"
	case FromStranger:
		return "in none of the networks named under [status] networks"
	}
	return ""
}

// Refuses says why an address is refused.
func (r Rules) Refuses(a netip.Addr) Reason {
	a = a.Unmap().WithZone("")
	is := func(x Range) bool { return x.Contains(a) }
	switch {
	case slices.ContainsFunc(r.Routers, is):
		return FromRouter
	case slices.ContainsFunc(r.Guests, is):
		return FromGuest
	case !slices.ContainsFunc(r.Networks, func(p netip.Prefix) bool { return p.Contains(a) }):
		return FromStranger
	}
	return ""
}

// CodeRefused is the condition that names refused connections in the log.
const CodeRefused = "SYS-123"

const (
	refusalsKept = 64 // addresses; past it the one that came longest ago is forgotten
	atOnce       = 64 // connections; past it the newest is closed
)

// Refusal counts the refused connections of one address.
type Refusal struct {
	From   string    `json:"from"`
	Reason Reason    `json:"reason"`
	N      uint64    `json:"n"`
	Last   time.Time `json:"last_at"`
}

// Gate closes connections that the rules refuse as soon as they are accepted,
// before a word of TLS is spoken.
type Gate struct {
	Rules func() Rules
	Log   *slog.Logger

	mu      sync.Mutex
	refused map[netip.Addr]*Refusal // guarded by mu
	total   uint64                  // guarded by mu
	open    int                     // guarded by mu: connections
}

// Refusals returns who was refused since the start, the newest first, and how
// often in all.
func (g *Gate) Refusals() (out []Refusal, total uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.refused {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Refusal) int { return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.From, b.From)) })
	return out, g.total
}

// Takes reports whether a connection from "address:port" is taken, and counts it
// if it is not.
func (g *Gate) Takes(remote string) bool {
	p, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	a := p.Addr().Unmap().WithZone("")
	why := g.Rules().Refuses(a)
	if why != "" {
		g.note(a, why)
	}
	return why == ""
}

func (g *Gate) note(a netip.Addr, why Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total++
	if r := g.refused[a]; r != nil {
		r.N, r.Last, r.Reason = r.N+1, time.Now(), why
		return
	}
	if g.refused == nil {
		g.refused = map[netip.Addr]*Refusal{}
	}
	if len(g.refused) >= refusalsKept {
		var oldest netip.Addr
		for k, r := range g.refused {
			if !oldest.IsValid() || r.Last.Before(g.refused[oldest].Last) {
				oldest = k
			}
		}
		delete(g.refused, oldest)
	}
	g.refused[a] = &Refusal{a.String(), why, 1, time.Now()}
	if g.Log != nil {
		g.Log.Warn("a connection to the status page was refused", "addr", a.String(), "reason", why.Meaning(), "code", CodeRefused)
	}
}

// Listen returns a listener behind the gate.
func (g *Gate) Listen(l net.Listener) net.Listener { return &gated{l, g} }

type gated struct {
	net.Listener
	gate *Gate
}

func (l *gated) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.gate.Takes(c.RemoteAddr().String()) || !l.gate.enter() {
			c.Close() // nothing was written: there is nothing to lose
			continue
		}
		return &conn{Conn: c, gate: l.gate}, nil
	}
}

func (g *Gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= atOnce {
		return false
	}
	g.open++
	return true
}

// conn tells the gate when it ends, and leads whoever speaks plain HTTP to HTTPS.
type conn struct {
	net.Conn
	gate *Gate
	once sync.Once
	read bool
}

func (c *conn) Close() error {
	c.once.Do(func() {
		c.gate.mu.Lock()
		defer c.gate.mu.Unlock()
		c.gate.open--
	})
	return c.Conn.Close()
}

const tlsHandshake = 0x16 // first octet of a TLS connection (RFC 8446 §5.1)

// Read answers a browser that was told the address alone. It is sent where it
// connected to: what it says of the host is not believed.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.read || n == 0 {
		return n, err
	}
	c.read = true
	if b[0] == tlsHandshake {
		return n, err
	}
	to := "https://" + c.LocalAddr().String() + "/"
	text := "This page is served over HTTPS: " + to + "\n"
	fmt.Fprintf(c.Conn, "HTTP/1.1 308 Permanent Redirect\r\nLocation: %s\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", to, len(text), text)
	return 0, io.EOF
}
