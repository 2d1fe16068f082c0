package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// received is the state of a command that is kept and not begun.
const received = "received"

const (
	// commandsKept is how long an answered command is remembered against repeats, of
	// the time this program runs: the cloud repeats none for longer than a day.
	commandsKept = 7 * 24 * time.Hour
	// kickTime is how long a kick is tried.
	kickTime = 2 * time.Minute
	// resultBytesTold bounds what a hello carries ahead of the events.
	resultBytesTold  = 64 << 10
	codeInterrupted  = "RTR-163"
	codeCommandLate  = "CLD-301"
	nextAfterUnknown = "Look how things are before you ask again: for a router, ask for its plan."
)

// loadCommands ends what a run of this program before was in the middle of: its
// effects may have come, wholly or in part.
func (t *tx) loadCommands() error {
	open, err := t.commandIDs("state = ?", wire.CommandRunning)
	for _, id := range open {
		if err == nil {
			err = t.finishCommand(wire.CommandResult{ID: id, State: wire.CommandUnknown, Code: codeInterrupted,
				Detail: "the program ended while it was being carried out", Next: nextAfterUnknown})
		}
	}
	return err
}

func (t *tx) commandIDs(where string, args ...any) (ids []string, err error) {
	err = t.rows("read commands", "SELECT id FROM command_inbox WHERE ended = 0 AND "+where+" ORDER BY id", args, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// ReceiveCommand keeps a command before anything comes of it. answer is that of one
// which was answered before; begin says that it waits to be begun, also for one
// received before and never begun: a command that survived a restart is begun only
// if the cloud still asks for it.
func (db *DB) ReceiveCommand(ctx context.Context, c wire.Command) (answer *wire.CommandResult, begin bool, err error) {
	if c.ID == "" || len(c.ID) > 64 {
		return nil, false, fault.New(fault.Invalid, "store: a command without an id", nil)
	}
	err = db.do(ctx, func(t *tx) error {
		answer, begin = nil, false
		var state, result string
		known, err := t.row("read command", "SELECT state, result FROM command_inbox WHERE id = ?", []any{c.ID}, &state, &result)
		switch {
		case err != nil:
			return err
		case known && result != "":
			answer = &wire.CommandResult{}
			return json.Unmarshal([]byte(result), answer)
		case known:
			begin = state == received
			return nil
		}
		ends := int64(0)
		if c.TTL > 0 {
			ends = db.ran().Milliseconds() + c.TTL
		}
		begin = true
		_, err = t.exec("keep command", "INSERT INTO command_inbox (id, kind, account, ends, state, result, ended) VALUES (?, ?, '', ?, ?, '', 0)",
			c.ID, string(c.Kind), ends, received)
		return err
	})
	return answer, begin, err
}

// BeginCommand writes down that a command is being carried out, before anything is
// done outside. It is false for one that is begun, answered or, by this, expired.
func (db *DB) BeginCommand(ctx context.Context, id string) (begun bool, err error) {
	err = db.do(ctx, func(t *tx) error {
		begun, err = t.beginCommand(id, "")
		return err
	})
	return begun && err == nil, err
}

func (t *tx) beginCommand(id string, account hotspot.AccountID) (begun bool, err error) {
	var state string
	var ends int64
	known, err := t.row("read command", "SELECT state, ends FROM command_inbox WHERE id = ?", []any{id}, &state, &ends)
	if err != nil || !known || state != received {
		return false, err
	}
	if ends > 0 && t.db.ran().Milliseconds() > ends {
		return false, t.expireCommand(id)
	}
	t.tick = true
	n, err := t.exec("begin command", "UPDATE command_inbox SET state = ?, account = ? WHERE id = ?", wire.CommandRunning, account, id)
	return n > 0, err
}

func (t *tx) expireCommand(id string) error {
	return t.finishCommand(wire.CommandResult{ID: id, State: wire.CommandExpired, Code: codeCommandLate, Detail: "it waited here longer than it was to live; nothing was done"})
}

// FinishCommand keeps what became of a command, with its event. The first answer
// counts.
func (db *DB) FinishCommand(ctx context.Context, r wire.CommandResult) error {
	return db.do(ctx, func(t *tx) error { return t.finishCommand(r) })
}

func (t *tx) finishCommand(r wire.CommandResult) error {
	if len(r.Body) > wire.ResultBytes {
		return fault.New(fault.Internal, fmt.Sprintf("store: a result of %d octets", len(r.Body)), nil)
	}
	if r.At.IsZero() {
		r.At = t.now
	}
	r.At = r.At.UTC()
	text, err := json.Marshal(r)
	if err != nil {
		return fault.New(fault.Internal, "store: result of a command", err)
	}
	n, err := t.exec("answer command", "UPDATE command_inbox SET state = ?, result = ?, ended = ? WHERE id = ? AND ended = 0",
		r.State, string(text), max(1, t.db.ran().Milliseconds()), r.ID)
	if err != nil || n == 0 {
		return err
	}
	return t.event(wire.EventCommandResult, r)
}

// Kick begins to end the sessions of an account, once. It is wanted like a lock
// until the router shows that they are over; nothing keeps the guest from coming
// back.
func (db *DB) Kick(ctx context.Context, id string, account hotspot.AccountID) error {
	return db.do(ctx, func(t *tx) error {
		known, err := t.row("read account", "SELECT 1 FROM account WHERE id = ?", []any{account}, new(int))
		if err != nil {
			return err
		}
		if !known {
			return t.finishCommand(wire.CommandResult{ID: id, State: wire.CommandRejected, Detail: "this site has no such account", Next: "Look whether the site holds the newest revision."})
		}
		t.wanted, err = t.beginCommand(id, account)
		if t.wanted {
			if t.db.w.kicks == nil {
				t.db.w.kicks = map[string]time.Time{}
			}
			t.db.w.kicks[id] = t.now
		}
		return err
	})
}

// kicked ends the kicks of an account by a proof, for whatever reason it was put off.
// One that began while the router was being looked at already waits for the next
// look: its guest may have come in behind that one. A kick that seems to begin long
// after the proof is of before our date was set back.
func (t *tx) kicked(p hotspot.Proof) error {
	if !p.Outcome.Final() {
		return nil
	}
	looked := lookBegan(p)
	ids, err := t.commandIDs("state = ? AND account = ?", wire.CommandRunning, p.Account)
	for _, id := range ids {
		if err != nil {
			return err
		}
		if began := t.db.w.kicks[id]; began.After(looked) && began.Before(p.At.Add(kickTime)) {
			t.wanted = true
			continue
		}
		delete(t.db.w.kicks, id)
		r := wire.CommandResult{ID: id, State: wire.CommandDone, Code: p.Code, Detail: fmt.Sprintf("%d sessions ended, read back from the router", p.Sessions)}
		switch {
		case p.Sessions == 1:
			r.Detail = "1 session ended, read back from the router"
		case p.Sessions == 0:
			r.Detail = "nobody was on"
		}
		if !closes(p.Outcome) {
			r.Detail = "the router acknowledged it; that it is over is not proven"
		}
		err = t.finishCommand(r)
	}
	return err
}

// lookBegan is when the attempt that a proof is of began, by its first step.
func lookBegan(p hotspot.Proof) time.Time {
	began := p.At
	for _, s := range p.Steps {
		if at := s.At.Add(-s.Took); s.Name != hotspot.StepReceived && at.Before(began) {
			began = at
		}
	}
	return began
}

// kickTargets are the accounts whose sessions somebody wants ended once.
func (db *DB) kickTargets(ctx context.Context, now time.Time, add func(target) *target) error {
	return db.query(ctx, "read kicks", "SELECT account FROM command_inbox WHERE ended = 0 AND state = 'running' AND account <> ''", nil, func(scan func(...any) error) error {
		fresh := target{Target: hotspot.Target{Reason: hotspot.OffKicked, ReceivedAt: now, Whole: true}}
		if err := scan(&fresh.Account); err != nil {
			return err
		}
		add(fresh)
		return nil
	})
}

// sweepCommands ends what waited too long, and forgets what was answered long ago.
func (t *tx) sweepCommands() error {
	ran := t.db.ran().Milliseconds()
	late, err := t.commandIDs("state = ? AND ends > 0 AND ends < ?", received, ran)
	for _, id := range late {
		if err == nil {
			err = t.expireCommand(id)
		}
	}
	if err != nil {
		return err
	}
	vain, err := t.commandIDs("state = ? AND account <> '' AND ends > 0 AND ends < ?", wire.CommandRunning, ran-kickTime.Milliseconds())
	for _, id := range vain {
		delete(t.db.w.kicks, id)
		if err == nil {
			err = t.finishCommand(wire.CommandResult{ID: id, State: wire.CommandFailed, Detail: "the sessions could not be ended within " + kickTime.String(), Next: "Look at the conditions of the site: the router does not answer, or refuses."})
		}
	}
	if err != nil {
		return err
	}
	_, err = t.exec("forget commands", "DELETE FROM command_inbox WHERE ended > 0 AND ended < ?", ran-commandsKept.Milliseconds())
	return err
}

// commandsTold is what a hello says of commands: those at work, and the newest
// results that the cloud has not acknowledged.
func (db *DB) commandsTold(ctx context.Context, h *wire.Hello) error {
	err := db.query(ctx, "read commands at work", "SELECT id FROM command_inbox WHERE ended = 0 AND state = 'running' ORDER BY id DESC LIMIT ?", []any{wire.CommandsTold},
		func(scan func(...any) error) error {
			r := wire.CommandResult{State: wire.CommandRunning, At: h.At}
			err := scan(&r.ID)
			h.Commands = append(h.Commands, r)
			return err
		})
	if err != nil {
		return err
	}
	size := 0
	return db.query(ctx, "read results of commands", `SELECT body FROM event WHERE kind = 'command.result' AND seq > ? AND (SELECT epoch FROM mark WHERE id = 1) = ?
		ORDER BY seq DESC LIMIT ?`, []any{h.AckedSeq, h.Epoch, wire.CommandsTold}, func(scan func(...any) error) error {
		var body []byte
		var r wire.CommandResult
		if err := scan(&body); err != nil {
			return err
		}
		if size += len(body); size > resultBytesTold {
			return nil
		}
		if err := json.Unmarshal(body, &r); err != nil {
			return fault.New(fault.Damaged, "store: result of a command", err)
		}
		h.Commands = append(h.Commands, r)
		return nil
	})
}

// codeBadSetup is of a set-up that this box cannot mean.
const codeBadSetup = "RTR-164"

// RouterSetup returns the set-up that the cloud wants of a router, if it wants one;
// kind Invalid where it cannot be applied.
func (db *DB) RouterSetup(ctx context.Context, nas hotspot.NASID) (doc wire.RouterDoc, found bool, err error) {
	err = db.query(ctx, "read set-up", "SELECT body, why FROM document WHERE kind = ? AND id = ?", []any{string(wire.DocRouter), string(nas)}, func(scan func(...any) error) error {
		var body []byte
		var why string
		if err := scan(&body, &why); err != nil {
			return err
		}
		if found = true; why != "" {
			return fault.New(fault.Invalid, "store: what the cloud wants of router "+string(nas)+" cannot be applied", errors.New(why)).
				WithCode(codeBadSetup, "Correct the fields that are named, on the router's page of the console.")
		}
		return json.Unmarshal(body, &doc)
	})
	return doc, found && err == nil, err
}

// checkRouter understands a set-up of a router. It is brought about by a person's
// command only, so there is nothing to do here.
func (t *tx) checkRouter(d wire.Doc) error {
	var b wire.RouterDoc
	if err := json.Unmarshal(d.Body, &b); err != nil {
		return err
	}
	if t.db.o.CheckSetup != nil {
		return t.db.o.CheckSetup(b.RouterSetup)
	}
	return nil
}
