package load

import (
	"math/rand/v2"

	"motley/internal/mono"
	"motley/internal/workload"
)

// shot is a request that is to be sent.
type shot struct {
	at    mono.Time // since the phase began
	model int
	rows  int
	pick  float64 // 0 … 1: which rows of what there is
	warm  bool
}

// schedule names the shots of one phase, in order. The same seed names the
// same ones, to every target and however many loops share them.
type schedule struct {
	arrivals             *workload.Source
	sizes                *workload.Sizes
	sizing, mixing, rows *rand.Rand
	models               int
	warm, end            mono.Time
	left                 int // shots to come after the warm-up; −1: until end
	share, of            int // this loop takes every of-th shot, from share on
	index                int
}

// newSchedule starts the schedule of a phase.
func newSchedule(p *Plan, ph *Phase, share int) (*schedule, error) {
	seed := p.Seed + uint64(ph.Round)
	arrivals, err := p.Arrivals.Start(ph.Rate, workload.Stream(seed, "arrivals"))
	if err != nil {
		return nil, err
	}
	s := &schedule{
		arrivals: arrivals, sizes: p.Sizes, models: len(p.Models),
		sizing: workload.Stream(seed, "sizes"), mixing: workload.Stream(seed, "models"), rows: workload.Stream(seed, "rows"),
		warm: mono.Time(p.Warmup), end: mono.Time(p.Warmup).Add(p.Duration), left: -1,
		share: share, of: p.Threads,
	}
	if p.Requests > 0 {
		s.left, s.end = p.Requests, mono.Never
	}
	return s, nil
}

// next is this loop's next shot; false: there is none.
func (s *schedule) next() (shot, bool) {
	for {
		x := shot{at: s.arrivals.Next()}
		x.warm = x.at < s.warm
		if x.at >= s.end || s.left == 0 {
			return shot{}, false
		}
		if s.left > 0 && !x.warm {
			s.left--
		}
		x.rows = s.sizes.Draw(s.sizing)
		x.model = s.mixing.IntN(s.models)
		x.pick = s.rows.Float64()
		mine := s.index%s.of == s.share
		s.index++
		if mine {
			return x, true
		}
	}
}
