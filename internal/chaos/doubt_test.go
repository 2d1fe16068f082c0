package chaos

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/routersim"
	"iwas/internal/wire"
)

// judgeCanSayNo breaks one thing at a time in copies of the two databases of the
// first site, and wants the judge to see it.
func (c *cafes) judgeCanSayNo() {
	c.Helper()
	agentCopy, cloudCopy := filepath.Join(c.dir, "agent-whole.db"), filepath.Join(c.dir, "cloud-whole.db")
	copies := func() {
		for _, name := range []string{agentCopy, cloudCopy} {
			if err := os.RemoveAll(name); err != nil {
				c.Fatal(err)
			}
		}
		if err := errors.Join(vacuumInto(c.Context(), c.agentFile(0), agentCopy), vacuumInto(c.Context(), c.database, cloudCopy)); err != nil {
			c.Fatal(err)
		}
	}
	copies()
	site := c.sites[0].SiteID
	router, err := c.acts(c.Context(), 0)
	if err != nil {
		c.Fatal(err)
	}
	rule := func(agentFile, cloudFile string, router *effects) ruling {
		here, err := openFile(agentFile)
		if err != nil {
			c.Fatal(err)
		}
		defer here.Close()
		there, err := openFile(cloudFile)
		if err != nil {
			c.Fatal(err)
		}
		defer there.Close()
		agent, err := agentSide(c.Context(), here)
		cloud, cerr := cloudSide(c.Context(), there, site)
		if err := errors.Join(err, cerr); err != nil {
			c.Fatal(err)
		}
		c.tell(0, agent, cloud)
		return judge(agent, cloud, c.former[0], router)
	}
	r := rule(agentCopy, cloudCopy, router)
	// The programs live on: something may have happened between one copy and the other.
	for tries := 0; len(r.wrong) > 0 && tries < 20; tries++ {
		copies()
		r = rule(agentCopy, cloudCopy, router)
	}
	if len(r.wrong) > 0 {
		c.Fatalf("the copies differ before anything was broken: %v", r.wrong)
	}
	db, err := openFile(agentCopy)
	if err != nil {
		c.Fatal(err)
	}
	var one string // that the present life knows
	err = db.QueryRowContext(c.Context(), `SELECT id FROM session ORDER BY started_at DESC, id LIMIT 1`).Scan(&one)
	if err := errors.Join(err, db.Close()); err != nil {
		c.Fatal(err)
	}
	newest := `'` + one + `'`
	mine := ` WHERE site = '` + site + `'`
	asked := `'` + c.ownCommand(cloudCopy, site) + `'`
	found := 0
	for _, b := range []struct{ name, where, text, says string }{
		{"a session is gone", "cloud", `DELETE FROM session WHERE id = ` + newest, "session"},
		{"a session is there twice", "cloud", `INSERT INTO session (site, id, permit, account, pass, nas, acct_session_id, username, mac, ip, state, started_at, heard_at, ended_at, time_ms, upload, download, cause)
			SELECT site, id || 'x', permit, account, pass, nas, acct_session_id, username, mac, ip, state, started_at, heard_at, ended_at, time_ms, upload, download, cause FROM session WHERE id = ` + newest, "session"},
		{"octets too many", "cloud", `UPDATE session SET download = download + 1000000000000 WHERE id = ` + newest, "session"},
		{"octets too few", "cloud", `UPDATE session SET download = -1 WHERE id = ` + newest, "session"},
		{"a session is in doubt", "cloud", `UPDATE session SET state = 'suspect' WHERE id = ` + newest, "session"},
		{"a pass used more", "cloud", `UPDATE pass_usage SET time_ms = time_ms + 1000000000` + mine, "usage"},
		{"an event is gone", "cloud", `DELETE FROM event WHERE id = (SELECT id FROM event` + mine + ` AND kind <> 'void' ORDER BY at DESC, seq DESC LIMIT 1)`, "event"},
		{"an event is there twice", "cloud", `INSERT INTO event SELECT site, id || 'x', epoch, seq, kind, at, body FROM event WHERE id = (SELECT id FROM event` + mine + ` ORDER BY at DESC LIMIT 1)`, "event"},
		{"an event was set aside", "cloud", `INSERT INTO event_dead (site, epoch, seq, agent, event, reason, received_at) VALUES ('` + site + `', 'e', 1, 'a', '{}', 'why', 1)`, "set aside"},
		{"a grant is gone", "cloud", `DELETE FROM list_grant` + mine + ` AND ended_at = 0`, "grant"},
		{"a lock is not proven", "cloud", `UPDATE account_lock SET outcome = ''` + mine + ` AND lifted_at = 0`, "lock"},
		{"a lock is gone", "cloud", `UPDATE account_lock SET lifted_at = 1` + mine, "lock"},
		{"a document has another body", "cloud", `UPDATE document SET body = '{}'` + mine + ` AND kind = 'plan'`, "wanted state"},
		{"a revision too many", "cloud", `UPDATE site SET rev = rev + 1 WHERE id = '` + site + `'`, "wanted state"},
		{"another lineage", "cloud", `UPDATE site SET lineage = 'x' WHERE id = '` + site + `'`, "wanted state"},
		{"an adjustment twice", "cloud", `UPDATE document SET body = json_set(body, '$.adjusted', json_array('a', 'a'))` + mine + ` AND kind = 'pass'`, "twice"},
		{"gaps are not named", "cloud", `DELETE FROM event` + mine + ` AND kind = 'gap'`, "gap"},
		{"a command is gone in the cloud, and no restore explains it", "cloud", `DELETE FROM command WHERE id = ` + asked, "cloud nothing"},
		{"a kick with an effect counts as rejected", "agent", `UPDATE command_inbox SET state = 'rejected' WHERE id = '` + c.doneCounted(agentCopy, wire.CommandKick) + `'`, "is rejected \""},
		{"a command is still open", "cloud", `UPDATE command SET state = 'sent', answered = 0, ended_at = 0 WHERE id = ` + asked, "still open in the cloud"},
		{"a command ended otherwise", "cloud", `UPDATE command SET state = CASE state WHEN 'failed' THEN 'executed' ELSE 'failed' END WHERE id = ` + asked, "command"},
		{"a command was answered twice", "cloud", `INSERT INTO event SELECT site, id || 'x', epoch, seq + 1000000, kind, at, json_set(body, '$.state', 'failed') FROM event WHERE kind = 'command.result' AND json_extract(body, '$.id') = ` + asked, "answered 2 times"},
		{"a command is not known at the site", "agent", `DELETE FROM command_inbox WHERE id = ` + asked, "agent nothing, cloud was answered"},
		{"a command is still open at the site", "agent", `UPDATE command_inbox SET state = 'running', ended = 0 WHERE id = ` + asked, "still open at the site"},
		{"a session is gone at the site", "agent", `UPDATE session SET id = id || 'x'`, "session"},
		{"a document is gone at the site", "agent", `DELETE FROM document WHERE kind = 'plan'`, "wanted state"},
		{"an answer is missing at the site", "agent", `UPDATE mark SET acked = acked - 1`, "log:"},
		{"a document is not in force", "agent", `UPDATE document SET in_force = 0`, "not in force"},
	} {
		files := map[string]string{"agent": agentCopy, "cloud": cloudCopy}
		broken := filepath.Join(c.dir, "broken.db")
		whole, err := os.ReadFile(files[b.where])
		if err == nil {
			err = os.WriteFile(broken, whole, 0o600)
		}
		if err != nil {
			c.Fatal(err)
		}
		changed, err := breakIt(broken, b.text)
		if err != nil {
			c.Fatalf("%s: %v", b.name, err)
		}
		if changed == 0 && slices.Contains([]string{"a lock is not proven", "a lock is gone", "gaps are not named"}, b.name) {
			continue // this run ended without one
		}
		files[b.where] = broken
		r := rule(files["agent"], files["cloud"], router)
		if changed == 0 || !strings.Contains(fmt.Sprint(r.wrong), b.says) {
			c.Errorf("%s (%d rows changed): the judge saw %v, want it to name %q", b.name, changed, r.wrong, b.says)
			continue
		}
		found++
	}
	for name, b := range c.doubleDealings(agentCopy, router) {
		if r := rule(agentCopy, cloudCopy, b.router); !strings.Contains(fmt.Sprint(r.wrong), b.says) {
			c.Errorf("%s: the judge saw %v, want it to name %q", name, r.wrong, b.says)
			continue
		}
		found++
	}
	c.Logf("the judge saw %d breaches made on purpose, each by itself", found)
}

