// Package oiptest holds requests that break the Open Inference Protocol, for
// the tests of everything that takes requests.
package oiptest

import (
	"bytes"
	"fmt"
	"strings"
)

// Case is a malformed request to the model `fashion`, whose only input is
// image, FP32 [n,1,28,28], n at most MaxBatch, with the outputs probabilities
// and label.
type Case struct {
	Name string
	// HeadLength is the value of the Inference-Header-Content-Length header;
	// "" when it is absent.
	HeadLength string
	Body       []byte
	Status     int    // HTTP status of the answer
	Contains   string // part of the answer's error text
	// Check: only the model's metadata shows what is wrong.
	Check bool
}

// MaxBatch is the model's largest batch.
const MaxBatch = 64

// Malformed are the requests, each wrong in one way.
var Malformed = slicesOf(syntax(), structure(), shapes(), datatypes(), elements(), parameters(), lengths(), blobs(), rawRequests(), checks())

func slicesOf(groups ...[]Case) []Case {
	var all []Case
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// image is the flat data of n images.
func image(n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat("0.5,", n*784), ",") + "]"
}

// request wraps the members of its only input.
func request(input string) []byte {
	return []byte(`{"inputs":[{` + input + `}]}`)
}

// tensor is a small input that the wire alone finds nothing wrong with.
const tensor = `"name":"image","shape":[2],"datatype":"FP32","data":[1,2]`

func bad(name string, body []byte, contains string) Case {
	return Case{Name: name, Body: body, Status: 400, Contains: contains}
}

