package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/routersim"
)

// alive is the part of the API's site that says whether the router is there.
type alive struct {
	Presence     string    `json:"presence"`
	RouterSeenAt time.Time `json:"router_seen_at"`
	RouterAgeS   float64   `json:"router_age_s"`
	DataAgeS     float64   `json:"data_age_s"`
	Conditions   []struct {
		Code string `json:"code"`
	} `json:"conditions"`
}

// TestARouterThatHangsIsNotAlive: its door stays open, the connection too, and
// nothing is answered on it. The site stays in contact, and both sides say that the
// router does not answer, and since when: liveness is a round trip, not a socket.
func TestARouterThatHangsIsNotAlive(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := open(t, nil)
	m := &terminal{T: t, c: c}
	see := func() (s alive) {
		t.Helper()
		if err := c.API(t.Context(), http.MethodGet, "/api/v1/sites/"+c.SiteID, nil, &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	hurts := func(s alive) bool {
		return slices.ContainsFunc(s.Conditions, func(c struct {
			Code string `json:"code"`
		}) bool {
			return strings.HasPrefix(c.Code, "RTR-1")
		})
	}
	until(t, "the router to be seen and well", 60*time.Second, func() bool { s := see(); return !s.RouterSeenAt.IsZero() && !hurts(s) })
	hung := time.Now()
	knobs(t, c, routersim.Knobs{Stall: 5 * time.Minute})
	until(t, "the cloud to hear that the router does not answer", 2*time.Minute, func() bool { return hurts(see()) })
	s := see()
	if s.Presence != "online" || s.RouterSeenAt.IsZero() || s.RouterSeenAt.After(hung.Add(15*time.Second)) {
		t.Errorf("got %+v, want the site online and the router last seen before it hung, at %v", s, hung)
	}
	if s.RouterAgeS < 5 || s.DataAgeS > s.RouterAgeS {
		t.Errorf("got a router seen %v s ago by a site heard %v s ago, want its silence told by a site that speaks", s.RouterAgeS, s.DataAgeS)
	}
	if page := m.page("/sites/" + c.SiteID); !strings.Contains(page, "Needs attention") || !strings.Contains(page, "answered <time") || strings.Contains(page, "All is well") {
		t.Error("the site's page does not say that the router does not answer, and how old its last answer is")
	}
}
