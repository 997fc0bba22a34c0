// Package workload says when requests come and how many items each carries:
// arrival processes, traces and size laws, each drawn from a random stream of
// its own. It is pure: a file comes through a function that the caller gives,
// and the same seed gives the same requests.
package workload

import (
	"encoding/csv"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Stream returns the random stream of that name under a seed. Streams of
// different names are independent, so that drawing more from one (sizes, say)
// leaves the others (arrivals) as they were.
func Stream(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name) // a hash's Write never fails
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// Open gives the content of a file that a spec names. The caller closes over
// what it may read.
type Open func(name string) (io.ReadCloser, error)

// readFile hands the named file to read and puts its name before any error.
func readFile(open Open, name string, read func(io.Reader) error) error {
	if name == "" {
		return errors.New("no file is named")
	}
	if open == nil {
		return fmt.Errorf("%s: files cannot be read here", name)
	}
	f, err := open(name)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", name, err)
	}
	err = read(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// newCSV reads lines of any length, # starting a comment.
func newCSV(r io.Reader) *csv.Reader {
	in := csv.NewReader(r)
	in.Comment = '#'
	in.FieldsPerRecord = -1
	in.ReuseRecord = true
	in.TrimLeadingSpace = true
	return in
}

// params are the key=value parts of a spec. Each is taken at most once; what
// is left over at the end is an error.
type params struct {
	keys, values []string
	err          error // the first
}

// splitSpec takes "kind:first,key=value,…" apart. first is the leading part
// without a key, if there is one.
func splitSpec(spec string) (kind, first string, p *params, err error) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(spec), ":")
	p = &params{}
	if rest == "" {
		return kind, "", p, nil
	}
	for i, part := range strings.Split(rest, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			if i > 0 {
				return "", "", nil, fmt.Errorf("%q: want key=value", part)
			}
			first = key
			continue
		}
		for _, k := range p.keys {
			if k == key {
				return "", "", nil, fmt.Errorf("%s: given twice", key)
			}
		}
		p.keys, p.values = append(p.keys, key), append(p.values, value)
	}
	return kind, first, p, nil
}

// text takes a parameter out.
func (p *params) text(key string) (string, bool) {
	for i, k := range p.keys {
		if k == key {
			v := p.values[i]
			p.keys = append(p.keys[:i], p.keys[i+1:]...)
			p.values = append(p.values[:i], p.values[i+1:]...)
			return v, true
		}
	}
	return "", false
}

func (p *params) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// number takes a finite number between low and high out.
func (p *params) number(key string, def, low, high float64) float64 {
	s, ok := p.text(key)
	if !ok {
		return def
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= low && v <= high) { // the negation catches NaN
		p.fail("%s: %q: must be a number from %g to %g", key, s, low, high)
		return def
	}
	return v
}

// required is number for a key that has no default.
func (p *params) required(key string, low, high float64) float64 {
	v := p.number(key, math.NaN(), low, high)
	if math.IsNaN(v) {
		p.fail("%s: missing", key)
	}
	return v
}

// whole takes a whole number out.
func (p *params) whole(key string, def, low, high int) int {
	s, ok := p.text(key)
	if !ok {
		return def
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < low || v > high {
		p.fail("%s: %q: must be a whole number from %d to %d", key, s, low, high)
		return def
	}
	return v
}

// seconds takes a duration out, such as 90s or 5m.
func (p *params) seconds(key string, def, low time.Duration) float64 {
	s, ok := p.text(key)
	if !ok {
		return def.Seconds()
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < low {
		p.fail("%s: %q: must be a duration of at least %v", key, s, low)
		return def.Seconds()
	}
	return v.Seconds()
}

// end is the first thing that was wrong, unknown keys included.
func (p *params) end() error {
	if p.err == nil && len(p.keys) > 0 {
		p.fail("%s: no such parameter here", p.keys[0])
	}
	return p.err
}
