package fleet

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// codes is a store with enrolment codes only.
type codes struct {
	*fakeStore
	open   map[string]error // by hash: nil is good, else what is wrong with it
	offers int
}

func (c *codes) AddEnrolmentCode(_ context.Context, _ hotspot.Operator, _ hotspot.SiteID, hash []byte, _ time.Time) error {
	c.open[string(hash)] = nil
	return nil
}

func (c *codes) Offer(_ context.Context, hash []byte) (wire.EnrolOffer, error) {
	c.offers++
	err, known := c.open[string(hash)]
	if !known {
		err = fault.New(fault.NotFound, "no such code", nil).WithCode("CLD-201", "Check it.")
	}
	return wire.EnrolOffer{Organization: "Blue Cafe", Site: "Main St", SiteID: string(site)}, err
}

func (c *codes) Enrol(ctx context.Context, hash []byte, _ wire.EnrolRequest, issue func(wire.EnrolOffer) (wire.EnrolReply, error)) (wire.EnrolReply, error) {
	o, err := c.Offer(ctx, hash)
	if err != nil {
		return wire.EnrolReply{}, err
	}
	r, err := issue(o)
	if err == nil {
		c.open[string(hash)] = fault.New(fault.Conflict, "used", nil).WithCode("CLD-203", "Make a new one.")
	}
	return r, err
}

// doorway is the door on its own clock.
type doorway struct {
	*testing.T
	fleet *Fleet
	store *codes
	now   time.Time
	key   secret.PublicKey
	logs  bytes.Buffer
}

