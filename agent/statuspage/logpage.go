package statuspage

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"iwas/internal/logs"
	"iwas/internal/webui"
)

const tailShown = 200 // lines, the newest first

// logLevels are what the page of the log can be held to.
var logLevels = []struct {
	key, text string
	least     slog.Level
}{{"info", "All", slog.LevelInfo}, {"warn", "Warnings and errors", slog.LevelWarn}, {"error", "Errors", slog.LevelError}}

// logView is the body of the page of the log.
type logView struct {
	webui.Clock
	Lines  []logLine
	Levels []webui.Link
	Paused bool
	Toggle string // where pausing, or going on, leads
}

type logLine struct {
	At    time.Time
	Badge webui.Badge
	Text  string
	Attrs string
}

func levelBadge(l slog.Level) webui.Badge {
	switch {
	case l >= slog.LevelError:
		return webui.Badge{Tone: webui.Bad, Text: "Error"}
	case l >= slog.LevelWarn:
		return webui.Badge{Tone: webui.Warn, Text: "Warning"}
	}
	return webui.Badge{Tone: webui.Calm, Text: "Info"}
}

// logPath leads to the page of the log.
func logPath(path, level string, paused bool) string {
	q := url.Values{"level": {level}}
	if paused {
		q.Set("pause", "1")
	}
	return path + "?" + q.Encode()
}

func (s *Server) logView(r *http.Request) (v logView, level string) {
	level, v.Paused = logLevels[0].key, r.FormValue("pause") != ""
	least := logLevels[0].least
	for _, l := range logLevels {
		if l.key == r.FormValue("level") {
			level, least = l.key, l.least
		}
	}
	for _, l := range logLevels {
		v.Levels = append(v.Levels, webui.Link{Href: logPath("/log", l.key, v.Paused), Text: l.text, Current: l.key == level})
	}
	v.Toggle = logPath("/log", level, !v.Paused)
	v.Lines = s.logLines(least)
	s.mu.Lock()
	zone := s.last.TimeZone
	s.mu.Unlock()
	now := time.Now()
	v.Clock = webui.Clock{Now: now, Zone: zoneOf(Snapshot{At: now, TimeZone: zone})}
	return v, level
}

func (s *Server) logLines(least slog.Level) []logLine {
	var lines []logs.Line
	if s.Tail != nil {
		lines = s.Tail.Last(tailShown, least)
	}
	out := make([]logLine, len(lines))
	for i, l := range lines {
		out[i] = logLine{l.At, levelBadge(l.Level), l.Text, l.Attrs}
	}
	return out
}

// logPage shows the newest lines; paused it stands still.
func (s *Server) logPage(w http.ResponseWriter, r *http.Request) {
	v, level := s.logView(r)
	page := webui.Page{Title: "Log", Clock: v.Clock, Body: v}
	if !v.Paused {
		page.Live, page.Refresh = logPath("/log/live", level, false), 10
	}
	s.render(w, r, "log", page)
}

func (s *Server) logLive(w http.ResponseWriter, r *http.Request) {
	v := visitorOf(r.Context())
	s.logHub.Serve(w, r, []string{"log"}, func(context.Context) ([]webui.Part, error) {
		if err := s.stillIn(v); err != nil {
			return nil, err
		}
		view, _ := s.logView(r)
		html, err := s.pages.Fragment("log-lines", view)
		return []webui.Part{{ID: "log-lines", HTML: html}}, err
	})
}
