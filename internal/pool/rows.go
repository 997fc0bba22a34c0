package pool

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Row is one measured latency of a profile file.
type Row struct {
	Model        string
	InstanceType string
	Point
}

// The columns of a profile file.
var rowColumns = [...]string{"model", "instance_type", "batch", "mean_ms", "p99_ms"}

// maxRowMS bounds a latency in a file: an hour.
const maxRowMS = 3.6e6

// ReadProfiles reads measured latencies from CSV. The first line names the
// columns: model, instance_type, batch (items), mean_ms and p99_ms
// (milliseconds; p99_ms may be empty or 0 where it was not measured), in any
// order; others are ignored, and so are lines that start with #. Errors name
// line and field. A (model, instance type, batch) that comes twice is an
// error.
func ReadProfiles(r io.Reader) ([]Row, error) {
	in := csv.NewReader(r)
	in.Comment = '#'
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("no header line")
		}
		return nil, fmt.Errorf("cannot read profiles: %w", err)
	}
	column, err := findColumns(header)
	if err != nil {
		return nil, fmt.Errorf("cannot read profiles: %w", err)
	}
	type key struct {
		model, instanceType string
		batch               int
	}
	firstAt := map[key]int{}
	var rows []Row
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read profiles: %w", err)
		}
		line, _ := in.FieldPos(0)
		row, err := parseRow(record, column)
		if err != nil {
			return nil, fmt.Errorf("cannot read profiles: line %d: %w", line, err)
		}
		k := key{row.Model, row.InstanceType, row.Batch}
		if first := firstAt[k]; first > 0 {
			return nil, fmt.Errorf("cannot read profiles: line %d: batch: %d of %s on %s is already on line %d",
				line, row.Batch, row.Model, row.InstanceType, first)
		}
		firstAt[k] = line
		rows = append(rows, row)
	}
}

// findColumns returns the position of each of rowColumns.
func findColumns(header []string) ([len(rowColumns)]int, error) {
	var at [len(rowColumns)]int
	for i, want := range rowColumns {
		at[i] = -1
		for j, have := range header {
			have = strings.TrimSpace(strings.TrimPrefix(have, "\ufeff"))
			if have != want {
				continue
			}
			if at[i] >= 0 {
				return at, fmt.Errorf("column %s is there twice", want)
			}
			at[i] = j
		}
		if at[i] < 0 {
			return at, fmt.Errorf("column %s is missing; there is %q", want, header)
		}
	}
	return at, nil
}

func parseRow(record []string, column [len(rowColumns)]int) (Row, error) {
	// Names are cloned: the record's memory is reused and shared.
	field := func(i int) string { return strings.Clone(strings.TrimSpace(record[column[i]])) }
	row := Row{Model: field(0), InstanceType: field(1)}
	if row.Model == "" {
		return row, errors.New("model: must not be empty")
	}
	if row.InstanceType == "" {
		return row, errors.New("instance_type: must not be empty")
	}
	var err error
	if row.Batch, err = strconv.Atoi(field(2)); err != nil || row.Batch < 1 {
		return row, fmt.Errorf("batch: %q: must be a whole number of at least 1", field(2))
	}
	if row.Mean, err = parseMS(field(3)); err != nil || row.Mean <= 0 {
		return row, fmt.Errorf("mean_ms: %q: must be a positive number of milliseconds, at most an hour's", field(3))
	}
	if field(4) == "" {
		return row, nil
	}
	if row.P99, err = parseMS(field(4)); err != nil {
		return row, fmt.Errorf("p99_ms: %q: must be a number of milliseconds that is not negative, at most an hour's", field(4))
	}
	return row, nil
}

func parseMS(s string) (time.Duration, error) {
	ms, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, err
	}
	if !(ms >= 0 && ms <= maxRowMS) { // the negation catches NaN
		return 0, errors.New("out of range")
	}
	return time.Duration(math.Round(ms * 1e6)), nil
}
