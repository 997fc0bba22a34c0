package oip

import (
	"slices"
	"strconv"
)

// Split gives each request of a batch its own response: its rows (sizes[i]
// of them), its id where it gave one, the outputs it asked for, each in the
// form it asked for, and the parameters of the whole response. It writes to
// dst[i].Body[:0] and sets dst[i].HeadLength. A single request gets the tensors
// whole, whatever their first dimension; sizes may be nil then.
//
// Binary data becomes JSON with the shortest text that reads back as the same
// value; NaN and infinities, which JSON lacks, become null, also those that the
// worker wrote as words. JSON becomes binary by exact conversion, null becomes
// NaN.
//
// A *BatchError names requests that cannot have their output in the form they
// asked for (FP16, BF16 and BYTES that are not UTF-8 as JSON); the others'
// responses are whole then, theirs are not. An *Error with status 502 means that the response
// does not answer the batch. Beyond the growth of the bodies Split does not
// allocate.
func Split(dst []*Message, resp *Response, reqs []*Request, sizes []int) error {
	return split(dst, resp, reqs, sizes, nil)
}

// SplitExit is Split of what one exit answered, a single request's rows among
// them, for those requests whose dst[i] is not nil. What the response says of
// its exit goes to none; request i gets marks[i] in its place unless that is
// nil. The tensors' data is handed on as in Split.
func SplitExit(dst []*Message, resp *Response, reqs []*Request, sizes []int, marks []*ExitMark) error {
	if len(marks) != len(reqs) {
		return errorf(statusInternal, "cannot split: %d marks for %d requests", len(marks), len(reqs))
	}
	return split(dst, resp, reqs, sizes, marks)
}

