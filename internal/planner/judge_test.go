package planner

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// reality is what mixes carry for a fake Verify: their estimate, less a part
// that depends on the types, as it does on a dispatcher that copes worse with
// some of them, and noise in what is not final.
func reality(t *testing.T, p *Problem, part []float64, noise float64) func([]int, bool) float64 {
	tab, err := newTable(p)
	if err != nil {
		t.Fatal(err)
	}
	e := newEstimator(tab)
	return func(mix []int, final bool) float64 {
		all, usd, lost, hash := make([]float64, len(mix)), 0.0, 0.0, 7
		for j, n := range mix {
			all[j] = float64(n)
			usd += float64(n) * p.Types[j].USDPerHour
			lost += float64(n) * p.Types[j].USDPerHour * part[j]
			hash = (hash*31 + n) % 1009
		}
		r := e.rate(all) * (1 - lost/usd)
		if !final {
			r *= 1 + noise*(2*float64(hash)/1009-1)
		}
		return r
	}
}

func TestVerified(t *testing.T) {
	for _, m := range kairosModels {
		for seed := range uint64(3) {
			p := kairosProblem(t, nil, m.name)
			rng := rand.New(rand.NewPCG(seed, 9))
			part := make([]float64, len(p.Types))
			for j := range part {
				part[j] = 0.25 * rng.Float64()
			}
			real := reality(t, p, part, 0.02)
			asked, finals := 0, 0
			p.Finals = 3
			p.Current = []Count{{1, 0}, {1, 0}, {1, 0}, {1, 0}}
			p.Verify = func(trials []Trial) ([]float64, error) {
				var rates []float64
				for _, x := range trials {
					if r := real(x.Mix, true); x.Near < 0.6*r || x.Near > 2*r {
						t.Errorf("%s: %v is said to be near %v, but is %v", m.name, x.Mix, x.Near, r)
					}
					if asked++; x.Final {
						finals++
					}
					rates = append(rates, real(x.Mix, x.Final))
				}
				return rates, nil
			}
			plan, err := Solve(p)
			if err != nil {
				t.Fatal(err)
			}
			// All of them, measured without noise.
			all, _ := newSpace(p, p.Budget).maximalMixes()
			most, better := 0.0, 0
			for _, counts := range all {
				r := real(counts, true)
				most = max(most, r)
				if r > plan.Current.Goodput {
					better++
				}
			}
			if plan.Best.Goodput < 0.99*most || !plan.Best.Verified {
				t.Errorf("%s, seed %d: %v carries %.5g, but the best %.5g", m.name, seed, plan.Best.Mix, plan.Best.Goodput, most)
			}
			if asked != 20+1+3 || finals != 3 || plan.Measured != 20 || len(plan.Others) != 19 {
				t.Errorf("%s: %d trials, %d of them final; %d measured, %d others", m.name, asked, finals, plan.Measured, len(plan.Others))
			}
			if plan.Rank < 1 || math.Abs(float64(plan.Rank-1-better)) > 0.1*float64(len(all)) {
				t.Errorf("%s: the current mix is %d., but %d of %d are better", m.name, plan.Rank, better, len(all))
			}
			if !(plan.Reached > 0.7 && plan.Reached < 1) {
				t.Errorf("%s: mixes reach %v of the estimate", m.name, plan.Reached)
			}
		}
	}
}

func TestCheapestVerified(t *testing.T) {
	for k, m := range kairosModels {
		t.Run(m.name, func(t *testing.T) {
			p := kairosProblem(t, nil, m.name)
			rng := rand.New(rand.NewPCG(uint64(k), 10))
			part := make([]float64, len(p.Types))
			for j := range part {
				part[j] = 0.2 * rng.Float64()
			}
			real := reality(t, p, part, 0)
			p.Verify = func(trials []Trial) ([]float64, error) {
				var rates []float64
				for _, x := range trials {
					rates = append(rates, real(x.Mix, true))
				}
				return rates, nil
			}
			budget, err := Solve(p)
			if err != nil {
				t.Fatal(err)
			}
			p.Rate, p.Budget = 0.8*budget.Best.Goodput, 0
			plan, err := Solve(p)
			if err != nil {
				t.Fatal(err)
			}
			if plan.Best.Goodput < p.Rate || plan.Headroom < 0 {
				t.Errorf("%v carries %v of %v", plan.Best.Mix, plan.Best.Goodput, p.Rate)
			}
			least := math.Inf(1)
			for g := range 5 {
				for c := range 6 {
					for r := range 17 {
						for x := range 16 {
							mix := []int{g, c, r, x}
							usd := 0.0
							for j, n := range mix {
								usd += float64(n) * p.Types[j].USDPerHour
							}
							if usd > 0 && usd < min(least, plan.Best.USDPerHour) && real(mix, true) >= p.Rate {
								least = usd
							}
						}
					}
				}
			}
			if plan.Best.USDPerHour > 1.02*least {
				t.Errorf("%v costs %v, but %v suffices", plan.Best.Mix, plan.Best.USDPerHour, least)
			}
		})
	}
}

