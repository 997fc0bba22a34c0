package planner

import (
	"fmt"
	"math"
)

// BoundsOf are the bounds of a mix of so many instances of each type, on
// demand all of them.
func BoundsOf(p *Problem, mix []int) (Bounds, error) {
	if err := p.checkMix(mix); err != nil {
		return Bounds{}, err
	}
	t, err := newTable(p)
	if err != nil {
		return Bounds{}, err
	}
	instances := make([]float64, len(mix))
	for j, n := range mix {
		instances[j] = float64(n)
	}
	e := newEstimator(t)
	b := e.bounds(instances)
	return b, e.err
}

func (p *Problem) checkMix(mix []int) error {
	if p.Budget == 0 && p.Rate == 0 {
		q := *p
		q.Budget = 1 // it is not asked for here
		p = &q
	}
	if err := p.check(); err != nil {
		return err
	}
	if len(mix) != len(p.Types) {
		return fmt.Errorf("cannot plan: the mix has %d types of %d", len(mix), len(p.Types))
	}
	for j, n := range mix {
		if n < 0 {
			return bad(fmt.Sprintf("the mix's count of Types[%d] (%s)", j, p.Types[j].Name), n, "at least 0")
		}
	}
	return nil
}

// bounds leaves the estimator with its costs undone.
func (e *estimator) bounds(instances []float64) Bounds {
	t := e.t
	b := Bounds{Kairos: t.kairos(instances), Batching: e.batching(instances)}
	cost := e.fluid.Cost
	shed := e.fluid.Shed
	e.fluid.Cost = t.lone
	b.Shed = e.rateOf(instances)
	e.fluid.Shed = 0
	b.LP = e.rateOf(instances)
	e.fluid.Cost, e.fluid.Shed = cost, shed
	for i := range t.classes {
		c := &t.classes[i]
		for j := range t.types {
			k := i*t.types + j
			cost[k] = t.lone[k]
			if !math.IsInf(cost[k], 1) || t.p.Models[c.model].Split {
				cost[k] = min(cost[k], c.items*t.runs[c.model*t.types+j].item)
			}
		}
	}
	b.Merged = e.rateOf(instances)
	for j := range e.at {
		e.at[j] = -1
	}
	return b
}

// rateOf solves the program as it stands.
func (e *estimator) rateOf(instances []float64) float64 {
	copy(e.fluid.Capacity, instances)
	e.fluid.Hint = nil
	s, err := e.solver.Solve(&e.fluid)
	if err != nil {
		e.note(err)
		return 0
	}
	return s.Rate
}

// batching is Σ_j N_j / min_B(l_j(B)/B) / E[items] for one model. Several
// models share the types in whichever way is best. It does not apply where
// requests run whole that are larger than any batch that is merged.
func (e *estimator) batching(instances []float64) float64 {
	t := e.t
	for i := range t.p.Models {
		if m := &t.p.Models[i]; !m.Split && maxBatch(m) < m.Sizes[len(m.Sizes)-1] {
			return 0
		}
	}
	if len(t.models) == 1 {
		sum := 0.0
		for j, n := range instances {
			sum += n / t.runs[j].item // 0 of a type that runs none
		}
		return sum / t.mean[0]
	}
	whole := &table{p: t.p, types: t.types, share: t.models, runs: t.runs, models: t.models, mean: t.mean}
	w := newEstimator(whole)
	w.fluid.Cost = nil
	for m := range t.models {
		for j := range t.types {
			w.fluid.Cost = append(w.fluid.Cost, t.mean[m]*t.runs[m*t.types+j].item)
		}
	}
	rate := w.rateOf(instances)
	if e.err == nil {
		e.err = w.err
	}
	return rate
}

// kairos is the throughput bound by which KAIROS chooses configurations: its
// base type runs any size, the others those up to the largest, s, that one of
// them runs within QoS, as they come. With f the share of requests up to s and
// τ that of the base's time which they take, the base runs the rest at Q_b ·
// (1−f)/(1−τ) per instance.
func (t *table) kairos(instances []float64) float64 {
	if len(t.models) != 1 {
		return 0
	}
	m := &t.p.Models[0]
	base := t.p.Base - 1
	if base < 0 {
		base = t.fastest(instances)
	}
	if base < 0 || instances[base] == 0 {
		return 0
	}
	if mean, _ := t.p.Latency(0, base, m.Sizes[len(m.Sizes)-1]); mean == 0 || mean > m.QoS {
		return 0 // it does not run any size
	}
	s := 0
	for j, n := range instances {
		if j == base || n == 0 {
			continue
		}
		for _, items := range m.Sizes {
			if mean, _ := t.p.Latency(0, j, items); mean > 0 && mean <= m.QoS {
				s = max(s, items)
			}
		}
	}
	small, all, time, smallTime := 0.0, 0.0, 0.0, 0.0
	aux := make([]float64, len(instances)) // Σ p·l over the sizes up to s
	for i, items := range m.Sizes {
		mean, _ := t.p.Latency(0, base, items)
		all += m.P[i]
		time += m.P[i] * mean.Seconds()
		if items > s {
			continue
		}
		small += m.P[i]
		smallTime += m.P[i] * mean.Seconds()
		for j := range aux {
			l, _ := t.p.Latency(0, j, items)
			aux[j] += m.P[i] * l.Seconds()
		}
	}
	f := small / all
	nb, qb := instances[base], all/time
	if f == 0 {
		return nb * qb
	}
	qa := 0.0
	for j, n := range instances {
		if j != base && aux[j] > 0 {
			qa += n * small / aux[j]
		}
	}
	if f == 1 {
		return qa + nb*qb
	}
	large := nb * (all - small) / (time - smallTime) // N_b · Q_b · (1−f)/(1−τ)
	wanted := qa * (1 - f) / f
	if wanted >= large {
		return large / (1 - f)
	}
	return qa/f + nb*qb*(1-wanted/large)
}

// fastest is the type with instances that is fastest with the largest request,
// −1 if none runs it.
func (t *table) fastest(instances []float64) int {
	m := &t.p.Models[0]
	best, least := -1, 0.0
	for j, n := range instances {
		if n == 0 {
			continue
		}
		mean, _ := t.p.Latency(0, j, m.Sizes[len(m.Sizes)-1])
		if mean > 0 && (best < 0 || mean.Seconds() < least) {
			best, least = j, mean.Seconds()
		}
	}
	return best
}
