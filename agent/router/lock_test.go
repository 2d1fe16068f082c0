package router

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
)

// off fails unless the guest is off in every respect.
func (c *cafe) off(mac string) {
	c.t.Helper()
	if g := c.guest(mac); g.Online || g.Cookies != 0 || g.Connections != 0 {
		c.t.Errorf("guest %s: online %v, %d cookies, %d connections, want none of it", mac, g.Online, g.Cookies, g.Connections)
	}
}

// untouched fails unless a guest is online with all the connections opened.
func (c *cafe) untouched(mac string, connections int) {
	c.t.Helper()
	if g := c.guest(mac); !g.Online || g.Cookies != 2 || g.Connections < connections {
		c.t.Errorf("guest %s: online %v, %d cookies, %d connections, want online with 2 cookies and %d connections", mac, g.Online, g.Cookies, g.Connections, connections)
	}
}

// inOrder fails unless the proof has all steps of design.md §6, one after the other.
func inOrder(t *testing.T, p hotspot.Proof) {
	t.Helper()
	want := []string{hotspot.StepReceived, hotspot.StepCookies, hotspot.StepDisconnect, hotspot.StepActive, hotspot.StepConnections, hotspot.StepReadBack}
	var got []string
	var last time.Time
	for _, s := range p.Steps {
		got = append(got, s.Name)
		if s.At.Before(last) || s.At.IsZero() {
			t.Errorf("step %s at %v, before the step ahead of it at %v", s.Name, s.At, last)
		}
		last = s.At
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got steps %v, want %v", got, want)
	}
	if p.At.Before(last) {
		t.Errorf("outcome at %v, before its last step at %v", p.At, last)
	}
}

func TestLockEndsOneGuestAndNoOther(t *testing.T) {
	for _, tc := range []struct {
		name   string
		knobs  routersim.Knobs
		method string
		step   string // that says how
		detail string
	}{
		{"a router that obeys", routersim.Knobs{}, "disconnect", hotspot.StepDisconnect, "Disconnect-ACK"},
		{"ACK without acting", routersim.Knobs{CoAIgnore: true}, "api", hotspot.StepActive, "acknowledged, but still there"},
		{"no answer", routersim.Knobs{CoASilent: true}, "api", hotspot.StepDisconnect, "no answer"},
		{"several items at once refused", routersim.Knobs{OneID: "refused"}, "disconnect", hotspot.StepDisconnect, "Disconnect-ACK"},
		{"several items at once ignored", routersim.Knobs{OneID: "ignored"}, "disconnect", hotspot.StepDisconnect, "Disconnect-ACK"},
		{"commands that cost time", routersim.Knobs{CommandCost: true}, "disconnect", hotspot.StepDisconnect, "Disconnect-ACK"},
	} {
		lockOne := func(t *testing.T, rest bool) {
			t.Parallel()
			c := open(t, func(c *cafe) { c.rest = rest })
			const others = 12
			for n := range others {
				c.arrive(n, 5)
			}
			c.arrive(100, 70) // more connections than one remove names
			c.untouched(macOf(100), 70)
			c.sim.AddConnections(500)
			c.sim.SetKnobs(tc.knobs)
			c.lock(nameOf(100))
			p := c.proof(nameOf(100))
			if p.Outcome != hotspot.OutcomeEnforced || p.Method != tc.method || p.Sessions != 1 || p.Code != "" || p.Revision != 7 || p.Reason != hotspot.OffLocked {
				t.Errorf("got %+v, want enforced by %s, one session", p, tc.method)
			}
			inOrder(t, p)
			for _, s := range p.Steps {
				if s.Name == tc.step && !strings.Contains(s.Detail, tc.detail) {
					t.Errorf("step %s says %q, want %q", s.Name, s.Detail, tc.detail)
				}
				if want := map[string]string{hotspot.StepCookies: "2 cookies removed", hotspot.StepReadBack: "no entry"}[s.Name]; !strings.Contains(s.Detail, want) {
					t.Errorf("step %s says %q, want %q", s.Name, s.Detail, want)
				}
			}
			c.off(macOf(100))
			for n := range others {
				c.untouched(macOf(n), 5)
			}
			if rows := c.command("/ip/firewall/connection/print", "=count-only="); rows[0]["ret"] < "500" {
				t.Errorf("%s connections left, want the 500 of other devices", rows[0]["ret"])
			}
			if err := c.sim.Login(macOf(100), routersim.Login{Method: "http-chap", Username: nameOf(100), Password: "x"}); err == nil {
				t.Error("the guest came back in")
			}
		}
		t.Run(tc.name, func(t *testing.T) { lockOne(t, false) })
		t.Run(tc.name+", over REST", func(t *testing.T) { lockOne(t, true) })
	}
}

