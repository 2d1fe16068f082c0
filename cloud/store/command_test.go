package store_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func (w *world) ask(ttl time.Duration) hotspot.Command {
	w.Helper()
	c, err := w.db.AddCommand(w.Context(), w.owner, hotspot.Command{Site: w.site.ID, Kind: "router.plan", Subject: "cafe1", Body: `{"nas":"cafe1"}`}, ttl)
	must(w.TB, err)
	return c
}

// due returns the ids that are to be sent now.
func (w *world) due() (ids []string) {
	w.Helper()
	all, _, err := w.db.DueCommands(w.Context())
	must(w.TB, err)
	for _, d := range all {
		if d.Site != w.site.ID || d.Agent != w.agent || d.Command.TTL <= 0 || string(d.Command.Body) != `{"nas":"cafe1"}` {
			w.Errorf("due: %+v", d)
		}
		ids = append(ids, d.Command.ID)
	}
	return ids
}

func (w *world) command(id string) hotspot.Command {
	w.Helper()
	c, err := w.db.Command(w.Context(), w.owner.Organization, w.site.ID, id)
	must(w.TB, err)
	return c
}

func (w *world) wantState(id string, want hotspot.CommandState) hotspot.Command {
	w.Helper()
	c := w.command(id)
	if c.State != want {
		w.Errorf("state %s (%s), want %s", c.State, c.Detail, want)
	}
	return c
}

func TestACommandGoesOutUntilItIsAnswered(t *testing.T) {
	onBoth(t, func(w *world) {
		w.hello(nil)
		w.pass(time.Second) // behind what made the world, in the audit
		c := w.ask(time.Minute)
		if got := w.wantState(c.ID, hotspot.CommandQueued); got.By == "" || got.AskedAt.IsZero() || !got.ExpiresAt.Equal(got.AskedAt.Add(time.Minute)) {
			w.Errorf("kept: %+v", got)
		}
		entries, err := w.db.Audit(w.Context(), w.owner.Organization, 1)
		must(w.TB, err)
		if e := entries[0]; e.What != "command.router.plan" || e.Subject != "cafe1" || !strings.Contains(e.Became, c.ID) {
			w.Errorf("audit: %+v", e)
		}
		if got := w.due(); !reflect.DeepEqual(got, []string{c.ID}) {
			w.Fatalf("due %v, want it", got)
		}
		w.wantState(c.ID, hotspot.CommandSent)
		if got := w.due(); len(got) != 0 {
			w.Errorf("due at once again: %v", got)
		}
		w.pass(2 * time.Second)
		if got := w.due(); len(got) != 1 {
			w.Errorf("without an answer: due %v, want it again", got)
		}
		news, err := w.db.ApplyCommands(w.Context(), w.agent, wire.Hello{Commands: []wire.CommandResult{{ID: c.ID, State: wire.CommandRunning}}})
		if must(w.TB, err); !news {
			w.Error("that it is being carried out is no news")
		}
		w.wantState(c.ID, hotspot.CommandDelivered)
		answer := wire.CommandResult{ID: c.ID, State: wire.CommandDone, Detail: "2 steps", At: w.now(), Body: json.RawMessage(`{"total":2}`)}
		for i := range 2 {
			news, err = w.db.ApplyCommands(w.Context(), w.agent, wire.Hello{Commands: []wire.CommandResult{answer}})
			if must(w.TB, err); news != (i == 0) {
				w.Errorf("answer %d: news %v", i+1, news)
			}
		}
		if got := w.wantState(c.ID, hotspot.CommandExecuted); got.Result != `{"total":2}` || got.Detail != "2 steps" || got.EndedAt.IsZero() {
			w.Errorf("answered: %+v", got)
		}
		// The event repeats it without effect, and so does another answer.
		l := &siteLog{epoch: "e1"}
		l.add(wire.EventCommandResult, w.now(), answer)
		l.add(wire.EventCommandResult, w.now(), wire.CommandResult{ID: c.ID, State: wire.CommandFailed, Detail: "no"})
		l.add(wire.EventCommandResult, w.now(), wire.CommandResult{ID: "of-another-cloud", State: wire.CommandDone})
		w.all(l)
		w.wantState(c.ID, hotspot.CommandExecuted)
		w.pass(time.Minute)
		if got := w.due(); len(got) != 0 {
			w.Errorf("answered, and due: %v", got)
		}
	})
}

