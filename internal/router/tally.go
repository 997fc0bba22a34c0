package router

import (
	"math/bits"
	"slices"
	"sync"
	"time"

	"motley/internal/live"
	"motley/internal/oip"
)

// modelTally is what the statistics endpoint tells of a model.
type modelTally struct {
	mu struct {
		sync.Mutex
		success, fail, queue, infer oip.Stat // per request
		last                        time.Time
		items, executions           uint64
		batches                     map[int]*oip.Stat // by items, per execution
	}
}

// maxBatchSizes is how many sizes of batches are told apart. Clients choose sizes, so from
// there on new ones count as the power of two below.
const maxBatchSizes = 1024

// success records one request answered with 200 at the instant at.
func (t *modelTally) success(r *live.Request, took time.Duration, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count(&t.mu.success, took)
	count(&t.mu.queue, r.Queued)
	count(&t.mu.infer, r.Ran)
	t.mu.items += uint64(max(r.Size, 0))
	if at.After(t.mu.last) {
		t.mu.last = at
	}
}

// failure records one request answered otherwise.
func (t *modelTally) failure(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count(&t.mu.fail, took)
}

// batch records one execution.
func (t *modelTally) batch(items int, ran time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.executions++
	s := t.mu.batches[items]
	if s == nil && len(t.mu.batches) >= maxBatchSizes {
		items = 1 << bits.Len(uint(max(items, 1))-1)
		s = t.mu.batches[items]
	}
	if s == nil {
		if t.mu.batches == nil {
			t.mu.batches = map[int]*oip.Stat{}
		}
		s = new(oip.Stat)
		t.mu.batches[items] = s
	}
	count(s, ran)
}

func count(s *oip.Stat, took time.Duration) {
	s.Count++
	s.Ns += uint64(max(took, 0))
}

// stats returns the statistics, batch sizes in ascending order.
func (t *modelTally) stats(name, version string) oip.ModelStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := oip.ModelStats{
		Name:           name,
		Version:        version,
		InferenceCount: t.mu.items,
		ExecutionCount: t.mu.executions,
		InferenceStats: oip.InferenceStats{
			Success: t.mu.success, Fail: t.mu.fail, Queue: t.mu.queue, ComputeInfer: t.mu.infer,
		},
		BatchStats: make([]oip.BatchStats, 0, len(t.mu.batches)),
	}
	if !t.mu.last.IsZero() {
		s.LastInference = uint64(t.mu.last.UnixMilli())
	}
	for items, stat := range t.mu.batches {
		s.BatchStats = append(s.BatchStats, oip.BatchStats{BatchSize: uint64(items), ComputeInfer: *stat})
	}
	slices.SortFunc(s.BatchStats, func(a, b oip.BatchStats) int { return int(a.BatchSize) - int(b.BatchSize) })
	return s
}
