package radload

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
)

// Codes and attributes, as numbers of the wire (RFC 2865, 2866, 2869).
const (
	accessRequest      = 1
	accessAccept       = 2
	accessReject       = 3
	accountingRequest  = 4
	accountingResponse = 5

	userName       = 1
	userPassword   = 2
	chapPassword   = 3
	nasIPAddress   = 4
	nasPort        = 5
	serviceType    = 6
	framedIP       = 8
	replyMessage   = 18
	classAttr      = 25
	vendorSpecific = 26
	calledStation  = 30
	callingStation = 31
	nasIdentifier  = 32
	acctStatusType = 40
	acctDelayTime  = 41
	acctInput      = 42
	acctOutput     = 43
	acctSessionID  = 44
	acctTime       = 46
	acctInPackets  = 47
	acctOutPackets = 48
	acctCause      = 49
	acctInputGiga  = 52
	acctOutputGiga = 53
	eventTimestamp = 55
	chapChallenge  = 60
	nasPortType    = 61
	messageAuth    = 80
	nasPortID      = 87

	userRequest = 1 // Acct-Terminate-Cause
	mikrotik    = 14988
	mtHostIP    = 10
	wispr       = 14122
	logoffURL   = 3
)

// acctStatus is the Acct-Status-Type of each Kind.
var acctStatus = [...]uint32{Start: 1, Stop: 2, Interim: 3}

// nasIP is how the simulated router names itself.
var nasIP = [4]byte{192, 168, 88, 1}

// signer builds and checks packets with one shared secret. It is for one
// goroutine.
type signer struct {
	secret []byte
	md5    hash.Hash
	mac    hash.Hash
	random *rand.ChaCha8
	b      []byte // the packet being built
	sum    []byte
}

func newSigner(secret string) *signer {
	var seed [32]byte
	for i := 0; i < len(seed); i += 8 {
		binary.LittleEndian.PutUint64(seed[i:], rand.Uint64())
	}
	return &signer{secret: []byte(secret), md5: md5.New(), mac: hmac.New(md5.New, []byte(secret)), random: rand.NewChaCha8(seed)}
}

func (s *signer) put(kind byte, v []byte) { s.b = append(append(s.b, kind, byte(len(v)+2)), v...) }
func (s *signer) text(kind byte, v string) {
	s.b = append(append(s.b, kind, byte(len(v)+2)), v...)
}
func (s *signer) number(kind byte, v uint32) {
	s.b = binary.BigEndian.AppendUint32(append(s.b, kind, 6), v)
}
func (s *signer) vendor(vendor uint32, kind byte, v string) {
	s.b = binary.BigEndian.AppendUint32(append(s.b, vendorSpecific, byte(len(v)+8)), vendor)
	s.b = append(append(s.b, kind, byte(len(v)+2)), v...)
}

// digest is MD5 over the parts.
func (s *signer) digest(parts ...[]byte) []byte {
	s.md5.Reset()
	for _, p := range parts {
		s.md5.Write(p)
	}
	s.sum = s.md5.Sum(s.sum[:0])
	return s.sum
}

// request builds the next packet of guest i into b[:0]. Its authenticator and
// its values are new every time.
func (s *signer) request(b []byte, k Kind, id byte, c *Crowd, i int, unix uint32) []byte {
	s.b = append(b[:0], accessRequest, id, 0, 0)
	s.b = append(s.b, make([]byte, 16)...)
	g := &c.guests[i]
	name, password := c.account(i)
	if k.login() {
		s.random.Read(s.b[4:20])
		s.who(i, g, name)
		s.login(k, password)
		return s.b
	}
	s.b[0] = accountingRequest
	s.number(acctStatusType, acctStatus[k])
	if k == Stop {
		s.number(acctCause, userRequest)
	}
	s.who(i, g, name)
	if len(g.class) > 0 {
		s.put(classAttr, g.class)
	}
	s.number(eventTimestamp, unix)
	if k != Start {
		s.number(acctInput, uint32(g.up))
		s.number(acctOutput, uint32(g.down))
		s.number(acctInputGiga, uint32(g.up>>32))
		s.number(acctOutputGiga, uint32(g.down>>32))
		s.number(acctInPackets, uint32(g.up/500))
		s.number(acctOutPackets, uint32(g.down/900))
		s.number(acctTime, g.seconds)
	}
	s.text(nasIdentifier, "MikroTik")
	s.number(acctDelayTime, 0)
	s.put(nasIPAddress, nasIP[:])
	binary.BigEndian.PutUint16(s.b[2:], uint16(len(s.b)))
	copy(s.b[4:], s.digest(s.b, s.secret)) // RFC 2866 §3: over a zero authenticator
	return s.b
}

