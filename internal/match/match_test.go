package match

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var inf = math.Inf(1)

func TestSolve(t *testing.T) {
	for _, c := range []struct {
		name       string
		rows, cols int
		cost       []float64
		want       []int
	}{
		{"nothing", 0, 0, nil, nil},
		{"no rows", 0, 3, nil, nil},
		{"no columns", 2, 0, nil, []int{-1, -1}},
		{"one", 1, 1, []float64{5}, []int{0}},
		{"one forbidden", 1, 1, []float64{inf}, []int{-1}},
		{"square", 3, 3, []float64{4, 1, 3, 2, 0, 5, 3, 2, 2}, []int{1, 0, 2}},
		{"wide", 2, 3, []float64{9, 1, 8, 9, 2, 4}, []int{1, 2}},
		{"tall", 3, 2, []float64{9, 9, 1, 8, 2, 4}, []int{-1, 0, 1}},
		{"negative", 2, 2, []float64{-1, -5, -2, -9}, []int{0, 1}},
		{"equal costs go by index", 3, 3, make([]float64, 9), []int{0, 1, 2}},
		{"of equal rows the first", 3, 2, make([]float64, 6), []int{0, 1, -1}},
		{"of equal columns the first", 2, 3, make([]float64, 6), []int{0, 1}},
		{"forbidden row", 3, 3, []float64{1, 2, 3, inf, inf, inf, 3, 1, 2}, []int{0, -1, 1}},
		{"two rows want one column", 2, 2, []float64{1, inf, 3, inf}, []int{0, -1}},
		{"the later is cheaper", 2, 2, []float64{3, inf, 1, inf}, []int{-1, 0}},
		{"as many as can be, before the cost", 2, 2, []float64{0, 1000, 1, inf}, []int{1, 0}},
		{"NaN and -Inf are forbidden", 2, 2, []float64{math.NaN(), 7, math.Inf(-1), inf}, []int{1, -1}},
		{"so they are in a tall one", 3, 1, []float64{math.NaN(), 7, math.Inf(-1)}, []int{-1, 0, -1}},
	} {
		var s Solver
		if got := s.Solve(c.cost, c.rows, c.cols); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestSolveRefuses(t *testing.T) {
	for _, c := range [][3]int{{3, 2, 2}, {0, -1, 0}, {1, -1, -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d costs for %d × %d: no panic", c[0], c[1], c[2])
				}
			}()
			new(Solver).Solve(make([]float64, c[0]), c[1], c[2])
		}()
	}
}

// brute tries every assignment: the most rows, then the least total.
func brute(cost []float64, rows, cols int) (total float64, assigned int) {
	total = inf
	taken := make([]bool, cols)
	var try func(i, n int, sum float64)
	try = func(i, n int, sum float64) {
		if i == rows {
			if n > assigned || n == assigned && sum < total {
				assigned, total = n, sum
			}
			return
		}
		for j := range cols {
			if c := cost[i*cols+j]; !taken[j] && c < inf {
				taken[j] = true
				try(i+1, n+1, sum+c)
				taken[j] = false
			}
		}
		if n+rows-i > assigned { // else even all the rest are too few
			try(i+1, n, sum)
		}
	}
	try(0, 0, 0)
	return total, assigned
}

// check asserts that an answer is an assignment.
func check(t *testing.T, cost []float64, rows, cols int, answer []int) {
	t.Helper()
	seen := map[int]int{}
	for i, j := range answer {
		if j == none {
			continue
		}
		if j < 0 || j >= cols || math.IsNaN(cost[i*cols+j]) || math.IsInf(cost[i*cols+j], 0) {
			t.Fatalf("%d × %d %v: row %d goes to %d, which is forbidden", rows, cols, cost, i, j)
		}
		if before, ok := seen[j]; ok {
			t.Fatalf("%d × %d %v: rows %d and %d share column %d", rows, cols, cost, before, i, j)
		}
		seen[j] = i
	}
	if len(answer) != rows {
		t.Fatalf("%d rows, but an answer for %d", rows, len(answer))
	}
}

// small draws whole costs, few different ones, so that there are many ties and
// sums are exact.
func small(r *rand.Rand, n int) []float64 {
	cost := make([]float64, n)
	span, forbidden := 1+r.IntN(40), r.IntN(12)
	for k := range cost {
		cost[k] = float64(r.IntN(span) - span/3)
		if r.IntN(12) < forbidden {
			cost[k] = inf
		}
	}
	return cost
}

func againstBrute(t *testing.T, s *Solver, cost []float64, rows, cols int) {
	t.Helper()
	answer := s.Solve(cost, rows, cols)
	check(t, cost, rows, cols, answer)
	total, assigned := Total(cost, cols, answer)
	want, most := brute(cost, rows, cols)
	if assigned != most || total != want {
		t.Fatalf("%d × %d %v: got %v of %d rows at %v, want %d rows at %v", rows, cols, cost, answer, assigned, total, most, want)
	}
}

func TestAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Solver
	for rows := range 8 {
		for cols := range 8 {
			tries := 400
			if min(rows, cols) > 5 {
				tries = 20
			}
			for range tries {
				againstBrute(t, &s, small(r, rows*cols), rows, cols)
			}
		}
	}
}

func FuzzSolve(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6}, uint8(2))
	f.Add([]byte{255, 255, 3, 255, 5, 255, 1, 255, 255}, uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, side uint8) {
		rows := int(side % 6)
		cols := 0
		if rows > 0 {
			cols = min(len(in)/rows, 6)
		}
		cost := make([]float64, rows*cols)
		for k := range cost {
			cost[k] = float64(in[k]) - 100
			if in[k] >= 200 {
				cost[k] = inf
			}
		}
		var s Solver
		againstBrute(t, &s, cost, rows, cols)
	})
}

func TestNoAllocations(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var s Solver
	for _, c := range [][2]int{{40, 20}, {20, 40}, {20, 20}} {
		cost := small(r, c[0]*c[1])
		cost[7] = math.NaN()
		s.Solve(cost, c[0], c[1])
		if n := testing.AllocsPerRun(20, func() { s.Solve(cost, c[0], c[1]) }); n != 0 {
			t.Errorf("%d × %d: %v allocations, want none", c[0], c[1], n)
		}
	}
}

func BenchmarkSolve(b *testing.B) {
	for _, c := range [][2]int{{10, 10}, {20, 20}, {40, 20}, {100, 100}, {200, 100}, {1000, 1000}} {
		r := rand.New(rand.NewPCG(5, 6))
		cost := make([]float64, c[0]*c[1])
		for k := range cost {
			cost[k] = r.Float64()
		}
		// What a dispatcher asks: latency is affine in a request's size, with a
		// law per worker of four types, plus the time until the worker is free.
		affine := make([]float64, len(cost))
		for i := range c[0] {
			size := float64(1 + r.IntN(1000))
			for j := range c[1] {
				kind := float64(1 + j%4)
				affine[i*c[1]+j] = 1 / kind * (float64(j*7919%97) + 5*kind + size/(kind*kind))
			}
		}
		for _, costs := range []struct {
			name string
			of   []float64
		}{{"uniform", cost}, {"affine", affine}} {
			b.Run(fmt.Sprintf("%dx%d/%s", c[0], c[1], costs.name), func(b *testing.B) {
				var s Solver
				b.ReportAllocs()
				for b.Loop() {
					s.Solve(costs.of, c[0], c[1])
				}
			})
		}
	}
}
