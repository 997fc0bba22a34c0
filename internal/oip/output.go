package oip

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
