package config

// Failures bounds what failing executions may cost.
type Failures struct {
	RetryBudget   float64 `yaml:"retry_budget"`   // retries per request, over about ten seconds
	PoisonedAfter int     `yaml:"poisoned_after"` // different workers that a request fails on; 0 = never
	EjectRate     float64 `yaml:"eject_rate"`     // share of failed executions that ejects a worker; 0 = never
	MaxEjected    float64 `yaml:"max_ejected"`    // share of a model's workers that may be out so
	SlowStart     bool    `yaml:"slow_start"`     // of workers that come back
	Hedge         float64 `yaml:"hedge"`          // late is so many times the latency bound; 0 = never
	HedgeBudget   float64 `yaml:"hedge_budget"`   // requests that run twice, per request, over about ten seconds
}

func (f *Failures) setDefaults() {
	f.RetryBudget, f.PoisonedAfter, f.EjectRate, f.MaxEjected, f.SlowStart = 0.2, 3, 0.2, 0.5, true
	f.Hedge, f.HedgeBudget = 0, 0.05
}

func (x *Failures) check(f *faults) {
	share := func(field string, v, least, most float64) {
		if !(v >= least && v <= most) { // the negation catches NaN
			f.add("failures."+field, v, "must be from %v to %v", least, most)
		}
	}
	share("retry_budget", x.RetryBudget, 0.001, 10)
	if x.PoisonedAfter != 0 {
		within(f, "failures.poisoned_after", x.PoisonedAfter, 2, 5)
	}
	if x.EjectRate != 0 {
		share("eject_rate", x.EjectRate, 0.05, 1)
	}
	share("max_ejected", x.MaxEjected, 0.01, 1)
	if x.Hedge != 0 {
		share("hedge", x.Hedge, 0.5, 100)
	}
	share("hedge_budget", x.HedgeBudget, 0.001, 1)
}
