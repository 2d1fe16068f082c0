package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"iwas/internal/wire"
)

// command is what a side knows of one; over says that the site gave its answer.
type command struct {
	state string
	over  bool
}

func (s *side) command(scan func(...any)) {
	var id string
	var c command
	var over int64
	scan(&id, &c.state, &over)
	c.over = over != 0
	s.commands[id] = c
}

func (s *side) result(body []byte) error {
	var r wire.CommandResult
	err := json.Unmarshal(body, &r)
	s.results[r.ID] = append(s.results[r.ID], r.State)
	return err
}

// inCloud words the answers of a site as the cloud does.
var inCloud = map[string]string{wire.CommandDone: "executed", wire.CommandFailed: "failed", wire.CommandRejected: "rejected", wire.CommandExpired: "expired", wire.CommandUnknown: "unknown"}

// judgeCommands wants every command over, told alike, and answered once. An answer
// and its event are one transaction, and the inbox takes one answer a command: a
// second event shows a command that was begun by two, or an inbox that forgot. What
// went to the router between a begin and its answer is not seen here.
func (v *ruling) judgeCommands(agent, cloud *side, former []*side) {
	ids := map[string]bool{}
	for _, s := range []*side{agent, cloud} {
		for id := range s.commands {
			ids[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		a, here := agent.commands[id]
		c, there := cloud.commands[id]
		v.counts["commands"]++
		if there {
			v.counts["commands "+c.state]++
		}
		before := slices.ContainsFunc(former, func(f *side) bool { _, knew := f.commands[id]; return knew })
		say := func(pardon bool, format string, args ...any) {
			text := "command " + id + ": " + fmt.Sprintf(format, args...)
			if pardon {
				v.forgiven = append(v.forgiven, text)
			} else {
				v.wrong = append(v.wrong, text)
			}
		}
		switch {
		case here && !a.over:
			say(false, "still open at the site: %s", a.state)
		case there && !slices.Contains([]string{"executed", "failed", "expired", "rejected", "unknown"}, c.state):
			say(false, "still open in the cloud: %s", c.state)
		case here && !there:
			say(cloud.rewound, "agent %s, cloud nothing", a.state)
		case !here && c.over:
			say(before, "agent nothing, cloud was answered %s", c.state)
		case here && inCloud[a.state] != c.state:
			say(before, "agent %s, cloud %s", a.state, c.state)
		}
		for _, s := range []*side{agent, cloud} {
			if told := s.results[id]; len(told) > 1 {
				say(before, "answered %d times: %v", len(told), told)
			}
		}
	}
}

// lastKicks asks every site for one kick more, which no restore concerns. The account
// is not that of the load, whose guests no router can put off.
func (c *cafes) lastKicks() {
	c.Helper()
	for i, cafe := range c.sites {
		var err error
		for range 20 {
			ctx, cancel := context.WithTimeout(c.Context(), patience)
			err = cafe.API(ctx, http.MethodPost, "/api/v1/accounts/"+cafe.Accounts[1].ID+"/kick", nil, nil)
			cancel()
			if err == nil {
				break
			}
			time.Sleep(500 * time.Millisecond) // the cloud gets over its last fault
		}
		if err != nil {
			c.Errorf("the last kick at site %d: %v", i, err)
		}
	}
}
