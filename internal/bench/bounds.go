package bench

import (
	"time"

	"motley/internal/planner"
	"motley/internal/pool"
)

// problem is the set-up as the planner sees it, without budget or rate. The
// profiles are those that policies start from.
func (s *Setup) problem() (*planner.Problem, error) {
	h := s.Sizes.Histogram()
	p := &planner.Problem{Models: []planner.Model{{
		Name: s.Model.Name, Sizes: h.Sizes, P: h.P, QoS: s.Model.QoS, Quantile: s.Model.Quantile, MaxBatch: s.Model.MaxBatch,
	}}}
	profiles := make([]*pool.Profile, len(s.Types))
	for i, t := range s.Types {
		p.Types = append(p.Types, planner.Type{Name: t.Name, USDPerHour: t.USDPerHour})
		var err error
		if profiles[i], err = pool.NewProfile(s.points[i]); err != nil {
			return nil, err
		}
	}
	latency := planner.Profiles([][]*pool.Profile{profiles}, []float64{s.Model.Quantile})
	p.Latency = func(model, typ, items int) (mean, bound time.Duration) {
		if items > s.Truth[typ].Largest() { // no worker takes more at once
			return 0, 0
		}
		return latency(model, typ, items)
	}
	return p, nil
}

// bounds are those of the mix. Where it cannot answer every size in one piece
// within QoS, those that suppose that are 0.
func (s *Setup) bounds(counts []int) (*planner.Bounds, error) {
	p, err := s.problem()
	if err != nil {
		return nil, err
	}
	p.Models[0].Split = true
	return boundsOf(p, counts)
}

func boundsOf(p *planner.Problem, counts []int) (*planner.Bounds, error) {
	b, err := planner.BoundsOf(p, counts)
	if err != nil {
		return nil, err
	}
	b = b.Round()
	return &b, nil
}

// finals is how many of the planner's candidates are measured closely.
const finals = 4

// verify measures mixes for the planner by allowable throughput: all by a
// fraction of the set-up's requests, the finals by all.
func (s *Setup) verify(v Variant) func([]planner.Trial) ([]float64, error) {
	small := s.with(max(1, s.Requests/2), s.Seeds[:1])
	return func(trials []planner.Trial) ([]float64, error) {
		rates := make([]float64, len(trials))
		return rates, parallel(len(trials), func(i int) error {
			set := small
			if trials[i].Final {
				set = s
			}
			a, err := set.allowable(trials[i].Mix, v, trials[i].Near)
			rates[i] = a.Rate
			return err
		})
	}
}
