package store

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

func (s *site) receive(id string, kind wire.CommandKind, ttl time.Duration) (*wire.CommandResult, bool) {
	s.t.Helper()
	answer, begin, err := s.ReceiveCommand(context.Background(), wire.Command{ID: id, Kind: kind, TTL: ttl.Milliseconds()})
	s.must(err)
	return answer, begin
}

func (s *site) begin(id string) bool {
	s.t.Helper()
	begun, err := s.BeginCommand(context.Background(), id)
	s.must(err)
	return begun
}

// results are the events about a command.
func (s *site) results(id string) (out []wire.CommandResult) {
	s.t.Helper()
	s.must(s.query(context.Background(), "read results", "SELECT body FROM event WHERE kind = 'command.result' AND json_extract(body, '$.id') = ? ORDER BY seq", []any{id}, func(scan func(...any) error) error {
		var body []byte
		var r wire.CommandResult
		if err := scan(&body); err != nil {
			return err
		}
		out = append(out, r)
		return json.Unmarshal(body, &out[len(out)-1])
	}))
	return out
}

func (s *site) ahead(id string) (out []wire.CommandResult) {
	s.t.Helper()
	h, err := s.Standing(context.Background())
	s.must(err)
	for _, r := range h.Commands {
		if r.ID == id {
			out = append(out, r)
		}
	}
	return out
}

func TestACommandIsAnsweredOnceAndTheSameAgain(t *testing.T) {
	s := cafe(t)
	if answer, begin := s.receive("c1", wire.CommandRouterPlan, time.Minute); answer != nil || !begin {
		t.Fatalf("new: got %+v, begin %v", answer, begin)
	}
	if !s.begin("c1") || s.begin("c1") {
		t.Fatal("it is begun once, and not twice")
	}
	if got := s.ahead("c1"); len(got) != 1 || got[0].State != wire.CommandRunning {
		t.Errorf("told while at work: %+v, want running", got)
	}
	if answer, begin := s.receive("c1", wire.CommandRouterPlan, time.Minute); answer != nil || begin {
		t.Errorf("a repeat while at work: got %+v, begin %v, want neither", answer, begin)
	}
	want := wire.CommandResult{ID: "c1", State: wire.CommandDone, Detail: "nothing to do", Body: json.RawMessage(`{"total":0}`)}
	s.must(s.FinishCommand(t.Context(), want))
	s.must(s.FinishCommand(t.Context(), wire.CommandResult{ID: "c1", State: wire.CommandFailed}))
	s.reopen()
	answer, begin := s.receive("c1", wire.CommandRouterPlan, time.Minute)
	if begin || answer == nil || answer.State != want.State || string(answer.Body) != string(want.Body) || answer.At.IsZero() {
		t.Errorf("a repeat: got %+v, begin %v, want the first answer", answer, begin)
	}
	if got := s.results("c1"); len(got) != 1 || got[0].State != wire.CommandDone {
		t.Errorf("events: %+v, want one, done", got)
	}
	if got := s.ahead("c1"); len(got) != 1 || got[0].Detail != want.Detail {
		t.Errorf("told ahead: %+v", got)
	}
	h, err := s.Standing(t.Context())
	s.must(err)
	s.must(s.Acked(t.Context(), wire.Ack{V: wire.Version, Epoch: h.Epoch, Through: h.LastSeq}))
	if got := s.ahead("c1"); len(got) != 0 {
		t.Errorf("told after it was acknowledged: %+v", got)
	}
}

// What the program was in the middle of when it ended is unknown, and not done
// again; what it had not begun is begun only when the cloud still asks.
func TestAfterACrash(t *testing.T) {
	s := cafe(t)
	s.receive("middle", wire.CommandRouterApply, time.Minute)
	s.begin("middle")
	s.receive("waiting", wire.CommandRouterApply, time.Minute)
	s.reopen()
	if got := s.results("middle"); len(got) != 1 || got[0].State != wire.CommandUnknown || got[0].Code != codeInterrupted || got[0].Next == "" {
		t.Errorf("in the middle: %+v, want unknown with a code and a next step", got)
	}
	if answer, begin := s.receive("middle", wire.CommandRouterApply, time.Minute); begin || answer == nil || answer.State != wire.CommandUnknown {
		t.Errorf("a repeat of it: %+v, begin %v", answer, begin)
	}
	if got := s.results("waiting"); len(got) != 0 {
		t.Errorf("one not begun was answered by a start: %+v", got)
	}
	if answer, begin := s.receive("waiting", wire.CommandRouterApply, time.Minute); answer != nil || !begin || !s.begin("waiting") {
		t.Errorf("asked again: %+v, begin %v, want it begun", answer, begin)
	}
}

