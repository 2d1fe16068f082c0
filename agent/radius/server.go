// Package radius is the RADIUS door of a site: it receives Access-Request and
// Accounting-Request over UDP, checks who sent them, asks others to decide and
// to store, and answers; and it sends Disconnect-Request to the NAS. It decides
// nothing about guests itself.
//
// Sources: RFC 2865, 2866, 2869, 3579, 5080, 5176, 5997, and facts.md §4.
package radius

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
)

// Decider judges who may come in.
type Decider interface {
	// Authorize answers one Access-Request. An error means that no judgement
	// was possible; the NAS then hears nothing and asks again.
	Authorize(ctx context.Context, r hotspot.Request) (hotspot.Verdict, error)
}

// Accountant keeps accounting.
type Accountant interface {
	// Account returns nil once the record is on disk; only then is it
	// acknowledged (RFC 2866 §4.1).
	Account(ctx context.Context, a hotspot.Accounting) error
}

// NAS is a router that may ask.
type NAS struct {
	ID                          hotspot.NASID
	Name                        string
	Network                     netip.Prefix // its packets come from here; one address, or a network
	Secret                      secret.Value
	RequireMessageAuthenticator bool
	CoA                         netip.AddrPort // /radius/incoming
	CoASource                   netip.Addr     // our address in the router's /radius entry; invalid lets the system choose
	CoATimestamp                bool           // send Event-Timestamp to /radius/incoming (RFC 5176 §6.3)
}

// Server answers RADIUS. Auth and Acct are listen addresses, host:port; a
// wildcard host answers from the address that was asked.
type Server struct {
	Auth, Acct []string
	NASes      []NAS
	Decider    Decider
	Accountant Accountant
	Rejected   func(hotspot.Reject) // called for every Access-Reject; must not block
	Log        *slog.Logger
	Now        func() time.Time
	Workers    int        // requests at work at once; 0 is 256, which lets one commit serve many
	Identities Identities // how the NASes name themselves, for what is sent to them

	once    sync.Once
	bound   sync.Once // closes ready
	ready   chan struct{}
	mu      sync.Mutex // guards sockets
	sockets []*socket
	cache   *cache
	stats   *stats
}

const (
	queueBound = 2048            // datagrams waiting; beyond it new ones are dropped and counted
	patience   = 3 * time.Second // a NAS has given up by then: three tries, about a second apart
	recvBuffer = 4 << 20
)

// job is one datagram to work on.
type job struct {
	socket *socket
	packet []byte
	from   netip.AddrPort
	local  netip.Addr
	at     time.Time
}

func (s *Server) init() {
	s.once.Do(func() {
		if s.Now == nil {
			s.Now = time.Now
		}
		if s.Log == nil {
			s.Log = slog.New(slog.DiscardHandler)
		}
		if s.Workers == 0 {
			s.Workers = 256
		}
		s.ready = make(chan struct{})
		s.cache = newCache()
		s.stats = newStats(s.Log, s.Now)
	})
}

// Ready is closed once every socket is bound.
func (s *Server) Ready() <-chan struct{} { s.init(); return s.ready }

// Forget voids every Accept of the accounts that was decided before serial: it
// neither leaves any more nor is repeated. Called before the change is committed.
func (s *Server) Forget(accounts []hotspot.AccountID, serial uint64) {
	s.init()
	s.cache.forget(accounts, serial, s.Now())
}

// AuthAddr returns the first authentication address, once Ready.
func (s *Server) AuthAddr() netip.AddrPort { return s.addr(false) }

// AcctAddr returns the first accounting address, once Ready.
func (s *Server) AcctAddr() netip.AddrPort { return s.addr(true) }

func (s *Server) addr(accounting bool) netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sockets {
		if k.accounting == accounting {
			return k.addr
		}
	}
	return netip.AddrPort{}
}

