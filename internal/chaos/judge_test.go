package chaos

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"

	"iwas/internal/wire"
)

// figures are counters that only grow; all else of a fact is text.
type figures [3]int64 // milliseconds, octets up, octets down

func (f figures) max(g figures) figures {
	for i := range f {
		f[i] = max(f[i], g[i])
	}
	return f
}

// fact is one thing that both sides must tell alike.
type fact struct {
	said string
	figures
}

func (f fact) String() string { return fmt.Sprintf("%s %v", f.said, f.figures) }

// eventKey is where an event stood in a log.
type eventKey struct {
	epoch string
	seq   int64
	kind  string
}

// side is all that one side knows of a site.
type side struct {
	standing string              // lineage, revision, hash as kept, and the hash of the documents as they are
	facts    map[string]fact     // "kind id"
	events   map[string]eventKey // by id
	doubled  []string            // facts that are there twice
	epoch    string              // agent: of its log
	first    int64               // agent: oldest event kept; what the cloud has of before was dropped for want of room
	acked    int64               // agent: events the cloud is said to have
	last     int64
	orphans  map[string]bool // agent: locks kept of accounts that are no more
	gaps     []wire.Gap      // cloud
	dead     []string        // cloud: events set aside
	marks    map[string]int64
	commands map[string]command
	results  map[string][]string // command.result events of the log, by command: its states
	answers  map[string][]time.Time
	at       time.Time // of this look

	forgotten map[string]bool   // commands that a restore of this side took back, wholly or a stage of them
	asked     map[string]string // agent: commands that the cloud's API took for this site, and whom they are about
}

func newSide() *side {
	return &side{facts: map[string]fact{}, events: map[string]eventKey{}, orphans: map[string]bool{}, marks: map[string]int64{}, commands: map[string]command{}, results: map[string][]string{}, answers: map[string][]time.Time{},
		forgotten: map[string]bool{}, asked: map[string]string{}}
}

func (s *side) add(kind, id, said string, f figures) {
	key := kind + " " + id
	if _, there := s.facts[key]; there {
		s.doubled = append(s.doubled, key)
	}
	s.facts[key] = fact{said, f}
}

// reader reads tables, and remembers the first thing that goes wrong.
type reader struct {
	ctx context.Context
	db  *sql.DB
	err error
}

func (r *reader) each(query string, args []any, row func(scan func(...any))) {
	if r.err != nil {
		return
	}
	rows, err := r.db.QueryContext(r.ctx, query, args...)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", query, err)
		return
	}
	defer func() { r.err = errors.Join(r.err, rows.Err(), rows.Close()) }()
	for rows.Next() && r.err == nil {
		row(func(into ...any) { r.err = errors.Join(r.err, rows.Scan(into...)) })
	}
}

// openFile opens a database file to read from, also while a program writes it.
func openFile(path string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
}

func digest(body string) string { return fmt.Sprintf("%.8x", sha256.Sum256([]byte(body))) }

