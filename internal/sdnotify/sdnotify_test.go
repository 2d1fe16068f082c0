package sdnotify

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// manager is the door of a service manager, and what was said at it.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func heard(t *testing.T, c *net.UnixConn, want string) {
	t.Helper()
	b := make([]byte, 512)
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != want {
		t.Errorf("got %q, %v, want %q", b[:n], err, want)
	}
}

func TestWhatIsSaidToTheManager(t *testing.T) {
	for name, socket := range map[string]string{
		"a file":        filepath.Join(t.TempDir(), "notify"),
		"abstract name": "@iwas-sdnotify-test-" + strconv.Itoa(os.Getpid()),
	} {
		c := manager(t, socket)
		t.Setenv("NOTIFY_SOCKET", socket)
		n, err := FromEnvironment()
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("NOTIFY_SOCKET") != "" {
			t.Errorf("%s: a child could speak in our name", name)
		}
		if err := n.Ready("guests can\nMAINPID=1 log in"); err != nil {
			t.Fatal(err)
		}
		heard(t, c, "READY=1\nSTATUS=guests can MAINPID=1 log in")
		ctx, cancel := context.WithCancel(t.Context())
		wait := n.StoppingWith(ctx)
		cancel()
		wait()
		heard(t, c, "STOPPING=1")
		n.StoppingWith(t.Context())() // nobody asked to stop: nothing is waited for
	}
}

func TestWhoHangsIsSilent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	c := manager(t, socket)
	n := Notifier{socket: socket, watchdog: 30 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	asked, looks, done := make(chan struct{}), 0, make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Watch(ctx, func(ctx context.Context) { // ends with ctx's error
			if looks++; looks > 2 {
				close(asked)
				<-ctx.Done()
			}
		})
	}()
	heard(t, c, "WATCHDOG=1")
	heard(t, c, "WATCHDOG=1")
	<-asked
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 64)); err == nil {
		t.Errorf("something that hangs was called alive (%d octets)", n)
	}
	cancel()
	<-done
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("WATCHDOG_PID", "1")
	n, err := FromEnvironment()
	if err != nil || n.watchdog != 0 {
		t.Fatalf("another process's watchdog is ours: %v, %v", n.watchdog, err)
	}
	if err := n.Ready("x"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Watch(ctx, func(context.Context) { t.Error("nobody wants to know") }); err != context.Canceled {
		t.Error(err)
	}
}
