// Package edl serves the site's address-lists to routers that fetch them (an
// external dynamic list): over HTTPS on a listener of its own, to the routers'
// addresses only, with a key in a header.
//
//	GET /edl/LIST.txt    the addresses, one a line
//	GET /edl/LIST.json   the same with what is left of each
//	GET /edl/LIST.rsc    commands for /import on the router
//	Authorization: Bearer KEY
//
// Whoever comes from another address gets no answer at all; a wrong key gets 403.
// It never decides what is in a list, and never speaks to a router by itself.
package edl

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// Codes of the condition catalogue.
const (
	CodeWrongKey = "RTR-132" // a router's key is not the one of this box
	CodeDoor     = "RTR-133" // the listener does not open
	CodeSilent   = "RTR-134" // a router no longer fetches
)

// Source knows what the lists hold.
type Source interface {
	WantedLists(ctx context.Context) (hotspot.WantedLists, error)
}

// Failing says what becomes of the entries on a router that cannot fetch.
type Failing string

const (
	// Keep: they stay until their own end.
	Keep Failing = "keep"
	// Expire: they go after three intervals.
	Expire Failing = "expire"
)

// Router is who may fetch.
type Router struct {
	NAS      hotspot.NASID
	Networks []netip.Prefix // its addresses
}

// Server serves the lists. All fields but Failing, Served, Log, Bound and Now are
// required.
type Server struct {
	Listen   string
	TLS      *tls.Config
	Key      secret.Value
	Routers  []Router
	Source   Source
	Interval time.Duration // in which a router fetches
	Failing  Failing       // "" is Keep
	// Served is told which grants a router has fetched; nil: nobody is.
	Served func(ctx context.Context, nas hotspot.NASID, grants []hotspot.GrantID) error
	Log    *slog.Logger
	Bound  func(addr string)
	Now    func() time.Time

	once sync.Once
	mu   sync.Mutex // guards what follows
	seen Stats
	said map[string]time.Time // when a kind of refusal was last logged
}

// Stats is what a server has seen since it started.
type Stats struct {
	Problem   string // why it does not listen
	Served    uint64 // answers with a list, or that it is unchanged
	Fetched   map[hotspot.NASID]time.Time
	WrongKey  Refusals // requests from a router's address
	Strangers Refusals // connections from any other
}

// Refusals counts who was refused.
type Refusals struct {
	N    uint64
	Last time.Time
	From netip.Addr
}

const (
	headerTime = 5 * time.Second
	answerTime = 30 * time.Second
	atOnce     = 32          // connections; beyond it the newest is closed
	sayEvery   = time.Minute // a kind of refusal is logged no more often
)

func (s *Server) init() {
	s.once.Do(func() {
		if s.Log == nil {
			s.Log = slog.New(slog.DiscardHandler)
		}
		if s.Now == nil {
			s.Now = time.Now
		}
		if s.Failing == "" {
			s.Failing = Keep
		}
		s.seen.Fetched, s.said = map[hotspot.NASID]time.Time{}, map[string]time.Time{}
	})
}

// Stats returns what was seen so far.
func (s *Server) Stats() Stats {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.seen
	out.Fetched = make(map[hotspot.NASID]time.Time, len(s.seen.Fetched))
	for n, at := range s.seen.Fetched {
		out.Fetched[n] = at
	}
	return out
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	s.init()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Listen)
	s.mu.Lock()
	s.seen.Problem = ""
	if err != nil {
		s.seen.Problem = err.Error()
	}
	s.mu.Unlock()
	if err != nil {
		return fault.New(fault.Unavailable, "edl: listen", err).WithCode(CodeDoor, "Another program has the port, or this box has no such address: change listen under [edl].")
	}
	if s.Bound != nil {
		s.Bound(l.Addr().String())
	}
	srv := &http.Server{Handler: http.HandlerFunc(s.answer), ReadHeaderTimeout: headerTime, WriteTimeout: answerTime, IdleTimeout: answerTime, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}
	done := make(chan error, 1)
	go func() {
		done <- srv.Serve(tls.NewListener(&gate{Listener: l, s: s, places: make(chan struct{}, atOnce)}, s.TLS))
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err = srv.Shutdown(grace)
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, ctx.Err())
}

