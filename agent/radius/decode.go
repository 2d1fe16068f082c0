package radius

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"iwas/internal/hotspot"
)

// station is who and where of any request. Of an attribute sent twice the first
// counts.
type station struct {
	mac, session, server, port []byte
	ip, hostIP                 netip.Addr
}

func (s *station) read(kind byte, v []byte) {
	first := func(to *[]byte) {
		if *to == nil {
			*to = v
		}
	}
	switch kind {
	case typeCallingStationID:
		first(&s.mac)
	case typeAcctSessionID:
		first(&s.session)
	case typeCalledStationID:
		first(&s.server)
	case typeNASPortID:
		first(&s.port)
	case typeFramedIPAddress:
		if !s.ip.IsValid() {
			s.ip = ip4(v)
		}
	case typeVendorSpecific:
		id, rest := vendorOf(v)
		if id != vendorMikrotik {
			return
		}
		for sub, value := range inside(rest) {
			if sub == typeMikrotikHostIP && !s.hostIP.IsValid() {
				s.hostIP = ip4(value)
			}
		}
	}
}

func (s *station) parseMAC() hotspot.MAC {
	m, _ := hotspot.ParseMAC(string(s.mac))
	return m
}

// decodeRequest understands a triaged, authentic Access-Request. reason is set
// when it is refused for its form alone; undecodable says that the password
// cannot be what anybody typed, as with a wrong shared secret. Nothing returned
// refers to b.
func decodeRequest(b []byte, k *key, id hotspot.NASID, at time.Time) (r hotspot.Request, reason hotspot.Reason, undecodable bool) {
	r = hotspot.Request{NAS: id, At: at}
	var where station
	var name, hidden, chap, challenge []byte
	var names, credentials, challenges int
	wrong, eap := false, false
	for kind, v := range attributes(b) {
		wrong = wrong || malformed(kind, v)
		switch kind {
		case typeUserName:
			name = v
			names++
		case typeUserPassword:
			hidden = v
			credentials++
		case typeCHAPPassword:
			chap = v
			credentials++
		case typeEAPMessage: // may come in pieces (RFC 3579 §3.1)
			eap = true
		case typeCHAPChallenge:
			challenge = v
			challenges++
		default:
			where.read(kind, v)
		}
	}
	r.MAC, r.AcctSessionID, r.Server, r.Port = where.parseMAC(), hotspot.AcctSessionID(where.session), string(where.server), string(where.port)
	r.IP, r.HostIP = where.ip, where.hostIP
	if names == 1 {
		r.Username = string(name)
	}
	switch {
	case credentials > 1, credentials == 1 && eap:
		return r, hotspot.ReasonTwoCredentials, false // RFC 2865 §4.1
	case wrong, names != 1, len(name) == 0, bytes.IndexByte(name, 0) >= 0, challenges > 1:
		return r, hotspot.ReasonMalformed, false
	case hidden != nil:
		password, ok := k.password(hidden, b[4:headerLen])
		if !ok || !typeable(password) {
			return r, hotspot.ReasonMalformed, true
		}
		r.Credential = hotspot.Credential{Kind: hotspot.Clear, Clear: hotspot.Password(password)}
	case chap != nil:
		if challenges == 0 { // RFC 2865 §5.3
			challenge = b[4:headerLen]
		}
		kept := append(append(make([]byte, 0, len(chap)-1+len(challenge)), chap[1:]...), challenge...)
		r.Credential = hotspot.Credential{Kind: hotspot.CHAP, CHAPID: chap[0], Response: kept[:16:16], Challenge: kept[16:]}
	}
	return r, "", false
}

// typeable reports whether somebody can have typed a password. Made with another
// secret it comes out as random octets, of which 16 pass for text of any kind once
// in ten thousand times, for text without control characters far more rarely.
func typeable(password string) bool {
	return utf8.ValidString(password) && !strings.ContainsFunc(password, unicode.IsControl)
}

// clockSlack is how far a NAS's Event-Timestamp may lie from our arrival time
// before it is taken for a router whose clock is lost.
const clockSlack = 24 * time.Hour

// counters are the numbers of accounting; absent ones are 0.
type counters [64]uint32

// decodeAccounting understands a triaged, authentic Accounting-Request. What is
// not as the RFC wants it gets silence (RFC 2866 §5). Nothing returned refers to b.
func decodeAccounting(b []byte, id hotspot.NASID, at time.Time) (a hotspot.Accounting, why dropped) {
	var where station
	var name, class []byte
	var n counters
	var seen uint64 // a bit for each number that was there
	for kind, v := range attributes(b) {
		if malformed(kind, v) {
			return a, dropAttributes
		}
		f := dictionary[kind].form
		switch {
		case kind == typeUserName && name == nil:
			name = v
		case kind == typeClass && class == nil:
			class = append(make([]byte, 0, len(v)), v...)
		case int(kind) < len(n) && (f == number || f == instant):
			if seen&(1<<kind) == 0 {
				n[kind] = binary.BigEndian.Uint32(v)
			}
			seen |= 1 << kind
		default:
			where.read(kind, v)
		}
	}
	a = hotspot.Accounting{Kind: hotspot.AccountingKind(n[typeAcctStatusType]), NAS: id, At: at}
	if a.Kind.String() == "unknown" {
		return a, dropStatusType
	}
	if len(where.session) == 0 && a.Kind != hotspot.NASOn && a.Kind != hotspot.NASOff {
		return a, dropNoSessionID // RFC 2866 §5.5
	}
	a.MAC, a.AcctSessionID, a.Server, a.Port = where.parseMAC(), hotspot.AcctSessionID(where.session), string(where.server), string(where.port)
	a.IP, a.HostIP, a.Username, a.Class = where.ip, where.hostIP, string(name), class
	a.SessionTime = time.Duration(n[typeAcctSessionTime]) * time.Second
	a.Upload = hotspot.JoinOctets(n[typeAcctInputGigawords], n[typeAcctInputOctets])
	a.Download = hotspot.JoinOctets(n[typeAcctOutputGigawords], n[typeAcctOutputOctets])
	a.TerminateCause = n[typeAcctTerminateCause]
	a.Delay = time.Duration(n[typeAcctDelayTime]) * time.Second
	if seen&(1<<typeEventTimestamp) != 0 {
		if t := time.Unix(int64(n[typeEventTimestamp]), 0); t.Sub(at).Abs() <= clockSlack {
			a.EventAt = t
		}
	}
	return a, ""
}
