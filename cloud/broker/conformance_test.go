package broker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"iwas/cloud/broker"
	"iwas/internal/hotspot"
	"iwas/internal/mqttlink"
	"iwas/internal/mqtttest"
	"iwas/internal/wire"
)

const (
	agentA = hotspot.AgentID("agentaaaaaaaa")
	agentB = hotspot.AgentID("agentbbbbbbbb")
)

// fixture is one broker under test.
type fixture struct {
	url             string // agents' door
	agents, servers *mqtttest.CA
	cloud           mqttlink.Options // how the cloud gets in
}

// TestConformance holds what the contract needs of any broker. It runs on the
// embedded one and on mosquitto with the configuration we ship.
func TestConformance(t *testing.T) {
	brokers := map[string]func(*testing.T) fixture{
		"embedded": func(t *testing.T) fixture {
			agents, servers := mqtttest.NewCA(t, "agents"), mqtttest.NewCA(t, "servers")
			b := startBroker(t, agents, servers, broker.Options{})
			return fixture{url: "tls://" + b.Addr().String(), agents: agents, servers: servers, cloud: mqttlink.Options{Dial: b.Dial}}
		},
		"mosquitto": func(t *testing.T) fixture {
			m := mqtttest.StartMosquitto(t)
			return fixture{url: m.URL, agents: m.Agents, servers: m.Cloud,
				cloud: mqttlink.Options{URL: m.CloudURL, TLS: m.Cloud.ClientTLS(t, "cloud", m.Cloud)}}
		},
	}
	suite := []struct {
		name string
		run  func(*testing.T, fixture)
	}{
		{"a certificate is required", certificateRequired},
		{"messages travel both ways", bothWays},
		{"an agent cannot publish as another", cannotPublishAsAnother},
		{"an agent receives nothing of another by any filter", receivesNothingOfAnother},
		{"an agent cannot leave a will for another", cannotLeaveWillForAnother},
		{"an agent cannot throw another out", cannotThrowAnotherOut},
		{"presence is retained", presenceRetained},
		{"the last will comes when the line is cut", lastWill},
		{"no last will after a planned stop", noWillAfterStop},
		{"the same client id takes over", takeover},
		{"subscriptions return with the connection", resubscribes},
		{"an oversize packet is refused", oversizeRefused},
		{"shared subscriptions deliver once", shared},
		{"a slow consumer harms nobody", slowConsumer},
		{"a half-open connection ends by its keep-alive", halfOpen},
	}
	for name, start := range brokers {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			for _, test := range suite {
				t.Run(test.name, func(t *testing.T) { test.run(t, f) })
			}
		})
	}
}

func certificateRequired(t *testing.T, f fixture) {
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	for name, certs := range map[string][]tls.Certificate{
		"none":              nil,
		"another authority": {mqtttest.NewCA(t, "foreign").Client(t, string(agentA), nil)},
		"expired":           {f.agents.Client(t, string(agentA), expired)},
		"the servers' own":  {f.servers.Client(t, string(agentA), nil)},
	} {
		u, err := url.Parse(f.url)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: f.servers.Pool(), Certificates: certs})
		if err == nil { // in TLS 1.3 the client is done before the server has judged it
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		if err == nil || err == io.EOF {
			t.Errorf("certificate %s: got %v, want a refusal by TLS", name, err)
		}
	}
}

func bothWays(t *testing.T, f fixture) {
	c := f.connectCloud(t, "iwas/v1/agents/+/up/#")
	a := f.connectAgent(t, agentA, agentOptions{})
	publish(t, a, wire.Topic(agentA, wire.UpHello), "hello")
	expect(t, c, wire.Topic(agentA, wire.UpHello), "hello")
	for _, ch := range []wire.Channel{wire.DownAck, wire.DownState, wire.DownCommands} {
		publish(t, c, wire.Topic(agentA, ch), string(ch))
		expect(t, a, wire.Topic(agentA, ch), string(ch))
	}
}

func cannotPublishAsAnother(t *testing.T, f fixture) {
	c := f.connectCloud(t, "iwas/#")
	a := f.connectAgent(t, agentA, agentOptions{})
	for _, topic := range []string{
		wire.Topic(agentB, wire.UpEvents), wire.Topic(agentB, wire.UpPresence), wire.Topic(agentB, wire.DownState),
		wire.Topic(agentA, wire.DownState), wire.Topic(agentA, wire.DownCommands),
		"iwas/v1/agents/" + string(agentA) + "/up/other", "iwas/v1/cloud/bus", "iwas",
	} {
		publish(t, a, topic, "forged")
	}
	publish(t, a, wire.Topic(agentA, wire.UpEvents), "own")
	expect(t, c, wire.Topic(agentA, wire.UpEvents), "own") // and nothing before it
}

