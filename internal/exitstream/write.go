package exitstream

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Write writes the stream in the form that Read reads, not compressed. Columns that
// nothing is known for are left out; numbers are as precise as float32.
func (s *Stream) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	if s.Depth != nil {
		fmt.Fprintf(out, "# depths=%s\n", numbers(s.Depth))
	}
	if s.RampCost != nil {
		fmt.Fprintf(out, "# ramp_cost=%s\n", numbers(s.RampCost))
	}
	known := s.known()
	var line []byte
	line = append(line, "i,segment"...)
	if s.Labels != nil {
		line = append(line, ",label"...)
	}
	if known.class {
		line = append(line, ",final_pred"...)
	}
	if s.Final != nil {
		line = append(line, ",final_conf"...)
	}
	for _, kind := range perRamp {
		if known.has(kind) {
			for r := range s.Ramps {
				line = fmt.Appendf(line, ",%s%d", kind, r)
			}
		}
	}
	segment := -1
	for i := range s.Rows {
		line = append(line, '\n')
		if _, err := out.Write(line); err != nil {
			return err
		}
		if segment+1 < len(s.Segments) && s.Segments[segment+1].From == i {
			segment++
		}
		line = s.appendRow(line[:0], i, s.Segments[segment].Name, known)
	}
	line = append(line, '\n')
	if _, err := out.Write(line); err != nil {
		return err
	}
	return out.Flush()
}

func numbers(values []float64) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = strconv.FormatFloat(v, 'g', 6, 64)
	}
	return strings.Join(texts, ",")
}

// knowledge is what is known of a stream's rows.
type knowledge struct{ class, pred, margin, entropy bool }

func (s *Stream) known() (k knowledge) {
	if len(s.Rows) == 0 {
		return k
	}
	first := &s.Rows[0]
	g := first.Signals[0]
	return knowledge{first.Class >= 0, g.Class >= 0, !math.IsNaN(float64(g.Margin)), !math.IsNaN(float64(g.Entropy))}
}

func (k knowledge) has(kind string) bool {
	switch kind {
	case "pred":
		return k.pred
	case "margin":
		return k.margin
	case "entropy":
		return k.entropy
	}
	return true
}

func (s *Stream) appendRow(line []byte, i int, segment string, known knowledge) []byte {
	o := &s.Rows[i]
	line = strconv.AppendInt(line, int64(i), 10)
	line = append(line, ',')
	line = append(line, segment...)
	number := func(n int64) { line = strconv.AppendInt(append(line, ','), n, 10) }
	share := func(f float32) { line = strconv.AppendFloat(append(line, ','), float64(f), 'g', -1, 32) }
	if s.Labels != nil {
		number(int64(s.Labels[i]))
	}
	if known.class {
		number(int64(o.Class))
	}
	if s.Final != nil {
		share(s.Final[i])
	}
	for _, kind := range perRamp {
		if !known.has(kind) {
			continue
		}
		for r, g := range o.Signals {
			switch kind {
			case "conf":
				share(g.Confidence)
			case "agree":
				number(int64(o.Agree >> r & 1))
			case "pred":
				number(int64(g.Class))
			case "margin":
				share(g.Margin)
			case "entropy":
				share(g.Entropy)
			}
		}
	}
	return line
}
