package planner

import (
	"math"
	"slices"

	"motley/internal/fluid"
)

// plan puts the answer together from what was ranked and measured.
func (s *solver) plan() (Plan, error) {
	p := Plan{Examined: len(s.mixes), Measured: len(s.judge.measured), Reached: s.reached, Exhaustive: s.exhaustive}
	for _, v := range s.top() {
		c := s.candidate(s.space.mix(v.counts), v.estimate)
		if v.goodput >= 0 {
			c.Goodput, c.Verified = v.goodput, true
		}
		p.Others = append(p.Others, c)
	}
	p.Best, p.Others = p.Others[0], p.Others[1:]
	if s.p.Rate > 0 {
		p.Headroom = p.Best.Goodput/s.p.Rate - 1
	}
	if s.p.Current != nil {
		s.place(&p)
	}
	money := s.space.budget
	if math.IsInf(money, 1) || s.p.Rate > 0 {
		money = p.Best.USDPerHour
	}
	r, err := s.relax(s.space, money, nil)
	if err != nil {
		return Plan{}, err
	}
	p.Relaxed, p.PerUSD = r.rate, r.perUSD
	s.explain(&p)
	return p, s.e.err
}

// top are the mixes to report, best first; unmeasured ones have a goodput of
// −1.
func (s *solver) top() []verdict {
	measured := s.judge.measured
	if s.p.Rate > 0 {
		return s.carriers()
	}
	if len(measured) > 0 {
		slices.SortStableFunc(measured, byGoodput)
		return measured
	}
	order := slices.Clone(s.mixes)
	slices.SortFunc(order, byEstimate)
	var top []verdict
	for _, r := range order[:min(len(order), s.judge.limit())] {
		if r.estimate > 0 {
			top = append(top, verdict{r, -1, false})
		}
	}
	return top
}

// candidate is what is known of a mix without measuring it.
func (s *solver) candidate(mix []Count, estimate float64) Candidate {
	c := Candidate{Mix: mix, Estimate: estimate, Goodput: estimate * s.reached}
	for j, n := range mix {
		t := &s.p.Types[j]
		c.USDPerHour += float64(n.OnDemand)*t.USDPerHour + float64(n.Spot)*t.SpotUSDPerHour
	}
	c.Bounds = s.e.bounds(instancesOf(s.p, mix))
	return c
}

// place ranks the current mix.
func (s *solver) place(p *Plan) {
	estimate := s.e.rate(instancesOf(s.p, s.p.Current))
	p.Current = s.candidate(s.p.Current, estimate)
	if s.p.Verify != nil {
		p.Current.Goodput, p.Current.Verified = s.judge.current, true
	}
	p.Rank = 1
	if !slices.ContainsFunc(s.mixes, func(r ranked) bool { return slices.Equal(s.space.mix(r.counts), s.p.Current) }) {
		p.Examined++
	}
	for _, r := range s.mixes {
		goodput := r.estimate * s.reached
		for _, v := range s.judge.measured {
			if slices.Equal(v.counts, r.counts) {
				goodput = v.goodput
			}
		}
		if goodput > p.Current.Goodput && !slices.Equal(s.space.mix(r.counts), s.p.Current) {
			p.Rank++
		}
	}
}

// explain says what the types of the best mix are for, and what to add.
func (s *solver) explain(p *Plan) {
	instances := instancesOf(s.p, p.Best.Mix)
	sol := s.e.solve(instances)
	if sol == nil {
		return
	}
	work := 0.0
	for j := range instances {
		work += sol.Load[j]
	}
	for j, n := range instances {
		if n > 0 {
			p.Uses = append(p.Uses, s.use(j, n, work, sol))
		}
	}
	p.Next = s.next(p.Best.Mix, p.Best.Estimate)
}

func (s *solver) use(j int, n, work float64, sol *fluid.Solution) Use {
	t := s.e.t
	u := Use{
		Type: j, Instances: n, Utilisation: sol.Load[j] / n, Value: sol.Price[j],
		PerUSD: sol.Price[j] / s.p.Types[j].USDPerHour,
	}
	if spot := s.p.Types[j].SpotUSDPerHour; spot > 0 {
		u.PerUSD = max(u.PerUSD, sol.Price[j]*s.p.Types[j].Availability()/spot)
	}
	if work > 0 {
		u.Work = sol.Load[j] / work
	}
	for m := range t.models {
		span := Span{Model: m}
		for i := range t.classes {
			c := &t.classes[i]
			f := sol.Flow[i*t.types+j]
			if c.model != m || f < 1e-6 {
				continue
			}
			if span.From == 0 {
				span.From = c.from
			}
			span.To = c.to
			if span.InParts == 0 {
				span.InParts = t.parts[i*t.types+j]
			}
			span.Share += f * c.share / t.models[m]
			u.Requests += f * c.share
			r := &t.runs[m*t.types+j]
			if c.items*r.perItem[entry(n)] < t.safe[i*t.types+j] {
				span.Batch = r.batch[entry(n)]
			}
		}
		if span.From > 0 {
			u.Models = append(u.Models, span)
		}
	}
	return u
}

// next is the offer that adds most per USD to the mix, whatever the budget.
func (s *solver) next(mix []Count, estimate float64) Step {
	step := Step{Type: -1}
	most := 0.0
	free := newSpace(s.p, math.Inf(1))
	counts := make([]int, len(free.offers))
	for o, f := range free.offers {
		if counts[o] = mix[f.typ].OnDemand; f.spot {
			counts[o] = mix[f.typ].Spot
		}
	}
	for o, f := range free.offers {
		counts[o]++
		if free.limited(counts) && free.floored(counts) {
			s.instances = free.instances(counts, s.instances)
			adds := s.e.rate(s.instances) - estimate
			if step.Type < 0 || adds/f.price > most {
				most = adds / f.price
				step = Step{Type: f.typ, Spot: f.spot, USDPerHour: f.price, Adds: max(adds, 0)}
			}
		}
		counts[o]--
	}
	return step
}
