package logs

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	tailLines = 10_000 // kept by default
	tailLine  = 2_000  // octets of a message, and of its attributes, that are kept
)

// Tail keeps the newest lines of a log in memory, for the status page and the
// support bundle. The zero value works.
type Tail struct {
	Most int // lines; 0 is 10,000

	mu    sync.Mutex
	lines []Line // guarded by mu: a ring once it is full
	next  int    // guarded by mu: where the next line goes
}

// Line is one line of a log.
type Line struct {
	At    time.Time
	Level slog.Level
	Text  string
	Attrs string // "part=radius nas=counter"
}

// NewKept is New whose lines are kept in a tail too.
func NewKept(w io.Writer, opts *slog.HandlerOptions, t *Tail) (log *slog.Logger, flush func()) {
	h := Collapse(both{slog.NewTextHandler(w, opts), t.handler()})
	return slog.New(h), h.Flush
}

// Last returns the newest lines of a level or above, the newest first.
func (t *Tail) Last(n int, least slog.Level) []Line {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Line
	for i := range t.lines {
		l := t.lines[(t.next-1-i+2*len(t.lines))%len(t.lines)]
		if len(out) == n {
			break
		}
		if l.Level >= least {
			out = append(out, l)
		}
	}
	return out
}

func (t *Tail) add(l Line) {
	l.Text, l.Attrs = short(l.Text), short(l.Attrs)
	most := t.Most
	if most == 0 {
		most = tailLines
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) < most {
		t.lines = append(t.lines, l)
		t.next = len(t.lines) % most
		return
	}
	t.lines[t.next] = l
	t.next = (t.next + 1) % most
}

func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), tailLine)], "\uFFFD") }

// handler writes the attributes of a line.
func (t *Tail) handler() slog.Handler {
	k := &keeper{tail: t}
	k.text = slog.NewTextHandler(&k.shared().out, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}})
	return k
}

// keeper is a handler that formats a line as text and puts it into the tail.
type keeper struct {
	tail *Tail
	text slog.Handler
	buf  *sharedBuffer
}

// sharedBuffer is written by all handlers that came of one, one line at a time.
type sharedBuffer struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (k *keeper) shared() *sharedBuffer {
	if k.buf == nil {
		k.buf = &sharedBuffer{}
	}
	return k.buf
}

func (k *keeper) Enabled(ctx context.Context, l slog.Level) bool { return k.text.Enabled(ctx, l) }

func (k *keeper) Handle(ctx context.Context, r slog.Record) error {
	b := k.buf
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out.Reset()
	err := k.text.Handle(ctx, r)
	k.tail.add(Line{r.Time, r.Level, r.Message, strings.TrimRight(b.out.String(), "\n")})
	return err
}

func (k *keeper) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &keeper{k.tail, k.text.WithAttrs(attrs), k.buf}
}

func (k *keeper) WithGroup(name string) slog.Handler {
	return &keeper{k.tail, k.text.WithGroup(name), k.buf}
}

// both hands each record to two handlers.
type both struct{ a, b slog.Handler }

func (h both) Enabled(ctx context.Context, l slog.Level) bool {
	return h.a.Enabled(ctx, l) || h.b.Enabled(ctx, l)
}

func (h both) Handle(ctx context.Context, r slog.Record) error {
	var err error
	if h.a.Enabled(ctx, r.Level) {
		err = h.a.Handle(ctx, r.Clone())
	}
	if h.b.Enabled(ctx, r.Level) {
		_ = h.b.Handle(ctx, r) // in memory: it cannot fail
	}
	return err
}

func (h both) WithAttrs(attrs []slog.Attr) slog.Handler {
	return both{h.a.WithAttrs(attrs), h.b.WithAttrs(attrs)}
}

func (h both) WithGroup(name string) slog.Handler {
	return both{h.a.WithGroup(name), h.b.WithGroup(name)}
}
