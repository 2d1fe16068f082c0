package store_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func (w *world) session(id string, account hotspot.AccountID, usage int64) wire.SessionBody {
	return wire.SessionBody{ID: hotspot.SessionID(id), Permit: "p1", Account: account, Pass: "pass1", NAS: "r1", AcctSessionID: "80000001", Username: "amal",
		MAC: "AA:BB:CC:00:11:22", IP: "10.5.50.17", StartedAt: w.now(), HeardAt: w.now(), TimeMS: usage * 1000, Upload: uint64(usage * 10), Download: uint64(usage * 100), State: hotspot.Live}
}

func (w *world) sessions(open bool) []hotspot.Session {
	w.Helper()
	s, err := w.db.Sessions(w.Context(), w.owner.Organization, w.site.ID, open, 100)
	must(w.TB, err)
	return s
}

func (w *world) dead() []string {
	w.Helper()
	dead, err := w.db.DeadEvents(w.Context(), w.owner.Organization, w.site.ID, 100)
	must(w.TB, err)
	var got []string
	for _, d := range dead {
		if !json.Valid(d.Event) {
			w.Errorf("event %d was not kept as it came: %q", d.Seq, d.Event)
		}
		got = append([]string{fmt.Sprintf("%d %s", d.Seq, d.Reason)}, got...)
	}
	return got
}

func TestFactsReachTheGuest(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		pass := w.guest(id).Pass.ID
		w.hello(func(h *wire.Hello) { h.LastSeq = 5 })
		l := &siteLog{epoch: "epoch1"}
		first := w.now()
		l.add(wire.EventAgentStarted, first, wire.AgentStarted{Version: "2.0", Boot: "b"})
		l.add(wire.EventPassFirstUsed, first, wire.UsageBody{Pass: pass, Account: id, FirstUsed: first})
		l.add(wire.EventSessionStarted, first, w.session("s1", id, 0))
		usage := w.session("s1", id, 120)
		usage.PassUsage = &wire.UsageBody{Pass: pass, Account: id, TimeMS: 120_000, Upload: 1200, Download: 12_000}
		l.add(wire.EventSessionUsage, first, usage)
		l.add(wire.EventVoid, first, nil)
		if s := w.siteStatus(); s.Backlog != 5 {
			w.Errorf("got backlog %d, want 5", s.Backlog)
		}
		w.all(l)
		g := w.guest(id)
		if u := g.Pass.Usage; !u.FirstUsed.Equal(first) || u.Time != 2*time.Minute || u.Upload != 1200 || u.Download != 12_000 {
			w.Errorf("got usage %+v, want 2 minutes, 1200 up, 12000 down since %v", u, first)
		}
		if len(g.Sessions) != 1 || g.Sessions[0].Time != 2*time.Minute || g.Sessions[0].MAC.String() != "AA:BB:CC:00:11:22" || g.Sessions[0].IP.String() != "10.5.50.17" {
			w.Errorf("got sessions %+v, want the one", g.Sessions)
		}
		if s := w.siteStatus(); s.SessionsOpen != 1 || s.Backlog != 0 {
			w.Errorf("got %d open and backlog %d, want 1 and 0", s.SessionsOpen, s.Backlog)
		}
		ended := w.session("s1", id, 60) // counters may not fall
		ended.State, ended.EndedAt, ended.Cause = hotspot.Closed, w.now(), "User-Request"
		l.add(wire.EventSessionStopped, first, ended)
		if ack := w.ingest(l.batch(6, 6)); ack.Through != 6 {
			w.Fatalf("got %+v, want 6", ack)
		}
		all := w.sessions(false)
		if len(w.sessions(true)) != 0 || len(all) != 1 || all[0].Time != 2*time.Minute || all[0].Cause != "User-Request" || all[0].EndedAt.IsZero() {
			w.Errorf("got %+v, want one session, closed, its time not less than before", all)
		}
		if a, err := w.db.Agent(w.Context(), w.agent); err != nil || a.Version != "2.0" {
			w.Errorf("got version %q (%v), want 2.0", a.Version, err)
		}
		if dead := w.dead(); len(dead) != 0 {
			w.Errorf("got %v set aside, want none", dead)
		}
	})
}

