package store_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func of[T any](v T) *T { return &v }

func TestHowTheRoutersDo(t *testing.T) {
	onBoth(t, func(w *world) {
		site := func() []hotspot.RouterHealth {
			w.Helper()
			s, err := w.db.Site(w.Context(), w.owner.Organization, w.site.ID)
			must(w.TB, err)
			return s.Routers
		}
		if got := site(); got != nil {
			w.Errorf("before any hello: got %+v", got)
		}
		at := w.now().Add(-20 * time.Second)
		w.hello(func(h *wire.Hello) {
			h.Routers = []wire.RouterHealth{{NAS: "a", Name: "Counter", At: at, UptimeS: of[int64](3600), CPU: of(0), Memory: of(32), Celsius: of(61.5), WANUp: of(false), Down: of[uint64](5), Up: of[uint64](0),
				PoolUsed: of(1), PoolSize: of(9), Foreign: of(2)}, {NAS: "b"}}
		})
		want := []hotspot.RouterHealth{{NAS: "a", Name: "Counter", At: at, Uptime: of(time.Hour), CPU: of(0), Memory: of(32), Celsius: of(61.5), WANUp: of(false), Down: of[hotspot.Rate](5), Up: of[hotspot.Rate](0),
			PoolUsed: of(1), PoolSize: of(9), Foreign: of(2)}, {NAS: "b"}}
		got := site()
		for i := range got {
			got[i].At = got[i].At.UTC()
		}
		if !reflect.DeepEqual(got, want) {
			w.Errorf("got %+v, want %+v", got, want)
		}
		// What cannot be meant is not known, and a hello that tells too much is cut.
		w.hello(func(h *wire.Hello) {
			for i := range 40 {
				h.Routers = append(h.Routers, wire.RouterHealth{NAS: hotspot.NASID(fmt.Sprint("r", i)), Name: strings.Repeat("x", 999), CPU: of(101), Memory: of(-1), Celsius: of(4e9), UptimeS: of[int64](-5), PoolSize: of(0), Down: of[uint64](1)})
			}
		})
		got = site()
		if len(got) != wire.MaxRouters || len(got[0].Name) != 200 || !reflect.DeepEqual(got[1], hotspot.RouterHealth{NAS: "r1", Name: got[0].Name}) {
			w.Errorf("got %d, the second %+v", len(got), got[1])
		}
		w.hello(nil) // an older agent tells nothing
		if got := site(); len(got) != 0 {
			w.Errorf("got %+v of an agent that told nothing", got)
		}
	})
}
