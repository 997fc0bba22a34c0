package fleet

import (
	"slices"
	"strconv"

	"motley/internal/oip"
)

// spliced writes an echo by copying the text of the request's JSON, where that
// is all there is to it: every output repeats an input of its own shape, in
// JSON. Numbers are neither read nor written then, which of a large request is
// most of the work. It reports whether it did.
func spliced(dst *oip.Message, m *served, req *oip.Request) bool {
	if req.BinaryOutput || len(req.Outputs) > 0 {
		return false
	}
	size := 128 + len(req.ID)
	for k := range m.Outputs {
		in := repeated(m, req, k)
		if in == nil {
			return false
		}
		size += len(in.JSON) + 128
	}
	b := slices.Grow(dst.Body[:0], size)
	b = strconv.AppendQuote(append(b, `{"model_name":`...), m.Name)
	b = append(b, `,"model_version":"`+version+`"`...)
	if req.ID != nil {
		b = append(append(b, `,"id":`...), req.ID...)
	}
	b = append(b, `,"outputs":[`...)
	for k, of := range m.Outputs {
		if k > 0 {
			b = append(b, ',')
		}
		in := repeated(m, req, k)
		b = strconv.AppendQuote(append(b, `{"name":`...), of.Name)
		b = append(append(b, `,"datatype":"`...), of.Datatype.String()...)
		b = append(b, `","shape":[`...)
		for i, d := range in.Shape {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, d, 10)
		}
		b = append(append(append(b, `],"data":`...), in.JSON...), '}')
	}
	*dst = oip.Message{Body: append(b, ']', '}'), HeadLength: -1}
	return true
}

// repeated is the request's input whose text is output k's, nil where the
// output is not the input as it stands.
func repeated(m *served, req *oip.Request, k int) *oip.Input {
	i := echoed(m, k)
	if i < 0 {
		return nil
	}
	at := slices.IndexFunc(req.Inputs, func(in oip.Input) bool { return string(in.Name) == m.Inputs[i].Name })
	if at < 0 {
		return nil
	}
	in := &req.Inputs[at]
	if in.JSON == nil || nested(in.JSON) || len(in.Shape) != len(m.Outputs[k].Shape) {
		return nil
	}
	for d, want := range m.Outputs[k].Shape[1:] {
		if want >= 0 && want != in.Shape[d+1] {
			return nil
		}
	}
	return in
}

// nested tells whether an array holds arrays.
func nested(array []byte) bool {
	for _, c := range array[1:] {
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			continue
		}
		return c == '['
	}
	return false
}
