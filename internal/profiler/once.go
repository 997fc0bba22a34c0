package profiler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"motley/internal/backend"
)

// once runs a batch, again where it fails by chance, and returns what it took,
// in ns. It waits until the worker has been idle for its share.
func (m *measurer) once(ctx context.Context, items int) (float64, error) {
	for failures := 1; ; failures++ {
		if time.Since(m.probed) > probeEvery {
			if _, err := m.probe(ctx); err != nil {
				return 0, err
			}
		}
		if err := m.affordable(ctx, items); err != nil {
			return 0, err
		}
		if m.Progress != nil {
			m.Progress(Progress{m.target, items, m.result.Runs, min(1, float64(time.Since(m.began))/float64(m.Budget))})
		}
		took, err := m.execute(ctx, items)
		if err == nil {
			m.result.Runs++
			m.lately[items] = float64(took)
			m.result.Largest = max(m.result.Largest, items)
			return float64(took), m.pause(ctx, took)
		}
		failure, ok := errors.AsType[*backend.Error](err)
		switch {
		case ctx.Err() != nil:
			return 0, errInterrupted
		case !time.Now().Before(m.ends):
			return 0, errBudget
		case !ok:
			return 0, err
		}
		m.result.Failed++
		if failure.Class == backend.Client {
			return 0, &refusal{items, failure.Message}
		}
		if m.sick() {
			return 0, fmt.Errorf("%d of %d runs failed, the last one with: %s", m.result.Failed, m.result.Failed+m.result.Runs, failure.Message)
		}
		if _, err := m.probe(ctx); err != nil {
			return 0, fmt.Errorf("batch %d failed (%s), and %w", items, failure.Message, err)
		}
		if failures == mostFailures {
			return 0, &refusal{items, fmt.Sprintf("it failed %d times in a row: %s", failures, failure.Message)}
		}
		if err := m.pause(ctx, took); err != nil {
			return 0, err
		}
	}
}

// sick reports whether a fifth of ten or more runs failed.
func (m *measurer) sick() bool {
	all := m.result.Failed + m.result.Runs
	return all >= 10 && m.result.Failed*5 >= all
}

// affordable reports whether what a run is expected to take fits the budget.
func (m *measurer) affordable(ctx context.Context, items int) error {
	left := time.Until(m.ends)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case left <= 0 || m.expected(items) > float64(left):
		return errBudget
	}
	return nil
}

// expected is what the last run of the size took, or what it takes at most by the
// largest so far, were all of it per item; in ns, 0 when nothing ran yet.
func (m *measurer) expected(items int) float64 {
	if took, ok := m.lately[items]; ok {
		return took
	}
	largest := m.result.Largest
	if largest == 0 {
		return 0
	}
	return m.lately[largest] * max(1, float64(items)/float64(largest))
}

// execute runs a batch and reports what it took, also where it failed.
func (m *measurer) execute(ctx context.Context, items int) (time.Duration, error) {
	calls, err := m.source.batch(items, m.rng)
	if err != nil {
		return 0, fmt.Errorf("cannot make a batch of %d: %w", items, err)
	}
	ctx, cancel := context.WithDeadline(ctx, m.ends)
	defer cancel()
	began := time.Now()
	err = m.target.Backend.Run(ctx, m.target.Model, calls)
	took := time.Since(began)
	m.result.Busy += took
	for _, c := range calls {
		if err == nil && c.Err != nil {
			err = c.Err
		}
	}
	return took, err
}

// pause waits so long that the worker is busy for its share of the time at most.
func (m *measurer) pause(ctx context.Context, took time.Duration) error {
	wait := time.Duration(float64(took) * (1/m.target.Share - 1))
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(min(wait, max(0, time.Until(m.ends))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errInterrupted
	}
}
