package earlyexit

import "math"

// The risks that a plan can have: gridSize values of τ, evenly apart in their
// logarithm.
const (
	gridSize = 56
	gridLow  = 1e-4
	gridStep = 0.18
)

// mix is what each τ would have cost of late: the mean calibrated risk of the
// exits that it lets pass. It needs no labels, so it follows a change of the
// rows at once.
type mix struct {
	taus [gridSize]float64
	risk [gridSize]float64
}

func newMix() (m mix) {
	for g := range m.taus {
		m.taus[g] = gridLow * math.Exp(gridStep*float64(g))
	}
	return m
}

// learn takes in a row: by ramp the τ from which on it exits there, the risk
// of that, and bits for those known. weight is 0 where the row was not run on
// past its exit, else what it stands for; whatever lies at or above the first
// score is known of every row.
func (m *mix) learn(scores, risks []float64, seen uint32, own int, weight, rows float64) {
	share := 1 / rows
	for g := range m.risk {
		m.risk[g] *= 1 - share
	}
	end := gridSize // grid points from here on are taken
	for r := range scores {
		if seen>>r&1 == 0 {
			continue
		}
		first := m.from(scores[r])
		if first >= end {
			continue
		}
		w := share
		if own >= 0 && r > own {
			w *= weight
		}
		for g := first; g < end; g++ {
			m.risk[g] += w * risks[r]
		}
		end = first
	}
}

// from is the first grid point at or above a score.
func (m *mix) from(score float64) int {
	if !(score > gridLow) {
		return 0
	}
	g := max(0, min(gridSize, int(math.Ceil(math.Log(score/gridLow)/gridStep))))
	for g > 0 && m.taus[g-1] >= score {
		g--
	}
	for g < gridSize && m.taus[g] < score {
		g++
	}
	return g
}

// tau is the largest τ that would have kept the mean risk within want, between
// grid points by the logarithm.
func (m *mix) tau(want float64) float64 {
	for g, p := range m.risk {
		if p <= want {
			continue
		}
		if g == 0 {
			return gridLow * want / p
		}
		t := (want - m.risk[g-1]) / (p - m.risk[g-1])
		return m.taus[g-1] * math.Exp(gridStep*max(0, t))
	}
	return m.taus[gridSize-1]
}