func syntax() []Case {
	whole := `{"id":"a","inputs":[{` + tensor + `}],"outputs":[{"name":"label","parameters":{"binary_data":false}}]}`
	const failed = "failed to parse the request JSON buffer: "
	var cases []Case
	for _, n := range []int{0, 1, 2, 4, 5, 6, 8, 9, 10, 14, 18, 19, 20, 22, 27, 34, 36, 43, 44, 52, 60, 65, 73, 74, 75, 77, 78, 79, 80, 91, 93, 100, 108, 124, 130, 137, 138, 139, 140, 141} {
		if n < len(whole) {
			cases = append(cases, bad(fmt.Sprintf("truncated after %d bytes", n), []byte(whole[:n]), failed))
		}
	}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	return append(cases,
		bad("trailing garbage", []byte(whole+"x"), failed+"unexpected text after the document"),
		bad("two documents", []byte(whole+whole), failed+"unexpected text after the document"),
		bad("trailing closing brace", []byte(whole+"}"), failed),
		bad("only white space", []byte(" \n\t "), failed+"unexpected end of the document"),
		bad("byte order mark", []byte("\xef\xbb\xbf"+whole), failed+"invalid value"),
		bad("binary garbage", []byte{0, 1, 2, 0xff}, failed),
		bad("UTF-16", []byte("{\x00\"\x00}\x00"), failed),
		bad("a comment", []byte("/* */"+whole), failed),
		bad("single quotes", []byte(`{'inputs':[]}`), failed+"missing a name"),
		bad("bare key", []byte(`{inputs:[]}`), failed+"missing a name"),
		bad("missing colon", []byte(`{"inputs" []}`), failed+"missing a colon"),
		bad("missing comma in object", []byte(`{"id":"a" "inputs":[]}`), failed+"missing a comma"),
		bad("missing comma in array", request(`"name":"image","shape":[1 1],"datatype":"FP32","data":[1]`), failed+"missing a comma"),
		bad("trailing comma in object", []byte(`{"id":"a",}`), failed+"missing a name"),
		bad("trailing comma in array", request(`"name":"image","shape":[2],"datatype":"FP32","data":[1,2,]`), failed+"invalid value"),
		bad("double comma in data", request(`"name":"image","shape":[2],"datatype":"FP32","data":[1,,2]`), failed+"invalid value"),
		bad("mismatched brackets", request(`"name":"image","shape":[2},"datatype":"FP32","data":[1,2]`), failed),
		bad("leading zero", request(`"name":"image","shape":[1],"datatype":"FP32","data":[01]`), failed),
		bad("plus sign", request(`"name":"image","shape":[1],"datatype":"FP32","data":[+1]`), failed),
		bad("bare minus", request(`"name":"image","shape":[1],"datatype":"FP32","data":[-]`), failed),
		bad("bare fraction", request(`"name":"image","shape":[1],"datatype":"FP32","data":[.5]`), failed),
		bad("number ends in a point", request(`"name":"image","shape":[1],"datatype":"FP32","data":[1.]`), failed),
		bad("number ends in an exponent", request(`"name":"image","shape":[1],"datatype":"FP32","data":[1e]`), failed),
		bad("hexadecimal number", request(`"name":"image","shape":[1],"datatype":"FP32","data":[0x10]`), failed),
		bad("NaN", request(`"name":"image","shape":[1],"datatype":"FP32","data":[NaN]`), failed+"invalid value"),
		bad("Infinity", request(`"name":"image","shape":[1],"datatype":"FP32","data":[Infinity]`), failed+"invalid value"),
		bad("minus Infinity", request(`"name":"image","shape":[1],"datatype":"FP32","data":[-Infinity]`), failed+"invalid value"),
		bad("Python's True", request(`"name":"x","shape":[1],"datatype":"BOOL","data":[True]`), failed+"invalid value"),
		bad("truncated word", request(`"name":"x","shape":[1],"datatype":"BOOL","data":[tru]`), failed+"invalid value"),
		bad("control character in a string", []byte("{\"id\":\"a\nb\"}"), failed+"control character"),
		bad("unknown escape", []byte(`{"id":"\x41"}`), failed+"invalid escape"),
		bad("bad unicode escape", []byte(`{"id":"\u12g4"}`), failed+"invalid escape"),
		bad("short unicode escape", []byte(`{"id":"\u12"}`), failed),
		bad("invalid UTF-8", []byte("{\"id\":\"\xff\"}"), failed+"invalid UTF-8"),
		bad("invalid UTF-8 in data", request("\"name\":\"x\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"\xc3\x28\"]"), failed+"invalid UTF-8"),
		bad("depth bomb of arrays", []byte(deep(101)), failed+"nesting depth exceeds the limit of 100"),
		bad("depth bomb never closed", bytes.Repeat([]byte("["), 1<<20), failed+"nesting depth exceeds the limit of 100"),
		bad("depth bomb of objects", bytes.Repeat([]byte(`{"a":`), 1<<16), failed+"nesting depth exceeds the limit of 100"),
		bad("depth bomb in data", request(`"name":"image","shape":[1],"datatype":"FP32","data":`+deep(200)), failed+"nesting depth exceeds the limit of 100"),
		bad("depth bomb in parameters", []byte(`{"parameters":{"x":`+deep(100)+`},"inputs":[{`+tensor+`}]}`), failed+"nesting depth exceeds the limit of 100"),
		bad("depth bomb in an unknown member", []byte(`{"x":`+deep(150)+`,"inputs":[{`+tensor+`}]}`), failed+"nesting depth exceeds the limit of 100"),
	)
}

