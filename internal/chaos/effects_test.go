package chaos

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/demo"
	"iwas/internal/routersim"
	"iwas/internal/wire"
)

// tallied is what a site has so that effects of commands can be told apart at its
// router: a guest of an account that is only ever kicked, one kick after the
// other, and a set-up of which every application writes a value of its own.
type tallied struct {
	demo.Account
	coa   int               // the router's CoA door
	asked map[string]string // guarded by cafes.mu; whom or what the commands are about that the cloud's API took
}

const (
	countedMAC = "02:00:00:00:02:01"
	theRouter  = "router" // its id at every site
)

// effects is what the router says was done to it.
type effects struct {
	account string
	user    string
	routersim.Acts
}

// letCountedGuestIn opens the account and lets its guest live: on for ever, and
// soon back after it was put off.
func (c *cafes) letCountedGuestIn(i int) {
	c.Helper()
	cafe, k := c.sites[i], c.tallied[i]
	a, err := cafe.CreateAccount(c.Context(), map[string]any{"kind": "user", "username": "kim", "plan": cafe.PlanID(1)})
	if err != nil {
		c.Fatal(err)
	}
	k.Account = a
	life := routersim.Life{Login: routersim.Login{Method: "http-chap", Username: a.Username, Password: a.Password}, OffS: 1, Up: 10, Down: 10}
	if err := cafe.Control(c.Context(), http.MethodPost, "/guests/"+countedMAC+"/live", life, nil); err != nil {
		c.Fatal(err)
	}
	if out, err := exec.CommandContext(c.Context(), filepath.Join(bin, "iwas-agent"), "--config", cafe.AgentConfig(), "router", "login", "store", "router",
		"--user", cafe.RouterUser, "--password-file", filepath.Join(cafe.Dir(), "router", "router-password")).CombinedOutput(); err != nil {
		c.Fatalf("store the login for applying: %v\n%s", err, out)
	}
}

// command asks the cloud for one and remembers that the API took it.
func (c *cafes) command(ctx context.Context, i int, path string, body any) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var made struct{ ID string }
	if err := c.sites[i].API(ctx, http.MethodPost, "/api/v1"+path, body, &made); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tallied[i].asked[made.ID] = filepath.Base(filepath.Dir(path)) // of /accounts/ID/kick and /routers/ID/commands
	return made.ID, nil
}

