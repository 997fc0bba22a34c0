package load

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"motley/internal/oip"
)

// idx writes a file as MNIST has them.
func idx(t *testing.T, dir, name string, dims []uint32, data []byte) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	head := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		head = binary.BigEndian.AppendUint32(head, d)
	}
	_, err := z.Write(append(head, data...))
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDataSet(t *testing.T) {
	dir := t.TempDir()
	idx(t, dir, "t10k-images-idx3-ubyte.gz", []uint32{3, 2, 2}, []byte{0, 51, 102, 255, 1, 2, 3, 4, 255, 255, 255, 0})
	idx(t, dir, "t10k-labels-idx1-ubyte.gz", []uint32{3}, []byte{7, 0, 9})
	d, err := ReadDataSet(dir, "test")
	if err != nil || d.Rows != 3 || d.Pixels != 4 {
		t.Fatalf("%+v, %v", d, err)
	}
	meta := &oip.ModelMetadata{Inputs: []oip.TensorMetadata{{Name: "x", Datatype: oip.FP32, Shape: []int64{-1, 1, 2, 2}}}}
	for _, inBinary := range []bool{false, true} {
		b, err := FromDataSet(d, meta, "m", Options{Binary: inBinary})
		if err != nil {
			t.Fatal(err)
		}
		var m message
		r, rows := built(t, b, &m, shot{rows: 2, pick: 0})
		if err := oipCheck(r, meta); err != nil || rows != 2 || fmt.Sprint(r.Inputs[0].Shape) != "[2 1 2 2]" {
			t.Errorf("%d rows %v, %v", rows, r.Inputs[0].Shape, err)
		}
		if !inBinary && string(r.Inputs[0].JSON) != "[0,0.2,0.4,1,0.003921569,0.007843138,0.011764706,0.015686275]" {
			t.Errorf("%s", r.Inputs[0].JSON)
		}
		for i, want := range []uint8{7, 0, 9} {
			if _, labels := b.build(&m, nil, shot{rows: 1, pick: (float64(i) + 0.5) / 3}); len(labels) != 1 || labels[0] != want {
				t.Errorf("row %d: labels %v, want %d", i, labels, want)
			}
		}
		if _, labels := b.build(&m, nil, shot{rows: 100, pick: 0.99}); len(labels) != 3 {
			t.Errorf("more than there are: %v", labels)
		}
	}
	for _, bad := range []oip.TensorMetadata{
		{Datatype: oip.FP64, Shape: []int64{-1, 4}}, {Datatype: oip.FP32}, {Datatype: oip.FP32, Shape: []int64{-1, 5}}, {Datatype: oip.FP32, Shape: []int64{-1, -1}},
	} {
		if _, err := FromDataSet(d, &oip.ModelMetadata{Inputs: []oip.TensorMetadata{bad}}, "m", Options{}); err == nil {
			t.Errorf("%+v: taken", bad)
		}
	}
	if _, err := ReadDataSet(dir, "train"); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	idx(t, dir, "t10k-labels-idx1-ubyte.gz", []uint32{2}, []byte{7, 0})
	if _, err := ReadDataSet(dir, "test"); err == nil || !strings.Contains(err.Error(), "2 labels for 3 images") {
		t.Errorf("%v", err)
	}
}

func FuzzParseIDX(f *testing.F) {
	f.Add([]byte{0, 0, 8, 1, 0, 0, 0, 2, 5, 6}, uint8(1))
	f.Add([]byte{0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 5, 6}, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, dims uint8) {
		n := int(dims%4) + 1
		data, each, err := parseIDX(bytes.NewReader(b), n)
		if err == nil && (each < 1 || len(data) == 0 || len(data)%each != 0 || len(data) != len(b)-4-4*n) {
			t.Errorf("%d bytes, %d each, of %d", len(data), each, len(b))
		}
	})
}
