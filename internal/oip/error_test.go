package oip

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// A worker's response that cannot be understood is a bad gateway, and the
// text says what is wrong with which output.
func TestResponseErrors(t *testing.T) {
	const failed = "failed to parse the response JSON buffer: "
	output := func(members string) string { return `{"outputs":[{` + members + `}]}` }
	const tensor = `"name":"o","shape":[2],"datatype":"INT16"`
	many := `{"outputs":[` + strings.TrimSuffix(strings.Repeat(`{"name":"o","shape":[0],"datatype":"INT8","data":[]},`, 1025), ",") + `]}`
	for _, c := range []struct {
		name string
		head string
		blob string // with a head length where it is not ""
		want string
	}{
		{"empty", ``, "", failed + "unexpected end of the document at 0"},
		{"a page", `<html>`, "", failed + "invalid value at 0"},
		{"an array", `[]`, "", failed + "invalid value at 0"},
		{"truncated", `{"model_name":"m","outputs":[`, "", failed + "unexpected end of the document at 29"},
		{"more than a document", `{"outputs":[]}{}`, "", failed + "unexpected text after the document at 14"},
		{"no outputs", `{"model_name":"m"}`, "", "no 'outputs'"},
		{"an error", `{"error":"full"}`, "", "no 'outputs'"},
		{"outputs null", `{"outputs":null}`, "", failed + "invalid value at 11"},
		{"outputs an object", `{"outputs":{}}`, "", failed + "invalid value at 11"},
		{"outputs twice", `{"outputs":[],"outputs":[]}`, "", "duplicate member 'outputs'"},
		{"an output not an object", `{"outputs":[1]}`, "", failed + "invalid value at 12"},
		{"parameters", `{"parameters":1,"outputs":[]}`, "", "Unable to parse 'parameters': must be an object"},
		{"model's name", `{"model_name":7,"outputs":[]}`, "", failed + "not a string at 15"},
		{"id", `{"id":7,"outputs":[]}`, "", failed + "not a string at 7"},
		{"too many outputs", many, "", "too many outputs: at most 1024 are accepted"},
		{"too deep", `{"x":` + strings.Repeat("[", 200), "", failed + "nesting depth exceeds the limit of 100 at 104"},
		{"no name", output(`"shape":[1],"datatype":"INT8","data":[1]`), "", "output 0 has no 'name'"},
		{"empty name", output(`"name":"","shape":[1],"datatype":"INT8","data":[1]`), "", "output 0 has an empty 'name'"},
		{"no shape", output(`"name":"o","datatype":"INT8","data":[1]`), "", "output 'o' has no 'shape'"},
		{"negative shape", output(`"name":"o","shape":[-1],"datatype":"INT8","data":[1]`), "", "Unable to parse 'shape' of tensor 0: dimension 0 is -1, must be a non-negative integer"},
		{"no datatype", output(`"name":"o","shape":[1],"data":[1]`), "", "output 'o' has no 'datatype'"},
		{"unknown datatype", output(`"name":"o","shape":[1],"datatype":"FP8","data":[1]`), "", "Unable to parse 'datatype' of output 0: unknown datatype 'FP8'"},
		{"no data", output(tensor), "", "output 'o' has neither 'data' nor 'binary_data_size'"},
		{"name twice", output(`"name":"p",` + tensor), "", "duplicate member 'name' in output 0"},
		{"output twice", `{"outputs":[{` + tensor + `,"data":[1,2]},{` + tensor + `,"data":[1,2]}]}`, "", "output 'o' is given more than once"},
		{"too little data", output(tensor + `,"data":[1]`), "", "Unable to parse 'data' of output 'o': Shape does not match true shape of 'data' field"},
		{"out of range", output(tensor + `,"data":[1,40000]`), "", "Unable to parse 'data' of output 'o': an element is out of range for datatype INT16"},
		{"a string", output(tensor + `,"data":[1,"2"]`), "", "Unable to parse 'data' of output 'o': an element does not fit datatype INT16"},
		{"null for an integer", output(tensor + `,"data":[1,null]`), "", "Unable to parse 'data' of output 'o': an element does not fit datatype INT16"},
		{"NaN for an integer", output(tensor + `,"data":[1,NaN]`), "", "Unable to parse 'data' of output 'o': an element does not fit datatype INT16"},
		{"data and a blob", output(tensor + `,"data":[1,2],"parameters":{"binary_data_size":4}`), "abcd", "output 'o' has both 'data' and 'binary_data_size'"},
		{"a blob without a head length", output(tensor + `,"parameters":{"binary_data_size":4}`), "", "output 'o' has 'binary_data_size' without a head length"},
		{"a blob of another size", output(tensor + `,"parameters":{"binary_data_size":2}`), "ab", "unexpected total byte size 2 for output 'o', expecting 4"},
		{"a blob too short", output(tensor + `,"parameters":{"binary_data_size":4}`), "abc", "output 'o' lacks 1 bytes"},
		{"a blob too long", output(tensor + `,"parameters":{"binary_data_size":4}`), "abcdef", "2 bytes too many"},
		{"strings too long", output(`"name":"o","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}`), "\x02\x00\x00\x00a", "the lengths inside the BYTES data of output 'o' exceed its 'binary_data_size'"},
		{"strings too many", output(`"name":"o","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":8}`), "\x00\x00\x00\x00\x00\x00\x00\x00", "expected 1 strings for output 'o', got 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			headLength := -1
			if c.blob != "" {
				headLength = len(c.head)
			}
			var resp Response
			err := resp.Parse([]byte(c.head+c.blob), headLength, nil)
			if e, ok := err.(*Error); !ok || e.Status != 502 || e.Message != "cannot understand the worker's response: "+c.want {
				t.Errorf("got %v\nwant …: %s", err, c.want)
			}
		})
	}
	for _, headLength := range []int{-2, 0, 15} {
		var resp Response
		want := fmt.Sprintf("cannot understand the worker's response: inference header size should be in range (0, 14), got: %d", headLength)
		if err := resp.Parse([]byte(`{"outputs":[]}`), headLength, nil); err == nil || err.Error() != want {
			t.Errorf("head length %d: %v, want %s", headLength, err, want)
		}
	}
}

