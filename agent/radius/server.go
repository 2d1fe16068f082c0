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
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// Decider judges who may come in.
type Decider interface {
	// Authorize answers one Access-Request. An error means that no judgement
	// was possible; the NAS then hears nothing and asks again.
	Authorize(ctx context.Context, r hotspot.Request) (hotspot.Verdict, error)
	// Refuse is the refusal of a request for its form alone: its sentences, to the
	// guest in the site's language.
	Refuse(ctx context.Context, reason hotspot.Reason) hotspot.Verdict
}

// Accountant keeps accounting.
type Accountant interface {
	// Account returns nil once the record is on disk; only then is it
	// acknowledged (RFC 2866 §4.1).
	Account(ctx context.Context, a hotspot.Accounting) error
}

// Server answers RADIUS. Auth and Acct are listen addresses, host:port; a
// wildcard host answers from the address that was asked.
type Server struct {
	Auth, Acct []string
	NASes      []NAS
	Decider    Decider
	Accountant Accountant
	Memory     Memory               // nil forgets at every start what it learnt
	Rejected   func(hotspot.Reject) // called for every login that fails, also those met with silence; must not block
	Log        *slog.Logger
	Now        func() time.Time
	Workers    int        // requests at work at once; 0 is 256, which lets one commit serve many
	Identities Identities // how the NASes name themselves, for what is sent to them

	once    sync.Once
	bound   sync.Once // closes ready
	ready   chan struct{}
	mu      sync.Mutex // guards sockets
	sockets []*socket
	nases   atomic.Pointer[nasTable] // made of NASes by the first Serve
	cache   *cache
	stats   *stats
}

const (
	queueBound = 2048            // datagrams waiting; beyond it new ones are dropped and counted
	patience   = 3 * time.Second // a NAS has given up by then: three tries, about a second apart
	recvBuffer = 4 << 20
)

// job is one request to work on.
type job struct {
	socket *socket
	buffer *[]byte // holds packet; given back by whoever ends the job
	packet []byte  // cut to its Length once triaged
	ma     int     // where the value of its Message-Authenticator stands, 0 if there is none
	from   netip.AddrPort
	source []byte // see socket.read
	at     time.Time
	nas    *nas
	key    *key        // that it proved
	entry  *cacheEntry // to be finished or abandoned
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
		s.stats = newStats(s.Log)
	})
}

// Ready is closed once every socket is bound.
func (s *Server) Ready() <-chan struct{} { s.init(); return s.ready }

// Forget voids every Accept of the accounts, and every one to the devices, that
// was decided before serial: it neither leaves any more nor is repeated. Called
// before the change is committed. What left before is noted by then
// (hotspot.Departures).
func (s *Server) Forget(accounts []hotspot.AccountID, devices []hotspot.MAC, serial uint64) {
	s.init()
	s.cache.forget(accounts, devices, serial, s.Now())
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
	if s.nases.Load() == nil {
		t := newNASTable(s.NASes)
		if err := t.recall(ctx, s.Memory); err != nil {
			return fault.New(fault.Unavailable, "radius: recall what is known of the routers", err)
		}
		s.nases.Store(t)
	}
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
			k.index, k.accounting = uint16(len(s.sockets)), group.accounting
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

// buffers holds datagrams on their way through the queue. An octet more than a
// packet may have, so that one that claims more is told apart.
var buffers = sync.Pool{New: func() any { b := make([]byte, maxPacket+1); return &b }}

// receive reads one socket. What is malformed, forged, or asked before ends
// here, before it costs a place in the queue.
func (s *Server) receive(k *socket, jobs chan<- job) error {
	buffer := buffers.Get().(*[]byte)
	defer func() { buffers.Put(buffer) }()
	for {
		n, from, source, err := k.read(*buffer)
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return nil // we are stopping
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			continue // an ICMP error of an earlier reply; the socket is fine
		}
		j := job{socket: k, buffer: buffer, packet: (*buffer)[:n], from: from, source: source, at: s.Now()}
		if !s.sift(&j) {
			continue
		}
		select {
		case jobs <- j:
			buffer = buffers.Get().(*[]byte)
		default:
			s.cache.abandon(j.entry)
			s.drop(&j, dropQueueFull)
		}
	}
}

// sift reports whether a datagram is a request to work on: from a NAS of ours,
// well-formed, proven, and not asked before. A repeat it answers itself.
func (s *Server) sift(j *job) bool {
	defer s.survive(j)
	if j.nas = s.nases.Load().of(j.from.Addr()); j.nas == nil {
		s.drop(j, dropUnknownNAS)
		return false
	}
	b, ma, why := triage(j.packet, j.socket.accounting)
	if why == "" {
		j.packet, j.ma = b, ma
		j.key, why = j.nas.prove(b, ma, j.at)
	}
	if why != "" {
		s.drop(j, why)
		return false
	}
	if ma != 0 && b[0] == codeAccessRequest {
		j.nas.learn(s.Memory)
	}
	entry, repeat, n := s.cache.begin(keyOf(j.socket.index, j.from, b), [16]byte(b[4:headerLen]), j.at)
	switch {
	case repeat != nil:
		s.send(j, entry, repeat)
		s.stats.answered(j.nas, kindOf(b), "repeated", 0, j.at)
		s.repeated(j, n)
		return false
	case entry == nil:
		s.drop(j, dropInFlight)
		s.repeated(j, n)
		return false
	}
	j.entry = entry
	return true
}

