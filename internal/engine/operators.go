package engine

import (
	"errors"
	"fmt"
	"slices"
)

// operators are the ONNX operators that the built-in engine has; each checks a
// node and fills in the instruction's reads, out and step.
var operators = map[string]func(*compiler, *instruction) error{
	"Add":         (*compiler).takeAdd,
	"ArgMax":      (*compiler).takeArgMax,
	"AveragePool": (*compiler).takeAveragePool,
	"Conv":        (*compiler).takeConv,
	"Flatten":     (*compiler).takeFlatten,
	"Gemm":        (*compiler).takeGemm,
	"Relu":        (*compiler).takeRelu,
	"Softmax":     (*compiler).takeSoftmax,
}

const operatorNames = "Add, ArgMax, AveragePool, Conv, Flatten, Gemm, Relu, Softmax"

// attributes reads a node's attributes: every one that was not asked for when
// done is called is refused by name.
type attributes struct {
	rest []onnxAttribute
	err  error
}

func attributesOf(n *onnxNode) *attributes { return &attributes{rest: slices.Clone(n.attributes)} }

func (a *attributes) take(name string) (onnxAttribute, bool) {
	i := slices.IndexFunc(a.rest, func(x onnxAttribute) bool { return x.name == name })
	if i < 0 {
		return onnxAttribute{}, false
	}
	x := a.rest[i]
	a.rest = slices.Delete(a.rest, i, i+1)
	return x, true
}

func (a *attributes) fail(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, args...)
	}
}

// int is an attribute's value, or def where it is absent.
func (a *attributes) int(name string, def int64) int64 {
	x, ok := a.take(name)
	if !ok {
		return def
	}
	if x.kind != 2 {
		a.fail("attribute %s is not of type INT", name)
	}
	return x.i
}

// ints is an attribute's n values, or def n times where it is absent.
func (a *attributes) ints(name string, n int, def int64) []int64 {
	x, ok := a.take(name)
	if !ok {
		return slices.Repeat([]int64{def}, n)
	}
	if x.kind != 7 || len(x.ints) != n {
		a.fail("attribute %s = %v: want %d INTS", name, x.ints, n)
		return slices.Repeat([]int64{def}, n)
	}
	return x.ints
}

// only refuses any value of an attribute but one.
func (a *attributes) only(name string, def, want int64) {
	if v := a.int(name, def); v != want {
		a.fail("attribute %s = %d is not supported, only %d", name, v, want)
	}
}

func (a *attributes) onlyInts(name string, n int, def, want int64) {
	if v := a.ints(name, n, def); slices.ContainsFunc(v, func(v int64) bool { return v != want }) {
		a.fail("attribute %s = %v is not supported, only %d throughout", name, v, want)
	}
}

func (a *attributes) onlyFloat(name string, want float32) {
	if x, ok := a.take(name); ok && (x.kind != 1 || x.f != want) {
		a.fail("attribute %s = %v is not supported, only %v", name, x.f, want)
	}
}

func (a *attributes) onlyString(name, want string) {
	if x, ok := a.take(name); ok && (x.kind != 3 || x.s != want) {
		a.fail("attribute %s = %q is not supported, only %q", name, x.s, want)
	}
}

func (a *attributes) done() error {
	if a.err == nil && len(a.rest) > 0 {
		a.fail("attribute %s is not supported", a.rest[0].name)
	}
	return a.err
}

// operand is the i-th input, which some earlier node made, as the given kind.
func (c *compiler) operand(ins *instruction, i int, kind valueKind) (*value, error) {
	if i >= len(ins.node.inputs) {
		return nil, fmt.Errorf("input %d is missing", i)
	}
	name := ins.node.inputs[i]
	v := c.values[name]
	if v == nil {
		if _, weight := c.graph.weights[name]; weight {
			return nil, fmt.Errorf("input %q is a weight, which is not supported there", name)
		}
		return nil, fmt.Errorf("input %q is made by no earlier node", name)
	}
	if v.kind != kind {
		return nil, fmt.Errorf("input %q has %d dimensions, which is not supported there", name, len(v.shape(1)))
	}
	ins.reads = append(ins.reads, v)
	return v, nil
}

// weight is the i-th input, a weight with the given number of dimensions.
func (c *compiler) weight(ins *instruction, i, dims int) (onnxTensor, error) {
	if i >= len(ins.node.inputs) {
		return onnxTensor{}, fmt.Errorf("input %d is missing", i)
	}
	t, ok := c.graph.weights[ins.node.inputs[i]]
	if !ok {
		return t, fmt.Errorf("input %q is not a weight in the file", ins.node.inputs[i])
	}
	if len(t.dims) != dims || slices.Contains(t.dims, 0) {
		return t, fmt.Errorf("weight %q has shape %v, want %d dimensions", t.name, t.dims, dims)
	}
	return t, nil
}

