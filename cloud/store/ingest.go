package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// maxEpoch and maxEventID bound the names a site gives, in octets.
const (
	maxEpoch   = 64
	maxEventID = 64
)

// mark is how far one log of a site is stored.
type mark struct {
	through int64
	chain   string // after through
}

// Ingest stores a batch of a site's events and moves its mark, in one
// transaction. What it answers is the mark, whatever came:
//   - at or below the mark is done already, if it is the same history;
//   - past the mark by more than one is a gap: nothing is stored, the site
//     goes back to the mark;
//   - a chain that is not ours is another history: Ack.Fork.
//
// An event that cannot be read is set aside and counts as stored. Kind Denied,
// without an answer, for an agent that is not in force.
func (db *DB) Ingest(ctx context.Context, agent hotspot.AgentID, b wire.Batch) (ack wire.Ack, err error) {
	if err := checkBatch(b); err != nil {
		return ack, err
	}
	var dead int
	err = db.write(ctx, "ingest", func(t *tx) error {
		ack = wire.Ack{V: wire.Version, Epoch: b.Epoch, First: b.First, Time: t.now}
		// Holding the agent's row, batches of one site follow one another.
		site, err := t.agentInForce(agent, db.dialect.forUpdate)
		if err != nil {
			return err
		}
		if refused, err := t.refusedRun(agent, b.Boot); err != nil || refused {
			if refused {
				err = errCopy(agent)
			}
			return err
		}
		var m mark
		if _, err := t.one(`SELECT through, chain FROM event_mark WHERE site = $1 AND epoch = $2`, []any{string(site), b.Epoch}, &m.through, &m.chain); err != nil {
			return err
		}
		ack.Through = m.through
		fresh, verdict, err := t.compare(site, m, b)
		if err != nil || verdict == gap {
			return err
		}
		if verdict == fork {
			ack.Fork, ack.Chain = true, m.chain
			return nil
		}
		if len(fresh) > 0 {
			f := newFacts(t, site, agent, b.Epoch)
			if f.offset, err = t.offset(site, agent, b.At); err != nil {
				return err
			}
			if m, err = f.store(m, fresh); err != nil {
				return err
			}
			dead, ack.Through = f.dead, m.through
		}
		return t.heard(site, agent)
	})
	if err == nil {
		db.report(agent, b, ack, dead)
	}
	return ack, err
}

// report tells people of what must not happen in silence.
func (db *DB) report(agent hotspot.AgentID, b wire.Batch, ack wire.Ack, dead int) {
	if dead > 0 {
		db.o.Log.Warn("store: events set aside: they cannot be read here", "agent", agent, "epoch", b.Epoch, "first", b.First, "events", dead)
	}
	if ack.Fork {
		db.o.Log.Warn("store: this site's log has another history than the one stored: a restored backup, or a second copy of its disk",
			"agent", agent, "epoch", b.Epoch, "first", b.First, "through", ack.Through, "code", "CLD-104")
	}
}

func checkBatch(b wire.Batch) error {
	switch {
	case !name(b.Epoch, maxEpoch):
		return fault.New(fault.Invalid, "store: ingest: the batch's epoch is not a name", nil)
	case b.First < 1 || b.First > 1<<53:
		return fault.New(fault.Invalid, fmt.Sprintf("store: ingest: first sequence %d", b.First), nil)
	case len(b.Events) == 0 || len(b.Events) > wire.MaxEvents:
		return fault.New(fault.Invalid, fmt.Sprintf("store: ingest: %d events in a batch, 1 to %d are allowed", len(b.Events), wire.MaxEvents), nil)
	}
	return nil
}

// name reports whether s is 1 to limit letters, digits, dots, dashes and
// underscores: safe in every column and log.
func name(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return true
}

// verdict is how a batch relates to the mark.
type verdict int

const (
	follows verdict = iota // what is past the mark may be stored
	gap
	fork
)

// compare returns the events past the mark. A batch that ends below the mark
// shows no chain value to compare with; there its ids tell whether it is the
// history we have.
func (t *tx) compare(site hotspot.SiteID, m mark, b wire.Batch) ([]wire.Event, verdict, error) {
	if b.First > m.through+1 {
		return nil, gap, nil
	}
	if b.First == 1 && b.Chain != "" {
		return nil, fork, nil
	}
	old := min(m.through-b.First+1, int64(len(b.Events)))
	chain := b.Chain
	for _, e := range b.Events[:old] {
		chain = wire.NextChain(chain, e)
	}
	if b.First+old-1 == m.through {
		if chain != m.chain {
			return nil, fork, nil
		}
		return b.Events[old:], follows, nil
	}
	known, err := t.allKnown(site, b.Events[:old])
	if err != nil || known {
		return nil, follows, err
	}
	return nil, fork, nil
}

