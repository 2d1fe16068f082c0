// Package history keeps what was measured, point by point, for a day and across
// a restart, in two small files beside the database. It knows nothing of what a
// point says, and nothing of it is needed to let a guest in: where the disk
// fails it goes on in memory.
//
// The disk is small and wears: points are written ten at a time and never
// synced, so that a power cut costs the newest minutes. They are a gap then, as
// any time in which nothing was measured.
package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"iwas/internal/fault"
)

const (
	// bound is how many points are kept, a day of minutes and a little. They are
	// counted, not aged: a date that is wrong for an hour must not take the day
	// away.
	bound = 25 * 60
	// atOnce is how many points one write takes to the disk.
	atOnce = 10
	// lineMost is the longest line believed, in bytes: a point of 32 routers takes
	// a quarter of it.
	lineMost = 64 << 10
)

// Point is what was measured at a time, by the clock of then.
type Point[T any] struct {
	At time.Time `json:"at"`
	V  T         `json:"v"`
}

// Log is the points. Nothing but its methods may touch its files.
type Log[T any] struct {
	dir string // "" keeps them in memory only

	mu     sync.Mutex
	points []Point[T] // in the order they came, at most bound
	late   []byte     // lines not yet written
	lines  int        // in late
	inFile int        // lines in the file that grows
}

// The file that grows, and the full one before it.
const (
	growing = "history.jsonl"
	full    = "history.1.jsonl"
)

// Open reads what dir holds. A file that cannot be read costs its points only,
// and is told as the error beside a log that works.
func Open[T any](dir string) (*Log[T], error) {
	l := &Log[T]{dir: dir}
	if dir == "" {
		return l, nil
	}
	old, err := l.load(full)
	fresh, ferr := l.load(growing)
	l.inFile = len(fresh)
	l.points = append(old, fresh...)
	l.points = slices.Clone(l.points[max(0, len(l.points)-bound):])
	return l, errors.Join(err, ferr)
}

// load reads one file. What a power cut left half written is no line, and is
// passed over.
func (l *Log[T]) load(name string) (out []Point[T], err error) {
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the history", err)
	}
	for line := range bytes.Lines(b) {
		var p Point[T]
		if len(line) <= lineMost && line[len(line)-1] == '\n' && json.Unmarshal(line, &p) == nil && !p.At.IsZero() {
			out = append(out, p)
		}
	}
	return out[max(0, len(out)-bound):], nil
}

// Add keeps a point. The error is that of the disk; the point is kept in memory
// all the same.
func (l *Log[T]) Add(at time.Time, v T) error {
	p := Point[T]{At: at.UTC(), V: v}
	line, err := json.Marshal(p)
	if err != nil {
		return fault.New(fault.Internal, "keep a point of the history", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.points) >= bound {
		l.points = slices.Delete(l.points, 0, len(l.points)-bound+1)
	}
	l.points = append(l.points, p)
	if l.dir == "" {
		return nil
	}
	l.late = append(append(l.late, line...), '\n')
	l.lines++
	if l.lines < atOnce {
		return nil
	}
	return l.write()
}

// Flush writes what is not on disk yet.
func (l *Log[T]) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == 0 {
		return nil
	}
	return l.write()
}

// write takes the late lines to the disk; l.mu is held. What fails is dropped
// from what waits: a full disk must not fill the memory.
func (l *Log[T]) write() (err error) {
	late, lines := l.late, l.lines
	l.late, l.lines = nil, 0
	path := filepath.Join(l.dir, growing)
	if l.inFile >= bound {
		if err := os.Rename(path, filepath.Join(l.dir, full)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Unavailable, "write the history", err)
		}
		l.inFile = 0
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fault.New(fault.Unavailable, "write the history", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fault.New(fault.Unavailable, "write the history", cerr)
		}
	}()
	if torn(f) {
		late = append([]byte{'\n'}, late...)
	}
	if _, err := f.Write(late); err != nil {
		return fault.New(fault.Unavailable, "write the history", err)
	}
	l.inFile += lines
	return nil
}

// torn reports whether a file ends within a line.
func torn(f *os.File) bool {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return false
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], st.Size()-1)
	return err == nil && last[0] != '\n'
}

// Between returns the points from one time to another, by their own times, the
// oldest first.
func (l *Log[T]) Between(from, to time.Time) []Point[T] {
	l.mu.Lock()
	out := make([]Point[T], 0, len(l.points))
	for _, p := range l.points {
		if !p.At.Before(from) && p.At.Before(to) {
			out = append(out, p)
		}
	}
	l.mu.Unlock()
	slices.SortStableFunc(out, func(a, b Point[T]) int { return a.At.Compare(b.At) })
	return out
}