func receivesNothingOfAnother(t *testing.T, f fixture) {
	c := f.connectCloud(t)
	var spies []*mqttlink.Link
	filters := []string{"#", "+/#", "iwas/#", "iwas/v1/agents/#", "iwas/v1/agents/+/down/#", "iwas/v1/agents/+/up/#", "+/+/+/+/+/+",
		"iwas/v1/agents/" + string(agentB) + "/#", wire.Topic(agentB, wire.DownState), wire.Topic(agentB, wire.UpPresence),
		"$share/g/#", "$share/g/iwas/v1/agents/" + string(agentB) + "/down/#", "$share/cloud/iwas/v1/agents/+/up/#", "$SYS/#"}
	for i, filter := range filters {
		agent := hotspot.AgentID(fmt.Sprintf("agentspy%d", i))
		spies = append(spies, f.serveAgent(t, agent, agentOptions{subscribe: []string{filter}}))
	}
	for i, s := range spies {
		eventually(t, "an answer to "+filters[i], func() bool { return s.Connected() || s.Err() != nil })
	}
	b := f.connectAgent(t, agentB, agentOptions{})
	if err := b.Publish(wire.Topic(agentB, wire.UpPresence), []byte("here"), true); err != nil {
		t.Fatal(err)
	}
	for _, ch := range []wire.Channel{wire.UpEvents, wire.UpHello} {
		publish(t, b, wire.Topic(agentB, ch), "secret")
	}
	for _, ch := range []wire.Channel{wire.DownAck, wire.DownState, wire.DownCommands} {
		publish(t, c, wire.Topic(agentB, ch), "secret")
		expect(t, b, wire.Topic(agentB, ch), "secret")
	}
	late := f.serveAgent(t, "agentlate", agentOptions{subscribe: []string{"iwas/v1/agents/+/up/presence"}}) // retained
	eventually(t, "an answer", func() bool { return late.Connected() || late.Err() != nil })
	time.Sleep(100 * time.Millisecond) // time for what must not arrive
	for i, s := range append(spies, late) {
		select {
		case m := <-s.Messages():
			t.Errorf("filter %s: got %s on %s, want nothing", append(filters, "late")[i], m.Payload, m.Topic)
		default:
		}
	}
}

func cannotLeaveWillForAnother(t *testing.T, f fixture) {
	c := f.connectCloud(t, wire.Topic("+", wire.UpPresence))
	will := func(int64) mqttlink.Message {
		return mqttlink.Message{Topic: wire.Topic("agentvictim", wire.UpPresence), Payload: []byte("lost"), Retained: true}
	}
	line := f.line(t, agentA)
	a := f.serveAgent(t, agentA, agentOptions{dial: line.dial, will: will})
	eventually(t, "an answer", func() bool { return a.Connected() || a.Err() != nil })
	line.cut()
	b := f.connectAgent(t, agentB, agentOptions{})
	time.Sleep(50 * time.Millisecond) // time for the will that must not come
	publish(t, b, wire.Topic(agentB, wire.UpPresence), "mark")
	for {
		m := receive(t, c)
		if m.Topic == wire.Topic("agentvictim", wire.UpPresence) {
			t.Fatalf("got %s on %s, want no will of another", m.Payload, m.Topic)
		}
		if string(m.Payload) == "mark" {
			return
		}
	}
}

func cannotThrowAnotherOut(t *testing.T, f fixture) {
	c := f.connectCloud(t)
	b := f.connectAgent(t, agentB, agentOptions{clientID: string(agentB) + "-boot"})
	conn := b.Conn()
	thief := f.serveAgent(t, agentA, agentOptions{clientID: string(agentB) + "-boot"})
	eventually(t, "an answer", func() bool { return thief.Connected() || thief.Err() != nil })
	publish(t, c, wire.Topic(agentB, wire.DownAck), "still here")
	expect(t, b, wire.Topic(agentB, wire.DownAck), "still here")
	if b.Conn() != conn {
		t.Errorf("got connection %d of the victim, want %d as before", b.Conn(), conn)
	}
}

