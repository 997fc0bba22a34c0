package oip

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// sameFloats compares, NaN being equal to NaN.
func sameFloats(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return x == y || x != x && y != y })
}

func TestFloats(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		datatype, shape, data string
		want                  []float32
	}{
		{"FP32", "[2,2]", "[0.25,1,-3e-2,0]", []float32{0.25, 1, -0.03, 0}},
		{"FP32", "[2,2]", "[[0.25, 1],[ 2 ,\n3]]", []float32{0.25, 1, 2, 3}},
		{"FP32", "[4]", "[null,NaN,Infinity,-Infinity]", []float32{nan, nan, inf, -inf}},
		{"FP64", "[2]", "[0.1,1e300]", []float32{0.1, inf}},
		{"FP16", "[2]", "[0.5,2]", []float32{0.5, 2}},
		{"FP32", "[0,3]", "[]", nil},
	} {
		var r Response
		body := `{"model_name":"m","outputs":[{"name":"p","datatype":"` + c.datatype + `","shape":` + c.shape + `,"data":` + c.data + `}]}`
		if err := r.Parse([]byte(body), -1, nil); err != nil {
			t.Fatal(body, err)
		}
		got, err := r.Outputs[0].Floats([]float32{7})
		if err != nil || !sameFloats(got, append([]float32{7}, c.want...)) {
			t.Errorf("%s: %v, %v, want 7 and %v", body, got, err, c.want)
		}
	}
	for d, blob := range map[Datatype][]byte{
		FP32: binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.1)), math.Float32bits(nan)),
		FP64: binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), math.Float64bits(math.NaN())),
	} {
		o := ResponseOutput{Datatype: d, Binary: blob}
		if got, err := o.Floats(nil); err != nil || !sameFloats(got, []float32{0.1, nan}) {
			t.Errorf("%v in binary: %v, %v", d, got, err)
		}
	}
	o := ResponseOutput{Name: []byte("label"), Datatype: Int64, JSON: []byte("[1]")}
	var bad *Error
	if _, err := o.Floats(nil); !errors.As(err, &bad) || bad.Status != 502 || !strings.Contains(bad.Message, "label") {
		t.Errorf("integers: %v", err)
	}
}
