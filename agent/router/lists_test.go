package router

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
)

// wishlist is a Lists of tests, and the cafe whose lists it is about.
type wishlist struct {
	*cafe
	wake chan struct{}
	sent *recorder // what the keepers of lists and all others say

	mu      sync.Mutex
	entries map[listKey]hotspot.ListEntry
	until   map[listKey]time.Time // zero: a session's
	names   map[string]bool
	settled map[hotspot.GrantID]hotspot.GrantState
	told    int
	fail    error
}

func openLists(t testing.TB, rest bool) *wishlist {
	t.Helper()
	w := &wishlist{wake: make(chan struct{}, 1), sent: new(recorder), entries: map[listKey]hotspot.ListEntry{}, until: map[listKey]time.Time{}, names: map[string]bool{},
		settled: map[hotspot.GrantID]hotspot.GrantState{}}
	w.cafe = open(t, func(c *cafe) {
		c.rest = rest
		c.e.Lists, c.e.ListWake = w, w.wake
		dial := c.e.Routers[0].Dial
		c.e.Routers[0].Dial = func(ctx context.Context) (routeros.Conn, error) {
			conn, err := dial(ctx)
			if err == nil {
				conn = recorded{conn, w.sent}
			}
			return conn, err
		}
	})
	return w
}

// again stops the Enforcer and starts another, which knows nothing.
func (w *wishlist) again() {
	w.stop()
	old := w.e
	w.e = &Enforcer{Routers: old.Routers, Store: old.Store, Disconnector: old.Disconnector, Lists: w, Wake: old.Wake, ListWake: w.wake, Poll: old.Poll}
	w.e.init()
	w.serve()
}

func (w *wishlist) WantedLists(context.Context) (out hotspot.WantedLists, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for k, e := range w.entries {
		if u := w.until[k]; !u.IsZero() {
			if e.Left = u.Sub(now); e.Left <= 0 {
				continue
			}
		}
		out.Entries = append(out.Entries, e)
	}
	out.Names = slices.Sorted(maps.Keys(w.names))
	return out, w.fail
}

func (w *wishlist) SettleGrants(_ context.Context, settled []hotspot.SettledGrant) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range settled {
		w.settled[s.ID] = s.State
		w.told++
	}
	return nil
}

func keyOf(list, address string) listKey {
	p, err := hotspot.ParseListAddress(address)
	if err != nil {
		panic(err)
	}
	return listKey{list, p}
}

// idOf is the grant that wants an entry in tests.
func idOf(k listKey) hotspot.GrantID {
	return hotspot.GrantID(k.list + " " + hotspot.FormatListAddress(k.address))
}

// put wants an entry for a time.
func (w *wishlist) put(list, address string, d time.Duration) listKey {
	k := keyOf(list, address)
	w.mu.Lock()
	w.entries[k] = hotspot.ListEntry{List: list, Address: k.address, Grants: []hotspot.GrantID{idOf(k)}, Comment: "for nadia"}
	w.until[k] = time.Now().Add(d)
	w.names[list] = true
	w.mu.Unlock()
	return k
}

func (w *wishlist) drop(k listKey) {
	w.mu.Lock()
	delete(w.entries, k)
	delete(w.until, k)
	w.mu.Unlock()
}

func (w *wishlist) ring() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// rows are what the router's lists hold, by list and address, asked for outside
// of what costs.
func (w *wishlist) rows() map[listKey][]map[string]string {
	w.t.Helper()
	out := map[listKey][]map[string]string{}
	for _, menu := range []string{"ip/firewall/address-list", "ipv6/firewall/address-list"} {
		rows, _, err := w.sim.Command("iwas", menu, "print", nil, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range rows {
			k := keyOf(r["list"], r["address"])
			out[k] = append(out[k], map[string]string(r))
		}
	}
	return out
}

// becomes waits until the router's lists are as a check wants them.
func (w *wishlist) becomes(what string, within time.Duration, check func(map[listKey][]map[string]string) error) {
	w.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		err := check(w.rows())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: %v; health %+v", what, err, w.e.Health()[0].Lists)
		}
	}
}