func structure() []Case {
	in := func(s string) []byte { return []byte(`{"inputs":` + s + `}`) }
	out := func(s string) []byte { return []byte(`{"inputs":[{` + tensor + `}],"outputs":` + s + `}`) }
	many := `{"inputs":[` + strings.TrimSuffix(strings.Repeat(`{`+tensor+`},`, 1025), ",") + `]}`
	manyOut := `[` + strings.TrimSuffix(strings.Repeat(`{"name":"a"},`, 1025), ",") + `]`
	return []Case{
		bad("an array", []byte(`[]`), "must be a JSON object"),
		bad("a string", []byte(`"inputs"`), "must be a JSON object"),
		bad("a number", []byte(`1`), "must be a JSON object"),
		bad("null", []byte(`null`), "must be a JSON object"),
		bad("no members", []byte(`{}`), "must have at least one input"),
		bad("no inputs", []byte(`{"id":"a"}`), "must have at least one input"),
		bad("inputs empty", in(`[]`), "must have at least one input"),
		bad("inputs null", in(`null`), "Unable to parse 'inputs': must be an array"),
		bad("inputs an object", in(`{}`), "Unable to parse 'inputs': must be an array"),
		bad("inputs a string", in(`"image"`), "Unable to parse 'inputs': must be an array"),
		bad("input null", in(`[null]`), "input 0 must be an object"),
		bad("input a number", in(`[{`+tensor+`},1]`), "input 1 must be an object"),
		bad("input empty", in(`[{}]`), "input 0 has no 'name'"),
		bad("name missing", request(`"shape":[1],"datatype":"FP32","data":[1]`), "input 0 has no 'name'"),
		bad("name empty", request(`"name":"","shape":[1],"datatype":"FP32","data":[1]`), "empty 'name'"),
		bad("name a number", request(`"name":1,"shape":[1],"datatype":"FP32","data":[1]`), "Unable to parse 'name'"),
		bad("name null", request(`"name":null,"shape":[1],"datatype":"FP32","data":[1]`), "Unable to parse 'name'"),
		bad("data missing", request(`"name":"image","shape":[1],"datatype":"FP32"`), "must specify valid 'Infer-Header-Content-Length'"),
		bad("data null", request(`"name":"image","shape":[1],"datatype":"FP32","data":null`), "has no data"),
		bad("data a number", request(`"name":"image","shape":[1],"datatype":"FP32","data":1`), "Unable to parse 'data'"),
		bad("data an object", request(`"name":"image","shape":[1],"datatype":"FP32","data":{}`), "Unable to parse 'data'"),
		bad("data a string", request(`"name":"image","shape":[1],"datatype":"FP32","data":"1"`), "Unable to parse 'data'"),
		bad("inputs twice", []byte(`{"inputs":[{`+tensor+`}],"inputs":[{"name":"b","shape":[1],"datatype":"FP32","data":[1]}]}`), "duplicate member 'inputs'"),
		bad("id twice", []byte(`{"id":"a","id":"b","inputs":[{`+tensor+`}]}`), "duplicate member 'id'"),
		bad("shape twice", request(tensor+`,"shape":[2]`), "duplicate member 'shape'"),
		bad("data twice", request(tensor+`,"data":[1,2]`), "duplicate member 'data'"),
		bad("data twice, once escaped", request(tensor+`,"d\u0061ta":[1,2]`), "duplicate member 'data'"),
		bad("same input twice", in(`[{`+tensor+`},{`+tensor+`}]`), "input 'image' is given more than once"),
		bad("same input twice, once escaped", in(`[{`+tensor+`},{"name":"im\u0061ge","shape":[1],"datatype":"FP32","data":[1]}]`), "input 'image' is given more than once"),
		bad("id a number", []byte(`{"id":1,"inputs":[{`+tensor+`}]}`), "Unable to parse 'id'"),
		bad("id an object", []byte(`{"id":{},"inputs":[{`+tensor+`}]}`), "Unable to parse 'id'"),
		bad("outputs an object", out(`{}`), "Unable to parse 'outputs': must be an array"),
		bad("output a string", out(`["label"]`), "output 0 must be an object"),
		bad("output without a name", out(`[{}]`), "output 0 has no 'name'"),
		bad("output name a number", out(`[{"name":7}]`), "Unable to parse 'name'"),
		bad("same output twice", out(`[{"name":"label"},{"name":"label"}]`), "output 'label' is requested more than once"),
		bad("output name twice", out(`[{"name":"label","name":"label"}]`), "duplicate member 'name'"),
		{Name: "too many inputs", Body: []byte(many), Status: 413, Contains: "too many inputs: at most 1024"},
		{Name: "too many outputs", Body: out(manyOut), Status: 413, Contains: "too many outputs: at most 1024"},
	}
}

