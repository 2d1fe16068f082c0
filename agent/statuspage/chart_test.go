package statuspage

import (
	"context"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"iwas/internal/condition"
	"iwas/internal/hotspot"
)

func of1[T any](v T) *T { return &v }

// day is a day of a busy cafe whose power was away for two hours and whose router
// began anew a little later.
func day(from, to time.Time) (out []MinuteAt) {
	now := to.Truncate(time.Minute)
	for i := 24 * 60; i > 1; i-- {
		at := now.Add(-time.Duration(i) * time.Minute)
		if i > 300 && i < 420 || i == 30 || at.Before(from) || !at.Before(to) {
			continue
		}
		wave := math.Sin(float64(i) / 200)
		m := MinuteAt{At: at, Minute: Minute{Accepts: uint64(4 + 3*wave + float64(i%3)), Rejects: uint64(i % 17 / 15), P95Micros: of1(int64(900 + i%7*120)),
			Sessions: of1(40 + int(22*wave) + i%4), Outbox: of1(int64(i % 11)), StartedNow: i == 300}}
		if i > 600 && i < 630 {
			m.Dropped = 5
		}
		r := RouterMinute{CPU: of1(9 + int(6*wave) + i%13), Memory: of1(31 + i/400), Celsius: of1(58 + 6*wave), Volts: of1(23.8), WANUp: of1(i < 900 || i > 925),
			Down: of1(hotspot.Rate(24_000_000 + 18_000_000*wave)), Up: of1(hotspot.Rate(4_000_000 + 2_500_000*wave))}
		if i < 290 && i > 260 {
			r.RestartedAt = now.Add(-290 * time.Minute)
		}
		m.Routers = map[hotspot.NASID]RouterMinute{"cafe1": r}
		out = append(out, m)
	}
	return out
}

// askCharts asks for a page with that history.
func askCharts(t *testing.T, path string, minutes func(from, to time.Time) []MinuteAt) string {
	t.Helper()
	snap := well(func(s *Snapshot) { s.Routers[0].Health = healthyRouter() })
	srv := &Server{Snapshot: func(context.Context) Snapshot { return snap }, Board: &condition.Board{}, Minutes: minutes}
	h, err := srv.Handler()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "http://127.0.0.1:8480"+path, nil)
	r.RemoteAddr = "127.0.0.1:5000"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("%s: got %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

func TestChartsOfTheHourAndTheDay(t *testing.T) {
	hour, long := askCharts(t, "/", day), askCharts(t, "/?span=24h", day)
	for _, want := range []string{"The last hour", "Logins per minute", "Sessions online", "Answer time of RADIUS", "Facts that wait for the cloud", "Router Counter",
		"Internet reachable", "Processor", "Memory", "Temperature", "Voltage", "now 23.8 V", "The same as a table", "Nothing was heard for 1 min of it"} {
		if !strings.Contains(hour, want) {
			t.Errorf("the hour lacks %q", want)
		}
	}
	for _, want := range []string{"The last 24 hours", "Nothing was heard for 1 h 5", "Restarted at 09:15:00", "This service began at ", "lowest down, highest up"} {
		if !strings.Contains(long, want) {
			t.Errorf("the day lacks %q", want)
		}
	}
	if strings.Contains(hour, "Restarted at") {
		t.Error("the hour marks a restart of five hours ago")
	}
	if n := strings.Count(long, `<path class="mark"`); n != 6+1 {
		t.Errorf("got %d marks, want one restart in each of six charts, and one start", n)
	}
	none := askCharts(t, "/", func(_, _ time.Time) []MinuteAt { return nil })
	if !strings.Contains(none, "nothing heard") || strings.Contains(none, "Voltage") {
		t.Error("a box without history says so, and shows no sensor that it does not know of")
	}
	if odd := askCharts(t, "/?span=9999h", day); !strings.Contains(odd, "The last hour") {
		t.Error("an odd span is not the hour")
	}
}

// TestChartsStandStillWithinAMinute: the live page sends them only when they
// changed.
func TestChartsStandStillWithinAMinute(t *testing.T) {
	minutes := day(t0.Add(-24*time.Hour), t0)
	kept := func(_, _ time.Time) []MinuteAt { return minutes }
	draw := func(at time.Time) string {
		s := well(func(s *Snapshot) { s.At = at })
		b := newBoard(s, nil)
		out := ""
		for _, g := range b.charts(spans[0], kept).Groups {
			for _, c := range g.Charts {
				out += string(c.HTML())
			}
		}
		return out
	}
	whole := t0.Truncate(time.Minute)
	if draw(whole) != draw(whole.Add(59*time.Second)) {
		t.Error("charts change within a minute")
	}
	if draw(whole) == draw(whole.Add(60*time.Second)) {
		t.Error("charts do not move with the minute")
	}
}
