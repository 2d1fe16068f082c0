// Package secret keeps secrets out of sight: values that print as "***", boxes
// sealed to one machine's key, and key files made with the right mode.
package secret

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/nacl/box"
)

// Value is a secret that prints as "***" wherever it is printed.
type Value string

// String hides the value.
func (Value) String() string { return "***" }

// GoString hides the value from %#v.
func (Value) GoString() string { return "secret.Value(***)" }

// MarshalText hides the value from every encoder.
func (Value) MarshalText() ([]byte, error) { return []byte("***"), nil }

// UnmarshalText reads a value from a configuration file.
func (v *Value) UnmarshalText(b []byte) error { *v = Value(b); return nil }

// Reveal returns the secret itself.
func (v Value) Reveal() string { return string(v) }

// Code returns n characters of Random, upper case and in two halves, the first of four:
// what people read to each other and type, such as a voucher.
func Code(n int) string {
	code := strings.ToUpper(Random(n).Reveal())
	return code[:4] + "-" + code[4:]
}

// Random returns a secret of n characters that people can type: lower case
// letters and digits without 0, o, 1, l and i.
func Random(n int) Value {
	const alphabet = "23456789abcdefghjkmnpqrstuvwxyz"
	b := make([]byte, 0, n)
	var buf [64]byte
	for len(b) < n {
		rand.Read(buf[:])
		for _, c := range buf {
			if int(c) < 256/len(alphabet)*len(alphabet) && len(b) < n {
				b = append(b, alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return Value(b)
}

// Key opens what was sealed to its public half (X25519, NaCl sealed box).
type Key struct {
	public, private [32]byte
}

// Derive returns 32 octets for a purpose of its own, which say nothing about the
// key or about another purpose's: HMAC-SHA256 keyed by the private half, which is
// uniform already (RFC 5869 §3.3 lets the extract step be left out then).
func (k *Key) Derive(purpose string) []byte {
	h := hmac.New(sha256.New, k.private[:])
	h.Write([]byte("iwas " + purpose))
	return h.Sum(nil)
}

// PublicKey seals for one machine.
type PublicKey [32]byte

const sealedPrefix = "sealed1:" // version of the box, so that another can follow

// NewKey makes a key.
func NewKey() (*Key, error) {
	pub, priv, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Key{public: *pub, private: *priv}, nil
}

// LoadKey reads the key file at path, or makes it (mode 0600) if there is none.
func LoadKey(path string) (*Key, error) {
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		k, err := ParseKey(string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w: restore it from a backup, or remove it and enrol again", path, err)
		}
		return k, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	k, err := NewKey()
	if err != nil {
		return nil, err
	}
	raw := append(k.public[:], k.private[:]...)
	return k, WriteFile(path, []byte(base64.StdEncoding.EncodeToString(raw)+"\n"))
}

// ParseKey reads the content of a key file.
func ParseKey(text string) (*Key, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != 64 {
		return nil, errors.New("not a sealing key")
	}
	k := &Key{}
	copy(k.public[:], raw[:32])
	copy(k.private[:], raw[32:])
	return k, nil
}

// Public returns the half that others seal to.
func (k *Key) Public() PublicKey { return PublicKey(k.public) }

// String returns the public key in base64, as it travels in an enrolment.
func (p PublicKey) String() string { return base64.StdEncoding.EncodeToString(p[:]) }

// ParsePublicKey reads what PublicKey.String wrote.
func ParsePublicKey(s string) (PublicKey, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 32 {
		return PublicKey{}, errors.New("not a 32-octet public key in base64")
	}
	return PublicKey(b), nil
}

// Seal closes text for the holder of the private half. "" stays "".
func (p PublicKey) Seal(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	pub := [32]byte(p)
	b, err := box.SealAnonymous(nil, []byte(text), &pub, rand.Reader)
	if err != nil {
		return "", err
	}
	return sealedPrefix + base64.StdEncoding.EncodeToString(b), nil
}

// Open returns what Seal closed. "" stays "".
func (k *Key) Open(sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	body, ok := strings.CutPrefix(sealed, sealedPrefix)
	if !ok {
		return "", errors.New("not a sealed value of a known version")
	}
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return "", fmt.Errorf("sealed value: %w", err)
	}
	text, ok := box.OpenAnonymous(nil, b, &k.public, &k.private)
	if !ok {
		return "", errors.New("sealed to another key")
	}
	return string(text), nil
}

// WriteFile puts b into path with mode 0600 so that after a power cut either
// the old or the new file is there, whole. Root writes for whoever owns the
// folder: a command run by an administrator must leave files that the service's
// user can read.
func WriteFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once renamed
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err == nil {
		err = belong(f, filepath.Dir(path))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	err = dir.Sync()
	return errors.Join(err, dir.Close())
}