func shapes() []Case {
	with := func(shape, data string) []byte {
		return request(`"name":"image","shape":` + shape + `,"datatype":"FP32","data":` + data)
	}
	const unparsed, mismatch = "Unable to parse 'shape'", "Shape does not match true shape of 'data' field"
	return []Case{
		bad("shape missing", request(`"name":"image","datatype":"FP32","data":[1]`), "has no 'shape'"),
		bad("shape a number", with(`1`, `[1]`), unparsed),
		bad("shape null", with(`null`, `[1]`), unparsed),
		bad("shape a string", with(`"[1]"`, `[1]`), unparsed),
		bad("dimension a string", with(`["1"]`, `[1]`), unparsed),
		bad("dimension null", with(`[null]`, `[1]`), unparsed),
		bad("dimension an array", with(`[[1]]`, `[1]`), unparsed),
		bad("dimension a fraction", with(`[1.5]`, `[1]`), unparsed),
		bad("dimension with a point", with(`[1.0]`, `[1]`), unparsed),
		bad("dimension with an exponent", with(`[1e0]`, `[1]`), unparsed),
		bad("dimension true", with(`[true]`, `[1]`), unparsed),
		bad("dimension -1", with(`[-1]`, `[1]`), "dimension 0 is -1, must be a non-negative integer"),
		bad("negative dimensions whose product is positive", with(`[-1,-1]`, `[1]`), "must be a non-negative integer"),
		bad("minus zero", with(`[-0]`, `[]`), unparsed),
		bad("dimension of 2^63", with(`[9223372036854775808]`, `[1]`), unparsed),
		bad("dimension of 2^64+1", with(`[18446744073709551617]`, `[1]`), unparsed),
		bad("product past 64 bits", with(`[4294967296,4294967296]`, `[1]`), "more elements than 64 bits count"),
		bad("product that wraps to one", with(`[3037000500,3037000500,3]`, `[1]`), "more elements than 64 bits count"),
		bad("product of many", with(`[65536,65536,65536,65536]`, `[1]`), "more elements than 64 bits count"),
		{Name: "huge shape", Body: with(`[1048576,1048576,2]`, `[1]`), Status: 413, Contains: "elements, at most"},
		bad("33 dimensions", with(`[1`+strings.Repeat(",1", 32)+`]`, `[1]`), "at most 32 dimensions"),
		bad("too few elements", with(`[2,2]`, `[1,2,3]`), mismatch),
		bad("too many elements", with(`[2,2]`, `[1,2,3,4,5]`), mismatch),
		bad("no elements", with(`[1]`, `[]`), mismatch),
		bad("an element too many for none", with(`[0]`, `[1]`), mismatch),
		bad("nested the other way round", with(`[2,3]`, `[[1,2],[3,4],[5,6]]`), mismatch),
		bad("nested too deep", with(`[2]`, `[[1],[2]]`), mismatch),
		bad("nested not deep enough", with(`[2,2,1]`, `[[1,2],[3,4]]`), mismatch),
		bad("ragged rows", with(`[2,2]`, `[[1,2,3],[4]]`), mismatch),
		bad("a number among rows", with(`[2,2]`, `[[1,2],3,4]`), mismatch),
		bad("rows among numbers", with(`[4]`, `[1,2,[3,4]]`), mismatch),
		bad("uneven nesting", with(`[2,1,1]`, `[[[1]],[2]]`), mismatch),
		bad("ten levels for nothing", with(`[1]`, strings.Repeat("[", 10)+strings.Repeat("]", 10)), mismatch),
		bad("no dimensions, two elements", with(`[]`, `[1,2]`), mismatch),
		bad("one element short of an image", with(`[1,1,28,28]`, image(1)[:len(image(1))-5]+"]"), mismatch),
	}
}

func datatypes() []Case {
	with := func(d string) []byte {
		return request(`"name":"image","shape":[1],"datatype":` + d + `,"data":[1]`)
	}
	cases := []Case{
		bad("datatype missing", request(`"name":"image","shape":[1],"data":[1]`), "has no 'datatype'"),
		bad("datatype a number", with(`1`), "Unable to parse 'datatype'"),
		bad("datatype null", with(`null`), "Unable to parse 'datatype'"),
		bad("FP16 in JSON", with(`"FP16"`), "receiving FP16 data via JSON is not supported. Please use the binary data format"),
		bad("BF16 in JSON", with(`"BF16"`), "receiving BF16 data via JSON is not supported. Please use the binary data format"),
	}
	for _, d := range []string{"", "FP8", "fp32", "FP32 ", "TYPE_FP32", "INVALID", "STRING", "float", "INT128"} {
		cases = append(cases, bad("datatype "+d, with(`"`+d+`"`), "unknown datatype '"+d+"'"))
	}
	return cases
}

