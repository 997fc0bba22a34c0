package oip

import "slices"

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
	l := lim.withDefaults()
	*r = Request{
		Message: Message{Body: body, HeadLength: headLength},
		Model:   r.Model,
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
	s := scanner{b: head, depth: l.MaxDepth, limit: l.MaxDepth, scratch: r.scratch}
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
	var p params
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

// addInput appends an empty input that keeps the memory of an earlier one.
func (r *Request) addInput() *Input {
	if len(r.Inputs) < cap(r.Inputs) {
		r.Inputs = r.Inputs[:len(r.Inputs)+1]
	} else {
		r.Inputs = append(r.Inputs, Input{})
	}
	in := &r.Inputs[len(r.Inputs)-1]
	*in = Input{Shape: in.Shape[:0], blob: -1}
	return in
}

func (r *Request) inputs(s *scanner, l *Limits) error {
	if s.peek() != '[' {
		if !s.value() {
			return s.error()
		}
		return badRequest("Unable to parse 'inputs': must be an array")
	}
	if !s.enter('[') {
		return s.error()
	}
	for first := true; s.more(']', &first); {
		if len(r.Inputs) >= l.MaxTensors {
			return errorf(statusTooLarge, "too many inputs: at most %d are accepted", l.MaxTensors)
		}
		if s.peek() != '{' {
			if !s.value() {
				return s.error()
			}
			return badRequest("Unable to parse 'inputs': input %d must be an object", len(r.Inputs))
		}
		if err := r.addInput().parse(s, l, len(r.Inputs)-1); err != nil {
			return err
		}
	}
	if s.bad != "" {
		return s.error()
	}
	return nil
}

// parse reads the input at that index of the array.
func (in *Input) parse(s *scanner, l *Limits, index int) error {
	if !s.enter('{') {
		return s.error()
	}
	var p params
	var a array
	p.blob = -1
	seen := 0
	for first := true; s.more('}', &first); {
		key, ok := s.key()
		if !ok {
			return s.error()
		}
		bit := 0
		switch text(key) {
		case "name":
			bit = mName
			if s.peek() != '"' {
				return s.wrongType("name", "a string", index)
			}
			in.Name, ok = s.unescaped()
		case "datatype":
			bit = mDatatype
			if s.peek() != '"' {
				return s.wrongType("datatype", "a string", index)
			}
			var name []byte
			if name, ok = s.unescaped(); ok {
				if in.Datatype, ok = ParseDatatype(name); !ok {
					return badRequest("Unable to parse 'datatype' of input %d: unknown datatype %s", index, quoted(name))
				}
			}
		case "shape":
			bit = mShape
			var err error
			if in.Shape, err = s.shape(in.Shape, l, index); err != nil {
				return err
			}
		case "parameters":
			bit = mParameters
			if err := s.params(&p, ofInput); err != nil {
				return err
			}
		case "data":
			if s.peek() == 'n' {
				ok = s.word("null")
				break
			}
			if bit = mData; s.peek() != '[' {
				return s.wrongType("data", "an array", index)
			}
			start := s.i
			ok = s.data(&a)
			in.JSON = s.b[start:s.i:s.i]
		default:
			ok = s.value()
		}
		if !ok {
			return s.error()
		}
		if seen&bit != 0 {
			return badRequest("duplicate member %s in input %d", quoted(key), index)
		}
		seen |= bit
	}
	if s.bad != "" {
		return s.error()
	}
	in.Parameters, in.blob = p.literal, p.blob
	return in.complete(&a, seen, l, index, s.lax)
}

// wrongType takes the value that is next and complains of its type.
func (s *scanner) wrongType(member, want string, index int) error {
	if !s.value() {
		return s.error()
	}
	return badRequest("Unable to parse '%s' of tensor %d: must be %s", member, index, want)
}

// shape takes a shape and appends it to dst.
func (s *scanner) shape(dst []int64, l *Limits, index int) ([]int64, error) {
	if s.peek() != '[' {
		return dst, s.wrongType("shape", "an array", index)
	}
	if !s.enter('[') {
		return dst, s.error()
	}
	for first := true; s.more(']', &first); {
		lit, ok := s.literal()
		if !ok {
			return dst, s.error()
		}
		if len(dst) == l.MaxDims {
			return dst, badRequest("Unable to parse 'shape' of tensor %d: at most %d dimensions are accepted", index, l.MaxDims)
		}
		if lit == nil {
			lit = raw("null")
		}
		n, ok := parseCount(lit, 1<<62)
		if !ok {
			return dst, badRequest("Unable to parse 'shape' of tensor %d: dimension %d is %.32s, must be a non-negative integer", index, len(dst), lit)
		}
		dst = append(dst, n)
	}
	if s.bad != "" {
		return dst, s.error()
	}
	return dst, nil
}

// complete checks an input of which every member was read.
func (in *Input) complete(a *array, seen int, l *Limits, index int, lax bool) error {
	switch {
	case seen&mName == 0:
		return badRequest("input %d has no 'name'", index)
	case len(in.Name) == 0:
		return badRequest("input %d has an empty 'name'", index)
	case seen&mShape == 0:
		return badRequest("input %s has no 'shape'", quoted(in.Name))
	case seen&mDatatype == 0:
		return badRequest("input %s has no 'datatype'", quoted(in.Name))
	}
	n, err := elements(in.Name, in.Shape, l)
	if err != nil {
		return err
	}
	in.elements = n
	switch {
	case seen&mData == 0 && in.blob < 0:
		return badRequest("input %s has no data: must specify valid 'Infer-Header-Content-Length' in request header and 'binary_data_size' when passing inputs in binary data format, or 'data' in JSON", quoted(in.Name))
	case seen&mData == 0:
		return nil
	case in.blob >= 0:
		return badRequest("input %s has both 'data' and 'binary_data_size'", quoted(in.Name))
	case in.Datatype.half() && !lax:
		return badRequest("receiving %s data via JSON is not supported. Please use the binary data format for input %s", in.Datatype, quoted(in.Name))
	}
	in.nested = a.rank > 1
	if what := a.check(in.JSON, in.Datatype, in.Shape, n); what != "" {
		return badRequest("Unable to parse 'data' of input %s: %s", quoted(in.Name), what)
	}
	return nil
}

// elements is the product of a shape.
func elements(name []byte, shape []int64, l *Limits) (int64, error) {
	if slices.Contains(shape, 0) {
		return 0, nil
	}
	n := int64(1)
	for _, d := range shape {
		if n > (1<<63-1)/d {
			return 0, badRequest("shape of tensor %s has more elements than 64 bits count", quoted(name))
		}
		n *= d
	}
	if n > l.MaxItems {
		return 0, errorf(statusTooLarge, "tensor %s has %d elements, at most %d are accepted", quoted(name), n, l.MaxItems)
	}
	return n, nil
}

func (r *Request) outputs(s *scanner, l *Limits) error {
	if s.peek() == 'n' {
		if !s.word("null") {
			return s.error()
		}
		return nil
	}
	if s.peek() != '[' {
		if !s.value() {
			return s.error()
		}
		return badRequest("Unable to parse 'outputs': must be an array")
	}
	if !s.enter('[') {
		return s.error()
	}
	for first := true; s.more(']', &first); {
		if len(r.Outputs) >= l.MaxTensors {
			return errorf(statusTooLarge, "too many outputs: at most %d are accepted", l.MaxTensors)
		}
		if s.peek() != '{' {
			if !s.value() {
				return s.error()
			}
			return badRequest("Unable to parse 'outputs': output %d must be an object", len(r.Outputs))
		}
		r.Outputs = append(r.Outputs, Output{})
		if err := r.Outputs[len(r.Outputs)-1].parse(s, len(r.Outputs)-1); err != nil {
			return err
		}
	}
	if s.bad != "" {
		return s.error()
	}
	return nil
}

// parse reads the requested output at that index of the array.
func (o *Output) parse(s *scanner, index int) error {
	if !s.enter('{') {
		return s.error()
	}
	var p params
	seen := 0
	for first := true; s.more('}', &first); {
		key, ok := s.key()
		if !ok {
			return s.error()
		}
		bit := 0
		switch text(key) {
		case "name":
			bit = mName
			if s.peek() != '"' {
				return s.wrongType("name", "a string", index)
			}
			o.Name, ok = s.unescaped()
		case "parameters":
			bit = mParameters
			if err := s.params(&p, ofOutput); err != nil {
				return err
			}
		default:
			ok = s.value()
		}
		if !ok {
			return s.error()
		}
		if seen&bit != 0 {
			return badRequest("duplicate member %s in output %d", quoted(key), index)
		}
		seen |= bit
	}
	if s.bad != "" {
		return s.error()
	}
	if len(o.Name) == 0 {
		return badRequest("output %d has no 'name'", index)
	}
	o.Parameters, o.Classification = p.literal, p.classification
	o.Binary, o.given = p.binary, p.binaryGiven
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
		missing, err := in.take(rest)
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

// take gives the tensor its blob from the beginning of rest, or tells how many
// bytes are missing there.
func (in *Input) take(rest []byte) (missing int64, err error) {
	if want := in.elements * int64(in.Datatype.Size()); in.Datatype != Bytes && in.blob != want {
		return 0, badRequest("unexpected total byte size %d for input %s, expecting %d", in.blob, quoted(in.Name), want)
	}
	if in.blob > int64(len(rest)) {
		return in.blob - int64(len(rest)), nil
	}
	in.Binary = rest[:in.blob:in.blob]
	if in.Datatype == Bytes {
		n, ok := blobElements(in.Binary)
		if !ok {
			return 0, badRequest("the lengths inside the BYTES data of input %s exceed its 'binary_data_size'", quoted(in.Name))
		}
		if n != in.elements {
			return 0, badRequest("expected %d strings for input %s, got %d", in.elements, quoted(in.Name), n)
		}
	}
	return 0, nil
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
