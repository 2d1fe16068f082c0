package store

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"time"

	"iwas/internal/wire"
)

// witness remembers, in a file beside the database, how far the log has come. A
// database put back from a backup is behind it: then the log begins a new epoch,
// and a gap names what this database has never heard of. The cloud would find
// out too, unless it went back to a backup itself.
type witness struct {
	mu    sync.Mutex
	at    time.Duration // of db.o.Elapsed, of the last writing; guarded by mu
	known []witnessed   // what the file holds, the oldest epoch first; guarded by mu
}

// witnessed is how far one epoch of the log had come.
type witnessed struct {
	Epoch string `json:"epoch"`
	Last  int64  `json:"last_seq"`
}

const (
	witnessFile  = ".mark"     // after the database's name
	witnessEvery = time.Second // at most, while the cloud acknowledges
	witnessLives = 100         // epochs remembered, the newest: each costs a restore, or a cloned disk
)

// bearWitness writes the file; it is never ahead of the database, and may be
// behind. Without it nothing is worse than that a restore may go unseen here.
func (db *DB) bearWitness(w witnessed, force bool) {
	v := &db.witness
	v.mu.Lock()
	defer v.mu.Unlock()
	now, n := db.o.Elapsed(), len(v.known)
	same := n > 0 && v.known[n-1].Epoch == w.Epoch
	if same && !force && now-v.at < witnessEvery {
		return
	}
	v.at = now
	if same {
		v.known[n-1] = w
	} else {
		v.known = append(v.known[max(0, n+1-witnessLives):], w)
	}
	b, err := json.Marshal(v.known)
	name := db.o.Path + witnessFile
	if err == nil {
		err = os.WriteFile(name+".new", append(b, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		db.o.Log.Warn("how far the log has come was not noted beside the database", "err", err)
	}
}

// askWitness begins a new epoch where the file knows more than the database. It
// goes by the order in the file, never by dates, which may have been set back.
func (db *DB) askWitness(ctx context.Context) error {
	known := db.readWitness()
	db.witness.mu.Lock()
	db.witness.known = known
	db.witness.mu.Unlock()
	if len(known) == 0 && !db.o.revived {
		return nil // a new store, or one from before there was a file
	}
	return db.do(ctx, func(t *tx) error {
		m := t.mark
		at := slices.IndexFunc(known, func(w witnessed) bool { return w.Epoch == m.epoch })
		if !db.o.revived && (at < 0 || at == len(known)-1 && known[at].Last <= m.lastSeq) {
			return nil // the file is behind, or in step
		}
		lost := []wire.Gap{{Epoch: m.epoch, First: m.lastSeq + 1}}
		if at >= 0 {
			for _, w := range known[at+1:] {
				lost = append(lost, wire.Gap{Epoch: w.Epoch, First: 1})
			}
		}
		db.o.Log.Warn("the database is older than the log has come: it was put back from a copy", "epoch", m.epoch, "last", m.lastSeq, "known", known)
		return t.newEpoch(m.acked, lost...)
	})
}

// readWitness reads the file beside the database; nothing where there is none that
// can be read.
func (db *DB) readWitness() (known []witnessed) {
	b, err := os.ReadFile(db.o.Path + witnessFile)
	if err != nil {
		return nil
	}
	if err := json.Unmarshal(b, &known); err != nil {
		db.o.Log.Warn("the file beside the database cannot be read; it is written anew", "file", db.o.Path+witnessFile, "err", err)
		return nil
	}
	return known
}

func (t *tx) witnessed() witnessed { return witnessed{t.mark.epoch, t.mark.lastSeq} }
