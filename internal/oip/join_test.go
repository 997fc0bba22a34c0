package oip

import (
	"strings"
	"testing"
)

// answer is a parsed response; what follows head is its binary data.
func answer(tb testing.TB, head string, blobs ...string) *Response {
	tb.Helper()
	body, headLength := []byte(head), -1
	if blobs != nil {
		headLength = len(head)
		body = append(body, strings.Join(blobs, "")...)
	}
	r := new(Response)
	if err := r.Parse(body, headLength, nil); err != nil {
		tb.Fatalf("Parse(%s): %v", head, err)
	}
	return r
}

func TestJoin(t *testing.T) {
	const open = `{"model_name":"m","outputs":[{"name":"o","datatype":`
	// in is a response with one output.
	in := func(output string, blobs ...string) *Response {
		return answer(t, `{"model_name":"m","id":"part","outputs":[{"name":"o",`+output+`}]}`, blobs...)
	}
	under := func(members, output string) *Response {
		return answer(t, `{`+members+`"outputs":[{"name":"o",`+output+`,"shape":[1],"datatype":"INT8","data":[1]}]}`)
	}
	plain := &Request{}
	inBinary := &Request{BinaryOutput: true}
	const ones = `"shape":[2],"datatype":"INT8","data":[1,1]`
	for _, c := range []struct {
		name  string
		req   *Request
		parts []*Response
		sizes []int
		want  string
		blob  string
	}{
		{"flat JSON", plain, []*Response{in(`"shape":[2,1],"datatype":"FP32","data":[1.50,2]`), in(`"shape":[1,1],"datatype":"FP32","data":[ 3e0 ]`)}, []int{2, 1},
			open + `"FP32","shape":[3,1],"data":[1.50,2, 3e0 ]}]}`, ""},
		{"nested JSON", plain, []*Response{in(`"shape":[2,1],"datatype":"INT8","data":[[1],[2]]`), in(`"shape":[1,1],"datatype":"INT8","data":[[3]]`)}, []int{2, 1},
			open + `"INT8","shape":[3,1],"data":[[1],[2],[3]]}]}`, ""},
		{"nested beside flat becomes flat", plain, []*Response{in(`"shape":[1,2],"datatype":"INT8","data":[[1 , 2]]`), in(`"shape":[1,2],"datatype":"INT8","data":[3 ,4]`), in(`"shape":[1,2],"datatype":"INT8","data":[[5,6]]`)}, []int{1, 1, 1},
			open + `"INT8","shape":[3,2],"data":[1,2,3 ,4,5,6]}]}`, ""},
		{"strings, nested and flat", plain, []*Response{in(`"shape":[1,1],"datatype":"BYTES","data":[["],["]]`), in(`"shape":[1,1],"datatype":"BYTES","data":["\"N"]`)}, []int{1, 1},
			open + `"BYTES","shape":[2,1],"data":["],[","\"N"]}]}`, ""},
		{"words", plain, []*Response{in(`"shape":[2],"datatype":"FP32","data":[NaN,1]`), in(`"shape":[1],"datatype":"FP32","data":[-Infinity]`)}, []int{2, 1},
			open + `"FP32","shape":[3],"data":[null,1,null]}]}`, ""},
		{"words, nested beside flat", plain, []*Response{in(`"shape":[1,3],"datatype":"FP32","data":[[-Inf,-1,Infinity]]`), in(`"shape":[1,3],"datatype":"FP32","data":[NaN,2,null]`)}, []int{1, 1},
			open + `"FP32","shape":[2,3],"data":[null,-1,null,null,2,null]}]}`, ""},
		{"nothing beside nothing", plain, []*Response{in(`"shape":[1,0],"datatype":"FP32","data":[]`), in(`"shape":[2,0],"datatype":"FP32","data":[[],[]]`)}, []int{1, 2},
			open + `"FP32","shape":[3,0],"data":[]}]}`, ""},
		{"nested nothing", plain, []*Response{in(`"shape":[1,0],"datatype":"FP32","data":[[]]`), in(`"shape":[2,0],"datatype":"FP32","data":[[],[]]`)}, []int{1, 2},
			open + `"FP32","shape":[3,0],"data":[[],[],[]]}]}`, ""},
		{"blobs", inBinary, []*Response{in(`"shape":[1],"datatype":"INT16","parameters":{"binary_data_size":2}`, "ab"), in(`"shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4}`, "cdef")}, []int{1, 2},
			open + `"INT16","shape":[3],"parameters":{"binary_data_size":6}}]}`, "abcdef"},
		{"empty blobs", inBinary, []*Response{in(`"shape":[1,0],"datatype":"INT16","parameters":{"binary_data_size":0}`, ""), in(`"shape":[2,0],"datatype":"INT16","parameters":{"binary_data_size":0}`, "")}, []int{1, 2},
			open + `"INT16","shape":[3,0],"parameters":{"binary_data_size":0}}]}`, ""},
		{"JSON becomes a blob", inBinary, []*Response{in(`"shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":5}`, "\x01\x00\x00\x00a"), in(`"shape":[1,1],"datatype":"BYTES","data":[["\u0062c"]]`)}, []int{1, 1},
			open + `"BYTES","shape":[2,1],"parameters":{"binary_data_size":11}}]}`, "\x01\x00\x00\x00a\x02\x00\x00\x00bc"},
		{"a blob becomes JSON", plain, []*Response{in(`"shape":[1,1],"datatype":"INT8","data":[[7]]`), in(`"shape":[2,1],"datatype":"INT8","parameters":{"binary_data_size":2}`, "\x08\x09")}, []int{1, 2},
			open + `"INT8","shape":[3,1],"data":[7,8,9]}]}`, ""},
		{"half precision in JSON becomes a blob", inBinary, []*Response{in(`"shape":[1],"datatype":"FP16","data":[1]`), in(`"shape":[1],"datatype":"FP16","data":[null]`)}, []int{1, 1},
			open + `"FP16","shape":[2],"parameters":{"binary_data_size":4}}]}`, "\x00\x3c\x00\x7e"},
		{"classes", mustParse(t, `{"id":"c","inputs":[{"name":"i","shape":[2],"datatype":"INT8","data":[1,1]}],"outputs":[{"name":"o","parameters":{"classification":2}}]}`),
			[]*Response{in(`"shape":[1,2],"datatype":"BYTES","data":["0.5:1","0.25:0"]`), in(`"shape":[1,2],"datatype":"BYTES","data":["0.75:0","0.25:1"]`)}, []int{1, 1},
			`{"model_name":"m","id":"c","outputs":[{"name":"o","datatype":"BYTES","shape":[2,2],"data":["0.5:1","0.25:0","0.75:0","0.25:1"]}]}`, ""},
		{"outputs in another order, in two forms", mustParse(t, `{"inputs":[{"name":"i","shape":[2],"datatype":"INT8","data":[1,1]}],"outputs":[{"name":"q"},{"name":"o","parameters":{"binary_data":true}}]}`),
			[]*Response{
				answer(t, `{"outputs":[{"name":"o","shape":[1],"datatype":"INT8","parameters":{"binary_data_size":1}},{"name":"more","shape":[],"datatype":"INT8","data":[1]},{"name":"q","shape":[1],"datatype":"INT8","data":[5]}]}`, "a"),
				answer(t, `{"outputs":[{"name":"q","shape":[1],"datatype":"INT8","data":[6]},{"name":"o","shape":[1],"datatype":"INT8","parameters":{"binary_data_size":1}}]}`, "b")}, []int{1, 1},
			`{"outputs":[{"name":"q","datatype":"INT8","shape":[2],"data":[5,6]},{"name":"o","datatype":"INT8","shape":[2],"parameters":{"binary_data_size":2}}]}`, "ab"},
		{"all outputs, in the first part's order", plain, []*Response{
			answer(t, `{"outputs":[{"name":"o",`+ones+`},{"name":"\u0070",`+ones+`}]}`),
			answer(t, `{"outputs":[{"name":"p",`+ones+`},{"name":"o",`+ones+`}]}`)}, []int{2, 2},
			`{"outputs":[{"name":"o","datatype":"INT8","shape":[4],"data":[1,1,1,1]},{"name":"p","datatype":"INT8","shape":[4],"data":[1,1,1,1]}]}`, ""},
		{"no outputs", inBinary, []*Response{answer(t, `{"outputs":[]}`), answer(t, `{"outputs":[]}`)}, []int{1, 1}, `{"outputs":[]}`, ""},
		{"one part", plain, []*Response{in(ones)}, []int{2}, open + `"INT8","shape":[2],"data":[1,1]}]}`, ""},
		{"what all parts say", &Request{ID: []byte(`"me"`)}, []*Response{
			under(`"model_version":"1","id":"b","model_name":"m","parameters":{"k": 1},`, `"parameters":{"u": [1]}`),
			under(`"model_version":"1","id":"a","model_name":"m","parameters":{"k": 1},`, `"parameters":{"u": [1]}`)}, []int{1, 1},
			`{"model_name":"m","model_version":"1","id":"me","parameters":{"k": 1},"outputs":[{"name":"o","datatype":"INT8","shape":[2],"parameters":{"u":[1]},"data":[1,1]}]}`, ""},
		{"what some parts say", plain, []*Response{
			under(`"model_name":"m","model_version":"1","parameters":{"a":1,"b":"x","c":null},`, `"parameters":{"u":1,"v":2}`),
			under(`"model_name":"n","model_version":"2","parameters":{"c":null,"a":1,"b":"y"},`, `"parameters":{"v":2}`),
			under(`"model_name":"n","model_version":"1","parameters":{"a":1,"c":null,"b":"x"},`, `"parameters":{"v":2,"u":1}`)}, []int{1, 1, 1},
			`{"model_name":"m","parameters":{"a":1,"c":null},"outputs":[{"name":"o","datatype":"INT8","shape":[3],"parameters":{"v":2},"data":[1,1,1]}]}`, ""},
		{"what one part says", plain, []*Response{
			under(`"parameters":{"a":1},`, `"parameters":{"u":1}`), under(`"model_version":"2",`, `"parameters":{"w":1}`)}, []int{1, 1},
			`{"outputs":[{"name":"o","datatype":"INT8","shape":[2],"data":[1,1]}]}`, ""},
		{"many parameters", plain, []*Response{
			under(`"parameters":{"a":"`+strings.Repeat("x", 1000)+`","b":1},`, `"parameters":{"u":1}`),
			under(`"parameters":{"a":"`+strings.Repeat("x", 1000)+`","b":2},`, `"parameters":{"u":1}`)}, []int{1, 1},
			`{"parameters":{"a":"` + strings.Repeat("x", 1000) + `"},"outputs":[{"name":"o","datatype":"INT8","shape":[2],"parameters":{"u":1},"data":[1,1]}]}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			scratch := len(c.parts[0].scratch)
			lent := []byte("somebody else's, with room" + strings.Repeat(" ", 4096))
			for _, m := range []*Message{{Body: []byte("left from before")}, {Body: lent, shared: true}} {
				if err := Join(m, c.parts, c.req, c.sizes); err != nil {
					t.Fatal(err)
				}
				head, blob := string(m.Body), ""
				if m.HeadLength >= 0 {
					head, blob = head[:m.HeadLength], head[m.HeadLength:]
				}
				binary := strings.Contains(c.want, "binary_data_size")
				if head != c.want || blob != c.blob || binary != (m.HeadLength >= 0) {
					t.Errorf("got  %s + %q, head length %d\nwant %s + %q", head, blob, m.HeadLength, c.want, c.blob)
				}
			}
			// Its names lie there; what Join needs besides must not add up.
			if lead := c.parts[0]; len(lead.scratch) != scratch {
				t.Errorf("the first part holds %d bytes, %d before", len(lead.scratch), scratch)
			}
			if !strings.HasPrefix(string(lent), "somebody") {
				t.Errorf("Join wrote to a body that it was lent")
			}
		})
	}
}

func TestJoinErrors(t *testing.T) {
	in := func(output string, blobs ...string) *Response {
		return answer(t, `{"outputs":[{"name":"o",`+output+`}]}`, blobs...)
	}
	one := in(`"shape":[1,2],"datatype":"INT8","data":[1,2]`)
	const strangers = "the workers' responses to parts of a request do not fit together: "
	plain := &Request{}
	for _, c := range []struct {
		name   string
		req    *Request
		parts  []*Response
		sizes  []int
		status int
		want   string
	}{
		{"no parts", plain, nil, nil, 500, "cannot join: 0 sizes for 0 parts"},
		{"a size too few", plain, []*Response{one, one}, []int{1}, 500, "cannot join: 1 sizes for 2 parts"},
		{"a part of nothing", plain, []*Response{one, one}, []int{1, 0}, 500, "cannot join: size 0"},
		{"the first part lacks an output", asksFor(t, "p"), []*Response{one, one}, []int{1, 1}, 502, "the worker's response lacks output 'p'"},
		{"a later part lacks one", plain, []*Response{one, answer(t, `{"outputs":[{"name":"p","shape":[1,2],"datatype":"INT8","data":[1,2]}]}`)}, []int{1, 1}, 502, "the worker's response lacks output 'o'"},
		{"a later part has more", plain, []*Response{one, answer(t, `{"outputs":[{"name":"o","shape":[1,2],"datatype":"INT8","data":[1,2]},{"name":"p","shape":[1],"datatype":"INT8","data":[1]}]}`)}, []int{1, 1}, 502, strangers + "1 outputs and 2"},
		{"other rows in the first part", plain, []*Response{one, one}, []int{2, 1}, 502, "the worker's output 'o' has shape [1,2] for a part of 2"},
		{"other rows in a later part", plain, []*Response{one, in(`"shape":[3,2],"datatype":"INT8","data":[1,2,3,4,5,6]`)}, []int{1, 2}, 502, "the worker's output 'o' has shape [3,2] for a part of 2"},
		{"no rows", plain, []*Response{one, in(`"shape":[],"datatype":"INT8","data":[1]`)}, []int{1, 1}, 502, "the worker's output 'o' has shape [] for a part of 1"},
		{"another datatype", plain, []*Response{one, in(`"shape":[1,2],"datatype":"UINT8","data":[1,2]`)}, []int{1, 1}, 502, strangers + "output 'o' is INT8 [1,2] and UINT8 [1,2]"},
		{"another trailing dimension", plain, []*Response{one, in(`"shape":[1,3],"datatype":"INT8","data":[1,2,3]`)}, []int{1, 1}, 502, strangers + "output 'o' is INT8 [1,2] and INT8 [1,3]"},
		{"another rank", plain, []*Response{one, in(`"shape":[1,2,1],"datatype":"INT8","data":[1,2]`)}, []int{1, 1}, 502, strangers + "output 'o' is INT8 [1,2] and INT8 [1,2,1]"},
		{"classes across rows", mustParse(t, `{"inputs":[{"name":"i","shape":[2],"datatype":"INT8","data":[1,1]}],"outputs":[{"name":"o","parameters":{"classification":1}}]}`),
			[]*Response{in(`"shape":[1],"datatype":"BYTES","data":["1:0"]`), in(`"shape":[1],"datatype":"BYTES","data":["1:0"]`)}, []int{1, 1}, 502, "output 'o' has one dimension: its classification cannot be joined from parts"},
		{"half precision as JSON", plain, []*Response{in(`"shape":[1,1],"datatype":"BF16","data":[[1]]`), in(`"shape":[1,1],"datatype":"BF16","data":[1]`)}, []int{1, 1}, 400, "sending BF16 data via JSON is not supported. Please use the binary data format for output 'o'"},
		{"bytes as JSON", plain, []*Response{in(`"shape":[1],"datatype":"BYTES","data":["a"]`), in(`"shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}`, "\x01\x00\x00\x00\xff")}, []int{1, 1}, 400, "output 'o' holds bytes that are not UTF-8, which JSON cannot carry. Please use the binary data format"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Join(new(Message), c.parts, c.req, c.sizes)
			if e, ok := err.(*Error); !ok || e.Status != c.status || e.Message != c.want {
				t.Errorf("got %v, want %d %s", err, c.status, c.want)
			}
		})
	}
}