// A command dies by the time this program has run, whatever the date is set to.
func TestACommandExpiresByRunningTime(t *testing.T) {
	s := cafe(t)
	s.receive("c1", wire.CommandRouterPlan, time.Minute)
	s.clock.Set(400 * 24 * time.Hour)
	s.must(s.Sweep(t.Context()))
	if got := s.results("c1"); len(got) != 0 {
		t.Fatalf("a date that was set ended it: %+v", got)
	}
	s.receive("c2", wire.CommandRouterPlan, time.Minute)
	s.clock.Set(-800 * 24 * time.Hour)
	s.clock.Add(61 * time.Second)
	if s.begin("c1") {
		t.Error("begun after its time")
	}
	s.must(s.Sweep(t.Context()))
	for _, id := range []string{"c1", "c2"} {
		if got := s.results(id); len(got) != 1 || got[0].State != wire.CommandExpired || got[0].Code != codeCommandLate {
			t.Errorf("%s: %+v, want expired", id, got)
		}
	}
	if answer, begin := s.receive("c1", wire.CommandRouterPlan, time.Hour); begin || answer == nil || answer.State != wire.CommandExpired {
		t.Errorf("a repeat: %+v, begin %v", answer, begin)
	}
	s.clock.Add(commandsKept + time.Minute)
	s.must(s.Sweep(t.Context()))
	var n int
	s.must(s.query(t.Context(), "count", "SELECT COUNT(*) FROM command_inbox", nil, func(scan func(...any) error) error { return scan(&n) }))
	if n != 0 {
		t.Errorf("%d commands remembered after %s, want none", n, commandsKept)
	}
}

// A kick makes a target until the router shows that it is over, and bars nobody.
func TestAKickEndsSessionsOnce(t *testing.T) {
	s := cafe(t)
	v := s.login("bob", "hello", phone)
	s.play(v, rec{kind: start})
	s.receive("k1", wire.CommandKick, time.Minute)
	s.must(s.Kick(t.Context(), "k1", v.Account))
	s.receive("k2", wire.CommandKick, time.Minute)
	s.must(s.Kick(t.Context(), "k2", "nobody"))
	if got := s.results("k2"); len(got) != 1 || got[0].State != wire.CommandRejected {
		t.Errorf("of nobody: %+v, want rejected", got)
	}
	targets, err := s.Targets(t.Context())
	s.must(err)
	if len(targets) != 1 || targets[0].Reason != hotspot.OffKicked || len(targets[0].Sessions) != 1 || targets[0].Lock != nil {
		t.Fatalf("targets: %+v, want one kicked with its session", targets)
	}
	s.must(s.Prove(t.Context(), hotspot.Proof{Account: v.Account, Reason: hotspot.OffKicked, Outcome: hotspot.OutcomePending, At: s.clock.Now()}))
	if got := s.results("k1"); len(got) != 0 {
		t.Errorf("pending ended it: %+v", got)
	}
	s.clock.Add(time.Second)
	s.must(s.Prove(t.Context(), hotspot.Proof{Account: v.Account, Reason: hotspot.OffKicked, Outcome: hotspot.OutcomeEnforced, Sessions: 1, At: s.clock.Now()}))
	if got := s.results("k1"); len(got) != 1 || got[0].State != wire.CommandDone || !strings.HasPrefix(got[0].Detail, "1 session ended") {
		t.Errorf("proven: %+v, want done", got)
	}
	if targets, err = s.Targets(t.Context()); err != nil || len(targets) != 0 {
		t.Errorf("afterwards: %+v %v, want no target", targets, err)
	}
	if open, err := s.OpenSessions(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("open sessions: %+v %v, want none", open, err)
	}
	if v := s.login("bob", "hello", phone); !v.Accept {
		t.Errorf("a kick keeps out: %+v", v)
	}
	s.receive("k3", wire.CommandKick, time.Minute)
	s.must(s.Kick(t.Context(), "k3", v.Account))
	s.clock.Add(time.Minute + kickTime + time.Second)
	s.must(s.Sweep(t.Context()))
	if got := s.results("k3"); len(got) != 1 || got[0].State != wire.CommandFailed || got[0].Next == "" {
		t.Errorf("never proven: %+v, want failed", got)
	}
}

