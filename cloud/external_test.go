package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/cloud/fleet"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/mqttlink"
	"iwas/internal/mqtttest"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

// outside is the cloud as it is wired with a mosquitto of its owner's, by
// configuration alone.
type outside struct {
	*testing.T
	cloud *cloud
	mqtt  *mqtttest.Mosquitto
	owner hotspot.Operator
	site  hotspot.Site
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	return newOutsideLogging(t, slog.New(slog.DiscardHandler))
}

func newOutsideLogging(t *testing.T, log *slog.Logger) *outside {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ca, err := fleet.LoadCA(filepath.Join(dir, "ca"), nil)
	must(err)
	none, err := ca.Revocations(nil)
	must(err)
	m := mqtttest.StartMosquittoChecking(t, []byte(ca.PEM()), none)
	own := m.Cloud.Client(t, "cloud", nil)
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	must(err)
	for name, b := range map[string][]byte{"broker-ca.pem": m.Cloud.PEM, "cloud.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}),
		"cloud.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		must(os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	file := filepath.Join(dir, "cloud.toml")
	must(os.WriteFile(file, []byte(`version = 1
state_dir = "."
[broker]
url = "`+m.CloudURL+`"
public_url = "`+m.URL+`"
ca_file = "broker-ca.pem"
cert_file = "cloud.crt"
key_file = "cloud.key"
shared = true
revocations_file = "for-the-broker/agents-crl.pem"
`), 0o600))
	cfg, err := loadConfig(file, false)
	must(err)
	o := &outside{T: t, mqtt: m, cloud: &cloud{cfg: cfg, log: log, meter: &meter{}}}
	c := o.cloud
	c.db, err = openStore(t.Context(), cfg, nil)
	must(err)
	must(c.wire(t.Context()))
	if c.broker != nil {
		t.Fatal("a broker of our own was made as well")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, loop := range []func(context.Context) error{c.link.Serve, c.post, c.ingest.Serve, c.fleet.Serve} {
		running.Go(func() { _ = loop(ctx) })
	}
	t.Cleanup(func() { cancel(); running.Wait(); must(c.db.Close()) })
	o.owner, err = c.db.EnsureOwner(t.Context(), "Blue Cafe", "owner@example.org", "hash")
	must(err)
	o.site, err = c.fleet.CreateSite(t.Context(), o.owner, hotspot.Site{Name: "Main St", Currency: "EGP"})
	must(err)
	return o
}

func (o *outside) until(what string, ok func() bool) {
	o.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.Fatalf("waited in vain for %s", what)
		}
	}
}

// box enrols one through the door, confirmed, and connects it.
func (o *outside) box(ctx context.Context) (hotspot.AgentID, *mqttlink.Link) {
	o.Helper()
	fail := func(err error) {
		o.Helper()
		if err != nil {
			o.Fatal(err)
		}
	}
	code, _, err := o.cloud.fleet.NewEnrolmentCode(ctx, o.owner, o.site.ID)
	fail(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	fail(err)
	csr, err := x509.CreateCertificateRequest(crand.Reader, &x509.CertificateRequest{}, key)
	fail(err)
	seal, err := secret.NewKey()
	fail(err)
	body, err := json.Marshal(wire.EnrolRequest{V: wire.Version, Code: code, Request: "r1", SealKey: seal.Public().String(), At: time.Now(),
		CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))})
	fail(err)
	w := httptest.NewRecorder()
	o.cloud.fleet.Door().ServeHTTP(w, httptest.NewRequest("POST", wire.PathEnrol, bytes.NewReader(body)))
	var reply wire.EnrolReply
	fail(json.Unmarshal(w.Body.Bytes(), &reply))
	agent := hotspot.AgentID(reply.Agent)
	fail(o.cloud.fleet.ConfirmAgent(ctx, o.owner, agent))
	block, _ := pem.Decode([]byte(reply.Certificate))
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(reply.MQTTCA)) || reply.MQTTURL != o.mqtt.URL {
		o.Fatalf("got %+v, want the broker and whom to believe there", reply)
	}
	cfg := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}}}
	link, err := mqttlink.New(mqttlink.Options{URL: reply.MQTTURL, ClientID: reply.Agent + "-b1", Subscribe: []string{wire.Topic(agent, "down/#")},
		TLS: func() (*tls.Config, error) { return cfg, nil }})
	fail(err)
	done := make(chan struct{})
	go func() { defer close(done); _ = link.Serve(ctx) }()
	o.Cleanup(func() { <-done })
	return agent, link
}

// TestABrokerOfYourOwn: by configuration alone the contract runs over mosquitto, and
// a revocation in the console reaches it as the list it checks.
func TestABrokerOfYourOwn(t *testing.T) {
	o := newOutside(t)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	agent, link := o.box(ctx)
	o.until("the box at the broker", link.Connected)
	o.until("the cloud at the broker", o.cloud.link.Connected)
	hello, err := wire.Encode(wire.Hello{V: wire.Version, Boot: "b1", Epoch: "e1", At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Publish(wire.Topic(agent, wire.UpHello), hello, false); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-link.Messages():
		var s wire.State
		if err := wire.Decode(m.Payload, &s); err != nil || m.Topic != wire.Topic(agent, wire.DownState) || s.To == 0 {
			t.Errorf("got %+v on %s (%v), want the site's state", s, m.Topic, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no answer to a hello")
	}
	st, err := o.cloud.db.Site(ctx, o.owner.Organization, o.site.ID)
	if err != nil || st.Presence != hotspot.Online {
		t.Errorf("got %s (%v), want the site online", st.Presence, err)
	}

	file := o.cloud.cfg.Broker.Revocations
	if !strings.HasPrefix(file, o.cloud.cfg.StateDir) {
		t.Errorf("got %s, want it below the configuration's folder", file)
	}
	if err := o.cloud.fleet.RevokeAgent(ctx, o.owner, agent); err != nil {
		t.Fatal(err)
	}
	var list []byte
	o.until("the list to name it", func() bool {
		b, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		block, _ := pem.Decode(b)
		parsed, err := x509.ParseRevocationList(block.Bytes)
		list = b
		return err == nil && len(parsed.RevokedCertificateEntries) == 1
	})
	o.mqtt.Stop()
	o.mqtt.Start(t) // without the new list the box is let in again
	o.until("the box back at the broker", link.Connected)
	o.mqtt.Revoke(t, list)
	o.mqtt.Stop()
	o.mqtt.Start(t)
	o.until("the box to be refused", func() bool { return fault.Code(link.Err()) == "CLD-103" })
	if link.Connected() {
		t.Error("a revoked box is connected")
	}
}
