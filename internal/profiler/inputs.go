package profiler

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"motley/internal/backend"
	"motley/internal/load"
	"motley/internal/oip"
)

// source makes the members of a batch.
type source interface {
	batch(items int, rng *rand.Rand) ([]*backend.Call, error)
}

// random are requests of random values, as load.Random makes them; every batch
// is one request, and no two are the same: servers cache answers.
type random struct{ bodies *load.Bodies }

func (r random) batch(items int, rng *rand.Rand) ([]*backend.Call, error) {
	req, err := r.bodies.Request(items, rng.Float64())
	if err != nil {
		return nil, err
	}
	return []*backend.Call{{Request: req}}, nil
}

// maxRecording bounds a file of recorded requests, in bytes.
const maxRecording = 256 << 20

// Recording is a file of recorded requests, read but not yet checked against a
// model: JSON bodies, one a line.
type Recording struct {
	bodies [][]byte
	lines  []int // where they stand, from 1 on
}

// ReadRecording reads one; empty lines are passed over.
func ReadRecording(r io.Reader) (*Recording, error) {
	in := bufio.NewScanner(io.LimitReader(r, maxRecording))
	in.Buffer(nil, maxRecording)
	rec := new(Recording)
	for line := 1; in.Scan(); line++ {
		if len(in.Bytes()) > 0 {
			rec.bodies = append(rec.bodies, append([]byte(nil), in.Bytes()...))
			rec.lines = append(rec.lines, line)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("cannot read recorded requests: %w", err)
	}
	if len(rec.bodies) == 0 {
		return nil, errors.New("cannot read recorded requests: there are none")
	}
	return rec, nil
}

// recorded are requests as clients sent them, merged into batches as the router
// would; the last of a batch is cut where it is too large.
type recorded struct {
	requests []*oip.Request
	batched  bool
}

// source checks the requests against what is known of the model.
func (rec *Recording) source(model string, meta *oip.ModelMetadata, batched bool) (*recorded, error) {
	s := &recorded{batched: batched}
	for i, body := range rec.bodies {
		r := &oip.Request{Model: model}
		err := r.Parse(body, -1, nil)
		if err == nil && meta != nil {
			err = r.Check(meta, batched, 0)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("recorded requests: line %d: %w", rec.lines[i], err)
		case r.Size(batched) < 1:
			return nil, fmt.Errorf("recorded requests: line %d: it has no rows", rec.lines[i])
		case r.Sequence:
			return nil, fmt.Errorf("recorded requests: line %d: it belongs to a sequence, which a batch cannot hold", rec.lines[i])
		case i > 0 && batched && r.MergeKey(1, true) != s.requests[0].MergeKey(1, true):
			return nil, fmt.Errorf("recorded requests: line %d: its inputs, outputs or parameters are not those of line %d: they cannot be one batch", rec.lines[i], rec.lines[0])
		}
		s.requests = append(s.requests, r)
	}
	return s, nil
}

func (s *recorded) batch(items int, rng *rand.Rand) ([]*backend.Call, error) {
	var calls []*backend.Call
	for at, left := rng.IntN(len(s.requests)), items; left > 0; at = (at + 1) % len(s.requests) {
		r := s.requests[at]
		if n := r.Size(s.batched); n > left {
			part := new(oip.Request)
			if err := oip.Slice(part, r, 0, left); err != nil {
				return nil, err
			}
			r = part
		}
		left -= r.Size(s.batched)
		calls = append(calls, &backend.Call{Request: r})
	}
	return calls, nil
}
