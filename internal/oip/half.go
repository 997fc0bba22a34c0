package oip

import "math"

// fromFP16 widens an IEEE 754 binary16; every value is exact in float32.
func fromFP16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch {
	case exp == 0x1f: // infinity, NaN
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case exp == 0: // zero, subnormal
		f := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// toFP16 rounds to the nearest binary16, ties to even; what is too large
// becomes infinity.
func toFP16(f float64) uint16 {
	bits := math.Float64bits(f)
	sign := uint16(bits >> 48 & 0x8000)
	exp := int(bits>>52&0x7ff) - 1023
	switch {
	case math.IsNaN(f):
		return sign | 0x7e00
	case exp > 15:
		return sign | 0x7c00
	case exp < -14: // subnormal: count in units of 2^-24
		return sign | uint16(math.RoundToEven(math.Abs(f)*(1<<24)))
	}
	// 10 of the 52 bits of the fraction stay; a carry runs into the exponent,
	// and out of the largest one into infinity, as it should.
	m := bits & (1<<52 - 1)
	h := uint64(exp+15)<<10 | m>>42
	rest, half := m&(1<<42-1), uint64(1)<<41
	if rest > half || rest == half && h&1 == 1 {
		h++
	}
	return sign | uint16(h)
}

// fromBF16 widens a bfloat16; every value is exact in float32.
func fromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// toBF16 rounds to the nearest bfloat16, ties to even; what is too large
// becomes infinity.
func toBF16(f float64) uint16 {
	if math.IsNaN(f) {
		return 0x7fc0
	}
	// To round twice would be wrong where float32 lands on a tie that f is
	// not: nudge the float32 towards f by its last bit (round to odd).
	f32 := float32(f)
	bits := math.Float32bits(f32)
	if !math.IsInf(float64(f32), 0) && float64(f32) != f {
		if math.Abs(float64(f32)) > math.Abs(f) {
			bits--
		}
		bits |= 1
	}
	if bits&0x7fffffff >= 0x7f800000 {
		return uint16(bits >> 16)
	}
	rest := bits & 0xffff
	h := bits >> 16
	if rest > 0x8000 || rest == 0x8000 && h&1 == 1 {
		h++
	}
	return uint16(h)
}
