package bench

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"iwas/internal/radload"
)

// growth measures a start, the latency of logins and memory at many sizes.
func (r *run) growth(ctx context.Context) error {
	sizes := []int{1_000, 10_000, 100_000, 1_000_000}
	if r.Quick {
		sizes = sizes[:3]
	}
	t := table{{"accounts", "server", "start → first answer", "p99 of PAP at 32", "rate", "peak memory"}}
	defer func() { t.print(r.Out) }() // what was measured before something went wrong counts
	for _, n := range sizes {
		for _, s := range []server{&agent{programs: r.Programs}, &freeRADIUS{in: inSQLite}} {
			if _, peer := s.(*freeRADIUS); peer && (n < 10_000 || n > 100_000) {
				continue
			}
			row, err := r.grown(ctx, s, n)
			if err != nil {
				return fmt.Errorf("%d accounts: %w", n, err)
			}
			t.row(row...)
		}
	}
	return nil
}

// restarter is a server that starts again on its data.
type restarter interface {
	server
	Restart(ctx context.Context) error
	FirstReply() time.Duration // process start → first answer, of the newest start
}

// FirstReply implements restarter.
func (a *agent) FirstReply() time.Duration { return a.firstReply }

// FirstReply implements restarter.
func (f *freeRADIUS) FirstReply() time.Duration { return f.firstReply }

func (r *run) grown(ctx context.Context, s server, n int) (row []string, err error) {
	dir, err := r.folder("growth")
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := begin(ctx, dir, n, s); err != nil {
		return nil, err
	}
	again := s.(restarter)
	defer func() { err = errors.Join(err, end(s)) }()
	if prepared := time.Since(began); prepared > 10*time.Second {
		r.say("   preparing %d accounts for %s took %s", n, s.Name(), prepared.Round(time.Second))
	}
	var firsts, p99s []time.Duration
	var rates []float64
	var peak int64
	crowd := radload.NewCrowd(n, account)
	for range r.rounds {
		if err := s.Stop(syscall.SIGTERM); err != nil {
			return nil, err
		}
		if err := again.Restart(ctx); err != nil {
			return nil, err
		}
		firsts = append(firsts, again.FirstReply())
		m, err := load(ctx, s, radload.Options{Crowd: crowd, Script: []radload.Kind{radload.PAP}, Outstanding: 32, Time: r.length})
		if err != nil {
			return nil, err
		}
		p99s, rates = append(p99s, m.Quantile(.99)), append(rates, m.Rate())
		u, err := usage(s)
		if err != nil {
			return nil, err
		}
		peak = max(peak, u.Peak)
	}
	return []string{fmt.Sprint(n), s.Name(), short(median(firsts)), short(median(p99s)), perSecond(median(rates)), megabytes(peak)}, nil
}

// storm is a router that rebooted: all its guests log in and start accounting at
// once, over a disk that writes 300 times a second.
func (r *run) storm(ctx context.Context) error {
	slow := Slow{IOPS: 300}
	t := table{{fmt.Sprintf("medians of %d", r.rounds), "all online after", "p50", "p99", "sent again", "timed out"}}
	for _, s := range []server{&agent{programs: r.Programs}, &freeRADIUS{in: inSQLite}} {
		row, err := r.comeBack(ctx, slow, s)
		if err != nil {
			return err
		}
		t.row(row...)
	}
	t.print(r.Out)
	return nil
}

// comeBack lets 500 guests come back, some times over.
func (r *run) comeBack(ctx context.Context, slow Slow, s server) (row []string, err error) {
	const guests = 500
	own, err := r.folder("storm")
	if err != nil {
		return nil, err
	}
	d, err := newDisk(ctx, r.Self, own, slow)
	if err != nil {
		return nil, noDisk(err)
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := r.describe(s, d, slow); err != nil {
		return nil, err
	}
	if err := begin(ctx, d.at, accounts, s); err != nil {
		return nil, err
	}
	// A peer asked to stop would first write for a minute what nobody waits for.
	defer func() { err = errors.Join(err, s.Stop(syscall.SIGKILL)) }()
	auth, acct := s.Doors()
	crowd := radload.NewCrowd(guests, account)
	var took, p50, p99 []time.Duration
	var again, lost []int
	for range r.rounds {
		crowd.Rewind()
		got, err := radload.Run(ctx, radload.Options{Auth: auth, Acct: acct, Secret: sharedSecret, Crowd: crowd,
			Script: []radload.Kind{radload.PAP, radload.Start}, Once: true, Outstanding: guests, Time: 30 * time.Second})
		if err != nil {
			return nil, err
		}
		if got.Wrong+got.Rejected > 0 {
			return nil, fmt.Errorf("%s: %w", s.Name(), got.Clean())
		}
		took, p50, p99 = append(took, got.Elapsed), append(p50, got.Quantile(.5)), append(p99, got.Quantile(.99))
		again, lost = append(again, got.Resent), append(lost, got.Lost)
	}
	return []string{s.Name(), short(median(took)), short(median(p50)), short(median(p99)), fmt.Sprint(median(again)), fmt.Sprint(median(lost))}, nil
}
