package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"motley/internal/oip"
)

// Staged is a model that can be run in stages. Each stage but the last ends at
// a ramp, the last at the model's own outputs.
type Staged interface {
	Model
	// Stages counts the stages: the ramps and one.
	Stages() int
	// Work counts what the stages do for one item, by stage.
	Work() []Work
	// Begin checks a batch as Run does and starts its execution. The caller
	// closes the execution.
	Begin(in []oip.Tensor) (*Execution, error)
}

// Exit is what an execution knows at the end of a stage. Rows and
// Probabilities belong to the execution and hold until its next Next, Keep or
// Close; do not change them.
type Exit struct {
	Stage int   // 0 for the first
	Done  bool  // this was the last stage
	Rows  []int // the rows still running, by their position in the batch given to Begin, ascending
	// Probabilities is [len(Rows)][Classes], of the ramp or of the last exit;
	// nil when the ramp was not evaluated.
	Probabilities []float32
	Classes       int
}

// Execution is one batch on its way through the stages. It is not safe for
// concurrent use; different executions of one model are independent.
type Execution struct {
	model *builtin
	x     *scratch // nil once closed
	rows  []int
	stage int // the next one to run
	// answer holds the rows of the exit evaluated last, for Outputs: until the
	// next stage runs.
	answer   []int
	answered *stage
}

var (
	errClosed = errors.New("cannot run a closed execution")
	errDone   = errors.New("cannot run past the last stage")
)

// Next runs the next stage. With evaluate it also computes the stage's ramp;
// the last stage's exit is always computed. A context that has ended stops it
// before the stage; the execution can be continued.
func (e *Execution) Next(ctx context.Context, evaluate bool) (Exit, error) {
	switch {
	case e.x == nil:
		return Exit{}, errClosed
	case e.Done():
		return Exit{}, errDone
	}
	if err := ctx.Err(); err != nil {
		return Exit{}, fmt.Errorf("cannot run stage %d of %s: %w", e.stage, e.model.program.name, err)
	}
	s := &e.model.program.stages[e.stage]
	n := len(e.rows)
	e.run(s.trunk)
	last := e.stage == e.model.Stages()-1
	if evaluate {
		e.run(s.ramp)
	}
	exit := Exit{Stage: e.stage, Done: last, Rows: e.rows}
	e.answer, e.answered = e.answer[:0], nil
	if last || evaluate {
		e.answer, e.answered = append(e.answer, e.rows...), s
		if s.says != nil {
			exit.Classes = s.says.columns
			exit.Probabilities = e.x.slots[s.says.slot][:n*s.says.columns]
		}
	}
	e.stage++
	return exit, nil
}

func (e *Execution) run(steps []step) {
	for _, step := range steps {
		step.run(len(e.rows), e.x)
	}
}

// Done tells that no stage is left to run: the last one has run, or no row is
// left.
func (e *Execution) Done() bool { return e.stage == e.model.Stages() || len(e.rows) == 0 }

// Rows lists the rows still running, ascending. It belongs to the execution.
func (e *Execution) Rows() []int { return e.rows }

// Keep drops every row but the given ones, which are positions in the batch
// given to Begin, ascending and still running. The others' results are the
// same, to the bit, as if nothing had been dropped.
func (e *Execution) Keep(rows []int) error {
	if e.x == nil {
		return errClosed
	}
	if e.stage == e.model.Stages() {
		return errors.New("cannot drop rows after the last stage")
	}
	at := make([]int, len(rows))
	for i, r := range rows {
		p, running := slices.BinarySearch(e.rows, r)
		if !running || i > 0 && rows[i-1] >= r {
			return fmt.Errorf("cannot keep rows %v of %v: not ascending, or not running", rows, e.rows)
		}
		at[i] = p
	}
	if len(rows) == len(e.rows) {
		return nil
	}
	live := e.model.program.input
	if e.stage > 0 {
		live = e.model.program.stages[e.stage-1].live
	}
	keepRows(live, e.x.slots[live.slot], len(e.rows), at)
	e.rows = append(e.rows[:0], rows...)
	return nil
}