// who puts items 1 to 9 of facts.md §4, which every packet of a session begins with.
func (s *signer) who(i int, g *guest, name string) {
	var mac [17]byte
	ip := addr(i)
	s.number(nasPortType, 19) // Wireless-802.11
	s.put(callingStation, appendMAC(mac[:0], i))
	s.text(calledStation, "hotspot1")
	s.text(nasPortID, "bridge")
	s.text(userName, name)
	s.number(nasPort, g.acctSessionID())
	s.b = appendHex(append(s.b, acctSessionID, 10), g.acctSessionID())
	s.put(framedIP, ip[:])
	s.b = binary.BigEndian.AppendUint32(append(s.b, vendorSpecific, 12), mikrotik)
	s.b = append(append(s.b, mtHostIP, 6), ip[:]...)
}

// appendHex writes eight lower-case hex digits.
func appendHex(b []byte, v uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&15])
	}
	return b
}

// login puts the rest of an Access-Request and signs it.
func (s *signer) login(k Kind, password string) {
	if k == CHAP {
		var challenge [16]byte
		s.random.Read(challenge[:])
		id := []byte{challenge[0]}
		s.put(chapChallenge, challenge[:])
		s.b = append(s.b, chapPassword, 19, id[0])
		s.b = append(s.b, s.digest(id, []byte(password), challenge[:])...)
	} else {
		s.hide(password)
	}
	s.number(serviceType, 1) // Login-User
	s.vendor(wispr, logoffURL, "http://192.168.88.1/logout")
	s.text(nasIdentifier, "MikroTik")
	s.put(nasIPAddress, nasIP[:])
	s.b = append(append(s.b, messageAuth, 18), make([]byte, 16)...)
	binary.BigEndian.PutUint16(s.b[2:], uint16(len(s.b)))
	s.mac.Reset()
	s.mac.Write(s.b)
	s.mac.Sum(s.b[:len(s.b)-16])
}

// hide puts User-Password (RFC 2865 §5.2).
func (s *signer) hide(password string) {
	blocks := max(1, (len(password)+15)/16)
	s.b = append(s.b, userPassword, byte(16*blocks+2))
	at := len(s.b)
	s.b = append(append(s.b, password...), make([]byte, 16*blocks-len(password))...)
	last := s.b[4:20]
	for ; at < len(s.b); at += 16 {
		for j, k := range s.digest(s.secret, last) {
			s.b[at+j] ^= k
		}
		last = s.b[at : at+16]
	}
}

// reply is a verified answer.
type reply struct {
	code    byte
	class   []byte
	message []byte
}

var (
	errShort = errors.New("the reply is shorter than its Length, or than a header")
	errTiles = errors.New("the reply's attributes do not tile")
	errRA    = errors.New("the Response Authenticator is wrong")
	errMA    = errors.New("the Message-Authenticator is wrong")
	errNoMA  = errors.New("the reply has no Message-Authenticator")
)

// verify checks a reply to request, whose identifier the caller matched, and
// says what was wrong first. It writes into b and restores it.
func (s *signer) verify(b, request []byte, k Kind) (r reply, err error) {
	if len(b) < 20 {
		return r, errShort
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < 20 || length > len(b) {
		return r, errShort
	}
	b = b[:length]
	r.code = b[0]
	if k.login() != (r.code == accessAccept || r.code == accessReject) || !k.login() && r.code != accountingResponse {
		err = fmt.Errorf("a reply of code %d to a request of code %d", r.code, request[0])
	}
	if !bytes.Equal(s.digest(b[:4], request[4:20], b[20:], s.secret), b[4:20]) {
		err = cmp.Or(err, errRA)
	}
	var signature []byte
	for at := 20; at < length; {
		if length-at < 2 || int(b[at+1]) < 2 || int(b[at+1]) > length-at {
			return r, cmp.Or(err, errTiles)
		}
		v := b[at+2 : at+int(b[at+1])]
		switch b[at] {
		case classAttr:
			r.class = v
		case replyMessage:
			r.message = v
		case messageAuth:
			signature = v
		}
		at += int(b[at+1])
	}
	switch {
	case signature == nil && k.login():
		err = cmp.Or(err, errNoMA)
	case signature != nil && !s.signed(b, request, signature):
		err = cmp.Or(err, errMA)
	}
	return r, err
}

// signed checks the HMAC over a reply with the request's authenticator and the
// attribute's value as zeroes (RFC 3579 §3.2).
func (s *signer) signed(b, request, signature []byte) bool {
	if len(signature) != 16 {
		return false
	}
	var got, zero [16]byte
	copy(got[:], signature)
	copy(signature, zero[:])
	s.mac.Reset()
	s.mac.Write(b[:4])
	s.mac.Write(request[4:20])
	s.mac.Write(b[20:])
	copy(signature, got[:])
	s.sum = s.mac.Sum(s.sum[:0])
	return hmac.Equal(s.sum, got[:])
}
