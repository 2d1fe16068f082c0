package console

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

const (
	onceFor  = time.Hour              // a repeat gets the first answer for so long
	onceWork = 30 * time.Second       // no request is at work longer, where its cloud lives
	onceLook = 100 * time.Millisecond // between looks at a request at work, here or at another cloud
)

// onceSeal is what becomes of a sender's key: the name it is stored under, and what
// seals what is stored. The answer may hold a guest's password, which nobody but the
// sender is to read, so the key itself is not kept.
type onceSeal struct {
	name, mac []byte
	aead      cipher.AEAD
}

func newOnceSeal(key string) (o onceSeal, err error) {
	derive := func(what string) []byte {
		m := hmac.New(sha256.New, []byte(key))
		m.Write([]byte("iwas once " + what)) // never fails
		return m.Sum(nil)
	}
	o.name, o.mac = derive("name"), derive("body")
	block, err := aes.NewCipher(derive("answer"))
	if err == nil {
		o.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		err = fault.New(fault.Internal, "console: key of a request", err)
	}
	return o, err
}

// body is a mark of the request's body that tells nothing of it.
func (o onceSeal) body(sum [32]byte) []byte {
	m := hmac.New(sha256.New, o.mac)
	m.Write(sum[:])
	return m.Sum(nil)
}

// keptAnswer is created as it is kept; hotspot.Password hides itself from encoders.
type keptAnswer struct {
	Guest    hotspot.Guest
	Password string
	Command  hotspot.Command
}

func (o onceSeal) seal(c created) ([]byte, error) {
	b, err := json.Marshal(keptAnswer{c.guest, c.password.Reveal(), c.command})
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, o.aead.NonceSize())
	rand.Read(nonce)
	return o.aead.Seal(nonce, nonce, b, o.name), nil
}

func (o onceSeal) open(b []byte) (created, error) {
	n := o.aead.NonceSize()
	if len(b) < n {
		return created{}, fault.New(fault.Damaged, "console: the kept answer of a request is cut short", nil)
	}
	plain, err := o.aead.Open(nil, b[:n], b[n:], o.name)
	var k keptAnswer
	if err == nil {
		err = json.Unmarshal(plain, &k)
	}
	if err != nil {
		return created{}, fault.New(fault.Damaged, "console: the kept answer of a request cannot be read", err)
	}
	return created{k.Guest, hotspot.Password(k.Password), k.Command}, nil
}

// once runs f for the first request with a key, at whichever cloud of the database it
// comes, and returns its result to the others, which also learn that it is a repeat.
// Failures are not remembered.
func (s *Server) once(ctx context.Context, key string, body [32]byte, f func() (created, error)) (made created, repeat bool, err error) {
	o, err := newOnceSeal(key)
	if err != nil {
		return created{}, false, err
	}
	for {
		known, err := s.Store.BeginOnce(ctx, o.name, o.body(body), onceFor)
		switch {
		case err != nil:
			return created{}, false, err
		case known.First:
			made, err := s.first(ctx, o, f)
			return made, false, err
		case !bytes.Equal(known.Body, o.body(body)):
			return created{}, true, fault.New(fault.Conflict, "the same Idempotency-Key came with another body", nil).
				WithCode("", "Use a new key for a new request.")
		case len(known.Answer) > 0:
			made, err := o.open(known.Answer)
			return made, true, err
		case known.Waits > onceWork:
			return created{}, true, fault.New(fault.Conflict, "the cloud that took the first request of this key ended before it answered", nil).
				WithCode("", "Look whether it was done; if not, send it with a new key.")
		}
		select {
		case <-time.After(onceLook):
		case <-ctx.Done():
			return created{}, true, fault.New(fault.Unavailable, "wait for the first request of this key", ctx.Err())
		}
	}
}

// first does the work of the first request of a key.
func (s *Server) first(ctx context.Context, o onceSeal, f func() (created, error)) (made created, err error) {
	done := false
	after := context.WithoutCancel(ctx) // its sender may be gone
	defer func() {                      // also when f panics
		if done {
			return
		}
		if err := s.Store.ForgetOnce(after, o.name); err != nil {
			s.Log.Error("console: the key of a request that failed stays taken", "err", err)
		}
	}()
	if made, err = f(); err != nil {
		return made, err
	}
	done = true
	answer, err := o.seal(made)
	if err == nil {
		err = s.Store.EndOnce(after, o.name, answer)
	}
	if err != nil { // it is done: a repeat is refused, not done again
		s.Log.Error("console: the answer of a request with a key is not kept", "err", err)
	}
	return made, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