// split leaves the parameters as they are where marks is nil.
func split(dst []*Message, resp *Response, reqs []*Request, sizes []int, marks []*ExitMark) error {
	total, err := batchTotal(len(dst), reqs, sizes)
	if err != nil {
		return err
	}
	if len(reqs) == 1 && marks == nil && resp.answers(reqs[0]) {
		m := reply(dst[0], resp.HeadLength)
		m.Body = append(m.Body, resp.Body...)
		return nil
	}
	for k := range resp.Outputs {
		o := &resp.Outputs[k]
		o.at = 0
		if o.JSON != nil {
			o.at = 1
		}
		if len(reqs) > 1 && (len(o.Shape) == 0 || o.Shape[0] != total) {
			return errorf(statusBadGateway, "the worker's output %s has shape %s for a batch of %d", quoted(o.Name), appendShape(nil, o.Shape), total)
		}
	}
	var errs *BatchError
	for i, r := range reqs {
		size := 256 + len(resp.Parameters) + len(r.ID)
		for k := range resp.Outputs {
			o := &resp.Outputs[k]
			o.take(len(reqs) > 1, sizes, i)
			size += 2*len(o.Name) + 21*len(o.Shape) + len(o.Parameters) + 96 + len(o.rows)
		}
		if dst[i] == nil {
			continue
		}
		w := writer{b: slices.Grow(ownBody(dst[i]), size), reply: r, all: len(resp.Outputs)}
		if marks != nil {
			w.mark, w.marked = marks[i], true
		}
		w.open(resp.ModelName, resp.ModelVersion, resp.Parameters)
		for n := range w.outputs() {
			o := resp.output(r, n)
			if o == nil {
				return lacks(r.Outputs[n].Name)
			}
			p := o.part()
			if len(reqs) > 1 {
				p.rows = int64(sizes[i])
			}
			w.output(&p, n)
		}
		w.close()
		for n := range w.outputs() {
			if r.binary(n) {
				p := resp.output(r, n).part()
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

// batchTotal is the number of rows of all requests; 0 for a single one.
func batchTotal(messages int, reqs []*Request, sizes []int) (int64, error) {
	if messages != len(reqs) || len(reqs) == 0 {
		return 0, errorf(statusInternal, "cannot split: %d messages for %d requests", messages, len(reqs))
	}
	if len(reqs) == 1 {
		return 0, nil
	}
	if len(sizes) != len(reqs) {
		return 0, errorf(statusInternal, "cannot split: %d sizes for %d requests", len(sizes), len(reqs))
	}
	total := int64(0)
	for _, n := range sizes {
		if n < 0 {
			return 0, errorf(statusInternal, "cannot split: size %d", n)
		}
		total += int64(n)
	}
	return total, nil
}

func lacks(output []byte) *Error {
	return errorf(statusBadGateway, "the worker's response lacks output %s", quoted(output))
}

// answers tells whether the response is, to the letter, what the request asked
// for.
func (r *Response) answers(q *Request) bool {
	if string(r.ID) != string(q.ID) || len(q.Outputs) > 0 && len(q.Outputs) != len(r.Outputs) {
		return false
	}
	binary := false
	for n := range r.Outputs {
		o := r.output(q, n)
		if o == nil || (o.JSON == nil) != q.binary(n) || o.words || o.JSON != nil && o.Datatype.half() {
			return false
		}
		binary = binary || o.JSON == nil
	}
	return binary == (r.HeadLength >= 0)
}

// output is the n-th output that the request asked for, nil when the response
// lacks it.
func (r *Response) output(q *Request, n int) *ResponseOutput {
	if len(q.Outputs) == 0 {
		return &r.Outputs[n]
	}
	return r.named(n, q.Outputs[n].Name)
}

// named finds an output by name, which most likely stands at index n; nil when
// the response lacks it.
func (r *Response) named(n int, name []byte) *ResponseOutput {
	if n < len(r.Outputs) && string(r.Outputs[n].Name) == string(name) {
		return &r.Outputs[n]
	}
	for k := range r.Outputs {
		if string(r.Outputs[k].Name) == string(name) {
			return &r.Outputs[k]
		}
	}
	return nil
}

// binary tells whether the request wants its n-th output in binary.
func (r *Request) binary(n int) bool {
	if len(r.Outputs) == 0 {
		return r.BinaryOutput
	}
	return r.Outputs[n].Binary
}

// take moves on to the rows of request i.
func (o *ResponseOutput) take(several bool, sizes []int, i int) {
	switch {
	case !several:
		o.count = o.elements
		if o.rows = o.Binary; o.JSON != nil {
			o.rows = inner(o.JSON)
		}
		return
	case o.Shape[0] == 0:
		o.count = 0
	default:
		o.count = o.elements / o.Shape[0] * int64(sizes[i])
	}
	o.rows = o.JSON
	if o.JSON == nil {
		o.rows = o.Binary
	}
	start, end := cutRows(o.rows, o.JSON != nil, o.nested, o.Datatype, o.at, int64(sizes[i]), o.count)
	o.at = end
	o.rows = o.rows[start:end:end]
}

func (o *ResponseOutput) part() part {
	return part{
		name: o.Name, datatype: o.Datatype, shape: o.Shape, parameters: o.Parameters,
		data: o.rows, json: o.JSON != nil, words: o.words, elements: o.count, rows: -1,
	}
}

// ownBody is the memory of m that may be written to.
func ownBody(m *Message) []byte {
	if m.shared {
		return nil
	}
	return m.Body[:0]
}

// reply makes m a message that owns its body.
func reply(m *Message, headLength int) *Message {
	*m = Message{Body: ownBody(m), HeadLength: headLength}
	return m
}

// part is the rows of one output that one request gets.
type part struct {
	name       []byte
	datatype   Datatype
	shape      []int64
	parameters []byte
	rows       int64  // the first dimension; −1: as in shape
	elements   int64  // in data
	data       []byte // blob, or the elements of a JSON array without its brackets
	json       bool
	words      bool // the JSON holds NaN or Infinity
}

// blobLen is the length of the part in binary.
func (p *part) blobLen() int {
	if p.json {
		return blobLen(p.data, p.datatype, p.elements)
	}
	return len(p.data)
}

// writer writes one request's response.
type writer struct {
	b      []byte
	reply  *Request // who gets it
	all    int      // the number of outputs that there are
	head   int
	binary bool // a blob follows the head
	marked bool // what the parameters say of an exit is replaced by
	mark   *ExitMark
	err    *Error // why the response cannot be given as asked
}

// outputs is the number of outputs that the request gets.
func (w *writer) outputs() int {
	if n := len(w.reply.Outputs); n > 0 {
		return n
	}
	return w.all
}

// open writes what comes before the outputs; all are JSON literals, nil for
// none.
func (w *writer) open(model, version, parameters []byte) {
	w.b = append(w.b, '{')
	w.member(`"model_name":`, model)
	w.member(`"model_version":`, version)
	w.member(`"id":`, w.reply.ID)
	if w.marked {
		w.markedParameters(parameters)
	} else {
		w.member(`"parameters":`, parameters)
	}
	w.b = append(w.b, `"outputs":[`...)
}

func (w *writer) markedParameters(parameters []byte) {
	start := len(w.b)
	w.b = append(w.b, `"parameters":{`...)
	open := len(w.b)
	w.b = appendMembers(w.b, parameters, ParamExit, ParamFinal, ParamConfidence)
	if w.mark != nil {
		w.b = w.mark.members(w.b)
	}
	if len(w.b) == open {
		w.b = w.b[:start]
		return
	}
	w.b = append(closeMembers(w.b), ',')
}

func (w *writer) member(key string, literal []byte) {
	if literal != nil {
		w.b = append(append(append(w.b, key...), literal...), ',')
	}
}

// output describes the request's n-th output, with its data where that is
// JSON.
func (w *writer) output(p *part, n int) {
	size := 0
	if w.reply.binary(n) {
		size = p.blobLen()
	}
	if w.describe(p, n, size) {
		return
	}
	w.values(p)
	w.b = append(w.b, ']', '}')
}

// describe writes what comes before the data of the request's n-th output. It
// tells whether that is sent in binary, in size bytes; else the elements and
// two brackets are to follow.
func (w *writer) describe(p *part, n, size int) (binary bool) {
	if n > 0 {
		w.b = append(w.b, ',')
	}
	w.b = appendString(append(w.b, `{"name":`...), text(p.name))
	w.b = append(append(append(w.b, `,"datatype":"`...), p.datatype.String()...), `","shape":[`...)
	for i, d := range p.shape {
		if i > 0 {
			w.b = append(w.b, ',')
		} else if p.rows >= 0 {
			d = p.rows
		}
		w.b = strconv.AppendInt(w.b, d, 10)
	}
	w.b = append(w.b, `],`...)
	start := len(w.b)
	w.b = append(w.b, `"parameters":{`...)
	open := len(w.b)
	w.b = appendMembers(w.b, p.parameters, pBlob)
	if w.reply.binary(n) {
		w.binary = true
		w.b = strconv.AppendInt(append(w.b, `"binary_data_size":`...), int64(size), 10)
		w.b = append(w.b, '}', '}')
		return true
	}
	if len(w.b) == open {
		w.b = w.b[:start]
	} else {
		w.b = append(closeMembers(w.b), ',')
	}
	w.b = append(w.b, `"data":[`...)
	return false
}

// values writes the elements as JSON, without the outer brackets.
func (w *writer) values(p *part) {
	switch {
	case p.datatype.half():
		w.err = noHalfJSON(p.datatype, p.name)
	case p.words:
		w.b = appendFinite(w.b, p.data)
	case p.json:
		w.b = append(w.b, p.data...)
	default:
		var why string
		if w.b, why = appendJSON(w.b, p.data, p.datatype, true); why != "" {
			w.err = badRequest("output %s holds %s, which JSON cannot carry. Please use the binary data format", quoted(p.name), why)
		}
	}
}

// close ends the head.
func (w *writer) close() {
	w.b = append(w.b, ']', '}')
	w.head = len(w.b)
}

// blob writes an output's data in binary.
func (w *writer) blob(p *part) {
	if !p.json {
		w.b = append(w.b, p.data...)
		return
	}
	w.b, _ = appendBlob(w.b, p.data, p.datatype) // Parse has checked the ranges
}

func (w *writer) finish(m *Message) {
	*m = Message{Body: w.b, HeadLength: -1}
	if w.binary {
		m.HeadLength = w.head
	}
}
