package chaos

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relay stands between the agents and the broker and reads what passes. The
// agents' TLS ends here, with the cloud's own certificate, and begins anew with
// the identity of the agent: so it sees MQTT in the open, as somebody at the
// broker would.
type relay struct {
	port  int
	ln    net.Listener
	cloud string           // the cloud's state folder
	sites []string         // the agents' state folders
	own   *tls.Certificate // of an external broker; nil: the cloud made one
	dial  func(agent string, identity tls.Certificate, roots *x509.CertPool) (net.Conn, error)

	up, down lane
	done     chan struct{}
	conns    sync.WaitGroup

	mu    sync.Mutex
	pairs map[*pair]bool // guarded by mu
}

// pair is one agent's connection, both halves.
type pair struct{ agent, broker net.Conn }

func (p *pair) close() { _, _ = p.agent.Close(), p.broker.Close() }

// harm is what is done to one direction.
type harm struct {
	stall    bool          // nothing passes; it comes later, in order, as after packet loss
	delay    time.Duration // each packet waits so long
	drop     float64       // shares of PUBLISH packets: lost,
	twice    float64       // sent twice,
	swap     float64       // sent after the one that follows,
	truncate float64       // cut short inside, and still a whole PUBLISH
	tear     float64       // cut short on the line, which then breaks
}

// lane is one direction of all connections.
type lane struct {
	mu   sync.Mutex
	open *sync.Cond
	now  harm       // guarded by mu
	dice *rand.Rand // guarded by mu

	dropped, doubled, swapped, truncated, torn atomic.Int64 // PUBLISH packets
}

func (l *lane) set(change func(*harm)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.now)
	l.open.Broadcast()
}

// fate decides about one packet.
func (l *lane) fate(publish bool) (h harm, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.now.stall {
		l.open.Wait()
	}
	h = l.now
	if !publish {
		return h, ""
	}
	throw := l.dice.Float64()
	for _, f := range []struct {
		share float64
		name  string
	}{{h.drop, "drop"}, {h.twice, "twice"}, {h.swap, "swap"}, {h.truncate, "truncate"}, {h.tear, "tear"}} {
		if throw < f.share {
			return h, f.name
		}
		throw -= f.share
	}
	return h, ""
}

// startRelay listens. Nobody is served before open: the fields are the caller's
// until then.
func startRelay(t *testing.T, seed uint64) *relay {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, port: ln.Addr().(*net.TCPAddr).Port, done: make(chan struct{}), pairs: map[*pair]bool{}}
	for i, l := range []*lane{&r.up, &r.down} {
		l.open, l.dice = sync.NewCond(&l.mu), rand.New(rand.NewPCG(seed, uint64(100+i)))
	}
	t.Cleanup(func() {
		close(r.done)
		_ = ln.Close()
		r.heal()
		r.cut()
		r.conns.Wait()
	})
	return r
}

func (r *relay) open() { r.conns.Go(r.accept) }

func (r *relay) heal() {
	for _, l := range []*lane{&r.up, &r.down} {
		l.set(func(h *harm) { *h = harm{} })
	}
}

// cut breaks every connection.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		p.close()
	}
}

func (r *relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.conns.Go(func() {
			if err := r.serve(c); err != nil {
				_ = c.Close() // the agent comes again
			}
		})
	}
}

func (r *relay) serve(c net.Conn) error {
	own, err := r.server()
	if err != nil {
		return err
	}
	agent := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAnyClientCert})
	if err := errors.Join(c.SetDeadline(time.Now().Add(10*time.Second)), agent.Handshake(), c.SetDeadline(time.Time{})); err != nil {
		return err
	}
	name := agent.ConnectionState().PeerCertificates[0].Subject.CommonName
	identity, roots, err := r.identity(name)
	if err != nil {
		return err
	}
	broker, err := r.dial(name, identity, roots)
	if err != nil {
		return err
	}
	p := &pair{agent, broker}
	r.mu.Lock()
	r.pairs[p] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.pairs, p)
		r.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { r.up.pump(broker, agent); p.close() })
	both.Go(func() { r.down.pump(agent, broker); p.close() })
	both.Wait()
	return nil
}

// server is the certificate that agents meet: the broker's own, by whose authority
// they know it.
func (r *relay) server() (tls.Certificate, error) {
	if r.own != nil {
		return *r.own, nil
	}
	pem := filepath.Join(r.cloud, "ca", "mqtt.pem")
	return tls.LoadX509KeyPair(pem, pem)
}