// TestAKickIsNotAnsweredByALookOfBefore: the guest may have come in behind it.
func TestAKickIsNotAnsweredByALookOfBefore(t *testing.T) {
	s := cafe(t)
	v := s.login("bob", "hello", phone)
	proof := func(began time.Time, sessions int) hotspot.Proof {
		p := hotspot.Proof{Account: v.Account, Reason: hotspot.OffKicked, Outcome: hotspot.OutcomeEnforced, Sessions: sessions, At: s.clock.Now()}
		for i, name := range []string{hotspot.StepReceived, hotspot.StepCookies, hotspot.StepReadBack} {
			p.Steps = append(p.Steps, hotspot.Step{Name: name, At: began.Add(time.Duration(i) * 100 * time.Millisecond), Took: 100 * time.Millisecond, OK: true})
		}
		p.Steps[0].At = began.Add(-time.Minute) // an attempt of before failed
		return p
	}
	s.receive("k1", wire.CommandKick, time.Minute)
	s.must(s.Kick(t.Context(), "k1", v.Account))
	looked := s.clock.Now()
	s.clock.Add(time.Second)
	s.receive("k2", wire.CommandKick, time.Minute)
	s.must(s.Kick(t.Context(), "k2", v.Account))
	s.clock.Add(time.Second)
	s.must(s.Prove(t.Context(), proof(looked, 0)))
	if one, two := s.results("k1"), s.results("k2"); len(one) != 1 || one[0].Detail != "nobody was on" || len(two) != 0 {
		t.Fatalf("after a look that began between them: %+v and %+v, want the first answered alone", one, two)
	}
	if targets, err := s.Targets(t.Context()); err != nil || len(targets) != 1 {
		t.Errorf("targets %+v, %v; want the second kick's", targets, err)
	}
	s.must(s.Prove(t.Context(), proof(s.clock.Now(), 1)))
	if two := s.results("k2"); len(two) != 1 || two[0].State != wire.CommandDone || !strings.HasPrefix(two[0].Detail, "1 session") {
		t.Errorf("after a look of its own: %+v", two)
	}
	// A date that was set back in between holds no kick up.
	s.receive("k3", wire.CommandKick, time.Hour)
	s.must(s.Kick(t.Context(), "k3", v.Account))
	s.clock.Add(-time.Hour)
	s.must(s.Prove(t.Context(), proof(s.clock.Now(), 0)))
	if three := s.results("k3"); len(three) != 1 {
		t.Errorf("after the date was set back: %+v, want an answer", three)
	}
}

// TestTheInboxOverTime: whatever comes in whatever order, with repeats, restarts and
// time passing, each id is begun at most once and has at most one answer, the same
// to every question; what was begun and not finished at a restart is unknown.
func TestTheInboxOverTime(t *testing.T) {
	s := cafe(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		type model struct {
			left   time.Duration
			begun  bool
			answer string
		}
		all := map[string]*model{}
		name := func() string {
			return fmt.Sprintf("r%d-%d", round, rapid.IntRange(0, 3).Draw(rt, "id"))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"receive": func(rt *rapid.T) {
				id, ttl := name(), time.Duration(rapid.IntRange(1, 90).Draw(rt, "ttl"))*time.Second
				answer, begin := s.receive(id, wire.CommandRouterPlan, ttl)
				m := all[id]
				if m == nil {
					m = &model{left: ttl}
					all[id] = m
				}
				if want := !m.begun && m.answer == ""; begin != want {
					rt.Fatalf("%s: begin %v, want %v", id, begin, want)
				}
				if got := ""; answer != nil {
					if got = answer.State; got != m.answer {
						rt.Fatalf("%s: answered %s, want %q", id, got, m.answer)
					}
				} else if m.answer != "" {
					rt.Fatalf("%s: no answer, want %s", id, m.answer)
				}
			},
			"begin": func(rt *rapid.T) {
				id := name()
				m := all[id]
				want := m != nil && !m.begun && m.answer == "" && m.left >= 0
				if got := s.begin(id); got != want {
					rt.Fatalf("%s: begun %v, want %v (%+v)", id, got, want, m)
				}
				switch {
				case want:
					m.begun = true
				case m != nil && !m.begun && m.answer == "":
					m.answer = wire.CommandExpired
				}
			},
			"finish": func(rt *rapid.T) {
				id, state := name(), rapid.SampledFrom([]string{wire.CommandDone, wire.CommandFailed, wire.CommandRejected}).Draw(rt, "state")
				s.must(s.FinishCommand(context.Background(), wire.CommandResult{ID: id, State: state}))
				if m := all[id]; m != nil && m.answer == "" {
					m.answer = state
				}
			},
			"restart": func(rt *rapid.T) {
				if rapid.IntRange(0, 2).Draw(rt, "seldom") > 0 {
					return // a start costs more than all the rest
				}
				s.reopen()
				for _, m := range all {
					if m.begun && m.answer == "" {
						m.answer = wire.CommandUnknown
					}
				}
			},
			"time": func(rt *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second
				s.clock.Add(d)
				s.must(s.DB.keepNow())
				for _, m := range all {
					m.left -= d
				}
			},
		})
		for id, m := range all {
			var want, got []string
			if m.answer != "" {
				want = []string{m.answer}
			}
			for _, r := range s.results(id) {
				got = append(got, r.State)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				rt.Fatalf("%s: events %v, want %v", id, got, want)
			}
		}
	})
}

