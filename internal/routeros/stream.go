package routeros

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
)

// Bounds on what a router may send. A peer's length is never trusted.
const (
	maxWord    = 1 << 20  // octets in a word; the longest value RouterOS has is a file's contents, about 60 KB (facts.md §1)
	maxWords   = 1024     // words in a sentence; the widest menus have some 80 properties
	maxReply   = 64 << 20 // octets in all sentences of one reply; 100,000 connections are about 20 MB
	maxKeys    = 4096     // attribute names kept to be shared between rows
	readBuffer = 64 << 10
)

// cut is an attribute of a row being read: its value lies in text before end.
type cut struct {
	key string
	end int
}

// errNotAPI is the answer of something that is not the RouterOS API.
var errNotAPI = errors.New("the other side does not speak the RouterOS API")

// stream stands between the connection and go-routeros. It takes sentences off
// the wire itself and
//   - refuses lengths out of bounds before anything is allocated for them;
//   - keeps the rows: go-routeros starts two goroutines for every word it
//     reads, 16 µs a row of seven words here, against 1 µs;
//   - gives a bare-word !fatal the form go-routeros understands;
//   - remembers a !trap, which go-routeros forgets when the router hangs up
//     before its !done.
//
// What is left (!done, !trap, !fatal, !empty) it hands on as it came.
type stream struct {
	net.Conn
	in   *bufio.Reader
	keys map[string]string

	handOn []byte // for go-routeros, not yet read
	ready  []byte // backing store of handOn

	command string
	visit   func(Row) // gets the rows; nil: they are kept
	rows    []Row
	row     Row    // the one visited last, to be filled again
	text    []byte // values of the row being read, one after the other
	cuts    []cut  // and where in text they are
	size    int    // octets of this reply
	trap    *Trap
	fatal   *Trap
}

func newStream(conn net.Conn) *stream {
	return &stream{Conn: conn, in: bufio.NewReaderSize(conn, readBuffer), keys: map[string]string{}}
}

// begin forgets the last reply.
func (s *stream) begin(command string, visit func(Row)) {
	s.command, s.visit, s.rows, s.size, s.trap, s.fatal = command, visit, nil, 0, nil, nil
}

// end returns what was kept of the reply.
func (s *stream) end() (rows []Row, trap, fatal *Trap) { return s.rows, s.trap, s.fatal }

// Read gives go-routeros the sentences it needs.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.handOn) == 0 {
		if err := s.sentence(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.handOn)
	s.handOn = s.handOn[n:]
	return n, nil
}

// sentence takes one sentence off the wire.
func (s *stream) sentence() error {
	// Something else that greets (SSH, a web server) is told apart by its second
	// octet; waiting for the word it seems to announce would end in a timeout.
	if b, _ := s.in.Peek(2); len(b) == 2 && b[0] > 0 && b[0] < 0x80 && b[1] != '!' {
		return errNotAPI
	}
	first, err := s.word()
	if err != nil {
		return err
	}
	switch {
	case len(first) == 0:
		return nil // empty sentences are ignored (facts.md §1)
	case first[0] != '!':
		return errNotAPI
	}
	kind := string(first)
	row, err := s.attributes()
	if err != nil {
		return err
	}
	switch kind {
	case "!re":
		if s.visit != nil {
			s.visit(row)
			return nil
		}
		s.rows, s.row = append(s.rows, row), nil
		return nil
	case "!trap":
		s.trap = newTrap(s.command, row)
	case "!fatal":
		s.fatal = newTrap(s.command, row)
		s.fatal.Fatal = true
	}
	s.ready = appendWord(s.ready[:0], kind)
	for k, v := range maps.All(row) {
		s.ready = appendWord(s.ready, "="+k+"="+v)
	}
	s.handOn = append(s.ready, 0)
	return nil
}

