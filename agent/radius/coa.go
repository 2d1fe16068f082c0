package radius

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" // #nosec: RADIUS is built on MD5 (RFC 5176 §2.3, §3.4)
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"time"

	"iwas/internal/hotspot"
)

// Codes of what we ask of a NAS besides Disconnect (RFC 5176 §2.2).
const (
	codeCoARequest = 43
	codeCoAACK     = 44
	codeCoANAK     = 45
)

// Attributes of Disconnect- and CoA-Request, and of their answers.
const (
	coaUserName        = 1
	coaNASIPAddress    = 4
	coaFramedIPAddress = 8
	coaVendorSpecific  = 26
	coaSessionTimeout  = 27
	coaCallingStation  = 31
	coaNASIdentifier   = 32
	coaAcctSessionID   = 44
	coaEventTimestamp  = 55
	coaErrorCause      = 101

	coaMikrotik  = 14988
	coaRateLimit = 8 // Mikrotik-Rate-Limit, of vendor 14988
)

// Identity is how a NAS names itself in its own packets. What we send must
// repeat it: RouterOS compares NAS-IP-Address with its own (radius.md §2.5).
type Identity struct {
	IP         netip.Addr // NAS-IP-Address; invalid when it sends none
	Identifier string     // NAS-Identifier; "" when it sends none
	// Asked is the address of ours that its packets go to: the one in its /radius
	// entry, which /radius/incoming listens to alone. Invalid when not known.
	Asked netip.Addr
}

// Identities remembers how each NAS last named itself. The zero value works.
type Identities struct {
	mu    sync.RWMutex // guards what follows
	known map[hotspot.NASID]Identity
}

// Of returns how a NAS last named itself, and whether it was heard since the
// program started.
func (m *Identities) Of(nas hotspot.NASID) (Identity, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	id, ok := m.known[nas]
	return id, ok
}

// note takes the names out of a triaged, authentic packet, which was sent to asked.
func (m *Identities) note(nas hotspot.NASID, packet []byte, asked netip.Addr) {
	var ip netip.Addr
	var name []byte
	for at := headerLen; at+2 <= len(packet) && packet[at+1] >= 2 && at+int(packet[at+1]) <= len(packet); at += int(packet[at+1]) {
		switch v := packet[at+2 : at+int(packet[at+1])]; packet[at] {
		case coaNASIPAddress:
			if len(v) == 4 {
				ip = netip.AddrFrom4([4]byte(v))
			}
		case coaNASIdentifier:
			name = v
		}
	}
	if was, ok := m.Of(nas); ok && was.IP == ip && was.Asked == asked && was.Identifier == string(name) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[hotspot.NASID]Identity{}
	}
	m.known[nas] = Identity{IP: ip, Identifier: string(name), Asked: asked}
}

// ask is a request to a NAS before it is encoded.
type ask struct {
	code    byte
	session hotspot.Session
	terms   hotspot.NewTerms // of a CoA-Request
	who     Identity
	at      time.Time // Event-Timestamp; zero is none
	short   bool      // User-Name and Framed-IP-Address alone name the session
}

var errAttribute = errors.New("an attribute is longer than RADIUS can carry")

