package oip

import (
	"fmt"
	"testing"
)

// mustParse reads a request that has to be right; what follows head is its
// binary data.
func mustParse(tb testing.TB, head string, blobs ...string) *Request {
	tb.Helper()
	body, headLength := []byte(head), -1
	if blobs != nil {
		headLength = len(head)
		for _, b := range blobs {
			body = append(body, b...)
		}
	}
	r := new(Request)
	if err := r.Parse(body, headLength, nil); err != nil {
		tb.Fatalf("Parse(%s): %v", head, err)
	}
	return r
}

// keyBase is the request that the others of the tests below are compared with.
const keyBase = `{"parameters":{"a":1,"b":"x"},` +
	`"inputs":[{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]},` +
	`{"name":"j","shape":[1,1],"datatype":"INT64","data":[7]}],` +
	`"outputs":[{"name":"o","parameters":{"q":0.5}},{"name":"p","parameters":{"classification":3}}]}`

func TestMergeKeyTellsApart(t *testing.T) {
	const (
		j    = `{"name":"j","shape":[1,1],"datatype":"INT64","data":[7]}`
		outs = `"outputs":[{"name":"o","parameters":{"q":0.5}},{"name":"p","parameters":{"classification":3}}]`
	)
	// with writes the base with another first input.
	with := func(input string) string {
		return `{"parameters":{"a":1,"b":"x"},"inputs":[` + input + `,` + j + `],` + outs + `}`
	}
	// asking writes it with other requested outputs.
	asking := func(outputs string) string {
		return `{"parameters":{"a":1,"b":"x"},"inputs":[{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]},` + j + `]` + outputs + `}`
	}
	// under writes it with other parameters of the request.
	under := func(parameters string) string {
		return `{` + parameters + `"inputs":[{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]},` + j + `],` + outs + `}`
	}
	seen := map[uint64]string{}
	for _, c := range []struct{ what, head string }{
		{"base", keyBase},
		{"input's name", with(`{"name":"k","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]}`)},
		{"input's name, longer", with(`{"name":"ii","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]}`)},
		{"datatype", with(`{"name":"i","shape":[1,2,3],"datatype":"INT8","parameters":{"p":true},"data":[1,2,3,4,5,6]}`)},
		{"trailing shape, other order", with(`{"name":"i","shape":[1,3,2],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]}`)},
		{"trailing shape, fewer dimensions", with(`{"name":"i","shape":[1,6],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]}`)},
		{"trailing shape, one more of 1", with(`{"name":"i","shape":[1,2,3,1],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]}`)},
		{"input parameter's value", with(`{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":false},"data":[1,2,3,4,5,6]}`)},
		{"input parameter's name", with(`{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"r":true},"data":[1,2,3,4,5,6]}`)},
		{"input parameter missing", with(`{"name":"i","shape":[1,2,3],"datatype":"UINT8","data":[1,2,3,4,5,6]}`)},
		{"input parameter added", with(`{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true,"r":1},"data":[1,2,3,4,5,6]}`)},
		{"parameter that means something elsewhere", with(`{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true,"timeout":1},"data":[1,2,3,4,5,6]}`)},
		{"parameter on the other input", `{"parameters":{"a":1,"b":"x"},"inputs":[{"name":"i","shape":[1,2,3],"datatype":"UINT8","data":[1,2,3,4,5,6]},{"name":"j","shape":[1,1],"datatype":"INT64","parameters":{"p":true},"data":[7]}],` + outs + `}`},
		{"names exchanged", `{"parameters":{"a":1,"b":"x"},"inputs":[{"name":"j","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]},{"name":"i","shape":[1,1],"datatype":"INT64","data":[7]}],` + outs + `}`},
		{"one input less", `{"parameters":{"a":1,"b":"x"},"inputs":[` + j + `],` + outs + `}`},
		{"one input more", with(`{"name":"h","shape":[1],"datatype":"INT8","data":[7]},{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]}`)},
		{"no requested outputs", asking(``)},
		{"one output less", asking(`,"outputs":[{"name":"o","parameters":{"q":0.5}}]`)},
		{"one output more", asking(`,"outputs":[{"name":"o","parameters":{"q":0.5}},{"name":"p","parameters":{"classification":3}},{"name":"r"}]`)},
		{"output's name", asking(`,"outputs":[{"name":"x","parameters":{"q":0.5}},{"name":"p","parameters":{"classification":3}}]`)},
		{"output's parameter", asking(`,"outputs":[{"name":"o","parameters":{"q":0.25}},{"name":"p","parameters":{"classification":3}}]`)},
		{"output's parameter missing", asking(`,"outputs":[{"name":"o"},{"name":"p","parameters":{"classification":3}}]`)},
		{"classification", asking(`,"outputs":[{"name":"o","parameters":{"q":0.5}},{"name":"p","parameters":{"classification":4}}]`)},
		{"no classification", asking(`,"outputs":[{"name":"o","parameters":{"q":0.5}},{"name":"p"}]`)},
		{"classification of the other output", asking(`,"outputs":[{"name":"o","parameters":{"q":0.5,"classification":3}},{"name":"p"}]`)},
		{"no parameters", under(``)},
		{"parameter's value", under(`"parameters":{"a":2,"b":"x"},`)},
		{"parameter's type", under(`"parameters":{"a":"1","b":"x"},`)},
		{"parameter's name", under(`"parameters":{"c":1,"b":"x"},`)},
		{"values exchanged", under(`"parameters":{"a":"x","b":1},`)},
		{"parameter missing", under(`"parameters":{"a":1},`)},
		{"parameter added", under(`"parameters":{"a":1,"b":"x","c":null},`)},
		{"parameter added that means something elsewhere", under(`"parameters":{"a":1,"b":"x","binary_data_size":1},`)},
	} {
		t.Run(c.what, func(t *testing.T) {
			key := mustParse(t, c.head).MergeKey(1, true)
			if key == 0 {
				t.Error("key is 0")
			}
			if other, ok := seen[key]; ok {
				t.Errorf("same key as %q", other)
			}
			seen[key] = c.what
		})
	}
	if r := mustParse(t, keyBase); r.MergeKey(1, true) == r.MergeKey(2, true) {
		t.Error("two models have the same key")
	}
}