// keepNow has the running time on disk to the last, as a stop leaves it.
func (db *DB) keepNow() error {
	return db.do(context.Background(), func(t *tx) error { return t.keepRan(0) })
}

// commandsKilled names, in the environment, the store that a child process of the
// test below works on until it is killed; its effects go into the file beside.
const commandsKilled = "IWAS_TEST_COMMANDS_TO_BE_KILLED"

// workUntilKilled carries out one command after the other: keep, begin, effect,
// answer. Each effect is one line, written through before the answer.
func workUntilKilled(path string) error {
	ctx := context.Background()
	key, err := secret.LoadKey(filepath.Join(filepath.Dir(path), "seal.key"))
	if err != nil {
		return err
	}
	db, err := Open(ctx, Options{Path: path, Key: key, Decide: judge, Off: off})
	if err != nil {
		return err
	}
	effects, err := os.OpenFile(path+".effects", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin) // ids to carry out, repeats too
	for in.Scan() {
		id := in.Text()
		answer, begin, err := db.ReceiveCommand(ctx, wire.Command{ID: id, Kind: wire.CommandRouterApply, TTL: 3_600_000})
		if err != nil {
			return err
		}
		if begin {
			if begin, err = db.BeginCommand(ctx, id); err != nil {
				return err
			}
		}
		if begin {
			if _, err := fmt.Fprintln(effects, id); err != nil {
				return err
			}
			if err := db.FinishCommand(ctx, wire.CommandResult{ID: id, State: wire.CommandDone}); err != nil {
				return err
			}
		}
		if answer != nil {
			fmt.Println("answer", id, answer.State)
		}
	}
	return in.Err()
}

// TestCommandsUnderKill kills a process that carries out commands at random moments
// and sends it all again: no effect comes twice, what is answered done has had its
// effect, and what was in the middle is unknown, for ever.
func TestCommandsUnderKill(t *testing.T) {
	const kills, ids = 8, 400
	path := filepath.Join(t.TempDir(), "site.db")
	answered := map[string]string{}
	feed := func(kill time.Duration) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), commandsKilled+"="+path)
		var all strings.Builder
		for range 2 {
			for i := range ids {
				fmt.Fprintln(&all, "c"+fmt.Sprint(i))
			}
		}
		cmd.Stdin, cmd.Stderr = strings.NewReader(all.String()), os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if kill > 0 {
			time.AfterFunc(kill, func() { _ = cmd.Process.Kill() }) // gone already is as well
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var id, state string
			if n, _ := fmt.Sscanf(lines.Text(), "answer %s %s", &id, &state); n != 2 || state != wire.CommandDone && state != wire.CommandUnknown {
				continue // cut by the kill
			}
			if was := answered[id]; was != "" && was != state {
				t.Errorf("%s was answered %s, and then %s", id, was, state)
			}
			answered[id] = state
		}
		if err := cmd.Wait(); err != nil && kill == 0 {
			t.Fatal(err)
		}
	}
	for range kills {
		feed(time.Duration(60+rand.IntN(200)) * time.Millisecond)
	}
	feed(0)
	text, err := os.ReadFile(path + ".effects")
	if err != nil {
		t.Fatal(err)
	}
	effects := map[string]int{}
	for _, id := range strings.Fields(string(text)) {
		if effects[id]++; effects[id] > 1 {
			t.Errorf("%s had its effect %d times", id, effects[id])
		}
	}
	unknown := 0
	for i := range ids {
		id := "c" + fmt.Sprint(i)
		switch state := answered[id]; {
		case state == wire.CommandDone && effects[id] != 1:
			t.Errorf("%s is answered done, and had %d effects", id, effects[id])
		case state == wire.CommandUnknown:
			unknown++
		case state == "":
			t.Errorf("%s was never answered", id)
		}
	}
	if unknown > kills {
		t.Errorf("%d are unknown after %d kills: at most one was in the middle of each", unknown, kills)
	}
	t.Logf("%d kills, %d commands, %d effects, %d unknown", kills, ids, len(effects), unknown)
}
