package mqttlink

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"iwas/internal/fault"
)

const (
	subscriptionRefused = 0x80                   // SUBACK return code (MQTT 3.1.1 §3.9.3)
	alertWait           = 200 * time.Millisecond // for a TLS alert that arrived before the reset
)

// connection makes one connection and stays until it is lost or ctx ends. up
// reports whether it ever came to the point of use.
//
// Every connection has a paho client of its own. paho's own reconnecting is
// off: it would repeat the first last will with a connection number that is no
// longer true, sleep through a stop, and retry the first connect without jitter.
func (l *Link) connection(ctx context.Context) (up bool, err error) {
	s := &session{conn: l.attempts.Add(1), lost: make(chan error, 1)}
	sock := &socket{}
	defer sock.close()
	s.client = mqtt.NewClient(l.options(ctx, s, sock))

	connecting := s.client.Connect()
	select {
	case <-connecting.Done():
	case <-ctx.Done():
		sock.close() // ends paho's wait for CONNACK
		<-connecting.Done()
	}
	if err := connecting.Error(); err != nil {
		return false, Explain("mqtt: connect to "+l.where(), err)
	}
	defer s.client.Disconnect(uint(quiesce / time.Millisecond))
	if err := l.subscribe(ctx, s); err != nil || ctx.Err() != nil {
		return false, err
	}

	s.since = time.Now()
	l.session.Store(s)
	l.made.Add(1)
	defer l.session.Store(nil)
	l.o.Log.Info("mqtt: connected", "broker", l.where(), "conn", s.conn)
	if l.o.OnUp != nil {
		l.o.OnUp(l)
	}
	select {
	case err := <-s.lost:
		return true, Explain("mqtt: connection to "+l.where()+" lost", err)
	case <-ctx.Done():
		return true, nil
	}
}

// options is the option set of reference/sync.md §1, for one connection. Left at
// paho's defaults, which a test holds: a clean session (nothing is kept for us at
// the broker, cursors do that), handlers in order (else a goroutine per message, and
// deltas arrive shuffled), no retry of the first connect, no resumed subscriptions.
func (l *Link) options(ctx context.Context, s *session, sock *socket) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().
		AddBroker(l.broker).
		SetClientID(l.o.ClientID).
		SetProtocolVersion(4).  // else a refused connect is tried again as 3.1
		SetAutoReconnect(false) // Serve does it
	o.SetKeepAlive(keepAlive)
	o.SetPingTimeout(pingTimeout)
	o.SetWriteTimeout(writeTimeout)
	o.SetConnectTimeout(connectTimeout)
	o.SetDefaultPublishHandler(l.receive) // a message without a handler would be held back
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.lose(err) })
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		c, err := l.dial(ctx)
		if err != nil {
			return nil, err
		}
		return c, sock.set(c)
	})
	if l.o.Will != nil {
		w := l.o.Will(s.conn)
		o.SetBinaryWill(w.Topic, w.Payload, 0, w.Retained)
	}
	return o
}

// receive only queues: it runs in paho's reading goroutine, and while it
// blocks no PINGRESP is seen.
func (l *Link) receive(_ mqtt.Client, m mqtt.Message) {
	select {
	case l.messages <- Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained()}:
	default:
		if n := l.dropped.Add(1); n&(n-1) == 0 { // 1, 2, 4, 8 …: a flood logs a few lines
			l.o.Log.Warn("mqtt: incoming queue is full, message dropped", "topic", m.Topic(), "bound", cap(l.messages), "dropped", n)
		}
	}
}

// subscribe asks for the filters and reads the broker's answer: a refusal is
// no error of paho's token.
func (l *Link) subscribe(ctx context.Context, s *session) error {
	if len(l.o.Subscribe) == 0 {
		return nil
	}
	filters := make(map[string]byte, len(l.o.Subscribe))
	for _, f := range l.o.Subscribe {
		filters[f] = 0
	}
	token := s.client.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	timeout := time.NewTimer(connectTimeout)
	defer timeout.Stop()
	select {
	case <-token.Done():
	case <-ctx.Done():
		return nil
	case err := <-s.lost:
		return Explain("mqtt: connection to "+l.where()+" lost while subscribing", err)
	case <-timeout.C:
		return Explain("mqtt: subscribe at "+l.where(), context.DeadlineExceeded)
	}
	if err := token.Error(); err != nil {
		return Explain("mqtt: subscribe at "+l.where(), err)
	}
	for filter, code := range token.Result() {
		if code == subscriptionRefused {
			return fault.New(fault.Denied, "mqtt: the broker refuses subscription "+filter, nil).
				WithCode("CLD-103", "The broker does not take this identity for the owner of that topic: enrol this box again.")
		}
	}
	return nil
}

// dial opens the socket.
func (l *Link) dial(ctx context.Context) (net.Conn, error) {
	if l.o.Dial != nil {
		return l.o.Dial(ctx)
	}
	cfg := &tls.Config{}
	if l.o.TLS != nil {
		c, err := l.o.TLS()
		if err != nil {
			return nil, err
		}
		cfg = c.Clone()
	}
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12) // whatever the caller leaves open; boxes ask for 1.3
	if cfg.ServerName == "" {
		cfg.ServerName = l.name
	}
	c, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", l.host)
	if err != nil {
		return nil, err
	}
	return &judged{Conn: c}, nil
}

// judged is a TLS connection whose first write returns the server's refusal
// of our certificate. In TLS 1.3 the server judges it when the handshake is
// over on this side, so that the first write often meets a connection already
// reset, while the alert that says why still waits to be read.
type judged struct {
	net.Conn
	wrote atomic.Bool
}

// Write writes; paho reads nothing before its first write has returned.
func (j *judged) Write(b []byte) (int, error) {
	n, err := j.Conn.Write(b)
	if first := j.wrote.CompareAndSwap(false, true); err == nil || !first {
		return n, err
	}
	if j.SetReadDeadline(time.Now().Add(alertWait)) == nil {
		if _, readErr := j.Read(make([]byte, 1)); readErr != nil && !isTimeout(readErr) {
			return n, errors.Join(readErr, err)
		}
	}
	return n, err
}

// where names the broker for people.
func (l *Link) where() string {
	if l.host == "" {
		return "the broker in this process"
	}
	return l.host
}

// socket is the connection's net.Conn, which paho keeps to itself.
type socket struct {
	mu     sync.Mutex
	conn   net.Conn // guarded by mu
	closed bool     // guarded by mu
}

var errStopped = errors.New("stopped")

func (s *socket) set(c net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return errStopped
	}
	s.conn = c
	return nil
}

func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		s.conn.Close() // a second close changes nothing
	}
}
