package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	site  = hotspot.SiteID("site1")
	agent = hotspot.AgentID("agent0001")
)

// fakeStore is one site's wanted state as a list of revisions, each of which
// wrote one document. All but what a test sets is kept in memory.
type fakeStore struct {
	Store // what a test does not need panics

	mu         sync.Mutex
	lineage    string
	docs       []wire.Doc // docs[i] has revision i+1
	skew       bool       // the store's hash is one that no site will reach by deltas
	agents     map[hotspot.AgentID]hotspot.Agent
	marks      map[string]int64
	sent       map[int64]time.Time
	hellos     []wire.Hello
	presence   []wire.Presence
	proofs     int
	noDelta    bool
	unreceived []wire.Doc
	onCommit   func(hotspot.SiteID, hotspot.AgentID, wire.State)
	nobody     int
	commands   []hotspot.Command // due at the next look
	answers    []wire.CommandResult
	tries      map[string]hotspot.Tries
	triesErr   error
	copied     string // run of a second copy
	renewed    []string
	outages    []wire.Outage
	revoked    []hotspot.RevokedCertificate
	guesses    []string  // from where
	held       *position // what the agent said to another process; nil is nothing
}

func (s *fakeStore) hashAt(rev int64) string {
	var h wire.SetHash
	for _, d := range s.docs[:rev] {
		h.Add(d)
	}
	if s.skew {
		h[0]++
	}
	return h.String()
}

func (s *fakeStore) OnCommit(f func(hotspot.SiteID, hotspot.AgentID, wire.State)) { s.onCommit = f }

func (s *fakeStore) NobodyOnline(context.Context) error { s.nobody++; return nil }

// write adds a revision; its announcement is returned for the test to make.
func (s *fakeStore) write(kind wire.DocKind) (announce func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(len(s.docs))
	d := wire.Doc{Kind: kind, ID: fmt.Sprint("doc", n+1), Rev: n + 1, Body: json.RawMessage(`{}`)}
	s.docs = append(s.docs, d)
	st := wire.State{V: wire.Version, Lineage: s.lineage, From: n, To: n + 1, Docs: []wire.Doc{d}, Hash: s.hashAt(n + 1)}
	return func() { s.onCommit(site, agent, st) }
}

// large makes a change one that is too much for the fast path.
func large(st wire.State) wire.State {
	body := json.RawMessage(fmt.Sprintf("%q", strings.Repeat("x", deltaBytes)))
	st.Docs = append(st.Docs, wire.Doc{Kind: wire.DocAccount, ID: "large", Rev: st.To, Body: body})
	return st
}

func (s *fakeStore) Wanted(context.Context, hotspot.SiteID) (string, int64, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lineage, int64(len(s.docs)), s.hashAt(int64(len(s.docs))), nil
}

func (s *fakeStore) Held(context.Context, hotspot.AgentID) (hotspot.SiteID, string, int64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		return "", "", 0, false, fault.New(fault.NotFound, "no hello", nil)
	}
	return site, s.held.lineage, s.held.revision, true, nil
}

func (s *fakeStore) hold(p *position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = p
}

func (s *fakeStore) Delta(_ context.Context, _ hotspot.SiteID, lineage string, from int64) (wire.State, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := int64(len(s.docs))
	if lineage != s.lineage || from > to || s.noDelta {
		return wire.State{}, false, nil
	}
	return wire.State{V: wire.Version, Lineage: lineage, From: from, To: to, Docs: s.docs[from:], Hash: s.hashAt(to)}, true, nil
}

func (s *fakeStore) Snapshot(context.Context, hotspot.SiteID) ([]wire.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := int64(len(s.docs))
	half := len(s.docs) / 2
	whole := wire.State{V: wire.Version, Lineage: s.lineage, Snapshot: "snap", Parts: 2, To: to, Hash: s.hashAt(to)}
	one, two := whole, whole
	one.Part, one.Docs, two.Part, two.Docs = 1, s.docs[:half], 2, s.docs[half:]
	return []wire.State{one, two}, nil
}

// Pieces gives one document a piece, by revision; through says how many are there.
func (s *fakeStore) Pieces(_ context.Context, _ hotspot.SiteID, staged wire.Staged, most int) (pieces []wire.State, locks int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to, have := int64(len(s.docs)), 0
	_, _ = fmt.Sscan(staged.Through, &have) // nothing is 0
	after := staged.Through
	for len(pieces) < most {
		p := wire.State{V: wire.Version, Lineage: s.lineage, Snapshot: s.lineage + "-0", To: to, Hash: s.hashAt(to), After: after}
		if have < len(s.docs) {
			p.Docs = s.docs[have : have+1]
			have++
		}
		p.Through = fmt.Sprint(have)
		after, p.Whole = p.Through, have == len(s.docs)
		pieces = append(pieces, p)
		if p.Whole {
			break
		}
	}
	pieces[len(pieces)-1].Ask = true
	return pieces, int64(have), nil
}

