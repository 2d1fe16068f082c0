package routersim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	radiusTries        = 3 // facts.md §4 "Retransmission"
	radiusReplyMaximum = 4096
)

var errNoAnswer = errors.New("RADIUS server is not responding")

// entry is the row of /radius that serves the HotSpot.
type entry struct {
	auth, acct netip.AddrPort
	secret     string
	timeout    time.Duration // of one try
	requireMA  bool
}

// radiusEntry reads the first enabled row of /radius with service hotspot, as
// the API left it. The caller holds the lock.
func (s *Sim) radiusEntry() (entry, bool) {
	for _, r := range s.menus["radius"].rows {
		if r.get("disabled") == "true" || !slices.Contains(strings.Split(r.get("service"), ","), "hotspot") {
			continue
		}
		address, _, _ := strings.Cut(r.get("address"), "@") // ip@vrf
		ip, err := netip.ParseAddr(address)
		if err != nil {
			continue
		}
		port := func(key string, standard uint16) netip.AddrPort {
			if n, err := strconv.ParseUint(r.get(key), 10, 16); err == nil {
				standard = uint16(n)
			}
			return netip.AddrPortFrom(ip, standard)
		}
		timeout, err := parseDuration(r.get("timeout"))
		if err != nil || timeout <= 0 {
			timeout = standardTimeout
		}
		e := entry{auth: port("authentication-port", 1812), acct: port("accounting-port", 1813), secret: r.get("secret"), timeout: timeout,
			requireMA: r.get("require-message-auth") != "no" && !s.knobs.NoMessageAuth}
		if s.c.Agent.Port != "" {
			e = s.agentEntry(r, ip, e)
		}
		return e, true
	}
	return entry{}, false
}

// discard is where packets go that get lost.
var discard = netip.MustParseAddrPort("127.0.0.1:9")

// agentEntry sends what is for the agent's place to where the agent is: Config names
// its sockets. What the configuration does not let there, or back, gets lost.
func (s *Sim) agentEntry(r *row, to netip.Addr, e entry) entry {
	source, err := netip.ParseAddr(r.get("src-address"))
	lost := to != s.c.Agent.Address || err == nil && !source.IsUnspecified() && !s.local(source) || s.blocked("udp", 49152, "established") != ""
	aim := func(named, real netip.AddrPort, usual uint16) netip.AddrPort {
		if lost || named.Port() != usual && named.Port() != real.Port() {
			return discard
		}
		return real
	}
	e.auth, e.acct = aim(e.auth, s.c.RADIUS.Auth, 1812), aim(e.acct, s.c.RADIUS.Acct, 1813)
	return e
}

// device is this router as its packets name it. The caller holds the lock.
func (s *Sim) device(e entry) device {
	return device{identity: s.menus["system/identity"].rows[0].get("name"), nasIP: s.c.NASIP, secret: e.secret}
}

func (s *Sim) who(h *host, x *session) who {
	server := s.server()
	return who{mac: h.mac, server: server.get("name"), iface: server.get("interface"), user: x.user, nasPort: x.port, acctID: x.acctID, ip: h.ip}
}

// accessRequest encodes the question whether a guest may come in.
func (s *Sim) accessRequest(e entry, h *host, x *session, l Login) []byte {
	v := access{device: s.device(e), who: s.who(h, x), id: s.packetID(), password: l.Password, pap: l.Method == "http-pap",
		logoffURL: "http://" + s.gateway().String() + "/logout", signed: e.requireMA}
	var id [1]byte
	rand.Read(v.authenticator[:])
	rand.Read(v.challenge[:])
	rand.Read(id[:])
	v.chapID = id[0]
	return v.encode()
}

// account queues a Start, Interim-Update or Stop. It is encoded when the fact
// happens, so that retransmissions carry its figures.
func (s *Sim) account(h *host, x *session, status, cause uint32) {
	e, ok := s.radiusEntry()
	if !ok || x.local || s.hotspotProfile().get("radius-accounting") != "true" {
		return
	}
	v := accounting{device: s.device(e), who: s.who(h, x), id: s.packetID(), status: status, cause: cause, class: x.class, at: time.Now(),
		upload: x.upload, download: x.download, sent: uint32(x.upload / 900), received: uint32(x.download / 1200), length: time.Since(x.started)}
	if s.knobs.NoClass {
		v.class = nil
	}
	select {
	case x.records <- v.encode():
	default: // the server was away too long; the router forgets as well
	}
}

// accountingOn tells the server that the router booted; it returns when the
// first try is on its way, so that no Start overtakes it.
func (s *Sim) accountingOn() {
	s.mu.Lock()
	e, ok := s.radiusEntry()
	ctx := s.boot
	if !ok {
		s.mu.Unlock()
		return
	}
	b := accounting{device: s.device(e), id: s.packetID(), status: acctOn}.encode()
	s.mu.Unlock()
	sent := make(chan struct{})
	if !s.run(func() {
		if _, err := s.exchange(ctx, &ask{conn: s.acct, to: e.acct, e: e, request: b, sent: sync.OnceFunc(func() { close(sent) })}); err != nil {
			s.log.Debug("Accounting-On", "err", err)
		}
	}) {
		return
	}
	select {
	case <-sent:
	case <-ctx.Done():
	}
}

// packetID runs on over authentication and accounting.
func (s *Sim) packetID() byte { s.nextPkt++; return s.nextPkt }

