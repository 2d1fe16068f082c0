package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/wire"
)

// Standing says where this site's log and state are, for a hello. The caller
// adds what the store cannot know (boot, version, clock, conditions).
func (db *DB) Standing(ctx context.Context) (wire.Hello, error) {
	h := wire.Hello{V: wire.Version, At: db.o.Now().UTC()}
	err := db.query(ctx, "read mark", "SELECT epoch, MAX(last_seq, COALESCE((SELECT MAX(seq) FROM event), 0)), acked, lineage, revision, hash FROM mark WHERE id = 1", nil,
		func(scan func(...any) error) error {
			return scan(&h.Epoch, &h.LastSeq, &h.AckedSeq, &h.Lineage, &h.Revision, &h.Hash)
		})
	if err != nil {
		return h, err
	}
	err = db.query(ctx, "read documents not in force", "SELECT kind, id FROM document WHERE in_force = 0 LIMIT 100", nil,
		func(scan func(...any) error) error {
			var r wire.DocRef
			err := scan(&r.Kind, &r.ID)
			h.NotInForce = append(h.NotInForce, r)
			return err
		})
	if err != nil {
		return h, err
	}
	err = db.query(ctx, "count open sessions", "SELECT COUNT(*) FROM session WHERE state <> 'closed'", nil,
		func(scan func(...any) error) error { return scan(&h.Sessions) })
	if err != nil {
		return h, err
	}
	// Only of the epoch named above: after a fork the numbers are others.
	err = db.query(ctx, "read proofs", `SELECT seq, body FROM event WHERE kind = 'lock.proof' AND seq > ? AND (SELECT epoch FROM mark WHERE id = 1) = ?
		ORDER BY seq DESC LIMIT 200`, []any{h.AckedSeq, h.Epoch},
		func(scan func(...any) error) error {
			var seq int64
			var body []byte
			var p wire.LockProof
			if err := scan(&seq, &body); err != nil {
				return err
			}
			if err := json.Unmarshal(body, &p); err != nil {
				return fault.New(fault.Damaged, "store: proof", err)
			}
			p.Seq = seq
			h.Proofs = append(h.Proofs, p)
			return nil
		})
	if err != nil {
		return h, err
	}
	if h.Staged, err = db.staged(ctx); err != nil {
		return h, err
	}
	return h, db.commandsTold(ctx, &h)
}

// Events returns the events after a sequence number, in order, at most
// maxEvents and about maxBytes of bodies, but at least one if there is one.
func (db *DB) Events(ctx context.Context, after int64, maxEvents, maxBytes int) (b wire.Batch, err error) {
	b = wire.Batch{V: wire.Version, First: after + 1, At: db.o.Now().UTC()}
	// One read transaction, so that epoch, chain and events belong together.
	conn, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return b, sqlFault("read events", err)
	}
	defer func() { _ = conn.Rollback() }() // it read only
	r := snapshot{ctx, conn}
	if _, err := r.row("read mark", "SELECT epoch FROM mark WHERE id = 1", nil, &b.Epoch); err != nil {
		return b, err
	}
	var known bool
	if b.Chain, known = db.newest.chainAfter(b.Epoch, after); !known {
		if b.Chain, known, err = chainAfter(r, after); err != nil {
			return b, err
		}
		if !known {
			return b, fault.New(fault.Damaged, fmt.Sprintf("store: the log is not whole up to event %d", after), nil)
		}
	}
	chain, size := b.Chain, 0
	defer func() { db.noteDamage(err) }()
	err = r.rows("read events", "SELECT "+eventColumns+" FROM event WHERE seq > ? ORDER BY seq LIMIT ?", []any{after, maxEvents}, func(scan func(...any) error) error {
		e, err := scanEvent(scan)
		if err != nil {
			return err
		}
		if size += len(e.Body); size > maxBytes && len(b.Events) > 0 {
			size = maxBytes // what follows does not fit either
			return nil
		}
		b.Events, chain = append(b.Events, e), wire.NextChain(chain, e)
		return nil
	})
	if err == nil {
		db.newest.remember(batchEnd{b.Epoch, after + int64(len(b.Events)), chain})
	}
	return b, err
}

// reads is what reading needs, in the writer's transaction or in a reader's.
type reads interface {
	row(what, text string, args []any, into ...any) (found bool, err error)
	rows(what, text string, args []any, each func(scan func(...any) error) error) error
}

// snapshot is a reader's transaction.
type snapshot struct {
	ctx context.Context
	tx  *sql.Tx
}

func (s snapshot) row(what, text string, args []any, into ...any) (found bool, err error) {
	err = s.rows(what, text, args, func(scan func(...any) error) error {
		found = true
		return scan(into...)
	})
	return found, err
}

func (s snapshot) rows(what, text string, args []any, each func(scan func(...any) error) error) error {
	return readRows(what, each)(s.tx.QueryContext(s.ctx, text, args...))
}

// chainAfter works the chain value after event seq out, from the nearest point
// that is kept. known is false when the log is not whole from there.
func chainAfter(r reads, seq int64) (chain string, known bool, err error) {
	var at int64
	if _, err := r.row("read chain point", "SELECT seq, value FROM chain_point WHERE seq <= ? ORDER BY seq DESC LIMIT 1", []any{seq}, &at, &chain); err != nil {
		return "", false, err
	}
	err = r.rows("carry the chain", "SELECT "+eventColumns+" FROM event WHERE seq > ? AND seq <= ? ORDER BY seq", []any{at, seq}, func(scan func(...any) error) error {
		e, err := scanEvent(scan)
		chain, at = wire.NextChain(chain, e), at+1
		return err
	})
	return chain, at == seq, err
}

// batchEnds are the chain at the ends of the two newest batches, one in flight and
// one made ready behind it, so that an answer costs no reading.
type batchEnds struct {
	mu   sync.Mutex
	ends [2]batchEnd // the newest first
}

type batchEnd struct {
	epoch string
	seq   int64
	chain string // after seq
}

func (s *batchEnds) remember(e batchEnd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends[0] != e {
		s.ends[0], s.ends[1] = e, s.ends[0]
	}
}

func (s *batchEnds) chainAfter(epoch string, seq int64) (chain string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ends {
		if e.seq == seq && e.epoch == epoch {
			return e.chain, true
		}
	}
	return "", false
}

const eventColumns = "id, kind, at, body"

// scanEvent reads eventColumns.
func scanEvent(scan func(...any) error) (wire.Event, error) {
	var e wire.Event
	var at int64
	var body []byte
	err := scan(&e.ID, &e.Kind, &at, &body)
	e.At, e.Body = time.UnixMilli(at).UTC(), append(json.RawMessage(nil), body...)
	return e, err
}

// Started records that this program started.
func (db *DB) Started(ctx context.Context, version, boot string) error {
	var w witnessed
	err := db.do(ctx, func(t *tx) error {
		defer func() { w = t.witnessed() }()
		return t.event(wire.EventAgentStarted, wire.AgentStarted{Version: version, Boot: boot})
	})
	if err == nil {
		db.bearWitness(w, true)
	}
	return err
}
