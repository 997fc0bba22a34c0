package oip

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
)

// classes builds the blob of a tensor's elements, each given as the integer or
// float that it holds.
func classes(d Datatype, values ...float64) (b []byte) {
	for _, v := range values {
		switch d {
		case FP16:
			b = binary.LittleEndian.AppendUint16(b, toFP16(v))
		case BF16:
			b = binary.LittleEndian.AppendUint16(b, toBF16(v))
		case FP32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
		case FP64:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		default:
			b = appendWord(b, uint64(int64(v)), d.Size())
		}
	}
	return b
}

func TestClassification(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name  string
		d     Datatype
		shape []int64
		in    []float64
		k     int
		want  string // shape and data
	}{
		{"largest first", FP32, []int64{1, 4}, []float64{0.1, 0.7, 0.15, 0.05}, 2, `[1,2],"data":["0.700000:1","0.150000:2"]`},
		{"rows", FP32, []int64{2, 3}, []float64{1, 2, 3, 6, 5, 4}, 1, `[2,1],"data":["3.000000:2","6.000000:0"]`},
		{"more than there are", FP64, []int64{1, 2}, []float64{-1.5, 1e6}, 9, `[1,2],"data":["1000000.000000:1","-1.500000:0"]`},
		{"equal values keep their order", FP32, []int64{1, 4}, []float64{1, 2, 2, 1}, 4, `[1,4],"data":["2.000000:1","2.000000:2","1.000000:0","1.000000:3"]`},
		{"NaN is smallest", FP32, []int64{1, 3}, []float64{nan, -inf, inf}, 3, `[1,3],"data":["+Inf:2","-Inf:1","NaN:0"]`},
		{"half precision", FP16, []int64{1, 2}, []float64{0.5, 2}, 2, `[1,2],"data":["2.000000:1","0.500000:0"]`},
		{"bfloat16", BF16, []int64{1, 2}, []float64{-1, -2}, 1, `[1,1],"data":["-1.000000:0"]`},
		{"signed", Int8, []int64{1, 3}, []float64{-128, 127, -1}, 3, `[1,3],"data":["127:1","-1:2","-128:0"]`},
		{"signed, wide", Int64, []int64{1, 2}, []float64{-1, 5}, 2, `[1,2],"data":["5:1","-1:0"]`},
		{"unsigned", Uint8, []int64{1, 3}, []float64{1, 255, 128}, 2, `[1,2],"data":["255:1","128:2"]`},
		{"unsigned, wide", Uint64, []int64{1, 2}, []float64{1, -1}, 2, `[1,2],"data":["18446744073709551615:1","1:0"]`},
		{"more dimensions are one row", Int32, []int64{1, 2, 2}, []float64{1, 4, 3, 2}, 2, `[1,2],"data":["4:1","3:2"]`},
		{"one dimension is one row", Int32, []int64{3}, []float64{1, 4, 3}, 2, `[2],"data":["4:1","3:2"]`},
		{"scalar", Int32, []int64{}, []float64{8}, 2, `[1],"data":["8:0"]`},
		{"no classes", Int32, []int64{2, 0}, nil, 2, `[2,0],"data":[]`},
		{"no rows", Int32, []int64{0, 3}, nil, 2, `[0,0],"data":[]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mustParse(t, fmt.Sprintf(`{"inputs":[{"name":"i","shape":[1],"datatype":"INT8","data":[1]}],"outputs":[{"name":"o","parameters":{"classification":%d}}]}`, c.k))
			out := []Tensor{{Name: "o", Datatype: c.d, Shape: c.shape, Data: classes(c.d, c.in...)}}
			var m Message
			if err := Encode([]*Message{&m}, out, []*Request{r}, nil, ResponseInfo{Model: "m"}); err != nil {
				t.Fatal(err)
			}
			want := `{"model_name":"m","outputs":[{"name":"o","datatype":"BYTES","shape":` + c.want + `}]}`
			if string(m.Body) != want || m.HeadLength != -1 {
				t.Errorf("got  %s\nwant %s", m.Body, want)
			}
		})
	}
}

// Of many equal values the first ones come first.
func TestClassificationOfEqualValues(t *testing.T) {
	r := mustParse(t, `{"inputs":[{"name":"i","shape":[1],"datatype":"INT8","data":[1]}],"outputs":[{"name":"o","parameters":{"classification":100}}]}`)
	data := make([]byte, 100)
	for i := range data {
		data[i] = byte(i % 3)
	}
	var m Message
	if err := Encode([]*Message{&m}, []Tensor{{Name: "o", Datatype: Uint8, Shape: []int64{1, 100}, Data: data}}, []*Request{r}, nil, ResponseInfo{Model: "m"}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for class := 2; class >= 0; class-- {
		for i := class; i < 100; i += 3 {
			want = append(want, fmt.Sprintf(`"%d:%d"`, class, i))
		}
	}
	if data := `"data":[` + strings.Join(want, ",") + `]`; !strings.Contains(string(m.Body), data) {
		t.Errorf("got %s, want %s", m.Body, data)
	}
}

// Classification and plain output, JSON and binary, from one batch.
func TestClassificationInABatch(t *testing.T) {
	const in = `{"id":"x","inputs":[{"name":"i","shape":[1],"datatype":"INT8","data":[1]}],"outputs":[`
	reqs := []*Request{
		mustParse(t, in+`{"name":"o","parameters":{"classification":1}}]}`),
		mustParse(t, in+`{"name":"o","parameters":{"classification":2,"binary_data":true}},{"name":"p"}]}`),
		mustParse(t, in+`{"name":"p","parameters":{"classification":1}},{"name":"o"}]}`),
		mustParse(t, in+`{"name":"o"}]}`),
	}
	out := []Tensor{
		{Name: "p", Datatype: Bool, Shape: []int64{5, 1}, Data: []byte{1, 0, 1, 0, 1}},
		{Name: "o", Datatype: Uint8, Shape: []int64{5, 2}, Data: []byte{1, 2, 4, 3, 5, 6, 7, 8, 9, 0}},
	}
	dst := []*Message{{}, {}, {}, {}}
	err := Encode(dst, out, reqs, []int{1, 2, 1, 1}, ResponseInfo{Model: "m"})
	be, ok := err.(*BatchError)
	if !ok || be.Errs[0] != nil || be.Errs[1] != nil || be.Errs[3] != nil {
		t.Fatalf("Encode = %v, want a *BatchError for request 2 alone", err)
	}
	if e := be.Errs[2]; e == nil || e.Status != 400 || e.Message != "class result not available for output 'p' due to unsupported type 'BOOL'" {
		t.Errorf("request 2: %v", e)
	}
	const open = `{"model_name":"m","id":"x","outputs":[`
	for i, want := range map[int]string{
		0: open + `{"name":"o","datatype":"BYTES","shape":[1,1],"data":["2:1"]}]}`,
		1: open + `{"name":"o","datatype":"BYTES","shape":[2,2],"parameters":{"binary_data_size":28}},{"name":"p","datatype":"BOOL","shape":[2,1],"data":[false,true]}]}` +
			"\x03\x00\x00\x004:0\x03\x00\x00\x003:1\x03\x00\x00\x006:1\x03\x00\x00\x005:0",
		3: open + `{"name":"o","datatype":"UINT8","shape":[1,2],"data":[9,0]}]}`,
	} {
		if string(dst[i].Body) != want {
			t.Errorf("request %d got %q\nwant %q", i, dst[i].Body, want)
		}
	}
	if n := dst[1].HeadLength; n < 0 || n != strings.IndexByte(string(dst[1].Body), 3) {
		t.Errorf("head length %d of %q", n, dst[1].Body)
	}
}
