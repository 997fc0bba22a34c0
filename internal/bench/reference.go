package bench

// reference is what exploration found before this program was written, with a
// simulator of its own over the same samples: docs/results.md says how.
type reference struct {
	contender, arrivals string
	qps                 [5]float64 // of ncf, rm2, wnd, mtwnd, dien; 0 = none
}

// references are the allowable throughputs to compare with. Those under
// exponential arrivals are of 20,000 requests × 3 seeds (size-threshold: the
// best of 17 thresholds on KAIROS's mix, 8,000 requests), those under whole
// milliseconds of 6,000 requests.
var references = []reference{
	{homogeneous, "exponential", [5]float64{2856, 47.8, 865, 540, 333}},
	{ribbonOptimal, "exponential", [5]float64{3375, 65.1, 926, 540, 333}},
	{threshold, "exponential", [5]float64{4866, 97.4, 1112, 783, 505}},
	{published, "exponential", [5]float64{6350, 123.8, 1392, 912, 604}},
	{homogeneous, "poisson-ms", [5]float64{1999, 55.2, 893, 592, 383.5}},
	{published, "poisson-ms", [5]float64{4017, 132.5, 1296, 900, 639}},
}

// referenceOf is the figure to compare with, 0 if there is none.
func referenceOf(contender, arrivals, model string) float64 {
	for _, r := range references {
		if r.contender != contender || r.arrivals != arrivals {
			continue
		}
		for i, k := range kairosQoS {
			if k.model == model {
				return r.qps[i]
			}
		}
	}
	return 0
}
