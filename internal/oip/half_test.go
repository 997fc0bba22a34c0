package oip

import (
	"fmt"
	"math"
	"testing"
)

// formats are the two 16-bit floats by what defines them: a value is
// ±2^(exponent−bias) × 1.fraction, and ±2^(1−bias) × 0.fraction where the
// exponent is 0; the largest exponent holds infinity and NaN.
var formats = []struct {
	d        Datatype
	fraction int // bits
	bias     int
	from     func(uint16) float32
	to       func(float64) uint16
}{
	{FP16, 10, 15, fromFP16, toFP16},
	{BF16, 7, 127, fromBF16, toBF16},
}

// halfValue is the value of h by the formula; past the largest finite one the
// formula goes on as if there were no infinity.
func halfValue(h uint16, fraction, bias int) float64 {
	exp := int(h&0x7fff) >> fraction
	f := float64(h & (1<<fraction - 1))
	if exp > 0 {
		f += float64(int(1) << fraction)
	} else {
		exp = 1
	}
	f = math.Ldexp(f, exp-bias-fraction)
	if h&0x8000 != 0 {
		f = math.Copysign(f, -1)
	}
	return f
}

func TestHalfPrecisionValues(t *testing.T) {
	for _, f := range formats {
		infinity := uint16(0x7fff) &^ (1<<f.fraction - 1)
		for i := range 1 << 16 {
			h := uint16(i)
			got := f.from(h)
			switch {
			case h&0x7fff > infinity:
				if !math.IsNaN(float64(got)) {
					t.Fatalf("%s %#04x = %v, want NaN", f.d, h, got)
				}
				if back := f.to(float64(got)); back&0x7fff <= infinity {
					t.Fatalf("%s %#04x comes back as %#04x, want a NaN", f.d, h, back)
				}
				continue
			case h&0x7fff == infinity:
				if !math.IsInf(float64(got), int(math.Copysign(1, float64(int16(h))))) {
					t.Fatalf("%s %#04x = %v, want an infinity", f.d, h, got)
				}
			default:
				want := halfValue(h, f.fraction, f.bias)
				if float64(got) != want || math.Signbit(float64(got)) != math.Signbit(want) {
					t.Fatalf("%s %#04x = %v, want %v", f.d, h, got, want)
				}
			}
			if back := f.to(float64(got)); back != h {
				t.Fatalf("%s %#04x = %v comes back as %#04x", f.d, h, got, back)
			}
		}
	}
}

// Between every two neighbours, the middle goes to the even one and what is
// beside it to the nearer one, up to the step to infinity.
func TestHalfPrecisionRounding(t *testing.T) {
	for _, f := range formats {
		infinity := uint16(0x7fff) &^ (1<<f.fraction - 1)
		for h := range infinity {
			low, high := halfValue(h, f.fraction, f.bias), halfValue(h+1, f.fraction, f.bias)
			middle := (low + high) / 2 // exact: it takes one bit more than h
			even := h + h&1
			for _, c := range []struct {
				v    float64
				want uint16
			}{
				{middle, even},
				{math.Nextafter(middle, 0), h},
				{math.Nextafter(middle, math.Inf(1)), h + 1},
				{low + (middle-low)/2, h},
				{middle + (high-middle)/2, h + 1},
			} {
				if got := f.to(c.v); got != c.want {
					t.Fatalf("%s: %v became %#04x, want %#04x", f.d, c.v, got, c.want)
				}
				if got := f.to(-c.v); got != c.want|0x8000 {
					t.Fatalf("%s: %v became %#04x, want %#04x", f.d, -c.v, got, c.want|0x8000)
				}
			}
			// The same of float32, whose neighbours of the middle are further away.
			m := float32(middle)
			if float64(m) != middle {
				continue
			}
			for v, want := range map[float32]uint16{m: even, math.Nextafter32(m, 0): h, math.Nextafter32(m, math.MaxFloat32): h + 1} {
				if got := f.to(float64(v)); got != want {
					t.Fatalf("%s: float32 %v became %#04x, want %#04x", f.d, v, got, want)
				}
			}
		}
		for v, want := range map[float64]uint16{
			math.MaxFloat64: infinity, math.Inf(1): infinity, math.SmallestNonzeroFloat64: 0, 0: 0,
			math.MaxFloat32: infinity, math.Ldexp(1, 128): infinity,
		} {
			if got := f.to(v); got != want {
				t.Errorf("%s: %v became %#04x, want %#04x", f.d, v, got, want)
			}
			if got := f.to(math.Copysign(v, -1)); got != want|0x8000 {
				t.Errorf("%s: %v became %#04x, want %#04x", f.d, -v, got, want|0x8000)
			}
		}
	}
}

// Figures from the formats' definitions, as a check on the formula above.
func TestHalfPrecisionLandmarks(t *testing.T) {
	for _, c := range []struct {
		d    Datatype
		h    uint16
		want string
	}{
		{FP16, 0x3c00, "1"}, {FP16, 0xc000, "-2"}, {FP16, 0x7bff, "65504"}, {FP16, 0x0001, "5.9604645e-08"},
		{FP16, 0x03ff, "6.097555e-05"}, {FP16, 0x0400, "6.1035156e-05"}, {FP16, 0x3555, "0.33325195"}, {FP16, 0x8000, "-0"},
		{BF16, 0x3f80, "1"}, {BF16, 0xc000, "-2"}, {BF16, 0x7f7f, "3.3895314e+38"}, {BF16, 0x0080, "1.1754944e-38"}, {BF16, 0x4049, "3.140625"},
	} {
		f := formats[0]
		if c.d == BF16 {
			f = formats[1]
		}
		if got := fmt.Sprint(f.from(c.h)); got != c.want {
			t.Errorf("%s %#04x = %s, want %s", c.d, c.h, got, c.want)
		}
	}
}

// Numbers of a JSON array become half precision by the same rounding, and are
// out of range where they would become infinite.
func TestHalfPrecisionFromText(t *testing.T) {
	for _, c := range []struct {
		d    Datatype
		text string
		want uint16
		ok   bool
	}{
		{FP16, "1.00048828125", 0x3c00, true}, // the middle of two
		{FP16, "1.0004882812501", 0x3c01, true},
		{FP16, "1.00146484375", 0x3c02, true},
		{FP16, "65519.99", 0x7bff, true},
		{FP16, "65520", 0, false},
		{FP16, "-1e5", 0, false},
		{FP16, "1e400", 0, false},
		{FP16, "2.9802322387695312e-8", 0, true}, // the middle of 0 and the smallest
		{FP16, "2.9802322387695316e-8", 1, true},
		{FP16, "-Infinity", 0xfc00, true},
		{BF16, "1.00390625", 0x3f80, true},
		{BF16, "1.00390625000001", 0x3f81, true}, // above the middle by less than float32 tells
		{BF16, "3.39e38", 0x7f7f, true},
		{BF16, "3.4e38", 0, false},
		{BF16, "Infinity", 0x7f80, true},
	} {
		b, ok := appendNumber(nil, []byte(c.text), c.d)
		if ok != c.ok || ok && uint16(word(b, 2)) != c.want {
			t.Errorf("%s of %s = %x, %t; want %#04x, %t", c.d, c.text, b, ok, c.want, c.ok)
		}
	}
}
