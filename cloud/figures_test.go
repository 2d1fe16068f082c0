package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/cloud/console"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// front is the console over a real store and fleet, and somebody who asks it.
type front struct {
	*bench
	handler http.Handler
}

const (
	frontToken   = "iwas_token"
	frontSession = "session"
)

func newFront(t *testing.T) front {
	b := newBench(t, 1)
	t.Cleanup(func() { b.must(b.db.Close()) })
	hash := func(s string) []byte { sum := sha256.Sum256([]byte(s)); return sum[:] }
	b.must(b.db.CreateToken(t.Context(), b.owner, hash(frontToken), "test"))
	_, err := b.db.CreateOperatorSession(t.Context(), b.owner.ID, hash(frontSession), time.Now().Add(time.Hour))
	b.must(err)
	s := &console.Server{Store: b.db, Fleet: b.fleet, PublicURL: "http://console.example"}
	return front{b, s.Handler()}
}

func (f front) get(path string) string {
	f.Helper()
	r := httptest.NewRequestWithContext(f.Context(), http.MethodGet, path, nil)
	r.Header.Set("Cookie", "iwas_session="+frontSession)
	if strings.HasPrefix(path, "/api/") {
		r.Header.Set("Authorization", "Bearer "+frontToken)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		f.Fatalf("%s: got %d\n%s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// api decodes the answer of the API at the path.
func (f front) api(path string) (out map[string]any) {
	f.Helper()
	f.must(json.Unmarshal([]byte(f.get(path)), &out))
	return out
}

// lockedGuest returns a guest, locked, and the revision of the lock.
func (f front) lockedGuest() (hotspot.AccountID, int64) {
	f.Helper()
	g, _, err := f.fleet.CreateAccount(f.Context(), f.owner, hotspot.NewAccount{Site: f.site.ID, Kind: hotspot.User, Username: "amal", Plan: f.plan.ID})
	f.must(err)
	g, err = f.fleet.Lock(f.Context(), f.owner, g.Account.ID, "loud")
	f.must(err)
	return g.Account.ID, g.Lock.Lock.Revision
}

// TestTheConsoleCountsTheLocksNotProven: the figure is the store's, on the page
// and in the API, until the site has proven the lock.
func TestTheConsoleCountsTheLocksNotProven(t *testing.T) {
	f := newFront(t)
	account, revision := f.lockedGuest()
	for _, step := range []struct {
		does string
		do   func()
		want float64
	}{
		{"the lock is asked for", func() {}, 1},
		{"the site has proven it", func() {
			_, err := f.db.ApplyProofs(t.Context(), f.box.agent, "e1", []wire.LockProof{{Account: account, Revision: revision, Reason: hotspot.OffLocked,
				Outcome: hotspot.OutcomeEnforced, At: time.Now()}})
			f.must(err)
		}, 0},
	} {
		step.do()
		if got := f.api("/api/v1/sites/" + string(f.site.ID))["locks_open"]; got != step.want {
			t.Errorf("%s: locks_open is %v, want %v", step.does, got, step.want)
		}
		text := map[float64]string{1: "<b>1</b> <span>on the way or waiting</span>", 0: "<b>0</b> <span>none waits</span>"}[step.want]
		if !strings.Contains(f.get("/sites/"+string(f.site.ID)), text) {
			t.Errorf("%s: the site's page does not show %q", step.does, text)
		}
	}
}

// TestAReopenedLockIsSaidAsItIs: on the page, in the list of guests, and in the
// API, while it is open again and not a moment longer.
func TestAReopenedLockIsSaidAsItIs(t *testing.T) {
	f := newFront(t)
	account, revision := f.lockedGuest()
	off := time.Now().UTC().Truncate(time.Millisecond)
	say := func(o hotspot.Outcome, seq int64) {
		f.must(f.db.RecordHello(t.Context(), f.box.agent, wire.Hello{V: wire.Version, Boot: "b1", Epoch: "e1", At: time.Now()}, time.Now()))
		_, err := f.db.ApplyProofs(t.Context(), f.box.agent, "e1", []wire.LockProof{{Account: account, Revision: revision, Reason: hotspot.OffLocked,
			Outcome: o, ReceivedAt: off, At: off.Add(time.Duration(seq) * time.Second), Seq: seq, Code: map[bool]string{true: "HSP-101"}[!o.Final()]}})
		f.must(err)
	}
	lock := func() map[string]any { return f.api("/api/v1/accounts/" + string(account))["lock"].(map[string]any) }
	say(hotspot.OutcomeEnforced, 1)
	if l := lock(); l["state"] != "enforced" || l["reopened"] != nil {
		t.Errorf("proven: got %v", l)
	}
	say(hotspot.OutcomePending, 2)
	r, _ := lock()["reopened"].(map[string]any)
	if l := lock(); l["state"] != "received" || l["code"] != "HSP-101" || r["was"] != "enforced" || r["was_at"] != off.Add(time.Second).Format(time.RFC3339Nano) || r["since"] != off.Add(2*time.Second).Format(time.RFC3339Nano) {
		t.Errorf("open again: got %v", l)
	}
	page := f.get("/guests/" + string(account))
	for _, text := range []string{"No longer proven off", "Proven off at ", "HSP-101", "the guest may be online"} {
		if !strings.Contains(page, text) {
			t.Errorf("open again: the guest's page does not say %q", text)
		}
	}
	if strings.Contains(page, "Locked, proven off") || strings.Contains(page, "slow to answer") {
		t.Error("open again: the guest's page says what is not so")
	}
	if list := f.get("/sites/" + string(f.site.ID)); !strings.Contains(list, "No longer proven") || !strings.Contains(list, "<b>1</b> <span>on the way or waiting") {
		t.Error("open again: the site's page does not say so")
	}
	say(hotspot.OutcomeEnforced, 3)
	if l := lock(); l["state"] != "enforced" || l["reopened"] != nil {
		t.Errorf("proven anew: got %v", l)
	}
	if page := f.get("/guests/" + string(account)); strings.Contains(page, "No longer proven") {
		t.Error("proven anew: the guest's page still says that it is not")
	}
}

// TestALockIsToldInOrderWhateverTheSitesClockShows: the box's clock is an hour
// wrong; each stage names the machine whose clock its time is of, the order is by
// number, what took how long is of one clock, and nothing says that the proof
// came before the lock.
func TestALockIsToldInOrderWhateverTheSitesClockShows(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"behind ours": -time.Hour, "ahead of ours": time.Hour} {
		f := newFront(t)
		account, revision := f.lockedGuest()
		lock := func() map[string]any { return f.api("/api/v1/accounts/" + string(account))["lock"].(map[string]any) }
		began := time.Now().Add(ahead).UTC().Truncate(time.Millisecond) // by the site's clock: when it had the lock
		hello := func(holds int64) {
			lineage, _, _, err := f.db.Wanted(t.Context(), f.site.ID)
			f.must(err)
			f.must(f.db.RecordHello(t.Context(), f.box.agent, wire.Hello{V: wire.Version, Boot: "b1", Epoch: "e1", Lineage: lineage, Revision: holds, At: began}, time.Now()))
		}
		hello(revision - 1)
		if l := lock(); l["state"] != "requested" {
			t.Errorf("%s: accepted: got %v", name, l)
		}
		f.must(f.db.MarkSent(t.Context(), f.site.ID, revision, time.Now()))
		hello(revision)
		if l := lock(); l["state"] != "received" {
			t.Errorf("%s: received: got %v", name, l)
		}
		_, err := f.db.ApplyProofs(t.Context(), f.box.agent, "e1", []wire.LockProof{{Account: account, Revision: revision, Reason: hotspot.OffLocked, Outcome: hotspot.OutcomeEnforced,
			Method: "disconnect", Seq: 1, ReceivedAt: began, At: began.Add(40 * time.Millisecond), Steps: []wire.LockStep{
				{Name: hotspot.StepDisconnect, At: began.Add(10 * time.Millisecond), TookMS: 7.5, OK: true, Detail: "Disconnect-ACK"},
				{Name: hotspot.StepReadBack, At: began.Add(40 * time.Millisecond), TookMS: 3, OK: true}}}})
		f.must(err)
		l := lock()
		if l["state"] != "enforced" {
			t.Fatalf("%s: proven: got %v", name, l)
		}
		type told struct {
			name, machine string
			order, took   float64
		}
		var got []told
		for _, list := range []string{"steps", "site_steps"} {
			for _, v := range l[list].([]any) {
				s := v.(map[string]any)
				got = append(got, told{s["name"].(string), s["machine"].(string), s["order"].(float64), s["took_ms"].(float64)})
				at, err := time.Parse(time.RFC3339, s["at"].(string))
				if clock := time.Now().Add(map[string]time.Duration{"site": ahead}[s["machine"].(string)]); err != nil || at.Sub(clock).Abs() > 30*time.Minute {
					t.Errorf("%s: %s is at %v (%v), which is not the clock of the %s", name, s["name"], s["at"], err, s["machine"])
				}
			}
		}
		slices.SortFunc(got, func(a, b told) int { return cmp.Compare(a.order, b.order) })
		want := []told{{"requested", "cloud", 1, 0}, {"sent", "cloud", 2, 0}, {"received", "site", 3, 0},
			{hotspot.StepDisconnect, "site", 4, 7.5}, {hotspot.StepReadBack, "site", 5, 3}, {"enforced", "site", 6, 40}}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got the steps\n%v, want\n%v", name, got, want)
		}
		page := f.get("/guests/" + string(account))
		for _, text := range []string{"Sent", "Received by the site", "Cut off, with proof", "From here on by the site&#39;s clock, ", name, "What the site did, by its own clock", "Disconnect-ACK"} {
			if !strings.Contains(page, text) {
				t.Errorf("%s: the guest's page does not say %q", name, text)
			}
		}
		offset := f.api("/api/v1/sites/" + string(f.site.ID))["clock_offset_s"].(float64)
		if math.Abs(offset-ahead.Seconds()) > 60 {
			t.Errorf("%s: the API says that the site's clock is %v s ahead, want %v", name, offset, ahead.Seconds())
		}
		if page := f.get("/sites/" + string(f.site.ID) + "/box"); !strings.Contains(page, name) {
			t.Errorf("%s: the box's page does not say so", name)
		}
	}
}

// TestAPlannedStopSaysWhy: the reason the box gives is what people and programs read,
// until it is there again.
func TestAPlannedStopSaysWhy(t *testing.T) {
	f := newFront(t)
	site := "/sites/" + string(f.site.ID)
	say := func(state hotspot.Presence, reason string) {
		_, err := f.db.RecordPresence(t.Context(), f.box.agent, wire.Presence{V: wire.Version, State: state, Boot: "b1", Conn: 1, Reason: reason, At: time.Now()}, time.Now())
		f.must(err)
	}
	say(hotspot.Online, "")
	say(hotspot.Stopped, "Updated to 1.3.0.")
	if a := f.api("/api/v1" + site); a["presence"] != "stopped" || a["stop_reason"] != "Updated to 1.3.0." {
		t.Errorf("got %v, %v, want stopped with its reason", a["presence"], a["stop_reason"])
	}
	if page := f.get(site); !strings.Contains(page, "Stopped on purpose") || !strings.Contains(page, "Updated to 1.3.0.") {
		t.Error("the site's page does not say why the box was stopped")
	}
	say(hotspot.Online, "")
	if a := f.api("/api/v1" + site); a["presence"] != "online" || a["stop_reason"] != nil {
		t.Errorf("got %v, %v after it is there again", a["presence"], a["stop_reason"])
	}
}

// TestEveryFigureSaysHowOldItIs: a site whose clock is a day off and that is in
// contact; the figures are as old as the records, on the pages and in the API.
func TestEveryFigureSaysHowOldItIs(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ahead": 26 * time.Hour, "behind": -26 * time.Hour} {
		f := newFront(t)
		g, _, err := f.fleet.CreateAccount(t.Context(), f.owner, hotspot.NewAccount{Site: f.site.ID, Kind: hotspot.User, Username: "amal", Plan: f.plan.ID})
		f.must(err)
		site := func(ago time.Duration) time.Time { return time.Now().Add(ahead - ago).UTC() }
		began := time.Now().Add(-time.Hour)
		f.must(f.db.RecordHello(t.Context(), f.box.agent, wire.Hello{V: wire.Version, Boot: "b1", Epoch: "e1", LastSeq: 1, At: site(0), RouterSeenAt: site(3 * time.Hour)}, time.Now()))
		if page := f.get("/guests/" + string(g.Account.ID)); !strings.Contains(page, "nothing recorded yet") {
			t.Errorf("%s: the page does not say that nothing is recorded", name)
		}
		usage := wire.UsageBody{Pass: g.Pass.ID, Account: g.Account.ID, FirstUsed: site(time.Hour), TimeMS: 60_000}
		f.box.event(wire.EventSessionUsage, wire.SessionBody{ID: "s1", Account: g.Account.ID, Pass: g.Pass.ID, NAS: "r1", StartedAt: site(time.Hour), HeardAt: site(20 * time.Minute),
			TimeMS: 60_000, Upload: 5, State: hotspot.Live, PassUsage: &usage})
		_, err = f.db.Ingest(t.Context(), f.box.agent, wire.Batch{V: wire.Version, Epoch: "e1", First: 1, At: site(0), Events: f.box.events})
		f.must(err)

		near := func(what string, got any, want time.Duration) {
			t.Helper()
			if s, ok := got.(float64); !ok || s < want.Seconds()-0.1 || s > want.Seconds()+30 {
				t.Errorf("%s: %s is %v s, want about %v", name, what, got, want.Seconds())
			}
		}
		account := f.api("/api/v1/accounts/" + string(g.Account.ID))
		near("the age of the last contact", account["data_age_s"], 0)
		near("the age of what the pass used", account["pass"].(map[string]any)["data_age_s"], 20*time.Minute)
		session := account["sessions"].([]any)[0].(map[string]any)
		near("the age of the session", session["data_age_s"], 20*time.Minute)
		for _, as := range []any{session["as_of"], account["pass"].(map[string]any)["as_of"]} {
			if at, err := time.Parse(time.RFC3339, as.(string)); err != nil || at.After(time.Now()) {
				t.Errorf("%s: as of %v (%v), which is to come", name, as, err)
			}
		}
		near("the router's silence", f.api("/api/v1/sites/" + string(f.site.ID))["router_age_s"], 3*time.Hour)
		page := f.get("/guests/" + string(g.Account.ID))
		for _, text := range []string{">20 min ago</time>, from accounting", "by accounting, <time", "site heard <time"} {
			if !strings.Contains(page, text) {
				t.Errorf("%s: the guest's page does not say %q", name, text)
			}
		}
		if s := began.UTC(); !strings.Contains(page, s.Format("15:04")) && !strings.Contains(page, s.Add(time.Minute).Format("15:04")) {
			t.Errorf("%s: the guest's page does not say that the session began at %s by our clock", name, s.Format("15:04"))
		}
		list := f.get("/sites/" + string(f.site.ID))
		for _, text := range []string{"data-label=\"As of\"><time", ">20 min ago</time>", "answered <time", ">3 h ago</time>"} {
			if !strings.Contains(list, text) {
				t.Errorf("%s: the site's page does not say %q", name, text)
			}
		}
	}
}
