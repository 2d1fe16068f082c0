package mqttlink

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"iwas/internal/fault"
)

// inside is set where this test runs again in a network namespace without a route.
const inside = "IWAS_TEST_NO_ROUTE"

// Without a route the resolver and the socket fail in ways of their own; a person is
// told the one thing that is wrong.
func TestNoRouteIsToldApart(t *testing.T) {
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoRouteIsToldApart$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if id := os.Getuid(); id != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("in a namespace of its own: %v\n%s", err, out)
		}
		return
	}
	for _, url := range []string{"tls://192.0.2.7", "tls://mqtt.iwas.invalid"} {
		l, err := New(Options{ClientID: "me", URL: url})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx) }()
		for deadline := time.Now().Add(20 * time.Second); l.Err() == nil && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond) // until the first attempt has failed
		}
		cancel()
		<-done
		if fault.Code(l.Err()) != "NET-101" {
			t.Errorf("%s: %v (%s), want NET-101", url, l.Err(), fault.Code(l.Err()))
		}
	}
}
