package load

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"motley/internal/oip"
)

// Bodies are the requests to one model: bodies as they are, or rows of tensors
// of which every request takes some that follow each other. They are not
// written to once made, and loops share them.
type Bodies struct {
	Model string

	nameLiteral []byte // Model in JSON
	files       []file // when there are some, all else but Model is empty
	inputs      []input
	binary      bool
	batched     bool // the first dimension is the request's rows
	rows        int  // that there are to take from
	labels      []uint8
	params      []byte // JSON members without braces; empty: none
}

// file is a body as it is.
type file struct {
	body       []byte
	headLength int // −1: all JSON
	rows       int
}

// input is one tensor's rows, as they stand in a request.
type input struct {
	before []byte // {"name":…,"datatype":…,"shape":[
	dims   []byte // what follows the number of rows, the bracket included
	data   []byte // binary, or JSON numbers each row of which ends in a comma
	at     []int  // where row i begins in data; one more at the end
}

// Options say how bodies are made.
type Options struct {
	Binary bool
	Vary   int64                      // what dimensions that vary are, beside the rows; 0 = 1
	Params map[string]json.RawMessage // request parameters
}

// newBodies is what all tensors' bodies have in common.
func newBodies(model string, batched bool, opt Options) (*Bodies, error) {
	b := &Bodies{Model: model, binary: opt.Binary, batched: batched}
	b.nameLiteral, _ = json.Marshal(model) // a string always has a form
	params := make(map[string]json.RawMessage, len(opt.Params)+1)
	if opt.Binary {
		params["binary_data_output"] = json.RawMessage("true")
	}
	for k, v := range opt.Params {
		params[k] = v
	}
	if len(params) > 0 {
		text, err := json.Marshal(params) // its keys come in order
		if err != nil {
			return nil, fmt.Errorf("cannot write the request parameters: %w", err)
		}
		b.params = text[1 : len(text)-1]
	}
	return b, nil
}

// addInput adds a tensor whose rows are data from at[i] to at[i+1].
func (b *Bodies) addInput(t oip.TensorMetadata, dims []int64, data []byte, at []int) {
	name, _ := json.Marshal(t.Name)
	in := input{data: data, at: at}
	in.before = fmt.Appendf(nil, `{"name":%s,"datatype":"%s","shape":[`, name, t.Datatype)
	for i, d := range dims {
		if i > 0 || b.batched {
			in.dims = append(in.dims, ',')
		}
		in.dims = strconv.AppendInt(in.dims, d, 10)
	}
	in.dims = append(in.dims, ']')
	b.inputs = append(b.inputs, in)
	b.rows = len(at) - 1
}

// FromFiles makes bodies of files, each an inference request: JSON, or JSON
// with binary tensor data behind it.
func FromFiles(model string, names []string, contents [][]byte) (*Bodies, error) {
	b, err := newBodies(model, true, Options{})
	if err != nil {
		return nil, err
	}
	for i, body := range contents {
		f := file{body: body, headLength: jsonLength(body)}
		var r oip.Request
		if err := r.Parse(body, f.headLength, nil); err != nil {
			return nil, fmt.Errorf("%s: %w", names[i], err)
		}
		if len(r.Inputs[0].Shape) > 0 {
			f.rows = int(r.Inputs[0].Shape[0])
		}
		b.files = append(b.files, f)
	}
	return b, nil
}

// jsonLength is the length of the JSON value that body begins with, where
// something follows it; −1 where nothing does.
func jsonLength(body []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth > 0 {
				continue
			}
			for _, c := range body[i+1:] {
				if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
					return i + 1
				}
			}
			return -1
		}
	}
	return -1
}

// message is a request as it is written: parts, one after the other. It is
// used again for the next one.
type message struct {
	parts [][]byte

	head, json []byte
	cuts       []cut
}

// cut says what data follows the first at bytes of the JSON.
type cut struct {
	at   int
	data []byte
}

// smallBody is up to where copying a body is cheaper than writing it in parts.
const smallBody = 32 << 10

