package store

import (
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// work is the writer's own copy of what records change again and again: the
// passes in use, what is gone of them, and their open sessions. SQL is behind it
// by what is late, and by nothing else.
//
// The rules that keep it true: every change of a session or of usage goes
// through tx.save and tx.saveUsage, or keep and keepUsage beside an event;
// tx.settle writes what is late, once per row, before any operation that reads or
// writes those tables by SQL; a transaction that is rolled back takes all it
// touched out of work; who changes a pass's document forgets the pass.
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
	if l := &t.db.w.late; l.loose[id] || l.used[id] != nil { // SQL does not have it as it is
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

// change is a session that SQL does not have as it is.
type change struct {
	session
	insert, state bool   // what SQL lacks, besides the figures
	tx            uint64 // the newest transaction that changed it
}

// save puts a session as it is now in the place of before; a nil before is a new
// session. Its row does not follow the commit.
func (t *tx) save(s session, before *session) {
	t.through = true
	t.keep(s, before)
}

// keep is save where an event stands for the row (tx.tell).
func (t *tx) keep(s session, before *session) {
	l := &t.db.w.late
	c := l.changes[s.ID]
	if c == nil {
		c = &change{}
		if l.empty() {
			l.since = time.Now()
		}
		l.changes[s.ID], l.sessions = c, append(l.sessions, c)
		if s.Permit != "" {
			l.permits[s.Permit] = c
		}
		at := deviceAt{s.NAS, s.MAC}
		l.devices[at] = append(l.devices[at], c)
	}
	if c.tx != t.db.w.txs {
		c.tx = t.db.w.txs
		t.order = append(t.order, c)
	}
	// As SQL keeps them, so that a row at hand and one read are the same.
	for _, at := range [...]*time.Time{&s.StartedAt, &s.HeardAt, &s.EndedAt} {
		*at = fromMillis(millis(*at))
	}
	c.session = s
	if before == nil {
		c.insert = true
	} else {
		c.state = c.state || s.State != before.State || s.stopped != before.stopped
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
		t.db.w.late.loose[s.Pass] = true
	}
}

// saveUsage keeps what is gone of a pass. Its row does not follow the commit.
func (t *tx) saveUsage(account hotspot.AccountID, id hotspot.PassID, row *passRow) {
	t.through = true
	t.keepUsage(account, id, row)
}

// keepUsage is saveUsage where an event stands for the row.
func (t *tx) keepUsage(account hotspot.AccountID, id hotspot.PassID, row *passRow) {
	l := &t.db.w.late
	c := l.used[id]
	if c == nil {
		c = &useChange{account: account, id: id}
		if l.empty() {
			l.since = time.Now()
		}
		l.used[id], l.usage = c, append(l.usage, c)
	}
	c.row = row
	if c.tx != t.db.w.txs {
		c.tx = t.db.w.txs
		t.used = append(t.used, c)
	}
	t.writes++
	t.dirty = true
}

// useChange is a pass whose usage SQL does not have as it is.
type useChange struct {
	account hotspot.AccountID
	id      hotspot.PassID
	row     *passRow
	tx      uint64 // the newest transaction that used it
}

// forgetPass takes a pass out of work whose document changes.
func (t *tx) forgetPass(id hotspot.PassID) { delete(t.db.w.work.passes, id) }

// undo takes what a transaction touched out of work once it is rolled back. What
// was late before it is brought up from the log by the next one.
func (t *tx) undo() {
	for _, c := range t.order {
		t.forgetPass(c.Pass)
	}
	for _, c := range t.used {
		t.forgetPass(c.id)
	}
	t.db.w.late.clear()
	t.db.w.stale = true
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
