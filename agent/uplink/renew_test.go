package uplink

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"iwas/internal/fault"
	"iwas/internal/mqttlink"
	"iwas/internal/mqtttest"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// enrolled is a box with an identity on disk, and the door of its cloud.
type enrolled struct {
	*testing.T
	dir   string
	ca    *mqtttest.CA // who signs boxes
	cloud *mqtttest.CA // who signs the door and the broker
	key   *ecdsa.PrivateKey
	door  *httptest.Server

	mu      sync.Mutex
	asked   []wire.RenewRequest
	outages []wire.Outage
	answer  func(*wire.RenewReply) // changes what is answered
	broken  bool
}

// enrolledBox makes one whose certificate is good between two dates.
func enrolledBox(t *testing.T, ca, cloud *mqtttest.CA, url string, from, until time.Time) *enrolled {
	t.Helper()
	e := &enrolled{T: t, dir: t.TempDir(), ca: ca, cloud: cloud}
	e.door = httptest.NewUnstartedServer(http.HandlerFunc(e.serve))
	e.door.Config.ErrorLog = log.New(io.Discard, "", 0)
	e.door.TLS = &tls.Config{Certificates: []tls.Certificate{cloud.Server(t)}}
	e.door.StartTLS()
	t.Cleanup(e.door.Close)
	var err error
	if e.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(e.dir, identityDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.LoadKey(filepath.Join(dir, sealFile)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(e.door.Certificate().Raw)
	p := pending{CloudURL: e.door.URL, Fingerprint: hex.EncodeToString(sum[:])}
	r := wire.EnrolReply{Agent: string(testAgent), Organization: "Blue Cup", Certificate: e.sign(from, until), MQTTURL: url, MQTTCA: string(cloud.PEM)}
	if err := p.save(dir, e.key, r, from); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *enrolled) sign(from, until time.Time) string {
	der := e.ca.Sign(e, &e.key.PublicKey, string(testAgent), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, until })
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// serve is the cloud's door: it answers a certificate for a day.
func (e *enrolled) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if r.Method == http.MethodHead { // somebody who only looks whether the door is there
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var s wire.Signed
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		e.Error(err)
	}
	var renew wire.RenewRequest
	var outage wire.Outage
	body := map[string]any{wire.PathRenew: &renew, wire.PathOutage: &outage}[r.URL.Path]
	cert, err := s.Open(r.URL.Path, body)
	if err != nil || !e.key.PublicKey.Equal(cert.PublicKey) {
		e.Errorf("got %v, want a request signed by the key of the certificate", err)
		return
	}
	if r.URL.Path == wire.PathOutage {
		e.outages = append(e.outages, outage)
		json.NewEncoder(w).Encode(wire.OutageReply{Time: time.Now()})
		return
	}
	e.asked = append(e.asked, renew)
	id, err := LoadIdentity(e.dir)
	if err != nil {
		e.Error(err)
	}
	reply := wire.RenewReply{Certificate: e.sign(time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)), MQTTURL: id.MQTTURL, MQTTCA: string(e.cloud.PEM), Time: time.Now()}
	if e.answer != nil {
		e.answer(&reply)
	}
	json.NewEncoder(w).Encode(reply)
}

func (e *enrolled) file(name string) []byte {
	e.Helper()
	b, err := os.ReadFile(filepath.Join(e.dir, identityDir, name))
	if err != nil {
		e.Fatal(err)
	}
	return b
}

// TestACertificateThatEndedIsRenewedWithoutARestart: against a real broker, with a
// certificate that really ends.
func TestACertificateThatEndedIsRenewedWithoutARestart(t *testing.T) {
	m := mqtttest.StartMosquitto(t)
	end := time.Now().Add(3 * time.Second).Truncate(time.Second)
	e := enrolledBox(t, m.Agents, m.Cloud, m.URL, time.Now().Add(-time.Hour), end)
	e.broken = true // the way to the door is shut until the certificate has ended
	s := &Uplink{Agent: testAgent, Boot: "boot1", Store: newMemory(), Link: mqttlink.Options{URL: m.URL, TLS: TLSFrom(e.dir)}}
	run(t, s)
	eventually(t, "a connection with the first certificate", func() bool { return s.Status().Connected })
	renewals := atomic.Int64{}
	r := &Renewer{StateDir: e.dir, Version: "1.0-test", look: 20 * time.Millisecond, Renewed: func() { renewals.Add(1) },
		Refused: func() bool { return s.Status().Code == "CLD-103" }}
	r.ask = func(ctx context.Context) (bool, error) {
		e.mu.Lock()
		shut := e.broken
		e.mu.Unlock()
		if shut {
			return false, nil // asked of nobody: the growing pauses are another test's
		}
		return Renew(ctx, r.StateDir, r.Version, time.Now)
	}
	key := e.file(keyFile)

	m.Stop()
	time.Sleep(time.Until(end.Add(time.Second))) // the certificate ends in real time
	m.Start(t)
	eventually(t, "the broker to refuse it", func() bool { return s.Status().Code == "CLD-103" })
	e.mu.Lock()
	e.broken = false
	e.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Serve(ctx) }()
	for deadline := time.Now().Add(60 * time.Second); !s.Status().Connected; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not connected again: %+v", s.Status())
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	id, err := LoadIdentity(e.dir)
	if err != nil || !id.NotAfter.After(end) || id.Agent != testAgent || !bytes.Equal(key, e.file(keyFile)) || renewals.Load() == 0 {
		t.Errorf("got %s until %v (%v), %d renewals told; want the same agent and key for longer", id.Agent, id.NotAfter, err, renewals.Load())
	}
	if len(e.asked) == 0 || e.asked[0].Version != "1.0-test" {
		t.Errorf("got %+v asked", e.asked)
	}
}

