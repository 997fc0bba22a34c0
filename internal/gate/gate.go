// Package gate lets many goroutines use one early-exit controller: a lock, and
// the chance that the controller wants handed in.
package gate

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"motley/internal/earlyexit"
)

// Gate is a model's controller in use. All methods may be called from several
// goroutines at once.
type Gate struct {
	mode earlyexit.Mode
	open Opener
	mu   struct {
		sync.Mutex
		controller earlyexit.Controller // nil until a worker's exits are known
		ramps      int
		chance     *rand.Rand
		seq        uint64
	}
}

// Exits is what a controller has to know of a model's exits.
type Exits struct {
	Ramps   int
	Classes int // probabilities that each exit gives a row
	// Costs is what runs cost, by rising batch size; empty where it is unknown.
	Costs []earlyexit.Cost
}

// Opener makes the controller for a model whose exits are known.
type Opener func(Exits) (earlyexit.Controller, error)

// New returns a gate over a controller that nobody else uses any more.
func New(c earlyexit.Controller, seed uint64) *Gate {
	g := Later(c.Report().Mode, seed, nil)
	g.mu.controller, g.mu.ramps = c, len(c.Report().Ramps)
	return g
}

// Later returns a gate that stays shut until Open is called: a remote
// worker's exits are known only when it has answered.
func Later(mode earlyexit.Mode, seed uint64, open Opener) *Gate {
	g := &Gate{mode: mode, open: open}
	g.mu.chance = rand.New(rand.NewPCG(seed, 0))
	return g
}

// Open makes the controller, unless there is one. The first worker whose
// exits are known counts; one that has another number of ramps is an error, and
// serves without them.
func (g *Gate) Open(e Exits) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.controller == nil {
		c, err := g.open(e)
		if err != nil {
			return err
		}
		g.mu.controller, g.mu.ramps = c, e.Ramps
	}
	if g.mu.ramps != e.Ramps {
		return fmt.Errorf("cannot use its ramps: it has %d, and another worker %d", e.Ramps, g.mu.ramps)
	}
	return nil
}

// Mode is the controller's mode.
func (g *Gate) Mode() earlyexit.Mode { return g.mode }

// Fits reports whether there is a controller, for so many ramps.
func (g *Gate) Fits(ramps int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.controller != nil && g.mu.ramps == ramps
}

// Active is the set of ramps, as bits, that a batch of n rows evaluates.
func (g *Gate) Active(n int) uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.controller.Active(n, g.mu.chance.Float64())
}

// Number gives n rows their places in the stream and returns the first.
func (g *Gate) Number(n int) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.mu.seq
	g.mu.seq += uint64(n)
	return first
}

// Decide asks about several rows at one ramp. It fills in the rows' Chance and
// verdicts[i] of rows[i].
func (g *Gate) Decide(ramp int, rows []*earlyexit.Row, verdicts []earlyexit.Verdict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, r := range rows {
		r.Chance = g.mu.chance.Float64()
		verdicts[i] = g.mu.controller.Decide(r, ramp)
	}
}

// Together is Decide for rows that can only leave, and only stop, together. One
// draw decides for all of them, so that they run on with the largest of their
// probabilities of an audit.
func (g *Gate) Together(ramp int, rows []*earlyexit.Row, verdicts []earlyexit.Verdict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	chance := g.mu.chance.Float64()
	all := earlyexit.Verdict{Exit: true, Stop: true}
	for i, r := range rows {
		r.Chance = chance
		v := g.mu.controller.Decide(r, ramp)
		if !v.Exit {
			clear(verdicts[i:])
			clear(verdicts[:i])
			return
		}
		all.Stop, all.Audit = all.Stop && v.Stop, max(all.Audit, v.Audit)
	}
	for i := range verdicts {
		verdicts[i] = all
	}
}

// Learn takes in how rows ended.
func (g *Gate) Learn(outcomes []earlyexit.Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range outcomes {
		g.mu.controller.Learn(&outcomes[i])
	}
}

// Report says where the controller stands. Before there is one, its mode is
// all that means something.
func (g *Gate) Report() earlyexit.Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.controller == nil {
		return earlyexit.Report{Mode: g.mode, Agreement: 1, Certified: 1}
	}
	return g.mu.controller.Report()
}

// With calls f with the controller under the lock, to save it for instance;
// not before there is one.
func (g *Gate) With(f func(earlyexit.Controller)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.controller != nil {
		f(g.mu.controller)
	}
}
