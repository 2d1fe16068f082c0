// Package mqttlink keeps one MQTT 3.1.1 connection up and hides paho's traps
// (reference/sync.md §1). It is a pipe and no more: QoS 0, clean sessions, no
// stored message, no promise that a published message arrives. Whoever uses it
// keeps cursors of its own. It never reads a payload.
package mqttlink

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"iwas/internal/fault"
)

// Times of the link; reference/sync.md §1 holds the measurements behind them.
const (
	keepAlive      = 20 * time.Second       // PINGREQ on an idle connection
	pingTimeout    = 5 * time.Second        // wait for PINGRESP before the connection counts as dead
	writeTimeout   = 5 * time.Second        // one write; without it a full send buffer hides a dead peer for ever
	connectTimeout = 10 * time.Second       // TCP, TLS, CONNACK, and again for SUBACK
	quiesce        = 250 * time.Millisecond // for what was published before a planned stop to leave
	minPause       = 500 * time.Millisecond // bound of the first pause before the next attempt
	maxPause       = 30 * time.Second       // bound of all pauses
	stableAfter    = 30 * time.Second       // a connection that lived so long forgets earlier failures
)

// DefaultBuffer is the number of incoming messages that may wait.
const DefaultBuffer = 256

// Message is one MQTT message.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool // outgoing: keep it at the broker; incoming: it was kept there
}

// Options says where to connect and as whom.
type Options struct {
	// URL is tls://host[:port] (also ssl, mqtts; port 8883 by default). There
	// is no plain TCP: who needs another way brings Dial.
	URL string
	// ClientID must be unique at the broker: a second connection with the same
	// one throws the first out.
	ClientID string
	// TLS is asked before every attempt, so that a renewed certificate is used
	// without a restart. nil is the system's roots and no client certificate.
	TLS func() (*tls.Config, error)
	// Dial replaces URL and TLS, for example by a net.Pipe into a broker in
	// this process.
	Dial func(ctx context.Context) (net.Conn, error)
	// Will returns the last will of the connection with that number (see
	// Link.Conn). nil is none.
	Will func(conn int64) Message
	// Subscribe lists filters, subscribed anew on every connection.
	Subscribe []string
	// OnUp is called once per connection, when all filters are granted. It
	// runs in Serve's goroutine and must not block.
	OnUp func(*Link)
	// Buffer is the bound of Messages; 0 is DefaultBuffer. The memory at the
	// bound is Buffer times the broker's packet cap.
	Buffer int
	// Log gets connects, losses and drops; nil discards.
	Log *slog.Logger
}

// Link is one connection, made again whenever it is lost.
type Link struct {
	o        Options
	broker   string // URL for paho
	host     string // host:port to dial
	name     string // host, for TLS
	messages chan Message
	dropped  atomic.Uint64
	attempts atomic.Int64
	made     atomic.Uint64           // connections
	failed   atomic.Uint64           // attempts that came to none
	session  atomic.Pointer[session] // of the open connection, else nil
	last     atomic.Pointer[outage]
}

// session is one open connection.
type session struct {
	conn   int64
	client mqtt.Client
	since  time.Time
	lost   chan error // capacity one: the first reason counts
}

// outage is why and since when there is no connection.
type outage struct {
	since time.Time // of the last connection's end, or of the start: attempts that fail change nothing
	err   error
}

// New checks the options. It opens nothing; Serve does.
func New(o Options) (*Link, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Buffer <= 0 {
		o.Buffer = DefaultBuffer
	}
	l := &Link{o: o, broker: "tcp://in-process", messages: make(chan Message, o.Buffer)}
	if o.ClientID == "" {
		return nil, fault.New(fault.Invalid, "mqtt: no client id", nil)
	}
	if o.Dial == nil {
		u, err := url.Parse(o.URL)
		if err != nil || u.Hostname() == "" || (u.Scheme != "tls" && u.Scheme != "ssl" && u.Scheme != "mqtts") {
			return nil, fault.New(fault.Invalid, "mqtt: "+o.URL+" is not an address such as tls://mqtt.example.com:8883", err)
		}
		port := u.Port()
		if port == "" {
			port = "8883"
		}
		l.name, l.host = u.Hostname(), net.JoinHostPort(u.Hostname(), port)
		l.broker = "tls://" + l.host
	}
	l.last.Store(&outage{since: time.Now()})
	return l, nil
}