func (w *world) siteStatus() hotspot.SiteStatus {
	w.Helper()
	s, err := w.db.Site(w.Context(), w.owner.Organization, w.site.ID)
	must(w.TB, err)
	return s
}

func TestBatchesAgainstTheMark(t *testing.T) {
	onBoth(t, func(w *world) {
		l := &siteLog{epoch: "epoch1"}
		for i := range 10 {
			l.add(wire.EventSessionUsage, w.now(), w.session("s1", "", int64(i)))
		}
		for _, tt := range []struct {
			name        string
			batch       wire.Batch
			wantThrough int64
			wantFork    bool
		}{
			{"past the mark on an empty log", l.batch(3, 4), 0, false},
			{"first", l.batch(1, 3), 3, false},
			{"again", l.batch(1, 3), 3, false},
			{"part of it again", l.batch(2, 3), 3, false},
			{"gap", l.batch(5, 6), 3, false},
			{"overlap", l.batch(2, 6), 6, false},
			{"next", l.batch(7, 10), 10, false},
			{"long ago", l.batch(2, 4), 10, false},
		} {
			ack := w.ingest(tt.batch)
			if ack.Through != tt.wantThrough || ack.Fork != tt.wantFork || ack.First != tt.batch.First || ack.Epoch != "epoch1" || !ack.Time.Equal(w.now()) {
				w.Errorf("%s: got %+v, want through %d, fork %v", tt.name, ack, tt.wantThrough, tt.wantFork)
			}
		}
		if got := w.sessions(false)[0].Time; got != 9*time.Second {
			w.Errorf("got %v, want the newest time of 9s", got)
		}
	})
}

func TestAnotherHistoryIsAFork(t *testing.T) {
	onBoth(t, func(w *world) {
		l := &siteLog{epoch: "epoch1"}
		for i := range 6 {
			l.add(wire.EventSessionUsage, w.now(), w.session("s1", "", int64(i)))
		}
		w.all(l)
		chain := l.chain()
		// A backup of the disk from event 3 on lives another life.
		clone := &siteLog{epoch: "epoch1", events: append([]wire.Event(nil), l.events[:3]...)}
		for i := range 6 {
			clone.add(wire.EventSessionUsage, w.now(), w.session("s2", "", int64(i)))
		}
		wrong := l.batch(1, 1)
		wrong.Chain = "x"
		for name, b := range map[string]wire.Batch{"below the mark": clone.batch(4, 5), "up to the mark": clone.batch(4, 6),
			"over the mark": clone.batch(4, 9), "behind the mark": clone.batch(7, 9), "a chain before the first": wrong} {
			ack := w.ingest(b)
			if !ack.Fork || ack.Through != 6 || ack.Chain != chain {
				w.Errorf("%s: got %+v, want a fork at 6 with our chain", name, ack)
			}
		}
		if got := len(w.sessions(false)); got != 1 {
			w.Errorf("got %d sessions, want nothing of the clone stored", got)
		}
		// It mints an epoch and renumbers; what is known does not count twice.
		again := &siteLog{epoch: "epoch2", events: append(append([]wire.Event(nil), l.events[4:]...), clone.events[3:]...)}
		w.all(again)
		if got := len(w.sessions(false)); got != 2 {
			w.Errorf("got %d sessions, want 2", got)
		}
		if through, err := w.db.Mark(w.Context(), w.site.ID, "epoch1"); err != nil || through != 6 {
			w.Errorf("got the old log's mark at %d (%v), want 6", through, err)
		}
		if through, err := w.db.Mark(w.Context(), w.site.ID, "epoch2"); err != nil || through != 8 {
			w.Errorf("got the new log's mark at %d (%v), want 8", through, err)
		}
	})
}