// asksFor is a request for outputs by name, each binary where it ends in !.
func asksFor(t *testing.T, names ...string) *Request {
	var outputs []string
	for _, n := range names {
		n, binary := strings.CutSuffix(n, "!")
		outputs = append(outputs, fmt.Sprintf(`{"name":%q,"parameters":{"binary_data":%t}}`, n, binary))
	}
	return mustParse(t, `{"inputs":[{"name":"i","shape":[1],"datatype":"INT8","data":[1]}],"outputs":[`+strings.Join(outputs, ",")+`]}`)
}

func messages(n int) (dst []*Message) {
	for range n {
		dst = append(dst, new(Message))
	}
	return dst
}

func TestSplitErrors(t *testing.T) {
	two := []*Request{asksFor(t, "o"), asksFor(t, "o")}
	ints := func(shape string, n int) string {
		return `{"name":"o","shape":` + shape + `,"datatype":"INT8","data":[` + strings.TrimSuffix(strings.Repeat("1,", n), ",") + `]}`
	}
	for _, c := range []struct {
		name    string
		outputs string
		dst     int
		reqs    []*Request
		sizes   []int
		status  int
		want    string
	}{
		{"rows too few", ints("[1,2]", 2), 2, two, []int{1, 1}, 502, "the worker's output 'o' has shape [1,2] for a batch of 2"},
		{"rows too many", ints("[3]", 3), 2, two, []int{1, 1}, 502, "the worker's output 'o' has shape [3] for a batch of 2"},
		{"a scalar", ints("[]", 1), 2, two, []int{1, 0}, 502, "the worker's output 'o' has shape [] for a batch of 1"},
		{"an output is missing", ints("[2]", 2), 2, []*Request{two[0], asksFor(t, "o", "p")}, []int{1, 1}, 502, "the worker's response lacks output 'p'"},
		{"the only request's output is missing", ints("[2]", 2), 1, []*Request{asksFor(t, "p")}, nil, 502, "the worker's response lacks output 'p'"},
		{"messages", ints("[2]", 2), 1, two, []int{1, 1}, 500, "cannot split: 1 messages for 2 requests"},
		{"no requests", ints("[2]", 2), 0, nil, nil, 500, "cannot split: 0 messages for 0 requests"},
		{"sizes", ints("[2]", 2), 2, two, []int{2}, 500, "cannot split: 1 sizes for 2 requests"},
		{"no sizes", ints("[2]", 2), 2, two, nil, 500, "cannot split: 0 sizes for 2 requests"},
		{"a negative size", ints("[2]", 2), 2, two, []int{3, -1}, 500, "cannot split: size -1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var resp Response
			if err := resp.Parse([]byte(`{"model_name":"m","outputs":[`+c.outputs+`]}`), -1, nil); err != nil {
				t.Fatal(err)
			}
			err := Split(messages(c.dst), &resp, c.reqs, c.sizes)
			if e, ok := err.(*Error); !ok || e.Status != c.status || e.Message != c.want {
				t.Errorf("got %v, want %d %s", err, c.status, c.want)
			}
		})
	}
}

