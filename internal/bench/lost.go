package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"iwas/internal/radload"
)

// ledger is what the load was told is safe: of every session the newest record
// that was acknowledged.
type ledger struct {
	mu      sync.Mutex
	records int
	newest  map[string]radload.Record
}

func (l *ledger) acked(r radload.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records++
	if l.newest == nil {
		l.newest = map[string]radload.Record{}
	}
	l.newest[r.AcctSessionID] = r // of one session, one after the other
}

// kept is what a store holds of a session; fill prints it.
type kept struct {
	AcctSessionID string `json:"acct_session_id"`
	Closed        bool   `json:"closed"`
	Seconds       uint32 `json:"seconds"`
	Upload        uint64 `json:"upload"`
	Download      uint64 `json:"download"`
}

// verdict is the comparison of a ledger with a store.
type verdict struct{ sessions, records, missing, doubled, wrong int }

func (v verdict) String() string {
	return fmt.Sprintf("%d records of %d sessions acknowledged: %d sessions missing or behind, %d twice, %d with wrong counts", v.records, v.sessions, v.missing, v.doubled, v.wrong)
}

// judge holds what is kept against what was acknowledged. A record that was on
// its way when all ended may be there without having been acknowledged: one step
// ahead, no more.
func (l *ledger) judge(all []kept) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	by := map[string][]kept{}
	for _, k := range all {
		by[k.AcctSessionID] = append(by[k.AcctSessionID], k)
	}
	v := verdict{sessions: len(l.newest), records: l.records}
	for id, want := range l.newest {
		got := by[id]
		switch {
		case len(got) == 0:
			v.missing++
		case len(got) > 1:
			v.doubled++
		case got[0].Upload < want.Upload, got[0].Download < want.Download, got[0].Seconds < want.Seconds, want.Kind == radload.Stop && !got[0].Closed:
			v.missing++
		case got[0].Upload*9 != got[0].Download, got[0].Upload > want.Upload+1000, want.Kind == radload.Stop && got[0].Upload != want.Upload:
			v.wrong++
		}
	}
	return v
}

// sessions reads the store below a state folder, after checking that it is sound.
func (r *run) sessions(ctx context.Context, state string) ([]kept, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, r.Fill, "sessions", state)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("read the store: %w\n%s", err, complaint.Bytes())
	}
	var all []kept
	for d := json.NewDecoder(&out); d.More(); {
		var k kept
		if err := d.Decode(&k); err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// underLoad keeps guests coming and going, from more than one of whom something
// is on its way at every moment, while do does its worst. The guests are as
// patient as it takes: what is not acknowledged they send again.
func underLoad(ctx context.Context, s server, l *ledger, do func() error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	auth, acct := s.Doors()
	done := make(chan error, 1)
	go func() {
		got, err := radload.Run(ctx, radload.Options{Auth: auth, Acct: acct, Secret: sharedSecret, Crowd: radload.NewCrowd(1000, account),
			Script: cafe, Outstanding: 64, Time: time.Hour, Resend: 100 * time.Millisecond, Tries: 1000, Acked: l.acked})
		if err == nil && got.Wrong > 0 {
			err = got.Clean()
		}
		done <- err
	}()
	err := do()
	stop()
	return errors.Join(err, <-done)
}

// kill ends the agent with kill -9 again and again under load.
func (r *run) kill(ctx context.Context) (err error) {
	kills := 100
	if r.Quick {
		kills = 20
	}
	dir, err := r.folder("kill")
	if err != nil {
		return err
	}
	a := &agent{programs: r.Programs}
	if err := begin(ctx, dir, 1000, a); err != nil {
		return err
	}
	l := &ledger{}
	err = underLoad(ctx, a, l, func() error {
		for range kills {
			if err := sleep(ctx, time.Duration(50+rand.IntN(250))*time.Millisecond); err != nil {
				return err
			}
			if err := a.Stop(syscall.SIGKILL); err != nil {
				return err
			}
			if err := a.Restart(ctx); err != nil {
				return err
			}
		}
		return sleep(ctx, 300*time.Millisecond)
	})
	if err = errors.Join(err, a.Stop(syscall.SIGKILL)); err != nil {
		return err
	}
	all, err := r.sessions(ctx, a.state)
	if err != nil {
		return err
	}
	r.say("   %d kills: %s", kills, l.judge(all))
	return nil
}

// power cuts the power of the agent's disk under load, with and without syncing.
func (r *run) power(ctx context.Context) error {
	cuts := r.rounds
	for _, normal := range []bool{false, true} {
		var sum verdict
		var per []int
		for range cuts {
			v, err := r.cut(ctx, normal)
			if err != nil {
				return err
			}
			sum.sessions, sum.records, sum.missing = sum.sessions+v.sessions, sum.records+v.records, sum.missing+v.missing
			sum.doubled, sum.wrong = sum.doubled+v.doubled, sum.wrong+v.wrong
			per = append(per, v.missing)
		}
		name := "synchronous=FULL, as shipped"
		if normal {
			name = "synchronous=NORMAL, only in a program built for tests"
		}
		r.say("   %s: %d cuts: %s; missing by cut %v", name, cuts, sum, per)
	}
	r.say("   A cut is a kill -9 of the process that serves the disk below ext4 and its loop device: what the disk was not asked to flush is gone.")
	return nil
}

// cut is one power cut.
func (r *run) cut(ctx context.Context, normal bool) (v verdict, err error) {
	dir, err := r.folder("power")
	if err != nil {
		return v, err
	}
	d, err := newDisk(ctx, r.Self, dir, Slow{})
	if err != nil {
		return v, noDisk(err)
	}
	a := &agent{programs: r.Programs, normal: normal}
	own := filepath.Join(dir, "agent")
	if err := begin(ctx, d.at, 1000, a); err != nil {
		return v, errors.Join(err, d.close())
	}
	l := &ledger{}
	err = underLoad(ctx, a, l, func() error {
		err := sleep(ctx, time.Duration(1000+rand.IntN(1000))*time.Millisecond)
		return errors.Join(err, d.cut())
	})
	if err = errors.Join(err, a.Stop(syscall.SIGKILL)); err != nil {
		return v, err
	}
	if err := d.after(ctx, own); err != nil {
		return v, err
	}
	state, err := filepath.Rel(d.at, a.state)
	if err != nil {
		return v, err
	}
	all, err := r.sessions(ctx, filepath.Join(own, state))
	return l.judge(all), errors.Join(err, syscall.Unmount(own, 0))
}

// sleep waits, unless the bench is ended.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
