package bench

import (
	"fmt"
	"io"
	"time"

	"motley/internal/mono"
	"motley/internal/pool"
	"motley/internal/sim"
	"motley/internal/workload"
)

// trouble is something that happens to a pool, or to what is asked of it, that
// nobody planned for.
type trouble struct {
	name string
	// put puts it into the set-up of a mix, which is the caller's own copy.
	put func(s *Setup, counts []int) error
}

const (
	calm = "none"
	// minutesIn is how many requests, of all seeds together, make a minute of
	// the trace of counts last one QoS target. These pools serve about 50 in
	// that time, so that the run goes through the 480 minutes at least once: else
	// its mean rate would not be the one asked for.
	minutesIn = 24_000
	// speedInQoS is how long a measured speed of a machine lasts.
	speedInQoS = 20
)

// troubles are the disturbances of the suite; those that need files only with
// a data folder.
func (s *Suite) troubles() ([]trouble, error) {
	all := []trouble{
		{calm, func(*Setup, []int) error { return nil }},
		{"latency noise 10 %", func(s *Setup, _ []int) error {
			s.Disturb = append(s.Disturb, sim.LognormalNoise(0.1))
			return nil
		}},
		{"fastest type 20 % slower for a third", func(s *Setup, counts []int) error {
			typ := s.Types[s.fastest(counts)].Name
			s.Disturb = append(s.Disturb, func(next sim.Serve, set sim.Setting) (sim.Serve, error) {
				return sim.Slowdown(typ, mono.Time(set.Span/3), mono.Time(2*set.Span/3), 1.2)(next, set)
			})
			return nil
		}},
		{"a worker lost for a tenth", func(s *Setup, counts []int) error {
			w, notice := pool.WorkerID(firstOfMost(counts)), s.Model.QoS
			s.OutagesOver = func(span time.Duration) []sim.Outage {
				return []sim.Outage{{Worker: w, From: mono.Time(4 * (span / 10)), To: mono.Time(5 * (span / 10)), Notice: notice}}
			}
			return nil
		}},
	}
	if s.Dir == "" {
		return all, nil
	}
	name := s.file("azure_vm_noise", "relative_speed_sampled.csv")
	var speeds *sim.Speeds
	err := withFile(name, func(r io.Reader) (err error) {
		speeds, err = sim.ReadSpeeds(name, r, "redis_get", "D8s_v5")
		return err
	})
	if err != nil {
		return nil, err
	}
	return append(all, trouble{"measured speeds of machines", func(s *Setup, _ []int) error {
		s.Disturb = append(s.Disturb, sim.MeasuredSpeeds(speeds, speedInQoS*s.Model.QoS))
		return nil
	}}, trouble{"bursts of minute counts", s.burst}), nil
}

// burst replaces the arrivals by the minute counts of all functions that are
// called by HTTP, the burstiest of that trace, at the mean rate asked for. All
// requests are of one long run, so that minutes are as long as can be.
func (s *Suite) burst(set *Setup, _ []int) (err error) {
	set.Requests, set.Seeds = set.Requests*len(set.Seeds), set.Seeds[:1]
	minute := max(time.Millisecond, time.Duration(float64(set.Model.QoS)*float64(set.Requests)/minutesIn))
	file := s.file("azure_functions", "invocations_500f_min480-959.csv")
	set.Arrivals, err = workload.ParseArrivals(fmt.Sprintf("counts:%s,row=http,bin=%v", file, minute), openFile)
	return err
}

// fastest is the type of the mix that is fastest with the largest request.
func (s *Setup) fastest(counts []int) int {
	best, n := -1, s.Sizes.Largest()
	for t := range s.Types {
		if counts[t] > 0 && (best < 0 || s.Truth[t].Mean(n) < s.Truth[best].Mean(n)) {
			best = t
		}
	}
	return best
}

// firstOfMost is the first worker of the type that there are most of.
func firstOfMost(counts []int) int {
	first, most, at := 0, 0, 0
	for _, n := range counts {
		if n > most {
			first, most = at, n
		}
		at += n
	}
	return first
}

// under is a copy of the set-up with trouble.
func (s *Setup) under(t trouble, counts []int) (*Setup, error) {
	c := *s
	c.Disturb = append([]sim.Disturbance(nil), s.Disturb...)
	if err := t.put(&c, counts); err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	return &c, nil
}