// ownCommand returns a command that no restore of the agent took back, so that
// nothing about it is forgiven.
func (c *cafes) ownCommand(file, site string) (id string) {
	c.Helper()
	db, err := openFile(file)
	if err != nil {
		c.Fatal(err)
	}
	defer db.Close()
	r := &reader{ctx: c.Context(), db: db}
	r.each(`SELECT id FROM command WHERE site = $1 AND answered = 1 AND EXISTS (SELECT 1 FROM event WHERE event.site = command.site AND kind = 'command.result' AND json_extract(event.body, '$.id') = command.id) ORDER BY id`, []any{site}, func(scan func(...any)) {
		var one string
		scan(&one)
		if !c.undone[0][one] {
			id = one
		}
	})
	if r.err != nil || id == "" {
		c.Fatalf("no command of the present life was answered: %v", r.err)
	}
	return id
}

// doneCounted returns a command of a kind that was carried out, of those whose
// effects are counted.
func (c *cafes) doneCounted(file string, kind wire.CommandKind) (id string) {
	c.Helper()
	db, err := openFile(file)
	if err != nil {
		c.Fatal(err)
	}
	defer db.Close()
	r := &reader{ctx: c.Context(), db: db}
	r.each(`SELECT id FROM command_inbox WHERE kind = $1 AND state = 'done' AND ($2 = '' OR account = $2) ORDER BY id`,
		[]any{string(kind), map[bool]string{true: c.tallied[0].ID}[kind == wire.CommandKick]}, func(scan func(...any)) { scan(&id) })
	if r.err != nil || id == "" {
		c.Fatalf("no %s was carried out in the present life: %v", kind, r.err)
	}
	return id
}

