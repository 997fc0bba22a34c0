package oip

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"weak"

	"motley/internal/oip/oiptest"
)

func TestSlice(t *testing.T) {
	const head = `{"inputs":[{"name":"a",`
	const blob = head + `"shape":[4,2],"datatype":"INT16","parameters":{"binary_data_size":16,"u":1}}]}`
	const sent = head + `"datatype":`
	for _, c := range []struct {
		name        string
		src         *Request
		from, count int
		want        string
		blob        string
	}{
		{"flat JSON", mustParse(t, head+`"shape":[3,2],"datatype":"INT8","data":[1, 2 ,3,4,5,6]}]}`), 1, 1,
			sent + `"INT8","shape":[1,2],"data":[3,4]}]}`, ""},
		{"white space is kept within the rows", mustParse(t, head+`"shape":[3],"datatype":"INT8","data":[ 1 , 2 , 3 ]}]}`), 0, 2,
			sent + `"INT8","shape":[2],"data":[1 , 2]}]}`, ""},
		{"nested JSON", mustParse(t, head+`"shape":[3,2,1],"datatype":"INT8","data":[[[1],[2]],[[3],[4]],[[5],[6]]]}]}`), 1, 2,
			sent + `"INT8","shape":[2,2,1],"data":[[[3],[4]],[[5],[6]]]}]}`, ""},
		{"strings with brackets and escapes", mustParse(t, head+`"shape":[3,1],"datatype":"BYTES","data":[["],["],["\"]"],["x\\"]]}]}`), 1, 2,
			sent + `"BYTES","shape":[2,1],"data":[["\"]"],["x\\"]]}]}`, ""},
		{"flat strings", mustParse(t, head+`"shape":[3,1],"datatype":"BYTES","data":["a,b","","\\"]}]}`), 1, 2,
			sent + `"BYTES","shape":[2,1],"data":["","\\"]}]}`, ""},
		{"numbers to the letter", mustParse(t, head+`"shape":[3],"datatype":"FP64","data":[1.0e2,-0.10,3]}]}`), 1, 2,
			sent + `"FP64","shape":[2],"data":[-0.10,3]}]}`, ""},
		{"a blob", mustParse(t, blob, "0011223344556677"), 1, 2,
			sent + `"INT16","shape":[2,2],"parameters":{"u":1,"binary_data_size":8}}]}`, "22334455"},
		{"a blob of strings", mustParse(t, head+`"shape":[3,1],"datatype":"BYTES","parameters":{"binary_data_size":15}}]}`, "\x01\x00\x00\x00a\x00\x00\x00\x00\x02\x00\x00\x00bc"), 1, 2,
			sent + `"BYTES","shape":[2,1],"parameters":{"binary_data_size":10}}]}`, "\x00\x00\x00\x00\x02\x00\x00\x00bc"},
		{"several inputs in several forms", mustParse(t, head+`"shape":[2],"datatype":"INT8","parameters":{"binary_data_size":2}},{"name":"b\n","shape":[2,1],"datatype":"BOOL","data":[true,false]},{"name":"c","shape":[2],"datatype":"UINT8","parameters":{"binary_data_size":2}}]}`, "ab", "cd"), 1, 1,
			sent + `"INT8","shape":[1],"parameters":{"binary_data_size":1}},{"name":"b\n","datatype":"BOOL","shape":[1,1],"data":[false]},{"name":"c","datatype":"UINT8","shape":[1],"parameters":{"binary_data_size":1}}]}`, "bd"},
		{"rows without elements", mustParse(t, head+`"shape":[3,0],"datatype":"INT8","data":[ ]}]}`), 2, 1,
			sent + `"INT8","shape":[1,0],"data":[]}]}`, ""},
		{"nested rows without elements", mustParse(t, head+`"shape":[3,0,2],"datatype":"INT8","data":[[],[],[]]}]}`), 1, 2,
			sent + `"INT8","shape":[2,0,2],"data":[[],[]]}]}`, ""},
		{"what belongs to the request", mustParse(t, `{"id":"x","parameters":{"timeout":5,"priority":2,"k":[1],"binary_data_output":true},"extra":1,"inputs":[{"name":"a","shape":[2],"datatype":"INT8","data":[1,2]}],"outputs":[{"name":"o","parameters":{"binary_data":false,"classification":3}},{"name":"p"}]}`), 0, 1,
			`{"parameters":{"timeout":5,"priority":2,"k":[1],"binary_data_output":true},"inputs":[{"name":"a","datatype":"INT8","shape":[1],"data":[1]}],"outputs":[{"name":"o","parameters":{"binary_data":false,"classification":3}},{"name":"p"}]}`, ""},
		{"a head length without binary data", func() *Request {
			r := new(Request)
			body := []byte(head + `"shape":[2],"datatype":"INT8","data":[1,2]}]}`)
			if err := r.Parse(body, len(body), nil); err != nil {
				t.Fatal(err)
			}
			return r
		}(), 1, 1, sent + `"INT8","shape":[1],"data":[2]}]}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := string(c.src.Body)
			c.src.Model = "m"
			var dst Request
			for range 2 { // the second time over the memory of the first
				if err := Slice(&dst, c.src, c.from, c.count); err != nil {
					t.Fatal(err)
				}
				head, blob := string(dst.Body), ""
				if n := dst.HeadLength; n >= 0 {
					head, blob = head[:n], head[n:]
				}
				if head != c.want || blob != c.blob || (c.blob != "") != (dst.HeadLength >= 0) {
					t.Errorf("got  %s + %q, head length %d\nwant %s + %q", head, blob, dst.HeadLength, c.want, c.blob)
				}
			}
			if dst.Model != "m" || dst.Timeout != c.src.Timeout || dst.Priority != c.src.Priority || dst.ID != nil || dst.Size(true) != c.count {
				t.Errorf("part %+v of %+v", dst, c.src)
			}
			if got, want := dst.MergeKey(1, true), c.src.MergeKey(1, true); got != want || got == 0 {
				t.Errorf("merge key %x, want %x", got, want)
			}
			if string(c.src.Body) != before {
				t.Errorf("the source became %q", c.src.Body)
			}
			clear(c.src.Body)
			if got, err := reference(dst.Body, dst.HeadLength); err != nil || len(got) != len(dst.Inputs) || string(dst.Inputs[0].Name) != got[0].name {
				t.Errorf("without its source the part is %q: %v", dst.Body, err)
			}
		})
	}
}

func TestSliceErrors(t *testing.T) {
	three := mustParse(t, `{"inputs":[{"name":"a","shape":[3],"datatype":"INT8","data":[1,2,3]}]}`)
	input := func(name, shape, data string) string {
		return `{"name":"` + name + `","shape":` + shape + `,"datatype":"INT8","data":` + data + `}`
	}
	rawRequest := new(Request)
	if err := rawRequest.Parse([]byte("abc"), 0, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		src         *Request
		from, count int
		want        string
	}{
		{"behind the end", three, 2, 2, "2 rows from row 2 on, of 3"},
		{"from behind the end", three, 3, 1, "1 rows from row 3 on, of 3"},
		{"from before the beginning", three, -1, 1, "1 rows from row -1 on, of 3"},
		{"none", three, 1, 0, "0 rows from row 1 on, of 3"},
		{"so many that a sum would overflow", three, 1, math.MaxInt, "9223372036854775807 rows from row 1 on, of 3"},
		{"of none", mustParse(t, `{"inputs":[`+input("a", "[0]", "[]")+`]}`), 0, 1, "1 rows from row 0 on, of 0"},
		{"other rows", mustParse(t, `{"inputs":[`+input("a", "[2]", "[1,2]")+`,`+input("b", "[1,2]", "[1,2]")+`]}`), 0, 1, "the first dimension of input 'b' is not that of the others"},
		{"no rows", mustParse(t, `{"inputs":[`+input("a", "[]", "[1]")+`]}`), 0, 1, "input 'a' has no dimensions"},
		{"no inputs", new(Request), 0, 1, "the request has no inputs"},
		{"raw and unresolved", rawRequest, 0, 1, "a raw request was not checked against the model"},
		{"of a sequence", mustParse(t, `{"parameters":{"sequence_id":1},"inputs":[`+input("a", "[2]", "[1,2]")+`]}`), 0, 1, "the request belongs to a sequence"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var dst Request
			if err := Slice(&dst, three, 1, 1); err != nil {
				t.Fatal(err)
			}
			was := string(dst.Body)
			err := Slice(&dst, c.src, c.from, c.count)
			if e, ok := err.(*Error); !ok || e.Status != 500 || e.Message != "cannot slice: "+c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if string(dst.Body) != was || len(dst.Inputs) != 1 {
				t.Errorf("the destination became %q", dst.Body)
			}
		})
	}
}

// A raw request, which has one row where its model batches, becomes a binary
// one that is answered in the same form.
func TestSliceOfARawRequest(t *testing.T) {
	for _, d := range []Datatype{Uint16, Bytes} {
		meta := &ModelMetadata{Name: "m", Inputs: []TensorMetadata{{Name: "in", Datatype: d, Shape: []int64{-1, 1}}}}
		var src, dst Request
		if err := src.Parse([]byte("ab"), 0, nil); err != nil {
			t.Fatal(err)
		}
		if err := src.Check(meta, true, 8); err != nil {
			t.Fatal(err)
		}
		if err := Slice(&dst, &src, 0, 1); err != nil {
			t.Fatal(err)
		}
		data := map[Datatype]string{Uint16: "ab", Bytes: "\x02\x00\x00\x00ab"}[d]
		want := fmt.Sprintf(`{"parameters":{"binary_data_output":true},"inputs":[{"name":"in","datatype":"%s","shape":[1,1],"parameters":{"binary_data_size":%d}}]}%s`, d, len(data), data)
		if string(dst.Body) != want || dst.Raw || !dst.BinaryOutput || dst.MergeKey(1, true) != src.MergeKey(1, true) {
			t.Errorf("got %q\nwant %q", dst.Body, want)
		}
	}
}

// A request that Parse has filled does not own its body, even if it did once.
func TestSliceWritesToItsOwnMemory(t *testing.T) {
	const head = `{"inputs":[{"name":"a","shape":[2],"datatype":"INT8","data":[1,2]}]}`
	src := mustParse(t, head)
	dst := mustParse(t, head+strings.Repeat(" ", 4096))
	lent := dst.Body
	for range 2 {
		if err := Slice(dst, src, 1, 1); err != nil {
			t.Fatal(err)
		}
		if string(lent[:len(head)]) != head {
			t.Fatalf("Slice wrote to a body that it was lent: %s", lent[:len(head)])
		}
		mine := &dst.Body[0]
		if err := Slice(dst, src, 0, 1); err != nil {
			t.Fatal(err)
		}
		if &dst.Body[0] != mine {
			t.Error("the part's own memory was not used again")
		}
		if err := dst.Parse(lent, -1, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A part that is kept for its memory does not keep its source.
func TestSliceLetsGoOfItsSource(t *testing.T) {
	var dst Request
	source := func() weak.Pointer[byte] {
		src := mustParse(t, `{"parameters":{"k":1},"inputs":[{"name":"a","shape":[2],"datatype":"INT8","parameters":{"k":1},"data":[1,2]},{"name":"b","shape":[2],"datatype":"INT8","parameters":{"binary_data_size":2}}],"outputs":[{"name":"o"}]}`, "ab")
		body := weak.Make(&src.Body[0])
		if err := Slice(&dst, src, 1, 1); err != nil {
			t.Fatal(err)
		}
		return body
	}()
	runtime.GC()
	if source.Value() != nil {
		t.Error("the source is still there")
	}
	runtime.KeepAlive(&dst)
}

func TestSplittable(t *testing.T) {
	tensor := func(name string, shape ...int64) TensorMetadata {
		return TensorMetadata{Name: name, Datatype: FP32, Shape: shape}
	}
	fixed := []TensorMetadata{tensor("a", -1, 2)}
	variable := []TensorMetadata{tensor("a", -1, -1)}
	const two = `"inputs":[{"name":"a","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]`
	const ranked = `,"outputs":[{"name":"o","parameters":{"classification":1}}]`
	for _, c := range []struct {
		name   string
		head   string
		meta   *ModelMetadata
		serial bool // the model does not batch
		want   bool
	}{
		{name: "two rows", head: `{` + two + `}`, want: true},
		{name: "a model that does not batch", head: `{` + two + `}`, serial: true},
		{name: "one row", head: `{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]}]}`},
		{name: "no dimensions", head: `{"inputs":[{"name":"a","shape":[],"datatype":"FP32","data":[1]}]}`},
		{name: "other rows", head: `{"inputs":[{"name":"a","shape":[2],"datatype":"FP32","data":[1,2]},{"name":"b","shape":[3],"datatype":"FP32","data":[1,2,3]}]}`},
		{name: "a sequence", head: `{"parameters":{"sequence_id":"s"},` + two + `}`},
		{name: "no sequence", head: `{"parameters":{"sequence_id":0},` + two + `}`, want: true},
		{name: "fixed outputs", head: `{` + two + `}`, meta: &ModelMetadata{Inputs: fixed, Outputs: []TensorMetadata{tensor("o", -1, 3), tensor("p", -1)}}, want: true},
		{name: "an output that varies by itself", head: `{` + two + `}`, meta: &ModelMetadata{Inputs: fixed, Outputs: []TensorMetadata{tensor("o", -1, 3), tensor("p", -1, -1, 6)}}},
		{name: "such an output, not asked for", head: `{` + two + `,"outputs":[{"name":"o"}]}`, meta: &ModelMetadata{Inputs: fixed, Outputs: []TensorMetadata{tensor("o", -1, 3), tensor("p", -1, -1, 6)}}, want: true},
		{name: "such an output, asked for", head: `{` + two + `,"outputs":[{"name":"p"}]}`, meta: &ModelMetadata{Inputs: fixed, Outputs: []TensorMetadata{tensor("o", -1, 3), tensor("p", -1, -1, 6)}}},
		{name: "an output that may vary with the input", head: `{` + two + `}`, meta: &ModelMetadata{Inputs: variable, Outputs: []TensorMetadata{tensor("o", -1, -1)}}, want: true},
		{name: "an output without dimensions", head: `{` + two + `}`, meta: &ModelMetadata{Inputs: fixed, Outputs: []TensorMetadata{tensor("o")}}},
		{name: "an output that the metadata lacks", head: `{` + two + `,"outputs":[{"name":"q"}]}`, meta: &ModelMetadata{Inputs: fixed}, want: true},
		{name: "classes of rows", head: `{` + two + ranked + `}`, meta: &ModelMetadata{Inputs: fixed, Outputs: []TensorMetadata{tensor("o", -1, 3)}}, want: true},
		{name: "classes across rows", head: `{` + two + ranked + `}`, meta: &ModelMetadata{Inputs: fixed, Outputs: []TensorMetadata{tensor("o", -1)}}},
		{name: "classes of nobody knows what", head: `{` + two + ranked + `}`},
	} {
		if got := mustParse(t, c.head).Splittable(c.meta, !c.serial); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
	raw := new(Request)
	if err := raw.Parse([]byte("abcdefgh"), 0, nil); err != nil {
		t.Fatal(err)
	}
	if raw.Splittable(nil, true) {
		t.Error("a raw request that is not resolved was called splittable")
	}
}

// rowsOf are rows of tensors as a slice should have them.
func rowsOf(tensors []bigTensor, from, count int) []bigTensor {
	var all []bigTensor
	for _, w := range tensors {
		per := 0
		if w.shape[0] > 0 {
			per = len(w.elems) / int(w.shape[0])
		}
		w.elems = w.elems[from*per : (from+count)*per]
		w.shape = append([]int64{int64(count)}, w.shape[1:]...)
		all = append(all, w)
	}
	return all
}

func FuzzSlice(f *testing.F) {
	for _, c := range oiptest.Malformed {
		if n, err := ParseHeadLength([]byte(c.HeadLength)); err == nil && c.Check && len(c.Body) < 1<<13 {
			f.Add(c.Body, n, uint8(0), uint8(1))
		}
	}
	f.Add([]byte(`{"id":"a","parameters":{"timeout":5,"priority":1},"inputs":[{"name":"a","shape":[3,1],"datatype":"INT8","data":[[1],[-128],[ 3 ]]}],"outputs":[{"name":"o","parameters":{"classification":2}}]}`), -1, uint8(1), uint8(2))
	f.Add([]byte(`{"inputs":[{"name":"a","shape":[2],"datatype":"FP16","parameters":{"binary_data_size":4}}]}abcd`), 90, uint8(1), uint8(1))
	f.Add([]byte(`{"inputs":[{"name":"\u0061\ud800","shape":[2],"datatype":"BYTES","data":["\ud83d\ude00\ud83d","\n\\\""]}],"id":null}`), -1, uint8(1), uint8(1))
	f.Add([]byte(`{"inputs":[{"name":"a","shape":[2],"datatype":"BYTES","parameters":{"k":{"":[]},"binary_data_size":9}},{"name":"b","datatype":"BOOL","data":[ [true ] , [false] ],"shape":[2,1]}]}`+"\x01\x00\x00\x00a\x00\x00\x00\x00"), 179, uint8(1), uint8(1))
	f.Add([]byte(`{"inputs":[{"name":"a","shape":[2,0],"datatype":"FP64","data":[[],[]]},{"name":"b","shape":[2,0,3],"datatype":"FP64","data":[ ]}]}`), -1, uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, body []byte, headLength int, from, count uint8) {
		var src, dst Request
		if err := src.Parse(body, headLength, nil); err != nil || src.Raw {
			return
		}
		whole, err := reference(body, headLength)
		if err != nil {
			t.Fatalf("Parse(%q, %d) was fine, reference: %v", body, headLength, err)
		}
		good := !src.Sequence && count > 0
		for _, w := range whole {
			good = good && len(w.shape) > 0 && w.shape[0] == whole[0].shape[0] && int64(from)+int64(count) <= w.shape[0]
		}
		before := bytes.Clone(body)
		if err := Slice(&dst, &src, int(from), int(count)); err != nil || !good {
			if e, ok := err.(*Error); good || !ok || e.Status != 500 {
				t.Fatalf("Slice(%q, %d, %d) = %v, want it done: %t", body, from, count, err, good)
			}
			return
		}
		if !bytes.Equal(body, before) {
			t.Fatalf("Slice wrote to its source: %q", body)
		}
		if got, want := dst.MergeKey(1, true), src.MergeKey(1, true); got != want {
			t.Fatalf("merge key %x, want %x\n%q of %q", got, want, dst.Body, body)
		}
		if dst.Timeout != src.Timeout || dst.Priority != src.Priority || dst.BinaryOutput != src.BinaryOutput || fmt.Sprint(dst.Outputs) != fmt.Sprint(src.Outputs) {
			t.Fatalf("part %+v of %+v", dst, src)
		}
		got, err := reference(dst.Body, dst.HeadLength)
		if err != nil || len(got) != len(whole) {
			t.Fatalf("Slice(%q) = %q: %v", body, dst.Body, err)
		}
		for i, w := range rowsOf(whole, int(from), int(count)) {
			compareOutput(t, w, got[i], 0, 1, false)
			if a, b := &src.Inputs[i], &dst.Inputs[i]; (a.JSON == nil) != (b.JSON == nil) || a.nested != b.nested {
				t.Fatalf("input %d has another form in %q of %q", i, dst.Body, body)
			}
		}
	})
}
