package cascade

import (
	"motley/internal/earlyexit"
	"motley/internal/oip"
)

// encode writes the answer so far to dst, in the form that the client asked
// for, and notes in the request which exits it was made of.
func (w *walk) encode(dst *oip.Message, final bool) error {
	ref := &w.c.cfg.Stages[w.c.last]
	var scores, labels []byte
	mark := oip.ExitMark{Final: final, Confidence: 1}
	for i := range w.rows {
		row := &w.rows[i]
		scores, _ = oip.AppendValues(scores, row.values, w.form.score.datatype)
		labels = append(labels, row.label...)
		mark.Exit = max(mark.Exit, row.exit)
		mark.Confidence = min(mark.Confidence, row.confidence) // NaN stays NaN
	}
	out := []oip.Tensor{w.form.score.of(ref.Output, len(w.rows), w.batched, scores)}
	if ref.Label != "" {
		out = append(out, w.form.label.of(ref.Label, len(w.rows), w.batched, labels))
	}
	w.r.Exit, w.r.Confidence = mark.Exit, mark.Confidence
	return oip.Encode([]*oip.Message{dst}, out, []*oip.Request{w.r.Call.Request}, nil, oip.ResponseInfo{
		Model: w.c.cfg.Name, Version: version, Parameters: mark.Append(nil),
	})
}

// show hands the client that wants to see stage k what the rows would be
// answered now, where they have a usable answer each and some still wait: if
// none does, the answer itself is about to follow.
func (w *walk) show(k int, shown uint32) error {
	if shown>>k&1 == 0 || len(w.waiting()) == 0 {
		return nil
	}
	for i := range w.rows {
		if row := &w.rows[i]; row.exit < 0 && !row.Signals[k].Seen() {
			return nil
		}
	}
	var m oip.Message
	// The exits of rows that wait are those that are shown.
	for i := range w.rows {
		if w.rows[i].exit < 0 {
			w.rows[i].exit = k
			defer func() { w.rows[i].exit = -1 }()
		}
	}
	if err := w.encode(&m, false); err != nil {
		return err
	}
	w.r.Show(k, m)
	return nil
}

// settle sees to it that the controller learns how each row that it was asked
// about has ended, now or at the end of an audit. err is the request's.
func (w *walk) settle(err error) {
	var now, later []earlyexit.Outcome
	var audited []int
	for i := range w.rows {
		row := &w.rows[i]
		if !row.asked {
			continue
		}
		o := earlyexit.Outcome{Seq: row.Seq, Signals: row.Signals, Exit: row.exit, Audit: row.verdict.Audit, Class: -1}
		switch {
		case row.exit == w.c.last:
			o.Exit, o.Audit = -1, 1
			compare(&o, row.truth)
		case row.exit < 0:
			o.Audit, o.Lost = 1, true
		case row.verdict.Stop:
		case err != nil:
			o.Lost = true
		default:
			later, audited = append(later, o), append(audited, i)
			continue
		}
		now = append(now, o)
	}
	if len(now) > 0 {
		w.c.cfg.Gate.Learn(now)
	}
	if len(later) > 0 {
		w.c.audit(w.r.Call.Request, audited, w.batched, later)
	}
}
