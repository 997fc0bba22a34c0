package oip

import (
	"encoding/binary"
	"strconv"
)

// maxLevels is how deep a data array may nest and still fit a shape.
const maxLevels = 64

// kinds of elements in a data array, as bits.
const (
	kindNumber = 1 << iota
	kindString
	kindBool
	kindNull      // lax only: a float that JSON could not carry
	kindNonFinite // lax only: NaN, Infinity
	kindOther
)

// array describes a data array after one pass over it.
type array struct {
	count  int64 // elements
	rank   int   // levels of nesting
	leaf   int   // the level whose members are elements; −1 while there are none
	kinds  uint8
	frac   bool // a number has a fraction or an exponent
	neg    bool // a number is negative
	mag    int  // every number is below 10^mag
	ragged bool // the members of one level differ in length or in kind
	dims   [maxLevels]int64
}

// data takes a data array, whose bracket is next, and describes it.
func (s *scanner) data(a *array) bool {
	*a = array{leaf: -1}
	if !s.level(a, 0) {
		return false
	}
	if a.leaf >= 0 && a.rank != a.leaf+1 {
		a.ragged = true
	}
	return true
}

// level takes one level of a data array.
func (s *scanner) level(a *array, level int) bool {
	if !s.enter('[') {
		return false
	}
	var n int64
	arrays, leaves := false, false
	for first := true; s.more(']', &first); n++ {
		switch c := s.peek(); {
		case c == '[':
			arrays = true
			if !s.level(a, level+1) {
				return false
			}
		case c == '-' || c-'0' <= 9:
			leaves = true
			taken := s.numbers(a)
			if taken == 0 {
				if !s.lax || !s.nonFinite(a) {
					return s.unexpected()
				}
				taken = 1
			}
			n += taken - 1
			a.count += taken
		default:
			leaves = true
			a.count++
			if !s.element(a, c) {
				return false
			}
		}
	}
	if s.bad != "" {
		return false
	}
	a.close(level, n, arrays, leaves)
	return true
}

// numbers takes the numbers that are next, separated by commas, and reports
// how many there were. This is the loop that a large JSON request spends its
// time in.
func (s *scanner) numbers(a *array) int64 {
	b := s.b
	var n int64
	for i := s.i; ; {
		end, mag, frac := scanNumber(b, i)
		if end < 0 {
			return n // more takes the comma again
		}
		if b[i] == '-' {
			a.neg = true
		}
		a.frac = a.frac || frac
		a.mag = max(a.mag, mag)
		a.kinds |= kindNumber
		n++
		s.i = end
		i = skipSpace(b, end)
		if i >= len(b) || b[i] != ',' {
			return n
		}
		i = skipSpace(b, i+1)
	}
}