// agentSide reads a site's own database.
func agentSide(ctx context.Context, db *sql.DB) (*side, error) {
	s, r := newSide(), &reader{ctx: ctx, db: db}
	var lineage, hash, epoch string
	var revision int64
	r.each(`SELECT epoch, lineage, revision, hash, acked, MAX(last_seq, COALESCE((SELECT MAX(seq) FROM event), 0)) FROM mark`, nil,
		func(scan func(...any)) { scan(&epoch, &lineage, &revision, &hash, &s.acked, &s.last) })
	var set wire.SetHash
	r.each(`SELECT kind, id, rev, body, in_force FROM document`, nil, func(scan func(...any)) {
		var kind, id, body string
		var rev, inForce int64
		scan(&kind, &id, &rev, &body, &inForce)
		set.Add(wire.Doc{Kind: wire.DocKind(kind), ID: id, Body: json.RawMessage(body)})
		s.add("document", kind+"/"+id, fmt.Sprintf("rev %d %s", rev, digest(body)), figures{})
		if inForce == 0 {
			s.doubled = append(s.doubled, "document "+kind+"/"+id+" is not in force")
		}
	})
	s.standing = fmt.Sprintf("%s/%d %s %s", lineage, revision, hash, set.String())
	r.each(`SELECT id, account, pass, nas, acct_session_id, username, state, started_at, cause, time_ms, upload, download FROM session`, nil, s.session)
	r.each(`SELECT pass, account, first_used, time_ms, upload, download FROM usage`, nil, s.usage)
	r.each(`SELECT l.account, l.outcome, l.revision, EXISTS (SELECT 1 FROM document d WHERE d.kind = 'lock' AND d.id = l.account) FROM lock l`, nil, func(scan func(...any)) {
		var account, outcome string
		var revision, documented int64
		scan(&account, &outcome, &revision, &documented)
		if revision == 0 && documented == 0 {
			s.orphans[account] = true
			return
		}
		s.add("lock", account, fmt.Sprintf("rev %d %s", revision, outcome), figures{})
	})
	r.each(`SELECT id, list, address, until FROM list_grant WHERE gone_at = 0`, nil, s.grant)
	r.each(`SELECT seq, id, kind FROM event`, nil, func(scan func(...any)) {
		var k eventKey
		var id string
		scan(&k.seq, &id, &k.kind)
		k.epoch = epoch
		if s.first == 0 || k.seq < s.first {
			s.first = k.seq
		}
		if _, there := s.events[id]; there {
			s.doubled = append(s.doubled, "event "+id)
		}
		s.events[id] = k
	})
	s.epoch, s.at = epoch, time.Now()
	r.each(`SELECT id, state, ended, kind, account, result FROM command_inbox`, nil, func(scan func(...any)) { r.err = errors.Join(r.err, s.command(scan)) })
	r.each(`SELECT body FROM event WHERE kind = 'command.result'`, nil, func(scan func(...any)) {
		var body []byte
		scan(&body)
		r.err = errors.Join(r.err, s.result(body))
	})
	r.each(`SELECT id, pass FROM adjustment`, nil, func(scan func(...any)) {
		var id, pass string
		scan(&id, &pass)
		s.add("adjustment", id, "of "+pass, figures{})
	})
	return s, r.err
}

func (s *side) session(scan func(...any)) {
	var id, account, pass, nas, acct, user, state, cause string
	var started int64
	var f figures
	scan(&id, &account, &pass, &nas, &acct, &user, &state, &started, &cause, &f[0], &f[1], &f[2])
	s.add("session", id, fmt.Sprintf("of %s pass %s at %s %s as %q is %s since %d %s", account, pass, nas, acct, user, state, started, cause), f)
}

func (s *side) usage(scan func(...any)) {
	var pass, account string
	var first int64
	var f figures
	scan(&pass, &account, &first, &f[0], &f[1], &f[2])
	s.add("usage", pass, fmt.Sprintf("of %s since %d", account, first), f)
}

func (s *side) grant(scan func(...any)) {
	var id, list, address string
	var until int64
	scan(&id, &list, &address, &until)
	s.add("grant", id, fmt.Sprintf("%s %s until %d", list, address, until), figures{})
}

