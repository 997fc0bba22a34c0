package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/backend"
	"motley/internal/backend/backendtest"
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/oip"
	"motley/internal/pool"
)

// stagedFake is a worker whose model has ramps. Rows are numbers; each answer
// says which exit it is from.
type stagedFake struct {
	backendtest.Fake
	ramps    int
	stage    time.Duration // that each takes
	together bool
	early    bool // calls that leave by the end are told of as well
	// says is what an exit, ramps for the end, says of a row.
	says func(row, exit int) earlyexit.Signal
	// breaks is asked before each exit; an error ends the batch.
	breaks func(first, exit int) error

	mu     sync.Mutex
	ran    []int // rows that ran each stage, over all batches
	active []uint32
	shown  int
}

func (f *stagedFake) Exits(string) *backend.Exits {
	if f.ramps == 0 {
		return nil
	}
	e := &backend.Exits{Ramps: f.ramps, Classes: 10}
	for i := range f.ramps {
		e.Depth = append(e.Depth, float64(i+1)/float64(f.ramps+1))
	}
	return e
}

func rowsOfCall(c *backend.Call) []int {
	var rows []int
	for s := range strings.SplitSeq(strings.Trim(string(c.Request.Inputs[0].JSON), "[]"), ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			panic(err)
		}
		rows = append(rows, n)
	}
	return rows
}

// answerOf is the body that rows are answered with; by is the exit of each.
func answerOf(rows []int, by []int) string {
	exits := strings.ReplaceAll(strings.Trim(fmt.Sprint(by), "[]"), " ", ",")
	return fmt.Sprintf(`{"model_name":"m","outputs":[{"name":"x","datatype":"INT32","shape":[%d],"data":[%s]},{"name":"exit","datatype":"INT32","shape":[%d],"data":[%s]}]}`,
		len(rows), strings.ReplaceAll(strings.Trim(fmt.Sprint(rows), "[]"), " ", ","), len(rows), exits)
}

func (f *stagedFake) Run(ctx context.Context, _ string, calls []*backend.Call) error {
	for exit := range f.ramps + 1 {
		if err := f.wait(ctx, rowsOfCall(calls[0])[0], exit); err != nil {
			return err
		}
	}
	for _, c := range calls {
		rows := rowsOfCall(c)
		c.Response.Body, c.Response.HeadLength = append(c.Response.Body[:0], answerOf(rows, slices.Repeat([]int{f.ramps}, len(rows)))...), -1
	}
	return nil
}

func (f *stagedFake) wait(ctx context.Context, first, exit int) error {
	if f.stage > 0 {
		t := time.NewTimer(f.stage)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return backend.ContextError(ctx)
		case <-t.C:
		}
	}
	if ctx.Err() != nil {
		return backend.ContextError(ctx)
	}
	if f.breaks == nil {
		return nil
	}
	err := f.breaks(first, exit)
	if err == errHangs {
		<-ctx.Done()
		return backend.ContextError(ctx)
	}
	return err
}

// errHangs of breaks makes the batch stand still until it is stopped.
var errHangs = errors.New("hangs")

// stagedRow is a row on its way.
type stagedRow struct{ call, row, exit int }

func (f *stagedFake) RunStaged(ctx context.Context, _ string, calls []*backend.Call, w backend.Watcher) error {
	var sizes, running []int
	var rows []stagedRow
	for i, c := range calls {
		mine := rowsOfCall(c)
		sizes = append(sizes, len(mine))
		for _, r := range mine {
			running = append(running, len(rows))
			rows = append(rows, stagedRow{i, r, -1})
		}
	}
	first := rows[0].row
	active := w.Begin(sizes) | 1<<f.ramps
	f.note(func() { f.active = append(f.active, active) })
	told := make([]bool, len(calls))
	for exit := range f.ramps + 1 {
		if err := f.wait(ctx, first, exit); err != nil {
			return err
		}
		f.note(func() {
			for len(f.ran) <= exit {
				f.ran = append(f.ran, 0)
			}
			f.ran[exit] += len(running)
		})
		if active>>exit&1 == 0 {
			continue
		}
		s := &backend.Sight{Exit: exit, Rows: running, Together: f.together, Leave: make([]bool, len(running)), Stop: make([]bool, len(running))}
		for _, r := range running {
			s.Signals = append(s.Signals, f.says(rows[r].row, exit))
		}
		for i, c := range calls {
			if exit < f.ramps && c.Ramps>>exit&1 == 1 && !told[i] {
				f.note(func() { f.shown++ })
				w.Show(i, exit, oip.Message{Body: []byte(answerOf(rowsOfCall(c), slices.Repeat([]int{exit}, sizes[i]))), HeadLength: -1})
			}
		}
		w.At(s)
		var left []int
		for k, r := range running {
			if s.Leave[k] {
				if rows[r].exit >= 0 {
					panic("a row leaves twice")
				}
				rows[r].exit = exit
			}
			if !s.Stop[k] {
				left = append(left, r)
			} else if rows[r].exit < 0 {
				panic("a row stops that has no answer")
			}
		}
		running = left
		for i, c := range calls {
			if !told[i] && f.answer(c, i, exit, rows) && (exit < f.ramps || f.early) {
				told[i] = true
				w.Answered(i)
			}
		}
		if len(running) == 0 {
			return nil
		}
	}
	return nil
}

