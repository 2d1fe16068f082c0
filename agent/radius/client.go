package radius

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// Client sends Disconnect-Request and CoA-Request to a NAS's /radius/incoming
// (RFC 5176).
type Client struct {
	NASes []NAS
	Log   *slog.Logger
	Now   func() time.Time
	// DateTrusted reports whether our date can be believed. Event-Timestamp is
	// sent to NASes that want it only while it can: a NAS ignores a request whose
	// time is more than its window away (RFC 5176 §6.3). nil is always.
	DateTrusted func() bool
	// Identity tells how a NAS last named itself; nil, or a NAS not heard yet, is
	// its configured address.
	Identity func(hotspot.NASID) (Identity, bool)
	// Proven tells which secret a NAS last proved in a packet of its own, the
	// previous one or the current, and when; zero is never. nil: not known.
	Proven func(hotspot.NASID) (previous bool, at time.Time)
	// Known is what was learnt of the NASes before this run. From one that has
	// signed an answer, answers without Message-Authenticator are not taken.
	Known []hotspot.NASMemory
	// Learned is called once for a NAS, when it first signs an answer; nil: it is
	// forgotten with the program. It must not block.
	Learned func(hotspot.NASMemory)
	// Waits are the pauses after each sending of the same bytes; nil is 300 ms,
	// 600 ms, 1.2 s, each up to a tenth longer or shorter (RFC 5080 §2.2.1,
	// quicker: a lock waits for it).
	Waits []time.Duration

	ids    identifiers
	once   sync.Once
	signed sync.Map // hotspot.NASID → true: it signs its answers
	proven sync.Map // hotspot.NASID → secretUse: which secret its newest answer proved
}

// secretUse is which of two secrets a NAS used.
type secretUse struct {
	previous bool
	at       time.Time
}

var defaultWaits = []time.Duration{300 * time.Millisecond, 600 * time.Millisecond, 1200 * time.Millisecond}

// worthAnotherTry tells the Error-Causes on which fewer attributes may help
// (facts.md §4 "CoA and Disconnect"; 403 says that we name the NAS wrongly, and
// the second form does not name it).
func worthAnotherTry(cause uint32) bool {
	switch cause {
	case hotspot.CauseUnsupportedAttribute, hotspot.CauseIdentificationMismatch, hotspot.CauseInvalidRequest,
		hotspot.CauseUnsupportedExtension, hotspot.CauseNoSuchSession:
		return true
	}
	return false
}

// Disconnect asks the NAS to end a session. The outcome says what the NAS
// answered, or that it did not; an error means that nothing could be asked.
//
// After a NAK that fewer attributes may cure it asks once more with User-Name
// and Framed-IP-Address only.
func (c *Client) Disconnect(ctx context.Context, nas hotspot.NASID, s hotspot.Session) (hotspot.Disconnected, error) {
	return c.twice(ctx, nas, ask{code: codeDisconnectRequest, session: s})
}

// Change asks the NAS to go on with a session under other terms. It answers as
// Disconnect does.
func (c *Client) Change(ctx context.Context, nas hotspot.NASID, s hotspot.Session, terms hotspot.NewTerms) (hotspot.Disconnected, error) {
	return c.twice(ctx, nas, ask{code: codeCoARequest, session: s, terms: terms})
}

// twice asks, and once more with fewer attributes where that may help.
func (c *Client) twice(ctx context.Context, nas hotspot.NASID, a ask) (hotspot.Disconnected, error) {
	c.once.Do(func() {
		for _, m := range c.Known {
			if m.SignsReplies {
				c.signed.Store(m.NAS, true)
			}
		}
	})
	n, err := c.find(nas)
	if err != nil {
		return hotspot.Disconnected{}, err
	}
	a.who = c.identity(n)
	if n.CoATimestamp && (c.DateTrusted == nil || c.DateTrusted()) {
		a.at = c.now()
	}
	d, err := c.exchange(ctx, n, a)
	s := a.session
	if err != nil || d.Result != hotspot.ResultNAK || !worthAnotherTry(d.ErrorCause) || s.Username == "" || !s.IP.Is4() {
		return d, err
	}
	a.short = true
	second, err := c.exchange(ctx, n, a)
	second.Attempts += d.Attempts
	return second, err
}