func newDoorway(t *testing.T) *doorway {
	t.Helper()
	d := &doorway{T: t, store: &codes{fakeStore: &fakeStore{}, open: map[string]error{}}, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	key, err := secret.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	d.key = key.Public()
	d.fleet, err = New(t.Context(), Options{Store: d.store, CA: newCA(t, t.TempDir(), nil), SealKey: d.key, MQTTURL: "tls://cloud.example:8883",
		Publish: func(string, []byte, bool) error { return nil }, Now: func() time.Time { return d.now }, Log: logTo(&d.logs)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *doorway) code() string {
	d.Helper()
	code, expires, err := d.fleet.NewEnrolmentCode(d.Context(), hotspot.Operator{}, site)
	if err != nil || !expires.Equal(d.now.Add(time.Hour)) {
		d.Fatalf("got a code until %v (%v), want 60 minutes", expires, err)
	}
	return code
}

// post asks the door from an address.
func (d *doorway) post(path, from string, q wire.EnrolRequest) (int, http.Header, []byte) {
	d.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		d.Fatal(err)
	}
	r := httptest.NewRequest("POST", path, bytes.NewReader(b))
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	d.fleet.Door().ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.Bytes()
}

func (d *doorway) ask(code string) wire.EnrolRequest {
	return wire.EnrolRequest{V: 1, Code: code, Request: "r1", At: d.now, Host: "minipc"}
}

func TestLookThenEnrol(t *testing.T) {
	d := newDoorway(t)
	code := d.code()
	if len(code) != 9 || strings.ContainsAny(code, "0O1IL") {
		t.Errorf("got code %q, want XXXX-XXXX without look-alikes", code)
	}
	for range 3 {
		status, _, body := d.post(wire.PathLook, "192.0.2.1:1000", d.ask(strings.ToLower(code)))
		var offer wire.EnrolOffer
		if err := json.Unmarshal(body, &offer); err != nil || status != 200 || offer.Site != "Main St" || !offer.Time.Equal(d.now) {
			t.Fatalf("got %d %s (%v), want the offer of Main St", status, body, err)
		}
	}
	q := d.ask(" " + strings.ReplaceAll(code, "-", " "))
	q.CSR = newCSR(t, newKey(t, elliptic.P256()))
	status, h, body := d.post(wire.PathEnrol, "192.0.2.1:1000", q)
	var reply wire.EnrolReply
	if err := json.Unmarshal(body, &reply); err != nil || status != 200 || h.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d %s (%v), want an identity", status, body, err)
	}
	if !wire.ValidAgentID(reply.Agent) || reply.MQTTURL != "tls://cloud.example:8883" || reply.MQTTCA != d.fleet.o.CA.PEM() ||
		reply.SealKey != d.key.String() || len(reply.CheckNumber) != 6 || reply.Confirmed {
		t.Errorf("got %+v, want a whole identity that nobody confirmed", reply)
	}
	if strings.Contains(d.logs.String(), strings.ReplaceAll(code, "-", "")) {
		t.Error("the code is in the log")
	}
}

func TestRefusalsAreToldApart(t *testing.T) {
	d := newDoorway(t)
	d.store.open[string(d.fleet.o.CA.codeHash("EXPXRED2"))] = fault.New(fault.Conflict, "expired", nil).WithCode("CLD-202", "Make a new one.")
	d.store.open[string(d.fleet.o.CA.codeHash("SPENT222"))] = fault.New(fault.Conflict, "used", nil).WithCode("CLD-203", "Make a new one.")
	d.store.open[string(d.fleet.o.CA.codeHash("AWAY2222"))] = fault.New(fault.Unavailable, "store at 10.0.0.7 is away", nil)
	d.store.open[string(d.fleet.o.CA.codeHash("BROKEN22"))] = fault.New(fault.Internal, "secret inside", nil)
	good := d.code()
	for _, tt := range []struct {
		name   string
		q      func(*wire.EnrolRequest)
		status int
		code   string
	}{
		{"unknown", func(q *wire.EnrolRequest) { q.Code = "ABCDEFGH" }, 404, "CLD-201"},
		{"too short", func(q *wire.EnrolRequest) { q.Code = "ABC" }, 404, "CLD-201"},
		{"expired", func(q *wire.EnrolRequest) { q.Code = "EXPX-RED2" }, 410, "CLD-202"},
		{"used", func(q *wire.EnrolRequest) { q.Code = "SPENT222" }, 409, "CLD-203"},
		{"clock behind", func(q *wire.EnrolRequest) { q.At = d.now.Add(-11 * time.Minute) }, 400, "CLD-204"},
		{"clock ahead", func(q *wire.EnrolRequest) { q.At = d.now.Add(11 * time.Minute) }, 400, "CLD-204"},
		{"clock never set", func(q *wire.EnrolRequest) { q.At = time.Time{} }, 400, "CLD-204"},
		{"version", func(q *wire.EnrolRequest) { q.V = 9 }, 400, ""},
		{"no request id", func(q *wire.EnrolRequest) { q.Request = "" }, 400, ""},
		{"no CSR", func(q *wire.EnrolRequest) { q.CSR = "" }, 400, ""},
		{"store away", func(q *wire.EnrolRequest) { q.Code = "AWAY2222" }, 503, ""},
		{"a defect", func(q *wire.EnrolRequest) { q.Code = "BROKEN22" }, 500, ""},
		{"slow clock, but fit", func(q *wire.EnrolRequest) { q.At = d.now.Add(-9 * time.Minute) }, 200, ""},
	} {
		q := d.ask(good)
		q.CSR = newCSR(t, newKey(t, elliptic.P256()))
		tt.q(&q)
		status, h, body := d.post(wire.PathEnrol, "192.0.2.1:1000", q)
		var p wire.Problem
		if err := json.Unmarshal(body, &p); err != nil || status != tt.status || p.Code != tt.code {
			t.Errorf("%s: got %d %s (%v), want %d %s", tt.name, status, body, err, tt.status, tt.code)
		}
		if status != 200 && (p.Title == "" || p.Status != status || h.Get("Content-Type") != "application/problem+json") {
			t.Errorf("%s: got %s as %s, want a problem", tt.name, body, h.Get("Content-Type"))
		}
		if tt.code != "" && p.Next == "" {
			t.Errorf("%s: does not say what to do", tt.name)
		}
		if bytes.Contains(body, []byte("10.0.0.7")) || bytes.Contains(body, []byte("secret inside")) {
			t.Errorf("%s: tells a stranger what is inside: %s", tt.name, body)
		}
	}
}

func TestGuessingIsSlowed(t *testing.T) {
	d := newDoorway(t)
	good := d.code()
	guess := func(from string) int {
		status, h, _ := d.post(wire.PathLook, from, d.ask("ABCDEFGH"))
		if status == 429 && h.Get("Retry-After") == "" {
			t.Error("does not say when to come again")
		}
		return status
	}
	for i := range wrongCodes {
		if got := guess(fmt.Sprintf("192.0.2.1:%d", 1000+i)); got != 404 {
			t.Fatalf("guess %d: got %d, want 404", i+1, got)
		}
	}
	offers := d.store.offers
	if got := guess("192.0.2.1:9"); got != 429 || d.store.offers != offers {
		t.Errorf("got %d, %d more looks, want 429 and none", got, d.store.offers-offers)
	}
	if status, _, _ := d.post(wire.PathLook, "192.0.2.1:9", d.ask(good)); status != 429 {
		t.Errorf("got %d for a good code from there, want 429: else a guess would tell", status)
	}
	if status, _, _ := d.post(wire.PathLook, "192.0.2.2:9", d.ask(good)); status != 200 {
		t.Errorf("got %d from another address, want 200", status)
	}
	d.now = d.now.Add(wrongRefill)
	if got := guess("[::ffff:192.0.2.1]:9"); got != 404 {
		t.Errorf("got %d after a pause, want one try", got)
	}
	if got := guess("192.0.2.1:9"); got != 429 {
		t.Errorf("got %d, want 429 again: an IPv4 address in IPv6 is the same", got)
	}
	for i := range wrongCodes {
		guess(fmt.Sprintf("[2001:db8::%x]:1", i+1))
	}
	if got := guess("[2001:db8::ffff:1]:1"); got != 429 {
		t.Errorf("got %d from the same /64, want 429", got)
	}
	if n := strings.Count(d.logs.String(), "wrong enrolment code"); n != 2*wrongCodes+1 {
		t.Errorf("got %d lines of alarm, want %d", n, 2*wrongCodes+1)
	}
	for range 50 { // good codes cost nothing
		if status, _, _ := d.post(wire.PathLook, "192.0.2.3:9", d.ask(good)); status != 200 {
			t.Fatalf("got %d, want 200", status)
		}
	}
}

// Two clouds on one database slow one address down together, and whoever does not wait
// costs the database nothing.
func TestCloudsCountGuessesTogether(t *testing.T) {
	a, b := newDoorway(t), newDoorway(t)
	b.store.fakeStore = a.store.fakeStore
	for i := range wrongCodes {
		d := []*doorway{a, b}[i%2]
		if status, _, _ := d.post(wire.PathLook, "192.0.2.1:9", d.ask("ABCDEFGH")); status != 404 {
			t.Fatalf("guess %d: got %d, want 404", i+1, status)
		}
	}
	later := func(d *doorway, by time.Duration, want int) {
		t.Helper()
		d.now = d.now.Add(by)
		if status, _, _ := d.post(wire.PathLook, "192.0.2.1:9", d.ask("ABCDEFGH")); status != want {
			t.Errorf("got %d, want %d", status, want)
		}
	}
	later(a, 0, 429)
	later(b, 0, 429)
	a.store.triesErr = fault.New(fault.Unavailable, "no database", nil)
	later(b, 0, 429) // not asked
	if status, _, _ := b.post(wire.PathLook, "192.0.2.2:9", b.ask(b.code())); status < 500 {
		t.Errorf("got %d where guesses cannot be counted, want no look at the code", status)
	}
	a.store.triesErr = nil
	later(a, wrongRefill, 404) // one for both
	later(b, wrongRefill, 429)
	later(b, wrongRefill-time.Second, 429)
	later(b, time.Second, 404)
	b.now = b.now.Add(wrongCodes * wrongRefill)
	for range wrongCodes { // all of it again, and no more
		later(b, 0, 404)
	}
	later(b, 0, 429)
}

func TestGuardsAreBounded(t *testing.T) {
	var g guards
	first := g.of(netip.MustParseAddr("10.0.0.1"))
	for i := range maxGuards {
		g.of(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}))
	}
	if len(g.byKey) != maxGuards || g.order.Len() != maxGuards {
		t.Errorf("got %d and %d, want %d", len(g.byKey), g.order.Len(), maxGuards)
	}
	if g.of(netip.MustParseAddr("10.0.0.1")) == first {
		t.Error("the address heard of longest ago was not forgotten")
	}
}