func TestRenumberedEventsHaveNoSecondEffect(t *testing.T) {
	onBoth(t, func(w *world) {
		l := &siteLog{epoch: "epoch1"}
		l.add(wire.EventSessionStarted, w.now(), w.session("s1", "", 1))
		ended := w.session("s1", "", 2)
		ended.State = hotspot.Closed
		l.add(wire.EventSessionStopped, w.now(), ended)
		w.all(l)
		w.all(&siteLog{epoch: "epoch2", events: l.events[:1]})
		if got := w.sessions(true); len(got) != 0 {
			w.Errorf("got %+v open again by an event seen before", got)
		}
		twin := &siteLog{epoch: "epoch3", events: []wire.Event{l.add(wire.EventSessionStarted, w.now(), w.session("s3", "", 1)), l.events[2]}}
		w.all(twin)
	})
}

func TestPoisonIsSetAsideAndTheCursorMoves(t *testing.T) {
	onBoth(t, func(w *world) {
		l := &siteLog{epoch: "epoch1"}
		l.add("sun.rose", w.now(), map[string]int{"hour": 6})
		l.add(wire.EventSessionUsage, w.now(), []int{1})
		l.add(wire.EventSessionUsage, w.now(), wire.SessionBody{ID: "s9", State: "floating", StartedAt: w.now()})
		nul := w.session("s8", "", 1)
		nul.Username = "a\x00b"
		l.add(wire.EventSessionUsage, w.now(), nul)
		l.add(wire.EventLockProof, w.now(), wire.LockProof{Account: "a", Outcome: "maybe"})
		l.add(wire.EventVoid, w.now(), nil)
		l.events[5].ID = "no id\x00"
		l.add(wire.EventPassUsage, w.now(), wire.UsageBody{Account: "a"})
		l.events = append(l.events, wire.Event{ID: "raw", Kind: wire.EventNASRestarted, At: w.now(), Body: json.RawMessage("{\"nas\":\"\xff\"}")})
		l.add(wire.EventKind("k\x00"), w.now(), nil)
		big := w.session("s1", "", 1)
		big.Upload = math.MaxUint64
		l.add(wire.EventSessionUsage, w.now(), big)
		w.all(l)
		var seqs []string
		for _, d := range w.dead() {
			seqs = append(seqs, strings.Fields(d)[0])
		}
		if got := strings.Join(seqs, " "); got != "1 2 3 4 5 6 7 8 9" {
			w.Errorf("got %v set aside, want events 1 to 9", w.dead())
		}
		if got := w.sessions(false); len(got) != 1 || got[0].Upload != math.MaxInt64 {
			w.Errorf("got %+v, want the one session that can be read, its count cut to what can be stored", got)
		}
		if ack := w.ingest(l.batch(1, 10)); ack.Fork || ack.Through != 10 {
			w.Errorf("got %+v, want poison sent again to be done already", ack)
		}
		if got := len(w.dead()); got != 9 {
			w.Errorf("got %d set aside, want 9", got)
		}
	})
}

func TestLockEventsOfASite(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		w.hello(nil)
		must(w.TB, w.db.Lock(w.Context(), w.owner, id, ""))
		rev := w.last().state.To
		l := &siteLog{epoch: "epoch1"}
		at := w.now().Add(5 * time.Second) // the site's clock is ahead
		l.add(wire.EventLockReceived, at, wire.LockReceived{Account: id, Revision: rev})
		w.all(l)
		if s := w.guest(id).Lock; s.State != hotspot.LockReceived || !s.Steps[1].At.Equal(at) || s.Steps[1].Machine != "site" {
			w.Errorf("got %+v, want received by the site's clock", s)
		}
		p := proof(id, rev, hotspot.OutcomeEnforced, at.Add(time.Second))
		if _, err := w.db.ApplyProofs(w.Context(), w.agent, "epoch1", []wire.LockProof{p}); err != nil {
			w.Fatal(err)
		}
		before := w.guest(id).Lock
		l.add(wire.EventLockProof, p.At, p)
		w.ingest(l.batch(2, 2))
		if after := w.guest(id).Lock; after.State != hotspot.LockEnforced || fmt.Sprint(after.Steps) != fmt.Sprint(before.Steps) {
			w.Errorf("got %+v, want the hello's proof repeated without effect", after)
		}
	})
}

