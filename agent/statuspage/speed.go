package statuspage

import (
	"fmt"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// speeds are what a guest was given beside what the router's own queue says.
type speeds struct {
	Given, Router string
	Differs       bool
}

// speedOf compares the two. Where the queues were not read since the session
// began, the router says nothing yet.
func speedOf(s Session) speeds {
	var out speeds
	var given hotspot.RateLimit
	if s.Rate != nil {
		var err error
		if given, err = hotspot.ParseRateLimit(*s.Rate); err != nil {
			return out
		}
		out.Given = upDown(given.Max.Upload, given.Max.Download)
	}
	switch q := s.Queue; {
	case !s.QueueAt.After(s.StartedAt):
	case q != nil:
		out.Router = fmt.Sprintf("router: %s, now %s up, %s down", upDown(q.LimitUp, q.LimitDown), flow(q.Up), flow(q.Down))
		out.Differs = s.Rate != nil && given.Max != hotspot.Pair[hotspot.Rate]{Upload: q.LimitUp, Download: q.LimitDown}
	case s.Rate != nil && given.Max != hotspot.Pair[hotspot.Rate]{}:
		out.Router, out.Differs = "router: no queue", s.State == hotspot.Live
	}
	return out
}

func upDown(up, down hotspot.Rate) string {
	if up == 0 && down == 0 {
		return "no limit"
	}
	return webui.Speed(up) + " up, " + webui.Speed(down) + " down"
}
