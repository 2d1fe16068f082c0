package uplink

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/mqttlink"
	"iwas/internal/mqtttest"
	"iwas/internal/wire"
)

const testAgent = hotspot.AgentID("agentone")

// memory is a store in memory with the behaviour the uplink relies on.
type memory struct {
	mu       sync.Mutex
	epoch    string
	events   []wire.Event // sequence is index + 1
	acked    int64
	revision int64
	proofs   []wire.LockProof
	commands []wire.CommandResult
	staged   int
	brought  int    // calls of BringState
	through  string // of the newest piece
	whole    bool
	comes    int64 // revision of what is whole
	repeats  bool  // a delta to the revision held is done already
	forks    int
	ticks    chan struct{}
	busy     chan struct{} // Acked waits until it is closed; nil: it does not
}

func newMemory() *memory { return &memory{epoch: "epoch0", ticks: make(chan struct{}, 1)} }

func (m *memory) add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		m.events = append(m.events, wire.Event{ID: fmt.Sprint("event", len(m.events)+1), Kind: wire.EventSessionUsage, At: time.Now().UTC(), Body: json.RawMessage(`{"id":"s"}`)})
	}
	poke(m.ticks)
}

func (m *memory) prove(p wire.LockProof) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proofs = append(m.proofs, p)
	poke(m.ticks)
}

func (m *memory) replace(p wire.LockProof) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proofs = []wire.LockProof{p}
	poke(m.ticks)
}

func (m *memory) Standing(context.Context) (wire.Hello, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wire.Hello{Epoch: m.epoch, LastSeq: int64(len(m.events)), AckedSeq: m.acked, Lineage: "lineage", Revision: m.revision, Staged: &wire.Staged{Through: m.through, Whole: m.whole},
		Proofs: append([]wire.LockProof(nil), m.proofs...), Commands: append([]wire.CommandResult(nil), m.commands...)}, nil
}

func (m *memory) Events(_ context.Context, after int64, most, _ int) (wire.Batch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := min(int(after)+most, len(m.events))
	return wire.Batch{Epoch: m.epoch, First: after + 1, Events: append([]wire.Event(nil), m.events[after:end]...)}, nil
}

func (m *memory) Acked(ctx context.Context, a wire.Ack) error {
	if m.busy != nil {
		select {
		case <-m.busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.Epoch != m.epoch {
		return nil
	}
	if a.Fork {
		m.forks++
		m.epoch = fmt.Sprint("epoch", m.forks)
		m.events, m.acked = m.events[a.Through:], 0
		return nil
	}
	m.acked = a.Through
	return nil
}

func (m *memory) ApplyState(_ context.Context, s wire.State) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Through != "" {
		if s.After != m.through {
			return false, nil
		}
		m.through, m.whole, m.comes = s.Through, s.Whole, s.To
		return true, nil
	}
	if s.Snapshot != "" {
		if m.staged++; m.staged == s.Parts {
			m.revision, m.staged = s.To, 0
		}
		return true, nil
	}
	if m.repeats && s.To == m.revision {
		return true, nil
	}
	if s.From != m.revision {
		return false, nil
	}
	m.revision = s.To
	return true, nil
}

func (m *memory) BringState(context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.brought++
	if !m.whole {
		return false, nil
	}
	m.whole, m.revision, m.through = false, m.comes, ""
	return true, nil
}

func (m *memory) Changed() (<-chan struct{}, func()) { return m.ticks, func() {} }

// cloud is the other end: it stores what comes as the contract says, and
// misbehaves as told. One goroutine (run) does everything.
type cloud struct {
	t    testing.TB
	link *mqttlink.Link

	mu       sync.Mutex
	epoch    string
	stored   []wire.Event // of epoch, in order
	batches  []wire.Batch // as received, repeats too
	arrived  []time.Time
	hellos   []wire.Hello
	presence []wire.Presence
	all      map[string]int // how often each event id was stored

	silent  bool          // store, but do not answer
	deaf    int           // lose so many batches before storing
	repeat  int           // extra copies of each answer
	delay   time.Duration // before each answer
	most    int           // events taken of a batch; 0 is all
	gaps    int           // batches that did not continue what is stored
	forkAt  int64         // answer fork with this mark to the first batch of epoch0
	clockBy time.Duration // how far our clock is off
}

func startCloud(t testing.TB, m *mqtttest.Mosquitto) *cloud {
	t.Helper()
	c := &cloud{t: t, all: map[string]int{}}
	link, err := mqttlink.New(mqttlink.Options{URL: m.CloudURL, ClientID: "cloud-test", TLS: m.Cloud.ClientTLS(t, "cloud", m.Cloud),
		Subscribe: []string{wire.Topic(testAgent, "up/#")}, Buffer: 4096})
	if err != nil {
		t.Fatal(err)
	}
	c.link = link
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { link.Serve(ctx) })
	running.Go(func() { c.run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	eventually(t, "the cloud's connection", link.Connected)
	return c
}

func (c *cloud) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-c.link.Messages():
			_, channel, err := wire.ParseTopic(m.Topic)
			if err != nil {
				c.t.Error(err)
				continue
			}
			c.take(channel, m.Payload)
		}
	}
}

