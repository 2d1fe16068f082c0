package store_test

import (
	"fmt"
	"testing"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// BenchmarkLock is what a press of Lock costs until it is on disk and its delta
// is announced.
func BenchmarkLock(b *testing.B) {
	w := benchWorld(b)
	id := w.user("amal")
	for b.Loop() {
		must(b, w.db.Lock(b.Context(), w.owner, id, ""))
		b.StopTimer()
		must(b, w.db.Unlock(b.Context(), w.owner, id, ""))
		b.StartTimer()
	}
}

// BenchmarkIngest stores batches of interim updates of 200 guests; events/s is
// what matters.
func BenchmarkIngest(b *testing.B) {
	for _, size := range []int{1, 100, wire.MaxEvents} {
		b.Run(fmt.Sprint("batch", size), func(b *testing.B) {
			w := benchWorld(b)
			l := &siteLog{epoch: "epoch1"}
			chain, first := "", int64(1)
			for b.Loop() {
				b.StopTimer()
				l.events = l.events[:0]
				for i := range size {
					s := w.session(fmt.Sprint("s", (int(first)+i)%200), "account1", first)
					s.PassUsage = &wire.UsageBody{Pass: hotspot.PassID(fmt.Sprint("p", (int(first)+i)%200)), Account: "account1", TimeMS: first}
					l.add(wire.EventSessionUsage, w.now(), s)
				}
				batch := wire.Batch{V: 1, Epoch: "epoch1", First: first, Chain: chain, Events: l.events}
				b.StartTimer()
				ack, err := w.db.Ingest(b.Context(), w.agent, batch)
				if err != nil || ack.Fork {
					b.Fatal(ack, err)
				}
				first = ack.Through + 1
				for _, e := range l.events {
					chain = wire.NextChain(chain, e)
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkHello is what an agent's minute costs.
func BenchmarkHello(b *testing.B) {
	w := benchWorld(b)
	for b.Loop() {
		must(b, w.db.RecordHello(b.Context(), w.agent, wire.Hello{V: 1, Boot: "b", Lineage: "l", Epoch: "e", At: w.now()}, w.now()))
	}
}

func benchWorld(b *testing.B) *world {
	b.Helper()
	return newWorld(b, "sqlite")
}
