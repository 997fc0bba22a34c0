package planner

import (
	"errors"
	"math"

	"motley/internal/fluid"
)

// estimator computes what mixes carry by the batching-aware fluid program: a
// class occupies a type for the smaller of what it takes alone and its items'
// share of the batch to reckon with there. It is used for one mix after the
// other and starts from the prices of the one before.
type estimator struct {
	t      *table
	solver fluid.Solver
	fluid  fluid.Problem
	at     []int // which entry of runs the costs of each type are for; −1: none
	hint   []float64
	err    error // the first fault of the solver
}

func newEstimator(t *table) *estimator {
	e := &estimator{t: t, at: make([]int, t.types), hint: make([]float64, t.types)}
	e.fluid = fluid.Problem{
		Share: t.share, Cost: make([]float64, len(t.classes)*t.types),
		Capacity: make([]float64, t.types), Shed: t.shed,
	}
	for j := range e.at {
		e.at[j] = -1
	}
	return e
}

// entry is the place in runs for so many instances.
func entry(instances float64) int {
	return min(max(int(instances+1e-9), 1), manyWorkers) - 1
}

// reckon sets the costs of a type to those of so many instances.
func (e *estimator) reckon(typ int, instances float64) {
	n := entry(instances)
	if e.at[typ] == n {
		return
	}
	e.at[typ] = n
	t := e.t
	for i := range t.classes {
		c := &t.classes[i]
		e.fluid.Cost[i*t.types+typ] = t.cost(i, typ, t.runs[c.model*t.types+typ].perItem[n])
	}
}

// cost is what class i costs on a type where an item of a batch costs perItem.
func (t *table) cost(i, typ int, perItem float64) float64 {
	k := i*t.types + typ
	if math.IsInf(t.safe[k], 1) {
		return t.safe[k]
	}
	return min(t.safe[k], t.classes[i].items*perItem)
}

// solve estimates a mix of so many instances of each type (spot ones by their
// availability). nil: it cannot serve all classes.
func (e *estimator) solve(instances []float64) *fluid.Solution {
	some := false
	for j, n := range instances {
		e.reckon(j, n)
		e.fluid.Capacity[j] = n
		some = some || n > 0
	}
	if !some || !e.t.joins(instances) {
		return nil
	}
	e.fluid.Hint = e.hint
	s, err := e.solver.Solve(&e.fluid)
	if errors.Is(err, fluid.ErrStalled) {
		e.fluid.Hint = nil
		s, err = e.solver.Solve(&e.fluid)
	}
	if err != nil {
		e.note(err)
		return nil
	}
	copy(e.hint, s.Price)
	return s
}

// note keeps the first error that is not that a mix cannot serve a class.
func (e *estimator) note(err error) {
	var unserved *fluid.UnservedError
	if e.err == nil && !errors.As(err, &unserved) {
		e.err = err
	}
}

// rate is what a mix carries, 0 if it cannot serve all classes.
func (e *estimator) rate(instances []float64) float64 {
	s := e.solve(instances)
	if s == nil {
		return 0
	}
	return s.Rate
}
