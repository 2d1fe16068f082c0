package uplink

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/mqtttest"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// agentsDoor is the cloud's side of an enrolment, with knobs to misbehave.
type agentsDoor struct {
	*httptest.Server
	t  *testing.T
	ca *mqtttest.CA

	mu       sync.Mutex
	requests []wire.EnrolRequest // of PathEnrol
	looks    []wire.EnrolRequest
	minted   map[string]wire.EnrolReply // by request id: the same id, the same answer
	lose     int                        // answers lost on the way
	problem  *wire.Problem              // answer instead
	edit     func(*wire.EnrolReply)
	raw      http.HandlerFunc // instead of everything
}

func openDoor(t *testing.T) *agentsDoor {
	t.Helper()
	d := &agentsDoor{t: t, ca: mqtttest.NewCA(t, "agents"), minted: map[string]wire.EnrolReply{}}
	d.Server = httptest.NewUnstartedServer(http.HandlerFunc(d.serve))
	d.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what the tests are about
	d.StartTLS()
	t.Cleanup(d.Close)
	return d
}

func (d *agentsDoor) fingerprint() string {
	sum := sha256.Sum256(d.Certificate().Raw)
	return hex.EncodeToString(sum[:])
}

func (d *agentsDoor) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.raw != nil {
		d.raw(w, r)
		return
	}
	var q wire.EnrolRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Method != http.MethodPost {
		d.t.Errorf("got %s %v, want a POST of an EnrolRequest", r.Method, err)
	}
	if d.problem != nil {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(d.problem.Status)
		json.NewEncoder(w).Encode(d.problem)
		return
	}
	switch r.URL.Path {
	case wire.PathLook:
		d.looks = append(d.looks, q)
		json.NewEncoder(w).Encode(wire.EnrolOffer{Organization: "Blue Cup", Site: "Harbour", SiteID: "site1", Time: time.Now()})
	case wire.PathEnrol:
		d.requests = append(d.requests, q)
		reply := d.mint(q)
		if d.lose > 0 {
			d.lose--
			panic(http.ErrAbortHandler)
		}
		json.NewEncoder(w).Encode(reply)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (d *agentsDoor) mint(q wire.EnrolRequest) wire.EnrolReply {
	if r, ok := d.minted[q.Request]; ok {
		return r
	}
	block, _ := pem.Decode([]byte(q.CSR))
	if block == nil {
		d.t.Fatal("no CSR")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	agent := "agent" + strings.Repeat("0", len(d.minted)+3)
	r := wire.EnrolReply{Agent: agent, SiteID: "site1", Site: "Harbour", Organization: "Blue Cup", MQTTURL: "tls://mqtt.example.com:8883",
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.ca.Sign(d.t, csr.PublicKey, agent, nil)})),
		MQTTCA:      string(d.ca.PEM), CheckNumber: "417 028", Time: time.Now()}
	if d.edit != nil {
		d.edit(&r)
	}
	d.minted[q.Request] = r
	return r
}

func (d *agentsDoor) options(t *testing.T) EnrolOptions {
	return EnrolOptions{CloudURL: d.URL, Fingerprint: d.fingerprint(), Code: "abcd-efgh", Host: "minipc", Version: "1.0-test", StateDir: t.TempDir()}
}

func TestLookSpendsNothing(t *testing.T) {
	d := openDoor(t)
	o := d.options(t)
	offer, err := Look(context.Background(), o)
	if err != nil || offer.Site != "Harbour" || offer.Organization != "Blue Cup" {
		t.Fatalf("got %+v, %v, want the site's offer", offer, err)
	}
	if q := d.looks[0]; q.CSR != "" || q.Request != "" || q.Code != "ABCDEFGH" || q.Host != "minipc" {
		t.Errorf("got %+v, want the code alone, without case and dashes", q)
	}
	if left, err := os.ReadDir(o.StateDir); err != nil || len(left) != 0 {
		t.Errorf("got %v, %v on disk, want nothing", left, err)
	}
}

