package chaos

import (
	"math"
	"slices"
)

// Trend is what a series of values, taken at equal distances, does over its
// length.
type Trend struct {
	Start, End float64 // of the line through it
	P          float64 // how likely a series without a trend looks at least as steep
}

// trend is Theil and Sen's line through the values, the median of the slopes of
// all pairs, and Mann and Kendall's test of the hypothesis that they do not rise
// or fall, by the normal approximation with ties (Hipel and McLeod, Time Series
// Modelling of Water Resources, 1994, section 23.3). It wants at least 8 values.
func trend(values []float64) Trend {
	n := len(values)
	if n < 8 {
		return Trend{P: 1}
	}
	var slopes []float64
	s := 0
	for i := range values {
		for j := i + 1; j < n; j++ {
			slopes = append(slopes, (values[j]-values[i])/float64(j-i))
			switch {
			case values[j] > values[i]:
				s++
			case values[j] < values[i]:
				s--
			}
		}
	}
	slope := median(slopes)
	rests := make([]float64, n)
	for i, v := range values {
		rests[i] = v - slope*float64(i)
	}
	start := median(rests)
	t := Trend{Start: start, End: start + slope*float64(n-1), P: 1}
	variance := float64(n * (n - 1) * (2*n + 5))
	for _, k := range ties(values) {
		variance -= float64(k * (k - 1) * (2*k + 5))
	}
	if variance /= 18; s != 0 && variance > 0 {
		z := math.Abs(float64(s)) - 1 // continuity
		t.P = math.Erfc(z / math.Sqrt(2*variance))
	}
	return t
}

// ties are the sizes of the groups of equal values.
func ties(values []float64) (sizes []int) {
	sorted := slices.Sorted(slices.Values(values))
	for i := 0; i < len(sorted); {
		k := i
		for k < len(sorted) && sorted[k] == sorted[i] {
			k++
		}
		sizes = append(sizes, k-i)
		i = k
	}
	return sizes
}

// median sorts the values.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

// rises tells whether a trend is more than chance, and more than a share of
// where it began and an amount allow.
func (t Trend) rises(share, amount float64) bool {
	return t.P < 0.01 && t.End-t.Start > max(share*math.Abs(t.Start), amount)
}
