package oip

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// pair is a model with two inputs and three outputs.
var pair = &ModelMetadata{
	Name:   "pair",
	Inputs: []TensorMetadata{{Name: "a", Datatype: Int8, Shape: []int64{-1, 2}}, {Name: "b", Datatype: FP32, Shape: []int64{-1, -1}}},
	Outputs: []TensorMetadata{
		{Name: "o", Datatype: FP32, Shape: []int64{-1}},
		{Name: "h", Datatype: FP16, Shape: []int64{-1}},
		{Name: "g", Datatype: BF16, Shape: []int64{-1}},
	},
}

func TestCheck(t *testing.T) {
	const (
		a    = `{"name":"a","shape":[1,2],"datatype":"INT8","data":[1,2]}`
		a2   = `{"name":"a","shape":[2,2],"datatype":"INT8","data":[1,2,3,4]}`
		b    = `{"name":"b","shape":[1,3],"datatype":"FP32","data":[1,2,3]}`
		b2   = `{"name":"b","shape":[2,1],"datatype":"FP32","data":[1,2]}`
		only = `,"outputs":[{"name":"o"}]`
	)
	request := func(inputs, rest string) string { return `{"inputs":[` + inputs + `]` + rest + `}` }
	outputs := *pair
	outputs.Inputs = nil
	inputs := *pair
	inputs.Outputs = nil
	for _, c := range []struct {
		name    string
		head    string
		meta    *ModelMetadata
		batched bool
		max     int
		want    string // the error; "" for none
	}{
		{"right", request(a+`,`+b, only), pair, true, 1, ""},
		{"another order", request(b2+`,`+a2, only), pair, true, 2, ""},
		{"no bound", request(a2+`,`+b2, only), pair, true, 0, ""},
		{"nothing known", request(a2, ``), nil, true, 2, ""},
		{"nothing known, no batch", request(`{"name":"a","shape":[],"datatype":"INT8","data":[1]}`, ``), nil, false, 0, ""},
		{"inputs not known", request(a2, only), &outputs, true, 2, ""},
		{"outputs not known", request(a+`,`+b, `,"outputs":[{"name":"x"}]`), &inputs, true, 2, ""},
		{"an input is missing", request(a, only), pair, true, 1, "expected 2 inputs but got 1 inputs for model 'pair'. Got input(s) ['a'], but missing required input(s) ['b']. Please provide all required input(s)."},
		{"another input is missing", request(b, only), pair, true, 1, "expected 2 inputs but got 1 inputs for model 'pair'. Got input(s) ['b'], but missing required input(s) ['a']. Please provide all required input(s)."},
		{"batches differ", request(a+`,`+b2, only), pair, true, 2, "input 'b' batch size does not match other inputs for 'pair': 2 and 1"},
		{"a batch too large", request(a2+`,`+b2, only), pair, true, 1, "inference request batch-size must be <= 1 for model 'pair', got 2"},
		{"no items", request(`{"name":"a","shape":[0,2],"datatype":"INT8","data":[]}`, only), &outputs, true, 1, "inference request batch-size must be at least 1 for model 'pair', input 'a' has 0"},
		{"no batch dimension", request(`{"name":"a","shape":[],"datatype":"INT8","data":[1]}`, only), &outputs, true, 1, "input 'a' has no batch dimension, which model 'pair' needs"},
		{"a first dimension that is no batch", request(a2+`,`+b2, only), &ModelMetadata{Name: "m", Inputs: []TensorMetadata{{Name: "a", Datatype: Int8, Shape: []int64{1, 2}}, pair.Inputs[1]}}, false, 0,
			"unexpected shape for input 'a' for model 'm'. Expected [1,2], got [2,2]"},
		{"unknown output", request(a+`,`+b, `,"outputs":[{"name":"o"},{"name":"x"}]`), pair, true, 1, "unexpected inference output 'x' for model 'pair'"},
		{"half precision as JSON", request(a+`,`+b, `,"outputs":[{"name":"o"},{"name":"h"}]`), pair, true, 1, "sending FP16 data via JSON is not supported. Please use the binary data format for output 'h'"},
		{"half precision as JSON against the request's wish", request(a+`,`+b, `,"parameters":{"binary_data_output":true},"outputs":[{"name":"g","parameters":{"binary_data":false}}]`), pair, true, 1, "sending BF16 data via JSON is not supported. Please use the binary data format for output 'g'"},
		{"half precision in binary", request(a+`,`+b, `,"outputs":[{"name":"g","parameters":{"binary_data":true}}]`), pair, true, 1, ""},
		{"half precision by class", request(a+`,`+b, `,"outputs":[{"name":"h","parameters":{"classification":1}}]`), pair, true, 1, ""},
		{"all outputs as JSON", request(a+`,`+b, ``), pair, true, 1, "sending FP16 data via JSON is not supported. Please use the binary data format for output 'h'"},
		{"all outputs in binary", request(a+`,`+b, `,"parameters":{"binary_data_output":true}`), pair, true, 1, ""},
		{"no outputs named", request(a+`,`+b, `,"outputs":null,"parameters":{"binary_data_output":true}`), pair, true, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mustParse(t, c.head)
			r.Model = "pair"
			err := r.Check(c.meta, c.batched, c.max)
			if c.want == "" {
				if err != nil {
					t.Errorf("Check: %v", err)
				}
				return
			}
			if e, ok := err.(*Error); !ok || e.Status != 400 || e.Message != c.want {
				t.Errorf("got %v\nwant 400 %s", err, c.want)
			}
		})
	}
}

