package bench

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"motley/internal/earlyexit"
)

// mostClass bounds a class in a stream.
const mostClass = 1<<24 - 1

// ReadStream reads a recording from CSV, which may be compressed by gzip. The
// first line names the columns: i, conf0 … conf<R−1> and agree0 … agree<R−1>, and
// none, some or all of segment, label, final_pred, final_conf, pred0 …, margin0 …
// and entropy0 …, in any order. A line before it may say what the ramps cost:
//
//	# depths=0.15,0.34,… ramp_cost=0.004
//
// with one cost for all ramps or one for each. Rows are numbered by i, rising.
// Errors begin with name, then say line and column.
func ReadStream(name string, r io.Reader) (*Stream, error) {
	s, err := readStream(r)
	if err != nil {
		return nil, fmt.Errorf("cannot read the stream: %s: %w", name, err)
	}
	s.Name = streamName(name)
	return s, nil
}

func streamName(file string) string {
	base := file[strings.LastIndexByte(file, '/')+1:]
	return strings.TrimSuffix(strings.TrimSuffix(base, ".gz"), ".csv")
}

// loadStream reads a stream from a file.
func loadStream(name string) (*Stream, error) {
	var s *Stream
	err := withFile(name, func(r io.Reader) (err error) {
		s, err = ReadStream(name, r)
		return err
	})
	return s, err
}

func readStream(r io.Reader) (*Stream, error) {
	in := bufio.NewReader(r)
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = bufio.NewReader(z)
	}
	p := &streamParser{stream: &Stream{}}
	for { // the lines before the heading
		first, err := in.Peek(1)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if len(first) == 0 || first[0] != '#' {
			break
		}
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		p.skipped++
		if err := p.comment(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.skipped, err)
		}
	}
	c := csv.NewReader(in)
	c.ReuseRecord = true
	header, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: want a heading with i, conf0, …, agree0, …", p.skipped+1)
	}
	if err != nil {
		return nil, p.moved(err)
	}
	if err := p.heading(slices.Clone(header)); err != nil {
		return nil, fmt.Errorf("line %d: %w", p.skipped+1, err)
	}
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, p.moved(err)
		}
		if err := p.row(record); err != nil {
			line, _ := c.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line+p.skipped, err)
		}
	}
	if len(p.stream.Rows) == 0 {
		return nil, errors.New("no rows in it")
	}
	return p.stream, nil
}

type streamParser struct {
	stream  *Stream
	skipped int // lines before the heading
	columns []column
	names   []string
	last    int64 // the number of the row before
	segment string
	hasPred bool
}

// column says what a field is put into.
type column struct {
	kind string // the name without the ramp's number
	ramp int
}

// moved corrects the line in an error of the CSV reader, which did not see the
// lines before the heading.
func (p *streamParser) moved(err error) error {
	var e *csv.ParseError
	if errors.As(err, &e) {
		e.StartLine += p.skipped
		e.Line += p.skipped
	}
	return err
}

// comment reads the costs from a line before the heading; other words are
// somebody's remarks.
func (p *streamParser) comment(line string) error {
	for _, word := range strings.Fields(strings.TrimPrefix(line, "#")) {
		key, list, _ := strings.Cut(word, "=")
		if key != "depths" && key != "ramp_cost" {
			continue
		}
		values, err := parseNumbers(list)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if key == "depths" {
			p.stream.Depth = values
		} else {
			p.stream.RampCost = values
		}
	}
	return nil
}

// parseNumbers reads numbers between commas.
func parseNumbers(list string) ([]float64, error) {
	parts := strings.Split(list, ",")
	if len(parts) > earlyexit.MaxRamps {
		return nil, fmt.Errorf("%d numbers, at most %d ramps are supported", len(parts), earlyexit.MaxRamps)
	}
	values := make([]float64, len(parts))
	for i, part := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%q: want numbers between commas", list)
		}
		values[i] = v
	}
	return values, nil
}

var perRamp = []string{"conf", "agree", "pred", "margin", "entropy"}
var perRow = []string{"i", "segment", "label", "final_pred", "final_conf"}

