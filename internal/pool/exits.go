package pool

import "math"

// Stage is a part of an execution that its rows may leave after.
type Stage struct {
	Share float64 // of the time of a whole run, at any batch size; the shares of all stages add up to 1
	Rows  int     // that ran it
}

// Mix is the exit mix of a model: how likely a row is to reach each stage. It is
// learned on all instance types together, since it is the inputs that decide.
// The zero value knows nothing. Time alone changes nothing: a model of which
// nothing ran has no load that an old mix could hurt.
type Mix struct {
	reach   []float64 // by stage
	used    []float64 // reach, as estimates are made of it
	rows    float64   // that reach is of, at most mixSpan
	off     []float64 // by stage: running sum of rows over what was expected
	noise   []float64 // and of its variance
	scatter float64   // the variance of a batch's rows over the binomial one
	version uint64    // of used
}

const (
	mixPrior = 32   // rows' worth of belief that all run to the end
	mixSpan  = 2048 // rows that the mix is of
	// mixMoves is how far the probability of a stage moves before the estimates
	// are made anew.
	mixMoves = 0.01
	// A mix is taken to have changed when the rows of about mixWindow batches
	// together are mixSigmas standard deviations off; then what it was counts for
	// mixKeep of its rows.
	mixWindow = 8
	mixSigmas = 4
	mixKeep   = 0.125
	// scatterSpan is how many batches the scatter is of, and scatterMost the most
	// that one of them counts for.
	scatterSpan = 256
	scatterMost = 100
)

// begin sets the mix of so many stages to all rows running to the end.
func (m *Mix) begin(stages int) {
	*m = Mix{
		reach: make([]float64, stages), used: make([]float64, stages), rows: mixPrior, scatter: 1,
		off: make([]float64, stages), noise: make([]float64, stages), version: m.version + 1,
	}
	for i := range m.reach {
		m.reach[i], m.used[i] = 1, 1
	}
}

func (m *Mix) clone() *Mix {
	c := *m
	for _, s := range [...]*[]float64{&c.reach, &c.used, &c.off, &c.noise} {
		*s = append([]float64(nil), *s...)
	}
	return &c
}

// observe takes in how far the n rows of a batch ran; no stages: to the end.
func (m *Mix) observe(n int, stages []Stage) {
	rows := float64(n)
	changed, square, counted := false, 0.0, 0
	for s := 1; s < len(m.reach); s++ { // all run the first
		ran := rows
		if len(stages) > 0 {
			ran = float64(stages[s].Rows)
		}
		p := m.reach[s]
		off := ran - rows*p
		// Of a stage that all rows or none were seen to reach the next may be the first.
		v := rows * max(p*(1-p), 1/(m.rows+1)) * (1 + rows/m.rows)
		square += off * off / v
		counted++
		m.off[s] += off - m.off[s]/mixWindow
		m.noise[s] += v*m.scatter - m.noise[s]/mixWindow
		changed = changed || m.off[s]*m.off[s] > mixSigmas*mixSigmas*m.noise[s]
	}
	if counted > 0 {
		m.scatter += (min(square/float64(counted), scatterMost) - m.scatter) / scatterSpan
	}
	if changed {
		m.rows = max(mixPrior, m.rows*mixKeep)
		clear(m.off)
		clear(m.noise)
	}
	moved := false
	for s := range m.reach {
		share := 1.0
		if len(stages) > 0 {
			share = float64(stages[s].Rows) / rows
		}
		m.reach[s] = min(1, m.reach[s]+(share-m.reach[s])*rows/(m.rows+rows))
		moved = moved || math.Abs(m.reach[s]-m.used[s]) > mixMoves
	}
	m.rows = min(m.rows+rows, mixSpan)
	if moved {
		copy(m.used, m.reach)
		m.version++
	}
}

// expected is the mean time of a stage that each of n rows reaches with
// probability p, as a share of the stage's time, were time the curve:
//
//	E L(N) with E N = n·p and L(0) = 0,
//
// which is P(N > 0)·L(E[N | N > 0]) where L is affine from one row on, as
// latencies very nearly are. Were the rows independent, N would be binomial and
// P(N > 0) = 1 − (1−p)^n; as the scatter tells, they are like n / scatter rows
// that are.
func (m *Mix) expected(l *curve, n int, p float64) float64 {
	some := -math.Expm1(max(1, float64(n)/max(1, m.scatter)) * math.Log1p(-p))
	if !(some > 0) {
		return 0
	}
	return some * l.between(max(1, float64(n)*p/some))
}

// most is a number of rows, of n, that no more than reach the stage with
// probability q: the normal approximation with its correction for skewness
// (Cornish-Fisher), and half a row for N being whole. rows is how many the
// probability was learned of, z the quantile of the standard normal law.
func (m *Mix) most(n int, p, z float64) float64 {
	x := float64(n)
	v := x * max(p*(1-p), 1/(m.rows+1)) * (1 + x/m.rows) * max(m.scatter, 1)
	return min(x, x*p+z*math.Sqrt(v)+max(0, z*z-1)/6*math.Abs(1-2*p)+0.5)
}