// cloudSide reads what the cloud knows of a site.
func cloudSide(ctx context.Context, db *sql.DB, site string) (*side, error) {
	s, r, of := newSide(), &reader{ctx: ctx, db: db}, []any{site}
	var lineage, hash string
	var revision int64
	r.each(`SELECT lineage, rev, hash FROM site WHERE id = $1`, of, func(scan func(...any)) { scan(&lineage, &revision, &hash) })
	var set wire.SetHash
	type named struct{ event, pass string }
	folded := map[named]int{}
	r.each(`SELECT kind, id, rev, body FROM document WHERE site = $1 AND deleted = 0`, of, func(scan func(...any)) {
		var kind, id, body string
		var rev int64
		scan(&kind, &id, &rev, &body)
		set.Add(wire.Doc{Kind: wire.DocKind(kind), ID: id, Body: json.RawMessage(body)})
		s.add("document", kind+"/"+id, fmt.Sprintf("rev %d %s", rev, digest(body)), figures{})
		if kind == string(wire.DocPass) {
			var p wire.PassDoc
			r.err = errors.Join(r.err, json.Unmarshal([]byte(body), &p))
			for _, event := range p.Adjusted {
				folded[named{event, id}]++
			}
		}
	})
	s.standing = fmt.Sprintf("%s/%d %s %s", lineage, revision, hash, set.String())
	for n, times := range folded {
		for range times {
			s.add("adjustment", n.event, "of "+n.pass, figures{})
		}
	}
	r.each(`SELECT id, account, pass, nas, acct_session_id, username, state, started_at, cause, time_ms, upload, download FROM session WHERE site = $1`, of, s.session)
	r.each(`SELECT pass, account, first_used_at, time_ms, upload, download FROM pass_usage WHERE site = $1`, of, s.usage)
	r.each(`SELECT account, outcome, revision FROM account_lock WHERE site = $1 AND lifted_at = 0`, of, func(scan func(...any)) {
		var account, outcome string
		var revision int64
		scan(&account, &outcome, &revision)
		s.add("lock", account, fmt.Sprintf("rev %d %s", revision, outcome), figures{})
	})
	r.each(`SELECT id, list, address, until FROM list_grant WHERE site = $1 AND ended_at = 0`, of, s.grant)
	place := map[[2]any]string{}
	r.each(`SELECT id, epoch, seq, kind, body FROM event WHERE site = $1`, of, func(scan func(...any)) {
		var k eventKey
		var id, body string
		scan(&id, &k.epoch, &k.seq, &k.kind, &body)
		s.events[id] = k
		if twin, there := place[[2]any{k.epoch, k.seq}]; there {
			s.doubled = append(s.doubled, fmt.Sprintf("event %d of %s, as %s and %s", k.seq, k.epoch, twin, id))
		}
		place[[2]any{k.epoch, k.seq}] = id
		if k.kind == string(wire.EventCommandResult) {
			r.err = errors.Join(r.err, s.result([]byte(body)))
		}
		if k.kind == string(wire.EventGap) {
			var g wire.Gap
			r.err = errors.Join(r.err, json.Unmarshal([]byte(body), &g))
			s.gaps = append(s.gaps, g)
		}
	})
	r.each(`SELECT id, state, answered FROM command WHERE site = $1`, of, s.cloudCommand)
	r.each(`SELECT seq, reason FROM event_dead WHERE site = $1`, of, func(scan func(...any)) {
		var seq int64
		var reason string
		scan(&seq, &reason)
		s.dead = append(s.dead, fmt.Sprintf("%d: %s", seq, reason))
	})
	r.each(`SELECT epoch, through FROM event_mark WHERE site = $1`, of, func(scan func(...any)) {
		var epoch string
		var through int64
		scan(&epoch, &through)
		s.marks[epoch] = through
	})
	return s, r.err
}

// ruling is what the judge found of a site.
type ruling struct {
	wrong    []string // what is not as it must be, with both sides
	counts   map[string]int
	lost     int      // events that only a restored agent's former self knew
	forgiven []string // of commands, because a side was restored
	echoes   []string // facts that the cloud still tells as a former life told them, and the present one tells otherwise
}

// judge holds both sides of a site against each other. former are the agent's
// lives that ended with a restore from a backup: what they had told the cloud
// stays true there, and what they had not is lost, which a gap must say.
func judge(agent, cloud *side, former []*side, router *effects) ruling {
	v := ruling{counts: map[string]int{}}
	bad := func(format string, args ...any) { v.wrong = append(v.wrong, fmt.Sprintf(format, args...)) }
	if agent.standing != cloud.standing {
		bad("wanted state: agent %s, cloud %s", agent.standing, cloud.standing)
	}
	if agent.acked != agent.last {
		bad("log: the agent has %d events, the cloud answered for %d", agent.last, agent.acked)
	}
	for _, d := range append(slices.Clone(agent.doubled), cloud.doubled...) {
		bad("twice, or not in force: %s", d)
	}
	for _, d := range cloud.dead {
		bad("set aside by the cloud: %s", d)
	}
	for id, k := range agent.events {
		v.counts["events"]++
		if _, there := cloud.events[id]; !there && k.kind != string(wire.EventVoid) {
			bad("event %s (%s): agent has it as %d, cloud not at all", id, k.kind, k.seq)
		}
	}
	for id, k := range cloud.events {
		if _, there := agent.events[id]; !there && !agent.dropped(k) && !cloud.told(k) && !slices.ContainsFunc(former, func(f *side) bool { _, knew := f.events[id]; return knew || f.dropped(k) }) {
			bad("event %s (%s): cloud has it as %d of %s, agent not at all", id, k.kind, k.seq, k.epoch)
		}
	}
	for _, key := range keysOf(agent.facts, cloud.facts) {
		a, here := agent.facts[key]
		c, there := cloud.facts[key]
		kind, _, _ := strings.Cut(key, " ")
		v.counts[kind+"s"]++
		switch {
		case !here && told(key, former) && !openThere(kind, c):
			v.echoes = append(v.echoes, fmt.Sprintf("%s: agent nothing, cloud %s", key, c))
		case !here:
			bad("%s: agent nothing, cloud %s", key, c)
		case !there && kind == "adjustment" && !cloud.holds("document pass/"+strings.TrimPrefix(a.said, "of ")):
			// Of a pass the cloud has lost, with its account.
		case !there:
			bad("%s: agent %s, cloud nothing", key, a)
		case a == c:
		case a.said == c.said && c.figures.max(a.figures) == c.figures && within(key, c, a, former),
			kind == "session" && echoes(key, c, former) && (openThere(kind, a) || !openThere(kind, c)):
			v.echoes = append(v.echoes, fmt.Sprintf("%s: agent %s, cloud %s", key, a, c))
		default:
			bad("%s: agent %s, cloud %s", key, a, c)
		}
	}
	for _, key := range keysOf(agent.facts) {
		if f := agent.facts[key]; strings.HasPrefix(key, "lock ") && !strings.HasSuffix(f.said, " enforced") {
			bad("%s: not enforced in the end: agent %s, cloud %s", key, f, cloud.facts[key])
		}
	}
	v.judgeCommands(agent, cloud)
	v.judgeEffects(router, agent, former)
	v.lost = lost(cloud, former, bad)
	return v
}

