package broker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iwas/cloud/broker"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/mqttlink"
	"iwas/internal/mqtttest"
	"iwas/internal/wire"
)

// embedded is the fixture of tests that only the embedded broker has to pass.
func embedded(t *testing.T, o broker.Options) (*broker.Broker, fixture) {
	t.Helper()
	agents, servers := mqtttest.NewCA(t, "agents"), mqtttest.NewCA(t, "servers")
	b := startBroker(t, agents, servers, o)
	return b, fixture{url: "tls://" + b.Addr().String(), agents: agents, servers: servers, cloud: mqttlink.Options{Dial: b.Dial}}
}

// lines collects log lines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) contains(all ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range strings.Split(l.b.String(), "\n") {
		found := true
		for _, s := range all {
			found = found && strings.Contains(line, s)
		}
		if found {
			return true
		}
	}
	return false
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func TestRevocationCutsTheLiveConnection(t *testing.T) {
	var revoked atomic.Bool
	b, f := embedded(t, broker.Options{Allowed: func(a hotspot.AgentID) bool { return a != agentA || !revoked.Load() }})
	topic := wire.Topic(agentA, wire.UpPresence)
	c := f.connectCloud(t, topic)
	a := f.connectAgent(t, agentA, agentOptions{will: willOf(agentA)})
	other := f.connectAgent(t, agentB, agentOptions{})
	if n := b.Online()[agentA]; n != 1 {
		t.Errorf("got %d connections of the agent online, want 1", n)
	}
	revoked.Store(true)
	// By order, not by the clock: once Kick has returned the connection is closed on
	// this side, so that nothing said on it counts and no new one is let in.
	if n := b.Kick(agentA); n != 1 {
		t.Errorf("got %d connections cut, want 1", n)
	}
	if n := b.Online()[agentA]; n != 0 {
		t.Errorf("got %d connections of the agent when the cut has returned, want none", n)
	}
	_ = a.Publish(wire.Topic(agentA, wire.UpPresence), []byte("said after the cut"), false) // may fail already
	expect(t, c, topic, "lost 1")
	eventually(t, "the end of the connection", func() bool { return !a.Connected() })
	eventually(t, "a refusal", func() bool { return fault.Is(a.Err(), fault.Denied) })
	if fault.Code(a.Err()) != "CLD-103" {
		t.Errorf("got %v (%s), want CLD-103", a.Err(), fault.Code(a.Err()))
	}
	if !other.Connected() || b.Kick("agentnobody") != 0 {
		t.Error("others were cut too")
	}
	publish(t, c, topic, "mark")
	expect(t, c, topic, "mark") // and nothing of the agent before it
}

func TestWiderFiltersAreRefusedNotGranted(t *testing.T) {
	_, f := embedded(t, broker.Options{})
	for _, filter := range []string{"#", "iwas/#", "iwas/v1/agents/+/down/#", "$share/g/iwas/v1/agents/" + string(agentA) + "/down/#", "$SYS/#",
		"iwas/v1/agents/" + string(agentA) + "/#"} {
		l := f.serveAgent(t, agentA, agentOptions{subscribe: []string{filter}})
		eventually(t, "an answer", func() bool { return l.Err() != nil || l.Connected() })
		if !fault.Is(l.Err(), fault.Denied) {
			t.Errorf("%s: got connected %v, err %v, want refused by 0x80", filter, l.Connected(), l.Err())
		}
	}
}

