package pool

import (
	"errors"
	"fmt"
	"math"
)

// savedProfile is the written form of a Profile. Times are in ns; floats are
// written so that they read back to the last bit. What follows from the rest
// (means, bounds, tables) is computed anew.
type savedProfile struct {
	Model        string       `json:"model"`
	InstanceType string       `json:"instance_type"`
	Measured     bool         `json:"measured"` // the knots were
	Batches      int          `json:"batches"`  // observed
	Quantile     float64      `json:"quantile"`
	Table        [2]float64   `json:"table"` // fixed, per item
	Law          [2]float64   `json:"law"`   // fixed, per unit
	Sums         [6]float64   `json:"sums"`  // w, x, xx, y, xy, n
	Knots        []savedKnot  `json:"knots"`
	Drift        savedDrift   `json:"drift"`
	Spread       *savedSpread `json:"spread,omitempty"`
}

type savedKnot struct {
	Items   int     `json:"items"`
	Unit    float64 `json:"unit"`
	P99     float64 `json:"p99"`
	Weight  float64 `json:"weight"`
	Ratios  float64 `json:"ratios"`
	Learned float64 `json:"learned"`
}

type savedDrift struct {
	Deviation    float64 `json:"deviation"`
	Mean         float64 `json:"mean"`
	Streak       int     `json:"streak"`
	Off          bool    `json:"off"`
	Drifts       int     `json:"drifts"`
	Replacements int     `json:"replacements"`
}

type savedSpread struct {
	Bins    []savedBin      `json:"bins,omitempty"` // those not 0
	Total   float64         `json:"total"`
	Unit    float64         `json:"unit"`
	Count   int             `json:"count"`
	Waiting []savedResidual `json:"waiting,omitempty"`

	Last      float64 `json:"last"`
	LastQ     float64 `json:"last_quantile"`
	LastCount int     `json:"last_count"`

	Weights [octaves]float64 `json:"widths_weight"`
	Squares [octaves]float64 `json:"widths_squares"`
	All     float64          `json:"width_square"`
	AllN    float64          `json:"width_count"`
}

type savedBin struct {
	Bin    int     `json:"bin"`
	Weight float64 `json:"weight"`
}

type savedResidual struct {
	Log   float64 `json:"log"`
	Items int     `json:"items"`
}

func saved(l Learned) savedProfile {
	p := l.Profile
	s := savedProfile{
		Model: l.Model, InstanceType: l.InstanceType, Measured: p.seeded, Batches: p.seen, Quantile: p.q,
		Table: [2]float64{p.table.fixed, p.table.per}, Law: [2]float64{p.law.fixed, p.law.per},
		Sums:  [6]float64{p.sums.w, p.sums.x, p.sums.xx, p.sums.y, p.sums.xy, p.sums.n},
		Drift: savedDrift{p.shift.deviation, p.shift.fast, p.shift.streak, p.shift.off, p.shift.drifts, p.shift.replacements},
	}
	for _, k := range p.knots {
		s.Knots = append(s.Knots, savedKnot{k.n, k.u, k.p99, k.w, k.r, k.learned})
	}
	if p.seen > 0 {
		s.Spread = p.ratio.saved()
	}
	return s
}

func (s *spread) saved() *savedSpread {
	out := &savedSpread{
		Total: s.total, Unit: s.unit, Count: s.count, Last: s.last, LastQ: s.lastQ, LastCount: s.lastCount,
		Weights: s.sizes.w, Squares: s.sizes.sum, All: s.sizes.all, AllN: s.sizes.n,
	}
	for i, w := range s.bins {
		if w != 0 {
			out.Bins = append(out.Bins, savedBin{i, w})
		}
	}
	for _, r := range s.waiting[:s.queued] {
		out.Waiting = append(out.Waiting, savedResidual{r.log, r.n})
	}
	return out
}

