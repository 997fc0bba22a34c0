package oip

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// mergeCase is one batch and what the worker is sent.
type mergeCase struct {
	name string
	reqs []*Request
	opt  MergeOptions
	want string // the head
	blob string // the binary data; the head's length is −1 without it
}

func TestMerge(t *testing.T) {
	const (
		in   = `"inputs":[{"name":"a","shape":[1],"datatype":"INT8","data":[1]}]`
		out  = `"inputs":[{"name":"a","datatype":"INT8","shape":[1],"data":[1]}]`
		out2 = `"inputs":[{"name":"a","datatype":"INT8","shape":[2],"data":[1,1]}]`
	)
	one := func(parameters string) []*Request {
		return []*Request{mustParse(t, `{"id":"x",`+parameters+in+`}`)}
	}
	two := func(first, second string) []*Request {
		return append(one(first), mustParse(t, `{"id":"y",`+second+in+`}`))
	}
	asking := func(outputs ...string) (reqs []*Request) {
		for _, o := range outputs {
			reqs = append(reqs, mustParse(t, `{`+in+`,"outputs":[`+o+`]}`))
		}
		return reqs
	}
	const blobHead = `{"inputs":[{"name":"a","shape":[1,2],"datatype":"INT8","parameters":{"u":1,"binary_data_size":2}}]}`
	const json12 = `{"inputs":[{"name":"a","shape":[1,2],"datatype":"INT8","parameters":{"u":1},"data":[1,2]}]}`
	const nested34 = `{"inputs":[{"name":"a","shape":[1,2],"datatype":"INT8","parameters":{"u":1},"data":[[3, 4]]}]}`
	for _, c := range []mergeCase{
		// Timeouts.
		{name: "a timeout is added", reqs: one(``), opt: MergeOptions{Timeout: 3 * time.Millisecond},
			want: `{"id":"x","parameters":{"timeout":3000},` + out + `}`},
		{name: "a timeout is replaced", reqs: one(`"parameters":{"k":[1],"timeout":5,"z":null},`), opt: MergeOptions{Timeout: time.Second},
			want: `{"id":"x","parameters":{"k":[1],"z":null,"timeout":1000000},` + out + `}`},
		{name: "a timeout written with escapes is replaced", reqs: one(`"parameters":{"time\u006fut":5},`), opt: MergeOptions{Timeout: time.Second},
			want: `{"id":"x","parameters":{"timeout":1000000},` + out + `}`},
		{name: "a timeout is rounded down", reqs: one(``), opt: MergeOptions{Timeout: 1999 * time.Nanosecond},
			want: `{"id":"x","parameters":{"timeout":1},` + out + `}`},
		{name: "a timeout is 1 µs at least", reqs: one(``), opt: MergeOptions{Timeout: 1},
			want: `{"id":"x","parameters":{"timeout":1},` + out + `}`},
		{name: "several timeouts are dropped", reqs: two(`"parameters":{"timeout":5},`, `"parameters":{"timeout":6},`), opt: MergeOptions{},
			want: `{` + out2 + `}`},
		{name: "several timeouts are replaced", reqs: two(`"parameters":{"timeout":5},`, ``), opt: MergeOptions{Timeout: time.Second},
			want: `{"parameters":{"timeout":1000000},` + out2 + `}`},
		// Priorities: 0 and absent are the default, 1 is the highest.
		{name: "one priority stays", reqs: one(`"parameters":{"priority":7},`), opt: MergeOptions{Timeout: time.Second},
			want: `{"id":"x","parameters":{"priority":7,"timeout":1000000},` + out + `}`},
		{name: "the highest of several priorities", reqs: two(`"parameters":{"priority":7},`, `"parameters":{"priority":2},`),
			want: `{"parameters":{"priority":2},` + out2 + `}`},
		{name: "a priority beside none", reqs: two(``, `"parameters":{"priority":2},`),
			want: `{"parameters":{"priority":2},` + out2 + `}`},
		{name: "priorities of 0", reqs: two(`"parameters":{"priority":0},`, ``),
			want: `{` + out2 + `}`},
		// Early exit.
		{name: "early exit is dropped", reqs: one(`"parameters":{"ee_mode":"off","k":1,"ee_m\u0061x_disagreement":0.5,"ee_active_ramps":"","ee_audit":false},`),
			want: `{"id":"x","parameters":{"k":1},` + out + `}`},
		{name: "early exit of several is dropped", reqs: two(`"parameters":{"ee_mode":"off"},`, `"parameters":{"ee_audit":true},`),
			want: `{` + out2 + `}`},
		{name: "all ramps are asked for, and JSON", reqs: one(`"parameters":{"ee_mode":"off","binary_data_output":true},`), opt: MergeOptions{Binary: true, AllOutputs: true, AskRamps: true, Ramps: 1<<31 | 9},
			want: `{"id":"x","parameters":{"ee_active_ramps":"0,3,31","ee_audit":true},` + out + `}`},
		{name: "the full model is asked for", reqs: one(`"parameters":{"ee_mode":"compute","k":1},`), opt: MergeOptions{Binary: true, Full: true},
			want: `{"id":"x","parameters":{"k":1,"ee_mode":"off"},` + out + `}`},
		{name: "the full model is asked for, of nothing else", reqs: one(``), opt: MergeOptions{Binary: true, Full: true},
			want: `{"id":"x","parameters":{"ee_mode":"off"},` + out + `}`},
		{name: "no ramps, and all outputs", reqs: asking(`{"name":"o","parameters":{"binary_data":true}},{"name":"p"}`), opt: MergeOptions{Binary: true, AllOutputs: true, AskRamps: true},
			want: `{"parameters":{"ee_active_ramps":"","ee_audit":true},` + out + `}`},
		{name: "outputs with parameters of their own", reqs: asking(`{"name":"o","parameters":{"binary_data":true}},{"name":"p","parameters":{"classification":2}}`), opt: MergeOptions{Binary: true, AllOutputs: true, AskRamps: true},
			want: `{"parameters":{"ee_active_ramps":"","ee_audit":true},` + out + `,"outputs":[{"name":"o"},{"name":"p","parameters":{"classification":2}}]}`},
		{name: "other parameters stay", reqs: two(`"parameters":{"k":{"timeout":1},"priority":3},`, `"parameters":{"k":{"timeout":1}},`),
			want: `{"parameters":{"k":{"timeout":1},"priority":3},` + out2 + `}`},
		// What is asked for.
		{name: "binary outputs of all, one request", reqs: one(`"parameters":{"binary_data_output":true},`), opt: MergeOptions{Binary: true, Timeout: time.Second},
			want: `{"id":"x","parameters":{"timeout":1000000,"binary_data_output":true},` + out + `}`},
		{name: "binary outputs, not for a JSON worker", reqs: one(`"parameters":{"binary_data_output":true},`),
			want: `{"id":"x",` + out + `}`},
		{name: "binary outputs when one of several asks", reqs: two(``, `"parameters":{"binary_data_output":true},`), opt: MergeOptions{Binary: true},
			want: `{"parameters":{"binary_data_output":true},` + out2 + `}`},
		{name: "binary outputs of several, not for a JSON worker", reqs: two(``, `"parameters":{"binary_data_output":true},`),
			want: `{` + out2 + `}`},
		{name: "one request's outputs stay to the letter", reqs: asking(`{"name":"o\n","parameters":{"binary_data":true,"k":1}},{"name":"p"}`), opt: MergeOptions{Binary: true, Timeout: time.Second},
			want: `{"parameters":{"timeout":1000000},` + out + `,"outputs":[{"name":"o\n","parameters":{"binary_data":true,"k":1}},{"name":"p"}]}`},
		{name: "one request's outputs for a JSON worker", reqs: asking(`{"name":"o","parameters":{"binary_data":true,"k":1}},{"name":"p","parameters":{"binary_data":false}}`),
			want: `{` + out + `,"outputs":[{"name":"o","parameters":{"k":1}},{"name":"p"}]}`},
		{name: "several requests' outputs, one of them in binary", reqs: asking(`{"name":"o"},{"name":"p"}`, `{"name":"p"},{"name":"o","parameters":{"binary_data":true}}`), opt: MergeOptions{Binary: true},
			want: `{"parameters":{"binary_data_output":true},` + out2 + `,"outputs":[{"name":"o"},{"name":"p"}]}`},
		{name: "several requests' outputs, classification", reqs: asking(`{"name":"o","parameters":{"classification":2,"binary_data":false}}`, `{"name":"o","parameters":{"classification":2}}`), opt: MergeOptions{Binary: true},
			want: `{` + out2 + `,"outputs":[{"name":"o","parameters":{"classification":2}}]}`},
		// Data.
		{name: "blobs are concatenated", reqs: []*Request{mustParse(t, blobHead, "ab"), mustParse(t, blobHead, "cd")}, opt: MergeOptions{Binary: true},
			want: `{"inputs":[{"name":"a","datatype":"INT8","shape":[2,2],"parameters":{"u":1,"binary_data_size":4}}]}`, blob: "abcd"},
		{name: "a blob and JSON", reqs: []*Request{mustParse(t, json12), mustParse(t, blobHead, "cd"), mustParse(t, nested34)}, opt: MergeOptions{Binary: true},
			want: `{"inputs":[{"name":"a","datatype":"INT8","shape":[3,2],"parameters":{"u":1,"binary_data_size":6}}]}`, blob: "\x01\x02cd\x03\x04"},
		{name: "a blob and JSON for a JSON worker", reqs: []*Request{mustParse(t, nested34), mustParse(t, blobHead, "cd")},
			want: `{"inputs":[{"name":"a","datatype":"INT8","shape":[2,2],"parameters":{"u":1},"data":[3,4,99,100]}]}`},
		{name: "nested arrays stay nested", reqs: []*Request{mustParse(t, nested34), mustParse(t, nested34)},
			want: `{"inputs":[{"name":"a","datatype":"INT8","shape":[2,2],"parameters":{"u":1},"data":[[3, 4],[3, 4]]}]}`},
		{name: "nested beside flat becomes flat", reqs: []*Request{mustParse(t, nested34), mustParse(t, json12)},
			want: `{"inputs":[{"name":"a","datatype":"INT8","shape":[2,2],"parameters":{"u":1},"data":[3,4,1,2]}]}`},
		{name: "inputs in another order", reqs: []*Request{
			mustParse(t, `{"inputs":[{"name":"a","shape":[1],"datatype":"INT8","data":[1]},{"name":"b","shape":[1],"datatype":"INT8","data":[2]}]}`),
			mustParse(t, `{"inputs":[{"name":"b","shape":[1],"datatype":"INT8","data":[4]},{"name":"a","shape":[1],"datatype":"INT8","data":[3]}]}`)},
			want: `{"inputs":[{"name":"a","datatype":"INT8","shape":[2],"data":[1,3]},{"name":"b","datatype":"INT8","shape":[2],"data":[2,4]}]}`},
		{name: "a member without items", reqs: []*Request{
			mustParse(t, `{"inputs":[{"name":"a","shape":[0,1],"datatype":"INT8","data":[]}]}`),
			mustParse(t, `{"inputs":[{"name":"a","shape":[1,1],"datatype":"INT8","data":[[5]]}]}`)},
			want: `{"inputs":[{"name":"a","datatype":"INT8","shape":[1,1],"data":[[5]]}]}`},
		{name: "a scalar", reqs: []*Request{mustParse(t, `{"inputs":[{"name":"a","shape":[],"datatype":"INT8","data":[ 1 ]}]}`)}, opt: MergeOptions{Timeout: time.Second},
			want: `{"parameters":{"timeout":1000000},"inputs":[{"name":"a","datatype":"INT8","shape":[],"data":[ 1 ]}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := Message{Body: []byte("left from before")}
			if err := Merge(&m, c.reqs, c.opt); err != nil {
				t.Fatal(err)
			}
			head, blob := string(m.Body), ""
			if m.HeadLength >= 0 {
				head, blob = head[:m.HeadLength], head[m.HeadLength:]
			}
			if head != c.want || blob != c.blob || (c.blob != "") != (m.HeadLength >= 0) {
				t.Errorf("got  %s + %q, head length %d\nwant %s + %q", head, blob, m.HeadLength, c.want, c.blob)
			}
			var again Request
			if err := again.Parse(m.Body, m.HeadLength, nil); err != nil {
				t.Errorf("the merged request: %v", err)
			}
		})
	}
}

func TestPassthrough(t *testing.T) {
	const in = `"inputs":[{"name":"a","shape":[1],"datatype":"INT8","data":[1]}]`
	var raw Request
	if err := raw.Parse([]byte("a"), 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := raw.Check(&ModelMetadata{Inputs: []TensorMetadata{{Name: "a", Datatype: Int8, Shape: []int64{-1}}}}, true, 1); err != nil {
		t.Fatal(err)
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		what    string
		r       *Request
		timeout time.Duration
		binary  bool // want, for a worker that takes the extension
		json    bool // want, for one that does not
	}{
		{"plain", mustParse(t, `{`+in+`}`), 0, true, true},
		{"plain, a timeout to add", mustParse(t, `{`+in+`}`), ms, false, false},
		{"the timeout that is wanted", mustParse(t, `{"parameters":{"timeout":1000},`+in+`}`), ms, true, true},
		{"the timeout that is wanted, to the µs", mustParse(t, `{"parameters":{"timeout":1000},`+in+`}`), ms + 999, true, true},
		{"another timeout", mustParse(t, `{"parameters":{"timeout":1001},`+in+`}`), ms, false, false},
		{"a timeout to leave", mustParse(t, `{"parameters":{"timeout":1001},`+in+`}`), 0, true, true},
		{"binary outputs", mustParse(t, `{"parameters":{"binary_data_output":true},`+in+`}`), 0, true, false},
		{"one binary output", mustParse(t, `{`+in+`,"outputs":[{"name":"o","parameters":{"binary_data":true}}]}`), 0, true, false},
		{"an output expressly as JSON", mustParse(t, `{`+in+`,"outputs":[{"name":"o","parameters":{"binary_data":false}}]}`), 0, true, false},
		{"a head length", mustParse(t, `{`+in+`}`, ""), 0, true, false},
		{"early exit", mustParse(t, `{"parameters":{"ee_audit":false},`+in+`}`), 0, false, false},
		{"nothing of early exit", mustParse(t, `{"parameters":{"ee_audit":null},`+in+`}`), 0, true, true},
		{"raw", &raw, 0, true, false},
		{"raw, a timeout to add", &raw, ms, false, false},
	} {
		for _, binary := range []bool{false, true} {
			want := c.json
			if binary {
				want = c.binary
			}
			opt := MergeOptions{Binary: binary, Timeout: c.timeout}
			if got := Passthrough(c.r, opt); got != want {
				t.Errorf("%s, binary %t: Passthrough = %t, want %t", c.what, binary, got, want)
			}
			var m Message
			if err := Merge(&m, []*Request{c.r}, opt); err != nil {
				t.Errorf("%s: Merge: %v", c.what, err)
			} else if copied := &m.Body[0] != &c.r.Body[0]; copied == want {
				t.Errorf("%s, binary %t: Merge copied: %t", c.what, binary, copied)
			}
		}
	}
}

// Members whose data has no JSON form are named; the others make a batch.
func TestMergeNamesMembersAtFault(t *testing.T) {
	float := func(bits string) *Request {
		return mustParse(t, `{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}`, bits)
	}
	text := func(s string) *Request {
		return mustParse(t, `{"inputs":[{"name":"a","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}]}`, "\x01\x00\x00\x00"+s)
	}
	for _, c := range []struct {
		name string
		reqs []*Request
		bad  []bool
		why  string
		rest string // the data of the batch without them
	}{
		{"NaN", []*Request{float("\x00\x00\x80\x3f"), float("\x00\x00\xc0\x7f"), float("\x00\x00\x00\x40")}, []bool{false, true, false}, "NaN or infinity", `[1,2]`},
		{"infinities", []*Request{float("\x00\x00\x80\x7f"), float("\x00\x00\x80\x3f"), float("\x00\x00\x80\xff")}, []bool{true, false, true}, "NaN or infinity", `[1]`},
		{"not UTF-8", []*Request{text("a"), text("\xff"), text("\"")}, []bool{false, true, false}, "bytes that are not UTF-8", `["a","\""]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Message
			err := Merge(&m, c.reqs, MergeOptions{})
			var be *BatchError
			if !errors.As(err, &be) || len(be.Errs) != len(c.reqs) {
				t.Fatalf("Merge = %v, want a *BatchError for %d", err, len(c.reqs))
			}
			want := "input 'a' holds " + c.why + ", which cannot be sent to a worker that takes only JSON"
			var rest []*Request
			first := -1
			for i, e := range be.Errs {
				if (e != nil) != c.bad[i] || e != nil && (e.Status != 400 || e.Message != want) {
					t.Errorf("request %d: %v, want fault: %t", i, e, c.bad[i])
				}
				if e == nil {
					rest = append(rest, c.reqs[i])
				} else if first < 0 {
					first = i
				}
			}
			if got := fmt.Sprintf("request %d of 3 in the batch: %s", first, want); err.Error() != got {
				t.Errorf("text %q, want %q", err, got)
			}
			var e *Error
			if !errors.As(err, &e) || e != be.Errs[first] {
				t.Errorf("unwraps to %v, want the first member's error", e)
			}
			if err := Merge(&m, rest, MergeOptions{}); err != nil || !strings.Contains(string(m.Body), `"data":`+c.rest) {
				t.Errorf("the others: %v, %s, want data %s", err, m.Body, c.rest)
			}
			if err := Merge(&m, c.reqs, MergeOptions{Binary: true}); err != nil {
				t.Errorf("for a worker that takes binary data: %v", err)
			}
		})
	}
}

// A message that was lent a request's body must not write to it.
func TestLentBodyIsNotWrittenTo(t *testing.T) {
	// The body has room for all that could be written to it.
	head := `{"inputs":[{"name":"a","shape":[1],"datatype":"INT8","data":[1]}]}` + strings.Repeat(" ", 4096)
	r := mustParse(t, head)
	answer := `{"model_name":"m","outputs":[{"name":"o","shape":[1],"datatype":"INT8","data":[9]}]}`
	for what, write := range map[string]func(m *Message) error{
		"Split": func(m *Message) error {
			var resp Response
			if err := resp.Parse([]byte(answer), -1, nil); err != nil {
				return err
			}
			return Split([]*Message{m}, &resp, []*Request{r}, nil)
		},
		"Encode": func(m *Message) error {
			return Encode([]*Message{m}, []Tensor{{Name: "o", Datatype: Int8, Shape: []int64{1}, Data: []byte{9}}}, []*Request{r}, nil, ResponseInfo{Model: "m"})
		},
		"Merge": func(m *Message) error { return Merge(m, []*Request{r}, MergeOptions{Timeout: 1}) },
	} {
		var m Message
		if err := Merge(&m, []*Request{r}, MergeOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := write(&m); err != nil {
			t.Fatal(err)
		}
		if string(r.Body) != head {
			t.Fatalf("%s wrote to the request's body: %s", what, r.Body)
		}
		if what != "Merge" && !strings.Contains(string(m.Body), `"data":[9]`) {
			t.Errorf("%s gave %s", what, m.Body)
		}
	}
}