func elements() []Case {
	with := func(d, data string) []byte {
		return request(`"name":"x","shape":[1],"datatype":"` + d + `","data":[` + data + `]`)
	}
	var cases []Case
	for _, c := range []struct{ d, data string }{
		{"FP32", `"1"`}, {"FP32", `true`}, {"FP32", `null`}, {"FP32", `{}`}, {"INT32", `"1"`}, {"INT8", `null`},
		{"BOOL", `1`}, {"BOOL", `"true"`}, {"BYTES", `1`}, {"BYTES", `null`}, {"BYTES", `true`},
	} {
		cases = append(cases, bad(c.d+" element "+c.data, with(c.d, c.data), "an element does not fit datatype "+c.d))
	}
	for _, c := range []struct{ d, data, contains string }{
		{"INT32", `1.5`, "is not an integer"}, {"INT64", `1.0`, "is not an integer"}, {"UINT8", `1e2`, "is not an integer"},
		{"UINT8", `-1`, "is negative"}, {"UINT64", `-1`, "is negative"},
		{"UINT8", `256`, "out of range"}, {"UINT16", `65536`, "out of range"}, {"UINT32", `4294967296`, "out of range"},
		{"UINT64", `18446744073709551616`, "out of range"}, {"INT8", `128`, "out of range"}, {"INT8", `-129`, "out of range"},
		{"INT16", `32768`, "out of range"}, {"INT32", `-2147483649`, "out of range"}, {"INT64", `9223372036854775808`, "out of range"},
		{"FP32", `3.5e38`, "out of range"}, {"FP32", `-1e39`, "out of range"}, {"FP64", `1e309`, "out of range"},
		{"FP64", `1e999999999999`, "out of range"},
	} {
		cases = append(cases, bad(c.d+" element "+c.data, with(c.d, c.data), c.contains))
	}
	return cases
}

