package routeros

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3/proto"
)

// peer is a router of the wire only: it reads sentences with the stock codec
// and answers with whatever octets a test wants, right or wrong.
type peer struct {
	net.Listener
	answer func(*proto.Sentence) []byte // nil octets: hang up
}

// say returns one sentence as octets.
func say(words ...string) []byte {
	var b []byte
	for _, w := range words {
		b = appendWord(b, w)
	}
	return append(b, 0)
}

// welcome lets anybody in, and leaves the rest to next.
func welcome(next func(*proto.Sentence) []byte) func(*proto.Sentence) []byte {
	return func(s *proto.Sentence) []byte {
		if s.Word == "/login" {
			return say("!done")
		}
		return next(s)
	}
}

func startPeer(t *testing.T, listener net.Listener, answer func(*proto.Sentence) []byte) *peer {
	t.Helper()
	if listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener = l
	}
	p := &peer{Listener: listener, answer: answer}
	go p.serve()
	t.Cleanup(func() { p.Close() })
	return p
}

func (p *peer) serve() {
	for {
		conn, err := p.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			r := proto.NewReader(conn)
			for {
				s, err := r.ReadSentence()
				if err != nil {
					return
				}
				b := p.answer(s)
				if b == nil {
					return
				}
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
		}()
	}
}

func (p *peer) url() string { return "api://" + p.Addr().String() }

func dialPeer(t *testing.T, p *peer) Conn {
	t.Helper()
	c, err := Dial(context.Background(), Options{URL: p.url(), User: "agent", Password: "p", RunTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
