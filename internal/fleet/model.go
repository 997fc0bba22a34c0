package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"motley/internal/engine"
	"motley/internal/oip"
)

// version is the only version of every model.
const version = "1"

// Model is one that the servers serve.
type Model struct {
	Name string
	// Inputs and Outputs describe its tensors. The first dimension of each is the
	// batch, −1.
	Inputs, Outputs []oip.TensorMetadata
	// Zeros answers with zeros. Otherwise each output has the rows of the input
	// in the same place, or else of the first one of its datatype, each repeated
	// or cut to the output's length; zeros where no input has its datatype.
	Zeros bool
	// Engine, if not nil, computes the answers; Inputs and Outputs are its own
	// then. It is the caller's to close.
	Engine engine.Model
}

// metadata is what the model's endpoint tells.
func (m *Model) metadata() *oip.ModelMetadata {
	if m.Engine != nil {
		own := *m.Engine.Metadata()
		own.Name, own.Versions = m.Name, []string{version}
		return &own
	}
	return &oip.ModelMetadata{
		Name: m.Name, Versions: []string{version}, Platform: "motley_emulated", Inputs: m.Inputs, Outputs: m.Outputs,
	}
}

// plain tells whether a name needs no escapes in JSON.
func plain(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' })
}

func (m *Model) check() error {
	if !plain(m.Name) || strings.ContainsAny(m.Name, "/?#% ") {
		return fmt.Errorf("model %q: needs a name of printable ASCII without quotes, spaces and / ? # %%", m.Name)
	}
	if m.Engine != nil {
		return nil
	}
	if len(m.Inputs) == 0 || len(m.Outputs) == 0 {
		return fmt.Errorf("model %s: needs an input and an output", m.Name)
	}
	for _, t := range slices.Concat(m.Inputs, m.Outputs) {
		if !plain(t.Name) || t.Datatype == oip.Invalid || len(t.Shape) == 0 || t.Shape[0] != -1 {
			return fmt.Errorf("model %s: tensor %q: needs a name of printable ASCII without quotes, a datatype and a shape that begins with the batch, -1", m.Name, t.Name)
		}
	}
	return nil
}

// served is a model with what its endpoint tells.
type served struct {
	Model
	meta *oip.ModelMetadata
}

// answerer makes answers; it holds the memory for one at a time.
type answerer struct {
	in, out []oip.Tensor
}

// answer writes the model's answer to a request to dst. spoil, if not nil, makes
// it wrong.
func (a *answerer) answer(dst *oip.Message, m *served, req *oip.Request, spoil func([]oip.Tensor)) error {
	if m.Engine == nil && !m.Zeros && spoil == nil && spliced(dst, m, req) {
		return nil
	}
	reqs := []*oip.Request{req}
	var err error
	out := a.out[:0]
	switch {
	case m.Engine != nil:
		if a.in, err = oip.Tensors(a.in, reqs, m.meta); err == nil {
			out, err = m.Engine.Run(context.Background(), a.in, nil)
		}
	case m.Zeros:
		out = a.zeros(m, req)
	default:
		if a.in, err = oip.Tensors(a.in, reqs, m.meta); err == nil {
			out = a.echo(m, req)
		}
	}
	if err != nil {
		return single(err)
	}
	if spoil != nil {
		spoil(out)
	}
	return single(oip.Encode([]*oip.Message{dst}, out, reqs, nil, oip.ResponseInfo{Model: m.Name, Version: version}))
}

// single is the error of the only member of a batch.
func single(err error) error {
	if some, ok := errors.AsType[*oip.BatchError](err); ok {
		return some.Unwrap()
	}
	return err
}

