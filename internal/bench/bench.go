// Package bench measures this system's RADIUS beside others', on one machine, in
// one run, with one load generator (internal/radload): how fast, at what cost,
// and what is left after kills and power cuts. It asserts nothing; it prints.
//
// The peers are Debian's FreeRADIUS, with its users in files, in SQLite and in
// PostgreSQL. Everything listens on free ports of 127.0.0.1 and keeps its data
// below one temporary folder.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Programs are the binaries under measurement.
type Programs struct {
	Self      string // this program
	Agent     string // as shipped
	TestAgent string // built with tag e2e
	Fill      string // agent/store/fill
}

// Options say what is measured and how long.
type Options struct {
	Programs
	Parts []string // names of parts; none is all
	Quick bool     // shorter, for a look: fewer rounds, no million of accounts
	Out   io.Writer
}

// run is one run of the bench.
type run struct {
	Options
	dir    string
	rounds int           // of every figure; the median is printed
	length time.Duration // of one measurement
}

type part struct {
	name, what string
	run        func(*run, context.Context) error
}

var parts = []part{
	{"generator", "the load generator against a UDP echo (target: 150 k/s)", (*run).generator},
	{"radius", "10,000 accounts, every policy on, Message-Authenticator both ways", (*run).radius},
	{"fsync", "durable accounting where a flush of the disk takes 1 ms", (*run).fsync},
	{"storm", "500 guests come back after a router's reboot, 300 writes a second (target: 2 s, nobody times out)", (*run).storm},
	{"kill", "kill -9 at random moments under accounting load (target: none missing, byte counts right)", (*run).kill},
	{"power", "power cuts under accounting load (target: none missing; without syncing some are, so the test can tell)", (*run).power},
	{"growth", "as accounts grow (targets: first answer in 100 ms at 10 k, 300 ms at 1 M; p99 at 1 M at most 1.5 × that at 10 k)", (*run).growth},
}

// Run measures and prints. A part that cannot run here says why and is left out;
// the others go on.
func Run(ctx context.Context, o Options) (err error) {
	runtime.LockOSThread() // children die with the thread that started them
	dir, err := os.MkdirTemp("", "iwas-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL has a user of its own
		return err
	}
	r := &run{Options: o, dir: dir, rounds: 5, length: 1500 * time.Millisecond}
	if o.Quick {
		r.rounds, r.length = 3, 700*time.Millisecond
	}
	for _, name := range o.Parts {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("there is no part %q; there are %s", name, names())
		}
	}
	r.say("FR is Debian's FreeRADIUS: with users in files, read into memory at its start; in SQLite; in PostgreSQL.")
	r.say("%d processors, shared with the load generator; load average before anything began: %s.\n", runtime.NumCPU(), loadAverage())
	for _, p := range parts {
		if len(o.Parts) > 0 && !slices.Contains(o.Parts, p.name) {
			continue
		}
		r.say("== %s: %s", p.name, p.what)
		began := time.Now()
		if err := p.run(r, ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.say("not measured: %v", err)
		}
		r.say("   (%s; load average after it: %s)\n", time.Since(began).Round(time.Second), loadAverage())
	}
	return nil
}

// loadAverage of the last minute says how much of the machine others took.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err.Error()
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

func names() string {
	var out []string
	for _, p := range parts {
		out = append(out, p.name)
	}
	return strings.Join(out, ", ")
}

func (r *run) say(format string, args ...any) { fmt.Fprintf(r.Out, format+"\n", args...) }

// folder makes a folder of a part's own.
func (r *run) folder(name string) (string, error) {
	dir, err := os.MkdirTemp(r.dir, name+"-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// begin starts servers, each in a folder of its own below dir. On an error none
// is left running.
func begin(ctx context.Context, dir string, accounts int, servers ...server) error {
	for i, s := range servers {
		own := filepath.Join(dir, fmt.Sprint("server", i))
		err := os.Mkdir(own, 0o755)
		if err == nil {
			err = s.Start(ctx, own, accounts)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s.Name(), err), end(servers[:i]...))
		}
	}
	return nil
}

func end(servers ...server) error {
	var err error
	for _, s := range servers {
		err = errors.Join(err, s.Stop(syscall.SIGTERM))
	}
	return err
}

// median of the values; the lower of the two in the middle.
func median[T cmp.Ordered](all []T) (zero T) {
	if len(all) == 0 {
		return zero
	}
	s := slices.Sorted(slices.Values(all))
	return s[(len(s)-1)/2]
}

// table is printed with columns as wide as they must be.
type table [][]string

func (t *table) row(cells ...string) { *t = append(*t, cells) }

func (t table) print(w io.Writer) {
	var wide []int
	for _, row := range t {
		for i, c := range row {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], len([]rune(c)))
		}
	}
	for _, row := range t {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", wide[i]-len([]rune(c)))
			if i == 0 {
				b.WriteString(c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// Figures as people read them.

func perSecond(v float64) string {
	if v >= 10_000 {
		return fmt.Sprintf("%.1f k/s", v/1000)
	}
	return fmt.Sprintf("%.2f k/s", v/1000)
}

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func megabytes(b int64) string { return fmt.Sprintf("%d MB", b/1e6) }

func times(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f ×", a/b)
}
