package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// Cell is what was measured of one model on one instance type at one batch
// size: the samples of the service time.
type Cell struct {
	Model, InstanceType string
	Batch               int // items
	Took                []time.Duration
}

// longestSampleMS bounds a sample in a file: an hour.
const longestSampleMS = 3.6e6

// ReadSamples reads measured service times, one JSON object per line, in
// either published form:
//
//	{"model", "instance_type", "batch", "compute_ms": […], "load_ms": […]}   (KAIROS)
//	{"model", "instance_type", "batch", "latency_ms": […]}                   (RIBBON)
//
// In KAIROS's form a sample is compute + load, and the single largest of each
// line is dropped as a warm-up, as its authors do; in RIBBON's it has been
// dropped already. Errors begin with name, then say line and field.
func ReadSamples(name string, r io.Reader) ([]Cell, error) {
	type key struct {
		model, instanceType string
		batch               int
	}
	firstAt := map[key]int{}
	var cells []Cell
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 64<<10), 16<<20)
	for line := 1; in.Scan(); line++ {
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		c, err := parseCell(in.Bytes())
		if err != nil {
			return nil, fmt.Errorf("cannot read samples: %s: line %d: %w", name, line, err)
		}
		k := key{c.Model, c.InstanceType, c.Batch}
		if first := firstAt[k]; first > 0 {
			return nil, fmt.Errorf("cannot read samples: %s: line %d: batch: %d of %s on %s is already on line %d",
				name, line, c.Batch, c.Model, c.InstanceType, first)
		}
		firstAt[k] = line
		cells = append(cells, c)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("cannot read samples: %s: %w", name, err)
	}
	return cells, nil
}

func parseCell(line []byte) (Cell, error) {
	var in struct {
		Model        string    `json:"model"`
		InstanceType string    `json:"instance_type"`
		Batch        int       `json:"batch"`
		Compute      []float64 `json:"compute_ms"`
		Load         []float64 `json:"load_ms"`
		Latency      []float64 `json:"latency_ms"`
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return Cell{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Cell{}, errors.New("more than one object on the line")
	}
	c := Cell{Model: in.Model, InstanceType: in.InstanceType, Batch: in.Batch}
	switch {
	case in.Model == "":
		return c, errors.New("model: must not be empty")
	case in.InstanceType == "":
		return c, errors.New("instance_type: must not be empty")
	case in.Batch < 1:
		return c, fmt.Errorf("batch: %d: must be at least 1", in.Batch)
	}
	if len(in.Latency) > 0 {
		if len(in.Compute)+len(in.Load) > 0 {
			return c, errors.New("latency_ms: stands beside compute_ms or load_ms")
		}
		return c, c.add("latency_ms", in.Latency)
	}
	switch {
	case len(in.Compute) == 0:
		return c, errors.New("compute_ms, latency_ms: no samples in either")
	case len(in.Load) != len(in.Compute):
		return c, fmt.Errorf("load_ms: %d samples, compute_ms has %d", len(in.Load), len(in.Compute))
	case len(in.Compute) < 2:
		return c, errors.New("compute_ms: one sample, and the largest is dropped: want two or more")
	}
	if err := c.add("compute_ms", in.Compute); err != nil {
		return c, err
	}
	if err := (&Cell{}).add("load_ms", in.Load); err != nil {
		return c, err
	}
	for i, ms := range in.Load {
		c.Took[i] += toTook(ms)
	}
	largest := 0
	for i, d := range c.Took {
		if d > c.Took[largest] {
			largest = i
		}
	}
	c.Took = slices.Delete(c.Took, largest, largest+1)
	return c, nil
}

func (c *Cell) add(field string, ms []float64) error {
	for i, v := range ms {
		if !(v >= 0 && v <= longestSampleMS) { // the negation catches NaN
			return fmt.Errorf("%s: sample %d: %v: must be milliseconds that are not negative, at most an hour's", field, i+1, v)
		}
		c.Took = append(c.Took, toTook(v))
	}
	return nil
}

func toTook(ms float64) time.Duration { return time.Duration(math.Round(ms * 1e6)) }