func TestLockTheSiteKeptComesBack(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		l := &siteLog{epoch: "epoch1"}
		l.add(wire.EventLockKept, w.now(), wire.LockKept{Account: id, By: "Mona", Reason: "loud", At: w.now().Add(-time.Hour)})
		l.add(wire.EventLockKept, w.now(), wire.LockKept{Account: "lost", By: "Mona"})
		w.all(l)
		s := w.guest(id).Lock
		if s.Lock == nil || s.Lock.By != "Mona" || s.Lock.Reason != "loud" {
			w.Fatalf("got %+v, want Mona's lock", s)
		}
		if c := w.last(); len(c.state.Docs) != 1 || c.state.Docs[0].Kind != wire.DocLock || c.state.To != s.Lock.Revision {
			w.Errorf("got %+v, want the lock as a revision of the site", c.state)
		}
	})
}

func TestWhoMayNotSendEvents(t *testing.T) {
	onBoth(t, func(w *world) {
		l := &siteLog{epoch: "epoch1"}
		l.add(wire.EventVoid, w.now(), nil)
		fresh, _ := w.enrol(w.site.ID, w.owner)
		for name, agent := range map[string]hotspot.AgentID{"not confirmed": fresh, "never enrolled": "nobody00"} {
			if _, err := w.db.Ingest(w.Context(), agent, l.batch(1, 1)); !fault.Is(err, fault.Denied) {
				w.Errorf("%s: got %v, want denied", name, err)
			}
			if err := w.db.RecordHello(w.Context(), agent, wire.Hello{}, w.now()); !fault.Is(err, fault.Denied) {
				w.Errorf("%s: hello: got %v, want denied", name, err)
			}
			if _, err := w.db.RecordPresence(w.Context(), agent, wire.Presence{State: hotspot.Online}, w.now()); !fault.Is(err, fault.Denied) {
				w.Errorf("%s: presence: got %v, want denied", name, err)
			}
			if _, err := w.db.ApplyProofs(w.Context(), agent, "epoch1", nil); !fault.Is(err, fault.Denied) {
				w.Errorf("%s: proofs: got %v, want denied", name, err)
			}
		}
		_, err := w.db.RevokeAgent(w.Context(), w.owner, w.agent)
		must(w.TB, err)
		_, err = w.db.Ingest(w.Context(), w.agent, l.batch(1, 1))
		wantKind(w.TB, err, fault.Denied)
	})
}