// skipSpace is where white space from b[i] on ends.
func skipSpace(b []byte, i int) int {
	for i+8 <= len(b) && binary.LittleEndian.Uint64(b[i:]) == 0x2020202020202020 {
		i += 8
	}
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// element takes an element that is not a number.
func (s *scanner) element(a *array, c byte) bool {
	switch c {
	case '"':
		a.kinds |= kindString
		_, ok := s.str()
		return ok
	case 't', 'f':
		a.kinds |= kindBool
		return s.value()
	case 'n':
		a.kinds |= kindNull
		if !s.lax {
			a.kinds |= kindOther
		}
		return s.value()
	case 'N', 'I':
		if s.lax && s.nonFinite(a) {
			return true
		}
		return s.unexpected()
	default:
		a.kinds |= kindOther
		return s.value()
	}
}

// nonFinite takes one of the words that servers write for numbers which JSON
// does not have.
func (s *scanner) nonFinite(a *array) bool {
	rest := s.b[s.i:]
	for _, w := range [...]string{"NaN", "Infinity", "-Infinity", "Inf", "-Inf"} {
		if len(rest) >= len(w) && string(rest[:len(w)]) == w {
			s.i += len(w)
			a.kinds |= kindNonFinite
			return true
		}
	}
	return false
}

// close notes the length of one array at a level.
func (a *array) close(level int, n int64, arrays, leaves bool) {
	if arrays && leaves || level >= maxLevels {
		a.ragged = true
		return
	}
	if leaves {
		if a.leaf >= 0 && a.leaf != level {
			a.ragged = true
		}
		a.leaf = level
	}
	// Levels close from the inside out, so a deeper one may have come first.
	for a.rank <= level {
		a.dims[a.rank] = -1
		a.rank++
	}
	if a.dims[level] >= 0 && a.dims[level] != n {
		a.ragged = true
	}
	a.dims[level] = n
}

// fits tells whether the array holds a tensor of that shape and that many
// elements, nested or flat.
func (a *array) fits(shape []int64, elements int64) bool {
	if a.ragged || a.count != elements {
		return false
	}
	if a.rank == 1 {
		return true
	}
	if a.rank > len(shape) {
		return false
	}
	for i, n := range a.dims[:a.rank] {
		if n != shape[i] {
			return false
		}
	}
	// [[], []] is all there is to write of a shape like [2,0,3].
	return a.rank == len(shape) || a.dims[a.rank-1] == 0
}

// check tells what is wrong with the array as the data of a tensor, "" if
// nothing. lit is the array as it stands.
func (a *array) check(lit []byte, d Datatype, shape []int64, elements int64) string {
	want := uint8(kindNumber)
	switch d {
	case Bytes:
		want = kindString
	case Bool:
		want = kindBool
	case FP16, BF16, FP32, FP64:
		want = kindNumber | kindNull | kindNonFinite
	}
	if a.kinds&^want != 0 {
		return "an element does not fit datatype " + d.String()
	}
	if !a.fits(shape, elements) {
		return "Shape does not match true shape of 'data' field"
	}
	if d == Bytes || d == Bool {
		return ""
	}
	if d.integer() {
		if a.frac {
			return "an element is not an integer, as datatype " + d.String() + " needs"
		}
		if a.neg && d.unsigned() {
			return "an element is negative, which datatype " + d.String() + " cannot hold"
		}
	}
	if a.mag > safeMagnitude[d] && !inRange(lit, d) {
		return "an element is out of range for datatype " + d.String()
	}
	return ""
}

// safeMagnitude is, by datatype, the power of ten below which every number
// fits.
var safeMagnitude = [...]int{
	Uint8: 2, Uint16: 4, Uint32: 9, Uint64: 19,
	Int8: 2, Int16: 4, Int32: 9, Int64: 18,
	FP16: 4, BF16: 38, FP32: 38, FP64: 308, Bytes: 0,
}

// inRange tells whether every number of a valid data array fits d.
func inRange(lit []byte, d Datatype) bool {
	var buf [8]byte
	for i := 0; ; {
		start, end := nextElement(lit, i)
		if start == end {
			return true
		}
		if _, ok := appendNumber(buf[:0], lit[start:end], d); !ok {
			return false
		}
		i = end
	}
}

// nextElement finds the next element of a valid data array from i on, looking
// through brackets; start == end when there is none.
func nextElement(b []byte, i int) (start, end int) {
	for i < len(b) && (b[i] <= ' ' || b[i] == ',' || b[i] == '[' || b[i] == ']') {
		i++
	}
	if i == len(b) {
		return i, i
	}
	return i, skipElement(b, i)
}

// skipElement is the end of the element at b[i].
func skipElement(b []byte, i int) int {
	if b[i] == '"' {
		for i++; b[i] != '"'; i++ {
			if b[i] == '\\' {
				i++
			}
		}
		return i + 1
	}
	for i < len(b) && b[i] > ' ' && b[i] != ',' && b[i] != ']' {
		i++
	}
	return i
}

// skipItems finds n members of a valid array from i on, which is just behind
// its bracket or behind an earlier member: they are b[start:end].
func skipItems(b []byte, i int, n int64) (start, end int) {
	for i < len(b) && (b[i] <= ' ' || b[i] == ',') {
		i++
	}
	start = i
	for end = i; n > 0; n-- {
		for b[i] <= ' ' || b[i] == ',' {
			i++
		}
		if b[i] != '[' {
			i = skipElement(b, i)
		} else {
			for depth := 0; ; {
				switch b[i] {
				case '[':
					depth++
				case ']':
					depth--
				case '"':
					i = skipElement(b, i) - 1
				}
				i++
				if depth == 0 {
					break
				}
			}
		}
		end = i
	}
	return start, end
}

// cutRows finds rows that begin at i in a tensor's data, a checked JSON array
// (i = 1 is behind its bracket) or a blob: they are data[start:end] and hold n
// elements. nested is of the array alone.
func cutRows(data []byte, isJSON, nested bool, d Datatype, i int, rows, n int64) (start, end int) {
	switch {
	case isJSON && nested:
		return skipItems(data, i, rows)
	case isJSON:
		return skipItems(data, i, n)
	case d == Bytes:
		return i, i + blobPrefix(data[i:], n)
	default:
		return i, i + int(n)*d.Size()
	}
}

// blobElements counts the elements of a BYTES blob; false when its lengths do
// not add up.
func blobElements(b []byte) (int64, bool) {
	var n int64
	for len(b) > 0 {
		if len(b) < 4 {
			return n, false
		}
		size := uint64(binary.LittleEndian.Uint32(b))
		if size > uint64(len(b)-4) {
			return n, false
		}
		b = b[4+size:]
		n++
	}
	return n, true
}

// blobPrefix is the length in bytes of the first n elements of a valid BYTES
// blob.
func blobPrefix(b []byte, n int64) int {
	i := 0
	for ; n > 0; n-- {
		i += 4 + int(binary.LittleEndian.Uint32(b[i:]))
	}
	return i
}

// appendShape appends a shape as JSON.
func appendShape(dst []byte, shape []int64) []byte {
	dst = append(dst, '[')
	for i, n := range shape {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, n, 10)
	}
	return append(dst, ']')
}
