package oip

import (
	"cmp"
	"encoding/binary"
	"strconv"
)

// compareAt compares the elements a and b of a blob of numbers.
func compareAt(blob []byte, d Datatype, a, b int) int {
	size := d.Size()
	x, y := blob[a*size:], blob[b*size:]
	switch {
	case d.unsigned():
		return cmp.Compare(word(x, size), word(y, size))
	case d.integer():
		return cmp.Compare(signed(x, size), signed(y, size))
	default:
		f, _ := floatAt(x, d)
		g, _ := floatAt(y, d)
		return cmp.Compare(f, g)
	}
}

// appendClassValue appends the number as classification writes it: floats with
// six decimals.
func appendClassValue(dst, blob []byte, d Datatype) []byte {
	switch {
	case d.unsigned():
		return strconv.AppendUint(dst, word(blob, d.Size()), 10)
	case d.integer():
		return strconv.AppendInt(dst, signed(blob, d.Size()), 10)
	default:
		f, _ := floatAt(blob, d)
		return strconv.AppendFloat(dst, f, 'f', 6, 64)
	}
}

// word reads a little-endian integer of that many bytes.
func word(b []byte, size int) uint64 {
	var buf [8]byte
	copy(buf[:], b[:size])
	return binary.LittleEndian.Uint64(buf[:])
}

// signed reads a little-endian integer in two's complement.
func signed(b []byte, size int) int64 {
	shift := 64 - 8*size
	return int64(word(b, size)<<shift) >> shift
}
