package earlyexit

import "math"

// noOdds stands for a ramp that was not evaluated.
const noOdds = float32(math.MaxFloat32)

// confidenceOdds is a confidence as log-odds, bounded: single precision knows
// none beyond.
func confidenceOdds(c float32) float64 { return logit(max(1e-3, min(1-6e-6, float64(c)))) }

// features describes into x what is known of a row at ramp r, which it has a
// signal of. Every feature is of the order of 1, and 0 where unknown, so that
// confidence alone works as well. near is how many of the last rows that ran to
// the end looked like it.
func (a *Adaptive) features(signals []Signal, r int, x *vector) (near float64) {
	s := &signals[r]
	var all [MaxRamps]float32
	last, lowest, sum, n, same, classes := -1, math.Inf(1), 0.0, 0.0, 0.0, 0.0
	for q := range r {
		all[q] = noOdds
		if !signals[q].Seen() {
			continue
		}
		o := confidenceOdds(signals[q].Confidence)
		all[q] = float32(o)
		last, lowest, sum, n = q, min(lowest, o), sum+o, n+1
		if s.Class >= 0 && signals[q].Class >= 0 {
			classes++
			if s.Class == signals[q].Class {
				same++
			}
		}
	}
	odds := confidenceOdds(s.Confidence)
	all[r] = float32(odds)
	*x = vector{0: 1, 1: odds / 4, 2: max(0, odds-4) / 4}
	if n > 0 {
		x[3], x[4], x[5] = float64(all[last])/4, lowest/4, sum/n/4
	}
	if classes > 0 {
		x[6] = -1
		if signals[last].Class == s.Class {
			x[6] = 1
		}
		x[7] = same/classes - 0.5
		x[8] = x[6] * odds / 4
	}
	if s.Margin >= 0 { // of more than two classes it knows more than the confidence
		x[9] = (logit(max(1e-3, min(1-6e-6, float64(s.Margin)))) - odds) / 4
	}
	if s.Entropy >= 0 {
		x[10] = (math.Log(max(1e-5, min(1, float64(s.Entropy)))) + odds) / 4
	}
	p := &a.ramps[r]
	if s.Class >= 0 {
		x[11] = p.classes[s.Class%classSlots].against(&p.all)
	}
	x[12] = p.recent
	if s.Class >= 0 && a.answer >= 0 {
		x[13] = -1
		if s.Class == a.answer {
			x[13] = 1
		}
	}
	x[14], x[15], near = a.near.vote(signals, &all, r)
	return near
}

// classSlots is how many classes have an account of their own; others share
// one by their remainder.
const classSlots = 64

// rate is a share of rows that disagreed, with old rows forgotten.
type rate struct{ n, k float64 }

func (t *rate) learn(y, weight, rows float64) {
	keep := 1 - 1/rows
	t.n = t.n*keep + weight
	t.k = t.k*keep + weight*y
}

// against is the logarithm of how much more often than all a class disagrees,
// drawn towards 0.
func (t *rate) against(all *rate) float64 {
	usual := (all.k + 0.1) / (all.n + 1)
	return math.Log((t.k + 20*usual) / (t.n + 20) / usual)
}