// holds is a check that ours are exactly these, one entry each with the end it
// should have.
func (w *wishlist) holds(keys ...listKey) func(map[listKey][]map[string]string) error {
	return func(rows map[listKey][]map[string]string) error {
		for k, all := range rows {
			for _, r := range all {
				if strings.HasPrefix(r["comment"], listTag) && !slices.Contains(keys, k) {
					return fmt.Errorf("%v should not be there: %v", k, r)
				}
			}
		}
		for _, k := range keys {
			if len(rows[k]) != 1 {
				return fmt.Errorf("%v is there %d times", k, len(rows[k]))
			}
			r := rows[k][0]
			left, err := routeros.ParseDuration(r["timeout"])
			w.mu.Lock()
			until := w.until[k]
			w.mu.Unlock()
			want := min(time.Until(until), longestTimeout)
			if until.IsZero() {
				want = sessionTimeout
			}
			if err != nil || (left-want).Abs() > endSlack+time.Second || r["disabled"] != "false" {
				return fmt.Errorf("%v has %v left (%v), want %v; disabled %v", k, left, err, want, r["disabled"])
			}
		}
		return nil
	}
}

// must runs a command on the router as a technician would.
func (w *wishlist) must(menu, verb string, args map[string]string) string {
	w.t.Helper()
	_, ret, err := w.sim.Command("iwas", menu, verb, args, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return ret
}

const v4List, v6List = "ip/firewall/address-list", "ipv6/firewall/address-list"

// doors runs a test over both.
func doors(t *testing.T, test func(t *testing.T, w *wishlist)) {
	for _, rest := range []bool{false, true} {
		t.Run(map[bool]string{false: "API", true: "REST"}[rest], func(t *testing.T) { test(t, openLists(t, rest)) })
	}
}

func TestListsHoldWhatIsWanted(t *testing.T) {
	doors(t, func(t *testing.T, w *wishlist) {
		w.must(v4List, "add", map[string]string{"list": "staff", "address": "198.51.100.1", "comment": "the owner's own"})
		host := w.put("staff", "203.0.113.7", time.Hour)
		net := w.put("staff", "203.0.113.0/24", 2*time.Hour)
		six := w.put("guests", "2001:db8::7", 300*24*time.Hour) // longer than the router keeps any
		w.ring()
		w.becomes("added", 5*time.Second, w.holds(host, net, six))
		r := w.rows()[host][0]
		if r["address"] != "203.0.113.7" || r["comment"] != "IWAS grant: for nadia" {
			t.Errorf("got %v, want a bare address with our mark", r)
		}
		if a := w.rows()[six][0]["address"]; a != "2001:db8::7/128" {
			t.Errorf("got %q, want an IPv6 host with its length", a)
		}

		// Another end: the same entry, set.
		id := r[".id"]
		w.put("staff", "203.0.113.7", 3*time.Hour)
		w.ring()
		w.becomes("extended", 5*time.Second, w.holds(host, net, six))
		if now := w.rows()[host][0][".id"]; now != id {
			t.Errorf("entry %s became %s, want it refreshed", id, now)
		}

		// Revoked: gone within a second.
		w.drop(net)
		begun := time.Now()
		w.ring()
		w.becomes("revoked", time.Second, w.holds(host, six))
		t.Logf("revoked in %v", time.Since(begun))

		// What is over goes by the router's own clock.
		w.put("staff", "203.0.113.99", 2*time.Second)
		w.ring()
		short := keyOf("staff", "203.0.113.99")
		w.becomes("a short one", 1500*time.Millisecond, func(rows map[listKey][]map[string]string) error {
			if len(rows[short]) != 1 {
				return errors.New("not there")
			}
			return nil
		})
		w.mu.Lock()
		end := w.until[short]
		w.mu.Unlock()
		w.becomes("over", time.Until(end)+time.Second, w.holds(host, six))
		if got := len(w.rows()[keyOf("staff", "198.51.100.1")]); got != 1 {
			t.Error("the owner's own entry is gone")
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, k := range []listKey{host, six} {
			if w.settled[idOf(k)] != hotspot.GrantInList {
				t.Errorf("grant %s is told to be %q, want in the list", idOf(k), w.settled[idOf(k)])
			}
		}
	})
}

func TestListsComeBackAfterARestartOfTheRouter(t *testing.T) {
	doors(t, func(t *testing.T, w *wishlist) {
		a, b := w.put("staff", "203.0.113.7", time.Hour), w.put("staff", "2001:db8::/64", time.Hour)
		w.ring()
		w.becomes("added", 5*time.Second, w.holds(a, b))
		w.sim.PowerCut(500 * time.Millisecond)
		w.becomes("after the restart", 10*time.Second, w.holds(a, b))
	})
}

// A restart of ours neither adds nor sets anything, and still takes out what is
// no longer wanted.
func TestARestartOfOursFindsItsEntries(t *testing.T) {
	w := openLists(t, false)
	a, b := w.put("staff", "203.0.113.7", time.Hour), w.put("guests", "203.0.113.8", time.Hour)
	w.ring()
	w.becomes("added", 5*time.Second, w.holds(a, b))
	w.stop()
	w.drop(b)
	w.sent.mu.Lock()
	w.sent.said = nil
	w.sent.mu.Unlock()
	w.again()
	w.becomes("after the restart", 5*time.Second, w.holds(a))
	w.sent.mu.Lock()
	defer w.sent.mu.Unlock()
	for _, s := range w.sent.said {
		if strings.HasSuffix(s[0], "address-list/add") || strings.HasSuffix(s[0], "address-list/set") {
			t.Errorf("said %q, want what is right left alone", s)
		}
		if strings.HasSuffix(s[0], "address-list/print") && !slices.ContainsFunc(s, func(word string) bool { return strings.HasPrefix(word, "?list=") }) {
			t.Errorf("said %q, want reads of our lists only", s)
		}
	}
}

func TestForeignEntriesStandForOurs(t *testing.T) {
	w := openLists(t, false)
	k := keyOf("staff", "203.0.113.7")
	foreign := w.must(v4List, "add", map[string]string{"list": "staff", "address": "203.0.113.7", "comment": "by hand"})
	w.put("staff", "203.0.113.7", time.Hour)
	own := w.put("staff", "203.0.113.8", time.Hour)
	w.ring()
	w.becomes("the other one is added", 5*time.Second, w.holds(own))
	state := func() hotspot.GrantState { w.mu.Lock(); defer w.mu.Unlock(); return w.settled[idOf(k)] }
	for deadline := time.Now().Add(5 * time.Second); state() != hotspot.GrantForeign; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("told as %q, want foreign; %+v", state(), w.e.Health()[0].Lists)
		}
	}
	if h := w.e.Health()[0].Lists; h.Wanted != 2 || h.In != 2 || h.Foreign != 1 || !h.Late.IsZero() {
		t.Errorf("got %+v, want both in, one of them foreign", h)
	}
	// One that came after our last read answers the add.
	w.must(v4List, "add", map[string]string{"list": "staff", "address": "203.0.113.9"})
	w.put("staff", "203.0.113.9", time.Hour)
	w.ring()
	for deadline := time.Now().Add(5 * time.Second); w.e.Health()[0].Lists.Foreign != 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, want the second foreign one seen", w.e.Health()[0].Lists)
		}
	}
	// It goes: ours comes.
	w.must(v4List, "remove", map[string]string{".id": foreign})
	w.e.nases[0].lists.doubt.Store(true)
	w.ring()
	w.becomes("in its place", 5*time.Second, func(rows map[listKey][]map[string]string) error {
		return w.holds(own, k)(rows)
	})
	// Ours end; theirs stay.
	for _, x := range []listKey{k, own, keyOf("staff", "203.0.113.9")} {
		w.drop(x)
	}
	w.ring()
	w.becomes("all revoked", 5*time.Second, func(rows map[listKey][]map[string]string) error {
		if len(rows) != 1 || len(rows[keyOf("staff", "203.0.113.9")]) != 1 {
			return fmt.Errorf("got %v, want the foreign one alone", rows)
		}
		return nil
	})
}