// Serve binds the sockets and answers until ctx ends. A port that is taken is an
// error of kind Unavailable that names it, code RAD-101.
func (s *Server) Serve(ctx context.Context) error {
	s.init()
	err := s.bind(ctx)
	s.stats.bound(err)
	if err != nil {
		return err
	}
	defer s.unbind()
	// Requests at work may finish storing when we stop: their context outlives ctx.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), 365*24*time.Hour)
	defer cancel()
	jobs := make(chan job, queueBound)
	var workers, loops sync.WaitGroup
	for range s.Workers {
		workers.Go(func() {
			for j := range jobs {
				s.handle(work, j)
			}
		})
	}
	failed := make(chan error, len(s.sockets))
	for _, k := range s.sockets {
		loops.Go(func() { failed <- s.receive(k, jobs) })
	}
	s.bound.Do(func() { close(s.ready) })
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fault.New(fault.Unavailable, "radius: receive", err)
	}
	s.stopReceiving()
	loops.Wait()
	close(jobs)
	time.AfterFunc(5*time.Second, cancel) // a store that hangs must not hang the stop
	workers.Wait()
	return err
}

func (s *Server) bind(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, group := range []struct {
		addrs      []string
		accounting bool
	}{{s.Auth, false}, {s.Acct, true}} {
		for _, addr := range group.addrs {
			k, err := listen(ctx, addr)
			if err != nil {
				for _, open := range s.sockets {
					err = errors.Join(err, open.conn.Close())
				}
				s.sockets = nil
				return fault.New(fault.Unavailable, "radius: listen on UDP "+addr, err).
					WithCode("RAD-101", fmt.Sprintf("another program holds UDP %s: stop it, or choose another port under [radius]", addr))
			}
			k.index, k.accounting = len(s.sockets), group.accounting
			s.sockets = append(s.sockets, k)
		}
	}
	return nil
}

func (s *Server) stopReceiving() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sockets {
		_ = k.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; replies still leave
	}
}

func (s *Server) unbind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sockets {
		if err := k.conn.Close(); err != nil {
			s.Log.Warn("close RADIUS socket", "addr", k.addr.String(), "err", err)
		}
	}
	s.sockets = nil
}

// buffers holds datagrams on their way through the queue.
var buffers = sync.Pool{New: func() any { b := make([]byte, maxPacket+1); return &b }}

// receive reads one socket. What no NAS of ours sent is dropped here, before it
// costs a place in the queue.
func (s *Server) receive(k *socket, jobs chan<- job) error {
	for {
		buf := buffers.Get().(*[]byte)
		n, from, local, err := k.read(*buf)
		if err != nil {
			buffers.Put(buf)
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return nil // we are stopping
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			continue // an ICMP error of an earlier reply; the socket is fine
		}
		j := job{socket: k, packet: (*buf)[:n], from: from, local: local, at: s.Now()}
		if s.nas(from.Addr()) == nil {
			s.stats.drop("", kindOf(j.packet), dropUnknownNAS, from)
			buffers.Put(buf)
			continue
		}
		select {
		case jobs <- j:
		default:
			s.stats.drop(s.nas(from.Addr()).ID, kindOf(j.packet), dropQueueFull, from)
			buffers.Put(buf)
		}
	}
}

// nas returns the most exact match of an address.
func (s *Server) nas(a netip.Addr) *NAS {
	var best *NAS
	for i := range s.NASes {
		if n := &s.NASes[i]; n.Network.Contains(a) && (best == nil || n.Network.Bits() > best.Network.Bits()) {
			best = n
		}
	}
	return best
}

// handle answers one datagram. A panic costs this request only.
func (s *Server) handle(ctx context.Context, j job) {
	n := s.nas(j.from.Addr())
	defer func() {
		if r := recover(); r != nil {
			s.stats.drop(n.ID, kindOf(j.packet), dropPanic, j.from)
			s.Log.Error("a request could not be worked on", "nas", n.ID, "panic", fmt.Sprint(r))
		}
		full := j.packet[:cap(j.packet)]
		buffers.Put(&full)
	}()
	if s.Now().Sub(j.at) > patience {
		s.stats.drop(n.ID, kindOf(j.packet), dropTooOld, j.from)
		return
	}
	b, ma, why := triage(j.packet, j.socket.accounting)
	if why == "" {
		why = authentic(b, ma, []byte(n.Secret.Reveal()), n.RequireMessageAuthenticator)
	}
	if why != "" {
		s.stats.drop(n.ID, kindOf(j.packet), why, j.from)
		return
	}
	key := cacheKey{listener: j.socket.index, from: j.from, code: b[0], id: b[1]}
	entry, repeat := s.cache.begin(key, [16]byte(b[4:headerLen]), s.Now())
	switch {
	case repeat != nil:
		s.stats.answered(n.ID, kindOf(b), "repeated", 0)
		s.send(j, repeat)
		return
	case entry == nil:
		s.stats.drop(n.ID, kindOf(b), dropInFlight, j.from)
		return
	}
	done := false
	defer func() {
		if !done { // no answer left: the repeat must be run
			s.cache.abandon(entry)
		}
	}()
	done = s.answer(ctx, j, b, n, entry)
}