func (c *Client) find(nas hotspot.NASID) (NAS, error) {
	for _, n := range c.NASes {
		switch {
		case n.ID != nas:
		case !n.CoA.IsValid():
			return n, fault.New(fault.NotFound, fmt.Sprintf("radius: NAS %s has no address for Disconnect- and CoA-Request", nas), nil)
		default:
			return n, nil
		}
	}
	return NAS{}, fault.New(fault.NotFound, fmt.Sprintf("radius: no NAS %s is configured", nas), nil)
}

// identity is how the NAS names itself, or its address until it was heard.
func (c *Client) identity(n NAS) Identity {
	if c.Identity != nil {
		if id, ok := c.Identity(n.ID); ok {
			return id
		}
	}
	if n.Network.IsSingleIP() {
		return Identity{IP: n.Network.Addr()}
	}
	return Identity{}
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Client) log() *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.New(slog.DiscardHandler)
}

// request is one on its way: the same bytes at each try.
type request struct {
	secret   []byte
	bytes    []byte
	previous bool // made with the secret before the last change
}

// prepare makes the request, and during an overlap of two secrets a second one,
// with the other secret and an identifier of its own. The secret that the NAS
// used last goes first.
func (c *Client) prepare(n NAS, a ask) (made []request, err error) {
	defer func() {
		if err != nil {
			c.release(n.ID, made)
			made = nil
		}
	}()
	uses := []bool{false}
	if n.overlaps(c.now()) {
		first := c.usesPrevious(n.ID)
		uses = []bool{first, !first}
	}
	for _, previous := range uses {
		r := request{secret: []byte(n.Secret.Reveal()), previous: previous}
		if previous {
			r.secret = []byte(n.Previous.Reveal())
		}
		id, ok := c.ids.take(n.ID)
		if !ok {
			return made, fault.New(fault.Unavailable, fmt.Sprintf("radius: 256 requests wait for NAS %s", n.ID), nil)
		}
		if r.bytes, err = a.encode(id, r.secret); err != nil {
			c.ids.give(n.ID, id)
			return made, fault.New(fault.Invalid, fmt.Sprintf("radius: request of code %d", a.code), err)
		}
		made = append(made, r)
	}
	return made, nil
}

func (c *Client) release(nas hotspot.NASID, made []request) {
	for _, r := range made {
		c.ids.give(nas, r.bytes[1])
	}
}

// usesPrevious reports whether a NAS proved the previous secret last, by a packet
// of its own or by an answer.
func (c *Client) usesPrevious(nas hotspot.NASID) bool {
	var last secretUse
	if v, ok := c.proven.Load(nas); ok {
		last = v.(secretUse)
	}
	if c.Proven != nil {
		if previous, at := c.Proven(nas); at.After(last.at) {
			return previous
		}
	}
	return last.previous
}

