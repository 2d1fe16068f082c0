package radius

import (
	"crypto/hmac"
	"crypto/md5" // #nosec: RADIUS is built on MD5 (RFC 2865 §3, RFC 3579 §3.2)
	"encoding/binary"
)

// Codes this package speaks (RFC 2865 §3, RFC 2866 §3, RFC 5176 §2.3, RFC 5997).
const (
	codeAccessRequest      = 1
	codeAccessAccept       = 2
	codeAccessReject       = 3
	codeAccountingRequest  = 4
	codeAccountingResponse = 5
	codeStatusServer       = 12
	codeDisconnectRequest  = 40
	codeDisconnectACK      = 41
	codeDisconnectNAK      = 42
)

const (
	headerLen     = 20
	maxPacket     = 4096 // RFC 2865 §3
	maxAttributes = 200  // a NAS sends about sixteen; more is an attack on our memory
)

// dropped says why a packet gets silence. The names are those of counters.
type dropped string

const (
	dropUnknownNAS    dropped = "unknown_nas"
	dropShort         dropped = "malformed_length"
	dropCode          dropped = "wrong_code_for_port"
	dropAttributes    dropped = "malformed_attributes"
	dropAuthenticator dropped = "bad_authenticator"         // Request Authenticator of accounting: wrong secret
	dropMABad         dropped = "bad_message_authenticator" // present and wrong: wrong secret, or forged
	dropMAMissing     dropped = "no_message_authenticator"
	dropMAFellBack    dropped = "message_authenticator_fell_back" // this NAS sent them before
	dropProxyState    dropped = "proxy_state_without_message_authenticator"
	dropQueueFull     dropped = "queue_full"
	dropTooOld        dropped = "too_old"
	dropInFlight      dropped = "duplicate_in_flight"
	dropNoSessionID   dropped = "no_acct_session_id"
	dropStatusType    dropped = "unknown_status_type"
	dropUnavailable   dropped = "not_decided" // the store could not answer; the NAS asks again
	dropUnencodable   dropped = "reply_too_long"
	dropPanic         dropped = "panic"
	dropForgotten     dropped = "accept_overtaken" // the account was put off while its Accept was on the way
)

// triage checks a datagram before anything is parsed: a code allowed on this
// port, a Length that fits (octets past it are padding and are cut, RFC 2865 §3),
// attributes that tile exactly, none of type 0, not too many, at most one
// Message-Authenticator and that of 18 octets. It returns the packet cut to
// Length and where the Message-Authenticator's value stands (0 if there is none).
func triage(b []byte, accounting bool) (packet []byte, ma int, why dropped) {
	if len(b) < headerLen {
		return nil, 0, dropShort
	}
	switch code := b[0]; {
	case code == codeStatusServer:
	case accounting && code == codeAccountingRequest:
	case !accounting && code == codeAccessRequest:
	default:
		return nil, 0, dropCode
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < headerLen || length > maxPacket || length > len(b) {
		return nil, 0, dropShort
	}
	b = b[:length]
	for at, n := headerLen, 0; at < length; n++ {
		if length-at < 2 || n == maxAttributes {
			return nil, 0, dropAttributes
		}
		size := int(b[at+1])
		if b[at] == 0 || size < 2 || size > length-at {
			return nil, 0, dropAttributes
		}
		if b[at] == typeMessageAuthenticator {
			if size != 18 || ma != 0 {
				return nil, 0, dropMABad
			}
			ma = at + 2
		}
		at += size
	}
	return b, ma, ""
}

// validMessageAuthenticator checks the HMAC over the packet with its value as
// zeroes (RFC 3579 §3.2); in accounting, over a zero authenticator as well.
func validMessageAuthenticator(b []byte, ma int, secret []byte, zeroAuthenticator bool) bool {
	var zero [16]byte
	h := hmac.New(md5.New, secret)
	if zeroAuthenticator {
		h.Write(b[:4])
		h.Write(zero[:])
		h.Write(b[headerLen:ma])
	} else {
		h.Write(b[:ma])
	}
	h.Write(zero[:])
	h.Write(b[ma+16:])
	var sum [16]byte
	return hmac.Equal(h.Sum(sum[:0]), b[ma:ma+16])
}