// Somebody changed our entries by hand: each is put right.
func TestOurEntriesArePutRight(t *testing.T) {
	for _, oneID := range []string{"", "refused", "ignored"} {
		t.Run("several ids are "+oneID, func(t *testing.T) {
			w := openLists(t, false)
			w.sim.SetKnobs(routersim.Knobs{OneID: oneID, Still: true})
			var keys []listKey
			for i := range 5 {
				keys = append(keys, w.put("staff", fmt.Sprintf("203.0.113.%d", i+1), time.Hour))
			}
			w.ring()
			w.becomes("added", 5*time.Second, w.holds(keys...))
			rows := w.rows()
			w.must(v4List, "set", map[string]string{".id": rows[keys[0]][0][".id"], "timeout": "10h"})
			w.must(v4List, "set", map[string]string{".id": rows[keys[1]][0][".id"], "timeout": "0s"})
			w.must(v4List, "set", map[string]string{".id": rows[keys[2]][0][".id"], "timeout": "5m"})
			w.must(v4List, "disable", map[string]string{".id": rows[keys[3]][0][".id"]})
			w.must(v4List, "remove", map[string]string{".id": rows[keys[4]][0][".id"]})
			for range 2 { // a second entry of ours, disabled
				w.must(v4List, "add", map[string]string{"list": "staff", "address": "203.0.113.1", "comment": "IWAS grant: twice", "disabled": "yes", "timeout": "1h"})
			}
			w.e.nases[0].lists.doubt.Store(true)
			w.ring()
			w.becomes("put right", 10*time.Second, w.holds(keys...))
		})
	}
}

