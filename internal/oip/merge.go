package oip

import (
	"slices"
	"strconv"
	"time"
)

// MergeOptions tell Merge about the worker.
type MergeOptions struct {
	// Binary: the worker takes the binary tensor extension. Without it
	// everything is sent, and asked for, as JSON.
	Binary bool
	// Timeout, where positive, is sent as parameters.timeout (rounded down to
	// µs, at least 1). 0 leaves the timeout of a single request as it is and
	// sends none for several.
	Timeout time.Duration
	// AllOutputs asks for all outputs, as JSON, unless one is asked for with
	// parameters of its own.
	AllOutputs bool
	// AskRamps asks a worker that shows its ramps for those in Ramps, as bits, and
	// to run every row to the end. What the requests themselves say of early exit is
	// never sent: the router has dealt with it.
	AskRamps bool
	Ramps    uint32
	// Full asks a worker that may answer early of its own accord for the full
	// model's answers.
	Full bool
}

// Passthrough tells whether the worker can be sent the request's body as it
// is. Merge then does so without a copy.
func Passthrough(r *Request, opt MergeOptions) bool {
	if opt.Timeout > 0 && r.Timeout != max(opt.Timeout.Truncate(time.Microsecond), time.Microsecond) {
		return false
	}
	if opt.AllOutputs || opt.AskRamps || opt.Full || r.Exits.given {
		return false
	}
	if opt.Binary {
		return true // a raw request, which cannot hold a timeout, gets here only when none is wanted
	}
	if r.HeadLength >= 0 || r.BinaryOutput {
		return false
	}
	for i := range r.Outputs {
		if r.Outputs[i].given {
			return false
		}
	}
	return true
}

// Merge makes one inference request of several, with the rows of all in
// order, and writes it to dst. The requests must have equal merge keys. Data
// keeps its form where it can: blobs are concatenated, JSON arrays spliced. An
// input that is binary in some requests and JSON in others is sent in binary,
// or all JSON to a worker without the extension. Binary outputs are asked for
// when any of the requests wants one; Split converts for the others.
//
// A single request that Passthrough accepts is not copied: dst.Body is then
// the request's own Body and dst knows it, so that the next Merge into dst
// takes fresh memory. Everything else is appended to dst.Body[:0], each byte
// of data copied once.
//
// A *BatchError names requests whose data has no JSON form (NaN, infinity,
// BYTES that are not UTF-8) for a worker that takes only JSON; a batch without
// them can be merged. Requests that do not belong together are an *Error with
// status 500. dst is undefined after an error.
func Merge(dst *Message, reqs []*Request, opt MergeOptions) error {
	if len(reqs) == 0 {
		return errorf(statusInternal, "cannot merge: no requests")
	}
	lead := reqs[0]
	if len(reqs) == 1 && Passthrough(lead, opt) {
		*dst = Message{Body: lead.Body, HeadLength: lead.HeadLength, shared: true}
		return nil
	}
	if dst.shared {
		*dst = Message{}
	}
	if err := mergeable(reqs); err != nil {
		return err
	}
	m := merger{reqs: reqs, opt: opt, b: slices.Grow(dst.Body[:0], mergedSize(reqs))}
	head := m.write()
	*dst = Message{Body: m.b, HeadLength: head}
	if m.errs != nil {
		return m.errs
	}
	return nil
}

// merger writes one merged request.
type merger struct {
	reqs []*Request
	opt  MergeOptions
	b    []byte
	errs *BatchError
	part bool // of one request, whose own parameters of early exit stay
}

// write writes the request and returns the length of its head, −1 when no
// binary data follows.
func (m *merger) write() (head int) {
	lead := m.reqs[0]
	m.b = append(m.b, '{')
	if len(m.reqs) == 1 && lead.ID != nil {
		m.b = append(append(append(m.b, `"id":`...), lead.ID...), ',')
	}
	m.parameters()
	m.b = append(m.b, `"inputs":[`...)
	binary := false
	for k := range lead.Inputs {
		if k > 0 {
			m.b = append(m.b, ',')
		}
		binary = m.input(k) || binary
	}
	m.b = append(m.b, ']')
	m.outputs()
	m.b = append(m.b, '}')
	if !binary {
		return -1
	}
	head = len(m.b)
	for k := range lead.Inputs {
		m.blob(k)
	}
	return head
}

// mergedSize is about the length of the merged request when nothing is
// converted.
func mergedSize(reqs []*Request) int {
	size := 512 + len(reqs[0].Parameters)
	for i, r := range reqs {
		for k := range r.Inputs {
			in := &r.Inputs[k]
			size += len(in.JSON) + len(in.Binary)
			if i == 0 {
				size += 2*len(in.Name) + len(in.Parameters) + 21*len(in.Shape) + 128
			}
		}
	}
	for k := range reqs[0].Outputs {
		size += 2*len(reqs[0].Outputs[k].Name) + len(reqs[0].Outputs[k].Parameters) + 64
	}
	return size
}

