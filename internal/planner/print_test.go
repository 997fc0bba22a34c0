package planner

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestPrint: the plan says, for people, what it knows.
func TestPrint(t *testing.T) {
	p := &Problem{
		Types: []Type{
			{Name: "gpu", USDPerHour: 0.5, SpotUSDPerHour: 0.2, Interruptions: 0.1, Recovery: 5 * time.Minute}, {Name: "cpu", USDPerHour: 0.1},
		},
		Models: []Model{{Name: "m", Sizes: []int{10, 100}, P: []float64{0.9, 0.1}, QoS: 50 * time.Millisecond}},
		Latency: func(_, typ, items int) (mean, bound time.Duration) {
			d := time.Duration([]int{2000, 500}[typ]+[]int{50, 400}[typ]*items) * time.Microsecond
			return d, d
		},
		Budget: 2, Rate: 100, OnDemandShare: 0.5, Candidates: 3,
		Current: []Count{{OnDemand: 1}, {OnDemand: 1}},
		Verify: func(trials []Trial) ([]float64, error) {
			rates := make([]float64, len(trials))
			for i, trial := range trials {
				rates[i] = 0.9 * trial.Near
			}
			return rates, nil
		},
	}
	plan, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := plan.Print(&out, p); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		MixText(p, plan.Best.Mix), "measured", "now:", "gpu=1,cpu=1", "headroom over 100/s", "mixes ranked", "serves", "to add next", "a further USD/h buys",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in it:\n%s", want, &out)
		}
	}
	if got := MixText(p, []Count{{OnDemand: 1, Spot: 2}, {}}); got != "gpu=1,gpu:spot=2" {
		t.Errorf("a mix is written %q", got)
	}
	if err := plan.Print(full{}, p); err == nil {
		t.Error("a writer that fails is not noticed")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }
