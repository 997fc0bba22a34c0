package cascade

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"time"

	"motley/internal/backend"
	"motley/internal/earlyexit"
	"motley/internal/live"
	"motley/internal/oip"
)

// walk is one request on its way through the stages.
type walk struct {
	c       *Cascade
	ctx     context.Context
	r       *live.Request
	start   time.Time
	timeout time.Duration
	batched bool
	form    *form // of the answer; nil while the reference has to be asked for it
	rows    []row
}

// row is one row of the request. Its answer so far is the latest stage's.
type row struct {
	earlyexit.Row
	exit       int // the stage that answers it; −1: none yet
	asked      bool
	verdict    earlyexit.Verdict
	values     []float64
	label      []byte
	confidence float32
	truth      int32 // the reference's class; −1: unknown
}

// Do runs one request to its end, as live.Loop.DoContext does: its answer is
// one response under the cascade's name. Rows that a small stage is not sure
// enough of go on alone where the models batch.
func (c *Cascade) Do(ctx context.Context, r *live.Request) error {
	r.Worker, r.Batch, r.Merged, r.Parts, r.Attempts, r.Queued, r.Ran = -1, 0, 0, 0, 0, 0, 0
	r.Exit, r.Confidence = -1, float32(math.NaN())
	if r.Call.Request.Sequence {
		return &oip.Error{Status: http.StatusBadRequest, Message: "a cascade takes no sequences: its models do not share their state"}
	}
	info := c.cfg.Loop.Info(c.Reference())
	w := &walk{c: c, ctx: ctx, r: r, start: time.Now(), timeout: r.Timeout, batched: info.Batched, form: c.formOf(info)}
	if w.timeout == 0 {
		w.timeout = c.cfg.QoS
	}
	n := 1
	if w.batched {
		n = r.Size
	}
	w.rows = make([]row, n)
	for i := range w.rows {
		w.rows[i].exit, w.rows[i].truth = -1, -1
	}
	err := w.small()
	if waiting := w.waiting(); err == nil && len(waiting) > 0 {
		err = w.reference(waiting)
	}
	if err == nil {
		err = w.encode(&r.Call.Response, true)
	}
	w.settle(err)
	return err
}

// left is the time to the deadline.
func (w *walk) left() time.Duration { return w.timeout - time.Since(w.start) }

// waiting are the rows that nobody has answered, by number.
func (w *walk) waiting() []int {
	var rows []int
	for i := range w.rows {
		if w.rows[i].exit < 0 {
			rows = append(rows, i)
		}
	}
	return rows
}

// small asks the small stages, as long as rows wait and the reference could
// still be asked in time afterwards. Its error is the request's end. Where no
// row may exit, those are asked all the same whose answers the client wants to
// see.
func (w *walk) small() error {
	mode := min(w.r.Mode, w.c.cfg.Gate.Mode())
	shown := uint32(0)
	if w.r.Show != nil {
		shown = w.r.Ramps
	}
	if mode == earlyexit.Off && shown == 0 || w.form == nil {
		return nil
	}
	seq := w.c.cfg.Gate.Number(len(w.rows))
	for i := range w.rows {
		row := &w.rows[i]
		row.Row = earlyexit.Row{Seq: seq + uint64(i), Mode: mode, Most: w.r.Most}
		for range w.c.last {
			row.Signals = append(row.Signals, earlyexit.Unseen)
		}
	}
	active := w.c.cfg.Gate.Active(len(w.rows))
	wanted := active | shown
	if mode == earlyexit.Off {
		wanted = shown
	}
	for k := range w.c.last {
		waiting := w.waiting()
		if len(waiting) == 0 {
			return nil
		}
		if wanted>>k&1 == 0 {
			continue
		}
		slack, ok := w.c.cfg.Loop.LatestStart(w.c.Reference(), len(waiting), w.left())
		if !ok || slack <= 0 {
			w.c.direct.Add(1)
			return nil
		}
		if err := w.stage(k, waiting, slack, active>>k&1 == 1); err != nil {
			w.c.counts[k].failed.Add(1)
			if w.ctx.Err() != nil {
				return backend.ContextError(w.ctx)
			}
			if isFinal(err) {
				return err
			}
			continue
		}
		if err := w.show(k, shown); err != nil {
			return err
		}
	}
	return nil
}

