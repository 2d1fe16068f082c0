package webui

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/fault"
)

// Part is one fragment of a live page: the HTML of an element that carries an
// id, made by Pages.Fragment.
type Part struct {
	ID   string // for telling what changed; the element in HTML carries the same
	HTML string
}

// Hub wakes live pages when something they show has changed. The zero value
// works. It holds no state of the pages: each wake-up renders anew, so a lost
// one costs at most Refresh.
type Hub struct {
	Max     int           // streams at once; 0 is 64. Beyond it a page gets 503 and tries again
	Beat    time.Duration // between signs of life; 0 is 5 s. Pages call themselves not live after 10 s of silence
	Refresh time.Duration // between renderings without a wake-up, for what changes by time alone; 0 is 15 s
	Gap     time.Duration // least time between two renderings of one stream; 0 is 100 ms
	Log     *slog.Logger
	Now     func() time.Time // nil is time.Now; the clock that pages count their ages by

	mu      sync.Mutex
	streams map[*stream]struct{} // guarded by mu
}

type stream struct {
	topics []string
	wake   chan struct{}
}

// Notify wakes the pages that show the topic. It never waits.
func (h *Hub) Notify(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		if !slices.Contains(s.topics, topic) {
			continue
		}
		select {
		case s.wake <- struct{}{}:
		default: // one is already on its way and will show this change too
		}
	}
}

// Open returns the number of streams now served.
func (h *Hub) Open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

func (h *Hub) join(topics []string) (*stream, bool) {
	limit := h.Max
	if limit == 0 {
		limit = 64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) >= limit {
		return nil, false
	}
	if h.streams == nil {
		h.streams = map[*stream]struct{}{}
	}
	s := &stream{topics: topics, wake: make(chan struct{}, 1)}
	h.streams[s] = struct{}{}
	return s, true
}

func (h *Hub) leave(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, s)
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// Serve streams the parts of one page as server-sent events until the reader
// leaves or the request's context ends (give http.Server a BaseContext that
// ends with the program). It sends a part only when it has changed. Events:
//
//	part   HTML of one element, to replace the one of the same id
//	beat   a sign of life with the server's time in milliseconds as id
//	leave  the reader has no right to this any more: load the page again
//
// A render error of kind Denied, Forged or NotFound ends the stream with
// leave; any other skips this rendering and leaves the beat out, so that the
// page calls itself not live rather than showing old figures as fresh.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, topics []string, render func(context.Context) ([]Part, error)) {
	s, ok := h.join(topics)
	if !ok {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many live pages are open; this one will try again", http.StatusServiceUnavailable)
		return
	}
	defer h.leave(s)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	err := h.run(r.Context(), s, &eventWriter{w: w, rc: http.NewResponseController(w), now: h.Now}, render)
	if err != nil && r.Context().Err() == nil && h.Log != nil {
		h.Log.Debug("web: live page ended", "path", r.URL.Path, "err", err)
	}
}

func (h *Hub) run(ctx context.Context, s *stream, out *eventWriter, render func(context.Context) ([]Part, error)) error {
	beat := time.NewTicker(orDefault(h.Beat, 5*time.Second))
	defer beat.Stop()
	refresh := time.NewTicker(orDefault(h.Refresh, 15*time.Second))
	defer refresh.Stop()
	gap := orDefault(h.Gap, 100*time.Millisecond)
	sent := map[string]string{}
	broken := false
	for {
		parts, err := render(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case fault.Is(err, fault.Denied), fault.Is(err, fault.Forged), fault.Is(err, fault.NotFound):
			return errors.Join(err, out.event("leave", "now"))
		case err != nil:
			broken = true
			if h.Log != nil {
				h.Log.Warn("web: live page cannot be rendered", "err", err)
			}
		default:
			broken = false
			if err := out.parts(parts, sent); err != nil {
				return err
			}
		}
		if !broken {
			if err := out.event("beat", "now"); err != nil {
				return err
			}
		}
		rest := time.NewTimer(gap)
		select {
		case <-ctx.Done():
			rest.Stop()
			return nil
		case <-rest.C:
		}
	wait:
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-s.wake:
				break wait
			case <-refresh.C:
				break wait
			case <-beat.C:
				if broken {
					break wait // try again now instead of pretending
				}
				if err := out.event("beat", "now"); err != nil {
					return err
				}
			}
		}
	}
}

// eventWriter writes server-sent events, each with a deadline, so that a dead
// phone cannot hold a stream for ever.
type eventWriter struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	now func() time.Time // nil is time.Now
}

func (o *eventWriter) parts(parts []Part, sent map[string]string) error {
	for _, p := range parts {
		if sent[p.ID] == p.HTML {
			continue
		}
		if err := o.event("part", p.HTML); err != nil {
			return err
		}
		sent[p.ID] = p.HTML
	}
	return nil
}

func (o *eventWriter) event(name, data string) error {
	if err := o.rc.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	now := time.Now
	if o.now != nil {
		now = o.now
	}
	var b strings.Builder
	fmt.Fprintf(&b, "event: %s\nid: %d\n", name, now().UnixMilli())
	for line := range strings.SplitSeq(data, "\n") {
		b.WriteString("data: ")
		b.WriteString(strings.TrimSuffix(line, "\r"))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	if _, err := o.w.Write([]byte(b.String())); err != nil {
		return err
	}
	return o.rc.Flush()
}