// What a read shows of a timeout is what is left of it, or, as some say, what was
// set: neither makes us refresh it for ever.
func TestBothFormsOfATimeoutAreKnown(t *testing.T) {
	set := time.Now().Add(-30 * time.Minute)
	k := keyOf("staff", "203.0.113.7")
	for text, want := range map[string]bool{"30m": true, "29m59s": true, "1h": true, "10m": false, "2h": false, "": false} {
		l := newLister(Router{})
		l.have[k] = held{id: "*1", left: time.Hour, at: set}
		l.take([]routeros.Row{{".id": "*1", "list": "staff", "address": "203.0.113.7", "timeout": text, "comment": listTag, "disabled": "false"}}, time.Now(), func(o listKey) bool { return o == k })
		w := listWish{until: set.Add(time.Hour)}
		if got := w.fits(l.have[k], time.Now()); got != want {
			t.Errorf("a timeout of %q: taken as right %v, want %v", text, got, want)
		}
	}
}

// Sessions whose lists are kept over the API: on that router only, with the
// IPv6 addresses of the device; a lock takes them out before it is proven.
func TestListsOfASessionAndItsLock(t *testing.T) {
	doors(t, func(t *testing.T, w *wishlist) {
		g := w.arrive(1, 2)
		w.sim.Neighbour(macOf(1), "2001:db8::77")
		w.sim.Neighbour(macOf(1), "fe80::77")
		w.sim.Neighbour(macOf(2), "2001:db8::88")
		m, _ := hotspot.ParseMAC(macOf(1))
		k4, k6 := keyOf("paid", g.IP), keyOf("paid", "2001:db8::77")
		elsewhere := keyOf("paid", "10.99.0.1")
		w.mu.Lock()
		w.names["paid"] = true
		w.entries[k4] = hotspot.ListEntry{List: "paid", Address: k4.address, MAC: m, NAS: nasID, Account: "guest1", Comment: "Hour"}
		w.entries[elsewhere] = hotspot.ListEntry{List: "paid", Address: elsewhere.address, NAS: "another", Account: "guest9"}
		w.mu.Unlock()
		w.ring()
		w.becomes("in the lists of the session", 5*time.Second, w.holds(k4, k6))
		stays := w.put("paid", "10.77.0.1", time.Hour)
		w.ring()
		w.becomes("and a grant", 5*time.Second, w.holds(k4, k6, stays))
		w.drop(k4)
		w.lock(nameOf(1), func(t *hotspot.Target) { t.Lists = []string{"paid"} })
		p := w.proof(nameOf(1))
		if err := w.holds(stays)(w.rows()); err != nil {
			t.Errorf("as the lock is proven: %v", err)
		}
		i := slices.IndexFunc(p.Steps, func(s hotspot.Step) bool { return s.Name == hotspot.StepLists })
		if p.Outcome != hotspot.OutcomeEnforced || i < 0 || !p.Steps[i].OK || p.Steps[i].Detail != "2 entries taken out of paid" {
			t.Errorf("got %+v", p)
		}
		if c := slices.IndexFunc(p.Steps, func(s hotspot.Step) bool { return s.Name == hotspot.StepConnections }); c < i {
			t.Error("connections were dropped before the lists were left")
		}
	})
}

