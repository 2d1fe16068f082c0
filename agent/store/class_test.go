package store

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

var aPermit = permit{id: hotspot.PermitID(hotspot.NewID(noon)), account: hotspot.AccountID(hotspot.NewID(noon)), pass: hotspot.PassID(hotspot.NewID(noon)),
	nas: "router1", at: noon.Add(123 * time.Millisecond)}

func TestAClassCarriesItsPermitAndNothingElseOpens(t *testing.T) {
	key := newClassKey(bytes.Repeat([]byte{7}, 32))
	class := sealClass(key, aPermit)
	if got, ok := openClass(key, class); !ok || got != aPermit {
		t.Errorf("got %+v, %v; want %+v", got, ok, aPermit)
	}
	if len(class) >= 120 {
		t.Errorf("a Class of %d octets, want below 120", len(class))
	}
	for n := range class {
		if _, ok := openClass(key, class[:n]); ok {
			t.Errorf("cut to %d octets it opened", n)
		}
		for bit := range 8 {
			forged := bytes.Clone(class)
			forged[n] ^= 1 << bit
			if _, ok := openClass(key, forged); ok {
				t.Errorf("with bit %d of octet %d turned it opened", bit, n)
			}
		}
	}
	if _, ok := openClass(key, append(bytes.Clone(class), 0)); ok {
		t.Error("with an octet more it opened")
	}
	if _, ok := openClass(newClassKey(bytes.Repeat([]byte{8}, 32)), class); ok {
		t.Error("it opened with another box's key")
	}
}

func TestAPermitThatDoesNotFitHasNoClass(t *testing.T) {
	for _, n := range []int{200, 300} {
		p := aPermit
		p.account = hotspot.AccountID(strings.Repeat("a", n))
		if got := sealClass(newClassKey(make([]byte, 32)), p); got != nil {
			t.Errorf("an account id of %d octets gave a Class of %d", n, len(got))
		}
	}
	s := newSite(t)
	s.LearnNAS(hotspot.NASMemory{NAS: nas, EchoesClass: true})
	long := strings.Repeat("x", 230)
	s.cloud.guest(long, "hello", hotspot.Limits{})
	s.start()
	v := s.mustLogin(long, "hello", phone)
	if len(v.Class) != tokenBytes {
		t.Fatalf("a Class of %d octets, want a token of %d", len(v.Class), tokenBytes)
	}
	s.play(v, rec{kind: start})
	if got := s.only(); got.Permit != v.Permit {
		t.Errorf("the token led to %+v, want permit %s", got, v.Permit)
	}
}

// TestAForgedClassIsKeptAndNotBilled covers what openClass refuses, and what it
// opens for another NAS, as records.
func TestAForgedClassIsKeptAndNotBilled(t *testing.T) {
	other, err := secret.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(s *site, a *hotspot.Accounting){
		"one bit turned": func(_ *site, a *hotspot.Accounting) { a.Class[20] ^= 1 },
		"cut short":      func(_ *site, a *hotspot.Accounting) { a.Class = a.Class[:40] },
		"cut to a token": func(_ *site, a *hotspot.Accounting) { a.Class = a.Class[:tokenBytes] },
		"one octet":      func(_ *site, a *hotspot.Accounting) { a.Class = []byte{classVersion} },
		"of another NAS": func(_ *site, a *hotspot.Accounting) { a.NAS = "nas2" },
		"of another box": func(_ *site, a *hotspot.Accounting) {
			a.Class = sealClass(newClassKey(other.Derive("class v1")), aPermit)
		},
		"of 253 random octets": func(_ *site, a *hotspot.Accounting) { a.Class = bytes.Repeat([]byte{1}, classBound) },
	} {
		t.Run(name, func(t *testing.T) {
			s := cafe(t)
			v := s.mustLogin("bob", "hello", phone)
			for i, kind := range []hotspot.AccountingKind{start, interim, stop} {
				a := s.record(kind, v, phone, 60*i, 1000*i, 0)
				a.Class = bytes.Clone(a.Class)
				a.AcctSessionID = "80000099" // the Access-Request's own would lead to its row
				change(s, &a)
				s.account(a)
				s.clock.Add(time.Minute)
			}
			if got := s.only(); got.Permit != "" || got.Account != "" || got.Pass != "" || got.State != hotspot.Closed || got.Upload != 2000 {
				t.Errorf("got %+v, want a closed session of nobody with its figures", got)
			}
			if u := s.usage("p-bob"); u.Upload != 0 || u.Time != 0 {
				t.Errorf("billed %+v", u)
			}
		})
	}
}

