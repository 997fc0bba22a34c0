package planner

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkSolve plans without measurements.
func BenchmarkSolve(b *testing.B) {
	run := func(name string, p *Problem) {
		b.Run(name, func(b *testing.B) {
			share := 0.0
			for b.Loop() {
				plan, err := Solve(p)
				if err != nil {
					b.Fatal(err)
				}
				share = plan.Best.Estimate / plan.Relaxed
			}
			b.ReportMetric(share, "of-relaxed")
		})
	}
	for _, m := range kairosModels {
		run("kairos/"+m.name, kairosProblem(b, nil, m.name))
	}
	cheap := kairosProblem(b, nil, "wnd")
	cheap.Rate, cheap.Budget = 1500, 0
	run("kairos/wnd-rate", cheap)
	large := generated(rand.New(rand.NewPCG(1, 20)), 20, 4, 500)
	run("types=20/models=4/usd=500", large)
	rate := *large
	rate.Rate, rate.Budget = 300_000, 0
	run("types=20/models=4/rate", &rate)
}
