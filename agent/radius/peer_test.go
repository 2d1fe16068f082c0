package radius

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
)

// peer is a NAS written for the tests, apart from the code it tests.
type peer struct{ conn *net.UDPConn }

func dial(t *testing.T, to netip.AddrPort) *peer {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{c}
}

func (p *peer) send(t *testing.T, b []byte) {
	t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

func (p *peer) receive(t *testing.T) []byte {
	t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := p.conn.Read(b)
	if err != nil {
		t.Fatalf("no reply: %v", err)
	}
	return b[:n]
}

func (p *peer) exchange(t *testing.T, b []byte) []byte {
	t.Helper()
	p.send(t, b)
	return p.receive(t)
}

// builder puts attributes one after the other.
type builder struct{ b []byte }

func (p *builder) text(kind byte, v string) {
	p.b = append(append(p.b, kind, byte(len(v)+2)), v...)
}

func (p *builder) number(kind byte, v uint32) {
	p.b = binary.BigEndian.AppendUint32(append(p.b, kind, 6), v)
}

func build(code, id byte, attrs func(*builder)) []byte {
	p := &builder{b: append([]byte{code, id, 0, 0}, make([]byte, 16)...)}
	rand.Read(p.b[4:20])
	if attrs != nil {
		attrs(p)
	}
	binary.BigEndian.PutUint16(p.b[2:], uint16(len(p.b)))
	return p.b
}

// hide is RFC 2865 §5.2.
func hide(password string, authenticator []byte) []byte {
	b := []byte(password)
	for len(b) == 0 || len(b)%16 != 0 {
		b = append(b, 0)
	}
	last := authenticator
	for i := 0; i < len(b); i += 16 {
		key := md5.Sum(append([]byte(testSecret), last...))
		for j := range key {
			b[i+j] ^= key[j]
		}
		last = b[i : i+16]
	}
	return b
}

// access is a PAP Access-Request with a valid Message-Authenticator.
func access(id byte, name, password string) []byte {
	b := build(codeAccessRequest, id, func(p *builder) {
		p.text(80, string(make([]byte, 16)))
		p.text(1, name)
		p.text(2, string(hide(password, p.b[4:20])))
		p.text(31, "AA:BB:CC:00:00:01")
	})
	h := hmac.New(md5.New, []byte(testSecret))
	h.Write(b)
	copy(b[22:], h.Sum(nil))
	return b
}

// accounting is an Accounting-Request with a valid Request Authenticator.
func accounting(id byte, attrs func(*builder)) []byte {
	b := build(codeAccountingRequest, id, attrs)
	clear(b[4:20])
	sum := md5.Sum(append(append([]byte(nil), b...), testSecret...))
	copy(b[4:], sum[:])
	return b
}
