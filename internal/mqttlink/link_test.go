package mqttlink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"iwas/internal/fault"
	"iwas/internal/mqtttest"
)

// scripted is a broker of one page over net.Pipe, so that time can be virtual.
type scripted struct {
	t       *testing.T
	mu      sync.Mutex
	dials   []time.Time              // guarded by mu
	connect []*packets.ConnectPacket // guarded by mu
	conns   []net.Conn               // guarded by mu; the broker's ends

	connack byte                                                  // CONNACK return code
	suback  byte                                                  // SUBACK return code
	refuse  error                                                 // of dialling
	mute    bool                                                  // never answers anything
	on      func(c net.Conn, p packets.ControlPacket) (done bool) // after CONNACK; nil answers pings and subscriptions
}

func (s *scripted) dial(context.Context) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials = append(s.dials, time.Now())
	if s.refuse != nil {
		return nil, s.refuse
	}
	near, far := net.Pipe()
	s.conns = append(s.conns, far)
	go s.serve(far)
	return near, nil
}

func (s *scripted) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		if s.mute {
			continue
		}
		if s.on != nil {
			if _, ok := p.(*packets.ConnectPacket); !ok {
				if s.on(c, p) {
					return
				}
				continue
			}
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			s.mu.Lock()
			s.connect = append(s.connect, p)
			s.mu.Unlock()
			a := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
			a.ReturnCode = s.connack
			a.Write(c)
			if s.connack != packets.Accepted {
				return
			}
		case *packets.SubscribePacket:
			a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			a.MessageID = p.MessageID
			for range p.Topics {
				a.ReturnCodes = append(a.ReturnCodes, s.suback)
			}
			a.Write(c)
		case *packets.PingreqPacket:
			packets.NewControlPacket(packets.Pingresp).Write(c)
		case *packets.DisconnectPacket:
			return
		}
	}
}

func (s *scripted) dialled() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.dials...)
}

// serve runs a link against the broker inside a bubble of virtual time.
func (s *scripted) link(o Options) (l *Link, stop func()) {
	o.Dial = s.dial
	if o.ClientID == "" {
		o.ClientID = "me"
	}
	l, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	var running sync.WaitGroup
	running.Go(func() { l.Serve(ctx) })
	return l, func() { cancel(); running.Wait() }
}

func TestConnectPacketIsAsTheContractSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t}
		l, stop := s.link(Options{ClientID: "agentone-boot", Subscribe: []string{"a/#"},
			Will: func(conn int64) Message { return Message{"will", fmt.Append(nil, conn), true} }})
		synctest.Wait()
		if !l.Connected() || l.Conn() != 1 || l.Err() != nil {
			t.Errorf("got connected %v, conn %d, err %v, want a first connection", l.Connected(), l.Conn(), l.Err())
		}
		stop()
		p := s.connect[0]
		if p.ProtocolVersion != 4 || !p.CleanSession || p.Keepalive != 20 || p.ClientIdentifier != "agentone-boot" {
			t.Errorf("got %v, want MQTT 3.1.1, a clean session, keep-alive 20 s", p)
		}
		if !p.WillFlag || p.WillTopic != "will" || string(p.WillMessage) != "1" || !p.WillRetain || p.WillQos != 0 {
			t.Errorf("got will %s %q, want the retained will of connection 1", p.WillTopic, p.WillMessage)
		}
	})
}

// What is left at paho's defaults must go on being that: another version of it
// that thinks otherwise fails here.
func TestWhatIsLeftToPahoIsAsWeNeedIt(t *testing.T) {
	l, err := New(Options{ClientID: "me", URL: "tls://host"})
	if err != nil {
		t.Fatal(err)
	}
	o := l.options(t.Context(), &session{}, &socket{})
	if !o.CleanSession || !o.Order || o.ConnectRetry || o.ResumeSubs || o.AutoReconnect {
		t.Errorf("got clean session %v, order %v, retried connect %v, resumed subscriptions %v, reconnecting %v; want true, true and no more",
			o.CleanSession, o.Order, o.ConnectRetry, o.ResumeSubs, o.AutoReconnect)
	}
}

// Since tells how long there has been no connection, not when it was last tried.
func TestAnOutageLastsFromTheLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t}
		l, stop := s.link(Options{})
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		s.mu.Lock()
		s.refuse = errors.New("no route")
		s.mu.Unlock()
		down := time.Now()
		l.Drop(errors.New("test"))
		time.Sleep(10 * time.Minute)
		if l.Connected() || !l.Since().Equal(down) {
			t.Errorf("got away since %v, want %v: %d attempts failed meanwhile", l.Since(), down, len(s.dialled()))
		}
	})
}

func TestRefusedConnectIsTriedOnceAndExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t, connack: packets.ErrRefusedNotAuthorised}
		l, stop := s.link(Options{})
		defer stop()
		synctest.Wait()
		if n := len(s.dialled()); n != 1 {
			t.Errorf("got %d attempts, want 1: no second one as MQTT 3.1", n)
		}
		if err := l.Err(); !fault.Is(err, fault.Denied) || fault.Code(err) != "CLD-103" || fault.Hint(err) == "" {
			t.Errorf("got %v (%s), want Denied, CLD-103", err, fault.Code(err))
		}
	})
}

func TestRefusedSubscriptionIsNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t, suback: subscriptionRefused}
		up := false
		l, stop := s.link(Options{Subscribe: []string{"other/#"}, OnUp: func(*Link) { up = true }})
		synctest.Wait()
		if l.Connected() || !fault.Is(l.Err(), fault.Denied) {
			t.Errorf("got connected %v, err %v, want Denied", l.Connected(), l.Err())
		}
		stop()
		if up {
			t.Error("OnUp ran without a subscription")
		}
	})
}

func TestSilentBrokerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := &scripted{t: t, on: func(net.Conn, packets.ControlPacket) bool { return false }} // reads, never answers
		l, stop := s.link(Options{})
		defer stop()
		synctest.Wait()
		if !l.Connected() {
			t.Fatal("not connected")
		}
		for l.Conn() == 1 && time.Since(began) < 5*time.Minute {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > keepAlive+pingTimeout+3*time.Second {
			t.Errorf("noticed after %v, want keep-alive and ping timeout", took)
		}
	})
}

func TestStuckWriteIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t, on: func(c net.Conn, _ packets.ControlPacket) bool {
			<-t.Context().Done() // stops reading: the pipe is full at once, as a full send buffer is
			return true
		}}
		l, stop := s.link(Options{})
		defer stop()
		synctest.Wait()
		began := time.Now()
		l.Publish("t", []byte("the broker reads this and no more"), false)
		l.Publish("t", []byte("this one is stuck"), false)
		for l.Conn() == 1 && time.Since(began) < 5*time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 2*writeTimeout {
			t.Errorf("noticed after %v, want about %v", took, writeTimeout)
		}
	})
}

func TestMuteBrokerCostsTheConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t, mute: true}
		l, stop := s.link(Options{})
		defer stop()
		time.Sleep(connectTimeout + maxPause)
		if l.Err() == nil || fault.Code(l.Err()) != "CLD-101" {
			t.Errorf("got %v, want CLD-101", l.Err())
		}
		if d := s.dialled(); len(d) < 2 || d[1].Sub(d[0]) > connectTimeout+minPause {
			t.Errorf("got attempts at %v, want the second after %v and a short pause", d, connectTimeout)
		}
	})
}

func TestStopDoesNotWaitForAMuteBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t, mute: true}
		_, stop := s.link(Options{})
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("stop took %v, want no waiting for CONNACK", took)
		}
	})
}

func TestPausesDoubleWithJitterUpToHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t, refuse: errors.New("no route")}
		_, stop := s.link(Options{})
		time.Sleep(10 * time.Minute)
		stop()
		d := s.dialled()
		if len(d) < 15 {
			t.Fatalf("got %d attempts in 10 min, want more: at most %v between two", len(d), maxPause)
		}
		for i := 1; i < len(d); i++ {
			bound := min(maxPause, minPause<<min(i-1, 10))
			if pause := d[i].Sub(d[i-1]); pause < bound/10 || pause > bound {
				t.Errorf("pause %d: got %v, want within %v and %v", i, pause, bound/10, bound)
			}
		}
	})
	seen := map[time.Duration]bool{}
	for range 100 {
		seen[pauseAfter(3)] = true
	}
	if len(seen) < 90 {
		t.Errorf("got %d different pauses of 100, want jitter", len(seen))
	}
}

func TestFlappingConnectionBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t, on: func(net.Conn, packets.ControlPacket) bool { return true }} // hangs up at the first packet
		l, stop := s.link(Options{Subscribe: []string{"a"}})
		time.Sleep(5 * time.Minute)
		stop()
		if n := len(s.dialled()); n > 40 {
			t.Errorf("got %d attempts in 5 min, want growing pauses", n)
		}
		if l.Err() == nil {
			t.Error("got no reason")
		}
	})
}

