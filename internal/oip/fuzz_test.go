package oip

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// bigTensor is a tensor as the naive side of the tests sees it: every element
// as its bytes in the binary layout.
type bigTensor struct {
	name  string
	d     Datatype
	shape []int64
	elems [][]byte
}

// randomTensors makes the inputs of one request; the shapes behind the first
// dimension and the datatypes depend on the seed alone.
func randomTensors(seed uint64, rng *rand.Rand, rows int) []bigTensor {
	shared := rand.New(rand.NewPCG(seed, 1))
	tensors := make([]bigTensor, 1+shared.IntN(3))
	for i := range tensors {
		t := &tensors[i]
		t.name = []string{"a", "b\"\\ü", "c\n"}[i]
		t.d = Datatype(1 + shared.IntN(int(Bytes)))
		t.shape = []int64{int64(rows)}
		for range shared.IntN(3) {
			t.shape = append(t.shape, int64(shared.IntN(4)))
		}
		n := int64(1)
		for _, d := range t.shape {
			n *= d
		}
		for range n {
			t.elems = append(t.elems, randomElement(rng, t.d))
		}
	}
	return tensors
}

func randomElement(rng *rand.Rand, d Datatype) []byte {
	if d == Bytes {
		s := []string{"", "x", "],[\"", "\\u0041", "ünï\u2028", "a\tb\x00", "😀", strings.Repeat("long", 9)}[rng.IntN(8)]
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...)
	}
	b := make([]byte, referenceDatatypes[d].size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	if rng.IntN(4) == 0 {
		clear(b)
	}
	switch d {
	case Bool:
		b[0] &= 1
	case FP16, BF16, FP32, FP64:
		if f, _ := floatAt(b, d); math.IsNaN(f) || math.IsInf(f, 0) {
			clear(b)
		}
	}
	return b
}

