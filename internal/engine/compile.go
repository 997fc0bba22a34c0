package engine

import (
	"errors"
	"fmt"
	"strings"
)

// valueKind is the form in which a value is held.
type valueKind uint8

const (
	planesValue valueKind = iota // FP32 [n,c,h,w], laid out as planes.go says
	rowsValue                    // FP32 [n,columns]
	intsValue                    // INT64 [n,1]
)

// value is one tensor of the graph, batch dimension left out.
type value struct {
	name    string
	kind    valueKind
	extent  extent // of planes
	columns int    // of rows
	slot    int    // where it lies in scratch.slots; ints lie in scratch.ints
	last    int    // the last instruction that reads it; outputs are read at the end
}

func (v *value) floats(n int) int {
	switch v.kind {
	case planesValue:
		return v.extent.floats(n)
	case rowsValue:
		return n * v.columns
	}
	return 0
}

func (v *value) shape(n int64) []int64 {
	switch v.kind {
	case planesValue:
		return []int64{n, int64(v.extent.c), int64(v.extent.h), int64(v.extent.w)}
	case rowsValue:
		return []int64{n, int64(v.columns)}
	}
	return []int64{n, 1}
}

// stage is what runs between two exits.
type stage struct {
	trunk []step
	ramp  []step // nil in the last stage
	live  *value // what the next stage starts from
	says  *value // what the exit gives: the ramp's output, at the last stage the first FP32 output
}

// program is a compiled graph.
type program struct {
	name    string
	input   *value
	outputs []*value
	stages  []stage
	slots   []*slotSize
}

// slotSize is the room that the values sharing a slot need.
type slotSize struct{ values []*value }

func (s *slotSize) floats(n int) int {
	most := 0
	for _, v := range s.values {
		most = max(most, v.floats(n))
	}
	return most
}

// Limits of a model that the built-in engine takes.
const (
	minOpset, maxOpset = 13, 22
	maxItemFloats      = 4 << 20 // of scratch for one item, all values together
)

// rampPrefix and rampSuffix name the graph outputs that are ramps:
// ramp0_probabilities, ramp1_probabilities, … They are no outputs of the model
// as OIP sees it.
const rampPrefix, rampSuffix = "ramp", "_probabilities"

func isRamp(name string) bool {
	digits := strings.TrimSuffix(strings.TrimPrefix(name, rampPrefix), rampSuffix)
	return len(digits)+len(rampPrefix)+len(rampSuffix) == len(name) && digits != "" && strings.Trim(digits, "0123456789") == ""
}

func compile(m *onnxModel) (*program, error) {
	if m.opset < minOpset || m.opset > maxOpset {
		return nil, fmt.Errorf("opset %d is not supported, only %d to %d", m.opset, minOpset, maxOpset)
	}
	c := &compiler{graph: &m.graph, values: map[string]*value{}, maker: map[string]int{}}
	for _, f := range []func() error{c.takeInput, c.takeNodes, c.takeOutputs, c.cut} {
		if err := f(); err != nil {
			return nil, err
		}
	}
	return c.emit()
}

// compiler holds what is known while a graph is compiled. Instructions are in
// the graph's own (topological) order.
type compiler struct {
	graph        *onnxGraph
	values       map[string]*value
	instructions []*instruction
	maker        map[string]int // value name → instruction
	input        *value
	outputs      []*value
	ramps        []*value
	branches     []*value // by ramp: what it branches from
	copied       int      // weights laid out anew so far
}

// instruction is one node, or several that were fused.
type instruction struct {
	node  *onnxNode
	reads []*value
	out   *value
	step  func() step // makes the step once slots are given
	stage int
	ramp  bool // belongs to the ramp of its stage, not to the trunk
	// trunk marks the ancestors of the model's own outputs.
	trunk bool
	// conv and residual are set for convolutions, pool for pools: they may take in
	// later nodes.
	conv     *convStep
	residual *value
	pool     *poolStep
}

