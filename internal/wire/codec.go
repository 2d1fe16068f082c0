package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"iwas/internal/fault"
)

// Bounds of a message's JSON, raw bodies included. A hello of a site that can
// apply none of 100,000 documents has the most elements of ours; ours nest six deep.
const (
	maxElements = 1 << 17
	maxDepth    = 1000
)

const compressAbove = 512 // octets; below it zstd gains nothing (measured: 292 → 227 for one event)

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

var encoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err) // only for impossible options
	}
	return e
})

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxInflated))
	if err != nil {
		panic(err) // only for impossible options
	}
	return d
})

// Encode returns a message as it travels: JSON, compressed by zstd above 512
// octets.
func Encode(message any) ([]byte, error) {
	b, err := marshal(message)
	if err != nil {
		return nil, fault.New(fault.Internal, "wire: encode", err)
	}
	if len(b) > compressAbove {
		b = encoder().EncodeAll(b, make([]byte, 0, len(b)/3))
	}
	if len(b) > MaxMessage {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("wire: message of %d octets is above the limit of %d", len(b), MaxMessage), nil)
	}
	return b, nil
}

func marshal(message any) ([]byte, error) {
	if b, ok := message.(Batch); ok {
		return b.appendTo(nil)
	}
	return json.Marshal(message)
}

// Decode reads a message that Encode wrote. Bodies may be parts of b. Sizes are checked before anything
// is inflated or parsed; errors are of kind Invalid.
func Decode(b []byte, message any) error {
	if len(b) > MaxMessage {
		return fault.New(fault.Invalid, fmt.Sprintf("wire: message of %d octets is above the limit of %d", len(b), MaxMessage), nil)
	}
	if bytes.HasPrefix(b, zstdMagic) {
		var h zstd.Header
		if err := h.Decode(b); err != nil {
			return fault.New(fault.Invalid, "wire: zstd header", err)
		}
		if h.HasFCS && h.FrameContentSize > MaxInflated {
			return fault.New(fault.Invalid, fmt.Sprintf("wire: message inflates to %d octets, above the limit of %d", h.FrameContentSize, MaxInflated), nil)
		}
		if err := oneFrame(b, h); err != nil {
			return err
		}
		inflated, err := decoder().DecodeAll(b, nil)
		if err != nil {
			return fault.New(fault.Invalid, "wire: zstd", err)
		}
		b = inflated
	}
	if len(b) == 0 || b[0] != '{' {
		return fault.New(fault.Invalid, "wire: not a JSON object", nil)
	}
	if err := fewElements(b); err != nil {
		return err
	}
	if err := Unmarshal(b, message); err != nil {
		return fault.New(fault.Invalid, "wire: JSON", err)
	}
	return nil
}

// oneFrame refuses octets after the frame whose header was read. The decoder would
// take a row of frames, and copy what it has for each: of 100,000 small ones in one
// message, for minutes (RFC 8878 §3.1.1.2: blocks).
func oneFrame(b []byte, h zstd.Header) error {
	const blockHeader, checksum = 3, 4 // octets
	at := h.HeaderSize
	for last := false; !last; {
		if at+blockHeader > len(b) {
			return fault.New(fault.Invalid, "wire: zstd frame is cut off", nil)
		}
		head := int(b[at]) | int(b[at+1])<<8 | int(b[at+2])<<16
		size := head >> 3
		if run := head>>1&3 == 1; run { // one octet, to be repeated
			size = 1
		}
		at, last = at+blockHeader+size, head&1 == 1
	}
	if h.HasCheckSum {
		at += checksum
	}
	if at != len(b) {
		return fault.New(fault.Invalid, fmt.Sprintf("wire: message of %d octets is not one zstd frame of %d", len(b), at), nil)
	}
	return nil
}

// fewElements refuses a message with more array elements than any has, before they
// become Go values: an empty object is 3 octets here and some hundred there. It need
// not understand JSON that is none: the parser refuses that.
func fewElements(b []byte) error {
	if len(b) <= 2*maxElements {
		return nil // an element and its comma are two octets
	}
	n, quoted := 0, false
	var inside []byte // the brackets that are open
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[', c == '{':
			inside = append(inside, c)
		case (c == ']' || c == '}') && len(inside) > 0:
			inside = inside[:len(inside)-1]
		case c == ',' && len(inside) > 0 && inside[len(inside)-1] == '[':
			n++
		}
		if n > maxElements || len(inside) > maxDepth {
			return fault.New(fault.Invalid, fmt.Sprintf("wire: message of more than %d elements, or nested deeper than %d", maxElements, maxDepth), nil)
		}
	}
	return nil
}