// TestTheRenewerAsksInTime lives from a certificate's first day past its last, in a
// bubble.
func TestTheRenewerAsksInTime(t *testing.T) {
	ca := mqtttest.NewCA(t, "agents")
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble's first moment
	day := 24 * time.Hour
	e := enrolledBox(t, ca, ca, "tls://broker.example:8883", start, start.Add(60*day))
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards all below
		var asked []time.Duration
		var answer error
		refused, renewed := false, true
		ctx, cancel := context.WithCancel(t.Context())
		r := &Renewer{StateDir: e.dir, look: 30 * time.Minute, Refused: func() bool {
			mu.Lock()
			defer mu.Unlock()
			return refused
		}}
		r.ask = func(context.Context) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, time.Since(start))
			return answer == nil && renewed, answer
		}
		done := make(chan error)
		go func() { done <- r.Serve(ctx) }()
		pass := func(d time.Duration) []time.Duration {
			asked = nil
			mu.Unlock()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
			return asked
		}
		mu.Lock() // but while time passes
		if got := pass(2 * time.Hour); len(got) != 1 {
			t.Errorf("in the first two hours: asked at %v, want once", got)
		}
		if got := pass(30 * day); len(got) != 4 {
			t.Errorf("in thirty days without need: asked %d times, want once a week", len(got))
		}
		refused = true // whatever the date here says
		if got := pass(31 * time.Minute); len(got) != 1 {
			t.Errorf("refused by the cloud: asked at %v, want at once", got)
		}
		renewed = false // and the cloud, asked, sees no need
		if got := pass(12 * time.Hour); len(got) > 12 {
			t.Errorf("refused, and nothing to be had: asked %d times in twelve hours, want growing pauses", len(got))
		}
		refused, renewed = false, true
		pass(day)
		answer = errors.New("no way out")
		due := start.Add(60 * day).Add(-60 * day / renewShare)
		pass(time.Until(due))
		got := pass(2 * day)
		if len(got) < 8 || len(got) > 20 {
			t.Errorf("failing for two days: asked %d times, want growing pauses up to %v", len(got), renewMost)
		}
		for i := 1; i < len(got); i++ {
			if pause := got[i] - got[i-1]; pause > renewMost+2*r.look {
				t.Errorf("pause %v, want at most %v", pause, renewMost)
			}
		}
		if text := r.Trouble(); text != "" {
			t.Errorf("after two days: got %q, want nobody bothered", text)
		}
		pass(6 * day)
		if text := r.Trouble(); !strings.Contains(text, "ends 2000-03-01") || !strings.Contains(text, "no way out") {
			t.Errorf("after a week: got %q, want the date and the reason", text)
		}
		pass(time.Until(start.Add(61 * day)))
		if text := r.Trouble(); !strings.Contains(text, "ended 2000-03-01") {
			t.Errorf("after its end: got %q", text)
		}
		answer = nil
		if got := pass(renewMost + time.Hour); len(got) == 0 || r.Trouble() != "" {
			t.Errorf("the way is free again: asked %d times, trouble %q", len(got), r.Trouble())
		}
		mu.Unlock()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestARenewalThatWouldBreakTheBoxIsNotTaken(t *testing.T) {
	ca := mqtttest.NewCA(t, "agents")
	e := enrolledBox(t, ca, ca, "tls://broker.example:8883", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	before := map[string][]byte{}
	for _, name := range []string{certFile, caFile, aboutFile, keyFile} {
		before[name] = e.file(name)
	}
	other := ca.Client(t, string(testAgent), nil)
	for name, change := range map[string]func(*wire.RenewReply){
		"another key": func(r *wire.RenewReply) {
			r.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate[0]}))
		},
		"another agent": func(r *wire.RenewReply) {
			der := ca.Sign(t, &e.key.PublicKey, "agentother", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(20 * time.Hour) })
			r.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		},
		"ends sooner":  func(r *wire.RenewReply) { r.Certificate = e.sign(time.Now(), time.Now().Add(time.Minute)) },
		"no PEM":       func(r *wire.RenewReply) { r.Certificate = "x" },
		"no authority": func(r *wire.RenewReply) { r.MQTTCA = "" },
		"plain MQTT":   func(r *wire.RenewReply) { r.MQTTURL = "tcp://broker.example:1883" },
	} {
		e.answer = change
		if renewed, err := Renew(t.Context(), e.dir, "1", time.Now); renewed || fault.Code(err) != "CLD-111" {
			t.Errorf("%s: got renewed %v, %v (%s), want CLD-111", name, renewed, err, fault.Code(err))
		}
		for file, b := range before {
			if !bytes.Equal(b, e.file(file)) {
				t.Errorf("%s: %s was touched", name, file)
			}
		}
	}
	e.answer = func(r *wire.RenewReply) { r.Certificate, r.MQTTURL = "", "tls://new.example:8883" }
	if renewed, err := Renew(t.Context(), e.dir, "1", time.Now); renewed || err != nil {
		t.Errorf("got renewed %v (%v), want news without a certificate", renewed, err)
	}
	if id, err := LoadIdentity(e.dir); err != nil || id.MQTTURL != "tls://new.example:8883" || id.Organization != "Blue Cup" || !bytes.Equal(before[certFile], e.file(certFile)) {
		t.Errorf("got %+v (%v), want the new address and the rest as it was", id, err)
	}
}

