// Package gate lets many goroutines use one early-exit controller: a lock, and
// the chance that the controller wants handed in.
package gate

import (
	"math/rand/v2"
	"sync"

	"motley/internal/earlyexit"
)

// Gate is a model's controller in use. All methods may be called from several
// goroutines at once.
type Gate struct {
	mode earlyexit.Mode
	mu   struct {
		sync.Mutex
		controller earlyexit.Controller
		chance     *rand.Rand
		seq        uint64
	}
}

// New returns a gate over a controller that nobody else uses any more.
func New(c earlyexit.Controller, seed uint64) *Gate {
	g := &Gate{mode: c.Report().Mode}
	g.mu.controller = c
	g.mu.chance = rand.New(rand.NewPCG(seed, 0))
	return g
}

// Mode is the controller's mode.
func (g *Gate) Mode() earlyexit.Mode { return g.mode }

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

// Learn takes in how rows ended.
func (g *Gate) Learn(outcomes []earlyexit.Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range outcomes {
		g.mu.controller.Learn(&outcomes[i])
	}
}

// Report says where the controller stands.
func (g *Gate) Report() earlyexit.Report {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.controller.Report()
}

// With calls f with the controller under the lock, to save it for instance.
func (g *Gate) With(f func(earlyexit.Controller)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g.mu.controller)
}
