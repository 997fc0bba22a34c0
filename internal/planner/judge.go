package planner

import (
	"cmp"
	"fmt"
	"slices"
)

// judge verifies candidates.
type judge struct {
	s        *solver
	measured []verdict // in the order of measurement
	current  float64   // of Problem.Current
}

// verdict is a measured mix.
type verdict struct {
	ranked
	goodput float64
	final   bool
}

func (j *judge) limit() int {
	if n := j.s.p.Candidates; n > 0 {
		return n
	}
	return defaultCandidates
}

// run verifies the most promising of the mixes, best first: most of the
// candidates are picked by estimate and so that they differ, the others by
// what was learned from these.
func (j *judge) run(order []ranked) error {
	if j.s.p.Verify == nil {
		return nil
	}
	for _, part := range []float64{0.1, 0.5, 0.8, 1} {
		n := int(part*float64(j.limit())+0.5) - len(j.measured)
		if err := j.measure(j.pick(order, n), false); err != nil {
			return err
		}
	}
	return j.finals()
}

// pick chooses n mixes that were not measured yet: again and again the one
// with the best prospect.
func (j *judge) pick(order []ranked, n int) []ranked {
	const window = 2000 // of these a mix is never worth more than its estimate
	order = order[:min(len(order), window)]
	var picked []ranked
	taken := make([]bool, len(order))
	near := make([]float64, len(order)) // to the nearest that is picked, now or before
	for i := range order {
		near[i] = 1
		for k := range j.measured {
			near[i] = min(near[i], j.s.apart(&order[i], &j.measured[k].ranked))
		}
		taken[i] = near[i] == 0
	}
	for len(picked) < n {
		best, most := -1, 0.0
		for i := range order {
			if taken[i] {
				continue
			}
			if v := j.prospect(&order[i], near[i]); best < 0 || v > most {
				best, most = i, v
			}
		}
		if best < 0 {
			break
		}
		taken[best] = true
		picked = append(picked, order[best])
		for i := range order {
			near[i] = min(near[i], j.s.apart(&order[i], &order[best]))
		}
	}
	return picked
}

// apart is how much of the money two mixes spend on different types: 0 … 1.
func (s *solver) apart(a, b *ranked) float64 {
	differ := 0.0
	for o := range a.counts {
		d := float64(a.counts[o]-b.counts[o]) * s.space.offers[o].price
		differ += max(d, -d)
	}
	return differ / (a.usd + b.usd)
}

// doubt is by how much what a mix reaches of its estimate is off, all of it
// for mixes that have nothing in common with a measured one.
const doubt = 0.25

// prospect is what a mix may well carry: its estimate times what mixes like it
// reached of theirs, and an allowance for how unlike they are.
func (j *judge) prospect(r *ranked, near float64) float64 {
	return r.estimate * (j.reached(r) + doubt*near)
}

// reached is what measured mixes reach of their estimates, the nearest
// counting most; 1 before anything is measured.
func (j *judge) reached(r *ranked) float64 {
	sum, weight := 0.0, 0.0
	for k := range j.measured {
		v := &j.measured[k]
		d := j.s.apart(r, &v.ranked) + 0.02
		w := 1 / (d * d)
		sum += w * v.goodput / v.estimate
		weight += w
	}
	if weight == 0 {
		return 1
	}
	return sum / weight
}

// measure verifies the mixes; finals replace what was measured before.
func (j *judge) measure(mixes []ranked, final bool) error {
	withCurrent := !final && j.s.p.Current != nil && len(j.measured) == 0
	if len(mixes) == 0 && !withCurrent {
		return nil
	}
	s := j.s
	var trials []Trial
	var worth []float64 // what the instances' absences leave of the throughput
	add := func(mix []Count, estimate, near float64) {
		counts, whole := make([]int, len(mix)), make([]float64, len(mix))
		absent := false
		for k, c := range mix {
			counts[k], whole[k] = c.Total(), float64(c.Total())
			absent = absent || c.Spot > 0 && s.p.Types[k].Availability() < 1
		}
		w := 1.0
		if absent {
			if full := s.e.rate(whole); full > 0 {
				w = estimate / full
			}
		}
		trials = append(trials, Trial{Mix: counts, Near: near / w, Final: final})
		worth = append(worth, w)
	}
	for i := range mixes {
		add(s.space.mix(mixes[i].counts), mixes[i].estimate, mixes[i].estimate*j.reached(&mixes[i]))
	}
	if withCurrent {
		estimate := s.e.rate(instancesOf(s.p, s.p.Current))
		add(s.p.Current, estimate, estimate)
	}
	rates, err := s.p.Verify(trials)
	if err != nil {
		return err
	}
	if len(rates) != len(trials) {
		return fmt.Errorf("cannot plan: Verify gave %d figures for %d trials", len(rates), len(trials))
	}
	for i, rate := range rates {
		if !(rate >= 0) {
			return fmt.Errorf("cannot plan: Verify says that %v carries %v requests/s", trials[i].Mix, rate)
		}
		rate *= worth[i]
		if i == len(mixes) {
			j.current = rate
			continue
		}
		v := verdict{mixes[i], rate, final}
		at := slices.IndexFunc(j.measured, func(m verdict) bool { return slices.Equal(m.counts, v.counts) })
		if at < 0 {
			j.measured = append(j.measured, v)
		} else {
			j.measured[at] = v
		}
	}
	sum := 0.0
	for _, v := range j.measured {
		sum += v.goodput / v.estimate
	}
	if len(j.measured) > 0 {
		s.reached = sum / float64(len(j.measured))
	}
	return nil
}

// finals measures the best again, and takes those that were for the better
// known: the others stay behind them.
func (j *judge) finals() error {
	n := min(j.s.p.Finals, len(j.measured))
	if n == 0 {
		return nil
	}
	slices.SortStableFunc(j.measured, byGoodput)
	var mixes []ranked
	for _, v := range j.measured[:n] {
		mixes = append(mixes, v.ranked)
	}
	return j.measure(mixes, true)
}

func byGoodput(a, b verdict) int {
	if a.final != b.final {
		if a.final {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(b.goodput, a.goodput), byEstimate(a.ranked, b.ranked))
}

func instancesOf(p *Problem, mix []Count) []float64 {
	all := make([]float64, len(mix))
	for j, c := range mix {
		all[j] = float64(c.OnDemand)
		if c.Spot > 0 {
			all[j] += float64(c.Spot) * p.Types[j].Availability()
		}
	}
	return all
}
