package store

import (
	"context"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Acked takes in the cloud's answer: it moves the mark, back too (a cloud
// restored from a backup asks again for what it lost). Where the cloud's
// history is not ours, or asks for what is no longer kept, a new epoch begins;
// event ids stay, so that renumbering doubles nothing.
func (db *DB) Acked(ctx context.Context, a wire.Ack) error {
	return db.do(ctx, func(t *tx) error {
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
	ours := false
	if a.Through > after && a.Through <= min(after+wire.MaxEvents, t.mark.lastSeq) { // what may be in flight
		chain, known, err := chainAfter(t, a.Through)
		if err != nil {
			return err
		}
		ours = known && chain == a.Chain
	}
	if ours || a.Through >= 0 && a.Through < after {
		after = a.Through // the same history to there, or a cloud that lost some of it
	}
	return t.newEpoch(after)
}

// newEpoch renumbers the events after seq from 1 under a new epoch. Those no
// longer kept are named by a gap event, which comes first.
func (t *tx) newEpoch(after int64) error {
	old := t.mark.epoch
	var first, last int64
	_, err := t.row("read kept events", "SELECT COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM event WHERE seq > ?", []any{after}, &first, &last)
	if err != nil {
		return err
	}
	if _, err := t.exec("drop events the cloud holds", "DELETE FROM event WHERE seq <= ?", after); err != nil {
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
	t.mark.epoch, t.mark.lastSeq, t.mark.acked = hotspot.NewID(t.now), 0, 0
	if from, to := after+1, first-1; first > 0 && from <= to {
		if err := t.event(wire.EventGap, wire.Gap{Epoch: old, First: from, Last: to}); err != nil {
			return err
		}
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
	}
	t.dirty, t.tick = true, true
	t.db.o.Log.Warn("the cloud holds another history of this site's log: a new epoch begins",
		"old_epoch", old, "epoch", t.mark.epoch, "renumbered", t.mark.lastSeq)
	return nil
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