func presenceRetained(t *testing.T, f fixture) {
	a := f.connectAgent(t, agentA, agentOptions{})
	topic := wire.Topic(agentA, wire.UpPresence)
	first := f.connectCloud(t, topic)
	drain(first)
	if err := a.Publish(topic, []byte("online"), true); err != nil {
		t.Fatal(err)
	}
	expect(t, first, topic, "online")
	m := receive(t, f.connectCloud(t, topic))
	if !m.Retained || string(m.Payload) != "online" {
		t.Errorf("got %q retained %v, want a retained online", m.Payload, m.Retained)
	}
	if err := first.Publish(topic, nil, true); err != nil { // the cloud forgets a retired agent
		t.Fatal(err)
	}
	expect(t, first, topic, "")
	late := f.connectCloud(t, topic)
	publish(t, a, topic, "mark")
	expect(t, late, topic, "mark") // and nothing retained before it
}

func lastWill(t *testing.T, f fixture) {
	topic := wire.Topic(agentA, wire.UpPresence)
	c := f.connectCloud(t, topic)
	drain(c)
	line := f.line(t, agentA)
	f.serveAgent(t, agentA, agentOptions{dial: line.dial, will: willOf(agentA)})
	eventually(t, "a connection", line.connected)
	time.Sleep(50 * time.Millisecond) // time for the will to be taken with the connection
	line.cut()
	expect(t, c, topic, "lost 1")
	expect(t, f.connectCloud(t, topic), topic, "lost 1") // kept for who comes later
}

func noWillAfterStop(t *testing.T, f fixture) {
	topic := wire.Topic(agentB, wire.UpPresence)
	c := f.connectCloud(t, topic)
	drain(c)
	ctx, cancel := context.WithCancel(context.Background())
	link, wait := f.start(t, ctx, agentB, agentOptions{will: willOf(agentB)})
	eventually(t, "a connection", link.Connected)
	publish(t, link, topic, "stopped")
	cancel()
	wait()
	expect(t, c, topic, "stopped")
	b := f.connectAgent(t, agentB, agentOptions{})
	publish(t, b, topic, "mark")
	expect(t, c, topic, "mark") // and no will before it
}

func takeover(t *testing.T, f fixture) {
	topic := wire.Topic(agentA, wire.UpPresence)
	c := f.connectCloud(t, topic)
	drain(c)
	id := string(agentA) + "-same"
	ctx, cancel := context.WithCancel(context.Background())
	first, wait := f.start(t, ctx, agentA, agentOptions{clientID: id, will: willOf(agentA)})
	eventually(t, "the first connection", first.Connected)
	second := f.connectAgent(t, agentA, agentOptions{clientID: id})
	expect(t, c, topic, "lost 1")
	eventually(t, "the first to be thrown out", func() bool { return !first.Connected() })
	cancel() // before it takes over in turn
	wait()
	eventually(t, "the second connection", second.Connected)
	for i := range 20 { // the second must not be left deaf by the first one's end
		text := fmt.Sprint("for the second ", i)
		publish(t, c, wire.Topic(agentA, wire.DownState), text)
		expect(t, second, wire.Topic(agentA, wire.DownState), text)
	}
}

func resubscribes(t *testing.T, f fixture) {
	c := f.connectCloud(t)
	line := f.line(t, agentA)
	ups := make(chan int64, 10)
	a := f.serveAgent(t, agentA, agentOptions{dial: line.dial, onUp: func(l *mqttlink.Link) { ups <- l.Conn() }})
	first := <-ups
	line.cut()
	select {
	case again := <-ups:
		if again <= first {
			t.Errorf("got connection %d after %d, want a higher number", again, first)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no second connection in 10 s")
	}
	publish(t, c, wire.Topic(agentA, wire.DownState), "after")
	expect(t, a, wire.Topic(agentA, wire.DownState), "after")
}

func oversizeRefused(t *testing.T, f fixture) {
	topic := wire.Topic(agentA, wire.UpEvents)
	c := f.connectCloud(t, topic)
	a := f.connectAgent(t, agentA, agentOptions{})
	largest := bytes.Repeat([]byte("x"), wire.MaxMessage)
	if err := a.Publish(topic, largest, false); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, c); len(m.Payload) != wire.MaxMessage {
		t.Fatalf("got %d octets, want the largest message of %d", len(m.Payload), wire.MaxMessage)
	}
	conn := a.Conn()
	if err := a.Publish(topic, bytes.Repeat(largest, 2), false); err != nil {
		t.Log(err) // the broker may hang up while we still write
	}
	eventually(t, "a new connection", func() bool { return a.Connected() && a.Conn() > conn })
	publish(t, a, topic, "small")
	expect(t, c, topic, "small")
}