func (s *fakeStore) Unreceived(context.Context, hotspot.SiteID) (wire.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := int64(len(s.docs))
	return wire.State{V: wire.Version, Lineage: s.lineage, From: to, To: to, Docs: s.unreceived}, nil
}

// notReceived are the locks that the site has not said it received.
func (s *fakeStore) notReceived(locks ...wire.Doc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unreceived = locks
}

func (s *fakeStore) sentAt(revision int64) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[revision]
}

func (s *fakeStore) MarkSent(_ context.Context, _ hotspot.SiteID, revision int64, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent == nil {
		s.sent = map[int64]time.Time{}
	}
	s.sent[revision] = at
	return nil
}

func (s *fakeStore) Agent(_ context.Context, id hotspot.AgentID) (hotspot.Agent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.agents[id]
	if !ok {
		return a, fault.New(fault.NotFound, "no agent", nil)
	}
	return a, nil
}

func (s *fakeStore) set(a hotspot.Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents[a.ID] = a
}

func (s *fakeStore) ConfirmAgent(_ context.Context, _ hotspot.Operator, id hotspot.AgentID) (hotspot.SiteID, []hotspot.AgentID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var retired []hotspot.AgentID
	for k, a := range s.agents {
		if k != id && a.RetiredAt.IsZero() {
			a.RetiredAt = time.Now()
			s.agents[k] = a
			retired = append(retired, k)
		}
	}
	a := s.agents[id]
	a.Confirmed = true
	s.agents[id] = a
	return site, retired, nil
}

func (s *fakeStore) RevokeAgent(_ context.Context, _ hotspot.Operator, id hotspot.AgentID) (hotspot.SiteID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[id]
	a.RetiredAt = time.Now()
	s.agents[id] = a
	return site, nil
}

func (s *fakeStore) LeaveAgent(_ context.Context, id hotspot.AgentID) (hotspot.SiteID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[id]
	a.RetiredAt, a.LeftAt = time.Now(), time.Now()
	s.agents[id] = a
	return site, nil
}

func (s *fakeStore) SetSpeed(context.Context, hotspot.Operator, hotspot.AccountID, hotspot.RateLimit) error {
	return nil
}

func (s *fakeStore) Extend(context.Context, hotspot.Operator, hotspot.AccountID, time.Duration, string) error {
	return nil
}

func (s *fakeStore) RecordHello(_ context.Context, _ hotspot.AgentID, h wire.Hello, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hellos = append(s.hellos, h)
	return nil
}

func (s *fakeStore) Speaks(_ context.Context, _ hotspot.AgentID, boot string, _ time.Time) (bool, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if boot == s.copied {
		return false, boot, nil
	}
	return true, "", nil
}

func (s *fakeStore) AgentSite(_ context.Context, id hotspot.AgentID) (hotspot.SiteID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.agents[id]
	switch {
	case !ok, !a.RetiredAt.IsZero():
		return "", fault.New(fault.Denied, "retired", nil).WithCode("CLD-103", "Enrol the box again.")
	case !a.Confirmed:
		return "", fault.New(fault.Denied, "not confirmed", nil).WithCode("CLD-110", "Confirm it.")
	}
	return a.Site, nil
}

func (s *fakeStore) Renew(_ context.Context, id hotspot.AgentID, certificate string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed = append(s.renewed, certificate)
	return nil
}

func (s *fakeStore) RecordOutage(_ context.Context, _ hotspot.AgentID, o wire.Outage, _ time.Time) (hotspot.SiteID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outages = append(s.outages, o)
	return site, nil
}

func (s *fakeStore) Revoked(context.Context) ([]hotspot.RevokedCertificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoked, nil
}

func (s *fakeStore) NoteWrongCode(_ context.Context, from string) ([]hotspot.SiteID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guesses = append(s.guesses, from)
	return []hotspot.SiteID{site}, nil
}

func (s *fakeStore) RecordPresence(_ context.Context, _ hotspot.AgentID, p wire.Presence, _ time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.presence); n > 0 && s.presence[n-1].Conn > p.Conn {
		return false, nil
	}
	s.presence = append(s.presence, p)
	return true, nil
}

func (s *fakeStore) ApplyProofs(_ context.Context, _ hotspot.AgentID, _ string, proofs []wire.LockProof) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proofs += len(proofs)
	return true, nil
}

func (s *fakeStore) AddCommand(_ context.Context, _ hotspot.Operator, c hotspot.Command, _ time.Duration) (hotspot.Command, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, c)
	return c, nil
}

func (s *fakeStore) DueCommands(context.Context) (due []wire.DueCommand, ended []hotspot.SiteID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		due = append(due, wire.DueCommand{Site: c.Site, Agent: agent, Command: wire.Command{V: wire.Version, ID: c.ID, Kind: wire.CommandKind(c.Kind), TTL: 1}})
	}
	s.commands = nil
	return due, nil, nil
}

