// Package sdnotify tells systemd how its service is: ready, alive, stopping. It
// does nothing where nobody listens, and asks systemd for nothing.
package sdnotify

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Notifier is the door of the service manager that started this process.
type Notifier struct {
	socket   string        // NOTIFY_SOCKET: a path, or @name of an abstract one
	watchdog time.Duration // silence after which we are killed; 0 is never
}

// FromEnvironment finds the door, and takes it out of the environment so that no
// child speaks in our name. WATCHDOG_PID, where given, must be our process.
func FromEnvironment() (Notifier, error) {
	n := Notifier{socket: os.Getenv("NOTIFY_SOCKET")}
	limit, pid := os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	if pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if us, err := strconv.ParseInt(limit, 10, 64); err == nil && us > 0 {
			n.watchdog = time.Duration(us) * time.Microsecond
		}
	}
	return n, errors.Join(os.Unsetenv("NOTIFY_SOCKET"), os.Unsetenv("WATCHDOG_USEC"), os.Unsetenv("WATCHDOG_PID"))
}

// Ready says that the service does its work, and how, in a line for people.
func (n Notifier) Ready(status string) error { return n.send("READY=1", "STATUS="+oneLine(status)) }

// Status changes the line for people.
func (n Notifier) Status(status string) error { return n.send("STATUS=" + oneLine(status)) }

// Stopping says that the end was asked for and is under way.
func (n Notifier) Stopping() error { return n.send("STOPPING=1") }

// StoppingWith says so once ctx ends. The function it returns waits until it was said:
// a program that ends at once would be gone before.
func (n Notifier) StoppingWith(ctx context.Context) (wait func()) {
	said := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(said)
		_ = n.Stopping() // only an older status line would stay
	})
	return func() {
		if !stop() {
			<-said
		}
	}
}

// Watch says "alive" at a third of the time the manager allows for silence, as long
// as alive returns in time: one that hangs is silence, and the manager then
// kills and restarts the process. It returns when ctx ends.
func (n Notifier) Watch(ctx context.Context, alive func(context.Context)) error {
	if n.socket == "" || n.watchdog == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	t := time.NewTicker(n.watchdog / 3)
	defer t.Stop()
	for {
		if alive(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
		if err := n.send("WATCHDOG=1"); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

func (n Notifier) send(lines ...string) error {
	if n.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	return errors.Join(err, c.Close())
}

// oneLine keeps a text from being read as more assignments.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