// A NAS that never answers Disconnect-Request (accept=no is the default of
// /radius/incoming) costs its patience once, not at every lock.
func TestSilenceIsRemembered(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 1)
	c.arrive(2, 1)
	c.arrive(3, 1)
	c.sim.SetKnobs(routersim.Knobs{CoASilent: true})
	for n, most := range []time.Duration{2 * time.Second, patience / 2} {
		begun := time.Now()
		c.lock(nameOf(n + 1))
		if p, took := c.proof(nameOf(n+1)), time.Since(begun); p.Method != "api" || took > most {
			t.Errorf("lock %d: %s after %v, want api within %v", n+1, p.Method, took, most)
		}
	}
	if !c.e.Health()[0].Silent {
		t.Error("health does not say that Disconnect-Request stays unanswered")
	}
	c.sim.SetKnobs(routersim.Knobs{})
	c.lock(nameOf(3))
	if p := c.proof(nameOf(3)); p.Method != "disconnect" {
		t.Errorf("it answers again: got %s, want disconnect", p.Method)
	}
}

// A session that accounting speaks of and the router does not show proves nothing,
// whatever the router says of it: it may be on another router. Once accounting is
// over the lock ends, by the read-back.
func TestSessionThatIsNotThere(t *testing.T) {
	for _, cause := range []uint32{503, 406} {
		c := open(t, nil)
		c.sim.SetKnobs(routersim.Knobs{NAKCause: cause})
		mac, _ := hotspot.ParseMAC(macOf(1))
		put := func(state hotspot.SessionState) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.sessions["80000fff"] = hotspot.Session{ID: "80000fff", NAS: nasID, AcctSessionID: "80000fff", Username: nameOf(1), MAC: mac, State: state}
		}
		put(hotspot.Live)
		c.lock(nameOf(1))
		if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomePending || p.Code != CodeUnseen {
			t.Errorf("NAK %d, accounting goes on: got %s %q, want pending with %s", cause, p.Outcome, p.Code, CodeUnseen)
		}
		put(hotspot.Closed) // its Stop came, or its silence was long enough
		c.poke()
		p := c.proof(nameOf(1))
		if p.Outcome != hotspot.OutcomeEnforced || p.Method != "nothing_to_do" || p.Sessions != 0 {
			t.Errorf("NAK %d: got %+v, want enforced with nothing to do", cause, p)
		}
		inOrder(t, p)
	}
}

// Accounting that goes on after an answer of success and a clean read-back says
// that they were not of the router that keeps the session.
func TestASessionThatOutlivesItsEndIsNotProven(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 1)
	stale := c.open(nameOf(1))
	stale[0].Cause = string(hotspot.OffLocked)
	c.sim.SetKnobs(routersim.Knobs{Still: true})
	if err := c.sim.Logout(macOf(1)); err != nil {
		t.Fatal(err)
	}
	c.e.Disconnector = answer{d: hotspot.Disconnected{Result: hotspot.ResultACK}}
	c.lock(nameOf(1), func(t *hotspot.Target) { t.Sessions = stale })
	if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomePending || p.Code != CodeUnseen {
		t.Errorf("got %s %q, want pending with %s", p.Outcome, p.Code, CodeUnseen)
	}
}

func TestLockOfSomebodyWhoIsNotThere(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 3)
	c.lock("nobody")
	if p := c.proof("nobody"); p.Outcome != hotspot.OutcomeEnforced || p.Method != "nothing_to_do" || p.Sessions != 0 {
		t.Errorf("got %+v, want enforced by the read-back alone", p)
	}
	c.untouched(macOf(1), 3)
}

