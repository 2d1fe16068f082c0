package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Acked takes in the cloud's answer: it moves the mark, back too (a cloud
// restored from a backup asks again for what it lost). Where the cloud's
// history is not ours, or asks for what is no longer kept, a new epoch begins;
// event ids stay, so that renumbering doubles nothing.
func (db *DB) Acked(ctx context.Context, a wire.Ack) error {
	var w witnessed
	err := db.do(ctx, func(t *tx) error {
		defer func() { w = t.witnessed() }()
		switch {
		case a.Epoch != t.mark.epoch:
			return nil // of a log that is no more
		case a.Fork || a.Through > t.mark.lastSeq || a.Through < 0:
			return t.fork(a)
		case a.Through == t.mark.acked:
			return nil
		}
		chain, known, err := t.chainAt(a.Through)
		if err != nil {
			return err
		}
		if !known {
			return t.newEpoch(a.Through) // back to where the log is no longer kept
		}
		if _, err := t.exec("keep chain point", "INSERT INTO chain_point (seq, value) VALUES (?, ?) ON CONFLICT (seq) DO UPDATE SET value = excluded.value", a.Through, chain); err != nil {
			return err
		}
		t.mark.acked, t.dirty, t.tick = a.Through, true, true
		return nil
	})
	if err == nil {
		db.bearWitness(w, false)
	}
	return err
}

// chainAt returns the chain value after event seq, if the log is whole around it.
func (t *tx) chainAt(seq int64) (chain string, known bool, err error) {
	if chain, known = t.db.newest.chainAfter(t.mark.epoch, seq); known && seq > t.mark.acked {
		return chain, true, nil // the answer to the newest batch
	}
	if chain, known, err = chainAfter(t, seq); err != nil || !known || seq == t.mark.lastSeq {
		return chain, known, err
	}
	var next int
	known, err = t.row("look for the next event", "SELECT 1 FROM event WHERE seq = ?", []any{seq + 1}, &next)
	return chain, known, err
}

// fork answers a cloud whose history of this log is another one: this file was
// restored from a backup, or has a living copy. What the cloud does not hold
// goes into a new epoch.
func (t *tx) fork(a wire.Ack) error {
	after := t.mark.acked
	same := false
	if a.Through >= 0 && a.Through <= min(after+wire.MaxEvents, t.mark.lastSeq) { // acknowledged, or in flight
		chain, known, err := chainAfter(t, a.Through)
		if err != nil {
			return err
		}
		same = known && chain == a.Chain
	}
	if same || a.Through >= 0 && a.Through < after {
		after = a.Through // the same history to there, or a cloud that lost some of it
	}
	var lost []wire.Gap
	if !same && a.Through > 0 {
		// Another life of this log went on from there, and how far is known to nobody.
		lost = append(lost, wire.Gap{Epoch: t.mark.epoch, First: a.Through + 1})
	}
	return t.newEpoch(after, lost...)
}

// eventsCarried is how many events that the cloud has acknowledged go into a new
// epoch, the newest: a cloud that is restored from a backup later knows the new
// epoch alone, and can ask for nothing from before it. A day of a large cafe;
// the cloud passes over those it has at the cost of forty batches.
const eventsCarried = 20_000

// gapsTold is how many gaps go into every new epoch, the newest: each costs a
// restore, or a cloned disk.
const gapsTold = 200