// The door's certificate ends as well, and its successor has another fingerprint.
func TestADoorWithANewCertificateIsKnownByTheAuthority(t *testing.T) {
	ca := mqtttest.NewCA(t, "agents")
	e := enrolledBox(t, ca, ca, "tls://broker.example:8883", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	id, err := LoadIdentity(e.dir)
	if err != nil {
		t.Fatal(err)
	}
	id.Fingerprint = strings.Repeat("ab", sha256.Size)
	about, err := json.Marshal(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.dir, identityDir, aboutFile), about, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Renew(t.Context(), e.dir, "1", time.Now); err != nil {
		t.Errorf("got %v, want the door known by who signed it", err)
	}
	if err := os.WriteFile(filepath.Join(e.dir, identityDir, caFile), mqtttest.NewCA(t, "stranger").PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	asked := len(e.asked)
	if _, err := Renew(t.Context(), e.dir, "1", time.Now); fault.Code(err) != "CLD-102" || len(e.asked) != asked {
		t.Errorf("got %v (%s), want a door of a stranger refused before a word is said", err, fault.Code(err))
	}
}

func TestACopyStaysAwayUntilItIsEnrolledAgain(t *testing.T) {
	m := mqtttest.StartMosquitto(t)
	e := enrolledBox(t, m.Agents, m.Cloud, m.URL, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	cl := startCloud(t, m)
	start := func(boot string) *Uplink {
		u := &Uplink{Agent: testAgent, Boot: boot, Store: newMemory(), Link: mqttlink.Options{URL: m.URL, TLS: TLSFrom(e.dir)}}
		u.Copied = func() error {
			id, err := LoadIdentity(e.dir)
			if err == nil {
				err = RefuseCopy(e.dir, id, time.Now())
			}
			return err
		}
		return u
	}
	u := start("boot1")
	stop := run(t, u)
	eventually(t, "a connection", func() bool { return u.Status().Connected })
	cl.send(wire.DownAck, wire.Ack{V: 1, Copy: "another", Time: time.Now()})
	eventually(t, "the copy to be known", func() bool { return !u.Status().CopySeen.IsZero() })
	if st := u.Status(); !st.Connected || st.Code != "" {
		t.Errorf("got %+v, want the original to go on", st)
	}
	cl.send(wire.DownAck, wire.Ack{V: 1, Copy: "boot1", Time: time.Now()})
	eventually(t, "it to stay away", func() bool { s := u.Status(); return !s.Connected && s.Code == "CLD-112" })
	stop()
	hellos := cl.helloCount()
	u = start("boot2") // a restart is no way round
	stop = run(t, u)
	eventually(t, "the refusal to be remembered", func() bool { return u.Status().Code == "CLD-112" })
	if u.Status().Connected || cl.helloCount() != hellos {
		t.Error("the copy spoke again")
	}
	stop()
	id, err := LoadIdentity(e.dir)
	if err != nil {
		t.Fatal(err)
	}
	p := pending{CloudURL: id.CloudURL, Fingerprint: id.Fingerprint}
	r := wire.EnrolReply{Agent: string(testAgent), Certificate: e.sign(time.Now().Add(-time.Hour), time.Now().Add(time.Hour)), MQTTURL: m.URL, MQTTCA: string(m.Cloud.PEM)}
	if err := p.save(filepath.Join(e.dir, identityDir), e.key, r, time.Now()); err != nil {
		t.Fatal(err)
	}
	u = start("boot3")
	run(t, u)
	eventually(t, "a connection after the enrolment", func() bool { return u.Status().Connected })
}

// TestAnOutageIsToldAnotherWay counts what is told while the broker is away.
func TestAnOutageIsToldAnotherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards all below
		var told []wire.Outage
		why, answer := fault.New(fault.Unavailable, "port shut", nil).WithCode("CLD-101", "Open it."), error(nil)
		u := &Uplink{Agent: testAgent, Boot: "boot1", Store: newMemory(),
			Link: mqttlink.Options{Dial: func(context.Context) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				return nil, why
			}},
			Outage: func(_ context.Context, o wire.Outage) error {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, o)
				return answer
			}}
		stop := run(t, u)
		pass := func(d time.Duration) int {
			n := len(told)
			mu.Unlock()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
			return len(told) - n
		}
		mu.Lock() // but while time passes
		if n := pass(50 * time.Second); n != 0 {
			t.Errorf("told %d times within the first minute, want it to heal first", n)
		}
		if n := pass(30 * time.Second); n != 1 {
			t.Fatalf("told %d times after a minute, want once", n)
		}
		if o := told[0]; o.Code != "CLD-101" || !strings.Contains(o.Text, "port shut") || o.Boot != "boot1" || o.N != 1 || o.At.Sub(o.Since).Round(20*time.Second) != time.Minute {
			t.Errorf("got %+v, want the reason and that it lasts a minute", o)
		}
		if n := pass(30 * time.Minute); n != 6 {
			t.Errorf("told %d times in half an hour, want every five minutes", n)
		}
		why = fault.New(fault.Forged, "another certificate", nil).WithCode("CLD-102", "Look who answers.")
		if n := pass(time.Minute); n != 1 || told[len(told)-1].Code != "CLD-102" || told[len(told)-1].N != int64(len(told)) {
			t.Errorf("told %d times of another reason, want at once, with the next number", n)
		}
		answer = errors.New("HTTPS is away too")
		if n := pass(10 * time.Hour); n < 8 || n > 14 {
			t.Errorf("told %d times in ten hours without success, want growing pauses up to %v", n, outageMost)
		}
		why = fault.New(fault.Denied, "copy", nil).WithCode(codeCopy, "Enrol.")
		pass(outageMost) // its pauses end
		if n := pass(3 * time.Hour); n != 0 {
			t.Errorf("a copy told %d times of its own outage as the other's", n)
		}
		mu.Unlock()
		stop()
	})
}

