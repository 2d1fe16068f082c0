package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// TestBatchesOfAnySizeLeaveTheSame has the same log come in batches of one, where
// nothing is put together, and in longer ones, and compares every row of every table.
func TestBatchesOfAnySizeLeaveTheSame(t *testing.T) {
	for engine, seeds := range map[string]uint64{"sqlite": 3, "postgres": 1} {
		for seed := range seeds {
			t.Run(fmt.Sprint(engine, seed), func(t *testing.T) { sameWhatever(t, engine, seed) })
		}
	}
}

func sameWhatever(t *testing.T, engine string, seed uint64) {
	w := newWorld(t, engine)
	url := w.url
	s := newStream(w, rand.New(rand.NewPCG(seed, 5)))
	logs := s.logs(200)
	must(t, w.db.Close())
	var want []string
	for _, size := range []func() int{
		func() int { return 1 },
		func() int { return wire.MaxEvents },
		func() int { return 1 + s.r.IntN(40) },
	} {
		w.url = copied(t, url)
		w.open()
		for _, l := range logs {
			for at := 1; at <= len(l.events); {
				last := min(len(l.events), at+size()-1)
				if ack := w.ingest(l.batch(at, last)); ack.Fork || ack.Through != int64(last) {
					t.Fatalf("got %+v, want through %d", ack, last)
				}
				at = last + 1
			}
		}
		must(t, w.db.Close())
		got := rowsOf(t, w.url)
		if want == nil {
			want = got
			s.worthIt(want)
		}
		only(t, "one by one", want, got)
		only(t, "in batches", got, want)
	}
	w.open() // closed by the test's end
}

// only tells which rows one way of sending left that the other did not.
func only(t *testing.T, how string, these, those []string) {
	t.Helper()
	for _, row := range these {
		if !slices.Contains(those, row) {
			t.Errorf("only when sent %s: %s", how, row)
		}
	}
}

// copied is a database with the same rows.
func copied(t *testing.T, url string) string {
	t.Helper()
	if path, ok := strings.CutPrefix(url, "sqlite://"); ok {
		to := filepath.Join(t.TempDir(), fmt.Sprint("copy", time.Now().UnixNano(), ".db"))
		b, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(to, b, 0o600))
		return "sqlite://" + to
	}
	to := postgresURL(t)
	name := func(url string) string {
		rest, _, _ := strings.Cut(url, "?")
		return rest[strings.LastIndexByte(rest, '/')+1:]
	}
	admin, err := sql.Open("pgx", postgres.url("postgres"))
	must(t, err)
	defer admin.Close()
	for _, q := range []string{"DROP DATABASE " + name(to), "CREATE DATABASE " + name(to) + " TEMPLATE " + name(url)} {
		_, err := admin.Exec(q)
		must(t, err)
	}
	return to
}

// random are the columns filled with what no two runs give the same.
var random = map[string]bool{"audit.id": true, "account_lock.id": true}

// rowsOf is all that a database holds, a line a row.
func rowsOf(t *testing.T, url string) (all []string) {
	t.Helper()
	driver, list := "pgx", "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
	if path, ok := strings.CutPrefix(url, "sqlite://"); ok {
		driver, url, list = "sqlite", path, "SELECT name FROM sqlite_master WHERE type = 'table'"
	}
	db, err := sql.Open(driver, url)
	must(t, err)
	defer db.Close()
	var tables []string
	eachRow(t, db, list, func(_ []string, row []any) { tables = append(tables, fmt.Sprint(row[0])) })
	for _, table := range tables {
		eachRow(t, db, "SELECT * FROM "+table, func(columns []string, row []any) {
			var line strings.Builder
			line.WriteString(table)
			for i, v := range row {
				if b, ok := v.([]byte); ok {
					v = string(b)
				}
				if !random[table+"."+columns[i]] {
					fmt.Fprintf(&line, " %s=%v", columns[i], v)
				}
			}
			all = append(all, line.String())
		})
	}
	slices.Sort(all)
	return all
}

func eachRow(t *testing.T, db *sql.DB, query string, f func(columns []string, row []any)) {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), query)
	must(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		must(t, rows.Scan(into...))
		f(columns, row)
	}
	must(t, rows.Err())
}

