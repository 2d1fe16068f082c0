package store

import (
	"context"
	"errors"
	"time"

	"iwas/internal/hotspot"
)

const (
	// eventsKept is how long an acknowledged event stays, so that a cloud
	// restored from a backup can ask again.
	eventsKept = 7 * 24 * time.Hour
	// sessionsKept is how long closed sessions and their permits stay.
	sessionsKept = 90 * 24 * time.Hour
	// housekeeping is how often what is past keeping is dropped.
	housekeeping = 10 * time.Minute
	// sweepRows bounds the rows one sweep drops of a table, so that no login
	// waits behind it.
	sweepRows = 1000
	// silentAfter closes a session that nobody speaks of any more: three
	// interim intervals and slack, since a lost interim is not a lost guest.
	silentAfter = 3 * ghostAfter
)

// Sweeper runs DB.Sweep for as long as its context lives.
type Sweeper struct {
	DB    *DB
	Every time.Duration // 0 is 10 s: with ghostAfter it decides how old a ghost can get
}

// Serve sweeps until ctx ends.
func (w *Sweeper) Serve(ctx context.Context) error {
	every := w.Every
	if every <= 0 {
		every = 10 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := w.DB.Sweep(ctx); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Sweep closes sessions nobody can confirm, drops what is past keeping, and folds
// a log past its cap. It is meant to run every few seconds, by one caller.
func (db *DB) Sweep(ctx context.Context) error {
	if err := db.fold(ctx); err != nil {
		return err
	}
	db.sweepRejects()
	return db.do(ctx, func(t *tx) error {
		if err := errors.Join(t.closeSilent(), t.learnOwed()); err != nil {
			return err
		}
		if err := errors.Join(t.sweepGrants(), t.sweepCommands()); err != nil {
			return err
		}
		if err := t.proveWritable(); err != nil {
			return err
		}
		if v := &t.db.w.router; v.sweptAt.IsZero() || t.now.Sub(v.sweptAt).Abs() >= housekeeping {
			v.sweptAt = t.now
			if err := t.settle(); err != nil { // what was closed just now
				return err
			}
			return t.dropOld()
		}
		return nil
	})
}

// closeSilent closes what neither accounting nor the router's list speaks of: a
// suspect after an interim interval and ten seconds, others after silentAfter.
// Time while this program did not run is nobody's silence.
func (t *tx) closeSilent() error {
	v := &t.db.w.router
	v.look(t.now, t.db.o.Elapsed())
	if err := t.heardBeforeNow(); err != nil {
		return err
	}
	open, err := t.findSessions("state <> 'closed' AND heard_at <= ?", millis(t.now.Add(-ghostAfter)))
	if err != nil {
		return err
	}
	v.forgetClosed(open)
	for _, s := range open {
		silent := t.now.Sub(v.newest(s))
		if silent < silentAfter && (s.State != hotspot.Suspect || silent < ghostAfter) {
			continue
		}
		if err := t.closeSession(s, causeSilent); err != nil {
			return err
		}
	}
	return nil
}

// heardBeforeNow brings to now what was heard of at a later date than now: our
// date was set back, and what is gone since must not stay for as long as that.
func (t *tx) heardBeforeNow() error {
	later, err := t.findSessions("state <> 'closed' AND heard_at > ?", millis(t.now.Add(stepSlack)))
	for _, s := range later {
		before := s
		s.HeardAt = t.now
		t.save(s, &before)
	}
	return err
}

// dropOld drops what is past keeping.
func (t *tx) dropOld() error {
	if err := t.dropEvents(); err != nil {
		return err
	}
	old := millis(t.now.Add(-sessionsKept))
	for _, q := range []struct {
		what, text string
		args       []any
	}{
		{"drop sessions", "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE state = 'closed' AND ended_at < ? LIMIT ?)",
			[]any{old, sweepRows}},
		{"drop permits", `DELETE FROM permit WHERE token IN (SELECT token FROM permit WHERE at < ? AND id NOT IN
			(SELECT permit FROM session WHERE state <> 'closed' AND permit IS NOT NULL) LIMIT ?)`, []any{old, sweepRows}},
		{"drop changes of closed sessions", `DELETE FROM session_change WHERE session NOT IN (SELECT id FROM session WHERE state <> 'closed')`, nil},
		{"drop adjustments of passes that are no more", "DELETE FROM adjustment WHERE at < ? AND pass NOT IN (SELECT id FROM pass)", []any{old}},
		{"drop grants that are over", "DELETE FROM list_grant WHERE document = 0 AND gone_at > 0 AND gone_at < ?", []any{millis(t.now.Add(-grantsKept))}},
		{"forget lists", "DELETE FROM list_name WHERE used_at < ? AND name NOT IN (SELECT list FROM list_grant WHERE gone_at = 0)", []any{millis(t.now.Add(-listsKept))}},
		{"drop rejects", "DELETE FROM reject WHERE silent = 0 AND id <= (SELECT id FROM reject WHERE silent = 0 ORDER BY id DESC LIMIT 1 OFFSET ?)", []any{rejectsKept}},
		{"drop logins met with silence", "DELETE FROM reject WHERE silent = 1 AND id <= (SELECT id FROM reject WHERE silent = 1 ORDER BY id DESC LIMIT 1 OFFSET ?)", []any{silentKept}},
	} {
		if _, err := t.exec(q.what, q.text, q.args...); err != nil {
			return err
		}
	}
	return nil
}
