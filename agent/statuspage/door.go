package statuspage

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"iwas/agent/statuspage/access"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/webui"
)

// Door is where technicians of the network come in, over HTTPS.
type Door struct {
	Address     string              // address:port of this box; "": there is no door
	Names       []string            // by which the page is reached besides
	Rules       func() access.Rules // whose connections are taken; asked at each one
	Certificate *access.Certificate
}

func (d Door) rules() access.Rules {
	if d.Rules == nil {
		return access.Rules{} // takes nobody
	}
	return d.Rules()
}

// Access is who can reach the page and sign in.
type Access struct {
	People   int      `json:"people"`             // who may sign in
	Problem  string   `json:"problem,omitempty"`  // of their file
	Wanted   string   `json:"wanted,omitempty"`   // address of the door, as configured
	Networks []string `json:"networks,omitempty"` // it takes
	Door     Opened   `json:"door"`

	Refused      []access.Refusal `json:"refused,omitempty"`
	RefusedTotal uint64           `json:"refused_total"`
}

// Opened is the door as it is.
type Opened struct {
	URL         string    `json:"url,omitempty"` // "": it is shut
	Fingerprint string    `json:"certificate_sha256,omitempty"`
	Until       time.Time `json:"certificate_until,omitzero"`
	Problem     string    `json:"problem,omitempty"` // why it is shut, if it should not be
	Code        string    `json:"code,omitempty"`
	Next        string    `json:"next,omitempty"`
}

// codeDoor is the condition of a door that does not open.
const codeDoor = "SYS-121"

// doorEvery is how often it is looked whether the door should be open, and how
// long a door that did not open is left alone.
const doorEvery = 2 * time.Second

// keepDoor opens the door once somebody can sign in and shuts it when nobody can
// any more, until ctx ends.
func (s *Server) keepDoor(ctx context.Context) {
	if s.Door.Address == "" || s.People == nil {
		return
	}
	t := time.NewTicker(doorEvery)
	defer t.Stop()
	for {
		if s.anybody() {
			s.opened(Opened{}, s.throughDoor(ctx))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// anybody reports whether somebody can sign in.
func (s *Server) anybody() bool {
	if s.People == nil {
		return false
	}
	all, err := s.People.List()
	return err == nil && len(all) > 0
}

// opened notes how the door is.
func (s *Server) opened(o Opened, err error) {
	if err != nil {
		o.Problem, o.Code, o.Next = err.Error(), fault.Code(err), fault.Hint(err)
	}
	s.mu.Lock()
	before := s.door
	s.door = o
	s.mu.Unlock()
	if o != before {
		s.Notify()
	}
}

// throughDoor opens the door and answers until ctx ends or nobody can sign in.
func (s *Server) throughDoor(ctx context.Context) error {
	print, until, err := s.Door.Certificate.Printed()
	if err != nil {
		return err
	}
	h, err := s.farHandler()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Door.Address)
	if err != nil {
		return fault.New(fault.Unavailable, "status page: listen on TCP "+s.Door.Address, err).
			WithCode(codeDoor, "Give this box that address, or set address under [status] to one it has; this is tried again by itself.")
	}
	url := "https://" + l.Addr().String()
	s.log().Info("the status page is open to the network", "url", url, "certificate_sha256", print)
	s.opened(Opened{URL: url, Fingerprint: print, Until: until}, nil)
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, shut := context.WithCancel(ctx)
	defer shut() // before the wait
	watching.Go(func() {
		if s.untilNobody(ctx) {
			s.log().Info("the status page is shut to the network: nobody can sign in")
			shut()
		}
	})
	return s.answer(ctx, tls.NewListener(s.gate.Listen(l), s.Door.Certificate.TLS()), h)
}

// untilNobody waits until nobody can sign in any more; false: until ctx ended.
func (s *Server) untilNobody(ctx context.Context) bool {
	t := time.NewTicker(doorEvery)
	defer t.Stop()
	for s.anybody() {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
		}
	}
	return true
}

// farHandler is the page for the network.
func (s *Server) farHandler() (http.Handler, error) {
	mux, err := s.routes()
	if err != nil {
		return nil, err
	}
	names := append([]string{"localhost"}, s.Door.Names...)
	return webui.Guard{Hosts: names, Local: true, Log: s.Log}.Wrap(s.onlyTaken(s.recognized(signedInOnly(mux)))), nil
}

// onlyTaken refuses who was taken when the connection was made, and is known for a
// guest or a router since.
func (s *Server) onlyTaken(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.gate.Takes(r.RemoteAddr) {
			w.Header().Set("Connection", "close")
			webui.Plain(w, http.StatusForbidden, "This page is not shown here", "Open it from the network of the technicians.")
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			// Who sends a form a letter a minute holds a connection no longer than this.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // a writer of a test knows none
		}
		h.ServeHTTP(w, r)
	})
}

const bodyTime = 30 * time.Second // in which a form must have come in

// accessFacts adds to a snapshot what the page knows of itself.
func (s *Server) accessFacts(snap *Snapshot) {
	a := &snap.Access
	if s.People != nil {
		all, err := s.People.List()
		a.People = len(all)
		if err != nil {
			a.Problem = err.Error()
			snap.Findings = append(snap.Findings, condition.Finding{Code: access.CodePeople, Text: err.Error()})
		}
	}
	a.Wanted = s.Door.Address
	if s.Door.Address != "" {
		for _, n := range s.Door.rules().Networks {
			a.Networks = append(a.Networks, n.String())
		}
	}
	s.mu.Lock()
	a.Door = s.door
	s.mu.Unlock()
	if a.Door.Problem != "" {
		code := a.Door.Code
		if code == "" {
			code = codeDoor
		}
		snap.Findings = append(snap.Findings, condition.Finding{Code: code, Text: a.Door.Problem})
	}
	a.Refused, a.RefusedTotal = s.gate.Refusals()
}

// facts are the lines about the door.
func (a Access) facts() []fact {
	who := "nobody: iwas-agent password set"
	if a.People > 0 {
		who = fmt.Sprint(a.People)
		if a.People == 1 {
			who += " person"
		} else {
			who += " people"
		}
	}
	out := []fact{{"May sign in", who}}
	switch {
	case a.Door.URL != "":
		out = append(out, fact{"For the network at", a.Door.URL}, fact{"It answers", strings.Join(a.Networks, ", ")}, fact{"SHA-256 of its certificate", a.Door.Fingerprint})
	case a.Wanted != "" && a.People == 0:
		out = append(out, fact{"For the network", "shut until somebody can sign in"})
	case a.Wanted != "":
		out = append(out, fact{"For the network", "shut: " + a.Door.Problem})
	default:
		out = append(out, fact{"For the network", "not asked for; address and networks under [status]"})
	}
	return out
}

// peerOf is the address a request comes from.
func peerOf(r *http.Request) netip.Addr {
	p, _ := netip.ParseAddrPort(r.RemoteAddr) // net/http writes it so
	return p.Addr().Unmap()
}