// mergeable guards against requests that differ where they must not.
func mergeable(reqs []*Request) error {
	lead := reqs[0]
	for k := range lead.Inputs {
		if lead.Inputs[k].Datatype == Invalid {
			return errorf(statusInternal, "cannot merge: a raw request was not checked against the model")
		}
	}
	for i, r := range reqs[1:] {
		if len(r.Inputs) != len(lead.Inputs) {
			return errorf(statusInternal, "cannot merge: request %d has %d inputs, the first has %d", i+1, len(r.Inputs), len(lead.Inputs))
		}
		for k := range lead.Inputs {
			a := &lead.Inputs[k]
			b := r.input(k, a.Name)
			if b == nil || a.Datatype != b.Datatype || len(a.Shape) == 0 || len(b.Shape) == 0 || !slices.Equal(a.Shape[1:], b.Shape[1:]) {
				return errorf(statusInternal, "cannot merge: input %s of request %d does not match the first request's", quoted(a.Name), i+1)
			}
		}
	}
	return nil
}

// input finds an input by name, which most likely stands at index k.
func (r *Request) input(k int, name []byte) *Input {
	if k < len(r.Inputs) && string(r.Inputs[k].Name) == string(name) {
		return &r.Inputs[k]
	}
	for k := range r.Inputs {
		if string(r.Inputs[k].Name) == string(name) {
			return &r.Inputs[k]
		}
	}
	return nil
}

// wantsBinary tells whether any output is asked for in binary.
func (r *Request) wantsBinary() bool {
	if len(r.Outputs) == 0 {
		return r.BinaryOutput
	}
	for i := range r.Outputs {
		if r.Outputs[i].Binary {
			return true
		}
	}
	return false
}

// wantsBinary tells whether binary outputs are asked for unless an output's
// own parameters say otherwise.
func (m *merger) wantsBinary() bool {
	if m.opt.AllOutputs {
		return false
	}
	if len(m.reqs) == 1 {
		return m.reqs[0].BinaryOutput && m.opt.Binary
	}
	for _, r := range m.reqs {
		if r.wantsBinary() {
			return m.opt.Binary
		}
	}
	return false
}

func (m *merger) parameters() {
	lead := m.reqs[0]
	start := len(m.b)
	m.b = append(m.b, `"parameters":{`...)
	open := len(m.b)
	drop := [...]string{pBinaryOutput, ParamMode, ParamMaxDisagreement, ParamActiveRamps, ParamAudit, pTimeout, pPriority}
	switch {
	case m.part:
		m.b = appendMembers(m.b, lead.Parameters, drop[:1]...)
	case len(m.reqs) == 1 && m.opt.Timeout <= 0:
		m.b = appendMembers(m.b, lead.Parameters, drop[:5]...)
	case len(m.reqs) == 1:
		m.b = appendMembers(m.b, lead.Parameters, drop[:6]...)
	default:
		m.b = appendMembers(m.b, lead.Parameters, drop[:]...)
		priority := 0
		for _, r := range m.reqs {
			if r.Priority > 0 && (priority == 0 || r.Priority < priority) {
				priority = r.Priority
			}
		}
		if priority > 0 {
			m.b = strconv.AppendInt(append(m.b, `"priority":`...), int64(priority), 10)
			m.b = append(m.b, ',')
		}
	}
	if m.opt.Timeout > 0 {
		m.b = strconv.AppendInt(append(m.b, `"timeout":`...), max(m.opt.Timeout.Microseconds(), 1), 10)
		m.b = append(m.b, ',')
	}
	if m.wantsBinary() {
		m.b = append(m.b, `"binary_data_output":true,`...)
	}
	if m.opt.AskRamps {
		m.b = append(appendRamps(append(m.b, `"ee_active_ramps":"`...), m.opt.Ramps), `","ee_audit":true,`...)
	}
	if m.opt.Full {
		m.b = append(m.b, `"ee_mode":"off",`...)
	}
	if len(m.b) == open {
		m.b = m.b[:start]
		return
	}
	m.b = append(closeMembers(m.b), ',')
}

// form tells how an input is sent: in binary, or as JSON, which is flat unless
// every request has it nested.
func (m *merger) form(k int) (binary, flat bool) {
	lead := &m.reqs[0].Inputs[k]
	flat = len(lead.Shape) <= 1
	for _, r := range m.reqs {
		in := r.input(k, lead.Name)
		if in.JSON == nil {
			binary, flat = true, true
		} else if !flat && !in.nested && in.Shape[0] > 0 {
			flat = true
		}
	}
	return binary && m.opt.Binary, flat
}