func TestBatchesNoCloudShouldTake(t *testing.T) {
	w := newWorld(t, "sqlite")
	event := wire.Event{ID: "e1", Kind: wire.EventVoid, At: w.now()}
	for name, b := range map[string]wire.Batch{
		"no epoch":          {First: 1, Events: []wire.Event{event}},
		"epoch with a NUL":  {Epoch: "a\x00", First: 1, Events: []wire.Event{event}},
		"sequence 0":        {Epoch: "e", First: 0, Events: []wire.Event{event}},
		"sequence too high": {Epoch: "e", First: math.MaxInt64, Events: []wire.Event{event}},
		"no events":         {Epoch: "e", First: 1},
		"too many":          {Epoch: "e", First: 1, Events: make([]wire.Event, wire.MaxEvents+1)},
	} {
		if _, err := w.db.Ingest(t.Context(), w.agent, b); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
}

func TestPresenceIgnoresAnOlderWill(t *testing.T) {
	onBoth(t, func(w *world) {
		if got := w.siteStatus().Presence; got != hotspot.Never {
			w.Errorf("got %s, want %s", got, hotspot.Never)
		}
		for _, tt := range []struct {
			name      string
			p         wire.Presence
			want      hotspot.Presence
			wantCount bool
		}{
			{"connects", wire.Presence{State: hotspot.Online, Boot: "b1", Conn: 1}, hotspot.Online, true},
			{"connects again", wire.Presence{State: hotspot.Online, Boot: "b1", Conn: 2}, hotspot.Online, true},
			{"will of the first connection", wire.Presence{State: hotspot.Lost, Boot: "b1", Conn: 1}, hotspot.Online, false},
			{"restarts", wire.Presence{State: hotspot.Online, Boot: "b2", Conn: 1}, hotspot.Online, true},
			{"will of the run before", wire.Presence{State: hotspot.Lost, Boot: "b1", Conn: 2}, hotspot.Online, false},
			{"will of this connection", wire.Presence{State: hotspot.Lost, Boot: "b2", Conn: 1}, hotspot.Lost, true},
			{"is back", wire.Presence{State: hotspot.Online, Boot: "b2", Conn: 2}, hotspot.Online, true},
			{"stops", wire.Presence{State: hotspot.Stopped, Boot: "b2", Conn: 2, Reason: "update"}, hotspot.Stopped, true},
		} {
			counts, err := w.db.RecordPresence(w.Context(), w.agent, tt.p, w.now())
			if s := w.siteStatus(); err != nil || counts != tt.wantCount || s.Presence != tt.want {
				w.Errorf("%s: got %s, counts %v (%v), want %s, %v", tt.name, s.Presence, counts, err, tt.want, tt.wantCount)
			}
		}
		if got := w.siteStatus().Reason; got != "update" {
			w.Errorf("got reason %q, want update", got)
		}
		w.hello(func(h *wire.Hello) {
			h.At = w.now().Add(-time.Minute)
			h.Conditions = []wire.Condition{{Code: "RTR-101", Severity: "high", Text: "router"}}
		})
		s := w.siteStatus()
		if s.Presence != hotspot.Online || s.ClockOffset != -time.Minute || len(s.Conditions) != 1 || s.Conditions[0].Code != "RTR-101" || s.AgentVersion != "1.2" || s.Applied != s.Revision {
			w.Errorf("got %+v, want what the hello said", s)
		}
		must(w.TB, w.db.NobodyOnline(w.Context()))
		if got := w.siteStatus().Presence; got != hotspot.Lost {
			w.Errorf("got %s, want %s once nobody can be connected", got, hotspot.Lost)
		}
		_, err := w.db.RecordPresence(w.Context(), w.agent, wire.Presence{State: "asleep"}, w.now())
		wantKind(w.TB, err, fault.Invalid)
	})
}

// TestASiteSpeaksOnlyOfItself: whatever ids the events of one site name, nothing
// of another site changes, and the cursor moves on.
func TestASiteSpeaksOnlyOfItself(t *testing.T) {
	onBoth(t, func(w *world) {
		mine := &siteLog{epoch: "epoch1"}
		id := w.user("amal")
		must(w.TB, w.db.Lock(w.Context(), w.owner, id, "loud"))
		pass := string(w.guest(id).Pass.ID)
		made, err := w.db.CreateGrants(w.Context(), w.owner, w.site.ID, []hotspot.Grant{{List: "staff", Address: netip.MustParsePrefix("203.0.113.7/32"), Until: w.now().Add(time.Hour)}})
		must(w.TB, err)
		mine.add(wire.EventSessionStarted, w.now(), w.session("s1", id, 10))
		w.all(mine)
		facts := func() string {
			_, revision, hash, err := w.db.Wanted(w.Context(), w.site.ID)
			must(w.TB, err)
			grants, _, err := w.db.Grants(w.Context(), w.owner.Organization, w.site.ID, "", true, 10, "")
			must(w.TB, err)
			all, err := json.MarshalIndent([]any{w.sessions(false), w.guest(id), revision, hash, grants}, "", " ")
			must(w.TB, err)
			return string(all)
		}
		before, revision := facts(), w.guest(id).Lock.Lock.Revision

		other := w.newSite("Second")
		stranger, _ := w.enrol(other.ID, w.owner)
		_, _, err = w.db.ConfirmAgent(w.Context(), w.owner, stranger)
		must(w.TB, err)
		l := &siteLog{epoch: "epoch1"} // the same name for its log, too
		l.add(wire.EventSessionStopped, w.now(), w.session("s1", id, 99))
		l.add(wire.EventPassUsage, w.now(), wire.UsageBody{Pass: hotspot.PassID(pass), Account: id, TimeMS: 99_000, Upload: 99})
		l.add(wire.EventLockReceived, w.now(), wire.LockReceived{Account: id, Revision: revision})
		proof := wire.LockProof{Account: id, Revision: revision, Reason: hotspot.OffLocked, Outcome: hotspot.OutcomeEnforced, At: w.now()}
		l.add(wire.EventLockProof, w.now(), proof)
		l.add(wire.EventLockKept, w.now(), wire.LockKept{Account: id, By: "x", Reason: "x", At: w.now()})
		l.add(wire.EventAdjusted, w.now(), wire.AdjustedBody{Account: id, Pass: hotspot.PassID(pass), By: "x", TimeS: 3600})
		l.add(wire.EventGrantRemoved, w.now(), wire.GrantRemoved{ID: made[0].Grant.ID, By: "x"})
		l.add(wire.EventGrantSettled, w.now(), wire.GrantSettled{State: hotspot.GrantInList, IDs: []hotspot.GrantID{made[0].Grant.ID}})
		l.add(wire.EventNASRestarted, w.now(), wire.NASRestarted{NAS: "r1", On: true})
		l.events = append(l.events, mine.events[0]) // an id that the first site has
		ack, err := w.db.Ingest(w.Context(), stranger, l.batch(1, len(l.events)))
		if err != nil || ack.Fork || ack.Through != int64(len(l.events)) {
			w.Fatalf("got %+v, %v, want all acknowledged: one bad event stops no site", ack, err)
		}
		if _, err := w.db.ApplyProofs(w.Context(), stranger, "epoch1", []wire.LockProof{proof}); err != nil {
			w.Error(err)
		}
		if after := facts(); after != before {
			w.Errorf("another site's events changed\n%s\nto\n%s", before, after)
		}
		if through, err := w.db.Mark(w.Context(), w.site.ID, "epoch1"); err != nil || through != 1 {
			w.Errorf("got a mark of %d (%v), want still 1", through, err)
		}
	})
}

// TestWhatASiteForgotIsNotOpenForEver: a site that was put back from a backup may
// not know of sessions it had told; those it knows open again as it speaks of them.
func TestWhatASiteForgotIsNotOpenForEver(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		l := &siteLog{epoch: "epoch1"}
		l.add(wire.EventSessionStarted, w.now(), w.session("s1", id, 10))
		l.add(wire.EventSessionStarted, w.now(), w.session("s2", id, 10))
		w.all(l)
		w.pass(time.Minute)
		again := &siteLog{epoch: "epoch2"}
		again.add(wire.EventGap, w.now(), wire.Gap{Epoch: "epoch1", First: 2, Last: 9}) // known: nothing is forgotten
		w.all(again)
		if got := len(w.sessions(true)); got != 2 {
			w.Fatalf("got %d open after a gap of known length, want both", got)
		}
		again.add(wire.EventGap, w.now(), wire.Gap{Epoch: "epoch1", First: 2})
		again.events = append(again.events, l.events...)
		again.add(wire.EventSessionUsage, w.now(), w.session("s2", id, 20))
		w.all(again)
		open, all := w.sessions(true), w.sessions(false)
		if len(open) != 1 || open[0].ID != "s2" || len(all) != 2 {
			w.Errorf("got open %+v, want s2 alone, of which the site spoke again", open)
		}
		for _, s := range all {
			if s.ID == "s1" && (s.State != hotspot.Closed || s.Cause != "forgotten" || !s.EndedAt.Equal(s.HeardAt) || s.Time != 10*time.Second) {
				w.Errorf("got %+v, want it closed as of its last record, with its figures", s)
			}
		}
	})
}
