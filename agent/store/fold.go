package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"iwas/internal/wire"
)

// What the cloud has not acknowledged is never dropped. Past its cap the log is
// folded instead, the oldest first: of the readings of one session only the last
// of each window stays, since counters are cumulative, and the others become void
// events without a body. Starts, stops, locks, sales and proofs stay as they are.
const (
	// DefaultLogCap is about a million events, days of a large cafe, in octets.
	DefaultLogCap = 1 << 30
	// rowOverhead is what an event takes on the disk besides its body.
	rowOverhead = 120
	// foldWindow bounds the readings looked at in one sweep, foldSlice those one
	// commit folds: accounting waits for it.
	foldWindow = 20_000
	foldSlice  = 500
	// unfolded is how far behind the mark events stay as they are: they may be in
	// flight, or ready to be.
	unfolded = 2 * wire.MaxEvents
	// measureEvery is how often a log that may be near its cap is measured.
	measureEvery = time.Minute
)

// logSize is what is known of the log that waits, and of what became of it. It belongs to the sweeper.
type logSize struct {
	measured time.Duration // by the time this program has run
	octets   int64         // then
	next     int64         // events through here were looked at
	fruit    int           // folded since the log was last begun at its oldest
	done     bool          // all was looked at, and there was nothing to fold
}

// fold brings the log that waits below its cap, as far as one sweep may.
func (db *DB) fold(ctx context.Context) error {
	s := &db.logSize
	ran := db.o.Elapsed()
	limit := db.logCap()
	if s.measured != 0 && ran-s.measured < measureEvery && (s.octets <= limit || s.done) {
		return nil
	}
	octets, err := db.waiting(ctx, rowOverhead)
	if err != nil {
		return err
	}
	if s.octets > limit != (octets > limit) {
		s.next, s.fruit = 0, 0
	}
	s.measured, s.octets = max(ran, 1), octets
	db.overCap.Store(octets > db.o.LogCap)
	s.done = false
	if octets <= limit {
		return nil
	}
	void, last, err := db.superseded(ctx, s.next)
	if err != nil {
		return err
	}
	if last == 0 { // the end: begin again, unless there is nothing to be had
		s.done = s.fruit == 0
		s.next, s.fruit = 0, 0
		return nil
	}
	s.next = last
	for len(void) > 0 {
		n := min(len(void), foldSlice)
		folded, err := db.foldEvents(ctx, void[:n])
		if err != nil {
			return err
		}
		s.fruit += int(folded)
		db.folded.Add(folded)
		void = void[n:]
	}
	return nil
}

// waiting returns the octets of the bodies that the cloud has not acknowledged,
// with so many more for each event.
func (db *DB) waiting(ctx context.Context, each int) (octets int64, err error) {
	err = db.queryLate(ctx, "measure the log", "SELECT COALESCE(SUM(LENGTH(body) + ?), 0) FROM event WHERE seq > (SELECT acked FROM mark WHERE id = 1)",
		[]any{each}, func(scan func(...any) error) error { return scan(&octets) })
	return octets, err
}

// superseded looks at the next readings after an event that may still be folded, and
// returns those of a session that a later one of the same session in the window, or
// its stop, says again. last is the last event looked at, 0 when there is none.
func (db *DB) superseded(ctx context.Context, after int64) (seqs []any, last int64, err error) {
	newest := map[string]int64{} // of each session
	err = db.query(ctx, "read the log to fold it", `SELECT seq, kind, body FROM event WHERE kind IN ('session.usage', 'session.stopped')
		AND seq > MAX(?, `+everAcked+` + ?) AND seq <= (SELECT settled FROM mark WHERE id = 1) ORDER BY seq LIMIT ?`,
		[]any{after, unfolded, foldWindow}, func(scan func(...any) error) error {
			var kind string
			var body []byte
			if err := scan(&last, &kind, &body); err != nil {
				return err
			}
			var s struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(body, &s); err != nil {
				return nil // stays as it is: the cloud sets it aside
			}
			if before := newest[s.ID]; before != 0 {
				seqs = append(seqs, before)
			}
			newest[s.ID] = last
			if kind == string(wire.EventSessionStopped) {
				delete(newest, s.ID)
			}
			return nil
		})
	return seqs, last, err
}

// everAcked is the newest event that the cloud ever acknowledged, also where it asks
// for older ones again since: a cloud that was restored, or an answer that comes late.
// The chain up to there has been told, and its points are kept.
const everAcked = "(SELECT MAX(acked, COALESCE((SELECT MAX(seq) FROM chain_point), 0)) FROM mark WHERE id = 1)"

// foldEvents makes events void, and returns how many. A batch in flight begins
// behind what was ever acknowledged, one that is ready behind that, and both move in
// the writer only: what is beyond their reach was never sent.
func (db *DB) foldEvents(ctx context.Context, seqs []any) (folded int64, err error) {
	err = db.do(ctx, func(t *tx) error {
		folded, err = t.exec("fold events", "UPDATE event SET kind = ?, body = x'', late = '' WHERE seq > MAX(?, "+everAcked+" + ?) AND seq IN (?"+strings.Repeat(", ?", len(seqs)-1)+")",
			append([]any{string(wire.EventVoid), t.mark.acked + unfolded, unfolded}, seqs...)...)
		return err
	})
	return folded, err
}

// dropEvents drops what the cloud has and the site need not keep for it: whole
// stretches between two points of the chain, so that every event kept can be sent
// again. The event at the mark stays. Past the cap nothing acknowledged is kept.
func (t *tx) dropEvents() error {
	young := millis(t.now.Add(-eventsKept))
	if t.db.overCap.Load() || t.db.care.low.Load() {
		young = millis(t.now.Add(stepSlack))
	}
	var first int64
	if _, err := t.row("find the oldest event", "SELECT COALESCE(MIN(seq), 0) FROM event", nil, &first); err != nil || first == 0 {
		return err
	}
	bound := min(t.mark.acked, first+sweepRows)
	if _, err := t.row("find the first event to keep", "SELECT seq FROM event WHERE seq <= ? AND at >= ? ORDER BY seq LIMIT 1", []any{bound, young}, &bound); err != nil {
		return err
	}
	if _, err := t.exec("drop events", "DELETE FROM event WHERE seq < (SELECT MAX(seq) FROM chain_point WHERE seq <= ?)", bound); err != nil {
		return err
	}
	_, err := t.exec("drop chain points", "DELETE FROM chain_point WHERE seq < (SELECT MIN(seq) FROM event)")
	return err
}
