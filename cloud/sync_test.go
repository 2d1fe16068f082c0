package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"iwas/cloud/fleet"
	"iwas/cloud/ingest"
	"iwas/cloud/store"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// bench is store, fleet and ingest as they are wired, with a broker that loses
// and repeats messages, and a box that is the contract in its shortest form.
type bench struct {
	*testing.T
	db     *store.DB
	fleet  *fleet.Fleet
	ingest *ingest.Handler
	ca     *fleet.CA
	owner  hotspot.Operator
	site   hotspot.Site
	plan   hotspot.Plan
	box    *box

	mu   sync.Mutex
	dice *rand.Rand // guarded by mu
	loss float64    // of messages, each way; as many come twice
}

// box is a site: what it holds, and its log.
type box struct {
	b     *bench
	agent hotspot.AgentID
	down  chan func() // what came down, in order

	lineage string // all below belong to live
	rev     int64
	docs    map[wire.DocRef]wire.Doc
	staged  map[int]wire.State
	events  []wire.Event
	acked   int64
	locked  map[string]int64 // lock document → revision proven
	proofs  []wire.LockProof
}

func (b *bench) lossy(deliver func()) {
	b.mu.Lock()
	throw := b.dice.Float64()
	b.mu.Unlock()
	switch {
	case throw < b.loss:
	case throw < 2*b.loss:
		deliver()
		deliver()
	default:
		deliver()
	}
}

// publish is the broker on the cloud's side.
func (b *bench) publish(topic string, payload []byte, _ bool) error {
	agent, channel, err := wire.ParseTopic(topic)
	if err != nil || b.box == nil || agent != b.box.agent {
		return err
	}
	b.lossy(func() {
		select {
		case b.box.down <- func() { b.box.take(channel, payload) }:
		default: // a queue has a bound
		}
	})
	return nil
}

func (x *box) take(channel wire.Channel, payload []byte) {
	switch channel {
	case wire.DownAck:
		var a wire.Ack
		x.b.must(wire.Decode(payload, &a))
		x.acked = a.Through
	case wire.DownState:
		var s wire.State
		x.b.must(wire.Decode(payload, &s))
		if x.apply(s) {
			x.hello()
		}
	}
}

// apply returns whether a hello is due.
func (x *box) apply(s wire.State) bool {
	if s.Snapshot == "" {
		if s.Lineage != x.lineage || s.From != x.rev {
			return true
		}
		for _, d := range s.Docs {
			x.docs[wire.DocRef{Kind: d.Kind, ID: d.ID}] = d
		}
		for _, ref := range s.Gone {
			delete(x.docs, ref)
		}
	} else {
		if len(x.staged) > 0 && x.staged[anyKey(x.staged)].Snapshot != s.Snapshot {
			x.staged = nil
		}
		if x.staged == nil {
			x.staged = map[int]wire.State{}
		}
		if x.staged[s.Part] = s; len(x.staged) < s.Parts {
			return false
		}
		x.docs = map[wire.DocRef]wire.Doc{}
		for _, part := range x.staged {
			for _, d := range part.Docs {
				x.docs[wire.DocRef{Kind: d.Kind, ID: d.ID}] = d
			}
		}
		x.staged = nil
	}
	x.lineage, x.rev = s.Lineage, s.To
	if got := x.hash(); got != s.Hash {
		x.b.Errorf("at revision %d: got hash %s, want %s", s.To, got, s.Hash)
	}
	for ref, d := range x.docs { // off at once, as a good router does it
		if ref.Kind == wire.DocLock && x.locked[ref.ID] != d.Rev {
			x.locked[ref.ID] = d.Rev
			p := wire.LockProof{Account: hotspot.AccountID(ref.ID), Revision: d.Rev, Reason: hotspot.OffLocked, Outcome: hotspot.OutcomeEnforced, ReceivedAt: time.Now(), At: time.Now()}
			x.event(wire.EventLockProof, p)
			x.proofs = append(x.proofs, p)
		}
	}
	return true
}

func anyKey(m map[int]wire.State) int {
	for k := range m {
		return k
	}
	return 0
}

func (x *box) hash() string {
	var h wire.SetHash
	for _, d := range x.docs {
		h.Add(d)
	}
	return h.String()
}

