package secret

import (
	"bytes"
	"errors"
	"testing"
)

func TestABoxOpensForItsPassphraseOnly(t *testing.T) {
	plain := []byte("the sealing key")
	b, err := CloseWith("correct horse", plain)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenWith("correct horse", b); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("got %q, %v", got, err)
	}
	if bytes.Contains(b, plain) {
		t.Error("the content can be read")
	}
	again, err := CloseWith("correct horse", plain)
	if err != nil || bytes.Equal(b, again) {
		t.Errorf("two boxes of one content are the same (%v)", err)
	}
	if _, err := OpenWith("correct horsf", b); !errors.Is(err, ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	for at := 0; at < len(b); at += 17 {
		if at >= len(boxMagic)+saltOctets && at < boxHead {
			continue // how much work it is: below
		}
		changed := bytes.Clone(b)
		changed[at] ^= 1
		if _, err := OpenWith("correct horse", changed); err == nil {
			t.Errorf("octet %d changed, and it opens", at)
		}
	}
	for _, n := range []int{0, 5, boxHead, boxOverhead - 1, len(b) - 1} {
		if _, err := OpenWith("correct horse", b[:n]); err == nil {
			t.Errorf("cut to %d octets, and it opens", n)
		}
	}
	greedy := bytes.Clone(b)
	greedy[len(boxMagic)+saltOctets+4] = 0xff // four terabytes
	if _, err := OpenWith("correct horse", greedy); err == nil || errors.Is(err, ErrPassphrase) {
		t.Errorf("a box that asks for four terabytes: %v", err)
	}
}
