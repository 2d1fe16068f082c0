package radius

import (
	"bytes"
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

// digest is MD5 that can be set to a state.
type digest interface {
	hash.Hash
	encoding.BinaryUnmarshaler
}

var digests = sync.Pool{New: func() any { return md5.New().(digest) }}

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

// padded returns the state of MD5 after block with every octet changed by pad.
func padded(block [md5.BlockSize]byte, pad byte) []byte {
	for i := range block {
		block[i] ^= pad
	}
	h := md5.New()
	h.Write(block[:])
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("radius: MD5 cannot save its state: " + err.Error()) // it can since Go 1.10
	}
	return state
}

func restore(d digest, state []byte) {
	if err := d.UnmarshalBinary(state); err != nil {
		panic("radius: MD5 cannot restore its state: " + err.Error())
	}
}

// hmac appends HMAC-MD5 of the parts to out.
func (k *key) hmac(out []byte, parts ...[]byte) []byte {
	d := digests.Get().(digest)
	defer digests.Put(d)
	restore(d, k.inner)
	for _, p := range parts {
		d.Write(p)
	}
	at := len(out)
	out = d.Sum(out)
	restore(d, k.outer)
	d.Write(out[at:])
	return d.Sum(out[:at])
}

// md5 appends MD5 of the parts and the secret to out.
func (k *key) md5(out []byte, parts ...[]byte) []byte {
	d := digests.Get().(digest)
	defer digests.Put(d)
	d.Reset()
	for _, p := range parts {
		d.Write(p)
	}
	d.Write(k.secret)
	return d.Sum(out)
}

// proves checks the Request Authenticator of accounting, MD5(code, id, length,
// zeroes, attributes, secret) (RFC 2866 §3).
func (k *key) proves(b []byte) bool {
	var sum [16]byte
	return subtle.ConstantTimeCompare(k.md5(sum[:0], b[:4], zeroes[:], b[headerLen:]), b[4:headerLen]) == 1
}

// signed checks the Message-Authenticator whose value stands at ma: the HMAC
// over the packet with that value as zeroes (RFC 3579 §3.2); in accounting, over
// a zero authenticator as well.
func (k *key) signed(b []byte, ma int) bool {
	authenticator := b[4:headerLen]
	if b[0] == codeAccountingRequest {
		authenticator = zeroes[:]
	}
	var sum [16]byte
	k.hmac(sum[:0], b[:4], authenticator, b[headerLen:ma], zeroes[:], b[ma+16:])
	return subtle.ConstantTimeCompare(sum[:], b[ma:ma+16]) == 1
}

// seal signs a reply in place: b carries the authenticator of the request, and,
// if signed, sixteen zeroes as the value of a Message-Authenticator in front.
func (k *key) seal(b []byte, signed bool) {
	if signed {
		k.hmac(b[headerLen+2:headerLen+2], b)
	}
	var sum [16]byte
	copy(b[4:headerLen], k.md5(sum[:0], b)) // RFC 2865 §3
}

// password undoes RFC 2865 §5.2. ok is false for a length the RFC does not allow,
// and for a NUL inside: "hello\0junk" must not equal "hello".
func (k *key) password(hidden, authenticator []byte) (password string, ok bool) {
	if len(hidden) < 16 || len(hidden) > 128 || len(hidden)%16 != 0 {
		return "", false
	}
	d := digests.Get().(digest)
	defer digests.Put(d)
	var clear [128]byte
	var sum [16]byte
	for i := 0; i < len(hidden); i += 16 {
		d.Reset()
		d.Write(k.secret)
		d.Write(authenticator)
		subtle.XORBytes(clear[i:i+16], hidden[i:i+16], d.Sum(sum[:0]))
		authenticator = hidden[i : i+16]
	}
	text, padding := clear[:len(hidden)], []byte(nil)
	if end := bytes.IndexByte(text, 0); end >= 0 {
		text, padding = text[:end], text[end:]
	}
	return string(text), len(bytes.Trim(padding, "\x00")) == 0
}