// encode makes the datagram (RFC 5176 §2.3): Message-Authenticator, over a zero
// authenticator (§3.4), then what names the session as the NAS last sent it, then
// what is to change. The same bytes serve every retransmission.
func (a ask) encode(id byte, secret []byte) ([]byte, error) {
	b := make([]byte, headerLen, 256)
	b[0], b[1] = a.code, id
	long := false
	add := func(kind byte, value []byte) {
		if len(value) == 0 {
			return
		}
		if len(value) > 253 {
			long = true
			return
		}
		b = append(append(b, kind, byte(len(value)+2)), value...)
	}
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	add(typeMessageAuthenticator, make([]byte, 16))
	add(coaUserName, []byte(a.session.Username))
	if a.session.IP.Is4() {
		add(coaFramedIPAddress, a.session.IP.AsSlice())
	}
	if !a.short {
		add(coaAcctSessionID, []byte(a.session.AcctSessionID))
		add(coaCallingStation, []byte(a.session.MAC.String()))
		if a.who.IP.Is4() {
			add(coaNASIPAddress, a.who.IP.AsSlice())
		}
		add(coaNASIdentifier, []byte(a.who.Identifier))
	}
	if !a.at.IsZero() {
		add(coaEventTimestamp, number(uint32(a.at.Unix())))
	}
	if a.code == codeCoARequest {
		if a.terms.SetRate {
			rate := rateText(a.terms.Rate)
			add(coaVendorSpecific, append(append(number(coaMikrotik), coaRateLimit, byte(len(rate)+2)), rate...))
		}
		if s := seconds(a.terms.SessionTimeout); s > 0 {
			add(coaSessionTimeout, number(s))
		}
	}
	if long || len(b) > maxPacket {
		return nil, errAttribute
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	mac := hmac.New(md5.New, secret)
	mac.Write(b)
	copy(b[headerLen+2:], mac.Sum(nil)) // the first attribute
	sum := md5.Sum(append(bytes.Clone(b), secret...))
	copy(b[4:headerLen], sum[:])
	return b, nil
}

// rateText is a Mikrotik-Rate-Limit. A limit cannot be taken away by leaving it
// out of a CoA-Request, so none is written as RouterOS writes it.
func rateText(r hotspot.RateLimit) string {
	if r.IsZero() {
		return "0/0"
	}
	return r.String()
}

// proven is a reply that is proven to be one to our request.
type proven struct {
	code   byte
	cause  uint32 // Error-Cause (RFC 5176 §3.5); 0 when absent
	signed bool   // it carried a valid Message-Authenticator
}

// proveAnswer checks a datagram against the request it should answer: code,
// identifier, and what proveReply checks.
func proveAnswer(b, request, secret []byte) (a proven, ok bool) {
	if len(b) < headerLen || b[0] != request[0]+1 && b[0] != request[0]+2 { // ACK and NAK follow the request's code
		return a, false
	}
	b, signed, ok := proveReply(b, request, secret)
	if !ok {
		return a, false
	}
	a = proven{code: b[0], signed: signed}
	for at := headerLen; at < len(b); at += int(b[at+1]) {
		if b[at] == coaErrorCause && b[at+1] == 6 {
			a.cause = binary.BigEndian.Uint32(b[at+2:])
		}
	}
	return a, true
}

// proveReply checks any reply to a request of ours: identifier, Length, Response
// Authenticator (RFC 2865 §3, RFC 5176 §2.3), attributes that tile, and a
// Message-Authenticator where there is one (RFC 3579 §3.2, RFC 5176 §3.4). What
// proves nothing is no reply: it may be forged, or of another time. It returns
// the packet cut to its Length, and leaves b as it is.
func proveReply(b, request, secret []byte) (packet []byte, signed, ok bool) {
	if len(b) < headerLen || b[1] != request[1] {
		return nil, false, false
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < headerLen || length > len(b) || length > maxPacket {
		return nil, false, false
	}
	b = b[:length]
	asked := bytes.Clone(b) // with the request's authenticator, as both sums want it
	copy(asked[4:headerLen], request[4:headerLen])
	if sum := md5.Sum(append(bytes.Clone(asked), secret...)); !hmac.Equal(sum[:], b[4:headerLen]) {
		return nil, false, false
	}
	for at := headerLen; at < length; at += int(b[at+1]) {
		if length-at < 2 || b[at+1] < 2 || int(b[at+1]) > length-at {
			return nil, false, false
		}
		if b[at] != typeMessageAuthenticator {
			continue
		}
		v := asked[at+2 : at+int(b[at+1])]
		if len(v) != 16 || signed {
			return nil, false, false
		}
		clear(v)
		mac := hmac.New(md5.New, secret)
		mac.Write(asked)
		if copy(v, b[at+2:]); !hmac.Equal(mac.Sum(nil), v) {
			return nil, false, false
		}
		signed = true
	}
	return b, signed, true
}

// identifiers hands out Identifiers, none twice while a request of it is
// pending at the same NAS (RFC 5176 §2.3). The zero value works.
type identifiers struct {
	mu   sync.Mutex
	nas  map[hotspot.NASID]*[256]bool // pending
	next map[hotspot.NASID]byte       // goes round, so that one is not soon used again
}

// take returns a free identifier; ok is false when all 256 are pending.
func (t *identifiers) take(nas hotspot.NASID) (id byte, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nas == nil {
		t.nas, t.next = map[hotspot.NASID]*[256]bool{}, map[hotspot.NASID]byte{}
	}
	pending := t.nas[nas]
	if pending == nil {
		pending = new([256]bool)
		t.nas[nas] = pending
	}
	for range 256 {
		id = t.next[nas]
		t.next[nas]++
		if !pending[id] {
			pending[id] = true
			return id, true
		}
	}
	return 0, false
}

func (t *identifiers) give(nas hotspot.NASID, id byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nas[nas][id] = false
}
