package ort

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// decodeStrings reads n elements of OIP's BYTES layout: a 4-byte little-endian
// length before each. ONNX Runtime takes strings as C does, so an element with
// a NUL byte in it would be cut short silently: it is refused instead.
func decodeStrings(data []byte, n int64) ([]string, error) {
	// Every element takes at least its length's four bytes, which bounds the
	// allocation by what was really sent.
	if n < 0 || n > int64(len(data)/4) {
		return nil, fmt.Errorf("holds %d bytes, too few for %d elements", len(data), n)
	}
	out := make([]string, n)
	for i := range out {
		if len(data) < 4 {
			return nil, fmt.Errorf("ends before element %d of %d", i, n)
		}
		size := int64(binary.LittleEndian.Uint32(data))
		data = data[4:]
		if size > int64(len(data)) {
			return nil, fmt.Errorf("element %d says %d bytes, %d are left", i, size, len(data))
		}
		out[i] = string(data[:size])
		if strings.IndexByte(out[i], 0) >= 0 {
			return nil, fmt.Errorf("element %d holds a NUL byte, which ONNX Runtime's strings cannot", i)
		}
		data = data[size:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("has %d bytes after its %d elements", len(data), n)
	}
	return out, nil
}

// encodeStrings is the inverse of decodeStrings.
func encodeStrings(elements []string) []byte {
	size := 0
	for _, s := range elements {
		size += 4 + len(s)
	}
	out := make([]byte, 0, size)
	for _, s := range elements {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(s)))
		out = append(out, s...)
	}
	return out
}
