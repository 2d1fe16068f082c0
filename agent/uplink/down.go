package uplink

import (
	"context"
	"time"

	"iwas/internal/mqttlink"
	"iwas/internal/wire"
)

// rememberCommands is how many command ids are kept against repeats, in
// memory; above it the oldest is forgotten.
const rememberCommands = 1000

// received is a command with the time it came, from which its life counts.
type received struct {
	wire.Command
	at time.Time
}

// listen sorts what comes down. It never touches the store: a slow disk must
// not stop acknowledgements.
func (t *talk) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-t.link.Messages():
			if err := t.sort(ctx, m); err != nil {
				t.u.note(func(s *Status) { s.Refused++ })
				t.log.Warn("uplink: message refused", "topic", m.Topic, "octets", len(m.Payload), "err", err)
			}
		}
	}
}

func (t *talk) sort(ctx context.Context, m mqttlink.Message) error {
	now := t.u.now()
	_, channel, err := wire.ParseTopic(m.Topic)
	if err != nil {
		return err
	}
	t.u.note(func(s *Status) { s.LastContact = now })
	switch channel {
	case wire.DownAck:
		var a wire.Ack
		if err := decode(m.Payload, &a, &a.V); err != nil {
			return err
		}
		select {
		case t.acks <- answer{a, now}:
		case <-ctx.Done():
		}
	case wire.DownState: // decoded by its worker: a snapshot is long
		enqueue(t, t.states, m.Payload)
	case wire.DownCommands:
		var c wire.Command
		if err := decode(m.Payload, &c, &c.V); err != nil {
			return err
		}
		t.hear(c.Time, now)
		enqueue(t, t.commands, received{c, time.Now()})
	}
	return nil
}

// decode reads a message and checks its version.
func decode(b []byte, message any, version *int) error {
	if err := wire.Decode(b, message); err != nil {
		return err
	}
	return wire.CheckVersion(*version)
}

func enqueue[T any](t *talk, queue chan T, item T) {
	select {
	case queue <- item:
	default:
		t.u.note(func(s *Status) { s.Dropped++ })
	}
}

// hear measures the clocks by a message that nobody asked for.
func (t *talk) hear(cloud, at time.Time) {
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	t.u.clock.sample(cloud, at, 0)
}

// applyStates hands states to the store, one after the other. A hello is the
// answer to each: that it is held, or from where to send.
func (t *talk) applyStates(ctx context.Context) {
	var quietUntil time.Time // no hello for what does not fit before this
	pause := resendFirst
	for {
		var payload []byte
		select {
		case <-ctx.Done():
			return
		case payload = <-t.states:
		}
		var s wire.State
		if err := decode(payload, &s, &s.V); err != nil {
			t.u.note(func(s *Status) { s.Refused++ })
			t.log.Warn("uplink: state refused", "err", err)
			continue
		}
		t.hear(s.Time, t.u.now())
		applied, err := t.u.Store.ApplyState(ctx, s)
		switch {
		case err != nil:
			t.fail(ctx, applyingState, "apply the wanted state", err) // unanswered, it comes again
		case applied && s.Snapshot != "" && s.Part < s.Parts:
			// More parts follow; a hello now would ask for the whole anew.
		case applied:
			quietUntil, pause = time.Time{}, resendFirst
			t.ok(applyingState)
			t.log.Info("uplink: wanted state applied", "revision", s.To, "documents", len(s.Docs), "gone", len(s.Gone), "snapshot", s.Snapshot != "")
			poke(t.hello)
		case time.Now().After(quietUntil):
			t.log.Info("uplink: state does not continue what is held", "from", s.From, "to", s.To, "lineage", s.Lineage)
			quietUntil, pause = time.Now().Add(pause), min(2*pause, resendMost)
			poke(t.hello)
		}
	}
}

// runCommands carries commands out one after the other, each id once.
func (t *talk) runCommands(ctx context.Context) {
	done := make(map[string]bool)
	var order []string // of done, oldest first
	for {
		var c received
		select {
		case <-ctx.Done():
			return
		case c = <-t.commands:
		}
		if c.ID == "" || done[c.ID] {
			continue // a repeat: the result is on its way as an event
		}
		done[c.ID] = true
		if order = append(order, c.ID); len(order) > rememberCommands {
			delete(done, order[0])
			order = order[1:]
		}
		t.finish(ctx, t.command(ctx, c))
	}
}

func (t *talk) command(ctx context.Context, c received) wire.CommandResult {
	r := wire.CommandResult{ID: c.ID}
	switch {
	case c.TTL > 0 && time.Since(c.at) > time.Duration(c.TTL)*time.Millisecond:
		r.State, r.Detail = "expired", "waited here longer than it was to live"
	case t.u.Command == nil:
		r.State, r.Detail = "unknown", "this build does not carry out "+string(c.Kind)
	default:
		r = t.u.Command(ctx, c.Command)
		r.ID = c.ID
	}
	if r.At.IsZero() {
		r.At = t.u.now().UTC()
	}
	return r
}

func (t *talk) finish(ctx context.Context, r wire.CommandResult) {
	t.log.Info("uplink: command", "command_id", r.ID, "state", r.State, "detail", r.Detail)
	t.u.note(func(s *Status) { s.LastCommand = r })
	if t.u.Report == nil {
		return
	}
	if err := t.u.Report(ctx, r); err != nil {
		t.fail(ctx, reportingCommand, "store the result of a command", err)
		return
	}
	t.ok(reportingCommand)
}