func (x *box) event(kind wire.EventKind, body any) {
	text, err := json.Marshal(body)
	x.b.must(err)
	x.events = append(x.events, wire.Event{ID: hotspot.NewID(time.Now()), Kind: kind, At: time.Now().UTC(), Body: text})
}

func (x *box) hello() {
	h := wire.Hello{V: wire.Version, Boot: "b1", Epoch: "e1", LastSeq: int64(len(x.events)), AckedSeq: x.acked, Lineage: x.lineage, Revision: x.rev, Hash: x.hash(), At: time.Now(), Proofs: x.proofs}
	if len(h.Proofs) > 5 {
		h.Proofs = h.Proofs[len(h.Proofs)-5:]
	}
	x.up(wire.UpHello, h)
}

func (x *box) up(c wire.Channel, message any) {
	payload, err := wire.Encode(message)
	x.b.must(err)
	x.b.lossy(func() {
		if c == wire.UpEvents {
			x.b.ingest.Handle(x.b.Context(), x.agent, payload)
		} else {
			x.b.fleet.HandleHello(x.b.Context(), x.agent, payload)
		}
	})
}

// live runs the box until ctx ends: events every half second while there are
// any, a hello every minute, and a guest who uses data.
func (x *box) live(ctx context.Context) {
	minute, half := time.NewTicker(time.Minute), time.NewTicker(500*time.Millisecond)
	defer minute.Stop()
	defer half.Stop()
	x.hello()
	for used := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case f := <-x.down:
			f()
		case <-minute.C:
			x.hello()
		case <-half.C:
			if len(x.events) < 400 {
				used++
				x.event(wire.EventSessionUsage, wire.SessionBody{ID: hotspot.SessionID(fmt.Sprint("s", used%3)), NAS: "r1", StartedAt: time.Now(), HeardAt: time.Now(), TimeMS: used * 1000, Upload: uint64(used), State: hotspot.Live})
			}
			if n := int64(len(x.events)); x.acked < n {
				chain := ""
				for _, e := range x.events[:x.acked] {
					chain = wire.NextChain(chain, e)
				}
				x.up(wire.UpEvents, wire.Batch{V: wire.Version, Epoch: "e1", First: x.acked + 1, Chain: chain, Events: x.events[x.acked:min(n, x.acked+20)]})
			}
		}
	}
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func newBench(t *testing.T, seed uint64) *bench {
	b := &bench{T: t, dice: rand.New(rand.NewPCG(seed, 1))}
	dir := t.TempDir()
	key, err := secret.NewKey()
	b.must(err)
	b.db, err = store.Open(t.Context(), store.Options{URL: "sqlite://" + dir + "/cloud.db", Key: key})
	b.must(err)
	b.ca, err = fleet.LoadCA(dir+"/ca", nil)
	b.must(err)
	b.fleet, err = fleet.New(t.Context(), fleet.Options{Store: b.db, Publish: b.publish, CA: b.ca, SealKey: key.Public(), MQTTURL: "tls://cloud.test:8883", Alone: true})
	b.must(err)
	b.ingest = &ingest.Handler{Store: b.db, Publish: b.publish}
	b.owner, err = b.db.EnsureOwner(t.Context(), "Blue Cafe", "owner@example.org", "hash")
	b.must(err)
	b.plan, err = b.fleet.CreatePlan(t.Context(), b.owner, hotspot.Plan{Name: "Hour", Limits: hotspot.Limits{Time: time.Hour}})
	b.must(err)
	b.site, err = b.fleet.CreateSite(t.Context(), b.owner, hotspot.Site{Name: "Main St", Currency: "EGP"})
	b.must(err)
	b.box = &box{b: b, agent: b.enrol(), down: make(chan func(), 256), docs: map[wire.DocRef]wire.Doc{}, locked: map[string]int64{}}
	return b
}