func parameters() []Case {
	of := func(p string) []byte {
		return []byte(`{"parameters":` + p + `,"inputs":[{` + tensor + `}]}`)
	}
	in := func(p string) []byte { return request(tensor + `,"parameters":` + p) }
	out := func(p string) []byte {
		return []byte(`{"inputs":[{` + tensor + `}],"outputs":[{"name":"label","parameters":` + p + `}]}`)
	}
	return []Case{
		bad("parameters an array", of(`[]`), "Unable to parse 'parameters': must be an object"),
		bad("parameters a string", of(`"timeout"`), "Unable to parse 'parameters': must be an object"),
		bad("input parameters a number", in(`1`), "Unable to parse 'parameters': must be an object"),
		bad("output parameters false", out(`false`), "Unable to parse 'parameters': must be an object"),
		bad("timeout negative", of(`{"timeout":-1}`), "Unable to parse parameter 'timeout'"),
		bad("timeout a string", of(`{"timeout":"1000"}`), "Unable to parse parameter 'timeout'"),
		bad("timeout a fraction", of(`{"timeout":0.5}`), "Unable to parse parameter 'timeout'"),
		bad("timeout past 64 bits", of(`{"timeout":9223372036854775808}`), "Unable to parse parameter 'timeout'"),
		bad("timeout twice", of(`{"timeout":1,"timeout":2}`), "duplicate parameter 'timeout'"),
		bad("priority negative", of(`{"priority":-1}`), "Unable to parse parameter 'priority'"),
		bad("priority a boolean", of(`{"priority":true}`), "Unable to parse parameter 'priority'"),
		bad("priority huge", of(`{"priority":4294967296}`), "Unable to parse parameter 'priority'"),
		bad("sequence_id negative", of(`{"sequence_id":-5}`), "Unable to parse parameter 'sequence_id'"),
		bad("sequence_id a boolean", of(`{"sequence_id":true}`), "Unable to parse parameter 'sequence_id'"),
		bad("sequence_id an object", of(`{"sequence_id":{}}`), "Unable to parse parameter 'sequence_id'"),
		bad("sequence_id past 64 bits", of(`{"sequence_id":18446744073709551616}`), "Unable to parse parameter 'sequence_id'"),
		bad("ee_mode a number", of(`{"ee_mode":1}`), "Unable to parse parameter 'ee_mode': must be a string"),
		bad("ee_max_disagreement past 1", of(`{"ee_max_disagreement":1.01}`), "Unable to parse parameter 'ee_max_disagreement': must be a number from 0 to 1"),
		bad("ee_max_disagreement negative", of(`{"ee_max_disagreement":-1e-9}`), "Unable to parse parameter 'ee_max_disagreement'"),
		bad("ee_max_disagreement a string", of(`{"ee_max_disagreement":"0.01"}`), "Unable to parse parameter 'ee_max_disagreement'"),
		bad("ee_max_disagreement huge", of(`{"ee_max_disagreement":1e999}`), "Unable to parse parameter 'ee_max_disagreement'"),
		bad("ee_active_ramps a number", of(`{"ee_active_ramps":3}`), `Unable to parse parameter 'ee_active_ramps': must be a string of different numbers from 0 to 31 such as "0,3,5"`),
		bad("ee_active_ramps twice the same", of(`{"ee_active_ramps":"3,0,3"}`), "Unable to parse parameter 'ee_active_ramps'"),
		bad("ee_active_ramps past 31", of(`{"ee_active_ramps":"32"}`), "Unable to parse parameter 'ee_active_ramps'"),
		bad("ee_active_ramps with a space", of(`{"ee_active_ramps":"0, 3"}`), "Unable to parse parameter 'ee_active_ramps'"),
		bad("ee_active_ramps with a leading zero", of(`{"ee_active_ramps":"03"}`), "Unable to parse parameter 'ee_active_ramps'"),
		bad("ee_active_ramps ending in a comma", of(`{"ee_active_ramps":"0,"}`), "Unable to parse parameter 'ee_active_ramps'"),
		bad("ee_active_ramps beginning with a comma", of(`{"ee_active_ramps":",0"}`), "Unable to parse parameter 'ee_active_ramps'"),
		bad("ee_audit a string", of(`{"ee_audit":"true"}`), "Unable to parse parameter 'ee_audit': must be a boolean"),
		bad("ee_audit twice", of(`{"ee_audit":true,"ee_audit":true}`), "duplicate parameter 'ee_audit'"),
		bad("binary_data_output a number", of(`{"binary_data_output":1}`), "Unable to parse parameter 'binary_data_output'"),
		bad("binary_data_output a string", of(`{"binary_data_output":"true"}`), "Unable to parse parameter 'binary_data_output'"),
		bad("binary_data a string", out(`{"binary_data":"false"}`), "Unable to parse parameter 'binary_data'"),
		bad("classification negative", out(`{"classification":-1}`), "Unable to parse parameter 'classification'"),
		bad("classification a string", out(`{"classification":"3"}`), "Unable to parse parameter 'classification'"),
		bad("classification huge", out(`{"classification":99999999999}`), "Unable to parse parameter 'classification'"),
		bad("shared memory region", in(`{"shared_memory_region":"r"}`), "shared memory is not supported"),
		bad("shared memory size", in(`{"shared_memory_byte_size":8}`), "shared memory is not supported"),
		bad("shared memory offset", in(`{"shared_memory_offset":0}`), "shared memory is not supported"),
		bad("shared memory output", out(`{"shared_memory_region":"r"}`), "shared memory is not supported"),
		bad("binary_data_size a string", request(`"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":"4"}`), "Unable to parse parameter 'binary_data_size'"),
		bad("binary_data_size negative", request(`"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":-4}`), "Unable to parse parameter 'binary_data_size'"),
	}
}

// withBlob appends a blob to a head and gives the head's length.
func withBlob(name string, head []byte, blob []byte, contains string) Case {
	return Case{
		Name: name, HeadLength: fmt.Sprint(len(head)), Body: append(bytes.Clone(head), blob...),
		Status: 400, Contains: contains,
	}
}

// binaryInput is the head of a request with one binary input.
func binaryInput(d, shape string, size int) []byte {
	return request(fmt.Sprintf(`"name":"x","shape":%s,"datatype":"%s","parameters":{"binary_data_size":%d}`, shape, d, size))
}

