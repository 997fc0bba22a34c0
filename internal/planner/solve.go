package planner

import (
	"math"
	"slices"
)

// Solve plans. Errors name the field of the problem that is at fault, or are
// ErrNoMix or ErrNotCarried, or those of Verify.
func Solve(p *Problem) (Plan, error) {
	if err := p.check(); err != nil {
		return Plan{}, err
	}
	t, err := newTable(p)
	if err != nil {
		return Plan{}, err
	}
	budget := p.Budget
	if budget == 0 {
		budget = math.Inf(1)
	}
	s := &solver{p: p, space: newSpace(p, budget), e: newEstimator(t), seen: map[string]int{}, reached: 1}
	s.judge.s = s
	if p.Rate > 0 {
		err = s.cheapest()
	} else {
		err = s.best()
	}
	if s.e.err != nil {
		err = s.e.err
	}
	if err != nil {
		return Plan{}, err
	}
	return s.plan()
}

// solver is the work on one problem.
type solver struct {
	p     *Problem
	space *space
	e     *estimator
	judge judge

	// mixes are all that were ranked, and seen their places by counts.
	mixes      []ranked
	seen       map[string]int
	instances  []float64
	key        []byte
	reached    float64 // what verified mixes reach of their estimates, in the mean
	exhaustive bool
}

// rank estimates the mix, once, and returns its place in mixes.
func (s *solver) rank(counts []int) int {
	s.key = s.key[:0]
	for _, n := range counts {
		s.key = append(s.key, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	if at, ok := s.seen[string(s.key)]; ok {
		return at
	}
	s.instances = s.space.instances(counts, s.instances)
	s.seen[string(s.key)] = len(s.mixes)
	s.mixes = append(s.mixes, ranked{slices.Clone(counts), s.space.price(counts), s.e.rate(s.instances)})
	return len(s.mixes) - 1
}

// best ranks the mixes within the budget and verifies the most promising.
func (s *solver) best() error {
	all, ok := s.space.maximalMixes()
	if ok {
		if len(all) == 0 {
			return ErrNoMix
		}
		for _, counts := range all {
			s.rank(counts)
		}
		s.exhaustive = true
	} else if err := s.search(s.space); err != nil {
		return err
	}
	order := slices.DeleteFunc(slices.Clone(s.mixes), func(r ranked) bool { return r.estimate == 0 })
	slices.SortFunc(order, byEstimate)
	if len(order) == 0 {
		return ErrNoMix
	}
	return s.judge.run(order)
}