func TestDoorHasNothingElse(t *testing.T) {
	d := newDoorway(t)
	for _, r := range []*http.Request{httptest.NewRequest("GET", "/", nil), httptest.NewRequest("POST", "/agents/v1/other", nil)} {
		w := httptest.NewRecorder()
		d.fleet.Door().ServeHTTP(w, r)
		if w.Code != 404 {
			t.Errorf("%s %s: got %d, want 404", r.Method, r.URL, w.Code)
		}
	}
	r := httptest.NewRequest("POST", wire.PathLook, strings.NewReader(`{"code":"`+strings.Repeat("A", maxRequest)+`"}`))
	w := httptest.NewRecorder()
	d.fleet.Door().ServeHTTP(w, r)
	if w.Code != 400 {
		t.Errorf("a body without end: got %d, want 400", w.Code)
	}
}

func FuzzDoor(f *testing.F) {
	f.Add([]byte(`{"v":1,"code":"ABCD-EFGH","request":"r","csr":"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----","at":"2026-11-24T12:00:00Z"}`))
	f.Add([]byte(`{"v":1}`))
	f.Add([]byte(`[`))
	ca := newCA(f, f.TempDir(), nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		store := &codes{fakeStore: &fakeStore{}, open: map[string]error{}}
		fl, err := New(t.Context(), Options{Store: store, CA: ca, Publish: func(string, []byte, bool) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{wire.PathLook, wire.PathEnrol} {
			w := httptest.NewRecorder()
			fl.Door().ServeHTTP(w, httptest.NewRequest("POST", path, bytes.NewReader(body)))
			if w.Code < 400 || w.Code >= 500 {
				t.Errorf("got %d for %q, want a refusal", w.Code, body)
			}
		}
	})
}
