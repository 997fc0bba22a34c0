package bench

import (
	"motley/internal/planner"
)

// The contenders of the suite, by the names that stand in its table.
const (
	homogeneous   = "homogeneous"
	merging       = "homogeneous, batching"
	ribbonOptimal = "ribbon-optimal"
	threshold     = "size-threshold"
	clockwork     = "clockwork"
	leastLoad     = "least-load"
	published     = "kairos"
	unmerged      = "motley, no merging"
	ours          = "motley"
)

// contender is a way to serve a model within the budget. pick chooses its mix,
// and what else there is to choose, by runs that nothing is reported of; of
// several entries the one that carries most is reported.
type contender struct {
	name string
	pick func(a *arena) ([]entry, error)
}

// contenders are all that compete in KAIROS's space. Each has the mix that
// suits it best, so that none is held back by another's choice.
func contenders() []contender {
	return []contender{
		{homogeneous, func(a *arena) ([]entry, error) {
			return one(a.choose.race(a.alike(), mustVariant("fcfs", "fcfs", true, true)))
		}},
		{merging, func(a *arena) ([]entry, error) {
			simple, err := a.choose.race(a.alike(), mustVariant("least-load", "least-load", false, false))
			if err != nil {
				return nil, err
			}
			clever, err := a.choose.race(a.alike(), mustVariant("clockwork", "clockwork", false, false))
			return []entry{simple, clever}, err
		}},
		{ribbonOptimal, func(a *arena) ([]entry, error) {
			return one(a.choose.race(a.dearFirst(), mustVariant("fcfs", "fcfs", true, true)))
		}},
		{threshold, pickThreshold},
		{clockwork, func(a *arena) ([]entry, error) {
			return one(a.choose.race(a.best(a.byBatch, 0), mustVariant("clockwork", "clockwork", false, false)))
		}},
		{leastLoad, func(a *arena) ([]entry, error) {
			return one(a.choose.race(a.best(a.byBatch, 0), mustVariant("least-load", "least-load", false, false)))
		}},
		{published, pickKairos},
		{unmerged, func(a *arena) ([]entry, error) { return one(a.planned(true)) }},
		{ours, func(a *arena) ([]entry, error) { return one(a.planned(false)) }},
	}
}

func one(e entry, err error) ([]entry, error) { return []entry{e}, err }

// alike are the largest mixes of one type alone.
func (a *arena) alike() [][]int {
	var mixes [][]int
	for t := range a.space.types {
		mixes = append(mixes, a.space.homogeneous(t))
	}
	return mixes
}

// dearFirst are all mixes, those with most of the first type first: a queue
// that knows no sizes needs them.
func (a *arena) dearFirst() [][]int {
	mixes := make([][]int, 0, len(a.mixes))
	for i := len(a.mixes) - 1; i >= 0; i-- {
		mixes = append(mixes, a.mixes[i])
	}
	return mixes
}

// shortlist is how many mixes, best by KAIROS's bound, are tried out.
const shortlist = 10

// pickKairos takes the mix that is first by KAIROS's own bound, as published,
// and the one of the first few that carries most.
func pickKairos(a *arena) ([]entry, error) {
	v := mustVariant("kairos", "kairos", true, true)
	first := entry{counts: a.best(a.byUB, 1)[0], v: v}
	e, err := a.choose.race(a.best(a.byUB, shortlist), v)
	if err != nil || sameMix(e.counts, first.counts) {
		return []entry{e}, err
	}
	return []entry{first, e}, nil
}

func sameMix(a, b []int) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// thresholdStep is the grid of thresholds, in items.
const thresholdStep = 50

// tuned is for how many mixes the threshold is tuned.
const tuned = 3

// pickThreshold tunes the threshold by hill climbing, as DeepRecSched does,
// on each of the first few mixes by KAIROS's bound, which like it merges
// nothing.
func pickThreshold(a *arena) ([]entry, error) {
	n := a.choose.Sizes.Largest() / thresholdStep
	var best entry
	for _, counts := range a.best(a.byUB, tuned) {
		var e entry
		err := climb(n, a.safe(counts)/thresholdStep-1, func(i int) (bool, error) {
			next := entry{counts: counts, v: thresholdAt((i + 1) * thresholdStep)}
			better, err := a.choose.beats(&next, e.rate)
			if better || e.counts == nil {
				e = next
			}
			return better, err
		})
		if err != nil {
			return nil, err
		}
		if best.counts == nil || e.rate > best.rate {
			best = e
		}
	}
	return []entry{best}, nil
}

// safe is the largest size, at least a step of the grid, that every type of the
// mix answers within QoS.
func (a *arena) safe(counts []int) int {
	least := a.choose.Sizes.Largest()
	for t, truth := range a.choose.Truth {
		if counts[t] == 0 {
			continue
		}
		largest := thresholdStep
		for _, p := range truth.Points() {
			if p.P99 <= a.choose.Model.QoS {
				largest = max(largest, p.Batch)
			}
		}
		least = min(least, largest)
	}
	return least
}

// planned is Motley's policy on the mix that its planner picks.
func (a *arena) planned(alone bool) (entry, error) {
	p, err := a.choose.problem()
	if err != nil {
		return entry{}, err
	}
	v := motley(alone)
	if alone {
		p.Models[0].MaxBatch = 1
	}
	p.Models[0].Split = !alone
	p.Budget = a.space.budget
	for i := range p.Types {
		p.Types[i].Limit = a.space.most[i]
	}
	p.Candidates, p.Finals = a.candidates, finals
	p.Verify = a.choose.with(2*a.choose.Requests, a.choose.Seeds).verify(v)
	plan, err := planner.Solve(p)
	if err != nil {
		return entry{}, err
	}
	e := entry{counts: make([]int, len(a.space.types)), v: v, rate: plan.Best.Goodput}
	for i, c := range plan.Best.Mix {
		e.counts[i] = c.Total()
	}
	return e, nil
}