// The event alone is enough, for an answer too long for a hello.
func TestAnAnswerComesByItsEventAlone(t *testing.T) {
	onBoth(t, func(w *world) {
		w.hello(nil)
		c := w.ask(time.Minute)
		w.due()
		l := &siteLog{epoch: "e1"}
		l.add(wire.EventCommandResult, w.now(), wire.CommandResult{ID: c.ID, State: wire.CommandRejected, Code: "RTR-161", Detail: "no login", Next: "store one"})
		w.all(l)
		if got := w.wantState(c.ID, hotspot.CommandRejected); got.Code != "RTR-161" || got.Next != "store one" {
			w.Errorf("got %+v", got)
		}
	})
}

func TestACommandThatNobodyAnswers(t *testing.T) {
	onBoth(t, func(w *world) {
		// Nobody was there: nothing was sent, so nothing was done.
		c := w.ask(time.Minute)
		if got := w.due(); len(got) != 0 {
			w.Errorf("due for a site that was never heard of: %v", got)
		}
		w.pass(61 * time.Second)
		w.due()
		if got := w.wantState(c.ID, hotspot.CommandExpired); got.Code != "CLD-301" || got.Next == "" {
			w.Errorf("got %+v", got)
		}
		// Sent and unanswered is another matter, and the site has the last word.
		w.hello(nil)
		c = w.ask(time.Minute)
		w.due()
		w.pass(70 * time.Second)
		w.due()
		w.wantState(c.ID, hotspot.CommandSent)
		w.pass(30 * time.Second)
		w.due()
		if got := w.wantState(c.ID, hotspot.CommandUnknown); got.Code != "CLD-303" {
			w.Errorf("got %+v", got)
		}
		_, err := w.db.ApplyCommands(w.Context(), w.agent, wire.Hello{Commands: []wire.CommandResult{{ID: c.ID, State: wire.CommandDone, Detail: "done all the same"}}})
		must(w.TB, err)
		if got := w.wantState(c.ID, hotspot.CommandExecuted); got.Code != "" {
			w.Errorf("got %+v", got)
		}
		// Begun and never ended.
		w.hello(nil)
		c = w.ask(time.Minute)
		w.due()
		_, err = w.db.ApplyCommands(w.Context(), w.agent, wire.Hello{Commands: []wire.CommandResult{{ID: c.ID, State: wire.CommandRunning}}})
		must(w.TB, err)
		w.pass(5 * time.Minute)
		w.due()
		w.wantState(c.ID, hotspot.CommandDelivered)
		w.pass(2 * time.Minute)
		w.due()
		w.wantState(c.ID, hotspot.CommandUnknown)
	})
}

