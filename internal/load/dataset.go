package load

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"motley/internal/oip"
)

// DataSet is a set of pictures with labels.
type DataSet struct {
	Rows, Pixels int
	Images       []byte // Rows × Pixels
	Labels       []uint8
}

// ReadDataSet reads the images and labels of a folder in the idx format
// (gzip), as MNIST and its relatives come: train-images-idx3-ubyte.gz,
// train-labels-idx1-ubyte.gz, and t10k-… for the split "test".
func ReadDataSet(dir, split string) (*DataSet, error) {
	prefix := split
	if split == "test" {
		prefix = "t10k"
	}
	images, pixels, err := readIDX(filepath.Join(dir, prefix+"-images-idx3-ubyte.gz"), 3)
	if err != nil {
		return nil, err
	}
	labels, one, err := readIDX(filepath.Join(dir, prefix+"-labels-idx1-ubyte.gz"), 1)
	if err != nil {
		return nil, err
	}
	if one != 1 || len(labels)*pixels != len(images) {
		return nil, fmt.Errorf("%s: %d labels for %d images", dir, len(labels), len(images)/pixels)
	}
	return &DataSet{Rows: len(labels), Pixels: pixels, Images: images, Labels: labels}, nil
}

func readIDX(name string, dims int) (data []byte, each int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err // it names the file
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err == nil {
		data, each, err = parseIDX(z, dims)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	return data, each, nil
}

// parseIDX reads an idx file of bytes: two zeros, the type 8, the number of
// dimensions, each of them, the data.
func parseIDX(r io.Reader, dims int) (data []byte, each int, err error) {
	const largest = 1 << 30
	head := make([]byte, 4+4*dims)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, 0, fmt.Errorf("the head is cut: %w", err)
	}
	if head[0] != 0 || head[1] != 0 || head[2] != 8 || int(head[3]) != dims {
		return nil, 0, fmt.Errorf("not an idx file of bytes with %d dimensions: it begins with % x", dims, head[:4])
	}
	total := uint64(1)
	each = 1
	for i := range dims {
		d := uint64(binary.BigEndian.Uint32(head[4+4*i:]))
		if total *= d; d == 0 || total > largest {
			return nil, 0, fmt.Errorf("%d in dimension %d: want something, and 1 GiB at most in all", d, i)
		}
		if i > 0 {
			each *= int(d)
		}
	}
	data, err = io.ReadAll(io.LimitReader(r, int64(total)+1))
	if err != nil {
		return nil, 0, err
	}
	if uint64(len(data)) != total {
		return nil, 0, fmt.Errorf("%d bytes of data, want %d", len(data), total)
	}
	return data, each, nil
}

// FromDataSet makes bodies of the pictures, scaled to 0 … 1, for a model with
// one FP32 input of as many values a row.
func FromDataSet(d *DataSet, meta *oip.ModelMetadata, model string, opt Options) (*Bodies, error) {
	if len(meta.Inputs) != 1 {
		return nil, fmt.Errorf("the model has %d inputs: pictures fit a model with one", len(meta.Inputs))
	}
	t := meta.Inputs[0]
	if t.Datatype != oip.FP32 || len(t.Shape) == 0 {
		return nil, fmt.Errorf("input %q is %s with %d dimensions: pictures fit an FP32 input with rows", t.Name, t.Datatype, len(t.Shape))
	}
	dims, elements, err := fixed(t.Shape[1:], 1)
	if err == nil && elements != d.Pixels {
		err = errors.New("wrong size")
	}
	if err != nil {
		return nil, fmt.Errorf("input %q has shape %v, pictures have %d values", t.Name, t.Shape, d.Pixels)
	}
	b, err := newBodies(model, true, opt)
	if err != nil {
		return nil, err
	}
	var values [256][]byte
	for i := range values {
		v := float32(i) / 255
		if opt.Binary {
			values[i] = binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))
		} else {
			values[i] = append(strconv.AppendFloat(nil, float64(v), 'f', -1, 32), ',')
		}
	}
	data, at := make([]byte, 0, len(d.Images)*6), make([]int, 1, d.Rows+1)
	for i := range d.Rows {
		for _, pixel := range d.Images[i*d.Pixels:][:d.Pixels] {
			data = append(data, values[pixel]...)
		}
		at = append(at, len(data))
	}
	b.addInput(t, dims, data, at)
	b.labels = d.Labels
	return b, nil
}
