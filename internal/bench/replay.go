package bench

import (
	"math/rand/v2"

	"motley/internal/earlyexit"
	"motley/internal/exitstream"
)

// fate is what became of a row in a replay.
type fate struct {
	exit     int     // the ramp that answered; −1: the full model
	ran      bool    // it ran to the end
	disagree bool    // the answer is not the full model's
	latency  float64 // until its answer, in runs without ramps
	compute  float64 // spent on it, likewise
}

// replay runs a controller over a stream in batches of n rows: at each active
// ramp, in order, all rows of the batch that have not left; outcomes are learned
// after the batch. The controller is shown no signal of a ramp that is not
// active or that the row has not come to, and no agreement but of ramps that it
// saw, of rows that ran to the end.
func replay(c earlyexit.Controller, s *exitstream.Stream, mode earlyexit.Mode, n int, seed uint64) []fate {
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	cost := s.Cost()
	fates := make([]fate, len(s.Rows))
	rows := make([]earlyexit.Row, n)
	audits := make([]float64, n)
	for from := 0; from < len(s.Rows); from += n {
		batch := s.Rows[from:min(from+n, len(s.Rows))]
		active := c.Active(len(batch), rng.Float64())
		active &= 1<<s.Ramps - 1
		adds := 0.0
		for k := range batch {
			rows[k] = earlyexit.Row{Seq: uint64(from + k), Signals: unseen(s.Ramps), Mode: mode}
			fates[from+k] = fate{exit: -1, ran: true}
			audits[k] = 1
		}
		for r := range s.Ramps {
			if active>>r&1 == 0 {
				continue
			}
			adds += cost.Ramp[r]
			for k := range batch {
				f, row := &fates[from+k], &rows[k]
				if !f.ran {
					continue
				}
				row.Signals[r] = batch[k].Signals[r]
				if f.exit >= 0 {
					continue // it runs on to be checked
				}
				row.Chance = rng.Float64()
				v := c.Decide(row, r)
				if !v.Exit {
					continue
				}
				f.exit, f.ran, audits[k] = r, !v.Stop, v.Audit
				f.latency = (cost.Until[r] + adds) / cost.Whole
				f.compute = f.latency
				f.disagree = batch[k].Agree>>r&1 == 0
			}
		}
		for k := range batch {
			f := &fates[from+k]
			if f.ran {
				f.compute = 1 + adds/cost.Whole
			}
			if f.exit < 0 {
				f.latency = f.compute
			}
			o := earlyexit.Outcome{Seq: rows[k].Seq, Signals: rows[k].Signals, Exit: f.exit, Audit: audits[k], Ran: f.ran, Class: -1}
			if f.ran {
				o.Agree, o.Class = batch[k].Agree&active, batch[k].Class
			}
			c.Learn(&o)
		}
	}
	return fates
}

func unseen(ramps int) []earlyexit.Signal {
	signals := make([]earlyexit.Signal, ramps)
	for r := range signals {
		signals[r] = earlyexit.Unseen
	}
	return signals
}
