package broker

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of what is logged about refusals. One client's noise must not hide
// another's refusal, and all of them together must not fill the disk.
const (
	clientLines   = 1  // lines a second of one client,
	clientBurst   = 10 // after this many at once
	allLines      = 20 // lines a second of all clients,
	allBurst      = 200
	maxRefused    = 4096        // clients told apart; those above share what one has
	forgetRefused = time.Minute // of silence, after which a client has all its lines again: clientBurst / clientLines and more
)

// refusals decides which refusals are logged. The zero value works.
type refusals struct {
	mu      sync.Mutex
	clients map[string]*refused // guarded by mu
	others  *refused            // guarded by mu; of clients that found no room
	all     *rate.Limiter       // guarded by mu
	swept   time.Time           // guarded by mu; when room was last made
}

// refused is what one client got of the log.
type refused struct {
	lines  *rate.Limiter
	hidden int // refusals not logged since the last line
	last   time.Time
}

func newRefused() *refused { return &refused{lines: rate.NewLimiter(clientLines, clientBurst)} }

// allow reports whether a refusal of the client may be logged now, and how many
// of it were not since the last line.
func (r *refusals) allow(client string, now time.Time) (hidden int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clients == nil {
		r.clients, r.others, r.all = map[string]*refused{}, newRefused(), rate.NewLimiter(allLines, allBurst)
	}
	c := r.clients[client]
	if c == nil {
		c = r.admit(client, now)
	}
	c.last = now
	if !c.lines.AllowN(now, 1) || !r.all.AllowN(now, 1) {
		c.hidden++
		return 0, false
	}
	hidden, c.hidden = c.hidden, 0
	return hidden, true
}

// admit makes a client known, if there is room. Called with mu held.
func (r *refusals) admit(client string, now time.Time) *refused {
	if len(r.clients) >= maxRefused && now.Sub(r.swept) >= time.Second { // looking at all for each new one would be work for whoever floods
		r.swept = now
		for name, c := range r.clients {
			if now.Sub(c.last) > forgetRefused {
				delete(r.clients, name)
			}
		}
	}
	if len(r.clients) >= maxRefused {
		return r.others
	}
	c := newRefused()
	r.clients[client] = c
	return c
}

// clientOf names who is refused: the agent by its certificate, else the network
// address, of which an IPv6 network of 64 bits is one.
func (p *peer) clientOf() string {
	switch {
	case p.cloud:
		return "cloud"
	case p.agent != "":
		return "agent " + string(p.agent)
	}
	return addressOf(p.RemoteAddr())
}

func addressOf(remote net.Addr) string {
	at, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return remote.String()
	}
	a := at.Addr().Unmap().WithZone("")
	if a.Is6() {
		if n, err := a.Prefix(64); err == nil {
			return n.String()
		}
	}
	return a.String()
}
