package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

var (
	noon   = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	phone  = hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 1}
	laptop = hotspot.MAC{0xaa, 0xbb, 0xcc, 0, 0, 2}
)

const nas = hotspot.NASID("nas1")

// clock is a wall clock that tests move.
type clock struct {
	mu  sync.Mutex
	at  time.Time
	set time.Duration // by how much the date was set so far
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) Add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

// Set moves the date alone, as somebody who sets it.
func (c *clock) Set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.set = c.at.Add(d), c.set+d
}

func (c *clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.Sub(noon) - c.set
}

// site is a store on a real file with a cloud above it and a clock beside it.
type site struct {
	*DB
	t     testing.TB
	cloud *cloud
	clock *clock
	o     Options

	mu      sync.Mutex
	refused map[hotspot.AccountID]uint64 // what BeforeRefusal was told last
	shut    map[hotspot.MAC]uint64       // likewise, of devices
}

// freshFile is a database of the newest schema that nobody has opened yet. Every step
// of the schema costs a transaction, and some tests open hundreds.
var freshFile = sync.OnceValue(func() []byte {
	dir, err := os.MkdirTemp("", "iwas-store")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "fresh.db")
	db, err := open(path, "_txlock=immediate")
	if err == nil {
		err = errors.Join(migrate(context.Background(), db), db.Close())
	}
	b, readErr := os.ReadFile(path)
	if err = errors.Join(err, readErr); err != nil {
		panic(err)
	}
	return b
})