func TestEveryConnectionHasItsOwnNumberAndWill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t}
		var ups []int64
		l, stop := s.link(Options{Will: func(conn int64) Message { return Message{"w", fmt.Append(nil, conn), true} },
			OnUp: func(l *Link) { ups = append(ups, l.Conn()) }})
		for range 3 {
			synctest.Wait()
			l.Drop(errors.New("test"))
			time.Sleep(5 * time.Second)
		}
		stop()
		if fmt.Sprint(ups) != "[1 2 3 4]" {
			t.Errorf("got connections %v, want 1 to 4", ups)
		}
		for i, p := range s.connect {
			if want := fmt.Sprint(i + 1); string(p.WillMessage) != want {
				t.Errorf("connection %s: got will %s", want, p.WillMessage)
			}
		}
	})
}

func TestFullQueueDropsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t}
		l, stop := s.link(Options{Buffer: 4})
		defer stop()
		synctest.Wait()
		for i := range 10 {
			p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			p.TopicName, p.Payload = "t", fmt.Append(nil, i)
			p.Write(s.conns[0])
		}
		synctest.Wait()
		if !l.Connected() || l.Dropped() != 6 {
			t.Errorf("got connected %v, %d dropped, want true, 6", l.Connected(), l.Dropped())
		}
		for i := range 4 {
			if m := <-l.Messages(); string(m.Payload) != fmt.Sprint(i) {
				t.Errorf("got %s, want %d: the front stays", m.Payload, i)
			}
		}
	})
}

func TestMessagesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t}
		l, stop := s.link(Options{})
		defer stop()
		synctest.Wait()
		for i := range DefaultBuffer {
			p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			p.TopicName, p.Payload = "t", fmt.Append(nil, i)
			p.Write(s.conns[0])
		}
		for i := range DefaultBuffer {
			if m := <-l.Messages(); string(m.Payload) != fmt.Sprint(i) {
				t.Fatalf("got %s at place %d", m.Payload, i)
			}
		}
	})
}

func TestPublishWithoutAConnectionSaysSo(t *testing.T) {
	l, err := New(Options{ClientID: "me", URL: "tls://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Publish("t", nil, false); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{URL: "tls://host:8883"},                   // no client id
		{ClientID: "me", URL: "tcp://host:1883"},   // plain
		{ClientID: "me", URL: "mqtt://host"},       // plain
		{ClientID: "me", URL: "host:8883"},         // no scheme
		{ClientID: "me", URL: ""},                  // nothing
		{ClientID: "me", URL: "https://host:8883"}, // not MQTT
	} {
		if _, err := New(o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: got %v, want Invalid", o, err)
		}
	}
	l, err := New(Options{ClientID: "me", URL: "tls://host"})
	if err != nil || l.host != "host:8883" {
		t.Errorf("got %v, %v, want the port of MQTT over TLS", l.host, err)
	}
}

func TestTroubleIsExplained(t *testing.T) {
	m := mqtttest.StartMosquitto(t)
	stranger := mqtttest.NewCA(t, "stranger")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	portal := httptest.NewServer(http.NotFoundHandler()) // as a HotSpot's login page answers whatever comes
	defer portal.Close()
	noName := "NET-102"
	if c, err := net.Dial("udp4", nowhere); err == nil {
		c.Close()
	} else {
		noName = "NET-101" // this machine itself has no route
	}
	for _, test := range []struct {
		name string
		o    Options
		code string
	}{
		{"nobody listens", Options{URL: "tls://" + closed.Addr().String()}, "CLD-101"},
		{"no such name", Options{URL: "tls://nowhere.invalid"}, noName},
		{"a login page in between", Options{URL: "tls://" + portal.Listener.Addr().String()}, "NET-103"},
		{"the server's authority is unknown", Options{URL: m.URL, TLS: m.Agents.ClientTLS(t, "agentone", stranger)}, "CLD-102"},
		{"our authority is unknown there", Options{URL: m.URL, TLS: stranger.ClientTLS(t, "agentone", m.Cloud)}, "CLD-103"},
	} {
		test.o.ClientID = "me"
		l, err := New(test.o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); l.Serve(ctx) }()
		for deadline := time.Now().Add(10 * time.Second); l.Err() == nil && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-done
		if fault.Code(l.Err()) != test.code || fault.Hint(l.Err()) == "" {
			t.Errorf("%s: got %v (%s), want %s with a next step", test.name, l.Err(), fault.Code(l.Err()), test.code)
		}
	}
}
