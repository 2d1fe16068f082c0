package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Vault keeps texts at rest for the one box that holds the key. Opening costs a
// hundredth of opening a box sealed to a public key, for what is read at every
// login.
type Vault struct{ aead cipher.AEAD }

const vaultPrefix = "vault1:" // version of the box, so that another can follow

// Vault returns the vault of a purpose (AES-256-GCM).
func (k *Key) Vault(purpose string) (*Vault, error) {
	block, err := aes.NewCipher(k.Derive("vault " + purpose))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &Vault{aead}, err
}

// Seal closes text for the owner it is of; it opens for no other. "" stays "".
func (v *Vault) Seal(text, owner string) string {
	if text == "" {
		return ""
	}
	return vaultPrefix + base64.StdEncoding.EncodeToString(v.aead.Seal(nil, nil, []byte(text), []byte(owner)))
}

// Sealed reports whether a value was closed by a Vault.
func Sealed(value string) bool { return strings.HasPrefix(value, vaultPrefix) }

// Open returns what Seal closed. "" stays "".
func (v *Vault) Open(sealed, owner string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	body, ok := strings.CutPrefix(sealed, vaultPrefix)
	if !ok {
		return "", errors.New("not a value of a vault of a known version")
	}
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return "", fmt.Errorf("value of a vault: %w", err)
	}
	text, err := v.aead.Open(nil, nil, b, []byte(owner))
	if err != nil {
		return "", errors.New("closed by another key, or for another owner")
	}
	return string(text), nil
}