// A site put back to before it began a command never answers it. The cloud sees so by
// what a hello leaves out, once all of the site's events are there.
func TestACommandThatTheSiteForgot(t *testing.T) {
	onBoth(t, func(w *world) {
		begun := func() (c hotspot.Command, said wire.Hello) {
			w.Helper()
			said = w.hello(nil)
			c = w.ask(time.Minute)
			w.due()
			said.Commands = []wire.CommandResult{{ID: c.ID, State: wire.CommandRunning}}
			w.says(said, true)
			w.wantState(c.ID, hotspot.CommandDelivered)
			return c, said
		}
		c, said := begun()
		silent := said
		silent.Commands = nil
		w.says(silent, false) // within its time it goes out again
		w.wantState(c.ID, hotspot.CommandDelivered)
		w.pass(61 * time.Second)
		w.says(said, false) // it is being carried out, however long
		behind := silent
		behind.LastSeq++ // the answer may be among what is to come
		w.says(behind, false)
		full := silent
		for i := range wire.CommandsTold { // it may be one of those that found no room
			full.Commands = append(full.Commands, wire.CommandResult{ID: fmt.Sprint("other", i), State: wire.CommandRunning})
		}
		w.says(full, false)
		w.wantState(c.ID, hotspot.CommandDelivered)
		w.says(silent, true)
		if got := w.wantState(c.ID, hotspot.CommandUnknown); got.Code != "CLD-303" || got.Next == "" || got.EndedAt.IsZero() {
			w.Errorf("got %+v", got)
		}
		w.says(silent, false)
		// The site has the last word all the same.
		late := said
		late.Commands = []wire.CommandResult{{ID: c.ID, State: wire.CommandDone}}
		w.says(late, true)
		w.wantState(c.ID, hotspot.CommandExecuted)
	})
}

func (w *world) says(h wire.Hello, news bool) {
	w.Helper()
	got, err := w.db.ApplyCommands(w.Context(), w.agent, h)
	if must(w.TB, err); got != news {
		w.Errorf("hello with %d commands, last event %d: news is %v, want %v", len(h.Commands), h.LastSeq, got, news)
	}
}

// Of several processes that look at once each command goes to one, each time it is due.
func TestACommandIsTakenByOneProcess(t *testing.T) {
	onBoth(t, func(w *world) {
		for range 10 {
			w.ask(time.Hour)
		}
		for round := range 15 {
			w.pass(time.Minute)
			w.hello(nil)
			var mu sync.Mutex
			taken := map[string]int{}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					due, _, err := w.db.DueCommands(w.Context())
					if err != nil {
						w.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					for _, d := range due {
						taken[d.Command.ID]++
					}
				})
			}
			all.Wait()
			for id, n := range taken {
				if n != 1 {
					w.Fatalf("round %d: %s was taken %d times", round, id, n)
				}
			}
			if len(taken) != 10 {
				w.Fatalf("round %d: %d of 10 taken", round, len(taken))
			}
		}
	})
}

func TestCommandsNobodyMayGive(t *testing.T) {
	onBoth(t, func(w *world) {
		stranger := w.owner
		stranger.Organization = "another"
		_, err := w.db.AddCommand(w.Context(), stranger, hotspot.Command{Site: w.site.ID, Kind: "kick", Body: "{}"}, time.Minute)
		wantKind(w.TB, err, fault.NotFound)
		c := w.ask(time.Minute)
		_, err = w.db.Command(w.Context(), "another", w.site.ID, c.ID)
		wantKind(w.TB, err, fault.NotFound)
		if got, err := w.db.Commands(w.Context(), "another", w.site.ID, "", 10); err != nil || len(got) != 0 {
			w.Errorf("of another organization: %+v %v", got, err)
		}
		empty := w.newSite("No box")
		_, err = w.db.AddCommand(w.Context(), w.owner, hotspot.Command{Site: empty.ID, Kind: "kick", Body: "{}"}, time.Minute)
		wantKind(w.TB, err, fault.Conflict)
		for i := 0; ; i++ {
			if _, err = w.db.AddCommand(w.Context(), w.owner, hotspot.Command{Site: w.site.ID, Kind: "kick", Body: "{}"}, time.Minute); err != nil {
				break
			}
			if i > 100 {
				w.Fatal("commands without a bound")
			}
		}
		wantKind(w.TB, err, fault.Conflict)
		// What a site says cannot harm: too long, no text, without a name.
		_, err = w.db.ApplyCommands(w.Context(), w.agent, wire.Hello{Commands: []wire.CommandResult{{ID: "a b"}, {ID: c.ID, State: wire.CommandDone, Body: json.RawMessage(`"` + strings.Repeat("x", wire.ResultBytes) + `"`)},
			{ID: c.ID, State: wire.CommandDone, Body: json.RawMessage(`"\u0000"`)}}})
		must(w.TB, err)
		w.wantState(c.ID, hotspot.CommandQueued)
	})
}

