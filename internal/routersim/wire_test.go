package routersim

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func FuzzReadSentence(f *testing.F) {
	f.Add(appendSentence(nil, "/login", "=name=iwas", "=password=pw"))
	f.Add(appendSentence(nil, strings.Repeat("x", 200), strings.Repeat("y", 20000)))
	f.Add([]byte{0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0})
	f.Add([]byte{0xF8, 0})
	f.Add([]byte{0x80, 0x01, 'a', 0}) // a longer length than needed
	f.Fuzz(func(t *testing.T, b []byte) {
		words, err := readSentence(bufio.NewReader(bytes.NewReader(b)), 64, 1<<16)
		if err != nil {
			return
		}
		if len(words) > 64 {
			t.Errorf("%d words, more than allowed", len(words))
		}
		again, err := readSentence(bufio.NewReader(bytes.NewReader(appendSentence(nil, words...))), 64, 1<<16)
		if err != nil || !slices.Equal(words, again) {
			t.Errorf("read back: got %q, %v; want %q", again, err, words)
		}
		if len(words) > 0 {
			parseCommand(words)
		}
	})
}

func TestWordLengthsAtTheirEdges(t *testing.T) {
	for _, n := range []int{1, 0x7F, 0x80, 0x3FFF, 0x4000, maxWord} {
		word := strings.Repeat("w", n)
		got, err := readSentence(bufio.NewReader(bytes.NewReader(appendSentence(nil, word))), 1, maxWord)
		if err != nil || len(got) != 1 || got[0] != word {
			t.Errorf("a word of %d octets: got %d words, %v", n, len(got), err)
		}
	}
	for n, want := range map[int][]byte{0x7F: {0x7F}, 0x80: {0x80, 0x80}, 0x4000: {0xC0, 0x40, 0}, 0x200000: {0xE0, 0x20, 0, 0}, 0x10000000: {0xF0, 0x10, 0, 0, 0}} {
		if got := appendLength(nil, n); !bytes.Equal(got, want) {
			t.Errorf("length %#x: got % x, want % x", n, got, want)
		}
	}
}

func TestSentencesAreBounded(t *testing.T) {
	big := slices.Repeat([]string{strings.Repeat("w", maxWord)}, 5)
	for _, tc := range []struct {
		name string
		b    []byte
		want error
	}{
		{"a word too long", appendSentence(nil, strings.Repeat("w", 11)), errWord},
		{"too many words", appendSentence(nil, "a", "b", "c"), errWord},
		{"a length beyond 4 GiB", []byte{0xF0, 0xFF, 0xFF, 0xFF, 0xFF}, errWord},
		{"a control byte", []byte{0xF8}, errWord},
		{"a cut word", []byte{5, 'a'}, io.ErrUnexpectedEOF},
	} {
		if _, err := readSentence(bufio.NewReader(bytes.NewReader(tc.b)), 2, 10); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := readSentence(bufio.NewReader(bytes.NewReader(appendSentence(nil, big...))), 1024, maxWord); !errors.Is(err, errWord) {
		t.Errorf("5 MiB of words: got %v, want %v", err, errWord)
	}
}