func TestEncodeErrors(t *testing.T) {
	one, two := []*Request{asksFor(t, "o")}, []*Request{asksFor(t, "o"), asksFor(t, "o")}
	for _, c := range []struct {
		name  string
		out   Tensor
		reqs  []*Request
		sizes []int
		want  string
	}{
		{"an output is missing", Tensor{Name: "p", Datatype: Int8, Shape: []int64{1}, Data: []byte{1}}, one, nil, "model 'm' did not return output 'o'"},
		{"data too short", Tensor{Name: "o", Datatype: Int16, Shape: []int64{2}, Data: []byte{1, 2, 3}}, one, nil, "the model's output 'o' has 3 bytes of INT16 for shape [2]"},
		{"data too long", Tensor{Name: "o", Datatype: Int16, Shape: []int64{0, 2}, Data: []byte{1, 2}}, one, nil, "the model's output 'o' has 2 bytes of INT16 for shape [0,2]"},
		{"no datatype", Tensor{Name: "o", Shape: []int64{2}}, one, nil, "the model's output 'o' has 0 bytes of INVALID for shape [2]"},
		{"strings", Tensor{Name: "o", Datatype: Bytes, Shape: []int64{1}, Data: []byte{2, 0, 0, 0, 'a'}}, one, nil, "the model's output 'o' has 5 bytes of BYTES for shape [1]"},
		{"strings too many", Tensor{Name: "o", Datatype: Bytes, Shape: []int64{1}, Data: make([]byte, 8)}, one, nil, "the model's output 'o' has 8 bytes of BYTES for shape [1]"},
		{"negative shape", Tensor{Name: "o", Datatype: Int8, Shape: []int64{-1, -1}, Data: []byte{1}}, one, nil, "the model's output 'o' has shape [-1,-1]"},
		{"negative shape beside 0", Tensor{Name: "o", Datatype: Int8, Shape: []int64{0, -1}}, one, nil, "the model's output 'o' has shape [0,-1]"},
		{"shape past all bounds", Tensor{Name: "o", Datatype: Int8, Shape: []int64{1 << 40, 1 << 40}}, one, nil, "the model's output 'o' has shape [1099511627776,1099511627776]"},
		{"rows", Tensor{Name: "o", Datatype: Int8, Shape: []int64{3}, Data: []byte{1, 2, 3}}, two, []int{1, 1}, "the model's output 'o' has shape [3] for a batch of 2"},
		{"a scalar", Tensor{Name: "o", Datatype: Int8, Shape: []int64{}, Data: []byte{1}}, two, []int{1, 0}, "the model's output 'o' has shape [] for a batch of 1"},
		{"sizes", Tensor{Name: "o", Datatype: Int8, Shape: []int64{2}, Data: []byte{1, 2}}, two, []int{2}, "cannot split: 1 sizes for 2 requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Encode(messages(len(c.reqs)), []Tensor{c.out}, c.reqs, c.sizes, ResponseInfo{Model: "m"})
			if e, ok := err.(*Error); !ok || e.Status != 500 || e.Message != c.want {
				t.Errorf("got %v, want 500 %s", err, c.want)
			}
		})
	}
}

