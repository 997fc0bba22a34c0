package exitstream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"motley/internal/earlyexit"
)

// columns says where what stands; −1 and nil where it is missing.
type columns struct {
	ramps                                    int
	index, segment, label, final, confidence int
	conf, agree, pred, margin, entropy       []int // by ramp

	last uint64 // column i of the row before
}

// maxClass bounds the classes that a file may name.
const maxClass = 1<<24 - 1

func findColumns(header []string) (*columns, error) {
	c := &columns{index: -1, segment: -1, label: -1, final: -1, confidence: -1}
	single := map[string]*int{
		"i": &c.index, "segment": &c.segment, "label": &c.label, "final_pred": &c.final, "final_conf": &c.confidence,
	}
	lists := map[string]*[]int{
		"conf": &c.conf, "agree": &c.agree, "pred": &c.pred, "margin": &c.margin, "entropy": &c.entropy,
	}
	for at, name := range header {
		if p := single[name]; p != nil {
			if *p >= 0 {
				return nil, fmt.Errorf("column %s is there twice", name)
			}
			*p = at
			continue
		}
		family := strings.TrimRight(name, "0123456789")
		ramp, err := strconv.Atoi(name[len(family):])
		list := lists[family]
		if list == nil || err != nil || strconv.Itoa(ramp) != name[len(family):] {
			return nil, fmt.Errorf("column %d: unknown column %.40q; there are %s and, with the ramp's number, %s",
				at+1, name, strings.Join(perRow, ", "), strings.Join(perRamp, ", "))
		}
		if ramp >= earlyexit.MaxRamps {
			return nil, fmt.Errorf("column %s: at most %d ramps", name, earlyexit.MaxRamps)
		}
		for len(*list) <= ramp {
			*list = append(*list, -1)
		}
		if (*list)[ramp] >= 0 {
			return nil, fmt.Errorf("column %s is there twice", name)
		}
		(*list)[ramp] = at
	}
	return c, c.complete()
}

// complete sees to it that every ramp has what it needs.
func (c *columns) complete() error {
	if c.index < 0 {
		return errors.New("column i is missing")
	}
	c.ramps = max(len(c.conf), len(c.agree), len(c.pred), len(c.margin), len(c.entropy), 1)
	for _, f := range []struct {
		name     string
		at       []int
		required bool
	}{{"conf", c.conf, true}, {"agree", c.agree, true}, {"pred", c.pred, false}, {"margin", c.margin, false}, {"entropy", c.entropy, false}} {
		if len(f.at) == 0 && !f.required {
			continue
		}
		for ramp := range c.ramps {
			if ramp >= len(f.at) || f.at[ramp] < 0 {
				return fmt.Errorf("column %s%d is missing", f.name, ramp)
			}
		}
	}
	return nil
}

// row reads a line into the stream.
func (c *columns) row(record []string, s *Stream) error {
	o := earlyexit.Outcome{
		Seq: uint64(len(s.Rows)), Signals: make([]earlyexit.Signal, c.ramps), Exit: -1, Audit: 1, Ran: true, Class: -1,
	}
	n, err := strconv.ParseUint(record[c.index], 10, 64)
	if err != nil || len(s.Rows) > 0 && n <= c.last {
		return fmt.Errorf("column i: %.40q: want a whole number, above that of the row before", record[c.index])
	}
	c.last = n
	if err := c.kind(record, s); err != nil {
		return err
	}
	if c.label >= 0 {
		label := int32(-1)
		if err := class(record, "label", c.label, &label); err != nil {
			return err
		}
		s.Labels = append(s.Labels, label)
	}
	if err := class(record, "final_pred", c.final, &o.Class); err != nil {
		return err
	}
	if c.confidence >= 0 {
		sure := float32(0)
		if err := share(record, "final_conf", c.confidence, &sure); err != nil {
			return err
		}
		s.Final = append(s.Final, sure)
	}
	for ramp := range o.Signals {
		if err := c.ramp(record, ramp, &o); err != nil {
			return err
		}
	}
	s.Rows = append(s.Rows, o)
	return nil
}

// kind begins a segment where its name is another than in the row before.
func (c *columns) kind(record []string, s *Stream) error {
	name := "all"
	if c.segment >= 0 {
		name = record[c.segment]
		if name == "" || len(name) > 100 || strings.ContainsAny(name, ",\"\r\n") {
			return fmt.Errorf("column segment: %.120q: want a name of 1 to 100 bytes, without commas, quotes and line ends", name)
		}
	}
	if n := len(s.Segments); n == 0 || s.Segments[n-1].Name != name {
		s.Segments = append(s.Segments, Segment{strings.Clone(name), len(s.Rows)}) // the record's memory is used again
	}
	return nil
}

// ramp reads what one ramp said. Its class is known only where the file has
// it: one made of agree would tell controllers what they are to find out.
func (c *columns) ramp(record []string, ramp int, o *earlyexit.Outcome) error {
	g := &o.Signals[ramp]
	*g = earlyexit.Unseen
	n := strconv.Itoa(ramp)
	if err := share(record, "conf"+n, c.conf[ramp], &g.Confidence); err != nil {
		return err
	}
	for _, p := range []struct {
		name string
		at   []int
		to   *float32
	}{{"margin", c.margin, &g.Margin}, {"entropy", c.entropy, &g.Entropy}} {
		if p.at == nil {
			continue
		}
		if err := share(record, p.name+n, p.at[ramp], p.to); err != nil {
			return err
		}
	}
	agrees := false
	switch text := record[c.agree[ramp]]; text {
	case "0":
	case "1":
		agrees = true
		o.Agree |= 1 << ramp
	default:
		return fmt.Errorf("column agree%s: %.40q: want 0 or 1", n, text)
	}
	if c.pred == nil {
		return nil
	}
	if err := class(record, "pred"+n, c.pred[ramp], &g.Class); err != nil {
		return err
	}
	if c.final >= 0 && agrees != (g.Class == o.Class) {
		return fmt.Errorf("column agree%s: %s, but pred%s is %d and final_pred %d", n, record[c.agree[ramp]], n, g.Class, o.Class)
	}
	return nil
}

// perRow and perRamp are the names of columns, in the order that they are written in.
var (
	perRow  = []string{"i", "segment", "label", "final_pred", "final_conf"}
	perRamp = []string{"conf", "agree", "pred", "margin", "entropy"}
)

// class reads a class, where the column is there.
func class(record []string, name string, at int, to *int32) error {
	if at < 0 {
		return nil
	}
	v, err := strconv.ParseUint(record[at], 10, 32)
	if err != nil || v > maxClass {
		return fmt.Errorf("column %s: %.40q: want a class, 0 to %d", name, record[at], maxClass)
	}
	*to = int32(v)
	return nil
}

// share reads a number from 0 to 1, where the column is there.
func share(record []string, name string, at int, to *float32) error {
	if at < 0 {
		return nil
	}
	v, err := strconv.ParseFloat(record[at], 32)
	if err != nil || !(v >= 0 && v <= 1) {
		return fmt.Errorf("column %s: %.40q: want a number from 0 to 1", name, record[at])
	}
	*to = float32(v)
	return nil
}
