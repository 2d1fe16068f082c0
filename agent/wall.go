package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"iwas/agent/aaa"
	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

// wall is the date this program goes by (design.md §7): one that runs on whatever
// anybody sets the system's to, and is corrected, either way, by a time server
// through the kernel, else by the cloud. It begins with the system's date where that
// is likely, else with the newest date known to have passed; then it is doubtful
// until it is corrected, and nothing expires by it.
type wall struct {
	file   string // keeps the newest date for the next start
	system func() time.Time
	ran    func() time.Duration // since whenever, by a clock that nobody sets
	log    *slog.Logger

	mu       sync.Mutex    // guards what follows
	date     time.Time     // at the reading of began
	began    time.Duration // reading of ran then
	doubtful bool
	source   dateSource
	kept     time.Time // date last written
}

// dateSource is who said what day it is.
type dateSource string

const (
	dateOfSystem dateSource = "system" // likely, and nobody has confirmed it
	dateKept     dateSource = "kept"   // the newest one known
	dateOfServer dateSource = "server" // a time server, by the kernel
	dateOfCloud  dateSource = "cloud"
)

const (
	// likelyFor is how far beyond the newest date known a start is likely to be: a
	// cafe that was closed for a month. A clock chip without power says anything.
	likelyFor = 31 * 24 * time.Hour
	// stepFrom is how far off the date must be to be set; a time server that adjusts
	// the rate stays below.
	stepFrom = 2 * time.Second
	wallLook = time.Second
	wallKeep = 10 * time.Minute // between writings, and so what a power cut can take back
)

// newWall begins with the system's date or, if that is not likely, with the newest
// of built and what the file keeps.
func newWall(file string, built time.Time, system func() time.Time, ran func() time.Duration, log *slog.Logger) *wall {
	w := &wall{file: file, system: system, ran: ran, log: log, source: dateOfSystem, date: system().Round(0), began: ran()}
	last := built
	if b, err := os.ReadFile(file); err == nil {
		if at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(b))); err == nil && at.After(last) {
			last = at
		}
	}
	known := last.After(built) // a build alone may be years old
	if !last.IsZero() && (w.date.Before(last) || known && w.date.Sub(last) > likelyFor) {
		log.Warn("the system's date is not likely; the newest date known is kept until a time server or the cloud says better", "code", codeNoDate, "system", w.date, "kept", last)
		w.date, w.doubtful, w.source = last, true, dateKept
	}
	return w
}

// builtAt is about when this program was built; zero where that is not known.
func builtAt() time.Time {
	exe, err := os.Executable()
	if err != nil {
		return time.Time{}
	}
	st, err := os.Stat(exe)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// Now returns the date.
func (w *wall) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now()
}

func (w *wall) now() time.Time { return w.date.Add(w.ran() - w.began) }

// Doubtful reports whether nobody knows what day it is.
func (w *wall) Doubtful() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doubtful
}

// correct takes in what the kernel and the cloud say, and returns by how much the
// date was set. off is the cloud's date minus ours.
func (w *wall) correct(follows bool, off, uncertain time.Duration, heard bool) (step time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	source := dateOfCloud
	switch {
	case follows:
		source, step = dateOfServer, w.system().Round(0).Sub(now)
	case heard:
		step = off
	default:
		return 0
	}
	if w.doubtful || w.source != source {
		w.log.Info("what day it is is known", "source", source, "at", now.Add(step))
	}
	w.doubtful, w.source = false, source
	limit := stepFrom
	if source == dateOfCloud {
		limit += uncertain
	}
	if step.Abs() <= limit {
		return 0
	}
	w.log.Warn("the date is set", "source", source, "from", now, "to", now.Add(step))
	w.date, w.began = now.Add(step), w.ran()
	return step
}

// keep writes the date for the next start; what is doubtful is not worth keeping.
func (w *wall) keep(force bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if w.doubtful || !force && now.Sub(w.kept).Abs() < wallKeep {
		return
	}
	w.kept = now
	if err := secret.WriteFile(w.file, []byte(now.UTC().Format(time.RFC3339)+"\n")); err != nil {
		w.log.Warn("the date was not kept for the next start", "err", err)
	}
}

// keepDate corrects the date for as long as ctx lives.
func (s *site) keepDate(ctx context.Context) error {
	tick := time.NewTicker(wallLook)
	defer tick.Stop()
	defer s.wall.keep(true)
	for {
		var off, uncertain time.Duration
		heard := false
		if s.uplink != nil {
			off, uncertain, heard = s.uplink.ClockOffset()
		}
		if step := s.wall.correct(followsServer(), off, uncertain, heard); step != 0 && s.uplink != nil {
			s.uplink.Stepped(step)
		}
		s.wall.keep(false)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// dated takes the dates of validity out of a pass while nobody knows what day it is:
// its time and data end all the same.
func (w *wall) dated(p *hotspot.Pass) *hotspot.Pass {
	if p == nil || p.ValidFrom.IsZero() && p.ValidUntil.IsZero() || !w.Doubtful() {
		return p
	}
	open := *p
	open.ValidFrom, open.ValidUntil = time.Time{}, time.Time{}
	return &open
}

// decide, off, terms and remaining are the rules with the date they may go by.
func (w *wall) decide(f hotspot.Facts, r hotspot.Request) hotspot.Verdict {
	f.Pass = w.dated(f.Pass)
	return aaa.Decide(f, r)
}

func (w *wall) off(p *hotspot.Pass, l *hotspot.Lock, now time.Time) hotspot.OffReason {
	return aaa.OffReason(w.dated(p), l, now)
}

func (w *wall) terms(p *hotspot.Pass, now time.Time, zone *time.Location) (hotspot.RateLimit, time.Duration, bool) {
	return aaa.Terms(w.dated(p), now, zone)
}

func (w *wall) remaining(p hotspot.Pass, now time.Time) (aaa.Left, hotspot.Reason) {
	return aaa.Remaining(*w.dated(&p), now)
}

const (
	codeNoDate    = "CLK-103"
	codeSystemOff = "CLK-104"
)

// findings are what is to be said of the date.
func (w *wall) findings() (out []condition.Finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if w.doubtful {
		return append(out, condition.Finding{Code: codeNoDate, Text: "it goes by " + now.UTC().Format("2006-01-02 15:04 UTC") + ", and no pass ends by its date"})
	}
	if apart := now.Sub(w.system().Round(0)); apart.Abs() > stepFrom {
		from := map[dateSource]string{dateOfCloud: "the cloud's", dateOfServer: "the time server's", dateOfSystem: "the one it began with"}[w.source]
		way := "behind"
		if apart < 0 {
			way = "ahead of"
		}
		out = append(out, condition.Finding{Code: codeSystemOff, Text: "the system's date is " + webui.Took(apart.Abs()) + " " + way + " the one this service goes by, " + from})
	}
	return out
}

// dateFile is where the newest date is kept.
func (c config) dateFile() string { return filepath.Join(c.StateDir, "date") }
