// Package broker is the MQTT broker inside iwas-cloud: mochi-mqtt in memory,
// behind TLS with client certificates, with an access rule per topic. It keeps
// nothing over a restart, reads no payload and knows nothing of sites: the
// contract above it (internal/wire) repeats what gets lost. configs/mosquitto
// gives an external broker the same rules; one test suite runs on both.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Bounds. Each says what happens at it.
const (
	maxPacket      = wire.MaxMessage + 64<<10 // octets of one MQTT packet; above it the connection is cut
	maxPending     = 1024                     // messages waiting for one client; above it an agent is cut, the cloud's client loses the newest
	maxClients     = 20_000                   // connections; above it CONNECT is refused
	maxHandshakes  = 256                      // connections between accept and CONNECT; at it accepting waits
	maxKeepAlive   = 120                      // seconds a client may ask for; above it, or none, CONNECT is refused
	maxRetained    = 4 << 10                  // octets of a retained payload; above it the message is dropped
	maxInflight    = 64                       // QoS 1 messages of one client; the contract uses QoS 0
	helloTimeout   = 10 * time.Second         // from accept to CONNECT; above it the connection is cut
	takeoverWait   = 2 * time.Second          // for an older connection of the same client id to be gone
	statisticsTick = 3600                     // seconds between $SYS updates, which nobody may read
)

// Options of a broker.
type Options struct {
	// Listen is the agents' address, host:port.
	Listen string
	// TLS holds our certificate and, in ClientCAs, who signs agents'. Client
	// certificates and TLS 1.3 are required whatever else it says.
	TLS *tls.Config
	// Allowed reports whether an agent may connect now. It is asked at every
	// connect, so it must be quick; after a revocation call Kick too.
	Allowed func(hotspot.AgentID) bool
	// Log gets connects, losses and refusals, these within the bounds of
	// refusals; nil discards.
	Log *slog.Logger
}

// Broker is one embedded broker.
type Broker struct {
	o       Options
	refused refusals

	mu       sync.Mutex
	listener net.Listener       // guarded by mu; nil once Serve has closed it
	addr     net.Addr           // fixed by New
	server   *mqtt.Server       // guarded by mu; nil unless serving
	serving  chan struct{}      // guarded by mu; closed while server is set
	peers    map[*peer]struct{} // guarded by mu; every open connection
	inside   sync.WaitGroup     // goroutines of in-process clients
}

// New opens the listening address, so that a taken port is known at once. The
// broker answers when Serve runs.
func New(o Options) (*Broker, error) {
	if o.TLS == nil || o.TLS.ClientCAs == nil || o.Allowed == nil {
		return nil, fault.New(fault.Invalid, "broker: TLS with ClientCAs and Allowed are needed", nil)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.TLS = o.TLS.Clone()
	o.TLS.MinVersion = tls.VersionTLS13
	o.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	b := &Broker{o: o, serving: make(chan struct{}), peers: map[*peer]struct{}{}}
	if err := b.listen(o.Listen); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Broker) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fault.New(fault.Unavailable, "broker: listen on "+addr, err).
			WithCode("CLD-105", "Another program has this port, or the address is not of this machine: change mqtt.listen, or stop the other program.")
	}
	b.listener, b.addr = l, l.Addr()
	return nil
}

// Addr returns the address agents connect to.
func (b *Broker) Addr() net.Addr { return b.addr }

// Serve runs the broker until ctx ends, then closes every connection and
// returns nil. After an error it may be called again.
func (b *Broker) Serve(ctx context.Context) error {
	server, door, err := b.start()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case cause := <-door.failed:
		err = fault.New(fault.Unavailable, "broker: accept on "+b.addr.String(), cause)
	}

	b.mu.Lock()
	b.server, b.listener, b.serving = nil, nil, make(chan struct{})
	b.mu.Unlock()
	door.shut()
	b.closeAll()
	door.running.Wait()
	b.inside.Wait()
	if closeErr := server.Close(); closeErr != nil { // no client is left: it ends mochi's own loop
		err = errors.Join(err, fault.New(fault.Internal, "broker: close", closeErr))
	}
	return err
}

