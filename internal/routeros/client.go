package routeros

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	ros "github.com/go-routeros/routeros/v3"

	"iwas/internal/fault"
	"iwas/internal/secret"
)

// client is a Conn over the binary API. It uses go-routeros in its synchronous
// mode only: its asynchronous mode loses replies and leaks goroutines (facts.md
// §1). What that mode would give, commands side by side, a second Conn gives.
type client struct {
	where   place
	timeout time.Duration
	conn    net.Conn
	stream  *stream
	ros     *ros.Client

	turn chan struct{} // capacity one: whoever holds it may use what follows
	dead error         // why the connection must not be used again
}

func newClient(conn net.Conn, where place, timeout time.Duration) *client {
	s := newStream(conn)
	c, _ := ros.NewClient(s)             // its error is always nil in v3.0.1
	c.SetLogHandler(slog.DiscardHandler) // it would log sentences, passwords among them
	return &client{where: where, timeout: timeout, conn: conn, stream: s, ros: c, turn: make(chan struct{}, 1)}
}

// Close ends the connection; a Run under way returns an error. go-routeros's
// own Close would let that Run go while its reader still works.
func (c *client) Close() error { return c.conn.Close() }

// login proves who we are, by either of the two ways RouterOS has had.
func (c *client) login(ctx context.Context, user string, password secret.Value) error {
	_, err := c.bounded(ctx, "/login", nil, func() (*ros.Reply, error) {
		return nil, c.ros.Login(user, password.Reveal())
	})
	return err
}

// Run implements Conn.
func (c *client) Run(ctx context.Context, sentence ...string) ([]Row, error) {
	return c.run(ctx, nil, sentence)
}

// Each implements visitor.
func (c *client) Each(ctx context.Context, visit func(Row), sentence ...string) error {
	rows, err := c.run(ctx, visit, sentence)
	for _, r := range rows {
		visit(r)
	}
	return err
}

// run runs a command; its rows go to visit as they come, or are returned when
// that is nil. What !done carried is always returned.
func (c *client) run(ctx context.Context, visit func(Row), sentence []string) ([]Row, error) {
	if err := checkSentence(sentence); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.bounded(ctx, sentence[0], visit, func() (*ros.Reply, error) { return c.ros.RunArgs(sentence) })
}

// checkSentence refuses what is not one command with its words.
func checkSentence(sentence []string) error {
	if len(sentence) == 0 || !strings.HasPrefix(sentence[0], "/") {
		return fault.New(fault.Invalid, "routeros: a sentence begins with a command such as /system/identity/print", nil)
	}
	for i, w := range sentence {
		if w == "" { // would end the sentence there, and the rest would be a command of its own
			return fault.New(fault.Invalid, fmt.Sprintf("routeros: %s: word %d is empty", sentence[0], i+1), nil)
		}
	}
	return nil
}

// bounded runs one dialogue with the router within ctx. go-routeros heeds no
// context once it has sent, so the deadline is set on the connection; when it
// strikes, an answer may be half read, and the connection is dead.
func (c *client) bounded(ctx context.Context, command string, visit func(Row), dialogue func() (*ros.Reply, error)) ([]Row, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, explain(command, c.where, ctx.Err())
	}
	if c.dead != nil {
		return nil, fault.New(fault.Unavailable, command+": connection ended earlier", c.dead)
	}
	deadline, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, c.bury(command, err)
	}
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	c.stream.begin(command, visit)
	reply, err := dialogue()
	if !stop() && err == nil {
		c.dead = context.Cause(ctx) // the answer came in time, but a past deadline is set
	}
	return c.outcome(command, reply, err, ctx)
}

// outcome turns what go-routeros said into rows or a typed error.
func (c *client) outcome(command string, reply *ros.Reply, err error, ctx context.Context) ([]Row, error) {
	rows, trap, fatal := c.stream.end()
	var device *ros.DeviceError
	switch {
	case fatal != nil: // the router closes the connection after it
		c.dead = fatal
		return nil, fatal.fault()
	case err == nil:
		if reply != nil && reply.Done != nil && len(reply.Done.Map) > 0 {
			rows = append(rows, Row(reply.Done.Map))
		}
		return rows, nil
	case errors.As(err, &device) && trap != nil:
		return nil, trap.fault()
	case trap != nil: // some versions close right after refusing a login
		c.dead = trap
		return nil, trap.fault()
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return nil, c.bury(command, err)
}

// bury marks the connection dead and explains why.
func (c *client) bury(command string, err error) error {
	c.dead = err
	c.conn.Close()
	return explain(command, c.where, err)
}
