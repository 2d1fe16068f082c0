package routersim

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Codes and attributes, as numbers of the wire (RFC 2865, 2866, 2869, 5176).
const (
	accessRequest   = 1
	accessAccept    = 2
	accountingReq   = 4
	accountingResp  = 5
	disconnectReq   = 40
	disconnectACK   = 41
	disconnectNAK   = 42
	coaReq          = 43
	coaACK          = 44
	coaNAK          = 45
	acctStart       = 1
	acctStop        = 2
	acctInterim     = 3
	acctOn          = 7
	userName        = 1
	userPassword    = 2
	chapPassword    = 3
	nasIPAddress    = 4
	nasPort         = 5
	serviceType     = 6
	framedIP        = 8
	replyMessage    = 18
	class           = 25
	vendorSpecific  = 26
	sessionTimeout  = 27
	idleTimeout     = 28
	calledStation   = 30
	callingStation  = 31
	nasIdentifier   = 32
	acctStatusType  = 40
	acctDelayTime   = 41
	acctInputOct    = 42
	acctOutputOct   = 43
	acctSessionID   = 44
	acctSessionTime = 46
	acctInputPkt    = 47
	acctOutputPkt   = 48
	acctCause       = 49
	acctInputGiga   = 52
	acctOutputGiga  = 53
	eventTimestamp  = 55
	chapChallenge   = 60
	nasPortType     = 61
	portLimit       = 62
	messageAuth     = 80
	interimInterval = 85
	nasPortID       = 87
	errorCause      = 101

	mikrotik           = 14988
	mtRecvLimit        = 1
	mtXmitLimit        = 2
	mtRateLimit        = 8
	mtHostIP           = 10
	mtRecvGiga         = 14
	mtXmitGiga         = 15
	mtTotalLimit       = 17
	mtTotalGiga        = 18
	mtAddressList      = 19
	wispr              = 14122
	wisprLogoffURL     = 3
	wireless80211      = 19
	loginUser          = 1
	radiusTries        = 3
	radiusReplyMaximum = 4096
)

// attr is one attribute on the wire; a vendor's has vendor set.
type attr struct {
	kind   byte
	vendor uint32
	value  []byte
}

// message is a parsed RADIUS packet.
type message struct {
	code  byte
	raw   []byte
	attrs []attr
}

func (m *message) find(vendor uint32, kind byte) []byte {
	for _, a := range m.attrs {
		if a.vendor == vendor && a.kind == kind {
			return a.value
		}
	}
	return nil
}

func (m *message) text(kind byte) string { return string(m.find(0, kind)) }

