package oip

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// MergeKey is equal for requests that may be merged into one batch: those for
// the same model (any number that stands for it) with the same inputs by
// name, datatype and trailing shape, the same parameters, and the same
// requested outputs with the same parameters. The order of inputs, outputs
// and parameters does not matter, nor does whether data is JSON or binary, nor
// timeout, priority and the parameters of the binary extension and of early
// exit.
//
// It is 0 for a request that must be executed alone: a member of a sequence,
// one of a model that does not batch, or a raw one that Check has not
// resolved.
func (r *Request) MergeKey(model uint64, batched bool) uint64 {
	if !batched || r.Sequence || len(r.Inputs) == 0 {
		return 0
	}
	var d xxhash.Digest
	var inputs, outputs uint64
	for i := range r.Inputs {
		in := &r.Inputs[i]
		if len(in.Shape) == 0 || in.Datatype == Invalid {
			return 0
		}
		d.Reset()
		hashBytes(&d, in.Name)
		hashUint(&d, uint64(in.Datatype))
		for _, n := range in.Shape[1:] {
			hashUint(&d, uint64(n))
		}
		hashUint(&d, membersKey(in.Parameters, ofInput))
		inputs += d.Sum64()
	}
	for i := range r.Outputs {
		o := &r.Outputs[i]
		d.Reset()
		hashBytes(&d, o.Name)
		hashUint(&d, uint64(o.Classification))
		hashUint(&d, membersKey(o.Parameters, ofOutput))
		outputs += d.Sum64()
	}
	d.Reset()
	hashUint(&d, model)
	hashUint(&d, uint64(len(r.Inputs)))
	hashUint(&d, inputs)
	hashUint(&d, uint64(len(r.Outputs)))
	hashUint(&d, outputs)
	hashUint(&d, membersKey(r.Parameters, ofRequest))
	if key := d.Sum64(); key != 0 {
		return key
	}
	return 1
}

// membersKey hashes the parameters that must be equal, in any order, each as
// it stands.
func membersKey(object []byte, at place) uint64 {
	if object == nil {
		return 0
	}
	var d xxhash.Digest
	var sum uint64
	for i := 0; ; {
		name, value, next := walkMembers(object, i)
		if name == nil {
			return sum
		}
		i = next
		if ours(name, at) {
			continue
		}
		d.Reset()
		hashBytes(&d, name)
		hashBytes(&d, value)
		sum += d.Sum64()
	}
}

// ours tells whether the codec itself deals with a parameter, so that a
// merged request gets it anew or not at all.
func ours(name []byte, at place) bool {
	switch at {
	case ofRequest:
		return is(name, pTimeout) || is(name, pPriority) || is(name, pBinaryOutput) || is(name, pSequence) || ofExits(name)
	case ofInput, ofResponse:
		return is(name, pBlob)
	default:
		return is(name, pBinary) || is(name, pClassification)
	}
}

func hashBytes(d *xxhash.Digest, b []byte) {
	hashUint(d, uint64(len(b)))
	d.Write(b)
}

func hashUint(d *xxhash.Digest, v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	d.Write(b[:])
}