// restore makes the profile, if one could have been saved so.
func (s *savedProfile) restore() (Learned, error) {
	l := Learned{Model: s.Model, InstanceType: s.InstanceType}
	switch {
	case s.Model == "":
		return l, errors.New("model: must not be empty")
	case s.InstanceType == "":
		return l, errors.New("instance_type: must not be empty")
	case s.Batches < 0:
		return l, fmt.Errorf("batches: %d: must not be negative", s.Batches)
	case !(s.Quantile >= 0.001 && s.Quantile <= 0.999):
		return l, fmt.Errorf("quantile: %v: must be between 0.001 and 0.999", s.Quantile)
	}
	for _, part := range []struct {
		name   string
		values []float64
	}{{"table", s.Table[:]}, {"law", s.Law[:]}, {"sums", s.Sums[:]}} {
		for _, v := range part.values {
			if !(v >= 0 && v <= most) {
				return l, fmt.Errorf("%s: %v: must not be negative, or beyond %v", part.name, v, most)
			}
		}
	}
	p := &Profile{
		seeded: s.Measured, seen: s.Batches, q: s.Quantile,
		table: line{s.Table[0], s.Table[1]}, law: line{s.Law[0], s.Law[1]},
		sums: sums{w: s.Sums[0], x: s.Sums[1], xx: s.Sums[2], y: s.Sums[3], xy: s.Sums[4], n: s.Sums[5]},
	}
	l.Profile = p
	if len(s.Knots) == 0 {
		if s.Measured || s.Batches > 0 {
			return l, errors.New("knots: there are none, but something is known")
		}
		return l, nil
	}
	if !s.Measured && (s.Batches == 0 || s.Spread == nil) {
		return l, errors.New("batches: there are knots, but neither measurements nor batches")
	}
	if err := s.restoreKnots(p); err != nil {
		return l, err
	}
	d := s.Drift
	if !(d.Deviation >= 0 && d.Deviation <= most) || !(math.Abs(d.Mean) <= most) || d.Drifts < 0 || d.Replacements < 0 {
		return l, fmt.Errorf("drift: %+v: out of range", d)
	}
	p.shift = drift{d.Deviation, d.Mean, d.Streak, d.Off, d.Drifts, d.Replacements}
	if s.Spread != nil {
		if err := s.Spread.restore(&p.ratio); err != nil {
			return l, fmt.Errorf("spread: %w", err)
		}
	}
	p.reindex()
	p.refresh()
	line := p.whole.corners
	if !(line[0].mean > 0 && line[len(line)-1].bound <= math.MaxFloat64) {
		return l, errors.New("law: the estimates that follow are not finite and positive")
	}
	return l, nil
}

// most bounds every number of a file: far beyond what a Profile computes, and
// far from where the products of two overflow.
const most = 1e100

func (s *savedProfile) restoreKnots(p *Profile) error {
	p.knots = make([]knot, len(s.Knots))
	for i, k := range s.Knots {
		switch {
		case k.Items < 1 || i > 0 && k.Items <= s.Knots[i-1].Items:
			return fmt.Errorf("knots: %d: items: %d: must be at least 1 and rise", i, k.Items)
		case !(k.Unit > 0 && k.Unit <= most):
			return fmt.Errorf("knots: %d: unit: %v: must be positive", i, k.Unit)
		case !(k.P99 >= 1 && k.P99 <= most):
			return fmt.Errorf("knots: %d: p99: %v: must be at least 1", i, k.P99)
		case !(k.Weight >= 0 && k.Weight <= most && k.Ratios >= 0 && k.Ratios <= most && k.Learned >= 0 && k.Learned <= most):
			return fmt.Errorf("knots: %d: %+v: weight, ratios, learned: must not be negative", i, k)
		}
		p.knots[i] = knot{n: k.Items, u: k.Unit, p99: k.P99, w: k.Weight, r: k.Ratios, learned: k.Learned}
	}
	return nil
}

func (s *savedSpread) restore(to *spread) error {
	to.total, to.unit, to.count = s.Total, s.Unit, s.Count
	to.last, to.lastQ, to.lastCount = s.Last, s.LastQ, s.LastCount
	to.sizes = scales{w: s.Weights, sum: s.Squares, all: s.All, n: s.AllN}
	sum := 0.0
	for i, b := range s.Bins {
		if b.Bin < 0 || b.Bin >= spreadBins || i > 0 && b.Bin <= s.Bins[i-1].Bin || !(b.Weight >= 0 && b.Weight <= most) {
			return fmt.Errorf("bins: %d: %+v: out of range or order", i, b)
		}
		to.bins[b.Bin] = b.Weight
		sum += b.Weight
	}
	for _, v := range [...]float64{s.Total, s.Unit, s.Last, s.LastQ, s.All, s.AllN} {
		if !(v >= 0 && v <= most) {
			return fmt.Errorf("%v: must not be negative, or beyond %v", v, most)
		}
	}
	for k := range octaves {
		if !(s.Weights[k] >= 0 && s.Weights[k] <= most && s.Squares[k] >= 0 && s.Squares[k] <= most) {
			return fmt.Errorf("widths: %d: %v, %v: must not be negative", k, s.Weights[k], s.Squares[k])
		}
	}
	switch {
	case math.Abs(s.Total-sum) > 1e-6*sum:
		return fmt.Errorf("total: %v: the bins sum to %v", s.Total, sum)
	case s.Count < 0 || s.LastCount < 0 || s.LastCount > s.Count:
		return fmt.Errorf("count: %d, last_count: %d: out of range", s.Count, s.LastCount)
	case len(s.Waiting) > spreadDelay:
		return fmt.Errorf("waiting: %d: at most %d", len(s.Waiting), spreadDelay)
	}
	for i, r := range s.Waiting {
		if !(math.Abs(r.Log) <= most) || r.Items < 1 {
			return fmt.Errorf("waiting: %d: %+v: out of range", i, r)
		}
		to.waiting[i] = residual{r.Log, r.Items}
	}
	to.queued = len(s.Waiting)
	return nil
}
