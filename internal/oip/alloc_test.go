package oip

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// jsonRequest is a request of about 1 KB.
func jsonRequest() []byte {
	return fmt.Appendf(nil, `{"id":"42","parameters":{"timeout":100000,"ee_mode":"latency","ee_max_disagreement":0.01,"ee_active_ramps":"0,3,5","ee_audit":true},"inputs":[{"name":"image","shape":[1,14,14],"datatype":"FP32","data":[%s]}],"outputs":[{"name":"probabilities"}]}`,
		strings.TrimSuffix(strings.Repeat("0.25,", 196), ","))
}

// binaryRequest is a request of about 4 KB.
func binaryRequest() (body []byte, headLength int) {
	head := []byte(`{"id":"42","parameters":{"binary_data_output":true},"inputs":[{"name":"image","shape":[1,1024],"datatype":"FP32","parameters":{"binary_data_size":4096}}]}`)
	return append(head, make([]byte, 4096)...), len(head)
}

// batch is k parsed requests and a response to all of them.
func batch(tb testing.TB, k int, binary bool) (reqs []*Request, sizes []int, resp *Response) {
	body, headLength := jsonRequest(), -1
	if binary {
		body, headLength = binaryRequest()
	}
	for range k {
		r := new(Request)
		if err := r.Parse(body, headLength, nil); err != nil {
			tb.Fatal(err)
		}
		reqs, sizes = append(reqs, r), append(sizes, 1)
	}
	answer := fmt.Appendf(nil, `{"model_name":"m","outputs":[{"name":"probabilities","shape":[%d,10],"datatype":"FP32","data":[%s]}]}`,
		k, strings.TrimSuffix(strings.Repeat("0.5,", 10*k), ","))
	answerHead := -1
	if binary {
		answer = fmt.Appendf(nil, `{"model_name":"m","outputs":[{"name":"probabilities","shape":[%d,10],"datatype":"FP32","parameters":{"binary_data_size":%d}}]}`, k, 40*k)
		answerHead = len(answer)
		answer = append(answer, make([]byte, 40*k)...)
	}
	resp = new(Response)
	if err := resp.Parse(answer, answerHead, nil); err != nil {
		tb.Fatal(err)
	}
	return reqs, sizes, resp
}

// hot are the operations of the request path, each over reused memory.
func hot(tb testing.TB) []struct {
	name string
	run  func() error
} {
	type op = struct {
		name string
		run  func() error
	}
	var ops []op
	var r Request
	body := jsonRequest()
	ops = append(ops, op{"ParseJSON1KB", func() error { return r.Parse(body, -1, nil) }})
	var rb Request
	bin, headLength := binaryRequest()
	ops = append(ops, op{"ParseBinary4KB", func() error { return rb.Parse(bin, headLength, nil) }})
	for _, binary := range []bool{false, true} {
		suffix := map[bool]string{false: "JSON8", true: "Binary8"}[binary]
		reqs, sizes, resp := batch(tb, 8, binary)
		merged := new(Message)
		dst := make([]*Message, len(reqs))
		marks := make([]*ExitMark, len(reqs))
		for i := range dst {
			dst[i], marks[i] = new(Message), &ExitMark{Exit: i, Confidence: 0.123}
		}
		// One request of eight rows, and the answers to its halves.
		whole, part, joined := new(Request), new(Request), new(Message)
		if err := Merge(merged, reqs, MergeOptions{Binary: true}); err != nil {
			tb.Fatal(err)
		}
		if err := whole.Parse(bytes.Clone(merged.Body), merged.HeadLength, nil); err != nil {
			tb.Fatal(err)
		}
		whole.ID = []byte(`"42"`)
		_, _, half := batch(tb, 4, binary)
		fours := []int{4, 4}
		halves := []*Response{half, new(Response)}
		*halves[1] = *half
		halves[1].Parameters = []byte(`{"emulated":"b"}`)
		halves[0].Parameters = []byte(`{"k":1,"emulated":"a"}`)
		again := Response{}
		var tensors []Tensor
		out := []Tensor{{Name: "probabilities", Datatype: FP32, Shape: []int64{8, 10}, Data: make([]byte, 320)}}
		ops = append(ops,
			op{"MergeKey" + suffix, func() error {
				if reqs[0].MergeKey(1, true) == 0 {
					return fmt.Errorf("no key")
				}
				return nil
			}},
			op{"Merge" + suffix, func() error { return Merge(merged, reqs, MergeOptions{Binary: true, Timeout: 5e6}) }},
			op{"ParseResponse" + suffix, func() error { return again.Parse(resp.Body, resp.HeadLength, nil) }},
			op{"Split" + suffix, func() error { return Split(dst, resp, reqs, sizes) }},
			op{"SplitExit" + suffix, func() error { return SplitExit(dst, resp, reqs, sizes, marks) }},
			op{"Encode" + suffix, func() error { return Encode(dst, out, reqs, sizes, ResponseInfo{Model: "m", Version: "1"}) }},
			op{"Slice" + suffix, func() error { return Slice(part, whole, 4, 4) }},
			op{"Join" + suffix, func() error { return Join(joined, halves, whole, fours) }},
			op{"Tensors" + suffix, func() (err error) {
				tensors, err = Tensors(tensors, reqs, &ModelMetadata{Inputs: []TensorMetadata{{Name: "image"}}})
				return err
			}},
		)
	}
	return ops
}

func TestAllocations(t *testing.T) {
	for _, op := range hot(t) {
		t.Run(op.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, func() {
				if err := op.run(); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v allocations, want 0", n)
			}
		})
	}
}

func BenchmarkHot(b *testing.B) {
	for _, op := range hot(b) {
		b.Run(op.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := op.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A large body is copied at most once: into a buffer that is right at once.
func TestLargeBodyIsCopiedOnce(t *testing.T) {
	const size = 8 << 20
	head := fmt.Appendf(nil, `{"inputs":[{"name":"image","shape":[1,%d],"datatype":"UINT8","parameters":{"binary_data_size":%d}}]}`, size, size)
	r := new(Request)
	if err := r.Parse(append(head, make([]byte, size)...), len(head), nil); err != nil {
		t.Fatal(err)
	}
	var alone Message
	if err := Merge(&alone, []*Request{r}, MergeOptions{Binary: true}); err != nil {
		t.Fatal(err)
	}
	if &alone.Body[0] != &r.Body[0] {
		t.Error("a single request was copied")
	}
	if err := Merge(&alone, []*Request{r, r}, MergeOptions{Binary: true}); err != nil {
		t.Fatal(err)
	}
	if &alone.Body[0] == &r.Body[0] || string(r.Body[:len(head)]) != string(head) {
		t.Error("Merge wrote to the request's own body")
	}
	dst, both := new(Message), []*Request{r, r}
	if n := testing.AllocsPerRun(3, func() {
		*dst = Message{}
		if err := Merge(dst, both, MergeOptions{Binary: true}); err != nil {
			t.Fatal(err)
		}
	}); n != 1 && !raceDetector {
		t.Errorf("%v allocations for one merged body, want 1", n)
	}
}
