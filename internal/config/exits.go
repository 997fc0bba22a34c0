package config

import (
	"os"
	"slices"

	"motley/internal/earlyexit"
	"motley/internal/exitstream"
)

// EarlyExit says whether, and how surely, a model's requests may be answered by
// an intermediate exit.
type EarlyExit struct {
	Mode        string  `yaml:"mode"`         // off, latency, compute
	Target      float64 `yaml:"target"`       // share of answers that are to agree with the full model's
	ClassTarget float64 `yaml:"class_target"` // the same for every single class; 0 = no such promise
	RampBudget  float64 `yaml:"ramp_budget"`  // what the ramps may add to a batch's time, as a share of it
	AuditShare  float64 `yaml:"audit_share"`  // mode compute: share of the rows that leave early and run on to be checked
	Calibration string  `yaml:"calibration"`  // recorded exits, CSV, or packed as .gz; absolute after Load

	// Recorded is what Calibration holds; Load reads it. nil: none.
	Recorded *exitstream.Stream `yaml:"-"`
}

func (e *EarlyExit) setDefaults() {
	d := earlyexit.Defaults() // those that are measured
	e.Mode, e.Target, e.RampBudget, e.AuditShare = earlyexit.Off.String(), d.Target, d.Budget, d.Audits
}

var exitModes = []string{earlyexit.Off.String(), earlyexit.Latency.String(), earlyexit.Compute.String()}

// Parsed is the mode; of a valid configuration.
func (e *EarlyExit) Parsed() earlyexit.Mode {
	m, err := earlyexit.ParseMode(e.Mode)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return m
}

func (c *Config) checkEarlyExit(f *faults, at string, m *Model) {
	e := &m.EarlyExit
	at += ".early_exit"
	oneOf(f, at+".mode", e.Mode, exitModes)
	share(f, at+".target", e.Target, 0.5, 0.9999)
	if e.ClassTarget != 0 {
		share(f, at+".class_target", e.ClassTarget, 0.5, 0.9999)
	}
	share(f, at+".ramp_budget", e.RampBudget, 0.0001, 1)
	share(f, at+".audit_share", e.AuditShare, 0.001, 1)
	if e.Mode != exitModes[0] && slices.Contains(exitModes, e.Mode) && c.served(m.Name) && c.emulatedOnly(m.Name) {
		f.add(at+".mode", e.Mode, "must be off where only emulated workers serve the model: they have no ramps")
	}
}

// emulatedOnly reports whether all workers that serve the model are emulated.
func (c *Config) emulatedOnly(model string) bool {
	return !slices.ContainsFunc(c.Workers, func(w Worker) bool {
		return (len(w.Models) == 0 || slices.Contains(w.Models, model)) && w.Emulated == nil
	})
}

func share(f *faults, field string, value, low, high float64) {
	if !(value >= low && value <= high) {
		f.add(field, value, "must be from %v to %v", low, high)
	}
}

// readRecorded reads a calibration file, packed or not.
func readRecorded(path string) (*exitstream.Stream, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return exitstream.Read(file)
}
