package workload

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"motley/internal/mono"
)

// trace is the instants of a file, in s since its first.
type trace struct {
	at   []float64
	span float64 // of one round, the mean gap after the last instant included
}

func (t *trace) rate() float64 { return float64(len(t.at)) / t.span }

func parseTrace(name string, p *params, open Open) (*trace, error) {
	column, _ := p.text("column")
	if p.err != nil {
		return nil, p.err
	}
	t := &trace{}
	err := readFile(open, name, func(r io.Reader) error { return t.read(r, column) })
	return t, err
}

func (t *trace) read(r io.Reader, column string) error {
	var zero time.Time // of a file of dates
	var base float64   // of a file of seconds
	dated := false
	err := readColumn(r, column, func(line int, field string, first bool) error {
		seconds, err := strconv.ParseFloat(field, 64)
		switch {
		case err == nil && (first || !dated):
			if math.IsNaN(seconds) || math.Abs(seconds) > 1e12 {
				return fmt.Errorf("%q: must be a finite number of seconds", field)
			}
			if first {
				base = seconds
			}
			seconds -= base
		default:
			date, ok := parseDate(field)
			if !ok || !first && !dated {
				return fmt.Errorf("%q: must be seconds, or a date and time, as in the lines before", field)
			}
			if first {
				zero, dated = date, true
			}
			seconds = date.Sub(zero).Seconds()
		}
		if n := len(t.at); n > 0 && seconds < t.at[n-1] {
			return fmt.Errorf("%q: time runs backwards", field)
		}
		t.at = append(t.at, seconds)
		return nil
	})
	if err != nil {
		return err
	}
	n := len(t.at)
	if n < 2 || t.at[n-1] == 0 {
		return fmt.Errorf("%d instants: want at least two that differ", n)
	}
	t.span = t.at[n-1] * float64(n) / float64(n-1)
	return nil
}

var dateLayouts = [...]string{"2006-01-02 15:04:05", time.RFC3339, "2006-01-02T15:04:05"}

func parseDate(s string) (time.Time, bool) {
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// nextOfTrace walks the trace, stretched to the rate, over and over.
func (s *Source) nextOfTrace() mono.Time {
	t := s.a.trace
	at := s.lap*t.span + t.at[s.at]
	s.at++
	if s.at == len(t.at) {
		s.at = 0
		s.lap++
	}
	return instant(at * t.rate() / s.rate)
}

// readColumn calls each with one field of every line of a CSV file: of the
// column of that name in the first line, or of that number from 1 on; without
// one, of the first column. Without a name, a first line that each refuses is
// taken for a heading. Errors name line and field.
func readColumn(r io.Reader, column string, each func(line int, field string, first bool) error) error {
	in := newCSV(r)
	at, named := 0, false
	if column != "" {
		n, err := strconv.Atoi(column)
		switch {
		case err != nil:
			named = true
		case n < 1:
			return fmt.Errorf("column %d: they are numbered from 1", n)
		default:
			at = n - 1
		}
	}
	first := true
	for row := 0; ; row++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // it names the line
		}
		line, _ := in.FieldPos(0)
		if row == 0 {
			record[0] = strings.TrimPrefix(record[0], "\ufeff")
		}
		if row == 0 && named {
			if at = indexOf(record, column); at < 0 {
				return fmt.Errorf("line %d: there is no column %q, but %q", line, column, record)
			}
			continue
		}
		if at >= len(record) {
			return fmt.Errorf("line %d: column %d is missing", line, at+1)
		}
		if err := each(line, strings.TrimSpace(record[at]), first); err != nil {
			if row == 0 {
				continue
			}
			return fmt.Errorf("line %d, column %d: %w", line, at+1, err)
		}
		first = false
	}
}

func indexOf(record []string, name string) int {
	for i, f := range record {
		if strings.TrimSpace(f) == name {
			return i
		}
	}
	return -1
}
