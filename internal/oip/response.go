package oip

// Response is the head of an inference response. All slices point into Body
// and live as long as it does. A Response is reused: Parse overwrites it.
type Response struct {
	Message
	ModelName    []byte // the JSON string literal, quotes included
	ModelVersion []byte // likewise; nil when absent
	ID           []byte // likewise; nil when absent
	Parameters   []byte // the JSON object literal; nil when absent
	Outputs      []ResponseOutput

	scratch []byte
}

// ResponseOutput is the head of one output tensor.
type ResponseOutput struct {
	Name       []byte // escapes resolved
	Datatype   Datatype
	Shape      []int64
	Parameters []byte // JSON object literal, nil when absent
	JSON       []byte // the data array as it stands in the body; nil when binary
	Binary     []byte // the blob; nil when JSON

	elements int64
	nested   bool
	words    bool // JSON holds NaN or Infinity
	blob     int64
	at       int    // Split: where in the data the next request's rows begin
	rows     []byte // Split: this request's rows
	count    int64  // Split: elements in rows
}

// Parse reads the head of an inference response, under the same rules as a
// request's but for what servers do: strings need not be UTF-8, data may hold
// NaN, Infinity and null, and FP16 and BF16 may come as JSON. headLength is the
// value of the response's Inference-Header-Content-Length header, −1 when it
// is absent.
//
// The body belongs to the response until the next Parse. The error is an
// *Error with status 502. In steady state Parse does not allocate.
func (r *Response) Parse(body []byte, headLength int, lim *Limits) error {
	if err := r.parse(body, headLength, lim); err != nil {
		return errorf(statusBadGateway, "cannot understand the worker's response: %s", err.Error())
	}
	return nil
}

func (r *Response) parse(body []byte, headLength int, lim *Limits) error {
	l := lim.withDefaults()
	*r = Response{
		Message: Message{Body: body, HeadLength: headLength},
		Outputs: r.Outputs[:0],
		scratch: r.scratch[:0],
	}
	if headLength < -1 || headLength == 0 || headLength > len(body) {
		return badRequest("inference header size should be in range (0, %d), got: %d", len(body), headLength)
	}
	head := body
	if headLength > 0 {
		head = body[:headLength]
	}
	s := scanner{b: head, depth: l.MaxDepth, limit: l.MaxDepth, lax: true, scratch: r.scratch}
	err := r.head(&s, &l)
	r.scratch = s.scratch
	if err != nil {
		return err
	}
	return r.blobs(body[len(head):])
}

func (r *Response) head(s *scanner, l *Limits) error {
	if !s.enter('{') {
		return s.error()
	}
	var p params
	outputs := false
	for first := true; s.more('}', &first); {
		key, ok := s.key()
		if !ok {
			return s.error()
		}
		switch text(key) {
		case "model_name":
			r.ModelName, ok = s.stringLiteral()
		case "model_version":
			r.ModelVersion, ok = s.stringLiteral()
		case "id":
			r.ID, ok = s.stringLiteral()
		case "parameters":
			if err := s.params(&p, ofResponse); err != nil {
				return err
			}
		case "outputs":
			if outputs {
				return badRequest("duplicate member 'outputs'")
			}
			outputs = true
			if err := r.outputs(s, l); err != nil {
				return err
			}
		default:
			ok = s.value()
		}
		if !ok {
			return s.error()
		}
	}
	if s.bad != "" || !s.end() {
		return s.error()
	}
	if !outputs {
		return badRequest("no 'outputs'")
	}
	r.Parameters = p.literal
	for i := range r.Outputs {
		for k := range r.Outputs[:i] {
			if string(r.Outputs[k].Name) == string(r.Outputs[i].Name) {
				return badRequest("output %s is given more than once", quoted(r.Outputs[i].Name))
			}
		}
	}
	return nil
}

// stringLiteral takes a string with its quotes, or null, which is nil.
func (s *scanner) stringLiteral() ([]byte, bool) {
	lit, ok := s.literal()
	if ok && lit != nil && lit[0] != '"' {
		return nil, s.fail("not a string")
	}
	return lit, ok
}

func (r *Response) outputs(s *scanner, l *Limits) error {
	if !s.enter('[') {
		return s.error()
	}
	for first := true; s.more(']', &first); {
		if len(r.Outputs) >= l.MaxTensors {
			return badRequest("too many outputs: at most %d are accepted", l.MaxTensors)
		}
		if len(r.Outputs) < cap(r.Outputs) {
			r.Outputs = r.Outputs[:len(r.Outputs)+1]
		} else {
			r.Outputs = append(r.Outputs, ResponseOutput{})
		}
		o := &r.Outputs[len(r.Outputs)-1]
		// An output is described like an input; only what may be missing and
		// what the data may hold differ.
		in := Input{Shape: o.Shape[:0], blob: -1}
		err := in.parse(s, l, len(r.Outputs)-1)
		*o = ResponseOutput{
			Name: in.Name, Datatype: in.Datatype, Shape: in.Shape, Parameters: in.Parameters,
			JSON: in.JSON, elements: in.elements, nested: in.nested, words: in.words, blob: in.blob,
		}
		if err != nil {
			return err
		}
	}
	if s.bad != "" {
		return s.error()
	}
	return nil
}

// blobs hands the binary data behind the head to the outputs that announced
// it.
func (r *Response) blobs(rest []byte) error {
	for i := range r.Outputs {
		o := &r.Outputs[i]
		if o.blob < 0 {
			continue
		}
		in := Input{Name: o.Name, Datatype: o.Datatype, elements: o.elements, blob: o.blob}
		if r.HeadLength < 0 {
			return badRequest("output %s has 'binary_data_size' without a head length", quoted(o.Name))
		}
		missing, err := in.take("output", rest)
		if err != nil {
			return err
		}
		if missing > 0 {
			return badRequest("output %s lacks %d bytes", quoted(o.Name), missing)
		}
		o.Binary = in.Binary
		rest = rest[o.blob:]
	}
	if len(rest) > 0 {
		return badRequest("%d bytes too many", len(rest))
	}
	return nil
}
