package fleet

import (
	"maps"
	"slices"
	"time"

	"motley/internal/oip"
)

// tally is what a server tells of one model. Times are those that were drawn.
type tally struct {
	requests, failed uint64
	queued, ran      time.Duration // summed over requests
	rows             uint64
	executions       uint64
	last             time.Time
	batches          map[int]*oip.Stat // by rows
}

// executed counts an execution and the requests in it.
func (t *tally) executed(batch []*job, took time.Duration) {
	rows := batch[0].batch
	t.executions++
	t.rows += uint64(rows)
	t.requests += uint64(len(batch))
	for _, j := range batch {
		t.queued += j.start.Sub(j.came)
		t.ran += took
	}
	t.last = batch[0].end
	s := t.batches[rows]
	if s == nil {
		if t.batches == nil {
			t.batches = map[int]*oip.Stat{}
		}
		s = new(oip.Stat)
		t.batches[rows] = s
	}
	s.Count++
	s.Ns += uint64(took)
}

// stats is the tally in the protocol's form.
func (t *tally) stats(model string) oip.ModelStats {
	s := oip.ModelStats{
		Name: model, Version: version,
		InferenceCount: t.rows, ExecutionCount: t.executions,
		InferenceStats: oip.InferenceStats{
			Success:      oip.Stat{Count: t.requests, Ns: uint64(t.queued + t.ran)},
			Fail:         oip.Stat{Count: t.failed},
			Queue:        oip.Stat{Count: t.requests, Ns: uint64(t.queued)},
			ComputeInfer: oip.Stat{Count: t.requests, Ns: uint64(t.ran)},
		},
		BatchStats: make([]oip.BatchStats, 0, len(t.batches)),
	}
	if !t.last.IsZero() {
		s.LastInference = uint64(t.last.UnixMilli())
	}
	for _, rows := range slices.Sorted(maps.Keys(t.batches)) {
		s.BatchStats = append(s.BatchStats, oip.BatchStats{
			BatchSize: uint64(rows), ComputeInput: oip.Stat{Count: t.batches[rows].Count},
			ComputeInfer: *t.batches[rows], ComputeOutput: oip.Stat{Count: t.batches[rows].Count},
		})
	}
	return s
}
