package profiler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"motley/internal/backend"
	"motley/internal/load"
	"motley/internal/oip"
)

// Target is a worker to measure with one model.
type Target struct {
	Model, Type, Worker string
	Backend             backend.Backend
	// Batched says whether the first dimension of the tensors is the batch; nil
	// leaves it to what the worker tells.
	Batched  *bool
	MaxBatch int                // the most items that are ever sent to it; 0 = what it takes
	Metadata *oip.ModelMetadata // for a worker that tells none; nil = none
	Share    float64            // of the time that it may be kept busy, over 0, at most 1
}

// Options say how to measure.
type Options struct {
	Batches   []int         // sizes to measure, in any order; empty: DefaultBatches
	Budget    time.Duration // for the target
	Vary      int64         // what dimensions that vary are, beside the batch; 0 = 1
	Recording *Recording    // send these requests, not random ones
	Seed      uint64
	Progress  func(Progress) // called before every run; nil: not
}

// Progress is what is under way.
type Progress struct {
	Target      *Target
	Batch, Runs int
	Share       float64 // of the budget that is spent, 0 … 1
}

// Result is what is known of a target when measuring has ended.
type Result struct {
	Target  Target
	Origin  Origin
	Source  string  // for people: who tells it; "" where it was measured here
	Sizes   []Size  // by rising batch
	Law     Law     // of Sizes; means nothing where there are none
	HeldOut []Check // every size but the outermost, predicted from the others
	Largest int     // the largest batch that worked; 0: none
	Refused string  // why a larger one did not; "" when none was tried or refused
	Ended   string  // why it ended
	Notes   []string
	Runs    int // that succeeded
	Failed  int // that did not
	Warm    int // of Runs, thrown away because the worker was getting ready
	Took    time.Duration
	Busy    time.Duration // of Took, that the worker was at work
	Err     error         // the worker could not be measured, or not to the end; Sizes are what there is

	all []series
}

const (
	mostFailures = 3 // in a row, of one size
	// probeEvery is how often the worker is asked whether it is still ready.
	probeEvery   = time.Second
	probeTimeout = 5 * time.Second
	// The most runs to warm up with, and the share of the budget that they may take.
	mostWarm      = 50
	mostWarmShare = 0.1
	// defaultLargest bounds DefaultBatches where nothing else does.
	defaultLargest = 128
)

// measurer measures one target.
type measurer struct {
	Options
	target  *Target
	source  source
	rng     *rand.Rand
	began   time.Time
	ends    time.Time
	probed  time.Time
	all     []series
	warm    map[int]bool    // sizes that have run before
	history []outcome       // the runs that count, in order
	lately  map[int]float64 // what the last run of each size took, ns
	result  Result
}

type outcome struct {
	batch int
	took  float64
}

// How measuring ends before all is known; only errBudget is no fault.
var (
	errBudget      = errors.New("the budget is spent")
	errInterrupted = errors.New("interrupted")
)

// refusal says that a batch is too large.
type refusal struct {
	batch int
	why   string
}

func (r *refusal) Error() string { return fmt.Sprintf("a batch of %d is refused: %s", r.batch, r.why) }

// Measure measures the target until enough is known, the budget is spent or ctx
// ends. It always says what is known by then.
func Measure(ctx context.Context, t Target, opt Options) Result {
	m := &measurer{
		Options: opt, target: &t, rng: rand.New(rand.NewPCG(opt.Seed, 6)), warm: map[int]bool{}, lately: map[int]float64{},
		began: time.Now(), result: Result{Target: t},
	}
	m.ends = m.began.Add(opt.Budget)
	err := m.run(ctx)
	m.result.Took = time.Since(m.began)
	m.conclude(err)
	return m.result
}

func (m *measurer) run(ctx context.Context) error {
	sizes, err := m.prepare(ctx)
	if err != nil {
		return err
	}
	if err := m.warmUp(ctx, sizes[0]); err != nil {
		return err
	}
	if sizes, err = m.climb(ctx, sizes); err != nil {
		return err
	}
	for _, n := range sizes {
		m.all = append(m.all, series{batch: n})
	}
	for {
		round, end := next(m.all)
		if len(round) == 0 {
			m.result.Ended = end
			return nil
		}
		m.rng.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		for _, i := range round {
			if i >= len(m.all) {
				continue // a smaller one was refused meanwhile
			}
			if err := m.sample(ctx, i); err != nil {
				return err
			}
		}
	}
}