func TestASetUpOfARouterIsADocument(t *testing.T) {
	onBoth(t, func(w *world) {
		setup := wire.RouterSetup{Mode: "radius-only", CoAPort: 3799}
		set := func(s *wire.RouterSetup) int64 {
			w.Helper()
			must(w.TB, w.db.SetRouterSetup(w.Context(), w.owner, w.site.ID, "cafe1", s))
			_, rev, _, err := w.db.Wanted(w.Context(), w.site.ID)
			must(w.TB, err)
			return rev
		}
		first := set(&setup)
		st := w.last().state
		if len(st.Docs) != 1 || st.Docs[0].Kind != wire.DocRouter || st.Docs[0].ID != "cafe1" || st.To != first {
			w.Fatalf("announced %+v", st)
		}
		doc, rev, found, err := w.db.RouterSetup(w.Context(), w.owner.Organization, w.site.ID, "cafe1")
		if must(w.TB, err); !found || rev != first || !reflect.DeepEqual(doc.RouterSetup, setup) || doc.By == "" || doc.At.IsZero() {
			w.Errorf("got %+v at %d, found %v", doc, rev, found)
		}
		w.pass(time.Minute)
		if again := set(&setup); again != first {
			w.Errorf("the same wish again made revision %d after %d", again, first)
		}
		if _, _, found, err := w.db.RouterSetup(w.Context(), "another", w.site.ID, "cafe1"); err != nil || found {
			w.Errorf("another organization sees it: %v %v", found, err)
		}
		set(nil)
		if st := w.last().state; len(st.Gone) != 1 || st.Gone[0] != (wire.DocRef{Kind: wire.DocRouter, ID: "cafe1"}) {
			w.Errorf("announced %+v, want a tombstone", st)
		}
		if last := set(nil); last != first+1 {
			w.Errorf("nothing to remove made revision %d", last)
		}
		entries, err := w.db.Audit(w.Context(), w.owner.Organization, 2)
		must(w.TB, err)
		if entries[0].What != "router.setup" || entries[0].Became != "" || entries[1].Became == "" {
			w.Errorf("audit: %+v", entries)
		}
		wantKind(w.TB, w.db.SetRouterSetup(w.Context(), w.owner, w.site.ID, "a b", &setup), fault.Invalid)
	})
}

func TestWhatASiteCannotApplyIsKept(t *testing.T) {
	onBoth(t, func(w *world) {
		w.hello(func(h *wire.Hello) {
			h.NotInForce = []wire.DocRef{{Kind: wire.DocGrant, ID: "g1"}}
			for i := range 200 {
				h.NotInForce = append(h.NotInForce, wire.DocRef{Kind: "later", ID: fmt.Sprint(i)})
			}
			h.Routers = []wire.RouterHealth{{NAS: "cafe1", Setup: &wire.SetupStanding{From: "box", Mode: "radius-only", State: "waiting", LeftS: 90, Login: "admin"}}}
		})
		s, err := w.db.Site(w.Context(), w.owner.Organization, w.site.ID)
		must(w.TB, err)
		if len(s.NotInForce) != 100 || s.NotInForce[0] != (hotspot.DocRef{Kind: "grant", ID: "g1"}) {
			w.Errorf("got %d, the first %+v", len(s.NotInForce), s.NotInForce[:1])
		}
		if got := s.Routers[0].Setup; got == nil || *got != (hotspot.SetupStanding{From: "box", Mode: "radius-only", State: "waiting", Left: 90 * time.Second, Login: "admin"}) {
			w.Errorf("got %+v", got)
		}
		w.hello(nil)
		if s, err = w.db.Site(w.Context(), w.owner.Organization, w.site.ID); err != nil || len(s.NotInForce) != 0 {
			w.Errorf("later: %+v %v", s.NotInForce, err)
		}
	})
}