func TestEnrolMakesAnIdentityThatConnects(t *testing.T) {
	d := openDoor(t)
	o := d.options(t)
	id, err := Enrol(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if id.Agent != "agent000" || id.Site != "site1" || id.CheckNumber != "417 028" || id.Confirmed || id.MQTTURL != "tls://mqtt.example.com:8883" || id.NotAfter.IsZero() {
		t.Errorf("got %+v, want what the cloud answered", id)
	}
	again, err := LoadIdentity(o.StateDir)
	if err != nil || again.Agent != id.Agent {
		t.Fatalf("LoadIdentity: got %+v, %v, want the same", again, err)
	}
	cfg, err := TLSFrom(o.StateDir)()
	if err != nil || cfg.RootCAs == nil || cfg.Certificates[0].Leaf.Subject.CommonName != "agent000" || cfg.InsecureSkipVerify {
		t.Fatalf("TLS: got %+v, %v", cfg, err)
	}
	// What the cloud seals to the key it was told, this identity opens.
	public, err := secret.ParsePublicKey(d.requests[0].SealKey)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := public.Seal("guest password")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := again.Seal.Open(sealed); err != nil || text != "guest password" {
		t.Errorf("got %q, %v, want what was sealed", text, err)
	}
	files, err := os.ReadDir(filepath.Join(o.StateDir, identityDir))
	if err != nil || len(files) != 5 {
		t.Errorf("got %v, %v, want five files and nothing pending", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, %v, want 0600", f.Name(), info.Mode(), err)
		}
	}
}

func TestLostReplyMakesNoTwin(t *testing.T) {
	d := openDoor(t)
	d.lose = 2
	o := d.options(t)
	for range 2 {
		if _, err := Enrol(context.Background(), o); !fault.Is(err, fault.Unavailable) || fault.Hint(err) == "" {
			t.Fatalf("got %v, want Unavailable with a next step", err)
		}
	}
	o.Code = " ABCD efgh" // the same code in another spelling
	id, err := Enrol(context.Background(), o)
	if err != nil || id.Agent != "agent000" {
		t.Fatalf("got %+v, %v, want the agent of the first try", id, err)
	}
	first, last := d.requests[0], d.requests[2]
	if len(d.minted) != 1 || first.Request != last.Request || first.SealKey != last.SealKey {
		t.Errorf("got %d identities, request %q then %q, want one", len(d.minted), first.Request, last.Request)
	}
}

func TestJudgedCodeStartsAnew(t *testing.T) {
	d := openDoor(t)
	o := d.options(t)
	for _, test := range []struct {
		problem wire.Problem
		kind    fault.Kind
		anew    bool
	}{
		{wire.Problem{Status: 410, Title: "Code expired", Code: "CLD-110", Next: "Make a new code."}, fault.Conflict, true},
		{wire.Problem{Status: 409, Title: "Code used", Detail: "by minipc2", Code: "CLD-111", Next: "Make a new code."}, fault.Conflict, true},
		{wire.Problem{Status: 404, Title: "No such code", Code: "CLD-112", Next: "Check the code."}, fault.NotFound, true},
		{wire.Problem{Status: 403, Title: "Other organization", Code: "CLD-113", Next: "Ask."}, fault.Denied, true},
		{wire.Problem{Status: 422, Title: "Clock wrong", Code: "CLK-101", Next: "Set the date."}, fault.Invalid, true},
		{wire.Problem{Status: 429, Title: "Too many tries", Code: "CLD-114", Next: "Wait."}, fault.Unavailable, false},
		{wire.Problem{Status: 503, Title: "Down", Code: "CLD-115", Next: "Wait."}, fault.Unavailable, false},
	} {
		d.problem = &test.problem
		_, err := Enrol(context.Background(), o)
		if fault.KindOf(err) != test.kind || fault.Code(err) != test.problem.Code || fault.Hint(err) != test.problem.Next || !strings.Contains(err.Error(), test.problem.Title) {
			t.Errorf("%s: got %v (%v, %s, %s)", test.problem.Title, err, fault.KindOf(err), fault.Code(err), fault.Hint(err))
		}
		_, missing := os.Stat(filepath.Join(o.StateDir, identityDir, pendingFile))
		if os.IsNotExist(missing) != test.anew {
			t.Errorf("%s: got pending removed %v, want %v", test.problem.Title, os.IsNotExist(missing), test.anew)
		}
	}
	d.problem = nil
	if _, err := Enrol(context.Background(), o); err != nil {
		t.Errorf("after all that: got %v, want an identity", err)
	}
}

func TestReenrolmentReplacesTheIdentity(t *testing.T) {
	d := openDoor(t)
	o := d.options(t)
	first, err := Enrol(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Code = "OTHERONE"
	second, err := Enrol(context.Background(), o)
	if err != nil || second.Agent == first.Agent {
		t.Fatalf("got %+v, %v, want another agent", second, err)
	}
	if d.requests[0].Request == d.requests[1].Request || d.requests[0].CSR == d.requests[1].CSR {
		t.Error("got the same request or key for another code")
	}
	if d.requests[0].SealKey != d.requests[1].SealKey {
		t.Error("got another sealing key: what is sealed in the store could not be opened any more")
	}
}

func TestDoorIsVerified(t *testing.T) {
	d := openDoor(t)
	plain := httptest.NewServer(http.HandlerFunc(d.serve))
	defer plain.Close()
	other := strings.Repeat("ab", sha256.Size)
	for _, test := range []struct {
		name string
		edit func(*EnrolOptions)
		kind fault.Kind
		code string
	}{
		{"another fingerprint", func(o *EnrolOptions) { o.Fingerprint = other }, fault.Forged, "CLD-102"},
		{"no fingerprint and not in the system's roots", func(o *EnrolOptions) { o.Fingerprint = "" }, fault.Forged, "CLD-102"},
		{"half a fingerprint", func(o *EnrolOptions) { o.Fingerprint = other[:32] }, fault.Invalid, "CLD-109"},
		{"plain HTTP", func(o *EnrolOptions) { o.CloudURL = plain.URL }, fault.Invalid, "CLD-109"},
		{"plain HTTP behind https", func(o *EnrolOptions) { o.CloudURL = "https" + strings.TrimPrefix(plain.URL, "http") }, fault.Unavailable, "CLD-101"},
		{"no address", func(o *EnrolOptions) { o.CloudURL = "cloud.example.com" }, fault.Invalid, "CLD-109"},
	} {
		o := d.options(t)
		test.edit(&o)
		_, err := Look(context.Background(), o)
		if fault.KindOf(err) != test.kind || fault.Code(err) != test.code || fault.Hint(err) == "" {
			t.Errorf("%s: got %v (%v, %s), want %v, %s", test.name, err, fault.KindOf(err), fault.Code(err), test.kind, test.code)
		}
	}
	if len(d.looks) != 0 {
		t.Errorf("got %d requests through, want none", len(d.looks))
	}
	o := d.options(t)
	o.Fingerprint = strings.ToUpper(o.Fingerprint[:2]) + ":" + o.Fingerprint[2:]
	if _, err := Look(context.Background(), o); err != nil {
		t.Errorf("fingerprint with colons and capitals: got %v, want it taken", err)
	}
}

func TestStrangeAnswersAreNotTaken(t *testing.T) {
	d := openDoor(t)
	for name, raw := range map[string]http.HandlerFunc{
		"a login page":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>Sign in to WiFi</html>") },
		"an error page": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); io.WriteString(w, "<html>") },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.invalid/", http.StatusTemporaryRedirect)
		},
		"far too much": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "{"+strings.Repeat(" ", replyLimit)+"}")
		},
		"other's error":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); io.WriteString(w, `{"error":"x"}`) },
		"a bare refusal": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
	} {
		d.mu.Lock()
		d.raw = raw
		d.mu.Unlock()
		if _, err := Enrol(context.Background(), d.options(t)); !fault.Is(err, fault.Unavailable) || fault.Code(err) != "CLD-109" {
			t.Errorf("%s: got %v (%s), want Unavailable, CLD-109", name, err, fault.Code(err))
		}
	}
}