// stage asks a small stage about rows, for at most that long, and lets those
// exit of which it is sure enough.
func (w *walk) stage(k int, rows []int, most time.Duration, decide bool) error {
	ctx, cancel := context.WithTimeout(w.ctx, most)
	defer cancel()
	a, err := w.ask(ctx, k, rows, most)
	if err != nil {
		return err
	}
	st, ref := &w.c.cfg.Stages[k], &w.c.cfg.Stages[w.c.last]
	if err := st.fits(a, w.form); err != nil {
		w.c.complain(k, err)
		return err
	}
	idle := w.c.cfg.Loop.Idles(w.c.Reference())
	asked := make([]*earlyexit.Row, len(rows))
	for i, n := range rows {
		row := &w.rows[n]
		asked[i], row.Idle = &row.Row, idle
		row.values = st.scores(a.values[i], ref, w.form.score.values())
		row.label, row.confidence = nil, float32(math.NaN())
		s := st.signal(a.values[i])
		if s.Seen() && ref.Label != "" {
			var ok bool
			if row.label, ok = st.label(a, i, s.Class, w.form); !ok {
				s = earlyexit.Unseen
			}
		}
		row.Signals[k], row.confidence = s, s.Confidence
	}
	if !decide {
		return nil
	}
	verdicts := make([]earlyexit.Verdict, len(rows))
	w.c.cfg.Gate.Decide(k, asked, verdicts)
	for i, n := range rows {
		row := &w.rows[n]
		row.asked = true
		if verdicts[i].Exit && row.Mode != earlyexit.Off && row.Signals[k].Seen() {
			row.exit, row.verdict = k, verdicts[i]
		}
	}
	return nil
}

// reference lets the last stage answer rows.
func (w *walk) reference(rows []int) error {
	left := w.left()
	if left <= 0 {
		return &live.Refusal{Reason: live.Deadline}
	}
	a, err := w.ask(w.ctx, w.c.last, rows, left)
	if err != nil {
		w.c.counts[w.c.last].failed.Add(1)
		return err
	}
	w.c.learn(&a.form)
	again := w.form != nil && !w.form.equal(&a.form)
	w.form = &a.form
	ref := &w.c.cfg.Stages[w.c.last]
	for i, n := range rows {
		row := &w.rows[n]
		row.exit, row.values, row.truth = w.c.last, a.values[i], int32(top(a.values[i]))
		row.confidence = ref.Signal(a.values[i]).Confidence
		if a.labels != nil {
			row.label = a.labels[i]
		}
	}
	if !again {
		return nil
	}
	// What small stages have answered was made for a form that the metadata
	// tell and the answers do not have, or no longer.
	var made []int
	for i := range w.rows {
		if row := &w.rows[i]; row.exit >= 0 && row.exit < w.c.last {
			row.exit = -1
			made = append(made, i)
		}
	}
	if len(made) == 0 {
		return nil
	}
	return w.reference(made)
}

// ask runs a stage's request and adds what it took to the client's.
func (w *walk) ask(ctx context.Context, k int, rows []int, timeout time.Duration) (*answer, error) {
	w.c.counts[k].asked.Add(1)
	sub, err := w.c.request(k, w.r.Call.Request, rows, w.batched)
	if err != nil {
		w.c.complain(k, err)
		return nil, err
	}
	sub.Timeout, sub.Priority, sub.Tenant = timeout, w.r.Priority, w.r.Tenant
	sub.Call.ID, sub.Call.Trace = bytes.Clone(w.r.Call.ID), w.r.Call.Trace // its memory is the client's
	sub.Call.Trace.State = bytes.Clone(sub.Call.Trace.State)
	// On a goroutine of its own, since the loop may keep the one that calls it
	// beyond the end of ctx. The request is nobody else's, so it can be left
	// there; who closes the loop waits for it.
	done := make(chan error, 1)
	go func() { done <- w.c.cfg.Loop.DoContext(ctx, sub) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return nil, backend.ContextError(ctx)
	}
	r := w.r
	r.Attempts += sub.Attempts
	if err != nil {
		return nil, err
	}
	r.Worker, r.Batch, r.Merged = sub.Worker, sub.Batch, sub.Merged
	r.Parts = max(r.Parts, sub.Parts)
	r.Queued += sub.Queued
	r.Ran += sub.Ran
	a, err := w.c.read(k, sub, len(rows), w.batched)
	if err != nil {
		w.c.complain(k, err)
	}
	return a, err
}
