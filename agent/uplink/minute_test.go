package uplink

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"iwas/internal/hotspot"
	"iwas/internal/mqttlink"
	"iwas/internal/wire"
)

// listener is a broker that takes everything and sends nothing, in a bubble's time.
type listener struct {
	mu   sync.Mutex
	came []heard // guarded by mu
}

// heard is one message with the time it came.
type heard struct {
	channel  wire.Channel
	payload  []byte
	retained bool
	at       time.Time
}

func (l *listener) dial(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go l.serve(far)
	return near, nil
}

func (l *listener) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			packets.NewControlPacket(packets.Connack).Write(c)
		case *packets.SubscribePacket:
			a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			a.MessageID, a.ReturnCodes = p.MessageID, []byte{0}
			a.Write(c)
		case *packets.PingreqPacket:
			packets.NewControlPacket(packets.Pingresp).Write(c)
		case *packets.PublishPacket:
			_, channel, _ := wire.ParseTopic(p.TopicName)
			l.mu.Lock()
			l.came = append(l.came, heard{channel, p.Payload, p.Retain, time.Now()})
			l.mu.Unlock()
		case *packets.DisconnectPacket:
			return
		}
	}
}

// TestASiteIsHeardEveryMinute: with nothing to tell it says hello each minute, with
// the router's last answer as it is then, and its presence every ten.
func TestASiteIsHeardEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{}
		u := &Uplink{Agent: testAgent, Boot: "boot1", Store: newMemory(), Link: mqttlink.Options{Dial: l.dial},
			RouterSeenAt: func() time.Time { return time.Now().Add(-7 * time.Second) },
			StopReason:   func() string { return "closing time" }}
		stop := run(t, u)
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		stop()
		var hellos, presences []time.Time
		var last wire.Presence
		for _, h := range l.came {
			switch h.channel {
			case wire.UpHello:
				var hello wire.Hello
				if err := wire.Decode(h.payload, &hello); err != nil {
					t.Fatal(err)
				}
				if age := h.at.Sub(hello.RouterSeenAt); age < 7*time.Second || age > 8*time.Second {
					t.Errorf("the router's last answer is %v old in a hello, want 7 s", age)
				}
				hellos = append(hellos, h.at)
			case wire.UpPresence:
				if err := wire.Decode(h.payload, &last); err != nil {
					t.Fatal(err)
				}
				if !h.retained {
					t.Error("a presence is not retained")
				}
				presences = append(presences, h.at)
			}
		}
		if len(hellos) != 32 {
			t.Errorf("got %d hellos in 31 minutes, want one at once and one each minute", len(hellos))
		}
		for i := 1; i < len(hellos); i++ {
			if pause := hellos[i].Sub(hellos[i-1]); pause > helloEvery+time.Second {
				t.Errorf("%v without a hello, want %v at most", pause, helloEvery)
			}
		}
		if len(presences) != 5 || last.State != hotspot.Stopped || last.Reason != "closing time" {
			t.Errorf("got %d presences, the last %+v; want four of them and a farewell with its reason", len(presences), last)
		}
	})
}