// start makes the server and its doors.
func (b *Broker) start() (*mqtt.Server, *door, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener == nil { // a restart: the same port as before
		if err := b.listen(b.addr.String()); err != nil {
			return nil, nil, err
		}
	}
	server := mqtt.New(&mqtt.Options{
		Capabilities:           capabilities(),
		Logger:                 slog.New(slog.DiscardHandler), // it prints whole packets; the hook logs instead
		SysTopicResendInterval: statisticsTick,
	})
	d := newDoor(b, b.listener)
	err := server.AddHook(&hook{broker: b, server: server}, nil)
	if err == nil {
		err = server.AddListener(d)
	}
	if err == nil {
		err = server.Serve() // returns at once
	}
	if err != nil {
		err = errors.Join(err, b.listener.Close())
		b.listener = nil
		return nil, nil, fault.New(fault.Internal, "broker: start", err)
	}
	b.server = server
	close(b.serving)
	b.o.Log.Info("broker: listening", "addr", b.addr.String())
	return server, d, nil
}

// capabilities is what the contract needs and no more (reference/sync.md §2
// has the defects that the rest would bring in).
func capabilities() *mqtt.Capabilities {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumClients = maxClients
	c.MaximumPacketSize = maxPacket
	c.MaximumClientWritesPending = maxPending
	c.MaximumMessageExpiryInterval = 0 // else retained presence vanishes after a day
	c.MaximumQos = 1
	c.ReceiveMaximum = maxInflight
	c.MaximumInflight = maxInflight
	c.TopicAliasMaximum = 0
	c.MinimumProtocolVersion = 4
	return c
}

// Dial connects a client in this process, with all rights below iwas/; its
// MQTT client id must begin with "cloud-". It waits for Serve.
func (b *Broker) Dial(ctx context.Context) (net.Conn, error) {
	for {
		b.mu.Lock()
		server, serving := b.server, b.serving
		if server == nil {
			b.mu.Unlock()
			select {
			case <-serving:
				continue
			case <-ctx.Done():
				return nil, fault.New(fault.Unavailable, "broker: not running", ctx.Err())
			}
		}
		near, far := net.Pipe()
		p := &peer{Conn: far, broker: b, cloud: true}
		b.peers[p] = struct{}{}
		b.inside.Add(1)
		b.mu.Unlock()
		go func() {
			defer b.inside.Done()
			defer p.Close()
			if err := server.EstablishConnection(inProcessID, p); err != nil {
				b.o.Log.Debug("broker: client in this process left", "err", err)
			}
		}()
		return near, nil
	}
}

// Kick cuts every live connection of the agent, also one that is just being
// made, and returns how many. Allowed decides whether it may come back.
func (b *Broker) Kick(agent hotspot.AgentID) int {
	b.mu.Lock()
	var cut []*peer
	for p := range b.peers {
		if !p.cloud && p.agent == agent {
			cut = append(cut, p)
		}
	}
	b.mu.Unlock()
	for _, p := range cut {
		p.Close()
	}
	if len(cut) > 0 {
		b.o.Log.Info("broker: agent cut off", "agent", agent, "connections", len(cut))
	}
	return len(cut)
}

// Online returns how many connections each agent has.
func (b *Broker) Online() map[hotspot.AgentID]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := make(map[hotspot.AgentID]int, len(b.peers))
	for p := range b.peers {
		if !p.cloud {
			n[p.agent]++
		}
	}
	return n
}

// logRefusal says who was refused what. The text of a topic comes from
// outside, so it is cut; slog quotes it.
func (b *Broker) logRefusal(what string, p *peer, topic string) {
	hidden, ok := b.refused.allow(p.clientOf(), time.Now())
	if !ok {
		return
	}
	if len(topic) > 120 {
		topic = topic[:120] + "…"
	}
	b.o.Log.Warn("broker: refused", "what", what, "agent", p.agent, "topic", topic, "remote", p.RemoteAddr().String(), "repeated", hidden)
}
