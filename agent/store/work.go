package store

import (
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// work is the writer's own copy of what records change again and again: the
// passes in use, what is gone of them, and their open sessions. SQL is behind it
// by what the open transaction has not settled, and by nothing else.
//
// The rules that keep it true: every change of a session or of usage goes
// through tx.save and tx.saveUsage; tx.settle writes what is owed, once per row,
// before COMMIT and before any operation that reads or writes those tables by
// SQL; a transaction that is rolled back takes all it touched out of work; who
// changes a pass's document forgets the pass.
type work struct {
	passes map[hotspot.PassID]*passRow
}

// workBound is how many passes are at hand, about 1 kB each. At the bound some
// leave, between transactions.
const workBound = 16384

// passRow is a pass in use.
type passRow struct {
	usage   hotspot.Usage
	counted stretches
	doc     *hotspot.Pass // nil when its document is no more
	open    []*hotspot.Session
	ended   []ended // its closed sessions, the newest ends first
	more    bool    // ended may not be all of them
}

// ended is the end of one closed session.
type ended struct {
	id hotspot.SessionID
	at time.Time
}

// endedKept is how many ends a pass remembers; two answer every question, the
// rest spare reading when one of them is taken back.
const endedKept = 4

// trim makes room for the passes of the next transaction.
func (w *work) trim() {
	if len(w.passes) < workBound {
		return
	}
	n := workBound / 8
	for id := range w.passes { // in no order
		delete(w.passes, id)
		if n--; n == 0 {
			return
		}
	}
}

// passRow returns a pass in use, from work or SQL.
func (t *tx) passRow(id hotspot.PassID) (*passRow, error) {
	if row := t.db.w.work.passes[id]; row != nil {
		return row, nil
	}
	if t.loose[id] { // a session of it was changed that SQL does not have yet
		if err := t.settle(); err != nil {
			return nil, err
		}
	}
	row := &passRow{}
	u, counted, doc, err := t.usage(id)
	if err != nil {
		return nil, err
	}
	row.usage, row.doc = u, doc
	if err := row.counted.parse(counted); err != nil {
		return nil, fault.New(fault.Damaged, "store: counted time of pass "+string(id), err)
	}
	open, err := t.findSessions("pass = ? AND state <> 'closed'", id)
	if err != nil {
		return nil, err
	}
	for i := range open {
		row.open = append(row.open, &open[i].Session)
	}
	if err := t.readEnded(id, row); err != nil {
		return nil, err
	}
	t.db.w.work.passes[id] = row
	return row, nil
}

// readEnded reads the newest ends of a pass's sessions.
func (t *tx) readEnded(id hotspot.PassID, row *passRow) error {
	row.ended = nil
	err := t.rows("read ended sessions", "SELECT id, ended_at FROM session WHERE pass = ? AND state = 'closed' ORDER BY ended_at DESC LIMIT ?", []any{id, endedKept},
		func(scan func(...any) error) error {
			var e ended
			var at int64
			err := scan(&e.id, &at)
			e.at = fromMillis(at)
			row.ended = append(row.ended, e)
			return err
		})
	row.more = len(row.ended) == endedKept
	return err
}

// put brings a session as it is now into its pass.
func (row *passRow) put(s *hotspot.Session) {
	at := slices.IndexFunc(row.open, func(o *hotspot.Session) bool { return o.ID == s.ID })
	row.ended = slices.DeleteFunc(row.ended, func(e ended) bool { return e.id == s.ID })
	switch {
	case s.State != hotspot.Closed && at >= 0:
		row.open[at] = s
	case s.State != hotspot.Closed:
		row.open = append(row.open, s)
	default:
		if at >= 0 {
			row.open = slices.Delete(row.open, at, at+1)
		}
		n := slices.IndexFunc(row.ended, func(e ended) bool { return !e.at.After(s.EndedAt) })
		if n < 0 {
			n = len(row.ended)
		}
		row.ended = slices.Insert(row.ended, n, ended{s.ID, fromMillis(millis(s.EndedAt))})
		if len(row.ended) > endedKept {
			row.ended, row.more = row.ended[:endedKept], true
		}
	}
}

// alone reports whether no other device of the pass was on since begin.
func (t *tx) alone(pass hotspot.PassID, row *passRow, id hotspot.SessionID, begin time.Time) (bool, error) {
	if slices.ContainsFunc(row.open, func(o *hotspot.Session) bool { return o.ID != id }) {
		return false, nil
	}
	other := func(e ended) bool { return e.id != id }
	if row.more && !slices.ContainsFunc(row.ended, other) { // closes were taken back
		if err := t.settle(); err != nil {
			return false, err
		}
		if err := t.readEnded(pass, row); err != nil {
			return false, err
		}
	}
	return !slices.ContainsFunc(row.ended, func(e ended) bool { return other(e) && e.at.After(begin) }), nil
}

// change is a session that the open transaction changed.
type change struct {
	session
	owed                   bool // SQL does not have it as it is
	insert, figures, state bool // what is owed
}

// save puts a session as it is now in the place of before; a nil before is a new
// session.
func (t *tx) save(s session, before *session) {
	c := t.changes[s.ID]
	if c == nil {
		c = &change{}
		t.changes[s.ID] = c
		t.order = append(t.order, c)
	}
	// As SQL keeps them, so that a row at hand and one read are the same.
	for _, at := range [...]*time.Time{&s.StartedAt, &s.HeardAt, &s.EndedAt} {
		*at = fromMillis(millis(*at))
	}
	c.session = s
	switch {
	case before == nil:
		c.insert = true
	case !c.insert:
		c.figures = true
		c.state = c.state || s.State != before.State || s.stopped != before.stopped
	}
	if !c.owed {
		c.owed = true
		t.owed.sessions = append(t.owed.sessions, c)
	}
	if s.Permit != "" {
		t.permits[s.Permit] = c
	}
	t.place(&s.Session)
	t.writes++
	t.dirty = true
}

// place brings a session into work, or remembers that work does not have it.
func (t *tx) place(s *hotspot.Session) {
	if row := t.db.w.work.passes[s.Pass]; row != nil {
		row.put(s)
	} else {
		t.loose[s.Pass] = true
	}
}

// saveUsage keeps what is gone of a pass.
func (t *tx) saveUsage(account hotspot.AccountID, id hotspot.PassID, row *passRow) {
	c := t.used[id]
	if c == nil {
		c = &useChange{account: account, id: id}
		t.used[id] = c
	}
	c.row = row
	if !c.owed {
		c.owed = true
		t.owed.usage = append(t.owed.usage, c)
	}
	t.writes++
	t.dirty = true
}

// useChange is a pass that the open transaction used.
type useChange struct {
	account hotspot.AccountID
	id      hotspot.PassID
	row     *passRow
	owed    bool
}

// forgetPass takes a pass out of work whose document changes.
func (t *tx) forgetPass(id hotspot.PassID) { delete(t.db.w.work.passes, id) }

// undo takes what a transaction touched out of work once it is rolled back.
func (t *tx) undo() {
	for _, c := range t.changes {
		t.forgetPass(c.Pass)
	}
	for id := range t.used {
		t.forgetPass(id)
	}
}

// publish brings what was committed to the desk. It reports whether somebody
// should look who must be off.
func (t *tx) publish() (look bool) {
	for _, c := range t.order {
		s := c.Session // a copy that nobody changes any more
		look = t.db.desk.session(&s) || t.db.deviceLock(s.MAC) != nil || look
	}
	for _, c := range t.used {
		t.db.desk.usage(c.account, c.id, c.row.usage)
	}
	return look
}