func shared(t *testing.T, f fixture) {
	filter := "$share/cloud/iwas/v1/agents/+/up/events"
	one, two := f.connectCloud(t, filter), f.connectCloud(t, filter)
	a := f.connectAgent(t, agentA, agentOptions{})
	const n = 100
	for i := range n {
		publish(t, a, wire.Topic(agentA, wire.UpEvents), fmt.Sprint(i))
	}
	seen := map[string]int{}
	for range n {
		select {
		case m := <-one.Messages():
			seen[string(m.Payload)]++
		case m := <-two.Messages():
			seen[string(m.Payload)]++
		case <-time.After(5 * time.Second):
			t.Fatalf("got %d of %d messages", len(seen), n)
		}
	}
	time.Sleep(50 * time.Millisecond) // time for a message too many
	if len(seen) != n || len(one.Messages())+len(two.Messages()) != 0 {
		t.Errorf("got %d different messages and %d more, want each of %d once", len(seen), len(one.Messages())+len(two.Messages()), n)
	}
}

func slowConsumer(t *testing.T, f fixture) {
	c := f.connectCloud(t)
	good := f.connectAgent(t, agentB, agentOptions{})
	slow := f.raw(t, agentA, 60, nil)
	slow.subscribe(t, "iwas/v1/agents/"+string(agentA)+"/down/#") // from here on it reads nothing
	payload := bytes.Repeat([]byte("x"), 64<<10)
	for i := range 300 { // 19 MiB: more than any socket takes
		if err := c.Publish(wire.Topic(agentA, wire.DownState), payload, false); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			publish(t, c, wire.Topic(agentB, wire.DownState), fmt.Sprint(i))
			expect(t, good, wire.Topic(agentB, wire.DownState), fmt.Sprint(i))
		}
	}
	publish(t, c, wire.Topic(agentB, wire.DownState), "all") // nothing sent before is still on its way into the broker
	expect(t, good, wire.Topic(agentB, wire.DownState), "all")
	again := f.connectAgent(t, agentA, agentOptions{}) // it comes back, and nothing old is kept for it
	publish(t, c, wire.Topic(agentA, wire.DownState), "new")
	expect(t, again, wire.Topic(agentA, wire.DownState), "new")
}

// halfOpen goes silent without a word, as a power cut does: the network still
// holds the connection, and nobody is behind it.
func halfOpen(t *testing.T, f fixture) {
	topic := wire.Topic(agentA, wire.UpPresence)
	c := f.connectCloud(t, topic)
	drain(c)
	f.raw(t, agentA, 1, willOf(agentA))
	for {
		select {
		case m := <-c.Messages():
			if m.Topic == topic && string(m.Payload) == "lost 0" {
				return
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no last will of a connection that is silent beyond its keep-alive")
		}
	}
}

// rawClient is an agent that does what MQTT says and no more, or less.
type rawClient struct{ conn net.Conn }

// raw connects one with a keep-alive in seconds; CONNACK has come when it returns.
func (f fixture) raw(t *testing.T, agent hotspot.AgentID, keepAlive uint16, will func(int64) mqttlink.Message) *rawClient {
	t.Helper()
	conn, err := f.line(t, agent).dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.Keepalive = "MQTT", 4, true, keepAlive
	p.ClientIdentifier = string(agent) + "-raw"
	if will != nil {
		w := will(0)
		p.WillFlag, p.WillTopic, p.WillMessage = true, w.Topic, w.Payload
	}
	r := &rawClient{conn}
	r.exchange(t, p, packets.Connack)
	return r
}

func (r *rawClient) subscribe(t *testing.T, filter string) {
	t.Helper()
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics, p.Qoss = 1, []string{filter}, []byte{0}
	r.exchange(t, p, packets.Suback)
}

// exchange sends a packet and waits for the answer of a kind.
func (r *rawClient) exchange(t *testing.T, p packets.ControlPacket, answer byte) {
	t.Helper()
	if err := p.Write(r.conn); err != nil {
		t.Fatal(err)
	}
	r.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	got, err := packets.ReadPacket(r.conn)
	if err != nil {
		t.Fatal(err)
	}
	head := packets.NewControlPacket(answer)
	if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", head) {
		t.Fatalf("got %T, want %T", got, head)
	}
}

// --- what the tests above use ---

// agentOptions are the ways an agent of the suite may differ.
type agentOptions struct {
	clientID  string
	subscribe []string // default: its own down/#
	dial      func(context.Context) (net.Conn, error)
	will      func(int64) mqttlink.Message
	onUp      func(*mqttlink.Link)
}

