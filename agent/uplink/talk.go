package uplink

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/mqttlink"
	"iwas/internal/wire"
)

// talk is the conversation of one run of Serve. All fields below the channels
// belong to the goroutine of talk.talk.
type talk struct {
	u    *Uplink
	log  *slog.Logger
	link *mqttlink.Link

	up       chan struct{} // capacity one: a connection came up
	hello    chan struct{} // capacity one: a hello is wanted
	whole    chan struct{} // capacity one: a snapshot may be whole
	acks     chan answer
	states   chan []byte // as received
	commands chan wire.Command
	told     atomic.Pointer[string] // key of the conditions in the last hello sent; nil before it

	mu      sync.Mutex           // guards repeats
	repeats []wire.CommandResult // answers to repeats, for the next hello

	epoch    string // of the store's log, as last seen
	cursor   int64  // newest event the cloud has, as last heard
	batch    *batch // in flight, or nil
	ahead    *batch // made ready to follow it, or nil
	refusals int    // answers in a row that did not move the cursor on
	timer    *time.Timer
	heardAt  time.Time // last acknowledgement, or when the connection came up
	proofs   map[proofID]bool
	answers  map[string]string // of commands in the last hello: id to state
	saidAt   time.Time         // last presence
}

// batch is what is in flight: one at a time (stop-and-wait; batches grow by
// themselves while one waits).
type batch struct {
	epoch       string
	first, last int64
	payload     []byte
	sentAt      time.Time
	tries       int
}

// answer is an acknowledgement with the time it came.
type answer struct {
	wire.Ack
	at time.Time
}

// proofID tells whether a proof has been sent ahead already.
type proofID struct {
	account  hotspot.AccountID
	revision int64
	outcome  hotspot.Outcome
	at       int64
}

func newTalk(u *Uplink) *talk {
	log := u.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t := &talk{u: u, log: log.With("agent", u.Agent),
		up: make(chan struct{}, 1), hello: make(chan struct{}, 1), whole: make(chan struct{}, 1), acks: make(chan answer, ackQueue),
		states: make(chan []byte, stateQueue), commands: make(chan wire.Command, commandQueue),
		timer: time.NewTimer(time.Hour)}
	t.timer.Stop()
	return t
}

// talk speaks until ctx ends.
func (t *talk) talk(ctx context.Context) {
	changed, cancel := t.u.Store.Changed()
	defer cancel()
	minute := time.NewTicker(helloEvery)
	defer minute.Stop()
	defer t.timer.Stop()
	t.standing(ctx) // for the status page, before there is any connection
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.up:
			t.connected(ctx)
		case <-changed:
			t.changed(ctx)
		case <-t.hello:
			t.sayHello(ctx)
		case a := <-t.acks:
			t.acknowledged(ctx, a)
		case <-minute.C:
			t.checkHearing()
			if time.Since(t.saidAt) >= presenceEvery {
				t.sayPresence(hotspot.Online, "")
			}
			t.sayHello(ctx)
		case <-t.timer.C:
			t.again(ctx)
		}
	}
}

// connected begins anew on a fresh connection: what was in flight on the old
// one counts as lost.
func (t *talk) connected(ctx context.Context) {
	t.batch, t.refusals, t.proofs, t.answers = nil, 0, nil, nil
	t.heardAt = time.Now()
	t.sayPresence(hotspot.Online, "")
	t.sayHello(ctx)
	t.sendEvents(ctx)
}

// changed follows a commit. A new proof goes first, in a hello: it must not
// stand behind a backlog of events.
func (t *talk) changed(ctx context.Context) {
	h, ok := t.standing(ctx)
	if !ok || !t.link.Connected() {
		return
	}
	if t.news(h) {
		t.publishHello(h)
	}
	if t.batch == nil {
		t.sendEvents(ctx)
	}
}

// news reports whether a proof or what became of a command is not told yet.
func (t *talk) news(h wire.Hello) bool {
	return slices.ContainsFunc(h.Proofs, func(p wire.LockProof) bool { return !t.proofs[idOf(p)] }) ||
		slices.ContainsFunc(h.Commands, func(r wire.CommandResult) bool { return t.answers[r.ID] != r.State })
}

// standing reads where the store is.
func (t *talk) standing(ctx context.Context) (wire.Hello, bool) {
	h, err := t.u.Store.Standing(ctx)
	if err != nil {
		t.fail(ctx, readingStore, "read where this site stands", err)
		return h, false
	}
	if h.Epoch != t.epoch { // the first read, a fork, a restored store
		t.epoch, t.cursor, t.batch = h.Epoch, h.AckedSeq, nil
	}
	t.u.note(func(s *Status) {
		s.LastSeq, s.AckedSeq, s.Backlog = h.LastSeq, h.AckedSeq, max(0, h.LastSeq-h.AckedSeq)
		s.Revision, s.NotInForce = h.Revision, len(h.NotInForce)
	})
	return h, true
}

