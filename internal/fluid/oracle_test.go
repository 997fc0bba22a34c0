package fluid

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"
)

// oracle solves the program as it is written, with gonum's simplex: variables
// λ, x_ij where c_ij is finite, what is shed of each class, the counts bought.
func oracle(p *Problem) (float64, error) {
	types, classes := len(p.Capacity), len(p.Share)
	type flow struct{ i, j int }
	var flows []flow
	for i := range classes {
		for j := range types {
			if !math.IsInf(p.Cost[i*types+j], 1) && p.Capacity[j] > 0 {
				flows = append(flows, flow{i, j})
			}
		}
	}
	total := 0.0
	for _, s := range p.Share {
		total += s
	}
	nx := len(flows)
	shedAt := 1 + nx
	slackAt := shedAt + classes
	vars := slackAt + types + 2
	rows := classes + types + 1
	if p.Price != nil {
		rows++
	}
	a := mat.NewDense(rows, vars, nil)
	b := make([]float64, rows)
	c := make([]float64, vars)
	c[0] = -1
	for i, s := range p.Share {
		a.Set(i, 0, -s)
		a.Set(i, shedAt+i, 1)
		a.Set(classes+types, shedAt+i, 1)
	}
	a.Set(classes+types, 0, -p.Shed*total)
	a.Set(classes+types, slackAt+types, 1)
	for k, f := range flows {
		a.Set(f.i, 1+k, 1)
		a.Set(classes+f.j, 1+k, p.Cost[f.i*types+f.j])
		if p.Price != nil {
			a.Set(classes+types+1, 1+k, p.Price[f.j]*p.Cost[f.i*types+f.j])
		}
	}
	for j := range types {
		a.Set(classes+j, slackAt+j, 1)
		b[classes+j] = p.atMost(j)
	}
	if p.Price != nil {
		a.Set(classes+types+1, slackAt+types+1, 1)
		b[classes+types+1] = p.Budget
	} else {
		// Not a variable of the program: gonum wants no empty column.
		a.Set(classes+types, slackAt+types+1, 1)
	}
	f, _, err := lp.Simplex(c, a, b, 1e-11, nil)
	return -f, err
}

// verify checks a solution against the program itself: feasible, and proven
// optimal by its prices.
func verify(t *testing.T, p *Problem, s *Solution) {
	t.Helper()
	const eps = 1e-7
	types := len(p.Capacity)
	total, shed, den := 0.0, 0.0, 0.0
	load := make([]float64, types)
	for i, share := range p.Share {
		total += share
		served, worth := 0.0, math.Inf(1)
		for j := range types {
			f, c := s.Flow[i*types+j], p.Cost[i*types+j]
			if f < 0 || f > 1+eps {
				t.Errorf("Flow[%d,%d] = %v", i, j, f)
			}
			if f > 0 {
				if math.IsInf(c, 1) || p.Capacity[j] == 0 {
					t.Errorf("class %d flows to type %d, which cannot serve it", i, j)
				}
				load[j] += f * share * s.Rate * c
				if share > 0 && s.Price[j]*c > s.Worth[i]*(1+eps)+1e-14 {
					t.Errorf("class %d flows to type %d at %v, though it is worth %v", i, j, s.Price[j]*c, s.Worth[i])
				}
			}
			served += f
			if w := s.Price[j] * c; w < worth {
				worth = w
			}
		}
		if p.Shed > 0 {
			worth = min(worth, s.Dearest)
		}
		if share > 0 && math.Abs(worth-s.Worth[i]) > eps*worth {
			t.Errorf("Worth[%d] = %v, its least cost is %v", i, s.Worth[i], worth)
		}
		if served > 1+eps {
			t.Errorf("class %d is served %v times", i, served)
		}
		if share > 0 {
			shed += share * (1 - served)
			den += share * worth
		}
	}
	if shed > (p.Shed+eps)*total {
		t.Errorf("%v of %v is shed, %v allowed", shed, total, p.Shed)
	}
	den -= p.Shed * total * s.Dearest
	bound, cost := 0.0, 0.0
	for j, n := range p.Capacity {
		if load[j] > n*(1+eps)+1e-12 || math.Abs(load[j]-s.Load[j]) > eps*max(load[j], 1) {
			t.Errorf("type %d of %v has load %v (Load: %v)", j, n, load[j], s.Load[j])
		}
		if s.Price[j] < 0 {
			t.Errorf("Price[%d] = %v", j, s.Price[j])
		}
		rent := 0.0
		if p.Price != nil {
			rent = p.Price[j] * s.Money
			cost += p.Price[j] * load[j]
		}
		if n > 0 && !math.IsInf(n, 1) {
			bound += n * max(s.Price[j]-rent, 0)
		}
	}
	if p.Price != nil {
		bound += p.Budget * s.Money
		if cost > p.Budget*(1+eps) {
			t.Errorf("costs %v of %v", cost, p.Budget)
		}
	}
	if math.Abs(den-1) > eps {
		t.Errorf("prices are normalised to %v, not 1", den)
	}
	if math.Abs(bound/den-s.Rate) > eps*s.Rate {
		t.Errorf("Rate %v, but the prices prove %v", s.Rate, bound/den)
	}
}

