package e2e

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/demo"
)

// boxStatus is the part of a box's /status.json the tests look at.
type boxStatus struct {
	Cloud struct {
		Connected bool `json:"connected"`
	} `json:"cloud"`
	Conditions []struct {
		Code string `json:"code"`
	} `json:"conditions"`
}

func (s boxStatus) says(code string) bool {
	return slices.ContainsFunc(s.Conditions, func(c struct {
		Code string `json:"code"`
	}) bool {
		return c.Code == code
	})
}

// statusAt reads the local page of a box; the zero value while it does not answer.
func statusAt(t *testing.T, port int) (s boxStatus) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/status.json", port), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// twin is a second agent on a copy of the first one's state directory.
type twin struct {
	config string
	ports  demo.Ports
	cmd    *exec.Cmd
	log    *os.File
}

func (w *twin) start(t *testing.T) {
	t.Helper()
	w.cmd = exec.Command(filepath.Join(bin, "iwas-agent"), "--config", w.config, "run")
	w.cmd.Stdout, w.cmd.Stderr = w.log, w.log
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (w *twin) stop() {
	if w.cmd != nil {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait() // it was killed
		w.cmd = nil
	}
}

// clone copies the box's disk while the box is off.
func clone(t *testing.T, c *demo.Cafe, mine demo.Ports) *twin {
	t.Helper()
	if err := c.StopOne("agent", false); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	state := filepath.Join(dir, "agent")
	if err := os.CopyFS(state, os.DirFS(filepath.Join(c.Dir(), "agent"))); err != nil {
		t.Fatal(err)
	}
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.AgentConfig())
	if err != nil {
		t.Fatal(err)
	}
	ports, err := demo.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(filepath.Join(c.Dir(), "agent")+`"`, state+`"`, fmt.Sprint(mine.RADIUSAuth), fmt.Sprint(ports.RADIUSAuth),
		fmt.Sprint(mine.RADIUSAcct), fmt.Sprint(ports.RADIUSAcct), fmt.Sprint(mine.Status), fmt.Sprint(ports.Status)).Replace(string(text))
	w := &twin{config: filepath.Join(dir, "agent.toml"), ports: ports}
	if err := os.WriteFile(w.config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if w.log, err = os.Create(filepath.Join(dir, "twin.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.stop()
		if t.Failed() {
			b, _ := os.ReadFile(w.log.Name())
			t.Logf("twin.log:\n%s", b[max(0, len(b)-4000):])
		}
		_ = w.log.Close()
	})
	return w
}

// siteSeen is the part of the API's site the tests look at.
type siteSeen struct {
	Presence    string     `json:"presence"`
	CopyHeardAt *time.Time `json:"copy_heard_at"`
	Outage      *struct {
		Code string   `json:"code"`
		AgeS *float64 `json:"age_s"`
	} `json:"outage"`
}

func seeSite(t *testing.T, c *demo.Cafe) (s siteSeen) {
	t.Helper()
	if err := c.API(t.Context(), http.MethodGet, "/api/v1/sites/"+c.SiteID, nil, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAClonedDiskIsCaught: the first box goes on, the second is refused over
// restarts, both sides say so, and an enrolment of its own brings it in.
func TestAClonedDiskIsCaught(t *testing.T) {
	t.Parallel() // most of it is waiting
	var mine demo.Ports
	c := open(t, func(o *demo.Options) { mine = o.Ports })
	w := clone(t, c, mine)
	until(t, "the original to be there", 20*time.Second, func() bool { return statusAt(t, mine.Status).Cloud.Connected })
	w.start(t)
	until(t, "the copy to get in", 20*time.Second, func() bool { return statusAt(t, w.ports.Status).Cloud.Connected })
	n := 0
	until(t, "the cloud to see two of them", 40*time.Second, func() bool {
		n++ // every change is answered by a hello of whoever is there
		if _, err := c.CreateAccount(t.Context(), map[string]any{"kind": "user", "username": fmt.Sprint("caught", n), "plan": c.PlanID(0)}); err != nil {
			t.Fatal(err)
		}
		return seeSite(t, c).CopyHeardAt != nil
	})
	until(t, "the copy to say so and to stay away", 20*time.Second, func() bool {
		s := statusAt(t, w.ports.Status)
		return !s.Cloud.Connected && s.says("CLD-112")
	})
	until(t, "the original to say so and to go on", 20*time.Second, func() bool {
		s := statusAt(t, mine.Status)
		return s.Cloud.Connected && s.says("CLD-104") && !s.says("CLD-112")
	})
	w.stop()
	w.start(t)
	until(t, "the copy to know it after a restart", 20*time.Second, func() bool { return statusAt(t, w.ports.Status).says("CLD-112") })
	if statusAt(t, w.ports.Status).Cloud.Connected || seeSite(t, c).Presence != "online" {
		t.Error("the copy is in again, or the original is out")
	}
	if err := login(t, c, phone, c.Accounts[0], "http-chap"); err != nil {
		t.Errorf("a guest of the original: %v", err)
	}

	w.stop()
	enrolTwin(t, c, w)
	w.start(t)
	until(t, "the copy to be in by its own enrolment", 20*time.Second, func() bool { return statusAt(t, w.ports.Status).Cloud.Connected })
	until(t, "the first box to be retired by that", 20*time.Second, func() bool { s := statusAt(t, mine.Status); return !s.Cloud.Connected && s.says("CLD-103") })
}

// enrolTwin enrols the twin with a code of its own and confirms it.
func enrolTwin(t *testing.T, c *demo.Cafe, w *twin) {
	t.Helper()
	var code struct{ Code, Command string }
	if err := c.API(t.Context(), http.MethodPost, "/api/v1/sites/"+c.SiteID+"/enrolment-codes", nil, &code); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(w.config), "code")
	if err := os.WriteFile(file, []byte(code.Code), 0o600); err != nil {
		t.Fatal(err)
	}
	_, words, _ := strings.Cut(code.Command, " enroll ")
	args := append([]string{"--config", w.config, "--json", "enroll"}, strings.Fields(words)...)
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "iwas-agent"), append(args, "--code-file", file, "--yes")...).Output()
	if err != nil {
		t.Fatalf("enroll: %v\n%s", err, out)
	}
	var made struct{ Agent string }
	if err := json.Unmarshal(out, &made); err != nil {
		t.Fatal(err)
	}
	if err := c.API(t.Context(), http.MethodPost, "/api/v1/agents/"+made.Agent+"/confirm", nil, nil); err != nil {
		t.Fatal(err)
	}
}

