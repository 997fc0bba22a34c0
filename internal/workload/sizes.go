package workload

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// MaxSize is the largest request that a size law gives, in items.
const MaxSize = 1 << 20

// defaultMax is where laws with an endless tail are cut if nothing is said.
const defaultMax = 1 << 16

// Histogram is a law of request sizes: Sizes rise, and P[i] > 0 is the
// probability of Sizes[i].
type Histogram struct {
	Sizes []int // items
	P     []float64
}

// Mean is the mean size.
func (h Histogram) Mean() float64 {
	sum := 0.0
	for i, n := range h.Sizes {
		sum += float64(n) * h.P[i]
	}
	return sum
}

// Deviation is the standard deviation of the size.
func (h Histogram) Deviation() float64 {
	mean, sum := h.Mean(), 0.0
	for i, n := range h.Sizes {
		d := float64(n) - mean
		sum += d * d * h.P[i]
	}
	return math.Sqrt(sum)
}

// Quantile is the smallest size that a share q of the requests does not
// exceed.
func (h Histogram) Quantile(q float64) int {
	sum := 0.0
	for i, n := range h.Sizes {
		if sum += h.P[i]; sum >= q-1e-12 {
			return n
		}
	}
	return h.Sizes[len(h.Sizes)-1]
}

// Sizes draws request sizes from a histogram. All laws are discrete, since a
// size is a whole number; so the histogram behind one is exact and both a
// planner and a simulation see the same law. It does not change.
type Sizes struct {
	spec  string
	h     Histogram
	upTo  []float64 // cumulative
	guide []int32   // where in upTo to start for a draw in that part of 0…1
}

// NewSizes returns a law that draws from the histogram.
func NewSizes(h Histogram) (*Sizes, error) {
	if len(h.Sizes) == 0 || len(h.Sizes) != len(h.P) {
		return nil, fmt.Errorf("cannot use sizes: %d sizes with %d probabilities", len(h.Sizes), len(h.P))
	}
	t := tally{}
	for i, n := range h.Sizes {
		if n < 1 || n > MaxSize || !(h.P[i] >= 0) || math.IsInf(h.P[i], 1) {
			return nil, fmt.Errorf("cannot use sizes: size %d with probability %v: want 1 … %d with one that is not negative", n, h.P[i], MaxSize)
		}
		t.add(n, h.P[i])
	}
	return t.sizes("histogram")
}

// ParseSizes reads a law of request sizes.
//
//	kairos, ribbon                 the mixtures of KAIROS and RIBBON; rounded up to a multiple of 10, as both do
//	lognormal:mu=5.1,sigma=0.2     of the natural logarithm
//	normal:mean=165,sd=16
//	fixed:32
//	file:FILE[,column=NAME|NUMBER]          one size per line, or in a CSV column; all equally likely
//	histogram:FILE                          CSV lines of size,count
//
// Each takes round=N (up to a multiple of N; default 1, and 10 for the
// mixtures), min=N and max=N (where it is clipped; default 1 and 65,536). Errors
// name file, line and field.
func ParseSizes(spec string, open Open) (*Sizes, error) {
	s, err := parseSizes(spec, open)
	if err != nil {
		return nil, fmt.Errorf("cannot use sizes %q: %w", spec, err)
	}
	return s, nil
}

func parseSizes(spec string, open Open) (*Sizes, error) {
	kind, first, p, err := splitSpec(spec)
	if err != nil {
		return nil, err
	}
	round := 1
	if kind == "kairos" || kind == "ribbon" {
		round = 10
	}
	t := tally{round: p.whole("round", round, 1, MaxSize), low: p.whole("min", 1, 1, MaxSize), high: p.whole("max", defaultMax, 1, MaxSize)}
	if t.low > t.high {
		p.fail("min: must not be over max")
	}
	isArg := false
	switch kind {
	case "kairos":
		t.kairos()
	case "ribbon":
		t.ribbon()
	case "lognormal":
		mu, sigma := p.required("mu", -20, 20), p.required("sigma", 0, 10)
		if p.err == nil {
			t.continuous(1, func(x float64) float64 { return lognormalCDF(x, mu, sigma) })
		}
	case "normal":
		mean, sd := p.required("mean", -1e6, 1e6), p.required("sd", 0, 1e6)
		if p.err == nil {
			t.continuous(1, func(x float64) float64 { return normalCDF(x, mean, sd) })
		}
	case "fixed":
		isArg = true
		n, err := strconv.Atoi(first)
		if err != nil || n < 1 || n > MaxSize {
			return nil, fmt.Errorf("%q: must be a whole number from 1 to %d", first, MaxSize)
		}
		t.add(n, 1)
	case "file":
		isArg = true
		column, _ := p.text("column")
		err = readFile(open, first, func(r io.Reader) error { return t.readSizes(r, column) })
	case "histogram":
		isArg = true
		err = readFile(open, first, t.readHistogram)
	default:
		return nil, fmt.Errorf("unknown kind %q: want kairos, ribbon, lognormal, normal, fixed, file or histogram", kind)
	}
	if err != nil {
		return nil, err
	}
	if first != "" && !isArg {
		return nil, fmt.Errorf("%q: want key=value", first)
	}
	if err := p.end(); err != nil {
		return nil, err
	}
	return t.sizes(spec)
}

