// Package statuspage is the local page for a technician beside the router: what
// works, what does not, why, and what to do next; and the counter, where who signed in
// finds guests, sells, and does what the commands do. It changes no router and no
// setting, but has a router checked, and it loads nothing from anywhere.
//
// It listens on loopback and, once somebody can sign in and the configuration
// names an address, on that address over HTTPS. It answers only to its own names
// (DNS rebinding). Readings need no sign-in on loopback; elsewhere everything does.
package statuspage

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/logs"
	"iwas/internal/webui"
)

//go:embed templates/*.html
var templates embed.FS

// Server serves the page. Listen and Snapshot are required.
type Server struct {
	Listen   string // loopback host:port
	Snapshot func(ctx context.Context) Snapshot
	Check    func(Asked) error // has something checked, and returns at once; nil: no button
	Board    *condition.Board  // what is wrong now; nil is one of its own
	// Minutes is what is kept of the minutes from one time to another, the oldest
	// first; nil: no charts.
	Minutes func(from, to time.Time) []MinuteAt
	Metrics http.Handler   // /metrics, with its guard; nil: there is none
	People  *access.People // who may sign in; nil: nobody
	Door    Door           // to the network; zero: there is none
	Log     *slog.Logger
	Tail    *logs.Tail // the newest lines of the log; nil: none are kept
	// Support makes a bundle for whoever helps; nil: none can be made here.
	Support func(ctx context.Context) (Bundle, error)
	// Why says why somebody cannot log in; names: whether other guests' names may be
	// told. nil: it is not asked.
	Why func(ctx context.Context, asked string, names bool) (Why, error)
	// Counter and Till are for who signed in; nil: the database is not open.
	Counter Counter
	Till    Till
	Bound   func(addr string) // called with the address once it listens; may be nil

	once   sync.Once
	hub    webui.Hub
	logHub webui.Hub
	// counterHub wakes pages of guests.
	counterHub webui.Hub
	pages      *webui.Pages
	desk       access.Desk
	gate       access.Gate

	mu    sync.Mutex
	last  state          // guarded by mu: the newest, shared by pages that are open
	taken time.Time      // guarded by mu: when, by the steady clock
	door  Opened         // guarded by mu
	mux   *http.ServeMux // guarded by mu: made once, with pages
}

const (
	streams  = 8                      // live pages at once; a ninth tries again
	refresh  = 5 * time.Second        // between renderings when nothing rings
	gap      = 500 * time.Millisecond // least time between two renderings of one page
	shared   = 200 * time.Millisecond // pages share a snapshot this young
	watching = 5 * time.Second        // between two looks for conditions when no page is open
)

// state is a snapshot and what it means.
type state struct {
	Snapshot
	open []condition.Open
}

func (s *Server) init() {
	s.once.Do(func() {
		if s.Board == nil {
			s.Board = &condition.Board{}
		}
		s.hub = webui.Hub{Max: streams, Refresh: refresh, Gap: gap, Log: s.Log}
		s.logHub = webui.Hub{Max: streams / 2, Refresh: time.Second, Gap: gap, Log: s.Log}
		s.counterHub = webui.Hub{Max: streams, Refresh: refresh, Gap: gap, Log: s.Log}
		s.desk.People, s.desk.Log = s.People, s.Log
		s.gate.Rules, s.gate.Log = func() access.Rules { return s.Door.rules() }, s.Log
	})
}

// look takes a snapshot and puts what it finds on the board. One that was cut
// short, because its reader left, says nothing of what is wrong.
func (s *Server) look(ctx context.Context) state {
	s.init()
	snap := s.Snapshot(ctx)
	s.accessFacts(&snap)
	if ctx.Err() != nil {
		return state{snap, s.Board.Open(time.Now())}
	}
	s.Board.Replace("status page", Found(snap))
	st := state{snap, exactly(s.Board.Open(time.Now()), snap.Store)} // what this look found is of after snap.At
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.taken = st, time.Now()
	return st
}

// exactly gives what keeps the database shut the next step that fits this box, where
// one is known.
func exactly(open []condition.Open, db Store) []condition.Open {
	for i := range open {
		if !db.Open && db.Next != "" && open[i].Code == cmp.Or(db.Code, codeStore) {
			open[i].Next = db.Next
		}
	}
	return open
}

// glance is look, or what another page saw just now.
func (s *Server) glance(ctx context.Context) state {
	s.mu.Lock()
	st, age := s.last, time.Since(s.taken)
	fresh := !s.taken.IsZero() && age < shared
	s.mu.Unlock()
	if fresh {
		return st
	}
	return s.look(ctx)
}