func TestRawRequestErrors(t *testing.T) {
	model := func(inputs ...TensorMetadata) *ModelMetadata { return &ModelMetadata{Name: "m", Inputs: inputs} }
	for _, c := range []struct {
		name string
		meta *ModelMetadata
		body string
		want string
	}{
		{"nothing known", nil, "a", "a raw binary request needs a model with one input, model 'm' has 0"},
		{"two inputs", pair, "a", "a raw binary request needs a model with one input, model 'pair' has 2"},
		{"two variable dimensions", model(TensorMetadata{"i", Int8, []int64{-1, -1, 3, -1}}), "a", "a raw binary request needs an input with at most one variable dimension, input 'i' of model 'm' has shape [-1,-1,3,-1]"},
		{"strings", model(TensorMetadata{"i", Bytes, []int64{-1, 2}}), "a", "a raw binary request carries one BYTES element, input 'i' of model 'm' has 2"},
		{"too long", model(TensorMetadata{"i", Int16, []int64{-1, 2}}), "abcde", "unexpected additional input data for model 'm'"},
		{"too short", model(TensorMetadata{"i", Int16, []int64{-1, 2}}), "abc", "unexpected size for input 'i', expecting 1 additional bytes for model 'm'"},
		{"part of a row", model(TensorMetadata{"i", Int16, []int64{-1, -1, 2}}), "abcdef", "unexpected additional input data for model 'm'"},
		{"data for a dimension of 0", model(TensorMetadata{"i", Int16, []int64{-1, -1, 0}}), "ab", "unexpected additional input data for model 'm'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Request{Model: "m"}
			if err := r.Parse([]byte(c.body), 0, nil); err != nil {
				t.Fatal(err)
			}
			err := r.Check(c.meta, true, 8)
			if e, ok := err.(*Error); !ok || e.Status != 400 || e.Message != c.want {
				t.Errorf("got %v\nwant 400 %s", err, c.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	const in = `{"name":"a","shape":[2,2],"datatype":"INT8","data":[1,2,3,4]}`
	const inB = `{"name":"b","shape":[],"datatype":"INT8","data":[1]}`
	for _, c := range []struct {
		name   string
		head   string
		lim    *Limits
		status int // 0: accepted
		want   string
	}{
		{"defaults", `{"inputs":[` + in + `]}`, nil, 0, ""},
		{"zero is the default", `{"inputs":[` + in + `]}`, &Limits{}, 0, ""},
		{"tensors", `{"inputs":[` + in + `,` + inB + `]}`, &Limits{MaxTensors: 2}, 0, ""},
		{"too many inputs", `{"inputs":[` + in + `,` + inB + `]}`, &Limits{MaxTensors: 1}, 413, "too many inputs: at most 1 are accepted"},
		{"too many outputs", `{"outputs":[{"name":"o"},{"name":"p"}],"inputs":[` + in + `]}`, &Limits{MaxTensors: 1}, 413, "too many outputs: at most 1 are accepted"},
		{"dimensions", `{"inputs":[` + in + `]}`, &Limits{MaxDims: 2}, 0, ""},
		{"too many dimensions", `{"inputs":[` + in + `]}`, &Limits{MaxDims: 1}, 400, "Unable to parse 'shape' of tensor 0: at most 1 dimensions are accepted"},
		{"64 dimensions are the most there are", `{"inputs":[{"name":"a","datatype":"INT8","data":[1],"shape":[` + strings.Repeat("1,", 64) + `1]}]}`, &Limits{MaxDims: 1000}, 400, "Unable to parse 'shape' of tensor 0: at most 64 dimensions are accepted"},
		{"64 levels", `{"inputs":[{"name":"a","datatype":"INT8","data":` + strings.Repeat("[", 64) + "1" + strings.Repeat("]", 64) + `,"shape":[` + strings.Repeat("1,", 63) + `1]}]}`, &Limits{MaxDims: 64}, 0, ""},
		{"depth", `{"inputs":[` + in + `]}`, &Limits{MaxDepth: 4}, 0, ""},
		{"too deep", `{"inputs":[` + in + `]}`, &Limits{MaxDepth: 3}, 400, "failed to parse the request JSON buffer: nesting depth exceeds the limit of 3 at 31"},
		{"items", `{"inputs":[` + in + `]}`, &Limits{MaxItems: 4}, 0, ""},
		{"too many items", `{"inputs":[` + in + `]}`, &Limits{MaxItems: 3}, 413, "tensor 'a' has 4 elements, at most 3 are accepted"},
		{"too many items of nothing", `{"inputs":[{"name":"a","shape":[5,0],"datatype":"INT8","data":[]}]}`, &Limits{MaxItems: 4}, 413, "tensor 'a' has 5 elements, at most 4 are accepted"},
		{"an empty shape whose batches would overflow in a sum", `{"inputs":[{"name":"a","shape":[4611686018427387904,0],"datatype":"INT8","data":[]}]}`, nil, 413, "tensor 'a' has 4611686018427387904 elements, at most 1099511627776 are accepted"},
		{"an empty shape past 64 bits", `{"inputs":[{"name":"a","shape":[0,4611686018427387904,4],"datatype":"INT8","data":[]}]}`, nil, 400, "shape of tensor 'a' has more elements than 64 bits count"},
		{"1<<58 items are the most there are", `{"inputs":[{"name":"a","shape":[288230376151711745],"datatype":"INT8","data":[]}]}`, &Limits{MaxItems: 1 << 62}, 413, "tensor 'a' has 288230376151711745 elements, at most 288230376151711744 are accepted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Request
			err := r.Parse([]byte(c.head), -1, c.lim)
			if c.status == 0 {
				if err != nil {
					t.Errorf("Parse: %v", err)
				}
				return
			}
			if e, ok := err.(*Error); !ok || e.Status != c.status || e.Message != c.want {
				t.Errorf("got %v\nwant %d %s", err, c.status, c.want)
			}
		})
	}
}

// The last number that fits each datatype and the first that does not.
func TestElementRanges(t *testing.T) {
	for _, c := range []struct {
		d    Datatype
		good []string
		bad  []string
	}{
		{Uint8, []string{"0", "255"}, []string{"256", "-1", "1e2", "1.0", "1000"}},
		{Uint16, []string{"65535"}, []string{"65536", "100000"}},
		{Uint32, []string{"4294967295"}, []string{"4294967296", "10000000000"}},
		{Uint64, []string{"18446744073709551615"}, []string{"18446744073709551616", "100000000000000000000"}},
		{Int8, []string{"-128", "127"}, []string{"-129", "128"}},
		{Int16, []string{"-32768", "32767"}, []string{"-32769", "32768"}},
		{Int32, []string{"-2147483648", "2147483647"}, []string{"-2147483649", "2147483648"}},
		{Int64, []string{"-9223372036854775808", "9223372036854775807"}, []string{"-9223372036854775809", "9223372036854775808", "10000000000000000000"}},
		{FP32, []string{"3.4028235e38", "-340282350000000000000000000000000000000", "1e-400", "0e999", "0.001e40"}, []string{"3.4028236e38", "1e39", "-1e400", "9e38"}},
		{FP64, []string{"1.7976931348623157e308", "-1e308", "0.01e310"}, []string{"1.7976931348623159e308", "2e308", "9e308", "-1e309", "1e99999999999999999999"}},
	} {
		for i, list := range [][]string{c.good, c.bad} {
			for _, text := range list {
				var r Request
				err := r.Parse(fmt.Appendf(nil, `{"inputs":[{"name":"a","shape":[3],"datatype":"%s","data":[1,%s,1]}]}`, c.d, text), -1, nil)
				if good := i == 0; (err == nil) != good {
					t.Errorf("%s of %s: %v, want it accepted: %t", c.d, text, err, good)
				} else if err == nil {
					want, _ := referenceNumber(text, c.d)
					tensors, err := Tensors(nil, []*Request{&r}, nil)
					if size := len(want); err != nil || string(tensors[0].Data[size:2*size]) != string(want) {
						t.Errorf("%s of %s = %x, %v, want %x in the middle", c.d, text, tensors[0].Data, err, want)
					}
				}
			}
		}
	}
}

// Parameters at the ends of their ranges.
func TestParameterRanges(t *testing.T) {
	for _, c := range []struct {
		parameters string
		timeout    time.Duration
		priority   int
	}{
		{`{}`, 0, 0},
		{`{"timeout":null,"priority":null}`, 0, 0},
		{`{"timeout":0,"priority":0}`, 0, 0},
		{`{"timeout":1500,"priority":1}`, 1500 * time.Microsecond, 1},
		{`{"timeout":9223372036854775,"priority":2147483647}`, 9223372036854775 * time.Microsecond, 1<<31 - 1},
		{`{"timeout":9223372036854775807}`, 9223372036854775 * time.Microsecond, 0}, // longer than a Duration
	} {
		r := mustParse(t, `{"parameters":`+c.parameters+`,"inputs":[{"name":"a","shape":[1],"datatype":"INT8","data":[1]}]}`)
		if r.Timeout != c.timeout || r.Priority != c.priority {
			t.Errorf("%s: timeout %v, priority %d; want %v, %d", c.parameters, r.Timeout, r.Priority, c.timeout, c.priority)
		}
	}
}

// Tensors come in the metadata's order, whatever the requests' is, and memory
// of an earlier call is used again unless it is a request's.
func TestTensorsOrderAndMemory(t *testing.T) {
	const blob = `{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[9]},{"name":"b","shape":[1,1],"datatype":"FP32","parameters":{"binary_data_size":4}},{"name":"a","shape":[1,2],"datatype":"INT8","data":[[1,2]]}]}`
	const plain = `{"inputs":[{"name":"a","shape":[1,2],"datatype":"INT8","data":[3,4]},{"name":"x","shape":[1],"datatype":"INT8","data":[7]},{"name":"b","shape":[1,1],"datatype":"FP32","data":[-2.5]}]}`
	first, second := mustParse(t, blob, "abcd"), mustParse(t, plain)
	var tensors []Tensor
	for _, c := range []struct {
		reqs []*Request
		want string
	}{
		{[]*Request{first}, `a INT8 [1 2] "\x01\x02", b FP32 [1 1] "abcd", x INT8 [1] "\t"`},
		{[]*Request{second}, `a INT8 [1 2] "\x03\x04", b FP32 [1 1] "\x00\x00 \xc0", x INT8 [1] "\a"`},
		{[]*Request{first, second}, `a INT8 [2 2] "\x01\x02\x03\x04", b FP32 [2 1] "abcd\x00\x00 \xc0", x INT8 [2] "\t\a"`},
	} {
		var err error
		if tensors, err = Tensors(tensors, c.reqs, pair); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range tensors {
			got = append(got, fmt.Sprintf("%s %s %v %q", v.Name, v.Datatype, v.Shape, v.Data))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("got  %s\nwant %s", s, c.want)
		}
		if b := first.Inputs[1].Binary; string(b) != "abcd" {
			t.Fatalf("the request's data became %q", b)
		}
	}
	if _, err := Tensors(tensors, nil, pair); fmt.Sprint(err) != "cannot decode: no requests" {
		t.Errorf("Tensors of nothing = %v", err)
	}
}

// A scalar of a single request keeps its shape.
func TestScalar(t *testing.T) {
	r := mustParse(t, `{"inputs":[{"name":"s","shape":[],"datatype":"FP64","data":[1]}]}`)
	tensors, err := Tensors(nil, []*Request{r}, nil)
	if err != nil || len(tensors[0].Shape) != 0 || string(tensors[0].Data) != "\x00\x00\x00\x00\x00\x00\xf0?" {
		t.Fatalf("%+v, %v", tensors, err)
	}
	var m Message
	const want = `{"model_name":"m","parameters":{"k":1},"outputs":[{"name":"s","datatype":"FP64","shape":[],"data":[1]}]}`
	if err := Encode([]*Message{&m}, tensors, []*Request{r}, nil, ResponseInfo{Model: "m", Parameters: []byte(`{"k":1}`)}); err != nil || string(m.Body) != want {
		t.Errorf("got %s, %v, want %s", m.Body, err, want)
	}
}
