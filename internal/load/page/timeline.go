package page

import (
	"math"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"motley/internal/load"
)

// timeline is the phases of one stream at one target, one after the other.
type timeline struct {
	file, target string
	points       []point
	marks        []mark
	end          float64 // s
}

// point is what went on around an instant. Rates are per second.
type point struct {
	at                float64 // s
	due, answered, no float64 // scheduled; ended well; ended otherwise
	p99               float64 // ms, of what was scheduled then; NaN: nothing
}

// mark is where a phase began.
type mark struct {
	at, rate float64
}

// bins counts a phase by time, in at most maxBins of equal width, which doubles
// as need be.
type bins struct {
	width time.Duration
	all   []bin
}

type bin struct {
	due, answered, no int
	latency           *hdr.Histogram // µs, to two digits; nil: nothing
}

const (
	maxBins = 512
	wanted  = 60 // bins of a phase whose length is known
)

func newBins(info *load.PhaseInfo) *bins {
	width := time.Second
	if info.SpanNS > 0 {
		width = max(100*time.Millisecond, time.Duration(info.WarmNS+info.SpanNS)/wanted)
	}
	return &bins{width: width}
}

// at is the bin of an instant of the phase.
func (b *bins) at(t time.Duration) *bin {
	for t/b.width >= maxBins {
		b.halve()
	}
	i := int(t / b.width)
	for len(b.all) <= i {
		b.all = append(b.all, bin{})
	}
	return &b.all[i]
}

// halve makes one bin of two.
func (b *bins) halve() {
	n := 0
	for i := 0; i < len(b.all); i += 2 {
		x := b.all[i]
		if i+1 < len(b.all) {
			y := b.all[i+1]
			x.due, x.answered, x.no = x.due+y.due, x.answered+y.answered, x.no+y.no
			switch {
			case x.latency == nil:
				x.latency = y.latency
			case y.latency != nil:
				x.latency.Merge(y.latency)
			}
		}
		b.all[n] = x
		n++
	}
	b.all = b.all[:n]
	b.width *= 2
}

func (b *bins) add(r *load.Record) {
	due := b.at(time.Duration(r.At))
	due.due++
	if r.Outcome != load.OK {
		b.at(time.Duration(r.At)+r.Done).no++
		return
	}
	if due.latency == nil {
		due.latency = hdr.New(1, 2*time.Hour.Microseconds(), 2)
	}
	_ = due.latency.RecordValue(min(r.Done.Microseconds(), due.latency.HighestTrackableValue())) // it is in range
	b.at(time.Duration(r.At)+r.Done).answered++
}

// append puts a phase behind those before it.
func (t *timeline) append(p *phase) {
	t.marks = append(t.marks, mark{t.end, p.info.Rate})
	width := p.bins.width.Seconds()
	for i, b := range p.bins.all {
		x := point{
			at: t.end + (float64(i)+0.5)*width, due: float64(b.due) / width, answered: float64(b.answered) / width, no: float64(b.no) / width,
			p99: math.NaN(),
		}
		if b.latency != nil {
			x.p99 = float64(b.latency.ValueAtQuantile(99)) / 1e3
		}
		t.points = append(t.points, x)
	}
	t.end += float64(len(p.bins.all)) * width
}
