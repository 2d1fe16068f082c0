package secret

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// A box that a passphrase opens:
//
//	magic    16 octets, boxMagic: version of the box, so that another can follow
//	salt     16 octets, of argon2id (RFC 9106)
//	passes   4 octets, memory in KiB 4 octets, lanes 4 octets, big-endian
//	nonce    24 octets
//	XChaCha20-Poly1305 of the content; all before the nonce is authenticated too
const (
	boxMagic    = "iwas passphr. 1\n"
	saltOctets  = 16
	boxHead     = len(boxMagic) + saltOctets + 12
	boxPasses   = 3
	boxMemory   = 64 << 10 // KiB: what the smallest box can spare for a second
	boxLanes    = 2
	mostPasses  = 16      // a file may ask no more of whoever opens it
	mostMemory  = 1 << 20 // KiB
	mostLanes   = 16
	boxOverhead = boxHead + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
)

// ErrPassphrase is that a box does not open: another passphrase, or another content.
var ErrPassphrase = errors.New("the passphrase does not open it, or it was changed")

// CloseWith seals plain so that the passphrase opens it.
func CloseWith(passphrase Value, plain []byte) ([]byte, error) {
	b := make([]byte, boxHead, len(plain)+boxOverhead)
	copy(b, boxMagic)
	rand.Read(b[len(boxMagic) : len(boxMagic)+saltOctets])
	for i, n := range []uint32{boxPasses, boxMemory, boxLanes} {
		binary.BigEndian.PutUint32(b[len(boxMagic)+saltOctets+4*i:], n)
	}
	aead, err := boxOf(passphrase, b)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	rand.Read(nonce)
	return aead.Seal(append(b, nonce...), nonce, plain, b[:boxHead:boxHead]), nil
}

// OpenWith returns what CloseWith closed.
func OpenWith(passphrase Value, b []byte) ([]byte, error) {
	if len(b) < boxOverhead || !bytes.HasPrefix(b, []byte(boxMagic)) {
		return nil, errors.New("not a box of a known version that a passphrase opens")
	}
	head, rest := b[:boxHead], b[boxHead:]
	aead, err := boxOf(passphrase, head)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, rest[:chacha20poly1305.NonceSizeX], rest[chacha20poly1305.NonceSizeX:], head)
	if err != nil {
		return nil, ErrPassphrase
	}
	return plain, nil
}

func boxOf(passphrase Value, head []byte) (cipher.AEAD, error) {
	at := func(i int) uint32 { return binary.BigEndian.Uint32(head[len(boxMagic)+saltOctets+4*i:]) }
	passes, memory, lanes := at(0), at(1), at(2)
	if passes < 1 || passes > mostPasses || memory < 8 || memory > mostMemory || lanes < 1 || lanes > mostLanes {
		return nil, errors.New("the box asks for more work than any made by this program")
	}
	salt := head[len(boxMagic) : len(boxMagic)+saltOctets]
	return chacha20poly1305.NewX(argon2.IDKey([]byte(passphrase.Reveal()), salt, passes, memory, uint8(lanes), chacha20poly1305.KeySize))
}
