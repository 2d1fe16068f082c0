package store

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	// rejectsKept bounds the failed logins remembered for people, and silentKept
	// those among them that were met with silence: anybody may send such, and they
	// must not push out what guests of ours were told.
	rejectsKept, silentKept = 5000, 500
	// The same login failing again within rejectQuiet is the same row, which ends
	// after rejectSpan, so that its times say something.
	rejectQuiet, rejectSpan = 10 * time.Minute, time.Hour
	// rejectsAMinute and silentAMinute bound the rows that begin in a minute for one
	// NAS and reason. What is beyond them is one row for all their names.
	rejectsAMinute, silentAMinute = 60, 20
	// rejectsOpen bounds the rows held in memory to go on counting; a cafe has some ten.
	rejectsOpen = 2048
	// Of failed logins the cloud is told tellBurst at once, then one in tellEvery:
	// 2,880 a day of some 300 octets where somebody floods for days.
	tellBurst, tellEvery = 120, 30 * time.Second
)

// rejectBook are the failed logins that may still count on, and what of them is
// not yet in SQL. Its mutex is a leaf: a login never waits for a disk here.
type rejectBook struct {
	mu     sync.Mutex // guards what follows
	open   map[rejectKey]*rejectRow
	ended  []*rejectRow // gave way to another of their kind before they were written
	next   int64        // id of the next row
	dirty  bool         // some row is
	queued bool         // the writer was asked
	began  map[pressureKey]*pressureCount

	tokens   float64 // events that the cloud may be told, at tokensAt
	tokensAt time.Time
}

// rejectKey is what makes two failed logins the same.
type rejectKey struct {
	nas      hotspot.NASID
	source   netip.Addr
	username string
	mac      hotspot.MAC
	reason   hotspot.Reason
	silent   bool
	others   bool
}

type rejectRow struct {
	hotspot.Reject
	id     int64
	dirty  bool // not in SQL as it is
	told   int  // Times, as last told to the cloud; 0: not yet
	toldAt time.Time
}

type pressureKey struct {
	nas    hotspot.NASID
	reason hotspot.Reason
	silent bool
}

type pressureCount struct {
	since time.Time
	rows  int
}

func newRejectBook() rejectBook {
	return rejectBook{open: map[rejectKey]*rejectRow{}, began: map[pressureKey]*pressureCount{}, tokens: tellBurst, next: 1}
}

// RecordReject remembers a failed login. It never waits. One that goes on failing
// counts in its row, which the sweeper writes; a flood of names is one row.
func (db *DB) RecordReject(r hotspot.Reject) {
	b := &db.book
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Times = max(1, r.Times)
	if r.Until.Before(r.At) {
		r.Until = r.At
	}
	key := rejectKey{nas: r.NAS, source: r.Source, username: r.Username, mac: r.MAC, reason: r.Reason, silent: r.Silent}
	if b.count(key, r) {
		return
	}
	if !b.room(r) {
		key = rejectKey{nas: r.NAS, reason: r.Reason, silent: r.Silent, others: true}
		r.Username, r.MAC, r.IP, r.Account, r.Message, r.Others = "", hotspot.MAC{}, netip.Addr{}, "", "", true
		if b.count(key, r) {
			return
		}
	}
	r.Ref = hotspot.NewID(r.At)
	if old := b.open[key]; old != nil && len(b.ended) < rejectsOpen {
		b.ended = append(b.ended, old)
	}
	b.open[key] = &rejectRow{Reject: r, id: b.next, dirty: true}
	b.next++
	b.dirty = true
	db.askToKeep()
}

// count adds r to the row of its kind, if one is open.
func (b *rejectBook) count(key rejectKey, r hotspot.Reject) bool {
	row := b.open[key]
	if row == nil || row.over(r.At) {
		return false
	}
	row.Times += r.Times
	row.Message, row.Detail, row.IP, row.Account, row.Source = r.Message, r.Detail, r.IP, r.Account, r.Source
	if r.Until.After(row.Until) {
		row.Until = r.Until
	}
	row.dirty, b.dirty = true, true
	return true
}

// over reports whether a row counts no further at now, also after a date that was set.
func (r *rejectRow) over(now time.Time) bool {
	return now.Sub(r.Until).Abs() >= rejectQuiet || now.Sub(r.At).Abs() >= rejectSpan
}

// room reports whether a row of its own may begin for r.
func (b *rejectBook) room(r hotspot.Reject) bool {
	key := pressureKey{r.NAS, r.Reason, r.Silent}
	c := b.began[key]
	if c == nil {
		c = &pressureCount{since: r.At}
		b.began[key] = c
	}
	if r.At.Sub(c.since).Abs() >= time.Minute {
		*c = pressureCount{since: r.At}
	}
	most := rejectsAMinute
	if r.Silent {
		most = silentAMinute
	}
	if c.rows >= most || len(b.open) >= rejectsOpen {
		return false
	}
	c.rows++
	return true
}

// askToKeep has the writer store what is not yet in SQL; the book is locked. Where
// the writer has more than it can do the sweeper comes for it.
func (db *DB) askToKeep() {
	if db.book.queued {
		return
	}
	select {
	case db.ops <- &op{ctx: context.Background(), own: true, run: db.keepRejects()}:
		db.book.queued = true
	default:
	}
}

// sweepRejects stores what counted on, and closes rows that count no further.
func (db *DB) sweepRejects() {
	b := &db.book
	b.mu.Lock()
	defer b.mu.Unlock()
	now := db.o.Now()
	for _, row := range b.open {
		b.dirty = b.dirty || row.over(now)
	}
	if b.dirty {
		db.askToKeep()
	}
}

