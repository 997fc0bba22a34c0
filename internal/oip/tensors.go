package oip

import "slices"

// Tensors decodes the inputs of a batch for an engine: one tensor per input of
// the model, in the metadata's order, with the rows of all requests in order.
// Inputs that the metadata does not list follow in the first request's order.
// The tensors are written to dst[:0] and returned; dst may hold those of an
// earlier call, whose memory is used again.
//
// Where one request alone has an input in binary, Data is the request's own
// memory, without a copy; it must not be written to. Several requests must have
// equal merge keys. Errors are *Error, or a *BatchError that names the
// requests at fault.
func Tensors(dst []Tensor, reqs []*Request, meta *ModelMetadata) ([]Tensor, error) {
	if len(reqs) == 0 {
		return dst[:0], errorf(statusInternal, "cannot decode: no requests")
	}
	if err := mergeable(reqs); err != nil {
		return dst[:0], err
	}
	var errs *BatchError
	dst = dst[:0]
	lead := reqs[0]
	if meta != nil {
		for k := range meta.Inputs {
			if in := lead.input(k, raw(meta.Inputs[k].Name)); in != nil {
				dst, errs = appendTensor(dst, meta.Inputs[k].Name, in, reqs, errs)
			}
		}
	}
	for k := range lead.Inputs {
		in := &lead.Inputs[k]
		if meta == nil || findTensor(meta.Inputs, in.Name) == nil {
			dst, errs = appendTensor(dst, string(in.Name), in, reqs, errs)
		}
	}
	if errs != nil {
		return dst, errs
	}
	return dst, nil
}

// appendTensor decodes one input of all requests; lead is the first one's.
func appendTensor(dst []Tensor, name string, lead *Input, reqs []*Request, errs *BatchError) ([]Tensor, *BatchError) {
	if len(dst) < cap(dst) {
		dst = dst[:len(dst)+1]
	} else {
		dst = append(dst, Tensor{})
	}
	t := &dst[len(dst)-1]
	data := t.Data[:0]
	if t.shared {
		data = nil
	}
	*t = Tensor{Name: name, Datatype: lead.Datatype, Shape: append(t.Shape[:0], lead.Shape...)}
	if len(reqs) == 1 && lead.JSON == nil {
		t.Data, t.shared = lead.Binary, true
		return dst, errs
	}
	size := 0
	for i, r := range reqs {
		in := r.input(0, lead.Name)
		if i > 0 {
			t.Shape[0] += in.Shape[0]
		}
		if in.JSON == nil {
			size += len(in.Binary)
		} else {
			size += blobLen(in.JSON, in.Datatype, in.elements)
		}
	}
	data = slices.Grow(data, size)
	for i, r := range reqs {
		in := r.input(0, lead.Name)
		if in.JSON == nil {
			data = append(data, in.Binary...)
			continue
		}
		var ok bool
		if data, ok = appendBlob(data, in.JSON, in.Datatype); !ok {
			errs = errs.set(i, len(reqs), badRequest("Unable to parse 'data' of input %s: an element is out of range for datatype %s", quoted(in.Name), in.Datatype))
		}
	}
	t.Data = data
	return dst, errs
}
