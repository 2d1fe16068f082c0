package routeros

import (
	"bytes"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/go-routeros/routeros/v3/proto"
)

// replay is a connection that only reads.
type replay struct {
	net.Conn
	io.Reader
}

func (r replay) Read(p []byte) (int, error) { return r.Reader.Read(p) }

func TestEveryLengthFormIsReadAsWritten(t *testing.T) {
	for _, n := range []int{0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x1fffff / 4, maxWord - 10} {
		value := strings.Repeat("x", n)
		var written bytes.Buffer
		w := proto.NewWriter(&written) // the stock codec is the other side
		w.BeginSentence()
		w.WriteWord("!re")
		w.WriteWord("=v=" + value)
		if err := w.EndSentence(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(written.Bytes(), say("!re", "=v="+value)) {
			t.Errorf("%d octets: we write a sentence otherwise than the stock codec", n)
		}
		s := newStream(replay{Reader: &written})
		s.begin("/x", nil)
		if err := s.sentence(); err != nil || len(s.rows) != 1 || s.rows[0]["v"] != value {
			t.Errorf("%d octets: got %d rows, %v, want the value back", n, len(s.rows), err)
		}
	}
}

// FuzzStream feeds arbitrary octets: whatever is taken for a reply must be
// what the stock codec reads from the same octets.
func FuzzStream(f *testing.F) {
	f.Add(append(say("!re", "=.id=*1", "=user=a=b", ".tag=7"), say("!done", "=ret=*2")...))
	f.Add(say("!fatal", "not logged in"))
	f.Add(append(say("!trap", "=category=2", "=message=interrupted"), say("!done")...))
	f.Add([]byte{0xf0, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x80, 0x03, '!', 'r', 'e', 0x00})
	f.Fuzz(func(t *testing.T, octets []byte) {
		s := newStream(replay{Reader: bytes.NewReader(octets)})
		s.begin("/x", nil)
		var ours []Row
		for {
			s.rows, s.handOn = nil, nil
			if err := s.sentence(); err != nil {
				break
			}
			ours = append(ours, s.rows...)
		}
		if s.size > maxReply {
			t.Fatalf("read %d octets, above the limit", s.size)
		}
		var theirs []Row
		stock := proto.NewReader(bytes.NewReader(octets))
		for len(theirs) < len(ours) {
			sentence, err := stock.ReadSentence()
			if err != nil {
				break // it refuses bare words, which we take
			}
			if sentence.Word == "!re" {
				theirs = append(theirs, Row(sentence.Map))
			}
		}
		for i, row := range theirs {
			if !maps.Equal(row, ours[i]) {
				t.Errorf("row %d: got %v, the stock codec reads %v", i, ours[i], row)
			}
		}
	})
}

func TestAttributeNamesAreShared(t *testing.T) {
	s := newStream(replay{Reader: bytes.NewReader(bytes.Repeat(say("!re", "=src-address=10.0.0.1:1"), 3))})
	s.begin("/x", nil)
	for range 3 {
		if err := s.sentence(); err != nil {
			t.Fatal(err)
		}
	}
	if got := slices.Collect(maps.Keys(s.keys)); len(got) != 1 || got[0] != "src-address" {
		t.Errorf("got names %v, want one", got)
	}
}

// TestARowVisitedIsOfItsOwn feeds rows of different attributes through one row:
// none may show what the one before had, and values stay when it is filled anew.
func TestARowVisitedIsOfItsOwn(t *testing.T) {
	s := newStream(replay{Reader: bytes.NewReader(slices.Concat(say("!re", "=.id=*1", "=a=one=1", "=b="), say("!re", "=.id=*2", "=c=two"), say("!re")))})
	var rows []Row
	var ids []string
	s.begin("/x", func(r Row) {
		rows = append(rows, maps.Clone(r))
		ids = append(ids, r[".id"])
	})
	for range 3 {
		if err := s.sentence(); err != nil {
			t.Fatal(err)
		}
	}
	want := []Row{{".id": "*1", "a": "one=1", "b": ""}, {".id": "*2", "c": "two"}, {}}
	if !slices.EqualFunc(rows, want, maps.Equal) || !slices.Equal(ids, []string{"*1", "*2", ""}) || len(s.rows) != 0 {
		t.Errorf("got %v with ids %v and %d kept, want %v", rows, ids, len(s.rows), want)
	}
}
