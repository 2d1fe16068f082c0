package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Standing says where this site's log and state are, for a hello. The caller
// adds what the store cannot know (boot, version, clock, conditions).
func (db *DB) Standing(ctx context.Context) (wire.Hello, error) {
	h := wire.Hello{V: wire.Version, At: db.o.Now().UTC()}
	err := db.query(ctx, "read mark", "SELECT epoch, last_seq, acked, lineage, revision, hash FROM mark WHERE id = 1", nil,
		func(scan func(...any) error) error {
			return scan(&h.Epoch, &h.LastSeq, &h.AckedSeq, &h.Lineage, &h.Revision, &h.Hash)
		})
	if err != nil {
		return h, err
	}
	err = db.query(ctx, "read documents not in force", "SELECT kind, id FROM document WHERE in_force = 0 LIMIT 100", nil,
		func(scan func(...any) error) error {
			var r wire.DocRef
			h.NotInForce = append(h.NotInForce, r)
			return scan(&h.NotInForce[len(h.NotInForce)-1].Kind, &h.NotInForce[len(h.NotInForce)-1].ID)
		})
	if err != nil {
		return h, err
	}
	err = db.query(ctx, "count open sessions", "SELECT COUNT(*) FROM session WHERE state <> 'closed'", nil,
		func(scan func(...any) error) error { return scan(&h.Sessions) })
	if err != nil {
		return h, err
	}
	err = db.query(ctx, "read proofs", "SELECT body FROM event WHERE kind = 'lock.proof' AND seq > ? ORDER BY seq DESC LIMIT 200", []any{h.AckedSeq},
		func(scan func(...any) error) error {
			var body []byte
			var p wire.LockProof
			if err := scan(&body); err != nil {
				return err
			}
			if err := json.Unmarshal(body, &p); err != nil {
				return fault.New(fault.Damaged, "store: proof", err)
			}
			h.Proofs = append(h.Proofs, p)
			return nil
		})
	return h, err
}

// Events returns the events after a sequence number, in order, at most
// maxEvents and about maxBytes of bodies, but at least one if there is one.
func (db *DB) Events(ctx context.Context, after int64, maxEvents, maxBytes int) (wire.Batch, error) {
	b := wire.Batch{V: wire.Version, First: after + 1, At: db.o.Now().UTC()}
	// One read transaction, so that epoch, chain and events belong together.
	conn, err := db.read.BeginTx(ctx, nil)
	if err != nil {
		return b, sqlFault("read events", err)
	}
	defer func() { _ = conn.Rollback() }() // it read only
	if err := conn.QueryRowContext(ctx, "SELECT epoch FROM mark WHERE id = 1").Scan(&b.Epoch); err != nil {
		return b, sqlFault("read mark", err)
	}
	if after > 0 {
		if err := conn.QueryRowContext(ctx, "SELECT chain FROM event WHERE seq = ?", after).Scan(&b.Chain); err != nil {
			return b, sqlFault(fmt.Sprintf("read chain of event %d", after), err)
		}
	}
	size := 0
	each := func(scan func(...any) error) error {
		var e wire.Event
		var at int64
		var body []byte
		if err := scan(&e.ID, &e.Kind, &at, &body); err != nil {
			return err
		}
		if size += len(body); size > maxBytes && len(b.Events) > 0 {
			size = maxBytes // what follows does not fit either
			return nil
		}
		e.At, e.Body = time.UnixMilli(at).UTC(), append(json.RawMessage(nil), body...)
		b.Events = append(b.Events, e)
		return nil
	}
	err = readRows("read events", each)(conn.QueryContext(ctx, "SELECT id, kind, at, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?", after, maxEvents))
	return b, err
}

// Acked takes in the cloud's answer: it moves the mark, back too (a cloud
// restored from a backup asks again for what it lost), or, on a fork, mints a
// new epoch and renumbers what the cloud does not have. Event ids stay, so that
// renumbering doubles nothing.
func (db *DB) Acked(ctx context.Context, a wire.Ack) error {
	return db.do(ctx, func(t *tx) error {
		if a.Epoch != t.mark.epoch {
			return nil // of a log that is no more
		}
		if a.Fork {
			return t.fork(a)
		}
		if a.Through < 0 || a.Through > t.mark.lastSeq {
			return fault.New(fault.Invalid, fmt.Sprintf("store: the cloud acknowledges event %d, the newest is %d", a.Through, t.mark.lastSeq), nil)
		}
		if a.Through == t.mark.acked {
			return nil
		}
		t.mark.acked = a.Through
		t.dirty = true
		return nil
	})
}

// fork starts a new epoch with the events the cloud does not hold.
func (t *tx) fork(a wire.Ack) error {
	keepAfter := t.mark.acked
	// Where the cloud's chain is ours at its mark, it has everything before.
	var chain string
	found, err := t.row("read chain", "SELECT chain FROM event WHERE seq = ?", []any{a.Through}, &chain)
	if err != nil {
		return err
	}
	if found && chain == a.Chain {
		keepAfter = a.Through
	}
	var events []wire.Event
	err = t.rows("read unacknowledged events", "SELECT id, kind, at, body FROM event WHERE seq > ? ORDER BY seq", []any{keepAfter},
		func(scan func(...any) error) error {
			var e wire.Event
			var at int64
			var body []byte
			if err := scan(&e.ID, &e.Kind, &at, &body); err != nil {
				return err
			}
			e.At, e.Body = time.UnixMilli(at).UTC(), append(json.RawMessage(nil), body...)
			events = append(events, e)
			return nil
		})
	if err != nil {
		return err
	}
	if _, err := t.exec("drop renumbered events", "DELETE FROM event"); err != nil {
		return err
	}
	t.mark.epoch, t.mark.lastSeq, t.mark.acked, t.mark.lastChain = hotspot.NewID(t.now), 0, 0, ""
	for _, e := range events {
		chain := wire.NextChain(t.mark.lastChain, e)
		t.mark.lastSeq++
		if _, err := t.exec("renumber event", "INSERT INTO event (seq, id, kind, at, body, chain) VALUES (?, ?, ?, ?, ?, ?)",
			t.mark.lastSeq, e.ID, string(e.Kind), e.At.UnixMilli(), []byte(e.Body), chain); err != nil {
			return err
		}
		t.mark.lastChain = chain
	}
	t.dirty, t.tick = true, true
	t.db.o.Log.Warn("the cloud holds another history of this site's log: a new epoch begins", "epoch", t.mark.epoch, "renumbered", len(events))
	return nil
}

// Started records that this program started.
func (db *DB) Started(ctx context.Context, version, boot string) error {
	return db.do(ctx, func(t *tx) error {
		return t.event(wire.EventAgentStarted, wire.AgentStarted{Version: version, Boot: boot})
	})
}

// Report appends the result of a command to the log.
func (db *DB) Report(ctx context.Context, r wire.CommandResult) error {
	return db.do(ctx, func(t *tx) error { return t.event(wire.EventCommandResult, r) })
}