func TestMergeKeyIsEqual(t *testing.T) {
	const outs = `"outputs":[{"name":"o","parameters":{"q":0.5}},{"name":"p","parameters":{"classification":3}}]`
	ints := "\x07\x00\x00\x00\x00\x00\x00\x00"
	want := mustParse(t, keyBase).MergeKey(1, true)
	for what, r := range map[string]*Request{
		"the same":            mustParse(t, keyBase),
		"id":                  mustParse(t, `{"id":"7",`+keyBase[1:]),
		"white space, values": mustParse(t, `{ "parameters" : { "a" : 1 , "b" : "x" } , "inputs":[ {"name":"i","shape":[ 1, 2,3],"datatype":"UINT8","parameters":{"p": true },"data":[[[9,9,9],[9,9,9]]]},{"name":"j","shape":[1,1],"datatype":"INT64","data":[[0]]}],`+outs+`}`),
		"more items":          mustParse(t, `{"parameters":{"a":1,"b":"x"},"inputs":[{"name":"i","shape":[2,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6,1,2,3,4,5,6]},{"name":"j","shape":[2,1],"datatype":"INT64","data":[7,8]}],`+outs+`}`),
		"another order": mustParse(t, `{"outputs":[{"parameters":{"classification":3},"name":"p"},{"name":"o","parameters":{"q":0.5}}],`+
			`"inputs":[{"data":[7],"datatype":"INT64","shape":[1,1],"name":"j"},{"parameters":{"p":true},"name":"i","shape":[1,2,3],"datatype":"UINT8","data":[1,2,3,4,5,6]}],"parameters":{"b":"x","a":1}}`),
		"timeout, priority, no sequence": mustParse(t, `{"parameters":{"timeout":5,"a":1,"priority":9,"b":"x","sequence_id":0},`+keyBase[len(`{"parameters":{"a":1,"b":"x"},`):]),
		"early exit":                     mustParse(t, `{"parameters":{"ee_mode":"off","a":1,"ee_audit":true,"ee_active_ramps":"1","b":"x","ee_max_disagreement":0.5},`+keyBase[len(`{"parameters":{"a":1,"b":"x"},`):]),
		"escaped names of ours":          mustParse(t, `{"parameters":{"\u0074imeout":5,"a":1,"b":"x"},`+keyBase[len(`{"parameters":{"a":1,"b":"x"},`):]),
		"binary outputs": mustParse(t, `{"parameters":{"a":1,"b":"x","binary_data_output":true},"inputs":[{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]},{"name":"j","shape":[1,1],"datatype":"INT64","data":[7]}],`+
			`"outputs":[{"name":"o","parameters":{"binary_data":false,"q":0.5}},{"name":"p","parameters":{"classification":3}}]}`),
		"binary":                   mustParse(t, `{"parameters":{"a":1,"b":"x"},"inputs":[{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true,"binary_data_size":6}},{"name":"j","shape":[1,1],"datatype":"INT64","parameters":{"binary_data_size":8}}],`+outs+`}`, "abcdef", ints),
		"one of two binary":        mustParse(t, `{"parameters":{"a":1,"b":"x"},"inputs":[{"name":"i","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]},{"name":"j","shape":[1,1],"datatype":"INT64","parameters":{"binary_data_size":8}}],`+outs+`}`, ints),
		"escaped name of an input": mustParse(t, `{"parameters":{"a":1,"b":"x"},"inputs":[{"name":"\u0069","shape":[1,2,3],"datatype":"UINT8","parameters":{"p":true},"data":[1,2,3,4,5,6]},{"name":"j","shape":[1,1],"datatype":"INT64","data":[7]}],`+outs+`}`),
	} {
		t.Run(what, func(t *testing.T) {
			if got := r.MergeKey(1, true); got != want {
				t.Errorf("key %x, want %x", got, want)
			}
		})
	}
	empty := mustParse(t, `{"parameters":{},"inputs":[{"name":"a","shape":[1],"datatype":"INT8","parameters":{},"data":[1]}],"outputs":[]}`)
	absent := mustParse(t, `{"inputs":[{"name":"a","shape":[1],"datatype":"INT8","data":[1]}]}`)
	if empty.MergeKey(1, true) != absent.MergeKey(1, true) {
		t.Error("empty and absent parameters have different keys")
	}
}

