package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// grants is a site whose date can be doubted and whose running time tests move.
type grants struct {
	*site
	doubt bool
	ran   time.Duration
}

func newGrants(t *testing.T) *grants {
	g := &grants{site: newSite(t)}
	g.must(g.Close())
	g.o.DateTrusted = func() bool { return !g.doubt }
	g.o.Elapsed = func() time.Duration { return g.ran }
	g.open()
	g.start()
	return g
}

// pass lets time go by, for both clocks.
func (g *grants) pass(d time.Duration) {
	g.clock.Add(d)
	g.ran += d
}

func (g *grants) add(list, address string, d time.Duration) hotspot.Grant {
	g.t.Helper()
	made, err := g.AddGrant(context.Background(), GrantAsk{List: list, Address: address, For: d, Comment: "why", By: "nadia"})
	g.must(err)
	return made
}

// doc is a grant document of the cloud.
func (g *grants) doc(id, list, address string, left time.Duration) {
	g.cloud.put(wire.DocGrant, id, wire.GrantDoc{List: list, Address: address, Until: g.clock.Now().Add(left), By: "owner", At: g.clock.Now()})
}

// wanted lists what should be in the lists, as text with what is left.
func (g *grants) wanted() []string {
	g.t.Helper()
	w, err := g.WantedLists(context.Background())
	g.must(err)
	out := []string{}
	for _, e := range w.Entries {
		if !slices.Contains(w.Names, e.List) {
			g.t.Errorf("%s is wanted, and not among the lists %v", e.List, w.Names)
		}
		out = append(out, fmt.Sprintf("%s %s %s", e.List, hotspot.FormatListAddress(e.Address), e.Left))
	}
	return out
}

