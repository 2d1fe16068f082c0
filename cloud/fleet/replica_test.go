package fleet

import (
	"testing"
	"time"

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
