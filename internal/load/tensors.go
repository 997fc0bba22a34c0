package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"motley/internal/oip"
)

// largestSource bounds the memory of the rows that requests are made of, in
// bytes for each input, unless a single request needs more.
const largestSource = 64 << 20

// Random makes bodies of random values of the shapes that the model's metadata
// tells: floats from 0 to 1, whole numbers from 0 to 9 (0 and 1 for 8 bits and
// BOOL), words for BYTES. Dimensions that vary, beside the rows, are opt.Vary. A
// model whose first input has a fixed first dimension does not batch: every
// request counts as one row. largest is the most rows that a request asks for.
func Random(meta *oip.ModelMetadata, model string, largest int, rng *rand.Rand, opt Options) (*Bodies, error) {
	if len(meta.Inputs) == 0 {
		return nil, errors.New("the model's metadata has no inputs")
	}
	batched := false
	for _, t := range meta.Inputs {
		batched = batched || len(t.Shape) > 0 && t.Shape[0] < 0
	}
	if !batched {
		largest = 1
	}
	b, err := newBodies(model, batched, opt)
	if err != nil {
		return nil, err
	}
	rows := 0
	for _, t := range meta.Inputs {
		dims := t.Shape
		if batched {
			if len(dims) == 0 {
				return nil, fmt.Errorf("input %q has no dimensions, while others batch", t.Name)
			}
			dims = dims[1:]
		}
		dims, elements, err := fixed(dims, max(1, opt.Vary))
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", t.Name, err)
		}
		if rows == 0 {
			rows = max(largest, min(2*largest+62, largestSource/max(1, elements*8)))
		}
		data, at := make([]byte, 0, rows*elements*4), make([]int, 1, rows+1)
		for range rows {
			for range elements {
				data = appendRandom(data, t.Datatype, rng, opt.Binary)
			}
			at = append(at, len(data))
		}
		b.addInput(t, dims, data, at)
	}
	return b, nil
}

// fixed puts vary for dimensions that vary.
func fixed(shape []int64, vary int64) (dims []int64, elements int, err error) {
	elements = 1
	for _, d := range shape {
		if d < 0 {
			d = vary
		}
		dims = append(dims, d)
		if d > math.MaxInt32 || elements*int(d) > 1<<28 {
			return nil, 0, fmt.Errorf("shape %v: too large to make values for", shape)
		}
		elements *= int(d)
	}
	return dims, elements, nil
}

var words = [...]string{"motley", "mixed", "of", "all", "sorts"}

// appendRandom appends one element; in JSON, with a comma.
func appendRandom(dst []byte, d oip.Datatype, rng *rand.Rand, inBinary bool) []byte {
	switch d {
	case oip.Bytes:
		w := words[rng.IntN(len(words))]
		if inBinary {
			return append(binary.LittleEndian.AppendUint32(dst, uint32(len(w))), w...)
		}
		return append(strconv.AppendQuote(dst, w), ',')
	case oip.Bool:
		n := rng.IntN(2)
		if inBinary {
			return append(dst, byte(n))
		}
		return append(strconv.AppendBool(dst, n == 1), ',')
	case oip.FP32, oip.FP64, oip.FP16, oip.BF16:
		n := rng.IntN(10_000)
		if !inBinary {
			return append(strconv.AppendFloat(dst, float64(n)/10_000, 'f', -1, 64), ',')
		}
		switch d {
		case oip.FP64:
			return binary.LittleEndian.AppendUint64(dst, math.Float64bits(float64(n)/10_000))
		case oip.FP16: // 0.5 … 1: the exponent of 0.5, and a random fraction
			return binary.LittleEndian.AppendUint16(dst, 0x3800|uint16(n&0x3ff))
		case oip.BF16:
			return binary.LittleEndian.AppendUint16(dst, 0x3f00|uint16(n&0x7f))
		}
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(n)/10_000))
	}
	most := 10
	if d.Size() == 1 {
		most = 2
	}
	n := uint64(rng.IntN(most))
	if !inBinary {
		return append(strconv.AppendUint(dst, n, 10), ',')
	}
	var le [8]byte
	binary.LittleEndian.PutUint64(le[:], n)
	return append(dst, le[:d.Size()]...)
}