func (t *talk) sayHello(ctx context.Context) {
	if !t.link.Connected() {
		return
	}
	if h, ok := t.standing(ctx); ok {
		t.publishHello(h)
	}
}

// publishHello completes what the store knows with what it cannot know.
func (t *talk) publishHello(h wire.Hello) {
	u := t.u
	h.V, h.Version, h.Boot, h.At = wire.Version, u.Version, u.Boot, u.now().UTC()
	h.ClockTrusted = u.ClockTrusted == nil || u.ClockTrusted()
	if u.RouterSeenAt != nil {
		h.RouterSeenAt = u.RouterSeenAt().UTC()
	}
	if u.Routers != nil {
		h.Routers = u.Routers()
	}
	if u.Conditions != nil {
		h.Conditions = u.Conditions()
	}
	h.Commands = append(h.Commands, t.repeated(h.Commands)...)
	if !t.publish(wire.UpHello, h, false) {
		return
	}
	told := keyOf(h.Conditions)
	t.told.Store(&told)
	t.proofs = make(map[proofID]bool, len(h.Proofs))
	for _, p := range h.Proofs {
		t.proofs[idOf(p)] = true
	}
	t.answers = make(map[string]string, len(h.Commands))
	for _, r := range h.Commands {
		t.answers[r.ID] = r.State
	}
}

// watchConditions asks for a hello when the open conditions are no longer those
// of the last one. Reading them may wait for the store, so it happens beside the
// conversation: no proof waits for it.
func (t *talk) watchConditions(ctx context.Context) {
	if t.u.Conditions == nil {
		return
	}
	look := time.NewTicker(conditionsEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			if told := t.told.Load(); told != nil && *told != keyOf(t.u.Conditions()) {
				poke(t.hello)
			}
		}
	}
}

// keyOf is equal for the same set of conditions, in whatever order.
func keyOf(open []wire.Condition) string {
	lines := make([]string, 0, len(open))
	for _, c := range open {
		lines = append(lines, c.Code+"\x00"+c.Severity+"\x00"+c.Text)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\x01")
}

func idOf(p wire.LockProof) proofID {
	return proofID{p.Account, p.Revision, p.Outcome, p.At.UnixNano()}
}

// presence makes the presence message; as a last will it is made before the
// connection is.
func (t *talk) presence(state hotspot.Presence, conn int64, reason string) mqttlink.Message {
	p := wire.Presence{V: wire.Version, State: state, Boot: t.u.Boot, Conn: conn, Reason: reason, At: t.u.now().UTC()}
	payload, err := wire.Encode(p)
	if err != nil {
		t.log.Error("uplink: presence", "err", err) // four short fields: cannot be
	}
	return mqttlink.Message{Topic: wire.Topic(t.u.Agent, wire.UpPresence), Payload: payload, Retained: true}
}

func (t *talk) sayPresence(state hotspot.Presence, reason string) {
	m := t.presence(state, t.link.Conn(), reason)
	if err := t.link.Publish(m.Topic, m.Payload, m.Retained); err != nil {
		t.log.Debug("uplink: presence not sent", "err", err)
		return
	}
	t.saidAt = time.Now()
}

// farewell tells the cloud that this is a planned stop, before the line ends.
func (t *talk) farewell() {
	if !t.link.Connected() {
		return
	}
	reason := "stopped"
	if t.u.StopReason != nil {
		reason = t.u.StopReason()
	}
	t.sayPresence(hotspot.Stopped, reason)
}

// checkHearing connects anew when everything looks fine but no batch is
// answered and nothing else is heard: a subscription the broker has forgotten.
func (t *talk) checkHearing() {
	if t.batch != nil && t.link.Connected() && time.Since(t.heardAt) > deafAfter {
		t.heardAt = time.Now()
		t.link.Drop(fault.New(fault.Unavailable, "uplink: connected, but the cloud has not answered for "+deafAfter.String(), nil).
			WithCode("CLD-101", "If the owner has not confirmed this box in the console yet, that is all that is missing. Else look at the cloud's log."))
	}
}

// publish encodes and sends; false when it did not leave.
func (t *talk) publish(c wire.Channel, message any, retained bool) bool {
	payload, err := wire.Encode(message)
	if err == nil {
		err = t.link.Publish(wire.Topic(t.u.Agent, c), payload, retained)
	}
	if err != nil {
		t.log.Warn("uplink: not sent", "channel", c, "err", err)
	}
	return err == nil
}

// part is a part of our own side that can be in trouble.
type part int

const (
	readingStore part = iota
	applyingState
	bringingState
	takingAcks
	keepingCommands
	parts
)

// fail notes trouble of our own side; ok takes it back.
func (t *talk) fail(ctx context.Context, p part, what string, err error) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	f := fault.New(fault.KindOf(err), "uplink: "+what, err)
	t.log.Error("uplink: "+what, "err", err, "kind", f.Kind.String())
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	t.u.trouble[p] = f
}

func (t *talk) ok(p part) {
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	t.u.trouble[p] = nil
}