// output makes an empty output in the memory of an earlier one.
func (a *answerer) output(of oip.TensorMetadata, rows int) *oip.Tensor {
	if len(a.out) < cap(a.out) {
		a.out = a.out[:len(a.out)+1]
	} else {
		a.out = append(a.out, oip.Tensor{})
	}
	t := &a.out[len(a.out)-1]
	*t = oip.Tensor{Name: of.Name, Datatype: of.Datatype, Shape: append(t.Shape[:0], of.Shape...), Data: t.Data[:0]}
	t.Shape[0] = int64(rows)
	for i, d := range t.Shape {
		if d < 0 {
			t.Shape[i] = 1
		}
	}
	return t
}

func (a *answerer) zeros(m *served, req *oip.Request) []oip.Tensor {
	a.out = a.out[:0]
	for _, of := range m.Outputs {
		t := a.output(of, req.Size(true))
		t.Data = grown(t.Data, elements(t.Shape)*elementSize(t.Datatype))
	}
	return a.out
}

func (a *answerer) echo(m *served, req *oip.Request) []oip.Tensor {
	a.out = a.out[:0]
	for k, of := range m.Outputs {
		t := a.output(of, req.Size(true))
		i := echoed(m, k)
		if i < 0 {
			t.Data = grown(t.Data, elements(t.Shape)*elementSize(t.Datatype))
			continue
		}
		in := &a.in[i]
		if len(in.Shape) == len(of.Shape) {
			for d := 1; d < len(of.Shape); d++ {
				if of.Shape[d] < 0 {
					t.Shape[d] = in.Shape[d]
				}
			}
		}
		t.Data = appendEcho(t.Data, t, in)
	}
	return a.out
}

// echoed is the input that output k repeats; −1: none.
func echoed(m *served, k int) int {
	want := m.Outputs[k].Datatype
	if k < len(m.Inputs) && m.Inputs[k].Datatype == want {
		return k
	}
	return slices.IndexFunc(m.Inputs, func(t oip.TensorMetadata) bool { return t.Datatype == want })
}

// appendEcho appends the rows of an input, each repeated or cut to the length of
// the output's rows.
func appendEcho(dst []byte, out, in *oip.Tensor) []byte {
	rows := int(out.Shape[0])
	from, to := elements(in.Shape[1:]), elements(out.Shape[1:])
	if from == 0 {
		return grown(dst, rows*to*elementSize(out.Datatype))
	}
	at := elementStarts(in, rows*from)
	for row := range rows {
		for done := 0; done < to; {
			n := min(from, to-done)
			dst = append(dst, in.Data[at(row*from):at(row*from+n)]...)
			done += n
		}
	}
	return dst
}

// elementStarts tells where in the tensor's data the n-th element begins.
func elementStarts(t *oip.Tensor, total int) func(n int) int {
	if size := t.Datatype.Size(); size > 0 {
		return func(n int) int { return n * size }
	}
	starts := make([]int, 1, total+1)
	for range total {
		at := starts[len(starts)-1]
		starts = append(starts, at+4+int(uint32(t.Data[at])|uint32(t.Data[at+1])<<8|uint32(t.Data[at+2])<<16|uint32(t.Data[at+3])<<24))
	}
	return func(n int) int { return starts[n] }
}

// resize gives a tensor so many rows: it cuts, or appends zeros.
func resize(t *oip.Tensor, rows int) {
	per := elements(t.Shape[1:])
	if have := int(t.Shape[0]); rows < have {
		t.Data = t.Data[:elementStarts(t, have*per)(rows*per)]
	} else {
		t.Data = append(t.Data, make([]byte, (rows-have)*per*elementSize(t.Datatype))...)
	}
	t.Shape = slices.Clone(t.Shape) // an engine's may be shared
	t.Shape[0] = int64(rows)
}

func elements(shape []int64) int {
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	return n
}

// elementSize is the length of an element that is zero, or empty.
func elementSize(d oip.Datatype) int {
	if d == oip.Bytes {
		return 4
	}
	return d.Size()
}

// grown is n zero bytes, in the memory of b where that is enough.
func grown(b []byte, n int) []byte {
	b = slices.Grow(b[:0], n)[:n]
	clear(b)
	return b
}
