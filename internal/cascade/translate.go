package cascade

import (
	"fmt"
	"math"

	"motley/internal/earlyexit"
	"motley/internal/oip"
)

// nothing is the logit of a class that the small model cannot name: e to it is
// 0, and every datatype holds it.
const nothing = -1e4

// signal is what a row of the stage's output says, in the reference's classes.
func (st *Stage) signal(values []float64) earlyexit.Signal {
	s := st.Signal(values)
	if st.Classes == nil || !s.Seen() {
		return s
	}
	if s.Class = int32(st.Classes[s.Class]); s.Class < 0 {
		return earlyexit.Unseen
	}
	return s
}

// fits holds the stage's answer against the form of the reference's.
func (st *Stage) fits(a *answer, f *form) error {
	have, want := len(a.values[0]), f.score.values()
	if st.Classes == nil && have != want {
		return fmt.Errorf("output %s has %d classes, the reference has %d", st.Output, have, want)
	}
	if st.Classes != nil && have != len(st.Classes) {
		return fmt.Errorf("output %s has %d classes, and %d are mapped", st.Output, have, len(st.Classes))
	}
	for class, to := range st.Classes {
		if to >= want {
			return fmt.Errorf("class %d is mapped to %d, the reference has %d", class, to, want)
		}
	}
	return nil
}

// scores are a row's values as the reference would give them, by its classes
// and as logits or probabilities. Those of classes that the stage maps to none
// are left out.
func (st *Stage) scores(values []float64, ref *Stage, classes int) []float64 {
	if st.Classes == nil && st.Logits == ref.Logits {
		return values
	}
	p := st.probabilities(values)
	if st.Classes != nil {
		scattered := make([]float64, classes)
		for class, to := range st.Classes {
			if to >= 0 {
				scattered[to] += p[class]
			}
		}
		p = scattered
	}
	if !ref.Logits {
		return p
	}
	logits := make([]float64, len(p))
	for i, v := range p {
		logits[i] = max(math.Log(v), nothing)
	}
	return logits
}

// label is a row's label in the datatype of the reference's: the stage's own, or
// the number of the class where it has none or its classes are mapped. False
// where there is no such label.
func (st *Stage) label(a *answer, row int, class int32, f *form) ([]byte, bool) {
	to := f.label.datatype
	if st.Label == "" || st.Classes != nil {
		return oip.AppendValues(nil, []float64{float64(class)}, to)
	}
	if a.form.label.datatype == to {
		return a.labels[row], true
	}
	values, ok := oip.Values(nil, a.labels[row], a.form.label.datatype)
	if !ok {
		return nil, false
	}
	return oip.AppendValues(nil, values, to)
}
