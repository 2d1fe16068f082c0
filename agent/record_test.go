package main

import (
	"strings"
	"testing"
	"time"

	"iwas/agent/history"
	"iwas/agent/router"
	"iwas/agent/statuspage"
)

// TestAMinuteIsWhatHappenedInIt: a login, a refusal and a stranger, counted in
// the minute they came in and in no other, with how the router did.
func TestAMinuteIsWhatHappenedInIt(t *testing.T) {
	w := watchSite(t, shape{})
	log, err := history.Open[statuspage.Minute](t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Truncate(time.Minute)
	r := &recorder{s: w.site, log: log, now: func() time.Time { return at }}
	r.keep(t.Context())
	w.online("AA:BB:CC:00:00:01", "user0")
	if err := w.login("AA:BB:CC:00:00:02", "nobody"); err == nil {
		t.Fatal("a stranger was let in")
	}
	w.await("the router's figures", func() string {
		if h := w.report().Routers[0].Health; h == nil || h.System.At.IsZero() || h.WAN.At.IsZero() {
			return "not read yet"
		}
		return ""
	})
	w.await("the session", func() string {
		if len(w.report().Sessions) == 0 {
			return "not open"
		}
		return ""
	})
	at = at.Add(time.Minute)
	r.keep(t.Context())
	at = at.Add(time.Minute)
	r.keep(t.Context())
	got := r.Between(at.Add(-time.Hour), at)
	if len(got) != 3 {
		t.Fatalf("got %d minutes, want 3", len(got))
	}
	first, busy, idle := got[0], got[1], got[2]
	if !first.StartedNow || busy.StartedNow || !busy.At.Equal(at.Add(-2*time.Minute)) {
		t.Errorf("got %+v and %+v, want the first to say that the service began, and each to be called by its begin", first, busy)
	}
	// The router tries the address of each device first: those are refusals too.
	if busy.Accepts != 1 || busy.Rejects < 1 || busy.P95Micros == nil || busy.Sessions == nil || *busy.Sessions != 1 {
		t.Errorf("got %+v, want one login, a refusal and a session", busy.Minute)
	}
	if idle.Accepts != 0 || idle.Rejects != 0 || idle.P95Micros != nil || idle.Sessions == nil || *idle.Sessions != 1 {
		t.Errorf("got %+v, want no login, no time of answers that were not given, and a session", idle.Minute)
	}
	m := busy.Routers["counter"]
	if m.CPU == nil || m.Memory == nil || m.WANUp == nil || !*m.WANUp {
		t.Errorf("got %+v of the router", m)
	}
}

// TestAnOldReadingIsAGap: the router fell silent two minutes ago.
func TestAnOldReadingIsAGap(t *testing.T) {
	now := time.Now()
	var v router.Vitals
	v.System.At, v.System.CPULoad = now.Add(-2*time.Minute), 40
	v.WAN.At, v.WAN.Up = now.Add(-20*time.Second), true
	v.System.RestartedAt = now.Add(-3 * time.Minute)
	m := routerMinute(v, now)
	if m.CPU != nil || m.Memory != nil || m.Volts != nil || m.WANUp == nil || m.RestartedAt.IsZero() {
		t.Errorf("got %+v, want what was read within the minute, and the restart", m)
	}
	if m := routerMinute(v, now.Add(time.Hour)); !m.RestartedAt.IsZero() || m.WANUp != nil {
		t.Errorf("an hour later: got %+v, want nothing", m)
	}
}

// TestChartsOutliveTheService: what the page draws after a restart is of before.
func TestChartsOutliveTheService(t *testing.T) {
	w := watchSite(t, shape{})
	begin := time.Now().Truncate(time.Minute).Add(-40 * time.Minute)
	for i := range 20 {
		if err := w.site.recorder.log.Add(begin.Add(time.Duration(i)*time.Minute), statuspage.Minute{Accepts: 7}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.site.recorder.log.Flush(); err != nil {
		t.Fatal(err)
	}
	again := newRecorder(w.site)
	if got := again.Between(begin, begin.Add(time.Hour)); len(got) < 20 || got[0].Accepts != 7 {
		t.Errorf("after a restart: got %d minutes", len(got))
	}
	page := w.get("/")
	for _, want := range []string{"The last hour", "Logins per minute", "highest 7", "Nothing was heard for"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if day := w.get("/?span=24h"); !strings.Contains(day, "The last 24 hours") || !strings.Contains(day, `data-live="/live?span=24h"`) {
		t.Error("the day is not offered, or its stream is that of the hour")
	}
}