// newEpoch renumbers the events after seq from 1 under a new epoch, and the newest
// before it. What is no longer there is named by gap events, which come first:
// what was dropped here after seq, what is lost besides, and what the cloud has but
// could never get again, should it be put back to a backup of before this. Gaps
// told earlier go along with their ids, for the same reason.
func (t *tx) newEpoch(after int64, lost ...wire.Gap) error {
	old, last := t.mark.epoch, t.mark.lastSeq
	if _, err := t.exec("drop events the cloud holds", "DELETE FROM event WHERE seq <= ?", after-eventsCarried); err != nil {
		return err
	}
	first := last + 1 // of those that are there
	if _, err := t.row("read kept events", "SELECT COALESCE(MIN(seq), ?) FROM event", []any{first}, &first); err != nil {
		return err
	}
	if _, err := t.exec("drop chain points", "DELETE FROM chain_point"); err != nil {
		return err
	}
	// Out of the way of the new numbers, which begin at 1.
	const aside = 1 << 62
	if _, err := t.exec("set events aside", "UPDATE event SET seq = seq + ?", int64(aside)); err != nil {
		return err
	}
	if first > after+1 {
		lost = append(lost, wire.Gap{Epoch: old, First: after + 1, Last: first - 1})
	}
	if held := min(after, first-1); held > 0 {
		lost = append(lost, wire.Gap{Epoch: old, First: 1, Last: held})
	}
	t.mark.epoch, t.mark.lastSeq, t.mark.acked = hotspot.NewID(t.now), 0, 0
	if err := t.tellGaps(lost); err != nil {
		return err
	}
	for {
		events, err := t.aside(aside)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			if err := t.append(e.Event); err != nil {
				return err
			}
			if _, err := t.exec("drop old number", "DELETE FROM event WHERE seq = ?", e.seq); err != nil {
				return err
			}
		}
		if err := t.settle(); err != nil { // a log of days does not fit into memory
			return err
		}
	}
	if slices.ContainsFunc(lost, func(g wire.Gap) bool { return g.Last == 0 }) {
		if err := t.tellSessions(); err != nil {
			return err
		}
	}
	t.dirty, t.tick = true, true
	t.db.o.Log.Warn("this site's log does not continue what the cloud, or the file beside the database, knows of it: a new epoch begins",
		"old_epoch", old, "epoch", t.mark.epoch, "renumbered", t.mark.lastSeq)
	return nil
}

// tellGaps begins an epoch: with the gaps that were told before and whose events are
// no longer here, then with those of now.
func (t *tx) tellGaps(lost []wire.Gap) error {
	var before []wire.Event
	err := t.rows("read gaps told", "SELECT id, 'gap', at, body FROM told_gap WHERE id NOT IN (SELECT id FROM event WHERE kind = 'gap') ORDER BY n", nil,
		func(scan func(...any) error) error {
			e, err := scanEvent(scan)
			before = append(before, e)
			return err
		})
	for _, e := range before {
		if err == nil {
			err = t.append(e)
		}
	}
	for _, g := range lost {
		if err != nil {
			return err
		}
		var body []byte
		if body, err = json.Marshal(g); err != nil {
			return fault.New(fault.Internal, "store: gap", err)
		}
		e := wire.Event{ID: hotspot.NewID(t.now), Kind: wire.EventGap, At: t.now.UTC().Truncate(time.Millisecond), Body: body}
		if _, err = t.exec("keep gap", "INSERT INTO told_gap (id, at, body) VALUES (?, ?, ?)", e.ID, millis(e.At), []byte(e.Body)); err == nil {
			err = t.append(e)
		}
	}
	if err != nil {
		return err
	}
	_, err = t.exec("forget gaps", "DELETE FROM told_gap WHERE n <= (SELECT MAX(n) FROM told_gap) - ?", gapsTold)
	return err
}

// toldAgain is how far back sessions are told again after a restore.
const toldAgain = 24 * time.Hour

// tellSessions says again how every session of the last day stands, as this
// database has it: a life of the site that a restore ended may have told the cloud
// otherwise, and of what is open the cloud takes all that it hears nothing of after
// such a gap for forgotten.
func (t *tx) tellSessions() error {
	all, err := t.findSessions("state <> 'closed' OR ended_at > ? ORDER BY started_at, id LIMIT ?", millis(t.now.Add(-toldAgain)), eventsCarried)
	for _, s := range all {
		kind := wire.EventSessionUsage
		if s.State == hotspot.Closed {
			kind = wire.EventSessionStopped
		}
		if err == nil {
			err = t.event(kind, wire.FromSession(s.Session))
		}
	}
	return err
}

// numbered is an event with the number it is stored under.
type numbered struct {
	wire.Event
	seq int64
}

// aside returns the next events set aside, in order.
func (t *tx) aside(from int64) (events []numbered, err error) {
	err = t.rows("read events set aside", "SELECT "+eventColumns+", seq FROM event WHERE seq >= ? ORDER BY seq LIMIT 500", []any{from},
		func(scan func(...any) error) error {
			var n numbered
			e, err := scanEvent(func(into ...any) error { return scan(append(into, &n.seq)...) })
			n.Event = e
			events = append(events, n)
			return err
		})
	return events, err
}