// TestABoxWhoseCertificateHasEndedComesBackByItself: the broker refuses it, the
// reason and the renewal go over HTTPS, and the same process connects.
func TestABoxWhoseCertificateHasEndedComesBackByItself(t *testing.T) {
	var mine demo.Ports
	c := open(t, func(o *demo.Options) { mine = o.Ports })
	until(t, "the box to be there", 20*time.Second, func() bool { return statusAt(t, mine.Status).Cloud.Connected })
	if err := c.StopOne("agent", false); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.Dir(), "agent", "identity", "cert.pem")
	before := ended(t, file, filepath.Join(c.Dir(), "agent", "identity", "key.pem"), filepath.Join(c.Dir(), "cloud", "ca", "ca.pem"))
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the box to be back", 60*time.Second, func() bool { return statusAt(t, mine.Status).Cloud.Connected })
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	after, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !after.NotAfter.After(time.Now().Add(300*24*time.Hour)) || after.Subject.CommonName != before.Subject.CommonName {
		t.Errorf("got %s until %v (%v), want the same agent for a year", after.Subject, after.NotAfter, err)
	}
	until(t, "the console to see it", 10*time.Second, func() bool { return seeSite(t, c).Presence == "online" })
}

// ended replaces a box's certificate by one of the same key that ended an hour ago.
func ended(t *testing.T, cert, key, ca string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := tls.LoadX509KeyPair(ca, ca)
	if err != nil {
		t.Fatal(err)
	}
	template := *pair.Leaf
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, &template, authority.Leaf, pair.Leaf.PublicKey, authority.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}
