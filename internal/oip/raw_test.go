package oip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// A raw request goes all the way: Parse, Check, Tensors, and an answer in
// binary.
func TestRawRequest(t *testing.T) {
	for _, c := range []struct {
		name    string
		d       Datatype
		shape   []int64 // the model's
		batched bool
		body    string
		want    string // the tensor's shape
		data    string // the tensor's data; "" means the body's
	}{
		{"batched", FP32, []int64{-1, 2}, true, "abcdefgh", "[1 2]", ""},
		{"batched, one variable dimension", Int16, []int64{-1, -1, 2}, true, "abcdefgh", "[1 2 2]", ""},
		{"no batch, one variable dimension", Uint8, []int64{2, -1}, false, "abcdef", "[2 3]", ""},
		{"no batch, all fixed", Int64, []int64{1}, false, "abcdefgh", "[1]", ""},
		{"scalar", FP64, []int64{}, false, "abcdefgh", "[]", ""},
		{"half precision", FP16, []int64{-1, 3}, true, "abcdef", "[1 3]", ""},
		{"nothing, of a variable dimension", Int32, []int64{-1}, false, "", "[0]", ""},
		{"nothing, of a dimension that is 0", Int32, []int64{-1, -1, 0}, true, "", "[1 0 0]", ""},
		{"bytes", Bytes, []int64{1}, false, "any\xfftext", "[1]", "\x08\x00\x00\x00any\xfftext"},
		{"bytes, batched", Bytes, []int64{-1, 1}, true, "x", "[1 1]", "\x01\x00\x00\x00x"},
		{"bytes, variable", Bytes, []int64{-1, -1}, true, "", "[1 1]", "\x00\x00\x00\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			meta := &ModelMetadata{Name: "m", Inputs: []TensorMetadata{{Name: "in", Datatype: c.d, Shape: c.shape}}}
			r := &Request{Model: "m"}
			for range 2 { // the second time over the memory of the first
				if err := r.Parse([]byte(c.body), 0, nil); err != nil {
					t.Fatal(err)
				}
				if err := r.Check(meta, c.batched, 8); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Check(meta, c.batched, 8); err != nil {
				t.Fatalf("Check once more: %v", err)
			}
			if n := r.Size(c.batched); n != 1 {
				t.Errorf("Size = %d, want 1", n)
			}
			tensors, err := Tensors(nil, []*Request{r}, meta)
			if err != nil || len(tensors) != 1 {
				t.Fatalf("Tensors: %d, %v", len(tensors), err)
			}
			data := c.data
			if c.d != Bytes {
				data = c.body
			}
			got := tensors[0]
			if got.Name != "in" || got.Datatype != c.d || fmt.Sprint(got.Shape) != c.want || string(got.Data) != data {
				t.Errorf("tensor %+v, want %s %s with %q", got, c.d, c.want, data)
			}
			got.Name = "out"
			var m Message
			if err := Encode([]*Message{&m}, []Tensor{got}, []*Request{r}, nil, ResponseInfo{Model: "m", Version: "1"}); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"model_name":"m","model_version":"1","outputs":[{"name":"out","datatype":"%s","shape":%s,"parameters":{"binary_data_size":%d}}]}`,
				c.d, strings.ReplaceAll(c.want, " ", ","), len(data))
			if head, blob := m.Body[:m.HeadLength], m.Body[m.HeadLength:]; string(head) != want || string(blob) != data {
				t.Errorf("response %s + %q\nwant     %s + %q", head, blob, want, data)
			}
			// A worker that lacks the extension, or needs a timeout, gets the
			// same tensor.
			for _, opt := range []MergeOptions{{}, {Binary: true, Timeout: 1}} {
				var sent Message
				if err := Merge(&sent, []*Request{r}, opt); err != nil {
					if _, ok := err.(*BatchError); !ok || opt.Binary {
						t.Errorf("Merge(%+v): %v", opt, err)
					}
					continue
				}
				var again Request
				if err := again.Parse(sent.Body, sent.HeadLength, nil); err != nil {
					if !c.d.half() || opt.Binary {
						t.Errorf("Merge(%+v) = %q: %v", opt, sent.Body, err)
					}
					continue
				}
				tensors, err := Tensors(nil, []*Request{&again}, meta)
				if err != nil || string(tensors[0].Data) != data || fmt.Sprint(tensors[0].Shape) != c.want {
					t.Errorf("Merge(%+v) = %q: %+v, %v", opt, sent.Body, tensors, err)
				}
			}
		})
	}
}

func TestRawRequestsMerge(t *testing.T) {
	meta := &ModelMetadata{Name: "m", Inputs: []TensorMetadata{{Name: "in", Datatype: Uint16, Shape: []int64{-1, 2}}}}
	var reqs []*Request
	for _, body := range []string{"abcd", "efgh"} {
		r := new(Request)
		if err := r.Parse([]byte(body), 0, nil); err != nil {
			t.Fatal(err)
		}
		if err := r.Check(meta, true, 8); err != nil {
			t.Fatal(err)
		}
		reqs = append(reqs, r)
	}
	reqs = append(reqs, mustParse(t, `{"id":"json","inputs":[{"name":"in","shape":[1,2],"datatype":"UINT16","data":[1,2]}]}`))
	var m Message
	if err := Merge(&m, reqs, MergeOptions{Binary: true}); err != nil {
		t.Fatal(err)
	}
	const want = `{"parameters":{"binary_data_output":true},"inputs":[{"name":"in","datatype":"UINT16","shape":[3,2],"parameters":{"binary_data_size":12}}]}` +
		"abcdefgh\x01\x00\x02\x00"
	if string(m.Body) != want {
		t.Errorf("merged %q\nwant   %q", m.Body, want)
	}
	answer := Tensor{Name: "out", Datatype: Uint16, Shape: []int64{3}, Data: binary.LittleEndian.AppendUint16([]byte("ABCD"), 515)}
	dst := []*Message{{}, {}, {}}
	if err := Encode(dst, []Tensor{answer}, reqs, []int{1, 1, 1}, ResponseInfo{Model: "m"}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"AB", "CD", ""} {
		head, blob := dst[i].Body, []byte(nil)
		if n := dst[i].HeadLength; n >= 0 {
			head, blob = head[:n], head[n:]
		}
		if string(blob) != want || want == "" && !bytes.Contains(head, []byte(`"data":[515]`)) {
			t.Errorf("request %d got %s + %q, want %q", i, head, blob, want)
		}
	}
}
