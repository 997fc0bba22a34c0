package live

import (
	"motley/internal/backend"
	"motley/internal/dispatch"
	"motley/internal/earlyexit"
	"motley/internal/gate"
	"motley/internal/pool"
)

// exitsOf describes the ramps of a model on a worker; nil where there are none,
// or none are known.
func (l *Loop) exitsOf(w pool.WorkerID, m pool.ModelID) (backend.Staged, *backend.Exits) {
	b, ok := l.cfg.Backends[w].(backend.Staged)
	if !ok {
		return nil, nil
	}
	return b, b.Exits(l.cfg.Core.Models[m].Name)
}

// stageLocked makes the execution a staged one where some member may leave early,
// or is to be shown ramps, and the worker has them.
func (l *Loop) stageLocked(ex *execution, a *dispatch.Action) {
	ex.staged = nil
	g := l.gate(a.Model)
	leave, show := false, false
	for _, id := range a.Requests {
		r := l.mu.tickets[id.Index()].req
		leave = leave || g != nil && min(r.Mode, g.Mode()) > earlyexit.Off
		show = show || r.Ramps != 0
	}
	if !leave && !show {
		return
	}
	b, exits := l.exitsOf(a.Worker, a.Model)
	if exits == nil {
		return
	}
	if g != nil && !g.Fits(exits.Ramps) {
		g = nil
	}
	if g == nil && !show {
		return
	}
	if ex.watch == nil {
		ex.watch = &watch{loop: l, ex: ex}
	}
	ex.staged, ex.watch.gate, ex.watch.exits = b, g, exits
	ex.watch.calls, ex.watch.rows = ex.watch.calls[:0], ex.watch.rows[:0]
}

// gate is the model's, or nil.
func (l *Loop) gate(m pool.ModelID) *gate.Gate {
	if int(m) < len(l.cfg.Gates) {
		return l.cfg.Gates[m]
	}
	return nil
}
