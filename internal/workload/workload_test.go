package workload

import (
	"math"
	"testing"
)

// TestMixtureMoments compares with the moments of the authors' own draws.
func TestMixtureMoments(t *testing.T) {
	s, err := ParseSizes("kairos", nil)
	if err != nil {
		t.Fatal(err)
	}
	h := s.Histogram()
	if m, sd := h.Mean(), h.Deviation(); math.Abs(m-243.7) > 0.4 || math.Abs(sd-179.8) > 0.4 {
		t.Errorf("kairos: mean %.2f, deviation %.2f, want 243.7 and 179.8", m, sd)
	}
	for _, q := range []struct {
		q float64
		n int
	}{{0.1, 120}, {0.25, 150}, {0.5, 180}, {0.95, 610}, {0.99, 920}, {1, 1000}} {
		if got := h.Quantile(q.q); got != q.n {
			t.Errorf("kairos: quantile %v is %d, want %d", q.q, got, q.n)
		}
	}
}
