package chaos

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestTrend: a line is found, through noise and outliers; noise has none.
func TestTrend(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := func() float64 { return rng.NormFloat64() }
	for _, c := range []struct {
		name       string
		value      func(i int) float64
		start, end float64
		rises      bool
	}{
		{"flat", func(int) float64 { return 5 }, 5, 5, false},
		{"a line", func(i int) float64 { return float64(i) }, 0, 59, true},
		{"a line in noise", func(i int) float64 { return 100 + float64(i)/2 + noise() }, 100, 129.5, true},
		{"falls", func(i int) float64 { return 100 - float64(i) }, 100, 41, false},
		{"outliers", func(i int) float64 {
			if i%7 == 0 {
				return 1e6
			}
			return 10
		}, 10, 10, false},
		{"steep at the beginning", func(i int) float64 { return 100 * (1 - math.Exp(-float64(i)/2)) }, 100, 100, false},
	} {
		var v []float64
		for i := range 60 {
			v = append(v, c.value(i))
		}
		got := trend(v)
		if math.Abs(got.Start-c.start) > 2 || math.Abs(got.End-c.end) > 2 || got.rises(0.05, 1) != c.rises {
			t.Errorf("%s: %+v, rises %v", c.name, got, got.rises(0.05, 1))
		}
	}
}

// TestTrendOfNoise: of series without a trend one in a hundred looks as if it
// had one, or fewer.
func TestTrendOfNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const runs = 2000
	below := 0
	for range runs {
		v := make([]float64, 30)
		for i := range v {
			v[i] = math.Round(rng.NormFloat64() * 3) // with ties
		}
		if trend(v).P < 0.01 {
			below++
		}
	}
	if share := float64(below) / runs; share > 0.018 || share < 0.003 {
		t.Errorf("a share of %v has P < 0.01", share)
	}
}
