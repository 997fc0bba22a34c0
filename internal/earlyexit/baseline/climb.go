package baseline

import (
	"math"

	"motley/internal/earlyexit"
)

// record is what Apparate keeps of a row: every active ramp's error score and
// whether it agrees, also where the row had left before (§3.2).
type record struct {
	errs  [earlyexit.MaxRamps]float64 // 1 − confidence; NaN where the ramp was not active
	agree uint32
	exit  int
}

func newRecord(o *earlyexit.Outcome) record {
	r := record{agree: o.Agree, exit: o.Exit}
	for i, s := range o.Signals {
		r.errs[i] = math.NaN()
		if s.Seen() {
			r.errs[i] = 1 - float64(s.Confidence)
		}
	}
	return r
}

func (r *record) wrong() bool { return r.exit >= 0 && r.agree>>r.exit&1 == 0 }

// replay is the first of the ramps whose error is under its threshold; −1: none.
func (r *record) replay(ramps []int, thetas []float64) int {
	for _, ramp := range ramps {
		if r.errs[ramp] < thetas[ramp] { // false where it is NaN
			return ramp
		}
	}
	return -1
}

// climber is Apparate's threshold tuning (Alg. 1): a greedy hill climb over
// error thresholds on a window of records, from no exits at all.
type climber struct {
	first, floor float64 // the first step and the smallest
	loss         float64 // the share of the window that may disagree
}

// score is what thresholds give on a window: the mean share of a run that is
// saved, and the share that disagrees.
func score(window []record, ramps []int, thetas []float64, takes []float64) (saved, loss float64) {
	if len(window) == 0 {
		return 0, 0
	}
	for i := range window {
		r := &window[i]
		exit := r.replay(ramps, thetas)
		if exit < 0 {
			saved += 1 - takes[len(takes)-1]
			continue
		}
		saved += 1 - takes[exit]
		if r.agree>>exit&1 == 0 {
			loss++
		}
	}
	n := float64(len(window))
	return saved / n, loss / n
}

// takesOf lists what rows take by ramp, at the end those that exit nowhere.
func takesOf(c *earlyexit.Cost, set uint32) []float64 {
	takes := make([]float64, len(c.Until)+1)
	for r := range c.Until {
		takes[r] = Takes(c, set, r)
	}
	takes[len(c.Until)] = Takes(c, set, -1)
	return takes
}

// climb returns the thresholds by ramp. In each round every ramp is raised alone
// by its step; of those that keep the loss the one with the most saving per loss
// moves and doubles its step, those that do not halve theirs. A step that changes
// nothing is one that keeps the loss, and is taken when there is no better: that
// is how gaps between the records are crossed, and why thresholds end far above
// what the window holds (the released code does the same).
func (c climber) climb(window []record, ramps []int, takes []float64) []float64 {
	thetas := make([]float64, len(takes)-1)
	steps := make([]float64, len(takes)-1)
	for _, r := range ramps {
		steps[r] = c.first
	}
	saved, loss := score(window, ramps, thetas, takes)
	for {
		best, bestScore, bestSaved, bestLoss := -1, 0.0, 0.0, 0.0
		shrunk := false
		for _, r := range ramps {
			if thetas[r] > 1 {
				continue // every record is under it
			}
			thetas[r] += steps[r]
			s, l := score(window, ramps, thetas, takes)
			thetas[r] -= steps[r]
			if l > c.loss+slack {
				if steps[r] > c.floor+slack {
					steps[r] = max(c.floor, steps[r]/2)
					shrunk = true
				}
				continue
			}
			gain := s - saved
			if l > loss {
				gain /= l - loss
			} else if gain > 0 {
				gain = math.Inf(1)
			}
			if best < 0 || gain > bestScore || gain == bestScore && s > bestSaved {
				best, bestScore, bestSaved, bestLoss = r, gain, s, l
			}
		}
		switch {
		case best >= 0:
			thetas[best] += steps[best]
			steps[best] *= 2
			saved, loss = bestSaved, bestLoss
		case !shrunk:
			return thetas
		}
	}
}