// random draws a program; every few of its parts are degenerate.
func random(rng *rand.Rand, types, classes int) *Problem {
	p := &Problem{
		Share: make([]float64, classes), Cost: make([]float64, classes*types), Capacity: make([]float64, types),
	}
	fixed, per := make([]float64, types), make([]float64, types)
	for j := range types {
		fixed[j], per[j] = rng.Float64(), rng.Float64()
		if j > 0 && rng.IntN(5) == 0 { // the same type twice
			fixed[j], per[j] = fixed[j-1], per[j-1]
		}
		p.Capacity[j] = float64(1 + rng.IntN(8))
		if j > 0 && rng.IntN(6) == 0 {
			p.Capacity[j] = 0
		}
	}
	exact := rng.IntN(3) == 0 // costs of whole numbers tie
	for i := range classes {
		p.Share[i] = rng.Float64()
		if rng.IntN(10) == 0 {
			p.Share[i] = 0
		}
		if exact {
			p.Share[i] = 1
		}
		size := rng.Float64() * 4
		for j := range types {
			c := fixed[j] + per[j]*size
			if exact {
				c = float64(1 + rng.IntN(3))
			}
			if j > 0 && rng.IntN(4) == 0 {
				c = math.Inf(1)
			}
			p.Cost[i*types+j] = c
		}
	}
	p.Share[0] = max(p.Share[0], 0.1)
	if rng.IntN(2) == 0 {
		p.Shed = rng.Float64() * 0.2
	}
	if rng.IntN(2) == 0 {
		p.Price = make([]float64, types)
		for j := range p.Price {
			p.Price[j] = 0.1 + rng.Float64()
			if rng.IntN(5) == 0 {
				p.Price[j] = 0
			} else if rng.IntN(3) == 0 {
				p.Capacity[j] = math.Inf(1)
			}
		}
		p.Budget = 0.5 + rng.Float64()*10
	}
	if rng.IntN(2) == 0 {
		p.Hint = make([]float64, types)
		for j := range p.Hint {
			p.Hint[j] = rng.Float64()
		}
	}
	return p
}

func TestAgainstSimplex(t *testing.T) {
	var s Solver
	checked := 0
	for seed := range uint64(1500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := random(rng, 1+rng.IntN(6), 1+rng.IntN(12))
		got, err := s.Solve(p)
		if err != nil {
			t.Fatalf("seed %d: %v\n%+v", seed, err, p)
		}
		verify(t, p, got)
		want, err := oracle(p)
		if err != nil {
			continue // gonum stalls on some degenerate programs; verify has proven ours
		}
		checked++
		if math.Abs(got.Rate-want) > 1e-7*want {
			t.Errorf("seed %d: rate %v, oracle %v", seed, got.Rate, want)
		}
		if t.Failed() {
			t.Fatalf("seed %d: %+v", seed, p)
		}
	}
	if checked < 1000 {
		t.Errorf("the oracle solved only %d programs", checked)
	}
}