// stream makes up what a site may say: facts of every kind, in any order, and
// what no cloud can read.
type stream struct {
	*world
	r        *rand.Rand
	accounts []hotspot.AccountID
	passes   []hotspot.PassID
	commands []string
	grants   []hotspot.GrantID
}

func newStream(w *world, r *rand.Rand) *stream {
	s := &stream{world: w, r: r}
	for i := range 4 {
		id := w.user(fmt.Sprint("guest", i))
		s.accounts, s.passes = append(s.accounts, id), append(s.passes, w.guest(id).Pass.ID)
	}
	must(w, w.db.Lock(w.Context(), w.owner, s.accounts[0], "noise"))
	must(w, w.db.Lock(w.Context(), w.owner, s.accounts[1], "noise"))
	for range 3 {
		c, err := w.db.AddCommand(w.Context(), w.owner, hotspot.Command{Site: w.site.ID, Kind: "kick", Subject: string(s.accounts[2]), Body: "{}"}, time.Hour)
		must(w, err)
		s.commands = append(s.commands, c.ID)
	}
	w.hello(nil)
	return s
}

// logs are the site's log under its first epoch, and under a second one, which
// begins with what the end of the first said.
func (s *stream) logs(n int) []*siteLog {
	first, second := &siteLog{epoch: "epoch1"}, &siteLog{epoch: "epoch2"}
	for range n {
		s.say(first)
	}
	second.events = append(second.events, first.events[n/2:]...)
	for range n / 2 {
		s.say(second)
	}
	return []*siteLog{first, second}
}

