package device

import (
	"encoding/json"
	"fmt"
	"math"
)

// Number is a reading that a way of knowing may be unable to give. The zero
// value is unknown, and left out of JSON where the field says omitzero.
type Number struct {
	Value float64
	Known bool
}

// Of returns a known reading; NaN and infinities are unknown.
func Of(v float64) Number {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Number{}
	}
	return Number{Value: v, Known: true}
}

// Or returns the reading, or other when it is unknown.
func (n Number) Or(other float64) float64 {
	if n.Known {
		return n.Value
	}
	return other
}

// Over returns n ÷ m; unknown when either is, or m is not positive.
func (n Number) Over(m Number) Number {
	if !n.Known || !m.Known || m.Value <= 0 {
		return Number{}
	}
	return Of(n.Value / m.Value)
}

// MarshalJSON writes the number, or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if !n.Known {
		return []byte("null"), nil
	}
	return json.Marshal(n.Value)
}

// UnmarshalJSON reads a number, or null as unknown.
func (n *Number) UnmarshalJSON(data []byte) error {
	*n = Number{}
	if string(data) == "null" {
		return nil
	}
	var v float64
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("cannot read a number: %w", err)
	}
	*n = Of(v)
	return nil
}