func lengths() []Case {
	body := request(tensor)
	n := len(body)
	header := func(name, value, contains string) Case {
		return Case{Name: "head length " + name, HeadLength: value, Body: body, Status: 400, Contains: contains}
	}
	const outside, unparsed = "inference header size should be in range (0, ", "Unable to parse Inference-Header-Content-Length, got: "
	return []Case{
		header("past the body", fmt.Sprint(n+1), fmt.Sprintf("%s%d), got: %d", outside, n, n+1)),
		header("far past the body", "1000000", outside),
		header("of 2^62", "4611686018427387904", outside),
		header("past 64 bits", "99999999999999999999", unparsed),
		header("negative", "-1", unparsed+"-1"),
		header("a word", "abc", unparsed+"abc"),
		header("hexadecimal", "0x10", unparsed),
		header("a fraction", "10.5", unparsed),
		header("with a unit", "10b", unparsed),
		header("one byte short", fmt.Sprint(n-1), "failed to parse the request JSON buffer"),
		header("of one byte", "1", "failed to parse the request JSON buffer"),
		{Name: "head length into the blob", HeadLength: fmt.Sprint(len(binaryInput("FP32", "[1]", 4)) + 1), Body: append(binaryInput("FP32", "[1]", 4), 1, 2, 3, 4), Status: 400, Contains: "unexpected text after the document"},
		{Name: "binary data without a head length", Body: append(binaryInput("FP32", "[1]", 4), 1, 2, 3, 4), Status: 400, Contains: "failed to parse the request JSON buffer"},
		{Name: "binary_data_size without a head length", Body: binaryInput("FP32", "[0]", 0), Status: 400, Contains: "must specify valid 'Infer-Header-Content-Length' in request header and 'binary_data_size'"},
	}
}

func blobs() []Case {
	both := request(`"name":"x","shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}`)
	two := []byte(`{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}},` +
		`{"name":"b","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}`)
	mixed := []byte(`{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[1]},` +
		`{"name":"b","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}`)
	return []Case{
		withBlob("data and binary data", both, make([]byte, 4), "both 'data' and 'binary_data_size'"),
		withBlob("left-over bytes", binaryInput("FP32", "[1]", 4), make([]byte, 5), "unexpected additional input data for model 'fashion'"),
		withBlob("left-over bytes after JSON", request(tensor), make([]byte, 1), "unexpected additional input data for model 'fashion'"),
		withBlob("missing bytes", binaryInput("FP32", "[2]", 8), make([]byte, 5), "unexpected size for input 'x', expecting 3 additional bytes for model 'fashion'"),
		withBlob("no bytes", binaryInput("FP32", "[2]", 8), nil, "unexpected size for input 'x', expecting 8 additional bytes for model 'fashion'"),
		withBlob("second blob missing", two, make([]byte, 4), "unexpected size for input 'b', expecting 4 additional bytes for model 'fashion'"),
		withBlob("second blob short", two, make([]byte, 7), "unexpected size for input 'b', expecting 1 additional bytes for model 'fashion'"),
		withBlob("third blob", two, make([]byte, 12), "unexpected additional input data for model 'fashion'"),
		withBlob("blob of a mixed request missing", mixed, nil, "unexpected size for input 'b', expecting 4 additional bytes for model 'fashion'"),
		withBlob("size below the shape's", binaryInput("FP32", "[2]", 4), make([]byte, 4), "unexpected total byte size 4 for input 'x', expecting 8"),
		withBlob("size above the shape's", binaryInput("FP16", "[2]", 8), make([]byte, 8), "unexpected total byte size 8 for input 'x', expecting 4"),
		withBlob("size of another datatype", binaryInput("INT64", "[2]", 8), make([]byte, 8), "unexpected total byte size 8 for input 'x', expecting 16"),
		withBlob("huge size", binaryInput("FP32", "[1000000000]", 4000000000), make([]byte, 4), "expecting 3999999996 additional bytes"),
		withBlob("size of nothing", binaryInput("FP32", "[0]", 4), make([]byte, 4), "unexpected total byte size 4 for input 'x', expecting 0"),
		withBlob("string longer than the blob", binaryInput("BYTES", "[1]", 5), []byte{2, 0, 0, 0, 'a'}, "the lengths inside the BYTES data of input 'x'"),
		withBlob("string of 4 GiB", binaryInput("BYTES", "[1]", 5), []byte{255, 255, 255, 255, 'a'}, "the lengths inside the BYTES data of input 'x'"),
		withBlob("half a string length", binaryInput("BYTES", "[1]", 2), []byte{1, 0}, "the lengths inside the BYTES data of input 'x'"),
		withBlob("too few strings", binaryInput("BYTES", "[2]", 5), []byte{1, 0, 0, 0, 'a'}, "expected 2 strings for input 'x', got 1"),
		withBlob("too many strings", binaryInput("BYTES", "[1]", 8), make([]byte, 8), "expected 1 strings for input 'x', got 2"),
		withBlob("no strings", binaryInput("BYTES", "[1]", 0), nil, "expected 1 strings for input 'x', got 0"),
	}
}

