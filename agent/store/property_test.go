package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"iwas/internal/wire"
)

// lives is a site and its cloud, both of which break in every way a log may have
// to stand: see the steps.
type lives struct {
	*site
	rnd    *rand.Rand
	cloud  *mirror
	facts  []string           // ids, as this database has heard of them, in order
	places map[string][]place // of every event, wherever it had a number
	bodies map[string]string  // of every event, as it was born
	disks  []disk             // copies of the database
	clouds []*mirror          // and of the cloud
	seen   [2]place           // the oldest and the newest event at the last look
	log    []string           // the steps so far
}

type place struct {
	epoch string
	seq   int64
}

type disk struct {
	file  []byte
	facts []string
}

func newLives(t *testing.T, seed uint64) *lives {
	l := &lives{site: newSite(t), rnd: rand.New(rand.NewPCG(seed, 5)), cloud: newMirror(t), places: map[string][]place{}, bodies: map[string]string{}}
	l.must(l.Close())
	l.o.LogCap = 1 // folds whatever it may
	l.open()
	l.clouds = []*mirror{l.cloud.copy()}
	return l
}

func (m *mirror) copy() *mirror {
	return &mirror{t: m.t, marks: maps.Clone(m.marks), chains: maps.Clone(m.chains), ids: slices.Clone(m.ids), gaps: slices.Clone(m.gaps), void: maps.Clone(m.void)}
}

// look notes what is new in the database.
func (l *lives) look() {
	l.t.Helper()
	h, err := l.Standing(l.t.Context())
	l.must(err)
	var first int64
	l.must(l.queryLate(l.t.Context(), "look", "SELECT COALESCE(MIN(seq), 0) FROM event", nil, func(scan func(...any) error) error { return scan(&first) }))
	now := [2]place{{h.Epoch, first}, {h.Epoch, h.LastSeq}}
	if l.seen == now {
		return
	}
	l.seen = now
	known := len(l.facts)
	l.must(l.queryLate(l.t.Context(), "look", "SELECT seq, id, body FROM event ORDER BY seq", nil, func(scan func(...any) error) error {
		var p place
		var id string
		var body []byte
		if err := scan(&p.seq, &id, &body); err != nil {
			return err
		}
		if p.epoch = h.Epoch; !slices.Contains(l.places[id], p) {
			l.places[id] = append(l.places[id], p)
		}
		if _, old := l.bodies[id]; !old {
			l.bodies[id] = string(body)
			l.facts = append(l.facts, id)
		}
		return nil
	}))
	if len(l.facts) > known {
		l.log = append(l.log, fmt.Sprintf("  %d events of %s, through %d", len(l.facts)-known, h.Epoch[len(h.Epoch)-4:], h.LastSeq))
	}
}

// record is some readings of three guests, and a sale that nothing stands in for.
func (l *lives) record() {
	n := 1 + l.rnd.IntN(60)
	if l.rnd.IntN(3) == 0 {
		n = 400 + l.rnd.IntN(1500)
	}
	l.must(l.do(l.t.Context(), func(t *tx) error {
		for range n {
			kind, id := wire.EventSessionUsage, fmt.Sprintf("s%d", l.rnd.IntN(3))
			switch l.rnd.IntN(20) {
			case 0:
				kind = wire.EventSessionStopped
			case 1:
				kind, id = wire.EventAdjusted, ""
			}
			if err := t.event(kind, map[string]string{"id": id}); err != nil {
				return err
			}
		}
		return nil
	}))
	l.clock.Add(time.Minute)
}

// send puts one batch in front of the cloud; the answer may get lost.
func (l *lives) send(size int, lost bool) {
	h, err := l.Standing(l.t.Context())
	l.must(err)
	b, err := l.Events(l.t.Context(), h.AckedSeq, size, 1<<20)
	l.must(err)
	if len(b.Events) == 0 {
		l.hello()
		return
	}
	if l.rnd.IntN(2) == 0 { // what follows is made ready meanwhile
		_, err = l.Events(l.t.Context(), b.First+int64(len(b.Events))-1, size, 1<<20)
		l.must(err)
	}
	a := l.cloud.take(b)
	if lost {
		return
	}
	if a.Fork {
		l.log = append(l.log, fmt.Sprintf("  fork at %d, the cloud holds %d", b.First, a.Through))
	}
	l.must(l.Acked(l.t.Context(), a))
}

// hello has the cloud say where it stands.
func (l *lives) hello() (a wire.Ack) {
	h, err := l.Standing(l.t.Context())
	l.must(err)
	a = wire.Ack{V: wire.Version, Epoch: h.Epoch, Through: l.cloud.marks[h.Epoch]}
	if h.AckedSeq != a.Through {
		l.must(l.Acked(l.t.Context(), a))
	}
	return a
}

// foldAll folds whatever it may, and drops nothing.
func (l *lives) foldAll() {
	l.pace()
	l.must(l.fold(l.t.Context()))
	l.overCap.Store(false)
}

func (l *lives) sweep() {
	l.clock.Add(housekeeping)
	l.pace()
	l.must(l.Sweep(l.t.Context()))
}

// copyDisk keeps the database as it is; putBack is that copy, with the file beside
// it or without.
func (l *lives) copyDisk() {
	l.must(l.Close())
	file, err := os.ReadFile(l.o.Path)
	l.must(err)
	l.open()
	l.disks = append(l.disks, disk{file, slices.Clone(l.facts)})
}

