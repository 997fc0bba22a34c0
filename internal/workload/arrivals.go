package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"motley/internal/mono"
)

// Arrivals is a law of when requests come, at a mean rate that is chosen when
// it starts. It does not change once it is parsed.
type Arrivals struct {
	spec  string
	law   law
	shape shape   // for varying
	trace *trace  // for traced
	count *counts // for counted
}

type law uint8

const (
	exponential law = iota
	poissonMS
	constant
	varying
	traced
	counted
)

// ParseArrivals reads a law of arrivals. Durations are written 90s, 5m.
//
//	exponential        gaps of a Poisson process
//	poisson-ms         gaps of whole milliseconds, Poisson-distributed with mean 1000/rate: what DeepRecSys,
//	                   RIBBON and KAIROS draw. Not a Poisson process: the gaps' CV is 1/√mean.
//	constant           equal gaps
//	step:from=60s,factor=2[,to=120s]    Poisson; the rate is multiplied by factor from one instant to another
//	                   (for good without to). The rate asked for is the one before the step.
//	sine:period=60s,depth=0.5           Poisson; the rate swings by ±depth (0…1) around the mean
//	burst:every=30s,for=3s,factor=4     Poisson; the rate is factor times as high for the first part of every
//	                   period as for the rest. The mean is the rate asked for.
//	trace:FILE[,column=NAME|NUMBER]     the instants of a file, one per line or in a CSV column: seconds, or
//	                   dates and times (2023-11-16 18:15:46.68). At a rate, the gaps are stretched to it.
//	counts:FILE[,row=TEXT][,bin=60s][,within=poisson|uniform]
//	                   a CSV file of requests per bin; of several rows the sum, or those that have the text (or
//	                   start of one) in a field. At a rate, the counts are scaled to it and the bins keep their length.
//
// Traces and counts begin again when they are over. Errors name file, line
// and field.
func ParseArrivals(spec string, open Open) (*Arrivals, error) {
	a, err := parseArrivals(spec, open)
	if err != nil {
		return nil, fmt.Errorf("cannot use arrivals %q: %w", spec, err)
	}
	return a, nil
}

func parseArrivals(spec string, open Open) (*Arrivals, error) {
	kind, first, p, err := splitSpec(spec)
	if err != nil {
		return nil, err
	}
	a := &Arrivals{spec: spec}
	isFile := false
	switch kind {
	case "exponential":
	case "poisson-ms":
		a.law = poissonMS
	case "constant":
		a.law = constant
	case "step", "sine", "burst":
		a.law = varying
		a.shape = parseShape(kind, p)
	case "trace":
		a.law, isFile = traced, true
		a.trace, err = parseTrace(first, p, open)
	case "counts":
		a.law, isFile = counted, true
		a.count, err = parseCounts(first, p, open)
	default:
		return nil, fmt.Errorf("unknown kind %q: want exponential, poisson-ms, constant, step, sine, burst, trace or counts", kind)
	}
	if err != nil {
		return nil, err
	}
	if first != "" && !isFile {
		return nil, fmt.Errorf("%q: want key=value", first)
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return a, nil
}

// String is the spec that the law was parsed from.
func (a *Arrivals) String() string { return a.spec }

// Rate is the mean rate that the law has by itself, in requests per second:
// that of a trace or of counts as they were recorded. 0: it has none.
func (a *Arrivals) Rate() float64 {
	switch a.law {
	case traced:
		return a.trace.rate()
	case counted:
		return a.count.rate()
	}
	return 0
}

// Stationary reports whether the rate is the same at all times, so that a
// short piece of a run tells of the rest.
func (a *Arrivals) Stationary() bool { return a.law <= constant }

// Source gives the instants of one run, one after the other.
type Source struct {
	a    *Arrivals
	rng  *rand.Rand
	rate float64 // per second
	now  float64 // s
	area float64 // varying: the integral of the shape up to now, in s
	at   int     // traced: the next line; counted: the bin
	lap  float64 // traced and counted: rounds done
	left int     // counted, uniform: requests to come in this bin
	end  float64 // counted: of this bin, in s
}

// Start begins a run at a mean rate, in requests per second. 0 leaves a law
// that has a rate of its own at that; for the others it is an error.
func (a *Arrivals) Start(rate float64, rng *rand.Rand) (*Source, error) {
	if rate == 0 {
		rate = a.Rate()
	}
	if !(rate > 0 && rate <= 1e9) { // the negation catches NaN
		return nil, fmt.Errorf("cannot start arrivals %q: rate %v: must be a positive number of requests per second, at most 1e9", a.spec, rate)
	}
	s := &Source{a: a, rng: rng, rate: rate, at: -1}
	if a.law == traced {
		s.at = 0
	}
	return s, nil
}

// Append adds the first n instants of a run at that rate (see Start) to dst.
func (a *Arrivals) Append(dst []mono.Time, n int, rate float64, rng *rand.Rand) ([]mono.Time, error) {
	s, err := a.Start(rate, rng)
	if err != nil {
		return dst, err
	}
	for range n {
		dst = append(dst, s.Next())
	}
	return dst, nil
}

// Next is the next instant; it never lies before the last one.
func (s *Source) Next() mono.Time {
	switch s.a.law {
	case exponential:
		s.now += s.rng.ExpFloat64() / s.rate
	case poissonMS:
		s.now += 1e-3 * float64(poisson(s.rng, 1000/s.rate))
		// Whole milliseconds stay exact in the sum of some million.
		return mono.Time(math.Round(s.now*1e3)) * mono.Time(time.Millisecond)
	case constant:
		s.now += 1 / s.rate
	case varying:
		s.area += s.rng.ExpFloat64() / s.rate
		s.now = s.a.shape.when(s.area)
	case traced:
		return s.nextOfTrace()
	case counted:
		s.nextOfCounts()
	}
	return instant(s.now)
}

// instant turns seconds into an instant, to the nanosecond.
func instant(seconds float64) mono.Time {
	if ns := seconds * 1e9; ns < float64(mono.Never) {
		return mono.Time(ns)
	}
	return mono.Never
}

// poisson draws from the Poisson law: by multiplication (Knuth) up to a mean
// of 30, and in pieces of that beyond, since a sum of independent Poisson
// variables is one.
func poisson(rng *rand.Rand, mean float64) int {
	n := 0
	for mean > 30 {
		if mean > 1e6 { // by the normal law: off by less than a thousandth of a deviation
			return n + max(0, int(math.Round(mean+math.Sqrt(mean)*rng.NormFloat64())))
		}
		n += poissonSmall(rng, 30)
		mean -= 30
	}
	return n + poissonSmall(rng, mean)
}

func poissonSmall(rng *rand.Rand, mean float64) int {
	limit, p, n := math.Exp(-mean), 1.0, -1
	for p > limit {
		p *= rng.Float64()
		n++
	}
	return max(n, 0)
}
