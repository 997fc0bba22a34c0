package fleet

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"motley/internal/sim"
)

// queue is what requests wait in at one server: first come, first served, by as
// many executions at once as there are slots.
//
// Executions follow each other without a gap: one begins at the instant when
// the one before it was to end, or when its request came, whichever is later.
// That the clock is late by some microseconds so makes each answer late by
// that, and nothing worse: it does not add up.
type queue struct {
	queueConfig

	mu struct {
		sync.Mutex
		waiting []*job
		idle    []time.Time // by idle slot: since when
		rng     *rand.Rand
		timed   bool // begin is on the agenda
		tally   []tally
		busy    time.Duration
	}
}

// queueConfig is how a queue is to be.
type queueConfig struct {
	truth    []*sim.Truth // by model
	most     []int        // by model: rows of one execution
	slots    int
	delay    time.Duration // that the first waits for more to join it
	maxQueue int           // requests that wait, of all models; 0: any number
	seed     uint64
	at       func(at time.Time, call func())
	now      func() time.Time
}

// noBatching as delay has every request executed alone.
const noBatching = time.Duration(-1)

// errQueueFull answers a request that the queue has no room for.
var errQueueFull = errors.New("exceeds maximum queue size")

// job is a request in the queue.
type job struct {
	model, rows int
	came        time.Time
	factor      float64       // on the time that the execution takes
	done        chan struct{} // capacity 1: gets one when the execution ends

	start, end time.Time // set before done
	batch      int       // rows of the execution
}

// newQueue makes a queue with slots that are idle from now on.
func newQueue(cfg queueConfig) *queue {
	q := &queue{queueConfig: cfg}
	for range cfg.slots {
		q.mu.idle = append(q.mu.idle, cfg.now())
	}
	q.mu.rng = rand.New(rand.NewPCG(cfg.seed, 0x666c656574))
	q.mu.tally = make([]tally, len(cfg.truth))
	return q
}

// submit puts a job into the queue; done tells when it was executed.
func (q *queue) submit(j *job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.maxQueue > 0 && len(q.mu.waiting) >= q.maxQueue {
		return errQueueFull
	}
	q.mu.waiting = append(q.mu.waiting, j)
	q.begin()
	return nil
}

// begin starts what can be started. It is called with the queue locked.
func (q *queue) begin() {
	for len(q.mu.idle) > 0 && len(q.mu.waiting) > 0 {
		batch, from, ready := q.batch()
		if !ready {
			return
		}
		slot := 0
		for i, since := range q.mu.idle {
			if since.Before(q.mu.idle[slot]) {
				slot = i
			}
		}
		if since := q.mu.idle[slot]; since.After(from) {
			from = since
		}
		q.mu.idle = slices.Delete(q.mu.idle, slot, slot+1)
		q.execute(batch, from)
	}
}

// execute runs a batch on a slot, from start on or when its last request came.
func (q *queue) execute(batch []*job, start time.Time) {
	rows, factor := 0, 0.0
	for _, j := range batch {
		rows += j.rows
		factor = max(factor, j.factor)
		if j.came.After(start) {
			start = j.came
		}
	}
	took := time.Duration(float64(q.truth[batch[0].model].Draw(rows, q.mu.rng)) * factor)
	end := start.Add(took)
	for _, j := range batch {
		j.start, j.end, j.batch = start, end, rows
	}
	q.at(end, func() { q.finish(batch, took, end) })
}

// finish ends an execution: its slot is free from end on.
func (q *queue) finish(batch []*job, took time.Duration, end time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.busy += took
	q.mu.tally[batch[0].model].executed(batch, took)
	q.mu.idle = append(q.mu.idle, end)
	for _, j := range batch {
		j.done <- struct{}{}
	}
	q.begin()
}

// batch takes the jobs of the next execution out of the queue, which can begin
// at from. ready is false where it is to wait for more: begin is called again
// then.
func (q *queue) batch() (batch []*job, from time.Time, ready bool) {
	first := q.mu.waiting[0]
	if q.delay == noBatching {
		q.take(1)
		return []*job{first}, first.came, true
	}
	rows := 0
	from = first.came.Add(q.delay)
	for _, j := range q.mu.waiting {
		if j.model != first.model {
			continue
		}
		if rows+j.rows > q.most[j.model] && len(batch) > 0 {
			from = j.came // with this one it was more than one execution takes
			break
		}
		batch = append(batch, j)
		if rows += j.rows; rows >= q.most[j.model] {
			from = j.came
			break
		}
	}
	if q.now().Before(from) {
		q.beginAt(from)
		return nil, from, false
	}
	if len(batch) == len(q.mu.waiting) {
		q.take(len(batch))
		return batch, from, true
	}
	next := 0
	q.mu.waiting = slices.DeleteFunc(q.mu.waiting, func(j *job) bool {
		in := next < len(batch) && batch[next] == j
		if in {
			next++
		}
		return in
	})
	return batch, from, true
}

// beginAt puts begin on the agenda, unless it is there.
func (q *queue) beginAt(at time.Time) {
	if q.mu.timed {
		return
	}
	q.mu.timed = true
	q.at(at, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.mu.timed = false
		q.begin()
	})
}

// take removes the first n jobs. The memory is used again once all are gone.
func (q *queue) take(n int) {
	if n == len(q.mu.waiting) {
		clear(q.mu.waiting)
		q.mu.waiting = q.mu.waiting[:0]
		return
	}
	clear(q.mu.waiting[:n])
	q.mu.waiting = q.mu.waiting[n:]
}

// fail counts a request that was not executed.
func (q *queue) fail(model int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.tally[model].failed++
}
