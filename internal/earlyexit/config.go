package earlyexit

import (
	"errors"
	"fmt"
	"math"
)

// Config is what an Adaptive is made from. Of the numbers, 0 stands for the
// default. The defaults are meant for every stream; none is fitted to one.
type Config struct {
	Mode   Mode
	Ramps  int     // how many there are, 1 … MaxRamps
	Target float64 // the share of answers that are to agree with the full model's, 0.5 … 0.9999; default 0.99
	// ClassTarget is the share of answers that are to agree among those of one
	// class (that was answered, or that the full model would have); 0: none.
	ClassTarget float64
	// Costs are what runs cost, by rising batch size. Without any, all ramps are
	// active and are taken to stand at even distances.
	Costs  []Cost
	Budget float64 // what all active ramps may add to a whole run, as a share of it, at every batch size; default 0.02

	// Control.
	Spend  float64 // the share of the budget of disagreements that is planned for; the rest is for chance; default 0.85
	Window int     // rows within which the budget is paced, at least 5/(1 − Target); default 1000
	Gain   float64 // integral control: by how much a disagreement lowers the logarithm of what is planned; default 0.2
	Pace   float64 // the share of a window's budget that is left when exits begin to become rarer; default 0.3
	Tight  float64 // the share of the plan that holds when a window's budget is used up; default 0.12
	Recent float64 // rows over which the mix of rows is averaged; default 200

	// Models.
	Walk   float64 // variance by which a model's weights walk in a row; default 0.0002
	Memory float64 // rows after which a recalibration has forgotten all but 1/e; default 800
	Prior  float64 // rows for which the model itself counts in each bin of its recalibration; default 20

	// Mode compute.
	Audits     float64 // the share of rows that exit and are run to the end all the same; default 0.04
	AuditLeast float64 // the least chance of it that an exit has; default 0.03

	// Changes.
	AlarmRows float64 // rows between two false alarms, in the mean and at the least, while nothing changes; default 20,000
	Jolt      float64 // variance that an alarm adds to a model's weights; default 0.1
	SafeRows  int     // rows that are run to the end after an alarm before exits are allowed again; default 100

	// Ramp sets.
	Explore    float64 // the share of batches that evaluate all ramps, below what a 95th percentile leaves out; default 0.03
	Reconsider int     // rows after which the set of one batch size is chosen anew; default 512
}

// complete fills in the defaults and reports every violation.
func (c *Config) complete() error {
	for _, d := range []struct {
		v *float64
		d float64
	}{
		{&c.Target, 0.99}, {&c.Budget, 0.02}, {&c.Spend, 0.85}, {&c.Gain, 0.2}, {&c.Pace, 0.3}, {&c.Tight, 0.12},
		{&c.Recent, 200}, {&c.Walk, 2e-4}, {&c.Memory, 800}, {&c.Prior, 20}, {&c.Audits, 0.04}, {&c.AuditLeast, 0.03},
		{&c.AlarmRows, 20_000}, {&c.Jolt, 0.1}, {&c.Explore, 0.03},
	} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	for _, d := range []struct {
		v *int
		d int
	}{{&c.Window, 1000}, {&c.SafeRows, 100}, {&c.Reconsider, 512}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	var errs []error
	if c.Mode > Compute {
		errs = append(errs, fmt.Errorf("mode: %d: unknown", c.Mode))
	}
	if c.ClassTarget != 0 && !(c.ClassTarget >= 0.5 && c.ClassTarget <= 0.9999) {
		errs = append(errs, fmt.Errorf("class_target: %v: want 0 or 0.5 to 0.9999", c.ClassTarget))
	}
	for _, b := range []struct {
		name        string
		v, low, top float64
	}{
		{"ramps", float64(c.Ramps), 1, MaxRamps}, {"target", c.Target, 0.5, 0.9999}, {"budget", c.Budget, 0, 1},
		{"spend", c.Spend, 0.01, 2}, {"window", float64(c.Window), 10, 1e6}, {"gain", c.Gain, 1e-4, 2},
		{"pace", c.Pace, 0.01, 1}, {"tight", c.Tight, 1e-6, 1}, {"recent", c.Recent, 10, 1e6}, {"walk", c.Walk, 1e-9, 0.1},
		{"memory", c.Memory, 50, 1e7}, {"prior", c.Prior, 0.1, 1e5}, {"audits", c.Audits, 1e-3, 1},
		{"audit_least", c.AuditLeast, 1e-3, 1}, {"alarm_rows", c.AlarmRows, 100, 1e12},
		{"jolt", c.Jolt, 1e-9, 2},
		{"safe_rows", float64(c.SafeRows), 1, 1e6}, {"explore", c.Explore, 1e-4, 0.045}, {"reconsider", float64(c.Reconsider), 16, 1e9},
	} {
		if !(b.v >= b.low && b.v <= b.top) {
			errs = append(errs, fmt.Errorf("%s: %v: want %v to %v", b.name, b.v, b.low, b.top))
		}
	}
	for i, k := range c.Costs {
		if err := k.check(c.Ramps); err != nil {
			errs = append(errs, fmt.Errorf("costs: %d: %w", i, err))
		}
		if i > 0 && k.Batch <= c.Costs[i-1].Batch {
			errs = append(errs, fmt.Errorf("costs: %d: batch: %d: must rise", i, k.Batch))
		}
	}
	c.Window = max(c.Window, int(math.Ceil(5/(1-c.Target)-1e-6)))
	return errors.Join(errs...)
}

func (k *Cost) check(ramps int) error {
	switch {
	case k.Batch < 1:
		return fmt.Errorf("batch: %d: must be at least 1", k.Batch)
	case !(k.Whole > 0) || math.IsInf(k.Whole, 0):
		return fmt.Errorf("whole: %v: must be positive", k.Whole)
	case len(k.Until) != ramps || len(k.Ramp) != ramps:
		return fmt.Errorf("until, ramp: %d, %d values: want one per ramp, %d", len(k.Until), len(k.Ramp), ramps)
	}
	for r := range ramps {
		if !(k.Until[r] >= 0 && k.Until[r] <= k.Whole) || r > 0 && k.Until[r] < k.Until[r-1] {
			return fmt.Errorf("until: %v: must rise from 0 to whole", k.Until)
		}
		if !(k.Ramp[r] >= 0) || math.IsInf(k.Ramp[r], 0) {
			return fmt.Errorf("ramp: %v: must not be negative", k.Ramp)
		}
	}
	return nil
}