// gate lets in connections of routers only. Others are closed before a word of
// TLS: to them the port is a closed one.
type gate struct {
	net.Listener
	s      *Server
	places chan struct{}
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(c.RemoteAddr().String())
		if _, ok := g.s.routerOf(from); !ok {
			g.s.refuse("stranger", &g.s.seen.Strangers, from)
			_ = c.Close() // it was never wanted
			continue
		}
		select {
		case g.places <- struct{}{}:
			return &placed{Conn: c, free: sync.OnceFunc(func() { <-g.places })}, nil
		default:
			_ = c.Close() // as many as there may be
		}
	}
}

// placed is a connection that has a place.
type placed struct {
	net.Conn
	free func()
}

// Close gives the place back.
func (p *placed) Close() error {
	p.free()
	return p.Conn.Close()
}

func addressOf(hostPort string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{} // no router's
	}
	return ap.Addr().Unmap().WithZone("")
}

func (s *Server) routerOf(from netip.Addr) (Router, bool) {
	for _, r := range s.Routers {
		if slices.ContainsFunc(r.Networks, func(p netip.Prefix) bool { return p.Contains(from) }) {
			return r, true
		}
	}
	return Router{}, false
}

// refuse counts, and says so once in a while.
func (s *Server) refuse(kind string, into *Refusals, from netip.Addr) {
	now := s.Now()
	s.mu.Lock()
	into.N, into.Last, into.From = into.N+1, now, from
	n := into.N
	say := now.Sub(s.said[kind]).Abs() >= sayEvery
	if say {
		s.said[kind] = now
	}
	s.mu.Unlock()
	if say {
		s.Log.Warn("address-lists were not given", "why", kind, "from", from, "times", n)
	}
}

// hasKey reports whether a request proves the key. Hashes are compared, so that
// neither length nor content shows in the time it takes.
func (s *Server) hasKey(r *http.Request) bool {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, want := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(s.Key.Reveal()))
	same := subtle.ConstantTimeCompare(got[:], want[:]) == 1
	return same && strings.EqualFold(scheme, "Bearer") && s.Key != ""
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	from := addressOf(r.RemoteAddr)
	router, ok := s.routerOf(from)
	if !ok || !s.hasKey(r) {
		s.refuse("wrong key", &s.seen.WrongKey, from)
		http.Error(w, "the key in the header Authorization is not the one of this site", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "lists are only read", http.StatusMethodNotAllowed)
		return
	}
	list, form := listOf(r.URL.Path)
	if form == nil {
		http.Error(w, "there is no such list: ask for /edl/LIST.txt, .rsc or .json", http.StatusNotFound)
		return
	}
	wanted, err := s.Source.WantedLists(r.Context())
	if err != nil {
		// Never an empty list: it would take everybody out.
		s.Log.Error("address-lists cannot be read", "err", err)
		http.Error(w, "the lists cannot be read now", http.StatusServiceUnavailable)
		return
	}
	p := s.page(list, router.NAS, wanted.Entries)
	body := form.write(p)
	w.Header().Set("Content-Type", form.mime)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", form.tag(p))
	if matches(r.Header.Get("If-None-Match"), form.tag(p)) {
		w.WriteHeader(http.StatusNotModified)
	} else if _, err := w.Write(body); err != nil {
		return // it went away before it had all of it
	}
	s.fetched(r.Context(), router.NAS, p)
}

// fetched notes that a router has a list.
func (s *Server) fetched(ctx context.Context, nas hotspot.NASID, p page) {
	s.mu.Lock()
	s.seen.Served++
	s.seen.Fetched[nas] = s.Now()
	s.mu.Unlock()
	if s.Served == nil || len(p.grants) == 0 {
		return
	}
	if err := s.Served(ctx, nas, p.grants); err != nil && ctx.Err() == nil {
		s.Log.Error("keep what a router fetched", "nas", nas, "err", err)
	}
}

// matches reports whether an If-None-Match names a tag (RFC 9110 §13.1.2).
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}
