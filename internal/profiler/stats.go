package profiler

import (
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// Size is what the runs of one batch size say.
type Size struct {
	Batch   int           // items
	Count   int           // runs behind Mean
	Dropped int           // outliers: runs that Mean and Half leave out, and P99 does not
	Mean    time.Duration // of the runs that are no outliers
	Half    time.Duration // Mean ± Half is the 95 % interval of the mean, by Student's t; Mean itself where a single run tells nothing
	P99     time.Duration // of all runs; the largest where there are fewer than 100

	variance float64 // of a run, relative to Mean²; 0 for a single one
}

// Relative is Half as a share of Mean.
func (s Size) Relative() float64 { return float64(s.Half) / float64(s.Mean) }

// Rate is how many items a second batches of this size carry, one after the other.
func (s Size) Rate() float64 { return float64(s.Batch) / s.Mean.Seconds() }

const (
	// outlierMADs is how many scaled median absolute deviations from the median a
	// run may lie; leastMAD is the least that one counts for, as a share of the
	// median: timers are no better.
	outlierMADs = 5
	leastMAD    = 0.01
	// mostOutliers is the share of runs up to which those far off are outliers.
	// More of them are how the worker is.
	mostOutliers = 0.1
	confidence   = 0.95
)

// summarise makes a Size of runs, in ns. There must be one.
func summarise(batch int, took []float64) Size {
	sorted := slices.Sorted(slices.Values(took))
	kept := keep(sorted)
	mean, variance := moments(kept)
	half := mean
	if n := float64(len(kept)); n > 1 {
		half = student(n-1) * math.Sqrt(variance/n)
	}
	p99 := sorted[len(sorted)-1]
	if n := len(sorted); n >= 100 {
		p99 = sorted[int(math.Ceil(0.99*float64(n)))-1]
	}
	return Size{
		Batch: batch, Count: len(kept), Dropped: len(sorted) - len(kept),
		Mean: nanoseconds(mean), Half: time.Duration(math.Round(half)), P99: nanoseconds(p99), variance: variance / max(1, mean*mean),
	}
}

// nanoseconds is at least 1: a profile has no room for less.
func nanoseconds(ns float64) time.Duration { return max(1, time.Duration(math.Round(ns))) }

// keep returns the sorted values without outliers.
func keep(sorted []float64) []float64 {
	if len(sorted) < 5 {
		return sorted
	}
	middle := median(sorted)
	off := make([]float64, len(sorted))
	for i, v := range sorted {
		off[i] = math.Abs(v - middle)
	}
	slices.Sort(off)
	// 1.4826 makes the deviation that of a normal law.
	limit := outlierMADs * max(1.4826*median(off), leastMAD*middle)
	first, _ := slices.BinarySearch(sorted, middle-limit)
	end, _ := slices.BinarySearch(sorted, math.Nextafter(middle+limit, math.Inf(1)))
	if float64(len(sorted)-(end-first)) > mostOutliers*float64(len(sorted)) {
		return sorted
	}
	return sorted[first:end]
}

// median is of sorted values; there must be one.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// medianOf is of values in any order.
func medianOf(values []float64) float64 { return median(slices.Sorted(slices.Values(values))) }

// moments returns the mean and the variance, 0 of a single value.
func moments(values []float64) (mean, variance float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		variance += (v - mean) * (v - mean) / max(1, n-1)
	}
	return mean, variance
}

// student is the quantile of Student's t that makes the interval.
func student(freedom float64) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Quantile((1 + confidence) / 2)
}