// TestFinalsBelowTheRate: closer looks may find less, and then the next
// cheapest have to do.
func TestFinalsBelowTheRate(t *testing.T) {
	p := kairosProblem(t, nil, "mtwnd")
	real := reality(t, p, []float64{0.1, 0.2, 0.15, 0.1}, 0)
	p.Rate, p.Finals = 800, 2
	p.Verify = func(trials []Trial) ([]float64, error) {
		var rates []float64
		for _, x := range trials {
			r := real(x.Mix, true)
			if !x.Final {
				r *= 1.03
			}
			rates = append(rates, r)
		}
		return rates, nil
	}
	plan, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	mix := make([]int, len(p.Types))
	for j, c := range plan.Best.Mix {
		mix[j] = c.OnDemand
	}
	if r := real(mix, true); r != plan.Best.Goodput || r < p.Rate {
		t.Errorf("%v carries %v, not %v", mix, r, plan.Best.Goodput)
	}
}

// TestSomeMixesCarryNothing: without a g4dn the largest requests have nowhere
// to go.
func TestSomeMixesCarryNothing(t *testing.T) {
	p := kairosProblem(t, nil, "wnd")
	p.Budget = 0.7
	p.Current = []Count{{}, {}, {3, 0}, {}}
	real := reality(t, p, []float64{0.1, 0.2, 0.15, 0.1}, 0)
	p.Verify = func(trials []Trial) ([]float64, error) {
		var rates []float64
		for _, x := range trials {
			if math.IsNaN(x.Near) || x.Near == 0 && x.Mix[0] > 0 {
				t.Errorf("%v is said to be near %v", x.Mix, x.Near)
			}
			rates = append(rates, real(x.Mix, true))
		}
		return rates, nil
	}
	plan, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Best.Mix[0].OnDemand != 1 || plan.Best.Goodput <= 0 || plan.Current.Goodput != 0 || math.IsNaN(plan.Reached) {
		t.Errorf("%+v", plan)
	}
}

func TestVerifyFails(t *testing.T) {
	for _, c := range []struct {
		want   string
		verify func([]Trial) ([]float64, error)
	}{
		{"no simulator", func([]Trial) ([]float64, error) { return nil, errors.New("no simulator") }},
		{"figures for", func([]Trial) ([]float64, error) { return nil, nil }},
		{"NaN", func(x []Trial) ([]float64, error) { return slices.Repeat([]float64{math.NaN()}, len(x)), nil }},
	} {
		for _, rate := range []float64{0, 100} {
			p := kairosProblem(t, nil, "wnd")
			p.Verify, p.Rate = c.verify, rate
			if _, err := Solve(p); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("rate %v: %v, want it to say %q", rate, err, c.want)
			}
		}
	}
}

func TestSamePlan(t *testing.T) {
	for seed := range uint64(3) {
		for _, rate := range []float64{0, 3000} {
			p := generated(rand.New(rand.NewPCG(seed, 4)), 6, 2, 8)
			p.Rate = rate
			p.Types[2].SpotUSDPerHour, p.OnDemandShare = 0.4*p.Types[2].USDPerHour, 0.3
			a, errA := Solve(p)
			b, errB := Solve(p)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			if !reflect.DeepEqual(a, b) {
				t.Errorf("seed %d: two plans for one problem:\n%+v\n%+v", seed, a, b)
			}
		}
	}
}

// one is a problem that can be solved in the head: a type serves 100
// requests/s per instance, one by one.
func one(types ...Type) *Problem {
	return &Problem{
		Types: types, Budget: 1,
		Models: []Model{{Name: "m", Sizes: []int{1}, P: []float64{1}, QoS: 15 * time.Millisecond, Quantile: 0.999999}},
		Latency: func(_, _, items int) (mean, bound time.Duration) {
			if items > 1 {
				return 0, 0
			}
			return 10 * time.Millisecond, 10 * time.Millisecond
		},
	}
}