func TestAnOutageIsSigned(t *testing.T) {
	ca := mqtttest.NewCA(t, "agents")
	e := enrolledBox(t, ca, ca, "tls://broker.example:8883", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)) // it has ended
	if err := PostOutage(e.dir, time.Now)(t.Context(), wire.Outage{V: 1, Boot: "b", N: 1, Code: "CLD-103"}); err != nil {
		t.Fatal(err)
	}
	if len(e.outages) != 1 || e.outages[0].Code != "CLD-103" {
		t.Errorf("got %+v, want it told", e.outages)
	}
}

func TestABoxIsNotMovedToAnotherOrganization(t *testing.T) {
	d := openDoor(t)
	o := d.options(t)
	if _, err := Enrol(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.StateDir, identityDir, aboutFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte("Blue Cup"), []byte("Red Cup"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Look(context.Background(), o); !fault.Is(err, fault.Conflict) || fault.Code(err) != "CLD-206" || !strings.Contains(err.Error(), "Red Cup") {
		t.Errorf("got %v (%s), want CLD-206 naming both", err, fault.Code(err))
	}
	seal, err := os.ReadFile(filepath.Join(o.StateDir, identityDir, sealFile))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Unenrol(o.StateDir); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(filepath.Join(o.StateDir, identityDir))
	if err != nil || len(left) != 1 || left[0].Name() != sealFile {
		t.Errorf("got %v (%v) left, want the sealing key alone", left, err)
	}
	if kept, err := os.ReadFile(filepath.Join(o.StateDir, identityDir, sealFile)); err != nil || !bytes.Equal(seal, kept) {
		t.Errorf("the sealing key was touched: %v", err)
	}
	if _, err := Look(context.Background(), o); err != nil {
		t.Errorf("after the identity was taken off: got %v, want the code taken", err)
	}
}
