package router

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// script is a router of a few tables, with a say in every command.
type script struct {
	mu    sync.Mutex
	menus map[string][]routeros.Row
	// before, when set, sees each command first; an error is the answer.
	before func(command string, words []string) error
	said   []string
	dials  int
	refuse error // of dial
}

func (s *script) dial(context.Context) (routeros.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.refuse != nil {
		return nil, s.refuse
	}
	return &scriptConn{s: s}, nil
}

type scriptConn struct {
	s    *script
	dead bool
}

func (c *scriptConn) Close() error { c.dead = true; return nil }

func trap(message string, reason routeros.Reason) error {
	return &routeros.Trap{Message: message, Reason: reason, Category: -1}
}

func (c *scriptConn) Run(_ context.Context, words ...string) ([]routeros.Row, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.dead {
		return nil, errors.New("used after it died")
	}
	c.s.said = append(c.s.said, strings.Join(words, " "))
	if c.s.before != nil {
		if err := c.s.before(words[0], words[1:]); err != nil {
			return nil, err
		}
	}
	i := strings.LastIndex(words[0], "/")
	menu, verb := words[0][:i], words[0][i+1:]
	if verb == "remove" {
		for id := range strings.SplitSeq(strings.TrimPrefix(words[1], "=.id="), ",") {
			at := slices.IndexFunc(c.s.menus[menu], func(r routeros.Row) bool { return r[".id"] == id })
			if at < 0 {
				return nil, trap("no such item", routeros.NoSuchItem)
			}
			c.s.menus[menu] = slices.Delete(c.s.menus[menu], at, at+1)
		}
		return nil, nil
	}
	rows, ok := c.s.menus[menu]
	if !ok {
		return nil, trap("no such command prefix", routeros.NoSuchCommand)
	}
	var out []routeros.Row
	for _, r := range rows {
		match := true
		for _, w := range words[1:] {
			if k, v, ok := strings.Cut(strings.TrimPrefix(w, "?"), "="); ok && strings.HasPrefix(w, "?") {
				match = match && r[k] == v
			}
		}
		if match {
			out = append(out, r)
		}
	}
	return out, nil
}

// guestRouter has one device: logged out, as after a Disconnect-Request, with a
// connection of before.
func guestRouter() *script {
	return &script{menus: map[string][]routeros.Row{
		"/ip/hotspot/active": {}, "/ip/hotspot/cookie": {}, "/ip/hotspot/user": {}, "/ip/hotspot/ip-binding": {},
		"/ip/hotspot":         {rule("name=hs", "interface=vlan20", "profile=p")},
		"/ip/hotspot/host":    {rule(".id=*5", "mac-address="+macOf(1), "address=192.168.7.7", "to-address=10.20.0.7", "authorized=false", "bypassed=false")},
		"/ip/address":         {rule("address=10.20.0.1/22", "interface=vlan20")},
		"/ip/firewall/filter": {},
		"/system/identity":    {rule("name=CAFE1")},
		"/system/resource":    {rule("version=7.23.7 (long-term)", "board-name=hAP ax2", "uptime=1w2d")},
		"/ip/hotspot/profile": {},
		"/ip/firewall/connection": {rule(".id=*A1", "protocol=tcp", "src-address=192.168.7.7:4000", "dst-address=198.51.100.1:443", "reply-src-address=198.51.100.1:443"),
			rule(".id=*A2", "protocol=tcp", "src-address=192.168.7.70:4000", "dst-address=198.51.100.1:443"),
			rule(".id=*A3", "protocol=udp", "src-address=198.51.100.9:4000", "dst-address=10.20.0.7")},
	}}
}

// attemptAt makes one attempt on a router at a device of account a.
func attemptAt(t *testing.T, s *script, change func(*hotspot.Target)) hotspot.Proof {
	t.Helper()
	m, _ := hotspot.ParseMAC(macOf(1))
	target := hotspot.Target{Account: "a", Reason: hotspot.OffLocked, Lock: &hotspot.Lock{Revision: 1}, Usernames: []string{"a"}, Whole: true,
		ReceivedAt: time.Now(), Sessions: []hotspot.Session{{ID: "s1", NAS: nasID, Username: "a", MAC: m, IP: address("10.20.0.7"), HostIP: address("192.168.7.7")}}}
	if change != nil {
		change(&target)
	}
	e := &Enforcer{Routers: []Router{{NAS: nasID, Dial: s.dial}}, Disconnector: answer{d: hotspot.Disconnected{Result: hotspot.ResultACK}}}
	e.init()
	var all sync.WaitGroup
	e.background = func(do func(context.Context)) { all.Go(func() { do(context.Background()) }) }
	a := newAttempt(e, e.nases[0], target, record{})
	a.run(context.Background(), context.Background())
	all.Wait()
	p, _ := conclude(target, []*attempt{a}, record{}, time.Now())
	return p
}

