package statuspage

import (
	"strings"
	"testing"
	"time"

	"iwas/internal/condition"
)

func TestWhatRADIUSShowsBecomesConditions(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	router := Router{NAS: "r1", Name: "Counter", API: true}
	old := router
	old.PreviousSecret, old.PreviousUntil = true, at.Add(24*time.Hour)
	fell := Offender{Source: "10.0.0.1", NAS: "r1", Reason: "message_authenticator_fell_back", N: 3, Last: at}
	for name, tc := range map[string]struct {
		router     Router
		radius     RADIUS
		code, text string
	}{
		"a router fell back":               {router, RADIUS{Offenders: []Offender{fell}}, "RAD-107", "10.0.0.1, 3 times"},
		"a router with the old secret":     {old, RADIUS{}, "RAD-108", "Counter: its last packet proved the previous secret, which is accepted until 2026-11-29 12:00"},
		"the system lost datagrams":        {router, RADIUS{Lost: 7, LostAt: at, Buffer: 425984}, "RAD-106", "lost 7 datagrams"},
		"it lost them an hour ago":         {router, RADIUS{Lost: 7, LostAt: at.Add(-time.Hour)}, "", ""},
		"nothing is wrong between the two": {router, RADIUS{}, "", ""},
	} {
		var got []condition.Finding
		for _, f := range Found(Snapshot{At: at, Routers: []Router{tc.router}, RADIUS: tc.radius}) {
			if strings.HasPrefix(f.Code, "RAD-") {
				got = append(got, f)
			}
		}
		switch {
		case tc.code == "" && len(got) > 0:
			t.Errorf("%s: got %v, want none", name, got)
		case tc.code != "" && (len(got) != 1 || got[0].Code != tc.code || !strings.Contains(got[0].Text, tc.text)):
			t.Errorf("%s: got %v, want %s with %q", name, got, tc.code, tc.text)
		}
	}
}
