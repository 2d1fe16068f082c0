// Package statuspage is the local page for a technician beside the router: what
// works, what does not, why, and what to do next. It only reads: it never
// changes an account, a router or a setting, and it loads nothing from anywhere.
//
// It listens on loopback and answers only to its own names (DNS rebinding).
package statuspage

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

//go:embed templates/*.html
var templates embed.FS

// Server serves the page. Listen and Snapshot are required.
type Server struct {
	Listen   string // loopback host:port
	Snapshot func(ctx context.Context) Snapshot
	Log      *slog.Logger
	Bound    func(addr string) // called with the address once it listens; may be nil

	hub   webui.Hub
	pages *webui.Pages
}

// funcs are the words of the page's own templates.
var funcs = template.FuncMap{
	"bytes":   webui.Bytes,
	"outcome": outcomeBadge,
	"state":   stateBadge,
}

func outcomeBadge(o hotspot.Outcome) webui.Badge {
	switch o {
	case hotspot.OutcomeEnforced:
		return webui.Badge{Tone: webui.Good, Icon: "lock", Text: "Off, proven"}
	case hotspot.OutcomeLeaks:
		return webui.Badge{Tone: webui.Warn, Text: "Off at the HotSpot, network leaks"}
	case hotspot.OutcomeUnproven:
		return webui.Badge{Tone: webui.Warn, Text: "Acknowledged, not proven"}
	}
	return webui.Badge{Tone: webui.Info, Icon: "clock", Text: "Being enforced"}
}

func stateBadge(s hotspot.SessionState) webui.Badge {
	if s == hotspot.Suspect {
		return webui.Badge{Tone: webui.Warn, Text: "Not confirmed"}
	}
	return webui.Badge{Tone: webui.Good, Text: "Online"}
}

// Notify wakes the live pages.
func (s *Server) Notify() { s.hub.Notify("status") }

// Handler returns the page behind its guards.
func (s *Server) Handler() (http.Handler, error) {
	sub, err := fs.Sub(templates, "templates")
	if err != nil {
		return nil, err
	}
	if s.pages, err = webui.NewPages(sub, funcs); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", webui.Assets())
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /live", s.live)
	mux.HandleFunc("GET /status.json", s.json)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("POST /theme", webui.Theme)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		webui.Plain(w, http.StatusNotFound, "There is no such page", "The status page is at /")
	})
	return webui.Guard{Hosts: []string{"127.0.0.1", "::1", "localhost"}, Log: s.Log}.Wrap(onlyLoopback(mux)), nil
}

// onlyLoopback refuses readers from elsewhere, whatever the bind.
func onlyLoopback(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !a.Addr().Unmap().IsLoopback() {
			webui.Plain(w, http.StatusForbidden, "This page is shown on this box only", "Open it on the box itself, or through an SSH tunnel.")
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	b := newBoard(s.Snapshot(r.Context()))
	title := "Status"
	if b.Site != "" {
		title = b.Site
	}
	page := webui.Page{Title: title, Product: "IWAS status", Live: "/live", Refresh: 10, Clock: b.Clock, Body: b}
	if err := s.pages.Render(w, r, http.StatusOK, "status", page); err != nil {
		s.log().Error("render the status page", "err", err)
		webui.Plain(w, http.StatusInternalServerError, "The page could not be made", "The log of iwas-agent says why.")
	}
}

// parts are the elements that follow the facts.
var parts = []string{"verdict-part", "alerts", "tiles", "offenders", "locks", "sessions", "rejects"}

func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	s.hub.Serve(w, r, []string{"status"}, func(ctx context.Context) ([]webui.Part, error) {
		b := newBoard(s.Snapshot(ctx))
		out := make([]webui.Part, 0, len(parts))
		for _, id := range parts {
			html, err := s.pages.Fragment(id, b)
			if err != nil {
				return nil, err
			}
			out = append(out, webui.Part{ID: id, HTML: html})
		}
		return out, nil
	})
}

func (s *Server) json(w http.ResponseWriter, r *http.Request) {
	snap := s.Snapshot(r.Context())
	ok, why, next := snap.Ready()
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(struct {
		Ready bool   `json:"ready"`
		Why   string `json:"why,omitempty"`
		Next  string `json:"next,omitempty"`
		Snapshot
	}{ok, why, next, snap}); err != nil {
		s.log().Debug("the reader of /status.json left", "err", err)
	}
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if ok, why, next := s.Snapshot(r.Context()).Ready(); !ok {
		http.Error(w, "guests cannot log in: "+why+"\n"+next, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "guests can log in")
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	h, err := s.Handler()
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fault.New(fault.Invalid, "status page: listen on "+s.Listen, err)
	}
	if a, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !a.IsLoopback()) {
		return fault.New(fault.Invalid, fmt.Sprintf("status page: %s is not a loopback address; the page has no password yet, so it is shown on this box only", s.Listen), nil)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fault.New(fault.Unavailable, "status page: listen on TCP "+s.Listen, err).
			WithCode("SYS-101", fmt.Sprintf("another program holds TCP %s: stop it, or set [status] listen to another port", s.Listen))
	}
	if s.Bound != nil {
		s.Bound(l.Addr().String())
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			_ = srv.Close() // streams that did not end by themselves
		}
	})
	err = srv.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
