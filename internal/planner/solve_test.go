package planner

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// affine is a latency law in ms, fixed and per item, by model and type.
func affine(fixed, per [][]float64) Latency {
	return func(m, j, items int) (mean, bound time.Duration) {
		if fixed[m][j] < 0 {
			return 0, 0
		}
		ms := fixed[m][j] + per[m][j]*float64(items)
		return time.Duration(ms * 1e6), time.Duration(ms * 1.1e6)
	}
}

// generated is a random problem: dearer types are faster, but not all in
// proportion; some cannot run some models.
func generated(rng *rand.Rand, types, models int, budget float64) *Problem {
	p := &Problem{Budget: budget}
	fixed, per := make([][]float64, models), make([][]float64, models)
	for m := range models {
		x := Model{Name: fmt.Sprintf("m%d", m), Share: 0.5 + rng.Float64(), QoS: 50 * time.Millisecond, MaxBatch: 512}
		for n := 4; n <= 256; n += 4 + n/8 {
			x.Sizes, x.P = append(x.Sizes, n), append(x.P, rng.ExpFloat64())
		}
		p.Models = append(p.Models, x)
		fixed[m], per[m] = make([]float64, types), make([]float64, types)
	}
	for j := range types {
		usd := 0.1 * math.Exp(2*rng.Float64())
		p.Types = append(p.Types, Type{Name: fmt.Sprintf("t%d", j), USDPerHour: usd})
		for m := range models {
			speed := usd * (0.6 + 0.8*rng.Float64())
			fixed[m][j] = 1 + 6*rng.Float64()
			per[m][j] = 0.012 / speed
			if j > 0 && rng.IntN(8) == 0 {
				fixed[m][j] = -1
			}
		}
	}
	p.Latency = affine(fixed, per)
	return p
}

// dumb estimates every mix within the budget and returns the most that one is
// estimated at, and what the cheapest costs of those that carry the rate.
func dumb(t *testing.T, p *Problem, rate float64) (most, cheapest float64) {
	t.Helper()
	tab, err := newTable(p)
	if err != nil {
		t.Fatal(err)
	}
	e := newEstimator(tab)
	cheapest = math.Inf(1)
	mix := make([]Count, len(p.Types))
	var fill func(j int, spot bool, left float64)
	fill = func(j int, spot bool, left float64) {
		if j == len(mix) {
			usd, onDemand, all := 0.0, 0.0, 0.0
			for k, c := range mix {
				x := &p.Types[k]
				usd += float64(c.OnDemand)*x.USDPerHour + float64(c.Spot)*x.SpotUSDPerHour
				onDemand += float64(c.OnDemand) * x.USDPerHour
				all += float64(c.Total()) * x.USDPerHour
				if x.Limit > 0 && c.Total() > x.Limit || c.OnDemand < x.Min || c.Spot > 0 && x.SpotUSDPerHour == 0 {
					return
				}
			}
			if usd > p.Budget+1e-9 || onDemand < p.OnDemandShare*all-1e-9 {
				return
			}
			r := e.rate(instancesOf(p, mix))
			most = max(most, r)
			if rate > 0 && r >= rate {
				cheapest = min(cheapest, usd)
			}
			return
		}
		x, count, price, next := &p.Types[j], &mix[j].OnDemand, p.Types[j].USDPerHour, j+1
		if spot {
			count, price, next = &mix[j].Spot, x.SpotUSDPerHour, j
		}
		for n := 0; float64(n)*price <= left+1e-9 && (n == 0 || price > 0); n++ {
			*count = n
			fill(next, !spot, left-float64(n)*price)
		}
		*count = 0
	}
	fill(0, true, p.Budget)
	if e.err != nil {
		t.Fatal(e.err)
	}
	return most, cheapest
}

// small are random problems with everything in them, small enough for dumb.
func small(rng *rand.Rand) *Problem {
	p := generated(rng, 2+rng.IntN(2), 1+rng.IntN(2), 0.4+0.6*rng.Float64())
	for j := range p.Types {
		x := &p.Types[j]
		if rng.IntN(2) == 0 {
			x.Limit = 1 + rng.IntN(3)
		}
		if rng.IntN(4) == 0 {
			x.Min = 1
		}
		if rng.IntN(3) == 0 {
			x.SpotUSDPerHour = x.USDPerHour * (0.3 + 0.5*rng.Float64())
			x.Interruptions, x.Recovery = rng.Float64(), 10*time.Minute
		}
	}
	if rng.IntN(2) == 0 {
		p.OnDemandShare = rng.Float64()
	}
	return p
}

