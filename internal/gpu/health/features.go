package health

import (
	"fmt"
	"math"

	"motley/internal/gpu/device"
	"motley/internal/mono"
)

// features are the hardware signals of one worker that are compared with its
// peers': smoothed levels under load, and counts that fade.
type features struct {
	level [levels]smoothed
	count [counts]fading
	odd   int // samples in which something stood out, less those in which nothing did
	what  string
	found bool
}

const (
	temperature = iota
	smClock
	memoryClock
	levels
)

const (
	corrected = iota
	replays
	counts
)

// traits say how a feature is compared: how far it must at least scatter,
// relative to the peers' median and absolutely, and which side is the bad one.
var traits = [levels + counts]struct {
	name               string
	relative, absolute float64
	high               bool
}{
	{"temperature, °C", 0, 4, true},
	{"SM clock, MHz", 0.03, 0, false},
	{"memory clock, MHz", 0.03, 0, false},
	{"corrected memory errors of late", 0.5, 10, true},
	{"PCIe replays of late", 0.5, 10, true},
}

const (
	smoothing   = 0.2
	fadeSeconds = 600.0
	oddSpreads  = 6
	oddSamples  = 5
	oddPeers    = 3
)

type smoothed struct {
	v     float64
	known bool
}

func (s *smoothed) add(n device.Number) {
	switch {
	case !n.Known:
	case !s.known:
		s.v, s.known = n.Value, true
	default:
		s.v += smoothing * (n.Value - s.v)
	}
}

// fading counts what a counter rises by, forgetting over ten minutes.
type fading struct {
	v, last float64
	at      mono.Time
	known   bool
}

func (f *fading) add(now mono.Time, n device.Number) {
	if !n.Known {
		return
	}
	if f.known {
		f.v *= math.Exp(-now.Sub(f.at).Seconds() / fadeSeconds)
		f.v += max(0, n.Value-f.last) // a counter that fell was reset
	}
	f.last, f.at, f.known = n.Value, now, true
}

// sample takes a sample of a worker's device.
func (f *features) sample(now mono.Time, s device.Sample) {
	if loaded(s) {
		f.level[temperature].add(s.TemperatureC)
		f.level[smClock].add(s.SMClockMHz)
		f.level[memoryClock].add(s.MemoryClockMHz)
	}
	f.count[corrected].add(now, s.ECC.VolatileCorrected)
	f.count[replays].add(now, s.PCIeReplay)
}

// value is feature i, levels first.
func (f *features) value(i int) (float64, bool) {
	if i < levels {
		return f.level[i].v, f.level[i].known
	}
	return f.count[i-levels].v, f.count[i-levels].known
}

// compare looks at a member's hardware beside its peers', once per sample.
func (p *peers) compare(m *member) {
	for i, t := range traits {
		v, ok := m.hw.value(i)
		if !ok {
			continue
		}
		p.scratch = p.scratch[:0]
		for _, o := range p.members {
			if w, ok := o.hw.value(i); ok && o != m {
				p.scratch = append(p.scratch, w)
			}
		}
		if len(p.scratch) < oddPeers {
			continue
		}
		mid, spread := centre(p.scratch)
		spread = max(spread, t.relative*math.Abs(mid), t.absolute)
		if off := (v - mid) / spread; t.high && off > oddSpreads || !t.high && off < -oddSpreads {
			m.hw.odd = min(m.hw.odd+1, 2*oddSamples)
			m.hw.found = m.hw.found || m.hw.odd >= oddSamples
			m.hw.what = fmt.Sprintf("%s: %.4g, and %.4g on its peers", t.name, v, mid)
			return
		}
	}
	m.hw.odd = max(m.hw.odd-1, 0)
	m.hw.found = m.hw.found && m.hw.odd > 0
}

// loaded reports whether a device was at work, so that its clocks mean
// something: an idle one lowers them.
func loaded(s device.Sample) bool {
	if s.Throttle&device.Idle != 0 {
		return false
	}
	return !s.Utilisation.Known || s.Utilisation.Value >= 0.05
}
