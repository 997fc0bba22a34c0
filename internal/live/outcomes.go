package live

import (
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
)

// stages says how far the rows ran; empty where all ran to the end.
func (w *watch) stages() []dispatch.Stage {
	ramps := w.exits.Ramps
	w.passed = w.passed[:0]
	if len(w.exits.Depth) != ramps {
		return nil
	}
	before := 0.0
	for stage := range ramps + 1 {
		until := 1.0
		if stage < ramps {
			until = w.exits.Depth[stage]
		}
		w.passed = append(w.passed, dispatch.Stage{Share: until - before})
		before = until
	}
	all := true
	for i := range w.rows {
		last := ramps
		if row := &w.rows[i]; row.last >= 0 {
			last, all = row.last, false
		}
		for stage := range last + 1 {
			w.passed[stage].Rows++
		}
	}
	if all {
		return nil
	}
	return w.passed
}

// learn tells the gate how the rows ended whose answers reached their clients.
// A request that is tried again is decided on anew, and learned of then.
func (w *watch) learn() {
	w.outcomes = w.outcomes[:0]
	for i := range w.rows {
		row := &w.rows[i]
		if c := &w.calls[row.call]; !c.decided || !c.answered {
			continue
		}
		w.outcomes = append(w.outcomes, earlyexit.Outcome{
			Seq: row.Seq, Signals: row.Signals, Exit: row.exit, Audit: row.audit,
			Ran: row.ran, Lost: !row.ran && row.last < 0, Agree: row.agree, Class: row.class,
		})
	}
	if len(w.outcomes) > 0 {
		w.gate.Learn(w.outcomes)
	}
}

// maxSignals bounds the memory that an idle execution holds on to, like maxKept.
const maxSignals = maxKept / 16

// release lets go of what belongs to others.
func (w *watch) release() {
	w.gate, w.exits = nil, nil
	clear(w.asked[:cap(w.asked)])
	if cap(w.signals) > maxSignals {
		w.signals, w.rows, w.asked, w.places, w.verdicts, w.outcomes = nil, nil, nil, nil, nil, nil
	}
}
