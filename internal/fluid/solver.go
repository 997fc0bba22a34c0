package fluid

import (
	"fmt"
	"math"
)

// Solver solves fluid programs. It keeps its buffers, so that a program no
// larger than one before costs no allocation. The zero value is ready. It is
// not safe for concurrent use.
//
// The method is the primal simplex with generalised upper bounds: every class
// has one key type, whose flow the equation of the class determines, so that
// the basis to invert has one row per type (and one each for shedding and the
// budget), however many classes there are. Its inverse is kept, and the prices
// are its row of λ.
type Solver struct {
	sol Solution

	// The program without idle parts, in units where costs and capacities are
	// about 1. Types that have no capacity and classes that have no share are
	// left out; shedding is one type more, of cost 1.
	types, classes int // columns of cost; rows of cost
	shed           int // the type that stands for shedding; −1: none
	money          int // the row of the budget; −1: none
	typeOf         []int32
	classOf        []int32
	cost           []float64 // classes × types
	share          []float64 // sums to 1
	capacity       []float64 // of each row
	bent           []float64 // capacity, perturbed against cycling
	price          []float64 // of each type, in budgets per unit of capacity
	spare          float64   // the share that may be sacrificed
	perCost        float64   // a unit of cost here, in the problem's
	perN           float64   // a unit of capacity here, in the problem's
	perShare       float64   // a unit of share here, in the problem's
	perBudget      float64

	// The basis. Row q of inv belongs to the basic variable in place q: the flow
	// of class of[q] on type at[q], or the slack of row at[q]. Behind the
	// inverse stand two columns: the variable's value for bent and for capacity.
	rows, stride int
	key          []int32 // of each class
	of, at       []int32
	lambda       int // the place of λ
	inv          []float64
	y            []float64 // effective price of each type, at least 0
	d            []float64 // the entering column, in terms of the basis
	sumD, sumX   []float64 // of each class, over its basic flows beside the key's
	gain         []float64 // of each class, if it went elsewhere
	near         []tie     // what the first steps are chosen from
	best         []float64 // the best prices found so far, while beginning
	pi, col      []float64
	steps        int
}

const (
	slack  = -1
	lambda = -2
	// margin is by how much, relatively, another type has to be cheaper to be
	// worth a step; it bounds the error of the rate.
	margin = 1e-10
	// tiny is what a pivot has to exceed.
	tiny = 1e-11
)

// Solve returns the optimum of the program, to about nine digits.
func (s *Solver) Solve(p *Problem) (*Solution, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := s.load(p); err != nil {
		return nil, err
	}
	s.begin(p.Hint)
	s.nearTies()
	for range 3 {
		if !s.improve() {
			break
		}
		if s.report(p) < 1e-8 {
			return &s.sol, nil
		}
		if !s.refactor() {
			break
		}
	}
	return nil, ErrStalled
}

// load copies what counts of the program, scaled.
func (s *Solver) load(p *Problem) error {
	all := len(p.Capacity)
	s.typeOf, s.classOf = s.typeOf[:0], s.classOf[:0]
	s.perN, s.perShare, s.perBudget = 0, 0, 1
	if p.Price != nil {
		s.perBudget = p.Budget
	}
	for j, n := range p.Capacity {
		if n > 0 {
			s.typeOf = append(s.typeOf, int32(j))
			s.perN = max(s.perN, p.atMost(j))
		}
	}
	for i, share := range p.Share {
		if share > 0 {
			s.classOf = append(s.classOf, int32(i))
			s.perShare += share
		}
	}
	s.types, s.classes = len(s.typeOf), len(s.classOf)
	s.shed, s.money, s.spare = -1, -1, p.Shed
	if p.Shed > 0 {
		s.shed = s.types
		s.types++
	}
	s.rows = s.types
	if p.Price != nil {
		s.money = s.rows
		s.rows++
	}
	s.stride = s.rows + 2
	s.cost = sized(s.cost, s.classes*s.types)
	s.share = sized(s.share, s.classes)
	s.capacity, s.bent = sized(s.capacity, s.rows), sized(s.bent, s.rows)
	s.price = sized(s.price, s.types)

	s.perCost = 0
	hopeless, hopelessShare := 0, 0.0
	for a, i := range s.classOf {
		from, to := p.Cost[int(i)*all:int(i)*all+all], s.cost[a*s.types:(a+1)*s.types]
		least := math.Inf(1)
		for b, j := range s.typeOf {
			c := from[j]
			if !(c > 0) {
				return fmt.Errorf("cannot solve the fluid program: Cost of class %d on type %d is %v: must be over 0", i, j, c)
			}
			to[b] = c
			least = min(least, c)
		}
		s.share[a] = p.Share[i] / s.perShare
		if math.IsInf(least, 1) {
			hopeless = int(i)
			hopelessShare += s.share[a]
			continue
		}
		s.perCost += s.share[a] * least
	}
	if hopelessShare > 0 && !(hopelessShare < s.spare) || s.perCost == 0 {
		return &UnservedError{Class: hopeless}
	}
	scale := 1 / s.perCost
	for a := range s.classes {
		row := s.cost[a*s.types : (a+1)*s.types]
		for b := range row {
			row[b] *= scale
		}
		if s.shed >= 0 {
			row[s.shed] = 1
		}
	}
	for b, j := range s.typeOf {
		s.capacity[b] = p.atMost(int(j)) / s.perN
		if p.Price != nil {
			s.price[b] = p.Price[j] * s.perN / p.Budget
		}
	}
	if s.shed >= 0 {
		s.capacity[s.shed], s.price[s.shed] = 0, 0
	}
	if s.money >= 0 {
		s.capacity[s.money] = 1
	}
	// Without ties every step gains something, so that no basis comes twice.
	const golden = 0.6180339887498949
	for r := range s.rows {
		_, f := math.Modf(float64(r+1) * golden)
		s.bent[r] = s.capacity[r] + 1e-9*(1+f)*max(s.capacity[r], 1e-3)
	}
	return nil
}

// atMost is the capacity of type j, or what the budget buys twice over where
// there is no limit, which then does not bind.
func (p *Problem) atMost(j int) float64 {
	if p.Price == nil || p.Price[j] == 0 {
		return p.Capacity[j]
	}
	return min(p.Capacity[j], 2*p.Budget/p.Price[j])
}

// sized returns a slice of n elements, of undefined content, from buf if it is
// large enough.
func sized[T any](buf []T, n int) []T {
	if cap(buf) < n {
		return make([]T, n)
	}
	return buf[:n]
}
