package console

import (
	"context"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// History is a week of the first site; the second was heard until it was lost.
func (f *fakeCloud) History(_ context.Context, org hotspot.OrganizationID, site hotspot.SiteID, width time.Duration, from, to time.Time) (out []hotspot.HistoryStep, err error) {
	if org != "cafe" || site == "fresh" {
		return nil, nil
	}
	end := noon
	if site == "harbour" {
		end = noon.Add(-38 * time.Minute)
	}
	roll := func(v, by float64) *hotspot.Rolled {
		return &hotspot.Rolled{N: 5, Low: v - by, Mean: v, High: v + by, Last: v}
	}
	for at := from; at.Before(to) && at.Before(end); at = at.Add(width) {
		ago := noon.Sub(at).Hours()
		if ago > 5 && ago < 7.5 { // the power was away
			continue
		}
		wave := math.Sin(ago / 4)
		r := hotspot.RouterStep{CPU: roll(12+6*wave, 4), Memory: roll(32, 1), Celsius: roll(58+4*wave, 1), Volts: roll(23.8, .1), WANUp: roll(1, 0), Down: roll(2e7+1.5e7*wave, 4e6), Up: roll(3e6+2e6*wave, 5e5)}
		if ago > 10 && ago < 11 {
			r.WANUp = &hotspot.Rolled{N: 5, High: 1, Mean: .4}
		}
		if ago <= 5 && ago > 5-width.Hours() {
			r.RestartedAt = []time.Time{noon.Add(-5 * time.Hour)}
		}
		s := hotspot.HistoryStep{At: at, Sessions: roll(30+20*wave, 2), Routers: map[hotspot.NASID]hotspot.RouterStep{"counter": r}}
		if site == "harbour" {
			s.Routers = map[hotspot.NASID]hotspot.RouterStep{"pier": {WANUp: roll(0, 0)}}
		}
		out = append(out, s)
	}
	return out, nil
}

func TestTheSitePageShowsItsHistory(t *testing.T) {
	srv, _, _, cookies := start(t, hotspot.Owner)
	get := func(path string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range cookies {
			r.AddCookie(&http.Cookie{Name: k, Value: v})
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
		}
		return string(b)
	}
	for path, want := range map[string][]string{
		"/sites/main":         {"The last 24 hours", "Sessions online", "Router Counter", "Internet reachable", "Traffic to and from the internet", "Processor", "Memory", "Temperature", "now 23.8 V", "Nothing was heard for 2 h 30 min of it", "Restarted at 10:02:09", "up 40 % of the time", `span=24h"`},
		"/sites/main?span=7d": {"The last 7 days", "Restarted at 10:02:09", "Nothing was heard for 3 h of it", "<span>Tue</span>", `span=7d"`},
		"/sites/harbour":      {"The last 24 hours", "Router pier", "not known now"},
		"/sites/fresh":        {"Nothing was heard in that time"},
	} {
		page := get(path)
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s lacks %q: it says %q", path, w, regexp.MustCompile("Nothing was heard[^<]*").FindString(page))
			}
		}
	}
	if page := get("/sites/harbour"); strings.Contains(page, "Temperature") || strings.Contains(page, "Voltage") {
		t.Error("what a router never told is drawn")
	}
	if page := get("/sites/main"); strings.Contains(page, "Router attic") {
		t.Error("a router that told nothing has charts")
	}
}
