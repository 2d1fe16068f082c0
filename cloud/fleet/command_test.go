package fleet

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// A command leaves at once after its commit, and what is due later within two
// seconds; what a site says of commands in a hello is taken in.
func TestCommandsLeaveAtOnceAndWhenDue(t *testing.T) {
	run(t, func(r *rig) {
		r.said()
		begun := time.Now()
		if _, err := r.Ask(t.Context(), hotspot.Operator{}, hotspot.Command{ID: "c1", Site: site, Kind: "kick"}, time.Minute); err != nil {
			t.Fatal(err)
		}
		r.want("after the commit", "command c1 kick")
		if took := time.Since(begun); took != 0 {
			t.Errorf("it left after %s of the bubble's time, want at once", took)
		}
		r.store.mu.Lock()
		r.store.commands = []hotspot.Command{{ID: "c1", Site: site, Kind: "kick"}}
		r.store.mu.Unlock()
		r.pass(commandsEvery)
		r.want("due again", "command c1 kick")
		r.hello(0, func(h *wire.Hello) {
			h.Commands = []wire.CommandResult{{ID: "c1", State: wire.CommandDone}}
		})
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		if len(r.store.answers) != 1 || r.store.answers[0].State != wire.CommandDone {
			t.Errorf("taken in: %+v", r.store.answers)
		}
	})
}