// copies counts weights that a node lays out anew: one weight may be read by
// many nodes, and a small file must not become a large model.
func (c *compiler) copies(t onnxTensor) error {
	if c.copied += len(t.data); c.copied > maxModelBytes/4 {
		return fmt.Errorf("weight %q: the nodes read more than %d weights in all", t.name, maxModelBytes/4)
	}
	return nil
}

// bias is the third input, zeros where it is absent.
func (c *compiler) bias(ins *instruction, n int) ([]float32, error) {
	if len(ins.node.inputs) < 3 || ins.node.inputs[2] == "" {
		return make([]float32, n), nil
	}
	t, err := c.weight(ins, 2, 1)
	if err == nil && int(t.dims[0]) != n {
		err = fmt.Errorf("bias %q has shape %v, want [%d]", t.name, t.dims, n)
	}
	return t.data, err
}

func arity(ins *instruction, least, most int) error {
	if n := len(ins.node.inputs); n < least || n > most {
		return fmt.Errorf("%d inputs, want %d to %d", n, least, most)
	}
	return nil
}

func (c *compiler) takeConv(ins *instruction) error {
	if err := arity(ins, 2, 3); err != nil {
		return err
	}
	in, err := c.operand(ins, 0, planesValue)
	if err != nil {
		return err
	}
	w, err := c.weight(ins, 1, 4)
	if err != nil {
		return err
	}
	a := attributesOf(ins.node)
	a.onlyString("auto_pad", "NOTSET")
	a.only("group", 1, 1)
	a.onlyInts("dilations", 2, 1, 1)
	a.onlyInts("kernel_shape", 2, 3, 3)
	a.onlyInts("pads", 4, 0, 1)
	strides := a.ints("strides", 2, 1)
	if s := strides[0]; s != strides[1] || s != 1 && s != 2 {
		a.fail("attribute strides = %v is not supported, only 1 or 2 in both directions", strides)
	}
	if err := a.done(); err != nil {
		return err
	}
	cout := int(w.dims[0])
	if w.dims[1] != int64(in.extent.c) || w.dims[2] != 3 || w.dims[3] != 3 {
		return fmt.Errorf("weight %q has shape %v, want [out,%d,3,3]", w.name, w.dims, in.extent.c)
	}
	bias, err := c.bias(ins, cout)
	if err != nil {
		return err
	}
	if err := c.copies(w); err != nil {
		return err
	}
	s := int(strides[0])
	ins.out = &value{kind: planesValue, extent: extent{cout, (in.extent.h-1)/s + 1, (in.extent.w-1)/s + 1}}
	ins.conv = &convStep{from: in.extent, to: ins.out.extent, stride: s, residual: -1,
		weight: newConvWeight(w.data, in.extent.c, cout), bias: bias}
	ins.step = func() step {
		ins.conv.in, ins.conv.out = in.slot, ins.out.slot
		if ins.residual != nil {
			ins.conv.residual = ins.residual.slot
		}
		return ins.conv
	}
	return nil
}

func (c *compiler) takeRelu(ins *instruction) error {
	if err := errors.Join(arity(ins, 1, 1), attributesOf(ins.node).done()); err != nil {
		return err
	}
	in, err := c.operand(ins, 0, planesValue)
	if err != nil {
		return err
	}
	ins.out = &value{kind: planesValue, extent: in.extent}
	ins.step = func() step { return &reluStep{in: in.slot, out: ins.out.slot, e: in.extent} }
	return nil
}

func (c *compiler) takeAdd(ins *instruction) error {
	if err := errors.Join(arity(ins, 2, 2), attributesOf(ins.node).done()); err != nil {
		return err
	}
	a, err := c.operand(ins, 0, planesValue)
	if err != nil {
		return err
	}
	b, err := c.operand(ins, 1, planesValue)
	if err != nil {
		return err
	}
	if a.extent != b.extent {
		return fmt.Errorf("shapes %v and %v differ: broadcasting is not supported", a.shape(-1), b.shape(-1))
	}
	ins.out = &value{kind: planesValue, extent: a.extent}
	ins.step = func() step { return &addStep{a: a.slot, b: b.slot, out: ins.out.slot, e: a.extent} }
	return nil
}

