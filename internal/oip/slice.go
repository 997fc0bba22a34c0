package oip

import (
	"math"
	"slices"
)

// Slice makes dst a request for rows [from, from+count) of every input of src,
// fit for all that a parsed request is fit for: its merge key is src's, and it
// asks for the same outputs in the same form. Data keeps its form, JSON
// (flat or nested) or binary. Timeout, priority and early exit's parameters stay. The id does not,
// since a worker may hold two requests in flight with one id for a repetition;
// Join puts it back. A raw request that Check has resolved becomes a binary
// one. As in a merged request, members that the protocol does not know are
// left out.
//
// dst owns its Body, which the next Slice into dst uses again, and shares
// nothing with src but the model's name. A dst that Parse has filled meanwhile
// gets fresh memory. dst must not be src. In steady state Slice does not
// allocate. src is only read: several goroutines may slice it at once.
//
// Rows of JSON and of BYTES are found by a walk from the beginning of the data
// that reads no values, so that n parts, few as they are, cost about n/2 walks
// over it; other blobs are cut by arithmetic.
//
// Errors are *Error with status 500: rows that src does not have, inputs of
// different first dimensions, a raw request not resolved, a member of a
// sequence. dst is as it was then.
func Slice(dst, src *Request, from, count int) error {
	if src.Sequence {
		return errorf(statusInternal, "cannot slice: the request belongs to a sequence")
	}
	rows, why := src.rows()
	if why != "" {
		return errorf(statusInternal, "cannot slice: %s", why)
	}
	if from < 0 || count < 1 || int64(from) >= rows || int64(count) > rows-int64(from) {
		return errorf(statusInternal, "cannot slice: %d rows from row %d on, of %d", count, from, rows)
	}
	c, body := dst.slicer, dst.Body[:0]
	if c == nil {
		c, body = new(slicer), nil
		c.reqs[0] = &c.view
	}
	c.look(src, int64(from), int64(count))
	m := merger{part: true, reqs: c.reqs[:], opt: MergeOptions{Binary: true}, b: slices.Grow(body, mergedSize(c.reqs[:]))}
	head := m.write()
	dst.Model = src.Model
	err := dst.parse(m.b, head, unlimited, c.view.Inputs)
	c.forget()
	dst.slicer = c
	if err != nil {
		return errorf(statusInternal, "cannot slice: %s", err.Error())
	}
	return nil
}

// unlimited lets everything pass that Parse has let pass under any limits.
var unlimited = Limits{MaxTensors: math.MaxInt, MaxDims: maxLevels, MaxDepth: math.MaxInt, MaxItems: 1 << 58}

// slicer is the memory for making a request of some rows of another.
type slicer struct {
	view Request // the rows where they lie in the source
	reqs [1]*Request
}

// rows is the first dimension that all inputs share, or why there is none.
func (r *Request) rows() (n int64, why string) {
	if len(r.Inputs) == 0 {
		return 0, "the request has no inputs"
	}
	for i := range r.Inputs {
		in := &r.Inputs[i]
		switch {
		case in.Datatype == Invalid:
			return 0, "a raw request was not checked against the model"
		case len(in.Shape) == 0:
			return 0, "input " + quoted(in.Name) + " has no dimensions"
		case i == 0:
			n = in.Shape[0]
		case in.Shape[0] != n:
			return 0, "the first dimension of input " + quoted(in.Name) + " is not that of the others"
		}
	}
	return n, ""
}

// look makes the view show rows of src.
func (c *slicer) look(src *Request, from, count int64) {
	v := &c.view
	v.Parameters, v.BinaryOutput, v.Outputs, v.Inputs = src.Parameters, src.BinaryOutput, src.Outputs, v.Inputs[:0]
	for i := range src.Inputs {
		in, rows := &src.Inputs[i], v.addInput()
		shape := append(rows.Shape, in.Shape...)
		shape[0] = count
		item := in.elements / in.Shape[0]
		*rows = *in
		rows.Shape, rows.elements = shape, item*count
		data, start, end := in.Binary, 0, 0
		if in.JSON != nil {
			data, end = in.JSON, 1
		}
		if from > 0 {
			_, end = cutRows(data, in.JSON != nil, in.nested, in.Datatype, end, from, item*from)
		}
		start, end = cutRows(data, in.JSON != nil, in.nested, in.Datatype, end, count, item*count)
		if in.JSON != nil {
			// With a byte on either side, which stands for the brackets.
			rows.JSON = in.JSON[start-1 : end+1]
		} else {
			rows.Binary = in.Binary[start:end]
		}
	}
}

// forget lets go of what belongs to the source.
func (c *slicer) forget() {
	inputs := c.view.Inputs
	for i := range inputs {
		inputs[i] = Input{Shape: inputs[i].Shape}
	}
	c.view = Request{Inputs: inputs}
}

// Splittable tells whether a request that Check has accepted may be cut into
// parts which are executed apart, so that Join can make of their answers what
// the whole would have been answered. Beyond what MergeKey wants of requests
// that are executed with others (it is 0 for those that may not be) this needs
// at least two rows, and outputs that depend on nothing but their own rows, as
// far as the metadata tells; meta may be nil:
//
//   - no classification of an output that has less than two dimensions or that
//     meta does not list: one dimension is classified across all rows;
//   - no output without dimensions, and none whose trailing dimensions vary
//     while those of the inputs are fixed: they may differ from part to part.
//     Where those of the inputs vary too, the output's are taken to follow
//     them, which is the same in all parts.
func (r *Request) Splittable(meta *ModelMetadata, batched bool) bool {
	if !batched || r.Sequence {
		return false
	}
	if rows, why := r.rows(); why != "" || rows < 2 {
		return false
	}
	if meta == nil {
		meta = &ModelMetadata{}
	}
	for i := range r.Outputs {
		o := &r.Outputs[i]
		t := findTensor(meta.Outputs, o.Name)
		if o.Classification > 0 && (t == nil || len(t.Shape) < 2) || t != nil && !meta.joins(t) {
			return false
		}
	}
	if len(r.Outputs) > 0 {
		return true
	}
	return !slices.ContainsFunc(meta.Outputs, func(t TensorMetadata) bool { return !meta.joins(&t) })
}

// joins tells whether the output's rows from several executions fit together.
func (m *ModelMetadata) joins(out *TensorMetadata) bool {
	return len(out.Shape) > 0 && (!out.varies() ||
		slices.ContainsFunc(m.Inputs, func(t TensorMetadata) bool { return t.varies() }))
}

// varies tells whether a dimension other than the first is variable.
func (t *TensorMetadata) varies() bool {
	return len(t.Shape) > 1 && slices.Min(t.Shape[1:]) < 0
}
