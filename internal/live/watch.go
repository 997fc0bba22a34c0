package live

import (
	"runtime"

	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/oip"
)

// watch follows one staged execution past its exits: it asks the model's gate
// what becomes of the rows, hands answers on as they come, and tells the gate in
// the end what came of each row.
type watch struct {
	loop  *Loop
	ex    *execution
	gate  *gate.Gate // nil: nobody leaves early
	exits *backend.Exits

	calls   []watchedCall
	rows    []watchedRow
	signals []earlyexit.Signal // of all rows, exits.Ramps each

	// Of one exit: who is asked about, where that stands in the sight, and what
	// the gate says.
	asked    []*earlyexit.Row
	places   []int
	verdicts []earlyexit.Verdict

	outcomes []earlyexit.Outcome
	passed   []dispatch.Stage
}

// watchedCall is one member.
type watchedCall struct {
	rows     int
	decided  bool // it may leave early
	gone     bool // nobody waits for it any more
	answered bool // its answer was handed on
}

// watchedRow is one row of the batch.
type watchedRow struct {
	earlyexit.Row
	call  int
	exit  int     // the ramp that it left by; −1: none yet
	audit float64 // with what probability a row like it runs on
	last  int     // the last exit that it was run to, where it does not run on; else −1
	ran   bool    // the model's own exit has spoken
	agree uint32
	class int32
	asked bool // the gate, about it
}

// Begin implements backend.Watcher.
func (w *watch) Begin(rows []int) uint32 {
	w.calls, w.rows = w.calls[:0], w.rows[:0]
	all, decided := 0, 0
	show := uint32(0)
	pressed := w.pressed()
	for i, n := range rows {
		r := w.ex.members[i].req
		c := watchedCall{rows: n}
		show |= r.Ramps
		c.decided = w.gate != nil && min(r.Mode, w.gate.Mode()) > earlyexit.Off && r.Ramps == 0 && !pressed
		all += n
		if c.decided {
			decided += n
		}
		w.calls = append(w.calls, c)
	}
	active := show
	seq := uint64(0)
	if decided > 0 {
		active |= w.gate.Active(all)
		seq = w.gate.Number(decided)
	}
	w.signals = w.signals[:0]
	for range all * w.exits.Ramps {
		w.signals = append(w.signals, earlyexit.Unseen)
	}
	left := w.signals
	for i, n := range rows {
		r := w.ex.members[i].req
		for range n {
			row := watchedRow{call: i, exit: -1, audit: 1, last: -1, class: -1}
			row.Signals, left = left[:w.exits.Ramps:w.exits.Ramps], left[w.exits.Ramps:]
			if w.calls[i].decided {
				row.Seq, row.Mode, row.Most = seq, min(r.Mode, w.gate.Mode()), r.Most
				seq++
			}
			w.rows = append(w.rows, row)
		}
	}
	return active & (1<<w.exits.Ramps - 1)
}

// longWait is how many times as long as it runs a request waits where ramps are
// not worth evaluating in mode latency.
const longWait = 4

// pressed reports whether a mode that saves no work should spend none: where
// requests wait much longer than they run, an early answer is hardly sooner, and
// what the ramps cost makes all of them wait longer.
func (w *watch) pressed() bool {
	if w.gate == nil || w.gate.Mode() != earlyexit.Latency {
		return false
	}
	w.loop.mu.Lock()
	defer w.loop.mu.Unlock()
	core := w.loop.mu.core
	return core.Model(w.ex.model).Queued > 0 && w.ex.predicted > 0 && core.Drain(w.ex.model) > longWait*w.ex.predicted
}

