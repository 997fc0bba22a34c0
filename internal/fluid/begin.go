package fluid

import (
	"cmp"
	"math"
	"slices"
)

// tie is a class that costs nearly as much on another type as where it goes.
type tie struct {
	class, to int32
	ratio     float64
}

// begin sets the first basis: each class goes where prices that are about
// right send it, and λ grows until the first row is full.
func (s *Solver) begin(hint []float64) {
	s.key = sized(s.key, s.classes)
	s.of, s.at = sized(s.of, s.rows), sized(s.at, s.rows)
	s.inv = sized(s.inv, s.rows*s.stride)
	s.y, s.d = sized(s.y, s.types), sized(s.d, s.rows)
	s.sumD, s.sumX = sized(s.sumD, s.classes), sized(s.sumX, s.classes)
	s.best = sized(s.best, s.types)
	s.pi, s.col = sized(s.pi, s.rows), sized(s.col, s.rows)
	s.gain = sized(s.gain, s.classes)
	s.steps = 0
	if !s.hinted(hint) {
		s.guess()
		s.settle()
	}
	copy(s.best, s.y)

	clear(s.inv)
	s.assign()
	out, least := -1, math.Inf(1)
	for r := range s.rows {
		s.of[r], s.at[r] = slack, int32(r)
		row := s.inv[r*s.stride : (r+1)*s.stride]
		row[r] = 1
		row[s.rows], row[s.rows+1] = s.bent[r], s.capacity[r]
		if s.d[r] > tiny && s.bent[r] < least*s.d[r] {
			out, least = r, s.bent[r]/s.d[r]
		}
	}
	s.lambda = out
	s.of[out], s.at[out] = lambda, 0
	s.eliminate(out)
}

// hinted sets y to the hint. A price of 0 says nothing of where classes go,
// and without any others neither does the hint.
func (s *Solver) hinted(hint []float64) bool {
	if hint == nil {
		return false
	}
	most := 0.0
	for b, j := range s.typeOf {
		s.y[b] = hint[j]
		most = max(most, hint[j])
	}
	if !(most > 0) || math.IsInf(most, 1) {
		return false
	}
	for b := range s.typeOf {
		s.y[b] = max(s.y[b], most*1e-6)
	}
	if s.shed >= 0 {
		s.y[s.shed] = math.Inf(1)
	}
	return true
}

// guess sets y to prices at which all types would earn alike on the classes
// that they can serve.
func (s *Solver) guess() {
	clear(s.y)
	clear(s.d)
	for a := range s.classes {
		row := s.cost[a*s.types : a*s.types+len(s.typeOf)]
		least := math.Inf(1)
		for _, c := range row {
			least = min(least, c)
		}
		for b, c := range row {
			if !math.IsInf(c, 1) {
				s.d[b] += s.share[a] * c
				s.y[b] += s.share[a] * least
			}
		}
	}
	for b := range s.typeOf {
		if s.d[b] > 0 {
			s.y[b] /= s.d[b]
		}
	}
	if s.shed >= 0 {
		s.y[s.shed] = math.Inf(1)
	}
}

// settle improves the prices by column generation over whole assignments: the
// same program, as a mixture of ways to send every class somewhere, has one
// row per type and none per class. The prices of the mixture found so far say
// which assignment to add; being wild at first they are mixed with the best
// prices so far. It ends when the best prices are within a part in some
// thousands of optimal, since single classes are the better steps from there.
func (s *Solver) settle() {
	n, w := s.rows, s.stride
	clear(s.inv)
	clear(s.pi)
	for r := range n {
		s.inv[r*w+r], s.inv[r*w+n] = 1, s.bent[r]
	}
	least, mixed := math.Inf(1), 0.0
	copy(s.best, s.y)
	for range 40 * n {
		num, worth := s.assign()
		if worth > 0 && num < least*worth {
			least = num / worth
			for b, y := range s.y {
				s.best[b] = y / worth
			}
		}
		if mixed >= least*(1-settled) {
			break
		}
		gained := 1.0
		for r, a := range s.d {
			gained -= s.pi[r] * a
		}
		if gained > margin {
			// The column of the assignment, in terms of the basis.
			copy(s.col, s.d)
			for q := range n {
				row := s.inv[q*w : q*w+n]
				v := 0.0
				for r, a := range s.col {
					v += row[r] * a
				}
				s.d[q] = v
			}
			if !s.admit(gained) {
				break
			}
			for s.dropNegative() {
			}
			mixed = 0
			for r, p := range s.pi {
				mixed += p * s.bent[r]
			}
			s.blend(0.8)
		} else {
			s.blend(0)
		}
	}
	copy(s.y, s.best)
}