// A lock given while many entries are under way, on a router that is slow by now,
// goes first: nothing is put into a list while it is being enforced.
func TestALockGoesBeforeTheLists(t *testing.T) {
	w := openLists(t, false)
	w.arrive(1, 4)
	w.sim.SetKnobs(routersim.Knobs{CommandCost: true, Still: true})
	const n = 400
	for i := range n {
		w.put("staff", fmt.Sprintf("10.1.%d.%d", i>>8, i&255), time.Hour)
	}
	w.ring()
	w.becomes("under way", 20*time.Second, func(rows map[listKey][]map[string]string) error {
		if len(rows) < 180 {
			return errors.New("not yet")
		}
		return nil
	})
	w.sent.mu.Lock()
	from := len(w.sent.said)
	w.sent.mu.Unlock()
	begun := time.Now()
	w.lock(nameOf(1))
	p := w.proof(nameOf(1))
	took := time.Since(begun)
	there := len(w.rows())
	if p.Outcome != hotspot.OutcomeEnforced || there >= n {
		t.Errorf("got %+v with %d of %d entries there, want the lock proven before the lists are whole", p, there, n)
	}
	w.sent.mu.Lock()
	said := w.sent.said[from:]
	w.sent.mu.Unlock()
	isCookies := func(s []string) bool { return s[0] == "/ip/hotspot/cookie/print" }
	first, last, between := slices.IndexFunc(said, isCookies), 0, 0
	for i, s := range said {
		if isCookies(s) {
			last = i
		}
	}
	for _, s := range said[max(first, 0):last] {
		if strings.HasSuffix(s[0], "address-list/add") {
			between++
		}
	}
	if first < 0 || between > 1 { // one may have been on its way
		t.Errorf("%d entries were added between the first step of the lock and its read-back, want none", between)
	}
	w.becomes("whole after it", 60*time.Second, func(rows map[listKey][]map[string]string) error {
		if len(rows) != n {
			return fmt.Errorf("%d of %d", len(rows), n)
		}
		return nil
	})
	t.Logf("locked and proven in %v, with %d of %d entries there", took, there, n)
}

// shaky fails commands at random, after or before the router carried them out.
type shaky struct {
	routeros.Conn
	s *shakes
}

type shakes struct {
	mu    sync.Mutex
	rng   *rand.Rand
	share float64
}

func (s *shakes) now() (fail, before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64() < s.share, s.rng.IntN(2) == 0
}

func (c shaky) Run(ctx context.Context, sentence ...string) ([]routeros.Row, error) {
	fail, before := c.s.now()
	if fail && before {
		c.Conn.Close()
		return nil, errors.New("cut before")
	}
	rows, err := c.Conn.Run(ctx, sentence...)
	if fail {
		c.Conn.Close()
		return nil, errors.New("cut after")
	}
	return rows, err
}

// TestListsConverge: whatever stands on the router, whatever is wanted, whatever
// fails on the way: in the end the lists hold what is wanted, once, and what is
// foreign is as it was.
func TestListsConverge(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 7))
	for round := range 6 {
		w := openLists(t, round%2 == 1)
		s := &shakes{rng: rand.New(rand.NewPCG(seed, uint64(round)))}
		w.stop()
		dial := w.e.Routers[0].Dial
		w.e.Routers[0].Dial = func(ctx context.Context) (routeros.Conn, error) {
			conn, err := dial(ctx)
			if err == nil {
				conn = shaky{conn, s}
			}
			return conn, err
		}
		address := func() string {
			if rng.IntN(4) == 0 {
				return netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x:0", rng.IntN(6))), 112+16*rng.IntN(2)).String()
			}
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(12)) &^ 1}), 31+rng.IntN(2)).String()
		}
		list := func() string { return []string{"a", "b", "c"}[rng.IntN(3)] }
		for range 25 { // what a router has collected
			args := map[string]string{"list": list(), "address": address()}
			menu := v4List
			if strings.Contains(args["address"], ":") {
				menu = v6List
			}
			if rng.IntN(2) == 0 {
				args["timeout"] = []string{"1h", "30m", "2h"}[rng.IntN(3)]
			}
			switch rng.IntN(3) {
			case 0:
				args["comment"] = "by hand"
			case 1:
				args["comment"] = listTag + ": of before"
			}
			if rng.IntN(5) == 0 {
				args["disabled"] = "yes"
			}
			_, _, _ = w.sim.Command("iwas", menu, "add", args, nil) // one that is there already is refused
		}
		for _, name := range []string{"a", "b", "c"} {
			w.names[name] = true
		}
		foreign := w.foreignRows()
		w.again()
		s.mu.Lock()
		s.share = 0.1
		s.mu.Unlock()
		for range 6 {
			for range rng.IntN(12) {
				w.put(list(), address(), time.Hour+time.Duration(rng.IntN(3))*30*time.Minute)
			}
			w.mu.Lock()
			for k := range w.entries {
				if rng.IntN(4) == 0 {
					delete(w.entries, k)
					delete(w.until, k)
				}
			}
			w.mu.Unlock()
			w.ring()
			time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond) // the wish changes at any moment of a pass
			if rng.IntN(4) == 0 {
				w.again()
			}
		}
		s.mu.Lock()
		s.share = 0
		s.mu.Unlock()
		w.ring()
		w.becomes(fmt.Sprintf("round %d", round), 30*time.Second, w.converged)
		if now := w.foreignRows(); !slices.Equal(now, foreign) {
			t.Errorf("round %d: foreign entries were\n%s\nand are\n%s", round, strings.Join(foreign, "\n"), strings.Join(now, "\n"))
		}
		w.sim.PowerCut(500 * time.Millisecond)
		w.becomes(fmt.Sprintf("round %d after a power cut", round), 30*time.Second, w.converged)
		w.stop()
		w.stop = func() {}
	}
}

