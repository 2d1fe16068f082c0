package store

import (
	"strings"

	"iwas/internal/wire"
)

// numberedEvent is an event with its place in the log.
type numberedEvent struct {
	wire.Event
	seq  int64
	late string // JSON, lateBody; "" when no rows follow it
}

// Rows are written by statements of many rows each, the largest that fits first.
var rowCounts = [...]int{32, 8, 1}

// manyRows is a text with its VALUES list for every row count.
type manyRows struct {
	columns int
	texts   [len(rowCounts)]string
}

func newManyRows(head string, columns int, tail string) manyRows {
	m := manyRows{columns: columns}
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", columns), ", ") + ")"
	for i, n := range rowCounts {
		m.texts[i] = head + " VALUES " + strings.TrimSuffix(strings.Repeat(row+", ", n), ", ") + tail
	}
	return m
}

var (
	insertSessions = newManyRows(`INSERT INTO session (id, permit, account, pass, nas, acct_session_id, username, mac, ip, host_ip, server, state,
		started_at, heard_at, ended_at, time_ms, upload, download, cause, stopped, terms)`, 21, "")
	upsertUsage = newManyRows("INSERT INTO usage (pass, account, first_used, time_ms, counted, upload, download)", 7,
		` ON CONFLICT (pass) DO UPDATE SET first_used = excluded.first_used, time_ms = excluded.time_ms, counted = excluded.counted,
		upload = excluded.upload, download = excluded.download`)
	insertEvents = newManyRows("INSERT INTO event (seq, id, kind, at, body, late)", 6, "")
)

// one is the text of one row.
func (m *manyRows) one() string { return m.texts[len(rowCounts)-1] }

// insertAll writes n rows whose values row appends.
func (t *tx) insertAll(what string, m *manyRows, n int, row func(i int, to []any) []any) error {
	args := t.db.w.args[:0]
	for at, size := 0, 0; at < n; {
		for rowCounts[size] > n-at {
			size++
		}
		args = args[:0]
		for range rowCounts[size] {
			args = row(at, args)
			at++
		}
		if _, err := t.execNoted(what, m.texts[size], args...); err != nil {
			return err
		}
	}
	clear(args)
	t.db.w.args = args[:0]
	return nil
}

// settle brings SQL up to all that is known: the rows, and the events so far.
func (t *tx) settle() error {
	l := &t.db.w.late
	if !l.empty() {
		if err := t.settleSessions(l.sessions); err != nil {
			return err
		}
		if err := t.insertAll("save usage", &upsertUsage, len(l.usage), func(i int, to []any) []any {
			c := l.usage[i]
			u := c.row.usage
			return append(to, string(c.id), string(c.account), millis(u.FirstUsed), u.Time.Milliseconds(), c.row.counted.String(), int64(u.Upload), int64(u.Download))
		}); err != nil {
			return err
		}
		l.clear()
	}
	for i := range t.events { // they stand for nothing that SQL does not have
		t.events[i].late = ""
	}
	t.mark.settled, t.through, t.caught = t.mark.lastSeq, false, true
	return t.settleEvents()
}

// settleEvents writes the events alone.
func (t *tx) settleEvents() error {
	events := t.events
	t.events = t.events[:0]
	err := t.insertAll("append events", &insertEvents, len(events), func(i int, to []any) []any {
		e := events[i]
		body := []byte(e.Body)
		if body == nil { // a void event's, which is no NULL
			body = []byte{}
		}
		return append(to, e.seq, e.ID, string(e.Kind), e.At.UnixMilli(), body, e.late)
	})
	clear(events)
	return err
}

func (t *tx) settleSessions(changes []*change) error {
	fresh := t.db.w.fresh[:0]
	for _, c := range changes {
		if c.insert {
			fresh = append(fresh, c)
		} else if err := t.updateSession(c); err != nil {
			return err
		}
	}
	err := t.insertAll("insert sessions", &insertSessions, len(fresh), func(i int, to []any) []any { return fresh[i].appendColumns(to) })
	clear(fresh)
	t.db.w.fresh = fresh[:0]
	return err
}

// updateSession stores what a record can change. An Interim-Update leaves the
// state alone, and then no index is touched.
func (t *tx) updateSession(c *change) error {
	const figures = "UPDATE session SET username = ?, ip = ?, host_ip = ?, server = ?, heard_at = ?, time_ms = ?, upload = ?, download = ?"
	args := append(t.db.w.args[:0], c.Username, addrText(c.IP), addrText(c.HostIP), c.Server, millis(c.HeardAt), c.Time.Milliseconds(), int64(c.Upload), int64(c.Download))
	text := figures + " WHERE id = ?"
	if c.state {
		args = append(args, string(c.State), millis(c.EndedAt), c.Cause, c.stopped)
		text = figures + ", state = ?, ended_at = ?, cause = ?, stopped = ? WHERE id = ?"
	}
	_, err := t.execNoted("update session", text, append(args, string(c.ID))...)
	return err
}

// appendColumns adds a session's values in the order of insertSessions.
func (s *session) appendColumns(to []any) []any {
	var permit any // NULL for nobody's
	if s.Permit != "" {
		permit = string(s.Permit)
	}
	return append(to, string(s.ID), permit, string(s.Account), string(s.Pass), string(s.NAS), string(s.AcctSessionID), s.Username, s.MAC.String(),
		addrText(s.IP), addrText(s.HostIP), s.Server, string(s.State), millis(s.StartedAt), millis(s.HeardAt), millis(s.EndedAt), s.Time.Milliseconds(),
		int64(s.Upload), int64(s.Download), s.Cause, s.stopped, s.terms)
}
