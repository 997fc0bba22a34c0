package oip

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"unicode/utf8"
)

// referenceOutputs is the slow and plain reading of a response that Parse has
// accepted: its outputs in the binary layout, null as NaN. It reports false
// for what encoding/json cannot read faithfully.
func referenceOutputs(t *testing.T, body []byte, headLength int) ([]bigTensor, bool) {
	head, rest := body, []byte(nil)
	if headLength >= 0 {
		head, rest = body[:headLength], body[headLength:]
	}
	if !json.Valid(head) || !utf8.Valid(head) {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(head))
	dec.UseNumber()
	root, err := tree(dec)
	if err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	list, _ := root.(object).get("outputs")
	var tensors []bigTensor
	for _, v := range list.([]any) {
		o := v.(object)
		var b bigTensor
		name, _ := o.get("name")
		b.name = name.(string)
		datatype, _ := o.get("datatype")
		for d, info := range referenceDatatypes {
			if info.name == datatype {
				b.d = d
			}
		}
		shape, _ := o.get("shape")
		for _, n := range shape.([]any) {
			i, _ := n.(json.Number).Int64()
			b.shape = append(b.shape, i)
		}
		var data any
		for _, m := range o {
			if m.key == "data" && m.value != nil {
				data = m.value
			}
		}
		if data != nil {
			b.elems = referenceLeaves(t, data, b.d)
			tensors = append(tensors, b)
			continue
		}
		p, _ := o.get("parameters")
		n, _ := p.(object).get("binary_data_size")
		size, _ := n.(json.Number).Int64()
		blob := rest[:size]
		rest = rest[size:]
		for len(blob) > 0 {
			n := referenceDatatypes[b.d].size
			if b.d == Bytes {
				n = 4 + int(binary.LittleEndian.Uint32(blob))
			}
			b.elems = append(b.elems, blob[:n])
			blob = blob[n:]
		}
		tensors = append(tensors, b)
	}
	if len(rest) > 0 {
		t.Fatalf("%d bytes too many in %q", len(rest), body)
	}
	return tensors, true
}

// referenceLeaves are the elements of a data array that has been checked.
func referenceLeaves(t *testing.T, v any, d Datatype) (elems [][]byte) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			elems = append(elems, referenceLeaves(t, e, d)...)
		}
		return elems
	case string:
		return [][]byte{append(binary.LittleEndian.AppendUint32(nil, uint32(len(v))), v...)}
	case bool:
		if v {
			return [][]byte{{1}}
		}
		return [][]byte{{0}}
	case nil:
		return [][]byte{map[Datatype][]byte{
			FP16: {0, 0x7e}, BF16: {0xc0, 0x7f}, FP32: {0, 0, 0xc0, 0x7f}, FP64: {0, 0, 0, 0, 0, 0, 0xf8, 0x7f},
		}[d]}
	case json.Number:
		if d == FP16 || d == BF16 {
			f, _ := v.Float64()
			h := toBF16(f)
			if d == FP16 {
				h = toFP16(f)
			}
			return [][]byte{binary.LittleEndian.AppendUint16(nil, h)}
		}
		if e, ok := referenceNumber(string(v), d); ok {
			return [][]byte{e}
		}
	}
	t.Fatalf("%v does not fit %s", v, d)
	return nil
}

