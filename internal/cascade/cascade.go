package cascade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/live"
	"motley/internal/pool"
)

// Loop is what a cascade needs of live.Loop.
type Loop interface {
	// DoContext runs one request to its end, or until ctx ends; see live.Loop.
	DoContext(ctx context.Context, r *live.Request) error
	Info(m pool.ModelID) *live.Info
	// LatestStart is how long a request of size items may still wait before it
	// has to be handed to model m in order to be answered within left from now;
	// false where it would be late already, or the model has no worker.
	LatestStart(m pool.ModelID, size int, left time.Duration) (time.Duration, bool)
	// Idles reports whether a batch of model m would delay nobody now.
	Idles(m pool.ModelID) bool
}

// Stage is one model of a cascade.
type Stage struct {
	Model pool.ModelID
	Name  string // as workers know it, for texts
	// Output is the model's output that the score is read off: per row one value
	// a class. Label is its output with one answer a row; "" = it has none, and
	// the number of the class is its answer.
	Output, Label string
	Reading
	// Classes maps the model's classes to those of the reference: Classes[i] is
	// what its class i is there; −1: none of them, so that a row where it comes
	// first is never accepted. nil = they are the same. The reference has none.
	Classes []int
}

// Audits bounds what runs in the background. Zero fields take the defaults.
type Audits struct {
	Most    int           // at once; default 2
	Queue   int           // requests that wait; default 64; more are lost
	Timeout time.Duration // from the answer to the audit's end; default 10 s
}

// Config is what a Cascade is made of.
type Config struct {
	Name   string // of the answers' model
	Stages []Stage
	Loop   Loop
	Gate   *gate.Gate    // stage k is its ramp k; the last stage is the full model
	QoS    time.Duration // the deadline of a request that names none; default 1 s
	Audits Audits
	Log    *slog.Logger // default: discard
}

// Cascade is a model that two or more models answer. Its methods may be called
// from several goroutines at once. Make one with New.
type Cascade struct {
	cfg        Config
	last       int                  // the reference
	form       atomic.Pointer[form] // of the reference's latest answer
	known      atomic.Pointer[known]
	complained []atomic.Bool // by stage: its answers do not fit, and the log says so
	counts     []stageCounts // by stage
	direct     atomic.Uint64
	audits     auditor
}

// stageCounts count requests, not rows.
type stageCounts struct{ asked, failed atomic.Uint64 }

// Counts is how often what happened so far, in requests.
type Counts struct {
	Direct  uint64   // went to the reference at once, since it could not have been asked in time later
	Asked   []uint64 // by stage, audits apart
	Failed  []uint64 // of those: refused, failed, late, or answered what does not fit
	Dropped uint64   // audits that found no room
}

// New returns a cascade. Close ends it.
func New(cfg Config) (*Cascade, error) {
	if err := check(&cfg); err != nil {
		return nil, fmt.Errorf("cannot make cascade %s: %w", cfg.Name, err)
	}
	if cfg.QoS == 0 {
		cfg.QoS = time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cascade{
		cfg: cfg, last: len(cfg.Stages) - 1,
		complained: make([]atomic.Bool, len(cfg.Stages)), counts: make([]stageCounts, len(cfg.Stages)),
	}
	c.audits.init(cfg.Audits)
	return c, nil
}

func check(cfg *Config) error {
	if len(cfg.Stages) < 2 || len(cfg.Stages) > earlyexit.MaxRamps+1 {
		return fmt.Errorf("%d stages: want 2 to %d", len(cfg.Stages), earlyexit.MaxRamps+1)
	}
	if cfg.Loop == nil || cfg.Gate == nil {
		return errors.New("BUG: no loop or no gate")
	}
	last := len(cfg.Stages) - 1
	for i := range cfg.Stages {
		s := &cfg.Stages[i]
		for k := range cfg.Stages[:i] {
			if cfg.Stages[k].Model == s.Model {
				return fmt.Errorf("stages %d and %d are both %s", k, i, s.Name)
			}
		}
		switch {
		case s.Output == "":
			return fmt.Errorf("stage %s has no output", s.Name)
		case s.Output == s.Label:
			return fmt.Errorf("stage %s has its label in its output %s", s.Name, s.Output)
		case s.Temperature < 0:
			return fmt.Errorf("stage %s has the temperature %v: want more than 0", s.Name, s.Temperature)
		case s.Score == EnergyLogits && !s.Logits:
			return fmt.Errorf("stage %s: the energy over logits needs an output of logits", s.Name)
		case i == last && s.Classes != nil:
			return fmt.Errorf("stage %s is the reference: its classes cannot be mapped", s.Name)
		}
		for class, to := range s.Classes {
			if to < -1 {
				return fmt.Errorf("stage %s maps its class %d to %d: want a class of the reference or -1", s.Name, class, to)
			}
		}
	}
	return nil
}

// Reference is the model that the answers are to agree with.
func (c *Cascade) Reference() pool.ModelID { return c.cfg.Stages[c.last].Model }

// Ramps is how many stages stand before the reference.
func (c *Cascade) Ramps() int { return c.last }

// Gate is the cascade's controller in use.
func (c *Cascade) Gate() *gate.Gate { return c.cfg.Gate }

// Counts says what happened so far.
func (c *Cascade) Counts() Counts {
	n := Counts{Direct: c.direct.Load(), Dropped: c.audits.dropped.Load()}
	for i := range c.counts {
		n.Asked = append(n.Asked, c.counts[i].asked.Load())
		n.Failed = append(n.Failed, c.counts[i].failed.Load())
	}
	return n
}

// Close lets audits under way end and starts none any more. When ctx ends
// first it cancels them. Rows whose audit did not end are lost. Requests are
// still answered.
func (c *Cascade) Close(ctx context.Context) error {
	if err := c.audits.close(ctx); err != nil {
		return fmt.Errorf("cannot finish the audits of %s: %w", c.cfg.Name, err)
	}
	return nil
}

// complain logs once that a stage's answers are of no use.
func (c *Cascade) complain(stage int, err error) {
	if c.complained[stage].CompareAndSwap(false, true) {
		c.cfg.Log.Warn("a stage of the cascade cannot be used as configured",
			"model", c.cfg.Name, "stage", c.cfg.Stages[stage].Name, "error", err)
	}
}
