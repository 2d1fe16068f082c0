package uplink

import (
	"context"
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/mqttlink"
	"iwas/internal/wire"
)

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
	agent, channel, err := wire.ParseTopic(m.Topic)
	if err != nil {
		return err
	}
	if agent != t.u.Agent { // a broker that gives anybody anything
		return fault.New(fault.Denied, "uplink: a message for agent "+string(agent), nil)
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
		if t.u.Inbox != nil && t.u.Carry != nil {
			enqueue(t, t.commands, c)
		}
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
// answer to each: that it is held, or from where to send. A lock waits here for
// nothing long: what a snapshot takes to come into force it takes elsewhere.
func (t *talk) applyStates(ctx context.Context) {
	var newest wire.State    // applied last, for the log
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
		case applied && s.Snapshot != "":
			quietUntil, pause = time.Time{}, resendFirst
			t.ok(applyingState)
			poke(t.whole)
			if s.Ask || s.Whole || s.Through == "" && s.Part == s.Parts {
				poke(t.hello) // before, it would ask for more of what is on its way
			}
		case applied:
			quietUntil, pause = time.Time{}, resendFirst
			t.ok(applyingState)
			if s.Lineage != newest.Lineage || s.To != newest.To { // not a repeat
				t.log.Info("uplink: wanted state applied", "revision", s.To, "documents", len(s.Docs), "gone", len(s.Gone))
			}
			newest = wire.State{Lineage: s.Lineage, To: s.To}
			poke(t.hello)
		case time.Now().After(quietUntil):
			t.log.Info("uplink: state does not continue what is held", "from", s.From, "to", s.To, "lineage", s.Lineage)
			quietUntil, pause = time.Now().Add(pause), min(2*pause, resendMost)
			poke(t.hello)
		}
	}
}

// bringStates has the store bring a snapshot into force when it may be whole, at
// the start too: the program may have ended in the middle of one.
func (t *talk) bringStates(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.whole:
		case <-again.C:
		}
		told, err := t.u.Store.BringState(ctx)
		if err != nil {
			t.fail(ctx, bringingState, "bring a snapshot into force", err)
			again.Reset(resendMost) // the cloud has nothing more to send
			continue
		}
		t.ok(bringingState)
		if told {
			poke(t.hello)
		}
	}
}

// takeCommands has each command kept before anything comes of it, and begun. One
// that was answered before is answered again, at once.
func (t *talk) takeCommands(ctx context.Context) {
	for {
		var c wire.Command
		select {
		case <-ctx.Done():
			return
		case c = <-t.commands:
		}
		answer, begin, err := t.u.Inbox.ReceiveCommand(ctx, c)
		if err != nil {
			t.fail(ctx, keepingCommands, "keep a command", err)
			continue // unanswered, it comes again
		}
		t.ok(keepingCommands)
		switch {
		case answer != nil:
			t.answerAgain(*answer)
			poke(t.hello)
		case begin:
			t.log.Info("uplink: command", "command_id", c.ID, "kind", c.Kind)
			t.u.Carry(ctx, c)
		}
	}
}

// answersBound is how many answers to repeats wait for the next hello; the cloud
// asks again for what falls out.
const answersBound = 16

func (t *talk) answerAgain(r wire.CommandResult) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.repeats) < answersBound && !slices.ContainsFunc(t.repeats, func(o wire.CommandResult) bool { return o.ID == r.ID }) {
		t.repeats = append(t.repeats, r)
	}
}

// repeated returns the answers that a hello carries again, without those in it.
func (t *talk) repeated(told []wire.CommandResult) (more []wire.CommandResult) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.repeats {
		if !slices.ContainsFunc(told, func(o wire.CommandResult) bool { return o.ID == r.ID }) {
			more = append(more, r)
		}
	}
	t.repeats = nil
	return more
}
