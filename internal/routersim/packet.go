package routersim

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
)

// Codes and attributes, as numbers of the wire (RFC 2865, 2866, 2869, 5176).
const (
	accessRequest   = 1
	accessAccept    = 2
	accessReject    = 3
	accessChallenge = 11
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
	proxyState      = 33
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

	mikrotik       = 14988
	mtRecvLimit    = 1
	mtXmitLimit    = 2
	mtRateLimit    = 8
	mtHostIP       = 10
	mtRecvGiga     = 14
	mtXmitGiga     = 15
	mtTotalLimit   = 17
	mtTotalGiga    = 18
	mtAddressList  = 19
	wispr          = 14122
	wisprLogoffURL = 3
	wireless80211  = 19
	loginUser      = 1
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

func (m *message) all(vendor uint32, kind byte) [][]byte {
	var out [][]byte
	for _, a := range m.attrs {
		if a.vendor == vendor && a.kind == kind {
			out = append(out, bytes.Clone(a.value))
		}
	}
	return out
}

func (m *message) text(kind byte) string { return string(bytes.Join(m.all(0, kind), nil)) }

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

// device is the router as each packet names it.
type device struct {
	identity string // system identity: NAS-Identifier
	nasIP    netip.Addr
	secret   string
}

// who are items 1 to 9 of facts.md §4, which every packet of a session begins with.
type who struct {
	mac     string // capitals with colons
	server  string // name of the HotSpot server
	iface   string // its interface
	user    string
	nasPort uint32 // the number acctID writes
	acctID  string
	ip      netip.Addr
}

func (v who) put(w *writer) {
	w.number(nasPortType, wireless80211)
	w.text(callingStation, v.mac)
	w.text(calledStation, v.server)
	w.text(nasPortID, v.iface)
	w.text(userName, v.user)
	w.number(nasPort, v.nasPort)
	w.text(acctSessionID, v.acctID)
	w.addr(framedIP, v.ip)
	w.vendor(mikrotik, mtHostIP, v.ip.AsSlice())
}

// access are the values of an Access-Request.
type access struct {
	device
	who
	id            byte
	authenticator [16]byte
	password      string
	pap           bool     // User-Password; else CHAP
	chapID        byte     // CHAP only
	challenge     [16]byte // CHAP only
	logoffURL     string
	signed        bool // with Message-Authenticator, the last attribute
}

// encode builds the Access-Request exactly as facts.md §4 lists it.
func (v access) encode() []byte {
	w := newPacket(accessRequest, v.id)
	copy(w.b[4:], v.authenticator[:])
	v.who.put(w)
	if v.pap {
		w.put(userPassword, hide(v.password, v.secret, v.authenticator[:]))
	} else {
		sum := md5.Sum(append(append([]byte{v.chapID}, v.password...), v.challenge[:]...))
		w.put(chapChallenge, v.challenge[:])
		w.put(chapPassword, append([]byte{v.chapID}, sum[:]...))
	}
	w.number(serviceType, loginUser)
	w.vendor(wispr, wisprLogoffURL, []byte(v.logoffURL))
	w.text(nasIdentifier, v.identity)
	w.addr(nasIPAddress, v.nasIP)
	if !v.signed {
		return w.finish()
	}
	w.put(messageAuth, make([]byte, 16))
	b := w.finish()
	mac := hmac.New(md5.New, []byte(v.secret))
	mac.Write(b)
	copy(b[len(b)-16:], mac.Sum(nil))
	return b
}

// accounting are the values of an Accounting-Request.
type accounting struct {
	device
	who
	id               byte
	status, cause    uint32
	class            [][]byte
	at               time.Time // Event-Timestamp
	delay            uint32    // Acct-Delay-Time, seconds
	upload, download uint64    // octets; Input is what the guest sent
	sent, received   uint32    // packets
	length           time.Duration
}

// encode builds the Accounting-Request as facts.md §4 lists it; an
// Accounting-On names no session.
func (v accounting) encode() []byte {
	w := newPacket(accountingReq, v.id)
	w.number(acctStatusType, v.status)
	if v.cause != 0 {
		w.number(acctCause, v.cause)
	}
	if v.status != acctOn {
		v.who.put(w)
		for _, c := range v.class {
			w.put(class, c)
		}
		w.number(eventTimestamp, uint32(v.at.Unix()))
	}
	if v.status == acctStop || v.status == acctInterim {
		w.number(acctInputOct, uint32(v.upload))
		w.number(acctOutputOct, uint32(v.download))
		w.number(acctInputGiga, uint32(v.upload>>32))
		w.number(acctOutputGiga, uint32(v.download>>32))
		w.number(acctInputPkt, v.sent)
		w.number(acctOutputPkt, v.received)
		w.number(acctSessionTime, uint32(v.length/time.Second))
	}
	w.text(nasIdentifier, v.identity)
	w.number(acctDelayTime, v.delay)
	w.addr(nasIPAddress, v.nasIP)
	b := w.finish()
	sum := md5.Sum(append(bytes.Clone(b), v.secret...)) // RFC 2866 §3: over a zero authenticator
	copy(b[4:], sum[:])
	return b
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