// answer is a Disconnector that always says the same.
type answer struct {
	d   hotspot.Disconnected
	err error
}

func (a answer) Disconnect(context.Context, hotspot.NASID, hotspot.Session) (hotspot.Disconnected, error) {
	return a.d, a.err
}

func TestConnectionsByEitherAddressAreDropped(t *testing.T) {
	s := guestRouter()
	p := attemptAt(t, s, nil)
	if p.Outcome != hotspot.OutcomeEnforced || p.Method != "disconnect" {
		t.Errorf("got %+v, want enforced", p)
	}
	if left := s.menus["/ip/firewall/connection"]; len(left) != 1 || left[0][".id"] != "*A2" {
		t.Errorf("left %v, want the other guest's alone, whose address only begins alike", left)
	}
}

// What a phone does after it was put off, and what it must not be able to do.
func TestNewConnectionsAfterwards(t *testing.T) {
	for _, tc := range []struct {
		name string
		row  routeros.Row
		want hotspot.Outcome
		code string
	}{
		{"DNS to the router", rule(".id=*B1", "protocol=udp", "src-address=192.168.7.7:5353", "dst-address=10.20.0.1:53"), hotspot.OutcomeEnforced, ""},
		{"DNS redirected to the router", rule(".id=*B1", "protocol=udp", "src-address=192.168.7.7:5353", "dst-address=8.8.8.8:53", "reply-src-address=10.20.0.1:64872"), hotspot.OutcomeEnforced, ""},
		{"from the router", rule(".id=*B1", "protocol=icmp", "src-address=10.20.0.1", "dst-address=192.168.7.7"), hotspot.OutcomeEnforced, ""},
		{"to the internet", rule(".id=*B1", "protocol=tcp", "src-address=192.168.7.7:5000", "dst-address=198.51.100.1:443", "reply-src-address=198.51.100.1:443"), hotspot.OutcomePending, CodeStillOn},
		{"from the internet", rule(".id=*B1", "protocol=tcp", "src-address=198.51.100.1:443", "dst-address=10.20.0.7:5000", "reply-src-address=10.20.0.7:5000"), hotspot.OutcomePending, CodeStillOn},
		{"of another guest", rule(".id=*B1", "protocol=tcp", "src-address=10.20.0.8:5000", "dst-address=198.51.100.1:443"), hotspot.OutcomeEnforced, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := guestRouter()
			removed := false
			s.before = func(command string, words []string) error {
				// It comes as soon as the old ones are gone, and again when it is removed.
				if removed = removed || command == "/ip/firewall/connection/remove"; removed && command == "/ip/firewall/connection/print" {
					s.menus["/ip/firewall/connection"] = []routeros.Row{tc.row}
				}
				return nil
			}
			if p := attemptAt(t, s, nil); p.Outcome != tc.want || p.Code != tc.code {
				t.Errorf("got %s %q, want %s %q: %+v", p.Outcome, p.Code, tc.want, tc.code, p.Steps)
			}
		})
	}
}

// One step failing does not keep the others from being done, and no proof comes
// of a read-back that did not see everything.
func TestAnyStepMayFailAlone(t *testing.T) {
	denied := func(menu string) error {
		return fault.New(fault.Denied, "", trap("not enough permissions (9)", routeros.NoRights)).WithCode("RTR-105", "give it the right")
	}
	for _, menu := range []string{"/ip/hotspot/cookie", "/ip/hotspot/active", "/ip/hotspot/host", "/ip/firewall/connection", "/ip/hotspot/ip-binding", "/ip/hotspot/user", "/ip/firewall/filter"} {
		s := guestRouter()
		s.before = func(command string, words []string) error {
			if strings.HasPrefix(command, menu+"/") {
				return denied(menu)
			}
			return nil
		}
		p := attemptAt(t, s, nil)
		if p.Outcome != hotspot.OutcomePending || p.Code != "RTR-105" {
			t.Errorf("%s: got %s %q, want pending RTR-105", menu, p.Outcome, p.Code)
		}
		inOrder(t, p)
		if last := p.Steps[len(p.Steps)-1]; last.OK || !strings.Contains(last.Detail, "permissions") {
			t.Errorf("%s: the read-back says %v %q, want why it failed", menu, last.OK, last.Detail)
		}
	}
}