func newSite(t testing.TB) *site {
	t.Helper()
	key, err := secret.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, clock: &clock{at: noon}, refused: map[hotspot.AccountID]uint64{}, shut: map[hotspot.MAC]uint64{}}
	s.cloud = &cloud{t: t, key: key.Public(), lineage: "l1", docs: map[wire.DocRef]wire.Doc{}}
	s.o = Options{Path: filepath.Join(t.TempDir(), "site.db"), Key: key, Decide: judge, Off: off, Now: s.clock.Now, Elapsed: s.clock.Elapsed,
		BeforeRefusal: func(accounts []hotspot.AccountID, devices []hotspot.MAC, serial uint64) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, a := range accounts {
				s.refused[a] = serial
			}
			for _, m := range devices {
				s.shut[m] = serial
			}
		}}
	s.must(os.WriteFile(s.o.Path, freshFile(), 0o600))
	s.open()
	t.Cleanup(func() {
		if !t.Failed() {
			s.sameOnline()
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func (s *site) open() {
	s.t.Helper()
	db, err := Open(context.Background(), s.o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.DB = db
}

// reopen is a stop and a start of the program.
func (s *site) reopen() {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// apply sends the cloud's changes down and fails the test if they do not apply.
func (s *site) apply() {
	s.t.Helper()
	s.must(s.send(s.cloud.delta()))
}

func (s *site) send(st wire.State) error {
	s.sameOnline() // and so before it
	applied, err := s.ApplyState(s.t.Context(), st)
	if err == nil && !applied {
		return errors.New("not applied")
	}
	if err == nil && st.Snapshot != "" {
		_, err = s.BringState(s.t.Context())
	}
	return err
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// login asks for access as a page login does.
func (s *site) login(name, password string, mac hotspot.MAC) hotspot.Verdict {
	s.t.Helper()
	v, err := s.Authorize(context.Background(), hotspot.Request{NAS: nas, Username: name, MAC: mac, At: s.clock.Now(), AcctSessionID: "80000001",
		Credential: hotspot.Credential{Kind: hotspot.Clear, Clear: hotspot.Password(password)}})
	s.must(err)
	if v.Accept {
		v.Departures.Left(s.clock.Now())
	}
	return v
}

func (s *site) mustLogin(name, password string, mac hotspot.MAC) hotspot.Verdict {
	s.t.Helper()
	v := s.login(name, password, mac)
	if !v.Accept {
		s.t.Fatalf("login of %s: got refusal %q, want accept", name, v.Reason)
	}
	return v
}

// record is an accounting record of a verdict's session, now.
func (s *site) record(kind hotspot.AccountingKind, v hotspot.Verdict, mac hotspot.MAC, seconds, up, down int) hotspot.Accounting {
	return hotspot.Accounting{Kind: kind, NAS: nas, AcctSessionID: "80000001", Class: v.Class, Username: "bob", MAC: mac,
		SessionTime: time.Duration(seconds) * time.Second, Upload: hotspot.Octets(up), Download: hotspot.Octets(down), At: s.clock.Now()}
}

func (s *site) account(a hotspot.Accounting) {
	s.t.Helper()
	s.must(s.Account(context.Background(), a))
}

// events returns the whole log, checked: no gap, every chain value right.
func (s *site) events() []wire.Event {
	s.t.Helper()
	b, err := s.Events(s.t.Context(), 0, 1<<20, 1<<30)
	s.must(err)
	h, err := s.Standing(s.t.Context())
	s.must(err)
	if int64(len(b.Events)) != h.LastSeq {
		s.t.Fatalf("%d events, last sequence %d", len(b.Events), h.LastSeq)
	}
	return b.Events
}

// kinds is the log in short.
func (s *site) kinds() (out []wire.EventKind) {
	for _, e := range s.events() {
		out = append(out, e.Kind)
	}
	return out
}

func (s *site) usage(id hotspot.PassID) (u hotspot.Usage) {
	s.t.Helper()
	s.must(s.do(s.t.Context(), func(t *tx) error {
		p, err := t.pass(id)
		if err == nil && p != nil {
			u = p.Usage
		}
		return err
	}))
	return u
}

// facts are those the next Access-Request of the name is judged by.
func (s *site) facts(name string) (f hotspot.Facts) {
	s.t.Helper()
	decide := s.o.Decide
	defer func() { s.DB.o.Decide = decide }()
	s.DB.o.Decide = func(known hotspot.Facts, _ hotspot.Request) hotspot.Verdict {
		f = known
		return hotspot.Verdict{}
	}
	_, err := s.Authorize(context.Background(), hotspot.Request{NAS: nas, Username: name})
	s.must(err)
	return f
}

func (s *site) only() hotspot.Session {
	s.t.Helper()
	all, err := s.Sessions(s.t.Context())
	s.must(err)
	if len(all) != 1 {
		s.t.Fatalf("%d sessions, want 1: %+v", len(all), all)
	}
	return all[0]
}

// cloud is the wanted state as a cloud keeps it: plain, and slow.
type cloud struct {
	t       testing.TB
	key     secret.PublicKey
	lineage string
	rev     int64
	sent    int64 // the newest revision put into a delta
	docs    map[wire.DocRef]wire.Doc
	changed []wire.Doc
	gone    []wire.DocRef
}

func (c *cloud) put(kind wire.DocKind, id string, body any) {
	c.t.Helper()
	b, raw := body.([]byte)
	if !raw {
		var err error
		if b, err = json.Marshal(body); err != nil {
			c.t.Fatal(err)
		}
	}
	c.rev++
	d := wire.Doc{Kind: kind, ID: id, Rev: c.rev, Body: b}
	c.docs[wire.DocRef{Kind: kind, ID: id}] = d
	c.changed = append(c.changed, d)
}

func (c *cloud) drop(kind wire.DocKind, id string) {
	c.rev++
	ref := wire.DocRef{Kind: kind, ID: id}
	delete(c.docs, ref)
	c.changed = slices.DeleteFunc(c.changed, func(d wire.Doc) bool { return d.Kind == kind && d.ID == id })
	c.gone = append(c.gone, ref)
}

func (c *cloud) hash() string {
	var h wire.SetHash
	for _, d := range c.docs {
		h.Add(d)
	}
	return h.String()
}

// delta is everything since the last delta or snapshot.
func (c *cloud) delta() wire.State {
	s := wire.State{V: wire.Version, Lineage: c.lineage, From: c.sent, To: c.rev, Docs: c.changed, Gone: c.gone, Hash: c.hash()}
	c.sent, c.changed, c.gone = c.rev, nil, nil
	return s
}

// snapshot is the whole set in parts of n documents.
func (c *cloud) snapshot(id string, n int) []wire.State {
	var docs []wire.Doc
	for _, d := range c.docs {
		docs = append(docs, d)
	}
	slices.SortFunc(docs, func(a, b wire.Doc) int { return int(a.Rev - b.Rev) })
	var parts []wire.State
	for chunk := range slices.Chunk(docs, n) {
		parts = append(parts, wire.State{Docs: chunk})
	}
	if len(parts) == 0 {
		parts = []wire.State{{}}
	}
	for i := range parts {
		p := &parts[i]
		p.V, p.Lineage, p.To, p.Hash, p.Snapshot, p.Part, p.Parts = wire.Version, c.lineage, c.rev, c.hash(), id, i+1, len(parts)
	}
	c.sent, c.changed, c.gone = c.rev, nil, nil
	return parts
}

// seal closes a password for the site.
func (c *cloud) seal(password string) string {
	sealed, err := c.key.Seal(password)
	if err != nil {
		c.t.Fatal(err)
	}
	return sealed
}

// guest adds a user with one pass: account a-NAME, pass p-NAME.
func (c *cloud) guest(name, password string, l hotspot.Limits) {
	c.t.Helper()
	c.put(wire.DocAccount, "a-"+name, wire.AccountDoc{Kind: hotspot.User, Username: name, Password: c.seal(password)})
	c.put(wire.DocPass, "p-"+name, wire.PassDoc{Account: hotspot.AccountID("a-" + name), PlanName: "Hour", Limits: wire.FromLimits(l), SoldAt: noon.Add(-time.Hour)})
}

func (c *cloud) lock(account string) {
	c.t.Helper()
	c.put(wire.DocLock, account, wire.LockDoc{By: "owner", Reason: "test", At: noon})
}

// start gives a site its first snapshot.
func (s *site) start() {
	s.t.Helper()
	if len(s.cloud.docs) == 0 {
		s.cloud.put(wire.DocSite, "s1", wire.SiteDoc{Name: "Blue Cup", Language: "en"})
	}
	for _, p := range s.cloud.snapshot(fmt.Sprint("start", s.cloud.rev), 100) {
		s.must(s.send(p))
	}
}

// judge and off are the rules in their shortest form: the store must hand over
// true facts and keep what follows, whatever the rules are.
func judge(f hotspot.Facts, r hotspot.Request) hotspot.Verdict {
	v := hotspot.Verdict{}
	if f.Device != nil {
		v.Reason = hotspot.ReasonDeviceLocked
		return v
	}
	if f.Account == nil {
		v.Reason = hotspot.ReasonUnknown
		return v
	}
	v.Account = f.Account.ID
	others := map[hotspot.MAC]bool{}
	for _, s := range f.Sessions {
		if s.MAC != r.MAC {
			others[s.MAC] = true
		}
	}
	switch {
	case f.Account.Kind == hotspot.User && !r.Credential.Matches(f.Password):
		v.Reason = hotspot.ReasonBadPassword
	case f.Lock != nil:
		v.Reason = hotspot.ReasonLocked
	case f.Pass == nil:
		v.Reason = hotspot.ReasonNoPass
	case off(f.Pass, nil, f.Now) != "":
		v.Reason = hotspot.ReasonTimeUsed
	case len(others) >= f.Pass.Limits.DevicesAtOnce():
		v.Reason = hotspot.ReasonTooManyDevices
	default:
		v.Accept, v.Pass, v.FirstUse = true, f.Pass.ID, f.Pass.Usage.FirstUsed.IsZero()
	}
	return v
}

func off(p *hotspot.Pass, l *hotspot.Lock, now time.Time) hotspot.OffReason {
	switch {
	case l != nil:
		return hotspot.OffLocked
	case p == nil || !p.ValidUntil.IsZero() && !now.Before(p.ValidUntil):
		return hotspot.OffNotValid
	case p.Limits.Time > 0 && p.Limits.Clock == hotspot.Metered && p.Usage.Time >= p.Limits.Time:
		return hotspot.OffTimeUsed
	case p.Limits.Total > 0 && p.Usage.Upload+p.Usage.Download >= p.Limits.Total:
		return hotspot.OffDataUsed
	}
	return ""
}