// survive ends a panic: it costs one request only.
func (s *Server) survive(j *job) {
	r := recover()
	if r == nil {
		return
	}
	s.stats.drop(j.nas, kindOf(j.packet), dropPanic, j.from, j.at)
	func() {
		defer func() { _ = recover() }() // it may be remembering that fails
		s.unanswered(j, dropPanic)
	}()
	if held, ok := s.stats.loud("log of "+dropPanic, j.at); ok {
		s.Log.Error("a request could not be worked on", "panic", fmt.Sprint(r), "stack", string(debug.Stack()), "repeated", held)
	}
}

func (s *Server) drop(j *job, why dropped) {
	s.stats.drop(j.nas, kindOf(j.packet), why, j.from, j.at)
	s.unanswered(j, why)
}

// handle answers one request.
func (s *Server) handle(ctx context.Context, j job) {
	kept := false
	defer func() {
		if !kept { // no answer left: the repeat must be run
			s.cache.abandon(j.entry)
		}
		buffers.Put(j.buffer)
	}()
	defer s.survive(&j)
	if s.Now().Sub(j.at) > patience {
		s.drop(&j, dropTooOld)
		return
	}
	kept = s.answer(ctx, &j)
}

// answer runs a new request and reports whether a reply is kept for its repeats.
func (s *Server) answer(ctx context.Context, j *job) bool {
	var reply []byte
	var v hotspot.Verdict
	var err error
	result := "answered"
	switch j.packet[0] {
	case codeStatusServer:
		reply, err = encodeStatus(j.packet, j.key, j.socket.accounting)
	case codeAccessRequest:
		reply, v, err = s.authorize(ctx, j)
		result = "accept"
		if !v.Accept {
			result = string(v.Reason)
		}
	case codeAccountingRequest:
		reply, result, err = s.account(ctx, j)
	}
	if err != nil {
		s.undecided(j, err)
		return false
	}
	if reply == nil {
		return false
	}
	if !s.cache.finish(j.entry, v, reply) {
		s.drop(j, dropForgotten)
		return true
	}
	now := s.send(j, j.entry, reply)
	s.stats.answered(j.nas, kindOf(j.packet), result, now.Sub(j.at), now)
	return true
}

// undecided counts a request that gets no answer since none could be found.
func (s *Server) undecided(j *job, err error) {
	why := dropUnavailable
	if errors.Is(err, errTooLong) {
		why = dropUnencodable
	}
	s.drop(j, why)
	if held, ok := s.stats.loud("log of "+why, j.at); ok {
		s.Log.Error("a request got no answer; the NAS will ask again", "nas", j.nas.ID, "kind", kindOf(j.packet), "err", err, "next", fault.Hint(err), "repeated", held)
	}
}

func (s *Server) authorize(ctx context.Context, j *job) (reply []byte, v hotspot.Verdict, err error) {
	r, reason, undecodable := decodeRequest(j.packet, j.key, j.nas.ID, j.at)
	if j.ma == 0 && r.Credential.Kind == hotspot.Clear && !undecodable {
		j.nas.use(j.key, j.at) // a readable password proves the secret as well
	}
	if undecodable && j.ma == 0 {
		if k := j.nas.other(j.key, j.at); k != nil {
			if again, why, unreadable := decodeRequest(j.packet, k, j.nas.ID, j.at); !unreadable {
				r, reason, undecodable, j.key = again, why, false, k
				j.nas.use(k, j.at)
			}
		}
	}
	j.entry.device = r.MAC
	wrongSecret := undecodable && j.ma == 0 // beside a valid Message-Authenticator the secret is right
	if wrongSecret {
		reason = hotspot.ReasonBadSecret
	}
	if reason != "" {
		v = s.Decider.Refuse(ctx, reason)
	} else if v, err = s.Decider.Authorize(ctx, r); err != nil {
		return nil, v, err
	}
	if wrongSecret {
		s.stats.suspect(j.nas, j.from, j.at)
		v.Detail = meanings[dropSuspectSecret]
	}
	if !v.Accept && s.Rejected != nil {
		s.Rejected(hotspot.Reject{At: j.at, NAS: j.nas.ID, Username: printable(r.Username), MAC: r.MAC, IP: r.IP, Reason: v.Reason, Message: v.Message, Detail: v.Detail,
			Account: v.Account, Source: j.from.Addr().Unmap().WithZone(""), Times: 1})
	}
	reply, err = encodeVerdict(j.packet, j.key, v)
	return reply, v, err
}

func (s *Server) account(ctx context.Context, j *job) (reply []byte, result string, err error) {
	a, why := decodeAccounting(j.packet, j.nas.ID, j.at)
	if why != "" {
		s.drop(j, why)
		return nil, "", nil
	}
	if err := s.Accountant.Account(ctx, a); err != nil {
		return nil, "", err
	}
	s.Identities.note(j.nas.ID, j.packet, j.socket.local(j.source))
	reply, err = encodeAccountingResponse(j.packet, j.key, j.ma != 0)
	return reply, a.Kind.String(), err
}

// send lets the reply of e out and returns when that was.
func (s *Server) send(j *job, e *cacheEntry, reply []byte) (now time.Time) {
	var err error
	func() {
		defer func() {
			now = s.Now()
			s.cache.sent(e, now)
		}()
		err = j.socket.write(reply, j.from, j.source)
	}()
	if err != nil {
		if held, ok := s.stats.loud("log of sending", j.at); ok {
			s.Log.Warn("a reply could not be sent", "to", j.from.String(), "err", err, "repeated", held)
		}
	}
	return now
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
