package mqtttest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Mosquitto is a running mosquitto with configs/mosquitto/iwas.conf.
type Mosquitto struct {
	Agents, Cloud *CA    // who signs the agents, and the cloud with its servers
	URL           string // of the agents' door
	CloudURL      string // of the cloud's door; the certificate's name must be "cloud"

	dir     string
	cmd     *exec.Cmd
	log     *output
	checked bool // against a list of revoked certificates
}

// StartMosquitto runs mosquitto until the test ends.
func StartMosquitto(t testing.TB) *Mosquitto {
	t.Helper()
	agents := NewCA(t, "test agents")
	m := startMosquitto(t, agents.PEM, nil)
	m.Agents = agents
	return m
}

// StartMosquittoChecking runs mosquitto for agents of another authority than the
// test's, and has it check their certificates against a list of revoked ones.
func StartMosquittoChecking(t testing.TB, agentsPEM, revoked []byte) *Mosquitto {
	t.Helper()
	return startMosquitto(t, agentsPEM, revoked)
}

// Revoke replaces the list of revoked certificates, as a person copies the file.
func (m *Mosquitto) Revoke(t testing.TB, revoked []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, "agents-crl.pem"), revoked, 0o600); err != nil {
		t.Fatal(err)
	}
}

func startMosquitto(t testing.TB, agentsPEM, revoked []byte) *Mosquitto {
	t.Helper()
	m := &Mosquitto{Cloud: NewCA(t, "test cloud"), dir: t.TempDir(), checked: revoked != nil}
	m.install(t, agentsPEM)
	if m.checked {
		m.Revoke(t, revoked)
	}
	var err error
	for range 5 { // the free ports below may be taken by others meanwhile
		agents, cloud := freePort(t), freePort(t)
		m.configure(t, agents, cloud)
		m.URL, m.CloudURL = fmt.Sprintf("tls://127.0.0.1:%d", agents), fmt.Sprintf("tls://127.0.0.1:%d", cloud)
		if err = m.start(agents, cloud); err == nil {
			t.Cleanup(m.Stop)
			return m
		}
	}
	t.Fatal(err)
	return nil
}

// Stop ends the process, as a crash would: nothing is said to the clients.
func (m *Mosquitto) Stop() {
	if m.cmd != nil {
		m.cmd.Process.Kill()
		m.cmd.Wait() // its error is that it was killed
		m.cmd = nil
	}
}

// Start runs it again on the same ports.
func (m *Mosquitto) Start(t testing.TB) {
	t.Helper()
	var agents, cloud int
	if _, err := fmt.Sscanf(m.URL+" "+m.CloudURL, "tls://127.0.0.1:%d tls://127.0.0.1:%d", &agents, &cloud); err != nil {
		t.Fatal(err)
	}
	if err := m.start(agents, cloud); err != nil {
		t.Fatal(err)
	}
}

// Signal sends the process a signal.
func (m *Mosquitto) Signal(s os.Signal) error {
	if m.cmd == nil {
		return os.ErrProcessDone
	}
	return m.cmd.Process.Signal(s)
}

// install writes keys and certificates and the access list.
func (m *Mosquitto) install(t testing.TB, agentsPEM []byte) {
	t.Helper()
	server := m.Cloud.Server(t)
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"agents-ca.pem": agentsPEM,
		"cloud-ca.pem":  m.Cloud.PEM,
		"server.crt":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate[0]}),
		"server.key":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"iwas.acl":      shipped(t, "iwas.acl"),
	} {
		if err := os.WriteFile(filepath.Join(m.dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// configure writes the shipped configuration with this test's folder and ports.
func (m *Mosquitto) configure(t testing.TB, agents, cloud int) {
	t.Helper()
	conf := string(shipped(t, "iwas.conf"))
	for old, now := range map[string]string{
		"/etc/mosquitto/iwas/":        m.dir + "/",
		"\nlistener 8883\n":           fmt.Sprintf("\nlistener %d 127.0.0.1\n", agents),
		"\nlistener 8884 127.0.0.1\n": fmt.Sprintf("\nlistener %d 127.0.0.1\n", cloud),
	} {
		if !strings.Contains(conf, old) {
			t.Fatalf("iwas.conf: %q is gone, the test cannot replace it", old)
		}
		conf = strings.ReplaceAll(conf, old, now)
	}
	if m.checked {
		const off = "\n# crlfile "
		if !strings.Contains(conf, off) {
			t.Fatalf("iwas.conf: %q is gone, the test cannot switch it on", off)
		}
		conf = strings.Replace(conf, off, "\ncrlfile ", 1)
	}
	if os.Getuid() == 0 {
		conf += "\nuser root\n" // else it could not read this folder
	}
	if err := os.WriteFile(filepath.Join(m.dir, "iwas.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m *Mosquitto) start(ports ...int) error {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			return errors.New("mosquitto is not installed: apt-get install mosquitto")
		}
	}
	m.log = &output{}
	m.cmd = exec.Command(path, "-c", filepath.Join(m.dir, "iwas.conf"))
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		ready := 0
		for _, port := range ports {
			if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
				c.Close()
				ready++
			}
		}
		if ready == len(ports) {
			return nil
		}
	}
	m.Stop()
	return fmt.Errorf("mosquitto does not listen:\n%s", m.log)
}

// shipped returns a file of configs/mosquitto.
func shipped(t testing.TB, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, "configs", "mosquitto", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// freePort returns a port that nobody held a moment ago, below those the system
// hands out by itself: no connection of another test takes it while mosquitto is
// stopped.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free port found")
	return 0
}

// output collects what the process says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

// Write adds to the output.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

// String returns all output so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