func TestLargeRandom(t *testing.T) {
	var s Solver
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 2))
		p := random(rng, 10+rng.IntN(20), 100+rng.IntN(300))
		got, err := s.Solve(p)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		verify(t, p, got)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestTwoTypes compares with the ratio of the package comment over all prices:
// with two types it is a function of one number.
func TestTwoTypes(t *testing.T) {
	var s Solver
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 3))
		p := random(rng, 2, 1+rng.IntN(20))
		p.Price, p.Shed, p.Hint = nil, 0, nil
		p.Capacity[0], p.Capacity[1] = float64(1+rng.IntN(8)), float64(1+rng.IntN(8))
		got, err := s.Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		least := math.Inf(1)
		for k := 0; k <= 20000; k++ {
			y := [2]float64{float64(k) / 20000, 1 - float64(k)/20000}
			den := 0.0
			for i, share := range p.Share {
				w := math.Inf(1)
				for j := range y {
					if c := p.Cost[i*2+j]; !math.IsInf(c, 1) {
						w = min(w, y[j]*c)
					}
				}
				den += share * w
			}
			least = min(least, (p.Capacity[0]*y[0]+p.Capacity[1]*y[1])/den)
		}
		if got.Rate > least*(1+1e-9) || got.Rate < least*(1-1e-3) {
			t.Errorf("seed %d: rate %v, least over the grid %v", seed, got.Rate, least)
		}
	}
}

func TestPriceOfAbsentType(t *testing.T) {
	var s, again Solver
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 4))
		p := random(rng, 2+rng.IntN(4), 2+rng.IntN(10))
		p.Price, p.Hint = nil, nil
		for j := range p.Capacity {
			p.Capacity[j] = float64(1 + rng.IntN(8))
		}
		j := len(p.Capacity) - 1
		p.Capacity[j] = 0
		got, err := s.Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		more := *p
		more.Capacity = append([]float64(nil), p.Capacity...)
		const sliver = 1e-6
		more.Capacity[j] = sliver
		with, err := again.Solve(&more)
		if err != nil {
			t.Fatal(err)
		}
		// The prices may not be unique; then this one is an upper bound.
		if gained := (with.Rate - got.Rate) / sliver; gained > got.Price[j]*(1+1e-3)+1e-3*got.Rate {
			t.Errorf("seed %d: a sliver gains %v, the price is %v", seed, gained, got.Price[j])
		}
	}
}