// about is a time near now, a little back or forth.
func (s *stream) about() time.Time {
	return s.now().Add(time.Duration(s.r.IntN(20)-15) * time.Minute)
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (s *stream) say(l *siteLog) {
	i := s.r.IntN(len(s.accounts))
	account, pass := s.accounts[i], s.passes[i]
	session := hotspot.SessionID(fmt.Sprint("s", s.r.IntN(8)))
	at := s.about()
	usage := func() *wire.UsageBody {
		u := &wire.UsageBody{Pass: pass, Account: account, TimeMS: s.r.Int64N(1e6), Upload: s.r.Uint64N(1e9), Download: s.r.Uint64N(1 << 40)}
		if s.r.IntN(3) == 0 {
			u.FirstUsed = s.about()
		}
		return u
	}
	rate := func() string { return pick(s.r, "", "1M/2M", "2M/10M", "512k/1M") }
	switch s.r.IntN(24) {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		b := wire.SessionBody{ID: session, Permit: "p1", Account: account, Pass: pass, NAS: hotspot.NASID(pick(s.r, "r1", "r2")), AcctSessionID: "80000001",
			Username: "amal", MAC: pick(s.r, "AA:BB:CC:00:11:22", "no address"), IP: pick(s.r, "10.5.50.17", "", "fe80::1%eth0"), StartedAt: s.about(), HeardAt: at,
			TimeMS: s.r.Int64N(1e6), Upload: s.r.Uint64N(1e9), Download: s.r.Uint64N(1 << 40), State: pick(s.r, hotspot.Live, hotspot.Live, hotspot.Suspect, hotspot.Reserved, hotspot.Closed)}
		kind := pick(s.r, wire.EventSessionStarted, wire.EventSessionUsage, wire.EventSessionUsage)
		if b.State == hotspot.Closed {
			kind, b.Cause = wire.EventSessionStopped, "User-Request"
			if s.r.IntN(2) == 0 {
				b.EndedAt = s.about()
			}
		}
		if s.r.IntN(2) == 0 {
			b.PassUsage = usage()
		}
		if s.r.IntN(3) == 0 {
			r := pick(s.r, rate(), "not a speed")
			b.Rate = &r
		}
		l.add(kind, at, b)
	case 8:
		l.add(pick(s.r, wire.EventPassUsage, wire.EventPassFirstUsed), at, usage())
	case 9:
		l.add(wire.EventLockReceived, at, wire.LockReceived{Account: account, Revision: s.r.Int64N(12)})
	case 10, 11:
		l.add(wire.EventLockProof, at, wire.LockProof{Account: account, Revision: s.r.Int64N(12), Reason: hotspot.OffLocked,
			Outcome: pick(s.r, hotspot.OutcomePending, hotspot.OutcomeEnforced, hotspot.OutcomeUnproven), At: s.about(), ReceivedAt: at, Sessions: s.r.IntN(3)})
	case 12:
		l.add(wire.EventLockKept, at, wire.LockKept{Account: account, By: "Ana", Reason: "abuse", At: s.about()})
	case 13:
		l.add(wire.EventNASRestarted, at, wire.NASRestarted{NAS: hotspot.NASID(pick(s.r, "r1", "r2"))})
	case 14:
		l.add(wire.EventCommandResult, at, wire.CommandResult{ID: pick(s.r, s.commands...), State: pick(s.r, "running", "done", "failed"), Detail: "said so"})
	case 15, 16:
		l.add(wire.EventSessionChanged, at, wire.SessionChanged{Session: session, Account: account, Wanted: rate(), Rate: rate(), Outcome: pick(s.r, hotspot.ChangeApplied, hotspot.ChangePending), At: at})
	case 17:
		r := rate()
		l.add(wire.EventAdjusted, at, pick(s.r, wire.AdjustedBody{Account: account, Pass: pass, By: "Ana", AskedS: 600, TimeS: 600},
			wire.AdjustedBody{Account: account, Pass: pass, By: "Ana", Rate: &r}, wire.AdjustedBody{Account: account, Pass: "nobody's", By: "Ana", AskedS: 600, TimeS: 600}))
	case 18:
		id := hotspot.GrantID(fmt.Sprint("grant", len(s.grants)))
		s.grants = append(s.grants, id)
		l.add(wire.EventGrantMade, at, wire.GrantMade{GrantDoc: wire.GrantDoc{List: "vip", Address: fmt.Sprintf("203.0.113.%d/32", len(s.grants)), Until: s.now().Add(time.Hour), By: "Ana", At: at}, ID: id})
	case 19:
		if len(s.grants) > 0 {
			id := pick(s.r, s.grants...)
			l.add(wire.EventGrantSettled, at, wire.GrantSettled{State: "in_list", IDs: []hotspot.GrantID{id, "unheard of"}})
			l.add(wire.EventGrantRemoved, at, wire.GrantRemoved{ID: pick(s.r, s.grants...), By: "Ana"})
		}
	case 20:
		l.add(wire.EventGap, at, pick(s.r, wire.Gap{Epoch: "epoch0", First: 5}, wire.Gap{Epoch: "epoch0", First: 5, Last: 9}))
	case 21:
		l.add(wire.EventAgentStarted, at, wire.AgentStarted{Version: pick(s.r, "1.0", "1.1"), Boot: "boot1"})
		l.add(wire.EventVoid, at, nil)
	case 22: // said twice under two numbers
		if len(l.events) > 0 {
			l.events = append(l.events, pick(s.r, l.events...))
		}
	case 23:
		s.poison(l, at)
	}
}

// poison says what nobody can read.
func (s *stream) poison(l *siteLog, at time.Time) {
	e := l.add(pick(s.r, wire.EventSessionUsage, wire.EventPassUsage, "future.kind", wire.EventSessionChanged, wire.EventAdjusted, wire.EventLockProof), at, nil)
	last := &l.events[len(l.events)-1]
	last.Body = json.RawMessage(pick(s.r, `[]`, `{"id":7}`, `{"time_ms":-1}`, `{"id":"s1","time_ms":-4,"started_at":"2026-11-24T10:00:00Z"}`, `{"pass":"\u0000"}`, `"`+e.ID+`"`))
	if s.r.IntN(3) == 0 {
		last.ID = pick(s.r, "", "no name", strings.Repeat("x", 65))
	}
}

// worthIt fails where the log left nothing to compare.
func (s *stream) worthIt(rows []string) {
	s.Helper()
	for _, table := range []string{"session ", "pass_usage ", "event ", "event_dead ", "list_grant ", "audit ", "account_lock "} {
		if !slices.ContainsFunc(rows, func(row string) bool { return strings.HasPrefix(row, table) }) {
			s.Errorf("no row of %s: the log says too little", table)
		}
	}
}
