package routersim

import (
	"bufio"
	"errors"
	"io"
)

// Bounds: the API manual's longest lengths are never needed.
const (
	maxWord     = 1 << 20 // octets of a word
	maxSentence = 4 << 20 // of all words of a sentence
)

var errWord = errors.New("word length refused")

// readSentence reads words up to the empty one (facts.md §1 "Wire"). Before
// login a sentence may hold few and short words.
func readSentence(r *bufio.Reader, maxWords, maxLen int) ([]string, error) {
	var words []string
	total := 0
	for {
		n, err := readLength(r)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return words, nil
		}
		if total += n; n > maxLen || total > maxSentence || len(words) == maxWords {
			return nil, errWord
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		words = append(words, string(b))
	}
}

// readLength reads a word's length; lengths of 0xF8 and above are control bytes.
func readLength(r *bufio.Reader) (int, error) {
	first, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	n, more := 0, 0
	switch {
	case first < 0x80:
		return int(first), nil
	case first < 0xC0:
		n, more = int(first&^0x80), 1
	case first < 0xE0:
		n, more = int(first&^0xC0), 2
	case first < 0xF0:
		n, more = int(first&^0xE0), 3
	case first == 0xF0:
		more = 4
	default:
		return 0, errWord
	}
	for range more {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		if n > maxWord {
			return 0, errWord
		}
		n = n<<8 | int(b)
	}
	if n > maxWord {
		return 0, errWord
	}
	return n, nil
}

// appendSentence writes words and the empty word.
func appendSentence(b []byte, words ...string) []byte {
	for _, w := range words {
		b = append(appendLength(b, len(w)), w...)
	}
	return append(b, 0)
}

func appendLength(b []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n < 0x4000:
		return append(b, byte(n>>8)|0x80, byte(n))
	case n < 0x200000:
		return append(b, byte(n>>16)|0xC0, byte(n>>8), byte(n))
	case n < 0x10000000:
		return append(b, byte(n>>24)|0xE0, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, 0xF0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