// naiveJSON is an element as encoding/json writes it.
func naiveJSON(e []byte, d Datatype) string {
	le := binary.LittleEndian
	var v any
	switch d {
	case Bool:
		v = e[0] != 0
	case Uint8:
		v = uint(e[0])
	case Uint16:
		v = le.Uint16(e)
	case Uint32:
		v = le.Uint32(e)
	case Uint64:
		v = le.Uint64(e)
	case Int8:
		v = int8(e[0])
	case Int16:
		v = int16(le.Uint16(e))
	case Int32:
		v = int32(le.Uint32(e))
	case Int64:
		v = int64(le.Uint64(e))
	case FP16:
		v = float32(halfValue(le.Uint16(e), 10, 15))
	case BF16:
		v = float32(halfValue(le.Uint16(e), 7, 127))
	case FP32:
		v = math.Float32frombits(le.Uint32(e))
	case FP64:
		v = math.Float64frombits(le.Uint64(e))
	case Bytes:
		v = string(e[4:])
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// nest writes elements as a nested array of that shape.
func nest(t *bigTensor, shape []int64, elems [][]byte) string {
	var parts []string
	if len(shape) <= 1 {
		for _, e := range elems {
			parts = append(parts, naiveJSON(e, t.d))
		}
		return "[" + strings.Join(parts, " , ") + "]"
	}
	for i := range int(shape[0]) {
		n := len(elems) / int(shape[0])
		parts = append(parts, nest(t, shape[1:], elems[i*n:(i+1)*n]))
	}
	return "[ " + strings.Join(parts, ",\n") + "]"
}

// encodeRequest writes a request in a form that rng chooses.
func encodeRequest(rng *rand.Rand, id string, tensors []bigTensor, jsonOnly bool) (body []byte, headLength int) {
	var inputs []string
	var blobs []byte
	isBinary := false
	for _, i := range rng.Perm(len(tensors)) {
		t := &tensors[i]
		name, _ := json.Marshal(t.name)
		shape, _ := json.Marshal(t.shape)
		data := ""
		switch form := rng.IntN(3); {
		case form == 0 && !jsonOnly || t.d.half():
			blob := bytes.Join(t.elems, nil)
			blobs = append(blobs, blob...)
			isBinary = true
			data = fmt.Sprintf(`"parameters":{"binary_data_size":%d}`, len(blob))
		case form == 1:
			data = `"data":` + nest(t, t.shape, t.elems)
		default:
			data = `"data":` + nest(t, t.shape[:1], t.elems)
		}
		inputs = append(inputs, fmt.Sprintf(`{"name":%s,%s,"datatype":"%s","shape":%s}`, name, data, t.d, shape))
	}
	body = fmt.Appendf(nil, `{"id":%q,"parameters":{"timeout":%d,"binary_data_output":%t},"inputs":[%s]}`,
		id, rng.IntN(1000), rng.IntN(2) == 0, strings.Join(inputs, ","))
	if !isBinary {
		return body, -1
	}
	return append(body, blobs...), len(body)
}

// decode reads the tensors of a response without the codec's help.
func decode(t *testing.T, m *Message) (id string, tensors map[string]bigTensor) {
	t.Helper()
	head, rest := m.Body, []byte(nil)
	if m.HeadLength >= 0 {
		head, rest = m.Body[:m.HeadLength], m.Body[m.HeadLength:]
	}
	var r struct {
		ID      string
		Outputs []struct {
			Name       string
			Datatype   Datatype
			Shape      []int64
			Parameters struct {
				Size *int `json:"binary_data_size"`
			}
			Data any
		}
	}
	dec := json.NewDecoder(bytes.NewReader(head))
	dec.UseNumber()
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("response %q: %v", head, err)
	}
	tensors = map[string]bigTensor{}
	for _, o := range r.Outputs {
		out := bigTensor{name: o.Name, d: o.Datatype, shape: o.Shape}
		if o.Parameters.Size != nil {
			blob := rest[:*o.Parameters.Size]
			rest = rest[*o.Parameters.Size:]
			for len(blob) > 0 {
				n := referenceDatatypes[o.Datatype].size
				if o.Datatype == Bytes {
					n = 4 + int(binary.LittleEndian.Uint32(blob))
				}
				out.elems = append(out.elems, blob[:n])
				blob = blob[n:]
			}
		} else {
			var leaves func(v any)
			leaves = func(v any) {
				if list, ok := v.([]any); ok {
					for _, e := range list {
						leaves(e)
					}
					return
				}
				if s, ok := v.(string); ok {
					out.elems = append(out.elems, append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...))
					return
				}
				if b, ok := v.(bool); ok && o.Datatype == Bool {
					out.elems = append(out.elems, map[bool][]byte{false: {0}, true: {1}}[b])
					return
				}
				e, ok := referenceNumber(fmt.Sprint(v), o.Datatype)
				if !ok {
					t.Fatalf("%v does not fit %s", v, o.Datatype)
				}
				out.elems = append(out.elems, e)
			}
			leaves(o.Data)
		}
		tensors[o.Name] = out
	}
	if len(rest) > 0 {
		t.Fatalf("%d bytes too many in the response", len(rest))
	}
	return r.ID, tensors
}