// What one member cannot have in the form it asked for is its own fault; the
// others' responses are whole. Split and Encode say so in the same words.
func TestOutputsThatHaveNoJSON(t *testing.T) {
	for _, c := range []struct {
		name string
		d    Datatype
		rows [2]string
		bad  [2]bool // of the requests for JSON
		want string
	}{
		{"FP16", FP16, [2]string{"ab", "cd"}, [2]bool{true, true}, "sending FP16 data via JSON is not supported. Please use the binary data format for output 'o'"},
		{"BF16", BF16, [2]string{"ab", "cd"}, [2]bool{true, true}, "sending BF16 data via JSON is not supported. Please use the binary data format for output 'o'"},
		{"not UTF-8", Bytes, [2]string{"\x01\x00\x00\x00a", "\x01\x00\x00\x00\xff"}, [2]bool{false, true}, "output 'o' holds bytes that are not UTF-8, which JSON cannot carry. Please use the binary data format"},
	} {
		data := c.rows[0] + c.rows[0] + c.rows[1] + c.rows[1]
		head := fmt.Sprintf(`{"model_name":"m","outputs":[{"name":"o","shape":[4],"datatype":"%s","parameters":{"binary_data_size":%d}}]}`, c.d, len(data))
		var resp Response
		if err := resp.Parse([]byte(head+data), len(head), nil); err != nil {
			t.Fatal(err)
		}
		reqs := []*Request{asksFor(t, "o"), asksFor(t, "o!"), asksFor(t, "o"), asksFor(t, "o!")}
		sizes := []int{1, 1, 1, 1}
		for how, run := range map[string]func(dst []*Message) error{
			"Split": func(dst []*Message) error { return Split(dst, &resp, reqs, sizes) },
			"Encode": func(dst []*Message) error {
				return Encode(dst, []Tensor{{Name: "o", Datatype: c.d, Shape: []int64{4}, Data: []byte(data)}}, reqs, sizes, ResponseInfo{Model: "m"})
			},
		} {
			dst := messages(4)
			err := run(dst)
			var be *BatchError
			if !errors.As(err, &be) {
				t.Fatalf("%s %s: %v, want a *BatchError", how, c.name, err)
			}
			for i, e := range be.Errs {
				row := i / 2
				if i%2 == 0 && c.bad[row] {
					if e == nil || e.Status != 400 || e.Message != c.want {
						t.Errorf("%s %s, request %d: %v, want 400 %s", how, c.name, i, e, c.want)
					}
					continue
				}
				if e != nil {
					t.Errorf("%s %s, request %d: %v", how, c.name, i, e)
				} else if i%2 == 1 && string(dst[i].Body[dst[i].HeadLength:]) != c.rows[row] {
					t.Errorf("%s %s, request %d got %q", how, c.name, i, dst[i].Body)
				} else if i%2 == 0 && !strings.Contains(string(dst[i].Body), `"data":["a"]`) {
					t.Errorf("%s %s, request %d got %q", how, c.name, i, dst[i].Body)
				}
			}
		}
	}
}