// heading finds out what the columns are.
func (p *streamParser) heading(names []string) error {
	names[0] = strings.TrimPrefix(names[0], "\ufeff")
	p.names = names
	counts := map[string]int{}
	for at, name := range names {
		if slices.Contains(names[:at], name) {
			return fmt.Errorf("the column %s is there twice", name)
		}
		c, err := parseColumn(name)
		if err != nil {
			return err
		}
		p.columns = append(p.columns, c)
		counts[c.kind]++
	}
	ramps := counts["conf"]
	if counts["i"] == 0 || ramps == 0 || counts["agree"] == 0 {
		return fmt.Errorf("want the columns i, conf0, …, agree0, …; there is %q", names)
	}
	if ramps > earlyexit.MaxRamps {
		return fmt.Errorf("%d ramps, at most %d are supported", ramps, earlyexit.MaxRamps)
	}
	for _, kind := range perRamp {
		if n := counts[kind]; n != ramps && n != 0 {
			return fmt.Errorf("%d columns %s0, … for %d ramps", n, kind, ramps)
		}
	}
	for at, c := range p.columns {
		if c.ramp >= ramps {
			return fmt.Errorf("the column %s, with %d ramps", names[at], ramps)
		}
	}
	s := p.stream
	s.Ramps = ramps
	p.hasPred = counts["pred"] > 0 && counts["final_pred"] > 0
	if counts["label"] > 0 {
		s.Labels = []int32{}
	}
	if counts["final_conf"] > 0 {
		s.Final = []float32{}
	}
	if len(s.RampCost) > 1 && len(s.RampCost) != ramps || s.Depth != nil && len(s.Depth) != ramps {
		return fmt.Errorf("%d depths and %d ramp costs for %d ramps", len(s.Depth), len(s.RampCost), ramps)
	}
	return nil
}

func parseColumn(name string) (column, error) {
	if slices.Contains(perRow, name) {
		return column{kind: name}, nil
	}
	kind := strings.TrimRight(name, "0123456789")
	if digits := name[len(kind):]; slices.Contains(perRamp, kind) && digits != "" && len(digits) < 4 && (digits == "0" || digits[0] != '0') {
		ramp, err := strconv.Atoi(digits)
		return column{kind, ramp}, err
	}
	return column{}, fmt.Errorf("unknown column %q; there are %s and, with the ramp's number, %s", name, strings.Join(perRow, ", "), strings.Join(perRamp, ", "))
}

// row reads one record.
func (p *streamParser) row(record []string) error {
	s := p.stream
	o := earlyexit.Outcome{Seq: uint64(len(s.Rows)), Signals: make([]earlyexit.Signal, s.Ramps), Exit: -1, Audit: 1, Ran: true, Class: -1}
	for r := range o.Signals {
		o.Signals[r] = earlyexit.Unseen
	}
	for at, c := range p.columns {
		if err := p.field(&o, c, record[at]); err != nil {
			return fmt.Errorf("column %s: %q: %w", p.names[at], record[at], err)
		}
	}
	if len(s.Segments) == 0 {
		if p.segment == "" {
			p.segment = "all"
		}
		s.Segments = append(s.Segments, Segment{Name: p.segment})
	} else if last := s.Segments[len(s.Segments)-1].Name; p.segment != last {
		s.Segments = append(s.Segments, Segment{Name: p.segment, From: len(s.Rows)})
	}
	if p.hasPred {
		for r, g := range o.Signals {
			if same := g.Class == o.Class; same != (o.Agree>>r&1 == 1) {
				return fmt.Errorf("column agree%d: %d, but pred%d is %d and final_pred %d", r, o.Agree>>r&1, r, g.Class, o.Class)
			}
		}
	}
	s.Rows = append(s.Rows, o)
	return nil
}

func (p *streamParser) field(o *earlyexit.Outcome, c column, text string) error {
	s := p.stream
	switch c.kind {
	case "i":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || len(s.Rows) > 0 && n <= p.last {
			return errors.New("must be a whole number, more than in the row before")
		}
		p.last = n
	case "segment":
		if text == "" || len(text) > 100 || strings.ContainsAny(text, ",\"\r\n") {
			return errors.New("must be a name of 1 to 100 bytes, without commas, quotes and line ends")
		}
		p.segment = strings.Clone(text) // the record's memory is used again
	case "label", "final_pred", "pred":
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 || n > mostClass {
			return fmt.Errorf("must be a class, from 0 to %d", mostClass)
		}
		switch c.kind {
		case "label":
			s.Labels = append(s.Labels, int32(n))
		case "final_pred":
			o.Class = int32(n)
		default:
			o.Signals[c.ramp].Class = int32(n)
		}
	case "agree":
		switch text {
		case "1":
			o.Agree |= 1 << c.ramp
		case "0":
		default:
			return errors.New("must be 0 or 1")
		}
	default:
		v, err := strconv.ParseFloat(text, 32)
		if err != nil || !(v >= 0 && v <= 1) { // the negation catches NaN
			return errors.New("must be a number from 0 to 1")
		}
		switch f := float32(v); c.kind {
		case "conf":
			o.Signals[c.ramp].Confidence = f
		case "margin":
			o.Signals[c.ramp].Margin = f
		case "entropy":
			o.Signals[c.ramp].Entropy = f
		case "final_conf":
			s.Final = append(s.Final, f)
		}
	}
	return nil
}