// echo is a server whose outputs are its inputs.
func echo(t *testing.T, m *Message, binaryWorker bool) (body []byte, headLength int) {
	t.Helper()
	var r Request
	if err := r.Parse(m.Body, m.HeadLength, nil); err != nil && !strings.Contains(err.Error(), "via JSON is not supported") {
		t.Fatalf("merged request: %v\n%q", err, m.Body)
	}
	head := m.Body
	if m.HeadLength >= 0 {
		if !binaryWorker {
			t.Fatalf("binary request for a worker that takes JSON")
		}
		head = m.Body[:m.HeadLength]
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(head, &members); err != nil {
		t.Fatalf("merged request: %v\n%q", err, head)
	}
	head = fmt.Appendf(nil, `{"model_name":"echo","id":"upstream","parameters":{"k":1},"outputs":%s}`, members["inputs"])
	if m.HeadLength < 0 {
		return head, -1
	}
	return append(head, m.Body[m.HeadLength:]...), len(head)
}

func FuzzMergeSplit(f *testing.F) {
	for seed := range uint64(400) {
		f.Add(seed, byte(seed), seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, n byte, binaryWorker bool) {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		count := 1 + int(n)%5
		reqs := make([]*Request, count)
		want := make([][]bigTensor, count)
		sizes := make([]int, count)
		for i := range reqs {
			sizes[i] = 1 + rng.IntN(3)
			want[i] = randomTensors(seed, rng, sizes[i])
			body, headLength := encodeRequest(rng, fmt.Sprint("id", i), want[i], rng.IntN(2) == 0)
			reqs[i] = new(Request)
			if err := reqs[i].Parse(body, headLength, nil); err != nil {
				t.Fatalf("Parse: %v\n%q", err, body)
			}
			if reqs[i].Size(true) != sizes[i] {
				t.Fatalf("Size = %d, want %d", reqs[i].Size(true), sizes[i])
			}
			if reqs[i].MergeKey(1, true) != reqs[0].MergeKey(1, true) {
				t.Fatalf("merge keys differ:\n%q\n%q", reqs[0].Body, body)
			}
		}
		// The engine's way: decode, and encode again.
		tensors, err := Tensors(nil, reqs, nil)
		if err != nil {
			t.Fatalf("Tensors: %v", err)
		}
		for i := range reqs[0].Inputs {
			got := tensors[i]
			var all []byte
			for _, member := range want {
				for _, w := range member {
					if w.name == got.Name {
						all = append(all, bytes.Join(w.elems, nil)...)
					}
				}
			}
			if !bytes.Equal(got.Data, all) {
				t.Fatalf("Tensors: %s %s = %x, want %x", got.Name, got.Datatype, got.Data, all)
			}
		}
		dst := make([]*Message, count)
		for i := range dst {
			dst[i] = new(Message)
		}
		compare := func(how string, err error) {
			be, _ := err.(*BatchError)
			if err != nil && be == nil {
				t.Fatalf("%s: %v", how, err)
			}
			for i, r := range reqs {
				half := false
				for _, w := range want[i] {
					half = half || w.d.half() && !r.BinaryOutput
				}
				if failed := be != nil && be.Errs[i] != nil; failed != half {
					t.Fatalf("%s: request %d failed: %t, want %t (%v)", how, i, failed, half, err)
				}
				if half {
					continue
				}
				id, got := decode(t, dst[i])
				if id != fmt.Sprint("id", i) || len(got) != len(want[i]) {
					t.Fatalf("%s: request %d got id %q and %d outputs", how, i, id, len(got))
				}
				for _, w := range want[i] {
					g := got[w.name]
					if g.d != w.d || !reflect.DeepEqual(g.shape, w.shape) || len(g.elems) != len(w.elems) {
						t.Fatalf("%s: output %q is %s %v with %d elements, want %s %v with %d", how, w.name, g.d, g.shape, len(g.elems), w.d, w.shape, len(w.elems))
					}
					for k := range w.elems {
						if !bytes.Equal(g.elems[k], w.elems[k]) {
							t.Fatalf("%s: %s %q element %d = %x, want %x", how, w.d, w.name, k, g.elems[k], w.elems[k])
						}
					}
				}
				if wantsBlob := r.BinaryOutput; wantsBlob != (dst[i].HeadLength >= 0) {
					t.Fatalf("%s: head length %d, binary wanted: %t", how, dst[i].HeadLength, wantsBlob)
				}
			}
		}
		compare("Encode", Encode(dst, tensors, reqs, sizes, ResponseInfo{Model: "echo"}))

		var merged Message
		if err := Merge(&merged, reqs, MergeOptions{Binary: binaryWorker}); err != nil {
			t.Fatalf("Merge: %v", err)
		}
		var resp Response
		body, headLength := echo(t, &merged, binaryWorker)
		if err := resp.Parse(body, headLength, nil); err != nil {
			t.Fatalf("Response.Parse: %v\n%q", err, body)
		}
		compare("Split", Split(dst, &resp, reqs, sizes))
	})
}
