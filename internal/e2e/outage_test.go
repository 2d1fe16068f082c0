package e2e

import (
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/demo"
)

// wall is the site's way to the broker, which a firewall may shut. HTTPS does not go
// through it.
type wall struct {
	t    *testing.T
	to   string
	addr string

	mu    sync.Mutex // guards what is below
	l     net.Listener
	conns []net.Conn
}

func newWall(t *testing.T, broker int) *wall {
	w := &wall{t: t, to: net.JoinHostPort("127.0.0.1", strconv.Itoa(broker)), addr: "127.0.0.1:0"}
	w.open()
	t.Cleanup(w.shut)
	return w
}

func (w *wall) open() {
	w.t.Helper()
	l, err := net.Listen("tcp4", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.l, w.addr = l, l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // shut
			}
			go w.carry(c)
		}
	}()
}

func (w *wall) carry(c net.Conn) {
	defer c.Close()
	d, err := net.Dial("tcp4", w.to)
	if err != nil {
		return
	}
	defer d.Close()
	w.mu.Lock()
	if w.l == nil {
		w.mu.Unlock()
		return
	}
	w.conns = append(w.conns, c, d)
	w.mu.Unlock()
	go func() {
		_, _ = io.Copy(d, c) // until either end is closed
		_ = d.Close()
	}()
	_, _ = io.Copy(c, d)
}

func (w *wall) shut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.l == nil {
		return
	}
	_ = w.l.Close()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.l, w.conns = nil, nil
}

// TestAnOutageIsToldOverHTTPS: the site's firewall shuts the broker's port and leaves
// HTTPS open. The console says that the box is there and why it is not connected, and
// takes that back once it is.
func TestAnOutageIsToldOverHTTPS(t *testing.T) {
	t.Parallel() // most of it is waiting
	var w *wall
	c := open(t, func(o *demo.Options) {
		w = newWall(t, o.Ports.MQTT)
		o.MQTTVia = w.l.Addr().(*net.TCPAddr).Port
	})
	m := &terminal{T: t, c: c}
	text, err := os.ReadFile(c.AgentConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.StopOne("agent", false); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.AgentConfig(), append([]byte("outage_after = \"5s\"\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	type told struct {
		Presence string
		Outage   *struct {
			Code, Text string
			Since, At  time.Time
		}
	}
	see := func() (s told) {
		t.Helper()
		if err := c.API(t.Context(), http.MethodGet, "/api/v1/sites/"+c.SiteID, nil, &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	const says = "The box is there, but its connection to the broker fails"
	page := func() string { return m.page("/sites/" + c.SiteID) }
	until(t, "the box to be connected", 60*time.Second, func() bool { return see().Presence == "online" })
	if s := see(); s.Outage != nil || strings.Contains(page(), says) {
		t.Fatalf("before anything is shut the cloud tells of an outage: %+v", s)
	}
	shutAt := time.Now()
	w.shut()
	until(t, "the cloud to hear why there is no connection", 90*time.Second, func() bool { return see().Outage != nil })
	s := see()
	if s.Presence == "online" || s.Outage.Code != "CLD-101" || !strings.Contains(s.Outage.Text, "refused") {
		t.Errorf("got %+v with %+v, want the box away, with CLD-101 and that the port refuses", s, s.Outage)
	}
	if after := s.Outage.At.Sub(s.Outage.Since); s.Outage.Since.Before(shutAt.Add(-2*time.Second)) || after < 5*time.Second {
		t.Errorf("told at %v of an outage since %v; the port was shut at %v, and five seconds are to pass", s.Outage.At, s.Outage.Since, shutAt)
	}
	for _, want := range []string{says, "let the broker&#39;s port out", "CLD-101", "refused"} {
		if p := page(); !strings.Contains(p, want) {
			t.Errorf("the site's page does not say %q", want)
		}
	}
	w.open()
	until(t, "the box to be back", 90*time.Second, func() bool { s := see(); return s.Presence == "online" && s.Outage == nil })
	if strings.Contains(page(), says) {
		t.Error("the site's page tells of an outage that is over")
	}
}