// attributes reads the rest of a sentence. The row is filled anew by the next
// one, unless it is taken away.
func (s *stream) attributes() (Row, error) {
	s.text, s.cuts = s.text[:0], s.cuts[:0]
	for range maxWords {
		w, err := s.word()
		switch {
		case err != nil:
			return nil, err
		case len(w) == 0:
			return s.fill(), nil
		case w[0] == '.': // .tag: this side never sends one
		case w[0] != '=': // "!fatal" with a bare text (facts.md §1)
			s.text = append(s.text, w...)
			s.cuts = append(s.cuts, cut{"message", len(s.text)})
		default:
			s.attribute(w[1:])
		}
	}
	return nil, fmt.Errorf("a sentence of more than %d words", maxWords)
}

// fill makes a row of what was read. Its values share one string: a row of a long
// table is one piece of memory then, and not six.
func (s *stream) fill() Row {
	if s.row == nil {
		s.row = make(Row, len(s.cuts))
	}
	clear(s.row)
	text, from := string(s.text), 0
	for _, c := range s.cuts {
		s.row[c.key] = text[from:c.end]
		from = c.end
	}
	return s.row
}

// attribute splits name=value at the first "=": a value may contain more.
func (s *stream) attribute(w []byte) {
	name, value, _ := bytes.Cut(w, []byte("="))
	key, known := s.keys[string(name)]
	if !known {
		key = string(name)
		if len(s.keys) < maxKeys {
			s.keys[key] = key
		}
	}
	s.text = append(s.text, value...)
	s.cuts = append(s.cuts, cut{key, len(s.text)})
}

// word reads one word; the result is valid until the next read.
func (s *stream) word() ([]byte, error) {
	length, err := s.length()
	if err != nil {
		return nil, err
	}
	if length > maxWord {
		return nil, fmt.Errorf("a word of %d octets, above the limit of %d", length, maxWord)
	}
	n := int(length)
	if s.size += n + 1; s.size > maxReply {
		return nil, fmt.Errorf("a reply of more than %d octets", maxReply)
	}
	if n <= s.in.Size() {
		b, err := s.in.Peek(n)
		if err != nil {
			return nil, unexpected(err)
		}
		s.in.Discard(n) // cannot fail: the octets are there
		return b, nil
	}
	b := make([]byte, n)
	_, err = io.ReadFull(s.in, b)
	return b, unexpected(err)
}

// length reads a word's length: one to five octets (facts.md §1).
func (s *stream) length() (uint32, error) {
	first, err := s.in.ReadByte()
	if err != nil {
		return 0, err
	}
	var more int
	var n uint32
	switch {
	case first < 0x80:
		return uint32(first), nil
	case first < 0xc0:
		more, n = 1, uint32(first&0x3f)
	case first < 0xe0:
		more, n = 2, uint32(first&0x1f)
	case first < 0xf0:
		more, n = 3, uint32(first&0x0f)
	case first == 0xf0:
		more = 4
	default:
		return 0, fmt.Errorf("reserved control octet %#x: %w", first, errNotAPI)
	}
	for range more {
		b, err := s.in.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		n = n<<8 | uint32(b)
	}
	return n, nil
}

// unexpected says that the end came inside a word.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendWord appends a word with its length.
func appendWord(b []byte, w string) []byte {
	switch n := len(w); {
	case n < 0x80:
		b = append(b, byte(n))
	case n < 0x4000:
		b = append(b, byte(n>>8)|0x80, byte(n))
	case n < 0x200000:
		b = append(b, byte(n>>16)|0xc0, byte(n>>8), byte(n))
	default: // words in reach are below maxWord
		b = append(b, byte(n>>24)|0xe0, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, w...)
}

// newTrap reads a !trap or !fatal.
func newTrap(command string, row Row) *Trap {
	t := &Trap{Command: command, Message: strings.TrimSpace(row["message"]), Category: -1}
	if n, err := strconv.Atoi(row["category"]); err == nil {
		t.Category = n
	}
	if t.Message == "" {
		t.Message = "no reason given"
	}
	t.Reason = reasonOf(t.Message)
	return t
}
