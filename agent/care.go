package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"iwas/agent/radius"
	"iwas/agent/store"
	"iwas/agent/uplink"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// reserveSize is the file that is given up when the disk is full: hours of a cafe's
// events, in octets.
const reserveSize = 16 << 20

// databaseFile and copiesDir are where the store is, and the copies of it.
func (c config) databaseFile() string { return filepath.Join(c.StateDir, "iwas.db") }
func (c config) copiesDir() string    { return filepath.Join(c.StateDir, "backup") }

// errDamaged ends a run whose database was found damaged: the next one opens it
// anew, which puts it back.
var errDamaged = errors.New("the database is damaged")

// Pauses between runs that ended so. A disk that damages whatever is put on it must
// not keep the box busy.
const (
	againFirst = time.Second
	againMost  = 5 * time.Minute
	againCalm  = time.Hour // a run of this length begins with the first pause again
)

// serveAgain runs the whole program again when its database was damaged: every part
// begins anew, as after a start of the service.
func serveAgain(ctx context.Context, log *slog.Logger, run func(context.Context) error) error {
	pause := againFirst
	for {
		began := time.Now()
		err := run(ctx)
		if errors.Is(err, errUsable) && ctx.Err() == nil {
			log.Info("every part begins anew: the state directory can be used now")
			continue
		}
		if !errors.Is(err, errDamaged) || ctx.Err() != nil {
			return err
		}
		if time.Since(began) > againCalm {
			pause = againFirst
		}
		log.Error("every part begins anew, to put the database back", "code", store.CodeDamaged, "err", err, "after_s", pause.Seconds())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, againMost)
	}
}

// runSound is run, and says where damage of the database was at the bottom of its end.
func (s *site) runSound(ctx context.Context) error {
	err := s.run(ctx)
	if s.db == nil && s.usable.Load() {
		err = errors.Join(err, errUsable)
	}
	if s.db != nil && s.db.Damage() != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", errDamaged, s.db.Damage()))
	}
	return err
}

// untilDamaged runs until ctx ends, or until the store met damage.
func (s *site) untilDamaged(ctx context.Context, run func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if s.db == nil {
		go s.awaitUsable(ctx, stop)
		return run(ctx)
	}
	go func() {
		select {
		case <-s.db.Damaged():
			stop()
		case <-ctx.Done():
		}
	}()
	return run(ctx)
}

// Bounds of the wait for the cloud after a restore.
const (
	gateMost  = 10 * time.Second // then logins go by the copy
	gateQuiet = 2 * time.Second  // heard the cloud, and nothing came down for this long: it has nothing to add
	gateLook  = 50 * time.Millisecond
)

// gate keeps logins waiting, in silence, after a restore: a lock set since the copy
// was taken must be here before the first Accept. A router asks again for seconds.
type gate struct {
	radius.Decider
	open chan struct{} // closed once logins are judged
}

// Authorize is silent while the gate is closed.
func (g *gate) Authorize(ctx context.Context, r hotspot.Request) (hotspot.Verdict, error) {
	select {
	case <-g.open:
		return g.Decider.Authorize(ctx, r)
	default:
		return hotspot.Verdict{}, fault.New(fault.Unavailable, "the database was put back from a copy, and the cloud is being asked what has changed since", nil)
	}
}

// guarded puts the gate before the judge where this start put the database back.
func (s *site) guarded(d radius.Decider) radius.Decider {
	if _, now, _ := s.db.Restored(); !now {
		return d
	}
	s.gate = &gate{Decider: d, open: make(chan struct{})}
	return s.gate
}

// openGate waits until the wanted state is that of the cloud, or there is no use in
// waiting.
func (s *site) openGate(ctx context.Context) error {
	if s.gate == nil {
		return nil
	}
	var status func() uplink.Status
	if s.uplink != nil {
		status = s.uplink.Status
	}
	heard := awaitState(ctx, status)
	select {
	case <-s.gate.open:
		return nil
	default:
	}
	close(s.gate.open)
	s.log.Info("logins are judged again after the database was put back", "cloud_heard", heard)
	<-ctx.Done() // a task that returns is run again
	return nil
}

// awaitState waits for the cloud's word on the wanted state; false: it was not heard
// in time, or there is none.
func awaitState(ctx context.Context, status func() uplink.Status) (heard bool) {
	if status == nil {
		return false
	}
	tick := time.NewTicker(gateLook)
	defer tick.Stop()
	began := time.Now()
	first := status().Revision
	quiet := time.Time{}
	for time.Since(began) < gateMost {
		u := status()
		switch {
		case u.LastContact.IsZero():
		case quiet.IsZero() || u.Revision != first:
			quiet, first = time.Now(), u.Revision
		case time.Since(quiet) >= gateQuiet:
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return false
}

const (
	restoredShown = 7 * 24 * time.Hour // after a restore
	copyLate      = 3 * time.Hour      // without a copy that could be taken
)

// careFindings are what the care of the database has to say.
func (s *site) careFindings(now time.Time) (out []condition.Finding) {
	add := func(code, text string) { out = append(out, condition.Finding{Code: code, Text: text}) }
	zone := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
	if r, _, ever := s.db.Restored(); ever && now.Sub(r.At).Abs() < restoredShown {
		text := "it was put back " + webui.Age(now.Sub(r.At)) + " from the copy of " + zone(r.TakenAt) + ": " + r.Why
		if r.Aside != "" {
			text += "; the damaged file is " + r.Aside
		}
		add(store.CodeRestored, text)
	}
	c := s.db.Care()
	if c.CopyErr != nil && now.Sub(c.CopySince).Abs() >= copyLate {
		add(store.CodeNoCopy, "none since "+zone(c.CopyAt)+": "+c.CopyErr.Error())
	}
	free := webui.Bytes(hotspot.Octets(diskFree(s.cfg.StateDir))) + " are free on the disk of " + s.cfg.StateDir
	if _, err := s.db.WriteTrouble(); fault.Code(err) == store.CodeNoRoom {
		text := free
		if c.Held > 0 {
			text += fmt.Sprintf("; the newest usage of %d sessions waits in memory", c.Held)
		}
		add(store.CodeNoRoom, text)
	} else if c.Low {
		add(store.CodeLow, free)
	}
	return out
}