func TestErrors(t *testing.T) {
	inf := math.Inf(1)
	ok := func() *Problem {
		return &Problem{Share: []float64{1, 1}, Cost: []float64{1, 2, 3, inf}, Capacity: []float64{1, 1}}
	}
	for name, spoil := range map[string]func(*Problem){
		"no types":      func(p *Problem) { p.Capacity, p.Cost = nil, nil },
		"no classes":    func(p *Problem) { p.Share, p.Cost = nil, nil },
		"cost too few":  func(p *Problem) { p.Cost = p.Cost[:3] },
		"cost 0":        func(p *Problem) { p.Cost[0] = 0 },
		"cost NaN":      func(p *Problem) { p.Cost[3] = math.NaN() },
		"share < 0":     func(p *Problem) { p.Share[0] = -1 },
		"share NaN":     func(p *Problem) { p.Share[0] = math.NaN() },
		"share 0":       func(p *Problem) { p.Share[0], p.Share[1] = 0, 0 },
		"capacity < 0":  func(p *Problem) { p.Capacity[0] = -1 },
		"capacity 0":    func(p *Problem) { p.Capacity[0], p.Capacity[1] = 0, 0 },
		"capacity inf":  func(p *Problem) { p.Capacity[0] = inf },
		"free and inf":  func(p *Problem) { p.Price, p.Budget, p.Capacity[0] = []float64{0, 1}, 1, inf },
		"price < 0":     func(p *Problem) { p.Price, p.Budget = []float64{-1, 1}, 1 },
		"prices few":    func(p *Problem) { p.Price, p.Budget = []float64{1}, 1 },
		"no budget":     func(p *Problem) { p.Price = []float64{1, 1} },
		"shed 1":        func(p *Problem) { p.Shed = 1 },
		"shed NaN":      func(p *Problem) { p.Shed = math.NaN() },
		"hints too few": func(p *Problem) { p.Hint = []float64{1} },
	} {
		p := ok()
		spoil(p)
		if _, err := new(Solver).Solve(p); err == nil || errors.Is(err, ErrStalled) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	p := ok()
	p.Capacity[0] = 0
	_, err := new(Solver).Solve(p)
	var unserved *UnservedError
	if !errors.As(err, &unserved) || unserved.Class != 1 {
		t.Errorf("class 1 has no type: %v", err)
	}
	p.Shed = 0.6
	got, err := new(Solver).Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, p, got)
	if math.Abs(got.Rate-1/(2*0.8)) > 1e-9 { // all of class 1 and a fifth of class 0 shed; shares sum to 2
		t.Errorf("rate %v", got.Rate)
	}
}

func TestNoAllocation(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	var s Solver
	p := random(rng, 8, 100)
	p.Shed = 0.01
	if _, err := s.Solve(p); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() { _, _ = s.Solve(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// benchProblem is a pool as it may be: affine latencies, where the faster types
// have the larger fixed part, and a QoS target that the slow ones miss with
// large requests.
func benchProblem(types, classes int) *Problem {
	rng := rand.New(rand.NewPCG(7, 6))
	p := &Problem{Share: make([]float64, classes), Cost: make([]float64, classes*types), Capacity: make([]float64, types)}
	for j := range types {
		p.Capacity[j] = float64(1 + rng.IntN(20))
		fast := rng.Float64()
		fixed, per := 1+6*fast, 10/(1+9*fast)*(0.8+0.4*rng.Float64())
		for i := range classes {
			c := fixed + per*10*float64(i+1)/float64(classes)
			if c > 30 && fast < 0.8 {
				c = math.Inf(1)
			}
			p.Cost[i*types+j] = c
		}
	}
	for j := range types { // somebody takes the large ones
		for i := range classes {
			if j == 0 && math.IsInf(p.Cost[i*types], 1) {
				p.Cost[i*types] = 30
			}
		}
	}
	for i := range classes {
		p.Share[i] = rng.Float64()
	}
	return p
}

func BenchmarkSolve(b *testing.B) {
	for _, size := range [][2]int{{4, 100}, {20, 100}, {20, 200}, {20, 400}} {
		for _, kind := range []string{"cold", "hinted", "shed", "budget"} {
			b.Run(fmt.Sprintf("types=%d/classes=%d/%s", size[0], size[1], kind), func(b *testing.B) {
				var s Solver
				p := benchProblem(size[0], size[1])
				switch kind {
				case "shed":
					p.Shed = 0.01
				case "budget":
					p.Price, p.Budget = make([]float64, size[0]), 20
					for j := range p.Price {
						p.Price[j] = 0.1 + 0.05*float64(j)
					}
				case "hinted":
					sol, err := s.Solve(p)
					if err != nil {
						b.Fatal(err)
					}
					p.Hint = append([]float64(nil), sol.Price...)
				}
				b.ReportAllocs()
				steps := 0
				for b.Loop() {
					sol, err := s.Solve(p)
					if err != nil {
						b.Fatal(err)
					}
					steps = sol.Steps
				}
				b.ReportMetric(float64(steps), "steps")
			})
		}
	}
}
