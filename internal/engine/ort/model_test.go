//go:build cgo

package ort

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"motley/internal/engine"
	"motley/internal/oip"
)

// library is ONNX Runtime's, without which there is nothing to test.
func library(t *testing.T) string {
	t.Helper()
	path, err := FindLibrary(os.Getenv("MOTLEY_ORT_LIB"))
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: set MOTLEY_ORT_LIB or %s: %v", LibraryEnv, err)
	}
	return path
}

func mustLoad(t *testing.T, g graph, opt Options) engine.Model {
	t.Helper()
	opt.Library = library(t)
	if opt.Threads == 0 {
		opt.Threads = 1
	}
	m, err := Load(g.write(t, "m.onnx"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func floats(v ...float32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func TestIdentityOfEveryDatatype(t *testing.T) {
	for _, tc := range []struct {
		elem uint64
		oip  oip.Datatype
		size int
	}{
		{elemBool, oip.Bool, 1},
		{elemUint8, oip.Uint8, 1},
		{elemUint16, oip.Uint16, 2},
		{elemUint32, oip.Uint32, 4},
		{elemUint64, oip.Uint64, 8},
		{elemInt8, oip.Int8, 1},
		{elemInt16, oip.Int16, 2},
		{elemInt32, oip.Int32, 4},
		{elemInt64, oip.Int64, 8},
		{elemHalf, oip.FP16, 2},
		{elemBF16, oip.BF16, 2},
		{elemFloat, oip.FP32, 4},
		{elemDouble, oip.FP64, 8},
		{elemString, oip.Bytes, 0},
	} {
		t.Run(label(tc.oip), func(t *testing.T) {
			m := mustLoad(t, identity(tc.elem, -1, 3), Options{})
			data := encodeStrings([]string{"", "motley", "ünïcode", "\xff\xfe", strings.Repeat("x", 1000), "z"})
			if tc.size > 0 {
				data = make([]byte, 2*3*tc.size)
				for i := range data {
					data[i] = byte(i*37 + 1)
					if tc.oip == oip.Bool {
						data[i] = byte(i % 2)
					}
				}
			}
			// Tensors cut out of a body stand at any address: put it at an odd one.
			odd := append(make([]byte, 1, 1+len(data)), data...)[1:]
			out, err := m.Run(t.Context(), []oip.Tensor{{Name: "x", Datatype: tc.oip, Shape: []int64{2, 3}, Data: odd}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := []oip.Tensor{{Name: "y", Datatype: tc.oip, Shape: []int64{2, 3}, Data: data}}
			if !reflect.DeepEqual(out, want) {
				t.Errorf("got  %v\nwant %v", out, want)
			}
			if &out[0].Data[0] == &odd[0] {
				t.Error("the output lies in the input's memory")
			}
			if got := m.Metadata().Inputs[0]; got.Datatype != tc.oip || !slices.Equal(got.Shape, []int64{-1, 3}) {
				t.Errorf("metadata says %v", got)
			}
		})
	}
}

func TestOutputsComeInTheOrderAsked(t *testing.T) {
	m := mustLoad(t, arithmetic(), Options{})
	in := []oip.Tensor{
		{Name: "b", Datatype: oip.FP32, Shape: []int64{2, 3}, Data: floats(1, 2, 3, 4, 5, 6)},
		{Name: "a", Datatype: oip.FP32, Shape: []int64{2, 3}, Data: floats(10, 10, 10, 20, 20, 20)},
	}
	sum := oip.Tensor{Name: "sum", Datatype: oip.FP32, Shape: []int64{2, 3}, Data: floats(11, 12, 13, 24, 25, 26)}
	difference := oip.Tensor{Name: "difference", Datatype: oip.FP32, Shape: []int64{2, 3}, Data: floats(9, 8, 7, 16, 15, 14)}
	for _, tc := range []struct {
		want   []string
		expect []oip.Tensor
	}{
		{nil, []oip.Tensor{sum, difference}},
		{[]string{"difference", "sum"}, []oip.Tensor{difference, sum}},
		{[]string{"difference"}, []oip.Tensor{difference}},
	} {
		out, err := m.Run(t.Context(), in, tc.want)
		if err != nil || !reflect.DeepEqual(out, tc.expect) {
			t.Errorf("want %v: got %v, %v", tc.want, out, err)
		}
	}
}

func TestRunRefusesWhatTheModelDoesNotTake(t *testing.T) {
	m := mustLoad(t, arithmetic(), Options{Name: "calc", MaxBatch: 4})
	tensor := func(name string, shape ...int64) oip.Tensor {
		n, _ := elements(shape, 4)
		return oip.Tensor{Name: name, Datatype: oip.FP32, Shape: shape, Data: make([]byte, n*4)}
	}
	wrongType, short, long := tensor("b", 1, 3), tensor("b", 1, 3), tensor("b", 1, 3)
	wrongType.Datatype = oip.Int32
	short.Data = short.Data[:11]
	long.Data = make([]byte, 16)
	for _, tc := range []struct {
		name    string
		in      []oip.Tensor
		want    []string
		message string
	}{
		{"no inputs", nil, nil, `input "a" is missing`},
		{"one missing", []oip.Tensor{tensor("a", 1, 3)}, nil, `input "b" is missing`},
		{"unknown input", []oip.Tensor{tensor("a", 1, 3), tensor("c", 1, 3)}, nil, `unknown input "c"`},
		{"twice", []oip.Tensor{tensor("a", 1, 3), tensor("a", 1, 3)}, nil, `input "a" is given twice`},
		{"wrong datatype", []oip.Tensor{tensor("a", 1, 3), wrongType}, nil, `input "b" is INT32, must be FP32`},
		{"wrong dimension", []oip.Tensor{tensor("a", 1, 3), tensor("b", 1, 4)}, nil, `input "b" has shape [1 4], must be [-1 3]`},
		{"wrong rank", []oip.Tensor{tensor("a", 1, 3), tensor("b", 3)}, nil, `input "b" has shape [3], must be [-1 3]`},
		{"negative", []oip.Tensor{tensor("a", -1, 3), tensor("b", 1, 3)}, nil, `input "a" has the impossible shape [-1 3]`},
		{"overflow", []oip.Tensor{tensor("a", math.MaxInt64, 3), tensor("b", 1, 3)}, nil, `input "a" has the impossible shape`},
		{"short", []oip.Tensor{tensor("a", 1, 3), short}, nil, `input "b" of shape [1 3] needs 12 bytes, has 11`},
		{"long", []oip.Tensor{tensor("a", 1, 3), long}, nil, `needs 12 bytes, has 16`},
		{"rows differ", []oip.Tensor{tensor("a", 1, 3), tensor("b", 2, 3)}, nil, `input "b" has 2 rows, input "a" has 1`},
		{"empty batch", []oip.Tensor{tensor("a", 0, 3), tensor("b", 0, 3)}, nil, `a batch of 0, must be 1 to 4`},
		{"large batch", []oip.Tensor{tensor("a", 5, 3), tensor("b", 5, 3)}, nil, `a batch of 5, must be 1 to 4`},
		{"unknown output", []oip.Tensor{tensor("a", 1, 3), tensor("b", 1, 3)}, []string{"sum", "product"}, `unknown output "product"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := m.Run(t.Context(), tc.in, tc.want)
			var refused *oip.Error
			if !errors.As(err, &refused) || refused.Status != 400 || !strings.Contains(refused.Message, "model calc: ") || !strings.Contains(refused.Message, tc.message) {
				t.Errorf("got %v, want a 400 with %q", err, tc.message)
			}
		})
	}
}

func TestBrokenStringsAreRefused(t *testing.T) {
	m := mustLoad(t, identity(elemString, -1), Options{})
	for _, tc := range []struct {
		data    []byte
		n       int64
		message string
	}{
		{nil, 1, "too few"},
		{encodeStrings([]string{"a", "b"}), 1, "has 5 bytes after its 1 elements"},
		{encodeStrings([]string{"a\x00b"}), 1, "NUL"},
		{[]byte{9, 0, 0, 0, 'x'}, 1, "says 9 bytes, 1 are left"},
		{[]byte{1, 0, 0, 0, 'x', 0, 0, 0}, 2, "ends before element 1 of 2"},
	} {
		_, err := m.Run(t.Context(), []oip.Tensor{{Name: "x", Datatype: oip.Bytes, Shape: []int64{tc.n}, Data: tc.data}}, nil)
		var refused *oip.Error
		if !errors.As(err, &refused) || refused.Status != 400 || !strings.Contains(err.Error(), tc.message) {
			t.Errorf("%q: got %v, want %q", tc.data, err, tc.message)
		}
	}
}

func TestModelWithoutBatchDimension(t *testing.T) {
	m := mustLoad(t, identity(elemFloat, 2, -1), Options{MaxBatch: 8})
	if m.MaxBatch() != 0 {
		t.Errorf("MaxBatch = %d for a fixed first dimension, want 0", m.MaxBatch())
	}
	in := []oip.Tensor{{Name: "x", Datatype: oip.FP32, Shape: []int64{2, 2}, Data: floats(1, 2, 3, 4)}}
	out, err := m.Run(t.Context(), in, nil)
	if err != nil || !bytes.Equal(out[0].Data, in[0].Data) {
		t.Errorf("got %v, %v", out, err)
	}
	if m := mustLoad(t, identity(elemFloat, -1, 2), Options{}); m.MaxBatch() != DefaultMaxBatch {
		t.Errorf("MaxBatch = %d, want the default %d", m.MaxBatch(), DefaultMaxBatch)
	}
}

// A model may lie about its batch dimension; the rows would then go to the
// wrong requests.
func TestOutputThatDoesNotBatch(t *testing.T) {
	m := mustLoad(t, graph{
		nodes:   []node{{op: "Concat", in: []string{"x", "x"}, out: []string{"y"}, attrs: map[string]int64{"axis": 0}}},
		inputs:  []value{{"x", elemFloat, []int64{-1, 2}}},
		outputs: []value{{"y", elemFloat, []int64{-1, 2}}},
	}, Options{})
	_, err := m.Run(t.Context(), []oip.Tensor{{Name: "x", Datatype: oip.FP32, Shape: []int64{1, 2}, Data: floats(1, 2)}}, nil)
	if err == nil || !strings.Contains(err.Error(), `output "y" has 2 rows for a batch of 1`) {
		t.Errorf("got %v", err)
	}
}

func TestConcurrentRunsKeepTheirAnswers(t *testing.T) {
	m := mustLoad(t, arithmetic(), Options{})
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 200 {
				x := float32(g*1000 + i)
				out, err := m.Run(t.Context(), []oip.Tensor{
					{Name: "a", Datatype: oip.FP32, Shape: []int64{1, 3}, Data: floats(x, x, x)},
					{Name: "b", Datatype: oip.FP32, Shape: []int64{1, 3}, Data: floats(1, 2, 3)},
				}, []string{"sum"})
				if err != nil || !bytes.Equal(out[0].Data, floats(x+1, x+2, x+3)) {
					t.Errorf("for %v: %v, %v", x, out, err)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestContextEndsARun(t *testing.T) {
	// Some hundred GFLOP, one after the other: seconds on any core.
	const n = 512
	g := graph{inputs: []value{{"x0", elemFloat, []int64{-1, n, n}}}}
	for i := range 500 {
		at := fmt.Sprint("x", i)
		g.nodes = append(g.nodes, node{op: "MatMul", in: []string{at, at}, out: []string{fmt.Sprint("x", i+1)}})
	}
	g.outputs = []value{{"x500", elemFloat, []int64{-1, n, n}}}
	m := mustLoad(t, g, Options{})
	in := []oip.Tensor{{Name: "x0", Datatype: oip.FP32, Shape: []int64{1, n, n}, Data: make([]byte, n*n*4)}}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Run(cancelled, in, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
	timeout, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.Run(timeout, in, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with 10 ms for seconds of work: %v", err)
	}
}
