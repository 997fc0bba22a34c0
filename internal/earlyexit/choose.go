package earlyexit

import "math/bits"

// keptRows is how many rows of which every ramp was seen are kept to replay
// sets of ramps on.
const keptRows = 256

// kept are rows of which every ramp was seen, as a ring.
type kept struct {
	ramps  int
	risks  []float32 // by row and ramp
	bins   []uint8   // of the risks
	weight [keptRows]float32
	n      uint64 // rows ever

	value [keptRows]float64 // scratch of worth
}

func newKept(ramps int) kept {
	return kept{ramps: ramps, risks: make([]float32, keptRows*ramps), bins: make([]uint8, keptRows*ramps)}
}

func (k *kept) add(risks []float64, weight float64) {
	row := int(k.n % keptRows)
	for r, p := range risks {
		k.risks[row*k.ramps+r] = float32(p)
		k.bins[row*k.ramps+r] = uint8(binOf(logit(p)))
	}
	k.weight[row] = float32(weight)
	k.n++
}

// worth is what a set of ramps is worth a row, as a share of a whole run: what
// exits save less price times the risk that they take, less what the ramps
// cost. The exits are those of the best stopping rule, found backwards on the
// rows themselves (Longstaff and Schwartz, "Valuing American options by
// simulation", 2001). Calibrated risks stand for losses: they mean the same and
// vary less.
func (k *kept) worth(set uint32, cost *Cost, price float64) float64 {
	n := int(min(k.n, keptRows))
	spent := 0.0
	for s := set; s != 0; s &= s - 1 {
		spent += cost.Ramp[bits.TrailingZeros32(s)]
	}
	value := k.value[:n]
	for i := range value {
		value[i] = -spent / cost.Whole
	}
	for s := set; s != 0; {
		r := 31 - bits.LeadingZeros32(s)
		s &^= 1 << r
		saved := 1 - (cost.Until[r]+spent)/cost.Whole
		spent -= cost.Ramp[r]
		var sum, weight [bins]float64
		for i, v := range value {
			b, w := k.bins[i*k.ramps+r], float64(k.weight[i])
			sum[b] += w * v
			weight[b] += w
		}
		for i := range value {
			b := k.bins[i*k.ramps+r]
			if leave := saved - price*float64(k.risks[i*k.ramps+r]); leave*weight[b] >= sum[b] {
				value[i] = leave
			}
		}
	}
	total, weight := 0.0, 0.0
	for i, v := range value {
		total += float64(k.weight[i]) * v
		weight += float64(k.weight[i])
	}
	return total / weight
}

// fits tells that a set's ramps stay within the budget at a cost.
func fits(set uint32, cost *Cost, budget float64) bool {
	spent := 0.0
	for s := set; s != 0; s &= s - 1 {
		spent += cost.Ramp[bits.TrailingZeros32(s)]
	}
	return spent <= budget*cost.Whole
}

// climb improves a set by adding, dropping and exchanging ramps until nothing
// helps.
func (k *kept) climb(set uint32, cost *Cost, price float64, allowed func(uint32) bool) (uint32, float64) {
	best := k.worth(set, cost, price)
	for {
		next := set
		try := func(s uint32) {
			if !allowed(s) {
				return
			}
			if v := k.worth(s, cost, price); v > best+1e-12 {
				next, best = s, v
			}
		}
		for r := range k.ramps {
			try(set ^ 1<<r)
			for q := range r {
				if set>>r&1 != set>>q&1 {
					try(set ^ 1<<r ^ 1<<q)
				}
			}
		}
		if next == set {
			return set, best
		}
		set = next
	}
}

// spread is the largest set of evenly spaced ramps that is allowed.
func spread(ramps int, allowed func(uint32) bool) uint32 {
	for n := ramps; n > 0; n-- {
		set := uint32(0)
		for i := range n {
			set |= 1 << (i * ramps / n)
		}
		if allowed(set) {
			return set
		}
	}
	return 0
}