// keepRejects returns the operation that stores what is dirty when it first runs;
// run once more, after a batch that was rolled back, it stores the same.
func (db *DB) keepRejects() func(*tx) error {
	var rows []rejectRow
	var tell []wire.LoginRefused
	taken := false
	return func(t *tx) error {
		if !taken {
			rows, tell = db.book.take(t.now)
			taken = true
		}
		if t.mark.lineage == "" { // there is no cloud to tell
			tell = nil
		}
		err := t.insertAll("store rejects", &upsertRejects, len(rows), func(i int, to []any) []any { return rows[i].columns(to) })
		for i := range tell {
			if err == nil {
				err = t.event(wire.EventLoginRefused, tell[i])
			}
		}
		return err
	}
}

// take returns the rows to be written and what the cloud is to be told, the oldest
// first, and forgets the rows that are over.
func (b *rejectBook) take(now time.Time) (rows []rejectRow, tell []wire.LoginRefused) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queued, b.dirty = false, false
	var told []*rejectRow
	take := func(row *rejectRow, over bool) {
		if row.dirty {
			row.dirty = false
			rows = append(rows, *row)
		}
		if row.tells(now, over) {
			told = append(told, row)
		}
	}
	for _, row := range b.ended {
		take(row, true)
	}
	b.ended = nil
	for key, row := range b.open {
		over := row.over(now)
		take(row, over)
		if over {
			delete(b.open, key)
		}
	}
	for key, c := range b.began {
		if now.Sub(c.since).Abs() >= time.Minute {
			delete(b.began, key)
		}
	}
	slices.SortFunc(rows, func(x, y rejectRow) int { return cmp.Compare(x.id, y.id) })
	slices.SortFunc(told, func(x, y *rejectRow) int { return cmp.Compare(x.id, y.id) })
	for _, row := range told {
		if b.mayTell(now) {
			row.told, row.toldAt = row.Times, now
			tell = append(tell, wire.FromReject(row.Reject))
		}
	}
	return rows, tell
}

// tells reports whether the cloud should hear of a row: at its beginning, when it
// has doubled, and at its end. Devices that only appeared are no news.
func (r *rejectRow) tells(now time.Time, over bool) bool {
	switch {
	case r.Appeared(), r.told == r.Times:
		return false
	case r.told == 0, over:
		return true
	}
	return r.Times >= 2*r.told && now.Sub(r.toldAt).Abs() >= time.Minute
}

// mayTell takes what one event costs of what the cloud may be told.
func (b *rejectBook) mayTell(now time.Time) bool {
	if gone := now.Sub(b.tokensAt); gone > 0 && !b.tokensAt.IsZero() {
		b.tokens = min(tellBurst, b.tokens+float64(gone)/float64(tellEvery))
	}
	b.tokensAt = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

var upsertRejects = newManyRows("INSERT INTO reject (id, at, nas, username, mac, reason, message, detail, account, ref, ip, source, silent, times, until_at, others)", 16,
	` ON CONFLICT (id) DO UPDATE SET message = excluded.message, detail = excluded.detail, account = excluded.account, ip = excluded.ip, source = excluded.source,
	times = excluded.times, until_at = excluded.until_at`)

const rejectColumns = "id, at, nas, username, mac, reason, message, detail, account, ref, ip, source, silent, times, until_at, others"

func (r *rejectRow) columns(to []any) []any {
	return append(to, r.id, millis(r.At), string(r.NAS), r.Username, r.MAC.String(), string(r.Reason), r.Message, r.Detail, string(r.Account),
		r.Ref, addrText(r.IP), addrText(r.Source), r.Silent, r.Times, millis(r.Until), r.Others)
}

func scanReject(scan func(...any) error) (r rejectRow, err error) {
	var at, until int64
	var mac, ip, source string
	err = scan(&r.id, &at, &r.NAS, &r.Username, &mac, &r.Reason, &r.Message, &r.Detail, &r.Account, &r.Ref, &ip, &source, &r.Silent, &r.Times, &until, &r.Others)
	r.At, r.Until = fromMillis(at), fromMillis(max(at, until))
	r.MAC, _ = hotspot.ParseMAC(mac)
	r.IP, _ = netip.ParseAddr(ip)
	r.Source, _ = netip.ParseAddr(source)
	return r, err
}

// loadRejects finds out where the numbers of the rows stand.
func (t *tx) loadRejects() error {
	_, err := t.row("find the newest reject", "SELECT COALESCE(MAX(id), 0) + 1 FROM reject", nil, &t.db.book.next)
	return err
}

// Rejects returns the failed logins, those that failed last first: as they are on
// disk and as they counted on since.
func (db *DB) Rejects(ctx context.Context, limit int) ([]hotspot.Reject, error) {
	var rows []rejectRow
	err := db.query(ctx, "read rejects", "SELECT "+rejectColumns+" FROM reject ORDER BY id DESC LIMIT ?", []any{limit}, func(scan func(...any) error) error {
		r, err := scanReject(scan)
		rows = append(rows, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	rows = db.book.over(rows)
	slices.SortStableFunc(rows, func(x, y rejectRow) int {
		return cmp.Or(y.Newest().Compare(x.Newest()), cmp.Compare(y.id, x.id))
	})
	out := make([]hotspot.Reject, min(limit, len(rows)))
	for i := range out {
		out[i] = rows[i].Reject
	}
	return out, nil
}

// over lays what counts in memory over what was read.
func (b *rejectBook) over(rows []rejectRow) []rejectRow {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := make(map[int64]int, len(rows))
	for i := range rows {
		at[rows[i].id] = i
	}
	for _, row := range slices.AppendSeq(slices.Clone(b.ended), maps.Values(b.open)) {
		if i, ok := at[row.id]; ok {
			rows[i] = *row
		} else {
			rows = append(rows, *row)
		}
	}
	return rows
}
