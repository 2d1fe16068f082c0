package fleet

import (
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Where several processes answer agents, a lock leaves from the one it was pressed
// at, wherever the site's hello went; an answer that went elsewhere ends the sending.
func TestALockLeavesWhereverTheSiteWasHeard(t *testing.T) {
	run(t, func(r *rig) {
		r.o.Replicas = true
		r.store.writes(3)
		r.store.write(wire.DocLock)()
		r.want("nobody heard of it", []string{}...)
		r.store.hold(&position{"l1", 4})
		r.store.write(wire.DocLock)()
		r.want("heard elsewhere", "delta 4-5")
		r.pass(answerWithin + lookEvery)
		r.want("not answered", "delta 4-5")
		r.store.hold(&position{"l1", 5})
		r.pass(10 * time.Minute)
		r.want("answered elsewhere")
		r.store.hold(&position{"l1", 3})
		r.store.write(wire.DocLock)()
		r.want("further behind than this process thought", "delta 3-6")
		r.store.hold(nil)
		r.pass(10 * time.Minute)
		r.store.write(wire.DocLock)()
		r.want("retired elsewhere")
	})
}

// A site that another process heard holding another history gets the whole with the
// first change, and again until it answers, though the number of its revision is higher.
func TestASiteOfAnotherHistoryIsNotTakenForOneAhead(t *testing.T) {
	whole := []string{"part 1/2 of 4", "part 2/2 of 4"}
	run(t, func(r *rig) {
		r.o.Replicas = true
		r.store.writes(3)
		r.store.hold(&position{"l0", 9})
		r.store.write(wire.DocLock)()
		r.want("a lock", whole...)
		r.pass(answerWithin + partTime + lookEvery)
		r.want("not answered", whole...)
	})
}

// A site that works on its snapshot needs nothing but time, also where its box is
// confirmed once more.
func TestConfirmedAgainAmidASnapshot(t *testing.T) {
	run(t, func(r *rig) {
		r.o.Replicas = true
		r.store.writes(3)
		r.store.hold(&position{})
		r.hello(0, bringing(3))
		if err := r.ConfirmAgent(t.Context(), hotspot.Operator{}, agent); err != nil {
			t.Fatal(err)
		}
		r.pass(10 * time.Minute)
		r.want("confirmed")
	})
}

// Where the site said to another process that its snapshot is in force, what is no
// lock leaves at once as well.
func TestASnapshotInForceIsHeardOfElsewhere(t *testing.T) {
	run(t, func(r *rig) {
		r.o.Replicas = true
		r.store.writes(3)
		r.hello(0, bringing(3))
		r.store.hold(&position{})
		r.store.write(wire.DocAccount)()
		r.want("not heard of: it comes behind")
		r.store.hold(&position{"l1", 4})
		r.store.write(wire.DocAccount)()
		r.want("an account", "delta 4-5")
		r.pass(answerWithin + lookEvery)
		r.want("not answered", "delta 4-5")
	})
}
