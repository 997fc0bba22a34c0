package oip

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
					return badRequest("Unable to parse 'datatype' of %s %d: unknown datatype %s", s.tensor(), index, quoted(name))
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
			if s.known != nil {
				s.i += len(s.known[index].JSON)
			} else {
				ok = s.data(&a)
			}
			in.JSON = s.b[start:s.i:s.i]
		default:
			ok = s.value()
		}
		if !ok {
			return s.error()
		}
		if seen&bit != 0 {
			return badRequest("duplicate member %s in %s %d", quoted(key), s.tensor(), index)
		}
		seen |= bit
	}
	if s.bad != "" {
		return s.error()
	}
	in.Parameters, in.blob = p.literal, p.blob
	return in.complete(s, &a, seen, l, index)
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
func (in *Input) complete(s *scanner, a *array, seen int, l *Limits, index int) error {
	switch {
	case seen&mName == 0:
		return badRequest("%s %d has no 'name'", s.tensor(), index)
	case len(in.Name) == 0:
		return badRequest("%s %d has an empty 'name'", s.tensor(), index)
	case seen&mShape == 0:
		return badRequest("%s %s has no 'shape'", s.tensor(), quoted(in.Name))
	case seen&mDatatype == 0:
		return badRequest("%s %s has no 'datatype'", s.tensor(), quoted(in.Name))
	}
	n, err := elements(in.Name, in.Shape, l)
	if err != nil {
		return err
	}
	in.elements = n
	switch {
	case seen&mData == 0 && in.blob < 0 && s.lax:
		return badRequest("output %s has neither 'data' nor 'binary_data_size'", quoted(in.Name))
	case seen&mData == 0 && in.blob < 0:
		return badRequest("input %s has no data: must specify valid 'Infer-Header-Content-Length' in request header and 'binary_data_size' when passing inputs in binary data format, or 'data' in JSON", quoted(in.Name))
	case seen&mData == 0:
		return nil
	case in.blob >= 0:
		return badRequest("%s %s has both 'data' and 'binary_data_size'", s.tensor(), quoted(in.Name))
	case in.Datatype.half() && !s.lax:
		return badRequest("receiving %s data via JSON is not supported. Please use the binary data format for input %s", in.Datatype, quoted(in.Name))
	}
	if s.known != nil {
		in.nested = s.known[index].nested
		return nil
	}
	in.nested, in.words = a.rank > 1, a.kinds&kindNonFinite != 0
	if what := a.check(in.JSON, in.Datatype, in.Shape, n); what != "" {
		return badRequest("Unable to parse 'data' of %s %s: %s", s.tensor(), quoted(in.Name), what)
	}
	return nil
}

// elements is the product of a shape. Its limit holds for the dimensions
// other than 0 even where one is 0, so that sums and products of a few
// dimensions never overflow.
func elements(name []byte, shape []int64, l *Limits) (int64, error) {
	n, empty := int64(1), false
	for _, d := range shape {
		if d == 0 {
			empty = true
			continue
		}
		if n > (1<<63-1)/d {
			return 0, badRequest("shape of tensor %s has more elements than 64 bits count", quoted(name))
		}
		n *= d
	}
	if n > l.MaxItems {
		return 0, errorf(statusTooLarge, "tensor %s has %d elements, at most %d are accepted", quoted(name), n, l.MaxItems)
	}
	if empty {
		return 0, nil
	}
	return n, nil
}

// take gives the tensor its blob from the beginning of rest, or tells how many
// bytes are missing there. what is its kind in the texts of errors.
func (in *Input) take(what string, rest []byte) (missing int64, err error) {
	if want := in.elements * int64(in.Datatype.Size()); in.Datatype != Bytes && in.blob != want {
		return 0, badRequest("unexpected total byte size %d for %s %s, expecting %d", in.blob, what, quoted(in.Name), want)
	}
	if in.blob > int64(len(rest)) {
		return in.blob - int64(len(rest)), nil
	}
	in.Binary = rest[:in.blob:in.blob]
	if in.Datatype == Bytes {
		n, ok := blobElements(in.Binary)
		if !ok {
			return 0, badRequest("the lengths inside the BYTES data of %s %s exceed its 'binary_data_size'", what, quoted(in.Name))
		}
		if n != in.elements {
			return 0, badRequest("expected %d strings for %s %s, got %d", in.elements, what, quoted(in.Name), n)
		}
	}
	return 0, nil
}