// sameElement compares an element with what a client got; in JSON all that is
// not finite is null, and what is not 0 is true.
func sameElement(want, got []byte, d Datatype, inJSON bool) bool {
	if bytes.Equal(want, got) {
		return true
	}
	switch d {
	case Bool:
		return inJSON && (want[0] != 0) == (got[0] != 0)
	case FP16, BF16, FP32, FP64:
		w, _ := floatAt(want, d)
		g, _ := floatAt(got, d)
		return math.IsNaN(g) && (math.IsNaN(w) || inJSON && math.IsInf(w, 0))
	}
	return false
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(`{"model_name":"m","model_version":"1","id":"x","parameters":{"k":1},"outputs":[{"name":"a","shape":[2],"datatype":"FP32","data":[NaN,null]}]}`), -1, true)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[2,1],"datatype":"BYTES","data":[["\ud800],["],["\xff"]]}]}`), -1, false)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[2],"datatype":"UINT8","parameters":{"binary_data_size":2}}]}ab`), 92, false)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}}]}`+"\x01\x00\x00\x00a\x00\x00\x00\x00"), 92, false)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[2,2],"datatype":"FP16","data":[[1,2e0],[null,-0.1]]},{"data":[[true],[false]],"name":"b","shape":[2,1],"datatype":"BOOL"}]}`), -1, true)
	f.Add([]byte(`{"outputs":[{"name":"a","shape":[2,0],"datatype":"FP64","data":[[],[]]},{"name":"b","shape":[2,0,3],"datatype":"FP64","data":[]}]}`), -1, true)
	f.Add([]byte(`{"outputs":[]}`), -1, true)
	f.Fuzz(func(t *testing.T, body []byte, headLength int, binaryOutput bool) {
		var resp Response
		if err := resp.Parse(body, headLength, nil); err != nil {
			if e, ok := err.(*Error); !ok || e.Status != 502 {
				t.Fatalf("error %#v", err)
			}
			return
		}
		want, comparable := referenceOutputs(t, body, headLength)
		a := &Request{BinaryOutput: binaryOutput, ID: []byte(`"a"`)}
		for _, reqs := range [][]*Request{{a}, {a, {BinaryOutput: !binaryOutput}}} {
			dst := messages(len(reqs))
			err := Split(dst, &resp, reqs, []int{1, 1}[:len(reqs)])
			var be *BatchError
			if err != nil && !errors.As(err, &be) {
				mismatch := false
				for _, o := range resp.Outputs {
					mismatch = mismatch || len(o.Shape) == 0 || o.Shape[0] != 2
				}
				if e, ok := err.(*Error); !ok || e.Status != 502 || len(reqs) == 1 || !mismatch {
					t.Fatalf("Split: %v\nof %q", err, body)
				}
				continue
			}
			for i, r := range reqs {
				if be != nil && be.Errs[i] != nil {
					if r.BinaryOutput || !lacksJSON(&resp) {
						t.Fatalf("Split, request %d: %v\nof %q", i, be.Errs[i], body)
					}
					continue
				}
				var again Response
				if err := again.Parse(dst[i].Body, dst[i].HeadLength, nil); err != nil {
					t.Fatalf("Split gave %q: %v\nof %q", dst[i].Body, err, body)
				}
				if n := again.HeadLength; n >= 0 && !json.Valid(again.Body[:n]) || n < 0 && !json.Valid(again.Body) {
					t.Fatalf("Split gave %q, which is not JSON\nof %q", again.Body, body)
				}
				if string(again.ID) != string(r.ID) {
					t.Fatalf("id %s, want %s", again.ID, r.ID)
				}
				got, ok := referenceOutputs(t, dst[i].Body, dst[i].HeadLength)
				if !ok || !comparable {
					continue
				}
				if len(got) != len(want) {
					t.Fatalf("%d outputs, want %d\nof %q", len(got), len(want), body)
				}
				for k, w := range want {
					compareOutput(t, w, got[k], i, len(reqs), !r.BinaryOutput)
				}
			}
		}
	})
}

// lacksJSON tells whether an output may have no JSON form.
func lacksJSON(r *Response) bool {
	for _, o := range r.Outputs {
		if o.Datatype == FP16 || o.Datatype == BF16 || o.Datatype == Bytes && o.JSON == nil {
			return true
		}
	}
	return false
}

// compareOutput holds what request i of a batch of n got against its row of
// the whole.
func compareOutput(t *testing.T, want, got bigTensor, i, n int, inJSON bool) {
	t.Helper()
	if n > 1 {
		per := len(want.elems) / n
		want.elems = want.elems[i*per : (i+1)*per]
		want.shape = append([]int64{1}, want.shape[1:]...)
	}
	if got.name != want.name || got.d != want.d || fmt.Sprint(got.shape) != fmt.Sprint(want.shape) || len(got.elems) != len(want.elems) {
		t.Fatalf("request %d of %d got %+v, want %+v", i, n, got, want)
	}
	for k := range want.elems {
		if !sameElement(want.elems[k], got.elems[k], want.d, inJSON) {
			t.Fatalf("request %d of %d, output %q, element %d: %x, want %x", i, n, want.name, k, got.elems[k], want.elems[k])
		}
	}
}
