package wire

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"iwas/internal/fault"
)

// FuzzDecode looks for messages that crash, blow up, or change when they are
// sent on.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "v1", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("got %v, %v, want golden messages as seeds", files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(encoder().EncodeAll(b, nil))
	}
	f.Add([]byte{})
	f.Add(zstdMagic)
	f.Add(bomb(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []any{&Batch{}, &Ack{}, &Hello{}, &Presence{}, &State{}, &Command{}} {
			err := Decode(b, m)
			if err != nil {
				if !fault.Is(err, fault.Invalid) {
					t.Errorf("%T: got kind %v, want Invalid", m, fault.KindOf(err))
				}
				continue
			}
			sent, err := Encode(m)
			if err != nil {
				if len(b) < MaxMessage/8 {
					t.Errorf("%T: decoded but cannot be sent on: %v", m, err)
				}
				continue
			}
			again := reflect.New(reflect.TypeOf(m).Elem()).Interface()
			if err := Decode(sent, again); err != nil {
				t.Errorf("%T: cannot read what was sent on: %v", m, err)
				continue
			}
			twice, err := Encode(again)
			if err != nil || !bytes.Equal(sent, twice) {
				t.Errorf("%T: got other bytes the second time (%v)", m, err)
			}
		}
	})
}

// FuzzParseTopic looks for topics that are taken although Topic does not make them.
func FuzzParseTopic(f *testing.F) {
	for _, s := range []string{Topic("agentone", UpEvents), Topic("+", UpHello), "iwas/v1/agents/agentone/down/#", "iwas/v1/agents//up/hello", "", "iwas/v1/agents/agentone/up/events/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		agent, channel, err := ParseTopic(s)
		if err == nil && Topic(agent, channel) != s {
			t.Errorf("%q: got %q and %q, which make %q", s, agent, channel, Topic(agent, channel))
		}
	})
}

// FuzzParseSetHash looks for hashes that do not print as they were read.
func FuzzParseSetHash(f *testing.F) {
	f.Add("")
	f.Add(SetHash{1, 2, 3, 1 << 63}.String())
	f.Add(strings.Repeat("F", 64))
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseSetHash(s)
		if err == nil && s != "" && h.String() != strings.ToLower(s) {
			t.Errorf("%q: got %s", s, h)
		}
	})
}

func TestMessagesAboveTheLimitsAreRefused(t *testing.T) {
	var m Batch
	for name, b := range map[string][]byte{
		"too long":                   append([]byte(`{"v":1}`), bytes.Repeat([]byte(" "), MaxMessage)...),
		"inflates beyond the limit":  bomb(t),
		"says nothing of its length": bombWithoutLength(t),
		"empty":                      nil,
		"not an object":              []byte(`[1]`),
		"cut off":                    encoder().EncodeAll([]byte(`{"v":1}`), nil)[:12],
	} {
		if err := Decode(b, &m); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want Invalid", name, err)
		}
	}
	if _, err := Encode(map[string][]byte{"incompressible": noise(MaxMessage)}); !fault.Is(err, fault.Invalid) {
		t.Errorf("encode: got %v, want Invalid", err)
	}
}

// bomb is a small message that inflates to more than is allowed, and says so.
func bomb(t testing.TB) []byte {
	t.Helper()
	b := encoder().EncodeAll(bytes.Repeat([]byte(" "), MaxInflated+1), nil)
	if len(b) > MaxMessage {
		t.Fatal("not small")
	}
	return b
}

// bombWithoutLength is one whose header does not give its size away.
func bombWithoutLength(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for range MaxInflated/(1<<20) + 1 {
		if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noise is reproducible and does not compress.
func noise(n int) []byte {
	b, x := make([]byte, n), uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}
