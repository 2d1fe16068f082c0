package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"iwas/internal/wire"
)

// command is what a side knows of one; over says that the site gave its answer.
type command struct {
	state string
	over  bool

	kind, account, detail string    // at the site
	at                    time.Time // of the answer, at the site
}

// command reads one at the site, cloudCommand one in the cloud.
func (s *side) command(scan func(...any)) error {
	var id, result string
	var c command
	var over int64
	scan(&id, &c.state, &over, &c.kind, &c.account, &result)
	c.over = over != 0
	err := c.answerOf(result)
	s.commands[id] = c
	return err
}

func (s *side) cloudCommand(scan func(...any)) {
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
	s.answers[r.ID] = append(s.answers[r.ID], r.At)
	return err
}

// inCloud words the answers of a site as the cloud does.
var inCloud = map[string]string{wire.CommandDone: "executed", wire.CommandFailed: "failed", wire.CommandRejected: "rejected", wire.CommandExpired: "expired", wire.CommandUnknown: "unknown"}

// judgeCommands wants every command over, told alike, and answered once. An answer
// and its event are one transaction, and the inbox takes one answer a command: a
// second event shows a command that was begun by two, or an inbox that forgot.
// Forgiven is what a restore explains, command by command: in the cloud those that
// the backup did not have, at the site those that the backup did not have or had at
// another stage. What the API took and no restore explains must be in the cloud.
func (v *ruling) judgeCommands(agent, cloud *side) {
	ids := map[string]bool{}
	for _, s := range []*side{agent, cloud} {
		for id := range s.commands {
			ids[id] = true
		}
	}
	for id := range agent.asked {
		ids[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		a, here := agent.commands[id]
		c, there := cloud.commands[id]
		v.counts["commands"]++
		if there {
			v.counts["commands "+c.state]++
		}
		before := agent.forgotten[id]
		say := func(pardon bool, format string, args ...any) {
			text := "command " + id + ": " + fmt.Sprintf(format, args...)
			if pardon {
				v.forgiven = append(v.forgiven, text)
			} else {
				v.wrong = append(v.wrong, text)
			}
		}
		switch {
		case !here && !there && !cloud.forgotten[id]:
			say(false, "the API took it, and neither side knows of it")
		case here && !a.over:
			say(false, "still open at the site: %s", a.state)
		case there && !slices.Contains([]string{"executed", "failed", "expired", "rejected", "unknown"}, c.state):
			say(false, "still open in the cloud: %s", c.state)
		case here && !there:
			say(cloud.forgotten[id], "agent %s, cloud nothing", a.state)
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
			_, err = c.command(c.Context(), i, "/accounts/"+cafe.Accounts[1].ID+"/kick", nil)
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
