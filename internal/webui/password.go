package webui

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/crypto/argon2"

	"iwas/internal/fault"
)

// Cost of argon2id (RFC 9106 §4, second recommended option, memory lowered to
// what a small machine can spare twice): about 60 ms on one slow core.
const (
	argonTime    = 3
	argonMemory  = 32 << 10 // KiB
	argonThreads = 1
	argonSalt    = 16 // bytes
	argonKey     = 32 // bytes
)

// maxPassword bounds what is hashed, in bytes.
const maxPassword = 1024

// hashing bounds the memory that password checks may take at once.
var hashing = make(chan struct{}, max(2, runtime.NumCPU()))

// argonParams are the parameters found in a stored hash.
type argonParams struct {
	time, memory uint32
	threads      uint8
	salt, key    []byte
}

// HashPassword returns the argon2id hash of a password in PHC string form,
// "$argon2id$v=19$m=…,t=…,p=…$salt$hash". It waits its turn: only as many
// hashes run at once as there are cores.
func HashPassword(ctx context.Context, password string) (string, error) {
	if len(password) == 0 || len(password) > maxPassword {
		return "", fault.New(fault.Invalid, "hash password", errors.New("it must have 1 to 1024 bytes"))
	}
	p := argonParams{time: argonTime, memory: argonMemory, threads: argonThreads, salt: make([]byte, argonSalt)}
	rand.Read(p.salt)
	key, err := p.derive(ctx, password, argonKey)
	if err != nil {
		return "", err
	}
	enc := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads, enc(p.salt), enc(key)), nil
}

// CheckPassword reports whether the password has the hash. With hash "" it
// works as long as for a real one and answers false: whether a name exists must
// not show in the time.
func CheckPassword(ctx context.Context, hash, password string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	if hash == "" {
		p := argonParams{time: argonTime, memory: argonMemory, threads: argonThreads, salt: make([]byte, argonSalt)}
		_, err := p.derive(ctx, password, argonKey)
		return false, err
	}
	p, err := parseHash(hash)
	if err != nil {
		return false, fault.New(fault.Damaged, "check password", err)
	}
	key, err := p.derive(ctx, password, uint32(len(p.key)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1, nil
}

func (p argonParams) derive(ctx context.Context, password string, size uint32) ([]byte, error) {
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
		return argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, size), nil
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "wait for a password check", ctx.Err())
	}
}

func parseHash(s string) (argonParams, error) {
	var p argonParams
	f := strings.Split(s, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" {
		return p, errors.New("stored hash is not argon2id in PHC form")
	}
	var version int
	if _, err := fmt.Sscanf(f[2], "v=%d", &version); err != nil || version != argon2.Version {
		return p, fmt.Errorf("stored hash has argon2 version %q, want %d", f[2], argon2.Version)
	}
	if _, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); err != nil {
		return p, fmt.Errorf("stored hash parameters %q: %w", f[3], err)
	}
	// Bounds: a hash from a damaged store must not eat the machine.
	if p.memory < 8 || p.memory > 1<<20 || p.time < 1 || p.time > 32 || p.threads < 1 {
		return p, fmt.Errorf("stored hash parameters %q are out of bounds", f[3])
	}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.DecodeString(f[4])
	p.key, err2 = base64.RawStdEncoding.DecodeString(f[5])
	if err := errors.Join(err1, err2); err != nil {
		return p, fmt.Errorf("stored hash: %w", err)
	}
	if len(p.salt) < 8 || len(p.key) < 16 || len(p.key) > 128 {
		return p, errors.New("stored hash has a salt or key of the wrong size")
	}
	return p, nil
}