// At implements backend.Watcher.
func (w *watch) At(s *backend.Sight) {
	switch {
	case s.Exit == w.exits.Ramps:
		w.end(s)
		return
	case s.Exit < 0 || s.Exit > w.exits.Ramps: // the worker's model was replaced just now
		return
	}
	idle := w.look()
	w.asked, w.places = w.asked[:0], w.places[:0]
	for k, at := range s.Rows {
		row := &w.rows[at]
		row.Signals[s.Exit] = s.Signals[k]
		c := &w.calls[row.call]
		switch {
		case row.exit >= 0:
		case c.gone: // nor need its rows be run
			s.Leave[k], s.Stop[k] = true, true
			row.last = s.Exit
		case c.decided:
			row.Idle, row.asked = idle, true
			w.asked, w.places = append(w.asked, &row.Row), append(w.places, k)
		}
	}
	w.verdicts = append(w.verdicts[:0], make([]earlyexit.Verdict, len(w.asked))...)
	w.ask(s)
	for i, k := range w.places {
		if v := w.verdicts[i]; v.Exit {
			row := &w.rows[s.Rows[k]]
			row.exit, row.audit = s.Exit, v.Audit
			s.Leave[k], s.Stop[k] = true, v.Stop
			if v.Stop {
				row.last = s.Exit
			}
		}
	}
}

// ask has the gate decide about rows, or, where those of a call can only leave
// together, about calls.
func (w *watch) ask(s *backend.Sight) {
	if len(w.asked) == 0 {
		return
	}
	if !s.Together {
		w.gate.Decide(s.Exit, w.asked, w.verdicts)
		return
	}
	for from := 0; from < len(w.asked); {
		to := from + 1
		call := w.rows[s.Rows[w.places[from]]].call
		for to < len(w.asked) && w.rows[s.Rows[w.places[to]]].call == call {
			to++
		}
		w.gate.Together(s.Exit, w.asked[from:to], w.verdicts[from:to])
		from = to
	}
}

// look notes which calls nobody waits for any more, and reports whether the pool
// idles: nothing waits for the worker, and what comes next finds another one
// free, so that running on to the end delays nobody.
func (w *watch) look() (idle bool) {
	w.loop.mu.Lock()
	defer w.loop.mu.Unlock()
	for i, t := range w.ex.members {
		w.calls[i].gone = t != nil && t.ended
	}
	for _, s := range w.ex.member.Worker.Serves {
		if w.loop.mu.core.Model(s.Model).Queued > 0 {
			return false
		}
	}
	return w.loop.mu.core.Model(w.ex.model).Free > 0
}

// end takes in what the model's own exit says, which is what the ramps are
// held against. Where it says nothing of use, nothing is learned.
func (w *watch) end(s *backend.Sight) {
	for k, at := range s.Rows {
		row := &w.rows[at]
		s.Leave[k] = row.exit < 0
		row.class = s.Signals[k].Class
		row.ran = row.class >= 0
		for ramp, g := range row.Signals {
			if g.Seen() && g.Class == row.class {
				row.agree |= 1 << ramp
			}
		}
	}
}

// Answered implements backend.Watcher.
func (w *watch) Answered(i int) {
	l, ex := w.loop, w.ex
	var wakes wakeList
	l.mu.Lock()
	t := ex.members[i]
	t.refs--
	ended := t.ended // its client has left, or another part of it has failed
	if !ex.off {     // else it runs elsewhere by now
		at := l.now()
		if !ended {
			if !ex.partial(i) || t.keep(ex, i) {
				w.answered(i)
			}
		}
		// The core knows who has ended; the simulator tells it of every exit, too.
		l.stepLocked(dispatch.Event{At: at, Kind: dispatch.Exit, Batch: ex.batch, Member: i}, &wakes)
		if !ended && t.ended && t.answered && t.by == ex.batch {
			t.deliver(ex, i, at.Sub(ex.started))
		}
	}
	if ended && t.refs == 0 {
		wakes.add(t, nil)
	}
	ex.members[i], ex.calls[i].Request = nil, nil
	l.mu.Unlock()
	wakes.send(nil)
	// An embedded model goes on for milliseconds on this CPU, and who was woken
	// would wait as long where the others are as busy.
	runtime.Gosched()
}

// answered notes that what call i says reaches its client.
func (w *watch) answered(i int) {
	if i < len(w.calls) {
		w.calls[i].answered = w.ex.calls[i].Err == nil
	}
}

// Show implements backend.Watcher.
func (w *watch) Show(i, ramp int, m oip.Message) {
	w.loop.mu.Lock()
	t := w.ex.members[i]
	shown := t != nil && !t.ended && !w.ex.off
	w.loop.mu.Unlock()
	// The request is there until the execution has let go of the ticket.
	if shown && t.req.Show != nil {
		t.req.Show(ramp, m)
	}
}