func TestGoneMeanwhileIsSuccess(t *testing.T) {
	s := guestRouter()
	s.menus["/ip/hotspot/cookie"] = []routeros.Row{rule(".id=*1", "user=a"), rule(".id=*2", "user=a"), rule(".id=*3", "user=a"), rule(".id=*4", "user=b")}
	first := true
	s.before = func(command string, words []string) error {
		if command == "/ip/hotspot/cookie/remove" && first { // the router dropped one itself
			first = false
			s.menus["/ip/hotspot/cookie"] = slices.DeleteFunc(s.menus["/ip/hotspot/cookie"], func(r routeros.Row) bool { return r[".id"] == "*2" })
		}
		return nil
	}
	p := attemptAt(t, s, nil)
	if p.Outcome != hotspot.OutcomeEnforced || !p.Steps[1].OK {
		t.Errorf("got %+v, want enforced, the cookie step well", p)
	}
	if left := s.menus["/ip/hotspot/cookie"]; len(left) != 1 || left[0]["user"] != "b" {
		t.Errorf("left %v, want the cookie of b alone", left)
	}
	removes := slices.DeleteFunc(s.said, func(w string) bool { return !strings.HasPrefix(w, "/ip/hotspot/cookie/remove") })
	if len(removes) != 4 {
		t.Errorf("got %v, want all at once, then one by one, and nothing left for the read-back", removes)
	}
}

func TestLinkDialsAgain(t *testing.T) {
	s := guestRouter()
	l := newLink(s.dial)
	ask := func() error { _, err := l.do(context.Background(), "/system/identity/print"); return err }
	if err := ask(); err != nil || s.dials != 1 {
		t.Fatalf("first: %v, %d dials, want one", err, s.dials)
	}
	if err := ask(); err != nil || s.dials != 1 {
		t.Errorf("second: %v, %d dials, want the connection kept", err, s.dials)
	}
	cut := true
	s.before = func(string, []string) error {
		if cut {
			cut = false
			return errors.New("connection reset")
		}
		return nil
	}
	if err := ask(); err != nil || s.dials != 2 {
		t.Errorf("after a cut: %v, %d dials, want the command run again on a new connection", err, s.dials)
	}
	s.before = func(string, []string) error { return trap("no such item", routeros.NoSuchItem) }
	if err := ask(); routeros.ReasonOf(err) != routeros.NoSuchItem || s.dials != 2 {
		t.Errorf("a refusal: %v, %d dials, want the connection kept", err, s.dials)
	}
	s.before = func(string, []string) error { return errors.New("connection reset") }
	s.refuse = errors.New("refused")
	for range 5 {
		if err := ask(); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("router gone: got %v, want why", err)
		}
	}
	if s.dials != 3 {
		t.Errorf("%d dials at a router that is gone, want one and then a pause", s.dials-2)
	}
	s.refuse, s.before = nil, nil
	if err := l.ready(context.Background()); err != nil || s.dials != 4 {
		t.Errorf("router back: %v, %d dials, want no pause once it is known to answer", err, s.dials)
	}
}

func TestReadsAreSharedOnlyForward(t *testing.T) {
	s := guestRouter()
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	s.before = func(string, []string) error {
		entered <- struct{}{}
		s.mu.Unlock()
		<-leave
		s.mu.Lock()
		return nil
	}
	n := newNAS(Router{Dial: s.dial})
	read := func(rows chan<- int) {
		r, err := n.cookies.read(context.Background(), n.command)
		if err != nil {
			t.Error(err)
		}
		rows <- len(r)
	}
	first, later := make(chan int, 1), make(chan int, 10)
	go read(first)
	<-entered // it has begun: it may not see what happens from now on
	s.mu.Lock()
	s.menus["/ip/hotspot/cookie"] = append(s.menus["/ip/hotspot/cookie"], rule("user=late"))
	s.mu.Unlock()
	for range 10 {
		go read(later)
	}
	time.Sleep(20 * time.Millisecond) // time for all ten to ask while one read runs
	close(leave)
	for range 10 {
		if got := <-later; got != 1 {
			t.Errorf("a read asked for after the cookie came: got %d rows, want 1", got)
		}
	}
	<-first
	if len(s.said) > 4 { // the ten may have asked in two groups, hardly in more
		t.Errorf("%d reads for eleven askers, want them shared: %v", len(s.said), s.said)
	}
}

