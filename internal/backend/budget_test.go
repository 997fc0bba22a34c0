package backend

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"motley/internal/earlyexit"
	"motley/internal/oip"
)

// ramps evaluates a set of ramps and lets nothing leave: the worst case.
type ramps uint32

func (r ramps) Begin([]int) uint32       { return uint32(r) }
func (ramps) At(*Sight)                  {}
func (ramps) Answered(int)               {}
func (ramps) Show(int, int, oip.Message) {}

// BenchmarkRampBudget measures what the controller's sets of ramps add to runs
// of the built-in model that nothing leaves, exploring batches included: runs
// with and without them take turns, and their 95th percentiles are compared.
// The budget is 2 %.
func BenchmarkRampBudget(b *testing.B) {
	e, m := fashion(b)
	if _, err := e.Probe(context.Background(), "fashion"); err != nil { // measures the costs
		b.Fatal(err)
	}
	x := e.Exits("fashion")
	c, err := earlyexit.New(earlyexit.Config{Mode: earlyexit.Latency, Ramps: x.Ramps, Costs: x.Costs})
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			call := []*Call{imageCall(b, m, images(1, n), true, "")}
			chance := rand.New(rand.NewPCG(1, 0))
			var took [2][]float64
			for b.Loop() {
				for with := range 2 {
					set := ramps(c.Active(n, chance.Float64()))
					if with == 0 {
						set = 0
					}
					start := time.Now()
					if err := e.RunStaged(context.Background(), "fashion", call, set); err != nil {
						b.Fatal(err)
					}
					took[with] = append(took[with], float64(time.Since(start)))
				}
			}
			for _, q := range []float64{0.5, 0.95} {
				var at [2]float64
				for with := range at {
					slices.Sort(took[with])
					at[with] = took[with][int(q*float64(len(took[with])-1))]
				}
				b.ReportMetric(100*(at[1]/at[0]-1), fmt.Sprintf("p%.0f-overhead-%%", 100*q))
			}
			b.ReportMetric(float64(bits.OnesCount32(c.Active(n, 1))), "ramps")
		})
	}
}
