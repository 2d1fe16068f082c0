package radius

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// raw is a datagram with a valid Message-Authenticator, whatever the attributes.
func raw(code, id byte, attrs string) []byte {
	return signer{testSecret}.sign(code, id, func(p *builder) { p.b = append(p.b, attrs...) })
}

// record is a datagram with a valid Request Authenticator of accounting.
func record(id byte, attrs string) []byte {
	return accounting(id, func(p *builder) { p.b = append(p.b, attrs...) })
}

// bob is the login that gets in, in attributes, with the authenticator of b.
func bob(password string) func(*builder) {
	return func(p *builder) {
		p.text(typeUserName, "bob")
		p.text(typeUserPassword, string(hide(password, p.b[4:headerLen])))
	}
}

func with(code, id byte, more ...func(*builder)) []byte {
	return signer{testSecret}.sign(code, id, func(p *builder) {
		for _, m := range more {
			m(p)
		}
	})
}

func attr(kind byte, v string) func(*builder) { return func(p *builder) { p.text(kind, v) } }

// change alters a datagram.
func change(b []byte, do func(b []byte) []byte) []byte { return do(b) }

// TestBadInput holds every sort of bad datagram to its verdict: radius.md §2.2,
// §3 and §4. want is the code of the answer; 0 is silence, for the reason why.
func TestBadInput(t *testing.T) {
	j := &judge{verdict: grant()}
	s := newServer(t, j, func(s *Server) { s.NASes[0].MessageAuthenticator = Off })
	auth, acct := dial(t, s.AuthAddr()), dial(t, s.AcctAddr())
	start := "\x28\x06\x00\x00\x00\x01\x2c\x0a80300001"
	ma := "\x50\x12" + string(zeroes[:])
	for _, tc := range []struct {
		name   string
		conn   *peer
		packet []byte
		want   byte
		why    dropped
	}{
		// Header.
		{"empty datagram", auth, nil, 0, dropShort},
		{"nineteen octets", auth, make([]byte, 19), 0, dropShort},
		{"Length below the header", auth, change(access(1, "bob", "hello"), func(b []byte) []byte { b[2], b[3] = 0, 19; return b }), 0, dropShort},
		{"Length above the datagram", auth, change(access(1, "bob", "hello"), func(b []byte) []byte { b[3]++; return b }), 0, dropShort},
		{"Length above 4096", auth, change(append(access(1, "bob", "hello"), make([]byte, 5000)...), func(b []byte) []byte { b[2], b[3] = 16, 1; return b }), 0, dropShort},
		{"65,507 octets, the most a datagram may hold", auth, bytes.Repeat([]byte{1}, 65507), 0, dropAttributes},
		{"65,507 octets, a good packet in front", auth, append(access(2, "bob", "hello"), make([]byte, 65000)...), codeAccessAccept, ""},
		{"octets past Length, in accounting", acct, append(record(3, start), 1, 2, 3), codeAccountingResponse, ""},
		// Code and port.
		{"Access-Request on the accounting port", acct, access(4, "bob", "hello"), 0, dropCode},
		{"Accounting-Request on the authentication port", auth, record(5, start), 0, dropCode},
		{"Access-Accept", auth, raw(codeAccessAccept, 6, ""), 0, dropCode},
		{"Disconnect-Request", auth, raw(codeDisconnectRequest, 7, ""), 0, dropCode},
		{"CoA-Request", acct, raw(43, 8, ""), 0, dropCode},
		{"code 0", auth, raw(0, 9, ""), 0, dropCode},
		{"Status-Server", auth, raw(codeStatusServer, 10, ""), codeAccessAccept, ""},
		{"Status-Server on the accounting port", acct, raw(codeStatusServer, 11, ""), codeAccountingResponse, ""},
		{"Status-Server without Message-Authenticator", auth, build(codeStatusServer, 12, nil), 0, dropMAMissing},
		// Attributes that do not tile.
		{"attribute of length 0", auth, raw(codeAccessRequest, 13, "\x01\x00"), 0, dropAttributes},
		{"attribute of length 1", auth, raw(codeAccessRequest, 14, "\x01\x01"), 0, dropAttributes},
		{"attribute past the end", auth, raw(codeAccessRequest, 15, "\x01\x05ab"), 0, dropAttributes},
		{"half an attribute", auth, raw(codeAccessRequest, 16, "\x01"), 0, dropAttributes},
		{"attribute of type 0", auth, raw(codeAccessRequest, 17, "\x00\x03x"), 0, dropAttributes},
		{"2,038 empty attributes", auth, raw(codeAccessRequest, 18, strings.Repeat("\x01\x02", 2029)), 0, dropAttributes},
		{"attribute past the end, in accounting", acct, record(19, "\x01\x09ab"), 0, dropAttributes},
		// Message-Authenticator.
		{"a wrong one", auth, change(access(20, "bob", "hello"), func(b []byte) []byte { b[22] ^= 1; return b }), 0, dropMABad},
		{"all zeroes", auth, build(codeAccessRequest, 21, attr(typeMessageAuthenticator, string(zeroes[:]))), 0, dropMABad},
		{"of 17 octets", auth, raw(codeAccessRequest, 22, "\x50\x11"+string(zeroes[:15])), 0, dropMABad},
		{"of none", auth, build(codeAccessRequest, 23, attr(typeMessageAuthenticator, "")), 0, dropMABad},
		{"two of them", auth, raw(codeAccessRequest, 24, ma), 0, dropMABad},
		{"a wrong one in accounting", acct, record(25, start+ma), 0, dropMABad},
		{"last instead of first", auth, routerAccess(26), codeAccessAccept, ""},
		// Request Authenticator of accounting.
		{"another secret", acct, signer{"another"}.account(27), 0, dropAuthenticator},
		{"all zeroes, in accounting", acct, change(record(28, start), func(b []byte) []byte { clear(b[4:20]); return b }), 0, dropAuthenticator},
		// BlastRADIUS and EAP.
		{"Proxy-State without Message-Authenticator", auth, build(codeAccessRequest, 29, func(p *builder) { bob("hello")(p); p.text(typeProxyState, "x") }), 0, dropProxyState},
		{"Proxy-State with it", auth, with(codeAccessRequest, 30, bob("hello"), attr(typeProxyState, "x")), codeAccessAccept, ""},
		{"EAP without Message-Authenticator", auth, build(codeAccessRequest, 31, func(p *builder) { p.text(typeUserName, "bob"); p.text(typeEAPMessage, "\x02\x00\x00\x08\x01bob") }), 0, dropMAMissing},
		{"EAP with it: a method nobody offered", auth, with(codeAccessRequest, 32, attr(typeUserName, "bob"), attr(typeEAPMessage, "\x02\x00\x00\x08\x01bob")), codeAccessReject, ""},
		{"EAP beside a password", auth, with(codeAccessRequest, 33, bob("hello"), attr(typeEAPMessage, "\x02\x00\x00\x08\x01bob")), codeAccessReject, ""},
		// Who.
		{"no User-Name", auth, with(codeAccessRequest, 34, attr(typeUserPassword, string(zeroes[:]))), codeAccessReject, ""},
		{"an empty User-Name", auth, with(codeAccessRequest, 35, attr(typeUserName, "")), codeAccessReject, ""},
		{"two User-Names", auth, with(codeAccessRequest, 36, bob("hello"), attr(typeUserName, "bob")), codeAccessReject, ""},
		{"NUL in the name", auth, with(codeAccessRequest, 37, func(p *builder) {
			p.text(typeUserName, "bob\x00admin")
			p.text(typeUserPassword, string(hide("hello", p.b[4:20])))
		}), codeAccessReject, ""},
		{"the name in capitals", auth, access(38, "BOB", "hello"), codeAccessReject, ""},
		{"a blank behind the name", auth, access(39, "bob ", "hello"), codeAccessReject, ""},
		{"a name of 253 octets, not UTF-8", auth, access(40, strings.Repeat("\xff", 253), "hello"), codeAccessReject, ""},
		// Credentials.
		{"none", auth, with(codeAccessRequest, 41, attr(typeUserName, "bob")), codeAccessReject, ""},
		{"NUL in the password", auth, access(42, "bob", "hello\x00junk"), codeAccessReject, ""},
		{"a password of 8 octets on the wire", auth, with(codeAccessRequest, 43, attr(typeUserName, "bob"), attr(typeUserPassword, "12345678")), codeAccessReject, ""},
		{"of 17", auth, with(codeAccessRequest, 44, attr(typeUserName, "bob"), attr(typeUserPassword, strings.Repeat("x", 17))), codeAccessReject, ""},
		{"of 144", auth, with(codeAccessRequest, 45, attr(typeUserName, "bob"), attr(typeUserPassword, strings.Repeat("x", 144))), codeAccessReject, ""},
		{"of 0", auth, with(codeAccessRequest, 46, attr(typeUserName, "bob"), attr(typeUserPassword, "")), codeAccessReject, ""},
		{"two passwords", auth, with(codeAccessRequest, 47, bob("hello"), func(p *builder) { p.text(typeUserPassword, string(hide("hello", p.b[4:20]))) }), codeAccessReject, ""},
		{"password and CHAP", auth, with(codeAccessRequest, 48, bob("hello"), attr(typeCHAPPassword, "\x01"+string(zeroes[:]))), codeAccessReject, ""},
		{"CHAP of 16 octets", auth, with(codeAccessRequest, 49, attr(typeUserName, "bob"), attr(typeCHAPPassword, string(zeroes[:]))), codeAccessReject, ""},
		{"CHAP of none", auth, with(codeAccessRequest, 50, attr(typeUserName, "bob"), attr(typeCHAPPassword, "")), codeAccessReject, ""},
		{"CHAP over the Request Authenticator", auth, with(codeAccessRequest, 51, chapLogin(51)), codeAccessAccept, ""},
		{"two challenges", auth, with(codeAccessRequest, 52, chapLogin(52), attr(typeCHAPChallenge, "a"), attr(typeCHAPChallenge, "b")), codeAccessReject, ""},
		{"another secret and no Message-Authenticator", auth, signer{"another"}.plain(53), codeAccessReject, ""},
		{"a password of 128 octets", auth, access(72, "bob", strings.Repeat("x", 128)), codeAccessReject, ""},
		{"an EAP-Message whose own length lies", auth, with(codeAccessRequest, 73, attr(typeUserName, "bob"), attr(typeEAPMessage, "\x02\x00\xff\xff\x01b")), codeAccessReject, ""},
		{"an empty EAP-Message", auth, with(codeAccessRequest, 74, attr(typeUserName, "bob"), attr(typeEAPMessage, "")), codeAccessReject, ""},
		{"both kinds of password and EAP", auth, with(codeAccessRequest, 75, bob("hello"), attr(typeCHAPPassword, "\x01"+string(zeroes[:])), attr(typeEAPMessage, "\x02")), codeAccessReject, ""},
		// Values of a wrong size.
		{"Framed-IP-Address of 3 octets", auth, with(codeAccessRequest, 54, bob("hello"), attr(typeFramedIPAddress, "\x0a\x00\x00")), codeAccessReject, ""},
		{"NAS-Port of 8 octets", auth, with(codeAccessRequest, 55, bob("hello"), attr(5, "12345678")), codeAccessReject, ""},
		{"Vendor-Specific without a vendor", auth, with(codeAccessRequest, 56, bob("hello"), attr(typeVendorSpecific, "\x00\x00")), codeAccessReject, ""},
		{"Acct-Status-Type of 3 octets", acct, record(57, "\x28\x05\x00\x00\x01\x2c\x0a80300001"), 0, dropAttributes},
		{"Acct-Session-Time of 1 octet", acct, record(58, start+"\x2e\x03\x01"), 0, dropAttributes},
		// Vendor-Specifics that lie: the vendor's own affair, so the rest counts.
		{"length 0 inside", auth, with(codeAccessRequest, 59, bob("hello"), attr(typeVendorSpecific, "\x00\x00\x3a\x8c\x0a\x00\x0a\x00\x00\x01")), codeAccessAccept, ""},
		{"length 1 inside", auth, with(codeAccessRequest, 60, bob("hello"), attr(typeVendorSpecific, "\x00\x00\x3a\x8c\x0a\x01\x0a\x00\x00\x01")), codeAccessAccept, ""},
		{"length past its end", auth, with(codeAccessRequest, 61, bob("hello"), attr(typeVendorSpecific, "\x00\x00\x3a\x8c\x0a\xff\x0a\x00\x00\x01")), codeAccessAccept, ""},
		{"Mikrotik-Host-IP of 3 octets", auth, with(codeAccessRequest, 62, bob("hello"), attr(typeVendorSpecific, "\x00\x00\x3a\x8c\x0a\x05\x0a\x00\x00")), codeAccessAccept, ""},
		{"the same in accounting", acct, record(63, start+"\x1a\x0a\x00\x00\x3a\x8c\x0a\x00\x0a\x00"), codeAccountingResponse, ""},
		// Long and odd, and good all the same.
		{"Called-Station-Id of 2 octets", auth, with(codeAccessRequest, 64, bob("hello"), attr(typeCalledStationID, "x"), attr(typeCallingStationID, "not a MAC")), codeAccessAccept, ""},
		{"State and an attribute nobody knows", auth, with(codeAccessRequest, 65, bob("hello"), attr(24, "state"), attr(250, "?")), codeAccessAccept, ""},
		{"a full packet of 4,096 octets", auth, with(codeAccessRequest, 76, bob("hello"), func(p *builder) {
			for room := maxPacket - len(p.b); room > 0; room = maxPacket - len(p.b) {
				n := min(room, 255)
				if room-n == 1 {
					n--
				}
				p.text(250, strings.Repeat("x", n-2))
			}
		}), codeAccessAccept, ""},
		{"199 attributes and a Message-Authenticator", auth, with(codeAccessRequest, 77, bob("hello"), func(p *builder) { p.b = append(p.b, strings.Repeat("\xfa\x02", maxAttributes-3)...) }), codeAccessAccept, ""},
		{"one more", auth, with(codeAccessRequest, 78, bob("hello"), func(p *builder) { p.b = append(p.b, strings.Repeat("\xfa\x02", maxAttributes-2)...) }), 0, dropAttributes},
		// What brought others down: attributes we have no use for are not looked into.
		{"Tunnel-Password and NAS-Filter-Rule of any length", auth, with(codeAccessRequest, 79, bob("hello"), attr(69, ""), attr(69, "\x00"), attr(69, "\x01\x80\x00\xff"), attr(92, ""), attr(92, strings.Repeat("\xff", 253))), codeAccessAccept, ""},
		{"MIP6 attributes of RFC 5447 cut short", auth, with(codeAccessRequest, 80, bob("hello"), attr(124, "\x01"), attr(125, "\x00"), attr(125, "\x00\x81")), codeAccessAccept, ""},
		{"extended and long-extended attributes cut short", auth, with(codeAccessRequest, 81, bob("hello"), attr(241, ""), attr(245, "\x01"), attr(246, "\x1a\x80\x00")), codeAccessAccept, ""},
		// Accounting.
		{"no Acct-Status-Type", acct, record(66, "\x2c\x0a80300001"), 0, dropStatusType},
		{"an unknown one", acct, record(67, "\x28\x06\x00\x00\x00\x0f\x2c\x0a80300001"), 0, dropStatusType},
		{"no Acct-Session-Id", acct, record(68, "\x28\x06\x00\x00\x00\x01"), 0, dropNoSessionID},
		{"an empty one", acct, record(69, "\x28\x06\x00\x00\x00\x02\x2c\x02"), 0, dropNoSessionID},
		{"Accounting-On needs none", acct, record(70, "\x28\x06\x00\x00\x00\x07"), codeAccountingResponse, ""},
		{"counters and delay of all ones", acct, record(82, "\x28\x06\x00\x00\x00\x02\x2c\x0a80300001"+"\x2a\x06\xff\xff\xff\xff\x34\x06\xff\xff\xff\xff\x2b\x06\xff\xff\xff\xff\x35\x06\xff\xff\xff\xff\x2e\x06\xff\xff\xff\xff\x29\x06\xff\xff\xff\xff\x37\x06\xff\xff\xff\xff"), codeAccountingResponse, ""},
		{"a Class of nothing, of 253 octets, and twice", acct, record(83, start+"\x19\x02\x19\xff"+strings.Repeat("c", 253)), codeAccountingResponse, ""},
		{"Disconnect-Request on the accounting port", acct, raw(codeDisconnectRequest, 84, ""), 0, dropCode},
		{"a name that is no UTF-8", acct, record(71, start+"\x01\x04\xff\xfe"), codeAccountingResponse, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := s.count("dropped", string(tc.why))
			tc.conn.send(t, tc.packet)
			if tc.want == 0 {
				until(t, "silence for "+string(tc.why), func() bool { return s.count("dropped", string(tc.why)) == before+1 })
				return
			}
			reply := tc.conn.receive(t)
			if length := binary.BigEndian.Uint16(tc.packet[2:]); reply[0] != tc.want || !verifies(reply, tc.packet[:length], testSecret) {
				t.Errorf("got code %d, want %d, proven", reply[0], tc.want)
			}
			if tc.want == codeAccessReject {
				for kind := range attributes(reply) {
					if !slices.Contains([]byte{typeMessageAuthenticator, typeReplyMessage, typeProxyState}, kind) {
						t.Errorf("attribute %d in an Access-Reject", kind)
					}
				}
			}
		})
	}
	for _, a := range j.records() {
		if a.Kind == hotspot.Stop && (a.Upload != math.MaxInt64 || a.Download != math.MaxInt64 || a.SessionTime != math.MaxUint32*time.Second || !a.EventAt.IsZero()) {
			t.Errorf("all ones were stored as %+v, want the most that fits", a)
		}
	}
	if got := s.count("dropped", string(dropPanic)); got != 0 {
		t.Errorf("%d requests panicked", got)
	}
}
