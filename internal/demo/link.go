package demo

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Link stands between an agent and its broker as a long line does: what goes
// through comes late, and now and then a piece is lost and comes after the
// retransmission that TCP makes of it. It reads nothing of what it carries.
type Link struct {
	l     net.Listener
	to    string
	carry atomic.Int64 // octets, both ways

	mu    sync.Mutex
	delay time.Duration // one way; guarded by mu
	loss  float64       // of pieces; guarded by mu
}

// retransmit is the least time after which TCP sends a lost piece again (RFC 6298
// says 1 s, Linux takes 200 ms), and comes on top of a round trip.
const retransmit = 200 * time.Millisecond

// StartLink carries what comes to a free port of 127.0.0.1 to an address, until
// ctx ends.
func StartLink(ctx context.Context, to string) (*Link, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &Link{l: l, to: to}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go k.pair(ctx, c)
		}
	}()
	return k, nil
}

// Port is where the agent connects.
func (k *Link) Port() int { return k.l.Addr().(*net.TCPAddr).Port }

// Carried is how many octets went through, both ways.
func (k *Link) Carried() int64 { return k.carry.Load() }

// Set makes the line this long (round trip) and this lossy from now on.
func (k *Link) Set(roundTrip time.Duration, loss float64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.delay, k.loss = roundTrip/2, loss
}

func (k *Link) pair(ctx context.Context, c net.Conn) {
	defer c.Close()
	d, err := net.Dial("tcp4", k.to)
	if err != nil {
		return
	}
	defer d.Close()
	stop := context.AfterFunc(ctx, func() { _ = errors.Join(c.Close(), d.Close()) })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, d}, {d, c}} {
		both.Go(func() {
			k.pump(way[0], way[1])
			_ = errors.Join(c.Close(), d.Close()) // one way ended: so does the other
		})
	}
	both.Wait()
}

// piece is what one read brought, and when it arrives.
type piece struct {
	b  []byte
	at time.Time
}

func (k *Link) pump(from io.Reader, to io.Writer) {
	way := make(chan piece, 10_000)
	defer close(way)
	go func() {
		for p := range way {
			time.Sleep(time.Until(p.at)) // the length of the line
			if _, err := to.Write(p.b); err != nil {
				for range way { // until the reader notices
				}
				return
			}
		}
	}()
	for buf := make([]byte, 1448); ; { // a segment at a time
		n, err := from.Read(buf)
		if n > 0 {
			k.carry.Add(int64(n))
			way <- piece{append([]byte(nil), buf[:n]...), time.Now().Add(k.late())}
		}
		if err != nil {
			return
		}
	}
}

// late is how late a piece comes. Those behind it wait for it, as in TCP.
func (k *Link) late() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	late := k.delay
	if rand.Float64() < k.loss {
		late += retransmit + 2*k.delay
	}
	return late
}