// exchange sends a request and waits for its answer. During an overlap of two
// secrets the second goes out beside the first as soon as an answer proves
// nothing, or none came to the first try: a NAS is silent to a request made with
// another secret than its own (RFC 5176 §3.4).
func (c *Client) exchange(ctx context.Context, n NAS, a ask) (hotspot.Disconnected, error) {
	made, err := c.prepare(n, a)
	if err != nil {
		return hotspot.Disconnected{}, err
	}
	defer c.release(n.ID, made)
	conn, err := bindFor(n, a.who)
	if err != nil {
		return hotspot.Disconnected{}, fault.New(fault.Unavailable, "radius: open a socket for Disconnect- and CoA-Request", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	d := hotspot.Disconnected{Result: hotspot.ResultTimeout}
	started := time.Now()
	out := made[:1]
	for _, wait := range c.waits() {
		if ctx.Err() != nil {
			break
		}
		for _, r := range out {
			d.Attempts++
			if _, err := conn.WriteToUDPAddrPort(r.bytes, n.CoA); err != nil {
				c.log().Debug("send to /radius/incoming", "nas", n.ID, "code", a.code, "err", err)
			}
		}
		got, ok := c.await(ctx, conn, n, out, len(out) < len(made), time.Now().Add(wait))
		if !ok {
			out = made
			continue
		}
		d.RoundTrip = time.Since(started)
		d.Result, d.ErrorCause = hotspot.ResultACK, got.cause
		if got.code == a.code+2 {
			d.Result = hotspot.ResultNAK
		}
		break
	}
	return d, nil
}

// bindFor opens a socket at the address of ours that the NAS knows: the one
// configured, else the one it asks, if that can still be had and reaches it. It is
// not connected: a refused datagram must not end the tries that follow.
func bindFor(n NAS, who Identity) (*net.UDPConn, error) {
	at := func(a netip.Addr) (*net.UDPConn, error) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	}
	if n.CoASource.IsValid() {
		return at(n.CoASource)
	}
	if who.Asked.IsValid() && who.Asked.Is4() == n.CoA.Addr().Unmap().Is4() && who.Asked.IsLoopback() == n.CoA.Addr().Unmap().IsLoopback() {
		if conn, err := at(who.Asked); err == nil {
			return conn, nil
		}
	}
	return net.ListenUDP("udp", nil)
}

// waits are the pauses after each sending; ours are spread a little, so that
// requests that met each other do not meet again.
func (c *Client) waits() []time.Duration {
	if c.Waits != nil {
		return c.Waits
	}
	out := make([]time.Duration, len(defaultWaits))
	for i, w := range defaultWaits {
		out[i] = w + time.Duration((rand.Float64()-0.5)*0.2*float64(w))
	}
	return out
}

// await reads until the answer to one of the requests is there, proven, or the
// deadline passes; with hasty, until an answer proves nothing.
func (c *Client) await(ctx context.Context, conn *net.UDPConn, n NAS, out []request, hasty bool, until time.Time) (proven, bool) {
	buf := make([]byte, maxPacket)
	if err := conn.SetReadDeadline(until); err != nil {
		return proven{}, false
	}
	if ctx.Err() != nil { // its end may have come before the deadline was set
		return proven{}, false
	}
	for {
		size, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() || errors.Is(err, net.ErrClosed) {
				return proven{}, false
			}
			continue // ICMP unreachable of an earlier try: wait for the next
		}
		if netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != n.CoA {
			continue
		}
		got, r, ok := answerTo(out, buf[:size])
		if !ok {
			c.log().Warn("an answer of /radius/incoming proves nothing and is not taken: another secret, or forged", "nas", n.ID)
			if hasty {
				return proven{}, false
			}
			continue
		}
		if c.takes(n.ID, got) {
			c.proven.Store(n.ID, secretUse{r.previous, c.now()})
			return got, true
		}
		c.log().Warn("an answer of /radius/incoming without Message-Authenticator is not taken: this router signed before", "nas", n.ID)
	}
}

// answerTo finds the request that a datagram is the proven answer to.
func answerTo(out []request, b []byte) (proven, request, bool) {
	for _, r := range out {
		if got, ok := proveAnswer(b, r.bytes, r.secret); ok {
			return got, r, true
		}
	}
	return proven{}, request{}, false
}

// takes reports whether an answer may be believed, and learns from it.
func (c *Client) takes(nas hotspot.NASID, a proven) bool {
	_, signs := c.signed.Load(nas)
	if a.signed && !signs {
		if _, before := c.signed.LoadOrStore(nas, true); !before && c.Learned != nil {
			c.Learned(hotspot.NASMemory{NAS: nas, SignsReplies: true})
		}
	}
	return a.signed || !signs
}