func TestMergeKeyOfWhatStaysAlone(t *testing.T) {
	const inputs = `"inputs":[{"name":"a","shape":[1],"datatype":"INT8","data":[1]}]}`
	for _, c := range []struct {
		what    string
		head    string
		batched bool
		alone   bool
	}{
		{"ordinary", `{` + inputs, true, false},
		{"model does not batch", `{` + inputs, false, true},
		{"sequence by number", `{"parameters":{"sequence_id":1},` + inputs, true, true},
		{"sequence by name", `{"parameters":{"sequence_id":"s"},` + inputs, true, true},
		{"sequence 0", `{"parameters":{"sequence_id":0},` + inputs, true, false},
		{"sequence of no name", `{"parameters":{"sequence_id":""},` + inputs, true, false},
		{"scalar", `{"inputs":[{"name":"a","shape":[],"datatype":"INT8","data":[1]}]}`, true, true},
	} {
		if got := mustParse(t, c.head).MergeKey(1, c.batched); (got == 0) != c.alone {
			t.Errorf("%s: key %x, alone: want %t", c.what, got, c.alone)
		}
	}
	var r Request
	if err := r.Parse([]byte("ab"), 0, nil); err != nil {
		t.Fatal(err)
	}
	if r.MergeKey(1, true) != 0 {
		t.Error("a raw request has a key before Check")
	}
	meta := &ModelMetadata{Inputs: []TensorMetadata{{Name: "i", Datatype: Uint8, Shape: []int64{-1, 2}}}}
	if err := r.Check(meta, true, 8); err != nil {
		t.Fatal(err)
	}
	plain := mustParse(t, `{"inputs":[{"name":"i","shape":[3,2],"datatype":"UINT8","data":[1,2,3,4,5,6]}]}`)
	if r.MergeKey(1, true) != plain.MergeKey(1, true) {
		t.Error("a raw request has another key than the same as JSON")
	}
}

// Merge refuses what has no business in one batch, whatever the keys say.
func TestMergeRefusesStrangers(t *testing.T) {
	lead := mustParse(t, `{"inputs":[{"name":"a","shape":[1,2],"datatype":"INT8","data":[1,2]}]}`)
	for what, head := range map[string]string{
		"name":     `{"inputs":[{"name":"b","shape":[1,2],"datatype":"INT8","data":[1,2]}]}`,
		"datatype": `{"inputs":[{"name":"a","shape":[1,2],"datatype":"INT16","data":[1,2]}]}`,
		"shape":    `{"inputs":[{"name":"a","shape":[1,1],"datatype":"INT8","data":[1]}]}`,
		"rank":     `{"inputs":[{"name":"a","shape":[2],"datatype":"INT8","data":[1,2]}]}`,
		"scalar":   `{"inputs":[{"name":"a","shape":[],"datatype":"INT8","data":[1]}]}`,
		"number":   `{"inputs":[{"name":"a","shape":[1,2],"datatype":"INT8","data":[1,2]},{"name":"b","shape":[1],"datatype":"INT8","data":[1]}]}`,
	} {
		reqs := []*Request{lead, mustParse(t, head)}
		var m Message
		for call, err := range map[string]error{
			"Merge":   Merge(&m, reqs, MergeOptions{Binary: true}),
			"Tensors": func() error { _, err := Tensors(nil, reqs, nil); return err }(),
		} {
			if e, ok := err.(*Error); !ok || e.Status != 500 {
				t.Errorf("%s of a different %s = %v, want an *Error of status 500", call, what, err)
			}
		}
	}
	var raw Request
	if err := raw.Parse([]byte("ab"), 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := Merge(new(Message), []*Request{&raw}, MergeOptions{}); fmt.Sprint(err) != "cannot merge: a raw request was not checked against the model" {
		t.Errorf("Merge of an unchecked raw request = %v", err)
	}
	if err := Merge(new(Message), nil, MergeOptions{}); fmt.Sprint(err) != "cannot merge: no requests" {
		t.Errorf("Merge of nothing = %v", err)
	}
}