func (c *compiler) takeAveragePool(ins *instruction) error {
	if err := arity(ins, 1, 1); err != nil {
		return err
	}
	in, err := c.operand(ins, 0, planesValue)
	if err != nil {
		return err
	}
	a := attributesOf(ins.node)
	a.onlyString("auto_pad", "NOTSET")
	a.only("ceil_mode", 0, 0)
	a.int("count_include_pad", 0) // without padding it changes nothing
	a.onlyInts("dilations", 2, 1, 1)
	a.onlyInts("pads", 4, 0, 0)
	kernel, strides := a.ints("kernel_shape", 2, 0), a.ints("strides", 2, 1)
	e := in.extent
	if kernel[0] < 1 || kernel[1] < 1 || kernel[0] > int64(e.h) || kernel[1] > int64(e.w) {
		a.fail("attribute kernel_shape = %v does not fit %d×%d pixels", kernel, e.h, e.w)
	}
	if strides[0] < 1 || strides[1] < 1 {
		a.fail("attribute strides = %v is not supported, only positive ones", strides)
	}
	if err := a.done(); err != nil {
		return err
	}
	size := func(side int, kernel, stride int64) int { return int((int64(side)-kernel)/stride) + 1 }
	ins.out = &value{kind: planesValue, extent: extent{e.c, size(e.h, kernel[0], strides[0]), size(e.w, kernel[1], strides[1])}}
	ins.pool = &poolStep{from: e, to: ins.out.extent, kernelY: int(kernel[0]), kernelX: int(kernel[1]),
		strideY: int(min(strides[0], int64(e.h))), strideX: int(min(strides[1], int64(e.w)))}
	ins.step = func() step {
		ins.pool.in, ins.pool.out = in.slot, ins.out.slot
		return ins.pool
	}
	return nil
}

func (c *compiler) takeFlatten(ins *instruction) error {
	a := attributesOf(ins.node)
	a.only("axis", 1, 1)
	if err := errors.Join(arity(ins, 1, 1), a.done()); err != nil {
		return err
	}
	in, err := c.operand(ins, 0, planesValue)
	if err != nil {
		return err
	}
	ins.out = &value{kind: rowsValue, columns: in.extent.elements()}
	ins.step = func() step { return &flattenStep{in: in.slot, out: ins.out.slot, e: in.extent} }
	return nil
}

func (c *compiler) takeGemm(ins *instruction) error {
	if err := arity(ins, 2, 3); err != nil {
		return err
	}
	in, err := c.operand(ins, 0, rowsValue)
	if err != nil {
		return err
	}
	w, err := c.weight(ins, 1, 2)
	if err != nil {
		return err
	}
	a := attributesOf(ins.node)
	a.onlyFloat("alpha", 1)
	a.onlyFloat("beta", 1)
	a.only("transA", 0, 0)
	transposed := a.int("transB", 0) != 0
	if err := a.done(); err != nil {
		return err
	}
	rows, columns := int(w.dims[0]), int(w.dims[1])
	k, m, weight := rows, columns, w.data
	if transposed {
		k, m = m, k
	}
	few := m <= fewColumns
	if transposed != few {
		if err := c.copies(w); err != nil {
			return err
		}
		weight = make([]float32, k*m)
		for i := range rows {
			for j := range columns {
				weight[j*rows+i] = w.data[i*columns+j]
			}
		}
	}
	if k != in.columns {
		return fmt.Errorf("weight %q takes %d columns, the input has %d", w.name, k, in.columns)
	}
	bias, err := c.bias(ins, m)
	if err != nil {
		return err
	}
	ins.out = &value{kind: rowsValue, columns: m}
	ins.step = func() step {
		return &gemmStep{in: in.slot, out: ins.out.slot, k: k, m: m, weight: weight, bias: bias, few: few}
	}
	return nil
}

func (c *compiler) takeSoftmax(ins *instruction) error {
	a := attributesOf(ins.node)
	if axis := a.int("axis", -1); axis != 1 && axis != -1 {
		a.fail("attribute axis = %d is not supported, only the last", axis)
	}
	if err := errors.Join(arity(ins, 1, 1), a.done()); err != nil {
		return err
	}
	in, err := c.operand(ins, 0, rowsValue)
	if err != nil {
		return err
	}
	ins.out = &value{kind: rowsValue, columns: in.columns}
	ins.step = func() step { return &softmaxStep{in: in.slot, out: ins.out.slot, columns: in.columns} }
	return nil
}

func (c *compiler) takeArgMax(ins *instruction) error {
	a := attributesOf(ins.node)
	if axis := a.int("axis", 0); axis != 1 && axis != -1 {
		a.fail("attribute axis = %d is not supported, only the last", axis)
	}
	a.only("keepdims", 1, 1)
	a.only("select_last_index", 0, 0)
	if err := errors.Join(arity(ins, 1, 1), a.done()); err != nil {
		return err
	}
	in, err := c.operand(ins, 0, rowsValue)
	if err != nil {
		return err
	}
	ins.out = &value{kind: intsValue}
	ins.step = func() step { return &argmaxStep{in: in.slot, columns: in.columns} }
	return nil
}
