package oip

import (
	"encoding/binary"
	"math"
)

// Values appends the elements of a blob of numbers; integers beyond 2^53 are
// rounded. It reports false where d has no numbers or the blob ends within one.
func Values(dst []float64, blob []byte, d Datatype) ([]float64, bool) {
	size := d.Size()
	if d == Bool || size == 0 || len(blob)%size != 0 {
		return dst, false
	}
	for ; len(blob) > 0; blob = blob[size:] {
		var v float64
		switch {
		case d.unsigned():
			v = float64(word(blob, size))
		case d.integer():
			v = float64(signed(blob, size))
		default:
			v, _ = floatAt(blob, d)
		}
		dst = append(dst, v)
	}
	return dst, true
}

// AppendValues appends numbers as a blob of d, rounded where d is narrower. It
// reports false where d has no numbers, or is an integer type that a value is
// not one of.
func AppendValues(dst []byte, values []float64, d Datatype) ([]byte, bool) {
	size := d.Size()
	if d == Bool || size == 0 {
		return dst, false
	}
	le := binary.LittleEndian
	for _, v := range values {
		switch {
		case d.integer():
			if !fitsInteger(v, d) {
				return dst, false
			}
			if v < 0 {
				dst = appendWord(dst, uint64(int64(v)), size)
			} else {
				dst = appendWord(dst, uint64(v), size)
			}
		case d == FP16:
			dst = le.AppendUint16(dst, toFP16(v))
		case d == BF16:
			dst = le.AppendUint16(dst, toBF16(v))
		case d == FP32:
			dst = le.AppendUint32(dst, math.Float32bits(float32(v)))
		default:
			dst = le.AppendUint64(dst, math.Float64bits(v))
		}
	}
	return dst, true
}

// fitsInteger tells whether v is one of the integers of type d.
func fitsInteger(v float64, d Datatype) bool {
	bits := 8 * d.Size()
	if v != math.Trunc(v) {
		return false
	}
	if d.unsigned() {
		return v >= 0 && v < math.Ldexp(1, bits)
	}
	return v >= -math.Ldexp(1, bits-1) && v < math.Ldexp(1, bits-1)
}
