package radload

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	identifiers = 256 // of one port
	batch       = 32  // packets per system call, at most
	tick        = 20 * time.Millisecond
	packetBound = 4096
)

// flight is one request under way; its place in the table is its identifier.
type flight struct {
	busy   bool
	kind   Kind
	guest  int
	record Record // of an Accounting-Request, when somebody wants to know
	packet []byte
	first  time.Time // when it was sent, or ought to have been
	again  time.Time // when it is sent again, or given up
	tries  int
}

// port is one client port and the guests who use it. One goroutine runs it.
// Identifiers run on across authentication and accounting (facts.md §4).
type port struct {
	o       *Options
	sign    *signer
	udp     *net.UDPConn
	conn    *ipv4.PacketConn
	to      [2]*net.UDPAddr // by door
	in, out []ipv4.Message
	queued  int // of out

	flights [identifiers]flight
	next    byte
	under   int   // requests under way
	bound   int   // of them
	going   []int // guests in the middle of their script, with nothing under way
	idle    []int // guests at its beginning, the one who waits longest first
	guests  int   // not yet through with their script

	due      time.Time // open loop: when the next request is to be sent
	every    time.Duration
	deadline time.Time

	got  Result
	last time.Time // of the newest reply
}

func newPort(o *Options, n int) (*port, error) {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	// A burst of replies waits here while others run; the kernel may give less.
	_ = udp.SetReadBuffer(4 << 20)
	p := &port{o: o, sign: newSigner(o.Secret), udp: udp, conn: ipv4.NewPacketConn(udp)}
	for i, a := range [2]netip.AddrPort{o.Auth, o.Acct} {
		p.to[i] = net.UDPAddrFromAddrPort(a)
	}
	p.in, p.out = make([]ipv4.Message, batch), make([]ipv4.Message, batch)
	for i := range p.in {
		p.in[i].Buffers = [][]byte{make([]byte, packetBound)}
		p.out[i].Buffers = make([][]byte, 1)
	}
	for i := n; i < len(o.Crowd.guests); i += o.Ports {
		p.idle = append(p.idle, i)
	}
	p.guests = len(p.idle)
	rand.Shuffle(len(p.idle), func(i, j int) { p.idle[i], p.idle[j] = p.idle[j], p.idle[i] })
	p.bound = (o.Outstanding + n) / o.Ports
	if o.Rate > 0 {
		p.bound = identifiers
		p.every = time.Duration(float64(o.Ports) / o.Rate * float64(time.Second))
	}
	return p, nil
}

// run sends and receives until the time is up and all is answered or lost.
func (p *port) run(ctx context.Context, began time.Time) error {
	end := began.Add(p.o.Time)
	p.due, p.last = began.Add(time.Duration(rand.Int64N(int64(p.every)+1))), began
	stop := context.AfterFunc(ctx, func() { _ = p.udp.SetReadDeadline(time.Now()) })
	defer stop()
	for ctx.Err() == nil {
		now := time.Now()
		for p.wants(now, end) {
			p.launch(now)
		}
		if err := p.flush(); err != nil {
			return err
		}
		if p.under == 0 && (!now.Before(end) || p.o.Once && p.guests == 0) {
			return nil
		}
		if err := p.wait(ctx, now, end); err != nil {
			return err
		}
	}
	return nil
}

// wants says whether another request is to be sent now.
func (p *port) wants(now, end time.Time) bool {
	if !p.ready() || !now.Before(end) {
		return false
	}
	return p.every == 0 || !p.due.After(now)
}

// ready says whether a guest and an identifier are there for another request.
func (p *port) ready() bool { return p.under < p.bound && len(p.going)+len(p.idle) > 0 }

// pick takes the guest whose turn it is. Guests in the middle of their script go
// on before others begin theirs, so that the mix of requests is that of the
// script all the time.
func (p *port) pick() (i int) {
	if last := len(p.going) - 1; last >= 0 {
		i, p.going = p.going[last], p.going[:last]
		return i
	}
	i, p.idle = p.idle[0], p.idle[1:]
	return i
}

