package baseline

import (
	"math"
	"slices"

	"motley/internal/earlyexit"
)

// search finds the confidence thresholds that save most on known rows while at
// most so many answers disagree. A row exits at the first ramp where its
// confidence is at least the threshold. The problem is not convex, the ramps
// depend on each other; what is exact is the line search over all break points
// of one ramp while the others stand still. It ascends by that, coordinate by
// coordinate, from the solutions of the Lagrangian at many prices of a
// disagreement and from every single ramp, then trades disagreements between
// pairs of ramps until nothing is gained.
type search struct {
	ramps []int       // ascending
	conf  [][]float64 // by ramp of ramps, by row
	wrong [][]int8    // likewise: 1 where it disagrees
	order [][]int32   // likewise: the rows by falling confidence
	takes []float64   // by ramp of ramps, then of rows that exit nowhere
	n     int
	next  []int32 // scratch: by row, where it goes if not at the ramp in question
}

// vector holds a threshold by ramp of ramps.
type vector []float64

// value is what a vector gives: the sum that rows take less, and answers that
// disagree.
type value struct {
	saved  float64
	errors int
}

func newSearch(rows []earlyexit.Outcome, cost *earlyexit.Cost, set uint32) *search {
	s := &search{ramps: listed(set), n: len(rows), next: make([]int32, len(rows))}
	for _, r := range s.ramps {
		conf, wrong, order := make([]float64, s.n), make([]int8, s.n), make([]int32, 0, s.n)
		for i := range rows {
			conf[i] = math.Inf(-1)
			if rows[i].Signals[r].Seen() {
				conf[i] = float64(rows[i].Signals[r].Confidence)
				order = append(order, int32(i))
			}
			wrong[i] = 1 - int8(rows[i].Agree>>r&1)
		}
		slices.SortStableFunc(order, func(a, b int32) int {
			switch {
			case conf[a] > conf[b]:
				return -1
			case conf[a] < conf[b]:
				return 1
			}
			return 0
		})
		s.conf, s.wrong, s.order = append(s.conf, conf), append(s.wrong, wrong), append(s.order, order)
		s.takes = append(s.takes, Takes(cost, set, r))
	}
	s.takes = append(s.takes, Takes(cost, set, -1))
	return s
}

// never exits nowhere.
func (s *search) never() vector {
	v := make(vector, len(s.ramps))
	for j := range v {
		v[j] = math.Inf(1)
	}
	return v
}

// exit is where a row exits; len(ramps): nowhere.
func (s *search) exit(v vector, row, from int) int {
	for j := from; j < len(v); j++ {
		if s.conf[j][row] >= v[j] {
			return j
		}
	}
	return len(v)
}

func (s *search) errs(row, exit int) int {
	if exit == len(s.ramps) {
		return 0
	}
	return int(s.wrong[exit][row])
}

func (s *search) value(v vector) value {
	var sum value
	for i := range s.n {
		e := s.exit(v, i, 0)
		sum.saved += 1 - s.takes[e]
		sum.errors += s.errs(i, e)
	}
	return sum
}

// line sets v[j] to the break point that scores best and returns the value
// there. better compares the value at a break point with the best one so far.
func (s *search) line(v vector, j int, better func(a, b value) bool) value {
	var at value
	for i := range s.n {
		if e := s.exit(v[:j], i, 0); e < j {
			s.next[i] = -1 // never comes here
			at.saved += 1 - s.takes[e]
			at.errors += s.errs(i, e)
			continue
		}
		e := s.exit(v, i, j+1)
		s.next[i] = int32(e)
		at.saved += 1 - s.takes[e]
		at.errors += s.errs(i, e)
	}
	best, threshold := at, math.Inf(1)
	order, conf := s.order[j], s.conf[j]
	for k, i := range order {
		if e := s.next[i]; e >= 0 {
			at.saved += s.takes[e] - s.takes[j]
			at.errors += int(s.wrong[j][i]) - s.errs(int(i), int(e))
		}
		if k+1 < len(order) && conf[order[k+1]] == conf[i] {
			continue
		}
		if better(at, best) {
			best, threshold = at, conf[i]
		}
	}
	v[j] = threshold
	return best
}