// Looked is what a look found, for programs.
type Looked struct {
	Ready bool
	Open  []condition.Open
}

// Look is what the page shows now, or showed just now.
func (s *Server) Look(ctx context.Context) Looked {
	st := s.glance(ctx)
	ready, _, _ := st.Ready()
	return Looked{ready, st.open}
}

// Conditions returns what is wrong now, as the owner is told: what the page shows.
func (s *Server) Conditions(ctx context.Context) []hotspot.Condition {
	s.glance(ctx)
	return s.Board.Report(time.Now())
}

// Notify wakes the live pages.
func (s *Server) Notify() {
	s.init()
	s.hub.Notify("status")
	s.counterHub.Notify("counter")
}

// Handler returns the page of this box behind its guards.
func (s *Server) Handler() (http.Handler, error) {
	mux, err := s.routes()
	if err != nil {
		return nil, err
	}
	return webui.Guard{Hosts: loopbackNames, Log: s.Log}.Wrap(onlyLoopback(s.recognized(mux))), nil
}

var loopbackNames = []string{"127.0.0.1", "::1", "localhost"}

// routes are what can be asked of the page, from wherever.
func (s *Server) routes() (*http.ServeMux, error) {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mux != nil {
		return s.mux, nil
	}
	sub, err := fs.Sub(templates, "templates")
	if err != nil {
		return nil, err
	}
	if s.pages, err = webui.NewPages(sub, funcs); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	s.mux = mux
	mux.Handle("GET /assets/", webui.Assets())
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /live", s.live)
	s.whyRoutes(mux)
	mux.HandleFunc("GET /log", s.logPage)
	mux.HandleFunc("GET /log/live", s.logLive)
	mux.Handle("GET /support", s.requireRole(s.supportPage, access.Technician))
	mux.Handle("POST /support", s.requireRole(s.supportFile, access.Technician))
	mux.HandleFunc("GET /help/{$}", s.helpList)
	mux.HandleFunc("GET /help/{code}", s.help)
	mux.HandleFunc("GET /status.json", s.Status)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	mux.HandleFunc("POST /theme", webui.Theme)
	mux.HandleFunc("GET /signin", s.signInPage)
	mux.HandleFunc("POST /signin", s.signIn)
	mux.HandleFunc("POST /signout", s.signOut)
	mux.Handle("POST /check", s.requireRole(s.check, access.Technician))
	s.counterRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		webui.Plain(w, http.StatusNotFound, "There is no such page", "The status page is at /")
	})
	return mux, nil
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

// watch looks for conditions while no page is open, so that the owner hears of
// them and their delays run.
func (s *Server) watch(ctx context.Context) {
	t := time.NewTicker(watching)
	defer t.Stop()
	for {
		s.glance(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	near, err := s.Handler()
	if err != nil {
		return err
	}
	listeners, err := s.listen(ctx)
	if err != nil {
		return err
	}
	if s.Bound != nil {
		s.Bound(listeners[0].Addr().String())
	}
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the wait
	all.Go(func() { s.watch(ctx) })
	all.Go(func() { s.keepDoor(ctx) })
	for _, l := range listeners[1:] {
		all.Go(func() {
			if err := s.answer(ctx, l, near); err != nil {
				s.log().Warn("the status page is no longer served", "addr", l.Addr().String(), "err", err)
			}
		})
	}
	return s.answer(ctx, listeners[0], near)
}

// listen opens loopback: over IPv6 too, where there is such a thing.
func (s *Server) listen(ctx context.Context) ([]net.Listener, error) {
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return nil, fault.New(fault.Invalid, "status page: listen on "+s.Listen, err)
	}
	if a, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !a.IsLoopback()) {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("status page: %s is not a loopback address; it is shown to the network by address and networks under [status]", s.Listen), nil)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "status page: listen on TCP "+s.Listen, err).
			WithCode("SYS-101", fmt.Sprintf("another program holds TCP %s: stop it, or set [status] listen to another port", s.Listen))
	}
	out := []net.Listener{l}
	if at, ok := l.Addr().(*net.TCPAddr); ok && at.IP.To4() != nil {
		six := net.JoinHostPort("::1", fmt.Sprint(at.Port))
		if l, err := lc.Listen(ctx, "tcp", six); err == nil {
			out = append(out, l)
		} else {
			s.log().Debug("the status page is not served over IPv6", "addr", six, "err", err)
		}
	}
	return out, nil
}

// answer serves a listener until ctx ends.
func (s *Server) answer(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log().Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			_ = srv.Close() // streams that did not end by themselves
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