// Cookies stay when a phone walks away; they must not let it in afterwards.
func TestCookiesOfSomebodyWhoLeftGo(t *testing.T) {
	c := open(t, nil)
	g := c.arrive(1, 0)
	if err := c.sim.Leave(g.MAC); err != nil {
		t.Fatal(err)
	}
	if rows := c.command("/ip/hotspot/cookie/print"); len(rows) != 2 {
		t.Fatalf("%d cookies before the lock, want 2", len(rows))
	}
	c.lock(nameOf(1))
	c.proof(nameOf(1))
	if rows := c.command("/ip/hotspot/cookie/print"); len(rows) != 0 {
		t.Errorf("cookies after the lock: %v, want none", rows)
	}
}

// The store may know nothing of a session the router has (a lost Start).
func TestSessionUnknownToTheStoreIsRemoved(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 4)
	c.mu.Lock()
	clear(c.sessions)
	c.mu.Unlock()
	c.lock(nameOf(1))
	if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeEnforced || p.Method != "api" || p.Sessions != 1 {
		t.Errorf("got %+v, want one entry removed over the API", p)
	}
	c.off(macOf(1))
}

// stale returns the open sessions of a name as the store may go on holding them
// after they ended: in doubt.
func (c *cafe) stale(name string) []hotspot.Session {
	out := c.open(name)
	for i := range out {
		out[i].State = hotspot.Suspect
	}
	return out
}

func TestAddressThatWentToAnotherGuestIsNotCut(t *testing.T) {
	c := open(t, nil)
	first := c.arrive(1, 3)
	stale := c.stale(nameOf(1))
	if err := c.sim.Leave(first.MAC); err != nil {
		t.Fatal(err)
	}
	if _, err := c.sim.Arrive(macOf(2), first.IP); err != nil {
		t.Fatal(err)
	}
	second := c.arrive(2, 6)
	if second.IP != first.IP {
		t.Fatalf("the second guest has %s, want the first's %s", second.IP, first.IP)
	}
	c.lock(nameOf(1), func(t *hotspot.Target) { t.Sessions = stale })
	if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeEnforced {
		t.Errorf("got %+v, want enforced", p)
	}
	c.untouched(second.MAC, 6)
}

// Locking an account does not stop the same phone with another voucher.
func TestSamePhoneWithAnotherAccountStaysOn(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 2)
	stale := c.stale(nameOf(1))
	if err := c.sim.Logout(macOf(1)); err != nil {
		t.Fatal(err)
	}
	c.login(macOf(1), "other", 5)
	c.lock(nameOf(1), func(t *hotspot.Target) { t.Sessions, t.MACs = stale, []hotspot.MAC{stale[0].MAC} })
	p := c.proof(nameOf(1))
	if p.Outcome != hotspot.OutcomeEnforced || !strings.Contains(p.Steps[len(p.Steps)-1].Detail, "another account") {
		t.Errorf("got %+v, want enforced, saying that the device is on with another account", p)
	}
	if g := c.guest(macOf(1)); !g.Online || g.User != "other" || g.Connections < 5 || g.Cookies != 0 {
		t.Errorf("the phone: %+v, want online as other with its connections, and no cookie", g)
	}
}

func TestNamesInOtherSpellings(t *testing.T) {
	for _, tc := range []struct {
		user, domain string
		want         bool
	}{
		{"anna", "", true}, {"Anna", "", false}, {"annab", "", false}, {"", "", false},
		{"aa-bb-cc-00-00-01", "", true}, {"AABBCC000001", "", true}, {"AABBCC000002", "", false},
		{"eve", "cafe", true}, {"eve", "", false}, {"bob", "corp", true},
	} {
		w := newWho(hotspot.Target{Usernames: []string{"anna", "AA:BB:CC:00:00:01", "eve@cafe", `corp\bob`}, Whole: true}, nasID)
		if got := w.named(tc.user, tc.domain); got != tc.want {
			t.Errorf("%s@%s: got %v, want %v", tc.user, tc.domain, got, tc.want)
		}
	}
}