func (t *tx) allKnown(site hotspot.SiteID, events []wire.Event) (bool, error) {
	var ids []string
	for _, e := range events {
		if name(e.ID, maxEventID) {
			ids = append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return true, nil
	}
	in, args := list(t, []any{string(site)}, ids)
	var known int
	_, err := t.one(`SELECT COUNT(*) FROM event WHERE site = $1 AND id IN `+in, args, &known)
	distinct := make(map[string]bool, len(ids))
	for _, id := range ids {
		distinct[id] = true
	}
	return known == len(distinct), err
}

// store keeps the events behind the mark and moves it.
func (f *facts) store(m mark, events []wire.Event) (mark, error) {
	first := m.through + 1
	for _, e := range events {
		m.chain = wire.NextChain(m.chain, e)
	}
	m.through += int64(len(events))
	if err := f.apply(first, events); err != nil {
		return m, err
	}
	return m, f.t.exec(`INSERT INTO event_mark (site, epoch, agent, through, chain, at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (site, epoch) DO UPDATE SET agent = excluded.agent, through = excluded.through, chain = excluded.chain, at = excluded.at`,
		string(f.site), f.epoch, string(f.agent), m.through, m.chain, ms(f.t.now))
}

// remember writes the events' ids and returns those never seen before.
func (f *facts) remember(first int64, events []wire.Event) (map[string]bool, error) {
	fresh := make(map[string]bool, len(events))
	const width = 5
	args := make([]any, 0, width*len(events))
	oldest := ""
	for i, e := range events {
		if !name(e.ID, maxEventID) {
			continue
		}
		if oldest == "" || e.ID < oldest {
			oldest = e.ID
		}
		body := ""
		if keepsBody(e.Kind) && storable(e.Body) {
			body = string(e.Body)
		}
		kind := string(e.Kind)
		if !name(kind, maxEventID) {
			kind = "unreadable"
		}
		args = append(args, e.ID, first+int64(i), kind, ms(e.At), body)
	}
	if len(args) == 0 {
		return fresh, nil
	}
	// Ids begin with their time: of most batches hardly one can be stored already, and
	// those few are known before.
	stored, told, err := f.t.storedFrom(f.site, oldest)
	if err != nil {
		return nil, err
	}
	return fresh, parts(len(args)/width, func(from, to int) error {
		rows := args[width*from : width*to]
		insert := `INSERT INTO event (site, epoch, id, seq, kind, at, body) VALUES ` + f.t.tuples(to-from, 2, 2+width) + ` ON CONFLICT (site, id) DO NOTHING`
		all := append(append(make([]any, 0, 2+len(rows)), string(f.site), f.epoch), rows...)
		if told {
			for i := 0; i < len(rows); i += width {
				if id := rows[i].(string); !stored[id] {
					fresh[id] = true
				}
			}
			return f.t.exec(insert, all...)
		}
		return f.t.each(insert+` RETURNING id`, all, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			fresh[id] = true
			return err
		})
	})
}

// storedFrom returns the ids stored from one on; told is false where they are too
// many to say.
func (t *tx) storedFrom(site hotspot.SiteID, oldest string) (stored map[string]bool, told bool, err error) {
	stored = map[string]bool{}
	err = t.each(`SELECT id FROM event WHERE site = $1 AND id >= $2 LIMIT $3`, []any{string(site), oldest, wire.MaxEvents}, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		stored[id] = true
		return err
	})
	return stored, len(stored) < wire.MaxEvents, err
}

// keepsBody tells the kinds whose body no table of its own holds.
func keepsBody(k wire.EventKind) bool {
	switch k {
	case wire.EventAgentStarted, wire.EventNASRestarted, wire.EventCommandResult, wire.EventGap, wire.EventLockKept, wire.EventAdjusted, wire.EventGrantMade, wire.EventGrantRemoved,
		wire.EventPlanMade, wire.EventPlanRemoved, wire.EventSaleMade, wire.EventLockSet, wire.EventLockLifted, wire.EventAccountKicked:
		return true
	}
	return false
}

// storable reports whether a body can be kept as text: UTF-8 without NUL, which
// PostgreSQL has no place for.
func storable(body json.RawMessage) bool {
	return utf8.Valid(body) && !bytes.Contains(body, []byte(`\u0000`)) && bytes.IndexByte(body, 0) < 0
}

// bury sets an event aside with its bytes and the reason.
func (f *facts) bury(seq int64, e wire.Event, reason string) error {
	f.dead++
	raw, err := json.Marshal(e)
	if err != nil { // a body that is not JSON cannot have come in a batch
		raw = e.Body
	}
	return f.t.exec(`INSERT INTO event_dead (site, epoch, seq, agent, event, reason, received_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (site, epoch, seq) DO NOTHING`,
		string(f.site), f.epoch, seq, string(f.agent), raw, text200(reason), ms(f.t.now))
}
