package fluid

import "math"

// report reads the solution off the basis, in the problem's units, and returns
// its largest relative error: by how much the dual bound is over the rate, or
// a row over its capacity.
func (s *Solver) report(p *Problem) float64 {
	all := len(p.Capacity)
	o := &s.sol
	o.Steps = s.steps
	o.Price, o.Load = sized(o.Price, all), sized(o.Load, all)
	o.Worth = sized(o.Worth, len(p.Share))
	o.Flow = sized(o.Flow, len(p.Share)*all)
	clear(o.Flow)
	clear(o.Load)

	rate := s.inv[s.lambda*s.stride+s.rows+1]
	dual, error := s.bound()
	error = max(error, math.Abs(dual-rate)/rate)
	scale := s.perN / (s.perCost * s.perShare)
	o.Rate = dual * scale

	for b, j := range s.typeOf {
		o.Price[j] = s.y[b] / (s.perCost * s.perShare)
	}
	o.Dearest, o.Money = 0, 0
	if s.shed >= 0 {
		o.Dearest = s.y[s.shed] / s.perShare
	}
	if s.money >= 0 {
		pi := s.inv[s.lambda*s.stride+s.money]
		o.Money = max(pi, 0) * scale / p.Budget
	}
	s.flows(p, rate)
	s.worths(p)
	return error
}

// bound is the dual bound at the prices, and the largest relative excess of
// a row's load over its capacity.
func (s *Solver) bound() (dual, excess float64) {
	pi := s.inv[s.lambda*s.stride : s.lambda*s.stride+s.rows]
	for r, n := range s.capacity {
		dual += n * max(pi[r], 0)
	}
	worth := 0.0
	for a := range s.classes {
		row := s.cost[a*s.types : (a+1)*s.types]
		least := math.Inf(1)
		for b, y := range s.y {
			if w := y * row[b]; w < least {
				least = w
			}
		}
		worth += s.share[a] * least
	}
	if s.shed >= 0 {
		worth -= s.spare * s.y[s.shed]
	}
	for q, a := range s.of {
		if a == slack {
			excess = max(excess, -s.inv[q*s.stride+s.rows+1])
		}
	}
	return dual / worth, excess
}

// flows fills Flow and Load. Tiny negative flows, which the perturbation and
// rounding leave, are 0.
func (s *Solver) flows(p *Problem, rate float64) {
	all := len(p.Capacity)
	o := &s.sol
	for a, i := range s.classOf {
		s.sumX[a] = 1
		if k := int(s.key[a]); k != s.shed {
			o.Flow[int(i)*all+int(s.typeOf[k])] = 1
		}
	}
	for q, a := range s.of {
		if a < 0 {
			continue
		}
		part := s.inv[q*s.stride+s.rows+1] / (rate * s.share[a])
		part = min(max(part, 0), s.sumX[a])
		s.sumX[a] -= part
		i := int(s.classOf[a])
		if k := int(s.key[a]); k != s.shed {
			o.Flow[i*all+int(s.typeOf[k])] = s.sumX[a]
		}
		if b := int(s.at[q]); b != s.shed {
			o.Flow[i*all+int(s.typeOf[b])] = part
		}
	}
	for a, i := range s.classOf {
		row := o.Flow[int(i)*all : (int(i)+1)*all]
		for b, j := range s.typeOf {
			if f := row[j]; f > 0 {
				o.Load[j] += f * s.share[a] * rate * s.cost[a*s.types+b] * s.perN
			}
		}
	}
}

// worths fills Worth, and the prices of types without an instance: as high as
// the dearest use that they would be put to.
func (s *Solver) worths(p *Problem) {
	all := len(p.Capacity)
	o := &s.sol
	for i := range p.Share {
		row := p.Cost[i*all : (i+1)*all]
		best, least := -1, math.Inf(1)
		for _, j := range s.typeOf {
			if w := o.Price[j] * row[j]; w < least {
				best, least = int(j), w
			}
		}
		if p.Share[i] == 0 && best >= 0 {
			o.Flow[i*all+best] = 1
		}
		if s.shed >= 0 {
			least = min(least, o.Dearest)
		}
		o.Worth[i] = least
	}
	for j, n := range p.Capacity {
		if n > 0 {
			continue
		}
		o.Price[j] = 0
		for i, share := range p.Share {
			if c := p.Cost[i*all+j]; share > 0 && c > 0 && !math.IsInf(c, 1) {
				o.Price[j] = max(o.Price[j], o.Worth[i]/c)
			}
		}
	}
}