// obey takes in what an Accept grants.
func (x *session) obey(m *message) {
	x.class = m.all(0, class)
	x.timeout = time.Duration(m.number(0, sessionTimeout)) * time.Second
	x.idle = time.Duration(m.number(0, idleTimeout)) * time.Second
	x.interim = time.Duration(m.number(0, interimInterval)) * time.Second
	x.portLimit = int(m.number(0, portLimit))
	x.rate = string(m.find(mikrotik, mtRateLimit))
	x.recvLimit = m.wide(mtRecvLimit, mtRecvGiga)
	x.xmitLimit = m.wide(mtXmitLimit, mtXmitGiga)
	x.totalLimit = m.wide(mtTotalLimit, mtTotalGiga)
	for _, v := range m.all(mikrotik, mtAddressList) {
		x.lists = append(x.lists, string(v))
	}
}

// wide is a limit of 64 bits: low half and Gigawords.
func (m *message) wide(low, giga byte) uint64 {
	return uint64(m.number(mikrotik, giga))<<32 | uint64(m.number(mikrotik, low))
}

// sendRecords sends a session's accounting in order, until the session is over
// or the router goes down.
func (s *Sim) sendRecords(ctx context.Context, x *session) {
	defer close(x.sent)
	for {
		select {
		case b, ok := <-x.records:
			if !ok {
				return
			}
			s.mu.Lock()
			e, ok := s.radiusEntry()
			s.mu.Unlock()
			if !ok {
				continue // the entry was taken away meanwhile
			}
			if _, err := s.exchange(ctx, &ask{conn: s.acct, to: e.acct, e: e, request: b}); err != nil {
				s.log.Debug("accounting", "acct_session_id", x.acctID, "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// ask is one request on its way.
type ask struct {
	conn    *net.UDPConn
	to      netip.AddrPort
	e       entry
	request []byte
	access  bool
	sent    func() // after the first try, if set
	replies chan *message
}

// asks matches replies to requests on the shared sockets. Identifiers have 8
// bits, so that two requests may wait under one: the authenticator tells.
type asks struct {
	mu      sync.Mutex
	waiting map[askKey][]*ask
}

type askKey struct {
	conn *net.UDPConn
	id   byte
}

func (q *asks) enter(a *ask) (leave func()) {
	key := askKey{a.conn, a.request[1]}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting[key] = append(q.waiting[key], a)
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.waiting[key] = slices.DeleteFunc(q.waiting[key], func(b *ask) bool { return a == b })
		if len(q.waiting[key]) == 0 {
			delete(q.waiting, key)
		}
	}
}

// exchange sends a request up to three times, the same bytes, and returns a
// proven reply.
func (s *Sim) exchange(ctx context.Context, a *ask) (*message, error) {
	a.replies = make(chan *message, 1)
	defer s.asks.enter(a)()
	if a.sent != nil {
		defer a.sent()
	}
	for try := range radiusTries {
		if ctx.Err() != nil {
			return nil, errNoAnswer
		}
		s.mu.Lock()
		lost := s.rng.Float64() < s.knobs.DropRequests
		if try == 0 {
			s.counters.Requests++
		} else {
			s.counters.Resends++
		}
		s.mu.Unlock()
		if !lost {
			if _, err := a.conn.WriteToUDPAddrPort(a.request, a.to); err != nil {
				s.log.Debug("send", "err", err)
			}
		}
		if a.sent != nil {
			a.sent()
		}
		timer := time.NewTimer(a.e.timeout)
		select {
		case m := <-a.replies:
			timer.Stop()
			return m, nil
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, errNoAnswer
		}
	}
	s.mu.Lock()
	s.counters.Timeouts++
	s.mu.Unlock()
	return nil, errNoAnswer
}

// proven checks that b answers a: its code, its authenticator, and its
// Message-Authenticator. Where require-message-auth says so, an access reply
// without one is ignored.
func (a *ask) proven(b []byte) *message {
	m := parseMessage(b)
	if m == nil {
		return nil
	}
	codes := []byte{accountingResp}
	if a.access {
		codes = []byte{accessAccept, accessReject, accessChallenge}
	}
	signed := bytes.Clone(m.raw)
	copy(signed[4:20], a.request[4:20])
	sum := md5.Sum(append(bytes.Clone(signed), a.e.secret...))
	if !slices.Contains(codes, m.code) || !hmac.Equal(sum[:], m.raw[4:20]) {
		return nil
	}
	ok, present := validMessageAuth(signed, a.e.secret)
	if present && !ok || a.access && a.e.requireMA && !present {
		return nil
	}
	return m
}

// readReplies hands each reply to the request it answers. One that answers
// none, as with another secret, counts as a bad reply.
func (s *Sim) readReplies(c *net.UDPConn) {
	buf := make([]byte, radiusReplyMaximum)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			continue // ICMP unreachable: the server is away
		}
		if n < 20 {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		s.mu.Lock()
		lost := s.boot.Err() != nil || s.rng.Float64() < s.knobs.DropReplies
		s.mu.Unlock()
		if !lost && !s.deliver(askKey{c, buf[1]}, from, bytes.Clone(buf[:n])) {
			s.mu.Lock()
			s.counters.BadReplies++
			s.mu.Unlock()
		}
	}
}

// deliver reports whether b is good, or late: late is no fault of the server.
func (s *Sim) deliver(key askKey, from netip.AddrPort, b []byte) bool {
	s.asks.mu.Lock()
	waiting := slices.Clone(s.asks.waiting[key])
	s.asks.mu.Unlock()
	for _, a := range waiting {
		if a.to != from {
			continue
		}
		if m := a.proven(b); m != nil {
			select {
			case a.replies <- m:
			default: // answered already
			}
			return true
		}
	}
	return len(waiting) == 0
}