// dropped reports whether an event is from before what the agent keeps of its log: on
// a full disk it drops what the cloud has acknowledged.
func (s *side) dropped(k eventKey) bool { return k.epoch == s.epoch && k.seq < s.first }

// told reports whether the site has said that it keeps an event no more: a new epoch
// begins with gaps for what it does not carry, which the cloud may have.
func (s *side) told(k eventKey) bool {
	return slices.ContainsFunc(s.gaps, func(g wire.Gap) bool { return g.Epoch == k.epoch && g.First <= k.seq && k.seq <= g.Last })
}

func (s *side) holds(key string) bool { _, there := s.facts[key]; return there }

// told reports whether a former life knew of the fact.
func told(key string, former []*side) bool {
	return slices.ContainsFunc(former, func(f *side) bool { _, knew := f.facts[key]; return knew })
}

// openThere reports whether a fact is a session that is not over.
func openThere(kind string, f fact) bool {
	return kind == "session" && !strings.Contains(f.said, " is closed ")
}

// echoes reports whether a former life said just what the cloud says.
func echoes(key string, cloud fact, former []*side) bool {
	return slices.ContainsFunc(former, func(f *side) bool { return f.facts[key] == cloud })
}

// within reports whether figures above the agent's own come from a former life.
func within(key string, cloud, agent fact, former []*side) bool {
	most := agent.figures
	for _, f := range former {
		most = most.max(f.facts[key].figures)
	}
	return most.max(cloud.figures) == most
}

// lost counts events that nobody has any more, and wants a gap for each.
func lost(cloud *side, former []*side, bad func(string, ...any)) int {
	n := 0
	for _, f := range former {
		for id, k := range f.events {
			if _, there := cloud.events[id]; there || k.kind == string(wire.EventVoid) {
				continue
			}
			n++
			named := slices.ContainsFunc(cloud.gaps, func(g wire.Gap) bool {
				// What is after the cloud's own mark of that epoch, but before the gap, was
				// lost with a cloud that was restored since: the two show it together.
				// Of known length it is what the site sends no more: lost where that mark does
				// not cover it.
				after := cloud.marks[k.epoch] < k.seq
				return g.Epoch == k.epoch && (after && k.seq <= g.Last || g.Last == 0 && (after || g.First <= k.seq))
			})
			if !named {
				bad("event %d of %s (%s) is lost with the agent's former life, and no gap names it: gaps %v, marks %v", k.seq, k.epoch, k.kind, cloud.gaps, cloud.marks)
			}
		}
	}
	return n
}

func keysOf(all ...map[string]fact) []string {
	seen := map[string]bool{}
	for _, m := range all {
		for k := range m {
			seen[k] = true
		}
	}
	keys := make([]string, 0, len(seen))
	for k := range seen {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
