package live

import (
	"slices"
	"testing"
	"time"

	"motley/internal/gpu/device"
	"motley/internal/gpu/health"
	"motley/internal/mono"
	"motley/internal/pool"
)

// TestParityJudged does the same where workers are judged: one becomes a straggler,
// one is throttled and says so, one has a fatal error, and the telemetry of one
// stops.
func TestParityJudged(t *testing.T) {
	judged := map[string]int{}
	for seed := range uint64(8) {
		x := newExperiment(seed, 6000)
		x.early, x.judged = false, true
		want, wantEnds := x.simulate(t)
		got, gotEnds := x.live(t)
		compareLogs(t, seed, want.lines(), got.lines())
		if !slices.Equal(wantEnds, gotEnds) {
			t.Errorf("seed %d: the clients were told otherwise than in the simulation", seed)
		}
		if t.Failed() {
			return
		}
		for state, n := range x.told {
			judged[state] += n
		}
	}
	for _, state := range []string{"suspect", "derated", "unhealthy"} {
		if judged[state] < 4 {
			t.Errorf("%s was judged %d times: too tame (%v)", state, judged[state], judged)
		}
	}
}

// telemetry is what a worker's hardware says in judged experiments.
func (x *experiment) telemetry(w pool.WorkerID, at mono.Time) (device.Sample, bool) {
	s := device.Sample{Device: "g", Access: device.Reachable, Utilisation: device.Of(1), SMClockMHz: device.Of(1500)}
	third := x.arrivals[len(x.arrivals)-1].At / 3
	switch {
	case w == 1 && at > third:
		s.SMClockMHz, s.Throttle = device.Of(750), device.HWThermal
	case w == 3 && at > 2*third:
		s.XIDs = []device.XID{{Seq: 1, Code: 79}}
	case w == 4 && at > third || w == 0 || w == 2:
		return s, false
	}
	return s, true
}

// heard is the telemetry of a worker in the loop.
type heard struct {
	x     *experiment
	w     pool.WorkerID
	epoch time.Time
}

func (h heard) Latest() (device.Device, device.Sample, bool, error) {
	s, ok := h.x.telemetry(h.w, mono.Time(time.Since(h.epoch)))
	return device.Device{ID: "g"}, s, ok, nil
}

func (h heard) String() string { return "drawn" }

// judgedEvery is at no instant at which anything else happens.
const judgedEvery = 7_000_003 * time.Nanosecond

// health makes judgements change within the experiment's second.
func (x *experiment) health() health.Config {
	return health.Config{StaleAfter: 50 * time.Millisecond, Hold: 100 * time.Millisecond, SlowStart: 300 * time.Millisecond}
}
