package app

import (
	"testing"

	"motley/internal/config"
	"motley/internal/dispatch"
)

// TestFailures: what the file says reaches the core, and zero there is off.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		yaml string
		want dispatch.Failures
	}{
		{"", dispatch.Failures{RetryBudget: 0.2, PoisonedAfter: 3, EjectRate: 0.2, MaxEjected: 0.5, HedgeBudget: 0.05}},
		{"failures: {poisoned_after: 0, eject_rate: 0, slow_start: false, hedge: 1.5, hedge_budget: 0.1, retry_budget: 1, max_ejected: 0.3}",
			dispatch.Failures{RetryBudget: 1, PoisonedAfter: -1, EjectRate: -1, MaxEjected: 0.3, NoSlowStart: true, Hedge: 1.5, HedgeBudget: 0.1}},
	} {
		cfg, err := config.Parse("built-in", append(config.Default(), []byte("\n"+c.yaml+"\n")...))
		if err != nil {
			t.Fatal(err)
		}
		if got := failures(&cfg.Failures); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.yaml, got, c.want)
		}
	}
}
