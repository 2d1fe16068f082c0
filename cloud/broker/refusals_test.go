package broker

import (
	"fmt"
	"net"
	"testing"
	"time"
)

func TestANoisyClientHidesNobody(t *testing.T) {
	var r refusals
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	lines := 0
	for range 10_000 { // within a second
		now = now.Add(100 * time.Microsecond)
		if _, ok := r.allow("noisy", now); ok {
			lines++
		}
	}
	if lines < clientBurst || lines > clientBurst+clientLines+1 {
		t.Errorf("the noisy client got %d lines in a second, want %d or one more", lines, clientBurst)
	}
	if hidden, ok := r.allow("quiet", now); !ok || hidden != 0 {
		t.Errorf("another client: got logged %v, %d hidden; want its line", ok, hidden)
	}
	now = now.Add(5 * time.Second)
	if hidden, ok := r.allow("noisy", now); !ok || hidden != 10_000-lines {
		t.Errorf("got logged %v, %d hidden; want a line that tells of %d", ok, hidden, 10_000-lines)
	}
	if hidden, ok := r.allow("noisy", now); !ok || hidden != 0 {
		t.Errorf("the line after that: got logged %v, %d hidden; want none hidden", ok, hidden)
	}
}

// TestTheLogOfRefusalsIsBounded: in memory and in lines, however many clients
// come; one known before keeps its own share, and the silent ones make room.
func TestTheLogOfRefusalsIsBounded(t *testing.T) {
	var r refusals
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	lines := 0
	const seconds = 10
	for i := range 50_000 {
		now = now.Add(seconds * time.Second / 50_000)
		if _, ok := r.allow(fmt.Sprint("client", i), now); ok {
			lines++
		}
	}
	if len(r.clients) > maxRefused {
		t.Errorf("%d clients are kept, want at most %d", len(r.clients), maxRefused)
	}
	if most := allBurst + allLines*(seconds+1); lines > most || lines < allBurst {
		t.Errorf("got %d lines in %d s, want %d to %d", lines, seconds, allBurst, most)
	}
	if r.clients["late"] != nil || r.clients["client0"] == nil {
		t.Fatal("the early clients are not those that are kept")
	}
	now = now.Add(forgetRefused + time.Second)
	if _, ok := r.allow("late", now); !ok || r.clients["late"] == nil || len(r.clients) != 1 {
		t.Errorf("after a minute of silence: got logged %v, %d clients; want the new one only", ok, len(r.clients))
	}
}

func TestWhoIsRefused(t *testing.T) {
	for text, want := range map[string]string{"198.51.100.7:40000": "198.51.100.7", "[::ffff:198.51.100.7]:1": "198.51.100.7",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64"} {
		addr := remote(text)
		if got := addressOf(addr); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
		if got := (&peer{Conn: conn{addr: addr}}).clientOf(); got != want {
			t.Errorf("no agent at %s: got %s, want %s", text, got, want)
		}
	}
	if got := (&peer{agent: "agentone"}).clientOf(); got != "agent agentone" {
		t.Errorf("an agent: got %s, want it by its name", got)
	}
}

// remote is an address as text.
type remote string

func (r remote) Network() string { return "tcp" }
func (r remote) String() string  { return string(r) }

// conn is a connection from an address.
type conn struct {
	net.Conn
	addr net.Addr
}

func (c conn) RemoteAddr() net.Addr { return c.addr }