func rawRequests() []Case {
	of := func(name string, n int, contains string) Case {
		return Case{Name: "raw " + name, HeadLength: "0", Body: make([]byte, n), Status: 400, Contains: contains, Check: true}
	}
	return []Case{
		of("empty", 0, "unexpected size for input 'image', expecting 3136 additional bytes for model 'fashion'"),
		of("short", 3135, "unexpected size for input 'image', expecting 1 additional bytes for model 'fashion'"),
		of("long", 3137, "unexpected additional input data for model 'fashion'"),
		of("two images", 2*3136, "unexpected additional input data for model 'fashion'"),
	}
}

func checks() []Case {
	check := func(name string, body []byte, contains string) Case {
		return Case{Name: name, Body: body, Status: 400, Contains: contains, Check: true}
	}
	with := func(name, datatype, shape, data string) []byte {
		return request(fmt.Sprintf(`"name":"%s","shape":%s,"datatype":"%s","data":%s`, name, shape, datatype, data))
	}
	out := func(s string) []byte {
		return []byte(`{"inputs":[{"name":"image","shape":[1,1,28,28],"datatype":"FP32","data":` + image(1) + `}],"outputs":[` + s + `]}`)
	}
	return []Case{
		check("unknown input", with("picture", "FP32", "[1,1,28,28]", image(1)), "unexpected inference input 'picture' for model 'fashion'"),
		check("input of other case", with("Image", "FP32", "[1,1,28,28]", image(1)), "unexpected inference input 'Image' for model 'fashion'"),
		check("one input too many", []byte(`{"inputs":[{"name":"image","shape":[1,1,28,28],"datatype":"FP32","data":`+image(1)+`},{"name":"b","shape":[1],"datatype":"FP32","data":[1]}]}`), "unexpected inference input 'b' for model 'fashion'"),
		check("other datatype", with("image", "FP64", "[1,1,28,28]", image(1)), "inference input 'image' data-type is 'FP64', but model 'fashion' expects 'FP32'"),
		check("other dimension", with("image", "FP32", "[1,1,14,56]", image(1)), "unexpected shape for input 'image' for model 'fashion'. Expected [-1,1,28,28], got [1,1,14,56]"),
		check("a dimension too few", with("image", "FP32", "[1,28,28]", image(1)), "unexpected shape for input 'image' for model 'fashion'. Expected [-1,1,28,28], got [1,28,28]"),
		check("a dimension too many", with("image", "FP32", "[1,1,28,28,1]", image(1)), "unexpected shape for input 'image'"),
		check("no dimensions", with("image", "FP32", "[]", "[1]"), "unexpected shape for input 'image'"),
		check("no items", with("image", "FP32", "[0,1,28,28]", "[]"), "batch-size must be at least 1"),
		check("too many items", with("image", "FP32", "[65,1,28,28]", image(65)), "inference request batch-size must be <= 64 for model 'fashion'"),
		check("unknown output", out(`{"name":"logits"}`), "unexpected inference output 'logits' for model 'fashion'"),
		check("one unknown output of two", out(`{"name":"label"},{"name":"x"}`), "unexpected inference output 'x' for model 'fashion'"),
	}
}