func TestAVoucherIsKnownInAnySpelling(t *testing.T) {
	w := newWho(hotspot.Target{Usernames: []string{"3ZMD-M2SB"}, Voucher: true, Whole: true}, nasID)
	for user, want := range map[string]bool{"3zmdm2sb": true, "3ZMD M2SB": true, "3ZMD-M2SC": false, "": false} {
		if got := w.named(user, ""); got != want {
			t.Errorf("%q: got %v, want %v", user, got, want)
		}
	}
}

// Without Whole only the sessions given end.
func TestOnlyTheSessionsGivenEnd(t *testing.T) {
	c := open(t, nil)
	c.login(macOf(1), "family", 3)
	one := c.open("family")
	c.login(macOf(2), "family", 4)
	c.lock("family", func(t *hotspot.Target) { t.Sessions, t.Whole, t.Reason, t.Lock = one, false, hotspot.OffTooMany, nil })
	if p := c.proof("family"); p.Outcome != hotspot.OutcomeEnforced || p.Sessions != 1 || p.Reason != hotspot.OffTooMany {
		t.Errorf("got %+v, want one session ended", p)
	}
	c.off(macOf(1))
	c.untouched(macOf(2), 4)
}

func TestAPIDownThenBack(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 5)
	c.arrive(2, 5)
	c.sim.SetKnobs(routersim.Knobs{APIDown: true})
	c.lock(nameOf(1))
	p := c.proof(nameOf(1))
	if p.Outcome != hotspot.OutcomePending || p.Code != "RTR-102" {
		t.Errorf("API down: got %+v, want pending with RTR-102", p)
	}
	inOrder(t, p)
	if g := c.guest(macOf(1)); g.Online {
		t.Error("the Disconnect-Request was held back because the API is down")
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		w, h := c.e.Waiting(), c.e.Health()
		if len(w) == 1 && w[0].Code == "RTR-102" && !h[0].Reachable && h[0].Code == "RTR-102" && h[0].Hint != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting %+v, health %+v, want both to say RTR-102", w, h)
		}
	}
	c.e.mu.Lock()
	c.e.accounts[hotspot.AccountID(nameOf(1))].next = time.Now().Add(time.Hour) // as after many failures
	c.e.mu.Unlock()
	c.sim.SetKnobs(routersim.Knobs{})
	back := time.Now()
	for p.Outcome == hotspot.OutcomePending {
		p = c.proof(nameOf(1))
	}
	if p.Outcome != hotspot.OutcomeEnforced || p.Method != "disconnect" || p.Sessions != 1 {
		t.Errorf("API back: got %+v, want enforced by the earlier Disconnect-Request", p)
	}
	if took := time.Since(back); took > time.Minute { // by the watcher, not by the hour above
		t.Errorf("enforced %v after the API came back", took)
	}
	c.off(macOf(1))
	c.untouched(macOf(2), 5)
	eventually(t, "nothing waits", func() bool { return len(c.e.Waiting()) == 0 }) // the proof is kept before that is noted
}

// When neither Disconnect-Request nor removing the entry does anything, removing
// the host row makes the router judge the device anew.
func TestEntryThatCannotBeRemoved(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 2)
	c.sim.SetKnobs(routersim.Knobs{CoAIgnore: true, RemoveIgnored: true})
	c.lock(nameOf(1))
	if p := c.proof(nameOf(1)); p.Outcome != hotspot.OutcomeEnforced || p.Method != "api" || p.Sessions != 1 {
		t.Errorf("got %+v, want enforced over the API", p)
	}
	c.off(macOf(1))
}

