package secret

import "testing"

func TestAVaultOpensForItsKeyPurposeAndOwnerOnly(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	vault := func(k *Key, purpose string) *Vault {
		v, err := k.Vault(purpose)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := vault(key, "passwords")
	box := v.Seal("hello", "bob")
	if got, err := vault(key, "passwords").Open(box, "bob"); got != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if !Sealed(box) || box == v.Seal("hello", "bob") {
		t.Errorf("%q is not marked as a vault's, or is the same each time", box)
	}
	for name, open := range map[string]func() (string, error){
		"another key":      func() (string, error) { return vault(other, "passwords").Open(box, "bob") },
		"another purpose":  func() (string, error) { return vault(key, "else").Open(box, "bob") },
		"another owner":    func() (string, error) { return v.Open(box, "eve") },
		"cut short":        func() (string, error) { return v.Open(box[:len(box)-4], "bob") },
		"no base64":        func() (string, error) { return v.Open(vaultPrefix+"?", "bob") },
		"nothing inside":   func() (string, error) { return v.Open(vaultPrefix, "bob") },
		"a box of another": func() (string, error) { return v.Open(sealedPrefix+"AAAA", "bob") },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: opened as %q", name, got)
		}
	}
	if got, err := v.Open(v.Seal("", "bob"), "bob"); got != "" || err != nil {
		t.Errorf("nothing: got %q, %v", got, err)
	}
	if string(key.Derive("a")) == string(key.Derive("b")) || len(key.Derive("a")) != 32 {
		t.Error("two purposes have one key, or a key is not 32 octets")
	}
}
