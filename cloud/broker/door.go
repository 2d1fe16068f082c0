package broker

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	doorID      = "agents"
	inProcessID = "in-process"
)

// peer is one connection with the identity it has proven.
type peer struct {
	net.Conn
	broker *Broker
	agent  hotspot.AgentID // "" for the cloud's own client
	cloud  bool
	seated func() // gives back the place among those on their way in; nil for the cloud's own client
	once   sync.Once
}

// Close closes the connection and forgets it.
func (p *peer) Close() error {
	p.once.Do(func() { p.broker.leave(p) })
	return p.Conn.Close()
}

func (b *Broker) leave(p *peer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.peers, p)
}

// door is the agents' listener. The stock one starts reading MQTT at once and
// without a time limit; this one finishes TLS first, so that mochi's parser
// only ever sees bytes of a holder of a certificate.
type door struct {
	broker   *Broker
	listener net.Listener
	slots    chan struct{} // of connections still on their way in
	failed   chan error
	ctx      context.Context // ends handshakes under way; there is no caller's context in Serve
	stop     context.CancelFunc
	running  sync.WaitGroup
}

var _ listeners.Listener = (*door)(nil)

func newDoor(b *Broker, l net.Listener) *door {
	d := &door{broker: b, listener: l, slots: make(chan struct{}, maxHandshakes), failed: make(chan error, 1)}
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.running.Add(1) // of Serve, which mochi starts by itself
	return d
}

// ID, Address, Protocol and Init are mochi's.
func (d *door) ID() string              { return doorID }
func (d *door) Address() string         { return d.listener.Addr().String() }
func (d *door) Protocol() string        { return "tls" }
func (d *door) Init(*slog.Logger) error { return nil }

// Serve accepts until the listener is closed.
func (d *door) Serve(establish listeners.EstablishFn) {
	defer d.running.Done()
	for {
		select {
		case d.slots <- struct{}{}:
		case <-d.ctx.Done():
			return
		}
		conn, err := d.listener.Accept()
		if err != nil {
			if d.ctx.Err() == nil {
				d.failed <- err // capacity one, and this is the only sender
			}
			return
		}
		d.running.Go(func() { d.admit(conn, establish) })
	}
}

// admit brings one connection through TLS to mochi, and stays until it ends.
func (d *door) admit(conn net.Conn, establish listeners.EstablishFn) {
	defer conn.Close()
	seated := sync.OnceFunc(func() { <-d.slots })
	defer seated()
	p, err := d.handshake(conn)
	if err != nil {
		d.logRefusal(conn, err)
		return
	}
	p.seated = seated
	if !d.enter(p) {
		return
	}
	defer p.Close()
	if err := establish(doorID, p); err != nil {
		d.broker.o.Log.Debug("broker: connection ended", "agent", p.agent, "err", err)
	}
}

// logRefusal says who did not come through TLS.
func (d *door) logRefusal(conn net.Conn, err error) {
	if d.ctx.Err() != nil {
		return
	}
	if hidden, ok := d.broker.refused.allow(addressOf(conn.RemoteAddr()), time.Now()); ok {
		d.broker.o.Log.Warn("broker: refused", "what", "TLS", "remote", conn.RemoteAddr().String(), "err", err, "repeated", hidden)
	}
}

// enter makes the connection known to Kick and to the end of Serve, or
// reports that Serve is ending.
func (d *door) enter(p *peer) bool {
	d.broker.mu.Lock()
	defer d.broker.mu.Unlock()
	if d.ctx.Err() != nil {
		return false
	}
	d.broker.peers[p] = struct{}{}
	return true
}

// handshake proves who is there.
func (d *door) handshake(conn net.Conn) (*peer, error) {
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil { // mochi sets its own after CONNECT
		return nil, err
	}
	t := tls.Server(conn, d.broker.o.TLS)
	if err := t.HandshakeContext(d.ctx); err != nil {
		return nil, err
	}
	chains := t.ConnectionState().VerifiedChains
	if len(chains) == 0 { // a GetConfigForClient that asks for less
		return nil, tls.AlertError(116) // certificate_required, RFC 8446 §6.2
	}
	p := &peer{Conn: t, broker: d.broker}
	if cn := chains[0][0].Subject.CommonName; wire.ValidAgentID(cn) {
		p.agent = hotspot.AgentID(cn)
	}
	return p, nil // without an agent id CONNECT is refused, which the other side can read
}

// shut stops accepting and ends handshakes under way.
func (d *door) shut() {
	d.broker.mu.Lock()
	d.stop()
	d.broker.mu.Unlock()
	d.listener.Close()
}

// Close is mochi's; by then shut has done the work.
func (d *door) Close(listeners.CloseFn) { d.shut() }

func (b *Broker) closeAll() {
	b.mu.Lock()
	all := make([]*peer, 0, len(b.peers))
	for p := range b.peers {
		all = append(all, p)
	}
	b.mu.Unlock()
	for _, p := range all {
		p.Close()
	}
}