// NaN and infinities become null on the way to JSON, and null NaN on the way
// to binary.
func TestNonFiniteOutputs(t *testing.T) {
	const blob = "\x00\x00\xc0\x7f\x00\x00\x80\xff\x00\x00\x80\x3f"
	const want = `{"model_name":"m","outputs":[{"name":"o","datatype":"FP32","shape":[3],"data":[null,null,1]}]}`
	dst := messages(1)
	if err := Encode(dst, []Tensor{{Name: "o", Datatype: FP32, Shape: []int64{3}, Data: []byte(blob)}}, []*Request{asksFor(t, "o")}, nil, ResponseInfo{Model: "m"}); err != nil || string(dst[0].Body) != want {
		t.Errorf("Encode: %v, %s, want %s", err, dst[0].Body, want)
	}
	head := `{"model_name":"m","outputs":[{"name":"o","shape":[3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`
	var resp Response
	if err := resp.Parse([]byte(head+blob), len(head), nil); err != nil {
		t.Fatal(err)
	}
	if err := Split(dst, &resp, []*Request{asksFor(t, "o")}, nil); err != nil || string(dst[0].Body) != want {
		t.Errorf("Split: %v, %s, want %s", err, dst[0].Body, want)
	}
	for text, want := range map[string]string{
		"null": "\x00\x00\xc0\x7f", "NaN": "\x00\x00\xc0\x7f", "Infinity": "\x00\x00\x80\x7f", "-Infinity": "\x00\x00\x80\xff", "-0.0": "\x00\x00\x00\x80",
	} {
		if err := resp.Parse([]byte(`{"model_name":"m","outputs":[{"name":"o","shape":[1],"datatype":"FP32","data":[`+text+`]}]}`), -1, nil); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if err := Split(dst, &resp, []*Request{asksFor(t, "o!")}, nil); err != nil || string(dst[0].Body[dst[0].HeadLength:]) != want {
			got := dst[0].Body
			t.Errorf("%s: %v, %q, want %q", text, err, got, want)
		}
	}
}

// A client that asked for JSON gets JSON, whatever words the worker used.
func TestWordsForNonFiniteOutputs(t *testing.T) {
	const open = `{"model_name":"m","outputs":[{"name":"o","shape":[2,2],"datatype":"FP32","data":`
	for in, want := range map[string][2]string{
		`[1e5,NaN, -Infinity,-2]`:        {`1e5,null`, `null,-2`},
		`[[Inf,null],[-Inf ,Infinity ]]`: {`[null,null]`, `[null ,null ]`},
	} {
		var resp Response
		if err := resp.Parse([]byte(open+in+`}]}`), -1, nil); err != nil {
			t.Fatal(err)
		}
		dst := messages(2)
		if err := Split(dst, &resp, []*Request{asksFor(t, "o"), asksFor(t, "o")}, []int{1, 1}); err != nil {
			t.Fatal(err)
		}
		for i, m := range dst {
			if want := `"shape":[1,2],"data":[` + want[i] + `]}]}`; !strings.HasSuffix(string(m.Body), want) {
				t.Errorf("%s, request %d got %s, want …%s", in, i, m.Body, want)
			}
		}
		if err := Split(dst[:1], &resp, []*Request{asksFor(t, "o")}, nil); err != nil || !json.Valid(dst[0].Body) {
			t.Errorf("%s, alone: %v, %s", in, err, dst[0].Body)
		}
	}
}

