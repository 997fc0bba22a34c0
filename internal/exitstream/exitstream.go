// Package exitstream reads what the exits of a model said, request by request:
// a CSV file with one line for each. Controllers are replayed over such files
// and start from them.
//
// The columns, in any order, with a number for the ramp from 0:
//
//	i                    a number that rises from line to line
//	conf0 …              how sure the ramp is, 0 … 1
//	agree0 …             1 where its answer is the full model's, else 0
//	pred0 …              its answer, a class; optional
//	margin0 …, entropy0 … as in earlyexit.Signal; optional
//	segment              what part of the stream it is, free text; optional
//	label                the true class; optional
//	final_pred           the full model's answer, a class; optional
//	final_conf           how sure the full model is, 0 … 1; optional
//
// Lines before the header that begin with # are notes: "# key=value".
package exitstream

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"motley/internal/earlyexit"
)

// Stream is a whole file.
type Stream struct {
	Notes []Note // in the file's order
	Ramps int
	// Classes is how many classes the answers and labels of the file name: the
	// largest and one; 0 where it names none.
	Classes int
	Rows    []Row
}

// Note is a remark of the file about itself.
type Note struct{ Key, Value string }

// Row is one request: every ramp was evaluated, none answered, and the model
// ran to its end. Seq counts the rows from 0.
type Row struct {
	earlyexit.Outcome
	Index   uint64 // column i
	Segment string // "" where the file has none
	Label   int32  // the true class; −1: unknown
	// Final is what the model's own exit said: a class of −1 and NaN where unknown.
	Final earlyexit.Signal
}

// Note returns the value of a note; "" where there is none.
func (s *Stream) Note(key string) string {
	for _, n := range s.Notes {
		if n.Key == key {
			return n.Value
		}
	}
	return ""
}

// Outcomes returns the outcomes of all rows, in order. What they point to is
// the stream's.
func (s *Stream) Outcomes() []earlyexit.Outcome {
	all := make([]earlyexit.Outcome, len(s.Rows))
	for i := range s.Rows {
		all[i] = s.Rows[i].Outcome
	}
	return all
}

// Read reads a stream. Compressed files are for the caller to unpack. Its
// errors name line and column.
func Read(r io.Reader) (*Stream, error) {
	s, err := read(bufio.NewReader(r))
	if err != nil {
		return nil, fmt.Errorf("cannot read recorded exits: %w", err)
	}
	return s, nil
}

func read(r *bufio.Reader) (*Stream, error) {
	s := &Stream{}
	if mark, err := r.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = r.Discard(len(mark))
	}
	if err := s.readNotes(r); err != nil {
		return nil, err
	}
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("no header line")
	}
	if err != nil {
		return nil, shifted(err, len(s.Notes))
	}
	cols, err := findColumns(header)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", len(s.Notes)+1, err)
	}
	s.Ramps = cols.ramps
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, shifted(err, len(s.Notes))
		}
		row, err := cols.row(record)
		if n := len(s.Rows); err == nil && n > 0 && row.Index <= s.Rows[n-1].Index {
			err = fmt.Errorf("column i: %d is not above %d, the line before", row.Index, s.Rows[n-1].Index)
		}
		if err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", len(s.Notes)+line, err)
		}
		row.Seq = uint64(len(s.Rows))
		s.Rows = append(s.Rows, row)
		s.countClasses(&row)
	}
}

// readNotes takes the lines off r that begin with #.
func (s *Stream) readNotes(r *bufio.Reader) error {
	for {
		first, err := r.Peek(1)
		if err != nil || first[0] != '#' {
			return nil // an empty file has no header either, which is said there
		}
		line, err := r.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		key, value, ok := strings.Cut(strings.TrimSpace(line[1:]), "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return fmt.Errorf("line %d: %.80q: want # key=value", len(s.Notes)+1, strings.TrimSpace(line))
		}
		s.Notes = append(s.Notes, Note{key, strings.TrimSpace(value)})
	}
}

func (s *Stream) countClasses(row *Row) {
	s.Classes = max(s.Classes, int(row.Label)+1, int(row.Class)+1)
	for _, g := range row.Signals {
		s.Classes = max(s.Classes, int(g.Class)+1)
	}
}

// shifted names the line of a fault of the CSV form, counted with the notes.
func shifted(err error, notes int) error {
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("line %d: %w", p.Line+notes, p.Err)
	}
	return err
}