// answer runs a new request and reports whether a reply is kept for its repeats.
func (s *Server) answer(ctx context.Context, j job, b []byte, n *NAS, e *cacheEntry) bool {
	secret := []byte(n.Secret.Reveal())
	var reply []byte
	var v hotspot.Verdict
	var err error
	result := "answered"
	switch b[0] {
	case codeStatusServer:
		reply, err = encodeStatus(b, secret, j.socket.accounting)
	case codeAccessRequest:
		reply, v, err = s.authorize(ctx, b, secret, n, j)
		result = "accept"
		if !v.Accept {
			result = string(v.Reason)
		}
	case codeAccountingRequest:
		reply, result, err = s.account(ctx, b, secret, n, j)
	}
	if err != nil {
		s.stats.drop(n.ID, kindOf(b), dropUnavailable, j.from)
		s.Log.Error("a request could not be decided; the NAS will ask again", "nas", n.ID, "kind", kindOf(b), "err", err)
		return false
	}
	if reply == nil {
		return false
	}
	if !s.cache.finish(e, v, reply) {
		s.stats.drop(n.ID, kindOf(b), dropForgotten, j.from)
		return true
	}
	s.send(j, reply)
	s.stats.answered(n.ID, kindOf(b), result, s.Now().Sub(j.at))
	return true
}

func (s *Server) authorize(ctx context.Context, b, secret []byte, n *NAS, j job) ([]byte, hotspot.Verdict, error) {
	r, p, reason, undecodable, err := decodeRequest(b, secret, n.ID, j.at)
	if err != nil {
		return nil, hotspot.Verdict{}, err
	}
	if undecodable {
		s.stats.suspectSecret(n.ID, j.from)
	}
	v := hotspot.Verdict{Reason: reason, Message: formMessage}
	if reason == "" {
		if v, err = s.Decider.Authorize(ctx, r); err != nil {
			return nil, v, err
		}
	}
	if !v.Accept && s.Rejected != nil {
		s.Rejected(hotspot.Reject{At: j.at, NAS: n.ID, Username: printable(r.Username), MAC: r.MAC, Reason: v.Reason, Message: v.Message, Detail: v.Detail, Account: v.Account})
	}
	reply, err := encodeVerdict(p, v)
	return reply, v, err
}

// formMessage is read by a guest whose login page sent what no RFC allows.
const formMessage = "The login page sent an unclear request. Please tell the staff."

func (s *Server) account(ctx context.Context, b, secret []byte, n *NAS, j job) (reply []byte, result string, err error) {
	a, p, why := decodeAccounting(b, secret, n.ID, j.at)
	if why != "" {
		s.stats.drop(n.ID, kindOf(b), why, j.from)
		return nil, "", nil
	}
	if err := s.Accountant.Account(ctx, a); err != nil {
		return nil, "", err
	}
	s.Identities.note(n.ID, b)
	reply, err = encodeAccountingResponse(p)
	return reply, a.Kind.String(), err
}

func (s *Server) send(j job, b []byte) {
	if err := j.socket.write(b, j.from, j.local); err != nil {
		s.Log.Warn("a reply could not be sent", "to", j.from.String(), "err", err)
	}
}

// kindOf names a packet by its code, for counters.
func kindOf(b []byte) string {
	if len(b) < 4 || int(binary.BigEndian.Uint16(b[2:])) > maxPacket {
		return "malformed"
	}
	switch b[0] {
	case codeAccessRequest:
		return "access"
	case codeAccountingRequest:
		return "accounting"
	case codeStatusServer:
		return "status"
	}
	return "other"
}

// printable keeps a name fit for a page and a log.
func printable(s string) string {
	out := []rune(s)
	for i, r := range out {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			out[i] = '·'
		}
	}
	return cutRunes(string(out), 100)
}
