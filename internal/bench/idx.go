package bench

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// pictures is a data set of grey images with labels.
type pictures struct {
	count, height, width int
	pixels               []byte // [count][height][width]
	labels               []byte
}

// Limits of a data set.
const (
	mostPictures = 1 << 20
	mostSide     = 1 << 10
)

// loadPictures reads a data set in MNIST's form, one of its splits: t10k or
// train.
func loadPictures(dir, split string) (*pictures, error) {
	p := &pictures{}
	images := filepath.Join(dir, split+"-images-idx3-ubyte.gz")
	err := withFile(images, func(r io.Reader) (err error) {
		var dims []int
		if dims, p.pixels, err = readIDX(r, 3); err != nil {
			return fmt.Errorf("cannot read images: %s: %w", images, err)
		}
		p.count, p.height, p.width = dims[0], dims[1], dims[2]
		return nil
	})
	if err != nil {
		return nil, err
	}
	labels := filepath.Join(dir, split+"-labels-idx1-ubyte.gz")
	err = withFile(labels, func(r io.Reader) (err error) {
		if _, p.labels, err = readIDX(r, 1); err != nil {
			return fmt.Errorf("cannot read labels: %s: %w", labels, err)
		}
		return nil
	})
	if err == nil && len(p.labels) != p.count {
		err = fmt.Errorf("%s has %d images, %s %d labels", images, p.count, labels, len(p.labels))
	}
	return p, err
}

// readIDX reads a gzipped IDX file of bytes with so many dimensions.
func readIDX(r io.Reader, dimensions int) (dims []int, data []byte, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, nil, err
	}
	head := make([]byte, 4+4*dimensions)
	if _, err := io.ReadFull(z, head); err != nil {
		return nil, nil, fmt.Errorf("its head: %w", err)
	}
	if want := []byte{0, 0, 8, byte(dimensions)}; !bytes.Equal(head[:4], want) {
		return nil, nil, fmt.Errorf("begins with % x, want % x (bytes in %d dimensions)", head[:4], want, dimensions)
	}
	size := 1
	for d := range dimensions {
		n := binary.BigEndian.Uint32(head[4+4*d:])
		if limit := uint32(mostSide); n == 0 || d > 0 && n > limit || n > mostPictures {
			return nil, nil, fmt.Errorf("dimension %d is %d", d, n)
		}
		dims = append(dims, int(n))
		size *= int(n)
	}
	if size > 1<<30 {
		return nil, nil, fmt.Errorf("%v is too much", dims)
	}
	// Read as much as there is, not as much as the head says.
	data, err = io.ReadAll(io.LimitReader(z, int64(size)+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) != size {
		return nil, nil, errors.New("its length does not fit its dimensions")
	}
	return dims, data, nil
}
