package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"iwas/internal/hotspot"
)

// nases is what was learnt of the routers, in memory as on disk. A bit is set
// here only after it is on disk, so that one the queue had no room for is learnt
// again with the next packet.
type nases struct {
	mu    sync.Mutex
	known map[hotspot.NASID]hotspot.NASMemory
	// mute names NASes known to echo Class that left it out of a Start since this
	// program began: until they echo again their permits have rows too.
	mute map[hotspot.NASID]bool
	// owed is what was learnt and is not known to be on disk: who learns tells it
	// once, and the queue may be full, or the disk. The sweeper tries again.
	owed map[hotspot.NASID]hotspot.NASMemory
}

// nasesBound limits the routers remembered; a site has a handful.
const nasesBound = 1024

func merge(a, b hotspot.NASMemory) hotspot.NASMemory {
	return hotspot.NASMemory{NAS: b.NAS, SignsRequests: a.SignsRequests || b.SignsRequests, SignsReplies: a.SignsReplies || b.SignsReplies,
		EchoesClass: a.EchoesClass || b.EchoesClass}
}

// KnownNASes returns what was learnt of every NAS, by name.
func (db *DB) KnownNASes(context.Context) ([]hotspot.NASMemory, error) {
	db.nases.mu.Lock()
	defer db.nases.mu.Unlock()
	return slices.SortedFunc(maps.Values(db.nases.known), func(a, b hotspot.NASMemory) int { return strings.Compare(string(a.NAS), string(b.NAS)) }), nil
}

// LearnNAS adds to what is known of a NAS; nothing is ever taken back. It does
// not wait. What is known already costs a look.
func (db *DB) LearnNAS(m hotspot.NASMemory) {
	db.nases.mu.Lock()
	before := db.nases.known[m.NAS]
	fresh := merge(before, m)
	full := before.NAS == "" && len(db.nases.known) >= nasesBound
	if m.EchoesClass {
		delete(db.nases.mute, m.NAS)
	}
	news := fresh != before && !full && m.NAS != ""
	if news {
		if db.nases.owed == nil {
			db.nases.owed = map[hotspot.NASID]hotspot.NASMemory{}
		}
		db.nases.owed[m.NAS] = merge(db.nases.owed[m.NAS], m)
	}
	db.nases.mu.Unlock()
	if news {
		db.enqueue(func(t *tx) error { return t.learnNAS(m) })
	}
}

func (t *tx) learnNAS(m hotspot.NASMemory) error {
	_, err := t.exec("learn NAS", `INSERT INTO nas (id, signs_requests, signs_replies, echoes_class) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
			signs_requests = MAX(signs_requests, excluded.signs_requests), signs_replies = MAX(signs_replies, excluded.signs_replies),
			echoes_class = MAX(echoes_class, excluded.echoes_class)`, m.NAS, m.SignsRequests, m.SignsReplies, m.EchoesClass)
	t.learnt = append(t.learnt, m)
	return err
}

// learnOwed writes what was learnt and did not reach the disk.
func (t *tx) learnOwed() error {
	t.db.nases.mu.Lock()
	owed := slices.Collect(maps.Values(t.db.nases.owed))
	t.db.nases.mu.Unlock()
	for _, m := range owed {
		if err := t.learnNAS(m); err != nil {
			return err
		}
	}
	return nil
}

// remember takes in what was committed.
func (n *nases) remember(learnt []hotspot.NASMemory) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range learnt {
		known := merge(n.known[m.NAS], m)
		n.known[m.NAS] = known
		if o, ok := n.owed[m.NAS]; ok && merge(known, o) == known {
			delete(n.owed, m.NAS)
		}
	}
}

// echoes reports whether the NAS can be trusted to send a Class back.
func (n *nases) echoes(id hotspot.NASID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known[id].EchoesClass && !n.mute[id]
}

// noteMute takes in a Start without Class. It reports whether that is news.
func (n *nases) noteMute(id hotspot.NASID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.known[id].EchoesClass || n.mute[id] {
		return false
	}
	n.mute[id] = true
	return true
}

// loadNASes reads the table when the store opens.
func (t *tx) loadNASes() error {
	return t.rows("read NASes", "SELECT id, signs_requests, signs_replies, echoes_class FROM nas", nil, func(scan func(...any) error) error {
		var m hotspot.NASMemory
		err := scan(&m.NAS, &m.SignsRequests, &m.SignsReplies, &m.EchoesClass)
		t.learnt = append(t.learnt, m)
		return err
	})
}