func TestImpossibleIdentityIsRefused(t *testing.T) {
	foreign := mqtttest.NewCA(t, "foreign")
	for name, edit := range map[string]func(*wire.EnrolReply){
		"bad agent id":          func(r *wire.EnrolReply) { r.Agent = "../x" },
		"no certificate":        func(r *wire.EnrolReply) { r.Certificate = "" },
		"certificate of others": func(r *wire.EnrolReply) { r.Agent = "agentother" },
		"foreign key": func(r *wire.EnrolReply) {
			r.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: foreign.Client(t, r.Agent, nil).Certificate[0]}))
		},
		"no authority": func(r *wire.EnrolReply) { r.MQTTCA = "none" },
		"plain MQTT":   func(r *wire.EnrolReply) { r.MQTTURL = "tcp://mqtt.example.com:1883" },
	} {
		d := openDoor(t)
		d.edit = edit
		o := d.options(t)
		if _, err := Enrol(context.Background(), o); !fault.Is(err, fault.Invalid) || fault.Code(err) != "CLD-108" {
			t.Errorf("%s: got %v (%s), want Invalid, CLD-108", name, err, fault.Code(err))
		}
		if _, err := LoadIdentity(o.StateDir); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: got %v, want no identity on disk", name, err)
		}
	}
}

func TestDamagedIdentityIsNamed(t *testing.T) {
	d := openDoor(t)
	o := d.options(t)
	if _, err := LoadIdentity(o.StateDir); !fault.Is(err, fault.NotFound) || fault.Hint(err) == "" {
		t.Errorf("got %v, want NotFound with a next step", err)
	}
	if _, err := Enrol(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{keyFile, certFile, caFile, sealFile, aboutFile} {
		path := filepath.Join(o.StateDir, identityDir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(o.StateDir); !fault.Is(err, fault.Damaged) {
			t.Errorf("%s broken: got %v, want Damaged", name, err)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(o.StateDir, identityDir, sealFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(o.StateDir); !fault.Is(err, fault.Damaged) {
		t.Errorf("sealing key gone: got %v, want Damaged, not a new key that opens nothing", err)
	}
}
