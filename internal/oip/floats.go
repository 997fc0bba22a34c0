package oip

import (
	"math"
	"strconv"
)

// Floats appends the output's values, row by row, to dst, from JSON or binary
// alike; null and the words that servers write for what JSON lacks are NaN and
// the infinities. FP16, BF16 and FP64 are read as well, the last rounded, to an
// infinity beyond FP32's range. The error is an *Error with status 502: the
// output does not hold floats.
func (o *ResponseOutput) Floats(dst []float32) ([]float32, error) {
	switch o.Datatype {
	case FP16, BF16, FP32, FP64:
	default:
		return dst, errorf(statusBadGateway, "output %s has datatype %s, want floats", quoted(o.Name), o.Datatype)
	}
	if o.JSON == nil {
		for blob, size := o.Binary, o.Datatype.Size(); len(blob) >= size; blob = blob[size:] {
			f, _ := floatAt(blob, o.Datatype)
			dst = append(dst, float32(f))
		}
		return dst, nil
	}
	bits := 32
	if o.Datatype == FP64 {
		bits = 64
	}
	for i := 0; ; {
		start, end := nextElement(o.JSON, i)
		if start == end {
			return dst, nil
		}
		i = end
		if o.JSON[start] == 'n' {
			dst = append(dst, float32(math.NaN()))
			continue
		}
		f, _ := strconv.ParseFloat(text(o.JSON[start:end]), bits) // Parse has checked the form and the range
		dst = append(dst, float32(f))
	}
}