// Messages returns the incoming messages, in the order of arrival. At the
// bound new messages are dropped and counted, not old ones: a delta continues
// the one before it, so the front of the queue stays usable and the sender
// repeats from where it ends. The channel is never closed.
func (l *Link) Messages() <-chan Message { return l.messages }

// Connects returns how many connections were made since the start, and how many
// attempts came to none.
func (l *Link) Connects() (made, failed uint64) { return l.made.Load(), l.failed.Load() }

// Dropped returns how many incoming messages were dropped at the bound.
func (l *Link) Dropped() uint64 { return l.dropped.Load() }

// Connected reports whether the broker has granted every filter and the
// connection is open.
func (l *Link) Connected() bool {
	s := l.session.Load()
	return s != nil && s.client.IsConnectionOpen()
}

// Since returns when the connection came up, or when there was last one.
func (l *Link) Since() time.Time {
	if s := l.session.Load(); s != nil {
		return s.since
	}
	return l.last.Load().since
}

// Err returns why there is no connection, with a code and the next step; nil
// while connected and before the first attempt has failed.
func (l *Link) Err() error {
	if l.Connected() {
		return nil
	}
	return l.last.Load().err
}

// Conn returns the number of the open connection, 0 when there is none.
// Attempts are counted, so numbers rise but may leave gaps.
func (l *Link) Conn() int64 {
	if s := l.session.Load(); s != nil {
		return s.conn
	}
	return 0
}

// Publish hands a message to the open connection. An error of kind Unavailable
// means that it did not leave; nil promises nothing. It may block for the
// write timeout of 5 s when the network takes nothing.
func (l *Link) Publish(topic string, payload []byte, retained bool) error {
	s := l.session.Load()
	if s == nil || !s.client.IsConnectionOpen() {
		return fault.New(fault.Unavailable, "mqtt: publish "+topic+": not connected", l.Err())
	}
	token := s.client.Publish(topic, 0, retained, payload)
	select {
	case <-token.Done(): // already failed, or already sent; never waited for
		if err := token.Error(); err != nil {
			return fault.New(fault.Unavailable, "mqtt: publish "+topic, err)
		}
	default:
	}
	return nil
}

// Drop closes the open connection so that a new one is made. The reason is
// logged and shown meanwhile.
func (l *Link) Drop(reason error) {
	if s := l.session.Load(); s != nil {
		s.lose(reason)
	}
}

// Serve keeps the connection up until ctx ends; then it disconnects in an
// orderly way, so that the broker does not send the last will. It returns nil.
// Only one Serve may run at a time.
func (l *Link) Serve(ctx context.Context) error {
	for failures := 0; ; failures++ {
		started := time.Now()
		up, err := l.connection(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if up && time.Since(started) >= stableAfter {
			failures = 0
		}
		since := l.last.Load().since
		if up {
			since = time.Now()
		} else {
			l.failed.Add(1)
		}
		l.last.Store(&outage{since: since, err: err})
		pause := pauseAfter(failures)
		l.o.Log.Warn("mqtt: no connection", "err", err, "code", fault.Code(err), "was_up", up, "next_attempt_in", pause.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// pauseAfter spreads attempts over the whole of a doubling interval, so that a
// thousand sites do not come back at one instant when a broker restarts.
func pauseAfter(failures int) time.Duration {
	bound := maxPause
	if failures < 6 {
		bound = min(bound, minPause<<failures)
	}
	return bound/10 + rand.N(bound*9/10)
}

// lose records why the connection ends. Later reasons are consequences.
func (s *session) lose(reason error) {
	select {
	case s.lost <- reason:
	default:
	}
}
