// Package logs is how both programs write their log: the names of its keys, and a
// handler that says a line once where a fault would say it for ever. A line that
// comes again within the minute is held back; when the minute is over its newest
// form is written with how many it stands for. One looping error must not fill
// the disk of a small box.
package logs

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"iwas/internal/fault"
)

// Keys of a line that mean the same wherever they stand.
const (
	Part          = "part" // of the program
	Code          = "code" // of the catalogue of conditions
	Site          = "site"
	NAS           = "nas"
	AcctSessionID = "acct_session_id"
	CommandID     = "command_id"
	UserRef       = "user_ref"   // our id of an account, never a name
	MACMasked     = "mac_masked" // of a device
	DurMS         = "dur_ms"
	Err           = "err"
	Next          = "next"     // what to do
	Repeated      = "repeated" // lines held back that this one stands for
)

// CodeUnnamed is the code of an error that has none of its own: what is at level
// ERROR needs a person, who needs something to look up.
const CodeUnnamed = "SYS-112"

const (
	window     = time.Minute      // a line that repeats is told of once in it
	windowMost = 10 * time.Minute // each window with repeats doubles up to this
	linesKnown = 256              // different lines remembered; past it the one silent longest is told and forgotten
)

// New returns a log that writes to w, and what tells of the lines still held back,
// for the end of the program.
func New(w io.Writer, opts *slog.HandlerOptions) (log *slog.Logger, flush func()) {
	h := Collapse(slog.NewTextHandler(w, opts))
	return slog.New(h), h.Flush
}

// Handler collapses what repeats on its way to another handler.
type Handler struct {
	inner slog.Handler
	with  string // attributes given before, as part of a line's identity
	coded bool   // one of them is a code
	lines *lines // shared by all that came of one
}

// lines are those written lately.
type lines struct {
	mu    sync.Mutex
	known map[string]*line
}

type line struct {
	inner  slog.Handler
	newest slog.Record // not written
	held   int
	window time.Duration
	timer  *time.Timer
	at     time.Time // of the newest
}

// Collapse wraps a handler.
func Collapse(inner slog.Handler) *Handler {
	return &Handler{inner: inner, lines: &lines{known: map[string]*line{}}}
}

// Enabled is the inner handler's.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// WithAttrs keeps them as part of each line's identity.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *h
	out.inner = h.inner.WithAttrs(attrs)
	for _, a := range attrs {
		out.with += identity(a)
		out.coded = out.coded || isCode(a)
	}
	return &out
}

// WithGroup opens a group; attributes of another group are other attributes.
func (h *Handler) WithGroup(name string) slog.Handler {
	out := *h
	out.inner, out.with = h.inner.WithGroup(name), h.with+name+"{"
	return &out
}

// Handle writes the record, or counts it among those held back.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	r = h.withCode(r)
	key := r.Level.String() + "|" + blunt(r.Message) + "|" + h.with
	r.Attrs(func(a slog.Attr) bool { key += identity(a); return true })
	if h.lines.hold(key, h.inner, r) {
		return nil
	}
	return h.inner.Handle(ctx, r)
}

// withCode gives an error that has none the code of what caused it.
func (h *Handler) withCode(r slog.Record) slog.Record {
	if r.Level < slog.LevelError || h.coded {
		return r
	}
	has, code := false, CodeUnnamed
	r.Attrs(func(a slog.Attr) bool {
		has = has || isCode(a)
		if err, ok := a.Value.Any().(error); ok && a.Key == Err && fault.Code(err) != "" {
			code = fault.Code(err)
		}
		return true
	})
	if !has {
		r = r.Clone()
		r.AddAttrs(slog.String(Code, code))
	}
	return r
}

func isCode(a slog.Attr) bool { return a.Key == Code && a.Value.String() != "" }

// changing are keys that differ from one repeat to the next.
var changing = map[string]bool{DurMS: true, Repeated: true, "next_attempt_in": true, "tries": true, "octets": true, "port": true}

// identity is what of an attribute makes a line another line.
func identity(a slog.Attr) string {
	if changing[a.Key] || a.Equal(slog.Attr{}) {
		return ""
	}
	v := a.Value.Resolve().String()
	switch at, err := netip.ParseAddrPort(v); {
	case err == nil: // a client's port is another each time
		v = at.Addr().String()
	case a.Key == Err:
		v = blunt(v)
	}
	return "|" + a.Key + "=" + v
}

// blunt takes the numbers out of a text: ports, counts and times.
func blunt(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '#'
		}
		return r
	}, s)
}

// hold reports whether the line is held back.
func (l *lines) hold(key string, inner slog.Handler, r slog.Record) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if e := l.known[key]; e != nil {
		e.add(r)
		e.at, e.inner = now, inner
		return true
	}
	if len(l.known) >= linesKnown {
		l.forgetOldest()
	}
	e := &line{inner: inner, window: window, at: now}
	e.timer = time.AfterFunc(window, func() { l.over(key, e) })
	l.known[key] = e
	return false
}

// add holds one more line back. One may itself stand for others, which whoever
// wrote it did not write.
func (e *line) add(r slog.Record) {
	e.newest = slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	e.held++
	r.Attrs(func(a slog.Attr) bool {
		if v := a.Value.Resolve(); a.Key == Repeated && (v.Kind() == slog.KindInt64 || v.Kind() == slog.KindUint64) {
			n, _ := v.Any().(uint64)
			if v.Kind() == slog.KindInt64 {
				n = uint64(max(0, v.Int64()))
			}
			e.held += int(n)
			return true
		}
		e.newest.AddAttrs(a)
		return true
	})
}

// forgetOldest makes room; l.mu is held.
func (l *lines) forgetOldest() {
	oldest := ""
	for key, e := range l.known {
		if oldest == "" || e.at.Before(l.known[oldest].at) {
			oldest = key
		}
	}
	e := l.known[oldest]
	e.timer.Stop()
	e.tell()
	delete(l.known, oldest)
}

// over ends a window: what was held back in it is told, and the next is longer;
// a line that did not come again is news the next time.
func (l *lines) over(key string, e *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[key] != e {
		return
	}
	if e.held == 0 {
		delete(l.known, key)
		return
	}
	e.tell()
	e.window = min(2*e.window, windowMost)
	e.timer.Reset(e.window)
}

// tell writes the newest of the lines held back.
func (e *line) tell() {
	if e.held == 0 {
		return
	}
	e.newest.AddAttrs(slog.Int(Repeated, e.held))
	_ = e.inner.Handle(context.Background(), e.newest) // a log that cannot be written has nobody to tell
	e.held = 0
}

// Flush tells of all lines held back.
func (h *Handler) Flush() {
	h.lines.mu.Lock()
	defer h.lines.mu.Unlock()
	for _, e := range h.lines.known {
		e.timer.Stop()
		e.tell()
	}
	clear(h.lines.known)
}
