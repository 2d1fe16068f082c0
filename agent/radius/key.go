package radius

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" // #nosec: RADIUS is built on MD5 (RFC 2865 §3, RFC 3579 §3.2)
	"crypto/subtle"
	"encoding"
	"hash"
	"sync"

	"iwas/internal/secret"
)

// key is one shared secret, with the part of HMAC-MD5 that never changes worked
// out once: a third of the cost of each packet.
type key struct {
	secret       []byte
	inner, outer []byte // states of MD5 after the inner and the outer pad (RFC 2104 §2)
}

// hasher is MD5 that can be set to a state, and room for its result.
type hasher struct {
	hash.Hash
	state encoding.BinaryUnmarshaler // the same MD5; nil if it cannot be set
	sum   [md5.Size]byte
}

var hashers = sync.Pool{New: func() any {
	d := md5.New()
	state, _ := d.(encoding.BinaryUnmarshaler)
	return &hasher{Hash: d, state: state}
}}

// set puts the hash into a state of padded.
func (h *hasher) set(state []byte) bool {
	return h.state != nil && h.state.UnmarshalBinary(state) == nil
}

func (h *hasher) finish() [md5.Size]byte {
	h.Sum(h.sum[:0])
	return h.sum
}

var zeroes [16]byte

func newKey(v secret.Value) *key {
	k := &key{secret: []byte(v.Reveal())}
	var block [md5.BlockSize]byte
	if len(k.secret) > len(block) {
		sum := md5.Sum(k.secret)
		copy(block[:], sum[:])
	} else {
		copy(block[:], k.secret)
	}
	k.inner, k.outer = padded(block, 0x36), padded(block, 0x5c)
	return k
}

// padded returns the state of MD5 after block with every octet changed by pad;
// nil if this MD5 cannot save it.
func padded(block [md5.BlockSize]byte, pad byte) []byte {
	for i := range block {
		block[i] ^= pad
	}
	d := md5.New()
	d.Write(block[:])
	m, ok := d.(encoding.BinaryMarshaler)
	if !ok {
		return nil
	}
	state, err := m.MarshalBinary()
	if err != nil {
		return nil
	}
	return state
}

// hmac is HMAC-MD5 of the parts.
func (k *key) hmac(parts ...[]byte) [md5.Size]byte {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	if h.set(k.inner) {
		for _, p := range parts {
			h.Write(p)
		}
		h.finish()
		if h.set(k.outer) {
			h.Write(h.sum[:])
			return h.finish()
		}
	}
	long := hmac.New(md5.New, k.secret) // an MD5 without states
	for _, p := range parts {
		long.Write(p)
	}
	return [md5.Size]byte(long.Sum(nil))
}

// md5 is MD5 of the parts and the secret.
func (k *key) md5(parts ...[]byte) [md5.Size]byte {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	h.Write(k.secret)
	return h.finish()
}

// md5pad is MD5 of the secret and what came before (RFC 2865 §5.2).
func (k *key) md5pad(before []byte) [md5.Size]byte {
	h := hashers.Get().(*hasher)
	defer hashers.Put(h)
	h.Reset()
	h.Write(k.secret)
	h.Write(before)
	return h.finish()
}

// proves checks the Request Authenticator of accounting, MD5(code, id, length,
// zeroes, attributes, secret) (RFC 2866 §3).
func (k *key) proves(b []byte) bool {
	sum := k.md5(b[:4], zeroes[:], b[headerLen:])
	return subtle.ConstantTimeCompare(sum[:], b[4:headerLen]) == 1
}

// signed checks the Message-Authenticator whose value stands at ma: the HMAC
// over the packet with that value as zeroes (RFC 3579 §3.2); in accounting, over
// a zero authenticator as well.
func (k *key) signed(b []byte, ma int) bool {
	authenticator := b[4:headerLen]
	if b[0] == codeAccountingRequest {
		authenticator = zeroes[:]
	}
	sum := k.hmac(b[:4], authenticator, b[headerLen:ma], zeroes[:], b[ma+16:])
	return subtle.ConstantTimeCompare(sum[:], b[ma:ma+16]) == 1
}

// seal signs a reply in place: b carries the authenticator of the request, and,
// if signed, sixteen zeroes as the value of a Message-Authenticator in front.
func (k *key) seal(b []byte, signed bool) {
	if signed {
		sum := k.hmac(b)
		copy(b[headerLen+2:], sum[:])
	}
	sum := k.md5(b) // RFC 2865 §3
	copy(b[4:headerLen], sum[:])
}

// password undoes RFC 2865 §5.2. ok is false for a length the RFC does not allow,
// and for a NUL inside: "hello\0junk" must not equal "hello".
func (k *key) password(hidden, authenticator []byte) (password string, ok bool) {
	if len(hidden) < 16 || len(hidden) > 128 || len(hidden)%16 != 0 {
		return "", false
	}
	var clear [128]byte
	for i := 0; i < len(hidden); i += 16 {
		sum := k.md5pad(authenticator)
		subtle.XORBytes(clear[i:i+16], hidden[i:i+16], sum[:])
		authenticator = hidden[i : i+16]
	}
	text, padding := clear[:len(hidden)], []byte(nil)
	if end := bytes.IndexByte(text, 0); end >= 0 {
		text, padding = text[:end], text[end:]
	}
	return string(text), len(bytes.Trim(padding, "\x00")) == 0
}