// dealing is what a router would say had something else been done to it.
type dealing struct {
	router *effects
	says   string
}

// doubleDealings change what the router says, one thing at a time.
func (c *cafes) doubleDealings(agentFile string, router *effects) map[string]dealing {
	c.Helper()
	with := func(says string, change func(e *effects)) dealing {
		e := &effects{router.account, router.user, routersim.Acts{Ended: slices.Clone(router.Ended), Written: slices.Clone(router.Written), Stays: router.Stays}}
		change(e)
		return dealing{e, says}
	}
	kick, plan := c.doneCounted(agentFile, wire.CommandKick), c.doneCounted(agentFile, wire.CommandRouterPlan)
	last := 0 // session of the guest that the last kick ended first
	for i, x := range router.Ended {
		if x.User == router.user && x.At.Before(madeAt(kick)) {
			last = i + 1
		}
	}
	for last < len(router.Ended)-1 && router.Ended[last].User != router.user {
		last++
	}
	out := map[string]dealing{
		"a kick that is done ended nobody": with("ended 0 sessions", func(e *effects) {
			e.Ended = slices.DeleteFunc(e.Ended, func(x routersim.Ended) bool { return x.User == e.user && x.At.After(madeAt(kick)) })
		}),
		"a kick had two effects": with("ended 2 sessions", func(e *effects) {
			twice := e.Ended[last]
			twice.AcctSessionID += "x"
			e.Ended = append(e.Ended, twice)
		}),
		"a session was ended that nobody asked for": with("no kick was under way", func(e *effects) {
			e.Ended = append(e.Ended, routersim.Ended{At: time.Now(), User: e.user, AcctSessionID: "x"})
		}),
		"a plan changed the router": with("changed the router", func(e *effects) {
			e.Written = append(e.Written, routersim.Written{At: madeAt(plan).Add(time.Millisecond), By: "iwas", Command: "radius/add"})
		}),
		"somebody changed the router unasked": with("no command to the router was under way", func(e *effects) {
			e.Written = append(e.Written, routersim.Written{At: time.Now(), By: "iwas", Command: "radius/add"})
		}),
	}
	for _, w := range router.Written {
		if w.Command == "ip/hotspot/profile/set" && !w.Script {
			out["an application did the same twice"] = with("did the same 2 times", func(e *effects) { e.Written = append(e.Written, w) })
		}
	}
	return out
}

// breakIt changes a database file and returns how many rows it changed.
func breakIt(path, text string) (int64, error) {
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	r, err := db.Exec(text)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// TestNobodyWasOnIsHeldAgainstTheRouter: a kick that found nobody is right where the
// router had the guest off for a moment before the answer, and wrong where not,
// whether or not the agent was restored just before.
func TestNobodyWasOnIsHeldAgainstTheRouter(t *testing.T) {
	now := time.Now()
	at := func(s float64) time.Time { return now.Add(time.Duration(s * float64(time.Second))) }
	const id = "06h00000000000000000000000"
	for name, c := range map[string]struct {
		stays []routersim.Stay
		wrong bool
	}{
		"on all the time":              {[]routersim.Stay{{User: "kim", Started: at(-60)}}, true},
		"on until after the answer":    {[]routersim.Stay{{User: "kim", Started: at(-60), Ended: at(1)}}, true},
		"one session after the other":  {[]routersim.Stay{{User: "kim", Started: at(-3)}, {User: "kim", Started: at(-60), Ended: at(-3)}}, true},
		"off for a second":             {[]routersim.Stay{{User: "kim", Started: at(-60), Ended: at(-3)}, {User: "kim", Started: at(-2)}}, false},
		"off since":                    {[]routersim.Stay{{User: "kim", Started: at(-60), Ended: at(-1)}}, false},
		"off, and somebody else is on": {[]routersim.Stay{{User: "eve", Started: at(-60)}}, false},
		"off long before the look":     {[]routersim.Stay{{User: "kim", Started: at(-50)}, {User: "kim", Started: at(-90), Ended: at(-80)}}, true},
	} {
		agent := &side{commands: map[string]command{id: {kind: string(wire.CommandKick), account: "a", state: wire.CommandDone, over: true, detail: "nobody was on", at: now}}}
		restored := &side{at: at(-1)}
		v := ruling{counts: map[string]int{}}
		v.judgeEffects(&effects{"a", "kim", routersim.Acts{Stays: c.stays}}, agent, []*side{restored})
		if (len(v.wrong) > 0) != c.wrong {
			t.Errorf("%s: the judge says %q", name, v.wrong)
		}
	}
}