// enrol goes through the door, as a new box does.
func (b *bench) enrol() hotspot.AgentID {
	b.Helper()
	code, _, err := b.fleet.NewEnrolmentCode(b.Context(), b.owner, b.site.ID)
	b.must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	b.must(err)
	csr, err := x509.CreateCertificateRequest(crand.Reader, &x509.CertificateRequest{}, key)
	b.must(err)
	seal, err := secret.NewKey()
	b.must(err)
	body, err := json.Marshal(wire.EnrolRequest{V: wire.Version, Code: code, Request: "r1", SealKey: seal.Public().String(), At: time.Now(),
		CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))})
	b.must(err)
	var reply wire.EnrolReply
	for i := range 2 { // the first answer gets lost
		w := httptest.NewRecorder()
		b.fleet.Door().ServeHTTP(w, httptest.NewRequest("POST", wire.PathEnrol, bytes.NewReader(body)))
		again := reply.Agent
		b.must(json.Unmarshal(w.Body.Bytes(), &reply))
		if w.Code != 200 || i == 1 && reply.Agent != again {
			b.Fatalf("got %d %s, want the same identity twice", w.Code, w.Body)
		}
	}
	b.must(b.fleet.ConfirmAgent(b.Context(), b.owner, hotspot.AgentID(reply.Agent)))
	return hotspot.AgentID(reply.Agent)
}

// With a third of all messages lost or doubled, each way, the site ends with
// the cloud's set, every lock is proven, and every event is stored once.
func TestBothSidesAgreeWhateverGetsLost(t *testing.T) {
	// The codec's tables are made at the first long message, here: what a bubble
	// makes, the next one may not use.
	long, err := wire.Encode(wire.Ack{Epoch: strings.Repeat("e", 1000)})
	if err == nil {
		err = wire.Decode(long, &wire.Ack{})
	}
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, seed)
				b.loss = 0.17
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { _ = b.fleet.Serve(ctx) })
				running.Go(func() { _ = b.ingest.Serve(ctx) })
				running.Go(func() { b.box.live(ctx) })
				accounts := b.hurry()
				// Hellos come every minute: after ten of them all has been said.
				time.Sleep(15 * time.Minute)
				cancel()
				running.Wait()
				b.compare(accounts)
				b.must(b.db.Close())
			})
		})
	}
}

// hurry makes changes at random for a while.
func (b *bench) hurry() (accounts []hotspot.AccountID) {
	for i := range 120 {
		b.mu.Lock()
		throw, pick, pause := b.dice.IntN(10), b.dice.IntN(1000), b.dice.IntN(800)
		b.mu.Unlock()
		switch {
		case throw < 4 || len(accounts) == 0:
			g, _, err := b.fleet.CreateAccount(b.Context(), b.owner, hotspot.NewAccount{Site: b.site.ID, Kind: hotspot.User, Username: fmt.Sprint("u", i), Plan: b.plan.ID})
			b.must(err)
			accounts = append(accounts, g.Account.ID)
		case throw < 8:
			_, err := b.fleet.Lock(b.Context(), b.owner, accounts[pick%len(accounts)], "loud")
			b.must(err)
		default:
			_, err := b.fleet.Unlock(b.Context(), b.owner, accounts[pick%len(accounts)], "")
			b.must(err)
		}
		time.Sleep(time.Duration(pause) * time.Millisecond) // in the bubble this costs no time
	}
	return accounts
}

func (b *bench) compare(accounts []hotspot.AccountID) {
	lineage, rev, hash, err := b.db.Wanted(context.Background(), b.site.ID)
	b.must(err)
	x := b.box
	if x.lineage != lineage || x.rev != rev || x.hash() != hash {
		b.Errorf("got the site at revision %d of %s, want %d of %s, with the same hash", x.rev, x.lineage, rev, lineage)
	}
	locked := 0
	for _, id := range accounts {
		g, err := b.db.Guest(context.Background(), b.owner.Organization, id)
		b.must(err)
		if g.Lock.State != hotspot.LockNone && g.Lock.State != hotspot.LockEnforced {
			b.Errorf("got lock %s, want it enforced: %+v", g.Lock.State, g.Lock.Steps)
		}
		if g.Lock.State == hotspot.LockEnforced {
			locked++
		}
	}
	through, err := b.db.Mark(context.Background(), b.site.ID, "e1")
	b.must(err)
	if through != int64(len(x.events)) || x.acked != through {
		b.Errorf("got %d of %d events stored, %d acknowledged", through, len(x.events), x.acked)
	}
	sessions, err := b.db.Sessions(context.Background(), b.owner.Organization, b.site.ID, true, 10)
	b.must(err)
	if len(sessions) != 3 || locked == 0 {
		b.Errorf("got %d sessions and %d locks, want 3 and some", len(sessions), locked)
	}
	b.Logf("revision %d, %d documents, %d locks, %d events; batches %v", rev, len(x.docs), locked, through, b.ingest.Counts()[x.agent])
}
