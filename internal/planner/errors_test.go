package planner

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestErrors(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		want string
		harm func(*Problem)
	}{
		{"Types is empty", func(p *Problem) { p.Types = nil }},
		{"Models is empty", func(p *Problem) { p.Models = nil }},
		{"Latency is nil", func(p *Problem) { p.Latency = nil }},
		{"Budget is 0", func(p *Problem) { p.Budget = 0 }},
		{"Budget is -1", func(p *Problem) { p.Budget = -1 }},
		{"Budget is NaN", func(p *Problem) { p.Budget = nan }},
		{"Budget is +Inf", func(p *Problem) { p.Budget = inf }},
		{"Rate is -1", func(p *Problem) { p.Rate = -1 }},
		{"Rate is NaN", func(p *Problem) { p.Rate = nan }},
		{"OnDemandShare is 2", func(p *Problem) { p.OnDemandShare = 2 }},
		{"OnDemandShare is NaN", func(p *Problem) { p.OnDemandShare = nan }},
		{"Base is 5", func(p *Problem) { p.Base = 5 }},
		{"Candidates is -1", func(p *Problem) { p.Candidates = -1 }},
		{"Finals is -1", func(p *Problem) { p.Finals = -1 }},
		{"Current has 1 types of 4", func(p *Problem) { p.Current = []Count{{1, 0}} }},
		{"Current[1] (c5n.2xlarge) is", func(p *Problem) { p.Current = []Count{{1, 0}, {-1, 0}, {}, {}} }},
		{"Current[2] (r5n.large) is", func(p *Problem) { p.Current = []Count{{}, {}, {0, 1}, {}} }},
		{"Types[0] (g4dn.xlarge).USDPerHour is 0", func(p *Problem) { p.Types[0].USDPerHour = 0 }},
		{"Types[3] (t3.xlarge).USDPerHour is -1", func(p *Problem) { p.Types[3].USDPerHour = -1 }},
		{"Types[3] (t3.xlarge).USDPerHour is NaN", func(p *Problem) { p.Types[3].USDPerHour = nan }},
		{"Types[2] (r5n.large).Limit is -1", func(p *Problem) { p.Types[2].Limit = -1 }},
		{"Types[2] (r5n.large).Min is 3", func(p *Problem) { p.Types[2].Min, p.Types[2].Limit = 3, 2 }},
		{"Types[0] (g4dn.xlarge).SpotUSDPerHour is NaN", func(p *Problem) { p.Types[0].SpotUSDPerHour = nan }},
		{"Types[0] (g4dn.xlarge).Interruptions is -1", func(p *Problem) { p.Types[0].Interruptions = -1 }},
		{"Types[0] (g4dn.xlarge).Recovery is -1s", func(p *Problem) { p.Types[0].Recovery = -time.Second }},
		{"Models[0] (wnd).Share is NaN", func(p *Problem) { p.Models[0].Share = nan }},
		{"Models[0] (wnd) has 0 Sizes and 0 P", func(p *Problem) { p.Models[0].Sizes, p.Models[0].P = nil, nil }},
		{"Models[0] (wnd) has 1 Sizes and 2 P", func(p *Problem) { p.Models[0].Sizes, p.Models[0].P = []int{1}, []float64{1, 2} }},
		{"Models[0] (wnd).Sizes[1] is 1", func(p *Problem) { p.Models[0].Sizes, p.Models[0].P = []int{1, 1}, []float64{1, 2} }},
		{"Models[0] (wnd).Sizes[0] is 0", func(p *Problem) { p.Models[0].Sizes, p.Models[0].P = []int{0}, []float64{1} }},
		{"Models[0] (wnd).P[0] is NaN", func(p *Problem) { p.Models[0].Sizes, p.Models[0].P = []int{1}, []float64{nan} }},
		{"Models[0] (wnd).P is all 0", func(p *Problem) { p.Models[0].Sizes, p.Models[0].P = []int{1}, []float64{0} }},
		{"Models[0] (wnd).QoS is 0s", func(p *Problem) { p.Models[0].QoS = 0 }},
		{"Models[0] (wnd).Quantile is 1", func(p *Problem) { p.Models[0].Quantile = 1 }},
		{"Models[0] (wnd).Quantile is NaN", func(p *Problem) { p.Models[0].Quantile = nan }},
		{"Models[0] (wnd).MaxBatch is -1", func(p *Problem) { p.Models[0].MaxBatch = -1 }},
		{"Models[0] (wnd).Sizes[0]: no type runs 5000 items within QoS 25ms", func(p *Problem) { p.Models[0].Sizes, p.Models[0].P = []int{5000}, []float64{1} }},
		{"Latency of wnd on g4dn.xlarge with 10 items is -1s", func(p *Problem) {
			p.Latency = func(int, int, int) (mean, bound time.Duration) { return -time.Second, 0 }
		}},
		{"no mix of the types is within Budget", func(p *Problem) { p.Budget = 0.1 }},
		{"no mix of the types is within Budget", func(p *Problem) { p.Types[0].Min = 5 }},
		{"no mix within Budget and Limit carries Rate", func(p *Problem) { p.Rate = 1e7 }},
		{"no mix within Budget and Limit carries Rate", func(p *Problem) {
			p.Rate, p.Budget = 1e7, 0
			for j := range p.Types {
				p.Types[j].Limit = 10
			}
		}},
	} {
		p := kairosProblem(t, nil, "wnd")
		p.Types = append([]Type(nil), p.Types...)
		c.harm(p)
		_, err := Solve(p)
		if err == nil || !strings.HasPrefix(err.Error(), "cannot plan: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want it to say %q", err, c.want)
		}
	}
}

func TestBoundsErrors(t *testing.T) {
	p := kairosProblem(t, nil, "wnd")
	for _, mix := range [][]int{nil, {1, 2}, {1, 0, -1, 0}} {
		if b, err := BoundsOf(p, mix); err == nil {
			t.Errorf("%v: %+v", mix, b)
		}
	}
	p.Budget = 0 // not needed
	b, err := BoundsOf(p, []int{0, 0, 3, 0})
	if err != nil || b.LP != 0 || b.Kairos != 0 || b.Batching <= 0 {
		t.Errorf("a mix that cannot serve the largest requests: %+v, %v", b, err)
	}
	p.Budget = math.NaN()
	if _, err := BoundsOf(p, []int{1, 0, 0, 0}); err == nil {
		t.Error("a NaN passed")
	}
}