// An Access-Accept may be under way when the lock is committed.
func TestLoginUnderWayIsCaught(t *testing.T) {
	c := open(t, nil)
	c.sim.SetKnobs(routersim.Knobs{Still: true})
	if _, err := c.sim.Arrive(macOf(1), ""); err != nil {
		t.Fatal(err)
	}
	locked := time.Now()
	c.lock("late", func(t *hotspot.Target) { t.LastAccept = locked })
	c.mu.Lock()
	delete(c.refuse, "late") // the Accept left before the lock
	c.mu.Unlock()
	time.Sleep(500 * time.Millisecond) // the lock's attempt is over its first read-back
	if err := c.sim.Login(macOf(1), routersim.Login{Method: "http-chap", Username: "late", Password: "x"}); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.refuse["late"] = true
	c.mu.Unlock()
	p := c.proof("late")
	if p.Outcome != hotspot.OutcomeEnforced || p.At.Sub(locked) < settleTime {
		t.Errorf("got %+v after %v, want enforced once %v were over", p, p.At.Sub(locked), settleTime)
	}
	if p.Method != "api" || p.Sessions != 1 {
		t.Errorf("got method %q, %d sessions, want the late login removed over the API", p.Method, p.Sessions)
	}
	c.off(macOf(1))
}

// A lock that is lifted while it is worked on must not hit who comes back.
func TestUnlockStopsTheAttempt(t *testing.T) {
	c := open(t, nil)
	c.arrive(1, 1)
	c.lock(nameOf(1), func(t *hotspot.Target) { t.LastAccept = time.Now() }) // waits two seconds for late logins
	for deadline := time.Now().Add(5 * time.Second); c.guest(macOf(1)).Online; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still online")
		}
	}
	time.Sleep(100 * time.Millisecond) // into the wait for late logins
	c.unlock(nameOf(1))
	time.Sleep(100 * time.Millisecond) // for the lifting to be seen
	c.arrive(1, 2)
	time.Sleep(settleTime + 200*time.Millisecond) // past the end of that wait
	c.untouched(macOf(1), 2)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.proofs) != 0 {
		t.Errorf("got proofs %+v of a lock that was lifted", c.proofs)
	}
}

// Repeating is harmless: the same wish again and again changes nothing more.
func TestRepeatingIsHarmless(t *testing.T) {
	c := open(t, nil)
	for n := range 5 {
		c.arrive(n, 4)
	}
	stale := c.stale(nameOf(0))
	for i := range 8 {
		c.lock(nameOf(0), func(t *hotspot.Target) { t.Sessions, t.Lock.Revision = stale, int64(i) })
		if p := c.proof(nameOf(0)); p.Outcome != hotspot.OutcomeEnforced || (i > 0 && p.Method != "nothing_to_do") {
			t.Errorf("time %d: got %+v, want enforced, with nothing to do after the first", i, p)
		}
	}
	c.off(macOf(0))
	for n := 1; n < 5; n++ {
		c.untouched(macOf(n), 4)
	}
}

func TestManyLocksAtOnceShareReads(t *testing.T) {
	c := open(t, nil)
	const guests = 60
	for n := range guests {
		c.arrive(n, 2)
	}
	before := c.sim.Counters().Commands
	c.mu.Lock() // all in one wish
	for n := range guests - 1 {
		name := nameOf(n)
		c.refuse[name] = true
		c.targets[hotspot.AccountID(name)] = hotspot.Target{Account: hotspot.AccountID(name), Reason: hotspot.OffTimeUsed, Usernames: []string{name}, ReceivedAt: time.Now(), Whole: true}
	}
	c.mu.Unlock()
	c.poke()
	for range guests - 1 {
		p := <-c.proven
		if p.Outcome != hotspot.OutcomeEnforced {
			t.Errorf("got %+v, want enforced", p)
		}
	}
	if each := float64(c.sim.Counters().Commands-before) / (guests - 1); each > 10 {
		t.Errorf("%.1f commands for each account, want reads shared", each)
	}
	for n := range guests - 1 {
		c.off(macOf(n))
	}
	c.untouched(macOf(guests-1), 2)
}

// slowLooks is a store that takes for ever over everybody who is online while
// somebody is locked.
type slowLooks struct{ Store }

func (s slowLooks) Targets(ctx context.Context) ([]hotspot.Target, error) {
	if locked, err := s.LockTargets(ctx); err != nil || len(locked) > 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Store.Targets(ctx)
}