func keepRows(v *value, f []float32, n int, at []int) {
	if v.kind == planesValue {
		v.extent.keep(f, n, at)
		return
	}
	for to, from := range at {
		copy(f[to*v.columns:(to+1)*v.columns], f[from*v.columns:])
	}
}

// Outputs makes the model's output tensors for the given rows from the exit
// evaluated last: a ramp's answer has the form of the model's own. It must be
// called before the next Next; rows dropped since by Keep may be asked for.
// want is as in Model.Run; the tensors are the caller's.
func (e *Execution) Outputs(rows []int, want []string) ([]oip.Tensor, error) {
	if e.x == nil {
		return nil, errClosed
	}
	if e.answered == nil {
		return nil, errors.New("cannot answer: no exit was evaluated in the last stage")
	}
	outputs, err := e.model.choose(want)
	if err != nil {
		return nil, err
	}
	at := make([]int, len(rows))
	for i, r := range rows {
		p, there := slices.BinarySearch(e.answer, r)
		if !there {
			return nil, fmt.Errorf("cannot answer row %d: the exit saw rows %v", r, e.answer)
		}
		at[i] = p
	}
	tensors := make([]oip.Tensor, len(outputs))
	for i, o := range outputs {
		tensors[i] = e.tensor(o, at)
	}
	return tensors, nil
}

// tensor copies output o for the items at the given positions.
func (e *Execution) tensor(o *value, at []int) oip.Tensor {
	t := oip.Tensor{Name: o.name, Datatype: oip.FP32, Shape: o.shape(int64(len(at)))}
	ramp := e.answered.live != nil
	switch o.kind {
	case intsValue:
		t.Datatype = oip.Int64
		t.Data = make([]byte, 0, 8*len(at))
		for _, i := range at {
			label := e.x.ints[i]
			if ramp {
				says := e.answered.says
				label = argmax(e.x.slots[says.slot][i*says.columns:][:says.columns])
			}
			t.Data = binary.LittleEndian.AppendUint64(t.Data, uint64(label))
		}
	case rowsValue:
		v := o
		if ramp {
			v = e.answered.says
		}
		t.Data = make([]byte, 0, 4*v.columns*len(at))
		for _, i := range at {
			t.Data = appendFloats(t.Data, e.x.slots[v.slot][i*v.columns:][:v.columns])
		}
	case planesValue:
		t.Data = make([]byte, 0, 4*o.extent.elements()*len(at))
		for _, i := range at {
			for c := range o.extent.c {
				for y := range o.extent.h {
					row := o.extent.row(len(e.answer), c, i, y)
					t.Data = appendFloats(t.Data, e.x.slots[o.slot][row:row+o.extent.w])
				}
			}
		}
	}
	return t
}

func appendFloats(dst []byte, f []float32) []byte {
	for _, v := range f {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}

// Close gives the execution's memory back. It may be called more than once.
func (e *Execution) Close() {
	if e.x != nil {
		e.model.scratch.Put(e.x)
		e.x = nil
	}
}

// scratch is the memory of one execution, reused through a pool.
type scratch struct {
	slots [][]float32
	ints  []int64
	phase []float32 // a strided convolution's input, split
	acc   []float32 // a block of a convolution's output
}

// fit makes room for n items.
func (x *scratch) fit(p *program, n int) {
	x.slots = slices.Grow(x.slots, len(p.slots))[:len(p.slots)]
	for i, s := range p.slots {
		x.slots[i] = grow(x.slots[i], s.floats(n))
	}
	if cap(x.ints) < n {
		x.ints = make([]int64, n)
	}
	x.ints = x.ints[:n]
}

func (x *scratch) phases(n int) []float32 {
	x.phase = grow(x.phase, n)
	return x.phase
}

func (x *scratch) accumulators(n int) []float32 {
	x.acc = grow(x.acc, n)
	return x.acc
}

func grow(f []float32, n int) []float32 {
	if cap(f) < n {
		return make([]float32, n)
	}
	return f[:n]
}
