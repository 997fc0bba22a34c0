package planner

import (
	"time"

	"motley/internal/pool"
)

// Profiles reads latencies from profiles, indexed by model and type; nil, or
// one that knows nothing, is a type that cannot run the model. quantile is that
// of each model. The profiles are used while the problem is solved: Bound
// changes them, see pool.Profile.
func Profiles(profiles [][]*pool.Profile, quantile []float64) Latency {
	return func(model, typ, items int) (mean, bound time.Duration) {
		p := profiles[model][typ]
		if p == nil || !p.Known() {
			return 0, 0
		}
		q := quantile[model]
		if q == 0 {
			q = defaultQuantile
		}
		return p.Mean(items), p.Bound(items, q)
	}
}