// converged is a check that each wanted entry is there: ours with its end, or
// else one of somebody else in force; and that nothing else is ours.
func (w *wishlist) converged(rows map[listKey][]map[string]string) error {
	w.mu.Lock()
	var ours []listKey
	for k := range w.entries {
		stands := slices.ContainsFunc(rows[k], func(r map[string]string) bool {
			return !strings.HasPrefix(r["comment"], listTag) && r["disabled"] == "false"
		})
		if !stands {
			ours = append(ours, k)
		}
	}
	w.mu.Unlock()
	mine := map[listKey][]map[string]string{}
	for k, all := range rows {
		for _, r := range all {
			if strings.HasPrefix(r["comment"], listTag) {
				mine[k] = append(mine[k], r)
			}
		}
	}
	return w.holds(ours...)(mine)
}

// foreignRows are the entries without our mark, but for what moves by itself.
func (w *wishlist) foreignRows() (out []string) {
	for _, all := range w.rows() {
		for _, r := range all {
			if strings.HasPrefix(r["comment"], listTag) {
				continue
			}
			r = maps.Clone(r)
			if r["timeout"] != "" {
				r["timeout"] = "some"
			}
			out = append(out, fmt.Sprint(r))
		}
	}
	slices.Sort(out)
	return out
}

func TestListsThatDoNotSettleAreSaid(t *testing.T) {
	w := openLists(t, false)
	w.sim.SetKnobs(routersim.Knobs{APIDown: true})
	w.put("staff", "203.0.113.7", time.Hour)
	w.ring()
	late := func() ListHealth { return w.e.Health()[0].Lists }
	for deadline := time.Now().Add(5 * time.Second); late().Late.IsZero(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, want it said that the lists wait", late())
		}
	}
	if h := late(); h.Code == "" || h.Err == "" {
		t.Errorf("got %+v, want a code and a reason", h)
	}
	w.sim.SetKnobs(routersim.Knobs{})
	w.becomes("the router is back", 15*time.Second, w.holds(keyOf("staff", "203.0.113.7")))
	for deadline := time.Now().Add(5 * time.Second); !late().Late.IsZero(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %+v, want it said that all is well", late())
		}
	}
}

// BenchmarkLists measures how long a whole new list takes, entries each.
func BenchmarkLists(b *testing.B) {
	for _, bc := range []struct {
		name    string
		entries int
		knobs   routersim.Knobs
		cost    func(commands int) time.Duration
	}{
		{"5000 at 1 ms", 5000, routersim.Knobs{Stall: time.Millisecond, StallAt: v4List}, func(n int) time.Duration { return time.Duration(n) * time.Millisecond }},
		{"5000 throttled", 5000, routersim.Knobs{CommandCost: true}, func(n int) time.Duration {
			return 150*time.Millisecond + time.Duration(max(0, n-150))*20*time.Millisecond
		}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				w := openLists(b, false)
				w.stop()
				w.e.Poll = time.Hour
				for i := range bc.entries {
					w.put("staff", fmt.Sprintf("10.1.%d.%d", i>>8, i&255), time.Hour)
				}
				w.sim.SetKnobs(bc.knobs)
				before := w.sim.Counters().Commands
				b.StartTimer()
				begun := time.Now()
				w.again()
				for w.e.Health()[0].Lists.In < bc.entries {
					time.Sleep(time.Millisecond)
				}
				took := time.Since(begun)
				commands := w.sim.Counters().Commands - before
				b.ReportMetric(took.Seconds(), "s-settled")
				b.ReportMetric(float64(commands), "commands")
				b.ReportMetric(float64(took)/float64(bc.cost(commands)), "of-commands×cost")
				b.StopTimer()
				w.stop()
				w.sim.Close()
				b.StartTimer()
			}
		})
	}
}