func (c *cloud) take(channel wire.Channel, payload []byte) {
	switch channel {
	case wire.UpHello:
		var h wire.Hello
		c.decode(payload, &h)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.hellos = append(c.hellos, h)
	case wire.UpPresence:
		var p wire.Presence
		c.decode(payload, &p)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.presence = append(c.presence, p)
	case wire.UpEvents:
		var b wire.Batch
		c.decode(payload, &b)
		c.ingest(b)
	}
}

func (c *cloud) ingest(b wire.Batch) {
	c.mu.Lock()
	c.batches, c.arrived = append(c.batches, b), append(c.arrived, time.Now())
	if c.deaf > 0 {
		c.deaf--
		c.mu.Unlock()
		return
	}
	if b.Epoch != c.epoch {
		c.epoch, c.stored = b.Epoch, nil
	}
	a := wire.Ack{V: wire.Version, Epoch: b.Epoch, First: b.First, Time: time.Now().Add(c.clockBy).UTC()}
	if c.forkAt > 0 && b.Epoch == "epoch0" {
		a.Fork, a.Through = true, c.forkAt
	} else if through := int64(len(c.stored)); b.First > through+1 {
		c.gaps++
	} else {
		for i, e := range b.Events {
			if b.First+int64(i) > through && (c.most == 0 || i < c.most) {
				c.stored = append(c.stored, e)
				c.all[e.ID]++
			}
		}
	}
	if !a.Fork {
		a.Through = int64(len(c.stored))
	}
	silent, repeat, delay := c.silent, c.repeat, c.delay
	c.mu.Unlock()
	time.Sleep(delay)
	for range repeat + 1 {
		if !silent {
			c.send(wire.DownAck, a)
		}
	}
}

func (c *cloud) send(channel wire.Channel, message any) {
	payload, err := wire.Encode(message)
	if err == nil {
		err = c.link.Publish(wire.Topic(testAgent, channel), payload, false)
	}
	if err != nil {
		c.t.Log(err) // lost, as messages are
	}
}

func (c *cloud) decode(b []byte, message any) {
	if err := wire.Decode(b, message); err != nil {
		c.t.Error(err)
	}
}

// see reads under the lock.
func see[T any](c *cloud, f func() T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f()
}

func (c *cloud) storedCount() int { return see(c, func() int { return len(c.stored) }) }
func (c *cloud) helloCount() int  { return see(c, func() int { return len(c.hellos) }) }

// awaitHello returns the first hello, from the n-th on, that fits.
func (c *cloud) awaitHello(n int, what string, fits func(wire.Hello) bool) wire.Hello {
	c.t.Helper()
	var found wire.Hello
	eventually(c.t, "a hello with "+what, func() bool {
		return see(c, func() bool {
			for _, h := range c.hellos[min(n, len(c.hellos)):] {
				if fits(h) {
					found = h
					return true
				}
			}
			return false
		})
	})
	return found
}

// site is an uplink running against a real mosquitto, with its fakes.
type site struct {
	*Uplink
	store *memory
	cloud *cloud
	mqtt  *mqtttest.Mosquitto
	stop  func() // ends Serve and waits for it
}

// startSite starts broker, cloud and uplink. prepare, which may be nil, runs
// before the uplink starts.
func startSite(t testing.TB, prepare func(*site)) *site {
	t.Helper()
	m := mqtttest.StartMosquitto(t)
	s := &site{store: newMemory(), mqtt: m, cloud: startCloud(t, m)}
	s.Uplink = &Uplink{Agent: testAgent, Boot: "boot1", Version: "1.0-test", Store: s.store,
		Link: mqttlink.Options{URL: m.URL, TLS: m.Agents.ClientTLS(t, string(testAgent), m.Cloud)}}
	if prepare != nil {
		prepare(s)
	}
	s.stop = run(t, s.Uplink)
	eventually(t, "the site's connection", func() bool { return s.Status().Connected })
	return s
}

func run(t testing.TB, u *Uplink) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Serve(ctx) }()
	stop = sync.OnceFunc(func() {
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
	t.Cleanup(stop)
	return stop
}

// strangerTLS is a client certificate that no broker here knows.
func strangerTLS(t testing.TB, m *mqtttest.Mosquitto) func() (*tls.Config, error) {
	return mqtttest.NewCA(t, "stranger").ClientTLS(t, string(testAgent), m.Cloud)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited 10 s for %s", what)
}

// said returns the hellos so far.
func (c *cloud) said() []wire.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]wire.Hello(nil), c.hellos...)
}