func TestAgainstAllMixes(t *testing.T) {
	found := 0
	for seed := range uint64(60) {
		p := small(rand.New(rand.NewPCG(seed, 1)))
		most, _ := dumb(t, p, 0)
		plan, err := Solve(p)
		if most == 0 {
			if !errors.Is(err, ErrNoMix) {
				t.Errorf("seed %d: there is no mix, but Solve says %v, %v", seed, plan.Best, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("seed %d: %v, but a mix carries %v", seed, err, most)
			continue
		}
		found++
		if !plan.Exhaustive || math.Abs(plan.Best.Estimate/most-1) > 1e-7 {
			t.Errorf("seed %d: %v carries %v, not %v", seed, plan.Best.Mix, plan.Best.Estimate, most)
		}
		if plan.Relaxed < most*(1-1e-7) {
			t.Errorf("seed %d: relaxed %v is under %v", seed, plan.Relaxed, most)
		}
		// What the search would have found by itself.
		s := bare(t, p)
		if err := s.search(s.space); err != nil {
			t.Errorf("seed %d: search: %v", seed, err)
			continue
		}
		best := slices.MinFunc(s.mixes, byEstimate)
		if !s.space.fits(best.counts) || best.estimate > most*(1+1e-7) {
			t.Errorf("seed %d: the search found %v at %v, of %v", seed, best.counts, best.estimate, most)
		}
		if best.estimate < 0.97*most {
			t.Errorf("seed %d: the search came to %v of %v", seed, best.estimate, most)
		}
	}
	if found < 30 {
		t.Errorf("only %d of the problems had a plan", found)
	}
}

func bare(t testing.TB, p *Problem) *solver {
	t.Helper()
	tab, err := newTable(p)
	if err != nil {
		t.Fatal(err)
	}
	s := &solver{p: p, space: newSpace(p, p.Budget), e: newEstimator(tab), seen: map[string]int{}, reached: 1}
	s.judge.s = s
	return s
}

func TestCheapestAgainstAllMixes(t *testing.T) {
	found := 0
	for seed := range uint64(60) {
		p := small(rand.New(rand.NewPCG(seed, 2)))
		most, _ := dumb(t, p, 0)
		if most == 0 {
			continue
		}
		p.Rate = most * (0.2 + 0.79*rand.New(rand.NewPCG(seed, 3)).Float64())
		_, least := dumb(t, p, p.Rate)
		plan, err := Solve(p)
		if err != nil {
			t.Errorf("seed %d: %v, but %v USD/h suffice", seed, err, least)
			continue
		}
		found++
		if plan.Best.USDPerHour < least-1e-9 || plan.Best.USDPerHour > least+1e-9 && plan.Exhaustive || plan.Best.USDPerHour > 1.05*least {
			t.Errorf("seed %d: %v costs %v, not %v (exhaustive: %v)", seed, plan.Best.Mix, plan.Best.USDPerHour, least, plan.Exhaustive)
		}
		if plan.Best.Estimate < p.Rate*(1-1e-9) || math.Abs(plan.Headroom-(plan.Best.Goodput/p.Rate-1)) > 1e-9 {
			t.Errorf("seed %d: %+v with headroom %v at rate %v", seed, plan.Best, plan.Headroom, p.Rate)
		}
		p.Rate = 1.01 * most
		if plan, err := Solve(p); !errors.Is(err, ErrNotCarried) {
			t.Errorf("seed %d: Solve says %v, %v of a rate that nothing carries", seed, plan.Best, err)
		}
	}
	if found < 30 {
		t.Errorf("only %d of the problems had a plan", found)
	}
}

// TestLargeSpace holds the search to the relaxed optimum where that is all
// there is to compare with.
func TestLargeSpace(t *testing.T) {
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 20))
		p := generated(rng, 20, 4, 500)
		if seed%2 == 1 { // dear types, of which there are few
			for j := range p.Types {
				p.Types[j].USDPerHour *= 1 + 20*rng.Float64()
				p.Types[j].Limit = 5 + rng.IntN(40)
			}
		}
		start := time.Now()
		plan, err := Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d: %.5g of %.5g (%.4f), %d mixes in %v, %v", seed, plan.Best.Estimate, plan.Relaxed, plan.Best.Estimate/plan.Relaxed, plan.Examined, time.Since(start), plan.Best.Mix)
		if plan.Best.Estimate < 0.99*plan.Relaxed || plan.Best.Estimate > plan.Relaxed*(1+1e-7) {
			t.Errorf("seed %d: %v is not within 1 %% under %v", seed, plan.Best.Estimate, plan.Relaxed)
		}
		if plan.Best.USDPerHour > 500+1e-9 {
			t.Errorf("seed %d: it costs %v", seed, plan.Best.USDPerHour)
		}
	}
}