// answer makes the answer of call i, unless some row of it has none yet.
func (f *stagedFake) answer(c *backend.Call, i, exit int, rows []stagedRow) bool {
	var mine, by []int
	c.Exit, c.Confidence = -1, 1
	for _, r := range rows {
		if r.call != i {
			continue
		}
		if r.exit < 0 {
			if exit == f.ramps {
				panic("a row is not answered in the end")
			}
			return false
		}
		mine, by = append(mine, r.row), append(by, r.exit)
		c.Exit, c.Confidence = max(c.Exit, r.exit), min(c.Confidence, f.says(r.row, r.exit).Confidence)
	}
	c.Response.Body, c.Response.HeadLength = append(c.Response.Body[:0], answerOf(mine, by)...), -1
	return true
}

func (f *stagedFake) note(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
}

// sure says that a row's class is the row modulo 10, at every exit; how sure a
// ramp is, says the number's place from the right that belongs to it: 9 is sure.
func sure(row, exit int) earlyexit.Signal {
	g := earlyexit.Unseen
	g.Class, g.Confidence = int32(row%10), 1
	for range exit {
		row /= 10
	}
	if exit < 2 {
		g.Confidence = float32(row%10) / 9
	}
	return g
}

// chooser lets rows exit that are sure. Its share of audits is fixed.
type chooser struct {
	mode    earlyexit.Mode
	ramps   int
	audit   float64
	asked   map[uint64]earlyexit.Row // the last time
	learned map[uint64]earlyexit.Outcome
	unasked int // ended without an answer and nobody had asked
	ended   map[uint64]bool
	twice   int
	batches []int
}

func newChooser(mode earlyexit.Mode, ramps int, audit float64) *chooser {
	return &chooser{mode: mode, ramps: ramps, audit: audit, asked: map[uint64]earlyexit.Row{}, learned: map[uint64]earlyexit.Outcome{}, ended: map[uint64]bool{}}
}

func (c *chooser) Active(n int, _ float64) uint32 {
	c.batches = append(c.batches, n)
	return 1<<c.ramps - 1
}

func (c *chooser) Decide(r *earlyexit.Row, ramp int) earlyexit.Verdict {
	kept := *r
	kept.Signals = slices.Clone(r.Signals) // the execution that they belong to is used again
	c.asked[r.Seq] = kept
	if r.Mode == earlyexit.Off {
		panic("asked about a row that may not leave")
	}
	if r.Signals[ramp].Confidence < 1 {
		return earlyexit.Verdict{}
	}
	if r.Mode == earlyexit.Latency || c.mode == earlyexit.Latency {
		return earlyexit.Verdict{Exit: true, Audit: 1}
	}
	return earlyexit.Verdict{Exit: true, Stop: r.Chance >= c.audit, Audit: c.audit}
}

func (c *chooser) Learn(o *earlyexit.Outcome) {
	if c.ended[o.Seq] {
		c.twice++
	}
	c.ended[o.Seq] = true
	if o.Lost && o.Exit < 0 { // it got no answer
		if _, ok := c.asked[o.Seq]; !ok {
			c.unasked++
		}
		return
	}
	kept := *o
	kept.Signals = slices.Clone(o.Signals)
	c.learned[o.Seq] = kept
}

func (c *chooser) Report() earlyexit.Report {
	return earlyexit.Report{Mode: c.mode, Ramps: make([]earlyexit.RampReport, c.ramps)}
}

// stagedLoop is a loop over staged workers, up, one batch at a time.
func stagedLoop(t testing.TB, c *chooser, core dispatch.Config, workers ...*stagedFake) *Loop {
	s := setup{state: pool.Up, core: core}
	for _, f := range workers {
		s.fakes = append(s.fakes, &f.Fake)
	}
	l := s.start(t)
	for i, f := range workers {
		l.worker(pool.WorkerID(i)).Backend = f
	}
	if c != nil {
		l.model(0).Gate = gate.New(c, 1)
	}
	return l
}

// askRows is a request for rows, which may leave early.
func askRows(t testing.TB, rows ...int) *Request {
	t.Helper()
	r := &Request{Size: len(rows), MergeKey: 1, Mode: earlyexit.Compute}
	r.Call.Request = new(oip.Request)
	body := fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"INT32","shape":[%d],"data":[%s]}]}`,
		len(rows), strings.ReplaceAll(strings.Trim(fmt.Sprint(rows), "[]"), " ", ","))
	if err := r.Call.Request.Parse([]byte(body), -1, nil); err != nil {
		t.Fatal(err)
	}
	return r
}
