package oip

import "slices"

// Join writes the response to a request from the responses to its parts, which
// Slice made of it and which cover its rows in order, sizes[i] of them the i-th.
// It is what Split and Encode would have made of one execution of all rows:
// the outputs that req asked for, each in the form it asked for, concatenated
// along their first dimension, under req's id and the model's name as the first
// part has it. Of the version and of parameters, those of the response and
// those of an output, only what all parts agree on is told of the whole.
//
// Blobs are concatenated and JSON arrays spliced; nothing is converted unless a
// part has another form than was asked for, which a worker's own answer may
// have, and then as Split does it. JSON is nested where it is in all parts,
// else flat.
//
// It appends to dst.Body[:0], in memory that must not be that of a part, and
// beyond the growth of that allocates nothing. An *Error with status 502 means
// that the parts do not answer the request or do not fit together: an output
// that one of them lacks, of another datatype or trailing shape than the first
// part's, or with a first dimension that is not the part's rows. The rows may be
// executed together then. Status 400 means that an output cannot have the form
// that was asked for, as in Split, and 500 a call that makes no sense. dst is
// undefined after an error.
func Join(dst *Message, parts []*Response, req *Request, sizes []int) error {
	if len(parts) == 0 || len(parts) != len(sizes) {
		return errorf(statusInternal, "cannot join: %d sizes for %d parts", len(sizes), len(parts))
	}
	j := joiner{parts: parts, sizes: sizes}
	size := 256 + len(req.ID)
	for i, n := range sizes {
		if n < 1 {
			return errorf(statusInternal, "cannot join: size %d", n)
		}
		j.rows += int64(n)
		size += len(parts[i].Body)
	}
	lead := parts[0]
	j.writer = writer{b: slices.Grow(ownBody(dst), size), reply: req, all: len(lead.Outputs)}
	version := lead.ModelVersion
	for _, r := range parts {
		if len(req.Outputs) == 0 && len(r.Outputs) != len(lead.Outputs) {
			return errorf(statusBadGateway, "the workers' responses to parts of a request do not fit together: %d outputs and %d", len(lead.Outputs), len(r.Outputs))
		}
		if string(r.ModelVersion) != string(version) {
			version = nil
		}
	}
	j.open(lead.ModelName, version, j.common(func(i int) []byte { return parts[i].Parameters }))
	for n := range j.outputs() {
		o := lead.output(req, n)
		if o == nil {
			return lacks(req.Outputs[n].Name)
		}
		if err := j.join(o, n); err != nil {
			return err
		}
	}
	j.close()
	for n := range j.outputs() {
		if !req.binary(n) {
			continue
		}
		name := lead.output(req, n).Name
		for _, r := range parts {
			p := r.named(n, name).part()
			j.blob(&p)
		}
	}
	j.finish(dst)
	if j.err != nil {
		return j.err
	}
	return nil
}

// joiner writes the response to all parts.
type joiner struct {
	writer
	parts []*Response
	sizes []int
	rows  int64
}

// join writes the n-th output of all parts, with its data where that is JSON;
// lead is the first part's.
func (j *joiner) join(lead *ResponseOutput, n int) *Error {
	size, flat := 0, false
	for i, r := range j.parts {
		o := r.named(n, lead.Name)
		if o == nil {
			return lacks(lead.Name)
		}
		if err := j.fits(o, lead, i, n); err != nil {
			return err
		}
		o.take(false, nil, 0)
		if p := o.part(); j.reply.binary(n) {
			size += p.blobLen()
		}
		flat = flat || !o.nested
	}
	whole := lead.part()
	whole.rows = j.rows
	whole.parameters = j.common(func(i int) []byte { return j.parts[i].named(n, lead.Name).Parameters })
	if j.describe(&whole, n, size) {
		return nil
	}
	first := true
	for _, r := range j.parts {
		o := r.named(n, lead.Name)
		if flat && o.elements == 0 { // no comma for nothing
			continue
		}
		if !first {
			j.b = append(j.b, ',')
		}
		first = false
		p := o.part()
		if flat && o.nested { // half precision fails at the part that is flat
			j.b = appendFlat(j.b, p.data)
			continue
		}
		j.values(&p)
	}
	j.b = append(j.b, ']', '}')
	return nil
}

// fits holds part i's n-th output against the part's rows and the first
// part's output.
func (j *joiner) fits(o, lead *ResponseOutput, i, n int) *Error {
	switch {
	case len(o.Shape) == 0 || o.Shape[0] != int64(j.sizes[i]):
		return errorf(statusBadGateway, "the worker's output %s has shape %s for a part of %d", quoted(o.Name), appendShape(nil, o.Shape), j.sizes[i])
	case o.Datatype != lead.Datatype || !slices.Equal(o.Shape[1:], lead.Shape[1:]):
		return errorf(statusBadGateway, "the workers' responses to parts of a request do not fit together: output %s is %s %s and %s %s",
			quoted(o.Name), lead.Datatype, appendShape(nil, lead.Shape), o.Datatype, appendShape(nil, o.Shape))
	case len(o.Shape) == 1 && len(j.reply.Outputs) > 0 && j.reply.Outputs[n].Classification > 0:
		// One dimension is classified as one row: these classes are the part's.
		return errorf(statusBadGateway, "output %s has one dimension: its classification cannot be joined from parts", quoted(o.Name))
	}
	return nil
}

// common is an object of the members that the parameters of all parts have, as
// they stand; nil where there are none. It is valid until the next call.
func (j *joiner) common(of func(part int) []byte) []byte {
	first, equal := of(0), true
	for i := 1; i < len(j.parts); i++ {
		equal = equal && string(of(i)) == string(first)
	}
	if equal {
		return first
	}
	lead := j.parts[0]
	n := len(lead.scratch)
	b := append(lead.scratch, '{')
	for at := 0; ; {
		name, value, next := walkMembers(first, at)
		if name == nil {
			break
		}
		at = next
		agreed := true
		for i := 1; i < len(j.parts) && agreed; i++ {
			agreed = hasMember(of(i), name, value)
		}
		if agreed {
			b = append(append(append(append(b, name...), ':'), value...), ',')
		}
	}
	lead.scratch = b[:n]
	if len(b) == n+1 {
		return nil
	}
	return closeMembers(b)[n:]
}