func (g *grants) want(what string, want ...string) {
	g.t.Helper()
	if got := g.wanted(); !slices.Equal(got, want) {
		g.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (g *grants) told(kind wire.EventKind) []string {
	g.t.Helper()
	out := []string{}
	for _, e := range g.events() {
		if e.Kind == kind {
			out = append(out, string(e.Body))
		}
	}
	return out
}

func TestGrantsOfTheCloudAndOfTheSite(t *testing.T) {
	g := newGrants(t)
	ticks, cancel := g.ListsChanged()
	defer cancel()
	g.doc("g1", "staff", "203.0.113.7/32", time.Hour)
	g.doc("g2", "staff", "2001:db8::7", 2*time.Hour)
	g.apply()
	select {
	case <-ticks:
	default:
		t.Error("a grant of the cloud rings no bell")
	}
	own := g.add("guests", "10.0.0.9/8", 30*time.Minute)
	select {
	case <-ticks:
	default:
		t.Error("a grant made here rings no bell")
	}
	want := []string{"guests 10.0.0.0/8 30m0s", "staff 2001:db8::7/128 2h0m0s", "staff 203.0.113.7 1h0m0s"}
	g.want("made", want...)
	g.reopen()
	g.want("after a restart", want...)
	if made := g.told(wire.EventGrantMade); len(made) != 1 || !json.Valid([]byte(made[0])) {
		t.Errorf("told %q, want the one made here", made)
	}
	// It comes back as a document of the same id: the same grant.
	g.cloud.put(wire.DocGrant, string(own.ID), wire.FromGrant(own))
	g.apply()
	g.want("with its document", want...)
	g.pass(30 * time.Minute)
	g.want("one is over", "staff 2001:db8::7/128 1h30m0s", "staff 203.0.113.7 30m0s")
	g.cloud.drop(wire.DocGrant, "g1")
	g.cloud.drop(wire.DocGrant, string(own.ID))
	g.apply()
	g.want("one is revoked", "staff 2001:db8::7/128 1h30m0s")
}

func TestTheLatestOfTwoEndsHolds(t *testing.T) {
	g := newGrants(t)
	short := g.add("staff", "203.0.113.7", time.Hour)
	long := g.add("staff", "203.0.113.7/32", 3*time.Hour)
	g.want("two for one address", "staff 203.0.113.7 3h0m0s")
	w, err := g.WantedLists(t.Context())
	g.must(err)
	if ids := w.Entries[0].Grants; len(ids) != 2 || !slices.Contains(ids, short.ID) || !slices.Contains(ids, long.ID) {
		t.Errorf("wanted by %v, want both", ids)
	}
	if n, err := g.RemoveGrant(t.Context(), long.ID, "", "", "nadia"); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	g.want("the longer one is removed", "staff 203.0.113.7 1h0m0s")
	if n, err := g.RemoveGrant(t.Context(), "", "staff", "203.0.113.7", "nadia"); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	g.want("all are removed")
	if _, err := g.RemoveGrant(t.Context(), "", "staff", "203.0.113.7", "nadia"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want that there is none", err)
	}
}

// A grant of the cloud that was removed here while the cloud was away stays out,
// whatever the cloud sends before it has heard of it.
func TestAGrantRemovedHereStaysOut(t *testing.T) {
	g := newGrants(t)
	g.doc("g1", "staff", "203.0.113.7", time.Hour)
	g.apply()
	_, err := g.RemoveGrant(t.Context(), "g1", "", "", "nadia")
	g.must(err)
	g.want("removed here")
	g.doc("g1", "staff", "203.0.113.7", time.Hour)
	g.doc("g2", "staff", "203.0.113.8", time.Hour)
	for _, part := range g.cloud.snapshot("s2", 1) {
		g.must(g.send(part))
	}
	g.reopen()
	g.want("after a snapshot that has it", "staff 203.0.113.8 1h0m0s")
	if removed := g.told(wire.EventGrantRemoved); len(removed) != 1 || removed[0] != `{"id":"g1","by":"nadia"}` {
		t.Errorf("told %q, want the removal once", removed)
	}
}

// While the date is not trusted a grant ends by the time the program has run.
func TestGrantsWhileTheDateIsNotTrusted(t *testing.T) {
	g := newGrants(t)
	g.doc("g1", "staff", "203.0.113.7", time.Hour)
	st := g.cloud.delta()
	st.Time = g.clock.Now()
	g.clock.Add(-400 * 24 * time.Hour) // our clock is wrong
	g.doubt = true
	g.must(g.send(st))
	g.want("arrived", "staff 203.0.113.7 1h0m0s")
	if _, err := g.AddGrant(t.Context(), GrantAsk{List: "staff", Address: "203.0.113.9", Until: g.clock.Now().Add(time.Hour)}); !fault.Is(err, fault.Conflict) {
		t.Errorf("got %v, want an end by a date refused", err)
	}
	own := g.add("staff", "203.0.113.8", 10*time.Minute)
	if !own.Until.IsZero() {
		t.Errorf("got an end of %v by a date nobody trusts", own.Until)
	}
	g.pass(4 * time.Minute)
	g.must(g.Sweep(t.Context()))
	g.clock.Add(48 * time.Hour) // a jump
	g.want("after a jump", "staff 203.0.113.7 56m0s", "staff 203.0.113.8 6m0s")
	g.reopen()
	g.ran += time.Minute
	g.want("after a restart", "staff 203.0.113.7 55m0s", "staff 203.0.113.8 5m0s")
	g.ran += 5 * time.Minute
	g.want("one is over", "staff 203.0.113.7 50m0s")
	g.doc("g2", "staff", "203.0.113.11", 4*time.Minute)
	st = g.cloud.delta()
	st.Time = g.clock.Now()
	g.must(g.send(st))
	g.want("for a short time", "staff 203.0.113.11 4m0s", "staff 203.0.113.7 50m0s")
	g.ran += 4 * time.Minute
	g.want("that is over", "staff 203.0.113.7 46m0s")
	last := g.add("staff", "203.0.113.10", 20*time.Minute)

	// The date is right again: the one without an end gets one, and the cloud hears.
	g.clock.mu.Lock()
	g.clock.at = noon.Add(10 * time.Minute)
	g.clock.mu.Unlock()
	g.doubt = false
	g.must(g.Sweep(t.Context()))
	g.want("dated", "staff 203.0.113.10 20m0s", "staff 203.0.113.7 50m0s")
	var again wire.GrantMade
	made := g.told(wire.EventGrantMade)
	g.must(json.Unmarshal([]byte(made[len(made)-1]), &again))
	if want := noon.Add(30 * time.Minute); again.ID != last.ID || !again.Until.Equal(want) {
		t.Errorf("told %+v, want grant %s until %v", again, last.ID, want)
	}
	// What is over by the right date does not come back when it is doubted anew.
	g.clock.Add(time.Hour)
	g.must(g.Sweep(t.Context()))
	g.doubt = true
	g.want("over, and doubted")
}

// A cloud restored from before a grant was made on site does not take it away.
func TestAGrantMadeHereOutlivesARestoredCloud(t *testing.T) {
	g := newGrants(t)
	own := g.add("staff", "203.0.113.8", time.Hour)
	g.cloud.put(wire.DocGrant, string(own.ID), wire.FromGrant(own))
	g.doc("g1", "staff", "203.0.113.7", time.Hour)
	g.apply()
	g.cloud.lineage = "l2"
	g.cloud.drop(wire.DocGrant, string(own.ID))
	g.cloud.drop(wire.DocGrant, "g1")
	for _, part := range g.cloud.snapshot("s2", 10) {
		g.must(g.send(part))
	}
	g.want("after the restore", "staff 203.0.113.8 1h0m0s")
	if made := g.told(wire.EventGrantMade); len(made) != 2 || made[0] != made[1] {
		t.Errorf("told %q, want the one made here twice", made)
	}
}

func TestGrantsThatCannotBeMeantAreRefusedHere(t *testing.T) {
	g := newGrants(t)
	for name, a := range map[string]GrantAsk{
		"no list":     {Address: "203.0.113.7", For: time.Hour},
		"bad list":    {List: `a" b`, Address: "203.0.113.7", For: time.Hour},
		"everybody":   {List: "staff", Address: "0.0.0.0/0", For: time.Hour},
		"in the past": {List: "staff", Address: "203.0.113.7", Until: noon.Add(-time.Hour)},
		"too long":    {List: "staff", Address: "203.0.113.7", For: 400 * 24 * time.Hour},
	} {
		if made, err := g.AddGrant(t.Context(), a); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %+v, %v, want a refusal", name, made, err)
		}
	}
	g.want("refused")
	// One that came as a document is kept, counted, and not in force.
	g.cloud.put(wire.DocGrant, "g1", wire.GrantDoc{List: "a b", Address: "203.0.113.7", Until: noon.Add(time.Hour)})
	g.apply()
	g.want("not in force")
	if h, err := g.Standing(t.Context()); err != nil || len(h.NotInForce) != 1 || h.NotInForce[0].ID != "g1" {
		t.Errorf("got %+v, %v, want g1 not in force", h.NotInForce, err)
	}
}

func TestWhatBecameOfGrantsIsToldOnce(t *testing.T) {
	g := newGrants(t)
	a, b := g.add("staff", "203.0.113.7", time.Hour), g.add("staff", "203.0.113.8", time.Hour)
	for range 2 {
		g.must(g.SettleGrants(t.Context(), []hotspot.SettledGrant{{ID: a.ID, State: hotspot.GrantInList}, {ID: b.ID, State: hotspot.GrantInList}, {ID: "nobody", State: hotspot.GrantInList}}))
	}
	g.must(g.SettleGrants(t.Context(), []hotspot.SettledGrant{{ID: b.ID, State: hotspot.GrantForeign}}))
	want := []string{fmt.Sprintf(`{"state":"in_list","ids":[%q,%q]}`, a.ID, b.ID), fmt.Sprintf(`{"state":"foreign","ids":[%q]}`, b.ID)}
	if got := g.told(wire.EventGrantSettled); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	views, err := g.Grants(t.Context())
	g.must(err)
	if len(views) != 2 || views[0].State != hotspot.GrantInList || views[1].State != hotspot.GrantForeign || views[0].StateAt.IsZero() {
		t.Errorf("got %+v", views)
	}
}

// The lists of a pass that asks for the API hold its guests for as long as they
// are on; a lock takes them out with the commit.
func TestListsOfSessionsOverTheAPI(t *testing.T) {
	g := newGrants(t)
	g.cloud.guest("bob", "hello", hotspot.Limits{Devices: 2, AddressLists: []string{"paid", "video"}, ListsByAPI: true})
	g.apply()
	v := g.mustLogin("bob", "hello", phone)
	ticks, cancel := g.ListsChanged()
	defer cancel()
	a := g.record(hotspot.Start, v, phone, 0, 0, 0)
	a.IP = netip.MustParseAddr("10.20.0.7")
	g.account(a)
	select {
	case <-ticks:
	default:
		t.Error("a session's start rings no bell")
	}
	want := []string{"paid 10.20.0.7 0s", "video 10.20.0.7 0s"}
	g.want("on", want...)
	w, err := g.WantedLists(t.Context())
	g.must(err)
	if e := w.Entries[0]; e.MAC != phone || e.NAS != nas || e.Account != "a-bob" || len(e.Grants) != 0 {
		t.Errorf("got %+v", e)
	}
	g.cloud.lock("a-bob")
	g.apply()
	g.want("locked")
	targets, err := g.Targets(t.Context())
	g.must(err)
	if len(targets) != 1 || !slices.Equal(targets[0].Lists, []string{"paid", "video"}) {
		t.Errorf("got targets %+v, want the lists to take its addresses out of", targets)
	}
	g.cloud.drop(wire.DocLock, "a-bob")
	g.apply()
	g.want("unlocked", want...)
	a.Kind, a.SessionTime = hotspot.Stop, time.Minute
	g.account(a)
	g.want("gone")
	if w, err = g.WantedLists(t.Context()); err != nil || !slices.Equal(w.Names, []string{"paid", "video"}) {
		t.Errorf("got the lists %v, %v, want both kept: entries may stand there", w.Names, err)
	}
}

func TestGrantsThatAreOverAreForgotten(t *testing.T) {
	g := newGrants(t)
	g.add("staff", "203.0.113.7", time.Minute)
	g.must(g.Sweep(t.Context()))
	g.pass(2 * time.Minute)
	g.must(g.Sweep(t.Context()))
	g.pass(25 * time.Hour)
	g.must(g.Sweep(t.Context()))
	var n int
	g.must(g.read.QueryRow("SELECT COUNT(*) FROM list_grant").Scan(&n))
	if n != 0 {
		t.Errorf("%d rows are left, want none", n)
	}
	var names int
	g.must(g.read.QueryRow("SELECT COUNT(*) FROM list_name").Scan(&names))
	if names != 1 {
		t.Errorf("%d lists are known, want the one in which entries may stand", names)
	}
}

// BenchmarkWantedLists reads what five thousand grants want.
func BenchmarkWantedLists(b *testing.B) {
	s := newSite(b)
	s.start()
	var err error
	for i := range 5000 {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		s.cloud.put(wire.DocGrant, fmt.Sprintf("g%d", i), wire.GrantDoc{List: "staff", Address: a.String(), Until: noon.Add(time.Hour), At: noon})
	}
	err = errors.Join(err, s.send(s.cloud.delta()))
	s.must(err)
	for b.Loop() {
		w, err := s.WantedLists(b.Context())
		if err != nil || len(w.Entries) != 5000 {
			b.Fatal(len(w.Entries), err)
		}
	}
}
