package sim_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/dispatch"
	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/sim"
)

// shop is a pool of two fast and three slow workers that carries a few hundred
// requests per second.
func shop(tb testing.TB, policy string, weights []float64) sim.Config {
	pol, err := dispatch.NewPolicy(policy, 1)
	if err != nil {
		tb.Fatal(err)
	}
	core := dispatch.Config{
		Models: []dispatch.Model{{Name: "m", QoS: 100 * ms, MaxBatch: 16, MaxQueue: 500}},
		Types:  make([]pool.InstanceType, 2), Policy: pol, Tenants: weights,
	}
	took := func(t pool.TypeID, n int) time.Duration {
		if t == 0 {
			return 10*ms + time.Duration(n)*ms
		}
		return 20*ms + time.Duration(n)*4*ms
	}
	var row []*pool.Profile
	for t := range pool.TypeID(2) {
		var points []pool.Point
		for _, n := range []int{1, 2, 4, 8, 16} {
			points = append(points, pool.Point{Batch: n, Mean: took(t, n), P99: took(t, n)})
		}
		p, err := pool.NewProfile(points)
		if err != nil {
			tb.Fatal(err)
		}
		row = append(row, p)
	}
	core.Profiles = [][]*pool.Profile{row}
	for i := range 5 {
		core.Workers = append(core.Workers, pool.Worker{
			Name: fmt.Sprint(i), Type: pool.TypeID(min(1, i/2)), Concurrency: 1, State: pool.Up,
			Serves: []pool.Serve{{Model: 0, MaxBatch: 16}},
		})
	}
	workers := core.Workers
	return sim.Config{Core: core, Serve: func(e sim.Execution) sim.Outcome {
		return sim.Outcome{Took: took(workers[e.Worker].Type, e.Items)}
	}}
}

// offered draws Poisson arrivals of each tenant at its rate, per second, for so long.
func offered(rates []float64, span time.Duration) []sim.Arrival {
	var all []sim.Arrival
	for tenant, rate := range rates {
		rng := rand.New(rand.NewPCG(uint64(tenant), 77))
		for at := 0.0; ; {
			at += rng.ExpFloat64() / rate
			if at > span.Seconds() {
				break
			}
			all = append(all, sim.Arrival{At: mono.Time(at * float64(time.Second)), Size: 1, MergeKey: 1, Tenant: tenant})
		}
	}
	slices.SortFunc(all, func(a, b sim.Arrival) int { return int(a.At - b.At) })
	return all
}

// inTime is how many requests per second of each tenant were answered within
// QoS, between the tenth of the span and its end.
func inTime(tb testing.TB, cfg sim.Config, arrivals []sim.Arrival, tenants int, span time.Duration) []float64 {
	good := make([]float64, tenants)
	_, ends := run(tb, cfg, arrivals)
	for i, e := range ends {
		if a := arrivals[i]; e.Kind == dispatch.Answer && e.Took <= 100*ms && a.At > mono.Time(span/10) {
			good[a.Tenant] += 1 / (0.9 * span.Seconds())
		}
	}
	return good
}

// fairShares is the max-min fair division of a capacity: who asks for less than
// its share gets what it asks for, and the others divide the rest by weight.
func fairShares(demand, weights []float64, capacity float64) []float64 {
	share := make([]float64, len(demand))
	open := map[int]bool{}
	for i := range demand {
		open[i] = true
	}
	for len(open) > 0 {
		sum := 0.0
		for i := range open {
			sum += weights[i]
		}
		full := -1
		for i := range open {
			if demand[i] <= capacity*weights[i]/sum {
				full = i
			}
		}
		if full < 0 {
			for i := range open {
				share[i] = capacity * weights[i] / sum
			}
			break
		}
		share[full] = demand[full]
		capacity -= demand[full]
		delete(open, full)
	}
	return share
}

// TestTenants loads a pool with several times what it carries and compares what
// each tenant gets with its max-min fair share of what one alone would get.
func TestTenants(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the invariants checked at every step")
	}
	const span = 20 * time.Second
	for policy, off := range map[string]float64{"priced": 0.1, "least-load": 0.2, "p2c": 0.2} {
		for _, c := range []struct {
			name           string
			weights, rates []float64
		}{
			{"a crowd beside two", []float64{1, 1, 1}, []float64{4000, 1000, 50}},
			{"two to one", []float64{2, 1}, []float64{1500, 3000}},
			{"less than its share", []float64{1, 3, 1}, []float64{3000, 300, 3000}},
		} {
			t.Run(policy+"/"+c.name, func(t *testing.T) {
				total := 0.0
				for _, r := range c.rates {
					total += r
				}
				alone := offered(c.rates, span)
				for i := range alone {
					alone[i].Tenant = 0
				}
				capacity := inTime(t, shop(t, policy, nil), alone, 1, span)[0]
				got := inTime(t, shop(t, policy, c.weights), offered(c.rates, span), len(c.rates), span)
				want := fairShares(c.rates, c.weights, capacity)
				sum := 0.0
				for i := range got {
					sum += got[i]
					if math.Abs(got[i]-want[i]) > off*want[i] {
						t.Errorf("tenant %d gets %.0f/s, its share is %.0f", i, got[i], want[i])
					}
				}
				if sum < 0.9*capacity {
					t.Errorf("together they get %.0f/s, one alone %.0f", sum, capacity)
				}
				t.Logf("capacity %.0f/s, shares %.0f, got %.0f", capacity, want, got)
			})
		}
	}
}

// TestGoodputInOverload loads a pool of fast and slow workers with up to ten times
// what it carries: what it answers in time stays near its peak, the slow workers
// included, for which the oldest of a crowd leave no time, and who is turned away
// is told so at once.
func TestGoodputInOverload(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the invariants checked at every step")
	}
	const span = 20 * time.Second
	peak := 0.0
	for rate := 1000.0; rate <= 1800; rate += 100 {
		peak = max(peak, inTime(t, shop(t, "priced", nil), offered([]float64{rate}, span), 1, span)[0])
	}
	for _, times := range []float64{1.2, 1.5, 2, 3, 5, 10} {
		arrivals := offered([]float64{times * peak}, span)
		var waits []time.Duration
		good := 0.0
		_, ends := run(t, shop(t, "priced", nil), arrivals)
		for i, e := range ends {
			switch {
			case arrivals[i].At < mono.Time(span/10):
			case e.Kind != dispatch.Answer:
				waits = append(waits, e.Took)
			case e.Took <= 100*ms:
				good += 1 / (0.9 * span.Seconds())
			}
		}
		slices.Sort(waits)
		wait := waits[len(waits)*99/100]
		t.Logf("at %v times the peak of %.0f/s, %.0f/s are in time (%.3f); 99 %% of the others know within %v", times, peak, good, good/peak, wait)
		if good < 0.95*peak {
			t.Error("that is too few")
		}
		if times >= 2 && wait > 10*ms {
			t.Error("that is too late")
		}
	}
}