func (c *compiler) takeInput() error {
	var inputs []onnxValue
	for _, v := range c.graph.inputs {
		if _, weight := c.graph.weights[v.name]; !weight {
			inputs = append(inputs, v)
		}
	}
	if len(inputs) != 1 {
		return fmt.Errorf("the graph has %d inputs, the built-in engine takes exactly one", len(inputs))
	}
	in := inputs[0]
	if in.elem != elemFloat || len(in.dims) != 4 || in.dims[0] > 0 {
		return fmt.Errorf("input %q has element type %d and shape %v, want FLOAT [n,channels,height,width] with n variable", in.name, in.elem, in.dims)
	}
	for _, d := range in.dims[1:] {
		if d < 1 || d > 4096 {
			return fmt.Errorf("input %q has shape %v: channels, height and width must be 1 to 4096", in.name, in.dims)
		}
	}
	c.input = &value{name: in.name, kind: planesValue, extent: extent{int(in.dims[1]), int(in.dims[2]), int(in.dims[3])}}
	c.values[in.name] = c.input
	return nil
}

func (c *compiler) takeNodes() error {
	for i := range c.graph.nodes {
		n := &c.graph.nodes[i]
		if n.domain != "" && n.domain != "ai.onnx" {
			return fmt.Errorf("operator %s of domain %q is not supported by the built-in engine", n.op, n.domain)
		}
		build, known := operators[n.op]
		if !known {
			return fmt.Errorf("operator %s is not supported by the built-in engine (it has %s)", n.op, operatorNames)
		}
		if len(n.outputs) != 1 || n.outputs[0] == "" {
			return fmt.Errorf("%s has %d outputs, want 1", n.label(), len(n.outputs))
		}
		if c.values[n.outputs[0]] != nil {
			return fmt.Errorf("%s makes %q, which is there already", n.label(), n.outputs[0])
		}
		ins := &instruction{node: n}
		if err := build(c, ins); err != nil {
			return fmt.Errorf("%s: %w", n.label(), err)
		}
		ins.out.name = n.outputs[0]
		if ins.out.floats(1) > maxItemFloats {
			return fmt.Errorf("%s makes %d values an item, at most %d are supported", n.label(), ins.out.floats(1), maxItemFloats)
		}
		c.values[ins.out.name] = ins.out
		c.maker[ins.out.name] = len(c.instructions)
		c.instructions = append(c.instructions, ins)
	}
	return nil
}

// takeOutputs checks the declared outputs and sorts the ramps from the rest.
func (c *compiler) takeOutputs() error {
	for _, o := range c.graph.outputs {
		v := c.values[o.name]
		if v == nil || v == c.input {
			return fmt.Errorf("no node makes the output %q", o.name)
		}
		if elem := int64(elemFloat); o.elem != elem && v.kind != intsValue || v.kind == intsValue && o.elem != elemInt64 {
			return fmt.Errorf("output %q is declared with element type %d, its node makes another", o.name, o.elem)
		}
		if want := v.shape(-1); !sameShape(o.dims, want) {
			return fmt.Errorf("output %q is declared with shape %v, its node makes %v", o.name, o.dims, want)
		}
		for _, other := range append(c.outputs, c.ramps...) {
			if other == v {
				return fmt.Errorf("output %q is declared twice", o.name)
			}
		}
		if isRamp(o.name) {
			c.ramps = append(c.ramps, v)
		} else {
			c.outputs = append(c.outputs, v)
		}
	}
	if len(c.outputs) == 0 {
		return errors.New("the graph has no outputs")
	}
	ints := 0
	for _, ins := range c.instructions {
		if ins.out.kind == intsValue {
			ints++
		}
	}
	if ints > 1 {
		return errors.New("more than one ArgMax is not supported")
	}
	return nil
}

// sameShape compares, a variable dimension matching anything.
func sameShape(declared, made []int64) bool {
	if declared == nil {
		return true // no shape declared
	}
	if len(declared) != len(made) {
		return false
	}
	for i, d := range declared {
		if d > 0 && made[i] > 0 && d != made[i] || i == 0 && d > 0 {
			return false
		}
	}
	return true
}
