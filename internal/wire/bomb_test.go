package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"iwas/internal/fault"
)

// The frames of this file are put together by hand, octet by octet, as no encoder
// would make them (RFC 8878 §3.1.1).

// frame is a zstd frame: its content size where declared is not below 0, its window
// where there is no content size, and the blocks.
func frame(declared int64, window byte, blocks ...[]byte) []byte {
	b := append([]byte(nil), zstdMagic...)
	if declared >= 0 {
		b = binary.LittleEndian.AppendUint64(append(b, 0xe0), uint64(declared)) // 8 octets of size, single segment
	} else {
		b = append(b, 0x00, window)
	}
	for _, block := range blocks {
		b = append(b, block...)
	}
	return b
}

// run is a block of one octet n times, raw one of the octets themselves.
func run(c byte, n int, last bool) []byte { return block(1, n, last, []byte{c}) }
func raw(s string, last bool) []byte      { return block(0, len(s), last, []byte(s)) }

func block(kind, size int, last bool, content []byte) []byte {
	head := size<<3 | kind<<1
	if last {
		head |= 1
	}
	return append([]byte{byte(head), byte(head >> 8), byte(head >> 16)}, content...)
}

const (
	blockMost   = 128 << 10 // octets of a block's content (RFC 8878 §3.1.1.2.4)
	windowOf2TB = 0xf8      // exponent 31: 2^(10+31)
	windowOf1MB = 0x50      // exponent 10
)

// runs is n blocks of blanks, each as large as one may be, in some 4 octets.
func runs(n int) [][]byte {
	var all [][]byte
	for range n - 1 {
		all = append(all, run(' ', blockMost, false))
	}
	return append(all, run(' ', blockMost, true))
}

// bombs are messages that are small on the wire and would cost memory or time.
func bombs(t testing.TB) map[string][]byte {
	t.Helper()
	over := MaxInflated/blockMost + 1
	small := frame(64, 0, run(' ', 64, true))
	inflates := func(s string) []byte { return encoder().EncodeAll([]byte(s), nil) }
	return map[string][]byte{
		"the header says too much":                      frame(1<<40, 0, raw("{}", true)),
		"the header says less than there is":            frame(2, 0, runs(over)...),
		"the header says more than there is":            frame(MaxInflated, 0, raw(`{"v":1}`, true)),
		"no content size":                               frame(-1, windowOf1MB, runs(over)...),
		"no content size, and a window of 2 TB":         frame(-1, windowOf2TB, raw(`{"v":1}`, true)),
		"no content size, and 200 times the limit":      frame(-1, windowOf1MB, runs(200*over)...),
		"many frames, each within the limit":            bytes.Repeat(frame(-1, windowOf1MB, runs(over-1)...), 100),
		"a hundred thousand small frames":               bytes.Repeat(small, MaxMessage/len(small)),
		"two frames of one message":                     append(inflates(`{"v":1,`), inflates(`"epoch":"e"}`)...),
		"a frame and rubbish":                           append(inflates(`{"v":1}`), 0xff),
		"a frame and one to be skipped":                 append(inflates(`{"v":1}`), 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0),
		"one to be skipped, and a frame":                append([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, inflates(`{"v":1}`)...),
		"a block beyond the end":                        frame(-1, windowOf1MB, []byte{0xff, 0xff, 0xff}),
		"a block of no known kind":                      frame(-1, windowOf1MB, block(3, 0, true, nil)),
		"no last block":                                 frame(-1, windowOf1MB, bytes.Repeat(run(' ', 1, false), 1000)),
		"an array of two million empty objects":         inflates(`{"v":1,"events":[` + strings.Repeat("{},", 2_000_000) + `{}]}`),
		"an array of a million and a half nulls":        inflates(`{"v":1,"proofs":[` + strings.Repeat("null,", 1_500_000) + `null]}`),
		"elements inside elements, after a text of [\"": inflates(`{"v":1,"epoch":"[\"","events":[{"steps":[` + strings.Repeat("{},", 2_000_000) + `{}]}]}`),
		"brackets four million deep":                    inflates(`{"v":1,"events":` + strings.Repeat("[", 4_000_000)),
	}
}

// memory is the most that reading one message may allocate in all, garbage included:
// what is inflated, with what it outgrew on the way, and a little for what it says.
const memory = 6*MaxInflated + 8<<20

func TestBombsAreRefusedAndCostLittle(t *testing.T) {
	if _, err := decoder().DecodeAll(frame(-1, windowOf1MB, runs(2)...), nil); err != nil {
		t.Fatalf("frames made here are no frames: %v", err)
	}
	for name, b := range bombs(t) {
		if len(b) > MaxMessage {
			t.Errorf("%s: %d octets, which its length alone would refuse", name, len(b))
		}
		for _, m := range []any{&Batch{}, &Hello{}} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := Decode(b, m)
			runtime.ReadMemStats(&after)
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%s, as %T: got %v, want Invalid", name, m, err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > memory {
				t.Errorf("%s, as %T: took %d MiB, want at most %d", name, m, took>>20, memory>>20)
			}
		}
	}
}

// TestLargeMessagesOfOursPass: the bounds leave what a large site says.
func TestLargeMessagesOfOursPass(t *testing.T) {
	h := Hello{V: Version, Epoch: "e1"}
	for i := range 100_000 {
		h.NotInForce = append(h.NotInForce, DocRef{DocAccount, fmt.Sprintf("01k0%022d", i)})
	}
	s := State{V: Version, Lineage: "l1"}
	for i := range 20_000 {
		s.Docs = append(s.Docs, Doc{Kind: DocAccount, ID: fmt.Sprintf("01k0%022d", i), Rev: int64(i), Body: fmt.Appendf(nil, `{"kind":"user","username":"guest%d","note":"[\"{,\\"}`, i)})
	}
	var hello Hello
	var state State
	for _, m := range []struct{ sent, read any }{{h, &hello}, {s, &state}} {
		b, err := Encode(m.sent)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, zstdMagic) {
			t.Fatal("not compressed: this test proves nothing")
		}
		if err := Decode(b, m.read); err != nil {
			t.Errorf("%T of %d octets: %v", m.sent, len(b), err)
		}
	}
	if len(hello.NotInForce) != 100_000 || len(state.Docs) != 20_000 {
		t.Errorf("got %d and %d, want all that was sent", len(hello.NotInForce), len(state.Docs))
	}
	// One that a streaming encoder of another make would send: without a content size,
	// with a checksum, in many blocks.
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderCRC(true), zstd.WithWindowSize(1<<18))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, `{"v":1,"epoch":"e1","chain":"`)
	for i := range 200_000 {
		fmt.Fprintf(w, "%d", i)
	}
	fmt.Fprint(w, `"}`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var batch Batch
	if err := Decode(b.Bytes(), &batch); err != nil || batch.Epoch != "e1" {
		t.Errorf("a stream of many blocks: got %q, %v", batch.Epoch, err)
	}
}