// prepare asks the worker how it stands and makes ready what to send.
func (m *measurer) prepare(ctx context.Context) (sizes []int, err error) {
	status, err := m.probe(ctx)
	if err != nil {
		return nil, err
	}
	meta := status.Metadata
	if meta == nil || len(meta.Inputs) == 0 {
		if m.target.Metadata != nil {
			meta = m.target.Metadata
		}
	}
	batched := status.MaxBatch > 0 || meta != nil && len(meta.Inputs) > 0 && !slices.ContainsFunc(meta.Inputs, func(t oip.TensorMetadata) bool {
		return len(t.Shape) == 0 || t.Shape[0] >= 0
	})
	if m.target.Batched != nil {
		batched = *m.target.Batched
	}
	most := status.MaxBatch
	if !batched {
		most = 1
	}
	if sizes, err = m.sizes(most); err != nil {
		return nil, err
	}
	if m.Recording != nil {
		m.source, err = m.Recording.source(m.target.Model, meta, batched)
		return sizes, err
	}
	if meta == nil || len(meta.Inputs) == 0 {
		return nil, errors.New("neither the worker nor the configuration tells the model's inputs: record some requests, and give them as -requests")
	}
	bodies, err := load.Random(meta, m.target.Model, sizes[len(sizes)-1], m.rng, load.Options{Binary: status.Binary, Vary: m.Vary})
	if err != nil {
		return nil, fmt.Errorf("cannot make inputs: %w", err)
	}
	m.source = random{bodies}
	return sizes, nil
}

// sizes are those to measure, by rising size; most is the most that the worker
// takes, 0 when unknown.
func (m *measurer) sizes(most int) ([]int, error) {
	sizes := slices.Compact(slices.Sorted(slices.Values(m.Batches)))
	if len(sizes) == 0 {
		largest := m.target.MaxBatch
		if most > 0 && (largest == 0 || most < largest) {
			largest = most
		}
		if largest == 0 {
			largest = defaultLargest
		}
		return DefaultBatches(largest), nil
	}
	if sizes[0] < 1 {
		return nil, fmt.Errorf("batch %d: must be at least 1", sizes[0])
	}
	kept := slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return most > 0 && n > most })
	if len(kept) < len(sizes) {
		m.result.Refused = fmt.Sprintf("the worker says that it takes at most %d", most)
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("the worker takes at most %d, and only larger batches were asked for", most)
	}
	return kept, nil
}

// probe reports how the worker stands; not being ready is an error.
func (m *measurer) probe(ctx context.Context) (backend.Status, error) {
	limited, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	status, err := m.target.Backend.Probe(limited, m.target.Model)
	m.probed = time.Now()
	switch {
	case ctx.Err() != nil:
		return status, errInterrupted
	case err != nil:
		return status, fmt.Errorf("the worker does not answer: %w", err)
	case !status.Ready:
		return status, fmt.Errorf("the worker says that model '%s' is not ready", m.target.Model)
	}
	return status, nil
}

// warmUp runs the smallest size until it takes as long as before.
func (m *measurer) warmUp(ctx context.Context, size int) error {
	var took []float64
	began := time.Now()
	for !settled(took) {
		if len(took) >= mostWarm || len(took) > 0 && time.Since(began) > time.Duration(mostWarmShare*float64(m.Budget)) {
			m.note("the worker did not settle in %d runs of warm-up: what was measured first may be too slow", len(took))
			break
		}
		d, err := m.once(ctx, size)
		if err != nil {
			return err
		}
		m.result.Warm++
		took = append(took, d)
	}
	m.warm[size] = true
	return nil
}

// climb runs larger and larger sizes once and returns those up to the largest
// that works.
func (m *measurer) climb(ctx context.Context, sizes []int) ([]int, error) {
	for _, n := range ladder(sizes)[1:] {
		if left := time.Until(m.ends); m.expected(n)/m.target.Share*(leastRuns+2) > float64(left)/2 {
			m.note("batches of %d and more are left out: they may take too long for the budget", n)
			return slices.DeleteFunc(sizes, func(s int) bool { return s >= n }), nil
		}
		switch _, err := m.once(ctx, n); {
		case err == nil:
			m.result.Warm++
			m.warm[n] = true
		case m.tooLarge(err):
			return slices.DeleteFunc(sizes, func(s int) bool { return s >= n }), nil
		default:
			return nil, err
		}
	}
	return sizes, nil
}

// sample runs the size at index i once more, and takes it out, with all larger
// ones, where it is refused.
func (m *measurer) sample(ctx context.Context, i int) error {
	n := m.all[i].batch
	if !m.warm[n] {
		switch _, err := m.once(ctx, n); {
		case err == nil:
			m.result.Warm++
			m.warm[n] = true
		case m.tooLarge(err):
			m.all = m.all[:i]
			return nil
		default:
			return err
		}
	}
	d, err := m.once(ctx, n)
	if m.tooLarge(err) && i > 0 {
		m.all = m.all[:i]
		return nil
	}
	if err != nil {
		return err
	}
	m.all[i].took = append(m.all[i].took, d)
	m.all[i].last = m.result.Runs
	m.history = append(m.history, outcome{n, d})
	return nil
}

// tooLarge reports whether err says that a batch is too large while smaller ones
// work, and notes it.
func (m *measurer) tooLarge(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	if !ok || m.result.Largest == 0 || r.batch <= m.result.Largest && m.warm[r.batch] {
		return false
	}
	m.result.Refused = r.Error()
	return true
}

func (m *measurer) note(format string, args ...any) {
	m.result.Notes = append(m.result.Notes, fmt.Sprintf(format, args...))
}
