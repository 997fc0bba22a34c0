package oip

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestGather(t *testing.T) {
	const head = `{"id":"x","parameters":{"priority":2,"timeout":5,"k":[1],"ee_mode":"off","binary_data_output":false},"inputs":[{"name":"a",`
	const outs = `],"outputs":[{"name":"o","parameters":{"classification":3}}]}`
	const flat = head + `"shape":[5,2],"datatype":"INT8","data":[1,2,3,4,5,6,7,8,9,10]}` + outs
	const wanted = `],"outputs":[{"name":"p"},{"name":"q"}]}`
	for _, c := range []struct {
		name string
		src  *Request
		rows []int
		want string
		blob string
	}{
		{"rows that lie apart", mustParse(t, flat), []int{0, 2, 3},
			`{"parameters":{"k":[1],"priority":2,"binary_data_output":true},"inputs":[{"name":"a","datatype":"INT8","shape":[3,2],"data":[1,2,5,6,7,8]}` + wanted, ""},
		{"one run", mustParse(t, flat), []int{3, 4},
			`{"parameters":{"priority":2,"timeout":5,"k":[1],"binary_data_output":true},"inputs":[{"name":"a","datatype":"INT8","shape":[2,2],"data":[7,8,9,10]}` + wanted, ""},
		{"nested", mustParse(t, head+`"shape":[3,2],"datatype":"INT8","data":[[1,2],[3,4],[5,6]]}`+outs), []int{0, 2},
			`{"parameters":{"k":[1],"priority":2,"binary_data_output":true},"inputs":[{"name":"a","datatype":"INT8","shape":[2,2],"data":[[1,2],[5,6]]}` + wanted, ""},
		{"a blob", mustParse(t, head+`"shape":[3],"datatype":"INT16","parameters":{"binary_data_size":6}}`+outs, "001122"), []int{0, 2},
			`{"parameters":{"k":[1],"priority":2,"binary_data_output":true},"inputs":[{"name":"a","datatype":"INT16","shape":[2],"parameters":{"binary_data_size":4}}` + wanted, "0022"},
		{"strings", mustParse(t, head+`"shape":[3,1],"datatype":"BYTES","data":["a]","b","c"]}`+outs), []int{0, 2},
			`{"parameters":{"k":[1],"priority":2,"binary_data_output":true},"inputs":[{"name":"a","datatype":"BYTES","shape":[2,1],"data":["a]","c"]}` + wanted, ""},
		{"the whole of one that does not batch", mustParse(t, `{"inputs":[{"name":"a","shape":[],"datatype":"INT8","data":[1]},{"name":"b","shape":[2],"datatype":"INT8","data":[1,2]}]}`), nil,
			`{"parameters":{"binary_data_output":true},"inputs":[{"name":"a","datatype":"INT8","shape":[],"data":[1]},{"name":"b","datatype":"INT8","shape":[2],"data":[1,2]}` + wanted, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.src.Model = "m"
			before := string(c.src.Body)
			dst := Request{ID: []byte("old")}
			if err := Gather(&dst, c.src, c.rows, "p", "q"); err != nil {
				t.Fatal(err)
			}
			head, blob := string(dst.Body), ""
			if n := dst.HeadLength; n >= 0 {
				head, blob = head[:n], head[n:]
			}
			if head != c.want || blob != c.blob {
				t.Errorf("got  %s + %q\nwant %s + %q", head, blob, c.want, c.blob)
			}
			if dst.Model != "m" || dst.ID != nil || dst.Timeout != c.src.Timeout || dst.Priority != c.src.Priority ||
				len(dst.Outputs) != 2 || !dst.Outputs[0].Binary || !dst.Outputs[1].Binary || string(c.src.Body) != before {
				t.Errorf("gathered %+v", dst)
			}
		})
	}
}

func TestGatherRefuses(t *testing.T) {
	three := mustParse(t, `{"inputs":[{"name":"a","shape":[3],"datatype":"INT8","data":[1,2,3]}]}`)
	unequal := mustParse(t, `{"inputs":[{"name":"a","shape":[3],"datatype":"INT8","data":[1,2,3]},{"name":"b","shape":[1],"datatype":"INT8","data":[1]}]}`)
	member := mustParse(t, `{"parameters":{"sequence_id":4},"inputs":[{"name":"a","shape":[3],"datatype":"INT8","data":[1,2,3]}]}`)
	raw := new(Request)
	if err := raw.Parse([]byte("abc"), 0, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		src  *Request
		rows []int
	}{
		{three, []int{3}}, {three, []int{-1}}, {three, []int{1, 1}}, {three, []int{2, 0}}, {three, []int{}}, {three, []int{0, 2, 3}},
		{unequal, []int{0}}, {member, []int{0}}, {member, nil}, {raw, []int{0}}, {raw, nil}, {new(Request), nil},
	} {
		dst := Request{Model: "as it was"}
		var bad *Error
		if err := Gather(&dst, c.src, c.rows, "p"); !errors.As(err, &bad) || bad.Status != 500 || dst.Model != "as it was" {
			t.Errorf("rows %v of %s: %v, %q", c.rows, c.src.Body, err, dst.Model)
		}
	}
}

