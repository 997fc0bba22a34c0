package oip

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
)

// appendNumber appends a JSON number, boolean, or one of the words that
// servers write for non-finite floats, as one binary element of d. It reports
// false when the value does not fit.
func appendNumber(dst, lit []byte, d Datatype) ([]byte, bool) {
	le := binary.LittleEndian
	s := text(lit)
	switch d {
	case Bool:
		return append(dst, b2u(lit[0] == 't')), true
	case Int8, Int16, Int32, Int64:
		v, err := strconv.ParseInt(s, 10, 8*d.Size())
		return appendWord(dst, uint64(v), d.Size()), err == nil
	case Uint8, Uint16, Uint32, Uint64:
		v, err := strconv.ParseUint(s, 10, 8*d.Size())
		return appendWord(dst, v, d.Size()), err == nil
	}
	if lit[0] == 'n' {
		s = "NaN"
	}
	switch d {
	case FP32:
		v, err := strconv.ParseFloat(s, 32)
		return le.AppendUint32(dst, math.Float32bits(float32(v))), err == nil
	case FP64:
		v, err := strconv.ParseFloat(s, 64)
		return le.AppendUint64(dst, math.Float64bits(v)), err == nil
	}
	v, err := strconv.ParseFloat(s, 64)
	h, inf := toFP16(v), uint16(0x7c00)
	if d == BF16 {
		h, inf = toBF16(v), 0x7f80
	}
	overflow := h&0x7fff == inf && !math.IsInf(v, 0)
	return le.AppendUint16(dst, h), err == nil && !overflow
}

func b2u(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// appendWord appends the low bytes of v.
func appendWord(dst []byte, v uint64, size int) []byte {
	for ; size > 0; size-- {
		dst = append(dst, byte(v))
		v >>= 8
	}
	return dst
}

// blobLen is the number of bytes that appendBlob will append.
func blobLen(lit []byte, d Datatype, elements int64) int {
	if d != Bytes {
		return int(elements) * d.Size()
	}
	n := 0
	for i := 0; ; {
		start, end := nextElement(lit, i)
		if start == end {
			return n
		}
		n += 4 + unescapedLen(lit[start+1:end-1])
		i = end
	}
}

// appendBlob appends the elements of a checked data array, flat or nested and
// with or without its brackets, in the binary layout. It reports false when
// one is out of range.
func appendBlob(dst, lit []byte, d Datatype) ([]byte, bool) {
	good := true
	for i := 0; ; {
		start, end := nextElement(lit, i)
		if start == end {
			return dst, good
		}
		i = end
		if d != Bytes {
			var ok bool
			dst, ok = appendNumber(dst, lit[start:end], d)
			good = good && ok
			continue
		}
		at := len(dst)
		dst = appendUnescaped(append(dst, 0, 0, 0, 0), lit[start+1:end-1])
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
}

// appendFlat appends the elements of a checked data array, separated by
// commas, without any brackets and with null in the place of NaN, Infinity and
// the like.
func appendFlat(dst, lit []byte) []byte {
	for i := 0; ; {
		start, end := nextElement(lit, i)
		if start == end {
			return dst
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		if c := lit[start]; c == 'N' || c == 'I' || c == '-' && lit[start+1] == 'I' {
			dst = append(dst, "null"...)
		} else {
			dst = append(dst, lit[start:end]...)
		}
		i = end
	}
}

// appendFinite appends part of a checked data array of floats with null in the
// place of NaN, Infinity and the like.
func appendFinite(dst, lit []byte) []byte {
	for i := 0; i < len(lit); i++ {
		c := lit[i]
		if c != 'N' && c != 'I' && (c != '-' || lit[i+1] != 'I') {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, "null"...)
		i = skipElement(lit, i) - 1
	}
	return dst
}

// inner is a checked data array without its outer brackets.
func inner(lit []byte) []byte { return lit[1 : len(lit)-1] }

// Why a binary tensor cannot be written as JSON.
const (
	noJSONFloat = "NaN or infinity"
	noJSONBytes = "bytes that are not UTF-8"
)

// appendJSON appends the elements of a well-formed blob as JSON, separated by
// commas, without brackets. Floats get the shortest text that reads back as
// the same value of their type. NaN and the infinities become null where
// nulls is set. Where JSON cannot carry an element, the result says why.
func appendJSON(dst, blob []byte, d Datatype, nulls bool) ([]byte, string) {
	if d == Bytes {
		return appendJSONStrings(dst, blob)
	}
	size := d.Size()
	why := ""
	for ; len(blob) >= size; blob = blob[size:] {
		f, bits := 0.0, 32
		le := binary.LittleEndian
		switch d {
		case Bool:
			dst = strconv.AppendBool(dst, blob[0] != 0)
		case Uint8:
			dst = strconv.AppendUint(dst, uint64(blob[0]), 10)
		case Uint16:
			dst = strconv.AppendUint(dst, uint64(le.Uint16(blob)), 10)
		case Uint32:
			dst = strconv.AppendUint(dst, uint64(le.Uint32(blob)), 10)
		case Uint64:
			dst = strconv.AppendUint(dst, le.Uint64(blob), 10)
		case Int8:
			dst = strconv.AppendInt(dst, int64(int8(blob[0])), 10)
		case Int16:
			dst = strconv.AppendInt(dst, int64(int16(le.Uint16(blob))), 10)
		case Int32:
			dst = strconv.AppendInt(dst, int64(int32(le.Uint32(blob))), 10)
		case Int64:
			dst = strconv.AppendInt(dst, int64(le.Uint64(blob)), 10)
		default:
			f, bits = floatAt(blob, d)
			if math.IsNaN(f) || math.IsInf(f, 0) {
				dst = append(dst, "null"...)
				if !nulls {
					why = noJSONFloat
				}
				break
			}
			dst = appendFloat(dst, f, bits)
		}
		dst = append(dst, ',')
	}
	return trimComma(dst), why
}

// floatAt reads the float of type d that blob begins with, and tells how many
// bits its text must tell apart.
func floatAt(blob []byte, d Datatype) (f float64, bits int) {
	le := binary.LittleEndian
	switch d {
	case FP16:
		return float64(fromFP16(le.Uint16(blob))), 32
	case BF16:
		return float64(fromBF16(le.Uint16(blob))), 32
	case FP32:
		return float64(math.Float32frombits(le.Uint32(blob))), 32
	default:
		return math.Float64frombits(le.Uint64(blob)), 64
	}
}

// appendFloat appends a finite float; whole numbers of ordinary size, which
// images are full of, take a short cut.
func appendFloat(dst []byte, f float64, bits int) []byte {
	if n := int64(f); float64(n) == f && -1e6 < f && f < 1e6 && (n != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, n, 10)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}

func appendJSONStrings(dst, blob []byte) ([]byte, string) {
	why := ""
	for len(blob) >= 4 {
		n := 4 + int(binary.LittleEndian.Uint32(blob))
		s := blob[4:n]
		if !utf8.Valid(s) {
			why = noJSONBytes
		}
		dst = append(appendString(dst, text(s)), ',')
		blob = blob[n:]
	}
	return trimComma(dst), why
}

// trimComma drops the comma behind the last of a list's elements. A list is
// never preceded by a comma.
func trimComma(dst []byte) []byte {
	if n := len(dst); n > 0 && dst[n-1] == ',' {
		return dst[:n-1]
	}
	return dst
}
