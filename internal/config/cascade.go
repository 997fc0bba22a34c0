package config

import (
	"fmt"
	"slices"
	"time"

	"motley/internal/earlyexit"
)

// Cascade answers a model's requests by other models of the pool, small to
// large. Its early_exit says how surely.
type Cascade struct {
	Stages       []Stage       `yaml:"stages"`         // the last is the reference
	Label        string        `yaml:"label"`          // the output with the class, of stages that name none; empty = there is none
	AuditsAtOnce int           `yaml:"audits_at_once"` // in the background
	AuditQueue   int           `yaml:"audit_queue"`    // requests whose audit waits; more are not checked
	AuditTimeout time.Duration `yaml:"audit_timeout"`  // from the answer to the audit's end
}

// Stage is one model of a cascade, and how its answer is read.
type Stage struct {
	Model       string  `yaml:"model"`
	Output      string  `yaml:"output"`      // with a value per class
	Label       *string `yaml:"label"`       // with the class; nil = the cascade's; empty = it has none
	Logits      bool    `yaml:"logits"`      // the output's values are logits, not probabilities
	Score       string  `yaml:"score"`       // one of CascadeScores
	Temperature float64 `yaml:"temperature"` // of the energies
	Classes     []int   `yaml:"classes"`     // by class of the model: the reference's; −1 = none of them; empty = they are the same
}

// CascadeScores are how sure a stage may be said to be.
var CascadeScores = []string{"max-probability", "energy-probabilities", scoreOfLogits, "entropy", "margin"}

const scoreOfLogits = "energy-logits"

func (c *Cascade) setDefaults() {
	c.AuditsAtOnce, c.AuditQueue, c.AuditTimeout = 2, 64, 10*time.Second
}

func (s *Stage) setDefaults() {
	s.Output, s.Score, s.Temperature = "probabilities", CascadeScores[0], 1
}

// LabelOf is the output of stage i with its class; empty where there is none.
func (c *Cascade) LabelOf(i int) string {
	if l := c.Stages[i].Label; l != nil {
		return *l
	}
	return c.Label
}

// cascaded reports whether the model is a cascade.
func (c *Config) cascaded(model string) bool {
	return slices.ContainsFunc(c.Models, func(m Model) bool { return m.Name == model && m.Cascade != nil })
}

func (c *Config) checkCascade(f *faults, at string, m *Model) {
	for _, own := range []struct {
		field string
		given bool
	}{
		{".max_batch", m.MaxBatch != 0}, {".split", m.Split != nil}, {".batched", m.Batched != nil},
		{".inputs", len(m.Inputs) > 0}, {".outputs", len(m.Outputs) > 0},
	} {
		if own.given {
			f.add(at+own.field, nil, "is for models that workers serve: a cascade has it of its stages")
		}
	}
	at += ".cascade"
	k := m.Cascade
	if n := len(k.Stages); n < 2 || n > earlyexit.MaxRamps+1 {
		f.add(at+".stages", nil, "must have from 2 to %d stages", earlyexit.MaxRamps+1)
	}
	within(f, at+".audits_at_once", k.AuditsAtOnce, 1, 10_000)
	within(f, at+".audit_queue", k.AuditQueue, 1, 1_000_000)
	duration(f, at+".audit_timeout", k.AuditTimeout, time.Millisecond)
	var models []string
	for _, other := range c.Models {
		if other.Cascade == nil {
			models = append(models, other.Name)
		}
	}
	for i := range k.Stages {
		c.checkStage(f, fmt.Sprintf("%s.stages[%d]", at, i), k, i, models)
	}
}

func (c *Config) checkStage(f *faults, at string, k *Cascade, i int, models []string) {
	s := &k.Stages[i]
	if !slices.Contains(models, s.Model) {
		f.add(at+".model", s.Model, "must be one of models that is no cascade%s", nearest(s.Model, models))
	} else if slices.ContainsFunc(k.Stages[:i], func(o Stage) bool { return o.Model == s.Model }) {
		f.add(at+".model", s.Model, "given twice")
	}
	switch {
	case s.Output == "":
		f.add(at+".output", s.Output, "must name an output")
	case s.Output == k.LabelOf(i):
		f.add(at+".output", s.Output, "is the label's output")
	}
	oneOf(f, at+".score", s.Score, CascadeScores)
	if s.Score == scoreOfLogits && !s.Logits {
		f.add(at+".score", s.Score, "needs logits: true, and an output that has logits")
	}
	if !(s.Temperature >= 1e-3 && s.Temperature <= 1e3) {
		f.add(at+".temperature", s.Temperature, "must be from 0.001 to 1000")
	}
	if len(s.Classes) > 0 && i == len(k.Stages)-1 {
		f.add(at+".classes", nil, "is not for the last stage, whose classes the others' are mapped to")
	}
	if len(s.Classes) == 1 {
		f.add(at+".classes", nil, "must have at least two classes")
	}
	for j, class := range s.Classes {
		within(f, fmt.Sprintf("%s.classes[%d]", at, j), class, -1, 1<<24)
	}
}
