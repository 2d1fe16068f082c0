package radius

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// Client sends Disconnect-Request to a NAS's /radius/incoming (RFC 5176).
type Client struct {
	NASes []NAS
	Log   *slog.Logger
	Now   func() time.Time
	// EventTimestamp adds Event-Timestamp. A router with a wrong clock then
	// ignores us (RFC 5176 §6.3), so it is off unless asked for.
	EventTimestamp bool
	// Waits are the pauses after each sending of the same bytes; nil is 300 ms,
	// 600 ms, 1.2 s.
	Waits []time.Duration

	next atomic.Uint32 // identifier of the next request
}

var defaultWaits = []time.Duration{300 * time.Millisecond, 600 * time.Millisecond, 1200 * time.Millisecond}

// Error-Causes on which fewer attributes may help (facts.md §4 "CoA and Disconnect").
func worthAnotherTry(cause uint32) bool {
	switch cause {
	case 401, 404, 406, 503:
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
	for _, n := range c.NASes {
		if n.ID != nas {
			continue
		}
		if !n.CoA.IsValid() {
			return hotspot.Disconnected{}, fault.New(fault.NotFound, fmt.Sprintf("radius: NAS %s has no address for Disconnect-Request", nas), nil)
		}
		d, err := c.ask(ctx, n, s, false)
		if err != nil || d.Result != hotspot.ResultNAK || !worthAnotherTry(d.ErrorCause) || s.Username == "" || !s.IP.Is4() {
			return d, err
		}
		second, err := c.ask(ctx, n, s, true)
		second.Attempts += d.Attempts
		return second, err
	}
	return hotspot.Disconnected{}, fault.New(fault.NotFound, fmt.Sprintf("radius: no NAS %s is configured", nas), nil)
}

// ask sends one request, the same bytes at each try, and waits for its answer.
func (c *Client) ask(ctx context.Context, n NAS, s hotspot.Session, short bool) (hotspot.Disconnected, error) {
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	var stamp time.Time
	if c.EventTimestamp {
		stamp = now()
	}
	secret := []byte(n.Secret.Reveal())
	request, err := disconnectRequest(byte(c.next.Add(1)), secret, n, s, stamp, short)
	if err != nil {
		return hotspot.Disconnected{}, fault.New(fault.Invalid, "radius: Disconnect-Request", err)
	}
	var local *net.UDPAddr
	if n.CoASource.IsValid() {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.CoASource, 0))
	}
	// Not connected: a refused datagram must not end the tries that follow.
	conn, err := net.ListenUDP("udp", local)
	if err != nil {
		return hotspot.Disconnected{}, fault.New(fault.Unavailable, "radius: open a socket for Disconnect-Request", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	waits := c.Waits
	if waits == nil {
		waits = defaultWaits
	}
	d := hotspot.Disconnected{Result: hotspot.ResultTimeout}
	started := time.Now()
	for _, wait := range waits {
		if ctx.Err() != nil {
			break
		}
		d.Attempts++
		if _, err := conn.WriteToUDPAddrPort(request, n.CoA); err != nil && c.Log != nil {
			c.Log.Debug("send Disconnect-Request", "nas", n.ID, "err", err)
		}
		reply, ok := c.await(ctx, conn, n, request, secret, time.Now().Add(wait))
		if !ok {
			continue
		}
		d.RoundTrip = time.Since(started)
		d.Result = hotspot.ResultACK
		if reply[0] == codeDisconnectNAK {
			d.Result, d.ErrorCause = hotspot.ResultNAK, errorCause(reply, secret)
		}
		return d, nil
	}
	return d, nil
}

// await reads until the answer to request is there, proven, or the deadline passes.
func (c *Client) await(ctx context.Context, conn *net.UDPConn, n NAS, request, secret []byte, until time.Time) ([]byte, bool) {
	buf := make([]byte, maxPacket)
	if err := conn.SetReadDeadline(until); err != nil {
		return nil, false
	}
	if ctx.Err() != nil { // its end may have come before the deadline was set
		return nil, false
	}
	for {
		size, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() || errors.Is(err, net.ErrClosed) {
				return nil, false
			}
			continue // ICMP unreachable of an earlier try: wait for the next
		}
		if netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != n.CoA || size < headerLen {
			continue
		}
		if code := buf[0]; code != codeDisconnectACK && code != codeDisconnectNAK || buf[1] != request[1] {
			continue
		}
		if reply, ok := validReply(buf[:size], request, secret); ok {
			return reply, true
		}
	}
}