func (m *message) number(vendor uint32, kind byte) uint32 {
	if v := m.find(vendor, kind); len(v) == 4 {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// parseMessage takes a packet apart; nil for one that does not tile.
func parseMessage(b []byte) *message {
	if len(b) < 20 {
		return nil
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < 20 || length > len(b) {
		return nil
	}
	m := &message{code: b[0], raw: b[:length]}
	for at := 20; at < length; {
		if length-at < 2 || int(b[at+1]) < 2 || int(b[at+1]) > length-at {
			return nil
		}
		value := b[at+2 : at+int(b[at+1])]
		if b[at] == vendorSpecific && len(value) >= 6 {
			for sub := value[4:]; len(sub) >= 2 && int(sub[1]) >= 2 && int(sub[1]) <= len(sub); sub = sub[sub[1]:] {
				m.attrs = append(m.attrs, attr{sub[0], binary.BigEndian.Uint32(value), sub[2:sub[1]]})
			}
		} else {
			m.attrs = append(m.attrs, attr{b[at], 0, value})
		}
		at += int(b[at+1])
	}
	return m
}

// writer builds a packet, attribute by attribute, in the order given.
type writer struct{ b []byte }

func newPacket(code, id byte) *writer {
	return &writer{append([]byte{code, id, 0, 0}, make([]byte, 16)...)}
}

func (w *writer) put(kind byte, v []byte) { w.b = append(append(w.b, kind, byte(len(v)+2)), v...) }
func (w *writer) text(kind byte, v string) {
	if v != "" {
		w.put(kind, []byte(v))
	}
}
func (w *writer) number(kind byte, v uint32) { w.put(kind, binary.BigEndian.AppendUint32(nil, v)) }
func (w *writer) addr(kind byte, a netip.Addr) {
	if a.Is4() {
		w.put(kind, a.AsSlice())
	}
}
func (w *writer) vendor(vendor uint32, kind byte, v []byte) {
	w.put(vendorSpecific, append(binary.BigEndian.AppendUint32(nil, vendor), append([]byte{kind, byte(len(v) + 2)}, v...)...))
}
func (w *writer) finish() []byte {
	binary.BigEndian.PutUint16(w.b[2:], uint16(len(w.b)))
	return w.b
}

// accessRequest builds an Access-Request exactly as facts.md §4 lists it.
func (s *Sim) accessRequest(h *host, x *session, l Login) (packet []byte, chap bool) {
	w := newPacket(accessRequest, s.packetID())
	rand.Read(w.b[4:20])
	s.who(w, h, x)
	if l.Method == "http-pap" {
		w.put(userPassword, hide(l.Password, s.c.RADIUS.Secret, w.b[4:20]))
	} else {
		challenge := make([]byte, 16)
		rand.Read(challenge)
		id := challenge[0]
		sum := md5.Sum(append(append([]byte{id}, l.Password...), challenge...))
		w.put(chapChallenge, challenge)
		w.put(chapPassword, append([]byte{id}, sum[:]...))
		chap = true
	}
	w.number(serviceType, loginUser)
	w.vendor(wispr, wisprLogoffURL, []byte("http://"+s.c.Pool.Addr().Next().String()+"/logout"))
	w.text(nasIdentifier, s.c.Identity)
	w.addr(nasIPAddress, s.c.NASIP)
	if s.knobs.NoMessageAuth {
		return w.finish(), chap
	}
	w.put(messageAuth, make([]byte, 16))
	b := w.finish()
	mac := hmac.New(md5.New, []byte(s.c.RADIUS.Secret))
	mac.Write(b)
	copy(b[len(b)-16:], mac.Sum(nil))
	return b, chap
}

// who puts the items 1 to 9 that every packet of a session begins with.
func (s *Sim) who(w *writer, h *host, x *session) {
	w.number(nasPortType, wireless80211)
	w.text(callingStation, h.mac)
	w.text(calledStation, s.c.Server)
	w.text(nasPortID, "vlan20-guest")
	w.text(userName, x.user)
	w.number(nasPort, x.port)
	w.text(acctSessionID, x.acctID)
	w.addr(framedIP, h.ip)
	w.vendor(mikrotik, mtHostIP, h.ip.AsSlice())
}

// accountingRequest builds a Start, Interim-Update or Stop. The request is
// encoded when the fact happens, so that retransmissions carry its figures.
func (s *Sim) accountingRequest(h *host, x *session, status, cause uint32) []byte {
	w := newPacket(accountingReq, s.packetID())
	w.number(acctStatusType, status)
	if cause != 0 {
		w.number(acctCause, cause)
	}
	s.who(w, h, x)
	if x.class != nil && !s.knobs.NoClass {
		w.put(class, x.class)
	}
	now := time.Now()
	w.number(eventTimestamp, uint32(now.Unix()))
	if status != acctStart {
		w.number(acctInputOct, uint32(x.upload))
		w.number(acctOutputOct, uint32(x.download))
		w.number(acctInputGiga, uint32(x.upload>>32))
		w.number(acctOutputGiga, uint32(x.download>>32))
		w.number(acctInputPkt, uint32(x.upload/900))
		w.number(acctOutputPkt, uint32(x.download/1200))
		w.number(acctSessionTime, uint32(now.Sub(x.started)/time.Second))
	}
	w.text(nasIdentifier, s.c.Identity)
	w.number(acctDelayTime, 0)
	w.addr(nasIPAddress, s.c.NASIP)
	return s.sign(w.finish())
}

// sign fills in the Request Authenticator (RFC 2866 §3).
func (s *Sim) sign(b []byte) []byte {
	clear(b[4:20])
	sum := md5.Sum(append(bytes.Clone(b), s.c.RADIUS.Secret...))
	copy(b[4:], sum[:])
	return b
}

// accountingOn tells the server that the router booted.
func (s *Sim) accountingOn() {
	s.mu.Lock()
	w := newPacket(accountingReq, s.packetID())
	w.number(acctStatusType, acctOn)
	w.text(nasIdentifier, s.c.Identity)
	w.number(acctDelayTime, 0)
	w.addr(nasIPAddress, s.c.NASIP)
	b := s.sign(w.finish())
	s.mu.Unlock()
	if _, err := s.exchange(s.acct, s.c.RADIUS.Acct, b, false); err != nil {
		s.log.Debug("Accounting-On", "err", err)
	}
}

// packetID runs on over authentication and accounting.
func (s *Sim) packetID() byte { s.nextPkt++; return s.nextPkt }

// obey takes in what an Accept grants.
func (s *Sim) obey(x *session, m *message) {
	x.class = bytes.Clone(m.find(0, class))
	x.timeout = time.Duration(m.number(0, sessionTimeout)) * time.Second
	x.idle = time.Duration(m.number(0, idleTimeout)) * time.Second
	x.interim = time.Duration(m.number(0, interimInterval)) * time.Second
	x.portLimit = int(m.number(0, portLimit))
	x.rate = string(m.find(mikrotik, mtRateLimit))
	wide := func(low, giga byte) uint64 {
		return uint64(m.number(mikrotik, giga))<<32 | uint64(m.number(mikrotik, low))
	}
	x.recvLimit, x.xmitLimit, x.totalLimit = wide(mtRecvLimit, mtRecvGiga), wide(mtXmitLimit, mtXmitGiga), wide(mtTotalLimit, mtTotalGiga)
	for _, a := range m.attrs {
		if a.vendor == mikrotik && a.kind == mtAddressList {
			r := &row{id: s.id(), dynamic: true, props: map[string]string{"list": string(a.value), "dynamic": "true", "disabled": "false",
				"creation-time": time.Now().UTC().Format(time.DateTime)}}
			x.lists = append(x.lists, r.id)
			s.menus["ip/firewall/address-list"].rows = append(s.menus["ip/firewall/address-list"].rows, r)
		}
	}
}

// sendRecords sends a session's accounting in order.
func (s *Sim) sendRecords(x *session) {
	for {
		select {
		case b, ok := <-x.records:
			if !ok {
				return
			}
			if _, err := s.exchange(s.acct, s.c.RADIUS.Acct, b, false); err != nil {
				s.log.Debug("accounting", "acct_session_id", x.acctID, "err", err)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// exchanges matches replies to requests on the shared sockets.
type exchanges struct {
	mu      sync.Mutex
	waiting map[exchangeKey]chan []byte
}

type exchangeKey struct {
	conn *net.UDPConn
	id   byte
}

var errNoAnswer = errors.New("RADIUS server is not responding")

// exchange sends a request up to three times, the same bytes, and returns a
// proven reply. Access replies without a valid Message-Authenticator are
// ignored where require-message-auth says so.
func (s *Sim) exchange(c *net.UDPConn, to netip.AddrPort, request []byte, access bool) (*message, error) {
	key := exchangeKey{c, request[1]}
	replies := make(chan []byte, 4)
	s.exchanges.mu.Lock()
	s.exchanges.waiting[key] = replies
	s.exchanges.mu.Unlock()
	defer func() {
		s.exchanges.mu.Lock()
		if s.exchanges.waiting[key] == replies {
			delete(s.exchanges.waiting, key)
		}
		s.exchanges.mu.Unlock()
	}()
	for try := range radiusTries {
		s.mu.Lock()
		lost := s.rng.Float64() < s.knobs.DropRequests
		need := access && !s.knobs.NoMessageAuth
		if try == 0 {
			s.counters.Requests++
		} else {
			s.counters.Resends++
		}
		s.mu.Unlock()
		if !lost {
			if _, err := c.WriteToUDPAddrPort(request, to); err != nil {
				s.log.Debug("send", "err", err)
			}
		}
		timer := time.NewTimer(s.c.RADIUS.Timeout)
	waiting:
		for {
			select {
			case b := <-replies:
				s.mu.Lock()
				dropped := s.rng.Float64() < s.knobs.DropReplies
				s.mu.Unlock()
				if dropped {
					continue
				}
				if m := s.proven(b, request, need); m != nil {
					timer.Stop()
					return m, nil
				}
				s.mu.Lock()
				s.counters.BadReplies++
				s.mu.Unlock()
			case <-timer.C:
				break waiting
			case <-s.ctx.Done():
				timer.Stop()
				return nil, errNoAnswer
			}
		}
	}
	s.mu.Lock()
	s.counters.Timeouts++
	s.mu.Unlock()
	return nil, errNoAnswer
}

// proven checks a reply's authenticator and Message-Authenticator.
func (s *Sim) proven(b, request []byte, needMA bool) *message {
	m := parseMessage(b)
	if m == nil {
		return nil
	}
	signed := bytes.Clone(m.raw)
	copy(signed[4:20], request[4:20])
	sum := md5.Sum(append(bytes.Clone(signed), s.c.RADIUS.Secret...))
	if !hmac.Equal(sum[:], m.raw[4:20]) {
		return nil
	}
	ok, present := validMessageAuth(signed, s.c.RADIUS.Secret)
	if present && !ok || needMA && !present {
		return nil
	}
	return m
}

// validMessageAuth checks the HMAC over b with the attribute's value as zeroes.
func validMessageAuth(b []byte, secret string) (ok, present bool) {
	b = bytes.Clone(b)
	for at := 20; at+2 <= len(b) && b[at+1] >= 2; at += int(b[at+1]) {
		if b[at] != messageAuth {
			continue
		}
		if b[at+1] != 18 {
			return false, true
		}
		got := bytes.Clone(b[at+2 : at+18])
		clear(b[at+2 : at+18])
		mac := hmac.New(md5.New, []byte(secret))
		mac.Write(b)
		return hmac.Equal(mac.Sum(nil), got), true
	}
	return false, false
}

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
		if n < 20 || from.Addr().Unmap() != s.c.RADIUS.Auth.Addr() && from.Addr().Unmap() != s.c.RADIUS.Acct.Addr() {
			continue
		}
		s.exchanges.mu.Lock()
		if w := s.exchanges.waiting[exchangeKey{c, buf[1]}]; w != nil {
			select {
			case w <- bytes.Clone(buf[:n]):
			default: // four replies to one request are enough
			}
		}
		s.exchanges.mu.Unlock()
	}
}

// hide is RFC 2865 §5.2.
func hide(password, secret string, authenticator []byte) []byte {
	b := []byte(password)
	for len(b) == 0 || len(b)%16 != 0 {
		b = append(b, 0)
	}
	last := authenticator
	for i := 0; i < len(b); i += 16 {
		key := md5.Sum(append([]byte(secret), last...))
		for j := range key {
			b[i+j] ^= key[j]
		}
		last = b[i : i+16]
	}
	return b
}

// sameMAC compares spellings of a MAC.
func sameMAC(a, b string) bool {
	clean := func(s string) string {
		return strings.ToUpper(strings.NewReplacer(":", "", "-", "", ".", "").Replace(s))
	}
	return clean(a) == clean(b)
}