func (s *fakeStore) ApplyCommands(_ context.Context, _ hotspot.AgentID, h wire.Hello) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, h.Commands...)
	return true, nil
}

func (s *fakeStore) ChangeTries(_ context.Context, keys []string, _ time.Duration, f func(map[string]hotspot.Tries)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries == nil {
		s.tries = map[string]hotspot.Tries{}
	}
	some := map[string]hotspot.Tries{}
	for _, k := range keys {
		if t, ok := s.tries[k]; ok {
			some[k] = t
		}
	}
	f(some)
	for _, k := range keys {
		if s.tries[k] = some[k]; some[k].Failed == 0 { // kept as the real one does
			delete(s.tries, k)
		}
	}
	return s.triesErr
}

func (s *fakeStore) Mark(_ context.Context, _ hotspot.SiteID, epoch string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marks[epoch], nil
}

// rig is a fleet with a fake store, a broker that only remembers, and a clock
// that costs nothing (testing/synctest).
type rig struct {
	*testing.T
	*Fleet
	store *fakeStore

	mu       sync.Mutex
	out      []string // what was published, in short
	states   []wire.State
	acks     []wire.Ack
	deaf     bool // the broker is away
	tried    int  // what it did not take
	kicked   []hotspot.AgentID
	notified int
}

func run(t *testing.T, f func(r *rig)) {
	t.Helper()
	ca, err := LoadCA(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	// What compresses is made with the first long message, and must not belong to a bubble.
	long, err := wire.Encode(wire.Presence{Reason: strings.Repeat("long", 1000)})
	if err == nil {
		err = wire.Decode(long, new(wire.Presence))
	}
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, store: &fakeStore{lineage: "l1", marks: map[string]int64{}, agents: map[hotspot.AgentID]hotspot.Agent{agent: {ID: agent, Site: site, Confirmed: true}}}}
		r.Fleet, err = New(t.Context(), Options{Store: r.store, CA: ca, Publish: r.publish, Alone: true,
			Kick:   func(a hotspot.AgentID) { r.lock(func() { r.kicked = append(r.kicked, a) }) },
			Notify: func(hotspot.SiteID) { r.lock(func() { r.notified++ }) }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Serve(ctx) }()
		f(r)
		cancel()
		<-done
	})
}

// pass lets time go by; in the bubble it costs none.
func (r *rig) pass(d time.Duration) { time.Sleep(d) }

func (r *rig) lock(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *rig) publish(topic string, payload []byte, retained bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	to, channel, err := wire.ParseTopic(topic)
	if err != nil || retained {
		r.Errorf("got %q, retained %v (%v)", topic, retained, err)
	}
	if r.deaf {
		r.tried++
		return fault.New(fault.Unavailable, "not connected", nil)
	}
	text := ""
	switch channel {
	case wire.DownState:
		var s wire.State
		if err := wire.Decode(payload, &s); err != nil {
			r.Error(err)
		}
		r.states = append(r.states, s)
		text = fmt.Sprintf("delta %d-%d", s.From, s.To)
		if s.Snapshot != "" {
			text = fmt.Sprintf("part %d/%d of %d", s.Part, s.Parts, s.To)
			if s.Through != "" {
				text = fmt.Sprintf("piece %s", s.Through)
			}
		}
	case wire.DownAck:
		var a wire.Ack
		if err := wire.Decode(payload, &a); err != nil {
			r.Error(err)
		}
		r.acks = append(r.acks, a)
		text = fmt.Sprintf("ack %d", a.Through)
	case wire.DownCommands:
		var c wire.Command
		if err := wire.Decode(payload, &c); err != nil {
			r.Error(err)
		}
		text = fmt.Sprintf("command %s %s", c.ID, c.Kind)
	}
	if to != agent {
		text += " to " + string(to)
	}
	r.out = append(r.out, text)
	return nil
}

// said returns what was published since the last call.
func (r *rig) said() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.out
	r.out = nil
	return out
}

func (r *rig) want(what string, want ...string) {
	r.Helper()
	if got := r.said(); fmt.Sprint(got) != fmt.Sprint(want) {
		r.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// hello says that the site holds a revision, with the hash that goes with it.
func (r *rig) hello(rev int64, change func(*wire.Hello)) {
	r.Helper()
	h := wire.Hello{V: wire.Version, Boot: "b1", Epoch: "e1", Lineage: "l1", Revision: rev}
	if rev <= int64(len(r.store.docs)) {
		h.Hash = r.store.hashAt(rev)
	}
	if change != nil {
		change(&h)
	}
	r.say(agent, wire.UpHello, h)
}

func (r *rig) say(from hotspot.AgentID, c wire.Channel, message any) {
	r.Helper()
	payload, err := wire.Encode(message)
	if err != nil {
		r.Fatal(err)
	}
	if c == wire.UpHello {
		r.HandleHello(r.Context(), from, payload)
	} else {
		r.HandlePresence(r.Context(), from, payload)
	}
	synctest.Wait()
}

func logTo(b *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
