package engine

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"sync"

	"motley/internal/oip"
)

//go:embed fashion.onnx
var fashion []byte

// maxBatch is the largest batch that the built-in engine runs: memory grows
// with it, speed per item does no longer.
const maxBatch = 64

// Platform is the platform that the built-in engine gives in its metadata.
const Platform = "motley_onnx"

// Builtin loads a model that is part of this program. There is one, "fashion".
// The result is a Staged.
func Builtin(name string) (Model, error) {
	if name != "fashion" {
		return nil, fmt.Errorf("there is no built-in model %q, only \"fashion\"", name)
	}
	return LoadONNX(fashion)
}

// LoadONNX loads an ONNX file into the built-in engine, which runs
// convolutional networks with one FP32 input [n,channels,height,width] made of
// the few operators it has; anything else is refused by name. Outputs named
// ramp0_probabilities, ramp1_probabilities, … are ramps, which the stages end
// with. The result is a Staged; it keeps nothing of data.
func LoadONNX(data []byte) (Model, error) {
	parsed, err := parseONNX(data)
	if err != nil {
		return nil, fmt.Errorf("cannot read the ONNX model: %w", err)
	}
	p, err := compile(parsed)
	if err != nil {
		return nil, fmt.Errorf("cannot load the ONNX model: %w", err)
	}
	if p.name == "" {
		p.name = "model"
	}
	m := &builtin{program: p, metadata: &oip.ModelMetadata{Name: p.name, Versions: []string{"1"}, Platform: Platform}}
	m.metadata.Inputs = []oip.TensorMetadata{{Name: p.input.name, Datatype: oip.FP32, Shape: p.input.shape(-1)}}
	for _, o := range p.outputs {
		t := oip.TensorMetadata{Name: o.name, Datatype: oip.FP32, Shape: o.shape(-1)}
		if o.kind == intsValue {
			t.Datatype = oip.Int64
		}
		m.metadata.Outputs = append(m.metadata.Outputs, t)
	}
	m.scratch.New = func() any { return new(scratch) }
	m.timings = sync.OnceValues(func() ([]Timing, error) { return Measure(m) })
	return m, nil
}

// builtin is a model in the built-in engine. An execution runs on the
// goroutine that calls it, whatever its size: parallelism is for several
// workers side by side.
type builtin struct {
	program  *program
	metadata *oip.ModelMetadata
	scratch  sync.Pool
	timings  func() ([]Timing, error)
}

func (m *builtin) Metadata() *oip.ModelMetadata { return m.metadata }
func (m *builtin) MaxBatch() int                { return maxBatch }
func (m *builtin) Stages() int                  { return len(m.program.stages) }

func (m *builtin) Classes() int {
	if says := m.program.stages[m.Stages()-1].says; says != nil {
		return says.columns
	}
	return 0
}

func (m *builtin) Close() error { return nil }

func (m *builtin) Begin(in []oip.Tensor) (*Execution, error) {
	n, err := m.check(in)
	if err != nil {
		return nil, err
	}
	e := &Execution{model: m, x: m.scratch.Get().(*scratch), rows: make([]int, n)}
	for i := range e.rows {
		e.rows[i] = i
	}
	e.x.fit(m.program, n)
	input := m.program.input
	input.extent.fill(e.x.slots[input.slot], n, in[0].Data)
	return e, nil
}

// Run computes no ramps. It looks at ctx between the stages.
func (m *builtin) Run(ctx context.Context, in []oip.Tensor, want []string) ([]oip.Tensor, error) {
	if _, err := m.choose(want); err != nil {
		return nil, err
	}
	e, err := m.Begin(in)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	for !e.Done() {
		if _, err := e.Next(ctx, false); err != nil {
			return nil, err
		}
	}
	return e.Outputs(e.rows, want)
}

func badInput(format string, args ...any) error {
	return &oip.Error{Status: 400, Message: fmt.Sprintf(format, args...)}
}

// check returns the number of items.
func (m *builtin) check(in []oip.Tensor) (int, error) {
	input := m.program.input
	if len(in) != 1 {
		return 0, badInput("model '%s' takes 1 input ('%s'), got %d", m.program.name, input.name, len(in))
	}
	t := &in[0]
	want := input.shape(-1)
	switch {
	case t.Name != input.name:
		return 0, badInput("model '%s' has no input '%.128s', only '%s'", m.program.name, t.Name, input.name)
	case t.Datatype != oip.FP32:
		return 0, badInput("input '%s' has datatype %v, want FP32", t.Name, t.Datatype)
	case len(t.Shape) != len(want) || !slices.Equal(t.Shape[1:], want[1:]) || t.Shape[0] < 1:
		return 0, badInput("input '%s' has shape %v, want %v with at least 1 item", t.Name, t.Shape, want)
	case t.Shape[0] > maxBatch:
		return 0, badInput("input '%s' has %d items, model '%s' takes at most %d at once", t.Name, t.Shape[0], m.program.name, maxBatch)
	}
	if n, size := int(t.Shape[0]), 4*input.extent.elements(); len(t.Data) != n*size {
		return 0, badInput("input '%s' has shape %v, which is %d bytes, but %d bytes of data", t.Name, t.Shape, n*size, len(t.Data))
	}
	return int(t.Shape[0]), nil
}

// choose finds the outputs asked for, all where want is empty.
func (m *builtin) choose(want []string) ([]*value, error) {
	if len(want) == 0 {
		return m.program.outputs, nil
	}
	chosen := make([]*value, 0, len(m.program.outputs))
next:
	for i, name := range want {
		for _, earlier := range want[:i] {
			if earlier == name {
				return nil, badInput("output '%.128s' is asked for twice", name)
			}
		}
		for _, o := range m.program.outputs {
			if o.name == name {
				chosen = append(chosen, o)
				continue next
			}
		}
		return nil, badInput("model '%s' has no output '%.128s'", m.program.name, name)
	}
	return chosen, nil
}