func TestRefusalsAreLoggedWithAgentAndTopicAndALimit(t *testing.T) {
	var log lines
	_, f := embedded(t, broker.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	c := f.connectCloud(t, "iwas/#")
	a := f.connectAgent(t, agentA, agentOptions{})
	forged := wire.Topic(agentB, wire.UpEvents)
	for range 500 {
		publish(t, a, forged, "payload-not-for-logs")
	}
	publish(t, a, wire.Topic(agentA, wire.UpHello), "mark")
	expect(t, c, wire.Topic(agentA, wire.UpHello), "mark")
	if !log.contains("broker: refused", "publish", string(agentA), forged) {
		t.Error("got no line that names agent and topic")
	}
	if n := log.count("broker: refused"); n > 20 {
		t.Errorf("got %d lines for 500 refusals, want a few", n)
	}
	if log.count("payload-not-for-logs") != 0 {
		t.Error("a payload stands in the log")
	}
	// The noise of one hides nobody else.
	other := f.connectAgent(t, agentB, agentOptions{})
	publish(t, other, wire.Topic(agentA, wire.UpEvents), "forged")
	publish(t, other, wire.Topic(agentB, wire.UpHello), "mark of another")
	expect(t, c, wire.Topic(agentB, wire.UpHello), "mark of another")
	if !log.contains("broker: refused", "publish", "agent="+string(agentB), wire.Topic(agentA, wire.UpEvents)) {
		t.Error("another agent's refusal is hidden behind the noise of the first")
	}
}

func TestOnlyASmallPresenceIsRetained(t *testing.T) {
	_, f := embedded(t, broker.Options{})
	a := f.connectAgent(t, agentA, agentOptions{})
	for _, m := range []mqttlink.Message{
		{Topic: wire.Topic(agentA, wire.UpEvents), Payload: []byte("kept?")},
		{Topic: wire.Topic(agentA, wire.UpPresence), Payload: make([]byte, 5000)},
	} {
		if err := a.Publish(m.Topic, m.Payload, true); err != nil {
			t.Fatal(err)
		}
	}
	early := f.connectCloud(t, wire.Topic(agentA, wire.UpHello))
	publish(t, a, wire.Topic(agentA, wire.UpHello), "mark")
	expect(t, early, wire.Topic(agentA, wire.UpHello), "mark")
	late := f.connectCloud(t, "iwas/v1/agents/+/up/#")
	publish(t, a, wire.Topic(agentA, wire.UpHello), "mark")
	expect(t, late, wire.Topic(agentA, wire.UpHello), "mark") // and nothing retained before it
}

// TestSlowReaderIsCutAndHarmsNobody floods an agent that reads nothing.
func TestSlowReaderIsCutAndHarmsNobody(t *testing.T) {
	var log lines
	b, f := embedded(t, broker.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	c := f.connectCloud(t)
	slow := f.line(t, agentA)
	conn, err := slow.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func(packet ...byte) {
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	id := string(agentA)
	send(append(append([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, byte(len(id))}, id...), []byte{}...)...)
	filter := "iwas/v1/agents/" + id + "/down/#"
	send(append(append([]byte{0x82, byte(5 + len(filter)), 0, 1, 0, byte(len(filter))}, filter...), 0)...)
	if _, err := conn.Read(make([]byte, 64)); err != nil { // CONNACK; from here on it reads nothing
		t.Fatal(err)
	}
	good := f.connectAgent(t, agentB, agentOptions{})
	eventually(t, "the slow reader", func() bool { return b.Online()[agentA] == 1 })
	time.Sleep(50 * time.Millisecond) // for SUBSCRIBE to be taken
	payload := bytes.Repeat([]byte("x"), 64<<10)
	began := time.Now()
	for i := 0; b.Online()[agentA] > 0; i++ {
		if err := c.Publish(wire.Topic(agentA, wire.DownState), payload, false); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) > 15*time.Second {
			t.Fatalf("still connected after %d messages of 64 KiB", i)
		}
		if i%100 == 0 {
			text := fmt.Sprint(i)
			publish(t, c, wire.Topic(agentB, wire.DownState), text)
			expect(t, good, wire.Topic(agentB, wire.DownState), text)
		}
	}
	if !log.contains("broker: refused", "slow reader", string(agentA)) {
		t.Error("got no line that names the slow reader")
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ca := mqtttest.NewCA(t, "ca")
	_, err = broker.New(broker.Options{Listen: l.Addr().String(), TLS: &tls.Config{ClientCAs: ca.Pool()}, Allowed: func(hotspot.AgentID) bool { return true }})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), l.Addr().String()) || fault.Hint(err) == "" {
		t.Errorf("got %v, want an error that names %s and the next step", err, l.Addr())
	}
}

func TestUnsafeOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]broker.Options{
		"no TLS":       {Allowed: func(hotspot.AgentID) bool { return true }},
		"no client CA": {TLS: &tls.Config{}, Allowed: func(hotspot.AgentID) bool { return true }},
		"nobody asked": {TLS: &tls.Config{ClientCAs: mqtttest.NewCA(t, "ca").Pool()}},
	} {
		o.Listen = "127.0.0.1:0"
		if _, err := broker.New(o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want Invalid", name, err)
		}
	}
}

