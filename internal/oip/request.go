package oip

// Parse reads the head of an inference request and checks all that the wire
// alone can tell; it looks at tensor data only to count its elements and to
// see that they fit their datatype. headLength is the value of the
// Inference-Header-Content-Length header: −1 when it is absent, 0 for a raw
// binary request. A nil lim means the defaults.
//
// The body belongs to the request until the next Parse. The error is an
// *Error, with status 413 for what is past a limit and 400 for everything
// else; the request's fields mean nothing then. In steady state Parse does not
// allocate.
func (r *Request) Parse(body []byte, headLength int, lim *Limits) error {
	return r.parse(body, headLength, lim.withDefaults(), nil)
}

// parse is Parse; data arrays that are known, by the index of their input, are
// not looked at.
func (r *Request) parse(body []byte, headLength int, l Limits, known []Input) error {
	*r = Request{
		Message: Message{Body: body, HeadLength: headLength},
		Model:   r.Model,
		Exits:   ExitParams{MaxDisagreement: -1},
		Inputs:  r.Inputs[:0],
		Outputs: r.Outputs[:0],
		scratch: r.scratch[:0],
	}
	if headLength < -1 || headLength > len(body) {
		return badRequest("inference header size should be in range (0, %d), got: %d", len(body), headLength)
	}
	if headLength == 0 {
		r.Raw, r.BinaryOutput = true, true
		in := r.addInput()
		in.Binary = body
		return nil
	}
	head := body
	if headLength > 0 {
		head = body[:headLength]
	}
	s := scanner{b: head, depth: l.MaxDepth, limit: l.MaxDepth, scratch: r.scratch, known: known}
	err := r.head(&s, &l)
	r.scratch = s.scratch
	if err != nil {
		return err
	}
	return r.blobs(body[len(head):])
}

// Members of the request's objects, as bits of what was seen.
const (
	mID = 1 << iota
	mParameters
	mInputs
	mOutputs
	mName
	mShape
	mDatatype
	mData
)

// head reads the JSON part.
func (r *Request) head(s *scanner, l *Limits) error {
	if s.peek() != '{' {
		if !s.value() || !s.end() {
			return s.error()
		}
		return badRequest("the inference request must be a JSON object")
	}
	if !s.enter('{') {
		return s.error()
	}
	p := params{exits: r.Exits}
	seen := 0
	for first := true; s.more('}', &first); {
		key, ok := s.key()
		if !ok {
			return s.error()
		}
		bit := 0
		switch text(key) {
		case "id":
			bit = mID
			if r.ID, ok = s.literal(); ok && r.ID != nil && r.ID[0] != '"' {
				return badRequest("Unable to parse 'id': must be a string")
			}
		case "parameters":
			bit = mParameters
			if err := s.params(&p, ofRequest); err != nil {
				return err
			}
		case "inputs":
			bit = mInputs
			if err := r.inputs(s, l); err != nil {
				return err
			}
		case "outputs":
			bit = mOutputs
			if err := r.outputs(s, l); err != nil {
				return err
			}
		default:
			ok = s.value()
		}
		if !ok {
			return s.error()
		}
		if seen&bit != 0 {
			return badRequest("duplicate member %s in the inference request", quoted(key))
		}
		seen |= bit
	}
	if s.bad != "" || !s.end() {
		return s.error()
	}
	if len(r.Inputs) == 0 {
		return badRequest("Unable to parse 'inputs': the inference request must have at least one input")
	}
	r.Parameters, r.BinaryOutput = p.literal, p.binary
	r.Timeout, r.Priority, r.Sequence = p.timeout, p.priority, p.sequence
	r.Exits = p.exits
	return r.resolve()
}

// resolve does what needs the whole head: how each output is wanted, and that
// no name comes twice.
func (r *Request) resolve() error {
	for i := range r.Outputs {
		o := &r.Outputs[i]
		if !o.given {
			o.Binary = r.BinaryOutput
		}
		for k := range r.Outputs[:i] {
			if string(r.Outputs[k].Name) == string(o.Name) {
				return badRequest("output %s is requested more than once", quoted(o.Name))
			}
		}
	}
	for i := range r.Inputs {
		for k := range r.Inputs[:i] {
			if string(r.Inputs[k].Name) == string(r.Inputs[i].Name) {
				return badRequest("input %s is given more than once", quoted(r.Inputs[i].Name))
			}
		}
	}
	return nil
}

// blobs hands the binary data behind the head to the inputs that announced
// it.
func (r *Request) blobs(rest []byte) error {
	for i := range r.Inputs {
		in := &r.Inputs[i]
		if in.blob < 0 {
			continue
		}
		if r.HeadLength < 0 {
			return badRequest("input %s has 'binary_data_size' without a head length: must specify valid 'Infer-Header-Content-Length' in request header and 'binary_data_size' when passing inputs in binary data format", quoted(in.Name))
		}
		missing, err := in.take("input", rest)
		if err != nil {
			return err
		}
		if missing > 0 {
			return badRequest("unexpected size for input %s, expecting %d additional bytes%s", quoted(in.Name), missing, r.forModel())
		}
		rest = rest[in.blob:]
	}
	if len(rest) > 0 {
		return badRequest("unexpected additional input data%s", r.forModel())
	}
	return nil
}

// forModel ends an error's text with the model's name.
func (r *Request) forModel() string {
	if r.Model == "" {
		return ""
	}
	return " for model " + quoted(raw(r.Model))
}

// Size is the number of items the request carries: the first dimension of its
// first input, or 1 where the model does not batch.
func (r *Request) Size(batched bool) int {
	if !batched || len(r.Inputs) == 0 || len(r.Inputs[0].Shape) == 0 {
		return 1
	}
	return int(r.Inputs[0].Shape[0])
}

// ParseHeadLength reads the value of an Inference-Header-Content-Length
// header: −1 when it is empty, that is absent. The error is an *Error with
// status 400.
func ParseHeadLength(value []byte) (int, error) {
	if len(value) == 0 {
		return -1, nil
	}
	n, ok := parseCount(value, 1<<62)
	if !ok {
		return 0, badRequest("Unable to parse Inference-Header-Content-Length, got: %.64s", value)
	}
	return int(n), nil
}