// TestTokensOfBeforeStillLeadToTheirPermit is the upgrade: routers have sessions
// on whose Class is a token of the version before.
func TestTokensOfBeforeStillLeadToTheirPermit(t *testing.T) {
	s := cafe(t)
	token := bytes.Repeat([]byte{9}, tokenBytes)
	s.must(s.do(t.Context(), func(t *tx) error {
		return t.storePermit(hotspot.Request{NAS: nas, AcctSessionID: "80000001", Username: "bob", MAC: phone}, token,
			permit{id: "old", account: "a-bob", pass: "p-bob", nas: nas, at: noon})
	}))
	for _, st := range []rec{{kind: start}, {wait: time.Minute, kind: interim, seconds: 60, up: 7}, {wait: time.Minute, kind: stop, seconds: 120, up: 9}} {
		s.play(hotspot.Verdict{Class: token}, st)
	}
	if got := s.only(); got.Permit != "old" || got.Upload != 9 || got.State != hotspot.Closed {
		t.Errorf("got %+v", got)
	}
	if u := s.usage("p-bob"); u.Upload != 9 || u.Time != 2*time.Minute {
		t.Errorf("usage %+v", u)
	}
}

func TestAnOldClassDoesNotBillAgainOnceItsSessionIsDropped(t *testing.T) {
	s := cafe(t)
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.play(v, rec{wait: time.Minute, kind: stop, seconds: 60, up: 5})
	s.clock.Add(sessionsKept + time.Hour)
	s.must(s.Sweep(t.Context()))
	s.play(v, rec{kind: stop, seconds: 60, up: 5})
	if got := s.only(); got.Permit != "" || got.Pass != "" {
		t.Errorf("got %+v, want a session of nobody", got)
	}
	if u := s.usage("p-bob"); u.Upload != 5 || u.Time != time.Minute {
		t.Errorf("usage %+v, want what it was", u)
	}
}

func TestWhatIsLearntOfANASLasts(t *testing.T) {
	s := cafe(t)
	settled := func() []hotspot.NASMemory {
		t.Helper()
		s.must(s.do(t.Context(), func(*tx) error { return nil }))
		got, err := s.KnownNASes(t.Context())
		s.must(err)
		return got
	}
	if got := settled(); len(got) != 0 {
		t.Errorf("known from the start: %+v", got)
	}
	s.LearnNAS(hotspot.NASMemory{NAS: "nas2", SignsReplies: true})
	s.LearnNAS(hotspot.NASMemory{NAS: nas, SignsRequests: true})
	settled()
	v := s.mustLogin("bob", "hello", phone)
	s.play(v, rec{kind: start, class: "other"})
	want := []hotspot.NASMemory{{NAS: nas, SignsRequests: true}, {NAS: "nas2", SignsReplies: true}}
	if got := settled(); !slices.Equal(got, want) {
		t.Errorf("after a forged Class: got %+v, want %+v", got, want)
	}
	s.play(v, rec{kind: start})
	s.LearnNAS(hotspot.NASMemory{NAS: nas}) // takes nothing back
	want[0].EchoesClass = true
	if got := settled(); !slices.Equal(got, want) {
		t.Errorf("after its own Class: got %+v, want %+v", got, want)
	}
	s.reopen()
	if got := settled(); !slices.Equal(got, want) {
		t.Errorf("after a restart: got %+v, want %+v", got, want)
	}
}

