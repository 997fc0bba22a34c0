package exitstream

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxBytes bounds what is read, unpacked.
const maxBytes = 1 << 30

// Read reads a recording from CSV, which may be compressed by gzip; docs/exits.md
// says what the columns are. A line before the heading may say what the ramps
// cost:
//
//	# depths=0.15,0.34,… ramp_cost=0.004
//
// with one cost for all ramps or one for each. A recording has at least one row
// and at most 1 GiB. Errors say line and column.
func Read(r io.Reader) (*Stream, error) {
	s, err := unpack(r, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("cannot read recorded exits: %w", err)
	}
	return s, nil
}

// unpack reads at most so many bytes of what may be compressed.
func unpack(r io.Reader, most int64) (*Stream, error) {
	in := bufio.NewReader(r)
	limited := &io.LimitedReader{R: in, N: most + 1}
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		limited.R = z
	}
	s, err := read(bufio.NewReader(limited))
	switch {
	case limited.N == 0:
		return nil, fmt.Errorf("has more than %d bytes", most)
	case err != nil:
		return nil, err
	case len(s.Rows) == 0:
		return nil, errors.New("has no rows")
	}
	return s, nil
}

func read(r *bufio.Reader) (*Stream, error) {
	s := &Stream{}
	if mark, err := r.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = r.Discard(len(mark))
	}
	remarks, err := s.readRemarks(r)
	if err != nil {
		return nil, err
	}
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: want a heading with i, conf0, …, agree0, …", remarks+1)
	}
	if err != nil {
		return nil, shifted(err, remarks)
	}
	cols, err := findColumns(header)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", remarks+1, err)
	}
	s.Ramps = cols.ramps
	if s.Depth != nil && len(s.Depth) != s.Ramps || len(s.RampCost) > 1 && len(s.RampCost) != s.Ramps {
		return nil, fmt.Errorf("line %d: %d depths and %d ramp costs for %d ramps", remarks+1, len(s.Depth), len(s.RampCost), s.Ramps)
	}
	s.spreadCost()
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, shifted(err, remarks)
		}
		if err := cols.row(record, s); err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", remarks+line, err)
		}
	}
}

// readRemarks takes the lines off r that begin with # and counts them.
func (s *Stream) readRemarks(r *bufio.Reader) (lines int, err error) {
	for {
		first, err := r.Peek(1)
		if err != nil && !errors.Is(err, io.EOF) {
			return lines, err
		}
		if len(first) == 0 || first[0] != '#' {
			return lines, nil // an empty file has no heading either, which is said there
		}
		line, err := r.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return lines, err
		}
		lines++
		if err := s.remark(line); err != nil {
			return lines, fmt.Errorf("line %d: %w", lines, err)
		}
	}
}

// remark reads the costs from a line before the heading; other words are
// somebody's remarks.
func (s *Stream) remark(line string) error {
	for _, word := range strings.Fields(strings.TrimPrefix(line, "#")) {
		key, list, _ := strings.Cut(word, "=")
		if key != "depths" && key != "ramp_cost" {
			continue
		}
		values, err := ParseNumbers(list)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if key == "depths" {
			s.Depth = values
		} else {
			s.RampCost = values
		}
	}
	return nil
}

// shifted names the line of a fault of the CSV form, counted with the lines before
// the heading.
func shifted(err error, remarks int) error {
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("line %d: %w", p.Line+remarks, p.Err)
	}
	return err
}
