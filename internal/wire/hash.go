package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
)

// SetHash is the hash of a set of documents, whatever their order: four lanes
// of 64 bits, each the sum modulo 2^64 of that lane of SHA-256 over the members.
// Adding and removing one member cost the same, so both sides keep it
// incrementally. The zero value is the empty set.
type SetHash [4]uint64

// Add puts a document into the set.
func (h *SetHash) Add(d Doc) {
	for i, lane := range lanes(d) {
		h[i] += lane
	}
}

// Remove takes a document out that was added with the same bytes.
func (h *SetHash) Remove(d Doc) {
	for i, lane := range lanes(d) {
		h[i] -= lane
	}
}

// String returns 64 hexadecimal digits.
func (h SetHash) String() string {
	var b [32]byte
	for i, lane := range h {
		binary.BigEndian.PutUint64(b[8*i:], lane)
	}
	return hex.EncodeToString(b[:])
}

// ParseSetHash reads what String wrote; "" is the empty set.
func ParseSetHash(s string) (SetHash, error) {
	var h SetHash
	if s == "" {
		return h, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		return h, fmt.Errorf("wire: %q is not a set hash", s)
	}
	for i := range h {
		h[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return h, nil
}

// lanes hashes kind, id and body; the revision is left out, so that a snapshot
// and a chain of deltas agree.
func lanes(d Doc) [4]uint64 {
	s := sha256.New()
	fmt.Fprintf(s, "%s|%s|", d.Kind, d.ID)
	s.Write(d.Body)
	sum := s.Sum(nil)
	var l [4]uint64
	for i := range l {
		l[i] = binary.BigEndian.Uint64(sum[8*i:])
	}
	return l
}

// NextChain returns the chain value after an event: the first 16 octets, in
// hex, of SHA-256 over the value before it and the event's id, kind, time and
// body. Equal chains mean equal histories.
func NextChain(before string, e Event) string {
	var room [1024]byte // holds what most hash
	b := append(room[:0], before...)
	b = append(append(b, '|'), e.ID...)
	b = append(append(b, '|'), e.Kind...)
	b = strconv.AppendInt(append(b, '|'), e.At.UnixMilli(), 10)
	b = append(append(b, '|'), e.Body...)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