// TestWhatAFullQueueHadNoRoomForIsLearntAllTheSame: a NAS that signs is learnt from
// once, and must not fall back after a restart because the box was busy then.
func TestWhatAFullQueueHadNoRoomForIsLearntAllTheSame(t *testing.T) {
	s := cafe(t)
	gate, entered := make(chan struct{}), make(chan struct{})
	s.enqueue(func(*tx) error { close(entered); <-gate; return nil })
	<-entered
	for len(s.ops) < cap(s.ops) {
		s.enqueue(func(*tx) error { return nil })
	}
	s.LearnNAS(hotspot.NASMemory{NAS: nas, SignsRequests: true})
	close(gate)
	s.must(s.do(t.Context(), func(*tx) error { return nil }))
	if got, err := s.KnownNASes(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("got %+v, %v: the queue was not full", got, err)
	}
	s.must(s.Sweep(t.Context()))
	if n := len(s.nases.owed); n != 0 {
		t.Errorf("%d are still to be written", n)
	}
	s.reopen()
	if got, err := s.KnownNASes(t.Context()); err != nil || !slices.Equal(got, []hotspot.NASMemory{{NAS: nas, SignsRequests: true}}) {
		t.Errorf("after a restart: got %+v, %v", got, err)
	}
}

// TestANASThatStopsEchoingIsStillBilled: what was learnt is not unlearnt, but
// from the first Start without Class on permits have rows again.
func TestANASThatStopsEchoingIsStillBilled(t *testing.T) {
	s := cafe(t)
	s.play(s.mustLogin("bob", "hello", phone), rec{kind: start})
	s.must(s.do(t.Context(), func(*tx) error { return nil }))
	rows := func() (n int) {
		s.must(s.query(t.Context(), "count", "SELECT COUNT(*) FROM permit", nil, func(scan func(...any) error) error { return scan(&n) }))
		return n
	}
	before := rows()
	s.play(s.mustLogin("bob", "hello", laptop), rec{kind: start, mac: laptop, class: "none"})
	if got := rows(); got != before {
		t.Errorf("%d permits have rows, want %d: the NAS echoes", got, before)
	}
	s.clock.Add(10 * time.Minute)
	v := s.mustLogin("bob", "hello", laptop)
	s.play(v, rec{kind: start, mac: laptop, class: "none"})
	s.play(v, rec{wait: time.Minute, kind: interim, seconds: 60, up: 5, mac: laptop, class: "none"})
	if u := s.usage("p-bob"); u.Upload != 5 {
		t.Errorf("usage %+v, want the laptop's", u)
	}
	known, err := s.KnownNASes(t.Context())
	if err != nil || len(known) != 1 || !known[0].EchoesClass {
		t.Errorf("known %+v, %v; want it never unlearnt", known, err)
	}
	s.play(v, rec{wait: time.Minute, kind: interim, seconds: 120, up: 6, mac: laptop}) // it echoes again
	before = rows()
	s.mustLogin("bob", "hello", phone)
	if got := rows(); got != before {
		t.Errorf("%d permits have rows, want %d", got, before)
	}
}

func FuzzOpenClass(f *testing.F) {
	key := newClassKey(make([]byte, 32))
	f.Add([]byte(nil))
	f.Add(sealClass(key, aPermit))
	f.Add(bytes.Repeat([]byte{classVersion}, classBound))
	f.Add(append([]byte{classVersion, 0, 0, 0, 0, 0, 0, 255}, make([]byte, 260)...)) // a length octet at its end
	f.Fuzz(func(t *testing.T, class []byte) {
		// Signed, so that the parser behind the authenticator is reached too.
		for _, c := range [][]byte{class, key.seal(bytes.Clone(class))} {
			if p, ok := openClass(key, c); ok {
				if again := sealClass(key, p); again != nil && !bytes.Equal(again, c) {
					t.Errorf("%x opened as %+v, which seals as %x", c, p, again)
				}
			}
		}
	})
}

func TestFactsCarryTheSitesZone(t *testing.T) {
	s := cafe(t)
	for _, tc := range []struct{ zone, want string }{{"Africa/Cairo", "Africa/Cairo"}, {"Nowhere/At All", ""}, {"", ""}} {
		s.cloud.put(wire.DocSite, "s1", wire.SiteDoc{Name: "Blue Cup", TimeZone: tc.zone})
		s.apply()
		for _, name := range []string{"bob", "nobody"} {
			got := ""
			if f := s.facts(name); f.Location != nil {
				got = f.Location.String()
			}
			if got != tc.want {
				t.Errorf("zone %q, %s: got %q, want %q", tc.zone, name, got, tc.want)
			}
		}
	}
}
