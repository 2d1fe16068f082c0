package mqttlink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"iwas/internal/fault"
	"iwas/internal/mqtttest"
)

// What the tests of this file hold is set or asked of paho, and nothing else of the
// package would notice if it were not.

// heard notes what a scripted broker reads and answers what must be answered.
func heard(s *scripted) func() []packets.ControlPacket {
	var mu sync.Mutex
	var all []packets.ControlPacket
	s.on = func(c net.Conn, p packets.ControlPacket) bool {
		mu.Lock()
		all = append(all, p)
		mu.Unlock()
		switch p := p.(type) {
		case *packets.SubscribePacket:
			a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			a.MessageID, a.ReturnCodes = p.MessageID, make([]byte, len(p.Topics))
			a.Write(c)
		case *packets.PingreqPacket:
			packets.NewControlPacket(packets.Pingresp).Write(c)
		}
		return false
	}
	return func() []packets.ControlPacket {
		mu.Lock()
		defer mu.Unlock()
		return append([]packets.ControlPacket(nil), all...)
	}
}

// QoS 0 both ways: above it paho keeps what was sent and repeats it by itself, and
// so does the broker. Retained is what was asked for.
func TestWhatIsSentAndAskedForIsQoS0(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t}
		all := heard(s)
		l, stop := s.link(Options{Subscribe: []string{"a/#", "b"}})
		synctest.Wait()
		for _, retained := range []bool{true, false} {
			if err := l.Publish("t", []byte("x"), retained); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		stop()
		var kept []bool
		subscribed := 0
		for _, p := range all() {
			switch p := p.(type) {
			case *packets.SubscribePacket:
				subscribed += len(p.Topics)
				for i, qos := range p.Qoss {
					if qos != 0 {
						t.Errorf("filter %s is asked for at QoS %d, want 0", p.Topics[i], qos)
					}
				}
			case *packets.PublishPacket:
				kept = append(kept, p.Retain)
				if p.Qos != 0 {
					t.Errorf("a message leaves at QoS %d, want 0", p.Qos)
				}
			}
		}
		if subscribed != 2 || len(kept) != 2 || !kept[0] || kept[1] {
			t.Errorf("got %d filters and retained %v, want both filters, and one message retained and one not", subscribed, kept)
		}
	})
}

// A planned stop takes leave: the broker then drops the last will, and what was
// published just before has left.
func TestAStopTakesLeaveAfterWhatWasPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t}
		all := heard(s)
		slow := s.on
		s.on = func(c net.Conn, p packets.ControlPacket) bool {
			time.Sleep(100 * time.Millisecond) // of virtual time: a broker far away reads slowly
			return slow(c, p)
		}
		l, stop := s.link(Options{})
		synctest.Wait()
		for range 2 { // the pipe holds nothing: the second waits for the first to be read
			if err := l.Publish("farewell", []byte("x"), true); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		time.Sleep(time.Second)
		synctest.Wait()
		var said []string
		for _, p := range all() {
			switch p.(type) {
			case *packets.PublishPacket:
				said = append(said, "publish")
			case *packets.DisconnectPacket:
				said = append(said, "disconnect")
			}
		}
		if got := strings.Join(said, " "); got != "publish publish disconnect" {
			t.Errorf("the broker read %q, want both messages and the leave", got)
		}
	})
}

// A subscription that is never answered is no connection, and neither is one
// whose connection ends first; nothing waits for ever.
func TestASubscriptionWithoutAnAnswerIsNoConnection(t *testing.T) {
	for name, ends := range map[string]bool{"never answered": false, "the connection ends": true} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{t: t}
			s.on = func(c net.Conn, p packets.ControlPacket) bool {
				if _, ok := p.(*packets.PingreqPacket); ok {
					packets.NewControlPacket(packets.Pingresp).Write(c)
				}
				_, ok := p.(*packets.SubscribePacket)
				return ends && ok
			}
			l, stop := s.link(Options{Subscribe: []string{"a"}})
			defer stop()
			time.Sleep(connectTimeout / 2)
			synctest.Wait()
			if first := len(s.dialled()); l.Connected() || (first == 1) == ends {
				t.Errorf("%s: after half the time got connected %v after %d attempts", name, l.Connected(), first)
			}
			time.Sleep(connectTimeout)
			synctest.Wait()
			if l.Connected() || len(s.dialled()) < 2 || !fault.Is(l.Err(), fault.Unavailable) {
				t.Errorf("%s: got connected %v, %d attempts, %v; want it tried again", name, l.Connected(), len(s.dialled()), l.Err())
			}
		})
	}
}

// An address that swallows what is sent there costs the connect timeout, not the
// system's minutes.
func TestADialThatGetsNoAnswerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var waited []time.Duration
		l, err := New(Options{ClientID: "me", Dial: func(ctx context.Context) (net.Conn, error) {
			began := time.Now()
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			waited = append(waited, time.Since(began))
			return nil, ctx.Err()
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { l.Serve(ctx) })
		time.Sleep(connectTimeout + maxPause)
		cancel()
		running.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(waited) < 2 || waited[0] != connectTimeout || fault.Code(l.Err()) != "CLD-101" {
			t.Errorf("got dials of %v, %v; want each given up after %v", waited, l.Err(), connectTimeout)
		}
	})
}

// A connection that held for long forgets the failures before it: the next attempt
// is soon again.
func TestAConnectionThatHeldForgetsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t, refuse: errors.New("no route")}
		l, stop := s.link(Options{})
		defer stop()
		time.Sleep(5 * time.Minute) // pauses are at their bound
		s.mu.Lock()
		s.refuse = nil
		s.mu.Unlock()
		time.Sleep(maxPause + 2*stableAfter)
		synctest.Wait()
		if !l.Connected() {
			t.Fatal("not connected")
		}
		before := len(s.dialled())
		lost := time.Now()
		l.Drop(errors.New("test"))
		time.Sleep(maxPause)
		synctest.Wait()
		if d := s.dialled(); len(d) == before || d[before].Sub(lost) > minPause {
			t.Errorf("got attempts at %v after a loss at %v, want the next within %v", d[before:], lost, minPause)
		}
	})
}

// A broker that speaks no newer TLS than 1.1 is refused, whatever the caller's
// configuration leaves open.
func TestOldTLSIsRefused(t *testing.T) {
	ca := mqtttest.NewCA(t, "old")
	own := ca.Server(t)
	old, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	go func() {
		for {
			c, err := old.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake() // fails, as it should
			c.Close()
		}
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	l, err := New(Options{ClientID: "me", URL: "tls://" + old.Addr().String(), TLS: func() (*tls.Config, error) { return &tls.Config{MinVersion: tls.VersionTLS10, RootCAs: roots}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), connectTimeout)
	defer cancel()
	c, err := l.dial(ctx)
	if err == nil {
		c.Close()
		t.Fatal("connected by TLS 1.1")
	}
	if got := Explain("connect", err); fault.Code(got) != "CLD-102" {
		t.Errorf("got %v (%s), want CLD-102", got, fault.Code(got))
	}
}