// slowChanges takes for ever over what live sessions need.
type slowChanges struct{ waiting chan struct{} }

func (s slowChanges) Adjusting(ctx context.Context) ([]hotspot.Change, error) {
	close(s.waiting)
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s slowChanges) Adjusted(context.Context, hotspot.Changed) error { return nil }

func TestALockWaitsForNoOtherLook(t *testing.T) {
	t.Run("at everybody online", func(t *testing.T) {
		c := open(t, func(c *cafe) { c.e.Store = slowLooks{c} })
		c.arrive(1, 3)
		c.lock(nameOf(1))
		c.proof(nameOf(1))
	})
	t.Run("at live sessions", func(t *testing.T) {
		waiting := make(chan struct{})
		c := open(t, func(c *cafe) { c.e.Changes = slowChanges{waiting} })
		c.arrive(1, 3)
		<-waiting
		c.lock(nameOf(1))
		c.proof(nameOf(1))
	})
}

// oldNews is a store one of whose readings of everybody takes until the kick it is
// of was proven, and the guest is back.
type oldNews struct {
	*cafe
	reads   atomic.Int32 // that had the kick
	reading chan struct{}
	back    chan struct{}
}

func (o *oldNews) Targets(ctx context.Context) ([]hotspot.Target, error) {
	read, err := o.cafe.Targets(ctx)
	if slices.ContainsFunc(read, func(t hotspot.Target) bool { return t.Reason == hotspot.OffKicked }) && o.reads.Add(1) == 2 { // the first begins the attempt
		close(o.reading)
		select {
		case <-o.back:
		case <-ctx.Done():
		}
	}
	return read, err
}

func TestWhoComesBackAfterAKickIsNotKickedAgain(t *testing.T) {
	news := &oldNews{reading: make(chan struct{}), back: make(chan struct{})}
	c := open(t, func(c *cafe) { news.cafe = c; c.e.Store = news })
	c.arrive(1, 3)
	c.sim.SetKnobs(routersim.Knobs{CoASilent: true}) // the attempt waits for an answer, so the loop reads again meanwhile
	c.lock(nameOf(1), func(t *hotspot.Target) { t.Lock, t.Reason = nil, hotspot.OffKicked })
	c.poke()
	<-news.reading
	c.proof(nameOf(1))
	c.mu.Lock()
	delete(c.refuse, nameOf(1))
	c.mu.Unlock()
	c.arrive(1, 3)
	time.Sleep(backOffFirst + 100*time.Millisecond) // the back-off is over: only the age of the reading speaks against another attempt
	close(news.back)
	c.lock(nameOf(2)) // when this one is proven, the loop has gone on
	c.proof(nameOf(2))
	c.untouched(macOf(1), 3)
}

// silent is a connection on which nothing comes back any more.
type silent struct{ routeros.Conn }

func (silent) Run(ctx context.Context, _ ...string) ([]routeros.Row, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// The connection table is read beside the lock's own commands where a connection is
// free for it. One that is in use, or that dies meanwhile, costs the lock nothing.
func TestALockNeedsNoSecondConnection(t *testing.T) {
	for name, spoil := range map[string]func(*link){
		"in use":     func(l *link) { l.turn <- struct{}{} },
		"never made": func(l *link) { l.close() },
		"dead":       func(l *link) { l.turn <- struct{}{}; l.conn.Close(); <-l.turn },
		"silent":     func(l *link) { l.turn <- struct{}{}; l.conn = silent{l.conn}; <-l.turn },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t, func(c *cafe) { c.e.Poll = 0 })
			c.arrive(1, 5)
			c.arrive(2, 5)
			c.lock(nameOf(1)) // both connections are made
			c.proof(nameOf(1))
			watcher := c.e.nases[0].watcher
			spoil(watcher)
			c.lock(nameOf(2))
			if p := c.proof(nameOf(2)); p.Outcome != hotspot.OutcomeEnforced {
				t.Errorf("got %s (%s)", p.Outcome, p.Code)
			}
			c.off(macOf(2))
			if name == "in use" {
				<-watcher.turn
			}
		})
	}
}
