package chaos

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"iwas/internal/mqtttest"
)

// broker is a mosquitto between agents and cloud, with the shipped configuration.
type broker struct {
	t *testing.T
	m *mqtttest.Mosquitto

	mu  sync.Mutex
	ids map[string]tls.Certificate // guarded by mu; of agents, as its authority signs them
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	return &broker{t: t, m: mqtttest.StartMosquitto(t), ids: map[string]tls.Certificate{}}
}

// dial is the relay's way to the broker in an agent's name.
func (b *broker) dial(agent string, _ tls.Certificate, _ *x509.CertPool) (net.Conn, error) {
	b.mu.Lock()
	own, made := b.ids[agent]
	b.mu.Unlock()
	if !made {
		key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
		if err != nil {
			return nil, err
		}
		own = tls.Certificate{Certificate: [][]byte{b.m.Agents.Sign(b.t, &key.PublicKey, agent, nil)}, PrivateKey: key}
		b.mu.Lock()
		b.ids[agent] = own
		b.mu.Unlock()
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: b.m.Cloud.Pool(), Certificates: []tls.Certificate{own}}}
	return d.Dial("tcp", strings.TrimPrefix(b.m.URL, "tls://"))
}

// config is what the cloud is told of the broker.
func (b *broker) config(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"broker-ca.pem":   b.m.Cloud.PEM,
		"broker-cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.m.Cloud.Sign(t, &key.PublicKey, "cloud", nil)}),
		"broker-key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("url = %q\nca_file = \"broker-ca.pem\"\ncert_file = \"broker-cert.pem\"\nkey_file = \"broker-key.pem\"\n", b.m.CloudURL)
}

// kill ends it at once; what it had retained, and who had subscribed, is gone.
func (b *broker) kill(t *testing.T, dice *rand.Rand) error {
	b.m.Stop()
	rest(dice.IntN(1500), "the broker is away")
	b.m.Start(t)
	return nil
}

func (b *broker) signal(_ string, s syscall.Signal) error { return b.m.Signal(s) }