// within prefers vectors with at most most errors, and of them what saves more.
func within(most int) func(a, b value) bool {
	return func(a, b value) bool {
		if (a.errors <= most) != (b.errors <= most) {
			return a.errors <= most
		}
		if a.errors > most {
			return a.errors < b.errors
		}
		return a.saved > b.saved+slack || a.saved > b.saved-slack && a.errors < b.errors
	}
}

// priced prefers what saves more after paying for errors.
func priced(price float64) func(a, b value) bool {
	return func(a, b value) bool {
		return a.saved-price*float64(a.errors) > b.saved-price*float64(b.errors)+slack
	}
}

// ascend searches line by line, the last ramp first, until nothing changes.
func (s *search) ascend(v vector, better func(a, b value) bool) value {
	best := s.value(v)
	for range 20 {
		before := best
		for j := len(v) - 1; j >= 0; j-- {
			best = s.line(v, j, better)
		}
		if !better(best, before) {
			break
		}
	}
	return best
}

// prices is how many prices of a disagreement are tried, each half of the one
// before, from more than a whole run on.
const prices = 24

// best is the best vector found with at most most errors.
func (s *search) best(most int) (vector, value) {
	feasible := within(most)
	v := s.never()
	top, topped := s.value(v), slices.Clone(v)
	try := func(v vector) {
		v = slices.Clone(v)
		if got := s.ascend(v, feasible); feasible(got, top) {
			top, topped = got, v
		}
	}
	for j := range s.ramps { // each ramp first, then the others
		v := s.never()
		s.line(v, j, feasible)
		try(v)
	}
	price := 2.0 * float64(max(1, s.n))
	for range prices {
		price /= 2
		if got := s.ascend(v, priced(price)); got.errors <= most {
			try(v)
			continue
		}
		// The solutions jump over the bound: refine between them, from the safe side.
		low, high := price, 2*price
		for range 8 {
			middle := (low + high) / 2
			w := s.never()
			if got := s.ascend(w, priced(middle)); got.errors > most {
				low = middle
				continue
			}
			high = middle
			try(w)
		}
		break
	}
	for s.trade(topped, &top, most) {
	}
	return topped, top
}

// levels is how many thresholds of a ramp a trade tries.
const levels = 48

// trade moves one ramp's threshold to each of some levels and lets another one
// be best beside it. It reports whether something was gained.
func (s *search) trade(v vector, top *value, most int) bool {
	feasible := within(most)
	gained := false
	for a := range v {
		for b := range v {
			if a == b {
				continue
			}
			for _, level := range s.levels(a, v[a]) {
				w := slices.Clone(v)
				w[a] = level
				s.line(w, b, feasible)
				if got := s.line(w, a, feasible); feasible(got, *top) && got.saved > top.saved+slack {
					copy(v, w)
					*top, gained = got, true
				}
			}
		}
	}
	return gained
}

// levels are thresholds of a ramp: all where there are few, else those near the
// present one and a few over the whole range.
func (s *search) levels(j int, now float64) []float64 {
	order, conf := s.order[j], s.conf[j]
	points := []float64{math.Inf(1)}
	if len(order) <= levels {
		for _, i := range order {
			points = append(points, conf[i])
		}
		return slices.Compact(points)
	}
	at, _ := slices.BinarySearchFunc(order, now, func(i int32, t float64) int {
		if conf[i] > t {
			return -1
		}
		return 1
	})
	for k := range levels / 4 { // steps that grow, to both sides
		step := 1 << k * len(order) / 16384
		for _, to := range []int{at - step - k, at + step + k} {
			if to >= 0 && to < len(order) {
				points = append(points, conf[order[to]])
			}
		}
	}
	for k := range levels / 4 {
		points = append(points, conf[order[k*len(order)/(levels/4)]])
	}
	slices.Sort(points)
	return slices.Compact(points)
}

// thresholds spreads a vector over all ramps of a model.
func (s *search) thresholds(v vector, count int) []float64 {
	all := make([]float64, count)
	for r := range all {
		all[r] = math.Inf(1)
	}
	for j, r := range s.ramps {
		all[r] = v[j]
	}
	return all
}