func TestServeCanRunAgainOnTheSamePort(t *testing.T) {
	agents, servers := mqtttest.NewCA(t, "agents"), mqtttest.NewCA(t, "servers")
	b, err := broker.New(broker.Options{Listen: "127.0.0.1:0", Allowed: func(hotspot.AgentID) bool { return true },
		TLS: &tls.Config{Certificates: []tls.Certificate{servers.Server(t)}, ClientCAs: agents.Pool()}})
	if err != nil {
		t.Fatal(err)
	}
	f := fixture{url: "tls://" + b.Addr().String(), agents: agents, servers: servers, cloud: mqttlink.Options{Dial: b.Dial}}
	var a *mqttlink.Link
	for round := range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- b.Serve(ctx) }()
		if a == nil {
			a = f.serveAgent(t, agentA, agentOptions{})
		}
		eventually(t, fmt.Sprint("a connection in round ", round), a.Connected)
		c := f.connectCloud(t)
		publish(t, c, wire.Topic(agentA, wire.DownAck), "x")
		expect(t, a, wire.Topic(agentA, wire.DownAck), "x")
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("Serve: got %v, want nil", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("Serve does not end while clients are connected")
		}
		eventually(t, "the loss", func() bool { return !a.Connected() })
		if n := len(b.Online()); n != 0 {
			t.Errorf("got %d agents online after the stop", n)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Dial(ctx); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Dial without Serve: got %v, want Unavailable", err)
	}
}

// BenchmarkThousandAgentsReturn has a broker of a thousand agents restart, and
// prints when they were back, and how many at most came in a tenth of a second.
func BenchmarkThousandAgentsReturn(b *testing.B) {
	const agents = 1000
	ca, servers := mqtttest.NewCA(b, "agents"), mqtttest.NewCA(b, "servers")
	br, err := broker.New(broker.Options{Listen: "127.0.0.1:0", Allowed: func(hotspot.AgentID) bool { return true },
		TLS: &tls.Config{Certificates: []tls.Certificate{servers.Server(b)}, ClientCAs: ca.Pool()}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	links := make([]*mqttlink.Link, agents)
	for i := range links {
		id := fmt.Sprintf("agent%07d", i)
		if links[i], err = mqttlink.New(mqttlink.Options{URL: "tls://" + br.Addr().String(), ClientID: id, TLS: ca.ClientTLS(b, id, servers),
			Subscribe: []string{wire.Topic(hotspot.AgentID(id), "down/#")}}); err != nil {
			b.Fatal(err)
		}
		running.Go(func() { _ = links[i].Serve(ctx) })
	}
	defer running.Wait()
	defer stop()
	up := func() (n int) {
		for _, l := range links {
			if l.Connected() {
				n++
			}
		}
		return n
	}
	until := func(what string, ok func(int) bool) {
		for deadline := time.Now().Add(2 * time.Minute); !ok(up()); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatalf("%d agents are connected, waited for %s", up(), what)
			}
		}
	}
	serving := func() (end func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- br.Serve(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
		}
	}
	end := serving()
	until("all", func(n int) bool { return n == agents })
	time.Sleep(time.Minute) // on purpose: a connection that stood a while is no failure
	end()
	until("none", func(n int) bool { return n == 0 })
	end = serving()
	defer end()
	began, most, before := time.Now(), 0, 0
	var half time.Duration
	for n := 0; n < agents; time.Sleep(100 * time.Millisecond) {
		n = up()
		most, before = max(most, n-before), n
		if half == 0 && n >= agents/2 {
			half = time.Since(began)
		}
		if time.Since(began) > 2*time.Minute {
			b.Fatalf("%d of %d agents are back after two minutes", n, agents)
		}
	}
	fmt.Printf("   %d agents after a restart of the broker: half back after %s, all after %s (target: 30 s); at most %d in a tenth of a second\n",
		agents, half.Round(100*time.Millisecond), time.Since(began).Round(100*time.Millisecond), most)
}
