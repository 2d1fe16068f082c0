package store

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"

	"iwas/internal/wire"
)

// witness remembers, in a file beside the database, how far the log has come. A
// database put back from a backup is behind it: then the log begins a new epoch,
// and a gap names what this database has never heard of. The cloud would find
// out too, unless it went back to a backup itself.
type witness struct {
	mu sync.Mutex
	at time.Duration // of db.o.Elapsed, of the last writing; guarded by mu
}

// witnessed is what the file holds.
type witnessed struct {
	Epoch string `json:"epoch"`
	Last  int64  `json:"last_seq"`
}

const (
	witnessFile  = ".mark"     // after the database's name
	witnessEvery = time.Second // at most, while the cloud acknowledges
)

// bearWitness writes the file; it is never ahead of the database, and may be
// behind. Without it nothing is worse than that a restore may go unseen here.
func (db *DB) bearWitness(w witnessed, force bool) {
	db.witness.mu.Lock()
	defer db.witness.mu.Unlock()
	now := db.o.Elapsed()
	if !force && now-db.witness.at < witnessEvery {
		return
	}
	db.witness.at = now
	b, err := json.Marshal(w)
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

// askWitness begins a new epoch where the file knows more than the database. Ids
// of epochs begin with their time, so that a file left behind by a new epoch that
// it was too late for is no sign of a restore.
func (db *DB) askWitness(ctx context.Context) error {
	b, err := os.ReadFile(db.o.Path + witnessFile)
	if err != nil {
		return nil // a new store, or one from before there was a file
	}
	var w witnessed
	if err := json.Unmarshal(b, &w); err != nil {
		db.o.Log.Warn("the file beside the database cannot be read; it is written anew", "file", db.o.Path+witnessFile, "err", err)
		return nil
	}
	return db.do(ctx, func(t *tx) error {
		m := t.mark
		if w.Epoch < m.epoch || w.Epoch == m.epoch && w.Last <= m.lastSeq {
			return nil
		}
		db.o.Log.Warn("the database is older than the file beside it: it was put back from a backup", "epoch", m.epoch, "last", m.lastSeq, "was_epoch", w.Epoch, "was_last", w.Last)
		lost := []wire.Gap{{Epoch: m.epoch, First: m.lastSeq + 1}}
		if w.Epoch != m.epoch {
			lost = append(lost, wire.Gap{Epoch: w.Epoch, First: 1})
		}
		return t.newEpoch(m.acked, lost...)
	})
}

func (t *tx) witnessed() witnessed { return witnessed{t.mark.epoch, t.mark.lastSeq} }