// TestGatherTakesRows compares with rows taken out of the decoded tensors.
func TestGatherTakesRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		n := 1 + rng.IntN(9)
		numbers, strs := make([]int16, 2*n), make([]string, n)
		for i := range numbers {
			numbers[i] = int16(rng.Int())
		}
		for i := range strs {
			strs[i] = []string{`"`, `[`, `a\`, `],`, ``, `é`}[rng.IntN(6)]
		}
		list := func(open, shut string) (s string) {
			for i, v := range numbers {
				switch {
				case i%2 == 1:
					s += fmt.Sprintf(",%d%s", v, shut)
				case i > 0:
					s += fmt.Sprintf(", %s%d", open, v)
				default:
					s += fmt.Sprintf("%s%d", open, v)
				}
			}
			return "[" + s + "]"
		}
		var body []byte
		body = fmt.Appendf(body, `{"inputs":[{"name":"n","shape":[%d,2],"datatype":"INT16",`, n)
		var blob []byte
		switch rng.IntN(3) {
		case 0:
			body = append(body, `"data":`+list("", "")...)
		case 1:
			body = append(body, `"data":`+list("[", "]")...)
		default:
			for _, v := range numbers {
				blob = appendWord(blob, uint64(v), 2)
			}
			body = fmt.Appendf(body, `"parameters":{"binary_data_size":%d}`, len(blob))
		}
		body = fmt.Appendf(body, `},{"name":"s","shape":[%d],"datatype":"BYTES","data":[`, n)
		for i, s := range strs {
			if i > 0 {
				body = append(body, ',')
			}
			body = appendString(body, s)
		}
		body = append(body, "]}]}"...)
		src := mustParse(t, string(body), string(blob))
		var rows []int
		for i := range n {
			if rng.IntN(2) == 0 {
				rows = append(rows, i)
			}
		}
		if rows == nil {
			continue
		}
		dst := new(Request)
		if err := Gather(dst, src, rows, "o"); err != nil {
			t.Fatal(err)
		}
		all, err := Tensors(nil, []*Request{src}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Tensors(nil, []*Request{dst}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var want [2][]byte
		for _, row := range rows {
			want[0] = append(want[0], all[0].Data[4*row:4*row+4]...)
			want[1] = appendWord(want[1], uint64(len(strs[row])), 4)
			want[1] = append(want[1], strs[row]...)
		}
		for k := range want {
			if !bytes.Equal(got[k].Data, want[k]) || got[k].Shape[0] != int64(len(rows)) || !slices.Equal(got[k].Shape[1:], all[k].Shape[1:]) {
				t.Fatalf("rows %v of %s are %+v, want %q", rows, body, got[k], want[k])
			}
		}
	}
}

// TestValues: what is written as a datatype reads back, rounded to it.
func TestValues(t *testing.T) {
	for _, c := range []struct {
		d        Datatype
		in, want []float64
		good     bool
	}{
		{FP64, []float64{0.1, -2, math.Inf(1)}, []float64{0.1, -2, math.Inf(1)}, true},
		{FP32, []float64{0.1, 1e300}, []float64{float64(float32(0.1)), math.Inf(1)}, true},
		{FP16, []float64{0.5, 1e6, -1e4}, []float64{0.5, math.Inf(1), -1e4}, true},
		{BF16, []float64{1.0 / 3, -1e4}, []float64{0.333984375, -9984}, true},
		{Int64, []float64{-7, 1 << 40}, []float64{-7, 1 << 40}, true},
		{Int8, []float64{-128, 127}, []float64{-128, 127}, true},
		{Uint64, []float64{1 << 63}, []float64{1 << 63}, true},
		{Int8, []float64{128}, nil, false},
		{Uint8, []float64{-1}, nil, false},
		{Uint8, []float64{256}, nil, false},
		{Int32, []float64{0.5}, nil, false},
		{Int32, []float64{math.NaN()}, nil, false},
		{Int64, []float64{1 << 63}, nil, false},
		{Bytes, []float64{1}, nil, false},
		{Bool, []float64{1}, nil, false},
	} {
		blob, ok := AppendValues(nil, c.in, c.d)
		if ok != c.good {
			t.Errorf("%v as %v: %v", c.in, c.d, ok)
			continue
		}
		if !ok {
			continue
		}
		if got, ok := Values([]float64{9}, blob, c.d); !ok || !slices.Equal(got, append([]float64{9}, c.want...)) {
			t.Errorf("%v as %v reads back as %v", c.in, c.d, got)
		}
	}
	for _, c := range []struct {
		blob []byte
		d    Datatype
	}{{make([]byte, 3), FP16}, {make([]byte, 4), Bool}, {make([]byte, 4), Bytes}, {nil, Invalid}} {
		if _, ok := Values(nil, c.blob, c.d); ok {
			t.Errorf("%d bytes of %v are numbers", len(c.blob), c.d)
		}
	}
}
