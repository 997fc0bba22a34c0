package backend

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"motley/internal/oip"
)

// checksumName is the output that an echo adds: UINT64 [n,1], for each row the
// xxhash64 over that row of every input, in the inputs' order. It lets a
// client verify that it got the answer to its own rows.
const checksumName = "checksum"

// echo answers with its inputs, under their own names, and their checksum.
type echo struct {
	meta     *oip.ModelMetadata
	maxBatch int
}

func newEcho(name string, declared *oip.ModelMetadata, maxBatch int) *echo {
	meta := &oip.ModelMetadata{Name: name, Versions: []string{"1"}, Platform: "motley_emulated"}
	if declared != nil {
		meta.Inputs, meta.Outputs = declared.Inputs, slices.Clone(declared.Outputs)
	}
	if len(meta.Outputs) > 0 {
		meta.Outputs = append(meta.Outputs, oip.TensorMetadata{Name: checksumName, Datatype: oip.Uint64, Shape: []int64{-1, 1}})
	}
	return &echo{meta: meta, maxBatch: maxBatch}
}

func (e *echo) Metadata() *oip.ModelMetadata { return e.meta }
func (e *echo) MaxBatch() int                { return e.maxBatch }
func (e *echo) Close() error                 { return nil }

func (e *echo) Run(_ context.Context, in []oip.Tensor, want []string) ([]oip.Tensor, error) {
	if len(in) == 0 || len(in[0].Shape) == 0 {
		return nil, &oip.Error{Status: 400, Message: "an echo needs an input with a batch dimension"}
	}
	all := append(slices.Clone(in), checksum(in))
	if len(want) == 0 {
		return all, nil
	}
	var out []oip.Tensor
	for _, name := range want {
		i := slices.IndexFunc(all, func(t oip.Tensor) bool { return t.Name == name })
		if i < 0 {
			return nil, &oip.Error{Status: 400, Message: fmt.Sprintf("an echo has no output '%s'", name)}
		}
		out = append(out, all[i])
	}
	return out, nil
}

func checksum(in []oip.Tensor) oip.Tensor {
	rows := in[0].Shape[0]
	sum := oip.Tensor{Name: checksumName, Datatype: oip.Uint64, Shape: []int64{rows, 1}}
	starts := make([]int, len(in)) // where the next row of each input begins
	var digest xxhash.Digest
	for range rows {
		digest.Reset()
		for i, t := range in {
			n := rowBytes(t, rows, starts[i])
			_, _ = digest.Write(t.Data[starts[i] : starts[i]+n])
			starts[i] += n
		}
		sum.Data = binary.LittleEndian.AppendUint64(sum.Data, digest.Sum64())
	}
	return sum
}

// rowBytes is the length of the row that begins at start.
func rowBytes(t oip.Tensor, rows int64, start int) int {
	if t.Datatype != oip.Bytes {
		return len(t.Data) / int(rows)
	}
	elements := int64(1)
	for _, d := range t.Shape[1:] {
		elements *= d
	}
	end := start
	for range elements {
		end += 4 + int(binary.LittleEndian.Uint32(t.Data[end:]))
	}
	return end - start
}