func TestSpotLimitsAndFloor(t *testing.T) {
	a := Type{Name: "a", USDPerHour: 0.2}
	spot := Type{Name: "s", USDPerHour: 0.2, SpotUSDPerHour: 0.1, Interruptions: 0.5, Recovery: time.Hour}
	with := func(t Type, f func(*Type)) Type { f(&t); return t }
	for _, c := range []struct {
		name  string
		types []Type
		share float64
		mix   []Count
		rate  float64
	}{
		{"on demand", []Type{a}, 0, []Count{{5, 0}}, 500},
		{"limit", []Type{with(a, func(t *Type) { t.Limit = 3 })}, 0, []Count{{3, 0}}, 300},
		{"spot is worth its availability", []Type{spot}, 0, []Count{{0, 10}}, 1000 / 1.5},
		{"spot too often away", []Type{with(spot, func(t *Type) { t.Interruptions = 1.5 })}, 0, []Count{{5, 0}}, 500},
		{"limit on both together", []Type{with(spot, func(t *Type) { t.Limit = 6 })}, 0, []Count{{4, 2}}, 400 + 200/1.5},
		{"minimum on demand", []Type{with(spot, func(t *Type) { t.Min = 2 })}, 0, []Count{{2, 6}}, 200 + 600/1.5},
		{"half on demand", []Type{spot}, 0.5, []Count{{4, 2}}, 400 + 200/1.5},
		{"all on demand", []Type{spot}, 1, []Count{{5, 0}}, 500},
		{"floor by another type", []Type{a, spot}, 0.4, []Count{{2, 0}, {1, 4}}, 300 + 400/1.5},
	} {
		p := one(c.types...)
		p.OnDemandShare = c.share
		plan, err := Solve(p)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if math.Abs(plan.Best.Estimate/c.rate-1) > 1e-4 {
			t.Errorf("%s: %v carries %v, want %v at %v", c.name, plan.Best.Mix, plan.Best.Estimate, c.mix, c.rate)
		}
		if len(c.types) == 1 && !reflect.DeepEqual(plan.Best.Mix, c.mix) {
			t.Errorf("%s: the mix is %v, want %v", c.name, plan.Best.Mix, c.mix)
		}
		if plan.Relaxed < plan.Best.Estimate*(1-1e-9) {
			t.Errorf("%s: relaxed %v is under %v", c.name, plan.Relaxed, plan.Best.Estimate)
		}
	}
}

// TestSpotVerified: instances are measured as if they were always there, and
// what their absences leave of it counts.
func TestSpotVerified(t *testing.T) {
	p := one(Type{Name: "s", USDPerHour: 0.2, SpotUSDPerHour: 0.1, Interruptions: 0.5, Recovery: time.Hour})
	p.Verify = func(trials []Trial) ([]float64, error) {
		var rates []float64
		for _, x := range trials {
			rates = append(rates, 90*float64(x.Mix[0]))
		}
		return rates, nil
	}
	plan, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(plan.Best.Goodput-900/1.5) > 1 || plan.Best.Mix[0] != (Count{0, 10}) {
		t.Errorf("%+v", plan.Best)
	}
}

func TestExplained(t *testing.T) {
	p := kairosProblem(t, nil, "wnd")
	plan, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	requests, work, value := 0.0, 0.0, 0.0
	for _, u := range plan.Uses {
		requests += u.Requests
		work += u.Work
		value += u.Instances * u.Value
		if u.Utilisation < 0.999 || u.Utilisation > 1.001 || len(u.Models) != 1 || u.Models[0].From > u.Models[0].To {
			t.Errorf("%+v", u)
		}
	}
	if math.Abs(requests-0.99) > 1e-6 || math.Abs(work-1) > 1e-9 {
		t.Errorf("the types serve %v of the requests with %v of the work", requests, work)
	}
	if math.Abs(value/plan.Best.Estimate-1) > 1e-6 {
		t.Errorf("all instances together are worth %v, the estimate is %v", value, plan.Best.Estimate)
	}
	// The step is what Solve says of the larger mix.
	larger := *p
	larger.Current = slices.Clone(plan.Best.Mix)
	larger.Current[plan.Next.Type].OnDemand++
	again, err := Solve(&larger)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Current.Estimate - plan.Best.Estimate; math.Abs(got-plan.Next.Adds) > 1e-6 || again.Rank != 1 {
		t.Errorf("the step adds %v, but %v was said; rank %d", got, plan.Next.Adds, again.Rank)
	}
	if plan.PerUSD <= 0 || plan.PerUSD*p.Budget > 2*plan.Relaxed {
		t.Errorf("a USD buys %v", plan.PerUSD)
	}
}