// commandCounted kicks a site's counted guest, and plans and applies and confirms
// set-ups of its router, until ctx ends.
func (c *cafes) commandCounted(ctx context.Context, i int) {
	for n := 1; ctx.Err() == nil; n++ {
		c.kickCounted(ctx, i)
		if n%2 == 0 {
			c.setUpCounted(ctx, i, n)
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// kickCounted asks for one kick, while the guest is on, and not before both sides
// are done with what was asked last.
func (c *cafes) kickCounted(ctx context.Context, i int) {
	if c.nothingOpen(ctx, i) && c.guestIsOn(ctx, i) {
		_, err := c.command(ctx, i, "/accounts/"+c.tallied[i].ID+"/kick", nil)
		c.note("counted kick", err)
	}
}

// setUpCounted wants another set-up of the router, and brings it about.
func (c *cafes) setUpCounted(ctx context.Context, i, n int) {
	if !c.nothingOpen(ctx, i) {
		return
	}
	setup := wire.RouterSetup{Mode: "radius-only", BoxAddress: "127.0.0.1", CoAPort: c.tallied[i].coa, Interim: fmt.Sprintf("%ds", 60+n)}
	c.note("set-up", c.ask(ctx, i, http.MethodPut, "/api/v1/sites/"+c.sites[i].SiteID+"/routers/"+theRouter+"/setup", setup, nil))
	if plan := c.routerCommand(ctx, i, "plan", ""); plan.Plan.Total > 0 {
		c.routerCommand(ctx, i, "apply", plan.Plan.Key)
		c.routerCommand(ctx, i, "confirm", "")
	}
}

// countOnceMore asks each site for one kick and one set-up more, now that nothing
// goes wrong any more.
func (c *cafes) countOnceMore() {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 90*time.Second)
	defer cancel()
	var each sync.WaitGroup
	for i := range c.sites {
		each.Go(func() {
			c.kickCounted(ctx, i)
			c.setUpCounted(ctx, i, 1000)
			c.nothingOpen(ctx, i)
		})
	}
	each.Wait()
	if ctx.Err() != nil {
		c.Errorf("no kick and no plan came through within 90 s of the last fault")
	}
}

// toldCommand is the part of the API's commands that is looked at.
type toldCommand struct {
	ID, State, Detail string
	Plan              struct {
		Key   string
		Total int
	}
}

// routerCommand asks for one and waits until it is over, or ctx is.
func (c *cafes) routerCommand(ctx context.Context, i int, kind, plan string) (told toldCommand) {
	path := "/sites/" + c.sites[i].SiteID
	id, err := c.command(ctx, i, path+"/routers/"+theRouter+"/commands", map[string]string{"kind": kind, "plan": plan})
	c.note("router."+kind, err)
	for err == nil && ctx.Err() == nil {
		told = toldCommand{}
		err := c.ask(ctx, i, http.MethodGet, "/api/v1"+path+"/commands/"+id, nil, &told)
		if err != nil && strings.Contains(err.Error(), "404") {
			return toldCommand{} // went with a cloud that was restored
		}
		if err == nil && !slices.Contains([]string{"queued", "sent", "delivered"}, told.State) {
			return told
		}
		time.Sleep(100 * time.Millisecond) // between two looks at one command
	}
	return toldCommand{}
}

func (c *cafes) ask(ctx context.Context, i int, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.sites[i].API(ctx, method, path, body, into)
}

// guestIsOn waits until the counted guest is on at the router.
func (c *cafes) guestIsOn(ctx context.Context, i int) bool {
	for ctx.Err() == nil {
		var g routersim.Guest
		if err := c.sites[i].Control(ctx, http.MethodGet, "/guests/"+countedMAC, nil, &g); err == nil && g.Online {
			return true
		}
		time.Sleep(100 * time.Millisecond) // the guest tries every second
	}
	return false
}

// nothingOpen waits until neither side has a command open for the counted guest or
// the router.
func (c *cafes) nothingOpen(ctx context.Context, i int) bool {
	for ctx.Err() == nil {
		if n, err := c.countOpen(ctx, i); err == nil && n == 0 {
			return true
		}
		time.Sleep(100 * time.Millisecond) // a program may be away
	}
	return false
}

func (c *cafes) countOpen(ctx context.Context, i int) (n int, err error) {
	c.files.RLock()
	defer c.files.RUnlock()
	here, err := openFile(c.agentFile(i))
	if err != nil {
		return 0, err
	}
	defer here.Close()
	there, err := c.cloudDB()
	if err != nil {
		return 0, err
	}
	defer there.Close()
	for _, q := range []struct {
		db   *sql.DB
		text string
		args []any
	}{
		{here, `SELECT id FROM command_inbox WHERE ended = 0`, nil},
		// What was delivered and is past its time is the site's to end, and counted there; one
		// that the site lost by a restore the cloud gives up minutes later.
		{there, `SELECT id FROM command WHERE site = $1 AND ended_at = 0 AND (subject = $2 OR kind <> 'kick') AND (state <> 'delivered' OR expires_at > $3)`,
			[]any{c.sites[i].SiteID, c.tallied[i].ID, time.Now().UnixMilli()}},
	} {
		r := &reader{ctx: ctx, db: q.db}
		r.each(q.text, q.args, func(scan func(...any)) {
			var id string
			scan(&id)
			c.mu.Lock()
			about := c.tallied[i].asked[id]
			c.mu.Unlock()
			if q.db == there || about == c.tallied[i].ID || about == theRouter {
				n++
			}
		})
		err = errors.Join(err, r.err)
	}
	return n, err
}

// run is one carrying out of a command: in one life of the agent, with its answer.
type run struct {
	id, kind, state string
	detail          string // of the answer
	asked, answered time.Time
}

// runsOf are the runs of the commands that about names, in all lives of an agent, in
// the order of their answers. A life that ended while it carried one out gave no
// answer: its end stands for that.
func runsOf(lives []*side, about func(id string, c command) bool) []run {
	var out []run
	for _, l := range lives {
		for id, k := range l.commands {
			if !about(id, k) || k.state == "received" {
				continue
			}
			r := run{id: id, kind: k.kind, state: k.state, detail: k.detail, asked: madeAt(id), answered: k.at}
			if k.at.IsZero() {
				r.state, r.answered = "cut", l.at
			}
			answers := append([]time.Time{r.answered}, l.answers[id]...) // one, if all is well
			for _, r.answered = range answers {
				if !slices.Contains(out, r) {
					out = append(out, r) // else a backup brought it along
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b run) int { return a.answered.Compare(b.answered) })
	return out
}

// madeAt is the time in an id.
func madeAt(id string) time.Time {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz" // as hotspot.NewID writes it
	var ms uint64
	for _, r := range id[:min(len(id), 10)] {
		ms = ms<<5 | uint64(strings.IndexRune(alphabet, r))
	}
	return time.UnixMilli(int64(ms >> 2)) // 48 of 50 bits
}

// bounds says how many effects a run may have had.
func (r run) bounds() (least, most int) {
	switch r.state {
	case wire.CommandDone:
		return 1, 1
	case wire.CommandFailed, wire.CommandUnknown, "cut":
		return 0, 1
	}
	return 0, 0
}

// sameClock is how far the agent's time, which it takes from the cloud and keeps by
// itself, may stand from the router's here: both are this machine's.
const sameClock = 250 * time.Millisecond

// judgeEffects holds what the router says was done to it against the commands. One
// that is done had its effect exactly once, one that was cut off or failed at most
// once, one that was rejected or came too late never; and nothing was done to the
// router that no command asked for. Kicks that one proof ended count as one. Where
// the guest slipped in again before a kick was read back, putting it off again is
// the same effect.
func (v *ruling) judgeEffects(e *effects, agent *side, former []*side) {
	bad := func(format string, args ...any) { v.wrong = append(v.wrong, fmt.Sprintf(format, args...)) }
	lives := append(slices.Clone(former), agent)
	var mine []routersim.Ended
	for _, x := range e.Ended {
		if x.User == e.user {
			mine = append(mine, x)
		}
	}
	kicks := runsOf(lives, func(id string, k command) bool {
		return k.kind == string(wire.CommandKick) && (k.account == e.account || agent.asked[id] == e.account)
	})
	hits := make([][]routersim.Ended, len(kicks))
	for _, x := range mine {
		if at := runAt(kicks, x.At); at >= 0 {
			hits[at] = append(hits[at], x)
		} else {
			bad("effects: session %s of %s, on since %v, was ended at %v, and no kick was under way", x.AcctSessionID, x.User, x.Started, x.At)
		}
	}
	had := map[string]int{}
	for at := 0; at < len(kicks); {
		n, first := 1, at
		for at+n < len(kicks) && kicks[at+n].answered.Equal(kicks[at].answered) {
			n++ // one proof ended several
		}
		at += n
		var ended []routersim.Ended
		for _, h := range hits[first:at] {
			ended = append(ended, h...)
		}
		own := 0
		for j, x := range ended {
			switch {
			case j > 0 && x.Started.After(ended[0].At) && x.Started.Before(kicks[first].answered):
				v.counts["effects on who slipped in"]++
			default:
				own++
			}
		}
		v.counts["effects of kicks"] += own
		for _, k := range kicks[first:at] {
			v.counts["kicks "+k.state]++
			if had[k.id] += own; had[k.id] > 1 && !agent.forgotten[k.id] {
				bad("effects: kick %s had %d effects in all, and no restore took its answer back", k.id, had[k.id])
			}
			least, most := k.bounds()
			if k.detail == "nobody was on" {
				least = 0
				if from := later(k.asked, k.answered.Add(-lookedWithin)); e.onThroughout(from, k.answered) {
					bad("effects: kick %s is done, %q at %v, and by the router the guest was on all the time from %v on", k.id, k.detail, k.answered, from)
				}
			}
			if own < least || own > most {
				bad("effects: kick %s is %s %q (asked %v, answered %v) and ended %d sessions at the router, want %d to %d: %v", k.id, k.state, k.detail, k.asked, k.answered, own, least, most, ended)
			}
		}
	}
	v.judgeApplied(e, agent, lives, bad)
}

// lookedWithin is how long before its answer an agent looked at the router at the
// latest, on a machine that does much else.
const lookedWithin = 10 * time.Second

// onThroughout reports whether the guest was on all the time between two moments, by
// the router.
func (e *effects) onThroughout(from, to time.Time) bool {
	mine := slices.DeleteFunc(slices.Clone(e.Stays), func(s routersim.Stay) bool { return s.User != e.user })
	slices.SortFunc(mine, func(a, b routersim.Stay) int { return a.Started.Compare(b.Started) })
	for _, s := range mine {
		if !s.Started.After(from) && (s.Ended.IsZero() || s.Ended.After(from)) {
			from = s.Ended
			if from.IsZero() || from.After(to) {
				return true
			}
		}
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// runAt finds the run an effect belongs to: the first that was answered after it,
// if it was asked before.
func runAt(runs []run, at time.Time) int {
	i := slices.IndexFunc(runs, func(r run) bool { return !r.answered.Before(at) })
	if i >= 0 && !runs[i].asked.After(at) {
		return i
	}
	if i < 0 {
		i = len(runs)
	}
	if i--; i >= 0 && runs[i].answered.Add(sameClock).After(at) {
		return i
	}
	return -1
}

// setUpMenus are those that only an application of a set-up changes.
func setUpMenu(command string) bool {
	for _, other := range []string{"ip/hotspot/active/", "ip/hotspot/cookie/", "ip/hotspot/host/", "ip/firewall/connection/", "ip/firewall/address-list/", "system/scheduler/", "system/script/"} {
		if strings.HasPrefix(command, other) {
			return false
		}
	}
	return true
}

// judgeApplied does so for set-ups: each application writes the interval its set-up
// asks for, which no other does. Plans, confirmations and applications that were
// refused write nothing.
func (v *ruling) judgeApplied(e *effects, agent *side, lives []*side, bad func(string, ...any)) {
	applied := runsOf(lives, func(id string, k command) bool { return strings.HasPrefix(k.kind, "router.") })
	writes := make([]map[string]int, len(applied)) // by command and its arguments
	for _, w := range e.Written {
		if w.Script || !setUpMenu(w.Command) {
			continue
		}
		at := runAt(applied, w.At)
		if at < 0 {
			bad("effects: %s %v at %v, and no command to the router was under way", w.Command, w.Args, w.At)
			continue
		}
		if writes[at] == nil {
			writes[at] = map[string]int{}
		}
		writes[at][fmt.Sprint(w.Command, w.Args)]++
	}
	for i, r := range applied {
		v.counts[r.kind+" "+r.state]++
		_, most := r.bounds()
		switch {
		case r.kind != string(wire.CommandRouterApply) || most == 0:
			if len(writes[i]) > 0 {
				bad("effects: %s %s is %s and changed the router: %v", r.kind, r.id, r.state, slices.Sorted(maps.Keys(writes[i])))
			}
		case r.state == wire.CommandDone && len(writes[i]) == 0 && !strings.Contains(agent.detail(r.id, lives), "nothing to do"):
			bad("effects: %s %s is done, and the router saw nothing of it", r.kind, r.id)
		default:
			v.counts["writes of applications"] += len(writes[i])
			for what, times := range writes[i] {
				if times > 1 {
					bad("effects: %s %s is %s and did the same %d times at the router: %s", r.kind, r.id, r.state, times, what)
				}
			}
		}
	}
}

// detail is what some life said of a command.
func (s *side) detail(id string, lives []*side) (text string) {
	for _, l := range lives {
		if k, ok := l.commands[id]; ok && k.detail != "" {
			text = k.detail
		}
	}
	return text
}

// forget notes which commands a restored side has not heard of, or knows otherwise
// than it did: those of before that the backup lacks.
func forget(into map[string]bool, before, backup map[string]command) {
	for id, k := range before {
		if b, there := backup[id]; !there || b.state != k.state {
			into[id] = true
		}
	}
}

// commandsIn reads the commands of all sites in a file of the cloud's.
func commandsIn(ctx context.Context, path string) (map[string]command, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	s, r := newSide(), &reader{ctx: ctx, db: db}
	r.each(`SELECT id, state, answered FROM command`, nil, s.cloudCommand)
	return s.commands, r.err
}

// acts asks a site's router what was done to it.
func (c *cafes) acts(ctx context.Context, i int) (*effects, error) {
	e := &effects{account: c.tallied[i].ID, user: c.tallied[i].Username}
	err := c.sites[i].Control(ctx, http.MethodGet, "/router/acts", nil, &e.Acts)
	return e, err
}

// answerOf reads what an inbox keeps of an answer.
func (k *command) answerOf(result string) error {
	if result == "" {
		return nil
	}
	var r wire.CommandResult
	err := json.Unmarshal([]byte(result), &r)
	k.at, k.detail = r.At, r.Detail
	return err
}