func TestWithoutAPI(t *testing.T) {
	ack, nak := hotspot.Disconnected{Result: hotspot.ResultACK}, hotspot.Disconnected{Result: hotspot.ResultNAK, ErrorCause: 503}
	session := []hotspot.Session{{ID: "s", NAS: nasID, Username: "a"}}
	for _, tc := range []struct {
		name     string
		answer   answer
		sessions []hotspot.Session
		outcome  hotspot.Outcome
		method   string
		code     string
	}{
		{"acknowledged, and no Stop", answer{d: ack}, session, hotspot.OutcomePending, "disconnect", CodeNoStop},
		{"no such session, and no Stop", answer{d: nak}, session, hotspot.OutcomePending, "nothing_to_do", CodeNoStop},
		{"refused", answer{d: hotspot.Disconnected{Result: hotspot.ResultNAK, ErrorCause: 501}}, session, hotspot.OutcomePending, "nothing_to_do", CodeNotEnded},
		{"silent", answer{d: hotspot.Disconnected{Result: hotspot.ResultTimeout}}, session, hotspot.OutcomePending, "nothing_to_do", CodeNoAnswer},
		{"cannot be asked", answer{err: errors.New("no address")}, session, hotspot.OutcomePending, "nothing_to_do", CodeNoAnswer},
		{"nobody on", answer{d: ack}, nil, hotspot.OutcomeUnproven, "reject_only", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &cafe{t: t, proven: make(chan hotspot.Proof, 10), targets: map[hotspot.AccountID]hotspot.Target{}, refuse: map[string]bool{}, wake: make(chan struct{}, 1)}
			c.e = &Enforcer{Routers: []Router{{NAS: nasID}}, Store: c, Disconnector: tc.answer, Wake: c.wake}
			c.serve()
			defer c.stop()
			c.lock("a", func(t *hotspot.Target) { t.Sessions = tc.sessions })
			p := c.proof("a")
			if p.Outcome != tc.outcome || p.Method != tc.method || p.Code != tc.code {
				t.Errorf("got %s %s %q, want %s %s %q", p.Outcome, p.Method, p.Code, tc.outcome, tc.method, tc.code)
			}
			if h := c.e.Health(); len(h) != 1 || h[0].API || h[0].Reachable {
				t.Errorf("health %+v, want no API", h)
			}
		})
	}
}

// Without an API an answer alone is no end: the accounting Stop must come too,
// soon or late.
func TestWithoutAPITheStopEndsIt(t *testing.T) {
	for _, tc := range []struct {
		name    string
		d       hotspot.Disconnected
		after   time.Duration // the Stop, from the first proof on; less than 0: before it
		pending int           // proofs ahead of the final one
		method  string
	}{
		{"at once", hotspot.Disconnected{Result: hotspot.ResultACK}, -30 * time.Millisecond, 0, "disconnect"},
		{"late", hotspot.Disconnected{Result: hotspot.ResultACK}, 200 * time.Millisecond, 1, "disconnect"},
		{"late, of a session that is not there", hotspot.Disconnected{Result: hotspot.ResultNAK, ErrorCause: 503}, 200 * time.Millisecond, 1, "reject_only"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := &cafe{t: t, proven: make(chan hotspot.Proof, 10), targets: map[hotspot.AccountID]hotspot.Target{}, refuse: map[string]bool{}, wake: make(chan struct{}, 1),
				sessions: map[hotspot.SessionID]hotspot.Session{"s": {ID: "s", NAS: nasID, Username: "a", State: hotspot.Live}}}
			c.e = &Enforcer{Routers: []Router{{NAS: nasID}}, Store: c, Disconnector: answer{d: tc.d}, Wake: c.wake}
			c.serve()
			defer c.stop()
			stop := func() {
				c.mu.Lock()
				c.sessions["s"] = hotspot.Session{ID: "s", NAS: nasID, Username: "a", State: hotspot.Closed}
				c.mu.Unlock()
				c.poke()
			}
			c.lock("a")
			if tc.after < 0 {
				time.AfterFunc(-tc.after, stop)
			}
			for range tc.pending {
				if p := c.proof("a"); p.Outcome != hotspot.OutcomePending || p.Code != CodeNoStop {
					t.Fatalf("before the Stop: got %s %q, want pending with %s", p.Outcome, p.Code, CodeNoStop)
				}
			}
			if tc.after > 0 {
				time.AfterFunc(tc.after, stop)
			}
			begun := time.Now()
			p := c.proof("a")
			if p.Outcome != hotspot.OutcomeUnproven || p.Method != tc.method || p.Code != "" {
				t.Errorf("after the Stop: got %s %s %q, want unproven by %s", p.Outcome, p.Method, p.Code, tc.method)
			}
			if took := time.Since(begun); took > backOffFirst {
				t.Errorf("concluded %v after the proof before, want it at the Stop", took)
			}
			if tc.pending == 0 && !slices.ContainsFunc(p.Steps, func(s hotspot.Step) bool { return s.Name == hotspot.StepStop && s.OK }) {
				t.Errorf("got steps %+v, want the Stop among them", p.Steps)
			}
		})
	}
}