// build makes the request for a shot. prefix is its head up to and with the
// name of Content-Length. rows is how many it has, and labels are theirs, where
// they are known.
func (b *Bodies) build(m *message, prefix []byte, x shot) (rows int, labels []uint8) {
	headLength, rows, labels := b.write(m, x)
	total := len(m.json)
	for _, c := range m.cuts {
		total += len(c.data)
	}
	m.head = strconv.AppendInt(append(m.head[:0], prefix...), int64(total), 10)
	if headLength >= 0 {
		m.head = append(m.head, "\r\nInference-Header-Content-Length: "...)
		m.head = strconv.AppendInt(m.head, int64(headLength), 10)
	}
	m.head = append(m.head, "\r\n\r\n"...)
	m.join(total <= smallBody)
	return rows, labels
}

// Request makes a request of so many rows, or of one where the model does not
// batch. pick, from 0 to below 1, says where in the source they begin.
func (b *Bodies) Request(rows int, pick float64) (*oip.Request, error) {
	var m message
	headLength, _, _ := b.write(&m, shot{rows: rows, pick: pick})
	m.join(true)
	r := &oip.Request{Model: b.Model}
	if err := r.Parse(m.head, headLength, nil); err != nil {
		return nil, fmt.Errorf("cannot make a request: %w", err)
	}
	return r, nil
}

// write writes the JSON and notes the cuts; headLength is that of the JSON, -1
// where nothing follows it.
func (b *Bodies) write(m *message, x shot) (headLength, rows int, labels []uint8) {
	m.json, m.cuts = m.json[:0], m.cuts[:0]
	if len(b.files) > 0 {
		f := &b.files[int(x.pick*float64(len(b.files)))]
		m.cuts = append(m.cuts, cut{0, f.body})
		return f.headLength, f.rows, nil
	}
	rows = 1
	if b.batched {
		rows = min(x.rows, b.rows)
	}
	from := int(x.pick * float64(b.rows-rows+1))
	if b.labels != nil {
		labels = b.labels[from : from+rows]
	}
	return b.tensors(m, from, rows), rows, labels
}

// tensors writes the JSON and notes the cuts; it returns the length of the
// JSON, or −1 where the request has no other part.
func (b *Bodies) tensors(m *message, from, rows int) int {
	j := append(m.json, `{"inputs":[`...)
	for i := range b.inputs {
		in := &b.inputs[i]
		if i > 0 {
			j = append(j, ',')
		}
		j = append(j, in.before...)
		if b.batched {
			j = strconv.AppendInt(j, int64(rows), 10)
		}
		j = append(j, in.dims...)
		data := in.data[in.at[from]:in.at[from+rows]]
		if b.binary {
			j = append(j, `,"parameters":{"binary_data_size":`...)
			j = strconv.AppendInt(j, int64(len(data)), 10)
			j = append(j, "}}"...)
		} else {
			j = append(j, `,"data":[`...)
			m.cuts = append(m.cuts, cut{len(j), data[:max(0, len(data)-1)]})
			j = append(j, "]}"...)
		}
	}
	j = append(j, ']')
	if len(b.params) > 0 {
		j = append(j, `,"parameters":{`...)
		j = append(append(j, b.params...), '}')
	}
	m.json = append(j, '}')
	if !b.binary {
		return -1
	}
	for i := range b.inputs {
		in := &b.inputs[i]
		m.cuts = append(m.cuts, cut{len(m.json), in.data[in.at[from]:in.at[from+rows]]})
	}
	return len(m.json)
}

// join makes the parts: one, or the data where it lies.
func (m *message) join(one bool) {
	m.parts = m.parts[:0]
	if one {
		done := 0
		for _, c := range m.cuts {
			m.head = append(append(m.head, m.json[done:c.at]...), c.data...)
			done = c.at
		}
		m.head = append(m.head, m.json[done:]...)
		m.parts = append(m.parts, m.head)
		return
	}
	done, start := 0, 0
	offset := len(m.head)
	m.head = append(m.head, m.json...)
	for _, c := range m.cuts {
		if c.at+offset > start {
			m.parts = append(m.parts, m.head[start:c.at+offset])
		}
		m.parts = append(m.parts, c.data)
		done = c.at
		start = done + offset
	}
	if start < len(m.head) {
		m.parts = append(m.parts, m.head[start:])
	}
	m.parts = slices.DeleteFunc(m.parts, func(p []byte) bool { return len(p) == 0 })
}
