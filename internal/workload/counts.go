package workload

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// counts is a number of requests per bin of time.
type counts struct {
	per     []float64
	total   float64
	bin     float64 // s
	uniform bool    // the number itself instead of a Poisson variable of that mean
}

func (c *counts) rate() float64 { return c.total / (float64(len(c.per)) * c.bin) }

func parseCounts(name string, p *params, open Open) (*counts, error) {
	row, _ := p.text("row")
	c := &counts{bin: p.seconds("bin", time.Minute, time.Millisecond)}
	switch within, ok := p.text("within"); {
	case within == "uniform":
		c.uniform = true
	case ok && within != "poisson":
		p.fail("within: %q: must be poisson or uniform", within)
	}
	if p.err != nil {
		return nil, p.err
	}
	err := readFile(open, name, func(r io.Reader) error { return c.read(r, row) })
	return c, err
}

// read sums the rows. A first line with a field that is no number is a
// heading, and its columns with a number for a name are the bins; without one
// every column is a bin.
func (c *counts) read(r io.Reader, row string) error {
	in := newCSV(r)
	var isBin []bool
	matched := 0
	for n := 0; ; n++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err // it names the line
		}
		line, _ := in.FieldPos(0)
		if isBin == nil {
			record[0] = strings.TrimPrefix(record[0], "\ufeff")
			heading := false
			for _, f := range record {
				_, err := strconv.Atoi(strings.TrimSpace(f))
				isBin = append(isBin, err == nil)
				heading = heading || err != nil
			}
			for _, is := range isBin {
				if is {
					c.per = append(c.per, 0)
				}
			}
			if len(c.per) == 0 {
				return fmt.Errorf("line %d: no column has a number for its name: there are no bins", line)
			}
			if heading {
				continue
			}
		}
		if len(record) != len(isBin) {
			return fmt.Errorf("line %d: %d fields: the first line has %d", line, len(record), len(isBin))
		}
		if row != "" && !mentions(record, isBin, row) {
			continue
		}
		matched++
		if err := c.add(record, isBin); err != nil {
			return fmt.Errorf("line %d, %w", line, err)
		}
	}
	if matched == 0 {
		return fmt.Errorf("no row of counts (row=%q)", row)
	}
	for _, v := range c.per {
		c.total += v
	}
	if c.total == 0 {
		return errors.New("all counts are 0")
	}
	return nil
}

// mentions reports whether a field beside the bins starts with text.
func mentions(record []string, isBin []bool, text string) bool {
	for i, f := range record {
		if !isBin[i] && strings.HasPrefix(strings.TrimSpace(f), text) {
			return true
		}
	}
	return false
}

func (c *counts) add(record []string, isBin []bool) error {
	at := 0
	for i, f := range record {
		if !isBin[i] {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil || !(v >= 0 && v <= 1e9) { // the negation catches NaN
			return fmt.Errorf("column %d: %q: must be a count that is not negative, at most 1e9", i+1, f)
		}
		c.per[at] += v
		at++
	}
	return nil
}

// nextOfCounts moves to the next request, through empty bins where there are
// any.
func (s *Source) nextOfCounts() {
	c := s.a.count
	scale := s.rate / c.rate()
	if c.uniform {
		for s.left == 0 {
			s.nextBin()
			// The fraction is rounded by lot, so that the mean is kept.
			s.left = int(math.Floor(c.per[s.at]*scale + s.rng.Float64()))
		}
		// The first of n points that are uniform in what is left of the bin.
		s.now += (s.end - s.now) * -math.Expm1(math.Log1p(-s.rng.Float64())/float64(s.left))
		s.left--
		return
	}
	need := s.rng.ExpFloat64() // a Poisson process of rate 1 through the integral of the rate
	for {
		if s.at >= 0 {
			if rate := c.per[s.at] * scale / c.bin; need <= (s.end-s.now)*rate {
				s.now += need / rate
				return
			} else {
				need -= (s.end - s.now) * rate
			}
		}
		s.nextBin()
	}
}

func (s *Source) nextBin() {
	s.at++
	if s.at == len(s.a.count.per) {
		s.at = 0
		s.lap++
	}
	// From the number of the bin, so that rounding does not pile up.
	k := s.lap*float64(len(s.a.count.per)) + float64(s.at)
	s.now, s.end = k*s.a.count.bin, (k+1)*s.a.count.bin
}
