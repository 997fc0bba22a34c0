package profiler

import (
	"math"
	"slices"
)

// Change is a moment from which on runs took longer, or less long, at every
// size alike.
type Change struct {
	Run    int     // the first run after it, from 0 on
	Of     int     // runs in all
	Factor float64 // the median after it over that before
}

const (
	changeP     = 1e-3 // the chance to see one where there is none
	changeLeast = 0.05 // a smaller one is no matter
	changeRuns  = 20   // fewer tell nothing
)

// findChange looks for one in the runs' latencies relative to what is usual at
// their size, in the order in which they were made, by Pettitt's test (Applied
// Statistics 28, 1979): ranks alone count, so that a heavy tail is no change.
func findChange(relative []float64) (c Change, found bool) {
	n := len(relative)
	if n < changeRuns {
		return c, false
	}
	sum, most := 0.0, 0.0
	for i, r := range ranks(relative) {
		// U = 2·Σ ranks − t·(n + 1) is how far the first t runs rank off the middle.
		sum += 2*r - float64(n+1)
		if math.Abs(sum) > most {
			most, c.Run = math.Abs(sum), i+1
		}
	}
	f := float64(n)
	if 2*math.Exp(-6*most*most/(f*f*f+f*f)) > changeP {
		return c, false
	}
	c.Of = n
	c.Factor = medianOf(relative[c.Run:]) / medianOf(relative[:c.Run])
	return c, math.Abs(c.Factor-1) > changeLeast
}

// ranks are from 1 on; equals share their mean.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case values[a] < values[b]:
			return -1
		case values[a] > values[b]:
			return 1
		}
		return 0
	})
	out := make([]float64, len(values))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			out[k] = float64(i+j+1) / 2
		}
		i = j
	}
	return out
}