// launch builds the next request of the next guest and queues it.
func (p *port) launch(now time.Time) {
	i := p.pick()
	for p.flights[p.next].busy {
		p.next++
	}
	id := p.next
	p.next++
	f := &p.flights[id]
	g := &p.o.Crowd.guests[i]
	f.busy, f.kind, f.guest, f.tries = true, p.o.Script[g.at], i, 1
	f.first, f.again = now, now.Add(p.o.Resend)
	if p.every > 0 { // what was due earlier waits since then
		f.first = p.due
		p.due = p.due.Add(p.every)
	}
	p.o.Crowd.advance(g, f.kind)
	f.packet = p.sign.request(f.packet, f.kind, id, p.o.Crowd, i, uint32(now.Unix()))
	if p.o.Acked != nil && !f.kind.login() {
		f.record = Record{Kind: f.kind, Guest: i, AcctSessionID: hexID(g.acctSessionID()), Seconds: g.seconds, Upload: g.up, Download: g.down}
	}
	p.under++
	p.got.Sent++
	p.queue(f)
}

func (p *port) queue(f *flight) {
	m := &p.out[p.queued]
	m.Buffers[0], m.Addr = f.packet, p.to[f.kind.door()]
	if p.queued++; p.queued == len(p.out) {
		_ = p.flush() // what it could not send is sent again like what the network lost
	}
}

// flush sends what is queued. A socket that is full, or a host that refuses, is
// the loss of a packet, as on any network.
func (p *port) flush() error {
	for at := 0; at < p.queued; {
		n, err := p.conn.WriteBatch(p.out[at:p.queued], 0)
		at += max(n, 0)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			at++
		}
	}
	p.queued = 0
	return nil
}

// wait receives what is there, or sleeps until something is due.
func (p *port) wait(ctx context.Context, now, end time.Time) error {
	until := now.Add(min(tick, p.o.Resend/4))
	if p.every > 0 && p.ready() && p.due.Before(until) && p.due.Before(end) {
		until = p.due
	}
	if until.Before(p.deadline) || !p.deadline.After(now) {
		p.deadline = until
		if err := p.udp.SetReadDeadline(until); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	n, err := p.conn.ReadBatch(p.in, 0)
	now = time.Now()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.repeat(now)
	case errors.Is(err, syscall.ECONNREFUSED): // nobody listens at the moment
	case err != nil:
		return err
	}
	for _, m := range p.in[:max(n, 0)] {
		p.take(m.Buffers[0][:m.N], m.Addr, now)
	}
	return nil
}

// repeat sends again what was not answered in time, the same bytes, and gives up
// what had all its tries.
func (p *port) repeat(now time.Time) {
	p.deadline = time.Time{}
	for i := range p.flights {
		f := &p.flights[i]
		switch {
		case !f.busy || f.again.After(now):
		case f.tries >= p.o.Tries:
			p.got.Lost++
			p.o.Crowd.guests[f.guest].at = 0 // its life begins anew
			p.land(f, true)
		default:
			f.tries++
			f.again = now.Add(p.o.Resend)
			p.got.Resent++
			p.queue(f)
		}
	}
}

// take verifies a reply and lets the guest go on.
func (p *port) take(b []byte, from net.Addr, now time.Time) {
	if len(b) < 20 {
		p.wrong(errShort)
		return
	}
	f := &p.flights[b[1]]
	if !f.busy || !same(from, p.to[f.kind.door()]) {
		if p.got.Resent == 0 { // else it is the answer to a repeat
			p.wrong(errStray)
		}
		return
	}
	r, err := p.sign.verify(b, f.packet, f.kind)
	if err != nil && !p.o.Echo {
		p.wrong(err)
		return
	}
	p.last = now
	p.got.latencies = append(p.got.latencies, now.Sub(f.first))
	g := &p.o.Crowd.guests[f.guest]
	if r.code == accessReject {
		p.got.Rejected++
		if p.got.FirstReject == "" {
			p.got.FirstReject = string(r.message)
		}
		g.at = 0
		p.land(f, true)
		return
	}
	p.got.Answered++
	if f.kind.login() {
		g.class = append(g.class[:0], r.class...)
	} else if p.o.Acked != nil {
		p.o.Acked(f.record)
	}
	g.at++
	ended := g.at == len(p.o.Script)
	if ended {
		g.at = 0
	}
	p.land(f, ended)
}

// land ends a flight.
func (p *port) land(f *flight, ended bool) {
	f.busy = false
	p.under--
	switch {
	case !ended:
		p.going = append(p.going, f.guest)
	case p.o.Once:
		p.guests--
	default:
		p.idle = append(p.idle, f.guest)
	}
}

var errStray = errors.New("a reply that answers nothing")

func (p *port) wrong(err error) {
	if p.got.Wrong++; p.got.FirstWrong == "" {
		p.got.FirstWrong = err.Error()
	}
}

func same(a net.Addr, b *net.UDPAddr) bool {
	u, ok := a.(*net.UDPAddr)
	return ok && u.Port == b.Port && u.IP.Equal(b.IP)
}
