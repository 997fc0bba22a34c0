package health

import (
	"fmt"
	"math"

	"motley/internal/gpu/device"
	"motley/internal/mono"
)

// derating is how much slower a worker's hardware says it is, checked against
// how much slower it is.
type derating struct {
	clocks ring // SM clocks under load without trouble, MHz
	low    int  // samples in a row with clocks too low and no trouble named
	on     bool
	factor float64 // what the hardware says; at least 1
	vague  bool    // it says that it is slower, not by how much
	text   string
	clean  int       // samples in a row without a reason
	last   mono.Time // of the last reason
	lats   ring      // logarithms of ratios over the usual, since it is on

	scratch []float64
}

const (
	// lowClock is the share of the usual clock under which a worker is derated
	// without the hardware naming trouble, and backClock that above which it is not.
	lowClock, backClock = 0.85, 0.95
	lowSamples          = 3
	usualClocks         = 64 // samples
	usualLeast          = 8
	throttledShare      = 0.1 // of a host's periods
	// trust is how many batches weigh as much as what the hardware says.
	trust = 8
	// most is the largest factor believed.
	most = 20
)

func newDerating() derating {
	return derating{clocks: newRing(usualClocks), lats: newRing(medianSpan), factor: 1}
}

// usual is the SM clock that the worker has under load: the 90th percentile
// of what was seen or, with little seen, what the device can do at most.
func (d *derating) usual(most device.Number) device.Number {
	if d.clocks.n < usualLeast {
		return most
	}
	d.scratch = d.clocks.last(usualClocks, d.scratch[:0])
	median(d.scratch) // orders it
	return device.Of(d.scratch[len(d.scratch)*9/10])
}

// says is the factor that one sample speaks for, and why; 1 for none.
func (d *derating) says(s device.Sample, most device.Number) (factor float64, why string) {
	if l := s.Load; l != nil && l.Throttled.Known && l.Throttled.Value > throttledShare {
		return held(1 / (1 - l.Throttled.Value)), fmt.Sprintf("its control group is held back in %.0f %% of its periods", 100*l.Throttled.Value)
	}
	trouble := s.Throttle & device.Trouble
	share := device.Number{}
	if loaded(s) {
		share = s.SMClockMHz.Over(d.usual(most))
	}
	low := share.Known && share.Value < lowClock
	if d.low++; !low {
		d.low = 0
	}
	switch {
	case trouble != 0 && share.Known:
		return held(1 / share.Value), fmt.Sprintf("throttled (%v): SM clock %.0f MHz, %.0f %% of its usual", trouble, s.SMClockMHz.Value, 100*share.Value)
	case trouble != 0:
		return 1, fmt.Sprintf("throttled (%v), by how much is not known", trouble)
	case low && d.low >= lowSamples:
		return held(1 / share.Value), fmt.Sprintf("SM clock %.0f MHz under load, %.0f %% of its usual (%v)", s.SMClockMHz.Value, 100*share.Value, s.Throttle)
	case low:
		return 1, ""
	}
	if s.SMClockMHz.Known && loaded(s) {
		d.clocks.add(s.SMClockMHz.Value)
	}
	return 1, ""
}

func held(factor float64) float64 {
	if math.IsNaN(factor) || factor > most {
		return most
	}
	return max(1, factor)
}

// sample takes a sample of the worker's device.
func (d *derating) sample(now mono.Time, s device.Sample, top device.Number, cfg Config) {
	factor, why := d.says(s, top)
	if why != "" {
		if !d.on {
			d.on, d.lats = true, newRing(medianSpan)
		}
		d.factor, d.text, d.clean, d.last = factor, why, 0, now
		d.vague = factor == 1
		return
	}
	if !d.on {
		return
	}
	// Between what is low and what is back, nothing changes.
	if share := s.SMClockMHz.Over(d.usual(top)); share.Known && share.Value < backClock && loaded(s) {
		return
	}
	if d.clean++; d.clean >= cfg.Clean && now.Sub(d.last) >= cfg.Hold {
		d.on, d.factor, d.text, d.low = false, 1, "", 0
	}
}

// batch notes how far one batch was over the usual, as a logarithm.
func (d *derating) batch(over float64) {
	if d.on {
		d.lats.add(over)
	}
}

// measured is what latencies say since the derating began.
func (d *derating) measured() (factor float64, batches int) {
	d.scratch = d.lats.last(medianSpan, d.scratch[:0])
	return math.Exp(max(0, median(d.scratch))), d.lats.n
}

// slowdown weighs what the hardware says against what latencies say.
func (d *derating) slowdown() (factor float64, text string) {
	if !d.on {
		return 1, ""
	}
	measured, n := d.measured()
	if n == 0 {
		return d.factor, d.text
	}
	if d.vague {
		return measured, fmt.Sprintf("%s; its last %d batches say %.2f times slower", d.text, n, measured)
	}
	w := float64(n) / float64(n+trust)
	factor = math.Exp((1-w)*math.Log(d.factor) + w*math.Log(measured))
	return factor, fmt.Sprintf("%s; its clocks say %.2f times slower, its last %d batches %.2f", d.text, d.factor, n, measured)
}
