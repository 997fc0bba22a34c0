package oip

import (
	"slices"
	"strconv"
)

// ResponseInfo is what a response says besides its tensors.
type ResponseInfo struct {
	Model      string
	Version    string // left out when empty
	Parameters []byte // JSON object literal; nil for none
}

// Encode writes each request's response from the tensors of a whole batch, as
// Split does from a response: request i gets sizes[i] rows of each output it
// asked for, in the form it asked for. A single request gets the tensors
// whole; sizes may be nil then. With classification the n largest values of
// each row become BYTES "value:index", shape [batch,n].
//
// NaN and infinities become null in JSON. A *BatchError names requests that
// cannot have their output in the form they asked for; the others' responses
// are whole then, theirs are not. An *Error with status 500 means that the
// tensors do not answer the batch.
func Encode(dst []*Message, out []Tensor, reqs []*Request, sizes []int, info ResponseInfo) error {
	total, err := batchTotal(len(dst), reqs, sizes)
	if err != nil {
		return err
	}
	var few [16]cursor
	cursors := few[:0]
	for k := range out {
		c, err := newCursor(&out[k], len(reqs) > 1, total)
		if err != nil {
			return err
		}
		cursors = append(cursors, c)
	}
	var modelBuf, versionBuf [128]byte
	model := appendString(modelBuf[:0], info.Model)
	var version []byte
	if info.Version != "" {
		version = appendString(versionBuf[:0], info.Version)
	}
	var errs *BatchError
	for i, r := range reqs {
		size := 256 + len(info.Parameters) + len(r.ID) + len(model)
		for k := range cursors {
			c := &cursors[k]
			c.rows = -1
			if len(reqs) > 1 {
				c.rows = int64(sizes[i])
			}
			c.next()
			size += c.estimate(r)
		}
		w := writer{b: slices.Grow(ownBody(dst[i]), size), reply: r, all: len(out)}
		w.open(model, version, info.Parameters)
		for n := range w.outputs() {
			k := findOutput(out, r, n)
			if k < 0 {
				return errorf(statusInternal, "model %s did not return output %s", quoted(raw(info.Model)), quoted(r.Outputs[n].Name))
			}
			p, err := cursors[k].part(r, n)
			if err != nil {
				w.err = err
				continue
			}
			w.output(&p, n)
		}
		w.close()
		for n := range w.outputs() {
			if r.binary(n) && w.err == nil {
				p, _ := cursors[findOutput(out, r, n)].part(r, n)
				w.blob(&p)
			}
		}
		w.finish(dst[i])
		if w.err != nil {
			errs = errs.set(i, len(reqs), w.err)
		}
	}
	if errs != nil {
		return errs
	}
	return nil
}

func findOutput(out []Tensor, r *Request, n int) int {
	if len(r.Outputs) == 0 {
		return n
	}
	for k := range out {
		if out[k].Name == string(r.Outputs[n].Name) {
			return k
		}
	}
	return -1
}

// cursor walks through a tensor's rows, request by request.
type cursor struct {
	t     *Tensor
	item  int64 // elements of one row; all of them where rows is −1
	total int64 // elements
	rows  int64 // of the current request; −1: the whole tensor
	from  int   // the current request's bytes
	to    int
}

func newCursor(t *Tensor, several bool, rows int64) (cursor, error) {
	n, err := elements(raw(t.Name), t.Shape, &Limits{MaxItems: 1 << 58})
	if err != nil || slices.ContainsFunc(t.Shape, func(d int64) bool { return d < 0 }) {
		return cursor{}, errorf(statusInternal, "the model's output '%s' has shape %s", t.Name, appendShape(nil, t.Shape))
	}
	good := int64(len(t.Data)) == n*int64(t.Datatype.Size())
	if t.Datatype == Bytes {
		have, ok := blobElements(t.Data)
		good = ok && have == n
	}
	if !good || t.Datatype == Invalid {
		return cursor{}, errorf(statusInternal, "the model's output '%s' has %d bytes of %s for shape %s", t.Name, len(t.Data), t.Datatype, appendShape(nil, t.Shape))
	}
	if several && (len(t.Shape) == 0 || t.Shape[0] != rows) {
		return cursor{}, errorf(statusInternal, "the model's output '%s' has shape %s for a batch of %d", t.Name, appendShape(nil, t.Shape), rows)
	}
	c := cursor{t: t, item: n, total: n}
	if several && rows > 0 {
		c.item = n / rows
	}
	return c, nil
}

// next moves on to the next request, which gets c.rows rows.
func (c *cursor) next() {
	c.from = c.to
	switch {
	case c.rows < 0:
		c.to = len(c.t.Data)
	case c.t.Datatype == Bytes:
		c.to += blobPrefix(c.t.Data[c.from:], c.count())
	default:
		c.to += int(c.count()) * c.t.Datatype.Size()
	}
}

// count is the number of elements of the current request.
func (c *cursor) count() int64 {
	if c.rows < 0 {
		return c.total
	}
	return c.item * c.rows
}

// estimate is about how many bytes the current request's part takes.
func (c *cursor) estimate(r *Request) int {
	size := 128 + 2*len(c.t.Name) + 21*len(c.t.Shape) + c.to - c.from
	if !r.wantsBinary() {
		size += 8 * int(c.count())
	}
	return size
}

// part is the current request's rows as its n-th output asks for them.
func (c *cursor) part(r *Request, n int) (part, *Error) {
	p := part{
		name: raw(c.t.Name), datatype: c.t.Datatype, shape: c.t.Shape,
		rows: c.rows, elements: c.count(), data: c.t.Data[c.from:c.to],
	}
	if len(r.Outputs) > 0 && r.Outputs[n].Classification > 0 {
		return classify(p, r.Outputs[n].Classification)
	}
	return p, nil
}

// classify replaces the values of each row by its k largest ones with their
// indices. Of equal values the first counts as larger; NaN is the smallest. A
// tensor of one dimension, of a model that does not batch, is one row.
func classify(p part, k int) (part, *Error) {
	if p.datatype == Bytes || p.datatype == Bool {
		return part{}, badRequest("class result not available for output %s due to unsupported type '%s'", quoted(p.name), p.datatype)
	}
	rows := int64(1)
	if len(p.shape) > 1 {
		if rows = p.rows; rows < 0 {
			rows = p.shape[0]
		}
	}
	classes := 0
	if rows > 0 {
		classes = int(p.elements / rows)
	}
	k = min(k, classes)
	size := p.datatype.Size()
	var data, label []byte
	order := make([]int, classes)
	for row := range int(rows) {
		values := p.data[row*classes*size:][:classes*size]
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return compareAt(values, p.datatype, b, a) })
		for _, i := range order[:k] {
			label = appendClassValue(label[:0], values[i*size:], p.datatype)
			label = strconv.AppendInt(append(label, ':'), int64(i), 10)
			data = appendWord(data, uint64(len(label)), 4)
			data = append(data, label...)
		}
	}
	shape := []int64{int64(k)}
	if len(p.shape) > 1 {
		shape = []int64{rows, int64(k)}
	}
	return part{
		name: p.name, datatype: Bytes, shape: shape, rows: -1,
		elements: rows * int64(k), data: data,
	}, nil
}