// readSizes counts one size per line.
func (t *tally) readSizes(r io.Reader, column string) error {
	return readColumn(r, column, func(_ int, field string, _ bool) error {
		n, err := parseSize(field)
		if err == nil {
			t.add(n, 1)
		}
		return err
	})
}

// readHistogram reads lines of size,count.
func (t *tally) readHistogram(r io.Reader) error {
	in := newCSV(r)
	for row := 0; ; row++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // it names the line
		}
		line, _ := in.FieldPos(0)
		if len(record) != 2 {
			return fmt.Errorf("line %d: %d fields: want size,count", line, len(record))
		}
		if row == 0 {
			if _, err := strconv.ParseFloat(strings.TrimSpace(record[1]), 64); err != nil {
				continue // a heading
			}
		}
		n, err := parseSize(strings.TrimSpace(record[0]))
		if err != nil {
			return fmt.Errorf("line %d, size: %w", line, err)
		}
		count, err := strconv.ParseFloat(strings.TrimSpace(record[1]), 64)
		if err != nil || !(count >= 0 && count <= 1e15) { // the negation catches NaN
			return fmt.Errorf("line %d, count: %q: must be a number that is not negative, at most 1e15", line, record[1])
		}
		t.add(n, count)
	}
}

func parseSize(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxSize {
		return 0, fmt.Errorf("%q: must be a whole number of items from 1 to %d", s, MaxSize)
	}
	return n, nil
}

// String is the spec that the law was parsed from.
func (s *Sizes) String() string { return s.spec }

// Histogram is the law itself. The caller does not change it.
func (s *Sizes) Histogram() Histogram { return s.h }

// Largest is the largest size that is drawn.
func (s *Sizes) Largest() int { return s.h.Sizes[len(s.h.Sizes)-1] }

// Draw draws one size, in items. It takes exactly one number from rng and
// rises with it.
func (s *Sizes) Draw(rng *rand.Rand) int {
	u := rng.Float64()
	i := int(s.guide[int(u*float64(len(s.guide)))])
	for s.upTo[i] <= u {
		i++
	}
	return s.h.Sizes[i]
}

// sizes makes a law of what was tallied.
func (t *tally) sizes(spec string) (*Sizes, error) {
	total := 0.0
	slices.SortFunc(t.entries, func(a, b weighted) int { return a.size - b.size })
	for _, e := range t.entries {
		total += e.weight
	}
	if !(total > 0) || math.IsInf(total, 1) {
		return nil, errors.New("no sizes")
	}
	s := &Sizes{spec: spec}
	for _, e := range t.entries {
		p := e.weight / total
		if p == 0 {
			continue
		}
		if n := len(s.h.Sizes); n > 0 && s.h.Sizes[n-1] == e.size {
			s.h.P[n-1] += p
			continue
		}
		s.h.Sizes, s.h.P = append(s.h.Sizes, e.size), append(s.h.P, p)
	}
	sum := 0.0
	for _, p := range s.h.P {
		sum += p
		s.upTo = append(s.upTo, sum)
	}
	s.upTo[len(s.upTo)-1] = 1 // whatever rounding made of it: no draw reaches 1
	s.guide = make([]int32, len(s.upTo))
	at := int32(0)
	for k := range s.guide {
		for s.upTo[at] <= float64(k)/float64(len(s.guide)) {
			at++
		}
		s.guide[k] = at
	}
	return s, nil
}