// startBroker serves an embedded broker until the test ends.
func startBroker(t *testing.T, agents, servers *mqtttest.CA, o broker.Options) *broker.Broker {
	t.Helper()
	o.Listen = "127.0.0.1:0"
	o.TLS = &tls.Config{Certificates: []tls.Certificate{servers.Server(t)}, ClientCAs: agents.Pool()}
	if o.Allowed == nil {
		o.Allowed = func(hotspot.AgentID) bool { return true }
	}
	b, err := broker.New(o)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, b.Serve)
	return b
}

// serve runs a loop until the test ends and waits for its end.
func serve(t *testing.T, loop func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: got %v, want nil", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve does not return")
		}
	})
}

func (f fixture) connectCloud(t *testing.T, filters ...string) *mqttlink.Link {
	t.Helper()
	o := f.cloud
	o.ClientID, o.Subscribe = "cloud-"+hotspot.NewID(time.Now()), filters
	l, err := mqttlink.New(o)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l.Serve)
	eventually(t, "the cloud's connection", l.Connected)
	return l
}

// start makes an agent's link; wait returns when its Serve has ended.
func (f fixture) start(t *testing.T, ctx context.Context, agent hotspot.AgentID, o agentOptions) (l *mqttlink.Link, wait func()) {
	t.Helper()
	if o.clientID == "" {
		o.clientID = string(agent) + "-" + hotspot.NewID(time.Now())
	}
	if o.subscribe == nil {
		o.subscribe = []string{"iwas/v1/agents/" + string(agent) + "/down/#"}
	}
	l, err := mqttlink.New(mqttlink.Options{URL: f.url, ClientID: o.clientID, TLS: f.agents.ClientTLS(t, string(agent), f.servers),
		Subscribe: o.subscribe, Dial: o.dial, Will: o.will, OnUp: o.onUp})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { l.Serve(ctx) })
	return l, running.Wait
}

func (f fixture) serveAgent(t *testing.T, agent hotspot.AgentID, o agentOptions) *mqttlink.Link {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, wait := f.start(t, ctx, agent, o)
	t.Cleanup(func() { cancel(); wait() })
	return l
}

func (f fixture) connectAgent(t *testing.T, agent hotspot.AgentID, o agentOptions) *mqttlink.Link {
	t.Helper()
	l := f.serveAgent(t, agent, o)
	eventually(t, "the agent's connection", l.Connected)
	return l
}

func willOf(agent hotspot.AgentID) func(int64) mqttlink.Message {
	return func(conn int64) mqttlink.Message {
		return mqttlink.Message{Topic: wire.Topic(agent, wire.UpPresence), Payload: fmt.Append(nil, "lost ", conn), Retained: true}
	}
}

// line is a connection that can be cut like a cable.
type line struct {
	addr string
	cfg  *tls.Config
	mu   sync.Mutex
	conn *tls.Conn // guarded by mu
}

func (f fixture) line(t *testing.T, agent hotspot.AgentID) *line {
	t.Helper()
	u, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	return &line{addr: u.Host, cfg: &tls.Config{RootCAs: f.servers.Pool(), Certificates: []tls.Certificate{f.agents.Client(t, string(agent), nil)}}}
}

func (l *line) dial(ctx context.Context) (net.Conn, error) {
	c, err := (&tls.Dialer{Config: l.cfg}).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = c.(*tls.Conn)
	return c, nil
}

func (l *line) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil
}

// cut ends both directions without a word of TLS or MQTT. (Close would be
// seen by paho as its own doing.)
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		tcp := l.conn.NetConn().(*net.TCPConn)
		tcp.CloseWrite()
		tcp.CloseRead()
	}
}

func publish(t *testing.T, l *mqttlink.Link, topic, payload string) {
	t.Helper()
	if err := l.Publish(topic, []byte(payload), false); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, l *mqttlink.Link) mqttlink.Message {
	t.Helper()
	select {
	case m := <-l.Messages():
		return m
	case <-time.After(5 * time.Second):
		t.Fatal("got no message in 5 s")
		return mqttlink.Message{}
	}
}

func expect(t *testing.T, l *mqttlink.Link, topic, payload string) {
	t.Helper()
	if m := receive(t, l); m.Topic != topic || string(m.Payload) != payload {
		t.Fatalf("got %.40q on %s, want %q on %s", m.Payload, m.Topic, payload, topic)
	}
}

// drain drops what is retained from tests before.
func drain(l *mqttlink.Link) {
	for {
		select {
		case <-l.Messages():
		case <-time.After(50 * time.Millisecond):
			return
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited 10 s for %s", what)
}
