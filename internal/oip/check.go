package oip

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Check holds a parsed request against the model's metadata: names, datatypes
// and dimensions of the inputs, the names of the requested outputs, and where
// the model batches (the first dimension of every tensor is then the batch)
// that the inputs agree on the number of items, 1 to maxBatch. A maxBatch of
// 0 is no bound. What the metadata does not tell is not checked: meta may be
// nil, or list no inputs or no outputs.
//
// It completes a raw request by the name, datatype and shape of the model's
// only input, so it must be called before MergeKey, Merge, Slice, Size and Tensors.
// Errors are *Error with status 400.
func (r *Request) Check(meta *ModelMetadata, batched bool, maxBatch int) error {
	if meta == nil {
		meta = &ModelMetadata{Name: r.Model}
	}
	if r.Raw {
		if err := r.resolveRaw(meta, batched); err != nil {
			return err
		}
	}
	if len(meta.Inputs) > 0 {
		if err := r.checkInputs(meta, batched); err != nil {
			return err
		}
	}
	if batched {
		if err := r.checkBatch(meta, maxBatch); err != nil {
			return err
		}
	}
	return r.checkOutputs(meta)
}

// resolveRaw gives the only input of a raw request its description. The batch
// is 1, and one dimension may be variable.
func (r *Request) resolveRaw(meta *ModelMetadata, batched bool) error {
	if len(meta.Inputs) != 1 {
		return badRequest("a raw binary request needs a model with one input, model %s has %d", quoted(raw(meta.Name)), len(meta.Inputs))
	}
	want, in := &meta.Inputs[0], &r.Inputs[0]
	r.scratch = append(r.scratch[:0], want.Name...)
	in.Name = r.scratch[:len(want.Name):len(want.Name)]
	in.Datatype = want.Datatype
	in.Shape = append(in.Shape[:0], want.Shape...)
	if batched && len(in.Shape) > 0 {
		in.Shape[0] = 1
	}
	variable, n := -1, int64(1)
	for i, d := range in.Shape {
		if d >= 0 {
			n *= d
			continue
		}
		if variable >= 0 {
			return badRequest("a raw binary request needs an input with at most one variable dimension, input %s of model %s has shape %s", quoted(in.Name), quoted(raw(meta.Name)), appendShape(nil, want.Shape))
		}
		variable = i
	}
	if in.Datatype == Bytes {
		if variable >= 0 {
			in.Shape[variable] = 1
		}
		if n != 1 {
			return badRequest("a raw binary request carries one BYTES element, input %s of model %s has %d", quoted(in.Name), quoted(raw(meta.Name)), n)
		}
		start := len(r.scratch)
		r.scratch = binary.LittleEndian.AppendUint32(r.scratch, uint32(len(r.Body)))
		r.scratch = append(r.scratch, r.Body...)
		in.Name = r.scratch[:len(want.Name):len(want.Name)]
		in.Binary, in.elements = r.scratch[start:], 1
		return nil
	}
	have, item := int64(len(r.Body)), n*int64(in.Datatype.Size())
	if variable >= 0 {
		in.Shape[variable] = 0
		if item > 0 { // else another dimension is 0
			in.Shape[variable] = have / item
		}
		item *= in.Shape[variable]
	}
	switch {
	case have > item:
		return badRequest("unexpected additional input data for model %s", quoted(raw(meta.Name)))
	case have < item:
		return badRequest("unexpected size for input %s, expecting %d additional bytes for model %s", quoted(in.Name), item-have, quoted(raw(meta.Name)))
	}
	in.Binary, in.elements = r.Body, item/int64(max(in.Datatype.Size(), 1))
	return nil
}