func (l *lives) putBack() {
	d := l.disks[l.rnd.IntN(len(l.disks))]
	l.must(l.Close())
	l.must(os.WriteFile(l.o.Path, d.file, 0o600))
	if l.rnd.IntN(2) == 0 {
		l.must(os.Remove(l.o.Path + witnessFile))
	}
	l.open()
	l.facts = slices.Clone(d.facts)
}

// clone is another copy of this disk that spoke first.
func (l *lives) clone() {
	h, err := l.Standing(l.t.Context())
	l.must(err)
	l.cloud.marks[h.Epoch] += 1 + l.rnd.Int64N(40)
	l.cloud.chains[h.Epoch] = "the clone's"
}

func (l *lives) step(rough bool) {
	type choice struct {
		name  string
		often int
		run   func()
	}
	all := []choice{
		{"record", 8, l.record},
		{"send", 8, func() {
			for range 1 + l.rnd.IntN(4) {
				l.send(1+l.rnd.IntN(wire.MaxEvents), false)
			}
		}},
		{"send, the answer lost", 3, func() { l.send(1+l.rnd.IntN(wire.MaxEvents), true) }},
		{"hello", 2, func() { l.hello() }},
		{"fold", 4, l.foldAll},
		{"reopen", 2, l.reopen},
		{"copy the cloud", 2, func() { l.clouds = append(l.clouds, l.cloud.copy()) }},
		{"restore the cloud", 2, func() { l.cloud = l.clouds[l.rnd.IntN(len(l.clouds))].copy() }},
	}
	if rough {
		all = append(all,
			choice{"sweep", 1, l.sweep},
			choice{"a week", 1, func() { l.clock.Add(eventsKept + time.Hour); l.sweep() }},
			choice{"copy the disk", 1, l.copyDisk},
			choice{"clone", 1, l.clone})
		if len(l.disks) > 0 {
			all = append(all, choice{"restore the disk", 1, l.putBack})
		}
	}
	sum := 0
	for _, c := range all {
		sum += c.often
	}
	n := l.rnd.IntN(sum)
	for _, c := range all {
		if n -= c.often; n < 0 {
			l.log = append(l.log, c.name)
			c.run()
			break
		}
	}
	l.look()
}

// meet sends until both agree.
func (l *lives) meet() {
	l.t.Helper()
	for range 400 {
		a := l.hello()
		h, err := l.Standing(l.t.Context())
		l.must(err)
		l.look()
		if h.Epoch == a.Epoch && a.Through == h.LastSeq && h.AckedSeq == h.LastSeq {
			return
		}
		l.send(wire.MaxEvents, false)
		l.look()
	}
	l.t.Fatalf("the two never agree; the steps were %q", l.log)
}

// TestNothingIsLostInAnyOrder breaks site and cloud in random order. After each
// run the cloud has every event that the database knows of, once, or a gap names
// it; what was folded is said by a later reading of its session; and where nothing
// but the cloud went back, the log is one all through.
func TestNothingIsLostInAnyOrder(t *testing.T) {
	seeds := []uint64{59, 87, 99} // in which a cloud goes back to before a new epoch, after retention
	for seed := range uint64(16) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rough := seed%2 == 1
			l := newLives(t, seed)
			first, err := l.Standing(t.Context())
			l.must(err)
			for range 40 {
				l.step(rough)
			}
			l.meet()
			l.judge()
			if now, err := l.Standing(t.Context()); err != nil || !rough && (now.Epoch != first.Epoch || len(l.cloud.gaps) > 0) {
				t.Errorf("a new epoch began, or a gap was told, %v, and nothing called for it", l.cloud.gaps)
			}
			if t.Failed() {
				for _, step := range l.log {
					t.Log(step)
				}
			}
		})
	}
}

func (l *lives) judge() {
	has := map[string]int{}
	newest := map[string]int{} // of each session, what the cloud heard last, by the order in facts
	for _, id := range l.cloud.ids {
		has[id]++
	}
	missing := 0
	for i, id := range l.facts {
		switch n := has[id]; {
		case n > 1:
			l.t.Errorf("event %d, %v, is there %d times", i, l.places[id], n)
		case n == 0 && !l.named(id):
			if missing++; missing < 5 {
				l.t.Errorf("event %d, %v, is not with the cloud, and no gap of %v names it", i, l.places[id], l.cloud.gaps)
			}
		case n == 1 && !l.cloud.void[id]:
			newest[guestOf(l.bodies[id])] = i
		}
	}
	for i, id := range l.facts {
		if l.cloud.void[id] && newest[guestOf(l.bodies[id])] < i && has[id] == 1 {
			l.t.Errorf("event %d, %v, of session %s was folded into none", i, l.places[id], guestOf(l.bodies[id]))
		}
	}
}

func guestOf(body string) string {
	var b struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal([]byte(body), &b) // other events have none
	return b.ID
}

// named reports whether a gap that the cloud holds tells of an event.
func (l *lives) named(id string) bool {
	return slices.ContainsFunc(l.places[id], func(p place) bool {
		return slices.ContainsFunc(l.cloud.gaps, func(g wire.Gap) bool {
			return g.Epoch == p.epoch && g.First <= p.seq && (g.Last == 0 || p.seq <= g.Last)
		})
	})
}