const settled = 1e-4

// blend sets y to a mixture of the best prices and those of the basis.
func (s *Solver) blend(best float64) {
	for b := range s.y {
		y := s.pi[b]
		if s.money >= 0 {
			y += s.price[b] * s.pi[s.money]
		}
		s.y[b] = best*s.best[b] + (1-best)*max(y, 0)
	}
}

// admit brings the column d, which gains that much per unit, into the mixture.
func (s *Solver) admit(gained float64) bool {
	n, w := s.rows, s.stride
	out, least := -1, math.Inf(1)
	for q, d := range s.d {
		if d > tiny && s.inv[q*w+n] < least*d {
			out, least = q, s.inv[q*w+n]/d
		}
	}
	if out < 0 {
		return false
	}
	f := gained / s.d[out]
	for r, v := range s.inv[out*w : out*w+n] {
		s.pi[r] += f * v
	}
	s.eliminate(out)
	return true
}

// dropNegative lets the slack of the row in whose price is most negative.
func (s *Solver) dropNegative() bool {
	worst, least := -1, -1e-9
	for r, p := range s.pi {
		if p < least {
			worst, least = r, p
		}
	}
	if worst < 0 {
		return false
	}
	for q := range s.rows {
		s.d[q] = s.inv[q*s.stride+worst]
	}
	return s.admit(-s.pi[worst])
}

// assign sends each class where it is cheapest at y and sets d to the rows'
// loads at λ = 1. It returns what all capacity and what a request are worth;
// through each other they bound the rate.
func (s *Solver) assign() (capacity, request float64) {
	clear(s.d)
	for a := range s.classes {
		row := s.cost[a*s.types : (a+1)*s.types]
		best := cheapest(row, s.y)
		least := s.y[best] * row[best]
		if !(least <= math.MaxFloat64) {
			// Only shedding is left; load has seen to it that there is any.
			best, least = s.shed, 0
		}
		request += s.share[a] * least
		s.key[a] = int32(best)
		s.d[best] += s.share[a] * row[best]
	}
	if s.shed >= 0 {
		s.d[s.shed] -= s.spare
		if y := s.y[s.shed]; !math.IsInf(y, 1) {
			request -= s.spare * y
		}
	}
	if s.money < 0 {
		for b := range s.typeOf {
			capacity += s.capacity[b] * s.y[b]
		}
		return capacity, request
	}
	// The rent is as high as the type that is the best bargain allows; the
	// dearer ones' own rows bear the rest.
	for b := range s.typeOf {
		s.d[s.money] += s.d[b] * s.price[b]
	}
	return s.bill(), request
}

// nearTies lists what the first steps are chosen from: the second choice of
// every class, nearest first. Most classes that the optimum splits are among
// the first, whereas the prices of the first bases, where most types have
// time left, would send them anywhere.
func (s *Solver) nearTies() {
	s.near = s.near[:0]
	for a := range s.classes {
		row := s.cost[a*s.types : (a+1)*s.types]
		key := int(s.key[a])
		best, least := -1, math.Inf(1)
		for b, y := range s.best {
			if w := y * row[b]; b != key && w < least {
				best, least = b, w
			}
		}
		if best >= 0 {
			s.near = append(s.near, tie{int32(a), int32(best), least / (s.best[key] * row[key])})
		}
	}
	slices.SortFunc(s.near, func(a, b tie) int { return cmp.Compare(a.ratio, b.ratio) })
}

// bill is what the most valuable capacity that the budget buys is worth at y:
// the types that give most for their price first.
func (s *Solver) bill() float64 {
	budget, worth := 1.0, 0.0
	copy(s.col, s.capacity)
	for budget > 0 {
		best := -1
		for b := range s.typeOf {
			if s.col[b] > 0 && (best < 0 || s.y[b]*s.price[best] > s.y[best]*s.price[b]) {
				best = b
			}
		}
		if best < 0 {
			break
		}
		n := s.col[best]
		if s.price[best] > 0 {
			n = min(n, budget/s.price[best])
		}
		worth += n * s.y[best]
		budget -= n * s.price[best]
		s.col[best] = 0
	}
	return worth
}

// cheapest returns the type that is cheapest at y, the first but for rounding.
// It is where most of the time goes, so there is no branch to mispredict:
// positive floats order like their bits, and the lowest of these make place
// for the index. What is not a number or infinite comes last.
func cheapest(row, y []float64) int {
	const mask = 1<<16 - 1 // costs half a digit more than margin leaves
	y = y[:len(row)]
	least := uint64(math.MaxUint64)
	for b, c := range row {
		least = min(least, math.Float64bits(c*y[b])&^mask|uint64(b))
	}
	return int(least & mask)
}