func (r *Request) checkInputs(meta *ModelMetadata, batched bool) error {
	model := raw(meta.Name)
	for i := range r.Inputs {
		in := &r.Inputs[i]
		want := findTensor(meta.Inputs, in.Name)
		if want == nil {
			return badRequest("unexpected inference input %s for model %s", quoted(in.Name), quoted(model))
		}
		if in.Datatype != want.Datatype {
			return badRequest("inference input %s data-type is '%s', but model %s expects '%s'", quoted(in.Name), in.Datatype, quoted(model), want.Datatype)
		}
		if !shapeFits(in.Shape, want.Shape, batched) {
			return badRequest("unexpected shape for input %s for model %s. Expected %s, got %s", quoted(in.Name), quoted(model), appendShape(nil, want.Shape), appendShape(nil, in.Shape))
		}
	}
	if len(r.Inputs) != len(meta.Inputs) {
		return badRequest("expected %d inputs but got %d inputs for model %s. Got input(s) [%s], but missing required input(s) [%s]. Please provide all required input(s).",
			len(meta.Inputs), len(r.Inputs), quoted(model), r.inputNames(), r.missingNames(meta))
	}
	return nil
}

func (r *Request) inputNames() string {
	var names []string
	for i := range r.Inputs {
		names = append(names, quoted(r.Inputs[i].Name))
	}
	return strings.Join(names, ",")
}

func (r *Request) missingNames(meta *ModelMetadata) string {
	var names []string
	for i := range meta.Inputs {
		name := meta.Inputs[i].Name
		if !slices.ContainsFunc(r.Inputs, func(in Input) bool { return string(in.Name) == name }) {
			names = append(names, quoted(raw(name)))
		}
	}
	return strings.Join(names, ",")
}

func (r *Request) checkBatch(meta *ModelMetadata, maxBatch int) error {
	model := raw(meta.Name)
	var items int64
	for i := range r.Inputs {
		in := &r.Inputs[i]
		switch {
		case len(in.Shape) == 0:
			return badRequest("input %s has no batch dimension, which model %s needs", quoted(in.Name), quoted(model))
		case in.Shape[0] == 0:
			return badRequest("inference request batch-size must be at least 1 for model %s, input %s has 0", quoted(model), quoted(in.Name))
		case i == 0:
			items = in.Shape[0]
		case in.Shape[0] != items:
			return badRequest("input %s batch size does not match other inputs for %s: %d and %d", quoted(in.Name), quoted(model), in.Shape[0], items)
		}
	}
	if maxBatch > 0 && items > int64(maxBatch) {
		return badRequest("inference request batch-size must be <= %d for model %s, got %d", maxBatch, quoted(model), items)
	}
	return nil
}

func (r *Request) checkOutputs(meta *ModelMetadata) error {
	if len(meta.Outputs) == 0 {
		return nil
	}
	for i := range r.Outputs {
		o := &r.Outputs[i]
		out := findTensor(meta.Outputs, o.Name)
		if out == nil {
			return badRequest("unexpected inference output %s for model %s", quoted(o.Name), quoted(raw(meta.Name)))
		}
		if out.Datatype.half() && !o.Binary && o.Classification == 0 {
			return noHalfJSON(out.Datatype, o.Name)
		}
	}
	if len(r.Outputs) == 0 && !r.BinaryOutput {
		for i := range meta.Outputs {
			if out := &meta.Outputs[i]; out.Datatype.half() {
				return noHalfJSON(out.Datatype, raw(out.Name))
			}
		}
	}
	return nil
}

func noHalfJSON(d Datatype, name []byte) *Error {
	return badRequest("sending %s data via JSON is not supported. Please use the binary data format for output %s", d, quoted(name))
}

func findTensor(tensors []TensorMetadata, name []byte) *TensorMetadata {
	for i := range tensors {
		if tensors[i].Name == string(name) {
			return &tensors[i]
		}
	}
	return nil
}

// shapeFits compares a shape with a model's, where −1 is any dimension. The
// batch dimension is checked elsewhere.
func shapeFits(shape, want []int64, batched bool) bool {
	if len(shape) != len(want) {
		return false
	}
	for i, n := range shape {
		if want[i] >= 0 && n != want[i] && (i > 0 || !batched) {
			return false
		}
	}
	return true
}