// An account is as badly off as on its worst NAS.
func TestSeveralNASes(t *testing.T) {
	good, gone := guestRouter(), guestRouter()
	gone.refuse = fault.New(fault.Unavailable, "connect", errors.New("refused")).WithCode("RTR-102", "switch it on")
	fast := guestRouter()
	fast.menus["/ip/firewall/filter"] = []routeros.Row{rule("chain=forward", "action=fasttrack-connection")}
	for _, tc := range []struct {
		name    string
		routers []Router
		outcome hotspot.Outcome
		code    string
	}{
		{"both clean", []Router{{NAS: "n1", Dial: good.dial}, {NAS: "n2", Dial: guestRouter().dial}}, hotspot.OutcomeEnforced, ""},
		{"one leaks", []Router{{NAS: "n1", Dial: good.dial}, {NAS: "n2", Dial: fast.dial}}, hotspot.OutcomeLeaks, CodeFasttrack},
		{"one has no API", []Router{{NAS: "n1", Dial: good.dial}, {NAS: "n2"}}, hotspot.OutcomeUnproven, ""},
		{"one is away", []Router{{NAS: "n1", Dial: gone.dial}, {NAS: "n2", Dial: fast.dial}}, hotspot.OutcomePending, "RTR-102"},
		{"none", nil, hotspot.OutcomeUnproven, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &cafe{t: t, proven: make(chan hotspot.Proof, 10), targets: map[hotspot.AccountID]hotspot.Target{}, refuse: map[string]bool{}, wake: make(chan struct{}, 1)}
			c.e = &Enforcer{Routers: tc.routers, Store: c, Wake: c.wake}
			c.serve()
			defer c.stop()
			c.lock("a")
			p := c.proof("a")
			if p.Outcome != tc.outcome || p.Code != tc.code {
				t.Errorf("got %s %q, want %s %q", p.Outcome, p.Code, tc.outcome, tc.code)
			}
			if len(tc.routers) == 2 {
				for _, s := range p.Steps[1:] {
					if s.Name == hotspot.StepDisconnect && (!strings.Contains(s.Detail, "n1: ") || !strings.Contains(s.Detail, "n2: ")) {
						t.Errorf("step %s says %q, want both NASes named", s.Name, s.Detail)
					}
				}
			}
		})
	}
}

func TestFailedAttemptsAreSpacedOut(t *testing.T) {
	var a account
	target := hotspot.Target{Account: "a", Reason: hotspot.OffLocked, Lock: &hotspot.Lock{Revision: 1}, Sessions: []hotspot.Session{{ID: "s1"}}}
	a.take(target, time.Now(), time.Now())
	e := &Enforcer{Routers: nil}
	e.init()
	e.accounts["a"] = &a
	want := []time.Duration{1, 2, 4, 8, 16, 30, 30}
	for i, w := range want {
		e.running++
		e.finish(target, ending{text: "no"})
		if got := time.Until(a.next).Round(time.Second); got != w*time.Second {
			t.Errorf("after failure %d: got a pause of %v, want %vs", i+1, got, int(w))
		}
	}
	if a.take(target, time.Now(), time.Now()); time.Until(a.next) < 20*time.Second {
		t.Error("the same wish again cut the pause short")
	}
	target.Sessions = append(target.Sessions, hotspot.Session{ID: "s2"})
	if a.take(target, time.Now(), time.Now()); time.Until(a.next) > 0 {
		t.Error("a new session was not tried at once")
	}
	e.finish(target, ending{text: "no"})
	target.Lock = &hotspot.Lock{Revision: 2}
	if a.take(target, time.Now(), time.Now()); time.Until(a.next) > 0 || a.tries != 0 {
		t.Error("a new lock was not tried at once")
	}
}