// Half precision that a worker wrote as JSON reaches clients in binary.
func TestHalfPrecisionFromAJSONWorker(t *testing.T) {
	for d, want := range map[Datatype]string{FP16: "\x00\x3c\x00\x7e\x00\xfc\x00\x7e", BF16: "\x80\x3f\xc0\x7f\x80\xff\xc0\x7f"} {
		var resp Response
		if err := resp.Parse(fmt.Appendf(nil, `{"outputs":[{"name":"o","shape":[4],"datatype":"%s","data":[1,null,-Infinity,NaN]}]}`, d), -1, nil); err != nil {
			t.Fatal(err)
		}
		dst := messages(1)
		if err := Split(dst, &resp, []*Request{asksFor(t, "o!")}, nil); err != nil || string(dst[0].Body[max(dst[0].HeadLength, 0):]) != want {
			t.Errorf("%s: %v, %q, want %q", d, err, dst[0].Body, want)
		}
		const refused = " data via JSON is not supported. Please use the binary data format for output 'o'"
		var e *Error
		if err := Split(dst, &resp, []*Request{asksFor(t, "o")}, nil); !errors.As(err, &e) || e.Message != "sending "+d.String()+refused {
			t.Errorf("%s as JSON: %v", d, err)
		}
	}
}

// Each client gets the parameters of the response and of its outputs, and the
// numbers in their shortest form.
func TestSplitToTheLetter(t *testing.T) {
	const head = `{"model_version":"3","parameters":{"p":[1]},"id":"upstream","model_name":"m\u0021","outputs":[` +
		`{"parameters":{"binary_data_size":32,"k":"v"},"name":"a\n","shape":[4],"datatype":"FP64"},{"name":"b","shape":[4,1],"datatype":"INT8","data":[[1],[2] ,[3],[ 4 ]],"parameters":{"l":{}}}]}`
	blob := classes(FP64, math.Copysign(0, -1), 0.1, 1e21, -123456789)
	var resp Response
	if err := resp.Parse(append([]byte(head), blob...), len(head), nil); err != nil {
		t.Fatal(err)
	}
	first := mustParse(t, `{"id":"\u0031","inputs":[{"name":"i","shape":[3],"datatype":"INT8","data":[1,2,3]}]}`)
	second := asksFor(t, "b!", "a\n!")
	dst := messages(2)
	if err := Split(dst, &resp, []*Request{first, second}, []int{3, 1}); err != nil {
		t.Fatal(err)
	}
	const open = `{"model_name":"m\u0021","model_version":"3",`
	for i, want := range []string{
		open + `"id":"\u0031","parameters":{"p":[1]},"outputs":[{"name":"a\n","datatype":"FP64","shape":[3],"parameters":{"k":"v"},"data":[-0,0.1,1e+21]},{"name":"b","datatype":"INT8","shape":[3,1],"parameters":{"l":{}},"data":[[1],[2] ,[3]]}]}`,
		open + `"parameters":{"p":[1]},"outputs":[{"name":"b","datatype":"INT8","shape":[1,1],"parameters":{"l":{},"binary_data_size":1}},{"name":"a\n","datatype":"FP64","shape":[1],"parameters":{"k":"v","binary_data_size":8}}]}` +
			"\x04" + string(blob[24:]),
	} {
		if string(dst[i].Body) != want {
			t.Errorf("request %d got  %q\nwant %q", i, dst[i].Body, want)
		}
	}
}

func TestBatchErrorOfNone(t *testing.T) {
	e := &BatchError{Errs: make([]*Error, 2)}
	if e.Error() != "no request of the batch failed" || e.Unwrap() != nil {
		t.Errorf("%q, %v", e.Error(), e.Unwrap())
	}
}

// Long names are cut between characters.
func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"a":                         "'a'",
		strings.Repeat("a", 128):    "'" + strings.Repeat("a", 128) + "'",
		strings.Repeat("a", 129):    "'" + strings.Repeat("a", 128) + "…'",
		strings.Repeat("€", 43):     "'" + strings.Repeat("€", 42) + "…'",
		strings.Repeat("\x80", 200): "'…'",
	} {
		if got := quoted([]byte(in)); got != want {
			t.Errorf("quoted(%q) = %q, want %q", in, got, want)
		}
	}
}