// input writes the description of the lead's input k, and its data where that
// is JSON. It tells whether the data is binary.
func (m *merger) input(k int) bool {
	lead := &m.reqs[0].Inputs[k]
	m.b = append(m.b, `{"name":`...)
	m.b = appendString(m.b, text(lead.Name))
	m.b = append(m.b, `,"datatype":"`...)
	m.b = append(m.b, lead.Datatype.String()...)
	m.b = append(m.b, `","shape":[`...)
	for i, n := range lead.Shape {
		if i == 0 {
			for _, r := range m.reqs[1:] {
				n += r.input(k, lead.Name).Shape[0]
			}
		} else {
			m.b = append(m.b, ',')
		}
		m.b = strconv.AppendInt(m.b, n, 10)
	}
	m.b = append(m.b, `],`...)
	binary, flat := m.form(k)
	start := len(m.b)
	m.b = append(m.b, `"parameters":{`...)
	open := len(m.b)
	m.b = appendMembers(m.b, lead.Parameters, pBlob)
	if binary {
		size := 0
		for _, r := range m.reqs {
			if in := r.input(k, lead.Name); in.JSON != nil {
				size += blobLen(in.JSON, in.Datatype, in.elements)
			} else {
				size += len(in.Binary)
			}
		}
		m.b = strconv.AppendInt(append(m.b, `"binary_data_size":`...), int64(size), 10)
		m.b = append(append(m.b, '}'), '}')
		return true
	}
	if len(m.b) == open {
		m.b = m.b[:start]
	} else {
		m.b = append(closeMembers(m.b), ',')
	}
	m.b = append(m.b, `"data":[`...)
	m.splice(k, flat)
	m.b = append(append(m.b, ']'), '}')
	return false
}

// splice writes the elements of input k of all requests.
func (m *merger) splice(k int, flat bool) {
	lead := &m.reqs[0].Inputs[k]
	empty := true
	for i, r := range m.reqs {
		in := r.input(k, lead.Name)
		if in.elements == 0 && (flat || in.Shape[0] == 0) { // no comma for nothing
			continue
		}
		if !empty {
			m.b = append(m.b, ',')
		}
		empty = false
		switch {
		case in.JSON == nil:
			var why string
			if m.b, why = appendJSON(m.b, in.Binary, in.Datatype, false); why != "" {
				m.errs = m.errs.set(i, len(m.reqs), badRequest("input %s holds %s, which cannot be sent to a worker that takes only JSON", quoted(in.Name), why))
			}
		case in.nested && flat:
			m.b = appendFlat(m.b, in.JSON)
		default:
			m.b = append(m.b, inner(in.JSON)...)
		}
	}
}

// outputs writes the requested outputs. One request's are kept to the letter
// where the worker knows the extension.
func (m *merger) outputs() {
	lead := m.reqs[0]
	if len(lead.Outputs) == 0 || m.opt.AllOutputs && lead.plainOutputs() {
		return
	}
	m.b = append(m.b, `,"outputs":[`...)
	for k := range lead.Outputs {
		o := &lead.Outputs[k]
		if k > 0 {
			m.b = append(m.b, ',')
		}
		m.b = appendString(append(m.b, `{"name":`...), text(o.Name))
		start := len(m.b)
		m.b = append(m.b, `,"parameters":{`...)
		open := len(m.b)
		if len(m.reqs) == 1 && m.opt.Binary && !m.opt.AllOutputs {
			m.b = appendMembers(m.b, o.Parameters)
		} else {
			m.b = appendMembers(m.b, o.Parameters, pBinary)
		}
		if len(m.b) == open {
			m.b = m.b[:start]
		} else {
			m.b = closeMembers(m.b)
		}
		m.b = append(m.b, '}')
	}
	m.b = append(m.b, ']')
}

// blob writes the data of input k of all requests if it is sent in binary.
func (m *merger) blob(k int) {
	lead := &m.reqs[0].Inputs[k]
	if binary, _ := m.form(k); !binary {
		return
	}
	for i, r := range m.reqs {
		in := r.input(k, lead.Name)
		if in.JSON == nil {
			m.b = append(m.b, in.Binary...)
			continue
		}
		var ok bool
		if m.b, ok = appendBlob(m.b, in.JSON, in.Datatype); !ok {
			m.errs = m.errs.set(i, len(m.reqs), badRequest("Unable to parse 'data' of input %s: an element is out of range for datatype %s", quoted(in.Name), in.Datatype))
		}
	}
}