// identity finds who a certificate's name is, and whom that agent trusts.
func (r *relay) identity(name string) (tls.Certificate, *x509.CertPool, error) {
	for _, s := range r.sites {
		dir := filepath.Join(s, "identity")
		own, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		if err != nil || own.Leaf.Subject.CommonName != name {
			continue
		}
		ca, err := os.ReadFile(filepath.Join(dir, "mqtt-ca.pem"))
		roots := x509.NewCertPool()
		if err == nil && !roots.AppendCertsFromPEM(ca) {
			err = errors.New("no authority in mqtt-ca.pem")
		}
		return own, roots, err
	}
	return tls.Certificate{}, nil, fmt.Errorf("no agent is called %s", name)
}

// pump carries packets from one side to the other until either ends.
func (l *lane) pump(to io.Writer, from io.Reader) {
	in := bufio.NewReader(from)
	var held []byte // to be sent after the next
	for {
		packet, err := readPacket(in)
		if err != nil {
			return
		}
		h, what := l.fate(isPublish(packet))
		if h.delay > 0 {
			time.Sleep(h.delay) // the delay is the fault
		}
		out := [][]byte{packet}
		switch what {
		case "drop":
			l.dropped.Add(1)
			out = nil
		case "twice":
			l.doubled.Add(1)
			out = append(out, packet)
		case "swap":
			if held == nil {
				held, out = packet, nil
			}
		case "truncate":
			l.truncated.Add(1)
			out[0] = truncated(packet)
		case "tear":
			l.torn.Add(1)
			_, _ = to.Write(packet[:len(packet)/2]) // the line breaks next
			return
		}
		if len(out) > 0 && held != nil {
			l.swapped.Add(1)
			out, held = append(out, held), nil
		}
		for _, p := range out {
			if _, err := to.Write(p); err != nil {
				return
			}
		}
	}
}

func isPublish(packet []byte) bool { return packet[0]>>4 == 3 }

// readPacket reads one MQTT control packet (MQTT 3.1.1 §2.2).
func readPacket(in *bufio.Reader) ([]byte, error) {
	first, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	packet, length := []byte{first}, 0
	for shift := 0; ; shift += 7 {
		b, err := in.ReadByte()
		if err != nil || shift > 21 {
			return nil, errors.Join(err, errors.New("no length"))
		}
		packet = append(packet, b)
		if length |= int(b&0x7f) << shift; b&0x80 == 0 {
			break
		}
	}
	head := len(packet)
	packet = append(packet, make([]byte, length)...)
	_, err = io.ReadFull(in, packet[head:])
	return packet, err
}

// truncated is the PUBLISH with half its payload, and a length that says so: the
// broker takes it for whole.
func truncated(packet []byte) []byte {
	head := 1
	for packet[head]&0x80 != 0 {
		head++
	}
	head++
	topic := head + 2 + int(binary.BigEndian.Uint16(packet[head:]))
	body := packet[head : topic+(len(packet)-topic)/2]
	out := packet[:1:1]
	for n := len(body); ; {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			out = append(out, b|0x80)
			continue
		}
		return append(append(out, b), body...)
	}
}

// TestTheRelayTruncatesAndKeepsTheLengthRight: what it makes is a PUBLISH of half
// the payload that reads as one packet.
func TestTheRelayTruncatesAndKeepsTheLengthRight(t *testing.T) {
	for _, size := range []int{0, 1, 100, 300, 20_000} {
		body := append([]byte{0, 3, 'a', '/', 'b'}, make([]byte, size)...)
		packet := []byte{0x30}
		n := len(body)
		for ; n > 0x7f; n >>= 7 {
			packet = append(packet, byte(n&0x7f)|0x80)
		}
		packet = append(append(packet, byte(n)), body...)
		whole, err := readPacket(bufio.NewReader(bytes.NewReader(packet)))
		if err != nil || len(whole) != len(packet) {
			t.Fatalf("%d octets: read %d of %d: %v", size, len(whole), len(packet), err)
		}
		in := bufio.NewReader(bytes.NewReader(truncated(packet)))
		cut, err := readPacket(in)
		if err != nil || in.Buffered() != 0 {
			t.Fatalf("%d octets: the truncated packet does not read as one: %v, %d left", size, err, in.Buffered())
		}
		head := 2
		for cut[head-1]&0x80 != 0 {
			head++
		}
		if got := len(cut) - head - 5; got != size/2 || !isPublish(cut) {
			t.Errorf("%d octets of payload: %d left, want %d", size, got, size/2)
		}
	}
}
