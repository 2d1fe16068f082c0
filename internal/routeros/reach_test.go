package routeros

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"iwas/internal/fault"
)

func TestDoorOf(t *testing.T) {
	for text, want := range map[string]Door{
		"api-ssl://router.lan":      {"router.lan", "8729", "api-ssl", true, false},
		"https://192.168.99.1:8443": {"192.168.99.1", "8443", "www-ssl", true, true},
		"api://[fe80::1]":           {"fe80::1", "8728", "api", false, false},
	} {
		if got, err := DoorOf(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	if _, err := DoorOf("ftp://router"); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want Invalid", err)
	}
}

func TestReach(t *testing.T) {
	l := listen(t)
	if at, err := Reach(t.Context(), "api://"+l.Addr().String()); err != nil || at != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("got %v, %v, want our end", at, err)
	}
	l.Close()
	if _, err := Reach(t.Context(), "api://"+l.Addr().String()); fault.Code(err) != CodeServiceOff {
		t.Errorf("got %v, want %s", err, CodeServiceOff)
	}
}

// Drain waits for the calls whose callers gave up, and for no longer.
func TestDrainWaitsForLateCalls(t *testing.T) {
	var p Pace
	if err := p.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	p.leave()
	p.leave()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Drain(short); err == nil || p.Late() != 2 {
		t.Errorf("got %v with %d late, want to wait", err, p.Late())
	}
	drained := make(chan error, 1)
	go func() { drained <- p.Drain(t.Context()) }()
	p.arrive()
	select {
	case <-drained:
		t.Fatal("it did not wait for the second")
	case <-time.After(20 * time.Millisecond):
	}
	p.arrive()
	if err := <-drained; err != nil || p.Late() != 0 {
		t.Errorf("got %v with %d late", err, p.Late())
	}
}
